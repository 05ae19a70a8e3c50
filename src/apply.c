/* apply.c - see apply.h. */
#include "apply.h"
#include "calc.h"
#include "catalog.h"
#include "edit.h"
#include "multi.h"
#include "pop.h"
#include "range.h"
#include "swap.h"

static kvi_slice slice_in(kv_slice slice)
{
    return kvi_slice_of(slice.ptr, slice.len);
}

/* ---- what operations answer ---- */

static const kv_slice none = {NULL, 0};

/* Appends to the bytes of an answer; no bytes stay NULL, zero bytes do not. */
static kv_slice answer_copy(uint8_t **at, kv_slice bytes)
{
    if (!bytes.ptr)
        return bytes;
    kv_slice copy = {*at ? *at : (const uint8_t *)"", bytes.len};
    if (bytes.len) {
        memcpy(*at, bytes.ptr, bytes.len);
        *at += bytes.len;
    }
    return copy;
}

/* Hands key and value to the caller, who reads them when the transaction is over. */
static int answer(kv_txn *txn, const kv_op *op, kv_slice key, kv_slice value)
{
    kv_op_result *to = op->result;
    if (!to)
        return KV_OK;
    uint8_t *at = to->room;
    to->needed = key.len + value.len;
    if (to->needed > (at ? to->room_size : 0))
        return kvi_fail(&txn->db->err, KV_ETOOBIG,
                        "the answer has %zu bytes, there is room for %zu", to->needed,
                        to->room_size);
    to->key = answer_copy(&at, key);
    to->value = answer_copy(&at, value);
    return KV_OK;
}

/* ---- the kinds; a tree that is missing has no keys, which is why each may answer KV_NOTFOUND ---- */

static uint32_t put_flags(const kv_op *op)
{
    return op->flags & (KV_PUT_ABSENT | KV_PUT_PRESENT | KV_PUT_EQUALS);
}

static int apply_put(kv_tree *tree, const kv_op *op, uint64_t *deleted)
{
    kv_slice old = {NULL, 0};
    kv_put_options options = {.size = sizeof options,
                              .flags = op->flags & ~(uint32_t)KV_OP_CREATE_TREE,
                              .equals = op->end,
                              .old = op->result ? &old : NULL,
                              .ttl_ms = op->ttl_ms,
                              .expires_at = op->expires_at};
    (void)deleted;
    int rc = kvi_put_with(tree, slice_in(op->key), slice_in(op->value), &options);
    return rc == KV_OK ? answer(tree->txn, op, none, old) : rc;
}

static int apply_del(kv_tree *tree, const kv_op *op, uint64_t *deleted)
{
    kv_slice old = {NULL, 0};
    kvi_slice key = slice_in(op->key);
    int rc;
    if (op->flags & KV_PUT_EQUALS)
        rc = kvi_cas(tree, key, &op->value, NULL, &old);
    else if (op->result)
        rc = kvi_take(tree, key, &old);
    else
        rc = kvi_del(tree, key);
    *deleted += rc == KV_OK;
    return rc == KV_OK ? answer(tree->txn, op, none, old) : rc;
}

/* From key to end. */
static kv_range range_of(const kv_op *op)
{
    return (kv_range){.size = sizeof(kv_range),
                      .from = op->key.ptr,
                      .from_len = op->key.len,
                      .to = op->end.ptr,
                      .to_len = op->end.len};
}

static int range_del(kv_tree *tree, const kv_range *from, uint64_t *deleted)
{
    uint64_t n = 0;
    int rc = kvi_range_with(tree, from, &n, kvi_range_del);
    *deleted += n;
    return rc;
}

static int apply_del_range(kv_tree *tree, const kv_op *op, uint64_t *deleted)
{
    kv_range range = range_of(op);
    return range_del(tree, &range, deleted);
}

static int apply_del_prefix(kv_tree *tree, const kv_op *op, uint64_t *deleted)
{
    kv_range range = {.size = sizeof range, .prefix = op->key.ptr, .prefix_len = op->key.len};
    return range_del(tree, &range, deleted);
}

