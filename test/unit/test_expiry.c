/* Entries that expire: what is shown when, in every operation; aggregates; forged ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "expired.h"
#include "must.h"
#include "sim_os.h"
#include "surgeon.h"
#include <stdio.h>

static sim_disk *disk;
static kv_db *db;
static uint32_t page_size = KVI_PAGE_MIN;

static int setup(void **state)
{
    disk = sim_new(1);
    disk->recording = SIM_RECORD_NOTHING;
    return 0;
}

static int teardown(void **state)
{
    sim_free(disk);
    return 0;
}

static void open_db(void)
{
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = page_size};
    assert_int_equal(kvi_db_open(sim_os(disk), "db", &options, &db, NULL, 0), KV_OK);
}

static int open_fresh(void **state)
{
    sim_reset(disk);
    open_db();
    return 0;
}

static int close_db(void **state)
{
    must_be_sound(db);
    return kv_db_close(db) == KV_OK ? 0 : -1;
}

static kv_txn *begin(uint32_t flags)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, flags, &txn), KV_OK);
    return txn;
}

static void commit(kv_txn *txn)
{
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static int put_for(kv_tree *tree, const char *key, const char *value, uint64_t ttl_ms,
                   uint32_t flags)
{
    kv_put_options options = {.size = sizeof options, .flags = flags, .ttl_ms = ttl_ms};
    return kv_put_with(tree, key, strlen(key), value, strlen(value), &options);
}

static int get(kv_tree *tree, const char *key)
{
    return kv_get(tree, key, strlen(key), NULL);
}

static uint64_t ttl_of(kv_tree *tree, const char *key)
{
    uint64_t ttl = 0;
    assert_int_equal(kv_ttl(tree, key, strlen(key), &ttl), KV_OK);
    return ttl;
}

/* ---- single keys ---- */

static void test_instant(void **state)
{
    kv_txn *txn = begin(KV_TXN_WRITE);
    uint64_t then = kv_txn_now(txn);
    assert_int_equal(put_for(kv_txn_main(txn), "a", "1", 100, 0), KV_OK);
    assert_int_equal(ttl_of(kv_txn_main(txn), "a"), 100);
    commit(txn);
    disk->clock_ms = then + 99;
    kv_txn *old = begin(KV_TXN_READ);
    kv_entry_info info = {.size = sizeof info};
    assert_int_equal(kv_get_info(kv_txn_main(old), "a", 1, &info), KV_OK);
    assert_int_equal(info.ttl_ms, 1);
    assert_int_equal(info.expires_at, then + 100);
    assert_int_equal(info.stored_len, 1);
    assert_memory_equal(info.value.ptr, "1", 1);
    disk->clock_ms = then + 100;
    kv_txn *young = begin(KV_TXN_READ);
    assert_int_equal(get(kv_txn_main(young), "a"), KV_NOTFOUND);
    assert_int_equal(kv_get_info(kv_txn_main(young), "a", 1, &info), KV_NOTFOUND);
    assert_int_equal(get(kv_txn_main(old), "a"), KV_OK); /* it judges by its own time */
    kv_txn_abort(old);
    kv_txn_abort(young);
}

/* The instant is as exact where only a named tree has entries that expire. */
static void test_instant_named(void **state)
{
    kv_tree *tree;
    kv_txn *txn = begin(KV_TXN_WRITE);
    uint64_t then = kv_txn_now(txn);
    assert_int_equal(kv_tree_open(txn, "t", 1, KV_TREE_CREATE, NULL, &tree), KV_OK);
    assert_int_equal(put_for(tree, "a", "1", 109, 0), KV_OK);
    commit(txn);
    for (unsigned late = 0; late < 2; late++) {
        disk->clock_ms = then + 108 + late;
        txn = begin(KV_TXN_READ);
        assert_int_equal(kv_txn_now(txn), disk->clock_ms);
        assert_int_equal(kv_tree_open(txn, "t", 1, 0, NULL, &tree), KV_OK);
        assert_int_equal(get(tree, "a"), late ? KV_NOTFOUND : KV_OK);
        kv_txn_abort(txn);
    }
}

static void test_put_conditions(void **state)
{
    kv_txn *txn = begin(KV_TXN_WRITE);
    kv_tree *tree = kv_txn_main(txn);
    assert_int_equal(put_for(tree, "a", "1", 100, 0), KV_OK);
    assert_int_equal(put_for(tree, "a", "2", 100, KV_PUT_ABSENT), KV_EXISTS);
    assert_int_equal(kv_expire_at(tree, "a", 1, kv_txn_now(txn) + 70), KV_OK);
    assert_int_equal(ttl_of(tree, "a"), 70);
    assert_int_equal(kv_expire_at(tree, "none", 4, kv_txn_now(txn) + 70), KV_NOTFOUND);
    assert_int_equal(kv_expire(tree, "a", 1, 0), KV_OK); /* at once */
    assert_int_equal(get(tree, "a"), KV_NOTFOUND);
    assert_int_equal(kv_del(tree, "a", 1), KV_NOTFOUND);
    assert_int_equal(kv_expire(tree, "a", 1, 50), KV_NOTFOUND);
    assert_int_equal(kv_persist(tree, "a", 1), KV_NOTFOUND);
    assert_int_equal(kv_touch(tree, "a", 1, 50, 0), KV_NOTFOUND);
    assert_int_equal(put_for(tree, "a", "2", 0, KV_PUT_PRESENT), KV_NOTFOUND);
    assert_int_equal(put_for(tree, "a", "2", 0, KV_PUT_ABSENT), KV_OK);
    assert_int_equal(ttl_of(tree, "a"), KV_TTL_NEVER);
    commit(txn);
}

