/* Every public call as it must not be made: with wrong arguments, in a child of fork, in a
 * transaction that failed, on a tree that is gone, for a change where only reading is allowed. What a
 * call answers is documented in kv.h; that nothing else happens shows in the end. */
#include "path.h"
#include "sharing_machine.h"

static kv_db *db;
static kv_txn *txn, *reader;         /* a write transaction; a read transaction */
static kv_tree *tree, *many;         /* of txn: one value for a key, several */
static kv_cursor *cursor, *cursor_m; /* on an entry of each */
static kv_watch *watch;

/* What calls write to. */
static kv_txn *txn_out;
static kv_tree *tree_out;
static kv_cursor *cursor_out;
static kv_watch *watch_out;
static kv_slice slice_out;
static kv_pair pair_out;
static void *place_out;
static uint32_t savepoint_out;
static uint64_t out;
static int64_t number_out;
static double real_out;
static size_t size_out;
static int result_out;

static kv_slice a_key = {"k", 1}, wrong_slice = {NULL, 1};
static kv_pair a_pair = {{"k", 1}, {"v", 1}};
static kv_pair wrong_pairs[2] = {{{NULL, 1}, {"v", 1}}, {{"k", 1}, {NULL, 1}}};
static kv_tree_info tree_info = {.size = sizeof tree_info};
static kv_entry_info entry_info = {.size = sizeof entry_info};
static kv_db_info db_info = {.size = sizeof db_info};
static kv_sizes sizes = {.size = sizeof sizes};
static kv_tree_options tree_options = {.size = sizeof tree_options};

static int on_reader(void *context, const kv_reader_info *info)
{
    return 0;
}

static int on_snapshot(void *context, const kv_snapshot_info *info)
{
    return 0;
}

static int on_name(void *context, kv_slice name)
{
    return 0;
}

static int on_update(void *context, const kv_slice *old, kv_slice *value)
{
    return KV_UPDATE_KEEP;
}

static int on_bytes(void *context, const void *bytes, size_t len)
{
    return 0;
}

static int64_t on_read(void *context, void *bytes, size_t len)
{
    return 0;
}

static kv_backup_options backup = {.size = sizeof backup, .write = on_bytes};
static kv_apply_options apply = {.size = sizeof apply, .read = on_read};

static int64_t on_read_of(void *context, size_t which, void *bytes, size_t len)
{
    return 0;
}

static const kv_merge_options merge = {
    .size = sizeof merge, .n = 2, .read = on_read_of, .write = on_bytes};
static const kv_merge_options wrong_merges[] = {
    {.size = 1, .n = 2, .read = on_read_of, .write = on_bytes},
    {.size = sizeof merge, .read = on_read_of, .write = on_bytes},
    {.size = sizeof merge, .n = 2, .write = on_bytes},
    {.size = sizeof merge, .n = 2, .read = on_read_of},
};

/* ---- the calls ---- */

#define DB_CALLS(X)                                                                                \
    X(kv_db_stat(db, &db_info))                                                                    \
    X(kv_db_readers(db, on_reader, NULL))                                                          \
    X(kv_db_check(db, NULL))                                                                       \
    X(kv_db_copy(db, other, 0))                                                                    \
    X(kv_db_copy_fd(db, 1, 0))                                                                     \
    X(kv_txn_begin(db, 0, &txn_out))                                                               \
    X(kv_snapshot_open(db, "s", 1, &txn_out))                                                      \
    X(kv_snapshot_list(db, on_snapshot, NULL))                                                     \
    X(kv_db_wait(db, 0, 0, NULL))                                                                  \
    X(kv_watch_open(db, NULL, &watch_out))

#define DB_CHANGES(X)                                                                              \
    X(kv_db_sync(db))                                                                              \
    X(kv_db_reset_clock(db, 0))                                                                    \
    X(kv_db_compact(db, NULL, NULL))                                                               \
    X(kv_txn_begin(db, KV_TXN_WRITE, &txn_out))                                                    \
    X(kv_txn_begin_wait(db, 0, 0, &txn_out))                                                       \
    X(kv_snapshot_create(db, "s", 1, 0))                                                           \
    X(kv_snapshot_drop(db, "s", 1, 0))                                                             \
    X(kv_snapshot_restore(db, "s", 1, 0))                                                          \
    X(kv_backup_apply(db, &apply, NULL))                                                           \
    X(kv_db_write(db, NULL, 0, 0, NULL))

#define READER_CALLS(X)                                                                            \
    X(kv_txn_refresh(reader))                                                                      \
    X(kv_txn_copy(reader, other, 0))                                                               \
    X(kv_txn_copy_fd(reader, 1, 0))                                                                \
    X(kv_backup(reader, &backup, NULL))                                                            \
    X(kv_diff(reader, reader, NULL, NULL))                                                         \
    X(kv_watch_next(watch, 0, NULL))

#define TXN_CALLS(X)                                                                               \
    X(kv_txn_savepoint(txn, &savepoint_out))                                                       \
    X(kv_txn_rollback_to(txn, 0))                                                                  \
    X(kv_txn_release(txn, 0))                                                                      \
    X(kv_tree_open(txn, "t", 1, 0, NULL, &tree_out))                                               \
    X(kv_tree_list(txn, on_name, NULL))                                                            \
    X(kv_sweep_all(txn, NULL, NULL))

/* Of a tree with one value for a key. */
#define SINGLE_READS(X)                                                                            \
    X(kv_get(tree, "k", 1, &slice_out))                                                            \
    X(kv_exists(tree, "k", 1))                                                                     \
    X(kv_get_info(tree, "k", 1, &entry_info))                                                      \
    X(kv_ttl(tree, "k", 1, &out))                                                                  \
    X(kv_get_many(tree, 1, &a_key, &slice_out, &result_out))

