/* Tests of multi-value trees beside a sorted array of pairs. */
#include "rng.h"
#include "scratch.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kv.h"

#define PAIRS_MAX 4000

typedef struct pair {
    uint8_t key[8], value[16];
    size_t key_len, value_len;
} pair;

typedef struct world {
    scratch dir;
    kv_db *db;
    kv_txn *txn;
    kv_tree *tree;
    rng r;
    pair pairs[PAIRS_MAX]; /* ascending */
    size_t n;
} world;

static int compare_bytes(const void *a, size_t a_len, const void *b, size_t b_len)
{
    size_t len = a_len < b_len ? a_len : b_len;
    int order = len ? memcmp(a, b, len) : 0;
    return order ? order : (a_len > b_len) - (a_len < b_len);
}

static int compare_keys(const pair *a, const pair *b)
{
    return compare_bytes(a->key, a->key_len, b->key, b->key_len);
}

static int compare_pairs(const pair *a, const pair *b)
{
    int order = compare_keys(a, b);
    return order ? order : compare_bytes(a->value, a->value_len, b->value, b->value_len);
}

/* Number of pairs that are smaller, by key alone or by both. */
static size_t lower(const world *w, const pair *p, int (*compare)(const pair *, const pair *))
{
    size_t i = 0;
    while (i < w->n && compare(&w->pairs[i], p) < 0)
        i++;
    return i;
}

static size_t upper(const world *w, const pair *p, int (*compare)(const pair *, const pair *))
{
    size_t i = 0;
    while (i < w->n && compare(&w->pairs[i], p) <= 0)
        i++;
    return i;
}

static pair random_pair(rng *r)
{
    static const uint8_t alphabet[] = {0, 1, 2, 'k', 0xff};
    pair p = {.key_len = rng_below(r, 4), .value_len = rng_below(r, 6)};
    for (size_t i = 0; i < p.key_len; i++)
        p.key[i] = alphabet[rng_below(r, 5)];
    for (size_t i = 0; i < p.value_len; i++)
        p.value[i] = alphabet[rng_below(r, 5)];
    return p;
}

static bool model_has(const world *w, const pair *p)
{
    size_t i = lower(w, p, compare_pairs);
    return i < w->n && compare_pairs(&w->pairs[i], p) == 0;
}

static void model_add(world *w, const pair *p)
{
    size_t i = lower(w, p, compare_pairs);
    memmove(&w->pairs[i + 1], &w->pairs[i], (w->n++ - i) * sizeof *p);
    w->pairs[i] = *p;
}

static void model_cut(world *w, size_t from, size_t to)
{
    memmove(&w->pairs[from], &w->pairs[to], (w->n - to) * sizeof(pair));
    w->n -= to - from;
}

static void begin(world *w, uint32_t flags)
{
    assert_int_equal(kv_txn_begin(w->db, flags, &w->txn), KV_OK);
    assert_int_equal(kv_tree_open(w->txn, "m", 1, 0, NULL, &w->tree), KV_OK);
}

static void open_world(world *w)
{
    const kv_options options = {.size = sizeof options,
                                .flags = KV_OPEN_CREATE | KV_OPEN_NO_CLOSE_SYNC,
                                .durability = KV_LAZY};
    memset(w, 0, sizeof *w);
    rng_seed(&w->r, rng_choose_seed(31));
    scratch_make(&w->dir);
    assert_int_equal(kv_db_open(scratch_path(&w->dir, "multi.kv"), &options, &w->db), KV_OK);
    assert_int_equal(kv_txn_begin(w->db, KV_TXN_WRITE, &w->txn), KV_OK);
    assert_int_equal(kv_tree_open(w->txn, "m", 1, KV_TREE_CREATE | KV_TREE_MULTI, NULL, &w->tree),
                     KV_OK);
}

static void fill(world *w, size_t puts)
{
    for (size_t i = 0; i < puts && w->n < PAIRS_MAX; i++) {
        pair p = random_pair(&w->r);
        bool had = model_has(w, &p);
        assert_int_equal(kv_multi_put(w->tree, p.key, p.key_len, p.value, p.value_len),
                         had ? KV_EXISTS : KV_OK);
        if (!had)
            model_add(w, &p);
    }
}

static void close_world(world *w)
{
    kv_txn_abort(w->txn);
    assert_int_equal(kv_db_check(w->db, NULL), KV_OK);
    assert_int_equal(kv_db_close(w->db), KV_OK);
    scratch_remove(&w->dir);
}

static void assert_pair(kv_slice key, kv_slice value, const pair *p)
{
    assert_int_equal(compare_bytes(key.ptr, key.len, p->key, p->key_len), 0);
    assert_int_equal(compare_bytes(value.ptr, value.len, p->value, p->value_len), 0);
}

