/* readers.c - see readers.h. */
#include "readers.h"
#include "mutant.h"
#include "news.h"

#define TABLE_SIZE  (KVI_SIDE_HEAD + (size_t)KVI_SLOTS_MAX * sizeof(kvi_slot))
#define CACHED_SIZE ((size_t)KVI_SLOTS_MAX * sizeof(void *))

static uint32_t table_slots(kvi_readers *readers)
{
    return readers->side ? kvi_side_slots(readers->side)
                         : atomic_load_explicit(&readers->head->n_slots, memory_order_acquire);
}

static int table_grow(kvi_readers *readers, kvi_err *err, uint32_t n)
{
    if (readers->side)
        return kvi_side_grow(readers->side, n);
    if (n >= KVI_SLOTS_MAX)
        return kvi_fail(err, KV_ENOMEM, "%u read transactions are open", n);
    /* The memory is there, and zero; only its use must be said. */
    atomic_compare_exchange_strong(&readers->head->n_slots, &n, n * 2);
    return KV_OK;
}

static uint32_t owner_handle(uint64_t owner)
{
    return (uint32_t)owner;
}

/* The caller holds the presence byte of handle, so nobody else owns or gets these slots. The pin
 * goes before the owner: behind it the slot may be somebody's at once. */
static void slots_clear(kvi_readers *readers, uint32_t handle)
{
    uint32_t n = table_slots(readers);
    for (uint32_t i = 0; i < n; i++) {
        kvi_slot *slot = &readers->slots[i];
        uint64_t owner = atomic_load_explicit(&slot->owner, memory_order_acquire);
        if (owner_handle(owner) != handle)
            continue;
        atomic_store_explicit(&slot->pin, 0, memory_order_release);
        atomic_compare_exchange_strong_explicit(&slot->owner, &owner, owner & ~(uint64_t)UINT32_MAX,
                                                memory_order_release, memory_order_relaxed);
    }
}

static uint32_t spread(uint64_t number)
{
    return (uint32_t)((number * 0x9e3779b97f4a7c15ull) >> 32);
}

int kvi_readers_init(kvi_readers *readers, const kvi_os *os, kvi_side *side)
{
    uint8_t *table = side ? (uint8_t *)side->head : os->reserve(os, TABLE_SIZE);
    void **cached = os->reserve(os, CACHED_SIZE);
    if (!table || !cached) {
        if (table && !side)
            os->release(os, table, TABLE_SIZE);
        if (cached)
            os->release(os, cached, CACHED_SIZE);
        return KV_ENOMEM;
    }
    *readers = (kvi_readers){.os = os,
                             .side = side,
                             .head = (kvi_side_head *)table,
                             .slots = (kvi_slot *)(table + KVI_SIDE_HEAD),
                             .cached = cached,
                             .handle = side ? side->handle : 1};
    for (uint32_t i = 0; i < KVI_RECENT; i++)
        readers->recent[i] = spread(readers->handle * KVI_RECENT + i);
    int rc = side ? kvi_side_look(side) : KV_OK;
    if (rc != KV_OK) {
        os->release(os, cached, CACHED_SIZE);
        readers->os = NULL;
        return rc;
    }
    if (side)
        slots_clear(readers, readers->handle); /* the number may have been a dead one's */
    else
        atomic_store_explicit(&readers->head->n_slots, KVI_SLOTS_FIRST, memory_order_relaxed);
    return KV_OK;
}

void kvi_readers_close(kvi_readers *readers)
{
    const kvi_os *os = readers->os;
    /* All that were ever ours to claim; what the side file says now may be less. */
    uint32_t n = readers->side ? atomic_load(&readers->side->known) : table_slots(readers);
    for (uint32_t i = 0; i < n; i++)
        os->free(os, readers->cached[i]);
    os->release(os, readers->cached, CACHED_SIZE);
    if (!readers->side)
        os->release(os, readers->head, TABLE_SIZE);
    memset(readers, 0, sizeof *readers);
}

/* ---- the board ---- */

