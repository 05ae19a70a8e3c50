/* seal.h - turning private pages into pages of the file: numbers, checksums, writing.
 *
 * A batch gathers the private pages of some trees, children before their parents, which name them.
 * In this order it gives them page numbers and completes them; then it writes them, in that of the
 * numbers. A commit is one batch; a transaction over its memory budget writes one early.
 */
#ifndef KVI_SEAL_H
#define KVI_SEAL_H

#include "tree.h"

typedef struct kvi_batch {
    kv_txn *txn;
    kvi_batch_room room;
    size_t n_nodes;  /* private nodes found, children before their parents */
    size_t n_sealed; /* of them */
    size_t n[2];     /* numbers that those not yet sealed need, by enum kvi_space_kind */
    size_t n_writes;
    kvi_sums sums;    /* of the sealed pages */
    bool passing;     /* its pages may be written again soon: the disk need not begin with them */
    bool leaves_open; /* the leaf of each tree's newest insert stays private, and the way to it */
} kvi_batch;

void kvi_batch_init(kvi_batch *batch, kv_txn *txn);
void kvi_batch_close(kvi_batch *batch);

/* Finds the private nodes of a tree and writes its private large values. */
int kvi_batch_gather(kvi_batch *batch, kv_tree *tree) KVI_MUST_CHECK;

/* Takes numbers for what was gathered and completes it; the trees' roots then name pages of the
 * file. */
int kvi_batch_seal(kvi_batch *batch) KVI_MUST_CHECK;

/* Adds a finished page (of the space records); the bytes are copied. */
int kvi_batch_add(kvi_batch *batch, kvi_pgno page, const uint8_t *bytes) KVI_MUST_CHECK;

/* Writes all pages of the batch. */
int kvi_batch_write(kvi_batch *batch) KVI_MUST_CHECK;

/* What was just written need not be verified when it is met. */
void kvi_batch_trust(const kvi_batch *batch, const kvi_view *view);

/* Writes out the transaction's private pages when they exceed the memory budget. Handles of
 * private pages in paths become invalid: txn->changes is raised. */
int kvi_seal_early(kv_txn *txn) KVI_MUST_CHECK;

#endif
