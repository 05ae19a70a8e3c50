/* Logical processes that share a database, interleaved at every system call by a seed, and killed
 * there (test/support/baton.h): readers, writers, guests, batches of several threads, openings and
 * closings, syncs, checks, entries that expire, and commits that sweep them. A model says what every
 * snapshot holds; nothing that somebody saw or was told is ever given up, and the file is sound in
 * the end.
 *
 * SEEDS=n: how many, FIRST_SEED=n: from which; a failure names its seed and the call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "driver.h"
#include "baton.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NAME          "db"
#define COPY          "copy"
#define SEEDS_DEFAULT 60
#define STEPS_MAX     4000000
#define ACTORS        BATON_ACTORS
#define COUNTERS      "~counters"

/* A commit that has begun, and whose outcome nobody knows yet. */
typedef struct pending {
    uint64_t id; /* 0: none */
    model_state *state, *base;
} pending;

/* The handle that the threads of a process share. */
typedef struct house {
    kv_db *db;
    unsigned users; /* threads beside the owner that are in a call */
    bool closing;
    bool owner_done;
    bool readonly, guest;
} house;

typedef struct worker {
    house *house;
    unsigned number;
    bool owner; /* opens and closes */
    unsigned ops_left;
    rng r;
    driver d;
} worker;

static struct world {
    sim_disk *disk;
    baton s;
    model *m;
    pending open;     /* there is one at most */
    pending *decided; /* kept until the end */
    size_t n_decided, cap_decided;
    worker *writer;     /* whose changes the model's present state has */
    uint64_t published; /* a snapshot as new as this was seen, or told of */
    uint64_t told_of[ACTORS], tried_of[ACTORS];
    house houses[BATON_PROCESSES];
    worker workers[ACTORS];
    unsigned n_workers;
    bool exclusive; /* some opens are */
    uint64_t stamp;
    uint64_t seed;
} w;

static struct totals {
    uint64_t seeds, steps, switches, kills, snapshots, watched, commits, orphans, batches, opens;
    uint64_t expired, swept; /* snapshots in which something had; that lack it since */
} sum;

/* ---- failing ---- */

/* Not by cmocka: its way out does not lead from one thread to another. */
static _Noreturn void bad(const char *what, int rc)
{
    fprintf(stderr,
            "FIRST_SEED=%llu SEEDS=1: %s (%d) at call %llu, after %llu kills, snapshot %llu "
            "published\n",
            (unsigned long long)w.seed, what, rc, (unsigned long long)w.s.steps,
            (unsigned long long)w.s.kills, (unsigned long long)w.published);
    abort();
}

static void must(int rc, const char *what)
{
    if (rc != KV_OK)
        bad(what, rc);
}

static void pause_here(void)
{
    baton_pause(false);
}

/* ---- the oracle ---- */

/* Somebody may be comparing with its state. */
static void pending_clear(void)
{
    if (w.n_decided == w.cap_decided) {
        w.cap_decided = w.cap_decided * 2 + 64;
        w.decided = realloc(w.decided, w.cap_decided * sizeof *w.decided);
        if (!w.decided)
            bad("no memory", 0);
    }
    w.decided[w.n_decided++] = w.open;
    w.open = (pending){0};
}

/* It is there. */
static void pending_commit(void)
{
    model_state *now = model_keep(w.m);
    model_restore(w.m, w.open.state);
    model_commit_as(w.m, w.open.id);
    if (w.writer)
        model_restore(w.m, now);
    model_release(now);
    pending_clear();
}

/* It is not, and never will be. */
static void pending_drop(void)
{
    model_restore(w.m, w.open.base);
    pending_clear();
}

static const model_state *state_at(uint64_t id)
{
    const model_state *state = NULL;
    for (size_t i = 0; i < w.m->n_commits && w.m->commits[i].id <= id; i++)
        state = w.m->commits[i].state;
    return state;
}

/* Its snapshot or one behind it, or another write transaction, has begun: so it is decided whether it
 * is there. Its id may be used again if it is not. */
