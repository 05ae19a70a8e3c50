/* crash_record.c - runs a workload on the simulated disk: transactions, and all that may happen
 * between them. After each segment the search goes over what was recorded; then the power goes, and
 * the next segment begins from one of the images. */
#include "crash_record.h"
#include "driver_clock.h"
#include "driver_group.h"
#include "driver_replay.h"
#include "driver_snapshot.h"
#include "format.h"
#include "meta.h"
#include "multi_steps.h"
#include <stdarg.h>

#define KILL_SHARE    8 /* one state in so many is a kill */
#define KEY_LEVELS    6
#define TABLE_BYTES   ((size_t)32768)
#define RESERVE_EXTRA 512

bool record_wrong(recorder *x, const char *format, ...)
{
    va_list arguments;
    char text[256];
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (!x->s.failed)
        snprintf(x->s.report, sizeof x->s.report,
                 "while recording: %s\nworkload %s, seed %llu, segment %u, event %zu\n", text,
                 x->w->name, (unsigned long long)x->s.seed, x->s.segment, x->disk->n_events);
    x->s.failed = true;
    return false;
}

void record_promise(recorder *x, uint64_t durable, uint64_t published, uint64_t writing)
{
    crash_log_add(&x->log, (crash_moment){x->disk->n_events, durable, published, writing});
}

const crash_moment *record_promised(const recorder *x)
{
    return &x->log.moments[x->log.n - 1];
}

/* ---- the audit: no two pages with one number and birth (R1, S4) ---- */

static bool audit_page(recorder *x, const uint8_t *page, uint64_t number)
{
    uint64_t birth = kvi_get64(page + KVI_P_birth);
    uint64_t checksum = kvi_get64(page + KVI_P_checksum);
    if (kvi_get64(page + KVI_P_page) != number || birth == 0 || birth > KVI_ID_MAX)
        return true; /* of a large value: it has no header */
    uint64_t spread = (number * 31 + birth) * 0x9e3779b97f4a7c15ull;
    audit_slot *slot = &x->audit[spread >> 32 & (AUDIT_SLOTS - 1)];
    if (slot->page == number && slot->birth == birth && slot->checksum != checksum)
        return record_wrong(x, "page %llu is written twice with birth %llu",
                            (unsigned long long)number, (unsigned long long)birth);
    *slot = (audit_slot){number, birth, checksum};
    return true;
}

static bool record_audit(recorder *x)
{
    uint32_t page_size = x->s.options.page_size;
    uint64_t first = 2 * kvi_meta_stride(page_size);
    for (; x->audited < x->disk->n_events; x->audited++) {
        const sim_event *e = &x->disk->events[x->audited];
        if (e->kind != SIM_WRITE || e->off < first || e->off % page_size != 0)
            continue;
        for (uint64_t at = 0; at + page_size <= e->len; at += page_size)
            if (!audit_page(x, e->data + at, (e->off + at) / page_size))
                return false;
    }
    return true;
}

void record_audit_restart(recorder *x)
{
    memset(x->audit, 0, sizeof x->audit);
    x->audited = x->audit_from = x->disk->n_events;
}

void record_audit_cut(recorder *x)
{
    memset(x->audit, 0, sizeof x->audit);
    x->audited = x->audit_from = KVI_MIN(x->audit_from, x->disk->n_events);
}

/* ---- chance, and plans for failures ---- */

bool record_chance(recorder *x, unsigned one_in)
{
    return one_in && rng_one_in(&x->r, one_in);
}

void record_plan_flush(recorder *x)
{
    fault_plan(&x->fault, (fault_case){.at = rng_between(&x->r, 1, 2),
                                       .mask = FAULT_BIT(FAULT_SYNC),
                                       .mode = FAULT_ERROR});
}

static void plan_write(recorder *x)
{
    static const fault_mode modes[] = {FAULT_ERROR, FAULT_LATE, FAULT_SHORT};
    fault_plan(&x->fault, (fault_case){.at = rng_between(&x->r, 1, 5),
                                       .mask = FAULT_BIT(FAULT_PWRITEV) | FAULT_BIT(FAULT_TRUNCATE),
                                       .mode = modes[rng_below(&x->r, 3)]});
}

bool record_plan_over(recorder *x)
{
    bool hit = fault_hit(&x->fault);
    fault_plan(&x->fault, (fault_case){.at = 0});
    return hit;
}