static void assert_at(kv_cursor *cursor, const pair *p)
{
    kv_slice key, value;
    kv_entry_info info = {.size = sizeof info};
    assert_int_equal(kv_cursor_get(cursor, &key, &value), KV_OK);
    assert_pair(key, value, p);
    assert_int_equal(kv_cursor_info(cursor, &info), KV_OK);
    assert_pair(key, info.value, p);
    assert_int_equal(info.expires_at, 0);
}

/* Pairs [from, to) of the model, by steps and at once. */
static void check_scan(world *w, const kv_range *range, size_t from, size_t to)
{
    kv_cursor *cursor;
    kv_pair pairs[50];
    size_t got, i = 0, n = to - from;
    bool down = range && (range->flags & KV_RANGE_REVERSE);
    uint64_t count;
    assert_int_equal(kv_count(w->tree, range, &count), KV_OK);
    assert_int_equal(count, n);
    assert_int_equal(kv_cursor_open(w->tree, range, &cursor), KV_OK);
    for (i = 0; i < n; i++) {
        assert_int_equal(kv_cursor_next(cursor), KV_OK);
        assert_at(cursor, &w->pairs[down ? to - 1 - i : from + i]);
    }
    assert_int_equal(kv_cursor_next(cursor), KV_NOTFOUND);
    kv_cursor_close(cursor);
    assert_int_equal(kv_cursor_open(w->tree, range, &cursor), KV_OK);
    for (i = 0; kv_cursor_read(cursor, pairs, 50, &got) == KV_OK;)
        for (size_t k = 0; k < got; k++, i++)
            assert_pair(pairs[k].key, pairs[k].value, &w->pairs[down ? to - 1 - i : from + i]);
    assert_int_equal(i, n);
    kv_cursor_close(cursor);
}

static void ranges_are_of_keys(void **state)
{
    static world w;
    open_world(&w);
    fill(&w, 1200);
    check_scan(&w, NULL, 0, w.n);
    for (unsigned i = 0; i < 300; i++) {
        pair a = random_pair(&w.r), b = random_pair(&w.r);
        if (compare_keys(&a, &b) > 0) {
            pair c = a;
            a = b;
            b = c;
        }
        kv_range range = {.size = sizeof range, .flags = (uint32_t)rng_below(&w.r, 8)};
        range.from = a.key;
        range.from_len = a.key_len;
        range.to = b.key;
        range.to_len = b.key_len;
        size_t from = range.flags & KV_RANGE_FROM_OPEN ? upper(&w, &a, compare_keys)
                                                       : lower(&w, &a, compare_keys);
        size_t to = range.flags & KV_RANGE_TO_CLOSED ? upper(&w, &b, compare_keys)
                                                     : lower(&w, &b, compare_keys);
        check_scan(&w, &range, from, from < to ? to : from);
        /* the values of one key */
        range.to = a.key;
        range.to_len = a.key_len;
        range.flags = KV_RANGE_TO_CLOSED | (i & 1 ? KV_RANGE_REVERSE : 0);
        check_scan(&w, &range, lower(&w, &a, compare_keys), upper(&w, &a, compare_keys));
        /* keys that begin so */
        for (from = 0; from < w.n && (w.pairs[from].key_len < a.key_len ||
                                      memcmp(w.pairs[from].key, a.key, a.key_len) != 0);)
            from++;
        for (to = from; to < w.n && w.pairs[to].key_len >= a.key_len &&
                        memcmp(w.pairs[to].key, a.key, a.key_len) == 0;)
            to++;
        range = (kv_range){.size = sizeof range, .prefix = a.key, .prefix_len = a.key_len};
        check_scan(&w, &range, from, to);
    }
    close_world(&w);
}

static void check_seek(const world *w, kv_cursor *cursor, int rc, size_t expected)
{
    assert_int_equal(rc, expected < w->n ? KV_OK : KV_NOTFOUND);
    if (expected < w->n)
        assert_at(cursor, &w->pairs[expected]);
}

