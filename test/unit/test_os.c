/* Tests of the table of system calls that run three times: on the real one, on the simulated
 * machine, and through the failing table without a plan, so that all three are known to mean the
 * same. What only the real one can show is test_os_posix.c's matter. */
#include "fault_os.h"
#include "scratch.h"
#include "sim_os.h"
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define RW (KVI_OS_WRITE | KVI_OS_CREATE)

typedef struct world {
    const kvi_os *os;
    scratch scratch;
    sim_disk *disk; /* NULL in the real world */
    fault_os fault;
    char paths[4][SCRATCH_MAX];
    int next_path;
} world;

static world *world_new(void **state)
{
    world *w = calloc(1, sizeof *w);
    *state = w;
    return w;
}

static int setup_posix(void **state)
{
    world *w = world_new(state);
    scratch_make(&w->scratch);
    w->os = &kvi_os_posix;
    return 0;
}

static int setup_sim(void **state)
{
    world *w = world_new(state);
    w->disk = sim_new(1);
    w->os = sim_os(w->disk);
    return 0;
}

static int setup_fault(void **state)
{
    setup_posix(state);
    world *w = *state;
    fault_init(&w->fault, w->os);
    w->os = &w->fault.os;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    int rc = w->fault.inner && !fault_balanced(&w->fault);
    if (w->disk) {
        rc |= sim_open_handles(w->disk) != 0;
        sim_free(w->disk);
    } else {
        scratch_remove(&w->scratch);
    }
    free(w);
    return rc;
}

/* The name as this world wants it; good for four calls. */
static const char *path_of(world *w, const char *name)
{
    char *path = w->paths[w->next_path++ % 4];
    if (w->disk)
        snprintf(path, SCRATCH_MAX, "%s", name);
    else
        scratch_path_to(&w->scratch, name, path);
    return path;
}

static int open_in(world *w, const char *name, int flags)
{
    return w->os->open(w->os, path_of(w, name), flags, 0640);
}

static void close_in(world *w, int fd)
{
    assert_int_equal(w->os->close(w->os, fd), 0);
}

static int64_t write_text(world *w, int fd, const char *text, uint64_t off)
{
    struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
    return w->os->pwritev(w->os, fd, &iov, 1, off);
}

static void expect_text(world *w, int fd, const char *text, uint64_t off)
{
    char buf[64];
    int64_t got = w->os->pread(w->os, fd, buf, sizeof buf, off);
    assert_int_equal(got, strlen(text));
    assert_memory_equal(buf, text, strlen(text));
}

static uint64_t size_of(world *w, int fd)
{
    kvi_os_stat st;
    assert_int_equal(w->os->stat(w->os, fd, &st), 0);
    return st.size;
}

/* ---- files ---- */

static void open_obeys_its_flags(void **state)
{
    world *w = *state;
    assert_int_equal(open_in(w, "a", KVI_OS_READ), -ENOENT);
    assert_int_equal(open_in(w, "a", KVI_OS_WRITE), -ENOENT);
    int fd = open_in(w, "a", RW | KVI_OS_EXCL);
    assert_true(fd >= 0);
    assert_int_equal(open_in(w, "a", RW | KVI_OS_EXCL), -EEXIST);
    int again = open_in(w, "a", RW | KVI_OS_NOFOLLOW);
    assert_true(again >= 0 && again != fd);
    assert_int_equal(write_text(w, fd, "text", 0), 4);
    int reader = open_in(w, "a", KVI_OS_READ);
    expect_text(w, reader, "text", 0);
    assert_int_equal(write_text(w, reader, "no", 0), -EBADF);
    assert_int_equal(w->os->truncate(w->os, reader, 0), -EINVAL);
    w->os->sync_ahead(w->os, fd);
    expect_text(w, reader, "text", 0);
    assert_int_equal(w->os->sync(w->os, reader), 0);
    close_in(w, fd);
    close_in(w, again);
    close_in(w, reader);
    assert_int_equal(w->os->close(w->os, fd), -EBADF);
    assert_int_equal(w->os->pread(w->os, fd, NULL, 0, 0), -EBADF);
    assert_int_equal(w->os->sync(w->os, fd), -EBADF);
    w->os->sync_ahead(w->os, fd); /* no harm */
}

