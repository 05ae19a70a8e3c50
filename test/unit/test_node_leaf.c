/* Leaves against a sorted array: random inserts, replacements, removals, packing. */
#include "node_model.h"
#include "node_scan.h"
#include "rounds.h"

typedef struct leaf_test {
    uint8_t *page, *scratch, *before;
    model m;
    enum key_kind keys;
    enum value_kind values;
} leaf_test;

static leaf_test leaf_test_new(uint32_t page_size, enum key_kind keys, enum value_kind values)
{
    leaf_test t = {exact(page_size),
                   exact(page_size),
                   exact(page_size),
                   model_new(page_size, 0),
                   keys,
                   values};
    memset(t.page, 0xa5, page_size);
    kvi_leaf_init(t.page, page_size);
    return t;
}

static void leaf_test_free(leaf_test *t)
{
    free(t->page);
    free(t->scratch);
    free(t->before);
    model_free(&t->m);
}

/* A refusal leaves the page alone, and is right: the elements do not fit. */
static void refused(const leaf_test *t)
{
    assert_memory_equal(t->page, t->before, t->m.page_size);
    assert_true(model_bytes(&t->m, 0, t->m.n, false) > t->m.page_size);
}

static uint64_t appended; /* entries that came the short way */

/* Each way that may do it. */
static bool leaf_add(leaf_test *t, unsigned pos, const kvi_item *item)
{
    uint32_t size = t->m.page_size;
    if (t->m.n == 0 && chance(2)) {
        kvi_leaf_open(t->page, size, item, chance(2) ? chance(kvi_key_max(size) + 1) : chance(20));
        return true;
    }
    if (!item->special && kvi_leaf_append(t->page, size, item->key, item->value)) {
        assert_int_equal(pos, t->m.n);
        appended++;
        return true;
    }
    assert_memory_equal(t->page, t->before, size);
    return kvi_leaf_insert(t->page, size, t->scratch, pos, item);
}

static void step_insert(leaf_test *t)
{
    bool found;
    element e = element_random(&t->m, t->keys, t->values);
    kvi_item item = element_item(&e);
    unsigned pos = kvi_leaf_search(t->page, t->m.page_size, item.key, &found);
    assert_int_equal(pos, model_lower(&t->m, 0, item.key, &found));
    if (found) {
        assert_false(kvi_leaf_append(t->page, t->m.page_size, item.key, item.value));
        element_free(&e);
        return;
    }
    bool done = leaf_add(t, pos, &item);
    model_insert(&t->m, pos, e);
    if (!done) {
        refused(t);
        model_remove(&t->m, pos);
    }
}

static void step_replace(leaf_test *t)
{
    unsigned pos = chance(t->m.n);
    element *e = &t->m.at[pos], old = *e;
    uint32_t room = kvi_leaf_max(t->m.page_size) - (uint32_t)e->key.len;
    e->value = value_random(t->values, room);
    e->special = t->values >= VALUE_SHORT && chance(8) == 0;
    kvi_item item = element_item(e);
    if (kvi_leaf_replace(t->page, t->m.page_size, t->scratch, pos, &item)) {
        free(old.value.ptr);
        return;
    }
    refused(t);
    free(e->value.ptr);
    *e = old;
}

static void step_remove(leaf_test *t)
{
    unsigned pos = chance(t->m.n);
    kvi_leaf_remove(t->page, t->m.page_size, pos);
    model_remove(&t->m, pos);
}

/* Packing changes nothing but the free space, which is zero and in one piece. */
static void step_pack(leaf_test *t)
{
    uint32_t size = t->m.page_size, used = kvi_node_used(t->page, size), zeros = 0;
    kvi_node_pack(t->page, size, t->scratch);
    assert_int_equal(kvi_node_used(t->page, size), used);
    assert_int_equal(kvi_get16(t->page + KVI_P_dead), 0);
    uint32_t gap_end = size - kvi_get16(t->page + KVI_P_heap);
    while (zeros < gap_end && t->page[gap_end - zeros - 1] == 0)
        zeros++;
    assert_true(zeros >= size - used);
}

