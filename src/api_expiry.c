/* api_expiry.c - the public calls on entries that expire: arguments are checked here. */
#include "ops.h"
#include "sweep.h"

/* ---- single keys ---- */

int kv_get_info(kv_tree *tree, const void *key, size_t key_len, kv_entry_info *info)
{
    kvi_stored stored;
    if (!tree || !kvi_bytes_valid(key, key_len) || !info || info->size < sizeof *info)
        return KV_EINVAL;
    int rc = kvi_find(tree, kvi_slice_of(key, key_len), &stored);
    return rc == KV_OK ? kvi_stored_info(tree->txn, stored, info) : rc;
}

int kv_ttl(kv_tree *tree, const void *key, size_t key_len, uint64_t *ttl_ms)
{
    kvi_stored stored;
    if (!tree || !kvi_bytes_valid(key, key_len) || !ttl_ms)
        return KV_EINVAL;
    int rc = kvi_find(tree, kvi_slice_of(key, key_len), &stored);
    if (rc != KV_OK)
        return rc;
    uint64_t expiry = kvi_stored_expiry(stored);
    *ttl_ms = expiry ? expiry - tree->txn->now : KV_TTL_NEVER;
    return KV_OK;
}

int kv_expire(kv_tree *tree, const void *key, size_t key_len, uint64_t ttl_ms)
{
    if (!tree || !kvi_bytes_valid(key, key_len))
        return KV_EINVAL;
    return kvi_expire(tree, kvi_slice_of(key, key_len), kvi_expiry_in(tree->txn, ttl_ms));
}

int kv_expire_at(kv_tree *tree, const void *key, size_t key_len, uint64_t expires_at)
{
    if (!tree || !kvi_bytes_valid(key, key_len))
        return KV_EINVAL;
    return kvi_expire(tree, kvi_slice_of(key, key_len), KVI_MAX(expires_at, (uint64_t)1));
}

int kv_persist(kv_tree *tree, const void *key, size_t key_len)
{
    if (!tree || !kvi_bytes_valid(key, key_len))
        return KV_EINVAL;
    return kvi_expire(tree, kvi_slice_of(key, key_len), 0);
}

int kv_touch(kv_tree *tree, const void *key, size_t key_len, uint64_t ttl_ms, uint64_t min_gain_ms)
{
    if (!tree || !kvi_bytes_valid(key, key_len))
        return KV_EINVAL;
    return kvi_touch(tree, kvi_slice_of(key, key_len), kvi_expiry_in(tree->txn, ttl_ms),
                     min_gain_ms);
}

/* ---- sweeping ---- */

static bool sweep_sound(const kv_sweep_options *options, const kv_sweep_result *result)
{
    return (!options || options->size >= sizeof *options) &&
           (!result || result->size >= sizeof *result);
}

static kvi_sweep sweep_of(const kv_sweep_options *options)
{
    kvi_sweep sweep = {.max_entries = UINT64_MAX, .max_pages = UINT64_MAX};
    if (options && options->max_entries)
        sweep.max_entries = options->max_entries;
    if (options && options->max_pages)
        sweep.max_pages = options->max_pages;
    return sweep;
}

static void sweep_tell(const kvi_sweep *sweep, uint64_t next, uint64_t now, kv_sweep_result *result)
{
    *result = (kv_sweep_result){
        .size = result->size,
        .removed = sweep->removed,
        .pages = sweep->pages,
        .next_expiry = next,
        .done = !kvi_expired(next, now),
    };
}

int kv_sweep(kv_tree *tree, const kv_sweep_options *options, kv_sweep_result *result)
{
    kvi_sweep sweep = sweep_of(options);
    if (!tree || !sweep_sound(options, result))
        return KV_EINVAL;
    int rc = kvi_tree_usable(tree, true);
    if (rc == KV_OK)
        rc = kvi_sweep_tree(tree, &sweep);
    if (rc == KV_OK && result)
        sweep_tell(&sweep, tree->desc.min_expiry, tree->txn->now, result);
    return rc;
}

int kv_sweep_all(kv_txn *txn, const kv_sweep_options *options, kv_sweep_result *result)
{
    uint64_t next = 0;
    kvi_sweep sweep = sweep_of(options);
    if (!txn || !sweep_sound(options, result))
        return KV_EINVAL;
    int rc = kvi_tree_usable(&txn->main, true);
    if (rc == KV_OK)
        rc = kvi_sweep_all(txn, &sweep);
    if (rc == KV_OK && result)
        rc = kvi_sweep_next(txn, &next);
    if (rc == KV_OK && result)
        sweep_tell(&sweep, next, txn->now, result);
    return rc;
}
