/* pop.h - taking the entry at one end of a range. */
#ifndef KVI_POP_H
#define KVI_POP_H

#include "range.h"

/* Removes the lowest or the highest entry of the range. KV_NOTFOUND: it has none. *entry is good until
 * the next change (kvi_txn_keep). */
int kvi_pop(kv_tree *tree, const kvi_range *range, bool highest, kv_pair *entry) KVI_MUST_CHECK;

#endif
