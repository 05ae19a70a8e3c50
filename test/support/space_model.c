/* space_model.c - see space_model.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "space_impl.h"
#include "space_model.h"

#define FILE_NAME "space.kv"

/* ---- the file ---- */

static void put_meta(space_model *m)
{
    uint8_t block[KVI_META_SIZE];
    kvi_meta_encode(&m->meta, block);
    assert_int_equal(kvi_meta_decode(block, &m->meta), KVI_META_VALID);
}

void model_open(space_model *m, uint32_t page_size, size_t cap, uint64_t seed)
{
    memset(m, 0, sizeof *m);
    m->disk = sim_new(seed);
    m->disk->recording = SIM_RECORD_NOTHING;
    fault_init(&m->fault, sim_os(m->disk));
    fault_plan(&m->fault, (fault_case){0});
    rng_seed(&m->random, seed);
    m->cap = cap;
    m->pages = calloc(cap, sizeof *m->pages);
    m->before = calloc(cap, sizeof *m->before);
    assert_true(m->pages && m->before);
    for (size_t i = 0; i < cap; i++)
        m->pages[i].state = KVI_PAGE_FREE;
    m->first = kvi_first_page(page_size);
    for (size_t i = 0; i < m->first; i++)
        m->pages[i].state = KVI_PAGE_USED;
    m->meta = (kvi_meta){.page_size = page_size, .id = 1, .durable = 1, .hash_seed = 7};
    m->meta.kind = KVI_KIND_STRICT;
    m->meta.high_water = m->first;
    m->durable = 1;
    put_meta(m);

    const kvi_os *os = &m->fault.os;
    kvi_err_init(&m->err);
    int fd = os->open(os, FILE_NAME, KVI_OS_WRITE | KVI_OS_CREATE, 0600);
    assert_true(fd >= 0);
    assert_int_equal(os->truncate(os, fd, m->first * page_size), 0);
    assert_int_equal(kvi_file_init(&m->file, os, &m->err, fd, page_size, 7, true), KV_OK);
    assert_int_equal(kvi_space_load(&m->space, &m->file, &m->meta), KV_OK);
}

void model_close(space_model *m)
{
    const kvi_os *os = &m->fault.os;
    int fd = m->file.fd;
    kvi_space_close(m->space);
    if (m->other)
        kvi_space_close(m->other);
    kvi_file_close(&m->file);
    os->close(os, fd);
    assert_true(fault_balanced(&m->fault));
    kvi_err_destroy(&m->err);
    sim_free(m->disk);
    free(m->pages);
    free(m->before);
}

/* ---- readers ---- */

void model_move_readers(space_model *m, unsigned come, unsigned go)
{
    for (size_t i = 0; i < MODEL_READERS; i++)
        if (m->readers[i] && rng_below(&m->random, 100) < go)
            m->readers[i] = 0;
    if (rng_below(&m->random, 100) < come)
        m->readers[rng_below(&m->random, MODEL_READERS)] = m->meta.id;
}

static void live_set(space_model *m)
{
    m->n_live = 0;
    m->live[m->n_live++] = m->meta.id;
    m->live[m->n_live++] = m->durable;
    for (size_t i = 0; i < MODEL_READERS; i++)
        if (m->readers[i])
            m->live[m->n_live++] = m->readers[i];
    for (size_t i = 1; i < m->n_live; i++)
        for (size_t k = i; k > 0 && m->live[k - 1] > m->live[k]; k--) {
            kvi_id swap = m->live[k];
            m->live[k] = m->live[k - 1];
            m->live[k - 1] = swap;
        }
    size_t kept = 0;
    for (size_t i = 0; i < m->n_live; i++)
        if (kept == 0 || m->live[kept - 1] != m->live[i])
            m->live[kept++] = m->live[i];
    m->n_live = kept;
}

/* S2 */
static bool needed(const space_model *m, const model_page *page)
{
    for (size_t i = 0; i < m->n_live; i++)
        if (page->birth <= m->live[i] && m->live[i] < page->death)
            return true;
    return false;
}

/* ---- transactions ---- */

int model_begin(space_model *m)
{
    live_set(m);
    kvi_id id = m->meta.id + 1 + rng_below(&m->random, 3);
    bool told = !m->reticent || kvi_space_due(m->space);
    int rc = kvi_space_begin(m->space, id, told ? m->live : NULL, m->n_live);
    if (rc != KV_OK)
        return rc;
    m->untold += !told;
    for (kvi_pgno page = m->first; told && page < m->meta.high_water; page++)
        if (m->pages[page].state == KVI_PAGE_DEAD && !needed(m, &m->pages[page]))
            m->pages[page] = (model_page){.state = KVI_PAGE_FREE};
    memcpy(m->before, m->pages, m->cap * sizeof *m->pages);
    m->before_high_water = m->meta.high_water;
    m->id = m->began = id;
    return KV_OK;
}

