/* Salvage where the commit itself is in doubt: metas are damaged, wrong or gone, what they lead to is not
 * there, or the end of the file is missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "patient.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
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

static void check_complete(const patient *p)
{
    saved_check_there(p, UINT64_MAX, false);
}

/* ---- the metas ---- */

static void test_both_metas(void **state)
{
    const patient *patients[] = {&small, &tall, &kept};
    for (size_t i = 0; i < KVI_COUNT(patients); i++)
        for (enum harm harm = 0; harm < HARMS; harm++) {
            surgeon s;
            kv_salvage_info info;
            surgeon_take(&s, patients[i]->file.bytes, patients[i]->file.size);
            patient_damage(&s, 0, harm);
            patient_damage(&s, 1, harm);
            int rc = patient_salvage(&s, &info);
            surgeon_free(&s);
            if (rc != KV_OK)
                fail_msg("harm %d: result %d\n%s", harm, rc, said.notes);
            assert_int_equal(info.guessed, 1);
            assert_int_equal(info.unsealed, harm == HARM_HEADER || harm == HARM_WIPED);
            assert_int_equal(info.commit_id == 0, harm == HARM_WIPED);
            assert_non_null(strstr(said.notes, "both metas are"));
            check_complete(patients[i]);
        }
}

/* The metas hold two commits: the newer one counts, whichever slot it is in. */
static void test_newer_of_two_damaged_metas(void **state)
{
    for (unsigned newer = 0; newer < 2; newer++) {
        surgeon s;
        kv_salvage_info info;
        surgeon_take(&s, small.file.bytes, small.file.size);
        kvi_meta older = s.meta;
        s.meta.id++;
        s.meta.durable = s.meta.id;
        s.meta.seal = s.meta.walk = 0;
        kvi_meta_encode(&s.meta, s.bytes + newer * s.page_size);
        kvi_meta_encode(&older, s.bytes + (1 - newer) * s.page_size);
        patient_damage(&s, 0, HARM_CHECKSUM);
        patient_damage(&s, 1, HARM_CHECKSUM);
        assert_int_equal(patient_salvage(&s, &info), KV_OK);
        assert_int_equal(info.commit_id, s.meta.id);
        surgeon_free(&s);
    }
}

/* The metas' checksums are wrong, and their roots are not where they say: what one of them still leads
 * to is believed, else the pages alone count. */
