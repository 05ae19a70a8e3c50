/* The space records of a damaged or forged file: an error, the unknown state, or records that hang
 * together; never more memory or time than the file is worth. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "rounds.h"
#include "space_impl.h"
#include "space_model.h"

static uint64_t seed;

/* ---- the codec ---- */

static void random_runs(rng *random, kvi_extents *list, const kvi_os *os, size_t n, kvi_id id,
                        bool dropped)
{
    kvi_pgno page = 2 + rng_below(random, 5);
    for (size_t i = 0; i < n; i++) {
        kvi_extent run = {page, 1 + rng_below(random, rng_one_in(random, 4) ? 100000 : 3), id, 0};
        if (dropped) {
            run.birth = id - rng_below(random, rng_one_in(random, 3) ? 1 : id);
            run.death = id;
        }
        page += run.pages + 1 + rng_below(random, rng_one_in(random, 8) ? 1000000 : 20);
        assert_int_equal(kvi_extents_push(list, os, run), KV_OK);
    }
}

static void assert_same_runs(const kvi_extent *a, const kvi_extents *b)
{
    for (size_t i = 0; i < b->n; i++)
        assert_memory_equal(&a[i], &b->at[i], sizeof *a);
}

/* A record in pieces is the same record. */
static void test_record_round_trip(void **state)
{
    const kvi_os *os = &kvi_os_posix;
    rng random;
    rng_seed(&random, seed);
    for (unsigned round = 0; round < rounds_of(2000); round++) {
        kvi_record record = {.id = 1 + rng_below(&random, 1u << rng_below(&random, 30))};
        kvi_extents all = {0};
        random_runs(&random, &record.taken, os, rng_below(&random, 40), record.id, false);
        random_runs(&random, &record.dropped, os, rng_below(&random, 40), record.id, true);
        for (size_t i = 0; i < record.dropped.n; i++) /* apart from those taken */
            record.dropped.at[i].page += (kvi_pgno)1 << 40;

        kvi_record_cursor cursor = {0};
        kvi_extents taken = {0}, dropped = {0};
        while (!cursor.done) {
            uint8_t bytes[600];
            size_t room = 48 + rng_below(&random, 500), events = all.n;
            kvi_id before = rng_below(&random, record.id), id = before;
            size_t len = kvi_record_put(bytes, room, before, &record, &cursor);
            const uint8_t *at = bytes;
            assert_in_range(len, 1, room);
            assert_int_equal(kvi_record_get(&at, bytes + len, 2, &id, &all, os), KV_OK);
            assert_ptr_equal(at, bytes + len);
            assert_int_equal(id, record.id);
            for (size_t i = events; i < all.n; i++)
                assert_int_equal(
                    kvi_extents_push(all.at[i].death ? &dropped : &taken, os, all.at[i]), KV_OK);
            if (len > 1) { /* cut short */
                at = bytes;
                id = before;
                assert_int_equal(kvi_record_get(&at, bytes + len - 1, 2, &id, &all, os),
                                 KV_ECORRUPT);
            }
        }
        assert_int_equal(taken.n, record.taken.n);
        assert_int_equal(dropped.n, record.dropped.n);
        assert_same_runs(taken.at, &record.taken);
        assert_same_runs(dropped.at, &record.dropped);
        kvi_extents *lists[] = {&taken, &dropped, &all, &record.taken, &record.dropped};
        for (size_t i = 0; i < KVI_COUNT(lists); i++)
            kvi_extents_free(lists[i], os);
    }
}

