/* Flushes that fail, or whose failure nobody lived to tell, with other processes there; what the
 * last one to leave may write. On a simulated machine. */
#include "takeover_machine.h"
#include "fault_os.h"

static mortal victim;
static kv_db *dying;
static fault_os fault; /* over the disk, for processes whose flush fails */

static void open_dying(mortal *m)
{
    assert_int_equal(open_on(&m->os, 0, &dying), KV_OK);
}

static kv_db *base_open(void)
{
    kv_db *db = open_db();
    commit_n(db, 0, "base", 30, 60, 'b');
    return db;
}

/* ---- a lost write-back of what a dead process committed lazily ---- */

static void lazy_commits(mortal *m)
{
    open_dying(m);
    commit_n(dying, KV_TXN_LAZY, "lazy", 10, 50, 'z');
    commit_n(dying, KV_TXN_LAZY, "large", 2, 3 * PAGE_SIZE, 'y');
}

/* The write-back fails under the descriptor of somebody who is gone before it asks. */
static void lose_write_back(void)
{
    int fd = disk->os.open(&disk->os, "db", KVI_OS_WRITE, 0);
    assert_true(fd >= 0);
    sim_lose_sync(&disk->os, fd);
    disk->os.close(&disk->os, fd);
}

enum next { NEXT_DURABLE, NEXT_STRICT, NEXT_LAZY_DURABLE, NEXT_SYNC, NEXT_LAZY_SYNC, NEXT_CLOSE };

/* The survivor makes the tail durable, with its mark on top or without. */
static void go_on(kv_db *db, enum next next)
{
    switch (next) {
    case NEXT_DURABLE:
        commit_mark(db, KV_TXN_DURABLE);
        break;
    case NEXT_STRICT:
        commit_mark(db, KV_TXN_STRICT);
        break;
    case NEXT_LAZY_DURABLE:
        commit_n(db, KV_TXN_LAZY, "more", 5, 60, 'm');
        commit_n(db, KV_TXN_LAZY, "lazy", 5, 60, 'm');
        commit_mark(db, KV_TXN_DURABLE);
        break;
    case NEXT_LAZY_SYNC:
        commit_mark(db, KV_TXN_LAZY);
        assert_int_equal(kv_db_sync(db), KV_OK);
        break;
    case NEXT_SYNC:
        assert_int_equal(kv_db_sync(db), KV_OK);
        break;
    case NEXT_CLOSE:
        break;
    }
}

static void expect_kept(uint64_t hash)
{
    rng random;
    rng_seed(&random, 1);
    for (int i = 0; i < 6; i++) {
        kv_db *db;
        crash_into_other(i == 0 ? CRASH_NOTHING : i == 1 ? CRASH_ALL : CRASH_SOME, &random);
        assert_int_equal(open_on(sim_os(other), 0, &db), KV_OK);
        assert_int_equal(content_now(db), hash);
        sound(db);
        assert_int_equal(kv_db_close(db), KV_OK);
    }
}

static void test_lost_write_back(void **state)
{
    for (enum next next = NEXT_DURABLE; next <= NEXT_CLOSE; next++) {
        fresh(NULL);
        kv_db *db = base_open();
        mortal_init(&victim, 2);
        mortal_run(&victim, 0, lazy_commits);
        lose_write_back();
        mortal_bury(&victim);
        go_on(db, next);
        uint64_t hash = content_now(db);
        if (next == NEXT_CLOSE)
            assert_int_equal(kv_db_close(db), KV_OK);
        expect_kept(hash);
        if (next != NEXT_CLOSE)
            assert_int_equal(kv_db_close(db), KV_OK);
    }
}

/* The same, when the lazy process leaves properly without a flush, or goes on living. */
static void close_lazily(mortal *m)
{
    kv_options options = {.size = sizeof options,
                          .flags = KV_OPEN_NO_CLOSE_SYNC,
                          .durability = KV_LAZY,
                          .lazy_sync_bytes = UINT64_MAX};
    assert_int_equal(kvi_db_open(&m->os, "db", &options, &dying, NULL, 0), KV_OK);
    commit_n(dying, 0, "lazy", 10, 50, 'z');
    lose_write_back();
    assert_int_equal(kv_db_close(dying), KV_OK);
}