#define SINGLE_CHANGES(X)                                                                          \
    X(kv_put(tree, "k", 1, "v", 1, 0))                                                             \
    X(kv_reserve(tree, "k", 1, 1, 0, &place_out))                                                  \
    X(kv_del(tree, "k", 1))                                                                        \
    X(kv_put_with(tree, "k", 1, "v", 1, NULL))                                                     \
    X(kv_cas(tree, "k", 1, NULL, &a_key, NULL))                                                    \
    X(kv_swap(tree, "k", 1, &a_key, &slice_out))                                                   \
    X(kv_take(tree, "k", 1, &slice_out))                                                           \
    X(kv_update(tree, "k", 1, on_update, NULL))                                                    \
    X(kv_incr(tree, "n", 1, 1, 0, 0, &number_out))                                                 \
    X(kv_incr_double(tree, "d", 1, 1, 0, 0, &real_out))                                            \
    X(kv_put_min(tree, "n", 1, 1, 0, &number_out))                                                 \
    X(kv_put_max(tree, "n", 1, 1, 0, &number_out))                                                 \
    X(kv_append(tree, "k", 1, "v", 1, 0, &out))                                                    \
    X(kv_bits(tree, "k", 1, KV_BITS_OR, "v", 1))                                                   \
    X(kv_expire(tree, "k", 1, 1000))                                                               \
    X(kv_expire_at(tree, "k", 1, 1))                                                               \
    X(kv_persist(tree, "k", 1))                                                                    \
    X(kv_touch(tree, "k", 1, 1000, 0))                                                             \
    X(kv_sweep(tree, NULL, NULL))                                                                  \
    X(kv_put_many(tree, 1, &a_pair, 0))                                                            \
    X(kv_pop_first(tree, NULL, &pair_out))                                                         \
    X(kv_pop_last(tree, NULL, &pair_out))

/* Of any tree. */
#define TREE_READS(X)                                                                              \
    X(kv_count(tree, NULL, &out))                                                                  \
    X(kv_rank(tree, "k", 1, &out))                                                                 \
    X(kv_nth(tree, NULL, 0, &pair_out))                                                            \
    X(kv_random(tree, NULL, 0, &pair_out))                                                         \
    X(kv_percentile(tree, NULL, 50, &pair_out))                                                    \
    X(kv_split(tree, NULL, 1, NULL, NULL, 0, &size_out))                                           \
    X(kv_range_sizes(tree, NULL, &sizes))                                                          \
    X(kv_tree_stat(tree, &tree_info))                                                              \
    X(kv_cursor_open(tree, NULL, &cursor_out))                                                     \
    X(kv_cursor_first(cursor))                                                                     \
    X(kv_cursor_last(cursor))                                                                      \
    X(kv_cursor_next(cursor))                                                                      \
    X(kv_cursor_prev(cursor))                                                                      \
    X(kv_cursor_seek(cursor, KV_SEEK_EQ, "k", 1))                                                  \
    X(kv_cursor_nth(cursor, 0))                                                                    \
    X(kv_cursor_get(cursor, &slice_out, NULL))                                                     \
    X(kv_cursor_info(cursor, &entry_info))                                                         \
    X(kv_cursor_read(cursor, &pair_out, 1, &size_out))                                             \
    X(kv_cursor_sizes(cursor, &sizes))

#define TREE_CHANGES(X)                                                                            \
    X(kv_del_range(tree, NULL, &out))                                                              \
    X(kv_cursor_put(cursor, "v", 1))                                                               \
    X(kv_cursor_del(cursor))                                                                       \
    X(kv_tree_configure(tree, &tree_options))                                                      \
    X(kv_tree_clear(tree))

#define NAME_CHANGES(X)                                                                            \
    X(kv_tree_rename(tree, "u", 1))                                                                \
    X(kv_tree_drop(tree))

#define MULTI_READS(X)                                                                             \
    X(kv_multi_has(many, "k", 1, "v", 1))                                                          \
    X(kv_multi_count(many, "k", 1, &out))                                                          \
    X(kv_cursor_seek_pair(cursor_m, KV_SEEK_EQ, "k", 1, "v", 1))                                   \
    X(kv_cursor_next_key(cursor_m))                                                                \
    X(kv_cursor_prev_key(cursor_m))                                                                \
    X(kv_cursor_get(cursor_m, &slice_out, NULL))

#define MULTI_CHANGES(X)                                                                           \
    X(kv_multi_put(many, "k", 1, "v", 1))                                                          \
    X(kv_multi_del(many, "k", 1, "v", 1))                                                          \
    X(kv_multi_del_key(many, "k", 1, &out))                                                        \
    X(kv_cursor_del(cursor_m))

#define TREE_CALLS(X)                                                                              \
    SINGLE_READS(X)                                                                                \
    SINGLE_CHANGES(X)                                                                              \
    TREE_READS(X)                                                                                  \
    TREE_CHANGES(X)                                                                                \
    NAME_CHANGES(X)                                                                                \
    MULTI_READS(X)                                                                                 \
    MULTI_CHANGES(X)

#define ALL_CALLS(X)                                                                               \
    DB_CALLS(X)                                                                                    \
    DB_CHANGES(X)                                                                                  \
    READER_CALLS(X)                                                                                \
    TXN_CALLS(X)                                                                                   \
    TREE_CALLS(X)

/* ---- judging ---- */

static int wanted;       /* what every call must answer */
static int disappointed; /* that did not */

static void judge(const char *call, int rc)
{
    char sentence[128] = "";
    bool told = rc == KV_EBADTXN;
    if (told) {
        kv_db_errmsg(db, sentence, sizeof sentence);
        (void)kvi_fail(&db->err, KV_EIO, "the one before");
    }
    if (rc == wanted && (!told || strcmp(sentence, kv_strerror(rc)) == 0))
        return;
    fprintf(stderr, "%s: %d, not %d; %s\n", call, rc, wanted, sentence);
    disappointed++;
}

#define ASK(call) judge(#call, call);

static void expect_all(int rc)
{
    wanted = rc;
    disappointed = 0;
}

/* ---- the room ---- */

static void fill(void)
{
    kv_txn *first;
    kv_tree *t;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &first), KV_OK);
    assert_int_equal(kv_put(kv_txn_main(first), "k", 1, "v", 1, 0), KV_OK);
    assert_int_equal(kv_tree_open(first, "t", 1, KV_TREE_CREATE, NULL, &t), KV_OK);
    assert_int_equal(kv_put(t, "k", 1, "v", 1, 0), KV_OK);
    assert_int_equal(kv_tree_open(first, "m", 1, KV_TREE_CREATE | KV_TREE_MULTI, NULL, &t), KV_OK);
    assert_int_equal(kv_multi_put(t, "k", 1, "v", 1), KV_OK);
    assert_int_equal(kv_txn_commit(first), KV_OK);
    assert_int_equal(kv_snapshot_create(db, "s", 1, 0), KV_OK);
}

static void look_at(kv_txn *in)
{
    assert_int_equal(kv_tree_open(in, "t", 1, 0, NULL, &tree), KV_OK);
    assert_int_equal(kv_tree_open(in, "m", 1, 0, NULL, &many), KV_OK);
    assert_int_equal(kv_cursor_open(tree, NULL, &cursor), KV_OK);
    assert_int_equal(kv_cursor_first(cursor), KV_OK);
    assert_int_equal(kv_cursor_open(many, NULL, &cursor_m), KV_OK);
    assert_int_equal(kv_cursor_first(cursor_m), KV_OK);
}

