/* hash_wide.c - see hash.h: XXH3-64 with registers of 256 bits. */
#include "hash.h"

#ifdef __x86_64__
#ifdef __clang__
#include <immintrin.h>
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif

#define XXH_STATIC_LINKING_ONLY
#define XXH_INLINE_ALL
#define XXH_VECTOR 2 /* XXH_AVX2 */
#include <xxhash.h>

uint64_t kvi_hash_wide_bytes(const kvi_hash *hash, const void *ptr, size_t len)
{
    return XXH3_64bits_withSecret(ptr, len, hash->secret, sizeof hash->secret);
}

uint64_t kvi_hash_wide_meta(const void *ptr, size_t len)
{
    return XXH3_64bits_withSeed(ptr, len, KVI_HASH_META);
}

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
