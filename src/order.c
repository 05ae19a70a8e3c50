/* order.c - see order.h. Everything rests on the tallies of branches: an entry is found by its number
 * as one is found by its key, and a range is counted by two searches. */
#include "order.h"
#include "multi.h"
#include "pairs.h"

/* In a multi-value tree, the key in the transaction's room has both. */
static bool pair_split(kv_txn *txn, kv_pair *pair)
{
    kvi_slice key, value;
    if (!kvi_pairs_split(txn->key_room, pair->key.len, &key, &value))
        return false;
    *pair = (kv_pair){{key.ptr, key.len}, {value.ptr, value.len}};
    return true;
}

/* The pair under the cursor, its key copied to the transaction's room. */
static int pair_keep(kv_cursor *cursor, kv_pair *pair)
{
    kv_txn *txn = cursor->txn;
    const kvi_os *os = txn->db->os;
    kv_pair found;
    int rc = kvi_cursor_get(cursor, &found.key, &found.value);
    if (rc == KV_OK && !txn->key_room)
        txn->key_room = os->alloc(os, kvi_key_max(txn->db->file.page_size));
    if (rc != KV_OK || !txn->key_room)
        return rc == KV_OK ? KV_ENOMEM : rc;
    if (found.key.len)
        memcpy(txn->key_room, found.key.ptr, found.key.len);
    found.key.ptr = txn->key_room;
    if (kvi_tree_multi(cursor->tree) && !pair_split(txn, &found))
        return kvi_fail(&txn->db->err, KV_ECORRUPT, "an entry of a multi-value tree breaks T7");
    *pair = found;
    return KV_OK;
}

int kvi_order_nth(kv_tree *tree, const kv_range *range, uint64_t n, kv_pair *pair)
{
    kv_cursor *cursor;
    if (range && range->limit && n >= range->limit)
        return KV_NOTFOUND;
    int rc = kvi_cursor_open(tree, range, &cursor);
    if (rc != KV_OK)
        return rc;
    rc = kvi_cursor_nth(cursor, n);
    if (rc == KV_OK)
        rc = pair_keep(cursor, pair);
    kvi_cursor_close(cursor);
    return rc;
}

/* The high half of the product: uniform but for n in 2^64 (Lemire, "Fast random integer generation in
 * an interval", 2019, without its rejection step). */
uint64_t kvi_order_random(uint64_t n, uint64_t random)
{
    const uint64_t mask = 0xffffffff;
    uint64_t low = (random & mask) * (n & mask);
    uint64_t left = (random >> 32) * (n & mask) + (low >> 32);
    uint64_t right = (random & mask) * (n >> 32) + (left & mask);
    return (random >> 32) * (n >> 32) + (left >> 32) + (right >> 32);
}

/* Nearest rank: the smallest entry that percent of all are not greater than. */
uint64_t kvi_order_percentile(uint64_t n, double percent)
{
    double exact = percent * (double)n / 100;
    uint64_t rank = exact >= (double)n ? n : (uint64_t)exact;
    rank += (double)rank < exact;
    return KVI_MIN(rank, n) - (rank > 0);
}

/* number * part / parts; the product of the parts alone is small. */
static uint64_t share(uint64_t number, size_t part, size_t parts)
{
    return number / parts * part + number % parts * part / parts;
}

/* Where the keys go that divide a range. */
typedef struct division {
    kv_cursor *cursor;
    uint64_t n; /* entries of the range */
    kv_slice *keys;
    size_t got;
    uint8_t *buf; /* of the keys; may be NULL when size is 0 */
    size_t size, used;
} division;

/* The key under the cursor, copied behind the others. */
static int divide_here(const division *d, kv_slice *key)
{
    kv_cursor *cursor = d->cursor;
    uint8_t *room = d->used ? d->buf + d->used : d->buf;
    kv_slice found;
    int rc = kvi_cursor_get(cursor, &found, NULL);
    if (rc == KV_OK && found.len > d->size - d->used)
        return kvi_fail(&cursor->txn->db->err, KV_ETOOBIG,
                        "the keys need more than the %zu bytes of the buffer", d->size);
    if (rc != KV_OK)
        return rc;
    if (found.len)
        memcpy(room, found.ptr, found.len);
    kvi_slice whole = {room, found.len}, value;
    if (kvi_tree_multi(cursor->tree) && !kvi_pairs_split(room, found.len, &whole, &value))
        return kvi_fail(&cursor->txn->db->err, KV_ECORRUPT,
                        "an entry of a multi-value tree breaks T7");
    *key = (kv_slice){whole.ptr, whole.len};
    return KV_OK;
}

