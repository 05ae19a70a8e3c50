/* fork.h - handles must not work in a forked child: its locks are the parent's, its pins are the
 * parent's, and both would end with the wrong process.
 *
 * The child's calls return KV_EFORKED: a page that the kernel empties in the child tells, also after
 * a raw clone. A child made by fork() gives up its copies of the lock descriptors at once, so that
 * the parent's locks end with the parent. */
#ifndef KVI_FORK_H
#define KVI_FORK_H

#include "txn.h"

#define KVI_ALIVE_SIZE 65536 /* a page, whatever its size */

/* The first KVI_ALIVE_SIZE bytes of db->memory tell; they stay until that is given back. */
void kvi_fork_watch(kv_db *db);
void kvi_fork_forget(kv_db *db);

#endif
