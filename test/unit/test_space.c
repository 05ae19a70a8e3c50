/* Pages are used, dead or free as a naive model says, whatever is committed, aborted, dropped or
 * loaded anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "space_impl.h"
#include "space_model.h"
#include <errno.h>

static uint64_t seed;

/* What a series of transactions does, in pages of one transaction and percent. */
typedef struct workload {
    uint32_t page_size;
    size_t cap;
    unsigned steps;
    size_t take, drop, run;
    unsigned huge; /* one transaction in so many drops most of the file, or doubles it */
    unsigned come, go;
    unsigned check; /* one transaction in so many is compared and loaded anew */
    unsigned turn;  /* before one in so many another process takes over; 0: none does */
} workload;

static void change(space_model *m, const workload *w)
{
    bool huge = w->huge && rng_one_in(&m->random, w->huge);
    kvi_pgno high_water = kvi_space_high_water(m->space);
    bool small = high_water < w->cap / 4;
    size_t take = rng_below(&m->random, w->take + 1), drop = rng_below(&m->random, w->drop + 1);
    if (huge && small)
        take = high_water / 2;
    else if (huge)
        drop = high_water;
    if (high_water < w->cap / 2) {
        assert_int_equal(model_take(m, KVI_SPACE_LEAF, take), KV_OK);
        assert_int_equal(model_take(m, KVI_SPACE_BRANCH, rng_below(&m->random, 4)), KV_OK);
        if (w->run && rng_one_in(&m->random, 4))
            assert_int_equal(model_take_run(m, rng_between(&m->random, 1, w->run)), KV_OK);
    }
    assert_int_equal(model_drop(m, drop, false), KV_OK);
    if (rng_one_in(&m->random, 8))
        model_drop_and_undo(m, drop);
    if (rng_one_in(&m->random, 3))
        assert_int_equal(model_drop(m, 3, true), KV_OK);
    if (rng_one_in(&m->random, 3))
        assert_int_equal(model_take(m, KVI_SPACE_LEAF, 1), KV_OK);
}

static void step(space_model *m, const workload *w)
{
    kvi_meta meta;
    model_move_readers(m, w->come, w->go);
    if (w->turn && rng_one_in(&m->random, w->turn))
        model_turn(m);
    assert_int_equal(model_begin(m), KV_OK);
    change(m, w);
    while (rng_one_in(&m->random, 4)) {
        assert_int_equal(model_renew(m), KV_OK);
        change(m, w);
    }
    switch (rng_below(&m->random, 10)) {
    case 0: /* before anything is written */
        model_abort(m);
        break;
    case 1: /* between the pages and the meta */
        assert_int_equal(model_seal(m, &meta), KV_OK);
        model_abort(m);
        break;
    case 2: /* between two pages */
        m->emit_fails = 1;
        if (model_seal(m, &meta) == KV_OK)
            model_commit(m, &meta);
        else
            model_abort(m);
        m->emit_fails = 0;
        break;
    default:
        model_finish(m);
    }
    if (!rng_one_in(&m->random, w->check))
        return;
    model_check(m);
    model_reload(m, rng_one_in(&m->random, 4));
    model_walk(m);
}

static void run_with(const workload *w, space_model *m, bool reticent)
{
    model_open(m, w->page_size, w->cap, seed + w->cap);
    m->reticent = reticent;
    for (unsigned i = 0; i < w->steps; i++)
        step(m, w);
    model_check(m);
    model_reload(m, true);
}

static void run(const workload *w, space_model *m)
{
    run_with(w, m, false);
}

/* ---- random transactions ---- */

static void test_small_transactions(void **state)
{
    static const workload w = {KVI_PAGE_MIN, 3000, 3000, 4, 5, 0, 0, 20, 20, 1, 0};
    space_model m;
    run(&w, &m);
    assert_true(m.folds > 5);
    model_close(&m);
}

/* Many folds while dropped pages wait to be filed: the records must tell of these, too. */
static void test_seldom_told(void **state)
{
    static const workload w = {KVI_PAGE_MIN, 6000, 3000, 6, 6, 2, 0, 20, 20, 4, 0};
    space_model m;
    run_with(&w, &m, true);
    assert_true(m.folds > 5 && m.untold > w.steps / 4);
    model_close(&m);
}

