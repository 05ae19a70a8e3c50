/* The memory of private pages: buffers on their bounds, and large pages of memory where many are asked
 * for and the system does not take long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "dirty.h"

#define LARGE  ((uintptr_t)2 << 20)
#define PAGES  5000u
#define SLACK  512u /* pages that come before the first large piece, or behind the last */
#define PIECES 200u

static kvi_os table;
static uint64_t now_ns, look_ns; /* the clock, and what each look at it takes */

/* What large pages were asked for, and got from the allocator. */
static struct pieces {
    size_t n;
    uintptr_t first[PIECES], end[PIECES];
    size_t n_given;
    uintptr_t given[PIECES], given_end[PIECES];
} pieces;

static void advise(const kvi_os *os, const uint8_t *ptr, size_t len, int advice)
{
    (void)os;
    if (advice != KVI_OS_HUGE)
        return;
    assert_true(pieces.n < PIECES);
    pieces.first[pieces.n] = (uintptr_t)ptr;
    pieces.end[pieces.n++] = (uintptr_t)ptr + len;
}

static uint64_t clock_ns(const kvi_os *os)
{
    (void)os;
    return now_ns += look_ns;
}

static void *give(const kvi_os *os, size_t size)
{
    void *memory = kvi_os_posix.alloc(os, size);
    if (size < LARGE)
        return memory;
    assert_true(pieces.n_given < PIECES);
    pieces.given[pieces.n_given] = (uintptr_t)memory;
    pieces.given_end[pieces.n_given++] = (uintptr_t)memory + size;
    return memory;
}

static bool lies_in(uintptr_t at, size_t len, const uintptr_t *first, const uintptr_t *end,
                    size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (at >= first[i] && at + len <= end[i])
            return true;
    return false;
}

/* Returns how many of many pages lie in no large one. */
static unsigned small_pages(uint32_t page_size)
{
    kvi_dirty dirty;
    unsigned outside = 0;
    pieces = (struct pieces){.n = 0};
    table = kvi_os_posix;
    table.advise = advise;
    table.alloc = give;
    table.mono_ns = clock_ns;
    kvi_dirty_init(&dirty, &table, page_size);
    for (unsigned i = 0; i < PAGES; i++) {
        assert_int_equal(kvi_dirty_reserve(&dirty, 1), KV_OK);
        kvi_handle handle = kvi_dirty_page(&dirty, 0);
        uintptr_t at = (uintptr_t)kvi_dirty_bytes(&dirty, handle);
        assert_int_equal(at % page_size, 0);
        *(uint8_t *)at = 1;
        outside += !lies_in(at, page_size, pieces.first, pieces.end, pieces.n);
    }
    for (size_t i = 0; i < pieces.n; i++) {
        assert_int_equal(pieces.first[i] % LARGE, 0);
        assert_int_equal(pieces.end[i] % LARGE, 0);
        assert_true(lies_in(pieces.first[i], pieces.end[i] - pieces.first[i], pieces.given,
                            pieces.given_end, pieces.n_given));
    }
    kvi_dirty_close(&dirty);
    return outside;
}

static void test_pages_lie_in_large_pages(void **state)
{
    (void)state;
    look_ns = 300000;
    for (uint32_t page_size = 4096; page_size <= 65536; page_size *= 4) {
        assert_in_range(small_pages(page_size), 1, SLACK); /* few are no reason for a large page */
        assert_true(pieces.n > 1);
    }
}

static void test_slow_large_pages_are_not_asked_for_again(void **state)
{
    (void)state;
    look_ns = 2000000;
    assert_true(small_pages(4096) >= PAGES - 3 * SLACK);
    assert_int_equal(pieces.n, 2);
    for (size_t i = 2; i < pieces.n_given; i++) /* nor is room made for their bounds */
        assert_true(pieces.given_end[i] - pieces.given[i] < LARGE + LARGE / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_lie_in_large_pages),
        cmocka_unit_test(test_slow_large_pages_are_not_asked_for_again),
    };
    return cmocka_run_group_tests_name("dirty", tests, NULL, NULL);
}
