/* used.h - which pages the trees of a commit use, and which of them only its named snapshots do: what
 * new records of free pages are made from. Filled by a walk. */
#ifndef KVI_USED_H
#define KVI_USED_H

#include "extent.h"
#include "pgset.h"
#include "space.h"
#include "walk.h"

typedef struct kvi_used {
    kvi_pgset pages;
    kvi_extents past; /* in snapshots only: death is that behind the newest which has them */
} kvi_used;

int kvi_used_init(kvi_used *used, const kvi_os *os, kvi_pgno limit) KVI_MUST_CHECK;
void kvi_used_close(kvi_used *used, const kvi_os *os);

/* Adds what the walk has met. 1: it was met before, by a tree that may share it; KV_ECORRUPT: by one
 * that may not (S1). */
int kvi_used_add(kvi_used *used, kvi_walk *walk, kvi_ptr ptr, uint64_t pages) KVI_MUST_CHECK;

/* Marks all in a space that is being rebuilt. */
int kvi_used_mark(const kvi_used *used, kvi_space *space, kvi_pgno first) KVI_MUST_CHECK;

#endif
