/* opened.h - the handles of named trees that a transaction has, found by name.
 *
 * A few are looked through; of many there is a hash table by the names that they were opened with.
 * Where a tree was renamed these are no longer their names, and all are looked through. */
#ifndef KVI_OPENED_H
#define KVI_OPENED_H

#include "txn.h"

/* Room for one more handle, before it is made. */
int kvi_opened_reserve(kv_txn *txn) KVI_MUST_CHECK;
void kvi_opened_add(kv_txn *txn, kv_tree *tree);
void kvi_opened_free(kv_txn *txn);

/* The handle of the tree of that name; NULL: there is none. */
kv_tree *kvi_opened_find(const kv_txn *txn, kvi_slice name);

/* Was a tree of that name and kind opened before this handle was? */
bool kvi_opened_before(const kv_tree *tree);

#endif
