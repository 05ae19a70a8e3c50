/* stat.c - see stat.h. */
#include "stat.h"
#include "begin.h"
#include "catalog.h"
#include <stdlib.h>

#define PATIENCE_MS 100 /* for a writer to finish, before doing without the space records */

/* ---- statistics ---- */

static void stat_add(kv_db_info *info, const kvi_tree_desc *desc)
{
    info->leaf_pages += desc->leaf_pages;
    info->branch_pages += desc->branch_pages;
    info->large_pages += desc->large_pages;
}

typedef struct stat_names {
    kv_txn *txn;
    kv_db_info *info;
    int rc;
} stat_names;

static int stat_named(void *context, kv_slice name)
{
    stat_names *names = context;
    kvi_tree_desc desc;
    names->rc = kvi_catalog_find(names->txn, kvi_slice_of(name.ptr, name.len), &desc);
    if (names->rc != KV_OK)
        return names->rc;
    stat_add(names->info, &desc);
    names->info->entries += desc.entries;
    names->info->trees++;
    return KV_OK;
}

static int stat_snapshot(kv_txn *txn, kv_db_info *info)
{
    stat_names names = {txn, info, KV_OK};
    info->pages = txn->base.high_water;
    info->commit_id = txn->base.id;
    info->entries = txn->main.desc.entries;
    stat_add(info, &txn->main.desc);
    stat_add(info, &txn->catalog.desc);
    int rc = kvi_catalog_list(txn, stat_named, &names);
    return names.rc != KV_OK ? names.rc : rc;
}

/* Sees to it that the space records are loaded, unless somebody writes and so has them. */
static int stat_load_space(kv_db *db)
{
    if (kvi_turn_take(db, 0) != KV_OK)
        return KV_OK;
    int rc = kvi_space_ready(db);
    kvi_turn_give(db);
    return rc;
}

static void stat_handle(kv_db *db, kv_db_info *info)
{
    info->page_size = db->file.page_size;
    info->key_max = kvi_key_max(db->file.page_size);
    info->file_size = atomic_load(&db->file.size);
    info->durable_id = atomic_load(&db->durable_id);
    info->free_pages = atomic_load(&db->free_pages);
    info->blocked_pages = atomic_load(&db->blocked_pages);
    info->space_pages = atomic_load(&db->space_pages);
    info->readers = atomic_load(&db->n_readers);
    info->poisoned = atomic_load(&db->poisoned);
    info->flushes = atomic_load(&db->flushes);
    info->commits = atomic_load(&db->commits);
    memcpy(info->file_id, db->file_id, sizeof info->file_id);
}

int kvi_stat(kv_db *db, kv_db_info *info)
{
    kv_txn *txn;
    kv_db_info found = {.size = info->size};
    int rc = stat_load_space(db);
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
} reader_list;

static int reader_add(void *context, kvi_id pin, uint64_t since)
{
    reader_list *list = context;
    if (list->n == list->cap) {
        size_t cap = list->cap * 2 + 16;
        kv_reader_info *readers = list->os->realloc(list->os, list->readers, cap * sizeof *readers);
        if (!readers)
            return KV_ENOMEM;
        list->readers = readers;
        list->cap = cap;
    }
    uint64_t age = list->now > since ? list->now - since : 0;
    list->readers[list->n++] = (kv_reader_info){.snapshot = pin, .age_ms = age};
    return KV_OK;
}

static int reader_by_snapshot(const void *a, const void *b)
{
    const kv_reader_info *x = a, *y = b;
    if (x->snapshot != y->snapshot)
        return x->snapshot < y->snapshot ? -1 : 1;
    return (x->age_ms < y->age_ms) - (x->age_ms > y->age_ms);
}

static int reader_weigh(kv_db *db, reader_list *list)
{
    if (kvi_turn_take(db, PATIENCE_MS) != KV_OK)
        return KV_OK;
    int rc = kvi_space_ready(db);
    for (size_t i = 0; rc == KV_OK && i < list->n; i++)
        list->readers[i].held_pages = kvi_space_held_by(db->space, list->readers[i].snapshot);
    kvi_turn_give(db);
    return rc;
}

int kvi_readers_list(kv_db *db, int (*fn)(void *context, const kv_reader_info *reader),
                     void *context)
{
    const kvi_os *os = db->os;
    reader_list list = {.os = os, .now = os->clock_ms(os)};
    int rc = kvi_readers_scan(&db->readers, reader_add, &list);
    if (rc == KV_OK && list.n) {
        qsort(list.readers, list.n, sizeof *list.readers, reader_by_snapshot);
        rc = reader_weigh(db, &list);
    }
    for (size_t i = 0; rc == KV_OK && i < list.n; i++)
        if (fn(context, &list.readers[i]) != 0)
            rc = kvi_fail(&db->err, KV_ECANCELED, "a callback asked to stop");
    os->free(os, list.readers);
    return rc;
}