/* Two processes take turns. The records of a small commit follow from the meta, unless it folded. */
static void test_turns(void **state)
{
    static const workload small = {KVI_PAGE_MIN, 3000, 3000, 4, 5, 0, 0, 20, 20, 3, 2};
    static const workload runs = {KVI_PAGE_MIN, 9000, 3000, 6, 6, 30, 0, 40, 10, 4, 3};
    static const workload sizes = {KVI_PAGE_MIN, 6000, 1200, 40, 40, 30, 25, 20, 20, 2, 2};
    const workload *const each[] = {&small, &runs, &sizes};
    for (size_t i = 0; i < 2 * KVI_COUNT(each); i++) {
        space_model m;
        run_with(each[i / 2], &m, i % 2);
        assert_true(m.followed > each[i / 2]->steps / 20 && m.loaded > 5 && m.folds > 5);
        model_close(&m);
    }
}

static void test_growing_and_shrinking(void **state)
{
    static const workload w = {KVI_PAGE_MIN, 6000, 1200, 40, 40, 30, 25, 20, 20, 1, 0};
    space_model m;
    run(&w, &m);
    assert_true(m.folds > 20);
    model_close(&m);
}

static void test_readers_that_stay(void **state)
{
    static const workload w = {KVI_PAGE_MIN, 8000, 1200, 30, 30, 5, 60, 15, 2, 1, 0};
    space_model m;
    run(&w, &m);
    assert_true(m.chains > 5);
    model_close(&m);
}

static void test_large_pages(void **state)
{
    static const workload w = {KVI_PAGE_MAX, 3000, 800, 60, 60, 8, 20, 20, 10, 2, 0};
    space_model m;
    run(&w, &m);
    model_close(&m);
}

/* A file of many bitmap pages, so that there is a log; a reader that stays, then thousands of
 * scattered pages that one transaction drops. */
static void test_log(void **state)
{
    static const workload w = {KVI_PAGE_MIN, 400000, 1, 0, 0, 0, 0, 0, 0, 1, 0};
    space_model m;
    run(&w, &m);
    assert_int_equal(model_begin(&m), KV_OK);
    assert_int_equal(model_take(&m, KVI_SPACE_LEAF, 170000), KV_OK);
    model_finish(&m);
    for (unsigned i = 0; i < 500; i++) {
        model_move_readers(&m, 8, 8);
        assert_int_equal(model_begin(&m), KV_OK);
        assert_int_equal(model_take(&m, KVI_SPACE_LEAF, 400), KV_OK);
        assert_int_equal(model_drop(&m, i % 100 == 99 ? 8000 : 400, false), KV_OK);
        model_finish(&m);
        if (i % 16 == 0)
            model_reload(&m, i % 32 == 0);
    }
    model_check(&m);
    model_reload(&m, true);
    model_walk(&m);
    assert_true(m.logs > 60);
    assert_true(m.chains > 0);
    assert_true(m.most_log > KVI_SPACE_LOG_KEEP / 3);
    assert_true(m.most_log < 256);
    model_close(&m);
}

