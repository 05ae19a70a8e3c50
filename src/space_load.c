/* space_load.c - reading the records back, trusting none of their bytes; and visiting their pages.
 *
 * The newest word about a page counts: so records are read from the newest to the oldest, then the
 * blocked chain, then the bitmap, each saying something only about pages that are still open.
 */
#include "mutant.h"
#include "space_impl.h"

typedef struct load {
    kvi_space *space;
    const kvi_meta *meta;
    kvi_bitset open;    /* pages about which nothing was said yet */
    kvi_bitset own;     /* the records' own pages, each met once */
    kvi_extents events; /* of one page */
    kvi_id blame;       /* birth of what is being read */
    uint8_t *buf;
} load;

#define BLAME_META KVI_ID_MAX /* newer than any durable commit */

static int broken(const load *l, kvi_ptr ptr)
{
    return kvi_fail(l->space->file->err, KV_ECORRUPT,
                    "page %llu (birth %llu) is no sound record of free pages",
                    (unsigned long long)ptr.page, (unsigned long long)ptr.birth);
}

/* ---- pages ---- */

/* Reads one of the records' own pages; it is not younger than what led to it. */
static int read_own(load *l, kvi_ptr ptr, kvi_id newest, int type)
{
    kvi_space *space = l->space;
    if (ptr.page < space->first || ptr.page >= space->high_water || ptr.birth == 0 ||
        ptr.birth > newest || kvi_bitset_has(&l->own, ptr.page))
        return broken(l, ptr);
    l->blame = ptr.birth;
    kvi_bitset_add(&l->own, ptr.page, 1);
    space->own.pages++;
    return kvi_file_read_page(space->file, ptr, type, l->buf);
}

/* ---- the map's directory ---- */

static int map_shape(load *l)
{
    kvi_space *space = l->space;
    kvi_space_own *own = &space->own;
    uint32_t fanout = kvi_map_fanout(space->page_size);
    size_t n = kvi_space_slots(space, space->high_water), most = 1;
    own->levels = l->meta->map_levels;
    if (own->levels == 0)
        return l->meta->map.page ? broken(l, l->meta->map) : KV_OK;
    for (unsigned level = 1; level < own->levels && most < n; level++)
        most *= fanout;
    n = KVI_MIN(n, most);
    for (unsigned level = 0; level < own->levels; level++, n = (n + fanout - 1) / fanout) {
        own->level[level] = space->os->alloc(space->os, n * sizeof *own->level[level]);
        if (!own->level[level])
            return KV_ENOMEM;
        memset(own->level[level], 0, n * sizeof *own->level[level]);
        own->n_level[level] = n;
    }
    own->level[own->levels - 1][0] = l->meta->map;
    return KV_OK;
}

static int load_directory(load *l, unsigned level, size_t i)
{
    kvi_space_own *own = &l->space->own;
    kvi_ptr ptr = own->level[level][i];
    size_t fanout = kvi_map_fanout(l->space->page_size), first = i * fanout;
    int rc = read_own(l, ptr, l->meta->id, KVI_MAP_DIR);
    if (rc != KV_OK)
        return rc;
    size_t count = kvi_get16(l->buf + KVI_P_count);
    if (l->buf[KVI_P_level] != level || count > KVI_MIN(fanout, own->n_level[level - 1] - first))
        return broken(l, ptr);
    for (size_t k = 0; k < count; k++) {
        kvi_ptr child = kvi_ptr_get(l->buf + KVI_HEADER_SIZE + k * KVI_PTR_SIZE);
        if (child.birth > ptr.birth || (child.page == 0) != (child.birth == 0))
            return broken(l, ptr);
        own->level[level - 1][first + k] = child;
    }
    return KV_OK;
}

static int load_directories(load *l)
{
    const kvi_space_own *own = &l->space->own;
    int rc = map_shape(l);
    for (unsigned level = own->levels; rc == KV_OK && level-- > 1;)
        for (size_t i = 0; rc == KV_OK && i < own->n_level[level]; i++)
            if (own->level[level][i].page)
                rc = load_directory(l, level, i);
    return rc;
}

