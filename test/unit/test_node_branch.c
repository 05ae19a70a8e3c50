/* Branches against a sorted array: separators, children, tallies, expiries, ranks. */
#include "node_model.h"
#include "rounds.h"
#include <stdio.h>

typedef struct branch_test {
    uint8_t *page, *scratch, *before;
    model m; /* element 0: the first child */
    enum key_kind keys;
    bool expiry;
} branch_test;

static branch_test branch_test_new(uint32_t page_size, unsigned level, enum key_kind keys,
                                   bool expiry)
{
    branch_test t = {exact(page_size),
                     exact(page_size),
                     exact(page_size),
                     model_new(page_size, level),
                     keys,
                     expiry};
    memset(t.page, 0x5a, page_size);
    model_insert(&t.m, 0, element_random(&t.m, keys, VALUE_NONE));
    if (expiry)
        assert_true(build_literal(&t.m, 0, 1, KVI_NODE_EXPIRY, t.page));
    else
        kvi_branch_init(t.page, page_size, level, t.m.at[0].child, t.m.at[0].tally);
    return t;
}

static void branch_test_free(branch_test *t)
{
    free(t->page);
    free(t->scratch);
    free(t->before);
    model_free(&t->m);
}

static void refused(const branch_test *t)
{
    assert_memory_equal(t->page, t->before, t->m.page_size);
    assert_true(model_bytes(&t->m, 0, t->m.n, t->expiry) > t->m.page_size);
}

static void step_insert(branch_test *t)
{
    bool found;
    element e = element_random(&t->m, t->keys, VALUE_NONE);
    kvi_item item = element_item(&e);
    unsigned at = model_lower(&t->m, 1, item.key, &found);
    assert_int_equal(kvi_branch_search(t->page, t->m.page_size, item.key), at - 1 + found);
    if (found) {
        element_free(&e);
        return;
    }
    bool done = kvi_branch_insert(t->page, t->m.page_size, t->scratch, at - 1, &item);
    model_insert(&t->m, at, e);
    if (!done) {
        refused(t);
        model_remove(&t->m, at);
    }
}

/* A new separator between its neighbours: some other key, or the old one longer or shorter. */
static void step_set_key(branch_test *t)
{
    bool found;
    unsigned at = 1 + chance(t->m.n - 1);
    uint8_t bytes[KVI_PAGE_MAX / 4 + 1];
    element *e = &t->m.at[at], old = *e;
    size_t len = e->key.len;
    memcpy(bytes, e->key.ptr, len);
    if (chance(2))
        len = key_fill(bytes, t->keys, kvi_key_max(t->m.page_size));
    else if (len < kvi_key_max(t->m.page_size) && chance(2))
        bytes[len++] = (uint8_t)chance(256);
    else if (len > 0)
        len -= 1;
    kvi_slice key = kvi_slice_of(bytes, len);
    unsigned lower = model_lower(&t->m, 1, key, &found);
    if (found || (lower != at && lower != at + 1))
        return;
    e->key = blob_of(bytes, len);
    if (kvi_branch_set_key(t->page, t->m.page_size, t->scratch, at - 1, key)) {
        free(old.key.ptr);
        return;
    }
    refused(t);
    free(e->key.ptr);
    *e = old;
}

static void step_remove(branch_test *t)
{
    unsigned i = chance(4) ? chance(t->m.n) : 0;
    kvi_branch_remove(t->page, t->m.page_size, i);
    model_remove(&t->m, i);
}

static void step_set(branch_test *t)
{
    unsigned i = chance(t->m.n);
    element *e = &t->m.at[i];
    e->child = child_random(t->m.page_size);
    e->tally = t->m.level == 1 ? chance(65536) : chance64() >> 20;
    kvi_branch_set_child(t->page, t->m.page_size, i, e->child);
    kvi_branch_set_tally(t->page, t->m.page_size, i, e->tally);
}

static void step(branch_test *t, unsigned removals)
{
    memcpy(t->before, t->page, t->m.page_size);
    unsigned what = chance(100);
    if (t->m.n < 2 || what >= removals + 30)
        step_insert(t);
    else if (what < removals)
        step_remove(t);
    else if (what < removals + 20)
        step_set_key(t);
    else if (what < removals + 28)
        step_set(t);
    else
        kvi_node_pack(t->page, t->m.page_size, t->scratch);
}

static void nth_same(const branch_test *t)
{
    uint64_t start = 0;
    for (unsigned i = 0; i < t->m.n; i++) {
        uint64_t tally = t->m.at[i].tally, first = start, last = start + tally - 1;
        start += tally;
        if (tally == 0)
            continue;
        assert_int_equal(kvi_branch_nth(t->page, t->m.page_size, &first), i);
        assert_true(first == 0);
        assert_int_equal(kvi_branch_nth(t->page, t->m.page_size, &last), i);
        assert_true(last == tally - 1);
    }
}

