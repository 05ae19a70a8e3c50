/* text.h - the text form: one line per entry, key TAB value, escaped (escape.h). */
#ifndef TEXT_H
#define TEXT_H

#include "lines.h"

void text_write(kv_slice key, kv_slice value);

/* The next entry; it is valid until the next call. 1, 0 at the end, -1 after a message. */
int text_read(cli_lines *lines, kv_pair *pair);

#endif