/* Has the key any value? In a multi-value tree it may have several. */
static int key_there(kv_tree *tree, kvi_slice key)
{
    uint64_t values = 0;
    if (!kvi_tree_multi(tree))
        return kvi_get(tree, key, NULL);
    int rc = kvi_multi_count(tree, key, &values);
    return rc == KV_OK && values == 0 ? KV_NOTFOUND : rc;
}

static int apply_check_absent(kv_tree *tree, const kv_op *op, uint64_t *deleted)
{
    (void)deleted;
    int rc = key_there(tree, slice_in(op->key));
    return rc == KV_OK ? KV_EXISTS : rc;
}

static int apply_check_present(kv_tree *tree, const kv_op *op, uint64_t *deleted)
{
    (void)deleted;
    return key_there(tree, slice_in(op->key));
}

static int check_pair(kv_tree *tree, const kv_op *op)
{
    int rc = kvi_multi_has(tree, slice_in(op->key), slice_in(op->value));
    if (rc != KV_NOTFOUND && rc != KV_ETOOBIG) /* a pair that is too long is not there */
        return rc;
    rc = key_there(tree, slice_in(op->key));
    return rc == KV_OK ? KV_MISMATCH : rc;
}

static int apply_check_value(kv_tree *tree, const kv_op *op, uint64_t *deleted)
{
    kv_slice value;
    (void)deleted;
    if (kvi_tree_multi(tree))
        return check_pair(tree, op);
    int rc = kvi_get(tree, slice_in(op->key), &value);
    if (rc != KV_OK)
        return rc;
    return kvi_slice_compare(slice_in(value), slice_in(op->value)) == 0 ? KV_OK : KV_MISMATCH;
}

static int apply_number(kv_tree *tree, const kv_op *op, uint64_t *deleted)
{
    kvi_slice key = slice_in(op->key);
    uint32_t flags = op->flags & (KV_PUT_PRESENT | KV_NUMBER_TEXT);
    int64_t *number = op->result ? &op->result->number : NULL;
    (void)deleted;
    switch (op->kind) {
    case KV_OP_INCR:
        return kvi_incr(tree, key, op->number, op->initial, flags, number);
    case KV_OP_INCR_DOUBLE:
        return kvi_incr_double(tree, key, op->real, op->initial_real, flags,
                               op->result ? &op->result->real : NULL);
    case KV_OP_MIN:
        return kvi_put_min(tree, key, op->number, flags, number);
    default:
        return kvi_put_max(tree, key, op->number, flags, number);
    }
}

static int apply_bits(kv_tree *tree, const kv_op *op, uint64_t *deleted)
{
    enum kv_bits how = (enum kv_bits)(op->kind - KV_OP_AND + KV_BITS_AND);
    (void)deleted;
    return kvi_bits(tree, slice_in(op->key), how, slice_in(op->value));
}

static int apply_append(kv_tree *tree, const kv_op *op, uint64_t *deleted)
{
    (void)deleted;
    return kvi_append(tree, slice_in(op->key), slice_in(op->value), op->limit,
                      op->result ? &op->result->length : NULL);
}

static int apply_update(kv_tree *tree, const kv_op *op, uint64_t *deleted)
{
    (void)deleted;
    return kvi_update(tree, slice_in(op->key), op->update, op->context);
}

static int apply_pop(kv_tree *tree, const kv_op *op, uint64_t *deleted)
{
    kv_range range = {.size = sizeof range};
    kvi_range bounds;
    kv_pair entry;
    if (op->flags & KV_OP_PREFIX) {
        range.prefix = op->key.ptr;
        range.prefix_len = op->key.len;
    } else {
        range = range_of(op);
    }
    int rc = kvi_range_init(&bounds, tree, &range);
    if (rc != KV_OK)
        return rc;
    rc = kvi_pop(tree, &bounds, op->kind == KV_OP_POP_LAST, &entry);
    kvi_range_done(&bounds, tree);
    *deleted += rc == KV_OK;
    return rc == KV_OK ? answer(tree->txn, op, entry.key, entry.value) : rc;
}