void kvi_readers_publish(kvi_readers *readers, const kvi_record *record)
{
    kvi_board *board = &readers->head->board;
    uint64_t words[KVI_RECORD_WORDS];
    uint64_t counter = atomic_load_explicit(&board->counter, memory_order_relaxed);
    unsigned fill = (counter & 1) ^ 1; /* never the one that readers are copying */
    if (KVI_MUTANT(RECORD_IN_USE))
        fill ^= 1;
    memcpy(words, record, sizeof words);
    /* The counter that deselected this record must be seen no later than its new words. */
    atomic_thread_fence(memory_order_release);
    for (size_t i = 0; i < KVI_RECORD_WORDS; i++)
        atomic_store_explicit(&board->record[fill][i], words[i], memory_order_relaxed);
    atomic_store_explicit(&board->counter, record->snapshot.id << 1 | fill, memory_order_release);
    atomic_store_explicit(&board->durable, record->snapshot.durable, memory_order_release);
    atomic_fetch_add_explicit(&board->publications, 1, memory_order_release);
    kvi_news_tell(readers->os, board);
}

void kvi_readers_writing(kvi_readers *readers, kvi_id id)
{
    kvi_board *board = &readers->head->board;
    if (atomic_load_explicit(&board->burnt, memory_order_relaxed) < id && !KVI_MUTANT(BURNT_UNSAID))
        atomic_store_explicit(&board->burnt, id, memory_order_relaxed);
    atomic_store_explicit(&board->writing, 1, memory_order_release);
}

void kvi_readers_idle(kvi_readers *readers)
{
    kvi_board *board = &readers->head->board;
    uint32_t begun = KVI_FLUSH_BEGUN; /* by a writer whose death is dealt with */
    atomic_compare_exchange_strong(&board->flush, &begun, KVI_FLUSH_NONE);
    atomic_store_explicit(&board->writing, 0, memory_order_release);
}

/* The first n words of a record. */
static void board_copy(const kvi_board *board, uint64_t counter, size_t n, void *to)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t word = atomic_load_explicit(&board->record[counter & 1][i], memory_order_relaxed);
        memcpy((uint8_t *)to + i * sizeof word, &word, sizeof word);
    }
}

void kvi_readers_record(const kvi_readers *readers, kvi_record *record)
{
    const kvi_board *board = &readers->head->board;
    uint64_t counter = atomic_load_explicit(&board->counter, memory_order_acquire);
    board_copy(board, counter, KVI_RECORD_WORDS, record);
}

void kvi_readers_pin(kvi_readers *readers, kvi_claim *claim, kvi_snapshot *snapshot)
{
    kvi_board *board = &readers->head->board;
    uint64_t counter = atomic_load_explicit(&board->counter, memory_order_acquire), again;
    for (;; counter = again) {
        /* Sequentially consistent store and load: the full fence between pin and re-check. */
        atomic_store_explicit(&claim->slot->pin, counter >> 1, memory_order_seq_cst);
        again = atomic_load_explicit(&board->counter, memory_order_seq_cst);
        if (again != counter)
            continue;
        board_copy(board, counter, KVI_SNAPSHOT_WORDS, snapshot);
        atomic_thread_fence(memory_order_acquire);
        again = atomic_load_explicit(&board->counter, memory_order_acquire);
        if (again == counter || KVI_MUTANT(COPY_UNCONFIRMED))
            break;
    }
}

void kvi_readers_unpin(kvi_claim *claim)
{
    atomic_store_explicit(&claim->slot->pin, 0, memory_order_release);
}

void kvi_readers_repin(kvi_claim *claim, kvi_id id)
{
    atomic_store_explicit(&claim->slot->pin, id, memory_order_seq_cst);
}

/* ---- slots ---- */

/* The owner word of the next one to claim a slot: who stopped before comparing sees that the slot
 * has changed hands since. */
static uint64_t owner_next(uint64_t owner, uint32_t handle)
{
    return ((owner >> 32) + 1) << 32 | handle;
}

/* Where a thread begins to look: threads and handles should not fight over the first slots, and the
 * slot that was free last time most likely is again. */