/* An entry that has expired has no time that a new value could keep. */
static void test_keep_of_expired(void **state)
{
    kv_txn *txn = begin(KV_TXN_WRITE);
    assert_int_equal(put_for(kv_txn_main(txn), "a", "1", 100, 0), KV_OK);
    assert_int_equal(put_for(kv_txn_main(txn), "b", "1", 100, 0), KV_OK);
    commit(txn);
    disk->clock_ms += 100;
    txn = begin(KV_TXN_WRITE);
    kv_tree *tree = kv_txn_main(txn);
    assert_int_equal(put_for(tree, "a", "2", 0, KV_PUT_KEEP_EXPIRY), KV_OK);
    assert_int_equal(ttl_of(tree, "a"), KV_TTL_NEVER);
    assert_int_equal(put_for(tree, "b", "2", 70, KV_PUT_KEEP_EXPIRY), KV_OK);
    assert_int_equal(ttl_of(tree, "b"), 70);
    commit(txn);
}

/* A clock that goes back brings nothing back that had expired: not in a copy, nor in a named snapshot. */
static void test_clock_of_copies(void **state)
{
    kv_db *wide = must_open(disk, "wide"); /* with room for a snapshot's name */
    kv_txn *txn = must_begin(wide, KV_TXN_WRITE);
    assert_int_equal(put_for(kv_txn_main(txn), "a", "1", 1000, 0), KV_OK);
    assert_int_equal(put_for(kv_txn_main(txn), "b", "1", 0, 0), KV_OK);
    commit(txn);
    disk->clock_ms += 1000;
    assert_int_equal(kv_snapshot_create(wide, "s", 1, 0), KV_OK);
    disk->clock_ms -= 1000;
    assert_int_equal(kv_snapshot_open(wide, "s", 1, &txn), KV_OK);
    assert_int_equal(get(kv_txn_main(txn), "a"), KV_NOTFOUND);
    assert_int_equal(get(kv_txn_main(txn), "b"), KV_OK);
    kv_txn_abort(txn);
    for (uint32_t flags = 0; flags <= KV_COPY_COMPACT; flags++) {
        kv_db *copy;
        const char *path = flags ? "compact" : "plain";
        assert_int_equal(kv_db_copy(wide, path, flags), KV_OK);
        assert_int_equal(kvi_db_open(sim_os(disk), path, NULL, &copy, NULL, 0), KV_OK);
        assert_int_equal(kv_txn_begin(copy, KV_TXN_READ, &txn), KV_OK);
        assert_int_equal(get(kv_txn_main(txn), "a"), KV_NOTFOUND);
        assert_int_equal(get(kv_txn_main(txn), "b"), KV_OK);
        kv_txn_abort(txn);
        assert_int_equal(kv_db_close(copy), KV_OK);
    }
    assert_int_equal(kv_db_close(wide), KV_OK);
}

static void test_keep(void **state)
{
    kv_txn *txn = begin(KV_TXN_WRITE);
    kv_tree *tree = kv_txn_main(txn);
    assert_int_equal(put_for(tree, "a", "1", 100, 0), KV_OK);
    assert_int_equal(kv_put(tree, "a", 1, "2", 1, KV_PUT_KEEP_EXPIRY), KV_OK);
    assert_int_equal(ttl_of(tree, "a"), 100);
    assert_int_equal(put_for(tree, "a", "3", 500, KV_PUT_KEEP_EXPIRY), KV_OK);
    assert_int_equal(ttl_of(tree, "a"), 100);
    const kv_pair many[] = {{{"a", 1}, {"4", 1}}};
    assert_int_equal(kv_put_many(tree, 1, many, KV_PUT_KEEP_EXPIRY), KV_OK);
    assert_int_equal(ttl_of(tree, "a"), 100);
    assert_int_equal(put_for(tree, "b", "3", 500, KV_PUT_KEEP_EXPIRY), KV_OK); /* a new one */
    assert_int_equal(ttl_of(tree, "b"), 500);
    assert_int_equal(kv_put(tree, "a", 1, "4", 1, 0), KV_OK);
    assert_int_equal(ttl_of(tree, "a"), KV_TTL_NEVER);
    commit(txn);
}

static void test_touch(void **state)
{
    kv_txn *txn = begin(KV_TXN_WRITE);
    kv_tree *tree = kv_txn_main(txn);
    assert_int_equal(put_for(tree, "a", "1", 1000, 0), KV_OK);
    assert_int_equal(kv_put(tree, "b", 1, "1", 1, 0), KV_OK);
    commit(txn);
    disk->clock_ms += 99;
    txn = begin(KV_TXN_WRITE);
    uint64_t id = kv_txn_id(txn);
    assert_int_equal(kv_touch(kv_txn_main(txn), "a", 1, 1000, 100), KV_OK);
    assert_int_equal(kv_touch(kv_txn_main(txn), "b", 1, 1000, 0), KV_OK);
    assert_int_equal(kv_persist(kv_txn_main(txn), "b", 1), KV_OK);
    assert_int_equal(kv_expire(kv_txn_main(txn), "a", 1, 901), KV_OK); /* what it has */
    commit(txn);
    txn = begin(KV_TXN_WRITE);
    assert_int_equal(kv_txn_id(txn), id); /* nothing was written */
    kv_txn_abort(txn);
    disk->clock_ms += 1;
    txn = begin(KV_TXN_WRITE);
    tree = kv_txn_main(txn);
    assert_int_equal(kv_touch(tree, "a", 1, 1000, 100), KV_OK);
    assert_int_equal(ttl_of(tree, "a"), 1000);
    assert_int_equal(kv_touch(tree, "a", 1, 10, 0), KV_OK); /* never shortens */
    assert_int_equal(ttl_of(tree, "a"), 1000);
    assert_int_equal(ttl_of(tree, "b"), KV_TTL_NEVER);
    assert_int_equal(kv_touch(tree, "a", 1, UINT64_MAX, 0), KV_OK);
    assert_int_equal(ttl_of(tree, "a"), UINT64_MAX - kv_txn_now(txn));
    commit(txn);
}

