/* Damage behind right checksums, as only a forger makes it: no crash, no hang, nothing left open.
 * What the answers are is not judged, except that a damaged page of one kind never passes for
 * another's.
 *
 * KV_SEED repeats a run, KV_CASES sets the number of cases, KV_ALOUD=1 names each before it runs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "surgeon.h"
#include "victim.h"
#include <stdio.h>
#include <stdlib.h>

#define CASES 1500

static victim patient;
static surgeon image;

static int setup(void **state)
{
    victim_make(&patient, KVI_PAGE_MIN, 5);
    patient.lenient = true;
    sim_set_guard(patient.disk, true);
    surgeon_take(&image, patient.image, patient.size);
    return 0;
}

static int teardown(void **state)
{
    victim_free(&patient);
    surgeon_free(&image);
    return 0;
}

/* ---- the file ---- */

static void put_on_disk(const surgeon *s)
{
    sim_reset(patient.disk);
    sim_put_file(patient.disk, VICTIM_NAME, s->bytes, s->size);
}

static surgeon image_copy(void)
{
    surgeon s;
    surgeon_take(&s, image.bytes, image.size);
    return s;
}

/* ---- forging ---- */

static uint64_t pointers, larges; /* forged: not every page has some */

static kvi_pgno any_page(const surgeon *s, rng *random)
{
    kvi_pgno first = kvi_first_page(s->page_size);
    return first + rng_below(random, s->size / s->page_size - first);
}

/* A number that is likely to be met by a wrong bound. */
static uint64_t awkward(const surgeon *s, rng *random)
{
    static const uint64_t numbers[] = {0,
                                       1,
                                       2,
                                       3,
                                       0x7f,
                                       0x80,
                                       0xff,
                                       0x7fff,
                                       0x8000,
                                       0xffff,
                                       4095,
                                       4096,
                                       4097,
                                       64,
                                       63,
                                       0xffffffff,
                                       0x80000000,
                                       (uint64_t)1 << 47,
                                       ((uint64_t)1 << 48) - 1,
                                       UINT64_MAX};
    switch (rng_below(random, 3)) {
    case 0:
        return numbers[rng_below(random, KVI_COUNT(numbers))];
    case 1:
        return any_page(s, random);
    default:
        return rng_next(random) >> rng_below(random, 64);
    }
}

static void put_number(uint8_t *at, size_t width, uint64_t number)
{
    for (size_t i = 0; i < width; i++)
        at[i] = (uint8_t)(i < 8 ? number >> 8 * i : 0);
}

/* A field of the header: type to hint_stride, seldom number and birth. */
static void forge_header(surgeon *s, uint8_t *page, rng *random)
{
    static const struct field {
        uint8_t at, width;
    } fields[] = {{KVI_P_type, 1},      {KVI_P_level, 1},       {KVI_P_count, 2},
                  {KVI_P_heap, 2},      {KVI_P_dead, 2},        {KVI_P_prefix_len, 2},
                  {KVI_P_fixed_key, 2}, {KVI_P_fixed_value, 2}, {KVI_P_hint_stride, 2},
                  {KVI_P_flags, 2},     {KVI_P_prefix, 8},      {KVI_P_birth, 8}};
    const struct field *f = &fields[rng_below(random, KVI_COUNT(fields))];
    put_number(page + f->at, f->width, awkward(s, random));
}

static void forge_body(surgeon *s, uint8_t *page, rng *random)
{
    static const uint8_t widths[] = {1, 2, 4, 6, 8, 12};
    size_t width = widths[rng_below(random, KVI_COUNT(widths))];
    size_t room = s->page_size - KVI_HEADER_SIZE - width;
    size_t near = rng_one_in(random, 2) ? room : KVI_MIN(room, (size_t)400);
    put_number(page + KVI_HEADER_SIZE + rng_below(random, near), width, awkward(s, random));
}

