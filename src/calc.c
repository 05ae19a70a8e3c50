/* calc.c - see calc.h. */
#include "calc.h"
#include "mutant.h"
#include "number.h"

typedef struct calc {
    kvi_err *err;
    uint32_t flags;
    int outcome;
    uint8_t bytes[KVI_NUMBER_MAX]; /* the new value */
    int64_t initial, operand, result;
    bool (*combine)(int64_t present, int64_t operand, int64_t *result); /* false: out of range */
} calc;

typedef struct double_calc {
    calc common;
    double initial, operand, result;
} double_calc;

static bool combine_add(int64_t present, int64_t operand, int64_t *result)
{
    return !__builtin_add_overflow(present, operand, result) || KVI_MUTANT(SUM_WRAPS);
}

static bool combine_min(int64_t present, int64_t operand, int64_t *result)
{
    *result = KVI_MIN(present, operand);
    return true;
}

static bool combine_max(int64_t present, int64_t operand, int64_t *result)
{
    *result = KVI_MAX(present, operand);
    return true;
}

static bool is_text(const calc *c)
{
    return c->flags & KV_NUMBER_TEXT;
}

static kvi_slice slice_in(const kv_slice *slice)
{
    return kvi_slice_of(slice->ptr, slice->len);
}

/* Is there nothing to count, and should there be? */
static bool misses(calc *c, const kv_slice *old)
{
    bool missing = !old && c->flags & KV_PUT_PRESENT;
    c->outcome = missing ? KV_NOTFOUND : KV_OK;
    return missing;
}

static int not_a_number(const calc *c, const char *kind, const kv_slice *old)
{
    if (is_text(c))
        return kvi_fail(c->err, KV_ENOTNUMBER, "the value, of %zu bytes, is not %s in decimal text",
                        old->len, kind);
    return kvi_fail(c->err, KV_ENOTNUMBER, "the value, of %zu bytes, is not %s of 8 bytes",
                    old->len, kind);
}

static int decide(void *context, const kv_slice *old, kv_slice *value)
{
    calc *c = context;
    int64_t present = c->initial;
    if (misses(c, old))
        return KV_UPDATE_KEEP;
    if (old && !kvi_int_read(slice_in(old), is_text(c), &present))
        return not_a_number(c, "a 64-bit number", old);
    if (!c->combine(present, c->operand, &c->result))
        return kvi_fail(c->err, KV_EOVERFLOW, "%lld and %lld more leave the range of 64 bits",
                        (long long)present, (long long)c->operand);
    if (old && c->result == present)
        return KV_UPDATE_KEEP;
    *value = (kv_slice){c->bytes, kvi_int_write(c->result, is_text(c), c->bytes)};
    return KV_UPDATE_STORE;
}

static int decide_double(void *context, const kv_slice *old, kv_slice *value)
{
    double_calc *d = context;
    calc *c = &d->common;
    double present = d->initial;
    if (misses(c, old))
        return KV_UPDATE_KEEP;
    if (old && !kvi_double_read(slice_in(old), is_text(c), &present))
        return not_a_number(c, "a finite number", old);
    d->result = present + d->operand;
    if (!kvi_double_finite(d->result))
        return kvi_fail(c->err, KV_EOVERFLOW, "%g and %g more leave the range of a double", present,
                        d->operand);
    if (old && d->result == present)
        return KV_UPDATE_KEEP;
    *value = (kv_slice){c->bytes, kvi_double_write(d->result, is_text(c), c->bytes)};
    return KV_UPDATE_STORE;
}

static int run(kv_tree *tree, kvi_slice key, calc *c, int64_t *result)
{
    c->err = &tree->txn->db->err;
    int rc = kvi_update(tree, key, decide, c);
    if (rc == KV_OK && c->outcome == KV_OK && result)
        *result = c->result;
    return rc == KV_OK ? c->outcome : rc;
}

int kvi_incr(kv_tree *tree, kvi_slice key, int64_t delta, int64_t initial, uint32_t flags,
             int64_t *result)
{
    calc c = {.flags = flags, .initial = initial, .operand = delta, .combine = combine_add};
    return run(tree, key, &c, result);
}

int kvi_put_min(kv_tree *tree, kvi_slice key, int64_t number, uint32_t flags, int64_t *result)
{
    calc c = {.flags = flags, .initial = number, .operand = number, .combine = combine_min};
    return run(tree, key, &c, result);
}

int kvi_put_max(kv_tree *tree, kvi_slice key, int64_t number, uint32_t flags, int64_t *result)
{
    calc c = {.flags = flags, .initial = number, .operand = number, .combine = combine_max};
    return run(tree, key, &c, result);
}

int kvi_incr_double(kv_tree *tree, kvi_slice key, double delta, double initial, uint32_t flags,
                    double *result)
{
    double_calc d = {.common.flags = flags, .initial = initial, .operand = delta};
    d.common.err = &tree->txn->db->err;
    if (!kvi_double_finite(delta) || !kvi_double_finite(initial))
        return kvi_fail(d.common.err, KV_EINVAL, "an infinite number, or none, cannot be added");
    int rc = kvi_update(tree, key, decide_double, &d);
    if (rc == KV_OK && d.common.outcome == KV_OK && result)
        *result = d.result;
    return rc == KV_OK ? d.common.outcome : rc;
}
