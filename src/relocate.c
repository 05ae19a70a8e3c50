/* relocate.c - see relocate.h. */
#include "relocate.h"
#include "mutant.h"
#include "shift.h"

/* ---- one leaf ---- */

static bool is_high(const kvi_relocate *move, kvi_ptr ptr, uint64_t pages)
{
    return ptr.birth != 0 && ptr.page + pages > move->target;
}

/* One of the first n nodes of the way. */
static bool path_high(const kvi_relocate *move, const kvi_path *path, unsigned n)
{
    bool high = false;
    for (unsigned i = 0; i < n; i++)
        high |= is_high(move, path->steps[i].ptr, 1);
    return high;
}

/* The next large value of a leaf that lies too high, from entry *i on. */
static bool leaf_value(const kvi_relocate *move, const uint8_t *page, uint32_t page_size,
                       unsigned *i, kvi_stored *stored, kvi_entry *entry)
{
    for (; *i < kvi_node_count(page); ++*i) {
        stored->bytes = kvi_leaf_value(page, page_size, *i, &stored->special);
        if (stored->special && kvi_entry_parse(*stored, entry) &&
            (entry->flags & KVI_ENTRY_LARGE) && is_high(move, entry->large.ptr, entry->large.pages))
            return true;
    }
    return false;
}

/* Copies a value to a run that ends before the target; if there is none, since pages that were moved
 * earlier lie among its holes, to one that ends before the value begins. */
static int move_value(kvi_relocate *move, kv_txn *txn, uint8_t *bytes, kvi_entry *entry)
{
    kvi_ptr old = entry->large.ptr;
    kvi_pgno first;
    int rc = kvi_space_take_below(txn->db->space, entry->large.pages, move->target, &first);
    if (rc == KV_NOTFOUND)
        rc = kvi_space_take_below(txn->db->space, entry->large.pages, old.page, &first);
    if (rc != KV_OK)
        return rc == KV_NOTFOUND ? KV_OK : rc;
    rc = kvi_shift_value(txn, &entry->large, first);
    if (KVI_MUTANT(MOVED_UNNEEDED))
        old.birth = txn->id;
    if (rc == KV_OK && !KVI_MUTANT(MOVED_UNDROPPED))
        rc = kvi_txn_drop_run(txn, old, entry->large.pages);
    if (!KVI_MUTANT(MOVED_UNSAID))
        kvi_large_put(bytes + kvi_entry_ref_at(entry), &entry->large);
    move->moved += entry->large.pages;
    move->values += entry->large.pages;
    return rc;
}

static int move_values(kvi_relocate *move, kv_tree *tree, uint8_t *page)
{
    uint32_t page_size = tree->txn->db->file.page_size;
    kvi_stored stored;
    kvi_entry entry;
    int rc = KV_OK;
    for (unsigned i = 0; rc == KV_OK && leaf_value(move, page, page_size, &i, &stored, &entry); i++)
        rc = move_value(move, tree->txn, page + (stored.bytes.ptr - page), &entry);
    return rc;
}

static int move_leaf(kvi_relocate *move, kv_tree *tree, kvi_path *path)
{
    uint32_t page_size = tree->txn->db->file.page_size;
    kvi_stored stored;
    kvi_entry entry;
    unsigned i = 0;
    bool values = tree->desc.large_pages &&
                  leaf_value(move, kvi_path_leaf(path)->page, page_size, &i, &stored, &entry);
    if (!values && !path_high(move, path, path->depth))
        return KV_OK;
    path->owned = 0;
    int rc = kvi_tree_own(tree, path, 0);
    move->moved++;
    return rc == KV_OK && values
               ? move_values(move, tree, kvi_step_bytes(tree, kvi_path_leaf(path)))
               : rc;
}

/* ---- one tree ---- */

/* Loads child number slot of step i. A transaction comes to each node once: where it comes to more
 * than there are pages, some are used more than once. */
static int step_down(kvi_relocate *move, kv_tree *tree, kvi_path *path, unsigned i)
{
    kvi_step *step = &path->steps[i];
    if (move->walked++ >= tree->txn->base.high_water)
        return kvi_fail(&tree->txn->db->err, KV_ECORRUPT,
                        "a page breaks invariant S1: it is used more than once");
    step[1].ptr = kvi_branch_child(step->page, tree->txn->db->file.page_size, step->slot);
    step[1].slot = 0;
    return kvi_txn_node(tree->txn, step[1].ptr, tree->desc.level - i - 1, &step[1].page);
}

/* Below a branch on level 1: the next leaf that may have to move, or that has to because a node above
 * it does. False: none. */
static bool leaf_ahead(const kvi_relocate *move, const kv_tree *tree, kvi_step *step, bool high)
{
    for (; step->slot <= kvi_node_count(step->page); step->slot++)
        if (high || tree->desc.large_pages ||
            is_high(move, kvi_branch_child(step->page, tree->txn->db->file.page_size, step->slot),
                    1))
            return true;
    step->slot--;
    return false;
}

/* To the next leaf that may have to move. KV_NOTFOUND: there is none. */
static int path_advance(kvi_relocate *move, kv_tree *tree, kvi_path *path)
{
    int rc = KV_OK;
    if (path->depth < 2)
        return KV_NOTFOUND;
    unsigned last = path->depth - 2;
    for (;;) {
        unsigned i = last;
        while (path->steps[i].slot >= kvi_node_count(path->steps[i].page))
            if (i-- == 0)
                return KV_NOTFOUND;
        path->steps[i].slot++;
        for (; rc == KV_OK && i < last; i++)
            rc = step_down(move, tree, path, i);
        if (rc != KV_OK)
            return rc;
        if (leaf_ahead(move, tree, &path->steps[last], path_high(move, path, last + 1)))
            return step_down(move, tree, path, last);
    }
}

static int relocate_tree(kvi_pass *pass, kv_tree *tree)
{
    kvi_relocate *move = (kvi_relocate *)pass;
    kvi_path path;
    int rc = kvi_pass_seek(pass, tree, &path);
    while (rc == KV_OK) {
        rc = move_leaf(move, tree, &path);
        /* Behind it, whatever the leaf has that could not move. */
        pass->enough = kvi_pass_full(pass, tree->txn, move->values);
        if (rc == KV_OK && pass->enough)
            return kvi_pass_stop_behind(pass, tree, &path);
        if (rc == KV_OK)
            rc = path_advance(move, tree, &path);
    }
    return rc;
}

int kvi_relocate_begin(kvi_relocate *move, const kvi_os *os, uint32_t page_size)
{
    move->pass.work = relocate_tree;
    return kvi_pass_begin(&move->pass, os, page_size);
}

int kvi_relocate_step(kvi_relocate *move, kv_txn *txn)
{
    move->values = 0;
    move->walked = 0;
    return kvi_pass_step(&move->pass, txn);
}
