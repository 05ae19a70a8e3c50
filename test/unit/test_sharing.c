/* Several processes, and several handles of one process, with one database: taking turns, leaving,
 * dying, forking. On real files; nothing here measures time. */
#include "tail.h"
#include "sharing_machine.h"
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>

/* What parent and children see of each other beside pipes. */
static struct shared {
    _Atomic uint64_t done, count;
} * shared;

/* ---- handles ---- */

static void test_two_handles_alternate(void **state)
{
    kv_db *a = open_ok(KV_OPEN_CREATE), *b = open_ok(0);
    commit_number(a, 0, 1);
    kv_txn *old = begin(b, KV_TXN_READ);
    for (uint64_t i = 2; i < 60; i++) {
        static const uint32_t kinds[] = {KV_TXN_LAZY, 0, KV_TXN_STRICT};
        commit_number(i % 2 ? a : b, kinds[i % 3], i);
        assert_int_equal(number_now(a), i);
        assert_int_equal(number_now(b), i);
        assert_int_equal(stat_of(a).commit_id, stat_of(b).commit_id);
        assert_int_equal(kv_db_durable_id(a), kv_db_durable_id(b));
    }
    assert_int_equal(number_in(old), 1);
    kv_txn_abort(old);
    close_ok(a);
    assert_int_equal(number_now(b), 59);
    commit_number(b, 0, 60);
    close_last(b);
}

/* Growth and truncation by one handle, seen by the other; at first one does it all. */
static void test_growth_and_truncation(void **state)
{
    static char large[300000];
    kv_db *first = open_ok(KV_OPEN_CREATE), *second = open_ok(0);
    for (int round = 0; round < 12; round++) {
        kv_db *a = first, *b = round < 6 ? first : second;
        kv_db *db = round % 2 ? a : b, *twin = round % 2 ? b : a;
        uint64_t before = stat_of(twin).file_size;
        kv_txn *txn = begin(db, KV_TXN_WRITE);
        for (char key = 'a'; key < 'k'; key++) {
            memset(large, key + round, sizeof large);
            MUST(kv_put(kv_txn_main(txn), &key, 1, large, sizeof large, 0));
        }
        MUST(kv_txn_commit(txn));
        txn = begin(twin, KV_TXN_READ);
        for (char key = 'a'; key < 'k'; key++) {
            kv_slice value;
            memset(large, key + round, sizeof large);
            MUST(kv_get(kv_txn_main(txn), &key, 1, &value));
            assert_int_equal(value.len, sizeof large);
            assert_memory_equal(value.ptr, large, sizeof large);
        }
        kv_txn_abort(txn);
        txn = begin(twin, KV_TXN_WRITE);
        MUST(kv_tree_clear(kv_txn_main(txn)));
        MUST(kv_txn_commit(txn));
        for (uint64_t i = 0; i < 100 + 10 * sizeof large / KVI_CUT_MAX; i++)
            commit_number(i % 2 ? a : b, 0, i);
        assert_true(stat_of(db).file_size < before + sizeof large);
    }
    close_ok(second);
    close_last(first);
}

static void test_write_begin_between_handles(void **state)
{
    kv_db *a = open_ok(KV_OPEN_CREATE), *b = open_ok(0);
    kv_txn *txn = begin(a, KV_TXN_WRITE), *none;
    assert_int_equal(kv_txn_begin(b, KV_TXN_WRITE | KV_TXN_TRY, &none), KV_EBUSY);
    assert_int_equal(kv_txn_begin_wait(b, 0, 20, &none), KV_EBUSY);
    assert_int_equal(kv_txn_begin_wait(b, 0, 0, &none), KV_EBUSY);
    assert_null(none);
    kv_txn_abort(txn);
    MUST(kv_txn_begin_wait(b, 0, 20, &txn));
    kv_txn_abort(txn);
    close_ok(b);
    close_last(a);
}

