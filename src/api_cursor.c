/* api_cursor.c - the public calls on ranges and cursors: arguments are checked here. */
#include "multi.h"
#include "ops.h"

static int tree_check(const kv_tree *tree, bool change)
{
    return tree ? kvi_tree_alive(tree, change) : KV_EINVAL;
}

static inline int cursor_check(const kv_cursor *cursor)
{
    if (KVI_UNLIKELY(!cursor))
        return KV_EINVAL;
    if (KVI_UNLIKELY(cursor->txn->failed || cursor->tree->gone || !kvi_alive_at(cursor->alive)))
        return kvi_tree_alive(cursor->tree, false);
    return KV_OK;
}

/* ---- ranges ---- */

KV_API int kv_del_range(kv_tree *tree, const kv_range *range, uint64_t *deleted)
{
    uint64_t removed = 0;
    int rc = tree_check(tree, true);
    if (rc == KV_OK)
        rc = kvi_range_with(tree, range, &removed, kvi_range_del);
    if (rc == KV_OK && deleted)
        *deleted = removed;
    return rc;
}

KV_API int kv_count(kv_tree *tree, const kv_range *range, uint64_t *count)
{
    int rc = tree_check(tree, false);
    if (rc != KV_OK)
        return rc;
    return count ? kvi_range_with(tree, range, count, kvi_range_count) : KV_EINVAL;
}

KV_API int kv_rank(kv_tree *tree, const void *key, size_t key_len, uint64_t *rank)
{
    uint64_t number;
    int rc = tree_check(tree, false);
    if (rc != KV_OK)
        return rc;
    if (!rank || !kvi_bytes_valid(key, key_len))
        return KV_EINVAL;
    if (kvi_tree_multi(tree)) {
        const kv_range before = {.size = sizeof before, .to = key ? key : "", .to_len = key_len};
        return kvi_range_with(tree, &before, rank, kvi_range_count);
    }
    kvi_place place = {kvi_range_key(tree, key, key_len), true, false};
    rc = kvi_range_rank(tree, &place, &number);
    if (rc == KV_OK)
        *rank = number;
    return rc;
}

/* ---- cursors ---- */

KV_API int kv_cursor_open(kv_tree *tree, const kv_range *range, kv_cursor **cursor)
{
    if (!cursor)
        return KV_EINVAL;
    *cursor = NULL;
    int rc = tree_check(tree, false);
    return rc == KV_OK ? kvi_cursor_open(tree, range, cursor) : rc;
}

KV_API void kv_cursor_close(kv_cursor *cursor)
{
    if (cursor)
        kvi_cursor_close(cursor);
}

KV_API int kv_cursor_first(kv_cursor *cursor)
{
    int rc = cursor_check(cursor);
    return rc == KV_OK ? kvi_cursor_first(cursor) : rc;
}

KV_API int kv_cursor_last(kv_cursor *cursor)
{
    int rc = cursor_check(cursor);
    return rc == KV_OK ? kvi_cursor_last(cursor) : rc;
}

KV_API int kv_cursor_next(kv_cursor *cursor)
{
    if (KVI_LIKELY(cursor && kvi_alive_at(cursor->alive) && kvi_cursor_glide(cursor, true)))
        return KV_OK;
    int rc = cursor_check(cursor);
    return rc == KV_OK ? kvi_cursor_next(cursor) : rc;
}

KV_API int kv_cursor_prev(kv_cursor *cursor)
{
    if (KVI_LIKELY(cursor && kvi_alive_at(cursor->alive) && kvi_cursor_glide(cursor, false)))
        return KV_OK;
    int rc = cursor_check(cursor);
    return rc == KV_OK ? kvi_cursor_prev(cursor) : rc;
}

KV_API int kv_cursor_seek(kv_cursor *cursor, enum kv_seek how, const void *key, size_t key_len)
{
    int rc = cursor_check(cursor);
    if (rc != KV_OK)
        return rc;
    if (how < KV_SEEK_LT || how > KV_SEEK_GT || !kvi_bytes_valid(key, key_len))
        return KV_EINVAL;
    if (kvi_tree_multi(cursor->tree))
        return kvi_multi_seek(cursor, how, kvi_slice_of(key, key_len));
    return kvi_cursor_seek(cursor, how, kvi_range_key(cursor->tree, key, key_len));
}