/* Plain, large and compressed values keep their bytes when the expiry comes and goes. */
static void test_forms(void **state)
{
    static uint8_t bytes[3][20000];
    static const size_t lens[3] = {100, 20000, 3000};
    kv_txn *txn = begin(KV_TXN_WRITE);
    kv_tree *tree = kv_txn_main(txn);
    kv_tree_options options = {.size = sizeof options, .compress_from = 2500};
    assert_int_equal(kv_tree_configure(tree, &options), KV_OK);
    rng r;
    rng_seed(&r, 5);
    rng_fill(&r, bytes[1], lens[1]); /* does not compress */
    memset(bytes[2], 'x', lens[2]);
    for (int i = 0; i < 3; i++)
        assert_int_equal(kv_put(tree, &i, sizeof i, bytes[i], lens[i], 0), KV_OK);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 3; i++) {
            kv_entry_info info = {.size = sizeof info};
            if (round % 2 == 0)
                assert_int_equal(kv_expire(tree, &i, sizeof i, 1000 + (uint64_t)round), KV_OK);
            else
                assert_int_equal(kv_persist(tree, &i, sizeof i), KV_OK);
            assert_int_equal(kv_get_info(tree, &i, sizeof i, &info), KV_OK);
            assert_int_equal(info.ttl_ms, round % 2 ? KV_TTL_NEVER : 1000 + (uint64_t)round);
            assert_int_equal(info.value.len, lens[i]);
            assert_memory_equal(info.value.ptr, bytes[i], lens[i]);
            assert_true(i == 2 ? info.stored_len < lens[i] : info.stored_len == lens[i]);
        }
        commit(txn);
        must_be_sound(db);
        txn = begin(KV_TXN_WRITE);
        tree = kv_txn_main(txn);
    }
    kv_txn_abort(txn);
}

/* ---- many entries ---- */

static void key_of(unsigned i, char *key)
{
    snprintf(key, 16, "key%08u", i);
}

static void put_plain(unsigned n)
{
    kv_txn *txn = begin(KV_TXN_WRITE);
    char key[16];
    for (unsigned i = 0; i < n; i++) {
        key_of(i, key);
        assert_int_equal(kv_put(kv_txn_main(txn), key, 11, "value", 5, 0), KV_OK);
    }
    commit(txn);
}

/* Gives every step-th of n entries, from one on, an expiry. */
static void expire_some(unsigned from, unsigned n, unsigned step, uint64_t ttl)
{
    kv_txn *txn = begin(KV_TXN_WRITE);
    char key[16];
    for (unsigned i = from; i < n; i += step) {
        key_of(i, key);
        assert_int_equal(kv_expire(kv_txn_main(txn), key, 11, ttl), KV_OK);
    }
    commit(txn);
}

/* Entries i with i % step != 0 are left of n; every answer about them is right. */
static void check_shown(kv_tree *tree, unsigned n, unsigned step)
{
    kv_cursor *cursor;
    kv_slice key;
    char expect[16];
    uint64_t count, rank;
    unsigned left = n - (n + step - 1) / step, at = 0;
    assert_int_equal(kv_count(tree, NULL, &count), KV_OK);
    assert_int_equal(count, left);
    assert_int_equal(kv_cursor_open(tree, NULL, &cursor), KV_OK);
    for (unsigned i = 0; i < n; i++) {
        if (i % step == 0)
            continue;
        key_of(i, expect);
        assert_int_equal(kv_cursor_next(cursor), KV_OK);
        assert_int_equal(kv_cursor_get(cursor, &key, NULL), KV_OK);
        assert_memory_equal(key.ptr, expect, 11);
        if (at++ % 97 != 0)
            continue;
        assert_int_equal(kv_rank(tree, expect, 11, &rank), KV_OK);
        assert_int_equal(rank, at - 1);
        assert_int_equal(kv_cursor_nth(cursor, at - 1), KV_OK);
        assert_int_equal(kv_cursor_get(cursor, &key, NULL), KV_OK);
        assert_memory_equal(key.ptr, expect, 11);
    }
    assert_int_equal(kv_cursor_next(cursor), KV_NOTFOUND);
    assert_int_equal(kv_cursor_nth(cursor, left), KV_NOTFOUND);
    kv_cursor_close(cursor);
}

