/* side.c - see side.h. */
#include "side.h"
#include "mutant.h"
#include <errno.h>

#define NAME_END    "-lock"
#define HANDLES_MAX ((uint32_t)1 << 31)

static size_t side_size(uint32_t n_slots)
{
    return KVI_SIDE_HEAD + (size_t)n_slots * sizeof(kvi_slot);
}

int kvi_side_init(kvi_side *side, const kvi_os *os, kvi_err *err, const char *db_path)
{
    size_t len = strlen(db_path);
    *side = (kvi_side){.os = os, .err = err, .fd = -1, .lock = {.os = os, .fd = -1}};
    side->path = os->alloc(os, len + sizeof NAME_END);
    if (!side->path)
        return KV_ENOMEM;
    memcpy(side->path, db_path, len);
    memcpy(side->path + len, NAME_END, sizeof NAME_END);
    pthread_mutex_init(&side->mutex, NULL);
    return KV_OK;
}

void kvi_side_detach(kvi_side *side)
{
    const kvi_os *os = side->os;
    if (side->head)
        os->unmap(os, (const uint8_t *)side->head, side_size(KVI_SLOTS_MAX));
    if (side->fd >= 0)
        os->close(os, side->fd);
    kvi_lock_close(&side->lock);
    side->head = NULL;
    side->slots = NULL;
    side->fd = -1;
    side->handle = 0;
    side->known = 0;
}

void kvi_side_close(kvi_side *side)
{
    if (!side->os)
        return;
    kvi_side_detach(side);
    side->os->free(side->os, side->path);
    pthread_mutex_destroy(&side->mutex);
    side->os = NULL;
}

int kvi_side_remove(kvi_side *side)
{
    int rc = side->os->unlink(side->os, side->path);
    return rc == 0 || rc == -ENOENT ? KV_OK : kvi_fail_os(side->err, rc, "removing %s", side->path);
}

/* ---- opening ---- */

/* The finalizer of a 64-bit mixing function, so that neighbouring inodes differ in every bit. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 31) * 0x7fb5d329728ea185ull;
    x = (x ^ x >> 27) * 0x81dadef4bc2dd44dull;
    return x ^ x >> 33;
}

static uint64_t identity_of(const kvi_os_stat *stat)
{
    return mix(mix(stat->device) + stat->inode) >> 3;
}

/* A descriptor for the map, and one of its own for the locks. */
static int side_open(kvi_side *side, int flags, uint32_t mode)
{
    const kvi_os *os = side->os;
    side->fd = os->open(os, side->path, KVI_OS_WRITE | KVI_OS_NOFOLLOW | flags, mode);
    if (side->fd == -ENOENT)
        return KV_NOTFOUND;
    if (side->fd == -EEXIST)
        return KV_EXISTS;
    if (side->fd < 0)
        return kvi_fail_os(side->err, side->fd, "opening %s", side->path);
    int rc = kvi_lock_open(&side->lock, os, side->err, side->path, false);
    if (rc != KV_OK)
        return rc;
    side->opened = (kvi_os_stat){0};
    rc = os->stat(os, side->lock.fd, &side->opened);
    side->identity = identity_of(&side->opened);
    return rc < 0 ? kvi_fail_os(side->err, rc, "asking what %s is", side->path) : KV_OK;
}

static int side_map(kvi_side *side)
{
    void *ptr;
    int rc = side->os->map_shared(side->os, side->fd, side_size(KVI_SLOTS_MAX), &ptr);
    if (rc < 0)
        return kvi_fail_os(side->err, rc, "mapping %s", side->path);
    side->head = ptr;
    side->slots = (kvi_slot *)((uint8_t *)ptr + KVI_SIDE_HEAD);
    return KV_OK;
}

/* A number that nobody has. The former owner of its byte is dead; whoever is in its way clears its
 * slots before that is forgotten (readers.c). */
static int side_appear(kvi_side *side)
{
    for (;;) {
        uint32_t n = atomic_fetch_add_explicit(&side->head->next_handle, 1, memory_order_relaxed);
        n = n % (HANDLES_MAX - 1) + 1;
        int rc = kvi_lock_try(&side->lock, side->err, KVI_OS_EXCLUSIVE, KVI_LOCK_PRESENCE + n);
        if (rc == KV_OK)
            side->handle = n;
        if (rc != KV_EBUSY)
            return rc;
    }
}

static int attach(kvi_side *side)
{
    int rc = side_map(side);
    return rc == KV_OK ? side_appear(side) : rc;
}

/* ---- making ---- */

