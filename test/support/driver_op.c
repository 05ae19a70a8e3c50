/* driver_op.c - see driver_op.h. */
#include "driver_op.h"
#include <stdio.h>
#include <stdlib.h>

#define KEY_LONG 16384
#define COUNTERS 6 /* keys that hold numbers, mostly */

/* ---- building ---- */

kv_slice driver_copy_of(kvi_slice slice)
{
    uint8_t *copy = malloc(slice.len + 1);
    if (!copy)
        abort();
    if (slice.len)
        memcpy(copy, slice.ptr, slice.len);
    return (kv_slice){copy, slice.len};
}

static const uint32_t kinds[] = {
    KV_OP_PUT,    KV_OP_PUT,         KV_OP_DEL,    KV_OP_INCR,      KV_OP_INCR,    KV_OP_MIN,
    KV_OP_MAX,    KV_OP_INCR_DOUBLE, KV_OP_AND,    KV_OP_OR,        KV_OP_XOR,     KV_OP_APPEND,
    KV_OP_APPEND, KV_OP_UPDATE,      KV_OP_UPDATE, KV_OP_POP_FIRST, KV_OP_POP_LAST};

static bool is_number(uint32_t kind)
{
    return kind >= KV_OP_INCR && kind <= KV_OP_MAX;
}

static bool is_expiry(uint32_t kind)
{
    return kind >= KV_OP_EXPIRE && kind <= KV_OP_TOUCH;
}

/* Counters of each form, and now and then a key of another kind; of what is to expire, one that is
 * there, mostly. */
static kv_slice pick_key(driver *d, const kv_op *op)
{
    static uint8_t room[KEY_LONG];
    const model_tree *tree = model_tree_of(d->m->now, kvi_slice_of(op->tree.ptr, op->tree.len));
    kvi_slice there;
    if (is_expiry(op->kind) && tree && tree->sum.entries && !rng_one_in(&d->r, 8) &&
        model_nth(tree, rng_below(&d->r, tree->sum.entries), &there, NULL))
        return driver_copy_of(there);
    if (!is_number(op->kind) || rng_one_in(&d->r, 12))
        return driver_copy_of(driver_pick_key(d, room));
    int len =
        snprintf((char *)room, 64, "count:%s%s:%u", op->kind == KV_OP_INCR_DOUBLE ? "real" : "int",
                 op->flags & KV_NUMBER_TEXT ? ":text" : "", (unsigned)rng_below(&d->r, COUNTERS));
    return driver_copy_of(kvi_slice_of(room, (size_t)len));
}

static uint32_t pick_flags(driver *d, uint32_t kind)
{
    static const uint32_t conditions[] = {KV_PUT_ABSENT, KV_PUT_PRESENT, KV_PUT_EQUALS};
    if (kind == KV_OP_PUT)
        return conditions[rng_below(&d->r, 3)];
    if (kind == KV_OP_DEL)
        return conditions[1 + rng_below(&d->r, 2)];
    if (!is_number(kind))
        return 0;
    return (rng_one_in(&d->r, 2) ? KV_NUMBER_TEXT : 0) |
           (rng_one_in(&d->r, 8) ? KV_PUT_PRESENT : 0);
}

static int64_t pick_number(driver *d)
{
    int64_t small = (int64_t)rng_below(&d->r, 2001) - 1000;
    return rng_one_in(&d->r, 10) ? (small < 0 ? INT64_MIN : INT64_MAX) - small : small;
}

/* A tail of the value, nothing, a longer one, or the caller's error, depending on its length. */
static int update(void *context, const kv_slice *old, kv_slice *value)
{
    static uint8_t room[2000];
    uint64_t turn = *(const uint64_t *)context + (old ? old->len : 7);
    switch (turn % 5) {
    case 0:
        return KV_UPDATE_REMOVE;
    case 1:
        return KV_UPDATE_KEEP;
    case 2:
        return old && old->len ? DRIVER_UPDATE_FAILS : KV_UPDATE_KEEP;
    case 3:
        if (old && old->len) {
            *value = (kv_slice){(const uint8_t *)old->ptr + old->len / 2, old->len - old->len / 2};
            return KV_UPDATE_STORE;
        }
        /* fall through */
    default:
        memset(room, (int)turn, sizeof room);
        *value = (kv_slice){room, turn % sizeof room};
        return KV_UPDATE_STORE;
    }
}

