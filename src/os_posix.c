/* os_posix.c - the real table: Linux system calls and malloc. */
#define _FILE_OFFSET_BITS 64

#include "os.h"
#include "bytes.h"
#include "mounts.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_US 1000
#define NS_PER_MS 1000000
#define MS_PER_S  1000
#define US_PER_S  1000000
#define US_PER_MS 1000

#define UNUSED __attribute__((unused)) /* the table, which system calls do not need */

static int sys_result(int rc)
{
    return rc < 0 ? -errno : rc;
}

/* Evaluates call until a signal no longer cuts it short. */
#define REPEAT(result, call)                                                                       \
    do                                                                                             \
        result = (call);                                                                           \
    while (result < 0 && errno == EINTR)

/* ---- opening ---- */

/* Standard input, output and error may be closed in a daemon: a message printed there must not
 * end up in a database. */
static int off_standard_streams(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int error = errno == EINVAL ? EMFILE : errno; /* the limit is below that number */
    close(fd);
    errno = error;
    return moved;
}

static int open_flags(int flags)
{
    int result = O_CLOEXEC | O_NOCTTY;
    result |= flags & KVI_OS_WRITE ? O_RDWR : O_RDONLY;
    if (flags & KVI_OS_CREATE)
        result |= O_CREAT;
    if (flags & KVI_OS_EXCL)
        result |= O_EXCL;
    if (flags & KVI_OS_NOFOLLOW)
        result |= O_NOFOLLOW;
    return result;
}

/* Without blocking, or a FIFO at path would hang the caller before it can ask what it opened. Only
 * a file under a lease answers EWOULDBLOCK: its holder is told to let go, and we wait for that. */
static int sys_open(const kvi_os *os UNUSED, const char *path, int flags, uint32_t mode)
{
    int fd;
    REPEAT(fd, open(path, open_flags(flags) | O_NONBLOCK, mode));
    if (fd < 0 && errno == EWOULDBLOCK)
        REPEAT(fd, open(path, open_flags(flags), mode));
    int moved = off_standard_streams(fd);
    int rc = sys_result(moved);
    if (fd >= 0 && moved < 0 && (flags & KVI_OS_EXCL))
        unlink(path); /* it is ours, and of no use */
    return rc;
}

/* Linux has closed the handle also when it reports EINTR; repeating could close somebody else's. */
static int sys_close(const kvi_os *os UNUSED, int fd)
{
    int rc = close(fd);
    return rc < 0 && errno != EINTR ? -errno : 0;
}

/* ---- reading and writing ---- */

static int64_t sys_pread(const kvi_os *os UNUSED, int fd, void *buf, size_t len, uint64_t off)
{
    ssize_t got;
    REPEAT(got, pread(fd, buf, len, (off_t)off));
    return got < 0 ? -errno : got;
}

static int64_t sys_pwritev(const kvi_os *os UNUSED, int fd, const struct iovec *iov, int n,
                           uint64_t off)
{
    ssize_t put;
    if (n == 1) /* most calls; the kernel has no list to copy and check */
        REPEAT(put, pwrite(fd, iov->iov_base, iov->iov_len, (off_t)off));
    else
        REPEAT(put, pwritev(fd, iov, KVI_MIN(n, IOV_MAX), (off_t)off));
    return put < 0 ? -errno : put;
}

/* A pipe or socket that does not block is waited for. False: errno says why not. */
static bool wait_writable(int fd)
{
    struct pollfd wanted = {.fd = fd, .events = POLLOUT};
    int rc;
    REPEAT(rc, poll(&wanted, 1, -1));
    return rc > 0;
}

static int64_t sys_write(const kvi_os *os UNUSED, int fd, const void *buf, size_t len)
{
    ssize_t put;
    do
        REPEAT(put, write(fd, buf, len));
    while (put < 0 && errno == EAGAIN && wait_writable(fd));
    return put < 0 ? -errno : put;
}

static int sys_sync(const kvi_os *os UNUSED, int fd)
{
    int rc;
    REPEAT(rc, fdatasync(fd));
    return sys_result(rc);
}

