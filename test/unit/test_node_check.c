/* The validator: sound nodes pass, each broken invariant is named, and whatever a page holds,
 * nobody reads or writes outside it. */
#include <stdio.h>

#include "node_model.h"
#include "rounds.h"

typedef struct subject {
    uint32_t page_size;
    unsigned level;
    uint8_t *page, *scratch, *key;
    enum key_kind keys;
    enum value_kind values;
} subject;

/* A random node, edited in place so that it has dead bytes and unordered entries. */
static subject subject_new(uint32_t page_size, unsigned level)
{
    subject s = {page_size,
                 level,
                 exact(page_size),
                 exact(page_size),
                 exact(kvi_key_max(page_size)),
                 (enum key_kind)chance(KEY_KINDS),
                 (enum value_kind)chance(VALUE_KINDS)};
    memset(s.page, 0, page_size);
    if (level > 0)
        kvi_branch_init(s.page, page_size, level, child_random(page_size), 1);
    else
        kvi_leaf_init(s.page, page_size);
    return s;
}

static void subject_free(subject *s)
{
    free(s->page);
    free(s->scratch);
    free(s->key);
}

static int validate(const subject *s)
{
    return kvi_node_validate(s->page, s->page_size, -1, HIGH_WATER, NEWEST);
}

/* One random change through the interface; the positions are right if the page is. */
static void subject_edit(subject *s)
{
    model m = {.level = s->level, .page_size = s->page_size};
    element e = element_random(&m, s->keys, s->values);
    kvi_item item = element_item(&e);
    unsigned count = kvi_node_count(s->page), what = chance(10), at;
    bool found = false;
    if (s->level > 0) {
        at = kvi_branch_search(s->page, s->page_size, item.key);
        if (at > 0 && at <= count) {
            size_t len = kvi_node_key(s->page, s->page_size, at - 1, s->key);
            found = kvi_slice_compare(kvi_slice_of(s->key, len), item.key) == 0;
        }
        if (what < 6 && !found)
            (void)!kvi_branch_insert(s->page, s->page_size, s->scratch, at, &item);
        else if (what < 9 && count > 0)
            kvi_branch_remove(s->page, s->page_size, chance(count + 1));
        else
            kvi_node_pack(s->page, s->page_size, s->scratch);
    } else {
        at = kvi_leaf_search(s->page, s->page_size, item.key, &found);
        if (what < 6 && !found)
            (void)!kvi_leaf_insert(s->page, s->page_size, s->scratch, at, &item);
        else if (found)
            (void)!kvi_leaf_replace(s->page, s->page_size, s->scratch, at, &item);
        else if (what < 9 && count > 0)
            kvi_leaf_remove(s->page, s->page_size, chance(count));
        else
            kvi_node_pack(s->page, s->page_size, s->scratch);
    }
    element_free(&e);
}

static void subject_fill(subject *s)
{
    for (unsigned i = chance(KVI_MIN(s->page_size / 4, 600)); i > 0; i--)
        subject_edit(s);
    assert_int_equal(validate(s), 0);
}

/* Flips, overwrites or copies some bytes, mostly where they hurt. */
static void subject_damage(subject *s)
{
    unsigned count = kvi_node_count(s->page);
    for (unsigned n = 1 + chance(3); n > 0; n--) {
        unsigned where = chance(4);
        unsigned span = where == 0   ? KVI_HEADER_SIZE
                        : where == 1 ? KVI_MIN(s->page_size, 128 + 6 * count)
                                     : s->page_size;
        uint8_t *p = &s->page[8 + chance(span - 8)];
        if (chance(2))
            *p ^= (uint8_t)(1 << chance(8));
        else if (chance(2))
            *p = s->page[chance(s->page_size)];
        else
            *p = (uint8_t)(chance(2) ? 0xff : chance(256));
    }
}

static volatile uint64_t sum; /* keeps the reads from being optimised away */

