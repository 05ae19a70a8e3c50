/* model_op.c - see model_op.h. Numbers are read by regular expressions and the C library. */
#include "model_op.h"
#include "multi_steps.h"
#include <float.h>
#include <math.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

static kvi_slice slice_in(kv_slice slice)
{
    return kvi_slice_of(slice.ptr, slice.len);
}

/* ---- answers ---- */

static kv_slice copy_of(kvi_slice bytes)
{
    uint8_t *copy = malloc(bytes.len + 1);
    if (!copy)
        abort();
    if (bytes.len)
        memcpy(copy, bytes.ptr, bytes.len);
    return (kv_slice){copy, bytes.len};
}

void model_answer_free(model_answer *answer)
{
    free((void *)(uintptr_t)answer->is.key.ptr);
    free((void *)(uintptr_t)answer->is.value.ptr);
    answer->is = (kv_op_result){0};
}

static bool same(kv_slice a, kv_slice b)
{
    return !a.ptr == !b.ptr && kvi_slice_compare(slice_in(a), slice_in(b)) == 0;
}

bool model_answer_agrees(const kv_op *op, const model_answer *answer)
{
    const kv_op_result *found = op->result, *want = &answer->is;
    if (!found)
        return true;
    switch (op->kind) {
    case KV_OP_PUT:
    case KV_OP_DEL:
        return same(found->value, want->value);
    case KV_OP_POP_FIRST:
    case KV_OP_POP_LAST:
        return same(found->key, want->key) && same(found->value, want->value);
    case KV_OP_APPEND:
        return found->length == want->length;
    case KV_OP_INCR_DOUBLE:
        return found->real == want->real;
    default:
        return found->number == want->number;
    }
}

/* ---- numbers ---- */

/* The text, if the whole of it looks like the pattern. */
static bool text_like(kvi_slice bytes, const char *pattern, char text[65])
{
    regex_t compiled;
    if (bytes.len > 64 || memchr(bytes.ptr, 0, bytes.len))
        return false;
    memcpy(text, bytes.ptr, bytes.len);
    text[bytes.len] = 0;
    if (regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB) != 0)
        abort();
    bool like = regexec(&compiled, text, 0, NULL, 0) == 0;
    regfree(&compiled);
    return like;
}

static bool read_int(kvi_slice bytes, bool as_text, int64_t *number)
{
    char text[65], again[32];
    if (!as_text) {
        memcpy(number, bytes.ptr, bytes.len == 8 ? 8 : 0);
        return bytes.len == 8;
    }
    if (!text_like(bytes, "^-?[0-9]+$", text))
        return false;
    *number = strtoll(text, NULL, 10);
    snprintf(again, sizeof again, "%lld", (long long)*number);
    return strcmp(text, again) == 0;
}

static bool read_double(kvi_slice bytes, bool as_text, double *number)
{
    char text[65];
    if (!as_text)
        memcpy(number, bytes.ptr, bytes.len == 8 ? 8 : 0);
    else if (text_like(bytes, "^-?(0|[1-9][0-9]*)(\\.[0-9]+)?(e[-+]?[0-9]+)?$", text))
        *number = strtod(text, NULL);
    else
        return false;
    return (as_text || bytes.len == 8) && isfinite(*number);
}

static kvi_slice write_int(int64_t number, bool as_text, char room[64])
{
    memcpy(room, &number, 8);
    int len = as_text ? snprintf(room, 64, "%lld", (long long)number) : 8;
    return kvi_slice_of(room, (size_t)len);
}

static kvi_slice write_double(double number, bool as_text, char room[64])
{
    memcpy(room, &number, 8);
    int len = 8;
    /* 120, not 1.2e+02: with 15 digits at least, where there are so many */
    for (int digits = fabs(number) < DBL_MIN ? 1 : 15; as_text && digits <= 17; digits++) {
        len = snprintf(room, 64, "%.*g", digits, number);
        if (strtod(room, NULL) == number)
            break;
    }
    return kvi_slice_of(room, (size_t)len);
}