/* Whatever the order, the last one to leave removes the side file, and nobody before. */
static void test_leaving_in_any_order(void **state)
{
    static const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                    {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (size_t i = 0; i < 6 * sizeof orders / sizeof *orders; i++) {
        const int *order = orders[i / 6];
        kv_db *dbs[3];
        close_ok(open_ok(KV_OPEN_CREATE));
        for (unsigned n = 0; n < 3; n++) /* also with a first, or a last, that only reads */
            dbs[n] = open_ok(n == i % 6 || i % 6 == 5 ? KV_OPEN_READONLY : 0);
        for (unsigned n = 0; n < 3; n++) {
            assert_true(exists(side));
            close_ok(dbs[order[n]]);
        }
        assert_false(exists(side));
    }
}

/* Who never wrote, and does not leave as the last, still does what a writer left to be done. */
static void test_leaving_for_others(void **state)
{
    kv_db *stays = open_ok(KV_OPEN_CREATE);
    kvi_board *board = &stays->readers.head->board;
    _Atomic uint32_t *marks[] = {&board->writing, &board->flush};
    kv_db *lazy = open_ok(KV_OPEN_NO_CLOSE_SYNC), *leaves = open_ok(0);
    commit_number(lazy, KV_TXN_LAZY, 1);
    close_ok(lazy);
    assert_true(kv_db_durable_id(stays) < stat_of(stays).commit_id);
    close_ok(leaves);
    assert_int_equal(kv_db_durable_id(stays), stat_of(stays).commit_id);
    for (unsigned i = 0; i < 2; i++) { /* as if somebody had died */
        leaves = open_ok(0);
        atomic_store(marks[i], 1);
        close_ok(leaves);
        assert_int_equal(atomic_load(marks[i]), 0);
    }
    close_last(stays);
}

/* More read transactions than the side file has slots at first, in several handles. */
static void test_slots_grow(void **state)
{
    enum { HANDLES = 3, EACH = 50 };
    kv_db *dbs[HANDLES];
    kv_txn *txns[HANDLES][EACH];
    close_ok(open_ok(KV_OPEN_CREATE));
    for (int d = 0; d < HANDLES; d++)
        dbs[d] = open_ok(0);
    for (uint64_t i = 0; i < EACH; i++)
        for (int d = 0; d < HANDLES; d++) {
            commit_number(dbs[(d + 1) % HANDLES], KV_TXN_LAZY, i * HANDLES + (uint64_t)d);
            txns[d][i] = begin(dbs[d], KV_TXN_READ);
        }
    assert_int_equal(readers_of(dbs[1]).n, HANDLES * EACH);
    for (uint64_t i = 0; i < EACH; i++)
        for (int d = 0; d < HANDLES; d++) {
            assert_int_equal(number_in(txns[d][i]), i * HANDLES + (uint64_t)d);
            kv_txn_abort(txns[d][i]);
        }
    assert_int_equal(readers_of(dbs[2]).n, 0);
    close_ok(dbs[0]);
    close_ok(dbs[1]);
    close_last(dbs[2]);
}

/* ---- processes ---- */

#define INCREMENTS 60

static void increment(void)
{
    for (int i = 0; i < INCREMENTS; i++) {
        kv_slice value;
        uint64_t n = 0;
        kv_db *db = open_ok(KV_OPEN_CREATE); /* comes and goes */
        for (int round = 0; round < 3; round++) {
            kv_txn *txn = begin(db, KV_TXN_WRITE | (i % 4 ? KV_TXN_LAZY : 0));
            if (kv_get(kv_txn_main(txn), "n", 1, &value) == KV_OK)
                memcpy(&n, value.ptr, sizeof n);
            n++;
            MUST(kv_put(kv_txn_main(txn), "n", 1, &n, sizeof n, 0));
            MUST(kv_txn_commit(txn));
        }
        MUST(kv_db_close(db));
    }
}

static void test_a_counter(void **state)
{
    child children[6];
    kv_slice value;
    uint64_t n;
    for (int i = 0; i < 6; i++)
        children[i] = child_start(increment);
    for (int i = 0; i < 6; i++)
        child_end(&children[i]);
    assert_false(exists(side));
    kv_db *db = open_ok(0);
    kv_txn *txn = begin(db, KV_TXN_READ);
    MUST(kv_get(kv_txn_main(txn), "n", 1, &value));
    memcpy(&n, value.ptr, sizeof n);
    assert_int_equal(n, 6 * 3 * INCREMENTS);
    kv_txn_abort(txn);
    close_last(db);
}

/* Reads a snapshot, says which, and whether it is still whole when it is asked. */
static void hold_snapshot(void)
{
    kv_db *db = open_ok(KV_OPEN_READONLY);
    kv_txn *txn = begin(db, KV_TXN_READ);
    uint64_t number = number_in(txn);
    EXPECT(number != UINT64_MAX);
    tell(kv_txn_id(txn));
    wait_to_go();
    EXPECT(number_in(txn) == number);
    kv_txn_abort(txn);
    MUST(kv_db_close(db));
}

static void test_a_killed_reader_pins_nothing(void **state)
{
    kv_db *db = open_ok(KV_OPEN_CREATE);
    commit_number(db, 0, 1);
    child c = child_start(hold_snapshot);
    uint64_t snapshot = hear(&c);
    for (uint64_t i = 2; i < 40; i++)
        commit_number(db, KV_TXN_LAZY, i);
    reader_count count = readers_of(db);
    assert_int_equal(count.n, 1);
    assert_int_equal(count.oldest, snapshot);
    assert_int_equal(count.process, c.pid);
    assert_int_equal(count.guests, 0);
    assert_true(count.held > 0);
    child_kill(&c);
    assert_int_equal(readers_of(db).n, 0);
    close_last(db);
}

/* Nobody asks: the writer finds out by itself that the pages are not held any more. */
static void test_a_killed_reader_holds_no_pages(void **state)
{
    kv_db *db = open_ok(KV_OPEN_CREATE);
    commit_number(db, 0, 1);
    child c = child_start(hold_snapshot);
    hear(&c);
    for (uint64_t i = 2; i < 40; i++)
        commit_number(db, 0, i);
    uint64_t held = stat_of(db).blocked_pages;
    child_kill(&c);
    int tries = 0;
    do {
        usleep(2000);
        commit_number(db, 0, 99);
        assert_true(tries++ < 5000);
    } while (stat_of(db).blocked_pages >= held);
    close_last(db);
}

static void hold_snapshot_with_tail(void)
{
    kv_db *db = open_ok(0);
    kv_txn *txn = begin(db, KV_TXN_READ);
    tell(kv_txn_id(txn));
    wait_to_go();
    EXPECT(number_in(txn) == 1);
    EXPECT(tail_whole(txn));
    kv_txn_abort(txn);
    MUST(kv_db_close(db));
}

/* Who is stopped is not dead, however long that takes. */
static void test_a_stopped_reader_keeps_its_snapshot(void **state)
{
    int status;
    kv_db *db = open_ok(KV_OPEN_CREATE);
    commit_number(db, 0, 1);
    commit_tail(db);
    uint64_t size = stat_of(db).file_size;
    child c = child_start(hold_snapshot_with_tail);
    uint64_t snapshot = hear(&c);
    assert_int_equal(kill(c.pid, SIGSTOP), 0);
    assert_int_equal(waitpid(c.pid, &status, WUNTRACED), c.pid);
    assert_true(WIFSTOPPED(status));
    cut_tail(db);
    for (uint64_t i = 2; i < 300; i++) {
        commit_number(db, KV_TXN_LAZY, i);
        if (i % 50 == 0)
            usleep(110000); /* the writer looks for the dead now and then */
    }
    assert_int_equal(readers_of(db).oldest, snapshot);
    kill(c.pid, SIGCONT);
    go(&c);
    child_end(&c);
    assert_int_equal(readers_of(db).n, 0);
    assert_true(stat_of(db).file_size >= size);
    close_last(db);
}

/* Stands in the middle of a transaction that has written pages. */
static void write_and_wait(void)
{
    static char value[3000];
    kv_db *db = open_ok(0);
    kv_txn *txn = begin(db, KV_TXN_WRITE);
    for (unsigned i = 0; i < 400; i++)
        MUST(kv_put(kv_txn_main(txn), &i, sizeof i, value, sizeof value, 0));
    tell(txn->id); /* stands in pages; that of its commit may be the next one */
    wait_to_go();
    kv_txn_abort(txn);
    MUST(kv_db_close(db));
}

static void test_a_killed_writer_is_in_nobodys_way(void **state)
{
    kv_db *db = open_ok(KV_OPEN_CREATE);
    commit_number(db, KV_TXN_LAZY, 1);
    kv_txn *old = begin(db, KV_TXN_READ), *txn;
    for (uint64_t i = 2; i < 8; i++) {
        child c = child_start(write_and_wait);
        uint64_t id = hear(&c);
        assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE | KV_TXN_TRY, &txn), KV_EBUSY);
        child_kill(&c);
        MUST(kv_txn_begin(db, KV_TXN_WRITE | KV_TXN_TRY, &txn));
        assert_true(kv_txn_id(txn) > id);
        assert_int_equal(number_in(txn), i - 1);
        kv_txn_abort(txn);
        commit_number(db, i % 2 ? KV_TXN_LAZY : 0, i);
    }
    assert_int_equal(number_in(old), 1);
    kv_txn_abort(old);
    close_last(db);
}

