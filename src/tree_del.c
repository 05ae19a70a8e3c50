/* tree_del.c - removing: single entries, ranges by whole subtrees, everything. */
#include "tree.h"

/* A node with fewer used bytes looks for a neighbour to merge with ... */
#define MERGE_BELOW_PERCENT 25
/* ... such that the merged node keeps some room for inserts. */
#define MERGE_FILL_PERCENT 90
/* The same of a leaf, as far as the tallies of its neighbours tell, so that none is read in vain. */
#define LEAF_BELOW_PERCENT 50
#define LEAF_FILL_PERCENT  80

/* ---- merging ---- */

/* The elements of both, in key order, in the scratch page; false when they are too many. */
static bool merge_build(kv_tree *tree, const kvi_step *step, const uint8_t *other, bool other_left,
                        unsigned level)
{
    kv_db *db = tree->txn->db;
    uint32_t page_size = db->file.page_size;
    uint8_t *key = kvi_scratch_key(db, level, 2);
    const kvi_step *parent = step - 1;
    unsigned separator = other_left ? parent->slot - 1 : parent->slot;
    const uint8_t *left = other_left ? other : step->page;
    const uint8_t *right = other_left ? step->page : other;
    unsigned extra = level ? 1 : 0;
    kvi_slice sep = {key, kvi_node_key(parent->page, page_size, separator, key)};
    kvi_part parts[2] = {
        {.page = left, .to = kvi_node_count(left) + extra},
        {.page = right, .to = kvi_node_count(right) + extra, .first_key = sep},
    };
    uint16_t flags = kvi_node_flags(left) | kvi_node_flags(right);
    kvi_seq seq = {parts, 2, level, page_size, flags};
    size_t used = kvi_node_used(left, page_size) + kvi_node_used(right, page_size);
    return used <= (size_t)page_size * MERGE_FILL_PERCENT / 100 + KVI_HEADER_SIZE &&
           kvi_node_build(&seq, 0, kvi_seq_count(&seq), db->scratch + page_size);
}

/* Would step's node, with so many used bytes, have room for the neighbour in that slot? A leaf that is
 * not nearly empty takes the neighbour's entries for as long as its own. */
static bool likely_fits(const kv_tree *tree, const kvi_step *step, unsigned slot, uint32_t used)
{
    uint32_t page_size = tree->txn->db->file.page_size;
    if (used < page_size * MERGE_BELOW_PERCENT / 100)
        return true;
    uint64_t own = kvi_node_count(step->page);
    uint64_t both = own + kvi_branch_tally(step[-1].page, page_size, slot);
    return (used - KVI_HEADER_SIZE) * both <= own * (page_size * LEAF_FILL_PERCENT / 100);
}

/* Takes the elements of a neighbour into step's node. *merged: it worked. */
static int merge_with(kv_tree *tree, kvi_step *step, unsigned level, uint32_t used, bool left,
                      bool *merged, uint64_t *read)
{
    kv_txn *txn = tree->txn;
    uint32_t page_size = txn->db->file.page_size;
    kvi_step *parent = step - 1;
    const uint8_t *other;
    if (left ? parent->slot == 0 : parent->slot == kvi_node_count(parent->page))
        return KV_OK;
    unsigned slot = left ? parent->slot - 1 : parent->slot + 1;
    if (!likely_fits(tree, step, slot, used))
        return KV_OK;
    kvi_ptr ptr = kvi_branch_child(parent->page, page_size, slot);
    int rc = kvi_txn_node(txn, ptr, level, &other);
    ++*read;
    if (rc == KV_OK && kvi_step_again(step, ptr))
        rc = kvi_txn_changed(txn);
    if (rc != KV_OK || !merge_build(tree, step, other, left, level))
        return rc;
    rc = kvi_txn_drop_node(txn, ptr, other);
    if (rc != KV_OK)
        return rc;
    uint8_t *page = kvi_step_bytes(tree, step), *above = kvi_step_bytes(tree, parent);
    memcpy(page, txn->db->scratch + page_size, page_size);
    if (left)
        parent->slot--;
    kvi_branch_set_child(above, page_size, parent->slot, step->ptr);
    kvi_tree_recount(tree, above, parent->slot, page);
    kvi_branch_remove(above, page_size, parent->slot + 1);
    kvi_tree_count_pages(tree, level, -1);
    *merged = true;
    return KV_OK;
}

