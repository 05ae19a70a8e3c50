/* test_cursor.c - cursors against a model that knows nothing but a sorted array and the words of
 * kv.h: every movement, in trees that change under the cursor in every way. */
#include "must.h"
#include "rng.h"
#include "rounds.h"
#include "scratch.h"
#include "sorted.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define KEY_ROOM   20000
#define VALUE_ROOM 20000
#define CURSORS    3

/* ---- the model ---- */

enum place { NOWHERE, ON, STOPPED, GAP, LOW, HIGH };

typedef struct model_cursor {
    const sorted *map;
    const kv_range *range; /* NULL: all */
    enum place place;
    uint8_t key[KEY_ROOM]; /* of ON, STOPPED and GAP */
    size_t key_len;
    uint64_t left;
} model_cursor;

static bool model_reverse(const model_cursor *m)
{
    return m->range && (m->range->flags & KV_RANGE_REVERSE);
}

static bool model_has(const model_cursor *m, kv_slice key)
{
    return sorted_in_range(m->range, key);
}

static kv_slice model_key(const model_cursor *m)
{
    return (kv_slice){m->key, m->key_len};
}

/* On entry number at; out of the map: outside, above or below. */
static int model_set(model_cursor *m, int64_t at, bool up)
{
    if (at < 0 || at >= (int64_t)m->map->n) {
        m->place = up ? HIGH : LOW;
        return KV_NOTFOUND;
    }
    kv_slice key = m->map->pairs[at].key;
    memcpy(m->key, key.ptr, key.len);
    m->key_len = key.len;
    m->place = ON;
    return KV_OK;
}

/* The first entry of the range from number at on, going up or down; -1: none. */
static int64_t model_find(const model_cursor *m, int64_t at, bool up)
{
    for (; at >= 0 && at < (int64_t)m->map->n; at += up ? 1 : -1) {
        if (model_has(m, m->map->pairs[at].key))
            return at;
    }
    return -1;
}

/* What changes did to an entry that the cursor was on. */
static void model_refresh(model_cursor *m)
{
    bool found;
    sorted_lower(m->map, model_key(m), &found);
    if ((m->place == ON || m->place == STOPPED) && !found)
        m->place = GAP;
}

static int model_end(model_cursor *m, bool up)
{
    int rc = model_set(m, model_find(m, up ? 0 : (int64_t)m->map->n - 1, up), up);
    if (rc != KV_OK)
        m->place = NOWHERE;
    return rc;
}

static int model_first(model_cursor *m)
{
    int rc = model_end(m, !model_reverse(m));
    uint64_t limit = m->range && m->range->limit ? m->range->limit : UINT64_MAX;
    m->left = limit - (rc == KV_OK);
    return rc;
}

static int model_last(model_cursor *m)
{
    return model_end(m, model_reverse(m));
}

static int model_step(model_cursor *m, bool up)
{
    bool found;
    if (m->place == (up ? LOW : HIGH))
        return model_end(m, up);
    if (m->place == LOW || m->place == HIGH)
        return KV_NOTFOUND;
    int64_t at = (int64_t)sorted_lower(m->map, model_key(m), &found);
    if (m->place == ON)
        at += up ? 1 : -1;
    else if (m->place == GAP)
        at += up ? found : -1;
    return model_set(m, model_find(m, at, up), up);
}

static int model_next(model_cursor *m)
{
    model_refresh(m);
    if (m->place == NOWHERE)
        return model_first(m);
    if (m->left == 0) {
        if (m->place == ON)
            m->place = STOPPED;
        return KV_NOTFOUND;
    }
    int rc = model_step(m, !model_reverse(m));
    m->left -= rc == KV_OK;
    return rc;
}

static int model_prev(model_cursor *m)
{
    model_refresh(m);
    return m->place == NOWHERE ? model_last(m) : model_step(m, model_reverse(m));
}