/* A tree that was full of plain entries: its branches have no room for what is to be noted. */
static void test_widened(void **state)
{
    put_plain(20000);
    expire_some(0, 20000, 7, 500);
    must_be_sound(db);
    kv_txn *txn = begin(KV_TXN_READ);
    uint64_t count;
    assert_int_equal(kv_count(kv_txn_main(txn), NULL, &count), KV_OK);
    assert_int_equal(count, 20000);
    assert_int_equal(txn->main.desc.min_expiry, kv_txn_now(txn) + 500);
    kv_txn_abort(txn);
    disk->clock_ms += 500;
    txn = begin(KV_TXN_READ);
    check_shown(kv_txn_main(txn), 20000, 7);
    kv_txn_abort(txn);
}

/* Only the branches above what expires keep expiries. */
static void test_widened_locally(void **state)
{
    put_plain(20000);
    expire_some(10000, 10001, 1, 500);
    kv_txn *txn = begin(KV_TXN_READ);
    const uint8_t *root, *child;
    kvi_ptr ptr = txn->main.desc.root;
    unsigned level = txn->main.desc.level, with = 0;
    assert_true(level >= 1);
    assert_int_equal(kvi_txn_node(txn, ptr, level, &root), KV_OK);
    assert_int_equal(kvi_node_flags(root), KVI_NODE_EXPIRY);
    for (unsigned i = 0; i <= kvi_node_count(root); i++) {
        if (kvi_branch_expiry(root, page_size, i) == 0)
            continue;
        with++;
        if (level == 1)
            continue;
        assert_int_equal(kvi_txn_node(txn, kvi_branch_child(root, page_size, i), level - 1, &child),
                         KV_OK);
        assert_int_equal(kvi_node_flags(child), KVI_NODE_EXPIRY);
    }
    assert_int_equal(with, 1);
    kv_txn_abort(txn);
}

static void test_ranges(void **state)
{
    uint64_t deleted, count;
    put_plain(3000);
    expire_some(0, 3000, 3, 500);
    disk->clock_ms += 500;
    kv_txn *txn = begin(KV_TXN_WRITE);
    kv_tree *tree = kv_txn_main(txn);
    kv_range range = {.size = sizeof range,
                      .from = "key00000300",
                      .from_len = 11,
                      .to = "key00000600",
                      .to_len = 11};
    assert_int_equal(kv_count(tree, &range, &count), KV_OK);
    assert_int_equal(count, 200);
    range.limit = 50;
    assert_int_equal(kv_del_range(tree, &range, &deleted), KV_OK);
    assert_int_equal(deleted, 50);
    range.limit = 0;
    assert_int_equal(kv_count(tree, &range, &count), KV_OK);
    assert_int_equal(count, 150);
    range.flags = KV_RANGE_REVERSE;
    range.limit = 10;
    assert_int_equal(kv_del_range(tree, &range, &deleted), KV_OK);
    assert_int_equal(deleted, 10);
    assert_int_equal(get(tree, "key00000599"), KV_NOTFOUND);
    assert_int_equal(get(tree, "key00000601"), KV_OK);
    range.limit = 0;
    assert_int_equal(kv_del_range(tree, &range, &deleted), KV_OK);
    assert_int_equal(deleted, 140);
    assert_int_equal(kv_count(tree, NULL, &count), KV_OK);
    assert_int_equal(count, 1800);
    commit(txn);
}

/* A byte of the first leaf is turned over, or back. */
static void damage_first(void)
{
    surgeon s;
    kvi_slice file = sim_get_file(disk, "db");
    surgeon_take(&s, file.ptr, file.len);
    kvi_pgno leaf = surgeon_node(&s, &s.meta.main, 0, 0).page;
    surgeon_page(&s, leaf)[s.page_size - 1] ^= 1;
    sim_put_file(disk, "db", s.bytes, s.size);
    surgeon_free(&s);
}

/* What has expired before a range is not visited: there is a damaged page. */
static void test_before_range(void **state)
{
    kv_pair pair;
    kv_slice keys[3];
    char buf[64];
    size_t got;
    uint64_t n;
    kv_cursor *cursor;
    put_plain(3000);
    expire_some(0, 1500, 1, 500);
    expire_some(2001, 3000, 2, 500);
    disk->clock_ms += 500;
    assert_int_equal(kv_db_close(db), KV_OK);
    damage_first();
    open_db();
    kv_txn *txn = begin(KV_TXN_WRITE);
    kv_tree *tree = kv_txn_main(txn);
    kv_range range = {.size = sizeof range, .from = "key00001900", .from_len = 11};
    assert_int_equal(kv_nth(tree, NULL, 0, &pair), KV_ECORRUPT);
    assert_int_equal(kv_count(tree, &range, &n), KV_OK);
    assert_int_equal(n, 600);
    for (unsigned i = 0; i < 600; i++) {
        char key[16];
        key_of(i < 100 ? 1900 + i : 2000 + 2 * (i - 100), key);
        range.flags = 0;
        assert_int_equal(kv_nth(tree, &range, i, &pair), KV_OK);
        assert_memory_equal(pair.key.ptr, key, 11);
        range.flags = KV_RANGE_REVERSE;
        assert_int_equal(kv_nth(tree, &range, 599 - i, &pair), KV_OK);
        assert_memory_equal(pair.key.ptr, key, 11);
    }
    assert_int_equal(kv_nth(tree, &range, 600, &pair), KV_NOTFOUND);
    range.flags = 0;
    assert_int_equal(kv_random(tree, &range, UINT64_MAX, &pair), KV_OK);
    assert_memory_equal(pair.key.ptr, "key00002998", 11);
    assert_int_equal(kv_percentile(tree, &range, 50, &pair), KV_OK);
    assert_memory_equal(pair.key.ptr, "key00002398", 11);
    assert_int_equal(kv_split(tree, &range, 4, keys, buf, sizeof buf, &got), KV_OK);
    assert_int_equal(got, 3);
    assert_memory_equal(keys[1].ptr, "key00002400", 11);
    assert_int_equal(kv_cursor_open(tree, &range, &cursor), KV_OK);
    assert_int_equal(kv_cursor_nth(cursor, 100), KV_OK);
    kv_cursor_close(cursor);
    range.limit = 101;
    assert_int_equal(kv_del_range(tree, &range, &n), KV_OK);
    assert_int_equal(n, 101);
    assert_int_equal(get(tree, "key00002002"), KV_OK);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    damage_first();
    open_db();
}

