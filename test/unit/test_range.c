/* test_range.c - ranges of all forms against a sorted array: counts, ranks, scans, deletes. */
#include "must.h"
#include "rng.h"
#include "scratch.h"
#include "sorted.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define KEY_ROOM 20000

/* A database and the array that it should be equal to. */
typedef struct world {
    scratch dir;
    kv_db *db;
    kv_txn *txn;
    kv_tree *tree;
    sorted model;
    rng random;
    uint32_t key_max;
    unsigned kind; /* of keys */
} world;

static const uint32_t page_sizes[] = {
#ifdef KVI_STRESS
    512,
#endif
    4096, 65536};

#define PAGE_SIZES (sizeof page_sizes / sizeof *page_sizes)

enum { KEYS_TINY, KEYS_NUMBERS, KEYS_PATHS, KEYS_LONG, KEY_KINDS };

/* A key of the world's kind in buf. They collide often, so that bounds hit entries. */
static kv_slice make_key(world *w, uint8_t *buf)
{
    rng *r = &w->random;
    size_t len = 0;
    switch (w->kind) {
    case KEYS_TINY: /* the empty key and bytes 0x00 and 0xff among them */
        len = rng_below(r, 5);
        for (size_t i = 0; i < len; i++)
            buf[i] = (uint8_t[]){0, 'a', 'b', 0xfe, 0xff}[rng_below(r, 5)];
        break;
    case KEYS_NUMBERS:
        len = 8;
        for (uint64_t i = 0, number = rng_below(r, 3000) * 7; i < 8; i++)
            buf[i] = (uint8_t)(number >> (56 - 8 * i));
        break;
    case KEYS_PATHS:
        len = (size_t)sprintf((char *)buf, "/usr/share/%u/%u/%u", (unsigned)rng_below(r, 9),
                              (unsigned)rng_below(r, 30), (unsigned)rng_below(r, 9));
        break;
    default:
        len = w->key_max - rng_below(r, 3);
        memset(buf, 'k', len);
        for (int i = 0; i < 3; i++)
            buf[rng_below(r, len)] = (uint8_t)('i' + rng_below(r, 4));
    }
    return (kv_slice){buf, len};
}

static kv_slice make_value(world *w, uint8_t *buf)
{
    size_t len =
        rng_one_in(&w->random, 50) ? rng_below(&w->random, 9000) : rng_below(&w->random, 40);
    rng_fill(&w->random, buf, len);
    return (kv_slice){buf, len};
}

static uint64_t base_seed(void)
{
    static uint64_t seed;
    if (!seed)
        seed = rng_choose_seed(20262);
    return seed;
}

static void open_world(world *w, uint32_t page_size, unsigned kind, size_t puts)
{
    static uint8_t key[KEY_ROOM], value[KEY_ROOM];
    kv_options options = {.size = sizeof options,
                          .flags = KV_OPEN_CREATE | KV_OPEN_NO_CLOSE_SYNC,
                          .page_size = page_size,
                          .durability = KV_LAZY,
                          .memory_budget = kind % 2 ? 16 * page_size : 0};
    kv_db_info info = {.size = sizeof info};
    memset(w, 0, sizeof *w);
    scratch_make(&w->dir);
    rng_seed(&w->random, base_seed() + page_size + kind);
    w->kind = kind;
    assert_int_equal(kv_db_open(scratch_path(&w->dir, "range.kv"), &options, &w->db), KV_OK);
    assert_int_equal(kv_db_stat(w->db, &info), KV_OK);
    w->key_max = info.key_max;
    assert_int_equal(kv_txn_begin(w->db, KV_TXN_WRITE, &w->txn), KV_OK);
    w->tree = kv_txn_main(w->txn);
    for (size_t i = 0; i < puts; i++) {
        kv_slice k = make_key(w, key), v = make_value(w, value);
        assert_int_equal(kv_put(w->tree, k.ptr, k.len, v.ptr, v.len, 0), KV_OK);
        sorted_put(&w->model, k, v);
    }
}

static void close_world(world *w)
{
    kv_txn_abort(w->txn);
    assert_int_equal(kv_db_close(w->db), KV_OK);
    sorted_clear(&w->model);
    scratch_remove(&w->dir);
}

