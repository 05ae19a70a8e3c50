/* group.h - batches from many threads in one transaction, with one flush. Each batch is done in a
 * savepoint of its own; one commit, and every member has its outcome.
 *
 * Invariant:
 *   G1 a member learns its outcome after the commit: a condition that failed because of a
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

enum { KVI_TOLD_NOTHING, KVI_TOLD_LEAD, KVI_TOLD_DONE };

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

    struct kvi_member *next; /* guarded by kvi_queue.mutex while it queues */
    _Atomic uint32_t told;   /* KVI_TOLD_*: it sleeps on this word */
} kvi_member;

/* What a leader does with its group: every member of the list in one transaction, which this call
 * ends. */
void kvi_group_run(kv_txn *txn, kvi_member *first);

/* The same failure for all whose own did not spoil a transaction. */
void kvi_group_fail(kvi_member *first, int rc);

#endif
