/* order.c - see order.h. Everything rests on the tallies of branches: an entry is found by its number
 * as one is found by its key, and a range is counted by two searches. */
#include "order.h"
#include "cursor.h"
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

/* Appends the key of entry n to buf. */
static int split_at(kv_cursor *cursor, uint64_t n, uint8_t *buf, size_t size, kv_slice *key)
{
    kv_slice found;
    int rc = kvi_cursor_nth(cursor, n);
    if (rc == KV_OK)
        rc = kvi_cursor_get(cursor, &found, NULL);
    if (rc == KV_OK && found.len > size)
        rc = KV_ETOOBIG;
    if (rc != KV_OK)
        return rc;
    if (found.len)
        memcpy(buf, found.ptr, found.len);
    kvi_slice whole = {buf, found.len}, value;
    if (kvi_tree_multi(cursor->tree) && !kvi_pairs_split(buf, found.len, &whole, &value))
        return kvi_fail(&cursor->txn->db->err, KV_ECORRUPT,
                        "an entry of a multi-value tree breaks T7");
    *key = (kv_slice){whole.ptr, whole.len};
    return KV_OK;
}

static int split_all(kv_cursor *cursor, uint64_t n, size_t parts, kv_slice *keys, uint8_t *buf,
                     size_t size, size_t *got)
{
    bool down = cursor->range.reverse;
    size_t used = 0, made = 0;
    for (size_t part = 1; part < parts; part++) {
        uint64_t first = share(n, part, parts);
        if (first == share(n, part - 1, parts)) /* fewer entries than parts */
            continue;
        uint8_t *room = used ? buf + used : buf; /* which may be none at all */
        int rc = split_at(cursor, down ? n - 1 - first : first, room, size - used, &keys[made]);
        if (rc != KV_OK)
            return rc;
        if (made > 0 && cursor->tree->desc.flags & KVI_TREE_MULTI &&
            kvi_slice_compare(kvi_slice_of(keys[made].ptr, keys[made].len),
                              kvi_slice_of(keys[made - 1].ptr, keys[made - 1].len)) == 0)
            continue;
        used += keys[made++].len;
    }
    *got = made;
    return KV_OK;
}

int kvi_order_split(kv_tree *tree, const kv_range *range, size_t parts, kv_slice *keys, void *buf,
                    size_t size, size_t *got)
{
    kv_cursor *cursor;
    uint64_t n;
    int rc = kvi_cursor_open(tree, range, &cursor);
    if (rc != KV_OK)
        return rc;
    rc = kvi_range_count(tree, &cursor->range, &n);
    if (rc == KV_OK)
        rc = split_all(cursor, n, parts, keys, buf, size, got);
    kvi_cursor_close(cursor);
    return rc;
}