static void decide(kv_txn *txn, bool writing)
{
    uint64_t id = w.open.id;
    if (id == 0 || (!writing && kv_txn_id(txn) < id))
        return;
    bool there = driver_same(txn, w.open.state);
    if (w.open.id != id)
        return; /* somebody else has found out meanwhile */
    sum.orphans++;
    if (there)
        pending_commit();
    else
        pending_drop();
}

/* A snapshot has begun: is it one that may be? low: what was published before. */
static const model_state *snapshot_state(kv_txn *txn, uint64_t low)
{
    uint64_t id = kv_txn_id(txn);
    if (id < low)
        bad("a snapshot older than one seen before", 0);
    decide(txn, false);
    const model_state *state = state_at(id);
    if (!state)
        bad("a snapshot of no commit", 0);
    return state;
}

static void counters_look(kv_txn *txn, const uint64_t *told)
{
    kv_tree *tree;
    int rc = kv_tree_open(txn, COUNTERS, strlen(COUNTERS), 0, NULL, &tree);
    for (unsigned i = 0; i < w.n_workers; i++) {
        char key[16];
        kv_slice value;
        uint64_t n = 0;
        int len = snprintf(key, sizeof key, "counter%02u", i);
        if (rc == KV_OK) {
            int got = kv_get(tree, key, (size_t)len, &value);
            if (got == KV_OK && value.len == sizeof n)
                memcpy(&n, value.ptr, sizeof n);
            else if (got != KV_NOTFOUND)
                bad("a counter cannot be read", got);
        }
        if (n < told[i] || n > w.tried_of[i])
            bad("a batch was lost, or done twice", (int)n);
    }
}

/* ---- what processes do ---- */

/* False: there is no handle any more. */
static bool house_enter(worker *k)
{
    while (!k->owner && (!k->house->db || k->house->closing) && !k->house->owner_done)
        baton_pause(true);
    bool there = k->owner || !k->house->owner_done;
    k->house->users += there && !k->owner;
    return there;
}

static void house_leave(worker *k)
{
    k->house->users -= !k->owner;
}

static void open_it(worker *k, const kvi_os *os)
{
    kv_options options = {.size = sizeof options, .memory_budget = 1 << 16};
    bool sole = w.exclusive && rng_one_in(&k->r, 5);
    k->house->guest = ((const baton_process *)os)->guest;
    k->house->readonly = k->house->guest || rng_one_in(&k->r, 4);
    options.flags = k->house->readonly ? KV_OPEN_READONLY : sole ? KV_OPEN_EXCLUSIVE : 0;
    options.wait_ms = (uint32_t)rng_below(&k->r, 3) * 10;
    options.sweep_per_write = rng_one_in(&k->r, 2) ? (uint32_t)rng_below(&k->r, 20) : 0;
    kv_db *db;
    sim_forget_unused(w.disk);
    int rc = kvi_db_open(os, NAME, &options, &db, NULL, 0);
    if (rc == KV_EBUSY) { /* somebody has it alone, or wants to */
        baton_pause(true);
        return;
    }
    must(rc, "open");
    sum.opens++;
    k->house->db = db;
}

static void close_it(worker *k)
{
    k->house->closing = true;
    while (k->house->users > 0)
        baton_pause(true);
    kv_db *db = k->house->db;
    k->house->db = NULL;
    must(kv_db_close(db), "close");
    k->house->closing = false;
}

/* Has anything of the state expired? Is some of it not in the file any more, since a batch, which changes
 * nothing else there, swept it? */
static void expiry_look(kv_txn *txn, const model_state *state)
{
    const model_tree *t = model_tree_of(state, MODEL_MAIN);
    model_state *shown = model_shown(state, kv_txn_now(txn));
    kv_tree_info info = {.size = sizeof info};
    must(kv_tree_stat(kv_txn_main(txn), &info), "statistics of a tree");
    if (!shown)
        return;
    sum.expired++;
    sum.swept += t && info.entries < t->sum.entries;
    model_release(shown);
}

