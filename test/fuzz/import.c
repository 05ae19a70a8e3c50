/* import.c - target `import`: what kv import reads. Malformed text gives a message that names a line;
 * what was read, written again in each form and read again, is the same.
 *
 *   byte 0     text (0) or a dump
 *   then       what the file holds
 */
#include "fuzz.h"
#include "cli/cli.h"
#include "cli/dump.h"
#include "cli/escape.h"
#include "cli/out.h"
#include "cli/text.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Bytes that grow. */
typedef struct heap {
    uint8_t *bytes;
    size_t len, cap;
} heap;

static void heap_add(heap *h, const void *bytes, size_t len)
{
    if (len > h->cap - h->len) {
        h->cap = 2 * h->cap + len;
        h->bytes = cli_realloc(h->bytes, h->cap);
    }
    if (len > 0)
        memcpy(h->bytes + h->len, bytes, len);
    h->len += len;
}

/* ---- what the parsers and printers ask of the command ---- */

static char said[1024]; /* the newest message */
static heap written;

void *cli_realloc(void *ptr, size_t size)
{
    void *larger = realloc(ptr, size);
    if (!larger)
        fuzz_fail("no memory");
    return larger;
}

void cli_say(const char *about, const char *format, ...)
{
    va_list args;
    FUZZ_MUST(about != NULL);
    va_start(args, format);
    vsnprintf(said, sizeof said, format, args);
    va_end(args);
}

const char *cli_quote(kv_slice bytes)
{
    FUZZ_MUST(bytes.ptr != NULL);
    return "some bytes";
}

void out_bytes(const void *ptr, size_t len)
{
    heap_add(&written, ptr, len);
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
    char text[256];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    FUZZ_MUST(len >= 0 && (size_t)len < sizeof text);
    out_bytes(text, (size_t)len);
}

void out_escaped(kv_slice bytes)
{
    const uint8_t *ptr = bytes.ptr;
    for (size_t at = 0; at < bytes.len;) {
        char escape[ESCAPE_MAX];
        size_t plain = escape_plain_len(ptr + at, bytes.len - at);
        out_bytes(ptr + at, plain);
        at += plain;
        if (at < bytes.len)
            out_bytes(escape, escape_byte(ptr[at++], escape));
    }
}

void out_hex(kv_slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        out_format("%02x", ((const uint8_t *)bytes.ptr)[i]);
}

bool out_failed(void)
{
    return false;
}

/* ---- a file in memory ---- */

static ssize_t source_read(void *cookie, char *buf, size_t size)
{
    fuzz_in *in = cookie;
    kvi_slice bytes = fuzz_bytes(in, size);
    memcpy(buf, bytes.ptr, bytes.len);
    return (ssize_t)bytes.len;
}

static FILE *source_open(fuzz_in *in)
{
    FILE *file = fopencookie(in, "r", (cookie_io_functions_t){.read = source_read});
    if (!file)
        fuzz_fail("no memory");
    return file;
}

/* ---- reading: entries one after the other, lengths before bytes ---- */

static void note(heap *entries, const void *bytes, size_t len)
{
    heap_add(entries, &len, sizeof len);
    heap_add(entries, bytes, len);
}

static int read_text(cli_lines *lines, heap *entries)
{
    kv_pair pair;
    int got;
    while ((got = text_read(lines, &pair)) > 0) {
        note(entries, pair.key.ptr, pair.key.len);
        note(entries, pair.value.ptr, pair.value.len);
    }
    return got;
}

/* Each section is written again behind the others, in a style. */
static int read_dump(cli_lines *lines, heap *entries, const dump_style *style, bool *fits)
{
    dump_reader reader;
    kv_pair pair;
    int got;
    dump_reader_begin(&reader, lines);
    while ((got = dump_read_section(&reader)) > 0) {
        kv_slice name = {reader.name, reader.name_len};
        *fits = *fits && dump_name_fits(style, name);
        dump_write_header(style, name);
        note(entries, name.ptr, name.len);
        while ((got = dump_read_entry(&reader, &pair)) > 0) {
            note(entries, pair.key.ptr, pair.key.len);
            note(entries, pair.value.ptr, pair.value.len);
            dump_write_entry(style, pair.key, pair.value);
        }
        if (got < 0)
            break;
        dump_write_end();
    }
    dump_reader_end(&reader);
    return got;
}

/* The message of a failure names a line that there is. */
static void judge_message(const cli_lines *lines, int got, fuzz_in source)
{
    unsigned long long line = 0, last = 1;
    for (const uint8_t *p = source.at; p < source.end; p++)
        last += *p == '\n';
    if (got >= 0)
        return;
    FUZZ_MUST(sscanf(said, "line %llu: ", &line) == 1);
    FUZZ_MUST(line >= 1 && line <= last && line == lines->number);
}

static int read_source(fuzz_in source, const dump_style *style, heap *entries, bool *fits)
{
    fuzz_in in = source;
    cli_lines lines = {.name = "source"};
    said[0] = 0;
    entries->len = 0;
    written.len = 0;
    lines.file = source_open(&in);
    int got = style ? read_dump(&lines, entries, style, fits) : read_text(&lines, entries);
    judge_message(&lines, got, source);
    lines_close(&lines);
    return got;
}

/* ---- what was read, written and read again ---- */

static void text_again(heap *entries)
{
    size_t len;
    written.len = 0;
    for (size_t at = 0; at < entries->len;) {
        kv_slice part[2];
        for (int i = 0; i < 2; i++) {
            memcpy(&len, entries->bytes + at, sizeof len);
            part[i] = (kv_slice){entries->bytes + at + sizeof len, len};
            at += sizeof len + len;
        }
        text_write(part[0], part[1]);
    }
}

/* The bytes that were written are the next source. */
static void same_again(const dump_style *style, const heap *entries)
{
    static heap source, second;
    bool fits = true;
    if (written.len == 0)
        return;
    source.len = 0;
    heap_add(&source, written.bytes, written.len);
    fuzz_in in = {source.bytes, source.bytes + source.len};
    FUZZ_MUST(read_source(in, style, &second, &fits) == 0);
    FUZZ_MUST(second.len == entries->len);
    FUZZ_MUST(second.len == 0 || memcmp(second.bytes, entries->bytes, second.len) == 0);
}

int fuzz_import(const uint8_t *data, size_t len)
{
    static heap entries;
    fuzz_in in = {data, data + len};
    unsigned how = (unsigned)fuzz_take(&in, 1);
    dump_style style = {.print = how & 2, .berkeley = how & 4, .map_size = 1 << 20};
    bool dump = how & 1, fits = true;
    if (read_source(in, dump ? &style : NULL, &entries, &fits) < 0)
        return 0;
    if (!dump)
        text_again(&entries);
    if (fits)
        same_again(dump ? &style : NULL, &entries);
    return 0;
}
