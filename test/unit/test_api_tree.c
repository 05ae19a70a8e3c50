/* The public functions on trees and single keys: arguments, conditions, limits, views. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "rng.h"
#include "sim_os.h"
#include "value.h"
#include <stdio.h>
#include <stdlib.h>

#define KEY_MAX  960 /* of 4 KiB pages */
#define MANY_MIB ((size_t)24 << 20)

static sim_disk *disk;
static kv_db *db;
static kv_txn *txn;
static kv_tree *tree;  /* the main tree */
static uint8_t *bytes; /* MANY_MIB random ones */

static int setup(void **state)
{
    rng random;
    disk = sim_new(1);
    disk->recording = SIM_RECORD_NOTHING;
    bytes = malloc(MANY_MIB);
    rng_seed(&random, 9);
    rng_fill(&random, bytes, MANY_MIB);
    return 0;
}

static int teardown(void **state)
{
    sim_free(disk);
    free(bytes);
    return 0;
}

static int open_budget(uint64_t budget)
{
    kv_options options = {.size = sizeof options,
                          .flags = KV_OPEN_CREATE,
                          .page_size = 4096,
                          .memory_budget = budget};
    sim_reset(disk);
    int rc = kvi_db_open(sim_os(disk), "db", &options, &db, NULL, 0);
    if (rc == KV_OK)
        rc = kv_txn_begin(db, KV_TXN_WRITE, &txn);
    tree = rc == KV_OK ? kv_txn_main(txn) : NULL;
    return rc;
}

static int open_fresh(void **state)
{
    return open_budget(0);
}

static int close_all(void **state)
{
    kv_txn_abort(txn);
    return kv_db_check(db, NULL) == KV_OK ? kv_db_close(db) : -1;
}

/* Goes on in the next transaction of the kind. */
static void next(uint32_t flags)
{
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_txn_begin(db, flags, &txn), KV_OK);
    tree = kv_txn_main(txn);
}

static int put(const char *key, const char *value, uint32_t flags)
{
    return kv_put(tree, key, strlen(key), value, strlen(value), flags);
}

static void expect_bytes(const char *key, const void *value, size_t len)
{
    kv_slice found;
    assert_int_equal(kv_get(tree, key, strlen(key), &found), KV_OK);
    assert_int_equal(found.len, len);
    assert_true(len == 0 || memcmp(found.ptr, value, len) == 0);
}

static void expect(const char *key, const char *value)
{
    expect_bytes(key, value, strlen(value));
}

/* ---- single keys ---- */

static void test_arguments(void **state)
{
    kv_slice value;
    void *place = &value;
    assert_int_equal(kv_get(NULL, "k", 1, &value), KV_EINVAL);
    assert_int_equal(kv_get(tree, NULL, 1, &value), KV_EINVAL);
    assert_int_equal(kv_exists(NULL, "k", 1), KV_EINVAL);
    assert_int_equal(kv_exists(tree, NULL, 1), KV_EINVAL);
    assert_int_equal(kv_put(NULL, "k", 1, "v", 1, 0), KV_EINVAL);
    assert_int_equal(kv_put(tree, NULL, 1, "v", 1, 0), KV_EINVAL);
    assert_int_equal(kv_put(tree, "k", 1, NULL, 1, 0), KV_EINVAL);
    assert_int_equal(kv_put(tree, "k", 1, "v", 1, 4), KV_EINVAL);
    assert_int_equal(kv_put(tree, "k", 1, "v", 1, KV_PUT_ABSENT | KV_PUT_PRESENT), KV_EINVAL);
    assert_int_equal(kv_reserve(tree, "k", 1, 1, 0, NULL), KV_EINVAL);
    assert_int_equal(kv_reserve(NULL, "k", 1, 1, 0, &place), KV_EINVAL);
    assert_null(place);
    assert_int_equal(kv_reserve(tree, NULL, 1, 1, 0, &place), KV_EINVAL);
    assert_int_equal(kv_reserve(tree, "k", 1, 1, 8, &place), KV_EINVAL);
    assert_int_equal(kv_del(NULL, "k", 1), KV_EINVAL);
    assert_int_equal(kv_del(tree, NULL, 1), KV_EINVAL);
    assert_int_equal(kv_exists(tree, "k", 1), KV_NOTFOUND); /* nothing was done */
}

