/* extent.h - lists of page runs with the commits that wrote and dropped them. */
#ifndef KVI_EXTENT_H
#define KVI_EXTENT_H

#include "format.h"
#include "os.h"

typedef struct kvi_extent {
    kvi_pgno page;
    uint64_t pages;
    kvi_id birth; /* the commit that wrote the pages */
    kvi_id death; /* the commit that dropped them; 0: none did */
} kvi_extent;

typedef struct kvi_extents {
    kvi_extent *at;
    size_t n;
    size_t cap;
} kvi_extents;

static inline kvi_pgno kvi_extent_end(const kvi_extent *extent)
{
    return extent->page + extent->pages;
}

void kvi_extents_free(kvi_extents *list, const kvi_os *os);

/* Room for more. KV_ENOMEM. */
int kvi_extents_reserve(kvi_extents *list, const kvi_os *os, size_t more) KVI_MUST_CHECK;

/* Appends; what continues the last one is joined with it. KV_ENOMEM. */
int kvi_extents_push(kvi_extents *list, const kvi_os *os, kvi_extent extent) KVI_MUST_CHECK;

/* Takes back the pages that were pushed last, up to the given number and of one extent. */
kvi_extent kvi_extents_pop(kvi_extents *list, uint64_t pages);

/* By page, neighbours joined where they share birth and death. KV_ENOMEM. */
int kvi_extents_sort(kvi_extents *list, const kvi_os *os) KVI_MUST_CHECK;

/* Appends to out the pages of list that minus does not have; both are sorted. KV_ENOMEM. */
int kvi_extents_subtract(const kvi_extents *list, const kvi_extents *minus, kvi_extents *out,
                         const kvi_os *os) KVI_MUST_CHECK;

#endif