static void wait_for_turn(void)
{
    kv_db *db = open_ok(0);
    tell(0);
    commit_number(db, 0, 77);
    MUST(kv_db_close(db));
}

/* Sleeps in the kernel, waiting for a lock. */
static void wait_until_asleep(const child *c)
{
    char name[64], line[256];
    for (int tries = 0; tries < 20000; tries++, usleep(500)) {
        snprintf(name, sizeof name, "/proc/%d/stat", (int)c->pid);
        FILE *file = fopen(name, "r");
        assert_non_null(file);
        const char *state = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
        fclose(file);
        if (state && state[2] == 'S')
            return;
    }
    fail_msg("the child does not wait");
}

static void test_a_killed_waiter_changes_nothing(void **state)
{
    kv_db *db = open_ok(KV_OPEN_CREATE);
    commit_number(db, 0, 1);
    kv_txn *txn = begin(db, KV_TXN_WRITE);
    child dead = child_start(wait_for_turn), alive = child_start(wait_for_turn);
    hear(&dead);
    hear(&alive);
    wait_until_asleep(&dead);
    wait_until_asleep(&alive);
    child_kill(&dead);
    kv_txn_abort(txn);
    child_end(&alive); /* its turn came */
    assert_int_equal(number_now(db), 77);
    commit_number(db, 0, 2);
    close_last(db);
}

