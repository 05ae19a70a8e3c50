/* queue.c - see queue.h. */
#include "queue.h"

#define SLEEP_NS  UINT64_C(1000000000) /* a sleeper looks again, in case that nobody can wake it */
#define WAIT_PART 4                    /* for company: of the time that a group takes ... */
#define WAIT_NS   UINT64_C(1000000)    /* ... but not longer */
#define VAIN_MAX  63u                  /* groups that do not wait, since others did in vain */

void kvi_queue_init(kvi_queue *queue)
{
    *queue = (kvi_queue){.last = &queue->first};
    pthread_mutex_init(&queue->mutex, NULL);
}

void kvi_queue_destroy(kvi_queue *queue)
{
    pthread_mutex_destroy(&queue->mutex);
}

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
    kvi_queue *queue = &db->queue;
    pthread_mutex_lock(&queue->mutex);
    kvi_member *first = queue->first, *last = first;
    uint64_t weight = member_weight(db, first);
    uint32_t n = 1;
    for (; !alone && last->next; n++) {
        weight += member_weight(db, last->next);
        if (weight > KVI_GROUP_MAX)
            break;
        last = last->next;
    }
    queue->first = last->next;
    if (!queue->first)
        queue->last = &queue->first;
    last->next = NULL;
    queue->queued -= n;
    queue->company = queue->first ? 0 : n; /* those left behind are enough for a group */
    pthread_mutex_unlock(&queue->mutex);
    return first;
}

/* It may be gone as soon as it is told; then nobody sleeps on the word. */
static void member_tell(const kvi_os *os, kvi_member *member, uint32_t told)
{
    atomic_store_explicit(&member->told, told, memory_order_release);
    os->word_wake(os, &member->told);
}

static void member_sleep(const kvi_os *os, kvi_member *member)
{
    while (atomic_load_explicit(&member->told, memory_order_acquire) == KVI_TOLD_NOTHING)
        os->word_wait(os, &member->told, KVI_TOLD_NOTHING, SLEEP_NS);
}

/* The group is done, its first member led: tells the others, and whoever is to lead next. */
static void queue_finish(kv_db *db, kvi_member *first, uint64_t took)
{
    kvi_queue *queue = &db->queue;
    pthread_mutex_lock(&queue->mutex);
    kvi_member *leader = queue->first;
    queue->led = leader != NULL;
    queue->company += queue->company ? queue->queued : 0;
    queue->took = took;
    pthread_mutex_unlock(&queue->mutex);
    for (kvi_member *member = first->next, *next; member; member = next) {
        next = member->next;
        member_tell(db->os, member, KVI_TOLD_DONE);
    }
    if (leader)
        member_tell(db->os, leader, KVI_TOLD_LEAD);
}

/* Waits until the member leads or is done. True: it leads. */
static bool queue_join(kv_db *db, kvi_member *member)
{
    kvi_queue *queue = &db->queue;
    pthread_mutex_lock(&queue->mutex);
    *queue->last = member;
    queue->last = &member->next;
    queue->queued++;
    if (!queue->led) {
        queue->led = true;
        atomic_store_explicit(&member->told, KVI_TOLD_LEAD, memory_order_relaxed);
    }
    pthread_mutex_unlock(&queue->mutex);
    member_sleep(db->os, member);
    return atomic_load_explicit(&member->told, memory_order_relaxed) == KVI_TOLD_LEAD;
}

/* ---- company: the leader's business, whoever leads ---- */

static bool company_lacks(const kvi_queue *queue)
{
    return atomic_load_explicit(&queue->queued, memory_order_relaxed) < queue->company;
}

/* Lets those run who wrote a moment ago; if they do not come, fewer groups wait for them, ever fewer. */
static void company_await(kv_db *db, const kvi_member *leader)
{
    const kvi_os *os = db->os;
    kvi_queue *queue = &db->queue;
    if (leader->durability == KV_LAZY || !company_lacks(queue))
        return;
    if (queue->skip > 0) {
        queue->skip--;
        return;
    }
    uint64_t until = os->mono_ns(os) + KVI_MIN(queue->took / WAIT_PART, WAIT_NS);
    while (company_lacks(queue) && os->mono_ns(os) < until)
        os->sleep_us(os, 0);
    queue->vain = company_lacks(queue) ? KVI_MIN(2 * queue->vain + 1, VAIN_MAX) : 0;
    queue->skip = queue->vain;
}

/* ---- all ---- */

static void member_lead(kv_db *db, kvi_member *member)
{
    kv_txn *txn;
    company_await(db, member);
    int rc = kvi_begin_write(db, KVI_WAIT_FOREVER, member->durability, &txn);
    kvi_member *first = queue_take(db, rc != KV_OK);
    uint64_t begun = db->os->mono_ns(db->os);
    if (rc == KV_OK)
        kvi_group_run(txn, first);
    else
        kvi_group_fail(first, rc); /* the others find out for themselves */
    queue_finish(db, first, db->os->mono_ns(db->os) - begun);
}

int kvi_queue_write(kv_db *db, kvi_member *member)
{
    if (queue_join(db, member))
        member_lead(db, member);
    return member->rc;
}
