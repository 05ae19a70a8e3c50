/* lanes.h - sixteen heads, or sixteen bytes, compared at once. */
#ifndef KVI_LANES_H
#define KVI_LANES_H

#include "bytes.h"

#if defined(__SSE2__) && !defined(KVI_PORTABLE)
#include <immintrin.h>
#endif

#define KVI_LANES 16 /* heads compared at once: one cache line */

/* kvi_lanes_lower: the number of heads at p, of 16, that come before the first one not less than
 * head. kvi_lanes_differ: bit i: byte i at p, of 16, is not that of bytes. */
#if defined(__SSE2__) && !defined(KVI_PORTABLE)
typedef __m128i kvi_lanes; /* sixteen bytes */

KVI_INLINE kvi_lanes kvi_lanes_of(uint64_t first, uint64_t second)
{
    return _mm_set_epi64x((int64_t)second, (int64_t)first);
}

KVI_INLINE unsigned kvi_lanes_differ(const uint8_t *p, kvi_lanes bytes)
{
    __m128i there = _mm_loadu_si128((const __m128i *)(const void *)p);
    return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(there, bytes)) ^ 0xffff;
}

#if KVI_LANES_AVX >= 512
/* Of 16 lanes, the first that has not less than head. */
KVI_INLINE unsigned kvi_lanes_lower(const uint8_t *p, uint32_t head)
{
    __m256i key = _mm256_set1_epi32((int32_t)head);
    unsigned low = _mm256_cmpge_epu32_mask(_mm256_loadu_si256((const void *)p), key);
    unsigned high = _mm256_cmpge_epu32_mask(_mm256_loadu_si256((const void *)(p + 32)), key);
    return __tzcnt_u16((uint16_t)_mm512_kunpackb((__mmask16)high, (__mmask16)low));
}
#elif KVI_LANES_AVX >= 256
KVI_INLINE unsigned kvi_lanes_not_less(const uint8_t *p, __m256i head)
{
    __m256i lanes = _mm256_loadu_si256((const void *)p);
    __m256i not_less = _mm256_cmpeq_epi32(_mm256_max_epu32(lanes, head), lanes);
    return (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(not_less));
}

KVI_INLINE unsigned kvi_lanes_lower(const uint8_t *p, uint32_t head)
{
    __m256i key = _mm256_set1_epi32((int32_t)head);
    return __tzcnt_u16(
        (uint16_t)(kvi_lanes_not_less(p, key) | kvi_lanes_not_less(p + 32, key) << 8));
}
#else
KVI_INLINE __m128i kvi_lanes_less(const uint8_t *p, __m128i head)
{
    const __m128i sign = _mm_set1_epi32(INT32_MIN); /* SSE2 compares signed numbers only */
    __m128i lanes = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm_cmplt_epi32(_mm_xor_si128(lanes, sign), head);
}

KVI_INLINE unsigned kvi_lanes_lower(const uint8_t *p, uint32_t head)
{
    __m128i key = _mm_set1_epi32((int32_t)(head ^ 0x80000000u));
    __m128i low = _mm_packs_epi32(kvi_lanes_less(p, key), kvi_lanes_less(p + 16, key));
    __m128i high = _mm_packs_epi32(kvi_lanes_less(p + 32, key), kvi_lanes_less(p + 48, key));
    unsigned less = (unsigned)_mm_movemask_epi8(_mm_packs_epi16(low, high));
    return (unsigned)__builtin_ctz(~less);
}
#endif
#else
typedef struct kvi_lanes {
    uint8_t bytes[16];
} kvi_lanes;

KVI_INLINE kvi_lanes kvi_lanes_of(uint64_t first, uint64_t second)
{
    kvi_lanes lanes;
    kvi_put64(lanes.bytes, first);
    kvi_put64(lanes.bytes + 8, second);
    return lanes;
}

KVI_INLINE unsigned kvi_lanes_differ(const uint8_t *p, kvi_lanes lanes)
{
    unsigned differ = 0;
    for (unsigned i = 0; i < 16; i++)
        differ |= (unsigned)(p[i] != lanes.bytes[i]) << i;
    return differ;
}

KVI_INLINE unsigned kvi_lanes_lower(const uint8_t *p, uint32_t head)
{
    unsigned n = 0;
    while (n < KVI_LANES && kvi_get32(p + 4 * n) < head)
        n++;
    return n;
}
#endif

#endif