static void cursors_seek_keys_and_pairs(void **state)
{
    static world w;
    kv_cursor *cursor;
    open_world(&w);
    fill(&w, 700);
    assert_int_equal(kv_cursor_open(w.tree, NULL, &cursor), KV_OK);
    for (unsigned i = 0; i < 3000; i++) {
        pair p = random_pair(&w.r);
        const void *k = p.key, *v = p.value;
        size_t lo = lower(&w, &p, compare_keys), hi = upper(&w, &p, compare_keys);
        check_seek(&w, cursor, kv_cursor_seek(cursor, KV_SEEK_GE, k, p.key_len), lo);
        check_seek(&w, cursor, kv_cursor_seek(cursor, KV_SEEK_GT, k, p.key_len), hi);
        check_seek(&w, cursor, kv_cursor_seek(cursor, KV_SEEK_LT, k, p.key_len), lo - 1);
        check_seek(&w, cursor, kv_cursor_seek(cursor, KV_SEEK_LE, k, p.key_len), hi - 1);
        check_seek(&w, cursor, kv_cursor_seek(cursor, KV_SEEK_EQ, k, p.key_len),
                   lo < hi ? lo : w.n);
        if (lo == hi) /* it is at no other key, either */
            assert_int_equal(kv_cursor_get(cursor, NULL, NULL), KV_NOTFOUND);
        uint64_t count, rank;
        assert_int_equal(kv_multi_count(w.tree, k, p.key_len, &count), KV_OK);
        assert_int_equal(count, hi - lo);
        assert_int_equal(kv_rank(w.tree, k, p.key_len, &rank), KV_OK);
        assert_int_equal(rank, lo);
        lo = lower(&w, &p, compare_pairs);
        hi = upper(&w, &p, compare_pairs);
        check_seek(&w, cursor,
                   kv_cursor_seek_pair(cursor, KV_SEEK_GE, k, p.key_len, v, p.value_len), lo);
        check_seek(&w, cursor,
                   kv_cursor_seek_pair(cursor, KV_SEEK_LE, k, p.key_len, v, p.value_len), hi - 1);
        check_seek(&w, cursor,
                   kv_cursor_seek_pair(cursor, KV_SEEK_EQ, k, p.key_len, v, p.value_len),
                   lo < hi ? lo : w.n);
        assert_int_equal(kv_multi_has(w.tree, k, p.key_len, v, p.value_len),
                         lo < hi ? KV_OK : KV_NOTFOUND);
    }
    close_world(&w);
}

/* Distinct keys, both ways, from a pair in the middle of a key's values, and in a reversed range. */
static void cursors_go_over_distinct_keys(void **state)
{
    static world w;
    kv_cursor *cursor;
    const kv_range down = {.size = sizeof down, .flags = KV_RANGE_REVERSE};
    open_world(&w);
    fill(&w, 500);
    for (int write = 1; write >= 0; write--) {
        for (unsigned reverse = 0; reverse < 2; reverse++) {
            assert_int_equal(kv_cursor_open(w.tree, reverse ? &down : NULL, &cursor), KV_OK);
            for (size_t i = 0; i < w.n; i++) {
                size_t lo = lower(&w, &w.pairs[i], compare_keys);
                size_t hi = upper(&w, &w.pairs[i], compare_keys);
                assert_int_equal(kv_cursor_nth(cursor, reverse ? w.n - 1 - i : i), KV_OK);
                check_seek(&w, cursor,
                           reverse ? kv_cursor_prev_key(cursor) : kv_cursor_next_key(cursor), hi);
                assert_int_equal(kv_cursor_nth(cursor, reverse ? w.n - 1 - i : i), KV_OK);
                check_seek(&w, cursor,
                           reverse ? kv_cursor_next_key(cursor) : kv_cursor_prev_key(cursor),
                           lo - 1);
            }
            kv_cursor_close(cursor);
            assert_int_equal(kv_cursor_open(w.tree, reverse ? &down : NULL, &cursor), KV_OK);
            check_seek(&w, cursor, kv_cursor_next_key(cursor), reverse ? w.n - 1 : 0);
            kv_cursor_close(cursor);
        }
        if (write) {
            assert_int_equal(kv_txn_commit(w.txn), KV_OK);
            begin(&w, KV_TXN_READ);
        }
    }
    close_world(&w);
}

static void pairs_come_and_go(void **state)
{
    static world w;
    kv_cursor *cursor;
    uint64_t deleted;
    open_world(&w);
    fill(&w, 900);
    for (unsigned i = 0; i < 800; i++) {
        pair p = rng_one_in(&w.r, 2) && w.n ? w.pairs[rng_below(&w.r, w.n)] : random_pair(&w.r);
        bool had = model_has(&w, &p);
        size_t at = lower(&w, &p, compare_pairs);
        switch (rng_below(&w.r, 8)) {
        case 0: /* the key with all its values */
            if (i % 5)
                break;
            at = lower(&w, &p, compare_keys);
            size_t end = upper(&w, &p, compare_keys);
            deleted = 0;
            assert_int_equal(kv_multi_del_key(w.tree, p.key, p.key_len, &deleted),
                             at < end ? KV_OK : KV_NOTFOUND);
            assert_int_equal(deleted, end - at);
            model_cut(&w, at, end);
            break;
        case 1: /* under a cursor, which then goes on */
            if (!had)
                break;
            assert_int_equal(kv_cursor_open(w.tree, NULL, &cursor), KV_OK);
            assert_int_equal(kv_cursor_nth(cursor, at), KV_OK);
            assert_int_equal(kv_cursor_del(cursor), KV_OK);
            model_cut(&w, at, at + 1);
            if (i & 1) {
                check_seek(&w, cursor, kv_cursor_next(cursor), at);
            } else {
                at = upper(&w, &p, compare_keys);
                check_seek(&w, cursor, kv_cursor_next_key(cursor), at);
            }
            kv_cursor_close(cursor);
            break;
        case 2:
        case 3:
        case 4:
            assert_int_equal(kv_multi_put(w.tree, p.key, p.key_len, p.value, p.value_len),
                             had ? KV_EXISTS : KV_OK);
            if (!had)
                model_add(&w, &p);
            break;
        default:
            assert_int_equal(kv_multi_del(w.tree, p.key, p.key_len, p.value, p.value_len),
                             had ? KV_OK : KV_NOTFOUND);
            if (had)
                model_cut(&w, at, at + 1);
        }
    }
    check_scan(&w, NULL, 0, w.n);
    assert_int_equal(kv_txn_commit(w.txn), KV_OK);
    begin(&w, KV_TXN_READ);
    check_scan(&w, NULL, 0, w.n);
    close_world(&w);
}

