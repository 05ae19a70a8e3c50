/* Tests of the failing table, test/support/fault_os.h. */
#include "fault_os.h"
#include "sim_os.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define RW (KVI_OS_WRITE | KVI_OS_CREATE)

typedef struct world {
    sim_disk *disk;
    fault_os fault;
} world;

static int setup(void **state)
{
    world *w = calloc(1, sizeof *w);
    w->disk = sim_new(1);
    fault_init(&w->fault, sim_os(w->disk));
    w->fault.sync_failed = sim_lose_sync;
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    sim_free(w->disk);
    free(w);
    return 0;
}

static int64_t put(const kvi_os *os, int fd, const char *text, uint64_t off)
{
    struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
    return os->pwritev(os, fd, &iov, 1, off);
}

static int save_bytes(const kvi_os *os, int fd)
{
    char back[6];
    if (put(os, fd, "abcdef", 0) != 6 || os->sync(os, fd) < 0)
        return -1;
    return os->pread(os, fd, back, 6, 0) == 6 ? 0 : -1;
}

/* A little program that uses every kind of resource and gives everything back. */
static int save(const kvi_os *os)
{
    const uint8_t *map;
    int rc = -1;
    char *buf = os->alloc(os, 10);
    void *space = buf ? os->reserve(os, 4096) : NULL;
    int fd = space ? os->open(os, "a", RW, 0644) : -1;
    if (fd >= 0 && os->map(os, fd, 4096, &map) >= 0) {
        rc = save_bytes(os, fd);
        os->unmap(os, map, 4096);
    }
    if (fd >= 0)
        rc = os->close(os, fd) < 0 ? -1 : rc;
    if (space)
        os->release(os, space, 4096);
    os->free(os, buf);
    return rc;
}

/* Every call of save, failed one by one; returns how many there were. */
static uint64_t fail_each(world *w, fault_case plan)
{
    for (plan.at = 1; plan.at < 100; plan.at++) {
        fault_plan(&w->fault, plan);
        int rc = save(&w->fault.os);
        assert_true(fault_balanced(&w->fault));
        if (!fault_hit(&w->fault)) {
            assert_int_equal(rc, 0);
            return plan.at - 1;
        }
        assert_int_equal(rc, -1);
    }
    fail_msg("it never ends");
    return 0;
}

static void without_a_plan_all_calls_pass_and_are_counted(void **state)
{
    world *w = *state;
    assert_int_equal(save(&w->fault.os), 0);
    assert_false(fault_hit(&w->fault));
    assert_int_equal(w->fault.counted, 8);
    assert_int_equal(w->fault.calls[FAULT_ALLOC], 1);
    assert_int_equal(w->fault.calls[FAULT_RESERVE], 1);
    assert_int_equal(w->fault.calls[FAULT_OPEN], 1);
    assert_int_equal(w->fault.calls[FAULT_MAP], 1);
    assert_int_equal(w->fault.calls[FAULT_PWRITEV], 1);
    assert_int_equal(w->fault.calls[FAULT_SYNC], 1);
    assert_int_equal(w->fault.calls[FAULT_PREAD], 1);
    assert_int_equal(w->fault.calls[FAULT_CLOSE], 1);
    assert_int_equal(w->fault.calls[FAULT_LOCK], 0);
    assert_memory_equal(sim_get_file(w->disk, "a").ptr, "abcdef", 6);
}

static void each_call_fails_in_turn(void **state)
{
    world *w = *state;
    assert_int_equal(fail_each(w, (fault_case){.mode = FAULT_ERROR}), 8);
    assert_int_equal(fail_each(w, (fault_case){.mode = FAULT_LATE}), 8);
    assert_int_equal(fail_each(w, (fault_case){.mode = FAULT_ERROR, .sticky = true}), 8);
    assert_int_equal(fail_each(w, (fault_case){.mode = FAULT_SHORT}), 2);
    assert_int_equal(fail_each(w, (fault_case){.mask = FAULT_MEMORY}), 2);
    assert_int_equal(fail_each(w, (fault_case){.mask = FAULT_SYSTEM}), 6);
    assert_int_equal(fail_each(w, (fault_case){.mask = FAULT_CHANGE}), 2);
    assert_int_equal(fail_each(w, (fault_case){.mask = FAULT_BIT(FAULT_SYNC)}), 1);
    assert_int_equal(fail_each(w, (fault_case){.mask = FAULT_BIT(FAULT_LOCK)}), 0);
}