static void test_lost_write_back_of_one_who_left(void **state)
{
    for (enum next next = NEXT_DURABLE; next <= NEXT_LAZY_SYNC; next++) {
        fresh(NULL);
        kv_db *db = base_open();
        mortal_init(&victim, 2);
        mortal_run(&victim, 0, close_lazily);
        assert_int_equal(victim.n_blocks, 0);
        go_on(db, next);
        expect_kept(content_now(db));
        assert_int_equal(kv_db_close(db), KV_OK);
    }
}

/* ---- a lost flush, and death before that is recorded ---- */

static void sync_lazy(mortal *m)
{
    assert_int_equal(kv_db_sync(dying), KV_OK);
}

static void commit_durable(mortal *m)
{
    commit_n(dying, KV_TXN_DURABLE, "work", 10, 50, 'w');
}

static void commit_strict(mortal *m)
{
    commit_n(dying, KV_TXN_STRICT, "work", 10, 50, 'w');
}

static void close_it(mortal *m)
{
    assert_int_equal(kv_db_close(dying), KV_OK);
}

static void test_lost_flush_of_the_dead(void **state)
{
    static const struct {
        void (*before)(mortal *m);
        void (*work)(mortal *m);
    } ways[] = {
        {open_dying, commit_durable},   {open_dying, commit_strict},   {lazy_commits, sync_lazy},
        {lazy_commits, commit_durable}, {lazy_commits, commit_strict}, {lazy_commits, close_it},
    };
    for (size_t i = 0; i < 2 * KVI_COUNT(ways); i++) {
        fresh(NULL);
        kv_db *db = base_open();
        mortal_init(&victim, 2);
        mortal_run(&victim, 0, ways[i / 2].before);
        kv_txn *old = begin(db, KV_TXN_READ);
        uint64_t before = content(old);
        victim.lose_flush = true;
        assert_false(mortal_run(&victim, 0, ways[i / 2].work));
        assert_int_equal(side_head()->board.flush, KVI_FLUSH_BEGUN);
        if (i % 2) {
            commit_mark(db, 0);
        } else {
            kv_txn *txn = begin(db, KV_TXN_WRITE); /* taking over is enough */
            assert_int_equal(kv_txn_id(txn) > greatest_birth(), 1);
            kv_txn_abort(txn);
        }
        uint64_t hash = content_now(db);
        assert_int_equal(content(old), before);
        kv_txn_abort(old);
        expect_kept(hash);
        sound(db);
        assert_int_equal(kv_db_close(db), KV_OK);
        expect_kept(hash);
    }
}

/* A reader was the first one there after a writer's death, and could not make durable what it found.
 * Returns its transaction's content. */
static uint64_t reader_found(kv_db **reader, kv_txn **old)
{
    fresh(NULL);
    assert_int_equal(kv_db_close(base_open()), KV_OK);
    mortal_init(&victim, 2);
    mortal_run(&victim, 0, lazy_commits);
    lose_write_back();
    mortal_bury(&victim);
    assert_int_equal(open_on(sim_os(disk), KV_OPEN_READONLY, reader), KV_OK);
    *old = begin(*reader, KV_TXN_READ);
    return content(*old);
}

/* A reader was the first one there: what it found and could not write again, the first writer does,
 * before anything else. */
static void test_reader_first(void **state)
{
    for (enum next next = NEXT_DURABLE; next <= NEXT_LAZY_SYNC; next++) {
        kv_db *reader, *writer;
        kv_txn *old;
        uint64_t found = reader_found(&reader, &old);
        assert_true(kv_db_durable_id(reader) < kv_txn_id(old));
        assert_int_equal(open_on(sim_os(disk), 0, &writer), KV_OK);
        go_on(writer, next);
        expect_kept(content_now(writer));
        assert_int_equal(content(old), found);
        kv_txn_abort(old);
        assert_int_equal(kv_db_close(writer), KV_OK);
        assert_int_equal(kv_db_close(reader), KV_OK);
        expect_kept(content_now(writer = open_db()));
        assert_int_equal(kv_db_close(writer), KV_OK);
    }
}

static void take_turn(mortal *m)
{
    open_dying(m);
    kv_txn_abort(begin(dying, KV_TXN_WRITE));
}

/* The first writer beside that reader dies while it flushes what it found, before it has written
 * anything of its own: the next one starts over. */
