/* sim_os.c - the system calls of a simulated machine: handles, locks, memory, time. */
#include "sim_os.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define NS_PER_US 1000ull
#define US_PER_MS 1000
#define OFFSETS   ((uint64_t)1 << 63) /* there are no more */

static sim_disk *enter(const kvi_os *os)
{
    sim_disk *disk = (sim_disk *)(uintptr_t)os;
    pthread_mutex_lock(&disk->mutex);
    return disk;
}

static int64_t leave(sim_disk *disk, int64_t result)
{
    pthread_mutex_unlock(&disk->mutex);
    return result;
}

static int leave_int(sim_disk *disk, int result)
{
    pthread_mutex_unlock(&disk->mutex);
    return result;
}

/* NULL: not open. */
static sim_handle *handle_of(sim_disk *disk, int fd)
{
    if (fd < 0 || fd >= SIM_HANDLES || disk->handles[fd].file < 0)
        return NULL;
    return &disk->handles[fd];
}

/* ---- opening ---- */

static int find_or_create(sim_disk *disk, const char *path, int flags, uint32_t mode)
{
    int file = sim_find(disk, path);
    if (file < 0)
        return flags & KVI_OS_CREATE ? sim_do_create(disk, path, mode) : -ENOENT;
    return flags & KVI_OS_EXCL ? -EEXIST : file;
}

static int open_file(sim_disk *disk, const char *path, int flags, uint32_t mode)
{
    int fd = 0;
    while (fd < SIM_HANDLES && disk->handles[fd].file >= 0)
        fd++;
    if (fd == SIM_HANDLES)
        return -EMFILE;
    if (strlen(path) >= SIM_NAME_MAX)
        return -ENAMETOOLONG;
    int file = find_or_create(disk, path, flags, mode);
    if (file < 0)
        return file;
    disk->handles[fd] = (sim_handle){file, flags & KVI_OS_WRITE, 0, disk->process};
    return fd;
}

static int call_open(const kvi_os *os, const char *path, int flags, uint32_t mode)
{
    sim_disk *disk = enter(os);
    return leave_int(disk, open_file(disk, path, flags, mode));
}

static int call_close(const kvi_os *os, int fd)
{
    sim_disk *disk = enter(os);
    sim_handle *handle = handle_of(disk, fd);
    if (!handle)
        return leave_int(disk, -EBADF);
    handle->file = -1;
    int kept = 0;
    for (int i = 0; i < disk->n_locks; i++)
        if (disk->locks[i].handle != fd)
            disk->locks[kept++] = disk->locks[i];
    disk->n_locks = kept;
    return leave_int(disk, 0);
}

/* ---- reading and writing ---- */

static int64_t call_pread(const kvi_os *os, int fd, void *buf, size_t len, uint64_t off)
{
    sim_disk *disk = enter(os);
    const sim_handle *handle = handle_of(disk, fd);
    if (!handle)
        return leave(disk, -EBADF);
    const sim_file *file = &disk->files[handle->file];
    if (off >= file->size)
        return leave(disk, 0);
    len = KVI_MIN(len, (size_t)(file->size - off));
    memcpy(buf, file->bytes + off, len);
    return leave(disk, (int64_t)len);
}

static size_t iov_total(const struct iovec *iov, int n)
{
    size_t total = 0;
    for (int i = 0; i < n; i++)
        total += iov[i].iov_len;
    return total;
}

/* A full disk takes what still fits. */
static int64_t write_some(sim_disk *disk, int file, const struct iovec *iov, int n, uint64_t off)
{
    size_t len = iov_total(iov, n);
    if (len == 0)
        return 0;
    if (off >= disk->capacity)
        return -ENOSPC;
    if (len <= disk->capacity - off) {
        sim_do_write(disk, file, off, iov, n, len);
        return (int64_t)len;
    }
    struct iovec first = iov[0];
    first.iov_len = KVI_MIN(first.iov_len, (size_t)(disk->capacity - off));
    sim_do_write(disk, file, off, &first, 1, first.iov_len);
    return (int64_t)first.iov_len;
}

static int64_t call_pwritev(const kvi_os *os, int fd, const struct iovec *iov, int n, uint64_t off)
{
    sim_disk *disk = enter(os);
    const sim_handle *handle = handle_of(disk, fd);
    if (!handle || !handle->writable)
        return leave(disk, -EBADF);
    return leave(disk, write_some(disk, handle->file, iov, n, off));
}

