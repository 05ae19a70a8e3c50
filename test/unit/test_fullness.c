/* How full leaves and the file become, by the order in which keys arrive. */
#include "kv.h"
#include "scratch.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

enum { RECORDS = 50000, MANY = 400000, VALUE = 100, PAGE = 4096 };

/* Records of so many runs in turn, each ascending, so many in a commit. */
static kv_db_info load(scratch *dir, unsigned records, unsigned runs, unsigned per_commit)
{
    static const uint8_t value[VALUE];
    const kv_options options = {.size = sizeof options,
                                .flags = KV_OPEN_CREATE | KV_OPEN_NO_CLOSE_SYNC,
                                .page_size = PAGE,
                                .durability = KV_LAZY};
    const char *path = scratch_path(dir, "fullness.kv");
    kv_db_info info = {.size = sizeof info};
    kv_txn *txn = NULL;
    kv_db *db;
    remove(path);
    assert_int_equal(kv_db_open(path, &options, &db), KV_OK);
    for (unsigned i = 0; i < records; i++) {
        char key[32];
        int len = snprintf(key, sizeof key, "run%05u:%08u", i % runs * 7919 % 10007, i);
        if (!txn)
            assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
        assert_int_equal(kv_put(kv_txn_main(txn), key, (size_t)len, value, VALUE, 0), KV_OK);
        if (i % per_commit == per_commit - 1 || i == records - 1) {
            assert_int_equal(kv_txn_commit(txn), KV_OK);
            txn = NULL;
        }
    }
    assert_int_equal(kv_db_stat(db, &info), KV_OK);
    assert_int_equal(info.entries, records);
    assert_int_equal(kv_db_close(db), KV_OK);
    return info;
}

static uint64_t leaves_of(scratch *dir, unsigned runs, unsigned per_commit)
{
    return load(dir, RECORDS, runs, per_commit).leaf_pages;
}

/* Each run ends in the middle of the tree, and is known there by its leaf. Between two runs a leaf
 * that is not full may stay. */
static void runs_in_turn_fill_leaves_too(void **state)
{
    static const unsigned per_commit[] = {RECORDS, 1000, 1};
    for (unsigned i = 0; i < 3; i++) {
        uint64_t one = leaves_of(*state, 1, per_commit[i]);
        assert_true(one * PAGE < (uint64_t)RECORDS * (VALUE + 16)); /* they share their prefix */
        for (unsigned runs = 2; runs <= 64; runs *= 4)
            assert_true(leaves_of(*state, runs, per_commit[i]) <= one * 101 / 100 + runs);
    }
}

static uint64_t leaves_in(kv_db *db, unsigned entries)
{
    kv_db_info info = {.size = sizeof info};
    assert_int_equal(kv_db_stat(db, &info), KV_OK);
    assert_int_equal(info.entries, entries);
    return info.leaf_pages;
}

