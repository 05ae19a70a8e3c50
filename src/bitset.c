/* bitset.c - see bitset.h. */
#include "bitset.h"
#include "kv.h"

#define BLOCK_WORDS (KVI_BITSET_BLOCK / 64)

void kvi_bitset_init(kvi_bitset *set, const kvi_os *os)
{
    memset(set, 0, sizeof *set);
    set->os = os;
}

void kvi_bitset_free(kvi_bitset *set)
{
    set->os->free(set->os, set->words);
    set->os->free(set->os, set->counts);
    kvi_bitset_init(set, set->os);
}

static int bitset_reserve(kvi_bitset *set, size_t blocks)
{
    const kvi_os *os = set->os;
    if (blocks <= set->blocks)
        return KV_OK;
    blocks = KVI_MAX(blocks, set->blocks + set->blocks / 2);
    uint64_t *words = os->realloc(os, set->words, blocks * BLOCK_WORDS * sizeof *words);
    if (!words)
        return KV_ENOMEM;
    set->words = words;
    uint16_t *counts = os->realloc(os, set->counts, blocks * sizeof *counts);
    if (!counts)
        return KV_ENOMEM;
    set->counts = counts;
    memset(words + set->blocks * BLOCK_WORDS, 0,
           (blocks - set->blocks) * BLOCK_WORDS * sizeof *words);
    memset(counts + set->blocks, 0, (blocks - set->blocks) * sizeof *counts);
    set->blocks = blocks;
    return KV_OK;
}

int kvi_bitset_grow(kvi_bitset *set, uint64_t size)
{
    if (size <= set->size)
        return KV_OK;
    int rc = bitset_reserve(set, (size_t)((size + KVI_BITSET_BLOCK - 1) / KVI_BITSET_BLOCK));
    if (rc == KV_OK)
        set->size = size;
    return rc;
}

void kvi_bitset_shrink(kvi_bitset *set, uint64_t size)
{
    if (size >= set->size)
        return;
    kvi_bitset_remove(set, size, set->size - size);
    set->size = size;
}

/* The bits of word that stand for numbers in [at, end). */
static uint64_t bitset_mask(uint64_t word, uint64_t at, uint64_t end)
{
    uint64_t mask = ~(uint64_t)0;
    if (word == at / 64)
        mask <<= at % 64;
    if (end - word * 64 < 64)
        mask &= ((uint64_t)1 << end % 64) - 1;
    return mask;
}

bool kvi_bitset_any(const kvi_bitset *set, uint64_t at, uint64_t n)
{
    for (uint64_t w = at / 64; w * 64 < at + n; w++)
        if (set->words[w] & bitset_mask(w, at, at + n))
            return true;
    return false;
}

void kvi_bitset_add(kvi_bitset *set, uint64_t at, uint64_t n)
{
    for (uint64_t w = at / 64; w * 64 < at + n; w++) {
        uint64_t fresh = bitset_mask(w, at, at + n) & ~set->words[w];
        unsigned count = (unsigned)__builtin_popcountll(fresh);
        set->words[w] |= fresh;
        set->counts[w / BLOCK_WORDS] = (uint16_t)(set->counts[w / BLOCK_WORDS] + count);
        set->total += count;
    }
}

void kvi_bitset_remove(kvi_bitset *set, uint64_t at, uint64_t n)
{
    for (uint64_t w = at / 64; w * 64 < at + n; w++) {
        uint64_t gone = bitset_mask(w, at, at + n) & set->words[w];
        unsigned count = (unsigned)__builtin_popcountll(gone);
        set->words[w] &= ~gone;
        set->counts[w / BLOCK_WORDS] = (uint16_t)(set->counts[w / BLOCK_WORDS] - count);
        set->total -= count;
    }
}

/* Next member when flip is 0, next gap when it is all ones; boring: the count of a block
 * without. */
static uint64_t bitset_seek(const kvi_bitset *set, uint64_t at, uint64_t flip, unsigned boring)
{
    if (at >= set->size)
        return set->size;
    uint64_t w = at / 64, words = (set->size + 63) / 64;
    uint64_t word = (set->words[w] ^ flip) >> at % 64;
    if (word)
        return KVI_MIN(at + (unsigned)__builtin_ctzll(word), set->size);
    for (w++; w < words; w++) {
        while (w % BLOCK_WORDS == 0 && w < words && set->counts[w / BLOCK_WORDS] == boring)
            w += BLOCK_WORDS;
        if (w < words && set->words[w] ^ flip)
            return KVI_MIN(w * 64 + (unsigned)__builtin_ctzll(set->words[w] ^ flip), set->size);
    }
    return set->size;
}

uint64_t kvi_bitset_next(const kvi_bitset *set, uint64_t at)
{
    return bitset_seek(set, at, 0, 0);
}

uint64_t kvi_bitset_next_gap(const kvi_bitset *set, uint64_t at)
{
    return bitset_seek(set, at, ~(uint64_t)0, KVI_BITSET_BLOCK);
}

/* One more than the greatest number in [from, at) that is no member; from when all are. */
static uint64_t bitset_gap_within(const kvi_bitset *set, uint64_t from, uint64_t at)
{
    while (at > from) {
        uint64_t w = (at - 1) / 64;
        uint64_t gaps = ~set->words[w] & bitset_mask(w, KVI_MAX(from, w * 64), at);
        if (gaps)
            return w * 64 + 64 - (unsigned)__builtin_clzll(gaps);
        at = w * 64;
    }
    return from;
}

uint64_t kvi_bitset_gap_below(const kvi_bitset *set, uint64_t at)
{
    return bitset_gap_within(set, 0, at);
}

/* Looks at the last of n numbers first, as Boyer and Moore do in a text: where it is no member, none of
 * the n is a beginning. */
bool kvi_bitset_find(const kvi_bitset *set, uint64_t at, uint64_t end, uint64_t n, uint64_t *found)
{
    end = KVI_MIN(end, set->size);
    for (at = kvi_bitset_next(set, at); at < end && n <= end - at;) {
        uint64_t from = bitset_gap_within(set, at, at + n);
        if (from == at) {
            *found = at;
            return true;
        }
        at = kvi_bitset_next(set, from);
    }
    return false;
}