/* ---- cursors ---- */

/* The entry under a cursor expires by a change; what is done next starts from its place. */
static void test_cursor_gap(void **state)
{
    kv_slice key;
    put_plain(10);
    kv_txn *txn = begin(KV_TXN_WRITE);
    kv_tree *tree = kv_txn_main(txn);
    kv_cursor *cursor;
    assert_int_equal(kv_cursor_open(tree, NULL, &cursor), KV_OK);
    assert_int_equal(kv_cursor_seek(cursor, KV_SEEK_EQ, "key00000004", 11), KV_OK);
    assert_int_equal(kv_expire(tree, "key00000004", 11, 0), KV_OK);
    assert_int_equal(kv_expire(tree, "key00000005", 11, 0), KV_OK);
    assert_int_equal(kv_cursor_get(cursor, &key, NULL), KV_NOTFOUND);
    assert_int_equal(kv_cursor_put(cursor, "v", 1), KV_NOTFOUND);
    assert_int_equal(kv_cursor_next(cursor), KV_OK);
    assert_int_equal(kv_cursor_get(cursor, &key, NULL), KV_OK);
    assert_memory_equal(key.ptr, "key00000006", 11);
    assert_int_equal(kv_cursor_prev(cursor), KV_OK);
    assert_int_equal(kv_cursor_get(cursor, &key, NULL), KV_OK);
    assert_memory_equal(key.ptr, "key00000003", 11);
    for (int how = KV_SEEK_LT; how <= KV_SEEK_GT; how++) {
        static const char *const found[] = {"key00000003", "key00000003", NULL, "key00000006",
                                            "key00000006"};
        int rc = kv_cursor_seek(cursor, (enum kv_seek)how, "key00000005", 11);
        const char *expect = found[how - KV_SEEK_LT];
        assert_int_equal(rc, expect ? KV_OK : KV_NOTFOUND);
        if (!expect)
            continue;
        assert_int_equal(kv_cursor_get(cursor, &key, NULL), KV_OK);
        assert_memory_equal(key.ptr, expect, 11);
    }
    commit(txn);
}

/* Nothing but expired entries behind the cursor: it stays where it was, and can go back. */
static void test_cursor_end(void **state)
{
    kv_slice key;
    kv_pair pairs[64];
    size_t got;
    put_plain(3000);
    expire_some(40, 3000, 1, 500);
    disk->clock_ms += 500;
    kv_txn *txn = begin(KV_TXN_READ);
    kv_cursor *cursor;
    assert_int_equal(kv_cursor_open(kv_txn_main(txn), NULL, &cursor), KV_OK);
    assert_int_equal(kv_cursor_read(cursor, pairs, 64, &got), KV_OK);
    assert_int_equal(got, 40);
    assert_int_equal(kv_cursor_get(cursor, &key, NULL), KV_OK);
    assert_memory_equal(key.ptr, "key00000039", 11);
    assert_int_equal(kv_cursor_next(cursor), KV_NOTFOUND);
    assert_int_equal(kv_cursor_prev(cursor), KV_OK);
    assert_int_equal(kv_cursor_get(cursor, &key, NULL), KV_OK);
    assert_memory_equal(key.ptr, "key00000039", 11);
    assert_int_equal(kv_cursor_last(cursor), KV_OK);
    assert_int_equal(kv_cursor_get(cursor, &key, NULL), KV_OK);
    assert_memory_equal(key.ptr, "key00000039", 11);
    kv_txn_abort(txn);
}

/* ---- trees ---- */

static void test_emptied(void **state)
{
    kv_txn *txn = begin(KV_TXN_WRITE);
    kv_tree *tree;
    assert_int_equal(kv_tree_open(txn, "s", 1, KV_TREE_CREATE, NULL, &tree), KV_OK);
    assert_int_equal(put_for(tree, "a", "1", 100, 0), KV_OK);
    assert_int_equal(kv_del(tree, "a", 1), KV_OK);
    commit(txn);
    must_be_sound(db);
    txn = begin(KV_TXN_WRITE);
    assert_int_equal(kv_tree_open(txn, "s", 1, 0, NULL, &tree), KV_OK);
    assert_int_equal(tree->desc.min_expiry, 0);
    assert_int_equal(put_for(tree, "a", "1", 100, 0), KV_OK);
    assert_int_equal(put_for(tree, "b", "1", 200, 0), KV_OK);
    assert_int_equal(kv_del(tree, "a", 1), KV_OK);
    uint64_t now = kv_txn_now(txn);
    commit(txn);
    txn = begin(KV_TXN_WRITE);
    assert_int_equal(kv_tree_open(txn, "s", 1, 0, NULL, &tree), KV_OK);
    assert_int_equal(tree->desc.min_expiry, now + 200);
    assert_int_equal(kv_tree_clear(tree), KV_OK);
    commit(txn);
}