static bool is_private(const kv_tree *tree, const kvi_step *parent, int64_t slot)
{
    if (slot < 0 || slot > kvi_node_count(parent->page))
        return false;
    return kvi_branch_child(parent->page, tree->txn->db->file.page_size, (unsigned)slot).birth == 0;
}

/* Tries both neighbours, first one that is changed anyway. */
static int node_merge(kv_tree *tree, kvi_step *step, unsigned level, uint32_t used, uint64_t *read)
{
    const kvi_step *parent = step - 1;
    bool right_first = is_private(tree, parent, (int64_t)parent->slot + 1) &&
                       !is_private(tree, parent, (int64_t)parent->slot - 1);
    bool merged = false;
    int rc = merge_with(tree, step, level, used, !right_first, &merged, read);
    if (rc == KV_OK && !merged)
        rc = merge_with(tree, step, level, used, right_first, &merged, read);
    return rc;
}

/* ---- shrinking the tree ---- */

static bool node_empty(const uint8_t *page)
{
    return kvi_node_level(page) == 0 && kvi_node_count(page) == 0;
}

/* Child `child` of an owned branch takes over the range of a neighbour that went away: makes its
 * last or first leaf one of this transaction (T6). */
static int edge_own(kv_tree *tree, uint8_t *branch, unsigned level, unsigned child, bool last)
{
    kv_txn *txn = tree->txn;
    kvi_dirty *dirty = &txn->db->dirty;
    uint32_t page_size = txn->db->file.page_size;
    int rc = kvi_dirty_reserve(dirty, level);
    for (; rc == KV_OK && level > 0; level--) {
        kvi_ptr ptr = kvi_branch_child(branch, page_size, child);
        const uint8_t *page;
        rc = kvi_txn_node(txn, ptr, level - 1, &page);
        if (rc == KV_OK)
            rc = kvi_txn_touch(txn, &ptr, level - 1, &page);
        if (rc != KV_OK)
            return rc;
        kvi_branch_set_child(branch, page_size, child, ptr);
        branch = kvi_dirty_bytes(dirty, ptr.page);
        child = last ? kvi_node_count(branch) : 0;
    }
    return rc;
}

/* After child number `gone` of an owned branch, or several from there on, were unlinked: their range
 * fell to the left neighbour, or without one to the right. */
static int heir_own(kv_tree *tree, uint8_t *branch, unsigned level, unsigned gone)
{
    return edge_own(tree, branch, level, gone > 0 ? gone - 1 : 0, gone > 0);
}

/* Removes step's node, which has no elements, from its parent. *childless: the parent now has
 * none either. */
static int node_unlink(kv_tree *tree, kvi_step *step, unsigned level, bool *childless)
{
    kv_txn *txn = tree->txn;
    int rc = kvi_txn_drop_node(txn, step->ptr, step->page);
    if (rc != KV_OK)
        return rc;
    kvi_tree_count_pages(tree, level, -1);
    kvi_step *parent = step - 1;
    *childless = kvi_node_count(parent->page) == 0;
    if (*childless)
        return KV_OK;
    uint8_t *branch = kvi_step_bytes(tree, parent);
    kvi_branch_remove(branch, txn->db->file.page_size, parent->slot);
    rc = heir_own(tree, branch, level + 1, parent->slot);
    if (parent->slot > kvi_node_count(parent->page))
        parent->slot = kvi_node_count(parent->page);
    return rc;
}

/* The tree has no entries left; only its root page remains. */
static int root_remove(kv_tree *tree, const kvi_step *root)
{
    int rc = kvi_txn_drop_node(tree->txn, root->ptr, root->page);
    if (rc != KV_OK)
        return rc;
    kvi_tree_count_pages(tree, tree->desc.level, -1);
    tree->desc.root = (kvi_ptr){0, 0};
    tree->desc.level = 0;
    tree->desc.min_expiry = 0;
    return KV_OK;
}

