/* Salvage of what has no name, or of which nobody knows whether it is still in use: it goes into trees
 * that are called lost+found, and an old version is not taken for a new one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "patient.h"
#include <stdio.h>
#include <unistd.h>

static patient small, kept, tall;

static int make_all(void **state)
{
    patient_folder_make();
    patient_make(&small, 4096, patient_small);
    patient_make(&kept, 4096, patient_kept);
    patient_make(&tall, 4096, patient_tall);
    return 0;
}

static int free_all(void **state)
{
    patient_free(&small);
    patient_free(&kept);
    patient_free(&tall);
    patient_folder_remove();
    return 0;
}

/* ---- trees without names ---- */

/* An entry of the catalog is lost with the main tree's root: whose leaves they are is not guessed. */
static void test_nameless_tree_and_root(void **state)
{
    uint64_t root = small.file.meta.main.root.page;
    surgeon s;
    kv_salvage_info info;
    kvi_tree_desc desc;
    kvi_pgno leaf;
    surgeon_take(&s, small.file.bytes, small.file.size);
    memset(surgeon_catalog(&s, 1, &leaf, &desc), 0xff, KVI_TREE_SIZE);
    surgeon_stamp(&s, leaf);
    patient_damage(&s, root, HARM_WIPED);
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_true(said.found > 1);
    saved_check_there(&small, UINT64_MAX, true);
}

/* While names are lost, what fits a gap of the main tree need not belong there. */
static void test_nameless_leaves_stay_apart(void **state)
{
    const kvi_meta *meta = &small.file.meta;
    uint64_t pages[3] = {meta->main.root.page, surgeon_node(&small.file, &meta->main, 0, 0).page,
                         meta->catalog.root.page};
    size_t gone;
    patient_salvage_damaged(&small, pages, 3, HARM_WIPED, &gone);
    assert_int_equal(gone, patient_living(&small, pages[1]));
    assert_true(said.found > 0);
}

/* Trees without names are not put together while each page that was lost is known for what it was: a
 * leaf, large values of theirs, a branch whose remains brought all its children back. */
