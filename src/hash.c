/* hash.c - see hash.h. */
#define XXH_STATIC_LINKING_ONLY
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "hash.h"

/* Half the time for a page, and the same result. */
#ifdef __x86_64__
#define IS_WIDE() __builtin_cpu_supports("avx2")
#else
#define IS_WIDE()                           false
#define kvi_hash_wide_bytes(hash, ptr, len) 0
#define kvi_hash_wide_meta(ptr, len)        0
#endif

_Static_assert(KVI_HASH_SECRET >= XXH3_SECRET_SIZE_MIN, "the secret is long enough");
_Static_assert(KVI_HASH_SECRET == XXH_SECRET_DEFAULT_SIZE, "as XXH3 derives it");
_Static_assert(KVI_HASH_STATE >= sizeof(XXH3_state_t), "the streaming state fits");

void kvi_hash_init(kvi_hash *hash, uint64_t seed)
{
    XXH3_generateSecret_fromSeed(hash->secret, seed);
}

uint64_t kvi_hash_bytes(const kvi_hash *hash, const void *ptr, size_t len)
{
    if (IS_WIDE())
        return kvi_hash_wide_bytes(hash, ptr, len);
    return XXH3_64bits_withSecret(ptr, len, hash->secret, sizeof hash->secret);
}

void kvi_hash_begin(kvi_hash_run *run, const kvi_hash *hash)
{
    XXH3_state_t *state = (XXH3_state_t *)run->state;
    XXH3_INITSTATE(state);
    XXH3_64bits_reset_withSecret(state, hash->secret, sizeof hash->secret);
}

void kvi_hash_add(kvi_hash_run *run, const void *ptr, size_t len)
{
    XXH3_64bits_update((XXH3_state_t *)run->state, ptr, len);
}

uint64_t kvi_hash_end(const kvi_hash_run *run)
{
    return XXH3_64bits_digest((const XXH3_state_t *)run->state);
}

uint64_t kvi_hash_meta(const void *ptr, size_t len)
{
    if (IS_WIDE())
        return kvi_hash_wide_meta(ptr, len);
    return XXH3_64bits_withSeed(ptr, len, KVI_HASH_META);
}
