/* lock.h - who may use the file: OFD byte-range locks on the database file.
 *
 * The locks live on a descriptor of their own, which is never mapped: a map would keep the open
 * file, and so the lock, alive in a forked child after its parent was killed. They belong to the
 * open file, so the handles of one process exclude each other as those of several do.
 *
 *   2^60             lifecycle: shared by all who use the side file; exclusive by a sole owner, and
 *                    while the side file is made, reset or removed
 *   2^60 + 1         guests, who read without the side file: shared; exclusive by a sole owner
 *   2^60 + 2         the writer: exclusive, until its commit is published
 *   2^61 + hash      aliases: shared by the users of a side file, at the hash of its identity
 *   2^62 + id        pins: shared by guests that read commit id
 *
 * All lie far behind any legal file size.
 */
#ifndef KVI_LOCK_H
#define KVI_LOCK_H

#include "err.h"
#include "os.h"

#define KVI_LOCK_LIFECYCLE ((uint64_t)1 << 60)
#define KVI_LOCK_GUESTS    (KVI_LOCK_LIFECYCLE + 1)
#define KVI_LOCK_WRITER    (KVI_LOCK_LIFECYCLE + 2)
#define KVI_LOCK_ALIASES   ((uint64_t)1 << 61)
#define KVI_LOCK_PINS      ((uint64_t)1 << 62)
#define KVI_LOCK_PINS_LEN  ((uint64_t)1 << 49) /* ids have 48 bits */

typedef struct kvi_lock {
    const kvi_os *os;
    int fd;        /* -1: none */
    bool writable; /* exclusive locks need that */
} kvi_lock;

/* Opens the descriptor; nothing is locked yet. A file that may only be read is opened so when
 * readable is enough. */
int kvi_lock_open(kvi_lock *lock, const kvi_os *os, kvi_err *err, const char *path,
                  bool readable_will_do) KVI_MUST_CHECK;

/* Releases everything, also when a forked child has a copy of the descriptor. */
void kvi_lock_close(kvi_lock *lock);

/* In the child: gives up the copy; the parent's locks stay. */
void kvi_lock_abandon(kvi_lock *lock);

/* One attempt at one byte; a lock that is held already is converted. KV_EBUSY: somebody else holds
 * a conflicting one. KV_EUNSUPPORTED: the file system has no such locks. */
int kvi_lock_try(const kvi_lock *lock, kvi_err *err, int kind, uint64_t byte) KVI_MUST_CHECK;
void kvi_lock_drop(const kvi_lock *lock, uint64_t byte);

/* The bytes of a sole owner. */
int kvi_lock_sole(const kvi_lock *lock, kvi_err *err) KVI_MUST_CHECK;

/* As kvi_lock_try, with a wait: KVI_WAIT_FOREVER sleeps in the kernel. */
#define KVI_WAIT_FOREVER UINT32_MAX
int kvi_lock_wait(const kvi_lock *lock, kvi_err *err, int kind, uint64_t byte,
                  uint32_t wait_ms) KVI_MUST_CHECK;

/* Does somebody else hold a byte of the range? A failed question counts as yes. */
bool kvi_lock_held(const kvi_lock *lock, uint64_t from, uint64_t len);

/* Is somebody else known to hold a byte? A failed question counts as no. */
bool kvi_lock_seen(const kvi_lock *lock, uint64_t byte);

/* Calls fn for each commit that a guest has pinned. fn: not 0 stops, and is the result. */
int kvi_lock_pins(const kvi_lock *lock, kvi_err *err, int (*fn)(void *context, uint64_t id),
                  void *context) KVI_MUST_CHECK;

#endif