static void read_some(worker *k)
{
    uint64_t told[ACTORS], low = w.published;
    kv_txn *txn;
    memcpy(told, w.told_of, sizeof told);
    int rc = kv_txn_begin(k->house->db, KV_TXN_READ, &txn);
    must(rc, "begin a snapshot");
    uint64_t id = kv_txn_id(txn);
    const model_state *state = snapshot_state(txn, low);
    if (!k->house->guest)
        w.published = KVI_MAX(w.published, id);
    for (uint64_t looks = rng_between(&k->r, 1, 3); looks > 0; looks--) {
        if (!driver_same(txn, state))
            bad("a snapshot is not what was committed", 0);
        counters_look(txn, told);
        for (uint64_t n = rng_below(&k->r, 30); n > 0; n--)
            pause_here();
    }
    sum.snapshots++;
    expiry_look(txn, state);
    kv_txn_abort(txn);
}

/* Of what a state's main tree shows at a time. */
static model_sum main_sum(const model_state *state, uint64_t now)
{
    model_state *shown = model_shown(state, now);
    const model_tree *t = model_tree_of(shown ? shown : state, MODEL_MAIN);
    model_sum main = t ? t->sum : (model_sum){0};
    if (shown)
        model_release(shown);
    return main;
}

static bool same_main(const model_state *a, const model_state *b, uint64_t now)
{
    return model_sum_equal(main_sum(a, now), main_sum(b, now));
}

/* Waits for what the others do to the main tree: a change is reported if there is one, and only then;
 * that something expires is none. */
static void watch_some(worker *k)
{
    kv_watch *watch;
    uint64_t low = w.published;
    kv_watch_options options = {.size = sizeof options, .tree = ""};
    must(kv_watch_open(k->house->db, &options, &watch), "begin to watch");
    const model_state *seen = snapshot_state(kv_watch_txn(watch), low);
    for (uint64_t n = rng_between(&k->r, 1, 3); n > 0; n--) {
        kv_watch_event event = {.size = sizeof event};
        low = w.published;
        int rc = kv_watch_next(watch, (uint32_t)rng_below(&k->r, 5), &event);
        const model_state *now = snapshot_state(kv_watch_txn(watch), low);
        uint64_t time = kv_txn_now(kv_watch_txn(watch));
        if (rc != KV_NOTFOUND)
            must(rc, "watch");
        if (same_main(seen, now, time) != (rc == KV_NOTFOUND))
            bad("a watch missed a change, or made one up", rc);
        if (rc == KV_OK && (!driver_same(event.to, now) ||
                            !same_main(seen, snapshot_state(event.from, event.from_id), time)))
            bad("a watch does not show what changed", 0);
        seen = now;
        sum.watched++;
    }
    kv_watch_close(watch);
}

static uint32_t any_kind(worker *k)
{
    static const uint32_t kinds[] = {0, KV_TXN_LAZY, KV_TXN_STRICT, KV_TXN_DURABLE};
    return kinds[rng_below(&k->r, KVI_COUNT(kinds))];
}

static int begin_write(worker *k, kv_txn **txn)
{
    uint32_t kind = any_kind(k);
    switch (rng_below(&k->r, 4)) {
    case 0:
        return kv_txn_begin(k->house->db, KV_TXN_WRITE | KV_TXN_TRY | kind, txn);
    case 1:
        return kv_txn_begin_wait(k->house->db, kind, 5, txn);
    default:
        return kv_txn_begin(k->house->db, KV_TXN_WRITE | kind, txn);
    }
}

/* Every transaction changes something, so that its number is used. */
static void put_stamp(worker *k)
{
    uint64_t stamp = ++w.stamp;
    must(kv_put(kv_txn_main(k->d.txn), "stamp", 5, &stamp, sizeof stamp, 0), "put");
    model_put(w.m, MODEL_MAIN, model_text("stamp"), kvi_slice_of(&stamp, sizeof stamp));
}

