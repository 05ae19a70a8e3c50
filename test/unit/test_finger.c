/* Ascending puts, which need no search, between all that may end their run: the tree is what a sorted
 * array is, counts and ranks included. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base.h"
#include "db.h"
#include "fault_os.h"
#include "format.h"
#include "rng.h"
#include "scratch.h"
#include "sorted.h"

enum { STEPS = 6000, KEY = 12, VALUE_ROOM = 700 };

static scratch dir;

typedef struct run {
    kv_db *db;
    kv_txn *txn;
    kv_tree *tree, *other;
    kv_cursor *cursor;
    sorted model, saved, committed;
    uint32_t savepoint; /* 0: none */
    rng rng;
    uint64_t counter; /* of the greatest key */
    unsigned lengths; /* of values: 1: all the same */
    uint8_t key[KEY], value[VALUE_ROOM];
} run;

static kv_slice key_of(run *r, uint64_t counter)
{
    memcpy(r->key, "same", 4);
    kvi_put32be(r->key + 4, (uint32_t)(counter >> 32));
    kvi_put32be(r->key + 8, (uint32_t)counter);
    return (kv_slice){r->key, KEY};
}

static kv_slice value_of(run *r)
{
    size_t len = rng_one_in(&r->rng, 40) ? rng_below(&r->rng, VALUE_ROOM)
                                         : 20 + rng_below(&r->rng, r->lengths);
    for (size_t i = 0; i < len; i++)
        r->value[i] = (uint8_t)rng_next(&r->rng);
    return (kv_slice){r->value, len};
}

static void begin(run *r)
{
    assert_int_equal(kv_txn_begin(r->db, KV_TXN_WRITE, &r->txn), KV_OK);
    r->tree = kv_txn_main(r->txn);
    assert_int_equal(kv_tree_open(r->txn, "other", 5, KV_TREE_CREATE, NULL, &r->other), KV_OK);
    assert_int_equal(kv_cursor_open(r->tree, NULL, &r->cursor), KV_OK);
    r->savepoint = 0;
}

static void replace(sorted *to, const sorted *from)
{
    sorted_clear(to);
    sorted_copy(to, from);
}

static void end(run *r, bool commit)
{
    const kv_check_options options = {.size = sizeof options};
    kv_cursor_close(r->cursor);
    if (!commit) {
        kv_txn_abort(r->txn);
        replace(&r->model, &r->committed);
    } else {
        assert_int_equal(kv_txn_commit(r->txn), KV_OK);
        replace(&r->committed, &r->model);
        assert_int_equal(kv_db_check(r->db, &options), KV_OK);
    }
}

static int put(run *r, kv_slice key, kv_slice value, uint32_t flags)
{
    void *place;
    if (!rng_one_in(&r->rng, 30))
        return kv_put(r->tree, key.ptr, key.len, value.ptr, value.len, flags);
    int rc = kv_reserve(r->tree, key.ptr, key.len, value.len, flags, &place);
    if (rc == KV_OK)
        memcpy(place, value.ptr, value.len);
    return rc;
}

/* A new greatest key. */
static void step_ascend(run *r)
{
    uint64_t far = rng_one_in(&r->rng, 50) ? 1u << rng_below(&r->rng, 20) : 1;
    kv_slice key = key_of(r, r->counter += 1 + rng_below(&r->rng, far)), value = value_of(r);
    if (rng_one_in(&r->rng, 20))
        assert_int_equal(put(r, key, value, KV_PUT_PRESENT), KV_NOTFOUND);
    assert_int_equal(put(r, key, value, rng_one_in(&r->rng, 2) ? KV_PUT_ABSENT : 0), KV_OK);
    sorted_put(&r->model, key, value);
}

/* One that is there, often the last, or lies between two. */
static void step_elsewhere(run *r)
{
    uint64_t back = rng_one_in(&r->rng, 2) ? 0 : rng_below(&r->rng, 500);
    kv_slice key = key_of(r, r->counter - KVI_MIN(back, r->counter)), value = value_of(r);
    bool found;
    sorted_lower(&r->model, key, &found);
    if (rng_one_in(&r->rng, 3)) {
        assert_int_equal(kv_del(r->tree, key.ptr, key.len), found ? KV_OK : KV_NOTFOUND);
        sorted_del(&r->model, key);
        return;
    }
    if (found)
        assert_int_equal(put(r, key, value, KV_PUT_ABSENT), KV_EXISTS);
    assert_int_equal(put(r, key, value, 0), KV_OK);
    sorted_put(&r->model, key, value);
}

