/* space_log.c - the bytes of records and of blocked runs (space.h): writing, and reading untrusted
 * ones. */
#include "space_impl.h"

#define RECORD_HEAD 16 /* bytes of the id and both counts, at most */

static size_t run_size(const kvi_extent *run, kvi_pgno after)
{
    return kvi_varint_size(run->page - after) + kvi_varint_size(run->pages);
}

static uint8_t *run_put(uint8_t *p, const kvi_extent *run, kvi_pgno after)
{
    return kvi_varint_put(kvi_varint_put(p, run->page - after), run->pages);
}

/* How many runs from the given one fit in *room, of which they are subtracted. */
static size_t runs_fitting(const kvi_extents *runs, size_t from, bool ages, size_t *room)
{
    kvi_pgno after = 0;
    size_t i = from;
    for (; i < runs->n; i++) {
        const kvi_extent *run = &runs->at[i];
        size_t size = run_size(run, after);
        size += ages ? kvi_varint_size(run->death - run->birth) : 0;
        if (size > *room)
            break;
        *room -= size;
        after = kvi_extent_end(run);
    }
    return i - from;
}

static uint8_t *runs_put(uint8_t *p, const kvi_extents *runs, size_t from, size_t n, bool ages)
{
    kvi_pgno after = 0;
    p = kvi_varint_put(p, n);
    for (size_t i = from; i < from + n; i++) {
        const kvi_extent *run = &runs->at[i];
        p = run_put(p, run, after);
        if (ages)
            p = kvi_varint_put(p, run->death - run->birth);
        after = kvi_extent_end(run);
    }
    return p;
}

size_t kvi_record_put(uint8_t *buf, size_t room, kvi_id before, const kvi_record *record,
                      kvi_record_cursor *cursor)
{
    const kvi_extents *taken = &record->taken, *dropped = &record->dropped;
    if (room < RECORD_HEAD)
        return 0;
    room -= RECORD_HEAD;
    bool all = cursor->taken == taken->n && cursor->dropped == dropped->n;
    size_t n_taken = runs_fitting(taken, cursor->taken, false, &room);
    size_t n_dropped = cursor->taken + n_taken == taken->n
                           ? runs_fitting(dropped, cursor->dropped, true, &room)
                           : 0;
    if (n_taken + n_dropped == 0 && !all)
        return 0;
    uint8_t *p = kvi_varint_put(buf, record->id - before);
    p = runs_put(p, taken, cursor->taken, n_taken, false);
    p = runs_put(p, dropped, cursor->dropped, n_dropped, true);
    cursor->taken += n_taken;
    cursor->dropped += n_dropped;
    cursor->done = cursor->taken == taken->n && cursor->dropped == dropped->n;
    return (size_t)(p - buf);
}

/* Reads a run that begins at or behind after. NULL when it is none. */
static const uint8_t *run_get(const uint8_t *p, const uint8_t *end, kvi_pgno after, kvi_extent *run)
{
    uint64_t gap;
    p = kvi_varint_get(p, end, &gap);
    if (p)
        p = kvi_varint_get(p, end, &run->pages);
    if (!p || gap > KVI_PGNO_MAX - after || run->pages == 0 ||
        run->pages > KVI_PGNO_MAX - after - gap)
        return NULL;
    run->page = after + gap;
    return p;
}

static int runs_get(const uint8_t **at, const uint8_t *end, kvi_pgno first_page, kvi_id id,
                    bool ages, kvi_extents *events, const kvi_os *os)
{
    uint64_t n;
    const uint8_t *p = kvi_varint_get(*at, end, &n);
    kvi_pgno after = 0;
    for (; p && n > 0; n--) {
        kvi_extent run = {.birth = id};
        uint64_t age = 0;
        p = run_get(p, end, after, &run);
        if (p && ages)
            p = kvi_varint_get(p, end, &age);
        if (!p || run.page < first_page || age >= id)
            return KV_ECORRUPT;
        after = kvi_extent_end(&run);
        run.birth = id - age;
        run.death = ages ? id : 0;
        int rc = kvi_extents_reserve(events, os, 1);
        if (rc != KV_OK)
            return rc;
        events->at[events->n++] = run;
    }
    *at = p;
    return p ? KV_OK : KV_ECORRUPT;
}

/* Do two ascending lists, [a, b) and [b, end) of the events, share a page? */
static bool runs_overlap(const kvi_extents *events, size_t a, size_t b)
{
    for (size_t t = a, d = b; t < b && d < events->n;) {
        const kvi_extent *x = &events->at[t], *y = &events->at[d];
        if (kvi_extent_end(x) <= y->page)
            t++;
        else if (kvi_extent_end(y) <= x->page)
            d++;
        else
            return true;
    }
    return false;
}

int kvi_record_get(const uint8_t **at, const uint8_t *end, kvi_pgno first_page, kvi_id *id,
                   kvi_extents *events, const kvi_os *os)
{
    uint64_t step;
    size_t from = events->n;
    const uint8_t *p = kvi_varint_get(*at, end, &step);
    if (!p || step == 0 || step > KVI_ID_MAX - *id)
        return KV_ECORRUPT;
    *id += step;
    int rc = runs_get(&p, end, first_page, *id, false, events, os);
    size_t mid = events->n;
    if (rc == KV_OK)
        rc = runs_get(&p, end, first_page, *id, true, events, os);
    if (rc == KV_OK && runs_overlap(events, from, mid))
        rc = KV_ECORRUPT;
    *at = p;
    return rc;
}

size_t kvi_blocked_put(uint8_t *buf, size_t room, kvi_id chain_id, const kvi_extents *dead,
                       size_t *from)
{
    uint8_t *p = buf;
    kvi_pgno after = 0;
    for (; *from < dead->n; (*from)++) {
        const kvi_extent *run = &dead->at[*from];
        size_t size = run_size(run, after) + kvi_varint_size(chain_id - run->death) +
                      kvi_varint_size(run->death - run->birth);
        if (size > room - (size_t)(p - buf))
            break;
        p = run_put(p, run, after);
        p = kvi_varint_put(p, chain_id - run->death);
        p = kvi_varint_put(p, run->death - run->birth);
        after = kvi_extent_end(run);
    }
    return (size_t)(p - buf);
}

int kvi_blocked_get(const uint8_t **at, const uint8_t *end, kvi_id chain_id, kvi_pgno *after,
                    kvi_extent *run)
{
    uint64_t since, age;
    const uint8_t *p = run_get(*at, end, *after, run);
    if (p)
        p = kvi_varint_get(p, end, &since);
    if (p)
        p = kvi_varint_get(p, end, &age);
    if (!p || since >= chain_id || age == 0 || age >= chain_id - since)
        return KV_ECORRUPT;
    run->death = chain_id - since;
    run->birth = run->death - age;
    *after = kvi_extent_end(run);
    *at = p;
    return KV_OK;
}
