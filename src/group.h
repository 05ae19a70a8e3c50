/* group.h - batches from many threads in one transaction, with one flush.
 *
 * Callers queue. The first in the queue leads: it takes the writer's turn, then all that has queued
 * by then, does each batch in a savepoint of its own, commits once and tells every member its
 * outcome. Whoever comes while the flush is under way waits in the queue, and its first leads
 * next. So groups are as large as the disk is slow, and a lone caller waits for nobody.
 *
 * Invariants:
 *   G1 while the queue is not empty, somebody leads or was told to; at most one at a time
 *   G2 members are done in the order in which they queued
 *   G3 a member learns its outcome after the commit: a condition that failed because of a
 *      neighbour's change must not be reported before that change is certain
 */
#ifndef KVI_GROUP_H
#define KVI_GROUP_H

#include "begin.h"

/* What a group may write, about, in bytes: a commit that must stay quick to recover (R7). */
#ifdef KVI_STRESS
#define KVI_GROUP_MAX ((uint64_t)128 * 512)
#else
#define KVI_GROUP_MAX KVI_WALK_CAP
#endif

/* One caller's batch; lives on its stack while it waits. */
typedef struct kvi_member {
    const kv_op *ops;
    size_t n;
    int durability;

    /* the outcome */
    int rc;
    size_t failed_op; /* n: none */
    uint64_t deleted;
    kvi_id commit_id;
    bool out; /* its failure spoiled a transaction: it is not tried again */

    struct kvi_member *next; /* guarded by kvi_group.mutex while it queues */
    pthread_cond_t changed;  /* leads or done was set; both guarded by kvi_group.mutex */
    bool leads;
    bool done;
} kvi_member;

void kvi_group_init(kvi_group *group);
void kvi_group_destroy(kvi_group *group);

/* Queues the member and returns when its outcome is known, with its rc. */
int kvi_group_write(kv_db *db, kvi_member *member);

/* What a leader does with its group: every member of the list in one transaction, which this call
 * ends. */
void kvi_group_run(kv_txn *txn, kvi_member *first);

#endif