/* Whatever the bytes: what is accepted lies within bounds. */
static void test_record_garbage(void **state)
{
    const kvi_os *os = &kvi_os_posix;
    rng random;
    rng_seed(&random, seed);
    unsigned accepted = 0;
    for (unsigned round = 0; round < rounds_of(300000); round++) {
        uint8_t bytes[40];
        size_t len = 1 + rng_below(&random, sizeof bytes);
        uint8_t mask = rng_one_in(&random, 2) ? 3 : 255;
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)rng_next(&random) & mask;
        const uint8_t *at = bytes;
        kvi_id id = rng_below(&random, 5);
        kvi_extents events = {0};
        if (kvi_record_get(&at, bytes + len, 2, &id, &events, os) == KV_OK) {
            accepted++;
            assert_in_range(id, 1, KVI_ID_MAX);
            for (size_t i = 0; i < events.n; i++) {
                const kvi_extent *run = &events.at[i];
                assert_true(run->page >= 2 && run->pages > 0);
                assert_true(kvi_extent_end(run) <= KVI_PGNO_MAX + 1);
                assert_in_range(run->birth, 1, id);
                assert_true(run->death == 0 || run->death == id);
            }
        }
        kvi_extents_free(&events, os);
        kvi_extent run;
        kvi_pgno after = rng_below(&random, 2) ? 0 : KVI_PGNO_MAX - 3;
        at = bytes;
        if (kvi_blocked_get(&at, bytes + len, 9, &after, &run) == KV_OK) {
            assert_true(run.birth >= 1 && run.birth < run.death && run.death <= 9);
            assert_true(kvi_extent_end(&run) <= KVI_PGNO_MAX + 1);
        }
    }
    assert_true(accepted > 100);
}

static void test_record_overlap(void **state)
{
    const kvi_os *os = &kvi_os_posix;
    kvi_extents events = {0};
    static const uint8_t apart[] = {5, 1, 10, 2, 1, 12, 1, 0};
    static const uint8_t overlapping[] = {5, 1, 10, 2, 1, 11, 1, 0};
    static const uint8_t meta_page[] = {5, 1, 1, 2, 0};
    static const uint8_t no_id[] = {0, 0, 0};
    static const uint8_t too_old[] = {5, 0, 1, 10, 1, 5};
    static const struct {
        const uint8_t *bytes;
        size_t len;
        int rc;
    } cases[] = {
        {apart, sizeof apart, KV_OK},
        {overlapping, sizeof overlapping, KV_ECORRUPT},
        {meta_page, sizeof meta_page, KV_ECORRUPT},
        {no_id, sizeof no_id, KV_ECORRUPT},
        {too_old, sizeof too_old, KV_ECORRUPT},
    };
    for (size_t i = 0; i < KVI_COUNT(cases); i++) {
        const uint8_t *at = cases[i].bytes;
        kvi_id id = 0;
        assert_int_equal(kvi_record_get(&at, at + cases[i].len, 2, &id, &events, os), cases[i].rc);
    }
    kvi_extents_free(&events, os);
}

/* ---- forged pages ---- */

/* A file with every kind of record. */
static void make_file(space_model *m)
{
#ifdef KVI_STRESS
    size_t pages = 700;
#else
    size_t pages = 100000;
#endif
    model_open(m, KVI_PAGE_MIN, pages * 3, seed);
    assert_int_equal(model_begin(m), KV_OK);
    assert_int_equal(model_take(m, KVI_SPACE_LEAF, pages / 10), KV_OK);
    model_finish(m);
    m->readers[0] = m->meta.id;
    assert_int_equal(model_begin(m), KV_OK); /* blocked pages, written while the file is small */
    for (kvi_pgno page = m->first; page < pages / 10; page += 7)
        if (m->pages[page].state == KVI_PAGE_USED && !m->pages[page].own)
            assert_int_equal(model_drop_page(m, page), KV_OK);
    model_finish(m);
    assert_int_equal(model_begin(m), KV_OK);
    assert_int_equal(model_take(m, KVI_SPACE_LEAF, pages), KV_OK);
    model_finish(m);
    for (unsigned i = 0; i < 800; i++) {
        model_move_readers(m, 10, 3);
        assert_int_equal(model_begin(m), KV_OK);
        assert_int_equal(model_take(m, KVI_SPACE_LEAF, 9), KV_OK);
        assert_int_equal(model_drop(m, 9, false), KV_OK);
        model_finish(m);
        if (i > 40 && m->meta.log_pages > 1 && m->meta.blocked_pages && m->meta.delta_len > 40)
            break;
    }
    assert_true(m->meta.map_levels > 1 && m->meta.delta_len > 40);
    assert_true(m->meta.log_pages > 1);
    assert_true(m->meta.blocked_pages > 0);
    m->meta.durable = m->meta.id;
}