static _Atomic uint32_t *slot_hint(kvi_readers *readers)
{
    return &readers->recent[spread((uint64_t)(uintptr_t)pthread_self()) % KVI_RECENT];
}

static bool slot_claim(const kvi_readers *readers, kvi_slot *slot, kvi_claim *claim)
{
    uint64_t owner = atomic_load_explicit(&slot->owner, memory_order_relaxed);
    claim->slot = slot;
    claim->owner = owner_next(owner, readers->handle);
    return owner_handle(owner) == 0 &&
           atomic_compare_exchange_strong_explicit(&slot->owner, &owner, claim->owner,
                                                   memory_order_acquire, memory_order_relaxed);
}

static bool table_claim(kvi_readers *readers, uint32_t n, kvi_claim *claim)
{
    _Atomic uint32_t *hint = slot_hint(readers);
    uint32_t start = atomic_load_explicit(hint, memory_order_relaxed);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = (start + i) & (n - 1);
        if (!slot_claim(readers, &readers->slots[at], claim))
            continue;
        claim->cached = &readers->cached[at];
        if (i > 0)
            atomic_store_explicit(hint, at, memory_order_relaxed);
        return true;
    }
    return false;
}

int kvi_readers_claim(kvi_readers *readers, kvi_err *err, kvi_claim *claim)
{
    uint32_t n = table_slots(readers);
    if (KVI_LIKELY(table_claim(readers, n, claim)))
        return KV_OK;
    kvi_readers_reap(readers, UINT64_MAX);
    while (!table_claim(readers, n, claim)) {
        int rc = table_grow(readers, err, n);
        if (rc != KV_OK)
            return rc;
        n = table_slots(readers);
    }
    return KV_OK;
}

void kvi_readers_release(kvi_claim *claim)
{
    uint64_t owner = claim->owner;
    atomic_compare_exchange_strong_explicit(&claim->slot->owner, &owner,
                                            owner & ~(uint64_t)UINT32_MAX, memory_order_release,
                                            memory_order_relaxed);
}

uint32_t kvi_readers_claimed(kvi_readers *readers)
{
    uint32_t n = table_slots(readers), claimed = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t owner = atomic_load_explicit(&readers->slots[i].owner, memory_order_acquire);
        claimed += owner_handle(owner) == readers->handle;
    }
    return claimed;
}

int kvi_readers_scan(kvi_readers *readers, int (*fn)(void *context, const kvi_pin *pin),
                     void *context)
{
    atomic_thread_fence(memory_order_seq_cst);
    int looked = readers->side ? kvi_side_look(readers->side) : KV_OK;
    if (looked != KV_OK)
        return looked;
    uint32_t n = table_slots(readers);
    for (uint32_t i = 0; i < n; i++) {
        const kvi_slot *slot = &readers->slots[i];
        kvi_pin pin = {.id = atomic_load_explicit(&slot->pin, memory_order_seq_cst)};
        if (pin.id == 0)
            continue;
        pin.since = atomic_load_explicit(&slot->since, memory_order_relaxed);
        pin.process = atomic_load_explicit(&slot->process, memory_order_relaxed);
        pin.handle = owner_handle(atomic_load_explicit(&slot->owner, memory_order_relaxed));
        int rc = fn(context, &pin);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* ---- the dead ---- */

void kvi_readers_reap(kvi_readers *readers, kvi_id id)
{
    uint32_t alive = 0; /* the one asked about last: slots of one handle come in crowds */
    uint32_t n = readers->side ? table_slots(readers) : 0;
    for (uint32_t i = 0; i < n; i++) {
        const kvi_slot *slot = &readers->slots[i];
        uint32_t owner = owner_handle(atomic_load_explicit(&slot->owner, memory_order_acquire));
        kvi_id pin = atomic_load_explicit(&slot->pin, memory_order_relaxed);
        if (owner == 0 || owner == alive || owner == readers->handle || pin >= id)
            continue;
        if (kvi_side_bury(readers->side, owner)) {
            slots_clear(readers, owner);
            kvi_side_bury_end(readers->side, owner);
        } else {
            alive = owner;
        }
    }
}
