/* multi.c - see multi.h. */
#include "multi.h"
#include "mutant.h"
#include "ops.h"
#include "pairs.h"
#include "seal.h"

int kvi_multi_usable(const kv_tree *tree, bool change)
{
    int rc = kvi_tree_alive(tree, change);
    if (rc == KV_OK && !kvi_tree_multi(tree))
        return kvi_fail(&tree->txn->db->err, KV_EINVAL, "the tree has one value for each key");
    return rc;
}

/* ---- pairs ---- */

/* Memory for a pair and what tells that it is too long; to be freed. */
static int pair_make(kv_tree *tree, kvi_slice key, kvi_slice value, uint8_t **room, kvi_slice *pair)
{
    kv_txn *txn = tree->txn;
    const kvi_os *os = txn->db->os;
    size_t most = kvi_key_max(txn->db->file.page_size), size = most + 1;
    *room = os->alloc(os, size);
    if (!*room)
        return KV_ENOMEM;
    size_t len = kvi_pairs_join(key, value, *room, size);
    *pair = kvi_slice_of(*room, KVI_MIN(len, size));
    if (len <= most)
        return KV_OK;
    os->free(os, *room);
    return kvi_fail(&txn->db->err, KV_ETOOBIG,
                    "key and value have %zu bytes with what divides them; the limit is %zu", len,
                    most);
}

/* Positions path, or finds out that the pair is not there. */
static int pair_find(kv_tree *tree, kvi_slice key, kvi_slice value, kvi_path *path)
{
    const kvi_os *os = tree->txn->db->os;
    kvi_slice pair;
    uint8_t *room;
    bool found = false;
    int rc = pair_make(tree, key, value, &room, &pair);
    if (rc != KV_OK)
        return rc;
    rc = kvi_tree_seek(tree, pair, path, &found);
    os->free(os, room);
    return rc == KV_OK && !found ? KV_NOTFOUND : rc;
}

static int pair_insert(kv_tree *tree, kvi_slice pair)
{
    kv_txn *txn = tree->txn;
    kvi_path *path = &tree->put_path;
    const kvi_item item = {.key = pair, .value = {NULL, 0}};
    bool found = false;
    int rc = kvi_tree_append(tree, pair, path) ? KV_OK : kvi_tree_seek(tree, pair, path, &found);
    if (rc != KV_OK || found)
        return rc == KV_OK ? KV_EXISTS : rc;
    txn->changes++;
    rc = kvi_tree_insert(tree, path, &item);
    if (rc != KV_OK)
        return rc;
    tree->put_changes = txn->changes;
    return kvi_seal_early(txn);
}

static int pair_remove(kv_tree *tree, kvi_path *path)
{
    kv_txn *txn = tree->txn;
    txn->changes++;
    int rc = kvi_tree_remove(tree, path);
    if (rc == KV_OK)
        rc = kvi_seal_early(txn);
    return kvi_txn_spoil(txn, rc);
}

int kvi_multi_put(kv_tree *tree, kvi_slice key, kvi_slice value)
{
    const kvi_os *os = tree->txn->db->os;
    kvi_slice pair;
    uint8_t *room;
    int rc = pair_make(tree, key, value, &room, &pair);
    if (rc != KV_OK)
        return rc;
    rc = pair_insert(tree, pair);
    os->free(os, room);
    return rc;
}

int kvi_multi_del(kv_tree *tree, kvi_slice key, kvi_slice value)
{
    kvi_path path;
    int rc = pair_find(tree, key, value, &path);
    return rc == KV_OK ? pair_remove(tree, &path) : rc;
}

int kvi_multi_has(kv_tree *tree, kvi_slice key, kvi_slice value)
{
    kvi_path path;
    return pair_find(tree, key, value, &path);
}

/* ---- all values of a key: a range of one key ---- */

static int key_range(kv_tree *tree, kvi_slice key, uint64_t *result,
                     int (*work)(kv_tree *tree, const kvi_range *range, uint64_t *result))
{
    const void *bytes = key.ptr ? (const void *)key.ptr : "";
    const kv_range one = {.size = sizeof one,
                          .from = bytes,
                          .from_len = key.len,
                          .to = bytes,
                          .to_len = key.len,
                          .flags = KV_RANGE_TO_CLOSED};
    return kvi_range_with(tree, &one, result, work);
}

int kvi_multi_count(kv_tree *tree, kvi_slice key, uint64_t *count)
{
    int rc = key_range(tree, key, count, kvi_range_count);
    if (KVI_MUTANT(KEYS_COUNTED))
        *count = *count > 0;
    return rc;
}

int kvi_multi_del_key(kv_tree *tree, kvi_slice key, uint64_t *deleted)
{
    return key_range(tree, key, deleted, kvi_range_del);
}

/* ---- cursors ---- */

/* What a cursor has room for, each with two bytes more than a pair: what was given out may be told to seek
 * what comes next. */
enum room { ROOM_GIVEN, ROOM_SOUGHT, ROOMS };

static int cursor_room(kv_cursor *c, enum room which, uint8_t **room, size_t *size)
{
    const kvi_os *os = c->txn->db->os;
    *size = (size_t)kvi_key_max(c->txn->db->file.page_size) + 2;
    if (!c->pairs)
        c->pairs = os->alloc(os, ROOMS * *size);
    *room = c->pairs ? c->pairs + which * *size : NULL;
    return c->pairs ? KV_OK : KV_ENOMEM;
}

