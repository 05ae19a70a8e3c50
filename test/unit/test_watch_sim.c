/* Who is woken, and what becomes of those who wait when the writer dies at any system call of its
 * commit, between making it visible and waking too. On a simulated machine. */
#include "takeover_machine.h"
#include "news.h"

static mortal victim;
static kv_db *waiter, *dying;
static uint64_t death;
static bool lived;

static uint64_t newest_id(kv_db *db)
{
    uint64_t id;
    assert_int_equal(kv_db_wait(db, 0, 0, &id), KV_OK);
    return id;
}

static void commit_work(mortal *m)
{
    commit_n(dying, KV_TXN_LAZY, "work", 5, 50, 'w');
}

static void open_dying(mortal *m)
{
    assert_int_equal(open_on(&m->os, 0, &dying), KV_OK);
}

/* ---- who is woken ---- */

static void commit_meanwhile(void *context)
{
    commit_mark(context, KV_TXN_LAZY);
}

static void test_only_the_waiting_are_woken(void **state)
{
    kv_db *db = open_db(), *other_handle;
    assert_int_equal(open_on(sim_os(disk), 0, &other_handle), KV_OK);
    for (int i = 0; i < 3; i++) {
        disk->wakes = 0;
        commit_mark(db, 0);
        assert_int_equal(disk->wakes, 0);
        assert_int_equal(kv_db_wait(db, newest_id(db) - 1, KV_FOREVER, NULL), KV_OK);
        assert_int_equal(kv_db_wait(db, newest_id(db), 0, NULL), KV_NOTFOUND);
        commit_mark(db, 0);
        assert_int_equal(disk->wakes, 0); /* nobody slept */
        disk->meanwhile = commit_meanwhile;
        disk->context = i % 2 ? other_handle : db;
        uint64_t start = disk->mono_ns, id = newest_id(db), now;
        assert_int_equal(kv_db_wait(db, id, KV_FOREVER, &now), KV_OK);
        assert_int_equal(now, id + 1);
        assert_int_equal(disk->wakes, 1);
        assert_true(disk->mono_ns - start < KVI_NEWS_RECHECK_NS); /* it was woken */
        commit_mark(db, 0);
        assert_int_equal(disk->wakes, 1);
    }
    assert_int_equal(kv_db_close(other_handle), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
}

static void test_the_time_is_up(void **state)
{
    kv_db *db = open_db();
    uint64_t start = disk->mono_ns, id = newest_id(db);
    assert_int_equal(kv_db_wait(db, id, 3500, NULL), KV_NOTFOUND);
    assert_int_equal((disk->mono_ns - start) / 1000000, 3500);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* A commit that waits to be told does not hide that nobody wants to hear it; nor do commits that do not
 * concern what is watched go on for ever. */
static void test_cancelled_first(void **state)
{
    kv_db *db = open_db();
    kv_watch *watch;
    kv_watch_event event = {.size = sizeof event};
    const kv_range none = {.size = sizeof none, .prefix = "zzz", .prefix_len = 3};
    const kv_watch_options options = {.size = sizeof options, .tree = "", .range = &none};
    assert_int_equal(kv_watch_open(db, NULL, &watch), KV_OK);
    commit_mark(db, 0);
    kv_watch_cancel(watch);
    assert_int_equal(kv_watch_next(watch, KV_FOREVER, &event), KV_ECANCELED);
    assert_int_equal(kv_watch_next(watch, 0, &event), KV_ECANCELED);
    kv_watch_close(watch);
    assert_int_equal(kv_watch_open(db, &options, &watch), KV_OK);
    commit_mark(db, 0);
    assert_int_equal(kv_watch_next(watch, 0, &event), KV_NOTFOUND);
    kv_watch_close(watch);
    assert_int_equal(kv_db_close(db), KV_OK);
}

static uint64_t (*calm_clock)(const kvi_os *os);
static kv_db *busy;
static unsigned irrelevant; /* commits; at most MANY */

#define MANY 500

/* Whoever asks for the time finds one more commit. */
static uint64_t busy_clock(const kvi_os *os)
{
    disk->os.mono_ns = calm_clock;
    if (irrelevant < MANY)
        commit_mark(busy, KV_TXN_LAZY);
    irrelevant++;
    disk->os.mono_ns = busy_clock;
    return calm_clock(os);
}

/* However many commits come that do not matter, a wait ends. */
static void test_irrelevant_commits(void **state)
{
    const kv_range none = {.size = sizeof none, .prefix = "zzz", .prefix_len = 3};
    const kv_watch_options options = {.size = sizeof options, .tree = "", .range = &none};
    for (uint32_t ms = 0; ms < 2; ms++) {
        kv_watch *watch;
        kv_watch_event event = {.size = sizeof event};
        kv_db *db = open_db();
        assert_int_equal(open_on(sim_os(disk), 0, &busy), KV_OK);
        assert_int_equal(kv_watch_open(db, &options, &watch), KV_OK);
        calm_clock = disk->os.mono_ns;
        disk->mono_step = 100000;
        irrelevant = 0;
        disk->os.mono_ns = busy_clock;
        assert_int_equal(kv_watch_next(watch, ms, &event), KV_NOTFOUND);
        disk->os.mono_ns = calm_clock;
        assert_in_range(irrelevant, 1, MANY / 5);
        kv_watch_close(watch);
        assert_int_equal(kv_db_close(busy), KV_OK);
        assert_int_equal(kv_db_close(db), KV_OK);
    }
}

static unsigned commits_due; /* while somebody sleeps; the last one matters */

static void commit_what_matters_last(void *context)
{
    kv_db *db = context;
    if (--commits_due > 0) {
        disk->mono_ns += (uint64_t)100 * 24 * 3600 * 1000000000; /* more than fit a timeout */
        commit_mark(db, KV_TXN_LAZY);
        disk->meanwhile = commit_what_matters_last;
    } else {
        commit_n(db, KV_TXN_LAZY, "zzz", 1, 5, 'z');
    }
}

/* Who waits for ever waits on behind commits that do not matter. */
static void test_for_ever_behind_other_commits(void **state)
{
    const kv_range some = {.size = sizeof some, .prefix = "zzz", .prefix_len = 3};
    const kv_watch_options options = {.size = sizeof options, .tree = "", .range = &some};
    kv_watch *watch;
    kv_watch_event event = {.size = sizeof event};
    kv_db *db = open_db();
    assert_int_equal(open_on(sim_os(disk), 0, &busy), KV_OK);
    assert_int_equal(kv_watch_open(db, &options, &watch), KV_OK);
    uint64_t id = newest_id(db);
    commits_due = 4;
    disk->meanwhile = commit_what_matters_last;
    disk->context = busy;
    assert_int_equal(kv_watch_next(watch, KV_FOREVER, &event), KV_OK);
    assert_int_equal(commits_due, 0);
    assert_int_equal(event.to_id, id + 4);
    kv_watch_close(watch);
    assert_int_equal(kv_db_close(busy), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* ---- the writer dies ---- */

static void die_meanwhile(void *context)
{
    lived = mortal_run(&victim, death, commit_work);
}

static void test_the_writer_dies(void **state)
{
    unsigned unwoken = 0, unseen = 0;
    lived = false;
    for (death = 1; !lived; death++)
        for (int late = 0; late < 2 && !lived; late++) {
            fresh(NULL);
            waiter = open_db();
            commit_n(waiter, 0, "base", 5, 60, 'b');
            mortal_init(&victim, 2);
            mortal_run(&victim, 0, open_dying);
            victim.late = late;
            uint64_t id = newest_id(waiter), start = disk->mono_ns, now = id;
            disk->wakes = 0;
            disk->meanwhile = die_meanwhile;
            int rc = kv_db_wait(waiter, id, 5000, &now);
            unwoken += rc == KV_OK && disk->wakes == 0;
            unseen += rc == KV_NOTFOUND;
            assert_true(rc == KV_NOTFOUND ||
                        (rc == KV_OK && now > id &&
                         disk->mono_ns - start <= KVI_NEWS_RECHECK_NS + 1000000));
            disk->meanwhile = NULL;
            commit_mark(waiter, 0); /* takes over */
            assert_int_equal(kv_db_wait(waiter, now, KV_FOREVER, NULL), KV_OK);
            sound(waiter);
            if (lived)
                mortal_bury(&victim);
            assert_int_equal(kv_db_close(waiter), KV_OK);
        }
    assert_true(unwoken >= 1); /* died between making the commit visible and waking */
    assert_true(unseen >= 3);
}

/* What a dead writer has not published wakes those who wait when it is adopted. */
static void adopt_meanwhile(void *context)
{
    kv_txn *txn = begin(context, KV_TXN_WRITE);
    kv_txn_abort(txn);
}

static void test_adoption_wakes(void **state)
{
    waiter = open_db();
    commit_n(waiter, 0, "base", 5, 60, 'b');
    mortal_init(&victim, 2);
    mortal_run(&victim, 0, open_dying);
    victim.lose_flush = true;
    kv_db *other_handle;
    assert_int_equal(open_on(sim_os(disk), 0, &other_handle), KV_OK);
    uint64_t id = newest_id(waiter);
    kv_txn *txn = NULL;
    sim_process(disk, victim.process);
    bool done = setjmp(victim.end) == 0;
    if (done)
        commit_n(dying, KV_TXN_DURABLE, "work", 5, 50, 'w');
    sim_process(disk, 1);
    assert_false(done);
    mortal_bury(&victim);
    (void)txn;
    assert_int_equal(kv_db_wait(waiter, id, 0, NULL), KV_NOTFOUND);
    disk->meanwhile = adopt_meanwhile;
    disk->context = other_handle;
    disk->wakes = 0;
    assert_int_equal(kv_db_wait(waiter, id, KV_FOREVER, NULL), KV_OK);
    assert_int_equal(disk->wakes, 1);
    assert_int_equal(kv_db_close(other_handle), KV_OK);
    assert_int_equal(kv_db_close(waiter), KV_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_only_the_waiting_are_woken, fresh),
        cmocka_unit_test_setup(test_the_time_is_up, fresh),
        cmocka_unit_test_setup(test_cancelled_first, fresh),
        cmocka_unit_test_setup(test_irrelevant_commits, fresh),
        cmocka_unit_test_setup(test_for_ever_behind_other_commits, fresh),
        cmocka_unit_test_setup(test_the_writer_dies, fresh),
        cmocka_unit_test_setup(test_adoption_wakes, fresh),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
