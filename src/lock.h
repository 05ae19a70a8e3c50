/* lock.h - who may use the file: OFD byte-range locks on the database file.
 *
 * The locks live on a descriptor of their own, which is never mapped: a map would keep the open
 * file, and so the lock, alive in a forked child after its parent was killed.
 *
 *   byte 2^60      lifecycle: exclusive = sole owner of the file
 *   byte 2^60 + 1  readers that keep no record elsewhere: shared; exclusive by a sole owner
 *
 * Both lie far behind any legal file size.
 */
#ifndef KVI_LOCK_H
#define KVI_LOCK_H

#include "err.h"
#include "os.h"

#define KVI_LOCK_LIFECYCLE ((uint64_t)1 << 60)
#define KVI_LOCK_READERS   (KVI_LOCK_LIFECYCLE + 1)

typedef struct kvi_lock {
    const kvi_os *os;
    int fd; /* -1: none */
} kvi_lock;

/* Takes the locks of a sole owner, or of a reader, on the file at path; waits up to wait_ms.
 * KV_EBUSY: somebody else holds them. KV_EUNSUPPORTED: the file system has no such locks. */
int kvi_lock_open(kvi_lock *lock, const kvi_os *os, kvi_err *err, const char *path, bool exclusive,
                  uint32_t wait_ms) KVI_MUST_CHECK;
void kvi_lock_close(kvi_lock *lock);

#endif
