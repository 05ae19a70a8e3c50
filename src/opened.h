/* opened.h - the handles of named trees that a transaction has, found by name.
 *
 * A few are looked through; of many there is a hash table by their names, without those that are gone. */
#ifndef KVI_OPENED_H
#define KVI_OPENED_H

#include "txn.h"

/* Room for one more handle, before it is made. */
int kvi_opened_reserve(kv_txn *txn) KVI_MUST_CHECK;
void kvi_opened_add(kv_txn *txn, kv_tree *tree);
void kvi_opened_free(kv_txn *txn);

/* The handle of the tree of that name; NULL: there is none. */
kv_tree *kvi_opened_find(const kv_txn *txn, kvi_slice name);

/* It has another name now, which lasts as long as the transaction; or is gone. */
void kvi_opened_rename(kv_tree *tree, kvi_slice name);
void kvi_opened_gone(kv_tree *tree);

/* Behind a rollback or refresh: the handles before end in txn->trees have the names that they were
 * opened with, and may all be there again; the others are as they were at the savepoint. */
void kvi_opened_again(kv_txn *txn, const kv_tree *end);

/* Then: was a tree of that name and kind opened before this handle was? */
bool kvi_opened_before(const kv_tree *tree, const kv_tree *end);

#endif
