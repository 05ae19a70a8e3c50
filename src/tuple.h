/* tuple.h - tuples as keys: what encoding, decoding, printing and parsing share. docs/keys.md has the
 * bytes. */
#ifndef KVI_TUPLE_H
#define KVI_TUPLE_H

#include "base.h"
#include "kv.h"

/* The byte that begins an element; complemented when it stands in descending order, so codes are
 * below 0x80. */
enum {
    KVI_TUPLE_END = 0x00, /* of a nested tuple */
    KVI_TUPLE_NULL = 0x08,
    KVI_TUPLE_FALSE = 0x10,
    KVI_TUPLE_TRUE = 0x11,
    KVI_TUPLE_ZERO = 0x20, /* integers of n bytes: n more when positive, n less when negative */
    KVI_TUPLE_DOUBLE = 0x30,
    KVI_TUPLE_BYTES = 0x38,
    KVI_TUPLE_TEXT = 0x39,
    KVI_TUPLE_TUPLE = 0x40
};

/* Bit n: the bytes of level n are complemented. Level 0 is the tuple itself. */
typedef uint64_t kvi_flips;

static inline uint8_t kvi_flip(kvi_flips flips, unsigned depth)
{
    return flips >> depth & 1 ? 0xff : 0;
}

typedef struct kvi_tuple_writer {
    uint8_t *buf;
    size_t size; /* of buf */
    size_t len;  /* of the tuple so far, also of what did not fit */
    kvi_flips flips;
    unsigned depth; /* nested tuples that are open */
    bool open;      /* bytes without an end were written: nothing may follow */
} kvi_tuple_writer;

/* Appends an element. False: it makes no sense. */
bool kvi_tuple_put(kvi_tuple_writer *to, const kv_part *part) KVI_MUST_CHECK;

/* The same of bytes or text, piece by piece. */
void kvi_tuple_put_code(kvi_tuple_writer *to, uint8_t code, bool desc);
void kvi_tuple_put_escaped(kvi_tuple_writer *to, kvi_slice piece, bool desc);
void kvi_tuple_put_end(kvi_tuple_writer *to, bool desc);

/* KV_OK, KV_EINVAL when a nested tuple is open, KV_ETOOBIG; *len is the length in any case but the
 * second. */
int kvi_tuple_finish(const kvi_tuple_writer *to, size_t *len) KVI_MUST_CHECK;

typedef struct kvi_tuple_reader {
    const uint8_t *at, *end;
    kvi_flips flips;
    unsigned depth;
} kvi_tuple_reader;

/* The next element; of bytes and text, *raw is the escaped form without its end, and *flip what
 * its bytes are combined with. KV_NOTFOUND: the end. KV_EINVAL: this is no tuple. */
int kvi_tuple_take(kvi_tuple_reader *from, kv_part *part, kvi_slice *raw,
                   uint8_t *flip) KVI_MUST_CHECK;

#endif