/* Calls everything that reads. The sanitizer is the judge; the answers are arbitrary. */
static void read_everything(const subject *s)
{
    const uint8_t *page = s->page;
    uint32_t size = s->page_size;
    unsigned count = kvi_node_count(page);
    bool flag;
    for (unsigned i = 0; i <= count; i += 1 + chance(1 + count / 16)) {
        size_t len = kvi_node_key(page, size, i, s->key);
        assert_true(len <= kvi_key_max(size));
        sum += kvi_leaf_search(page, size, kvi_slice_of(s->key, len), &flag);
        sum += kvi_branch_search(page, size, kvi_slice_of(s->key, len));
        kvi_slice value = kvi_leaf_value(page, size, i, &flag);
        for (size_t k = 0; k < value.len; k++)
            sum += value.ptr[k];
        sum += kvi_branch_child(page, size, i).page + kvi_branch_tally(page, size, i);
        sum += kvi_branch_expiry(page, size, i);
    }
    uint64_t nth = 1000;
    sum += kvi_branch_rank(page, size, count) + kvi_branch_nth(page, size, &nth);
    sum += kvi_node_used(page, size) + kvi_branch_same_len(page);
}

/* The same for what builds out of the page and what writes into it. */
static void edit_everything(subject *s)
{
    uint8_t *out = exact(s->page_size), *sep = exact(kvi_key_max(s->page_size));
    unsigned n = kvi_node_count(s->page) + (s->level > 0);
    kvi_part part = {.page = s->page, .to = n};
    kvi_seq seq = {&part, 1, s->level, s->page_size, 0};
    if (n >= 2 && n < 2000) {
        unsigned at = kvi_seq_split_point(&seq, (enum kvi_split)chance(3));
        kvi_seq_separator(&seq, at ? at : 1, chance(20), sep);
        (void)!kvi_node_build(&seq, 0, n, out);
        (void)!kvi_seq_fit(&seq, 0);
    }
    for (unsigned i = 0; i < 8; i++)
        subject_edit(s);
    if (s->level > 0) {
        kvi_branch_set_child(s->page, s->page_size, chance(n), (kvi_ptr){1, 1});
        kvi_branch_set_tally(s->page, s->page_size, chance(n), 1);
        (void)!kvi_branch_set_key(s->page, s->page_size, s->scratch, chance(n),
                                  kvi_slice_of("some key", 8));
    }
    free(out);
    free(sep);
}

/* What the invariants promise of a page that passed. */
static void consistent(const subject *s)
{
    uint8_t *before = exact(kvi_key_max(s->page_size));
    size_t before_len = 0;
    unsigned count = kvi_node_count(s->page);
    for (unsigned i = 0; i < count; i++) {
        bool found;
        size_t len = kvi_node_key(s->page, s->page_size, i, s->key);
        kvi_slice key = kvi_slice_of(s->key, len);
        if (i > 0)
            assert_true(kvi_slice_compare(kvi_slice_of(before, before_len), key) < 0);
        if (s->level > 0) {
            assert_int_equal(kvi_branch_search(s->page, s->page_size, key), i + 1);
        } else {
            assert_int_equal(kvi_leaf_search(s->page, s->page_size, key, &found), i);
            assert_true(found);
        }
        memcpy(before, s->key, len);
        before_len = len;
    }
    for (unsigned i = 0; s->level > 0 && i <= count; i++) {
        kvi_ptr child = kvi_branch_child(s->page, s->page_size, i);
        assert_in_range(child.page, kvi_first_page(s->page_size), HIGH_WATER - 1);
        assert_in_range(child.birth, 1, NEWEST);
    }
    assert_true(kvi_node_used(s->page, s->page_size) <= s->page_size);
    free(before);
}