/* A random range; its bytes go to buf (three keys). */
static kv_range make_range(world *w, uint8_t *buf)
{
    rng *r = &w->random;
    kv_range range = {.size = sizeof range, .flags = (uint32_t)rng_below(r, 16)};
    if (rng_one_in(r, 2)) {
        kv_slice key = make_key(w, buf);
        range.from = key.ptr;
        range.from_len = key.len;
    }
    if (rng_one_in(r, 2)) {
        kv_slice key = make_key(w, buf + KEY_ROOM);
        range.to = key.ptr;
        range.to_len = key.len;
    }
    if (rng_one_in(r, 3)) {
        kv_slice key = make_key(w, buf + 2 * KEY_ROOM);
        range.prefix = key.ptr;
        range.prefix_len = key.len ? rng_below(r, key.len + 1) : 0;
    }
    if (rng_one_in(r, 3))
        range.limit = rng_between(r, 1, w->model.n / 2 + 1);
    return range;
}

/* The model's entries of a range in its direction, as indexes; returns their number. */
static size_t expected(const world *w, const kv_range *range, size_t *indexes)
{
    size_t n = 0;
    bool reverse = range && (range->flags & KV_RANGE_REVERSE);
    for (size_t i = 0; i < w->model.n; i++) {
        size_t at = reverse ? w->model.n - 1 - i : i;
        if (range && range->limit && n == range->limit)
            break;
        if (sorted_in_range(range, w->model.pairs[at].key))
            indexes[n++] = at;
    }
    return n;
}

static void assert_slice(kv_slice got, kv_slice want)
{
    assert_int_equal(got.len, want.len);
    if (want.len)
        assert_memory_equal(got.ptr, want.ptr, want.len);
}

static void check_scan(world *w, const kv_range *range, const size_t *indexes, size_t n)
{
    kv_cursor *cursor;
    kv_slice key, value;
    assert_int_equal(kv_cursor_open(w->tree, range, &cursor), KV_OK);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(kv_cursor_next(cursor), KV_OK);
        assert_int_equal(kv_cursor_get(cursor, &key, &value), KV_OK);
        assert_slice(key, w->model.pairs[indexes[i]].key);
        assert_slice(value, w->model.pairs[indexes[i]].value);
    }
    assert_int_equal(kv_cursor_next(cursor), KV_NOTFOUND);
    assert_int_equal(kv_cursor_get(cursor, &key, &value), KV_NOTFOUND);
    assert_int_equal(kv_cursor_next(cursor), KV_NOTFOUND);
    kv_cursor_close(cursor);
}

static void assert_pair(const world *w, const kv_pair *pair, size_t index)
{
    assert_slice(pair->key, w->model.pairs[index].key);
    assert_slice(pair->value, w->model.pairs[index].value);
}

/* The least number of entries that percent of n are not behind. */
static size_t nearest_rank(unsigned percent, size_t n)
{
    size_t rank = 0;
    while (rank * 100 < percent * n)
        rank++;
    return rank ? rank - 1 : 0;
}

static void check_split(world *w, const kv_range *range, const size_t *indexes, size_t n)
{
    static uint8_t room[9 * KEY_ROOM];
    kv_slice keys[9];
    size_t parts = rng_between(&w->random, 1, 9), got, made = 0;
    bool down = range && (range->flags & KV_RANGE_REVERSE);
    assert_int_equal(kv_split(w->tree, range, parts, keys, room, sizeof room, &got), KV_OK);
    for (size_t part = 1; part < parts; part++) {
        size_t first = n * part / parts;
        if (first > n * (part - 1) / parts)
            assert_slice(keys[made++], w->model.pairs[indexes[down ? n - 1 - first : first]].key);
    }
    assert_int_equal(got, made);
    if (made > 0 && keys[0].len > 0)
        assert_int_equal(kv_split(w->tree, range, parts, keys, room, keys[0].len - 1, &got),
                         KV_ETOOBIG);
}

/* The same entries by their numbers. */
static void check_order(world *w, const kv_range *range, const size_t *indexes, size_t n)
{
    kv_pair pair;
    size_t number = rng_below(&w->random, n + 2);
    unsigned percent = (unsigned)rng_below(&w->random, 101);
    int answer = n ? KV_OK : KV_NOTFOUND;
    assert_int_equal(kv_nth(w->tree, range, number, &pair), number < n ? KV_OK : KV_NOTFOUND);
    if (number < n)
        assert_pair(w, &pair, indexes[number]);
    assert_int_equal(kv_random(w->tree, range, 0, &pair), answer);
    if (n)
        assert_pair(w, &pair, indexes[0]);
    assert_int_equal(kv_random(w->tree, range, UINT64_MAX, &pair), answer);
    if (n)
        assert_pair(w, &pair, indexes[n - 1]);
    assert_int_equal(kv_percentile(w->tree, range, percent, &pair), answer);
    if (n)
        assert_pair(w, &pair, indexes[nearest_rank(percent, n)]);
    check_split(w, range, indexes, n);
}

