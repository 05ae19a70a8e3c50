/* gather.c - see gather.h. */
#include "gather.h"
#include "mutant.h"

#define LOOK_EVERY 16 /* one leaf of so many tells how large entries are */
#define WORTH      8  /* one leaf of so many has to become needless */
#define READS      8  /* leaves that a transaction reads for each page that it may change */

static bool is_shared(const kvi_gather *gather, kvi_ptr ptr)
{
    return ptr.birth != 0 && ptr.birth <= gather->shared;
}

/* ---- two leaves ---- */

/* The path's leaf, and the one behind it below the same parent. */
typedef struct leaves {
    kvi_part parts[2];
    kvi_seq seq;
    kvi_step next;
    unsigned fit; /* of their entries, in the first one */
} leaves;

static int leaves_read(kvi_gather *gather, kv_tree *tree, const kvi_path *path, leaves *two)
{
    uint32_t page_size = tree->txn->db->file.page_size;
    const kvi_step *leaf = &path->steps[path->depth - 1], *parent = leaf - 1;
    gather->read++;
    two->next.ptr = kvi_branch_child(parent->page, page_size, parent->slot + 1);
    int rc = kvi_txn_node(tree->txn, two->next.ptr, 0, &two->next.page);
    if (rc != KV_OK)
        return rc;
    two->parts[0] = (kvi_part){.page = leaf->page, .to = kvi_node_count(leaf->page)};
    two->parts[1] = (kvi_part){.page = two->next.page, .to = kvi_node_count(two->next.page)};
    two->seq = (kvi_seq){two->parts, 2, 0, page_size, 0};
    two->fit = kvi_seq_fit(&two->seq, 0);
    return KV_OK;
}

/* All entries into the first leaf. */
static int leaves_join(kv_tree *tree, kvi_path *path, const leaves *two)
{
    kv_txn *txn = tree->txn;
    uint32_t page_size = txn->db->file.page_size;
    const kvi_step *leaf = kvi_path_leaf(path), *parent = leaf - 1;
    int rc = kvi_tree_own(tree, path, 0);
    if (rc == KV_OK && kvi_step_again(leaf, two->next.ptr))
        rc = kvi_txn_changed(txn);
    if (rc == KV_OK && !KVI_MUTANT(GATHERED_LOST))
        rc = kvi_txn_drop_node(txn, two->next.ptr, two->next.page);
    if (rc != KV_OK)
        return rc;
    uint8_t *above = kvi_step_bytes(tree, parent);
    memcpy(kvi_step_bytes(tree, leaf), txn->db->scratch + page_size, page_size);
    kvi_tree_recount(tree, above, parent->slot, leaf->page);
    kvi_branch_remove(above, page_size, parent->slot + 1);
    kvi_tree_count_pages(tree, 0, -1);
    return KV_OK;
}

/* As many as fit; the others stay where they are, behind a new separator. *room: the parent has room
 * for that; else nothing has changed. */
static int leaves_shift(kv_tree *tree, kvi_path *path, leaves *two, bool *room)
{
    kv_txn *txn = tree->txn;
    uint32_t page_size = txn->db->file.page_size;
    uint8_t *key = kvi_scratch_key(txn->db, 0, 0), *scratch = txn->db->scratch;
    const kvi_step *leaf = kvi_path_leaf(path), *parent = leaf - 1;
    size_t len = kvi_seq_separator(&two->seq, two->fit, kvi_branch_same_len(parent->page), key);
    int rc = kvi_tree_own(tree, path, 1);
    if (rc == KV_OK)
        rc = kvi_txn_touch(txn, &two->next.ptr, 0, &two->next.page);
    if (rc != KV_OK)
        return rc;
    uint8_t *above = kvi_step_bytes(tree, parent);
    kvi_branch_set_child(above, page_size, parent->slot + 1, two->next.ptr);
    *room = KVI_MUTANT(GATHERED_UNSAID) ||
            kvi_branch_set_key(above, page_size, scratch, parent->slot, kvi_slice_of(key, len));
    if (!*room)
        return KV_OK;
    memcpy(kvi_step_bytes(tree, leaf), scratch + page_size, page_size);
    memcpy(kvi_step_bytes(tree, &two->next), scratch + (size_t)2 * page_size, page_size);
    kvi_tree_recount(tree, above, parent->slot, leaf->page);
    kvi_tree_recount(tree, above, parent->slot + 1, two->next.page);
    return KV_OK;
}

