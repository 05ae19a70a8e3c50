/* The real system calls, interrupted by signals at every call, refused, and on file systems that are
 * not here: the kernel's part is played by functions that the linker puts in its place
 * (INTERRUPTED_WRAP in the Makefile). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "os.h"
#include "scratch.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

static const kvi_os *os = &kvi_os_posix;
static scratch dir;

/* The next calls fail so; those behind them are the kernel's. */
static struct plan {
    int times, error;
    int then;                /* the error of those behind the first; 0: the same */
    int after;               /* so many that succeed */
    int calls;               /* since the plan was made */
    uint32_t fs;             /* what fstatfs says; 0: the truth */
    size_t random;           /* most bytes of one getrandom; 0: all */
    const char *hide, *text; /* a file of /proc that is not there, or has this text */
} plan;

static void plan_make(int times, int error)
{
    plan = (struct plan){.times = times, .error = error};
}

static bool refused(void)
{
    plan.calls++;
    if (plan.times <= 0 || plan.calls <= plan.after)
        return false;
    plan.times--;
    errno = plan.error;
    plan.error = plan.then ? plan.then : plan.error;
    return true;
}

#define KERNEL(result, name, parameters, arguments)                                                \
    result __real_##name parameters;                                                               \
    result __wrap_##name parameters;                                                               \
    result __wrap_##name parameters                                                                \
    {                                                                                              \
        return refused() ? (result)-1 : __real_##name arguments;                                   \
    }

KERNEL(ssize_t, pread64, (int fd, void *buf, size_t len, off_t off), (fd, buf, len, off))
KERNEL(ssize_t, pwrite64, (int fd, const void *buf, size_t len, off_t off), (fd, buf, len, off))
KERNEL(ssize_t, pwritev64, (int fd, const struct iovec *iov, int n, off_t off), (fd, iov, n, off))
KERNEL(ssize_t, write, (int fd, const void *buf, size_t len), (fd, buf, len))
KERNEL(int, poll, (struct pollfd * fds, nfds_t n, int timeout), (fds, n, timeout))
KERNEL(int, fdatasync, (int fd), (fd))
KERNEL(int, ftruncate64, (int fd, off_t size), (fd, size))
KERNEL(int, fsync, (int fd), (fd))
KERNEL(int, statx, (int at, const char *path, int flags, unsigned mask, struct statx *st),
       (at, path, flags, mask, st))
KERNEL(int, fstatat64, (int at, const char *path, struct stat64 *st, int flags),
       (at, path, st, flags))
KERNEL(int, nanosleep, (const struct timespec *time, struct timespec *left), (time, left))

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
    long a[6];
    va_list more;
    va_start(more, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(more, long);
    va_end(more);
    return refused() ? -1 : __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd) /* closes all the same */
{
    int rc = __real_close(fd);
    return refused() ? -1 : rc;
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    return refused() ? -1 : __real_open64(path, flags, mode);
}

int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...)
{
    va_list more;
    va_start(more, command);
    void *argument = va_arg(more, void *);
    va_end(more);
    return refused() ? -1 : __real_fcntl64(fd, command, argument);
}

int __real_fstatfs64(int fd, struct statfs *fs);
int __wrap_fstatfs64(int fd, struct statfs *fs);
int __wrap_fstatfs64(int fd, struct statfs *fs)
{
    int rc = refused() ? -1 : __real_fstatfs64(fd, fs);
    if (rc == 0 && plan.fs)
        fs->f_type = plan.fs;
    return rc;
}

ssize_t __real_getrandom(void *buf, size_t len, unsigned flags);
ssize_t __wrap_getrandom(void *buf, size_t len, unsigned flags);
ssize_t __wrap_getrandom(void *buf, size_t len, unsigned flags)
{
    return refused() ? -1
                     : __real_getrandom(buf, plan.random ? KVI_MIN(len, plan.random) : len, flags);
}

FILE *__real_fopen64(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode)
{
    static char text[256];
    if (!plan.hide || !strstr(path, plan.hide))
        return __real_fopen64(path, mode);
    if (!plan.text) {
        errno = ENOENT;
        return NULL;
    }
    snprintf(text, sizeof text, "%s", plan.text);
    return fmemopen(text, strlen(text), "r");
}

