/* space_follow.c - what other processes committed since, from the records that the meta itself holds. */
#include "mutant.h"
#include "space_impl.h"

typedef struct follow {
    kvi_space *space;
    kvi_extents events; /* of the record that is read */
    kvi_extents left;   /* pages that it found dead, and that are so no longer */
    kvi_extents gone;   /* those of all records */
    kvi_extents dead;   /* pages that these records dropped */
} follow;

/* Do the meta's records begin with ours, and go on with what ours lack? */
static bool goes_on(const kvi_space *space, const kvi_meta *meta)
{
    const kvi_space_roots *roots = &space->roots;
    return space->id == 0 && !space->unknown && meta->high_water >= space->high_water &&
           kvi_ptr_same(meta->log, roots->log) && kvi_ptr_same(meta->map, roots->map) &&
           kvi_ptr_same(meta->blocked, roots->blocked) && meta->log_tail == roots->log_tail &&
           meta->delta_len >= space->delta_len && meta->delta_len <= sizeof meta->delta &&
           memcmp(meta->delta, space->delta, space->delta_len) == 0 &&
           meta->high_water <= kvi_file_known(space->file) >> space->file->page_shift;
}

/* The newest commit whose record we have. */
static kvi_id newest_known(const kvi_space *space)
{
    const kvi_space_own *own = &space->own;
    return space->delta_len ? space->delta_last
           : own->n_log     ? own->log[own->n_log - 1].last
                            : own->log_tail;
}

/* Pages that no record speaks of are in use. */
static int grow(follow *f, kvi_pgno high_water)
{
    kvi_space *space = f->space;
    kvi_pgno from = space->high_water;
    int rc = kvi_space_grow(space, high_water);
    if (rc == KV_OK && high_water > from)
        kvi_space_away(space, from, high_water - from);
    return rc;
}

/* ---- one record ---- */

/* The file may have become shorter again behind it. */
static void events_cut(follow *f)
{
    kvi_pgno high_water = f->space->high_water;
    size_t kept = 0;
    for (size_t i = 0; i < f->events.n; i++) {
        kvi_extent run = f->events.at[i];
        if (run.page >= high_water)
            continue;
        run.pages = KVI_MIN(run.pages, high_water - run.page);
        f->events.at[kept++] = run;
    }
    f->events.n = kept;
}

static int dead_leave(follow *f, const kvi_extent *run)
{
    kvi_bitset *dead = &f->space->dead;
    kvi_pgno end = kvi_extent_end(run);
    int rc = KV_OK;
    for (kvi_pgno page = kvi_bitset_next(dead, run->page); rc == KV_OK && page < end;) {
        kvi_pgno gap = KVI_MIN(kvi_bitset_next_gap(dead, page), end);
        rc = kvi_extents_push(&f->left, f->space->os, (kvi_extent){page, gap - page, 0, 0});
        kvi_bitset_remove(dead, page, gap - page);
        page = kvi_bitset_next(dead, gap);
    }
    return rc;
}

static void become_used(kvi_space *space, const kvi_extent *run)
{
    kvi_pgno end = kvi_extent_end(run);
    for (kvi_pgno page = kvi_bitset_next(&space->free, run->page); page < end;) {
        kvi_pgno gap = KVI_MIN(kvi_bitset_next_gap(&space->free, page), end);
        kvi_space_away(space, page, gap - page);
        page = kvi_bitset_next(&space->free, gap);
    }
}

static void become_free(kvi_space *space, const kvi_extent *run)
{
    kvi_pgno end = kvi_extent_end(run);
    for (kvi_pgno page = kvi_bitset_next_gap(&space->free, run->page); page < end;) {
        kvi_pgno next = KVI_MIN(kvi_bitset_next(&space->free, page), end);
        kvi_space_put(space, page, next - page);
        page = kvi_bitset_next_gap(&space->free, next);
    }
}

static bool stays_dead(const kvi_extent *run)
{
    return run->death != 0 && run->birth != run->death;
}

static int become_dead(follow *f, const kvi_extent *run)
{
    kvi_space *space = f->space;
    if (kvi_bitset_any(&space->free, run->page, run->pages) ||
        kvi_bitset_any(&space->dead, run->page, run->pages))
        return KV_ECORRUPT;
    kvi_bitset_add(&space->dead, run->page, run->pages);
    return kvi_extents_push(&f->dead, space->os, *run);
}

