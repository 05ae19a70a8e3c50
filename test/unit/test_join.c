/* Opening while the file, its name or what stands beside it is not what it was a moment ago: who opens
 * tries again, gives up when that takes too long, and says why. On a simulated disk, whose clock does
 * not keep us waiting. */
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
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_name_leads_elsewhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replaced_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_side_file_forbidden, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
    };
    return cmocka_run_group_tests_name("join", tests, NULL, NULL);
}
