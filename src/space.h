/* space.h - which pages are free: allocation, deferred reuse, and their records on disk.
 *
 * Every page from the first after the metas to the high-water mark is in exactly one state:
 *   used      reachable from the newest commit
 *   dead      dropped by commit F, written by commit B: a live snapshot s with B <= s < F needs it
 *   free      dropped, and no live snapshot needs it
 * In memory: a set of the free pages and one of the dead, with a bit per page, and the dead pages in
 * lists, each under the oldest snapshot that needs it, so that a page is looked at again only when
 * that snapshot goes away.
 *
 * On disk, rooted in the meta (all pages carry the header, count in the seal, and are walked; their
 * bytes: format.h):
 *   delta     inline in the meta: records of the commits since the newest log page
 *   log       chain of pages with older records, newest first; log_pages of them
 *   blocked   chain of pages with (run, B, F) of the pages that were dead after the commit that
 *             wrote the chain
 *   map       bitmap pages (bit set = free) behind a radix directory of map_levels levels, the
 *             lowest being the bitmap pages. A bitmap page holds the state after the commit that
 *             wrote it; a missing one: all pages in use
 *
 * A record (all numbers varints):
 *   id - id of the previous record in the same place (the first one: the id itself)
 *   n, then n runs taken:     gap from the end of the previous run (the first: from page 0), length
 *   n, then n runs dropped:   gap, length, age = F - B; age 0: free at once
 * A commit has one record, or several in consecutive log pages when it is long; only a long one's
 * parts share an id. What a commit dropped that no snapshot ever saw, pages that the file grew by
 * and nobody took, and dead pages that fell free (see below) have age 0.
 *
 * The newest word about a page counts: the newest record that names it; if none does, the blocked
 * chain; else the bitmap. Records up to log_tail may be missing, since the chain and all bitmap
 * pages whose pages they name are as new.
 *
 * Fold: when a record does not fit in the delta, delta and record go to new log pages, some bitmap
 * pages that lack records are written anew, in turn, and log pages that none of them, nor the
 * chain, needs any more are dropped. The chain is written anew when the log would else exceed its
 * bound, 96 pages and those of the last record. Where it takes no more pages than that (small
 * files, huge records) all that lacks records is written anew, and no log is left.
 *
 * Dead pages that nobody needs any more fall free silently: whoever loads finds the same, as no
 * snapshot needs them then either. Only if the chain or a bitmap page was written while they were
 * dead, and might be rewritten before the record of their drop is gone, the next record names them.
 *
 * Invariants:
 *   S1 no page is free and used, or free twice
 *   S2 a page is reused only when no live snapshot s has B <= s < F
 *   S3 what an aborted transaction took is free again, what it dropped is in use again
 *   S4 no page is written to twice under one birth: a page taken and dropped by the same
 *      transaction is not taken again before the transaction ends or has a newer id
 *   S5 large values start at or behind byte KVI_LARGE_FROM
 */
#ifndef KVI_SPACE_H
#define KVI_SPACE_H

#include "extent.h"
#include "file.h"
#include "meta.h"

typedef struct kvi_space kvi_space;

enum kvi_space_kind {                 /* where a page belongs; a hint for placement */
                      KVI_SPACE_LEAF, /* holes in ascending order */
                      KVI_SPACE_BRANCH, /* together, in contiguous groups: rewritten by every commit */
};

/* Loads the records of meta. A damaged record with birth <= meta->durable is not an error: the
 * space is then "unknown" (kvi_space_unknown): every allocation comes from the high-water mark, and the
 * next commit has no records, so that all pages before it are used, as far as anybody knows, until a
 * rebuild. Newer damage is KV_ECORRUPT (recovery has excluded it). */
int kvi_space_load(kvi_space **space, kvi_file *file, const kvi_meta *meta) KVI_MUST_CHECK;
void kvi_space_close(kvi_space *space);
bool kvi_space_unknown(const kvi_space *space);

/* Goes on to meta, a commit that others made on top of ours, without a look at the file: by the records
 * in its delta. Between transactions. False: they do not tell all (the records were folded, or the file
 * became shorter), or memory is short; the space is good for nothing but kvi_space_close then. O(what
 * changed), and O(dead runs) when pages were taken that nobody needs any more. */
bool kvi_space_follow(kvi_space *space, const kvi_meta *meta) KVI_MUST_CHECK;

/* Begins transaction id on top of the newest commit. live: ascending ids of all live snapshots
 * (readers, published, durable, unresolved, named). Dead pages that none of them needs become
 * free. NULL: nothing becomes free this time. */
int kvi_space_begin(kvi_space *space, kvi_id id, const kvi_id *live, size_t n_live) KVI_MUST_CHECK;

/* Were so many pages dropped since live snapshots were named last that it makes sense to name them
 * again? */
bool kvi_space_due(const kvi_space *space);

/* Takes n single pages; writes their numbers, ascending where possible, to out. Raises the
 * high-water mark when holes are scarce (fewer than 1/16 of the pages); where the file then lacks a few
 * pages, writes zeros, and takes holes if the disk is full. KV_ENOMEM leaves nothing
 * taken. Branches are placed contiguously. */
int kvi_space_take(kvi_space *space, enum kvi_space_kind kind, size_t n,
                   kvi_pgno *out) KVI_MUST_CHECK;

/* Takes a contiguous run for a large value (S5). */
int kvi_space_take_run(kvi_space *space, uint64_t pages, kvi_pgno *first) KVI_MUST_CHECK;

/* The same, below a page of the file. KV_NOTFOUND: there is none. */
int kvi_space_take_below(kvi_space *space, uint64_t pages, kvi_pgno limit,
                         kvi_pgno *first) KVI_MUST_CHECK;

