/* ops.c - see ops.h. */
#include "ops.h"
#include "seal.h"

int kvi_tree_alive(const kv_tree *tree, bool change)
{
    kv_txn *txn = tree->txn;
    if (!kvi_alive(txn->db))
        return KV_EFORKED;
    if (KVI_UNLIKELY(txn->failed))
        return kvi_fail(&txn->db->err, KV_EBADTXN, "%s", kv_strerror(KV_EBADTXN));
    if (KVI_UNLIKELY(tree->gone))
        return KV_NOTFOUND;
    if (change && !txn->write)
        return kvi_fail(&txn->db->err, KV_EREADONLY, "a change in a read transaction");
    return KV_OK;
}

int kvi_tree_usable(const kv_tree *tree, bool change)
{
    int rc = kvi_tree_alive(tree, change);
    if (rc == KV_OK && kvi_tree_multi(tree) && !tree->raw)
        return kvi_fail(&tree->txn->db->err, KV_EINVAL,
                        "the tree has several values for each key; kv_multi_put and its like are "
                        "for it");
    return rc;
}

int kvi_get(kv_tree *tree, kvi_slice key, kv_slice *value)
{
    kvi_stored stored;
    if (KVI_UNLIKELY(tree->txn->failed || tree->gone || kvi_tree_multi(tree) ||
                     !kvi_alive(tree->txn->db))) {
        int rc = kvi_tree_usable(tree, false);
        return rc == KV_OK ? KV_EINVAL : rc;
    }
    int rc = kvi_tree_find(tree, key, &stored);
    return rc == KV_OK && value ? kvi_value_load(tree->txn, stored, value) : rc;
}

/* ---- before anything changes ---- */

static int change_begin(kv_tree *tree, kvi_slice key)
{
    kv_txn *txn = tree->txn;
    uint32_t key_max = kvi_key_max(txn->db->file.page_size);
    int rc = kvi_tree_usable(tree, true);
    if (rc != KV_OK)
        return rc;
    if (key.len > key_max)
        return kvi_fail(&txn->db->err, KV_ETOOBIG, "the key has %zu bytes; the limit is %u",
                        key.len, key_max);
    return KV_OK;
}

static int value_fits(const kv_tree *tree, uint64_t len)
{
    if (len > KV_VALUE_MAX)
        return kvi_fail(&tree->txn->db->err, KV_ETOOBIG,
                        "the value has %llu bytes; the limit is %llu", (unsigned long long)len,
                        (unsigned long long)KV_VALUE_MAX);
    return KV_OK;
}

int kvi_put_check(kv_tree *tree, kvi_slice key, uint64_t value_len)
{
    int rc = change_begin(tree, key);
    return rc == KV_OK ? value_fits(tree, value_len) : rc;
}

static int condition(bool found, uint32_t flags)
{
    if (found && (flags & KV_PUT_ABSENT))
        return KV_EXISTS;
    if (!found && (flags & KV_PUT_PRESENT))
        return KV_NOTFOUND;
    return KV_OK;
}

/* ---- changing the entry under a path ---- */

static kvi_stored stored_at(const kv_tree *tree, kvi_path *path)
{
    const kvi_step *leaf = kvi_path_leaf(path);
    kvi_stored stored;
    stored.bytes =
        kvi_leaf_value(leaf->page, tree->txn->db->file.page_size, leaf->slot, &stored.special);
    return stored;
}

/* Puts the prepared entry under path into the tree; what it replaces goes away. */
static int entry_place(kv_tree *tree, kvi_path *path, bool found, kvi_prepared *prepared)
{
    int rc = KV_OK;
    if (!found)
        return kvi_tree_insert(tree, path, &prepared->item);
    rc = kvi_value_drop(tree, stored_at(tree, path));
    if (rc == KV_OK)
        rc = kvi_tree_replace(tree, path, &prepared->item);
    return kvi_txn_spoil(tree->txn, rc);
}

static void *place_of(const kv_tree *tree, kvi_path *path, const kvi_prepared *prepared)
{
    if (prepared->place)
        return prepared->place;
    const kvi_step *leaf = kvi_path_leaf(path);
    kvi_slice value = stored_at(tree, path).bytes;
    return kvi_step_bytes(tree, leaf) + (value.ptr - leaf->page);
}

