/* Conditional puts, compare and swap, swap, take, update: answers, old values, what is left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "rng.h"
#include "sim_os.h"
#include <stdio.h>

#define LARGE 20000

static sim_disk *disk;
static kv_db *db;
static kv_txn *txn;
static kv_tree *tree;
static uint8_t bytes[2 * LARGE];

static int setup(void **state)
{
    rng random;
    disk = sim_new(1);
    disk->recording = SIM_RECORD_NOTHING;
    rng_seed(&random, 9);
    rng_fill(&random, bytes, sizeof bytes);
    return 0;
}

static int teardown(void **state)
{
    sim_free(disk);
    return 0;
}

static int open_fresh(void **state)
{
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = 4096};
    sim_reset(disk);
    int rc = kvi_db_open(sim_os(disk), "db", &options, &db, NULL, 0);
    if (rc == KV_OK)
        rc = kv_txn_begin(db, KV_TXN_WRITE, &txn);
    tree = rc == KV_OK ? kv_txn_main(txn) : NULL;
    return rc;
}

static int close_all(void **state)
{
    if (kv_txn_commit(txn) != KV_OK)
        return -1;
    return kv_db_check(db, NULL) == KV_OK ? kv_db_close(db) : -1;
}

static void next(uint32_t flags)
{
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_txn_begin(db, flags, &txn), KV_OK);
    tree = kv_txn_main(txn);
}

static kv_slice text(const char *s)
{
    return (kv_slice){s, strlen(s)};
}

static void put(const char *key, const char *value)
{
    assert_int_equal(kv_put(tree, key, strlen(key), value, strlen(value), 0), KV_OK);
}

static void expect_slice(kv_slice found, kv_slice want)
{
    if (!want.ptr) {
        assert_null(found.ptr);
        assert_int_equal(found.len, 0);
        return;
    }
    assert_non_null(found.ptr);
    assert_int_equal(found.len, want.len);
    assert_true(want.len == 0 || memcmp(found.ptr, want.ptr, want.len) == 0);
}

/* NULL: the key is absent. */
static void expect(const char *key, const char *value)
{
    kv_slice found;
    int rc = kv_get(tree, key, strlen(key), &found);
    assert_int_equal(rc, value ? KV_OK : KV_NOTFOUND);
    if (value)
        expect_slice(found, text(value));
}

static int put_with(const char *value, uint32_t flags, const char *equals, kv_slice *old)
{
    kv_put_options options = {.size = sizeof options, .flags = flags, .old = old};
    if (equals)
        options.equals = text(equals);
    return kv_put_with(tree, "k", 1, value, strlen(value), &options);
}

/* ---- conditional puts ---- */

static void test_put_with(void **state)
{
    kv_slice old = text("unwritten");
    assert_int_equal(put_with("0", KV_PUT_PRESENT, NULL, &old), KV_NOTFOUND);
    expect_slice(old, (kv_slice){0});
    assert_int_equal(put_with("0", KV_PUT_EQUALS, "", &old), KV_NOTFOUND);
    expect("k", NULL);
    assert_int_equal(put_with("", KV_PUT_ABSENT, NULL, &old), KV_OK);
    expect_slice(old, (kv_slice){0});
    expect("k", "");
    assert_int_equal(put_with("1", KV_PUT_ABSENT, NULL, &old), KV_EXISTS);
    expect_slice(old, text(""));
    assert_int_equal(put_with("2", KV_PUT_EQUALS, "1", &old), KV_MISMATCH);
    assert_int_equal(put_with("2", KV_PUT_EQUALS, "", &old), KV_OK);
    expect_slice(old, text(""));
    assert_int_equal(put_with("3", KV_PUT_EQUALS, "22", NULL), KV_MISMATCH);
    assert_int_equal(put_with("3", KV_PUT_EQUALS, "3", &old), KV_MISMATCH);
    expect_slice(old, text("2"));
    expect("k", "2");
    assert_int_equal(put_with("3", KV_PUT_EQUALS, "2", NULL), KV_OK);
    assert_int_equal(put_with("4", KV_PUT_PRESENT, NULL, &old), KV_OK);
    expect_slice(old, text("3"));
    assert_int_equal(put_with("5", 0, NULL, &old), KV_OK);
    expect_slice(old, text("4"));
    assert_int_equal(kv_put_with(tree, "k", 1, "6", 1, NULL), KV_OK);
    expect("k", "6");
}

