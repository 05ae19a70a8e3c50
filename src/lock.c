/* lock.c - see lock.h. */
#include "lock.h"
#include <errno.h>

#define POLL_FIRST_US 50
#define POLL_MOST_US  5000

int kvi_lock_open(kvi_lock *lock, const kvi_os *os, kvi_err *err, const char *path,
                  bool readable_will_do)
{
    lock->os = os;
    lock->writable = true;
    lock->fd = os->open(os, path, KVI_OS_WRITE, 0);
    if (readable_will_do && (lock->fd == -EACCES || lock->fd == -EPERM || lock->fd == -EROFS)) {
        lock->writable = false;
        lock->fd = os->open(os, path, KVI_OS_READ, 0);
    }
    return lock->fd < 0 ? kvi_fail_os(err, lock->fd, "opening %s", path) : KV_OK;
}

void kvi_lock_close(kvi_lock *lock)
{
    if (lock->fd >= 0)
        lock->os->lock(lock->os, lock->fd, KVI_OS_UNLOCK, 0, 0);
    kvi_lock_abandon(lock);
}

void kvi_lock_abandon(kvi_lock *lock)
{
    if (lock->fd >= 0)
        lock->os->close(lock->os, lock->fd);
    lock->fd = -1;
}

static int lock_result(kvi_err *err, int rc)
{
    if (rc >= 0)
        return KV_OK;
    if (rc == -EAGAIN)
        return kvi_fail(err, KV_EBUSY, "the database is in use by somebody else");
    if (rc == -EINVAL || rc == -EOPNOTSUPP || rc == -ENOSYS)
        return kvi_fail(err, KV_EUNSUPPORTED, "the file system has no OFD locks");
    return kvi_fail_os(err, rc, "locking the database");
}

int kvi_lock_try(const kvi_lock *lock, kvi_err *err, int kind, uint64_t byte)
{
    return lock_result(err, lock->os->lock(lock->os, lock->fd, kind, byte, 1));
}

int kvi_lock_sole(const kvi_lock *lock, kvi_err *err)
{
    int rc = kvi_lock_try(lock, err, KVI_OS_EXCLUSIVE, KVI_LOCK_LIFECYCLE);
    return rc == KV_OK ? kvi_lock_try(lock, err, KVI_OS_EXCLUSIVE, KVI_LOCK_GUESTS) : rc;
}

void kvi_lock_drop(const kvi_lock *lock, uint64_t byte)
{
    lock->os->lock(lock->os, lock->fd, KVI_OS_UNLOCK, byte, 1);
}

int kvi_lock_wait(const kvi_lock *lock, kvi_err *err, int kind, uint64_t byte, uint32_t wait_ms)
{
    const kvi_os *os = lock->os;
    int rc = os->lock(os, lock->fd, kind, byte, 1);
    if (rc == -EAGAIN && wait_ms == KVI_WAIT_FOREVER)
        rc = os->lock_wait(os, lock->fd, kind, byte, 1);
    if (rc != -EAGAIN || wait_ms == 0)
        return lock_result(err, rc);
    uint64_t give_up = os->mono_ns(os) + (uint64_t)wait_ms * 1000000;
    for (uint32_t pause = POLL_FIRST_US; rc == -EAGAIN && os->mono_ns(os) < give_up;
         pause = KVI_MIN(pause * 2, POLL_MOST_US)) {
        os->sleep_us(os, pause);
        rc = os->lock(os, lock->fd, kind, byte, 1);
    }
    return lock_result(err, rc);
}

bool kvi_lock_held(const kvi_lock *lock, uint64_t from, uint64_t len)
{
    return len > 0 && lock->os->lock_probe(lock->os, lock->fd, from, len, NULL, NULL) != 0;
}

bool kvi_lock_seen(const kvi_lock *lock, uint64_t byte)
{
    return lock->os->lock_probe(lock->os, lock->fd, byte, 1, NULL, NULL) > 0;
}

/* The lowest lock in [from, end): 1, 0 when there is none. The system names just any. */
static int pin_lowest(const kvi_lock *lock, uint64_t from, uint64_t end, uint64_t *at,
                      uint64_t *len)
{
    const kvi_os *os = lock->os;
    uint64_t off = end, size;
    int found = 0;
    for (int rc = 1; rc > 0 && from < off; found |= rc) {
        rc = os->lock_probe(os, lock->fd, from, off - from, &off, &size);
        if (rc < 0)
            return rc;
        if (rc > 0)
            *at = off, *len = size;
    }
    return found;
}

int kvi_lock_pins(const kvi_lock *lock, kvi_err *err, int (*fn)(void *context, uint64_t id),
                  void *context)
{
    uint64_t from = KVI_LOCK_PINS, end = KVI_LOCK_PINS + KVI_LOCK_PINS_LEN, at, len;
    for (;;) {
        int rc = pin_lowest(lock, from, end, &at, &len);
        if (rc <= 0)
            return lock_result(err, rc);
        for (from = at; from < at + len; from++) { /* neighbouring bytes come as one range */
            rc = fn(context, from - KVI_LOCK_PINS);
            if (rc != 0)
                return rc;
        }
    }
}