/* ---- tests ---- */

/* Twice interrupted, and then done: nobody notices. */
#define UNNOTICED(expect, call)                                                                    \
    do {                                                                                           \
        plan_make(2, EINTR);                                                                       \
        assert_int_equal(call, expect);                                                            \
        assert_int_equal(plan.times, 0);                                                           \
        assert_true(plan.calls >= 3);                                                              \
        plan_make(0, 0);                                                                           \
    } while (0)

/* Told as it is, at once. */
#define TOLD(error, call)                                                                          \
    do {                                                                                           \
        plan_make(1, error);                                                                       \
        assert_int_equal(call, -(error));                                                          \
        plan_make(0, 0);                                                                           \
    } while (0)

static int open_a(void)
{
    return os->open(os, scratch_path(&dir, "a"), KVI_OS_WRITE | KVI_OS_CREATE, 0600);
}

static void each_call_is_repeated(void **state)
{
    char buf[8];
    struct iovec iov = {buf, sizeof buf}, two[2] = {iov, iov};
    const char *path = scratch_path(&dir, "a");
    int fd = open_a();
    assert_true(fd >= 0);
    UNNOTICED(8, os->pwritev(os, fd, &iov, 1, 0));
    UNNOTICED(16, os->pwritev(os, fd, two, 2, 0));
    UNNOTICED(8, os->write(os, fd, buf, sizeof buf));
    UNNOTICED(8, os->pread(os, fd, buf, sizeof buf, 0));
    UNNOTICED(0, os->sync(os, fd));
    UNNOTICED(0, os->truncate(os, fd, 100));
    UNNOTICED(0, os->lock(os, fd, KVI_OS_SHARED, 0, 1));
    UNNOTICED(0, os->lock_wait(os, fd, KVI_OS_EXCLUSIVE, 0, 1));
    UNNOTICED(0, os->lock_probe(os, fd, 0, 1, NULL, NULL));
    UNNOTICED(0, os->shareable(os, fd));
    UNNOTICED(0, os->random(os, buf, sizeof buf));
    plan_make(2, EINTR);
    int again = os->open(os, path, KVI_OS_READ, 0);
    assert_true(again > fd && plan.times == 0);
    plan_make(1, EINTR); /* closed all the same: never twice */
    assert_int_equal(os->close(os, again), 0);
    assert_int_equal(plan.calls, 1);
    plan_make(0, 0);
    assert_int_equal(os->close(os, fd), 0);
}

static void the_directory_is_flushed_all_the_same(void **state)
{
    const char *path = scratch_path(&dir, "a");
    for (int after = 0; after < 2; after++) { /* the open, the flush */
        plan = (struct plan){.times = 2, .error = EINTR, .after = after};
        assert_int_equal(os->sync_dir(os, path), 0);
        assert_int_equal(plan.times, 0);
        plan = (struct plan){.times = 1, .error = EIO, .after = after};
        assert_int_equal(os->sync_dir(os, path), -EIO);
    }
    plan_make(0, 0);
}

static void failures_are_told(void **state)
{
    char buf[8];
    struct iovec iov = {buf, sizeof buf}, two[2] = {iov, iov};
    int fd = open_a();
    TOLD(EIO, os->pwritev(os, fd, &iov, 1, 0));
    TOLD(EIO, os->pwritev(os, fd, two, 2, 0));
    TOLD(EIO, os->write(os, fd, buf, sizeof buf));
    TOLD(EIO, os->pread(os, fd, buf, sizeof buf, 0));
    TOLD(EIO, os->sync(os, fd));
    TOLD(ENOSPC, os->truncate(os, fd, 100));
    TOLD(ENOLCK, os->lock(os, fd, KVI_OS_SHARED, 0, 1));
    TOLD(EINVAL, os->lock_probe(os, fd, 0, 1, NULL, NULL));
    TOLD(EIO, os->shareable(os, fd));
    TOLD(ENOSYS, os->random(os, buf, sizeof buf));
    plan_make(1, EACCES); /* what some systems say instead of EAGAIN */
    assert_int_equal(os->lock(os, fd, KVI_OS_EXCLUSIVE, 0, 1), -EAGAIN);
    TOLD(EIO, os->close(os, fd));
}

