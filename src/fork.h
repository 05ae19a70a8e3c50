/* fork.h - handles must not work in a forked child: its locks are the parent's, its pins are the
 * parent's, and both would end with the wrong process.
 *
 * The child's calls return KV_EFORKED: a page that the kernel empties in the child tells, also after
 * a raw clone. A child made by fork() gives up its copies of the lock descriptors at once, so that
 * the parent's locks end with the parent. */
#ifndef KVI_FORK_H
#define KVI_FORK_H

#include "txn.h"

int kvi_fork_watch(kv_db *db) KVI_MUST_CHECK;
void kvi_fork_forget(kv_db *db);

#endif
