/* apply.h - declarative operations (kv_op), done in a transaction. */
#ifndef KVI_APPLY_H
#define KVI_APPLY_H

#include "tree.h"

/* Does the operation make sense by itself? A database and its limits are not looked at. */
bool kvi_apply_valid(const kv_op *op);

/* Does a valid operation. KV_OK: done, or the check holds. KV_EXISTS, KV_NOTFOUND, KV_MISMATCH: a
 * condition does not hold. After anything but KV_OK the operation may be half done. *deleted grows
 * by the entries that it removed. */
int kvi_apply(kv_txn *txn, const kv_op *op, uint64_t *deleted) KVI_MUST_CHECK;

#endif
