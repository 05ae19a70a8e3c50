/* commit.h - making a transaction durable and visible. With recover.c the only place that writes a
 * meta or flushes. */
#ifndef KVI_COMMIT_H
#define KVI_COMMIT_H

#include "begin.h"

/* Ends the write transaction with its changes kept, all or none. */
int kvi_commit(kv_txn *txn) KVI_MUST_CHECK;

/* Makes all commits durable (PROTOCOL R7a). Needs the turn. */
int kvi_sync(kv_db *db) KVI_MUST_CHECK;

/* Commits the newest commit again under an id of its own, over a rejected one that a later open
 * might believe. Before anything is published. */
int kvi_commit_over(kv_db *db) KVI_MUST_CHECK;

/* At a clean close by the sole owner: a second copy of the newest durable commit, so that the next
 * open need not prove it (PROTOCOL R5). Not flushed. Needs the turn. */
void kvi_confirm(kv_db *db);

/* Hands the free tail of the file back when no snapshot can need it (R16). Needs the turn. */
void kvi_trim(kv_db *db);

/* Publishes head as the newest commit. Needs the turn. */
void kvi_publish(kv_db *db);

/* The meta written to its slot. */
int kvi_meta_write(kvi_file *file, const kvi_meta *meta, unsigned slot) KVI_MUST_CHECK;

/* A flush, counted. A failure poisons the handle: no flush is ever repeated. */
int kvi_flush(kv_db *db) KVI_MUST_CHECK;

#endif
