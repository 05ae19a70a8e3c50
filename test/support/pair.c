/* pair.c - see pair.h. */
#include "pair.h"

void pair_open(sim_disk **disk, kv_db **db, kv_db **copy)
{
    *disk = sim_new(1);
    (*disk)->recording = SIM_RECORD_NOTHING;
    *db = must_open(*disk, "db");
    *copy = must_open(*disk, "copy");
}

int pair_close(sim_disk *disk, kv_db *db, kv_db *copy)
{
    int rc = kv_db_check(copy, NULL);
    if (rc == KV_OK)
        rc = kv_db_close(copy);
    if (rc == KV_OK)
        rc = kv_db_close(db);
    sim_free(disk);
    return rc;
}