static int64_t call_write(const kvi_os *os, int fd, const void *buf, size_t len)
{
    sim_disk *disk = enter(os);
    sim_handle *handle = handle_of(disk, fd);
    if (!handle || !handle->writable)
        return leave(disk, -EBADF);
    struct iovec iov = {(void *)(uintptr_t)buf, len};
    int64_t put = write_some(disk, handle->file, &iov, 1, handle->pos);
    if (put > 0)
        handle->pos += (uint64_t)put;
    return leave(disk, put);
}

static int note_sync(const kvi_os *os, int fd, sim_kind kind)
{
    sim_disk *disk = enter(os);
    const sim_handle *handle = handle_of(disk, fd);
    if (!handle)
        return leave_int(disk, -EBADF);
    sim_do_note(disk, kind, handle->file);
    return leave_int(disk, 0);
}

static int call_sync(const kvi_os *os, int fd)
{
    return note_sync(os, fd, SIM_SYNC);
}

/* Any write may reach the disk at any time as it is. */
static void call_sync_ahead(const kvi_os *os, int fd)
{
    (void)os;
    (void)fd;
}

void sim_lose_sync(const kvi_os *os, int fd)
{
    note_sync(os, fd, SIM_SYNC_LOST);
}

static int call_truncate(const kvi_os *os, int fd, uint64_t size)
{
    sim_disk *disk = enter(os);
    const sim_handle *handle = handle_of(disk, fd);
    if (!handle || !handle->writable)
        return leave_int(disk, -EINVAL);
    if (size > SIM_FILE_MAX)
        return leave_int(disk, -EFBIG);
    sim_do_truncate(disk, handle->file, size);
    return leave_int(disk, 0);
}

/* ---- names ---- */

static void describe(const sim_disk *disk, int file, kvi_os_stat *stat)
{
    *stat = (kvi_os_stat){.size = disk->files[file].size,
                          .device = 1,
                          .inode = (uint64_t)file + 1,
                          .mode = disk->files[file].mode,
                          .owner = disk->files[file].owner,
                          .group = disk->files[file].group,
                          .regular = true};
    for (int i = 0; i < disk->n_names; i++)
        stat->links += disk->names[i].file == file;
}

static int call_stat(const kvi_os *os, int fd, kvi_os_stat *stat)
{
    sim_disk *disk = enter(os);
    const sim_handle *handle = handle_of(disk, fd);
    if (!handle)
        return leave_int(disk, -EBADF);
    describe(disk, handle->file, stat);
    return leave_int(disk, 0);
}

static int call_stat_path(const kvi_os *os, const char *path, kvi_os_stat *stat)
{
    sim_disk *disk = enter(os);
    int file = sim_find(disk, path);
    if (file < 0)
        return leave_int(disk, -ENOENT);
    describe(disk, file, stat);
    return leave_int(disk, 0);
}

static int call_permit(const kvi_os *os, int fd, const kvi_os_stat *like)
{
    sim_disk *disk = enter(os);
    const sim_handle *handle = handle_of(disk, fd);
    if (!handle)
        return leave_int(disk, -EBADF);
    sim_file *file = &disk->files[handle->file];
    file->mode = like->mode & 0777;
    file->owner = like->owner;
    file->group = like->group;
    return leave_int(disk, 0);
}

static int link_name(sim_disk *disk, const char *from, const char *to)
{
    int file = sim_find(disk, from);
    if (file < 0)
        return -ENOENT;
    if (strlen(to) >= SIM_NAME_MAX)
        return -ENAMETOOLONG;
    return sim_find(disk, to) >= 0 ? -EEXIST : sim_do_link(disk, to, file);
}

static int call_link(const kvi_os *os, const char *from, const char *to)
{
    sim_disk *disk = enter(os);
    return leave_int(disk, link_name(disk, from, to));
}

/* Two events, so that a power cut may keep one name, the other, or both. */
static int rename_name(sim_disk *disk, const char *from, const char *to)
{
    int file = sim_find(disk, from);
    if (file < 0)
        return -ENOENT;
    if (strlen(to) >= SIM_NAME_MAX)
        return -ENAMETOOLONG;
    if (sim_find(disk, to) == file)
        return 0;
    int rc = sim_do_link(disk, to, file);
    if (rc == 0)
        sim_do_unlink(disk, from);
    return rc;
}

