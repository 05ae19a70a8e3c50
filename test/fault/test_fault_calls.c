/* Operations on what is stored, one by one, while a system call or an allocation fails, or a page is
 * damaged: an error or the right answer, nothing taken and not given back, and the database as
 * before or as asked for.
 *
 * FAULT_RUNS=n: about n runs of each operation and way of failing, 0 for all of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "fault_os.h"
#include "parcel.h"
#include "rng.h"
#include "sim_os.h"
#include "surgeon.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef KVI_STRESS
#define PAGE_SIZE 1024
#else
#define PAGE_SIZE 4096
#endif
#define NAME      "db"
#define TARGET    "copy"
#define ENTRIES   700
#define PAIRS     300
#define NOW       1000000 /* ms; some entries have expired by then */
#define TTL       1000
#define LARGE     9000
#define HUGE_LEN  (40 * PAGE_SIZE) /* more than half of the memory budget */
#define RUNS      60
#define FORGERIES 120 /* of each operation */

static sim_disk *disk;
static fault_os fault;
static struct picture {
    uint8_t *bytes;
    size_t len;
} pictures[2];         /* of the database, and of a copy that lacks the newest commit */
static uint8_t *image; /* one of them, or a forged one */
static size_t image_len;
static parcel increment; /* what the copy lacks */
static uint8_t value[LARGE], huge[HUGE_LEN];

static void must(int rc)
{
    assert_int_equal(rc, KV_OK);
}

/* ---- the file ---- */

static size_t key_of(unsigned i, char key[16])
{
    return (size_t)snprintf(key, 16, "key%05u", i);
}

static void fill_tree(kv_tree *tree, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char key[16];
        size_t len = key_of(i, key);
        const kv_put_options lives = {.size = sizeof lives, .ttl_ms = i % 9 ? 0 : TTL};
        must(kv_put_with(tree, key, len, value, i % 150 ? 40 + i % 60 : LARGE, &lives));
    }
}

static void fill_pairs(kv_tree *tree)
{
    for (unsigned i = 0; i < PAIRS; i++) {
        char key[16], second[16];
        size_t len = key_of(i / 10, key);
        must(kv_multi_put(tree, key, len, second, key_of(i, second)));
    }
}

static const kv_put_options soon = {.size = sizeof soon, .ttl_ms = 1u << 30};
static const kv_put_options late = {.size = sizeof late, .ttl_ms = 1u << 31};

static void fill(kv_db *db)
{
    static const kv_tree_options packed = {.size = sizeof packed, .compress_from = 500};
    kv_txn *txn;
    kv_tree *tree;
    must(kv_txn_begin(db, KV_TXN_WRITE, &txn));
    fill_tree(kv_txn_main(txn), ENTRIES);
    must(kv_put_with(kv_txn_main(txn), "void", 4, "", 0, &soon));
    must(kv_tree_open(txn, "many", 4, KV_TREE_CREATE | KV_TREE_MULTI, NULL, &tree));
    fill_pairs(tree);
    must(kv_tree_open(txn, "packed", 6, KV_TREE_CREATE, &packed, &tree));
    fill_tree(tree, 200);
    must(kv_tree_open(txn, "gone", 4, KV_TREE_CREATE, NULL, &tree));
    fill_tree(tree, 30);
    must(kv_tree_open(txn, "turned", 6, KV_TREE_CREATE, NULL, &tree));
    fill_tree(tree, 30);
    must(kv_txn_commit(txn));
}

/* Another commit, so that the snapshot differs. */
static void change(kv_db *db)
{
    kv_txn *txn;
    kv_tree *tree;
    must(kv_txn_begin(db, KV_TXN_WRITE, &txn));
    for (unsigned i = 0; i < ENTRIES; i += 50) {
        char key[16];
        size_t len = key_of(i + 1, key);
        must(kv_put(kv_txn_main(txn), key, len, "other", 5, 0));
    }
    for (unsigned i = 150; i <= 300; i += 150) { /* other values of the same length */
        char key[16];
        size_t len = key_of(i, key);
        must(kv_put(kv_txn_main(txn), key, len, huge, LARGE, 0));
    }
    must(kv_tree_open(txn, "packed", 6, 0, NULL, &tree));
    must(kv_put(tree, "key00150", 8, huge, LARGE, 0));
    must(kv_put_with(kv_txn_main(txn), "void", 4, "", 0, &late));
    must(kv_put(kv_txn_main(txn), "number", 6, "12345678", 8, 0));
    must(kv_tree_open(txn, "new", 3, KV_TREE_CREATE, NULL, &tree));
    fill_tree(tree, 20);
    must(kv_tree_open(txn, "gone", 4, 0, NULL, &tree));
    must(kv_tree_drop(tree));
    must(kv_tree_open(txn, "turned", 6, 0, NULL, &tree));
    must(kv_tree_drop(tree));
    must(kv_tree_open(txn, "turned", 6, KV_TREE_CREATE | KV_TREE_MULTI, NULL, &tree));
    must(kv_multi_put(tree, "key", 3, "one", 3));
    must(kv_txn_commit(txn));
}

static kv_db *open_new(const char *name)
{
    kv_db *db;
    const kv_options options = {.size = sizeof options,
                                .flags = KV_OPEN_CREATE | KV_OPEN_EXCLUSIVE,
                                .page_size = PAGE_SIZE};
    must(kvi_db_open(sim_os(disk), name, &options, &db, NULL, 0));
    return db;
}

static void take_picture(struct picture *of, const char *name)
{
    kvi_slice file = sim_get_file(disk, name);
    *of = (struct picture){malloc(file.len), file.len};
    memcpy(of->bytes, file.ptr, file.len);
}

static void make_copy(kv_db *db)
{
    parcel p = {0};
    kv_db *copy = open_new(TARGET);
    must(parcel_pack_newest(&p, db, 0, NULL));
    must(parcel_unpack(&p, copy, 0, NULL));
    parcel_free(&p);
    must(kv_db_close(copy));
    take_picture(&pictures[1], TARGET);
}

static void make_increment(kv_db *db)
{
    kv_txn *snap;
    must(kv_snapshot_open(db, "snap", 4, &snap));
    must(parcel_pack_newest(&increment, db, kv_txn_id(snap), NULL));
    kv_txn_abort(snap);
}

static int run_commits(kv_db *db);

