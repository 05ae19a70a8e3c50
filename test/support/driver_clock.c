/* driver_clock.c - see driver_clock.h. */
#include "driver_clock.h"

#define STEP_MS 5000

int driver_time(kv_db *db, uint64_t *now)
{
    kv_txn *txn;
    int rc = kv_txn_begin(db, KV_TXN_WRITE, &txn);
    if (rc != KV_OK)
        return rc;
    *now = kv_txn_now(txn);
    kv_txn_abort(txn);
    return KV_OK;
}

static bool fail(driver *d, int rc, const char *what)
{
    d->failure = rc;
    d->what = what;
    return false;
}

bool driver_reset_clock(driver *d, uint32_t *kind, model_state **unknown)
{
    uint64_t before = driver_newest(d->db), step = rng_between(&d->r, 1, STEP_MS);
    *kind = KV_TXN_DURABLE; /* the handle's default */
    *unknown = NULL;
    d->what = NULL;
    *d->clock += rng_one_in(&d->r, 3) ? step : -step;
    uint64_t now = 0;
    int rc = driver_time(d->db, &now);
    bool ahead = now > *d->clock;
    if (rc == KV_OK)
        rc = kv_db_reset_clock(d->db, 0);
    if (rc == KV_EPOISONED)
        *unknown = model_keep(d->m);
    if (rc != KV_OK)
        return fail(d, rc, "reset_clock");
    uint64_t after = driver_newest(d->db);
    if (after != before) {
        model_commit_as(d->m, after);
        model_commit_at(d->m, *d->clock);
    }
    rc = driver_time(d->db, &now);
    if (rc != KV_OK || now != *d->clock)
        return fail(d, rc, "reset_clock: another time");
    return ahead == (after != before) || fail(d, 0, "reset_clock: a commit");
}