/* Loads, and if that succeeds works on: no state may trip the engine. */
static int try_load(space_model *m, const kvi_meta *meta)
{
    kvi_space *space, *kept = m->space;
    kvi_pgno out[8];
    kvi_meta next = *meta;
    int rc = kvi_space_load(&space, &m->file, meta);
    if (rc != KV_OK) {
        assert_int_equal(rc, KV_ECORRUPT);
        return rc;
    }
    bool unknown = kvi_space_unknown(space);
    for (kvi_pgno page = 0; page < m->first; page++)
        assert_int_equal(kvi_space_state(space, page), KVI_PAGE_USED);
    kvi_id live = meta->id;
    m->space = space;
    assert_int_equal(kvi_space_begin(space, meta->id + 1, &live, 1), KV_OK);
    assert_int_equal(kvi_space_take(space, KVI_SPACE_LEAF, 8, out), KV_OK);
    for (size_t i = 0; i < 8; i++)
        assert_true(out[i] >= m->first && (!unknown || out[i] >= meta->high_water));
    assert_int_equal(kvi_space_drop(space, out[0], 1, meta->id + 1), KV_OK);
    next.id++;
    kvi_space_sink sink = {0};
    if (unknown) {
        assert_int_equal(kvi_space_seal(space, &next, &sink), KV_OK);
        assert_int_equal(next.delta_len, 0);
        assert_int_equal(next.log.page + next.map.page + next.blocked.page, 0);
        assert_int_equal(next.log_pages + next.blocked_pages + next.map_levels + next.log_tail, 0);
        assert_true(next.high_water > meta->high_water);
        kvi_space_commit(space);
    } else {
        kvi_space_abort(space);
    }
    kvi_space_close(space);
    m->space = kept;
    return unknown ? KV_MISMATCH : KV_OK;
}

static uint8_t *page_bytes(space_model *m, kvi_pgno page)
{
    return m->disk->files[0].bytes + page * m->file.page_size;
}

static void restamp(space_model *m, kvi_pgno page)
{
    uint8_t *bytes = page_bytes(m, page);
    kvi_file_stamp(&m->file, bytes,
                   (kvi_ptr){kvi_get64(bytes + KVI_P_page), kvi_get64(bytes + KVI_P_birth)});
}

/* Where the bytes of a page end that mean something. */
static size_t page_end(const space_model *m, const uint8_t *bytes)
{
    switch (bytes[KVI_P_type]) {
    case KVI_LOG:
        return KVI_MIN(KVI_LOG_RECORDS + kvi_get32(bytes + KVI_G_len), (size_t)600);
    case KVI_BLOCKED:
        return KVI_MIN(KVI_BLOCKED_RUNS + kvi_get32(bytes + KVI_B_len), (size_t)600);
    case KVI_MAP_DIR:
        return KVI_HEADER_SIZE + kvi_get16(bytes + KVI_P_count) * (size_t)KVI_PTR_SIZE;
    default:
        return KVI_HEADER_SIZE + 16;
    }
}

/* Every byte of every record that means something, behind a right checksum. */
static void test_forged_pages(void **state)
{
    space_model m;
    unsigned outcomes[3] = {0};
    make_file(&m);
    unsigned stride = m.meta.high_water > 10000 ? 5 : 1;
    for (kvi_pgno page = m.first; page < m.meta.high_water; page++) {
        if (!m.pages[page].own)
            continue;
        uint8_t *bytes = page_bytes(&m, page);
        size_t end = page_end(&m, bytes);
        for (size_t at = 8; at < end; at += 1 + rng_below(&m.random, stride)) {
            uint8_t was = bytes[at];
            bytes[at] ^= (uint8_t)(rng_one_in(&m.random, 2) ? 1u << rng_below(&m.random, 8) : 255);
            restamp(&m, page);
            m.meta.durable = rng_one_in(&m.random, 4) ? 1 : m.meta.id;
            int rc = try_load(&m, &m.meta);
            outcomes[rc == KV_OK ? 0 : rc == KV_MISMATCH ? 1 : 2]++;
            bytes[at] = was;
            restamp(&m, page);
        }
    }
    for (int i = 0; i < 3; i++)
        assert_true(outcomes[i] > 10);
    assert_int_equal(try_load(&m, &m.meta), KV_OK);
    model_close(&m);
}

