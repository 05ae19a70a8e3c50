/* test_model_ops.c - random operations on the database and on the model, over page sizes, shapes,
 * durabilities, budgets, reopening and old snapshots. */
#include "db.h"
#include "differ.h"
#include "driver_group.h"
#include "driver_snapshot.h"
#include "must.h"
#include "sim_os.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#ifdef KVI_STRESS
#define SNAPSHOTS_FROM 1024 /* page size */
static const uint32_t page_sizes[] = {512, 1024, 4096};
#else
#define SNAPSHOTS_FROM 4096
static const uint32_t page_sizes[] = {4096, 8192, 65536};
#endif

typedef struct run_case {
    const char *name;
    driver_shape shape;
    uint64_t budget;
    unsigned commits, steps;
} run_case;

static run_case cases[] = {
    {"small", {.keys = 60, .key_max = 64, .value_max = 40, .trees = 2, .ranges = true}, 0, 120, 12},
    {"wide",
     {.keys = 4000, .key_max = 64, .value_max = 90, .trees = 0, .ranges = true},
     0,
     40,
     400},
    {"long",
     {.keys = 500, .key_max = 64, .value_max = 1500, .trees = 1, .ranges = true},
     0,
     40,
     120},
    {"large",
     {.keys = 80,
      .key_max = 64,
      .value_max = 200,
      .large_max = 40000,
      .large_one_in = 3,
      .trees = 2,
      .ranges = true,
      .compress_from = 1000},
     0,
     60,
     30},
    {"sorted", {.keys = 3000, .key_max = 64, .value_max = 60, .sorted = true}, 0, 30, 500},
    {"savepoints",
     {.keys = 600,
      .key_max = 64,
      .value_max = 90,
      .large_max = 9000,
      .large_one_in = 30,
      .trees = 3,
      .ranges = true,
      .savepoints = true},
     0,
     60,
     150},
    {"expiring",
     {.keys = 500,
      .key_max = 64,
      .value_max = 60,
      .large_max = 5000,
      .large_one_in = 40,
      .trees = 2,
      .ranges = true,
      .savepoints = true,
      .expiry = true,
      .compress_from = 300},
     0,
     80,
     100},
    {"expiring wide",
     {.keys = 6000,
      .key_max = 64,
      .value_max = 90,
      .ranges = true,
      .savepoints = true,
      .expiry = true},
     32768,
     40,
     500},
    {"tight",
     {.keys = 3000,
      .key_max = 64,
      .value_max = 90,
      .large_max = 30000,
      .large_one_in = 60,
      .trees = 2,
      .ranges = true,
      .savepoints = true},
     16384,
     25,
     500},
};

static sim_disk *disk;
static uint64_t seed;

static kv_db *open_db(const run_case *c, uint32_t page_size)
{
    char message[320];
    kv_db *db;
    kv_options options = {.size = sizeof options,
                          .flags = KV_OPEN_CREATE,
                          .page_size = page_size,
                          .memory_budget = c->budget,
                          .fill = (size_t)(c - cases) % 2 ? 50 : 0};
    int rc = kvi_db_open(sim_os(disk), "db", &options, &db, message, sizeof message);
    if (rc != KV_OK)
        fail_msg("open: %d %s", rc, message);
    return db;
}

static void compare_newest(driver *d)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(d->db, KV_TXN_READ, &txn), KV_OK);
    const char *what = driver_compare(txn, d->m->now);
    if (what)
        fail_msg("commit %llu: %s", (unsigned long long)kv_txn_id(txn), what);
    kv_txn_abort(txn);
    what = driver_snapshots(d->db, d->m->now);
    if (what)
        fail_msg("%s", what);
}

/* Snapshots held open over many commits must not change. */
typedef struct held {
    kv_txn *txn;
    model_state *state;
} held;

static void held_release(held *h)
{
    if (!h->txn)
        return;
    if (!driver_same(h->txn, h->state))
        fail_msg("an old snapshot (commit %llu) changed", (unsigned long long)kv_txn_id(h->txn));
    kv_txn_abort(h->txn);
    model_release(h->state);
    h->txn = NULL;
}

static void held_take(held *h, driver *d)
{
    held_release(h);
    assert_int_equal(kv_txn_begin(d->db, KV_TXN_READ, &h->txn), KV_OK);
    h->state = model_keep(d->m);
}

