/* readers.h - publication of commits, and the table of snapshots that readers have pinned.
 *
 * Both are plain fixed-width atomics without pointers, so that they can live in memory shared by
 * processes. The order that makes a pin safe (design.md, "Readers"):
 *
 *   reader: load counter; store pin; full fence; load counter again, retry when it changed;
 *           copy the record; acquire fence; load counter again, retry when it changed
 *   writer: fill the record that is not selected; store counter (release); full fence;
 *           then look at the pins, each loaded once
 *
 * Either the reader's second load sees the new counter, or the writer's scan sees the pin.
 */
#ifndef KVI_READERS_H
#define KVI_READERS_H

#include "err.h"
#include "format.h"
#include "os.h"
#include <stdatomic.h>

/* What a transaction needs to know of the commit that it sees. */
typedef struct kvi_snapshot {
    kvi_id id;
    kvi_id durable; /* newest durable commit when this one was published */
    uint64_t high_water;
    uint64_t clock;
    kvi_tree_desc main;
    kvi_tree_desc catalog;
    kvi_tree_desc snapshots;
} kvi_snapshot;

#define KVI_RECORD_WORDS (sizeof(kvi_snapshot) / 8)
_Static_assert(sizeof(kvi_snapshot) % 8 == 0, "a record is whole words");

/* The board on which the newest commit is published: two records and a counter that selects one. */
typedef struct kvi_board {
    _Atomic uint64_t counter; /* id << 1 | record */
    _Atomic uint64_t record[2][KVI_RECORD_WORDS];
} kvi_board;

/* One pinned snapshot; a cache line of its own. */
typedef struct kvi_slot {
    _Atomic uint64_t owner; /* 0 = unclaimed; claimed and cleared by compare-and-swap */
    _Atomic uint64_t pin;   /* commit id; 0 = none */
    _Atomic uint64_t since; /* milliseconds since the epoch */
    uint64_t reserved[5];
} kvi_slot;
_Static_assert(sizeof(kvi_slot) == 64, "a slot is one cache line");

#ifdef KVI_STRESS
#define KVI_SLOTS_FIRST 2
#else
#define KVI_SLOTS_FIRST 64
#endif
#define KVI_SLOT_SEGMENTS 16 /* each twice as large as the one before */

typedef struct kvi_readers {
    const kvi_os *os;
    kvi_board *board;
    _Atomic(kvi_slot *) segments[KVI_SLOT_SEGMENTS];
    void **cached[KVI_SLOT_SEGMENTS]; /* per slot: memory that the slot's owner keeps for reuse */
    pthread_mutex_t grow;             /* guards the adding of segments */
} kvi_readers;

/* A claimed slot. */
typedef struct kvi_claim {
    kvi_slot *slot;
    void **cached;
} kvi_claim;

int kvi_readers_init(kvi_readers *readers, const kvi_os *os) KVI_MUST_CHECK;
void kvi_readers_close(kvi_readers *readers); /* frees what cached points to */

/* Makes snapshot the newest published commit. Writer only. */
void kvi_readers_publish(kvi_readers *readers, const kvi_snapshot *snapshot);

/* Claims a slot. KV_ENOMEM. Lock-free unless the table must grow. */
int kvi_readers_claim(kvi_readers *readers, kvi_claim *claim) KVI_MUST_CHECK;
void kvi_readers_release(kvi_claim *claim);

/* Pins the newest published commit in a claimed slot and copies its record. */
void kvi_readers_pin(kvi_readers *readers, kvi_claim *claim, kvi_snapshot *snapshot);
void kvi_readers_unpin(kvi_claim *claim);

/* Calls fn for every pin found, each slot loaded once, after a full fence. fn: not 0 stops. */
int kvi_readers_scan(kvi_readers *readers, int (*fn)(void *context, kvi_id pin, uint64_t since),
                     void *context);

#endif