/* In a file of single holes, a run is looked for in vain once, and again only when there may be one. */
static void test_runs_in_vain(void **state)
{
    static const workload w = {KVI_PAGE_MIN, 6000, 1, 0, 0, 0, 0, 0, 0, 1, 0};
    space_model m;
    run(&w, &m);
    assert_int_equal(model_begin(&m), KV_OK);
    assert_int_equal(model_take(&m, KVI_SPACE_LEAF, 2000), KV_OK);
    model_finish(&m);
    assert_int_equal(model_begin(&m), KV_OK);
    for (kvi_pgno page = 200; page < 1800; page += 2)
        if (m.pages[page].state == KVI_PAGE_USED && !m.pages[page].own)
            assert_int_equal(model_drop_page(&m, page), KV_OK);
    model_finish(&m);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(model_begin(&m), KV_OK);
        model_finish(&m);
    }
    assert_true(kvi_space_free_pages(m.space) >= 700);
    assert_int_equal(model_begin(&m), KV_OK);
    while (m.space->no_run > 3)
        assert_int_equal(model_take_run(&m, 3), KV_OK);
    for (unsigned i = 0; i < 20; i++) {
        kvi_pgno before = kvi_space_high_water(m.space);
        assert_int_equal(model_take_run(&m, 3), KV_OK);
        assert_int_equal(kvi_space_high_water(m.space), before + 3);
        assert_int_equal(m.space->no_run, 3); /* it is known, and stays known */
    }
    model_finish(&m);
    assert_int_equal(m.space->no_run, 3);
    kvi_pgno page = 1001;
    while (m.pages[page].own || m.pages[page].state != KVI_PAGE_USED || m.pages[page - 1].own ||
           m.pages[page + 1].own)
        page += 2;
    assert_int_equal(model_begin(&m), KV_OK);
    assert_int_equal(model_drop_page(&m, page), KV_OK); /* between two holes */
    model_finish(&m);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(model_begin(&m), KV_OK);
        model_finish(&m);
    }
    assert_true(m.space->no_run > 3);
    model_check(&m);
    model_close(&m);
}

/* A record that needs more log pages than are kept writes the base anew. */
static void test_huge_record(void **state)
{
    static const workload w = {KVI_PAGE_MIN, 250000, 1, 0, 0, 0, 0, 0, 0, 1, 0};
    space_model m;
    run(&w, &m);
    assert_int_equal(model_begin(&m), KV_OK);
    assert_int_equal(model_take(&m, KVI_SPACE_LEAF, 240000), KV_OK);
    model_finish(&m);
    while (m.meta.id < 150) { /* then an age takes two bytes */
        assert_int_equal(model_begin(&m), KV_OK);
        model_finish(&m);
    }
    m.readers[0] = m.meta.id;
    assert_int_equal(model_begin(&m), KV_OK);
    for (kvi_pgno page = 1000; page < 240000; page += 2)
        if (m.pages[page].state == KVI_PAGE_USED && !m.pages[page].own)
            assert_int_equal(model_drop_page(&m, page), KV_OK);
    model_finish(&m);
    assert_int_equal(m.meta.log_pages, 0);
    assert_true(m.meta.blocked_pages > 50);
    model_check(&m);
    model_reload(&m, true);
    m.readers[0] = 0;
    m.durable = m.meta.id;
    assert_int_equal(model_begin(&m), KV_OK);
    assert_true(kvi_space_free_pages(m.space) > 110000);
    model_finish(&m);
    assert_int_equal(model_begin(&m), KV_OK);
    model_finish(&m);
    model_check(&m);
    model_reload(&m, true);
    model_close(&m);
}

/* ---- single facts ---- */

static void test_common_commit_writes_no_page(void **state)
{
    static const workload w = {KVI_PAGE_MIN, 4000, 1, 0, 0, 0, 0, 0, 0, 1, 0};
    space_model m;
    unsigned wrote = 0;
    run(&w, &m);
    assert_int_equal(model_begin(&m), KV_OK);
    assert_int_equal(model_take(&m, KVI_SPACE_LEAF, 1000), KV_OK);
    model_finish(&m);
    for (unsigned i = 0; i < 1000; i++) {
        size_t before = m.emitted;
        assert_int_equal(model_begin(&m), KV_OK);
        assert_int_equal(model_drop(&m, 3, false), KV_OK);
        assert_int_equal(model_take(&m, KVI_SPACE_LEAF, 1), KV_OK);
        assert_int_equal(model_take(&m, KVI_SPACE_BRANCH, 2), KV_OK);
        model_finish(&m);
        wrote += m.emitted > before;
    }
#ifdef KVI_STRESS
    assert_true(wrote < 300);
#else
    assert_true(wrote < 25);
#endif
    model_close(&m);
}

