/* Many keys in one call give what one call for each key would give. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base.h"
#include "kv.h"
#include "rng.h"
#include "scratch.h"

enum { KEYS = 3000, ROOM = 64 };

static scratch dir;

static kv_db *open_db(uint32_t page_size)
{
    kv_db *db;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = page_size};
    const char *path = scratch_path(&dir, "many.kv");
    remove(path);
    assert_int_equal(kv_db_open(path, &options, &db), KV_OK);
    return db;
}

/* Kinds of keys: random and of one length; with long beginnings in common; of all lengths. */
static kv_slice key_at(unsigned kind, uint64_t i, uint8_t room[ROOM])
{
    uint64_t spread = (i + 1) * 0x9e3779b97f4a7c15ull;
    if (kind == 0) {
        memcpy(room, &spread, 8);
        memcpy(room + 8, &i, 8);
        return (kv_slice){room, 16};
    }
    if (kind == 1)
        return (kv_slice){room,
                          (size_t)snprintf((char *)room, ROOM, "customers:user:%09llu:profile",
                                           (unsigned long long)(spread % 1000000000))};
    size_t len = spread % 40;
    memset(room, 'a', len);
    if (len > 4)
        memcpy(room + len - 4, &spread, 4);
    return (kv_slice){room, len};
}

static size_t value_len_at(unsigned kind, uint64_t i)
{
    return kind == 0 ? 100 : i % 7 == 0 ? 0 : i * 31 % 300;
}

static void *value_at(unsigned kind, uint64_t i, uint8_t *room)
{
    memset(room, (int)(i * 7), value_len_at(kind, i));
    return room;
}

static void fill(kv_tree *tree, unsigned kind)
{
    uint8_t room[ROOM], value[512];
    for (uint64_t i = 0; i < KEYS; i += 2) {
        kv_slice key = key_at(kind, i, room);
        assert_int_equal(
            kv_put(tree, key.ptr, key.len, value_at(kind, i, value), value_len_at(kind, i), 0),
            KV_OK);
    }
}

/* Half of the keys are there, in no order; groups of all sizes. */
static void see_same(kv_tree *tree, unsigned kind)
{
    static uint8_t rooms[100][ROOM];
    static kv_slice keys[100], values[100];
    kv_slice one;
    int results[100];
    rng r;
    rng_seed(&r, kind + 1);
    for (size_t n = 0; n <= 100; n += 1 + n / 9) {
        for (size_t i = 0; i < n; i++)
            keys[i] = key_at(kind, rng_below(&r, KEYS), rooms[i]);
        assert_int_equal(kv_get_many(tree, n, keys, values, results), KV_OK);
        for (size_t i = 0; i < n; i++) {
            int rc = kv_get(tree, keys[i].ptr, keys[i].len, &one);
            assert_int_equal(results[i], rc);
            assert_true((values[i].ptr != NULL) == (rc == KV_OK));
            if (rc == KV_OK)
                assert_true(values[i].ptr == one.ptr && values[i].len == one.len);
        }
    }
}

static void test_get_many(void **state)
{
    static const uint32_t page_sizes[] = {4096, 16384, 65536};
    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) {
        for (unsigned p = 0; p < KVI_COUNT(page_sizes); p++) {
            kv_db *db = open_db(page_sizes[p]);
            kv_txn *txn;
            assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
            see_same(kv_txn_main(txn), kind);
            fill(kv_txn_main(txn), kind);
            see_same(kv_txn_main(txn), kind); /* private pages */
            assert_int_equal(kv_txn_commit(txn), KV_OK);
            assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
            see_same(kv_txn_main(txn), kind);
            kv_txn_abort(txn);
            assert_int_equal(kv_db_close(db), KV_OK);
        }
    }
}