static void reads_end_where_the_file_ends(void **state)
{
    world *w = *state;
    int fd = open_in(w, "a", RW);
    char buf[8];
    assert_int_equal(w->os->pread(w->os, fd, buf, 8, 0), 0);
    assert_int_equal(write_text(w, fd, "abcdef", 0), 6);
    expect_text(w, fd, "def", 3);
    assert_int_equal(w->os->pread(w->os, fd, buf, 2, 1), 2);
    assert_memory_equal(buf, "bc", 2);
    assert_int_equal(w->os->pread(w->os, fd, buf, 8, 6), 0);
    assert_int_equal(w->os->pread(w->os, fd, buf, 8, 1 << 20), 0);
    close_in(w, fd);
}

static void vectors_are_gathered(void **state)
{
    world *w = *state;
    int fd = open_in(w, "a", RW);
    char one[] = "one", two[] = "twotwo", none[] = "";
    struct iovec iov[] = {{one, 3}, {none, 0}, {two, 6}};
    assert_int_equal(w->os->pwritev(w->os, fd, iov, 3, 10), 9);
    assert_int_equal(size_of(w, fd), 19);
    expect_text(w, fd, "onetwotwo", 10);
    char buf[10];
    assert_int_equal(w->os->pread(w->os, fd, buf, 10, 0), 10);
    assert_memory_equal(buf, "\0\0\0\0\0\0\0\0\0\0", 10);
    close_in(w, fd);
}

static void very_long_vectors_are_written_in_part(void **state)
{
    world *w = *state;
    enum { PIECES = IOV_MAX + 10 };
    struct iovec *iov = calloc(PIECES, sizeof *iov);
    char byte[] = "x";
    for (int i = 0; i < PIECES; i++)
        iov[i] = (struct iovec){byte, 1};
    int fd = open_in(w, "a", RW);
    int64_t put = w->os->pwritev(w->os, fd, iov, PIECES, 0);
    assert_true(put > 0 && put <= PIECES);
    assert_int_equal(size_of(w, fd), put);
    close_in(w, fd);
    free(iov);
}

static void streams_write_one_after_the_other(void **state)
{
    world *w = *state;
    int fd = open_in(w, "a", RW);
    assert_int_equal(w->os->write(w->os, fd, "abc", 3), 3);
    assert_int_equal(w->os->write(w->os, fd, "de", 2), 2);
    assert_int_equal(write_text(w, fd, "X", 0), 1);
    assert_int_equal(w->os->write(w->os, fd, "f", 1), 1);
    expect_text(w, fd, "Xbcdef", 0);
    close_in(w, fd);
}

static void truncation_cuts_and_extends_with_zeros(void **state)
{
    world *w = *state;
    int fd = open_in(w, "a", RW);
    write_text(w, fd, "abcdef", 0);
    assert_int_equal(w->os->truncate(w->os, fd, 3), 0);
    expect_text(w, fd, "abc", 0);
    assert_int_equal(w->os->truncate(w->os, fd, 5), 0);
    assert_int_equal(size_of(w, fd), 5);
    char buf[8];
    assert_int_equal(w->os->pread(w->os, fd, buf, 8, 0), 5);
    assert_memory_equal(buf, "abc\0\0", 5);
    close_in(w, fd);
}

static void stat_describes(void **state)
{
    world *w = *state;
    kvi_os_stat a, b, c;
    int fd = open_in(w, "a", RW), other = open_in(w, "b", RW);
    write_text(w, fd, "12345", 0);
    assert_int_equal(w->os->stat(w->os, fd, &a), 0);
    assert_int_equal(w->os->stat_path(w->os, path_of(w, "a"), &b), 0);
    assert_int_equal(w->os->stat(w->os, other, &c), 0);
    assert_int_equal(a.size, 5);
    assert_int_equal(a.links, 1);
    assert_int_equal(a.mode, 0640);
    assert_true(a.regular);
    assert_true(a.device == b.device && a.inode == b.inode && b.size == 5);
    assert_true(a.device == c.device && a.inode != c.inode && c.size == 0);
    assert_int_equal(w->os->stat_path(w->os, path_of(w, "none"), &b), -ENOENT);
    close_in(w, fd);
    close_in(w, other);
    assert_int_equal(w->os->stat(w->os, fd, &a), -EBADF);
}