/* Each of five entries is drawn by a fifth of all random numbers; wrong calls are refused. */
static void entries_are_drawn_evenly(void **state)
{
    world w;
    kv_pair pair;
    kv_slice key;
    size_t got;
    unsigned drawn[5] = {0};
    char sentence[128];
    open_world(&w, 4096, KEYS_TINY, 0);
    for (char c = 'a'; c < 'f'; c++)
        assert_int_equal(kv_put(w.tree, &c, 1, "v", 1, 0), KV_OK);
    for (uint64_t i = 0; i < 1000; i++) {
        assert_int_equal(kv_random(w.tree, NULL, i * (UINT64_MAX / 1000), &pair), KV_OK);
        drawn[*(const char *)pair.key.ptr - 'a']++;
    }
    for (unsigned i = 0; i < 5; i++)
        assert_in_range(drawn[i], 199, 201);
    assert_int_equal(kv_percentile(w.tree, NULL, 100.5, &pair), KV_EINVAL);
    assert_int_equal(kv_percentile(w.tree, NULL, -1, &pair), KV_EINVAL);
    assert_int_equal(kv_percentile(w.tree, NULL, __builtin_nan(""), &pair), KV_EINVAL);
    assert_int_equal(kv_split(w.tree, NULL, 0, &key, NULL, 0, &got), KV_EINVAL);
    assert_int_equal(kv_split(w.tree, NULL, 2, NULL, NULL, 0, &got), KV_EINVAL);
    assert_int_equal(kv_split(w.tree, NULL, 2, &key, NULL, 0, &got), KV_ETOOBIG);
    kv_db_errmsg(w.db, sentence, sizeof sentence);
    assert_string_equal(sentence, "the keys need more than the 0 bytes of the buffer");
    assert_int_equal(kv_split(w.tree, NULL, 1, NULL, NULL, 0, &got), KV_OK);
    assert_int_equal(got, 0);
    assert_int_equal(kv_nth(w.tree, NULL, 0, NULL), KV_EINVAL);
    assert_int_equal(kv_nth(NULL, NULL, 0, &pair), KV_EINVAL);
    assert_int_equal(kv_nth(w.tree, &(kv_range){.size = 1}, 0, &pair), KV_EINVAL);
    close_world(&w);
}

/* The same entries in batches of random sizes. */
static void check_read(world *w, const kv_range *range, const size_t *indexes, size_t n)
{
    kv_pair pairs[100];
    kv_cursor *cursor;
    size_t got = 77, done = 0;
    assert_int_equal(kv_cursor_open(w->tree, range, &cursor), KV_OK);
    while (done < n) {
        size_t want = rng_between(&w->random, 1, 100);
        assert_int_equal(kv_cursor_read(cursor, pairs, want, &got), KV_OK);
        assert_int_equal(got, want < n - done ? want : n - done);
        for (size_t i = 0; i < got; i++, done++) {
            assert_slice(pairs[i].key, w->model.pairs[indexes[done]].key);
            assert_slice(pairs[i].value, w->model.pairs[indexes[done]].value);
        }
        kv_slice key;
        assert_int_equal(kv_cursor_get(cursor, &key, NULL), KV_OK);
        assert_slice(key, w->model.pairs[indexes[done - 1]].key);
    }
    assert_int_equal(kv_cursor_read(cursor, pairs, 3, &got), KV_NOTFOUND);
    assert_int_equal(got, 0);
    kv_cursor_close(cursor);
}

static void check_range(world *w, const kv_range *range)
{
    size_t *indexes = malloc((w->model.n + 1) * sizeof *indexes);
    size_t n = expected(w, range, indexes);
    uint64_t count = 77;
    assert_int_equal(kv_count(w->tree, range, &count), KV_OK);
    assert_int_equal(count, n);
    if (rng_one_in(&w->random, 2))
        check_scan(w, range, indexes, n);
    else
        check_order(w, range, indexes, n);
    check_read(w, range, indexes, n);
    free(indexes);
}

/* Calls fn on worlds of all page sizes and kinds of keys, while changing and after a commit. */
static void in_worlds(size_t puts, void (*fn)(world *w))
{
    for (size_t p = 0; p < PAGE_SIZES; p++) {
        for (unsigned kind = 0; kind < KEY_KINDS; kind++) {
            world w;
            open_world(&w, page_sizes[p], kind, kind == KEYS_LONG ? puts / 4 : puts);
            fn(&w);
            close_world(&w);
        }
    }
}