/* A pointer of a directory or chain leads to another place, one used before included. */
static void test_forged_pointers(void **state)
{
    space_model m;
    make_file(&m);
    static const int offsets[] = {0, KVI_G_older, KVI_B_next};
    for (kvi_pgno page = m.first; page < m.meta.high_water; page++) {
        uint8_t *bytes = page_bytes(&m, page);
        int type = m.pages[page].own ? bytes[KVI_P_type] : 0;
        if (type != KVI_LOG && type != KVI_BLOCKED && type != KVI_MAP_DIR)
            continue;
        size_t at = type == KVI_LOG ? (size_t)offsets[1] : (size_t)offsets[2];
        if (type == KVI_MAP_DIR)
            at = KVI_HEADER_SIZE +
                 KVI_PTR_SIZE * rng_below(&m.random, kvi_get16(bytes + KVI_P_count));
        for (kvi_pgno other = m.first; other < m.meta.high_water; other++) {
            if (!m.pages[other].own)
                continue;
            uint8_t was[KVI_PTR_SIZE];
            memcpy(was, bytes + at, sizeof was);
            kvi_ptr_put(bytes + at, (kvi_ptr){other, m.pages[other].birth});
            bool same = memcmp(was, bytes + at, sizeof was) == 0;
            restamp(&m, page);
            int rc = try_load(&m, &m.meta);
            if (same)
                assert_int_equal(rc, KV_OK);
            else if (type != KVI_LOG) /* the oldest log page's pointer is not followed */
                assert_int_not_equal(rc, KV_OK);
            memcpy(bytes + at, was, sizeof was);
            restamp(&m, page);
        }
    }
    model_close(&m);
}

/* Lengths that leave the page, which is full of what would be sound to its last byte. */
static void test_forged_lengths(void **state)
{
    space_model m;
    static const uint8_t record[] = {1, 0, 0}, run[] = {1, 1, 0, 1};
    make_file(&m);
    for (kvi_pgno page = m.first; page < m.meta.high_water; page++) {
        uint8_t *bytes = page_bytes(&m, page), was[KVI_PAGE_MIN];
        int type = m.pages[page].own ? bytes[KVI_P_type] : 0;
        if (type != KVI_LOG && type != KVI_BLOCKED)
            continue;
        bool log = type == KVI_LOG;
        size_t len_at = log ? KVI_G_len : KVI_B_len;
        size_t at = (log ? KVI_LOG_RECORDS : KVI_BLOCKED_RUNS) + kvi_get32(bytes + len_at);
        memcpy(was, bytes, sizeof was);
        for (size_t i = 0; at < KVI_PAGE_MIN; at++, i++)
            bytes[at] = log ? record[i % sizeof record] : run[i % sizeof run];
        for (uint32_t len = KVI_PAGE_MIN - 120; len < KVI_PAGE_MIN; len++) {
            kvi_put32(bytes + len_at, len);
            restamp(&m, page);
            try_load(&m, &m.meta);
        }
        kvi_put32(bytes + len_at, UINT32_MAX);
        restamp(&m, page);
        assert_int_not_equal(try_load(&m, &m.meta), KV_OK);
        memcpy(bytes, was, sizeof was);
    }
    assert_int_equal(try_load(&m, &m.meta), KV_OK);
    model_close(&m);
}

