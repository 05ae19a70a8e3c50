/* crash_sequel.c - a few commits on top of a recovered state, and what the database must contain
 * after each. They are made once per state and then repeated thousands of times. */
#include "crash_impl.h"
#include "multi_steps.h"

#define OPS_MAX     64 /* of one commit */
#define BYTES_MAX   65536
#define BYTES_LEAST 20000 /* free, for one operation more */
#define VALUE_MAX   90
#define HEAVY_STEP  3 /* the heavy variant rewrites every third entry */

/* Commits of each variant: their kinds, one letter each: default, strict, lazy. */
static const char *const plans[SEQUEL_VARIANTS] = {"dd", "ld", "sl", "dl", "ll", "dd", "ds", "dld"};

uint32_t sequel_flags(const sequel *s, unsigned k)
{
    static const uint32_t flags[] = {['d' - 'd'] = KV_TXN_WRITE,
                                     ['l' - 'd'] = KV_TXN_WRITE | KV_TXN_LAZY,
                                     ['s' - 'd'] = KV_TXN_WRITE | KV_TXN_STRICT};
    return flags[plans[s->variant][k] - 'd'];
}

/* ---- making ---- */

typedef struct maker {
    sequel *s;
    model *m;
    rng r;
    size_t n_ops, n_bytes;
} maker;

static kvi_slice maker_bytes(maker *k, const void *bytes, size_t len)
{
    uint8_t *at = k->s->bytes + k->n_bytes;
    k->n_bytes += len;
    if (len)
        memcpy(at, bytes, len);
    return kvi_slice_of(at, len);
}

static kvi_slice maker_value(maker *k)
{
    uint8_t bytes[VALUE_MAX];
    size_t len = (size_t)rng_below(&k->r, VALUE_MAX + 1);
    rng_fill(&k->r, bytes, len);
    return maker_bytes(k, bytes, len);
}

/* The key is replaced, or deleted when that is wanted and it is still there. */
static void maker_add(maker *k, unsigned commit, const model_tree *tree, kvi_slice key, bool del)
{
    if (k->n_ops == (size_t)(commit + 1) * OPS_MAX || k->n_bytes > BYTES_MAX - BYTES_LEAST)
        return;
    kvi_slice name = model_tree_name(tree);
    if (multi_is(name))
        return; /* its keys are no keys */
    const model_tree *now = model_tree_of(k->m->now, name);
    del = del && model_get(now, key, NULL) && model_expiry(now, key) == 0; /* it may be gone */
    sequel_op op = {maker_bytes(k, name.ptr, name.len), maker_bytes(k, key.ptr, key.len), {0}};
    if (!del)
        op.value = maker_value(k);
    if (del)
        model_del(k->m, op.tree, op.key);
    else
        model_put(k->m, op.tree, op.key, op.value);
    k->s->ops[k->n_ops++] = op;
    k->s->n_ops[commit]++;
}

static void maker_light(maker *k, unsigned commit)
{
    char text[32];
    for (int i = 0; i < 3; i++) {
        const model_state *now = k->m->now;
        const model_tree *tree = &now->trees[rng_below(&k->r, now->n)];
        kvi_slice key;
        if (tree->sum.entries && model_nth(tree, rng_below(&k->r, tree->sum.entries), &key, NULL))
            maker_add(k, commit, tree, key, i == 2);
    }
    int len = snprintf(text, sizeof text, "sequel %u %u", k->s->variant, commit);
    maker_add(k, commit, &k->m->now->trees[0], kvi_slice_of(text, (size_t)len), false);
}

static void maker_heavy(maker *k, unsigned commit)
{
    const model_state *base = k->s->base;
    for (size_t t = 0; t < base->n; t++)
        for (uint64_t i = commit; i < base->trees[t].sum.entries; i += HEAVY_STEP) {
            kvi_slice key;
            if (model_nth(&base->trees[t], i, &key, NULL))
                maker_add(k, commit, &base->trees[t], key, i % 4 == 0);
        }
}

static void sequel_make(sequel *s, model *scratch)
{
    maker k = {.s = s, .m = scratch};
    s->commits = (unsigned)strlen(plans[s->variant]);
    s->ops = malloc(SEQUEL_COMMITS * OPS_MAX * sizeof *s->ops);
    s->bytes = malloc(BYTES_MAX);
    if (!s->ops || !s->bytes)
        sim_die("out of memory");
    rng_seed(&k.r, model_state_hash(s->base) + s->variant);
    model_restore(scratch, s->base);
    for (unsigned c = 0; c < s->commits; c++) {
        k.n_ops = (size_t)c * OPS_MAX;
        if (s->variant == SEQUEL_VARIANTS - 1)
            maker_heavy(&k, c);
        maker_light(&k, c);
        s->after[c] = model_keep(scratch);
    }
}

void sequel_free(sequel *s)
{
    if (!s->base)
        return;
    for (unsigned c = 0; c < s->commits; c++)
        model_release(s->after[c]);
    model_release(s->base);
    free(s->ops);
    free(s->bytes);
    *s = (sequel){0};
}

const sequel *sequel_get(sequel *cache, model *scratch, model_state *base, unsigned variant)
{
    uint64_t spread = ((uint64_t)(uintptr_t)base + variant) * 0x9e3779b97f4a7c15ull;
    sequel *s = &cache[spread >> 32 & (SEQUEL_CACHE - 1)];
    if (s->base == base && s->variant == variant)
        return s;
    sequel_free(s);
    base->refs++;
    s->base = base;
    s->variant = variant;
    sequel_make(s, scratch);
    return s;
}

/* ---- repeating ---- */

int sequel_apply(const sequel *s, unsigned k, kv_txn *txn)
{
    int rc = KV_OK;
    for (size_t i = 0; rc == KV_OK && i < s->n_ops[k]; i++) {
        const sequel_op *op = &s->ops[k * OPS_MAX + i];
        kv_tree *tree = kv_txn_main(txn);
        if (op->tree.len)
            rc = kv_tree_open(txn, op->tree.ptr, op->tree.len, 0, NULL, &tree);
        if (rc == KV_OK && op->value.ptr)
            rc = kv_put(tree, op->key.ptr, op->key.len, op->value.ptr, op->value.len, 0);
        else if (rc == KV_OK)
            rc = kv_del(tree, op->key.ptr, op->key.len);
    }
    return rc;
}