static int call_rename(const kvi_os *os, const char *from, const char *to)
{
    sim_disk *disk = enter(os);
    return leave_int(disk, rename_name(disk, from, to));
}

static int call_unlink(const kvi_os *os, const char *path)
{
    sim_disk *disk = enter(os);
    if (sim_find(disk, path) < 0)
        return leave_int(disk, -ENOENT);
    sim_do_unlink(disk, path);
    return leave_int(disk, 0);
}

static int call_sync_dir(const kvi_os *os, const char *path)
{
    sim_disk *disk = enter(os);
    (void)path;
    sim_do_note(disk, SIM_SYNC_DIR, -1);
    return leave_int(disk, 0);
}

static int call_resolve(const kvi_os *os, const char *path, char *out, size_t out_size)
{
    sim_disk *disk = enter(os);
    size_t size = strlen(path) + 1;
    if (sim_find(disk, path) < 0)
        return leave_int(disk, -ENOENT);
    if (size > out_size)
        return leave_int(disk, -ENAMETOOLONG);
    memcpy(out, path, size);
    return leave_int(disk, 0);
}

static int call_shareable(const kvi_os *os, int fd)
{
    sim_disk *disk = enter(os);
    if (!handle_of(disk, fd))
        return leave_int(disk, -EBADF);
    return leave_int(disk, disk->network ? -EOPNOTSUPP : 0);
}

/* ---- locks ---- */

/* The first lock of another handle on these bytes that kind cannot live with; NULL when none. */
static const sim_lock *lock_conflict(const sim_disk *disk, const sim_lock *wanted)
{
    for (int i = 0; i < disk->n_locks; i++) {
        const sim_lock *held = &disk->locks[i];
        if (held->file == wanted->file && held->handle != wanted->handle &&
            held->from < wanted->to && wanted->from < held->to &&
            (held->kind == KVI_OS_EXCLUSIVE || wanted->kind == KVI_OS_EXCLUSIVE))
            return held;
    }
    return NULL;
}

static void lock_add(sim_disk *disk, sim_lock lock)
{
    if (lock.from < lock.to)
        disk->locks[disk->n_locks++] = lock;
}

/* Takes the range away from the handle's own locks, which may cut one in two. */
static void lock_clear(sim_disk *disk, const sim_lock *range)
{
    int n = disk->n_locks;
    for (int i = 0; i < n;) {
        sim_lock held = disk->locks[i];
        if (held.handle != range->handle || held.to <= range->from || range->to <= held.from) {
            i++;
            continue;
        }
        disk->locks[i] = disk->locks[--n];
        disk->locks[n] = disk->locks[--disk->n_locks];
        sim_lock before = held, after = held;
        before.to = range->from;
        after.from = range->to;
        lock_add(disk, before);
        lock_add(disk, after);
    }
}

static sim_lock lock_range(const sim_handle *handle, int fd, int kind, uint64_t off, uint64_t len)
{
    return (sim_lock){handle->file, fd, kind, off, len ? off + len : OFFSETS};
}

static int lock_set(sim_disk *disk, int fd, int kind, uint64_t off, uint64_t len)
{
    const sim_handle *handle = handle_of(disk, fd);
    if (!handle || (kind == KVI_OS_EXCLUSIVE && !handle->writable))
        return -EBADF;
    sim_lock wanted = lock_range(handle, fd, kind, off, len);
    if (kind != KVI_OS_UNLOCK && lock_conflict(disk, &wanted))
        return -EAGAIN;
    if (disk->n_locks + 2 > SIM_LOCKS)
        return -ENOLCK;
    lock_clear(disk, &wanted);
    if (kind != KVI_OS_UNLOCK)
        lock_add(disk, wanted);
    return 0;
}

static int call_lock(const kvi_os *os, int fd, int kind, uint64_t off, uint64_t len)
{
    sim_disk *disk = enter(os);
    return leave_int(disk, lock_set(disk, fd, kind, off, len));
}

