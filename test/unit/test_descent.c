/* Every way down the tree, for each set of instructions that this processor has, finds what is there and
 * nothing else: in committed pages and in private ones, for keys of many shapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "descent.h"
#include "kv.h"
#include "must.h"
#include "rng.h"
#include "scratch.h"
#include "sorted.h"
#include <stdio.h>
#include <sys/mman.h>

enum { KEYS = 2000, ROOM = 100, VALUE_MAX = 1200, GROUP = 64, LOOKS = 1920 };

static scratch *dir;

/* Keys are a group, a beginning, zeros and a number. */
static const struct shape {
    unsigned groups; /* the first byte tells which group of so many; 0: no such byte */
    const char *front;
    unsigned zeros;
    unsigned
        len;     /* bytes of the number; 0: from 1 to 7 of them, after a byte that tells how many */
    bool random; /* not one number after the other */
    unsigned value; /* its length; 0: they differ, and some are none */
} shapes[] = {
    {.front = "", .len = 16, .random = true, .value = 100},
    {.front = "", .len = 24, .random = true, .value = 150},
    {.front = "", .zeros = 4, .len = 4, .value = 8},
    {.front = "", .len = 8, .random = true, .value = 40},
    {.front = "", .len = 8, .random = true, .value = 2}, /* many in a leaf */
    {.front = "", .len = 4, .random = true, .value = 20},
    {.front = "user:", .zeros = 5, .len = 8, .value = 100},
    {.front = "https://www.example.org/some/where/", .len = 8, .random = true, .value = 60},
    {.front = "a beginning", .zeros = 1, .len = 3, .value = 33}, /* no whole head behind a prefix */
    {.front = "k", .zeros = 16, .len = 6, .random = true, .value = 50},
    {.front = "key", .len = 0, .random = true, .value = 30},
    {.front = "", .len = 16, .random = true, .value = 0},
    {.groups = 5, .front = "", .zeros = 8, .len = 8, .random = true, .value = 40}, /* equal heads */
};

static void put64be(uint8_t *p, uint64_t v)
{
    kvi_put32be(p, (uint32_t)(v >> 32));
    kvi_put32be(p + 4, (uint32_t)v);
}

static kv_slice key_at(const struct shape *s, uint64_t i, uint8_t room[ROOM])
{
    uint64_t number = s->random ? (i + 1) * 0x9e3779b97f4a7c15ull : i;
    uint8_t *at = room, bytes[24];
    unsigned len = s->len;
    memset(room, 0, ROOM);
    if (s->groups)
        *at++ = (uint8_t)(number % s->groups);
    memcpy(at, s->front, strlen(s->front));
    at += strlen(s->front) + s->zeros;
    if (len == 0)
        *at++ = (uint8_t)(len = 1 + (unsigned)(number % 7));
    put64be(bytes, number);
    put64be(bytes + 8, number * 31);
    put64be(bytes + 16, i);
    memcpy(at, s->random ? bytes : bytes + 8 - len, len);
    return (kv_slice){room, (size_t)(at - room) + len};
}

static kv_slice value_at(const struct shape *s, uint64_t i, uint8_t room[VALUE_MAX])
{
    size_t len = s->value ? s->value : i % 5 == 0 ? 0 : i * 37 % VALUE_MAX;
    memset(room, (int)(i * 7), VALUE_MAX);
    return (kv_slice){room, len};
}

/* Every other number's key, into the tree and into the model. */
static void fill(kv_tree *tree, sorted *model, const struct shape *s, uint64_t from, uint64_t to)
{
    uint8_t room[ROOM], bytes[VALUE_MAX];
    for (uint64_t i = from; i < to; i += 2) {
        kv_slice key = key_at(s, i, room), value = value_at(s, i, bytes);
        assert_int_equal(kv_put(tree, key.ptr, key.len, value.ptr, value.len, 0), KV_OK);
        sorted_put(model, key, value);
    }
}

/* A key that is there, or is not; or one that differs from such a one in a byte or in its length. */
static kv_slice sought(const struct shape *s, rng *r, uint8_t room[ROOM])
{
    kv_slice key = key_at(s, rng_below(r, KEYS + 9), room);
    switch (rng_below(r, 6)) {
    case 0:
        room[rng_below(r, key.len)] ^= (uint8_t)(1u << rng_below(r, 8));
        break;
    case 1:
        key.len -= rng_below(r, key.len) + (key.len > 1);
        break;
    case 2:
        key.len += rng_below(r, 9);
        break;
    default:
        break;
    }
    return key;
}

static void same(kv_slice a, kv_slice b)
{
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.ptr, b.ptr, a.len);
}

static void look_at(kv_tree *tree, kv_cursor *cursor, const sorted *model, kv_slice key)
{
    static const char room[1] = "-";
    bool found;
    size_t at = sorted_lower(model, key, &found);
    kv_pair next;
    kv_slice value = {room, 1};
    assert_int_equal(kv_get(tree, key.ptr, key.len, &value), found ? KV_OK : KV_NOTFOUND);
    assert_int_equal(kv_exists(tree, key.ptr, key.len), found ? KV_OK : KV_NOTFOUND);
    same(value, found ? model->pairs[at].value : (kv_slice){room, 1});
    assert_int_equal(kv_cursor_seek(cursor, KV_SEEK_GE, key.ptr, key.len),
                     at < model->n ? KV_OK : KV_NOTFOUND);
    if (at == model->n)
        return;
    assert_int_equal(kv_cursor_get(cursor, &next.key, &next.value), KV_OK);
    same(next.key, model->pairs[at].key);
    same(next.value, model->pairs[at].value);
}

