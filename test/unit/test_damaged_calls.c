/* Every call that goes down a tree, on a file with one damaged page, each page in turn: it answers as on
 * the sound file, or KV_ECORRUPT. And on a tree of entries that are not what its descriptor says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "must.h"
#include "parcel.h"
#include "surgeon.h"
#include <stdio.h>

#ifdef KVI_STRESS
#define PAGE_SIZE 1024 /* the smallest in which a snapshot has a name */
#else
#define PAGE_SIZE 4096
#endif
#define ENTRIES 300
#define STEP    7 /* of the keys that calls are tried with */
#define PAIRS   10
#define PATH    "db"

static sim_disk *disk;
static kvi_slice sound; /* the file, undamaged */
static kv_db *db;
static kv_txn *txn, *then; /* that the call uses; of a named snapshot */
static kv_tree *plain, *aging, *pairs;
static kv_cursor *cursor;
static uint64_t told; /* all that the call answered */

static void tell(const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < len; i++)
        told = (told ^ at[i]) * 0x100000001b3u;
}

static void tell_pair(const kv_pair *pair)
{
    tell(pair->key.ptr, pair->key.len);
    tell(pair->value.ptr, pair->value.len);
}

static void tell_number(uint64_t number)
{
    tell(&number, sizeof number);
}

/* ---- the file ---- */

static size_t key_of(unsigned i, char key[16])
{
    return (size_t)snprintf(key, 16, "key%05u", i);
}

/* Short ones, large ones, and large ones that compress. */
static void put_value(kv_tree *tree, unsigned i, uint64_t ttl_ms)
{
    static uint8_t value[9000];
    char key[16];
    rng r;
    size_t len = i % 50 == 3 ? sizeof value : 60;
    rng_seed(&r, i + 1);
    rng_fill(&r, value, i % 100 == 3 ? 100 : len);
    kv_put_options options = {.size = sizeof options, .ttl_ms = ttl_ms};
    assert_int_equal(kv_put_with(tree, key, key_of(i, key), value, len, &options), KV_OK);
}

static kv_tree *make(const char *name, uint32_t flags)
{
    kv_tree *tree;
    kv_tree_options options = {.size = sizeof options, .compress_from = 1000};
    assert_int_equal(kv_tree_open(txn, name, strlen(name), KV_TREE_CREATE | flags, &options, &tree),
                     KV_OK);
    return tree;
}

