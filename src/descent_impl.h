/* descent_impl.h - what the files of descent.h consist of. Before it is included, KVI_DESCENT names what they
 * define, KVI_WORKS() says whether the processor can do it, and KVI_LANES_AVX how (lanes.h). Without
 * them it is the one that works everywhere. */
#ifndef KVI_DESCENT_IMPL_H
#define KVI_DESCENT_IMPL_H

#include "descent.h"
#include "node_quick.h"
#include "ops.h"

#ifndef KVI_DESCENT
#define KVI_DESCENT kvi_descent_base
#define KVI_WORKS() true
#endif

/* A node on the way, and its form. */
typedef struct node {
    const uint8_t *page;
    kvi_form form;
} node;

/* As kvi_txn_node; view: the snapshot's, or a copy, which stays in registers. */
KVI_INLINE int node_of(kv_txn *txn, const kvi_view *view, kvi_ptr ptr, unsigned level, node *n)
{
    kvi_seen seen = kvi_view_seen(view, ptr.page);
    if (KVI_LIKELY(kvi_seen_good(seen, ptr.birth, level))) {
        *n = (node){kvi_view_page(view, ptr.page), (kvi_form)seen};
        return KV_OK;
    }
    int rc = kvi_txn_node(txn, ptr, level, &n->page);
    if (KVI_LIKELY(rc == KV_OK))
        n->form = kvi_form_of(n->page, 1u << view->page_shift, level);
    return rc;
}

/* ---- one lookup ---- */

#define UNSURE (-1) /* not as in most lookups: the general one must do it */

/* In pages that others have committed and this process has verified, for a plain value of a length that
 * its leaf's all have. There is nothing here that a lookup needs not. (KVI_FORM_QUICK is there already:
 * repeated, the compiler knows it, too.) */
KVI_INLINE int find(kv_tree *tree, kvi_slice key, kvi_slice *value)
{
    const kvi_view view = tree->txn->view;
    const kvi_probe probe = kvi_probe_of(key);
    uint32_t page_size = 1u << view.page_shift;
    kvi_ptr ptr = tree->desc.root;
    const uint64_t leaf = kvi_seen_top(0);
    uint64_t top = kvi_seen_top(tree->desc.level);
    kvi_seen seen = kvi_view_seen(&view, ptr.page);
    for (; top > leaf; top--) {
        if (KVI_UNLIKELY(!kvi_seen_quick(seen, ptr.birth, top)))
            return UNSURE;
        const uint8_t *page = kvi_view_page(&view, ptr.page);
        kvi_aim aim = kvi_aim_branch(page, (kvi_form)seen | KVI_FORM_QUICK, page_size, &probe);
        kvi_aim_child(&aim, page, page_size, key, &ptr);
        seen = kvi_view_seen(&view, ptr.page);
    }
    if (KVI_UNLIKELY(!kvi_seen_quick(seen, ptr.birth, leaf)))
        return UNSURE;
    const uint8_t *page = kvi_view_page(&view, ptr.page);
    kvi_aim aim = kvi_aim_leaf(page, (kvi_form)seen | KVI_FORM_QUICK, page_size, &probe);
    switch (kvi_aim_hit(&aim, page, page_size, key, value)) {
    case KVI_HIT:
        return KV_OK;
    case KVI_MISS:
        return KV_NOTFOUND;
    default:
        return UNSURE;
    }
}

static int get(kv_tree *tree, kvi_slice key, kv_slice *value)
{
    kvi_slice found;
    int rc = KVI_LIKELY(kvi_tree_plain(tree)) ? find(tree, key, &found) : UNSURE;
    if (KVI_UNLIKELY(rc == UNSURE))
        return kvi_get_any(tree, key, value);
    if (rc == KV_OK && value)
        *value = (kv_slice){found.ptr, found.len};
    return rc;
}