/* The older call serves where the newer one is unknown, or forbidden. */
static void files_are_described_all_the_same(void **state)
{
    static const int unknown[] = {ENOSYS, EPERM};
    kvi_os_stat stat;
    int fd = open_a();
    assert_int_equal(os->truncate(os, fd, 77), 0);
    for (size_t i = 0; i < KVI_COUNT(unknown); i++) {
        stat = (kvi_os_stat){0};
        plan_make(1, unknown[i]);
        assert_int_equal(os->stat(os, fd, &stat), 0);
        assert_int_equal(plan.calls, 2);
        assert_int_equal(stat.size, 77);
        assert_true(stat.regular && stat.links == 1 && stat.inode != 0);
        plan_make(2, unknown[i]);
        assert_int_equal(os->stat(os, fd, &stat), -unknown[i]);
    }
    TOLD(EACCES, os->stat_path(os, scratch_path(&dir, "a"), &stat));
    assert_int_equal(os->close(os, fd), 0);
}

/* Who waits looks again after a signal at once, and after a pause where waiting is forbidden. */
static void pauses_are_made(void **state)
{
    static const struct {
        int error, calls;
    } waits[] = {{EINTR, 1}, {ETIMEDOUT, 1}, {EAGAIN, 1}, {ENOSYS, 2}, {EPERM, 2}};
    _Atomic uint32_t word = 1;
    for (size_t i = 0; i < KVI_COUNT(waits); i++) {
        plan_make(1, waits[i].error);
        os->word_wait(os, &word, 1, UINT64_MAX / 2);
        assert_int_equal(plan.calls, waits[i].calls);
    }
    plan_make(2, EINTR);
    os->sleep_us(os, 10);
    assert_int_equal(plan.calls, 3);
    plan_make(1, EINVAL);
    os->sleep_us(os, 10);
    assert_int_equal(plan.calls, 1);
    plan_make(0, 0);
}

/* Somebody has a lease on the file: waited for without O_NONBLOCK. */
static void a_lease_is_waited_for(void **state)
{
    plan_make(1, EWOULDBLOCK);
    int fd = open_a();
    assert_true(fd >= 0);
    plan_make(0, 0);
    assert_int_equal(os->close(os, fd), 0);
    TOLD(EACCES, open_a());
    plan_make(2, EWOULDBLOCK);
    plan.then = EINTR; /* while we wait */
    fd = open_a();
    assert_true(fd >= 0);
    assert_int_equal(plan.calls, 3);
    assert_int_equal(os->close(os, fd), 0);
    plan_make(2, EWOULDBLOCK);
    plan.then = EACCES; /* when it is given back */
    assert_int_equal(open_a(), -EACCES);
}

/* A pipe that is full: waited for, also through signals; and if that is refused, it is told. */
static void a_full_pipe_is_waited_for(void **state)
{
    char buf[8] = "written";
    int fd = open_a();
    plan_make(4, EAGAIN); /* the write, the wait three times */
    plan.then = EINTR;
    assert_int_equal(os->write(os, fd, buf, sizeof buf), sizeof buf);
    assert_int_equal(plan.times, 0);
    assert_int_equal(plan.calls, 6);
    plan_make(2, EAGAIN);
    plan.then = ENOMEM;
    assert_int_equal(os->write(os, fd, buf, sizeof buf), -ENOMEM);
    assert_int_equal(plan.calls, 2);
    plan_make(0, 0);
    assert_int_equal(os->close(os, fd), 0);
}

static void network_file_systems_are_known(void **state)
{
    static const uint32_t far[] = {0x6969, 0xff534d42, 0x01021997, 0x00c36400, 0xbacbacbc};
    int fd = open_a();
    for (size_t i = 0; i < KVI_COUNT(far); i++) {
        plan = (struct plan){.fs = far[i]};
        assert_int_equal(os->shareable(os, fd), -EOPNOTSUPP);
    }
    plan = (struct plan){.fs = 0xef53}; /* ext4 */
    assert_int_equal(os->shareable(os, fd), 0);
    plan_make(0, 0);
    assert_int_equal(os->close(os, fd), 0);
}