/* To the entry of that number in ascending order. */
static int divide_go(const division *d, uint64_t number)
{
    return kvi_cursor_nth(d->cursor, d->cursor->range.reverse ? d->n - 1 - number : number);
}

/* Puts the cursor onto the key that the newest part begins with, if that is this one: KV_EXISTS. In
 * front of the first key there is no part, either. */
static int divide_again(const division *d, kv_slice key)
{
    kv_slice before, value;
    int rc = KV_OK;
    if (d->got > 0)
        before = d->keys[d->got - 1];
    else
        rc = divide_go(d, 0);
    if (rc == KV_OK && d->got == 0)
        rc = kvi_multi_get(d->cursor, &before, &value);
    if (rc != KV_OK)
        return rc;
    int order =
        kvi_slice_compare(kvi_slice_of(key.ptr, key.len), kvi_slice_of(before.ptr, before.len));
    return order > 0 ? KV_OK : order == 0 ? KV_EXISTS : KV_NOTFOUND;
}

/* Is the entry one of those that the range's limit allows? Steps do not count. */
static int divide_inside(const division *d, bool *inside)
{
    kv_cursor *cursor = d->cursor;
    kv_slice pair;
    uint64_t first, n, rank = 0;
    bool found;
    int rc = kvi_cursor_get(cursor, &pair, NULL);
    if (rc == KV_OK)
        rc = kvi_range_extent(cursor->tree, &cursor->range, &first, &n);
    if (rc == KV_OK)
        rc = kvi_tree_rank(cursor->tree, kvi_slice_of(pair.ptr, pair.len), &rank, &found);
    *inside = rc == KV_OK && (cursor->range.reverse || rank - first < d->n);
    return rc;
}

/* The key that the part of this entry begins with. In a multi-value tree that is the next one where no
 * pair would be in front. KV_NOTFOUND: no part begins here. */
static int divide_at(const division *d, uint64_t number, kv_slice *key)
{
    kv_cursor *cursor = d->cursor;
    int rc = divide_go(d, number);
    if (rc == KV_OK)
        rc = divide_here(d, key);
    if (rc == KV_OK && kvi_tree_multi(cursor->tree))
        rc = divide_again(d, *key);
    if (rc != KV_EXISTS)
        return rc;
    bool inside = false;
    rc = kvi_multi_next_key(cursor, !cursor->range.reverse);
    if (rc == KV_OK)
        rc = divide_inside(d, &inside);
    return rc != KV_OK ? rc : inside ? divide_here(d, key) : KV_NOTFOUND;
}

static int divide(division *d, size_t parts)
{
    for (size_t part = 1; part < parts; part++) {
        uint64_t first = share(d->n, part, parts);
        kv_slice key;
        if (first == share(d->n, part - 1, parts)) /* fewer entries than parts */
            continue;
        int rc = divide_at(d, first, &key);
        if (rc != KV_OK && rc != KV_NOTFOUND)
            return rc;
        if (rc == KV_OK) {
            d->keys[d->got++] = key;
            d->used += key.len;
        }
    }
    return KV_OK;
}

int kvi_order_split(kv_tree *tree, const kv_range *range, size_t parts, kv_slice *keys, void *buf,
                    size_t size, size_t *got)
{
    division d = {.keys = keys, .buf = buf, .size = size};
    int rc = kvi_cursor_open(tree, range, &d.cursor);
    if (rc != KV_OK)
        return rc;
    rc = kvi_range_count(tree, &d.cursor->range, &d.n);
    if (rc == KV_OK)
        rc = divide(&d, parts);
    if (rc == KV_OK)
        *got = d.got;
    kvi_cursor_close(d.cursor);
    return rc;
}
