/* Small transactions in which each allocation fails in turn: KV_ENOMEM, and the database is as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "fault_os.h"
#include "must.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define PATH   "db"
#define LARGE  40000
#define VALUES 26

static sim_disk *disk;
static fault_os fault;
static kv_db *db;
static uint64_t budget; /* of memory; large values are written at once */

static int setup(void **state)
{
    disk = sim_new(1);
    disk->recording = SIM_RECORD_NOTHING;
    fault_init(&fault, sim_os(disk));
    return 0;
}

static int teardown(void **state)
{
    sim_free(disk);
    return 0;
}

static void open_db(void)
{
    kv_options options = {.size = sizeof options,
                          .flags = KV_OPEN_CREATE | KV_OPEN_EXCLUSIVE,
                          .memory_budget = budget};
    assert_int_equal(kvi_db_open(&fault.os, PATH, &options, &db, NULL, 0), KV_OK);
}

static uint64_t entries(void)
{
    kv_txn *txn = must_begin(db, KV_TXN_READ);
    uint64_t n = kv_txn_main(txn)->desc.entries;
    kv_txn_abort(txn);
    return n;
}

/* ---- trees ---- */

static size_t key_of(unsigned i, char key[16])
{
    return (size_t)snprintf(key, 16, "key%07u", i);
}

/* What a tree consists of: entries of one length, and about how many fit a leaf. */
static struct {
    unsigned entries;
    size_t len;
    unsigned leaf;
} wide;

static int put_some(kv_tree *tree, unsigned from, unsigned to, uint64_t ttl_ms)
{
    static const uint8_t value[1000];
    char key[16];
    kv_put_options options = {.size = sizeof options, .ttl_ms = ttl_ms};
    int rc = KV_OK;
    for (unsigned i = from; rc == KV_OK && i < to; i++)
        rc = kv_put_with(tree, key, key_of(i, key), value, wide.len, &options);
    return rc;
}

/* Values that begin with this letter, each written at once where there is a hole for it. */
static int put_large(kv_tree *tree, char letter)
{
    static const uint8_t value[LARGE];
    int rc = KV_OK;
    for (char i = 'a'; rc == KV_OK && i < 'a' + VALUES; i++)
        rc = kv_put(tree, (char[]){letter, i}, 2, value, LARGE, 0);
    return rc;
}

static int del_large(kv_tree *tree, char letter, int step)
{
    int rc = KV_OK;
    for (char i = 'a'; rc == KV_OK && i < 'a' + VALUES; i = (char)(i + step))
        rc = kv_del(tree, (char[]){letter, i}, 2);
    return rc;
}