/* A pointer becomes a copy of another: shared subtrees, wrong levels, cycles. */
static void forge_pointer(surgeon *s, uint8_t *page, rng *random)
{
    if (page[KVI_P_type] != KVI_BRANCH)
        return;
    const uint8_t *from = surgeon_page(s, any_page(s, random));
    kvi_ptr child = {kvi_get64(from + KVI_P_page), kvi_get64(from + KVI_P_birth)};
    unsigned n = kvi_node_count(page) + 1;
    unsigned i = (unsigned)rng_below(random, n);
    if (rng_one_in(random, 2))
        child = kvi_branch_child(page, s->page_size, (unsigned)rng_below(random, n));
    kvi_branch_set_child(page, s->page_size, i, child);
    pointers++;
}

static void forge_large(surgeon *s, uint8_t *page, rng *random)
{
    uint8_t *stored;
    kvi_entry entry;
    uint8_t flags =
        rng_one_in(random, 2) ? KVI_ENTRY_LARGE : KVI_ENTRY_LARGE | KVI_ENTRY_COMPRESSED;
    if (page[KVI_P_type] != KVI_LEAF ||
        !surgeon_entry(s, (kvi_pgno)(page - s->bytes) / s->page_size, flags, &stored, &entry))
        return;
    uint8_t *ref = stored + kvi_entry_ref_at(&entry);
    larges++;
    switch (rng_below(random, 5)) {
    case 0:
        put_number(ref + KVI_L_page, 6, awkward(s, random));
        break;
    case 1:
        put_number(ref + KVI_L_pages, 4, awkward(s, random));
        break;
    case 2:
        put_number(ref + KVI_L_stored_len, 8, awkward(s, random));
        break;
    case 3:
        put_number(ref + KVI_L_raw_len, 8, awkward(s, random));
        break;
    default:
        stored[0] = (uint8_t)rng_next(random);
        break;
    }
}

/* Another page's bytes, under this page's name. */
static void forge_copy(surgeon *s, uint8_t *page, rng *random)
{
    uint64_t number = kvi_get64(page + KVI_P_page), birth = kvi_get64(page + KVI_P_birth);
    memmove(page, surgeon_page(s, any_page(s, random)), s->page_size);
    kvi_put64(page + KVI_P_page, number);
    kvi_put64(page + KVI_P_birth, birth);
}

/* Any page, but the few of the space records and branches more often than their share. */
static kvi_pgno any_victim(const surgeon *s, rng *random)
{
    kvi_pgno page = any_page(s, random);
    if (rng_one_in(random, 2))
        for (unsigned tries = 0; tries < 200 && surgeon_page(s, page)[KVI_P_type] < KVI_BRANCH;
             tries++)
            page = any_page(s, random);
    return page;
}

static void forge_page(surgeon *s, rng *random)
{
    static void (*const ways[])(surgeon *, uint8_t *, rng *) = {
        forge_header, forge_body, forge_body, forge_pointer, forge_large, forge_copy};
    kvi_pgno number = any_victim(s, random);
    for (uint64_t n = rng_between(random, 1, 3); n > 0; n--)
        ways[rng_below(random, KVI_COUNT(ways))](s, surgeon_page(s, number), random);
    surgeon_stamp(s, number);
}

