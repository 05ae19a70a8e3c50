/* sweep.c - see sweep.h. */
#include "sweep.h"
#include "mutant.h"
#include "opened.h"
#include "seal.h"

typedef struct sweeper {
    kv_tree *tree;
    kvi_sweep *sweep;
    uint64_t bytes; /* of private pages at which to pause, for them to be written early */
    bool paused;
    kvi_path path;
} sweeper;

static uint32_t page_size_of(const sweeper *s)
{
    return s->tree->txn->db->file.page_size;
}

/* Not on the way down to the first leaf: the next sweep would come no further. */
static bool used_up(const kvi_sweep *sweep)
{
    return sweep->removed >= sweep->max_entries ||
           (sweep->advanced && sweep->pages >= sweep->max_pages);
}

static bool resting(const sweeper *s)
{
    return s->paused || used_up(s->sweep);
}

/* Brings the node of a step in, changeable. */
static int step_own(sweeper *s, kvi_step *step, unsigned level)
{
    kv_txn *txn = s->tree->txn;
    int rc = kvi_txn_node(txn, step->ptr, level, &step->page);
    if (rc == KV_OK)
        rc = kvi_dirty_reserve(&txn->db->dirty, 1);
    s->sweep->pages++;
    return rc == KV_OK ? kvi_txn_touch(txn, &step->ptr, level, &step->page) : rc;
}

static int sweep_leaf(sweeper *s, const kvi_step *leaf)
{
    uint8_t *page = kvi_step_bytes(s->tree, leaf);
    for (unsigned i = kvi_node_count(page); i-- > 0 && s->sweep->removed < s->sweep->max_entries;) {
        kvi_stored stored;
        stored.bytes = kvi_leaf_value(page, page_size_of(s), i, &stored.special);
        if (!kvi_stored_expired(stored, s->tree->txn->now + (KVI_MUTANT(SWEPT_EARLY) ? 1000 : 0)))
            continue;
        int rc = kvi_value_drop(s->tree, stored);
        if (rc != KV_OK)
            return rc;
        kvi_leaf_remove(page, page_size_of(s), i);
        s->sweep->removed++;
        s->tree->desc.entries--;
    }
    return KV_OK;
}

static int sweep_branch(sweeper *s, unsigned i, bool *childless);

/* Sweeps the child that step i's slot names. *childless: it was the last one, and is gone. */
static int sweep_child(sweeper *s, unsigned i, bool *childless)
{
    kvi_step *step = &s->path.steps[i], *child = step + 1;
    unsigned level = s->tree->desc.level - i - 1;
    uint64_t before = s->sweep->removed;
    uint8_t *page = kvi_step_bytes(s->tree, step);
    child->ptr = kvi_branch_child(page, page_size_of(s), step->slot);
    int rc = step_own(s, child, level);
    if (rc != KV_OK)
        return rc;
    kvi_branch_set_child(page, page_size_of(s), step->slot, child->ptr);
    rc = level == 0 ? sweep_leaf(s, child) : sweep_branch(s, i + 1, childless);
    if (rc != KV_OK)
        return rc;
    s->sweep->advanced = true;
    kvi_branch_add_tally(page, page_size_of(s), step->slot, -(int64_t)(s->sweep->removed - before));
    kvi_branch_set_expiry(page, page_size_of(s), step->slot,
                          kvi_node_least_expiry(child->page, page_size_of(s)));
    s->paused = s->tree->txn->db->dirty.bytes > s->bytes;
    return kvi_tree_settle(s->tree, child, level, childless, &s->sweep->pages);
}

static int sweep_branch(sweeper *s, unsigned i, bool *childless)
{
    kvi_step *step = &s->path.steps[i];
    int rc = KV_OK;
    step->slot = 0;
    while (rc == KV_OK && !*childless && !resting(s) && step->slot <= kvi_node_count(step->page)) {
        uint64_t least = kvi_branch_expiry(step->page, page_size_of(s), step->slot);
        if (kvi_expired(least, s->tree->txn->now))
            rc = sweep_child(s, i, childless); /* then its slot may have another child */
        else
            step->slot++;
    }
    return rc;
}

/* Goes on until something makes it rest. */
static int sweep_root(sweeper *s)
{
    kv_tree *tree = s->tree;
    kvi_step *root = &s->path.steps[0];
    bool childless = false;
    root->ptr = tree->desc.root;
    int rc = step_own(s, root, tree->desc.level);
    if (rc != KV_OK)
        return rc;
    tree->desc.root = root->ptr;
    rc = tree->desc.level == 0 ? sweep_leaf(s, root) : sweep_branch(s, 0, &childless);
    tree->desc.min_expiry = kvi_node_least_expiry(root->page, page_size_of(s));
    return rc == KV_OK ? kvi_tree_settle_root(tree, root, childless) : rc;
}

int kvi_sweep_tree(kv_tree *tree, kvi_sweep *sweep)
{
    kv_txn *txn = tree->txn;
    int rc = KV_OK;
    while (rc == KV_OK && kvi_tree_stale(tree) && tree->desc.root.page && !used_up(sweep)) {
        sweeper s = {tree, sweep, txn->db->dirty.bytes + txn->db->memory_budget / 2, false, {0}};
        txn->changes++;
        tree->changed = true;
        rc = sweep_root(&s);
        if (rc == KV_OK)
            rc = kvi_seal_early(txn);
    }
    return kvi_txn_spoil(txn, rc);
}

/* ---- many trees ---- */

int kvi_sweep_opened(kv_txn *txn, kvi_sweep *sweep)
{
    int rc = kvi_sweep_tree(&txn->main, sweep);
    for (kv_tree *tree = txn->trees; tree && rc == KV_OK; tree = tree->next)
        rc = tree->gone ? KV_OK : kvi_sweep_tree(tree, sweep);
    return rc;
}

/* What is asked of each tree of the catalog. */
typedef struct names {
    kv_txn *txn;
    bool open;     /* those that may have expired entries */
    uint64_t next; /* the least expiry */
} names;

static int name_visit(void *context, kvi_slice name, const kvi_tree_desc *desc)
{
    names *n = context;
    kv_tree *tree = kvi_opened_find(n->txn, name);
    uint64_t least = tree ? tree->desc.min_expiry : desc->min_expiry;
    n->next = kvi_expiry_min(n->next, least);
    if (tree || !n->open || !kvi_expired(least, n->txn->now))
        return KV_OK;
    return kvi_catalog_open(n->txn, name, 0, NULL, &tree);
}

int kvi_sweep_all(kv_txn *txn, kvi_sweep *sweep)
{
    names n = {.txn = txn, .open = true};
    int rc = kvi_catalog_each(txn, name_visit, &n);
    return rc == KV_OK ? kvi_sweep_opened(txn, sweep) : rc;
}

int kvi_sweep_next(kv_txn *txn, uint64_t *next)
{
    names n = {.txn = txn, .next = txn->main.desc.min_expiry};
    int rc = kvi_catalog_each(txn, name_visit, &n);
    *next = n.next;
    return rc;
}