/* Stores a value under the key that put_path stands at. */
static int entry_store(kv_tree *tree, bool found, kvi_slice key, kvi_slice value, void **place)
{
    kv_txn *txn = tree->txn;
    kvi_path *path = &tree->put_path;
    kvi_prepared prepared;
    int rc = kvi_value_prepare(tree, key, value, &prepared);
    if (rc != KV_OK)
        return rc;
    txn->changes++;
    rc = entry_place(tree, path, found, &prepared);
    if (rc != KV_OK) {
        kvi_value_discard(txn, &prepared);
        return rc;
    }
    tree->put_changes = txn->changes;
    tree->desc.large_pages += prepared.pages;
    if (place)
        *place = place_of(tree, path, &prepared);
    kvi_value_done(txn, &prepared);
    return place ? KV_OK : kvi_seal_early(txn); /* last: key and value may be views */
}

int kvi_remove_at(kv_tree *tree, kvi_path *path)
{
    kv_txn *txn = tree->txn;
    txn->changes++;
    int rc = kvi_value_drop(tree, stored_at(tree, path));
    if (rc == KV_OK)
        rc = kvi_tree_remove(tree, path);
    if (rc == KV_OK)
        rc = kvi_seal_early(txn);
    return kvi_txn_spoil(txn, rc);
}

int kvi_load_at(kv_tree *tree, kvi_path *path, kv_slice *value)
{
    return kvi_value_load(tree->txn, stored_at(tree, path), value);
}

/* ---- operations ---- */

int kvi_put(kv_tree *tree, kvi_slice key, kvi_slice value, uint32_t flags, void **place)
{
    kvi_path *path = &tree->put_path;
    bool found = false;
    int rc = change_begin(tree, key);
    if (rc == KV_OK)
        rc = value_fits(tree, value.len);
    if (rc == KV_OK && !kvi_tree_append(tree, key, path))
        rc = kvi_tree_seek(tree, key, path, &found);
    if (rc == KV_OK)
        rc = condition(found, flags);
    return rc == KV_OK ? entry_store(tree, found, key, value, place) : rc;
}

int kvi_del(kv_tree *tree, kvi_slice key)
{
    kvi_path path;
    bool found;
    int rc = change_begin(tree, key);
    if (rc == KV_OK)
        rc = kvi_tree_seek(tree, key, &path, &found);
    if (rc == KV_OK && !found)
        rc = KV_NOTFOUND;
    return rc == KV_OK ? kvi_remove_at(tree, &path) : rc;
}

/* Does with the entry under put_path what was decided. */
static int update_carry_out(kv_tree *tree, bool found, int verdict, kvi_slice key, kv_slice value)
{
    kvi_err *err = &tree->txn->db->err;
    if (verdict == KV_UPDATE_REMOVE)
        return found ? kvi_remove_at(tree, &tree->put_path) : KV_OK;
    if (verdict != KV_UPDATE_STORE || (!value.ptr && value.len))
        return kvi_fail(err, KV_EINVAL, "an update that makes no sense");
    int rc = value_fits(tree, value.len);
    return rc == KV_OK ? entry_store(tree, found, key, kvi_slice_of(value.ptr, value.len), NULL)
                       : rc;
}

int kvi_update(kv_tree *tree, kvi_slice key, kvi_decide *decide, void *context, kv_slice *old)
{
    kv_txn *txn = tree->txn;
    kv_slice present = {NULL, 0}, value = {NULL, 0};
    bool found = false;
    int rc = change_begin(tree, key);
    if (rc == KV_OK)
        rc = kvi_tree_seek(tree, key, &tree->put_path, &found);
    if (rc == KV_OK && found)
        rc = kvi_load_at(tree, &tree->put_path, &present);
    if (rc != KV_OK)
        return rc;
    uint64_t changes = txn->changes;
    int verdict = decide(context, found ? &present : NULL, &value);
    if (txn->changes != changes)
        return kvi_fail(&txn->db->err, KV_EINVAL, "a callback changed the transaction");
    if (verdict < 0)
        return verdict;
    if (verdict != KV_UPDATE_KEEP && found && old)
        rc = kvi_value_keep(txn, &present);
    if (verdict != KV_UPDATE_KEEP && rc == KV_OK)
        rc = update_carry_out(tree, found, verdict, key, value);
    if (rc == KV_OK && old)
        *old = present;
    return rc;
}