static void test_conditions(void **state)
{
    void *place = &place;
    assert_int_equal(put("k", "v", KV_PUT_PRESENT), KV_NOTFOUND);
    assert_int_equal(kv_exists(tree, "k", 1), KV_NOTFOUND);
    assert_int_equal(put("k", "1", KV_PUT_ABSENT), KV_OK);
    assert_int_equal(put("k", "2", KV_PUT_ABSENT), KV_EXISTS);
    expect("k", "1");
    assert_int_equal(put("k", "3", KV_PUT_PRESENT), KV_OK);
    expect("k", "3");
    assert_int_equal(kv_reserve(tree, "k", 1, 5, KV_PUT_ABSENT, &place), KV_EXISTS);
    assert_null(place);
    assert_int_equal(kv_reserve(tree, "l", 1, 5, KV_PUT_PRESENT, &place), KV_NOTFOUND);
    assert_int_equal(kv_del(tree, "k", 1), KV_OK);
    assert_int_equal(kv_del(tree, "k", 1), KV_NOTFOUND);
    assert_int_equal(kv_get(tree, "k", 1, NULL), KV_NOTFOUND);
}

static void test_readonly(void **state)
{
    kv_tree *named;
    void *place;
    kv_tree_options options = {.size = sizeof options};
    assert_int_equal(kv_tree_open(txn, "t", 1, KV_TREE_CREATE, NULL, &named), KV_OK);
    assert_int_equal(put("k", "v", 0), KV_OK);
    next(KV_TXN_READ);
    assert_int_equal(kv_tree_open(txn, "t", 1, KV_TREE_CREATE, NULL, &named), KV_OK);
    assert_int_equal(put("k", "w", 0), KV_EREADONLY);
    assert_int_equal(kv_reserve(tree, "k", 1, 1, 0, &place), KV_EREADONLY);
    assert_int_equal(kv_del(tree, "k", 1), KV_EREADONLY);
    assert_int_equal(kv_del_range(tree, NULL, NULL), KV_EREADONLY);
    assert_int_equal(kv_tree_clear(named), KV_EREADONLY);
    assert_int_equal(kv_tree_drop(named), KV_EREADONLY);
    assert_int_equal(kv_tree_rename(named, "u", 1), KV_EREADONLY);
    assert_int_equal(kv_tree_configure(named, &options), KV_EREADONLY);
    assert_int_equal(kv_tree_open(txn, "u", 1, KV_TREE_CREATE, NULL, &named), KV_EREADONLY);
    assert_null(named);
    expect("k", "v"); /* none of that spoilt it */
}

/* ---- limits ---- */

static void test_key_limits(void **state)
{
    kv_slice value;
    char key[KEY_MAX + 1];
    memset(key, 'k', sizeof key);
    assert_int_equal(kv_put(tree, key, KEY_MAX + 1, "v", 1, 0), KV_ETOOBIG);
    assert_int_equal(kv_put(tree, key, KEY_MAX, "v", 1, 0), KV_OK);
    assert_int_equal(kv_put(tree, NULL, 0, "empty", 5, 0), KV_OK);
    assert_int_equal(kv_put(tree, "\0\0", 2, "zeros", 5, 0), KV_OK);
    next(KV_TXN_WRITE);
    assert_int_equal(kv_get(tree, key, KEY_MAX, &value), KV_OK);
    assert_int_equal(kv_get(tree, key, KEY_MAX + 1, &value), KV_NOTFOUND);
    assert_int_equal(kv_get(tree, key, KEY_MAX - 1, &value), KV_NOTFOUND);
    expect("", "empty");
    assert_int_equal(kv_get(tree, "\0\0", 2, &value), KV_OK);
    assert_int_equal(kv_get(tree, "\0", 1, &value), KV_NOTFOUND);
    assert_int_equal(kv_del(tree, key, KEY_MAX + 1), KV_ETOOBIG);
    assert_int_equal(kv_del(tree, NULL, 0), KV_OK);
}

