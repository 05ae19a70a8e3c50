/* crash_sweep.c - goes through the moments of a record, and through the images that each may have
 * left; see crash_impl.h. */
#include "crash_impl.h"
#include <unistd.h>

#define SUBSET_GROUPS 12  /* up to so many: all subsets */
#define HANG_SECONDS  300 /* for all states of one epoch */
#define WEIGHT_LARGE  16  /* some epochs are searched so many times as deeply */
#define WEIGHT_ONE_IN 8
#define LIES_A_FLUSH  12

/* ---- one state ---- */

/* The image that the level's epoch describes: opened, checked, and taken back. */
static bool state_check(crash_sweep *s, unsigned depth, const crash_expect *expect, bool repeat)
{
    crash_level *level = &s->levels[depth];
    size_t mark = level->disk->n_events;
    bool ok = true;
    crash_epoch_lay(level);
    s->totals->images += !repeat;
    crash_hash hash = crash_image_after(&level->image, level->disk, mark);
    if (level->epoch.lie)
        hash.hi = ~hash.hi; /* other promises: another state */
    if (repeat || crash_seen_add(&s->seen, hash)) {
        s->totals->states += !repeat;
        s->totals->sharing += !repeat && !s->exclusive;
        s->totals->lies += !repeat && level->epoch.lie;
        if (!repeat && s->path.n == 0)
            level->epoch.pick = hash.lo >> 8 ^ hash.hi;
        level->epoch.active = true;
        ok = level->epoch.lie ? crash_check_lie(s, level->disk, expect, level->epoch.pick)
                              : crash_check(s, depth, level->disk, expect, level->epoch.pick);
        level->epoch.active = false;
    }
    sim_rewind(level->disk, mark);
    return ok;
}

/* Keeps the group whole if the failure does not go away. True: more is kept than before. */
static bool group_keep(crash_sweep *s, unsigned depth, const crash_expect *expect, uint32_t group)
{
    crash_epoch *e = &s->levels[depth].epoch;
    bool more = false;
    for (size_t i = 0; i < e->n; i++)
        more = more || (e->group[i] == group && !e->keep[i]);
    if (!more)
        return false;
    uint8_t *before = malloc(e->n);
    if (!before)
        sim_die("out of memory");
    memcpy(before, e->keep, e->n);
    crash_epoch_keep_group(e, group, true);
    more = !state_check(s, depth, expect, true);
    if (!more)
        memcpy(e->keep, before, e->n);
    free(before);
    return more;
}

static bool unit_keep(crash_sweep *s, unsigned depth, const crash_expect *expect, size_t i)
{
    crash_epoch *e = &s->levels[depth].epoch;
    if (e->keep[i])
        return false;
    e->keep[i] = true;
    e->keep[i] = !state_check(s, depth, expect, true);
    return e->keep[i];
}

/* Keeps whatever can be kept without the failure going away. What could not be may be kept once others
 * are. */
static void state_minimise(crash_sweep *s, unsigned depth, const crash_expect *expect)
{
    const crash_epoch *e = &s->levels[depth].epoch;
    s->minimising = true;
    for (bool more = true; more;) {
        more = false;
        for (uint32_t g = 0; g < e->groups; g++)
            more = group_keep(s, depth, expect, g) || more;
        for (size_t i = 0; i < e->n; i++)
            more = unit_keep(s, depth, expect, i) || more;
    }
    s->minimising = false;
}

static bool state_try(crash_sweep *s, unsigned depth, const crash_record *record,
                      const crash_expect *expect)
{
    if (state_check(s, depth, expect, false))
        return true;
    if (!s->failed) { /* else a deeper level has reported */
        s->failed = true;
        crash_report(s, record, depth);
        state_minimise(s, depth, expect);
        if (!state_check(s, depth, expect, true)) /* says what is wrong once more */
            crash_report(s, record, depth);
    }
    return false;
}

/* ---- choices of one epoch ---- */

typedef struct search {
    crash_sweep *s;
    unsigned depth;
    const crash_record *record;
    crash_expect expect;
    crash_epoch *e;
    uint64_t end; /* of totals->states */
} search;

static bool search_over(const search *x)
{
    return x->s->totals->states >= x->end || x->s->failed;
}

static bool search_try(search *x)
{
    x->e->garbage = rng_one_in(&x->s->r, 2) ? (unsigned)rng_below(&x->s->r, GARBAGE_KINDS) : 0;
    return search_over(x) || state_try(x->s, x->depth, x->record, &x->expect);
}

/* Everything up to each unit, in order: also tears the write that comes last. */
static void search_prefixes(search *x)
{
    crash_epoch *e = x->e;
    size_t most = (size_t)(x->end - x->s->totals->states) / 3 + 8;
    size_t step = e->n / most + 1;
    for (size_t n = rng_below(&x->s->r, step); n <= e->n && !search_over(x); n += step) {
        memset(e->keep, 1, n);
        memset(e->keep + n, 0, e->n - n);
        search_try(x);
    }
}