/* A value that was changed, and not given whole, keeps the expiry. */
static void model_edit(model *m, const kv_op *op, kvi_slice value)
{
    kvi_slice name = slice_in(op->tree), key = slice_in(op->key);
    model_put_until(m, name, key, value, model_expiry(model_tree_of(m->now, name), key));
}

static int int_op(model *m, const kv_op *op, const kvi_slice *old, int64_t *result)
{
    bool as_text = op->flags & KV_NUMBER_TEXT;
    int64_t now = op->kind == KV_OP_INCR ? op->initial : op->number;
    char room[64];
    if (old && !read_int(*old, as_text, &now))
        return KV_ENOTNUMBER;
    __int128 sum = (__int128)now + op->number;
    if (op->kind == KV_OP_INCR && (sum > INT64_MAX || sum < INT64_MIN))
        return KV_EOVERFLOW;
    *result = op->kind == KV_OP_INCR  ? (int64_t)sum
              : op->kind == KV_OP_MIN ? KVI_MIN(now, op->number)
                                      : KVI_MAX(now, op->number);
    model_edit(m, op, write_int(*result, as_text, room));
    return KV_OK;
}

static int double_op(model *m, const kv_op *op, const kvi_slice *old, double *result)
{
    bool as_text = op->flags & KV_NUMBER_TEXT;
    double now = op->initial_real;
    char room[64];
    if (old && !read_double(*old, as_text, &now))
        return KV_ENOTNUMBER;
    *result = now + op->real;
    if (!isfinite(*result))
        return KV_EOVERFLOW;
    if (!old || *result != now) /* 1.0 stays as it was written when nothing is added */
        model_edit(m, op, write_double(*result, as_text, room));
    return KV_OK;
}

/* ---- bytes ---- */

static int append_op(model *m, const kv_op *op, const kvi_slice *old, uint64_t *length)
{
    size_t had = old ? old->len : 0, len = had + op->value.len;
    if (op->limit && len > op->limit)
        return KV_ETOOBIG;
    uint8_t *value = malloc(len + 1);
    if (had)
        memcpy(value, old->ptr, had);
    if (op->value.len)
        memcpy(value + had, op->value.ptr, op->value.len);
    model_edit(m, op, kvi_slice_of(value, len));
    free(value);
    *length = len;
    return KV_OK;
}

static uint8_t byte_at(kvi_slice bytes, size_t i)
{
    return i < bytes.len ? bytes.ptr[i] : 0;
}

static int bits_op(model *m, const kv_op *op, const kvi_slice *old)
{
    kvi_slice a = old ? *old : (kvi_slice){0}, b = slice_in(op->value);
    size_t len = KVI_MAX(a.len, b.len);
    uint8_t *value = malloc(len + 1);
    for (size_t i = 0; i < len; i++) {
        uint8_t x = byte_at(a, i), y = byte_at(b, i);
        value[i] = op->kind == KV_OP_AND ? x & y : op->kind == KV_OP_OR ? x | y : x ^ y;
    }
    model_edit(m, op, kvi_slice_of(value, len));
    free(value);
    return KV_OK;
}

static int update_op(model *m, const kv_op *op, const kvi_slice *old)
{
    kv_slice present = {old ? old->ptr : NULL, old ? old->len : 0}, value = {NULL, 0};
    int verdict = op->update(op->context, old ? &present : NULL, &value);
    if (verdict == KV_UPDATE_STORE) {
        kv_slice copy = copy_of(slice_in(value)); /* it may be a part of the old one */
        model_edit(m, op, slice_in(copy));
        free((void *)(uintptr_t)copy.ptr);
    } else if (verdict == KV_UPDATE_REMOVE && old) {
        model_del(m, slice_in(op->tree), slice_in(op->key));
    }
    return verdict < 0 ? verdict : KV_OK;
}

/* ---- expiry ---- */

/* When it is to expire; 0: never. */
static uint64_t expiry_of(const model *m, const kv_op *op)
{
    return op->ttl_ms ? m->clock + op->ttl_ms : op->expires_at;
}

/* Stores a value that may be a part of the old one, and may have expired by now. */
static int store_until(model *m, const kv_op *op, kvi_slice value, uint64_t expiry)
{
    kv_slice copy = copy_of(value);
    model_put_until(m, slice_in(op->tree), slice_in(op->key), slice_in(copy), expiry);
    model_expire(m, m->clock);
    free((void *)(uintptr_t)copy.ptr);
    return KV_OK;
}