/* A number of the meta, a tree's descriptor or the space delta. */
static void forge_meta(surgeon *s, rng *random)
{
    static const struct field {
        uint16_t at, width;
    } fields[] = {{KVI_M_page_size, 4},  {KVI_M_id, 8},         {KVI_M_durable, 8},
                  {KVI_M_high_water, 8}, {KVI_M_map_levels, 1}, {KVI_M_delta_len, 2},
                  {KVI_M_log_pages, 4},  {KVI_M_log, 6},        {KVI_M_map, 6},
                  {KVI_M_blocked, 6},    {KVI_M_log_tail, 8},   {KVI_M_blocked_pages, 4},
                  {KVI_M_kind, 1},       {KVI_M_walk, 8},       {KVI_M_seal, 8}};
    uint64_t stride = kvi_meta_stride(s->page_size);
    uint8_t *slot = s->bytes + rng_below(random, 2) * stride;
    const struct field *f = &fields[rng_below(random, KVI_COUNT(fields))];
    switch (rng_below(random, 4)) {
    case 0:
        put_number(slot + f->at, f->width, awkward(s, random));
        break;
    case 1:
        put_number(slot + KVI_M_main + rng_below(random, 3 * KVI_TREE_SIZE - 8), 8,
                   awkward(s, random));
        break;
    default:
        slot[KVI_M_delta + rng_below(random, 600)] = (uint8_t)awkward(s, random);
        break;
    }
    if (rng_one_in(random, 2))
        memcpy(s->bytes + (slot == s->bytes ? stride : 0), slot, KVI_META_SIZE);
    surgeon_stamp_meta(s, 0);
    surgeon_stamp_meta(s, 1);
}

/* ---- the cases ---- */

static const char *examine(rng *random)
{
    const char *fault = victim_read(&patient);
    if (!fault)
        fault = victim_write(&patient);
    return fault ? fault : victim_rough(&patient, random);
}

static void run_case(uint64_t seed)
{
    rng random;
    surgeon s = image_copy();
    rng_seed(&random, seed);
    for (uint64_t n = rng_between(&random, 1, 4); n > 0; n--) {
        if (rng_one_in(&random, 4))
            forge_meta(&s, &random);
        else
            forge_page(&s, &random);
    }
    put_on_disk(&s);
    surgeon_free(&s);
    const char *fault = examine(&random);
    if (fault)
        fail_msg("KV_SEED=%llu KV_CASES=1: %s", (unsigned long long)seed, fault);
}

static void test_forged(void **state)
{
    uint64_t seed = rng_choose_seed(1);
    const char *text = getenv("KV_CASES");
    uint64_t cases = text ? strtoull(text, NULL, 0) : CASES;
    bool aloud = getenv("KV_ALOUD");
    for (uint64_t i = 0; i < cases; i++) {
        if (aloud)
            fprintf(stderr, "case %llu\n", (unsigned long long)(seed + i));
        run_case(seed + i);
    }
    print_message("%llu cases, %llu pointers, %llu large values, %llu opens, %llu errors\n",
                  (unsigned long long)cases, (unsigned long long)pointers,
                  (unsigned long long)larges, (unsigned long long)patient.opened,
                  (unsigned long long)patient.errors);
    if (cases >= 100) {
        assert_true(patient.opened > cases);
        assert_true(patient.errors > cases);
    }
    if (cases >= CASES) {
        assert_true(pointers > 0);
        assert_true(larges > 0);
    }
}

/* ---- sharing without end ---- */

/* Entries or children, as many as asked for and as there is room: all children are the same. */
static void forge_node(surgeon *s, uint8_t *page, unsigned level, kvi_ptr child, unsigned n)
{
    char key[16];
    uint8_t *spare = malloc(s->page_size);
    kvi_item item = {.value = {(const uint8_t *)"v", 1}, .child = child, .tally = 1};
    bool fits = true;
    assert_non_null(spare);
    memset(page, 0, s->page_size);
    if (level == 0)
        kvi_leaf_init(page, s->page_size);
    else
        kvi_branch_init(page, s->page_size, level, child, 1);
    for (unsigned i = 0; fits && i < n; i++) {
        snprintf(key, sizeof key, "m%05u", i);
        item.key = kvi_slice_of(key, 6);
        fits = level ? kvi_branch_insert(page, s->page_size, spare, i, &item)
                     : kvi_leaf_insert(page, s->page_size, spare, i, &item);
    }
    kvi_node_pack(page, s->page_size, spare);
    free(spare);
}

/* Gives the main tree thirty-one levels of branches, each with the same child again and again: with
 * two, a tree of 2^31 leaves in 32 pages. */