static void the_chosen_call_fails_with_the_chosen_error(void **state)
{
    world *w = *state;
    const kvi_os *os = &w->fault.os;
    int fd = os->open(os, "a", RW, 0644);
    fault_plan(&w->fault, (fault_case){.at = 2, .mask = FAULT_BIT(FAULT_PWRITEV), .error = ENOSPC});
    assert_int_equal(put(os, fd, "x", 0), 1);
    assert_int_equal(os->sync(os, fd), 0);
    assert_int_equal(put(os, fd, "y", 1), -ENOSPC);
    assert_int_equal(put(os, fd, "z", 2), 1);
    assert_int_equal(w->fault.first_failed, FAULT_PWRITEV);
    assert_int_equal(w->fault.failed[FAULT_PWRITEV], 1);
    assert_memory_equal(sim_get_file(w->disk, "a").ptr, "x\0z", 3);

    fault_plan(&w->fault, (fault_case){.at = 1, .sticky = true});
    assert_int_equal(os->truncate(os, fd, 0), -EIO);
    assert_int_equal(put(os, fd, "z", 2), -EIO);
    assert_null(os->alloc(os, 1));
    assert_int_equal(w->fault.first_failed, FAULT_TRUNCATE);
    assert_int_equal(os->close(os, fd), -EIO);
    assert_int_equal(sim_open_handles(w->disk), 0); /* closed all the same */
    assert_true(fault_balanced(&w->fault));
}

static void late_failures_do_their_work(void **state)
{
    world *w = *state;
    const kvi_os *os = &w->fault.os;
    fault_case late = {.at = 1, .mode = FAULT_LATE, .sticky = true};
    int fd = os->open(os, "a", RW, 0644);
    fault_plan(&w->fault, late);
    assert_int_equal(put(os, fd, "abcdef", 0), -EIO);
    assert_memory_equal(sim_get_file(w->disk, "a").ptr, "abc", 3);
    assert_int_equal(sim_get_file(w->disk, "a").len, 3);
    assert_int_equal(os->sync(os, fd), -EIO);
    assert_int_equal(w->disk->events[w->disk->n_events - 1].kind, SIM_SYNC);
    assert_int_equal(os->link(os, "a", "b"), -EIO);
    assert_true(sim_find(w->disk, "b") >= 0);
    assert_int_equal(os->rename(os, "b", "e"), -EIO);
    assert_int_equal(sim_find(w->disk, "b"), -1);
    assert_true(sim_find(w->disk, "e") >= 0);
    assert_int_equal(os->truncate(os, fd, 0), -EIO);
    assert_int_equal(sim_get_file(w->disk, "a").len, 0);
    assert_int_equal(os->open(os, "c", RW, 0644), -EIO);
    assert_true(sim_find(w->disk, "c") >= 0);
    assert_int_equal(sim_open_handles(w->disk), 1);
    assert_int_equal(os->link(os, "none", "d"), -ENOENT); /* its own failure */
}

static void short_counts_are_halves(void **state)
{
    world *w = *state;
    const kvi_os *os = &w->fault.os;
    char buf[6], ab[] = "ab", cdef[] = "cdef";
    struct iovec iov[] = {{ab, 2}, {cdef, 4}};
    int fd = os->open(os, "a", RW, 0644);
    fault_plan(&w->fault, (fault_case){.at = 1, .mode = FAULT_SHORT, .sticky = true});
    assert_int_equal(os->pwritev(os, fd, iov, 2, 0), 3);
    assert_memory_equal(sim_get_file(w->disk, "a").ptr, "abc", 3);
    assert_int_equal(put(os, fd, "d", 3), 1);
    assert_int_equal(os->pread(os, fd, buf, 4, 0), 2);
    assert_int_equal(os->pread(os, fd, buf, 1, 0), 1);
    assert_int_equal(os->write(os, fd, "xyzw", 4), 2);
    assert_int_equal(os->sync(os, fd), 0);
    assert_memory_equal(sim_get_file(w->disk, "a").ptr, "xycd", 4);
}