static void test_nameless_trees_stay_apart(void **state)
{
    const kvi_meta *meta = &small.file.meta;
    const uint64_t lost[] = {0, surgeon_node(&small.file, &meta->main, 0, 0).page,
                             meta->main.root.page};
    for (unsigned i = 0; i < KVI_COUNT(lost); i++) {
        surgeon s;
        kv_salvage_info info;
        uint64_t pages[2] = {meta->catalog.root.page, lost[i]};
        surgeon_take(&s, small.file.bytes, small.file.size);
        patient_damage(&s, pages[0], HARM_WIPED);
        if (lost[i])
            patient_damage(&s, lost[i], i == 1 ? HARM_WIPED : HARM_CHECKSUM);
        assert_int_equal(patient_salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_int_equal(saved_check(&small, pages, 2),
                         i == 1 ? patient_living(&small, lost[i]) : 0);
        assert_int_equal(info.found_trees, small.n_trees - 1);
    }
}

static void younger_make(kv_db *db)
{
    rng random;
    rng_seed(&random, 13);
    kv_txn *txn = patient_begin(db);
    patient_fill(kv_txn_main(txn), "key%05u", 200, 150, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = patient_begin(db);
    patient_fill(patient_create(txn, "young", 0), "y%u", 2, 50, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* A whole tree that has lost its name gets no leaves of others. */
static void test_whole_tree_without_name(void **state)
{
    static patient p;
    surgeon s;
    kv_salvage_info info;
    patient_make(&p, 4096, younger_make);
    surgeon_take(&s, p.file.bytes, p.file.size);
    patient_damage(&s, s.meta.catalog.root.page, HARM_CHECKSUM);
    patient_damage(&s, s.meta.main.root.page, HARM_WIPED);
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_int_equal(info.found_trees, 2);
    assert_true(saved_has("lost+found-1", "y0", 2));
    assert_int_equal(saved_entries("lost+found-1"), 2);
    assert_int_equal(saved_entries("lost+found-2"), 200);
    patient_free(&p);
}

/* ---- old versions ---- */

/* Without the records of free pages, old versions lie beside new ones: what remains of the page tells
 * which are its children, and whose a leaf is that it does not tell of is not guessed. */
static void salvage_unknown_space(const patient *p, uint64_t page, enum harm harm)
{
    surgeon s;
    kv_salvage_info info;
    surgeon_take(&s, p->file.bytes, p->file.size);
    patient_lose_space(&s);
    patient_damage(&s, page, harm);
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_non_null(strstr(said.notes, "which pages are in use"));
    if (harm != HARM_MIDDLE) /* there may be pointers, or nothing */
        assert_int_equal(info.losses > 0, harm == HARM_WIPED);
    saved_check_there(p, UINT64_MAX, info.losses > 0);
}

static void test_no_space_records(void **state)
{
    uint64_t branch = surgeon_node(&tall.file, &tall.file.meta.main, 1, 0).page;
    for (enum harm harm = 0; harm < HARMS; harm++) {
        salvage_unknown_space(&small, small.file.meta.main.root.page, harm);
        salvage_unknown_space(&tall, tall.file.meta.main.root.page, harm);
        salvage_unknown_space(&tall, branch, harm);
    }
}

/* A tree that was changed after the main one, of which two versions lie in the file, and before a
 * third. */
static void mixed_make(kv_db *db)
{
    static const char *const names[] = {"a", "", "", "a", "young"};
    static const unsigned entries[] = {400, 400, 400, 1, 60};
    rng random;
    rng_seed(&random, 10);
    for (size_t i = 0; i < KVI_COUNT(names); i++) {
        kv_txn *txn = patient_begin(db);
        kv_tree *tree = *names[i] ? patient_create(txn, names[i], 0) : kv_txn_main(txn);
        patient_fill(tree, "key%05u", entries[i], 150, &random);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
}

/* Nobody knows which pages are in use, and a tree's root is gone without a trace: what fits there need
 * not be its own, for sound trees have old versions, too. */
static void test_no_leaves_of_others(void **state)
{
    static patient mixed;
    surgeon s;
    kv_salvage_info info;
    kvi_tree_desc a;
    kvi_pgno leaf;
    patient_make(&mixed, 4096, mixed_make);
    surgeon_take(&s, mixed.file.bytes, mixed.file.size);
    surgeon_catalog(&s, 0, &leaf, &a);
    assert_int_equal(a.level, 1);
    patient_lose_space(&s);
    patient_damage(&s, a.root.page, HARM_WIPED);
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_true(info.losses > 0 && info.missing > 0 && info.found > 0);
    assert_int_equal(saved_strangers(&mixed, "a"), 0);
    saved_check_there(&mixed, UINT64_MAX, true);
    patient_free(&mixed);
}

static void changed_make(kv_db *db)
{
    static const unsigned entries[] = {400, 200};
    rng random;
    rng_seed(&random, 11);
    for (size_t i = 0; i < KVI_COUNT(entries); i++) {
        kv_txn *txn = patient_begin(db);
        patient_fill(kv_txn_main(txn), "key%05u", entries[i], 150, &random);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
}

/* The root is gone, and the end of the file where the newest leaves were: those that they replaced have
 * as many entries, and all keys, but are not taken for them without a word. */
static void test_old_values_are_told(void **state)
{
    static patient changed;
    patient_make(&changed, 4096, changed_make);
    for (int cut = 0; cut < 2; cut++) {
        surgeon s;
        kv_salvage_info info;
        surgeon_take(&s, changed.file.bytes, changed.file.size);
        kvi_ptr child = surgeon_node(&s, &s.meta.main, 0, 1);
        assert_int_equal(child.birth, s.meta.id);
        patient_lose_space(&s);
        patient_damage(&s, s.meta.main.root.page, HARM_WIPED);
        if (cut)
            s.size = child.page * (size_t)s.page_size;
        assert_int_equal(patient_salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_true(info.entries >= changed.n);
        assert_true(info.losses > 0);
        assert_int_equal(said.unknown, 1);
        saved_check_told(&changed);
    }
    patient_free(&changed);
}

static void leaf_changed_make(kv_db *db)
{
    rng random;
    rng_seed(&random, 14);
    kv_txn *txn = patient_begin(db);
    patient_fill(patient_create(txn, "a", 0), "key%05u", 400, 150, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = patient_begin(db);
    patient_put(patient_create(txn, "a", 0), "key%05u", 0, "changed", 7);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* Of a tree without its name, too, an old leaf is no tree of its own. */
static void test_old_leaf_of_a_found_tree(void **state)
{
    static patient p;
    surgeon s;
    kv_salvage_info info;
    patient_make(&p, 4096, leaf_changed_make);
    surgeon_take(&s, p.file.bytes, p.file.size);
    patient_lose_space(&s);
    patient_damage(&s, s.meta.catalog.root.page, HARM_WIPED);
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_int_equal(info.found_trees, 1);
    assert_int_equal(saved_entries("lost+found-1"), 400);
    saved_check_there(&p, UINT64_MAX, true);
    patient_free(&p);
}

static unsigned changes; /* of ten entries */

static void partly_changed_make(kv_db *db)
{
    rng random;
    rng_seed(&random, 15);
    kv_txn *txn = patient_begin(db);
    patient_fill(kv_txn_main(txn), "key%05u", 10, 150, &random);
    patient_fill(patient_create(txn, "lost", 0), "key%05u", 3, 150, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = patient_begin(db);
    patient_fill(kv_txn_main(txn), "key%05u", changes, 150, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* An old leaf that shares most of its entries with the tree is a version of it; one that shares but half
 * may be more. */
static void test_old_leaf_by_halves(void **state)
{
    for (changes = 4; changes <= 5; changes++) {
        static patient p;
        surgeon s;
        kv_salvage_info info;
        kvi_tree_desc lost;
        kvi_pgno leaf;
        p = (patient){0};
        patient_make(&p, 4096, partly_changed_make);
        surgeon_take(&s, p.file.bytes, p.file.size);
        surgeon_catalog(&s, 0, &leaf, &lost);
        patient_lose_space(&s);
        patient_damage(&s, lost.root.page, HARM_WIPED);
        assert_int_equal(patient_salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_int_equal(info.found_trees, changes == 5);
        assert_int_equal(saved_entries(""), 10);
        patient_free(&p);
    }
}

static void moved_on_make(kv_db *db)
{
    char key[16];
    uint8_t value[150] = {0};
    kv_txn *txn = patient_begin(db);
    kv_tree *tree = patient_create(txn, "a", 0);
    for (unsigned i = 40; i <= 50; i++)
        patient_put(tree, "key%05u", i, value, sizeof value);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = patient_begin(db);
    tree = patient_create(txn, "a", 0);
    for (unsigned i = 40; i < 50; i++)
        assert_int_equal(kv_del(tree, key, (size_t)snprintf(key, sizeof key, "key%05u", i)), KV_OK);
    value[0] = 1;
    for (unsigned i = 50; i <= 60; i++)
        patient_put(tree, "key%05u", i, value, sizeof value);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* An old leaf whose last key is the first of a newer one is no neighbour of it. */
static void test_old_leaf_touches(void **state)
{
    static patient p;
    surgeon s;
    kv_salvage_info info;
    patient_make(&p, 4096, moved_on_make);
    surgeon_take(&s, p.file.bytes, p.file.size);
    patient_lose_space(&s);
    patient_damage(&s, s.meta.catalog.root.page, HARM_WIPED);
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_int_equal(info.found_trees, 2);
    assert_int_equal(saved_entries("lost+found-1"), 11);
    assert_int_equal(saved_entries("lost+found-2"), 11);
    saved_check_there(&p, UINT64_MAX, true);
    patient_free(&p);
}

/* Older lists of named snapshots are no trees, whether or not it is known which pages are in use. */
static void test_old_lists_of_snapshots(void **state)
{
    static const char *const names[] = {"before0", "before1", "z2", "z3"};
    surgeon s;
    kv_salvage_info info;
    surgeon_take(&s, kept.file.bytes, kept.file.size);
    patient_lose_space(&s);
    patient_damage(&s, s.meta.main.root.page, HARM_WIPED);
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_true(info.found_trees > 0);
    for (unsigned i = 1; i <= said.found; i++)
        for (size_t k = 0; k < KVI_COUNT(names); k++) {
            char found[32];
            snprintf(found, sizeof found, "lost+found-%u", i);
            assert_false(saved_has(found, names[k], strlen(names[k])));
        }
}

/* The tree reaches pages that are free by the records: neither is believed about the other. The younger
 * leaf is found. */
static void test_contradicting_records(void **state)
{
    kv_db *db;
    surgeon s;
    kv_salvage_info info;
    rng random;
    rng_seed(&random, 7);
    unlink(patient_path);
    assert_int_equal(kv_db_open(patient_path, NULL, &db), KV_OK);
    kv_txn *txn = patient_begin(db);
    patient_fill(kv_txn_main(txn), "key%05u", 100, 150, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_load(&s, patient_path);
    kvi_tree_desc older = s.meta.main;
    surgeon_free(&s);
    assert_int_equal(kv_db_open(patient_path, NULL, &db), KV_OK);
    txn = patient_begin(db);
    patient_put(kv_txn_main(txn), "key%05u", 50, "changed", 7);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_load(&s, patient_path);
    s.meta.main = older;
    surgeon_put_meta(&s);
    patient_damage(&s, surgeon_node(&s, &older, 0, 0).page, HARM_WIPED);
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_non_null(strstr(said.notes, "which pages are in use"));
    assert_int_equal(info.bad_pages, 1);
    assert_true(info.entries > 50 && said.lost > 0 && said.lost < 50);
    assert_int_equal(said.found, 1);
}

/* ---- losses of found trees ---- */

/* The only loss of a found tree; NULL: none. */
static const told_loss *loss_of_found(void)
{
    const told_loss *loss = NULL;
    for (size_t i = 0; i < said.n; i++)
        if (said.losses[i].kind == KV_LOSS_RANGE && told_of_found(&said.losses[i])) {
            assert_null(loss);
            loss = &said.losses[i];
        }
    return loss;
}

/* A tree has lost its name and a leaf: the leaf's entries are missing all the same. */
static void test_leaf_of_a_found_tree(void **state)
{
    kvi_tree_desc twin;
    kvi_pgno leaf;
    size_t gone;
    surgeon_catalog(&small.file, 1, &leaf, &twin);
    uint64_t pages[2] = {small.file.meta.catalog.root.page,
                         surgeon_node(&small.file, &twin, 0, 1).page};
    patient_salvage_damaged(&small, pages, 2, HARM_WIPED, &gone);
    assert_int_equal(gone, patient_living(&small, pages[1]));
    const told_loss *loss = loss_of_found();
    assert_non_null(loss);
    assert_int_equal(loss->entries, gone);
    for (size_t i = 0; i < small.n; i++) {
        const patient_entry *e = &small.entries[i];
        told_loss own = *loss;
        snprintf(own.tree, sizeof own.tree, "%s", "twin");
        if (strcmp(small.trees[e->tree], "twin") == 0)
            assert_int_equal(told_covers(&own, &small, e), e->leaf == pages[1]);
    }
}

/* Nobody knows which pages are in use, and what is found has lost a value: it may be an old one. */
static void test_value_of_a_found_tree(void **state)
{
    surgeon s;
    kv_salvage_info info;
    kvi_tree_desc packed;
    kvi_pgno leaf;
    kvi_entry entry;
    uint8_t *stored;
    for (int harmed = 0; harmed < 2; harmed++) {
        surgeon_take(&s, small.file.bytes, small.file.size);
        surgeon_catalog(&s, 0, &leaf, &packed);
        assert_true(surgeon_find(&s, &packed, KVI_ENTRY_COMPRESSED, &leaf, &stored, &entry));
        patient_lose_space(&s);
        patient_damage(&s, s.meta.catalog.root.page, HARM_WIPED);
        if (harmed)
            memset(stored + 10, 0xff, 20);
        surgeon_stamp(&s, leaf);
        assert_int_equal(patient_salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_int_equal(loss_of_found() != NULL, harmed);
        if (harmed)
            assert_true(loss_of_found()->entries == UINT64_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nameless_leaves_stay_apart),
        cmocka_unit_test(test_nameless_trees_stay_apart),
        cmocka_unit_test(test_whole_tree_without_name),
        cmocka_unit_test(test_nameless_tree_and_root),
        cmocka_unit_test(test_no_space_records),
        cmocka_unit_test(test_no_leaves_of_others),
        cmocka_unit_test(test_old_values_are_told),
        cmocka_unit_test(test_old_leaf_of_a_found_tree),
        cmocka_unit_test(test_old_leaf_by_halves),
        cmocka_unit_test(test_old_leaf_touches),
        cmocka_unit_test(test_old_lists_of_snapshots),
        cmocka_unit_test(test_leaf_of_a_found_tree),
        cmocka_unit_test(test_value_of_a_found_tree),
        cmocka_unit_test(test_contradicting_records),
    };
    return cmocka_run_group_tests(tests, make_all, free_all);
}