/* Lengths that no machine has: refused before anything happens. */
static void test_huge_lengths(void **state)
{
    void *place;
    assert_int_equal(kv_put(tree, "k", 1, "v", (size_t)KV_VALUE_MAX + 1, 0), KV_ETOOBIG);
    assert_int_equal(kv_put(tree, "k", 1, "v", SIZE_MAX, 0), KV_ETOOBIG);
    assert_int_equal(kv_put(tree, "k", SIZE_MAX, "v", 1, 0), KV_ETOOBIG);
    assert_int_equal(kv_reserve(tree, "k", 1, SIZE_MAX, 0, &place), KV_ETOOBIG);
    assert_null(place);
    assert_int_equal(kv_exists(tree, "k", 1), KV_NOTFOUND);
    assert_int_equal(put("k", "v", 0), KV_OK);
    expect("k", "v");
}

/* Around every border between the forms of a value, fresh and committed. */
static void test_value_lengths(void **state)
{
    const size_t inline_max = kvi_inline_max(4096) - 2; /* beside a key of two bytes */
    const size_t lengths[] = {0,    1,    inline_max - 1, inline_max, inline_max + 1, 4095,
                              4096, 4097, 65535,          65536,      65537,          MANY_MIB};
    char key[3];
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < KVI_COUNT(lengths); i++) {
            snprintf(key, sizeof key, "%02zu", i);
            assert_int_equal(kv_put(tree, key, 2, bytes, lengths[i], 0), KV_OK);
            expect_bytes(key, bytes, lengths[i]);
        }
        next(KV_TXN_WRITE);
        for (size_t i = 0; i < KVI_COUNT(lengths); i++) {
            snprintf(key, sizeof key, "%02zu", i);
            expect_bytes(key, bytes, lengths[i]);
        }
    }
    kv_tree_info info = {.size = sizeof info};
    assert_int_equal(kv_tree_stat(tree, &info), KV_OK);
    assert_int_equal(info.large_pages, 1 + 1 + 1 + 2 + 16 + 16 + 17 + MANY_MIB / 4096);
}

/* A value beyond half of the budget goes straight to the file. */
static void test_value_beyond_the_budget(void **state)
{
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_int_equal(open_budget(1 << 16), KV_OK);
    uint64_t size = sim_get_file(disk, "db").len;
    assert_int_equal(kv_put(tree, "k", 1, bytes, 1 << 20, 0), KV_OK);
    assert_true(sim_get_file(disk, "db").len > size + (1 << 19));
    expect_bytes("k", bytes, 1 << 20);
    next(KV_TXN_WRITE);
    expect_bytes("k", bytes, 1 << 20);
}

/* ---- views ---- */

static void test_views(void **state)
{
    kv_slice small, large, again;
    assert_int_equal(put("small", "value", 0), KV_OK);
    assert_int_equal(kv_put(tree, "large", 5, bytes, 50000, 0), KV_OK);
    next(KV_TXN_READ);
    assert_int_equal(kv_get(tree, "small", 5, &small), KV_OK);
    assert_int_equal(kv_get(tree, "large", 5, &large), KV_OK);
    assert_int_equal((uintptr_t)large.ptr % 4096, 0); /* in place, on a page */
    assert_int_equal(kv_get(tree, "large", 5, &again), KV_OK);
    assert_ptr_equal(large.ptr, again.ptr);
    kv_txn *writer;
    for (int i = 0; i < 20; i++) { /* others' commits do not disturb them */
        assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &writer), KV_OK);
        assert_int_equal(kv_put(kv_txn_main(writer), "small", 5, "x", 1, 0), KV_OK);
        assert_int_equal(kv_put(kv_txn_main(writer), "large", 5, bytes + i + 1, 50000, 0), KV_OK);
        assert_int_equal(kv_txn_commit(writer), KV_OK);
    }
    assert_memory_equal(small.ptr, "value", 5);
    assert_memory_equal(large.ptr, bytes, 50000);
}