static void step(leaf_test *t, unsigned removals)
{
    memcpy(t->before, t->page, t->m.page_size);
    unsigned what = chance(100);
    if (t->m.n == 0 || what >= 20 + removals)
        step_insert(t);
    else if (what < removals)
        step_remove(t);
    else if (what < removals + 18)
        step_replace(t);
    else
        step_pack(t);
}

/* The short way to the entries of a plain leaf, and a scan of it, give what the general one does. */
static unsigned plain_same(const leaf_test *t)
{
    static uint8_t keys[(1 << 20) + KVI_PAGE_MAX];
    static kv_pair pairs[KVI_PAGE_MAX];
    uint8_t *room = exact(kvi_key_max(t->m.page_size) + KVI_SCAN_SLACK);
    uint8_t *other = exact(kvi_key_max(t->m.page_size));
    kvi_plain plain;
    kvi_plain_look(&plain, t->page, t->m.page_size);
    for (unsigned i = 0; i < plain.slots; i++) {
        bool special;
        uint32_t at = kvi_plain_at(&plain, i);
        kvi_slice value = kvi_leaf_value(t->page, t->m.page_size, i, &special);
        assert_true(at > 0 && !special);
        assert_true(kvi_plain_value(&plain, at).ptr == value.ptr);
        assert_int_equal(kvi_plain_value(&plain, at).len, value.len);
        kvi_plain_key(&plain, i, at, room);
        assert_int_equal(kvi_node_key(t->page, t->m.page_size, i, other), plain.key_len);
        assert_memory_equal(room, other, plain.key_len);
    }
    kvi_scan scan = {.n = kvi_node_count(t->page), .up = true, .pairs = pairs, .keys = keys};
    scan.room = sizeof keys;
    unsigned n = kvi_leaf_scan(&plain, &scan);
    assert_true(n == scan.n || t->m.at[n].special ||
                scan.room - scan.used < kvi_key_max(t->m.page_size) + KVI_SCAN_SLACK);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(pairs[i].key.len, t->m.at[i].key.len);
        assert_memory_equal(pairs[i].key.ptr, t->m.at[i].key.ptr, pairs[i].key.len);
        assert_int_equal(pairs[i].value.len, t->m.at[i].value.len);
        assert_memory_equal(pairs[i].value.ptr, t->m.at[i].value.ptr, pairs[i].value.len);
    }
    free(room);
    free(other);
    return plain.slots;
}

static uint64_t plain_slots; /* seen in plain leaves */

static void leaf_random(uint32_t page_size, enum key_kind keys, enum value_kind values)
{
    leaf_test t = leaf_test_new(page_size, keys, values);
    unsigned steps = page_size <= 1024 ? 600 : rounds_of(KVI_MIN(page_size / 8, 2000));
    for (unsigned i = 0; i < steps; i++) {
        unsigned phase = i * 4 / steps; /* growing, mixed, shrinking, growing */
        step(&t, phase == 2 ? 60 : phase == 1 ? 40 : 10);
        if (page_size <= 1024 || i % 256 == 0)
            leaf_same(t.page, &t.m);
        if (i % 32 == 0 && page_size <= 1024)
            search_all(t.page, &t.m);
        if (i % 32 == 0)
            plain_slots += plain_same(&t);
    }
    leaf_same(t.page, &t.m);
    search_all(t.page, &t.m);
    while (t.m.n > 0)
        step_remove(&t);
    leaf_same(t.page, &t.m);
    leaf_test_free(&t);
}

static void every_size_key_and_value(void **state)
{
    (void)state;
    chance_state = 1;
    for (size_t p = 0; p < KVI_COUNT(page_sizes); p++)
        for (int keys = 0; keys < KEY_KINDS; keys++)
            for (int values = 0; values < VALUE_KINDS; values++)
                leaf_random(page_sizes[p], (enum key_kind)keys, (enum value_kind)values);
    assert_true(plain_slots > 0);
    assert_true(appended > 0);
}

/* Appends keys of len bytes in ascending order until the page is full; returns how many rebuilds
 * that took, as seen by a change of the prefix or the fixed lengths. */
