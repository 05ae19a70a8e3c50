/* space.c - the life of pages: used, dropped, dead, free again; transactions over them. */
#include "mutant.h"
#include "space_impl.h"

/* Runs of dropped pages that may wait until somebody asks who needs them. */
#define UNFILED_SHARE 256 /* as a part of the file */
#define UNFILED_MOST  16

/* ---- dead pages ---- */

/* Does this run's way from dead to free need a record? Yes when the disk calls it dead in a place
 * that may be rewritten before the record of its drop is dropped: the blocked chain, or a bitmap
 * page that was written while it was dead. */
static bool fall_needs_record(const kvi_space *space, const kvi_extent *dead)
{
    if (dead->death <= space->own.chain_id)
        return true;
    size_t last = kvi_space_slot(space, kvi_extent_end(dead) - 1);
    for (size_t slot = kvi_space_slot(space, dead->page); slot <= last; slot++)
        if (kvi_space_slot_birth(space, slot) >= dead->death)
            return true;
    return false;
}

static int fall_free(kvi_space *space, const kvi_extent *dead)
{
    if (fall_needs_record(space, dead)) {
        int rc = kvi_extents_push(&space->fallen, space->os, *dead);
        if (rc != KV_OK)
            return rc;
    }
    kvi_bitset_remove(&space->dead, dead->page, dead->pages);
    kvi_space_put(space, dead->page, dead->pages);
    return KV_OK;
}

