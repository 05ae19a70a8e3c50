/* group.c - see group.h. */
#include "group.h"
#include "apply.h"
#include "catalog.h"
#include "commit.h"
#include "mutant.h"

/* ---- one member ---- */

static int member_do(kv_txn *txn, kvi_member *member)
{
    int rc = KV_OK;
    member->deleted = 0;
    for (member->failed_op = 0; member->failed_op < member->n; member->failed_op++) {
        rc = kvi_apply(txn, &member->ops[member->failed_op], &member->deleted);
        if (rc != KV_OK)
            break;
    }
    return rc;
}

static int member_undo(kv_txn *txn, uint32_t savepoint)
{
    kv_tree *younger;
    int rc = txn->failed ? KV_EBADTXN : kvi_txn_rollback_to(txn, savepoint, &younger);
    if (rc == KV_OK)
        rc = kvi_catalog_reload(txn, younger);
    if (rc == KV_OK)
        rc = kvi_txn_release(txn, savepoint);
    return kvi_txn_spoil(txn, rc);
}

/* The member's changes, all or none; alone, none is left to whoever ends the transaction. */
static void member_run(kv_txn *txn, kvi_member *member, bool alone)
{
    uint32_t savepoint = 0;
    member->failed_op = 0;
    member->rc = alone ? KV_OK : kvi_txn_savepoint(txn, &savepoint);
    if (member->rc != KV_OK)
        return;
    member->rc = member_do(txn, member);
    if (alone)
        return;
    bool keep = member->rc == KV_OK || KVI_MUTANT(MEMBER_KEPT);
    int rc = keep ? kvi_txn_release(txn, savepoint) : member_undo(txn, savepoint);
    /* A condition that failed is no answer when what it was judged by is thrown away. */
    if (rc != KV_OK && member->rc >= 0)
        member->rc = rc;
}

/* ---- one transaction ---- */

/* Lazy, durable, strict. */
static int strength(int durability)
{
    return durability == KV_LAZY ? 0 : durability;
}

static int strongest(const kvi_member *first)
{
    int most = KV_LAZY;
    for (const kvi_member *member = first; member; member = member->next)
        if (strength(member->durability) > strength(most))
            most = member->durability;
    return most;
}

/* Does what members want. False: the transaction is spoiled, and who did it is out. */
static bool group_apply(kv_txn *txn, kvi_member *first)
{
    for (kvi_member *member = first; member; member = member->next) {
        if (member->out)
            continue;
        member_run(txn, member, !first->next);
        if (txn->failed) {
            member->out = true;
            return false;
        }
    }
    return true;
}

static size_t count_good(const kvi_member *first)
{
    size_t n = 0;
    for (const kvi_member *member = first; member; member = member->next)
        n += !member->out && member->rc == KV_OK;
    return n;
}

static bool any_left(const kvi_member *first)
{
    while (first && first->out)
        first = first->next;
    return first != NULL;
}

/* The same for all who are not out. */
void kvi_group_fail(kvi_member *first, int rc)
{
    for (kvi_member *member = first; member; member = member->next) {
        if (member->out)
            continue;
        member->rc = rc;
        member->failed_op = member->n;
    }
}

/* Commits what the members did, if any did something. */
static void group_commit(kv_txn *txn, kvi_member *first)
{
    kv_db *db = txn->db;
    size_t good = count_good(first);
    kvi_id id = kvi_nothing_changed(txn) ? txn->base.id : kvi_txn_commit_id(txn);
    int rc = KV_OK;
    if (good > 0)
        rc = kvi_commit(txn);
    else
        kvi_end(txn);
    if (rc != KV_OK) {
        kvi_group_fail(first, rc);
        return;
    }
    for (kvi_member *member = first; member; member = member->next)
        member->commit_id = member->rc == KV_OK || KVI_MUTANT(MEMBER_MISTOLD) ? id : 0;
    atomic_fetch_add_explicit(&db->batches, good, memory_order_relaxed);
}

void kvi_group_run(kv_txn *txn, kvi_member *first)
{
    kv_db *db = txn->db;
    int durability = strongest(first);
    txn->durability = durability;
    while (!group_apply(txn, first)) {
        kvi_end(txn);
        if (!any_left(first))
            return;
        int rc = kvi_begin_write(db, KVI_WAIT_FOREVER, durability, &txn);
        if (rc != KV_OK) {
            kvi_group_fail(first, rc);
            return;
        }
    }
    group_commit(txn, first);
}
