/* stat.h - numbers about an open database. Nobody is made to wait for them. */
#ifndef KVI_STAT_H
#define KVI_STAT_H

#include "txn.h"

/* kv_db_stat. */
int kvi_stat(kv_db *db, kv_db_info *info) KVI_MUST_CHECK;

/* The newest durable commit. */
kvi_id kvi_durable(kv_db *db);

/* kv_db_readers. */
int kvi_readers_list(kv_db *db, int (*fn)(void *context, const kv_reader_info *reader),
                     void *context) KVI_MUST_CHECK;

#endif
