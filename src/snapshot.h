/* snapshot.h - named snapshots: making, opening, dropping, listing, going back to them (design.md, R14).
 *
 * The list of them is a tree of its own (named.h), and changes only in transactions that do nothing
 * else. Making one is a strict commit, which no recovery walks: so all its pages are older than any
 * commit that counts as durable, and never in a seal. Opening one pins its commit first and then
 * looks in the newest list: whoever drops it later, sees the pin.
 */
#ifndef KVI_SNAPSHOT_H
#define KVI_SNAPSHOT_H

#include "txn.h"

/* Of the newest commit. KV_EXISTS. */
int kvi_snapshot_create(kv_db *db, kvi_slice name, uint32_t wait_ms) KVI_MUST_CHECK;

int kvi_snapshot_drop(kv_db *db, kvi_slice name, uint32_t wait_ms, int durability) KVI_MUST_CHECK;

int kvi_snapshot_restore(kv_db *db, kvi_slice name, uint32_t wait_ms,
                         int durability) KVI_MUST_CHECK;

/* A read transaction of that commit. */
int kvi_snapshot_open(kv_db *db, kvi_slice name, kv_txn **txn) KVI_MUST_CHECK;

int kvi_snapshot_list(kv_db *db, int (*fn)(void *context, const kv_snapshot_info *snapshot),
                      void *context) KVI_MUST_CHECK;

#endif
