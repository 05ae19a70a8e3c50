/* api_order.c - the public calls on entries by number, and on their sizes: arguments are checked here. */
#include "cursor.h"
#include "ops.h"
#include "order.h"
#include "sizes.h"

static int order_check(const kv_tree *tree, const void *out)
{
    if (!tree || !out)
        return KV_EINVAL;
    return kvi_tree_alive(tree, false);
}

/* How many entries the range has; none is an answer. */
static int order_count(kv_tree *tree, const kv_range *range, uint64_t *n)
{
    int rc = kvi_range_with(tree, range, n, kvi_range_count);
    return rc == KV_OK && *n == 0 ? KV_NOTFOUND : rc;
}

KV_API int kv_nth(kv_tree *tree, const kv_range *range, uint64_t n, kv_pair *pair)
{
    int rc = order_check(tree, pair);
    return rc == KV_OK ? kvi_order_nth(tree, range, n, pair) : rc;
}

KV_API int kv_random(kv_tree *tree, const kv_range *range, uint64_t random, kv_pair *pair)
{
    uint64_t n;
    int rc = order_check(tree, pair);
    if (rc == KV_OK)
        rc = order_count(tree, range, &n);
    return rc == KV_OK ? kvi_order_nth(tree, range, kvi_order_random(n, random), pair) : rc;
}

KV_API int kv_percentile(kv_tree *tree, const kv_range *range, double percent, kv_pair *pair)
{
    uint64_t n;
    int rc = order_check(tree, pair);
    if (rc == KV_OK && !(percent >= 0 && percent <= 100))
        rc = KV_EINVAL;
    if (rc == KV_OK)
        rc = order_count(tree, range, &n);
    return rc == KV_OK ? kvi_order_nth(tree, range, kvi_order_percentile(n, percent), pair) : rc;
}

/* Callers may know fewer members. */
static void sizes_put(kv_sizes *out, const kv_sizes *found)
{
    size_t size = out->size;
    memcpy(out, found, KVI_MIN(size, sizeof *found));
    out->size = size;
}

KV_API int kv_cursor_sizes(kv_cursor *cursor, kv_sizes *sizes)
{
    kv_sizes found = {.size = 0};
    int rc = order_check(cursor ? cursor->tree : NULL, sizes);
    if (rc == KV_OK && sizes->size < sizeof sizes->size)
        rc = KV_EINVAL;
    if (rc == KV_OK)
        rc = kvi_sizes_here(cursor, &found);
    if (rc == KV_OK)
        sizes_put(sizes, &found);
    return rc;
}

KV_API int kv_range_sizes(kv_tree *tree, const kv_range *range, kv_sizes *sizes)
{
    kv_sizes found = {.size = 0};
    int rc = order_check(tree, sizes);
    if (rc == KV_OK && sizes->size < sizeof sizes->size)
        rc = KV_EINVAL;
    if (rc == KV_OK)
        rc = kvi_sizes_range(tree, range, &found);
    if (rc == KV_OK)
        sizes_put(sizes, &found);
    return rc;
}

KV_API int kv_split(kv_tree *tree, const kv_range *range, size_t parts, kv_slice *keys, void *buf,
                    size_t size, size_t *got)
{
    int rc = order_check(tree, got);
    if (rc == KV_OK && (parts == 0 || (!keys && parts > 1) || (!buf && size > 0)))
        rc = KV_EINVAL;
    return rc == KV_OK ? kvi_order_split(tree, range, parts, keys, buf, size, got) : rc;
}
