/* opened.c - see opened.h. */
#include "opened.h"
#include "tree.h"

#define FEW 16

static kv_tree **bucket_of(const kv_txn *txn, kvi_slice name)
{
    uint64_t hash = kvi_hash_bytes(&txn->db->file.hash, name.ptr, name.len);
    return &txn->buckets[hash & (txn->n_buckets - 1)];
}

static void bucket_add(kv_txn *txn, kv_tree *tree)
{
    kv_tree **bucket = bucket_of(txn, tree->opened);
    tree->beside = *bucket;
    *bucket = tree;
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
    memset(buckets, 0, n * sizeof *buckets);
    for (kv_tree *tree = txn->trees; tree; tree = tree->next)
        bucket_add(txn, tree);
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
    txn->renamed = false;
}

static bool name_is(const kv_tree *tree, kvi_slice name)
{
    return !tree->gone && tree->name_len == name.len && memcmp(tree->name, name.ptr, name.len) == 0;
}

kv_tree *kvi_opened_find(const kv_txn *txn, kvi_slice name)
{
    bool hashed = txn->n_buckets && !txn->renamed;
    kv_tree *tree = hashed ? *bucket_of(txn, name) : txn->trees;
    while (tree && !name_is(tree, name))
        tree = hashed ? tree->beside : tree->next;
    return tree;
}

bool kvi_opened_before(const kv_tree *tree)
{
    const kv_txn *txn = tree->txn;
    const kv_tree *other = txn->n_buckets ? *bucket_of(txn, tree->opened) : tree->next;
    for (; other; other = txn->n_buckets ? other->beside : other->next)
        if (other->number < tree->number && kvi_tree_multi(other) == kvi_tree_multi(tree) &&
            kvi_slice_compare(other->opened, tree->opened) == 0)
            return true;
    return false;
}
