/* guest.h - readers that may not write the database or its side file (design.md, R20).
 *
 * A guest finds the newest commit in the metas and pins it by a shared lock on a byte of the
 * database, which the writer asks for before it reuses pages. Such a begin makes system calls. */
#ifndef KVI_GUEST_H
#define KVI_GUEST_H

#include "recover.h"

void kvi_guest_init(kvi_guest *guest);
void kvi_guest_close(kv_db *db);

/* Pins the newest commit. One that is not known durable is walked and flushed once. KV_EBUSY: the
 * metas changed all the time. */
int kvi_guest_pin(kv_db *db, kvi_snapshot *snapshot) KVI_MUST_CHECK;
void kvi_guest_unpin(kv_db *db, kvi_id id); /* 0: nothing */

/* Pins a commit beside, that may be gone already. */
int kvi_guest_pin_too(kv_db *db, kvi_id id) KVI_MUST_CHECK;

/* The newest commit that the metas prove durable, or that those who share the file tell of. */
kvi_id kvi_guest_durable(kv_db *db);

/* Looks whether there is a commit newer than *tried, without pinning it. *newest: what a transaction
 * would see; 0: nothing new. *tried moves on, past a commit that is not whole too. */
int kvi_guest_newer(kv_db *db, kvi_id *tried, kvi_id *newest) KVI_MUST_CHECK;

#endif
