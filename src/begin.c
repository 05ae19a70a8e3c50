/* begin.c - see begin.h. */
#include "begin.h"
#include "catalog.h"
#include "cursor.h"
#include "mutant.h"
#include <errno.h>
#include <stdlib.h>
#include <time.h>

/* ---- the turn ---- */

/* On the clock that the condition variable counts by. */
static struct timespec deadline_after(const kvi_os *os, uint32_t ms)
{
    uint64_t at = os->mono_ns(os) + (uint64_t)ms * 1000000;
    return (struct timespec){.tv_sec = (time_t)(at / 1000000000),
                             .tv_nsec = (long)(at % 1000000000)};
}

int kvi_turn_take(kv_db *db, uint32_t wait_ms)
{
    kvi_turn *turn = &db->turn;
    struct timespec deadline = deadline_after(db->os, wait_ms == KVI_WAIT_FOREVER ? 0 : wait_ms);
    int late = 0;
    pthread_mutex_lock(&turn->mutex);
    while (turn->taken && late != ETIMEDOUT && wait_ms != 0) {
        if (wait_ms == KVI_WAIT_FOREVER)
            pthread_cond_wait(&turn->cond, &turn->mutex);
        else
            late = pthread_cond_timedwait(&turn->cond, &turn->mutex, &deadline);
    }
    bool mine = !turn->taken;
    if (mine)
        turn->taken = true;
    pthread_mutex_unlock(&turn->mutex);
    return mine ? KV_OK : kvi_fail(&db->err, KV_EBUSY, "another write transaction is running");
}

/* Leaves the numbers of the space records for those who ask without the turn. */
static void space_note(kv_db *db)
{
    if (!db->space)
        return;
    atomic_store_explicit(&db->free_pages, kvi_space_free_pages(db->space), memory_order_relaxed);
    atomic_store_explicit(&db->blocked_pages, kvi_space_dead_pages(db->space),
                          memory_order_relaxed);
    atomic_store_explicit(&db->space_pages, kvi_space_own_pages(db->space), memory_order_relaxed);
}

void kvi_turn_give(kv_db *db)
{
    space_note(db);
    pthread_mutex_lock(&db->turn.mutex);
    db->turn.taken = false;
    pthread_cond_signal(&db->turn.cond);
    pthread_mutex_unlock(&db->turn.mutex);
}

/* ---- what is alive ---- */

typedef struct id_list {
    const kvi_os *os;
    kvi_id *ids;
    size_t n, cap;
} id_list;

static int id_add(void *context, kvi_id id, uint64_t since)
{
    id_list *list = context;
    (void)since;
    if (list->n == list->cap) {
        size_t cap = list->cap * 2 + 16;
        kvi_id *ids = list->os->realloc(list->os, list->ids, cap * sizeof *ids);
        if (!ids)
            return KV_ENOMEM;
        list->ids = ids;
        list->cap = cap;
    }
    list->ids[list->n++] = id;
    return KV_OK;
}