static void permissions_are_those_of_another_file(void **state)
{
    world *w = *state;
    kvi_os_stat like, st;
    int fd = open_in(w, "a", RW), reader = open_in(w, "a", KVI_OS_READ);
    assert_int_equal(w->os->stat(w->os, fd, &like), 0);
    assert_int_equal(like.mode, 0640);
    like.mode = 04604;
    assert_int_equal(w->os->permit(w->os, reader, &like), 0);
    assert_int_equal(w->os->stat(w->os, fd, &st), 0);
    assert_int_equal(st.mode, 0604); /* what a database may not have is left out */
    assert_int_equal(st.owner, like.owner);
    assert_int_equal(st.group, like.group);
    close_in(w, fd);
    close_in(w, reader);
    assert_int_equal(w->os->permit(w->os, fd, &like), -EBADF);
}

static void names_can_be_linked_and_unlinked(void **state)
{
    world *w = *state;
    const kvi_os *os = w->os;
    kvi_os_stat st;
    int fd = open_in(w, "a", RW);
    write_text(w, fd, "old", 0);
    close_in(w, open_in(w, "taken", RW));
    assert_int_equal(os->link(os, path_of(w, "a"), path_of(w, "taken")), -EEXIST);
    assert_int_equal(os->link(os, path_of(w, "none"), path_of(w, "c")), -ENOENT);
    assert_int_equal(os->link(os, path_of(w, "a"), path_of(w, "b")), 0);
    assert_int_equal(os->stat(os, fd, &st), 0);
    assert_int_equal(st.links, 2);
    assert_int_equal(os->unlink(os, path_of(w, "a")), 0);
    assert_int_equal(os->unlink(os, path_of(w, "a")), -ENOENT);
    int through_b = open_in(w, "b", KVI_OS_READ);
    expect_text(w, through_b, "old", 0);
    assert_int_equal(os->unlink(os, path_of(w, "b")), 0);
    expect_text(w, through_b, "old", 0);
    assert_int_equal(os->stat(os, fd, &st), 0);
    assert_int_equal(st.links, 0);
    assert_int_equal(os->sync_dir(os, path_of(w, "a")), 0);
    close_in(w, through_b);
    close_in(w, fd);
    fd = open_in(w, "a", RW);
    assert_int_equal(size_of(w, fd), 0);
    close_in(w, fd);
}

static void renaming_replaces(void **state)
{
    world *w = *state;
    const kvi_os *os = w->os;
    kvi_os_stat st;
    int fd = open_in(w, "new", RW), old = open_in(w, "taken", RW);
    write_text(w, fd, "new", 0);
    write_text(w, old, "old", 0);
    assert_int_equal(os->rename(os, path_of(w, "none"), path_of(w, "b")), -ENOENT);
    assert_int_equal(os->rename(os, path_of(w, "new"), path_of(w, "new")), 0);
    assert_int_equal(os->rename(os, path_of(w, "new"), path_of(w, "taken")), 0);
    assert_int_equal(os->stat_path(os, path_of(w, "new"), &st), -ENOENT);
    assert_int_equal(os->stat(os, fd, &st), 0);
    assert_int_equal(st.links, 1);
    assert_int_equal(os->stat(os, old, &st), 0);
    assert_int_equal(st.links, 0);
    expect_text(w, old, "old", 0);
    int through_name = open_in(w, "taken", KVI_OS_READ);
    expect_text(w, through_name, "new", 0);
    assert_int_equal(os->rename(os, path_of(w, "taken"), path_of(w, "free")), 0);
    assert_int_equal(os->stat_path(os, path_of(w, "free"), &st), 0);
    close_in(w, through_name);
    close_in(w, old);
    close_in(w, fd);
}

static void resolve_wants_the_file_and_room(void **state)
{
    world *w = *state;
    char out[PATH_MAX];
    assert_int_equal(w->os->resolve(w->os, path_of(w, "a"), out, sizeof out), -ENOENT);
    close_in(w, open_in(w, "a", RW));
    assert_int_equal(w->os->resolve(w->os, path_of(w, "a"), out, 1), -ENAMETOOLONG);
    assert_int_equal(w->os->resolve(w->os, path_of(w, "a"), out, sizeof out), 0);
    kvi_os_stat a, b;
    assert_int_equal(w->os->stat_path(w->os, out, &a), 0);
    assert_int_equal(w->os->stat_path(w->os, path_of(w, "a"), &b), 0);
    assert_int_equal(a.inode, b.inode);
    size_t size = strlen(out) + 1;
    assert_int_equal(w->os->resolve(w->os, path_of(w, "a"), out, size), 0);
    assert_int_equal(w->os->resolve(w->os, path_of(w, "a"), out, size - 1), -ENAMETOOLONG);
}