static int (*open_inner)(const kvi_os *os, const char *path, int flags, uint32_t mode);
static int (*lock_inner)(const kvi_os *os, int fd, int kind, uint64_t off, uint64_t len);

static int setup(void **state)
{
    disk = sim_new(3);
    open_inner = disk->os.open;
    lock_inner = disk->os.lock;
    disk->recording = SIM_RECORD_NOTHING;
    disk->clock_ms = NOW - TTL - 1;
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (uint8_t)(i % 251);
    kv_db *db = open_new(NAME);
    fill(db);
    for (unsigned i = 0; i < 12; i++)
        must(run_commits(db));
    must(kv_snapshot_create(db, "snap", 4, 0));
    make_copy(db);
    change(db);
    make_increment(db);
    must(kv_db_close(db));
    take_picture(&pictures[0], NAME);
    return 0;
}

static int teardown(void **state)
{
    free(pictures[0].bytes);
    free(pictures[1].bytes);
    parcel_free(&increment);
    sim_free(disk);
    return 0;
}

/* ---- operations: what is left of them after a failure is judged elsewhere ---- */

/* Ends a transaction in which rc was the result. */
static int settle(kv_txn *txn, int rc)
{
    if (rc >= 0)
        return kv_txn_commit(txn);
    kv_txn_abort(txn);
    return rc;
}

static int in_read(kv_db *db, int (*work)(kv_txn *txn))
{
    kv_txn *txn;
    int rc = kv_txn_begin(db, KV_TXN_READ, &txn);
    if (rc != KV_OK)
        return rc;
    rc = work(txn);
    kv_txn_abort(txn);
    return rc;
}

static int in_write(kv_db *db, int (*work)(kv_txn *txn))
{
    kv_txn *txn;
    int rc = kv_txn_begin(db, KV_TXN_WRITE, &txn);
    return rc == KV_OK ? settle(txn, work(txn)) : rc;
}

static int named(kv_txn *txn, const char *name, kv_tree **tree)
{
    return kv_tree_open(txn, name, strlen(name), 0, NULL, tree);
}

static int on_change(void *context, const kv_change *change)
{
    (void)context;
    (void)change;
    return 0;
}

static int run_diff(kv_db *db)
{
    kv_txn *from, *to;
    const kv_diff_options options = {.size = sizeof options, .change = on_change};
    int rc = kv_snapshot_open(db, "snap", 4, &from);
    if (rc != KV_OK)
        return rc;
    rc = kv_txn_begin(db, KV_TXN_READ, &to);
    if (rc == KV_OK) {
        rc = kv_diff(from, to, &options, NULL);
        kv_txn_abort(to);
    }
    kv_txn_abort(from);
    return rc;
}

static int run_backup(kv_db *db)
{
    parcel p = {0};
    int rc = parcel_pack_newest(&p, db, 0, NULL);
    parcel_free(&p);
    return rc;
}

static int run_increment(kv_db *db)
{
    kv_txn *snap;
    parcel p = {0};
    int rc = kv_snapshot_open(db, "snap", 4, &snap);
    if (rc != KV_OK)
        return rc;
    rc = parcel_pack_newest(&p, db, kv_txn_id(snap), NULL);
    parcel_free(&p);
    kv_txn_abort(snap);
    return rc;
}

static int run_apply(kv_db *db)
{
    increment.read = 0;
    return parcel_unpack(&increment, db, 0, NULL);
}

static int order_of(kv_tree *tree)
{
    uint8_t room[200];
    kv_slice keys[4];
    kv_pair pair;
    size_t got;
    uint64_t n;
    kv_sizes sizes = {.size = sizeof sizes};
    const kv_range range = {.size = sizeof range, .from = "key00003", .from_len = 8};
    int rc = kv_nth(tree, NULL, 77, &pair);
    if (rc == KV_OK)
        rc = kv_nth(tree, &range, 20, &pair);
    if (rc == KV_OK)
        rc = kv_random(tree, &range, 7, &pair);
    if (rc == KV_OK)
        rc = kv_percentile(tree, &range, 99, &pair);
    if (rc == KV_OK)
        rc = kv_split(tree, &range, 4, keys, room, sizeof room, &got);
    if (rc == KV_OK)
        rc = kv_range_sizes(tree, &range, &sizes);
    if (rc == KV_OK)
        rc = kv_count(tree, &range, &n);
    return rc == KV_OK ? kv_rank(tree, "key00010", 8, &n) : rc;
}

static int work_order(kv_txn *txn)
{
    return order_of(kv_txn_main(txn));
}

/* The first thing that a cursor over pairs does. */
static int first_steps(kv_tree *tree, bool seek)
{
    kv_cursor *cursor;
    int rc = kv_cursor_open(tree, NULL, &cursor);
    if (rc != KV_OK)
        return rc;
    rc = seek ? kv_cursor_seek(cursor, KV_SEEK_GE, "key00003", 8) : kv_cursor_first(cursor);
    if (rc == KV_OK && !seek)
        rc = kv_cursor_next_key(cursor);
    kv_cursor_close(cursor);
    return rc;
}

static int work_order_pairs(kv_txn *txn)
{
    kv_tree *tree;
    int rc = named(txn, "many", &tree);
    if (rc == KV_OK)
        rc = first_steps(tree, false);
    if (rc == KV_OK)
        rc = first_steps(tree, true);
    return rc == KV_OK ? order_of(tree) : rc;
}

static int walk(kv_cursor *cursor, int rc, int (*step)(kv_cursor *))
{
    kv_slice key, val;
    while (rc == KV_OK) {
        rc = kv_cursor_get(cursor, &key, &val);
        if (rc == KV_OK)
            rc = step(cursor);
    }
    return rc == KV_NOTFOUND ? KV_OK : rc;
}

static int seeks(kv_cursor *cursor)
{
    kv_sizes sizes = {.size = sizeof sizes};
    kv_entry_info info = {.size = sizeof info};
    int rc = KV_OK;
    for (int how = KV_SEEK_LT; rc >= 0 && how <= KV_SEEK_GT; how++)
        rc = kv_cursor_seek(cursor, (enum kv_seek)how, "key00011", 8);
    if (rc >= 0)
        rc = kv_cursor_nth(cursor, 100);
    if (rc == KV_OK)
        rc = kv_cursor_info(cursor, &info);
    return rc == KV_OK ? kv_cursor_sizes(cursor, &sizes) : rc;
}

