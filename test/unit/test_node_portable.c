/* The search without vector instructions finds what the one with them finds, and the quick steps
 * of a lookup what the general search finds. */
#define KVI_PORTABLE
#define kvi_leaf_search         portable_leaf_search
#define kvi_branch_search       portable_branch_search
#define kvi_node_key            portable_node_key
#define kvi_key_copy            portable_key_copy
#define kvi_leaf_value          portable_leaf_value
#define kvi_branch_child        portable_branch_child
#define kvi_branch_tally        portable_branch_tally
#define kvi_branch_expiry       portable_branch_expiry
#define kvi_branch_least_expiry portable_branch_least_expiry
#define kvi_branch_rank         portable_branch_rank
#define kvi_branch_nth          portable_branch_nth
#define kvi_prefix_order_any    portable_prefix_order_any
#define kvi_branch_private      portable_branch_private
#include "../../src/node.c"
#undef kvi_leaf_search
#undef kvi_branch_search

unsigned kvi_leaf_search(const uint8_t *page, uint32_t page_size, kvi_slice key, bool *found);
unsigned kvi_branch_search(const uint8_t *page, uint32_t page_size, kvi_slice key);

#include "node_model.h"
#include "node_quick.h"

static void leaf_same_search(const uint8_t *page, uint32_t page_size, kvi_slice key)
{
    bool found, portable_found;
    unsigned i = kvi_leaf_search(page, page_size, key, &found);
    assert_int_equal(portable_leaf_search(page, page_size, key, &portable_found), i);
    assert_int_equal(portable_found, found);
    kvi_probe probe = kvi_probe_of(key);
    assert_int_equal(kvi_quick_slot(page, kvi_form_of(page, page_size, 0), page_size, &probe,
                                    (int)(key.len % 5) - 2, &portable_found),
                     i);
    assert_int_equal(portable_found, found);
    kvi_slice value;
    bool special, expect_special;
    assert_int_equal(kvi_leaf_find(page, page_size, key, &value, &special), found);
    if (found) {
        kvi_slice expect = kvi_leaf_value(page, page_size, i, &expect_special);
        assert_ptr_equal(value.ptr, expect.ptr);
        assert_int_equal(value.len, expect.len);
        assert_int_equal(special, expect_special);
    }
}

static void leaves(void **state)
{
    (void)state;
    chance_state = 8;
    for (unsigned round = 0; round < 200; round++) {
        uint32_t size = page_sizes[round % KVI_COUNT(page_sizes)];
        uint8_t *page = exact(size), *scratch = exact(size);
        model m = model_new(size, 0);
        kvi_leaf_init(page, size);
        for (unsigned i = 0; i < 500; i++) {
            bool found;
            element e = element_random(&m, (enum key_kind)(round % KEY_KINDS), VALUE_NONE);
            kvi_item item = element_item(&e);
            leaf_same_search(page, size, item.key);
            unsigned pos = kvi_leaf_search(page, size, item.key, &found);
            if (!found)
                (void)!kvi_leaf_insert(page, size, scratch, pos, &item);
            leaf_same_search(page, size, item.key);
            element_free(&e);
        }
        free(page);
        free(scratch);
        model_free(&m);
    }
}

static void branch_same_search(const uint8_t *page, uint32_t page_size, kvi_slice key)
{
    kvi_ptr child;
    unsigned pos = kvi_branch_search(page, page_size, key);
    assert_int_equal(kvi_branch_find(page, page_size, key, &child), pos);
    assert_int_equal(child.page, kvi_branch_child(page, page_size, pos).page);
}

/* Fills a branch with keys of shape: head-only ones, and longer ones with a common prefix. */
static void branch_round(const char *prefix, unsigned tail)
{
    uint8_t *page = exact(8192), *scratch = exact(8192), key[40];
    size_t len = strlen(prefix);
    memset(key, 'k', sizeof key);
    memcpy(key, prefix, len);
    kvi_branch_init(page, 8192, 1, (kvi_ptr){10, 1}, 0);
    for (unsigned i = 0; i < 2000; i++) {
        kvi_put32be(key + len, chance(1000) << 22);
        memset(key + len + 4, (int)chance(3), tail);
        kvi_item item = {.key = {key, len + 4 + tail}, .child = {11 + i, 1}};
        unsigned pos = kvi_branch_search(page, 8192, item.key);
        assert_int_equal(portable_branch_search(page, 8192, item.key), pos);
        branch_same_search(page, 8192, item.key);
        branch_same_search(page, 8192, (kvi_slice){key, len + 4 + tail + 9});
        uint8_t before[64];
        pos = kvi_branch_search(page, 8192, item.key);
        if (pos == 0 ||
            kvi_slice_compare((kvi_slice){before, kvi_node_key(page, 8192, pos - 1, before)},
                              item.key) != 0)
            (void)!kvi_branch_insert(page, 8192, scratch, pos, &item);
    }
    free(page);
    free(scratch);
}

static void branches(void **state)
{
    (void)state;
    chance_state = 9;
    branch_round("", 0);
    branch_round("user:0001", 0);
    branch_round("common", 6);
    branch_round("a prefix of 21 bytes!", 3);
}

/* Searches for the key as it is, and with each of its bytes a little smaller and greater. */
static void same_search_nearby(const uint8_t *leaf, const uint8_t *branch, uint8_t *key, size_t len)
{
    kvi_slice slice = {key, len};
    for (size_t i = 0; i < len; i++)
        for (int step = -1; step <= 1; step++) {
            key[i] = (uint8_t)(key[i] + step);
            leaf_same_search(leaf, 4096, slice);
            branch_same_search(branch, 4096, slice);
            key[i] = (uint8_t)(key[i] - step);
        }
}

/* Prefixes of all lengths, in the header and at the end of the page. */
static void prefixes(void **state)
{
    (void)state;
    chance_state = 10;
    for (size_t len = 0; len < 84; len++) {
        uint8_t *leaf = exact(4096), *branch = exact(4096), *scratch = exact(4096), key[100];
        memset(key, 'p', sizeof key);
        kvi_leaf_init(leaf, 4096);
        kvi_branch_init(branch, 4096, 1, (kvi_ptr){10, 1}, 0);
        for (unsigned i = 0; i < 20; i++) {
            bool found;
            kvi_put32be(key + len, i * 1000);
            kvi_put32be(key + len + 4, chance(1000));
            kvi_item item = {.key = {key, len + 8}, .value = {key, 10}, .child = {11 + i, 1}};
            unsigned pos = kvi_leaf_search(leaf, 4096, item.key, &found);
            assert_true(kvi_leaf_insert(leaf, 4096, scratch, pos, &item));
            pos = kvi_branch_search(branch, 4096, item.key);
            assert_true(kvi_branch_insert(branch, 4096, scratch, pos, &item));
        }
        same_search_nearby(leaf, branch, key, len + 8);
        kvi_put32be(key + len, 5000);
        same_search_nearby(leaf, branch, key, len + 8);
        free(leaf);
        free(branch);
        free(scratch);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves),
        cmocka_unit_test(branches),
        cmocka_unit_test(prefixes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