static int open_all(void **state)
{
    fresh(state);
    if (kv_db_open(path, NULL, &db) != KV_OK)
        return -1;
    fill();
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &reader), KV_OK);
    assert_int_equal(kv_watch_open(db, NULL, &watch), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    look_at(txn);
    return 0;
}

static void close_cursors(void)
{
    kv_cursor_close(cursor);
    kv_cursor_close(cursor_m);
}

static int close_all(void **state)
{
    kv_slice value;
    int rc = kv_get(kv_txn_main(reader), "k", 1, &value);
    if (txn)
        close_cursors();
    kv_txn_abort(txn);
    kv_watch_close(watch);
    kv_txn_abort(reader);
    if (rc == KV_OK)
        rc = kv_db_check(db, NULL);
    return rc == KV_OK ? kv_db_close(db) : -1;
}

/* ---- states ---- */

static void forked_child(void)
{
    char text[8] = "-";
    expect_all(KV_EFORKED);
    ALL_CALLS(ASK)
    ASK(kv_txn_commit(reader))
    ASK(kv_txn_commit(txn))
    EXPECT(kv_db_durable_id(db) == 0);
    kv_db_errmsg(db, text, sizeof text);
    EXPECT(strlen(text) == sizeof text - 1);
    kv_watch_cancel(watch);
    kv_txn_abort(txn);
    EXPECT(disappointed == 0);
}

static void test_forked(void **state)
{
    child c = child_start(forked_child);
    int status;
    assert_int_equal(waitpid(c.pid, &status, 0), c.pid);
    assert_int_equal(status, 0);
    close(c.to);
    close(c.from);
}

static void test_failed_transaction(void **state)
{
    assert_int_equal(kvi_txn_spoil(txn, KV_ENOMEM), KV_ENOMEM);
    expect_all(KV_EBADTXN);
    TXN_CALLS(ASK)
    TREE_CALLS(ASK)
    close_cursors();
    ASK(kv_txn_commit(txn))
    txn = NULL;
    assert_int_equal(disappointed, 0);
}

static void test_gone(void **state)
{
    assert_int_equal(kv_tree_drop(tree), KV_OK);
    assert_int_equal(kv_tree_drop(many), KV_OK);
    expect_all(KV_NOTFOUND);
    TREE_CALLS(ASK)
    assert_int_equal(disappointed, 0);
}

static void test_reading_only(void **state)
{
    kv_txn *write = txn;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    kv_db *writable = db;
    close_cursors();
    look_at(reader);
    expect_all(KV_EREADONLY);
    SINGLE_CHANGES(ASK)
    TREE_CHANGES(ASK)
    NAME_CHANGES(ASK)
    MULTI_CHANGES(ASK)
    txn = reader;
    ASK(kv_sweep_all(txn, NULL, NULL))
    close_cursors();
    txn = NULL;
    kv_txn_abort(write);
    assert_int_equal(kv_db_open(path, &options, &db), KV_OK);
    DB_CHANGES(ASK)
    assert_int_equal(kv_db_close(db), KV_OK);
    db = writable;
    assert_int_equal(disappointed, 0);
}

/* Calls for one kind of tree are not for the other. */
static void test_kinds(void **state)
{
    kv_tree *single = tree;
    kv_cursor *on_single = cursor;
    expect_all(KV_EINVAL);
    tree = many;
    cursor = cursor_m;
    SINGLE_READS(ASK)
    SINGLE_CHANGES(ASK)
    ASK(kv_cursor_put(cursor, "v", 1))
    many = single;
    ASK(kv_multi_has(many, "k", 1, "v", 1))
    ASK(kv_multi_count(many, "k", 1, &out))
    ASK(kv_multi_put(many, "k", 1, "v", 1))
    ASK(kv_multi_del(many, "k", 1, "v", 1))
    ASK(kv_multi_del_key(many, "k", 1, &out))
    ASK(kv_cursor_seek_pair(on_single, KV_SEEK_EQ, "k", 1, "v", 1))
    ASK(kv_cursor_next_key(on_single))
    ASK(kv_cursor_prev_key(on_single))
    many = tree;
    tree = single;
    cursor = on_single;
    ASK(kv_tree_rename(kv_txn_main(txn), "u", 1))
    ASK(kv_tree_drop(kv_txn_main(txn)))
    assert_int_equal(disappointed, 0);
}

/* ---- arguments ---- */

/* No handle. */
static void test_nothing(void **state)
{
    kv_db *real_db = db;
    kv_txn *real_txn = txn, *real_reader = reader;
    kv_tree *real_tree = tree, *real_many = many;
    kv_cursor *real_cursor = cursor, *real_cursor_m = cursor_m;
    kv_watch *real_watch = watch;
    db = NULL, txn = reader = NULL, tree = many = NULL, cursor = cursor_m = NULL, watch = NULL;
    expect_all(KV_EINVAL);
    ALL_CALLS(ASK)
    ASK(kv_txn_commit(txn))
    ASK(kv_inspect_check(NULL, NULL))
    ASK(kv_inspect_meta(NULL, 0, NULL))
    ASK(kv_inspect_choose(NULL, 0, other, NULL, 0))
    ASK(kv_inspect_page(NULL, 0, NULL))
    ASK(kv_inspect_bytes(NULL, 0, &out, 8, &size_out))
    ASK(kv_inspect_slots(NULL, 0, NULL, NULL))
    assert_int_equal(kv_inspect_pages(NULL), 0);
    assert_int_equal(kv_db_close(NULL), KV_OK);
    assert_null(kv_txn_main(NULL));
    assert_int_equal(kv_db_durable_id(NULL), 0);
    assert_int_equal(kv_txn_id(NULL), 0);
    assert_int_equal(kv_txn_now(NULL), 0);
    assert_null(kv_watch_txn(NULL));
    kv_db_errmsg(NULL, NULL, 0);
    kv_txn_abort(NULL);
    kv_watch_cancel(NULL);
    kv_watch_close(NULL);
    kv_cursor_close(NULL);
    kv_inspect_close(NULL);
    db = real_db, txn = real_txn, reader = real_reader, tree = real_tree, many = real_many;
    cursor = real_cursor, cursor_m = real_cursor_m, watch = real_watch;
    assert_int_equal(disappointed, 0);
}