static unsigned append_all(uint32_t page_size, size_t len, unsigned *count)
{
    uint8_t *page = exact(page_size), *scratch = exact(page_size), key[16] = {0}, value[8] = {1};
    uint64_t shape, last = 0;
    unsigned rebuilds = 0;
    kvi_leaf_init(page, page_size);
    for (uint32_t n = 12345;; n++) {
        kvi_put32be(key + len - 4, n);
        kvi_item item = {.key = kvi_slice_of(key, len), .value = kvi_slice_of(value, 8)};
        if (!kvi_leaf_insert(page, page_size, scratch, kvi_node_count(page), &item))
            break;
        memcpy(&shape, page + KVI_P_prefix_len, 6);
        rebuilds += shape != last;
        last = shape;
    }
    *count = kvi_node_count(page);
    free(page);
    free(scratch);
    return rebuilds;
}

static void ascending_keys_do_not_rebuild(void **state)
{
    unsigned count;
    (void)state;
    assert_int_equal(append_all(4096, 8, &count), 1);
    assert_int_equal(count, (4096 - 128) / 14);
    assert_int_equal(append_all(65536, 16, &count), 1);
    assert_int_equal(count, (65536 - 128) / 14);
}

static void head_only_leaf_has_no_offsets(void **state)
{
    uint8_t *page = exact(4096), *scratch = exact(4096), key[4];
    unsigned n = 0;
    (void)state;
    kvi_leaf_init(page, 4096);
    for (;; n++) {
        kvi_put32be(key, n * 1000003);
        kvi_item item = {.key = kvi_slice_of(key, 4)};
        bool found;
        unsigned pos = kvi_leaf_search(page, 4096, item.key, &found);
        if (!kvi_leaf_insert(page, 4096, scratch, pos, &item))
            break;
    }
    assert_int_equal(n, (4096 - 128) / 4);
    assert_int_equal(kvi_node_used(page, 4096), 4096);
    assert_int_equal(kvi_node_validate(page, 4096, 0, HIGH_WATER, NEWEST), 0);
    free(page);
    free(scratch);
}

static void run_is(const uint8_t *page, unsigned end, unsigned len)
{
    assert_int_equal(kvi_get16(page + KVI_P_run_end), end);
    assert_int_equal(kvi_get16(page + KVI_P_run_len), len);
    assert_int_equal(kvi_leaf_run(page, end), KVI_MIN(len + 1, KVI_RUN));
    assert_int_equal(kvi_leaf_run(page, end + 1), 1);
}

/* Each way to insert counts as one, a leaf that is built anew included. */
static void runs_are_remembered(void **state)
{
    static const struct {
        const char *key;
        unsigned pos, end, len;
    } inserts[] = {
        {"m10", 0, 1, 1}, {"m90", 1, 2, 2}, {"m20", 1, 2, 1},  {"m21", 2, 3, 2}, {"m30", 3, 4, 3},
        {"m31", 4, 5, 3}, {"a", 0, 1, 1},   {"m295", 4, 5, 1}, {"m", 1, 2, 1},   {"m1", 2, 3, 2},
    };
    uint8_t *page = exact(512), *scratch = exact(512);
    (void)state;
    kvi_leaf_init(page, 512);
    for (size_t i = 0; i < KVI_COUNT(inserts); i++) {
        kvi_item item = {.key = kvi_slice_of(inserts[i].key, strlen(inserts[i].key)),
                         .value = kvi_slice_of("x", 1)};
        bool found;
        assert_int_equal(kvi_leaf_search(page, 512, item.key, &found), inserts[i].pos);
        assert_true(kvi_leaf_insert(page, 512, scratch, inserts[i].pos, &item));
        run_is(page, inserts[i].end, inserts[i].len);
    }
    kvi_leaf_remove(page, 512, 0); /* before the run's end: it moves along */
    run_is(page, 2, 2);
    kvi_leaf_remove(page, 512, 2); /* behind it */
    run_is(page, 2, 2);
    kvi_item longer = {.key = kvi_slice_of("m", 1), .value = kvi_slice_of(inserts, 40)};
    assert_true(kvi_leaf_replace(page, 512, scratch, 0, &longer));
    run_is(page, 2, 2);
    kvi_leaf_init(page, 512);
    run_is(page, 0, 0);
    for (unsigned i = 0; i < 5; i++) {
        char key[4] = {'k', (char)('0' + i), 0, 0};
        kvi_item item = {.key = kvi_slice_of(key, 2), .value = kvi_slice_of("x", 1)};
        if (i == 0 || !kvi_leaf_append(page, 512, item.key, item.value))
            assert_true(kvi_leaf_insert(page, 512, scratch, i, &item));
        run_is(page, i + 1, KVI_MIN(i + 1, KVI_RUN));
    }
    free(page);
    free(scratch);
}

