/* diff.h - what was changed from one snapshot to another.
 *
 * Two tours, one through each tree, go on together. They keep this invariant: every key before the
 * place of either tour was reported, or is the same in both trees. When both stand before the same
 * subtree (equal pointers), both pass it. Else the higher of the two subtrees is opened, of two on
 * one level the one that begins first, or both; an entry waits until the other side is past its key.
 * So each side is opened only where it leads to a page that the other side does not have, and along
 * the way to the next page that both have: a path per place of change. */
#ifndef KVI_DIFF_H
#define KVI_DIFF_H

#include "catalog.h"

/* As kv_diff says. info is complete and zero. */
int kvi_diff(kv_txn *from, kv_txn *to, const kv_diff_options *options,
             kv_diff_info *info) KVI_MUST_CHECK;

#endif
