/* The file and its map on a machine that is made up: how much address space is asked for, which pages the
 * system is asked for, and what no pointer leads to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "file.h"
#include <errno.h>

#define PAGE     4096u
#define PAGES    32                  /* of the small file */
#define GREATEST ((uint64_t)1 << 46) /* that is asked for */

static uint8_t memory[PAGES * PAGE];
static _Atomic uint64_t table[PAGES];
static uint64_t grants;           /* bytes of address space that the system has */
static uint64_t asked[64];        /* how much was asked for, in turn */
static unsigned n_asked, willing; /* calls */
static uint64_t size;             /* of the file */
static unsigned cuts;

static kvi_os os;
static kvi_err err;
static kvi_file file;

static int stub_map(const kvi_os *self, int fd, size_t len, const uint8_t **ptr)
{
    assert_true(n_asked < KVI_COUNT(asked));
    asked[n_asked++] = len;
    *ptr = memory;
    return len <= grants ? 0 : -ENOMEM;
}

static void stub_unmap(const kvi_os *self, const uint8_t *ptr, size_t len)
{
}

static void *stub_reserve(const kvi_os *self, size_t len)
{
    return (void *)(uintptr_t)table;
}

static void stub_release(const kvi_os *self, void *ptr, size_t len)
{
}

static int stub_stat(const kvi_os *self, int fd, kvi_os_stat *stat)
{
    *stat = (kvi_os_stat){.size = size};
    return 0;
}

static int stub_truncate(const kvi_os *self, int fd, uint64_t len)
{
    cuts++;
    size = len;
    return 0;
}

static void stub_advise(const kvi_os *self, const uint8_t *ptr, size_t len, int advice)
{
    willing += advice == KVI_OS_WILLNEED;
}

static void begin(uint64_t file_size, uint64_t address_space)
{
    os = kvi_os_posix;
    os.map = stub_map;
    os.unmap = stub_unmap;
    os.reserve = stub_reserve;
    os.release = stub_release;
    os.stat = stub_stat;
    os.truncate = stub_truncate;
    os.advise = stub_advise;
    size = file_size;
    grants = address_space;
    n_asked = willing = cuts = 0;
    for (unsigned i = 0; i < PAGES; i++)
        atomic_init(&table[i], 0);
    kvi_err_init(&err);
    assert_int_equal(kvi_file_init(&file, &os, &err, 3, PAGE, 7, true), KV_OK);
}

static kvi_view view_of(uint64_t pages)
{
    kvi_view view;
    assert_int_equal(kvi_file_view(&file, pages, 100, &view), KV_OK);
    return view;
}

/* Twice what the file needs, and more than that; half of it for as long as it is refused; at last no
 * more than the file needs. */
static void test_address_space(void **state)
{
    static const uint64_t sizes[] = {1u << 20, 100u << 20, (uint64_t)3 << 38, GREATEST / 4 * 3};
    for (size_t i = 0; i < KVI_COUNT(sizes); i++)
        for (int scarce = 0; scarce < 2; scarce++) {
            begin(sizes[i], scarce ? sizes[i] : UINT64_MAX);
            view_of(sizes[i] / PAGE);
            assert_true(asked[0] >= KVI_MIN(2 * sizes[i], GREATEST) && asked[0] <= GREATEST);
            assert_true(scarce ? n_asked > 1 : n_asked == 1);
            for (unsigned k = 1; k + 1 < n_asked; k++)
                assert_true(asked[k] == asked[k - 1] / 2 && asked[k] > sizes[i]);
            assert_true(!scarce || asked[n_asked - 1] == sizes[i]);
            kvi_file_close(&file);
        }
}

static void test_no_address_space(void **state)
{
    kvi_view view;
    begin(100u << 20, 0);
    assert_int_equal(kvi_file_view(&file, (100u << 20) / PAGE, 100, &view), KV_ENOMEM);
    kvi_file_close(&file);
}

/* A file that is longer than we know stays so. */
static void test_extend(void **state)
{
    begin(10 * PAGE, UINT64_MAX);
    size = 20 * PAGE;
    assert_int_equal(kvi_file_extend(&file, 15), KV_OK);
    assert_int_equal(cuts, 0);
    assert_int_equal(kvi_file_extend(&file, 25), KV_OK);
    assert_int_equal(cuts, 1);
    assert_int_equal(size, 25 * PAGE);
    kvi_file_close(&file);
}

/* The system is asked for what was not met, and for all in a file that memory does not hold; for nothing
 * outside the file. */
static void test_expect(void **state)
{
    const kvi_ptr ptrs[] = {{20, 5}, {21, 5}, {22, 0}, {PAGES, 5}, {KVI_PGNO_MAX, 5}};
    begin(PAGES * PAGE, UINT64_MAX);
    kvi_view view = view_of(PAGES);
    atomic_store(&table[20], kvi_seen_node(5, 0));
    file.memory = PAGES * PAGE;
    kvi_file_expect(&view, ptrs, KVI_COUNT(ptrs));
    assert_int_equal(willing, 1);
    file.memory--;
    kvi_file_expect(&view, ptrs, KVI_COUNT(ptrs));
    assert_int_equal(willing, 3);
    kvi_file_close(&file);
}

static void test_pointers_outside(void **state)
{
    static const kvi_ptr nodes[] = {{0, 5}, {PAGES, 5}, {KVI_PGNO_MAX, 5}, {20, 0}, {20, 101}};
    const uint64_t first = KVI_LARGE_FROM / PAGE;
    const uint8_t *bytes;
    begin(PAGES * PAGE, UINT64_MAX);
    kvi_view view = view_of(PAGES);
    for (size_t i = 0; i < KVI_COUNT(nodes); i++)
        assert_int_equal(kvi_file_verify(&view, nodes[i], 0, &bytes), KV_ECORRUPT);
    uint64_t checksum = kvi_hash_bytes(&file.hash, memory, PAGE);
    assert_int_equal(kvi_file_large(&view, (kvi_ptr){first - 1, 5}, PAGE, checksum, &bytes),
                     KV_ECORRUPT);
    assert_int_equal(kvi_file_large(&view, (kvi_ptr){PAGES, 5}, PAGE, checksum, &bytes),
                     KV_ECORRUPT);
    assert_int_equal(kvi_file_large(&view, (kvi_ptr){PAGES - 1, 5}, PAGE + 1, checksum, &bytes),
                     KV_ECORRUPT);
    assert_int_equal(kvi_file_large(&view, (kvi_ptr){PAGES - 1, 5}, PAGE, checksum, &bytes), KV_OK);
    assert_ptr_equal(bytes, memory + (PAGES - 1) * PAGE);
    kvi_file_close(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address_space),    cmocka_unit_test(test_no_address_space),
        cmocka_unit_test(test_extend),           cmocka_unit_test(test_expect),
        cmocka_unit_test(test_pointers_outside),
    };
    return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
