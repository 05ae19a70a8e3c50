/* A system that is not as usual. Opening while the file, its name or what stands beside it is not what
 * it was a moment ago: who opens tries again, gives up when that takes too long, and says why. Address
 * space that is short, writes that take nothing. On a simulated disk, whose clock does not keep us
 * waiting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "must.h"
#include <errno.h>

#define PATH    "db"
#define STRANGE 2 /* another process */

static sim_disk *disk;
static kvi_os real;
static int opened; /* handles of the database's own file, since the plan was made */
static char message[200];

static int setup(void **state)
{
    disk = sim_new(1);
    real = disk->os;
    assert_int_equal(kv_db_close(must_open(disk, PATH)), KV_OK);
    return 0;
}

static int teardown(void **state)
{
    sim_free(disk);
    return 0;
}

static int open_as(uint32_t flags, kv_db **db)
{
    kv_options options = {.size = sizeof options, .flags = flags};
    *message = 0;
    return kvi_db_open(sim_os(disk), PATH, &options, db, message, sizeof message);
}

static int open_only(uint32_t flags)
{
    kv_db *db;
    int rc = open_as(flags, &db);
    disk->os = real;
    if (rc == KV_OK)
        assert_int_equal(kv_db_close(db), KV_OK);
    return rc;
}

/* ---- other files ---- */

static int other_device(const kvi_os *os, const char *path, kvi_os_stat *stat)
{
    int rc = real.stat_path(os, path, stat);
    stat->device++;
    return rc;
}

static void test_name_leads_elsewhere(void **state)
{
    uint64_t before = disk->mono_ns;
    disk->os.stat_path = other_device;
    assert_int_equal(open_only(0), KV_EBUSY);
    assert_non_null(strstr(message, "being opened or replaced"));
    assert_true(disk->mono_ns - before > 1000000000);
    assert_int_equal(open_only(0), KV_OK);
}

/* For as long as one is ready to wait, if that is longer. */
static void test_patient(void **state)
{
    const kv_options options = {.size = sizeof options, .wait_ms = 100000};
    kv_db *db;
    uint64_t before = disk->mono_ns;
    disk->os.stat_path = other_device;
    assert_int_equal(kvi_db_open(sim_os(disk), PATH, &options, &db, NULL, 0), KV_EBUSY);
    assert_true(disk->mono_ns - before >= 100000ull * 1000000);
    disk->os = real;
}

static int count_open(const kvi_os *os, const char *path, int flags, uint32_t mode)
{
    opened += strcmp(path, PATH) == 0;
    return real.open(os, path, flags, mode);
}

/* The file that holds the locks is not the one that is read. */
static int other_second(const kvi_os *os, int fd, kvi_os_stat *stat)
{
    int rc = real.stat(os, fd, stat);
    stat->device += opened > 1 && fd != 0;
    return rc;
}

static void test_replaced_meanwhile(void **state)
{
    opened = 0;
    disk->os.open = count_open;
    disk->os.stat = other_second;
    assert_int_equal(open_only(KV_OPEN_EXCLUSIVE), KV_EBUSY);
    assert_non_null(strstr(message, "was replaced while it was opened"));
    assert_int_equal(open_only(0), KV_OK);
}

/* ---- the side file ---- */

static int no_side_file(const kvi_os *os, const char *path, int flags, uint32_t mode)
{
    return strcmp(path, PATH) == 0 ? real.open(os, path, flags, mode) : -EACCES;
}

/* Who only reads does without. */
static void test_side_file_forbidden(void **state)
{
    kv_db *db, *second;
    assert_int_equal(open_as(0, &db), KV_OK);
    sim_process(disk, STRANGE);
    disk->os.open = no_side_file;
    assert_int_equal(open_as(0, &second), KV_EACCESS);
    assert_int_equal(open_as(KV_OPEN_READONLY, &second), KV_OK);
    assert_int_equal(second->role, KVI_GUEST);
    disk->os = real;
    assert_int_equal(kv_db_close(second), KV_OK);
    sim_process(disk, 1);
    assert_int_equal(kv_db_close(db), KV_OK);
}

static unsigned stats;

