/* kv_diff: what it reports, in which order, and how little it reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "rng.h"
#include "must.h"
#include "sim_os.h"
#include <stdio.h>
#include <stdlib.h>

static sim_disk *disk;
static kv_db *db;
static kv_txn *before, *after; /* the snapshots */
static char log_text[1 << 16]; /* what was reported */

static int open_fresh(void **state)
{
    disk = sim_new(1);
    disk->recording = SIM_RECORD_NOTHING;
    before = after = NULL;
    db = must_open(disk, "db");
    return 0;
}

static int close_all(void **state)
{
    kv_txn_abort(before);
    kv_txn_abort(after);
    int rc = kv_db_check(db, NULL);
    if (rc == KV_OK)
        rc = kv_db_close(db);
    sim_free(disk);
    return rc;
}

static void put(kv_txn *txn, const char *tree, const char *key, const char *value)
{
    assert_int_equal(kv_put(must_tree(txn, tree), key, strlen(key), value, strlen(value), 0),
                     KV_OK);
}

static void del(kv_txn *txn, const char *tree, const char *key)
{
    assert_int_equal(kv_del(must_tree(txn, tree), key, strlen(key)), KV_OK);
}

static int log_change(void *context, const kv_change *c)
{
    static const char marks[] = " +~-cd";
    size_t used = strlen(log_text);
    (void)context;
    int n = snprintf(log_text + used, sizeof log_text - used, "%c%.*s/%.*s", marks[c->kind],
                     (int)c->tree.len, (const char *)c->tree.ptr, (int)c->key.len,
                     (const char *)c->key.ptr);
    used += (size_t)n;
    if (c->old_value.ptr)
        used += (size_t)snprintf(log_text + used, sizeof log_text - used, " %.*s",
                                 (int)c->old_value.len, (const char *)c->old_value.ptr);
    if (c->new_value.ptr)
        used += (size_t)snprintf(log_text + used, sizeof log_text - used, " %.*s",
                                 (int)c->new_value.len, (const char *)c->new_value.ptr);
    snprintf(log_text + used, sizeof log_text - used, "\n");
    return 0;
}

static kv_diff_info diff_with(kv_diff_options options)
{
    kv_diff_info info = {.size = sizeof info};
    options.size = sizeof options;
    options.change = log_change;
    log_text[0] = 0;
    assert_int_equal(kv_diff(before, after, &options, &info), KV_OK);
    return info;
}

/* Two commits: `before` sees the first, `after` the second. */
static void two_states(void)
{
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    put(txn, "", "apple", "red");
    put(txn, "", "plum", "blue");
    put(txn, "", "rose", "white");
    put(txn, "gone", "a", "1");
    put(txn, "kept", "k", "1");
    put(txn, "old", "x", "1");
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    before = must_begin(db, KV_TXN_READ);
    txn = must_begin(db, KV_TXN_WRITE);
    put(txn, "", "apple", "green");
    put(txn, "", "pear", "");
    put(txn, "", "rose", "white"); /* the same again */
    del(txn, "", "plum");
    assert_int_equal(kv_tree_drop(must_tree(txn, "gone")), KV_OK);
    assert_int_equal(kv_tree_rename(must_tree(txn, "old"), "new", 3), KV_OK);
    put(txn, "zoo", "z", "9");
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    after = must_begin(db, KV_TXN_READ);
}

static void test_report(void **state)
{
    two_states();
    kv_diff_info info = diff_with((kv_diff_options){0});
    assert_string_equal(log_text, "~/apple red green\n"
                                  "+/pear \n"
                                  "-/plum blue\n"
                                  "-gone/a 1\n"
                                  "dgone/\n"
                                  "cnew/\n"
                                  "+new/x 1\n"
                                  "-old/x 1\n"
                                  "dold/\n"
                                  "czoo/\n"
                                  "+zoo/z 9\n");
    assert_int_equal(info.added, 3);
    assert_int_equal(info.changed, 1);
    assert_int_equal(info.removed, 3);
    assert_int_equal(info.created, 2);
    assert_int_equal(info.dropped, 2);
}

/* A tree takes the place of another one of the same commit. */
static void test_exchanged(void **state)
{
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    put(txn, "a", "k", "1");
    put(txn, "b", "k", "2");
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    before = must_begin(db, KV_TXN_READ);
    txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_tree_drop(must_tree(txn, "a")), KV_OK);
    assert_int_equal(kv_tree_rename(must_tree(txn, "b"), "a", 1), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    after = must_begin(db, KV_TXN_READ);
    diff_with((kv_diff_options){0});
    assert_string_equal(log_text, "~a/k 1 2\n-b/k 2\ndb/\n");
}

