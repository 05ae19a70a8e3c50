/* escape.h - the printable form of bytes: \t \n \r \\ \xNN, and UTF-8 text as it is. */
#ifndef ESCAPE_H
#define ESCAPE_H

#include "kv.h"

#define ESCAPE_MAX 4 /* bytes that one byte, or one character, becomes at most */

/* Bytes of the well-formed UTF-8 character at ptr, 0 when there is none. */
size_t escape_utf8_len(const uint8_t *ptr, size_t len);
bool escape_is_utf8(kv_slice bytes);

/* Is the UTF-8 character at ptr one of U+0080 to U+009F? They are control characters, too: some
 * terminals obey them. */
bool escape_is_c1(const uint8_t *ptr);

/* The length of the run at ptr that stands for itself. */
size_t escape_plain_len(const uint8_t *ptr, size_t len);

/* Writes the escape of one byte. Gives its length. */
size_t escape_byte(uint8_t byte, char out[ESCAPE_MAX]);

/* Decodes in place. Gives the new length, or -1 with the place of the mistake. */
ptrdiff_t escape_decode(char *text, size_t len, size_t *wrong_at);

/* The value of a hexadecimal digit, or -1. */
int escape_hex_digit(char c);

#endif
