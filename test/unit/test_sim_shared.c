/* Tests of what several processes share on the simulated machine, test/support/sim_os.h: handles of
 * their own, locks, and files that are written through maps. */
#include "sim_os.h"
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static int setup(void **state)
{
    *state = sim_new(7);
    return 0;
}

static int teardown(void **state)
{
    sim_free(*state);
    return 0;
}

static int open_in(sim_disk *disk, const char *name)
{
    int fd = disk->os.open(&disk->os, name, KVI_OS_WRITE | KVI_OS_CREATE, 0644);
    assert_true(fd >= 0);
    return fd;
}

static void truncate_in(sim_disk *disk, int fd, uint64_t size)
{
    assert_int_equal(disk->os.truncate(&disk->os, fd, size), 0);
}

/* Files must be zero behind their end, or growth would show old bytes. */
static void expect_clean_tails(const sim_disk *disk)
{
    for (int i = 0; i < disk->n_files; i++) {
        const sim_file *file = &disk->files[i];
        for (uint64_t off = file->size; off < file->size + 70000 && off < file->open_end; off++)
            assert_int_equal(file->bytes[off], 0);
    }
}

/* Asks the kernel, which answers an error where we would get a signal. */
static bool readable(const uint8_t *byte)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    ssize_t put = write(ends[1], byte, 1);
    close(ends[0]);
    close(ends[1]);
    return put == 1;
}

/* ---- processes ---- */

static void a_process_dies_alone(void **state)
{
    sim_disk *disk = *state;
    const kvi_os *os = &disk->os;
    assert_int_equal(os->process_id(os), 1);
    int first = open_in(disk, "a"), closed = open_in(disk, "a");
    os->close(os, closed);
    assert_int_equal(os->lock(os, first, KVI_OS_EXCLUSIVE, 0, 1), 0);
    sim_process(disk, 2);
    assert_int_equal(os->process_id(os), 2);
    int second = open_in(disk, "a"), other = open_in(disk, "a");
    assert_int_equal(os->lock(os, second, KVI_OS_EXCLUSIVE, 1, 1), 0);
    assert_int_equal(os->lock(os, other, KVI_OS_EXCLUSIVE, 2, 1), 0);
    sim_process(disk, 1);
    sim_kill_process(disk, 2);
    assert_int_equal(sim_open_handles(disk), 1);
    assert_int_equal(disk->n_locks, 1);
    assert_int_equal(os->close(os, second), -EBADF);
    assert_int_equal(os->lock(os, first, KVI_OS_EXCLUSIVE, 1, 2), 0);
    sim_process(disk, 3);
    second = open_in(disk, "a");
    assert_int_equal(os->lock(os, second, KVI_OS_SHARED, 0, 1), -EAGAIN);
    sim_kill_process(disk, 1);
    assert_int_equal(sim_open_handles(disk), 1);
    assert_int_equal(os->lock(os, second, KVI_OS_SHARED, 0, 1), 0);
    sim_reset(disk);
    assert_int_equal(os->process_id(os), 1);
}

/* Sends the message to nowhere and waits. */
static void wait_for_ever(sim_disk *disk, int fd)
{
    close(STDERR_FILENO);
    disk->os.lock_wait(&disk->os, fd, KVI_OS_SHARED, 0, 1);
    _exit(0);
}

static void waiting_for_a_lock_ends_the_program(void **state)
{
    sim_disk *disk = *state;
    int holder = open_in(disk, "a"), waiter = open_in(disk, "a"), status = 0;
    assert_int_equal(disk->os.lock(&disk->os, holder, KVI_OS_EXCLUSIVE, 0, 1), 0);
    pid_t child = fork();
    if (child == 0)
        wait_for_ever(disk, waiter);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* ---- files written through maps ---- */

static uint8_t *map_in(sim_disk *disk, int fd)
{
    void *map;
    assert_int_equal(disk->os.map_shared(&disk->os, fd, 1 << 20, &map), 0);
    return map;
}

static void writes_through_maps_are_no_events(void **state)
{
    sim_disk *disk = *state;
    int fd = open_in(disk, "a");
    uint8_t *map = map_in(disk, fd);
    truncate_in(disk, fd, 8192);
    size_t start = disk->n_events;
    memcpy(map + 10, "abc", 3);
    memcpy(map + 8189, "xyz", 3);
    assert_int_equal(disk->n_events, start);
    truncate_in(disk, fd, 4096);
    truncate_in(disk, fd, 0);
    sim_rewind(disk, start);
    assert_int_equal(sim_get_file(disk, "a").len, 8192);
    assert_memory_equal(map + 10, "abc", 3);
    assert_memory_equal(map + 8189, "xyz", 3);
}

/* Whether what was cut off, or never was, comes back with the next growth. */
static void what_maps_wrote_goes_with_the_size(void **state)
{
    sim_disk *disk = *state;
    static const uint64_t sizes[] = {0, 100, 4096, 5000};
    for (size_t i = 0; i < 2 * KVI_COUNT(sizes); i++) {
        uint64_t size = sizes[i / 2];
        sim_reset(disk);
        sim_set_guard(disk, i & 1);
        int fd = open_in(disk, "a");
        truncate_in(disk, fd, size);
        size_t position = disk->n_events;
        truncate_in(disk, fd, 8000);
        uint8_t *map = map_in(disk, fd);
        memset(map + size, 'x', 8192 - size); /* to the end of the page */
        truncate_in(disk, fd, size);
        expect_clean_tails(disk);
        truncate_in(disk, fd, 8000);
        memset(map + size, 'x', 8192 - size);
        sim_rewind(disk, position);
        expect_clean_tails(disk);
        memset(map, 'x', size);
        sim_rewind(disk, 0);
        sim_set_guard(disk, false);
        open_in(disk, "b"); /* takes the place of a */
        expect_clean_tails(disk);
        assert_false(disk->files[0].shared);
    }
}

static void the_guard_holds_for_written_maps(void **state)
{
    sim_disk *disk = *state;
    sim_set_guard(disk, true);
    int fd = open_in(disk, "a");
    const uint8_t *map = map_in(disk, fd);
    assert_false(readable(map));
    truncate_in(disk, fd, 4096);
    assert_true(readable(map));
    assert_false(readable(map + 4096));
    truncate_in(disk, fd, 8192);
    assert_true(readable(map + 4096));
    truncate_in(disk, fd, 4096);
    assert_false(readable(map + 4096));
}

#define WITH_DISK(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_DISK(a_process_dies_alone),
        WITH_DISK(waiting_for_a_lock_ends_the_program),
        WITH_DISK(writes_through_maps_are_no_events),
        WITH_DISK(what_maps_wrote_goes_with_the_size),
        WITH_DISK(the_guard_holds_for_written_maps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
