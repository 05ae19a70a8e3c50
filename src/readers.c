/* readers.c - see readers.h. */
#include "readers.h"

static size_t segment_slots(unsigned segment)
{
    return (size_t)KVI_SLOTS_FIRST << segment;
}

static int segment_add(kvi_readers *readers, unsigned segment)
{
    const kvi_os *os = readers->os;
    size_t n = segment_slots(segment);
    kvi_slot *slots = os->reserve(os, n * sizeof *slots); /* zeroed, and on cache-line bounds */
    void **cached = os->alloc(os, n * sizeof *cached);
    if (!slots || !cached) {
        if (slots)
            os->release(os, slots, n * sizeof *slots);
        os->free(os, cached);
        return KV_ENOMEM;
    }
    memset(cached, 0, n * sizeof *cached);
    readers->cached[segment] = cached;
    atomic_store_explicit(&readers->segments[segment], slots, memory_order_release);
    return KV_OK;
}

int kvi_readers_init(kvi_readers *readers, const kvi_os *os)
{
    memset(readers, 0, sizeof *readers);
    readers->os = os;
    readers->board = os->alloc(os, sizeof *readers->board);
    if (!readers->board)
        return KV_ENOMEM;
    memset(readers->board, 0, sizeof *readers->board);
    pthread_mutex_init(&readers->grow, NULL);
    int rc = segment_add(readers, 0);
    if (rc != KV_OK)
        kvi_readers_close(readers);
    return rc;
}

void kvi_readers_close(kvi_readers *readers)
{
    const kvi_os *os = readers->os;
    for (unsigned s = 0; s < KVI_SLOT_SEGMENTS; s++) {
        kvi_slot *slots = atomic_load_explicit(&readers->segments[s], memory_order_relaxed);
        if (!slots)
            continue;
        for (size_t i = 0; i < segment_slots(s); i++)
            os->free(os, readers->cached[s][i]);
        os->free(os, readers->cached[s]);
        os->release(os, slots, segment_slots(s) * sizeof *slots);
    }
    os->free(os, readers->board);
    pthread_mutex_destroy(&readers->grow);
    memset(readers, 0, sizeof *readers);
}

void kvi_readers_publish(kvi_readers *readers, const kvi_snapshot *snapshot)
{
    kvi_board *board = readers->board;
    uint64_t words[KVI_RECORD_WORDS];
    uint64_t counter = atomic_load_explicit(&board->counter, memory_order_relaxed);
    unsigned record = (counter & 1) ^ 1; /* never the one that readers are copying */
    memcpy(words, snapshot, sizeof words);
    /* The counter that deselected this record must be seen no later than its new words. */
    atomic_thread_fence(memory_order_release);
    for (size_t i = 0; i < KVI_RECORD_WORDS; i++)
        atomic_store_explicit(&board->record[record][i], words[i], memory_order_relaxed);
    atomic_store_explicit(&board->counter, snapshot->id << 1 | record, memory_order_release);
}

static void board_copy(const kvi_board *board, uint64_t counter, kvi_snapshot *snapshot)
{
    uint64_t words[KVI_RECORD_WORDS];
    for (size_t i = 0; i < KVI_RECORD_WORDS; i++)
        words[i] = atomic_load_explicit(&board->record[counter & 1][i], memory_order_relaxed);
    memcpy(snapshot, words, sizeof words);
}

void kvi_readers_pin(kvi_readers *readers, kvi_claim *claim, kvi_snapshot *snapshot)
{
    kvi_board *board = readers->board;
    uint64_t counter = atomic_load_explicit(&board->counter, memory_order_acquire), again;
    for (;; counter = again) {
        /* Sequentially consistent store and load: the full fence between pin and re-check. */
        atomic_store_explicit(&claim->slot->pin, counter >> 1, memory_order_seq_cst);
        again = atomic_load_explicit(&board->counter, memory_order_seq_cst);
        if (again != counter)
            continue;
        board_copy(board, counter, snapshot);
        atomic_thread_fence(memory_order_acquire);
        again = atomic_load_explicit(&board->counter, memory_order_acquire);
        if (again == counter)
            return;
    }
}

void kvi_readers_unpin(kvi_claim *claim)
{
    atomic_store_explicit(&claim->slot->pin, 0, memory_order_release);
}

/* Where a thread begins to look, so that threads do not fight over the first slots. */
static size_t slot_hint(size_t n)
{
    uint64_t thread = (uint64_t)(uintptr_t)pthread_self();
    return (size_t)((thread * 0x9e3779b97f4a7c15ull) >> 32) & (n - 1);
}

static bool slot_claim(kvi_slot *slot)
{
    uint64_t unclaimed = 0;
    return atomic_load_explicit(&slot->owner, memory_order_relaxed) == 0 &&
           atomic_compare_exchange_strong_explicit(&slot->owner, &unclaimed, 1,
                                                   memory_order_acquire, memory_order_relaxed);
}

static bool segment_claim(kvi_readers *readers, unsigned segment, kvi_slot *slots, kvi_claim *claim)
{
    size_t n = segment_slots(segment), start = slot_hint(n);
    for (size_t i = 0; i < n; i++) {
        size_t at = (start + i) & (n - 1);
        if (slot_claim(&slots[at])) {
            *claim = (kvi_claim){&slots[at], &readers->cached[segment][at]};
            return true;
        }
    }
    return false;
}

static int segment_grow(kvi_readers *readers, unsigned segment)
{
    int rc = KV_OK;
    pthread_mutex_lock(&readers->grow);
    if (!atomic_load_explicit(&readers->segments[segment], memory_order_relaxed))
        rc = segment_add(readers, segment);
    pthread_mutex_unlock(&readers->grow);
    return rc;
}

int kvi_readers_claim(kvi_readers *readers, kvi_claim *claim)
{
    for (unsigned s = 0; s < KVI_SLOT_SEGMENTS;) {
        kvi_slot *slots = atomic_load_explicit(&readers->segments[s], memory_order_acquire);
        if (!slots) {
            int rc = segment_grow(readers, s);
            if (rc != KV_OK)
                return rc;
            continue;
        }
        if (segment_claim(readers, s, slots, claim))
            return KV_OK;
        s++;
    }
    return KV_ENOMEM;
}

void kvi_readers_release(kvi_claim *claim)
{
    uint64_t claimed = 1;
    atomic_compare_exchange_strong_explicit(&claim->slot->owner, &claimed, 0, memory_order_release,
                                            memory_order_relaxed);
}

int kvi_readers_scan(kvi_readers *readers, int (*fn)(void *context, kvi_id pin, uint64_t since),
                     void *context)
{
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned s = 0; s < KVI_SLOT_SEGMENTS; s++) {
        kvi_slot *slots = atomic_load_explicit(&readers->segments[s], memory_order_acquire);
        if (!slots)
            return 0;
        for (size_t i = 0; i < segment_slots(s); i++) {
            kvi_id pin = atomic_load_explicit(&slots[i].pin, memory_order_seq_cst);
            if (pin == 0)
                continue;
            int rc = fn(context, pin, atomic_load_explicit(&slots[i].since, memory_order_relaxed));
            if (rc != 0)
                return rc;
        }
    }
    return 0;
}