static void test_death_of_who_adopts(void **state)
{
    kv_db *reader, *writer;
    kv_txn *old;
    uint64_t found = reader_found(&reader, &old);
    mortal_init(&victim, 3);
    victim.lose_flush = true;
    assert_false(mortal_run(&victim, 0, take_turn));
    assert_int_equal(side_head()->board.flush, KVI_FLUSH_BEGUN);
    assert_int_equal(side_head()->board.writing, 0);
    assert_int_equal(open_on(sim_os(disk), 0, &writer), KV_OK);
    go_on(writer, NEXT_DURABLE);
    expect_kept(content_now(writer));
    assert_int_equal(content(old), found);
    kv_txn_abort(old);
    assert_int_equal(kv_db_close(writer), KV_OK);
    assert_int_equal(kv_db_close(reader), KV_OK);
}

/* ---- poison ---- */

static void fail_flush(void)
{
    fault_plan(&fault, (fault_case){.at = 1, .mask = FAULT_BIT(FAULT_SYNC)});
}

static kv_db *open_failing(void)
{
    kv_db *db;
    fault_init(&fault, sim_os(disk));
    fault.sync_failed = sim_lose_sync;
    assert_int_equal(open_on(&fault.os, 0, &db), KV_OK);
    return db;
}

static void refuses_writing(kv_db *db)
{
    kv_txn *txn;
    kv_db_info info = {.size = sizeof info};
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_EPOISONED);
    assert_null(txn);
    assert_int_equal(kv_db_sync(db), KV_EPOISONED);
    assert_int_equal(kv_db_stat(db, &info), KV_OK);
    assert_int_equal(info.poisoned, 1);
}

static void test_poison_is_seen_by_all(void **state)
{
    static const uint32_t kinds[] = {KV_TXN_DURABLE, KV_TXN_STRICT};
    for (size_t i = 0; i < 2 * KVI_COUNT(kinds); i++) {
        fresh(NULL);
        kv_db *a = base_open(), *b = open_failing(), *c;
        uint64_t before = content_now(a);
        kv_db_info told = {.size = sizeof told}, still = {.size = sizeof still};
        assert_int_equal(kv_db_stat(a, &told), KV_OK);
        kv_txn *old = begin(a, KV_TXN_READ), *txn = begin(b, KV_TXN_WRITE | kinds[i / 2]);
        put_n(txn, "work", 5, 50, 'w');
        fail_flush();
        assert_int_equal(kv_txn_commit(txn), KV_EPOISONED);
        refuses_writing(a);
        refuses_writing(b);
        assert_int_equal(open_on(sim_os(disk), 0, &c), KV_OK); /* not the first: it may only read */
        refuses_writing(c);
        assert_int_equal(content(old), before);
        assert_int_equal(content_now(a), before);
        assert_int_equal(content_now(b), before);
        assert_int_equal(content_now(c), before);
        assert_int_equal(kv_db_stat(c, &still), KV_OK); /* who came late, and never had the turn */
        assert_int_equal(still.pages, told.pages);
        assert_int_equal(still.free_pages + still.blocked_pages,
                         told.free_pages + told.blocked_pages);
        assert_true(still.free_pages + still.blocked_pages > 0);
        kv_txn_abort(old);
        size_t events = disk->n_events;
        assert_int_equal(kv_db_close(i % 2 ? a : b), KV_OK);
        assert_int_equal(kv_db_close(c), KV_OK);
        assert_int_equal(kv_db_close(i % 2 ? b : a), KV_OK);
        for (; events < disk->n_events; events++) /* nobody touched the database */
            assert_true(disk->events[events].file != sim_find(disk, "db"));
        a = open_db();
        commit_mark(a, 0);
        sound(a);
        expect_kept(content_now(a));
        assert_int_equal(kv_db_close(a), KV_OK);
    }
}

/* Lazy commits that could not be made durable, since the turn was not to be had: closing says so. */
static void test_close_tells_of_a_lost_turn(void **state)
{
    fresh(NULL);
    assert_int_equal(kv_db_close(base_open()), KV_OK);
    kv_db *a = open_failing();
    commit_n(a, KV_TXN_LAZY, "lazy", 3, 50, 'z');
    fault_plan(&fault,
               (fault_case){.at = 1, .mask = FAULT_BIT(FAULT_LOCK) | FAULT_BIT(FAULT_LOCK_WAIT)});
    assert_int_equal(kv_db_close(a), KV_EIO);
}

/* The commit that failed took the place of the published one's meta: only who made that one, or has
 * gone on from it, still knows what it said. */