/* What is rolled back never expired; what a savepoint kept in memory is exact when sealed. */
static void test_savepoint(void **state)
{
    uint32_t point;
    put_plain(2000);
    kv_txn *txn = begin(KV_TXN_WRITE);
    kv_tree *tree = kv_txn_main(txn);
    assert_int_equal(kv_expire(tree, "key00000100", 11, 700), KV_OK);
    assert_int_equal(kv_txn_savepoint(txn, &point), KV_OK);
    for (unsigned i = 0; i < 2000; i++) {
        char key[16];
        key_of(i, key);
        assert_int_equal(kv_expire(tree, key, 11, 100 + i), KV_OK);
    }
    assert_int_equal(kv_txn_rollback_to(txn, point), KV_OK);
    assert_int_equal(ttl_of(tree, "key00000100"), 700);
    assert_int_equal(ttl_of(tree, "key00000101"), KV_TTL_NEVER);
    uint64_t now = kv_txn_now(txn);
    commit(txn);
    must_be_sound(db);
    txn = begin(KV_TXN_READ);
    assert_int_equal(txn->main.desc.min_expiry, now + 700);
    kv_txn_abort(txn);
}

static void test_copies(void **state)
{
    kv_db *copy;
    uint64_t count;
    kv_tree_info info = {.size = sizeof info};
    put_plain(1000);
    expire_some(0, 1000, 2, 500);
    expire_some(1, 1000, 4, 900);
    disk->clock_ms += 500;
    assert_int_equal(kv_db_copy(db, "small", KV_COPY_COMPACT), KV_OK);
    assert_int_equal(kvi_db_open(sim_os(disk), "small", NULL, &copy, NULL, 0), KV_OK);
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(copy, KV_TXN_READ, &txn), KV_OK);
    assert_int_equal(kv_tree_stat(kv_txn_main(txn), &info), KV_OK);
    assert_int_equal(info.entries, 1000); /* what has expired goes along unseen */
    assert_int_equal(kv_count(kv_txn_main(txn), NULL, &count), KV_OK);
    assert_int_equal(count, 500);
    assert_int_equal(ttl_of(kv_txn_main(txn), "key00000001"), 400);
    assert_int_equal(ttl_of(kv_txn_main(txn), "key00000003"), KV_TTL_NEVER);
    kv_txn_abort(txn);
    disk->clock_ms += 400;
    assert_int_equal(kv_txn_begin(copy, KV_TXN_READ, &txn), KV_OK);
    assert_int_equal(kv_count(kv_txn_main(txn), NULL, &count), KV_OK);
    assert_int_equal(count, 250);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_check(copy, NULL), KV_OK);
    assert_int_equal(kv_db_close(copy), KV_OK);
}

/* ---- sweeping ---- */

static kv_sweep_result sweep_up_to(uint64_t entries, uint64_t pages)
{
    kv_txn *txn = begin(KV_TXN_WRITE);
    kv_sweep_options options = {.size = sizeof options, .max_entries = entries, .max_pages = pages};
    kv_sweep_result result = {.size = sizeof result};
    assert_int_equal(kv_sweep(kv_txn_main(txn), &options, &result), KV_OK);
    commit(txn);
    must_be_sound(db);
    return result;
}

static kv_tree_info main_info(void)
{
    kv_tree_info info = {.size = sizeof info};
    kv_txn *txn = begin(KV_TXN_READ);
    assert_int_equal(kv_tree_stat(kv_txn_main(txn), &info), KV_OK);
    kv_txn_abort(txn);
    return info;
}

/* Few of many: only their leaves and the branches above are visited. */
static void test_sweep_few(void **state)
{
    put_plain(20000);
    expire_some(0, 20000, 2000, 500);
    expire_some(1, 20000, 2000, 900);
    uint64_t now = disk->clock_ms;
    kv_sweep_result none = sweep_up_to(0, 0);
    assert_int_equal(none.removed, 0);
    assert_int_equal(none.pages, 0);
    assert_int_equal(none.next_expiry, now + 500);
    assert_int_equal(none.done, 1);
    disk->clock_ms += 500;
    kv_sweep_result result = sweep_up_to(0, 0);
    kv_tree_info info = main_info();
    assert_int_equal(result.removed, 10);
    assert_int_equal(result.done, 1);
    assert_int_equal(result.next_expiry, now + 900);
    assert_in_range(result.pages, 10, 10 * info.height);
    assert_int_equal(info.entries, 20000 - 10);
    kv_txn *txn = begin(KV_TXN_READ);
    check_shown(kv_txn_main(txn), 20000, 2000);
    kv_txn_abort(txn);
}

/* Whole leaves, and the tree in the end. */
static void test_sweep_many(void **state)
{
    put_plain(20000);
    expire_some(5000, 15000, 1, 500);
    disk->clock_ms += 500;
    kv_tree_info before = main_info();
    kv_sweep_result result = sweep_up_to(0, 0);
    kv_tree_info after = main_info();
    assert_int_equal(result.removed, 10000);
    assert_int_equal(after.entries, 10000);
    assert_in_range(after.leaf_pages, 1, before.leaf_pages * 6 / 10);
    expire_some(0, 5000, 1, 100);
    expire_some(15000, 20000, 1, 100);
    disk->clock_ms += 100;
    result = sweep_up_to(0, 0);
    assert_int_equal(result.removed, 10000);
    assert_int_equal(result.next_expiry, 0);
    assert_int_equal(main_info().height, 0);
}