/* Branches that come few at a time, as those of a load do, lie close to each other. */
static void test_load_leaves_few_holes(void **state)
{
    static const workload w = {KVI_PAGE_MIN, 9000, 1, 0, 0, 0, 0, 0, 0, 1, 0};
    space_model m;
    run(&w, &m);
    assert_int_equal(model_begin(&m), KV_OK);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(model_take(&m, KVI_SPACE_LEAF, 50), KV_OK);
        assert_int_equal(model_take(&m, KVI_SPACE_BRANCH, 5), KV_OK);
    }
    model_finish(&m);
    assert_true(kvi_space_free_pages(m.space) < 200);
    model_check(&m);
    model_close(&m);
}

static void test_file_shrinks(void **state)
{
    static const workload w = {KVI_PAGE_MIN, 9000, 1, 0, 0, 0, 0, 0, 0, 1, 0};
    space_model m;
    run(&w, &m);
    assert_int_equal(model_begin(&m), KV_OK);
    assert_int_equal(model_take(&m, KVI_SPACE_LEAF, 5000), KV_OK);
    model_finish(&m);
    assert_int_equal(model_begin(&m), KV_OK);
    for (kvi_pgno page = m.first + 10; page < m.meta.high_water; page++)
        if (m.pages[page].state == KVI_PAGE_USED && !m.pages[page].own)
            assert_int_equal(model_drop_page(&m, page), KV_OK);
    model_finish(&m);
    for (unsigned i = 0; i < 4; i++) {
        m.durable = m.meta.id;
        assert_int_equal(model_begin(&m), KV_OK);
        model_finish(&m);
    }
    model_check(&m);
    model_reload(&m, true);
    assert_true(m.meta.high_water < 300);
    model_close(&m);
}

/* S1: what is not in use cannot be dropped, nothing twice. */
static void test_drop_is_checked(void **state)
{
    static const workload w = {KVI_PAGE_MIN, 1000, 1, 0, 0, 0, 0, 0, 0, 1, 0};
    space_model m;
    kvi_pgno page;
    run(&w, &m);
    assert_int_equal(model_begin(&m), KV_OK);
    assert_int_equal(kvi_space_take(m.space, KVI_SPACE_LEAF, 1, &page), KV_OK);
    kvi_pgno end = kvi_space_high_water(m.space);
    assert_int_equal(kvi_space_drop(m.space, 0, 1, 1), KV_ECORRUPT);
    assert_int_equal(kvi_space_drop(m.space, end, 1, 1), KV_ECORRUPT);
    assert_int_equal(kvi_space_drop(m.space, page, UINT64_MAX, 1), KV_ECORRUPT);
    assert_int_equal(kvi_space_drop(m.space, page, 0, 1), KV_ECORRUPT);
    assert_int_equal(kvi_space_drop(m.space, page, 1, m.id + 1), KV_ECORRUPT);
    assert_int_equal(kvi_space_drop(m.space, page, 1, 0), KV_ECORRUPT);
    assert_int_equal(kvi_space_drop(m.space, page, 1, m.id), KV_OK);
    assert_int_equal(kvi_space_drop(m.space, page, 1, m.id), KV_ECORRUPT);
    kvi_space_abort(m.space);
    assert_int_equal(model_begin(&m), KV_OK);
    if (page < kvi_space_high_water(m.space))
        assert_int_equal(kvi_space_drop(m.space, page, 1, m.id), KV_ECORRUPT);
    model_abort(&m);
    model_close(&m);
}

/* Between two live snapshots pages become free, although an older one is still there. */
static void test_reuse_between_snapshots(void **state)
{
    static const workload w = {KVI_PAGE_MIN, 1000, 1, 0, 0, 0, 0, 0, 0, 1, 0};
    space_model m;
    run(&w, &m);
    m.readers[0] = m.meta.id;
    for (unsigned i = 0; i < 300; i++) {
        assert_int_equal(model_begin(&m), KV_OK);
        assert_int_equal(model_drop(&m, 20, false), KV_OK);
        assert_int_equal(model_take(&m, KVI_SPACE_LEAF, 20), KV_OK);
        model_finish(&m);
        m.durable = m.meta.id;
    }
    assert_true(m.meta.high_water < 150);
    model_check(&m);
    model_close(&m);
}

