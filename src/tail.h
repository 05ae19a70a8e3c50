/* tail.h - the end of the file behind the newest commit: zeros filled ahead of commits that grow, and what a
 * shorter commit leaves, which is handed back when nobody can need it. */
#ifndef KVI_TAIL_H
#define KVI_TAIL_H

#include "txn.h"

/* Zeros behind the end of a file that grows: so many bytes at most, in no smaller file than this. */
#ifdef KVI_STRESS
#define KVI_FILL_MAX  ((uint64_t)8 * 512)
#define KVI_FILL_FROM ((uint64_t)16 * 512)
#else
#define KVI_FILL_MAX  ((uint64_t)256 << 10)
#define KVI_FILL_FROM ((uint64_t)1 << 20)
#endif

/* A cut takes a file system about a millisecond for each MiB, and nobody writes meanwhile. */
#ifdef KVI_STRESS
#define KVI_CUT_MAX ((uint64_t)16 * 512)
#else
#define KVI_CUT_MAX ((uint64_t)8 << 20)
#endif

/* A flush is dearer where the file system has to find blocks for what was written: a file that grows
 * commit by commit gets some zeros ahead, as much as it grew so far; so does one in which small commits
 * find pages only anywhere, as if it had grown. Not needed, so it may fail. Needs the turn, as do the
 * others. */
void kvi_tail_fill(kv_db *db, uint64_t size_before, kvi_pgno high_water);

/* Does the file end behind what anybody can know of, this commit included, and behind what is filled
 * ahead? Somebody died before he had cut it. */
bool kvi_tail_left(const kv_db *db, const kvi_meta *meta);

/* Hands the end of the file back when no snapshot can need it (R16), unless it is as short as what may be
 * filled ahead: KVI_CUT_MAX of it; the rest with the next call. */
void kvi_tail_trim(kv_db *db);

/* The same, however short it is: most bytes of it, a page at least. */
void kvi_tail_cut(kv_db *db, uint64_t most);

#endif
