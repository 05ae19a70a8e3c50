/* copy.h - a consistent copy of the newest commit, while readers and the writer work.
 *
 * A page-by-page copy holds the pages of the trees at their places, under the commit's own id and
 * the source's hash seed, since that sealed them; its file id and its records of free pages are
 * its own. It is made in two passes over a pinned snapshot, which nobody overwrites: the first
 * walks and verifies everything and marks what is used, named snapshots included, the second writes the file from front to
 * back, so that a pipe will do. Both metas hold the same commit, so no opener has to prove it.
 *
 * A copy to a path is built under a temporary name beside it and linked when it is durable.
 */
#ifndef KVI_COPY_H
#define KVI_COPY_H

#include "txn.h"

/* kv_txn_copy: without named snapshots, which the transaction does not pin. */
int kvi_copy_txn(kv_txn *txn, const char *path, uint32_t flags) KVI_MUST_CHECK;
int kvi_copy_txn_fd(kv_txn *txn, int fd, uint32_t flags) KVI_MUST_CHECK;

/* kv_db_copy */
int kvi_copy(kv_db *db, const char *path, uint32_t flags) KVI_MUST_CHECK;

/* kv_db_copy_fd */
int kvi_copy_fd(kv_db *db, int fd, uint32_t flags) KVI_MUST_CHECK;

#endif