/* Unlike its other uses, this one of sync_file_range leaves a failed write-back to be told by sync. */
static void sys_sync_ahead(const kvi_os *os UNUSED, int fd)
{
    sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

static int sys_truncate(const kvi_os *os UNUSED, int fd, uint64_t size)
{
    int rc;
    REPEAT(rc, ftruncate(fd, (off_t)size));
    return sys_result(rc);
}

/* ---- names ---- */

static void stat_copy(const struct stat *from, kvi_os_stat *to)
{
    to->size = (uint64_t)from->st_size;
    to->device = from->st_dev;
    to->inode = from->st_ino;
    to->links = from->st_nlink;
    to->mode = from->st_mode & 07777;
    to->owner = from->st_uid;
    to->group = from->st_gid;
    to->regular = S_ISREG(from->st_mode);
}

#ifdef STATX_BASIC_STATS
/* A file whose times were asked for has them written anew, to the nanosecond, by the next write to
 * it, and its inode with them. So they are not asked for. */
static int stat_timeless(int fd, const char *path, int flags, kvi_os_stat *out)
{
    unsigned wanted = STATX_BASIC_STATS & ~(unsigned)(STATX_ATIME | STATX_MTIME | STATX_CTIME);
    struct statx st;
    if (statx(fd, path, flags, wanted, &st) < 0)
        return -errno;
    *out = (kvi_os_stat){
        .size = st.stx_size,
        .device = makedev(st.stx_dev_major, st.stx_dev_minor),
        .inode = st.stx_ino,
        .links = st.stx_nlink,
        .mode = st.stx_mode & 07777,
        .owner = st.stx_uid,
        .group = st.stx_gid,
        .regular = S_ISREG(st.stx_mode),
    };
    return 0;
}
#else
static int stat_timeless(int fd UNUSED, const char *path UNUSED, int flags UNUSED,
                         kvi_os_stat *out UNUSED)
{
    return -ENOSYS;
}
#endif

/* Old kernels do not know statx, and old sandboxes forbid it. */
static int stat_any(int fd, const char *path, int flags, kvi_os_stat *out)
{
    struct stat st;
    int rc = stat_timeless(fd, path, flags, out);
    if (rc != -ENOSYS && rc != -EPERM)
        return rc;
    if (fstatat(fd, path, &st, flags) < 0)
        return -errno;
    stat_copy(&st, out);
    return 0;
}

static int sys_stat(const kvi_os *os UNUSED, int fd, kvi_os_stat *out)
{
    return stat_any(fd, "", AT_EMPTY_PATH, out);
}

static int sys_stat_path(const kvi_os *os UNUSED, const char *path, kvi_os_stat *out)
{
    return stat_any(AT_FDCWD, path, 0, out);
}

/* Ownership first: changing it may take permissions away. Who may not give the file to the group
 * must not open it to his own instead. */
static int sys_permit(const kvi_os *os UNUSED, int fd, const kvi_os_stat *like)
{
    mode_t mode = like->mode & 0777;
    if (fchown(fd, like->owner, like->group) < 0 && fchown(fd, (uid_t)-1, like->group) < 0)
        mode &= ~(mode_t)070;
    return sys_result(fchmod(fd, mode));
}

static int sys_link(const kvi_os *os UNUSED, const char *from, const char *to)
{
    return sys_result(link(from, to));
}

static int sys_rename(const kvi_os *os UNUSED, const char *from, const char *to)
{
    return sys_result(rename(from, to));
}

static int sys_unlink(const kvi_os *os UNUSED, const char *path)
{
    return sys_result(unlink(path));
}

/* The directory part of path: "." when it has none, "/" at the root. */
static int directory_of(const char *path, char *out, size_t out_size)
{
    const char *slash = strrchr(path, '/');
    const char *from = slash ? path : ".";
    size_t len = slash && slash > path ? (size_t)(slash - path) : 1;
    if (len >= out_size)
        return -ENAMETOOLONG;
    memcpy(out, from, len);
    out[len] = '\0';
    return 0;
}

static int sys_sync_dir(const kvi_os *os UNUSED, const char *path)
{
    char directory[PATH_MAX];
    int rc = directory_of(path, directory, sizeof directory);
    if (rc < 0)
        return rc;
    int fd;
    REPEAT(fd, open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd < 0)
        return -errno;
    REPEAT(rc, fsync(fd));
    rc = sys_result(rc);
    close(fd);
    return rc;
}

static int sys_resolve(const kvi_os *os UNUSED, const char *path, char *out, size_t out_size)
{
    char resolved[PATH_MAX];
    if (!realpath(path, resolved))
        return -errno;
    size_t size = strlen(resolved) + 1;
    if (size > out_size)
        return -ENAMETOOLONG;
    memcpy(out, resolved, size);
    return 0;
}

/* File systems that several machines may mount at once: maps and locks are not coherent there.
 * Numbers, not names, since older kernel headers lack some. */
static const uint32_t unshareable[] = {
    0x00006969, /* NFS */
    0x0000517b, /* SMB */
    0xff534d42, /* CIFS */
    0xfe534d42, /* SMB2 */
    0x0000564c, /* NCP */
    0x73757245, /* Coda */
    0x5346414f, /* AFS */
    0x6b414653, /* AFS, the kernel's own client */
    0x01021997, /* 9p */
    0x00c36400, /* Ceph */
    0x7461636f, /* OCFS2 */
    0x01161970, /* GFS2 */
    0x0bd00bd0, /* Lustre */
    0x47504653, /* GPFS */
    0x20030528, /* OrangeFS */
    0x786f4256, /* VirtualBox shared folders */
    0xbacbacbc, /* VMware shared folders */
};

#define FUSE_MAGIC 0x65735546 /* a program decides what it is */

static bool fuse_shareable(int fd)
{
    struct stat st;
    char device[32];
    if (fstat(fd, &st) < 0)
        return true;
    snprintf(device, sizeof device, "%u:%u", major(st.st_dev), minor(st.st_dev));
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    bool shared = mounts && kvi_mounts_shared(mounts, device);
    if (mounts)
        fclose(mounts);
    return !shared;
}

static int sys_shareable(const kvi_os *os UNUSED, int fd)
{
    struct statfs fs;
    int rc;
    REPEAT(rc, fstatfs(fd, &fs));
    if (rc < 0)
        return -errno;
    if ((uint32_t)fs.f_type == FUSE_MAGIC && !fuse_shareable(fd))
        return -EOPNOTSUPP;
    for (size_t i = 0; i < KVI_COUNT(unshareable); i++)
        if ((uint32_t)fs.f_type == unshareable[i])
            return -EOPNOTSUPP;
    return 0;
}

/* ---- locks ---- */

static int lock_set(int fd, int command, int kind, uint64_t off, uint64_t len)
{
    struct flock lock = {.l_whence = SEEK_SET, .l_start = (off_t)off, .l_len = (off_t)len};
    lock.l_type = (short)(kind == KVI_OS_EXCLUSIVE ? F_WRLCK
                          : kind == KVI_OS_SHARED  ? F_RDLCK
                                                   : F_UNLCK);
    int rc;
    REPEAT(rc, fcntl(fd, command, &lock));
    if (rc < 0 && errno == EACCES)
        return -EAGAIN;
    return sys_result(rc);
}

static int sys_lock(const kvi_os *os UNUSED, int fd, int kind, uint64_t off, uint64_t len)
{
    return lock_set(fd, F_OFD_SETLK, kind, off, len);
}

static int sys_lock_wait(const kvi_os *os UNUSED, int fd, int kind, uint64_t off, uint64_t len)
{
    return lock_set(fd, F_OFD_SETLKW, kind, off, len);
}

/* Where a range ends; offsets have 63 bits. */
static uint64_t range_end(uint64_t off, uint64_t len)
{
    return len == 0 ? (uint64_t)1 << 63 : off + len;
}

static int sys_lock_probe(const kvi_os *os UNUSED, int fd, uint64_t off, uint64_t len,
                          uint64_t *held_off, uint64_t *held_len)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)off, .l_len = (off_t)len};
    int rc;
    REPEAT(rc, fcntl(fd, F_OFD_GETLK, &lock));
    if (rc < 0)
        return -errno;
    if (lock.l_type == F_UNLCK)
        return 0;
    uint64_t start = (uint64_t)lock.l_start, end = range_end(start, (uint64_t)lock.l_len);
    start = KVI_MAX(start, off);
    end = KVI_MIN(end, range_end(off, len));
    if (held_off)
        *held_off = start;
    if (held_len)
        *held_len = end - start;
    return 1;
}