/* Decompressed values live as long as the others. */
static void test_views_of_compressed_values(void **state)
{
    kv_tree *packed;
    kv_slice views[50];
    kv_tree_options options = {.size = sizeof options, .compress_from = 100};
    static uint8_t text[30000];
    assert_int_equal(kv_tree_open(txn, "p", 1, KV_TREE_CREATE, &options, &packed), KV_OK);
    for (uint8_t i = 0; i < 50; i++) {
        memset(text, i, sizeof text);
        assert_int_equal(kv_put(packed, &i, 1, text, sizeof text, 0), KV_OK);
    }
    next(KV_TXN_READ);
    assert_int_equal(kv_tree_open(txn, "p", 1, 0, NULL, &packed), KV_OK);
    for (uint8_t i = 0; i < 50; i++)
        assert_int_equal(kv_get(packed, &i, 1, &views[i]), KV_OK);
    for (uint8_t i = 0; i < 50; i++) {
        memset(text, i, sizeof text);
        assert_int_equal(views[i].len, sizeof text);
        assert_memory_equal(views[i].ptr, text, sizeof text);
    }
    kv_tree_info info = {.size = sizeof info};
    assert_int_equal(kv_tree_stat(packed, &info), KV_OK);
    assert_int_equal(info.large_pages, 0);
    assert_int_equal(info.compress_from, 100);
}

/* What a read returned may be put elsewhere: in the same page, over itself, and while the
 * transaction has to write pages early. */
static void put_views(size_t len)
{
    kv_slice view;
    char key[16];
    assert_int_equal(kv_put(tree, "a", 1, bytes, len, 0), KV_OK);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(kv_get(tree, "a", 1, &view), KV_OK);
        snprintf(key, sizeof key, "b%03d", i);
        assert_int_equal(kv_put(tree, key, 4, view.ptr, view.len, 0), KV_OK);
        expect_bytes(key, bytes, len);
        assert_int_equal(kv_get(tree, key, 4, &view), KV_OK);
        assert_int_equal(kv_put(tree, "a", 1, view.ptr, view.len, 0), KV_OK);
        assert_int_equal(kv_get(tree, "a", 1, &view), KV_OK);
        assert_int_equal(kv_put(tree, "a", 1, view.ptr, view.len, KV_PUT_PRESENT), KV_OK);
        expect_bytes("a", bytes, len);
    }
}

static void test_put_of_views(void **state)
{
    put_views(100);
    put_views(900);
    put_views(9000);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_int_equal(open_budget(1 << 16), KV_OK);
    put_views(100);
    put_views(900);
    put_views(9000);
    next(KV_TXN_WRITE);
}

static void test_reserve(void **state)
{
    void *place;
    const size_t lengths[] = {0, 1, 500, 1500, 5000, 100000};
    char key[2] = "0";
    for (size_t i = 0; i < KVI_COUNT(lengths); i++) {
        key[0] = (char)('0' + i);
        assert_int_equal(kv_reserve(tree, key, 1, lengths[i], 0, &place), KV_OK);
        assert_true(place || lengths[i] == 0);
        if (lengths[i])
            memcpy(place, bytes, lengths[i]);
        expect_bytes(key, bytes, lengths[i]);
    }
    next(KV_TXN_READ);
    for (size_t i = 0; i < KVI_COUNT(lengths); i++) {
        key[0] = (char)('0' + i);
        expect_bytes(key, bytes, lengths[i]);
    }
}

/* What the caller fills afterwards cannot be compressed before. */
static void test_reserve_in_a_compressing_tree(void **state)
{
    void *place;
    static const uint8_t zeros[50000];
    const kv_tree_options options = {sizeof options, 100};
    kv_tree_info info = {.size = sizeof info};
    assert_int_equal(kv_tree_configure(tree, &options), KV_OK);
    assert_int_equal(kv_put(tree, "p", 1, zeros, sizeof zeros, 0), KV_OK);
    assert_int_equal(kv_tree_stat(tree, &info), KV_OK);
    assert_int_equal(info.large_pages, 0);
    assert_int_equal(kv_reserve(tree, "r", 1, sizeof zeros, 0, &place), KV_OK);
    memset(place, 0, sizeof zeros);
    assert_int_equal(kv_tree_stat(tree, &info), KV_OK);
    assert_true(info.large_pages >= sizeof zeros / KVI_PAGE_MAX + 1);
    expect_bytes("r", zeros, sizeof zeros);
    expect_bytes("p", zeros, sizeof zeros);
}

/* ---- named trees ---- */

static kv_tree *create(const char *name)
{
    kv_tree *made;
    assert_int_equal(kv_tree_open(txn, name, strlen(name), KV_TREE_CREATE, NULL, &made), KV_OK);
    return made;
}

static int none(void *context, kv_slice name)
{
    return 0;
}

