/* space_place.c - which free pages to take: leaves in holes, branches in groups, large values in
 * runs, and the end of the file for whatever the rest should not be used up for.
 *
 * A commit rewrites leaves all over the file, and the few branches above them every time. So
 * branches have a zone of their own, groups of 64 aligned pages, up to three times as many as they
 * use: there the pages of one commit find a place side by side. The zone is not recorded in the
 * file; it shows again as the groups with the most free pages.
 */
#include "mutant.h"
#include "space_impl.h"

#define GROUP       64 /* pages of a group: one word of a bitset */
#define GROUP_FROM  32 /* free pages of a group that is worth taking into the zone */
#define GROUP_AGAIN 24 /* the same when the zone is found again */
#define FAR         4  /* groups are far back behind so many times the pages that are not free */
#define BULK        64 /* pages from which a contiguous run is looked for */
#define BRANCH_RUN  32 /* branches placed side by side, at most */
#define SPARE       16 /* one page in so many stays free ... */
#define FEW         4  /* ... and commits of fewer leaves make the file no longer for that */

/* Numbers that are being handed out. */
typedef struct picks {
    kvi_pgno *out;
    size_t n;
    size_t got;
} picks;

/* ---- the free set, and how much of it is the zone's ---- */

/* How many of these pages belong to the zone. */
static uint64_t zone_overlap(const kvi_space *space, kvi_pgno page, uint64_t pages)
{
    const kvi_bitset *zone = &space->zone;
    kvi_pgno end = page + pages;
    uint64_t sum = 0;
    if (zone->total == 0)
        return 0;
    if (pages == 1)
        return kvi_bitset_has(zone, page / GROUP);
    for (uint64_t g = kvi_bitset_next(zone, page / GROUP); g < zone->size && g * GROUP < end;
         g = kvi_bitset_next(zone, g + 1))
        sum += KVI_MIN(end, (g + 1) * GROUP) - KVI_MAX(page, g * GROUP);
    return sum;
}

/* What is known of runs stays known, unless these pages make a longer one with their neighbours: in a
 * file of many holes a vain search is a long one. */
static void run_note(kvi_space *space, kvi_pgno page, uint64_t pages)
{
    const kvi_bitset *zone = &space->zone;
    uint64_t group = page / GROUP, last = (page + pages - 1) / GROUP;
    if (space->no_run == UINT64_MAX || (group == last && kvi_bitset_has(zone, group)))
        return;
    uint64_t behind = kvi_bitset_next(zone, last + 1);
    kvi_pgno from = kvi_bitset_gap_below(&space->free, page);
    kvi_pgno end = kvi_bitset_next_gap(&space->free, page + pages);
    while (group * GROUP > from && !kvi_bitset_has(zone, group - 1))
        group--;
    if (behind < zone->size)
        end = KVI_MIN(end, behind * GROUP);
    if (end - KVI_MAX(from, group * GROUP) >= space->no_run)
        space->no_run = UINT64_MAX;
}

void kvi_space_put(kvi_space *space, kvi_pgno page, uint64_t pages)
{
    kvi_bitset_add(&space->free, page, pages);
    space->zone_free += zone_overlap(space, page, pages);
    run_note(space, page, pages);
    space->group_wait -= KVI_MIN(space->group_wait, pages);
    space->draw_wait -= KVI_MIN(space->draw_wait, pages);
}

void kvi_space_away(kvi_space *space, kvi_pgno page, uint64_t pages)
{
    kvi_bitset_remove(&space->free, page, pages);
    space->zone_free -= zone_overlap(space, page, pages);
}

static int space_get(kvi_space *space, kvi_pgno page, uint64_t pages)
{
    int rc = kvi_extents_push(&space->taken, space->os, (kvi_extent){page, pages, space->id, 0});
    if (rc == KV_OK)
        kvi_space_away(space, page, pages);
    return rc;
}

/* Takes back the pages that were taken last. */
static void space_unget(kvi_space *space, uint64_t pages)
{
    while (pages > 0) {
        kvi_extent last = kvi_extents_pop(&space->taken, pages);
        kvi_space_put(space, last.page, last.pages);
        pages -= last.pages;
    }
}

