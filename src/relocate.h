/* relocate.h - moving pages of the trees down, some in each transaction, so that the file can end
 * sooner.
 *
 * A pass goes through all trees in the order of keys. It reads branches only, and leaves where large
 * values may be; the pointers tell which pages lie behind the target. Those are changed like pages
 * under a put: copied with their way to the root, and placed anew by the space, lowest hole first.
 */
#ifndef KVI_RELOCATE_H
#define KVI_RELOCATE_H

#include "pass.h"

typedef struct kvi_relocate {
    kvi_pass pass;   /* first */
    kvi_pgno target; /* pages from here on are to move */
    uint64_t moved;  /* pages */
    uint64_t values; /* of those, of large values in this transaction */
    uint64_t walked; /* nodes gone down to in this transaction */
} kvi_relocate;

/* Ended by kvi_pass_end. */
int kvi_relocate_begin(kvi_relocate *move, const kvi_os *os, uint32_t page_size) KVI_MUST_CHECK;

/* Moves what the budget allows. */
int kvi_relocate_step(kvi_relocate *move, kv_txn *txn) KVI_MUST_CHECK;

#endif
