/* join.h - how a handle comes to the file, and how it leaves it (design.md, R22, R24, R25, R28).
 *
 *   sole       nobody else has the file open; no side file
 *   sharer     uses the side file; the first one there makes it, the last one to leave removes it
 *   guest      may not write the file, or not beside it: reads without the side file
 *   immutable  nobody changes the file; no locks at all
 */
#ifndef KVI_JOIN_H
#define KVI_JOIN_H

#include "create.h"
#include "flush.h"

/* Opens the file that path names, creating it or replacing an empty one when that is wanted, and
 * comes into the role that options ask for: db->path, lock, file.fd, role, side. *first: nobody
 * else writes, or shares the file, until kvi_join_announce. */
int kvi_join(kv_db *db, const char *path, const kv_options *options, bool *first) KVI_MUST_CHECK;

/* A first sharer has published and lets the others in. */
int kvi_join_announce(kv_db *db) KVI_MUST_CHECK;

/* The newest durable commit that those who share the file tell of. For a guest, who looks at their side
 * file and writes nothing. 0: nobody shares it, or the side file may not be read. */
kvi_id kvi_join_durable(const kv_db *db);

/* Gives up a sharer's place. True: we were the last, and alone with the file until
 * kvi_join_leave_last, which removes the side file. */
bool kvi_join_leave(kv_db *db);
void kvi_join_leave_last(kv_db *db);

#endif