static int scan_both(kv_tree *tree, int (*back)(kv_cursor *))
{
    kv_cursor *cursor;
    kv_pair pairs[32];
    size_t got = 1;
    int rc = kv_cursor_open(tree, NULL, &cursor);
    if (rc != KV_OK)
        return rc;
    rc = walk(cursor, kv_cursor_first(cursor), kv_cursor_next);
    if (rc == KV_OK)
        rc = walk(cursor, kv_cursor_last(cursor), back);
    if (rc == KV_OK)
        rc = seeks(cursor);
    for (int first = rc == KV_OK ? kv_cursor_first(cursor) : rc; first == KV_OK && got && rc >= 0;)
        rc = kv_cursor_read(cursor, pairs, KVI_COUNT(pairs), &got);
    kv_cursor_close(cursor);
    return rc == KV_NOTFOUND ? KV_OK : rc;
}

static int work_scan(kv_txn *txn)
{
    kv_tree *tree;
    int rc = scan_both(kv_txn_main(txn), kv_cursor_prev);
    if (rc == KV_OK)
        rc = named(txn, "packed", &tree);
    return rc == KV_OK ? scan_both(tree, kv_cursor_prev) : rc;
}

static int work_scan_pairs(kv_txn *txn)
{
    kv_tree *tree;
    int rc = named(txn, "many", &tree);
    return rc == KV_OK ? scan_both(tree, kv_cursor_prev_key) : rc;
}

static int work_get_many(kv_txn *txn)
{
    char keys[60][16];
    kv_slice slices[60], values[60];
    for (unsigned i = 0; i < 60; i++)
        slices[i] = (kv_slice){keys[i], key_of(i * 11, keys[i])};
    return kv_get_many(kv_txn_main(txn), 60, slices, values, NULL);
}

static int run_check(kv_db *db)
{
    return kv_db_check(db, NULL);
}

static int run_stat(kv_db *db)
{
    kv_db_info info = {.size = sizeof info};
    return kv_db_stat(db, &info);
}

static int on_snapshot(void *context, const kv_snapshot_info *info)
{
    (void)context;
    (void)info;
    return 0;
}

static int run_snapshots(kv_db *db)
{
    int rc = kv_snapshot_list(db, on_snapshot, NULL);
    if (rc == KV_OK)
        rc = kv_snapshot_create(db, "second", 6, 0);
    return rc == KV_OK ? kv_snapshot_drop(db, "snap", 4, 0) : rc;
}

static int run_naming(kv_db *db)
{
    return kv_snapshot_create(db, "another", 7, 0);
}

static int run_restore(kv_db *db)
{
    return kv_snapshot_restore(db, "snap", 4, 0);
}

static int work_sweep(kv_txn *txn)
{
    kv_sweep_result swept = {.size = sizeof swept};
    return kv_sweep_all(txn, NULL, &swept);
}

static int work_single(kv_txn *txn)
{
    static const kv_slice seen = {"other", 5}, next = {"next", 4};
    kv_tree *tree = kv_txn_main(txn);
    kv_slice old;
    kv_pair pair;
    uint64_t len;
    void *place;
    int rc = kv_cas(tree, "key00001", 8, &seen, &next, &old);
    if (rc == KV_OK)
        rc = kv_take(tree, "key00150", 8, &old);
    if (rc == KV_OK)
        rc = kv_append(tree, "key00300", 8, "more", 4, 0, &len);
    if (rc == KV_OK)
        rc = kv_take(tree, "key00300", 8, &old);
    if (rc == KV_OK)
        rc = kv_incr(tree, "number", 6, 1, 0, 0, NULL);
    if (rc == KV_OK)
        rc = kv_bits(tree, "key00007", 8, KV_BITS_XOR, value, 200);
    if (rc == KV_OK)
        rc = kv_put(tree, "key00450", 8, value, LARGE, 0);
    for (int i = 0; rc == KV_OK && i < 2; i++)
        rc = kv_swap(tree, "key00010", 8, &next, &old);
    if (rc == KV_OK)
        rc = kv_expire(tree, "key00008", 8, 10);
    if (rc == KV_OK)
        rc = kv_expire(tree, "key00600", 8, 10);
    if (rc == KV_OK)
        rc = kv_pop_first(tree, NULL, &pair);
    if (rc == KV_OK)
        rc = kv_pop_last(tree, NULL, &pair);
    if (rc == KV_OK)
        rc = kv_reserve(tree, "place", 5, LARGE, 0, &place);
    if (rc == KV_OK)
        memset(place, 1, LARGE);
    return rc;
}

static int work_many(kv_txn *txn)
{
    char keys[40][16];
    kv_pair pairs[40];
    for (unsigned i = 0; i < 40; i++)
        pairs[i] = (kv_pair){{keys[i], key_of(i * 17 + 1, keys[i])}, {value, i % 20 ? 300 : LARGE}};
    return kv_put_many(kv_txn_main(txn), 40, pairs, 0);
}

static int work_pairs(kv_txn *txn)
{
    kv_tree *tree;
    kv_cursor *cursor;
    int rc = named(txn, "many", &tree);
    if (rc == KV_OK)
        rc = kv_multi_put(tree, "key00100", 8, "value", 5);
    if (rc == KV_OK)
        rc = kv_multi_del(tree, "key00005", 8, "key00055", 8);
    if (rc == KV_OK)
        rc = kv_multi_del_key(tree, "key00007", 8, NULL);
    if (rc == KV_OK)
        rc = kv_cursor_open(tree, NULL, &cursor);
    if (rc != KV_OK)
        return rc;
    rc = kv_cursor_seek_pair(cursor, KV_SEEK_EQ, "key00020", 8, "key00200", 8);
    if (rc == KV_OK)
        rc = kv_cursor_del(cursor);
    if (rc == KV_OK)
        rc = kv_cursor_next_key(cursor);
    kv_cursor_close(cursor);
    return rc;
}

static int work_ranges(kv_txn *txn)
{
    const kv_range middle = {
        .size = sizeof middle, .from = "key00100", .from_len = 8, .to = "key00500", .to_len = 8};
    const kv_range few = {.size = sizeof few, .prefix = "key000", .prefix_len = 6, .limit = 30};
    int rc = kv_del_range(kv_txn_main(txn), &few, NULL);
    return rc == KV_OK ? kv_del_range(kv_txn_main(txn), &middle, NULL) : rc;
}

