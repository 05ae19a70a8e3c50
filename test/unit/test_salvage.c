/* Salvage: of a damaged file everything is recovered that does not live in a damaged page, and what is
 * missing is named. Here pages are damaged, and single values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "carve.h"
#include "patient.h"
#include "rounds.h"
#include <stdlib.h>
#include <unistd.h>

#ifdef KVI_STRESS
#define DEEP_ENTRIES 2500 /* for branches on three levels */
#else
#define DEEP_ENTRIES 300
#endif

static patient small, kept, tall, deep;

static void deep_make(kv_db *db)
{
    rng random;
    rng_seed(&random, 6);
    kv_txn *txn = patient_begin(db);
    patient_fill(kv_txn_main(txn), "key%05u", DEEP_ENTRIES, 90, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static int make_all(void **state)
{
    patient_folder_make();
    patient_make(&small, 4096, patient_small);
    patient_make(&kept, 4096, patient_kept);
    patient_make(&tall, 4096, patient_tall);
    patient_make(&deep, KVI_PAGE_MIN, deep_make);
    return 0;
}

static int free_all(void **state)
{
    patient_free(&small);
    patient_free(&kept);
    patient_free(&tall);
    patient_free(&deep);
    patient_folder_remove();
    return 0;
}

/* ---- pages ---- */

static void test_sound(void **state)
{
    const uint64_t none = 0;
    kv_salvage_info info;
    assert_int_equal(patient_salvage(&small.file, &info), KV_OK);
    assert_int_equal(info.losses, 0);
    assert_int_equal(info.entries, small.n);
    assert_int_equal(info.trees, small.n_trees - 1);
    assert_int_equal(saved_check(&small, &none, 0), 0);
    assert_int_equal(patient_salvage(&tall.file, &info), KV_OK);
    assert_int_equal(info.losses, 0);
    assert_int_equal(saved_check(&tall, &none, 0), 0);
    assert_null(strstr(said.notes, "named snapshot"));
    assert_int_equal(patient_salvage(&kept.file, &info), KV_OK);
    assert_int_equal(info.losses, 0);
    assert_int_equal(saved_check(&kept, &none, 0), 0);
    assert_non_null(strstr(said.notes, "the named snapshot before1, commit"));
    assert_non_null(strstr(said.notes, "the named snapshot z3, commit"));
    assert_null(strstr(said.notes, "snapshot z2"));
}

/* A tree goes on as it was: what is put into it later is compressed, or is not. */
static void test_trees_keep_their_options(void **state)
{
    static const char *const names[] = {"packed", "words"};
    kv_salvage_info info;
    kv_db *db;
    kv_txn *txn;
    assert_int_equal(patient_salvage(&small.file, &info), KV_OK);
    assert_int_equal(kv_db_open(saved_path, NULL, &db), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    for (size_t i = 0; i < KVI_COUNT(names); i++) {
        kv_tree_info stat = {.size = sizeof stat};
        assert_int_equal(kv_tree_stat(patient_tree(txn, names[i]), &stat), KV_OK);
        assert_int_equal(stat.compress_from, i ? 0 : 1000);
    }
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
}

static void test_small_is_as_wanted(void **state)
{
    uint64_t pages = small.file.size / small.file.page_size;
    print_message("%llu pages\n", (unsigned long long)pages);
    assert_true(pages >= 40 && pages <= 60);
    assert_int_equal(small.n_trees, 4);
    assert_int_equal(small.file.meta.main.level, 1);
    assert_int_equal(tall.file.meta.main.level, 2);
}

static void damage_every_page(const patient *p)
{
    uint64_t pages = p->file.size / p->file.page_size;
    size_t lost = 0;
    for (uint64_t page = 0; page < pages; page++)
        for (enum harm harm = 0; harm < HARMS; harm++) {
            size_t gone, lived = patient_living(p, page);
            patient_salvage_damaged(p, &page, 1, harm, &gone);
            if (lived && gone != lived)
                fail_msg("page %llu harm %d lived %zu gone %zu\n%s", (unsigned long long)page, harm,
                         lived, gone, said.notes);
            lost += gone;
        }
    assert_true(lost > p->n * 3);
}

static void test_every_page(void **state)
{
    damage_every_page(&small);
}

static void test_every_page_beside_snapshots(void **state)
{
    damage_every_page(&kept);
}

static void test_every_pair(void **state)
{
    uint64_t n = small.file.size / small.file.page_size, pages[2];
    for (pages[0] = 0; pages[0] < n; pages[0]++) /* the pair of metas: below */
        for (pages[1] = KVI_MAX(pages[0] + 1, 2); pages[1] < n; pages[1] += ROUNDS_STEP) {
            size_t gone;
            patient_salvage_damaged(&small, pages, 2, HARM_WIPED, &gone);
            patient_salvage_damaged(&small, pages, 2, HARM_HEADER, &gone);
        }
}

static void check_nothing_lost(size_t gone)
{
    assert_int_equal(gone, 0);
    assert_int_equal(said.found, 0);
    for (size_t i = 0; i < said.n; i++)
        if (said.losses[i].kind != KV_LOSS_PAGE)
            fail_msg("loss of kind %u: from %.*s to %.*s, %lld entries\n%s", said.losses[i].kind,
                     (int)said.losses[i].from_len, (const char *)said.losses[i].from,
                     (int)said.losses[i].to_len, (const char *)said.losses[i].to,
                     (long long)said.losses[i].entries, said.notes);
}

/* All that a lost branch led to is found, and no more is missing than was on damaged leaves. */
static void test_tall_branches(void **state)
{
    const kvi_tree_desc *main = &tall.file.meta.main;
    uint64_t root = main->root.page, pages[3];
    size_t gone;
    for (enum harm harm = 0; harm < HARMS; harm++) {
        patient_salvage_damaged(&tall, &root, 1, harm, &gone);
        check_nothing_lost(gone);
        pages[0] = surgeon_node(&tall.file, main, 1, 0).page;
        pages[1] = surgeon_node(&tall.file, main, 1, 1).page;
        patient_salvage_damaged(&tall, pages, 2, harm, &gone);
        check_nothing_lost(gone);
        pages[2] = root;
        patient_salvage_damaged(&tall, pages, 3, harm, &gone);
        check_nothing_lost(gone);
        pages[1] = surgeon_node(&tall.file, main, 0, 0).page;
        patient_salvage_damaged(&tall, pages, 2, harm, &gone);
        assert_int_equal(gone, patient_living(&tall, pages[1]));
    }
}

/* A leaf is missing at the edge of what fills a gap: the gap's bounds are the leaf's. */
static void test_gap_within_a_gap(void **state)
{
    const surgeon *file = &deep.file;
    const kvi_tree_desc *main = &file->meta.main;
#ifdef KVI_STRESS
    assert_int_equal(main->level, 3);
#endif
    for (unsigned child = 0; main->level > 2 && child < 3; child++)
        for (unsigned edge = 0; edge < 2; edge++) {
            kvi_ptr ptr = surgeon_node(file, main, 2, child);
            uint64_t pages[2] = {ptr.page};
            size_t gone, ranges = 0;
            const uint8_t *root = surgeon_page(file, main->root.page);
            for (unsigned level = 2; level > 0; level--) {
                const uint8_t *page = surgeon_page(file, ptr.page);
                ptr = kvi_branch_child(page, file->page_size, edge ? kvi_node_count(page) : 0);
            }
            pages[1] = ptr.page;
            patient_salvage_damaged(&deep, pages, 2, HARM_WIPED, &gone);
            assert_int_equal(gone, patient_living(&deep, ptr.page));
            for (size_t i = 0; i < said.n; i++)
                if (said.losses[i].kind == KV_LOSS_RANGE) {
                    assert_int_equal(said.losses[i].entries, gone);
                    assert_true(child == 0 || said.losses[i].from); /* bounds of the outer gap */
                    assert_true(child >= kvi_node_count(root) || said.losses[i].to);
                    ranges++;
                }
            assert_int_equal(ranges, 1);
        }
}

/* A page becomes a leaf with these two entries. */
static void make_leaf_of(surgeon *s, kvi_pgno page, kv_slice one, kv_slice two)
{
    surgeon leaf;
    kv_db *db;
    const kv_options options = {
        .size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = s->page_size};
    uint64_t birth = kvi_get64(surgeon_page(s, page) + KVI_P_birth);
    unlink(patient_path);
    assert_int_equal(kv_db_open(patient_path, &options, &db), KV_OK);
    kv_txn *txn = patient_begin(db);
    assert_int_equal(kv_put(kv_txn_main(txn), one.ptr, one.len, "one", 3, 0), KV_OK);
    assert_int_equal(kv_put(kv_txn_main(txn), two.ptr, two.len, "two", 3, 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_load(&leaf, patient_path);
    memcpy(surgeon_page(s, page), surgeon_page(&leaf, leaf.meta.main.root.page), s->page_size);
    kvi_put64(surgeon_page(s, page) + KVI_P_page, page);
    kvi_put64(surgeon_page(s, page) + KVI_P_birth, birth);
    surgeon_stamp(s, page);
    surgeon_free(&leaf);
}

static kv_slice key_of(const uint8_t *page, uint32_t page_size, unsigned slot, uint8_t *room)
{
    return (kv_slice){room, kvi_node_key(page, page_size, slot, room)};
}

/* The tall one, but no entry has the first separator of its root for a key. */
static void load_without_bound(surgeon *s)
{
    uint8_t room[64];
    kv_db *db;
    const surgeon *file = &tall.file;
    const uint8_t *root = surgeon_page(file, file->meta.main.root.page);
    kv_slice bound = key_of(root, file->page_size, 0, room);
    surgeon_save(file, patient_path);
    assert_int_equal(kv_db_open(patient_path, NULL, &db), KV_OK);
    kv_txn *txn = patient_begin(db);
    (void)kv_del(kv_txn_main(txn), bound.ptr, bound.len);
    patient_put(kv_txn_main(txn), "key%05u", 0, "again", 5);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_load(s, patient_path);
}

/* The leaf at the edge of a gap has the bound itself. The lower one belongs to the gap, and nothing is
 * missing before it; the upper one does not. */
static void test_leaf_at_the_bound(void **state)
{
    for (int upper = 0; upper < 2; upper++) {
        uint8_t room[2][64];
        surgeon s;
        kv_salvage_info info;
        load_without_bound(&s);
        kvi_pgno branch = surgeon_node(&s, &s.meta.main, 1, upper ? 0 : 1).page;
        unsigned last = kvi_node_count(surgeon_page(&s, branch));
        const uint8_t *root = surgeon_page(&s, s.meta.main.root.page);
        kv_slice bound = key_of(root, s.page_size, 0, room[0]);
        kvi_pgno leaf =
            kvi_branch_child(surgeon_page(&s, branch), s.page_size, upper ? last : 0).page;
        const uint8_t *page = surgeon_page(&s, leaf);
        kv_slice own = key_of(page, s.page_size, upper ? 0 : kvi_node_count(page) - 1u, room[1]);
        make_leaf_of(&s, leaf, bound, own);
        patient_damage(&s, branch, HARM_WIPED);
        assert_int_equal(patient_salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_int_equal(said.found, upper);
        assert_true(saved_has(upper ? "lost+found-1" : "", bound.ptr, bound.len));
        assert_true(saved_has(upper ? "lost+found-1" : "", own.ptr, own.len));
        assert_int_equal(upper && saved_has("", bound.ptr, bound.len), 0);
    }
}

/* A leaf that would fit one tree's gap is another's, as the remains of that one's root say. */
static void test_remains_outweigh_keys(void **state)
{
    const surgeon *file = &small.file;
    kvi_tree_desc twin;
    kvi_pgno leaf;
    size_t gone;
    surgeon_catalog(file, 1, &leaf, &twin);
    uint64_t pages[3] = {file->meta.main.root.page, twin.root.page,
                         surgeon_node(file, &file->meta.main, 0, 1).page};
    assert_int_equal(twin.level, 1);
    patient_salvage_damaged(&small, pages, 3, HARM_HEADER, &gone);
    assert_int_equal(gone, patient_living(&small, pages[2]));
    assert_int_equal(said.found, 0);
}

/* The remains tell who was below the page, but not in which order: it is an older version, or its
 * number of entries is wrong. */
static void test_remains_of_another(void **state)
{
    uint64_t root = tall.file.meta.main.root.page;
    for (int counted = 0; counted < 2; counted++) {
        surgeon s;
        kv_salvage_info info;
        surgeon_take(&s, tall.file.bytes, tall.file.size);
        uint8_t *page = surgeon_page(&s, root);
        if (counted)
            kvi_put16(page + KVI_P_count, UINT16_MAX);
        else
            kvi_put64(page + KVI_P_birth, kvi_get64(page + KVI_P_birth) - 1);
        surgeon_stamp(&s, root);
        assert_int_equal(patient_salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        check_nothing_lost(saved_check(&tall, &root, 1));
    }
}

/* A branch that nothing leads to has a child that is none of its own: a node of its level, a leaf of
 * another tree, a page that was written anew. The child that it should have had is found. */
static void test_wrong_children(void **state)
{
    uint64_t root = tall.file.meta.main.root.page;
    enum { OWN_LEVEL, FOREIGN, OLDER, CASES };
    for (int how = 0; how < CASES; how++) {
        surgeon s;
        kv_salvage_info info;
        kvi_tree_desc twin;
        kvi_pgno leaf;
        surgeon_take(&s, tall.file.bytes, tall.file.size);
        kvi_ptr wrong = {0}, newest = surgeon_node(&s, &s.meta.main, 1, 0);
        for (unsigned i = 1; i <= kvi_node_count(surgeon_page(&s, root)); i++) {
            kvi_ptr other = surgeon_node(&s, &s.meta.main, 1, i);
            wrong = other.birth > newest.birth ? newest : other;
            newest = other.birth > newest.birth ? other : newest;
        }
        surgeon_catalog(&s, 0, &leaf, &twin);
        if (how == FOREIGN)
            wrong = surgeon_node(&s, &twin, 0, 1);
        if (how == OLDER)
            wrong = kvi_branch_child(surgeon_page(&s, newest.page), s.page_size, 3);
        wrong.birth -= how == OLDER;
        assert_true(wrong.page && wrong.birth <= newest.birth);
        kvi_branch_set_child(surgeon_page(&s, newest.page), s.page_size, 3, wrong);
        surgeon_stamp(&s, newest.page);
        patient_damage(&s, root, HARM_WIPED);
        assert_int_equal(patient_salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_int_equal(info.bad_pages, 2);
        assert_int_equal(saved_check(&tall, &root, 1), 0);
        assert_int_equal(said.found, 1);
    }
}

/* ---- pages in the places of others ---- */

static void swap_pages(surgeon *s, kvi_pgno a, kvi_pgno b)
{
    uint8_t *x = surgeon_page(s, a), *y = surgeon_page(s, b);
    for (uint32_t i = 0; i < s->page_size; i++) {
        uint8_t byte = x[i];
        x[i] = y[i];
        y[i] = byte;
    }
}

/* Sound pages change places: two leaves of one tree or of two, a branch or root and a leaf, all pages of
 * a level. They are what they are wherever they lie, so nothing is lost. */
static void test_changed_places(void **state)
{
    const kvi_tree_desc *main = &tall.file.meta.main;
    kvi_tree_desc twin;
    kvi_pgno at;
    surgeon_catalog(&tall.file, 0, &at, &twin);
    kvi_ptr branch = surgeon_node(&tall.file, main, 1, 1);
    const uint8_t *page = surgeon_page(&tall.file, branch.page);
    kvi_pgno leaf = kvi_branch_child(page, tall.file.page_size, 2).page;
    kvi_pgno other = kvi_branch_child(page, tall.file.page_size, 5).page;
    const kvi_pgno pairs[][2] = {
        {leaf, other},
        {leaf, surgeon_node(&tall.file, &twin, 0, 1).page},
        {branch.page, leaf},
        {branch.page, surgeon_node(&tall.file, main, 0, 0).page},
        {main->root.page, leaf},
        {main->root.page, branch.page},
        {at, leaf},
    };
    for (size_t i = 0; i < KVI_COUNT(pairs); i++) {
        surgeon s;
        kv_salvage_info info;
        surgeon_take(&s, tall.file.bytes, tall.file.size);
        swap_pages(&s, pairs[i][0], pairs[i][1]);
        assert_int_equal(patient_salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        check_nothing_lost(saved_check(&tall, NULL, 0));
        assert_int_equal(info.losses, 0);
        assert_int_equal(info.bad_pages, 0);
        assert_non_null(strstr(said.notes, "2 pages were not in place"));
    }
}

/* Of two such leaves one is damaged: that one is lost, and nothing else. What lies elsewhere with an older
 * birth is another version. */
static void test_changed_places_damaged(void **state)
{
    const kvi_tree_desc *main = &tall.file.meta.main;
    const uint8_t *page = surgeon_page(&tall.file, surgeon_node(&tall.file, main, 1, 1).page);
    kvi_pgno leaf = kvi_branch_child(page, tall.file.page_size, 2).page;
    kvi_pgno other = kvi_branch_child(page, tall.file.page_size, 5).page;
    for (int older = 0; older < 2; older++) {
        surgeon s;
        kv_salvage_info info;
        surgeon_take(&s, tall.file.bytes, tall.file.size);
        swap_pages(&s, leaf, other);
        uint8_t *moved = surgeon_page(&s, other);
        if (older) {
            kvi_put64(moved + KVI_P_birth, kvi_get64(moved + KVI_P_birth) - 1);
            surgeon_stamp(&s, other);
        } else {
            moved[s.page_size / 2] ^= 1;
        }
        assert_int_equal(patient_salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_int_equal(saved_check(&tall, &leaf, 1), patient_living(&tall, leaf));
        assert_int_equal(info.bad_pages, 1);
        assert_non_null(strstr(said.notes, "1 page was not in place"));
    }
}

/* A leaf was written beside its place, where an older version of it is left. */
static void test_landed_elsewhere(void **state)
{
    kvi_ptr leaf = surgeon_node(&tall.file, &tall.file.meta.main, 0, 1);
    surgeon s;
    kv_salvage_info info;
    surgeon_take(&s, tall.file.bytes, tall.file.size);
    kvi_pgno end = s.size / s.page_size;
    s.bytes = realloc(s.bytes, s.size + s.page_size);
    assert_non_null(s.bytes);
    s.size += s.page_size;
    uint8_t *page = surgeon_page(&s, leaf.page);
    memcpy(surgeon_page(&s, end), page, s.page_size);
    kvi_put64(page + KVI_P_birth, leaf.birth - 1);
    surgeon_stamp(&s, leaf.page);
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    check_nothing_lost(saved_check(&tall, NULL, 0));
}

/* What lies behind the end that the commit knows is not its own, nor is what only looks like a page. */
static void test_beyond_the_end(void **state)
{
    uint64_t root = small.file.meta.main.root.page, end = small.file.size / small.file.page_size;
    kvi_pgno leaf = surgeon_node(&small.file, &small.file.meta.main, 0, 0).page;
    surgeon s;
    kv_salvage_info info;
    surgeon_take(&s, small.file.bytes, small.file.size);
    s.bytes = realloc(s.bytes, s.size + 4 * (size_t)s.page_size);
    assert_non_null(s.bytes);
    for (unsigned i = 0; i < 4; i++) {
        uint8_t *page = surgeon_page(&s, end + i);
        memcpy(page, surgeon_page(&s, leaf), s.page_size);
        kvi_put64(page + KVI_P_page, end + i);
        if (i == 1)
            kvi_put64(page + KVI_P_birth, 0);
        else if (i > 1)
            page[KVI_P_type] = i == 2 ? 0 : UINT8_MAX;
        surgeon_stamp(&s, end + i);
    }
    s.size += 4 * (size_t)s.page_size;
    patient_damage(&s, root, HARM_WIPED);
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    check_nothing_lost(saved_check(&small, &root, 1));
}

/* The last bytes of a lost page mention a leaf: too few for a descriptor, they are a branch's. */
static void test_remains_at_the_end(void **state)
{
    uint64_t root = small.file.meta.main.root.page;
    surgeon s;
    kv_salvage_info info;
    surgeon_take(&s, small.file.bytes, small.file.size);
    kvi_ptr first = kvi_branch_child(surgeon_page(&s, root), s.page_size, 0);
    patient_damage(&s, root, HARM_WIPED);
    kvi_ptr_put(surgeon_page(&s, root) + s.page_size - KVI_PTR_SIZE, first);
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    check_nothing_lost(saved_check(&small, &root, 1));
}

static int count_pages(void *context, uint64_t pages)
{
    *(uint64_t *)context += pages;
    return KV_OK;
}

/* A pointer is right about a page when number, birth and level are. */
static void test_pointers_to_nodes(void **state)
{
    kvi_carve carve;
    uint64_t looked_at = 0;
    kvi_ptr root = small.file.meta.main.root;
    unsigned level = small.file.meta.main.level;
    surgeon_save(&small.file, patient_path);
    assert_int_equal(kvi_carve_open(&carve, &kvi_os_posix, patient_path), KV_OK);
    assert_int_equal(kvi_carve_scan(&carve, count_pages, &looked_at), KV_OK);
    assert_true(kvi_carve_holds(&carve, root, level));
    assert_false(kvi_carve_holds(&carve, root, level + 1));
    assert_false(kvi_carve_holds(&carve, (kvi_ptr){root.page, root.birth - 1}, level));
    assert_false(kvi_carve_holds(&carve, (kvi_ptr){carve.pages, root.birth}, level));
    assert_false(kvi_carve_holds(&carve, (kvi_ptr){KVI_PGNO_MAX, root.birth}, level));
    kvi_carve_close(&carve);
}

static void records_make(kv_db *db)
{
    rng random;
    rng_seed(&random, 9);
    kv_txn *txn = patient_begin(db);
    patient_fill(kv_txn_main(txn), "key%05u", 200, 90, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    for (unsigned round = 0; round < 200; round++) {
        txn = patient_begin(db);
        patient_put(kv_txn_main(txn), "key%05u", round * 7 % 200, "changed", 7);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
}

/* Pages of the space records, sound as they are, are no part of any tree. */
static void test_records_are_no_nodes(void **state)
{
    static patient p;
    size_t gone;
    patient_make(&p, KVI_PAGE_MIN, records_make);
    uint64_t root = p.file.meta.main.root.page;
#ifdef KVI_STRESS
    assert_true(p.file.meta.log_pages > 0 || p.file.meta.map_levels > 0);
#endif
    for (enum harm harm = 0; harm < HARMS; harm++) {
        patient_salvage_damaged(&p, &root, 1, harm, &gone);
        check_nothing_lost(gone);
    }
    patient_free(&p);
}

/* What is left of a branch tells between which leaves one is missing. */
static void test_remains_tell_the_place(void **state)
{
    const kvi_tree_desc *main = &tall.file.meta.main;
    uint64_t pages[2] = {surgeon_node(&tall.file, main, 1, 0).page,
                         surgeon_node(&tall.file, main, 0, 0).page};
    const uint8_t *branch = surgeon_page(&tall.file, pages[0]);
    pages[1] = kvi_branch_child(branch, tall.file.page_size, 7).page;
    size_t gone, ranges = 0;
    patient_salvage_damaged(&tall, pages, 2, HARM_CHECKSUM, &gone);
    for (size_t i = 0; i < said.n; i++)
        if (said.losses[i].kind == KV_LOSS_RANGE) {
            assert_int_equal(said.losses[i].entries, gone);
            ranges++;
        }
    assert_int_equal(ranges, 1);
}

/* One that says that it is on another level is not believed about its ends. */
static void test_remains_of_another_level(void **state)
{
    const kvi_tree_desc *main = &tall.file.meta.main;
    surgeon s;
    kv_salvage_info info;
    uint64_t pages[2] = {surgeon_node(&tall.file, main, 1, 0).page};
    size_t ranges = 0;
    surgeon_take(&s, tall.file.bytes, tall.file.size);
    pages[1] = kvi_branch_child(surgeon_page(&s, pages[0]), s.page_size, 7).page;
    surgeon_page(&s, pages[0])[KVI_P_level]++;
    surgeon_stamp(&s, pages[0]);
    patient_damage(&s, pages[1], HARM_CHECKSUM);
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_int_equal(saved_check(&tall, pages, 2), patient_living(&tall, pages[1]));
    for (size_t i = 0; i < said.n; i++)
        ranges += said.losses[i].kind == KV_LOSS_RANGE;
    assert_int_equal(ranges, 3); /* before the first, where the leaf was, behind the last */
}

/* ---- values ---- */

/* An entry that has no form, bytes that do not decompress: the value is lost, and said to be. */
static void test_senseless_values(void **state)
{
    for (int packed = 0; packed < 3; packed++) {
        surgeon s;
        kv_salvage_info info;
        kvi_tree_desc desc;
        kvi_pgno leaf;
        kvi_entry entry;
        uint8_t *stored;
        surgeon_take(&s, small.file.bytes, small.file.size);
        surgeon_catalog(&s, 0, &leaf, &desc);
        assert_true(surgeon_find(&s, packed ? &desc : &s.meta.main,
                                 packed ? KVI_ENTRY_COMPRESSED : KVI_ENTRY_LARGE, &leaf, &stored,
                                 &entry));
        if (packed == 2)
            kvi_put64(stored + 2, (uint64_t)1 << 60); /* its length */
        else if (packed)
            memset(stored + 10, 0xff, 20);
        else
            stored[0] = 0xf8;
        surgeon_stamp(&s, leaf);
        assert_int_equal(patient_salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_int_equal(info.lost_values, 1);
        assert_int_equal(info.losses, 1);
    }
}

/* Number nth of the leaf's large values, as it is stored. */
static kvi_slice large_stored(const surgeon *s, kvi_pgno leaf, unsigned nth)
{
    const uint8_t *page = surgeon_page(s, leaf);
    for (unsigned i = 0; i < kvi_node_count(page); i++) {
        kvi_entry entry;
        kvi_stored stored;
        stored.bytes = kvi_leaf_value(page, s->page_size, i, &stored.special);
        if (kvi_entry_parse(stored, &entry) && entry.flags & KVI_ENTRY_LARGE && nth-- == 0)
            return stored.bytes;
    }
    fail_msg("leaf %llu has too few large values", (unsigned long long)leaf);
    return (kvi_slice){NULL, 0};
}

/* Values that share their pages: a file could have more of them than any disk. */
static void test_value_used_twice(void **state)
{
    surgeon s;
    kv_salvage_info info;
    kv_inspect *look;
    kvi_pgno leaf;
    kvi_entry entry;
    uint8_t *stored;
    surgeon_take(&s, small.file.bytes, small.file.size);
    assert_true(surgeon_find(&s, &s.meta.main, KVI_ENTRY_LARGE, &leaf, &stored, &entry));
    kvi_slice first = large_stored(&s, leaf, 0), second = large_stored(&s, leaf, 1);
    assert_int_equal(first.len, second.len);
    memcpy(s.bytes + (second.ptr - s.bytes), first.ptr, first.len);
    surgeon_stamp(&s, leaf);
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_int_equal(info.lost_values, 1);
    assert_int_equal(info.losses, 1);
    assert_int_equal(said.losses[0].kind, KV_LOSS_VALUE);
    assert_memory_equal(said.losses[0].from, "large2", 6);
    assert_int_equal(kv_inspect_open(patient_path, &look, NULL, 0), KV_OK);
    for (uint64_t page = entry.large.ptr.page; page < entry.large.ptr.page + 2; page++) {
        kv_page_info at = {.size = sizeof at};
        assert_int_equal(kv_inspect_page(look, page, &at), KV_OK);
        assert_int_equal(at.owner, KV_OWNER_MAIN);
        assert_int_equal(at.first, entry.large.ptr.page);
    }
    kv_inspect_close(look);
}

/* A value on a leaf that nothing leads to says that it is longer than the file: it is lost, and nothing
 * else is. */
static void test_endless_value(void **state)
{
    uint64_t root = small.file.meta.main.root.page;
    surgeon s;
    kv_salvage_info info;
    kvi_pgno leaf;
    kvi_entry entry;
    uint8_t *stored;
    surgeon_take(&s, small.file.bytes, small.file.size);
    assert_true(surgeon_find(&s, &s.meta.main, KVI_ENTRY_LARGE, &leaf, &stored, &entry));
    s.meta.high_water *= 100;
    surgeon_put_meta(&s);
    entry.large.stored_len = entry.large.raw_len = 50 * s.size;
    entry.large.pages = kvi_large_pages(entry.large.stored_len, s.page_size);
    kvi_large_put(stored + kvi_entry_ref_at(&entry), &entry.large);
    surgeon_stamp(&s, leaf);
    patient_damage(&s, root, HARM_HEADER);
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_int_equal(info.lost_values, 1);
    assert_int_equal(info.losses, 1);
    assert_int_equal(info.entries, small.n - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trees_keep_their_options),
        cmocka_unit_test(test_sound),
        cmocka_unit_test(test_small_is_as_wanted),
        cmocka_unit_test(test_every_page),
        cmocka_unit_test(test_every_page_beside_snapshots),
        cmocka_unit_test(test_every_pair),
        cmocka_unit_test(test_tall_branches),
        cmocka_unit_test(test_gap_within_a_gap),
        cmocka_unit_test(test_leaf_at_the_bound),
        cmocka_unit_test(test_remains_outweigh_keys),
        cmocka_unit_test(test_remains_of_another),
        cmocka_unit_test(test_remains_at_the_end),
        cmocka_unit_test(test_pointers_to_nodes),
        cmocka_unit_test(test_records_are_no_nodes),
        cmocka_unit_test(test_remains_tell_the_place),
        cmocka_unit_test(test_remains_of_another_level),
        cmocka_unit_test(test_wrong_children),
        cmocka_unit_test(test_changed_places),
        cmocka_unit_test(test_changed_places_damaged),
        cmocka_unit_test(test_landed_elsewhere),
        cmocka_unit_test(test_beyond_the_end),
        cmocka_unit_test(test_senseless_values),
        cmocka_unit_test(test_value_used_twice),
        cmocka_unit_test(test_endless_value),
    };
    return cmocka_run_group_tests(tests, make_all, free_all);
}