static void test_choices(void **state)
{
    two_states();
    diff_with((kv_diff_options){.tree = "zoo", .tree_len = 3});
    assert_string_equal(log_text, "czoo/\n+zoo/z 9\n");
    diff_with((kv_diff_options){.tree = "kept", .tree_len = 4});
    assert_string_equal(log_text, "");
    diff_with((kv_diff_options){.tree = "", .flags = KV_DIFF_KEYS});
    assert_string_equal(log_text, "~/apple\n+/pear\n-/plum\n");
    kv_range range = {.size = sizeof range, .prefix = "p", .prefix_len = 1};
    diff_with((kv_diff_options){.tree = "", .range = &range});
    assert_string_equal(log_text, "+/pear \n-/plum blue\n");
    range = (kv_range){.size = sizeof range,
                       .from = "apple",
                       .from_len = 5,
                       .to = "plum",
                       .to_len = 4,
                       .flags = KV_RANGE_FROM_OPEN};
    diff_with((kv_diff_options){.tree = "", .range = &range});
    assert_string_equal(log_text, "+/pear \n");
    range.flags = KV_RANGE_TO_CLOSED;
    diff_with((kv_diff_options){.tree = "", .range = &range});
    assert_string_equal(log_text, "~/apple red green\n+/pear \n-/plum blue\n");
}

static int stop(void *context, const kv_change *change)
{
    (void)change;
    return ++*(int *)context == 2;
}

static void test_arguments(void **state)
{
    int calls = 0;
    two_states();
    kv_diff_info info = {.size = sizeof info};
    kv_diff_options options = {.size = sizeof options, .change = stop, .context = &calls};
    assert_int_equal(kv_diff(before, after, &options, &info), KV_ECANCELED);
    assert_int_equal(calls, 2);
    assert_int_equal(info.added + info.changed, 2);
    options = (kv_diff_options){.size = sizeof options, .tree = "none", .tree_len = 4};
    assert_int_equal(kv_diff(before, after, &options, NULL), KV_NOTFOUND);
    assert_int_equal(kv_diff(before, after, NULL, NULL), KV_OK);
    assert_int_equal(kv_diff(NULL, after, NULL, NULL), KV_EINVAL);
    options.flags = 2;
    assert_int_equal(kv_diff(before, after, &options, NULL), KV_EINVAL);
    options.flags = 0;
    kv_range range = {.size = sizeof range, .limit = 1};
    options.range = &range;
    assert_int_equal(kv_diff(before, after, &options, NULL), KV_EINVAL);
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_diff(before, txn, NULL, NULL), KV_EINVAL);
    kv_txn_abort(txn);
    info.size = 0;
    assert_int_equal(kv_diff(before, after, NULL, &info), KV_EINVAL);
}

/* ---- how much is read ---- */

#define MANY 200000

static void numbered(char key[16], unsigned n)
{
    snprintf(key, 16, "%09u", n);
}

static void fill(void)
{
    char key[16];
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    for (unsigned i = 0; i < MANY; i++) {
        numbered(key, i);
        put(txn, "", key, "some value");
    }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    before = must_begin(db, KV_TXN_READ);
}

static kv_diff_info quiet_diff(void)
{
    kv_diff_info info = {.size = sizeof info};
    after = must_begin(db, KV_TXN_READ);
    assert_int_equal(kv_diff(before, after, NULL, &info), KV_OK);
    return info;
}

static uint64_t height(void)
{
    kv_tree_info info = {.size = sizeof info};
    assert_int_equal(kv_tree_stat(kv_txn_main(after), &info), KV_OK);
    return info.height;
}

static void test_nothing(void **state)
{
    fill();
    kv_diff_info info = quiet_diff();
    assert_int_equal(info.pages, 0);
    assert_int_equal(info.changed + info.added + info.removed, 0);
}

static void test_scattered(void **state)
{
    rng r;
    char key[16];
    fill();
    rng_seed(&r, 5);
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    for (unsigned i = 0; i < 20; i++) {
        numbered(key, i * (MANY / 20) + (unsigned)rng_below(&r, MANY / 20));
        put(txn, "", key, "some other");
    }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    kv_diff_info info = quiet_diff();
    assert_int_equal(info.changed, 20);
    assert_true(info.pages <= 20 * 2 * height());
}

/* A whole region goes away, another comes: what lies around them is not read. */
static void test_regions(void **state)
{
    char from[16], to[16];
    uint64_t deleted;
    fill();
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    numbered(from, MANY / 4);
    numbered(to, MANY / 2);
    kv_range range = {.size = sizeof range, .from = from, .from_len = 9, .to = to, .to_len = 9};
    assert_int_equal(kv_del_range(kv_txn_main(txn), &range, &deleted), KV_OK);
    for (unsigned i = 0; i < MANY / 8; i++) {
        char key[32];
        snprintf(key, sizeof key, "%09u+%06u", MANY * 3 / 4, i);
        put(txn, "", key, "new");
    }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    kv_diff_info info = quiet_diff();
    assert_int_equal(info.removed, MANY / 4);
    assert_int_equal(info.added, MANY / 8);
    kv_tree_info old = {.size = sizeof old}, new = {.size = sizeof new};
    assert_int_equal(kv_tree_stat(kv_txn_main(before), &old), KV_OK);
    assert_int_equal(kv_tree_stat(kv_txn_main(after), &new), KV_OK);
    uint64_t changed = old.leaf_pages / 4 + (new.leaf_pages - old.leaf_pages * 3 / 4);
    assert_true(info.pages <= changed + changed / 20 + 8 * height());
}

