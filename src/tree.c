/* tree.c - finding, and making a path changeable; see tree.h. */
#include "descent.h"
#include "node_quick.h"

int kvi_tree_find(kv_tree *tree, kvi_slice key, kvi_stored *value)
{
    kv_txn *txn = tree->txn;
    uint32_t page_size = txn->db->file.page_size;
    kvi_probe probe = kvi_probe_of(key);
    kvi_ptr ptr = tree->desc.root;
    const uint8_t *page;
    int rc;
    if (KVI_UNLIKELY(ptr.page == 0))
        return KV_NOTFOUND;
    for (unsigned level = tree->desc.level; level > 0; level--) {
        rc = kvi_txn_node(txn, ptr, level, &page);
        if (KVI_UNLIKELY(rc != KV_OK))
            return rc;
        kvi_quick_branch(page, kvi_form_of(page, page_size, level), page_size, &probe, &ptr);
    }
    rc = kvi_txn_node(txn, ptr, 0, &page);
    if (KVI_UNLIKELY(rc != KV_OK))
        return rc;
    kvi_form form = kvi_form_of(page, page_size, 0);
    return kvi_quick_leaf(page, form, page_size, &probe, &value->bytes, &value->special)
               ? KV_OK
               : KV_NOTFOUND;
}

/* Is a key that is not less than those of path's leaf below the separator behind that leaf? */
static bool leaf_bounds(const kv_tree *tree, kvi_path *path, kvi_slice key)
{
    uint32_t page_size = tree->txn->db->file.page_size;
    uint8_t *bound = kvi_scratch_key(tree->txn->db, 0, 0);
    if (!kvi_leaf_follows(kvi_path_leaf(path)->page, page_size, key))
        return true;
    for (unsigned i = path->depth - 1; i-- > 0;) {
        const kvi_step *step = &path->steps[i];
        if (step->slot >= kvi_node_count(step->page))
            continue;
        size_t len = kvi_node_key(step->page, page_size, step->slot, bound);
        return kvi_slice_compare(key, kvi_slice_of(bound, len)) < 0;
    }
    return true;
}

/* Many puts, in ascending order of their keys: the way to the newest one often is that to the next. */
static bool seek_near(const kv_tree *tree, kvi_slice key, kvi_path *path, bool *found)
{
    if (path != &tree->put_path || tree->put_changes != tree->txn->changes ||
        path->depth != tree->desc.level + 1u || !leaf_bounds(tree, path, key))
        return false;
    kvi_step *leaf = kvi_path_leaf(path);
    leaf->slot = kvi_leaf_search(leaf->page, tree->txn->db->file.page_size, key, found);
    return true;
}

int kvi_tree_seek_around(kv_tree *tree, kvi_slice key, kvi_path *path, int around, bool *found)
{
    *found = false;
    if (KVI_UNLIKELY(tree->ascending) && seek_near(tree, key, path, found))
        return KV_OK;
    path->owned = 0;
    path->depth = 0;
    return tree->desc.root.page ? kvi_descent_now()->seek(tree, key, path, around, found) : KV_OK;
}

int kvi_tree_seek(kv_tree *tree, kvi_slice key, kvi_path *path, bool *found)
{
    return kvi_tree_seek_around(tree, key, path, 0, found);
}

int kvi_tree_rank(kv_tree *tree, kvi_slice key, uint64_t *rank, bool *found)
{
    uint32_t page_size = tree->txn->db->file.page_size;
    kvi_path path;
    int rc = kvi_tree_seek(tree, key, &path, found);
    *rank = 0;
    for (unsigned i = 0; rc == KV_OK && i < path.depth; i++) {
        const kvi_step *step = &path.steps[i];
        *rank +=
            i + 1 < path.depth ? kvi_branch_rank(step->page, page_size, step->slot) : step->slot;
    }
    return rc;
}

uint64_t kvi_node_total(const uint8_t *page, uint32_t page_size)
{
    unsigned count = kvi_node_count(page);
    return kvi_node_level(page) == 0 ? count : kvi_branch_rank(page, page_size, count + 1);
}

uint64_t kvi_node_least_expiry(const uint8_t *page, uint32_t page_size)
{
    return kvi_node_level(page) == 0 ? kvi_leaf_least_expiry(page, page_size)
                                     : kvi_branch_least_expiry(page, page_size);
}

void kvi_tree_recount(const kv_tree *tree, uint8_t *parent, unsigned i, const uint8_t *child)
{
    uint32_t page_size = tree->txn->db->file.page_size;
    kvi_branch_set_tally(parent, page_size, i, kvi_node_total(child, page_size));
    if (kvi_tree_expires(tree))
        kvi_branch_set_expiry(parent, page_size, i, kvi_node_least_expiry(child, page_size));
}

int kvi_tree_own(kv_tree *tree, kvi_path *path, size_t extra)
{
    kv_txn *txn = tree->txn;
    uint32_t page_size = txn->db->file.page_size;
    int rc = kvi_dirty_reserve(&txn->db->dirty, path->depth + extra);
    if (path->owned == txn->db->dirty.generation)
        return rc;
    for (unsigned i = 0; rc == KV_OK && i < path->depth; i++) {
        kvi_step *step = &path->steps[i];
        if (step->ptr.birth == 0 && kvi_dirty_writable(&txn->db->dirty, step->ptr.page))
            continue;
        rc = kvi_txn_touch(txn, &step->ptr, path->depth - 1 - i, &step->page);
        if (rc != KV_OK)
            return rc;
        tree->changed = true;
        if (i == 0)
            tree->desc.root = step->ptr;
        else
            kvi_branch_set_child(kvi_step_bytes(tree, step - 1), page_size, step[-1].slot,
                                 step->ptr);
    }
    if (rc == KV_OK)
        path->owned = txn->db->dirty.generation;
    return rc;
}

void kvi_tree_adjust(kv_tree *tree, const kvi_path *path, int64_t delta)
{
    uint32_t page_size = tree->txn->db->file.page_size;
    tree->desc.entries += (uint64_t)delta;
    for (unsigned i = 0; i + 1 < path->depth; i++) {
        const kvi_step *step = &path->steps[i];
        kvi_branch_add_tally(kvi_step_bytes(tree, step), page_size, step->slot, delta);
    }
}
