/* path.h - the way from a root to a leaf entry. */
#ifndef KVI_PATH_H
#define KVI_PATH_H

#include "node.h"
#include "txn.h"

static inline kvi_step *kvi_path_leaf(kvi_path *path)
{
    return &path->steps[path->depth - 1];
}

/* To the first or last entry of the tree. KV_NOTFOUND: it is empty. */
int kvi_path_edge(kv_tree *tree, kvi_path *path, bool last) KVI_MUST_CHECK;

/* To the neighbouring entry. KV_NOTFOUND: there is none; the path then stays where it was. */
int kvi_path_next(kv_tree *tree, kvi_path *path) KVI_MUST_CHECK;
int kvi_path_prev(kv_tree *tree, kvi_path *path) KVI_MUST_CHECK;

/* The same from the entry at the edge of its leaf, and without asking for leaves ahead. */
int kvi_path_cross(kv_tree *tree, kvi_path *path, bool up) KVI_MUST_CHECK;

/* Asks for what a search in the neighbouring leaf begins with, so that it has arrived when the path does. */
void kvi_path_ahead(kv_tree *tree, const kvi_path *path, bool up);

/* Where the leaf so many further is to be expected in memory; 0: not known, or below another parent. */
uintptr_t kvi_path_beside(kv_tree *tree, const kvi_path *path, bool up, unsigned far);

/* To entry number n, counted from 0. KV_NOTFOUND. */
int kvi_path_nth(kv_tree *tree, kvi_path *path, uint64_t n) KVI_MUST_CHECK;

#endif
