/* group.c - see group.h. */
#include "group.h"
#include "apply.h"
#include "catalog.h"
#include "commit.h"
#include "mutant.h"

void kvi_group_init(kvi_group *group)
{
    pthread_mutex_init(&group->mutex, NULL);
    group->led = false;
    group->first = NULL;
    group->last = &group->first;
}

void kvi_group_destroy(kvi_group *group)
{
    pthread_mutex_destroy(&group->mutex);
}

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
static void group_fail(kvi_member *first, int rc)
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
    kvi_id id = kvi_nothing_changed(txn) ? txn->base.id : txn->id;
    int rc = KV_OK;
    if (good > 0)
        rc = kvi_commit(txn);
    else
        kvi_end(txn);
    if (rc != KV_OK) {
        group_fail(first, rc);
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
            group_fail(first, rc);
            return;
        }
    }
    group_commit(txn, first);
}

/* ---- the queue ---- */

/* What a member's changes may weigh: each operation a leaf and a branch, and the value. */
static uint64_t member_weight(const kv_db *db, const kvi_member *member)
{
    uint64_t weight = db->file.page_size;
    for (size_t i = 0; i < member->n && weight < KVI_GROUP_MAX; i++)
        weight += 2 * db->file.page_size + KVI_MIN(member->ops[i].value.len, KVI_GROUP_MAX);
    return weight;
}

/* Takes a group off the queue: its first member, and those behind it for which there is room. */
static kvi_member *queue_take(kv_db *db, bool alone)
{
    kvi_group *group = &db->group;
    pthread_mutex_lock(&group->mutex);
    kvi_member *first = group->first, *last = first;
    uint64_t weight = member_weight(db, first);
    while (!alone && last->next) {
        weight += member_weight(db, last->next);
        if (weight > KVI_GROUP_MAX)
            break;
        last = last->next;
    }
    group->first = last->next;
    if (!group->first)
        group->last = &group->first;
    last->next = NULL;
    pthread_mutex_unlock(&group->mutex);
    return first;
}

/* Told to lead, or told the outcome. */
static void member_wake(kvi_member *member, bool *what)
{
    *what = true;
    pthread_cond_signal(&member->changed);
}

/* The group is done, its first member led: tells the others, and whoever is to lead next. */
static void queue_finish(kvi_group *group, kvi_member *first)
{
    pthread_mutex_lock(&group->mutex);
    for (kvi_member *member = first->next, *next; member; member = next) {
        next = member->next; /* it may be gone once it is awake */
        member_wake(member, &member->done);
    }
    group->led = group->first != NULL;
    if (group->led)
        member_wake(group->first, &group->first->leads);
    pthread_mutex_unlock(&group->mutex);
}

/* Waits until the member leads or is done. */
static void queue_join(kvi_group *group, kvi_member *member)
{
    pthread_mutex_lock(&group->mutex);
    *group->last = member;
    group->last = &member->next;
    if (!group->led)
        group->led = member->leads = true;
    while (!member->leads && !member->done)
        pthread_cond_wait(&member->changed, &group->mutex);
    pthread_mutex_unlock(&group->mutex);
}

static void member_lead(kv_db *db, kvi_member *member)
{
    kv_txn *txn;
    int rc = kvi_begin_write(db, KVI_WAIT_FOREVER, member->durability, &txn);
    kvi_member *first = queue_take(db, rc != KV_OK);
    if (rc == KV_OK)
        kvi_group_run(txn, first);
    else
        group_fail(first, rc); /* the others find out for themselves */
    queue_finish(&db->group, first);
}

int kvi_group_write(kv_db *db, kvi_member *member)
{
    pthread_cond_init(&member->changed, NULL);
    queue_join(&db->group, member);
    if (member->leads)
        member_lead(db, member);
    pthread_cond_destroy(&member->changed);
    return member->rc;
}
