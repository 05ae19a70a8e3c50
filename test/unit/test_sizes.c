/* Tests of what entries take: exact sums, told without reading large values. */
#include "kv.h"
#include "rng.h"
#include "scratch.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define PAGE 4096

typedef struct world {
    scratch dir;
    kv_db *db;
    kv_txn *txn;
} world;

static void open_world(world *w)
{
    scratch_make(&w->dir);
    const kv_options options = {.size = sizeof options,
                                .flags = KV_OPEN_CREATE | KV_OPEN_NO_CLOSE_SYNC,
                                .page_size = PAGE,
                                .durability = KV_LAZY};
    assert_int_equal(kv_db_open(scratch_path(&w->dir, "sizes.kv"), &options, &w->db), KV_OK);
    assert_int_equal(kv_txn_begin(w->db, KV_TXN_WRITE, &w->txn), KV_OK);
}

static void again(world *w)
{
    assert_int_equal(kv_txn_commit(w->txn), KV_OK);
    assert_int_equal(kv_txn_begin(w->db, KV_TXN_READ, &w->txn), KV_OK);
}

static void close_world(world *w)
{
    kv_txn_abort(w->txn);
    assert_int_equal(kv_db_close(w->db), KV_OK);
    scratch_remove(&w->dir);
}

/* All of a tree is its leaves and the pages of its large values, to the byte. */
static void sums_are_those_of_the_pages(void **state)
{
    static uint8_t value[60000];
    world w;
    rng r;
    uint64_t keys = 0, values = 0, half;
    kv_sizes all = {.size = sizeof all}, low = all, high = all;
    kv_tree_info info = {.size = sizeof info};
    rng_seed(&r, 3);
    open_world(&w);
    kv_tree *tree = kv_txn_main(w.txn);
    const kv_tree_options compress = {.size = sizeof compress, .compress_from = 3000};
    assert_int_equal(kv_tree_configure(tree, &compress), KV_OK);
    for (unsigned i = 0; i < 3000; i++) {
        char key[32];
        int len = snprintf(key, sizeof key, "key%06u", i * 7 % 3000);
        size_t n = rng_one_in(&r, 40) ? rng_below(&r, sizeof value) : rng_below(&r, 300);
        if (i & 1)
            rng_fill(&r, value, n);
        else
            memset(value, 'x', n);
        assert_int_equal(kv_put(tree, key, (size_t)len, value, n, 0), KV_OK);
        keys += (uint64_t)len;
        values += n;
    }
    for (int pass = 0; pass < 2; pass++) { /* of private pages, and of written ones */
        assert_int_equal(kv_range_sizes(tree, NULL, &all), KV_OK);
        assert_int_equal(kv_tree_stat(tree, &info), KV_OK);
        assert_int_equal(all.entries, 3000);
        assert_int_equal(all.key_bytes, keys);
        assert_int_equal(all.value_bytes, values);
        assert_int_equal(all.large_pages, info.large_pages);
        assert_true(info.large_pages > 100);
        assert_int_equal(all.disk_bytes, (info.leaf_pages + info.large_pages) * PAGE);
        kv_range range = {.size = sizeof range, .to = "key001000", .to_len = 9};
        assert_int_equal(kv_range_sizes(tree, &range, &low), KV_OK);
        range = (kv_range){.size = sizeof range, .from = "key001000", .from_len = 9};
        assert_int_equal(kv_range_sizes(tree, &range, &high), KV_OK);
        assert_int_equal(low.entries, 1000);
        half = low.disk_bytes + high.disk_bytes;
        assert_int_equal(half, all.disk_bytes);
        if (pass == 0)
            again(&w);
        tree = kv_txn_main(w.txn);
    }
    close_world(&w);
}

static void one_entry_is_told(void **state)
{
    static uint8_t value[100001];
    world w;
    kv_cursor *cursor;
    kv_tree *tree, *many;
    kv_sizes sizes = {.size = sizeof sizes};
    open_world(&w);
    tree = kv_txn_main(w.txn);
    assert_int_equal(kv_put(tree, "large", 5, value, sizeof value, 0), KV_OK);
    assert_int_equal(kv_put(tree, "small", 5, "12345", 5, 0), KV_OK);
    assert_int_equal(kv_tree_open(w.txn, "m", 1, KV_TREE_CREATE | KV_TREE_MULTI, NULL, &many),
                     KV_OK);
    assert_int_equal(kv_multi_put(many, "k\0", 2, "abc", 3), KV_OK);
    assert_int_equal(kv_cursor_open(tree, NULL, &cursor), KV_OK);
    assert_int_equal(kv_cursor_sizes(cursor, &sizes), KV_NOTFOUND);
    assert_int_equal(kv_cursor_next(cursor), KV_OK);
    assert_int_equal(kv_cursor_sizes(cursor, &sizes), KV_OK);
    assert_int_equal(sizes.value_bytes, sizeof value);
    assert_int_equal(sizes.large_pages, 25);
    assert_int_equal(sizes.disk_bytes, 25 * PAGE + PAGE / 2);
    assert_int_equal(kv_cursor_next(cursor), KV_OK);
    assert_int_equal(kv_cursor_sizes(cursor, &sizes), KV_OK);
    assert_int_equal(sizes.value_bytes, 5);
    assert_int_equal(sizes.large_pages, 0);
    assert_int_equal(sizes.disk_bytes, PAGE / 2);
    assert_int_equal(kv_range_sizes(many, NULL, &sizes), KV_OK);
    assert_int_equal(sizes.value_bytes, 3);
    assert_int_equal(sizes.key_bytes, 4);
    assert_int_equal(kv_cursor_sizes(NULL, &sizes), KV_EINVAL);
    assert_int_equal(kv_cursor_sizes(cursor, &(kv_sizes){.size = 1}), KV_EINVAL);
    assert_int_equal(kv_range_sizes(tree, NULL, NULL), KV_EINVAL);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_those_of_the_pages),
        cmocka_unit_test(one_entry_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
