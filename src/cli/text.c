/* text.c - see text.h. */
#include "text.h"
#include "cli.h"
#include "escape.h"
#include "out.h"
#include <string.h>

void text_write(kv_slice key, kv_slice value)
{
    out_escaped(key);
    out_char('\t');
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
