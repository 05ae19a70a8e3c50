/* What a forger would try first, one test each: values that grow without end, pages that lead to
 * themselves or are used twice, births from the future, counts, prefixes, heads and hints that
 * contradict what is there, space records that give away pages in use. All checksums are right. The
 * check must name the invariant that is broken; reading, writing and repairing must end, with an
 * answer or an error, inside the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "surgeon.h"
#include "victim.h"
#include <stdio.h>

#define ALLOC_SANE ((size_t)64 << 20)
#define END_SANE   ((uint64_t)64 << 20) /* the file is far smaller, and hardly grows */

static victim patient;
static surgeon image;
static kvi_os inner;
static size_t greatest; /* allocation */

/* ---- the disk watches ---- */

static void *alloc_watched(const kvi_os *os, size_t size)
{
    greatest = KVI_MAX(greatest, size);
    return size > ALLOC_SANE ? NULL : inner.alloc(os, size);
}

static void *realloc_watched(const kvi_os *os, void *ptr, size_t size)
{
    greatest = KVI_MAX(greatest, size);
    return size > ALLOC_SANE ? NULL : inner.realloc(os, ptr, size);
}

/* Metas at their places, everything else behind them, nothing far behind the end. Where a value that
 * moved ends, the rest of its page follows. */
static int64_t pwritev_watched(const kvi_os *os, int fd, const struct iovec *iov, int n,
                               uint64_t off)
{
    if (patient.disk->handles[fd].file == sim_find(patient.disk, VICTIM_NAME)) {
        uint64_t stride = kvi_meta_stride(image.page_size), end = off;
        for (int i = 0; i < n; i++)
            end += iov[i].iov_len;
        assert_true(off == 0 || off == stride || off >= 2 * stride);
        assert_true(end < END_SANE);
        assert_true(off < 2 * stride || off % image.page_size == 0 || end % image.page_size == 0);
        assert_true(off >= 2 * stride || (n == 1 && iov[0].iov_len <= stride));
    }
    return inner.pwritev(os, fd, iov, n, off);
}

static int setup(void **state)
{
    victim_make(&patient, KVI_PAGE_MIN, 5);
    patient.lenient = true;
    sim_set_guard(patient.disk, true);
    surgeon_take(&image, patient.image, patient.size);
    inner = patient.disk->os;
    patient.disk->os.alloc = alloc_watched;
    patient.disk->os.realloc = realloc_watched;
    patient.disk->os.pwritev = pwritev_watched;
    return 0;
}

static int teardown(void **state)
{
    victim_free(&patient);
    surgeon_free(&image);
    return 0;
}

/* ---- a case: damage a copy, then look at it ---- */

static surgeon begin(void)
{
    surgeon s;
    surgeon_take(&s, image.bytes, image.size);
    return s;
}

static void put_on_disk(const surgeon *s)
{
    sim_reset(patient.disk);
    sim_put_file(patient.disk, VICTIM_NAME, s->bytes, s->size);
}

/* By every way through the file, each from the forged state. */
static void use_it(const surgeon *s)
{
    for (uint64_t seed = 0; seed < 12; seed++) {
        rng random;
        rng_seed(&random, seed);
        put_on_disk(s);
        const char *fault = victim_read(&patient);
        if (!fault && seed & 1)
            fault = victim_write(&patient);
        if (!fault)
            fault = victim_rough(&patient, &random);
        if (fault)
            fail_msg("seed %llu: %s", (unsigned long long)seed, fault);
    }
}

static kv_db *open_it(uint32_t flags)
{
    kv_db *db;
    kv_options options = {.size = sizeof options, .flags = flags};
    assert_int_equal(kvi_db_open(sim_os(patient.disk), VICTIM_NAME, &options, &db, NULL, 0), KV_OK);
    return db;
}

typedef struct finding {
    const char *invariant;
    unsigned n;
} finding;

static int find_problem(void *context, const kv_check_problem *problem)
{
    finding *f = context;
    f->n += strcmp(problem->invariant, f->invariant) == 0;
    return 0;
}