/* No bytes where the length says that there are. */
#define NO_KEY(X)                                                                                  \
    X(kv_get(tree, NULL, 1, NULL))                                                                 \
    X(kv_get_info(tree, NULL, 1, &entry_info))                                                     \
    X(kv_ttl(tree, NULL, 1, &out))                                                                 \
    X(kv_get_many(tree, 1, &wrong_slice, NULL, NULL))                                              \
    X(kv_put(tree, NULL, 1, "v", 1, 0))                                                            \
    X(kv_put(tree, "k", 1, NULL, 1, 0))                                                            \
    X(kv_reserve(tree, NULL, 1, 1, 0, &place_out))                                                 \
    X(kv_del(tree, NULL, 1))                                                                       \
    X(kv_put_with(tree, NULL, 1, "v", 1, NULL))                                                    \
    X(kv_put_with(tree, "k", 1, NULL, 1, NULL))                                                    \
    X(kv_cas(tree, NULL, 1, NULL, NULL, NULL))                                                     \
    X(kv_cas(tree, "k", 1, &wrong_slice, NULL, NULL))                                              \
    X(kv_cas(tree, "k", 1, NULL, &wrong_slice, NULL))                                              \
    X(kv_swap(tree, NULL, 1, NULL, &slice_out))                                                    \
    X(kv_swap(tree, "k", 1, &wrong_slice, &slice_out))                                             \
    X(kv_take(tree, NULL, 1, &slice_out))                                                          \
    X(kv_update(tree, NULL, 1, on_update, NULL))                                                   \
    X(kv_incr(tree, NULL, 1, 1, 0, 0, NULL))                                                       \
    X(kv_incr_double(tree, NULL, 1, 1, 0, 0, NULL))                                                \
    X(kv_put_min(tree, NULL, 1, 1, 0, NULL))                                                       \
    X(kv_put_max(tree, NULL, 1, 1, 0, NULL))                                                       \
    X(kv_append(tree, NULL, 1, "v", 1, 0, NULL))                                                   \
    X(kv_append(tree, "k", 1, NULL, 1, 0, NULL))                                                   \
    X(kv_bits(tree, NULL, 1, KV_BITS_OR, "v", 1))                                                  \
    X(kv_bits(tree, "k", 1, KV_BITS_OR, NULL, 1))                                                  \
    X(kv_expire(tree, NULL, 1, 1))                                                                 \
    X(kv_expire_at(tree, NULL, 1, 1))                                                              \
    X(kv_persist(tree, NULL, 1))                                                                   \
    X(kv_touch(tree, NULL, 1, 1, 0))                                                               \
    X(kv_put_many(tree, 1, NULL, 0))                                                               \
    X(kv_put_many(tree, 1, &wrong_pairs[0], 0))                                                    \
    X(kv_put_many(tree, 1, &wrong_pairs[1], 0))                                                    \
    X(kv_rank(tree, NULL, 1, &out))                                                                \
    X(kv_cursor_seek(cursor, KV_SEEK_EQ, NULL, 1))                                                 \
    X(kv_cursor_put(cursor, NULL, 1))                                                              \
    X(kv_multi_put(many, NULL, 1, "v", 1))                                                         \
    X(kv_multi_put(many, "k", 1, NULL, 1))                                                         \
    X(kv_multi_del(many, NULL, 1, "v", 1))                                                         \
    X(kv_multi_del(many, "k", 1, NULL, 1))                                                         \
    X(kv_multi_del_key(many, NULL, 1, NULL))                                                       \
    X(kv_multi_has(many, NULL, 1, "v", 1))                                                         \
    X(kv_multi_has(many, "k", 1, NULL, 1))                                                         \
    X(kv_multi_count(many, NULL, 1, &out))                                                         \
    X(kv_cursor_seek_pair(cursor_m, KV_SEEK_EQ, NULL, 1, "v", 1))                                  \
    X(kv_cursor_seek_pair(cursor_m, KV_SEEK_EQ, "k", 1, NULL, 1))                                  \
    X(kv_tree_open(txn, NULL, 1, 0, NULL, &tree_out))                                              \
    X(kv_tree_rename(tree, NULL, 1))                                                               \
    X(kv_snapshot_create(db, NULL, 1, 0))                                                          \
    X(kv_snapshot_open(db, NULL, 1, &txn_out))

/* Nowhere to put the answer. */
#define NO_PLACE(X)                                                                                \
    X(kv_db_open(path, NULL, NULL))                                                                \
    X(kv_db_stat(db, NULL))                                                                        \
    X(kv_db_readers(db, NULL, NULL))                                                               \
    X(kv_txn_begin(db, 0, NULL))                                                                   \
    X(kv_snapshot_open(db, "s", 1, NULL))                                                          \
    X(kv_snapshot_list(db, NULL, NULL))                                                            \
    X(kv_watch_open(db, NULL, NULL))                                                               \
    X(kv_txn_savepoint(txn, NULL))                                                                 \
    X(kv_tree_open(txn, "t", 1, 0, NULL, NULL))                                                    \
    X(kv_tree_list(txn, NULL, NULL))                                                               \
    X(kv_tree_stat(tree, NULL))                                                                    \
    X(kv_tree_configure(tree, NULL))                                                               \
    X(kv_get_info(tree, "k", 1, NULL))                                                             \
    X(kv_ttl(tree, "k", 1, NULL))                                                                  \
    X(kv_get_many(tree, 1, NULL, NULL, NULL))                                                      \
    X(kv_reserve(tree, "k", 1, 1, 0, NULL))                                                        \
    X(kv_swap(tree, "k", 1, NULL, NULL))                                                           \
    X(kv_take(tree, "k", 1, NULL))                                                                 \
    X(kv_update(tree, "k", 1, NULL, NULL))                                                         \
    X(kv_pop_first(tree, NULL, NULL))                                                              \
    X(kv_count(tree, NULL, NULL))                                                                  \
    X(kv_rank(tree, "k", 1, NULL))                                                                 \
    X(kv_nth(tree, NULL, 0, NULL))                                                                 \
    X(kv_random(tree, NULL, 0, NULL))                                                              \
    X(kv_percentile(tree, NULL, 1, NULL))                                                          \
    X(kv_split(tree, NULL, 1, NULL, NULL, 0, NULL))                                                \
    X(kv_split(tree, NULL, 2, NULL, NULL, 0, &size_out))                                           \
    X(kv_split(tree, NULL, 1, NULL, NULL, 1, &size_out))                                           \
    X(kv_range_sizes(tree, NULL, NULL))                                                            \
    X(kv_cursor_open(tree, NULL, NULL))                                                            \
    X(kv_cursor_info(cursor, NULL))                                                                \
    X(kv_cursor_read(cursor, NULL, 1, &size_out))                                                  \
    X(kv_cursor_read(cursor, &pair_out, 1, NULL))                                                  \
    X(kv_cursor_sizes(cursor, NULL))                                                               \
    X(kv_multi_count(many, "k", 1, NULL))

