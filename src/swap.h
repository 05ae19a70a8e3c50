/* swap.h - replacing a value on a condition, with the one that was there as answer. */
#ifndef KVI_SWAP_H
#define KVI_SWAP_H

#include "ops.h"

/* As kv_put_with, kv_cas, kv_swap, kv_take say; old may be NULL. */
int kvi_put_with(kv_tree *tree, kvi_slice key, kvi_slice value,
                 const kv_put_options *options) KVI_MUST_CHECK;
int kvi_cas(kv_tree *tree, kvi_slice key, const kv_slice *expected, const kv_slice *desired,
            kv_slice *old) KVI_MUST_CHECK;
int kvi_swap(kv_tree *tree, kvi_slice key, const kv_slice *desired, kv_slice *old) KVI_MUST_CHECK;
int kvi_take(kv_tree *tree, kvi_slice key, kv_slice *old) KVI_MUST_CHECK;

#endif
