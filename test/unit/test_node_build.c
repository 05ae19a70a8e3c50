/* Splitting, merging, separators: sequences out of several pages and single elements. */
#include "node_impl.h"
#include "node_model.h"
#include "rounds.h"
#include <stdio.h>

#define PIECES 6

/* A model cut into pages and literal elements. */
typedef struct pieces {
    model m;
    uint16_t flags;
    unsigned n;
    kvi_part parts[PIECES];
    kvi_item items[PIECES];
    uint8_t *pages[PIECES];
} pieces;

/* Elements in order, about bytes of them. */
static model model_random(uint32_t page_size, unsigned level, enum key_kind keys,
                          enum value_kind values, uint32_t bytes)
{
    bool found;
    model m = model_new(page_size, level);
    for (uint32_t sum = 0, tries = 0; sum < bytes && tries < 10000; tries++) {
        element e = element_random(&m, keys, values);
        unsigned at = model_lower(&m, 0, blob_slice(e.key), &found);
        sum += (uint32_t)(e.value.len + (level ? 20 : 6)) + KVI_MIN((uint32_t)e.key.len, 30);
        if (found)
            element_free(&e);
        else
            model_insert(&m, at, e);
    }
    return m;
}

/* The most elements from at on, up to limit, that fit a page. */
static unsigned page_take(const pieces *p, unsigned at, unsigned limit)
{
    bool expiry = p->flags & KVI_NODE_EXPIRY;
    unsigned to = at + 1;
    while (to < p->m.n && to - at < limit &&
           model_bytes(&p->m, at, to + 1, expiry) <= p->m.page_size)
        to += 1 + (to + 1 < p->m.n && to - at > 64 && to + 1 - at < limit &&
                   model_bytes(&p->m, at, to + 2, expiry) <= p->m.page_size);
    return to;
}

static void pieces_page(pieces *p, unsigned at, unsigned to)
{
    kvi_part *part = &p->parts[p->n];
    uint8_t *page = p->pages[p->n] = exact(p->m.page_size);
    assert_true(build_literal(&p->m, at, to, p->flags, page));
    *part = (kvi_part){.page = page, .to = to - at};
    if (p->m.level > 0)
        part->first_key = blob_slice(p->m.at[at].key);
}

static void pieces_random(pieces *p, uint32_t page_size, unsigned level)
{
    enum value_kind values = level ? VALUE_NONE : (enum value_kind)chance(VALUE_KINDS);
    *p = (pieces){.flags = level && chance(2) ? KVI_NODE_EXPIRY : 0};
    p->m = model_random(page_size, level, (enum key_kind)chance(KEY_KINDS), values,
                        page_size / 8 + chance(page_size * 2));
    unsigned at = 0, to;
    for (; at < p->m.n && p->n < PIECES; at = to, p->n++) {
        to = chance(3) == 0 ? at + 1 : page_take(p, at, 1 + chance(p->m.n));
        if (to == at + 1 && chance(2)) {
            p->items[p->n] = element_item(&p->m.at[at]);
            p->parts[p->n] = (kvi_part){.item = &p->items[p->n]};
        } else {
            pieces_page(p, at, to);
        }
    }
    while (p->m.n > at) /* no more parts: what remains is left out */
        model_remove(&p->m, p->m.n - 1);
}

static void pieces_free(pieces *p)
{
    for (unsigned i = 0; i < p->n; i++)
        free(p->pages[i]);
    model_free(&p->m);
}

static kvi_seq pieces_seq(const pieces *p)
{
    return (kvi_seq){p->parts, p->n, p->m.level, p->m.page_size, p->flags};
}

static void node_same(const uint8_t *page, const model *m, uint16_t flags)
{
    if (m->level > 0)
        branch_same(page, m, flags & KVI_NODE_EXPIRY);
    else
        leaf_same(page, m);
    search_all(page, m);
}

/* Builds elements [from, to): it must work if and only if they fit. */
static bool build_checked(const pieces *p, unsigned from, unsigned to)
{
    kvi_seq seq = pieces_seq(p);
    uint32_t size = p->m.page_size;
    uint8_t *page = exact(size);
    size_t bytes = model_bytes(&p->m, from, to, p->flags & KVI_NODE_EXPIRY);
    bool fits = kvi_node_build(&seq, from, to, page);
    assert_int_equal(fits, bytes <= size);
    if (fits) {
        model part = {to - from, p->m.level, size, p->m.at + from};
        assert_int_equal(kvi_node_used(page, size), bytes);
        node_same(page, &part, p->flags);
    }
    free(page);
    return fits;
}