/* What was changed since an old snapshot, and what going back to it would change. */
static void held_differ(const held *h, driver *d)
{
    kv_txn *txn;
    if (!h->txn)
        return;
    assert_int_equal(kv_txn_begin(d->db, KV_TXN_READ, &txn), KV_OK);
    const char *what = differ_check(h->txn, h->state, txn, d->m->now);
    if (!what)
        what = differ_check(txn, d->m->now, h->txn, h->state);
    if (what)
        fail_msg("diff of %llu and %llu: %s", (unsigned long long)kv_txn_id(h->txn),
                 (unsigned long long)kv_txn_id(txn), what);
    kv_txn_abort(txn);
}

static void one_group(driver *d, uint32_t kind)
{
    model_state *unknown;
    if (driver_group(d, kind, &unknown))
        return;
    char text[320];
    kv_db_errmsg(d->db, text, sizeof text);
    fail_msg("%s: %d (%s)", d->what, d->failure, text);
}

static void one_transaction(driver *d, unsigned steps)
{
    static const uint32_t kinds[] = {0, KV_TXN_LAZY, KV_TXN_STRICT};
    if (rng_one_in(&d->r, 2))
        one_group(d, kinds[rng_below(&d->r, 3)]);
    if (!driver_begin(d, kinds[rng_below(&d->r, 3)]))
        fail_msg("begin: %d", d->failure);
    if (!driver_steps(d, (unsigned)rng_between(&d->r, 1, steps))) {
        char text[320];
        kv_db_errmsg(d->db, text, sizeof text);
        fail_msg("%s: %d (%s)", d->what, d->failure, text);
    }
    if (rng_one_in(&d->r, 4)) {
        const char *what = driver_compare(d->txn, d->m->now);
        if (what)
            fail_msg("inside a transaction: %s", what);
    }
    if (rng_one_in(&d->r, 6))
        driver_abort(d);
    else
        assert_int_equal(driver_commit(d), KV_OK);
}

static void one_snapshot(driver *d)
{
    static const uint32_t kinds[] = {0, KV_TXN_LAZY, KV_TXN_STRICT};
    uint32_t kind = kinds[rng_below(&d->r, 3)];
    model_state *unknown;
    if (driver_snapshot(d, &kind, &unknown))
        return;
    char text[320];
    kv_db_errmsg(d->db, text, sizeof text);
    fail_msg("%s: %d (%s)", d->what, d->failure, text);
}

static void run_one(const run_case *c, uint32_t page_size)
{
    model *m = model_new();
    held old[3] = {{0}};
    driver d;
    sim_reset(disk);
    disk->recording = SIM_RECORD_NOTHING;
    driver_init(&d, open_db(c, page_size), m, seed, &c->shape);
    d.clock = &disk->clock_ms;
    for (unsigned i = 0; i < c->commits; i++) {
        one_transaction(&d, c->steps);
        if (page_size >= SNAPSHOTS_FROM && rng_one_in(&d.r, 3))
            one_snapshot(&d);
        if (rng_one_in(&d.r, 8))
            assert_int_equal(driver_compact(&d), KV_OK);
        compare_newest(&d);
        held *h = &old[rng_below(&d.r, 3)];
        held_differ(h, &d);
        if (rng_one_in(&d.r, 3))
            held_take(h, &d);
        else if (rng_one_in(&d.r, 3))
            held_release(h);
        if (rng_one_in(&d.r, 5))
            must_be_sound(d.db);
        if (rng_one_in(&d.r, 10)) {
            for (int k = 0; k < 3; k++)
                held_release(&old[k]);
            assert_int_equal(kv_db_close(d.db), KV_OK);
            d.db = open_db(c, page_size);
            compare_newest(&d);
        }
    }
    for (int k = 0; k < 3; k++)
        held_release(&old[k]);
    must_be_sound(d.db);
    assert_int_equal(kv_db_close(d.db), KV_OK);
    assert_int_equal(sim_open_handles(disk), 0);
    model_free(m);
}

static void test_case(void **state)
{
    const run_case *c = *state;
    for (size_t i = 0; i < KVI_COUNT(page_sizes); i++)
        run_one(c, page_sizes[i]);
}

int main(void)
{
    struct CMUnitTest tests[KVI_COUNT(cases)];
    seed = rng_choose_seed(20);
    disk = sim_new(seed);
    for (size_t i = 0; i < KVI_COUNT(cases); i++)
        tests[i] = (struct CMUnitTest){cases[i].name, test_case, NULL, NULL, &cases[i]};
    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
