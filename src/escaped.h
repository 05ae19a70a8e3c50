/* escaped.h - bytes in a form that keeps their order and knows its own end, so that something else
 * may follow: 00 ends them, a byte 00 is written 01 01, a byte 01 is written 01 02. No form is the
 * beginning of another. The idea is that of FoundationDB's tuple layer, whose form (00 for the end,
 * 00 ff for a byte 00) can begin another one. */
#ifndef KVI_ESCAPED_H
#define KVI_ESCAPED_H

#include "base.h"

#define KVI_ESCAPED_END 0x00
#define KVI_ESCAPED     0x01

/* Length of the form, its end included. */
static inline size_t kvi_escaped_len(kvi_slice bytes)
{
    size_t len = bytes.len + 1;
    for (size_t i = 0; i < bytes.len; i++)
        len += bytes.ptr[i] <= KVI_ESCAPED;
    return len;
}

/* Writes the form of one byte, at most two bytes. Gives its length. */
static inline size_t kvi_escaped_byte(uint8_t byte, uint8_t *to)
{
    bool escape = byte <= KVI_ESCAPED;
    to[0] = escape ? KVI_ESCAPED : byte;
    to[1] = (uint8_t)(byte + 1);
    return 1u + escape;
}

/* Reads one byte of a form in [at, end) whose bytes are all complemented when flip is 0xff. Gives its
 * length, 0 at the end mark, -1 when it is none or cut short. */
static inline int kvi_escaped_read(const uint8_t *at, const uint8_t *end, uint8_t flip,
                                   uint8_t *byte)
{
    *byte = 0;
    if (at == end)
        return -1;
    *byte = *at ^ flip;
    if (*byte > KVI_ESCAPED)
        return 1;
    if (*byte == KVI_ESCAPED_END)
        return 0;
    if (end - at < 2)
        return -1;
    *byte = (uint8_t)((at[1] ^ flip) - 1);
    return *byte <= KVI_ESCAPED ? 2 : -1;
}

#endif
