/* Checking: a sound file has no problems, and damage behind right checksums is named by the
 * invariant that it breaks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "check.h"
#include "db.h"
#include "rng.h"
#include "scratch.h"
#include "surgeon.h"
#include "victim.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ENTRIES 9000
#define BIG     40000       /* bytes of a large value */
#define WIDE    (80 * 4096) /* one that progress is told of on its own */

static scratch dir;
static surgeon base; /* a sound file, as built by base_build */
static char path[SCRATCH_MAX];

/* ---- building ---- */

static void put(kv_tree *tree, unsigned number, const void *value, size_t len)
{
    char key[32];
    int n = snprintf(key, sizeof key, "key%06u", number);
    assert_int_equal(kv_put(tree, key, (size_t)n, value, len, 0), KV_OK);
}

static void fill(kv_tree *tree, unsigned entries, size_t len)
{
    char value[512];
    memset(value, 'v', sizeof value);
    for (unsigned i = 0; i < entries; i++) {
        memcpy(value, &i, sizeof i);
        put(tree, i, value, len);
    }
}

static kv_txn *begin(kv_db *db)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    return txn;
}

static kv_tree *create_tree(kv_txn *txn, const char *name, uint64_t compress_from)
{
    kv_tree_options options = {sizeof options, compress_from};
    kv_tree *tree;
    assert_int_equal(kv_tree_open(txn, name, strlen(name), KV_TREE_CREATE, &options, &tree), KV_OK);
    return tree;
}

/* The main tree has three levels; "packed" has compressed values in its leaf and outside; "raw" a
 * plain large value, "wide" a larger one; "small" so small entries that its leaf has hints; "void"
 * entries without values. */
static void base_fill(kv_db *db)
{
    static uint8_t bytes[WIDE];
    rng random;
    rng_seed(&random, 7);
    rng_fill(&random, bytes, BIG);
    kv_txn *txn = begin(db);
    fill(kv_txn_main(txn), ENTRIES, 150);
    put(create_tree(txn, "raw", 0), 1, bytes, BIG);
    kv_tree *packed = create_tree(txn, "packed", 1000);
    put(packed, 1, bytes, (size_t)4 * BIG); /* three quarters are zeros */
    put(packed, 2, bytes + BIG - 500, 3000);
    fill(create_tree(txn, "small", 0), 100, 4);
    fill(create_tree(txn, "void", 0), 10, 0);
    put(create_tree(txn, "wide", 0), 1, bytes, WIDE);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* Some deletions and overwriting, so that pages are free. */
static void base_change(kv_db *db)
{
    for (unsigned round = 0; round < 20; round++) {
        kv_txn *txn = begin(db);
        char key[32];
        for (unsigned i = 0; i < 5; i++) {
            int n = snprintf(key, sizeof key, "key%06u", round * 400 + i);
            assert_int_equal(kv_del(kv_txn_main(txn), key, (size_t)n), KV_OK);
        }
        put(kv_txn_main(txn), round * 300 + 50, "changed", 7);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
}

static int base_build(void **state)
{
    kv_db *db;
    scratch_make(&dir);
    scratch_path_to(&dir, "check.kv", path);
    assert_int_equal(kv_db_open(path, NULL, &db), KV_OK);
    base_fill(db);
    base_change(db);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_load(&base, path);
    return 0;
}

static int base_remove(void **state)
{
    surgeon_free(&base);
    scratch_remove(&dir);
    return 0;
}

/* ---- what a check says ---- */

typedef struct findings {
    unsigned n;
    const char *wanted; /* the invariant that is looked for, */
    kvi_pgno page;      /* at this page; 0: anywhere */
    unsigned named;     /* problems that are it */
    unsigned stop_after;
    char all[4096];
    kv_progress progress;
    unsigned steps;
    char note[128]; /* the last message */
    char path[256]; /* of the problem that is looked for, */
    char said[128]; /* and its message */
} findings;

static int on_problem(void *context, const kv_check_problem *problem)
{
    findings *f = context;
    size_t used = strlen(f->all);
    f->n++;
    assert_true(strlen(problem->message) > 10);
    snprintf(f->note, sizeof f->note, "%s", problem->message);
    snprintf(f->all + used, sizeof f->all - used, "%llu %s: %s\n",
             (unsigned long long)problem->page, problem->invariant, problem->message);
    if (f->wanted && strcmp(problem->invariant, f->wanted) == 0 &&
        (f->page == 0 || f->page == problem->page)) {
        f->named++;
        snprintf(f->path, sizeof f->path, "%s", problem->path);
        snprintf(f->said, sizeof f->said, "%s", problem->message);
    }
    return f->stop_after && f->n == f->stop_after;
}

static int on_progress(void *context, const kv_progress *progress)
{
    findings *f = context;
    assert_true(progress->done >= f->progress.done);
    assert_true(progress->done <= progress->total);
    f->progress = *progress;
    f->steps++;
    return 0;
}

static int check_into(kv_db *db, findings *f)
{
    kv_check_options options = {sizeof options, on_problem, on_progress, f};
    f->progress = (kv_progress){0};
    return kv_db_check(db, &options);
}

static int check_file(findings *f)
{
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    kv_db *db;
    char message[320];
    int rc = kv_db_open_explain(path, &options, &db, message, sizeof message);
    if (rc != KV_OK) {
        snprintf(f->all, sizeof f->all, "open: %s", message);
        return rc;
    }
    rc = check_into(db, f);
    assert_int_equal(kv_db_close(db), KV_OK);
    return rc;
}

/* A copy of the sound file to be damaged. */
static surgeon patient(void)
{
    surgeon s;
    surgeon_take(&s, base.bytes, base.size);
    return s;
}

/* The damaged file breaks this invariant at this page (0: anywhere); who is told may end the check. */
static void expect(surgeon *s, const char *invariant, kvi_pgno page)
{
    findings f = {.wanted = invariant, .page = page}, first = {.stop_after = 1};
    surgeon_save(s, path);
    surgeon_free(s);
    int rc = check_file(&f);
    if (rc != KV_ECORRUPT || f.named == 0)
        fail_msg("result %d; wanted %s at page %llu, found:\n%s", rc, invariant,
                 (unsigned long long)page, f.all);
    assert_int_equal(check_file(&first), KV_ECANCELED);
    assert_int_equal(first.n, 1);
}

/* ---- sound files ---- */

static void test_sound(void **state)
{
    findings f = {0};
    surgeon s = patient();
    surgeon_save(&s, path);
    surgeon_free(&s);
    int rc = check_file(&f);
    if (rc != KV_OK || f.n)
        fail_msg("result %d:\n%s", rc, f.all);
    assert_true(f.steps > 2);
    assert_int_equal(f.progress.done, f.progress.total);
    assert_int_equal(f.progress.total, base.meta.high_water);
}

static void test_base_has_what_tests_need(void **state)
{
    kvi_pgno leaf;
    kvi_tree_desc packed, raw, small;
    assert_int_equal(base.meta.main.level, 2);
    assert_int_equal(base.meta.durable, base.meta.id);
    surgeon_catalog(&base, 0, &leaf, &packed);
    surgeon_catalog(&base, 1, &leaf, &raw);
    surgeon_catalog(&base, 2, &leaf, &small);
    assert_int_equal(packed.entries, 2);
    assert_int_equal(raw.large_pages, (BIG + 4095) / 4096);
    assert_int_equal(small.entries, 100);
}

/* While a handle is open: lazy commits, a running reader, many states of the space records. */
static void test_sound_while_open(void **state)
{
    kv_db *db;
    kv_txn *reader, *txn;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
    static const uint8_t bytes[5000] = {1, 2, 3};
    char *other = strdup(scratch_path(&dir, "open.kv"));
    assert_int_equal(kv_db_open(other, &options, &db), KV_OK);
    base_fill(db);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &reader), KV_OK);
    for (unsigned round = 0; round < 300; round++) {
        uint32_t kind[] = {KV_TXN_LAZY, KV_TXN_DURABLE, KV_TXN_STRICT, KV_TXN_LAZY};
        assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE | kind[round % 4], &txn), KV_OK);
        put(kv_txn_main(txn), round * 29 % ENTRIES, "again", round % 5);
        put(kv_txn_main(txn), round * 31 % ENTRIES, bytes, round % 3 ? 10 : 5000);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        if (round % 50 == 20)
            assert_int_equal(kv_txn_refresh(reader), KV_OK);
        findings f = {0};
        if (round % 20 == 0 && check_into(db, &f) != KV_OK)
            fail_msg("round %u:\n%s", round, f.all);
    }
    kv_txn_abort(reader);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
    free(other);
}