/* ---- memory ---- */

static int sys_map(const kvi_os *os UNUSED, int fd, size_t len, const uint8_t **ptr)
{
    void *map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    *ptr = map;
    return 0;
}

static int sys_map_shared(const kvi_os *os UNUSED, int fd, size_t len, void **ptr)
{
    void *map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    *ptr = map;
    return 0;
}

/* The address of a read-only map, as the calls want it. */
static void *address_of(const uint8_t *ptr)
{
    return (void *)(uintptr_t)ptr;
}

static void sys_unmap(const kvi_os *os UNUSED, const uint8_t *ptr, size_t len)
{
    munmap(address_of(ptr), len);
}

static void sys_advise(const kvi_os *os UNUSED, const uint8_t *ptr, size_t len, int advice)
{
    static const int kernel[] = {
        [KVI_OS_RANDOM] = MADV_RANDOM,           [KVI_OS_SEQUENTIAL] = MADV_SEQUENTIAL,
        [KVI_OS_WILLNEED] = MADV_WILLNEED,       [KVI_OS_HUGE] = MADV_HUGEPAGE,
        [KVI_OS_WIPE_ON_FORK] = MADV_WIPEONFORK,
    };
    size_t skew = (uintptr_t)ptr % (size_t)sysconf(_SC_PAGESIZE);
    madvise(address_of(ptr - skew), len + skew, kernel[advice]);
}

