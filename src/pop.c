/* pop.c - see pop.h. */
#include "pop.h"
#include "ops.h"

/* The entry under path, in bytes that outlive it. */
static int entry_keep(kv_tree *tree, kvi_path *path, kv_pair *entry)
{
    kv_txn *txn = tree->txn;
    uint32_t page_size = txn->db->file.page_size;
    const kvi_step *leaf = kvi_path_leaf(path);
    kv_slice value;
    uint8_t *bytes;
    const kvi_loan *before = txn->loans;
    int rc = kvi_load_at(tree, path, &value);
    if (rc != KV_OK)
        return rc;
    kvi_loan *lent = txn->loans != before ? txn->loans : NULL;
    bool stays = kvi_value_stays(txn, value);
    rc = kvi_txn_keep(txn, kvi_key_max(page_size) + (stays ? 0 : (uint64_t)value.len), &bytes);
    if (rc != KV_OK)
        return rc;
    size_t key_len = kvi_node_key(leaf->page, page_size, leaf->slot, bytes);
    if (!stays)
        value.ptr = memcpy(bytes + key_len, value.ptr, value.len);
    if (lent)
        kvi_txn_return(txn, lent);
    *entry = (kv_pair){{bytes, key_len}, value};
    return KV_OK;
}

int kvi_pop(kv_tree *tree, const kvi_range *range, bool highest, kv_pair *entry)
{
    kvi_path path;
    kv_pair found;
    int rc = kvi_tree_usable(tree, true);
    if (rc == KV_OK)
        rc = kvi_range_end(tree, range, highest, &path);
    if (rc == KV_OK)
        rc = entry_keep(tree, &path, &found);
    if (rc == KV_OK)
        rc = kvi_remove_at(tree, &path);
    if (rc == KV_OK)
        *entry = found;
    return rc;
}
