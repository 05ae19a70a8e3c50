/* begin.h - the beginning and the end of transactions, in order. What lies between a write
 * transaction's end and its durability is commit.h. */
#ifndef KVI_BEGIN_H
#define KVI_BEGIN_H

#include "turn.h"

/* The live set (PROTOCOL R13), ascending, without repetitions: pins, the published commit, the
 * last durable one. The caller frees *ids. Needs the turn. */
int kvi_live_set(kv_db *db, kvi_id **ids, size_t *n) KVI_MUST_CHECK;

int kvi_begin_read(kv_db *db, kv_txn **txn) KVI_MUST_CHECK;
int kvi_begin_write(kv_db *db, uint32_t wait_ms, int durability, kv_txn **txn) KVI_MUST_CHECK;
int kvi_refresh(kv_txn *txn) KVI_MUST_CHECK;

/* Ends a transaction of either kind; a write transaction leaves no trace but burnt numbers. */
void kvi_end(kv_txn *txn);

#endif
