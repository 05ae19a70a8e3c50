/* tree_group.h - many lookups at once, so that they wait for memory together. */
#ifndef KVI_TREE_GROUP_H
#define KVI_TREE_GROUP_H

#include "tree.h"

#define KVI_GROUP 16 /* lookups; as many as a processor can wait for, and as fill its near cache */

/* One of them. */
typedef struct kvi_lookup {
    kvi_slice key;    /* in */
    int rc;           /* KV_OK, KV_NOTFOUND or an error of this lookup */
    kvi_stored value; /* KV_OK: the entry's stored form */
} kvi_lookup;

/* As n times kvi_tree_find, n <= KVI_GROUP. */
void kvi_tree_find_group(kv_tree *tree, kvi_lookup *lookups, unsigned n);

/* Asks for the whole leaves of keys that are to be put soon: first of the kernel, if this process
 * has not met them, then of memory. Errors are left to those who use the pages. */
void kvi_tree_warm(kv_tree *tree, const kvi_slice *keys, unsigned n);

#endif