/* The check finds that it breaks the invariant; s is used up. */
static void end_found(surgeon *s, const char *invariant)
{
    finding found = {invariant, 0};
    const kv_check_options options = {
        .size = sizeof options, .problem = find_problem, .context = &found};
    put_on_disk(s);
    greatest = 0;
    kv_db *db = open_it(0);
    assert_int_equal(kv_db_check(db, &options), KV_ECORRUPT);
    if (found.n == 0)
        fail_msg("the check does not find that %s is broken", invariant);
    assert_int_equal(kv_db_close(db), KV_OK);
    use_it(s);
    assert_true(greatest <= ALLOC_SANE);
    surgeon_free(s);
}

/* What a reader of this key is told. */
static int answer(const surgeon *s, const char *tree_name, const char *key)
{
    kv_txn *txn;
    kv_slice value;
    put_on_disk(s);
    kv_db *db = open_it(KV_OPEN_READONLY);
    assert_int_equal(kv_txn_begin(db, 0, &txn), KV_OK);
    kv_tree *tree = kv_txn_main(txn);
    int rc = tree_name ? kv_tree_open(txn, tree_name, strlen(tree_name), 0, NULL, &tree) : KV_OK;
    if (rc == KV_OK)
        rc = kv_get(tree, key, strlen(key), &value);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    return rc;
}

static uint8_t *main_branch(const surgeon *s, kvi_pgno *page)
{
    *page = surgeon_node(s, &s->meta.main, 1, 0).page;
    return surgeon_page(s, *page);
}

static uint8_t *main_leaf(const surgeon *s, kvi_pgno *page)
{
    *page = surgeon_node(s, &s->meta.main, 0, 0).page;
    return surgeon_page(s, *page);
}

/* ---- values ---- */

/* The tree with compressed values, whose reference or bytes are to be changed. */
static kvi_tree_desc packed_tree(const surgeon *s)
{
    kvi_tree_desc desc;
    kvi_pgno leaf;
    surgeon_catalog(s, 0, &leaf, &desc);
    return desc;
}

/* False: there is no such value. */
static bool bomb(bool large, uint64_t length)
{
    surgeon s = begin();
    kvi_tree_desc desc = packed_tree(&s);
    uint8_t flags = large ? KVI_ENTRY_LARGE | KVI_ENTRY_COMPRESSED : KVI_ENTRY_COMPRESSED;
    kvi_pgno leaf;
    kvi_entry entry;
    uint8_t *stored;
    if (!surgeon_find(&s, &desc, flags, &leaf, &stored, &entry)) {
        surgeon_free(&s);
        return false;
    }
    kvi_put64(large ? stored + kvi_entry_ref_at(&entry) + KVI_L_raw_len : stored + 2, length);
    surgeon_stamp(&s, leaf);
    greatest = 0;
    int first = answer(&s, "packed", "k00001"), second = answer(&s, "packed", "k00002");
    /* which of the two it is depends on the page size; the other one is as good as before */
    assert_true((first == KV_ECORRUPT && second == KV_OK) ||
                (first == KV_OK && second == KV_ECORRUPT));
    assert_true(greatest <= ALLOC_SANE);
    end_found(&s, "V4");
    return true;
}

/* A few bytes that claim to become a terabyte, or twice what they can. */
static void test_bomb(void **state)
{
    static const uint64_t lengths[] = {(uint64_t)1 << 40, UINT64_MAX, (uint64_t)1 << 31, 1 << 30};
    for (size_t i = 0; i < KVI_COUNT(lengths); i++) {
        assert_true(bomb(true, lengths[i]));
        assert_int_equal(bomb(false, lengths[i]), KVI_PAGE_MIN >= 4096); /* tiny leaves have none */
    }
}

