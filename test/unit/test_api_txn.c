/* The public functions on transactions: beginning, ending, savepoints, clocks, failed ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "fault_os.h"
#include "rng.h"
#include "sim_os.h"
#include <errno.h>
#include <stdio.h>

static sim_disk *disk;
static fault_os fault;
static kv_db *db;

static int setup(void **state)
{
    disk = sim_new(1);
    disk->recording = SIM_RECORD_NOTHING;
    return 0;
}

static int teardown(void **state)
{
    sim_free(disk);
    return 0;
}

static int open_with(uint64_t budget)
{
    kv_options options = {.size = sizeof options,
                          .flags = KV_OPEN_CREATE,
                          .page_size = 4096,
                          .memory_budget = budget};
    sim_reset(disk);
    fault_init(&fault, sim_os(disk));
    return kvi_db_open(&fault.os, "db", &options, &db, NULL, 0);
}

static int open_fresh(void **state)
{
    return open_with(0);
}

static int close_all(void **state)
{
    return kv_db_close(db) == KV_OK && fault_balanced(&fault) ? 0 : -1;
}

static kv_txn *begin(uint32_t flags)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, flags, &txn), KV_OK);
    return txn;
}

static void put_text(kv_tree *tree, const char *key, const char *value)
{
    assert_int_equal(kv_put(tree, key, strlen(key), value, strlen(value), 0), KV_OK);
}

static void expect_text(kv_tree *tree, const char *key, const char *value)
{
    kv_slice found;
    int rc = kv_get(tree, key, strlen(key), &found);
    assert_int_equal(rc, value ? KV_OK : KV_NOTFOUND);
    if (value) {
        assert_int_equal(found.len, strlen(value));
        assert_memory_equal(found.ptr, value, found.len);
    }
}

static void commit_text(const char *key, const char *value)
{
    kv_txn *txn = begin(KV_TXN_WRITE);
    put_text(kv_txn_main(txn), key, value);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* ---- beginning and ending ---- */

static void test_arguments(void **state)
{
    static const uint32_t bad[] = {1 << 20,
                                   KV_TXN_TRY,
                                   KV_TXN_LAZY,
                                   KV_TXN_STRICT,
                                   KV_TXN_DURABLE,
                                   KV_TXN_WRITE | KV_TXN_LAZY | KV_TXN_STRICT,
                                   KV_TXN_WRITE | KV_TXN_LAZY | KV_TXN_DURABLE};
    kv_txn *txn = (kv_txn *)&fault;
    uint32_t savepoint;
    for (size_t i = 0; i < KVI_COUNT(bad); i++) {
        txn = (kv_txn *)&fault;
        assert_int_equal(kv_txn_begin(db, bad[i], &txn), KV_EINVAL);
        assert_null(txn);
    }
    assert_int_equal(kv_txn_begin(db, 0, NULL), KV_EINVAL);
    assert_int_equal(kv_txn_begin(NULL, 0, &txn), KV_EINVAL);
    assert_int_equal(kv_txn_begin_wait(NULL, 0, 0, &txn), KV_EINVAL);
    assert_int_equal(kv_txn_commit(NULL), KV_EINVAL);
    kv_txn_abort(NULL);
    assert_int_equal(kv_txn_refresh(NULL), KV_EINVAL);
    assert_int_equal(kv_txn_id(NULL), 0);
    assert_int_equal(kv_txn_now(NULL), 0);
    assert_int_equal(kv_txn_savepoint(NULL, &savepoint), KV_EINVAL);
    assert_int_equal(kv_txn_rollback_to(NULL, 1), KV_EINVAL);
    assert_int_equal(kv_txn_release(NULL, 1), KV_EINVAL);
    txn = begin(KV_TXN_READ);
    assert_int_equal(kv_txn_savepoint(txn, &savepoint), KV_EINVAL);
    kv_txn_abort(txn);
    txn = begin(KV_TXN_WRITE);
    assert_int_equal(kv_txn_savepoint(txn, NULL), KV_EINVAL);
    assert_int_equal(kv_txn_refresh(txn), KV_EINVAL);
    kv_txn_abort(txn);
}

static void test_one_writer(void **state)
{
    kv_txn *first = begin(KV_TXN_WRITE), *second = (kv_txn *)&fault;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE | KV_TXN_TRY, &second), KV_EBUSY);
    assert_null(second);
    assert_int_equal(kv_txn_begin_wait(db, KV_TXN_LAZY, 0, &second), KV_EBUSY);
    assert_int_equal(kv_txn_begin_wait(db, KV_TXN_WRITE, 2, &second), KV_EBUSY);
    kv_txn_abort(first);
    second = begin(KV_TXN_WRITE | KV_TXN_TRY);
    kv_txn_abort(second);
    assert_int_equal(kv_txn_begin_wait(db, 0, 0, &second), KV_OK);
    kv_txn_abort(second);
}

