/* Tests of the simulated machine, test/support/sim_os.h: its history and what a power cut leaves.
 * That its calls mean what the real ones mean is test_os.c's matter, what several processes share is
 * test_sim_shared.c's. */
#include "sim_os.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <unistd.h>
#include <cmocka.h>

#define RW (KVI_OS_WRITE | KVI_OS_CREATE)

static const sim_tear sectors = {512, 512, 0};

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
    int fd = disk->os.open(&disk->os, name, RW, 0644);
    assert_true(fd >= 0);
    return fd;
}

static void write_in(sim_disk *disk, int fd, uint64_t off, const char *text)
{
    struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
    assert_int_equal(disk->os.pwritev(&disk->os, fd, &iov, 1, off), iov.iov_len);
}

static void fill_in(sim_disk *disk, int fd, uint64_t off, size_t len, int byte)
{
    static char buf[1 << 16];
    memset(buf, byte, len);
    struct iovec iov = {buf, len};
    assert_int_equal(disk->os.pwritev(&disk->os, fd, &iov, 1, off), len);
}

static void sync_in(sim_disk *disk, int fd)
{
    assert_int_equal(disk->os.sync(&disk->os, fd), 0);
}

static void truncate_in(sim_disk *disk, int fd, uint64_t size)
{
    assert_int_equal(disk->os.truncate(&disk->os, fd, size), 0);
}

static void expect_file(const sim_disk *disk, const char *name, const char *text)
{
    kvi_slice bytes = sim_get_file(disk, name);
    assert_non_null(bytes.ptr);
    assert_int_equal(bytes.len, strlen(text));
    assert_memory_equal(bytes.ptr, text, bytes.len);
}