static void local_files_are_shareable(void **state)
{
    world *w = *state;
    int fd = open_in(w, "a", RW);
    assert_int_equal(w->os->shareable(w->os, fd), 0);
    close_in(w, fd);
    assert_int_equal(w->os->shareable(w->os, fd), -EBADF);
}

/* ---- locks ---- */

#define FAR ((uint64_t)1 << 62)

static int lock_in(world *w, int fd, int kind, uint64_t off, uint64_t len)
{
    return w->os->lock(w->os, fd, kind, off, len);
}

static int probe_in(world *w, int fd, uint64_t off, uint64_t len)
{
    return w->os->lock_probe(w->os, fd, off, len, NULL, NULL);
}

static void exclusive_locks_exclude(void **state)
{
    world *w = *state;
    int a = open_in(w, "a", RW), b = open_in(w, "a", RW);
    assert_int_equal(lock_in(w, a, KVI_OS_EXCLUSIVE, FAR, 1), 0);
    assert_int_equal(lock_in(w, b, KVI_OS_EXCLUSIVE, FAR, 1), -EAGAIN);
    assert_int_equal(lock_in(w, b, KVI_OS_SHARED, FAR, 1), -EAGAIN);
    assert_int_equal(probe_in(w, b, FAR, 1), 1);
    assert_int_equal(probe_in(w, a, FAR, 1), 0);
    assert_int_equal(lock_in(w, b, KVI_OS_EXCLUSIVE, FAR + 1, 1), 0);
    assert_int_equal(lock_in(w, a, KVI_OS_EXCLUSIVE, FAR, 1), 0);
    close_in(w, a);
    assert_int_equal(lock_in(w, b, KVI_OS_EXCLUSIVE, FAR, 1), 0);
    close_in(w, b);
}

static void shared_locks_share(void **state)
{
    world *w = *state;
    int a = open_in(w, "a", RW), b = open_in(w, "a", RW), reader = open_in(w, "a", KVI_OS_READ);
    assert_int_equal(lock_in(w, a, KVI_OS_SHARED, 5, 1), 0);
    assert_int_equal(lock_in(w, reader, KVI_OS_SHARED, 5, 1), 0);
    assert_int_equal(lock_in(w, reader, KVI_OS_EXCLUSIVE, 9, 1), -EBADF);
    assert_int_equal(lock_in(w, b, KVI_OS_EXCLUSIVE, 5, 1), -EAGAIN);
    assert_int_equal(probe_in(w, b, 5, 1), 1);
    assert_int_equal(probe_in(w, reader, 5, 1), 1);
    assert_int_equal(lock_in(w, a, KVI_OS_EXCLUSIVE, 5, 1), -EAGAIN);
    assert_int_equal(lock_in(w, reader, KVI_OS_UNLOCK, 5, 1), 0);
    assert_int_equal(lock_in(w, a, KVI_OS_EXCLUSIVE, 5, 1), 0);
    assert_int_equal(lock_in(w, a, KVI_OS_SHARED, 5, 1), 0);
    assert_int_equal(lock_in(w, reader, KVI_OS_SHARED, 5, 1), 0);
    close_in(w, a);
    close_in(w, b);
    close_in(w, reader);
}

static void locks_are_ranges(void **state)
{
    world *w = *state;
    int a = open_in(w, "a", RW), b = open_in(w, "a", RW);
    assert_int_equal(lock_in(w, a, KVI_OS_EXCLUSIVE, 10, 10), 0);
    assert_int_equal(lock_in(w, a, KVI_OS_UNLOCK, 13, 2), 0);
    for (uint64_t i = 8; i < 22; i++) {
        bool held = i >= 10 && i < 20 && i != 13 && i != 14;
        assert_int_equal(probe_in(w, b, i, 1), held);
    }
    assert_int_equal(probe_in(w, b, 13, 2), 0);
    assert_int_equal(probe_in(w, b, 13, 3), 1);
    assert_int_equal(probe_in(w, b, 0, 0), 1);
    assert_int_equal(probe_in(w, b, 20, 0), 0);
    assert_int_equal(lock_in(w, a, KVI_OS_SHARED, 0, 0), 0);
    assert_int_equal(lock_in(w, b, KVI_OS_SHARED, FAR, 1), 0);
    assert_int_equal(lock_in(w, b, KVI_OS_EXCLUSIVE, FAR, 1), -EAGAIN);
    assert_int_equal(lock_in(w, a, KVI_OS_UNLOCK, 0, 0), 0);
    assert_int_equal(lock_in(w, b, KVI_OS_EXCLUSIVE, 0, 0), 0);
    close_in(w, a);
    close_in(w, b);
}

