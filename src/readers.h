/* readers.h - publication of commits, and the table of snapshots that readers have pinned.
 *
 * Both are plain fixed-width atomics without pointers: in memory of the handle's own when it is the
 * sole owner of the file, else in the side file, shared by processes. The order that makes a pin
 * safe (design.md, "Readers"):
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
#include "side.h"
#include <stdatomic.h>

/* A claimed slot. */
typedef struct kvi_claim {
    kvi_slot *slot;
    void **cached;  /* memory that this handle keeps for the slot's next use */
    uint64_t owner; /* what the slot's owner word holds while it is claimed */
} kvi_claim;

#define KVI_RECENT 16 /* places where threads, by a hash, remember the slot that they had last */

typedef struct kvi_readers {
    const kvi_os *os;
    kvi_side *side; /* NULL: head and slots are the handle's own memory */
    kvi_side_head *head;
    kvi_slot *slots;
    void **cached;   /* by slot */
    uint32_t handle; /* our number in owner words, not 0 */
    _Atomic uint32_t recent[KVI_RECENT];
} kvi_readers;

/* side: may be NULL; it must outlive the table. */
int kvi_readers_init(kvi_readers *readers, const kvi_os *os, kvi_side *side) KVI_MUST_CHECK;
void kvi_readers_close(kvi_readers *readers); /* frees what cached points to */

/* Makes the record's snapshot the newest published commit. Writer only. */
void kvi_readers_publish(kvi_readers *readers, const kvi_record *record);

/* The newest record, whole. Writer only: nobody may publish meanwhile. */
void kvi_readers_record(const kvi_readers *readers, kvi_record *record);

/* The marks of a writer at work: whoever takes the turn after its death must know that id may stand
 * in pages, and that a commit may lie there unpublished. idle: the outcome is known. */
void kvi_readers_writing(kvi_readers *readers, kvi_id id);
void kvi_readers_idle(kvi_readers *readers);

/* Claims a slot. KV_ENOMEM. Lock-free unless the table must grow. */
int kvi_readers_claim(kvi_readers *readers, kvi_err *err, kvi_claim *claim) KVI_MUST_CHECK;
void kvi_readers_release(kvi_claim *claim);

/* Slots that this handle has claimed: its open read transactions. O(slots). */
uint32_t kvi_readers_claimed(kvi_readers *readers);

/* Pins the newest published commit in a claimed slot and copies its record. */
void kvi_readers_pin(kvi_readers *readers, kvi_claim *claim, kvi_snapshot *snapshot);
void kvi_readers_unpin(kvi_claim *claim);

/* Pins another commit instead. Who pins the newest one afterwards has not been overtaken by a writer
 * that missed this pin. */
void kvi_readers_repin(kvi_claim *claim, kvi_id id);

typedef struct kvi_pin {
    kvi_id id;
    uint64_t since;   /* milliseconds since the epoch */
    uint64_t process; /* its number where it runs; 0: not known */
    uint32_t handle;
} kvi_pin;

/* Calls fn for every pin found, each slot loaded once, after a full fence. fn: not 0 stops, and is
 * the result. An error: not all slots can be looked at. */
int kvi_readers_scan(kvi_readers *readers, int (*fn)(void *context, const kvi_pin *pin),
                     void *context);

/* Clears the slots of handles whose process is dead, if there are any with a pin before id. */
void kvi_readers_reap(kvi_readers *readers, kvi_id id);

#endif