/* Before every event. */
static void side_keep(void *watcher)
{
    recorder *x = watcher;
    side_history *sides = &x->sides;
    int file = sim_find(x->disk, CRASH_SIDE);
    if (sides->n == sides->cap) {
        sides->cap = sides->cap * 2 + 64;
        sides->bytes = realloc(sides->bytes, sides->cap * sizeof *sides->bytes);
        if (!sides->bytes)
            sim_die("out of memory");
    }
    if (file >= 0)
        memcpy(sides->bytes[sides->n], x->disk->files[file].bytes, SIDE_KEPT);
    sides->n++;
}

void record_start(recorder *x)
{
    x->start = x->disk->n_events;
    x->sides.n = 0;
}

/* ---- transactions ---- */

static uint32_t pick_kind(recorder *x)
{
    static const struct {
        unsigned bit;
        uint32_t flags;
    } kinds[] = {{CRASH_DEFAULT, 0}, {CRASH_STRICT, KV_TXN_STRICT}, {CRASH_LAZY, KV_TXN_LAZY}};
    for (;;) {
        size_t i = (size_t)rng_below(&x->r, KVI_COUNT(kinds));
        if (x->w->kinds & kinds[i].bit)
            return kinds[i].flags;
    }
}

/* Deletes most of a tree, so that the file can shrink. */
static bool txn_purge(recorder *x)
{
    const model_state *now = x->m->now;
    const model_tree *tree = &now->trees[rng_below(&x->r, now->n)];
    kvi_slice name = model_tree_name(tree), from = {NULL, 0};
    kv_tree *handle = kv_txn_main(x->d.txn);
    uint64_t deleted, keep = rng_below(&x->r, 4);
    if (name.len && kv_tree_open(x->d.txn, name.ptr, name.len, 0, NULL, &handle) != KV_OK)
        return false;
    if (multi_is(name)) { /* its keys in the model are no keys */
        model_tree_clear(x->m, name);
        return kv_tree_clear(handle) == KV_OK;
    }
    if (!model_nth(tree, keep, &from, NULL))
        return true;
    uint8_t key[4096];
    memcpy(key, from.ptr, from.len);
    from = kvi_slice_of(key, from.len);
    kv_range range = {.size = sizeof range, .from = key, .from_len = from.len};
    if (kv_del_range(handle, &range, &deleted) != KV_OK)
        return false;
    return deleted == model_del_range(x->m, name, from, NULL);
}

/* The outcome of a commit is unknown: it may be found, whole, at the next open. */
static void txn_uncertain(recorder *x, uint64_t id, model_state *state)
{
    model_state *now = model_keep(x->m);
    model_restore(x->m, state);
    model_commit_as(x->m, id);
    model_restore(x->m, now);
    model_release(now);
    x->poisoned = true;
}

static bool txn_committed(recorder *x, uint64_t id, uint32_t kind)
{
    const crash_moment *m = record_promised(x);
    uint64_t durable = KVI_MAX(m->durable, kv_db_durable_id(x->d.db));
    if (crash_newest(x->d.db) != id) /* nothing had changed */
        id = m->published;
    else if (kind != KV_TXN_LAZY)
        durable = id;
    x->s.totals->commits++;
    record_promise(x, durable, id, 0);
    return true;
}

static bool txn_commit(recorder *x, uint32_t kind)
{
    const crash_moment before = *record_promised(x);
    uint64_t id = kv_txn_id(x->d.txn);
    model_state *state = model_keep(x->m);
    record_promise(x, before.durable, before.published, id);
    int rc = driver_commit(&x->d);
    bool hit = record_plan_over(x), ok = true;
    if (rc == KV_OK)
        ok = txn_committed(x, id, kind);
    else if (!hit)
        ok = record_wrong(x, "commit %llu: %d", (unsigned long long)id, rc);
    else if (rc == KV_EPOISONED)
        txn_uncertain(x, id, state);
    else
        record_promise(x, before.durable, before.published, 0);
    model_release(state);
    return ok;
}