KV_API int kv_cursor_nth(kv_cursor *cursor, uint64_t n)
{
    int rc = cursor_check(cursor);
    return rc == KV_OK ? kvi_cursor_nth(cursor, n) : rc;
}

/* Values were given, for which memory may have been lent. */
static void values_given(kv_cursor *cursor, kvi_loan *before)
{
    if (KVI_UNLIKELY(cursor->range.brief))
        kvi_cursor_lent(cursor, before);
}

KV_API int kv_cursor_get(kv_cursor *cursor, kv_slice *key, kv_slice *value)
{
    if (KVI_LIKELY(cursor && kvi_alive_at(cursor->alive) && kvi_cursor_take(cursor, key, value)))
        return KV_OK;
    int rc = cursor_check(cursor);
    if (rc != KV_OK)
        return rc;
    if (KVI_UNLIKELY(kvi_tree_multi(cursor->tree)))
        return kvi_multi_get(cursor, key, value);
    kvi_loan *before = cursor->txn->loans;
    rc = kvi_cursor_get(cursor, key, value);
    values_given(cursor, before);
    return rc;
}

KV_API int kv_cursor_info(kv_cursor *cursor, kv_entry_info *info)
{
    kvi_stored stored;
    if (!info || info->size < sizeof *info)
        return KV_EINVAL;
    int rc = cursor_check(cursor);
    if (rc != KV_OK)
        return rc;
    kvi_loan *before = cursor->txn->loans;
    rc = kvi_cursor_stored(cursor, &stored);
    if (rc == KV_OK)
        rc = kvi_stored_info(cursor->txn, stored, info);
    values_given(cursor, before);
    if (rc == KV_OK && KVI_UNLIKELY(kvi_tree_multi(cursor->tree)))
        rc = kvi_multi_get(cursor, NULL, &info->value);
    if (rc == KV_OK && KVI_UNLIKELY(kvi_tree_multi(cursor->tree)))
        info->stored_len = info->value.len;
    return rc;
}

KV_API int kv_cursor_read(kv_cursor *cursor, kv_pair *pairs, size_t n, size_t *got)
{
    if (!got || (!pairs && n > 0))
        return KV_EINVAL;
    int rc = cursor_check(cursor);
    if (rc != KV_OK)
        return rc;
    *got = 0;
    kvi_loan *before = cursor->txn->loans;
    rc = kvi_cursor_read(cursor, pairs, n, got);
    values_given(cursor, before);
    if (rc == KV_OK && KVI_UNLIKELY(kvi_tree_multi(cursor->tree)))
        rc = kvi_multi_split_all(cursor, pairs, *got);
    return rc;
}

/* The key of the entry that is about to change. */
static int cursor_change(kv_cursor *cursor, kvi_slice *key)
{
    if (!cursor)
        return KV_EINVAL;
    int rc = kvi_tree_alive(cursor->tree, true);
    return rc == KV_OK ? kvi_cursor_key(cursor, key) : rc;
}

KV_API int kv_cursor_put(kv_cursor *cursor, const void *value, size_t value_len)
{
    kvi_slice key;
    if (!kvi_bytes_valid(value, value_len))
        return KV_EINVAL;
    int rc = cursor_change(cursor, &key);
    if (rc != KV_OK)
        return rc;
    return kvi_put(cursor->tree, key, kvi_slice_of(value, value_len), 0, NULL);
}

KV_API int kv_cursor_del(kv_cursor *cursor)
{
    kvi_slice key;
    int rc = cursor_change(cursor, &key);
    if (rc == KV_OK && kvi_tree_multi(cursor->tree))
        return kvi_multi_del_here(cursor);
    if (rc == KV_OK)
        rc = kvi_del(cursor->tree, key);
    if (rc == KV_OK)
        kvi_cursor_removed(cursor);
    return rc;
}