static void test_tree_arguments(void **state)
{
    kv_tree *t = tree;
    char name[KEY_MAX + 1];
    kv_tree_options options = {0};
    kv_tree_info info = {0};
    memset(name, 'n', sizeof name);
    assert_int_equal(kv_tree_open(NULL, "t", 1, 0, NULL, &t), KV_EINVAL);
    assert_null(t);
    assert_int_equal(kv_tree_open(txn, "t", 1, 0, NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_tree_open(txn, NULL, 1, KV_TREE_CREATE, NULL, &t), KV_EINVAL);
    assert_int_equal(kv_tree_open(txn, "", 0, KV_TREE_CREATE, NULL, &t), KV_EINVAL);
    assert_int_equal(kv_tree_open(txn, "t", 1, 8, NULL, &t), KV_EINVAL);
    assert_int_equal(kv_tree_open(txn, "t", 1, KV_TREE_EXCLUSIVE, NULL, &t), KV_EINVAL);
    assert_int_equal(kv_tree_open(txn, "t", 1, KV_TREE_CREATE, &options, &t), KV_EINVAL);
    assert_int_equal(kv_tree_open(txn, name, KEY_MAX + 1, KV_TREE_CREATE, NULL, &t), KV_ETOOBIG);
    assert_int_equal(kv_tree_open(txn, "t", 1, 0, NULL, &t), KV_NOTFOUND);
    assert_null(t);
    assert_int_equal(kv_tree_open(txn, name, KEY_MAX, KV_TREE_CREATE, NULL, &t), KV_OK);
    assert_int_equal(kv_tree_rename(t, name, KEY_MAX + 1), KV_ETOOBIG);
    assert_int_equal(kv_tree_rename(t, "", 0), KV_EINVAL);
    assert_int_equal(kv_tree_rename(NULL, "x", 1), KV_EINVAL);
    assert_int_equal(kv_tree_rename(tree, "x", 1), KV_EINVAL); /* the main tree */
    assert_int_equal(kv_tree_drop(tree), KV_EINVAL);
    assert_int_equal(kv_tree_drop(NULL), KV_EINVAL);
    assert_int_equal(kv_tree_clear(NULL), KV_EINVAL);
    assert_int_equal(kv_tree_configure(t, NULL), KV_EINVAL);
    assert_int_equal(kv_tree_configure(t, &options), KV_EINVAL);
    assert_int_equal(kv_tree_configure(NULL, &options), KV_EINVAL);
    assert_int_equal(kv_tree_list(NULL, none, NULL), KV_EINVAL);
    assert_int_equal(kv_tree_list(txn, NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_tree_stat(t, NULL), KV_EINVAL);
    assert_int_equal(kv_tree_stat(t, &info), KV_EINVAL);
    assert_int_equal(kv_tree_stat(NULL, &info), KV_EINVAL);
}

static void test_trees_are_apart(void **state)
{
    kv_tree *a = create("a"), *b = create("b"), *t;
    assert_int_equal(kv_put(a, "k", 1, "in a", 4, 0), KV_OK);
    assert_int_equal(kv_exists(b, "k", 1), KV_NOTFOUND);
    assert_int_equal(kv_exists(tree, "k", 1), KV_NOTFOUND);
    assert_ptr_equal(create("a"), a);
    assert_int_equal(kv_tree_open(txn, "a", 1, KV_TREE_CREATE | KV_TREE_EXCLUSIVE, NULL, &t),
                     KV_EXISTS);
    assert_null(t);
    next(KV_TXN_WRITE);
    assert_int_equal(kv_tree_open(txn, "a", 1, KV_TREE_CREATE | KV_TREE_EXCLUSIVE, NULL, &t),
                     KV_EXISTS);
    tree = create("a");
    expect("k", "in a");
}

typedef struct names {
    char text[64];
    int left;
} names;

static int collect(void *context, kv_slice name)
{
    names *list = context;
    strncat(list->text, name.ptr, name.len);
    return --list->left == 0;
}

static void test_list(void **state)
{
    names list = {.left = 99};
    create("b"), create("c"), create("a");
    assert_int_equal(kv_tree_list(txn, collect, &list), KV_OK);
    assert_string_equal(list.text, "abc");
    next(KV_TXN_READ);
    list = (names){.left = 2};
    assert_int_equal(kv_tree_list(txn, collect, &list), KV_ECANCELED);
    assert_string_equal(list.text, "ab");
}

static void test_rename(void **state)
{
    kv_tree *a = create("a"), *b = create("b"), *t;
    assert_int_equal(kv_put(a, "k", 1, "in a", 4, 0), KV_OK);
    assert_int_equal(kv_tree_rename(a, "b", 1), KV_EXISTS);
    assert_int_equal(kv_tree_rename(a, "a", 1), KV_EXISTS);
    assert_int_equal(kv_tree_rename(a, "c", 1), KV_OK);
    assert_int_equal(kv_tree_open(txn, "a", 1, 0, NULL, &t), KV_NOTFOUND);
    assert_ptr_equal(create("c"), a);
    assert_int_equal(kv_tree_rename(b, "a", 1), KV_OK);
    next(KV_TXN_WRITE);
    tree = create("c");
    expect("k", "in a");
    assert_int_equal(kv_exists(create("a"), "k", 1), KV_NOTFOUND);
}

static void test_drop(void **state)
{
    kv_tree *t = create("t"), *again;
    kv_tree_info info = {.size = sizeof info};
    assert_int_equal(kv_put(t, "k", 1, bytes, 20000, 0), KV_OK);
    assert_int_equal(kv_tree_drop(t), KV_OK);
    assert_int_equal(kv_get(t, "k", 1, NULL), KV_NOTFOUND);
    assert_int_equal(kv_put(t, "k", 1, "v", 1, 0), KV_NOTFOUND);
    assert_int_equal(kv_tree_drop(t), KV_NOTFOUND);
    assert_int_equal(kv_tree_open(txn, "t", 1, 0, NULL, &again), KV_NOTFOUND);
    again = create("t");
    assert_int_equal(kv_tree_stat(again, &info), KV_OK);
    assert_int_equal(info.entries + info.height + info.large_pages, 0);
    assert_int_equal(kv_put(again, "k", 1, "new", 3, 0), KV_OK);
    next(KV_TXN_WRITE);
    tree = create("t");
    expect("k", "new");
}

static void test_clear_and_stat(void **state)
{
    kv_tree_info info = {.size = sizeof info};
    char key[16];
    for (int i = 0; i < 3000; i++) {
        int len = snprintf(key, sizeof key, "%06d", i);
        assert_int_equal(kv_put(tree, key, (size_t)len, bytes, 100, 0), KV_OK);
    }
    assert_int_equal(kv_tree_stat(tree, &info), KV_OK);
    assert_int_equal(info.entries, 3000);
    assert_true(info.height >= 2 && info.leaf_pages > 50 && info.branch_pages >= 1);
    assert_int_equal(kv_tree_clear(tree), KV_OK);
    assert_int_equal(kv_tree_stat(tree, &info), KV_OK);
    assert_int_equal(info.entries + info.height + info.leaf_pages + info.branch_pages, 0);
    assert_int_equal(kv_tree_clear(tree), KV_OK);
    assert_int_equal(put("k", "v", 0), KV_OK);
    next(KV_TXN_READ);
    expect("k", "v");
}

/* Options hold for what is put from now on, and stay in the file. */
static size_t number_key(unsigned i, char key[16])
{
    return (size_t)snprintf(key, 16, "key%08u", i);
}

/* Of three entries two go, one here, one there: leaves that were full are merged, two by two. */
static void test_thinned(void **state)
{
    enum { ENTRIES = 9000 };
    kv_tree_info full = {.size = sizeof full}, thin = {.size = sizeof thin};
    char key[16];
    rng random;
    rng_seed(&random, 4);
    for (unsigned i = 0; i < ENTRIES; i++)
        assert_int_equal(kv_put(tree, key, number_key(i, key), bytes, 80, 0), KV_OK);
    assert_int_equal(kv_tree_stat(tree, &full), KV_OK);
    for (unsigned i = 0; i < ENTRIES; i++)
        if (!rng_one_in(&random, 3))
            assert_int_equal(kv_del(tree, key, number_key(i, key)), KV_OK);
    assert_int_equal(kv_tree_stat(tree, &thin), KV_OK);
    assert_in_range(thin.entries, ENTRIES / 3 - 200, ENTRIES / 3 + 200);
    assert_in_range(thin.leaf_pages, full.leaf_pages / 3, full.leaf_pages * 6 / 10);
}

static void test_configure(void **state)
{
    static const uint8_t zeros[40000];
    kv_tree_info info = {.size = sizeof info};
    kv_tree_options options = {.size = sizeof options, .compress_from = 1000};
    assert_int_equal(kv_put(tree, "plain", 5, zeros, sizeof zeros, 0), KV_OK);
    assert_int_equal(kv_tree_configure(tree, &options), KV_OK);
    next(KV_TXN_WRITE);
    assert_int_equal(kv_tree_stat(tree, &info), KV_OK);
    assert_int_equal(info.compress_from, 1000);
    uint64_t pages = info.large_pages;
    assert_int_equal(pages, 10);
    assert_int_equal(kv_put(tree, "packed", 6, zeros, sizeof zeros, 0), KV_OK);
    assert_int_equal(kv_put(tree, "random", 6, bytes, 5000, 0), KV_OK); /* saves nothing */
    assert_int_equal(kv_tree_stat(tree, &info), KV_OK);
    assert_int_equal(info.large_pages, pages + 2);
    options.compress_from = 0;
    assert_int_equal(kv_tree_configure(tree, &options), KV_OK);
    next(KV_TXN_READ);
    expect_bytes("plain", zeros, sizeof zeros);
    expect_bytes("packed", zeros, sizeof zeros);
    expect_bytes("random", bytes, 5000);
    assert_int_equal(kv_tree_stat(tree, &info), KV_OK);
    assert_int_equal(info.compress_from, 0);
}

static size_t counted_key(uint8_t *key, size_t len, unsigned number)
{
    for (size_t i = 0; i < len; i++)
        key[i] = (uint8_t)(number >> 8 * KVI_MIN(len - 1 - i, sizeof number - 1));
    return len;
}

static uint64_t leaf_pages(void)
{
    kv_tree_info info = {.size = sizeof info};
    assert_int_equal(kv_tree_stat(tree, &info), KV_OK);
    return info.leaf_pages;
}

/* Among many short entries of one form comes a long one, by which they lose the form: two leaves may
 * be too few for them. */
static void test_three_leaves(void **state)
{
    uint64_t most = 0;
    for (size_t key_len = 2; key_len <= 6; key_len++)
        for (size_t len = 0; len < 8; len++)
            for (unsigned part = 1; part < 8; part++) {
                uint8_t key[8] = {0};
                unsigned n = 0;
                kv_slice found;
                assert_int_equal(kv_tree_clear(tree), KV_OK);
                while (n == 0 || leaf_pages() < 2)
                    assert_int_equal(
                        kv_put(tree, key, counted_key(key, key_len, n++), bytes, len, 0), KV_OK);
                counted_key(key, key_len, n * part / 8);
                key[key_len] = 0;
                assert_int_equal(kv_put(tree, key, key_len + 1, bytes, 1900, 0), KV_OK);
                most = KVI_MAX(most, leaf_pages());
                assert_int_equal(kv_get(tree, key, key_len + 1, &found), KV_OK);
                assert_int_equal(found.len, 1900);
                for (unsigned i = 0; i < n; i++)
                    assert_int_equal(kv_get(tree, key, counted_key(key, key_len, i), &found),
                                     KV_OK);
                next(KV_TXN_WRITE);
                assert_int_equal(kv_db_check(db, NULL), KV_OK);
            }
    assert_int_equal(most, 4);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_fresh, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_arguments),
        TEST(test_conditions),
        TEST(test_readonly),
        TEST(test_key_limits),
        TEST(test_huge_lengths),
        TEST(test_value_lengths),
        TEST(test_value_beyond_the_budget),
        TEST(test_views),
        TEST(test_views_of_compressed_values),
        TEST(test_put_of_views),
        TEST(test_reserve),
        TEST(test_reserve_in_a_compressing_tree),
        TEST(test_tree_arguments),
        TEST(test_trees_are_apart),
        TEST(test_list),
        TEST(test_rename),
        TEST(test_drop),
        TEST(test_clear_and_stat),
        TEST(test_configure),
        TEST(test_thinned),
        TEST(test_three_leaves),
    };
    return cmocka_run_group_tests_name("api: trees", tests, setup, teardown);
}
