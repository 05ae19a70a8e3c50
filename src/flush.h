/* flush.h - what reaches the disk, and what the others are told of it: metas and flushes, poison,
 * publication. Everything here needs the turn. */
#ifndef KVI_FLUSH_H
#define KVI_FLUSH_H

#include "txn.h"

/* The meta written to its slot. */
int kvi_meta_write(kvi_file *file, const kvi_meta *meta, unsigned slot) KVI_MUST_CHECK;

/* A flush, counted. A failure poisons: no flush is ever repeated. KV_EPOISONED. */
int kvi_flush(kv_db *db) KVI_MUST_CHECK;

/* The state of the file is unknown: reading goes on, writing waits until all have left. */
void kvi_poison(kv_db *db);

/* May be asked without the turn. */
bool kvi_poisoned(const kv_db *db);

/* Makes db->head the newest published commit. */
void kvi_publish(kv_db *db);

#endif