/* In steps, each of which goes on where the one before stopped. */
static void test_sweep_budget(void **state)
{
    put_plain(5000);
    expire_some(0, 5000, 2, 500);
    disk->clock_ms += 500;
    uint64_t leaves = main_info().leaf_pages;
    kv_sweep_result result = sweep_up_to(700, 0);
    assert_int_equal(result.removed, 700);
    assert_int_equal(result.done, 0);
    assert_true(main_info().height > 1);
    kv_sweep_result least = sweep_up_to(0, 1); /* comes down to a leaf all the same */
    assert_true(least.removed > 0);
    uint64_t removed = 700 + least.removed, pages = result.pages, steps = 0;
    while (!result.done) {
        result = sweep_up_to(0, 10);
        assert_in_range(result.pages, 1, 10 + 4);
        removed += result.removed;
        pages += result.pages;
        assert_true(++steps < 2500);
    }
    assert_int_equal(removed, 2500);
    /* Each leaf once, and as a neighbour to merge with; again where a step ended, with the branches
     * above. */
    assert_in_range(pages, leaves, leaves * 2 + (steps + 1) * 5);
    kv_txn *txn = begin(KV_TXN_READ);
    check_shown(kv_txn_main(txn), 5000, 2);
    kv_txn_abort(txn);
}

/* Large values and a memory budget that is soon used up. */
static void test_sweep_large(void **state)
{
    static uint8_t bytes[30000];
    kv_txn *txn = begin(KV_TXN_WRITE);
    kv_put_options options = {.size = sizeof options, .ttl_ms = 500};
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(kv_put_with(kv_txn_main(txn), &i, sizeof i, bytes,
                                     i % 3 ? 100 : sizeof bytes, &options),
                         KV_OK);
    commit(txn);
    put_plain(3000);
    disk->clock_ms += 500;
    db->memory_budget = 8 * page_size;
    kv_sweep_result result = sweep_up_to(0, 0);
    assert_int_equal(result.removed, 300);
    assert_int_equal(main_info().large_pages, 0);
}

static void test_sweep_all(void **state)
{
    static const char *const names[] = {"a", "b", "c"};
    kv_txn *txn = begin(KV_TXN_WRITE);
    kv_tree *tree;
    uint64_t now = kv_txn_now(txn);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kv_tree_open(txn, names[i], 1, KV_TREE_CREATE, NULL, &tree), KV_OK);
        assert_int_equal(put_for(tree, "k", "v", 100 + 100 * (uint64_t)i, 0), KV_OK);
        assert_int_equal(put_for(tree, "stays", "v", 0, 0), KV_OK);
    }
    commit(txn);
    disk->clock_ms += 200;
    txn = begin(KV_TXN_WRITE);
    kv_sweep_result result = {.size = sizeof result};
    assert_int_equal(kv_tree_open(txn, "b", 1, 0, NULL, &tree), KV_OK);
    assert_int_equal(kv_sweep_all(txn, NULL, &result), KV_OK);
    assert_int_equal(result.removed, 2);
    assert_int_equal(result.next_expiry, now + 300);
    assert_int_equal(result.done, 1);
    commit(txn);
    must_be_sound(db);
}

/* Each commit takes some along. */
static void test_sweep_per_write(void **state)
{
    put_plain(1000);
    expire_some(0, 1000, 10, 500);
    disk->clock_ms += 500;
    db->sweep_per_write = 30;
    for (uint64_t i = 0; i < 5; i++) {
        kv_txn *txn = begin(KV_TXN_WRITE);
        assert_int_equal(kv_put(kv_txn_main(txn), "x", 1, "y", 1, 0), KV_OK);
        commit(txn);
        assert_int_equal(main_info().entries, 1001 - KVI_MIN(100, 30 * (i + 1)));
    }
}

/* ---- the clock ---- */

static void test_clock_reset(void **state)
{
    kv_db_info info = {.size = sizeof info};
    uint64_t right = disk->clock_ms;
    kv_txn *txn = begin(KV_TXN_WRITE);
    assert_int_equal(put_for(kv_txn_main(txn), "a", "1", 60000, 0), KV_OK);
    commit(txn);
    disk->clock_ms += 25 * 3600000; /* a bad clock is here ... */
    txn = begin(KV_TXN_WRITE);
    assert_int_equal(kv_put(kv_txn_main(txn), "b", 1, "2", 1, 0), KV_OK);
    commit(txn);
    disk->clock_ms = right + 1000; /* ... and gone */
    assert_int_equal(kv_db_stat(db, &info), KV_OK);
    assert_int_equal(info.clock_wrong, 1);
    assert_int_equal(info.clock_ahead_ms, 25 * 3600000 - 1000);
    txn = begin(KV_TXN_READ);
    assert_int_equal(get(kv_txn_main(txn), "a"), KV_NOTFOUND); /* nothing comes back by itself */
    kv_txn_abort(txn);
    assert_int_equal(kv_db_reset_clock(db, 0), KV_OK);
    assert_int_equal(kv_db_stat(db, &info), KV_OK);
    assert_int_equal(info.clock_wrong, 0);
    assert_int_equal(info.clock_ms, right + 1000);
    uint64_t id = info.commit_id;
    assert_int_equal(kv_db_close(db), KV_OK);
    open_db();
    txn = begin(KV_TXN_READ);
    assert_int_equal(kv_txn_now(txn), right + 1000);
    assert_int_equal(ttl_of(kv_txn_main(txn), "a"), 59000);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_reset_clock(db, 0), KV_OK); /* it is right: no commit */
    assert_int_equal(kv_db_stat(db, &info), KV_OK);
    assert_int_equal(info.commit_id, id);
}