/* The n-th question what a file is gets no answer. */
static int stat_failing(const kvi_os *os, int fd, kvi_os_stat *stat)
{
    return --stats == 0 ? -EIO : real.stat(os, fd, stat);
}

static void test_second_cannot_look(void **state)
{
    kv_db *db, *second;
    unsigned n = 0, told = 0;
    assert_int_equal(open_as(0, &db), KV_OK);
    sim_process(disk, STRANGE);
    do {
        stats = ++n;
        disk->os.stat = stat_failing;
        int rc = open_as(0, &second);
        disk->os = real;
        assert_true(rc <= KV_OK);
        told += rc == KV_EIO;
        assert_int_equal(rc == KV_OK ? kv_db_close(second) : KV_OK, KV_OK);
    } while (stats == 0);
    assert_true(told > 2);
    sim_process(disk, 1);
    assert_int_equal(kv_db_close(db), KV_OK);
}

static int path_error;

static int no_writing(const kvi_os *os, const char *path, int flags, uint32_t mode)
{
    if (strcmp(path, PATH) == 0)
        return flags & KVI_OS_WRITE ? path_error : real.open(os, path, flags, mode);
    return -EACCES;
}

/* A file that may not be written can be read, whatever it is that forbids it. */
static void test_forbidden(void **state)
{
    static const int errors[] = {-EACCES, -EPERM, -EROFS};
    for (size_t i = 0; i < KVI_COUNT(errors); i++) {
        path_error = errors[i];
        disk->os.open = no_writing;
        assert_int_not_equal(open_only(0), KV_OK);
        disk->os.open = no_writing;
        assert_int_equal(open_only(KV_OPEN_READONLY), KV_OK);
    }
    path_error = -EIO;
    disk->os.open = no_writing;
    assert_int_equal(open_only(KV_OPEN_READONLY), KV_EIO);
}

static unsigned allocations;

static void *alloc_failing(const kvi_os *os, size_t size)
{
    return --allocations == 0 ? NULL : real.alloc(os, size);
}

