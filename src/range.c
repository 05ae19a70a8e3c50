/* range.c - bounds, counting and deleting of ranges; see range.h. */
#include "range.h"
#include "expired.h"
#include "mutant.h"
#include "pairs.h"
#include "seal.h"

#define RANGE_FLAGS (KV_RANGE_REVERSE | KV_RANGE_FROM_OPEN | KV_RANGE_TO_CLOSED | KV_RANGE_BRIEF)

static bool range_sound(const kv_range *from)
{
    return from->size == sizeof *from && from->reserved == 0 && !(from->flags & ~RANGE_FLAGS) &&
           (from->from || !from->from_len) && (from->to || !from->to_len) &&
           (from->prefix || !from->prefix_len);
}

static void bound_raise(kvi_place *lo, kvi_place place)
{
    if (!lo->set || kvi_place_less(lo, &place))
        *lo = place;
}

static void bound_lower(kvi_place *hi, kvi_place place)
{
    if (!hi->set || kvi_place_less(&place, hi))
        *hi = place;
}

/* The keys with a prefix end before the prefix with its last byte raised, which goes to room; bytes
 * that cannot be raised fall away. */
static void range_narrow(kvi_range *range, kvi_slice prefix, uint8_t *room)
{
    bound_raise(&range->lo, (kvi_place){prefix, true, false});
    while (prefix.len > 0 && prefix.ptr[prefix.len - 1] == 0xff)
        prefix.len--;
    if (prefix.len == 0)
        return;
    memcpy(room, prefix.ptr, prefix.len);
    room[prefix.len - 1]++;
    bound_lower(&range->hi, (kvi_place){{room, prefix.len}, true, false});
}

/* What the keys of a range are in the tree: in a multi-value tree, what pairs begin with (to room). */
static kvi_place range_place(kv_tree *tree, const void *key, size_t len, bool after, uint8_t *room,
                             size_t size)
{
    if (!kvi_tree_multi(tree))
        return (kvi_place){kvi_range_key(tree, key, len), true, after};
    size_t n = kvi_pairs_key(kvi_slice_of(key, len), after ? KVI_PAIRS_AFTER : KVI_PAIRS_FIRST,
                             room, size);
    return (kvi_place){{room, n}, true, false};
}

static kvi_slice range_prefix(kv_tree *tree, const kv_range *from, uint8_t *room, size_t size)
{
    kvi_slice prefix = kvi_slice_of(from->prefix, from->prefix_len);
    if (!kvi_tree_multi(tree))
        return kvi_range_key(tree, prefix.ptr, prefix.len);
    return kvi_slice_of(room, kvi_pairs_key(prefix, KVI_PAIRS_OPEN, room, size));
}

int kvi_range_init(kvi_range *range, kv_tree *tree, const kv_range *from)
{
    const kvi_os *os = tree->txn->db->os;
    size_t size = (size_t)kvi_key_max(tree->txn->db->file.page_size) + 2; /* of a bound */
    *range = (kvi_range){.limit = UINT64_MAX};
    if (!from)
        return KV_OK;
    if (!range_sound(from))
        return KV_EINVAL;
    if (from->prefix || kvi_tree_multi(tree)) {
        range->owned = os->alloc(os, 4 * size);
        if (!range->owned)
            return KV_ENOMEM;
    }
    uint8_t *room = range->owned;
    if (from->limit)
        range->limit = from->limit;
    range->reverse = from->flags & KV_RANGE_REVERSE;
    range->brief = from->flags & KV_RANGE_BRIEF;
    if (from->from)
        range->lo = range_place(tree, from->from, from->from_len, from->flags & KV_RANGE_FROM_OPEN,
                                room, size);
    if (from->to)
        range->hi = range_place(tree, from->to, from->to_len, from->flags & KV_RANGE_TO_CLOSED,
                                room ? room + size : NULL, size);
    if (from->prefix)
        range_narrow(range, range_prefix(tree, from, room + 2 * size, size), room + 3 * size);
    return KV_OK;
}

