/* out.c - see out.h. */
#include "out.h"
#include "cli.h"
#include "escape.h"
#include "pipe.h"
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    char buffer[1 << 16];
    size_t used;
    int failure; /* errno of the first write that failed */
} out;

static void out_write(const char *ptr, size_t len)
{
    while (len > 0 && !out.failure) {
        int64_t n = pipe_write(STDOUT_FILENO, ptr, len);
        if (n > 0) {
            ptr += n;
            len -= (size_t)n;
        } else {
            out.failure = n == 0 ? EIO : errno;
        }
    }
}

void out_flush(void)
{
    out_write(out.buffer, out.used);
    out.used = 0;
}

void out_bytes(const void *ptr, size_t len)
{
    if (len > sizeof out.buffer - out.used)
        out_flush();
    if (len > sizeof out.buffer) {
        out_write(ptr, len);
        return;
    }
    if (len > 0)
        memcpy(out.buffer + out.used, ptr, len);
    out.used += len;
}

void out_text(const char *text)
{
    out_bytes(text, strlen(text));
}

void out_char(char c)
{
    out_bytes(&c, 1);
}

void out_format(const char *format, ...)
{
    char *text;
    va_list list;
    va_start(list, format);
    int len = vasprintf(&text, format, list);
    va_end(list);
    if (len < 0) {
        out.failure = ENOMEM;
        return;
    }
    out_bytes(text, (size_t)len);
    free(text);
}

void out_escaped(kv_slice bytes)
{
    const uint8_t *ptr = bytes.ptr;
    for (size_t at = 0; at < bytes.len && !out.failure; at++) {
        size_t plain = escape_plain_len(ptr + at, bytes.len - at);
        out_bytes(ptr + at, plain);
        at += plain;
        if (at < bytes.len) {
            char escape[ESCAPE_MAX];
            out_bytes(escape, escape_byte(ptr[at], escape));
        }
    }
}

void out_hex(kv_slice bytes)
{
    static const char hex[] = "0123456789abcdef";
    const uint8_t *ptr = bytes.ptr;
    for (size_t i = 0; i < bytes.len && !out.failure; i++)
        out_bytes((char[]){hex[ptr[i] >> 4], hex[ptr[i] & 15]}, 2);
}

bool out_failed(void)
{
    return out.failure != 0;
}

bool out_reader_gone(void)
{
    struct pollfd poll_fd = {.fd = STDOUT_FILENO, .events = POLLOUT};
    if (!out.failure && poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & (POLLERR | POLLHUP)))
        out.failure = EPIPE;
    return out.failure == EPIPE;
}

int out_end(int code)
{
    out_flush();
    if (!out.failure)
        return code;
    if (out.failure != EPIPE)
        cli_say("standard output", "%s", strerror(out.failure));
    return code > CLI_TROUBLE ? code : CLI_TROUBLE;
}
