/* commit.c - see commit.h. The protocol and the crash argument of each step: docs/design.md. */
#include "commit.h"
#include "catalog.h"
#include "flush.h"
#include "mutant.h"
#include "recover.h"
#include "seal.h"
#include "sweep.h"
#include "tail.h"

/* ---- 1. seal: every private page gets its place and checksum ---- */

static int seal_trees(kv_txn *txn, kvi_batch *batch)
{
    int rc = kvi_batch_gather(batch, &txn->main);
    if (rc == KV_OK)
        rc = kvi_batch_gather(batch, &txn->snapshots);
    for (kv_tree *tree = txn->trees; tree && rc == KV_OK; tree = tree->next)
        rc = tree->gone ? KV_OK : kvi_batch_gather(batch, tree);
    if (rc == KV_OK)
        rc = kvi_batch_seal(batch);
    /* The catalog names the other trees' roots, so it comes after them. */
    if (rc == KV_OK)
        rc = kvi_catalog_update(txn);
    if (rc == KV_OK)
        rc = kvi_batch_gather(batch, &txn->catalog);
    return rc == KV_OK ? kvi_batch_seal(batch) : rc;
}

static int emit_space_page(void *context, kvi_pgno page, const uint8_t *bytes)
{
    return kvi_batch_add(context, page, bytes);
}

static int drop_space_page(void *context, kvi_ptr ptr)
{
    kv_txn *txn = ((kvi_batch *)context)->txn;
    kvi_file *file = &txn->db->file;
    uint8_t checksum[8];
    if (ptr.birth <= txn->db->head.durable)
        return KV_OK;
    int rc = kvi_file_read(file, ptr.page << file->page_shift, checksum, sizeof checksum);
    txn->dropped.seal += kvi_get64(checksum);
    txn->dropped.walk += file->page_size;
    return rc;
}

/* The records of what the transaction took and dropped. */
static int seal_space(kv_txn *txn, kvi_batch *batch, kvi_meta *meta)
{
    kvi_space_sink sink = {emit_space_page, drop_space_page, batch};
    int rc = kvi_txn_drop_lost(txn);
    return rc == KV_OK ? kvi_space_seal(txn->db->space, meta, &sink) : rc;
}

static bool content_changed(const kv_txn *txn)
{
    bool changed = txn->main.changed || txn->catalog.changed;
    for (const kv_tree *tree = txn->trees; tree; tree = tree->next)
        changed = changed || tree->changed; /* the catalog has, if one is gone */
    return changed;
}

/* ---- 2. the meta: last-durable, seal, walk and slot are derived together (R1) ---- */

/* A copy that somebody writes to is no copy any more. */
static void meta_compose_origin(const kv_txn *txn, kvi_meta *meta)
{
    if (!txn->origin_id && !content_changed(txn))
        return;
    memcpy(meta->origin, txn->origin, sizeof meta->origin);
    meta->origin_id = txn->origin_id;
}

static void meta_compose(kv_txn *txn, const kvi_batch *batch, kvi_meta *meta)
{
    const kvi_head *head = &txn->db->head;
    meta->id = txn->id;
    meta->durable = head->durable;
    meta->seal = head->tail_seal + txn->sealed.seal + batch->sums.seal - txn->dropped.seal;
    meta->walk = head->tail_walk + txn->sealed.walk + batch->sums.walk - txn->dropped.walk;
    meta->clock = txn->sets_clock ? txn->now : KVI_MAX(meta->clock, txn->now);
    memcpy(meta->boot_id, txn->db->boot_id, sizeof meta->boot_id);
    meta->main = txn->main.desc;
    meta->catalog = txn->catalog.desc;
    meta->snapshots = txn->snapshots.desc;
    meta_compose_origin(txn, meta);
}

/* How this commit is made durable: as asked, but never lazy for ever (R2), nor with a walk that
 * would make recovery slow (R7). */
static uint8_t commit_kind(const kv_txn *txn, const kvi_meta *meta, uint64_t written)
{
    const kv_db *db = txn->db;
    const kvi_head *head = &db->head;
    bool lazy = txn->durability == KV_LAZY && !head->skip &&
                txn->id - head->durable < KVI_ID_SKIP - 1 &&
                head->lazy_bytes + written < db->lazy_sync_bytes;
    if (lazy)
        return KVI_KIND_LAZY;
    return txn->durability == KV_STRICT || meta->walk > KVI_WALK_CAP ? KVI_KIND_STRICT
                                                                     : KVI_KIND_DURABLE;
}

