/* ops_whole.c - steps of target `ops` on the whole database: named snapshots, compaction, waiting for
 * commits, watches. */
#include "ops.h"
#include "driver_snapshot.h"

/* ---- named snapshots ---- */

#define SNAPSHOTS_FROM 1024 /* page size: into a smaller one the names do not fit */

/* Makes, drops or restores one. */
void bench_snapshot(bench *b)
{
    static const uint32_t kinds[] = {KV_TXN_DURABLE, KV_TXN_STRICT, KV_TXN_LAZY};
    driver d = {.m = b->m};
    rng_seed(&d.r, fuzz_take(b->in, 1));
    uint32_t kind = kinds[fuzz_below(b->in, KVI_COUNT(kinds))];
    model_state *unknown;
    d.db = bench_free(b);
    if (!d.db || KVI_PAGE_MIN < SNAPSHOTS_FROM)
        return;
    if (!driver_snapshot(&d, &kind, &unknown)) {
        char text[200];
        kv_db_errmsg(d.db, text, sizeof text);
        fuzz_fail("%s: %d (%s)", d.what, d.failure, text);
    }
    model_release(b->base);
    b->base = model_keep(b->m);
}

/* All of them are as they were. */
void bench_snapshots(bench *b)
{
    kv_db *db = b->db[fuzz_below(b->in, HANDLES)];
    const char *what = db ? driver_snapshots(db, b->base) : NULL;
    if (what)
        fuzz_fail("%s", what);
}

/* ---- compaction ---- */

static int stop(void *context, const kv_progress *progress)
{
    (void)progress;
    return --*(int *)context == 0;
}

void bench_compact(bench *b)
{
    int patience = 1 + (int)fuzz_take(b->in, 1);
    kv_compact_options options = {.size = sizeof options,
                                  .step_pages = 4 + (uint32_t)fuzz_take(b->in, 1),
                                  .progress = stop,
                                  .context = &patience};
    kv_compact_info info = {.size = sizeof info};
    bool wanted = fuzz_below(b->in, 4) == 0; /* it takes longer than all other steps */
    kv_db *db = bench_free(b);
    if (!db || !wanted)
        return;
    int rc = kv_db_compact(db, &options, &info);
    FUZZ_MUST(rc == (patience == 0 ? KV_ECANCELED : KV_OK));
}

/* ---- waiting ---- */

void bench_wait(bench *b)
{
    kv_db *db = b->db[fuzz_below(b->in, HANDLES)];
    uint64_t newest = bench_newest(b), id = 0;
    if (!db)
        return;
    FUZZ_MUST(kv_db_wait(db, newest - 1, 0, &id) == KV_OK && id == newest);
    FUZZ_MUST(kv_db_wait(db, newest, 0, NULL) == KV_NOTFOUND);
}

/* Opens a watch, or closes it. */
void bench_watch(bench *b)
{
    watcher *w = &b->watcher[fuzz_below(b->in, WATCHES)];
    unsigned handle = (unsigned)fuzz_below(b->in, HANDLES), how = (unsigned)fuzz_take(b->in, 1);
    kvi_slice name = bench_name(b);
    if (w->watch) {
        kv_watch_close(w->watch);
        model_release(w->state);
        *w = (watcher){0};
        return;
    }
    if (!b->db[handle])
        return;
    w->handle = handle;
    w->tree = how & 1 ? (kvi_slice){NULL, 0} : name;
    w->key = (uint8_t)(how & 2 ? how >> 2 : 0);
    uint8_t key[] = {'k', w->key};
    kv_range range = {.size = sizeof range,
                      .from = key,
                      .from_len = sizeof key,
                      .to = key,
                      .to_len = sizeof key,
                      .flags = KV_RANGE_TO_CLOSED};
    kv_watch_options options = {.size = sizeof options,
                                .tree = w->tree.ptr,
                                .tree_len = w->tree.len,
                                .range = w->key ? &range : NULL};
    FUZZ_MUST(kv_watch_open(b->db[handle], &options, &w->watch) == KV_OK);
    w->state = bench_shown(b, kv_watch_txn(w->watch));
}

static bool same_entry(const model_tree *a, const model_tree *b, kvi_slice key)
{
    kvi_slice old, new;
    bool was = model_get(a, key, &old), is = model_get(b, key, &new);
    return was == is && (!was || kvi_slice_compare(old, new) == 0);
}

static bool same_tree(const watcher *w, const model_tree *a, const model_tree *b)
{
    uint8_t key[] = {'k', w->key};
    if (!a || !b)
        return !a && !b;
    return w->key ? same_entry(a, b, kvi_slice_of(key, sizeof key))
                  : model_sum_equal(a->sum, b->sum);
}

static bool same_everywhere(const watcher *w, const model_state *a, const model_state *b)
{
    bool same = a->n == b->n;
    for (size_t i = 0; same && i < a->n; i++)
        same =
            kvi_slice_compare(model_tree_name(&a->trees[i]), model_tree_name(&b->trees[i])) == 0 &&
            same_tree(w, &a->trees[i], &b->trees[i]);
    return same;
}

/* Is what is watched the same in both, without what has expired by then? */
static bool same_to(const watcher *w, const model_state *a, const model_state *b, uint64_t now)
{
    model_state *old = model_shown(a, now), *new = model_shown(b, now);
    a = old ? old : a;
    b = new ? new : b;
    bool same = w->tree.ptr ? same_tree(w, model_tree_of(a, w->tree), model_tree_of(b, w->tree))
                            : same_everywhere(w, a, b);
    if (old)
        model_release(old);
    if (new)
        model_release(new);
    return same;
}

/* Looks whether something has changed. */
void bench_watch_next(bench *b)
{
    watcher *w = &b->watcher[fuzz_below(b->in, WATCHES)];
    kv_watch_event event = {.size = sizeof event};
    if (!w->watch)
        return;
    uint64_t before = kv_txn_id(kv_watch_txn(w->watch)), then = kv_txn_now(kv_watch_txn(w->watch));
    int rc = kv_watch_next(w->watch, 0, &event);
    kv_txn *seen = kv_watch_txn(w->watch);
    bool same =
        kv_txn_id(seen) == before || same_to(w, w->state, b->base, KVI_MAX(then, kv_txn_now(seen)));
    FUZZ_MUST(rc == (same ? KV_NOTFOUND : KV_OK));
    FUZZ_MUST(kv_txn_id(seen) == bench_newest(b));
    FUZZ_MUST(same || (event.from_id == before && event.to_id == kv_txn_id(seen)));
    FUZZ_MUST(same || (kv_txn_id(event.from) == before && event.to == seen));
    model_release(w->state);
    w->state = bench_shown(b, seen);
    const char *what = driver_compare(seen, w->state);
    if (what)
        fuzz_fail("a watch: %s", what);
}

void bench_watches_close(bench *b)
{
    for (unsigned i = 0; i < WATCHES; i++) {
        watcher *w = &b->watcher[i];
        if (!w->watch)
            continue;
        kv_watch_close(w->watch);
        model_release(w->state);
        *w = (watcher){0};
    }
}
