/* space_seal.c - the record of a transaction: what it took, dropped and set free, put into the
 * meta's delta when it fits there. */
#include "mutant.h"
#include "space_impl.h"

/* Free pages in [page, end): the record says so, whatever older ones said. */
static int record_free(kvi_space *space, kvi_pgno page, kvi_pgno end)
{
    int rc = KV_OK;
    for (page = kvi_bitset_next(&space->free, page); rc == KV_OK && page < end;) {
        kvi_pgno gap = KVI_MIN(kvi_bitset_next_gap(&space->free, page), end);
        rc = kvi_extents_push(&space->record.dropped, space->os,
                              (kvi_extent){page, gap - page, space->id, space->id});
        page = kvi_bitset_next(&space->free, gap);
    }
    return rc;
}

static int record_dropped(kvi_space *space)
{
    kvi_extents *dropped = &space->record.dropped;
    int rc = KV_OK;
    dropped->n = 0;
    for (size_t i = 0; rc == KV_OK && i < space->drops.n; i++)
        rc = kvi_extents_push(dropped, space->os, space->drops.at[i]);
    for (size_t i = 0; rc == KV_OK && i < space->fallen.n; i++)
        rc = record_free(space, space->fallen.at[i].page,
                         KVI_MIN(kvi_extent_end(&space->fallen.at[i]), space->record_from));
    if (rc == KV_OK)
        rc = record_free(space, space->record_from, space->high_water);
    return rc == KV_OK ? kvi_extents_sort(dropped, space->os) : rc;
}

/* Everything taken, but for what was dropped again. */
static int record_taken(kvi_space *space)
{
    kvi_extents undone = {0};
    space->record.taken.n = 0;
    int rc = kvi_space_taken_kept(space, &undone, &space->record.taken);
    kvi_extents_free(&undone, space->os);
    return rc;
}

/* One more than the last page that is not free when the transaction has ended. */
static kvi_pgno record_end(const kvi_space *space)
{
    const kvi_extents *dropped = &space->record.dropped;
    kvi_pgno end = space->high_water;
    for (size_t n = dropped->n;;) {
        end = kvi_bitset_gap_below(&space->free, end);
        while (n > 0 && dropped->at[n - 1].page >= end)
            n--;
        const kvi_extent *last = n ? &dropped->at[n - 1] : NULL;
        if (!last || kvi_extent_end(last) < end || last->birth != last->death)
            return KVI_MAX(end, space->first);
        end = last->page;
    }
}

static void record_cut(kvi_space *space)
{
    kvi_extents *dropped = &space->record.dropped;
    kvi_pgno end = space->sealed_high_water;
    while (dropped->n && dropped->at[dropped->n - 1].page >= end)
        dropped->n--;
    kvi_extent *last = dropped->n ? &dropped->at[dropped->n - 1] : NULL;
    if (last && kvi_extent_end(last) > end)
        last->pages = end - last->page;
}

/* The transaction's ids are one to all others: the last one. */
static void drops_settle(kvi_space *space)
{
    for (size_t i = 0; i < space->drops.n; i++) {
        kvi_extent *drop = &space->drops.at[i];
        if (!KVI_MUTANT(DEATH_TOO_EARLY))
            drop->death = space->id;
        if (drop->birth >= space->began)
            drop->birth = space->id;
    }
}

int kvi_space_record(kvi_space *space)
{
    space->record.id = space->id;
    drops_settle(space);
    int rc = kvi_extents_sort(&space->drops, space->os);
    if (rc == KV_OK)
        rc = record_taken(space);
    if (rc == KV_OK)
        rc = record_dropped(space);
    if (rc != KV_OK)
        return rc;
    space->sealed_high_water = record_end(space);
    record_cut(space);
    return KV_OK;
}

/* Appends the record to the delta; false: it does not fit. */
static bool seal_inline(kvi_space *space)
{
    kvi_record_cursor cursor = {0};
    bool map_ends = kvi_space_slots(space, space->sealed_high_water) < space->own.n_level[0];
    if (space->rebuilt || space->refold || map_ends || space->delta_len > KVI_SPACE_DELTA_MAX)
        return false;
    space->record_len =
        kvi_record_put(space->delta + space->delta_len, KVI_SPACE_DELTA_MAX - space->delta_len,
                       space->delta_len ? space->delta_last : 0, &space->record, &cursor);
    space->next_roots = space->roots;
    return cursor.done;
}

/* Else whoever can read the records after all would miss what this commit took. */
static void seal_nothing(kvi_space *space)
{
    space->next_roots = (kvi_space_roots){0};
    space->folded = true;
}

static void seal_meta(const kvi_space *space, kvi_meta *meta)
{
    const kvi_space_roots *roots = &space->next_roots;
    size_t len = space->folded ? 0 : space->delta_len + space->record_len;
    meta->high_water = space->sealed_high_water;
    meta->map_levels = roots->map_levels;
    meta->log_pages = roots->log_pages;
    meta->log = roots->log;
    meta->map = roots->map;
    meta->blocked = roots->blocked;
    meta->log_tail = roots->log_tail;
    meta->blocked_pages = roots->blocked_pages;
    meta->delta_len = (uint16_t)len;
    memcpy(meta->delta, space->delta, len);
}

int kvi_space_seal(kvi_space *space, kvi_meta *meta, const kvi_space_sink *sink)
{
    int rc = kvi_space_record(space);
    if (rc != KV_OK)
        return rc;
    if (space->unknown)
        seal_nothing(space);
    else if (!seal_inline(space))
        rc = kvi_space_fold(space, sink);
    if (rc == KV_OK)
        rc = kvi_space_unfile_room(space, &space->drops);
    if (rc == KV_OK)
        seal_meta(space, meta);
    return rc;
}