static void locks_of_other_files_and_handles_are_left_alone(void **state)
{
    world *w = *state;
    int a = open_in(w, "a", RW), b = open_in(w, "b", RW), again = open_in(w, "a", RW);
    assert_int_equal(lock_in(w, a, KVI_OS_EXCLUSIVE, 0, 1), 0);
    assert_int_equal(lock_in(w, b, KVI_OS_EXCLUSIVE, 0, 1), 0);
    assert_int_equal(lock_in(w, again, KVI_OS_UNLOCK, 0, 1), 0);
    close_in(w, again); /* classic POSIX locks would be lost here */
    again = open_in(w, "a", RW);
    assert_int_equal(probe_in(w, again, 0, 1), 1);
    close_in(w, a);
    close_in(w, b);
    close_in(w, again);
}

static void expect_held(world *w, int fd, uint64_t off, uint64_t len, uint64_t from, uint64_t upto)
{
    uint64_t at = 1, size = 1;
    assert_int_equal(w->os->lock_probe(w->os, fd, off, len, &at, &size), 1);
    assert_int_equal(at, from);
    assert_int_equal(at + size, upto);
    at = 1;
    assert_int_equal(w->os->lock_probe(w->os, fd, off, len, &at, NULL), 1);
    assert_int_equal(at, from);
    assert_int_equal(w->os->lock_probe(w->os, fd, off, len, NULL, &size), 1);
    assert_int_equal(size, upto - from);
}

static void probes_tell_the_held_part_of_the_range(void **state)
{
    world *w = *state;
    const uint64_t end = (uint64_t)1 << 63;
    uint64_t at = 77, size = 78;
    int a = open_in(w, "a", RW), b = open_in(w, "a", RW);
    assert_int_equal(lock_in(w, a, KVI_OS_SHARED, FAR + 10, 10), 0);
    expect_held(w, b, FAR, 100, FAR + 10, FAR + 20);
    expect_held(w, b, FAR + 10, 10, FAR + 10, FAR + 20);
    expect_held(w, b, FAR + 12, 3, FAR + 12, FAR + 15);
    expect_held(w, b, FAR, 11, FAR + 10, FAR + 11);
    expect_held(w, b, FAR + 19, 0, FAR + 19, FAR + 20);
    expect_held(w, b, 0, 0, FAR + 10, FAR + 20);
    assert_int_equal(w->os->lock_probe(w->os, b, FAR, 10, &at, &size), 0);
    assert_int_equal(w->os->lock_probe(w->os, b, FAR + 20, 0, &at, &size), 0);
    assert_int_equal(w->os->lock_probe(w->os, a, 0, 0, &at, &size), 0);
    assert_true(at == 77 && size == 78);
    assert_int_equal(lock_in(w, a, KVI_OS_EXCLUSIVE, FAR + 10, 0), 0);
    expect_held(w, b, FAR, 100, FAR + 10, FAR + 100);
    expect_held(w, b, 0, 0, FAR + 10, end);
    close_in(w, a);
    assert_int_equal(probe_in(w, a, 0, 0), -EBADF);
    close_in(w, b);
}

static void waiting_locks_are_locks(void **state)
{
    world *w = *state;
    const kvi_os *os = w->os;
    int a = open_in(w, "a", RW), b = open_in(w, "a", RW), reader = open_in(w, "a", KVI_OS_READ);
    assert_int_equal(os->lock_wait(os, a, KVI_OS_EXCLUSIVE, FAR, 1), 0);
    assert_int_equal(lock_in(w, b, KVI_OS_SHARED, FAR, 1), -EAGAIN);
    assert_int_equal(os->lock_wait(os, b, KVI_OS_EXCLUSIVE, FAR + 1, 1), 0);
    assert_int_equal(os->lock_wait(os, a, KVI_OS_SHARED, FAR, 1), 0);
    assert_int_equal(os->lock_wait(os, b, KVI_OS_SHARED, FAR, 1), 0);
    assert_int_equal(lock_in(w, a, KVI_OS_EXCLUSIVE, FAR, 1), -EAGAIN);
    assert_int_equal(os->lock_wait(os, b, KVI_OS_UNLOCK, FAR, 1), 0);
    assert_int_equal(os->lock_wait(os, a, KVI_OS_EXCLUSIVE, FAR, 1), 0);
    assert_int_equal(os->lock_wait(os, reader, KVI_OS_EXCLUSIVE, 0, 1), -EBADF);
    close_in(w, a);
    close_in(w, b);
    close_in(w, reader);
    assert_int_equal(os->lock_wait(os, a, KVI_OS_SHARED, 0, 1), -EBADF);
}

