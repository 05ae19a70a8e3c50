/* multi.h - multi-value trees: several values under one key, sorted; see pairs.h for their entries. */
#ifndef KVI_MULTI_H
#define KVI_MULTI_H

#include "cursor.h"

/* May this tree be used, as one of several values for each key? */
int kvi_multi_usable(const kv_tree *tree, bool change) KVI_MUST_CHECK;

/* KV_EXISTS: the pair is there. KV_ETOOBIG: it is longer than a key may be. */
int kvi_multi_put(kv_tree *tree, kvi_slice key, kvi_slice value) KVI_MUST_CHECK;

/* Removes a pair. KV_NOTFOUND. */
int kvi_multi_del(kv_tree *tree, kvi_slice key, kvi_slice value) KVI_MUST_CHECK;

/* Removes all values of a key. */
int kvi_multi_del_key(kv_tree *tree, kvi_slice key, uint64_t *deleted) KVI_MUST_CHECK;

int kvi_multi_has(kv_tree *tree, kvi_slice key, kvi_slice value) KVI_MUST_CHECK;
int kvi_multi_count(kv_tree *tree, kvi_slice key, uint64_t *count) KVI_MUST_CHECK;

/* ---- cursors of such a tree ---- */

/* The pair under the cursor, taken apart in the cursor's memory. */
int kvi_multi_get(kv_cursor *cursor, kv_slice *key, kv_slice *value) KVI_MUST_CHECK;

/* Takes pairs apart whose keys kvi_cursor_read gave. */
int kvi_multi_split_all(kv_cursor *cursor, kv_pair *pairs, size_t n) KVI_MUST_CHECK;

/* By key alone: to its first value where it is looked for from above, to its last from below. */
int kvi_multi_seek(kv_cursor *cursor, enum kv_seek how, kvi_slice key) KVI_MUST_CHECK;

int kvi_multi_seek_pair(kv_cursor *cursor, enum kv_seek how, kvi_slice key,
                        kvi_slice value) KVI_MUST_CHECK;

/* Over the remaining values of the key to the next one, in the cursor's direction or against it. */
int kvi_multi_next_key(kv_cursor *cursor, bool forward) KVI_MUST_CHECK;

int kvi_multi_del_here(kv_cursor *cursor) KVI_MUST_CHECK;

#endif