/* Would the next small commits find room only in holes that should stay free? */
bool kvi_space_scarce(const kvi_space *space);

/* low: from now on the lowest free pages are taken, whatever for, so that the file can end sooner. */
void kvi_space_low(kvi_space *space, bool low);

/* Sealing this transaction writes all records anew. */
void kvi_space_refold(kvi_space *space);

/* Drops pages of the given birth: reachable from the base, not from this transaction's tree. Those
 * of an id of its own (sealed early) become free when it ends, or is renewed. KV_ECORRUPT: they are
 * not in use (S1). */
int kvi_space_drop(kvi_space *space, kvi_pgno page, uint64_t pages, kvi_id birth) KVI_MUST_CHECK;

/* Did this transaction drop pages that it wrote itself? */
bool kvi_space_renewable(const kvi_space *space);

/* The transaction goes on as a newer id. What it wrote as an older one and dropped is free again:
 * nobody else has seen it, and whoever meets such a page tells by its birth what it holds (S4). Not
 * while there is a savepoint. KV_ENOMEM: nothing has changed. */
int kvi_space_renew(kvi_space *space, kvi_id id) KVI_MUST_CHECK;

/* Savepoints: mark remembers how much was dropped; undo forgets what was dropped since. (Pages
 * taken since, by early sealing, stay taken under S4 and are freed by the caller through
 * kvi_space_drop.) */
size_t kvi_space_mark(const kvi_space *space);
void kvi_space_undo(kvi_space *space, size_t mark);

/* Seals the transaction's records into meta (delta, log, map, blocked, log_tail, high_water). Pages
 * to be written are handed to emit, complete with header, birth and checksum, each once; their
 * buffer is valid only during the call. Takes and drops pages of its own; dropped is told of each
 * old space page that goes, so that the caller can correct the seal. Trailing free pages are given
 * back by lowering the high-water mark, so the last page below it has been written. */
typedef struct kvi_space_sink {
    int (*emit)(void *context, kvi_pgno page, const uint8_t *bytes); /* page_size bytes */
    int (*dropped)(void *context, kvi_ptr ptr);                      /* an old space page */
    void *context;
} kvi_space_sink;
int kvi_space_seal(kvi_space *space, kvi_meta *meta, const kvi_space_sink *sink) KVI_MUST_CHECK;

/* The transaction that was sealed is written: its dropped pages are dead from now on. */
void kvi_space_commit(kvi_space *space);

/* The transaction is over without a commit; everything as before kvi_space_begin (S3). Cannot fail.
 * Nothing happens when there is no transaction. */
void kvi_space_abort(kvi_space *space);

/* Rebuild: forget all records and begin transaction id; then the caller marks every used page, and
 * the rest is free. Used by repair and copying. Sealing it writes all records anew; aborting it
 * leaves the space unknown. */
int kvi_space_rebuild(kvi_space *space, kvi_id id, kvi_pgno high_water) KVI_MUST_CHECK;

/* KV_ECORRUPT: a page was marked before, or does not exist. */
int kvi_space_mark_used(kvi_space *space, kvi_pgno page, uint64_t pages) KVI_MUST_CHECK;

/* Of pages marked as used: only snapshots from birth to before death use them. */
int kvi_space_mark_dead(kvi_space *space, const kvi_extents *dead) KVI_MUST_CHECK;

/* Questions. */
kvi_pgno kvi_space_high_water(const kvi_space *space);
uint64_t kvi_space_free_pages(const kvi_space *space);
uint64_t kvi_space_dead_pages(const kvi_space *space);
uint64_t kvi_space_own_pages(const kvi_space *space); /* log, map, directory, blocked */

/* Free pages before limit; is one of the records' own pages at or behind it? */
uint64_t kvi_space_free_below(const kvi_space *space, kvi_pgno limit);
bool kvi_space_own_behind(const kvi_space *space, kvi_pgno limit);

/* The snapshot older than limit under which most dead pages are filed, and how many; 0: none. */
kvi_id kvi_space_holder(const kvi_space *space, kvi_id limit, uint64_t *pages);

/* The same of the dead page that lies furthest back, and where the file ends at the earliest as long
 * as it is kept. */
kvi_id kvi_space_end_holder(const kvi_space *space, kvi_id limit, kvi_pgno *end);

/* Dead pages that each of n ascending snapshots needs: B <= snapshot < F. pages: zeros at first. O(dead
 * runs + n). */
void kvi_space_held_by(const kvi_space *space, const kvi_id *snapshots, size_t n, uint64_t *pages);

/* Of those, for each of n ascending snapshots, the ones that no other of them needs. O(dead runs). */
void kvi_space_held_alone(const kvi_space *space, const kvi_id *snapshots, size_t n,
                          uint64_t *pages);

enum kvi_page_state { KVI_PAGE_USED, KVI_PAGE_DEAD, KVI_PAGE_FREE };
enum kvi_page_state kvi_space_state(const kvi_space *space, kvi_pgno page);

/* Visits every page of the space records that meta points to (for the recovery walk and check):
 * log, blocked chain, map and directory. fetch must return a verified page of that type or an
 * error; a directory page must stay valid until another one of its level is fetched, others
 * until the next call. Only pages with birth > newer_than are descended into, others are skipped
 * together with all that only they lead to. */
typedef int (*kvi_space_fetch)(void *context, kvi_ptr ptr, int type, const uint8_t **page);
int kvi_space_walk(const kvi_meta *meta, uint32_t page_size, kvi_id newer_than,
                   kvi_space_fetch fetch, void *context) KVI_MUST_CHECK;

#endif