static void commit_it(worker *k)
{
    kv_txn *txn = k->d.txn;
    uint64_t id = kv_txn_id(txn);
    w.open = (pending){id, model_keep(w.m), k->d.base};
    k->d.base = model_keep(w.m);
    driver_leave(&k->d, true);
    w.writer = NULL;
    must(kv_txn_commit(txn), "commit");
    if (w.open.id == id) {
        pending_commit();
    } else { /* somebody has seen it, or seen that it is not there */
        size_t i = w.m->n_commits;
        while (i > 0 && w.m->commits[i - 1].id > id)
            i--;
        if (i == 0 || w.m->commits[i - 1].id != id)
            bad("an acknowledged commit is not there", 0);
    }
    w.published = KVI_MAX(w.published, id);
    sum.commits++;
}

static void write_some(worker *k)
{
    kv_txn *txn;
    uint64_t low = w.published;
    int rc = begin_write(k, &txn);
    if (rc == KV_EBUSY)
        return;
    must(rc, "begin a write transaction");
    decide(txn, true);
    w.writer = k;
    if (kv_txn_id(txn) <= low)
        bad("an id is used again", 0);
    if (!driver_same(txn, w.m->now))
        bad("a write transaction does not begin with the newest commit", 0);
    driver_enter(&k->d, txn);
    if (!driver_steps(&k->d, (unsigned)rng_below(&k->r, 12)))
        bad(k->d.what, k->d.failure);
    put_stamp(k);
    if (!rng_one_in(&k->r, 6)) {
        commit_it(k);
        return;
    }
    driver_leave(&k->d, false); /* before the turn is given up */
    w.writer = NULL;
    kv_txn_abort(txn);
}

/* Counts one up, if nobody else did: threads of one process are committed together. */
static void write_batch(worker *k)
{
    unsigned i = k->number;
    char key[16];
    kv_slice name = {COUNTERS, strlen(COUNTERS)};
    uint64_t next, was = w.told_of[i];
    int len = snprintf(key, sizeof key, "counter%02u", i);
    if (w.told_of[i] < w.tried_of[i]) { /* an earlier life did not learn it; writing decides */
        kv_txn *txn;
        kv_tree *tree;
        kv_slice value;
        was = 0;
        must(kv_txn_begin(k->house->db, KV_TXN_WRITE, &txn), "begin a write transaction");
        if (kv_tree_open(txn, COUNTERS, strlen(COUNTERS), 0, NULL, &tree) == KV_OK &&
            kv_get(tree, key, (size_t)len, &value) == KV_OK)
            memcpy(&was, value.ptr, sizeof was);
        kv_txn_abort(txn);
        if (was < w.told_of[i] || was > w.tried_of[i])
            bad("a batch was lost, or done twice", (int)was);
        w.told_of[i] = was;
    }
    next = was + 1;
    kv_op ops[2] = {
        {.kind = KV_OP_CHECK_VALUE,
         .tree = name,
         .key = {key, (size_t)len},
         .value = {&was, sizeof was}},
        {.kind = KV_OP_PUT,
         .flags = KV_OP_CREATE_TREE,
         .tree = name,
         .key = {key, (size_t)len},
         .value = {&next, sizeof next}},
    };
    kv_write_result result = {.size = sizeof result};
    w.tried_of[i] = next;
    int rc = kv_db_write(k->house->db, ops + (was == 0), 1 + (was != 0), any_kind(k), &result);
    must(rc, "a batch");
    w.told_of[i] = next;
    w.published = KVI_MAX(w.published, result.commit_id);
    sum.batches++;
}

static int no_reader(void *context, const kv_reader_info *reader)
{
    (void)context;
    (void)reader;
    return 0;
}

