/* Incremental backups: what they hold, what they cost, what they fit, and that a damaged one changes
 * nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "backup.h"
#include "db.h"
#include "parcel.h"
#include "tree.h"
#include "rng.h"
#include "pair.h"
#include "sim_os.h"
#include <stdio.h>
#include <stdlib.h>

static sim_disk *disk;
static kv_db *db, *copy;

static int open_both(void **state)
{
    pair_open(&disk, &db, &copy);
    return 0;
}

static int close_both(void **state)
{
    return pair_close(disk, db, copy);
}

/* ---- changing ---- */

static void put_in(kv_txn *txn, const char *tree, const char *key, const char *value)
{
    assert_int_equal(kv_put(must_tree(txn, tree), key, strlen(key), value, strlen(value), 0),
                     KV_OK);
}

static void put(const char *tree, const char *key, const char *value)
{
    must_put(db, tree, key, value, strlen(value));
}

static void rename_tree(const char *from, const char *to)
{
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_tree_rename(must_tree(txn, from), to, strlen(to)), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

#define MANY 20000

static void fill(void)
{
    char key[32];
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(key, sizeof key, "%09u", i);
        put_in(txn, "", key, "some value");
    }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* ---- comparing ---- */

static uint64_t tree_sum(kv_tree *tree)
{
    kv_cursor *cursor;
    kv_slice key, value;
    uint64_t sum = 0;
    assert_int_equal(kv_cursor_open(tree, NULL, &cursor), KV_OK);
    while (kv_cursor_next(cursor) == KV_OK) {
        assert_int_equal(kv_cursor_get(cursor, &key, &value), KV_OK);
        sum = sum * 31 + kvi_hash_meta(key.ptr, key.len) * 7 + kvi_hash_meta(value.ptr, value.len);
    }
    kv_cursor_close(cursor);
    return sum;
}

typedef struct summing {
    kv_txn *txn;
    uint64_t sum;
} summing;

static int add_tree(void *context, kv_slice name)
{
    summing *s = context;
    kv_tree *tree;
    assert_int_equal(kv_tree_open(s->txn, name.ptr, name.len, 0, NULL, &tree), KV_OK);
    s->sum = s->sum * 31 + kvi_hash_meta(name.ptr, name.len) + tree_sum(tree);
    return 0;
}

static uint64_t sum_seen(kv_txn *txn)
{
    summing s = {txn, tree_sum(kv_txn_main(txn))};
    assert_int_equal(kv_tree_list(txn, add_tree, &s), KV_OK);
    return s.sum;
}

static uint64_t sum_of(kv_db *of)
{
    kv_txn *txn = must_begin(of, KV_TXN_READ);
    uint64_t sum = sum_seen(txn);
    kv_txn_abort(txn);
    return sum;
}

/* From the commit that the copy repeats to the newest. */
static kv_backup_info bring_up(void)
{
    parcel p = {0};
    kv_backup_info info = {.size = sizeof info}, applied = {.size = sizeof applied};
    assert_int_equal(parcel_pack_newest(&p, db, must_stat(copy).origin_id, &info), KV_OK);
    assert_int_equal(info.bytes, p.len);
    assert_int_equal(parcel_unpack(&p, copy, 0, &applied), KV_OK);
    assert_int_equal(applied.bytes, p.len);
    assert_int_equal(applied.entries, info.entries);
    assert_int_equal(must_stat(copy).origin_id, must_stat(db).commit_id);
    assert_memory_equal(must_stat(copy).origin, must_stat(db).file_id, 16);
    assert_int_equal(sum_of(copy), sum_of(db));
    parcel_free(&p);
    return info;
}

/* ---- beside named snapshots ---- */

/* The original goes back to a snapshot, and the copy, which had gone on, goes with it. */
static void test_restored(void **state)
{
    fill();
    put("t", "a", "1");
    assert_int_equal(kv_snapshot_create(db, "then", 4, 0), KV_OK);
    put("", "000000007", "other");
    put("late", "x", "1");
    rename_tree("t", "u");
    bring_up();
    put("", "000010000", "other");
    assert_int_equal(kv_snapshot_restore(db, "then", 4, 0), KV_OK);
    kv_backup_info info = bring_up();
    assert_in_range(info.pages, 1, 20);
    put("", "000000007", "another");
    bring_up();
}

/* Snapshots of the copy's own stay what they are, and making or dropping them changes nothing in it;
 * going back to one makes it a database like any other. */
static void test_own_snapshots(void **state)
{
    kv_txn *txn;
    fill();
    bring_up();
    uint64_t then = sum_of(copy);
    assert_int_equal(kv_snapshot_create(copy, "mine", 4, 0), KV_OK);
    put("", "000000007", "other");
    put("t", "a", "1");
    bring_up();
    assert_int_equal(kv_snapshot_open(copy, "mine", 4, &txn), KV_OK);
    assert_int_equal(sum_seen(txn), then);
    kv_txn_abort(txn);
    assert_int_equal(kv_snapshot_drop(copy, "mine", 4, 0), KV_OK);
    put("t", "a", "2");
    bring_up();
    assert_int_equal(kv_snapshot_create(copy, "mine", 4, 0), KV_OK);
    put("t", "a", "3");
    bring_up();
    assert_int_equal(kv_snapshot_restore(copy, "mine", 4, 0), KV_OK);
    assert_int_equal(must_stat(copy).origin_id, 0);
}

/* ---- what it holds ---- */

/* A tree of several values for each key, in place of one of that name. */
static void make_multi(const char *name)
{
    kv_tree *tree;
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_tree_drop(must_tree(txn, name)), KV_OK);
    assert_int_equal(
        kv_tree_open(txn, name, strlen(name), KV_TREE_CREATE | KV_TREE_MULTI, NULL, &tree), KV_OK);
    assert_int_equal(kv_multi_put(tree, "k", 1, "1", 1), KV_OK);
    assert_int_equal(kv_multi_put(tree, "k", 1, "2", 1), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    bring_up();
    txn = must_begin(copy, KV_TXN_READ);
    uint64_t values = 0;
    assert_int_equal(kv_tree_open(txn, name, strlen(name), 0, NULL, &tree), KV_OK);
    assert_int_equal(kv_multi_count(tree, "k", 1, &values), KV_OK);
    assert_int_equal(values, 2);
    kv_txn_abort(txn);
}

static void test_trees(void **state)
{
    put("", "a", "1");
    put("blue", "b", "2");
    put("green", "c", "3");
    bring_up();
    rename_tree("blue", "other");
    bring_up();
    rename_tree("green", "blue");
    rename_tree("other", "green");
    bring_up(); /* the roots are as old as the names were */
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_tree_drop(must_tree(txn, "green")), KV_OK);
    assert_int_equal(kv_tree_clear(kv_txn_main(txn)), KV_OK);
    put_in(txn, "zebra", "z", "");
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    bring_up();
    make_multi("blue"); /* it was another kind of tree */
    txn = must_begin(db, KV_TXN_WRITE);
    kv_tree_options packed = {.size = sizeof packed, .compress_from = 77};
    assert_int_equal(kv_tree_configure(must_tree(txn, "zebra"), &packed), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    bring_up();
    kv_tree *tree;
    kv_tree_info info = {.size = sizeof info};
    txn = must_begin(copy, KV_TXN_READ);
    assert_int_equal(kv_tree_open(txn, "zebra", 5, 0, NULL, &tree), KV_OK);
    assert_int_equal(kv_tree_stat(tree, &info), KV_OK);
    assert_int_equal(info.compress_from, 77);
    kv_txn_abort(txn);
}

/* Leaves that go away leave nothing behind, whichever neighbour their range falls to (T6). */
static void test_leaves_gone(void **state)
{
    static const unsigned cuts[][2] = {{5000, 9000}, {0, 3000}, {17000, MANY}, {3100, 16900}};
    char from[16], to[16];
    fill();
    bring_up();
    for (size_t i = 0; i < KVI_COUNT(cuts); i++) {
        /* one by one, then the next in one go */
        kv_txn *txn = must_begin(db, KV_TXN_WRITE);
        for (unsigned n = cuts[i][0]; i % 2 == 0 && n < cuts[i][1]; n++) {
            snprintf(from, sizeof from, "%09u", n);
            int rc = kv_del(kv_txn_main(txn), from, 9);
            assert_true(rc == KV_OK || rc == KV_NOTFOUND);
        }
        snprintf(from, sizeof from, "%09u", cuts[i][0]);
        snprintf(to, sizeof to, "%09u", cuts[i][1]);
        kv_range range = {.size = sizeof range, .from = from, .from_len = 9, .to = to, .to_len = 9};
        assert_int_equal(kv_del_range(kv_txn_main(txn), &range, NULL), KV_OK);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        bring_up();
    }
}

static size_t key_at(kv_txn *txn, uint64_t n, uint8_t *key)
{
    kvi_path path;
    assert_int_equal(kvi_path_nth(&txn->main, &path, n), KV_OK);
    const kvi_step *leaf = kvi_path_leaf(&path);
    return kvi_node_key(leaf->page, 4096, leaf->slot, key);
}

/* Removes the entries below the node on this level that has entry number n, one by one or at once. */
static void remove_node(kv_txn *txn, uint64_t n, unsigned level, bool at_once)
{
    kvi_path path;
    uint8_t first[960], last[960];
    assert_int_equal(kvi_path_nth(&txn->main, &path, n), KV_OK);
    uint64_t begin_at = 0;
    for (unsigned i = 0; i + level + 1 < path.depth; i++)
        begin_at += kvi_branch_rank(path.steps[i].page, 4096, path.steps[i].slot);
    uint64_t count = kvi_node_total(path.steps[path.depth - 1 - level].page, 4096);
    kv_range range = {.size = sizeof range, .from = first, .to = last, .flags = KV_RANGE_TO_CLOSED};
    range.from_len = key_at(txn, begin_at, first);
    range.to_len = key_at(txn, begin_at + count - 1, last);
    if (at_once)
        assert_int_equal(kv_del_range(kv_txn_main(txn), &range, NULL), KV_OK);
    while (!at_once && count-- > 0) {
        size_t len = key_at(txn, begin_at, first);
        assert_int_equal(kv_del(kv_txn_main(txn), first, len), KV_OK);
    }
}

/* The same for single nodes, exactly: leaves, the first one too, and branches. */
static void test_each_node_gone(void **state)
{
    static const char value[800];
    char key[16];
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    for (unsigned i = 0; i < 6000; i++) {
        snprintf(key, sizeof key, "%09u", i);
        assert_int_equal(kv_put(kv_txn_main(txn), key, 9, value, sizeof value, 0), KV_OK);
    }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    bring_up();
    for (unsigned i = 0; i < 40; i++) {
        bool branch = i % 13 == 12;
        txn = must_begin(db, KV_TXN_WRITE);
        remove_node(txn, branch ? 1500 : i * 100 % 2500, branch, i % 4 == 0);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        assert_true(bring_up().pages <= 10);
    }
}

static void put_large(const char *key, unsigned value_seed)
{
    rng r;
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    void *place;
    assert_int_equal(kv_reserve(kv_txn_main(txn), key, strlen(key), 100000, 0, &place), KV_OK);
    rng_seed(&r, value_seed);
    rng_fill(&r, place, 100000);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static void test_large(void **state)
{
    put_large("a", 1);
    put_large("b", 2);
    assert_true(bring_up().bytes > 200000);
    put("", "c", "small");
    kv_backup_info info = bring_up();
    assert_int_equal(info.large_pages, 0);
    assert_int_equal(info.entries, 3);
    assert_true(info.bytes < 300);
    put_large("b", 3);
    info = bring_up();
    assert_int_equal(info.large_pages, 25);
}

static void test_cost(void **state)
{
    fill();
    bring_up();
    char key[16];
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    for (unsigned i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "%09u", i * (MANY / 20) + i * 7);
        put_in(txn, "", key, "some other");
    }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_true(bring_up().pages <= 20 * 3);
    uint64_t commits = must_stat(copy).commits;
    kv_backup_info info = bring_up(); /* nothing is new */
    assert_int_equal(info.pages, 0);
    assert_int_equal(info.entries, 0);
    assert_int_equal(must_stat(copy).commits, commits + 1);
}

static void expire(const char *key, uint64_t ms)
{
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_expire(kv_txn_main(txn), key, strlen(key), ms), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* A writer that began before a value expired keeps it, after that was backed up as expired: in the
 * copy it must still be there to be kept. The base is itself such a copy. */
static void test_expired(void **state)
{
    uint32_t flags[] = {0, KV_COPY_COMPACT};
    for (size_t i = 0; i < KVI_COUNT(flags); i++) {
        put_large("a", 1);
        put_large("b", 2);
        expire("a", 1000);
        expire("b", 1000);
        kv_txn *late = must_begin(db, KV_TXN_WRITE);
        disk->clock_ms += 2000;
        assert_int_equal(kv_db_close(copy), KV_OK);
        assert_int_equal(sim_os(disk)->unlink(sim_os(disk), "copy"), 0);
        assert_int_equal(kv_db_copy(db, "copy", flags[i]), KV_OK);
        copy = must_open(disk, "copy");
        assert_int_equal(kv_persist(kv_txn_main(late), "a", 1), KV_OK);
        assert_int_equal(kv_expire(kv_txn_main(late), "b", 1, 1500), KV_OK);
        assert_int_equal(kv_txn_commit(late), KV_OK);
        bring_up();
        late = must_begin(db, KV_TXN_WRITE);
        assert_int_equal(kv_put(kv_txn_main(late), "c", 1, "", 0, 0), KV_OK);
        assert_int_equal(kv_txn_commit(late), KV_OK);
        bring_up();
    }
}

/* What a wrong clock took for expired is there again when it is right, in the copy as well. */
static void test_wrong_clock(void **state)
{
    kv_slice value;
    put("", "a", "1");
    expire("a", 1000);
    disk->clock_ms += 2000;
    put("", "b", "1");
    bring_up();
    disk->clock_ms -= 2000;
    assert_int_equal(kv_db_reset_clock(db, 0), KV_OK);
    assert_int_equal(kv_db_reset_clock(copy, 0), KV_OK);
    kv_txn *txn = must_begin(copy, KV_TXN_READ);
    assert_int_equal(kv_get(kv_txn_main(txn), "a", 1, &value), KV_OK);
    kv_txn_abort(txn);
    bring_up();
}

/* What had expired in the original has done so in the copy, be its clock as late as it may. */
static void test_clock_goes_along(void **state)
{
    kv_slice value;
    put("", "a", "1");
    expire("a", 1000);
    disk->clock_ms += 1000;
    put("", "b", "1");
    disk->clock_ms -= 1000;
    bring_up();
    kv_txn *txn = must_begin(copy, KV_TXN_READ);
    assert_int_equal(kv_get(kv_txn_main(txn), "a", 1, &value), KV_NOTFOUND);
    assert_int_equal(kv_get(kv_txn_main(txn), "b", 1, &value), KV_OK);
    kv_txn_abort(txn);
}

/* ---- what it fits ---- */

/* A copy that is as empty as its original became does not go back to what that was before. */
static void test_no_way_back_when_empty(void **state)
{
    parcel full = {0};
    put("", "a", "1");
    assert_int_equal(parcel_pack_newest(&full, db, 0, NULL), KV_OK);
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_del(kv_txn_main(txn), "a", 1), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    bring_up();
    assert_int_equal(parcel_unpack(&full, copy, 0, NULL), KV_MISMATCH);
    assert_int_equal(must_stat(copy).origin_id, must_stat(db).commit_id);
    parcel_free(&full);
}

static void test_order(void **state)
{
    parcel full = {0}, first = {0}, second = {0}, both = {0};
    put("", "a", "1");
    uint64_t one = must_stat(db).commit_id;
    assert_int_equal(parcel_pack_newest(&full, db, 0, NULL), KV_OK);
    put("", "a", "2");
    uint64_t two = must_stat(db).commit_id;
    assert_int_equal(parcel_pack_newest(&first, db, one, NULL), KV_OK);
    put("", "b", "3");
    uint64_t three = must_stat(db).commit_id;
    assert_int_equal(parcel_pack_newest(&second, db, two, NULL), KV_OK);
    assert_int_equal(parcel_pack_newest(&both, db, one, NULL), KV_OK);

    kv_backup_info info = {.size = sizeof info};
    assert_int_equal(parcel_unpack(&first, copy, 0, &info), KV_MISMATCH);
    assert_int_equal(info.from, one);
    assert_int_equal(info.to, two);
    assert_int_equal(parcel_unpack(&full, copy, 0, NULL), KV_OK);
    assert_int_equal(parcel_unpack(&full, copy, 0, NULL), KV_NOTFOUND);
    assert_int_equal(parcel_unpack(&second, copy, 0, NULL), KV_MISMATCH);
    assert_int_equal(must_stat(copy).origin_id, one);
    first.read = second.read = full.read = 0;
    assert_int_equal(parcel_unpack(&first, copy, 0, NULL), KV_OK);
    assert_int_equal(must_stat(copy).origin_id, two);
    assert_int_equal(parcel_unpack(&full, copy, 0, NULL), KV_MISMATCH); /* no way back */
    assert_int_equal(parcel_unpack(&both, copy, 0, NULL), KV_OK);       /* since earlier */
    assert_int_equal(must_stat(copy).origin_id, three);
    assert_int_equal(sum_of(copy), sum_of(db));
    parcel_free(&full);
    parcel_free(&first);
    parcel_free(&second);
    parcel_free(&both);
}

static void test_strangers(void **state)
{
    parcel p = {0};
    kv_db *third = must_open(disk, "third");
    put("", "a", "1");
    bring_up();
    put("", "b", "1");
    assert_int_equal(parcel_pack_newest(&p, db, must_stat(copy).origin_id, NULL), KV_OK);
    assert_int_equal(parcel_pack_newest(&p, third, 0, NULL), KV_OK);
    kv_txn *txn = must_begin(copy, KV_TXN_WRITE);
    put_in(txn, "", "own", "change");
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(must_stat(copy).origin_id, 0);
    assert_int_equal(parcel_unpack(&p, copy, 0, NULL), KV_MISMATCH);
    p.read = 0;
    p.len = 0;
    assert_int_equal(parcel_pack_newest(&p, third, 0, NULL), KV_OK);
    assert_int_equal(parcel_unpack(&p, copy, 0, NULL), KV_MISMATCH); /* it is not empty */
    assert_int_equal(kv_db_close(third), KV_OK);
    parcel_free(&p);
}

/* A transaction that changes nothing leaves the copy a copy; and both kinds of kv_db_copy make one. */
static void test_bases(void **state)
{
    put("", "a", "1");
    for (uint32_t flags = 0; flags <= KV_COPY_COMPACT; flags++) {
        put("", "a", flags ? "2" : "3");
        assert_int_equal(kv_db_close(copy), KV_OK);
        const char *path = flags ? "compact" : "plain";
        assert_int_equal(kv_db_copy(db, path, flags), KV_OK);
        copy = must_open(disk, path);
        assert_int_equal(must_stat(copy).origin_id, must_stat(db).commit_id);
        kv_txn *txn = must_begin(copy, KV_TXN_WRITE);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        put("blue", "b", flags ? "2" : "3");
        bring_up();
    }
}

static void test_readers(void **state)
{
    put("", "a", "1");
    bring_up();
    kv_txn *reader = must_begin(copy, KV_TXN_READ);
    uint64_t sum = sum_seen(reader);
    put("", "a", "2");
    put("blue", "b", "2");
    bring_up();
    assert_int_equal(sum_seen(reader), sum);
    assert_int_not_equal(sum_of(copy), sum);
    kv_txn_abort(reader);
}

static void test_lazy(void **state)
{
    parcel p = {0};
    kv_txn *txn = must_begin(db, KV_TXN_WRITE | KV_TXN_LAZY);
    put_in(txn, "", "a", "1");
    uint64_t id = kv_txn_id(txn);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_true(kv_db_durable_id(db) < id);
    assert_int_equal(parcel_pack_newest(&p, db, 0, NULL), KV_OK);
    assert_int_equal(kv_db_durable_id(db), id);
    parcel_free(&p);
}

/* Of a commit that may still be lost a copy is none that backups fit. */
static void test_copy_of_lazy(void **state)
{
    static const char *const paths[2][2] = {{"plain-1", "compact-1"}, {"plain-2", "compact-2"}};
    kv_db *reader, *other;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    kv_txn *txn = must_begin(db, KV_TXN_WRITE | KV_TXN_LAZY);
    put_in(txn, "", "a", "1");
    uint64_t id = kv_txn_id(txn);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kvi_db_open(sim_os(disk), "db", &options, &reader, NULL, 0), KV_OK);
    for (int durable = 0; durable < 2; durable++) {
        if (durable)
            assert_int_equal(kv_db_sync(db), KV_OK);
        for (uint32_t flags = 0; flags <= KV_COPY_COMPACT; flags++) {
            assert_int_equal(kv_db_copy(reader, paths[durable][flags], flags), KV_OK);
            other = must_open(disk, paths[durable][flags]);
            assert_int_equal(must_stat(other).origin_id, durable ? id : 0);
            assert_int_equal(sum_of(other), sum_of(db));
            assert_int_equal(kv_db_close(other), KV_OK);
        }
    }
    assert_int_equal(kv_db_close(reader), KV_OK);
}

/* Once the call has returned, no power cut takes anything of a copy away. */
static void test_copies_are_durable(void **state)
{
    put("", "a", "1");
    put("blue", "b", "2");
    for (uint32_t flags = 0; flags <= KV_COPY_COMPACT; flags++) {
        disk->recording = SIM_RECORD_ALL;
        sim_forget(disk);
        assert_int_equal(kv_db_copy(db, flags ? "compact" : "plain", flags), KV_OK);
        uint32_t *events = malloc(disk->n_events * sizeof *events);
        size_t pending = sim_pending(disk, 0, disk->n_events, events);
        assert_true(disk->n_events > 0);
        for (size_t i = 0; i < pending; i++) {
            const sim_event *e = &disk->events[events[i]];
            bool named_twice = e->kind == SIM_UNLINK; /* the temporary name may come back */
            bool confirmed = flags && e->kind == SIM_WRITE && e->off + e->len <= 2 * 4096;
            assert_true(named_twice || confirmed); /* a meta that repeats the durable one */
        }
        free(events);
        disk->recording = SIM_RECORD_NOTHING;
        sim_forget(disk);
    }
}

static int refuse(void *context, const void *bytes, size_t len)
{
    (void)context;
    (void)bytes;
    (void)len;
    return 1;
}

static void test_arguments(void **state)
{
    parcel p = {0};
    kv_backup_options options = {.size = sizeof options, .write = refuse};
    kv_txn *txn = must_begin(db, KV_TXN_READ);
    assert_int_equal(kv_backup(txn, &options, NULL), KV_ECANCELED);
    assert_int_equal(kv_backup(txn, NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_backup(NULL, &options, NULL), KV_EINVAL);
    kv_backup_info part;
    memset(&part, 0x5a, sizeof part);
    part.size = offsetof(kv_backup_info, to); /* of a caller that knows no more */
    assert_int_equal(kv_backup(txn, &options, &part), KV_ECANCELED);
    assert_int_equal(part.size, offsetof(kv_backup_info, to));
    for (size_t i = part.size; i < sizeof part; i++)
        assert_int_equal(((const uint8_t *)&part)[i], 0x5a);
    options.since = kv_txn_id(txn) + 1;
    assert_int_equal(kv_backup(txn, &options, NULL), KV_MISMATCH);
    kv_txn_abort(txn);
    txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_backup(txn, &options, NULL), KV_EINVAL);
    kv_txn_abort(txn);
    assert_int_equal(parcel_unpack(&p, copy, KV_TXN_WRITE, NULL), KV_EINVAL);
    assert_int_equal(parcel_unpack(&p, NULL, 0, NULL), KV_EINVAL);
    parcel_write(&p, "no backup at all, but long enough to be one, more than 64 bytes are", 66);
    assert_int_equal(parcel_unpack(&p, copy, 0, NULL), KV_ENOTKV);
    parcel_free(&p);
}

/* ---- copies that do more than repeat ---- */

static kv_db *open_third(uint32_t sweep)
{
    kv_db *third;
    const kv_options options = {.size = sizeof options, .sweep_per_write = sweep};
    assert_int_equal(kvi_db_open(sim_os(disk), "third", &options, &third, NULL, 0), KV_OK);
    return third;
}

static void follow(kv_db *third)
{
    parcel p = {0};
    assert_int_equal(parcel_pack_newest(&p, db, must_stat(third).origin_id, NULL), KV_OK);
    assert_int_equal(parcel_unpack(&p, third, 0, NULL), KV_OK);
    assert_int_equal(must_stat(third).origin_id, must_stat(db).commit_id);
    parcel_free(&p);
}

/* What has expired stays where the original has it, however the copy is opened: later backups speak of
 * it, and the original's clock may be set back. */
static void test_swept_copy(void **state)
{
    static uint8_t large[20000];
    kv_put_options soon = {.size = sizeof soon, .ttl_ms = 1000};
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_put_with(kv_txn_main(txn), "k", 1, large, sizeof large, &soon), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    put("", "j", "neighbour");
    uint64_t then = disk->clock_ms;
    disk->clock_ms += 2000;
    assert_int_equal(kv_db_copy(db, "third", 0), KV_OK);
    kv_db *third = open_third(1000);
    for (int i = 0; i < 2; i++) {
        put("", "l", i ? "again" : "other");
        follow(third);
    }
    assert_int_equal(kv_snapshot_create(third, "s", 1, 0), KV_OK); /* no entry is another */
    put("", "l", "more");
    follow(third);
    disk->clock_ms = then;
    assert_int_equal(kv_db_reset_clock(db, 0), KV_OK);
    follow(third);
    assert_int_equal(kv_db_reset_clock(third, 0), KV_OK);
    txn = must_begin(db, KV_TXN_READ);
    assert_int_equal(kv_exists(kv_txn_main(txn), "k", 1), KV_OK);
    kv_txn_abort(txn);
    assert_int_equal(sum_of(third), sum_of(db));
    assert_int_equal(kv_db_close(third), KV_OK);
}

static void test_compacted_copy(void **state)
{
    fill();
    assert_int_equal(kv_db_copy(db, "third", 0), KV_OK);
    kv_db *third = open_third(0);
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    kv_range most = {.size = sizeof most, .to = "00001", .to_len = 5};
    assert_int_equal(kv_del_range(kv_txn_main(txn), &most, NULL), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    follow(third);
    uint64_t pages = must_stat(third).pages;
    assert_int_equal(kv_db_compact(third, NULL, NULL), KV_OK);
    assert_true(must_stat(third).pages < pages);
    put("", "more", "value");
    follow(third);
    assert_int_equal(sum_of(third), sum_of(db));
    assert_int_equal(kv_db_close(third), KV_OK);
}

/* ---- damage ---- */

static void test_damage(void **state)
{
    parcel p = {0};
    put("", "a", "1");
    put("blue", "b", "2");
    bring_up();
    put_large("large", 1);
    put("blue", "c", "3");
    assert_int_equal(parcel_pack_newest(&p, db, must_stat(copy).origin_id, NULL), KV_OK);
    uint64_t sum = sum_of(copy), id = must_stat(copy).commit_id;
    size_t step = 1, whole = p.len;
    for (size_t at = 0; at < whole; at += step) {
        step = at > 200 && at + 200 < whole ? 997 : 1;
        p.bytes[at] ^= 0x10;
        p.read = 0;
        assert_true(parcel_unpack(&p, copy, 0, NULL) < 0);
        p.bytes[at] ^= 0x10;
        p.read = 0;
        p.len = at;
        assert_true(parcel_unpack(&p, copy, 0, NULL) == (at == 0 ? KV_NOTFOUND : KV_EBACKUP));
        p.len = whole;
    }
    assert_int_equal(must_stat(copy).commit_id, id);
    assert_int_equal(sum_of(copy), sum);
    p.read = 0;
    assert_int_equal(parcel_unpack(&p, copy, 0, NULL), KV_OK);
    assert_int_equal(sum_of(copy), sum_of(db));
    parcel_free(&p);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, open_both, close_both)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(restored),
        TEST(own_snapshots),
        TEST(trees),
        TEST(leaves_gone),
        TEST(each_node_gone),
        TEST(large),
        TEST(cost),
        TEST(order),
        TEST(strangers),
        TEST(bases),
        TEST(readers),
        TEST(lazy),
        TEST(arguments),
        TEST(damage),
        TEST(expired),
        TEST(wrong_clock),
        TEST(swept_copy),
        TEST(compacted_copy),
        TEST(clock_goes_along),
        TEST(no_way_back_when_empty),
        TEST(copy_of_lazy),
        TEST(copies_are_durable),
    };
    return cmocka_run_group_tests_name("backup", tests, NULL, NULL);
}
