/* expired.c - see expired.h. */
#include "expired.h"

static const kvi_place open_end;

typedef struct count {
    kv_tree *tree;
    uint32_t page_size;
    uint64_t pages;   /* that may still be visited: in a forged file a count could go on for ever */
    uint64_t expired; /* entries met so far */
} count;

/* A sound tree uses no page twice; a number is looked for once more on every level. */
static count count_begin(kv_tree *tree)
{
    const kv_txn *txn = tree->txn;
    uint64_t pages = txn->view.limit + (txn->write ? txn->db->dirty.n_items : 0);
    return (count){tree, txn->db->file.page_size, (tree->desc.level + 2u) * pages, 0};
}

static int count_visit(count *c, kvi_ptr ptr, unsigned level, const uint8_t **page)
{
    if (c->pages-- == 0)
        return kvi_fail(&c->tree->txn->db->err, KV_ECORRUPT,
                        "a page breaks invariant S1: it is used more than once");
    return kvi_txn_node(c->tree->txn, ptr, level, page);
}

/* Adds the expired entries below a node between two places. */
static int count_below(count *c, kvi_ptr ptr, unsigned level, const kvi_place *lo,
                       const kvi_place *hi)
{
    const uint8_t *page;
    uint64_t now = c->tree->txn->now;
    int rc = count_visit(c, ptr, level, &page);
    if (rc != KV_OK)
        return rc;
    if (level == 0) {
        unsigned from = lo->set ? kvi_place_slot(c->tree, page, lo) : 0;
        unsigned to = hi->set ? kvi_place_slot(c->tree, page, hi) : kvi_node_count(page);
        c->expired += kvi_leaf_expired(page, c->page_size, from, to, now);
        return KV_OK;
    }
    unsigned first = lo->set ? kvi_branch_search(page, c->page_size, lo->key) : 0;
    unsigned last = hi->set ? kvi_branch_search(page, c->page_size, hi->key) : kvi_node_count(page);
    for (unsigned i = first; rc == KV_OK && i <= last; i++)
        if (kvi_expired(kvi_branch_expiry(page, c->page_size, i), now))
            rc = count_below(c, kvi_branch_child(page, c->page_size, i), level - 1,
                             i == first ? lo : &open_end, i == last ? hi : &open_end);
    return rc;
}

int kvi_expired_between(kv_tree *tree, const kvi_place *lo, const kvi_place *hi, uint64_t *n)
{
    count c = count_begin(tree);
    int rc = KV_OK;
    if (kvi_tree_stale(tree) && tree->desc.root.page)
        rc = count_below(&c, tree->desc.root, tree->desc.level, lo, hi);
    *n = c.expired;
    return rc;
}

/* ---- numbers ---- */

/* An entry by its number among those that have not expired, on the way to its number among all. */
typedef struct numbering {
    count count;
    uint64_t skip;   /* entries still to pass before the numbering begins, whatever they are */
    uint64_t left;   /* unexpired entries still to pass then */
    uint64_t number; /* entries passed */
} numbering;

static int number_in(numbering *n, kvi_ptr ptr, unsigned level);

static int number_in_leaf(numbering *n, const uint8_t *page)
{
    uint64_t now = n->count.tree->txn->now;
    unsigned first = (unsigned)KVI_MIN(n->skip, kvi_node_count(page));
    n->skip -= first;
    n->number += first;
    for (unsigned i = first; i < kvi_node_count(page); i++, n->number++)
        if (!kvi_leaf_expired(page, n->count.page_size, i, i + 1, now) && n->left-- == 0)
            return KV_OK;
    return KV_NOTFOUND;
}

/* Passes over the child, or goes into it. *inside: it did. */
static int number_at_child(numbering *n, const uint8_t *page, unsigned level, unsigned i,
                           bool *inside)
{
    count *c = &n->count;
    kvi_ptr child = kvi_branch_child(page, c->page_size, i);
    uint64_t tally = kvi_branch_tally(page, c->page_size, i);
    int rc = KV_OK;
    *inside = false;
    if (n->skip >= tally) {
        n->skip -= tally;
        n->number += tally;
        return KV_OK;
    }
    if (n->skip > 0) { /* the numbering begins in there */
        rc = number_in(n, child, level - 1);
        *inside = rc == KV_OK;
        return rc == KV_NOTFOUND ? KV_OK : rc;
    }
    c->expired = 0;
    if (kvi_expired(kvi_branch_expiry(page, c->page_size, i), c->tree->txn->now))
        rc = count_below(c, child, level - 1, &open_end, &open_end);
    uint64_t shown = tally - KVI_MIN(tally, c->expired);
    *inside = rc == KV_OK && n->left < shown;
    if (*inside)
        return number_in(n, child, level - 1);
    n->left -= shown;
    n->number += tally;
    return rc;
}

static int number_in(numbering *n, kvi_ptr ptr, unsigned level)
{
    const uint8_t *page;
    bool inside = false;
    int rc = count_visit(&n->count, ptr, level, &page);
    if (rc == KV_OK && level == 0)
        return number_in_leaf(n, page);
    for (unsigned i = 0; rc == KV_OK && !inside && i <= kvi_node_count(page); i++)
        rc = number_at_child(n, page, level, i, &inside);
    return rc == KV_OK && !inside ? KV_NOTFOUND : rc;
}

int kvi_expired_nth(kv_tree *tree, kvi_path *path, uint64_t first, uint64_t nth)
{
    numbering n = {count_begin(tree), first, nth, 0};
    if (!kvi_tree_stale(tree) || tree->desc.root.page == 0)
        return kvi_path_nth(tree, path, first + nth);
    int rc = number_in(&n, tree->desc.root, tree->desc.level);
    return rc == KV_OK ? kvi_path_nth(tree, path, n.number) : rc;
}