/* Between values there are holes for others. */
static void make_holes(void)
{
    for (unsigned step = 0; step < 4; step++) {
        kv_txn *txn = must_begin(db, KV_TXN_WRITE);
        kv_tree *tree = kv_txn_main(txn);
        int rc = step == 0 ? put_large(tree, 'm') : step == 1 ? del_large(tree, 'm', 2) : KV_OK;
        assert_int_equal(rc, KV_OK);
        assert_int_equal(kv_put(tree, "key", 3, &step, 1, 0), KV_OK);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
}

static void make_nothing(void)
{
}

static void make_wide(void)
{
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(put_some(kv_txn_main(txn), 0, wide.entries, 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* ---- what a transaction does ---- */

static unsigned before; /* leaves that are private before it */

static int touch_some(kv_tree *tree)
{
    int rc = KV_OK;
    for (unsigned i = 1; rc == KV_OK && i <= before; i++) {
        unsigned at = wide.entries - i * wide.leaf;
        rc = put_some(tree, at, at + 1, 0);
    }
    return rc;
}

/* The savepoint is still there when the transaction commits. */
static int roll_back(kv_txn *txn)
{
    uint32_t point;
    int rc = kv_txn_savepoint(txn, &point);
    if (rc == KV_OK)
        rc = put_large(kv_txn_main(txn), 'n');
    if (rc == KV_OK)
        rc = kv_txn_rollback_to(txn, point);
    return rc == KV_OK ? kv_put(kv_txn_main(txn), "key", 3, "v", 1, 0) : rc;
}

static int clear_early_pages(kv_txn *txn)
{
    uint32_t point;
    int rc = kv_txn_savepoint(txn, &point);
    if (rc == KV_OK)
        rc = put_some(kv_txn_main(txn), 0, 3000, 0);
    return rc == KV_OK ? kv_tree_clear(kv_txn_main(txn)) : rc;
}

static int del_early_values(kv_txn *txn)
{
    uint32_t point;
    int rc = kv_txn_savepoint(txn, &point);
    if (rc == KV_OK)
        rc = put_large(kv_txn_main(txn), 'n');
    return rc == KV_OK ? del_large(kv_txn_main(txn), 'n', 1) : rc;
}

static int del_one(kv_tree *tree, unsigned i)
{
    char key[16];
    return kv_del(tree, key, key_of(i, key));
}

/* One entry of some leaves, then all of one: beside full ones it goes with its last entry, and its range
 * falls to a neighbour. */
static int del_leaf(kv_txn *txn)
{
    kv_tree *tree = kv_txn_main(txn);
    int rc = KV_OK;
    for (unsigned i = 1; rc == KV_OK && i <= before; i++)
        rc = del_one(tree, wide.entries - i * wide.leaf);
    for (unsigned i = 8; rc == KV_OK && i < 12; i++)
        rc = del_one(tree, i);
    return rc;
}

/* Whole leaves, and parts of both beside them: the range between falls to the left one. */
static int del_leaves(kv_txn *txn)
{
    char from[16], to[16];
    kv_range range = {.size = sizeof range, .from = from, .to = to};
    kv_tree *tree = kv_txn_main(txn);
    int rc = KV_OK;
    for (unsigned i = 1; rc == KV_OK && i <= before; i++)
        rc = del_one(tree, wide.entries - i * wide.leaf);
    range.from_len = key_of(9, from);
    range.to_len = key_of(31, to);
    return rc == KV_OK ? kv_del_range(tree, &range, NULL) : rc;
}

static int put_expiring(kv_txn *txn)
{
    int rc = touch_some(kv_txn_main(txn));
    return rc == KV_OK ? put_some(kv_txn_main(txn), 0, 1, 1000) : rc;
}

/* More than are found by looking through all. */
static int open_trees(kv_txn *txn)
{
    int rc = KV_OK;
    for (unsigned i = 0; rc == KV_OK && i < 70; i++) {
        char name[16];
        kv_tree *tree;
        rc = kv_tree_open(txn, name, key_of(i, name), KV_TREE_CREATE, NULL, &tree);
    }
    return rc;
}

/* One run: true when nothing failed. */
static bool run_once(int (*work)(kv_txn *txn), uint64_t at)
{
    uint64_t n = entries();
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    fault_plan(&fault, (fault_case){.at = at, .mask = FAULT_MEMORY, .error = ENOMEM});
    int rc = work(txn);
    if (rc == KV_OK)
        rc = kv_txn_commit(txn);
    else
        kv_txn_abort(txn);
    bool hit = fault_hit(&fault);
    fault_plan(&fault, (fault_case){0});
    assert_true(rc == KV_OK || (hit && rc == KV_ENOMEM));
    if (rc != KV_OK)
        assert_int_equal(entries(), n);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
    return !hit;
}

typedef struct image {
    uint8_t *bytes;
    size_t len;
} image;

static image image_of(void (*make)(void))
{
    sim_reset(disk);
    open_db();
    make();
    assert_int_equal(kv_db_close(db), KV_OK);
    kvi_slice file = sim_get_file(disk, PATH);
    image made = {malloc(file.len), file.len};
    assert_non_null(made.bytes);
    memcpy(made.bytes, file.ptr, file.len);
    return made;
}

static void fail_each(const image *on, int (*work)(kv_txn *txn))
{
    bool done = false;
    for (uint64_t at = 1; !done; at++) {
        sim_reset(disk);
        sim_put_file(disk, PATH, on->bytes, on->len);
        open_db();
        done = run_once(work, at);
        assert_int_equal(kv_db_close(db), KV_OK);
        assert_true(fault_balanced(&fault));
    }
}

static void test_pages_written_early(void **state)
{
    budget = LARGE + LARGE / 2;
    image holes = image_of(make_holes);
    fail_each(&holes, roll_back);
    fail_each(&holes, del_early_values);
    free(holes.bytes);
    budget = 1; /* all pages are */
    wide.len = 25;
    image nothing = image_of(make_nothing);
    fail_each(&nothing, clear_early_pages);
    free(nothing.bytes);
}

/* However many are private already: the memory for more is asked for many pages at once. */
static void test_pages_made_private(void **state)
{
    budget = 0;
    wide.entries = 400, wide.len = 900, wide.leaf = 4;
    image few = image_of(make_wide);
    for (before = 48; before < 64; before++)
        fail_each(&few, del_leaf);
    for (before = 48; before < 64; before++)
        fail_each(&few, del_leaves);
    free(few.bytes);
    wide.entries = 22000, wide.len = 25, wide.leaf = 150; /* no room for expiries above */
    image many = image_of(make_wide);
    for (before = 52; before < 60; before++)
        fail_each(&many, put_expiring);
    free(many.bytes);
}

static void test_many_trees(void **state)
{
    budget = 0;
    image nothing = image_of(make_nothing);
    fail_each(&nothing, open_trees);
    free(nothing.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_written_early),
        cmocka_unit_test(test_pages_made_private),
        cmocka_unit_test(test_many_trees),
    };
    return cmocka_run_group_tests_name("no memory", tests, setup, teardown);
}