/* left < separator <= right, and no longer than it needs to be. */
static void separator_checked(const pieces *p, unsigned at)
{
    kvi_seq seq = pieces_seq(p);
    kvi_slice left = blob_slice(p->m.at[at - 1].key), right = blob_slice(p->m.at[at].key);
    uint8_t *out = exact(kvi_key_max(p->m.page_size));
    size_t len = kvi_seq_separator(&seq, at, 0, out);
    if (p->m.level > 0) {
        assert_int_equal(kvi_slice_compare(kvi_slice_of(out, len), right), 0);
    } else {
        assert_true(kvi_slice_compare(left, kvi_slice_of(out, len)) < 0);
        assert_true(kvi_slice_compare(kvi_slice_of(out, len), right) <= 0);
        assert_true(kvi_slice_compare(left, kvi_slice_of(out, len - 1)) >= 0);
        size_t same = chance(40), longer = kvi_seq_separator(&seq, at, same, out);
        bool lengthened = same > len && same <= right.len && same <= len + 8;
        assert_int_equal(longer, lengthened ? same : len);
        assert_memory_equal(out, right.ptr, longer);
    }
    free(out);
}

static bool fits(const pieces *p, unsigned from, unsigned to)
{
    return model_bytes(&p->m, from, to, p->flags & KVI_NODE_EXPIRY) <= p->m.page_size;
}

/* Is there a place to divide, trying all? */
static bool divisible(const pieces *p)
{
    unsigned edge = p->m.level > 0 && p->m.n >= 4 ? 2 : 1;
    for (unsigned at = edge; at + edge <= p->m.n; at++)
        if (fits(p, 0, at) && fits(p, at, p->m.n))
            return true;
    return false;
}

static void split_checked(const pieces *p, enum kvi_split how)
{
    kvi_seq seq = pieces_seq(p);
    unsigned n = p->m.n, at = kvi_seq_split_point(&seq, how);
    unsigned edge = p->m.level > 0 && n >= 4 ? 2 : 1;
    if (at == 0) {
        if (n <= 300)
            assert_false(divisible(p));
        return;
    }
    assert_true(at >= edge && at + edge <= n);
    assert_true(build_checked(p, 0, at));
    assert_true(build_checked(p, at, n));
    separator_checked(p, at);
    unsigned full = at;
    if (how == KVI_SPLIT_APPEND)
        while (full + edge < n && fits(p, 0, full + 1))
            full++;
    if (how == KVI_SPLIT_PREPEND)
        while (full > edge && fits(p, full - 1, n))
            full--;
    if (full != at) { /* a branch may end early between two groups of keys */
        assert_true(p->m.level > 0);
        assert_true(how == KVI_SPLIT_APPEND ? at >= full / 2 : n - at >= (n - full) / 2);
        assert_true(kvi_seq_common(&seq, at - 1, at) + 8 <= kvi_seq_common(&seq, full - 1, full));
    }
}

static void fit_checked(const pieces *p)
{
    kvi_seq seq = pieces_seq(p);
    for (unsigned from = 0, to; from < p->m.n; from = to) {
        to = kvi_seq_fit(&seq, from);
        assert_true(to > from && to <= p->m.n);
        assert_true(build_checked(p, from, to));
        assert_true(to == p->m.n || !fits(p, from, to + 1));
    }
}

static void random_sequences(void **state)
{
    (void)state;
    chance_state = 3;
    for (size_t p = 0; p < KVI_COUNT(page_sizes); p++)
        for (unsigned round = 0, rounds = 200000 / page_sizes[p]; round < rounds; round++) {
            pieces q;
            pieces_random(&q, page_sizes[p], chance(2) ? 0 : 1 + chance(2));
            kvi_seq seq = pieces_seq(&q);
            assert_int_equal(kvi_seq_count(&seq), q.m.n);
            if (q.m.n > 0) {
                unsigned from = chance(q.m.n);
                build_checked(&q, from, from + 1 + chance(q.m.n - from));
                build_checked(&q, 0, q.m.n);
                fit_checked(&q);
            }
            split_checked(&q, KVI_SPLIT_EVEN);
            split_checked(&q, KVI_SPLIT_APPEND);
            split_checked(&q, KVI_SPLIT_PREPEND);
            split_checked(&q, KVI_SPLIT_RUN);
            pieces_free(&q);
        }
}

/* What fits still fits without its first or last element: searching for a limit may bisect. */
static void fewer_elements_fit(void **state)
{
    (void)state;
    chance_state = 10;
    for (unsigned round = 0; round < rounds_of(3000); round++) {
        unsigned level = chance(2);
        model m = model_random(512, level, (enum key_kind)(round % KEY_KINDS),
                               (enum value_kind)(level ? 0 : chance(VALUE_KINDS)), chance(1000));
        for (unsigned from = 0; from < m.n; from++) {
            size_t before = KVI_HEADER_SIZE;
            for (unsigned to = from + 1 + level; to <= m.n; to++) {
                size_t bytes = model_bytes(&m, from, to, false);
                assert_true(bytes >= before);
                assert_true(to == from + 1 + level ||
                            bytes >= model_bytes(&m, from + 1, to, false));
                before = bytes;
            }
        }
        model_free(&m);
    }
}

