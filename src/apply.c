/* apply.c - see apply.h. */
#include "apply.h"
#include "catalog.h"
#include "ops.h"
#include "range.h"

static kvi_slice slice_in(kv_slice slice)
{
    return kvi_slice_of(slice.ptr, slice.len);
}

/* ---- the kinds; a tree that is missing has no keys, which is why each may answer KV_NOTFOUND ---- */

static int apply_put(kv_tree *tree, const kv_op *op, uint64_t *deleted)
{
    (void)deleted;
    return kvi_put(tree, slice_in(op->key), slice_in(op->value),
                   op->flags & (KV_PUT_ABSENT | KV_PUT_PRESENT), NULL);
}

static int apply_del(kv_tree *tree, const kv_op *op, uint64_t *deleted)
{
    int rc = kvi_del(tree, slice_in(op->key));
    *deleted += rc == KV_OK;
    return rc;
}

static int range_del(kv_tree *tree, const kv_range *from, uint64_t *deleted)
{
    kvi_range range;
    uint64_t n = 0;
    int rc = kvi_range_init(&range, tree, from);
    if (rc != KV_OK)
        return rc;
    rc = kvi_range_del(tree, &range, &n);
    kvi_range_done(&range, tree);
    *deleted += n;
    return rc;
}

static int apply_del_range(kv_tree *tree, const kv_op *op, uint64_t *deleted)
{
    kv_range range = {.size = sizeof range,
                      .from = op->key.ptr,
                      .from_len = op->key.len,
                      .to = op->end.ptr,
                      .to_len = op->end.len};
    return range_del(tree, &range, deleted);
}

static int apply_del_prefix(kv_tree *tree, const kv_op *op, uint64_t *deleted)
{
    kv_range range = {.size = sizeof range, .prefix = op->key.ptr, .prefix_len = op->key.len};
    return range_del(tree, &range, deleted);
}

static int apply_check_absent(kv_tree *tree, const kv_op *op, uint64_t *deleted)
{
    (void)deleted;
    int rc = kvi_get(tree, slice_in(op->key), NULL);
    return rc == KV_OK ? KV_EXISTS : rc;
}

static int apply_check_present(kv_tree *tree, const kv_op *op, uint64_t *deleted)
{
    (void)deleted;
    return kvi_get(tree, slice_in(op->key), NULL);
}

static int apply_check_value(kv_tree *tree, const kv_op *op, uint64_t *deleted)
{
    kv_slice value;
    (void)deleted;
    int rc = kvi_get(tree, slice_in(op->key), &value);
    if (rc != KV_OK)
        return rc;
    return kvi_slice_compare(slice_in(value), slice_in(op->value)) == 0 ? KV_OK : KV_MISMATCH;
}

static const struct apply_kind {
    int (*run)(kv_tree *tree, const kv_op *op, uint64_t *deleted);
    uint32_t flags;  /* that it knows */
    bool needs_none; /* is content when the key or tree is missing, unless KV_PUT_PRESENT */
} kinds[] = {
    [KV_OP_PUT] = {apply_put, KV_PUT_ABSENT | KV_PUT_PRESENT | KV_OP_CREATE_TREE, false},
    [KV_OP_DEL] = {apply_del, KV_PUT_PRESENT, true},
    [KV_OP_DEL_RANGE] = {apply_del_range, 0, true},
    [KV_OP_DEL_PREFIX] = {apply_del_prefix, 0, true},
    [KV_OP_CHECK_ABSENT] = {apply_check_absent, 0, true},
    [KV_OP_CHECK_PRESENT] = {apply_check_present, 0, false},
    [KV_OP_CHECK_VALUE] = {apply_check_value, 0, false},
};

/* ---- any kind ---- */

static bool slice_valid(kv_slice slice)
{
    return slice.ptr || slice.len == 0;
}

bool kvi_apply_valid(const kv_op *op)
{
    const uint32_t both = KV_PUT_ABSENT | KV_PUT_PRESENT;
    if (op->kind >= KVI_COUNT(kinds) || !kinds[op->kind].run ||
        (op->flags & ~kinds[op->kind].flags) || (op->flags & both) == both)
        return false;
    for (size_t i = 0; i < KVI_COUNT(op->reserved); i++)
        if (op->reserved[i] != 0)
            return false;
    return slice_valid(op->tree) && slice_valid(op->key) && slice_valid(op->value) &&
           slice_valid(op->end);
}

static int tree_of(kv_txn *txn, const kv_op *op, kv_tree **tree)
{
    uint32_t most = kvi_key_max(txn->db->file.page_size);
    *tree = &txn->main;
    if (op->tree.len == 0)
        return KV_OK;
    if (op->tree.len > most)
        return kvi_fail(&txn->db->err, KV_ETOOBIG, "the tree's name has %zu bytes; the limit is %u",
                        op->tree.len, most);
    return kvi_catalog_open(txn, slice_in(op->tree),
                            op->flags & KV_OP_CREATE_TREE ? KV_TREE_CREATE : 0, NULL, tree);
}

int kvi_apply(kv_txn *txn, const kv_op *op, uint64_t *deleted)
{
    const struct apply_kind *kind = &kinds[op->kind];
    kv_tree *tree;
    int rc = tree_of(txn, op, &tree);
    if (rc == KV_OK)
        rc = kind->run(tree, op, deleted);
    bool content = kind->needs_none && !(op->flags & KV_PUT_PRESENT);
    return rc == KV_NOTFOUND && content ? KV_OK : rc;
}
