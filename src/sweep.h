/* sweep.h - removing entries that have expired. */
#ifndef KVI_SWEEP_H
#define KVI_SWEEP_H

#include "catalog.h"

/* How much may be done, and how much was. */
typedef struct kvi_sweep {
    uint64_t max_entries, max_pages; /* UINT64_MAX: as many as there are */
    uint64_t removed;                /* entries */
    uint64_t pages;                  /* nodes visited */
    bool advanced;                   /* the way down to one of them was gone to its end */
} kvi_sweep;

/* Removes expired entries of a tree in the order of their keys, until none is left or the budget is
 * used up. Only nodes are visited below which the least expiry has come. */
int kvi_sweep_tree(kv_tree *tree, kvi_sweep *sweep) KVI_MUST_CHECK;

/* The same in the main tree and the named trees that the transaction has opened; in all trees. */
int kvi_sweep_opened(kv_txn *txn, kvi_sweep *sweep) KVI_MUST_CHECK;
int kvi_sweep_all(kv_txn *txn, kvi_sweep *sweep) KVI_MUST_CHECK;

/* When the next entry of all trees expires; 0: none does. */
int kvi_sweep_next(kv_txn *txn, uint64_t *next) KVI_MUST_CHECK;

#endif
