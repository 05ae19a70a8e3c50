/* out.h - standard output: buffered, with the first failure remembered, so that a full disk is
 * reported and a reader that went away ends the command quietly. */
#ifndef OUT_H
#define OUT_H

#include "kv.h"

void out_bytes(const void *ptr, size_t len);
void out_text(const char *text);
void out_char(char c);
void out_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
void out_escaped(kv_slice bytes); /* see escape.h */
void out_hex(kv_slice bytes);

/* True once something could not be written: there is no use in going on. */
bool out_failed(void);

/* True when whoever read standard output went away. Also for what was written past this module. */
bool out_reader_gone(void);

void out_flush(void);

/* Writes what is left and reports a failure. Gives code, or CLI_TROUBLE. */
int out_end(int code);

#endif
