/* relocate.c - see relocate.h. */
#include "relocate.h"
#include "catalog.h"
#include "mutant.h"
#include "named.h"
#include "shift.h"

#define TREES 64 /* named ones that a transaction opens */

enum { AT_MAIN, AT_NAMED, AT_CATALOG, AT_SNAPSHOTS, AT_END };

int kvi_relocate_begin(kvi_relocate *pass, const kvi_os *os, uint32_t page_size)
{
    pass->name = os->alloc(os, kvi_key_max(page_size));
    pass->key = os->alloc(os, kvi_key_max(page_size));
    return pass->name && pass->key ? KV_OK : KV_ENOMEM;
}

void kvi_relocate_end(kvi_relocate *pass, const kvi_os *os)
{
    os->free(os, pass->name);
    os->free(os, pass->key);
}

/* ---- one leaf ---- */

static bool is_high(const kvi_relocate *pass, kvi_ptr ptr, uint64_t pages)
{
    return ptr.birth != 0 && ptr.page + pages > pass->target;
}

/* One of the first n nodes of the way. */
static bool path_high(const kvi_relocate *pass, const kvi_path *path, unsigned n)
{
    bool high = false;
    for (unsigned i = 0; i < n; i++)
        high |= is_high(pass, path->steps[i].ptr, 1);
    return high;
}

/* The next large value of a leaf that lies too high, from entry *i on. */
static bool leaf_value(const kvi_relocate *pass, const uint8_t *page, uint32_t page_size,
                       unsigned *i, kvi_stored *stored, kvi_entry *entry)
{
    for (; *i < kvi_node_count(page); ++*i) {
        stored->bytes = kvi_leaf_value(page, page_size, *i, &stored->special);
        if (stored->special && kvi_entry_parse(*stored, entry) &&
            (entry->flags & KVI_ENTRY_LARGE) && is_high(pass, entry->large.ptr, entry->large.pages))
            return true;
    }
    return false;
}

/* Copies a value to a run that ends before the target, if there is one. */
static int move_value(kvi_relocate *pass, kv_txn *txn, uint8_t *bytes, kvi_entry *entry)
{
    kvi_ptr old = entry->large.ptr;
    kvi_pgno first;
    int rc = kvi_space_take_below(txn->db->space, entry->large.pages, pass->target, &first);
    if (rc != KV_OK)
        return rc == KV_NOTFOUND ? KV_OK : rc;
    rc = kvi_shift_value(txn, &entry->large, first);
    if (KVI_MUTANT(MOVED_UNNEEDED))
        old.birth = txn->id;
    if (rc == KV_OK && !KVI_MUTANT(MOVED_UNDROPPED))
        rc = kvi_txn_drop_run(txn, old, entry->large.pages);
    if (!KVI_MUTANT(MOVED_UNSAID))
        kvi_large_put(bytes + kvi_entry_ref_at(entry), &entry->large);
    pass->moved += entry->large.pages;
    pass->values += entry->large.pages;
    return rc;
}

static int move_values(kvi_relocate *pass, kv_tree *tree, uint8_t *page)
{
    uint32_t page_size = tree->txn->db->file.page_size;
    kvi_stored stored;
    kvi_entry entry;
    int rc = KV_OK;
    for (unsigned i = 0; rc == KV_OK && leaf_value(pass, page, page_size, &i, &stored, &entry); i++)
        rc = move_value(pass, tree->txn, page + (stored.bytes.ptr - page), &entry);
    return rc;
}

static int move_leaf(kvi_relocate *pass, kv_tree *tree, kvi_path *path)
{
    uint32_t page_size = tree->txn->db->file.page_size;
    kvi_stored stored;
    kvi_entry entry;
    unsigned i = 0;
    bool values = tree->desc.large_pages &&
                  leaf_value(pass, kvi_path_leaf(path)->page, page_size, &i, &stored, &entry);
    if (!values && !path_high(pass, path, path->depth))
        return KV_OK;
    path->owned = 0;
    int rc = kvi_tree_own(tree, path, 0);
    pass->moved++;
    return rc == KV_OK && values
               ? move_values(pass, tree, kvi_step_bytes(tree, kvi_path_leaf(path)))
               : rc;
}

/* ---- one tree ---- */

/* Loads child number slot of step i. A transaction comes to each node once: where it comes to more
 * than there are pages, some are used more than once. */
static int step_down(kvi_relocate *pass, kv_tree *tree, kvi_path *path, unsigned i)
{
    kvi_step *step = &path->steps[i];
    if (pass->walked++ >= tree->txn->base.high_water)
        return kvi_fail(&tree->txn->db->err, KV_ECORRUPT,
                        "a page breaks invariant S1: it is used more than once");
    step[1].ptr = kvi_branch_child(step->page, tree->txn->db->file.page_size, step->slot);
    step[1].slot = 0;
    return kvi_txn_node(tree->txn, step[1].ptr, tree->desc.level - i - 1, &step[1].page);
}