/* Beyond the memory budget: pages are written before the commit, and then changed again. */
static int work_large(kv_txn *txn)
{
    kv_tree *tree = kv_txn_main(txn), *packed;
    kv_slice old;
    void *place;
    int rc = kv_put(tree, "huge", 4, huge, HUGE_LEN, 0);
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; rc == KV_OK && i < 900; i++) {
            char key[16];
            size_t len = key_of(i, key);
            rc = kv_put(tree, key, len, value, i % 30 ? 300 : LARGE, 0);
        }
    if (rc == KV_OK)
        rc = kv_take(tree, "huge", 4, &old);
    if (rc == KV_OK)
        rc = named(txn, "packed", &packed);
    return rc == KV_OK ? kv_reserve(packed, "place", 5, LARGE, 0, &place) : rc;
}

static int work_sizes_pairs(kv_txn *txn)
{
    kv_sizes sizes = {.size = sizeof sizes};
    kv_tree *tree;
    int rc = named(txn, "many", &tree);
    return rc == KV_OK ? kv_range_sizes(tree, NULL, &sizes) : rc;
}

/* Key by key: leaves that become empty, others that are merged. */
static int work_thinning(kv_txn *txn)
{
    int rc = KV_OK;
    for (unsigned i = 500; rc >= 0 && i-- > 100;) {
        char key[16];
        size_t len = key_of(i, key);
        if (i < 300 || i % 5)
            rc = kv_del(kv_txn_main(txn), key, len);
        if (rc == KV_NOTFOUND)
            rc = KV_OK;
    }
    return rc;
}

static int work_limits(kv_txn *txn)
{
    kv_range range = {.size = sizeof range,
                      .from = "key00100",
                      .from_len = 8,
                      .to = "key00500",
                      .to_len = 8,
                      .limit = 150};
    int rc = kv_del_range(kv_txn_main(txn), &range, NULL);
    range.flags = KV_RANGE_REVERSE;
    return rc == KV_OK ? kv_del_range(kv_txn_main(txn), &range, NULL) : rc;
}

/* Their values are large, or packed. */
static int work_pops(kv_txn *txn)
{
    const kv_range from = {.size = sizeof from, .from = "key00600", .from_len = 8};
    const kv_range middle = {.size = sizeof middle, .from = "key00150", .from_len = 8};
    const kv_range to = {
        .size = sizeof to, .to = "key00300", .to_len = 8, .flags = KV_RANGE_TO_CLOSED};
    kv_tree *tree;
    kv_pair pair;
    int rc = kv_pop_first(kv_txn_main(txn), &from, &pair);
    if (rc == KV_OK)
        rc = kv_pop_last(kv_txn_main(txn), &to, &pair);
    if (rc == KV_OK)
        rc = named(txn, "packed", &tree);
    return rc == KV_OK ? kv_pop_first(tree, &middle, &pair) : rc;
}

static int work_trees(kv_txn *txn)
{
    kv_tree *tree;
    uint32_t point;
    int rc = kv_txn_savepoint(txn, &point);
    if (rc == KV_OK)
        rc = named(txn, "packed", &tree);
    if (rc == KV_OK)
        rc = kv_tree_rename(tree, "renamed", 7);
    if (rc == KV_OK)
        rc = kv_put(tree, "key", 3, value, 3000, 0);
    if (rc == KV_OK)
        rc = kv_txn_rollback_to(txn, point);
    if (rc == KV_OK)
        rc = named(txn, "packed", &tree);
    if (rc == KV_OK)
        rc = kv_tree_clear(tree);
    if (rc == KV_OK)
        rc = named(txn, "new", &tree);
    return rc == KV_OK ? kv_tree_drop(tree) : rc;
}

static int run_batch(kv_db *db)
{
    uint8_t room[400];
    kv_op_result popped = {.room = room, .room_size = sizeof room};
    const kv_op ops[] = {
        {.kind = KV_OP_POP_FIRST, .key = {"key00060", 8}, .result = &popped},
        {.kind = KV_OP_POP_LAST, .flags = KV_OP_PREFIX, .key = {"key0004", 7}},
        {.kind = KV_OP_DEL_PREFIX, .key = {"key0030", 7}},
        {.kind = KV_OP_MULTI_DEL,
         .tree = {"many", 4},
         .key = {"key00001", 8},
         .value = {"key00011", 8}},
        {.kind = KV_OP_MULTI_DEL_KEY, .tree = {"many", 4}, .key = {"key00003", 8}},
        {.kind = KV_OP_PUT,
         .flags = KV_OP_CREATE_TREE,
         .tree = {"fresh", 5},
         .key = {"k", 1},
         .value = {value, LARGE}},
    };
    return kv_db_write(db, ops, KVI_COUNT(ops), 0, NULL);
}

static int run_watch(kv_db *db)
{
    kv_watch *watch;
    kv_watch_event event = {.size = sizeof event};
    const kv_op put = {.kind = KV_OP_PUT, .key = {"key00001", 8}, .value = {"watched", 7}};
    const kv_range range = {.size = sizeof range, .prefix = "key", .prefix_len = 3};
    const kv_watch_options options = {.size = sizeof options, .tree = "", .range = &range};
    int rc = kv_watch_open(db, &options, &watch);
    if (rc != KV_OK)
        return rc;
    rc = kv_db_write(db, &put, 1, 0, NULL);
    if (rc == KV_OK)
        rc = kv_watch_next(watch, 0, &event);
    kv_watch_close(watch);
    return rc;
}

static int run_compaction(kv_db *db)
{
    kv_compact_info info = {.size = sizeof info};
    int rc = in_write(db, work_ranges);
    return rc == KV_OK ? kv_db_compact(db, NULL, &info) : rc;
}

static int run_copies(kv_db *db)
{
    int rc = kv_db_copy(db, TARGET, 0);
    sim_os(disk)->unlink(sim_os(disk), TARGET);
    if (rc == KV_OK)
        rc = kv_db_copy(db, TARGET, KV_COPY_COMPACT);
    sim_os(disk)->unlink(sim_os(disk), TARGET);
    return rc;
}

