/* catalog.h - named trees: the tree that maps their names to their descriptors. */
#ifndef KVI_CATALOG_H
#define KVI_CATALOG_H

#include "tree.h"

int kvi_catalog_open(kv_txn *txn, kvi_slice name, uint32_t flags, const kv_tree_options *options,
                     kv_tree **tree) KVI_MUST_CHECK;

/* Calls fn for each named tree, by name, as the catalog has it: a handle's descriptor may be newer. Ends
 * with the first result that is not KV_OK. */
int kvi_catalog_each(kv_txn *txn,
                     int (*fn)(void *context, kvi_slice name, const kvi_tree_desc *desc),
                     void *context) KVI_MUST_CHECK;

/* The same with the names alone, whatever is wrong with what they name. */
int kvi_catalog_names(kv_txn *txn, int (*fn)(void *context, kvi_slice name),
                      void *context) KVI_MUST_CHECK;
int kvi_catalog_rename(kv_tree *tree, kvi_slice name) KVI_MUST_CHECK;
int kvi_catalog_drop(kv_tree *tree) KVI_MUST_CHECK;

/* Reads the descriptors of the transaction's tree handles anew, up to (not including) end; a
 * handle whose tree is not there becomes one of no tree. */
int kvi_catalog_reload(kv_txn *txn, const kv_tree *end) KVI_MUST_CHECK;

/* Writes the descriptors of changed trees into the catalog. */
int kvi_catalog_update(kv_txn *txn) KVI_MUST_CHECK;

/* The descriptor of a named tree. KV_NOTFOUND. */
int kvi_catalog_find(kv_txn *txn, kvi_slice name, kvi_tree_desc *desc) KVI_MUST_CHECK;

/* The same from an entry of the catalog. */
int kvi_catalog_decode(kv_txn *txn, kvi_stored stored, kvi_tree_desc *desc) KVI_MUST_CHECK;

#endif
