/* The end of the file is handed back: when nobody can need it, piece by piece while the file is used,
 * and all of it at the end. */
#include "recover_machine.h"
#include "tail.h"

#define PIECES 4u /* as long as a cut each */
#ifdef KVI_STRESS
#define PIECES_MANY 200u /* more than compaction has transactions */
#else
#define PIECES_MANY PIECES
#endif
#define SETTLE 5 /* commits after which what was dropped is cut off */

/* As many as cut off so many bytes. */
static void commits_cut(kv_db *db, uint64_t bytes)
{
    for (uint64_t i = 0; i < SETTLE + bytes / KVI_CUT_MAX; i++)
        commit_text(db, 0, i % 2 ? "odd" : "even");
}

static uint64_t file_len(void)
{
    return sim_get_file(disk, "db").len;
}

/* ---- when ---- */

static void test_waits_for_readers(void **state)
{
    kv_db *db = open_db();
    commit_many(db, 0, 3000, 100);
    uint64_t full = stat_of(db).file_size;
    kv_txn *reader = begin(db, KV_TXN_READ);
    kv_txn *txn = begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_tree_clear(kv_txn_main(txn)), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    for (int i = 0; i < 5; i++)
        commit_text(db, 0, i % 2 ? "odd" : "even");
    assert_true(stat_of(db).file_size >= full);
    uint64_t count = 0;
    kv_cursor *cursor;
    assert_int_equal(kv_cursor_open(kv_txn_main(reader), NULL, &cursor), KV_OK);
    while (kv_cursor_next(cursor) == KV_OK)
        count++;
    assert_int_equal(count, 3000);
    kv_txn_abort(reader);
    commits_cut(db, full);
    assert_true(stat_of(db).file_size < full / 4);
    assert_int_equal(file_len(), stat_of(db).file_size);
    sound(db);
    close_db(db);
}