static void test_isolation(void **state)
{
    commit_text("k", "old");
    kv_txn *reader = begin(KV_TXN_READ), *writer = begin(KV_TXN_WRITE);
    put_text(kv_txn_main(writer), "k", "new");
    expect_text(kv_txn_main(writer), "k", "new");
    expect_text(kv_txn_main(reader), "k", "old");
    assert_int_equal(kv_txn_id(writer), kv_txn_id(reader) + 1);
    assert_int_equal(kv_txn_commit(writer), KV_OK);
    expect_text(kv_txn_main(reader), "k", "old");
    uint64_t id = kv_txn_id(reader);
    assert_int_equal(kv_txn_refresh(reader), KV_OK);
    assert_int_equal(kv_txn_id(reader), id + 1);
    expect_text(kv_txn_main(reader), "k", "new");
    assert_int_equal(kv_txn_commit(reader), KV_OK); /* just ends it */
}

static void test_abort(void **state)
{
    kv_tree *tree;
    commit_text("k", "old");
    kv_txn *txn = begin(KV_TXN_WRITE);
    uint64_t id = kv_txn_id(txn);
    put_text(kv_txn_main(txn), "k", "new");
    assert_int_equal(kv_tree_open(txn, "t", 1, KV_TREE_CREATE, NULL, &tree), KV_OK);
    kv_txn_abort(txn);
    txn = begin(KV_TXN_WRITE);
    assert_int_equal(kv_txn_id(txn), id); /* it was never written */
    expect_text(kv_txn_main(txn), "k", "old");
    assert_int_equal(kv_tree_open(txn, "t", 1, 0, NULL, &tree), KV_NOTFOUND);
    kv_txn_abort(txn);
}

static void test_commit_of_nothing(void **state)
{
    kv_txn *txn = begin(KV_TXN_WRITE);
    uint64_t id = kv_txn_id(txn), flushes = fault.calls[FAULT_SYNC];
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(fault.calls[FAULT_SYNC], flushes);
    txn = begin(KV_TXN_READ);
    assert_int_equal(kv_txn_id(txn), id - 1);
    kv_txn_abort(txn);
}

