/* range.h - what a kv_range means: two places between keys, a direction and a limit. */
#ifndef KVI_RANGE_H
#define KVI_RANGE_H

#include "tree.h"

/* A place in the order of keys: just before or just after a key, which need not exist. */
typedef struct kvi_place {
    kvi_slice key;
    bool set;   /* false: the open end */
    bool after; /* just after key */
} kvi_place;

typedef struct kvi_range {
    kvi_place lo, hi; /* the entries between them; none when hi <= lo */
    bool reverse;
    bool brief;     /* a cursor's values end with its next one */
    uint64_t limit; /* UINT64_MAX: none */
    uint8_t *owned; /* bounds that had to be made, or NULL */
} kvi_range;

/* Beyond the longest key and one byte more, further bytes decide nothing. */
static inline kvi_slice kvi_range_key(const kv_tree *tree, const void *key, size_t len)
{
    size_t enough = (size_t)kvi_key_max(tree->txn->db->file.page_size) + 1;
    return kvi_slice_of(key, KVI_MIN(len, enough));
}

/* Places stand left to right as their keys do. */
static inline bool kvi_place_less(const kvi_place *a, const kvi_place *b)
{
    int order = kvi_slice_compare(a->key, b->key);
    return order < 0 || (order == 0 && !a->after && b->after);
}

/* Takes a range apart (NULL: everything). The bytes of from, to and prefix are referred to, not
 * copied. KV_EINVAL when it makes no sense. */
int kvi_range_init(kvi_range *range, kv_tree *tree, const kv_range *from) KVI_MUST_CHECK;
void kvi_range_done(kvi_range *range, kv_tree *tree);

/* Has work do something with a range that is taken apart. */
int kvi_range_with(kv_tree *tree, const kv_range *from, uint64_t *result,
                   int (*work)(kv_tree *tree, const kvi_range *range,
                               uint64_t *result)) KVI_MUST_CHECK;

/* Positions path on the first entry behind a place (going up), or on the last before it. KV_NOTFOUND:
 * there is none. wanted: so many entries, going on, will be. */
int kvi_place_up(kv_tree *tree, const kvi_place *place, int wanted, kvi_path *path) KVI_MUST_CHECK;
int kvi_place_down(kv_tree *tree, const kvi_place *place, int wanted,
                   kvi_path *path) KVI_MUST_CHECK;

/* The number of entries in a leaf before a place. */
unsigned kvi_place_slot(const kv_tree *tree, const uint8_t *leaf, const kvi_place *place);

/* Positions path on the lowest or the highest entry of the range that has not expired. KV_NOTFOUND:
 * it has none. */
int kvi_range_end(kv_tree *tree, const kvi_range *range, bool highest,
                  kvi_path *path) KVI_MUST_CHECK;

/* The range, its limit left aside, begins at entry number *first of the tree, expired ones included, and
 * has *n entries: here and below, expired ones do not count. */
int kvi_range_extent(kv_tree *tree, const kvi_range *range, uint64_t *first,
                     uint64_t *n) KVI_MUST_CHECK;

/* The number of entries before a place. */
int kvi_range_rank(kv_tree *tree, const kvi_place *place, uint64_t *rank) KVI_MUST_CHECK;

int kvi_range_count(kv_tree *tree, const kvi_range *range, uint64_t *count) KVI_MUST_CHECK;

/* Removes the entries of the range. */
int kvi_range_del(kv_tree *tree, const kvi_range *range, uint64_t *deleted) KVI_MUST_CHECK;

#endif