/* ---- nodes ---- */

static kvi_pgno leaf_of(const surgeon *s)
{
    return surgeon_node(s, &s->meta.main, 0, 3).page;
}

static uint8_t *heads_of(uint8_t *page)
{
    return page + KVI_HEADER_SIZE + (kvi_get16(page + KVI_P_hint_stride) ? KVI_HINT_LINE : 0);
}

static void test_n1(void **state)
{
    surgeon s = patient();
    kvi_pgno leaf = leaf_of(&s);
    surgeon_page(&s, leaf)[KVI_P_type] = 9;
    surgeon_stamp(&s, leaf);
    expect(&s, "N1", leaf);
    s = patient();
    kvi_pgno root = s.meta.main.root.page;
    surgeon_page(&s, root)[KVI_P_level] = 0;
    surgeon_stamp(&s, root);
    expect(&s, "N1", root);
}

static void test_n2(void **state)
{
    surgeon s = patient();
    kvi_pgno leaf = leaf_of(&s);
    kvi_put16(surgeon_page(&s, leaf) + KVI_P_count, 2000);
    surgeon_stamp(&s, leaf);
    expect(&s, "N2", leaf);
}

static void test_n3(void **state)
{
    surgeon s = patient();
    kvi_pgno leaf = leaf_of(&s);
    uint8_t *page = surgeon_page(&s, leaf);
    uint8_t *offsets = heads_of(page) + 4 * (size_t)kvi_node_count(page);
    kvi_put16(offsets + 4, 4095);
    surgeon_stamp(&s, leaf);
    expect(&s, "N3", leaf);
}

static void test_n4(void **state)
{
    surgeon s = patient();
    kvi_pgno leaf = leaf_of(&s);
    uint8_t *page = surgeon_page(&s, leaf), *heads = heads_of(page);
    assert_int_equal(kvi_get16(page + KVI_P_hint_stride), 0);
    uint32_t first = kvi_get32(heads);
    kvi_put32(heads, kvi_get32(heads + 4));
    kvi_put32(heads + 4, first);
    surgeon_stamp(&s, leaf);
    expect(&s, "N4", leaf);
}

static void test_n5(void **state)
{
    surgeon s = patient();
    kvi_tree_desc small;
    kvi_pgno leaf;
    surgeon_catalog(&s, 2, &leaf, &small);
    leaf = surgeon_node(&s, &small, 0, 0).page;
    uint8_t *page = surgeon_page(&s, leaf);
    assert_int_not_equal(kvi_get16(page + KVI_P_hint_stride), 0);
    page[KVI_HEADER_SIZE + 20] ^= 1;
    surgeon_stamp(&s, leaf);
    expect(&s, "N5", leaf);
}

/* A leaf whose keys go on for one to three bytes behind their prefix. */
static kvi_pgno leaf_with_short_keys(const surgeon *s)
{
    const uint8_t *branch = surgeon_page(s, surgeon_node(s, &s->meta.main, 1, 0).page);
    for (unsigned i = 0; i < kvi_node_count(branch); i++) {
        kvi_pgno leaf = kvi_branch_child(branch, s->page_size, i).page;
        unsigned fixed_key = kvi_get16(surgeon_page(s, leaf) + KVI_P_fixed_key);
        if (fixed_key > 1 && fixed_key <= 4)
            return leaf;
    }
    fail_msg("no leaf has short keys");
    return 0;
}

static void test_n6(void **state)
{
    surgeon s = patient();
    kvi_pgno leaf = leaf_with_short_keys(&s);
    heads_of(surgeon_page(&s, leaf))[0] ^= 1;
    surgeon_stamp(&s, leaf);
    expect(&s, "N6", leaf);
}

