/* test_crash.c - power cuts and kills at every moment of many workloads; test/support/crash.h tells
 * how. CRASH_STATES=n sets how many states are opened, CRASH_ONLY=name runs one workload,
 * CRASH_FIRST=1 stops at the first failure, KV_SEED=n makes other workloads of the same kinds. In a
 * build with seeded bugs, KV_MUTANT=NAME chooses one (src/mutant.h). */
#include "crash.h"
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>
#include <cmocka.h>

#define STATES_DEFAULT 60000
#define STATES_A_RUN   40000 /* then the workload begins anew with another seed */
#define EPOCHS_LEAST   100   /* no epoch has more than one state in so many */
#define NESTED_LEAST   8     /* one state in so many, at least, is a crash behind a crash */
#define RUNS_MAX       10000

#ifdef KVI_STRESS
#define TIGHT 2048                         /* bytes of a transaction's memory: a few pages */
#define NAMED .page_size = 1024, .snapshot /* on the smallest page that takes a snapshot */
#define LARGE 2000
#define HUGE  8000
#else
#define TIGHT 16384
#define NAMED .snapshot
#define LARGE 9000
#define HUGE  500000 /* a few of them are over the cap of a quick recovery */
#endif

#define SMALL .keys = 60, .key_max = 40, .value_max = 60
#define WIDE  .keys = 400, .key_max = 64, .value_max = 90

