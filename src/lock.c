/* lock.c - see lock.h. */
#include "lock.h"
#include <errno.h>

#define POLL_MS 5

/* One attempt at the whole set; -EAGAIN leaves nothing locked. */
static int lock_take(const kvi_lock *lock, bool exclusive)
{
    const kvi_os *os = lock->os;
    if (!exclusive)
        return os->lock(os, lock->fd, KVI_OS_SHARED, KVI_LOCK_READERS, 1);
    int rc = os->lock(os, lock->fd, KVI_OS_EXCLUSIVE, KVI_LOCK_LIFECYCLE, 1);
    if (rc < 0)
        return rc;
    rc = os->lock(os, lock->fd, KVI_OS_EXCLUSIVE, KVI_LOCK_READERS, 1);
    if (rc < 0)
        os->lock(os, lock->fd, KVI_OS_UNLOCK, KVI_LOCK_LIFECYCLE, 1);
    return rc;
}

static int lock_wait(const kvi_lock *lock, bool exclusive, uint32_t wait_ms)
{
    const kvi_os *os = lock->os;
    uint64_t give_up = os->mono_ns(os) + (uint64_t)wait_ms * 1000000;
    for (;;) {
        int rc = lock_take(lock, exclusive);
        if (rc != -EAGAIN || os->mono_ns(os) >= give_up)
            return rc;
        os->sleep_ms(os, POLL_MS);
    }
}

int kvi_lock_open(kvi_lock *lock, const kvi_os *os, kvi_err *err, const char *path, bool exclusive,
                  uint32_t wait_ms)
{
    lock->os = os;
    lock->fd = os->open(os, path, exclusive ? KVI_OS_WRITE : KVI_OS_READ, 0);
    if (lock->fd < 0)
        return kvi_fail_os(err, lock->fd, "opening %s", path);
    int rc = lock_wait(lock, exclusive, wait_ms);
    if (rc == 0)
        return KV_OK;
    kvi_lock_close(lock);
    if (rc == -EAGAIN)
        return kvi_fail(err, KV_EBUSY, "%s is in use by somebody else", path);
    if (rc == -EINVAL || rc == -EOPNOTSUPP || rc == -ENOLCK)
        return kvi_fail(err, KV_EUNSUPPORTED, "the file system of %s has no OFD locks", path);
    return kvi_fail_os(err, rc, "locking %s", path);
}

void kvi_lock_close(kvi_lock *lock)
{
    if (lock->fd >= 0)
        lock->os->close(lock->os, lock->fd); /* closing releases */
    lock->fd = -1;
}
