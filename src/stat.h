/* stat.h - numbers about an open database. Nobody is made to wait for them. */
#ifndef KVI_STAT_H
#define KVI_STAT_H

#include "txn.h"

/* kv_db_stat. While a write transaction is open, the numbers of free, blocked and space pages are
 * those from before it. */
int kvi_stat(kv_db *db, kv_db_info *info) KVI_MUST_CHECK;

/* kv_db_readers. held_pages is 0 while a write transaction is open: it is not known then. */
int kvi_readers_list(kv_db *db, int (*fn)(void *context, const kv_reader_info *reader),
                     void *context) KVI_MUST_CHECK;

#endif