static void test_get_many_arguments(void **state)
{
    kv_db *db = open_db(4096);
    kv_txn *txn;
    kv_tree *gone;
    kv_slice keys[2] = {{"a", 1}, {NULL, 0}}, bad = {NULL, 1}, values[2] = {{0}};
    int results[2] = {7, 7};
    (void)state;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    kv_tree *tree = kv_txn_main(txn);
    assert_int_equal(kv_put(tree, NULL, 0, "empty", 5, 0), KV_OK);
    assert_int_equal(kv_get_many(tree, 2, keys, NULL, results), KV_OK);
    assert_int_equal(results[0], KV_NOTFOUND);
    assert_int_equal(results[1], KV_OK);
    assert_int_equal(kv_get_many(tree, 2, keys, values, NULL), KV_OK);
    assert_null(values[0].ptr);
    assert_memory_equal(values[1].ptr, "empty", 5);
    assert_int_equal(kv_get_many(tree, 0, NULL, NULL, NULL), KV_OK);
    assert_int_equal(kv_get_many(tree, 1, NULL, values, results), KV_EINVAL);
    assert_int_equal(kv_get_many(NULL, 1, keys, values, results), KV_EINVAL);
    assert_int_equal(kv_get_many(tree, 1, &bad, values, results), KV_EINVAL);
    assert_int_equal(kv_tree_open(txn, "t", 1, KV_TREE_CREATE, NULL, &gone), KV_OK);
    assert_int_equal(kv_tree_drop(gone), KV_OK);
    assert_int_equal(kv_get_many(gone, 1, keys, values, results), KV_NOTFOUND);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* ---- putting ---- */

static void see_equal_trees(kv_tree *a, kv_tree *b)
{
    kv_cursor *ca, *cb;
    kv_slice ka, kb, va, vb;
    int rc;
    assert_int_equal(kv_cursor_open(a, NULL, &ca), KV_OK);
    assert_int_equal(kv_cursor_open(b, NULL, &cb), KV_OK);
    while ((rc = kv_cursor_next(ca)) == KV_OK) {
        assert_int_equal(kv_cursor_next(cb), KV_OK);
        assert_int_equal(kv_cursor_get(ca, &ka, &va), KV_OK);
        assert_int_equal(kv_cursor_get(cb, &kb, &vb), KV_OK);
        assert_true(ka.len == kb.len && va.len == vb.len);
        assert_true(!ka.len || memcmp(ka.ptr, kb.ptr, ka.len) == 0);
        assert_true(!va.len || memcmp(va.ptr, vb.ptr, va.len) == 0);
    }
    assert_int_equal(rc, KV_NOTFOUND);
    assert_int_equal(kv_cursor_next(cb), KV_NOTFOUND);
    kv_cursor_close(ca);
    kv_cursor_close(cb);
}

/* Batches with repeated keys, some sorted, with and without conditions, beside single puts. */
static void test_put_many(void **state)
{
    enum { BATCH = 700 };
    static uint8_t rooms[BATCH][ROOM], values[BATCH][512];
    static kv_pair pairs[BATCH];
    rng r;
    (void)state;
    rng_seed(&r, 5);
    for (unsigned kind = 0; kind < 3; kind++) {
        kv_db *db = open_db(4096);
        kv_txn *txn;
        kv_tree *one;
        assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
        assert_int_equal(kv_tree_open(txn, "one", 3, KV_TREE_CREATE, NULL, &one), KV_OK);
        for (unsigned round = 0; round < 40; round++) {
            size_t n = rng_below(&r, BATCH + 1);
            uint32_t flags = round % 4 == 3 ? (uint32_t)rng_between(&r, 1, 2) : 0;
            int expect = KV_OK;
            for (size_t i = 0; i < n; i++) {
                uint64_t at = round % 3 == 0 ? i * KEYS / BATCH : rng_below(&r, KEYS);
                pairs[i].key = key_at(kind, at, rooms[i]);
                pairs[i].value.len = value_len_at(kind, at + round);
                pairs[i].value.ptr = value_at(kind, at + round, values[i]);
            }
            for (size_t i = 0; i < n; i++) {
                int rc = kv_put(one, pairs[i].key.ptr, pairs[i].key.len, pairs[i].value.ptr,
                                pairs[i].value.len, flags);
                assert_true(rc >= 0);
                expect = rc ? rc : expect;
            }
            assert_int_equal(kv_put_many(kv_txn_main(txn), n, pairs, flags), expect);
        }
        see_equal_trees(one, kv_txn_main(txn));
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        assert_int_equal(kv_db_check(db, NULL), KV_OK);
        assert_int_equal(kv_db_close(db), KV_OK);
    }
}

static void test_put_many_arguments(void **state)
{
    static char long_key[4096];
    kv_db *db = open_db(4096);
    kv_txn *txn;
    kv_slice value;
    kv_pair pairs[2] = {{{"a", 1}, {"1", 1}}, {{"b", 1}, {"2", 1}}}, bad = {{NULL, 1}, {0}};
    (void)state;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    kv_tree *tree = kv_txn_main(txn);
    assert_int_equal(kv_put_many(tree, 0, NULL, 0), KV_OK);
    assert_int_equal(kv_put_many(tree, 1, NULL, 0), KV_EINVAL);
    assert_int_equal(kv_put_many(NULL, 1, pairs, 0), KV_EINVAL);
    assert_int_equal(kv_put_many(tree, 1, &bad, 0), KV_EINVAL);
    assert_int_equal(kv_put_many(tree, 1, pairs, KV_PUT_ABSENT | KV_PUT_PRESENT), KV_EINVAL);
    pairs[1].key = (kv_slice){long_key, sizeof long_key};
    assert_int_equal(kv_put_many(tree, 2, pairs, 0), KV_ETOOBIG);
    assert_int_equal(kv_get(tree, "a", 1, &value), KV_NOTFOUND); /* nothing was changed */
    assert_int_equal(kv_put_many(tree, 1, pairs, 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    assert_int_equal(kv_get(kv_txn_main(txn), "a", 1, &value), KV_OK);
    assert_int_equal(kv_put_many(kv_txn_main(txn), 1, pairs, 0), KV_EREADONLY);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
}

static int setup(void **state)
{
    (void)state;
    scratch_make(&dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(&dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get_many),
        cmocka_unit_test(test_get_many_arguments),
        cmocka_unit_test(test_put_many),
        cmocka_unit_test(test_put_many_arguments),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
