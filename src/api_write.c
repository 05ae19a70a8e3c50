/* api_write.c - batches of declarative operations: arguments are checked here. */
#include "api.h"
#include "apply.h"
#include "queue.h"

/* Callers may know fewer members. */
static void result_put(kv_write_result *result, const kvi_member *member)
{
    kv_write_result found = {
        .size = result->size,
        .failed_op = member->failed_op,
        .commit_id = member->commit_id,
        .deleted = member->rc == KV_OK ? member->deleted : 0,
    };
    memcpy(result, &found, KVI_MIN(result->size, sizeof found));
}

static bool ops_valid(kvi_member *member)
{
    for (member->failed_op = 0; member->failed_op < member->n; member->failed_op++)
        if (!kvi_apply_valid(&member->ops[member->failed_op]))
            return false;
    return true;
}

KV_API int kv_db_write(kv_db *db, const kv_op *ops, size_t n, uint32_t flags,
                       kv_write_result *result)
{
    kvi_member member = {.ops = ops, .n = n};
    if (!db || (!ops && n) || (flags & ~KVI_DURABILITY_FLAGS) || !kvi_durability_valid(flags) ||
        (result && result->size < sizeof result->size + sizeof result->failed_op))
        return KV_EINVAL;
    if (!kvi_alive(db))
        return KV_EFORKED;
    int rc = KV_OK;
    if (!ops_valid(&member))
        rc = kvi_fail(&db->err, KV_EINVAL, "operation %zu makes no sense", member.failed_op);
    else
        rc = kvi_db_writable(db);
    member.rc = rc;
    member.durability = kvi_durability_of(db, flags);
    if (rc == KV_OK)
        rc = kvi_queue_write(db, &member);
    if (result)
        result_put(result, &member);
    return rc;
}