void kvi_range_done(kvi_range *range, kv_tree *tree)
{
    const kvi_os *os = tree->txn->db->os;
    os->free(os, range->owned);
    range->owned = NULL;
}

int kvi_range_with(kv_tree *tree, const kv_range *from, uint64_t *result,
                   int (*work)(kv_tree *tree, const kvi_range *range, uint64_t *result))
{
    kvi_range range;
    int rc = kvi_range_init(&range, tree, from);
    if (rc != KV_OK)
        return rc;
    rc = work(tree, &range, result);
    kvi_range_done(&range, tree);
    return rc;
}

/* ---- ends ---- */

int kvi_place_up(kv_tree *tree, const kvi_place *place, int wanted, kvi_path *path)
{
    bool found;
    if (!place->set)
        return kvi_path_edge(tree, path, false);
    int rc = kvi_tree_seek_around(tree, place->key, path, wanted, &found);
    if (rc != KV_OK)
        return rc;
    if (path->depth == 0)
        return KV_NOTFOUND;
    kvi_step *leaf = kvi_path_leaf(path);
    leaf->slot += found && place->after;
    return leaf->slot < kvi_node_count(leaf->page) ? KV_OK : kvi_path_next(tree, path);
}

int kvi_place_down(kv_tree *tree, const kvi_place *place, int wanted, kvi_path *path)
{
    bool found;
    if (!place->set)
        return kvi_path_edge(tree, path, true);
    int rc = kvi_tree_seek_around(tree, place->key, path, -wanted, &found);
    if (rc != KV_OK || (found && place->after))
        return rc;
    return kvi_path_prev(tree, path);
}

unsigned kvi_place_slot(const kv_tree *tree, const uint8_t *leaf, const kvi_place *place)
{
    bool found;
    unsigned slot = kvi_leaf_search(leaf, tree->txn->db->file.page_size, place->key, &found);
    return slot + (found && place->after);
}

/* Is the entry under path inside the range? */
static bool range_holds(const kv_tree *tree, const kvi_range *range, kvi_path *path)
{
    const kvi_step *leaf = kvi_path_leaf(path);
    return !(range->lo.set && leaf->slot < kvi_place_slot(tree, leaf->page, &range->lo)) &&
           !(range->hi.set && leaf->slot >= kvi_place_slot(tree, leaf->page, &range->hi));
}

int kvi_range_end(kv_tree *tree, const kvi_range *range, bool highest, kvi_path *path)
{
    int rc = highest ? kvi_place_down(tree, &range->hi, 0, path)
                     : kvi_place_up(tree, &range->lo, 0, path);
    while (rc == KV_OK && kvi_stored_expired(kvi_path_stored(tree, path), tree->txn->now))
        rc = highest ? kvi_path_prev(tree, path) : kvi_path_next(tree, path);
    return rc == KV_OK && !range_holds(tree, range, path) ? KV_NOTFOUND : rc;
}

/* ---- counting ---- */

/* The number of entries before a place, expired ones included. */
static int place_rank(kv_tree *tree, const kvi_place *place, uint64_t *rank)
{
    bool found;
    int rc = kvi_tree_rank(tree, place->key, rank, &found);
    if (rc == KV_OK && place->after && found)
        ++*rank;
    return rc;
}

int kvi_range_rank(kv_tree *tree, const kvi_place *place, uint64_t *rank)
{
    static const kvi_place start;
    uint64_t expired = 0;
    int rc = place_rank(tree, place, rank);
    if (rc == KV_OK)
        rc = kvi_expired_between(tree, &start, place, &expired);
    *rank -= KVI_MIN(*rank, expired);
    return rc;
}

/* The entries of the range: how many, and the number of the first; expired ones included. */
static int extent_of_all(kv_tree *tree, const kvi_range *range, uint64_t *first, uint64_t *n)
{
    uint64_t end = tree->desc.entries;
    int rc = KV_OK;
    *first = 0;
    if (range->lo.set)
        rc = place_rank(tree, &range->lo, first);
    if (range->hi.set && rc == KV_OK)
        rc = place_rank(tree, &range->hi, &end);
    *n = end > *first ? end - *first : 0;
    return rc;
}