static void step_savepoint(run *r)
{
    if (r->savepoint && rng_one_in(&r->rng, 2)) {
        assert_int_equal(kv_txn_rollback_to(r->txn, r->savepoint), KV_OK);
        replace(&r->model, &r->saved);
    } else if (r->savepoint) {
        assert_int_equal(kv_txn_release(r->txn, r->savepoint), KV_OK);
        r->savepoint = 0;
    } else {
        assert_int_equal(kv_txn_savepoint(r->txn, &r->savepoint), KV_OK);
        replace(&r->saved, &r->model);
    }
}

/* The cursor goes to the last entry, and a put behind it shows. */
static void step_cursor(run *r)
{
    kv_slice key, value;
    int rc = kv_cursor_last(r->cursor);
    assert_int_equal(rc, r->model.n ? KV_OK : KV_NOTFOUND);
    step_ascend(r);
    assert_int_equal(kv_cursor_next(r->cursor), KV_OK);
    assert_int_equal(kv_cursor_get(r->cursor, &key, &value), KV_OK);
    assert_int_equal(sorted_compare(key, r->model.pairs[r->model.n - 1].key), 0);
    assert_int_equal(sorted_compare(value, r->model.pairs[r->model.n - 1].value), 0);
}

static void see_same(run *r)
{
    uint64_t count;
    kv_pair pair;
    assert_int_equal(kv_count(r->tree, NULL, &count), KV_OK);
    assert_int_equal(count, r->model.n);
    for (unsigned i = 0; i < 3 && r->model.n; i++) {
        size_t n = i == 0 ? r->model.n - 1 : rng_below(&r->rng, r->model.n);
        const kv_pair *want = &r->model.pairs[n];
        assert_int_equal(kv_nth(r->tree, NULL, n, &pair), KV_OK);
        assert_int_equal(sorted_compare(pair.key, want->key), 0);
        assert_int_equal(sorted_compare(pair.value, want->value), 0);
        assert_int_equal(kv_rank(r->tree, want->key.ptr, want->key.len, &count), KV_OK);
        assert_int_equal(count, n);
    }
}

static void step(run *r)
{
    switch (rng_below(&r->rng, 400)) {
    case 0:
    case 1:
        end(r, rng_one_in(&r->rng, 2));
        begin(r);
        break;
    case 2:
    case 3:
    case 4:
        step_savepoint(r);
        break;
    case 5:
    case 6:
        step_elsewhere(r);
        break;
    case 7:
    case 8:
        assert_int_equal(kv_put(r->other, key_of(r, r->counter).ptr, KEY, "", 0, 0), KV_OK);
        break;
    case 9:
    case 10:
        step_cursor(r);
        break;
    case 11:
        if (rng_one_in(&r->rng, 10)) {
            assert_int_equal(kv_tree_clear(r->tree), KV_OK);
            sorted_clear(&r->model);
        }
        break;
    default:
        step_ascend(r);
    }
}

static void run_random(uint32_t page_size, unsigned lengths)
{
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = page_size};
    run r = {.lengths = lengths};
    const char *path = scratch_path(&dir, "finger.kv");
    remove(path);
    rng_seed(&r.rng, page_size + lengths);
    assert_int_equal(kv_db_open(path, &options, &r.db), KV_OK);
    begin(&r);
    for (unsigned i = 0; i < STEPS; i++) {
        step(&r);
        if (rng_one_in(&r.rng, 8))
            see_same(&r);
    }
    see_same(&r);
    end(&r, true);
    assert_int_equal(kv_db_close(r.db), KV_OK);
    sorted_clear(&r.model);
    sorted_clear(&r.saved);
    sorted_clear(&r.committed);
}

