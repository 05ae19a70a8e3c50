/* Bytes of a small, cleanly closed file flipped, and the file cut short at every 512 bytes: the right
 * answer or an error, no crash, no hang. Of a file that was not closed the commit before the newest is
 * right as well.
 *
 * What a meta has in use and the header of each page are tried byte by byte, of the rest one byte in
 * some. KV_FLIP=few takes less of the rest, KV_FLIP=each leaves no byte out, KV_FLIP=full tries each
 * with all masks and through all calls, KV_FLIP=bits flips each bit of both files (1.4 million each). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "format.h"
#include "victim.h"
#include <stdio.h>
#include <stdlib.h>

/* One byte in so many. */
#define FEW 47
#ifdef KVI_STRESS /* the same pages */
#define SOME FEW
#else
#define SOME 13
#endif
#define META_USED 512

static const uint8_t masks[] = {0xff, 0x01, 0x80};

static victim patient, unclosed;

static int setup(void **state)
{
    victim_make(&patient, 4096, 5);
    victim_make_unclosed(&unclosed, 4096, 5);
    return 0;
}

static int teardown(void **state)
{
    victim_free(&patient);
    victim_free(&unclosed);
    return 0;
}

static void test_the_file_is_worth_it(void **state)
{
    print_message("the file has %zu pages\n", patient.pages);
    assert_in_range(patient.pages, 38, 60);
    assert_true(patient.named);
    victim_heal(&patient, patient.size);
    assert_null(victim_read(&patient));
    assert_null(victim_write(&patient));
    assert_int_equal(patient.errors, 0);
    assert_true(patient.right > 100);
}

static bool wanted(const char *what)
{
    const char *how = getenv("KV_FLIP");
    return how && strcmp(how, what) == 0;
}

static void flip(victim *v, size_t at, uint8_t mask, bool write)
{
    uint8_t *bytes = victim_bytes(v);
    bytes[at] ^= mask;
    const char *fault = victim_read(v);
    if (!fault && write) {
        fault = victim_write(v);
        victim_heal(v, v->size);
    } else {
        bytes[at] ^= mask;
    }
    if (fault)
        fail_msg("byte %zu (page %zu, byte %zu) xor %02x: %s", at, at / 4096, at % 4096, mask,
                 fault);
}

static void flip_page(size_t page, unsigned step, bool full)
{
    for (size_t i = 0; i < 4096; i++) {
        size_t at = page * 4096 + i;
        bool head = i < (page < 2 ? META_USED : KVI_HEADER_SIZE);
        if (!full && !head && at % step != 0)
            continue;
        for (size_t m = 0; m < KVI_COUNT(masks); m++)
            if (full || m == (head ? i : at / step) % KVI_COUNT(masks) || (head && step < FEW))
                flip(&patient, at, masks[m], full || i % 16 == 0 || (page < 2 && head));
    }
}

static void test_flips(void **state)
{
    victim_heal(&patient, patient.size);
    uint64_t opened = patient.opened, errors = patient.errors;
    unsigned step = wanted("each") ? 1 : wanted("few") ? FEW : SOME;
    for (size_t page = 0; page < patient.pages; page++)
        flip_page(page, step, wanted("full"));
    print_message("%llu opens, %llu errors\n", (unsigned long long)(patient.opened - opened),
                  (unsigned long long)(patient.errors - errors));
    assert_true(patient.errors - errors > patient.size / 8 / step);
}

/* Each bit, or one in some: in another place of each byte. */
static void flip_bits(victim *v, unsigned step, uint64_t *older)
{
    uint64_t before = v->errors, n = 0, met = 0;
    victim_heal(v, v->size);
    for (size_t bit = 0; bit < v->size * 8; bit += step, n++) {
        uint64_t errors = v->errors;
        v->seen = UINT64_MAX; /* nothing is read */
        flip(v, bit / 8, (uint8_t)(1u << bit % 8), false);
        *older += v->seen < v->newest;
        met += v->errors > errors;
    }
    print_message("%llu bits, %llu of them met with %llu errors, %llu times an older commit\n",
                  (unsigned long long)n, (unsigned long long)met,
                  (unsigned long long)(v->errors - before), (unsigned long long)*older);
    assert_true(met > 0);
}

static void test_bits(void **state)
{
    uint64_t older = 0;
    unsigned step = wanted("bits") ? 1 : wanted("few") ? 1009 : 307;
    flip_bits(&patient, step, &older);
    assert_int_equal(older, 0);
    flip_bits(&unclosed, step, &older);
    assert_true(older > 0);
}

static void test_truncations(void **state)
{
    sim_set_guard(patient.disk, true);
    for (size_t size = 0; size < patient.size; size += 512) {
        victim_heal(&patient, size);
        const char *fault = victim_read(&patient);
        if (!fault)
            fault = victim_write(&patient);
        if (fault)
            fail_msg("cut to %zu bytes: %s", size, fault);
    }
    sim_set_guard(patient.disk, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_file_is_worth_it),
        cmocka_unit_test(test_flips),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_truncations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