/* Below a branch on level 1: the next leaf that may have to move, or that has to because a node above
 * it does. False: none. */
static bool leaf_ahead(const kvi_relocate *pass, const kv_tree *tree, kvi_step *step, bool high)
{
    for (; step->slot <= kvi_node_count(step->page); step->slot++)
        if (high || tree->desc.large_pages ||
            is_high(pass, kvi_branch_child(step->page, tree->txn->db->file.page_size, step->slot),
                    1))
            return true;
    step->slot--;
    return false;
}

/* To the next leaf that may have to move. KV_NOTFOUND: there is none. */
static int path_advance(kvi_relocate *pass, kv_tree *tree, kvi_path *path)
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
            rc = step_down(pass, tree, path, i);
        if (rc != KV_OK)
            return rc;
        if (leaf_ahead(pass, tree, &path->steps[last], path_high(pass, path, last + 1)))
            return step_down(pass, tree, path, last);
    }
}

static bool is_full(const kvi_relocate *pass, const kv_txn *txn)
{
    return (txn->db->dirty.bytes >> txn->db->file.page_shift) + pass->values >= pass->budget;
}

/* KV_NOTFOUND: the tree is done. KV_OK: the budget is used up. */
static int relocate_tree(kvi_relocate *pass, kv_tree *tree)
{
    kvi_path path;
    bool found;
    int rc = pass->resumed
                 ? kvi_tree_seek(tree, (kvi_slice){pass->key, pass->key_len}, &path, &found)
                 : kvi_path_edge(tree, &path, false);
    pass->resumed = false;
    if (rc == KV_OK && path.depth == 0)
        return KV_NOTFOUND;
    while (rc == KV_OK) {
        rc = move_leaf(pass, tree, &path);
        if (rc == KV_OK && is_full(pass, tree->txn)) {
            const kvi_step *leaf = kvi_path_leaf(&path);
            pass->resumed = kvi_node_count(leaf->page) > 0;
            pass->key_len = pass->resumed ? kvi_node_key(leaf->page, tree->txn->db->file.page_size,
                                                         0, pass->key)
                                          : 0;
            return KV_OK;
        }
        if (rc == KV_OK)
            rc = path_advance(pass, tree, &path);
    }
    return rc;
}

/* ---- all trees ---- */

/* The named tree behind the last one; its own name follows while its pass goes on. */
static int next_name(kvi_relocate *pass, kv_txn *txn, bool same)
{
    kvi_path path;
    bool found = false;
    int rc = pass->name_len ? kvi_tree_seek(&txn->catalog, (kvi_slice){pass->name, pass->name_len},
                                            &path, &found)
                            : kvi_path_edge(&txn->catalog, &path, false);
    if (rc == KV_OK && path.depth == 0)
        return KV_NOTFOUND;
    const kvi_step *leaf = rc == KV_OK ? kvi_path_leaf(&path) : NULL;
    if (rc == KV_OK && ((found && !same) || leaf->slot >= kvi_node_count(leaf->page)))
        rc = kvi_path_next(&txn->catalog, &path);
    if (rc != KV_OK)
        return rc;
    leaf = kvi_path_leaf(&path);
    pass->resumed = pass->resumed && found;
    pass->name_len = kvi_node_key(leaf->page, txn->db->file.page_size, leaf->slot, pass->name);
    return KV_OK;
}

static int relocate_named(kvi_relocate *pass, kv_txn *txn)
{
    bool same = pass->resumed;
    int rc = KV_NOTFOUND;
    for (unsigned opened = 0; rc == KV_NOTFOUND; opened++) {
        kv_tree *tree;
        if (opened == TREES)
            return KV_OK;
        rc = next_name(pass, txn, same);
        if (rc != KV_OK)
            return rc;
        rc = kvi_catalog_open(txn, (kvi_slice){pass->name, pass->name_len}, 0, NULL, &tree);
        if (rc == KV_OK)
            rc = relocate_tree(pass, tree);
        same = false;
    }
    return rc;
}

int kvi_relocate_step(kvi_relocate *pass, kv_txn *txn)
{
    int rc = KV_NOTFOUND;
    pass->values = 0;
    pass->walked = 0;
    while (rc == KV_NOTFOUND && pass->at != AT_END) {
        rc = pass->at == AT_MAIN      ? relocate_tree(pass, &txn->main)
             : pass->at == AT_NAMED   ? relocate_named(pass, txn)
             : pass->at == AT_CATALOG ? relocate_tree(pass, &txn->catalog)
                                      : relocate_tree(pass, kvi_named_tree(txn));
        if (rc == KV_NOTFOUND) {
            pass->at++;
            pass->resumed = false;
        }
    }
    pass->done = pass->at == AT_END;
    return kvi_txn_spoil(txn, rc == KV_NOTFOUND ? KV_OK : rc);
}