static void test_n7(void **state)
{
    surgeon s = patient();
    kvi_pgno root = s.meta.main.root.page;
    kvi_ptr child = kvi_branch_child(surgeon_page(&s, root), s.page_size, 1);
    kvi_ptr wrong[] = {{s.meta.high_water, child.birth},
                       {1, child.birth},
                       {child.page, s.meta.id + 1},
                       {child.page, s.meta.main.root.birth + 1}};
    for (size_t i = 0; i < KVI_COUNT(wrong); i++) {
        kvi_branch_set_child(surgeon_page(&s, root), s.page_size, 1, wrong[i]);
        surgeon_stamp(&s, root);
        expect(&s, "N7", root);
        s = patient();
    }
    surgeon_free(&s);
}

static void test_n8(void **state)
{
    surgeon s = patient();
    kvi_pgno leaf = leaf_of(&s);
    uint8_t *page = surgeon_page(&s, leaf);
    kvi_put64(page + KVI_P_page, leaf + 1);
    surgeon_stamp(&s, leaf);
    expect(&s, "N8", leaf);
    s = patient();
    page = surgeon_page(&s, leaf);
    kvi_put64(page + KVI_P_birth, kvi_get64(page + KVI_P_birth) + 1);
    surgeon_stamp(&s, leaf);
    expect(&s, "N8", leaf);
}

static void test_n9(void **state)
{
    surgeon s = patient();
    kvi_pgno leaf = leaf_of(&s);
    surgeon_page(&s, leaf)[s.page_size - 30] ^= 4;
    expect(&s, "N9", leaf);
}

/* ---- trees ---- */

/* Two neighbouring leaves change places, tallies and all. */
static void test_t1(void **state)
{
    surgeon s = patient();
    kvi_pgno branch = surgeon_node(&s, &s.meta.main, 1, 1).page;
    uint8_t *page = surgeon_page(&s, branch);
    kvi_ptr a = kvi_branch_child(page, s.page_size, 4), b = kvi_branch_child(page, s.page_size, 5);
    uint64_t tally = kvi_branch_tally(page, s.page_size, 4);
    kvi_branch_set_child(page, s.page_size, 4, b);
    kvi_branch_set_child(page, s.page_size, 5, a);
    kvi_branch_set_tally(page, s.page_size, 4, kvi_branch_tally(page, s.page_size, 5));
    kvi_branch_set_tally(page, s.page_size, 5, tally);
    surgeon_stamp(&s, branch);
    expect(&s, "T1", b.page);
}

/* A key at the edge of a subtree, checked against a separator two levels up. */
static void test_t1_across_branches(void **state)
{
    surgeon s = patient();
    kvi_pgno root = s.meta.main.root.page;
    uint8_t *page = surgeon_page(&s, root);
    uint8_t *spare = malloc(s.page_size), *key = malloc(s.page_size);
    size_t len = kvi_node_key(page, s.page_size, 0, key);
    kvi_pgno leaf = surgeon_node(&s, &s.meta.main, 0, 0).page;
    kvi_pgno right = kvi_branch_child(page, s.page_size, 1).page;
    leaf = kvi_branch_child(surgeon_page(&s, right), s.page_size, 0).page;
    /* The separator becomes greater than the first key to its right. */
    len = kvi_node_key(surgeon_page(&s, leaf), s.page_size, 1, key);
    assert_true(kvi_branch_set_key(page, s.page_size, spare, 0, kvi_slice_of(key, len)));
    surgeon_stamp(&s, root);
    free(spare);
    free(key);
    expect(&s, "T1", leaf);
}

static void test_t2(void **state)
{
    for (unsigned level = 1; level <= 2; level++) {
        surgeon s = patient();
        kvi_pgno branch = surgeon_node(&s, &s.meta.main, level, 1).page;
        uint8_t *page = surgeon_page(&s, branch);
        kvi_branch_set_tally(page, s.page_size, 1, kvi_branch_tally(page, s.page_size, 1) + 1);
        surgeon_stamp(&s, branch);
        expect(&s, "T2", branch);
    }
}

static void test_t3_leaf(void **state)
{
    surgeon s = patient();
    kvi_pgno leaf = leaf_of(&s);
    uint8_t *page = surgeon_page(&s, leaf);
    while (kvi_node_count(page) > 0)
        kvi_leaf_remove(page, s.page_size, 0);
    surgeon_stamp(&s, leaf);
    expect(&s, "T3", leaf);
}

static void test_t3_root(void **state)
{
    surgeon s = patient();
    kvi_pgno root = s.meta.main.root.page;
    uint8_t *page = surgeon_page(&s, root);
    while (kvi_node_count(page) > 0)
        kvi_branch_remove(page, s.page_size, 1);
    surgeon_stamp(&s, root);
    expect(&s, "T3", root);
}

/* A leaf where a branch of level 1 should be. */
static void test_t4(void **state)
{
    surgeon s = patient();
    kvi_pgno root = s.meta.main.root.page;
    kvi_ptr leaf = surgeon_node(&s, &s.meta.main, 0, 1);
    kvi_branch_set_child(surgeon_page(&s, root), s.page_size, 1, leaf);
    surgeon_stamp(&s, root);
    expect(&s, "T4", leaf.page);
}

static void test_t5(void **state)
{
    uint64_t *numbers[4];
    for (size_t i = 0; i < KVI_COUNT(numbers); i++) {
        surgeon s = patient();
        numbers[0] = &s.meta.main.entries;
        numbers[1] = &s.meta.main.leaf_pages;
        numbers[2] = &s.meta.main.branch_pages;
        numbers[3] = &s.meta.main.large_pages;
        ++*numbers[i];
        surgeon_put_meta(&s);
        expect(&s, "T5", s.meta.main.root.page);
    }
}

static void test_t5_named(void **state)
{
    surgeon s = patient();
    kvi_pgno leaf;
    kvi_tree_desc raw;
    uint8_t *bytes = surgeon_catalog(&s, 1, &leaf, &raw);
    raw.large_pages--;
    kvi_tree_desc_encode(&raw, bytes);
    surgeon_stamp(&s, leaf);
    expect(&s, "T5", raw.root.page);
}