static int run_copy_snapshot(kv_db *db)
{
    kv_txn *snap;
    int rc = kv_snapshot_open(db, "snap", 4, &snap);
    if (rc != KV_OK)
        return rc;
    rc = kv_txn_copy(snap, TARGET, 0);
    kv_txn_abort(snap);
    sim_os(disk)->unlink(sim_os(disk), TARGET);
    return rc;
}

/* It was ahead. */
static int run_reset_clock(kv_db *db)
{
    disk->clock_ms = NOW - TTL - 2;
    return kv_db_reset_clock(db, 0);
}

/* A handle of the table, as a caller would have a descriptor. */
static int run_copy_fd(kv_db *db)
{
    const kvi_os *os = db->os;
    int fd = os->open(os, TARGET, KVI_OS_WRITE | KVI_OS_CREATE, 0600);
    int rc = fd < 0 ? KV_EIO : kv_db_copy_fd(db, fd, KV_COPY_COMPACT);
    if (fd >= 0)
        os->close(os, fd);
    sim_os(disk)->unlink(sim_os(disk), TARGET);
    return rc;
}

/* The records of free pages outgrow the meta meanwhile. */
static int run_commits(kv_db *db)
{
    int rc = KV_OK;
    for (unsigned i = 0; rc == KV_OK && i < 20; i++) {
        char key[16];
        size_t len = key_of(i * 31 % ENTRIES, key);
        const kv_op put = {.kind = KV_OP_PUT, .key = {key, len}, .value = {value, 100}};
        rc = kv_db_write(db, &put, 1, 0, NULL);
    }
    return rc;
}

static int run_begin_wait(kv_db *db)
{
    kv_txn *txn;
    int rc = kv_txn_begin_wait(db, 0, 1000, &txn);
    return rc == KV_OK ? settle(txn, KV_OK) : rc;
}

static int run_wait(kv_db *db)
{
    return kv_db_wait(db, 0, 0, NULL);
}

#define IN(how, work)                                                                              \
    static int run_##work(kv_db *db)                                                               \
    {                                                                                              \
        return how(db, work);                                                                      \
    }
IN(in_read, work_order)
IN(in_read, work_order_pairs)
IN(in_read, work_scan)
IN(in_read, work_scan_pairs)
IN(in_read, work_get_many)
IN(in_write, work_sweep)
IN(in_write, work_single)
IN(in_write, work_many)
IN(in_write, work_pairs)
IN(in_write, work_ranges)
IN(in_write, work_large)
IN(in_read, work_sizes_pairs)
IN(in_write, work_thinning)
IN(in_write, work_limits)
IN(in_write, work_pops)
IN(in_write, work_trees)

enum effect { READS, WRITES, CATCHES_UP /* the copy, with the newest commit */ };

typedef struct operation {
    const char *name;
    int (*run)(kv_db *db);
    enum effect effect;
} operation;

static const operation operations[] = {
    {"diff", run_diff, READS},
    {"backup", run_backup, READS},
    {"increment", run_increment, READS},
    {"order", run_work_order, READS},
    {"order of pairs", run_work_order_pairs, READS},
    {"scan", run_work_scan, READS},
    {"scan of pairs", run_work_scan_pairs, READS},
    {"get_many", run_work_get_many, READS},
    {"check", run_check, READS},
    {"stat", run_stat, READS},
    {"snapshots", run_snapshots, WRITES},
    {"restore", run_restore, WRITES},
    {"sweep", run_work_sweep, WRITES},
    {"single keys", run_work_single, WRITES},
    {"put_many", run_work_many, WRITES},
    {"pairs", run_work_pairs, WRITES},
    {"ranges", run_work_ranges, WRITES},
    {"trees", run_work_trees, WRITES},
    {"batch", run_batch, WRITES},
    {"watch", run_watch, WRITES},
    {"compaction", run_compaction, WRITES},
    {"reset of the clock", run_reset_clock, WRITES},
    {"copies", run_copies, READS},
    {"copy of a snapshot", run_copy_snapshot, READS},
    {"copy to a descriptor", run_copy_fd, READS},
    {"wait", run_wait, READS},
    {"commits", run_commits, WRITES},
    {"begin_wait", run_begin_wait, WRITES},
    {"naming", run_naming, WRITES},
    {"large values", run_work_large, WRITES},
    {"sizes of pairs", run_work_sizes_pairs, READS},
    {"thinning", run_work_thinning, WRITES},
    {"limits", run_work_limits, WRITES},
    {"pops", run_work_pops, WRITES},
    {"apply", run_apply, CATCHES_UP},
};

/* ---- running ---- */

static const char *running; /* for messages */

/* As what the handle takes part. */
typedef enum role { SOLE, SHARER, READER, GUEST } role;

/* The side file is not for us, and the database only to be read. */
static int open_kept_out(const kvi_os *os, const char *path, int flags, uint32_t mode)
{
    bool ours =
        strcmp(path, NAME "-lock") != 0 && !(strcmp(path, NAME) == 0 && flags & KVI_OS_WRITE);
    return ours ? open_inner(os, path, flags, mode) : -EACCES;
}

static unsigned asked;

static void choose(const operation *op)
{
    const struct picture *picture = &pictures[op && op->effect == CATCHES_UP];
    image = picture->bytes;
    image_len = picture->len;
}

/* Two times out of three somebody else has the writer's lock for a moment. */
static int lock_crowded(const kvi_os *os, int fd, int kind, uint64_t off, uint64_t len)
{
    if (kind == KVI_OS_EXCLUSIVE && off == KVI_LOCK_WRITER && ++asked % 3)
        return -EAGAIN;
    return lock_inner(os, fd, kind, off, len);
}

static int open_as(role as, fault_case plan, kv_db **db)
{
    static const uint32_t flags[] = {KV_OPEN_EXCLUSIVE, 0, KV_OPEN_READONLY, KV_OPEN_READONLY};
    const kv_options options = {.size = sizeof options,
                                .flags = flags[as],
                                .memory_budget = 60 * PAGE_SIZE,
                                .sweep_per_write = 2};
    sim_reset(disk);
    sim_put_file(disk, NAME, image, image_len);
    disk->clock_ms = NOW;
    disk->os.open = as == GUEST ? open_kept_out : open_inner;
    disk->os.lock = as == SHARER ? lock_crowded : lock_inner;
    asked = 0;
    fault_init(&fault, sim_os(disk));
    fault_plan(&fault, plan);
    return kvi_db_open(&fault.os, NAME, &options, db, NULL, 0);
}