static int pair_broken(kv_txn *txn)
{
    return kvi_fail(&txn->db->err, KV_ECORRUPT, "an entry of a multi-value tree breaks T7");
}

int kvi_multi_get(kv_cursor *c, kv_slice *key, kv_slice *value)
{
    kv_slice pair;
    kvi_slice k, v;
    uint8_t *room;
    size_t size;
    int rc = kvi_cursor_get(c, &pair, NULL);
    if (rc == KV_OK)
        rc = cursor_room(c, ROOM_GIVEN, &room, &size);
    if (rc != KV_OK)
        return rc;
    memcpy(room, pair.ptr, pair.len);
    if (!kvi_pairs_split(room, pair.len, &k, &v))
        return pair_broken(c->txn);
    if (key)
        *key = (kv_slice){k.ptr, k.len};
    if (value)
        *value = (kv_slice){v.ptr, v.len};
    return KV_OK;
}

int kvi_multi_split_all(kv_cursor *c, kv_pair *pairs, size_t n)
{
    uint8_t *pair = c->keys; /* they stand there one behind the other */
    for (size_t i = 0; i < n; i++) {
        kvi_slice key, value;
        size_t len = pairs[i].key.len;
        if (!kvi_pairs_split(pair, len, &key, &value))
            return pair_broken(c->txn);
        pairs[i] = (kv_pair){{key.ptr, key.len}, {value.ptr, value.len}};
        pair += len;
    }
    return KV_OK;
}

/* To the first pair of the very key whose escaped form this is. */
static int seek_key(kv_cursor *c, kvi_slice form)
{
    kv_slice pair;
    int rc = kvi_cursor_seek(c, KV_SEEK_GE, form);
    if (rc == KV_OK)
        rc = kvi_cursor_get(c, &pair, NULL);
    if (rc == KV_OK && (pair.len < form.len || memcmp(pair.ptr, form.ptr, form.len) != 0))
        rc = KV_NOTFOUND;
    if (rc != KV_OK)
        c->state = KVI_CURSOR_NOWHERE;
    return rc;
}

int kvi_multi_seek(kv_cursor *c, enum kv_seek how, kvi_slice key)
{
    uint8_t *room;
    size_t size;
    int rc = cursor_room(c, ROOM_SOUGHT, &room, &size);
    if (rc != KV_OK)
        return rc;
    bool after = how == KV_SEEK_GT || how == KV_SEEK_LE;
    size_t len = kvi_pairs_key(key, after ? KVI_PAIRS_AFTER : KVI_PAIRS_FIRST, room, size);
    if (how == KV_SEEK_EQ)
        return seek_key(c, kvi_slice_of(room, len));
    return kvi_cursor_seek(c, how > 0 ? KV_SEEK_GE : KV_SEEK_LT, kvi_slice_of(room, len));
}

int kvi_multi_seek_pair(kv_cursor *c, enum kv_seek how, kvi_slice key, kvi_slice value)
{
    uint8_t *room;
    size_t size;
    int rc = cursor_room(c, ROOM_SOUGHT, &room, &size);
    if (rc != KV_OK)
        return rc;
    size_t len = kvi_pairs_join(key, value, room, size);
    return kvi_cursor_seek(c, how, kvi_slice_of(room, KVI_MIN(len, size)));
}

/* The pair where the cursor is, or was before it was removed. */
static int pair_here(kv_cursor *c, kvi_slice *pair)
{
    kv_slice key;
    int rc = KV_OK;
    if (c->state == KVI_CURSOR_ON)
        rc = kvi_cursor_get(c, &key, NULL);
    else if (!c->txn->write)
        kvi_cursor_load_key(c);
    *pair = kvi_slice_of(c->key, c->key_len);
    return rc;
}

int kvi_multi_next_key(kv_cursor *c, bool forward)
{
    bool up = forward != c->range.reverse;
    uint8_t *room;
    size_t size;
    kvi_slice pair;
    if (!kvi_cursor_has_key(c))
        return forward ? kvi_cursor_next(c) : kvi_cursor_prev(c);
    int rc = pair_here(c, &pair);
    if (rc == KV_NOTFOUND) /* it went away meanwhile: the key is known all the same */
        rc = KV_OK;
    if (rc == KV_OK)
        rc = cursor_room(c, ROOM_SOUGHT, &room, &size);
    if (rc != KV_OK)
        return rc;
    size_t len = kvi_pairs_key_len(pair.ptr, pair.len);
    if (len == 0)
        return pair_broken(c->txn);
    memcpy(room, pair.ptr, len);
    room[len - 1] = up ? KVI_ESCAPED_END + 1 : KVI_ESCAPED_END;
    return kvi_cursor_seek(c, up ? KV_SEEK_GE : KV_SEEK_LT, kvi_slice_of(room, len));
}

int kvi_multi_del_here(kv_cursor *c)
{
    kvi_slice pair;
    kvi_path path;
    bool found;
    int rc = kvi_cursor_key(c, &pair);
    if (rc == KV_OK)
        rc = kvi_tree_seek(c->tree, pair, &path, &found);
    if (rc != KV_OK)
        return rc;
    rc = found ? pair_remove(c->tree, &path) : KV_NOTFOUND;
    if (rc == KV_OK)
        kvi_cursor_removed(c);
    return rc;
}