static int put_op(model *m, const kv_op *op, const kvi_slice *old, uint64_t had)
{
    bool keep = old && op->flags & KV_PUT_KEEP_EXPIRY;
    return store_until(m, op, slice_in(op->value), keep ? had : expiry_of(m, op));
}

/* EXPIRE, PERSIST, TOUCH */
static int expiry_op(model *m, const kv_op *op, const kvi_slice *old, uint64_t had)
{
    uint64_t expiry = expiry_of(m, op);
    if (!old)
        return KV_NOTFOUND;
    if (op->kind == KV_OP_TOUCH && (had == 0 || expiry < had || expiry - had < op->min_gain_ms))
        return KV_OK;
    return store_until(m, op, *old, expiry);
}

/* ---- multi-value trees ---- */

static int multi_op(model *m, const kv_op *op, size_t key_max, model_answer *answer)
{
    kvi_slice name = slice_in(op->tree), key = slice_in(op->key);
    bool content = op->kind != KV_OP_MULTI_PUT && !(op->flags & KV_PUT_PRESENT);
    if (!model_tree_of(m->now, name))
        return content ? KV_OK : KV_NOTFOUND;
    if (op->kind == KV_OP_MULTI_DEL_KEY) {
        answer->deleted += multi_del_key(m, key);
        return KV_OK;
    }
    kvi_slice pair = multi_pair(key, slice_in(op->value));
    if (pair.len > key_max)
        return KV_ETOOBIG;
    bool present = model_get(model_tree_of(m->now, name), pair, NULL);
    if (op->kind == KV_OP_MULTI_PUT) {
        model_put(m, name, pair, (kvi_slice){NULL, 0});
        return present && op->flags & KV_PUT_ABSENT ? KV_EXISTS : KV_OK;
    }
    answer->deleted += model_del(m, name, pair);
    return present || content ? KV_OK : KV_NOTFOUND;
}

/* ---- ranges ---- */

static uint64_t del_prefix(model *m, kvi_slice name, kvi_slice prefix)
{
    uint64_t n = 0, first = model_rank(model_tree_of(m->now, name), prefix);
    kvi_slice key;
    while (model_nth(model_tree_of(m->now, name), first, &key, NULL) && key.len >= prefix.len &&
           kvi_slice_compare((kvi_slice){key.ptr, prefix.len}, prefix) == 0)
        n += model_del(m, name, key);
    return n;
}

static bool in_pop_range(const kv_op *op, kvi_slice key)
{
    kvi_slice from = slice_in(op->key);
    if (op->flags & KV_OP_PREFIX)
        return !from.ptr || (key.len >= from.len &&
                             kvi_slice_compare((kvi_slice){key.ptr, from.len}, from) == 0);
    return (!from.ptr || kvi_slice_compare(key, from) >= 0) &&
           (!op->end.ptr || kvi_slice_compare(key, slice_in(op->end)) < 0);
}

/* The plainest way: the first entry of all that fits, or the last. */
static int pop_op(model *m, const kv_op *op, model_answer *answer)
{
    kvi_slice name = slice_in(op->tree), key, value;
    const model_tree *tree = model_tree_of(m->now, name);
    uint64_t n = tree->sum.entries;
    for (uint64_t i = 0; i < n; i++) {
        model_nth(tree, op->kind == KV_OP_POP_FIRST ? i : n - 1 - i, &key, &value);
        if (!in_pop_range(op, key))
            continue;
        answer->is.key = copy_of(key);
        answer->is.value = copy_of(value);
        model_del(m, name, slice_in(answer->is.key));
        answer->deleted++;
        return KV_OK;
    }
    return KV_NOTFOUND;
}

/* ---- one key ---- */

static int condition(const kv_op *op, const kvi_slice *old)
{
    kv_slice equals = op->kind == KV_OP_PUT ? op->end : op->value;
    if (op->flags & KV_PUT_ABSENT && old)
        return KV_EXISTS;
    if (op->flags & (KV_PUT_PRESENT | KV_PUT_EQUALS) && !old)
        return KV_NOTFOUND;
    if (op->flags & KV_PUT_EQUALS && kvi_slice_compare(*old, slice_in(equals)) != 0)
        return KV_MISMATCH;
    return KV_OK;
}