/* Zeros in [from, to), really written: a hole might have no room on the disk when it is touched. */
static int side_fill(kvi_side *side, uint64_t from, uint64_t to)
{
    static const uint8_t zeros[8192]; /* a new file is one piece */
    while (from < to) {
        struct iovec part = {(void *)(uintptr_t)zeros, KVI_MIN(sizeof zeros, to - from)};
        int64_t put = side->os->pwritev(side->os, side->fd, &part, 1, from);
        if (put <= 0)
            return kvi_fail_os(side->err, put ? put : -ENOSPC, "writing %s", side->path);
        from += (uint64_t)put;
    }
    return KV_OK;
}

/* A file that was cut is one that the kernel writes to the disk when it is closed (ext4), which its
 * removal then waits for; so a new one is not cut. */
static int side_empty(kvi_side *side, const kvi_os_stat *found)
{
    const kvi_os *os = side->os;
    int rc = found->size > 0 ? os->truncate(os, side->fd, 0) : 0;
    return rc < 0 ? kvi_fail_os(side->err, rc, "emptying %s", side->path) : KV_OK;
}

/* A new file, or the one that is there when it may not be removed. */
static int side_open_new(kvi_side *side, uint32_t mode)
{
    int rc = side_open(side, KVI_OS_CREATE | KVI_OS_EXCL, mode);
    if (rc != KV_EXISTS)
        return rc;
    if (kvi_side_remove(side) != KV_OK)
        kvi_err_clear(side->err);
    return side_open(side, KVI_OS_CREATE, mode);
}

/* Those who may write the database may use this file; the others read as guests. */
static void side_permit(kvi_side *side, const kvi_os_stat *found, const kvi_os_stat *like)
{
    if (found->mode != (like->mode & 0777) || found->owner != like->owner ||
        found->group != like->group)
        side->os->permit(side->os, side->fd, like);
}

int kvi_side_create(kvi_side *side, const kvi_os_stat *like)
{
    const kvi_os *os = side->os;
    kvi_os_stat found = {0};
    int rc = side_open_new(side, like->mode & 0666);
    if (rc != KV_OK)
        return rc;
    rc = os->stat(os, side->fd, &found);
    if (rc < 0)
        return kvi_fail_os(side->err, rc, "asking what %s is", side->path);
    rc = side_empty(side, &found);
    if (rc == KV_OK)
        rc = side_fill(side, 0, side_size(KVI_SLOTS_FIRST));
    if (rc == KV_OK)
        rc = attach(side);
    if (rc != KV_OK)
        return rc;
    side_permit(side, &found, like);
    atomic_store_explicit(&side->head->n_slots, KVI_SLOTS_FIRST, memory_order_relaxed);
    atomic_store_explicit(&side->known, KVI_SLOTS_FIRST, memory_order_relaxed);
    return KV_OK;
}

void kvi_side_announce(kvi_side *side, const kvi_side_facts *facts)
{
    side->head->facts = *facts;
    atomic_store_explicit(&side->head->version, KVI_SIDE_VERSION, memory_order_relaxed);
    atomic_store_explicit(&side->head->magic, KVI_SIDE_MAGIC, memory_order_release);
}

/* ---- joining ---- */

/* Long enough to be looked at? The magic is asked for only then. */
static int side_whole(kvi_side *side)
{
    kvi_os_stat stat;
    int rc = side->os->stat(side->os, side->fd, &stat);
    if (rc < 0)
        return kvi_fail_os(side->err, rc, "asking for the size of %s", side->path);
    return stat.regular && stat.size >= side_size(KVI_SLOTS_FIRST) ? KV_OK : KV_NOTFOUND;
}

static int side_check(const kvi_side *side)
{
    const kvi_side_head *head = side->head;
    if (atomic_load_explicit(&head->magic, memory_order_acquire) != KVI_SIDE_MAGIC)
        return KV_NOTFOUND;
    uint32_t version = atomic_load_explicit(&head->version, memory_order_relaxed);
    if (version != KVI_SIDE_VERSION)
        return kvi_fail(side->err, KV_EVERSION,
                        "the database is in use by another version of kv (side file version %u, "
                        "this library has %u)",
                        version, KVI_SIDE_VERSION);
    if (!kvi_page_size_ok(head->facts.page_size))
        return kvi_fail(side->err, KV_ECORRUPT, "%s is damaged", side->path);
    return KV_OK;
}

int kvi_side_join(kvi_side *side)
{
    int rc = side_open(side, 0, 0);
    if (rc == KV_OK)
        rc = side_whole(side);
    if (rc == KV_OK)
        rc = side_map(side);
    if (rc == KV_OK)
        rc = side_check(side);
    if (rc == KV_OK)
        rc = side_appear(side);
    if (rc == KV_OK && !kvi_side_current(side))
        rc = KV_NOTFOUND;
    if (rc != KV_OK)
        kvi_side_detach(side);
    return rc;
}

bool kvi_side_intact(kvi_side *side)
{
    return side_whole(side) == KV_OK &&
           atomic_load_explicit(&side->head->magic, memory_order_acquire) == KVI_SIDE_MAGIC;
}