/* The tree becomes one level lower, and higher again. */
static void test_heights(void **state)
{
    char from[16];
    fill();
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    numbered(from, 300);
    kv_range range = {.size = sizeof range, .from = from, .from_len = 9};
    assert_int_equal(kv_del_range(kv_txn_main(txn), &range, NULL), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    kv_diff_info info = quiet_diff();
    assert_true(height() < 3);
    assert_int_equal(info.removed, MANY - 300);
    assert_int_equal(info.added + info.changed, 0);
    kv_txn *low = after;
    after = before;
    before = low;
    assert_int_equal(kv_diff(before, after, NULL, &info), KV_OK);
    assert_int_equal(info.added, MANY - 300);
}

/* The same of keys that only the higher tree has below a child of its root that is not the first. */
static void test_heights_and_ends(void **state)
{
    char from[16], end[16];
    fill();
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    numbered(from, 300);
    numbered(end, MANY - 100);
    kv_range range = {.size = sizeof range, .from = from, .from_len = 9};
    kv_range ends = {.size = sizeof ends, .from = end, .from_len = 9};
    assert_int_equal(kv_del_range(kv_txn_main(txn), &range, NULL), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    after = must_begin(db, KV_TXN_READ);
    kv_diff_info info = diff_with((kv_diff_options){.range = &ends});
    assert_int_equal(info.removed, 100);
    assert_int_equal(info.added + info.changed, 0);
    kv_txn *low = after;
    after = before;
    before = low;
    info = diff_with((kv_diff_options){.range = &ends});
    assert_int_equal(info.added, 100);
    assert_int_equal(info.removed + info.changed, 0);
}

/* ---- large values ---- */

static void put_large(kv_txn *txn, const char *key, unsigned seed, size_t len)
{
    rng r;
    uint8_t *value = malloc(len);
    rng_seed(&r, seed);
    rng_fill(&r, value, len);
    assert_int_equal(kv_put(kv_txn_main(txn), key, strlen(key), value, len, 0), KV_OK);
    free(value);
}

static void test_large(void **state)
{
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    put_large(txn, "again", 2, 100000);
    put_large(txn, "kept", 1, 100000);
    put_large(txn, "other", 3, 100000);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    before = must_begin(db, KV_TXN_READ);
    txn = must_begin(db, KV_TXN_WRITE);
    put_large(txn, "again", 2, 100000); /* elsewhere, but the same */
    put_large(txn, "other", 4, 100000);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    after = must_begin(db, KV_TXN_READ);
    kv_diff_info info = diff_with((kv_diff_options){.flags = KV_DIFF_KEYS});
    assert_string_equal(log_text, "~/other\n");
    assert_int_equal(info.large_pages, 0);
    info = (kv_diff_info){.size = sizeof info};
    kv_diff_options options = {.size = sizeof options, .change = stop, .context = &(int){5}};
    assert_int_equal(kv_diff(before, after, &options, &info), KV_OK);
    assert_int_equal(info.large_pages, 2 * 25);
}

/* The same value, once as it is and once compressed. */
static void test_compressed(void **state)
{
    static const char zeros[3000];
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_put(kv_txn_main(txn), "a", 1, zeros, sizeof zeros, 0), KV_OK);
    assert_int_equal(kv_put(kv_txn_main(txn), "b", 1, zeros, sizeof zeros, 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    before = must_begin(db, KV_TXN_READ);
    txn = must_begin(db, KV_TXN_WRITE);
    kv_tree_options packed = {.size = sizeof packed, .compress_from = 100};
    assert_int_equal(kv_tree_configure(kv_txn_main(txn), &packed), KV_OK);
    assert_int_equal(kv_put(kv_txn_main(txn), "a", 1, zeros, sizeof zeros, 0), KV_OK);
    assert_int_equal(kv_put(kv_txn_main(txn), "b", 1, zeros, sizeof zeros - 1, 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    after = must_begin(db, KV_TXN_READ);
    diff_with((kv_diff_options){.flags = KV_DIFF_KEYS});
    assert_string_equal(log_text, "~/b\n");
    assert_null(before->loans);
    assert_null(after->loans);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, open_fresh, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(report),           TEST(choices), TEST(arguments),  TEST(nothing),
        TEST(scattered),        TEST(regions), TEST(exchanged),  TEST(heights),
        TEST(heights_and_ends), TEST(large),   TEST(compressed),
    };
    return cmocka_run_group_tests_name("diff", tests, NULL, NULL);
}