/* Numbers and flags that nothing has. */
#define NO_SENSE(X)                                                                                \
    X(kv_db_open(NULL, NULL, &(kv_db *){NULL}))                                                    \
    X(kv_txn_begin(db, 1u << 31, &txn_out))                                                        \
    X(kv_txn_begin(db, KV_TXN_LAZY, &txn_out))                                                     \
    X(kv_txn_begin(db, KV_TXN_WRITE | KV_TXN_LAZY | KV_TXN_STRICT, &txn_out))                      \
    X(kv_txn_refresh(txn))                                                                         \
    X(kv_txn_savepoint(reader, &savepoint_out))                                                    \
    X(kv_tree_open(txn, "t", 1, 1u << 31, NULL, &tree_out))                                        \
    X(kv_tree_open(txn, "t", 1, KV_TREE_EXCLUSIVE, NULL, &tree_out))                               \
    X(kv_tree_open(txn, "t", 0, 0, NULL, &tree_out))                                               \
    X(kv_tree_rename(tree, "u", 0))                                                                \
    X(kv_put(tree, "k", 1, "v", 1, 1u << 31))                                                      \
    X(kv_put(tree, "k", 1, "v", 1, KV_PUT_ABSENT | KV_PUT_PRESENT))                                \
    X(kv_reserve(tree, "k", 1, 1, KV_PUT_KEEP_EXPIRY, &place_out))                                 \
    X(kv_reserve(tree, "k", 1, 1, 1u << 31, &place_out))                                           \
    X(kv_put_many(tree, 1, &a_pair, 1u << 31))                                                     \
    X(kv_incr(tree, "n", 1, 1, 0, 1u << 31, NULL))                                                 \
    X(kv_incr_double(tree, "n", 1, 1, 0, 1u << 31, NULL))                                          \
    X(kv_put_min(tree, "n", 1, 1, 1u << 31, NULL))                                                 \
    X(kv_put_max(tree, "n", 1, 1, 1u << 31, NULL))                                                 \
    X(kv_bits(tree, "k", 1, (enum kv_bits)0, "v", 1))                                              \
    X(kv_bits(tree, "k", 1, (enum kv_bits)4, "v", 1))                                              \
    X(kv_percentile(tree, NULL, -1, &pair_out))                                                    \
    X(kv_percentile(tree, NULL, 101, &pair_out))                                                   \
    X(kv_split(tree, NULL, 0, NULL, NULL, 0, &size_out))                                           \
    X(kv_cursor_seek(cursor, (enum kv_seek)3, "k", 1))                                             \
    X(kv_cursor_seek(cursor, (enum kv_seek) - 3, "k", 1))                                          \
    X(kv_cursor_seek_pair(cursor_m, (enum kv_seek)3, "k", 1, "v", 1))                              \
    X(kv_cursor_seek_pair(cursor_m, (enum kv_seek) - 3, "k", 1, "v", 1))                           \
    X(kv_snapshot_create(db, "s", 0, 0))                                                           \
    X(kv_snapshot_create(db, "s", 1, KV_TXN_LAZY))                                                 \
    X(kv_db_reset_clock(db, KV_TXN_WRITE))                                                         \
    X(kv_snapshot_drop(db, "s", 1, KV_TXN_LAZY | KV_TXN_STRICT))                                   \
    X(kv_snapshot_restore(db, "s", 1, 1u << 31))                                                   \
    X(kv_snapshot_open(db, "s", 0, &txn_out))                                                      \
    X(kv_db_write(db, NULL, 1, 0, NULL))                                                           \
    X(kv_db_write(db, NULL, 0, KV_TXN_WRITE, NULL))                                                \
    X(kv_db_write(db, NULL, 0, KV_TXN_LAZY | KV_TXN_STRICT, NULL))                                 \
    X(kv_db_copy(db, NULL, 0))                                                                     \
    X(kv_db_copy(db, "", 0))                                                                       \
    X(kv_db_copy(db, other, 1u << 31))                                                             \
    X(kv_db_copy_fd(db, -1, 0))                                                                    \
    X(kv_db_copy_fd(db, 1, 1u << 31))                                                              \
    X(kv_txn_copy(txn, other, 0))                                                                  \
    X(kv_txn_copy(reader, NULL, 0))                                                                \
    X(kv_txn_copy(reader, "", 0))                                                                  \
    X(kv_txn_copy(reader, other, 1u << 31))                                                        \
    X(kv_txn_copy_fd(txn, 1, 0))                                                                   \
    X(kv_txn_copy_fd(reader, -1, 0))                                                               \
    X(kv_txn_copy_fd(reader, 1, 1u << 31))                                                         \
    X(kv_db_repair(NULL, 0, NULL, NULL))                                                           \
    X(kv_db_repair("", 0, NULL, NULL))                                                             \
    X(kv_db_salvage(NULL, other, NULL, NULL))                                                      \
    X(kv_db_salvage("", other, NULL, NULL))                                                        \
    X(kv_db_salvage(path, NULL, NULL, NULL))                                                       \
    X(kv_db_salvage(path, "", NULL, NULL))                                                         \
    X(kv_inspect_open(NULL, NULL, NULL, 0))                                                        \
    X(kv_inspect_open("", NULL, NULL, 0))                                                          \
    X(kv_inspect_open(path, NULL, NULL, 0))                                                        \
    X(kv_backup(txn, &backup, NULL))                                                               \
    X(kv_backup(reader, NULL, NULL))                                                               \
    X(kv_backup_apply(db, NULL, NULL))                                                             \
    X(kv_diff(txn, reader, NULL, NULL))                                                            \
    X(kv_diff(reader, txn, NULL, NULL))                                                            \
    X(kv_diff(reader, NULL, NULL, NULL))                                                           \
    X(kv_diff(NULL, reader, NULL, NULL))                                                           \
    X(kv_backup_merge(NULL, NULL, NULL, 0))

static void test_wrong(void **state)
{
    expect_all(KV_EINVAL);
    NO_KEY(ASK)
    NO_PLACE(ASK)
    NO_SENSE(ASK)
    assert_int_equal(disappointed, 0);
}

