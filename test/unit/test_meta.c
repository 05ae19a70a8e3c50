/* The meta block: what no commit writes is refused, number by number, though the checksum is
 * right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "hash.h"
#include "meta.h"

#define PAGE   4096
#define PAGES  100
#define NEWEST 50

static kvi_meta sound(void)
{
    kvi_pgno first = kvi_first_page(PAGE);
    return (kvi_meta){
        .page_size = PAGE,
        .id = NEWEST,
        .durable = NEWEST - 1,
        .high_water = PAGES,
        .kind = KVI_KIND_LAZY,
        .log_tail = NEWEST,
        .log = {first, 1},
        .map = {PAGES - 1, NEWEST},
        .main = {.root = {first, NEWEST}, .level = KVI_LEVEL_MAX, .entries = 3},
        .catalog = {.root = {PAGES - 1, 1}},
    };
}

static enum kvi_meta_state verdict(const kvi_meta *meta)
{
    uint8_t block[KVI_META_SIZE];
    kvi_meta decoded;
    kvi_meta_encode(meta, block);
    return kvi_meta_decode(block, &decoded);
}

/* Expects the meta to be sound as it is, and wrong with one thing changed. */
#define WRONG(change)                                                                              \
    do {                                                                                           \
        kvi_meta meta = sound();                                                                   \
        assert_int_equal(verdict(&meta), KVI_META_VALID);                                          \
        change;                                                                                    \
        assert_int_equal(verdict(&meta), KVI_META_WRONG);                                          \
    } while (0)

#define FINE(change)                                                                               \
    do {                                                                                           \
        kvi_meta meta = sound();                                                                   \
        change;                                                                                    \
        assert_int_equal(verdict(&meta), KVI_META_VALID);                                          \
    } while (0)

static void test_commits(void **state)
{
    WRONG(meta.id = 0);
    WRONG(meta.id = KVI_ID_MAX + 1);
    WRONG(meta.durable = 0);
    WRONG(meta.durable = NEWEST + 1);
    WRONG(meta.log_tail = NEWEST + 1);
    WRONG(meta.kind = KVI_KIND_DURABLE - 1);
    WRONG(meta.kind = KVI_KIND_CONFIRMATION + 1);
    FINE(meta.id = KVI_ID_MAX);
    FINE(meta.durable = NEWEST);
}

static void test_a_proven_commit_has_nothing_to_prove(void **state)
{
    WRONG(meta.durable = NEWEST; meta.seal = 1);
    WRONG(meta.durable = NEWEST; meta.walk = 1);
    FINE(meta.seal = 1; meta.walk = 1);
}

static void test_sizes(void **state)
{
    WRONG(meta.page_size = PAGE + 1);
    WRONG(meta.page_size = 0);
    WRONG(meta.high_water = KVI_PGNO_MAX + 1);
    WRONG(meta.high_water = kvi_first_page(PAGE) - 1);
    WRONG(meta.map_levels = KVI_MAP_LEVELS_MAX + 1);
    FINE(meta.high_water = KVI_PGNO_MAX);
    FINE(meta.map_levels = KVI_MAP_LEVELS_MAX);
    FINE(meta.delta_len = KVI_DELTA_MAX);
}

static void test_delta_too_long(void **state)
{
    uint8_t block[KVI_META_SIZE];
    kvi_meta meta = sound(), decoded;
    kvi_meta_encode(&meta, block);
    kvi_put16(block + KVI_M_delta_len, KVI_DELTA_MAX + 1);
    kvi_put64(block + KVI_M_checksum,
              kvi_hash_meta(block + KVI_M_version, KVI_META_SIZE - KVI_M_version));
    assert_int_equal(kvi_meta_decode(block, &decoded), KVI_META_WRONG);
}

static void test_space_roots(void **state)
{
    WRONG(meta.log.page = kvi_first_page(PAGE) - 1);
    WRONG(meta.log.page = PAGES);
    WRONG(meta.log.birth = 0);
    WRONG(meta.log.birth = NEWEST + 1);
    WRONG(meta.log.page = 0); /* its birth is not */
    WRONG(meta.map.page = PAGES);
    WRONG(meta.blocked.birth = 1); /* of no page */
    FINE(meta.log = ((kvi_ptr){0, 0}));
    FINE(meta.blocked = ((kvi_ptr){PAGES - 1, NEWEST}));
}

static void test_tree_roots(void **state)
{
    WRONG(meta.main.root.page = kvi_first_page(PAGE) - 1);
    WRONG(meta.main.root.page = PAGES);
    WRONG(meta.main.root.birth = 0);
    WRONG(meta.main.root.birth = NEWEST + 1);
    WRONG(meta.main.level = KVI_LEVEL_MAX + 1);
    WRONG(meta.main.flags = 4);
    WRONG(meta.catalog.root.page = PAGES);
    WRONG(meta.snapshots.flags = 4);
}

static void test_empty_trees_are_empty(void **state)
{
    WRONG(meta.snapshots.root.birth = 1);
    WRONG(meta.snapshots.entries = 1);
    WRONG(meta.snapshots.level = 1);
}

/* Trees of the catalog may have several values for a key; these may not. */
static void test_trees_without_a_name(void **state)
{
    WRONG(meta.main.flags = KVI_TREE_MULTI);
    WRONG(meta.catalog.flags = KVI_TREE_MULTI);
    WRONG(meta.snapshots.flags = KVI_TREE_MULTI);
    WRONG(meta.main.flags = KVI_TREE_MULTI << 1);
    FINE(meta.main.flags = KVI_TREE_EXPIRY);
    kvi_named named = {.id = 1}, decoded;
    for (unsigned wrong = 0; wrong < 4; wrong++) {
        uint8_t bytes[KVI_NAMED_SIZE];
        named.main.flags = wrong & 1 ? KVI_TREE_MULTI : 0;
        named.catalog.flags = wrong & 2 ? KVI_TREE_MULTI : 0;
        kvi_named_encode(&named, bytes);
        assert_int_equal(kvi_named_decode(bytes, PAGE, PAGES, NEWEST, &decoded), wrong == 0);
    }
}

static void test_what_is_newer(void **state)
{
    uint8_t block[KVI_META_SIZE];
    kvi_meta meta = sound(), decoded;
    meta.compatible = UINT64_MAX;
    assert_int_equal(verdict(&meta), KVI_META_VALID);
    meta.incompatible = 1;
    assert_int_equal(verdict(&meta), KVI_META_UNKNOWN);

    meta = sound();
    kvi_meta_encode(&meta, block);
    kvi_put32(block + KVI_M_version, KVI_VERSION + 1);
    assert_int_equal(kvi_meta_decode(block, &decoded), KVI_META_TORN);
    kvi_put64(block + KVI_M_checksum,
              kvi_hash_meta(block + KVI_M_version, KVI_META_SIZE - KVI_M_version));
    assert_int_equal(kvi_meta_decode(block, &decoded), KVI_META_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commits),
        cmocka_unit_test(test_a_proven_commit_has_nothing_to_prove),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_delta_too_long),
        cmocka_unit_test(test_space_roots),
        cmocka_unit_test(test_tree_roots),
        cmocka_unit_test(test_empty_trees_are_empty),
        cmocka_unit_test(test_trees_without_a_name),
        cmocka_unit_test(test_what_is_newer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