static void test_a_limited_wait(void **state)
{
    kv_db *db = open_ok(KV_OPEN_CREATE);
    kv_txn *txn;
    child c = child_start(write_and_wait);
    hear(&c);
    assert_int_equal(kv_txn_begin_wait(db, 0, 30, &txn), KV_EBUSY);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE | KV_TXN_TRY, &txn), KV_EBUSY);
    go(&c);
    MUST(kv_txn_begin_wait(db, 0, 60000, &txn));
    kv_txn_abort(txn);
    child_end(&c);
    close_last(db);
}

static void commit_in_between(void)
{
    kv_db *db = open_ok(0);
    tell(0);
    for (uint64_t i = 0; !shared->done; i++) {
        commit_little(db, KV_TXN_LAZY, i);
        if (!shared->done)
            shared->count++;
    }
    MUST(kv_db_close(db));
}

#define ROUNDS 3000

/* A process that does nothing but commit lets others in. On one processor, where it could have the
 * lock again before anybody who waits for it runs. */
static void test_nobody_is_kept_out(void **state)
{
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    kv_db *db = open_ok(KV_OPEN_CREATE);
    shared->done = shared->count = 0;
    child c = child_start(commit_in_between);
    hear(&c);
    for (uint64_t i = 0; i < ROUNDS; i++)
        commit_little(db, KV_TXN_LAZY, i);
    shared->done = 1;
    child_end(&c);
    assert_true(shared->count > ROUNDS / 10);
    sched_setaffinity(0, sizeof all, &all);
    close_last(db);
}