/* Same names for the same bytes in both. */
static void expect_same(const sim_disk *a, const sim_disk *b)
{
    assert_int_equal(a->n_names, b->n_names);
    for (int i = 0; i < a->n_names; i++) {
        kvi_slice x = sim_get_file(a, a->names[i].text), y = sim_get_file(b, a->names[i].text);
        assert_true(y.ptr && x.len == y.len);
        assert_memory_equal(x.ptr, y.ptr, x.len);
        assert_int_equal(sim_find(a, a->names[i].text), sim_find(b, a->names[i].text));
    }
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

/* The units of all pending events between two moments. */
static size_t pending_units(const sim_disk *disk, size_t from, size_t upto, const sim_tear *tear,
                            sim_unit *units, size_t max)
{
    static uint32_t events[4096];
    size_t n = 0, n_events = sim_pending(disk, from, upto, events);
    for (size_t i = 0; i < n_events; i++)
        n += sim_event_units(disk, events[i], tear, units + n, max - n);
    assert_true(n <= max);
    return n;
}

/* ---- history ---- */

static void events_tell_what_happened(void **state)
{
    sim_disk *disk = *state;
    int fd = open_in(disk, "a");
    write_in(disk, fd, 0, "abcdef");
    sim_mark(disk, 5, 77);
    write_in(disk, fd, 4, "XYZ");
    sync_in(disk, fd);
    truncate_in(disk, fd, 2);
    disk->os.link(&disk->os, "a", "b");
    disk->os.unlink(&disk->os, "a");
    disk->os.sync_dir(&disk->os, "a");
    static const sim_kind kinds[] = {SIM_CREATE,   SIM_WRITE, SIM_MARK,   SIM_WRITE,   SIM_SYNC,
                                     SIM_TRUNCATE, SIM_LINK,  SIM_UNLINK, SIM_SYNC_DIR};
    assert_int_equal(disk->n_events, KVI_COUNT(kinds));
    for (size_t i = 0; i < KVI_COUNT(kinds); i++)
        assert_int_equal(disk->events[i].kind, kinds[i]);
    const sim_event *write = &disk->events[3], *cut = &disk->events[5];
    assert_string_equal(disk->events[0].name, "a");
    assert_int_equal(disk->events[2].off, 5);
    assert_int_equal(disk->events[2].len, 77);
    assert_int_equal(write->off, 4);
    assert_int_equal(write->len, 3);
    assert_int_equal(write->old_size, 6);
    assert_int_equal(write->new_size, 7);
    assert_memory_equal(write->data, "XYZ", 3);
    assert_memory_equal(write->before, "ef", 2);
    assert_int_equal(cut->old_size, 7);
    assert_int_equal(cut->new_size, 2);
    assert_memory_equal(cut->before, "cdXYZ", 5);
    assert_string_equal(disk->events[6].name, "b");
    expect_file(disk, "b", "ab");
    disk->os.close(&disk->os, fd);
}

static void random_step(sim_disk *disk, rng *random)
{
    static const char *const names[] = {"a", "b", "c"};
    const char *name = names[rng_below(random, 3)];
    const kvi_os *os = &disk->os;
    int fd = open_in(disk, name);
    uint64_t off = rng_below(random, 60000);
    switch (rng_below(random, 11)) {
    case 0:
        os->unlink(os, name);
        break;
    case 10:
        os->rename(os, name, names[rng_below(random, 3)]);
        break;
    case 1:
        os->link(os, name, names[rng_below(random, 3)]);
        break;
    case 2:
    case 3:
        truncate_in(disk, fd, off);
        break;
    default:
        fill_in(disk, fd, off, rng_below(random, 9000), (int)rng_below(random, 256));
        break;
    }
    os->close(os, fd);
}

static void rewinding_restores(sim_disk *disk, rng *random)
{
    enum { STATES = 8, STEPS = 12 };
    sim_disk *copies[STATES];
    size_t positions[STATES];
    for (int i = 0; i < STATES; i++) {
        copies[i] = sim_new(1);
        sim_clone(copies[i], disk);
        positions[i] = disk->n_events;
        for (int step = 0; step < STEPS; step++)
            random_step(disk, random);
    }
    for (int i = STATES; i-- > 0;) {
        sim_rewind(disk, positions[i]);
        expect_same(disk, copies[i]);
        expect_clean_tails(disk);
        random_step(disk, random);
        sim_free(copies[i]);
    }
}

static void rewind_goes_back_to_any_moment(void **state)
{
    sim_disk *disk = *state;
    rng random;
    rng_seed(&random, rng_choose_seed(1));
    for (int round = 0; round < 12; round++) {
        disk->recording = round & 1 ? SIM_RECORD_UNDO : SIM_RECORD_ALL;
        sim_set_guard(disk, round & 2);
        rewinding_restores(disk, &random);
        sim_rewind(disk, 0);
        assert_int_equal(disk->n_names, 0);
        assert_int_equal(disk->arena_used, 0);
    }
}

static void forget_begins_a_new_history(void **state)
{
    sim_disk *disk = *state;
    sim_put_file(disk, "a", "one", 3);
    sim_forget(disk);
    sim_put_file(disk, "a", "longer", 6);
    sim_put_file(disk, "b", "", 0);
    expect_file(disk, "a", "longer");
    expect_file(disk, "b", "");
    sim_rewind(disk, 0);
    expect_file(disk, "a", "one");
    assert_null(sim_get_file(disk, "b").ptr);
    assert_int_equal(sim_find(disk, "b"), -1);
}

static void recording_nothing_keeps_no_history(void **state)
{
    sim_disk *disk = *state;
    disk->recording = SIM_RECORD_NOTHING;
    int fd = open_in(disk, "a");
    write_in(disk, fd, 0, "abc");
    sync_in(disk, fd);
    disk->os.close(&disk->os, fd);
    expect_file(disk, "a", "abc");
    assert_int_equal(disk->n_events, 0);
    assert_int_equal(disk->arena_used, 0);
}

static void reset_leaves_nothing_behind(void **state)
{
    sim_disk *disk = *state;
    uint8_t first[32], again[32];
    disk->os.random(&disk->os, first, sizeof first);
    int fd = open_in(disk, "a");
    fill_in(disk, fd, 0, 50000, 'x');
    fill_in(disk, fd, 40 << 20, 3000, 'y'); /* far enough to be given back, not cleared */
    disk->os.lock(&disk->os, fd, KVI_OS_EXCLUSIVE, 0, 1);
    disk->os.sleep_us(&disk->os, 1000001);
    sim_reboot(disk);
    sim_reset(disk);
    assert_int_equal(disk->n_names, 0);
    assert_int_equal(disk->n_events, 0);
    assert_int_equal(sim_open_handles(disk), 0);
    assert_int_equal(disk->boots, 1);
    disk->os.random(&disk->os, again, sizeof again);
    assert_memory_equal(first, again, sizeof first);
    uint64_t clock = disk->os.clock_ms(&disk->os);
    disk->os.sleep_us(&disk->os, 999);
    assert_int_equal(disk->os.clock_ms(&disk->os), clock);
    fd = open_in(disk, "b"); /* takes the place of a */
    assert_int_equal(disk->os.lock(&disk->os, fd, KVI_OS_EXCLUSIVE, 0, 1), 0);
    truncate_in(disk, fd, 41 << 20);
    kvi_slice bytes = sim_get_file(disk, "b");
    for (size_t i = 0; i < bytes.len; i++)
        assert_int_equal(bytes.ptr[i], 0);
}

/* ---- the machine ---- */

static void kill_and_reboot_close_everything(void **state)
{
    sim_disk *disk = *state;
    uint8_t before[16], after[16];
    disk->os.boot_id(&disk->os, before);
    int fd = open_in(disk, "a");
    write_in(disk, fd, 0, "abc");
    disk->os.lock(&disk->os, fd, KVI_OS_EXCLUSIVE, 0, 1);
    assert_int_equal(sim_open_handles(disk), 1);
    sim_kill(disk);
    assert_int_equal(sim_open_handles(disk), 0);
    assert_int_equal(disk->os.close(&disk->os, fd), -EBADF);
    expect_file(disk, "a", "abc");
    disk->os.boot_id(&disk->os, after);
    assert_memory_equal(before, after, 16);
    fd = open_in(disk, "a");
    assert_int_equal(disk->os.lock(&disk->os, fd, KVI_OS_EXCLUSIVE, 0, 1), 0);
    sim_reboot(disk);
    assert_int_equal(sim_open_handles(disk), 0);
    disk->os.boot_id(&disk->os, after);
    assert_memory_not_equal(before, after, 16);
}

static void time_is_what_the_test_says(void **state)
{
    sim_disk *disk = *state;
    const kvi_os *os = &disk->os;
    disk->clock_ms = 5000;
    disk->mono_ns = 100;
    disk->mono_step = 0;
    os->sleep_us(os, 7400);
    assert_int_equal(os->clock_ms(os), 5007);
    assert_int_equal(os->mono_ns(os), 7400100);
    assert_int_equal(os->mono_ns(os), 7400100);
    os->sleep_us(os, 600); /* short sleeps add up */
    assert_int_equal(os->clock_ms(os), 5008);
    disk->mono_step = 3;
    assert_int_equal(os->mono_ns(os), 8000103);
}

static void a_full_disk_takes_what_fits(void **state)
{
    sim_disk *disk = *state;
    int fd = open_in(disk, "a");
    char first[] = "abc", second[] = "defgh";
    struct iovec iov[] = {{first, 3}, {second, 5}};
    disk->capacity = 6;
    assert_int_equal(disk->os.pwritev(&disk->os, fd, iov, 2, 0), 3);
    assert_int_equal(disk->os.pwritev(&disk->os, fd, iov + 1, 1, 3), 3);
    assert_int_equal(disk->os.pwritev(&disk->os, fd, iov + 1, 1, 6), -ENOSPC);
    expect_file(disk, "a", "abcdef");
    disk->os.close(&disk->os, fd);
}

static void network_files_are_refused(void **state)
{
    sim_disk *disk = *state;
    int fd = open_in(disk, "a");
    disk->network = true;
    assert_int_equal(disk->os.shareable(&disk->os, fd), -EOPNOTSUPP);
}

static void a_pool_hands_out_clear_memory(void **state)
{
    sim_disk *disk = *state;
    const kvi_os *os = &disk->os;
    const size_t size = (size_t)1 << 30;
    disk->reserve_touch = 8192;
    uint8_t *a = os->reserve(os, size), *b = os->reserve(os, size);
    assert_ptr_not_equal(a, b);
    memset(a, 1, 8192);
    os->release(os, a, size);
    assert_ptr_not_equal(os->reserve(os, size / 2), a);
    uint8_t *again = os->reserve(os, size);
    assert_ptr_equal(again, a);
    for (size_t i = 0; i < 10000; i++)
        assert_int_equal(again[i], 0);
    assert_ptr_not_equal(os->reserve(os, size), again);
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

static void the_guard_stands_at_the_end_of_the_file(void **state)
{
    sim_disk *disk = *state;
    int fd = open_in(disk, "a");
    fill_in(disk, fd, 0, 5000, 'x');
    const uint8_t *map = sim_get_file(disk, "a").ptr;
    assert_true(readable(map + 8192));
    sim_set_guard(disk, true);
    assert_true(readable(map + 8191));
    assert_false(readable(map + 8192));
    fill_in(disk, fd, 8000, 1000, 'y');
    assert_true(readable(map + 8192));
    sim_rewind(disk, disk->n_events - 1);
    assert_false(readable(map + 8192));
    truncate_in(disk, fd, 4096);
    assert_false(readable(map + 4096));
    truncate_in(disk, fd, 4097);
    assert_true(readable(map + 4096));
    sim_set_guard(disk, false);
    assert_true(readable(map + 8192));
}

/* ---- what a power cut leaves ---- */

static void flushes_settle_what_came_before_them(void **state)
{
    sim_disk *disk = *state;
    uint32_t events[16];
    int a = open_in(disk, "a"), b = open_in(disk, "b"); /* 0, 1 */
    write_in(disk, a, 0, "1");                          /* 2 */
    write_in(disk, b, 0, "2");                          /* 3 */
    sync_in(disk, a);                                   /* 4 */
    write_in(disk, a, 0, "3");                          /* 5 */
    truncate_in(disk, b, 0);                            /* 6 */
    disk->os.sync_dir(&disk->os, "a");                  /* 7 */
    disk->os.unlink(&disk->os, "b");                    /* 8 */
    sim_lose_sync(&disk->os, b);                        /* 9 */
    write_in(disk, b, 0, "4");                          /* 10 */

    static const uint32_t early[] = {0, 1, 2, 3}, middle[] = {0, 1, 3, 5, 6}, late[] = {5, 8, 10};
    assert_int_equal(sim_pending(disk, 0, 4, events), 4);
    assert_memory_equal(events, early, sizeof early);
    assert_int_equal(sim_pending(disk, 0, 7, events), 5);
    assert_memory_equal(events, middle, sizeof middle);
    assert_int_equal(sim_pending(disk, 0, 11, events), 3);
    assert_memory_equal(events, late, sizeof late);
    assert_int_equal(sim_pending(disk, 8, 11, events), 2);
    assert_memory_equal(events, late + 1, 2 * sizeof late[0]);
    assert_int_equal(sim_pending(disk, 4, 4, events), 0);
    assert_int_equal(disk->events[9].kind, SIM_SYNC_LOST);
}

static void writes_are_cut_where_the_disk_may_tear_them(void **state)
{
    sim_disk *disk = *state;
    static const sim_tear tear = {512, 8, 1028};
    static const uint64_t cuts[] = {1020, 1024, 1028, 1536, 2000};
    sim_unit units[8];
    int fd = open_in(disk, "a");
    fill_in(disk, fd, 1020, 980, 'x');
    assert_int_equal(sim_event_units(disk, 1, &tear, units, 8), 5);
    assert_int_equal(units[0].kind, SIM_UNIT_SIZE);
    assert_int_equal(units[0].off, 2000);
    for (size_t i = 0; i < 4; i++) {
        const sim_unit *unit = &units[i + 1];
        assert_int_equal(unit->kind, SIM_UNIT_DATA);
        assert_int_equal(unit->event, 1);
        assert_int_equal(unit->off, cuts[i]);
        assert_int_equal(unit->len, cuts[i + 1] - cuts[i]);
        assert_ptr_equal(unit->data, disk->events[1].data + (cuts[i] - 1020));
    }
    fill_in(disk, fd, 0, 16, 'y');
    assert_int_equal(sim_event_units(disk, 2, &tear, units, 1), 2);
    assert_int_equal(units[0].len, 8);
    assert_int_equal(units[1].off, cuts[0]); /* beyond max: untouched */
}

static void random_steps_without_flush(sim_disk *disk, rng *random, int n)
{
    for (int i = 0; i < n; i++)
        random_step(disk, random);
}

static void all_units_together_are_the_whole(void **state)
{
    enum { UNITS = 20000 };
    static sim_unit units[UNITS];
    static const sim_tear tears[] = {{4096, 4096, 0}, {512, 512, 0}, {512, 8, 8192}};
    sim_disk *disk = *state, *crash = sim_new(2);
    rng random;
    rng_seed(&random, rng_choose_seed(3));
    for (int round = 0; round < 60; round++) {
        if (round % 10 == 0)
            sim_reset(disk);
        random_steps_without_flush(disk, &random, 5);
        sim_clone(crash, disk);
        sim_clone(crash, disk); /* again, over what is there */
        size_t from = disk->n_events;
        random_steps_without_flush(disk, &random, 15);
        size_t n = pending_units(disk, from, disk->n_events, &tears[round % 3], units, UNITS);
        sim_apply(crash, units, n);
        expect_same(disk, crash);
        expect_same(crash, disk);
        expect_clean_tails(crash);
    }
    sim_free(crash);
}

/* A choice of units leaves, at every byte, the old one or one that some chosen unit wrote. */
static void expect_explained(const sim_disk *crash, const sim_disk *base, const sim_unit *units,
                             size_t n)
{
    kvi_slice now = sim_get_file(crash, "a"), old = sim_get_file(base, "a");
    for (uint64_t off = 0; off < now.len; off++) {
        uint8_t expected = off < old.len ? old.ptr[off] : 0;
        for (size_t i = 0; i < n; i++)
            if (units[i].kind == SIM_UNIT_DATA && off >= units[i].off &&
                off < units[i].off + units[i].len)
                expected = units[i].data[off - units[i].off];
        assert_int_equal(now.ptr[off], expected);
    }
}

static void any_choice_of_units_can_be_made_and_taken_back(void **state)
{
    sim_disk *disk = *state, *base = sim_new(2), *crash = sim_new(3);
    sim_unit units[256], chosen[256];
    rng random;
    rng_seed(&random, rng_choose_seed(4));
    int fd = open_in(disk, "a");
    fill_in(disk, fd, 0, 5000, 'o');
    sim_clone(base, disk);
    sim_clone(crash, disk);
    sim_forget(disk);
    fill_in(disk, fd, 100, 2000, '1');
    fill_in(disk, fd, 4000, 3000, '2');
    fill_in(disk, fd, 1500, 1000, '3');
    fill_in(disk, fd, 6500, 2000, '4');
    size_t n = pending_units(disk, 0, disk->n_events, &sectors, units, 256);
    crash->recording = SIM_RECORD_UNDO;
    for (int round = 0; round < 300; round++) {
        size_t n_chosen = 0;
        for (size_t i = 0; i < n; i++)
            if (rng_one_in(&random, 2))
                chosen[n_chosen++] = units[i];
        sim_apply(crash, chosen, n_chosen);
        expect_explained(crash, base, chosen, n_chosen);
        sim_rewind(crash, 0);
        expect_same(base, crash);
        expect_clean_tails(crash);
    }
    sim_free(base);
    sim_free(crash);
}

/* Applies the units of disk's history whose numbers are given to a copy of its beginning. */
static void apply_some(sim_disk *disk, sim_disk *crash, unsigned mask)
{
    sim_unit units[32], chosen[32];
    size_t n_chosen = 0, n = pending_units(disk, 0, disk->n_events, &sectors, units, 32);
    for (size_t i = 0; i < n; i++)
        if (mask >> i & 1)
            chosen[n_chosen++] = units[i];
    sim_rewind(crash, 0);
    sim_apply(crash, chosen, n_chosen);
}

static void sizes_and_data_are_kept_or_lost_on_their_own(void **state)
{
    sim_disk *disk = *state, *crash = sim_new(2);
    sim_put_file(disk, "a", "old", 3);
    sim_clone(crash, disk);
    sim_forget(disk);
    int fd = open_in(disk, "a");
    write_in(disk, fd, 3, "new"); /* units: 0 the size, 1 the data */
    apply_some(disk, crash, 0);
    expect_file(crash, "a", "old");
    apply_some(disk, crash, 2);
    expect_file(crash, "a", "old");
    apply_some(disk, crash, 1);
    assert_memory_equal(sim_get_file(crash, "a").ptr, "old\0\0\0", 6);
    assert_int_equal(sim_get_file(crash, "a").len, 6);
    apply_some(disk, crash, 3);
    expect_file(crash, "a", "oldnew");
    sim_free(crash);
}

static void a_cut_that_was_kept_leaves_zeros_behind(void **state)
{
    sim_disk *disk = *state, *crash = sim_new(2);
    sim_put_file(disk, "a", "abcdef", 6);
    sim_clone(crash, disk);
    sim_forget(disk);
    int fd = open_in(disk, "a");
    write_in(disk, fd, 4, "EF"); /* unit 0: data */
    truncate_in(disk, fd, 2);    /* unit 1: size 2 */
    write_in(disk, fd, 7, "H");  /* units 2: size 8, 3: data */
    apply_some(disk, crash, 0xf);
    assert_memory_equal(sim_get_file(crash, "a").ptr, "ab\0\0\0\0\0H", 8);
    apply_some(disk, crash, 0xd); /* the cut lost, the growth kept */
    assert_memory_equal(sim_get_file(crash, "a").ptr, "abcdEF\0H", 8);
    apply_some(disk, crash, 0x3);
    expect_file(crash, "a", "ab");
    apply_some(disk, crash, 0xa); /* the last size is that of the cut */
    expect_file(crash, "a", "ab");
    sim_free(crash);
}

static void names_are_kept_or_lost_on_their_own(void **state)
{
    sim_disk *disk = *state, *crash = sim_new(2);
    sim_clone(crash, disk);
    int fd = open_in(disk, "tmp");         /* unit 0 */
    write_in(disk, fd, 0, "db");           /* units 1, 2 */
    disk->os.link(&disk->os, "tmp", "db"); /* unit 3 */
    disk->os.unlink(&disk->os, "tmp");     /* unit 4 */
    apply_some(disk, crash, 0x1f);
    expect_file(crash, "db", "db");
    assert_int_equal(sim_find(crash, "tmp"), -1);
    apply_some(disk, crash, 0x0f);
    expect_file(crash, "db", "db");
    expect_file(crash, "tmp", "db");
    apply_some(disk, crash, 0x08); /* the link alone: an empty file */
    expect_file(crash, "db", "");
    apply_some(disk, crash, 0x10); /* the unlink of a name that never was */
    assert_int_equal(crash->n_names, 0);
    apply_some(disk, crash, 0x17);
    assert_int_equal(crash->n_names, 0);
    sim_rewind(crash, 0);
    assert_int_equal(crash->n_files, 0);
    sim_free(crash);
}

static void a_rename_leaves_the_old_file_or_the_new(void **state)
{
    sim_disk *disk = *state, *crash = sim_new(2);
    sim_put_file(disk, "db", "old", 3);
    sim_put_file(disk, "tmp", "new!", 4);
    sim_clone(crash, disk);
    sim_forget(disk);
    disk->os.rename(&disk->os, "tmp", "db"); /* units 0: db, 1: tmp */
    expect_file(disk, "db", "new!");
    assert_int_equal(sim_find(disk, "tmp"), -1);
    for (unsigned mask = 0; mask < 4; mask++) {
        apply_some(disk, crash, mask);
        expect_file(crash, "db", mask & 1 ? "new!" : "old");
        assert_int_equal(sim_find(crash, "tmp") >= 0, !(mask & 2));
    }
    disk->os.sync_dir(&disk->os, "db");
    uint32_t events[4];
    assert_int_equal(sim_pending(disk, 0, disk->n_events, events), 0);
    sim_rewind(disk, 0);
    expect_file(disk, "db", "old");
    expect_file(disk, "tmp", "new!");
    sim_free(crash);
}

static void units_tell_whether_they_change_anything(void **state)
{
    sim_disk *disk = *state, *crash = sim_new(2);
    sim_unit units[8];
    sim_put_file(disk, "a", "same", 4);
    sim_clone(crash, disk);
    sim_forget(disk);
    int fd = open_in(disk, "a"), other = open_in(disk, "b"); /* unit 0 */
    write_in(disk, fd, 0, "same");                           /* unit 1 */
    write_in(disk, fd, 0, "sane");                           /* unit 2 */
    write_in(disk, other, 0, "x");                           /* units 3, 4 */
    write_in(disk, fd, 3, "ee");                             /* units 5, 6 */
    assert_int_equal(pending_units(disk, 0, disk->n_events, &sectors, units, 8), 7);
    static const bool changes[] = {true, false, true, true, true, true, true};
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(sim_unit_changes(crash, &units[i]), changes[i]);
    sim_apply(crash, units, 7);
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(sim_unit_changes(crash, &units[i]), i == 1);
    sim_free(crash);
}

/* What runs after a crash has a history of its own, which can crash again. */
static void crashes_nest(void **state)
{
    sim_disk *disk = *state, *crash = sim_new(2), *second = sim_new(3);
    sim_unit units[8];
    sim_put_file(disk, "a", "0000", 4);
    sim_clone(crash, disk);
    sim_forget(disk);
    int fd = open_in(disk, "a");
    write_in(disk, fd, 0, "1");
    apply_some(disk, crash, 1);
    size_t start = crash->n_events;
    sim_clone(second, crash);
    int again = open_in(crash, "a");
    write_in(crash, again, 1, "2");
    sync_in(crash, again);
    write_in(crash, again, 2, "3");
    size_t n = pending_units(crash, start, crash->n_events, &sectors, units, 8);
    assert_int_equal(n, 1);
    sim_apply(second, units, n);
    expect_file(second, "a", "1030"); /* the flushed 2 is the base's matter */
    sim_kill(crash);
    sim_rewind(crash, start);
    expect_file(crash, "a", "1000");
    sim_rewind(crash, 0);
    expect_file(crash, "a", "0000");
    sim_free(crash);
    sim_free(second);
}

/* ---- threads ---- */

static _Atomic int next_name;

static void *write_own_file(void *context)
{
    sim_disk *disk = context;
    const kvi_os *os = &disk->os;
    char name[32], byte;
    os->random(os, &byte, 1);
    snprintf(name, sizeof name, "%d", atomic_fetch_add(&next_name, 1));
    for (int i = 0; i < 200; i++) {
        int fd = os->open(os, name, RW, 0644);
        struct iovec iov = {&byte, 1};
        os->lock(os, fd, KVI_OS_EXCLUSIVE, 0, 1);
        os->pwritev(os, fd, &iov, 1, (uint64_t)i);
        os->sync(os, fd);
        os->close(os, fd);
    }
    return NULL;
}

static void calls_may_come_from_many_threads(void **state)
{
    sim_disk *disk = *state;
    pthread_t threads[4];
    for (size_t i = 0; i < KVI_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_own_file, disk), 0);
    for (size_t i = 0; i < KVI_COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(disk->n_names, KVI_COUNT(threads));
    for (int i = 0; i < disk->n_files; i++)
        assert_int_equal(disk->files[i].size, 200);
    assert_int_equal(disk->n_events, KVI_COUNT(threads) * 401);
    assert_int_equal(disk->n_locks + sim_open_handles(disk), 0);
}

#define WITH_DISK(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_DISK(events_tell_what_happened),
        WITH_DISK(rewind_goes_back_to_any_moment),
        WITH_DISK(forget_begins_a_new_history),
        WITH_DISK(recording_nothing_keeps_no_history),
        WITH_DISK(reset_leaves_nothing_behind),
        WITH_DISK(kill_and_reboot_close_everything),
        WITH_DISK(time_is_what_the_test_says),
        WITH_DISK(a_full_disk_takes_what_fits),
        WITH_DISK(network_files_are_refused),
        WITH_DISK(a_pool_hands_out_clear_memory),
        WITH_DISK(the_guard_stands_at_the_end_of_the_file),
        WITH_DISK(flushes_settle_what_came_before_them),
        WITH_DISK(writes_are_cut_where_the_disk_may_tear_them),
        WITH_DISK(all_units_together_are_the_whole),
        WITH_DISK(any_choice_of_units_can_be_made_and_taken_back),
        WITH_DISK(sizes_and_data_are_kept_or_lost_on_their_own),
        WITH_DISK(a_cut_that_was_kept_leaves_zeros_behind),
        WITH_DISK(names_are_kept_or_lost_on_their_own),
        WITH_DISK(a_rename_leaves_the_old_file_or_the_new),
        WITH_DISK(units_tell_whether_they_change_anything),
        WITH_DISK(crashes_nest),
        WITH_DISK(calls_may_come_from_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
