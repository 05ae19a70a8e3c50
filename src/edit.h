/* edit.h - changes inside a value: bytes put behind it, bits set and cleared. */
#ifndef KVI_EDIT_H
#define KVI_EDIT_H

#include "ops.h"

/* As kv_append and kv_bits say; len may be NULL. */
int kvi_append(kv_tree *tree, kvi_slice key, kvi_slice bytes, uint64_t limit,
               uint64_t *len) KVI_MUST_CHECK;
int kvi_bits(kv_tree *tree, kvi_slice key, enum kv_bits how, kvi_slice bytes) KVI_MUST_CHECK;

#endif
