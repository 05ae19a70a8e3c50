/* begin.c - see begin.h. */
#include "begin.h"
#include "catalog.h"
#include "commit.h"
#include "cursor.h"
#include "flush.h"
#include "guest.h"
#include "live.h"
#include "mutant.h"
#include "opened.h"

static void object_reset(kv_txn *txn)
{
    memset(txn, 0, sizeof *txn);
    txn->cursor_room = kvi_txn_cursor_room(txn);
}

static kv_txn *object_new(const kv_db *db)
{
    size_t size = sizeof(kv_txn) + kvi_cursor_size(db->file.page_size);
    kv_txn *txn = db->os->alloc(db->os, size);
    if (txn)
        object_reset(txn);
    return txn;
}

/* ---- reading ---- */

/* Begins at txn->base, at that time. */
static void txn_attach(kv_txn *txn, uint64_t clock)
{
    txn->now = KVI_MAX(clock, txn->base.clock);
    txn->main.txn = txn;
    txn->main.desc = txn->base.main;
    txn->catalog.txn = txn;
    txn->catalog.desc = txn->base.catalog;
}

/* Where nothing can have expired, to the millisecond is not worth a reading of the hardware's clock. */
static uint64_t reader_clock(const kv_txn *txn)
{
    const kvi_os *os = txn->db->os;
    bool expires = (txn->base.main.flags & KVI_TREE_EXPIRY) || txn->base.catalog.entries > 0;
    return expires ? os->clock_ms(os) : os->tick_ms(os);
}

static int guest_pin(kv_txn *txn)
{
    kvi_snapshot base;
    int rc = kvi_guest_pin(txn->db, &base);
    if (rc == KV_OK)
        txn->base = base;
    return rc;
}

/* Pins the newest commit and looks at the file through it. */
static int reader_attach(kv_txn *txn)
{
    kv_db *db = txn->db;
    int rc = KV_OK;
    if (db->role == KVI_GUEST)
        rc = guest_pin(txn);
    else
        kvi_readers_pin(&db->readers, &txn->claim, &txn->base);
    if (rc != KV_OK)
        return rc;
    txn_attach(txn, reader_clock(txn));
    kvi_slot *slot = txn->claim.slot; /* for people who ask who reads what */
    atomic_store_explicit(&slot->since, txn->now, memory_order_relaxed);
    atomic_store_explicit(&slot->process, db->process, memory_order_relaxed);
    if (db->role == KVI_GUEST)
        atomic_store_explicit(&slot->pin, txn->base.id, memory_order_relaxed);
    return kvi_file_view(&db->file, txn->base.high_water, txn->base.id, &txn->view);
}

static void reader_detach(kv_txn *txn)
{
    if (txn->db->role == KVI_GUEST)
        kvi_guest_unpin(txn->db, txn->base.id);
    kvi_readers_unpin(&txn->claim);
    txn->base.id = 0;
}

/* The transaction object that the claimed slot keeps. */
static kv_txn *reader_object(kv_db *db, kvi_claim *claim)
{
    kv_txn *txn = *claim->cached;
    if (!txn) {
        txn = object_new(db);
        if (!txn)
            return NULL;
        *claim->cached = txn;
    }
    txn->db = db;
    txn->claim = *claim;
    txn->base.id = 0;
    return txn;
}

int kvi_begin_read(kv_db *db, kv_txn **out)
{
    kvi_claim claim;
    int rc = kvi_readers_claim(&db->readers, &db->err, &claim);
    if (rc != KV_OK)
        return rc;
    kv_txn *txn = reader_object(db, &claim);
    rc = txn ? reader_attach(txn) : KV_ENOMEM;
    if (rc != KV_OK) {
        if (txn)
            reader_detach(txn);
        kvi_readers_release(&claim);
        return rc;
    }
    *out = txn;
    return KV_OK;
}

int kvi_refresh(kv_txn *txn)
{
    kvi_cursor_reset_all(txn);
    txn->changes++;
    kvi_txn_unlend(txn, NULL); /* views end */
    reader_detach(txn);
    int rc = reader_attach(txn);
    if (rc == KV_OK)
        rc = kvi_catalog_reload(txn, NULL);
    if (rc != KV_OK)
        txn->failed = true;
    return rc;
}

int kvi_reader_repin(kv_txn *txn, kvi_id id)
{
    kv_db *db = txn->db;
    int rc = db->role == KVI_GUEST ? kvi_guest_pin_too(db, id) : KV_OK;
    if (rc != KV_OK)
        return rc;
    if (db->role == KVI_GUEST)
        kvi_guest_unpin(db, txn->base.id);
    kvi_readers_repin(&txn->claim, id);
    txn->base.id = id;
    return KV_OK;
}

int kvi_reader_show(kv_txn *txn, kvi_snapshot base)
{
    txn->base = base;
    txn_attach(txn, reader_clock(txn));
    return kvi_file_view(&txn->db->file, base.high_water, base.id, &txn->view);
}

