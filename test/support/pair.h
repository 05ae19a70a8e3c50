/* pair.h - a database and its copy, empty at first, on one simulated disk. */
#ifndef PAIR_H
#define PAIR_H

#include "must.h"

void pair_open(sim_disk **disk, kv_db **db, kv_db **copy);

/* For a teardown: the copy is sound, and both are closed. The first result that is not KV_OK. */
int pair_close(sim_disk *disk, kv_db *db, kv_db *copy);

#endif
