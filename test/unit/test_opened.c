/* Handles of many named trees in one transaction: whatever is created, dropped, renamed and rolled back,
 * a name leads to the handle that a look through all of them finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "catalog.h"
#include "db.h"
#include "opened.h"
#include "rng.h"
#include "scratch.h"
#include <stdio.h>

#define NAMES  300
#define STEPS  3000
#define POINTS 4 /* savepoints at a time */

static scratch dir;
static kv_db *db;
static rng random_numbers;

static int setup(void **state)
{
    char path[SCRATCH_MAX];
    scratch_make(&dir);
    scratch_path_to(&dir, "a.kv", path);
    return kv_db_open(path, NULL, &db);
}

static int teardown(void **state)
{
    int rc = kv_db_close(db);
    scratch_remove(&dir);
    return rc;
}

static kvi_slice name_of(unsigned number, char text[16])
{
    int len = snprintf(text, 16, "tree %u", number);
    return kvi_slice_of(text, (size_t)len);
}

static unsigned any(void)
{
    return (unsigned)rng_below(&random_numbers, NAMES);
}

static kv_txn *begin(uint32_t flags)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, flags, &txn), KV_OK);
    return txn;
}

static int open_tree(kv_txn *txn, unsigned number, uint32_t flags, kv_tree **tree)
{
    char text[16];
    kvi_slice name = name_of(number, text);
    return kv_tree_open(txn, name.ptr, name.len, flags, NULL, tree);
}

static kv_tree *looked_for(const kv_txn *txn, kvi_slice name)
{
    kv_tree *tree = txn->trees;
    while (tree &&
           (tree->gone || kvi_slice_compare(kvi_slice_of(tree->name, tree->name_len), name)))
        tree = tree->next;
    return tree;
}

/* A look into a bucket meets few handles, and those that are gone in none. */
static void buckets_short(const kv_txn *txn)
{
    size_t n = 0;
    for (const kv_tree *tree = txn->trees; tree; tree = tree->next)
        n += !tree->gone;
    for (size_t i = 0; i < txn->n_buckets; i++) {
        unsigned length = 0;
        for (const kv_tree *tree = txn->buckets[i]; tree; tree = tree->beside, length++, n--)
            assert_false(tree->gone);
        assert_in_range(length, 0, 12);
    }
    assert_int_equal(n, 0);
}

static void all_found(const kv_txn *txn)
{
    char text[16];
    size_t n = 0;
    for (unsigned i = 0; i < NAMES; i++) {
        kvi_slice name = name_of(i, text);
        assert_ptr_equal(kvi_opened_find(txn, name), looked_for(txn, name));
        n += looked_for(txn, name) != NULL;
    }
    for (const kv_tree *tree = txn->trees; tree; tree = tree->next)
        n -= !tree->gone;
    assert_int_equal(n, 0);
    if (txn->n_buckets)
        buckets_short(txn);
}

static void step(kv_txn *txn, uint32_t points[POINTS], unsigned *n_points, bool renames)
{
    char text[16];
    kv_tree *tree;
    uint64_t what = rng_below(&random_numbers, 100);
    if (what < 60) {
        assert_int_equal(open_tree(txn, any(), KV_TREE_CREATE, &tree), KV_OK);
        assert_int_equal(kv_put(tree, "k", 1, &what, sizeof what, 0), KV_OK);
    } else if (what < 85) {
        if (open_tree(txn, any(), 0, &tree) == KV_OK)
            assert_int_equal(kv_tree_drop(tree), KV_OK);
    } else if (what < 90) {
        kvi_slice name = name_of(any(), text);
        if (renames && open_tree(txn, any(), 0, &tree) == KV_OK)
            assert_in_range(kv_tree_rename(tree, name.ptr, name.len), KV_OK, KV_EXISTS);
    } else if (what < 95 && *n_points < POINTS) {
        assert_int_equal(kv_txn_savepoint(txn, &points[(*n_points)++]), KV_OK);
    } else if (*n_points > 0) {
        *n_points = (unsigned)rng_below(&random_numbers, *n_points);
        assert_int_equal(kv_txn_rollback_to(txn, points[*n_points]), KV_OK);
        assert_int_equal(kv_txn_release(txn, points[*n_points]), KV_OK);
    }
}