/* ---- memory ---- */

static void maps_show_writes_and_growth(void **state)
{
    world *w = *state;
    const uint8_t *map;
    const size_t len = (size_t)1 << 36;
    int fd = open_in(w, "a", RW);
    assert_int_equal(w->os->map(w->os, fd, len, &map), 0);
    write_text(w, fd, "first", 0);
    assert_memory_equal(map, "first", 5);
    write_text(w, fd, "far", 1 << 20);
    assert_memory_equal(map + (1 << 20), "far", 3);
    write_text(w, fd, "FIR", 0);
    assert_memory_equal(map, "FIRst", 5);
    w->os->advise(w->os, map + 100, 5000, KVI_OS_WILLNEED);
    w->os->advise(w->os, map, len, KVI_OS_RANDOM);
    w->os->advise(w->os, map, len, KVI_OS_SEQUENTIAL);
    assert_memory_equal(map, "FIRst", 5);
    close_in(w, fd);
    assert_memory_equal(map, "FIRst", 5);
    w->os->unmap(w->os, map, len);
    fd = open_in(w, "a", KVI_OS_READ);
    assert_int_equal(w->os->map(w->os, fd, 4096, &map), 0);
    assert_memory_equal(map, "FIRst", 5);
    w->os->unmap(w->os, map, 4096);
    assert_int_equal(w->os->map(w->os, fd, 0, &map), -EINVAL);
    close_in(w, fd);
    assert_int_equal(w->os->map(w->os, fd, 4096, &map), -EBADF);
}

static void shared_maps_are_written_and_seen_by_all(void **state)
{
    world *w = *state;
    const size_t len = (size_t)1 << 36;
    void *ptr, *other;
    const uint8_t *read_only;
    int fd = open_in(w, "a", RW), again = open_in(w, "a", RW);
    assert_int_equal(w->os->map_shared(w->os, fd, len, &ptr), 0);
    assert_int_equal(w->os->truncate(w->os, fd, 8192), 0);
    assert_int_equal(w->os->map_shared(w->os, again, 8192, &other), 0);
    assert_int_equal(w->os->map(w->os, again, 8192, &read_only), 0);
    uint8_t *map = ptr;
    memcpy(map + 5000, "through", 7);
    assert_memory_equal((uint8_t *)other + 5000, "through", 7);
    assert_memory_equal(read_only + 5000, "through", 7);
    char buf[8];
    assert_int_equal(w->os->pread(w->os, again, buf, 7, 5000), 7);
    assert_memory_equal(buf, "through", 7);
    write_text(w, again, "THR", 5000);
    assert_memory_equal(map + 5000, "THRough", 7);
    close_in(w, fd);
    close_in(w, again);
    map[8191] = 'x';
    assert_int_equal(read_only[8191], 'x');
    w->os->unmap(w->os, map, len);
    w->os->unmap(w->os, other, 8192);
    w->os->unmap(w->os, read_only, 8192);
}

static void shared_maps_want_a_writable_handle(void **state)
{
    world *w = *state;
    void *map;
    int fd = open_in(w, "a", RW), reader = open_in(w, "a", KVI_OS_READ);
    assert_int_equal(w->os->map_shared(w->os, reader, 4096, &map), -EACCES);
    assert_int_equal(w->os->map_shared(w->os, fd, 0, &map), -EINVAL);
    close_in(w, fd);
    close_in(w, reader);
    assert_int_equal(w->os->map_shared(w->os, fd, 4096, &map), -EBADF);
}

