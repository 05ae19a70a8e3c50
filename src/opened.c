/* opened.c - see opened.h. */
#include "opened.h"
#include "tree.h"

#define FEW 16

static kv_tree **bucket_of(const kv_txn *txn, kvi_slice name)
{
    uint64_t hash = kvi_hash_bytes(&txn->db->file.hash, name.ptr, name.len);
    return &txn->buckets[hash & (txn->n_buckets - 1)];
}

static kvi_slice name_of(const kv_tree *tree)
{
    return kvi_slice_of(tree->name, tree->name_len);
}

static void bucket_add(kv_txn *txn, kv_tree *tree)
{
    kv_tree **bucket = bucket_of(txn, name_of(tree));
    tree->beside = *bucket;
    *bucket = tree;
}

/* Was it opened behind end? NULL: all were. */
static bool is_younger(const kv_tree *tree, const kv_tree *end)
{
    return !end || tree->number > end->number;
}

/* Those that are gone are left out, but for the younger ones. */
static void buckets_fill(kv_txn *txn, bool younger, const kv_tree *end)
{
    memset(txn->buckets, 0, txn->n_buckets * sizeof *txn->buckets);
    for (kv_tree *tree = txn->trees; tree; tree = tree->next)
        if (!tree->gone || (younger && is_younger(tree, end)))
            bucket_add(txn, tree);
}

int kvi_opened_reserve(kv_txn *txn)
{
    const kvi_os *os = txn->db->os;
    if (txn->n_trees < FEW || txn->n_trees < txn->n_buckets)
        return KV_OK;
    size_t n = txn->n_buckets ? 2 * txn->n_buckets : (size_t)4 * FEW;
    kv_tree **buckets = os->realloc(os, txn->buckets, n * sizeof *buckets);
    if (!buckets)
        return KV_ENOMEM;
    txn->buckets = buckets;
    txn->n_buckets = n;
    buckets_fill(txn, false, NULL);
    return KV_OK;
}

void kvi_opened_add(kv_txn *txn, kv_tree *tree)
{
    tree->number = txn->n_trees++;
    tree->next = txn->trees;
    txn->trees = tree;
    if (txn->n_buckets)
        bucket_add(txn, tree);
}

void kvi_opened_free(kv_txn *txn)
{
    const kvi_os *os = txn->db->os;
    while (txn->trees) {
        kv_tree *next = txn->trees->next;
        os->free(os, txn->trees);
        txn->trees = next;
    }
    os->free(os, txn->buckets);
    txn->buckets = NULL;
    txn->n_buckets = txn->n_trees = 0;
}

static void bucket_leave(kv_tree *tree)
{
    kv_tree **at = bucket_of(tree->txn, name_of(tree));
    while (*at != tree) /* it is there */
        at = &(*at)->beside;
    *at = tree->beside;
}

void kvi_opened_rename(kv_tree *tree, kvi_slice name)
{
    kv_txn *txn = tree->txn;
    if (txn->n_buckets)
        bucket_leave(tree);
    tree->name = name.ptr;
    tree->name_len = name.len;
    if (txn->n_buckets)
        bucket_add(txn, tree);
}

void kvi_opened_gone(kv_tree *tree)
{
    tree->gone = true;
    if (tree->txn->n_buckets)
        bucket_leave(tree);
}

void kvi_opened_again(kv_txn *txn, const kv_tree *end)
{
    for (kv_tree *tree = txn->trees; tree != end; tree = tree->next) {
        tree->name = tree->opened.ptr;
        tree->name_len = tree->opened.len;
    }
    if (txn->n_buckets)
        buckets_fill(txn, true, end);
}

kv_tree *kvi_opened_find(const kv_txn *txn, kvi_slice name)
{
    kv_tree *tree = txn->n_buckets ? *bucket_of(txn, name) : txn->trees;
    while (tree && (tree->gone || kvi_slice_compare(name_of(tree), name) != 0))
        tree = txn->n_buckets ? tree->beside : tree->next;
    return tree;
}

bool kvi_opened_before(const kv_tree *tree, const kv_tree *end)
{
    const kv_txn *txn = tree->txn;
    const kv_tree *other = txn->n_buckets ? *bucket_of(txn, tree->opened) : tree->next;
    for (; other; other = txn->n_buckets ? other->beside : other->next)
        if (other->number < tree->number && (!other->gone || is_younger(other, end)) &&
            kvi_tree_multi(other) == kvi_tree_multi(tree) &&
            kvi_slice_compare(name_of(other), tree->opened) == 0)
            return true;
    return false;
}
