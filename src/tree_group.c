/* tree_group.c - see tree_group.h.
 *
 * All lookups of a group are on the same level. Each level is done in stages, and each stage ends
 * where a lookup would wait: for the lines that a search begins with, for the heads, for the record.
 * A stage goes over the whole group before the next one begins, so what it asked for has arrived.
 */
#include "tree_group.h"
#include "node_quick.h"

/* A lookup under way. */
typedef struct seeker {
    kvi_slice key;
    kvi_ptr ptr; /* of the node on this level */
    const uint8_t *page;
    kvi_aim aim;
    int rc;
} seeker;

typedef struct group {
    kv_txn *txn;
    uint32_t page_size;
    unsigned n;
    seeker seekers[KVI_GROUP];
} group;

static void group_begin(group *g, kv_tree *tree)
{
    g->txn = tree->txn;
    g->page_size = tree->txn->db->file.page_size;
    g->n = 0;
}

static void group_add(group *g, const kv_tree *tree, kvi_slice key)
{
    seeker *s = &g->seekers[g->n++];
    s->key = key;
    s->ptr = tree->desc.root;
    s->rc = KV_OK;
}

/* The root is one page for all. */
static int group_root(group *g, const kv_tree *tree)
{
    const uint8_t *page;
    unsigned level = tree->desc.level;
    if (tree->desc.root.page == 0)
        return KV_NOTFOUND;
    int rc = kvi_txn_node(g->txn, tree->desc.root, level, &page);
    for (unsigned i = 0; rc == KV_OK && level > 0 && i < g->n; i++) {
        seeker *s = &g->seekers[i];
        kvi_quick_branch(page, g->page_size, s->key, &s->ptr);
        kvi_txn_prefetch(g->txn, s->ptr);
    }
    return rc;
}

/* From nodes of a level to their children, which are on the way when this returns. */
static void group_descend(group *g, unsigned level)
{
    for (unsigned i = 0; i < g->n; i++) {
        seeker *s = &g->seekers[i];
        if (KVI_UNLIKELY(s->rc != KV_OK))
            continue;
        s->rc = kvi_txn_node(g->txn, s->ptr, level, &s->page);
        if (KVI_UNLIKELY(s->rc != KV_OK))
            continue;
        s->aim = kvi_aim_branch(s->page, g->page_size, s->key);
        if (s->aim.quick)
            __builtin_prefetch(s->page + s->aim.q.heads + 4 * s->aim.from);
    }
    for (unsigned i = 0; i < g->n; i++) {
        seeker *s = &g->seekers[i];
        if (KVI_UNLIKELY(s->rc != KV_OK))
            continue;
        kvi_aim_child(&s->aim, s->page, g->page_size, s->key, &s->ptr);
        kvi_txn_prefetch(g->txn, s->ptr);
    }
}

/* Goes down to the leaves, and asks the kernel for those that it may have to read. */
static void group_to_leaves(group *g, const kv_tree *tree)
{
    kvi_ptr leaves[KVI_GROUP];
    unsigned n = 0;
    int rc = group_root(g, tree);
    for (unsigned i = 0; rc != KV_OK && i < g->n; i++)
        g->seekers[i].rc = rc;
    for (unsigned level = tree->desc.level; level > 1; level--)
        group_descend(g, level - 1);
    for (unsigned i = 0; i < g->n; i++)
        if (g->seekers[i].rc == KV_OK)
            leaves[n++] = g->seekers[i].ptr;
    kvi_file_expect(&g->txn->view, leaves, n);
}

void kvi_tree_find_group(kv_tree *tree, kvi_lookup *lookups, unsigned n)
{
    group g;
    group_begin(&g, tree);
    for (unsigned i = 0; i < n; i++)
        group_add(&g, tree, lookups[i].key);
    group_to_leaves(&g, tree);
    for (unsigned i = 0; i < n; i++) {
        seeker *s = &g.seekers[i];
        if (KVI_UNLIKELY(s->rc != KV_OK))
            continue;
        s->rc = kvi_txn_node(g.txn, s->ptr, 0, &s->page);
        if (KVI_UNLIKELY(s->rc != KV_OK))
            continue;
        s->aim = kvi_aim_leaf(s->page, g.page_size, s->key);
        if (s->aim.quick)
            kvi_quick_prefetch(s->page + s->aim.at);
    }
    for (unsigned i = 0; i < n; i++) {
        const seeker *s = &g.seekers[i];
        kvi_lookup *l = &lookups[i];
        l->rc = s->rc;
        if (KVI_LIKELY(s->rc == KV_OK) && !kvi_aim_value(&s->aim, s->page, g.page_size, s->key,
                                                         &l->value.bytes, &l->value.special))
            l->rc = KV_NOTFOUND;
    }
}

void kvi_tree_warm(kv_tree *tree, const kvi_slice *keys, unsigned n)
{
    group g;
    kvi_ptr last = {0, 0};
    group_begin(&g, tree);
    for (unsigned i = 0; i < n; i++)
        group_add(&g, tree, keys[i]);
    group_to_leaves(&g, tree);
    for (unsigned i = 0; i < n; i++) {
        const seeker *s = &g.seekers[i];
        if (s->rc != KV_OK || (s->ptr.page == last.page && s->ptr.birth == last.birth))
            continue;
        kvi_txn_prefetch_whole(g.txn, s->ptr);
        last = s->ptr;
    }
}
