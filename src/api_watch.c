/* api_watch.c - the public calls on waiting for changes: arguments are checked here. */
#include "watch.h"

static int waiting_makes_sense(kv_db *db)
{
    if (!kvi_alive(db))
        return KV_EFORKED;
    if (db->role == KVI_IMMUTABLE)
        return kvi_fail(&db->err, KV_EINVAL, "nobody changes an immutable database");
    return KV_OK;
}

int kv_db_wait(kv_db *db, uint64_t since_id, uint32_t timeout_ms, uint64_t *now_id)
{
    kvi_id now;
    if (!db)
        return KV_EINVAL;
    int rc = waiting_makes_sense(db);
    if (rc == KV_OK)
        rc = kvi_watch_wait(db, since_id, timeout_ms, NULL, &now);
    if (rc == KV_OK && now_id)
        *now_id = now;
    return rc;
}

static bool options_sound(const kv_watch_options *options)
{
    const kv_range *range = options->range;
    return options->size >= sizeof *options && (options->tree || options->tree_len == 0) &&
           (!range || (range->size >= sizeof *range && range->limit == 0 &&
                       !(range->flags & ~(uint32_t)(KV_RANGE_FROM_OPEN | KV_RANGE_TO_CLOSED))));
}

int kv_watch_open(kv_db *db, const kv_watch_options *options, kv_watch **watch)
{
    static const kv_watch_options everything = {.size = sizeof everything};
    if (watch)
        *watch = NULL;
    if (!db || !watch || (options && !options_sound(options)))
        return KV_EINVAL;
    int rc = waiting_makes_sense(db);
    return rc == KV_OK ? kvi_watch_open(db, options ? options : &everything, watch) : rc;
}

kv_txn *kv_watch_txn(kv_watch *watch)
{
    return watch ? kvi_watch_seen(watch) : NULL;
}

int kv_watch_next(kv_watch *watch, uint32_t timeout_ms, kv_watch_event *event)
{
    kv_watch_event found = {.size = sizeof found};
    if (!watch || (event && event->size < sizeof event->size))
        return KV_EINVAL;
    if (!kvi_alive(kvi_watch_db(watch)))
        return KV_EFORKED;
    int rc = kvi_watch_next(watch, timeout_ms, &found);
    if (rc == KV_OK && event) {
        found.size = event->size;
        memcpy(event, &found, KVI_MIN(event->size, sizeof found));
    }
    return rc;
}

void kv_watch_cancel(kv_watch *watch)
{
    if (watch && kvi_alive(kvi_watch_db(watch)))
        kvi_watch_cancel(watch);
}

void kv_watch_close(kv_watch *watch)
{
    if (watch)
        kvi_watch_close(watch);
}