static void test_poison_hides_a_meta(void **state)
{
    fresh(NULL);
    kv_db *a = base_open(), *b = open_failing(), *c;
    assert_int_equal(open_on(sim_os(disk), KV_OPEN_READONLY, &c), KV_OK);
    commit_n(b, KV_TXN_LAZY, "lazy", 3, 50, 'z');
    kv_txn *txn = begin(b, KV_TXN_WRITE);
    put_n(txn, "work", 5, 50, 'w');
    fail_flush();
    assert_int_equal(kv_txn_commit(txn), KV_EPOISONED);
    assert_int_equal(kv_db_check(b, NULL), KV_OK);
    assert_int_equal(kv_db_check(a, NULL), KV_EPOISONED);
    assert_int_equal(kv_db_check(c, NULL), KV_EPOISONED);
    fault_plan(&fault, (fault_case){.at = 1, .mask = FAULT_BIT(FAULT_STAT_PATH)});
    assert_int_equal(kv_db_check(b, NULL), KV_EIO);
    fault_plan(&fault, (fault_case){0});
    assert_int_equal(kv_db_check(b, NULL), KV_OK);
    assert_int_equal(kv_db_close(c), KV_OK);
    (void)kv_db_close(a);
    assert_int_equal(kv_db_close(b), KV_EPOISONED); /* lazy commits may be lost */
}

/* Lazy commits of one process; the flush of another one fails. */
static void test_poison_of_a_foreign_tail(void **state)
{
    kv_db *a = base_open(), *b = open_failing();
    commit_n(a, KV_TXN_LAZY, "lazy", 10, 50, 'z');
    uint64_t hash = content_now(a);
    fail_flush();
    assert_int_equal(kv_db_sync(b), KV_EPOISONED);
    refuses_writing(a);
    assert_int_equal(content_now(b), hash);
    assert_int_equal(kv_db_close(b), KV_EPOISONED); /* lazy commits may be lost */
    assert_int_equal(kv_db_close(a), KV_EPOISONED);
    a = open_db();
    assert_int_equal(content_now(a), hash);
    expect_kept(hash);
    assert_int_equal(kv_db_close(a), KV_OK);
}

/* The flush of the one that takes over fails: it reads on, and writes no more. Who took the turn only to
 * count pages gives it back. */
static void poison_during_adoption(bool counting)
{
    kv_db *a = open_db(), *b;
    kv_db_info info = {.size = sizeof info};
    commit_n(a, 0, "base", 30, 60, 'b');
    assert_int_equal(kv_db_close(a), KV_OK);
    a = open_failing();
    uint64_t before = content_now(a);
    mortal_init(&victim, 2);
    mortal_run(&victim, 0, open_dying);
    victim.lose_flush = true;
    assert_false(mortal_run(&victim, 0, commit_durable));
    kv_txn *old = begin(a, KV_TXN_READ);
    fail_flush();
    if (counting)
        assert_int_equal(kv_db_stat(a, &info), KV_OK);
    assert_int_equal(info.poisoned, counting);
    assert_false(a->turn.taken);
    refuses_writing(a);
    assert_int_equal(content(old), before);
    kv_txn_abort(old);
    assert_int_equal(open_on(sim_os(disk), 0, &b), KV_OK);
    refuses_writing(b);
    uint64_t seen = content_now(b); /* it may have been acknowledged: it is shown, not as durable */
    assert_true(seen != before);
    assert_int_equal(content_now(a), seen);
    kv_txn *txn = begin(b, KV_TXN_READ);
    assert_true(kv_db_durable_id(b) < kv_txn_id(txn));
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(b), KV_OK);
    assert_int_equal(kv_db_close(a), KV_OK);
    a = open_db();
    assert_int_equal(content_now(a), seen); /* never fallen back from: it was whole */
    sound(a);
    expect_kept(content_now(a));
    assert_int_equal(kv_db_close(a), KV_OK);
}

static void test_poison_during_adoption(void **state)
{
    poison_during_adoption(false);
    fresh(NULL);
    poison_during_adoption(true);
}

/* ---- ids ---- */

/* A transaction that is aborted after it wrote pages: the others do not use its id again. */
static void test_burnt_ids_are_burnt_for_all(void **state)
{
    kv_db *a = base_open(), *b;
    assert_int_equal(open_on(sim_os(disk), 0, &b), KV_OK);
    for (int i = 0; i < 6; i++) {
        kv_db *db = i % 2 ? a : b;
        kv_txn *txn = begin(db, KV_TXN_WRITE);
        put_n(txn, "many", 40 * PAGE_SIZE / 128, 100, 'e');
        kv_txn_abort(txn);
        txn = begin(i % 2 ? b : a, KV_TXN_WRITE);
        assert_true(kv_txn_id(txn) > greatest_birth());
        put_n(txn, "base", 3, 40, 'x');
        commit(txn);
    }
    sound(a);
    assert_int_equal(kv_db_close(a), KV_OK);
    assert_int_equal(kv_db_close(b), KV_OK);
}