/* Elements from the inside of pages, and pages changed in place. */
static void parts_of_edited_pages(void **state)
{
    uint8_t *page = exact(4096), *scratch = exact(4096), *out = exact(4096);
    (void)state;
    chance_state = 4;
    for (unsigned round = 0; round < 300; round++) {
        model m = model_random(4096, 0, (enum key_kind)(round % KEY_KINDS), VALUE_SHORT, 2500);
        kvi_leaf_init(page, 4096);
        for (unsigned i = 0; i < m.n; i++) {
            kvi_item item = element_item(&m.at[i]);
            while (i < m.n && !kvi_leaf_insert(page, 4096, scratch, i, &item))
                model_remove(&m, m.n - 1);
        }
        unsigned gone = chance(m.n);
        kvi_leaf_remove(page, 4096, gone);
        model_remove(&m, gone);
        unsigned from = chance(m.n + 1), to = from + chance(m.n + 1 - from);
        kvi_part parts[] = {{.page = page, .from = from, .to = to},
                            {.page = page, .from = to, .to = to},
                            {.page = page, .from = to, .to = m.n}};
        kvi_seq seq = {parts, 3, 0, 4096, 0};
        model rest = {m.n - from, 0, 4096, m.at + from};
        assert_int_equal(kvi_seq_count(&seq), rest.n);
        assert_true(kvi_node_build(&seq, 0, rest.n, out));
        leaf_same(out, &rest);
        model_free(&m);
    }
    free(page);
    free(scratch);
    free(out);
}

static void even_split_is_even(void **state)
{
    (void)state;
    chance_state = 5;
    for (unsigned round = 0; round < 200; round++) {
        unsigned level = round % 2;
        pieces p = {.m = model_random(4096, level, KEY_RANDOM16, VALUE_FIXED, 3600)};
        for (unsigned at = 0, to; at < p.m.n; at = to, p.n++) {
            to = page_take(&p, at, 1000);
            pieces_page(&p, at, to);
        }
        kvi_seq seq = pieces_seq(&p);
        unsigned n = p.m.n, at = kvi_seq_split_point(&seq, KVI_SPLIT_EVEN);
        assert_in_range(at, n * 44 / 100, n * 56 / 100 + 1);
        /* no nearby place has a shorter separator */
        uint8_t out[1024], other[1024];
        size_t len = kvi_seq_separator(&seq, at, 0, out);
        for (unsigned i = n * 46 / 100 + 1; i < n * 54 / 100; i++)
            assert_true(kvi_seq_separator(&seq, i, 0, other) >= len);
        pieces_free(&p);
    }
}

/* A page that is full and a big entry in its middle need three pages. */
static void three_pages(void **state)
{
    kvi_item items[5];
    kvi_part parts[5];
    uint8_t value[512] = {0}, *page = exact(512);
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        size_t len = i == 2 ? kvi_leaf_max(512) - 1 : 190;
        items[i] = (kvi_item){.key = kvi_slice_of(&"abcde"[i], 1), .value = {value, len}};
        parts[i] = (kvi_part){.item = &items[i]};
    }
    kvi_seq seq = {parts, 5, 0, 512, 0};
    assert_int_equal(kvi_seq_split_point(&seq, KVI_SPLIT_EVEN), 0);
    assert_int_equal(kvi_seq_split_point(&seq, KVI_SPLIT_APPEND), 0);
    assert_int_equal(kvi_seq_split_point(&seq, KVI_SPLIT_PREPEND), 0);
    assert_int_equal(kvi_seq_fit(&seq, 0), 2);
    assert_int_equal(kvi_seq_fit(&seq, 2), 4);
    assert_int_equal(kvi_seq_fit(&seq, 4), 5);
    assert_true(kvi_node_build(&seq, 0, 2, page));
    assert_false(kvi_node_build(&seq, 0, 3, page));
    free(page);
}

/* Two long entries before many short ones: the number of entries says nothing. */
static void uneven_lengths(void **state)
{
    kvi_item items[14];
    kvi_part parts[14];
    uint8_t value[512] = {0}, page[512];
    (void)state;
    for (unsigned i = 0; i < 14; i++) {
        items[i] = (kvi_item){.key = kvi_slice_of(&"abcdefghijklmn"[i], 1),
                              .value = {value, i < 2 ? 190 : 20}};
        parts[i] = (kvi_part){.item = &items[i]};
    }
    kvi_seq seq = {parts, 14, 0, 512, 0};
    unsigned at = kvi_seq_split_point(&seq, KVI_SPLIT_EVEN);
    assert_in_range(at, 1, 13);
    assert_true(kvi_node_build(&seq, 0, at, page));
    assert_true(kvi_node_build(&seq, at, 14, page));
}