/* ---- what is said about pages ---- */

static int decide(load *l, kvi_extent run)
{
    kvi_space *space = l->space;
    kvi_bitset_remove(&l->open, run.page, run.pages);
    if (run.death == 0)
        return KV_OK;
    if (run.birth == run.death || KVI_MUTANT(BLOCKED_FREED)) {
        kvi_bitset_add(&space->free, run.page, run.pages);
        return KV_OK;
    }
    kvi_bitset_add(&space->dead, run.page, run.pages);
    return kvi_extents_push(&space->unfiled, space->os, run);
}

/* The run says something about those of its pages that are open. */
static int apply(load *l, const kvi_extent *run)
{
    kvi_pgno end = KVI_MIN(kvi_extent_end(run), l->space->high_water);
    int rc = KV_OK;
    for (kvi_pgno page = kvi_bitset_next(&l->open, run->page); rc == KV_OK && page < end;) {
        kvi_pgno gap = KVI_MIN(kvi_bitset_next_gap(&l->open, page), end);
        rc = decide(l, (kvi_extent){page, gap - page, run->birth, run->death});
        page = kvi_bitset_next(&l->open, gap);
    }
    return rc;
}

/* Bitmap pages that are older than the event lack it. */
static void note_since(load *l, const kvi_extent *run)
{
    kvi_space *space = l->space;
    kvi_id id = KVI_MAX(run->birth, run->death);
    kvi_pgno end = KVI_MIN(kvi_extent_end(run), space->high_water);
    if (run->page >= end)
        return;
    for (size_t slot = kvi_space_slot(space, run->page); slot <= kvi_space_slot(space, end - 1);
         slot++)
        if (id > kvi_space_slot_birth(space, slot))
            space->since[slot] = id;
}

/* Records of one place, of commits first to last. */
static int load_records(load *l, const uint8_t *at, size_t len, kvi_id *first, kvi_id *last)
{
    const uint8_t *end = at + len;
    kvi_id id = 0;
    int rc = KV_OK;
    l->events.n = 0;
    *first = 0;
    while (rc == KV_OK && at < end) {
        rc = kvi_record_get(&at, end, l->space->first, &id, &l->events, l->space->os);
        *first = *first ? *first : id;
    }
    *last = id;
    for (size_t i = l->events.n; rc == KV_OK && i-- > 0;) {
        note_since(l, &l->events.at[i]);
        rc = apply(l, &l->events.at[i]);
    }
    return rc;
}

static int load_delta(load *l)
{
    kvi_space *space = l->space;
    l->blame = BLAME_META;
    int rc = KV_ECORRUPT;
    if (l->meta->delta_len <= space->page_size - KVI_LOG_RECORDS)
        rc = load_records(l, l->meta->delta, l->meta->delta_len, &space->delta_first,
                          &space->delta_last);
    if (rc == KV_ECORRUPT || (rc == KV_OK && space->delta_last > l->meta->id))
        return kvi_fail(space->file->err, KV_ECORRUPT,
                        "the meta of commit %llu holds no sound records of free pages",
                        (unsigned long long)l->meta->id);
    return rc;
}

/* newest: that the page may hold; becomes the first that it holds. */
static int load_log_page(load *l, kvi_log_page *page, kvi_id *newest, kvi_ptr *older)
{
    kvi_id first, last;
    int rc = read_own(l, page->ptr, l->meta->id, KVI_LOG);
    if (rc != KV_OK)
        return rc;
    uint32_t len = kvi_get32(l->buf + KVI_G_len);
    if (len > l->space->page_size - KVI_LOG_RECORDS)
        return broken(l, page->ptr);
    rc = load_records(l, l->buf + KVI_LOG_RECORDS, len, &first, &last);
    if (rc == KV_ECORRUPT ||
        (rc == KV_OK &&
         (first == 0 || last > *newest || last > page->ptr.birth || last <= l->meta->log_tail ||
          first != kvi_get64(l->buf + KVI_G_first) || last != kvi_get64(l->buf + KVI_G_last))))
        return broken(l, page->ptr);
    page->last = last;
    *newest = first;
    *older = kvi_ptr_get(l->buf + KVI_G_older);
    return older->birth <= page->ptr.birth ? rc : broken(l, page->ptr);
}