/* Each kind of tree refuses the calls of the other, with a sentence, and nothing changes. */
static void kinds_of_trees_are_kept_apart(void **state)
{
    static world w;
    kv_tree *plain, *tree;
    kv_cursor *cursor;
    kv_slice value;
    void *place;
    uint64_t n;
    char text[200];
    kv_tree_info info = {.size = sizeof info};
    open_world(&w);
    fill(&w, 50);
    assert_int_equal(kv_put(w.tree, "k", 1, "v", 1, 0), KV_EINVAL);
    kv_db_errmsg(w.db, text, sizeof text);
    assert_non_null(strstr(text, "several values"));
    assert_int_equal(kv_get(w.tree, "k", 1, &value), KV_EINVAL);
    assert_int_equal(kv_exists(w.tree, "k", 1), KV_EINVAL);
    assert_int_equal(kv_del(w.tree, "k", 1), KV_EINVAL);
    assert_int_equal(kv_reserve(w.tree, "k", 1, 1, 0, &place), KV_EINVAL);
    assert_int_equal(kv_cursor_open(w.tree, NULL, &cursor), KV_OK);
    assert_int_equal(kv_cursor_first(cursor), KV_OK);
    assert_int_equal(kv_cursor_put(cursor, "v", 1), KV_EINVAL);
    check_scan(&w, NULL, 0, w.n);
    assert_int_equal(kv_tree_stat(w.tree, &info), KV_OK);
    assert_int_equal(info.multi, 1);
    assert_int_equal(info.entries, w.n);

    plain = kv_txn_main(w.txn);
    assert_int_equal(kv_put(plain, "k", 1, "v", 1, 0), KV_OK);
    assert_int_equal(kv_multi_put(plain, "k", 1, "v", 1), KV_EINVAL);
    kv_db_errmsg(w.db, text, sizeof text);
    assert_non_null(strstr(text, "one value"));
    assert_int_equal(kv_multi_del(plain, "k", 1, "v", 1), KV_EINVAL);
    assert_int_equal(kv_multi_del_key(plain, "k", 1, &n), KV_EINVAL);
    assert_int_equal(kv_multi_has(plain, "k", 1, "v", 1), KV_EINVAL);
    assert_int_equal(kv_multi_count(plain, "k", 1, &n), KV_EINVAL);
    assert_int_equal(kv_cursor_open(plain, NULL, &cursor), KV_OK);
    assert_int_equal(kv_cursor_next_key(cursor), KV_EINVAL);
    assert_int_equal(kv_cursor_prev_key(cursor), KV_EINVAL);
    assert_int_equal(kv_cursor_seek_pair(cursor, KV_SEEK_GE, "k", 1, "v", 1), KV_EINVAL);
    assert_int_equal(kv_tree_stat(plain, &info), KV_OK);
    assert_int_equal(info.multi, 0);

    assert_int_equal(kv_tree_open(w.txn, "p", 1, KV_TREE_CREATE, NULL, &tree), KV_OK);
    assert_int_equal(kv_tree_open(w.txn, "p", 1, KV_TREE_CREATE | KV_TREE_MULTI, NULL, &tree),
                     KV_EINVAL);
    assert_int_equal(kv_tree_open(w.txn, "m", 1, KV_TREE_CREATE, NULL, &tree), KV_OK);
    assert_ptr_equal(tree, w.tree);
    assert_int_equal(kv_tree_open(w.txn, "m", 1, KV_TREE_MULTI | KV_TREE_EXCLUSIVE, NULL, &tree),
                     KV_EINVAL);
    close_world(&w);
}