/* One entry behind each of so many, which are there. */
static void put_between(kv_db *db, unsigned *entries, unsigned step)
{
    static const uint8_t value[VALUE];
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    for (unsigned i = 0; i < RECORDS; i += step, ++*entries) {
        char key[32];
        int len = snprintf(key, sizeof key, "%08u+", i);
        assert_int_equal(kv_put(kv_txn_main(txn), key, (size_t)len, value, VALUE, 0), KV_OK);
    }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* Records in order, of one length (a finger puts them) or of several. */
static kv_db *load_filled(const char *path, uint32_t fill, unsigned lengths)
{
    static const uint8_t value[VALUE + 10];
    const kv_options options = {
        .size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = PAGE, .fill = fill};
    kv_txn *txn;
    kv_db *db;
    remove(path);
    assert_int_equal(kv_db_open(path, &options, &db), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    for (unsigned i = 0; i < RECORDS; i++) {
        char key[32];
        int len = snprintf(key, sizeof key, "%08u", i);
        assert_int_equal(kv_put(kv_txn_main(txn), key, (size_t)len, value, VALUE + i % lengths, 0),
                         KV_OK);
    }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
    return db;
}

/* kv_options.fill: leaves are as full as asked for, to an entry, and take later ones without a split. */
static void runs_leave_what_is_asked_for(void **state)
{
    char path[512], copy[512];
    snprintf(path, sizeof path, "%s", scratch_path(*state, "filled.kv"));
    snprintf(copy, sizeof copy, "%s", scratch_path(*state, "filled-copy.kv"));
    for (unsigned lengths = 1; lengths <= 10; lengths += 9) {
        unsigned entries = RECORDS;
        kv_db *db = load_filled(path, 0, lengths);
        uint64_t full = leaves_in(db, entries);
        put_between(db, &entries, 50);
        assert_true(leaves_in(db, entries) > full * 11 / 10);
        assert_int_equal(kv_db_close(db), KV_OK);
        for (uint32_t fill = 50; fill <= 80; fill += 15) {
            entries = RECORDS;
            db = load_filled(path, fill, lengths);
            uint64_t leaves = leaves_in(db, entries), asked = full * 100 / fill;
            assert_in_range(leaves, asked * 94 / 100, asked);
            remove(copy);
            assert_int_equal(kv_db_copy(db, copy, KV_COPY_COMPACT), KV_OK);
            put_between(db, &entries, 50);
            assert_int_equal(leaves_in(db, entries), leaves);
            assert_int_equal(kv_db_close(db), KV_OK);
            assert_int_equal(kv_db_open(copy, NULL, &db), KV_OK);
            entries = RECORDS;
            assert_int_equal(leaves_in(db, entries), leaves);
            assert_int_equal(kv_db_close(db), KV_OK);
        }
    }
}

static void fill_out_of_range_is_refused(void **state)
{
    static const uint32_t wrong[] = {1, 49, 101, UINT32_MAX};
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
    const char *path = scratch_path(*state, "wrong.kv");
    kv_db *db;
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        options.fill = wrong[i];
        assert_int_equal(kv_db_open(path, &options, &db), KV_EINVAL);
    }
    options.fill = 100;
    assert_int_equal(kv_db_open(path, &options, &db), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* What a long run writes early is complete: none of it is written again by another name. */
static void run_is_written_once(void **state)
{
    kv_db_info info = load(*state, MANY, 1, MANY);
    assert_int_equal(info.commit_id, 2);
    assert_true(info.free_pages * 100 < info.pages);
}

/* The same of runs in several trees. */
static void runs_in_trees_are_written_once(void **state)
{
    static const uint8_t value[VALUE];
    kv_tree *trees[5];
    kv_db_info info = {.size = sizeof info};
    kv_txn *txn;
    kv_db *db;
    const char *path = scratch_path(*state, "trees.kv");
    assert_int_equal(kv_db_open(path, NULL, &db), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    for (unsigned t = 0; t < 5; t++)
        assert_int_equal(kv_tree_open(txn, &"abcde"[t], 1, KV_TREE_CREATE, NULL, &trees[t]), KV_OK);
    for (unsigned i = 0; i < MANY; i++) {
        char key[32];
        int len = snprintf(key, sizeof key, "%012u", i);
        assert_int_equal(kv_put(trees[i % 5], key, (size_t)len, value, VALUE, 0), KV_OK);
    }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_stat(db, &info), KV_OK);
    assert_int_equal(info.entries, MANY);
    assert_int_equal(info.commit_id, 2);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* In random order, by a transaction of many times its budget: it uses again what it wrote itself. */
static void large_transaction_leaves_no_holes(void **state)
{
    static const uint8_t value[VALUE];
    const kv_options options = {.size = sizeof options,
                                .flags = KV_OPEN_CREATE,
                                .page_size = PAGE,
                                .memory_budget = 2 << 20};
    kv_db_info info = {.size = sizeof info};
    kv_txn *txn;
    kv_db *db;
    assert_int_equal(kv_db_open(scratch_path(*state, "random.kv"), &options, &db), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    for (uint32_t i = 0; i < RECORDS * 2; i++) {
        uint32_t key[] = {i * 2654435761u, i};
        assert_int_equal(kv_put(kv_txn_main(txn), key, sizeof key, value, VALUE, 0), KV_OK);
    }
    uint64_t id = kv_txn_id(txn);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_stat(db, &info), KV_OK);
    assert_int_equal(info.commit_id, id);
    assert_true(info.free_pages * 50 < info.pages);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_in_turn_fill_leaves_too),
        cmocka_unit_test(runs_leave_what_is_asked_for),
        cmocka_unit_test(fill_out_of_range_is_refused),
        cmocka_unit_test(run_is_written_once),
        cmocka_unit_test(runs_in_trees_are_written_once),
        cmocka_unit_test(large_transaction_leaves_no_holes),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
