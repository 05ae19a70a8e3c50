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

/* Looks key up. KV_OK: *value is the entry's stored form. KV_NOTFOUND. */
int kvi_tree_find(kv_tree *tree, kvi_slice key, kvi_stored *value) KVI_MUST_CHECK;

/* Positions path on the first entry >= key (possibly behind the last of its leaf); *found: on key
 * itself. An empty tree gives path->depth 0. */
int kvi_tree_seek(kv_tree *tree, kvi_slice key, kvi_path *path, bool *found) KVI_MUST_CHECK;

/* The same for a key that follows the newest put at the end of the tree: true when path, still
 * standing there, was set to it without a search. */
bool kvi_tree_append(kv_tree *tree, kvi_slice key, kvi_path *path);

/* Inserts item at path (from kvi_tree_seek: not found), or replaces the value there (found). The
 * tree changes in memory only. On return path is positioned on the entry. Values are complete
 * stored forms (value.h). */
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
    return kvi_dirty_at(&tree->txn->db->dirty, step->ptr.page)->bytes;
}

/* Adds delta to the tallies above the leaf of path, and to the tree's entries. */
void kvi_tree_adjust(kv_tree *tree, const kvi_path *path, int64_t delta);

/* Entries below a node. */
uint64_t kvi_node_total(const uint8_t *page, uint32_t page_size);

/* Merges underfull nodes of an owned path with neighbours, from the leaf up; removes empty ones;
 * lowers the root. */
int kvi_tree_rebalance(kv_tree *tree, kvi_path *path) KVI_MUST_CHECK;

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
