/* inspect.c - see inspect.h. */
#include "inspect.h"
#include "flush.h"
#include "recover.h"

#define HASTY       8     /* tries without a pause: writers may overtake us between pin and read */
#define PATIENCE_MS 10000 /* a flush may take its time */
#define TORN_TRIES  100   /* that both metas may be unreadable */
#define PAUSE_US    1000
#define RECALL_MS   1000 /* not for ever: who asks may have the turn */

/* The pinned commit's meta. A meta page is overwritten by the commit after the next one, whoever
 * reads; that of a lazy commit by the next one, which is the newest only after its flush. Of two that
 * claim the commit it is the one that recovery chooses. *found: it was still there. */
static int meta_read(const kv_txn *txn, kvi_meta *meta, bool *found)
{
    kv_db *db = txn->db;
    kvi_slots *slots = db->os->alloc(db->os, sizeof *slots);
    *found = false;
    if (!slots)
        return KV_ENOMEM;
    int rc = kvi_recover_slots(db->os, &db->err, db->file.fd, slots);
    for (unsigned slot = 0; rc == KV_OK && slot < 2; slot++)
        if (slots->valid[slot] && slots->meta[slot].id == txn->base.id &&
            slots->meta[slot].page_size == db->file.page_size &&
            (!*found || meta->kind == KVI_KIND_CONFIRMATION)) {
            *meta = slots->meta[slot];
            *found = true;
        }
    db->os->free(db->os, slots);
    return rc;
}

/* Behind a commit that failed, the published one's meta may be gone: it got the same place. Then
 * only the handle that failed still has it. */
static int meta_recall(const kv_txn *txn, kvi_meta *meta)
{
    kv_db *db = txn->db;
    int rc = kvi_turn_take(db, RECALL_MS);
    if (rc != KV_OK)
        return rc;
    *meta = db->head.meta;
    kvi_turn_give(db);
    return meta->id == txn->base.id
               ? KV_OK
               : kvi_fail(&db->err, KV_EPOISONED, "the meta of commit %llu was overwritten",
                          (unsigned long long)txn->base.id);
}

/* Overtaken by a writer: the meta is another commit's by now, or both were being written when they
 * were read. */
static bool overtaken(int rc, bool found)
{
    return rc == KV_ECORRUPT || (rc == KV_OK && !found);
}

/* The newest commit's meta, as soon as a commit and its meta are seen together. */
static int meta_find(kvi_inspection *look, bool *found)
{
    kv_db *db = look->txn->db;
    const kvi_os *os = db->os;
    uint64_t give_up = os->mono_ns(os) + (uint64_t)PATIENCE_MS * 1000000;
    int rc = meta_read(look->txn, &look->meta, found);
    for (unsigned tries = 1; overtaken(rc, *found) && !kvi_poisoned(db); tries++) {
        if (os->mono_ns(os) >= give_up || (rc == KV_ECORRUPT && tries >= TORN_TRIES))
            break;
        if (tries >= HASTY)
            os->sleep_us(os, PAUSE_US);
        rc = kvi_refresh(look->txn);
        if (rc == KV_OK)
            rc = meta_read(look->txn, &look->meta, found);
    }
    return rc;
}

int kvi_inspect_begin(kv_db *db, kvi_inspection *look)
{
    bool found = false;
    look->space = NULL;
    int rc = kvi_begin_read(db, &look->txn);
    if (rc != KV_OK)
        return rc;
    rc = meta_find(look, &found);
    if (rc == KV_OK && !found && kvi_poisoned(db))
        rc = meta_recall(look->txn, &look->meta);
    else if (rc == KV_OK && !found)
        rc = kvi_fail(&db->err, KV_EBUSY, "the newest commit changes too fast");
    if (rc != KV_OK)
        kvi_end(look->txn);
    return rc;
}

int kvi_inspect_space(kvi_inspection *look)
{
    kvi_meta meta = look->meta;
    meta.durable = KVI_MAX(meta.durable, look->txn->base.durable); /* it may have become so since */
    return kvi_space_load(&look->space, &look->txn->db->file, &meta);
}

/* A turn in a poisoned database does not tell what the newest commit is. */
static bool turn_taken(kv_db *db, uint32_t wait_ms)
{
    if (db->readonly || kvi_poisoned(db) || kvi_turn_take(db, wait_ms) != KV_OK)
        return false;
    if (!kvi_poisoned(db))
        return true;
    kvi_turn_give(db);
    return false;
}

int kvi_with_space(kv_db *db, uint32_t wait_ms, kvi_space_fn *fn, void *context)
{
    if (turn_taken(db, wait_ms)) {
        int rc = kvi_space_ready(db);
        if (rc == KV_OK)
            fn(context, &db->head.meta, db->space);
        kvi_turn_give(db);
        return rc;
    }
    kvi_inspection look;
    int rc = kvi_inspect_begin(db, &look);
    if (rc != KV_OK)
        return rc;
    rc = kvi_inspect_space(&look);
    if (rc == KV_OK)
        fn(context, &look.meta, look.space);
    kvi_inspect_end(&look);
    return rc;
}

void kvi_inspect_end(kvi_inspection *look)
{
    if (look->space)
        kvi_space_close(look->space);
    kvi_end(look->txn);
}
