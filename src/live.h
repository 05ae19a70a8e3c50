/* live.h - which snapshots keep their pages (design.md, R13): those that somebody reads, those that a
 * crash may lead back to, and those with a name.
 *
 * A named snapshot is live while the newest commit or the last durable one lists it. So what only a
 * dropped snapshot needed is free when the drop is durable, and not before: a crash may lead back to
 * a commit that still lists it (R14).
 */
#ifndef KVI_LIVE_H
#define KVI_LIVE_H

#include "txn.h"

/* Ascending, without repetitions; the caller frees *ids. txn: the write transaction that is about to
 * begin. Should the list of named snapshots be damaged, *ids is NULL: nobody knows, so nothing that is
 * dead may become free. What the records call free nobody needed. */
int kvi_live_set(kv_txn *txn, kvi_id **ids, size_t *n) KVI_MUST_CHECK;

/* Is it worth asking? While nobody reads and no commit becomes durable, what is live is the newest
 * commit and the durable one, and few pages have fallen free since it was asked. */
bool kvi_live_due(const kv_db *db);

void kvi_live_close(kv_db *db);

#endif