static int model_seek(model_cursor *m, enum kv_seek how, kv_slice key)
{
    bool found;
    int64_t at = (int64_t)sorted_lower(m->map, key, &found);
    if (how == KV_SEEK_EQ) {
        m->place = NOWHERE;
        return found && model_has(m, key) ? model_set(m, at, true) : KV_NOTFOUND;
    }
    if (how == KV_SEEK_GT || how == KV_SEEK_LE)
        at += found;
    bool up = how > 0;
    return model_set(m, model_find(m, up ? at : at - 1, up), up);
}

static int model_nth(model_cursor *m, uint64_t n)
{
    bool up = !model_reverse(m);
    int64_t at = model_find(m, up ? 0 : (int64_t)m->map->n - 1, up);
    while (at >= 0 && n-- > 0)
        at = model_find(m, at + (up ? 1 : -1), up);
    return model_set(m, at, up);
}

/* ---- the world: a tree, its model, and cursors over both ---- */

typedef struct world {
    scratch dir;
    kv_db *db;
    kv_txn *txn;
    kv_tree *tree;
    kv_tree *other; /* whose changes are none of the cursors' business */
    sorted map;
    sorted saved; /* the map at the savepoint */
    uint32_t savepoint;
    rng random;
    uint32_t key_max;
    unsigned kind; /* of keys */
    kv_range ranges[CURSORS];
    uint8_t bounds[CURSORS][3][KEY_ROOM];
    kv_cursor *cursors[CURSORS];
    model_cursor models[CURSORS];
} world;

static const uint32_t page_sizes[] = {
#ifdef KVI_STRESS
    512,
#endif
    4096, 65536};

#define PAGE_SIZES (sizeof page_sizes / sizeof *page_sizes)

enum { KEYS_TINY, KEYS_NUMBERS, KEYS_LONG, KEY_KINDS };