/* Damaged pages: those that pass are nodes and stay nodes when changed; the others harm nobody. */
static void damaged_pages(void **state)
{
    unsigned passed = 0, refused = 0;
    (void)state;
    chance_state = 6;
    for (unsigned round = 0; round < 400; round++) {
        uint32_t page_size = page_sizes[round % 8 < 5 ? chance(4) : chance(8)];
        subject s = subject_new(page_size, chance(2) ? 0 : 1 + chance(3));
        subject_fill(&s);
        uint8_t *sound = exact(page_size);
        memcpy(sound, s.page, page_size);
        for (unsigned i = 0; i < 40; i++) {
            memcpy(s.page, sound, page_size);
            subject_damage(&s);
            int broken = validate(&s);
            unsigned level = kvi_node_level(s.page);
            assert_in_range(broken, 0, 7);
            read_everything(&s);
            if (broken == 0 && level == s.level) {
                passed++;
                consistent(&s);
                for (unsigned k = 0; k < 10; k++) {
                    subject_edit(&s);
                    assert_int_equal(validate(&s), 0);
                }
            } else {
                refused++;
                edit_everything(&s);
                (void)validate(&s);
                read_everything(&s);
            }
        }
        free(sound);
        subject_free(&s);
    }
    assert_true(passed > 500 && refused > 500);
}

static void noise(void **state)
{
    (void)state;
    chance_state = 7;
    for (unsigned round = 0; round < rounds_of(3000); round++) {
        subject s = subject_new(page_sizes[chance(round % 16 ? 4 : 8)], chance(3));
        chance_bytes(s.page + 8 * chance(8), s.page_size - 64);
        if (chance(2)) { /* a likely header before the noise */
            s.page[KVI_P_type] = s.level ? KVI_BRANCH : KVI_LEAF;
            s.page[KVI_P_level] = (uint8_t)s.level;
            kvi_put16(s.page + KVI_P_flags, (uint16_t)(s.level ? chance(2) : 0));
            kvi_put16(s.page + KVI_P_count, (uint16_t)chance(s.page_size / 16));
            kvi_put16(s.page + KVI_P_prefix_len, (uint16_t)chance(30));
            kvi_put16(s.page + KVI_P_heap, (uint16_t)chance(s.page_size));
        }
        assert_in_range(validate(&s), 0, 7);
        read_everything(&s);
        edit_everything(&s);
        subject_free(&s);
    }
}

/* ---- one broken invariant at a time ---- */

/* A leaf of 40 variable entries, or a branch of 40 separators. */
static subject sample(unsigned level)
{
    subject s = subject_new(4096, level);
    char key[32];
    for (unsigned i = 0; i < 40; i++) {
        size_t len = (size_t)snprintf(key, sizeof key, "the prefix of all %02u%.*s", i,
                                      (int)(i % 7), "abcdef");
        kvi_item item = {.key = kvi_slice_of(key, len),
                         .value = kvi_slice_of("value", level ? 0 : i % 6),
                         .child = {50 + i, 1 + i}};
        if (level > 0)
            assert_true(kvi_branch_insert(s.page, 4096, s.scratch, i, &item));
        else
            assert_true(kvi_leaf_insert(s.page, 4096, s.scratch, i, &item));
    }
    assert_int_equal(validate(&s), 0);
    return s;
}

/* Numbers that the node does not have change nothing. */
static void test_numbers_beyond(void **state)
{
    for (unsigned level = 0; level < 2; level++) {
        subject s = sample(level);
        uint8_t before[4096];
        kvi_item item = {.key = kvi_slice_of("the prefix of all 5", 19), .child = {7, 1}};
        memcpy(before, s.page, sizeof before);
        if (level == 0) {
            assert_false(kvi_leaf_insert(s.page, 4096, s.scratch, 42, &item));
            assert_false(kvi_leaf_replace(s.page, 4096, s.scratch, 40, &item));
            kvi_leaf_remove(s.page, 4096, 40);
        } else {
            assert_false(kvi_branch_insert(s.page, 4096, s.scratch, 42, &item));
            kvi_branch_remove(s.page, 4096, 41);
            kvi_branch_remove(s.page, 4096, 42);
        }
        assert_memory_equal(s.page, before, sizeof before);
        subject_free(&s);
    }
}

