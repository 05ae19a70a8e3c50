/* begin.h - the beginning and the end of transactions, in order. What lies between a write
 * transaction's end and its durability is commit.h. */
#ifndef KVI_BEGIN_H
#define KVI_BEGIN_H

#include "turn.h"

int kvi_begin_read(kv_db *db, kv_txn **txn) KVI_MUST_CHECK;
int kvi_begin_write(kv_db *db, uint32_t wait_ms, int durability, kv_txn **txn) KVI_MUST_CHECK;
int kvi_refresh(kv_txn *txn) KVI_MUST_CHECK;

/* Two steps of opening a named snapshot. A read transaction pins another commit, which may be gone
 * already; and when that is known to be still there, shows it. */
int kvi_reader_repin(kv_txn *txn, kvi_id id) KVI_MUST_CHECK;
int kvi_reader_show(kv_txn *txn, kvi_snapshot base) KVI_MUST_CHECK;

/* Ends a transaction of either kind; a write transaction leaves no trace but burnt numbers. */
void kvi_end(kv_txn *txn);

#endif