int kvi_space_grow(kvi_space *space, kvi_pgno high_water)
{
    kvi_pgno from = space->high_water;
    if (high_water <= from)
        return KV_OK;
    if (high_water > KVI_PGNO_MAX)
        return kvi_fail(space->file->err, KV_ENOSPC, "the file cannot have more pages");
    int rc = kvi_space_reserve_since(space, high_water);
    if (rc == KV_OK)
        rc = kvi_bitset_grow(&space->free, high_water);
    if (rc == KV_OK)
        rc = kvi_bitset_grow(&space->dead, high_water);
    if (rc != KV_OK)
        return rc;
    space->high_water = high_water;
    kvi_space_put(space, from, high_water - from);
    return KV_OK;
}

void kvi_space_shrink(kvi_space *space, kvi_pgno high_water)
{
    if (high_water > space->high_water)
        return;
    space->zone_free -= zone_overlap(space, high_water, space->high_water - high_water);
    kvi_bitset_shrink(&space->free, high_water);
    kvi_bitset_shrink(&space->dead, high_water);
    kvi_bitset_shrink(&space->zone, (high_water + GROUP - 1) / GROUP);
    for (size_t slot = kvi_space_slots(space, high_water);
         slot < kvi_space_slots(space, space->high_water); slot++)
        space->since[slot] = 0;
    space->high_water = high_water;
}

static int pick(kvi_space *space, picks *hand, kvi_pgno page, uint64_t pages)
{
    int rc = space_get(space, page, pages);
    for (; rc == KV_OK && pages > 0; pages--)
        hand->out[hand->got++] = page++;
    return rc;
}

/* ---- runs ---- */

/* A free run outside the zone. */
static bool run_between(const kvi_space *space, kvi_pgno at, uint64_t n, kvi_pgno *page)
{
    const kvi_bitset *zone = &space->zone;
    while (kvi_bitset_find(&space->free, at, space->high_water, n, page)) {
        uint64_t group = kvi_bitset_next(zone, *page / GROUP);
        if (group >= zone->size || group * GROUP >= *page + n)
            return true;
        at = (group + 1) * GROUP;
    }
    return false;
}

static bool run_find(kvi_space *space, uint64_t n, kvi_pgno from, kvi_pgno *page)
{
    if (space->unknown || n >= space->no_run)
        return false;
    if (space->low)
        space->run_at = from;
    if (!run_between(space, KVI_MAX(space->run_at, from), n, page) &&
        !run_between(space, from, n, page)) {
        space->no_run = n;
        return false;
    }
    space->run_at = *page + n;
    return true;
}

int kvi_space_take_run(kvi_space *space, uint64_t pages, kvi_pgno *first)
{
    kvi_pgno from = (KVI_LARGE_FROM + space->page_size - 1) / space->page_size;
    int rc = KV_OK;
    if (!run_find(space, pages, from, first)) {
        kvi_pgno zone_end = 0;
        uint64_t group = kvi_bitset_next(&space->zone, space->high_water / GROUP);
        for (; group < space->zone.size; group = kvi_bitset_next(&space->zone, group + 1))
            zone_end = (group + 1) * GROUP;
        *first = KVI_MAX(KVI_MAX(space->high_water, zone_end), from);
        uint64_t no_run = space->no_run;
        rc = pages > KVI_PGNO_MAX ? KV_ENOSPC : kvi_space_grow(space, *first + pages);
        space->no_run = no_run; /* the new pages are taken at once */
    }
    return rc == KV_OK ? space_get(space, *first, pages) : rc;
}

int kvi_space_take_below(kvi_space *space, uint64_t pages, kvi_pgno limit, kvi_pgno *first)
{
    kvi_pgno from = (KVI_LARGE_FROM + space->page_size - 1) / space->page_size;
    if (KVI_MUTANT(MOVED_IN_FRONT))
        from = kvi_first_page(space->page_size);
    limit = KVI_MIN(limit, space->high_water);
    if (space->unknown || from >= limit ||
        !kvi_bitset_find(&space->free, from, limit, pages, first))
        return KV_NOTFOUND;
    return space_get(space, *first, pages);
}

/* ---- leaves ---- */

/* The first free page outside the zone at or behind page; the high-water mark: none. */
static kvi_pgno leaf_next(const kvi_space *space, kvi_pgno page)
{
    for (;;) {
        page = kvi_bitset_next(&space->free, page);
        if (page >= space->high_water || !kvi_bitset_has(&space->zone, page / GROUP))
            return KVI_MIN(page, space->high_water);
        page = (page / GROUP + 1) * GROUP;
    }
}