/* ---- forks ---- */

static kv_db *inherited;
static kv_txn *in_reader, *in_writer;
static kv_cursor *in_cursor, *in_writing;
static kv_tree *in_tree;

static int no_name(void *context, kv_slice name)
{
    return 0;
}

static int no_reader(void *context, const kv_reader_info *reader)
{
    return 0;
}

static void forked_databases(void)
{
    char text[100];
    kv_txn *txn;
    kv_db_info info = {.size = sizeof info};
    kv_op op = {.kind = KV_OP_PUT, .key = {"k", 1}};
    kv_write_result result = {.size = sizeof result};
    EXPECT(kv_txn_begin(inherited, KV_TXN_READ, &txn) == KV_EFORKED && !txn);
    EXPECT(kv_txn_begin(inherited, KV_TXN_WRITE, &txn) == KV_EFORKED && !txn);
    EXPECT(kv_txn_begin(inherited, KV_TXN_WRITE | KV_TXN_TRY, &txn) == KV_EFORKED);
    EXPECT(kv_txn_begin_wait(inherited, 0, 10, &txn) == KV_EFORKED);
    EXPECT(kv_db_sync(inherited) == KV_EFORKED);
    EXPECT(kv_db_durable_id(inherited) == 0);
    EXPECT(kv_db_stat(inherited, &info) == KV_EFORKED);
    EXPECT(kv_db_readers(inherited, no_reader, NULL) == KV_EFORKED);
    EXPECT(kv_db_check(inherited, NULL) == KV_EFORKED);
    EXPECT(kv_db_copy(inherited, other, 0) == KV_EFORKED);
    EXPECT(kv_db_copy(inherited, other, KV_COPY_COMPACT) == KV_EFORKED);
    EXPECT(kv_db_copy_fd(inherited, 2, 0) == KV_EFORKED);
    EXPECT(kv_db_write(inherited, &op, 1, 0, &result) == KV_EFORKED);
    kv_db_errmsg(inherited, text, sizeof text);
    EXPECT(strcmp(text, kv_strerror(KV_EFORKED)) == 0);
    EXPECT(!exists(other));
}

static void forked_transaction(kv_txn *txn)
{
    uint32_t savepoint;
    kv_tree *tree;
    bool writes = txn == in_writer;
    kv_tree *root = kv_txn_main(txn);
    kv_slice value;
    kv_tree_info info = {.size = sizeof info};
    kv_tree_options options = {.size = sizeof options};
    uint64_t n;
    EXPECT(kv_txn_savepoint(txn, &savepoint) == (writes ? KV_EFORKED : KV_EINVAL));
    EXPECT(kv_txn_rollback_to(txn, 1) == (writes ? KV_EFORKED : KV_EINVAL));
    EXPECT(kv_txn_release(txn, 1) == (writes ? KV_EFORKED : KV_EINVAL));
    EXPECT(kv_txn_refresh(txn) == (writes ? KV_EINVAL : KV_EFORKED));
    EXPECT(kv_tree_open(txn, "t", 1, 0, NULL, &tree) == KV_EFORKED);
    EXPECT(kv_tree_list(txn, no_name, NULL) == KV_EFORKED);
    EXPECT(kv_tree_configure(root, &options) == KV_EFORKED);
    EXPECT(kv_tree_clear(root) == KV_EFORKED);
    EXPECT(kv_tree_stat(root, &info) == KV_EFORKED);
    EXPECT(kv_get(root, "key00001", 8, &value) == KV_EFORKED);
    EXPECT(kv_exists(root, "key00001", 8) == KV_EFORKED);
    EXPECT(kv_put(root, "k", 1, "v", 1, 0) == KV_EFORKED);
    void *place;
    EXPECT(kv_reserve(root, "k", 1, 10, 0, &place) == KV_EFORKED);
    EXPECT(kv_del(root, "key00001", 8) == KV_EFORKED);
    EXPECT(kv_del_range(root, NULL, NULL) == KV_EFORKED);
    EXPECT(kv_count(root, NULL, &n) == KV_EFORKED);
    EXPECT(kv_rank(root, "k", 1, &n) == KV_EFORKED);
    kv_cursor *cursor;
    EXPECT(kv_cursor_open(root, NULL, &cursor) == KV_EFORKED);
}

