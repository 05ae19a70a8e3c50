/* stat.c - see stat.h. */
#include "stat.h"
#include "catalog.h"
#include "flush.h"
#include "guest.h"
#include "inspect.h"
#include <stdlib.h>

#define CLOCK_AHEAD_MS 86400000 /* a file's clock that is further ahead was set by a wrong one */
#define PATIENCE_MS    10 /* for a writer to finish, before its records are read from the disk */

/* ---- statistics ---- */

static void stat_add(kv_db_info *info, const kvi_tree_desc *desc)
{
    info->leaf_pages += desc->leaf_pages;
    info->branch_pages += desc->branch_pages;
    info->large_pages += desc->large_pages;
}

static int stat_named(void *context, kvi_slice name, const kvi_tree_desc *desc)
{
    kv_db_info *info = context;
    (void)name;
    stat_add(info, desc);
    info->entries += desc->entries;
    info->trees++;
    return KV_OK;
}

static int stat_snapshot(kv_txn *txn, kv_db_info *info)
{
    uint64_t clock = txn->db->os->clock_ms(txn->db->os);
    info->clock_ms = txn->base.clock;
    info->clock_ahead_ms = info->clock_ms > clock ? info->clock_ms - clock : 0;
    info->clock_wrong = info->clock_ahead_ms > CLOCK_AHEAD_MS;
    info->pages = txn->base.high_water;
    info->commit_id = txn->base.id;
    info->entries = txn->main.desc.entries;
    stat_add(info, &txn->main.desc);
    stat_add(info, &txn->catalog.desc);
    stat_add(info, &txn->base.snapshots);
    info->snapshots = txn->base.snapshots.entries;
    return kvi_catalog_each(txn, stat_named, info);
}

static void stat_space(void *context, const kvi_meta *meta, const kvi_space *space)
{
    kv_db_info *info = context;
    memcpy(info->origin, meta->origin, sizeof info->origin);
    info->origin_id = meta->origin_id;
    info->free_pages = kvi_space_free_pages(space);
    info->blocked_pages = kvi_space_dead_pages(space);
    info->space_pages = kvi_space_own_pages(space);
}

kvi_id kvi_durable(kv_db *db)
{
    return db->role == KVI_GUEST
               ? kvi_guest_durable(db)
               : atomic_load_explicit(&db->readers.head->board.durable, memory_order_acquire);
}

static void stat_handle(kv_db *db, kv_db_info *info)
{
    info->page_size = db->file.page_size;
    info->key_max = kvi_key_max(db->file.page_size);
    if (kvi_file_look(&db->file, &info->file_size) != KV_OK)
        info->file_size = kvi_file_known(&db->file);
    info->durable_id = kvi_durable(db);
    info->readers = kvi_readers_claimed(&db->readers);
    info->poisoned = kvi_poisoned(db);
    info->guest = db->role == KVI_GUEST;
    info->flushes = atomic_load(&db->flushes);
    info->commits = atomic_load(&db->commits);
    info->batches = atomic_load(&db->batches);
    memcpy(info->file_id, db->file_id, sizeof info->file_id);
}

int kvi_stat(kv_db *db, kv_db_info *info)
{
    kv_txn *txn;
    kv_db_info found = {.size = info->size};
    int rc = kvi_with_space(db, 0, stat_space, &found);
    if (rc != KV_OK)
        return rc;
    stat_handle(db, &found);
    rc = kvi_begin_read(db, &txn);
    if (rc != KV_OK)
        return rc;
    rc = stat_snapshot(txn, &found);
    kvi_end(txn);
    if (rc == KV_OK)
        *info = found;
    return rc;
}

/* ---- readers ---- */

typedef struct reader_list {
    const kvi_os *os;
    uint64_t now;
    kv_reader_info *readers;
    size_t n, cap;
    kvi_id *ids; /* of their snapshots, ascending */
    uint64_t *pages;
} reader_list;

static int reader_add(reader_list *list, kv_reader_info reader)
{
    kv_reader_info *readers =
        kvi_os_room(list->os, list->readers, &list->cap, list->n + 1, sizeof *readers);
    if (!readers)
        return KV_ENOMEM;
    list->readers = readers;
    list->readers[list->n++] = reader;
    return KV_OK;
}

static int reader_add_pin(void *context, const kvi_pin *pin)
{
    reader_list *list = context;
    uint64_t age = list->now > pin->since ? list->now - pin->since : 0;
    return reader_add(
        list, (kv_reader_info){.snapshot = pin->id, .age_ms = age, .process = pin->process});
}

static int reader_add_guest(void *context, uint64_t id)
{
    return reader_add(context, (kv_reader_info){.snapshot = id, .guest = 1});
}

/* All that can be seen; the dead do not count. A guest sees its own transactions only. */
static int reader_gather(kv_db *db, reader_list *list)
{
    kvi_readers_reap(&db->readers, UINT64_MAX);
    int rc = kvi_readers_scan(&db->readers, reader_add_pin, list);
    if (rc == KV_OK && db->role == KVI_SHARER)
        rc = kvi_lock_pins(&db->lock, &db->err, reader_add_guest, list);
    return rc;
}

static int reader_by_snapshot(const void *a, const void *b)
{
    const kv_reader_info *x = a, *y = b;
    if (x->snapshot != y->snapshot)
        return x->snapshot < y->snapshot ? -1 : 1;
    return (x->age_ms < y->age_ms) - (x->age_ms > y->age_ms);
}

static void reader_weigh(void *context, const kvi_meta *meta, const kvi_space *space)
{
    reader_list *list = context;
    (void)meta;
    kvi_space_held_by(space, list->ids, list->n, list->pages);
}

/* The readers stand in the order of their snapshots. */
static int reader_pages(kv_db *db, reader_list *list)
{
    const kvi_os *os = db->os;
    list->ids = os->alloc(os, list->n * sizeof *list->ids);
    list->pages = os->alloc(os, list->n * sizeof *list->pages);
    if (!list->ids || !list->pages)
        return KV_ENOMEM;
    for (size_t i = 0; i < list->n; i++) {
        list->ids[i] = list->readers[i].snapshot;
        list->pages[i] = 0;
    }
    int rc = kvi_with_space(db, PATIENCE_MS, reader_weigh, list);
    for (size_t i = 0; rc == KV_OK && i < list->n; i++)
        list->readers[i].held_pages = list->pages[i];
    return rc;
}

int kvi_readers_list(kv_db *db, int (*fn)(void *context, const kv_reader_info *reader),
                     void *context)
{
    const kvi_os *os = db->os;
    reader_list list = {.os = os, .now = os->clock_ms(os)};
    int rc = reader_gather(db, &list);
    if (rc == KV_OK && list.n) {
        qsort(list.readers, list.n, sizeof *list.readers, reader_by_snapshot);
        rc = reader_pages(db, &list);
    }
    for (size_t i = 0; rc == KV_OK && i < list.n; i++)
        if (fn(context, &list.readers[i]) != 0)
            rc = kvi_fail(&db->err, KV_ECANCELED, "a callback asked to stop");
    os->free(os, list.readers);
    os->free(os, list.ids);
    os->free(os, list.pages);
    return rc;
}