static void reopen_reading(world *w)
{
    assert_int_equal(kv_txn_commit(w->txn), KV_OK);
    assert_int_equal(kv_txn_begin(w->db, KV_TXN_READ, &w->txn), KV_OK);
    w->tree = kv_txn_main(w->txn);
}

static void ranges_in(world *w)
{
    static uint8_t buf[3 * KEY_ROOM];
    check_range(w, NULL);
    for (int i = 0; i < 150; i++) {
        kv_range range = make_range(w, buf);
        check_range(w, &range);
    }
}

static void ranges_everywhere(world *w)
{
    ranges_in(w);
    reopen_reading(w);
    ranges_in(w);
}

static void test_ranges(void **state)
{
    in_worlds(1500, ranges_everywhere);
}

static void test_empty_tree(void **state)
{
    in_worlds(0, ranges_everywhere);
}

/* Every combination of flags, with bounds that are keys. */
static void test_flags(void **state)
{
    world w;
    open_world(&w, 4096, KEYS_NUMBERS, 600);
    for (uint32_t flags = 0; flags < 16; flags++) {
        for (int bounds = 0; bounds < 16; bounds++) {
            kv_slice a = w.model.pairs[100].key, b = w.model.pairs[300].key;
            kv_range range = {.size = sizeof range, .flags = flags};
            if (bounds & 1)
                range.from = a.ptr, range.from_len = a.len;
            if (bounds & 2)
                range.to = b.ptr, range.to_len = b.len;
            if (bounds & 4)
                range.prefix = a.ptr, range.prefix_len = 7;
            if (bounds & 8)
                range.limit = 5;
            check_range(&w, &range);
        }
    }
    close_world(&w);
}

static void ranks_in(world *w)
{
    static uint8_t buf[KEY_ROOM];
    uint64_t rank = 77;
    for (int i = 0; i < 400; i++) {
        kv_slice key = make_key(w, buf);
        assert_int_equal(kv_rank(w->tree, key.ptr, key.len, &rank), KV_OK);
        assert_int_equal(rank, sorted_lower(&w->model, key, NULL));
    }
    memset(buf, 'z', KEY_ROOM); /* longer than any key */
    assert_int_equal(kv_rank(w->tree, buf, KEY_ROOM, &rank), KV_OK);
    assert_int_equal(rank, sorted_lower(&w->model, (kv_slice){buf, KEY_ROOM}, NULL));
}

static void test_rank(void **state)
{
    in_worlds(1500, ranks_in);
}

/* Removes the range from the model, the way kv_del_range should. */
static size_t model_del_range(world *w, const kv_range *range)
{
    static uint8_t buf[KEY_ROOM];
    size_t *indexes = malloc((w->model.n + 1) * sizeof *indexes);
    size_t n = expected(w, range, indexes);
    bool up = !(range->flags & KV_RANGE_REVERSE);
    for (size_t i = 0; i < n; i++) { /* from the back, so that indexes stay right */
        kv_slice key = w->model.pairs[indexes[up ? n - 1 - i : i]].key;
        memcpy(buf, key.ptr, key.len);
        assert_true(sorted_del(&w->model, (kv_slice){buf, key.len}));
    }
    free(indexes);
    return n;
}

static void deletes_in(world *w)
{
    static uint8_t buf[3 * KEY_ROOM], value[KEY_ROOM];
    for (int i = 0; i < 60; i++) {
        kv_range range = make_range(w, buf);
        uint64_t deleted = 77;
        size_t n = model_del_range(w, &range);
        assert_int_equal(kv_del_range(w->tree, &range, &deleted), KV_OK);
        assert_int_equal(deleted, n);
        check_range(w, NULL);
        for (size_t k = 0; k < n / 2; k++) {
            kv_slice key = make_key(w, buf), v = make_value(w, value);
            assert_int_equal(kv_put(w->tree, key.ptr, key.len, v.ptr, v.len, 0), KV_OK);
            sorted_put(&w->model, key, v);
        }
    }
    uint64_t deleted = 77;
    assert_int_equal(kv_del_range(w->tree, NULL, &deleted), KV_OK);
    assert_int_equal(deleted, w->model.n);
    sorted_clear(&w->model);
    ranges_everywhere(w);
}

static void test_del_range(void **state)
{
    in_worlds(1200, deletes_in);
}

