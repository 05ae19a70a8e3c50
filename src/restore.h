/* restore.h - making the present what a named snapshot was, at the cost of what differs.
 *
 * What the present has with a birth up to the snapshot's commit, the snapshot has too: it stays. What
 * is younger is dropped. What the snapshot has besides died meanwhile, and stays dead: it is written
 * anew, under the restoring commit's id. Bringing the dead pages themselves back would cost no
 * writing, but then an old birth would no longer mean that a page has been there ever since, which
 * incremental backups, recovery and the next restore rely on.
 */
#ifndef KVI_RESTORE_H
#define KVI_RESTORE_H

#include "txn.h"

/* In a fresh write transaction. After an error it can only be aborted. */
int kvi_restore(kv_txn *txn, const kvi_named *named) KVI_MUST_CHECK;

#endif
