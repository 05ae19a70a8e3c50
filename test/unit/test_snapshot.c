/* Named snapshots: made, listed, opened, restored and dropped; what they hold and give back; copies,
 * repair and readers beside them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "must.h"
#include "scratch.h"
#include "surgeon.h"
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ENTRIES 4000
#define BIG     50000

static scratch dir;
static char path[SCRATCH_MAX], other[SCRATCH_MAX];
static uint8_t bytes[BIG];
static kv_db *db;

/* ---- tools ---- */

static void open_db(uint32_t flags)
{
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE | flags};
    assert_int_equal(kv_db_open(path, &options, &db), KV_OK);
}

static int setup(void **state)
{
    scratch_make(&dir);
    scratch_path_to(&dir, "a.kv", path);
    scratch_path_to(&dir, "b.kv", other);
    return 0;
}

static int teardown(void **state)
{
    scratch_remove(&dir);
    return 0;
}

static int begin_test(void **state)
{
    unlink(path);
    unlink(other);
    open_db(0);
    return 0;
}

static int end_test(void **state)
{
    return kv_db_close(db);
}

static kv_txn *begin(uint32_t flags)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, flags, &txn), KV_OK);
    return txn;
}

static void put(kv_tree *tree, unsigned number, const void *value, size_t len)
{
    char key[32];
    int n = snprintf(key, sizeof key, "key%06u", number);
    assert_int_equal(kv_put(tree, key, (size_t)n, value, len, 0), KV_OK);
}