/* What is written to the file after deletes is what was meant. */
static void deletes_kept_in(world *w)
{
    static uint8_t buf[3 * KEY_ROOM];
    reopen_reading(w);
    for (int i = 0; i < 4; i++) {
        kv_txn_abort(w->txn);
        assert_int_equal(kv_txn_begin(w->db, KV_TXN_WRITE, &w->txn), KV_OK);
        w->tree = kv_txn_main(w->txn);
        kv_range range = make_range(w, buf);
        model_del_range(w, &range);
        assert_int_equal(kv_del_range(w->tree, &range, NULL), KV_OK);
        reopen_reading(w);
        check_range(w, NULL);
        must_be_sound(w->db);
    }
}

static void test_del_range_kept(void **state)
{
    in_worlds(1200, deletes_kept_in);
}

/* A bound longer than any key cuts where its bytes say. */
static void test_long_bounds(void **state)
{
    world w;
    static uint8_t low[KEY_ROOM], high[KEY_ROOM];
    open_world(&w, 4096, KEYS_LONG, 200);
    for (size_t i = 0; i < w.model.n; i++) {
        kv_slice key = w.model.pairs[i].key;
        memset(low, 0, sizeof low);
        memset(high, 0xff, sizeof high);
        memcpy(low, key.ptr, key.len);
        memcpy(high, key.ptr, key.len);
        kv_range range = {.size = sizeof range,
                          .from = low,
                          .from_len = key.len + rng_between(&w.random, 1, 3000),
                          .flags = (uint32_t)rng_below(&w.random, 16)};
        check_range(&w, &range);
        range.from = NULL;
        range.from_len = 0;
        range.to = high;
        range.to_len = key.len + rng_between(&w.random, 1, 3000);
        check_range(&w, &range);
        range.prefix = high;
        range.prefix_len = range.to_len;
        check_range(&w, &range);
        range.limit = 1;
        model_del_range(&w, &range);
        assert_int_equal(kv_del_range(w.tree, &range, NULL), KV_OK);
    }
    close_world(&w);
}

/* Prefixes of 0xff bytes have no end. */
static void test_prefix_without_end(void **state)
{
    world w;
    open_world(&w, 4096, KEYS_TINY, 1500);
    kv_range range = {.size = sizeof range, .prefix = "\xff\xff\xff\xff"};
    for (range.prefix_len = 0; range.prefix_len <= 4; range.prefix_len++) {
        for (range.flags = 0; range.flags < 16; range.flags++)
            check_range(&w, &range);
    }
    close_world(&w);
}

static void assert_refused(world *w, const kv_range *range)
{
    uint64_t number = 77;
    kv_cursor *cursor = (kv_cursor *)w;
    assert_int_equal(kv_count(w->tree, range, &number), KV_EINVAL);
    assert_int_equal(kv_del_range(w->tree, range, &number), KV_EINVAL);
    assert_int_equal(kv_cursor_open(w->tree, range, &cursor), KV_EINVAL);
    assert_null(cursor);
    assert_int_equal(number, 77);
}

static void test_arguments(void **state)
{
    world w;
    uint64_t number = 77;
    open_world(&w, 4096, KEYS_NUMBERS, 10);
    kv_range good = {.size = sizeof good}, bad;
    bad = good, bad.size = 0;
    assert_refused(&w, &bad);
    bad = good, bad.size++;
    assert_refused(&w, &bad);
    bad = good, bad.flags = 16;
    assert_refused(&w, &bad);
    bad = good, bad.reserved = 1;
    assert_refused(&w, &bad);
    bad = good, bad.from_len = 1;
    assert_refused(&w, &bad);
    bad = good, bad.to_len = 1;
    assert_refused(&w, &bad);
    bad = good, bad.prefix_len = 1;
    assert_refused(&w, &bad);
    assert_int_equal(kv_count(NULL, NULL, &number), KV_EINVAL);
    assert_int_equal(kv_count(w.tree, NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_del_range(NULL, NULL, &number), KV_EINVAL);
    assert_int_equal(kv_rank(NULL, "a", 1, &number), KV_EINVAL);
    assert_int_equal(kv_rank(w.tree, NULL, 1, &number), KV_EINVAL);
    assert_int_equal(kv_rank(w.tree, "a", 1, NULL), KV_EINVAL);
    assert_int_equal(number, 77);
    reopen_reading(&w);
    assert_int_equal(kv_del_range(w.tree, NULL, &number), KV_EREADONLY);
    assert_int_equal(number, 77);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),      cmocka_unit_test(test_empty_tree),
        cmocka_unit_test(test_flags),       cmocka_unit_test(test_rank),
        cmocka_unit_test(test_del_range),   cmocka_unit_test(test_del_range_kept),
        cmocka_unit_test(test_long_bounds), cmocka_unit_test(test_prefix_without_end),
        cmocka_unit_test(test_arguments),   cmocka_unit_test(entries_are_drawn_evenly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
