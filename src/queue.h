/* queue.h - how callers of kv_db_write come together in groups (group.h).
 *
 * The first in the queue leads: it takes the writer's turn, then all that has queued by then, and when
 * the group is done tells every member its outcome. Whoever comes while the flush is under way waits
 * in the queue, and its first leads next. So groups are as large as the disk is slow, and who is always
 * alone waits for nobody.
 *
 * Threads that do little else but write come back as soon as they are told. The next leader, who has
 * waited in the queue, would be gone without them, and flushes would be for one half of them and the
 * other in turn. So a leader lets those who wrote last time, and are not there yet, run first, for a
 * part of the time that a commit takes at most. If they do not come, the next groups go without them, more
 * of them each time.
 *
 * Invariants:
 *   Q1 while the queue is not empty, somebody leads or was told to; at most one at a time
 *   Q2 members are done in the order in which they queued
 */
#ifndef KVI_QUEUE_H
#define KVI_QUEUE_H

#include "group.h"

void kvi_queue_init(kvi_queue *queue);
void kvi_queue_destroy(kvi_queue *queue);

/* Queues the member and returns when its outcome is known, with its rc. */
int kvi_queue_write(kv_db *db, kvi_member *member);

#endif
