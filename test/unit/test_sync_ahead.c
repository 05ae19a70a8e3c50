/* The disk begins with what a flush is to wait for while more is made: with the pages of a durable commit
 * before its meta, and earlier with large transactions, large values and copies; not with lazy commits,
 * nor with pages that are likely to change again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "db.h"
#include "sim_os.h"
#include <stdio.h>

#ifdef KVI_STRESS
#define AHEAD     16384 /* bytes */
#define PAGE_SIZE 512
#define VALUE     40
#else
#define PAGE_SIZE 4096
#define VALUE     200
#define AHEAD     (4 << 20)
#endif
#define PATH      "ahead.kv"
#define RECORDS   (AHEAD / VALUE * 6)
#define LARGE     (AHEAD / 4)
#define ALL_LARGE 10

static sim_disk *disk;
static kvi_os real;
static kv_db *db;
static uint64_t waiting; /* bytes written since the disk began last */
static uint64_t most;    /* of them, ever */
static int begun;        /* times */

static int64_t pwritev_noted(const kvi_os *os, int fd, const struct iovec *iov, int n, uint64_t off)
{
    int64_t put = real.pwritev(os, fd, iov, n, off);
    waiting += put > 0 ? (uint64_t)put : 0;
    most = KVI_MAX(most, waiting);
    return put;
}

static void begin_noted(const kvi_os *os, int fd)
{
    assert_true(waiting > 0);
    begun++;
    waiting = 0;
    real.sync_ahead(os, fd);
}

static void nothing_noted(void)
{
    waiting = most = 0;
    begun = 0;
}

static int setup(void **state)
{
    const kv_options options = {.size = sizeof options,
                                .flags = KV_OPEN_CREATE | KV_OPEN_EXCLUSIVE,
                                .page_size = PAGE_SIZE,
                                .memory_budget = (uint64_t)AHEAD * 2,
                                .lazy_sync_bytes = UINT64_MAX};
    disk = sim_new(1);
    real = disk->os;
    disk->os.pwritev = pwritev_noted;
    disk->os.sync_ahead = begin_noted;
    int rc = kvi_db_open(sim_os(disk), PATH, &options, &db, NULL, 0);
    nothing_noted();
    return rc;
}

static int teardown(void **state)
{
    int rc = kv_db_close(db);
    sim_free(disk);
    return rc;
}

static void put(kv_txn *txn, unsigned number, size_t len)
{
    static uint8_t value[LARGE];
    char key[16];
    int n = snprintf(key, sizeof key, "%08u", number);
    assert_int_equal(kv_put(kv_txn_main(txn), key, (size_t)n, value, len, 0), KV_OK);
}

static kv_txn *begin(uint32_t flags)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE | flags, &txn), KV_OK);
    return txn;
}

static void ascending_records(void **state)
{
    kv_txn *txn = begin(0);
    for (unsigned i = 0; i < RECORDS; i++)
        put(txn, i, VALUE);
#ifndef KVI_STRESS /* where a run is shorter than the paths that lead to it */
    assert_in_range(begun, 3, 6);
    assert_true(most < 2 * AHEAD);
#endif
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_in_range(begun, 1, 7);
}

static void one_commit_of_much(void **state)
{
    kv_txn *txn = begin(0);
    for (unsigned i = 0; i < RECORDS / 4; i++)
        put(txn, i * 7919 % (RECORDS / 4), VALUE);
    assert_int_equal(begun, 0);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_not_equal(begun, 0);
}

static void large_values(void **state)
{
    kv_txn *txn = begin(0);
    for (unsigned i = 0; i < ALL_LARGE; i++)
        put(txn, i, LARGE);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_in_range(begun, 2, 3);
}

/* The disk has the pages when the meta is written. */
static void small_commits(void **state)
{
    for (int i = 0; i < 200; i++) {
        kv_txn *txn = begin(0);
        put(txn, (unsigned)i, VALUE);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        assert_int_equal(begun, i + 1);
        assert_int_equal(waiting, KVI_META_SIZE);
    }
}

/* Its flush of the pages follows at once. */
static void strict_commits(void **state)
{
    kv_txn *txn = begin(KV_TXN_STRICT);
    put(txn, 1, VALUE);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(begun, 0);
}

static void lazy_commits(void **state)
{
    kv_txn *txn = begin(KV_TXN_LAZY);
    for (unsigned i = 0; i < RECORDS; i++)
        put(txn, i, VALUE);
    for (unsigned i = 0; i < ALL_LARGE; i++)
        put(txn, i, LARGE);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_true(waiting > 4 * AHEAD);
    assert_int_equal(begun, 0);
}

/* What the budget drives out is soon changed again: to write it to the disk each time would take
 * longer than to write it once. */
static void pages_that_change_again(void **state)
{
    kv_txn *txn = begin(0);
    for (unsigned i = 0; i < RECORDS; i++)
        put(txn, i * 7919 % RECORDS, VALUE);
    assert_true(waiting > 2 * AHEAD);
    assert_int_equal(begun, 0);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static void copies(void **state)
{
    lazy_commits(state);
    assert_int_equal(kv_db_sync(db), KV_OK);
    nothing_noted();
    assert_int_equal(kv_db_copy(db, "copy.kv", 0), KV_OK);
    assert_true(begun >= 4);
    assert_true(most < AHEAD + (1 << 20));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ascending_records, setup, teardown),
        cmocka_unit_test_setup_teardown(one_commit_of_much, setup, teardown),
        cmocka_unit_test_setup_teardown(large_values, setup, teardown),
        cmocka_unit_test_setup_teardown(small_commits, setup, teardown),
        cmocka_unit_test_setup_teardown(strict_commits, setup, teardown),
        cmocka_unit_test_setup_teardown(lazy_commits, setup, teardown),
        cmocka_unit_test_setup_teardown(pages_that_change_again, setup, teardown),
        cmocka_unit_test_setup_teardown(copies, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