static void test_arguments(void **state)
{
    kv_slice good = text("v"), bad = {NULL, 1}, old = text("unwritten");
    kv_put_options options = {.size = sizeof options};
    assert_int_equal(kv_put_with(NULL, "k", 1, "v", 1, NULL), KV_EINVAL);
    assert_int_equal(kv_put_with(tree, NULL, 1, "v", 1, NULL), KV_EINVAL);
    assert_int_equal(kv_put_with(tree, "k", 1, NULL, 1, NULL), KV_EINVAL);
    options.flags = 64;
    assert_int_equal(kv_put_with(tree, "k", 1, "v", 1, &options), KV_EINVAL);
    options.flags = KV_PUT_ABSENT | KV_PUT_EQUALS;
    assert_int_equal(kv_put_with(tree, "k", 1, "v", 1, &options), KV_EINVAL);
    options.flags = KV_PUT_EQUALS;
    options.equals = bad;
    assert_int_equal(kv_put_with(tree, "k", 1, "v", 1, &options), KV_EINVAL);
    options.flags = 0;
    options.equals = good; /* compared by nobody */
    assert_int_equal(kv_put_with(tree, "k", 1, "v", 1, &options), KV_EINVAL);
    options = (kv_put_options){0};
    assert_int_equal(kv_put_with(tree, "k", 1, "v", 1, &options), KV_EINVAL);
    assert_int_equal(kv_put(tree, "k", 1, "v", 1, KV_PUT_EQUALS), KV_EINVAL);
    assert_int_equal(kv_cas(NULL, "k", 1, NULL, &good, NULL), KV_EINVAL);
    assert_int_equal(kv_cas(tree, NULL, 1, NULL, &good, NULL), KV_EINVAL);
    assert_int_equal(kv_cas(tree, "k", 1, &bad, &good, NULL), KV_EINVAL);
    assert_int_equal(kv_cas(tree, "k", 1, NULL, &bad, NULL), KV_EINVAL);
    assert_int_equal(kv_swap(NULL, "k", 1, &good, &old), KV_EINVAL);
    assert_int_equal(kv_swap(tree, "k", 1, &bad, &old), KV_EINVAL);
    assert_int_equal(kv_swap(tree, "k", 1, &good, NULL), KV_EINVAL);
    assert_int_equal(kv_take(NULL, "k", 1, &old), KV_EINVAL);
    assert_int_equal(kv_take(tree, NULL, 1, &old), KV_EINVAL);
    assert_int_equal(kv_take(tree, "k", 1, NULL), KV_EINVAL);
    assert_int_equal(kv_update(tree, "k", 1, NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_cas(tree, bytes, 961, NULL, &good, &old), KV_ETOOBIG);
    expect_slice(old, text("unwritten"));
    expect("k", NULL); /* nothing was done */
}

static void test_readonly(void **state)
{
    kv_slice v = text("v"), old;
    put("k", "1");
    next(KV_TXN_READ);
    assert_int_equal(kv_put_with(tree, "k", 1, "v", 1, NULL), KV_EREADONLY);
    assert_int_equal(kv_cas(tree, "k", 1, NULL, &v, NULL), KV_EREADONLY);
    assert_int_equal(kv_swap(tree, "k", 1, &v, &old), KV_EREADONLY);
    assert_int_equal(kv_take(tree, "k", 1, &old), KV_EREADONLY);
    expect("k", "1");
}

/* ---- compare and swap ---- */

static void test_cas(void **state)
{
    kv_slice one = text("1"), two = text("2"), actual = text("unwritten");
    assert_int_equal(kv_cas(tree, "k", 1, &one, &two, &actual), KV_NOTFOUND);
    expect_slice(actual, (kv_slice){0});
    assert_int_equal(kv_cas(tree, "k", 1, NULL, NULL, &actual), KV_OK); /* absent, and stays so */
    expect("k", NULL);
    assert_int_equal(kv_cas(tree, "k", 1, NULL, &one, &actual), KV_OK);
    expect_slice(actual, (kv_slice){0});
    assert_int_equal(kv_cas(tree, "k", 1, NULL, &two, &actual), KV_EXISTS);
    expect_slice(actual, one);
    assert_int_equal(kv_cas(tree, "k", 1, NULL, NULL, NULL), KV_EXISTS);
    assert_int_equal(kv_cas(tree, "k", 1, &two, &two, &actual), KV_MISMATCH);
    expect_slice(actual, one);
    assert_int_equal(kv_cas(tree, "k", 1, &two, NULL, NULL), KV_MISMATCH);
    expect("k", "1");
    assert_int_equal(kv_cas(tree, "k", 1, &one, &two, &actual), KV_OK);
    expect_slice(actual, one);
    expect("k", "2");
    assert_int_equal(kv_cas(tree, "k", 1, &two, NULL, &actual), KV_OK);
    expect_slice(actual, two);
    expect("k", NULL);
}

static void test_swap_and_take(void **state)
{
    kv_slice one = text("1"), two = text("2"), old = text("unwritten");
    assert_int_equal(kv_swap(tree, "k", 1, NULL, &old), KV_OK); /* absent to absent */
    expect_slice(old, (kv_slice){0});
    assert_int_equal(kv_take(tree, "k", 1, &old), KV_NOTFOUND);
    assert_int_equal(kv_swap(tree, "k", 1, &one, &old), KV_OK);
    expect_slice(old, (kv_slice){0});
    assert_int_equal(kv_swap(tree, "k", 1, &two, &old), KV_OK);
    expect_slice(old, one);
    assert_int_equal(kv_swap(tree, "k", 1, NULL, &old), KV_OK);
    expect_slice(old, two);
    expect("k", NULL);
    put("k", "3");
    assert_int_equal(kv_take(tree, "k", 1, &old), KV_OK);
    expect_slice(old, text("3"));
    expect("k", NULL);
}

/* ---- old values ---- */

/* An old value is whole although its page changed, wherever it lay: in a page of the file or of the
 * transaction, in a run of either, compressed or not. */
static void old_values(kv_tree *of, size_t len)
{
    kv_slice old, shift;
    assert_int_equal(kv_put(of, "k", 1, bytes, len, 0), KV_OK);
    for (size_t i = 0; i < 8; i++) {
        shift = (kv_slice){bytes + i + 1, len};
        assert_int_equal(kv_swap(of, "k", 1, &shift, &old), KV_OK);
        expect_slice(old, (kv_slice){bytes + i, len});
    }
    assert_int_equal(kv_take(of, "k", 1, &old), KV_OK);
    expect_slice(old, (kv_slice){bytes + 8, len});
}

static void test_old_values(void **state)
{
    static const size_t lengths[] = {0, 1, 100, 900, 5000, LARGE};
    kv_tree_options options = {.size = sizeof options, .compress_from = 100};
    kv_tree *packed;
    kv_slice old;
    for (size_t i = 0; i < KVI_COUNT(lengths); i++) {
        assert_int_equal(kv_tree_open(txn, "p", 1, KV_TREE_CREATE, &options, &packed), KV_OK);
        old_values(tree, lengths[i]);
        old_values(packed, lengths[i]);
        assert_int_equal(kv_put(tree, "k", 1, bytes, lengths[i], 0), KV_OK);
        next(KV_TXN_WRITE);
        assert_int_equal(kv_swap(tree, "k", 1, &(kv_slice){"new", 3}, &old), KV_OK);
        expect_slice(old, (kv_slice){bytes, lengths[i]});
        assert_int_equal(kv_put(tree, "other", 5, bytes + 7, lengths[i], 0), KV_OK);
    }
}

/* What a change gave back is an argument of the next one: as value, as key. */
static void test_old_values_as_arguments(void **state)
{
    kv_slice old;
    char key[8];
    put("k", "v000");
    for (unsigned i = 1; i < 300; i++) {
        snprintf(key, sizeof key, "v%03u", i);
        assert_int_equal(kv_swap(tree, "k", 1, &(kv_slice){key, 4}, &old), KV_OK);
        assert_int_equal(kv_put(tree, "copy", 4, old.ptr, old.len, 0), KV_OK);
        assert_int_equal(kv_swap(tree, "copy", 4, &(kv_slice){key, 4}, &old), KV_OK);
        snprintf(key, sizeof key, "v%03u", i - 1);
        expect_slice(old, text(key));
        kv_slice again;
        assert_int_equal(kv_swap(tree, old.ptr, old.len, &old, &again), KV_OK);
        expect_slice(again, (kv_slice){0});
        expect(key, key);
    }
}

/* The key is in the way of the old value that comes back, while pages split. */
static void test_old_value_as_key(void **state)
{
    kv_slice old, again, found;
    char key[8];
    for (unsigned i = 0; i < 300; i++) {
        snprintf(key, sizeof key, "k%03u", i);
        put(key, "x");
    }
    for (unsigned i = 0; i < 300; i++) {
        snprintf(key, sizeof key, "k%03u", i);
        put("holder", key);
        assert_int_equal(kv_take(tree, "holder", 6, &old), KV_OK);
        assert_int_equal(kv_swap(tree, old.ptr, old.len, &(kv_slice){bytes + i, 700}, &again),
                         KV_OK);
        expect_slice(again, text("x"));
        assert_int_equal(kv_get(tree, key, 4, &found), KV_OK);
        expect_slice(found, (kv_slice){bytes + i, 700});
    }
}

/* Every entry of many full pages. */
static void test_many(void **state)
{
    char key[16];
    kv_slice old;
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(key, sizeof key, "%05u", i * 7919 % 3000);
        assert_int_equal(kv_cas(tree, key, 5, NULL, &(kv_slice){bytes + i, i % 200}, NULL), KV_OK);
    }
    next(KV_TXN_WRITE);
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(key, sizeof key, "%05u", i * 7919 % 3000);
        if (i % 2)
            assert_int_equal(kv_take(tree, key, 5, &old), KV_OK);
        else
            assert_int_equal(kv_swap(tree, key, 5, &(kv_slice){bytes, i % 1500}, &old), KV_OK);
        expect_slice(old, (kv_slice){bytes + i, i % 200});
    }
    uint64_t count;
    assert_int_equal(kv_count(tree, NULL, &count), KV_OK);
    assert_int_equal(count, 1500);
}