/* ---- batches ---- */

static kv_op op_of(uint32_t kind, const char *key, uint64_t ttl_ms)
{
    return (kv_op){.kind = kind, .key = {key, strlen(key)}, .ttl_ms = ttl_ms};
}

static void test_batches(void **state)
{
    kv_op puts[] = {op_of(KV_OP_PUT, "a", 100), op_of(KV_OP_PUT, "b", 0),
                    op_of(KV_OP_PUT, "c", 300)};
    puts[1].expires_at = disk->clock_ms + 200;
    assert_int_equal(kv_db_write(db, puts, 3, 0, NULL), KV_OK);
    kv_op changes[] = {op_of(KV_OP_EXPIRE, "a", 1000), op_of(KV_OP_PERSIST, "b", 0),
                       op_of(KV_OP_TOUCH, "c", 350), op_of(KV_OP_TOUCH, "a", 1100),
                       op_of(KV_OP_PUT, "a", 0)};
    changes[2].min_gain_ms = 51;
    changes[3].min_gain_ms = 100;
    changes[4].flags = KV_PUT_KEEP_EXPIRY;
    assert_int_equal(kv_db_write(db, changes, 5, 0, NULL), KV_OK);
    kv_txn *txn = begin(KV_TXN_READ);
    assert_int_equal(ttl_of(kv_txn_main(txn), "a"), 1100);
    assert_int_equal(ttl_of(kv_txn_main(txn), "b"), KV_TTL_NEVER);
    assert_int_equal(ttl_of(kv_txn_main(txn), "c"), 300);
    kv_txn_abort(txn);
    kv_op wrong[] = {op_of(KV_OP_EXPIRE, "a", 0), op_of(KV_OP_PERSIST, "a", 1),
                     op_of(KV_OP_TOUCH, "a", 0), op_of(KV_OP_DEL, "a", 5),
                     op_of(KV_OP_PUT, "a", 1)};
    wrong[4].expires_at = 1;
    for (size_t i = 0; i < KVI_COUNT(wrong); i++)
        assert_int_equal(kv_db_write(db, &wrong[i], 1, 0, NULL), KV_EINVAL);
    kv_op missing[] = {op_of(KV_OP_EXPIRE, "x", 1), op_of(KV_OP_PERSIST, "x", 0),
                       op_of(KV_OP_TOUCH, "x", 1)};
    for (size_t i = 0; i < KVI_COUNT(missing); i++)
        assert_int_equal(kv_db_write(db, &missing[i], 1, 0, NULL), KV_NOTFOUND);
}

static void test_arguments(void **state)
{
    kv_txn *txn = begin(KV_TXN_WRITE);
    kv_tree *tree = kv_txn_main(txn);
    kv_put_options both = {.size = sizeof both, .ttl_ms = 1, .expires_at = 1};
    kv_put_options flags = {.size = sizeof flags, .flags = 1u << 31};
    kv_put_options small = {.size = 8};
    kv_entry_info info = {.size = 8};
    void *place;
    uint64_t ttl;
    assert_int_equal(kv_put_with(tree, "a", 1, "1", 1, &both), KV_EINVAL);
    assert_int_equal(kv_put_with(tree, "a", 1, "1", 1, &flags), KV_EINVAL);
    assert_int_equal(kv_put_with(tree, "a", 1, "1", 1, &small), KV_EINVAL);
    assert_int_equal(kv_reserve(tree, "a", 1, 1, KV_PUT_KEEP_EXPIRY, &place), KV_EINVAL);
    assert_int_equal(kv_get_info(tree, "a", 1, &info), KV_EINVAL);
    assert_int_equal(kv_ttl(tree, "a", 1, NULL), KV_EINVAL);
    assert_int_equal(kv_ttl(tree, "a", 1, &ttl), KV_NOTFOUND);
    kv_txn_abort(txn);
    txn = begin(KV_TXN_READ);
    assert_int_equal(kv_expire(kv_txn_main(txn), "a", 1, 1), KV_EREADONLY);
    kv_txn_abort(txn);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fresh, close_db)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_instant),         TEST(test_instant_named),   TEST(test_put_conditions),
        TEST(test_keep_of_expired), TEST(test_clock_of_copies), TEST(test_keep),
        TEST(test_touch),           TEST(test_forms),           TEST(test_widened),
        TEST(test_widened_locally), TEST(test_ranges),          TEST(test_before_range),
        TEST(test_cursor_gap),      TEST(test_cursor_end),      TEST(test_emptied),
        TEST(test_savepoint),       TEST(test_copies),          TEST(test_arguments),
        TEST(test_sweep_few),       TEST(test_sweep_many),      TEST(test_sweep_budget),
        TEST(test_sweep_large),     TEST(test_sweep_all),       TEST(test_sweep_per_write),
        TEST(test_clock_reset),     TEST(test_batches),
    };
    return cmocka_run_group_tests_name("expiry", tests, setup, teardown);
}