static kv_slice make_key(world *w, uint8_t *buf)
{
    rng *r = &w->random;
    size_t len;
    if (w->kind == KEYS_TINY) {
        len = rng_below(r, 5);
        for (size_t i = 0; i < len; i++)
            buf[i] = (uint8_t[]){0, 'a', 'b', 0xfe, 0xff}[rng_below(r, 5)];
    } else if (w->kind == KEYS_NUMBERS) {
        len = (size_t)sprintf((char *)buf, "number/%06u", (unsigned)rng_below(r, 2000));
    } else {
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
        rng_one_in(&w->random, 30) ? rng_below(&w->random, VALUE_ROOM) : rng_below(&w->random, 60);
    rng_fill(&w->random, buf, len);
    return (kv_slice){buf, len};
}

/* A key, more often than not one that is there. */
static kv_slice pick_key(world *w, uint8_t *buf)
{
    if (w->map.n == 0 || rng_one_in(&w->random, 3))
        return make_key(w, buf);
    kv_slice key = w->map.pairs[rng_below(&w->random, w->map.n)].key;
    memcpy(buf, key.ptr, key.len);
    return (kv_slice){buf, key.len};
}

static void put_one(world *w)
{
    static uint8_t key[KEY_ROOM], value[VALUE_ROOM];
    kv_slice k = make_key(w, key), v = make_value(w, value);
    assert_int_equal(kv_put(w->tree, k.ptr, k.len, v.ptr, v.len, 0), KV_OK);
    sorted_put(&w->map, k, v);
}

static void make_range(world *w, int i)
{
    kv_range *range = &w->ranges[i];
    rng *r = &w->random;
    *range = (kv_range){.size = sizeof *range, .flags = (uint32_t)rng_below(r, 8)};
    if (rng_one_in(r, 2)) {
        kv_slice key = pick_key(w, w->bounds[i][0]);
        range->from = key.ptr;
        range->from_len = key.len;
    }
    if (rng_one_in(r, 2)) {
        kv_slice key = pick_key(w, w->bounds[i][1]);
        range->to = key.ptr;
        range->to_len = key.len;
    }
    if (rng_one_in(r, 4)) {
        kv_slice key = pick_key(w, w->bounds[i][2]);
        range->prefix = key.ptr;
        range->prefix_len = key.len ? rng_below(r, key.len) : 0;
    }
    if (rng_one_in(r, 3))
        range->limit = rng_between(r, 1, 40);
}

static void open_cursor(world *w, int i)
{
    make_range(w, i);
    const kv_range *range = rng_one_in(&w->random, 3) ? NULL : &w->ranges[i];
    assert_int_equal(kv_cursor_open(w->tree, range, &w->cursors[i]), KV_OK);
    model_cursor *m = &w->models[i];
    m->map = &w->map;
    m->range = range;
    m->place = NOWHERE;
    m->left = range && range->limit ? range->limit : UINT64_MAX;
}

static void open_cursors(world *w)
{
    for (int i = 0; i < CURSORS; i++)
        open_cursor(w, i);
}

static uint64_t base_seed(void)
{
    static uint64_t seed;
    if (!seed)
        seed = rng_choose_seed(20261);
    return seed;
}

static world *open_world(uint32_t page_size, unsigned kind, size_t puts)
{
    world *w = calloc(1, sizeof *w);
    kv_options options = {.size = sizeof options,
                          .flags = KV_OPEN_CREATE | KV_OPEN_NO_CLOSE_SYNC,
                          .page_size = page_size,
                          .durability = KV_LAZY,
                          .memory_budget = kind % 2 ? 16 * page_size : 0};
    kv_db_info info = {.size = sizeof info};
    scratch_make(&w->dir);
    rng_seed(&w->random, base_seed() + page_size + kind);
    w->kind = kind;
    assert_int_equal(kv_db_open(scratch_path(&w->dir, "cursor.kv"), &options, &w->db), KV_OK);
    assert_int_equal(kv_db_stat(w->db, &info), KV_OK);
    w->key_max = info.key_max;
    assert_int_equal(kv_txn_begin(w->db, KV_TXN_WRITE, &w->txn), KV_OK);
    w->tree = kv_txn_main(w->txn);
    assert_int_equal(kv_tree_open(w->txn, "other", 5, KV_TREE_CREATE, NULL, &w->other), KV_OK);
    for (size_t i = 0; i < puts; i++)
        put_one(w);
    return w;
}

static void end_txn(world *w)
{
    assert_int_equal(kv_txn_commit(w->txn), KV_OK);
    sorted_clear(&w->saved);
    w->savepoint = 0;
}

static void begin_txn(world *w, uint32_t flags)
{
    assert_int_equal(kv_txn_begin(w->db, flags, &w->txn), KV_OK);
    w->tree = kv_txn_main(w->txn);
    assert_int_equal(kv_tree_open(w->txn, "other", 5, 0, NULL, &w->other), KV_OK);
}

static void close_world(world *w)
{
    kv_txn_abort(w->txn);
    assert_int_equal(kv_db_close(w->db), KV_OK);
    sorted_clear(&w->map);
    sorted_clear(&w->saved);
    scratch_remove(&w->dir);
    free(w);
}

/* ---- one operation on both ---- */

static void assert_slice(kv_slice got, kv_slice want)
{
    assert_int_equal(got.len, want.len);
    if (want.len)
        assert_memory_equal(got.ptr, want.ptr, want.len);
}

/* The cursor answers as the model says. */
static void check_get(world *w, int i)
{
    kv_slice key = {w, 77}, value = {w, 78};
    bool found;
    model_cursor *m = &w->models[i];
    model_refresh(m);
    int rc = kv_cursor_get(w->cursors[i], &key, &value);
    assert_int_equal(rc, m->place == ON ? KV_OK : KV_NOTFOUND);
    if (rc != KV_OK) {
        assert_int_equal(key.len, 77);
        assert_int_equal(value.len, 78);
        return;
    }
    assert_slice(key, model_key(m));
    size_t at = sorted_lower(&w->map, model_key(m), &found);
    assert_true(found);
    assert_slice(value, w->map.pairs[at].value);
    assert_int_equal(kv_cursor_get(w->cursors[i], NULL, NULL), KV_OK);
}

static void do_seek(world *w, int i)
{
    static uint8_t buf[KEY_ROOM];
    enum kv_seek how = (enum kv_seek)((int)rng_below(&w->random, 5) - 2);
    kv_slice key = pick_key(w, buf);
    assert_int_equal(kv_cursor_seek(w->cursors[i], how, key.ptr, key.len),
                     model_seek(&w->models[i], how, key));
}

static void do_nth(world *w, int i)
{
    uint64_t n = rng_below(&w->random, w->map.n + 3);
    assert_int_equal(kv_cursor_nth(w->cursors[i], n), model_nth(&w->models[i], n));
}

/* A read is so many times next and get. */
static void do_read(world *w, int i)
{
    kv_pair pairs[40];
    model_cursor *m = &w->models[i];
    bool found;
    size_t n = rng_between(&w->random, 1, 40), got = 77, done = 0;
    int rc = kv_cursor_read(w->cursors[i], pairs, n, &got);
    while (done < n) {
        model_cursor before;
        memcpy(&before, m, sizeof before);
        if (model_next(m) != KV_OK) {
            if (done > 0) /* it stays on the last entry */
                memcpy(m, &before, sizeof before);
            break;
        }
        assert_true(done < got);
        assert_slice(pairs[done].key, model_key(m));
        size_t at = sorted_lower(&w->map, model_key(m), &found);
        assert_slice(pairs[done].value, w->map.pairs[at].value);
        done++;
    }
    assert_int_equal(got, done);
    assert_int_equal(rc, done ? KV_OK : KV_NOTFOUND);
}

static void do_move(world *w, int i)
{
    kv_cursor *c = w->cursors[i];
    model_cursor *m = &w->models[i];
    switch (rng_below(&w->random, 16)) {
    case 0:
        assert_int_equal(kv_cursor_first(c), model_first(m));
        break;
    case 1:
        assert_int_equal(kv_cursor_last(c), model_last(m));
        break;
    case 2:
    case 3:
        do_seek(w, i);
        break;
    case 4:
        do_nth(w, i);
        break;
    case 5:
        do_read(w, i);
        break;
    case 6:
        kv_cursor_close(c);
        open_cursor(w, i);
        break;
    case 7:
    case 8:
    case 9:
    case 10:
        assert_int_equal(kv_cursor_prev(c), model_prev(m));
        break;
    default:
        assert_int_equal(kv_cursor_next(c), model_next(m));
    }
}

static void do_cursor_put(world *w, int i)
{
    static uint8_t buf[VALUE_ROOM];
    model_cursor *m = &w->models[i];
    kv_slice value = make_value(w, buf), own;
    model_refresh(m);
    if (rng_one_in(&w->random, 4) && kv_cursor_get(w->cursors[i], NULL, &own) == KV_OK) {
        memcpy(buf, own.ptr, own.len); /* the very bytes that the put is about to replace */
        int rc = kv_cursor_put(w->cursors[i], own.ptr, own.len);
        assert_int_equal(rc, KV_OK);
        sorted_put(&w->map, model_key(m), (kv_slice){buf, own.len});
        return;
    }
    int rc = kv_cursor_put(w->cursors[i], value.ptr, value.len);
    assert_int_equal(rc, m->place == ON ? KV_OK : KV_NOTFOUND);
    if (rc == KV_OK)
        sorted_put(&w->map, model_key(m), value);
}

static void do_cursor_del(world *w, int i)
{
    model_cursor *m = &w->models[i];
    model_refresh(m);
    int rc = kv_cursor_del(w->cursors[i]);
    assert_int_equal(rc, m->place == ON ? KV_OK : KV_NOTFOUND);
    if (rc == KV_OK) {
        assert_true(sorted_del(&w->map, model_key(m)));
        m->place = GAP;
    }
}

static void do_del(world *w)
{
    static uint8_t buf[KEY_ROOM];
    kv_slice key = pick_key(w, buf);
    int rc = kv_del(w->tree, key.ptr, key.len);
    assert_int_equal(rc, sorted_del(&w->map, key) ? KV_OK : KV_NOTFOUND);
}

/* Cursors notice a deletion when they are next used: that must be before the key comes back. */
static void use_all(world *w)
{
    for (int i = 0; i < CURSORS; i++)
        check_get(w, i);
}

static void do_savepoint(world *w)
{
    if (w->savepoint && rng_one_in(&w->random, 2)) {
        assert_int_equal(kv_txn_rollback_to(w->txn, w->savepoint), KV_OK);
        sorted_clear(&w->map);
        sorted_copy(&w->map, &w->saved);
        return;
    }
    if (w->savepoint)
        assert_int_equal(kv_txn_release(w->txn, w->savepoint), KV_OK);
    assert_int_equal(kv_txn_savepoint(w->txn, &w->savepoint), KV_OK);
    sorted_clear(&w->saved);
    sorted_copy(&w->saved, &w->map);
}

/* A few entries from some key on. */
static void do_del_range(world *w)
{
    static uint8_t buf[KEY_ROOM];
    kv_slice key = pick_key(w, buf);
    kv_range range = {.size = sizeof range, .from = key.ptr, .from_len = key.len, .limit = 5};
    uint64_t deleted;
    size_t at = sorted_lower(&w->map, key, NULL);
    assert_int_equal(kv_del_range(w->tree, &range, &deleted), KV_OK);
    for (; deleted > 0; deleted--)
        assert_true(sorted_del(&w->map, w->map.pairs[at].key));
}

static void do_clear(world *w)
{
    assert_int_equal(kv_tree_clear(w->tree), KV_OK);
    sorted_clear(&w->map);
}

static void do_change(world *w, int i)
{
    switch (rng_below(&w->random, 14)) {
    case 0:
    case 1:
        do_cursor_put(w, i);
        break;
    case 2:
    case 3:
        do_cursor_del(w, i);
        break;
    case 4:
    case 5:
        do_del(w);
        break;
    case 6:
        if (rng_one_in(&w->random, 2))
            do_del_range(w);
        else
            assert_int_equal(kv_put(w->other, "x", 1, "y", 1, 0), KV_OK);
        break;
    case 7:
        if (rng_one_in(&w->random, 4))
            do_savepoint(w);
        else if (rng_one_in(&w->random, 20))
            do_clear(w);
        break;
    default:
        put_one(w);
    }
    use_all(w);
}

/* ---- tests ---- */

static void random_moves(world *w, unsigned rounds, bool changing)
{
    open_cursors(w);
    for (unsigned round = 0; round < rounds; round++) {
        int i = (int)rng_below(&w->random, CURSORS);
        if (changing && rng_one_in(&w->random, 4))
            do_change(w, i);
        else
            do_move(w, i);
        check_get(w, i);
    }
}

static void in_worlds(size_t puts, void (*fn)(world *w))
{
    for (size_t p = 0; p < PAGE_SIZES; p++) {
        for (unsigned kind = 0; kind < KEY_KINDS; kind++) {
            world *w = open_world(page_sizes[p], kind, kind == KEYS_LONG ? puts / 4 : puts);
            fn(w);
            close_world(w);
        }
    }
}

static void read_only(world *w)
{
    end_txn(w);
    begin_txn(w, KV_TXN_READ);
    random_moves(w, rounds_of(4000), false);
}

static void test_moves_reading(void **state)
{
    in_worlds(1000, read_only);
}

static void read_and_write(world *w)
{
    random_moves(w, rounds_of(4000), true);
    end_txn(w);
    begin_txn(w, KV_TXN_WRITE);
    random_moves(w, rounds_of(4000), true); /* over pages of the file */
    end_txn(w);
    must_be_sound(w->db);
    begin_txn(w, KV_TXN_READ);
    random_moves(w, 500, false);
}

static void test_moves_writing(void **state)
{
    in_worlds(600, read_and_write);
}

static void test_moves_in_small_trees(void **state)
{
    in_worlds(4, read_and_write);
}

static void test_moves_in_empty_tree(void **state)
{
    in_worlds(0, read_only);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moves_reading),
        cmocka_unit_test(test_moves_writing),
        cmocka_unit_test(test_moves_in_small_trees),
        cmocka_unit_test(test_moves_in_empty_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