/* ---- 3. after the outcome is known ---- */

/* Of the records of free space as many as there are. */
static void meta_copy(kvi_meta *to, const kvi_meta *from)
{
    memcpy(to, from, offsetof(kvi_meta, delta) + from->delta_len);
}

static void head_advance(kv_db *db, const kvi_meta *meta, unsigned slot, uint64_t written)
{
    kvi_head *head = &db->head;
    bool durable = meta->kind != KVI_KIND_LAZY;
    if (meta->high_water < head->meta.high_water || (head->shrunk == 0 && kvi_tail_left(db, meta)))
        head->shrunk = meta->id;
    meta_copy(&head->meta, meta);
    head->next_id = KVI_MAX(head->next_id, meta->id + 1); /* a burnt id stays burnt */
    head->confirmed = false;
    head->foreign = head->foreign && !durable;
    head->tail_seal = durable ? 0 : meta->seal;
    head->tail_walk = durable ? 0 : meta->walk;
    head->lazy_bytes = durable ? 0 : head->lazy_bytes + written + KVI_META_SIZE;
    if (durable) {
        head->durable = meta->id;
        head->durable_slot = slot;
        head->durable_high_water = meta->high_water;
        head->durable_snapshots = meta->snapshots;
        head->skip = false;
    }
    if (KVI_MUTANT(SLOT_APART))
        head->durable_slot = slot;
}

bool kvi_nothing_changed(const kv_txn *txn)
{
    return !txn->wrote && !txn->sets_clock && !content_changed(txn) && !txn->snapshots.changed &&
           txn->origin_id == 0;
}

/* Somebody else's part of what is not yet durable: its write-back may have failed under a
 * descriptor that is gone, so it is written again before any flush that is to prove it (R4). */
static int tail_rewrite(kv_db *db)
{
    if (!db->head.foreign || KVI_MUTANT(TAIL_TRUSTED))
        return KV_OK;
    return kvi_recover_rewrite(&db->file, &db->head.meta);
}

/* Everything before the first byte of the meta. A failure here aborts the transaction only,
 * except that of a flush. */
static int commit_pages(kv_txn *txn, kvi_batch *batch, kvi_meta *meta, uint64_t *written)
{
    kv_db *db = txn->db;
    uint64_t size_before = kvi_file_size(&db->file);
    int rc = seal_trees(txn, batch);
    if (rc == KV_OK)
        rc = seal_space(txn, batch, meta);
    if (rc != KV_OK)
        return rc;
    meta_compose(txn, batch, meta);
    *written = txn->sealed.walk + batch->sums.walk;
    meta->kind = commit_kind(txn, meta, *written);
    kvi_readers_writing(&db->readers, txn->id);
    if (meta->kind != KVI_KIND_LAZY)
        rc = tail_rewrite(db);
    if (rc == KV_OK)
        rc = kvi_batch_write(batch);
    if (rc == KV_OK)
        rc = kvi_file_extend(&db->file, meta->high_water);
    if (rc == KV_OK && meta->kind != KVI_KIND_LAZY)
        kvi_tail_fill(db, size_before, meta->high_water);
    if (rc == KV_OK && meta->kind == KVI_KIND_DURABLE)
        kvi_file_sync_begin(&db->file); /* meanwhile the meta is made */
    if (rc == KV_OK && meta->kind == KVI_KIND_STRICT) {
        rc = KVI_MUTANT(META_BEFORE_PAGES) ? KV_OK : kvi_flush(db);
        kvi_meta_prove(meta);
    }
    return rc;
}

/* From the first byte of the meta on, a failure leaves the outcome unknown. */
static int commit_meta(kv_db *db, const kvi_meta *meta, unsigned slot)
{
    if (kvi_meta_write(&db->file, meta, slot) != KV_OK) {
        kvi_poison(db);
        return KV_EPOISONED; /* the sentence stays in db->err */
    }
    return meta->kind == KVI_KIND_LAZY ? KV_OK : kvi_flush(db);
}