int model_renew(space_model *m)
{
    kvi_id id = m->id + 1 + rng_below(&m->random, 3);
    int rc = kvi_space_renew(m->space, id);
    if (rc != KV_OK)
        return rc;
    for (kvi_pgno page = m->first; page < m->cap; page++)
        if (m->pages[page].state == KVI_PAGE_DEAD && m->pages[page].birth >= m->began)
            m->pages[page] = (model_page){.state = KVI_PAGE_FREE};
    m->id = id;
    return KV_OK;
}

/* S1, S2, S4: what is handed out was free at the begin, and is handed out once. */
static void take(space_model *m, kvi_pgno page)
{
    assert_in_range(page, m->first, m->cap - 1);
    assert_true(page < kvi_space_high_water(m->space));
    assert_int_equal(m->before[page].state, KVI_PAGE_FREE);
    assert_int_equal(m->pages[page].state, KVI_PAGE_FREE);
    m->pages[page] = (model_page){.state = KVI_PAGE_USED, .birth = m->id};
}

int model_take(space_model *m, enum kvi_space_kind kind, size_t n)
{
    kvi_pgno *out = malloc((n + 1) * sizeof *out);
    assert_non_null(out);
    int rc = kvi_space_take(m->space, kind, n, out);
    for (size_t i = 0; rc == KV_OK && i < n; i++)
        take(m, out[i]);
    free(out);
    return rc;
}

int model_take_run(space_model *m, uint64_t pages)
{
    kvi_pgno first;
    int rc = kvi_space_take_run(m->space, pages, &first);
    if (rc != KV_OK)
        return rc;
    assert_true(first * m->meta.page_size >= KVI_LARGE_FROM); /* S5 */
    for (uint64_t i = 0; i < pages; i++)
        take(m, first + i);
    return KV_OK;
}

static bool droppable(const space_model *m, kvi_pgno page, kvi_id birth)
{
    const model_page *p = &m->pages[page];
    return page >= m->first && p->state == KVI_PAGE_USED && !p->own && p->birth == birth;
}

static int drop_run(space_model *m, kvi_pgno page, uint64_t pages)
{
    kvi_id birth = m->pages[page].birth;
    int rc = kvi_space_drop(m->space, page, pages, birth);
    for (uint64_t i = 0; rc == KV_OK && i < pages; i++)
        m->pages[page + i] = (model_page){.state = KVI_PAGE_DEAD, .birth = birth, .death = m->id};
    return rc;
}

int model_drop_page(space_model *m, kvi_pgno page)
{
    return drop_run(m, page, 1);
}

int model_drop(space_model *m, size_t n, bool own)
{
    kvi_pgno end = kvi_space_high_water(m->space);
    int rc = KV_OK;
    for (size_t tries = n * 4; rc == KV_OK && n > 0 && tries > 0; tries--) {
        kvi_pgno page = rng_between(&m->random, m->first, end);
        kvi_id birth = m->pages[page].birth;
        if (page == end || !droppable(m, page, birth) || (birth >= m->began) != own)
            continue;
        uint64_t pages = 1, most = rng_one_in(&m->random, 4) ? n : 1;
        while (pages < most && page + pages < end && droppable(m, page + pages, birth))
            pages++;
        rc = drop_run(m, page, pages);
        n -= pages;
    }
    return rc;
}

void model_drop_and_undo(space_model *m, size_t n)
{
    model_page *kept = malloc(m->cap * sizeof *kept);
    assert_non_null(kept);
    memcpy(kept, m->pages, m->cap * sizeof *kept);
    size_t mark = kvi_space_mark(m->space);
    assert_int_equal(model_drop(m, n, false), KV_OK);
    assert_int_equal(model_drop(m, n / 2, true), KV_OK);
    kvi_space_undo(m->space, mark);
    assert_int_equal(kvi_space_mark(m->space), mark);
    memcpy(m->pages, kept, m->cap * sizeof *kept);
    free(kept);
}

/* ---- sealing ---- */

static int emit(void *context, kvi_pgno page, const uint8_t *bytes)
{
    space_model *m = context;
    if (m->emit_fails > 0 && --m->emit_fails == 0)
        return KV_EIO;
    take(m, page);
    m->pages[page].own = true;
    assert_int_equal(kvi_file_matches(&m->file, bytes, (kvi_ptr){page, m->id}, true), 0);
    assert_int_equal(kvi_file_write(&m->file, page << m->file.page_shift, bytes, m->file.page_size),
                     KV_OK);
    m->emitted++;
    m->folds += bytes[KVI_P_type] == KVI_MAP;
    m->logs += bytes[KVI_P_type] == KVI_LOG;
    m->chains += bytes[KVI_P_type] == KVI_BLOCKED;
    return KV_OK;
}