/* Separators of two groups, one after the other: a branch ends between them, if both sides are to
 * have a good part of the children. */
static void groups_are_not_divided(void **state)
{
    static const struct {
        enum kvi_split how;
        unsigned n, first, at; /* children, those of the first group; 0: wherever */
    } cases[] = {{KVI_SPLIT_EVEN, 60, 25, 25},  {KVI_SPLIT_EVEN, 60, 45, 45},
                 {KVI_SPLIT_EVEN, 60, 3, 0},    {KVI_SPLIT_APPEND, 60, 40, 40},
                 {KVI_SPLIT_APPEND, 60, 10, 0}, {KVI_SPLIT_PREPEND, 60, 20, 20},
                 {KVI_SPLIT_PREPEND, 60, 52, 0}};
    (void)state;
    for (size_t c = 0; c < KVI_COUNT(cases); c++) {
        kvi_item items[60];
        kvi_part parts[60];
        char keys[60][50];
        unsigned n = cases[c].n;
        for (unsigned i = 0; i < n; i++) {
            bool second = i >= cases[c].first;
            snprintf(keys[i], sizeof keys[i], "site-%d/and/a/long/way/to/page/%08u", second, i);
            items[i] =
                (kvi_item){.key = kvi_slice_of(keys[i], strlen(keys[i])), .child = {i + 9, 1}};
            parts[i] = (kvi_part){.item = &items[i]};
        }
        kvi_seq seq = {parts, n, 1, 2048, 0};
        unsigned at = kvi_seq_split_point(&seq, cases[c].how);
        assert_in_range(at, 2, n - 2);
        if (cases[c].at)
            assert_int_equal(at, cases[c].at);
        else
            assert_int_not_equal(at, cases[c].first);
    }
}

/* A newcomer of a run is the last one on the left, if both sides fit so; what is behind it goes right. */
static void run_is_divided_behind_the_newcomer(void **state)
{
    static const uint8_t value[100];
    static uint8_t page[4096], spare[4096];
    (void)state;
    kvi_leaf_init(page, sizeof page);
    unsigned n = 0;
    for (;; n++) {
        char key[8];
        snprintf(key, sizeof key, "%07u", n * 2);
        kvi_item item = {.key = kvi_slice_of(key, 7), .value = kvi_slice_of(value, sizeof value)};
        if (!kvi_leaf_insert(page, sizeof page, spare, n, &item))
            break;
    }
    for (unsigned newcomer = 1; newcomer <= n; newcomer++) {
        char key[8];
        snprintf(key, sizeof key, "%07u", newcomer * 2 - 1);
        kvi_item item = {.key = kvi_slice_of(key, 7), .value = kvi_slice_of(value, sizeof value)};
        kvi_part parts[] = {{.page = page, .to = newcomer},
                            {.item = &item},
                            {.page = page, .from = newcomer, .to = n}};
        kvi_seq seq = {parts, 3, 0, sizeof page, 0};
        assert_int_equal(kvi_seq_split_point(&seq, KVI_SPLIT_RUN), newcomer < n ? newcomer + 1 : n);
    }
}

static void empty_and_single(void **state)
{
    uint8_t page[512];
    kvi_item item = {.key = {NULL, 0}};
    kvi_part part = {.item = &item};
    kvi_seq none = {&part, 0, 0, 512, 0}, one = {&part, 1, 0, 512, 0};
    bool found;
    (void)state;
    assert_int_equal(kvi_seq_count(&none), 0);
    assert_int_equal(kvi_seq_split_point(&none, KVI_SPLIT_EVEN), 0);
    assert_true(kvi_node_build(&none, 0, 0, page));
    assert_int_equal(kvi_node_validate(page, 512, 0, HIGH_WATER, NEWEST), 0);
    assert_int_equal(kvi_node_count(page), 0);
    assert_int_equal(kvi_seq_split_point(&one, KVI_SPLIT_APPEND), 0);
    assert_true(kvi_node_build(&one, 0, 1, page));
    assert_int_equal(kvi_leaf_search(page, 512, (kvi_slice){NULL, 0}, &found), 0);
    assert_true(found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_sequences),
        cmocka_unit_test(fewer_elements_fit),
        cmocka_unit_test(parts_of_edited_pages),
        cmocka_unit_test(even_split_is_even),
        cmocka_unit_test(three_pages),
        cmocka_unit_test(uneven_lengths),
        cmocka_unit_test(groups_are_not_divided),
        cmocka_unit_test(run_is_divided_behind_the_newcomer),
        cmocka_unit_test(empty_and_single),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
