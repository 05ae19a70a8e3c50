/* many.h - many keys in one call. */
#ifndef KVI_MANY_H
#define KVI_MANY_H

#include "tree.h"

/* As kv_get_many and kv_put_many say. */
int kvi_get_many(kv_tree *tree, size_t n, const kv_slice *keys, kv_slice *values,
                 int *results) KVI_MUST_CHECK;
int kvi_put_many(kv_tree *tree, size_t n, const kv_pair *pairs, uint32_t flags) KVI_MUST_CHECK;

#endif