static bool txn_run(recorder *x)
{
    uint32_t kind = pick_kind(x);
    record_start(x);
    if (!driver_begin(&x->d, kind))
        return record_wrong(x, "begin: %d", x->d.failure);
    if (record_chance(x, x->w->fail_flush))
        record_plan_flush(x);
    else if (record_chance(x, x->w->fail_write))
        plan_write(x);
    bool ok = driver_steps(&x->d, (unsigned)rng_between(&x->r, 1, x->w->steps));
    if (ok && record_chance(x, x->w->purge))
        ok = txn_purge(x);
    if (!ok || record_chance(x, x->w->abort)) {
        driver_abort(&x->d);
        return record_plan_over(x) || ok || record_wrong(x, "%s: %d", x->d.what, x->d.failure);
    }
    return txn_commit(x, kind);
}

/* The id that the next commit will have. */
static uint64_t txn_next(recorder *x)
{
    kv_txn *txn;
    if (kv_txn_begin(x->d.db, KV_TXN_WRITE, &txn) != KV_OK)
        return 0;
    uint64_t id = kv_txn_id(txn);
    kv_txn_abort(txn);
    return id;
}

/* The id that a transaction had at last, which began as id at the newest moment: of its meta, if it
 * came as far as that. */
static uint64_t txn_was(const recorder *x, uint64_t id)
{
    int file = sim_find(x->disk, CRASH_FILE);
    for (size_t i = record_promised(x)->at; i < x->disk->n_events; i++) {
        const sim_event *e = &x->disk->events[i];
        kvi_meta meta;
        bool whole = e->kind == SIM_WRITE && e->file == file && e->len == KVI_META_SIZE;
        if (whole && kvi_meta_decode(e->data, &meta) == KVI_META_VALID)
            id = KVI_MAX(id, meta.id);
    }
    return id;
}

static bool do_group(driver *d, uint32_t *kind, model_state **unknown)
{
    return driver_group(d, *kind, unknown);
}

static bool do_replay(driver *d, uint32_t *kind, model_state **unknown)
{
    return driver_replay(d, *kind, unknown);
}

/* A call that is a transaction of its own, or several together. */
static bool txn_whole(recorder *x, bool (*call)(driver *d, uint32_t *kind, model_state **unknown))
{
    const crash_moment before = *record_promised(x);
    uint32_t kind = pick_kind(x);
    model_state *unknown;
    record_start(x);
    uint64_t id = txn_next(x);
    record_promise(x, before.durable, before.published, id);
    if (record_chance(x, x->w->fail_flush))
        record_plan_flush(x);
    else if (record_chance(x, x->w->fail_write))
        plan_write(x);
    bool fine = call(&x->d, &kind, &unknown);
    bool hit = record_plan_over(x);
    id = txn_was(x, id);
    x->log.moments[x->log.n - 1].writing = id;
    if (fine)
        return txn_committed(x, id, kind);
    if (unknown) {
        txn_uncertain(x, id, unknown);
        model_release(unknown);
    } else {
        record_promise(x, before.durable, before.published, 0);
    }
    return (hit && x->d.failure) || record_wrong(x, "%s: %d", x->d.what, x->d.failure);
}

static bool record_sync(recorder *x)
{
    const crash_moment before = *record_promised(x);
    record_start(x);
    if (record_chance(x, x->w->fail_flush))
        record_plan_flush(x);
    int rc = kv_db_sync(x->d.db);
    bool hit = record_plan_over(x);
    x->poisoned = rc == KV_EPOISONED && hit;
    if (rc == KV_OK)
        record_promise(x, before.published, before.published, 0);
    return rc == KV_OK || x->poisoned || record_wrong(x, "sync: %d", rc);
}

/* ---- compaction: commits that change nothing ---- */

typedef struct compaction {
    recorder *x;
    uint64_t newest, next; /* commit, and the one under way: an abort may have used up an id */
    uint64_t patience;     /* steps */
} compaction;

/* Behind each step: it was committed, and the next one is under way. */
static int compaction_step(void *context, const kv_progress *progress)
{
    compaction *c = context;
    recorder *x = c->x;
    uint64_t id = crash_newest(x->d.db);
    (void)progress;
    if (id != c->newest) {
        model_commit_as(x->m, id);
        x->s.totals->commits++;
    }
    c->newest = id;
    c->next = id + 1;
    record_promise(x, id, id, c->next);
    return c->patience-- == 0;
}