/* Asked once: it seldom changes, and only costs are decided by it. */
static uint64_t sys_memory(const kvi_os *os UNUSED)
{
    static _Atomic uint64_t kept;
    uint64_t size = atomic_load_explicit(&kept, memory_order_relaxed);
    if (size == 0) {
        long pages = sysconf(_SC_PHYS_PAGES);
        size = pages > 0 ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) : UINT64_MAX;
        atomic_store_explicit(&kept, size, memory_order_relaxed);
    }
    return size;
}

static void *sys_alloc(const kvi_os *os UNUSED, size_t size)
{
    return malloc(size);
}

static void *sys_realloc(const kvi_os *os UNUSED, void *ptr, size_t size)
{
    return realloc(ptr, size);
}

static void sys_free(const kvi_os *os UNUSED, void *ptr)
{
    free(ptr);
}

static void *sys_reserve(const kvi_os *os UNUSED, size_t size)
{
    void *ptr = mmap(NULL, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return ptr == MAP_FAILED ? NULL : ptr;
}

static void sys_release(const kvi_os *os UNUSED, void *ptr, size_t size)
{
    munmap(ptr, size);
}

/* ---- time and chance ---- */

static uint64_t read_ms(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * MS_PER_S + (uint64_t)now.tv_nsec / NS_PER_MS;
}

static uint64_t sys_clock_ms(const kvi_os *os UNUSED)
{
    return read_ms(CLOCK_REALTIME);
}

static uint64_t sys_tick_ms(const kvi_os *os UNUSED)
{
    return read_ms(CLOCK_REALTIME_COARSE);
}

static uint64_t sys_mono_ns(const kvi_os *os UNUSED)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * MS_PER_S * NS_PER_MS + (uint64_t)now.tv_nsec;
}

static void sys_sleep_us(const kvi_os *os UNUSED, uint32_t us)
{
    if (us == 0) {
        sched_yield();
        return;
    }
    struct timespec left = {us / US_PER_S, (long)(us % US_PER_S) * NS_PER_US};
    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        continue;
}

/* 32-bit systems have an older call for a shorter time. */
#ifdef SYS_futex_time64
#define FUTEX (sizeof(time_t) > sizeof(long) ? SYS_futex_time64 : SYS_futex)
#else
#define FUTEX SYS_futex
#endif

static void sys_word_wait(const kvi_os *os, _Atomic uint32_t *word, uint32_t expected, uint64_t ns)
{
    struct timespec most = {(time_t)(ns / (MS_PER_S * NS_PER_MS)),
                            (long)(ns % (MS_PER_S * NS_PER_MS))};
    if (syscall(FUTEX, word, FUTEX_WAIT, expected, &most, NULL, 0) < 0 && errno != EAGAIN &&
        errno != EINTR && errno != ETIMEDOUT)
        sys_sleep_us(os, US_PER_MS); /* forbidden here: the caller looks again */
}

