/* gather.h - putting the entries of sparse leaves together, some in each transaction.
 *
 * Deletes leave leaves half empty: those that are nearly empty merge with a neighbour, others wait for
 * new entries. A pass fills leaves from those behind them below the same parent, where that makes an
 * eighth of them needless. Leaves that a named snapshot has too stay: it would keep them besides. It reads branches, and few leaves where there is nothing to gain.
 */
#ifndef KVI_GATHER_H
#define KVI_GATHER_H

#include "pass.h"

typedef struct kvi_gather {
    kvi_pass pass;  /* first */
    kvi_id shared;  /* the newest named snapshot; 0: there is none */
    uint64_t moved; /* pages that were written anew */
    uint64_t saved; /* leaves that are no longer needed */
    uint64_t read;  /* leaves, in this transaction */
} kvi_gather;

/* Ended by kvi_pass_end. */
int kvi_gather_begin(kvi_gather *gather, const kvi_os *os, uint32_t page_size) KVI_MUST_CHECK;

/* Gathers what the budget allows. */
int kvi_gather_step(kvi_gather *gather, kv_txn *txn) KVI_MUST_CHECK;

#endif