static const crash_workload workloads[] = {
    /* every kind of commit, alone and mixed, with and without kills */
    {"default", {SMALL}, .kinds = CRASH_DEFAULT, .segments = 4, .txns = 25, .steps = 6},
    {"strict", {SMALL}, .kinds = CRASH_STRICT, .segments = 4, .txns = 20, .steps = 6},
    {"lazy", {SMALL}, .kinds = CRASH_LAZY, .segments = 5, .txns = 25, .steps = 6},
    {"mixed", {SMALL}, .kinds = CRASH_ANY, .segments = 4, .txns = 25, .steps = 6},
    {"default-kill",
     {SMALL},
     .kinds = CRASH_DEFAULT,
     .segments = 4,
     .txns = 25,
     .steps = 6,
     .kill = 3},
    {"strict-kill",
     {SMALL},
     .kinds = CRASH_STRICT,
     .segments = 4,
     .txns = 20,
     .steps = 6,
     .kill = 3},
    {"lazy-kill", {SMALL}, .kinds = CRASH_LAZY, .segments = 5, .txns = 25, .steps = 6, .kill = 3},
    {"mixed-kill", {WIDE}, .kinds = CRASH_ANY, .segments = 4, .txns = 25, .steps = 12, .kill = 3},
    {"one-key",
     {.keys = 2, .key_max = 20, .value_max = 20},
     .kinds = CRASH_ANY,
     .segments = 5,
     .txns = 30,
     .steps = 2,
     .kill = 6,
     .close = 8},
    /* closing, syncing, aborting */
    {"close", {SMALL}, .kinds = CRASH_DEFAULT, .segments = 4, .txns = 20, .steps = 6, .close = 2},
    {"close-any",
     {SMALL},
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 20,
     .steps = 6,
     .close = 2,
     .kill = 6},
    {"sync", {SMALL}, .kinds = CRASH_LAZY, .segments = 4, .txns = 25, .steps = 6, .sync = 3},
    {"sync-kill",
     {SMALL},
     .kinds = CRASH_LAZY | CRASH_STRICT,
     .segments = 4,
     .txns = 25,
     .steps = 6,
     .sync = 4,
     .kill = 5,
     .close = 7},
    {"lazy-bytes",
     {SMALL},
     .kinds = CRASH_LAZY,
     .lazy_bytes = 40000,
     .segments = 4,
     .txns = 30,
     .steps = 6,
     .kill = 8},
    {"abort", {SMALL}, .kinds = CRASH_ANY, .segments = 4, .txns = 30, .steps = 8, .abort = 2},
    /* batches of several callers in one commit */
    {"groups",
     {SMALL, .trees = 2, .ranges = true},
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 25,
     .steps = 6,
     .group = 1,
     .kill = 5,
     .close = 8},
    {"groups-fail",
     {WIDE, .large_max = LARGE, .large_one_in = 12},
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 20,
     .steps = 12,
     .group = 2,
     .sync = 5,
     .kill = 5,
     .fail_flush = 5,
     .fail_write = 4},
    /* backups applied */
    {"replay",
     {SMALL, .trees = 2, .large_max = LARGE, .large_one_in = 12},
     .kinds = CRASH_ANY,
     .replay = true,
     .segments = 4,
     .txns = 15,
     .sync = 6,
     .kill = 5,
     .close = 8,
     .fail_flush = 8,
     .fail_write = 6},
    /* pages are moved down, and the file is cut */
    {"compact",
     {WIDE, .trees = 2, .large_max = LARGE, .large_one_in = 12},
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 12,
     .steps = 60,
     .purge = 3,
     .compact = 3,
     .kill = 4,
     .close = 8,
     NAMED = 5},
    {"compact-fail",
     {WIDE, .trees = 1, .large_max = LARGE, .large_one_in = 12},
     .kinds = CRASH_DEFAULT | CRASH_LAZY,
     .pair = true,
     .segments = 4,
     .txns = 12,
     .steps = 60,
     .purge = 3,
     .compact = 3,
     .kill = 5,
     .fail_flush = 6,
     .fail_write = 5},
    /* entries that expire, and are swept */
    {"expiry",
     {SMALL, .trees = 2, .large_max = LARGE, .large_one_in = 12, .expiry = true},
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 15,
     .steps = 12,
     .abort = 6,
     .sync = 6,
     .kill = 5,
     .close = 8},
    /* every commit sweeps, that of a snapshot that comes back, too */
    {"expiry-swept",
     {SMALL, .trees = 2, .large_max = LARGE, .large_one_in = 12, .expiry = true},
     NAMED = 3,
     .sweep = 3,
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 15,
     .steps = 12,
     .abort = 6,
     .compact = 8,
     .kill = 5,
     .close = 8},
    {"expiry-early",
     {WIDE, .trees = 1, .savepoints = true, .expiry = true},
     .budget = TIGHT,
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 12,
     .steps = 150,
     .kill = 5},
    {"replay-early",
     {WIDE, .trees = 1},
     .budget = TIGHT,
     .kinds = CRASH_ANY,
     .replay = true,
     .segments = 4,
     .txns = 12,
     .kill = 5,
     .close = 8},
    /* early sealing, savepoints */
    {"early", {WIDE}, .budget = TIGHT, .kinds = CRASH_ANY, .segments = 4, .txns = 12, .steps = 150},
    {"early-abort",
     {WIDE},
     .budget = TIGHT,
     .kinds = CRASH_DEFAULT | CRASH_LAZY,
     .segments = 4,
     .txns = 14,
     .steps = 120,
     .abort = 2,
     .kill = 5},
    {"early-savepoints",
     {WIDE, .trees = 2, .savepoints = true},
     .budget = TIGHT,
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 12,
     .steps = 150,
     .abort = 4,
     .kill = 6},
    {"early-large",
     {WIDE, .large_max = LARGE, .large_one_in = 20, .savepoints = true},
     .budget = TIGHT,
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 12,
     .steps = 80,
     .abort = 4},
    {"savepoints",
     {WIDE, .trees = 2, .savepoints = true},
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 20,
     .steps = 40,
     .kill = 8},
    /* trees, ranges */
    {"trees", {SMALL, .trees = 4}, .kinds = CRASH_ANY, .segments = 4, .txns = 20, .steps = 12},
    {"trees-ranges",
     {SMALL, .trees = 4, .ranges = true},
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 20,
     .steps = 30,
     .abort = 5,
     .kill = 5},
    /* large values */
    {"large",
     {SMALL, .large_max = LARGE, .large_one_in = 4},
     .kinds = CRASH_DEFAULT,
     .segments = 4,
     .txns = 20,
     .steps = 5},
    {"large-any",
     {SMALL, .large_max = LARGE, .large_one_in = 3, .trees = 1},
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 20,
     .steps = 5,
     .kill = 4,
     .close = 6},
    {"large-compressed",
     {SMALL, .large_max = 3 * LARGE, .large_one_in = 3, .trees = 3, .compress_from = 300},
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 20,
     .steps = 6,
     .kill = 6},
    {"over-cap",
     {SMALL, .large_max = HUGE, .large_one_in = 4},
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 12,
     .steps = 8,
     .kill = 3,
     .sync = 6,
     .purge = 6,
     .close = 6,
     .slow = 20},
    /* commits over the cap among others, and many have the content of one before */
    {"over-cap-same",
     {.keys = 8, .key_max = 20, .value_max = 1, .large_max = 2 * HUGE, .large_one_in = 6},
     .kinds = CRASH_LAZY,
     .segments = 4,
     .txns = 30,
     .steps = 1,
     .sync = 6,
     .slow = 20},
    /* growth and truncation */
    {"growth",
     {WIDE, .sorted = true},
     .kinds = CRASH_DEFAULT,
     .segments = 4,
     .txns = 20,
     .steps = 40},
    {"growth-lazy",
     {WIDE, .sorted = true},
     .kinds = CRASH_LAZY,
     .segments = 4,
     .txns = 20,
     .steps = 40,
     .sync = 5,
     .kill = 8},
    {"truncation",
     {WIDE},
     .kinds = CRASH_DEFAULT,
     .segments = 4,
     .txns = 24,
     .steps = 60,
     .purge = 3},
    {"truncation-lazy",
     {WIDE},
     .kinds = CRASH_LAZY,
     .segments = 4,
     .txns = 24,
     .steps = 60,
     .purge = 3,
     .sync = 3,
     .kill = 8},
    {"truncation-any",
     {WIDE, .large_max = LARGE, .large_one_in = 20},
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 24,
     .steps = 40,
     .purge = 3,
     .reader = 3,
     .close = 6,
     .kill = 8},
    /* many small commits fold the space records */
    {"fold", {SMALL}, .kinds = CRASH_DEFAULT, .segments = 3, .txns = 90, .steps = 2},
    {"fold-lazy", {WIDE}, .kinds = CRASH_LAZY, .segments = 3, .txns = 90, .steps = 4, .sync = 9},
    {"fold-any",
     {WIDE, .trees = 2},
     .kinds = CRASH_ANY,
     .segments = 3,
     .txns = 70,
     .steps = 6,
     .abort = 6,
     .kill = 12,
     .close = 15,
     .reader = 4,
     .purge = 20},
    /* the clock is set back, beside every kind of commit */
    {"clock",
     {SMALL, .trees = 1},
     .clock = 2,
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 20,
     .steps = 6,
     .sync = 6,
     .kill = 6,
     .close = 8,
     .fail_flush = 8,
     .fail_write = 8},
    /* old snapshots */
    {"readers",
     {WIDE},
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 24,
     .steps = 12,
     .reader = 2,
     .abort = 8},
    {"readers-default",
     {SMALL},
     .kinds = CRASH_DEFAULT,
     .segments = 4,
     .txns = 30,
     .steps = 6,
     .reader = 2,
     .purge = 10},
    /* snapshots with names, made and dropped beside every kind of commit */
    {"named",
     {SMALL},
     NAMED = 2,
     .kinds = CRASH_DEFAULT,
     .segments = 4,
     .txns = 20,
     .steps = 6,
     .close = 8},
    {"named-lazy",
     {SMALL},
     NAMED = 2,
     .kinds = CRASH_LAZY,
     .segments = 4,
     .txns = 20,
     .steps = 6,
     .sync = 6,
     .kill = 6,
     .close = 10},
    {"named-any",
     {WIDE, .trees = 2, .ranges = true},
     NAMED = 2,
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 24,
     .steps = 12,
     .reader = 4,
     .purge = 8,
     .abort = 6,
     .kill = 6,
     .sync = 8,
     .close = 8},
    {"named-large",
     {SMALL, .large_max = LARGE, .large_one_in = 4, .trees = 1},
     NAMED = 2,
     .budget = TIGHT,
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 16,
     .steps = 6,
     .kill = 6,
     .close = 8},
    {"named-fails",
     {SMALL, .large_max = LARGE, .large_one_in = 12},
     NAMED = 2,
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 20,
     .steps = 6,
     .fail_flush = 4,
     .fail_write = 4,
     .sync = 5,
     .kill = 5,
     .close = 8},
    {"pair-named",
     {SMALL, .trees = 1},
     NAMED = 2,
     .pair = true,
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 25,
     .steps = 6,
     .kill = 5,
     .sync = 6,
     .reader = 5,
     .close = 7},
    /* two handles that take turns; one dies or leaves, and the other goes on */
    {"pair",
     {SMALL},
     .pair = true,
     .kinds = CRASH_DEFAULT,
     .segments = 4,
     .txns = 25,
     .steps = 6,
     .kill = 5,
     .close = 7},
    {"pair-any",
     {SMALL, .trees = 2},
     .pair = true,
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 30,
     .steps = 6,
     .kill = 4,
     .sync = 6,
     .reader = 5,
     .close = 6},
    {"pair-lazy",
     {SMALL},
     .pair = true,
     .kinds = CRASH_LAZY | CRASH_DEFAULT,
     .segments = 4,
     .txns = 30,
     .steps = 6,
     .kill = 6,
     .sync = 8,
     .close = 5},
    {"pair-strict",
     {WIDE},
     .pair = true,
     .kinds = CRASH_STRICT | CRASH_LAZY,
     .segments = 4,
     .txns = 25,
     .steps = 10,
     .kill = 4,
     .purge = 8},
    {"pair-early",
     {WIDE, .savepoints = true},
     .budget = TIGHT,
     .pair = true,
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 16,
     .steps = 120,
     .abort = 2,
     .kill = 3,
     .close = 8},
    {"pair-fails",
     {SMALL, .large_max = LARGE, .large_one_in = 12},
     .pair = true,
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 25,
     .steps = 6,
     .fail_flush = 4,
     .fail_write = 6,
     .sync = 5,
     .kill = 4,
     .close = 8},
    {"pair-over-cap",
     {SMALL, .large_max = HUGE, .large_one_in = 4},
     .pair = true,
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 12,
     .steps = 8,
     .kill = 3,
     .sync = 6,
     .close = 6,
     .slow = 20},
    {"pair-groups",
     {WIDE, .trees = 2, .ranges = true},
     .pair = true,
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 25,
     .steps = 8,
     .group = 2,
     .reader = 4,
     .purge = 8,
     .kill = 5,
     .close = 8},
    /* failures */
    {"flush-fails",
     {SMALL},
     .kinds = CRASH_DEFAULT,
     .segments = 4,
     .txns = 20,
     .steps = 6,
     .fail_flush = 3},
    {"flush-fails-any",
     {SMALL, .large_max = LARGE, .large_one_in = 12},
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 20,
     .steps = 6,
     .fail_flush = 3,
     .sync = 4,
     .kill = 6,
     .close = 8},
    {"flush-fails-growth",
     {WIDE, .sorted = true},
     .kinds = CRASH_DEFAULT | CRASH_STRICT,
     .segments = 4,
     .txns = 20,
     .steps = 30,
     .fail_flush = 4,
     .purge = 8},
    {"write-fails",
     {WIDE},
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 20,
     .steps = 20,
     .fail_write = 2,
     .kill = 8},
    {"write-fails-early",
     {WIDE, .savepoints = true},
     .budget = TIGHT,
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 12,
     .steps = 120,
     .fail_write = 2},
    /* the beginning, and other sizes */
    {"create", {SMALL}, .kinds = CRASH_ANY, .segments = 12, .txns = 2, .steps = 4, .kill = 2},
    {"empty-file",
     {SMALL},
     .kinds = CRASH_ANY,
     .segments = 6,
     .txns = 3,
     .steps = 4,
     .kill = 3,
     .empty_file = true},
    {"page-8192",
     {WIDE, .trees = 1},
     .page_size = 8192,
     .kinds = CRASH_ANY,
     .segments = 4,
     .txns = 20,
     .steps = 20,
     .kill = 5,
     .close = 8},
    {"page-16384",
     {WIDE, .large_max = 40000, .large_one_in = 40},
     .page_size = 16384,
     .kinds = CRASH_ANY,
     .segments = 3,
     .txns = 16,
     .steps = 20,
     .kill = 5,
     .slow = 2},
};