static void memory_can_be_had(void **state)
{
    world *w = *state;
    const kvi_os *os = w->os;
    char *p = os->alloc(os, 10);
    memcpy(p, "0123456789", 10);
    p = os->realloc(os, p, 100000);
    assert_memory_equal(p, "0123456789", 10);
    os->free(os, p);
    os->free(os, os->realloc(os, NULL, 5));
    os->free(os, NULL);

    const size_t size = (size_t)1 << 32;
    uint8_t *space = os->reserve(os, size);
    assert_non_null(space);
    assert_int_equal(space[0] | space[size / 2] | space[size - 1], 0);
    space[size - 1] = 1;
    os->advise(os, space, size, KVI_OS_HUGE);
    os->advise(os, space, size, KVI_OS_WIPE_ON_FORK);
    assert_int_equal(space[size - 1], 1);
    os->release(os, space, size);
    assert_null(os->reserve(os, SIZE_MAX / 2));
}

/* ---- time and chance ---- */

static void time_passes(void **state)
{
    world *w = *state;
    const kvi_os *os = w->os;
    uint64_t mono = os->mono_ns(os), clock = os->clock_ms(os);
    assert_true(mono > 0);
    assert_true(clock > 1500000000000); /* 2017 */
    os->sleep_us(os, 3000);
    assert_true(os->mono_ns(os) >= mono + 3000000);
}

static void a_word_is_slept_on(void **state)
{
    world *w = *state;
    const kvi_os *os = w->os;
    _Atomic uint32_t word = 3;
    uint64_t before = os->mono_ns(os);
    os->word_wait(os, &word, 2, UINT64_C(3600000000000)); /* it is another: not for an hour */
    os->word_wake(os, &word);
    os->word_wait(os, &word, 3, 2000000);
    assert_true(os->mono_ns(os) >= before + 2000000);
    assert_int_equal(word, 3);
}

static void random_bytes_differ(void **state)
{
    world *w = *state;
    uint8_t a[300] = {0}, b[300] = {0};
    assert_int_equal(w->os->random(w->os, a, sizeof a), 0);
    assert_int_equal(w->os->random(w->os, b, sizeof b), 0);
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a + 290, b + 290, 10);
}

static void boot_id_stays_while_the_machine_runs(void **state)
{
    world *w = *state;
    uint8_t a[16], b[16], zeros[16] = {0};
    assert_int_equal(w->os->boot_id(w->os, a), 0);
    assert_int_equal(w->os->boot_id(w->os, b), 0);
    assert_memory_equal(a, b, 16);
    assert_memory_not_equal(a, zeros, 16);
    assert_memory_not_equal(a + 8, zeros, 8);
}

static void processes_have_numbers(void **state)
{
    world *w = *state;
    assert_true(w->os->process_id(w->os) > 0);
    assert_int_equal(w->os->process_id(w->os), w->os->process_id(w->os));
}

#define EVERYWHERE(test)                                                                           \
    {"posix: " #test, test, setup_posix, teardown, NULL},                                          \
        {"sim: " #test, test, setup_sim, teardown, NULL},                                          \
    {                                                                                              \
        "fault: " #test, test, setup_fault, teardown, NULL                                         \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        EVERYWHERE(open_obeys_its_flags),
        EVERYWHERE(reads_end_where_the_file_ends),
        EVERYWHERE(vectors_are_gathered),
        EVERYWHERE(very_long_vectors_are_written_in_part),
        EVERYWHERE(streams_write_one_after_the_other),
        EVERYWHERE(truncation_cuts_and_extends_with_zeros),
        EVERYWHERE(stat_describes),
        EVERYWHERE(permissions_are_those_of_another_file),
        EVERYWHERE(names_can_be_linked_and_unlinked),
        EVERYWHERE(renaming_replaces),
        EVERYWHERE(resolve_wants_the_file_and_room),
        EVERYWHERE(local_files_are_shareable),
        EVERYWHERE(exclusive_locks_exclude),
        EVERYWHERE(shared_locks_share),
        EVERYWHERE(locks_are_ranges),
        EVERYWHERE(locks_of_other_files_and_handles_are_left_alone),
        EVERYWHERE(probes_tell_the_held_part_of_the_range),
        EVERYWHERE(waiting_locks_are_locks),
        EVERYWHERE(maps_show_writes_and_growth),
        EVERYWHERE(shared_maps_are_written_and_seen_by_all),
        EVERYWHERE(shared_maps_want_a_writable_handle),
        EVERYWHERE(memory_can_be_had),
        EVERYWHERE(time_passes),
        EVERYWHERE(a_word_is_slept_on),
        EVERYWHERE(random_bytes_differ),
        EVERYWHERE(boot_id_stays_while_the_machine_runs),
        EVERYWHERE(processes_have_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
