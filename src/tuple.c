/* tuple.c - see tuple.h. */
#include "tuple.h"
#include "bytes.h"
#include "escaped.h"

#define DEPTH_MAX KV_TUPLE_DEPTH_MAX
#define SIGN      ((uint64_t)1 << 63)
#define NAN_BITS  ((uint64_t)0x7ff8 << 48)
#define INF_BITS  ((uint64_t)0x7ff0 << 48)

/* ---- writing ---- */

static void put_byte(kvi_tuple_writer *to, uint8_t byte)
{
    if (to->len < to->size)
        to->buf[to->len] = byte;
    to->len++;
}

/* The low n bytes of a number, big-endian. */
static void put_number(kvi_tuple_writer *to, uint64_t number, unsigned n, uint8_t flip)
{
    while (n-- > 0)
        put_byte(to, (uint8_t)(number >> 8 * n) ^ flip);
}

/* What the bytes of an element on the present level are combined with. */
static uint8_t flip_of(const kvi_tuple_writer *to, bool desc)
{
    return kvi_flip(to->flips, to->depth) ^ (desc ? 0xff : 0);
}

void kvi_tuple_put_code(kvi_tuple_writer *to, uint8_t code, bool desc)
{
    put_byte(to, code ^ flip_of(to, desc));
}

void kvi_tuple_put_escaped(kvi_tuple_writer *to, kvi_slice piece, bool desc)
{
    uint8_t form[2], flip = flip_of(to, desc);
    for (size_t i = 0; i < piece.len; i++) {
        size_t n = kvi_escaped_byte(piece.ptr[i], form);
        for (size_t k = 0; k < n; k++)
            put_byte(to, form[k] ^ flip);
    }
}

void kvi_tuple_put_end(kvi_tuple_writer *to, bool desc)
{
    put_byte(to, KVI_ESCAPED_END ^ flip_of(to, desc));
}

static unsigned number_bytes(uint64_t number)
{
    unsigned n = 0;
    for (; number; number >>= 8)
        n++;
    return n;
}

/* An integer by its sign and its distance from zero. */
static void put_integer(kvi_tuple_writer *to, uint64_t distance, bool negative, bool desc)
{
    unsigned n = number_bytes(distance);
    uint8_t flip = flip_of(to, desc);
    kvi_tuple_put_code(to, (uint8_t)(negative ? KVI_TUPLE_ZERO - n : KVI_TUPLE_ZERO + n), desc);
    put_number(to, negative ? ~distance : distance, n, flip);
}

/* Positive numbers get the sign bit, negative ones are complemented: they sort like integers. */
static void put_double(kvi_tuple_writer *to, double real, bool desc)
{
    uint64_t bits;
    memcpy(&bits, &real, sizeof bits);
    if ((bits & ~SIGN) > INF_BITS)
        bits = NAN_BITS;
    else if (bits == SIGN)
        bits = 0;
    kvi_tuple_put_code(to, KVI_TUPLE_DOUBLE, desc);
    put_number(to, bits & SIGN ? ~bits : bits | SIGN, 8, flip_of(to, desc));
}

static void put_bytes(kvi_tuple_writer *to, const kv_part *part, bool desc)
{
    bool text = part->type == KV_PART_TEXT;
    kvi_tuple_put_code(to, text ? KVI_TUPLE_TEXT : KVI_TUPLE_BYTES, desc);
    kvi_tuple_put_escaped(to, kvi_slice_of(part->bytes.ptr, part->bytes.len), desc);
    if (part->flags & KV_PART_OPEN)
        to->open = true;
    else
        kvi_tuple_put_end(to, desc);
}

static bool put_tuple(kvi_tuple_writer *to, bool desc)
{
    if (to->depth == DEPTH_MAX)
        return false;
    bool flipped = flip_of(to, desc) != 0;
    kvi_tuple_put_code(to, KVI_TUPLE_TUPLE, desc);
    to->depth++;
    to->flips &= ~((kvi_flips)1 << to->depth);
    to->flips |= (kvi_flips)flipped << to->depth;
    return true;
}

static bool put_tuple_end(kvi_tuple_writer *to)
{
    if (to->depth == 0)
        return false;
    kvi_tuple_put_end(to, false);
    to->depth--;
    return true;
}

