/* ops.h - the operations on single keys. */
#ifndef KVI_OPS_H
#define KVI_OPS_H

#include "tree.h"

/* May this tree handle be used; for changing, if change? By calls that know multi-value trees, and by
 * the others, which must not. */
int kvi_tree_alive(const kv_tree *tree, bool change) KVI_MUST_CHECK;
int kvi_tree_usable(const kv_tree *tree, bool change) KVI_MUST_CHECK;

int kvi_get(kv_tree *tree, kvi_slice key, kv_slice *value) KVI_MUST_CHECK; /* value may be NULL */

/* Would kvi_put refuse these lengths? */
int kvi_put_check(kv_tree *tree, kvi_slice key, uint64_t value_len) KVI_MUST_CHECK;

/* value.ptr NULL with a length: reserve, and *place says where the bytes go. place may be NULL
 * otherwise. flags: KV_PUT_*. */
int kvi_put(kv_tree *tree, kvi_slice key, kvi_slice value, uint32_t flags,
            void **place) KVI_MUST_CHECK;

int kvi_del(kv_tree *tree, kvi_slice key) KVI_MUST_CHECK;

/* Finds the entry, lets decide (see kv_update) look at it, and stores, removes or leaves it: one
 * descent. *old (old may be NULL): what was there, good until the next change; ptr NULL: nothing. */
typedef int kvi_decide(void *context, const kv_slice *old, kv_slice *value);
int kvi_update(kv_tree *tree, kvi_slice key, kvi_decide *decide, void *context,
               kv_slice *old) KVI_MUST_CHECK;

/* The entry under a path: its value; its removal, after kvi_tree_usable. */
int kvi_load_at(kv_tree *tree, kvi_path *path, kv_slice *value) KVI_MUST_CHECK;
int kvi_remove_at(kv_tree *tree, kvi_path *path) KVI_MUST_CHECK;

#endif
