/* flush.c - see flush.h. */
#include "flush.h"
#include "mutant.h"

int kvi_meta_write(kvi_file *file, const kvi_meta *meta, unsigned slot)
{
    uint8_t block[KVI_META_SIZE];
    kvi_meta_encode(meta, block);
    return kvi_file_write(file, slot * kvi_meta_stride(file->page_size), block, sizeof block);
}

/* NULL while the database is being opened, when nobody else is there to be told. */
static kvi_board *board_of(const kv_db *db)
{
    return db->readers.head ? &db->readers.head->board : NULL;
}

static void flush_note(kv_db *db, uint32_t state)
{
    kvi_board *board = board_of(db);
    if (board && !KVI_MUTANT(FLUSH_UNMARKED))
        atomic_store_explicit(&board->flush, state, memory_order_release);
}

void kvi_poison(kv_db *db)
{
    atomic_store(&db->poisoned, true);
    flush_note(db, KVI_FLUSH_FAILED);
}

bool kvi_poisoned(const kv_db *db)
{
    const kvi_board *board = board_of(db);
    return atomic_load(&db->poisoned) ||
           (board && !KVI_MUTANT(POISON_UNSEEN) &&
            atomic_load_explicit(&board->flush, memory_order_acquire) == KVI_FLUSH_FAILED);
}

int kvi_flush(kv_db *db)
{
    atomic_fetch_add_explicit(&db->flushes, 1, memory_order_relaxed);
    flush_note(db, KVI_FLUSH_BEGUN);
    int rc = KVI_MUTANT(FLUSH_SKIPPED) ? KV_OK : kvi_file_sync(&db->file);
    if (KVI_MUTANT(FLUSH_REPEATED) && rc != KV_OK)
        rc = kvi_file_sync(&db->file);
    if (rc != KV_OK) {
        kvi_poison(db);
        return KV_EPOISONED; /* the sentence stays in db->err */
    }
    flush_note(db, KVI_FLUSH_NONE);
    return KV_OK;
}

static kvi_record head_record(const kv_db *db)
{
    const kvi_head *head = &db->head;
    return (kvi_record){
        .snapshot = kvi_head_snapshot(head),
        .handover =
            {
                .next_id = head->next_id,
                .durable_high_water = head->durable_high_water,
                .tail_seal = head->tail_seal,
                .tail_walk = head->tail_walk,
                .lazy_bytes = head->lazy_bytes,
                .shrunk = head->shrunk,
                .publisher = head->foreign ? 0 : db->readers.handle,
                .durable_slot = head->durable_slot,
                .flags = (head->skip ? KVI_HANDOVER_SKIP : 0u) |
                         (head->unproven ? KVI_HANDOVER_UNPROVEN : 0u),
            },
    };
}

void kvi_publish(kv_db *db)
{
    kvi_record record = head_record(db);
    kvi_readers_publish(&db->readers, &record);
    db->head_published = atomic_load_explicit(&board_of(db)->publications, memory_order_relaxed);
}
