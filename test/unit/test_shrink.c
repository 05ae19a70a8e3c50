/* Compaction of a file in use: smaller, the same content, under a reader and a writer; what keeps it
 * long. SHRINK_MIB sets the size of the file that is made small under load. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "fault_os.h"
#include "gather.h"
#include "must.h"
#include "relocate.h"
#include "rng.h"
#include "scratch.h"
#include "surgeon.h"
#include "tail.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define VALUE  120 /* bytes */
#define ROUNDS 4   /* transactions that put, and as many that delete */

static scratch dir;
static char path[SCRATCH_MAX];
static kv_db *db;

static int setup(void **state)
{
    scratch_make(&dir);
    scratch_path_to(&dir, "a.kv", path);
    return 0;
}

static int teardown(void **state)
{
    scratch_remove(&dir);
    return 0;
}

static int begin_test(void **state)
{
    unlink(path);
    return kv_db_open(path, NULL, &db);
}

static int end_test(void **state)
{
    return kv_db_close(db);
}

/* ---- data: the value of a key says which key it is, and how often it was written ---- */

/* Numbers one after the other have keys far apart. */
static uint64_t scatter(uint64_t number)
{
    return number * 0x9e3779b97f4a7c15u;
}

static size_t key_of(uint64_t number, char key[24])
{
    return (size_t)snprintf(key, 24, "%016llx", (unsigned long long)scatter(number));
}

static void value_of(uint64_t number, uint64_t version, uint8_t value[VALUE])
{
    memset(value, (int)(number + version), VALUE);
    memcpy(value, &number, 8);
    memcpy(value + 8, &version, 8);
}

/* Is the value one that value_of made for this key? *version: which. */
static bool value_right(uint64_t number, kv_slice value, uint64_t *version)
{
    uint8_t expect[VALUE];
    if (value.len != VALUE)
        return false;
    memcpy(version, (const uint8_t *)value.ptr + 8, 8);
    value_of(number, *version, expect);
    return memcmp(expect, value.ptr, VALUE) == 0;
}

static void put(kv_tree *tree, uint64_t number, uint64_t version)
{
    char key[24];
    uint8_t value[VALUE];
    size_t len = key_of(number, key);
    value_of(number, version, value);
    assert_int_equal(kv_put(tree, key, len, value, VALUE, 0), KV_OK);
}

static bool is_kept(uint64_t number)
{
    uint64_t spread = number;
    return rng_splitmix(&spread) % 10 == 0;
}

static int in_order(const void *a, const void *b)
{
    uint64_t left = scatter(*(const uint64_t *)a), right = scatter(*(const uint64_t *)b);
    return (left > right) - (left < right);
}

/* The first n numbers in the order of their keys. */
static uint64_t *numbers_of(uint64_t n)
{
    uint64_t *numbers = malloc(n * sizeof *numbers);
    assert_non_null(numbers);
    for (uint64_t i = 0; i < n; i++)
        numbers[i] = i;
    qsort(numbers, n, sizeof *numbers, in_order);
    return numbers;
}

static void del_unkept(kv_tree *tree, uint64_t number)
{
    char key[24];
    size_t len = key_of(number, key);
    if (!is_kept(number))
        assert_int_equal(kv_del(tree, key, len), KV_OK);
}

/* n entries, of which nine in ten are deleted. Each transaction goes through the whole tree once, so
 * that a large file takes no more of them than a small one. */
static void fill(uint64_t n)
{
    kv_txn *txn;
    uint64_t *numbers = numbers_of(n);
    for (unsigned round = 0; round < 2 * ROUNDS; round++) {
        assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
        for (uint64_t i = round % ROUNDS; i < n; i += ROUNDS)
            if (round < ROUNDS)
                put(kv_txn_main(txn), numbers[i], 0);
            else
                del_unkept(kv_txn_main(txn), numbers[i]);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
    free(numbers);
}

static void all_there(uint64_t n)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    for (uint64_t i = 0; i < n; i++) {
        char key[24];
        kv_slice value;
        uint64_t version;
        size_t len = key_of(i, key);
        int rc = kv_get(kv_txn_main(txn), key, len, &value);
        assert_int_equal(rc, is_kept(i) ? KV_OK : KV_NOTFOUND);
        if (rc == KV_OK)
            assert_true(value_right(i, value, &version));
    }
    kv_txn_abort(txn);
}

static uint64_t live_bytes(void)
{
    kv_db_info info = {.size = sizeof info};
    assert_int_equal(kv_db_stat(db, &info), KV_OK);
    return (info.leaf_pages + info.branch_pages + info.large_pages + info.space_pages + 2) *
           info.page_size;
}

static kv_compact_info compact(void)
{
    kv_compact_info info = {.size = sizeof info};
    assert_int_equal(kv_db_compact(db, NULL, &info), KV_OK);
    return info;
}

/* ---- alone ---- */

static void test_smaller(void **state)
{
    fill(40000);
    kv_compact_info info = compact();
    assert_true(info.after <= live_bytes() * 13 / 10 + 100000);
    assert_true(info.after < info.before / 3);
    assert_int_equal(info.held_by, KV_HELD_NOBODY);
    all_there(40000);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
    info = compact(); /* once more: nothing to do */
    assert_true(info.moved_pages < 100);
}