static void sys_word_wake(const kvi_os *os UNUSED, _Atomic uint32_t *word)
{
    syscall(FUTEX, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static int sys_random(const kvi_os *os UNUSED, void *buf, size_t len)
{
    uint8_t *at = buf;
    while (len > 0) {
        ssize_t got;
        REPEAT(got, getrandom(at, len, 0));
        if (got < 0)
            return -errno;
        at += got;
        len -= (size_t)got;
    }
    return 0;
}

/* Reads the 32 hexadecimal digits of a UUID, whatever stands between them. */
static bool uuid_parse(const char *text, uint8_t id[16])
{
    static const char digits[] = "0123456789abcdef";
    unsigned n = 0;
    memset(id, 0, 16);
    for (; *text && n < 32; text++) {
        const char *digit = strchr(digits, *text);
        if (digit) {
            id[n / 2] = (uint8_t)(id[n / 2] << 4 | (digit - digits));
            n++;
        }
    }
    return n == 32;
}

static bool boot_id_kernel(uint8_t id[16])
{
    char text[64];
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (!file)
        return false;
    bool ok = fgets(text, sizeof text, file) && uuid_parse(text, id);
    fclose(file);
    return ok;
}

/* The second at which the machine started. */
static bool boot_id_btime(uint8_t id[16])
{
    char line[256];
    unsigned long long btime = 0;
    FILE *file = fopen("/proc/stat", "re");
    if (!file)
        return false;
    while (btime == 0 && fgets(line, sizeof line, file))
        if (sscanf(line, "btime %llu", &btime) != 1)
            btime = 0;
    fclose(file);
    memcpy(id, "btime...", 8);
    kvi_put64(id + 8, btime);
    return btime != 0;
}

/* The kernel's, which is asked once: no process outlives a boot. */
static bool boot_id_known(uint8_t id[16])
{
    static _Atomic uint64_t kept[2];
    static _Atomic bool known;
    if (!atomic_load_explicit(&known, memory_order_acquire)) {
        if (!boot_id_kernel(id))
            return false;
        atomic_store_explicit(&kept[0], kvi_get64(id), memory_order_relaxed);
        atomic_store_explicit(&kept[1], kvi_get64(id + 8), memory_order_relaxed);
        atomic_store_explicit(&known, true, memory_order_release);
    }
    kvi_put64(id, atomic_load_explicit(&kept[0], memory_order_relaxed));
    kvi_put64(id + 8, atomic_load_explicit(&kept[1], memory_order_relaxed));
    return true;
}

/* Where the kernel tells nothing, every call is a boot of its own: that is always safe. */
static int sys_boot_id(const kvi_os *os, uint8_t id[16])
{
    if (boot_id_known(id) || boot_id_btime(id))
        return 0;
    return sys_random(os, id, 16);
}

static uint64_t sys_process_id(const kvi_os *os UNUSED)
{
    return (uint64_t)getpid();
}

const kvi_os kvi_os_posix = {
    .open = sys_open,
    .close = sys_close,
    .pread = sys_pread,
    .pwritev = sys_pwritev,
    .write = sys_write,
    .sync = sys_sync,
    .sync_ahead = sys_sync_ahead,
    .truncate = sys_truncate,
    .stat = sys_stat,
    .stat_path = sys_stat_path,
    .permit = sys_permit,
    .link = sys_link,
    .rename = sys_rename,
    .unlink = sys_unlink,
    .sync_dir = sys_sync_dir,
    .resolve = sys_resolve,
    .shareable = sys_shareable,
    .lock = sys_lock,
    .lock_wait = sys_lock_wait,
    .lock_probe = sys_lock_probe,
    .map = sys_map,
    .map_shared = sys_map_shared,
    .unmap = sys_unmap,
    .memory = sys_memory,
    .advise = sys_advise,
    .alloc = sys_alloc,
    .realloc = sys_realloc,
    .free = sys_free,
    .reserve = sys_reserve,
    .release = sys_release,
    .clock_ms = sys_clock_ms,
    .tick_ms = sys_tick_ms,
    .mono_ns = sys_mono_ns,
    .sleep_us = sys_sleep_us,
    .word_wait = sys_word_wait,
    .word_wake = sys_word_wake,
    .random = sys_random,
    .boot_id = sys_boot_id,
    .process_id = sys_process_id,
};