static void search_singles(search *x)
{
    crash_epoch *e = x->e;
    size_t most = (size_t)(x->end - x->s->totals->states) / 4 + 4;
    size_t step = 2 * e->groups / most + 1;
    for (size_t g = rng_below(&x->s->r, step); g < e->groups && !search_over(x); g += step)
        for (int keep = 0; keep < 2; keep++) {
            crash_epoch_keep_all(e, !keep);
            crash_epoch_keep_group(e, (uint32_t)g, keep);
            search_try(x);
        }
}

static void keep_subset(crash_epoch *e, uint64_t mask)
{
    for (size_t i = 0; i < e->n; i++)
        e->keep[i] = mask >> e->group[i] & 1;
}

static void search_subsets(search *x)
{
    crash_epoch *e = x->e;
    uint64_t all = e->groups <= SUBSET_GROUPS ? (uint64_t)1 << e->groups : 0;
    if (all > x->end - x->s->totals->states)
        return;
    for (uint64_t mask = 0; mask < all && !search_over(x); mask++) {
        keep_subset(e, mask);
        search_try(x);
    }
}

static void keep_random(crash_epoch *e, rng *r)
{
    uint64_t density = rng_between(r, 1, 15);
    bool keep = false;
    for (size_t i = 0; i < e->n; i++) {
        if (i == 0 || e->group[i] != e->group[i - 1])
            keep = rng_below(r, 16) < density;
        e->keep[i] = keep;
    }
}

/* Loses some sectors or words of one page or meta. */
static void keep_torn(crash_epoch *e, rng *r)
{
    uint32_t group = (uint32_t)rng_below(r, e->groups);
    uint64_t density = rng_between(r, 1, 15);
    for (size_t i = 0; i < e->n; i++)
        if (e->group[i] == group)
            e->keep[i] = rng_below(r, 16) < density;
}

static void search_random(search *x)
{
    crash_epoch *e = x->e;
    rng *r = &x->s->r;
    uint64_t tries = 2 * (x->end - x->s->totals->states) + 8;
    for (; tries > 0 && !search_over(x); tries--) {
        if (rng_one_in(r, 3))
            crash_epoch_keep_all(e, true);
        else
            keep_random(e, r);
        for (uint64_t torn = rng_below(r, 3); torn > 0; torn--)
            keep_torn(e, r);
        search_try(x);
    }
}

static crash_expect expect_at(const crash_record *record, size_t at, bool exact)
{
    const crash_moment *m = crash_log_find(record->log, at);
    crash_expect expect = {.known = record->known, .n_known = record->n_known, .exact = exact};
    expect.low = exact ? m->published : m->durable;
    expect.high = m->writing ? m->writing : m->published;
    expect.missing = m->durable == 0;
    expect.twice = record->twice;
    return expect;
}

/* All that is pending at event at. False: a failure. */
static bool sweep_epoch(crash_sweep *s, unsigned depth, const crash_record *record, size_t from,
                        size_t at, uint64_t budget)
{
    crash_level *level = &s->levels[depth];
    search x = {s, depth, record, expect_at(record, at, false), &level->epoch, 0};
    crash_epoch_gather(x.e, record, from, at, s->options.page_size);
    level->disk->boots = record->disk->boots + 1;
    if (s->path.n) {
        const crash_step *step = crash_path_step(s, depth, at, false, false);
        if (!step)
            return true;
        crash_step_keep(step, x.e);
        return state_try(s, depth, record, &x.expect);
    }
    if (x.e->n == 0 || budget == 0)
        return true;
    x.end = s->totals->states + budget;
    if (depth == 0)
        alarm(HANG_SECONDS);
    search_prefixes(&x);
    search_singles(&x);
    search_subsets(&x);
    search_random(&x);
    return !s->failed;
}

static bool settles(const sim_event *event)
{
    return event->kind == SIM_SYNC || event->kind == SIM_SYNC_LOST || event->kind == SIM_SYNC_DIR;
}

/* ---- a flush that was a lie ---- */

/* What is pending before the next flush, as if the one at event at had not been. */
static void lie_gather(crash_sweep *s, const crash_record *record, size_t from, size_t at)
{
    crash_epoch *e = &s->levels[0].epoch;
    sim_disk *disk = record->disk;
    size_t end = at + 1;
    while (end < disk->n_events && !settles(&disk->events[end]))
        end++;
    disk->events[at].kind = SIM_MARK;
    crash_epoch_gather(e, record, from, end, s->options.page_size);
    disk->events[at].kind = SIM_SYNC;
    e->at = at;
    e->lie = true;
}