/* Structures that are too small, or have what nothing means. */
static void test_wrong_structures(void **state)
{
    kv_check_options check = {.size = 1};
    kv_compact_options compact = {.size = 1};
    kv_compact_info compact_info = {.size = 1};
    kv_salvage_options salvage = {.size = 1};
    kv_salvage_info salvage_info = {.size = 1};
    kv_write_result written = {.size = sizeof written.size};
    kv_backup_info backup_info = {.size = 1};
    kv_sweep_options sweep = {.size = 1};
    kv_sweep_result swept = {.size = 1};
    kv_watch_event event = {.size = 1};
    kv_diff_info diff_info = {.size = 1};
    kv_inspect *look;
    expect_all(KV_EINVAL);
    ASK(kv_db_stat(db, &(kv_db_info){.size = 1}))
    ASK(kv_tree_stat(tree, &(kv_tree_info){.size = 1}))
    ASK(kv_tree_configure(tree, &(kv_tree_options){.size = 1}))
    ASK(kv_tree_open(txn, "t", 1, 0, &(kv_tree_options){.size = 1}, &tree_out))
    ASK(kv_get_info(tree, "k", 1, &(kv_entry_info){.size = 1}))
    ASK(kv_cursor_info(cursor, &(kv_entry_info){.size = 1}))
    ASK(kv_cursor_sizes(cursor, &(kv_sizes){.size = 1}))
    ASK(kv_range_sizes(tree, NULL, &(kv_sizes){.size = 1}))
    ASK(kv_db_check(db, &check))
    ASK(kv_db_compact(db, &compact, NULL))
    ASK(kv_db_compact(db, NULL, &compact_info))
    ASK(kv_db_salvage(path, other, &salvage, NULL))
    ASK(kv_db_salvage(path, other, NULL, &salvage_info))
    ASK(kv_db_write(db, NULL, 0, 0, &written))
    ASK(kv_sweep(tree, &sweep, NULL))
    ASK(kv_sweep(tree, NULL, &swept))
    ASK(kv_sweep_all(txn, &sweep, NULL))
    ASK(kv_sweep_all(txn, NULL, &swept))
    ASK(kv_watch_next(watch, 0, &event))
    ASK(kv_watch_open(db, &(kv_watch_options){.size = 1}, &watch_out))
    ASK(kv_diff(reader, reader, NULL, &diff_info))
    ASK(kv_diff(reader, reader, &(kv_diff_options){.size = 1}, NULL))
    ASK(kv_backup(reader, &(kv_backup_options){.size = 1, .write = on_bytes}, NULL))
    ASK(kv_backup(reader, &(kv_backup_options){.size = sizeof backup}, NULL))
    ASK(kv_backup(reader, &backup, &backup_info))
    ASK(kv_backup_apply(db, &(kv_apply_options){.size = 1, .read = on_read}, NULL))
    ASK(kv_backup_apply(db, &(kv_apply_options){.size = sizeof apply}, NULL))
    ASK(kv_backup_apply(db, &apply, &backup_info))
    for (unsigned i = 0; i < 2; i++) {
        kv_apply_options wrong = apply;
        wrong.flags = i == 0 ? KV_TXN_WRITE : KV_TXN_LAZY | KV_TXN_STRICT;
        ASK(kv_backup_apply(db, &wrong, NULL))
    }
    for (size_t i = 0; i < sizeof wrong_merges / sizeof *wrong_merges; i++)
        ASK(kv_backup_merge(&wrong_merges[i], NULL, NULL, 0))
    ASK(kv_backup_merge(&merge, &backup_info, NULL, 0))
    assert_int_equal(kv_inspect_open(path, &look, NULL, 0), KV_OK);
    ASK(kv_inspect_check(look, &(kv_check_options){.size = 1}))
    ASK(kv_inspect_meta(look, 0, NULL))
    ASK(kv_inspect_meta(look, 2, &(kv_meta_info){.size = sizeof(kv_meta_info)}))
    ASK(kv_inspect_meta(look, 0, &(kv_meta_info){.size = 1}))
    ASK(kv_inspect_choose(look, 2, other, NULL, 0))
    ASK(kv_inspect_choose(look, 0, NULL, NULL, 0))
    ASK(kv_inspect_choose(look, 0, "", NULL, 0))
    ASK(kv_inspect_page(look, 0, NULL))
    ASK(kv_inspect_page(look, 0, &(kv_page_info){.size = 1}))
    ASK(kv_inspect_bytes(look, 0, NULL, 8, &size_out))
    ASK(kv_inspect_bytes(look, 0, &out, 8, NULL))
    ASK(kv_inspect_slots(look, 0, NULL, NULL))
    kv_inspect_close(look);
    assert_int_equal(disappointed, 0);
}

/* No place for the message, or one of no size: the answer is the same, and nothing is written. */
static void test_messages_left_out(void **state)
{
    char text[8] = "-";
    kv_inspect *look;
    assert_int_equal(kv_inspect_open("", &look, text, 0), KV_EINVAL);
    assert_int_equal(kv_inspect_open(path, &look, text, 0), KV_OK);
    assert_int_equal(kv_inspect_choose(look, 2, other, text, 0), KV_EINVAL);
    assert_int_equal(kv_inspect_choose(look, 0, path, text, 0), KV_EXISTS);
    kv_inspect_close(look);
    assert_int_equal(kv_backup_merge(NULL, NULL, text, 0), KV_EINVAL);
    assert_int_equal(kv_backup_merge(&merge, NULL, text, 0), KV_EBACKUP);
    assert_int_equal(kv_backup_merge(&merge, NULL, NULL, sizeof text), KV_EBACKUP);
    kv_db_errmsg(NULL, text, 0);
    kv_db_errmsg(db, text, 0);
    assert_string_equal(text, "-");
    kv_db_errmsg(NULL, NULL, sizeof text);
    kv_db_errmsg(db, NULL, sizeof text);
    kv_db_errmsg(NULL, text, sizeof text);
    assert_string_equal(text, "");
}

/* Opening is told so, too; and what options cannot be. */
static void test_open_options(void **state)
{
    static const kv_options wrong[] = {
        {.size = 1},
        {.size = 5000},
        {.size = sizeof *wrong, .flags = 1u << 31},
        {.size = sizeof *wrong, .flags = KV_OPEN_IMMUTABLE},
        {.size = sizeof *wrong, .flags = KV_OPEN_READONLY | KV_OPEN_CREATE},
        {.size = sizeof *wrong, .flags = KV_OPEN_READONLY | KV_OPEN_EXCLUSIVE},
        {.size = sizeof *wrong, .page_size = 1000},
        {.size = sizeof *wrong, .durability = KV_DEFAULT - 1},
        {.size = sizeof *wrong, .durability = KV_LAZY + 1},
        {.size = sizeof *wrong, .fill = 49},
    };
    char text[8] = "-";
    kv_db *second;
    expect_all(KV_EINVAL);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ASK(kv_db_open_explain(other, &wrong[i], &second, text, 0))
    assert_int_equal(disappointed, 0);
    assert_null(second);
    assert_int_equal(kv_db_open_explain(other, NULL, &second, text, 0), KV_OK);
    assert_string_equal(text, "-");
    assert_int_equal(kv_db_close(second), KV_OK);
    assert_int_equal(kv_db_open_explain(other, NULL, &second, text, sizeof text), KV_OK);
    assert_string_equal(text, "");
    assert_int_equal(kv_db_close(second), KV_OK);
}