/* ---- values and catalog ---- */

static void find_value(const surgeon *s, unsigned tree, uint8_t flags, kvi_pgno *leaf,
                       uint8_t **stored, kvi_entry *entry)
{
    kvi_tree_desc desc;
    surgeon_catalog(s, tree, leaf, &desc);
    assert_true(surgeon_find(s, &desc, flags, leaf, stored, entry));
}

static void test_v1(void **state)
{
    surgeon s = patient();
    kvi_pgno leaf;
    uint8_t *stored;
    kvi_entry entry;
    find_value(&s, 1, KVI_ENTRY_LARGE, &leaf, &stored, &entry);
    stored[0] |= 0x80;
    surgeon_stamp(&s, leaf);
    expect(&s, "V1", leaf);
}

static void test_v2(void **state)
{
    for (int i = 0; i < 7; i++) {
        surgeon s = patient();
        kvi_pgno leaf;
        uint8_t *stored;
        kvi_entry entry;
        find_value(&s, 1, KVI_ENTRY_LARGE, &leaf, &stored, &entry);
        kvi_large large = entry.large;
        if (i == 0)
            large.ptr.page = s.meta.high_water - 1;
        else if (i == 4)
            large.ptr.page = s.meta.high_water;
        else if (i == 5)
            large.ptr.birth = 0;
        else if (i == 6)
            large.stored_len = large.raw_len = KV_VALUE_MAX + 1;
        else if (i == 1)
            large.ptr.page = 2; /* a second meta of large pages could be looked for there */
        else if (i == 2)
            large.pages++;
        else
            large.ptr.birth = s.meta.id + 1;
        kvi_large_put(stored + kvi_entry_ref_at(&entry), &large);
        surgeon_stamp(&s, leaf);
        expect(&s, "V2", leaf);
    }
}

static void test_v3(void **state)
{
    surgeon s = patient();
    kvi_pgno leaf;
    uint8_t *stored;
    kvi_entry entry;
    find_value(&s, 1, KVI_ENTRY_LARGE, &leaf, &stored, &entry);
    kvi_pgno page = entry.large.ptr.page;
    surgeon_page(&s, page)[BIG - 1] ^= 1;
    expect(&s, "V3", page);
}

/* Who reads a damaged large value is told without a check. */
static void test_v3_reading(void **state)
{
    surgeon s = patient();
    kvi_pgno leaf;
    uint8_t *stored;
    kvi_entry entry;
    kv_db *db;
    kv_tree *raw;
    kv_slice value;
    find_value(&s, 1, KVI_ENTRY_LARGE, &leaf, &stored, &entry);
    surgeon_page(&s, entry.large.ptr.page)[BIG - 1] ^= 1;
    surgeon_save(&s, path);
    surgeon_free(&s);
    assert_int_equal(kv_db_open(path, NULL, &db), KV_OK);
    kv_txn *txn = begin(db);
    assert_int_equal(kv_tree_open(txn, "raw", 3, 0, NULL, &raw), KV_OK);
    int rc = kv_get(raw, "key000001", 9, &value);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_int_equal(rc, KV_ECORRUPT);
}

static void test_v4(void **state)
{
    surgeon s = patient();
    kvi_pgno leaf;
    uint8_t *stored;
    kvi_entry entry;
    find_value(&s, 0, KVI_ENTRY_COMPRESSED, &leaf, &stored, &entry);
    kvi_put64(stored + 2, entry.raw_len + 1);
    surgeon_stamp(&s, leaf);
    expect(&s, "V4", leaf);
    s = patient();
    find_value(&s, 0, KVI_ENTRY_COMPRESSED, &leaf, &stored, &entry);
    kvi_put64(stored + 2, (uint64_t)1 << 60);
    surgeon_stamp(&s, leaf);
    expect(&s, "V4", leaf);
    s = patient();
    find_value(&s, 0, KVI_ENTRY_COMPRESSED | KVI_ENTRY_LARGE, &leaf, &stored, &entry);
    kvi_large large = entry.large;
    large.raw_len++;
    kvi_large_put(stored + kvi_entry_ref_at(&entry), &large);
    surgeon_stamp(&s, leaf);
    expect(&s, "V4", large.ptr.page);
}

static void test_c1(void **state)
{
    surgeon s = patient();
    kvi_pgno leaf;
    kvi_tree_desc desc;
    uint8_t *bytes = surgeon_catalog(&s, 0, &leaf, &desc);
    kvi_put48(bytes + KVI_T_root, s.meta.high_water + 3);
    surgeon_stamp(&s, leaf);
    expect(&s, "C1", leaf);
}

/* Trees whose descriptors call them multi-value, though their entries are no pairs: compressed, with a
 * value, of one part. */
static void test_t7(void **state)
{
    static const unsigned trees[] = {0, 2, 3};
    for (size_t i = 0; i < KVI_COUNT(trees); i++) {
        surgeon s = patient();
        kvi_pgno leaf;
        kvi_tree_desc desc;
        uint8_t *bytes = surgeon_catalog(&s, trees[i], &leaf, &desc);
        desc.flags |= KVI_TREE_MULTI;
        kvi_tree_desc_encode(&desc, bytes);
        surgeon_stamp(&s, leaf);
        expect(&s, "T7", surgeon_node(&s, &desc, 0, 0).page);
    }
}

/* ---- space and meta ---- */

static void test_s1_used_twice(void **state)
{
    surgeon s = patient();
    kvi_pgno branch = surgeon_node(&s, &s.meta.main, 1, 1).page;
    uint8_t *page = surgeon_page(&s, branch);
    kvi_ptr child = kvi_branch_child(page, s.page_size, 4);
    kvi_branch_set_child(page, s.page_size, 5, child);
    surgeon_stamp(&s, branch);
    expect(&s, "S1", child.page);
}