static void a_failed_flush_is_lost(void **state)
{
    world *w = *state;
    const kvi_os *os = &w->fault.os;
    uint32_t events[8];
    int fd = os->open(os, "a", RW, 0644);
    fault_plan(&w->fault, (fault_case){.at = 1, .mask = FAULT_BIT(FAULT_SYNC)});
    put(os, fd, "abc", 0);
    assert_int_equal(os->sync(os, fd), -EIO);
    assert_int_equal(w->disk->events[w->disk->n_events - 1].kind, SIM_SYNC_LOST);
    assert_int_equal(os->sync(os, fd), 0);
    assert_int_equal(w->disk->events[w->disk->n_events - 1].kind, SIM_SYNC);
    assert_int_equal(sim_pending(w->disk, 1, w->disk->n_events, events), 0);
}

static void locks_and_shared_maps_fail_and_are_counted(void **state)
{
    world *w = *state;
    const kvi_os *os = &w->fault.os;
    static const struct {
        fault_call call;
        int error;
    } cases[] = {{FAULT_LOCK_WAIT, ENOLCK}, {FAULT_LOCK_PROBE, EINTR}, {FAULT_MAP_SHARED, ENOMEM}};
    void *map;
    int fd = os->open(os, "a", RW, 0644), other = os->open(os, "a", RW, 0644);
    for (size_t i = 0; i < KVI_COUNT(cases); i++) {
        uint64_t at = 77, len = 78;
        bool hit[FAULT_CALLS] = {[0] = false};
        hit[cases[i].call] = true;
        fault_plan(&w->fault, (fault_case){.at = i + 1, .error = cases[i].error});
        int error = -cases[i].error;
        int wait = os->lock_wait(os, fd, KVI_OS_EXCLUSIVE, 5, 1);
        assert_int_equal(wait, hit[FAULT_LOCK_WAIT] ? error : 0);
        int held = os->lock_probe(os, other, 0, 10, &at, &len);
        assert_int_equal(held, hit[FAULT_LOCK_PROBE] ? error : !hit[FAULT_LOCK_WAIT]);
        assert_int_equal(at, held == 1 ? 5 : 77);
        assert_int_equal(len, held == 1 ? 1 : 78);
        int mapped = os->map_shared(os, fd, 4096, &map);
        assert_int_equal(mapped, hit[FAULT_MAP_SHARED] ? error : 0);
        assert_int_equal(w->fault.maps, mapped == 0);
        if (mapped == 0)
            os->unmap(os, map, 4096);
        assert_int_equal(w->fault.counted, 3);
        assert_int_equal(w->fault.calls[cases[i].call], 1);
        assert_int_equal(w->fault.failed[cases[i].call], 1);
        assert_int_equal(w->fault.first_failed, cases[i].call);
        assert_int_equal(os->lock(os, fd, KVI_OS_UNLOCK, 5, 1), 0);
    }
    os->close(os, fd);
    os->close(os, other);
    assert_true(fault_balanced(&w->fault));
}

static void a_late_wait_has_the_lock(void **state)
{
    world *w = *state;
    const kvi_os *os = &w->fault.os;
    int fd = os->open(os, "a", RW, 0644), other = os->open(os, "a", RW, 0644);
    fault_plan(&w->fault, (fault_case){.at = 1, .mode = FAULT_LATE, .error = ENOLCK});
    assert_int_equal(os->lock_wait(os, fd, KVI_OS_EXCLUSIVE, 0, 1), -ENOLCK);
    assert_int_equal(os->lock(os, other, KVI_OS_EXCLUSIVE, 0, 1), -EAGAIN);
    assert_int_equal(os->close(os, fd), 0);
    assert_int_equal(os->lock_wait(os, other, KVI_OS_EXCLUSIVE, 0, 1), 0);
}

