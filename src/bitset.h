/* bitset.h - a growing set of small numbers: a bit each, with a count per 1024 of them, so that
 * empty and full stretches are passed over at once. */
#ifndef KVI_BITSET_H
#define KVI_BITSET_H

#include "os.h"

#define KVI_BITSET_BLOCK 1024 /* numbers under one count */

typedef struct kvi_bitset {
    const kvi_os *os;
    uint64_t *words;
    uint16_t *counts;
    size_t blocks;  /* that there is memory for */
    uint64_t size;  /* members are smaller than this */
    uint64_t total; /* members */
} kvi_bitset;

void kvi_bitset_init(kvi_bitset *set, const kvi_os *os);
void kvi_bitset_free(kvi_bitset *set);

/* Raises the size. KV_ENOMEM. */
int kvi_bitset_grow(kvi_bitset *set, uint64_t size) KVI_MUST_CHECK;

/* Lowers the size; members at or behind it leave. */
void kvi_bitset_shrink(kvi_bitset *set, uint64_t size);

/* Bit i: is 64 * word + i a member? For any word. */
static inline uint64_t kvi_bitset_word(const kvi_bitset *set, uint64_t word)
{
    return word < (set->size + 63) / 64 ? set->words[word] : 0;
}

static inline bool kvi_bitset_has(const kvi_bitset *set, uint64_t at)
{
    return kvi_bitset_word(set, at / 64) >> at % 64 & 1;
}

/* Is one of the n numbers from at, all below the size, a member? */
bool kvi_bitset_any(const kvi_bitset *set, uint64_t at, uint64_t n);

/* They become members, or none. */
void kvi_bitset_add(kvi_bitset *set, uint64_t at, uint64_t n);
void kvi_bitset_remove(kvi_bitset *set, uint64_t at, uint64_t n);

/* The least member, or number that is none, at or behind at; the size when there is none. */
uint64_t kvi_bitset_next(const kvi_bitset *set, uint64_t at);
uint64_t kvi_bitset_next_gap(const kvi_bitset *set, uint64_t at);

/* One more than the greatest number below at that is no member; 0 when all are members. */
uint64_t kvi_bitset_gap_below(const kvi_bitset *set, uint64_t at);

/* The first n members in a row that begin at or behind at and end before end. */
bool kvi_bitset_find(const kvi_bitset *set, uint64_t at, uint64_t end, uint64_t n, uint64_t *found);

#endif