static struct {
    uint64_t states; /* of all workloads */
    uint64_t shares; /* among which they are divided */
    uint64_t seed;
    bool failed;
    crash_totals totals[KVI_COUNT(workloads)];
} all;

static uint64_t share_of(const crash_workload *w)
{
    return 60 / KVI_MAX(w->slow, 1u);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void test_workload(void **state)
{
    const crash_workload *w = *state;
    crash_totals *totals = &all.totals[w - workloads];
    uint64_t quota = all.states * share_of(w) / all.shares + 1;
    double began = seconds();
    bool mine = true;
    if ((crash_replayed(w, &mine) && !mine) || (all.failed && getenv("CRASH_FIRST")))
        return;
    for (uint64_t run = 0; totals->states < quota && run < RUNS_MAX; run++) {
        uint64_t left = quota - totals->states;
        const char *wrong = crash_run(w, all.seed + run, KVI_MIN(left, (uint64_t)STATES_A_RUN),
                                      all.states / EPOCHS_LEAST, totals);
        if (wrong) {
            fputs(wrong, stderr); /* too long for cmocka */
            all.failed = true;
            fail();
        }
        if (getenv("CRASH_REPLAY"))
            return;
    }
    totals->seconds = seconds() - began;
}

static void print_totals(const char *name, const crash_totals *t)
{
    printf("%-20s %9llu %9llu %8llu %8llu %8llu %8llu %8llu %7llu %8.0f\n", name,
           (unsigned long long)t->images, (unsigned long long)t->states,
           (unsigned long long)t->kills, (unsigned long long)t->nested,
           (unsigned long long)t->sharing, (unsigned long long)t->commits,
           (unsigned long long)t->flushes, (unsigned long long)t->largest,
           t->seconds > 0 ? (double)t->states / t->seconds : 0);
}

static void totals_add(crash_totals *sum, const crash_totals *t)
{
    sum->images += t->images;
    sum->states += t->states;
    sum->kills += t->kills;
    sum->nested += t->nested;
    sum->lies += t->lies;
    sum->refused += t->refused;
    sum->twice += t->twice;
    sum->sharing += t->sharing;
    sum->shared += t->shared;
    sum->alone += t->alone;
    sum->reading += t->reading;
    sum->deaths += t->deaths;
    sum->losses += t->losses;
    sum->commits += t->commits;
    sum->flushes += t->flushes;
    sum->largest = KVI_MAX(sum->largest, t->largest);
    sum->seconds += t->seconds;
}

static void test_totals(void **state)
{
    crash_totals sum = {0};
    printf("%-20s %9s %9s %8s %8s %8s %8s %8s %7s %8s\n", "workload", "images", "distinct", "kills",
           "nested", "sharing", "commits", "flushes", "largest", "per s");
    for (size_t i = 0; i < KVI_COUNT(workloads); i++) {
        print_totals(workloads[i].name, &all.totals[i]);
        totals_add(&sum, &all.totals[i]);
    }
    print_totals("all", &sum);
    printf("states: %llu of shared workloads, %llu of exclusive ones; opens of them: %llu shared, "
           "%llu "
           "exclusive, %llu read-only; recorded: %llu deaths beside a living handle, %llu lazy "
           "commits that were not written back\n",
           (unsigned long long)sum.sharing, (unsigned long long)(sum.states - sum.sharing),
           (unsigned long long)sum.shared, (unsigned long long)sum.alone,
           (unsigned long long)sum.reading, (unsigned long long)sum.deaths,
           (unsigned long long)sum.losses);
    printf("after lost flushes: %llu states, of which %llu were refused or not readable in whole, "
           "and %llu misread where an id was used twice\n",
           (unsigned long long)sum.lies, (unsigned long long)sum.refused,
           (unsigned long long)sum.twice);
    if (all.failed || getenv("CRASH_ONLY") || getenv("CRASH_REPLAY"))
        return;
    assert_true(sum.states >= all.states);
    if (all.states >= STATES_DEFAULT) {
        for (size_t i = 0; i < KVI_COUNT(workloads); i++)
            assert_true(all.totals[i].lies > 0 || workloads[i].slow > 1);
        assert_true(sum.refused > 0 && sum.refused < sum.lies && sum.twice * 50 < sum.lies);
        assert_true(sum.nested >= sum.states / NESTED_LEAST);
    }
    assert_true(sum.largest <= KVI_MAX(sum.states / EPOCHS_LEAST, (uint64_t)1));
}

int main(void)
{
    struct CMUnitTest tests[KVI_COUNT(workloads) + 1];
    const char *states = getenv("CRASH_STATES"), *only = getenv("CRASH_ONLY");
    size_t n = 0;
    all.states = states ? strtoull(states, NULL, 0) : STATES_DEFAULT;
    all.seed = rng_choose_seed(1);
    for (size_t i = 0; i < KVI_COUNT(workloads); i++) {
        const crash_workload *w = &workloads[i];
        if (only && strcmp(only, w->name) != 0)
            continue;
        all.shares += share_of(w);
        tests[n++] = (struct CMUnitTest){w->name, test_workload, NULL, NULL, (void *)(uintptr_t)w};
    }
    tests[n++] = (struct CMUnitTest){"totals", test_totals, NULL, NULL, NULL};
    return _cmocka_run_group_tests("crash", tests, n, NULL, NULL);
}