/* A root branch with a single child gives way to that child. */
static int root_lower(kv_tree *tree)
{
    kv_txn *txn = tree->txn;
    const uint8_t *page;
    while (tree->desc.level > 0) {
        int rc = kvi_txn_node(txn, tree->desc.root, tree->desc.level, &page);
        if (rc != KV_OK)
            return rc;
        if (kvi_node_count(page) > 0)
            return KV_OK;
        kvi_ptr child = kvi_branch_child(page, txn->db->file.page_size, 0);
        uint64_t least = kvi_branch_expiry(page, txn->db->file.page_size, 0);
        rc = kvi_txn_drop_node(txn, tree->desc.root, page);
        if (rc != KV_OK)
            return rc;
        tree->desc.root = child;
        tree->desc.min_expiry = least;
        tree->desc.level--;
        tree->desc.branch_pages--;
    }
    return KV_OK;
}

/* Is the node so empty that it looks for a neighbour to merge with? *used: its bytes. */
static bool node_sparse(const kv_tree *tree, const uint8_t *page, unsigned level, uint32_t *used)
{
    unsigned below = level > 0 ? MERGE_BELOW_PERCENT : LEAF_BELOW_PERCENT;
    uint32_t page_size = tree->txn->db->file.page_size;
    *used = kvi_node_used(page, page_size);
    return *used < page_size * below / 100;
}

int kvi_tree_settle(kv_tree *tree, kvi_step *step, unsigned level, bool *childless, uint64_t *read)
{
    uint32_t used;
    if (*childless || node_empty(step->page))
        return node_unlink(tree, step, level, childless);
    return node_sparse(tree, step->page, level, &used) ? node_merge(tree, step, level, used, read)
                                                       : KV_OK;
}

int kvi_tree_settle_root(kv_tree *tree, const kvi_step *root, bool childless)
{
    return childless || node_empty(root->page) ? root_remove(tree, root) : root_lower(tree);
}

int kvi_tree_rebalance(kv_tree *tree, kvi_path *path)
{
    bool childless = false;
    uint64_t read = 0;
    int rc = KV_OK;
    for (unsigned i = path->depth - 1; rc == KV_OK && i > 0; i--)
        rc = kvi_tree_settle(tree, &path->steps[i], path->depth - 1 - i, &childless, &read);
    return rc == KV_OK ? kvi_tree_settle_root(tree, &path->steps[0], childless) : rc;
}

/* The same after an entry was removed from the leaf: nothing above a node that stays as it is can have
 * become too empty. */
static int rebalance_leaf(kv_tree *tree, kvi_path *path)
{
    const uint8_t *leaf = kvi_path_leaf(path)->page;
    uint32_t used;
    bool stays = path->depth > 1 && !node_empty(leaf) && !node_sparse(tree, leaf, 0, &used);
    return stays ? KV_OK : kvi_tree_rebalance(tree, path);
}

int kvi_tree_remove(kv_tree *tree, kvi_path *path)
{
    int rc = kvi_tree_own(tree, path, 0);
    if (rc != KV_OK)
        return rc;
    kvi_step *leaf = kvi_path_leaf(path);
    tree->changed = true;
    kvi_tree_adjust(tree, path, -1);
    kvi_leaf_remove(kvi_step_bytes(tree, leaf), tree->txn->db->file.page_size, leaf->slot);
    return kvi_txn_spoil(tree->txn, rebalance_leaf(tree, path));
}

/* ---- whole subtrees ---- */

static int leaf_drop_values(kv_tree *tree, const uint8_t *page, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        kvi_stored stored;
        stored.bytes = kvi_leaf_value(page, tree->txn->db->file.page_size, i, &stored.special);
        int rc = kvi_value_drop(tree, stored);
        if (rc != KV_OK)
            return rc;
    }
    return KV_OK;
}

/* A leaf need not be read to be dropped when it is durable and the tree has no large values. */
static bool leaf_unread(const kv_tree *tree, kvi_ptr ptr)
{
    return ptr.birth != 0 && ptr.birth <= tree->txn->db->head.durable &&
           tree->desc.large_pages == 0;
}

