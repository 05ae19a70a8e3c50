/* number.h - values that are numbers: 64-bit integers and doubles, in binary or as decimal text.
 *
 *   binary   8 bytes, little-endian: two's complement, IEEE 754
 *   text     what a person would write: -12, 0.5, 1e+100; without spaces, plus sign or leading zeros
 *
 * Text has a point whatever the program's locale says. */
#ifndef KVI_NUMBER_H
#define KVI_NUMBER_H

#include "bytes.h"

#define KVI_NUMBER_MAX 64 /* bytes of a number: all that is written, and the longest that is read */

/* False: the bytes are no such number. Of doubles only finite ones are. */
bool kvi_int_read(kvi_slice bytes, bool text, int64_t *number) KVI_MUST_CHECK;
bool kvi_double_read(kvi_slice bytes, bool text, double *number) KVI_MUST_CHECK;

/* Writes a number and gives its length. Text is the shortest that reads as the same double. */
size_t kvi_int_write(int64_t number, bool text, uint8_t out[KVI_NUMBER_MAX]);
size_t kvi_double_write(double number, bool text, uint8_t out[KVI_NUMBER_MAX]);

/* Neither infinite nor a NaN. */
static inline bool kvi_double_finite(double number)
{
    return number - number == 0;
}

#endif