/* Up to the limit of a key, what escapes take included. */
static void pairs_have_a_limit(void **state)
{
    static world w;
    static uint8_t zeros[1000], value[1000];
    uint64_t n;
    open_world(&w);
    assert_int_equal(kv_multi_put(w.tree, "key", 3, value, 960 - 4), KV_OK);
    assert_int_equal(kv_multi_put(w.tree, "key", 3, value, 960 - 3), KV_ETOOBIG);
    assert_int_equal(kv_multi_put(w.tree, zeros, 400, value, 960 - 801), KV_OK);
    assert_int_equal(kv_multi_put(w.tree, zeros, 400, value, 960 - 800), KV_ETOOBIG);
    assert_int_equal(kv_multi_put(w.tree, zeros, 479, NULL, 0), KV_OK);
    assert_int_equal(kv_multi_put(w.tree, zeros, 480, NULL, 0), KV_ETOOBIG);
    assert_int_equal(kv_multi_del(w.tree, zeros, 1000, NULL, 0), KV_ETOOBIG);
    assert_int_equal(kv_multi_has(w.tree, zeros, 1000, NULL, 0), KV_NOTFOUND);
    assert_int_equal(kv_multi_count(w.tree, zeros, 1000, &n), KV_OK);
    assert_int_equal(n, 0);
    assert_int_equal(kv_rank(w.tree, zeros, 1000, &n), KV_OK);
    assert_int_equal(n, 2);
    const kv_range range = {.size = sizeof range, .from = zeros, .from_len = 1000};
    assert_int_equal(kv_count(w.tree, &range, &n), KV_OK);
    assert_int_equal(n, 1);
    close_world(&w);
}

/* On from a pair that went away meanwhile, or from behind the limit. */
static void cursors_go_on(void **state)
{
    static world w;
    kv_cursor *c;
    kv_slice key, value;
    const kv_range first = {.size = sizeof first, .limit = 1};
    open_world(&w);
    const char *const pairs[][2] = {{"a", "1"}, {"a", "2"}, {"b", "1"}, {"c", "1"}};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(kv_multi_put(w.tree, pairs[i][0], 1, pairs[i][1], 1), KV_OK);
    assert_int_equal(kv_cursor_open(w.tree, NULL, &c), KV_OK);
    for (int forward = 0; forward < 2; forward++) {
        assert_int_equal(kv_cursor_seek_pair(c, KV_SEEK_EQ, "b", 1, "1", 1), KV_OK);
        assert_int_equal(kv_multi_del(w.tree, "b", 1, "1", 1), KV_OK);
        assert_int_equal(forward ? kv_cursor_next_key(c) : kv_cursor_prev_key(c), KV_OK);
        assert_int_equal(kv_cursor_get(c, &key, &value), KV_OK);
        assert_memory_equal(key.ptr, forward ? "c" : "a", 1);
        assert_memory_equal(value.ptr, forward ? "1" : "2", 1);
        assert_int_equal(kv_multi_put(w.tree, "b", 1, "1", 1), KV_OK);
    }
    kv_cursor_close(c);
    assert_int_equal(kv_txn_commit(w.txn), KV_OK);
    begin(&w, KV_TXN_READ);
    assert_int_equal(kv_cursor_open(w.tree, &first, &c), KV_OK);
    assert_int_equal(kv_cursor_next(c), KV_OK);
    assert_int_equal(kv_cursor_next(c), KV_NOTFOUND);
    assert_int_equal(kv_cursor_next_key(c), KV_OK);
    assert_int_equal(kv_cursor_get(c, &key, NULL), KV_OK);
    assert_memory_equal(key.ptr, "b", 1);
    close_world(&w);
}

/* Parts do not divide a key; an empty one begins no part but that of its pairs. */
static void splits_are_between_keys(void **state)
{
    static world w;
    kv_slice keys[8];
    char room[8];
    size_t got;
    const kv_range down = {.size = sizeof down, .flags = KV_RANGE_REVERSE};
    open_world(&w);
    const char *const names[] = {"", "long key", "z"};
    for (size_t i = 0; i < 3; i++)
        for (char value = 'a'; value < 'd'; value++)
            assert_int_equal(kv_multi_put(w.tree, names[i], strlen(names[i]), &value, 1), KV_OK);
    assert_int_equal(kv_split(w.tree, NULL, 9, keys, room, sizeof room, &got), KV_ETOOBIG);
    assert_int_equal(kv_split(w.tree, &down, 9, keys, room, sizeof room, &got), KV_ETOOBIG);
    char enough[64];
    assert_int_equal(kv_split(w.tree, NULL, 9, keys, enough, sizeof enough, &got), KV_OK);
    assert_int_equal(got, 2); /* in front of the first key there is nothing */
    assert_memory_equal(keys[0].ptr, "long key", 8);
    assert_memory_equal(keys[1].ptr, "z", 1);
    assert_int_equal(kv_split(w.tree, &down, 9, keys, enough, sizeof enough, &got), KV_OK);
    assert_int_equal(got, 2);
    assert_memory_equal(keys[1].ptr, "z", 1);
    const kv_range one = {.size = sizeof one,
                          .flags = KV_RANGE_TO_CLOSED,
                          .from = "z",
                          .from_len = 1,
                          .to = "z",
                          .to_len = 1};
    assert_int_equal(kv_split(w.tree, &one, 3, keys, enough, sizeof enough, &got), KV_OK);
    assert_int_equal(got, 0);
    kv_tree *main = kv_txn_main(w.txn);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(kv_put(main, names[i], strlen(names[i]), "v", 1, 0), KV_OK);
    assert_int_equal(kv_split(main, &down, 3, keys, room, sizeof room, &got), KV_ETOOBIG);
    assert_int_equal(kv_split(main, &down, 3, keys, enough, sizeof enough, &got), KV_OK);
    assert_int_equal(got, 2);
    assert_memory_equal(keys[0].ptr, "long key", 8);
    assert_memory_equal(keys[1].ptr, "z", 1);
    close_world(&w);
}

