/* hash.h - checksums: XXH3-64. Pages under a secret derived once from the file's random seed, so
 * that a user of the database cannot forge a page; metas under a fixed seed, since they must be
 * checked before the seed is known. */
#ifndef KVI_HASH_H
#define KVI_HASH_H

#include "base.h"

#define KVI_HASH_META   0x6b762d6d657461ull
#define KVI_HASH_SECRET 192 /* bytes; XXH3's default secret size */
#define KVI_HASH_STATE  576 /* bytes; XXH3's streaming state */

typedef struct kvi_hash {
    uint8_t secret[KVI_HASH_SECRET];
} kvi_hash;

void kvi_hash_init(kvi_hash *hash, uint64_t seed);
uint64_t kvi_hash_bytes(const kvi_hash *hash, const void *ptr, size_t len);

/* The same over bytes that arrive in pieces. */
typedef struct kvi_hash_run {
    _Alignas(64) uint8_t state[KVI_HASH_STATE];
} kvi_hash_run;

void kvi_hash_begin(kvi_hash_run *run, const kvi_hash *hash); /* hash must outlive the run */
void kvi_hash_add(kvi_hash_run *run, const void *ptr, size_t len);
uint64_t kvi_hash_end(const kvi_hash_run *run);

uint64_t kvi_hash_meta(const void *ptr, size_t len);

/* What kvi_hash_bytes and kvi_hash_meta are on an x86-64 processor with registers of 256 bits. */
uint64_t kvi_hash_wide_bytes(const kvi_hash *hash, const void *ptr, size_t len);
uint64_t kvi_hash_wide_meta(const void *ptr, size_t len);

#endif