static void fill(void)
{
    char key[16], value[16];
    txn = must_begin(db, KV_TXN_WRITE);
    plain = make("plain", 0), aging = make("aging", 0), pairs = make("pairs", KV_TREE_MULTI);
    for (unsigned i = 0; i < ENTRIES; i++) {
        put_value(plain, i, 0);
        put_value(aging, i, i % 3 == 0 ? 1000 : i % 3 == 1 ? 100000 : 0);
        size_t len = key_of(i / PAIRS, key);
        assert_int_equal(kv_multi_put(pairs, key, len, value, key_of(i, value)), KV_OK);
    }
    for (unsigned i = 0; i < 40; i++) {
        kv_tree *tree = make((snprintf(key, sizeof key, "a tree %u", i), key), 0);
        assert_int_equal(kv_put(tree, "k", 1, "v", 1, 0), KV_OK);
    }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* Every tree differs from the snapshot. */
static void change(void)
{
    char key[16], value[16];
    kv_tree *tree;
    txn = must_begin(db, KV_TXN_WRITE);
    plain = make("plain", 0), aging = make("aging", 0), pairs = make("pairs", KV_TREE_MULTI);
    for (unsigned i = 0; i < ENTRIES; i += 20) {
        size_t len = key_of(i, key);
        assert_int_equal(kv_put(plain, key, len, "other", 5, 0), KV_OK);
        assert_int_equal(kv_del(aging, key, len), KV_OK);
        assert_int_equal(kv_multi_put(pairs, key, len, value, key_of(i + ENTRIES, value)), KV_OK);
    }
    tree = make("a tree 1", 0);
    assert_int_equal(kv_tree_drop(tree), KV_OK);
    tree = make("a tree 1", KV_TREE_MULTI);
    assert_int_equal(kv_multi_put(tree, "k", 1, "v", 1), KV_OK);
    assert_int_equal(kv_tree_rename(make("a tree 2", 0), "renamed", 7), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static void open_db(void)
{
    kv_options options = {.size = sizeof options,
                          .flags = KV_OPEN_CREATE | KV_OPEN_EXCLUSIVE,
                          .page_size = PAGE_SIZE,
                          .sweep_per_write = 3};
    assert_int_equal(kvi_db_open(sim_os(disk), PATH, &options, &db, NULL, 0), KV_OK);
}

static int setup(void **state)
{
    disk = sim_new(1);
    disk->recording = SIM_RECORD_NOTHING;
    open_db();
    fill();
    assert_int_equal(kv_snapshot_create(db, "then", 4, 0), KV_OK);
    for (unsigned i = 0; i < 20; i++) {
        char name[16];
        int len = snprintf(name, sizeof name, "snapshot %u", i);
        assert_int_equal(kv_snapshot_create(db, name, (size_t)len, 0), KV_OK);
    }
    change();
    assert_int_equal(kv_db_close(db), KV_OK);
    kvi_slice file = sim_get_file(disk, PATH);
    uint8_t *copy = malloc(file.len);
    memcpy(copy, file.ptr, file.len);
    sound = kvi_slice_of(copy, file.len);
    return 0;
}

static int teardown(void **state)
{
    free((void *)(uintptr_t)sound.ptr);
    sim_free(disk);
    return 0;
}

/* ---- the calls: below 0 is an error, all else is told ---- */

static int done(int rc)
{
    tell_number((uint64_t)rc);
    return rc > 0 ? KV_OK : rc;
}

/* An answer for each of some keys, present and absent. */
#define KEYS(name, tree, call)                                                                     \
    static int name(void)                                                                          \
    {                                                                                              \
        char key[16];                                                                              \
        kv_slice value = {NULL, 0};                                                                \
        int rc = KV_OK;                                                                            \
        for (unsigned i = 0; rc == KV_OK && i < ENTRIES + 2 * STEP; i += STEP) {                   \
            size_t len = key_of(i, key);                                                           \
            rc = done(call);                                                                       \
            if (rc == KV_OK && value.ptr)                                                          \
                tell(value.ptr, value.len);                                                        \
            value.ptr = NULL;                                                                      \
        }                                                                                          \
        return rc;                                                                                 \
    }

static uint64_t number;
static kv_entry_info entry = {.size = sizeof entry};
static const kv_slice new_value = {"new", 3};

static int told_entry(int rc)
{
    if (rc == KV_OK) {
        tell_number(entry.expires_at + entry.stored_len);
        tell(entry.value.ptr, entry.value.len);
    }
    return rc;
}

static int replace(void *context, const kv_slice *old, kv_slice *value)
{
    *value = new_value;
    return old ? KV_UPDATE_STORE : KV_UPDATE_KEEP;
}

KEYS(get, plain, kv_get(plain, key, len, &value))
KEYS(get_aging, aging, kv_get(aging, key, len, &value))
KEYS(get_info, aging, told_entry(kv_get_info(aging, key, len, &entry)))
KEYS(ttl, aging, kv_ttl(aging, key, len, &number))
KEYS(rank_plain, plain, kv_rank(plain, key, len, &number))
KEYS(rank_aging, aging, kv_rank(aging, key, len, &number))
KEYS(rank_pairs, pairs, kv_rank(pairs, key, len, &number))
KEYS(put, plain, kv_put(plain, key, len, "new", 3, 0))
KEYS(put_aging, aging, kv_put(aging, key, len, "new", 3, KV_PUT_KEEP_EXPIRY))
KEYS(put_absent, plain, kv_put(plain, key, len, "new", 3, KV_PUT_ABSENT))
KEYS(del, plain, kv_del(plain, key, len))
KEYS(cas, plain, kv_cas(plain, key, len, &new_value, &new_value, &value))
KEYS(swap, plain, kv_swap(plain, key, len, &new_value, &value))
KEYS(take, plain, kv_take(plain, key, len, &value))
KEYS(update, plain, kv_update(plain, key, len, replace, NULL))
KEYS(append, plain, kv_append(plain, key, len, "new", 3, 0, &number))
KEYS(bits, plain, kv_bits(plain, key, len, KV_BITS_XOR, "new", 3))
KEYS(expire, aging, kv_expire(aging, key, len, 50000))
KEYS(persist, aging, kv_persist(aging, key, len))
KEYS(touch, aging, kv_touch(aging, key, len, 200000, 1))
KEYS(has_pair, pairs, kv_multi_has(pairs, key, len, "v", 1))
KEYS(count_pairs, pairs, kv_multi_count(pairs, key, len, &number))
KEYS(put_pair, pairs, kv_multi_put(pairs, key, len, "v", 1))
KEYS(del_key, pairs, kv_multi_del_key(pairs, key, len, &number))

static int del_pair(void)
{
    char key[16], value[16];
    int rc = KV_OK;
    for (unsigned i = 0; rc == KV_OK && i < ENTRIES; i += STEP) {
        size_t len = key_of(i / PAIRS, key);
        rc = done(kv_multi_del(pairs, key, len, value, key_of(i, value)));
    }
    return rc;
}

static int put_many(void)
{
    static char keys[ENTRIES][16];
    static kv_pair many[ENTRIES];
    for (unsigned i = 0; i < ENTRIES; i++)
        many[i] = (kv_pair){{keys[i], key_of(i * 31 % ENTRIES, keys[i])}, {"new", 3}};
    return kv_put_many(plain, ENTRIES, many, 0);
}

static int get_many(void)
{
    static char keys[ENTRIES][16];
    static kv_slice names[ENTRIES], values[ENTRIES];
    static int results[ENTRIES];
    for (unsigned i = 0; i < ENTRIES; i++)
        names[i] = (kv_slice){keys[i], key_of(i * 31 % ENTRIES, keys[i])};
    int rc = kv_get_many(plain, ENTRIES, names, values, results);
    for (unsigned i = 0; rc == KV_OK && i < ENTRIES; i++)
        if (results[i] == KV_OK)
            tell(values[i].ptr, values[i].len);
    return rc;
}

/* Of a range that begins and ends inside leaves. */
#define RANGE                                                                                      \
    {                                                                                              \
        .size = sizeof(kv_range), .from = "key00011", .from_len = 8, .to = "key00250x",            \
        .to_len = 9                                                                                \
    }
static const kv_range middle = RANGE;
static const kv_range limited = {
    .size = sizeof limited, .prefix = "key", .prefix_len = 3, .limit = 200};
static const kv_range down = {.size = sizeof down, .flags = KV_RANGE_REVERSE};
static kv_pair pair;

/* An answer for each kind of tree. */
#define TREES(name, call)                                                                          \
    static int name(void)                                                                          \
    {                                                                                              \
        kv_tree *trees[] = {plain, aging, pairs};                                                  \
        int rc = KV_OK;                                                                            \
        for (size_t i = 0; rc == KV_OK && i < KVI_COUNT(trees); i++) {                             \
            kv_tree *tree = trees[i];                                                              \
            rc = done(call);                                                                       \
        }                                                                                          \
        return rc;                                                                                 \
    }

static int told_pair(int rc)
{
    if (rc == KV_OK)
        tell_pair(&pair);
    return rc;
}

static int told_number(int rc)
{
    if (rc == KV_OK)
        tell_number(number);
    return rc;
}

static int split(kv_tree *tree, const kv_range *range, size_t parts)
{
    kv_slice keys[8];
    char buf[400];
    size_t got;
    int rc = kv_split(tree, range, parts, keys, buf, sizeof buf, &got);
    for (size_t i = 0; rc == KV_OK && i < got; i++)
        tell(keys[i].ptr, keys[i].len);
    return rc;
}

static int range_sizes(kv_tree *tree)
{
    kv_sizes sizes = {.size = sizeof sizes};
    int rc = kv_range_sizes(tree, &middle, &sizes);
    if (rc == KV_OK)
        tell(&sizes, sizeof sizes);
    return rc;
}

TREES(count, told_number(kv_count(tree, &middle, &number)))
TREES(nth, told_pair(kv_nth(tree, &middle, 42, &pair))) /* large, in one */
TREES(nth_last, told_pair(kv_nth(tree, NULL, ENTRIES / 2, &pair)))
TREES(random_entry, told_pair(kv_random(tree, &middle, UINT64_MAX / 3, &pair)))
TREES(percentile, told_pair(kv_percentile(tree, &middle, 40, &pair)))
TREES(splits, split(tree, &middle, 9))
TREES(halves, split(tree, &down, 2))
TREES(sizes_of, range_sizes(tree))
TREES(del_range, told_number(kv_del_range(tree, &middle, &number)))
TREES(del_limited, told_number(kv_del_range(tree, &limited, &number)))
TREES(clear, kv_tree_clear(tree))
TREES(drop, kv_tree_drop(tree))
TREES(rename_tree, kv_tree_rename(tree, "a", 1))

static int pop(void)
{
    int rc = KV_OK;
    for (unsigned i = 0; rc == KV_OK && i < 100; i++) {
        rc = done(told_pair(kv_pop_first(aging, NULL, &pair)));
        if (rc == KV_OK)
            rc = done(told_pair(kv_pop_last(plain, &middle, &pair)));
    }
    return rc;
}

static int sweep(void)
{
    return kv_sweep(aging, NULL, NULL);
}

static int sweep_all(void)
{
    return kv_sweep_all(txn, NULL, NULL);
}

/* ---- cursors ---- */

static int at_cursor(int rc)
{
    if (rc == KV_OK)
        rc = kv_cursor_get(cursor, &pair.key, &pair.value);
    return told_pair(rc);
}

/* All that steps of one kind come to. */
static int walk(kv_tree *tree, const kv_range *range, int (*step)(kv_cursor *cursor))
{
    int rc = kv_cursor_open(tree, range, &cursor);
    while (rc == KV_OK)
        rc = at_cursor(step(cursor));
    return rc;
}

static int read_some(kv_tree *tree, const kv_range *range)
{
    kv_pair some[17];
    size_t got = 1;
    int rc = kv_cursor_open(tree, range, &cursor);
    while (rc == KV_OK && got > 0) {
        rc = kv_cursor_read(cursor, some, KVI_COUNT(some), &got);
        for (size_t i = 0; rc == KV_OK && i < got; i++)
            tell_pair(&some[i]);
    }
    return rc;
}

static int seek(kv_tree *tree, enum kv_seek how)
{
    char key[16];
    int rc = kv_cursor_open(tree, NULL, &cursor);
    for (unsigned i = 0; rc == KV_OK && i < ENTRIES; i += STEP)
        rc = done(at_cursor(kv_cursor_seek(cursor, how, key, key_of(i, key))));
    return rc;
}

static int jump(kv_tree *tree)
{
    kv_sizes sizes = {.size = sizeof sizes};
    int rc = kv_cursor_open(tree, &middle, &cursor);
    if (rc == KV_OK)
        rc = at_cursor(kv_cursor_nth(cursor, 50));
    if (rc == KV_OK)
        rc = told_entry(kv_cursor_info(cursor, &entry));
    if (rc == KV_OK)
        rc = kv_cursor_sizes(cursor, &sizes);
    if (rc == KV_OK)
        rc = at_cursor(kv_cursor_last(cursor));
    return rc;
}

TREES(forward, walk(tree, NULL, kv_cursor_next))
TREES(backward, walk(tree, NULL, kv_cursor_prev))
TREES(forward_inside, walk(tree, &middle, kv_cursor_next))
TREES(backward_inside, walk(tree, &middle, kv_cursor_prev))
TREES(read_all, read_some(tree, NULL))
TREES(read_inside, read_some(tree, &middle))
TREES(seek_equal, seek(tree, KV_SEEK_EQ))
TREES(seek_up, seek(tree, KV_SEEK_GE))
TREES(seek_down, seek(tree, KV_SEEK_LT))
TREES(jumps, jump(tree))

static int next_keys(void)
{
    return done(walk(pairs, NULL, kv_cursor_next_key));
}

static int prev_keys(void)
{
    return done(walk(pairs, NULL, kv_cursor_prev_key));
}

static int seek_pairs(void)
{
    char key[16], value[16];
    int rc = kv_cursor_open(pairs, NULL, &cursor);
    for (unsigned i = 0; rc == KV_OK && i < ENTRIES; i += STEP) {
        size_t len = key_of(i / PAIRS, key);
        rc = kv_cursor_seek_pair(cursor, KV_SEEK_EQ, key, len, value, key_of(i, value));
        rc = done(at_cursor(rc));
    }
    return rc;
}

/* Each second entry goes away, of pairs all; every third one changes. */
static int edit(kv_tree *tree)
{
    int rc = kv_cursor_open(tree, NULL, &cursor);
    for (unsigned i = 0; rc == KV_OK && (rc = kv_cursor_next(cursor)) == KV_OK; i++) {
        if (i % 2 == 0 || tree == pairs)
            rc = kv_cursor_del(cursor);
        else if (i % 3 == 0 && tree != pairs)
            rc = kv_cursor_put(cursor, "new", 3);
    }
    return rc;
}

TREES(edits, edit(tree))

/* ---- the whole ---- */

static int on_change(void *context, const kv_change *change)
{
    tell(change->key.ptr, change->key.len);
    tell(change->new_value.ptr, change->new_value.len);
    return 0;
}

static int diff_of(const char *tree)
{
    kv_diff_options options = {.size = sizeof options,
                               .change = on_change,
                               .tree = tree,
                               .tree_len = tree ? strlen(tree) : 0};
    int rc = kv_diff(then, txn, &options, NULL);
    return rc == KV_OK ? kv_diff(txn, then, &options, NULL) : rc;
}

static int diff_all(void)
{
    return diff_of(NULL);
}

static int diff_one(void)
{
    return diff_of("a tree 1");
}

static int diff_none(void)
{
    return done(diff_of("a tree that never was"));
}

static int diff_inside(void)
{
    kv_diff_options options = {.size = sizeof options, .range = &middle, .change = on_change};
    return kv_diff(then, txn, &options, NULL);
}

static int back_up(uint64_t since)
{
    parcel p = {0};
    int rc = parcel_pack(&p, txn, since, NULL);
    if (rc == KV_OK)
        tell(p.bytes, p.len);
    parcel_free(&p);
    return rc;
}

static int backup_all(void)
{
    return back_up(0);
}

static int backup_newest(void)
{
    return back_up(kv_txn_id(then));
}

static int on_name(void *context, kv_slice name)
{
    tell(name.ptr, name.len);
    return 0;
}

static int list(void)
{
    return kv_tree_list(txn, on_name, NULL);
}

static int open_trees(void)
{
    kv_tree *tree;
    char name[16];
    int rc = KV_OK;
    for (unsigned i = 0; rc == KV_OK && i < 42; i++) {
        int len = snprintf(name, sizeof name, "a tree %u", i);
        rc = done(kv_tree_open(txn, name, (size_t)len, 0, NULL, &tree));
    }
    return rc;
}

static int create_trees(void)
{
    kv_tree *tree;
    char name[16];
    int rc = KV_OK;
    for (unsigned i = 0; rc == KV_OK && i < 42; i++) {
        int len = snprintf(name, sizeof name, "a tree %ua", i);
        rc = kv_tree_open(txn, name, (size_t)len, KV_TREE_CREATE, NULL, &tree);
        if (rc == KV_OK)
            rc = done(kv_tree_rename(tree, name, (size_t)len - 1));
    }
    return rc;
}

static int commit(void)
{
    kv_txn *own = txn;
    int rc = put();
    if (rc != KV_OK)
        return rc;
    txn = NULL;
    return kv_txn_commit(own);
}

static int on_snapshot(void *context, const kv_snapshot_info *info)
{
    tell(info->name.ptr, info->name.len);
    return 0;
}

static int list_snapshots(void)
{
    return kv_snapshot_list(db, on_snapshot, NULL);
}

static int open_snapshots(void)
{
    char name[16];
    int rc = KV_OK;
    for (unsigned i = 0; rc == KV_OK && i < 21; i++) {
        kv_txn *past;
        int len = snprintf(name, sizeof name, "snapshot %u", i);
        rc = done(kv_snapshot_open(db, name, (size_t)len, &past));
        kv_txn_abort(past);
    }
    return rc;
}

static int copy_as(uint32_t flags)
{
    const kvi_os *os = sim_os(disk);
    int rc = kv_txn_copy(txn, "copy", flags);
    os->unlink(os, "copy");
    return rc;
}

static int copy_pages(void)
{
    return copy_as(0);
}

static int copy_compact(void)
{
    return copy_as(KV_COPY_COMPACT);
}

/* Calls that begin a transaction of their own. */
static int change_snapshots(void)
{
    char name[16];
    int rc = kv_snapshot_restore(db, "then", 4, 0);
    for (unsigned i = 0; rc == KV_OK && i < 20; i += 3) {
        int len = snprintf(name, sizeof name, "snapshot %u", i);
        rc = done(kv_snapshot_drop(db, name, (size_t)len, 0));
        if (rc == KV_OK)
            rc = done(kv_snapshot_create(db, name, (size_t)len - 1, 0));
    }
    return rc;
}

static int batch(void)
{
    kv_slice in_plain = {"plain", 5}, in_pairs = {"pairs", 5};
    kv_op ops[] = {
        {.kind = KV_OP_CHECK_PRESENT, .tree = in_plain, .key = {"key00001", 8}},
        {.kind = KV_OP_CHECK_PRESENT, .tree = in_pairs, .key = {"key00003", 8}},
        {.kind = KV_OP_CHECK_ABSENT, .tree = in_plain, .key = {"key0", 4}},
        {.kind = KV_OP_POP_FIRST, .flags = KV_OP_PREFIX, .tree = in_plain, .key = {"key001", 6}},
        {.kind = KV_OP_POP_LAST, .tree = in_plain, .key = {"key00100", 8}},
        {.kind = KV_OP_DEL_PREFIX, .tree = in_plain, .key = {"key0015", 7}},
        {.kind = KV_OP_DEL_RANGE, .tree = in_pairs, .key = {"key00005", 8}, .end = {"key00009", 8}},
        {.kind = KV_OP_MULTI_DEL_KEY, .tree = in_pairs, .key = {"key00015", 8}},
    };
    return kv_db_write(db, ops, KVI_COUNT(ops), 0, NULL);
}

/* ---- one call, all pages ---- */

enum mode { READS, CHANGES, ALONE };

typedef struct call {
    const char *name;
    int (*run)(void);
    enum mode mode;
} call;

#define CALL(name, mode)                                                                           \
    {                                                                                              \
#name, name, mode                                                                          \
    }

static const call calls[] = {
    CALL(get, READS),
    CALL(get_aging, READS),
    CALL(get_info, READS),
    CALL(ttl, READS),
    CALL(rank_plain, READS),
    CALL(rank_aging, READS),
    CALL(rank_pairs, READS),
    CALL(get_many, READS),
    CALL(has_pair, READS),
    CALL(count_pairs, READS),
    CALL(count, READS),
    CALL(nth, READS),
    CALL(nth_last, READS),
    CALL(random_entry, READS),
    CALL(percentile, READS),
    CALL(splits, READS),
    CALL(halves, READS),
    CALL(sizes_of, READS),
    CALL(forward, READS),
    CALL(backward, READS),
    CALL(forward_inside, READS),
    CALL(backward_inside, READS),
    CALL(read_all, READS),
    CALL(read_inside, READS),
    CALL(seek_equal, READS),
    CALL(seek_up, READS),
    CALL(seek_down, READS),
    CALL(jumps, READS),
    CALL(next_keys, READS),
    CALL(prev_keys, READS),
    CALL(seek_pairs, READS),
    CALL(diff_all, READS),
    CALL(diff_one, READS),
    CALL(diff_none, READS),
    CALL(diff_inside, READS),
    CALL(backup_all, READS),
    CALL(backup_newest, READS),
    CALL(list, READS),
    CALL(open_trees, READS),
    CALL(list_snapshots, READS),
    CALL(open_snapshots, READS),
    CALL(copy_pages, READS),
    CALL(copy_compact, READS),
    CALL(put, CHANGES),
    CALL(put_aging, CHANGES),
    CALL(put_absent, CHANGES),
    CALL(del, CHANGES),
    CALL(cas, CHANGES),
    CALL(swap, CHANGES),
    CALL(take, CHANGES),
    CALL(update, CHANGES),
    CALL(append, CHANGES),
    CALL(bits, CHANGES),
    CALL(expire, CHANGES),
    CALL(persist, CHANGES),
    CALL(touch, CHANGES),
    CALL(put_pair, CHANGES),
    CALL(del_pair, CHANGES),
    CALL(del_key, CHANGES),
    CALL(put_many, CHANGES),
    CALL(del_range, CHANGES),
    CALL(del_limited, CHANGES),
    CALL(clear, CHANGES),
    CALL(drop, CHANGES),
    CALL(rename_tree, CHANGES),
    CALL(pop, CHANGES),
    CALL(sweep, CHANGES),
    CALL(sweep_all, CHANGES),
    CALL(edits, CHANGES),
    CALL(create_trees, CHANGES),
    CALL(commit, CHANGES),
    CALL(change_snapshots, ALONE),
    CALL(batch, ALONE),
};

/* What is wanted of the trees; false: a damaged page was met already. */
static bool begin(enum mode mode)
{
    if (mode == ALONE)
        return true;
    txn = must_begin(db, mode == READS ? 0 : KV_TXN_WRITE);
    int rc = kv_snapshot_open(db, "then", 4, &then);
    if (rc == KV_OK)
        rc = kv_tree_open(txn, "plain", 5, 0, NULL, &plain);
    if (rc == KV_OK)
        rc = kv_tree_open(txn, "aging", 5, 0, NULL, &aging);
    if (rc == KV_OK)
        rc = kv_tree_open(txn, "pairs", 5, 0, NULL, &pairs);
    assert_true(rc == KV_OK || rc == KV_ECORRUPT);
    return rc == KV_OK;
}

static void end(void)
{
    kv_txn_abort(txn);
    kv_txn_abort(then);
    txn = then = NULL;
}

static uint8_t *page_at(kvi_pgno page)
{
    return disk->files[sim_find(disk, PATH)].bytes + page * PAGE_SIZE;
}

static void damage(kvi_pgno page)
{
    page_at(page)[PAGE_SIZE / 2] ^= 0x55;
}

/* The file, some time later, with this page damaged; 0: none. */
static void put_file(kvi_pgno page)
{
    sim_reset(disk);
    disk->clock_ms += 5000;
    sim_put_file(disk, PATH, sound.ptr, sound.len);
    if (page)
        damage(page);
}

/* The result of a call on such a file. Whether it could be asked at all: *asked. */
static int run_on(const call *c, kvi_pgno page, bool *asked)
{
    int rc = KV_ECORRUPT;
    put_file(page);
    open_db();
    told = 0;
    *asked = begin(c->mode);
    if (*asked)
        rc = c->run();
    end();
    assert_int_equal(kv_db_close(db), KV_OK);
    return rc;
}

static void test_one_page(void **state)
{
    for (size_t i = 0; i < KVI_COUNT(calls); i++) {
        const call *c = &calls[i];
        bool asked;
        unsigned complaints = 0;
        assert_int_equal(run_on(c, 0, &asked), KV_OK);
        uint64_t right = told;
        for (kvi_pgno page = kvi_first_page(PAGE_SIZE); page < sound.len / PAGE_SIZE; page++) {
            int rc = run_on(c, page, &asked);
            if (rc != KV_ECORRUPT && (rc != KV_OK || told != right))
                fail_msg("%s, page %llu damaged: %d, or a wrong answer", c->name,
                         (unsigned long long)page, rc);
            complaints += asked && rc == KV_ECORRUPT;
        }
        if (complaints == 0)
            fail_msg("%s met no damaged page", c->name);
    }
}

/* ---- entries that are no pairs ---- */

static int past_key(void)
{
    int rc = kv_cursor_open(pairs, NULL, &cursor);
    if (rc == KV_OK)
        rc = kv_cursor_first(cursor);
    return rc == KV_OK ? kv_cursor_next_key(cursor) : rc;
}

/* A tree of plain entries, whose descriptor calls them pairs. */
static void put_no_pairs(void)
{
    surgeon s;
    kvi_pgno leaf;
    kvi_tree_desc desc;
    sim_reset(disk);
    open_db();
    txn = must_begin(db, KV_TXN_WRITE);
    plain = make("plain", 0);
    for (unsigned i = 0; i < ENTRIES; i++)
        put_value(plain, i, 0);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_snapshot_create(db, "then", 4, 0), KV_OK);
    must_put(db, "plain", "key", "v", 1);
    assert_int_equal(kv_db_close(db), KV_OK);
    kvi_slice file = sim_get_file(disk, PATH);
    surgeon_take(&s, file.ptr, file.len);
    uint8_t *bytes = surgeon_catalog(&s, 0, &leaf, &desc);
    desc.flags |= KVI_TREE_MULTI;
    kvi_tree_desc_encode(&desc, bytes);
    surgeon_stamp(&s, leaf);
    sim_put_file(disk, PATH, s.bytes, s.size);
    surgeon_free(&s);
}

static void test_no_pairs(void **state)
{
    static int (*const works[])(void) = {forward, backward, read_all, nth,
                                         splits,  past_key, seek_up,  diff_all};
    for (size_t i = 0; i < KVI_COUNT(works); i++) {
        put_no_pairs();
        open_db();
        txn = must_begin(db, KV_TXN_READ);
        assert_int_equal(kv_snapshot_open(db, "then", 4, &then), KV_OK);
        assert_int_equal(kv_tree_open(txn, "plain", 5, KV_TREE_MULTI, NULL, &pairs), KV_OK);
        plain = aging = pairs;
        if (works[i]() != KV_ECORRUPT)
            fail_msg("call %zu takes anything for a pair", i);
        end();
        assert_int_equal(kv_db_close(db), KV_OK);
    }
}

/* A descriptor in the catalog, the snapshot's or today's, leads out of the file. */
static void test_broken_descriptors(void **state)
{
    for (int today = 0; today < 2; today++) {
        surgeon s;
        bool special;
        surgeon_take(&s, sound.ptr, sound.len);
        sim_put_file(disk, PATH, s.bytes, s.size);
        open_db();
        txn = must_begin(db, KV_TXN_READ);
        assert_int_equal(kv_snapshot_open(db, "then", 4, &then), KV_OK);
        kvi_tree_desc catalog = (today ? txn : then)->base.catalog;
        end();
        assert_int_equal(kv_db_close(db), KV_OK);
        kvi_pgno leaf = surgeon_node(&s, &catalog, 0, 0).page;
        kvi_slice value = kvi_leaf_value(surgeon_page(&s, leaf), PAGE_SIZE, 0, &special);
        kvi_put48(s.bytes + (value.ptr - s.bytes) + KVI_T_root, s.meta.high_water);
        surgeon_stamp(&s, leaf);
        sim_put_file(disk, PATH, s.bytes, s.size);
        surgeon_free(&s);
        open_db();
        txn = must_begin(db, KV_TXN_READ);
        assert_int_equal(kv_snapshot_open(db, "then", 4, &then), KV_OK);
        assert_int_equal(diff_all(), KV_ECORRUPT);
        assert_int_equal(diff_one(), KV_OK); /* of a tree that is sound */
        end();
        assert_int_equal(kv_db_close(db), KV_OK);
    }
}

/* What was compressed is no longer what the library writes, behind a right checksum. */
static void test_no_compressed_bytes(void **state)
{
    surgeon s;
    kvi_pgno leaf;
    uint8_t *stored;
    kvi_entry parsed;
    kv_slice value;
    char key[16], message[200];
    unsigned broken = 0;
    surgeon_take(&s, sound.ptr, sound.len);
    sim_put_file(disk, PATH, s.bytes, s.size);
    open_db();
    txn = must_begin(db, KV_TXN_READ);
    kvi_tree_desc desc = must_tree(txn, "plain")->desc;
    end();
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_true(surgeon_find(&s, &desc, KVI_ENTRY_COMPRESSED, &leaf, &stored, &parsed));
    memset(stored + (parsed.payload.ptr - stored), 0xff, parsed.payload.len);
    surgeon_stamp(&s, leaf);
    sim_put_file(disk, PATH, s.bytes, s.size);
    surgeon_free(&s);
    open_db();
    txn = must_begin(db, KV_TXN_READ);
    plain = must_tree(txn, "plain");
    for (unsigned i = 0; i < ENTRIES; i++) {
        int rc = kv_get(plain, key, key_of(i, key), &value);
        assert_true(rc == KV_OK || rc == KV_ECORRUPT);
        if (rc == KV_ECORRUPT) {
            kv_db_errmsg(db, message, sizeof message);
            assert_non_null(strstr(message, "decompress"));
            broken++;
        }
    }
    assert_int_equal(broken, 1);
    end();
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* The last leaf's keys lie in front of its separator. The next key in ascending order opens no new leaf
 * there, whose own separator would not be in order: each node stays sound by itself. */
static void test_ascending_behind_a_wrong_separator(void **state)
{
    static const uint8_t value[200];
    uint8_t room[PAGE_SIZE];
    for (unsigned n = 8 * PAGE_SIZE / 400; n < 12 * PAGE_SIZE / 400;
         n++) { /* the leaf is full for some */
        surgeon s;
        char message[200] = "", key[16];
        sim_reset(disk);
        open_db();
        txn = must_begin(db, KV_TXN_WRITE);
        for (unsigned i = 0; i < n; i++)
            assert_int_equal(kv_put(kv_txn_main(txn), key, key_of(i, key), value, 100, 0), KV_OK);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        assert_int_equal(kv_db_close(db), KV_OK);
        kvi_slice file = sim_get_file(disk, PATH);
        surgeon_take(&s, file.ptr, file.len);
        kvi_pgno root = s.meta.main.root.page;
        uint8_t *page = surgeon_page(&s, root);
        unsigned last = kvi_node_count(page) - 1;
        assert_int_equal(s.meta.main.level, 1);
        assert_true(last >
                    0); /* separators of several lengths: none is made as long as the others */
        assert_true(kvi_branch_set_key(page, PAGE_SIZE, room, last, kvi_slice_of("zz", 2)));
        surgeon_stamp(&s, root);
        sim_put_file(disk, PATH, s.bytes, s.size);
        surgeon_free(&s);
        open_db();
        txn = must_begin(db, KV_TXN_WRITE);
        assert_int_equal(kv_put(kv_txn_main(txn), "zz", 2, value, sizeof value, 0), KV_OK);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        txn = NULL;
        assert_int_equal(kv_db_check(db, NULL), KV_ECORRUPT);
        kv_db_errmsg(db, message, sizeof message);
        assert_non_null(strstr(message, "smaller than the separator"));
        assert_null(strstr(message, "breaks N"));
        assert_int_equal(kv_db_close(db), KV_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_page),
        cmocka_unit_test(test_no_pairs),
        cmocka_unit_test(test_broken_descriptors),
        cmocka_unit_test(test_no_compressed_bytes),
        cmocka_unit_test(test_ascending_behind_a_wrong_separator),
    };
    return cmocka_run_group_tests_name("damaged_calls", tests, setup, teardown);
}
