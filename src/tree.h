/* tree.h - one ordered map inside a transaction: find, put, delete.
 *
 * Invariants:
 *   T1 every key lies between the separators around its child pointer: left <= key < right
 *   T2 a tally is the number of entries below its child
 *   T3 no node but the root is empty; a root branch has at least two children
 *   T4 all leaves are on level 0, and a child is one level below its parent
 *   T5 a tree's numbers (entries, pages) are those of its pages
 *   T6 a node that a transaction leaves as it was gains no keys to its range: when a node goes away,
 *      the leaf that its range falls to is written anew. So what an old node's range holds has not
 *      changed since its birth (backup.h)
 *   T7 the entries of a multi-value tree are pairs, with empty values
 *   T8 an expiry in a branch or descriptor is the least one below it, 0 when there is none; below a
 *      branch without expiries, and in a tree without KVI_TREE_EXPIRY, nothing expires. In private
 *      pages and while they change, it may be less than that
 */
#ifndef KVI_TREE_H
#define KVI_TREE_H

#include "node.h"
#include "path.h"
#include "txn.h"
#include "value.h"

/* Has it several values for each key? Its entries are pairs (pairs.h) then. */
static inline bool kvi_tree_multi(const kv_tree *tree)
{
    return tree->desc.flags & KVI_TREE_MULTI;
}

/* Has the tree ever had an entry with an expiry? */
static inline bool kvi_tree_expires(const kv_tree *tree)
{
    return tree->desc.flags & KVI_TREE_EXPIRY;
}

/* May it have entries that have expired, and that nobody shall see? */
static inline bool kvi_tree_stale(const kv_tree *tree)
{
    return KVI_UNLIKELY(kvi_expired(tree->desc.min_expiry, tree->txn->now));
}

/* Looks key up. KV_OK: *value is the entry's stored form. KV_NOTFOUND. Here and below, expired
 * entries are entries like others. */
int kvi_tree_find(kv_tree *tree, kvi_slice key, kvi_stored *value) KVI_MUST_CHECK;

/* The entry under a path. */
static inline kvi_stored kvi_path_stored(const kv_tree *tree, const kvi_path *path)
{
    const kvi_step *leaf = &path->steps[path->depth - 1];
    kvi_stored stored;
    stored.bytes =
        kvi_leaf_value(leaf->page, tree->txn->db->file.page_size, leaf->slot, &stored.special);
    return stored;
}

/* Positions path on the first entry >= key (possibly behind the last of its leaf); *found: on key
 * itself. An empty tree gives path->depth 0. */
int kvi_tree_seek(kv_tree *tree, kvi_slice key, kvi_path *path, bool *found) KVI_MUST_CHECK;

/* The same, and asks for the entries of its leaf that will be wanted next: for so many behind it, or, if
 * negative, before it. */
int kvi_tree_seek_around(kv_tree *tree, kvi_slice key, kvi_path *path, int around,
                         bool *found) KVI_MUST_CHECK;

/* The same for a key that follows the newest put at the end of the tree: true when path, still
 * standing there, was set to it without a search. */
bool kvi_tree_append(kv_tree *tree, kvi_slice key, kvi_path *path);

/* Has an ascending run filled the leaf as far as it is to? (kv_options.fill) */
static inline bool kvi_tree_filled(const kv_tree *tree, const uint8_t *leaf)
{
    const kv_db *db = tree->txn->db;
    return KVI_UNLIKELY(db->leaf_spare > 0) &&
           kvi_node_used(leaf, db->file.page_size) >=
               db->file.page_size * (100 - db->leaf_spare) / 100;
}

/* Inserts item at path (from kvi_tree_seek: not found), or replaces the value there (found). The
 * tree changes in memory only. On return path is positioned on the entry. Values are complete
 * stored forms (value.h); item->expiry repeats what they say. */
int kvi_tree_insert(kv_tree *tree, kvi_path *path, const kvi_item *item) KVI_MUST_CHECK;
int kvi_tree_replace(kv_tree *tree, kvi_path *path, const kvi_item *item) KVI_MUST_CHECK;

/* Removes the entry under path; the path is undefined afterwards. */
int kvi_tree_remove(kv_tree *tree, kvi_path *path) KVI_MUST_CHECK;

/* Removes all entries with from <= key < to. NULL bounds are open. */
int kvi_tree_cut(kv_tree *tree, const kvi_slice *from, const kvi_slice *to,
                 uint64_t *removed) KVI_MUST_CHECK;

/* Removes everything; the tree is empty. */
int kvi_tree_clear(kv_tree *tree) KVI_MUST_CHECK;

/* Number of entries with a key < key, and whether key itself exists. */
int kvi_tree_rank(kv_tree *tree, kvi_slice key, uint64_t *rank, bool *found) KVI_MUST_CHECK;

/* ---- between the tree files ---- */

/* Makes every node of path changeable, and reserves extra pages for what follows. */
int kvi_tree_own(kv_tree *tree, kvi_path *path, size_t extra) KVI_MUST_CHECK;

/* The changeable bytes of a step that kvi_tree_own or kvi_txn_touch went over. */
static inline uint8_t *kvi_step_bytes(const kv_tree *tree, const kvi_step *step)
{
    return kvi_dirty_bytes(&tree->txn->db->dirty, step->ptr.page);
}

/* Is what a parent names beside a changeable node that node itself? */
static inline bool kvi_step_again(const kvi_step *step, kvi_ptr beside)
{
    return beside.birth == 0 && beside.page == step->ptr.page;
}

/* Adds delta to the tallies above the leaf of path, and to the tree's entries. */
void kvi_tree_adjust(kv_tree *tree, const kvi_path *path, int64_t delta);

/* Entries below a node; the least expiry among them, 0: none. */
uint64_t kvi_node_total(const uint8_t *page, uint32_t page_size);
uint64_t kvi_node_least_expiry(const uint8_t *page, uint32_t page_size);

/* Brings what a parent in a private page knows of its child number i up to date. */
void kvi_tree_recount(const kv_tree *tree, uint8_t *parent, unsigned i, const uint8_t *child);

/* Merges underfull nodes of an owned path with neighbours, from the leaf up; removes empty ones;
 * lowers the root. */
int kvi_tree_rebalance(kv_tree *tree, kvi_path *path) KVI_MUST_CHECK;

/* The same for one step, after its node has changed: step[-1].slot then leads to what became of it.
 * *childless: in, its children are gone; out, its parent's are. *read grows by the neighbours read.
 * root: the end, at the root. */
int kvi_tree_settle(kv_tree *tree, kvi_step *step, unsigned level, bool *childless,
                    uint64_t *read) KVI_MUST_CHECK;
int kvi_tree_settle_root(kv_tree *tree, const kvi_step *root, bool childless) KVI_MUST_CHECK;

/* Raises or lowers the count of pages on a level. */
static inline void kvi_tree_count_pages(kv_tree *tree, unsigned level, int delta)
{
    if (level == 0)
        tree->desc.leaf_pages += (uint64_t)delta;
    else
        tree->desc.branch_pages += (uint64_t)delta;
}

/* Drops a whole subtree: its pages and large values. Adjusts the tree's page counts, not its
 * entries. */
int kvi_tree_drop_subtree(kv_tree *tree, kvi_ptr ptr, unsigned level) KVI_MUST_CHECK;

#endif
