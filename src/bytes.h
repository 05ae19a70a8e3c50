/* bytes.h - numbers in untyped memory: little-endian loads and stores, big-endian heads, varints.
 *
 * Every access is by memcpy, so alignment never matters and compilers emit one instruction. */
#ifndef KVI_BYTES_H
#define KVI_BYTES_H

#include "base.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define KVI_LE16(x) __builtin_bswap16(x)
#define KVI_LE32(x) __builtin_bswap32(x)
#define KVI_LE64(x) __builtin_bswap64(x)
#define KVI_BE32(x) (x)
#define KVI_BE64(x) (x)
#else
#define KVI_LE16(x) (x)
#define KVI_LE32(x) (x)
#define KVI_LE64(x) (x)
#define KVI_BE32(x) __builtin_bswap32(x)
#define KVI_BE64(x) __builtin_bswap64(x)
#endif

static inline uint16_t kvi_get16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return KVI_LE16(v);
}

static inline uint32_t kvi_get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return KVI_LE32(v);
}

static inline uint64_t kvi_get64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return KVI_LE64(v);
}

static inline uint64_t kvi_get48(const uint8_t *p)
{
    return (uint64_t)kvi_get32(p) | (uint64_t)kvi_get16(p + 4) << 32;
}

static inline void kvi_put16(uint8_t *p, uint16_t v)
{
    v = KVI_LE16(v);
    memcpy(p, &v, sizeof v);
}

static inline void kvi_put32(uint8_t *p, uint32_t v)
{
    v = KVI_LE32(v);
    memcpy(p, &v, sizeof v);
}

static inline void kvi_put64(uint8_t *p, uint64_t v)
{
    v = KVI_LE64(v);
    memcpy(p, &v, sizeof v);
}

static inline void kvi_put48(uint8_t *p, uint64_t v)
{
    kvi_put32(p, (uint32_t)v);
    kvi_put16(p + 4, (uint16_t)(v >> 32));
}

static inline uint32_t kvi_get32be(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return KVI_BE32(v);
}

static inline uint64_t kvi_get64be(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return KVI_BE64(v);
}

static inline void kvi_put32be(uint8_t *p, uint32_t v)
{
    v = KVI_BE32(v);
    memcpy(p, &v, sizeof v);
}

/* Two words in one store. */
static inline void kvi_put128(uint8_t *p, uint64_t low, uint64_t high)
{
    typedef uint64_t pair __attribute__((vector_size(16)));
    pair v = {KVI_LE64(low), KVI_LE64(high)};
    memcpy(p, &v, sizeof v);
}

/* Varint: seven bits a byte, low bits first, high bit = more follow; at most ten bytes. */
#define KVI_VARINT_MAX 10

static inline size_t kvi_varint_size(uint64_t v)
{
    size_t n = 1;
    while (v >= 0x80) {
        v >>= 7;
        n++;
    }
    return n;
}

static inline uint8_t *kvi_varint_put(uint8_t *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return p;
}

/* Reads from [p, end). Returns the byte after the number, or NULL when it is cut short, longer
 * than 64 bits, or not in its shortest form (so that every number has one spelling). */
static inline const uint8_t *kvi_varint_get(const uint8_t *p, const uint8_t *end, uint64_t *v)
{
    uint64_t value = 0;
    for (unsigned shift = 0; p < end && shift < 64; shift += 7) {
        uint8_t byte = *p++;
        uint64_t part = (uint64_t)(byte & 0x7f);
        if (shift == 63 && part > 1)
            return NULL;
        value |= part << shift;
        if (byte < 0x80) {
            if (byte == 0 && shift > 0)
                return NULL;
            *v = value;
            return p;
        }
    }
    return NULL;
}

#endif