/* The first of the live snapshots that is not older than id; n_held: none. */
static size_t held_from(const kvi_space *space, kvi_id id)
{
    size_t low = 0, high = space->n_held;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (space->held[mid].snapshot < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* S2: a snapshot s needs the run when birth <= s < death. */
static int file_dead(kvi_space *space, const kvi_extent *dead)
{
    size_t i = held_from(space, dead->birth);
    if (i < space->n_held && space->held[i].snapshot < dead->death)
        return kvi_extents_push(&space->held[i].dead, space->os, *dead);
    return fall_free(space, dead);
}

static int file_all(kvi_space *space)
{
    kvi_extents *unfiled = &space->unfiled;
    size_t done = 0;
    int rc = KV_OK;
    while (rc == KV_OK && done < unfiled->n) {
        rc = file_dead(space, &unfiled->at[done]);
        done += rc == KV_OK;
    }
    unfiled->n -= done;
    if (unfiled->n)
        memmove(unfiled->at, unfiled->at + done, unfiled->n * sizeof *unfiled->at);
    return rc;
}

int kvi_space_unfile_room(kvi_space *space, const kvi_extents *list)
{
    return space->unfiled.n ? kvi_extents_reserve(&space->unfiled, space->os, list->n) : KV_OK;
}

/* There is room. */
static void unfile(kvi_space *space, kvi_extents *list)
{
    kvi_extents *unfiled = &space->unfiled;
    if (unfiled->n == 0) {
        kvi_extents swap = *unfiled;
        *unfiled = *list;
        *list = swap;
        return;
    }
    if (list->n)
        memcpy(unfiled->at + unfiled->n, list->at, list->n * sizeof *list->at);
    unfiled->n += list->n;
    list->n = 0;
}

/* The lists of snapshots that are no longer live lose their pages. */
static int held_leave(kvi_space *space, const kvi_id *live, size_t n_live)
{
    int rc = KV_OK;
    for (size_t i = 0, k = 0; rc == KV_OK && i < space->n_held; i++) {
        kvi_held *held = &space->held[i];
        while (k < n_live && live[k] < held->snapshot)
            k++;
        if ((k < n_live && live[k] == held->snapshot) || held->dead.n == 0)
            continue;
        rc = kvi_space_unfile_room(space, &held->dead);
        if (rc == KV_OK)
            unfile(space, &held->dead);
    }
    return rc;
}

/* Makes the array of lists anew: one for each live snapshot. */
static int held_renew(kvi_space *space, const kvi_id *live, size_t n_live)
{
    if (space->cap_spare < n_live) {
        kvi_held *spare = space->os->realloc(space->os, space->held_spare, n_live * sizeof *spare);
        if (!spare)
            return KV_ENOMEM;
        space->held_spare = spare;
        space->cap_spare = n_live;
    }
    kvi_held *held = space->held;
    size_t i = 0, cap = space->cap_held;
    for (size_t k = 0; k < n_live; k++) {
        for (; i < space->n_held && held[i].snapshot < live[k]; i++)
            kvi_extents_free(&held[i].dead, space->os);
        bool kept = i < space->n_held && held[i].snapshot == live[k];
        space->held_spare[k] = kept ? held[i++] : (kvi_held){.snapshot = live[k]};
    }
    for (; i < space->n_held; i++)
        kvi_extents_free(&held[i].dead, space->os);
    space->held = space->held_spare;
    space->cap_held = space->cap_spare;
    space->n_held = n_live;
    space->held_spare = held;
    space->cap_spare = cap;
    return KV_OK;
}

static void held_forget(kvi_space *space)
{
    for (size_t i = 0; i < space->n_held; i++)
        kvi_extents_free(&space->held[i].dead, space->os);
    space->n_held = 0;
    space->unfiled.n = 0;
    space->fallen.n = 0;
}

/* ---- transactions ---- */

static int held_look(kvi_space *space, const kvi_id *live, size_t n_live)
{
    int rc = held_leave(space, live, n_live);
    if (rc == KV_OK)
        rc = held_renew(space, live, n_live);
    return rc == KV_OK ? file_all(space) : rc;
}

/* A file of a few pages is not to grow for this. */
bool kvi_space_due(const kvi_space *space)
{
    return space->unfiled.n > KVI_MIN(space->high_water / UNFILED_SHARE, UNFILED_MOST);
}

int kvi_space_begin(kvi_space *space, kvi_id id, const kvi_id *live, size_t n_live)
{
    int rc = live ? held_look(space, live, n_live) : KV_OK;
    if (rc != KV_OK)
        return rc;
    space->id = space->began = id;
    space->base_high_water = space->high_water;
    space->record_from = space->high_water;
    return KV_OK;
}

int kvi_space_drop(kvi_space *space, kvi_pgno page, uint64_t pages, kvi_id birth)
{
    bool inside = page >= space->first && page < space->high_water && pages > 0 &&
                  pages <= space->high_water - page;
    if (!inside || birth == 0 || birth > space->id || kvi_bitset_any(&space->free, page, pages) ||
        kvi_bitset_any(&space->dead, page, pages))
        return kvi_fail(space->file->err, KV_ECORRUPT,
                        "page %llu (birth %llu) breaks invariant S1: it is dropped, but not in use",
                        (unsigned long long)page, (unsigned long long)birth);
    if (KVI_MUTANT(OWN_PAGE_REUSED) && birth >= space->began) {
        kvi_space_put(space, page, pages);
        return KV_OK;
    }
    int rc =
        kvi_extents_push(&space->drops, space->os, (kvi_extent){page, pages, birth, space->id});
    if (rc != KV_OK)
        return rc;
    kvi_bitset_add(&space->dead, page, pages);
    space->drop_pages += pages;
    space->own_drops += birth >= space->began ? pages : 0;
    return KV_OK;
}

/* ---- what the transaction wrote and dropped itself ---- */

bool kvi_space_renewable(const kvi_space *space)
{
    return space->own_drops > 0;
}

/* The own ones of the dropped pages. */
static int own_drops(const kvi_space *space, kvi_extents *own)
{
    int rc = KV_OK;
    for (size_t i = 0; rc == KV_OK && i < space->drops.n; i++) {
        const kvi_extent *drop = &space->drops.at[i];
        if (drop->birth >= space->began)
            rc = kvi_extents_push(own, space->os, (kvi_extent){drop->page, drop->pages, 0, 0});
    }
    return rc == KV_OK ? kvi_extents_sort(own, space->os) : rc;
}

int kvi_space_taken_kept(kvi_space *space, kvi_extents *own, kvi_extents *kept)
{
    int rc = own_drops(space, own);
    if (rc == KV_OK)
        rc = kvi_extents_sort(&space->taken, space->os);
    return rc == KV_OK ? kvi_extents_subtract(&space->taken, own, kept, space->os) : rc;
}

static void own_drops_forget(kvi_space *space)
{
    kvi_extents *drops = &space->drops;
    size_t kept = 0;
    for (size_t i = 0; i < drops->n; i++)
        if (drops->at[i].birth < space->began)
            drops->at[kept++] = drops->at[i];
    drops->n = kept;
    space->drop_pages -= space->own_drops;
    space->own_drops = 0;
}

int kvi_space_renew(kvi_space *space, kvi_id id)
{
    kvi_extents own = {0}, kept = {0};
    int rc = kvi_space_taken_kept(space, &own, &kept);
    if (rc == KV_OK) {
        kvi_extents all = space->taken;
        space->taken = kept;
        kept = all;
        own_drops_forget(space);
        for (size_t i = 0; i < own.n; i++) {
            kvi_bitset_remove(&space->dead, own.at[i].page, own.at[i].pages);
            kvi_space_put(space, own.at[i].page, own.at[i].pages);
        }
        space->id = id;
    }
    kvi_extents_free(&own, space->os);
    kvi_extents_free(&kept, space->os);
    return rc;
}

size_t kvi_space_mark(const kvi_space *space)
{
    return (size_t)space->drop_pages;
}

void kvi_space_undo(kvi_space *space, size_t mark)
{
    while (space->drop_pages > mark) {
        kvi_extent last = kvi_extents_pop(&space->drops, space->drop_pages - mark);
        kvi_bitset_remove(&space->dead, last.page, last.pages);
        space->drop_pages -= last.pages;
        space->own_drops -= last.birth >= space->began ? last.pages : 0;
    }
}

void kvi_space_lose(kvi_space *space)
{
    held_forget(space);
    kvi_space_own_free(&space->own, space->os);
    kvi_bitset_remove(&space->free, 0, space->free.size);
    kvi_bitset_remove(&space->dead, 0, space->dead.size);
    kvi_bitset_shrink(&space->zone, 0);
    space->zone_free = 0;
    for (size_t i = 0; i < space->n_since; i++)
        space->since[i] = 0;
    space->unknown = true;
}

static void txn_end(kvi_space *space)
{
    kvi_space_own_free(&space->next, space->os);
    space->taken.n = 0;
    space->drops.n = 0;
    space->drop_pages = 0;
    space->own_drops = 0;
    space->record.taken.n = 0;
    space->record.dropped.n = 0;
    space->folded = false;
    space->record_len = 0;
    space->rebuilt = false;
    space->refold = false;
    space->id = 0;
}

void kvi_space_abort(kvi_space *space)
{
    if (space->id == 0)
        return;
    if (!KVI_MUTANT(DROPS_KEPT))
        kvi_space_undo(space, 0);
    for (size_t i = KVI_MUTANT(TAKEN_KEPT) ? space->taken.n : 0; i < space->taken.n; i++)
        kvi_space_put(space, space->taken.at[i].page, space->taken.at[i].pages);
    kvi_space_shrink(space, space->base_high_water);
    if (space->rebuilt) /* what was forgotten does not come back */
        kvi_space_lose(space);
    txn_end(space);
}

void kvi_space_note(kvi_space *space, const kvi_extents *runs, kvi_id id)
{
    for (size_t i = 0; i < runs->n; i++) {
        size_t last = kvi_space_slot(space, kvi_extent_end(&runs->at[i]) - 1);
        for (size_t slot = kvi_space_slot(space, runs->at[i].page); slot <= last; slot++)
            if (space->since[slot] == 0)
                space->since[slot] = id;
    }
}

static void own_advance(kvi_space *space)
{
    kvi_space_own old = space->own;
    space->own = space->next;
    space->next = old;
    for (size_t slot = 0; slot < space->own.n_level[0]; slot++)
        if (space->own.level[0][slot].birth == space->id)
            space->since[slot] = 0;
    space->delta_len = 0;
}

static void delta_advance(kvi_space *space)
{
    if (space->delta_len == 0)
        space->delta_first = space->id;
    space->delta_last = space->id;
    space->delta_len += space->record_len;
}

/* What was dropped is dead, or free when nobody else ever saw it. */
static void drops_advance(kvi_space *space)
{
    kvi_extents *drops = &space->drops;
    size_t kept = 0;
    for (size_t i = 0; i < drops->n; i++) {
        kvi_extent dead = drops->at[i];
        if (dead.birth < space->id && !space->unknown) {
            drops->at[kept++] = dead;
            continue;
        }
        kvi_bitset_remove(&space->dead, dead.page, dead.pages);
        if (dead.birth == space->id)
            kvi_space_put(space, dead.page, dead.pages);
    }
    drops->n = kept;
    unfile(space, drops);
}

void kvi_space_commit(kvi_space *space)
{
    kvi_space_note(space, &space->record.taken, space->record.id);
    kvi_space_note(space, &space->record.dropped, space->record.id);
    if (space->folded) /* some were just written */
        own_advance(space);
    else
        delta_advance(space);
    space->roots = space->next_roots;
    drops_advance(space);
    space->fallen.n = 0;
    kvi_space_shrink(space, space->sealed_high_water);
    txn_end(space);
}

/* ---- rebuild ---- */

int kvi_space_rebuild(kvi_space *space, kvi_id id, kvi_pgno high_water)
{
    kvi_space_abort(space);
    kvi_space_lose(space);
    kvi_space_shrink(space, 0);
    int rc = kvi_space_grow(space, high_water);
    if (rc != KV_OK)
        return rc;
    kvi_bitset_remove(&space->free, 0, space->first);
    space->unknown = false;
    space->rebuilt = true;
    space->id = space->began = id;
    space->base_high_water = high_water;
    space->record_from = high_water;
    return KV_OK;
}

int kvi_space_mark_used(kvi_space *space, kvi_pgno page, uint64_t pages)
{
    bool inside =
        page >= space->first && page < space->high_water && pages <= space->high_water - page;
    if (!inside || kvi_bitset_next_gap(&space->free, page) < page + pages)
        return kvi_fail(space->file->err, KV_ECORRUPT,
                        "page %llu breaks invariant S1: it is used twice or leaves the file",
                        (unsigned long long)page);
    kvi_bitset_remove(&space->free, page, pages);
    return KV_OK;
}

/* They are filed under a snapshot that is never live, for the next transaction to file anew. */
int kvi_space_mark_dead(kvi_space *space, const kvi_extents *dead)
{
    const kvi_id nobody = 0;
    int rc = held_renew(space, &nobody, 1);
    for (size_t i = 0; rc == KV_OK && i < dead->n; i++) {
        const kvi_extent *run = &dead->at[i];
        if (kvi_bitset_any(&space->free, run->page, run->pages) ||
            kvi_bitset_any(&space->dead, run->page, run->pages))
            return kvi_fail(space->file->err, KV_ECORRUPT,
                            "page %llu breaks invariant S1: snapshots use it twice",
                            (unsigned long long)run->page);
        rc = kvi_extents_push(&space->held[0].dead, space->os, *run);
        if (rc == KV_OK)
            kvi_bitset_add(&space->dead, run->page, run->pages);
    }
    return rc;
}

/* ---- questions ---- */

bool kvi_space_unknown(const kvi_space *space)
{
    return space->unknown;
}

kvi_pgno kvi_space_high_water(const kvi_space *space)
{
    return space->high_water;
}

uint64_t kvi_space_free_pages(const kvi_space *space)
{
    return space->free.total;
}

uint64_t kvi_space_dead_pages(const kvi_space *space)
{
    return space->dead.total;
}

/* The first of n ascending snapshots that is not older than id; n: none. */
static size_t snapshot_from(const kvi_id *snapshots, size_t n, kvi_id id)
{
    size_t low = 0;
    while (low < n) {
        size_t mid = low + (n - low) / 2;
        if (snapshots[mid] < id)
            low = mid + 1;
        else
            n = mid;
    }
    return low;
}

/* Adds a list to the differences between the sums of neighbouring snapshots, modulo 2^64. */
static void held_by_in(const kvi_extents *list, const kvi_id *snapshots, size_t n, uint64_t *pages)
{
    for (size_t i = 0; i < list->n; i++) {
        const kvi_extent *dead = &list->at[i];
        size_t from = snapshot_from(snapshots, n, dead->birth);
        size_t to = snapshot_from(snapshots, n, dead->death);
        if (from < to)
            pages[from] += dead->pages;
        if (from < to && to < n)
            pages[to] -= dead->pages;
    }
}

void kvi_space_held_by(const kvi_space *space, const kvi_id *snapshots, size_t n, uint64_t *pages)
{
    held_by_in(&space->unfiled, snapshots, n, pages);
    held_by_in(&space->drops, snapshots, n, pages);
    for (size_t i = 0; i < space->n_held; i++)
        held_by_in(&space->held[i].dead, snapshots, n, pages);
    for (size_t i = 1; i < n; i++)
        pages[i] += pages[i - 1];
}

uint64_t kvi_space_free_below(const kvi_space *space, kvi_pgno limit)
{
    uint64_t sum = 0;
    for (kvi_pgno word = 0; word * 64 < limit; word++) {
        uint64_t bits = kvi_bitset_word(&space->free, word);
        if (limit - word * 64 < 64)
            bits &= ((uint64_t)1 << (limit - word * 64)) - 1;
        sum += (unsigned)__builtin_popcountll(bits);
    }
    return sum;
}

bool kvi_space_own_any(const kvi_space *space,
                       bool (*test)(const kvi_space *space, kvi_pgno page, kvi_pgno limit),
                       kvi_pgno limit)
{
    const kvi_space_own *own = &space->own;
    bool any = false;
    for (size_t i = 0; i < own->n_log; i++)
        any |= test(space, own->log[i].ptr.page, limit);
    for (size_t i = 0; i < own->n_chain; i++)
        any |= test(space, own->chain[i].page, limit);
    for (unsigned level = 0; level < own->levels; level++)
        for (size_t i = 0; i < own->n_level[level]; i++)
            if (own->level[level][i].page)
                any |= test(space, own->level[level][i].page, limit);
    return any;
}

static bool is_behind(const kvi_space *space, kvi_pgno page, kvi_pgno limit)
{
    (void)space;
    return page >= limit;
}

bool kvi_space_own_behind(const kvi_space *space, kvi_pgno limit)
{
    return kvi_space_own_any(space, is_behind, limit);
}

void kvi_space_refold(kvi_space *space)
{
    space->refold = true;
}

kvi_id kvi_space_holder(const kvi_space *space, kvi_id limit, uint64_t *pages)
{
    kvi_id holder = 0;
    *pages = 0;
    for (size_t i = 0; i < space->n_held && space->held[i].snapshot < limit; i++) {
        uint64_t sum = 0;
        for (size_t k = 0; k < space->held[i].dead.n; k++)
            sum += space->held[i].dead.at[k].pages;
        if (sum > *pages) {
            *pages = sum;
            holder = space->held[i].snapshot;
        }
    }
    return holder;
}

kvi_id kvi_space_end_holder(const kvi_space *space, kvi_id limit, kvi_pgno *end)
{
    kvi_id holder = 0;
    *end = 0;
    for (size_t i = 0; i < space->n_held && space->held[i].snapshot < limit; i++)
        for (size_t k = 0; k < space->held[i].dead.n; k++) {
            kvi_pgno behind = kvi_extent_end(&space->held[i].dead.at[k]);
            if (behind > *end) {
                *end = behind;
                holder = space->held[i].snapshot;
            }
        }
    return holder;
}

/* Adds a list to the sums of the snapshots that need its pages alone. */
static void held_alone_in(const kvi_extents *list, const kvi_id *snapshots, size_t n,
                          uint64_t *pages)
{
    for (size_t i = 0; i < list->n; i++) {
        const kvi_extent *dead = &list->at[i];
        size_t low = snapshot_from(snapshots, n, dead->birth);
        bool needed = low < n && snapshots[low] < dead->death;
        if (needed && (low + 1 == n || snapshots[low + 1] >= dead->death))
            pages[low] += dead->pages;
    }
}

void kvi_space_held_alone(const kvi_space *space, const kvi_id *snapshots, size_t n,
                          uint64_t *pages)
{
    held_alone_in(&space->unfiled, snapshots, n, pages);
    held_alone_in(&space->drops, snapshots, n, pages);
    for (size_t i = 0; i < space->n_held; i++)
        held_alone_in(&space->held[i].dead, snapshots, n, pages);
}

uint64_t kvi_space_own_pages(const kvi_space *space)
{
    return space->own.pages;
}

enum kvi_page_state kvi_space_state(const kvi_space *space, kvi_pgno page)
{
    if (kvi_bitset_has(&space->free, page))
        return KVI_PAGE_FREE;
    return kvi_bitset_has(&space->dead, page) ? KVI_PAGE_DEAD : KVI_PAGE_USED;
}

/* ---- memory ---- */

int kvi_space_reserve_since(kvi_space *space, kvi_pgno high_water)
{
    size_t n = kvi_space_slots(space, high_water);
    if (n <= space->n_since)
        return KV_OK;
    n += n / 8;
    kvi_id *since = space->os->realloc(space->os, space->since, n * sizeof *since);
    if (!since)
        return KV_ENOMEM;
    memset(since + space->n_since, 0, (n - space->n_since) * sizeof *since);
    space->since = since;
    space->n_since = n;
    return KV_OK;
}

void kvi_space_own_free(kvi_space_own *own, const kvi_os *os)
{
    os->free(os, own->log);
    os->free(os, own->chain);
    for (size_t i = 0; i < KVI_MAP_LEVELS_MAX; i++)
        os->free(os, own->level[i]);
    memset(own, 0, sizeof *own);
}

void kvi_space_close(kvi_space *space)
{
    const kvi_os *os = space->os;
    held_forget(space);
    os->free(os, space->held);
    os->free(os, space->held_spare);
    kvi_extents *lists[] = {&space->unfiled, &space->fallen,       &space->taken,
                            &space->drops,   &space->record.taken, &space->record.dropped};
    for (size_t i = 0; i < KVI_COUNT(lists); i++)
        kvi_extents_free(lists[i], os);
    kvi_space_own_free(&space->own, os);
    kvi_space_own_free(&space->next, os);
    kvi_bitset_free(&space->free);
    kvi_bitset_free(&space->dead);
    kvi_bitset_free(&space->zone);
    os->free(os, space->since);
    os->free(os, space);
}