/* A failed flush is the end of writing; what was there is there. */
static void judge_after(kv_db *db, int rc)
{
    char text[200];
    kv_db_info info = {.size = sizeof info};
    fault_describe(&fault, text, sizeof text);
    fault_plan(&fault, (fault_case){0});
    must(kv_db_stat(db, &info));
    if (rc == KV_EPOISONED && !info.poisoned)
        fail_msg("%s: %s: poisoned without a reason", running, text);
    int checked = kv_db_check(db, NULL);
    if (checked != KV_OK)
        fail_msg("%s: %s: result %d, and the check says %d", running, text, rc, checked);
}

/* One run with the n-th call failing. False: there was no n-th call. */
static bool run_with(const operation *op, role as, fault_case plan)
{
    kv_db *db;
    char text[200];
    running = op->name;
    must(open_as(as, (fault_case){0}, &db));
    fault_plan(&fault, plan);
    int rc = op->run(db);
    bool hit = fault_hit(&fault);
    fault_describe(&fault, text, sizeof text);
    if (rc > 0 || (!hit && rc != KV_OK))
        fail_msg("%s: %s: result %d", op->name, text, rc);
    judge_after(db, rc);
    must(kv_db_close(db));
    if (!fault_balanced(&fault))
        fail_msg("%s: %s: something was not given back", op->name, text);
    return hit;
}

static uint64_t step_of(uint64_t calls)
{
    const char *text = getenv("FAULT_RUNS");
    uint64_t runs = text ? strtoull(text, NULL, 0) : RUNS;
    return runs == 0 || calls <= runs ? 1 : (calls + runs - 1) / runs;
}

/* How many calls there are to fail. */
static uint64_t calls_of(const operation *op, role as, fault_case plan)
{
    kv_db *db;
    plan.at = 0;
    must(open_as(as, plan, &db));
    fault_plan(&fault, plan);
    must(op->run(db));
    uint64_t counted = fault.counted;
    must(kv_db_close(db));
    return counted;
}

static void fail_calls(role as, fault_case plan)
{
    for (size_t i = 0; i < KVI_COUNT(operations); i++) {
        if (as > SHARER && operations[i].effect != READS)
            continue;
        choose(&operations[i]);
        uint64_t calls = calls_of(&operations[i], as, plan);
        uint64_t step = step_of(calls);
        for (plan.at = 1; plan.at <= calls; plan.at += step)
            (void)run_with(&operations[i], as, plan);
    }
}

/* What the system forbids is told, unless a guest does without what it was for. */
static bool refusal_fits(const kv_db *db, int rc)
{
    bool forbidden =
        fault.failed[FAULT_OPEN] > 0 && kvi_err_from_os(-fault.plan.error) == KV_EACCESS;
    return !forbidden || (rc == KV_OK ? db->role == KVI_GUEST : rc == KV_EACCESS);
}

/* Opening and closing, with every call failing in turn. Returns how often a file that could not be
 * opened was not needed. */
static uint64_t fail_openings(role as, fault_case plan)
{
    uint64_t went_on = 0;
    choose(NULL);
    for (plan.at = 1;; plan.at++) {
        kv_db *db = NULL;
        char text[200];
        int rc = open_as(as, plan, &db);
        bool fits = refusal_fits(db, rc);
        int closed = rc == KV_OK ? kv_db_close(db) : KV_OK;
        fault_describe(&fault, text, sizeof text);
        if (!fits)
            fail_msg("opening: %s: result %d", text, rc);
        went_on += rc == KV_OK && fault.failed[FAULT_OPEN] > 0;
        if (rc > 0 || closed > 0 || !fault_balanced(&fault))
            fail_msg("opening: %s: results %d, %d", text, rc, closed);
        if (!fault_hit(&fault))
            break;
    }
    assert_true(plan.at > 20);
    return went_on;
}

static void test_memory(void **state)
{
    fail_calls(SOLE, (fault_case){.mask = FAULT_MEMORY});
}

static void test_no_more_memory(void **state)
{
    fail_calls(SOLE, (fault_case){.mask = FAULT_MEMORY, .sticky = true});
}

static void test_calls(void **state)
{
    fail_calls(SOLE, (fault_case){.mask = FAULT_SYSTEM, .error = EIO});
}

static void test_calls_shared(void **state)
{
    fail_calls(SHARER, (fault_case){.mask = FAULT_SYSTEM, .error = ENOSPC});
}

static void test_calls_late(void **state)
{
    fail_calls(SHARER, (fault_case){.mask = FAULT_SYSTEM, .mode = FAULT_LATE});
}

static void test_readers(void **state)
{
    fail_calls(READER, (fault_case){0});
    fail_calls(GUEST, (fault_case){0});
    fail_calls(GUEST, (fault_case){.sticky = true});
}

/* Who only reads goes on as a guest, whatever the system calls it. */
static void fail_openings_forbidden(role as)
{
    uint64_t guests = fail_openings(as, (fault_case){.error = EACCES});
    assert_int_equal(guests > 0, as == READER || as == GUEST);
    assert_int_equal(fail_openings(as, (fault_case){.error = EPERM}), guests);
    assert_int_equal(fail_openings(as, (fault_case){.error = EROFS}), guests);
}

static void test_openings(void **state)
{
    for (role as = SOLE; as <= GUEST; as++) {
        (void)fail_openings(as, (fault_case){.error = EIO});
        (void)fail_openings(as, (fault_case){.error = ENOENT});
        (void)fail_openings(as, (fault_case){.mode = FAULT_LATE});
        fail_openings_forbidden(as);
    }
}

/* ---- what is stored ---- */

/* Reading and writing end where a page is not what it was: with an error, or without having met it. */
static void test_damaged_pages(void **state)
{
    uint64_t errors = 0;
    for (size_t i = 0; i < KVI_COUNT(operations); i++) {
        choose(&operations[i]);
        for (size_t page = kvi_first_page(PAGE_SIZE); page < image_len / PAGE_SIZE; page++) {
            kv_db *db;
            image[page * PAGE_SIZE + 1000] ^= 0x55;
            int rc = open_as(SOLE, (fault_case){0}, &db);
            if (rc == KV_OK) {
                rc = operations[i].run(db);
                (void)kv_db_close(db);
            }
            image[page * PAGE_SIZE + 1000] ^= 0x55;
            if (rc > 0 || !fault_balanced(&fault))
                fail_msg("%s: page %zu damaged: result %d", operations[i].name, page, rc);
            errors += rc < 0;
        }
    }
    assert_true(errors > 10 * KVI_COUNT(operations));
}