/* ---- what happens while the last one leaves ---- */

static fault_os hooked;
static int (*plain_lock)(const kvi_os *os, int fd, int kind, uint64_t off, uint64_t len);
static void (*while_leaving)(void); /* once */

/* Between giving the lifecycle byte back and taking it alone. */
static int hooked_lock(const kvi_os *os, int fd, int kind, uint64_t off, uint64_t len)
{
    int rc = plain_lock(os, fd, kind, off, len);
    if (kind == KVI_OS_UNLOCK && off == KVI_LOCK_LIFECYCLE && while_leaving) {
        void (*hook)(void) = while_leaving;
        while_leaving = NULL;
        hook();
    }
    return rc;
}

static void visit(const char *name, uint32_t flags)
{
    kv_db *db;
    kv_options options = {.size = sizeof options, .flags = flags};
    assert_int_equal(kvi_db_open(sim_os(disk), name, &options, &db, NULL, 0), KV_OK);
    commit_n(db, KV_TXN_DURABLE, "visit", 3, 40, 'v');
    assert_int_equal(kv_db_close(db), KV_OK);
}

static void visit_sharing(void)
{
    visit("db", 0);
}

static void visit_alone(void)
{
    visit("db", KV_OPEN_EXCLUSIVE);
}

static void visit_by_another_name(void)
{
    visit("db2", 0);
}

static void visit_by_another_name_alone(void)
{
    visit("db2", KV_OPEN_EXCLUSIVE);
}

static void visit_and_die(void)
{
    mortal_init(&victim, 2);
    mortal_run(&victim, 0, open_dying);
    mortal_run(&victim, 0, commit_durable);
    mortal_bury(&victim);
}

/* The last one to leave knows nothing of who came and went meanwhile, and must not write over it. */
static void test_visits_while_the_last_one_leaves(void **state)
{
    static void (*const visits[])(void) = {visit_sharing, visit_alone, visit_by_another_name,
                                           visit_by_another_name_alone, visit_and_die};
    for (size_t i = 0; i < KVI_COUNT(visits); i++) {
        kv_db *db;
        fresh(NULL);
        fault_init(&hooked, sim_os(disk));
        plain_lock = hooked.os.lock;
        hooked.os.lock = hooked_lock;
        while_leaving = NULL;
        assert_int_equal(open_on(&hooked.os, KV_OPEN_CREATE, &db), KV_OK);
        assert_int_equal(disk->os.link(&disk->os, "db", "db2"), 0);
        commit_n(db, 0, "base", 30, 60, 'b');
        commit_n(db, 0, "base", 10, 50, 'c');
        uint64_t before = content_now(db);
        while_leaving = visits[i];
        assert_int_equal(kv_db_close(db), KV_OK);
        assert_null(while_leaving);
        crash_into_other(CRASH_ALL, NULL);
        assert_int_equal(open_on(sim_os(other), 0, &db), KV_OK);
        uint64_t hash = content_now(db);
        assert_int_equal(kv_db_close(db), KV_OK);
        assert_int_not_equal(hash, before);
        expect_kept(hash);
        db = open_db();
        assert_int_equal(content_now(db), hash);
        sound(db);
        assert_int_equal(kv_db_close(db), KV_OK);
        assert_int_equal(side_file(), -1);
    }
}

#define TEST(f) cmocka_unit_test_setup(f, fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lost_write_back),
        TEST(test_lost_write_back_of_one_who_left),
        TEST(test_lost_flush_of_the_dead),
        TEST(test_reader_first),
        TEST(test_death_of_who_adopts),
        TEST(test_poison_is_seen_by_all),
        TEST(test_close_tells_of_a_lost_turn),
        TEST(test_poison_hides_a_meta),
        TEST(test_poison_of_a_foreign_tail),
        TEST(test_poison_during_adoption),
        TEST(test_burnt_ids_are_burnt_for_all),
        TEST(test_visits_while_the_last_one_leaves),
    };
    return cmocka_run_group_tests_name("takeover: flushes", tests, setup, teardown);
}
