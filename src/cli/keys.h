/* keys.h - keys as people give and see them: bytes, or with --tuple the parts of a tuple. */
#ifndef KEYS_H
#define KEYS_H

#include "args.h"
#include "table.h"

/* Turns the text of a tuple into the key that it means. bound: it may be open at its end, and is no
 * key then. 0, or the exit code after a message. */
int keys_parse(const cli_args *args, kv_slice *key, bool bound);

/* Writes a key to standard output: escaped, or as a tuple where --tuple is given and it is one. */
void keys_write(const cli_args *args, kv_slice key);

/* The same as a JSON value, and as the cell of a table. */
void keys_json(const cli_args *args, kv_slice key);
void keys_cell(const cli_args *args, cli_table *table, kv_slice key);

/* The same, shortened, for a message; see cli_quote. */
const char *keys_quote(const cli_args *args, kv_slice key);

#endif