/* How many of n pages may come from holes: some stay, so that the next one is near, within a commit and
 * from one to the next. A transaction that had to write early goes round the whole file anyway. */
static size_t leaf_holes(const kvi_space *space, size_t n)
{
    uint64_t holes = space->free.total - space->zone_free;
    uint64_t zone = KVI_MIN(space->zone.total * GROUP, space->high_water);
    uint64_t keep = space->high_water <= KVI_SPACE_SMALL ? 0 : (space->high_water - zone) / SPARE;
    if (space->id > space->began) /* it is larger than its budget */
        keep = 0;
    if (space->unknown || holes <= keep)
        return 0;
    return (size_t)KVI_MIN(n, holes - keep);
}

static void reverse(kvi_pgno *at, size_t n)
{
    for (size_t i = 0, k = n; i + 1 < k; i++) {
        kvi_pgno page = at[i];
        at[i] = at[--k];
        at[k] = page;
    }
}

/* Takes n holes, going round the file. */
static int leaf_sweep(kvi_space *space, picks *hand, size_t n)
{
    size_t begin = hand->got, turn = begin;
    bool turned = false;
    int rc = KV_OK;
    while (rc == KV_OK && hand->got - begin < n) {
        kvi_pgno page = leaf_next(space, space->leaf_at);
        if (page < space->high_water) {
            rc = pick(space, hand, page, 1);
            space->leaf_at = page + 1;
        } else if (turned) {
            break;
        } else {
            turned = true;
            turn = hand->got;
            space->leaf_at = space->first;
        }
    }
    if (turned) { /* what came after the turn has the lower numbers */
        reverse(hand->out + begin, turn - begin);
        reverse(hand->out + turn, hand->got - turn);
        reverse(hand->out + begin, hand->got - begin);
    }
    return rc;
}

/* The high-water mark that gives n more pages outside the zone. */
static kvi_pgno leaf_end(const kvi_space *space, size_t n)
{
    kvi_pgno page = space->high_water;
    while (n > 0) {
        uint64_t part = KVI_MIN(n, GROUP - page % GROUP);
        if (kvi_bitset_has(&space->zone, page / GROUP))
            part = GROUP - page % GROUP;
        else
            n -= part;
        page += part;
    }
    return page;
}

/* Takes the lowest holes, as far as there are some. */
static int leaf_fill(kvi_space *space, picks *hand)
{
    kvi_pgno page = leaf_next(space, space->first);
    int rc = KV_OK;
    while (rc == KV_OK && hand->got < hand->n && page < space->high_water) {
        rc = pick(space, hand, page, 1);
        page = leaf_next(space, page + 1);
    }
    return rc;
}

/* Has the file n more pages for leaves behind the high-water mark? */
static bool room_behind(const kvi_space *space, size_t n)
{
    const kvi_file *file = space->file;
    return leaf_end(space, n) <= kvi_file_size(file) >> file->page_shift;
}

/* Writes what the file lacks of so many pages, if it is little. A full disk is met here, where holes can
 * still do. */
static int room_make(kvi_space *space, kvi_pgno pages)
{
    kvi_file *file = space->file;
    uint64_t size = kvi_file_size(file);
    uint64_t end = pages << file->page_shift;
    bool little = end > size && end - size <= (uint64_t)BULK << file->page_shift;
    return little ? kvi_file_fill(file, size, end - size) : KV_OK;
}

static int leaf_grow(kvi_space *space, picks *hand)
{
    kvi_pgno page = space->high_water;
    int rc = kvi_space_grow(space, leaf_end(space, hand->n - hand->got));
    while (rc == KV_OK && hand->got < hand->n) {
        page = leaf_next(space, page);
        rc = pick(space, hand, page, 1);
    }
    return rc;
}

bool kvi_space_scarce(const kvi_space *space)
{
    return !space->low && leaf_holes(space, 1) == 0 && !room_behind(space, FEW);
}

/* A few pages for a small file, which has no groups for branches: side by side, and for that the
 * file may grow until one page in eight is free. */
static bool worth_growing(const kvi_space *space, size_t n)
{
    return n < BULK && space->high_water > KVI_SPACE_SMALL &&
           space->free.total < space->high_water * 2 / SPARE;
}

