/* cli.c - see cli.h. */
#include "cli.h"
#include "escape.h"
#include "progress.h"
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUOTE_MAX 100 /* bytes of a quoted text, the final zero included */

static const char *cli_quote_into(char *text, size_t size, kv_slice bytes, bool escaped)
{
    const uint8_t *ptr = bytes.ptr;
    size_t used = 0, at = 0;
    while (at < bytes.len && used < size - 8) {
        bool keep = escaped && ptr[at] == '\\';
        size_t plain = keep ? 1 : escape_plain_len(ptr + at, bytes.len - at);
        size_t part = plain ? escape_utf8_len(ptr + at, bytes.len - at) : 1;
        if (plain)
            memcpy(text + used, ptr + at, part);
        used += plain ? part : escape_byte(ptr[at], text + used);
        at += part;
    }
    strcpy(text + used, at < bytes.len ? "..." : bytes.len == 0 ? "''" : "");
    return text;
}

static char *cli_quote_room(void)
{
    static char texts[4][QUOTE_MAX];
    static unsigned turn;
    return texts[turn++ % 4];
}

const char *cli_quote(kv_slice bytes)
{
    return cli_quote_into(cli_quote_room(), QUOTE_MAX, bytes, false);
}

const char *cli_quote_escaped(kv_slice text)
{
    return cli_quote_into(cli_quote_room(), QUOTE_MAX, text, true);
}

void cli_say(const char *about, const char *format, ...)
{
    static char name[PATH_MAX + 8];
    va_list list;
    progress_hide();
    cli_quote_into(name, sizeof name, (kv_slice){about, strlen(about)}, false);
    fprintf(stderr, "kv: %s: ", name);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
}

int cli_exit_of(int result)
{
    switch (result) {
    case KV_OK:
        return CLI_DONE;
    case KV_NOTFOUND:
    case KV_EXISTS:
    case KV_MISMATCH:
    case KV_EOVERFLOW:
    case KV_ENOTNUMBER:
        return CLI_NO;
    case KV_ECORRUPT:
    case KV_ENOTKV:
    case KV_EBACKUP:
        return CLI_DAMAGED;
    default:
        return CLI_TROUBLE;
    }
}

void *cli_realloc(void *ptr, size_t size)
{
    void *block = realloc(ptr, size ? size : 1);
    if (!block) {
        fputs("kv: out of memory\n", stderr);
        exit(CLI_TROUBLE);
    }
    return block;
}
