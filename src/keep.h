/* keep.h - the named snapshots of a commit, pinned all together while somebody visits their pages.
 *
 * That a reader has pinned the commit which lists them is not enough: its pin keeps that commit's
 * pages, not theirs, and they may be dropped at any time.
 */
#ifndef KVI_KEEP_H
#define KVI_KEEP_H

#include "txn.h"

typedef struct kvi_keep {
    kv_txn **pins;
    size_t n, cap;
} kvi_keep;

/* Pins what the read transaction's commit lists. KV_MISMATCH: some are gone; a newer commit does not list
 * them. */
int kvi_keep_begin(kvi_keep *keep, kv_txn *txn) KVI_MUST_CHECK;

/* Begins a read transaction and pins what its commit lists. */
int kvi_keep_newest(kvi_keep *keep, kv_db *db, kv_txn **txn) KVI_MUST_CHECK;

void kvi_keep_end(kvi_keep *keep, kv_db *db);

#endif
