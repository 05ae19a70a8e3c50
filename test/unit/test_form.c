/* Forms of nodes: whatever a header says, a form that is quick leads no search out of the page; and what
 * the table of verified pages remembers is only true of the page that it was made for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "file.h"
#include "node_quick.h"
#include "rng.h"

enum { PAGES = 300000 };

/* Often a number near a bound, sometimes any. */
static uint32_t number(rng *r, uint32_t bound)
{
    switch (rng_below(r, 3)) {
    case 0:
        return (uint32_t)rng_below(r, bound + 1);
    case 1:
        return (uint32_t)(bound - KVI_MIN(rng_below(r, 24), (uint64_t)bound));
    default:
        return (uint32_t)rng_next(r) & 0xffff;
    }
}

static void header_write(uint8_t *page, uint32_t slots, uint32_t stride, uint32_t fixed_key)
{
    kvi_put16(page + KVI_P_count, (uint16_t)slots);
    kvi_put16(page + KVI_P_hint_stride, (uint16_t)stride);
    kvi_put16(page + KVI_P_fixed_key, (uint16_t)fixed_key);
}

/* The end of what a search may look at: by the places of node.h. */
static size_t search_end(const uint8_t *page, kvi_form form, unsigned level)
{
    size_t slots = kvi_form_slots(form), stride = kvi_form_stride(form);
    size_t heads = stride ? 128 : 64, block = 64;
    size_t first = 16 * stride; /* the farthest that hints lead to */
    assert_true(first <= slots);
    uint32_t fixed_key = kvi_get16(page + KVI_P_fixed_key);
    bool heapless = level > 0 && fixed_key >= 1 && fixed_key <= 5;
    size_t end = heads + (heapless ? 4 : 6) * slots;
    end += level > 0 ? KVI_PTR_SIZE * (slots + 1) : 2; /* a leaf: the offset behind the last */
    size_t compared = heads + 4 * slots + 2 * block;
    return end > compared ? end : compared;
}

static void test_quick_stays_inside(void **state)
{
    (void)state;
    rng r;
    unsigned quick = 0, not_quick = 0;
    uint8_t page[KVI_HEADER_SIZE] = {0};
    rng_seed(&r, rng_choose_seed(20261129));
    for (unsigned i = 0; i < PAGES; i++) {
        uint32_t page_size = (uint32_t)512 << rng_below(&r, 8);
        unsigned level = (unsigned)rng_below(&r, KVI_LEVEL_MAX + 1);
        uint32_t slots = number(&r, (page_size - 64) / (level > 0 ? 18 : 6));
        uint32_t stride = rng_below(&r, 3) ? slots / 17 : number(&r, slots / 16);
        stride *= rng_below(&r, 4) > 0;
        uint32_t prefix = number(&r, KVI_PREFIX_INLINE), fixed_key = number(&r, 6);
        header_write(page, slots, stride, fixed_key);
        kvi_put16(page + KVI_P_prefix_len, (uint16_t)prefix);
        kvi_form form = kvi_node_form(page, page_size, level);
        assert_int_equal(form >> KVI_FORM_TOP & 31, level);
        if (!kvi_form_quick(form)) {
            not_quick++;
            continue;
        }
        quick++;
        assert_int_equal(kvi_form_slots(form), slots);
        assert_int_equal(kvi_form_stride(form), stride);
        assert_int_equal(kvi_form_prefix(form), prefix < 31 ? prefix : 31);
        assert_true(search_end(page, form, level) <= page_size);
    }
    assert_true(quick > PAGES / 10 && not_quick > PAGES / 10);
}

/* Ordinary nodes are quick: else all lookups would be slow. */
static void test_ordinary_are_quick(void **state)
{
    (void)state;
    static const struct {
        uint32_t page_size, slots, fixed_key;
        unsigned level;
    } nodes[] = {{4096, 34, 15, 0}, {4096, 200, 4, 1},   {4096, 160, 17, 1},
                 {4096, 1, 3, 3},   {65536, 3500, 4, 1}, {65536, 560, 0, 0}};
    uint8_t page[KVI_HEADER_SIZE] = {0};
    for (size_t i = 0; i < KVI_COUNT(nodes); i++) {
        uint32_t slots = nodes[i].slots;
        uint32_t stride = slots >= KVI_HINTS_FROM ? kvi_hints_stride(slots) : 0;
        header_write(page, slots, stride, nodes[i].fixed_key);
        assert_true(kvi_form_quick(kvi_node_form(page, nodes[i].page_size, nodes[i].level)));
    }
}

/* A page that is written is remembered by the level in it, which may have come from a page of the file that
 * somebody overwrote: no such level may pass for anything else. */
static void test_trust(void **state)
{
    (void)state;
    kvi_file file = {.page_size = 4096, .page_shift = 12};
    _Atomic uint64_t verified[1];
    kvi_view view = {.file = &file, .verified = verified, .limit = 1, .page_shift = 12};
    uint8_t page[KVI_HEADER_SIZE] = {0};
    kvi_put16(page + KVI_P_count, 4095);
    for (unsigned level = 0; level < 256; level++) {
        page[KVI_P_level] = (uint8_t)level;
        atomic_init(&verified[0], 0);
        kvi_file_trust(&view, (kvi_ptr){0, 5}, page);
        kvi_seen seen = kvi_view_seen(&view, 0);
        for (unsigned other = 0; other <= KVI_LEVEL_MAX; other++) {
            assert_int_equal(kvi_seen_good(seen, 5, other), other == level);
            assert_false(kvi_seen_quick(seen, 5, kvi_seen_top(other)));
        }
    }
}

static void test_seen(void **state)
{
    (void)state;
    rng r;
    rng_seed(&r, rng_choose_seed(7));
    for (unsigned i = 0; i < 100000; i++) {
        kvi_id birth = rng_next(&r) >> (16 + rng_below(&r, 40));
        unsigned level = (unsigned)rng_below(&r, KVI_LEVEL_MAX + 1);
        bool quick = rng_below(&r, 2);
        kvi_form rest = (kvi_form)rng_next(&r) & (((kvi_form)1 << KVI_FORM_TOP) - 1);
        kvi_form form = rest | level << KVI_FORM_TOP | (quick ? KVI_FORM_QUICK : 0);
        kvi_seen seen = kvi_seen_node(birth, form);
        assert_int_equal(kvi_seen_quick(seen, birth, kvi_seen_top(level)), quick);
        assert_true(kvi_seen_good(seen, birth, level) && kvi_seen_met(seen, birth));
        unsigned other_level = level ^ (unsigned)1 << rng_below(&r, 5);
        kvi_id other = birth ^ (kvi_id)1 << rng_below(&r, 31);
        assert_false(kvi_seen_good(seen, birth, other_level));
        assert_false(kvi_seen_quick(seen, birth, kvi_seen_top(other_level)));
        assert_false(kvi_seen_good(seen, other, level) || kvi_seen_met(seen, other));
        assert_false(kvi_seen_quick(seen, other, kvi_seen_top(level)));
        seen = kvi_seen_large(birth);
        assert_false(kvi_seen_good(seen, birth, level) || kvi_seen_met(seen, birth));
        assert_false(kvi_seen_good(seen, other, level) || kvi_seen_met(seen, other));
    }
    assert_false(kvi_seen_good(0, 0, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quick_stays_inside),
        cmocka_unit_test(test_ordinary_are_quick),
        cmocka_unit_test(test_trust),
        cmocka_unit_test(test_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
