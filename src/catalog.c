/* catalog.c - see catalog.h. */
#include "catalog.h"
#include "opened.h"

int kvi_catalog_decode(kv_txn *txn, kvi_stored stored, kvi_tree_desc *desc)
{
    const kv_db *db = txn->db;
    if (!kvi_stored_tree(stored, db->file.page_size, txn->view.limit, txn->view.newest, desc))
        return kvi_fail(&txn->db->err, KV_ECORRUPT, "the catalog has a broken tree descriptor");
    return KV_OK;
}

int kvi_catalog_find(kv_txn *txn, kvi_slice name, kvi_tree_desc *desc)
{
    kvi_stored stored;
    int rc = kvi_tree_find(&txn->catalog, name, &stored);
    return rc == KV_OK ? kvi_catalog_decode(txn, stored, desc) : rc;
}

static int catalog_put(kv_txn *txn, kvi_slice name, const kvi_tree_desc *desc)
{
    uint8_t bytes[KVI_TREE_SIZE];
    kvi_item item = {.key = name, .value = {bytes, sizeof bytes}};
    kvi_path path;
    bool found;
    kvi_tree_desc_encode(desc, bytes);
    int rc = kvi_tree_seek(&txn->catalog, name, &path, &found);
    if (rc != KV_OK)
        return rc;
    return found ? kvi_tree_replace(&txn->catalog, &path, &item)
                 : kvi_tree_insert(&txn->catalog, &path, &item);
}

static int catalog_remove(kv_txn *txn, kvi_slice name)
{
    kvi_path path;
    bool found;
    int rc = kvi_tree_seek(&txn->catalog, name, &path, &found);
    if (rc == KV_OK && found)
        rc = kvi_tree_remove(&txn->catalog, &path);
    return rc;
}

static int name_keep(kv_txn *txn, kvi_slice name, const uint8_t **kept)
{
    uint8_t *copy;
    int rc = kvi_txn_lend(txn, name.len, &copy);
    if (rc == KV_OK) {
        memcpy(copy, name.ptr, name.len);
        *kept = copy;
    }
    return rc;
}

static int handle_new(kv_txn *txn, kvi_slice name, const kvi_tree_desc *desc, kv_tree **out)
{
    int rc = kvi_opened_reserve(txn);
    if (rc != KV_OK)
        return rc;
    kv_tree *tree = txn->db->os->alloc(txn->db->os, sizeof *tree + name.len);
    if (!tree)
        return KV_ENOMEM;
    uint8_t *copy = memcpy(tree + 1, name.ptr, name.len);
    *tree = (kv_tree){
        .txn = txn, .desc = *desc, .name = copy, .name_len = name.len, .opened = {copy, name.len}};
    kvi_opened_add(txn, tree);
    *out = tree;
    return KV_OK;
}

static int tree_create(kv_txn *txn, kvi_slice name, uint32_t flags, const kv_tree_options *options,
                       kvi_tree_desc *desc)
{
    if (!txn->write)
        return kvi_fail(&txn->db->err, KV_EREADONLY, "a read transaction cannot create a tree");
    *desc =
        (kvi_tree_desc){.compress_from = options ? options->compress_from : 0, .placed = txn->id};
    desc->codec = desc->compress_from ? KVI_CODEC_LZ4 : KVI_CODEC_NONE;
    desc->flags = flags & KV_TREE_MULTI ? KVI_TREE_MULTI : 0;
    txn->changes++;
    return kvi_txn_spoil(txn, catalog_put(txn, name, desc));
}

/* Is the tree that was found the one that was asked for? */
static int found_fits(kv_txn *txn, const kvi_tree_desc *desc, uint32_t flags)
{
    if (flags & KV_TREE_EXCLUSIVE)
        return KV_EXISTS;
    if ((flags & KV_TREE_MULTI) && !(desc->flags & KVI_TREE_MULTI))
        return kvi_fail(&txn->db->err, KV_EINVAL, "the tree has one value for each key");
    return KV_OK;
}

int kvi_catalog_open(kv_txn *txn, kvi_slice name, uint32_t flags, const kv_tree_options *options,
                     kv_tree **out)
{
    kvi_tree_desc desc;
    *out = kvi_opened_find(txn, name);
    if (*out)
        return found_fits(txn, &(*out)->desc, flags);
    int rc = kvi_catalog_find(txn, name, &desc);
    if (rc == KV_OK) {
        rc = found_fits(txn, &desc, flags);
        return rc == KV_OK ? handle_new(txn, name, &desc, out) : rc;
    }
    if (rc != KV_NOTFOUND || !(flags & KV_TREE_CREATE))
        return rc;
    rc = tree_create(txn, name, flags, options, &desc);
    return rc == KV_OK ? kvi_txn_spoil(txn, handle_new(txn, name, &desc, out)) : rc;
}