/* Loses some of what came before the flush, and of what came after it nothing, or some as well. */
static void lie_keep(crash_epoch *e, size_t at, rng *r)
{
    bool all = rng_one_in(r, 2);
    uint32_t one = (uint32_t)rng_below(r, e->groups);
    keep_random(e, r);
    for (size_t i = 0; i < e->n; i++) {
        bool before = e->units[i].event < at;
        if (before && all)
            e->keep[i] = e->group[i] != one;
        else if (!before && rng_one_in(r, 2) == 0)
            e->keep[i] = true;
    }
}

static bool lie_epoch(crash_sweep *s, const crash_record *record, size_t from, size_t at)
{
    crash_epoch *e = &s->levels[0].epoch;
    if (record->disk->events[at].kind != SIM_SYNC)
        return true;
    crash_expect expect = expect_at(record, record->disk->n_events, false);
    expect.low = 0;
    lie_gather(s, record, from, at);
    if (s->path.n) {
        const crash_step *step = crash_path_step(s, 0, at, false, true);
        if (!step)
            return true;
        crash_step_keep(step, e);
        return state_try(s, 0, record, &expect);
    }
    for (unsigned i = 0; e->n > 0 && i < LIES_A_FLUSH; i++) {
        lie_keep(e, at, &s->r);
        e->garbage = (unsigned)rng_below(&s->r, GARBAGE_KINDS);
        if (!state_try(s, 0, record, &expect))
            return false;
    }
    return true;
}

/* ---- a whole record ---- */

static void remember_old(crash_level *level)
{
    const sim_file *file = &level->disk->files[0];
    if (level->disk->n_files == 0)
        return;
    if (file->size > level->old_size) {
        level->old = realloc(level->old, file->size);
        if (!level->old)
            sim_die("out of memory");
        level->old_size = (size_t)file->size;
    }
    if (file->size)
        memcpy(level->old, file->bytes, file->size);
}

/* Sizes and names are the file system's own records: a flush that fails does not lose them. */
static void lose_some(crash_epoch *e, uint64_t seed)
{
    rng r;
    rng_seed(&r, seed);
    uint64_t density = rng_below(&r, 17);
    for (size_t i = 0; i < e->n; i++)
        if (e->units[i].kind == SIM_UNIT_DATA)
            e->keep[i] = rng_below(&r, 16) < density;
}

/* Event at is a flush: what it settles becomes part of the level's disk. Returns the first event
 * that is still pending. */
static size_t settle(crash_sweep *s, unsigned depth, const crash_record *record, size_t from,
                     size_t at)
{
    crash_level *level = &s->levels[depth];
    crash_epoch *e = &level->epoch;
    const sim_disk *disk = record->disk;
    uint32_t *later = malloc((at + 1 - from + 1) * sizeof *later);
    if (!later)
        sim_die("out of memory");
    size_t n_later = sim_pending(disk, from, at + 1, later), k = 0;
    crash_epoch_gather(e, record, from, at, s->options.page_size);
    crash_epoch_keep_all(e, true);
    if (disk->events[at].kind == SIM_SYNC_LOST)
        lose_some(e, s->seed ^ (uint64_t)s->segment << 48 ^ at);
    for (size_t i = 0; i < e->n; i++) {
        while (k < n_later && later[k] < e->units[i].event)
            k++;
        if (k < n_later && later[k] == e->units[i].event)
            e->keep[i] = false;
    }
    sim_apply(level->disk, e->chosen, crash_epoch_choose(e));
    sim_forget(level->disk);
    from = n_later ? later[0] : at + 1;
    free(later);
    return from;
}

/* Some epochs get far more than others: a thorough search of a few finds what a quick one of many
 * cannot. */
static uint64_t epoch_weight(const crash_sweep *s, unsigned depth, size_t at)
{
    uint64_t state = s->seed ^ (uint64_t)s->segment << 40 ^ at;
    return depth == 0 && rng_splitmix(&state) % WEIGHT_ONE_IN == 0 ? WEIGHT_LARGE : 1;
}

static uint64_t record_weight(const crash_sweep *s, unsigned depth, const crash_record *record)
{
    uint64_t sum = epoch_weight(s, depth, record->disk->n_events);
    for (size_t i = record->from; i < record->disk->n_events; i++)
        if (settles(&record->disk->events[i]))
            sum += epoch_weight(s, depth, i);
    return sum;
}