static void look_around(worker *k)
{
    kv_db_info info = {.size = sizeof info};
    switch (rng_below(&k->r, 4)) {
    case 0:
        must(kv_db_check(k->house->db, NULL), "check");
        break;
    case 1:
        must(kv_db_stat(k->house->db, &info), "stat");
        if (info.poisoned)
            bad("poisoned, though nothing failed", 0);
        break;
    case 2:
        must(kv_db_readers(k->house->db, no_reader, NULL), "readers");
        break;
    default:
        if (!k->house->readonly)
            must(rng_one_in(&k->r, 4) ? kv_db_reset_clock(k->house->db, 0)
                                      : kv_db_sync(k->house->db),
                 "sync");
    }
}

static void act(worker *k)
{
    k->d.db = k->house->db;
    w.disk->clock_ms += rng_below(&k->r, 300); /* never back: watches look at several times */
    switch (rng_below(&k->r, 9)) {
    case 0:
    case 1:
    case 2:
        read_some(k);
        break;
    case 8:
        watch_some(k);
        break;
    case 3:
        look_around(k);
        break;
    case 4:
    case 5:
        if (!k->house->readonly)
            write_batch(k);
        break;
    default:
        if (!k->house->readonly)
            write_some(k);
    }
}

static void work(void *context, baton_process *process)
{
    worker *k = context;
    while (k->ops_left > 0) {
        k->ops_left--;
        if (k->owner && !k->house->db) {
            open_it(k, &process->os);
            continue;
        }
        if (k->owner && rng_one_in(&k->r, 8)) {
            close_it(k);
            continue;
        }
        if (!house_enter(k))
            break;
        act(k);
        house_leave(k);
    }
    if (!k->owner)
        return;
    w.s.kill_one_in = 0; /* what is left is to be closed by all */
    k->house->owner_done = true;
    if (k->house->db)
        close_it(k);
}

/* What the dead had begun is nobody's; a commit under way may be there or not. */
static void killed(void *context, baton_process *process)
{
    (void)context;
    house *h = &w.houses[process->index];
    if (w.writer && w.writer->house == h) {
        w.writer->d.txn = NULL;
        driver_leave(&w.writer->d, false);
        w.writer = NULL;
    }
    h->db = NULL;
    h->users = 0;
    h->closing = false;
}

/* ---- one seed ---- */

static void make_database(void)
{
    kv_db *db;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
    must(kvi_db_open(sim_os(w.disk), NAME, &options, &db, NULL, 0), "create");
    driver_init(&w.workers[0].d, db, w.m, 0, &w.workers[0].d.shape);
    kv_txn *txn;
    must(kv_txn_begin(db, KV_TXN_WRITE, &txn), "begin");
    driver_enter(&w.workers[0].d, txn);
    put_stamp(&w.workers[0]);
    driver_leave(&w.workers[0].d, true);
    uint64_t id = kv_txn_id(txn);
    must(kv_txn_commit(txn), "commit");
    model_commit_as(w.m, id);
    w.published = id;
    must(kv_db_close(db), "close");
}

static void people(rng *r)
{
    static const driver_shape shapes[] = {
        {.keys = 40,
         .key_max = 40,
         .value_max = 60,
         .trees = 2,
         .savepoints = true,
         .ranges = true},
        {.keys = 20, .key_max = 30, .value_max = 40, .large_max = 9000, .large_one_in = 6},
        {.keys = 300, .key_max = 60, .value_max = 90, .trees = 1},
        {.keys = 50,
         .key_max = 40,
         .value_max = 60,
         .trees = 1,
         .savepoints = true,
         .ranges = true,
         .expiry = true},
    };
    const driver_shape *shape = &shapes[rng_below(r, KVI_COUNT(shapes))];
    unsigned n = (unsigned)rng_between(r, 2, 5);
    for (unsigned p = 0; p < n; p++) {
        baton_process *process = baton_process_add(&w.s);
        process->guest = p > 0 && rng_one_in(r, 6);
        unsigned threads = rng_one_in(r, 3) ? (unsigned)rng_between(r, 2, 3) : 1;
        for (unsigned t = 0; t < threads; t++) {
            worker *k = &w.workers[w.n_workers];
            *k = (worker){.house = &w.houses[p], .number = w.n_workers++, .owner = t == 0};
            k->ops_left = (unsigned)rng_between(r, 20, 60);
            rng_seed(&k->r, rng_next(r));
            driver_init(&k->d, NULL, w.m, rng_next(r), shape);
            baton_actor_add(&w.s, process, work, k);
        }
    }
}

