/* named.c - see named.h. */
#include "named.h"

kv_tree *kvi_named_tree(kv_txn *txn)
{
    if (!txn->write) { /* set here, so that beginning to read costs nothing */
        txn->snapshots.txn = txn;
        txn->snapshots.desc = txn->base.snapshots;
    }
    return &txn->snapshots;
}

static int named_decode(const kv_tree *tree, kvi_stored stored, kvi_named *named)
{
    kv_db *db = tree->txn->db;
    const kvi_view *view = &tree->txn->view;
    if (!kvi_stored_named(stored, db->file.page_size, view->limit, view->newest, named))
        return kvi_fail(&db->err, KV_ECORRUPT, "the list of named snapshots has a broken entry");
    return KV_OK;
}

int kvi_named_find(kv_txn *txn, kvi_slice name, kvi_named *named)
{
    kv_tree *tree = kvi_named_tree(txn);
    kvi_stored stored;
    int rc = kvi_tree_find(tree, name, &stored);
    return rc == KV_OK ? named_decode(tree, stored, named) : rc;
}

int kvi_named_insert(kv_txn *txn, kvi_slice name, const kvi_named *named)
{
    kv_tree *tree = kvi_named_tree(txn);
    uint32_t page_size = txn->db->file.page_size;
    bool fits = kvi_leaf_max(page_size) >= kvi_key_max(page_size) + KVI_NAMED_SIZE;
    uint32_t most = fits ? kvi_key_max(page_size) : 0; /* tiny pages of tests have no room */
    uint8_t bytes[KVI_NAMED_SIZE];
    kvi_item item = {.key = name, .value = {bytes, sizeof bytes}};
    kvi_path path;
    bool found;
    if (name.len > most)
        return kvi_fail(&txn->db->err, KV_ETOOBIG,
                        "the snapshot's name has %zu bytes; the limit is %u", name.len, most);
    kvi_named_encode(named, bytes);
    int rc = kvi_tree_seek(tree, name, &path, &found);
    if (rc == KV_OK)
        rc = kvi_tree_insert(tree, &path, &item);
    return kvi_txn_spoil(txn, rc);
}

int kvi_named_remove(kv_txn *txn, kvi_slice name)
{
    kv_tree *tree = kvi_named_tree(txn);
    kvi_path path;
    bool found;
    int rc = kvi_tree_seek(tree, name, &path, &found);
    if (rc == KV_OK && !found)
        return KV_NOTFOUND;
    if (rc == KV_OK)
        rc = kvi_tree_remove(tree, &path);
    return kvi_txn_spoil(txn, rc);
}

int kvi_named_each(kv_tree *tree, int (*fn)(void *context, kvi_slice name, const kvi_named *named),
                   void *context)
{
    kv_db *db = tree->txn->db;
    uint32_t page_size = db->file.page_size;
    kvi_named named;
    kvi_path path;
    kvi_stored stored;
    uint8_t *key = db->os->alloc(db->os, kvi_key_max(page_size));
    if (!key)
        return KV_ENOMEM;
    int rc = kvi_path_edge(tree, &path, false);
    while (rc == KV_OK) {
        const kvi_step *leaf = kvi_path_leaf(&path);
        kvi_slice name = {key, kvi_node_key(leaf->page, page_size, leaf->slot, key)};
        stored.bytes = kvi_leaf_value(leaf->page, page_size, leaf->slot, &stored.special);
        rc = named_decode(tree, stored, &named);
        if (rc == KV_OK)
            rc = fn(context, name, &named);
        if (rc == KV_OK)
            rc = kvi_path_next(tree, &path);
    }
    db->os->free(db->os, key);
    return rc == KV_NOTFOUND ? KV_OK : rc;
}
