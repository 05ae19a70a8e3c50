/* text.c - see text.h. */
#include "text.h"
#include "escape.h"
#include "out.h"
#include "units.h"
#include <string.h>

void text_write(kv_slice key, kv_slice value)
{
    out_escaped(key);
    out_char('\t');
    out_escaped(value);
    out_char('\n');
}

void text_write_until(kv_slice key, uint64_t expires_at, kv_slice value)
{
    out_escaped(key);
    out_format("\t%llu\t", (unsigned long long)expires_at);
    out_escaped(value);
    out_char('\n');
}

static int text_field(cli_lines *lines, char *text, size_t len, kv_slice *field)
{
    size_t wrong_at;
    ptrdiff_t decoded = escape_decode(text, len, &wrong_at);
    if (decoded < 0)
        return lines_wrong(lines, "column %zu: wrong escape; known are \\t \\n \\r \\\\ \\xNN",
                           (size_t)(text - lines->text) + wrong_at + 1);
    *field = (kv_slice){text, (size_t)decoded};
    return 1;
}

int text_read_until(cli_lines *lines, kv_pair *pair, uint64_t *expires_at)
{
    int got = lines_next(lines);
    if (got <= 0)
        return got;
    char *end = lines->text + lines->len;
    char *first = memchr(lines->text, '\t', lines->len);
    char *second = first ? memchr(first + 1, '\t', (size_t)(end - first - 1)) : NULL;
    if (!second)
        return lines_wrong(lines, "with --expiry a line is key, tab, expiry, tab, value");
    *second = 0;
    if (!units_read_number(first + 1, expires_at))
        return lines_wrong(lines, "the expiry is not a number of milliseconds");
    got = text_field(lines, lines->text, (size_t)(first - lines->text), &pair->key);
    return got < 0 ? got : text_field(lines, second + 1, (size_t)(end - second - 1), &pair->value);
}

int text_read(cli_lines *lines, kv_pair *pair)
{
    int got = lines_next(lines);
    if (got <= 0)
        return got;
    /* the first tab divides; more of them belong to the value */
    char *tab = memchr(lines->text, '\t', lines->len);
    if (!tab)
        return lines_wrong(lines, "no tab between key and value");
    char *end = lines->text + lines->len;
    got = text_field(lines, lines->text, (size_t)(tab - lines->text), &pair->key);
    return got < 0 ? got : text_field(lines, tab + 1, (size_t)(end - tab - 1), &pair->value);
}
