/* test_model_backup.c - random operations, and copies that follow by backups: one after every commit,
 * others after many, from bases made in each way. What a backup leaves out must be what the copy has,
 * however trees grow, shrink, are cut, renamed and made again. One copy gets several backups at once,
 * merged. */
#include "db.h"
#include "driver_group.h"
#include "parcel.h"
#include "sim_os.h"
#include <stdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#ifdef KVI_STRESS
static const uint32_t page_sizes[] = {512, 1024};
#else
static const uint32_t page_sizes[] = {4096, 16384};
#endif

typedef struct run_case {
    const char *name;
    driver_shape shape;
    unsigned commits, steps;
} run_case;

static run_case cases[] = {
    {"small", {.keys = 60, .key_max = 64, .value_max = 40, .trees = 3, .ranges = true}, 150, 12},
    {"wide", {.keys = 4000, .key_max = 64, .value_max = 90, .ranges = true}, 60, 400},
    {"long", {.keys = 500, .key_max = 64, .value_max = 1500, .trees = 1, .ranges = true}, 60, 60},
    {"large",
     {.keys = 80,
      .key_max = 64,
      .value_max = 200,
      .large_max = 40000,
      .large_one_in = 3,
      .trees = 2,
      .ranges = true,
      .compress_from = 1000},
     60,
     30},
    {"sorted",
     {.keys = 3000, .key_max = 64, .value_max = 60, .sorted = true, .ranges = true},
     40,
     400},
    {"expiring",
     {.keys = 300,
      .key_max = 64,
      .value_max = 60,
      .large_max = 9000,
      .large_one_in = 20,
      .trees = 2,
      .ranges = true,
      .expiry = true},
     80,
     60},
    {"savepoints",
     {.keys = 3000, .key_max = 64, .value_max = 90, .trees = 2, .ranges = true, .savepoints = true},
     60,
     200},
};

#define COPIES 4
#define CHAIN  6 /* backups that are merged, at most */

typedef struct run {
    driver d;
    kv_db *copies[COPIES];
    kv_db *late;             /* one more, which has not seen these yet: */
    parcel chain[CHAIN + 1]; /* backups of the first copy */
    size_t n_chain;
    parcel merged;
    uint32_t page_size;
} run;

static sim_disk *disk;
static uint64_t seed;

static kv_db *open_db(const char *path, uint32_t page_size)
{
    char message[320];
    kv_db *db;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = page_size};
    int rc = kvi_db_open(sim_os(disk), path, &options, &db, message, sizeof message);
    if (rc != KV_OK)
        fail_msg("open %s: %d %s", path, rc, message);
    return db;
}

static uint64_t origin_of(kv_db *db)
{
    kv_db_info info = {.size = sizeof info};
    assert_int_equal(kv_db_stat(db, &info), KV_OK);
    return info.origin_id;
}

static void compare(run *r, kv_db *copy, uint64_t from)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(copy, KV_TXN_READ, &txn), KV_OK);
    const char *what = driver_compare(txn, r->d.m->now);
    if (what)
        fail_msg("a copy brought from commit %llu to %llu: %s", (unsigned long long)from,
                 (unsigned long long)origin_of(copy), what);
    kv_txn_abort(txn);
}

static void unpack(run *r, parcel *p, kv_db *copy, uint64_t since)
{
    int rc = parcel_unpack(p, copy, KV_TXN_LAZY, NULL);
    if (rc != KV_OK) {
        char text[320];
        kv_db_errmsg(copy, text, sizeof text);
        fail_msg("apply: %d %s", rc, text);
    }
    assert_int_equal(p->read, p->len);
    compare(r, copy, since);
}

/* Since the commit that the copy repeats, or any before that. */
static void bring_up(run *r, kv_db *copy)
{
    parcel p = {.piece = rng_one_in(&r->d.r, 2) ? 1000 : 0};
    uint64_t at = origin_of(copy);
    uint64_t since = rng_one_in(&r->d.r, 4) ? rng_below(&r->d.r, at + 1) : at;
    assert_int_equal(parcel_pack_newest(&p, r->d.db, since, NULL), KV_OK);
    unpack(r, &p, copy, since);
    p.read = 0;
    if (copy == r->copies[0] && r->late)
        r->chain[r->n_chain++] = p;
    else
        parcel_free(&p);
}

