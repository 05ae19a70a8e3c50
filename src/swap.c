/* swap.c - see swap.h. */
#include "swap.h"
#include "mutant.h"

typedef struct swap {
    uint32_t flags;          /* KV_PUT_*: the condition */
    const kv_slice *equals;  /* for KV_PUT_EQUALS */
    const kv_slice *desired; /* NULL: none */
    int outcome;             /* of the condition */
} swap;

static int condition(const swap *s, const kv_slice *old)
{
    if (s->flags & KV_PUT_ABSENT)
        return old ? KV_EXISTS : KV_OK;
    if (s->flags & (KV_PUT_PRESENT | KV_PUT_EQUALS) && !old)
        return KV_NOTFOUND;
    if (s->flags & KV_PUT_EQUALS &&
        (old->len != s->equals->len || (old->len && !KVI_MUTANT(SWAP_BY_LENGTH) &&
                                        memcmp(old->ptr, s->equals->ptr, old->len) != 0)))
        return KV_MISMATCH;
    return KV_OK;
}

static int decide(void *context, const kv_slice *old, kv_slice *value)
{
    swap *s = context;
    s->outcome = condition(s, old);
    if (s->outcome != KV_OK)
        return KV_UPDATE_KEEP;
    if (!s->desired)
        return KV_UPDATE_REMOVE;
    *value = *s->desired;
    return KV_UPDATE_STORE;
}

static int run(kv_tree *tree, kvi_slice key, swap *s, uint64_t expiry, kv_slice *old)
{
    int rc = kvi_update_until(tree, key, decide, s, s->flags, expiry, old);
    return rc == KV_OK ? s->outcome : rc;
}

int kvi_put_with(kv_tree *tree, kvi_slice key, kvi_slice value, const kv_put_options *options)
{
    kv_slice desired = {value.ptr, value.len};
    swap s = {.flags = options->flags, .equals = &options->equals, .desired = &desired};
    uint64_t expiry = options->expires_at;
    if (options->ttl_ms)
        expiry = kvi_expiry_in(tree->txn, options->ttl_ms);
    if (!options->old && !(options->flags & KV_PUT_EQUALS))
        return kvi_put_until(tree, key, value, options->flags, expiry, NULL);
    return run(tree, key, &s, expiry, options->old);
}

int kvi_cas(kv_tree *tree, kvi_slice key, const kv_slice *expected, const kv_slice *desired,
            kv_slice *old)
{
    swap s = {
        .flags = expected ? KV_PUT_EQUALS : KV_PUT_ABSENT, .equals = expected, .desired = desired};
    return run(tree, key, &s, 0, old);
}

int kvi_swap(kv_tree *tree, kvi_slice key, const kv_slice *desired, kv_slice *old)
{
    swap s = {.desired = desired};
    return run(tree, key, &s, 0, old);
}

int kvi_take(kv_tree *tree, kvi_slice key, kv_slice *old)
{
    swap s = {.flags = KV_PUT_PRESENT};
    return run(tree, key, &s, 0, old);
}
