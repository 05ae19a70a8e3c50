/* Salvage of multi-value trees: what is saved of them are pairs, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "pairs.h"
#include "patient.h"
#include <stdio.h>
#include <unistd.h>

#define KEYS  60 /* of a multi-value tree */
#define PAIRS 12 /* of each */

static patient small;

static int make_all(void **state)
{
    patient_folder_make();
    patient_make(&small, 4096, patient_small);
    return 0;
}

static int free_all(void **state)
{
    patient_free(&small);
    patient_folder_remove();
    return 0;
}

/* A multi-value tree gets pairs, and nothing else: what its own leaves hold besides is lost, leaves that
 * nothing leads to are put elsewhere. */
static void test_pairs_alone(void **state)
{
    for (int orphans = 0; orphans < 2; orphans++) {
        surgeon s;
        kv_salvage_info info;
        kvi_tree_desc twin;
        kvi_pgno leaf;
        surgeon_take(&s, small.file.bytes, small.file.size);
        uint8_t *bytes = surgeon_catalog(&s, 1, &leaf, &twin);
        twin.flags |= KVI_TREE_MULTI;
        kvi_tree_desc_encode(&twin, bytes);
        surgeon_stamp(&s, leaf);
        if (orphans)
            patient_damage(&s, twin.root.page, HARM_WIPED);
        assert_int_equal(patient_salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        saved_check_sound();
        assert_int_equal(info.missing, twin.entries);
        assert_int_equal(info.lost_values, orphans ? 0 : twin.entries);
        assert_int_equal(info.entries, small.n - (orphans ? 0 : twin.entries));
    }
}

static void pairs_make(kv_db *db)
{
    const kv_put_options expires = {.size = sizeof expires, .ttl_ms = 1000000000};
    kv_txn *txn = patient_begin(db);
    kv_tree *tree = patient_create(txn, "pairs", 0);
    for (unsigned i = 0; i < 2; i++) {
        uint8_t pair[32];
        size_t len = kvi_pairs_join(kvi_slice_of("key", 3), kvi_slice_of(i ? "b" : "a", 1), pair,
                                    sizeof pair);
        assert_int_equal(kv_put_with(tree, pair, len, "", 0, i ? &expires : NULL), KV_OK);
    }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* A pair does not expire: one that says so is none. */
static void test_pair_that_expires(void **state)
{
    static patient p;
    surgeon s;
    kv_salvage_info info;
    kvi_tree_desc desc;
    kvi_pgno leaf;
    patient_make(&p, 4096, pairs_make);
    surgeon_take(&s, p.file.bytes, p.file.size);
    uint8_t *bytes = surgeon_catalog(&s, 0, &leaf, &desc);
    desc.flags |= KVI_TREE_MULTI;
    kvi_tree_desc_encode(&desc, bytes);
    surgeon_stamp(&s, leaf);
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    saved_check_sound();
    assert_int_equal(info.entries, 1);
    assert_int_equal(info.lost_values, 1);
    patient_free(&p);
}

static size_t pair_of(unsigned key, unsigned value, char text[2][32])
{
    snprintf(text[0], 32, "key%05u", key);
    return (size_t)snprintf(text[1], 32, "value %u of %u", value, key);
}

static void multi_make(kv_db *db)
{
    kv_tree *tree;
    char text[2][32];
    rng random;
    rng_seed(&random, 13);
    kv_txn *txn = patient_begin(db);
    patient_fill(kv_txn_main(txn), "main%05u", 100, 150, &random);
    assert_int_equal(kv_tree_open(txn, "pairs", 5, KV_TREE_CREATE | KV_TREE_MULTI, NULL, &tree),
                     KV_OK);
    for (unsigned key = 0; key < KEYS; key++)
        for (unsigned value = 0; value < PAIRS; value++) {
            size_t len = pair_of(key, value, text);
            assert_int_equal(kv_multi_put(tree, text[0], 8, text[1], len), KV_OK);
        }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* How many pairs the tree of the new database has, and no others. */
static unsigned pairs_saved(void)
{
    kv_db *db;
    kv_txn *txn;
    kv_tree *tree;
    char text[2][32];
    unsigned n = 0;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    kv_tree_info info = {.size = sizeof info};
    assert_int_equal(kv_db_open(saved_path, &options, &db), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    assert_int_equal(kv_tree_open(txn, "pairs", 5, KV_TREE_MULTI, NULL, &tree), KV_OK);
    for (unsigned key = 0; key < KEYS; key++)
        for (unsigned value = 0; value < PAIRS; value++) {
            size_t len = pair_of(key, value, text);
            n += kv_multi_has(tree, text[0], 8, text[1], len) == KV_OK;
        }
    assert_int_equal(kv_tree_stat(tree, &info), KV_OK);
    assert_int_equal(info.entries, n);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    return n;
}

static void pairs_take(surgeon *s, kvi_tree_desc *pairs)
{
    kv_db *db;
    kvi_pgno leaf;
    const kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = 4096};
    unlink(patient_path);
    assert_int_equal(kv_db_open(patient_path, &options, &db), KV_OK);
    multi_make(db);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_load(s, patient_path);
    surgeon_catalog(s, 0, &leaf, pairs);
    assert_int_equal(pairs->level, 1);
}

/* Pairs come back into their tree, also those of leaves that nothing leads to any more. */
static void test_pairs_come_back(void **state)
{
    enum { SOUND, ROOT_HARMED, ROOT_WIPED, LEAF_HARMED, CASES };
    for (int how = 0; how < CASES; how++) {
        surgeon s;
        kv_salvage_info info;
        kvi_tree_desc pairs;
        unsigned gone = 0;
        pairs_take(&s, &pairs);
        kvi_pgno leaf = surgeon_node(&s, &pairs, 0, 1).page;
        if (how == LEAF_HARMED) {
            gone = kvi_node_count(surgeon_page(&s, leaf));
            patient_damage(&s, leaf, HARM_HEADER);
        } else if (how != SOUND) {
            patient_damage(&s, pairs.root.page, how == ROOT_WIPED ? HARM_WIPED : HARM_HEADER);
        }
        assert_int_equal(patient_salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_int_equal(pairs_saved(), KEYS * PAIRS - gone);
        assert_int_equal(said.found, 0);
        assert_int_equal(info.lost_values, 0);
        assert_int_equal(info.lost_entries, gone);
        assert_int_equal(info.entries, KEYS * PAIRS - gone + 100);
        saved_check_sound();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs_alone),
        cmocka_unit_test(test_pairs_come_back),
        cmocka_unit_test(test_pair_that_expires),
    };
    return cmocka_run_group_tests(tests, make_all, free_all);
}