/* Whatever there is no memory for, a failed open has a sentence. */
static void test_no_memory_to_open(void **state)
{
    kv_db *db;
    int rc = KV_ENOMEM;
    unsigned n = 0;
    for (; rc != KV_OK; n++) {
        allocations = n + 1;
        disk->os.alloc = alloc_failing;
        rc = open_as(0, &db);
        disk->os = real;
        assert_true(rc == KV_OK || rc == KV_ENOMEM);
        assert_int_equal(rc == KV_OK, *message == 0);
    }
    assert_true(n > 3);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* ---- maps and writes ---- */

static size_t map_most;
static int map_error;

static int map_some(const kvi_os *os, int fd, size_t len, const uint8_t **ptr)
{
    return len > map_most ? map_error : real.map(os, fd, len, ptr);
}

static int put_large(kv_db *db, size_t len)
{
    static uint8_t bytes[3 << 20];
    kv_op op = {.kind = KV_OP_PUT, .key = {&len, sizeof len}, .value = {bytes, len}};
    return kv_db_write(db, &op, 1, 0, NULL);
}

static int put_many(kv_db *db)
{
    static uint8_t bytes[50000];
    char keys[40];
    kv_op ops[40];
    for (size_t i = 0; i < KVI_COUNT(ops); i++) {
        keys[i] = (char)i;
        ops[i] = (kv_op){.kind = KV_OP_PUT, .key = {&keys[i], 1}, .value = {bytes, sizeof bytes}};
    }
    return kv_db_write(db, ops, KVI_COUNT(ops), 0, NULL);
}

/* As much address space as there is, asked for anew as the file grows. */
static void test_small_maps(void **state)
{
    static const int errors[] = {-ENOMEM, -EINVAL};
    kv_db *db;
    for (size_t i = 0; i < KVI_COUNT(errors); i++) {
        map_error = errors[i];
        map_most = 3 << 20;
        disk->os.map = map_some;
        assert_int_equal(open_as(0, &db), KV_OK);
        assert_int_equal(put_large(db, 100 + i), KV_OK);
        assert_int_equal(put_large(db, (2 << 20) + i), KV_OK);
        assert_int_equal(put_many(db), KV_OK); /* nobody has to see it yet */
        kv_txn *txn;
        assert_int_not_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
        assert_int_not_equal(put_large(db, 100), KV_OK);
        map_most = 100 << 20;
        assert_int_equal(put_large(db, 100), KV_OK);
        assert_int_equal(kv_db_check(db, NULL), KV_OK);
        assert_int_equal(kv_db_close(db), KV_OK);
        disk->os = real;
        teardown(NULL);
        setup(NULL);
    }
}

static int64_t write_nothing(const kvi_os *os, int fd, const struct iovec *iov, int n, uint64_t off)
{
    return 0;
}

/* A write that takes nothing would be repeated for ever. */
static void test_nothing_is_written(void **state)
{
    kv_db *db;
    assert_int_equal(open_as(0, &db), KV_OK);
    disk->os.pwritev = write_nothing;
    assert_int_equal(put_large(db, 100), KV_EIO);
    disk->os = real;
    assert_int_equal(put_large(db, 100), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
}

static int halves; /* reads of metas that are to meet a write half done */

static int64_t read_halves(const kvi_os *os, int fd, void *buf, size_t len, uint64_t off)
{
    int64_t got = real.pread(os, fd, buf, len, off);
    if (len == KVI_META_SIZE && halves > 0) {
        halves--;
        ((uint8_t *)buf)[KVI_META_SIZE / 2] ^= 1;
    }
    return got;
}

/* Statistics beside a writer read the metas that he writes; both may be caught. */
static void test_metas_in_motion(void **state)
{
    kv_db *db;
    kv_txn *writer;
    kv_db_info info = {.size = sizeof info};
    assert_int_equal(open_as(0, &db), KV_OK);
    assert_int_equal(put_large(db, 100), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &writer), KV_OK);
    disk->os.pread = read_halves;
    halves = 20;
    assert_int_equal(kv_db_stat(db, &info), KV_OK);
    assert_int_equal(halves, 0);
    assert_int_equal(info.entries, 1);
    halves = 1 << 30; /* these are broken */
    assert_int_equal(kv_db_stat(db, &info), KV_ECORRUPT);
    disk->os = real;
    kv_txn_abort(writer);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* ---- an empty file, of which somebody else is making a database ---- */

static void empty_behind(int kind, uint64_t byte, int rc)
{
    const kvi_os *os = sim_os(disk);
    sim_put_file(disk, PATH, "", 0);
    sim_process(disk, STRANGE);
    int fd = os->open(os, PATH, KVI_OS_WRITE, 0);
    assert_int_equal(os->lock(os, fd, kind, byte, 1), 0);
    sim_process(disk, 1);
    assert_int_equal(open_only(KV_OPEN_CREATE), rc);
    assert_int_equal(open_only(KV_OPEN_CREATE | KV_OPEN_EXCLUSIVE), rc);
    sim_process(disk, STRANGE);
    os->close(os, fd);
    sim_process(disk, 1);
    assert_int_equal(open_only(KV_OPEN_CREATE), KV_OK);
}

static void test_empty(void **state)
{
    empty_behind(KVI_OS_EXCLUSIVE, KVI_LOCK_LIFECYCLE, KV_EBUSY);
    empty_behind(KVI_OS_SHARED, KVI_LOCK_LIFECYCLE, KV_EBUSY);
    empty_behind(KVI_OS_SHARED, KVI_LOCK_GUESTS, KV_EBUSY);
    empty_behind(KVI_OS_EXCLUSIVE, KVI_LOCK_GUESTS, KV_EBUSY);
}

/* Somebody makes a database of an empty file, commits and leaves, after we saw that it was empty. */
static int made_meanwhile(const kvi_os *os, const char *path, kvi_os_stat *stat)
{
    int rc = real.stat_path(os, path, stat);
    if (strcmp(path, PATH) != 0 || stat->size > 0)
        return rc;
    disk->os = real;
    sim_process(disk, STRANGE);
    kv_db *db = must_open(disk, PATH);
    must_put(db, "", "key", "value", 5);
    assert_int_equal(kv_db_close(db), KV_OK);
    sim_process(disk, 1);
    return rc;
}

static void test_no_longer_empty(void **state)
{
    static const uint32_t flags[] = {KV_OPEN_CREATE, KV_OPEN_CREATE | KV_OPEN_EXCLUSIVE};
    for (size_t i = 0; i < KVI_COUNT(flags); i++) {
        kv_db *db;
        kv_slice value;
        sim_reset(disk);
        sim_put_file(disk, PATH, "", 0);
        disk->os.stat_path = made_meanwhile;
        assert_int_equal(open_as(flags[i], &db), KV_OK);
        kv_txn *txn = must_begin(db, KV_TXN_READ);
        assert_int_equal(kv_get(kv_txn_main(txn), "key", 3, &value), KV_OK);
        kv_txn_abort(txn);
        assert_int_equal(kv_db_close(db), KV_OK);
    }
}

static unsigned folders_flushed;

static int count_folder(const kvi_os *os, const char *path)
{
    folders_flushed++;
    return real.sync_dir(os, path);
}

/* Whoever made the file may not have lived to flush its name: who writes first does it, also behind
 * somebody who only reads. */
static void test_name_is_flushed(void **state)
{
    kv_db *reader, *writer;
    assert_int_equal(open_as(KV_OPEN_READONLY, &reader), KV_OK);
    disk->os.sync_dir = count_folder;
    folders_flushed = 0;
    assert_int_equal(open_as(0, &writer), KV_OK);
    assert_int_equal(folders_flushed, 1);
    must_put(writer, "", "key", "value", 5);
    assert_int_equal(kv_db_close(writer), KV_OK);
    assert_int_equal(open_as(0, &writer), KV_OK);
    assert_int_equal(folders_flushed, 1);
    disk->os = real;
    assert_int_equal(kv_db_close(writer), KV_OK);
    assert_int_equal(kv_db_close(reader), KV_OK);
}

static int secret_folder(const kvi_os *os, const char *path)
{
    return -EACCES;
}

/* Who may not open the folder leaves that to who made the file, and hears nothing of it. */
static void test_name_is_left_to_others(void **state)
{
    kv_db *reader, *writer;
    assert_int_equal(open_as(KV_OPEN_READONLY, &reader), KV_OK);
    disk->os.sync_dir = secret_folder;
    assert_int_equal(open_as(0, &writer), KV_OK);
    disk->os = real;
    kv_db_errmsg(writer, message, sizeof message);
    assert_string_equal(message, "");
    assert_int_equal(kv_db_close(writer), KV_OK);
    assert_int_equal(kv_db_close(reader), KV_OK);
}

/* A file whose name cannot be made durable is not made. */
static void test_name_cannot_be_flushed(void **state)
{
    kv_db *db;
    sim_reset(disk);
    disk->os.sync_dir = secret_folder;
    assert_int_equal(open_as(KV_OPEN_CREATE, &db), KV_EACCESS);
    disk->os = real;
    assert_int_equal(open_as(0, &db), KV_ENOENT);
}

static unsigned stats_left;

static int forbidden_stat(const kvi_os *os, int fd, kvi_os_stat *stat)
{
    return stats_left-- == 0 ? -EPERM : real.stat(os, fd, stat);
}

/* Each answer about a file may be refused to who comes second: the handle works then, or there is none. */
static void test_second_is_forbidden(void **state)
{
    kv_db *first, *second;
    unsigned refused = 0;
    assert_int_equal(open_as(0, &first), KV_OK);
    for (unsigned n = 0; n == 0 || stats_left > n; n++) {
        stats_left = n;
        disk->os.stat = forbidden_stat;
        int rc = open_as(0, &second);
        disk->os.stat = real.stat;
        if (rc == KV_OK) {
            must_put(second, "", "key", "value", 5);
            assert_int_equal(kv_db_close(second), KV_OK);
        } else {
            assert_int_equal(rc, KV_EACCESS);
            refused++;
        }
    }
    assert_in_range(refused, 3, 20);
    assert_int_equal(kv_db_close(first), KV_OK);
}

/* ---- leaving: others may come and go before it is clear who is the last ---- */

#define OTHER "other" /* a second name */

static void (*meanwhile)(void);

/* Runs it when the one that leaves has let go of the lifecycle byte. */
static int lock_left(const kvi_os *os, int fd, int kind, uint64_t off, uint64_t len)
{
    int rc = real.lock(os, fd, kind, off, len);
    if (kind == KVI_OS_UNLOCK && off == KVI_LOCK_LIFECYCLE && meanwhile) {
        void (*work)(void) = meanwhile;
        meanwhile = NULL;
        disk->os = real;
        sim_process(disk, STRANGE);
        work();
        sim_process(disk, 1);
    }
    return rc;
}

static void close_while(kv_db *db, void (*work)(void))
{
    meanwhile = work;
    disk->os.lock = lock_left;
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_null(meanwhile);
    disk->os = real;
}

static void must_have(const char *key, const char *value)
{
    kv_db *db = must_open(disk, PATH);
    kv_slice found;
    kv_txn *txn = must_begin(db, KV_TXN_READ);
    assert_int_equal(kv_get(kv_txn_main(txn), key, strlen(key), &found), KV_OK);
    assert_int_equal(found.len, strlen(value));
    assert_memory_equal(found.ptr, value, found.len);
    kv_txn_abort(txn);
    must_be_sound(db);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* A commit by the other name, which no flush has followed yet. */
static void commit_by_other_name(void)
{
    static const kv_options options = {.size = sizeof options, .flags = KV_OPEN_NO_CLOSE_SYNC};
    kv_op op = {.kind = KV_OP_PUT, .key = {"key", 3}, .value = {"new", 3}};
    kv_db *db;
    assert_int_equal(kvi_db_open(sim_os(disk), OTHER, &options, &db, NULL, 0), KV_OK);
    assert_int_equal(kv_db_write(db, &op, 1, KV_TXN_LAZY, NULL), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* The last one confirms its newest commit in the slot of the one before it: unless that is somebody
 * else's newer one. */
static void test_newer_commit_of_another_name(void **state)
{
    kv_db *db = must_open(disk, PATH);
    must_put(db, "", "key", "old", 3);
    assert_int_equal(disk->os.link(sim_os(disk), PATH, OTHER), 0);
    close_while(db, commit_by_other_name);
    must_have("key", "new");
}

static int unlink_forbidden(const kvi_os *os, const char *path)
{
    return -EPERM;
}

static int64_t disk_full(const kvi_os *os, int fd, const struct iovec *iov, int n, uint64_t off)
{
    return -ENOSPC;
}

/* Takes the side file for a leftover that may not be removed, empties it, and cannot fill it. */
static void empty_side_file(void)
{
    kv_db *db;
    disk->os.unlink = unlink_forbidden;
    disk->os.pwritev = disk_full;
    assert_int_equal(open_as(0, &db), KV_ENOSPC);
    disk->os = real;
    assert_int_equal(sim_get_file(disk, PATH "-lock").len, 0);
}

/* Then nobody touches what is not there any more. */
static void test_side_file_emptied_behind_the_last(void **state)
{
    for (int confirmed = 0; confirmed < 2; confirmed++) {
        kv_db *db = must_open(disk, PATH);
        if (!confirmed)
            must_put(db, "", "key", "old", 3);
        assert_int_equal(db->head.confirmed, confirmed);
        sim_set_guard(disk, true);
        close_while(db, empty_side_file);
        sim_set_guard(disk, false);
        assert_true(sim_find(disk, PATH "-lock") < 0);
        must_have("key", "old");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_patient, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_longer_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(test_name_is_flushed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_name_cannot_be_flushed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_name_is_left_to_others, setup, teardown),
        cmocka_unit_test_setup_teardown(test_second_is_forbidden, setup, teardown),
        cmocka_unit_test_setup_teardown(test_name_leads_elsewhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replaced_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_side_file_forbidden, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(test_second_cannot_look, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forbidden, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_memory_to_open, setup, teardown),
        cmocka_unit_test_setup_teardown(test_small_maps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_is_written, setup, teardown),
        cmocka_unit_test_setup_teardown(test_metas_in_motion, setup, teardown),
        cmocka_unit_test_setup_teardown(test_newer_commit_of_another_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_side_file_emptied_behind_the_last, setup, teardown),
    };
    return cmocka_run_group_tests_name("join", tests, NULL, NULL);
}
