/* space_impl.h - what the files of space share: its state, and the form of its records. */
#ifndef KVI_SPACE_IMPL_H
#define KVI_SPACE_IMPL_H

#include "bitset.h"
#include "extent.h"
#include "space.h"

#ifdef KVI_STRESS               /* rare paths become common ones */
#define KVI_SPACE_DELTA_MAX 200 /* bytes of inline delta */
#define KVI_SPACE_LOG_KEEP  4   /* log pages that a fold leaves */
#define KVI_SPACE_ROUND     3   /* log pages in which all changed bitmap pages are rewritten */
#define KVI_SPACE_SMALL     16  /* pages of a file that never grows while it has a free page */
#define KVI_SPACE_ZONE_FROM 96  /* pages of a file from which branches have groups of their own */
#else
#define KVI_SPACE_DELTA_MAX KVI_DELTA_MAX
#define KVI_SPACE_LOG_KEEP  96
#define KVI_SPACE_ROUND     64
#define KVI_SPACE_SMALL     64
#define KVI_SPACE_ZONE_FROM 256
#endif

/* ---- records: space_log.c ---- */

/* What one commit did, both lists sorted; birth == death in dropped: free at once. */
typedef struct kvi_record {
    kvi_id id;
    kvi_extents taken;
    kvi_extents dropped;
} kvi_record;

/* How much of a record has been written. */
typedef struct kvi_record_cursor {
    size_t taken;
    size_t dropped;
    bool done;
} kvi_record_cursor;

/* Writes what fits of the rest of a record, as a record of its own. before: id of the record that
 * precedes it in the same place, 0: none. Returns the bytes written; 0: there is no room. */
size_t kvi_record_put(uint8_t *buf, size_t room, kvi_id before, const kvi_record *record,
                      kvi_record_cursor *cursor);

/* Reads one record at *at and moves *at behind it; *id: of the record before, then its own. Its
 * events go to the end of events: death 0: taken; birth == death: free; else dead. KV_ECORRUPT. */
int kvi_record_get(const uint8_t **at, const uint8_t *end, kvi_pgno first_page, kvi_id *id,
                   kvi_extents *events, const kvi_os *os) KVI_MUST_CHECK;

/* The same for the runs of one page of the blocked chain of birth chain_id: runs from *from on. */
size_t kvi_blocked_put(uint8_t *buf, size_t room, kvi_id chain_id, const kvi_extents *dead,
                       size_t *from);
int kvi_blocked_get(const uint8_t **at, const uint8_t *end, kvi_id chain_id, kvi_pgno *after,
                    kvi_extent *run) KVI_MUST_CHECK;

/* ---- the records' own pages ---- */

typedef struct kvi_log_page {
    kvi_ptr ptr;
    kvi_id last; /* id of its newest record */
} kvi_log_page;

typedef struct kvi_space_own {
    kvi_log_page *log; /* oldest first */
    size_t n_log;
    kvi_ptr *level[KVI_MAP_LEVELS_MAX]; /* 0: bitmap pages, above: directory; {0, 0}: missing */
    size_t n_level[KVI_MAP_LEVELS_MAX];
    unsigned levels;
    kvi_ptr *chain;
    size_t n_chain;
    uint64_t pages;  /* all together */
    kvi_id chain_id; /* the chain holds all pages that were dead after this commit; 0: unknown */
    kvi_id log_tail; /* records up to this one are in the bitmap and chain */
} kvi_space_own;

void kvi_space_own_free(kvi_space_own *own, const kvi_os *os);

/* Forgets all records: unknown. The pages keep their numbers. */
void kvi_space_lose(kvi_space *space);

/* ---- state: space.c ---- */

/* Dead pages, filed under a snapshot that needs them: the oldest one. */
typedef struct kvi_held {
    kvi_id snapshot;
    kvi_extents dead;
} kvi_held;

/* The meta's fields that lead to the records. */
typedef struct kvi_space_roots {
    kvi_ptr log, map, blocked;
    kvi_id log_tail;
    uint32_t log_pages, blocked_pages;
    uint8_t map_levels;
} kvi_space_roots;

struct kvi_space {
    kvi_file *file;
    const kvi_os *os;
    uint32_t page_size;
    kvi_pgno first; /* page that is not a meta's */
    bool unknown;   /* the records are damaged: pages come from the high-water mark only */
    bool rebuilt;   /* this transaction forgot the records; sealing writes them all anew */
    bool refold;    /* sealing writes them all anew, though they are known */
    bool low;       /* the lowest pages are taken first */

    kvi_pgno high_water;
    kvi_bitset free;
    kvi_bitset dead; /* all dead pages, and those that this transaction dropped */