static void branch_random(uint32_t page_size, unsigned level, enum key_kind keys, bool expiry)
{
    branch_test t = branch_test_new(page_size, level, keys, expiry);
    unsigned steps = page_size <= 1024 ? 500 : rounds_of(KVI_MIN(page_size / 6, 3000));
    for (unsigned i = 0; i < steps; i++) {
        unsigned phase = i * 4 / steps;
        step(&t, phase == 2 ? 50 : phase == 1 ? 30 : 5);
        if (page_size <= 1024 || i % 256 == 0)
            branch_same(t.page, &t.m, expiry);
        if (i % 64 == 0 && page_size <= 1024)
            search_all(t.page, &t.m);
    }
    branch_same(t.page, &t.m, expiry);
    search_all(t.page, &t.m);
    if (page_size <= 4096)
        nth_same(&t);
    while (t.m.n > 1)
        step_remove(&t);
    branch_same(t.page, &t.m, expiry);
    branch_test_free(&t);
}

static void every_size_and_key(void **state)
{
    (void)state;
    chance_state = 2;
    for (size_t p = 0; p < KVI_COUNT(page_sizes); p++)
        for (int keys = 0; keys < KEY_KINDS; keys++)
            for (unsigned level = 1; level <= 2; level++)
                branch_random(page_sizes[p], level, (enum key_kind)keys, chance(2));
}

static void private_children_are_kept(void **state)
{
    uint8_t *page = exact(512), *scratch = exact(512);
    kvi_ptr first = {1, 0}, second = {KVI_PGNO_MAX, 0};
    (void)state;
    kvi_branch_init(page, 512, 3, first, 10);
    kvi_item item = {.key = kvi_slice_of("m", 1), .child = second, .tally = 1ull << 40};
    assert_true(kvi_branch_insert(page, 512, scratch, 0, &item));
    kvi_ptr child = kvi_branch_child(page, 512, 1);
    assert_true(child.page == KVI_PGNO_MAX && child.birth == 0);
    assert_true(kvi_branch_tally(page, 512, 1) == 1ull << 40);
    assert_int_equal(kvi_node_validate(page, 512, 3, HIGH_WATER, NEWEST), 7);
    assert_int_equal(kvi_branch_private(page, 512, 0), 0);
    assert_int_equal(kvi_branch_private(page, 512, 1), 1);
    assert_int_equal(kvi_branch_private(page, 512, 2), 2);
    kvi_branch_set_child(page, 512, 0, (kvi_ptr){1, 1});
    assert_int_equal(kvi_branch_private(page, 512, 0), 1);
    kvi_branch_set_child(page, 512, 1, (kvi_ptr){0, (uint64_t)1 << 47}); /* one bit of a birth */
    assert_int_equal(kvi_branch_private(page, 512, 0), 2);
    free(page);
    free(scratch);
}

static void branch_with_short_keys_is_head_only(void **state)
{
    uint8_t *page = exact(4096), *scratch = exact(4096), key[4];
    unsigned n = 0;
    (void)state;
    kvi_branch_init(page, 4096, 1, (kvi_ptr){100, 1}, 1);
    assert_int_equal(kvi_branch_same_len(page), 4);
    for (;; n++) {
        kvi_put32be(key, n * 2654435761u);
        kvi_item item = {.key = {key, 4}, .child = {200, 2}, .tally = n};
        unsigned pos = kvi_branch_search(page, 4096, item.key);
        if (!kvi_branch_insert(page, 4096, scratch, pos, &item))
            break;
    }
    assert_int_equal(n, (4096 - 128 - 14) / 18);
    assert_int_equal(kvi_branch_same_len(page), 4);
    assert_int_equal(kvi_node_validate(page, 4096, 1, HIGH_WATER, NEWEST), 0);
    free(page);
    free(scratch);
}

/* A key may be longer than any that a node has, though it begins with a prefix that goes on behind the
 * header: it has its place all the same. */
static void longer_than_a_page(void **state)
{
    const size_t longest = 3 * KVI_PAGE_MAX;
    uint8_t *page = exact(4096), *scratch = exact(4096), *key = exact(longest);
    (void)state;
    memset(key, 'p', longest);
    kvi_branch_init(page, 4096, 1, (kvi_ptr){100, 1}, 1);
    for (unsigned i = 0; i < 20; i++) {
        key[40] = (uint8_t)('a' + i);
        kvi_item item = {.key = {key, 41}, .child = {101 + i, 1}};
        assert_true(kvi_branch_insert(page, 4096, scratch, i, &item));
    }
    assert_true(kvi_get16(page + KVI_P_prefix_len) > KVI_PREFIX_INLINE);
    for (unsigned i = 0; i < 20; i++)
        for (size_t len = 41; len <= longest; len += len == 41 ? KVI_PAGE_MAX - 41 : 1 << 14) {
            kvi_ptr child;
            key[40] = (uint8_t)('a' + i);
            assert_int_equal(kvi_branch_find(page, 4096, (kvi_slice){key, len}, &child), i + 1);
            assert_int_equal(child.page, 101 + i);
        }
    free(page);
    free(scratch);
    free(key);
}

