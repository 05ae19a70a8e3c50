/* space_walk.c - visiting the pages of the space records, without a kvi_space. */
#include "space_impl.h"

typedef struct walk {
    const kvi_meta *meta;
    uint32_t page_size;
    kvi_id newer_than;
    kvi_space_fetch fetch;
    void *context;
    uint64_t visited; /* pages of the map */
} walk;

static int walk_chain(const walk *w, kvi_ptr ptr, uint32_t n, int type, unsigned next_at)
{
    const uint8_t *page;
    if (n > w->meta->high_water)
        return KV_ECORRUPT;
    for (; n > 0 && ptr.birth > w->newer_than; n--) {
        int rc = w->fetch(w->context, ptr, type, &page);
        if (rc != KV_OK)
            return rc;
        kvi_ptr next = kvi_ptr_get(page + next_at);
        if (next.birth > ptr.birth || (n > 1 && next.page == 0))
            return KV_ECORRUPT;
        ptr = next;
    }
    return KV_OK;
}

/* The depth of the recursion is bounded by the meta's map_levels. */
static int walk_map(walk *w, kvi_ptr ptr, unsigned level)
{
    const uint8_t *page;
    if (ptr.birth <= w->newer_than)
        return KV_OK;
    if (++w->visited > w->meta->high_water)
        return KV_ECORRUPT;
    int rc = w->fetch(w->context, ptr, level ? KVI_MAP_DIR : KVI_MAP, &page);
    if (rc != KV_OK || level == 0)
        return rc;
    unsigned count = kvi_get16(page + KVI_P_count);
    if (page[KVI_P_level] != level || count > kvi_map_fanout(w->page_size))
        return KV_ECORRUPT;
    for (unsigned i = 0; rc == KV_OK && i < count; i++) {
        kvi_ptr child = kvi_ptr_get(page + KVI_HEADER_SIZE + i * KVI_PTR_SIZE);
        rc = child.birth > ptr.birth ? KV_ECORRUPT : walk_map(w, child, level - 1);
    }
    return rc;
}

int kvi_space_walk(const kvi_meta *meta, uint32_t page_size, kvi_id newer_than,
                   kvi_space_fetch fetch, void *context)
{
    walk w = {meta, page_size, newer_than, fetch, context, 0};
    int rc = walk_chain(&w, meta->log, meta->log_pages, KVI_LOG, KVI_G_older);
    if (rc == KV_OK)
        rc = walk_chain(&w, meta->blocked, meta->blocked_pages, KVI_BLOCKED, KVI_B_next);
    if (rc == KV_OK && meta->map_levels > 0)
        rc = walk_map(&w, meta->map, meta->map_levels - 1u);
    return rc;
}