/* One key has nearly all pairs: no part is empty, and keys ascend. */
static void splits_have_no_empty_part(void **state)
{
    static world w;
    kv_slice keys[8];
    char room[256];
    size_t got;
    open_world(&w);
    for (char value = '0'; value < '8'; value++)
        assert_int_equal(kv_multi_put(w.tree, "b", 1, &value, 1), KV_OK);
    assert_int_equal(kv_multi_put(w.tree, "c", 1, "v", 1), KV_OK);
    assert_int_equal(kv_split(w.tree, NULL, 4, keys, room, sizeof room, &got), KV_OK);
    assert_int_equal(got, 1);
    assert_memory_equal(keys[0].ptr, "c", 1);
    assert_int_equal(kv_multi_put(w.tree, "a", 1, "v", 1), KV_OK);
    assert_int_equal(kv_split(w.tree, NULL, 4, keys, room, sizeof room, &got), KV_OK);
    assert_int_equal(got, 2);
    assert_memory_equal(keys[0].ptr, "b", 1);
    assert_memory_equal(keys[1].ptr, "c", 1);
    close_world(&w);
}

/* The limit of a range ends it inside a key: behind that there is no part. */
static void splits_end_with_the_limit(void **state)
{
    static world w;
    kv_slice keys[8];
    char room[256];
    size_t got;
    open_world(&w);
    for (char value = '0'; value < '4'; value++)
        assert_int_equal(kv_multi_put(w.tree, "a", 1, &value, 1), KV_OK);
    assert_int_equal(kv_multi_put(w.tree, "b", 1, "v", 1), KV_OK);
    for (uint64_t limit = 1; limit <= 5; limit++) {
        const kv_range range = {.size = sizeof range, .limit = limit};
        assert_int_equal(kv_split(w.tree, &range, 2, keys, room, sizeof room, &got), KV_OK);
        assert_int_equal(got, limit == 5);
        const kv_range last = {.size = sizeof last, .limit = limit, .flags = KV_RANGE_REVERSE};
        assert_int_equal(kv_split(w.tree, &last, 2, keys, room, sizeof room, &got), KV_OK);
        assert_int_equal(got, limit > 1);
        if (got)
            assert_memory_equal(keys[0].ptr, "b", 1);
    }
    close_world(&w);
}

/* What a cursor gave out may be told to seek, and stays when the entry under it is asked for. */
static void given_pairs_stay(void **state)
{
    static world w;
    kv_cursor *cursor;
    kv_pair pairs[4];
    kv_slice key, value;
    size_t got;
    kv_entry_info info = {.size = sizeof info};
    open_world(&w);
    for (char v = '1'; v < '5'; v++)
        assert_int_equal(kv_multi_put(w.tree, "a\0b", 3, &v, 1), KV_OK);
    assert_int_equal(kv_multi_put(w.tree, "b\1", 2, "other", 5), KV_OK);
    assert_int_equal(kv_txn_commit(w.txn), KV_OK);
    assert_int_equal(kv_txn_begin(w.db, KV_TXN_READ, &w.txn), KV_OK);
    assert_int_equal(kv_tree_open(w.txn, "m", 1, 0, NULL, &w.tree), KV_OK);
    assert_int_equal(kv_cursor_open(w.tree, NULL, &cursor), KV_OK);
    assert_int_equal(kv_cursor_read(cursor, pairs, 3, &got), KV_OK);
    assert_int_equal(kv_cursor_get(cursor, &key, &value), KV_OK);
    assert_int_equal(kv_cursor_info(cursor, &info), KV_OK);
    assert_int_equal(info.value.len, 1);
    assert_int_equal(info.stored_len, 1);
    for (size_t i = 0; i < got; i++) {
        assert_int_equal(compare_bytes(pairs[i].key.ptr, pairs[i].key.len, "a\0b", 3), 0);
        assert_int_equal(*(const char *)pairs[i].value.ptr, '1' + (char)i);
    }
    assert_int_equal(compare_bytes(value.ptr, value.len, "3", 1), 0);
    for (int how = 0; how < 2; how++) {
        if (how == 1)
            key = pairs[0].key;
        assert_int_equal(kv_cursor_seek(cursor, KV_SEEK_EQ, key.ptr, key.len), KV_OK);
        assert_int_equal(kv_cursor_get(cursor, &key, &value), KV_OK);
        assert_int_equal(compare_bytes(value.ptr, value.len, "1", 1), 0);
        assert_int_equal(
            kv_cursor_seek_pair(cursor, KV_SEEK_GT, key.ptr, key.len, value.ptr, value.len), KV_OK);
        assert_int_equal(kv_cursor_get(cursor, &key, &value), KV_OK);
        assert_int_equal(compare_bytes(value.ptr, value.len, "2", 1), 0);
        assert_int_equal(kv_cursor_seek(cursor, KV_SEEK_GT, key.ptr, key.len), KV_OK);
        assert_int_equal(kv_cursor_get(cursor, &key, &value), KV_OK);
        assert_int_equal(compare_bytes(key.ptr, key.len, "b\1", 2), 0);
        assert_int_equal(kv_cursor_seek(cursor, KV_SEEK_LT, key.ptr, key.len), KV_OK);
        assert_int_equal(kv_cursor_get(cursor, &key, &value), KV_OK);
        assert_int_equal(compare_bytes(value.ptr, value.len, "4", 1), 0);
    }
    kv_cursor_close(cursor);
    close_world(&w);
}

