/* seal.h - turning private pages into pages of the file: numbers, checksums, writing.
 *
 * A batch gathers the private pages of some trees, takes page numbers for them, completes them
 * bottom-up (a parent names its children, so children come first) and writes them in ascending
 * order. A commit is one batch; a transaction over its memory budget writes one early.
 */
#ifndef KVI_SEAL_H
#define KVI_SEAL_H

#include "tree.h"

typedef struct kvi_batch {
    kv_txn *txn;
    kvi_pgno *numbers[2]; /* by enum kvi_space_kind */
    size_t n[2];          /* of pages counted */
    size_t used[2];
    kvi_page_write *writes;
    kvi_handle *handles; /* of the writes, in the same order before sorting; 0: a space page */
    size_t n_writes, cap_writes;
    kvi_sums sums; /* of the sealed pages */
} kvi_batch;

void kvi_batch_init(kvi_batch *batch, kv_txn *txn);
void kvi_batch_close(kvi_batch *batch);

/* Counts the private nodes of a tree and writes its private large values. */
int kvi_batch_count(kvi_batch *batch, kv_tree *tree) KVI_MUST_CHECK;

/* Takes numbers for all nodes counted. */
int kvi_batch_take(kvi_batch *batch) KVI_MUST_CHECK;

/* Completes the nodes of a tree that was counted; tree->desc.root then names a page of the file. */
int kvi_batch_seal(kvi_batch *batch, kv_tree *tree) KVI_MUST_CHECK;

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
