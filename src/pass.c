/* pass.c - see pass.h. */
#include "pass.h"
#include "catalog.h"
#include "named.h"

#define TREES 64 /* named ones that a transaction opens */

enum { AT_MAIN, AT_NAMED, AT_CATALOG, AT_SNAPSHOTS, AT_END };

int kvi_pass_begin(kvi_pass *pass, const kvi_os *os, uint32_t page_size)
{
    pass->name = os->alloc(os, kvi_key_max(page_size));
    pass->key = os->alloc(os, kvi_key_max(page_size));
    return pass->name && pass->key ? KV_OK : KV_ENOMEM;
}

void kvi_pass_end(kvi_pass *pass, const kvi_os *os)
{
    os->free(os, pass->name);
    os->free(os, pass->key);
}

int kvi_pass_seek(kvi_pass *pass, kv_tree *tree, kvi_path *path)
{
    bool found;
    int rc = pass->resumed
                 ? kvi_tree_seek(tree, (kvi_slice){pass->key, pass->key_len}, path, &found)
                 : kvi_path_edge(tree, path, false);
    return rc == KV_OK && path->depth == 0 ? KV_NOTFOUND : rc;
}

void kvi_pass_stop(kvi_pass *pass, const kv_tree *tree, const uint8_t *page, unsigned i)
{
    pass->resumed = i < kvi_node_count(page);
    pass->key_len =
        pass->resumed ? kvi_node_key(page, tree->txn->db->file.page_size, i, pass->key) : 0;
}

/* The way by search makes sure that the key is greater than the one before. */
int kvi_pass_stop_behind(kvi_pass *pass, const kv_tree *tree, const kvi_path *path)
{
    for (unsigned i = path->depth - 1; i-- > 0;) {
        const kvi_step *step = &path->steps[i];
        if (step->slot < kvi_node_count(step->page)) {
            kvi_pass_stop(pass, tree, step->page, step->slot);
            return KV_OK;
        }
    }
    return KV_NOTFOUND;
}

/* The named tree behind the last one; its own name follows while its pass goes on. */
static int next_name(kvi_pass *pass, kv_txn *txn, bool same)
{
    kvi_path path;
    bool found = false;
    int rc = pass->name_len ? kvi_tree_seek(&txn->catalog, (kvi_slice){pass->name, pass->name_len},
                                            &path, &found)
                            : kvi_path_edge(&txn->catalog, &path, false);
    if (rc == KV_OK && path.depth == 0)
        return KV_NOTFOUND;
    const kvi_step *leaf = rc == KV_OK ? kvi_path_leaf(&path) : NULL;
    if (rc == KV_OK && ((found && !same) || leaf->slot >= kvi_node_count(leaf->page)))
        rc = kvi_path_next(&txn->catalog, &path);
    if (rc != KV_OK)
        return rc;
    leaf = kvi_path_leaf(&path);
    pass->resumed = pass->resumed && found;
    pass->name_len = kvi_node_key(leaf->page, txn->db->file.page_size, leaf->slot, pass->name);
    return KV_OK;
}

static int pass_tree(kvi_pass *pass, kv_tree *tree)
{
    int rc = pass->work(pass, tree);
    if (rc == KV_NOTFOUND)
        pass->resumed = false;
    return rc;
}

static int pass_named(kvi_pass *pass, kv_txn *txn)
{
    bool same = pass->resumed;
    int rc = KV_NOTFOUND;
    for (unsigned opened = 0; rc == KV_NOTFOUND; opened++) {
        kv_tree *tree;
        if (opened == TREES || pass->enough)
            return KV_OK;
        rc = next_name(pass, txn, same);
        if (rc != KV_OK)
            return rc;
        rc = kvi_catalog_open(txn, (kvi_slice){pass->name, pass->name_len}, 0, NULL, &tree);
        if (rc == KV_OK)
            rc = pass_tree(pass, tree);
        same = false;
    }
    return rc;
}

int kvi_pass_step(kvi_pass *pass, kv_txn *txn)
{
    int rc = KV_NOTFOUND;
    pass->enough = false;
    while (rc == KV_NOTFOUND && pass->at != AT_END && !pass->enough) {
        rc = pass->at == AT_MAIN      ? pass_tree(pass, &txn->main)
             : pass->at == AT_NAMED   ? pass_named(pass, txn)
             : pass->at == AT_CATALOG ? pass_tree(pass, &txn->catalog)
                                      : pass_tree(pass, kvi_named_tree(txn));
        if (rc == KV_NOTFOUND) {
            pass->at++;
            pass->resumed = false;
        }
    }
    pass->done = pass->at == AT_END;
    return kvi_txn_spoil(txn, rc == KV_NOTFOUND ? KV_OK : rc);
}
