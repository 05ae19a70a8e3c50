/* named.h - the tree of named snapshots: what a commit looked like, kept under a name.
 *
 * A snapshot is the descriptors of a commit's main tree and catalog. Its pages are those of that
 * commit; they live as long as some commit that counts lists the snapshot (live.h).
 */
#ifndef KVI_NAMED_H
#define KVI_NAMED_H

#include "tree.h"

/* The tree as the transaction sees it. */
kv_tree *kvi_named_tree(kv_txn *txn);

/* KV_NOTFOUND; KV_ECORRUPT: what stands there is no snapshot. */
int kvi_named_find(kv_txn *txn, kvi_slice name, kvi_named *named) KVI_MUST_CHECK;

/* A name that is not there. KV_ETOOBIG. */
int kvi_named_insert(kv_txn *txn, kvi_slice name, const kvi_named *named) KVI_MUST_CHECK;

/* A name that is there. */
int kvi_named_remove(kv_txn *txn, kvi_slice name) KVI_MUST_CHECK;

/* Calls fn for each, by name; not KV_OK stops, and is the result. */
int kvi_named_each(kv_tree *tree, int (*fn)(void *context, kvi_slice name, const kvi_named *named),
                   void *context) KVI_MUST_CHECK;

#endif
