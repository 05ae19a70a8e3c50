/* db.h - opening and closing, with the system calls as a parameter (tests bring their own). */
#ifndef KVI_DB_H
#define KVI_DB_H

#include "txn.h"

/* kv_db_open_explain on any kvi_os. */
int kvi_db_open(const kvi_os *os, const char *path, const kv_options *options, kv_db **db,
                char *message, size_t message_size);

int kvi_db_close(kv_db *db);

/* kv_db_repair on any kvi_os. */
int kvi_db_repair(const kvi_os *os, const char *path, uint32_t wait_ms,
                  void (*report)(void *context, const char *sentence), void *context);

#endif
