/* snapshot.c - see snapshot.h. */
#include "snapshot.h"
#include "begin.h"
#include "catalog.h"
#include "commit.h"
#include "inspect.h"
#include "mutant.h"
#include "named.h"
#include "restore.h"
#include <stdlib.h>

#define MOVED       KV_MISMATCH /* the name stands for another commit now */
#define TRIES       100         /* that others may drop and make the same name while it is opened */
#define PATIENCE_MS 10 /* for a writer to finish, before its records are read from the disk */

/* ---- transactions of their own ---- */

/* Ends a transaction of which rc is the answer. */
static int txn_settle(kv_txn *txn, int rc)
{
    if (rc == KV_OK)
        return kvi_commit(txn);
    kvi_end(txn);
    return rc;
}

static int count_named(void *context, kvi_slice name, const kvi_tree_desc *desc)
{
    uint64_t *entries = context;
    (void)name;
    *entries += desc->entries;
    return KV_OK;
}

static int create_in(kv_txn *txn, kvi_slice name)
{
    const kvi_snapshot *base = &txn->base;
    kvi_named named;
    uint64_t entries = base->main.entries;
    int rc = kvi_named_find(txn, name, &named);
    if (rc != KV_NOTFOUND)
        return rc == KV_OK ? KV_EXISTS : rc;
    rc = kvi_catalog_each(txn, count_named, &entries);
    if (rc != KV_OK)
        return rc;
    named = (kvi_named){base->main, base->catalog, base->id, txn->now, entries};
    return kvi_named_insert(txn, name, &named);
}

int kvi_snapshot_create(kv_db *db, kvi_slice name, uint32_t wait_ms)
{
    kv_txn *txn;
    int durability = KVI_MUTANT(NAMED_LAZILY) ? KV_LAZY : KV_STRICT;
    int rc = kvi_begin_write(db, wait_ms, durability, &txn);
    return rc == KV_OK ? txn_settle(txn, create_in(txn, name)) : rc;
}

int kvi_snapshot_drop(kv_db *db, kvi_slice name, uint32_t wait_ms, int durability)
{
    kv_txn *txn;
    int rc = kvi_begin_write(db, wait_ms, durability, &txn);
    return rc == KV_OK ? txn_settle(txn, kvi_named_remove(txn, name)) : rc;
}

static bool same_tree(const kvi_tree_desc *a, const kvi_tree_desc *b)
{
    uint8_t x[KVI_TREE_SIZE], y[KVI_TREE_SIZE];
    kvi_tree_desc_encode(a, x);
    kvi_tree_desc_encode(b, y);
    return memcmp(x, y, sizeof x) == 0;
}

static int restore_in(kv_txn *txn, kvi_slice name)
{
    kvi_named named;
    int rc = kvi_named_find(txn, name, &named);
    if (rc != KV_OK)
        return rc;
    if (same_tree(&named.main, &txn->base.main) && same_tree(&named.catalog, &txn->base.catalog))
        return KV_OK; /* nothing to do: the commit will be none */
    return kvi_restore(txn, &named);
}

int kvi_snapshot_restore(kv_db *db, kvi_slice name, uint32_t wait_ms, int durability)
{
    kv_txn *txn;
    int rc = kvi_begin_write(db, wait_ms, durability, &txn);
    return rc == KV_OK ? txn_settle(txn, restore_in(txn, name)) : rc;
}

/* ---- opening ---- */

/* What a transaction of the named commit sees. Its own pages lie below the newest high-water mark,
 * since none of them is free. */
static kvi_snapshot snapshot_base(const kv_txn *look, const kvi_named *named)
{
    return (kvi_snapshot){
        .id = named->id,
        .durable = named->id,
        .high_water = look->base.high_water,
        .clock = look->base.clock,
        .main = named->main,
        .catalog = named->catalog,
    };
}

/* txn gets the commit's pin; look, which has seen it listed, looks again. MOVED. */
static int open_pinned(kv_txn *look, kvi_slice name, kv_txn *txn)
{
    kvi_named named, again;
    int rc = kvi_named_find(look, name, &named);
    if (rc == KV_OK)
        rc = kvi_reader_repin(txn, named.id);
    if (rc == KV_OK && !KVI_MUTANT(NAMED_UNCHECKED))
        rc = kvi_refresh(look);
    if (rc == KV_OK)
        rc = kvi_named_find(look, name, &again);
    if (rc == KV_OK && again.id != named.id)
        return MOVED;
    return rc == KV_OK ? kvi_reader_show(txn, snapshot_base(look, &again)) : rc;
}