/* Leaves the object as a fresh one would be, for its next use. */
static void txn_clean(kv_txn *txn)
{
    kvi_cursor_close_all(txn);
    if (txn->trees)
        kvi_opened_free(txn);
    kvi_txn_unlend(txn, NULL);
    txn->kept[0] = txn->kept[1] = NULL;
    txn->db->os->free(txn->db->os, txn->key_room);
    txn->key_room = NULL;
    txn->failed = false;
    txn->changes = 0;
}

static void reader_end(kv_txn *txn)
{
    kvi_claim claim = txn->claim;
    txn_clean(txn);
    reader_detach(txn);
    kvi_readers_release(&claim);
}

/* ---- writing ---- */

static int writer_allowed(kv_db *db)
{
    if (kvi_poisoned(db))
        return kvi_fail(&db->err, KV_EPOISONED, "%s", kv_strerror(KV_EPOISONED));
    if (db->head.next_id > KVI_ID_MAX - KVI_ID_SKIP)
        return kvi_fail(&db->err, KV_ECORRUPT, "the transaction ids of this file are used up");
    return KV_OK;
}

static kv_txn *writer_object(kv_db *db)
{
    if (!db->spare)
        db->spare = object_new(db);
    return db->spare;
}

static int writer_attach(kv_txn *txn, int durability)
{
    kv_db *db = txn->db;
    txn->base = kvi_head_snapshot(&db->head);
    txn_attach(txn, db->os->clock_ms(db->os));
    txn->snapshots.txn = txn;
    txn->snapshots.desc = txn->base.snapshots;
    txn->write = true;
    txn->id = db->head.next_id;
    txn->durability = durability;
    return kvi_file_view(&db->file, txn->base.high_water, txn->id, &txn->view);
}

static int writer_space(kv_txn *txn)
{
    kv_db *db = txn->db;
    kvi_id *live = NULL;
    size_t n = 0;
    int rc = KV_OK;
    bool compacts = atomic_load_explicit(&db->compacting, memory_order_relaxed) > 0;
    bool full = db->file.full > 0;
    db->file.full -= full;
    kvi_space_low(db->space, compacts || full);
    if (kvi_live_due(db))
        rc = kvi_live_set(txn, &live, &n);
    if (rc != KV_OK)
        return rc;
    rc = kvi_space_begin(db->space, txn->id, live, n);
    db->os->free(db->os, live);
    if (rc != KV_OK)
        db->told_durable = 0; /* to be asked again */
    return rc;
}

/* The next commit forgets records that are damaged: no seal may count them then. */
static int records_ready(kv_db *db)
{
    int rc = kvi_space_ready(db);
    if (rc == KV_OK && kvi_space_unknown(db->space) && db->head.durable != db->head.meta.id)
        rc = kvi_sync(db);
    return rc;
}

static int writer_begin(kv_db *db, int durability, kv_txn **out)
{
    int rc = writer_allowed(db);
    if (rc == KV_OK)
        rc = records_ready(db);
    kv_txn *txn = rc == KV_OK ? writer_object(db) : NULL;
    if (!txn)
        return rc == KV_OK ? KV_ENOMEM : rc;
    txn->db = db;
    rc = writer_attach(txn, durability);
    if (rc == KV_OK)
        rc = writer_space(txn);
    if (rc != KV_OK) {
        object_reset(txn);
        return rc;
    }
    *out = txn;
    return KV_OK;
}

int kvi_begin_write(kv_db *db, uint32_t wait_ms, int durability, kv_txn **out)
{
    int rc = kvi_turn_take(db, wait_ms);
    if (rc != KV_OK)
        return rc;
    rc = kvi_turn_look(db);
    if (rc == KV_OK)
        rc = writer_begin(db, durability, out);
    if (rc != KV_OK) {
        kvi_turn_give(db);
        return rc;
    }
    atomic_fetch_add_explicit(&db->n_writers, 1, memory_order_relaxed);
    return KV_OK;
}

static void savepoints_free(kv_txn *txn)
{
    const kvi_os *os = txn->db->os;
    os->free(os, txn->savepoints);
    os->free(os, txn->saved);
    kvi_extents_free(&txn->lost, os);
}

static void writer_end(kv_txn *txn)
{
    kv_db *db = txn->db;
    /* An id that stands in a page, or that somebody may have been told, is never used again. */
    if (txn->wrote && !KVI_MUTANT(ID_NOT_BURNT))
        db->head.next_id = KVI_MAX(db->head.next_id, kvi_txn_commit_id(txn) + 1);
    if (!kvi_poisoned(db))
        kvi_readers_idle(&db->readers);
    txn_clean(txn);
    savepoints_free(txn);
    kvi_space_abort(db->space); /* nothing, after a commit */
    if (kvi_space_unknown(db->space))
        kvi_space_forget(db);
    kvi_dirty_reset(&db->dirty);
    object_reset(txn);
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