static uint8_t *heads_of(const subject *s)
{
    return s->page + 128;
}

static uint8_t *entry_of(const subject *s, unsigned i)
{
    return s->page + kvi_get16(heads_of(s) + 4 * 40 + 2 * i);
}

static void add16(uint8_t *p, int delta)
{
    kvi_put16(p, (uint16_t)(kvi_get16(p) + delta));
}

typedef void damage(subject *s);

static void expect(unsigned level, damage *apply, int number)
{
    subject s = sample(level);
    apply(&s);
    assert_int_equal(validate(&s), number);
    subject_free(&s);
}

static void other_type(subject *s)
{
    s->page[KVI_P_type] ^= 3;
}

static void high_level(subject *s)
{
    s->page[KVI_P_level] = KVI_LEVEL_MAX + 1;
}

static void unknown_flag(subject *s)
{
    kvi_put16(s->page + KVI_P_flags, 4);
}

static void type_and_level(void **state)
{
    (void)state;
    expect(0, other_type, 1);
    expect(1, other_type, 1);
    expect(1, high_level, 1);
    expect(0, unknown_flag, 1);
    expect(1, unknown_flag, 1);
    subject s = sample(2);
    assert_int_equal(kvi_node_validate(s.page, 4096, 2, HIGH_WATER, NEWEST), 0);
    assert_int_equal(kvi_node_validate(s.page, 4096, 1, HIGH_WATER, NEWEST), 1);
    assert_int_equal(kvi_node_validate(s.page, 4096, 0, HIGH_WATER, NEWEST), 1);
    subject_free(&s);
}

static void many_slots(subject *s)
{
    kvi_put16(s->page + KVI_P_count, 2000);
}

static void big_heap(subject *s)
{
    kvi_put16(s->page + KVI_P_heap, 4000);
}

static void small_heap(subject *s)
{
    kvi_put16(s->page + KVI_P_heap, 1);
}

static void big_prefix(subject *s)
{
    kvi_put16(s->page + KVI_P_prefix_len, (uint16_t)(kvi_key_max(4096) + 1));
}

static void more_dead(subject *s)
{
    add16(s->page + KVI_P_dead, 1);
}

static void less_heap(subject *s)
{
    add16(s->page + KVI_P_heap, 1); /* the byte below belongs to nobody */
}

static void bounds(void **state)
{
    static damage *const all[] = {many_slots, big_heap,  small_heap,
                                  big_prefix, more_dead, less_heap};
    (void)state;
    for (unsigned level = 0; level < 2; level++)
        for (size_t i = 0; i < KVI_COUNT(all); i++)
            expect(level, all[i], 2);
}

static void offset_low(subject *s)
{
    kvi_put16(heads_of(s) + 4 * 40 + 2 * 5, 300);
}

static void offset_high(subject *s)
{
    kvi_put16(heads_of(s) + 4 * 40 + 2 * 5, 4095);
}

static void offset_shared(subject *s)
{
    memcpy(heads_of(s) + 4 * 40 + 2 * 5, heads_of(s) + 4 * 40 + 2 * 6, 2);
}

static void long_key(subject *s)
{
    entry_of(s, 3)[0] = 0x7f;
}

static void long_number(subject *s)
{
    memset(entry_of(s, 3), 0xff, 4);
}

static void branch_with_value_length(subject *s)
{
    kvi_put16(s->page + KVI_P_fixed_value, 1);
}

static void entries(void **state)
{
    static damage *const all[] = {offset_low, offset_high, offset_shared, long_key, long_number};
    (void)state;
    for (unsigned level = 0; level < 2; level++)
        for (size_t i = 0; i < KVI_COUNT(all); i++)
            expect(level, all[i], 3);
    expect(1, branch_with_value_length, 3);
}