static void test_s1_large_used_twice(void **state)
{
    surgeon s = patient();
    kvi_pgno leaf;
    uint8_t *stored;
    kvi_entry entry;
    find_value(&s, 1, KVI_ENTRY_LARGE, &leaf, &stored, &entry);
    kvi_large plain = entry.large;
    find_value(&s, 0, KVI_ENTRY_LARGE | KVI_ENTRY_COMPRESSED, &leaf, &stored, &entry);
    kvi_large_put(stored + kvi_entry_ref_at(&entry), &plain);
    surgeon_stamp(&s, leaf);
    expect(&s, "S1", plain.ptr.page);
}

/* The main tree of an earlier commit: its pages were given back since. */
static void test_s1_used_and_free(void **state)
{
    kv_db *db;
    surgeon before, after;
    surgeon s = patient();
    surgeon_save(&s, path);
    surgeon_free(&s);
    surgeon_load(&before, path);
    assert_int_equal(kv_db_open(path, NULL, &db), KV_OK);
    kv_txn *txn = begin(db);
    put(kv_txn_main(txn), 4, "changed", 7);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_load(&after, path);
    after.meta.main = before.meta.main;
    surgeon_free(&before);
    surgeon_put_meta(&after);
    expect(&after, "S1", after.meta.main.root.page);
}

/* A page more than the records know of, which no tree uses either. */
static void test_s1_leaked(void **state)
{
    surgeon s = patient();
    kvi_pgno page = s.meta.high_water++;
    s.size = (size_t)s.meta.high_water * s.page_size;
    s.bytes = realloc(s.bytes, s.size);
    assert_non_null(s.bytes);
    memset(surgeon_page(&s, page), 0, s.page_size);
    surgeon_put_meta(&s);
    expect(&s, "S1", page);
}

/* A file with a snapshot, pages of which the newest commit does not need. */
static surgeon with_snapshot(void)
{
    kv_db *db;
    surgeon s = patient();
    surgeon_save(&s, path);
    surgeon_free(&s);
    assert_int_equal(kv_db_open(path, NULL, &db), KV_OK);
    assert_int_equal(kv_snapshot_create(db, "then", 4, 0), KV_OK);
    kv_txn *txn = begin(db);
    put(kv_txn_main(txn), 4, "changed", 7);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_load(&s, path);
    return s;
}

/* The records tell of nothing, but that one page is free; 0: of nothing at all. */
static void records_say(surgeon *s, kvi_pgno free_page)
{
    uint8_t *p = s->meta.delta;
    s->meta.log = s->meta.map = s->meta.blocked = (kvi_ptr){0, 0};
    s->meta.log_pages = s->meta.blocked_pages = s->meta.map_levels = 0;
    s->meta.log_tail = 0;
    if (free_page) {
        p = kvi_varint_put(p, s->meta.id);
        *p++ = 0; /* runs taken */
        *p++ = 1; /* runs dropped: place, length, age */
        p = kvi_varint_put(p, free_page);
        *p++ = 1;
        *p++ = 0;
    }
    s->meta.delta_len = (uint16_t)(p - s->meta.delta);
    surgeon_put_meta(s);
}

/* What only a snapshot needs is neither free nor in use. */
static void test_s1_of_a_snapshot(void **state)
{
    static const char *const said[] = {"recorded as in use", "recorded as free"};
    for (unsigned is_free = 0; is_free < 2; is_free++) {
        surgeon s = with_snapshot();
        kvi_named named;
        bool special;
        kvi_pgno leaf = surgeon_node(&s, &s.meta.snapshots, 0, 0).page;
        kvi_slice value = kvi_leaf_value(surgeon_page(&s, leaf), s.page_size, 0, &special);
        assert_true(kvi_named_decode(value.ptr, s.page_size, s.meta.high_water, s.meta.id, &named));
        records_say(&s, is_free ? named.main.root.page : 0);
        surgeon_save(&s, path);
        surgeon_free(&s);
        findings f = {.wanted = "S1", .page = named.main.root.page};
        assert_int_equal(check_file(&f), KV_ECORRUPT);
        assert_int_equal(f.named, 1);
        assert_non_null(strstr(f.said, said[is_free]));
    }
}

/* The list of snapshots itself: a page of it, and an entry. */
static void test_list_of_snapshots(void **state)
{
    surgeon s = with_snapshot();
    kvi_pgno leaf = surgeon_node(&s, &s.meta.snapshots, 0, 0).page;
    surgeon_page(&s, leaf)[200] ^= 1;
    expect(&s, "N9", leaf);
    s = with_snapshot();
    bool special;
    leaf = surgeon_node(&s, &s.meta.snapshots, 0, 0).page;
    kvi_slice value = kvi_leaf_value(surgeon_page(&s, leaf), s.page_size, 0, &special);
    memset(surgeon_page(&s, leaf) + (value.ptr - surgeon_page(&s, leaf)), 0xff, value.len);
    surgeon_stamp(&s, leaf);
    expect(&s, "C1", leaf);
}

/* The first page of each chain and of the map is something else, or leads where none can be. */
static void test_space_records(void **state)
{
    static victim v;
    victim_make(&v, KVI_PAGE_MIN, 5);
    surgeon sound, s;
    surgeon_take(&sound, v.image, v.size);
    const kvi_meta *meta = &sound.meta;
    const kvi_pgno firsts[] = {meta->log.page, meta->blocked.page, meta->map.page};
    for (size_t i = 0; i < KVI_COUNT(firsts); i++) {
        kvi_pgno page = firsts[i];
        for (unsigned what = 0; page && what < 2; what++) {
            surgeon_take(&s, sound.bytes, sound.size);
            surgeon_page(&s, page)[what ? KVI_P_level : KVI_P_type] = what ? 200 : KVI_LEAF;
            surgeon_stamp(&s, page);
            expect(&s, "N1", page);
        }
    }
    const struct {
        kvi_ptr older;
        const char *breaks;
        kvi_pgno page;
    } ways[] = {
        {{1, meta->log.birth}, "N7", 1},
        {{meta->high_water, meta->log.birth}, "N7", meta->high_water},
        {{0, meta->log.birth}, "S1", 0},
        {{meta->log.page, meta->log.birth + 1}, "S1", 0},
    };
    for (size_t i = 0; meta->log_pages > 1 && i < KVI_COUNT(ways); i++) {
        surgeon_take(&s, sound.bytes, sound.size);
        kvi_ptr_put(surgeon_page(&s, meta->log.page) + KVI_G_older, ways[i].older);
        surgeon_stamp(&s, meta->log.page);
        expect(&s, ways[i].breaks, ways[i].page);
    }
    surgeon_free(&sound);
    victim_free(&v);
}