static void test_random(void **state)
{
    (void)state;
    for (uint32_t page_size = KVI_PAGE_MIN; page_size <= 65536; page_size *= 4)
        for (unsigned lengths = 1; lengths < 3; lengths++)
            run_random(page_size, lengths);
}

/* What a put is refused for holds at the finger, too. */
static void test_refused(void **state)
{
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
    run r = {.lengths = 1};
    kv_tree *tree;
    const char *path = scratch_path(&dir, "refused.kv");
    (void)state;
    remove(path);
    assert_int_equal(kv_db_open(path, &options, &r.db), KV_OK);
    begin(&r);
    assert_int_equal(kv_tree_open(r.txn, "gone", 4, KV_TREE_CREATE, NULL, &tree), KV_OK);
    for (uint64_t i = 0; i < 5; i++)
        assert_int_equal(kv_put(tree, key_of(&r, i).ptr, KEY, "v", 1, 0), KV_OK);
    assert_int_equal(kv_tree_drop(tree), KV_OK);
    assert_int_equal(kv_put(tree, key_of(&r, 6).ptr, KEY, "v", 1, 0), KV_NOTFOUND);
    assert_int_equal(kv_tree_open(r.txn, "m", 1, KV_TREE_CREATE | KV_TREE_MULTI, NULL, &tree),
                     KV_OK);
    for (uint64_t i = 0; i < 5; i++)
        assert_int_equal(kv_multi_put(tree, key_of(&r, i).ptr, KEY, "", 0), KV_OK);
    assert_int_equal(kv_put(tree, key_of(&r, 6).ptr, KEY, "", 0, 0), KV_EINVAL);
    end(&r, true);
    assert_int_equal(kv_db_close(r.db), KV_OK);
    sorted_clear(&r.committed);
}

/* A value that is written at once, since it is large, fails before it changes the tree: the transaction has
 * failed all the same. */
static void test_refused_after_a_failure(void **state)
{
    static const uint8_t large[200000];
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE, .memory_budget = 100000};
    fault_os fault;
    kv_db *db;
    kv_txn *txn;
    const char *path = scratch_path(&dir, "failed.kv");
    (void)state;
    remove(path);
    fault_init(&fault, &kvi_os_posix);
    assert_int_equal(kvi_db_open(&fault.os, path, &options, &db, NULL, 0), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    kv_tree *tree = kv_txn_main(txn);
    for (char c = 'a'; c < 'f'; c++)
        assert_int_equal(kv_put(tree, &c, 1, "v", 1, 0), KV_OK);
    fault_plan(&fault, (fault_case){.at = 1, .mask = FAULT_BIT(FAULT_PWRITEV)});
    assert_int_equal(kv_put(tree, "g", 1, large, sizeof large, 0), KV_EIO);
    assert_true(fault_hit(&fault));
    assert_int_equal(kv_put(tree, "h", 1, "v", 1, 0), KV_EBADTXN);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* Leaves of an ascending load are full, also when the keys come to share less or more. */
static void test_full(void **state)
{
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
    run r = {.lengths = 1};
    kv_tree_info info = {.size = sizeof info};
    const char *path = scratch_path(&dir, "full.kv");
    (void)state;
    remove(path);
    assert_int_equal(kv_db_open(path, &options, &r.db), KV_OK);
    begin(&r);
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t counter = i < 10000 ? i * 0x123456789abcd : 10000 * 0x123456789abcd + i;
        assert_int_equal(kv_put(r.tree, key_of(&r, counter).ptr, KEY, r.value, 50, 0), KV_OK);
    }
    assert_int_equal(kv_tree_stat(r.tree, &info), KV_OK);
    /* head, offset, value; tails of three bytes at least in the first half */
    uint64_t room = 4096 - 64 - 64, least = 10000 * 59 / room + 10000 * 56 / room;
    assert_in_range(info.leaf_pages, least, least * 103 / 100);
    end(&r, true);
    assert_int_equal(kv_db_close(r.db), KV_OK);
    sorted_clear(&r.committed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_refused_after_a_failure),
        cmocka_unit_test(test_full),
    };
    scratch_make(&dir);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    scratch_remove(&dir);
    return failed;
}