/* A run of a large value that no commit wrote (birth 0), or that ends behind the file. */
static void test_run(void **state)
{
    static const struct {
        unsigned at, width;
        uint64_t number;
        const char *invariant;
    } lies[] = {{KVI_L_birth, 6, 0, "V2"},          {KVI_L_birth, 6, KVI_ID_MAX, "V2"},
                {KVI_L_page, 6, 0, "V2"},           {KVI_L_page, 6, KVI_PGNO_MAX, "V2"},
                {KVI_L_pages, 4, UINT32_MAX, "V2"}, {KVI_L_stored_len, 8, UINT64_MAX, "V1"},
                {KVI_L_stored_len, 8, 0, "V1"}};
    for (size_t i = 0; i < KVI_COUNT(lies); i++) {
        surgeon s = begin();
        kvi_pgno leaf;
        kvi_entry entry;
        uint8_t *stored;
        assert_true(surgeon_find(&s, &s.meta.main, KVI_ENTRY_LARGE, &leaf, &stored, &entry));
        memcpy(stored + kvi_entry_ref_at(&entry) + lies[i].at, &lies[i].number, lies[i].width);
        surgeon_stamp(&s, leaf);
        end_found(&s, lies[i].invariant);
    }
}

/* ---- pages that lead to themselves, or are led to twice ---- */

static void test_cycle(void **state)
{
    surgeon s = begin();
    kvi_pgno page;
    uint8_t *branch = main_branch(&s, &page);
    kvi_branch_set_child(branch, s.page_size, 0, (kvi_ptr){page, kvi_get64(branch + KVI_P_birth)});
    surgeon_stamp(&s, page);
    assert_int_equal(answer(&s, NULL, "k00000"), KV_ECORRUPT);
    end_found(&s, "T4");
}

static void test_shared_leaf(void **state)
{
    surgeon s = begin();
    kvi_pgno page;
    uint8_t *branch = main_branch(&s, &page);
    kvi_branch_set_child(branch, s.page_size, 1, kvi_branch_child(branch, s.page_size, 0));
    surgeon_stamp(&s, page);
    end_found(&s, "S1");
}

static int drop(kv_txn *txn, const char *name)
{
    kv_tree *tree;
    assert_int_equal(kv_tree_open(txn, name, strlen(name), 0, NULL, &tree), KV_OK);
    return kv_tree_drop(tree);
}

