/* The set of numbers against an array of bools, and the lists of runs against arrays of pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "bitset.h"
#include "extent.h"
#include "fault_os.h"
#include "kv.h"
#include "rng.h"
#include "rounds.h"
#include <errno.h>

#define CAP 5000

static uint64_t seed;

/* ---- the set ---- */

static uint64_t naive_next(const bool *in, uint64_t size, uint64_t at, bool member)
{
    while (at < size && in[at] != member)
        at++;
    return KVI_MIN(at, size);
}

static void check_questions(const kvi_bitset *set, const bool *in, rng *random)
{
    uint64_t size = set->size, at = rng_below(random, size + 70), found = 0;
    uint64_t below = rng_below(random, size + 1), end = size;
    uint64_t n = rng_between(random, 1, rng_one_in(random, 4) ? 300 : 40);
    if (rng_one_in(random, 2))
        end = rng_below(random, size + 1);
    assert_int_equal(kvi_bitset_next(set, at), naive_next(in, size, at, true));
    assert_int_equal(kvi_bitset_next_gap(set, at), naive_next(in, size, at, false));
    assert_int_equal(kvi_bitset_has(set, at), at < size && in[at]);
    uint64_t gap = below;
    while (gap > 0 && in[gap - 1])
        gap--;
    assert_int_equal(kvi_bitset_gap_below(set, below), gap);
    uint64_t want = at;
    for (uint64_t run = 0; want < end && run < n; want++)
        run = in[want] ? run + 1 : 0;
    uint64_t have = 0;
    while (have < n && want > at + have && in[want - have - 1])
        have++;
    assert_int_equal(kvi_bitset_find(set, at, end, n, &found), have == n);
    if (have == n)
        assert_int_equal(found, want - n);
    if (at < size) {
        n = KVI_MIN(n, size - at);
        assert_int_equal(kvi_bitset_any(set, at, n), naive_next(in, size, at, true) < at + n);
    }
}

static void test_bitset(void **state)
{
    static bool in[CAP + 100];
    kvi_bitset set;
    rng random;
    rng_seed(&random, seed);
    memset(in, 0, sizeof in);
    kvi_bitset_init(&set, &kvi_os_posix);
    for (unsigned round = 0; round < rounds_of(60000); round++) {
        if (set.size == 0 || rng_one_in(&random, 200)) {
            uint64_t size = rng_below(&random, CAP);
            if (size > set.size)
                assert_int_equal(kvi_bitset_grow(&set, size), KV_OK);
            kvi_bitset_shrink(&set, size);
            assert_int_equal(set.size, size);
            memset(in + size, 0, sizeof in - size);
            continue;
        }
        uint64_t at = rng_below(&random, set.size);
        uint64_t most = rng_one_in(&random, 30) ? 3000 : 80;
        uint64_t n = rng_between(&random, 1, most);
        n = KVI_MIN(n, set.size - at);
        bool add = rng_below(&random, 100) < 50 + (round / 1000 % 3) * 20;
        if (add)
            kvi_bitset_add(&set, at, n);
        else
            kvi_bitset_remove(&set, at, n);
        memset(in + at, add, n);
        check_questions(&set, in, &random);
        if (round % 64 == 0) {
            uint64_t total = 0;
            for (size_t i = 0; i < CAP; i++)
                total += in[i];
            assert_int_equal(set.total, total);
        }
    }
    kvi_bitset_free(&set);
}

/* ---- lists ---- */

static void fill(uint8_t *pages, const kvi_extents *list)
{
    memset(pages, 0, CAP);
    for (size_t i = 0; i < list->n; i++)
        for (uint64_t k = 0; k < list->at[i].pages; k++)
            pages[list->at[i].page + k] = (uint8_t)list->at[i].birth;
}

static void random_list(kvi_extents *list, rng *random, bool *used)
{
    memset(used, 0, CAP);
    list->n = 0;
    for (unsigned i = 0; i < 200; i++) {
        uint64_t page = rng_below(random, CAP - 20), pages = rng_between(random, 1, 20);
        bool apart = true;
        for (uint64_t k = 0; k < pages; k++)
            apart = apart && !used[page + k];
        if (!apart)
            continue;
        memset(used + page, 1, pages);
        kvi_extent run = {page, pages, 1 + rng_below(random, 2), 0};
        assert_int_equal(kvi_extents_push(list, &kvi_os_posix, run), KV_OK);
    }
}