static void test_rebuild(void **state)
{
    static const workload w = {KVI_PAGE_MIN, 6000, 200, 40, 30, 10, 20, 20, 20, 10, 0};
    space_model m;
    run(&w, &m);
    kvi_id id = m.meta.id + 1;
    assert_int_equal(kvi_space_rebuild(m.space, id, m.meta.high_water), KV_OK);
    for (kvi_pgno page = m.first; page < m.cap; page++) {
        model_page *p = &m.pages[page];
        if (p->state == KVI_PAGE_USED && !p->own)
            assert_int_equal(kvi_space_mark_used(m.space, page, 1), KV_OK);
        else
            *p = (model_page){.state = KVI_PAGE_FREE};
        if (p->state == KVI_PAGE_USED && rng_one_in(&m.random, 50))
            assert_int_equal(kvi_space_mark_used(m.space, page, 1), KV_ECORRUPT);
    }
    assert_int_equal(kvi_space_mark_used(m.space, m.meta.high_water, 1), KV_ECORRUPT);
    assert_int_equal(kvi_space_mark_used(m.space, 0, 1), KV_ECORRUPT);
    memcpy(m.before, m.pages, m.cap * sizeof *m.pages);
    m.id = id;
    model_finish(&m);
    model_check(&m);
    model_reload(&m, true);
    for (unsigned i = 0; i < 100; i++)
        step(&m, &w);
    model_check(&m);

    /* given up: nothing is known any more, and nothing but growth is left */
    kvi_pgno page, end = kvi_space_high_water(m.space);
    assert_int_equal(kvi_space_rebuild(m.space, m.meta.id + 1, end), KV_OK);
    kvi_space_abort(m.space);
    assert_true(kvi_space_unknown(m.space));
    m.live[0] = m.meta.id;
    assert_int_equal(kvi_space_begin(m.space, m.meta.id + 1, m.live, 1), KV_OK);
    assert_int_equal(kvi_space_take(m.space, KVI_SPACE_LEAF, 1, &page), KV_OK);
    assert_true(page >= end);
    kvi_space_abort(m.space);
    model_close(&m);
}

/* One transaction, with each of its allocations failing in turn: the step says so, and everything is
 * as before after an abort. */
static unsigned fail_each(space_model *m, size_t pages, size_t scattered)
{
    for (uint64_t at = 1;; at++) {
        kvi_meta meta;
        int rc = KV_ENOMEM;
        fault_plan(&m->fault, (fault_case){.at = at, .mask = FAULT_MEMORY, .error = ENOMEM});
        if (model_begin(m) == KV_OK) {
            rc = model_take(m, KVI_SPACE_LEAF, pages);
            if (rc == KV_OK)
                rc = model_take(m, KVI_SPACE_BRANCH, 3);
            if (rc == KV_OK)
                rc = model_drop(m, pages, false);
            for (size_t i = 0; rc == KV_OK && i < scattered; i++)
                rc = model_drop(m, 1, false);
            if (rc == KV_OK)
                rc = model_drop(m, pages / 3, true);
            if (rc == KV_OK)
                rc = model_renew(m);
            if (rc == KV_OK)
                rc = model_take(m, KVI_SPACE_LEAF, pages / 3);
            if (rc == KV_OK)
                rc = model_seal(m, &meta);
            if (rc == KV_OK)
                model_commit(m, &meta);
            else
                model_abort(m);
        }
        bool hit = fault_hit(&m->fault);
        fault_plan(&m->fault, (fault_case){0});
        assert_int_equal(rc, hit ? KV_ENOMEM : KV_OK);
        if (!hit)
            return (unsigned)at - 1;
    }
}

/* Loading, while each allocation fails in turn. */
static void load_failing(space_model *m)
{
    for (uint64_t at = 1;; at++) {
        kvi_space *space = NULL;
        fault_plan(&m->fault, (fault_case){.at = at, .mask = FAULT_MEMORY, .error = ENOMEM});
        int rc = kvi_space_load(&space, &m->file, &m->meta);
        bool hit = fault_hit(&m->fault);
        fault_plan(&m->fault, (fault_case){0});
        if (rc == KV_OK)
            kvi_space_close(space);
        if (!hit)
            break;
        assert_true(rc == KV_ENOMEM || rc == KV_OK); /* the zone is only a hint */
    }
}