/* ---- update ---- */

typedef struct plan {
    int verdict;
    const char *store;
    unsigned calls;
    char seen[16];
    bool meddle;
} plan;

static int follow(void *context, const kv_slice *old, kv_slice *value)
{
    plan *p = context;
    p->calls++;
    snprintf(p->seen, sizeof p->seen, "%.*s", old ? (int)old->len : 6,
             old ? (const char *)old->ptr : "absent");
    if (p->store)
        *value = text(p->store);
    if (p->meddle)
        assert_int_equal(kv_put(tree, "other", 5, "x", 1, 0), KV_OK);
    return p->verdict;
}

static int update(plan *p)
{
    p->calls = 0;
    int rc = kv_update(tree, "k", 1, follow, p);
    assert_int_equal(p->calls, 1);
    return rc;
}

static void test_update(void **state)
{
    plan keep = {.verdict = KV_UPDATE_KEEP}, remove = {.verdict = KV_UPDATE_REMOVE};
    plan store = {.verdict = KV_UPDATE_STORE, .store = "1"},
         fail = {.verdict = -1000, .store = "2"};
    assert_int_equal(update(&keep), KV_OK);
    assert_string_equal(keep.seen, "absent");
    assert_int_equal(update(&remove), KV_OK);
    assert_int_equal(update(&fail), -1000);
    expect("k", NULL);
    assert_int_equal(update(&store), KV_OK);
    assert_string_equal(store.seen, "absent");
    expect("k", "1");
    assert_int_equal(update(&fail), -1000);
    assert_string_equal(fail.seen, "1");
    assert_int_equal(update(&keep), KV_OK);
    expect("k", "1");
    assert_int_equal(update(&remove), KV_OK);
    expect("k", NULL);
}