/* Pages of the last durable commit stay until a durable one has taken its place. */
static void test_waits_for_durability(void **state)
{
    kv_db *db = open_db();
    commit_many(db, 0, 3000, 100);
    uint64_t full = file_len();
    kv_txn *txn = begin(db, KV_TXN_WRITE | KV_TXN_LAZY);
    assert_int_equal(kv_tree_clear(kv_txn_main(txn)), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    for (int i = 0; i < 5; i++)
        commit_text(db, KV_TXN_LAZY, i % 2 ? "odd" : "even");
    assert_true(file_len() >= full);
    assert_int_equal(kv_db_sync(db), KV_OK);
    commits_cut(db, full);
    assert_true(file_len() < full / 4);
    sound(db);
    close_db(db);
}

/* ---- how much at once ---- */

/* Long, and nearly all of it free with the next commits. */
static kv_db *open_long(unsigned pieces)
{
    kv_db *db = open_db();
    uint8_t *value = calloc(1, KVI_CUT_MAX);
    assert_non_null(value);
    kv_txn *txn = begin(db, KV_TXN_WRITE);
    for (unsigned i = 0; i < pieces; i++)
        assert_int_equal(kv_put(kv_txn_main(txn), &i, sizeof i, value, KVI_CUT_MAX, 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_tree_clear(kv_txn_main(txn)), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    free(value);
    assert_true(file_len() > pieces * KVI_CUT_MAX);
    return db;
}

/* The cuts since an event; *most: bytes of the longest. */
static unsigned cuts_since(size_t event, uint64_t *most)
{
    unsigned n = 0;
    *most = 0;
    for (; event < disk->n_events; event++) {
        const sim_event *e = &disk->events[event];
        if (e->kind != SIM_TRUNCATE || e->file != sim_find(disk, "db") ||
            e->new_size >= e->old_size)
            continue;
        *most = KVI_MAX(*most, e->old_size - e->new_size);
        n++;
    }
    return n;
}

static bool is_whole(uint64_t len)
{
    return len < KVI_CUT_MAX / 2 + KVI_FILL_MAX + METAS_END;
}

/* Commits, until one of them cuts. */
static void commit_first_cut(kv_db *db)
{
    uint64_t full = file_len();
    for (int i = 0; i < SETTLE && file_len() == full; i++)
        commit_text(db, 0, i % 2 ? "odd" : "even");
    assert_true(file_len() < full);
    assert_false(is_whole(file_len()));
}

static void test_a_piece_with_each_commit(void **state)
{
    uint64_t most;
    unsigned cuts = 0;
    kv_db *db = open_long(PIECES);
    for (uint64_t i = 0, full = file_len(); i < SETTLE + full / KVI_CUT_MAX; i++) {
        size_t event = disk->n_events;
        commit_text(db, 0, i % 2 ? "odd" : "even");
        unsigned n = cuts_since(event, &most);
        assert_true(n <= 1 && most <= KVI_CUT_MAX);
        cuts += n;
    }
    assert_true(cuts >= PIECES);
    assert_true(is_whole(file_len()));
    sound(db);
    close_db(db);
}

static void test_a_piece_with_a_sync(void **state)
{
    uint64_t most;
    kv_db *db = open_long(PIECES);
    commit_first_cut(db);
    commit_text(db, KV_TXN_LAZY, "lazy");
    size_t event = disk->n_events;
    assert_int_equal(kv_db_sync(db), KV_OK);
    assert_int_equal(cuts_since(event, &most), 1);
    assert_int_equal(most, KVI_CUT_MAX);
    close_db(db);
}

static void test_all_at_close(void **state)
{
    kv_db *db = open_long(PIECES);
    commit_first_cut(db);
    close_db(db);
    assert_true(is_whole(file_len()));
    db = open_db();
    sound(db);
    close_db(db);
}

/* Whoever leaves others behind does not keep them waiting; the last one does the rest. */
static void test_all_at_the_last_close(void **state)
{
    uint64_t most;
    if (exclusive)
        return;
    kv_db *db = open_long(PIECES), *twin;
    kv_options options = {.size = sizeof options};
    assert_int_equal(kvi_db_open(&fault.os, "db", &options, &twin, NULL, 0), KV_OK);
    commit_first_cut(db);
    size_t event = disk->n_events;
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_true(cuts_since(event, &most) == 1 && most <= KVI_CUT_MAX);
    assert_false(is_whole(file_len()));
    close_db(twin);
    assert_true(is_whole(file_len()));
    db = open_db();
    sound(db);
    close_db(db);
}

/* Nobody keeps the turn for more than one piece. */
static int turn_is_free(void *context, const kv_progress *progress)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(context, KV_TXN_WRITE | KV_TXN_TRY, &txn), KV_OK);
    kv_txn_abort(txn);
    sim_mark(disk, 1, 0);
    return 0;
}

static void test_compaction_hands_all_back(void **state)
{
    kv_db *db = open_long(PIECES_MANY);
    kv_compact_options options = {.size = sizeof options, .progress = turn_is_free, .context = db};
    size_t event = disk->n_events;
    assert_int_equal(kv_db_compact(db, &options, NULL), KV_OK);
    assert_true(is_whole(file_len()));
    unsigned cuts = 0;
    for (; event < disk->n_events; event++) {
        const sim_event *e = &disk->events[event];
        bool cut = e->kind == SIM_TRUNCATE && e->new_size < e->old_size;
        assert_true(!cut || e->old_size - e->new_size <= KVI_CUT_MAX);
        cuts = e->kind == SIM_MARK ? 0 : cuts + cut;
        assert_true(cuts <= 2); /* a commit's and compaction's own */
    }
    sound(db);
    close_db(db);
}

/* ---- what the dead left ---- */

static void test_goes_on_after_a_kill(void **state)
{
    for (int reboot = 0; reboot < 2; reboot++) {
        fresh(NULL);
        kv_db *db = open_long(PIECES);
        commit_first_cut(db);
        crash(db, reboot);
        db = open_db();
        commit_text(db, 0, "next");
        close_db(db);
        assert_true(is_whole(file_len()));
        db = open_db();
        expect_text(db, "next");
        sound(db);
        close_db(db);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_waits_for_readers),
        TEST(test_waits_for_durability),
        TEST(test_a_piece_with_each_commit),
        TEST(test_a_piece_with_a_sync),
        TEST(test_all_at_close),
        TEST(test_all_at_the_last_close),
        TEST(test_compaction_hands_all_back),
        TEST(test_goes_on_after_a_kill),
    };
    return RUN_BOTH_WAYS("trim", tests);
}
