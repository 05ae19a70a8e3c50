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

#define NAME      "db"
#define TARGET    "copy"
#define ENTRIES   700
#define PAIRS     300
#define NOW       1000000 /* ms; some entries have expired by then */
#define TTL       1000
#define LARGE     9000
#define RUNS      100
#define FORGERIES 120 /* of each operation */

static sim_disk *disk;
static fault_os fault;
static uint8_t *image;
static size_t image_len;
static uint8_t value[LARGE];

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

static void fill(kv_db *db)
{
    static const kv_tree_options packed = {.size = sizeof packed, .compress_from = 500};
    kv_txn *txn;
    kv_tree *tree;
    must(kv_txn_begin(db, KV_TXN_WRITE, &txn));
    fill_tree(kv_txn_main(txn), ENTRIES);
    must(kv_tree_open(txn, "many", 4, KV_TREE_CREATE | KV_TREE_MULTI, NULL, &tree));
    fill_pairs(tree);
    must(kv_tree_open(txn, "packed", 6, KV_TREE_CREATE, &packed, &tree));
    fill_tree(tree, 200);
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
    must(kv_put(kv_txn_main(txn), "number", 6, "12345678", 8, 0));
    must(kv_tree_open(txn, "new", 3, KV_TREE_CREATE, NULL, &tree));
    fill_tree(tree, 20);
    must(kv_txn_commit(txn));
}

static int run_commits(kv_db *db);

static int (*open_inner)(const kvi_os *os, const char *path, int flags, uint32_t mode);
static int (*lock_inner)(const kvi_os *os, int fd, int kind, uint64_t off, uint64_t len);

static int setup(void **state)
{
    kv_db *db;
    const kv_options options = {
        .size = sizeof options, .flags = KV_OPEN_CREATE | KV_OPEN_EXCLUSIVE, .page_size = 4096};
    disk = sim_new(3);
    open_inner = disk->os.open;
    lock_inner = disk->os.lock;
    disk->recording = SIM_RECORD_NOTHING;
    disk->clock_ms = NOW - TTL - 1;
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (uint8_t)(i % 251);
    must(kvi_db_open(sim_os(disk), NAME, &options, &db, NULL, 0));
    fill(db);
    for (unsigned i = 0; i < 12; i++)
        must(run_commits(db));
    must(kv_snapshot_create(db, "snap", 4, 0));
    change(db);
    must(kv_db_close(db));
    kvi_slice file = sim_get_file(disk, NAME);
    image_len = file.len;
    image = malloc(image_len);
    memcpy(image, file.ptr, image_len);
    return 0;
}

static int teardown(void **state)
{
    free(image);
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
IN(in_write, work_trees)

typedef struct operation {
    const char *name;
    int (*run)(kv_db *db);
    bool writes;
} operation;

static const operation operations[] = {
    {"diff", run_diff, false},
    {"backup", run_backup, false},
    {"increment", run_increment, false},
    {"order", run_work_order, false},
    {"order of pairs", run_work_order_pairs, false},
    {"scan", run_work_scan, false},
    {"scan of pairs", run_work_scan_pairs, false},
    {"get_many", run_work_get_many, false},
    {"check", run_check, false},
    {"stat", run_stat, false},
    {"snapshots", run_snapshots, true},
    {"restore", run_restore, true},
    {"sweep", run_work_sweep, true},
    {"single keys", run_work_single, true},
    {"put_many", run_work_many, true},
    {"pairs", run_work_pairs, true},
    {"ranges", run_work_ranges, true},
    {"trees", run_work_trees, true},
    {"batch", run_batch, true},
    {"watch", run_watch, true},
    {"compaction", run_compaction, true},
    {"copies", run_copies, false},
    {"copy to a descriptor", run_copy_fd, false},
    {"wait", run_wait, false},
    {"commits", run_commits, true},
    {"begin_wait", run_begin_wait, true},
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
    const kv_options options = {.size = sizeof options, .flags = flags[as]};
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
        if (as > SHARER && operations[i].writes)
            continue;
        uint64_t calls = calls_of(&operations[i], as, plan);
        uint64_t step = step_of(calls);
        for (plan.at = 1; plan.at <= calls; plan.at += step)
            (void)run_with(&operations[i], as, plan);
    }
}

/* Opening and closing, with every call failing in turn. */
static void fail_openings(role as, fault_case plan)
{
    for (plan.at = 1;; plan.at++) {
        kv_db *db = NULL;
        char text[200];
        int rc = open_as(as, plan, &db);
        int closed = rc == KV_OK ? kv_db_close(db) : KV_OK;
        fault_describe(&fault, text, sizeof text);
        if (rc > 0 || closed > 0 || !fault_balanced(&fault))
            fail_msg("opening: %s: results %d, %d", text, rc, closed);
        if (!fault_hit(&fault))
            break;
    }
    assert_true(plan.at > 20);
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

static void test_openings(void **state)
{
    static const int errors[] = {EIO, ENOENT, EACCES};
    for (role as = SOLE; as <= GUEST; as++) {
        for (size_t i = 0; i < KVI_COUNT(errors); i++)
            fail_openings(as, (fault_case){.error = errors[i]});
        fail_openings(as, (fault_case){.mode = FAULT_LATE});
    }
}

/* ---- what is stored ---- */

/* Reading and writing end where a page is not what it was: with an error, or without having met it. */
static void test_damaged_pages(void **state)
{
    uint64_t errors = 0;
    for (size_t i = 0; i < KVI_COUNT(operations); i++) {
        for (size_t page = 2; page < image_len / 4096; page++) {
            kv_db *db;
            image[page * 4096 + 1000] ^= 0x55;
            int rc = open_as(SOLE, (fault_case){0}, &db);
            if (rc == KV_OK) {
                rc = operations[i].run(db);
                (void)kv_db_close(db);
            }
            image[page * 4096 + 1000] ^= 0x55;
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
    uint8_t *sound = image;
    rng random;
    rng_seed(&random, 11);
    for (size_t run = 0; run < FORGERIES * KVI_COUNT(operations); run++) {
        const operation *op = &operations[run % KVI_COUNT(operations)];
        surgeon s;
        kv_db *db;
        surgeon_take(&s, sound, image_len);
        forge(&s, 2 + rng_below(&random, image_len / 4096 - 2), &random);
        image = s.bytes;
        if (open_as(SOLE, (fault_case){0}, &db) == KV_OK) {
            (void)op->run(db);
            (void)kv_db_close(db);
        }
        if (!fault_balanced(&fault))
            fail_msg("%s: run %zu: something was not given back", op->name, run);
        surgeon_free(&s);
    }
    image = sound;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),       cmocka_unit_test(test_no_more_memory),
        cmocka_unit_test(test_calls),        cmocka_unit_test(test_calls_shared),
        cmocka_unit_test(test_calls_late),   cmocka_unit_test(test_readers),
        cmocka_unit_test(test_openings),     cmocka_unit_test(test_damaged_pages),
        cmocka_unit_test(test_forged_pages),
    };
    return cmocka_run_group_tests_name("calls", tests, setup, teardown);
}