/* In one transaction. */
static void drop_both(const surgeon *s, const char *first, const char *second)
{
    kv_txn *txn;
    put_on_disk(s);
    kv_db *db = open_it(0);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    assert_int_equal(drop(txn, first), KV_OK);
    assert_int_equal(drop(txn, second), KV_ECORRUPT);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* Two trees with one root: dropping both must not give its pages away twice. */
static void test_shared_tree(void **state)
{
    surgeon s = begin();
    kvi_tree_desc desc = packed_tree(&s), own;
    kvi_pgno leaf;
    uint8_t *bytes = surgeon_catalog(&s, 1, &leaf, &own);
    kvi_tree_desc_encode(&desc, bytes);
    surgeon_stamp(&s, leaf);
    drop_both(&s, "packed", "small");
    end_found(&s, "S1");
}

static void test_space_cycle(void **state)
{
    static const struct {
        unsigned meta, next;
    } chains[] = {{KVI_M_log, KVI_G_older}, {KVI_M_blocked, KVI_B_next}, {KVI_M_map, 64}};
    unsigned forged = 0;
    for (size_t i = 0; i < KVI_COUNT(chains); i++) {
        surgeon s = begin();
        uint64_t stride = kvi_meta_stride(s.page_size);
        kvi_ptr first = kvi_ptr_get(s.bytes + chains[i].meta);
        if (first.page == 0) {
            surgeon_free(&s);
            continue;
        }
        kvi_ptr_put(surgeon_page(&s, first.page) + chains[i].next, first);
        surgeon_stamp(&s, first.page);
        for (unsigned slot = 0; slot < 2; slot++) { /* as long as one likes */
            kvi_put32(s.bytes + slot * stride + KVI_M_log_pages, UINT32_MAX);
            kvi_put32(s.bytes + slot * stride + KVI_M_blocked_pages, UINT32_MAX);
            surgeon_stamp_meta(&s, slot);
        }
        end_found(&s, "S1");
        forged++;
    }
    if (forged == 0)
        skip(); /* all records fit into the metas: those of tiny pages do not */
    assert_int_equal(forged, KVI_COUNT(chains));
}

/* ---- births, counts ---- */

static void test_future(void **state)
{
    surgeon s = begin();
    kvi_pgno page, leaf;
    uint8_t *branch = main_branch(&s, &page);
    kvi_ptr child = kvi_branch_child(branch, s.page_size, 0);
    leaf = child.page;
    child.birth = s.meta.id + 1;
    kvi_put64(surgeon_page(&s, leaf) + KVI_P_birth, child.birth);
    kvi_branch_set_child(branch, s.page_size, 0, child);
    surgeon_stamp(&s, leaf);
    surgeon_stamp(&s, page);
    assert_int_equal(answer(&s, NULL, "k00000"), KV_ECORRUPT);
    end_found(&s, "N7");
}

static void test_tally(void **state)
{
    static const uint64_t lies[] = {0, 1, UINT16_MAX};
    for (size_t i = 0; i < KVI_COUNT(lies); i++) {
        surgeon s = begin();
        kvi_pgno page;
        kvi_branch_set_tally(main_branch(&s, &page), s.page_size, 0, lies[i]);
        surgeon_stamp(&s, page);
        end_found(&s, "T2");
    }
}

static void test_descriptor(void **state)
{
    static const unsigned fields[] = {KVI_T_entries, KVI_T_leaf_pages, KVI_T_branch_pages,
                                      KVI_T_large_pages};
    static const uint64_t lies[] = {0, UINT64_MAX, (uint64_t)1 << 47};
    for (size_t i = 0; i < KVI_COUNT(fields) * KVI_COUNT(lies); i++) {
        surgeon s = begin();
        uint64_t stride = kvi_meta_stride(s.page_size), lie = lies[i % KVI_COUNT(lies)];
        for (unsigned slot = 0; slot < 2; slot++) {
            kvi_put64(s.bytes + slot * stride + KVI_M_main + fields[i / KVI_COUNT(lies)], lie);
            surgeon_stamp_meta(&s, slot);
        }
        end_found(&s, "T5");
    }
}

/* ---- nodes that contradict themselves ---- */

static void leaf_lie(unsigned at, uint16_t number, const char *invariant)
{
    surgeon s = begin();
    kvi_pgno page;
    kvi_put16(main_leaf(&s, &page) + at, number);
    surgeon_stamp(&s, page);
    assert_int_equal(answer(&s, NULL, "k00000"), KV_ECORRUPT);
    end_found(&s, invariant);
}

static void test_node_counts(void **state)
{
    leaf_lie(KVI_P_count, UINT16_MAX, "N2");
    leaf_lie(KVI_P_heap, UINT16_MAX, "N2");
    leaf_lie(KVI_P_heap, 0, "N3");
    leaf_lie(KVI_P_dead, 1, "N2");
    leaf_lie(KVI_P_fixed_key, UINT16_MAX, "N3");
    leaf_lie(KVI_P_fixed_value, UINT16_MAX, "N3");
}

static void test_prefix(void **state)
{
    leaf_lie(KVI_P_prefix_len, UINT16_MAX, "N2");
    leaf_lie(KVI_P_prefix_len, KVI_PREFIX_INLINE + 1, "N3");
}

/* The keys of the first leaf lie behind those of the second: a longer prefix is not seen in the node
 * itself, but in its place. */
static void test_prefix_moves(void **state)
{
    surgeon s = begin();
    kvi_pgno page;
    uint8_t *leaf = main_leaf(&s, &page);
    assert_true(kvi_get16(leaf + KVI_P_prefix_len) > 0);
    leaf[KVI_P_prefix] = 'z';
    surgeon_stamp(&s, page);
    end_found(&s, "T1");
}

enum growth { MORE_KEYS, MORE_KEYS_THAT_EXPIRE, A_LONGER_VALUE };

/* Fills a leaf from its low end until that fails. */
static int overfill(enum growth growth)
{
    static const uint8_t value[1000];
    kv_txn *txn;
    kv_db *db = open_it(0);
    int rc = kv_txn_begin(db, KV_TXN_WRITE, &txn);
    for (unsigned i = 0; rc == KV_OK && i < 2000; i++) {
        char key[16];
        bool longer = growth == A_LONGER_VALUE;
        kv_put_options options = {.size = sizeof options,
                                  .ttl_ms = growth == MORE_KEYS_THAT_EXPIRE ? 1000000 : 0};
        snprintf(key, sizeof key, "k00000%05u", longer ? 0 : i);
        rc = kv_put_with(kv_txn_main(txn), key, strlen(key), value, longer ? i % 1000 : 10,
                         &options);
    }
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    return rc;
}

/* Leaves of two branches change places. Their keys lie outside their separators: the pieces of a split
 * belong to a branch that is not on the way. */
static void test_swapped_leaves(void **state)
{
    surgeon s = begin();
    kvi_ptr low = surgeon_node(&s, &s.meta.main, 1, 0);
    kvi_ptr high = surgeon_node(&s, &s.meta.main, 1, UINT16_MAX);
    kvi_ptr first = kvi_branch_child(surgeon_page(&s, low.page), s.page_size, 0);
    kvi_ptr second = kvi_branch_child(surgeon_page(&s, high.page), s.page_size, 1);
    kvi_branch_set_child(surgeon_page(&s, low.page), s.page_size, 0, second);
    kvi_branch_set_child(surgeon_page(&s, high.page), s.page_size, 1, first);
    surgeon_stamp(&s, low.page);
    surgeon_stamp(&s, high.page);
    for (enum growth growth = MORE_KEYS; growth <= A_LONGER_VALUE; growth++) {
        put_on_disk(&s);
        int rc = overfill(growth);
        if (low.page != high.page)
            assert_int_equal(rc, KV_ECORRUPT);
    }
    end_found(&s, "T1");
}

static void head_lie(uint32_t head, const char *invariant)
{
    surgeon s = begin();
    kvi_pgno page;
    uint8_t *leaf = main_leaf(&s, &page);
    unsigned heads = KVI_HEADER_SIZE + (kvi_get16(leaf + KVI_P_hint_stride) ? KVI_HINT_LINE : 0);
    assert_true(kvi_node_count(leaf) > 1);
    kvi_put32(leaf + heads, head);
    surgeon_stamp(&s, page);
    assert_int_equal(answer(&s, NULL, "k00000"), KV_ECORRUPT);
    end_found(&s, invariant);
}

/* The first is the greatest: of a longer key than there is, and of a possible one. */
static void test_heads(void **state)
{
    head_lie(UINT32_MAX, "N6");
    head_lie(0xff000000, "N4");
}

static void test_hints(void **state)
{
    surgeon s = begin();
    unsigned lied = 0;
    for (kvi_pgno page = kvi_first_page(s.page_size); page < s.meta.high_water; page++) {
        uint8_t *node = surgeon_page(&s, page);
        if (kvi_node_validate(node, s.page_size, -1, s.meta.high_water, s.meta.id) != 0 ||
            kvi_get16(node + KVI_P_hint_stride) == 0)
            continue;
        kvi_put32(node + KVI_HEADER_SIZE, kvi_get32(node + KVI_HEADER_SIZE) + 1);
        surgeon_stamp(&s, page);
        lied++;
    }
    assert_true(lied > 0);
    /* tiny leaves have too few entries */
    assert_int_equal(answer(&s, NULL, "k00000"), KVI_PAGE_MIN >= 4096 ? KV_ECORRUPT : KV_OK);
    end_found(&s, "N5");
}

/* ---- space records that give away what is in use ---- */

/* The only record says that this run is free. */
static void space_lie(kvi_pgno page, uint64_t pages)
{
    surgeon s = begin();
    uint64_t stride = kvi_meta_stride(s.page_size);
    uint8_t record[40], *p = kvi_varint_put(record, s.meta.id);
    *p++ = 0; /* runs taken */
    *p++ = 1; /* runs dropped: gap, length, age */
    p = kvi_varint_put(p, page);
    p = kvi_varint_put(p, pages);
    *p++ = 0;
    for (unsigned slot = 0; slot < 2; slot++) {
        uint8_t *meta = s.bytes + slot * stride;
        memcpy(meta + KVI_M_delta, record, (size_t)(p - record));
        kvi_put16(meta + KVI_M_delta_len, (uint16_t)(p - record));
        surgeon_stamp_meta(&s, slot);
    }
    end_found(&s, "S1");
}

/* All of the file is free. Whoever writes destroys the database, which is the forger's own, and
 * nothing else. */
static void test_space_claims(void **state)
{
    kvi_pgno first = kvi_first_page(image.page_size);
    space_lie(first, image.meta.high_water - first);
}

/* Pages behind the high-water mark, and the metas themselves, are offered. */
static void test_space_outside(void **state)
{
    space_lie(0, 2);
    space_lie(1, 1);
    space_lie((kvi_pgno)1 << 40, 9);
    space_lie(5, 1 << 30);
}

static bool is_found(const surgeon *s)
{
    put_on_disk(s);
    kv_db *db = open_it(KV_OPEN_READONLY);
    int rc = kv_db_check(db, NULL);
    assert_int_equal(kv_db_close(db), KV_OK);
    return rc == KV_ECORRUPT;
}

/* The same by pages of records: their bytes from some place on are the forger's. */
static void test_space_pages(void **state)
{
    static const unsigned roots[] = {KVI_M_log, KVI_M_map, KVI_M_blocked};
    static const uint8_t fills[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    unsigned forged = 0;
    for (size_t i = 0; i < KVI_COUNT(roots) * KVI_COUNT(fills); i++) {
        kvi_pgno page = kvi_ptr_get(image.bytes + roots[i / KVI_COUNT(fills)]).page;
        unsigned noticed = 0;
        for (uint32_t from = KVI_HEADER_SIZE; page && from < image.page_size; from += 48) {
            surgeon s = begin();
            memset(surgeon_page(&s, page) + from, fills[i % KVI_COUNT(fills)], s.page_size - from);
            surgeon_stamp(&s, page);
            noticed += is_found(&s);
            use_it(&s);
            surgeon_free(&s);
            forged++;
        }
        assert_true(noticed > 0 || page == 0); /* where a page has no records nobody looks */
    }
    if (forged == 0)
        skip(); /* all records fit into the metas: those of tiny pages do not */
    assert_true(forged > 20);
}

/* A bitmap in which every page is free. */
static void test_space_all_free(void **state)
{
    surgeon s = begin();
    kvi_pgno page = s.meta.map.page;
    if (page == 0) {
        surgeon_free(&s);
        skip();
    }
    for (unsigned level = s.meta.map_levels; level > 1; level--)
        page = kvi_ptr_get(surgeon_page(&s, page) + KVI_HEADER_SIZE).page;
    memset(surgeon_page(&s, page) + KVI_HEADER_SIZE, 0xff, s.page_size - KVI_HEADER_SIZE);
    surgeon_stamp(&s, page);
    end_found(&s, "S1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bomb),           cmocka_unit_test(test_run),
        cmocka_unit_test(test_cycle),          cmocka_unit_test(test_shared_leaf),
        cmocka_unit_test(test_shared_tree),    cmocka_unit_test(test_space_cycle),
        cmocka_unit_test(test_future),         cmocka_unit_test(test_tally),
        cmocka_unit_test(test_descriptor),     cmocka_unit_test(test_node_counts),
        cmocka_unit_test(test_prefix),         cmocka_unit_test(test_prefix_moves),
        cmocka_unit_test(test_swapped_leaves), cmocka_unit_test(test_heads),
        cmocka_unit_test(test_hints),          cmocka_unit_test(test_space_claims),
        cmocka_unit_test(test_space_outside),  cmocka_unit_test(test_space_pages),
        cmocka_unit_test(test_space_all_free),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