static int64_t read_chain(void *context, size_t number, void *bytes, size_t len)
{
    run *r = context;
    return parcel_read(&r->chain[number], bytes, len);
}

static int write_merged(void *context, const void *bytes, size_t len)
{
    run *r = context;
    return parcel_write(&r->merged, bytes, len);
}

static void bring_up_late(run *r)
{
    char message[320];
    kv_merge_options options = {.size = sizeof options,
                                .n = r->n_chain,
                                .read = read_chain,
                                .write = write_merged,
                                .context = r};
    kv_backup_info info = {.size = sizeof info};
    if (kv_backup_merge(&options, &info, message, sizeof message) != KV_OK)
        fail_msg("merge: %s", message);
    unpack(r, &r->merged, r->late, info.from);
    assert_int_equal(origin_of(r->late), info.to);
    parcel_free(&r->merged);
    while (r->n_chain > 0)
        parcel_free(&r->chain[--r->n_chain]);
}

static void copy_anew(run *r, unsigned i)
{
    char path[16];
    snprintf(path, sizeof path, "copy%u", i);
    if (r->copies[i]) {
        assert_int_equal(kv_db_close(r->copies[i]), KV_OK);
        assert_int_equal(sim_os(disk)->unlink(sim_os(disk), path), 0);
    }
    switch (rng_below(&r->d.r, 3)) {
    case 0:
        assert_int_equal(kv_db_copy(r->d.db, path, 0), KV_OK);
        break;
    case 1:
        assert_int_equal(kv_db_copy(r->d.db, path, KV_COPY_COMPACT), KV_OK);
        break;
    }
    r->copies[i] = open_db(path, r->page_size);
    bring_up(r, r->copies[i]);
}

static void one_commit(run *r, unsigned steps)
{
    static const uint32_t kinds[] = {0, KV_TXN_LAZY, KV_TXN_STRICT};
    if (!driver_begin(&r->d, kinds[rng_below(&r->d.r, 3)]) ||
        !driver_steps(&r->d, (unsigned)rng_between(&r->d.r, 1, steps)))
        fail_msg("%s: %d", r->d.what, r->d.failure);
    if (rng_one_in(&r->d.r, 8))
        driver_abort(&r->d);
    else
        assert_int_equal(driver_commit(&r->d), KV_OK);
}

static void run_one(const run_case *c, uint32_t page_size)
{
    model *m = model_new();
    run r = {.page_size = page_size};
    sim_reset(disk);
    disk->recording = SIM_RECORD_NOTHING;
    driver_init(&r.d, open_db("db", page_size), m, seed, &c->shape);
    r.d.clock = &disk->clock_ms;
    for (unsigned i = 0; i < COPIES; i++)
        copy_anew(&r, i);
    r.late = open_db("late", page_size);
    bring_up(&r, r.late);
    for (unsigned i = 0; i < c->commits; i++) {
        one_commit(&r, c->steps);
        if (rng_one_in(&r.d.r, 8))
            assert_int_equal(driver_compact(&r.d), KV_OK);
        bring_up(&r, r.copies[0]);
        if (r.n_chain == CHAIN || rng_one_in(&r.d.r, 4))
            bring_up_late(&r);
        unsigned other = (unsigned)rng_between(&r.d.r, 1, COPIES - 1);
        if (rng_one_in(&r.d.r, 6))
            bring_up(&r, r.copies[other]);
        if (rng_one_in(&r.d.r, 20))
            copy_anew(&r, other);
        model_forget_before(m, kv_db_durable_id(r.d.db));
    }
    for (unsigned i = 0; i < COPIES; i++) {
        bring_up(&r, r.copies[i]);
        assert_int_equal(kv_db_check(r.copies[i], NULL), KV_OK);
        assert_int_equal(kv_db_close(r.copies[i]), KV_OK);
    }
    bring_up_late(&r);
    assert_int_equal(kv_db_check(r.late, NULL), KV_OK);
    assert_int_equal(kv_db_close(r.late), KV_OK);
    assert_int_equal(kv_db_close(r.d.db), KV_OK);
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
    return cmocka_run_group_tests_name("backup model", tests, NULL, NULL);
}
