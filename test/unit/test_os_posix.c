/* Tests of the table of system calls as the real one, where the other two are no twins of it: other
 * kinds of files, signals, processes. test_os.c has what all three share. */
#include "os.h"
#include "scratch.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define RW       (KVI_OS_WRITE | KVI_OS_CREATE)
#define FAR      ((uint64_t)1 << 62)
#define SOMEBODY 65534u /* neither root nor we */
#define STRANGER 4000000001u

static const kvi_os *const os = &kvi_os_posix;

static int setup(void **state)
{
    scratch *dir = calloc(1, sizeof *dir);
    *state = dir;
    scratch_make(dir);
    return 0;
}

static int teardown(void **state)
{
    scratch_remove(*state);
    free(*state);
    return 0;
}

/* Good for two calls. */
static const char *path_of(const scratch *dir, const char *name)
{
    static char paths[2][SCRATCH_MAX];
    static int next;
    char *path = paths[next++ % 2];
    scratch_path_to(dir, name, path);
    return path;
}

static int open_in(const scratch *dir, const char *name, int flags)
{
    return os->open(os, path_of(dir, name), flags, 0640);
}

static void close_in(int fd)
{
    assert_int_equal(os->close(os, fd), 0);
}

/* ---- files ---- */

static void handles_close_on_exec_and_keep_off_standard_streams(void **state)
{
    scratch *dir = *state;
    pid_t child = fork();
    if (child == 0) {
        close(0);
        close(1);
        close(2);
        int fd = open_in(dir, "a", RW);
        bool ok = fd > 2 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) && fcntl(0, F_GETFD) < 0 &&
                  fcntl(1, F_GETFD) < 0 && fcntl(2, F_GETFD) < 0;
        _exit(ok ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    int fd = open_in(dir, "b", RW);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close_in(fd);
}

/* No number above those of the standard streams is left: nothing is made, then, and what was there
 * stays. */
static void no_room_off_the_standard_streams(void **state)
{
    scratch *dir = *state;
    close_in(open_in(dir, "old", RW));
    pid_t child = fork();
    if (child == 0) {
        const struct rlimit three = {3, 3};
        close(0);
        bool ok = setrlimit(RLIMIT_NOFILE, &three) == 0 &&
                  os->open(os, path_of(dir, "new"), RW | KVI_OS_EXCL, 0600) == -EMFILE &&
                  os->open(os, path_of(dir, "old"), RW, 0600) == -EMFILE;
        _exit(ok ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(access(path_of(dir, "new"), F_OK), -1);
    assert_int_equal(access(path_of(dir, "old"), F_OK), 0);
}

static void links_are_followed_unless_refused(void **state)
{
    scratch *dir = *state;
    close_in(open_in(dir, "file", RW));
    assert_int_equal(symlink("file", path_of(dir, "link")), 0);
    close_in(open_in(dir, "link", KVI_OS_READ));
    assert_int_equal(open_in(dir, "link", KVI_OS_READ | KVI_OS_NOFOLLOW), -ELOOP);
    char file[PATH_MAX], link[PATH_MAX];
    assert_int_equal(os->resolve(os, path_of(dir, "file"), file, PATH_MAX), 0);
    assert_int_equal(os->resolve(os, path_of(dir, "link"), link, PATH_MAX), 0);
    assert_string_equal(file, link);
}

static void other_kinds_of_files_are_told_apart(void **state)
{
    scratch *dir = *state;
    kvi_os_stat st;
    assert_int_equal(mkfifo(path_of(dir, "fifo"), 0600), 0);
    int fd = open_in(dir, "fifo", KVI_OS_READ); /* would wait for a writer */
    assert_true(fd >= 0);
    assert_int_equal(os->stat(os, fd, &st), 0);
    assert_false(st.regular);
    close_in(fd);
    assert_int_equal(mkdir(path_of(dir, "dir"), 0700), 0);
    assert_int_equal(os->stat_path(os, path_of(dir, "dir"), &st), 0);
    assert_false(st.regular);
    assert_int_equal(open_in(dir, "dir", KVI_OS_WRITE), -EISDIR);
}

static void directories_of_all_shapes_are_flushed(void **state)
{
    scratch *dir = *state;
    char here[PATH_MAX], longest[PATH_MAX + 8];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(dir->dir), 0);
    int next = open_in(dir, "a", RW); /* the number that is free, and stays so */
    close_in(next);
    assert_int_equal(os->sync_dir(os, "name"), 0);
    assert_int_equal(os->sync_dir(os, "./name"), 0);
    assert_int_equal(os->sync_dir(os, "/name"), 0);
    assert_int_equal(os->sync_dir(os, "missing/name"), -ENOENT);
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(os->sync_dir(os, longest), 0); /* in ".", whatever the name */
    longest[sizeof longest - 3] = '/';
    assert_int_equal(os->sync_dir(os, longest), -ENAMETOOLONG);
    assert_int_equal(chdir(here), 0);
    int again = open_in(dir, "a", RW);
    assert_int_equal(again, next);
    close_in(again);
}

static bool permit_gives(int fd, kvi_os_stat like, uint32_t mode)
{
    kvi_os_stat st;
    return os->permit(os, fd, &like) == 0 && os->stat(os, fd, &st) == 0 && st.mode == mode;
}

/* As somebody who may not give files away: the group's bits are for the right group only. */
static int permit_unprivileged(int fd)
{
    kvi_os_stat st;
    if (geteuid() == 0 && (setgroups(0, NULL) || setgid(SOMEBODY) || setuid(SOMEBODY)))
        return 1;
    if (os->stat(os, fd, &st) < 0)
        return 2;
    kvi_os_stat other = {.owner = STRANGER, .group = STRANGER, .mode = 0664};
    kvi_os_stat same_group = {.owner = STRANGER, .group = st.group, .mode = 0664};
    return permit_gives(fd, other, 0604) && permit_gives(fd, same_group, 0664) ? 0 : 3;
}

static void files_are_given_away_where_that_is_allowed(void **state)
{
    scratch *dir = *state;
    int fd = open_in(dir, "a", RW), status = -1;
    bool root = geteuid() == 0;
    if (root && fchown(fd, SOMEBODY, SOMEBODY) < 0)
        skip(); /* a container without other users */
    if (root) {
        kvi_os_stat like = {.owner = SOMEBODY, .group = 0, .mode = 0620}, st;
        assert_true(permit_gives(fd, like, 0620));
        assert_int_equal(os->stat(os, fd, &st), 0);
        assert_int_equal(st.owner, SOMEBODY);
        assert_int_equal(st.group, 0);
        like.group = SOMEBODY;
        assert_true(permit_gives(fd, like, 0620));
    }
    pid_t child = fork();
    if (child == 0)
        _exit(permit_unprivileged(fd));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close_in(fd);
}

/* ---- signals ---- */

static atomic_int alarms;

static void count_alarm(int signal)
{
    alarms++;
}

static void alarms_start(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler}; /* without SA_RESTART */
    struct itimerval timer = {{0, 1000}, {0, 1000}};
    alarms = 0;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}

static void alarms_stop(void)
{
    struct itimerval timer = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

/* Reads the pipe empty, but only when its writer has been disturbed. */
static void *drain_late(void *context)
{
    const int *fd = context;
    static char buf[65536];
    while (alarms < 5)
        usleep(1000);
    while (read(*fd, buf, sizeof buf) > 0)
        continue;
    return NULL;
}

static void signals_are_invisible(void **state)
{
    enum { TOTAL = 1 << 20 };
    static char buf[TOTAL];
    int pipe_ends[2];
    sigset_t alarm_only, old;
    pthread_t drain;
    assert_int_equal(pipe(pipe_ends), 0);
    sigemptyset(&alarm_only);
    sigaddset(&alarm_only, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm_only, &old);
    pthread_create(&drain, NULL, drain_late, &pipe_ends[0]);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    alarms_start(count_alarm);
    int64_t all = 0, put = 1;
    while (put > 0 && all < TOTAL) {
        put = os->write(os, pipe_ends[1], buf, (size_t)(TOTAL - all));
        all += put;
    }
    uint64_t before = os->mono_ns(os);
    os->sleep_us(os, 20000);
    uint64_t slept = os->mono_ns(os) - before;
    alarms_stop();
    close(pipe_ends[1]);
    pthread_join(drain, NULL);
    close(pipe_ends[0]);
    assert_true(put > 0);
    assert_int_equal(all, TOTAL);
    assert_true(slept >= 20000000);
}

/* ---- several processes ---- */

/* What the two sides of a fork tell each other, in a file that both have mapped. */
typedef struct telling {
    atomic_int alarms; /* of the child, since it waits */
    atomic_bool released;
    atomic_uint process;
} telling;

static telling *told_map(scratch *dir)
{
    void *map;
    int fd = open_in(dir, "told", RW);
    assert_true(fd >= 0);
    assert_int_equal(os->truncate(os, fd, sizeof(telling)), 0);
    assert_int_equal(os->map_shared(os, fd, sizeof(telling), &map), 0);
    close_in(fd);
    return map;
}

static telling *told_by_child;

static void tell_alarm(int signal)
{
    told_by_child->alarms++;
}

/* Cut short by signals all the time, which nobody may notice. */
static int wait_in_child(scratch *dir, telling *told)
{
    int fd = open_in(dir, "a", RW);
    told->process = (unsigned)os->process_id(os);
    told_by_child = told;
    alarms_start(tell_alarm);
    int rc = os->lock_wait(os, fd, KVI_OS_EXCLUSIVE, FAR, 1);
    return rc == 0 && told->released ? 0 : 1;
}

static void waiting_ends_when_another_process_lets_go(void **state)
{
    scratch *dir = *state;
    telling *told = told_map(dir);
    int fd = open_in(dir, "a", RW), status = -1;
    assert_int_equal(os->lock(os, fd, KVI_OS_EXCLUSIVE, FAR, 1), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(wait_in_child(dir, told));
    /* Not for ever: ThreadSanitizer holds handlers back while the call lasts. */
    for (int i = 0; i < 200 && told->alarms < 5 && waitpid(child, &status, WNOHANG) == 0; i++)
        usleep(1000);
    assert_int_equal(status, -1); /* it still waits */
    told->released = true;
    assert_int_equal(os->lock(os, fd, KVI_OS_UNLOCK, FAR, 1), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(told->process, child);
    assert_int_equal(os->process_id(os), getpid());
    /* The child's lock died with it. */
    assert_int_equal(os->lock_probe(os, fd, FAR, 1, NULL, NULL), 0);
    os->unmap(os, (const uint8_t *)told, sizeof *told);
    close_in(fd);
}

static bool kernel_can_wipe(void)
{
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int rc = madvise(page, 4096, MADV_WIPEONFORK);
    munmap(page, 4096);
    return rc == 0;
}

static void forked_children_see_wiped_memory_as_zero(void **state)
{
    const size_t size = (size_t)1 << 16;
    int status = -1;
    if (!kernel_can_wipe())
        skip();
    uint8_t *kept = os->reserve(os, size), *wiped = os->reserve(os, size);
    os->advise(os, wiped, size, KVI_OS_WIPE_ON_FORK);
    kept[0] = wiped[0] = wiped[size - 1] = 7;
    pid_t child = fork();
    if (child == 0)
        _exit(kept[0] == 7 && wiped[0] == 0 && wiped[size - 1] == 0 ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(wiped[0] == 7 && wiped[size - 1] == 7);
    os->release(os, kept, size);
    os->release(os, wiped, size);
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* Where each has the word mapped does not matter. */
static void sleepers_of_other_processes_are_woken(void **state)
{
    int status, fd = memfd_create("word", 0);
    assert_int_equal(ftruncate(fd, 4096), 0);
    _Atomic uint32_t *words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(words != MAP_FAILED);
    pid_t child = fork();
    if (child == 0) {
        alarm(120);
        _Atomic uint32_t *own = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        atomic_store(&own[1], 1);
        while (atomic_load(&own[0]) == 0)
            os->word_wait(os, &own[0], 0, UINT64_C(3600000000000));
        _exit(0);
    }
    while (atomic_load(&words[1]) == 0)
        usleep(1000);
    usleep(20000);
    atomic_store(&words[0], 1);
    os->word_wake(os, &words[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    munmap((void *)(uintptr_t)words, 4096);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCRATCH(handles_close_on_exec_and_keep_off_standard_streams),
        IN_SCRATCH(no_room_off_the_standard_streams),
        IN_SCRATCH(links_are_followed_unless_refused),
        IN_SCRATCH(other_kinds_of_files_are_told_apart),
        IN_SCRATCH(directories_of_all_shapes_are_flushed),
        IN_SCRATCH(files_are_given_away_where_that_is_allowed),
        IN_SCRATCH(signals_are_invisible),
        IN_SCRATCH(waiting_ends_when_another_process_lets_go),
        IN_SCRATCH(forked_children_see_wiped_memory_as_zero),
        IN_SCRATCH(sleepers_of_other_processes_are_woken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