int kvi_tree_drop_subtree(kv_tree *tree, kvi_ptr ptr, unsigned level)
{
    kv_txn *txn = tree->txn;
    const uint8_t *page = NULL;
    int rc = KV_OK;
    if (level > 0 || !leaf_unread(tree, ptr))
        rc = kvi_txn_node(txn, ptr, level, &page);
    if (rc != KV_OK)
        return rc;
    if (level > 0) {
        for (unsigned i = 0; rc == KV_OK && i <= kvi_node_count(page); i++)
            rc = kvi_tree_drop_subtree(tree, kvi_branch_child(page, txn->db->file.page_size, i),
                                       level - 1);
    } else if (page && tree->desc.large_pages) {
        rc = leaf_drop_values(tree, page, 0, kvi_node_count(page));
    }
    if (rc == KV_OK)
        rc = kvi_txn_drop_node(txn, ptr, page);
    if (rc == KV_OK)
        kvi_tree_count_pages(tree, level, -1);
    return rc;
}

int kvi_tree_clear(kv_tree *tree)
{
    if (tree->desc.root.page == 0)
        return KV_OK;
    tree->changed = true;
    int rc = kvi_tree_drop_subtree(tree, tree->desc.root, tree->desc.level);
    if (rc != KV_OK)
        return kvi_txn_spoil(tree->txn, rc);
    tree->desc.root = (kvi_ptr){0, 0};
    tree->desc.level = 0;
    tree->desc.entries = 0;
    tree->desc.min_expiry = 0;
    return KV_OK;
}

/* ---- ranges ---- */

/* What a cut leaves of a node. */
typedef struct cut_result {
    uint64_t removed; /* entries */
    bool empty;       /* the node is to be unlinked by its parent; its page is dropped already */
} cut_result;

static int cut_node(kv_tree *tree, kvi_ptr *ptr, unsigned level, const kvi_slice *from,
                    const kvi_slice *to, cut_result *result);

static int cut_leaf(kv_tree *tree, kvi_ptr ptr, const uint8_t *page, const kvi_slice *from,
                    const kvi_slice *to, cut_result *result)
{
    uint32_t page_size = tree->txn->db->file.page_size;
    bool found;
    unsigned first = from ? kvi_leaf_search(page, page_size, *from, &found) : 0;
    unsigned end = to ? kvi_leaf_search(page, page_size, *to, &found) : kvi_node_count(page);
    if (first >= end)
        return KV_OK;
    int rc = leaf_drop_values(tree, page, first, end);
    uint8_t *bytes = kvi_dirty_bytes(&tree->txn->db->dirty, ptr.page);
    for (unsigned i = end; rc == KV_OK && i > first; i--)
        kvi_leaf_remove(bytes, page_size, i - 1);
    result->removed = end - first;
    return rc;
}

/* Cuts inside child i of an owned branch. */
static int cut_child(kv_tree *tree, uint8_t *branch, unsigned level, unsigned i,
                     const kvi_slice *from, const kvi_slice *to, cut_result *result)
{
    uint32_t page_size = tree->txn->db->file.page_size;
    kvi_ptr child = kvi_branch_child(branch, page_size, i);
    uint64_t tally = kvi_branch_tally(branch, page_size, i);
    int rc = cut_node(tree, &child, level - 1, from, to, result);
    if (rc != KV_OK)
        return rc;
    kvi_branch_set_child(branch, page_size, i, child);
    kvi_branch_set_tally(branch, page_size, i, tally - result->removed);
    return KV_OK;
}

/* Drops children [from, to) whole and unlinks them. The branch keeps at least one child, or
 * reports itself empty. */
static int cut_children(kv_tree *tree, uint8_t *branch, unsigned level, unsigned from, unsigned to,
                        bool first_gone, bool last_gone, cut_result *result)
{
    uint32_t page_size = tree->txn->db->file.page_size;
    for (unsigned i = from; i < to; i++) {
        bool gone = (i == from && first_gone) || (i + 1 == to && last_gone);
        if (gone)
            continue; /* its pages are dropped already */
        result->removed += kvi_branch_tally(branch, page_size, i);
        int rc = kvi_tree_drop_subtree(tree, kvi_branch_child(branch, page_size, i), level - 1);
        if (rc != KV_OK)
            return rc;
    }
    if (to - from > kvi_node_count(branch)) {
        result->empty = true;
        return KV_OK;
    }
    for (unsigned i = to; i > from; i--)
        kvi_branch_remove(branch, page_size, i - 1);
    return heir_own(tree, branch, level, from);
}