static int dropped(void *context, kvi_ptr ptr)
{
    space_model *m = context;
    model_page *page = &m->pages[ptr.page];
    if (m->drop_fails && --m->drop_fails == 0)
        return KV_EIO;
    assert_true(page->state == KVI_PAGE_USED && page->own && page->birth == ptr.birth);
    *page = (model_page){.state = KVI_PAGE_DEAD, .birth = ptr.birth, .death = m->id};
    return KV_OK;
}

int model_seal(space_model *m, kvi_meta *meta)
{
    kvi_space_sink sink = {emit, dropped, m};
    *meta = m->meta;
    meta->id = m->id;
    int rc = kvi_space_seal(m->space, meta, &sink);
    return rc;
}

void model_commit(space_model *m, const kvi_meta *meta)
{
    kvi_space_commit(m->space);
    for (kvi_pgno page = m->first; page < m->cap; page++) {
        model_page *is = &m->pages[page];
        if (is->state == KVI_PAGE_DEAD && is->birth >= m->began)
            *is = (model_page){.state = KVI_PAGE_FREE};
        else if (is->state == KVI_PAGE_DEAD && is->death >= m->began)
            is->death = m->id;
    }
    kvi_id before = m->meta.id;
    m->meta = *meta;
    put_meta(m);
    m->durable = rng_one_in(&m->random, 8)   ? m->durable
                 : rng_one_in(&m->random, 4) ? before
                                             : m->id;
    m->id = 0;
    m->most_log = KVI_MAX(m->most_log, meta->log_pages);
    /* the file ends with a page that is needed, which somebody has written */
    kvi_pgno last = meta->high_water - 1;
    assert_true(last < m->first || m->pages[last].state != KVI_PAGE_FREE);
    assert_int_equal(kvi_file_extend(&m->file, meta->high_water), KV_OK);
}

void model_finish(space_model *m)
{
    kvi_meta meta;
    assert_int_equal(model_seal(m, &meta), KV_OK);
    model_commit(m, &meta);
}

void model_abort(space_model *m)
{
    kvi_space_abort(m->space);
    memcpy(m->pages, m->before, m->cap * sizeof *m->pages);
    m->id = 0;
    assert_int_equal(kvi_space_high_water(m->space), m->before_high_water);
}

/* ---- comparing ---- */

static void note_dead(const kvi_extents *list, model_page *pages)
{
    for (size_t i = 0; i < list->n; i++)
        for (uint64_t k = 0; k < list->at[i].pages; k++) {
            model_page *page = &pages[list->at[i].page + k];
            assert_int_equal(page->state, KVI_PAGE_USED); /* in one list only */
            *page = (model_page){
                .state = KVI_PAGE_DEAD, .birth = list->at[i].birth, .death = list->at[i].death};
        }
}

/* What a space says about all pages. */
static model_page *picture(const space_model *m, const kvi_space *space)
{
    model_page *pages = calloc(m->cap, sizeof *pages);
    assert_non_null(pages);
    for (kvi_pgno page = 0; page < m->cap; page++)
        pages[page].state =
            page >= space->high_water || kvi_space_state(space, page) == KVI_PAGE_FREE
                ? KVI_PAGE_FREE
                : KVI_PAGE_USED;
    note_dead(&space->unfiled, pages);
    for (size_t i = 0; i < space->n_held; i++)
        note_dead(&space->held[i].dead, pages);
    return pages;
}

static void compare(const space_model *m, const kvi_space *space)
{
    model_page *pages = picture(m, space);
    uint64_t n_free = 0, n_dead = 0, n_own = 0;
    assert_int_equal(kvi_space_high_water(space), m->meta.high_water);
    for (kvi_pgno page = 0; page < m->cap; page++) {
        const model_page *want = &m->pages[page], *got = &pages[page];
        if (got->state != want->state || (want->state == KVI_PAGE_DEAD &&
                                          (got->birth != want->birth || got->death != want->death)))
            fail_msg("page %llu: state %d (%llu, %llu), should be %d (%llu, %llu)",
                     (unsigned long long)page, got->state, (unsigned long long)got->birth,
                     (unsigned long long)got->death, want->state, (unsigned long long)want->birth,
                     (unsigned long long)want->death);
        if (page < m->meta.high_water) {
            assert_int_equal(kvi_space_state(space, page), want->state);
            n_free += want->state == KVI_PAGE_FREE;
            n_dead += want->state == KVI_PAGE_DEAD;
            n_own += want->own;
        }
    }
    assert_int_equal(kvi_space_free_pages(space), n_free);
    assert_int_equal(kvi_space_dead_pages(space), n_dead);
    assert_int_equal(kvi_space_own_pages(space), n_own);
    free(pages);
}

