/* api_edit.c - the public calls that look at a value and change it: arguments are checked here. */
#include "calc.h"
#include "edit.h"
#include "pop.h"
#include "swap.h"

static inline bool key_sound(const kv_tree *tree, const void *key, size_t len)
{
    return tree && kvi_bytes_valid(key, len);
}

static inline bool slice_sound(const kv_slice *slice)
{
    return !slice || kvi_bytes_valid(slice->ptr, slice->len);
}

/* ---- conditions and old values ---- */

static bool put_options_sound(const kv_put_options *options)
{
    uint32_t flags = options->flags & ~(uint32_t)KV_PUT_KEEP_EXPIRY;
    return options->size == sizeof *options && options->reserved == 0 && flags <= KV_PUT_EQUALS &&
           (flags & (flags - 1)) == 0 && slice_sound(&options->equals) &&
           !(options->ttl_ms && options->expires_at) &&
           (flags == KV_PUT_EQUALS || !options->equals.ptr);
}

KV_API int kv_put_with(kv_tree *tree, const void *key, size_t key_len, const void *value,
                       size_t value_len, const kv_put_options *options)
{
    static const kv_put_options none = {.size = sizeof none};
    if (!key_sound(tree, key, key_len) || !kvi_bytes_valid(value, value_len) ||
        (options && !put_options_sound(options)))
        return KV_EINVAL;
    return kvi_put_with(tree, kvi_slice_of(key, key_len), kvi_slice_of(value, value_len),
                        options ? options : &none);
}

KV_API int kv_cas(kv_tree *tree, const void *key, size_t key_len, const kv_slice *expected,
                  const kv_slice *desired, kv_slice *actual)
{
    if (!key_sound(tree, key, key_len) || !slice_sound(expected) || !slice_sound(desired))
        return KV_EINVAL;
    return kvi_cas(tree, kvi_slice_of(key, key_len), expected, desired, actual);
}

KV_API int kv_swap(kv_tree *tree, const void *key, size_t key_len, const kv_slice *desired,
                   kv_slice *old)
{
    if (!key_sound(tree, key, key_len) || !slice_sound(desired) || !old)
        return KV_EINVAL;
    return kvi_swap(tree, kvi_slice_of(key, key_len), desired, old);
}

KV_API int kv_take(kv_tree *tree, const void *key, size_t key_len, kv_slice *value)
{
    if (!key_sound(tree, key, key_len) || !value)
        return KV_EINVAL;
    return kvi_take(tree, kvi_slice_of(key, key_len), value);
}

/* ---- changes that look first ---- */

KV_API int kv_update(kv_tree *tree, const void *key, size_t key_len,
                     int (*fn)(void *context, const kv_slice *old, kv_slice *value), void *context)
{
    if (!key_sound(tree, key, key_len) || !fn)
        return KV_EINVAL;
    return kvi_update(tree, kvi_slice_of(key, key_len), fn, context);
}

/* ---- numbers and parts of values ---- */

static bool number_sound(const kv_tree *tree, const void *key, size_t len, uint32_t flags)
{
    return key_sound(tree, key, len) && !(flags & ~(uint32_t)(KV_NUMBER_TEXT | KV_PUT_PRESENT));
}

KV_API int kv_incr(kv_tree *tree, const void *key, size_t key_len, int64_t delta, int64_t initial,
                   uint32_t flags, int64_t *result)
{
    if (!number_sound(tree, key, key_len, flags))
        return KV_EINVAL;
    return kvi_incr(tree, kvi_slice_of(key, key_len), delta, initial, flags, result);
}

KV_API int kv_incr_double(kv_tree *tree, const void *key, size_t key_len, double delta,
                          double initial, uint32_t flags, double *result)
{
    if (!number_sound(tree, key, key_len, flags))
        return KV_EINVAL;
    return kvi_incr_double(tree, kvi_slice_of(key, key_len), delta, initial, flags, result);
}

KV_API int kv_put_min(kv_tree *tree, const void *key, size_t key_len, int64_t number,
                      uint32_t flags, int64_t *result)
{
    if (!number_sound(tree, key, key_len, flags))
        return KV_EINVAL;
    return kvi_put_min(tree, kvi_slice_of(key, key_len), number, flags, result);
}

KV_API int kv_put_max(kv_tree *tree, const void *key, size_t key_len, int64_t number,
                      uint32_t flags, int64_t *result)
{
    if (!number_sound(tree, key, key_len, flags))
        return KV_EINVAL;
    return kvi_put_max(tree, kvi_slice_of(key, key_len), number, flags, result);
}

KV_API int kv_append(kv_tree *tree, const void *key, size_t key_len, const void *bytes, size_t len,
                     uint64_t limit, uint64_t *length)
{
    if (!key_sound(tree, key, key_len) || !kvi_bytes_valid(bytes, len))
        return KV_EINVAL;
    return kvi_append(tree, kvi_slice_of(key, key_len), kvi_slice_of(bytes, len), limit, length);
}

KV_API int kv_bits(kv_tree *tree, const void *key, size_t key_len, enum kv_bits how,
                   const void *bytes, size_t len)
{
    if (!key_sound(tree, key, key_len) || !kvi_bytes_valid(bytes, len) || how < KV_BITS_AND ||
        how > KV_BITS_XOR)
        return KV_EINVAL;
    return kvi_bits(tree, kvi_slice_of(key, key_len), how, kvi_slice_of(bytes, len));
}

/* ---- ends of a range ---- */

static int pop(kv_tree *tree, const kv_range *range, bool last, kv_pair *entry)
{
    kvi_range bounds;
    if (!tree || !entry)
        return KV_EINVAL;
    int rc = kvi_tree_usable(tree, true);
    if (rc == KV_OK)
        rc = kvi_range_init(&bounds, tree, range);
    if (rc != KV_OK)
        return rc;
    rc = kvi_pop(tree, &bounds, bounds.reverse != last, entry);
    kvi_range_done(&bounds, tree);
    return rc;
}

KV_API int kv_pop_first(kv_tree *tree, const kv_range *range, kv_pair *entry)
{
    return pop(tree, range, false, entry);
}

KV_API int kv_pop_last(kv_tree *tree, const kv_range *range, kv_pair *entry)
{
    return pop(tree, range, true, entry);
}