static int load_log(load *l)
{
    kvi_space *space = l->space;
    kvi_space_own *own = &space->own;
    uint32_t n = l->meta->log_pages;
    kvi_id newest = space->delta_len ? space->delta_first - 1 : l->meta->id;
    kvi_ptr ptr = l->meta->log;
    if ((n == 0) != (ptr.page == 0) || n > space->high_water)
        return broken(l, ptr);
    own->log_tail = l->meta->log_tail;
    own->log = space->os->alloc(space->os, (n + 1) * sizeof *own->log);
    if (!own->log)
        return KV_ENOMEM;
    own->n_log = n;
    int rc = KV_OK;
    while (rc == KV_OK && n-- > 0) {
        own->log[n].ptr = ptr;
        rc = load_log_page(l, &own->log[n], &newest, &ptr);
    }
    return rc;
}

/* ---- the blocked chain ---- */

/* after: end of the last run so far. */
static int load_blocked_page(load *l, kvi_ptr ptr, kvi_pgno *after, kvi_ptr *next)
{
    kvi_pgno in_page = 0;
    int rc = read_own(l, ptr, l->meta->blocked.birth, KVI_BLOCKED);
    if (rc != KV_OK)
        return rc;
    uint32_t len = kvi_get32(l->buf + KVI_B_len);
    if (len > l->space->page_size - KVI_BLOCKED_RUNS || ptr.birth != l->meta->blocked.birth)
        return broken(l, ptr);
    const uint8_t *at = l->buf + KVI_BLOCKED_RUNS, *end = at + len;
    while (rc == KV_OK && at < end) {
        kvi_extent run = {0};
        rc = kvi_blocked_get(&at, end, ptr.birth, &in_page, &run);
        if (rc != KV_OK || run.page < KVI_MAX(*after, l->space->first))
            return broken(l, ptr);
        *after = kvi_extent_end(&run);
        rc = apply(l, &run);
    }
    *next = kvi_ptr_get(l->buf + KVI_B_next);
    return rc;
}

static int load_blocked(load *l)
{
    kvi_space *space = l->space;
    kvi_space_own *own = &space->own;
    uint32_t n = l->meta->blocked_pages;
    kvi_ptr ptr = l->meta->blocked;
    kvi_pgno after = 0;
    if ((n == 0) != (ptr.page == 0) || n > space->high_water)
        return broken(l, ptr);
    own->chain = space->os->alloc(space->os, (n + 1) * sizeof *own->chain);
    if (!own->chain)
        return KV_ENOMEM;
    own->chain_id = ptr.birth;
    int rc = KV_OK;
    for (; rc == KV_OK && own->n_chain < n; own->n_chain++) {
        own->chain[own->n_chain] = ptr;
        rc = load_blocked_page(l, ptr, &after, &ptr);
    }
    return rc == KV_OK && ptr.page != 0 ? broken(l, ptr) : rc;
}

/* ---- the bitmap ---- */

static int load_bitmap(load *l, size_t slot)
{
    kvi_space *space = l->space;
    uint32_t pages = kvi_map_pages(space->page_size);
    kvi_pgno from = slot * (kvi_pgno)pages, end = KVI_MIN(from + pages, space->high_water);
    kvi_ptr ptr = space->own.level[0][slot];
    int rc = read_own(l, ptr, l->meta->id, KVI_MAP);
    if (rc == KV_OK && l->buf[KVI_P_level] != 0)
        return broken(l, ptr);
    for (kvi_pgno page = from; rc == KV_OK && page < end; page += 64) {
        uint64_t word = kvi_get64(l->buf + KVI_HEADER_SIZE + (page - from) / 8) &
                        kvi_bitset_word(&l->open, page / 64);
        for (; word; word &= word - 1)
            kvi_bitset_add(&space->free, page + (unsigned)__builtin_ctzll(word), 1);
    }
    return rc;
}