static int verdict;
static kv_slice wanted_value;

static int on_strange_update(void *context, const kv_slice *old, kv_slice *value)
{
    *value = wanted_value;
    return verdict;
}

/* What fn of kv_update may not answer. */
static void test_strange_updates(void **state)
{
    static const struct {
        int verdict;
        kv_slice value;
        int rc;
    } answers[] = {
        {99, {"v", 1}, KV_EINVAL},
        {KV_UPDATE_STORE, {NULL, 1}, KV_EINVAL},
        {KV_UPDATE_STORE, {"v", (size_t)KV_VALUE_MAX + 1}, KV_ETOOBIG},
        {KV_UPDATE_STORE, {NULL, 0}, KV_OK},
        {-7, {NULL, 0}, -7},
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        verdict = answers[i].verdict;
        wanted_value = answers[i].value;
        assert_int_equal(kv_update(tree, "k", 1, on_strange_update, NULL), answers[i].rc);
    }
    assert_int_equal(kv_get(tree, "k", 1, &slice_out), KV_OK);
    assert_int_equal(slice_out.len, 0);
}

/* No entry to be chosen. */
static void test_empty_range(void **state)
{
    const kv_range none = {.size = sizeof none, .from = "z", .from_len = 1};
    expect_all(KV_NOTFOUND);
    ASK(kv_random(tree, &none, 5, &pair_out))
    ASK(kv_percentile(tree, &none, 50, &pair_out))
    ASK(kv_nth(tree, &none, 0, &pair_out))
    assert_int_equal(disappointed, 0);
}

/* Two snapshots are compared when they are of one database. */
static void test_two_databases(void **state)
{
    kv_db *second;
    kv_txn *foreign;
    assert_int_equal(kv_db_open(other, NULL, &second), KV_OK);
    assert_int_equal(kv_txn_begin(second, KV_TXN_READ, &foreign), KV_OK);
    assert_int_equal(kv_diff(reader, foreign, NULL, NULL), KV_EINVAL);
    kv_txn_abort(foreign);
    assert_int_equal(kv_db_close(second), KV_OK);
}

static void test_put_options(void **state)
{
    const kv_put_options wrong[] = {
        {.size = 1},
        {.size = sizeof *wrong, .reserved = 1},
        {.size = sizeof *wrong, .flags = 1u << 31},
        {.size = sizeof *wrong, .flags = KV_PUT_ABSENT | KV_PUT_PRESENT},
        {.size = sizeof *wrong, .flags = KV_PUT_EQUALS, .equals = {NULL, 1}},
        {.size = sizeof *wrong, .ttl_ms = 1, .expires_at = 1},
        {.size = sizeof *wrong, .equals = {"x", 1}},
        {.size = sizeof *wrong, .equals = {"x", 0}},
    };
    expect_all(KV_EINVAL);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ASK(kv_put_with(tree, "k", 1, "v", 1, &wrong[i]))
    assert_int_equal(disappointed, 0);
}

static const kv_range wrong_ranges[] = {
    {.size = 1},
    {.size = sizeof(kv_range), .reserved = 1},
    {.size = sizeof(kv_range), .flags = 1u << 31},
    {.size = sizeof(kv_range), .from_len = 1},
    {.size = sizeof(kv_range), .to_len = 1},
    {.size = sizeof(kv_range), .prefix_len = 1},
};

/* Everything that takes a range. */
static void ask_with(const kv_range *range)
{
    kv_diff_options diff = {.size = sizeof diff, .range = range};
    kv_watch_options what = {.size = sizeof what, .range = range};
    ASK(kv_count(tree, range, &out))
    ASK(kv_nth(tree, range, 0, &pair_out))
    ASK(kv_random(tree, range, 0, &pair_out))
    ASK(kv_percentile(tree, range, 1, &pair_out))
    ASK(kv_split(tree, range, 1, NULL, NULL, 0, &size_out))
    ASK(kv_range_sizes(tree, range, &sizes))
    ASK(kv_del_range(tree, range, NULL))
    ASK(kv_pop_first(tree, range, &pair_out))
    ASK(kv_cursor_open(tree, range, &cursor_out))
    ASK(kv_diff(reader, reader, &diff, NULL))
    ASK(kv_watch_open(db, &what, &watch_out))
}

static void test_ranges(void **state)
{
    kv_diff_options diff = {.size = sizeof diff};
    kv_range limit = {.size = sizeof limit, .limit = 1};
    kv_range reverse = {.size = sizeof reverse, .flags = KV_RANGE_REVERSE};
    expect_all(KV_EINVAL);
    for (size_t i = 0; i < sizeof wrong_ranges / sizeof *wrong_ranges; i++)
        ask_with(&wrong_ranges[i]);
    diff.range = &limit;
    ASK(kv_diff(reader, reader, &diff, NULL))
    diff.range = &reverse;
    ASK(kv_diff(reader, reader, &diff, NULL))
    ASK(kv_diff(reader, reader, &(kv_diff_options){.size = sizeof diff, .flags = 2}, NULL))
    ASK(kv_diff(reader, reader, &(kv_diff_options){.size = sizeof diff, .reserved = 1}, NULL))
    ASK(kv_diff(reader, reader, &(kv_diff_options){.size = sizeof diff, .tree_len = 1}, NULL))
    assert_int_equal(disappointed, 0);
}

/* Too long for its page. */
static void test_too_long(void **state)
{
    static const uint8_t name[5000];
    expect_all(KV_ETOOBIG);
    ASK(kv_put(tree, name, sizeof name, "v", 1, 0))
    ASK(kv_del(tree, name, sizeof name))
    ASK(kv_incr(tree, name, sizeof name, 1, 0, 0, NULL))
    ASK(kv_expire(tree, name, sizeof name, 1))
    ASK(kv_multi_put(many, name, sizeof name, "v", 1))
    ASK(kv_multi_put(many, "k", 1, name, sizeof name))
    ASK(kv_multi_del(many, "k", 1, name, sizeof name))
    ASK(kv_tree_open(txn, name, sizeof name, KV_TREE_CREATE, NULL, &tree_out))
    ASK(kv_tree_rename(tree, name, sizeof name))
    ASK(kv_snapshot_open(db, name, sizeof name, &txn_out))
    assert_int_equal(kv_multi_has(many, name, sizeof name, "v", 1), KV_NOTFOUND);
    assert_int_equal(kv_get(tree, name, sizeof name, NULL), KV_NOTFOUND);
    assert_int_equal(kv_cursor_seek(cursor, KV_SEEK_EQ, name, sizeof name), KV_NOTFOUND);
    assert_int_equal(disappointed, 0);
}

