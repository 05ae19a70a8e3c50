/* ops.h - the operations on single keys. */
#ifndef KVI_OPS_H
#define KVI_OPS_H

#include "descent.h"

/* May this tree handle be used; for changing, if change? By calls that know multi-value trees, and by
 * the others, which must not. */
int kvi_tree_alive(const kv_tree *tree, bool change) KVI_MUST_CHECK;
int kvi_tree_usable(const kv_tree *tree, bool change) KVI_MUST_CHECK;

/* A tree handle that may be used for lookups, in a tree with one value for each key. */
static inline bool kvi_tree_plain(const kv_tree *tree)
{
    return !tree->txn->failed && !tree->gone && !kvi_tree_multi(tree) && kvi_alive(tree->txn->db);
}

/* Entries that have expired are not there for any of these. */

/* value may be NULL. */
int kvi_get_any(kv_tree *tree, kvi_slice key, kv_slice *value) KVI_MUST_CHECK;
static inline int kvi_get(kv_tree *tree, kvi_slice key, kv_slice *value)
{
    return kvi_descent_now()->get(tree, key, value);
}

/* Would kvi_put refuse these lengths? */
int kvi_put_check(kv_tree *tree, kvi_slice key, uint64_t value_len) KVI_MUST_CHECK;

/* The stored form of the entry. KV_NOTFOUND. */
int kvi_find(kv_tree *tree, kvi_slice key, kvi_stored *stored) KVI_MUST_CHECK;

/* All that is known of an entry, its value included. */
int kvi_stored_info(kv_txn *txn, kvi_stored stored, kv_entry_info *info) KVI_MUST_CHECK;

/* The time in so many milliseconds. */
static inline uint64_t kvi_expiry_in(const kv_txn *txn, uint64_t ms)
{
    uint64_t now = KVI_MAX(txn->now, (uint64_t)1);
    return ms < UINT64_MAX - now ? now + ms : UINT64_MAX;
}

/* value.ptr NULL with a length: reserve, and *place says where the bytes go; there is no expiry.
 * place may be NULL otherwise. flags: KV_PUT_*. expiry: 0: none. */
int kvi_put_until(kv_tree *tree, kvi_slice key, kvi_slice value, uint32_t flags, uint64_t expiry,
                  void **place) KVI_MUST_CHECK;
static inline int kvi_put(kv_tree *tree, kvi_slice key, kvi_slice value, uint32_t flags,
                          void **place)
{
    return kvi_put_until(tree, key, value, flags, 0, place);
}

/* Gives an entry another expiry; 0: none. KV_NOTFOUND. */
int kvi_expire(kv_tree *tree, kvi_slice key, uint64_t expiry) KVI_MUST_CHECK;

/* The same, if the entry expires and its time grows by gain at least. */
int kvi_touch(kv_tree *tree, kvi_slice key, uint64_t expiry, uint64_t gain) KVI_MUST_CHECK;

int kvi_del(kv_tree *tree, kvi_slice key) KVI_MUST_CHECK;

/* Finds the entry, lets decide (see kv_update) look at it, and stores, removes or leaves it: one
 * descent. *old (old may be NULL): what was there, good until the next change; ptr NULL: nothing. What
 * is stored has the given expiry, 0: none; with KV_PUT_KEEP_EXPIRY that of the entry that was there. */
typedef int kvi_decide(void *context, const kv_slice *old, kv_slice *value);
int kvi_update_until(kv_tree *tree, kvi_slice key, kvi_decide *decide, void *context,
                     uint32_t flags, uint64_t expiry, kv_slice *old) KVI_MUST_CHECK;

/* The same with the expiry that is there. */
static inline int kvi_update(kv_tree *tree, kvi_slice key, kvi_decide *decide, void *context)
{
    return kvi_update_until(tree, key, decide, context, KV_PUT_KEEP_EXPIRY, 0, NULL);
}

/* The entry under a path: its value; its removal, after kvi_tree_usable. */
int kvi_load_at(kv_tree *tree, kvi_path *path, kv_slice *value) KVI_MUST_CHECK;
int kvi_remove_at(kv_tree *tree, kvi_path *path) KVI_MUST_CHECK;

#endif