static void change_many(bool renames)
{
    uint32_t points[POINTS];
    unsigned n_points = 0;
    kv_txn *txn = begin(KV_TXN_WRITE);
    for (unsigned i = 0; i < STEPS; i++) {
        step(txn, points, &n_points, renames);
        if (i % 50 == 0)
            all_found(txn);
    }
    all_found(txn);
    assert_true(txn->n_buckets >= NAMES / 2);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

static void test_changed(void **state)
{
    rng_seed(&random_numbers, 5);
    change_many(false);
    change_many(false);
}

static void test_renamed(void **state)
{
    rng_seed(&random_numbers, 6);
    change_many(true);
}

/* The oldest handle of each tree and kind is the one that counts behind a refresh. */
static void oldest_found(kv_txn *txn)
{
    char text[16];
    for (unsigned i = 0; i < NAMES; i++) {
        kvi_slice name = name_of(i, text);
        const kv_tree *oldest = NULL;
        kvi_tree_desc desc;
        if (kvi_catalog_find(txn, name, &desc) != KV_OK)
            continue;
        for (const kv_tree *tree = txn->trees; tree; tree = tree->next)
            if (kvi_slice_compare(tree->opened, name) == 0 &&
                kvi_tree_multi(tree) == ((desc.flags & KVI_TREE_MULTI) != 0))
                oldest = tree;
        assert_ptr_equal(kvi_opened_find(txn, name), oldest);
    }
}

/* A reader has all; meanwhile they go, come again, or become trees of the other kind. */
static void test_refreshed(void **state)
{
    kv_tree *tree;
    rng_seed(&random_numbers, 7);
    kv_txn *reader = begin(KV_TXN_READ);
    for (unsigned round = 0; round < 20; round++) {
        kv_txn *txn = begin(KV_TXN_WRITE);
        for (unsigned i = 0; i < NAMES; i++) {
            bool multi = rng_one_in(&random_numbers, 4);
            if (rng_one_in(&random_numbers, 2) && open_tree(txn, i, 0, &tree) == KV_OK)
                assert_int_equal(kv_tree_drop(tree), KV_OK);
            else if (rng_one_in(&random_numbers, 2))
                (void)open_tree(txn, i, KV_TREE_CREATE | (multi ? KV_TREE_MULTI : 0), &tree);
        }
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        assert_int_equal(kv_txn_refresh(reader), KV_OK);
        all_found(reader);
        oldest_found(reader);
        for (unsigned i = 0; i < NAMES; i++)
            (void)open_tree(reader, i, 0, &tree);
        all_found(reader);
    }
    assert_true(reader->n_trees > NAMES); /* some have two */
    kv_txn_abort(reader);
    reader = begin(KV_TXN_READ);
    assert_null(reader->buckets);
    kv_txn_abort(reader);
}

/* All are dropped and made again, which is then undone: each has two handles, one of which counts. */
static void test_undone(void **state)
{
    kv_tree *tree;
    uint32_t point;
    kv_txn *txn = begin(KV_TXN_WRITE);
    for (unsigned i = 0; i < NAMES; i++)
        assert_int_equal(open_tree(txn, i, KV_TREE_CREATE, &tree), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = begin(KV_TXN_WRITE);
    assert_int_equal(kv_txn_savepoint(txn, &point), KV_OK);
    for (unsigned i = 0; i < NAMES; i++) {
        assert_int_equal(open_tree(txn, i, 0, &tree), KV_OK);
        assert_int_equal(kv_tree_drop(tree), KV_OK);
        assert_int_equal(open_tree(txn, i, KV_TREE_CREATE, &tree), KV_OK);
    }
    assert_int_equal(kv_txn_rollback_to(txn, point), KV_OK);
    assert_int_equal(txn->n_trees, 2 * NAMES);
    all_found(txn);
    oldest_found(txn);
    kv_txn_abort(txn);
}

/* One tree is dropped and made again all the time, and the others are renamed. */
static void test_often(void **state)
{
    char text[16];
    kv_tree *tree;
    uint32_t point;
    kv_txn *txn = begin(KV_TXN_WRITE);
    assert_int_equal(open_tree(txn, 0, KV_TREE_CREATE, &tree), KV_OK);
    assert_int_equal(kv_txn_savepoint(txn, &point), KV_OK);
    for (unsigned i = 1; i < NAMES; i++) {
        kvi_slice name = name_of(NAMES + i, text);
        assert_int_equal(open_tree(txn, 0, 0, &tree), KV_OK);
        assert_int_equal(kv_tree_drop(tree), KV_OK);
        assert_int_equal(open_tree(txn, 0, KV_TREE_CREATE, &tree), KV_OK);
        assert_int_equal(open_tree(txn, i, KV_TREE_CREATE, &tree), KV_OK);
        assert_int_equal(kv_tree_rename(tree, name.ptr, name.len), KV_OK);
        assert_ptr_equal(kvi_opened_find(txn, name), tree);
    }
    buckets_short(txn);
    assert_int_equal(kv_txn_rollback_to(txn, point), KV_OK);
    all_found(txn);
    assert_int_equal(open_tree(txn, 0, 0, &tree), KV_OK);
    assert_int_equal(open_tree(txn, 1, 0, &tree), KV_NOTFOUND);
    kv_txn_abort(txn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_changed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_renamed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refreshed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_undone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_often, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
