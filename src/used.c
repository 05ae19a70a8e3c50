/* used.c - see used.h. */
#include "used.h"

int kvi_used_init(kvi_used *used, const kvi_os *os, kvi_pgno limit)
{
    used->past = (kvi_extents){0};
    return kvi_pgset_init(&used->pages, os, limit);
}

void kvi_used_close(kvi_used *used, const kvi_os *os)
{
    kvi_pgset_close(&used->pages);
    kvi_extents_free(&used->past, os);
}

/* The walk visits the newest snapshot first. */
int kvi_used_add(kvi_used *used, kvi_walk *walk, kvi_ptr ptr, uint64_t pages)
{
    kvi_extent dead = {ptr.page, pages, ptr.birth, walk->snapshot + 1};
    if (!kvi_pgset_add(&used->pages, ptr.page, pages))
        return walk->snapshot ? 1 : kvi_walk_fail(walk, ptr, "S1", "it is used twice");
    return walk->snapshot ? kvi_extents_push(&used->past, walk->file->os, dead) : KV_OK;
}

int kvi_used_mark(const kvi_used *used, kvi_space *space, kvi_pgno first)
{
    kvi_pgno page = first;
    int rc = KV_OK;
    for (uint64_t n; rc == KV_OK && (n = kvi_pgset_run(&used->pages, true, &page)) > 0; page += n)
        rc = kvi_space_mark_used(space, page, n);
    return rc == KV_OK ? kvi_space_mark_dead(space, &used->past) : rc;
}