/* Every entry of the main tree, one of another tree and a large value say the number. */
static void write_all(unsigned number, uint32_t kind)
{
    char text[64];
    kv_tree *tree;
    kv_txn *txn = begin(KV_TXN_WRITE | kind);
    int len = snprintf(text, sizeof text, "this is round number %u", number);
    for (unsigned i = 0; i < ENTRIES; i++)
        put(kv_txn_main(txn), i, text, (size_t)len);
    assert_int_equal(kv_tree_open(txn, "tree", 4, KV_TREE_CREATE, NULL, &tree), KV_OK);
    put(tree, 1, text, (size_t)len);
    memset(bytes, (int)number, sizeof bytes);
    put(tree, 2, bytes, sizeof bytes);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static bool value_is(kv_tree *tree, unsigned number, const void *value, size_t len)
{
    char key[32];
    kv_slice found;
    int n = snprintf(key, sizeof key, "key%06u", number);
    return kv_get(tree, key, (size_t)n, &found) == KV_OK && found.len == len &&
           memcmp(found.ptr, value, len) == 0;
}

/* Does the transaction see what write_all wrote? */
static bool sees(kv_txn *txn, unsigned number)
{
    char text[64];
    kv_tree *tree;
    int len = snprintf(text, sizeof text, "this is round number %u", number);
    for (unsigned i = 0; i < ENTRIES; i++)
        if (!value_is(kv_txn_main(txn), i, text, (size_t)len))
            return false;
    memset(bytes, (int)number, sizeof bytes);
    return kv_tree_open(txn, "tree", 4, 0, NULL, &tree) == KV_OK &&
           value_is(tree, 1, text, (size_t)len) && value_is(tree, 2, bytes, sizeof bytes);
}

static bool newest_is(unsigned number)
{
    kv_txn *txn = begin(0);
    bool same = sees(txn, number);
    kv_txn_abort(txn);
    return same;
}

static int create(const char *name)
{
    return kv_snapshot_create(db, name, strlen(name), 0);
}

static int drop(const char *name)
{
    return kv_snapshot_drop(db, name, strlen(name), 0);
}

static int restore(const char *name)
{
    return kv_snapshot_restore(db, name, strlen(name), 0);
}

static kv_txn *look(const char *name)
{
    kv_txn *txn;
    assert_int_equal(kv_snapshot_open(db, name, strlen(name), &txn), KV_OK);
    return txn;
}

static bool named_is(const char *name, unsigned number)
{
    kv_txn *txn = look(name);
    bool same = sees(txn, number);
    kv_txn_abort(txn);
    return same;
}

static kv_db_info stat_of(kv_db *which)
{
    kv_db_info info = {.size = sizeof info};
    assert_int_equal(kv_db_stat(which, &info), KV_OK);
    return info;
}

typedef struct names {
    char text[200];
    uint64_t held[8];
    size_t n;
} names;

static int name_add(void *context, const kv_snapshot_info *info)
{
    names *list = context;
    size_t len = strlen(list->text);
    snprintf(list->text + len, sizeof list->text - len, "%.*s ", (int)info->name.len,
             (const char *)info->name.ptr);
    list->held[list->n++] = info->held_pages;
    return 0;
}

static names list_all(kv_db *which)
{
    names list = {.n = 0};
    assert_int_equal(kv_snapshot_list(which, name_add, &list), KV_OK);
    return list;
}

/* ---- the calls ---- */

static void test_life(void **state)
{
    write_all(1, 0);
    uint64_t id = stat_of(db).commit_id;
    assert_int_equal(create("one"), KV_OK);
    assert_int_equal(create("one"), KV_EXISTS);
    write_all(2, 0);
    assert_int_equal(create("two"), KV_OK);
    write_all(3, 0);
    assert_string_equal(list_all(db).text, "one two ");
    assert_int_equal(stat_of(db).snapshots, 2);
    assert_true(named_is("one", 1));
    assert_true(named_is("two", 2));
    kv_txn *txn = look("one");
    assert_int_equal(kv_txn_id(txn), id);
    assert_int_equal(kv_txn_refresh(txn), KV_OK);
    assert_true(sees(txn, 3));
    kv_txn_abort(txn);
    must_be_sound(db);
    assert_int_equal(kv_db_close(db), KV_OK);
    open_db(KV_OPEN_EXCLUSIVE);
    assert_true(named_is("one", 1));
    assert_int_equal(drop("one"), KV_OK);
    assert_int_equal(drop("one"), KV_NOTFOUND);
    assert_int_equal(restore("one"), KV_NOTFOUND);
    assert_int_equal(kv_snapshot_open(db, "one", 3, &txn), KV_NOTFOUND);
    assert_null(txn);
    assert_true(named_is("two", 2));
    assert_true(newest_is(3));
    must_be_sound(db);
}

static int stop(void *context, const kv_snapshot_info *info)
{
    return 1;
}

static void test_wrong_arguments(void **state)
{
    static uint8_t name[2000];
    kv_txn *txn;
    size_t most = stat_of(db).key_max;
    assert_int_equal(kv_snapshot_create(NULL, "a", 1, 0), KV_EINVAL);
    assert_int_equal(kv_snapshot_create(db, "", 0, 0), KV_EINVAL);
    assert_int_equal(kv_snapshot_create(db, "a", 1, KV_TXN_LAZY), KV_EINVAL);
    assert_int_equal(kv_snapshot_drop(db, "a", 1, KV_TXN_LAZY | KV_TXN_STRICT), KV_EINVAL);
    assert_int_equal(kv_snapshot_restore(db, "a", 1, 1u << 20), KV_EINVAL);
    assert_int_equal(kv_snapshot_open(db, "a", 1, NULL), KV_EINVAL);
    assert_int_equal(kv_snapshot_list(db, NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_snapshot_create(db, name, most + 1, 0), KV_ETOOBIG);
    assert_int_equal(kv_snapshot_create(db, name, most, 0), KV_OK);
    assert_int_equal(kv_snapshot_list(db, stop, NULL), KV_ECANCELED);
    assert_int_equal(kv_snapshot_open(db, name, most, &txn), KV_OK);
    txn = (kv_txn_abort(txn), begin(KV_TXN_WRITE));
    assert_int_equal(kv_snapshot_create(db, "a", 1, KV_TXN_TRY), KV_EBUSY);
    kv_txn_abort(txn);
    kv_db *reader;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    assert_int_equal(kv_db_open(path, &options, &reader), KV_OK);
    assert_int_equal(kv_snapshot_create(reader, "a", 1, 0), KV_EREADONLY);
    assert_int_equal(kv_snapshot_open(reader, name, most, &txn), KV_OK);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(reader), KV_OK);
}

/* Making one flushes what was lazy. */
static void test_create_is_durable(void **state)
{
    write_all(1, KV_TXN_LAZY);
    assert_true(stat_of(db).durable_id < stat_of(db).commit_id);
    assert_int_equal(create("a"), KV_OK);
    assert_int_equal(stat_of(db).durable_id, stat_of(db).commit_id);
}

/* ---- space ---- */

/* One snapshot stays while all is written anew, twenty times: the file has room for both and the
 * spare pages of its owner, and when the snapshot goes, so do its pages. */
static void test_bounded(void **state)
{
    write_all(1, 0);
    write_all(2, 0);
    uint64_t live = stat_of(db).leaf_pages + stat_of(db).branch_pages + stat_of(db).large_pages;
    assert_int_equal(create("kept"), KV_OK);
    for (unsigned i = 0; i < 20; i++)
        write_all(3 + i, i % 2 ? KV_TXN_LAZY : 0);
    assert_int_equal(kv_db_sync(db), KV_OK);
    kv_db_info before = stat_of(db);
    assert_true(before.pages <= 4 * live + 128); /* the snapshot, and two of the newest commits */
    assert_true(list_all(db).held[0] >= live - 4);
    assert_true(list_all(db).held[0] <= live + 16);
    assert_true(named_is("kept", 2));
    assert_int_equal(drop("kept"), KV_OK);
    write_all(30, 0);
    write_all(31, 0);
    kv_db_info after = stat_of(db);
    assert_true(after.blocked_pages + live / 2 < before.blocked_pages);
    must_be_sound(db);
}

/* Pages between two snapshots are used again. */
static void test_between(void **state)
{
    write_all(1, 0);
    assert_int_equal(create("old"), KV_OK);
    for (unsigned i = 0; i < 10; i++)
        write_all(2 + i, 0);
    assert_int_equal(create("new"), KV_OK);
    uint64_t pages = stat_of(db).pages;
    for (unsigned i = 0; i < 10; i++)
        write_all(20 + i, 0);
    assert_true(stat_of(db).pages <= pages * 2);
    assert_true(named_is("old", 1));
    assert_true(named_is("new", 11));
    names list = list_all(db);
    assert_true(list.held[0] > 20 && list.held[1] > 20);
    assert_int_equal(create("twin"), KV_OK); /* two of one commit hold nothing alone */
    assert_int_equal(create("twin2"), KV_OK);
    must_be_sound(db);
}

/* ---- restoring ---- */

static void test_restore(void **state)
{
    static const struct {
        const char *name;
        unsigned number;
    } steps[] = {{"s1", 1}, {"s3", 3}, {"s2", 2}, {"s3", 3}, {"s1", 1}, {"s2", 2}};
    for (unsigned i = 1; i <= 3; i++) {
        char name[8];
        write_all(i, 0);
        snprintf(name, sizeof name, "s%u", i);
        assert_int_equal(create(name), KV_OK);
    }
    write_all(4, 0);
    for (size_t i = 0; i < KVI_COUNT(steps); i++) {
        assert_int_equal(restore(steps[i].name), KV_OK);
        assert_true(newest_is(steps[i].number));
        must_be_sound(db);
        kv_txn *txn = begin(KV_TXN_WRITE);
        put(kv_txn_main(txn), (unsigned)i, "changed since", 13);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        for (unsigned k = 1; k <= 3; k++) {
            char name[8];
            snprintf(name, sizeof name, "s%u", k);
            assert_true(named_is(name, k));
        }
    }
    assert_int_equal(drop("s1"), KV_OK);
    assert_int_equal(drop("s2"), KV_OK);
    assert_int_equal(drop("s3"), KV_OK);
    write_all(9, 0);
    write_all(10, 0);
    must_be_sound(db);
}

/* What did not change is not written, and a restore without a difference makes no commit. */
static void test_restore_is_cheap(void **state)
{
    write_all(1, 0);
    assert_int_equal(create("a"), KV_OK);
    uint64_t id = stat_of(db).commit_id;
    assert_int_equal(restore("a"), KV_OK);
    assert_int_equal(stat_of(db).commit_id, id);
    kv_db_info info = stat_of(db);
    uint64_t pages = info.pages - info.free_pages - info.blocked_pages;
    kv_txn *txn = begin(KV_TXN_WRITE);
    put(kv_txn_main(txn), 5, "another", 7);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(restore("a"), KV_OK);
    assert_int_equal(stat_of(db).commit_id, id + 2);
    assert_true(newest_is(1));
    info = stat_of(db);
    assert_int_equal(info.pages - info.free_pages - info.blocked_pages, pages);
    assert_true(info.blocked_pages < 12);
}

/* What comes back has expired meanwhile, and the same commit sweeps it: in pages that it has just
 * written, behind the end that the file had. */
static void test_restore_sweeps(void **state)
{
    kv_options options = {.size = sizeof options, .sweep_per_write = 10};
    kv_slice value;
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_int_equal(kv_db_open(path, &options, &db), KV_OK);
    write_all(1, 0);
    uint64_t entries = stat_of(db).entries, now = 0;
    kv_txn *txn = begin(KV_TXN_WRITE);
    uint64_t expiry = kv_txn_now(txn) + 20;
    assert_int_equal(kv_expire_at(kv_txn_main(txn), "key000003", 9, expiry), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(create("a"), KV_OK);
    write_all(2, 0);
    while (now < expiry) {
        txn = begin(0);
        now = kv_txn_now(txn);
        kv_txn_abort(txn);
    }
    assert_int_equal(restore("a"), KV_OK);
    assert_int_equal(stat_of(db).entries, entries - 1);
    txn = begin(0);
    assert_int_equal(kv_get(kv_txn_main(txn), "key000003", 9, &value), KV_NOTFOUND);
    assert_true(value_is(kv_txn_main(txn), 4, "this is round number 1", 22));
    kv_txn_abort(txn);
    must_be_sound(db);
}

/* Trees that were made, dropped and renamed since. */
static void test_restore_trees(void **state)
{
    kv_tree *tree;
    write_all(1, 0);
    assert_int_equal(create("a"), KV_OK);
    kv_txn *txn = begin(KV_TXN_WRITE);
    assert_int_equal(kv_tree_open(txn, "tree", 4, 0, NULL, &tree), KV_OK);
    assert_int_equal(kv_tree_rename(tree, "renamed", 7), KV_OK);
    assert_int_equal(kv_tree_open(txn, "made", 4, KV_TREE_CREATE, NULL, &tree), KV_OK);
    put(tree, 1, bytes, 20000);
    assert_int_equal(kv_tree_clear(kv_txn_main(txn)), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(create("b"), KV_OK);
    assert_int_equal(restore("a"), KV_OK);
    assert_true(newest_is(1));
    assert_int_equal(stat_of(db).trees, 1);
    must_be_sound(db);
    assert_int_equal(restore("b"), KV_OK);
    assert_int_equal(stat_of(db).trees, 2);
    assert_int_equal(stat_of(db).entries, 3);
    must_be_sound(db);
}

/* ---- copies, repair ---- */

static void test_copies(void **state)
{
    kv_db *mine = db;
    write_all(1, 0);
    assert_int_equal(create("one"), KV_OK);
    write_all(2, 0);
    assert_int_equal(create("two"), KV_OK);
    write_all(3, 0);
    assert_int_equal(kv_db_copy(db, other, 0), KV_OK);
    assert_int_equal(kv_db_open(other, NULL, &db), KV_OK);
    must_be_sound(db);
    assert_true(newest_is(3) && named_is("one", 1) && named_is("two", 2));
    names before = list_all(mine), after = list_all(db);
    assert_true(after.held[0] + 4 >= before.held[0] && after.held[0] <= before.held[0] + 4);
    assert_int_equal(drop("one"), KV_OK); /* gives back what it held alone, as in the original */
    uint64_t blocked = stat_of(db).blocked_pages;
    write_all(4, 0);
    assert_true(named_is("two", 2));
    write_all(5, 0);
    assert_true(stat_of(db).blocked_pages < blocked + before.held[0] / 2);
    must_be_sound(db);
    assert_int_equal(kv_db_close(db), KV_OK);
    db = mine;

    unlink(other);
    assert_int_equal(kv_db_copy(db, other, KV_COPY_COMPACT), KV_OK);
    assert_int_equal(kv_db_open(other, NULL, &db), KV_OK);
    assert_true(newest_is(3));
    assert_int_equal(stat_of(db).snapshots, 0);
    assert_int_equal(kv_db_close(db), KV_OK);
    db = mine;

    for (uint32_t i = 0; i < 4; i++) { /* of a snapshot, and of the newest commit, which lists it */
        kv_txn *txn = i & 2 ? begin(KV_TXN_READ) : look("one");
        unlink(other);
        assert_int_equal(kv_txn_copy(txn, other, i & KV_COPY_COMPACT), KV_OK);
        kv_txn_abort(txn);
        assert_int_equal(kv_db_open(other, NULL, &db), KV_OK);
        assert_true(newest_is(i & 2 ? 3 : 1));
        assert_int_equal(stat_of(db).snapshots, 0);
        must_be_sound(db);
        assert_int_equal(kv_db_close(db), KV_OK);
        db = mine;
    }
    kv_txn *txn = begin(KV_TXN_WRITE);
    assert_int_equal(kv_txn_copy(txn, other, 0), KV_EINVAL);
    kv_txn_abort(txn);
}

/* The same again, in another leaf beside the same large value. */
static void write_leaf(unsigned number)
{
    char text[64];
    kv_tree *tree;
    kv_txn *txn = begin(KV_TXN_WRITE);
    int len = snprintf(text, sizeof text, "this is round number %u", number);
    assert_int_equal(kv_tree_open(txn, "tree", 4, 0, NULL, &tree), KV_OK);
    put(tree, 1, text, (size_t)len);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static void test_repair(void **state)
{
    write_all(1, 0);
    assert_int_equal(create("one"), KV_OK);
    write_all(2, 0);
    assert_int_equal(create("two"), KV_OK);
    write_all(3, 0);
    assert_int_equal(create("three"), KV_OK);
    write_leaf(3);
    uint64_t held = list_all(db).held[0];
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_int_equal(kv_db_repair(path, 0, NULL, NULL), KV_OK);
    open_db(0);
    must_be_sound(db);
    assert_true(newest_is(3) && named_is("one", 1) && named_is("two", 2) && named_is("three", 3));
    assert_int_equal(list_all(db).held[0] > held / 2, 1);
    write_all(4, 0);
    write_all(5, 0);
    assert_true(named_is("one", 1) && named_is("two", 2));
    uint64_t pages = stat_of(db).pages;
    assert_int_equal(drop("one"), KV_OK);
    write_all(6, 0);
    assert_true(named_is("two", 2));
    assert_true(stat_of(db).pages <= pages);
    must_be_sound(db);
}

/* ---- beside others ---- */

/* Whoever has it open goes on when it is dropped. */
static void test_drop_under_a_reader(void **state)
{
    write_all(1, 0);
    assert_int_equal(create("a"), KV_OK);
    write_all(2, 0);
    kv_txn *txn = look("a");
    assert_int_equal(drop("a"), KV_OK);
    for (unsigned i = 3; i < 8; i++)
        write_all(i, 0);
    assert_true(sees(txn, 1));
    uint64_t blocked = stat_of(db).blocked_pages;
    kv_txn_abort(txn);
    write_all(8, 0);
    assert_true(stat_of(db).blocked_pages + 20 < blocked);
}

/* After a lazy drop the snapshot keeps its pages until a flush. */
static void test_lazy_drop(void **state)
{
    write_all(1, 0);
    assert_int_equal(create("a"), KV_OK);
    write_all(2, 0);
    assert_int_equal(kv_snapshot_drop(db, "a", 1, KV_TXN_LAZY), KV_OK);
    for (unsigned i = 3; i < 6; i++)
        write_all(i, KV_TXN_LAZY);
    /* dead, but needed by: the snapshot, the durable commit, the newest one before the last */
    kv_db_info info = stat_of(db);
    uint64_t live = info.leaf_pages + info.large_pages;
    assert_true(info.blocked_pages >= 3 * live - 20);
    assert_int_equal(kv_db_sync(db), KV_OK);
    kv_txn_abort(begin(KV_TXN_WRITE));
    assert_true(stat_of(db).blocked_pages < live);
    must_be_sound(db);
}

/* Opening, while another thread drops and makes the same name again and again: what is opened is
 * whole. */
static _Atomic bool over;

static void *churn(void *context)
{
    for (unsigned i = 2; !over; i++) {
        assert_int_equal(drop("a"), KV_OK);
        write_all(i % 200, 0);
        assert_int_equal(create("a"), KV_OK);
    }
    return NULL;
}

static void test_open_races(void **state)
{
    pthread_t thread;
    unsigned opened = 0;
    write_all(1, 0);
    assert_int_equal(create("a"), KV_OK);
    over = false;
    assert_int_equal(pthread_create(&thread, NULL, churn, NULL), 0);
    while (opened < 100) {
        kv_txn *txn;
        kv_slice value;
        unsigned number;
        int rc = kv_snapshot_open(db, "a", 1, &txn);
        if (rc == KV_NOTFOUND || rc == KV_EBUSY)
            continue;
        assert_int_equal(rc, KV_OK);
        assert_int_equal(kv_get(kv_txn_main(txn), "key000001", 9, &value), KV_OK);
        assert_int_equal(sscanf(value.ptr, "this is round number %u", &number), 1);
        char text[64];
        int len = snprintf(text, sizeof text, "this is round number %u", number);
        for (unsigned i = 0; i < ENTRIES; i += 7)
            assert_true(value_is(kv_txn_main(txn), i, text, (size_t)len));
        kv_txn_abort(txn);
        opened++;
    }
    over = true;
    pthread_join(thread, NULL);
    must_be_sound(db);
}

/* Between the look at the list and the pin, somebody drops the snapshot and its pages are used again:
 * the second look notices. Beginning to read asks for the time, which is where the other one acts. */
static kvi_os hooked;
static void (*hook)(void);
static int until_hook, until_next; /* calls; 0: never */

static uint64_t hooked_clock(const kvi_os *os)
{
    if (until_hook && --until_hook == 0) {
        hook();
        until_hook = until_next;
    }
    return kvi_os_posix.clock_ms(os);
}

static void open_hooked(void)
{
    kv_options options = {.size = sizeof options};
    assert_int_equal(kv_db_close(db), KV_OK);
    hooked = kvi_os_posix;
    hooked.clock_ms = hooked.tick_ms = hooked_clock;
    until_hook = until_next = 0;
    assert_int_equal(kvi_db_open(&hooked, path, &options, &db, NULL, 0), KV_OK);
    write_all(1, 0);
    assert_int_equal(create("a"), KV_OK);
}

static void drop_and_reuse(void)
{
    assert_int_equal(drop("a"), KV_OK);
    for (unsigned i = 2; i < 6; i++)
        write_all(i, 0);
}

static void test_pin_too_late(void **state)
{
    kv_txn *txn;
    open_hooked();
    hook = drop_and_reuse;
    until_hook = 2; /* the first transaction has begun, the second gets the pin */
    assert_int_equal(kv_snapshot_open(db, "a", 1, &txn), KV_NOTFOUND);
    assert_int_equal(until_hook, 0);
    assert_true(newest_is(5));
}

static void drop_only(void)
{
    assert_int_equal(drop("a"), KV_OK);
}

static void make_again(void)
{
    assert_int_equal(drop("a"), KV_OK);
    assert_int_equal(create("a"), KV_OK);
}

static unsigned anew; /* so often the name gets another commit */

static void make_anew(void)
{
    make_again();
    if (--anew == 0)
        until_next = 0;
}

/* The name stands for another commit each time: tried again, though not for ever. */
static void test_name_moves(void **state)
{
    kv_txn *txn;
    open_hooked();
    hook = make_anew;
    until_hook = 2;
    until_next = 1;
    anew = 3;
    assert_int_equal(kv_snapshot_open(db, "a", 1, &txn), KV_OK);
    assert_int_equal(anew, 0);
    assert_true(sees(txn, 1));
    kv_txn_abort(txn);
    until_hook = 2;
    until_next = 1;
    anew = UINT_MAX;
    assert_int_equal(kv_snapshot_open(db, "a", 1, &txn), KV_EBUSY);
    until_hook = until_next = 0;
    assert_true(named_is("a", 1));
}

static int copy_all(void)
{
    unlink(other);
    return kv_db_copy(db, other, 0);
}

static int check_all(void)
{
    return kv_db_check(db, NULL);
}

/* Who needs all snapshots pins one after the other. One that goes away meanwhile, or becomes another,
 * makes it begin anew; not for ever. */
static void test_list_changes(void **state)
{
    int (*const works[])(void) = {copy_all, check_all};
    for (size_t i = 0; i < KVI_COUNT(works); i++)
        for (int again = 0; again < 2; again++) {
            open_hooked();
            hook = again ? make_again : drop_only;
            until_hook = 3; /* that looks, that looks once more, that pins */
            assert_int_equal(works[i](), KV_OK);
            assert_int_equal(until_hook, 0);
            if (!again)
                assert_int_equal(create("a"), KV_OK);
            hook = make_again;
            until_hook = 3;
            until_next = 4; /* and that looks whether it is still listed */
            assert_int_equal(works[i](), KV_EBUSY);
            until_hook = until_next = 0;
            assert_int_equal(works[i](), KV_OK);
            assert_int_equal(drop("a"), KV_OK);
        }
}

/* ---- damage ---- */

/* A list that cannot be read: nothing is reused, and nobody crashes. */
static void test_damaged_list(void **state)
{
    surgeon s;
    kv_txn *txn;
    write_all(1, 0);
    assert_int_equal(create("a"), KV_OK);
    write_all(2, 0);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_load(&s, path);
    surgeon_page(&s, s.meta.snapshots.root.page)[s.page_size - 100] ^= 1;
    surgeon_save(&s, path);
    surgeon_free(&s);
    open_db(0);
    assert_int_equal(kv_snapshot_open(db, "a", 1, &txn), KV_ECORRUPT);
    assert_int_equal(kv_snapshot_list(db, name_add, &(names){.n = 0}), KV_ECORRUPT);
    uint64_t pages = stat_of(db).pages;
    write_all(3, 0);
    assert_true(newest_is(3));
    assert_true(stat_of(db).pages > pages + 20);
    assert_int_equal(kv_db_check(db, NULL), KV_ECORRUPT);
}

/* One commit through some handle: entries from number on are there, with this value. */
static void commit_range(kv_db *by, unsigned number, unsigned n, const char *value)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(by, KV_TXN_WRITE | KV_TXN_LAZY, &txn), KV_OK);
    for (unsigned i = 0; i < n; i++)
        put(kv_txn_main(txn), number + i, value, strlen(value));
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static void delete_from(kv_db *by, const char *from)
{
    kv_txn *txn;
    const kv_range range = {.size = sizeof range, .from = from, .from_len = strlen(from)};
    assert_int_equal(kv_txn_begin(by, KV_TXN_WRITE, &txn), KV_OK);
    assert_int_equal(kv_del_range(kv_txn_main(txn), &range, NULL), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static void damage_list(kv_db *by)
{
    kvi_pgno page = by->head.meta.snapshots.root.page;
    int fd = by->os->open(by->os, path, KVI_OS_WRITE, 0);
    char bytes_of[] = "noise";
    const struct iovec noise = {bytes_of, 5};
    assert_true(fd >= 0 && page > 0);
    assert_int_equal(by->os->pwritev(by->os, fd, &noise, 1, page * 4096 + 3900), 5);
    by->os->close(by->os, fd);
}

/* Of two writers one has read the list before it was damaged, and goes on by it; the other one cannot. The
 * file was longer once, so that records speak of pages behind its end. */
static void test_damaged_list_for_one(void **state)
{
    for (unsigned round = 0; round < 6; round++) {
        kv_db *second;
        commit_range(db, 0, 100, "begin");
        commit_range(db, 1000, 2000 + 700 * round, "long gone");
        for (unsigned i = 0; i < 3; i++)
            commit_range(db, i, 1, "begin");
        delete_from(db, "key001");
        for (unsigned i = 0; i < 3 + round; i++)
            commit_range(db, i, 1, "begin");
        assert_int_equal(kv_snapshot_create(db, "a", 1, 0), KV_OK);
        commit_range(db, 0, 100, "first");
        commit_range(db, 0, 1, "first"); /* now the list was read */
        damage_list(db);
        assert_int_equal(kv_db_open(path, NULL, &second), KV_OK);
        for (unsigned i = 0; i < 30; i++) {
            commit_range(second, 1000 + 20 * i, 20, "second");
            assert_true(second->space && !kvi_space_unknown(second->space)); /* no record is lost */
        }
        for (unsigned i = 0; i < 40; i++)
            commit_range(db, 2000 + 20 * i, 20, "third");
        kv_txn *txn = begin(0);
        for (unsigned i = 0; i < 100; i++)
            assert_true(value_is(kv_txn_main(txn), i, "first", 5));
        for (unsigned i = 0; i < 600; i++)
            assert_true(value_is(kv_txn_main(txn), 1000 + i, "second", 6));
        for (unsigned i = 0; i < 800; i++)
            assert_true(value_is(kv_txn_main(txn), 2000 + i, "third", 5));
        kv_txn_abort(txn);
        assert_int_equal(kv_db_close(second), KV_OK);
        assert_int_equal(end_test(NULL), KV_OK);
        begin_test(NULL);
    }
}

#define NEXT_ID ((uint64_t)1 << 63) /* of the commit that a writer is about to make */

/* Forged entries, all checksums right: commits to come, roots behind the end, the list itself as its
 * snapshot, the present's pages under another commit. */
static const struct forgery {
    unsigned at;
    uint64_t value;
    unsigned size;
    bool listed; /* it looks like a snapshot */
} forgeries[] = {
    {KVI_N_id, 0, 8, false},
    {KVI_N_id, (uint64_t)1 << 40, 8, false},
    {KVI_N_id, UINT64_MAX, 8, false},
    {KVI_N_id, NEXT_ID, 8, false},
    {KVI_N_main + KVI_T_root, (uint64_t)1 << 40, 6, false},
    {KVI_N_catalog + KVI_T_root, 1, 6, false},
    {KVI_N_main + KVI_T_root + 6, (uint64_t)1 << 30, 6, false},
    {KVI_N_main + KVI_T_level, 32, 1, false},
    {KVI_N_main + KVI_T_level, 7, 1, true},
    {KVI_N_main + KVI_T_root, 3, 6, true},
    {KVI_N_catalog + KVI_T_root + 6, 1, 6, true},
};

static void forge(const struct forgery *f)
{
    surgeon s;
    bool special;
    surgeon_load(&s, path);
    kvi_pgno leaf = s.meta.snapshots.root.page;
    uint8_t *page = surgeon_page(&s, leaf);
    kvi_slice value = kvi_leaf_value(page, s.page_size, 0, &special);
    uint8_t *at = page + (value.ptr - page) + f->at;
    uint64_t forged = f->value == NEXT_ID ? s.meta.id + 1 : f->value;
    for (unsigned i = 0; i < f->size; i++)
        at[i] = (uint8_t)(forged >> 8 * i);
    surgeon_stamp(&s, leaf);
    surgeon_save(&s, path);
    surgeon_free(&s);
}

/* One that calls itself the newest commit is no newer than what everybody keeps anyway. */
static void test_forged_as_newest(void **state)
{
    kv_txn *txn;
    write_all(1, 0);
    assert_int_equal(create("a"), KV_OK);
    const struct forgery f = {KVI_N_id, db->head.meta.id, 8, false};
    assert_int_equal(kv_db_close(db), KV_OK);
    forge(&f);
    open_db(0);
    assert_int_equal(kv_snapshot_open(db, "a", 1, &txn), KV_ECORRUPT);
    for (unsigned i = 2; i < 6; i++)
        write_all(i, 0);
    assert_true(newest_is(5));
}

static void test_forged(void **state)
{
    for (size_t i = 0; i < KVI_COUNT(forgeries); i++) {
        const struct forgery *f = &forgeries[i];
        kv_txn *txn;
        write_all(1, 0);
        assert_int_equal(create("a"), KV_OK);
        write_all(2, 0);
        assert_int_equal(kv_db_close(db), KV_OK);
        forge(f);
        open_db(0);
        int rc = kv_snapshot_open(db, "a", 1, &txn);
        assert_int_equal(rc, f->listed ? KV_OK : KV_ECORRUPT);
        if (f->listed) {
            assert_false(sees(txn, 1));
            kv_txn_abort(txn);
        }
        if (kv_db_check(db, NULL) != KV_ECORRUPT || restore("a") != KV_ECORRUPT)
            fail_msg("forgery %zu passes", i);
        write_all(3, 0);
        assert_true(newest_is(3));
        assert_int_equal(kv_db_close(db), KV_OK);
        if (!f->listed)
            assert_int_equal(kv_db_repair(path, 0, NULL, NULL), KV_ECORRUPT);
        unlink(path);
        open_db(0);
    }
}

/* More pages come back than are written at once. */
static void test_restore_many(void **state)
{
    static uint8_t value[1800];
    for (unsigned round = 1; round <= 2; round++) {
        kv_txn *txn = begin(KV_TXN_WRITE);
        memset(value, (int)round, sizeof value);
        for (unsigned i = 0; i < 700; i++)
            put(kv_txn_main(txn), i, value, sizeof value);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        if (round == 1)
            assert_int_equal(create("a"), KV_OK);
    }
    assert_int_equal(restore("a"), KV_OK);
    kv_txn *txn = begin(KV_TXN_READ);
    memset(value, 1, sizeof value);
    for (unsigned i = 0; i < 700; i++)
        assert_true(value_is(kv_txn_main(txn), i, value, sizeof value));
    kv_txn_abort(txn);
    must_be_sound(db);
}

static void leaf_add(surgeon *s, kvi_pgno leaf, const char *key, kvi_slice value, bool special)
{
    uint8_t *page = surgeon_page(s, leaf), *room = malloc(s->page_size);
    kvi_item item = {.key = kvi_slice_of(key, strlen(key)), .value = value, .special = special};
    assert_true(kvi_leaf_insert(page, s->page_size, room, kvi_node_count(page), &item));
    free(room);
}

/* The snapshot's catalog, or the leaf of the tree that it names, holds what cannot be: entries that are no
 * descriptor, a large value twice. Nothing of that is restored. */
static void test_forged_below(void **state)
{
    enum { NOWHERE, SHORT, TWICE, FORGERIES };
    for (int forgery = 0; forgery < FORGERIES; forgery++) {
        surgeon s;
        kvi_named named;
        kvi_tree_desc desc;
        kvi_pgno leaf;
        kvi_entry entry;
        uint8_t *stored;
        bool special;
        write_all(1, 0);
        assert_int_equal(create("a"), KV_OK);
        write_all(2, 0);
        assert_int_equal(kv_db_close(db), KV_OK);
        surgeon_load(&s, path);
        kvi_slice value =
            kvi_leaf_value(surgeon_page(&s, s.meta.snapshots.root.page), s.page_size, 0, &special);
        assert_true(kvi_named_decode(value.ptr, s.page_size, s.meta.high_water, s.meta.id, &named));
        s.meta.catalog = named.catalog;
        uint8_t *described = surgeon_catalog(&s, 0, &leaf, &desc);
        if (forgery == NOWHERE) {
            kvi_put48(described + KVI_T_root, (uint64_t)1 << 40);
        } else if (forgery == SHORT) {
            leaf_add(&s, leaf, "zzz", kvi_slice_of("short", 5), false);
        } else {
            assert_true(surgeon_find(&s, &desc, KVI_ENTRY_LARGE, &leaf, &stored, &entry));
            uint8_t copy[64];
            size_t len = kvi_entry_ref_at(&entry) + KVI_LARGE_REF_SIZE;
            memcpy(copy, stored, len);
            leaf_add(&s, leaf, "key999999", kvi_slice_of(copy, len), true);
        }
        surgeon_stamp(&s, leaf);
        surgeon_save(&s, path);
        surgeon_free(&s);
        open_db(0);
        assert_int_equal(restore("a"), KV_ECORRUPT);
        assert_true(newest_is(2));
        assert_int_equal(kv_db_close(db), KV_OK);
        unlink(path);
        open_db(0);
    }
}

/* A page of the least size has room for the list's entries with the longest names, or for none. */
static void test_smallest_pages(void **state)
{
    kv_db *least;
    const kv_options options = {
        .size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = KVI_PAGE_MIN};
    char name[KVI_PAGE_MIN];
    size_t longest = kvi_key_max(KVI_PAGE_MIN);
    bool fits = kvi_leaf_max(KVI_PAGE_MIN) >= longest + KVI_NAMED_SIZE;
    memset(name, 'n', sizeof name);
    assert_int_equal(kv_db_open(scratch_path(&dir, "least.kv"), &options, &least), KV_OK);
    assert_int_equal(kv_snapshot_create(least, name, longest + 1, 0), KV_ETOOBIG);
    assert_int_equal(kv_snapshot_create(least, name, longest, 0), fits ? KV_OK : KV_ETOOBIG);
    assert_int_equal(kv_snapshot_create(least, name, 1, 0), fits ? KV_OK : KV_ETOOBIG);
    assert_int_equal(kv_db_check(least, NULL), KV_OK);
    assert_int_equal(kv_db_close(least), KV_OK);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_test, end_test)
    const struct CMUnitTest tests[] = {
        TEST(test_life),
        TEST(test_wrong_arguments),
        TEST(test_create_is_durable),
        TEST(test_bounded),
        TEST(test_between),
        TEST(test_restore),
        TEST(test_restore_is_cheap),
        TEST(test_restore_sweeps),
        TEST(test_restore_trees),
        TEST(test_copies),
        TEST(test_repair),
        TEST(test_drop_under_a_reader),
        TEST(test_lazy_drop),
        TEST(test_open_races),
        TEST(test_pin_too_late),
        TEST(test_name_moves),
        TEST(test_list_changes),
        TEST(test_damaged_list),
        TEST(test_damaged_list_for_one),
        TEST(test_forged),
        TEST(test_forged_as_newest),
        TEST(test_restore_many),
        TEST(test_forged_below),
        TEST(test_smallest_pages),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
