/* turn.h - the writer's turn: in this process, then among all that share the file; and what its
 * holder must know before it writes: the newest commit, as another process or a dead one left it. */
#ifndef KVI_TURN_H
#define KVI_TURN_H

#include "txn.h"

/* The turn, with db->head up to date; a commit that a dead writer left unpublished is adopted and
 * published first. KV_EBUSY: not within wait_ms. KV_ENOENT: the path of a shared file no longer leads
 * to it. A handle that may not write gets the turn in this process only, and a head as old as itself. */
int kvi_turn_take(kv_db *db, uint32_t wait_ms) KVI_MUST_CHECK;
void kvi_turn_give(kv_db *db);

/* Does the path of a sole owner still lead to its file? If not, no transaction may begin to write.
 * KV_ENOENT. Needs the turn. */
int kvi_turn_look(kv_db *db) KVI_MUST_CHECK;

/* Loads the space records, once. Needs the turn. */
int kvi_space_ready(kv_db *db) KVI_MUST_CHECK;
void kvi_space_forget(kv_db *db); /* to be loaded anew */

#endif
