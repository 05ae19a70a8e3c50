/* json.h - JSON on standard output. Commas come by themselves. */
#ifndef JSON_H
#define JSON_H

#include "kv.h"

void json_open(char bracket);  /* '{' or '[' */
void json_close(char bracket); /* '}' or ']' */
void json_name(const char *name);
void json_number(uint64_t n);
void json_integer(int64_t n);
void json_real(double number);    /* digits enough to read the same number back */
void json_decimal(double number); /* three decimals */
void json_bool(bool value);
void json_null(void);
void json_text(const char *text);

/* Bytes: a string when they are UTF-8, otherwise {"hex":"..."}. */
void json_bytes(kv_slice bytes);

/* Ends a document: a newline, and the next one begins without a comma. */
void json_end(void);

#endif
