/* api_many.c - the public functions on many keys: arguments are checked here. */
#include "api.h"
#include "many.h"

static bool slice_valid(kv_slice slice)
{
    return kvi_bytes_valid(slice.ptr, slice.len);
}

KV_API int kv_get_many(kv_tree *tree, size_t n, const kv_slice *keys, kv_slice *values,
                       int *results)
{
    if (!tree || (!keys && n))
        return KV_EINVAL;
    for (size_t i = 0; i < n; i++)
        if (!slice_valid(keys[i]))
            return KV_EINVAL;
    return kvi_get_many(tree, n, keys, values, results);
}

KV_API int kv_put_many(kv_tree *tree, size_t n, const kv_pair *pairs, uint32_t flags)
{
    if (!tree || (!pairs && n) || !kvi_put_flags_valid(flags))
        return KV_EINVAL;
    for (size_t i = 0; i < n; i++)
        if (!slice_valid(pairs[i].key) || !slice_valid(pairs[i].value))
            return KV_EINVAL;
    return kvi_put_many(tree, n, pairs, flags);
}
