/* table.c - see table.h. */
#include "table.h"
#include "cli.h"
#include "escape.h"
#include "out.h"
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

/* Columns of a terminal that the text takes; what is not a character of the locale counts as 1. */
static int table_width(const char *text)
{
    mbstate_t state = {0};
    int width = 0;
    for (size_t left = strlen(text), n; left > 0; text += n, left -= n) {
        wchar_t c;
        n = mbrtowc(&c, text, left, &state);
        bool known = n != (size_t)-1 && n != (size_t)-2;
        width += known && wcwidth(c) >= 0 ? wcwidth(c) : 1;
        if (!known) {
            memset(&state, 0, sizeof state);
            n = 1;
        }
    }
    return width;
}

void table_begin(cli_table *table, const char *align)
{
    table->align = align;
    table->columns = (int)strlen(align);
    table->cells = NULL;
    table->count = 0;
}

/* Takes over the text. */
static void table_take(cli_table *table, char *text)
{
    table->cells = cli_realloc(table->cells, (table->count + 1) * sizeof *table->cells);
    table->cells[table->count++] = text;
}

void table_cell(cli_table *table, const char *text)
{
    size_t size = strlen(text) + 1;
    table_take(table, memcpy(cli_realloc(NULL, size), text, size));
}

void table_cell_bytes(cli_table *table, kv_slice bytes)
{
    char *text = cli_realloc(NULL, bytes.len * ESCAPE_MAX + 1);
    const uint8_t *ptr = bytes.ptr;
    size_t used = 0;
    for (size_t at = 0; at < bytes.len; at++) {
        size_t plain = escape_plain_len(ptr + at, bytes.len - at);
        memcpy(text + used, ptr + at, plain);
        used += plain;
        at += plain;
        if (at < bytes.len)
            used += escape_byte(ptr[at], text + used);
    }
    text[used] = 0;
    table_take(table, text);
}

static void table_pad(int n)
{
    while (n-- > 0)
        out_char(' ');
}

static void table_row(const cli_table *table, char **cells, const int *widths, int indent)
{
    int column, owed = indent; /* blanks to write before the next text: none at the end of a line */
    for (column = 0; column < table->columns; column++) {
        int blank = widths[column] - table_width(cells[column]);
        bool right = table->align[column] == 'r';
        if (*cells[column]) {
            table_pad(owed + (right ? blank : 0));
            out_text(cells[column]);
            owed = right ? 0 : blank;
        } else {
            owed += widths[column];
        }
        owed += 2;
    }
    out_char('\n');
}

void table_end(cli_table *table, int indent)
{
    int widths[TABLE_COLUMNS_MAX] = {0};
    for (size_t i = 0; i < table->count; i++) {
        int width = table_width(table->cells[i]), *widest = &widths[i % (size_t)table->columns];
        *widest = width > *widest ? width : *widest;
    }
    for (size_t i = 0; i < table->count; i += (size_t)table->columns)
        table_row(table, table->cells + i, widths, indent);
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    free(table->cells);
}