static void look_at_many(kv_tree *tree, const sorted *model, const kv_slice *keys)
{
    kv_slice values[GROUP];
    int results[GROUP];
    assert_int_equal(kv_get_many(tree, GROUP, keys, values, results), KV_OK);
    for (unsigned i = 0; i < GROUP; i++) {
        bool found;
        size_t at = sorted_lower(model, keys[i], &found);
        assert_int_equal(results[i], found ? KV_OK : KV_NOTFOUND);
        if (found)
            same(values[i], model->pairs[at].value);
    }
}

static void look(kv_tree *tree, const sorted *model, const struct shape *s, rng *r)
{
    static uint8_t rooms[GROUP][ROOM];
    kv_slice keys[GROUP];
    kv_cursor *cursor;
    assert_int_equal(kv_cursor_open(tree, 0, &cursor), KV_OK);
    for (unsigned i = 0; i < LOOKS; i++) {
        keys[i % GROUP] = sought(s, r, rooms[i % GROUP]);
        look_at(tree, cursor, model, keys[i % GROUP]);
        if (i % GROUP == GROUP - 1)
            look_at_many(tree, model, keys);
    }
    kv_cursor_close(cursor);
}

static void shape_right(const kvi_descent *descent, const struct shape *s, uint32_t page_size)
{
    kv_db *db;
    kv_txn *txn;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = page_size};
    const char *path = scratch_path(dir, "descent.kv");
    sorted model = {0};
    rng r;
    rng_seed(&r, page_size);
    remove(path);
    assert_int_equal(kv_db_open(path, &options, &db), KV_OK);
    atomic_store(&kvi_descent_chosen, descent);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    fill(kv_txn_main(txn), &model, s, 0, KEYS - 40);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    fill(kv_txn_main(txn), &model, s, KEYS - 40, KEYS); /* some pages are private, others not */
    look(kv_txn_main(txn), &model, s, &r);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_txn_begin(db, 0, &txn), KV_OK);
    look(kv_txn_main(txn), &model, s, &r);
    kv_txn_abort(txn);
    kv_db_close(db);
    sorted_clear(&model);
}

static void all_shapes(const kvi_descent *descent)
{
    static const uint32_t page_sizes[] = {KVI_PAGE_MIN, 8192, 65536};
    for (size_t p = 0; p < KVI_COUNT(page_sizes); p++)
        for (size_t i = 0; i < KVI_COUNT(shapes); i++)
            shape_right(descent, &shapes[i], page_sizes[p]);
}

static void test_every_descent(void **state)
{
    dir = *state;
    unsigned worked = 0;
    for (const kvi_descent *const *d = kvi_descents; *d; d++) {
        if ((*d)->works()) {
            all_shapes(*d);
            worked++;
        }
    }
    print_message("%u sets of instructions\n", worked);
    assert_in_range(worked, 1, 3);
}

/* Opening a database chooses the first that works. */
static void test_the_best(void **state)
{
    dir = *state;
    kv_db *db;
    const kvi_descent *const *best = kvi_descents;
    while (!(*best)->works())
        best++;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
    atomic_store(&kvi_descent_chosen, NULL);
    assert_int_equal(kv_db_open(scratch_path(dir, "best.kv"), &options, &db), KV_OK);
    assert_ptr_equal(kvi_descent_now(), *best);
    kv_db_close(db);
}

/* A key of more than 4 GiB is not one that has the rest of its length. */
static void test_endless_key(void **state)
{
    dir = *state;
    kv_db *db;
    kv_slice value;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
    size_t len = (size_t)(((uint64_t)1 << 32) + 10);
    if (sizeof(size_t) < 8)
        return;
    uint8_t *key =
        mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(key != MAP_FAILED);
    memcpy(key, "abcdefghij", 10);
    memcpy(key + len - 6, "efghij", 6);
    for (const kvi_descent *const *d = kvi_descents; *d; d++) {
        if (!(*d)->works())
            continue;
        const char *path = scratch_path(dir, "endless.kv");
        remove(path);
        assert_int_equal(kv_db_open(path, &options, &db), KV_OK);
        atomic_store(&kvi_descent_chosen, *d);
        kv_txn *txn = must_begin(db, KV_TXN_WRITE);
        for (unsigned i = 0; i < 2; i++) { /* without a prefix, and with one */
            assert_int_equal(
                kv_put(kv_txn_main(txn), i ? "b" : "abcdefghij", i ? 1 : 10, "v", 1, 0), KV_OK);
            assert_int_equal(kv_get(kv_txn_main(txn), key, 10, &value), KV_OK);
            assert_int_equal(kv_get(kv_txn_main(txn), key, len, &value), KV_NOTFOUND);
        }
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        txn = must_begin(db, KV_TXN_READ);
        assert_int_equal(kv_get(kv_txn_main(txn), key, 10, &value), KV_OK);
        assert_int_equal(kv_get(kv_txn_main(txn), key, len, &value), KV_NOTFOUND);
        kv_txn_abort(txn);
        kv_db_close(db);
    }
    munmap(key, len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_descent),
        cmocka_unit_test(test_the_best),
        cmocka_unit_test(test_endless_key),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