static void heads_swapped(subject *s)
{
    uint8_t head[4], *p = heads_of(s) + 4 * 9; /* of two long keys */
    memcpy(head, p, 4);
    memmove(p, p + 4, 4);
    memcpy(p + 4, head, 4);
}

static void head_wrong(subject *s)
{
    heads_of(s)[4 * 11 + 2] ^= 0x80;
}

static void hint_wrong(subject *s)
{
    s->page[KVI_HEADER_SIZE + 21] ^= 1;
}

static void stride_wide(subject *s)
{
    kvi_put16(s->page + KVI_P_hint_stride, 3);
}

static void padding_set(subject *s)
{
    heads_of(s)[0] |= 1; /* entry 0 is short: the last byte of its head is padding */
}

static void order_hints_padding(void **state)
{
    (void)state;
    for (unsigned level = 0; level < 2; level++) {
        expect(level, heads_swapped, 4);
        expect(level, head_wrong, 4);
        expect(level, hint_wrong, 5);
        expect(level, stride_wide, 5);
        expect(level, padding_set, 6);
    }
}

static void tails_out_of_order(void **state)
{
    subject s = subject_new(512, 0);
    static const char *const keys[] = {"sameabcd1", "sameabcd2"};
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        kvi_item item = {.key = kvi_slice_of(keys[i], 9), .value = kvi_slice_of("v", i)};
        assert_true(kvi_leaf_insert(s.page, 512, s.scratch, i, &item));
    }
    /* give it the prefix "", so that both heads are the same */
    kvi_item first = {.key = kvi_slice_of("a", 1)};
    assert_true(kvi_leaf_insert(s.page, 512, s.scratch, 0, &first));
    kvi_leaf_remove(s.page, 512, 0);
    assert_int_equal(validate(&s), 0);
    uint8_t *heap = s.page + 512 - kvi_get16(s.page + KVI_P_heap);
    uint8_t *one = memchr(heap, '1', 512 - (size_t)(heap - s.page));
    *one = '2';
    assert_int_equal(validate(&s), 4); /* equal */
    *one = '3';
    assert_int_equal(validate(&s), 4);
    subject_free(&s);
}

static void child_set(kvi_ptr child, int number)
{
    subject s = sample(1);
    kvi_branch_set_child(s.page, 4096, 40, child);
    assert_int_equal(validate(&s), number);
    subject_free(&s);
}

static void children(void **state)
{
    (void)state;
    child_set((kvi_ptr){kvi_first_page(4096), 1}, 0);
    child_set((kvi_ptr){HIGH_WATER - 1, NEWEST}, 0);
    child_set((kvi_ptr){kvi_first_page(4096) - 1, 1}, 7);
    child_set((kvi_ptr){HIGH_WATER, 1}, 7);
    child_set((kvi_ptr){100, 0}, 7);
    child_set((kvi_ptr){100, NEWEST + 1}, 7);
}

/* Key and value together above the limit of a leaf, although they fit the page. */
static void entry_above_the_limit(void **state)
{
    subject s = subject_new(4096, 0);
    kvi_item item = {.key = kvi_slice_of("k", 1), .value = {NULL, kvi_leaf_max(4096)}};
    (void)state;
    assert_true(kvi_leaf_insert(s.page, 4096, s.scratch, 0, &item));
    assert_int_equal(validate(&s), 3);
    item.value.len--;
    assert_true(kvi_leaf_replace(s.page, 4096, s.scratch, 0, &item));
    assert_int_equal(validate(&s), 0);
    subject_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_beyond),
        cmocka_unit_test(damaged_pages),
        cmocka_unit_test(noise),
        cmocka_unit_test(type_and_level),
        cmocka_unit_test(bounds),
        cmocka_unit_test(entries),
        cmocka_unit_test(order_hints_padding),
        cmocka_unit_test(tails_out_of_order),
        cmocka_unit_test(children),
        cmocka_unit_test(entry_above_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