static int load_bitmaps(load *l)
{
    const kvi_space_own *own = &l->space->own;
    int rc = KV_OK;
    for (size_t slot = 0; rc == KV_OK && slot < own->n_level[0]; slot++)
        if (own->level[0][slot].page)
            rc = load_bitmap(l, slot);
    return rc;
}

/* ---- all ---- */

/* The records' own pages are in use. */
static int check_own(load *l)
{
    const kvi_space *space = l->space;
    l->blame = 0;
    for (kvi_pgno page = kvi_bitset_next(&l->own, 0); page < space->high_water;
         page = kvi_bitset_next(&l->own, page + 1))
        if (kvi_bitset_has(&space->free, page) || kvi_bitset_has(&space->dead, page))
            return broken(l, (kvi_ptr){page, 0});
    return KV_OK;
}

static int load_records_all(load *l)
{
    int (*const steps[])(load * l) = {load_directories, load_delta,   load_log,
                                      load_blocked,     load_bitmaps, check_own};
    int rc = KV_OK;
    for (size_t i = 0; rc == KV_OK && i < KVI_COUNT(steps); i++) {
        l->blame = BLAME_META;
        rc = steps[i](l);
    }
    if (rc != KV_ECORRUPT || l->blame > l->meta->durable)
        return rc;
    kvi_space_lose(l->space); /* R17: an old page is damaged */
    return KV_OK;
}

static int load_begin(load *l)
{
    kvi_space *space = l->space;
    kvi_pgno high_water = l->meta->high_water;
    int rc = kvi_space_reserve_since(space, high_water);
    if (rc == KV_OK)
        rc = kvi_bitset_grow(&space->free, high_water);
    if (rc == KV_OK)
        rc = kvi_bitset_grow(&space->dead, high_water);
    if (rc == KV_OK)
        rc = kvi_bitset_grow(&l->open, high_water);
    if (rc == KV_OK)
        rc = kvi_bitset_grow(&l->own, high_water);
    l->buf = space->os->alloc(space->os, space->page_size);
    if (rc != KV_OK || !l->buf)
        return KV_ENOMEM;
    space->high_water = high_water;
    kvi_bitset_add(&l->open, space->first, high_water - space->first);
    return KV_OK;
}

static int load_into(kvi_space *space, const kvi_meta *meta)
{
    load l = {.space = space, .meta = meta};
    if (meta->high_water > kvi_file_known(space->file) >> space->file->page_shift)
        return kvi_fail(space->file->err, KV_ECORRUPT, "the file is shorter than its %llu pages",
                        (unsigned long long)meta->high_water);
    kvi_bitset_init(&l.open, space->os);
    kvi_bitset_init(&l.own, space->os);
    space->delta_len = meta->delta_len;
    memcpy(space->delta, meta->delta, meta->delta_len);
    int rc = load_begin(&l);
    if (rc == KV_OK)
        rc = load_records_all(&l);
    space->roots =
        (kvi_space_roots){meta->log,       meta->map,           meta->blocked,   meta->log_tail,
                          meta->log_pages, meta->blocked_pages, meta->map_levels};
    kvi_bitset_free(&l.open);
    kvi_bitset_free(&l.own);
    kvi_extents_free(&l.events, space->os);
    space->os->free(space->os, l.buf);
    return rc;
}

int kvi_space_load(kvi_space **out, kvi_file *file, const kvi_meta *meta)
{
    kvi_space *space = file->os->alloc(file->os, sizeof *space);
    if (!space)
        return KV_ENOMEM;
    memset(space, 0, sizeof *space);
    space->file = file;
    space->os = file->os;
    space->page_size = file->page_size;
    space->first = kvi_first_page(file->page_size);
    space->no_run = UINT64_MAX;
    kvi_bitset_init(&space->free, space->os);
    kvi_bitset_init(&space->dead, space->os);
    kvi_bitset_init(&space->zone, space->os);
    int rc = load_into(space, meta);
    if (rc != KV_OK) {
        kvi_space_close(space);
        return rc;
    }
    if (!space->unknown)
        kvi_space_find_zone(space, meta->main.branch_pages);
    *out = space;
    return KV_OK;
}