static void forge_tower(surgeon *s, unsigned n)
{
    kvi_pgno first = s->meta.high_water;
    s->meta.high_water += KVI_LEVEL_MAX + 1;
    s->size = (size_t)s->meta.high_water * s->page_size;
    s->bytes = realloc(s->bytes, s->size);
    assert_non_null(s->bytes);
    for (unsigned level = 0; level <= KVI_LEVEL_MAX; level++) {
        uint8_t *page = surgeon_page(s, first + level);
        forge_node(s, page, level, (kvi_ptr){first + level - 1, s->meta.id}, n);
        kvi_put64(page + KVI_P_page, first + level);
        kvi_put64(page + KVI_P_birth, s->meta.id);
        surgeon_stamp(s, first + level);
    }
    s->meta.main.root = (kvi_ptr){first + KVI_LEVEL_MAX, s->meta.id};
    s->meta.main.level = KVI_LEVEL_MAX;
    s->meta.durable = s->meta.id;
    s->meta.seal = s->meta.walk = 0;
    s->meta.log = s->meta.map = s->meta.blocked = (kvi_ptr){0}; /* no records: all is in use */
    s->meta.log_pages = s->meta.blocked_pages = 0;
    s->meta.map_levels = 0;
    s->meta.delta_len = 0;
    surgeon_put_meta(s);
}

/* The handle's newest error says so. */
static void expect_sentence(kv_db *db, const char *part)
{
    char text[320];
    kv_db_errmsg(db, text, sizeof text);
    if (!strstr(text, part))
        fail_msg("not \"%s\" but \"%s\"", part, text);
}

static void doubling_is_noticed(void)
{
    kv_db *db;
    kv_txn *txn;
    kv_options options = {.size = sizeof options};
    assert_int_equal(kvi_db_open(sim_os(patient.disk), VICTIM_NAME, &options, &db, NULL, 0), KV_OK);
    assert_int_equal(kv_db_check(db, NULL), KV_ECORRUPT);
    assert_int_equal(kv_db_copy(db, "copy", 0), KV_ECORRUPT);
    expect_sentence(db, "it is used twice");
    assert_int_equal(kv_db_copy(db, "copy", KV_COPY_COMPACT), KV_ECORRUPT);
    expect_sentence(db, "its keys are not greater than those before it");
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    assert_int_equal(kv_tree_clear(kv_txn_main(txn)), KV_ECORRUPT);
    expect_sentence(db, "it is dropped, but not in use");
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_int_equal(kvi_db_repair(sim_os(patient.disk), VICTIM_NAME, 0, NULL, NULL), KV_ECORRUPT);
}

/* Everything that is not asked for entry by entry ends, and soon. */
static void test_doubling(void **state)
{
    surgeon s = image_copy();
    forge_tower(&s, 1);
    put_on_disk(&s);
    doubling_is_noticed();
    for (uint64_t seed = 0; seed < 30; seed++) {
        rng random;
        rng_seed(&random, seed);
        put_on_disk(&s);
        const char *fault = examine(&random);
        if (fault)
            fail_msg("seed %llu: %s", (unsigned long long)seed, fault);
    }
    surgeon_free(&s);
}

/* Every node of the tower is full: an insert splits them all, and wants a level that is none. */
static void test_tower(void **state)
{
    surgeon s = image_copy();
    forge_tower(&s, UINT16_MAX);
    put_on_disk(&s);
    kv_db *db;
    kv_txn *txn;
    kv_options options = {.size = sizeof options};
    assert_int_equal(kvi_db_open(sim_os(patient.disk), VICTIM_NAME, &options, &db, NULL, 0), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    int rc = KV_OK;
    for (unsigned i = 0; rc == KV_OK && i < 5000; i++) {
        char key[16];
        snprintf(key, sizeof key, "n%05u", i);
        rc = kv_put(kv_txn_main(txn), key, 6, "v", 1, 0);
    }
    assert_int_equal(rc, KV_ECORRUPT);
    expect_sentence(db, "impossibly many levels");
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubling),
        cmocka_unit_test(test_tower),
        cmocka_unit_test(test_forged),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