static int cut_branch(kv_tree *tree, uint8_t *branch, unsigned level, const kvi_slice *from,
                      const kvi_slice *to, cut_result *result)
{
    uint32_t page_size = tree->txn->db->file.page_size;
    unsigned first = from ? kvi_branch_search(branch, page_size, *from) : 0;
    unsigned last = to ? kvi_branch_search(branch, page_size, *to) : kvi_node_count(branch);
    cut_result left = {0}, right = {0};
    int rc = KV_OK;
    if (first == last && from && to) {
        rc = cut_child(tree, branch, level, first, from, to, &left);
    } else {
        if (from)
            rc = cut_child(tree, branch, level, first, from, NULL, &left);
        if (rc == KV_OK && to)
            rc = cut_child(tree, branch, level, last, NULL, to, &right);
    }
    if (rc != KV_OK)
        return rc;
    result->removed = left.removed + right.removed;
    bool one = first == last && from && to;
    unsigned begin = from && !left.empty ? first + 1 : first;
    unsigned end = one ? (left.empty ? last + 1 : begin) : (to && !right.empty ? last : last + 1);
    if (begin >= end)
        return KV_OK;
    return cut_children(tree, branch, level, begin, end, left.empty, right.empty, result);
}

static int cut_node(kv_tree *tree, kvi_ptr *ptr, unsigned level, const kvi_slice *from,
                    const kvi_slice *to, cut_result *result)
{
    kv_txn *txn = tree->txn;
    kvi_dirty *dirty = &txn->db->dirty;
    const uint8_t *page;
    int rc = kvi_txn_node(txn, *ptr, level, &page);
    if (rc == KV_OK)
        rc = kvi_dirty_reserve(dirty, 1);
    if (rc == KV_OK)
        rc = kvi_txn_touch(txn, ptr, level, &page);
    if (rc != KV_OK)
        return rc;
    if (level == 0) {
        rc = cut_leaf(tree, *ptr, page, from, to, result);
        result->empty = rc == KV_OK && kvi_node_count(page) == 0;
    } else {
        rc = cut_branch(tree, kvi_dirty_bytes(dirty, ptr->page), level, from, to, result);
    }
    if (rc == KV_OK && result->empty) {
        rc = kvi_txn_drop_node(txn, *ptr, page);
        kvi_tree_count_pages(tree, level, -1);
    }
    return rc;
}

/* The nodes at both edges of the cut may be nearly empty now. */
static int cut_tidy(kv_tree *tree, const kvi_slice *key)
{
    kvi_path path;
    bool found;
    if (tree->desc.root.page == 0)
        return KV_OK;
    int rc = kvi_tree_seek(tree, key ? *key : (kvi_slice){0}, &path, &found);
    if (rc == KV_OK)
        rc = kvi_tree_own(tree, &path, 0);
    return rc == KV_OK ? kvi_tree_rebalance(tree, &path) : rc;
}

int kvi_tree_cut(kv_tree *tree, const kvi_slice *from, const kvi_slice *to, uint64_t *removed)
{
    cut_result result = {0};
    *removed = 0;
    if (tree->desc.root.page == 0 || (from && to && kvi_slice_compare(*from, *to) >= 0))
        return KV_OK;
    tree->changed = true;
    int rc = cut_node(tree, &tree->desc.root, tree->desc.level, from, to, &result);
    if (rc == KV_OK) {
        *removed = result.removed;
        tree->desc.entries -= result.removed;
        if (result.empty) {
            tree->desc.root = (kvi_ptr){0, 0};
            tree->desc.level = 0;
            tree->desc.min_expiry = 0;
        }
        rc = cut_tidy(tree, from);
        if (rc == KV_OK && to)
            rc = cut_tidy(tree, to);
    }
    return kvi_txn_spoil(tree->txn, rc);
}