/* Numbers in the meta that its own checks let pass. */
static void test_forged_meta(void **state)
{
    space_model m;
    unsigned outcomes[2] = {0};
    make_file(&m);
    const uint32_t counts[] = {0, 1, 2, 3, 100, 1u << 20, UINT32_MAX};
    for (size_t i = 0; i < KVI_COUNT(counts); i++) {
        kvi_meta meta = m.meta;
        meta.log_pages = counts[i];
        int rc = try_load(&m, &meta); /* with fewer pages it is another, as good log */
        if (counts[i] == 0 || counts[i] >= m.meta.log_pages)
            assert_int_equal(rc == KV_OK, counts[i] == m.meta.log_pages);
        meta = m.meta;
        meta.blocked_pages = counts[i];
        assert_int_equal(try_load(&m, &meta) == KV_OK, counts[i] == m.meta.blocked_pages);
        meta = m.meta;
        meta.map_levels = (uint8_t)KVI_MIN(counts[i], (uint32_t)KVI_MAP_LEVELS_MAX);
        assert_int_equal(try_load(&m, &meta) == KV_OK, meta.map_levels == m.meta.map_levels);
    }
    kvi_meta meta = m.meta;
    meta.high_water *= 2;
    assert_int_equal(try_load(&m, &meta), KV_ECORRUPT);
    meta.high_water = KVI_PGNO_MAX;
    assert_int_equal(try_load(&m, &meta), KV_ECORRUPT);
    meta.high_water = m.first;
    assert_int_not_equal(try_load(&m, &meta), KV_OK);
    for (kvi_pgno high_water = m.first; high_water < m.meta.high_water; high_water += 97) {
        meta.high_water = high_water;
        try_load(&m, &meta);
    }
    for (size_t at = 0; at < m.meta.delta_len; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            meta = m.meta;
            meta.delta[at] ^= (uint8_t)(1u << bit);
            outcomes[try_load(&m, &meta) == KV_OK]++;
        }
    assert_true(outcomes[0] > 10 && outcomes[1] > 10);
    meta = m.meta;
    meta.delta_len = KVI_DELTA_MAX;
    assert_int_equal(try_load(&m, &meta), KV_ECORRUPT);
    model_close(&m);
}

/* Births and ids that do not go together, behind right checksums: what leads to a page, what it holds,
 * how far back the log reaches. */
static void test_forged_order(void **state)
{
    space_model m;
    make_file(&m);
    kvi_meta meta = m.meta;
    meta.log.birth = 0;
    assert_int_not_equal(try_load(&m, &meta), KV_OK);
    meta = m.meta;
    meta.blocked.birth = 0;
    assert_int_not_equal(try_load(&m, &meta), KV_OK);
    meta = m.meta;
    meta.log_tail = meta.id;
    assert_int_not_equal(try_load(&m, &meta), KV_OK);

    uint8_t was[KVI_PAGE_MIN], *log = page_bytes(&m, m.meta.log.page);
    memcpy(was, log, sizeof was);
    kvi_put32(log + KVI_G_len, 0);
    restamp(&m, m.meta.log.page);
    assert_int_not_equal(try_load(&m, &m.meta), KV_OK);
    memcpy(log, was, sizeof was);
    meta = m.meta; /* the page is older than what it tells of */
    meta.log.birth = kvi_get64(log + KVI_G_last) - 1;
    kvi_file_stamp(&m.file, log, meta.log);
    assert_int_not_equal(try_load(&m, &meta), KV_OK);
    memcpy(log, was, sizeof was);
    assert_int_equal(try_load(&m, &m.meta), KV_OK);

    kvi_pgno next = m.first; /* a chain of two, the second one of another fold */
    while (m.pages[next].own)
        next++;
    uint8_t *first = page_bytes(&m, m.meta.blocked.page), *second = page_bytes(&m, next);
    for (unsigned older = 0; older < 2; older++) {
        kvi_ptr ptr = {next, m.meta.blocked.birth - older};
        memcpy(second, first, KVI_PAGE_MIN);
        kvi_put32(second + KVI_B_len, 0);
        kvi_ptr_put(second + KVI_B_next, (kvi_ptr){0, 0});
        kvi_file_stamp(&m.file, second, ptr);
        memcpy(was, first, sizeof was);
        kvi_ptr_put(first + KVI_B_next, ptr);
        restamp(&m, m.meta.blocked.page);
        meta = m.meta;
        meta.blocked_pages = 2;
        int rc = try_load(&m, &meta);
        if (m.meta.blocked_pages == 1)
            assert_int_equal(rc == KV_OK, !older);
        memcpy(first, was, sizeof was);
    }
    model_close(&m);
}