/* Takes the pages of gone, which are sorted, out of a list. */
static int list_cut(const kvi_os *os, kvi_extents *list, const kvi_extents *gone)
{
    kvi_extents kept = {0};
    if (gone->n == 0 || list->n == 0)
        return KV_OK;
    int rc = kvi_extents_sort(list, os);
    if (rc == KV_OK)
        rc = kvi_extents_subtract(list, gone, &kept, os);
    if (rc == KV_OK) {
        kvi_extents all = *list;
        *list = kept;
        kept = all;
    }
    kvi_extents_free(&kept, os);
    return rc;
}

/* What an earlier record dropped may have been taken since, and dropped by this one again. */
static int left_note(follow *f)
{
    const kvi_os *os = f->space->os;
    int rc = kvi_extents_sort(&f->left, os);
    if (rc == KV_OK)
        rc = list_cut(os, &f->dead, &f->left);
    for (size_t i = 0; rc == KV_OK && i < f->left.n; i++)
        rc = kvi_extents_push(&f->gone, os, f->left.at[i]);
    f->left.n = 0;
    return rc;
}

static int record_apply(follow *f, kvi_id id)
{
    kvi_space *space = f->space;
    int rc = KV_OK;
    events_cut(f);
    kvi_space_note(space, &f->events, id);
    for (size_t i = 0; rc == KV_OK && i < f->events.n; i++) {
        const kvi_extent *run = &f->events.at[i];
        if (stays_dead(run) || (run->death == 0 && KVI_MUTANT(FOLLOWED_UNTAKEN)))
            continue;
        rc = dead_leave(f, run);
        if (run->death == 0)
            become_used(space, run);
        else
            become_free(space, run);
    }
    if (rc == KV_OK)
        rc = left_note(f);
    for (size_t i = 0; rc == KV_OK && i < f->events.n; i++)
        if (stays_dead(&f->events.at[i]))
            rc = become_dead(f, &f->events.at[i]);
    return rc;
}

/* ---- all ---- */

static int lists_follow(follow *f)
{
    kvi_space *space = f->space;
    int rc = kvi_extents_sort(&f->gone, space->os);
    if (rc == KV_OK)
        rc = list_cut(space->os, &space->unfiled, &f->gone);
    for (size_t i = 0; rc == KV_OK && i < space->n_held; i++)
        rc = list_cut(space->os, &space->held[i].dead, &f->gone);
    for (size_t i = 0; rc == KV_OK && i < f->dead.n; i++)
        rc = kvi_extents_push(&space->unfiled, space->os, f->dead.at[i]);
    return rc;
}

/* The records' own pages are in use; forged records may say otherwise. */
static bool is_unused(const kvi_space *space, kvi_pgno page, kvi_pgno limit)
{
    (void)limit;
    return kvi_space_state(space, page) != KVI_PAGE_USED;
}

static int follow_records(follow *f, const kvi_meta *meta)
{
    kvi_space *space = f->space;
    const uint8_t *at = meta->delta + space->delta_len, *end = meta->delta + meta->delta_len;
    kvi_id known = newest_known(space), id = space->delta_len ? known : 0, first = 0;
    int rc = grow(f, meta->high_water);
    while (rc == KV_OK && at < end) {
        f->events.n = 0;
        rc = kvi_record_get(&at, end, space->first, &id, &f->events, space->os);
        if (rc == KV_OK && (id <= known || id > meta->id))
            rc = KV_ECORRUPT;
        if (rc == KV_OK)
            rc = record_apply(f, id);
        first = first ? first : id;
    }
    if (rc == KV_OK && kvi_space_own_any(space, is_unused, 0))
        rc = KV_ECORRUPT;
    if (rc != KV_OK)
        return rc;
    if (space->delta_len == 0)
        space->delta_first = first;
    space->delta_last = id;
    space->delta_len = meta->delta_len;
    memcpy(space->delta, meta->delta, meta->delta_len);
    return lists_follow(f);
}

bool kvi_space_follow(kvi_space *space, const kvi_meta *meta)
{
    follow f = {.space = space};
    bool done = goes_on(space, meta) && follow_records(&f, meta) == KV_OK;
    kvi_extents_free(&f.events, space->os);
    kvi_extents_free(&f.left, space->os);
    kvi_extents_free(&f.gone, space->os);
    kvi_extents_free(&f.dead, space->os);
    return done;
}