static void test_out_of_memory(void **state)
{
    static const workload w = {KVI_PAGE_MIN, 3000, 150, 20, 20, 5, 0, 40, 10, 10, 0};
    space_model m;
    unsigned failures = 0;
    run(&w, &m);
    for (unsigned round = 0; round < 40; round++) {
        model_move_readers(&m, 40, 10);
        failures += fail_each(&m, 30, 0);
        model_reload(&m, round % 4 == 0);
    }
    assert_true(failures > 100);
    load_failing(&m);
    model_close(&m);
}

/* Without memory another process loads what it might have followed. */
static void test_follow_out_of_memory(void **state)
{
    static const workload w = {KVI_PAGE_MIN, 3000, 300, 4, 5, 20, 0, 20, 20, 10, 2};
    space_model m;
    unsigned failures = 0;
    run(&w, &m);
    for (unsigned round = 0; round < 400; round++) {
        step(&m, &w);
        fault_plan(&m.fault,
                   (fault_case){.at = 1 + round % 8, .mask = FAULT_MEMORY, .error = ENOMEM});
        bool follows = kvi_space_follow(m.other, &m.meta), hit = fault_hit(&m.fault);
        fault_plan(&m.fault, (fault_case){0});
        assert_true(!hit || !follows);
        failures += hit;
        if (!follows) {
            kvi_space_close(m.other);
            m.other = NULL;
        }
        model_turn(&m);
    }
    assert_true(failures > 20);
    model_close(&m);
}

/* Is a meta followed whose newest record says that the page is free? The follower is gone then. */
static bool follows_forged(space_model *m, kvi_pgno page, kvi_id id)
{
    kvi_meta meta = m->meta;
    kvi_extent drop = {page, 1, id, id};
    kvi_record record = {.id = id, .dropped = {&drop, 1, 1}};
    kvi_record_cursor cursor = {0};
    kvi_id before = m->space->delta_len ? m->space->delta_last : 0;
    size_t room = sizeof meta.delta - meta.delta_len;
    model_turn(m); /* the other one has seen the newest commit now, too */
    meta.id = m->meta.id + 5;
    meta.delta_len +=
        (uint16_t)kvi_record_put(meta.delta + meta.delta_len, room, before, &record, &cursor);
    assert_true(cursor.done);
    bool follows = kvi_space_follow(m->other, &meta);
    kvi_space_close(m->other);
    m->other = NULL;
    return follows;
}

static void test_follow_trusts_nothing(void **state)
{
    static const workload w = {KVI_PAGE_MIN, 3000, 300, 4, 5, 20, 0, 20, 20, 10, 2};
    space_model m;
    run(&w, &m);
    kvi_pgno own = m.first, used = m.first;
    while (!m.pages[own].own)
        own++;
    while (m.pages[used].own || m.pages[used].state != KVI_PAGE_USED)
        used++;
    assert_true(follows_forged(&m, used, m.meta.id + 1));
    assert_false(follows_forged(&m, own, m.meta.id + 1));
    assert_false(follows_forged(&m, used, m.meta.id + 6)); /* newer than the commit */
    model_turn(&m);
    kvi_meta longer = m.meta;
    longer.high_water = (kvi_pgno)1 << 40;
    assert_false(kvi_space_follow(m.other, &longer)); /* than the file, and than memory */
    model_close(&m);
}

/* The same of records that tell of many pages that readers still need. */
static void test_out_of_memory_for_chain(void **state)
{
    static const workload w = {KVI_PAGE_MIN, 20000, 60, 100, 100, 0, 0, 60, 5, 60, 0};
    space_model m;
    run(&w, &m);
    for (unsigned i = 0; i < 200 && m.meta.blocked_pages == 0; i++) {
        model_move_readers(&m, 60, 0);
        assert_int_equal(model_begin(&m), KV_OK);
        assert_int_equal(model_take(&m, KVI_SPACE_LEAF, 300), KV_OK);
        for (unsigned k = 0; k < 300; k++)
            assert_int_equal(model_drop(&m, 1, false), KV_OK);
        model_finish(&m);
    }
    assert_true(m.meta.blocked_pages > 0);
    load_failing(&m);
    model_close(&m);
}