/* A byte of the page changes: in a leaf often one of a value that is no plain one. */
static void forge(surgeon *s, kvi_pgno page, rng *random)
{
    uint8_t *bytes = surgeon_page(s, page);
    unsigned n = bytes[KVI_P_type] == KVI_LEAF ? kvi_node_count(bytes) : 0;
    size_t at = (size_t)rng_below(random, s->page_size);
    if (n && rng_one_in(random, 2)) {
        bool special;
        kvi_slice stored =
            kvi_leaf_value(bytes, s->page_size, (unsigned)rng_below(random, n), &special);
        at =
            (size_t)(stored.ptr - bytes) + (size_t)rng_below(random, special ? 12 : stored.len + 1);
    }
    bytes[at % s->page_size] ^= (uint8_t)(1u << rng_below(random, 8));
    surgeon_stamp(s, page);
}

/* The same behind a right checksum: any answer, but an end. */
static void test_forged_pages(void **state)
{
    rng random;
    rng_seed(&random, 11);
    for (size_t run = 0; run < FORGERIES * KVI_COUNT(operations); run++) {
        const operation *op = &operations[run % KVI_COUNT(operations)];
        surgeon s;
        kv_db *db;
        choose(op);
        surgeon_take(&s, image, image_len);
        kvi_pgno first = kvi_first_page(PAGE_SIZE);
        forge(&s, first + rng_below(&random, image_len / PAGE_SIZE - first), &random);
        image = s.bytes;
        if (open_as(SOLE, (fault_case){0}, &db) == KV_OK) {
            (void)op->run(db);
            (void)kv_db_close(db);
        }
        if (!fault_balanced(&fault))
            fail_msg("%s: run %zu: something was not given back", op->name, run);
        surgeon_free(&s);
    }
}

/* ---- lies ---- */

static bool tell_form(uint8_t *stored, const kvi_entry *entry)
{
    (void)entry;
    stored[0] = 0xf8;
    return true;
}

static bool tell_expiry(uint8_t *stored, const kvi_entry *entry)
{
    if (!(entry->flags & KVI_ENTRY_EXPIRY))
        return false;
    memset(stored + 1 + !!(entry->flags & KVI_ENTRY_COMPRESSED), 0, 8);
    return true;
}

static bool tell_codec(uint8_t *stored, const kvi_entry *entry)
{
    if (!(entry->flags & KVI_ENTRY_COMPRESSED))
        return false;
    stored[1] = 77;
    return true;
}

static bool tell_large(uint8_t *stored, const kvi_entry *entry, kvi_large large)
{
    if (!(entry->flags & KVI_ENTRY_LARGE))
        return false;
    kvi_large_put(stored + kvi_entry_ref_at(entry), &large);
    return true;
}

#define LARGE_LIE(name, lie)                                                                       \
    static bool tell_##name(uint8_t *stored, const kvi_entry *entry)                               \
    {                                                                                              \
        kvi_large large = entry->large;                                                            \
        large.lie;                                                                                 \
        return tell_large(stored, entry, large);                                                   \
    }
LARGE_LIE(nowhere, ptr.page = KVI_PGNO_MAX)
LARGE_LIE(metas, ptr.page = 0)
LARGE_LIE(end, ptr.page = image_len / PAGE_SIZE - 1)
LARGE_LIE(private, ptr.birth = 0)
LARGE_LIE(future, ptr.birth = KVI_ID_MAX)
LARGE_LIE(pages, pages++)
LARGE_LIE(no_pages, pages = 0)
LARGE_LIE(nothing, stored_len = 0)
LARGE_LIE(long_run, pages = (large.stored_len = large.raw_len = image_len) / PAGE_SIZE)
LARGE_LIE(length, stored_len += PAGE_SIZE)
LARGE_LIE(raw_length, raw_len++)
LARGE_LIE(checksum, checksum ^= 1)

static const struct lie {
    const char *name;
    bool (*tell)(uint8_t *stored, const kvi_entry *entry);
} lies[] = {
    {"form", tell_form},         {"expiry", tell_expiry},   {"codec", tell_codec},
    {"nowhere", tell_nowhere},   {"metas", tell_metas},     {"end", tell_end},
    {"private", tell_private},   {"future", tell_future},   {"pages", tell_pages},
    {"no pages", tell_no_pages}, {"nothing", tell_nothing}, {"long run", tell_long_run},
    {"length", tell_length},     {"raw", tell_raw_length},  {"checksum", tell_checksum},
};

/* Of all values of a leaf that are no plain ones; false: of none. */
static bool tell_leaf(surgeon *s, kvi_pgno number, const struct lie *lie)
{
    uint8_t *page = surgeon_page(s, number);
    bool told = false;
    if (page[KVI_P_type] != KVI_LEAF || kvi_get64(page + KVI_P_page) != number)
        return false;
    for (unsigned i = 0; i < kvi_node_count(page); i++) {
        kvi_stored stored;
        kvi_entry entry;
        stored.bytes = kvi_leaf_value(page, s->page_size, i, &stored.special);
        if (stored.special && kvi_entry_parse(stored, &entry))
            told |= lie->tell(page + (stored.bytes.ptr - page), &entry);
    }
    surgeon_stamp(s, number);
    return told;
}

/* Descriptors of the catalog that are none. */
static void tell_names(surgeon *s)
{
    kvi_tree_desc desc;
    kvi_pgno leaf;
    surgeon_catalog(s, 1, &leaf, &desc)[KVI_T_level] = 0xff;
    surgeon_stamp(s, leaf);
}

/* The tree of pairs gets the pages of one whose keys are none. */
static void tell_pairs(surgeon *s)
{
    kvi_tree_desc pairs, packed;
    kvi_pgno leaf;
    uint8_t *at = surgeon_catalog(s, 0, &leaf, &pairs);
    (void)surgeon_catalog(s, 2, &leaf, &packed);
    assert_true(pairs.flags & KVI_TREE_MULTI);
    packed.flags |= KVI_TREE_MULTI;
    kvi_tree_desc_encode(&packed, at);
    surgeon_stamp(s, leaf);
}