static void assert_ordered(const kvi_extents *list)
{
    for (size_t i = 1; i < list->n; i++) {
        assert_true(kvi_extent_end(&list->at[i - 1]) <= list->at[i].page);
        assert_false(kvi_extent_end(&list->at[i - 1]) == list->at[i].page &&
                     list->at[i - 1].birth == list->at[i].birth);
    }
}

static void test_sort_and_subtract(void **state)
{
    static uint8_t before[CAP], after[CAP], less[CAP];
    static bool used[CAP];
    kvi_extents list = {0}, minus = {0}, out = {0};
    rng random;
    rng_seed(&random, seed);
    for (unsigned round = 0; round < 500; round++) {
        random_list(&list, &random, used);
        random_list(&minus, &random, used);
        fill(before, &list);
        assert_int_equal(kvi_extents_sort(&list, &kvi_os_posix), KV_OK);
        assert_int_equal(kvi_extents_sort(&minus, &kvi_os_posix), KV_OK);
        fill(after, &list);
        assert_memory_equal(before, after, CAP);
        assert_ordered(&list);
        out.n = 0;
        assert_int_equal(kvi_extents_subtract(&list, &minus, &out, &kvi_os_posix), KV_OK);
        assert_ordered(&out);
        fill(less, &minus);
        fill(after, &out);
        for (size_t i = 0; i < CAP; i++)
            assert_int_equal(after[i], less[i] ? 0 : before[i]);
    }
    kvi_extents_free(&list, &kvi_os_posix);
    kvi_extents_free(&minus, &kvi_os_posix);
    kvi_extents_free(&out, &kvi_os_posix);
}

/* What is popped is what was pushed last, to the page. */
static void test_push_and_pop(void **state)
{
    static uint64_t stack[CAP];
    kvi_extents list = {0};
    size_t n = 0;
    rng random;
    rng_seed(&random, seed);
    for (unsigned round = 0; round < rounds_of(20000); round++) {
        if (n < CAP - 10 && rng_below(&random, 100) < 52) {
            uint64_t next = n ? stack[n - 1] + 1 : 0;
            uint64_t page = rng_one_in(&random, 2) ? next : rng_below(&random, 100000);
            uint64_t pages = rng_between(&random, 1, 9);
            kvi_extent run = {page, pages, 1, 0};
            assert_int_equal(kvi_extents_push(&list, &kvi_os_posix, run), KV_OK);
            for (uint64_t i = 0; i < pages; i++)
                stack[n++] = page + i;
        } else if (n > 0) {
            kvi_extent got = kvi_extents_pop(&list, rng_between(&random, 1, 12));
            assert_in_range(got.pages, 1, 12);
            for (uint64_t i = got.pages; i-- > 0;)
                assert_int_equal(stack[--n], got.page + i);
        }
    }
    kvi_extents_free(&list, &kvi_os_posix);
}

static void test_no_memory(void **state)
{
    fault_os fault;
    kvi_bitset set;
    kvi_extents list = {0};
    fault_init(&fault, &kvi_os_posix);
    fault_plan(&fault, (fault_case){0});
    kvi_bitset_init(&set, &fault.os);
    assert_int_equal(kvi_bitset_grow(&set, 1000), KV_OK);
    kvi_bitset_add(&set, 900, 100);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(kvi_extents_push(&list, &fault.os, (kvi_extent){30 - i * 10, 1, 1, 0}),
                         KV_OK);
    for (uint64_t at = 1; at <= 2; at++) {
        fault_plan(&fault, (fault_case){.at = at, .mask = FAULT_MEMORY, .error = ENOMEM});
        assert_int_equal(kvi_bitset_grow(&set, 100000), KV_ENOMEM);
        assert_int_equal(set.size, 1000);
        assert_int_equal(kvi_bitset_next(&set, 0), 900);
    }
    fault_plan(&fault, (fault_case){.at = 1, .mask = FAULT_MEMORY, .error = ENOMEM});
    assert_int_equal(kvi_extents_sort(&list, &fault.os), KV_ENOMEM);
    assert_int_equal(list.n, 3);
    fault_plan(&fault, (fault_case){0});
    assert_int_equal(kvi_bitset_grow(&set, 100000), KV_OK);
    assert_int_equal(kvi_bitset_next(&set, 1000), 100000);
    assert_int_equal(set.total, 100);
    kvi_bitset_free(&set);
    kvi_extents_free(&list, &fault.os);
    assert_true(fault_balanced(&fault));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bitset),
        cmocka_unit_test(test_sort_and_subtract),
        cmocka_unit_test(test_push_and_pop),
        cmocka_unit_test(test_no_memory),
    };
    seed = rng_choose_seed(1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