/* Whoever should let go never gets to run here. */
static int call_lock_wait(const kvi_os *os, int fd, int kind, uint64_t off, uint64_t len)
{
    sim_disk *disk = enter(os);
    int rc = lock_set(disk, fd, kind, off, len);
    if (rc == -EAGAIN)
        sim_die("waiting for a lock that somebody else holds");
    return leave_int(disk, rc);
}

static int call_lock_probe(const kvi_os *os, int fd, uint64_t off, uint64_t len, uint64_t *held_off,
                           uint64_t *held_len)
{
    sim_disk *disk = enter(os);
    const sim_handle *handle = handle_of(disk, fd);
    if (!handle)
        return leave_int(disk, -EBADF);
    sim_lock wanted = lock_range(handle, fd, KVI_OS_EXCLUSIVE, off, len);
    const sim_lock *held = lock_conflict(disk, &wanted);
    if (!held)
        return leave_int(disk, 0);
    uint64_t from = KVI_MAX(held->from, wanted.from);
    if (held_off)
        *held_off = from;
    if (held_len)
        *held_len = KVI_MIN(held->to, wanted.to) - from;
    return leave_int(disk, 1);
}

/* ---- memory ---- */

/* However long the map is to be: nobody may touch it behind the end of the file. */
static int call_map(const kvi_os *os, int fd, size_t len, const uint8_t **ptr)
{
    sim_disk *disk = enter(os);
    const sim_handle *handle = handle_of(disk, fd);
    if (!handle)
        return leave_int(disk, -EBADF);
    if (len == 0)
        return leave_int(disk, -EINVAL);
    *ptr = disk->files[handle->file].bytes;
    return leave_int(disk, 0);
}

static int call_map_shared(const kvi_os *os, int fd, size_t len, void **ptr)
{
    sim_disk *disk = enter(os);
    const sim_handle *handle = handle_of(disk, fd);
    if (!handle)
        return leave_int(disk, -EBADF);
    if (len == 0)
        return leave_int(disk, -EINVAL);
    if (!handle->writable)
        return leave_int(disk, -EACCES);
    sim_file *file = &disk->files[handle->file];
    file->shared = true;
    *ptr = file->bytes;
    return leave_int(disk, 0);
}

static void call_unmap(const kvi_os *os, const uint8_t *ptr, size_t len)
{
    (void)os;
    (void)ptr;
    (void)len;
}

static uint64_t call_memory(const kvi_os *os)
{
    (void)os;
    return (uint64_t)1 << 40;
}

static void call_advise(const kvi_os *os, const uint8_t *ptr, size_t len, int advice)
{
    (void)os;
    (void)ptr;
    (void)len;
    (void)advice;
}

static void *call_alloc(const kvi_os *os, size_t size)
{
    (void)os;
    return malloc(size);
}

static void *call_realloc(const kvi_os *os, void *ptr, size_t size)
{
    (void)os;
    return realloc(ptr, size);
}

static void call_free(const kvi_os *os, void *ptr)
{
    (void)os;
    free(ptr);
}

/* NULL when the pool has nothing of this size. */
static uint8_t *pool_take(sim_disk *disk, size_t size)
{
    for (int i = disk->n_pool; i-- > 0;) {
        uint8_t *ptr = disk->pool[i].ptr;
        if (disk->pool[i].size != size)
            continue;
        disk->pool[i] = disk->pool[--disk->n_pool];
        return ptr;
    }
    return NULL;
}

static void *call_reserve(const kvi_os *os, size_t size)
{
    sim_disk *disk = enter(os);
    void *ptr = pool_take(disk, size);
    leave(disk, 0);
    if (ptr)
        return ptr;
    ptr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
               0);
    return ptr == MAP_FAILED ? NULL : ptr;
}

/* Clears what may have been touched, and looks a little further whether that was all. */
static void pool_clear(const sim_disk *disk, uint8_t *ptr, size_t size)
{
    size_t touched = KVI_MIN(size, disk->reserve_touch);
    memset(ptr, 0, touched);
    for (size_t i = touched; i < KVI_MIN(size, touched + 512); i++)
        if (ptr[i])
            sim_die("reserved memory was touched behind reserve_touch");
}

static void call_release(const kvi_os *os, void *ptr, size_t size)
{
    sim_disk *disk = enter(os);
    bool keep = disk->reserve_touch > 0 && disk->n_pool < SIM_POOL;
    if (keep) {
        pool_clear(disk, ptr, size);
        disk->pool[disk->n_pool++] = (sim_reserved){ptr, size};
    }
    leave(disk, 0);
    if (!keep)
        munmap(ptr, size);
}