static int store_tail(void *context, const kv_slice *old, kv_slice *value)
{
    size_t cut = *(size_t *)context;
    *value = (kv_slice){(const uint8_t *)old->ptr + cut, old->len - cut};
    return KV_UPDATE_STORE;
}

/* The new value may be a part of the old one. */
static void test_update_to_a_part(void **state)
{
    static const size_t lengths[] = {20, 900, 1500, LARGE};
    for (size_t i = 0; i < KVI_COUNT(lengths); i++) {
        assert_int_equal(kv_put(tree, "k", 1, bytes, lengths[i], 0), KV_OK);
        if (i % 2)
            next(KV_TXN_WRITE);
        for (size_t cut = 1; cut < 9; cut += 3)
            assert_int_equal(kv_update(tree, "k", 1, store_tail, &cut), KV_OK);
        kv_slice found;
        assert_int_equal(kv_get(tree, "k", 1, &found), KV_OK);
        expect_slice(found, (kv_slice){bytes + 12, lengths[i] - 12});
    }
}

static int store_nothing_long(void *context, const kv_slice *old, kv_slice *value)
{
    *value = (kv_slice){NULL, 5};
    return KV_UPDATE_STORE;
}

static void test_update_misused(void **state)
{
    plan unknown = {.verdict = 3, .store = "x"};
    plan meddler = {.verdict = KV_UPDATE_STORE, .store = "x", .meddle = true};
    put("k", "1");
    assert_int_equal(update(&unknown), KV_EINVAL);
    assert_int_equal(kv_update(tree, "k", 1, store_nothing_long, NULL), KV_EINVAL);
    assert_int_equal(update(&meddler), KV_EINVAL);
    char said[200];
    plan own = {.verdict = -99};
    kv_db_errmsg(db, said, sizeof said);
    assert_true(said[0]);
    assert_int_equal(update(&own), -99);
    kv_db_errmsg(db, said, sizeof said);
    assert_string_equal(said, ""); /* not the sentence of an earlier failure */
    expect("k", "1");
    expect("other", "x"); /* what the callback did by itself stands */
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, open_fresh, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_put_with),
        CASE(test_arguments),
        CASE(test_readonly),
        CASE(test_cas),
        CASE(test_swap_and_take),
        CASE(test_old_values),
        CASE(test_old_values_as_arguments),
        CASE(test_old_value_as_key),
        CASE(test_many),
        CASE(test_update),
        CASE(test_update_to_a_part),
        CASE(test_update_misused),
    };
    return cmocka_run_group_tests_name("swap", tests, setup, teardown);
}
