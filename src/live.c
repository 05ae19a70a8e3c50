/* live.c - see live.h. */
#include "live.h"
#include "mutant.h"
#include "named.h"
#include <stdlib.h>

#define COMMITS 2         /* that are live though nobody reads them */
#define REAP_NS 100000000 /* between two looks for the dead, while somebody is in the way */

typedef struct id_list {
    const kvi_os *os;
    kvi_id *ids;
    size_t n, cap;
} id_list;

static int id_add(id_list *list, kvi_id id)
{
    kvi_id *ids = kvi_os_room(list->os, list->ids, &list->cap, list->n + 1, sizeof *ids);
    if (!ids)
        return KV_ENOMEM;
    list->ids = ids;
    list->ids[list->n++] = id;
    return KV_OK;
}

static int by_id(const void *a, const void *b)
{
    const kvi_id *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* ---- readers ---- */

static int pin_add(void *context, const kvi_pin *pin)
{
    return id_add(context, pin->id);
}

static int guest_add(void *context, uint64_t id)
{
    return id_add(context, id);
}

/* Is some reader in the way of reuse? */
static int pin_is_old(void *context, const kvi_pin *pin)
{
    const kv_db *db = context;
    return pin->id < db->head.meta.id && pin->handle != db->readers.handle;
}

/* The pins of the dead hold pages back until somebody asks whether their owners live. */
static void reap_sometimes(kv_db *db)
{
    if (!db->readers.side || !kvi_readers_scan(&db->readers, pin_is_old, db))
        return;
    uint64_t now = db->os->mono_ns(db->os);
    if (db->reaped && now - db->reaped < REAP_NS)
        return;
    db->reaped = now;
    kvi_readers_reap(&db->readers, db->head.meta.id);
}

static int commits_and_pins(kv_db *db, id_list *list)
{
    int rc = KVI_MUTANT(REUSED_EARLY) ? KV_OK : id_add(list, db->head.durable);
    if (rc == KV_OK)
        rc = id_add(list, db->head.meta.id); /* published, or written and unresolved */
    if (rc == KV_OK && !KVI_MUTANT(PINS_IGNORED))
        rc = kvi_readers_scan(&db->readers, pin_add, list);
    if (rc == KV_OK && db->role == KVI_SHARER && !KVI_MUTANT(GUESTS_IGNORED))
        rc = kvi_lock_pins(&db->lock, &db->err, guest_add, list);
    return rc;
}

/* ---- named snapshots ---- */

static int named_add(void *context, kvi_slice name, const kvi_named *named)
{
    (void)name;
    return id_add(context, named->id);
}

/* Reads a list, unless it is the one that was read last: a root names its content. */
static int listed_read(kv_txn *txn, const kvi_tree_desc *desc, kvi_listed *listed)
{
    kv_tree tree = {.txn = txn, .desc = *desc};
    id_list list = {txn->db->os, listed->ids, 0, listed->cap};
    if (kvi_ptr_same(listed->root, desc->root))
        return KV_OK;
    int rc = kvi_named_each(&tree, named_add, &list);
    if (list.n)
        qsort(list.ids, list.n, sizeof *list.ids, by_id);
    *listed = (kvi_listed){rc == KV_OK ? desc->root : (kvi_ptr){0, 0}, list.ids,
                           rc == KV_OK ? list.n : 0, list.cap};
    return rc;
}

static int listed_read_both(kv_txn *txn)
{
    kv_db *db = txn->db;
    const kvi_tree_desc none = {0};
    const kvi_tree_desc *newest = &db->head.meta.snapshots, *durable = &db->head.durable_snapshots;
    int rc = listed_read(txn, newest, &db->listed[0]);
    if (kvi_ptr_same(newest->root, durable->root) || KVI_MUTANT(NAMED_FORGOTTEN))
        durable = &none; /* the same once more */
    return rc == KV_OK ? listed_read(txn, durable, &db->listed[1]) : rc;
}

void kvi_live_close(kv_db *db)
{
    for (size_t i = 0; i < KVI_COUNT(db->listed); i++)
        db->os->free(db->os, db->listed[i].ids);
}

/* ---- all ---- */

/* Appends to out what two ascending lists have, each once. */
static void merge(const id_list *a, const kvi_listed *b, id_list *out)
{
    size_t i = 0, k = 0;
    out->n = 0;
    while (i < a->n || k < b->n) {
        bool first = k == b->n || (i < a->n && a->ids[i] <= b->ids[k]);
        kvi_id id = first ? a->ids[i++] : b->ids[k++];
        if (out->n == 0 || out->ids[out->n - 1] != id)
            out->ids[out->n++] = id;
    }
}

/* list: ids in any order, which are replaced. */
static int merge_all(const kv_db *db, id_list *list)
{
    size_t most = list->n + db->listed[0].n + db->listed[1].n;
    kvi_id *room = db->os->alloc(db->os, 2 * most * sizeof *room);
    if (!room)
        return KV_ENOMEM;
    id_list half = {.ids = room + most}, whole = {.ids = room};
    qsort(list->ids, list->n, sizeof *list->ids, by_id);
    merge(list, &db->listed[0], &half);
    merge(&half, &db->listed[1], &whole);
    db->os->free(db->os, list->ids);
    *list = whole;
    return KV_OK;
}

bool kvi_live_due(const kv_db *db)
{
    return db->told_durable != db->head.durable || db->told_pins ||
           atomic_load_explicit(&db->compacting, memory_order_relaxed) > 0 ||
           kvi_space_due(db->space);
}

int kvi_live_set(kv_txn *txn, kvi_id **ids, size_t *n)
{
    kv_db *db = txn->db;
    id_list list = {.os = db->os};
    reap_sometimes(db);
    int rc = commits_and_pins(db, &list);
    db->told_durable = rc == KV_OK ? db->head.durable : 0;
    db->told_pins = list.n > COMMITS;
    if (rc == KV_OK && !KVI_MUTANT(NAMED_IGNORED))
        rc = listed_read_both(txn);
    if (rc == KV_OK)
        rc = merge_all(db, &list);
    if (rc != KV_OK) {
        db->os->free(db->os, list.ids);
        db->told_durable = 0; /* to be asked again */
        *ids = NULL;
        *n = 0;
        return rc == KV_ECORRUPT ? KV_OK : rc;
    }
    *ids = list.ids;
    *n = list.n;
    return KV_OK;
}
