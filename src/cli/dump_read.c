/* dump_read.c - reading dumps: see dump.h. What kv cannot represent is refused before the first
 * entry of a section is stored. */
#include "cli.h"
#include "dump.h"
#include "escape.h"
#include <stdlib.h>
#include <string.h>

/* What the header of a section said. */
typedef struct dump_header {
    bool print;
    bool lmdb;  /* has lines that only LMDB writes */
    bool multi; /* several values for each key */
    char *name;
} dump_header;

void dump_reader_begin(dump_reader *reader, cli_lines *lines)
{
    *reader = (dump_reader){.lines = lines};
}

void dump_reader_end(dump_reader *reader)
{
    free(reader->key);
    free(reader->name);
}

bool dump_begins(const cli_lines *lines)
{
    return lines->len > 8 && memcmp(lines->text, "VERSION=", 8) == 0 &&
           !memchr(lines->text, '\t', lines->len);
}

/* ---- bytes ---- */

static ptrdiff_t dump_decode_hex(char *text, size_t len)
{
    if (len % 2 != 0)
        return -1;
    for (size_t i = 0; i < len / 2; i++) {
        int high = escape_hex_digit(text[2 * i]), low = escape_hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return -1;
        text[i] = (char)(high << 4 | low);
    }
    return (ptrdiff_t)(len / 2);
}

static ptrdiff_t dump_decode_print(char *text, size_t len)
{
    size_t to = 0;
    for (size_t at = 0; at < len; to++) {
        if (text[at] != '\\') {
            text[to] = text[at++];
        } else if (at + 1 < len && text[at + 1] == '\\') {
            text[to] = '\\';
            at += 2;
        } else {
            int high = at + 2 < len ? escape_hex_digit(text[at + 1]) : -1;
            int low = at + 2 < len ? escape_hex_digit(text[at + 2]) : -1;
            if (high < 0 || low < 0)
                return -1;
            text[to] = (char)(high << 4 | low);
            at += 3;
        }
    }
    return (ptrdiff_t)to;
}

/* Decodes the current line, which begins with a blank, in place. */
static int dump_decode_line(const dump_reader *reader, kv_slice *bytes)
{
    cli_lines *lines = reader->lines;
    char *text = lines->text + 1;
    ptrdiff_t len = reader->print ? dump_decode_print(text, lines->len - 1)
                                  : dump_decode_hex(text, lines->len - 1);
    if (len < 0 && reader->print)
        return lines_wrong(lines, "a backslash without two hexadecimal digits: some versions of "
                                  "mdb_dump -p write this; dump again without -p");
    if (len < 0)
        return lines_wrong(lines, "not pairs of hexadecimal digits");
    *bytes = (kv_slice){text, (size_t)len};
    return 1;
}

/* ---- header ---- */

static const struct dump_refusal {
    const char *line;
    const char *why;
} dump_refusals[] = {
    {"keys=0", "this dump has no keys; use db_dump -k"},
    {"type=hash", "only type=btree can be imported; db_load -t btree makes one of a hash"},
    {"type=recno", "only type=btree can be imported; this numbers its records"},
    {"type=queue", "only type=btree can be imported; this numbers its records"},
    {"type=heap", "only type=btree can be imported; this has no keys"},
};

static const struct dump_order {
    const char *line;
    const char *what;
} dump_order_changes[] = {
    {"integerkey=1", "keys"},
    {"reversekey=1", "keys"},
    {"integerdup=1", "values of a key"},
    {"reversedup=1", "values of a key"},
};

/* Several values for each key, sorted or not: here they are sorted. */
static const char *const dump_duplicates[] = {"duplicates=1", "dupsort=1", "dupfixed=1",
                                              "integerdup=1", "reversedup=1"};

/* Whatever the input has. */
static const char *dump_quote(const char *text)
{
    return cli_quote((kv_slice){text, strlen(text)});
}

static const char *dump_value(const cli_lines *lines, const char *name)
{
    size_t len = strlen(name);
    return strncmp(lines->text, name, len) == 0 ? lines->text + len : NULL;
}