static void pick_operands(driver *d, kv_op *op)
{
    static uint64_t turns[16];
    if (op->kind == KV_OP_INCR_DOUBLE) {
        op->real = (double)pick_number(d) / 8 * (rng_one_in(&d->r, 10) ? 1e289 : 1);
        op->initial_real = (double)rng_below(&d->r, 3) / 10;
    } else if (is_number(op->kind)) {
        op->number = pick_number(d);
        op->initial = op->kind == KV_OP_INCR ? pick_number(d) : 0;
    } else if (op->kind == KV_OP_APPEND) {
        op->limit = rng_one_in(&d->r, 3) ? rng_between(&d->r, 1, 2 * d->shape.value_max + 1) : 0;
    } else if (op->kind == KV_OP_UPDATE) {
        uint64_t turn = rng_below(&d->r, 16);
        turns[turn] = turn;
        op->update = update;
        op->context = &turns[turn];
    }
}

/* The value that the key has, more often than not, so that conditions hold. */
static kv_slice pick_expected(driver *d, const kv_op *op)
{
    kvi_slice value = driver_pick_value(d);
    const model_tree *tree = model_tree_of(d->m->now, kvi_slice_of(op->tree.ptr, op->tree.len));
    if (tree && !rng_one_in(&d->r, 4))
        model_get(tree, kvi_slice_of(op->key.ptr, op->key.len), &value);
    return driver_copy_of(value);
}

static void pick_range(driver *d, kv_op *op)
{
    static uint8_t room[KEY_LONG];
    if (rng_one_in(&d->r, 2)) {
        op->flags = KV_OP_PREFIX;
        op->key.len = KVI_MIN(op->key.len, rng_below(&d->r, 4));
    } else if (rng_one_in(&d->r, 2)) {
        op->end = driver_copy_of(driver_pick_key(d, room));
    }
}

void driver_op_expiry(driver *d, kv_op *op)
{
    op->ttl_ms = rng_between(&d->r, 1, rng_one_in(&d->r, 8) ? 2 : 4000);
    if (op->kind == KV_OP_PUT && rng_one_in(&d->r, 4))
        op->flags |= KV_PUT_KEEP_EXPIRY;
    if (op->kind == KV_OP_TOUCH || !rng_one_in(&d->r, 3))
        return;
    op->expires_at = d->m->clock + op->ttl_ms - rng_below(&d->r, 3);
    op->ttl_ms = 0;
}

static uint32_t pick_kind(driver *d)
{
    if (d->shape.expiry && rng_one_in(&d->r, 5))
        return (uint32_t)rng_between(&d->r, KV_OP_EXPIRE, KV_OP_TOUCH);
    return kinds[rng_below(&d->r, KVI_COUNT(kinds))];
}

static void pick_expiry(driver *d, kv_op *op)
{
    if (op->kind == KV_OP_EXPIRE || op->kind == KV_OP_TOUCH ||
        (op->kind == KV_OP_PUT && d->shape.expiry && rng_one_in(&d->r, 2)))
        driver_op_expiry(d, op);
    if (op->kind != KV_OP_TOUCH)
        return;
    const model_tree *tree = model_tree_of(d->m->now, kvi_slice_of(op->tree.ptr, op->tree.len));
    uint64_t had = tree ? model_expiry(tree, kvi_slice_of(op->key.ptr, op->key.len)) : 0;
    uint64_t gain = d->m->clock + op->ttl_ms - had; /* or none */
    op->min_gain_ms = rng_one_in(&d->r, 2) ? gain + rng_below(&d->r, 2) : rng_below(&d->r, 1000);
}

void driver_op_build(driver *d, kvi_slice tree, kv_op *op)
{
    uint32_t kind = pick_kind(d);
    *op = (kv_op){.kind = kind, .flags = pick_flags(d, kind), .tree = driver_copy_of(tree)};
    op->key = pick_key(d, op);
    pick_operands(d, op);
    pick_expiry(d, op);
    op->value = op->kind == KV_OP_DEL ? pick_expected(d, op) : driver_copy_of(driver_pick_value(d));
    if (op->kind == KV_OP_PUT && op->flags & KV_PUT_EQUALS)
        op->end = pick_expected(d, op);
    if (op->kind == KV_OP_POP_FIRST || op->kind == KV_OP_POP_LAST)
        pick_range(d, op);
}

void driver_op_free(kv_op *op)
{
    free((void *)(uintptr_t)op->tree.ptr);
    free((void *)(uintptr_t)op->key.ptr);
    free((void *)(uintptr_t)op->value.ptr);
    free((void *)(uintptr_t)op->end.ptr);
}

/* ---- single calls ---- */

