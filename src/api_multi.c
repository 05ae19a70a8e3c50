/* api_multi.c - the public calls on multi-value trees: arguments are checked here. */
#include "multi.h"

static int multi_check(const kv_tree *tree, bool change, const void *key, size_t key_len)
{
    if (!tree || !kvi_bytes_valid(key, key_len))
        return KV_EINVAL;
    return kvi_multi_usable(tree, change);
}

KV_API int kv_multi_put(kv_tree *tree, const void *key, size_t key_len, const void *value,
                        size_t value_len)
{
    int rc = kvi_bytes_valid(value, value_len) ? multi_check(tree, true, key, key_len) : KV_EINVAL;
    if (rc != KV_OK)
        return rc;
    return kvi_multi_put(tree, kvi_slice_of(key, key_len), kvi_slice_of(value, value_len));
}

KV_API int kv_multi_del(kv_tree *tree, const void *key, size_t key_len, const void *value,
                        size_t value_len)
{
    int rc = kvi_bytes_valid(value, value_len) ? multi_check(tree, true, key, key_len) : KV_EINVAL;
    if (rc != KV_OK)
        return rc;
    return kvi_multi_del(tree, kvi_slice_of(key, key_len), kvi_slice_of(value, value_len));
}

KV_API int kv_multi_del_key(kv_tree *tree, const void *key, size_t key_len, uint64_t *deleted)
{
    uint64_t n = 0;
    int rc = multi_check(tree, true, key, key_len);
    if (rc == KV_OK)
        rc = kvi_multi_del_key(tree, kvi_slice_of(key, key_len), &n);
    if (rc == KV_OK && deleted)
        *deleted = n;
    return rc == KV_OK && n == 0 ? KV_NOTFOUND : rc;
}

KV_API int kv_multi_has(kv_tree *tree, const void *key, size_t key_len, const void *value,
                        size_t value_len)
{
    int rc = kvi_bytes_valid(value, value_len) ? multi_check(tree, false, key, key_len) : KV_EINVAL;
    if (rc == KV_OK)
        rc = kvi_multi_has(tree, kvi_slice_of(key, key_len), kvi_slice_of(value, value_len));
    return rc == KV_ETOOBIG ? KV_NOTFOUND : rc;
}

KV_API int kv_multi_count(kv_tree *tree, const void *key, size_t key_len, uint64_t *count)
{
    int rc = multi_check(tree, false, key, key_len);
    if (rc == KV_OK && !count)
        rc = KV_EINVAL;
    return rc == KV_OK ? kvi_multi_count(tree, kvi_slice_of(key, key_len), count) : rc;
}

KV_API int kv_cursor_seek_pair(kv_cursor *cursor, enum kv_seek how, const void *key, size_t key_len,
                               const void *value, size_t value_len)
{
    if (!cursor || how < KV_SEEK_LT || how > KV_SEEK_GT || !kvi_bytes_valid(value, value_len))
        return KV_EINVAL;
    int rc = multi_check(cursor->tree, false, key, key_len);
    if (rc != KV_OK)
        return rc;
    return kvi_multi_seek_pair(cursor, how, kvi_slice_of(key, key_len),
                               kvi_slice_of(value, value_len));
}

KV_API int kv_cursor_next_key(kv_cursor *cursor)
{
    int rc = cursor ? kvi_multi_usable(cursor->tree, false) : KV_EINVAL;
    return rc == KV_OK ? kvi_multi_next_key(cursor, true) : rc;
}

KV_API int kv_cursor_prev_key(kv_cursor *cursor)
{
    int rc = cursor ? kvi_multi_usable(cursor->tree, false) : KV_EINVAL;
    return rc == KV_OK ? kvi_multi_next_key(cursor, false) : rc;
}