/* Nobody is left: the newest commit is there, the file is sound, nothing lies about. */
static void look_back(void)
{
    kv_db *db;
    kv_txn *txn;
    kv_options options = {.size = sizeof options};
    sim_forget_unused(w.disk);
    must(kvi_db_open(sim_os(w.disk), NAME, &options, &db, NULL, 0), "open in the end");
    must(kv_txn_begin(db, KV_TXN_WRITE, &txn), "begin in the end");
    decide(txn, true);
    if (!driver_same(txn, w.m->now))
        bad("another content in the end", 0);
    counters_look(txn, w.told_of);
    kv_txn_abort(txn);
    must(kv_db_check(db, NULL), "check in the end");
    must(kv_db_close(db), "close in the end");
    if (sim_open_handles(w.disk) != 0 || w.disk->n_locks != 0)
        bad("handles or locks are left", sim_open_handles(w.disk));
    if (sim_find(w.disk, NAME "-lock") >= 0)
        bad("a side file is left", 0);
}

static void run_seed(uint64_t seed)
{
    rng r;
    sim_disk *disk = w.disk;
    memset(&w, 0, sizeof w);
    w.disk = disk;
    w.seed = seed;
    w.m = model_new();
    rng_seed(&r, seed);
    sim_reset(disk);
    make_database();
    baton_init(&w.s, disk, rng_next(&r));
    w.s.sticky = (unsigned)1 << rng_below(&r, 5);
    w.s.kill_one_in = rng_one_in(&r, 4) ? 0 : (unsigned)50 << rng_below(&r, 6);
    w.s.steps_max = STEPS_MAX;
    w.s.killed = killed;
    w.exclusive = rng_one_in(&r, 3);
    people(&r);
    baton_run(&w.s);
    look_back();
    sum.seeds++;
    sum.steps += w.s.steps;
    sum.switches += w.s.switches;
    sum.kills += w.s.kills;
    for (size_t i = 0; i < w.n_decided; i++) {
        model_release(w.decided[i].state);
        model_release(w.decided[i].base);
    }
    free(w.decided);
    model_free(w.m);
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

static void test_seeds(void **state)
{
    uint64_t first = number_of("FIRST_SEED", 1), seeds = number_of("SEEDS", SEEDS_DEFAULT);
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    w.disk = sim_new(1);
    w.disk->recording = SIM_RECORD_NOTHING;
    for (uint64_t i = 0; i < seeds; i++)
        run_seed(first + i);
    sim_free(w.disk);
    clock_gettime(CLOCK_MONOTONIC, &to);
    double seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    printf("%llu seeds, %llu calls (%.0f per s), %llu switches, %llu kills, %llu opens, %llu "
           "snapshots, %llu of them with what had expired, %llu where it was swept, %llu watched, "
           "%llu commits, %llu found or "
           "lost after a kill, %llu batches\n",
           (unsigned long long)sum.seeds, (unsigned long long)sum.steps,
           (double)sum.steps / seconds, (unsigned long long)sum.switches,
           (unsigned long long)sum.kills, (unsigned long long)sum.opens,
           (unsigned long long)sum.snapshots, (unsigned long long)sum.expired,
           (unsigned long long)sum.swept, (unsigned long long)sum.watched,
           (unsigned long long)sum.commits, (unsigned long long)sum.orphans,
           (unsigned long long)sum.batches);
    if (seeds >= SEEDS_DEFAULT) { /* all of it happened */
        assert_true(sum.kills > seeds);
        assert_true(sum.orphans > 0 && sum.expired > seeds && sum.swept > 0);
        assert_true(sum.watched > seeds && sum.batches > seeds && sum.commits > seeds &&
                    sum.snapshots > seeds);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_seeds)};
    return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