bool crash_sweep_cuts(crash_sweep *s, unsigned depth, const crash_record *record, uint64_t budget)
{
    crash_level *level = &s->levels[depth];
    const sim_disk *disk = record->disk;
    uint64_t weights = record_weight(s, depth, record);
    uint64_t end = s->totals->states + budget;
    size_t upto = disk->n_events, from = record->from;
    level->disk->recording = SIM_RECORD_UNDO;
    crash_image_take(&level->image, level->disk);
    for (size_t at = from; at <= upto; at++) {
        if (at < upto && !settles(&disk->events[at]))
            continue;
        uint64_t before = s->totals->states, left = end > before ? end - before : 0;
        uint64_t weight = epoch_weight(s, depth, at);
        uint64_t share = KVI_MIN((left * weight + weights - 1) / weights, s->epoch_max);
        if (!sweep_epoch(s, depth, record, from, at, share) ||
            (depth == 0 && at < upto && share > LIES_A_FLUSH && !lie_epoch(s, record, from, at)))
            return false;
        weights -= weight;
        if (depth == 0) {
            s->totals->flushes++;
            s->totals->largest = KVI_MAX(s->totals->largest, s->totals->states - before);
        }
        level->pending = from;
        if (at == upto)
            break;
        from = settle(s, depth, record, from, at);
        if (depth == 0)
            remember_old(level);
        crash_image_take(&level->image, level->disk);
    }
    return true;
}

void crash_sweep_reboot(crash_sweep *s, const crash_record *record, rng *r)
{
    crash_level *level = &s->levels[0];
    crash_epoch *e = &level->epoch;
    crash_epoch_gather(e, record, level->pending, record->disk->n_events, s->options.page_size);
    if (e->n > 0) {
        keep_random(e, r);
        if (rng_one_in(r, 2))
            keep_torn(e, r);
        sim_apply(level->disk, e->chosen, crash_epoch_choose(e));
        sim_forget(level->disk);
    }
}

/* ---- kills ---- */

/* The process was killed at event at: the page cache holds all events before it, and perhaps a
 * part of the write that it was in. */
static bool kill_check(crash_sweep *s, unsigned depth, const crash_record *record, size_t at,
                       uint64_t pick)
{
    sim_disk *disk = record->disk;
    crash_expect expect = expect_at(record, at, true);
    crash_image *image = &s->levels[depth].image;
    expect.missing = expect.missing || sim_find(disk, CRASH_FILE) < 0;
    s->totals->images++;
    crash_image_take(image, disk);
    crash_hash hash = crash_image_after(image, disk, disk->n_events);
    hash.lo = ~hash.lo; /* the boot is the same: another state than after a power cut */
    if (!crash_seen_add(&s->seen, hash))
        return true;
    s->totals->states++;
    s->totals->kills++;
    s->totals->sharing += !s->exclusive;
    crash_epoch *e = &s->levels[depth].epoch;
    e->at = at;
    e->kill = true;
    e->pick = s->path.n ? pick : hash.lo >> 8 ^ hash.hi;
    size_t mark = disk->n_events;
    e->active = true;
    bool ok = crash_check(s, depth, disk, &expect, e->pick);
    e->active = false;
    sim_rewind(disk, mark);
    if (!ok) {
        s->failed = true;
        crash_report(s, record, depth);
    }
    return ok;
}

static bool kill_in_write(crash_sweep *s, unsigned depth, const crash_record *record, size_t at,
                          const sim_event *event, uint64_t pick)
{
    sim_disk *disk = record->disk;
    uint64_t len = event->len / 2 / 4096 * 4096;
    uint8_t *bytes = malloc(event->len);
    if (!bytes)
        sim_die("out of memory");
    memcpy(bytes, event->data, event->len);
    struct iovec iov = {bytes, (size_t)len};
    int file = event->file;
    uint64_t off = event->off;
    sim_rewind(disk, at);
    sim_do_write(disk, file, off, &iov, 1, (size_t)len);
    bool ok = kill_check(s, depth, record, at, pick);
    free(bytes);
    sim_rewind(disk, at);
    return ok;
}

static bool kill_at(crash_sweep *s, unsigned depth, const crash_record *record, size_t at,
                    uint64_t pick)
{
    sim_disk *disk = record->disk;
    if (at < disk->n_events) {
        const sim_event event = disk->events[at];
        if (event.kind == SIM_WRITE && event.len >= 8192 && event.data &&
            !kill_in_write(s, depth, record, at, &event, pick))
            return false;
        sim_rewind(disk, at);
    }
    return kill_check(s, depth, record, at, pick);
}

bool crash_sweep_kills(crash_sweep *s, unsigned depth, const crash_record *record, uint64_t budget)
{
    sim_disk *disk = record->disk;
    size_t n = disk->n_events - record->from + 1;
    uint64_t end = s->totals->states + budget;
    disk->recording = SIM_RECORD_UNDO;
    for (size_t at = disk->n_events + 1; at-- > record->from;) {
        const crash_step *step = crash_path_step(s, depth, at, true, false);
        if (s->path.n ? !step : rng_below(&s->r, n) >= budget || s->totals->states >= end)
            continue;
        if (!kill_at(s, depth, record, at, step ? step->pick : 0))
            return false;
    }
    return true;
}
