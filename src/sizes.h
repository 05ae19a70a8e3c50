/* sizes.h - what entries take on the disk, told from their leaves: no large value is read. */
#ifndef KVI_SIZES_H
#define KVI_SIZES_H

#include "cursor.h"

/* Adds the entry under the cursor. KV_NOTFOUND: it is not on one. */
int kvi_sizes_here(kv_cursor *cursor, kv_sizes *sizes) KVI_MUST_CHECK;

int kvi_sizes_range(kv_tree *tree, const kv_range *range, kv_sizes *sizes) KVI_MUST_CHECK;

#endif