static int apply_multi_put(kv_tree *tree, const kv_op *op, uint64_t *deleted)
{
    (void)deleted;
    int rc = kvi_multi_usable(tree, true);
    if (rc == KV_OK)
        rc = kvi_multi_put(tree, slice_in(op->key), slice_in(op->value));
    return rc == KV_EXISTS && !(op->flags & KV_PUT_ABSENT) ? KV_OK : rc;
}

static int apply_multi_del(kv_tree *tree, const kv_op *op, uint64_t *deleted)
{
    int rc = kvi_multi_usable(tree, true);
    if (rc == KV_OK)
        rc = kvi_multi_del(tree, slice_in(op->key), slice_in(op->value));
    *deleted += rc == KV_OK;
    return rc;
}

static int apply_multi_del_key(kv_tree *tree, const kv_op *op, uint64_t *deleted)
{
    uint64_t n = 0;
    int rc = kvi_multi_usable(tree, true);
    if (rc == KV_OK)
        rc = kvi_multi_del_key(tree, slice_in(op->key), &n);
    *deleted += n;
    return rc;
}

static int apply_expiry(kv_tree *tree, const kv_op *op, uint64_t *deleted)
{
    kvi_slice key = slice_in(op->key);
    uint64_t expiry = op->ttl_ms ? kvi_expiry_in(tree->txn, op->ttl_ms) : op->expires_at;
    (void)deleted;
    return op->kind == KV_OP_TOUCH ? kvi_touch(tree, key, expiry, op->min_gain_ms)
                                   : kvi_expire(tree, key, expiry);
}

#define NUMBER_FLAGS (KV_PUT_PRESENT | KV_NUMBER_TEXT | KV_OP_CREATE_TREE)

static const struct apply_kind {
    int (*run)(kv_tree *tree, const kv_op *op, uint64_t *deleted);
    uint32_t flags;   /* that it knows */
    bool needs_none;  /* is content when the key or tree is missing, without a condition on it */
    bool answers;     /* may have a result */
    uint8_t operands; /* how many of number and initial, or what shares their place */
    uint8_t times;    /* how many of ttl_ms and expires_at, of which one is given; 3: may be */
} kinds[] = {
    [KV_OP_PUT] = {apply_put,
                   KV_PUT_ABSENT | KV_PUT_PRESENT | KV_PUT_EQUALS | KV_PUT_KEEP_EXPIRY |
                       KV_OP_CREATE_TREE,
                   false, true, 0, 3},
    [KV_OP_DEL] = {apply_del, KV_PUT_PRESENT | KV_PUT_EQUALS, true, true, 0, 0},
    [KV_OP_DEL_RANGE] = {apply_del_range, 0, true, false, 0, 0},
    [KV_OP_DEL_PREFIX] = {apply_del_prefix, 0, true, false, 0, 0},
    [KV_OP_CHECK_ABSENT] = {apply_check_absent, 0, true, false, 0, 0},
    [KV_OP_CHECK_PRESENT] = {apply_check_present, 0, false, false, 0, 0},
    [KV_OP_CHECK_VALUE] = {apply_check_value, 0, false, false, 0, 0},
    [KV_OP_INCR] = {apply_number, NUMBER_FLAGS, false, true, 2, 0},
    [KV_OP_INCR_DOUBLE] = {apply_number, NUMBER_FLAGS, false, true, 2, 0},
    [KV_OP_MIN] = {apply_number, NUMBER_FLAGS, false, true, 1, 0},
    [KV_OP_MAX] = {apply_number, NUMBER_FLAGS, false, true, 1, 0},
    [KV_OP_AND] = {apply_bits, KV_OP_CREATE_TREE, false, false, 0, 0},
    [KV_OP_OR] = {apply_bits, KV_OP_CREATE_TREE, false, false, 0, 0},
    [KV_OP_XOR] = {apply_bits, KV_OP_CREATE_TREE, false, false, 0, 0},
    [KV_OP_APPEND] = {apply_append, KV_OP_CREATE_TREE, false, true, 1, 0},
    [KV_OP_UPDATE] = {apply_update, KV_OP_CREATE_TREE, false, false, 2, 0},
    [KV_OP_POP_FIRST] = {apply_pop, KV_OP_PREFIX, false, true, 0, 0},
    [KV_OP_POP_LAST] = {apply_pop, KV_OP_PREFIX, false, true, 0, 0},
    [KV_OP_MULTI_PUT] = {apply_multi_put, KV_PUT_ABSENT | KV_OP_CREATE_TREE, false, false, 0, 0},
    [KV_OP_MULTI_DEL] = {apply_multi_del, KV_PUT_PRESENT, true, false, 0, 0},
    [KV_OP_MULTI_DEL_KEY] = {apply_multi_del_key, 0, true, false, 0, 0},
    [KV_OP_EXPIRE] = {apply_expiry, 0, false, false, 0, 2},
    [KV_OP_PERSIST] = {apply_expiry, 0, false, false, 0, 0},
    [KV_OP_TOUCH] = {apply_expiry, 0, false, false, 1, 1},
};

