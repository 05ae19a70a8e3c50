/* table.h - a table for people: columns as wide as their widest cell. */
#ifndef TABLE_H
#define TABLE_H

#include "kv.h"

#define TABLE_COLUMNS_MAX 8

typedef struct cli_table {
    const char *align; /* one letter per column: l or r */
    int columns;
    char **cells; /* row by row */
    size_t count;
} cli_table;

void table_begin(cli_table *table, const char *align);
void table_cell(cli_table *table, const char *text);     /* the text is copied */
void table_cell_bytes(cli_table *table, kv_slice bytes); /* escaped */

/* Prints the rows with an indentation, and frees them. */
void table_end(cli_table *table, int indent);

#endif
