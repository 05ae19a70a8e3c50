/* must.h - calls of a test's preparation, which do not fail: else the test does. */
#ifndef MUST_H
#define MUST_H

#include "sim_os.h"
#include "kv.h"

/* A database on the disk, with pages of 4 KiB; made if it is missing. */
kv_db *must_open(sim_disk *disk, const char *path);

kv_txn *must_begin(kv_db *db, uint32_t flags);

/* The main tree for "", else a named one, made if it is missing. */
kv_tree *must_tree(kv_txn *txn, const char *name);

/* A put in a transaction of its own. */
void must_put(kv_db *db, const char *tree, const char *key, const void *value, size_t len);

kv_db_info must_stat(kv_db *db);

/* A check of the whole file finds nothing; what it finds is printed. */
void must_be_sound(kv_db *db);

#endif