static int key_op(model *m, const kv_op *op, const kvi_slice *old, model_answer *answer)
{
    kvi_slice name = slice_in(op->tree), key = slice_in(op->key);
    uint64_t had = model_expiry(model_tree_of(m->now, name), key);
    if (old)
        answer->is.value = copy_of(*old);
    int rc = condition(op, old);
    if (rc != KV_OK)
        return rc;
    switch (op->kind) {
    case KV_OP_PUT:
        return put_op(m, op, old, had);
    case KV_OP_EXPIRE:
    case KV_OP_PERSIST:
    case KV_OP_TOUCH:
        return expiry_op(m, op, old, had);
    case KV_OP_DEL:
        answer->deleted += model_del(m, name, key);
        return KV_OK;
    case KV_OP_INCR_DOUBLE:
        return double_op(m, op, old, &answer->is.real);
    case KV_OP_APPEND:
        return append_op(m, op, old, &answer->is.length);
    case KV_OP_AND:
    case KV_OP_OR:
    case KV_OP_XOR:
        return bits_op(m, op, old);
    case KV_OP_UPDATE:
        return update_op(m, op, old);
    default:
        return int_op(m, op, old, &answer->is.number);
    }
}

static int check_op(const kv_op *op, const kvi_slice *old)
{
    if (op->kind == KV_OP_CHECK_ABSENT)
        return old ? KV_EXISTS : KV_OK;
    if (!old)
        return KV_NOTFOUND;
    return op->kind == KV_OP_CHECK_PRESENT || kvi_slice_compare(*old, slice_in(op->value)) == 0
               ? KV_OK
               : KV_MISMATCH;
}

/* Is there room for the bytes of the answer? */
static int answer_fits(const kv_op *op, const model_answer *answer, int rc)
{
    bool bytes = op->kind == KV_OP_PUT || op->kind == KV_OP_DEL || op->kind == KV_OP_POP_FIRST ||
                 op->kind == KV_OP_POP_LAST;
    size_t needed = answer->is.key.len + answer->is.value.len;
    return rc == KV_OK && bytes && op->result && op->result->room_size < needed ? KV_ETOOBIG : rc;
}

int model_op(model *m, const kv_op *op, size_t key_max, model_answer *answer)
{
    kvi_slice name = slice_in(op->tree), key = slice_in(op->key), end = slice_in(op->end), found;
    uint64_t deleted = answer->deleted;
    model_answer_free(answer);
    answer->deleted = deleted;
    if (op->flags & KV_OP_CREATE_TREE && name.len)
        model_tree_create(m, name);
    const model_tree *tree = model_tree_of(m->now, name);
    const kvi_slice *old = tree && model_get(tree, key, &found) ? &found : NULL;
    switch (op->kind) {
    case KV_OP_DEL_RANGE:
        answer->deleted += tree ? model_del_range(m, name, key, &end) : 0;
        return KV_OK;
    case KV_OP_DEL_PREFIX:
        answer->deleted += tree ? del_prefix(m, name, key) : 0;
        return KV_OK;
    case KV_OP_CHECK_ABSENT:
    case KV_OP_CHECK_PRESENT:
    case KV_OP_CHECK_VALUE:
        return check_op(op, old);
    case KV_OP_POP_FIRST:
    case KV_OP_POP_LAST:
        return tree ? answer_fits(op, answer, pop_op(m, op, answer)) : KV_NOTFOUND;
    case KV_OP_MULTI_PUT:
    case KV_OP_MULTI_DEL:
    case KV_OP_MULTI_DEL_KEY:
        return multi_op(m, op, key_max, answer);
    default:
        if (!tree)
            return op->kind == KV_OP_DEL && !op->flags ? KV_OK : KV_NOTFOUND;
        if (key.len > key_max)
            return KV_ETOOBIG;
        return answer_fits(op, answer, key_op(m, op, old, answer));
    }
}
