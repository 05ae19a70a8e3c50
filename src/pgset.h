/* pgset.h - a set of pages of one file: a bit per page, for walks that must meet each page once. */
#ifndef KVI_PGSET_H
#define KVI_PGSET_H

#include "format.h"
#include "os.h"

typedef struct kvi_pgset {
    const kvi_os *os;
    uint64_t *bits; /* zeroed address space, paid where it is touched */
    size_t size;    /* bytes */
    kvi_pgno limit; /* pages are smaller than this */
} kvi_pgset;

/* KV_ENOMEM. */
int kvi_pgset_init(kvi_pgset *set, const kvi_os *os, kvi_pgno limit) KVI_MUST_CHECK;
void kvi_pgset_close(kvi_pgset *set);

/* Adds n pages below the limit. False: one of them was there already. */
bool kvi_pgset_add(kvi_pgset *set, kvi_pgno page, uint64_t n);

static inline bool kvi_pgset_has(const kvi_pgset *set, kvi_pgno page)
{
    return set->bits[page / 64] >> page % 64 & 1;
}

/* The run of pages in (wanted) or out of the set that begins at or behind *page: its start goes to
 * *page, its length is returned; 0: there is none. */
uint64_t kvi_pgset_run(const kvi_pgset *set, bool wanted, kvi_pgno *page);

#endif