/* One of the ways to say it; the same condition may be an option, or what to compare with. */
static int call_put(kv_tree *tree, const kv_op *op, bool other_way, kv_slice *old)
{
    kv_put_options options = {.size = sizeof options,
                              .flags = op->flags,
                              .old = old,
                              .ttl_ms = op->ttl_ms,
                              .expires_at = op->expires_at};
    bool lasting = !op->ttl_ms && !op->expires_at && !(op->flags & KV_PUT_KEEP_EXPIRY);
    if (op->flags & KV_PUT_EQUALS)
        options.equals = op->end;
    if (!other_way || !lasting || !(op->flags & (KV_PUT_ABSENT | KV_PUT_EQUALS)))
        return kv_put_with(tree, op->key.ptr, op->key.len, op->value.ptr, op->value.len, &options);
    return kv_cas(tree, op->key.ptr, op->key.len, op->flags & KV_PUT_EQUALS ? &op->end : NULL,
                  &op->value, old);
}

static int call_pop(kv_tree *tree, const kv_op *op, kv_op_result *result)
{
    bool prefix = op->flags & KV_OP_PREFIX;
    kv_range range = {.size = sizeof range};
    kv_pair entry = {{NULL, 0}, {NULL, 0}};
    *(prefix ? &range.prefix : &range.from) = op->key.ptr;
    *(prefix ? &range.prefix_len : &range.from_len) = op->key.len;
    range.to = op->end.ptr;
    range.to_len = op->end.len;
    int rc = op->kind == KV_OP_POP_FIRST ? kv_pop_first(tree, &range, &entry)
                                         : kv_pop_last(tree, &range, &entry);
    result->key = entry.key;
    result->value = entry.value;
    return rc;
}

int driver_op_call(kv_tree *tree, const kv_op *op, bool other_way, kv_op_result *result)
{
    const void *key = op->key.ptr;
    size_t len = op->key.len;
    switch (op->kind) {
    case KV_OP_PUT:
        return call_put(tree, op, other_way, &result->value);
    case KV_OP_DEL:
        if (op->flags & KV_PUT_EQUALS)
            return kv_cas(tree, key, len, &op->value, NULL, &result->value);
        return kv_take(tree, key, len, &result->value);
    case KV_OP_INCR:
        return kv_incr(tree, key, len, op->number, op->initial, op->flags, &result->number);
    case KV_OP_INCR_DOUBLE:
        return kv_incr_double(tree, key, len, op->real, op->initial_real, op->flags, &result->real);
    case KV_OP_MIN:
        return kv_put_min(tree, key, len, op->number, op->flags, &result->number);
    case KV_OP_MAX:
        return kv_put_max(tree, key, len, op->number, op->flags, &result->number);
    case KV_OP_APPEND:
        return kv_append(tree, key, len, op->value.ptr, op->value.len, op->limit, &result->length);
    case KV_OP_UPDATE:
        return kv_update(tree, key, len, op->update, op->context);
    case KV_OP_POP_FIRST:
    case KV_OP_POP_LAST:
        return call_pop(tree, op, result);
    case KV_OP_EXPIRE:
        return op->ttl_ms ? kv_expire(tree, key, len, op->ttl_ms)
                          : kv_expire_at(tree, key, len, op->expires_at);
    case KV_OP_PERSIST:
        return kv_persist(tree, key, len);
    case KV_OP_TOUCH:
        return kv_touch(tree, key, len, op->ttl_ms, op->min_gain_ms);
    default:
        return kv_bits(tree, key, len, (enum kv_bits)(op->kind - KV_OP_AND + KV_BITS_AND),
                       op->value.ptr, op->value.len);
    }
}

static bool fail(driver *d, int rc, const char *what)
{
    d->failure = rc;
    d->what = what;
    return false;
}

bool driver_op_step(driver *d, kv_tree *tree, kvi_slice name)
{
    kv_op op;
    kv_op_result result = {0};
    model_answer answer = {0};
    model_state *before = model_keep(d->m);
    driver_op_build(d, name, &op);
    int rc = driver_op_call(tree, &op, rng_one_in(&d->r, 2), &result);
    int expect = model_op(d->m, &op, SIZE_MAX, &answer);
    op.result = &result;
    bool fine = true;
    if (rc != expect) {
        model_restore(d->m, before); /* an error changes nothing */
        fine = fail(d, rc, "an operation: another outcome");
    } else if (rc >= 0 && rc != KV_NOTFOUND && !model_answer_agrees(&op, &answer)) {
        fine = fail(d, 0, "an operation: another answer");
    }
    model_release(before);
    model_answer_free(&answer);
    driver_op_free(&op);
    return fine;
}
