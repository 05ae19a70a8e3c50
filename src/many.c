/* many.c - see many.h. */
#include "many.h"
#include "ops.h"
#include "descent.h"

static kvi_slice slice_in(kv_slice slice)
{
    return kvi_slice_of(slice.ptr, slice.len);
}

/* ---- getting ---- */

/* The answers to a group, as kvi_get would give them. Returns the first error. */
static int group_answer(kv_txn *txn, const kvi_lookup *lookups, unsigned n, kv_slice *values,
                        int *results)
{
    int first = KV_OK;
    for (unsigned i = 0; i < n; i++) {
        kv_slice value = {0};
        int rc = lookups[i].rc;
        if (rc == KV_OK && kvi_stored_expired(lookups[i].value, txn->now))
            rc = KV_NOTFOUND;
        if (rc == KV_OK && values)
            rc = kvi_value_load(txn, lookups[i].value, &value);
        if (values)
            values[i] = value;
        if (results)
            results[i] = rc;
        if (KVI_UNLIKELY(rc < 0) && first == KV_OK)
            first = rc;
    }
    return first;
}

int kvi_get_many(kv_tree *tree, size_t n, const kv_slice *keys, kv_slice *values, int *results)
{
    kvi_lookup lookups[KVI_GROUP];
    int first = kvi_tree_usable(tree, false);
    if (first != KV_OK)
        return first;
    for (size_t at = 0; at < n; at += KVI_GROUP) {
        unsigned group = (unsigned)KVI_MIN(n - at, KVI_GROUP);
        for (unsigned i = 0; i < group; i++)
            lookups[i].key = slice_in(keys[at + i]);
        kvi_descent_now()->find_group(tree, lookups, group);
        int rc = group_answer(tree->txn, lookups, group, values ? values + at : NULL,
                              results ? results + at : NULL);
        first = first == KV_OK ? rc : first;
    }
    return first;
}

/* ---- sorting ---- */

/* A pair by its key. The keys of a call share their first bytes; the next eight decide nearly all
 * comparisons. */
typedef struct place {
    uint64_t head;
    size_t pair; /* index */
} place;

typedef struct sorter {
    const kv_pair *pairs;
    size_t common; /* bytes that all keys begin with */
} sorter;

static size_t common_bytes(const kv_pair *pairs, size_t n)
{
    size_t common = pairs[0].key.len;
    const uint8_t *first = pairs[0].key.ptr;
    for (size_t i = 1; i < n && common > 0; i++) {
        const uint8_t *key = pairs[i].key.ptr;
        size_t same = 0, most = KVI_MIN(common, pairs[i].key.len);
        while (same < most && key[same] == first[same])
            same++;
        common = same;
    }
    return common;
}

static uint64_t head_of(kv_slice key, size_t from)
{
    uint8_t head[8] = {0};
    if (key.len >= from + 8)
        return kvi_get64be((const uint8_t *)key.ptr + from);
    if (key.len > from)
        memcpy(head, (const uint8_t *)key.ptr + from, key.len - from);
    return kvi_get64be(head);
}

/* Equal keys stay in their order, since the earlier one is taken from the left. */
static bool comes_before(const sorter *s, const place *b, const place *a)
{
    if (KVI_LIKELY(a->head != b->head))
        return b->head < a->head;
    return kvi_slice_compare(slice_in(s->pairs[b->pair].key), slice_in(s->pairs[a->pair].key)) < 0;
}

static void merge(const sorter *s, const place *from, size_t n, size_t m, place *to)
{
    const place *a = from, *b = from + n, *a_end = b, *b_end = b + m;
    while (a < a_end && b < b_end)
        *to++ = comes_before(s, b, a) ? *b++ : *a++;
    memcpy(to, a, (size_t)(a_end - a) * sizeof *a);
    memcpy(to + (a_end - a), b, (size_t)(b_end - b) * sizeof *b);
}

static bool sorted_already(const sorter *s, const place *places, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (comes_before(s, &places[i], &places[i - 1]))
            return false;
    return true;
}

/* Merges runs of growing length, from one half of 2 n places to the other. Returns the half that
 * has the result. */
static place *places_sort(const sorter *s, place *places, size_t n)
{
    place *from = places, *to = places + n;
    if (sorted_already(s, places, n))
        return places;
    for (size_t run = 1; run < n; run *= 2) {
        for (size_t at = 0; at < n; at += 2 * run) {
            size_t left = KVI_MIN(run, n - at), right = KVI_MIN(run, n - at - left);
            merge(s, from + at, left, right, to + at);
        }
        place *swap = from;
        from = to;
        to = swap;
    }
    return from;
}

/* ---- putting ---- */

#define AHEAD 8 /* leaves that are on their way into the cache */

static void warm(kv_tree *tree, const kv_pair *pairs, const place *places, size_t n)
{
    kvi_slice keys[AHEAD];
    unsigned some = (unsigned)KVI_MIN(n, AHEAD);
    for (unsigned i = 0; i < some; i++)
        keys[i] = slice_in(pairs[places[i].pair].key);
    kvi_descent_now()->warm(tree, keys, some);
}

/* In the order of places. Conditions that do not hold are no reason to stop. */
static int put_each(kv_tree *tree, const kv_pair *pairs, const place *places, size_t n,
                    uint32_t flags)
{
    int answer = KV_OK;
    for (size_t i = 0; i < n; i++) {
        const kv_pair *pair = &pairs[places[i].pair];
        if (i % AHEAD == 0)
            warm(tree, pairs, places + i, n - i);
        int rc = kvi_put(tree, slice_in(pair->key), slice_in(pair->value), flags, NULL);
        if (rc < 0)
            return rc;
        answer = rc ? rc : answer;
    }
    return answer;
}

static int pairs_check(kv_tree *tree, const kv_pair *pairs, size_t n)
{
    int rc = kvi_tree_usable(tree, true);
    for (size_t i = 0; i < n && rc == KV_OK; i++)
        rc = kvi_put_check(tree, slice_in(pairs[i].key), pairs[i].value.len);
    return rc;
}

int kvi_put_many(kv_tree *tree, size_t n, const kv_pair *pairs, uint32_t flags)
{
    const kvi_os *os = tree->txn->db->os;
    int rc = pairs_check(tree, pairs, n);
    if (rc != KV_OK || n == 0)
        return rc;
    place *places =
        n < SIZE_MAX / 4 / sizeof *places ? os->alloc(os, 2 * n * sizeof *places) : NULL;
    if (!places)
        return KV_ENOMEM;
    sorter s = {pairs, common_bytes(pairs, n)};
    for (size_t i = 0; i < n; i++)
        places[i] = (place){head_of(pairs[i].key, s.common), i};
    tree->put_path.depth = 0; /* the first key may be a lower one */
    tree->ascending = true;
    rc = put_each(tree, pairs, places_sort(&s, places, n), n, flags);
    tree->ascending = false;
    os->free(os, places);
    return kvi_txn_spoil(tree->txn, rc);
}