/* Fills the path's leaf from those behind it below its parent. */
static int leaf_fill(kvi_gather *gather, kv_tree *tree, kvi_path *path)
{
    const kvi_step *leaf = kvi_path_leaf(path), *parent = leaf - 1;
    uint8_t *scratch = tree->txn->db->scratch;
    uint32_t page_size = tree->txn->db->file.page_size;
    bool more = true;
    leaves two;
    int rc = KV_OK;
    while (rc == KV_OK && more && parent->slot < kvi_node_count(parent->page)) {
        rc = leaves_read(gather, tree, path, &two);
        if (rc != KV_OK)
            return rc;
        unsigned all = kvi_seq_count(&two.seq);
        more = !is_shared(gather, leaf->ptr) && !is_shared(gather, two.next.ptr) &&
               two.fit > kvi_node_count(leaf->page) &&
               kvi_node_build(&two.seq, 0, two.fit, scratch + page_size);
        if (more && two.fit == all) {
            rc = leaves_join(tree, path, &two);
            gather->saved++;
        } else if (more &&
                   kvi_node_build(&two.seq, two.fit, all, scratch + (size_t)2 * page_size)) {
            rc = leaves_shift(tree, path, &two, &more);
            more = false;
        } else {
            more = false;
        }
    }
    return rc;
}

/* ---- the leaves below a parent ---- */

/* Would the leaves from the parent's slot on be fewer by so many that it is worth it? */
static int is_sparse(kvi_gather *gather, kv_tree *tree, const kvi_step *parent, bool *sparse)
{
    uint32_t page_size = tree->txn->db->file.page_size;
    unsigned end = kvi_node_count(parent->page) + 1;
    uint64_t entries = 0, seen = 0, bytes = 0;
    *sparse = false;
    if (is_shared(gather, parent->ptr)) /* and so are the leaves */
        return KV_OK;
    for (unsigned i = parent->slot; i < end; i++) {
        const uint8_t *page;
        entries += kvi_branch_tally(parent->page, page_size, i);
        if ((i - parent->slot) % LOOK_EVERY != 0)
            continue;
        gather->read++;
        int rc = kvi_txn_node(tree->txn, kvi_branch_child(parent->page, page_size, i), 0, &page);
        if (rc != KV_OK)
            return rc;
        seen += kvi_node_count(page);
        bytes += kvi_node_used(page, page_size) - KVI_HEADER_SIZE;
    }
    uint64_t each = seen ? (bytes + seen - 1) / seen : 0;
    uint64_t fit = each ? (page_size - KVI_HEADER_SIZE) / each : 0;
    uint64_t fewest = fit ? (entries + fit - 1) / fit : end;
    *sparse = fewest + fewest / WORTH < end - parent->slot;
    return KV_OK;
}

static bool has_enough(const kvi_gather *gather, const kv_txn *txn)
{
    return kvi_pass_full(&gather->pass, txn, 0) || gather->read >= READS * gather->pass.budget;
}

/* Fills the leaves from the path's on, as far as their parent and the budget go. */
static int gather_below(kvi_gather *gather, kv_tree *tree, kvi_path *path)
{
    kvi_step *leaf = kvi_path_leaf(path), *parent = leaf - 1;
    uint32_t page_size = tree->txn->db->file.page_size;
    for (;;) {
        int rc = leaf_fill(gather, tree, path);
        if (rc != KV_OK || has_enough(gather, tree->txn) ||
            parent->slot >= kvi_node_count(parent->page))
            return rc;
        leaf->ptr = kvi_branch_child(parent->page, page_size, ++parent->slot);
        path->owned = 0;
        rc = kvi_txn_node(tree->txn, leaf->ptr, 0, &leaf->page);
        if (rc != KV_OK)
            return rc;
    }
}

/* ---- one tree ---- */

/* The leaves below the parent that the pass has come to. */
static int gather_some(kvi_gather *gather, kv_tree *tree)
{
    kvi_path path;
    bool sparse;
    uint64_t before = gather->saved;
    int rc = kvi_pass_seek(&gather->pass, tree, &path);
    if (rc != KV_OK || path.depth < 2)
        return rc != KV_OK ? rc : KV_NOTFOUND;
    kvi_step *parent = kvi_path_leaf(&path) - 1;
    rc = is_sparse(gather, tree, parent, &sparse);
    if (rc == KV_OK && sparse)
        rc = gather_below(gather, tree, &path);
    else
        parent->slot = kvi_node_count(parent->page);
    int next = rc == KV_OK ? kvi_pass_stop_behind(&gather->pass, tree, &path) : rc;
    if (rc == KV_OK && gather->saved > before)
        rc = kvi_tree_own(tree, &path, 0);
    if (rc == KV_OK && gather->saved > before)
        rc = kvi_tree_rebalance(tree, &path);
    return rc == KV_OK ? next : rc;
}

static int gather_tree(kvi_pass *pass, kv_tree *tree)
{
    kvi_gather *gather = (kvi_gather *)pass;
    int rc = KV_OK;
    while (rc == KV_OK) {
        rc = gather_some(gather, tree);
        if (rc == KV_OK && has_enough(gather, tree->txn))
            break;
    }
    return rc;
}

int kvi_gather_begin(kvi_gather *gather, const kvi_os *os, uint32_t page_size)
{
    gather->pass.work = gather_tree;
    return kvi_pass_begin(&gather->pass, os, page_size);
}

int kvi_gather_step(kvi_gather *gather, kv_txn *txn)
{
    gather->read = 0;
    int rc = kvi_pass_step(&gather->pass, txn);
    gather->moved += txn->db->dirty.bytes >> txn->db->file.page_shift;
    return rc;
}
