/* watch.h - waiting until something is committed, or until what one looks at was changed. */
#ifndef KVI_WATCH_H
#define KVI_WATCH_H

#include "begin.h"

/* Waits, up to timeout_ms (KVI_WAIT_FOREVER), for a commit after since; *now: the newest one. cancelled
 * may be NULL. KV_NOTFOUND: there was none. KV_ECANCELED: *cancelled was set, and the waiting ones
 * stirred (kvi_watch_cancel). */
int kvi_watch_wait(kv_db *db, kvi_id since, uint32_t timeout_ms, const _Atomic uint32_t *cancelled,
                   kvi_id *now) KVI_MUST_CHECK;

int kvi_watch_open(kv_db *db, const kv_watch_options *options, kv_watch **out) KVI_MUST_CHECK;
int kvi_watch_next(kv_watch *watch, uint32_t timeout_ms, kv_watch_event *event) KVI_MUST_CHECK;
void kvi_watch_cancel(kv_watch *watch);
void kvi_watch_close(kv_watch *watch);

kv_db *kvi_watch_db(const kv_watch *watch);
kv_txn *kvi_watch_seen(const kv_watch *watch);

#endif