static void test_roots_elsewhere(void **state)
{
    enum { MAIN_GONE, BOTH_GONE, OTHER_BIRTHS, OTHER_LEVELS, CASES };
    for (int i = 0; i < CASES; i++) {
        surgeon s;
        kv_salvage_info info;
        surgeon_take(&s, small.file.bytes, small.file.size);
        kvi_tree_desc *main = &s.meta.main, *catalog = &s.meta.catalog;
        s.meta.high_water += 10;
        if (i == MAIN_GONE || i == BOTH_GONE)
            main->root.page = s.size / s.page_size + 5;
        if (i == BOTH_GONE)
            catalog->root.page = s.size / s.page_size + 6;
        main->root.birth -= i == OTHER_BIRTHS;
        catalog->root.birth += i == OTHER_BIRTHS;
        main->level = (uint8_t)(main->level + (i == OTHER_LEVELS));
        catalog->level = (uint8_t)(catalog->level + (i == OTHER_LEVELS));
        surgeon_put_meta(&s);
        patient_damage(&s, 0, HARM_CHECKSUM);
        patient_damage(&s, 1, HARM_CHECKSUM);
        assert_int_equal(patient_salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_int_equal(info.guessed, 1);
        assert_int_equal(info.unsealed, 0);
        assert_int_equal(info.commit_id == 0, i != MAIN_GONE);
        saved_check_there(&small, UINT64_MAX, i == MAIN_GONE);
    }
}

static uint64_t unreadable; /* a byte of the file */

static int64_t pread_but_one(const kvi_os *os, int fd, void *buf, size_t len, uint64_t offset)
{
    return offset == unreadable ? -EIO : kvi_os_posix.pread(os, fd, buf, len, offset);
}

/* The metas' checksums are wrong, and the main tree's root cannot be read, or is no node: the catalog's
 * root speaks for the commit. */
static void test_catalog_speaks(void **state)
{
    uint64_t root = small.file.meta.main.root.page;
    for (int wiped = 0; wiped < 2; wiped++) {
        kvi_os os = kvi_os_posix;
        surgeon s;
        kv_salvage_info info;
        surgeon_take(&s, small.file.bytes, small.file.size);
        patient_damage(&s, 0, HARM_CHECKSUM);
        patient_damage(&s, 1, HARM_CHECKSUM);
        if (wiped)
            patient_damage(&s, root, HARM_MIDDLE);
        else
            os.pread = pread_but_one;
        unreadable = root * s.page_size;
        assert_int_equal(patient_salvage_on(&os, &s, &info), KV_OK);
        surgeon_free(&s);
        assert_int_equal(info.guessed, 1);
        assert_int_equal(info.commit_id, small.file.meta.id);
        saved_check_there(&small, UINT64_MAX, true);
    }
}

static void test_another_version(void **state)
{
    surgeon s;
    kv_salvage_info info;
    surgeon_take(&s, small.file.bytes, small.file.size);
    for (unsigned slot = 0; slot < 2; slot++) {
        kvi_put32(s.bytes + slot * kvi_meta_stride(s.page_size) + KVI_M_version, KVI_VERSION + 1);
        surgeon_stamp_meta(&s, slot);
    }
    assert_int_equal(patient_salvage(&s, &info), KV_EVERSION);
    surgeon_free(&s);
    assert_int_not_equal(access(saved_path, F_OK), 0);
}

/* A page that the file will never have. */
static void test_high_water_lies(void **state)
{
    kv_salvage_info info;
    surgeon s;
    surgeon_take(&s, small.file.bytes, small.file.size);
    s.meta.high_water = (uint64_t)1 << 47;
    surgeon_put_meta(&s);
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    assert_int_equal(info.losses, 0);
    patient_damage(&s, s.meta.main.root.page, HARM_HEADER);
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    check_complete(&small);
}

/* The newest commit is not whole, as after a power cut: the one before it is read. */
static void test_unfinished_commit(void **state)
{
    const uint64_t none = 0;
    kv_salvage_info info;
    surgeon s;
    surgeon_take(&s, small.file.bytes, small.file.size);
    kvi_meta newer = s.meta;
    newer.id++;
    newer.durable = s.meta.id;
    newer.seal = 12345;
    newer.walk = s.page_size;
    newer.kind = KVI_KIND_LAZY;
    kvi_meta_encode(&newer, s.bytes);
    kvi_meta_encode(&s.meta, s.bytes + s.page_size);
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    assert_int_equal(info.commit_id, s.meta.id);
    assert_int_equal(info.guessed, 0);
    assert_non_null(strstr(said.notes, "is not whole"));
    assert_int_equal(info.losses, 0);
    assert_int_equal(saved_check(&small, &none, 0), 0);
    memset(s.bytes + s.page_size, 0xde,
           KVI_META_SIZE); /* now it is the only one, and still no guess */
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    assert_int_equal(info.commit_id, newer.id);
    assert_int_equal(info.guessed, 0);
    assert_non_null(strstr(said.notes, "there is no other"));
    assert_int_equal(saved_check(&small, &none, 0), 0);
    surgeon_free(&s);
}

/* ---- the end of the file ---- */

/* The end of the file is missing, and with it the records of free pages: what lies before is there. */
static void test_truncated(void **state)
{
    uint64_t cut = tall.file.size / tall.file.page_size * 3 / 4;
    kv_salvage_info info;
    surgeon s;
    surgeon_take(&s, tall.file.bytes, tall.file.size);
    s.size = cut * s.page_size;
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_true(info.lost_entries > 100 && info.losses > 0);
    saved_check_there(&tall, cut, true); /* names and roots are gone too */
}

/* The value at the end, and its leaf in a page that an earlier version left. */
static void tail_make(kv_db *db)
{
    static const uint8_t bytes[30000];
    for (unsigned round = 0; round < 8; round++) {
        kv_txn *txn = patient_begin(db);
        patient_put(kv_txn_main(txn), "key%05u", round, "small", 5);
        if (round == 4)
            patient_put(kv_txn_main(txn), "large%u", 1, bytes, sizeof bytes);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
}

/* The end of the file is missing with half of a large value, and nobody knows the checksums' seed:
 * what is left of the value is not taken for all of it. */
static void test_truncated_unsealed(void **state)
{
    static patient tail;
    kv_salvage_info info;
    surgeon s;
    kvi_pgno leaf;
    kvi_entry entry;
    uint8_t *stored;
    patient_make(&tail, 4096, tail_make);
    surgeon_take(&s, tail.file.bytes, tail.file.size);
    assert_true(surgeon_find(&s, &s.meta.main, KVI_ENTRY_LARGE, &leaf, &stored, &entry));
    assert_true(leaf < entry.large.ptr.page && entry.large.pages > 2);
    uint64_t cut = entry.large.ptr.page + 2;
    patient_damage(&s, 0, HARM_HEADER);
    patient_damage(&s, 1, HARM_HEADER);
    s.size = cut * s.page_size;
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_int_equal(info.unsealed, 1);
    assert_int_equal(info.lost_values, 1);
    assert_int_equal(info.losses, 1);
    assert_int_equal(said.losses[0].from_len, 6);
    assert_memory_equal(said.losses[0].from, "large1", 6);
    saved_check_there(&tail, cut - 1, false);
    patient_free(&tail);
}

/* The file ends within the last page of a large value: behind the value, or a byte before its end. */
static void test_truncated_behind_a_value(void **state)
{
    static patient tail;
    patient_make(&tail, 4096, tail_make);
    for (int less = 0; less < 2; less++) {
        kv_salvage_info info;
        surgeon s;
        kvi_pgno leaf;
        kvi_entry entry;
        uint8_t *stored;
        surgeon_take(&s, tail.file.bytes, tail.file.size);
        assert_true(surgeon_find(&s, &s.meta.main, KVI_ENTRY_LARGE, &leaf, &stored, &entry));
        assert_true(leaf < entry.large.ptr.page && s.meta.main.root.page < entry.large.ptr.page);
        assert_true(entry.large.stored_len % s.page_size > 1);
        s.size = entry.large.ptr.page * s.page_size + entry.large.stored_len - less;
        assert_int_equal(patient_salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_int_equal(info.losses, less);
        assert_int_equal(info.lost_values, less);
        assert_int_equal(saved_has("", "large1", 6), !less);
        if (!less)
            check_complete(&tail);
    }
    patient_free(&tail);
}

/* The root is gone and so is the end, to which its children lead. */
static void test_root_and_end_gone(void **state)
{
    uint64_t pages = tall.file.size / tall.file.page_size;
    for (uint64_t cut = pages - 1; cut > pages - 12; cut--) {
        kv_salvage_info info;
        surgeon s;
        surgeon_take(&s, tall.file.bytes, tall.file.size);
        patient_damage(&s, s.meta.main.root.page, HARM_WIPED);
        s.size = cut * s.page_size;
        assert_int_equal(patient_salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        saved_check_there(&tall, cut, true);
    }
}

/* ---- without a meta ---- */

static void lose_metas(surgeon *s)
{
    memset(s->bytes, 0, 2 * (size_t)s->page_size);
}

static bool root_taken(const char *of, kvi_ptr root)
{
    char sentence[100];
    snprintf(sentence, sizeof sentence, "page %llu (birth %llu) is taken for the root of the %s",
             (unsigned long long)root.page, (unsigned long long)root.birth, of);
    return strstr(said.notes, sentence);
}

/* The newest catalog counts, wherever it lies. */
static void test_two_catalogs(void **state)
{
    uint64_t end = small.file.size / small.file.page_size;
    uint64_t catalog = small.file.meta.catalog.root.page;
    for (int twice = 0; twice < 2; twice++) {
        surgeon s;
        kv_salvage_info info;
        surgeon_take(&s, small.file.bytes, small.file.size);
        s.bytes = realloc(s.bytes, s.size + 2 * (size_t)s.page_size);
        assert_non_null(s.bytes);
        for (unsigned i = 0; i < 2; i++) { /* births 2 and 1, or 1 and 2, above the sound one's */
            uint8_t *page = surgeon_page(&s, end + i);
            memcpy(page, surgeon_page(&s, catalog), s.page_size);
            kvi_put64(page + KVI_P_page, end + i);
            kvi_put64(page + KVI_P_birth,
                      kvi_get64(page + KVI_P_birth) + 1 + (i ^ (unsigned)twice));
        }
        s.size += 2 * (size_t)s.page_size;
        lose_metas(&s);
        assert_int_equal(patient_salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        const kvi_ptr newest = {end + !twice, small.file.meta.catalog.root.birth + 2};
        assert_true(root_taken("catalog", newest));
        check_complete(&small);
    }
}

/* A catalog of which no tree is there is none. */
static void test_catalog_without_trees(void **state)
{
    surgeon s;
    kv_salvage_info info;
    kvi_tree_desc desc;
    kvi_pgno leaf;
    surgeon_take(&s, small.file.bytes, small.file.size);
    for (unsigned i = 0; i < small.n_trees - 1; i++) {
        surgeon_catalog(&s, i, &leaf, &desc);
        patient_damage(&s, desc.root.page, HARM_WIPED);
    }
    lose_metas(&s);
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_null(strstr(said.notes, "root of the catalog"));
    assert_true(root_taken("main tree", small.file.meta.main.root));
    assert_int_equal(info.trees, info.found_trees);
}

static void old_root_make(kv_db *db)
{
    static const char *const names[] = {"", "twin"};
    static uint8_t bytes[9000];
    rng random;
    rng_seed(&random, 8);
    for (size_t i = 0; i < 2; i++) {
        kv_txn *txn = patient_begin(db);
        kv_tree *tree = i ? patient_create(txn, names[i], 0) : kv_txn_main(txn);
        patient_fill(tree, "key%05u", 200, 150, &random);
        if (i)
            patient_put(tree, "large%u", 1, bytes, sizeof bytes);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
    kv_txn *txn = patient_begin(db);
    patient_put(patient_create(txn, "twin", 0), "key%05u", 20, "changed", 7);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* Older catalogs, which lead to what trees were then. */
static void wipe_old_catalogs(surgeon *s)
{
    for (kvi_pgno page = 2; page < s->size / s->page_size; page++) {
        const uint8_t *bytes = surgeon_page(s, page);
        bool special;
        if (bytes[KVI_P_type] == KVI_LEAF && kvi_get64(bytes + KVI_P_page) == page &&
            page != s->meta.catalog.root.page &&
            kvi_leaf_value(bytes, s->page_size, 0, &special).len == KVI_TREE_SIZE)
            patient_damage(s, page, HARM_WIPED);
    }
}

/* An older root of a named tree is newer than the main tree's; so is what a user's value pretends to
 * be. Neither is taken for that. */
static void test_roots_of_others(void **state)
{
    static patient old;
    patient_make(&old, 4096, old_root_make);
    for (int forged = 0; forged < 2; forged++) {
        surgeon s;
        kv_salvage_info info;
        kvi_tree_desc twin;
        kvi_pgno leaf;
        kvi_entry entry;
        uint8_t *stored;
        surgeon_take(&s, old.file.bytes, old.file.size);
        surgeon_catalog(&s, 0, &leaf, &twin);
        assert_int_equal(twin.level, s.meta.main.level);
        wipe_old_catalogs(&s);
        assert_true(surgeon_find(&s, &twin, KVI_ENTRY_LARGE, &leaf, &stored, &entry));
        if (forged) {
            kvi_pgno at = entry.large.ptr.page + 1;
            uint8_t *page = surgeon_page(&s, at);
            memcpy(page, surgeon_page(&s, s.meta.main.root.page), s.page_size);
            kvi_put64(page + KVI_P_page, at);
            kvi_put64(page + KVI_P_birth, s.meta.id);
            kvi_branch_set_child(page, s.page_size, 0, kvi_branch_child(page, s.page_size, 1));
        }
        lose_metas(&s);
        assert_int_equal(patient_salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_true(root_taken("main tree", old.file.meta.main.root));
        if (!forged)
            check_complete(&old);
    }
    patient_free(&old);
}

/* A tree that has become small, and a named snapshot of when it was large. The named tree's commit, if
 * there is one, is younger than all of it. */
static void shrunk_make(kv_db *db, bool named)
{
    rng random;
    rng_seed(&random, 12);
    kv_txn *txn = patient_begin(db);
    patient_fill(kv_txn_main(txn), "key%05u", 400, 150, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_snapshot_create(db, "large", 5, 0), KV_OK);
    txn = patient_begin(db);
    for (unsigned i = 20; i < 400; i++) {
        char key[16];
        int len = snprintf(key, sizeof key, "key%05u", i);
        assert_int_equal(kv_del(kv_txn_main(txn), key, (size_t)len), KV_OK);
    }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    for (unsigned round = 0; round < (named ? 4 : 3); round++) {
        txn = patient_begin(db);
        patient_put(round < 3 ? kv_txn_main(txn) : patient_create(txn, "young", 0), "key%05u",
                    10 + round, "fresh", 5);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
}

static void shrunk_main_make(kv_db *db)
{
    shrunk_make(db, false);
}

static void shrunk_named_make(kv_db *db)
{
    shrunk_make(db, true);
}

/* Where the main tree of the only named snapshot begins. */
static kvi_pgno kept_root(const surgeon *s)
{
    kvi_named named;
    kvi_stored stored;
    const uint8_t *list = surgeon_page(s, s->meta.snapshots.root.page);
    stored.bytes = kvi_leaf_value(list, s->page_size, 0, &stored.special);
    assert_true(kvi_stored_named(stored, s->page_size, s->meta.high_water, s->meta.id, &named));
    return named.main.root.page;
}

/* Moves it behind all other pages. */
static void move_kept_root(surgeon *s)
{
    kvi_pgno from = kept_root(s), to = s->size / s->page_size;
    s->bytes = realloc(s->bytes, s->size + s->page_size);
    assert_non_null(s->bytes);
    s->size += s->page_size;
    memcpy(surgeon_page(s, to), surgeon_page(s, from), s->page_size);
    kvi_put64(surgeon_page(s, to) + KVI_P_page, to);
    surgeon_stamp(s, to);
    patient_damage(s, from, HARM_WIPED);
}

/* The larger root of a named snapshot is not taken for the newest one, wherever it lies; where that cannot
 * be told, what is younger than the root that is taken is no older version of it. */
static void test_root_of_a_snapshot(void **state)
{
    static void (*const make[])(kv_db * db) = {shrunk_main_make, shrunk_named_make};
    for (int i = 0; i < 3; i++) {
        static patient shrunk;
        surgeon s;
        kv_salvage_info info;
        bool named = i == 1;
        shrunk = (patient){0};
        patient_make(&shrunk, 4096, make[named]);
        surgeon_take(&s, shrunk.file.bytes, shrunk.file.size);
        assert_int_equal(s.meta.main.level, 0);
        if (i == 2)
            move_kept_root(&s);
        lose_metas(&s);
        assert_int_equal(patient_salvage(&s, &info), KV_OK);
        assert_int_equal(root_taken("main tree", s.meta.main.root), !named);
        surgeon_free(&s);
        saved_check_there(&shrunk, UINT64_MAX, named);
        patient_free(&shrunk);
    }
}

static void tall_named_make(kv_db *db)
{
    rng random;
    rng_seed(&random, 14);
    kv_txn *txn = patient_begin(db);
    patient_fill(patient_create(txn, "high", 0), "key%05u", 7000, 150, &random);
    patient_fill(patient_create(txn, "words", 0), "word%04u", 60, 100, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = patient_begin(db);
    patient_fill(kv_txn_main(txn), "main%05u", 100, 150, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* A copy of the root's first child, at the end of the file, is its second one. */
static void double_child(surgeon *s, kvi_pgno root)
{
    kvi_pgno end = s->size / s->page_size;
    s->bytes = realloc(s->bytes, s->size + s->page_size);
    assert_non_null(s->bytes);
    s->size += s->page_size;
    kvi_ptr first = kvi_branch_child(surgeon_page(s, root), s->page_size, 0);
    memcpy(surgeon_page(s, end), surgeon_page(s, first.page), s->page_size);
    kvi_put64(surgeon_page(s, end) + KVI_P_page, end);
    surgeon_stamp(s, end);
    kvi_branch_set_child(surgeon_page(s, root), s->page_size, 1, (kvi_ptr){end, first.birth});
}

/* Where the root of a named tree should be, an older version of it is. The branches that this one leads to
 * are guesses as well: what is below comes back, but not without a word. Of two that have the same keys one
 * does; the other is no tree of its own. */
static void test_old_root_of_a_named_tree(void **state)
{
    static patient high;
    patient_make(&high, 4096, tall_named_make);
    for (int doubled = 0; doubled < 2; doubled++) {
        surgeon s;
        kv_salvage_info info;
        kvi_tree_desc desc;
        kvi_pgno leaf;
        surgeon_take(&s, high.file.bytes, high.file.size);
        surgeon_catalog(&s, 0, &leaf, &desc);
        assert_int_equal(desc.level, 2);
        if (doubled)
            double_child(&s, desc.root.page);
        kvi_put64(surgeon_page(&s, desc.root.page) + KVI_P_birth, desc.root.birth - 1);
        surgeon_stamp(&s, desc.root.page);
        kvi_ptr newest = s.meta.main.root;
        lose_metas(&s);
        assert_int_equal(patient_salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_true(root_taken("main tree", newest));
        assert_true(info.losses > 0);
        assert_int_equal(said.entries, high.n); /* none twice */
        saved_check_there(&high, UINT64_MAX, doubled);
        saved_check_sound();
    }
    patient_free(&high);
}

/* The same where the larger root lies behind the newer one: it is met later, and passed over. */
static void test_root_of_a_snapshot_behind(void **state)
{
    static patient shrunk;
    surgeon s;
    kv_salvage_info info;
    kvi_pgno large = 0, page = 2;
    shrunk = (patient){0};
    patient_make(&shrunk, 4096, shrunk_main_make);
    surgeon_take(&s, shrunk.file.bytes, shrunk.file.size);
    kvi_pgno end = s.size / s.page_size;
    for (; page < end; page++) {
        const uint8_t *bytes = surgeon_page(&s, page);
        if (bytes[KVI_P_type] == KVI_BRANCH && kvi_get64(bytes + KVI_P_page) == page &&
            (!large ||
             kvi_get64(bytes + KVI_P_birth) < kvi_get64(surgeon_page(&s, large) + KVI_P_birth)))
            large = page;
    }
    assert_true(large > 0);
    s.bytes = realloc(s.bytes, s.size + s.page_size);
    assert_non_null(s.bytes);
    s.size += s.page_size;
    memcpy(surgeon_page(&s, end), surgeon_page(&s, large), s.page_size);
    kvi_put64(surgeon_page(&s, end) + KVI_P_page, end);
    surgeon_stamp(&s, end);
    patient_damage(&s, large, HARM_WIPED);
    kvi_ptr newest = s.meta.main.root;
    lose_metas(&s);
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_true(root_taken("main tree", newest));
    saved_check_there(&shrunk, UINT64_MAX, false);
    patient_free(&shrunk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_metas),
        cmocka_unit_test(test_newer_of_two_damaged_metas),
        cmocka_unit_test(test_roots_elsewhere),
        cmocka_unit_test(test_catalog_speaks),
        cmocka_unit_test(test_another_version),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_truncated_unsealed),
        cmocka_unit_test(test_truncated_behind_a_value),
        cmocka_unit_test(test_root_and_end_gone),
        cmocka_unit_test(test_high_water_lies),
        cmocka_unit_test(test_unfinished_commit),
        cmocka_unit_test(test_two_catalogs),
        cmocka_unit_test(test_catalog_without_trees),
        cmocka_unit_test(test_roots_of_others),
        cmocka_unit_test(test_root_of_a_snapshot),
        cmocka_unit_test(test_root_of_a_snapshot_behind),
        cmocka_unit_test(test_old_root_of_a_named_tree),
    };
    return cmocka_run_group_tests(tests, make_all, free_all);
}