static int take_leaves(kvi_space *space, picks *hand)
{
    size_t holes = leaf_holes(space, hand->n);
    kvi_pgno page;
    bool together = hand->n >= BULK || space->high_water < KVI_SPACE_ZONE_FROM;
    if (hand->n > 1 && together) {
        if (holes == hand->n && run_find(space, hand->n, space->first, &page))
            return pick(space, hand, page, hand->n);
        if (worth_growing(space, hand->n))
            holes = 0;
    }
    int rc = leaf_sweep(space, hand, holes);
    size_t left = hand->n - hand->got;
    if (rc != KV_OK || left == 0)
        return rc;
    if (!space->unknown &&
        ((hand->n < FEW && !room_behind(space, left)) ||
         (hand->n < BULK && room_make(space, leaf_end(space, left)) == KV_ENOSPC)))
        rc = leaf_fill(space, hand);
    return rc == KV_OK ? leaf_grow(space, hand) : rc;
}

/* ---- lowest first ---- */

static void zone_forget(kvi_space *space)
{
    kvi_bitset_shrink(&space->zone, 0);
    space->zone_free = 0;
    space->no_run = UINT64_MAX;
}

void kvi_space_low(kvi_space *space, bool low)
{
    space->low = low;
    if (low)
        zone_forget(space);
}

static int take_lowest(kvi_space *space, picks *hand)
{
    int rc = leaf_fill(space, hand);
    return rc == KV_OK ? leaf_grow(space, hand) : rc;
}

/* ---- branches ---- */

/* Free pages of a group; those behind the high-water mark are as good. */
static uint64_t group_free(const kvi_space *space, uint64_t group)
{
    uint64_t free = kvi_bitset_word(&space->free, group);
    kvi_pgno page = group * GROUP;
    if (page >= space->high_water)
        return ~(uint64_t)0;
    return space->high_water - page < GROUP ? free | ~(uint64_t)0 << (space->high_water - page)
                                            : free;
}

/* Pages of the zone that are in use. */
static uint64_t zone_used(const kvi_space *space)
{
    uint64_t beyond = 0;
    for (uint64_t g = kvi_bitset_next(&space->zone, space->high_water / GROUP);
         g < space->zone.size; g = kvi_bitset_next(&space->zone, g + 1))
        beyond += (g + 1) * GROUP - KVI_MAX(space->high_water, g * GROUP);
    return space->zone.total * GROUP - space->zone_free - beyond;
}

static int zone_add(kvi_space *space, uint64_t group)
{
    int rc = kvi_bitset_grow(&space->zone, group + 1);
    if (rc != KV_OK)
        return rc;
    kvi_bitset_add(&space->zone, group, 1);
    space->zone_free += (unsigned)__builtin_popcountll(kvi_bitset_word(&space->free, group));
    return KV_OK;
}

static void zone_remove(kvi_space *space, uint64_t group)
{
    kvi_bitset_remove(&space->zone, group, 1);
    space->zone_free -= (unsigned)__builtin_popcountll(kvi_bitset_word(&space->free, group));
    space->no_run = UINT64_MAX;
}

/* Finds a group outside the zone with that many free pages, from group_at on. */
static bool group_find(kvi_space *space, int least, uint64_t *group)
{
    uint64_t groups = space->high_water / GROUP, at = space->group_at;
    for (uint64_t i = 0; i < groups; i++, at++) {
        if (at >= groups)
            at = 0;
        if (__builtin_popcountll(space->free.words[at]) < least || kvi_bitset_has(&space->zone, at))
            continue;
        space->group_at = at + 1;
        *group = at;
        return true;
    }
    return false;
}

/* A group of the file that is nearly empty, or the next one behind its end. */
static int zone_extend(kvi_space *space)
{
    uint64_t group;
    if (space->group_wait == 0) {
        if (group_find(space, GROUP_FROM, &group))
            return zone_add(space, group);
        space->group_wait = space->high_water / (4 * GROUP) + GROUP;
    }
    group = (space->high_water + GROUP - 1) / GROUP;
    while (kvi_bitset_has(&space->zone, group))
        group++;
    return zone_add(space, group);
}

/* Is the zone as large as it may become for n more branches? */
static bool zone_full(const kvi_space *space, size_t n)
{
    return space->zone.total * GROUP >= 3 * (zone_used(space) + n);
}

/* Gives groups back when the branches have become few. */
static void zone_fit(kvi_space *space, size_t n)
{
    if (space->zone.total * GROUP > 8 * (zone_used(space) + n) + 4 * GROUP)
        zone_remove(space, kvi_bitset_next(&space->zone, 0));
}