/* Trees stay handles across a refresh, cursors lose their place. */
static void test_refresh_handles(void **state)
{
    kv_tree *stays, *goes, *tree;
    kv_cursor *cursor;
    kv_slice key;
    kv_txn *txn = begin(KV_TXN_WRITE);
    assert_int_equal(kv_tree_open(txn, "stays", 5, KV_TREE_CREATE, NULL, &tree), KV_OK);
    put_text(tree, "a", "1");
    assert_int_equal(kv_tree_open(txn, "goes", 4, KV_TREE_CREATE, NULL, &tree), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    kv_txn *reader = begin(KV_TXN_READ);
    assert_int_equal(kv_tree_open(reader, "stays", 5, 0, NULL, &stays), KV_OK);
    assert_int_equal(kv_tree_open(reader, "goes", 4, 0, NULL, &goes), KV_OK);
    assert_int_equal(kv_cursor_open(stays, NULL, &cursor), KV_OK);
    assert_int_equal(kv_cursor_next(cursor), KV_OK);
    txn = begin(KV_TXN_WRITE);
    assert_int_equal(kv_tree_open(txn, "goes", 4, 0, NULL, &tree), KV_OK);
    assert_int_equal(kv_tree_drop(tree), KV_OK);
    assert_int_equal(kv_tree_open(txn, "stays", 5, 0, NULL, &tree), KV_OK);
    put_text(tree, "a", "2");
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    expect_text(goes, "x", NULL);
    assert_int_equal(kv_txn_refresh(reader), KV_OK);
    expect_text(stays, "a", "2");
    kv_tree_info info = {.size = sizeof info};
    assert_int_equal(kv_tree_stat(goes, &info), KV_NOTFOUND);
    assert_int_equal(kv_cursor_get(cursor, &key, NULL), KV_NOTFOUND);
    assert_int_equal(kv_cursor_next(cursor), KV_OK);
    kv_txn_abort(reader); /* closes the cursor, too */
}

/* ---- clock ---- */

static void test_clock(void **state)
{
    kv_txn *txn = begin(KV_TXN_WRITE);
    uint64_t then = kv_txn_now(txn);
    assert_int_equal(then, disk->clock_ms);
    disk->clock_ms += 5;
    assert_int_equal(kv_txn_now(txn), then); /* one reading */
    put_text(kv_txn_main(txn), "k", "v");
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    disk->clock_ms -= 1000; /* somebody set it back */
    txn = begin(KV_TXN_READ);
    assert_int_equal(kv_txn_now(txn), then);
    kv_txn_abort(txn);
    disk->clock_ms += 5000;
    txn = begin(KV_TXN_WRITE);
    assert_int_equal(kv_txn_now(txn), disk->clock_ms);
    kv_txn_abort(txn);
}

/* The clock jumps by years, to its ends, or stands still: one reading a transaction, never less than
 * that of a commit before it, and the system's own whenever that is greater. */
static void test_clock_jumps(void **state)
{
    static const uint64_t year = (uint64_t)365 * 86400 * 1000;
    uint64_t start = disk->clock_ms, kept = start;
    rng random;
    rng_seed(&random, 27);
    for (unsigned i = 0; i < 2000; i++) {
        const uint64_t places[] = {
            0,          1,        start - 10 * year, start + 10 * year, start,
            UINT64_MAX, kept - 1, kept + 1,          disk->clock_ms};
        disk->clock_ms = places[rng_below(&random, i < 1900 ? 5 : KVI_COUNT(places))];
        bool write = rng_one_in(&random, 2);
        kv_txn *txn = begin(write ? KV_TXN_WRITE : KV_TXN_READ);
        uint64_t now = kv_txn_now(txn), late = write ? 0 : disk->clock_ms % SIM_TICK_MS;
        assert_int_equal(now, KVI_MAX(kept, disk->clock_ms - late)); /* nothing expires */
        disk->clock_ms = rng_next(&random);
        assert_int_equal(kv_txn_now(txn), now);
        if (rng_one_in(&random, 3) || kv_put(kv_txn_main(txn), "k", 1, &i, sizeof i, 0) != KV_OK) {
            kv_txn_abort(txn); /* also what only read: nothing is kept */
            continue;
        }
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        kept = now;
    }
    assert_true(kept > start);
}

/* ---- savepoints ---- */

static uint32_t savepoint(kv_txn *txn)
{
    uint32_t number;
    assert_int_equal(kv_txn_savepoint(txn, &number), KV_OK);
    return number;
}

static void test_savepoint_numbers(void **state)
{
    kv_txn *txn = begin(KV_TXN_WRITE);
    assert_int_equal(kv_txn_rollback_to(txn, 0), KV_NOTFOUND);
    assert_int_equal(kv_txn_rollback_to(txn, 1), KV_NOTFOUND);
    assert_int_equal(kv_txn_release(txn, 1), KV_NOTFOUND);
    assert_int_equal(savepoint(txn), 1);
    assert_int_equal(savepoint(txn), 2);
    assert_int_equal(savepoint(txn), 3);
    assert_int_equal(kv_txn_rollback_to(txn, 2), KV_OK); /* keeps 2, forgets 3 */
    assert_int_equal(kv_txn_rollback_to(txn, 3), KV_NOTFOUND);
    assert_int_equal(kv_txn_rollback_to(txn, 2), KV_OK);
    assert_int_equal(savepoint(txn), 3);
    assert_int_equal(kv_txn_release(txn, 2), KV_OK); /* 3 lies inside */
    assert_int_equal(kv_txn_release(txn, 3), KV_NOTFOUND);
    assert_int_equal(savepoint(txn), 2);
    assert_int_equal(kv_txn_release(txn, 1), KV_OK);
    assert_int_equal(kv_txn_release(txn, 1), KV_NOTFOUND);
    kv_txn_abort(txn);
}

static void test_savepoint_content(void **state)
{
    kv_txn *txn = begin(KV_TXN_WRITE);
    kv_tree *main = kv_txn_main(txn), *tree;
    put_text(main, "k", "0");
    uint32_t one = savepoint(txn);
    put_text(main, "k", "1");
    uint32_t two = savepoint(txn);
    put_text(main, "k", "2");
    assert_int_equal(kv_tree_open(txn, "t", 1, KV_TREE_CREATE, NULL, &tree), KV_OK);
    put_text(tree, "a", "b");
    assert_int_equal(kv_txn_rollback_to(txn, two), KV_OK);
    expect_text(main, "k", "1");
    assert_int_equal(kv_put(tree, "a", 1, "b", 1, 0), KV_NOTFOUND); /* made inside: gone */
    put_text(main, "k", "3");
    assert_int_equal(kv_txn_release(txn, two), KV_OK);
    expect_text(main, "k", "3");
    assert_int_equal(kv_txn_rollback_to(txn, one), KV_OK);
    expect_text(main, "k", "0");
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = begin(KV_TXN_READ);
    expect_text(kv_txn_main(txn), "k", "0");
    assert_int_equal(kv_tree_open(txn, "t", 1, 0, NULL, &tree), KV_NOTFOUND);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* A tree that was dropped or renamed since is back, under its old handle. */
static void test_savepoint_trees(void **state)
{
    kv_tree *a, *b, *again;
    kv_txn *txn = begin(KV_TXN_WRITE);
    assert_int_equal(kv_tree_open(txn, "a", 1, KV_TREE_CREATE, NULL, &a), KV_OK);
    assert_int_equal(kv_tree_open(txn, "b", 1, KV_TREE_CREATE, NULL, &b), KV_OK);
    put_text(a, "k", "in a");
    put_text(b, "k", "in b");
    uint32_t point = savepoint(txn);
    assert_int_equal(kv_tree_drop(a), KV_OK);
    assert_int_equal(kv_tree_rename(b, "a", 1), KV_OK);
    assert_int_equal(kv_tree_open(txn, "a", 1, 0, NULL, &again), KV_OK);
    assert_ptr_equal(again, b);
    assert_int_equal(kv_txn_rollback_to(txn, point), KV_OK);
    expect_text(a, "k", "in a");
    expect_text(b, "k", "in b");
    assert_int_equal(kv_tree_open(txn, "b", 1, 0, NULL, &again), KV_OK);
    assert_ptr_equal(again, b);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

static kv_tree *open_tree(kv_txn *txn, const char *name, uint32_t flags)
{
    kv_tree *tree;
    assert_int_equal(kv_tree_open(txn, name, strlen(name), flags, NULL, &tree), KV_OK);
    return tree;
}

/* Handles that were made behind the savepoint, and renamed: each is that of its tree again. */
static void test_savepoint_renamed(void **state)
{
    kv_txn *txn = begin(KV_TXN_WRITE);
    put_text(open_tree(txn, "a", KV_TREE_CREATE), "k", "in a");
    put_text(open_tree(txn, "b", KV_TREE_CREATE), "k", "in b");
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = begin(KV_TXN_WRITE);
    uint32_t point = savepoint(txn);
    kv_tree *a = open_tree(txn, "a", 0), *b = open_tree(txn, "b", 0), *again;
    assert_int_equal(kv_tree_rename(a, "c", 1), KV_OK);
    assert_int_equal(kv_tree_rename(b, "a", 1), KV_OK);
    assert_int_equal(kv_tree_rename(a, "b", 1), KV_OK);
    put_text(a, "more", "in b by now");
    kv_tree *made = open_tree(txn, "d", KV_TREE_CREATE);
    assert_int_equal(kv_txn_rollback_to(txn, point), KV_OK);
    expect_text(a, "k", "in a");
    expect_text(b, "k", "in b");
    assert_int_equal(kv_exists(a, "more", 4), KV_NOTFOUND);
    assert_int_equal(kv_exists(made, "k", 1), KV_NOTFOUND);
    assert_int_equal(kv_tree_open(txn, "a", 1, 0, NULL, &again), KV_OK);
    assert_ptr_equal(again, a);
    put_text(a, "k", "still in a");
    assert_int_equal(kv_tree_rename(a, "c", 1), KV_OK);
    assert_int_equal(kv_txn_rollback_to(txn, point), KV_OK);
    expect_text(a, "k", "in a");
    put_text(b, "k", "still in b");
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = begin(KV_TXN_READ);
    expect_text(open_tree(txn, "a", 0), "k", "in a");
    expect_text(open_tree(txn, "b", 0), "k", "still in b");
    kv_txn_abort(txn);
}

/* A handle of one kind of tree is not that of another one which has its name by now. */
static void test_refresh_other_kind(void **state)
{
    static const uint32_t kinds[] = {0, KV_TREE_MULTI};
    const kv_range one = {.size = sizeof one,
                          .from = "a",
                          .from_len = 1,
                          .to = "a",
                          .to_len = 1,
                          .flags = KV_RANGE_TO_CLOSED};
    for (int i = 0; i < 2; i++) {
        kv_txn *txn = begin(KV_TXN_WRITE);
        open_tree(txn, "kind", KV_TREE_CREATE | kinds[i]);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        kv_txn *reader = begin(KV_TXN_READ);
        kv_tree *old = open_tree(reader, "kind", 0);
        kv_cursor *cursor;
        assert_int_equal(kv_cursor_open(old, &one, &cursor), KV_OK);
        txn = begin(KV_TXN_WRITE);
        assert_int_equal(kv_tree_drop(open_tree(txn, "kind", 0)), KV_OK);
        kv_tree *made = open_tree(txn, "kind", KV_TREE_CREATE | kinds[!i]);
        if (i == 0)
            assert_int_equal(kv_multi_put(made, "a", 1, "v", 1), KV_OK);
        else
            put_text(made, "a", "v");
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        for (int again = 0; again < 2; again++) {
            assert_int_equal(kv_txn_refresh(reader), KV_OK);
            assert_int_equal(kv_cursor_next(cursor), KV_NOTFOUND);
            assert_int_equal(kv_exists(old, "a", 1), KV_NOTFOUND);
        }
        kv_tree *fresh = open_tree(reader, "kind", 0);
        assert_ptr_not_equal(fresh, old);
        assert_int_equal(kv_txn_refresh(reader), KV_OK);
        assert_int_equal(kv_exists(old, "a", 1), KV_NOTFOUND);
        assert_ptr_equal(open_tree(reader, "kind", 0), fresh);
        uint64_t n = 0;
        assert_int_equal(kv_count(fresh, NULL, &n), KV_OK);
        assert_int_equal(n, 1);
        kv_txn_abort(reader);
        txn = begin(KV_TXN_WRITE);
        assert_int_equal(kv_tree_drop(open_tree(txn, "kind", 0)), KV_OK);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
}

/* ---- failed transactions ---- */

static void expect_bad(int rc)
{
    assert_int_equal(rc, KV_EBADTXN);
}

/* A removal that runs out of memory half way leaves a transaction that is good only for abort. */
static kv_txn *failed_transaction(kv_tree **tree, kv_cursor **cursor)
{
    char key[16];
    kv_txn *txn = begin(KV_TXN_WRITE);
    for (int i = 0; i < 5000; i++) {
        int len = snprintf(key, sizeof key, "key%05d", i);
        assert_int_equal(kv_put(kv_txn_main(txn), key, (size_t)len, key, (size_t)len, 0), KV_OK);
    }
    assert_int_equal(kv_tree_open(txn, "t", 1, KV_TREE_CREATE, NULL, tree), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = begin(KV_TXN_WRITE);
    assert_int_equal(kv_tree_open(txn, "t", 1, 0, NULL, tree), KV_OK);
    assert_int_equal(kv_cursor_open(kv_txn_main(txn), NULL, cursor), KV_OK);
    for (uint64_t n = 1; n < 100 && kv_exists(*tree, "", 0) != KV_EBADTXN; n++) {
        fault_plan(&fault, (fault_case){.at = n, .sticky = true, .mask = FAULT_MEMORY});
        assert_int_equal(kv_tree_clear(kv_txn_main(txn)), KV_ENOMEM);
    }
    fault_plan(&fault, (fault_case){.at = 0});
    return txn;
}

static int no_name(void *context, kv_slice name)
{
    return 0;
}

/* Handles made inside a savepoint stay what they are when a rollback leaves their trees there: none of
 * the older ones stands for the same tree. */
static void test_savepoint_handles(void **state)
{
    static const char *const names[] = {"three", "two", "six"};
    kv_tree *trees[3], *one, *again;
    kv_txn *txn = begin(KV_TXN_WRITE);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(
            kv_tree_open(txn, names[i], strlen(names[i]), KV_TREE_CREATE, NULL, &trees[i]), KV_OK);
        put_text(trees[i], "k", names[i]);
    }
    assert_int_equal(kv_tree_open(txn, "one", 3, KV_TREE_CREATE, NULL, &one), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = begin(KV_TXN_WRITE);
    assert_int_equal(kv_tree_open(txn, "one", 3, 0, NULL, &one), KV_OK);
    assert_int_equal(kv_tree_drop(one), KV_OK);
    assert_int_equal(kv_tree_open(txn, "two", 3, 0, NULL, &again), KV_OK);
    assert_int_equal(kv_tree_drop(again), KV_OK);
    assert_int_equal(kv_tree_open(txn, "two", 3, KV_TREE_CREATE, NULL, &again), KV_OK);
    put_text(again, "k", "other");
    uint32_t point = savepoint(txn);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(kv_tree_open(txn, names[i], strlen(names[i]), 0, NULL, &trees[i]), KV_OK);
    assert_ptr_equal(trees[1], again);
    for (size_t i = 0; i < 3; i++)
        put_text(trees[i], "k", "inside");
    assert_int_equal(kv_txn_rollback_to(txn, point), KV_OK);
    expect_text(trees[0], "k", "three");
    expect_text(trees[1], "k", "other");
    expect_text(trees[2], "k", "six");
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

static void test_failed_transaction(void **state)
{
    kv_tree *tree, *other;
    kv_cursor *cursor;
    kv_slice value;
    uint32_t number;
    void *place;
    uint64_t count;
    kv_tree_info info = {.size = sizeof info};
    kv_tree_options options = {.size = sizeof options};
    kv_txn *txn = failed_transaction(&tree, &cursor);
    kv_tree *main = kv_txn_main(txn);
    expect_bad(kv_get(main, "k", 1, &value));
    expect_bad(kv_exists(tree, "k", 1));
    expect_bad(kv_put(main, "k", 1, "v", 1, 0));
    expect_bad(kv_reserve(main, "k", 1, 1, 0, &place));
    expect_bad(kv_del(main, "k", 1));
    expect_bad(kv_del_range(main, NULL, NULL));
    expect_bad(kv_count(main, NULL, &count));
    expect_bad(kv_rank(main, "k", 1, &count));
    expect_bad(kv_tree_open(txn, "t", 1, 0, NULL, &other));
    expect_bad(kv_tree_list(txn, no_name, NULL));
    expect_bad(kv_tree_stat(tree, &info));
    expect_bad(kv_tree_configure(tree, &options));
    expect_bad(kv_tree_rename(tree, "u", 1));
    expect_bad(kv_tree_clear(tree));
    expect_bad(kv_tree_drop(tree));
    expect_bad(kv_cursor_next(cursor));
    expect_bad(kv_cursor_open(main, NULL, &cursor));
    expect_bad(kv_txn_savepoint(txn, &number));
    expect_bad(kv_txn_rollback_to(txn, 1));
    expect_bad(kv_txn_release(txn, 1));
    expect_bad(kv_txn_commit(txn)); /* and that ended it */
    txn = begin(KV_TXN_WRITE);
    assert_int_equal(kv_count(kv_txn_main(txn), NULL, &count), KV_OK);
    assert_int_equal(count, 5000);
    assert_int_equal(kv_tree_clear(kv_txn_main(txn)), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* ---- a transaction many times as large as its memory ---- */

#define MANY 3000 /* records */

static int open_small(void **state)
{
    return open_with(64 << 10);
}

/* The key and value of record i, the value being that of a round. */
typedef struct record {
    char key[9], value[101];
} record;

static record record_of(unsigned i, unsigned round)
{
    record r;
    snprintf(r.key, sizeof r.key, "%08x", i * 2654435761u);
    snprintf(r.value, sizeof r.value, "%0100u", round);
    return r;
}

static void put_round(kv_txn *txn, unsigned round)
{
    for (unsigned i = 0; i < MANY; i++) {
        record r = record_of(i, round);
        put_text(kv_txn_main(txn), r.key, r.value);
    }
}

static void expect_round(kv_txn *txn, unsigned round)
{
    for (unsigned i = 0; i < MANY; i++) {
        record r = record_of(i, round);
        expect_text(kv_txn_main(txn), r.key, r.value);
    }
}

static kv_db_info stat_now(void)
{
    kv_db_info info = {.size = sizeof info};
    assert_int_equal(kv_db_stat(db, &info), KV_OK);
    return info;
}

/* Its file is not larger for that, since it uses its own pages again; its commit has the id that it
 * had in the end, and other snapshots are not harmed. */
static void test_larger_than_memory(void **state)
{
    kv_txn *txn = begin(KV_TXN_WRITE);
    put_round(txn, 0);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    kv_txn *reader = begin(KV_TXN_READ);
    kv_db_info before = stat_now();
    txn = begin(KV_TXN_WRITE);
    uint64_t began = kv_txn_id(txn);
    for (unsigned round = 1; round <= 12; round++)
        put_round(txn, round);
    uint64_t id = kv_txn_id(txn);
    assert_true(id > began + 100); /* the changes dirty some thousand pages, for 16 at a time */
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    kv_db_info after = stat_now();
    assert_int_equal(after.commit_id, id);
    assert_true(after.pages < 3 * before.pages);
    expect_round(reader, 0);
    kv_txn_abort(reader);
    reader = begin(KV_TXN_READ);
    expect_round(reader, 12);
    kv_txn_abort(reader);
    txn = begin(KV_TXN_WRITE);
    assert_true(kv_txn_id(txn) > id);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* Places that are given out to be filled count, too. */
static void test_reserved_larger_than_memory(void **state)
{
    char key[16];
    void *place;
    kv_txn *txn = begin(KV_TXN_WRITE);
    size_t most = 0;
    for (unsigned i = 0; i < 3000; i++) {
        int len = snprintf(key, sizeof key, "%u", i * 7919 % 3000);
        assert_int_equal(kv_reserve(kv_txn_main(txn), key, (size_t)len, 500, 0, &place), KV_OK);
        memset(place, *key, 500);
        most = KVI_MAX(most, db->dirty.bytes);
    }
    assert_true(most < 64 * 4096);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = begin(KV_TXN_READ);
    for (unsigned i = 0; i < 3000; i++) {
        kv_slice value;
        int len = snprintf(key, sizeof key, "%u", i);
        assert_int_equal(kv_get(kv_txn_main(txn), key, (size_t)len, &value), KV_OK);
        assert_int_equal(value.len, 500);
        assert_int_equal(*(const char *)value.ptr, *key);
    }
    kv_txn_abort(txn);
}

/* ---- views as arguments ---- */

/* Leaves of four entries each. */
static void put_wide(kv_tree *tree, unsigned number, const char *begins)
{
    char key[8], value[900] = "";
    snprintf(key, sizeof key, "k%02u", number);
    snprintf(value, sizeof value, "%s", begins);
    assert_int_equal(kv_put(tree, key, 3, value, sizeof value, 0), KV_OK);
}

/* A bound in a page that goes away with the range. */
static void test_bound_is_a_view(void **state)
{
    for (unsigned to = 1; to < 40; to++) {
        char text[8];
        kv_slice view;
        uint64_t deleted;
        kv_txn *txn = begin(KV_TXN_WRITE);
        assert_int_equal(kv_tree_clear(kv_txn_main(txn)), KV_OK);
        for (unsigned i = 0; i < 40; i++)
            put_wide(kv_txn_main(txn), i, "old");
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        txn = begin(KV_TXN_WRITE);
        snprintf(text, sizeof text, "k%02u", to);
        put_wide(kv_txn_main(txn), 0, text);
        assert_int_equal(kv_get(kv_txn_main(txn), "k00", 3, &view), KV_OK);
        const kv_range range = {
            .size = sizeof range, .from = "k00", .from_len = 3, .to = view.ptr, .to_len = 3};
        assert_int_equal(kv_del_range(kv_txn_main(txn), &range, &deleted), KV_OK);
        assert_int_equal(deleted, to);
        assert_int_equal(kv_exists(kv_txn_main(txn), text, 3), KV_OK);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* A key in a page that is divided to make room for it. */
static void test_reserved_key_is_a_view(void **state)
{
    kv_slice view, found;
    void *place;
    kv_txn *txn = begin(KV_TXN_WRITE);
    kv_tree *tree = kv_txn_main(txn);
    put_text(tree, "a", "a9999");
    for (unsigned i = 0; i < 400; i++) {
        char key[8];
        assert_int_equal(kv_get(tree, "a", 1, &view), KV_OK);
        assert_int_equal(kv_reserve(tree, view.ptr, view.len, 90 + i % 7, 0, &place), KV_OK);
        memset(place, 'x', 90 + i % 7);
        snprintf(key, sizeof key, "a%04u", 9999 - i);
        assert_int_equal(kv_get(tree, key, 5, &found), KV_OK);
        assert_ptr_equal(found.ptr, place);
        snprintf(key, sizeof key, "a%04u", 9998 - i);
        put_text(tree, "a", key);
    }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* A key, and what becomes its value, in the large value that goes away for it. */
static void test_key_is_in_its_value(void **state)
{
    static const size_t sizes[] = {3000, 8000, 300000};
    static char text[300000] = "customer-0042: more of this and that";
    for (size_t i = 0; i < KVI_COUNT(sizes); i++) {
        kv_slice view, found;
        uint64_t n;
        kv_txn *txn = begin(KV_TXN_WRITE);
        kv_tree *tree = kv_txn_main(txn);
        assert_int_equal(kv_tree_clear(tree), KV_OK);
        assert_int_equal(kv_put(tree, text, 13, text, sizes[i], 0), KV_OK);
        assert_int_equal(kv_put(tree, "z", 1, text, sizes[i], 0), KV_OK);
        assert_int_equal(kv_get(tree, text, 13, &view), KV_OK);
        assert_int_equal(kv_put(tree, view.ptr, 13, (const char *)view.ptr + 15, 4, 0), KV_OK);
        expect_text(tree, "customer-0042", "more");
        assert_int_equal(kv_put(tree, text, 13, text, sizes[i], 0), KV_OK);
        assert_int_equal(kv_get(tree, text, 13, &view), KV_OK);
        kv_slice other = {(const char *)view.ptr + 23, 4};
        assert_int_equal(kv_swap(tree, view.ptr, 13, &other, &found), KV_OK);
        expect_text(tree, "customer-0042", "this");
        assert_int_equal(kv_put(tree, text, 13, text, sizes[i], 0), KV_OK);
        assert_int_equal(kv_get(tree, text, 13, &view), KV_OK);
        assert_int_equal(kv_append(tree, view.ptr, 13, (const char *)view.ptr + 9, 4, 0, &n),
                         KV_OK);
        assert_int_equal(kv_get(tree, text, 13, &found), KV_OK);
        assert_int_equal(found.len, sizes[i] + 4);
        assert_memory_equal((const char *)found.ptr + sizes[i], "0042", 4);
        assert_int_equal(kv_count(tree, NULL, &n), KV_OK);
        assert_int_equal(n, 2);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* ---- memory that views are in ---- */

static size_t count_loans(const kv_txn *txn)
{
    size_t n = 0;
    for (const kvi_loan *loan = txn->loans; loan; loan = loan->next)
        n++;
    return n;
}

static void test_loans_end(void **state)
{
    static char text[3000];
    const kv_tree_options compressed = {.size = sizeof compressed, .compress_from = 100};
    kv_slice value;
    kv_txn *txn = begin(KV_TXN_WRITE);
    kv_tree *tree;
    assert_int_equal(kv_tree_open(txn, "c", 1, KV_TREE_CREATE, &compressed, &tree), KV_OK);
    memset(text, 'x', sizeof text);
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(kv_append(tree, "k", 1, text, 100, 0, NULL), KV_OK);
        assert_int_equal(kv_cas(tree, "s", 1, i ? &(kv_slice){text, 1000 + i - 1} : NULL,
                                &(kv_slice){text, 1000 + i}, NULL),
                         KV_OK);
        kv_slice old, other = {text, 2000 + i};
        assert_int_equal(kv_swap(tree, "w", 1, &other, &old), KV_OK);
        assert_true(i == 0 ? old.ptr == NULL : old.len == 2000 + i - 1);
        for (size_t at = 0; at < old.len; at++)
            assert_int_equal(((const char *)old.ptr)[at], 'x');
    }
    for (unsigned i = 0; i < 100; i++) {
        char key[8];
        kv_pair popped;
        int len = snprintf(key, sizeof key, "a%03u", i);
        assert_int_equal(kv_put(tree, key, (size_t)len, text, 2500, 0), KV_OK);
        if (i % 2 == 0)
            continue;
        assert_int_equal(kv_pop_first(tree, NULL, &popped), KV_OK);
        assert_int_equal(popped.value.len, 2500);
        for (size_t at = 0; at < 2500; at++)
            assert_int_equal(((const char *)popped.value.ptr)[at], 'x');
    }
    assert_true(count_loans(txn) < 30);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = begin(KV_TXN_READ);
    assert_int_equal(kv_tree_open(txn, "c", 1, 0, NULL, &tree), KV_OK);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(kv_get(tree, "k", 1, &value), KV_OK);
        assert_int_equal(value.len, 20000);
        assert_int_equal(count_loans(txn), 1);
        assert_int_equal(kv_txn_refresh(txn), KV_OK);
        assert_int_equal(count_loans(txn), 0);
        assert_int_equal(kv_exists(tree, "k", 1), KV_OK); /* the name stays */
    }
    kv_txn_abort(txn);
}

/* What an aborted one wrote is free, and none of its ids is used again. */
static void test_larger_than_memory_aborted(void **state)
{
    kv_txn *txn = begin(KV_TXN_WRITE);
    put_round(txn, 0);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    kv_db_info before = stat_now();
    txn = begin(KV_TXN_WRITE);
    for (unsigned round = 1; round <= 3; round++)
        put_round(txn, round);
    uint64_t id = kv_txn_id(txn);
    kv_txn_abort(txn);
    assert_int_equal(stat_now().pages, before.pages);
    assert_int_equal(stat_now().free_pages, before.free_pages + before.blocked_pages);
    txn = begin(KV_TXN_WRITE);
    assert_true(kv_txn_id(txn) > id);
    expect_round(txn, 0);
    kv_txn_abort(txn);
}

/* An old value lies in a page that its own transaction wrote early, and that is written again by the
 * change that gives it back. */
static void test_larger_than_memory_old_values(void **state)
{
    static unsigned newest[MANY];
    kv_txn *txn = begin(KV_TXN_WRITE);
    kv_tree *tree = kv_txn_main(txn);
    rng r;
    rng_seed(&r, 1);
    memset(newest, 0, sizeof newest);
    for (unsigned change = 1; change <= 8 * MANY; change++) {
        unsigned i = (unsigned)rng_below(&r, MANY);
        record now = record_of(i, change), before = record_of(i, newest[i]);
        kv_slice old;
        const kv_slice desired = {now.value, 100};
        assert_int_equal(kv_swap(tree, now.key, strlen(now.key), &desired, &old), KV_OK);
        if (newest[i]) {
            assert_int_equal(old.len, 100);
            assert_memory_equal(old.ptr, before.value, 100);
        }
        newest[i] = change;
    }
    kv_txn_abort(txn);
}

#define SMALL(f) cmocka_unit_test_setup_teardown(f, open_small, close_all)
#define TEST(f)  cmocka_unit_test_setup_teardown(f, open_fresh, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_arguments),
        TEST(test_one_writer),
        TEST(test_isolation),
        TEST(test_abort),
        TEST(test_commit_of_nothing),
        TEST(test_refresh_handles),
        TEST(test_clock),
        TEST(test_clock_jumps),
        TEST(test_savepoint_numbers),
        TEST(test_savepoint_content),
        TEST(test_savepoint_trees),
        TEST(test_savepoint_handles),
        TEST(test_savepoint_renamed),
        TEST(test_refresh_other_kind),
        TEST(test_failed_transaction),
        SMALL(test_larger_than_memory),
        SMALL(test_larger_than_memory_aborted),
        SMALL(test_larger_than_memory_old_values),
        SMALL(test_reserved_larger_than_memory),
        TEST(test_bound_is_a_view),
        TEST(test_reserved_key_is_a_view),
        TEST(test_key_is_in_its_value),
        TEST(test_loans_end),
    };
    return cmocka_run_group_tests_name("api: transactions", tests, setup, teardown);
}