/* A page at a time takes many transactions, and ends as well. */
static void test_smallest_steps(void **state)
{
    kv_compact_options options = {.size = sizeof options, .step_pages = 1};
    kv_compact_info info = {.size = sizeof info};
    fill(8000);
    assert_int_equal(kv_db_compact(db, &options, &info), KV_OK);
    assert_true(info.after < info.before / 3);
    assert_true(info.after <= live_bytes() * 13 / 10 + 100000);
    all_there(8000);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

static int stop_late(void *context, const kv_progress *progress)
{
    (void)progress;
    return --*(unsigned *)context == 0;
}

/* A value that finds no run below the target: its leaf is not moved again and again. */
static void test_value_that_stays(void **state)
{
    static const struct {
        uint32_t step_pages, entries, pages;
    } cases[] = {{2, 40, 50}, {3, 20000, 800}};
    for (size_t i = 0; i < KVI_COUNT(cases); i++) {
        unsigned patience = 4000;
        kv_compact_options options = {.size = sizeof options,
                                      .step_pages = cases[i].step_pages,
                                      .progress = stop_late,
                                      .context = &patience};
        size_t size = (size_t)cases[i].pages * 4096;
        void *value = calloc(1, size);
        char key[16], text[200] = "a value of two hundred bytes";
        kv_txn *txn;
        assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
        assert_int_equal(kv_tree_clear(kv_txn_main(txn)), KV_OK);
        for (unsigned k = 0; k < cases[i].entries; k++) {
            snprintf(key, sizeof key, "key%06u", k);
            assert_int_equal(kv_put(kv_txn_main(txn), key, 9, text, sizeof text, 0), KV_OK);
        }
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
        assert_int_equal(kv_put(kv_txn_main(txn), "key000777x", 10, value, size, 0), KV_OK);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
        for (unsigned k = 0; k < cases[i].entries; k++) {
            snprintf(key, sizeof key, "key%06u", k);
            if (k % 40 < 20)
                assert_int_equal(kv_del(kv_txn_main(txn), key, 9), KV_OK);
        }
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        assert_int_equal(kv_db_compact(db, &options, NULL), KV_OK);
        assert_int_equal(kv_db_check(db, NULL), KV_OK);
        free(value);
    }
}

/* A large value behind all others, which have moved to where it should be when its turn comes. */
static void test_value_behind_others(void **state)
{
    static uint8_t value[1 << 20];
    char key[16];
    kv_slice found;
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    for (unsigned k = 0; k < 2000; k++) {
        snprintf(key, sizeof key, "key%06u", k);
        assert_int_equal(kv_put(kv_txn_main(txn), key, 9, value, 16000, 0), KV_OK);
    }
    memset(value, 'z', sizeof value);
    assert_int_equal(kv_put(kv_txn_main(txn), "z", 1, value, sizeof value, 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    for (unsigned k = 0; k < 2000; k++) {
        snprintf(key, sizeof key, "key%06u", k);
        if (k % 20)
            assert_int_equal(kv_del(kv_txn_main(txn), key, 9), KV_OK);
    }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    kv_compact_info info = compact();
    assert_true(info.after < live_bytes() + 2 * sizeof value);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    assert_int_equal(kv_get(kv_txn_main(txn), "z", 1, &found), KV_OK);
    assert_int_equal(found.len, sizeof value);
    assert_memory_equal(found.ptr, value, sizeof value);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

static void test_trees_and_values(void **state)
{
    static uint8_t big[100000];
    kv_tree *tree;
    kv_txn *txn;
    for (unsigned round = 0; round < 12; round++) {
        char name[8];
        int len = snprintf(name, sizeof name, "t%u", round);
        assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
        assert_int_equal(kv_tree_open(txn, name, (size_t)len, KV_TREE_CREATE, NULL, &tree), KV_OK);
        memset(big, (int)round, sizeof big);
        for (unsigned i = 0; i < 40; i++)
            put(tree, i, round);
        assert_int_equal(kv_put(tree, "big", 3, big, sizeof big - round, 0), KV_OK);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
    assert_int_equal(kv_snapshot_create(db, "s", 1, 0), KV_OK); /* its tree is moved too */
    assert_int_equal(kv_snapshot_drop(db, "s", 1, 0), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    for (unsigned round = 0; round < 9; round++) {
        char name[8];
        int len = snprintf(name, sizeof name, "t%u", round);
        assert_int_equal(kv_tree_open(txn, name, (size_t)len, 0, NULL, &tree), KV_OK);
        assert_int_equal(kv_tree_drop(tree), KV_OK);
    }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    kv_compact_info info = compact();
    assert_true(info.after <= live_bytes() * 13 / 10 + 150000);
    assert_true(info.after < info.before / 2);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    for (unsigned round = 9; round < 12; round++) {
        char name[8];
        kv_slice value;
        int len = snprintf(name, sizeof name, "t%u", round);
        assert_int_equal(kv_tree_open(txn, name, (size_t)len, 0, NULL, &tree), KV_OK);
        assert_int_equal(kv_get(tree, "big", 3, &value), KV_OK);
        memset(big, (int)round, sizeof big);
        assert_int_equal(value.len, sizeof big - round);
        assert_memory_equal(value.ptr, big, value.len);
    }
    kv_txn_abort(txn);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* ---- sparse leaves ---- */

static uint64_t copy_size(void)
{
    char copy[SCRATCH_MAX];
    struct stat info;
    scratch_path_to(&dir, "copy.kv", copy);
    assert_int_equal(kv_db_copy(db, copy, KV_COPY_COMPACT), KV_OK);
    assert_int_equal(stat(copy, &info), 0);
    unlink(copy);
    return (uint64_t)info.st_size;
}

/* Values of many lengths, some of which expire one day. */
static void put_various(kv_tree *tree, uint64_t number)
{
    uint8_t value[400];
    char key[24];
    kv_put_options options = {.size = sizeof options,
                              .ttl_ms = number % 3 ? 0 : 1000000000 + number};
    memset(value, (int)number, sizeof value);
    assert_int_equal(kv_put_with(tree, key, key_of(number, key), value, number % 397, &options),
                     KV_OK);
}

static void various_there(kv_tree *tree, uint64_t n)
{
    uint8_t expect[400];
    for (uint64_t i = 0; i < n; i++) {
        char key[24];
        kv_slice value = {NULL, 0};
        int rc = kv_get(tree, key, key_of(i, key), &value);
        assert_int_equal(rc, is_kept(i) ? KV_OK : KV_NOTFOUND);
        memset(expect, (int)i, sizeof expect);
        if (rc == KV_OK) {
            assert_int_equal(value.len, i % 397);
            assert_memory_equal(value.ptr, expect, value.len);
        }
    }
}

/* Nearly as small as a compact copy. */
static void test_sparse(void **state)
{
    enum { N = 12000 };
    kv_txn *txn;
    fill(40000);
    for (unsigned step = 0; step < 3; step++) {
        kv_tree *tree;
        assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
        assert_int_equal(kv_tree_open(txn, "v", 1, KV_TREE_CREATE, NULL, &tree), KV_OK);
        for (uint64_t i = 0; i < N; i++)
            if (step == 0)
                put_various(tree, i);
            else if (i % 2 == step - 1)
                del_unkept(tree, i);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
    kv_compact_info info = compact();
    assert_true(info.after <= copy_size() * 11 / 10 + 100000);
    all_there(40000);
    kv_tree *tree;
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    assert_int_equal(kv_tree_open(txn, "v", 1, 0, NULL, &tree), KV_OK);
    various_there(tree, N);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* Where there are no holes, and somebody needs what would be replaced, the file does not grow. */
static void test_sparse_and_held(void **state)
{
    enum { N = 30000 };
    uint64_t *numbers = numbers_of(N);
    kv_txn *txn, *reader;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    for (unsigned i = 0; i < N; i++)
        put(kv_txn_main(txn), numbers[i], 0);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &reader), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    for (unsigned i = 0; i < N; i++)
        if (i % 5 > 2) { /* three of five stay, so that no two leaves merge */
            char key[24];
            size_t len = key_of(numbers[i], key);
            assert_int_equal(kv_del(kv_txn_main(txn), key, len), KV_OK);
        }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    free(numbers);
    kv_compact_info info = compact();
    assert_int_equal(info.held_by, KV_HELD_READER);
    assert_true(info.after <= info.before + info.before / 20);
    kv_txn_abort(reader);
    info = compact();
    assert_true(info.after <= copy_size() * 11 / 10 + 100000);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* Leaves that a snapshot has too would only be there twice. */
static void test_sparse_and_shared(void **state)
{
    kv_db_info now = {.size = sizeof now}, then = {.size = sizeof then};
    fill(40000);
    assert_int_equal(kv_db_sync(db), KV_OK);
    assert_int_equal(kv_snapshot_create(db, "s", 1, 0), KV_OK);
    kv_compact_options options = {.size = sizeof options};
    kv_compact_info info = {.size = sizeof info};
    assert_int_equal(kv_db_stat(db, &now), KV_OK);
    assert_int_equal(kv_db_compact(db, &options, &info), KV_OK);
    assert_int_equal(kv_db_stat(db, &then), KV_OK);
    assert_int_equal(then.leaf_pages, now.leaf_pages);
    assert_int_equal(kv_snapshot_drop(db, "s", 1, 0), KV_OK);
    info = compact();
    assert_true(info.after <= copy_size() * 11 / 10 + 100000);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* Somebody makes leaves sparse for ever: compaction ends nevertheless. */
typedef struct bucket {
    uint64_t newest;
    unsigned calls;
} bucket;

/* Many entries behind the last ones, in random order; the oldest go. */
static int next_bucket(void *context, const kv_progress *progress)
{
    bucket *b = context;
    kv_txn *txn;
    uint8_t value[VALUE] = {0};
    if (++b->calls > 1000)
        return 1;
    assert_true(progress->done <= progress->total);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE | KV_TXN_LAZY, &txn), KV_OK);
    for (uint64_t i = 0; i < 3000; i++) {
        uint64_t number = b->newest * 3000 + i * 1013 % 3000, old = number - 20 * 3000;
        uint64_t key = __builtin_bswap64(number), gone = __builtin_bswap64(old);
        assert_int_equal(kv_put(kv_txn_main(txn), &key, 8, value, VALUE, 0), KV_OK);
        if (b->newest >= 20)
            assert_int_equal(kv_del(kv_txn_main(txn), &gone, 8), KV_OK);
    }
    b->newest++;
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    return 0;
}

static void test_sparse_for_ever(void **state)
{
    bucket b = {.calls = 0};
    kv_progress none = {0};
    kv_compact_options options = {
        .size = sizeof options, .progress = next_bucket, .context = &b, .step_pages = 64};
    while (b.newest < 20)
        next_bucket(&b, &none);
    assert_int_equal(kv_db_compact(db, &options, NULL), KV_OK);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

#define LONGER 12000000 /* bytes, far more than there are holes */

/* Somebody makes the file longer than compaction may. */
static int put_once(void *context, const kv_progress *progress)
{
    static const uint8_t value[LONGER];
    bool *done = context;
    (void)progress;
    if (!*done)
        must_put(db, "v", "large", value, sizeof value);
    *done = true;
    return 0;
}

static void test_sparse_and_longer(void **state)
{
    bool done = false;
    kv_slice value;
    kv_tree *tree;
    kv_compact_options options = {.size = sizeof options, .progress = put_once, .context = &done};
    fill(20000);
    assert_int_equal(kv_db_compact(db, &options, NULL), KV_OK);
    all_there(20000);
    kv_txn *txn = must_begin(db, KV_TXN_READ);
    assert_int_equal(kv_tree_open(txn, "v", 1, 0, NULL, &tree), KV_OK);
    assert_int_equal(kv_get(tree, "large", 5, &value), KV_OK);
    assert_int_equal(value.len, LONGER);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* Where nothing is to be won, a transaction does not look through all the leaves for it. */
static void test_dense(void **state)
{
    enum { N = 20000 };
    kv_compact_options options = {.size = sizeof options, .step_pages = 1};
    kv_db_info before, after;
    uint64_t *numbers = numbers_of(N);
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    for (unsigned i = 0; i < N; i++)
        put(kv_txn_main(txn), numbers[i], 0);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    free(numbers);
    before = must_stat(db);
    assert_int_equal(kv_db_compact(db, &options, NULL), KV_OK);
    after = must_stat(db);
    assert_true(after.leaf_pages == before.leaf_pages && after.entries == before.entries);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* ---- what keeps it long ---- */

static void test_held(void **state)
{
    kv_txn *txn;
    assert_int_equal(kv_snapshot_create(db, "empty", 5, 0), KV_OK);
    fill(20000);
    kv_compact_info info = compact();
    assert_int_equal(info.held_by, KV_HELD_NOBODY); /* by a snapshot of nothing */
    fill(20000);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    for (unsigned i = 20000; i < 30000; i++) /* an eighth of the file, and more */
        put(kv_txn_main(txn), i, 0);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_snapshot_create(db, "s", 1, 0), KV_OK);
    kv_txn *reader;
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &reader), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    assert_int_equal(kv_tree_clear(kv_txn_main(txn)), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    info = compact();
    assert_true(info.held_by != KV_HELD_NOBODY && info.holder == kv_txn_id(reader) - 1);
    kv_txn_abort(reader);
    info = compact();
    assert_int_equal(info.held_by, KV_HELD_SNAPSHOT);
    assert_int_equal(kv_snapshot_drop(db, "s", 1, 0), KV_OK);
    assert_int_equal(kv_snapshot_drop(db, "empty", 5, 0), KV_OK);
    info = compact();
    assert_int_equal(info.held_by, KV_HELD_NOBODY);
    assert_true(info.after < 300000);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

#define LARGE 60000 /* bytes of a value */

static void put_large(unsigned key, int fill)
{
    uint8_t bytes[LARGE];
    kv_txn *txn;
    memset(bytes, fill, sizeof bytes);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    assert_int_equal(kv_put(kv_txn_main(txn), &key, sizeof key, bytes, sizeof bytes, 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* Entries in the order of their keys, written as often as said and then nine in ten deleted, each time
 * by one transaction. */
static void write_and_thin(unsigned times)
{
    enum { N = 20000 };
    uint64_t *numbers = numbers_of(N);
    kv_txn *txn;
    for (unsigned round = 0; round <= times; round++) {
        assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
        for (unsigned i = 0; i < N; i++)
            if (round < times)
                put(kv_txn_main(txn), numbers[i], round);
            else
                del_unkept(kv_txn_main(txn), numbers[i]);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
    free(numbers);
}

static void open_again(uint32_t flags, const kvi_os *os)
{
    kv_options options = {.size = sizeof options, .flags = flags};
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_int_equal(kvi_db_open(os, path, &options, &db, NULL, 0), KV_OK);
}

/* The pages behind the last one are no longer recorded, but a reader began when they were. */
static void reader_of_a_longer_file(void)
{
    kv_txn *reader;
    write_and_thin(2);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &reader), KV_OK);
    kv_compact_info info = compact();
    assert_int_equal(info.after, info.before);
    assert_int_equal(info.held_by, KV_HELD_READER);
    assert_int_equal(info.holder, kv_txn_id(reader));
    info = compact(); /* nothing to do: nobody is waited for */
    assert_int_equal(info.holder, kv_txn_id(reader));
    assert_true(info.steps < 20);
    kv_txn_abort(reader);
    info = compact();
    assert_true(info.after < info.before / 3);
    assert_int_equal(info.held_by, KV_HELD_NOBODY);
    assert_int_equal(info.holder, 0);
}

static void test_reader_of_a_longer_file(void **state)
{
    reader_of_a_longer_file();
    open_again(KV_OPEN_EXCLUSIVE, &kvi_os_posix);
    reader_of_a_longer_file();
}

/* A reader needs nothing of what the file would lose; it only began when that was there. */
static void test_reader_beside_free_pages(void **state)
{
    static const uint32_t flags[] = {0, KV_OPEN_EXCLUSIVE};
    for (size_t i = 0; i < KVI_COUNT(flags); i++) {
        open_again(flags[i], &kvi_os_posix);
        for (unsigned k = 0; k < 100; k++)
            put_large(k, 1);
        kv_txn *txn = must_begin(db, KV_TXN_WRITE), *reader;
        for (unsigned k = 0; k < 100; k++)
            assert_int_equal(kv_del(kv_txn_main(txn), &k, sizeof k), KV_OK);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &reader), KV_OK);
        kv_compact_info info = compact();
        assert_int_equal(info.after, info.before);
        assert_int_equal(info.held_by, KV_HELD_READER);
        assert_int_equal(info.holder, kv_txn_id(reader));
        kv_txn_abort(reader);
        info = compact();
        assert_true(info.after < info.before / 10);
    }
}

/* The system does not cut the file: nobody is to blame. */
static void test_end_that_stays(void **state)
{
    fault_os fault;
    fault_init(&fault, &kvi_os_posix);
    write_and_thin(2);
    open_again(0, &fault.os);
    fault_plan(&fault, (fault_case){.at = 1, .mask = FAULT_BIT(FAULT_TRUNCATE), .sticky = true});
    kv_compact_info info = compact();
    assert_true(fault_hit(&fault));
    assert_true(info.after >= info.before);
    assert_int_equal(info.held_by, KV_HELD_NOBODY);
    fault_plan(&fault, (fault_case){0});
    info = compact();
    assert_true(info.after < info.before / 3);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
    open_again(0, &kvi_os_posix);
    assert_true(fault_balanced(&fault));
}

/* Few pages are kept, but they lie at the end of the file. */
static void test_few_pages_at_the_end(void **state)
{
    for (int named = 0; named < 2; named++) {
        kv_txn *reader;
        write_and_thin(1);
        if (named)
            assert_int_equal(kv_snapshot_create(db, "s", 1, 0), KV_OK);
        assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &reader), KV_OK);
        uint64_t id = kv_txn_id(reader) - (named ? 1 : 0);
        if (named)
            kv_txn_abort(reader);
        for (int again = 0; again < 3; again++) {
            kv_compact_info info = compact();
            assert_true(info.after <= info.before);
            /* at first it ends with what was filled ahead */
            assert_true(info.before - info.after <= (again ? 0 : KVI_FILL_MAX));
            assert_int_equal(info.held_by, named ? KV_HELD_SNAPSHOT : KV_HELD_READER);
            assert_int_equal(info.holder, id);
            if (again == 2) { /* nothing to do: nobody is waited for */
                assert_int_equal(info.moved_pages, 0);
                assert_true(info.steps < 20);
            }
        }
        if (named)
            assert_int_equal(kv_snapshot_drop(db, "s", 1, 0), KV_OK);
        else
            kv_txn_abort(reader);
        kv_compact_info info = compact();
        assert_true(info.after < info.before / 3);
        assert_int_equal(info.held_by, KV_HELD_NOBODY);
        assert_int_equal(kv_db_check(db, NULL), KV_OK);
    }
}

/* A reader that leaves when the compaction has waited for some time. */
typedef struct guest {
    kv_txn *reader;
    uint64_t done;
    unsigned calls; /* since more was done */
} guest;

static int leave_late(void *context, const kv_progress *progress)
{
    guest *g = context;
    g->calls = progress->done == g->done ? g->calls + 1 : 0;
    g->done = progress->done;
    if (g->calls == 12) {
        kv_txn_abort(g->reader);
        g->reader = NULL;
    }
    return 0;
}

/* The pages at the end of the file are few, and a reader keeps them: it is waited for. */
static void test_reader_at_the_end(void **state)
{
    guest g = {.calls = 0};
    kv_compact_options options = {.size = sizeof options, .progress = leave_late, .context = &g};
    kv_compact_info info = {.size = sizeof info};
    fill(40000);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &g.reader), KV_OK);
    assert_int_equal(kv_db_compact(db, &options, &info), KV_OK);
    kv_txn_abort(g.reader);
    assert_null(g.reader);
    assert_true(info.after < info.before / 3);
    assert_int_equal(info.held_by, KV_HELD_NOBODY);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* ---- what a snapshot needs ---- */

/* Values are moved that a snapshot needs where they were: nobody writes over them. */
static void test_values_of_a_snapshot(void **state)
{
    enum { JUNK = 60, KEPT = 20 };
    kv_txn *txn;
    for (unsigned i = 0; i < JUNK + KEPT; i++)
        put_large(i, 1);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    for (unsigned i = 0; i < JUNK; i++)
        assert_int_equal(kv_del(kv_txn_main(txn), &i, sizeof i), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_snapshot_create(db, "s", 1, 0), KV_OK);
    kv_compact_info info = compact();
    assert_true(info.moved_pages > KEPT);
    assert_int_equal(info.held_by, KV_HELD_SNAPSHOT);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
    for (unsigned i = 0; i < JUNK; i++)
        put_large(i, 2);
    assert_int_equal(kv_snapshot_open(db, "s", 1, &txn), KV_OK);
    for (unsigned i = JUNK; i < JUNK + KEPT; i++) {
        kv_slice value;
        assert_int_equal(kv_get(kv_txn_main(txn), &i, sizeof i, &value), KV_OK);
        assert_int_equal(value.len, LARGE);
        for (size_t k = 0; k < value.len; k++)
            assert_int_equal(((const uint8_t *)value.ptr)[k], 1);
    }
    kv_txn_abort(txn);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

static int stop(void *context, const kv_progress *progress)
{
    return ++*(int *)context == 3;
}

static void test_wrong_and_stopped(void **state)
{
    int calls = 0;
    kv_compact_options options = {
        .size = sizeof options, .step_pages = 32, .progress = stop, .context = &calls};
    kv_compact_info info = {.size = 0};
    assert_int_equal(kv_db_compact(NULL, NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_db_compact(db, NULL, &info), KV_EINVAL);
    fill(20000);
    assert_int_equal(kv_db_compact(db, &options, NULL), KV_ECANCELED);
    assert_int_equal(calls, 3);
    all_there(20000);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* ---- trees that go away between two transactions of a pass ---- */

#define TREES_MANY 100 /* more than one transaction opens */

static kv_tree *tree_number(kv_txn *txn, unsigned i, uint32_t flags)
{
    char name[16];
    kv_tree *tree;
    int len = snprintf(name, sizeof name, "tree%03u", i);
    assert_int_equal(kv_tree_open(txn, name, (size_t)len, flags, NULL, &tree), KV_OK);
    return tree;
}

static void make_trees(void)
{
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    for (uint64_t number = 0; number < 200; number++)
        put(kv_txn_main(txn), number, 1);
    for (unsigned i = 0; i < TREES_MANY; i++)
        put(tree_number(txn, i, KV_TREE_CREATE), i, 1);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static void drop_trees(unsigned from, unsigned to)
{
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    for (unsigned i = from; i < to; i++)
        assert_int_equal(kv_tree_drop(tree_number(txn, i, 0)), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* One transaction of a pass. */
static void pass_on(kvi_relocate *move)
{
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(kvi_relocate_step(move, txn), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static void pass_begin(kvi_relocate *move, kvi_pgno target, uint64_t budget)
{
    *move = (kvi_relocate){.target = target, .pass.budget = budget};
    assert_int_equal(kvi_relocate_begin(move, db->os, db->file.page_size), KV_OK);
}

static bool pass_at(const kvi_relocate *move, const char *name)
{
    const kvi_pass *pass = &move->pass;
    return pass->name_len == strlen(name) && memcmp(pass->name, name, pass->name_len) == 0;
}

static void test_trees_vanish(void **state)
{
    const kv_range all = {.size = sizeof all};
    kvi_relocate move;
    make_trees();
    pass_begin(&move, 1, 1); /* everything is too high, and a leaf fills a transaction */
    pass_on(&move);
    assert_true(move.pass.resumed && move.pass.name_len == 0);
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_del_range(kv_txn_main(txn), &all, NULL), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    pass_on(&move);
    assert_true(pass_at(&move, "tree000"));
    drop_trees(0, 1);
    pass_on(&move);
    assert_true(pass_at(&move, "tree001"));
    memcpy(move.pass.name, "tree099", 7); /* as if it had come to the last one */
    drop_trees(90, TREES_MANY);
    pass_on(&move); /* the catalog is next */
    assert_true(move.pass.resumed && !move.pass.done);
    drop_trees(1, 90);
    pass_on(&move);
    assert_true(move.pass.done);
    kvi_pass_end(&move.pass, db->os);

    make_trees();
    pass_begin(&move, 1, 1);
    pass_on(&move);
    txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_del_range(kv_txn_main(txn), &all, NULL), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    pass_on(&move);
    assert_true(pass_at(&move, "tree000"));
    drop_trees(0, TREES_MANY);
    pass_on(&move);
    assert_true(move.pass.done);
    kvi_pass_end(&move.pass, db->os);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* A tree vanishes while its pass goes on: the next one is moved from its first leaf on, though it has the
 * same keys. */
static void test_tree_vanishes_half_moved(void **state)
{
    enum { N = 400 };
    kvi_relocate move;
    uint64_t leaves;
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    for (unsigned i = 0; i < 2; i++)
        for (uint64_t number = 0; number < N; number++)
            put(tree_number(txn, i, KV_TREE_CREATE), number, 1);
    leaves = tree_number(txn, 1, 0)->desc.leaf_pages;
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_true(leaves > 10);
    pass_begin(&move, 1, 1);
    for (uint64_t i = 0; i < leaves / 2; i++)
        pass_on(&move);
    assert_true(move.pass.resumed && pass_at(&move, "tree000"));
    drop_trees(0, 1);
    uint64_t before = move.moved;
    do {
        pass_on(&move);
    } while (pass_at(&move, "tree001") && move.pass.resumed);
    assert_true(move.moved - before >= leaves);
    kvi_pass_end(&move.pass, db->os);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* Where nothing has to move, one transaction does not open all trees either. */
static void test_many_trees(void **state)
{
    kvi_relocate move;
    unsigned steps = 0;
    make_trees();
    pass_begin(&move, UINT64_MAX / 2, 32);
    for (; !move.pass.done; steps++)
        pass_on(&move);
    kvi_pass_end(&move.pass, db->os);
    assert_int_equal(steps, 2);
    assert_int_equal(move.moved, 0);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* ---- under a reader and a writer ---- */

static struct {
    uint64_t n;
    _Atomic bool over;
    uint64_t reads, wrong, writes, longest_us;
} load;

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Begins again and again; each snapshot must have every key with a right value. */
static void *read_on(void *context)
{
    rng r;
    rng_seed(&r, 5);
    while (!load.over) {
        kv_txn *txn;
        assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
        for (unsigned i = 0; i < 500; i++) {
            char key[24];
            kv_slice value;
            uint64_t version, number = rng_below(&r, load.n);
            size_t len = key_of(number, key);
            int rc = kv_get(kv_txn_main(txn), key, len, &value);
            bool right = is_kept(number) ? rc == KV_OK && value_right(number, value, &version)
                                         : rc == KV_NOTFOUND;
            load.wrong += !right;
            load.reads++;
        }
        kv_txn_abort(txn);
    }
    return NULL;
}

static void *write_on(void *context)
{
    rng r;
    rng_seed(&r, 6);
    for (uint64_t version = 1; !load.over; version++) {
        kv_txn *txn;
        uint64_t number, began = now_us();
        while (!is_kept(number = rng_below(&r, load.n)))
            ;
        assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
        put(kv_txn_main(txn), number, version);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        uint64_t took = now_us() - began;
        load.longest_us = took > load.longest_us ? took : load.longest_us;
        load.writes++;
        usleep(1000);
    }
    return NULL;
}

static void test_under_load(void **state)
{
    const char *mib = getenv("SHRINK_MIB");
    pthread_t reader, writer;
    load.n = (mib ? strtoull(mib, NULL, 0) : 12) * 1048576 / 145;
    fill(load.n);
    assert_int_equal(pthread_create(&reader, NULL, read_on, NULL), 0);
    assert_int_equal(pthread_create(&writer, NULL, write_on, NULL), 0);
    uint64_t began = now_us();
    kv_compact_info info = compact();
    double seconds = (double)(now_us() - began) / 1e6;
    load.over = true;
    pthread_join(reader, NULL);
    pthread_join(writer, NULL);
    kv_compact_info rest = compact(); /* what the last reader kept */
    uint64_t live = live_bytes();
    print_message("%.1f MiB, then %.1f MiB (%.2f times the %.1f MiB in use) in %.1f s, %llu steps; "
                  "%llu reads, %llu wrong; %llu writes, the longest took %.1f ms; longest step "
                  "%.1f ms; without load %.1f MiB\n",
                  (double)info.before / 1048576, (double)info.after / 1048576,
                  (double)info.after / (double)live, (double)live / 1048576, seconds,
                  (unsigned long long)info.steps, (unsigned long long)load.reads,
                  (unsigned long long)load.wrong, (unsigned long long)load.writes,
                  (double)load.longest_us / 1000, (double)info.longest_us / 1000,
                  (double)rest.after / 1048576);
    assert_int_equal(load.wrong, 0);
    assert_true(load.reads > 0 && load.writes > 0);
    assert_true(rest.after <= live * 13 / 10 + 300000);
    all_there(load.n);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* ---- damage ---- */

static void fill_tree(const char *name, unsigned entries)
{
    static const uint8_t value[20000];
    kv_txn *txn;
    kv_tree *tree;
    char key[24];
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    assert_int_equal(kv_tree_open(txn, name, strlen(name), KV_TREE_CREATE, NULL, &tree), KV_OK);
    tree = *name == 'm' ? kv_txn_main(txn) : tree;
    for (unsigned i = 0; i < entries; i++)
        assert_int_equal(kv_put(tree, key, key_of(i, key), value, 150, 0), KV_OK);
    assert_int_equal(kv_put(tree, "large", 5, value, sizeof value, 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static void drop_tree(const char *name)
{
    kv_txn *txn;
    kv_tree *tree;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    assert_int_equal(kv_tree_open(txn, name, strlen(name), 0, NULL, &tree), KV_OK);
    assert_int_equal(kv_tree_drop(tree), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* All children of the root are one and the same branch, which thus has more leaves than there are
 * pages. */
static void share_branch(surgeon *s)
{
    kvi_ptr root = s->meta.main.root, branch = surgeon_node(s, &s->meta.main, 1, 0);
    uint8_t *page = surgeon_page(s, root.page), *room = malloc(s->page_size);
    unsigned leaves = kvi_node_count(surgeon_page(s, branch.page)) + 1;
    for (unsigned i = 0; i <= kvi_node_count(page); i++)
        kvi_branch_set_child(page, s->page_size, i, branch);
    while ((kvi_node_count(page) + 1) * leaves <= s->meta.high_water) {
        char key[24];
        unsigned n = kvi_node_count(page);
        int len = snprintf(key, sizeof key, "z%03u", n);
        kvi_item item = {.key = kvi_slice_of(key, (size_t)len), .child = branch, .tally = 1};
        assert_true(kvi_branch_insert(page, s->page_size, room, n, &item));
    }
    surgeon_stamp(s, root.page);
    free(room);
}

/* A file of some pages does not become longer, and what is left of it is nearly all in use. */
static void test_small_files(void **state)
{
    for (uint64_t n = 500, put_so_far = 0; n <= 4000; n += 500) {
        kv_compact_info info = {.size = sizeof info}, again = info;
        kv_db_info db_info = {.size = sizeof db_info};
        kv_txn *txn;
        assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
        for (; put_so_far < n; put_so_far++)
            put(kv_txn_main(txn), put_so_far, 0);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        assert_int_equal(kv_db_compact(db, NULL, &info), KV_OK);
        assert_int_equal(kv_db_stat(db, &db_info), KV_OK);
        uint64_t pages = info.after / db_info.page_size, used = pages - db_info.free_pages;
        print_message("%llu pages, then %llu, %llu of them in use\n",
                      (unsigned long long)(info.before / db_info.page_size),
                      (unsigned long long)pages, (unsigned long long)used);
        assert_in_range(info.after, 0, info.before + 2 * db_info.page_size);
        assert_in_range(pages, 0, used + used / 8 + 4);
        assert_int_equal(kv_db_compact(db, NULL, &again), KV_OK);
        assert_in_range(again.after, 0, info.after);
    }
}

/* A branch that cannot be read, or that is met again and again: compaction ends, and says why. The main
 * tree lies low and stays there, but has a large value that is to be looked for. */
static void test_damaged_branches(void **state)
{
    for (int shared = 0; shared < 2; shared++) {
        surgeon s;
        char message[200];
        fill_tree("main", 9000);
        fill_tree("gone", 6000);
        fill_tree("tail", 3000);
        drop_tree("gone");
        drop_tree("main"); /* made beside the main tree, and empty */
        assert_int_equal(kv_db_close(db), KV_OK);
        surgeon_load(&s, path);
        assert_true(s.meta.main.level >= 2);
        if (shared)
            share_branch(&s);
        else
            surgeon_page(&s, surgeon_node(&s, &s.meta.main, s.meta.main.level - 1u, 1).page)[200] ^=
                1;
        surgeon_save(&s, path);
        surgeon_free(&s);
        assert_int_equal(kv_db_open(path, NULL, &db), KV_OK);
        assert_int_equal(kv_db_compact(db, NULL, NULL), KV_ECORRUPT);
        kv_db_errmsg(db, message, sizeof message);
        assert_non_null(strstr(message, shared ? "S1" : "N9"));
        assert_int_equal(end_test(NULL), KV_OK);
        assert_int_equal(begin_test(NULL), KV_OK);
    }
}

static kvi_pgno child_of(const surgeon *s, kvi_pgno page, unsigned i)
{
    return kvi_branch_child(surgeon_page(s, page), s->page_size, i).page;
}

/* The leaves below the root's second child have no entries: no number of leaves can be told from them. */
static void test_empty_leaves(void **state)
{
    surgeon s;
    kv_compact_info info = {.size = sizeof info};
    fill_tree("main", 9000);
    fill_tree("gone", 500);
    drop_tree("gone");
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_load(&s, path);
    kvi_pgno branch = child_of(&s, s.meta.main.root.page, 1);
    assert_int_equal(s.meta.main.level, 2);
    for (unsigned i = 0; i <= kvi_node_count(surgeon_page(&s, branch)); i++) {
        kvi_pgno leaf = child_of(&s, branch, i);
        while (kvi_node_count(surgeon_page(&s, leaf)) > 0)
            kvi_leaf_remove(surgeon_page(&s, leaf), s.page_size, 0);
        surgeon_stamp(&s, leaf);
    }
    surgeon_save(&s, path);
    surgeon_free(&s);
    assert_int_equal(kv_db_open(path, NULL, &db), KV_OK);
    assert_int_equal(kv_db_compact(db, NULL, &info), KV_OK);
    assert_true(info.after < info.before);
    assert_int_equal(kv_db_check(db, NULL), KV_ECORRUPT);
}

/* A branch that cannot be read on the way from one leaf to the next. */
static void test_damaged_way(void **state)
{
    surgeon s;
    kvi_relocate move;
    fill_tree("main", 9000);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_load(&s, path);
    assert_int_equal(s.meta.main.level, 2);
    surgeon_page(&s, child_of(&s, s.meta.main.root.page, 1))[200] ^= 1;
    surgeon_save(&s, path);
    surgeon_free(&s);
    assert_int_equal(kv_db_open(path, NULL, &db), KV_OK);
    pass_begin(&move, s.meta.high_water, 1000);
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(kvi_relocate_step(&move, txn), KV_ECORRUPT);
    assert_int_equal(kv_txn_commit(txn), KV_EBADTXN);
    kvi_pass_end(&move.pass, db->os);
}

/* ---- no room, no memory ---- */

static uint64_t disk_end;
static unsigned disk_refused; /* writes behind that */

static int64_t pwritev_within(const kvi_os *os, int fd, const struct iovec *iov, int n,
                              uint64_t off)
{
    disk_refused += off >= disk_end;
    return off >= disk_end ? -ENOSPC : kvi_os_posix.pwritev(os, fd, iov, n, off);
}

/* Where the disk has no room for a longer file, there are the holes. */
static void test_sparse_on_a_full_disk(void **state)
{
    enum { N = 30000, GONE = 250 };
    uint64_t *numbers = numbers_of(N);
    kvi_os os = kvi_os_posix;
    char key[24];
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    for (unsigned i = 0; i < N; i++)
        put(kv_txn_main(txn), numbers[i], 0);
    for (unsigned i = 0; i < N; i++)
        if (i % 5 > 2) /* in the pages of this transaction: there are no holes yet */
            assert_int_equal(kv_del(kv_txn_main(txn), key, key_of(numbers[i], key)), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = must_begin(db, KV_TXN_WRITE);
    for (unsigned i = 0; i < GONE; i++)
        if (i % 5 <= 2)
            assert_int_equal(kv_del(kv_txn_main(txn), key, key_of(numbers[i], key)), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    free(numbers);
    open_again(0, &os);
    disk_end = must_stat(db).file_size;
    disk_refused = 0;
    os.pwritev = pwritev_within;
    kv_compact_info info = compact();
    os.pwritev = kvi_os_posix.pwritev;
    assert_true(disk_refused > 0);
    assert_true(info.after < info.before);
    assert_int_equal(must_stat(db).entries, (N - GONE) / 5 * 3);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
    open_again(0, &kvi_os_posix);
}

/* Values that are to move where others were: each allocation fails in turn. */
static void test_no_memory_to_move(void **state)
{
    enum { JUNK = 20, KEPT = 5 };
    fault_os fault;
    kvi_relocate move;
    int rc = KV_ENOMEM;
    fault_init(&fault, &kvi_os_posix);
    for (unsigned i = 0; i < JUNK + KEPT; i++)
        put_large(i, 1);
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    for (unsigned i = 0; i < JUNK; i++)
        assert_int_equal(kv_del(kv_txn_main(txn), &i, sizeof i), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    for (uint64_t n = 1; rc != KV_OK; n++) {
        open_again(0, &fault.os);
        txn = must_begin(db, KV_TXN_WRITE);
        pass_begin(&move, txn->base.high_water / 2, 1000);
        fault_plan(&fault, (fault_case){.at = n, .mask = FAULT_MEMORY});
        rc = kvi_relocate_step(&move, txn);
        assert_int_equal(rc, fault_hit(&fault) ? KV_ENOMEM : KV_OK);
        assert_true(rc != KV_OK || n > 1);
        fault_plan(&fault, (fault_case){0});
        assert_int_equal(kv_txn_commit(txn), rc == KV_OK ? KV_OK : KV_EBADTXN);
        kvi_pass_end(&move.pass, db->os);
        assert_int_equal(kv_db_check(db, NULL), KV_OK);
    }
    assert_true(move.values > KEPT);
    open_again(0, &kvi_os_posix);
    assert_true(fault_balanced(&fault));
}

/* Leaves that are fuller than half of one and less full than that take turns: they are too full together
 * to be merged when an entry goes, but fit one leaf. */
static void make_pairs_of_leaves(void)
{
    enum { N = 2000 };
    static const uint8_t value[VALUE];
    kvi_path way;
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    kv_tree *tree = must_tree(txn, "v");
    for (uint32_t i = 0; i < N; i++) {
        uint32_t key = __builtin_bswap32(i);
        assert_int_equal(kv_put(tree, &key, sizeof key, value, VALUE, 0), KV_OK);
    }
    assert_int_equal(kvi_path_edge(tree, &way, false), KV_OK);
    uint32_t each = kvi_node_count(kvi_path_leaf(&way)->page);
    for (uint32_t i = 0; i < N; i++) {
        uint32_t key = __builtin_bswap32(i), kept = i / each % 2 ? 32 : 62;
        if (i % each * 100 >= each * kept)
            assert_int_equal(kv_del(tree, &key, sizeof key), KV_OK);
    }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static void test_no_memory_to_gather(void **state)
{
    fault_os fault;
    kvi_gather gather;
    int rc = KV_ENOMEM;
    fault_init(&fault, &kvi_os_posix);
    make_pairs_of_leaves();
    uint64_t entries = must_stat(db).entries;
    for (uint64_t n = 1; rc != KV_OK; n++) {
        open_again(0, &fault.os);
        kv_txn *txn = must_begin(db, KV_TXN_WRITE);
        gather = (kvi_gather){.pass.budget = 1000};
        assert_int_equal(kvi_gather_begin(&gather, db->os, db->file.page_size), KV_OK);
        fault_plan(&fault, (fault_case){.at = n, .mask = FAULT_MEMORY});
        rc = kvi_gather_step(&gather, txn);
        assert_int_equal(rc, fault_hit(&fault) ? KV_ENOMEM : KV_OK);
        assert_true(rc != KV_OK || n > 1);
        fault_plan(&fault, (fault_case){0});
        assert_int_equal(kv_txn_commit(txn), rc == KV_OK ? KV_OK : KV_EBADTXN);
        kvi_pass_end(&gather.pass, db->os);
        assert_int_equal(must_stat(db).entries, entries);
        assert_int_equal(kv_db_check(db, NULL), KV_OK);
    }
    assert_true(gather.saved > 0);
    open_again(0, &kvi_os_posix);
    assert_true(fault_balanced(&fault));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_test, end_test)
    const struct CMUnitTest tests[] = {
        TEST(test_smaller),
        TEST(test_smallest_steps),
        TEST(test_sparse),
        TEST(test_sparse_and_held),
        TEST(test_sparse_and_shared),
        TEST(test_sparse_for_ever),
        TEST(test_value_that_stays),
        TEST(test_value_behind_others),
        TEST(test_trees_and_values),
        TEST(test_held),
        TEST(test_wrong_and_stopped),
        TEST(test_trees_vanish),
        TEST(test_tree_vanishes_half_moved),
        TEST(test_many_trees),
        TEST(test_under_load),
        TEST(test_reader_at_the_end),
        TEST(test_values_of_a_snapshot),
        TEST(test_small_files),
        TEST(test_damaged_branches),
        TEST(test_reader_of_a_longer_file),
        TEST(test_few_pages_at_the_end),
        TEST(test_reader_beside_free_pages),
        TEST(test_end_that_stays),
        TEST(test_sparse_and_longer),
        TEST(test_sparse_on_a_full_disk),
        TEST(test_dense),
        TEST(test_empty_leaves),
        TEST(test_damaged_way),
        TEST(test_no_memory_to_move),
        TEST(test_no_memory_to_gather),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