/* The expired entries of the range, of which there are n with them. */
static int range_expired(kv_tree *tree, const kvi_range *range, uint64_t n, uint64_t *expired)
{
    *expired = 0;
    if (n == 0 || KVI_MUTANT(EXPIRED_COUNTED))
        return KV_OK;
    int rc = kvi_expired_between(tree, &range->lo, &range->hi, expired);
    *expired = KVI_MIN(*expired, n);
    return rc;
}

int kvi_range_extent(kv_tree *tree, const kvi_range *range, uint64_t *first, uint64_t *n)
{
    uint64_t expired;
    int rc = extent_of_all(tree, range, first, n);
    if (rc == KV_OK)
        rc = range_expired(tree, range, *n, &expired);
    if (rc == KV_OK)
        *n -= expired;
    return rc;
}

int kvi_range_count(kv_tree *tree, const kvi_range *range, uint64_t *count)
{
    uint64_t first, n;
    int rc = kvi_range_extent(tree, range, &first, &n);
    if (rc == KV_OK)
        *count = KVI_MIN(n, range->limit);
    return rc;
}

/* ---- deleting ---- */

/* A place as the first key that is not before it, in buf, which has room for two bytes more than a key:
 * the place may be a view of a page that goes away. */
static const kvi_slice *place_key(kv_tree *tree, const kvi_place *place, uint8_t *buf,
                                  kvi_slice *key)
{
    if (!place->set)
        return NULL;
    kvi_slice bound = kvi_range_key(tree, place->key.ptr, place->key.len);
    *key = kvi_slice_of(buf, bound.len);
    if (key->len)
        memcpy(buf, bound.ptr, key->len);
    if (place->after)
        buf[key->len++] = 0;
    return key;
}

/* Moves one bound to the key of entry number n from the first on, so that no more than the limit remains. */
static int range_clip(kv_tree *tree, kvi_range *range, uint64_t first, uint64_t n, uint8_t *buf)
{
    kvi_path path;
    int rc = kvi_expired_nth(tree, &path, first, n);
    if (rc != KV_OK)
        return rc;
    const kvi_step *leaf = kvi_path_leaf(&path);
    size_t len = kvi_node_key(leaf->page, tree->txn->db->file.page_size, leaf->slot, buf);
    kvi_place *bound = range->reverse ? &range->lo : &range->hi;
    *bound = (kvi_place){kvi_slice_of(buf, len), true, false};
    return KV_OK;
}

static int range_limit(kv_tree *tree, kvi_range *range, uint8_t *buf)
{
    uint64_t first, n, limit = range->limit;
    if (limit == UINT64_MAX)
        return KV_OK;
    int rc = kvi_range_extent(tree, range, &first, &n);
    if (rc != KV_OK || n <= limit)
        return rc;
    return range_clip(tree, range, first, range->reverse ? n - limit : limit, buf);
}

int kvi_range_del(kv_tree *tree, const kvi_range *range, uint64_t *deleted)
{
    *deleted = 0;
    const kvi_os *os = tree->txn->db->os;
    size_t room = (size_t)kvi_key_max(tree->txn->db->file.page_size) + 2;
    uint8_t *buf = os->alloc(os, 3 * room);
    if (!buf)
        return KV_ENOMEM;
    kvi_range part = *range;
    kvi_slice lo, hi;
    uint64_t expired = 0;
    int rc = range_limit(tree, &part, buf);
    if (rc == KV_OK && kvi_tree_stale(tree))
        rc = range_expired(tree, &part, tree->desc.entries, &expired);
    if (rc == KV_OK) {
        tree->txn->changes++;
        rc = kvi_tree_cut(tree, place_key(tree, &part.lo, buf + room, &lo),
                          place_key(tree, &part.hi, buf + 2 * room, &hi), deleted);
        *deleted -= KVI_MIN(*deleted, expired);
    }
    os->free(os, buf);
    return rc == KV_OK ? kvi_seal_early(tree->txn) : rc;
}