static int commit_story(kv_txn *txn, kvi_batch *batch)
{
    kv_db *db = txn->db;
    kvi_meta meta;
    unsigned slot = db->head.durable_slot ^ 1; /* never the newest durable commit's (R3) */
    if (KVI_MUTANT(META_OVER_DURABLE))
        slot ^= 1;
    uint64_t written = 0;
    meta_copy(&meta, &db->head.meta);
    int rc = commit_pages(txn, batch, &meta, &written);
    if (KVI_MUTANT(TRUNCATED_EARLY) && rc == KV_OK && meta.high_water < db->head.meta.high_water)
        rc = kvi_file_truncate(&db->file, meta.high_water);
    if (rc == KV_OK)
        rc = commit_meta(db, &meta, slot);
    if (rc != KV_OK)
        return rc;
    kvi_space_commit(db->space);
    head_advance(db, &meta, slot, written);
    if (KVI_MUTANT(UNLOCKED_EARLY))
        kvi_lock_drop(&db->lock, KVI_LOCK_WRITER);
    kvi_publish(db);
    kvi_view view;
    if (kvi_file_view(&db->file, meta.high_water, meta.id, &view) == KV_OK)
        kvi_batch_trust(batch, &view);
    kvi_tail_trim(db);
    atomic_fetch_add_explicit(&db->commits, 1, memory_order_relaxed);
    return KV_OK;
}

/* A little of what has expired goes with every commit that changes entries, if the database is opened
 * so; not with one that repeats another database's: the next backup speaks of what that one has. */
static int commit_sweep(kv_txn *txn)
{
    if (txn->origin_id || !content_changed(txn))
        return KV_OK;
    kvi_sweep sweep = {.max_entries = txn->db->sweep_per_write, .max_pages = UINT64_MAX};
    return kvi_sweep_opened(txn, &sweep);
}

int kvi_commit(kv_txn *txn)
{
    kvi_batch batch;
    int rc = KV_OK;
    if (!kvi_nothing_changed(txn)) {
        rc = kvi_txn_renew(txn);
        txn->settled = true;
        if (rc == KV_OK)
            rc = commit_sweep(txn);
        kvi_batch_init(&batch, txn);
        if (rc == KV_OK)
            rc = commit_story(txn, &batch);
        kvi_batch_close(&batch);
    }
    kvi_end(txn);
    return rc;
}

int kvi_clock_reset(kv_db *db, uint32_t wait_ms)
{
    kv_txn *txn;
    int rc = kvi_begin_write(db, wait_ms, db->durability, &txn);
    if (rc != KV_OK)
        return rc;
    txn->now = db->os->clock_ms(db->os);
    txn->sets_clock = txn->now < txn->base.clock;
    return kvi_commit(txn);
}

/* ---- what happens between commits ---- */

/* The meta of a foreign tail is a part of it. */
static int sync_flush(kv_db *db, unsigned slot)
{
    if (db->head.foreign && kvi_meta_write(&db->file, &db->head.meta, slot) != KV_OK) {
        kvi_poison(db);
        return KV_EPOISONED;
    }
    return kvi_flush(db);
}

int kvi_sync(kv_db *db)
{
    kvi_head *head = &db->head;
    if (kvi_poisoned(db))
        return kvi_fail(&db->err, KV_EPOISONED, "%s", kv_strerror(KV_EPOISONED));
    if (head->durable == head->meta.id)
        return KV_OK;
    unsigned slot = head->durable_slot ^ 1;
    kvi_meta meta = head->meta;
    int rc = tail_rewrite(db); /* the same bytes: if that fails, nothing is in doubt */
    if (rc != KV_OK)
        return rc;
    kvi_readers_writing(&db->readers, meta.id);
    rc = sync_flush(db, slot);
    if (rc == KV_OK && meta.walk > KVI_WALK_CAP) {
        kvi_meta_prove(&meta);
        rc = commit_meta(db, &meta, slot);
    } else {
        meta.kind = KVI_KIND_DURABLE; /* in memory: what is on the disk is as good now */
    }
    if (rc != KV_OK)
        return rc;
    head_advance(db, &meta, slot, 0);
    kvi_publish(db);
    kvi_readers_idle(&db->readers);
    kvi_tail_trim(db);
    return KV_OK;
}

void kvi_confirm(kv_db *db)
{
    kvi_head *head = &db->head;
    /* A lone confirmation was flushed where it stands; a second one, which is not flushed, could
     * not be told from it. */
    if (kvi_poisoned(db) || head->skip || head->confirmed || head->durable != head->meta.id ||
        head->meta.kind == KVI_KIND_CONFIRMATION)
        return;
    kvi_meta meta = head->meta;
    kvi_meta_prove(&meta);
    meta.kind = KVI_KIND_CONFIRMATION;
    unsigned slot = KVI_MUTANT(CONFIRMED_IN_PLACE) ? head->durable_slot : head->durable_slot ^ 1;
    if (kvi_meta_write(&db->file, &meta, slot) == KV_OK)
        head->confirmed = true;
}