/* A separator of another length ends the common one. */
static void same_len_follows_the_keys(void **state)
{
    static const char *const keys[] = {"prefix-aaaa", "prefix-bbbb", "prefix-c"};
    uint8_t *page = exact(512), *scratch = exact(512);
    (void)state;
    kvi_branch_init(page, 512, 1, (kvi_ptr){100, 1}, 1);
    for (unsigned i = 0; i < 3; i++) {
        kvi_item item = {.key = kvi_slice_of(keys[i], strlen(keys[i])), .child = {100, 1}};
        assert_true(kvi_branch_insert(page, 512, scratch, i, &item));
        assert_int_equal(kvi_branch_same_len(page), i < 2 ? 11 : 0);
    }
    free(page);
    free(scratch);
}

/* A branch without expiries has no least one, and no place for one. */
static void expiries_need_their_place(void **state)
{
    uint8_t *page = exact(512), *scratch = exact(512), *before = exact(512);
    kvi_item item = {.key = kvi_slice_of("m", 1), .child = {200, 1}, .tally = 1};
    (void)state;
    kvi_branch_init(page, 512, 1, (kvi_ptr){100, 1}, 1);
    assert_true(kvi_branch_insert(page, 512, scratch, 0, &item));
    memcpy(before, page, 512);
    assert_int_equal(kvi_branch_least_expiry(page, 512), 0);
    kvi_branch_set_expiry(page, 512, 1, 7);
    assert_memory_equal(page, before, 512);
    assert_true(kvi_branch_widen(page, 512, scratch));
    kvi_branch_set_expiry(page, 512, 1, 7);
    assert_int_equal(kvi_branch_least_expiry(page, 512), 7);
    free(page);
    free(scratch);
    free(before);
}

/* A branch of 4096 bytes with these separators; child i is on page 100 + i. */
static uint8_t *branch_of(const kvi_slice *keys, unsigned n)
{
    uint8_t *page = exact(4096), *scratch = exact(4096);
    kvi_branch_init(page, 4096, 1, (kvi_ptr){100, 1}, 1);
    for (unsigned i = 0; i < n; i++) {
        kvi_item item = {.key = keys[i], .child = {101 + i, 1}, .tally = 1};
        assert_true(kvi_branch_insert(page, 4096, scratch, i, &item));
    }
    free(scratch);
    return page;
}

static void leads_to(const uint8_t *page, kvi_slice key, unsigned child)
{
    kvi_ptr ptr;
    assert_int_equal(kvi_branch_find(page, 4096, key, &ptr), child);
    assert_int_equal(ptr.page, 100 + child);
    assert_int_equal(kvi_branch_search(page, 4096, key), child);
}

/* Separators may share the greatest head there is. */
static void greatest_head_is_shared(void **state)
{
    static const char *const ends[] = {"    ", "bbbb", "bbbbb", "dddd"};
    char bytes[4][16];
    kvi_slice keys[4];
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        size_t len =
            (size_t)snprintf(bytes[i], 16, "%s%s", i ? "\xff\xff\xff\xff" : "aaaa", ends[i]);
        keys[i] = kvi_slice_of(bytes[i], len);
    }
    uint8_t *page = branch_of(keys, 4);
    for (unsigned i = 0; i < 4; i++)
        leads_to(page, keys[i], i + 1);
    leads_to(page, kvi_slice_of("\xff\xff\xff\xff    ", 8), 1);
    leads_to(page, kvi_slice_of("\xff\xff\xff\xff\xff\xff\xff\xff", 8), 4);
    free(page);
}

/* What stands behind the heads is none, though it may look like that of the key. */
static void no_head_behind_the_last(void **state)
{
    const kvi_slice keys[] = {kvi_slice_of("\0b", 2), kvi_slice_of("\1c and more", 11)};
    uint8_t key[8] = {0};
    (void)state;
    uint8_t *page = branch_of(keys, 2);
    kvi_put32be(key, kvi_get32(page + KVI_HEADER_SIZE + 4 * 2));
    kvi_slice later = kvi_slice_of(key, sizeof key);
    assert_true(kvi_slice_compare(later, keys[1]) > 0);
    leads_to(page, later, 2);
    free(page);
}

/* A page that changed after it was verified: the prefix seems to leave it. */
static void prefix_longer_than_half_a_page(void **state)
{
    const kvi_slice keys[] = {kvi_slice_of("b", 1), kvi_slice_of("c", 1)};
    uint8_t *key = exact(4096);
    kvi_ptr child;
    (void)state;
    uint8_t *page = branch_of(keys, 2);
    memset(key, 0, 4096);
    for (uint32_t len = 2048; len <= 4096; len += 1024) {
        kvi_put16(page + KVI_P_prefix_len, (uint16_t)len);
        assert_true(kvi_branch_find(page, 4096, kvi_slice_of(key, 4096), &child) <= 2);
    }
    free(page);
    free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_and_key),
        cmocka_unit_test(expiries_need_their_place),
        cmocka_unit_test(private_children_are_kept),
        cmocka_unit_test(branch_with_short_keys_is_head_only),
        cmocka_unit_test(same_len_follows_the_keys),
        cmocka_unit_test(greatest_head_is_shared),
        cmocka_unit_test(no_head_behind_the_last),
        cmocka_unit_test(prefix_longer_than_half_a_page),
        cmocka_unit_test(longer_than_a_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