static void forked_cursor(kv_cursor *cursor)
{
    kv_slice key, value;
    kv_pair pair;
    size_t got;
    EXPECT(kv_cursor_first(cursor) == KV_EFORKED);
    EXPECT(kv_cursor_last(cursor) == KV_EFORKED);
    EXPECT(kv_cursor_next(cursor) == KV_EFORKED);
    EXPECT(kv_cursor_prev(cursor) == KV_EFORKED);
    EXPECT(kv_cursor_seek(cursor, KV_SEEK_GE, "k", 1) == KV_EFORKED);
    EXPECT(kv_cursor_nth(cursor, 1) == KV_EFORKED);
    EXPECT(kv_cursor_get(cursor, &key, &value) == KV_EFORKED);
    EXPECT(kv_cursor_read(cursor, &pair, 1, &got) == KV_EFORKED);
    EXPECT(kv_cursor_put(cursor, "v", 1) == KV_EFORKED);
    EXPECT(kv_cursor_del(cursor) == KV_EFORKED);
}

/* Everything that a child may try with what it inherited; then it opens for itself. */
static void forked_child(void)
{
    forked_databases();
    forked_transaction(in_reader);
    forked_transaction(in_writer);
    forked_cursor(in_cursor);
    forked_cursor(in_writing);
    EXPECT(kv_put(in_tree, "z1", 2, "v", 1, 0) == KV_EFORKED); /* behind the last one */
    EXPECT(kv_tree_rename(in_tree, "u", 1) == KV_EFORKED);
    EXPECT(kv_tree_drop(in_tree) == KV_EFORKED);
    EXPECT(kv_txn_commit(in_reader) == KV_EFORKED);
    EXPECT(kv_txn_commit(in_writer) == KV_EFORKED);
    kv_txn_abort(in_reader);
    kv_txn_abort(in_writer);
    EXPECT(kv_db_close(inherited) == KV_OK);
    kv_db *db = open_ok(0);
    kv_txn *txn;
    EXPECT(kv_txn_begin(db, KV_TXN_WRITE | KV_TXN_TRY, &txn) == KV_EBUSY);
    EXPECT(readers_of(db).n == 1); /* the parent's */
    EXPECT(number_now(db) == 2);
    MUST(kv_db_close(db));
}

static void parent_begins(void)
{
    inherited = open_ok(KV_OPEN_CREATE);
    commit_number(inherited, 0, 1);
    in_reader = begin(inherited, KV_TXN_READ);
    commit_number(inherited, 0, 2);
    in_writer = begin(inherited, KV_TXN_WRITE);
    MUST(kv_tree_open(in_writer, "t", 1, KV_TREE_CREATE, NULL, &in_tree));
    MUST(kv_put(in_tree, "k", 1, "v", 1, 0));
    MUST(kv_put(in_tree, "z0", 2, "v", 1, 0));
    MUST(kv_cursor_open(kv_txn_main(in_reader), NULL, &in_cursor));
    MUST(kv_cursor_open(kv_txn_main(in_writer), NULL, &in_writing));
    MUST(kv_cursor_next(in_cursor));
    MUST(kv_cursor_next(in_writing));
}

/* After what children did: all is as it was. */
static void parent_goes_on(void)
{
    kv_db *db = open_ok(0);
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE | KV_TXN_TRY, &txn), KV_EBUSY);
    for (int i = 0; i < 3; i++)
        assert_int_equal(readers_of(db).n, 1);
    assert_int_equal(number_in(in_reader), 1);
    MUST(kv_cursor_next(in_cursor));
    MUST(kv_put(in_tree, "l", 1, "v", 1, 0));
    MUST(kv_txn_commit(in_writer));
    kv_txn_abort(in_reader);
    assert_int_equal(stat_of(db).entries, ENTRIES + 3);
    close_ok(db);
    close_last(inherited);
}