static bool record_compact(recorder *x)
{
    const crash_moment before = *record_promised(x);
    compaction c = {x, before.published, 0, rng_below(&x->r, 24)};
    kv_compact_options options = {.size = sizeof options,
                                  .step_pages = (uint32_t)rng_between(&x->r, 8, 64),
                                  .progress = compaction_step,
                                  .context = &c};
    record_start(x);
    c.next = txn_next(x);
    record_promise(x, before.durable, before.published, c.next);
    if (record_chance(x, x->w->fail_flush))
        record_plan_flush(x);
    else if (record_chance(x, x->w->fail_write))
        plan_write(x);
    int rc = kv_db_compact(x->d.db, &options, NULL);
    bool hit = record_plan_over(x);
    if (rc == KV_EPOISONED && hit) {
        txn_uncertain(x, c.next, x->m->now);
        return true;
    }
    record_promise(x, KVI_MAX(before.durable, kv_db_durable_id(x->d.db)), c.newest, 0);
    return rc == KV_OK || rc == KV_ECANCELED || hit || record_wrong(x, "compaction: %d", rc);
}

static bool record_commit(recorder *x)
{
    if (x->w->replay)
        return txn_whole(x, do_replay);
    return record_chance(x, x->w->group) ? txn_whole(x, do_group) : txn_run(x);
}

static bool record_step(recorder *x)
{
    if (!life_choose(x))
        return false;
    if (!x->poisoned && !record_commit(x))
        return false;
    if (!x->poisoned && record_chance(x, x->w->snapshot) && !txn_whole(x, driver_snapshot))
        return false;
    if (!x->poisoned && record_chance(x, x->w->clock) && !txn_whole(x, driver_reset_clock))
        return false;
    if (!x->poisoned && record_chance(x, x->w->compact) && !record_compact(x))
        return false;
    if (!x->poisoned && record_chance(x, x->w->sync) && !record_sync(x))
        return false;
    if (!x->poisoned && record_chance(x, x->w->reader) && !life_reader(x))
        return false;
    if (!record_audit(x))
        return false;
    if (x->poisoned)
        return life_poisoned(x);
    if (record_chance(x, x->w->close)) {
        if (!life_close(x))
            return false;
        if (record_chance(x, 4))
            life_kill(x);
        return life_go_on(x);
    }
    if (!record_chance(x, x->w->kill))
        return true;
    life_kill(x);
    return life_go_on(x);
}

/* ---- segments ---- */

static bool segment_record(recorder *x)
{
    if (!life_go_on(x))
        return false;
    for (unsigned i = 0; i < x->w->txns; i++)
        if (!record_step(x))
            return false;
    if (record_chance(x, 3) && !life_close(x))
        return false;
    if (record_chance(x, 2))
        life_kill(x);
    life_end_all(x);
    return true;
}

static bool segment_search(recorder *x, uint64_t budget)
{
    crash_twice_note(&x->twice, x->disk, x->s.options.page_size);
    crash_record record = {x->disk, 0, &x->log, x->m->commits, x->m->n_commits, x->twice.least};
    bool mine = x->s.path.n == 0 || x->s.path.segment == x->s.segment;
    uint64_t kills = budget / KILL_SHARE;
    x->s.levels[0].disk->boots = x->disk->boots;
    if (!crash_sweep_cuts(&x->s, 0, &record, budget > kills ? budget - kills : 0))
        return false;
    const crash_moment *m = record_promised(x);
    x->low = m->durable;
    x->high = m->writing ? m->writing : m->published;
    crash_sweep_reboot(&x->s, &record, &x->r);
    return !mine || crash_sweep_kills(&x->s, 0, &record, kills);
}

/* The power comes back: the disk has what the search left as settled. */
static void segment_reboot(recorder *x)
{
    sim_reboot(x->disk);
    sim_clone(x->disk, x->s.levels[0].disk);
    x->disk->recording = SIM_RECORD_ALL;
    x->log.n = 0;
    crash_haunt(x->disk, rng_next(&x->r));
    sim_forget(x->disk);
    x->rebooted = true;
    record_promise(x, x->low, x->high, 0);
}