/* Most of many pages are in use: dropping some of them takes log pages. */
static void run_crowded(space_model *m)
{
    static const workload w = {KVI_PAGE_MIN, 50000, 1, 0, 0, 0, 0, 0, 0, 1, 0};
    run(&w, m);
    assert_int_equal(model_begin(m), KV_OK);
    assert_int_equal(model_take(m, KVI_SPACE_LEAF, 40000), KV_OK);
    model_finish(m);
}

/* The same where the log grows, under readers that stay. */
static void test_out_of_memory_for_log(void **state)
{
    space_model m;
    run_crowded(&m);
    for (unsigned round = 0; round < 20; round++) {
        model_move_readers(&m, 20, 10);
        fail_each(&m, 30, 400);
        model_reload(&m, round % 4 == 0);
    }
    model_check(&m);
    assert_true(m.logs > 3);
    model_close(&m);
}

/* The receiver refuses to drop one of the records' own pages, each in turn: as if nothing had been. */
static void test_drop_refused(void **state)
{
    space_model m;
    unsigned refused = 0;
    run_crowded(&m);
    for (unsigned round = 0; round < 24; round++) {
        model_move_readers(&m, 20, 30);
        for (size_t at = 1; m.drop_fails == 0; at += 1 + at / 4) {
            kvi_meta meta;
            assert_int_equal(model_begin(&m), KV_OK);
            assert_int_equal(model_take(&m, KVI_SPACE_LEAF, 300), KV_OK);
            for (unsigned i = 0; i < (round % 8 == 7 ? 9000 : 300); i++)
                assert_int_equal(model_drop(&m, 1, false), KV_OK);
            m.drop_fails = at;
            int rc = model_seal(&m, &meta);
            assert_int_equal(rc, m.drop_fails ? KV_OK : KV_EIO);
            if (rc == KV_OK)
                model_commit(&m, &meta);
            else
                model_abort(&m);
            refused += rc != KV_OK;
        }
        m.drop_fails = 0;
        model_reload(&m, round % 4 == 0);
    }
    model_check(&m);
    assert_true(refused > 20);
    model_close(&m);
}

/* Records' pages cannot be written, each in turn. */
static void test_emit_refused(void **state)
{
    space_model m;
    unsigned refused = 0;
    run_crowded(&m);
    for (unsigned round = 0; round < 6; round++) {
        for (size_t at = 1; m.emit_fails == 0; at++) {
            kvi_meta meta;
            assert_int_equal(model_begin(&m), KV_OK);
            assert_int_equal(model_take(&m, KVI_SPACE_LEAF, 300), KV_OK);
            for (unsigned i = 0; i < (round % 2 ? 60 : 1200); i++)
                assert_int_equal(model_drop(&m, 1, false), KV_OK);
            m.emit_fails = at;
            int rc = model_seal(&m, &meta);
            assert_int_equal(rc, m.emit_fails ? KV_OK : KV_EIO);
            if (rc == KV_OK)
                model_commit(&m, &meta);
            else
                model_abort(&m);
            refused += rc != KV_OK;
        }
        m.emit_fails = 0;
    }
    model_check(&m);
    model_reload(&m, true);
    assert_true(refused > 10 && m.logs > 0);
    model_close(&m);
}

/* ---- when to ask for live snapshots ---- */

/* The larger the file, the more drops may wait for that, up to some number. */
static void test_due(void **state)
{
    static const struct {
        size_t pages;
        unsigned wait;
    } files[] = {{300, 1}, {1600, 6}, {9000, 16}};
    for (size_t i = 0; i < KVI_COUNT(files); i++) {
        space_model m;
        model_open(&m, KVI_PAGE_MIN, 10000, seed);
        assert_int_equal(model_begin(&m), KV_OK);
        assert_int_equal(model_take(&m, KVI_SPACE_LEAF, files[i].pages), KV_OK);
        model_finish(&m);
        m.reticent = true;
        unsigned drops = 0;
        for (; !kvi_space_due(m.space); drops++) {
            assert_int_equal(model_begin(&m), KV_OK);
            assert_int_equal(model_drop_page(&m, m.first + 7 + 5 * drops), KV_OK);
            model_finish(&m);
        }
        assert_in_range(drops, files[i].wait, files[i].wait + 2);
        model_close(&m);
    }
}