static int dump_header_check(const cli_lines *lines)
{
    for (size_t i = 0; i < sizeof dump_refusals / sizeof dump_refusals[0]; i++) {
        if (strcmp(lines->text, dump_refusals[i].line) == 0)
            return lines_wrong(lines, "%s: %s", lines->text, dump_refusals[i].why);
    }
    for (size_t i = 0; i < sizeof dump_order_changes / sizeof dump_order_changes[0]; i++) {
        if (strcmp(lines->text, dump_order_changes[i].line) == 0)
            cli_say(lines->name, "warning: %s: kv orders %s by their bytes instead", lines->text,
                    dump_order_changes[i].what);
    }
    const char *version = dump_value(lines, "VERSION=");
    if (version && strcmp(version, "3") != 0)
        return lines_wrong(lines, "version %s of the dump format; only 3 is known",
                           dump_quote(version));
    const char *type = dump_value(lines, "type=");
    if (type && strcmp(type, "btree") != 0)
        return lines_wrong(lines, "%s: only type=btree can be imported", dump_quote(lines->text));
    return 1;
}

/* Takes one line of the header. */
static int dump_header_line(const cli_lines *lines, dump_header *header)
{
    const char *format = dump_value(lines, "format=");
    const char *name = dump_value(lines, "database=");
    if (!strchr(lines->text, '='))
        return lines_wrong(lines, "no line of a dump's header");
    if (format) {
        header->print = strcmp(format, "print") == 0;
        if (!header->print && strcmp(format, "bytevalue") != 0)
            return lines_wrong(lines, "%s: known are bytevalue and print", dump_quote(lines->text));
    }
    if (name) {
        free(header->name);
        header->name = strcpy(cli_realloc(NULL, strlen(name) + 1), name);
    }
    for (size_t i = 0; i < sizeof dump_duplicates / sizeof dump_duplicates[0]; i++)
        header->multi |= strcmp(lines->text, dump_duplicates[i]) == 0;
    if (dump_value(lines, "mapsize=") || dump_value(lines, "maxreaders="))
        header->lmdb = true;
    return dump_header_check(lines);
}

/* Reads up to HEADER=END. A newline ends each line, so that its text is a string. */
static int dump_read_header(cli_lines *lines, dump_header *header)
{
    int got;
    while ((got = lines_next(lines)) > 0) {
        lines->text[lines->len] = 0;
        if (strcmp(lines->text, "HEADER=END") == 0)
            return 1;
        got = dump_header_line(lines, header);
        if (got < 0)
            return got;
    }
    return got < 0 ? got : lines_wrong(lines, "the dump ends within its header");
}

static int dump_take_name(dump_reader *reader, const dump_header *header)
{
    reader->name_len = header->name ? strlen(header->name) : 0;
    if (!header->name || header->lmdb)
        return 1;
    ptrdiff_t len = dump_decode_print(header->name, reader->name_len);
    if (len < 0)
        return lines_wrong(reader->lines, "wrong escape in the name of the database");
    reader->name_len = (size_t)len;
    return 1;
}

int dump_read_section(dump_reader *reader)
{
    cli_lines *lines = reader->lines;
    dump_header header = {.name = NULL};
    int got;
    do {
        got = lines_next(lines);
    } while (got > 0 && lines->len == 0);
    if (got <= 0)
        return got;
    if (!dump_begins(lines))
        return lines_wrong(lines, "no dump: it should begin with VERSION=3");
    lines_back(lines);
    got = dump_read_header(lines, &header);
    free(reader->name);
    reader->name = header.name;
    reader->print = header.print;
    reader->multi = header.multi;
    return got < 0 ? got : dump_take_name(reader, &header);
}

/* ---- entries ---- */

/* The next line of data: 1, 0 for DATA=END, -1 after a message. */
static int dump_read_line(const dump_reader *reader)
{
    cli_lines *lines = reader->lines;
    int got = lines_next(lines);
    if (got < 0)
        return got;
    if (got == 0)
        return lines_wrong(lines, "the dump ends without DATA=END: a part of it is missing");
    if (lines->len > 0 && lines->text[0] == ' ')
        return 1;
    if (lines->len == 8 && memcmp(lines->text, "DATA=END", 8) == 0)
        return 0;
    return lines_wrong(lines, "a line of data begins with a blank");
}

/* Puts the current line aside, so that the next one does not overwrite it. */
static void dump_keep_line(dump_reader *reader)
{
    cli_lines *lines = reader->lines;
    char *text = lines->text;
    size_t capacity = lines->capacity;
    lines->text = reader->key;
    lines->capacity = reader->key_capacity;
    reader->key = text;
    reader->key_capacity = capacity;
}

int dump_read_entry(dump_reader *reader, kv_pair *pair)
{
    int got = dump_read_line(reader);
    if (got > 0)
        got = dump_decode_line(reader, &pair->key);
    if (got <= 0)
        return got;
    dump_keep_line(reader);
    got = dump_read_line(reader);
    if (got == 0)
        return lines_wrong(reader->lines, "a key without a value");
    return got < 0 ? got : dump_decode_line(reader, &pair->value);
}
