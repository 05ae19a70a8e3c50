/* commit.h - making a transaction durable and visible. With recover.c the only place that has a
 * meta written or a flush done. */
#ifndef KVI_COMMIT_H
#define KVI_COMMIT_H

#include "begin.h"

/* Would a commit write nothing, and make no new snapshot? */
bool kvi_nothing_changed(const kv_txn *txn);

/* Ends the write transaction with its changes kept, all or none. */
int kvi_commit(kv_txn *txn) KVI_MUST_CHECK;

/* Sets the file's clock back to the system's, by a commit of its own, if it is ahead. */
int kvi_clock_reset(kv_db *db, uint32_t wait_ms) KVI_MUST_CHECK;

/* Makes all commits durable (design.md, R7). Needs the turn. */
int kvi_sync(kv_db *db) KVI_MUST_CHECK;

/* At a clean close by the sole owner: a second copy of the newest durable commit, so that the next
 * open need not prove it (design.md, R5). Not flushed. Needs the turn. */
void kvi_confirm(kv_db *db);

#endif