static void test_a_forked_child_is_told(void **state)
{
    parent_begins();
    for (int i = 0; i < 2; i++) {
        child c = child_start(forked_child);
        child_end(&c);
    }
    parent_goes_on();
}

static void close_inherited(void)
{
    EXPECT(kv_db_close(inherited) == KV_OK);
}

static void leave_inherited(void)
{
}

static void test_a_forked_child_just_ends(void **state)
{
    parent_begins();
    child a = child_start(close_inherited), b = child_start(leave_inherited);
    child_end(&a);
    child_end(&b);
    parent_goes_on();
}

/* Without the help of the C library: only the page that the kernel empties can tell. */
static void test_a_raw_clone_is_told(void **state)
{
    int status;
    parent_begins();
    fflush(NULL);
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    assert_true(pid >= 0);
    if (pid == 0) {
        kv_txn *txn;
        kv_slice value;
        bool fine = kv_txn_begin(inherited, KV_TXN_READ, &txn) == KV_EFORKED &&
                    kv_txn_begin(inherited, KV_TXN_WRITE | KV_TXN_TRY, &txn) == KV_EFORKED &&
                    kv_txn_commit(in_writer) == KV_EFORKED &&
                    kv_get(kv_txn_main(in_reader), "key00001", 8, &value) == KV_EFORKED &&
                    kv_cursor_next(in_cursor) == KV_EFORKED && kv_db_close(inherited) == KV_OK;
        _exit(fine ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    parent_goes_on();
}

/* Opens, begins to write and to read, and has a child that outlives it. */
static void fork_and_wait(void)
{
    kv_db *db = open_ok(0);
    begin(db, KV_TXN_READ);
    begin(db, KV_TXN_WRITE);
    if (fork() == 0) {
        tell((uint64_t)getpid()); /* behind what a child does when it is forked */
        wait_to_go();
        _exit(0);
    }
    pause();
}

static void test_a_child_outlives_its_parent(void **state)
{
    kv_db *db = open_ok(KV_OPEN_CREATE);
    kv_txn *txn;
    commit_number(db, 0, 1);
    child c = child_start(fork_and_wait);
    pid_t grandchild = (pid_t)hear(&c);
    assert_int_equal(readers_of(db).n, 1);
    kill(c.pid, SIGKILL);
    assert_int_equal(waitpid(c.pid, NULL, 0), c.pid);
    assert_int_equal(kill(grandchild, 0), 0);
    MUST(kv_txn_begin(db, KV_TXN_WRITE | KV_TXN_TRY, &txn));
    kv_txn_abort(txn);
    assert_int_equal(readers_of(db).n, 0);
    commit_number(db, 0, 2);
    close_last(db); /* and nobody else holds the file */
    close_ok(open_ok(KV_OPEN_EXCLUSIVE));
    go(&c);
    close(c.to);
    close(c.from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_two_handles_alternate),
        TEST(test_growth_and_truncation),
        TEST(test_write_begin_between_handles),
        TEST(test_leaving_in_any_order),
        TEST(test_leaving_for_others),
        TEST(test_slots_grow),
        TEST(test_a_counter),
        TEST(test_a_killed_reader_pins_nothing),
        TEST(test_a_killed_reader_holds_no_pages),
        TEST(test_a_stopped_reader_keeps_its_snapshot),
        TEST(test_a_killed_writer_is_in_nobodys_way),
        TEST(test_a_killed_waiter_changes_nothing),
        TEST(test_a_limited_wait),
        TEST(test_nobody_is_kept_out),
        TEST(test_a_forked_child_is_told),
        TEST(test_a_forked_child_just_ends),
        TEST(test_a_raw_clone_is_told),
        TEST(test_a_child_outlives_its_parent),
    };
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 1;
    return cmocka_run_group_tests_name("sharing", tests, setup, teardown);
}