/* R17: an old page that is damaged is no reason to refuse the database, a new one is. */
static void test_damage_old_and_new(void **state)
{
    space_model m;
    make_file(&m);
    kvi_id newest = 0;
    for (kvi_pgno page = m.first; page < m.meta.high_water; page++)
        if (m.pages[page].own)
            newest = KVI_MAX(newest, m.pages[page].birth);
    for (kvi_pgno page = m.first; page < m.meta.high_water; page++) {
        if (!m.pages[page].own)
            continue;
        kvi_meta meta = m.meta;
        uint8_t *bytes = page_bytes(&m, page);
        bytes[100] ^= 4;
        assert_int_equal(try_load(&m, &meta), KV_MISMATCH);
        meta.durable = m.pages[page].birth;
        assert_int_equal(try_load(&m, &meta), KV_MISMATCH);
        meta.durable = m.pages[page].birth - 1;
        assert_int_equal(try_load(&m, &meta), KV_ECORRUPT);
        bytes[100] ^= 4;
    }
    assert_int_equal(try_load(&m, &m.meta), KV_OK);
    model_close(&m);
}

/* What was dead or free when the records were forgotten is used, as far as anybody knows. */
static void forget_pages(space_model *m)
{
    for (kvi_pgno page = m->first; page < m->meta.high_water; page++)
        if (m->pages[page].state != KVI_PAGE_USED || m->pages[page].own)
            m->pages[page] = (model_page){.state = KVI_PAGE_USED, .birth = 1};
}

static void load_again(space_model *m, bool unknown)
{
    kvi_space_close(m->space);
    assert_int_equal(kvi_space_load(&m->space, &m->file, &m->meta), KV_OK);
    assert_int_equal(kvi_space_unknown(m->space), unknown);
}

/* Unknown: only growth. The first commit forgets the records, and those behind it have new ones. */
static void test_unknown_starts_over(void **state)
{
    space_model m;
    make_file(&m);
    page_bytes(&m, m.meta.map.page)[100] ^= 4;
    load_again(&m, true);
    forget_pages(&m);
    for (unsigned i = 0; i < 24; i++) {
        bool unknown = i < 4, aborts = i % 4 < 3;
        kvi_meta meta;
        kvi_pgno end = m.meta.high_water;
        m.readers[0] = 0;
        assert_int_equal(model_begin(&m), KV_OK);
        assert_int_equal(model_take(&m, KVI_SPACE_LEAF, 3), KV_OK);
        assert_int_equal(model_take(&m, KVI_SPACE_BRANCH, 2), KV_OK);
        if (unknown)
            assert_int_equal(kvi_space_high_water(m.space), end + 5);
        assert_int_equal(model_drop(&m, 4, false), KV_OK);
        if (aborts) {
            model_abort(&m);
            load_again(&m, unknown);
            continue;
        }
        assert_int_equal(model_seal(&m, &meta), KV_OK);
        model_commit(&m, &meta);
        m.meta.durable = m.meta.id;
        if (unknown)
            forget_pages(&m);
        load_again(&m, false);
        model_check(&m);
    }
    assert_true(kvi_space_free_pages(m.space) + kvi_space_dead_pages(m.space) > 0);
    assert_int_equal(kvi_space_rebuild(m.space, m.meta.id + 1, m.meta.high_water), KV_OK);
    for (kvi_pgno page = m.first; page < m.meta.high_water; page++) {
        if (m.pages[page].state == KVI_PAGE_USED && !m.pages[page].own)
            assert_int_equal(kvi_space_mark_used(m.space, page, 1), KV_OK);
        else
            m.pages[page] = (model_page){.state = KVI_PAGE_FREE};
    }
    memcpy(m.before, m.pages, m.cap * sizeof *m.pages);
    m.id = m.meta.id + 1;
    model_finish(&m);
    assert_false(kvi_space_unknown(m.space));
    model_check(&m);
    model_reload(&m, true);
    model_walk(&m);
    model_close(&m);
}

static unsigned fetched;

