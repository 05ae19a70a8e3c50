/* text.h - the text form: one line per entry, key TAB value, escaped (escape.h). */
#ifndef TEXT_H
#define TEXT_H

#include "lines.h"

void text_write(kv_slice key, kv_slice value);

/* With a column between them: the time of expiry in milliseconds, 0: never. */
void text_write_until(kv_slice key, uint64_t expires_at, kv_slice value);
int text_read_until(cli_lines *lines, kv_pair *pair, uint64_t *expires_at);

/* The next entry; it is valid until the next call. 1, 0 at the end, -1 after a message. */
int text_read(cli_lines *lines, kv_pair *pair);

#endif