static void reserved_value_is_zero(void **state)
{
    uint8_t *page = exact(512), *scratch = exact(512);
    bool special;
    (void)state;
    memset(page, 0xee, 512);
    kvi_leaf_init(page, 512);
    for (unsigned i = 0; i < 2; i++) { /* through scratch, then in place */
        kvi_item item = {.key = kvi_slice_of(i ? "b" : "a", 1), .value = {NULL, 50}};
        assert_true(kvi_leaf_insert(page, 512, scratch, i, &item));
        kvi_slice value = kvi_leaf_value(page, 512, i, &special);
        assert_int_equal(value.len, 50);
        for (size_t k = 0; k < value.len; k++)
            assert_int_equal(value.ptr[k], 0);
    }
    free(page);
    free(scratch);
}

/* The new value may be a piece of the old one, or of another entry. */
static void value_may_come_from_the_page(void **state)
{
    uint8_t *page = exact(512), *scratch = exact(512), bytes[60];
    bool special;
    (void)state;
    for (uint8_t i = 0; i < sizeof bytes; i++)
        bytes[i] = i;
    for (size_t take = 0; take <= 60; take += 5) {
        kvi_leaf_init(page, 512);
        kvi_item a = {.key = kvi_slice_of("a", 1), .value = kvi_slice_of(bytes, 60)};
        kvi_item b = {.key = kvi_slice_of("bcdefgh", 7), .value = kvi_slice_of(bytes, 50)};
        assert_true(kvi_leaf_insert(page, 512, scratch, 0, &a));
        assert_true(kvi_leaf_insert(page, 512, scratch, 1, &b));
        kvi_slice from = kvi_leaf_value(page, 512, take % 2, &special);
        size_t at = KVI_MIN(from.len - KVI_MIN(take, from.len), 7);
        b.value = kvi_slice_of(from.ptr + at, KVI_MIN(take, from.len - at));
        assert_true(kvi_leaf_replace(page, 512, scratch, 1, &b));
        kvi_slice value = kvi_leaf_value(page, 512, 1, &special);
        assert_int_equal(value.len, b.value.len);
        assert_memory_equal(value.ptr, bytes + at, value.len);
        assert_int_equal(kvi_node_validate(page, 512, 0, HIGH_WATER, NEWEST), 0);
    }
    free(page);
    free(scratch);
}

static void identity_survives_a_rebuild(void **state)
{
    uint8_t *page = exact(512), *scratch = exact(512);
    (void)state;
    kvi_leaf_init(page, 512);
    kvi_put64(page + KVI_P_checksum, 11);
    kvi_put64(page + KVI_P_birth, 22);
    kvi_put64(page + KVI_P_page, 33);
    kvi_item item = {.key = kvi_slice_of("key", 3)};
    assert_true(kvi_leaf_insert(page, 512, scratch, 0, &item));
    assert_int_equal(kvi_get64(page + KVI_P_checksum), 11);
    assert_int_equal(kvi_get64(page + KVI_P_birth), 22);
    assert_int_equal(kvi_get64(page + KVI_P_page), 33);
    free(page);
    free(scratch);
}