/* What each entry of the catalog is told to: exactly one of them. */
typedef struct catalog_visit {
    int (*tree)(void *context, kvi_slice name, const kvi_tree_desc *desc);
    int (*name)(void *context, kvi_slice name);
    void *context;
} catalog_visit;

static int catalog_entry(kv_txn *txn, const kvi_path *path, kvi_slice name,
                         const catalog_visit *visit)
{
    kvi_tree_desc desc;
    if (visit->name)
        return visit->name(visit->context, name);
    int rc = kvi_catalog_decode(txn, kvi_path_stored(&txn->catalog, path), &desc);
    return rc == KV_OK ? visit->tree(visit->context, name, &desc) : rc;
}

static int catalog_visit_all(kv_txn *txn, const catalog_visit *visit)
{
    kv_db *db = txn->db;
    kvi_path path;
    uint8_t *key = db->os->alloc(db->os, kvi_key_max(db->file.page_size));
    if (!key)
        return KV_ENOMEM;
    int step = kvi_path_edge(&txn->catalog, &path, false), rc = KV_OK;
    for (; rc == KV_OK && step == KV_OK; step = kvi_path_next(&txn->catalog, &path)) {
        const kvi_step *leaf = kvi_path_leaf(&path);
        size_t len = kvi_node_key(leaf->page, db->file.page_size, leaf->slot, key);
        rc = catalog_entry(txn, &path, kvi_slice_of(key, len), visit);
    }
    db->os->free(db->os, key);
    return rc != KV_OK || step == KV_NOTFOUND ? rc : step;
}

int kvi_catalog_each(kv_txn *txn,
                     int (*fn)(void *context, kvi_slice name, const kvi_tree_desc *desc),
                     void *context)
{
    return catalog_visit_all(txn, &(catalog_visit){.tree = fn, .context = context});
}

int kvi_catalog_names(kv_txn *txn, int (*fn)(void *context, kvi_slice name), void *context)
{
    return catalog_visit_all(txn, &(catalog_visit){.name = fn, .context = context});
}

int kvi_catalog_rename(kv_tree *tree, kvi_slice name)
{
    kv_txn *txn = tree->txn;
    kvi_tree_desc desc;
    const uint8_t *kept;
    int rc = kvi_catalog_find(txn, name, &desc);
    if (rc != KV_NOTFOUND)
        return rc == KV_OK ? KV_EXISTS : rc;
    kvi_slice old = {tree->name, tree->name_len};
    rc = kvi_catalog_find(txn, old, &desc); /* as of before this transaction's changes to it */
    if (rc == KV_OK)
        rc = name_keep(txn, name, &kept);
    if (rc != KV_OK)
        return rc;
    txn->changes++;
    rc = catalog_remove(txn, old);
    desc.placed = tree->desc.placed = txn->id;
    if (rc == KV_OK)
        rc = catalog_put(txn, kvi_slice_of(kept, name.len), &desc); /* name may be a view */
    kvi_opened_rename(tree, kvi_slice_of(kept, name.len));
    return kvi_txn_spoil(txn, rc);
}

int kvi_catalog_drop(kv_tree *tree)
{
    kv_txn *txn = tree->txn;
    txn->changes++;
    int rc = kvi_tree_clear(tree);
    if (rc == KV_OK)
        rc = catalog_remove(txn, (kvi_slice){tree->name, tree->name_len});
    if (rc == KV_OK)
        kvi_opened_gone(tree);
    return kvi_txn_spoil(txn, rc);
}

/* A tree that was dropped and made again has several handles; the oldest is the one that counts. One that was
 * made again as a tree of the other kind is another tree: cursors have bounds of the old one. */
static int handle_reload(kv_tree *tree, const kv_tree *end)
{
    uint8_t multi = tree->desc.flags & KVI_TREE_MULTI;
    int rc = kvi_catalog_find(tree->txn, tree->opened, &tree->desc);
    if (rc < 0)
        return rc;
    bool gone = rc == KV_NOTFOUND || kvi_opened_before(tree, end) ||
                (tree->desc.flags & KVI_TREE_MULTI) != multi;
    tree->gone = false;
    tree->changed = false;
    tree->run_leaf = 0;
    if (gone) {
        kvi_opened_gone(tree);
        tree->desc = (kvi_tree_desc){.flags = multi};
    }
    return KV_OK;
}

int kvi_catalog_reload(kv_txn *txn, const kv_tree *end)
{
    kvi_opened_again(txn, end);
    for (kv_tree *tree = txn->trees; tree != end; tree = tree->next) {
        int rc = handle_reload(tree, end);
        if (rc != KV_OK)
            return rc;
    }
    return KV_OK;
}

int kvi_catalog_update(kv_txn *txn)
{
    for (kv_tree *tree = txn->trees; tree; tree = tree->next) {
        if (!tree->changed || tree->gone)
            continue;
        int rc = catalog_put(txn, (kvi_slice){tree->name, tree->name_len}, &tree->desc);
        if (rc != KV_OK)
            return rc;
    }
    return KV_OK;
}