static int by_id(const void *a, const void *b)
{
    const kvi_id *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

int kvi_live_set(kv_db *db, kvi_id **ids, size_t *n)
{
    id_list list = {.os = db->os};
    int rc = KVI_MUTANT(REUSED_EARLY) ? KV_OK : id_add(&list, db->head.durable, 0);
    if (rc == KV_OK)
        rc = id_add(&list, db->head.meta.id, 0); /* published, or written and unresolved */
    if (rc == KV_OK)
        rc = kvi_readers_scan(&db->readers, id_add, &list);
    if (rc != KV_OK) {
        db->os->free(db->os, list.ids);
        return rc;
    }
    qsort(list.ids, list.n, sizeof *list.ids, by_id);
    size_t kept = 0;
    for (size_t i = 0; i < list.n; i++)
        if (kept == 0 || list.ids[i] != list.ids[kept - 1])
            list.ids[kept++] = list.ids[i];
    *ids = list.ids;
    *n = kept;
    return KV_OK;
}

int kvi_space_ready(kv_db *db)
{
    if (db->space)
        return KV_OK;
    kvi_meta meta = db->head.meta;
    meta.durable = db->head.durable; /* it may have become so after the meta was written */
    int rc = kvi_space_load(&db->space, &db->file, &meta);
    if (rc == KV_OK)
        space_note(db);
    return rc;
}

/* ---- reading ---- */

static void txn_attach(kv_txn *txn, const kvi_snapshot *base)
{
    txn->base = *base;
    uint64_t clock = txn->db->os->clock_ms(txn->db->os);
    txn->now = KVI_MAX(clock, base->clock);
    txn->main.txn = txn;
    txn->main.desc = base->main;
    txn->catalog.txn = txn;
    txn->catalog.desc = base->catalog;
}

/* Pins the newest commit and looks at the file through it. */
static int reader_attach(kv_txn *txn)
{
    kv_db *db = txn->db;
    kvi_snapshot base;
    kvi_readers_pin(&db->readers, &txn->claim, &base);
    txn_attach(txn, &base);
    atomic_store_explicit(&txn->claim.slot->since, txn->now, memory_order_relaxed);
    return kvi_file_view(&db->file, base.high_water, base.id, &txn->view);
}

/* The transaction object that the claimed slot keeps. */
static kv_txn *reader_object(kv_db *db, kvi_claim *claim)
{
    kv_txn *txn = *claim->cached;
    if (!txn) {
        txn = db->os->alloc(db->os, sizeof *txn);
        if (!txn)
            return NULL;
        *claim->cached = txn;
        memset(txn, 0, sizeof *txn);
    }
    txn->db = db;
    txn->claim = *claim;
    return txn;
}

int kvi_begin_read(kv_db *db, kv_txn **out)
{
    kvi_claim claim;
    int rc = kvi_readers_claim(&db->readers, &claim);
    if (rc != KV_OK)
        return rc;
    kv_txn *txn = reader_object(db, &claim);
    rc = txn ? reader_attach(txn) : KV_ENOMEM;
    if (rc != KV_OK) {
        kvi_readers_unpin(&claim);
        kvi_readers_release(&claim);
        return rc;
    }
    atomic_fetch_add_explicit(&db->n_readers, 1, memory_order_relaxed);
    *out = txn;
    return KV_OK;
}

static void loans_free(kv_txn *txn)
{
    while (txn->loans) {
        kvi_loan *next = txn->loans->next;
        txn->db->os->free(txn->db->os, txn->loans);
        txn->loans = next;
    }
}

int kvi_refresh(kv_txn *txn)
{
    kvi_cursor_reset_all(txn);
    txn->changes++;
    kvi_readers_unpin(&txn->claim);
    int rc = reader_attach(txn);
    if (rc == KV_OK)
        rc = kvi_catalog_reload(txn, NULL);
    if (rc != KV_OK)
        txn->failed = true;
    return rc;
}

static void trees_free(kv_txn *txn)
{
    while (txn->trees) {
        kv_tree *next = txn->trees->next;
        txn->db->os->free(txn->db->os, txn->trees);
        txn->trees = next;
    }
}

/* Leaves the object as a fresh one would be, for its next use. */
static void txn_clean(kv_txn *txn)
{
    kvi_cursor_close_all(txn);
    trees_free(txn);
    loans_free(txn);
    txn->failed = false;
    txn->changes = 0;
}

static void reader_end(kv_txn *txn)
{
    kv_db *db = txn->db;
    kvi_claim claim = txn->claim;
    txn_clean(txn);
    kvi_readers_unpin(&claim);
    kvi_readers_release(&claim);
    atomic_fetch_sub_explicit(&db->n_readers, 1, memory_order_release);
}

/* ---- writing ---- */

static int writer_ready(kv_db *db)
{
    if (atomic_load(&db->poisoned))
        return kvi_fail(&db->err, KV_EPOISONED, "%s", kv_strerror(KV_EPOISONED));
    if (db->head.next_id > KVI_ID_MAX - KVI_ID_SKIP)
        return kvi_fail(&db->err, KV_ECORRUPT, "the transaction ids of this file are used up");
    int rc = kvi_space_ready(db);
    if (rc != KV_OK)
        return rc;
    kvi_id *live;
    size_t n;
    rc = kvi_live_set(db, &live, &n);
    if (rc != KV_OK)
        return rc;
    rc = kvi_space_begin(db->space, db->head.next_id, live, n);
    db->os->free(db->os, live);
    return rc;
}

static kv_txn *writer_object(kv_db *db)
{
    if (!db->spare) {
        db->spare = db->os->alloc(db->os, sizeof *db->spare);
        if (db->spare)
            memset(db->spare, 0, sizeof *db->spare);
    }
    return db->spare;
}

static int writer_attach(kv_txn *txn, int durability)
{
    kv_db *db = txn->db;
    kvi_snapshot base = kvi_head_snapshot(&db->head);
    txn_attach(txn, &base);
    txn->write = true;
    txn->id = db->head.next_id;
    txn->durability = durability;
    return kvi_file_view(&db->file, base.high_water, txn->id, &txn->view);
}

int kvi_begin_write(kv_db *db, uint32_t wait_ms, int durability, kv_txn **out)
{
    int rc = kvi_turn_take(db, wait_ms);
    if (rc != KV_OK)
        return rc;
    rc = writer_ready(db);
    kv_txn *txn = rc == KV_OK ? writer_object(db) : NULL;
    if (rc == KV_OK && !txn)
        rc = KV_ENOMEM;
    if (rc == KV_OK) {
        txn->db = db;
        rc = writer_attach(txn, durability);
    }
    if (rc != KV_OK) {
        kvi_turn_give(db);
        return rc;
    }
    atomic_fetch_add_explicit(&db->n_writers, 1, memory_order_relaxed);
    *out = txn;
    return KV_OK;
}

static void savepoints_free(kv_txn *txn)
{
    const kvi_os *os = txn->db->os;
    os->free(os, txn->savepoints);
    os->free(os, txn->saved);
    os->free(os, txn->lost);
}

static void writer_end(kv_txn *txn)
{
    kv_db *db = txn->db;
    /* An id that stands in a page is never used again. */
    if (txn->wrote && !KVI_MUTANT(ID_NOT_BURNT))
        db->head.next_id = KVI_MAX(db->head.next_id, txn->id + 1);
    txn_clean(txn);
    savepoints_free(txn);
    if (db->space)
        kvi_space_abort(db->space); /* nothing, after a commit */
    kvi_dirty_reset(&db->dirty);
    memset(txn, 0, sizeof *txn);
    atomic_fetch_sub_explicit(&db->n_writers, 1, memory_order_release);
    kvi_turn_give(db);
}

void kvi_end(kv_txn *txn)
{
    if (txn->write)
        writer_end(txn);
    else
        reader_end(txn);
}