/* The list of trees, or of snapshots, is another tree: of values that are no plain ones, or too short.
 * That tree has no name then. */
static void tell_list(surgeon *s, kvi_tree_desc *list, unsigned other)
{
    kvi_pgno leaf;
    kvi_tree_desc desc;
    (void)surgeon_catalog(s, other, &leaf, &desc);
    s->meta.catalog = (kvi_tree_desc){.entries = 0};
    *list = desc;
    surgeon_put_meta(s);
}

static void tell_special_trees(surgeon *s)
{
    tell_list(s, &s->meta.catalog, 1);
}

static void tell_short_trees(surgeon *s)
{
    tell_list(s, &s->meta.catalog, 3);
}

static void tell_special_snapshots(surgeon *s)
{
    tell_list(s, &s->meta.snapshots, 1);
}

static void tell_short_snapshots(surgeon *s)
{
    tell_list(s, &s->meta.snapshots, 3);
}

/* The only named snapshot, where it stands. */
static uint8_t *snapshot_of(surgeon *s, kvi_named *named)
{
    bool special;
    uint8_t *page = surgeon_page(s, s->meta.snapshots.root.page);
    kvi_slice bytes = kvi_leaf_value(page, s->page_size, 0, &special);
    assert_true(kvi_named_decode(bytes.ptr, s->page_size, s->meta.high_water, s->meta.id, named));
    return page + (bytes.ptr - page);
}

static void tell_future_snapshot(surgeon *s)
{
    kvi_named named;
    kvi_put64(snapshot_of(s, &named) + KVI_N_id, KVI_ID_MAX);
    surgeon_stamp(s, s->meta.snapshots.root.page);
}

/* The snapshot has a leaf twice. */
static void tell_leaf_twice(surgeon *s)
{
    kvi_named named;
    (void)snapshot_of(s, &named);
    kvi_ptr parent = surgeon_node(s, &named.main, 1, 0);
    uint8_t *page = surgeon_page(s, parent.page);
    kvi_branch_set_child(page, s->page_size, 1, kvi_branch_child(page, s->page_size, 0));
    surgeon_stamp(s, parent.page);
}

/* All large values are the first that was one. */
static void tell_value_twice(surgeon *s)
{
    kvi_large first = {.stored_len = 0};
    for (kvi_pgno page = kvi_first_page(PAGE_SIZE); page < s->size / PAGE_SIZE; page++) {
        uint8_t *stored;
        kvi_entry entry;
        if (surgeon_page(s, page)[KVI_P_type] != KVI_LEAF ||
            kvi_get64(surgeon_page(s, page) + KVI_P_page) != page ||
            !surgeon_entry(s, page, KVI_ENTRY_LARGE, &stored, &entry) ||
            entry.large.stored_len != LARGE)
            continue;
        if (first.stored_len == 0)
            first = entry.large;
        kvi_large_put(stored + kvi_entry_ref_at(&entry), &first);
        surgeon_stamp(s, page);
    }
}

/* A leaf below a branch has no entries. */
static void tell_empty_leaf(surgeon *s)
{
    kvi_ptr leaf = surgeon_node(s, &s->meta.main, 0, 0);
    uint8_t *page = surgeon_page(s, leaf.page);
    memset(page, 0, s->page_size);
    kvi_leaf_init(page, s->page_size);
    kvi_put64(page + KVI_P_page, leaf.page);
    kvi_put64(page + KVI_P_birth, leaf.birth);
    surgeon_stamp(s, leaf.page);
}

/* Runs an operation on the forged file. */
static bool run_on(const surgeon *s, const operation *op)
{
    kv_db *db;
    image = s->bytes;
    image_len = s->size;
    int rc = open_as(SOLE, (fault_case){0}, &db);
    if (rc == KV_OK) {
        rc = op->run(db);
        (void)kv_db_close(db);
    }
    if (rc > KV_NOTFOUND || !fault_balanced(&fault))
        fail_msg("%s: result %d", op->name, rc);
    return rc < 0;
}

/* All operations on one picture, with a lie in one leaf after the other. */
static uint64_t spread_lie(const struct lie *lie, bool copy)
{
    uint64_t noticed = 0;
    surgeon s;
    surgeon_take(&s, pictures[copy].bytes, pictures[copy].len);
    image_len = s.size;
    for (kvi_pgno page = kvi_first_page(PAGE_SIZE); page < s.size / PAGE_SIZE; page++) {
        if (tell_leaf(&s, page, lie))
            for (size_t k = 0; k < KVI_COUNT(operations); k++)
                if ((operations[k].effect == CATCHES_UP) == copy)
                    noticed += run_on(&s, &operations[k]);
        memcpy(surgeon_page(&s, page), pictures[copy].bytes + page * PAGE_SIZE, PAGE_SIZE);
    }
    surgeon_free(&s);
    return noticed;
}

static void test_lies(void **state)
{
    for (size_t i = 0; i < KVI_COUNT(lies); i++) {
        uint64_t noticed = spread_lie(&lies[i], false) + spread_lie(&lies[i], true);
        if (noticed < 3)
            fail_msg("%s: nobody notices", lies[i].name);
    }
}

static void test_lies_of_the_catalog(void **state)
{
    static void (*const tells[])(surgeon * s) = {
        tell_names,           tell_pairs,       tell_special_trees,     tell_short_trees,
        tell_leaf_twice,      tell_value_twice, tell_special_snapshots, tell_short_snapshots,
        tell_future_snapshot, tell_empty_leaf};
    for (size_t i = 0; i < KVI_COUNT(tells); i++) {
        uint64_t noticed = 0;
        for (size_t k = 0; k < KVI_COUNT(operations); k++) {
            surgeon s;
            if (operations[k].effect == CATCHES_UP)
                continue;
            surgeon_take(&s, pictures[0].bytes, pictures[0].len);
            tells[i](&s);
            noticed += run_on(&s, &operations[k]);
            surgeon_free(&s);
        }
        if (noticed == 0)
            fail_msg("lie %zu: nobody notices", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_no_more_memory),
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_calls_shared),
        cmocka_unit_test(test_calls_late),
        cmocka_unit_test(test_readers),
        cmocka_unit_test(test_openings),
        cmocka_unit_test(test_damaged_pages),
        cmocka_unit_test(test_forged_pages),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_lies_of_the_catalog),
    };
    return cmocka_run_group_tests_name("calls", tests, setup, teardown);
}