static bool part_sound(const kvi_tuple_writer *to, const kv_part *part)
{
    bool bytes = part->type == KV_PART_BYTES || part->type == KV_PART_TEXT;
    uint32_t known = part->type == KV_PART_END ? 0
                     : bytes                   ? KV_PART_DESC | KV_PART_OPEN
                                               : KV_PART_DESC;
    return !to->open && !(part->flags & ~known) &&
           (!bytes || part->bytes.ptr || part->bytes.len == 0);
}

bool kvi_tuple_put(kvi_tuple_writer *to, const kv_part *part)
{
    bool desc = part->flags & KV_PART_DESC;
    if (!part_sound(to, part))
        return false;
    switch (part->type) {
    case KV_PART_NULL:
        return kvi_tuple_put_code(to, KVI_TUPLE_NULL, desc), true;
    case KV_PART_BOOL:
        return kvi_tuple_put_code(to, part->number ? KVI_TUPLE_TRUE : KVI_TUPLE_FALSE, desc), true;
    case KV_PART_INT:
        return put_integer(to,
                           part->integer < 0 ? -(uint64_t)part->integer : (uint64_t)part->integer,
                           part->integer < 0, desc),
               true;
    case KV_PART_UINT:
        return put_integer(to, part->number, false, desc), true;
    case KV_PART_DOUBLE:
        return put_double(to, part->real, desc), true;
    case KV_PART_BYTES:
    case KV_PART_TEXT:
        return put_bytes(to, part, desc), true;
    case KV_PART_TUPLE:
        return put_tuple(to, desc);
    case KV_PART_END:
        return put_tuple_end(to);
    }
    return false;
}

int kvi_tuple_finish(const kvi_tuple_writer *to, size_t *len)
{
    if (to->depth > 0 && !to->open)
        return KV_EINVAL;
    *len = to->len;
    return to->len > to->size ? KV_ETOOBIG : KV_OK;
}

KV_API int kv_tuple_encode(const kv_part *parts, size_t n, void *buf, size_t size, size_t *len)
{
    kvi_tuple_writer to = {.buf = buf, .size = size};
    if ((!parts && n > 0) || (!buf && size > 0) || !len)
        return KV_EINVAL;
    for (size_t i = 0; i < n; i++)
        if (!kvi_tuple_put(&to, &parts[i]))
            return KV_EINVAL;
    return kvi_tuple_finish(&to, len);
}

/* ---- reading ---- */

/* A big-endian number of n bytes that must be there. */
static bool take_number(kvi_tuple_reader *from, unsigned n, uint8_t flip, uint64_t *number)
{
    *number = 0;
    if ((size_t)(from->end - from->at) < n)
        return false;
    while (n-- > 0)
        *number = *number << 8 | (uint8_t)(*from->at++ ^ flip);
    return true;
}

/* Only the shortest form of an integer is one, so that each has one encoding. */
static bool take_integer(kvi_tuple_reader *from, int n, uint8_t flip, kv_part *part)
{
    unsigned bytes = (unsigned)(n < 0 ? -n : n);
    uint64_t distance;
    if (!take_number(from, bytes, n < 0 ? (uint8_t)~flip : flip, &distance) ||
        number_bytes(distance) != bytes || (n < 0 && distance > SIGN))
        return false;
    part->number = n < 0 ? -distance : distance;
    part->integer = (int64_t)part->number;
    part->type = n >= 0 && part->integer < 0 ? KV_PART_UINT : KV_PART_INT;
    return true;
}

static bool take_double(kvi_tuple_reader *from, uint8_t flip, kv_part *part)
{
    uint64_t bits;
    if (!take_number(from, 8, flip, &bits))
        return false;
    bits = bits & SIGN ? bits & ~SIGN : ~bits;
    if (bits == SIGN || ((bits & ~SIGN) > INF_BITS && bits != NAN_BITS))
        return false;
    memcpy(&part->real, &bits, sizeof bits);
    part->type = KV_PART_DOUBLE;
    return true;
}

static bool take_escaped(kvi_tuple_reader *from, uint8_t flip, kvi_slice *raw)
{
    const uint8_t *at = from->at;
    uint8_t byte;
    int n;
    while ((n = kvi_escaped_read(at, from->end, flip, &byte)) > 0)
        at += n;
    if (n != 0)
        return false;
    *raw = kvi_slice_of(from->at, (size_t)(at - from->at));
    from->at = at + 1;
    return true;
}