/* Adds to the seal and walk of commit id, in the file. */
static void meta_change(uint64_t id, uint64_t seal, uint64_t walk)
{
    uint8_t block[KVI_META_SIZE];
    kvi_meta meta;
    int fd = open(path, O_RDWR), changed = 0;
    for (unsigned slot = 0; slot < 2; slot++) {
        off_t at = (off_t)(slot * kvi_meta_stride(base.page_size));
        assert_int_equal(pread(fd, block, sizeof block, at), sizeof block);
        if (kvi_meta_decode(block, &meta) != KVI_META_VALID || meta.id != id)
            continue;
        meta.seal += seal;
        meta.walk += walk;
        kvi_meta_encode(&meta, block);
        assert_int_equal(pwrite(fd, block, sizeof block, at), sizeof block);
        changed++;
    }
    close(fd);
    assert_int_equal(changed, 1);
}

/* The seal decides whether a commit is whole, so a file with a wrong one does not open: it is
 * changed while the database is open. */
static void test_m1(void **state)
{
    kv_db *db;
    kv_txn *txn;
    findings f = {.wanted = "M1"};
    surgeon s = patient();
    surgeon_save(&s, path);
    surgeon_free(&s);
    assert_int_equal(kv_db_open(path, NULL, &db), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE | KV_TXN_LAZY, &txn), KV_OK);
    put(kv_txn_main(txn), 4, "changed", 7);
    uint64_t id = kv_txn_id(txn);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(check_into(db, &f), KV_OK);
    meta_change(id, 1, 0);
    assert_int_equal(check_into(db, &f), KV_ECORRUPT);
    assert_int_equal(f.named, 1);
    meta_change(id, (uint64_t)-1, (uint64_t)-1);
    assert_int_equal(check_into(db, &f), KV_ECORRUPT);
    assert_int_equal(f.named, 2);
    meta_change(id, 0, 1);
    assert_int_equal(check_into(db, &f), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* ---- where a problem is ---- */

static void expect_path(surgeon *s, const char *invariant, kvi_pgno page, const char *path_wanted)
{
    findings f = {.wanted = invariant, .page = page};
    surgeon_save(s, path);
    surgeon_free(s);
    assert_int_equal(check_file(&f), KV_ECORRUPT);
    assert_int_equal(f.named, 1);
    assert_string_equal(f.path, path_wanted);
}

static void test_path_of_a_leaf(void **state)
{
    char wanted[128];
    surgeon s = patient();
    kvi_ptr root = s.meta.main.root, branch = surgeon_node(&s, &s.meta.main, 1, 1);
    kvi_ptr leaf = kvi_branch_child(surgeon_page(&s, branch.page), s.page_size, 3);
    surgeon_page(&s, leaf.page)[200] ^= 1;
    snprintf(wanted, sizeof wanted, "main tree: %llu@1 %llu@3 %llu", (unsigned long long)root.page,
             (unsigned long long)branch.page, (unsigned long long)leaf.page);
    expect_path(&s, "N9", leaf.page, wanted);
}

static void test_path_of_a_value(void **state)
{
    char wanted[128];
    surgeon s = patient();
    kvi_pgno leaf;
    uint8_t *stored;
    kvi_entry entry;
    find_value(&s, 0, KVI_ENTRY_COMPRESSED, &leaf, &stored, &entry);
    kvi_put64(stored + 2, entry.raw_len + 1);
    surgeon_stamp(&s, leaf);
    snprintf(wanted, sizeof wanted, "tree packed: %llu@1", (unsigned long long)leaf);
    expect_path(&s, "V4", leaf, wanted);
    s = patient();
    find_value(&s, 1, KVI_ENTRY_LARGE, &leaf, &stored, &entry);
    kvi_pgno page = entry.large.ptr.page;
    surgeon_page(&s, page)[BIG - 1] ^= 1;
    snprintf(wanted, sizeof wanted, "tree raw: %llu@0", (unsigned long long)leaf);
    expect_path(&s, "V3", page, wanted);
}

static void test_path_of_a_tally_and_a_name(void **state)
{
    char wanted[128];
    surgeon s = patient();
    kvi_pgno root = s.meta.main.root.page, leaf;
    kvi_tree_desc desc;
    uint8_t *page = surgeon_page(&s, root);
    kvi_branch_set_tally(page, s.page_size, 1, kvi_branch_tally(page, s.page_size, 1) + 1);
    surgeon_stamp(&s, root);
    snprintf(wanted, sizeof wanted, "main tree: %llu@1", (unsigned long long)root);
    expect_path(&s, "T2", root, wanted);
    s = patient();
    uint8_t *bytes = surgeon_catalog(&s, 1, &leaf, &desc);
    kvi_put48(bytes + KVI_T_root, s.meta.high_water + 3);
    surgeon_stamp(&s, leaf);
    snprintf(wanted, sizeof wanted, "catalog: %llu@1", (unsigned long long)leaf);
    expect_path(&s, "C1", leaf, wanted);
}

/* Bytes that do not print are told in hexadecimal digits, and a long name is cut. */
static void test_path_of_an_odd_name(void **state)
{
    static const char odd[] = "a\x01\\\x7f\xc3";
    char name[80], wanted[256];
    kv_db *db;
    kvi_pgno leaf;
    kvi_tree_desc desc;
    surgeon s;
    memset(name, 'n', sizeof name);
    memcpy(name, odd, sizeof odd - 1);
    name[70] = 0;
    unlink(path);
    assert_int_equal(kv_db_open(path, NULL, &db), KV_OK);
    kv_txn *txn = begin(db);
    assert_int_equal(kv_put(create_tree(txn, name, 0), "k", 1, "v", 1, 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_load(&s, path);
    surgeon_catalog(&s, 0, &leaf, &desc);
    surgeon_page(&s, desc.root.page)[200] ^= 1;
    snprintf(wanted, sizeof wanted, "tree a\\x01\\x5c\\x7f\\xc3%.59s...: %llu", name + 5,
             (unsigned long long)desc.root.page);
    expect_path(&s, "N9", desc.root.page, wanted);
    surgeon_load(&s, path);
    uint8_t *bytes = surgeon_catalog(&s, 0, &leaf, &desc);
    surgeon_page(&s, desc.root.page)[200] ^= 1;
    desc.entries++;
    kvi_tree_desc_encode(&desc, bytes);
    surgeon_stamp(&s, leaf);
    expect(&s, "T5", desc.root.page);
}

/* ---- how a check goes on and ends ---- */

static void damage_many(surgeon *s, unsigned leaves)
{
    kvi_pgno branch = surgeon_node(s, &s->meta.main, 1, 0).page;
    for (unsigned i = 0; i < leaves; i++) {
        kvi_ptr leaf = kvi_branch_child(surgeon_page(s, branch), s->page_size, i);
        surgeon_page(s, leaf.page)[200] ^= 1;
    }
}

static void test_goes_on_after_a_problem(void **state)
{
    findings f = {.wanted = "N9"};
    surgeon s = patient();
    damage_many(&s, 7);
    surgeon_save(&s, path);
    surgeon_free(&s);
    assert_int_equal(check_file(&f), KV_ECORRUPT);
    assert_int_equal(f.named, 7);
    assert_int_equal(f.n, 7); /* and nothing that only follows from them */
}

static void test_stops_at_too_many(void **state)
{
    findings f = {.wanted = "N9"};
    surgeon s = patient();
    damage_many(&s, 110);
    surgeon_save(&s, path);
    surgeon_free(&s);
    assert_int_equal(check_file(&f), KV_ECORRUPT);
    assert_int_equal(f.named, 100);
    assert_int_equal(f.n, 101);
    assert_non_null(strstr(f.note, "too many"));
    f = (findings){.stop_after = 101}; /* as if there were a choice */
    assert_int_equal(check_file(&f), KV_ECANCELED);
}

static int stop_at_once(void *context, const kv_progress *progress)
{
    return 1;
}

static int count_down(void *context, const kv_progress *progress)
{
    return --*(unsigned *)context == 0;
}

/* Wherever it is. */
static void test_progress_stops_it(void **state)
{
    kv_db *db;
    unsigned left, steps = 0;
    kv_check_options options = {.size = sizeof options, .progress = count_down, .context = &left};
    surgeon s = patient();
    surgeon_save(&s, path);
    surgeon_free(&s);
    assert_int_equal(kv_db_open(path, NULL, &db), KV_OK);
    do {
        left = ++steps;
        int rc = kv_db_check(db, &options);
        assert_int_equal(rc, left == 0 ? KV_ECANCELED : KV_OK);
    } while (left == 0);
    assert_true(steps > base.meta.high_water / 100);
    assert_int_equal(kv_db_close(db), KV_OK);
}

static void test_callbacks_stop_it(void **state)
{
    findings f = {.wanted = "N9", .stop_after = 3};
    kv_db *db;
    surgeon s = patient();
    damage_many(&s, 7);
    surgeon_save(&s, path);
    surgeon_free(&s);
    assert_int_equal(check_file(&f), KV_ECANCELED);
    assert_int_equal(f.n, 3);
    kv_check_options options = {.size = sizeof options, .progress = stop_at_once};
    assert_int_equal(kv_db_open(path, NULL, &db), KV_OK);
    assert_int_equal(kv_db_check(db, &options), KV_ECANCELED);
    assert_int_equal(kv_db_check(db, NULL), KV_ECORRUPT); /* the turn was given back */
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* ---- files that no open takes ---- */

/* What a check of the file as it lies there says. */
static void check_refused(const surgeon *s, findings *f)
{
    kv_inspect *look;
    kv_check_options options = {sizeof options, on_problem, on_progress, f};
    surgeon_save(s, path);
    f->progress = (kv_progress){0};
    f->named = f->n = 0;
    f->all[0] = 0;
    assert_int_equal(kv_inspect_open(path, &look, NULL, 0), KV_OK);
    int rc = kv_inspect_check(look, &options), silent = kv_inspect_check(look, NULL);
    assert_int_equal(silent, f->n ? KV_ECORRUPT : KV_OK);
    assert_int_equal(rc, f->stop_after && f->n == f->stop_after ? KV_ECANCELED : silent);
    kv_inspect_close(look);
}

/* The first page behind the end is named, and each one that a tree lacks, with the way to it. */
static void test_cut_file(void **state)
{
    surgeon s = patient();
    findings f = {.wanted = "M2"};
    check_refused(&s, &f);
    assert_int_equal(f.n, 0);
    kvi_pgno last = s.meta.high_water, root = s.meta.main.root.page;
    kvi_ptr branch = surgeon_node(&s, &s.meta.main, 1, 1), leaf = {last, branch.birth};
    kvi_branch_set_child(surgeon_page(&s, branch.page), s.page_size, 3, leaf);
    surgeon_stamp(&s, branch.page);
    s.meta.high_water++;
    surgeon_put_meta(&s);
    assert_int_equal(s.size, last * s.page_size);
    f.page = last;
    check_refused(&s, &f);
    char first[100], way[100];
    snprintf(first, sizeof first, "%llu M2: the commit has %llu pages, but the file ends after",
             (unsigned long long)last, (unsigned long long)last + 1);
    assert_memory_equal(f.all, first, strlen(first));
    assert_int_equal(f.named, 2);
    snprintf(way, sizeof way, "main tree: %llu@1 %llu@3 %llu", (unsigned long long)root,
             (unsigned long long)branch.page, (unsigned long long)last);
    assert_string_equal(f.path, way);
    surgeon_free(&s);
}

/* Both metas are named; the trees are looked at where one still says what they begin at, else each page
 * by itself. */
static void test_no_meta(void **state)
{
    for (int gone = 0; gone < 2; gone++) {
        surgeon s = patient();
        kvi_pgno leaf = surgeon_node(&s, &s.meta.main, 0, 1).page;
        uint64_t second = kvi_meta_stride(s.page_size);
        surgeon_page(&s, leaf)[s.page_size / 2] ^= 1;
        if (gone) { /* but for the seed */
            memset(s.bytes + KVI_M_main, 0xff, KVI_TREE_SIZE);
            memset(s.bytes + second + KVI_M_main, 0xff, KVI_TREE_SIZE);
        }
        s.bytes[KVI_M_checksum] ^= 1;
        s.bytes[second + KVI_M_checksum] ^= 1;
        findings f = {.wanted = "M0"};
        check_refused(&s, &f);
        assert_int_equal(f.named, 2);
        assert_memory_equal(f.all, "0 M0: ", 6);
        f = (findings){.wanted = "N9", .page = leaf};
        check_refused(&s, &f);
        assert_int_equal(f.named, 1);
        assert_int_equal(strncmp(f.path, "main tree: ", 11) == 0, !gone);
        f = (findings){.wanted = "M0", .stop_after = 1};
        check_refused(&s, &f);
        assert_int_equal(f.n, 1);
        surgeon_free(&s);
    }
}

/* Without the seed no checksum can be verified; what else is wrong is found. */
static void test_no_seed(void **state)
{
    surgeon s = patient();
    kvi_pgno leaf = surgeon_node(&s, &s.meta.main, 0, 1).page;
    memset(s.bytes + KVI_M_hash_seed, 0x11, 8);
    memset(s.bytes + kvi_meta_stride(s.page_size) + KVI_M_hash_seed, 0x22, 8);
    findings f = {.wanted = "M0"};
    check_refused(&s, &f);
    assert_int_equal(f.named, 2);
    uint64_t before = f.n;
    surgeon_page(&s, leaf)[KVI_P_level] = 1;
    check_refused(&s, &f);
    assert_int_equal(f.named, 2);
    assert_int_equal(f.n, before + 1);
    surgeon_free(&s);
}

/* A large value behind the end is named by its first page. */
static void test_cut_value(void **state)
{
    surgeon s = patient();
    kvi_pgno leaf;
    uint8_t *stored;
    kvi_entry entry;
    find_value(&s, 1, KVI_ENTRY_LARGE, &leaf, &stored, &entry);
    kvi_large large = entry.large;
    large.ptr.page = s.meta.high_water;
    kvi_large_put(stored + kvi_entry_ref_at(&entry), &large);
    surgeon_stamp(&s, leaf);
    s.meta.high_water += large.pages;
    surgeon_put_meta(&s);
    findings f = {.wanted = "M2", .page = large.ptr.page};
    check_refused(&s, &f);
    assert_int_equal(f.named, 2); /* the file ends there, too */
    surgeon_free(&s);
}

/* A lazy commit whose page is damaged, and no commit before it. */
static void test_commit_not_whole(void **state)
{
    surgeon s = patient();
    kvi_meta lazy = s.meta;
    lazy.id++;
    lazy.durable = s.meta.id - 1;
    lazy.kind = KVI_KIND_LAZY;
    lazy.seal = lazy.walk = 1;
    s.meta = lazy;
    surgeon_put_meta(&s);
    memset(s.bytes + kvi_meta_stride(s.page_size), 0, KVI_META_SIZE);
    findings f = {.wanted = "M1"};
    check_refused(&s, &f);
    assert_int_equal(f.named, 1);
    surgeon_free(&s);
}

static void test_arguments(void **state)
{
    kv_db *db;
    kv_check_options options = {0};
    surgeon s = patient();
    surgeon_save(&s, path);
    surgeon_free(&s);
    assert_int_equal(kv_db_open(path, NULL, &db), KV_OK);
    assert_int_equal(kv_db_check(NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_db_check(db, &options), KV_EINVAL);
    assert_int_equal(kv_db_close(db), KV_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound),
        cmocka_unit_test(test_base_has_what_tests_need),
        cmocka_unit_test(test_sound_while_open),
        cmocka_unit_test(test_n1),
        cmocka_unit_test(test_n2),
        cmocka_unit_test(test_n3),
        cmocka_unit_test(test_n4),
        cmocka_unit_test(test_n5),
        cmocka_unit_test(test_n6),
        cmocka_unit_test(test_n7),
        cmocka_unit_test(test_n8),
        cmocka_unit_test(test_n9),
        cmocka_unit_test(test_t1),
        cmocka_unit_test(test_t1_across_branches),
        cmocka_unit_test(test_t2),
        cmocka_unit_test(test_t3_leaf),
        cmocka_unit_test(test_t3_root),
        cmocka_unit_test(test_t4),
        cmocka_unit_test(test_t5),
        cmocka_unit_test(test_t5_named),
        cmocka_unit_test(test_v1),
        cmocka_unit_test(test_v2),
        cmocka_unit_test(test_v3),
        cmocka_unit_test(test_v3_reading),
        cmocka_unit_test(test_v4),
        cmocka_unit_test(test_c1),
        cmocka_unit_test(test_t7),
        cmocka_unit_test(test_s1_used_twice),
        cmocka_unit_test(test_s1_large_used_twice),
        cmocka_unit_test(test_s1_used_and_free),
        cmocka_unit_test(test_s1_leaked),
        cmocka_unit_test(test_s1_of_a_snapshot),
        cmocka_unit_test(test_list_of_snapshots),
        cmocka_unit_test(test_space_records),
        cmocka_unit_test(test_m1),
        cmocka_unit_test(test_path_of_a_leaf),
        cmocka_unit_test(test_path_of_a_value),
        cmocka_unit_test(test_path_of_a_tally_and_a_name),
        cmocka_unit_test(test_path_of_an_odd_name),
        cmocka_unit_test(test_goes_on_after_a_problem),
        cmocka_unit_test(test_stops_at_too_many),
        cmocka_unit_test(test_callbacks_stop_it),
        cmocka_unit_test(test_progress_stops_it),
        cmocka_unit_test(test_cut_file),
        cmocka_unit_test(test_no_meta),
        cmocka_unit_test(test_no_seed),
        cmocka_unit_test(test_cut_value),
        cmocka_unit_test(test_commit_not_whole),
        cmocka_unit_test(test_arguments),
    };
    return cmocka_run_group_tests(tests, base_build, base_remove);
}