/* In a file that is mostly free, groups far behind the pages that are not would keep it from becoming
 * shorter; in front of that some are nearly empty. */
static int zone_draw_in(kvi_space *space)
{
    kvi_bitset *zone = &space->zone;
    uint64_t end = FAR * (space->high_water - space->free.total) / GROUP + 1;
    uint64_t group = end < space->high_water / GROUP ? kvi_bitset_next(zone, end) : zone->size;
    if (group >= zone->size || space->draw_wait > 0)
        return KV_OK;
    for (; group < zone->size; group = kvi_bitset_next(zone, group + 1))
        zone_remove(space, group);
    space->draw_wait = space->high_water / FAR;
    space->group_at = 0;
    return group_find(space, GROUP_FROM, &group) && group < end ? zone_add(space, group) : KV_OK;
}

/* Bit i: bits i to i + n - 1 of the mask are set. */
static uint64_t runs_of(uint64_t mask, unsigned n)
{
    for (unsigned have = 1; have < n;) {
        unsigned step = KVI_MIN(have, n - have);
        mask &= mask >> step;
        have += step;
    }
    return mask;
}

/* A run of n free pages within one group of the zone, looked for from branch_at on. */
static bool branch_run(kvi_space *space, unsigned n, kvi_pgno *page)
{
    const kvi_bitset *zone = &space->zone;
    uint64_t group = kvi_bitset_next(zone, space->branch_at / GROUP);
    uint64_t mask = ~(uint64_t)0;
    if (group == space->branch_at / GROUP)
        mask <<= space->branch_at % GROUP;
    for (uint64_t i = 0; i <= zone->total; i++) {
        if (group >= zone->size)
            group = kvi_bitset_next(zone, 0);
        uint64_t runs = runs_of(group_free(space, group), n) & mask;
        if (runs) {
            *page = group * GROUP + (unsigned)__builtin_ctzll(runs);
            space->branch_at = *page + n;
            return true;
        }
        mask = ~(uint64_t)0;
        group = kvi_bitset_next(zone, group + 1);
    }
    return false;
}

/* Side by side, if need be in a group that the zone gets for that; a full zone is looked through for
 * shorter runs. */
static int take_branches(kvi_space *space, picks *hand)
{
    zone_fit(space, hand->n);
    int rc = zone_draw_in(space);
    while (rc == KV_OK && hand->got < hand->n) {
        size_t left = hand->n - hand->got, n = KVI_MIN(left, (size_t)BRANCH_RUN);
        kvi_pgno page;
        bool found = branch_run(space, (unsigned)n, &page);
        for (bool full = zone_full(space, left); !found && full && n > 1;)
            found = branch_run(space, (unsigned)(n /= 2), &page);
        if (!found) {
            rc = zone_extend(space);
            continue;
        }
        if (page + n > space->high_water && room_make(space, page + n) == KV_ENOSPC) {
            zone_forget(space);
            return take_lowest(space, hand);
        }
        rc = kvi_space_grow(space, page + n);
        if (rc == KV_OK)
            rc = pick(space, hand, page, n);
    }
    return rc;
}

/* ---- all ---- */

void kvi_space_find_zone(kvi_space *space, uint64_t branch_pages)
{
    uint64_t want = 3 * branch_pages, group;
    if (space->high_water < KVI_SPACE_ZONE_FROM)
        return;
    for (int least = GROUP; least >= GROUP_AGAIN; least -= 8)
        while (space->zone.total * GROUP < want && group_find(space, least, &group))
            if (zone_add(space, group) != KV_OK)
                return; /* a hint, not more */
}

int kvi_space_take(kvi_space *space, enum kvi_space_kind kind, size_t n, kvi_pgno *out)
{
    picks hand = {out, n, 0};
    bool zoned = space->high_water >= KVI_SPACE_ZONE_FROM;
    if (!zoned && space->zone.total)
        zone_forget(space);
    bool low = space->low && !space->unknown;
    int rc = low                                                    ? take_lowest(space, &hand)
             : kind == KVI_SPACE_BRANCH && zoned && !space->unknown ? take_branches(space, &hand)
                                                                    : take_leaves(space, &hand);
    if (rc != KV_OK)
        space_unget(space, hand.got);
    return rc;
}