/* The empty key needs no bytes. */
static void test_empty_key(void **state)
{
    kv_slice key;
    assert_int_equal(kv_put(tree, NULL, 0, "empty", 5, 0), KV_OK);
    assert_int_equal(kv_get_info(tree, NULL, 0, &entry_info), KV_OK);
    assert_int_equal(kv_expire(tree, NULL, 0, 1000), KV_OK);
    assert_int_equal(kv_ttl(tree, NULL, 0, &out), KV_OK);
    assert_int_equal(out, 1000);
    assert_int_equal(kv_rank(tree, "k", 1, &out), KV_OK);
    assert_int_equal(out, 1);
    assert_int_equal(kv_rank(tree, NULL, 0, &out), KV_OK);
    assert_int_equal(out, 0);
    assert_int_equal(kv_cursor_seek(cursor, KV_SEEK_EQ, NULL, 0), KV_OK);
    assert_int_equal(kv_cursor_get(cursor, &key, NULL), KV_OK);
    assert_int_equal(key.len, 0);
    assert_int_equal(kv_append(tree, NULL, 0, NULL, 0, 0, &out), KV_OK);
    assert_int_equal(out, 5);
    assert_int_equal(kv_multi_put(many, NULL, 0, NULL, 0), KV_OK);
    assert_int_equal(kv_multi_count(many, NULL, 0, &out), KV_OK);
    assert_int_equal(out, 1);
    assert_int_equal(kv_rank(many, NULL, 0, &out), KV_OK);
    assert_int_equal(out, 0);
    assert_int_equal(kv_rank(many, "k", 1, &out), KV_OK);
    assert_int_equal(out, 1);
}

/* Answers that nobody wants to have are left out, not refused. */
static void test_answers_left_out(void **state)
{
    assert_int_equal(kv_incr(tree, "n", 1, 1, 0, 0, NULL), KV_OK);
    assert_int_equal(kv_put_min(tree, "n", 1, 0, 0, NULL), KV_OK);
    assert_int_equal(kv_incr_double(tree, "d", 1, 1, 0, 0, NULL), KV_OK);
    assert_int_equal(kv_append(tree, "k", 1, "w", 1, 0, NULL), KV_OK);
    assert_int_equal(kv_get_many(tree, 1, &a_key, NULL, NULL), KV_OK);
    assert_int_equal(kv_put_many(tree, 0, NULL, 0), KV_OK);
    assert_int_equal(kv_get_many(tree, 0, NULL, NULL, NULL), KV_OK);
    assert_int_equal(kv_multi_del_key(many, "k", 1, NULL), KV_OK);
    assert_int_equal(kv_multi_del_key(many, "k", 1, NULL), KV_NOTFOUND);
    assert_int_equal(kv_del_range(tree, NULL, NULL), KV_OK);
    assert_int_equal(kv_sweep(tree, NULL, NULL), KV_OK);
    assert_int_equal(kv_sweep_all(txn, NULL, NULL), KV_OK);
    assert_int_equal(kv_watch_next(watch, 0, NULL), KV_NOTFOUND);
    assert_int_equal(kv_put(kv_txn_main(txn), "changed", 7, "v", 1, 0), KV_OK);
    close_cursors();
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = NULL;
    assert_int_equal(kv_watch_next(watch, 0, NULL), KV_OK);
    assert_int_equal(kv_cursor_open(kv_txn_main(reader), NULL, &cursor_out), KV_OK);
    assert_int_equal(kv_cursor_first(cursor_out), KV_OK);
    assert_int_equal(kv_cursor_get(cursor_out, NULL, NULL), KV_OK);
    assert_int_equal(kv_cursor_get(cursor_out, NULL, &slice_out), KV_OK);
    assert_int_equal(slice_out.len, 1);
}

/* A cursor that is not on an entry has none to tell of. */
static void test_nowhere(void **state)
{
    assert_int_equal(kv_del_range(tree, NULL, NULL), KV_OK);
    assert_int_equal(kv_del_range(many, NULL, NULL), KV_OK);
    expect_all(KV_NOTFOUND);
    ASK(kv_cursor_get(cursor, &slice_out, NULL))
    ASK(kv_cursor_info(cursor, &entry_info))
    ASK(kv_cursor_sizes(cursor, &sizes))
    ASK(kv_cursor_put(cursor, "v", 1))
    ASK(kv_cursor_del(cursor))
    ASK(kv_cursor_read(cursor, &pair_out, 1, &size_out))
    ASK(kv_cursor_get(cursor_m, &slice_out, NULL))
    ASK(kv_cursor_next_key(cursor_m))
    ASK(kv_cursor_prev_key(cursor_m))
    ASK(kv_cursor_del(cursor_m))
    assert_int_equal(disappointed, 0);
}

/* Who only tries does not wait for the turn. */
static void test_turn_is_taken(void **state)
{
    expect_all(KV_EBUSY);
    ASK(kv_db_reset_clock(db, KV_TXN_TRY))
    ASK(kv_txn_begin(db, KV_TXN_WRITE | KV_TXN_TRY, &txn_out))
    ASK(kv_txn_begin_wait(db, 0, 0, &txn_out))
    ASK(kv_snapshot_create(db, "u", 1, KV_TXN_TRY))
    ASK(kv_snapshot_drop(db, "s", 1, KV_TXN_TRY))
    ASK(kv_snapshot_restore(db, "s", 1, KV_TXN_TRY))
    ASK(kv_db_close(db))
    assert_int_equal(disappointed, 0);
}

#define CALLS(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CALLS(test_forked),
        CALLS(test_failed_transaction),
        CALLS(test_gone),
        CALLS(test_reading_only),
        CALLS(test_kinds),
        CALLS(test_nothing),
        CALLS(test_wrong),
        CALLS(test_wrong_structures),
        CALLS(test_put_options),
        CALLS(test_ranges),
        CALLS(test_too_long),
        CALLS(test_answers_left_out),
        CALLS(test_empty_key),
        CALLS(test_messages_left_out),
        CALLS(test_two_databases),
        CALLS(test_turn_is_taken),
        CALLS(test_nowhere),
        CALLS(test_open_options),
        CALLS(test_strange_updates),
        CALLS(test_empty_range),
    };
    return cmocka_run_group_tests_name("arguments", tests, setup, teardown);
}