/* Copies, snapshots' differences and savepoints have pairs, too. */
static int count_change(void *context, const kv_change *change)
{
    if (!change->key.ptr)
        return 0;
    assert_int_equal(change->kind, KV_CHANGE_ADDED);
    assert_int_equal(compare_bytes(change->key.ptr, change->key.len, "a\0b", 3), 0);
    assert_int_equal(compare_bytes(change->new_value.ptr, change->new_value.len, "\0v", 2), 0);
    ++*(unsigned *)context;
    return 0;
}

static int no_value(void *context, const kv_change *change)
{
    if (!change->key.ptr)
        return 0;
    assert_null(change->new_value.ptr);
    ++*(unsigned *)context;
    return 0;
}

static void pairs_survive_elsewhere(void **state)
{
    static world w;
    kv_txn *old;
    unsigned changes = 0;
    uint32_t point;
    open_world(&w);
    fill(&w, 600);
    assert_int_equal(kv_txn_savepoint(w.txn, &point), KV_OK);
    assert_int_equal(kv_multi_put(w.tree, "gone", 4, "v", 1), KV_OK);
    assert_int_equal(kv_txn_rollback_to(w.txn, point), KV_OK);
    check_scan(&w, NULL, 0, w.n);
    assert_int_equal(kv_txn_commit(w.txn), KV_OK);
    assert_int_equal(kv_txn_begin(w.db, KV_TXN_READ, &old), KV_OK);
    begin(&w, KV_TXN_WRITE);
    pair p = {"a\0b", "\0v", 3, 2};
    assert_int_equal(kv_multi_put(w.tree, p.key, 3, p.value, 2), KV_OK);
    model_add(&w, &p);
    assert_int_equal(kv_txn_commit(w.txn), KV_OK);
    begin(&w, KV_TXN_READ);
    kv_diff_options options = {.size = sizeof options, .change = count_change, .context = &changes};
    assert_int_equal(kv_diff(old, w.txn, &options, NULL), KV_OK);
    const kv_range range = {.size = sizeof range,
                            .from = "a\0b",
                            .from_len = 3,
                            .to = "a\0b",
                            .to_len = 3,
                            .flags = KV_RANGE_TO_CLOSED};
    options.range = &range;
    assert_int_equal(kv_diff(old, w.txn, &options, NULL), KV_OK);
    assert_int_equal(changes, 2);
    kv_diff_info info = {.size = sizeof info};
    assert_int_equal(kv_diff(old, w.txn, NULL, &info), KV_OK);
    assert_int_equal(info.added, 1);
    options.flags = KV_DIFF_KEYS;
    options.change = no_value;
    assert_int_equal(kv_diff(old, w.txn, &options, NULL), KV_OK);
    assert_int_equal(changes, 3);
    kv_txn_abort(old);
    kv_txn_abort(w.txn);
    char copy[512];
    snprintf(copy, sizeof copy, "%s", scratch_path(&w.dir, "copy.kv"));
    assert_int_equal(kv_db_copy(w.db, copy, KV_COPY_COMPACT), KV_OK);
    assert_int_equal(kv_db_close(w.db), KV_OK);
    assert_int_equal(kv_db_open(copy, NULL, &w.db), KV_OK);
    begin(&w, KV_TXN_WRITE);
    check_scan(&w, NULL, 0, w.n);
    assert_int_equal(kv_multi_put(w.tree, p.key, 3, p.value, 2), KV_EXISTS);
    close_world(&w);
}