static void permissions_are_refused(void **state)
{
    world *w = *state;
    const kvi_os *os = &w->fault.os;
    kvi_os_stat like = {.mode = 0600}, st;
    int fd = os->open(os, "a", RW, 0644);
    fault_plan(&w->fault, (fault_case){.at = 1, .error = EPERM});
    assert_int_equal(os->permit(os, fd, &like), -EPERM);
    assert_int_equal(w->fault.first_failed, FAULT_PERMIT);
    os->stat(os, fd, &st);
    assert_int_equal(st.mode, 0644);
    assert_int_equal(os->permit(os, fd, &like), 0);
    os->stat(os, fd, &st);
    assert_int_equal(st.mode, 0600);
}

static void what_cannot_fail_is_passed_on(void **state)
{
    world *w = *state;
    const kvi_os *os = &w->fault.os;
    uint64_t before = w->disk->mono_ns;
    fault_plan(&w->fault, (fault_case){.at = 1, .sticky = true});
    sim_process(w->disk, 9);
    assert_int_equal(os->process_id(os), 9);
    os->sleep_us(os, 5);
    assert_int_equal(w->disk->mono_ns, before + 5000);
    _Atomic uint32_t word = 0;
    os->word_wait(os, &word, 0, 7000);
    assert_int_equal(w->disk->mono_ns, before + 12000);
    os->word_wake(os, &word);
    assert_int_equal(w->disk->wakes, 1);
    assert_int_equal(w->fault.counted, 0);
}

static void what_is_not_given_back_is_missed(void **state)
{
    world *w = *state;
    const kvi_os *os = &w->fault.os;
    const uint8_t *map;
    assert_true(fault_balanced(&w->fault));
    void *p = os->realloc(os, NULL, 10);
    assert_false(fault_balanced(&w->fault));
    p = os->realloc(os, p, 20);
    os->free(os, p);
    os->free(os, NULL);
    assert_true(fault_balanced(&w->fault));

    int fd = os->open(os, "a", RW, 0644);
    assert_false(fault_balanced(&w->fault));
    assert_int_equal(os->map(os, fd, 4096, &map), 0);
    os->close(os, fd);
    assert_int_equal(os->close(os, fd), -EBADF);
    assert_false(fault_balanced(&w->fault));
    os->unmap(os, map, 4096);
    assert_true(fault_balanced(&w->fault));

    void *space = os->reserve(os, 4096);
    assert_false(fault_balanced(&w->fault));
    os->release(os, space, 4096);
    assert_true(fault_balanced(&w->fault));
}

static void descriptions_name_the_call(void **state)
{
    world *w = *state;
    char text[200];
    fault_plan(&w->fault, (fault_case){.at = 5, .error = ENOSPC});
    save(&w->fault.os);
    fault_describe(&w->fault, text, sizeof text);
    assert_non_null(strstr(text, "call 5 "));
    assert_non_null(strstr(text, "pwritev"));
    assert_string_equal(fault_name(FAULT_OPEN), "open");
    assert_string_equal(fault_name(FAULT_LOCK_WAIT), "lock_wait");
    assert_string_equal(fault_name(FAULT_MAP_SHARED), "map_shared");
    assert_string_equal(fault_name(FAULT_BOOT_ID), "boot_id");
    assert_string_equal(fault_name(FAULT_CALLS), "nothing");
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(without_a_plan_all_calls_pass_and_are_counted),
        IN_WORLD(each_call_fails_in_turn),
        IN_WORLD(the_chosen_call_fails_with_the_chosen_error),
        IN_WORLD(late_failures_do_their_work),
        IN_WORLD(short_counts_are_halves),
        IN_WORLD(a_failed_flush_is_lost),
        IN_WORLD(locks_and_shared_maps_fail_and_are_counted),
        IN_WORLD(a_late_wait_has_the_lock),
        IN_WORLD(permissions_are_refused),
        IN_WORLD(what_cannot_fail_is_passed_on),
        IN_WORLD(what_is_not_given_back_is_missed),
        IN_WORLD(descriptions_name_the_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