/* ---- time and chance ---- */

static uint64_t call_clock_ms(const kvi_os *os)
{
    sim_disk *disk = enter(os);
    return (uint64_t)leave(disk, (int64_t)disk->clock_ms);
}

static uint64_t call_tick_ms(const kvi_os *os)
{
    sim_disk *disk = enter(os);
    return (uint64_t)leave(disk, (int64_t)(disk->clock_ms / SIM_TICK_MS * SIM_TICK_MS));
}

static uint64_t call_mono_ns(const kvi_os *os)
{
    sim_disk *disk = enter(os);
    disk->mono_ns += disk->mono_step;
    return (uint64_t)leave(disk, (int64_t)disk->mono_ns);
}

static void call_sleep_us(const kvi_os *os, uint32_t us)
{
    sim_disk *disk = enter(os);
    us = KVI_MAX(us, 1); /* time does not stand still for those who let others run */
    uint64_t slept = (uint64_t)disk->clock_us + us;
    disk->clock_ms += slept / US_PER_MS;
    disk->clock_us = (uint32_t)(slept % US_PER_MS);
    disk->mono_ns += us * NS_PER_US;
    leave(disk, 0);
}

/* Nobody else runs but what the test says. Unless that wakes us, the time passes. */
static void call_word_wait(const kvi_os *os, _Atomic uint32_t *word, uint32_t expected, uint64_t ns)
{
    sim_disk *disk = enter(os);
    bool sleeps = atomic_load(word) == expected;
    void (*meanwhile)(void *context) = sleeps ? disk->meanwhile : NULL;
    uint64_t wakes = disk->wakes;
    disk->meanwhile = sleeps ? NULL : disk->meanwhile;
    leave(disk, 0);
    if (meanwhile)
        meanwhile(disk->context);
    enter(os);
    if (sleeps && disk->wakes == wakes)
        disk->mono_ns += ns;
    leave(disk, 0);
}

static void call_word_wake(const kvi_os *os, _Atomic uint32_t *word)
{
    sim_disk *disk = enter(os);
    (void)word;
    disk->wakes++;
    leave(disk, 0);
}

static int call_random(const kvi_os *os, void *buf, size_t len)
{
    sim_disk *disk = enter(os);
    rng_fill(&disk->random, buf, len);
    return leave_int(disk, 0);
}

static int call_boot_id(const kvi_os *os, uint8_t id[16])
{
    sim_disk *disk = enter(os);
    memset(id, 'b', 16);
    memcpy(id, &disk->boots, sizeof disk->boots);
    return leave_int(disk, 0);
}

static uint64_t call_process_id(const kvi_os *os)
{
    sim_disk *disk = enter(os);
    return (uint64_t)leave(disk, (int64_t)disk->process);
}

void sim_setup_table(sim_disk *disk)
{
    disk->os = (kvi_os){
        .open = call_open,
        .close = call_close,
        .pread = call_pread,
        .pwritev = call_pwritev,
        .write = call_write,
        .sync = call_sync,
        .sync_ahead = call_sync_ahead,
        .truncate = call_truncate,
        .stat = call_stat,
        .stat_path = call_stat_path,
        .permit = call_permit,
        .link = call_link,
        .rename = call_rename,
        .unlink = call_unlink,
        .sync_dir = call_sync_dir,
        .resolve = call_resolve,
        .shareable = call_shareable,
        .lock = call_lock,
        .lock_wait = call_lock_wait,
        .lock_probe = call_lock_probe,
        .map = call_map,
        .map_shared = call_map_shared,
        .unmap = call_unmap,
        .memory = call_memory,
        .advise = call_advise,
        .alloc = call_alloc,
        .realloc = call_realloc,
        .free = call_free,
        .reserve = call_reserve,
        .release = call_release,
        .clock_ms = call_clock_ms,
        .tick_ms = call_tick_ms,
        .mono_ns = call_mono_ns,
        .sleep_us = call_sleep_us,
        .word_wait = call_word_wait,
        .word_wake = call_word_wake,
        .random = call_random,
        .boot_id = call_boot_id,
        .process_id = call_process_id,
    };
}