int kvi_snapshot_open(kv_db *db, kvi_slice name, kv_txn **out)
{
    kv_txn *look, *txn;
    int rc = kvi_begin_read(db, &look);
    if (rc != KV_OK)
        return rc;
    rc = kvi_begin_read(db, &txn);
    if (rc == KV_OK) {
        rc = MOVED;
        for (int tries = 0; rc == MOVED && tries < TRIES; tries++)
            rc = open_pinned(look, name, txn);
        if (rc != KV_OK)
            kvi_end(txn);
    }
    kvi_end(look);
    if (rc == MOVED)
        rc = kvi_fail(&db->err, KV_EBUSY, "the snapshot changes too fast");
    if (rc == KV_OK)
        *out = txn;
    return rc;
}

/* ---- listing ---- */

typedef struct listing {
    kv_db *db;
    kv_snapshot_info *infos; /* by name; name.ptr is ours */
    size_t n, cap;
    kvi_id *ids; /* ascending */
    uint64_t *pages;
} listing;

static int list_add(void *context, kvi_slice name, const kvi_named *named)
{
    listing *list = context;
    const kvi_os *os = list->db->os;
    kv_snapshot_info *infos = kvi_os_room(os, list->infos, &list->cap, list->n + 1, sizeof *infos);
    if (infos)
        list->infos = infos;
    uint8_t *copy = infos ? os->alloc(os, name.len + 1) : NULL;
    if (!copy)
        return KV_ENOMEM;
    memcpy(copy, name.ptr, name.len);
    infos[list->n++] = (kv_snapshot_info){.name = {copy, name.len},
                                          .commit_id = named->id,
                                          .time_ms = named->time,
                                          .entries = named->entries};
    return KV_OK;
}

static int list_gather(listing *list)
{
    kv_txn *txn;
    int rc = kvi_begin_read(list->db, &txn);
    if (rc != KV_OK)
        return rc;
    rc = kvi_named_each(kvi_named_tree(txn), list_add, list);
    kvi_end(txn);
    return rc;
}

static int by_id(const void *a, const void *b)
{
    const kvi_id *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void list_weigh(void *context, const kvi_meta *meta, const kvi_space *space)
{
    listing *list = context;
    (void)meta;
    kvi_space_held_alone(space, list->ids, list->n, list->pages);
}

static int list_pages(listing *list)
{
    const kvi_os *os = list->db->os;
    list->ids = os->alloc(os, list->n * sizeof *list->ids);
    list->pages = os->alloc(os, list->n * sizeof *list->pages);
    if (!list->ids || !list->pages)
        return KV_ENOMEM;
    for (size_t i = 0; i < list->n; i++) {
        list->ids[i] = list->infos[i].commit_id;
        list->pages[i] = 0;
    }
    qsort(list->ids, list->n, sizeof *list->ids, by_id);
    int rc = kvi_with_space(list->db, PATIENCE_MS, list_weigh, list);
    for (size_t i = 0; rc == KV_OK && i < list->n; i++) {
        const kvi_id *id =
            bsearch(&list->infos[i].commit_id, list->ids, list->n, sizeof *list->ids, by_id);
        list->infos[i].held_pages = id ? list->pages[id - list->ids] : 0;
    }
    return rc;
}

static void list_free(listing *list)
{
    const kvi_os *os = list->db->os;
    for (size_t i = 0; i < list->n; i++)
        os->free(os, (void *)(uintptr_t)list->infos[i].name.ptr);
    os->free(os, list->infos);
    os->free(os, list->ids);
    os->free(os, list->pages);
}

int kvi_snapshot_list(kv_db *db, int (*fn)(void *context, const kv_snapshot_info *snapshot),
                      void *context)
{
    listing list = {.db = db};
    int rc = list_gather(&list);
    if (rc == KV_OK && list.n)
        rc = list_pages(&list);
    for (size_t i = 0; rc == KV_OK && i < list.n; i++)
        if (fn(context, &list.infos[i]) != 0)
            rc = kvi_fail(&db->err, KV_ECANCELED, "a callback asked to stop");
    list_free(&list);
    return rc;
}
