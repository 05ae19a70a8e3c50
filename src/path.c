/* path.c - moving along a path; see path.h. */
#include "path.h"
#include "mutant.h"

static uint32_t page_size_of(const kv_tree *tree)
{
    return tree->txn->db->file.page_size;
}

static int path_corrupt(kv_tree *tree, const kvi_step *step, const char *what)
{
    return kvi_fail(&tree->txn->db->err, KV_ECORRUPT, "page %llu breaks invariant %s",
                    (unsigned long long)step->ptr.page, what);
}

static int path_root(kv_tree *tree, kvi_path *path)
{
    kvi_step *root = &path->steps[0];
    path->owned = 0;
    path->depth = 0;
    root->ptr = tree->desc.root;
    if (root->ptr.page == 0)
        return KV_NOTFOUND;
    return kvi_txn_node(tree->txn, root->ptr, tree->desc.level, &root->page);
}

/* Takes the child that step i's slot names. Levels count down from the root's, whatever the pages
 * say: a path always ends. */
static int path_down(kv_tree *tree, kvi_path *path, unsigned i)
{
    const kvi_step *step = &path->steps[i];
    kvi_step *child = &path->steps[i + 1];
    child->ptr = kvi_branch_child(step->page, page_size_of(tree), step->slot);
    return kvi_txn_node(tree->txn, child->ptr, tree->desc.level - i - 1, &child->page);
}

/* Sets the slot of step i to its first or last child or entry. */
static int step_edge(kv_tree *tree, kvi_path *path, unsigned i, bool last)
{
    kvi_step *step = &path->steps[i];
    unsigned count = kvi_node_count(step->page);
    bool leaf = i == tree->desc.level;
    if (leaf && count == 0)
        return i > 0 ? path_corrupt(tree, step, "T3") : KV_NOTFOUND;
    step->slot = last ? count - leaf : 0;
    return KV_OK;
}

/* Goes down from step i (whose slot is set) to the leaf, to its first or last entry. */
static int path_descend(kv_tree *tree, kvi_path *path, unsigned i, bool last)
{
    int rc = KV_OK;
    for (; rc == KV_OK && i < tree->desc.level; i++) {
        rc = path_down(tree, path, i);
        if (rc == KV_OK)
            rc = step_edge(tree, path, i + 1, last);
    }
    path->depth = tree->desc.level + 1u;
    return rc;
}

int kvi_path_edge(kv_tree *tree, kvi_path *path, bool last)
{
    int rc = path_root(tree, path);
    if (rc == KV_OK)
        rc = step_edge(tree, path, 0, last);
    return rc == KV_OK ? path_descend(tree, path, 0, last) : rc;
}

/* The leaf so many further, if it has the same parent. */
static bool neighbour(kv_tree *tree, const kvi_path *path, bool up, unsigned far, kvi_ptr *leaf)
{
    if (path->depth < 2)
        return false;
    const kvi_step *parent = &path->steps[path->depth - 2];
    if (far > (up ? kvi_node_count(parent->page) - parent->slot : parent->slot))
        return false;
    unsigned slot = up ? parent->slot + far : parent->slot - far;
    *leaf = kvi_branch_child(parent->page, page_size_of(tree), slot);
    return true;
}

uintptr_t kvi_path_beside(kv_tree *tree, const kvi_path *path, bool up, unsigned far)
{
    kvi_ptr leaf;
    return neighbour(tree, path, up, far, &leaf) ? kvi_txn_whereabouts(tree->txn, leaf) : 0;
}

void kvi_path_ahead(kv_tree *tree, const kvi_path *path, bool up)
{
    kvi_ptr leaf;
    if (neighbour(tree, path, up, 1, &leaf))
        kvi_txn_prefetch(tree->txn, leaf);
}

int kvi_path_cross(kv_tree *tree, kvi_path *path, bool up)
{
    kvi_step saved[KVI_LEVEL_MAX + 1];
    unsigned i = path->depth - 1;
    do {
        if (i-- == 0)
            return KV_NOTFOUND;
    } while (up ? path->steps[i].slot >= kvi_node_count(path->steps[i].page)
                : path->steps[i].slot == 0);
    unsigned n = path->depth - i;
    memcpy(saved, &path->steps[i], n * sizeof *saved);
    path->steps[i].slot += up ? 1u : -1u;
    int rc = path_descend(tree, path, i, !up);
    if (rc != KV_OK)
        memcpy(&path->steps[i], saved, n * sizeof *saved);
    return rc;
}

/* The same in a scan. */
static int path_cross_on(kv_tree *tree, kvi_path *path, bool up)
{
    kvi_ptr leaf;
    int rc = kvi_path_cross(tree, path, up);
    if (rc == KV_OK && neighbour(tree, path, up, 1, &leaf))
        kvi_txn_prefetch_whole(tree->txn, leaf);
    return rc;
}

int kvi_path_next(kv_tree *tree, kvi_path *path)
{
    if (path->depth == 0)
        return KV_NOTFOUND;
    kvi_step *leaf = kvi_path_leaf(path);
    if (leaf->slot + 1 >= kvi_node_count(leaf->page))
        return path_cross_on(tree, path, true);
    leaf->slot++;
    return KV_OK;
}

int kvi_path_prev(kv_tree *tree, kvi_path *path)
{
    if (path->depth == 0)
        return KV_NOTFOUND;
    kvi_step *leaf = kvi_path_leaf(path);
    if (leaf->slot == 0)
        return path_cross_on(tree, path, false);
    leaf->slot--;
    return KV_OK;
}

int kvi_path_nth(kv_tree *tree, kvi_path *path, uint64_t n)
{
    if (n >= tree->desc.entries)
        return KV_NOTFOUND;
    int rc = path_root(tree, path);
    for (unsigned i = 0; rc == KV_OK && i < tree->desc.level; i++) {
        path->steps[i].slot = kvi_branch_nth(path->steps[i].page, page_size_of(tree), &n);
        rc = path_down(tree, path, i);
    }
    if (rc != KV_OK)
        return rc;
    path->depth = tree->desc.level + 1u;
    kvi_step *leaf = kvi_path_leaf(path);
    if (n >= kvi_node_count(leaf->page))
        return path_corrupt(tree, leaf, "T2");
    if (KVI_MUTANT(NTH_SHORT) && n > 0 && n + 1 == kvi_node_count(leaf->page))
        n--;
    leaf->slot = (unsigned)n;
    return KV_OK;
}