/* ---- the zone of branches ---- */

static unsigned zone_groups(const space_model *m)
{
    return (unsigned)m->space->zone.total;
}

/* A file with many branches, of which those stay that `keep` tells by their places in a group. */
static void branches_thin(space_model *m, uint64_t keep)
{
    model_open(m, KVI_PAGE_MIN, 10000, seed);
    assert_int_equal(model_begin(m), KV_OK);
    assert_int_equal(model_take(m, KVI_SPACE_LEAF, 2 * KVI_SPACE_ZONE_FROM), KV_OK);
    model_finish(m);
    assert_int_equal(model_begin(m), KV_OK);
    assert_int_equal(model_take(m, KVI_SPACE_BRANCH, 640), KV_OK);
    kvi_id id = m->id;
    model_finish(m);
    assert_int_equal(model_begin(m), KV_OK);
    assert_int_equal(model_take(m, KVI_SPACE_LEAF, 1000), KV_OK); /* behind them */
    model_finish(m);
    assert_true(zone_groups(m) >= 10);
    assert_int_equal(model_begin(m), KV_OK);
    for (kvi_pgno page = m->first; page < kvi_space_high_water(m->space); page++)
        if (m->pages[page].state == KVI_PAGE_USED && m->pages[page].birth == id &&
            !m->pages[page].own && !(keep >> page % 64 & 1))
            assert_int_equal(model_drop_page(m, page), KV_OK);
    model_finish(m);
    for (unsigned i = 0; i < 3; i++) { /* the dropped ones fall free */
        assert_int_equal(model_begin(m), KV_OK);
        model_finish(m);
    }
}

/* It becomes smaller when the branches have become few. */
static void test_zone_shrinks(void **state)
{
    space_model m;
    branches_thin(&m, 0);
    unsigned before = zone_groups(&m);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(model_begin(&m), KV_OK);
        assert_int_equal(model_take(&m, KVI_SPACE_BRANCH, 1), KV_OK);
        model_finish(&m);
    }
    assert_true(zone_groups(&m) < before);
    model_check(&m);
    model_close(&m);
}

/* While it is larger than it need be, branches take what shorter runs it has. */
static void test_zone_of_short_runs(void **state)
{
    space_model m;
    branches_thin(&m, (uint64_t)1 << 20 | (uint64_t)1 << 41);
    unsigned before = zone_groups(&m);
    assert_int_equal(model_begin(&m), KV_OK);
    for (unsigned i = 0; i < 4; i++) /* at its ends there may be longer ones */
        assert_int_equal(model_take(&m, KVI_SPACE_BRANCH, 32), KV_OK);
    model_finish(&m);
    assert_true(zone_groups(&m) <= before);
    model_check(&m);
    model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_transactions),
        cmocka_unit_test(test_seldom_told),
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_growing_and_shrinking),
        cmocka_unit_test(test_readers_that_stay),
        cmocka_unit_test(test_large_pages),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_runs_in_vain),
        cmocka_unit_test(test_huge_record),
        cmocka_unit_test(test_common_commit_writes_no_page),
        cmocka_unit_test(test_load_leaves_few_holes),
        cmocka_unit_test(test_file_shrinks),
        cmocka_unit_test(test_drop_is_checked),
        cmocka_unit_test(test_reuse_between_snapshots),
        cmocka_unit_test(test_rebuild),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_follow_out_of_memory),
        cmocka_unit_test(test_follow_trusts_nothing),
        cmocka_unit_test(test_out_of_memory_for_log),
        cmocka_unit_test(test_out_of_memory_for_chain),
        cmocka_unit_test(test_drop_refused),
        cmocka_unit_test(test_emit_refused),
        cmocka_unit_test(test_due),
        cmocka_unit_test(test_zone_shrinks),
        cmocka_unit_test(test_zone_of_short_runs),
    };
    seed = rng_choose_seed(1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