static void batches_have_pairs(void **state)
{
    static world w;
    kv_write_result result = {.size = sizeof result};
    uint64_t n;
    open_world(&w);
    assert_int_equal(kv_txn_commit(w.txn), KV_OK);
    const kv_slice tree = {"new", 3}, key = {"k", 1};
    kv_op ops[] = {
        {.kind = KV_OP_MULTI_PUT,
         .flags = KV_OP_CREATE_TREE,
         .tree = tree,
         .key = key,
         .value = {"1", 1}},
        {.kind = KV_OP_MULTI_PUT, .tree = tree, .key = key, .value = {"2", 1}},
        {.kind = KV_OP_MULTI_PUT, .tree = tree, .key = key, .value = {"1", 1}},
        {.kind = KV_OP_MULTI_DEL, .tree = tree, .key = key, .value = {"2", 1}},
        {.kind = KV_OP_MULTI_DEL, .tree = tree, .key = key, .value = {"3", 1}},
        {.kind = KV_OP_MULTI_DEL_KEY, .tree = tree, .key = {"none", 4}},
    };
    assert_int_equal(kv_db_write(w.db, ops, 6, 0, &result), KV_OK);
    assert_int_equal(result.deleted, 1);
    ops[0].flags = KV_PUT_ABSENT;
    assert_int_equal(kv_db_write(w.db, ops, 1, 0, &result), KV_EXISTS);
    ops[4].flags = KV_PUT_PRESENT;
    assert_int_equal(kv_db_write(w.db, &ops[4], 1, 0, &result), KV_NOTFOUND);
    const struct {
        uint32_t kind;
        const char *key, *value;
        int rc;
    } checks[] = {
        {KV_OP_CHECK_PRESENT, "k", NULL, KV_OK},    {KV_OP_CHECK_PRESENT, "j", NULL, KV_NOTFOUND},
        {KV_OP_CHECK_ABSENT, "k", NULL, KV_EXISTS}, {KV_OP_CHECK_ABSENT, "j", NULL, KV_OK},
        {KV_OP_CHECK_VALUE, "k", "1", KV_OK},       {KV_OP_CHECK_VALUE, "k", "2", KV_MISMATCH},
        {KV_OP_CHECK_VALUE, "j", "1", KV_NOTFOUND},
    };
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        ops[0] = (kv_op){.kind = checks[i].kind, .tree = tree, .key = {checks[i].key, 1}};
        if (checks[i].value)
            ops[0].value = (kv_slice){checks[i].value, 1};
        assert_int_equal(kv_db_write(w.db, ops, 1, 0, &result), checks[i].rc);
    }
    static const char too_long[2000];
    ops[0] = (kv_op){
        .kind = KV_OP_CHECK_VALUE, .tree = tree, .key = key, .value = {too_long, sizeof too_long}};
    assert_int_equal(kv_db_write(w.db, ops, 1, 0, &result), KV_MISMATCH);
    ops[0].key.ptr = "j";
    assert_int_equal(kv_db_write(w.db, ops, 1, 0, &result), KV_NOTFOUND);
    ops[0] = (kv_op){.kind = KV_OP_PUT, .tree = tree, .key = key, .value = {"v", 1}};
    assert_int_equal(kv_db_write(w.db, ops, 1, 0, &result), KV_EINVAL);
    ops[0].kind = KV_OP_POP_FIRST;
    assert_int_equal(kv_db_write(w.db, ops, 1, 0, &result), KV_EINVAL);
    ops[0] = (kv_op){.kind = KV_OP_MULTI_PUT, .key = key, .value = {"v", 1}};
    assert_int_equal(kv_db_write(w.db, ops, 1, 0, &result), KV_EINVAL);
    assert_int_equal(kv_txn_begin(w.db, KV_TXN_READ, &w.txn), KV_OK);
    assert_int_equal(kv_tree_open(w.txn, "new", 3, KV_TREE_MULTI, NULL, &w.tree), KV_OK);
    assert_int_equal(kv_multi_count(w.tree, "k", 1, &n), KV_OK);
    assert_int_equal(n, 1);
    assert_int_equal(kv_multi_has(w.tree, "k", 1, "1", 1), KV_OK);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_of_keys),
        cmocka_unit_test(cursors_seek_keys_and_pairs),
        cmocka_unit_test(cursors_go_over_distinct_keys),
        cmocka_unit_test(cursors_go_on),
        cmocka_unit_test(splits_are_between_keys),
        cmocka_unit_test(splits_have_no_empty_part),
        cmocka_unit_test(splits_end_with_the_limit),
        cmocka_unit_test(given_pairs_stay),
        cmocka_unit_test(pairs_come_and_go),
        cmocka_unit_test(kinds_of_trees_are_kept_apart),
        cmocka_unit_test(pairs_have_a_limit),
        cmocka_unit_test(pairs_survive_elsewhere),
        cmocka_unit_test(batches_have_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
