/* pass.h - through all trees of the file, some of it in each write transaction. */
#ifndef KVI_PASS_H
#define KVI_PASS_H

#include "tree.h"

typedef struct kvi_pass kvi_pass;

/* Goes on in a tree where kvi_pass_seek says. KV_NOTFOUND: the tree is done; with pass->enough, the next
 * one is for another transaction. KV_OK: this transaction has done enough, and kvi_pass_stop was told
 * where. */
typedef int kvi_pass_work(kvi_pass *pass, kv_tree *tree);

struct kvi_pass {
    kvi_pass_work *work;
    uint64_t budget; /* pages of one transaction */

    /* where the pass has come to */
    unsigned at;   /* the tree: enum in pass.c */
    uint8_t *name; /* of a named one */
    size_t name_len;
    uint8_t *key; /* to go on from */
    size_t key_len;
    bool resumed; /* there is such a key */
    bool enough;  /* the transaction has done its part, and a tree as well */
    bool done;
};

int kvi_pass_begin(kvi_pass *pass, const kvi_os *os, uint32_t page_size) KVI_MUST_CHECK;
void kvi_pass_end(kvi_pass *pass, const kvi_os *os);

/* Does what the budget allows. done: all trees were visited. */
int kvi_pass_step(kvi_pass *pass, kv_txn *txn) KVI_MUST_CHECK;

/* ---- for the work ---- */

/* To the key that the tree was left at, or its first. KV_NOTFOUND: it is empty. */
int kvi_pass_seek(kvi_pass *pass, kv_tree *tree, kvi_path *path) KVI_MUST_CHECK;

/* The transaction has done enough: the next one goes on from key i of a node. */
void kvi_pass_stop(kvi_pass *pass, const kv_tree *tree, const uint8_t *page, unsigned i);

/* The next one goes on behind the path's leaf, of which all is done. KV_NOTFOUND: there is nothing. */
int kvi_pass_stop_behind(kvi_pass *pass, const kv_tree *tree, const kvi_path *path) KVI_MUST_CHECK;

/* Has the transaction as many changed pages as the budget allows, these more included? */
static inline bool kvi_pass_full(const kvi_pass *pass, const kv_txn *txn, uint64_t more)
{
    return (txn->db->dirty.bytes >> txn->db->file.page_shift) + more >= pass->budget;
}

#endif