/* ---- any kind ---- */

static bool slice_valid(kv_slice slice)
{
    return kvi_bytes_valid(slice.ptr, slice.len);
}

static bool operands_valid(const kv_op *op)
{
    const struct apply_kind *kind = &kinds[op->kind];
    return (kind->operands >= 1 || op->number == 0) && (kind->operands >= 2 || op->initial == 0) &&
           (kind->answers || !op->result) && (op->kind != KV_OP_UPDATE || op->update);
}

static bool times_valid(const kv_op *op)
{
    uint8_t times = kinds[op->kind].times;
    if (times == 0 || times == 1)
        return op->expires_at == 0 && (op->ttl_ms != 0) == (times == 1);
    return !(op->ttl_ms && op->expires_at) && (times == 3 || op->ttl_ms || op->expires_at);
}

bool kvi_apply_valid(const kv_op *op)
{
    uint32_t condition = put_flags(op);
    if (op->kind >= KVI_COUNT(kinds) || !kinds[op->kind].run ||
        (op->flags & ~kinds[op->kind].flags) || (condition & (condition - 1)) ||
        !operands_valid(op) || !times_valid(op) || op->reserved[0] != 0)
        return false;
    return slice_valid(op->tree) && slice_valid(op->key) && slice_valid(op->value) &&
           slice_valid(op->end);
}

static int tree_of(kv_txn *txn, const kv_op *op, kv_tree **tree)
{
    uint32_t most = kvi_key_max(txn->db->file.page_size), flags = 0;
    *tree = &txn->main;
    if (op->tree.len == 0)
        return KV_OK;
    if (op->tree.len > most)
        return kvi_fail(&txn->db->err, KV_ETOOBIG, "the tree's name has %zu bytes; the limit is %u",
                        op->tree.len, most);
    if (op->flags & KV_OP_CREATE_TREE)
        flags = KV_TREE_CREATE | (op->kind == KV_OP_MULTI_PUT ? KV_TREE_MULTI : 0);
    return kvi_catalog_open(txn, slice_in(op->tree), flags, NULL, tree);
}

int kvi_apply(kv_txn *txn, const kv_op *op, uint64_t *deleted)
{
    const struct apply_kind *kind = &kinds[op->kind];
    kv_tree *tree;
    int rc = tree_of(txn, op, &tree);
    if (rc == KV_OK)
        rc = kind->run(tree, op, deleted);
    bool content = kind->needs_none && put_flags(op) == 0;
    if (rc != KV_NOTFOUND || !content)
        return rc;
    return kind->answers ? answer(txn, op, none, none) : KV_OK;
}