void model_check(space_model *m)
{
    uint64_t needed[MODEL_READERS + 2] = {0};
    compare(m, m->space);
    kvi_space_held_by(m->space, m->live, m->n_live, needed);
    for (size_t i = 0; i < m->n_live; i++) {
        uint64_t held = 0;
        for (kvi_pgno page = 0; page < m->meta.high_water; page++)
            held += m->pages[page].state == KVI_PAGE_DEAD && m->pages[page].birth <= m->live[i] &&
                    m->live[i] < m->pages[page].death;
        assert_int_equal(needed[i], held);
    }
}

static kvi_space *load(space_model *m)
{
    kvi_space *space = NULL;
    int rc = kvi_space_load(&space, &m->file, &m->meta);
    if (rc != KV_OK) {
        char text[400];
        kvi_err_text(&m->err, text, sizeof text);
        fail_msg("load: %d %s", rc, text);
    }
    assert_false(kvi_space_unknown(space));
    return space;
}

void model_reload(space_model *m, bool keep)
{
    kvi_space *old = m->space, *space = load(m);
    /* Pages that fell free silently do so again when the readers are known. */
    bool reticent = m->reticent;
    m->reticent = false;
    assert_int_equal(model_begin(m), KV_OK);
    kvi_space_abort(old);
    m->space = space;
    assert_int_equal(model_begin(m), KV_OK);
    kvi_space_abort(space);
    m->id = 0;
    m->reticent = reticent;
    compare(m, old);
    compare(m, space);
    m->space = keep ? space : old;
    kvi_space_close(keep ? old : space);
}

void model_turn(space_model *m)
{
    kvi_space *mine = m->space;
    bool follows = m->other && kvi_space_follow(m->other, &m->meta), reticent = m->reticent;
    m->followed += follows;
    m->loaded += !follows;
    if (m->other && !follows)
        kvi_space_close(m->other);
    m->space = follows ? m->other : load(m);
    m->other = mine;
    m->reticent = false; /* whoever comes after others asks for live snapshots */
    assert_int_equal(model_begin(m), KV_OK);
    model_abort(m);
    m->reticent = reticent;
    compare(m, m->space);
}

/* ---- the walk ---- */

typedef struct visit {
    space_model *m;
    uint8_t *buf[KVI_MAP_LEVELS_MAX + 1]; /* by level; the last for what is no directory */
    uint8_t *seen;
    kvi_id newer_than;
    size_t n;
} visit;

static int fetch(void *context, kvi_ptr ptr, int type, const uint8_t **page)
{
    visit *v = context;
    uint8_t fresh[KVI_PAGE_MAX];
    assert_true(ptr.birth > v->newer_than);
    assert_int_equal(kvi_file_read_page(&v->m->file, ptr, type, fresh), KV_OK);
    uint8_t *keep = v->buf[type == KVI_MAP_DIR ? fresh[KVI_P_level] : KVI_MAP_LEVELS_MAX];
    memcpy(keep, fresh, v->m->file.page_size);
    assert_true(v->m->pages[ptr.page].own);
    assert_false(v->seen[ptr.page]);
    v->seen[ptr.page] = 1;
    v->n++;
    *page = keep;
    return KV_OK;
}

static void walk_newer(space_model *m, kvi_id newer_than)
{
    visit v = {.m = m, .newer_than = newer_than, .seen = calloc(m->cap, 1)};
    size_t want = 0;
    for (size_t i = 0; i < KVI_COUNT(v.buf); i++)
        v.buf[i] = malloc(KVI_PAGE_MAX);
    assert_int_equal(kvi_space_walk(&m->meta, m->meta.page_size, newer_than, fetch, &v), KV_OK);
    for (kvi_pgno page = 0; page < m->meta.high_water; page++)
        want += m->pages[page].own && m->pages[page].birth > newer_than;
    assert_int_equal(v.n, want);
    for (size_t i = 0; i < KVI_COUNT(v.buf); i++)
        free(v.buf[i]);
    free(v.seen);
}

void model_walk(space_model *m)
{
    walk_newer(m, 0);
    walk_newer(m, m->meta.id);
    walk_newer(m, rng_below(&m->random, m->meta.id));
}