    /* dead pages, each in one of these */
    kvi_held *held; /* ascending */
    size_t n_held, cap_held;
    kvi_held *held_spare;
    size_t cap_spare;
    kvi_extents unfiled; /* dropped since live snapshots were named */

    /* Pages that fell free without a record, although the records on disk call them dead in a
     * place that may be rewritten: the next record says that they are free. */
    kvi_extents fallen;

    /* Per bitmap page: the oldest commit whose record it lacks; 0: none. */
    kvi_id *since;
    size_t n_since;
    size_t round; /* the bitmap page that is next to be rewritten in turn */

    kvi_space_own own;
    kvi_space_roots roots;
    uint8_t delta[KVI_DELTA_MAX]; /* behind delta_len: the record that is being sealed */
    size_t delta_len;
    kvi_id delta_first, delta_last; /* ids of its records */

    /* placement, space_place.c */
    kvi_bitset zone; /* groups of 64 pages that belong to branches, by page / 64 */
    uint64_t zone_free;
    uint64_t group_wait; /* pages to fall free before it makes sense to look for a group again */
    uint64_t draw_wait;  /* the same before groups far back are given up again */
    kvi_pgno leaf_at, branch_at, run_at, group_at; /* where the last search ended */
    uint64_t no_run;                               /* no free run is as long as this */

    /* the transaction */
    kvi_id id;    /* 0: none */
    kvi_id began; /* the id it began with: what is as young is its own */
    kvi_pgno base_high_water;
    kvi_pgno record_from; /* free pages from here on are in the record: no bitmap page has them */
    kvi_extents taken;
    kvi_extents drops;
    uint64_t drop_pages; /* in drops ... */
    uint64_t own_drops;  /* ... of them, what the transaction wrote itself */

    /* what seal prepared and commit makes current */
    kvi_record record;
    kvi_pgno sealed_high_water;
    bool folded;
    size_t record_len; /* bytes at delta + delta_len, unless folded */
    kvi_space_own next;
    kvi_space_roots next_roots;
};

/* Makes record and sealed_high_water from what the transaction took and dropped so far. */
int kvi_space_record(kvi_space *space) KVI_MUST_CHECK;

/* The own ones of the dropped pages, and what is left of the pages taken; both sorted. */
int kvi_space_taken_kept(kvi_space *space, kvi_extents *own, kvi_extents *kept) KVI_MUST_CHECK;

/* Does one of the records' own pages pass the test? */
bool kvi_space_own_any(const kvi_space *space,
                       bool (*test)(const kvi_space *space, kvi_pgno page, kvi_pgno limit),
                       kvi_pgno limit);

/* Room for a list behind the unfiled pages, so that joining it to them cannot fail. */
int kvi_space_unfile_room(kvi_space *space, const kvi_extents *list) KVI_MUST_CHECK;

/* Room in the table of bitmap pages for a file of this size. */
int kvi_space_reserve_since(kvi_space *space, kvi_pgno high_water) KVI_MUST_CHECK;

/* Writes the records' own pages anew, in part or all. */
int kvi_space_fold(kvi_space *space, const kvi_space_sink *sink) KVI_MUST_CHECK;

static inline size_t kvi_space_slot(const kvi_space *space, kvi_pgno page)
{
    return (size_t)(page / kvi_map_pages(space->page_size));
}

/* Bitmap pages that tell of the pages below high_water. */
static inline size_t kvi_space_slots(const kvi_space *space, kvi_pgno high_water)
{
    return high_water ? kvi_space_slot(space, high_water - 1) + 1 : 0;
}

/* The commit that wrote a bitmap page; 0: it is missing. */
static inline kvi_id kvi_space_slot_birth(const kvi_space *space, size_t slot)
{
    return slot < space->own.n_level[0] ? space->own.level[0][slot].birth : 0;
}

/* The bitmap pages of these runs lack the record of commit id from now on. */
void kvi_space_note(kvi_space *space, const kvi_extents *runs, kvi_id id);

/* ---- placement: space_place.c ---- */

/* Pages, all below the high-water mark, become free. */
void kvi_space_put(kvi_space *space, kvi_pgno page, uint64_t pages);

/* Free pages are so no longer. */
void kvi_space_away(kvi_space *space, kvi_pgno page, uint64_t pages);

/* Raises the high-water mark; the new pages are free. */
int kvi_space_grow(kvi_space *space, kvi_pgno high_water) KVI_MUST_CHECK;

/* Lowers it; the pages behind it are free. */
void kvi_space_shrink(kvi_space *space, kvi_pgno high_water);

/* Finds the groups that held branches when the file was written. */
void kvi_space_find_zone(kvi_space *space, uint64_t branch_pages);

#endif