bool kvi_side_current(const kvi_side *side)
{
    kvi_os_stat named = {0};
    return side->os->stat_path(side->os, side->path, &named) >= 0 &&
           kvi_os_same_file(&side->opened, &named);
}

/* ---- looking ---- */

int kvi_side_peek(const kvi_side *side, uint64_t *identity)
{
    const kvi_os *os = side->os;
    int fd = os->open(os, side->path, KVI_OS_READ | KVI_OS_NOFOLLOW, 0);
    kvi_os_stat stat = {0};
    int rc = fd < 0 ? fd : os->stat(os, fd, &stat);
    if (fd >= 0 && rc < 0)
        os->close(os, fd);
    *identity = identity_of(&stat);
    return rc < 0 ? rc : fd;
}

static kvi_id board_durable(const kvi_side *side, int fd)
{
    kvi_side_head head;
    bool whole = side->os->pread(side->os, fd, &head, sizeof head, 0) == sizeof head &&
                 head.magic == KVI_SIDE_MAGIC && head.version == KVI_SIDE_VERSION;
    return whole ? head.board.durable : 0;
}

/* It only grows: of two looks the lower one is no mixture of an older and a newer number. */
kvi_id kvi_side_peek_durable(const kvi_side *side, int fd)
{
    kvi_id first = board_durable(side, fd), second = board_durable(side, fd);
    return KVI_MIN(first, second);
}

/* ---- slots ---- */

static uint32_t slots_announced(const kvi_side *side)
{
    uint32_t n = atomic_load_explicit(&side->head->n_slots, memory_order_acquire);
    return KVI_MIN(n, KVI_SLOTS_MAX);
}

/* Has the file room for n? Then they may be touched. */
static int slots_learn(kvi_side *side, uint32_t n)
{
    kvi_os_stat stat;
    int rc = side->os->stat(side->os, side->fd, &stat);
    if (rc < 0)
        return kvi_fail_os(side->err, rc, "asking for the size of %s", side->path);
    if (stat.size < side_size(n))
        return kvi_fail(side->err, KV_ECORRUPT, "%s is shorter than its slots", side->path);
    atomic_store_explicit(&side->known, n, memory_order_relaxed);
    return KV_OK;
}

int kvi_side_look(kvi_side *side)
{
    uint32_t n = slots_announced(side);
    uint32_t known = atomic_load_explicit(&side->known, memory_order_relaxed);
    return KVI_LIKELY(n <= known) ? KV_OK : slots_learn(side, n);
}

uint32_t kvi_side_slots(kvi_side *side)
{
    uint32_t n = slots_announced(side);
    uint32_t known = atomic_load_explicit(&side->known, memory_order_relaxed);
    return KVI_LIKELY(n <= known) || slots_learn(side, n) == KV_OK ? n : known;
}

static int grow_alone(kvi_side *side, uint32_t n)
{
    int rc =
        kvi_lock_wait(&side->lock, side->err, KVI_OS_EXCLUSIVE, KVI_LOCK_GROWTH, KVI_WAIT_FOREVER);
    if (rc != KV_OK)
        return rc;
    if (slots_announced(side) == n) {
        if (!KVI_MUTANT(SLOTS_WITHOUT_ROOM))
            rc = side_fill(side, side_size(n), side_size(n * 2));
        if (rc == KV_OK)
            atomic_store_explicit(&side->head->n_slots, n * 2, memory_order_release);
    }
    kvi_lock_drop(&side->lock, KVI_LOCK_GROWTH);
    return rc;
}

int kvi_side_grow(kvi_side *side, uint32_t n)
{
    if (n == 0 || n >= KVI_SLOTS_MAX)
        return kvi_fail(side->err, KV_ENOMEM, "%u read transactions are open", n);
    pthread_mutex_lock(&side->mutex);
    int rc = slots_announced(side) == n ? grow_alone(side, n) : KV_OK;
    pthread_mutex_unlock(&side->mutex);
    return rc == KV_OK ? kvi_side_look(side) : rc;
}

bool kvi_side_bury(kvi_side *side, uint32_t handle)
{
    if (handle == side->handle) /* a lock of our own would be granted again */
        return false;
    pthread_mutex_lock(&side->mutex);
    if (kvi_lock_try(&side->lock, NULL, KVI_OS_EXCLUSIVE, KVI_LOCK_PRESENCE + handle) == KV_OK ||
        KVI_MUTANT(BURIED_ALIVE))
        return true;
    pthread_mutex_unlock(&side->mutex);
    return false;
}

void kvi_side_bury_end(kvi_side *side, uint32_t handle)
{
    kvi_lock_drop(&side->lock, KVI_LOCK_PRESENCE + handle);
    pthread_mutex_unlock(&side->mutex);
}