/* The number says only that a program decides; the list of mounts says which. */
static void programs_are_known_by_name(void **state)
{
    char line[128];
    struct stat st;
    int fd = open_a();
    assert_int_equal(stat(scratch_path(&dir, "a"), &st), 0);
    const uint32_t fuse = 0x65735546;
    static const char *const types[] = {"fuse.sshfs", "virtiofs", "fuseblk", "fuse.mine"};
    for (size_t i = 0; i < KVI_COUNT(types); i++) {
        snprintf(line, sizeof line, "9 1 %u:%u / /far rw - %s x rw\n", major(st.st_dev),
                 minor(st.st_dev), types[i]);
        plan = (struct plan){.fs = fuse, .hide = "/proc/self/mountinfo", .text = line};
        assert_int_equal(os->shareable(os, fd), i < 2 ? -EOPNOTSUPP : 0);
        plan.fs = 0xef53; /* ext4: nobody asks for the name */
        assert_int_equal(os->shareable(os, fd), 0);
    }
    plan = (struct plan){.fs = fuse, .hide = "/proc"};
    assert_int_equal(os->shareable(os, fd), 0);
    plan_make(0, 0);
    assert_int_equal(os->close(os, fd), 0);
}

static void random_bytes_come_in_pieces(void **state)
{
    uint8_t buf[64] = {0}, zero[16] = {0};
    plan = (struct plan){.random = 16};
    assert_int_equal(os->random(os, buf, sizeof buf), 0);
    assert_int_equal(plan.calls, 4);
    for (int i = 0; i < 4; i++)
        assert_memory_not_equal(buf + 16 * i, zero, 16);
    plan_make(0, 0);
}

/* Without the kernel's number the time of the start serves, and that does not change either. The
 * kernel's is asked for until it is known. */
static void boots_have_numbers_all_the_same(void **state)
{
    uint8_t start[16], first[16], second[16];
    plan = (struct plan){.hide = "boot_id"};
    assert_int_equal(os->boot_id(os, start), 0);
    assert_int_equal(os->boot_id(os, second), 0);
    assert_memory_equal(start, second, 16);
    memcpy(first, start, 16);
    plan.text = "too short: 12345\n";
    assert_int_equal(os->boot_id(os, second), 0);
    assert_memory_equal(first, second, 16);
    plan.text = "";
    assert_int_equal(os->boot_id(os, second), 0);
    assert_memory_equal(first, second, 16);
    plan = (struct plan){.hide = "/proc"}; /* nothing is known: each call is a boot of its own */
    assert_int_equal(os->boot_id(os, first), 0);
    assert_int_equal(os->boot_id(os, second), 0);
    assert_memory_not_equal(first, second, 16);
    plan.text = "no time in here\n";
    assert_int_equal(os->boot_id(os, first), 0);
    assert_memory_not_equal(first, second, 16);
    plan.times = 1;
    plan.error = ENOSYS;
    assert_int_equal(os->boot_id(os, first), -ENOSYS);
    plan.text = "btime 17\n";
    assert_int_equal(os->boot_id(os, first), 0);
    assert_int_equal(os->boot_id(os, second), 0);
    assert_memory_equal(first, second, 16);
    plan_make(0, 0);
    assert_int_equal(os->boot_id(os, first), 0);
    assert_memory_not_equal(first, start, 16);
    plan = (struct plan){.hide = "boot_id"}; /* it is known by now */
    assert_int_equal(os->boot_id(os, second), 0);
    assert_memory_equal(first, second, 16);
    plan_make(0, 0);
}

static int setup(void **state)
{
    scratch_make(&dir);
    return 0;
}

static int teardown(void **state)
{
    scratch_remove(&dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_call_is_repeated),
        cmocka_unit_test(the_directory_is_flushed_all_the_same),
        cmocka_unit_test(failures_are_told),
        cmocka_unit_test(files_are_described_all_the_same),
        cmocka_unit_test(pauses_are_made),
        cmocka_unit_test(a_lease_is_waited_for),
        cmocka_unit_test(a_full_pipe_is_waited_for),
        cmocka_unit_test(network_file_systems_are_known),
        cmocka_unit_test(programs_are_known_by_name),
        cmocka_unit_test(random_bytes_come_in_pieces),
        cmocka_unit_test(boots_have_numbers_all_the_same),
    };
    return cmocka_run_group_tests_name("interrupted calls", tests, setup, teardown);
}