/* Two of the largest entries share a node, whatever their keys. */
static void two_largest_entries_fit(void **state)
{
    (void)state;
    for (size_t p = 0; p < KVI_COUNT(page_sizes); p++) {
        uint32_t size = page_sizes[p];
        for (uint32_t len = 1; len <= kvi_key_max(size); len += 1 + len / 3) {
            uint8_t *page = exact(size), *scratch = exact(size), *key = exact(len);
            memset(key, 'k', len);
            kvi_leaf_init(page, size);
            for (uint8_t i = 0; i < 2; i++) {
                key[chance(2) ? 0 : len - 1] = (uint8_t)('x' + i);
                kvi_item item = {
                    .key = {key, len}, .value = {NULL, kvi_leaf_max(size) - len}, .special = true};
                assert_true(kvi_leaf_insert(page, size, scratch, i, &item));
            }
            assert_int_equal(kvi_node_validate(page, size, 0, HIGH_WATER, NEWEST), 0);
            free(page);
            free(scratch);
            free(key);
        }
    }
}

/* Every key follows an empty leaf, of whatever shape its last entry has left it. */
static void all_follows_an_empty_leaf(void **state)
{
    uint8_t *page = exact(512), *scratch = exact(512);
    kvi_slice keys[] = {{(const uint8_t *)"bbbbbbbb", 8}, {(const uint8_t *)"aaaaaaaa", 8}};
    kvi_item item = {.key = keys[0], .value = {keys[0].ptr, 8}};
    (void)state;
    kvi_leaf_init(page, 512);
    assert_true(kvi_leaf_follows(page, 512, keys[0]));
    assert_true(kvi_leaf_insert(page, 512, scratch, 0, &item));
    assert_false(kvi_leaf_follows(page, 512, keys[0]));
    assert_false(kvi_leaf_follows(page, 512, keys[1]));
    kvi_leaf_remove(page, 512, 0);
    assert_true(kvi_leaf_follows(page, 512, keys[1]));
    free(page);
    free(scratch);
}

static uint8_t *leaf_of_two(void)
{
    uint8_t *page = exact(512), *scratch = exact(512);
    kvi_leaf_init(page, 512);
    for (unsigned i = 0; i < 2; i++) {
        kvi_item item = {.key = kvi_slice_of(i ? "key-b" : "key-a", 5),
                         .value = kvi_slice_of("value", 5)};
        assert_true(kvi_leaf_insert(page, 512, scratch, i, &item));
    }
    free(scratch);
    return page;
}

/* A page that changed after it was verified: lengths that leave the page, or that no key has, are none
 * that the short way goes by. */
static void changed_lengths_are_not_plain(void **state)
{
    static const struct {
        size_t field;
        uint16_t bytes;
    } changes[] = {{KVI_P_fixed_key, 600}, {KVI_P_fixed_value, 600}, {KVI_P_prefix_len, 600}};
    kvi_plain plain;
    (void)state;
    uint8_t *page = leaf_of_two();
    kvi_plain_look(&plain, page, 512);
    assert_int_equal(plain.slots, 2);
    for (size_t i = 0; i < KVI_COUNT(changes); i++) {
        uint16_t before = kvi_get16(page + changes[i].field);
        kvi_put16(page + changes[i].field, changes[i].bytes);
        kvi_plain_look(&plain, page, 512);
        assert_int_equal(plain.slots, 0);
        kvi_put16(page + changes[i].field, before);
    }
    free(page);
}

/* The same page, which seems to have more entries than it has room for: it counts as having none. */
static void all_follows_a_changed_leaf(void **state)
{
    (void)state;
    uint8_t *page = leaf_of_two();
    assert_false(kvi_leaf_follows(page, 512, kvi_slice_of("a", 1)));
    kvi_put16(page + KVI_P_count, 200);
    assert_int_equal(kvi_leaf_follows(page, 512, kvi_slice_of("a", 1)), kvi_node_count(page) == 0);
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_follows_an_empty_leaf),
        cmocka_unit_test(every_size_key_and_value),
        cmocka_unit_test(ascending_keys_do_not_rebuild),
        cmocka_unit_test(head_only_leaf_has_no_offsets),
        cmocka_unit_test(runs_are_remembered),
        cmocka_unit_test(reserved_value_is_zero),
        cmocka_unit_test(value_may_come_from_the_page),
        cmocka_unit_test(identity_survives_a_rebuild),
        cmocka_unit_test(two_largest_entries_fit),
        cmocka_unit_test(changed_lengths_are_not_plain),
        cmocka_unit_test(all_follows_a_changed_leaf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