static void run_segments(recorder *x, uint64_t states)
{
    uint64_t end = x->s.totals->states + states;
    for (x->s.segment = 0; x->s.segment < x->w->segments && !x->s.failed; x->s.segment++) {
        uint64_t left = end > x->s.totals->states ? end - x->s.totals->states : 0;
        if (x->s.segment > 0)
            segment_reboot(x);
        if (!segment_record(x) || !segment_search(x, left / (x->w->segments - x->s.segment)))
            return;
    }
}

/* ---- all ---- */

static sim_disk *disk_new(const recorder *x, uint64_t seed)
{
    sim_disk *disk = sim_new(seed);
    uint32_t page_size = x->s.options.page_size;
    /* What a run touches: three pages and the keys of a few levels, or the table of verified pages.
     * */
    disk->reserve_touch = 3 * page_size + KEY_LEVELS * 3 * kvi_key_max(page_size);
    disk->reserve_touch = KVI_MAX(disk->reserve_touch, TABLE_BYTES) + RESERVE_EXTRA;
    return disk;
}

/* So that half of the workloads share the file, and others with another seed. */
static uint64_t name_number(const char *name)
{
    uint64_t number = 0;
    while (*name)
        number = number * 31 + (uint8_t)*name++;
    return rng_splitmix(&number);
}

static void recorder_init(recorder *x, const crash_workload *w, uint64_t seed, uint64_t epoch_max,
                          crash_totals *totals)
{
    x->w = w;
    x->s.w = w;
    x->s.seed = seed;
    x->s.epoch_max = epoch_max;
    x->s.totals = totals;
    x->me = &x->lives[0];
    x->s.options = (kv_options){.size = sizeof x->s.options,
                                .page_size = w->page_size ? w->page_size : KVI_PAGE_MIN,
                                .memory_budget = w->budget,
                                .fill = seed & 4 ? 60 : 0};
    x->s.exclusive = !w->pair && (name_number(w->name) ^ seed) & 1;
    x->s.scratch = model_new();
    x->twice.least = UINT64_MAX;
    rng_seed(&x->s.r, seed + 1);
    rng_seed(&x->r, seed);
    x->disk = disk_new(x, seed);
    x->disk->watch = side_keep;
    x->disk->watcher = x;
    for (size_t i = 0; i < CRASH_DEPTH; i++)
        x->s.levels[i].disk = disk_new(x, seed);
    fault_init(&x->fault, sim_os(x->disk));
    x->fault.sync_failed = sim_lose_sync;
    x->m = model_new();
    driver_init(&x->d, NULL, x->m, seed, &w->shape);
    x->d.clock = &x->disk->clock_ms;
    record_promise(x, 0, 0, 1);
    if (w->empty_file) {
        sim_put_file(x->disk, CRASH_FILE, "", 0);
        sim_forget(x->disk);
        sim_clone(x->s.levels[0].disk, x->disk);
    }
}

static void recorder_free(recorder *x)
{
    life_free(x);
    for (size_t i = 0; i < CRASH_DEPTH; i++) {
        crash_level *level = &x->s.levels[i];
        sim_free(level->disk);
        crash_image_free(&level->image);
        crash_epoch_free(&level->epoch);
        free(level->old);
    }
    for (size_t i = 0; i < SEQUEL_CACHE; i++)
        sequel_free(&x->s.cache[i]);
    crash_seen_free(&x->s.seen);
    crash_path_free(&x->s.path);
    crash_log_free(&x->log);
    crash_twice_free(&x->twice);
    model_free(x->s.scratch);
    model_free(x->m);
    sim_free(x->disk);
}

bool crash_replayed(const crash_workload *w, bool *mine)
{
    uint64_t seed;
    return crash_path_wanted(w, &seed, mine);
}

const char *crash_run(const crash_workload *w, uint64_t seed, uint64_t states, uint64_t epoch_max,
                      crash_totals *totals)
{
    static char report[sizeof((crash_sweep *)0)->report];
    bool mine = false;
    recorder *x = calloc(1, sizeof *x);
    if (!x)
        sim_die("out of memory");
    if (crash_path_wanted(w, &seed, &mine) && mine)
        crash_path_read(&x->s.path);
    recorder_init(x, w, seed, epoch_max, totals);
    crash_watch(&x->s);
    run_segments(x, states);
    crash_watch(NULL);
    memcpy(report, x->s.report, sizeof report);
    bool failed = x->s.failed;
    recorder_free(x);
    free(x);
    return failed ? report : NULL;
}
