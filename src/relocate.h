/* relocate.h - moving pages of the trees down, some in each transaction, so that the file can end
 * sooner.
 *
 * A pass goes through all trees in the order of keys. It reads branches only, and leaves where large
 * values may be; the pointers tell which pages lie behind the target. Those are changed like pages
 * under a put: copied with their way to the root, and placed anew by the space, lowest hole first.
 */
#ifndef KVI_RELOCATE_H
#define KVI_RELOCATE_H

#include "txn.h"

typedef struct kvi_relocate {
    kvi_pgno target; /* pages from here on are to move */
    uint64_t budget; /* pages of one transaction */

    /* where the pass has come to */
    unsigned at;   /* the tree: enum in relocate.c */
    uint8_t *name; /* of a named one */
    size_t name_len;
    uint8_t *key; /* first key of the leaf to go on from */
    size_t key_len;
    bool resumed; /* there is such a key */
    bool done;
    uint64_t moved;  /* pages */
    uint64_t values; /* of those, of large values in this transaction */
    uint64_t walked; /* nodes gone down to in this transaction */
} kvi_relocate;

int kvi_relocate_begin(kvi_relocate *pass, const kvi_os *os, uint32_t page_size) KVI_MUST_CHECK;
void kvi_relocate_end(kvi_relocate *pass, const kvi_os *os);

/* Moves what the budget allows. done: all trees were visited. */
int kvi_relocate_step(kvi_relocate *pass, kv_txn *txn) KVI_MUST_CHECK;

#endif