static bool take_tuple(kvi_tuple_reader *from, uint8_t flip, kv_part *part)
{
    if (from->depth == DEPTH_MAX)
        return false;
    part->type = KV_PART_TUPLE;
    from->depth++;
    from->flips &= ~((kvi_flips)1 << from->depth);
    from->flips |= (kvi_flips)(flip & 1) << from->depth;
    return true;
}

static bool take_coded(kvi_tuple_reader *from, uint8_t code, uint8_t flip, kv_part *part,
                       kvi_slice *raw)
{
    switch (code) {
    case KVI_TUPLE_NULL:
        part->type = KV_PART_NULL;
        return true;
    case KVI_TUPLE_FALSE:
    case KVI_TUPLE_TRUE:
        part->type = KV_PART_BOOL;
        part->number = code - KVI_TUPLE_FALSE;
        return true;
    case KVI_TUPLE_DOUBLE:
        return take_double(from, flip, part);
    case KVI_TUPLE_BYTES:
    case KVI_TUPLE_TEXT:
        part->type = code == KVI_TUPLE_TEXT ? KV_PART_TEXT : KV_PART_BYTES;
        return take_escaped(from, flip, raw);
    case KVI_TUPLE_TUPLE:
        return take_tuple(from, flip, part);
    }
    int n = code - KVI_TUPLE_ZERO;
    return n >= -8 && n <= 8 && take_integer(from, n, flip, part);
}

int kvi_tuple_take(kvi_tuple_reader *from, kv_part *part, kvi_slice *raw, uint8_t *flip)
{
    *part = (kv_part){.type = KV_PART_END};
    *raw = kvi_slice_of(NULL, 0);
    *flip = kvi_flip(from->flips, from->depth);
    if (from->at == from->end)
        return from->depth == 0 ? KV_NOTFOUND : KV_EINVAL;
    uint8_t code = *from->at ^ *flip;
    if (code == KVI_TUPLE_END && from->depth > 0) {
        from->at++;
        from->depth--;
        return KV_OK;
    }
    if (code >= 0x80) {
        code = (uint8_t)~code;
        *flip = (uint8_t) ~*flip;
        part->flags = KV_PART_DESC;
    }
    kvi_tuple_reader next = *from;
    next.at++;
    if (!take_coded(&next, code, *flip, part, raw))
        return KV_EINVAL;
    *from = next;
    return KV_OK;
}

/* ---- the public reader ---- */

KV_API int kv_tuple_begin(kv_tuple_reader *reader, const void *key, size_t key_len, void *room,
                          size_t size)
{
    if (!reader || (!key && key_len > 0) || (!room && size > 0))
        return KV_EINVAL;
    *reader = (kv_tuple_reader){.key = key, .key_len = key_len, .room = room, .room_size = size};
    return KV_OK;
}

/* Copies the plain bytes of an escaped form into the reader's room. */
static int reader_copy(kv_tuple_reader *reader, kvi_slice raw, uint8_t flip, kv_slice *bytes)
{
    uint8_t *room = reader->room, byte = 0;
    size_t used = reader->used;
    const uint8_t *end = raw.ptr + raw.len;
    for (const uint8_t *at = raw.ptr; at < end; used++) {
        if (used == reader->room_size)
            return KV_ETOOBIG;
        at += kvi_escaped_read(at, end, flip, &byte);
        room[used] = byte;
    }
    *bytes = (kv_slice){room ? room + reader->used : NULL, used - reader->used};
    reader->used = used;
    return KV_OK;
}

KV_API int kv_tuple_next(kv_tuple_reader *reader, kv_part *part)
{
    kv_part found;
    kvi_slice raw;
    uint8_t flip;
    if (!reader || !part)
        return KV_EINVAL;
    const uint8_t *key = reader->key;
    kvi_tuple_reader from = {.at = key ? key + reader->at : NULL,
                             .end = key ? key + reader->key_len : NULL,
                             .flips = reader->flips,
                             .depth = reader->depth};
    int rc = kvi_tuple_take(&from, &found, &raw, &flip);
    if (rc == KV_OK && raw.ptr)
        rc = reader_copy(reader, raw, flip, &found.bytes);
    if (rc != KV_OK)
        return rc;
    *part = found;
    reader->at = (size_t)(from.at - key);
    reader->flips = from.flips;
    reader->depth = from.depth;
    return KV_OK;
}
