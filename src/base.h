/* base.h - the vocabulary that every file shares: integer names, attributes, byte slices. */
#ifndef KVI_BASE_H
#define KVI_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define KVI_MUST_CHECK        __attribute__((warn_unused_result))
#define KVI_LIKELY(x)         __builtin_expect(!!(x), 1)
#define KVI_UNLIKELY(x)       __builtin_expect(!!(x), 0)
#define KVI_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* For what the hot paths consist of: whole, its constants known, it shrinks to a few
 * instructions. */
#define KVI_INLINE static inline __attribute__((always_inline))

#define KVI_MIN(a, b)    ((a) < (b) ? (a) : (b))
#define KVI_MAX(a, b)    ((a) > (b) ? (a) : (b))
#define KVI_COUNT(array) (sizeof(array) / sizeof((array)[0]))

typedef uint64_t kvi_pgno; /* page number; 48 bits on disk */
typedef uint64_t kvi_id;   /* transaction id; 48 bits in pointers */

/* Bytes that somebody else owns. */
typedef struct kvi_slice {
    const uint8_t *ptr;
    size_t len;
} kvi_slice;

static inline kvi_slice kvi_slice_of(const void *ptr, size_t len)
{
    return (kvi_slice){(const uint8_t *)ptr, len};
}

/* Can these be a caller's bytes? */
static inline bool kvi_bytes_valid(const void *ptr, size_t len)
{
    return ptr || len == 0;
}

/* Lexicographic by unsigned bytes, a prefix before its extensions. */
static inline int kvi_slice_compare(kvi_slice a, kvi_slice b)
{
    size_t len = KVI_MIN(a.len, b.len);
    int order = len ? memcmp(a.ptr, b.ptr, len) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

#endif