static int seek(kv_tree *tree, kvi_slice key, kvi_path *path, int around, bool *found)
{
    kv_txn *txn = tree->txn;
    const kvi_view view = txn->view;
    const kvi_probe probe = kvi_probe_of(key);
    uint32_t page_size = 1u << view.page_shift;
    kvi_ptr ptr = tree->desc.root;
    kvi_step *step = path->steps;
    int rc;
    node n;
    for (unsigned level = tree->desc.level; level > 0; level--, step++) {
        step->ptr = ptr;
        rc = node_of(txn, &view, ptr, level, &n);
        if (KVI_UNLIKELY(rc != KV_OK))
            return rc;
        step->page = n.page;
        step->slot = kvi_quick_branch(n.page, n.form, page_size, &probe, &ptr);
    }
    step->ptr = ptr;
    rc = node_of(txn, &view, ptr, 0, &n);
    if (KVI_UNLIKELY(rc != KV_OK))
        return rc;
    step->page = n.page;
    path->depth = tree->desc.level + 1u;
    step->slot = kvi_quick_slot(n.page, n.form, page_size, &probe, around, found);
    return KV_OK;
}

/* ---- many at once ----
 *
 * All lookups of a group are on the same level. Each level is done in stages, and each stage ends
 * where a lookup would wait: for the lines that a search begins with, for the heads, for the record.
 * A stage goes over the whole group before the next one begins, so what it asked for has arrived. */

/* A lookup under way. */
typedef struct seeker {
    kvi_probe probe;
    kvi_ptr ptr; /* of the node on this level */
    node node;
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
    s->probe = kvi_probe_of(key);
    s->ptr = tree->desc.root;
    s->rc = KV_OK;
}

/* The root is one page for all. */
static int group_root(group *g, const kv_tree *tree)
{
    node n;
    unsigned level = tree->desc.level;
    if (tree->desc.root.page == 0)
        return KV_NOTFOUND;
    int rc = node_of(g->txn, &g->txn->view, tree->desc.root, level, &n);
    for (unsigned i = 0; rc == KV_OK && level > 0 && i < g->n; i++) {
        seeker *s = &g->seekers[i];
        kvi_quick_branch(n.page, n.form, g->page_size, &s->probe, &s->ptr);
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
        s->rc = node_of(g->txn, &g->txn->view, s->ptr, level, &s->node);
        if (KVI_UNLIKELY(s->rc != KV_OK))
            continue;
        s->aim = kvi_aim_branch(s->node.page, s->node.form, g->page_size, &s->probe);
        if (s->aim.quick)
            __builtin_prefetch(s->node.page + s->aim.q.heads + 4 * s->aim.from);
    }
    for (unsigned i = 0; i < g->n; i++) {
        seeker *s = &g->seekers[i];
        if (KVI_UNLIKELY(s->rc != KV_OK))
            continue;
        kvi_aim_child(&s->aim, s->node.page, g->page_size, s->probe.key, &s->ptr);
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

static void find_group(kv_tree *tree, kvi_lookup *lookups, unsigned n)
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
        s->rc = node_of(g.txn, &g.txn->view, s->ptr, 0, &s->node);
        if (KVI_UNLIKELY(s->rc != KV_OK))
            continue;
        s->aim = kvi_aim_leaf(s->node.page, s->node.form, g.page_size, &s->probe);
        if (s->aim.quick)
            kvi_quick_prefetch(s->node.page + s->aim.at);
    }
    for (unsigned i = 0; i < n; i++) {
        const seeker *s = &g.seekers[i];
        kvi_lookup *l = &lookups[i];
        l->rc = s->rc;
        if (KVI_LIKELY(s->rc == KV_OK) &&
            !kvi_aim_value(&s->aim, s->node.page, g.page_size, s->probe.key, &l->value.bytes,
                           &l->value.special))
            l->rc = KV_NOTFOUND;
    }
}

static void warm(kv_tree *tree, const kvi_slice *keys, unsigned n)
{
    group g;
    kvi_ptr last = {0, 0};
    group_begin(&g, tree);
    for (unsigned i = 0; i < n; i++)
        group_add(&g, tree, keys[i]);
    group_to_leaves(&g, tree);
    for (unsigned i = 0; i < n; i++) {
        const seeker *s = &g.seekers[i];
        if (s->rc != KV_OK || kvi_ptr_same(s->ptr, last))
            continue;
        kvi_txn_prefetch_whole(g.txn, s->ptr);
        last = s->ptr;
    }
}

static bool works(void)
{
    return KVI_WORKS();
}

const kvi_descent KVI_DESCENT = {works, get, seek, find_group, warm};

#endif