/* A walk over forged pages ends. */
static int fetch_forged(void *context, kvi_ptr ptr, int type, const uint8_t **page)
{
    space_model *m = context;
    static uint8_t bufs[KVI_MAP_LEVELS_MAX + 2][KVI_PAGE_MAX];
    if (ptr.page < m->first || ptr.page >= m->meta.high_water)
        return KV_ECORRUPT;
    const uint8_t *bytes = page_bytes(m, ptr.page);
    fetched++;
    unsigned level = KVI_MIN(bytes[KVI_P_level], (unsigned)KVI_MAP_LEVELS_MAX);
    uint8_t *buf = bufs[type == KVI_MAP_DIR ? level : KVI_MAP_LEVELS_MAX + 1];
    memcpy(buf, bytes, m->file.page_size);
    *page = buf;
    return KV_OK;
}

static void test_forged_walk(void **state)
{
    space_model m;
    make_file(&m);
    for (unsigned round = 0; round < rounds_of(3000); round++) {
        kvi_pgno page;
        do
            page = rng_between(&m.random, m.first, m.meta.high_water - 1);
        while (!m.pages[page].own);
        uint8_t *bytes = page_bytes(&m, page);
        bytes[rng_between(&m.random, 8, 120)] = (uint8_t)rng_next(&m.random);
        int rc = kvi_space_walk(&m.meta, m.meta.page_size, 0, fetch_forged, &m);
        assert_true(rc == KV_OK || rc == KV_ECORRUPT);
    }
    model_close(&m);
}

/* A directory of eight levels in eight pages, each pointing to the next one only: a small file that
 * seems to have more pages than could ever be visited. */
static void test_forged_directory(void **state)
{
    space_model m;
    make_file(&m);
    kvi_pgno first = m.first;
    for (unsigned i = 0; i < KVI_MAP_LEVELS_MAX; i++) {
        unsigned level = KVI_MAP_LEVELS_MAX - 1 - i, fanout = kvi_map_fanout(m.file.page_size);
        uint8_t *bytes = page_bytes(&m, first + i);
        memset(bytes, 0, m.file.page_size);
        bytes[KVI_P_type] = level ? KVI_MAP_DIR : KVI_MAP;
        bytes[KVI_P_level] = (uint8_t)level;
        for (unsigned k = 0; level && k < fanout; k++)
            kvi_ptr_put(bytes + KVI_HEADER_SIZE + k * KVI_PTR_SIZE, (kvi_ptr){first + i + 1, 1});
        kvi_put16(bytes + KVI_P_count, (uint16_t)(level ? fanout : 0));
        kvi_file_stamp(&m.file, bytes, (kvi_ptr){first + i, 1});
    }
    kvi_meta meta = m.meta;
    meta.map = (kvi_ptr){first, 1};
    meta.map_levels = KVI_MAP_LEVELS_MAX;
    meta.high_water = KVI_MIN(meta.high_water, (kvi_pgno)500);
    meta.log_pages = meta.blocked_pages = 0;
    meta.log = meta.blocked = (kvi_ptr){0, 0};
    assert_int_not_equal(try_load(&m, &meta), KV_OK);
    fetched = 0;
    assert_int_equal(kvi_space_walk(&meta, meta.page_size, 0, fetch_forged, &m), KV_ECORRUPT);
    assert_in_range(fetched, 8, 500);
    uint8_t *top = page_bytes(&m, first);
    top[KVI_P_level]--;
    assert_int_equal(kvi_space_walk(&meta, meta.page_size, 0, fetch_forged, &m), KV_ECORRUPT);
    top[KVI_P_level]++;
    kvi_put16(top + KVI_P_count, (uint16_t)(kvi_map_fanout(m.file.page_size) + 1));
    fetched = 0;
    assert_int_equal(kvi_space_walk(&meta, meta.page_size, 0, fetch_forged, &m), KV_ECORRUPT);
    assert_int_equal(fetched, 1);
    model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_round_trip),   cmocka_unit_test(test_record_garbage),
        cmocka_unit_test(test_record_overlap),      cmocka_unit_test(test_forged_pages),
        cmocka_unit_test(test_forged_pointers),     cmocka_unit_test(test_forged_lengths),
        cmocka_unit_test(test_forged_meta),         cmocka_unit_test(test_damage_old_and_new),
        cmocka_unit_test(test_unknown_starts_over), cmocka_unit_test(test_forged_walk),
        cmocka_unit_test(test_forged_directory),    cmocka_unit_test(test_forged_order),
    };
    seed = rng_choose_seed(1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
