/* Writes that landed elsewhere: each page of a closed database stands where another one should be,
 * or two have changed places. Every byte is one that kv wrote and every checksum is right, so only
 * the page's own number and birth, and the pointer that leads to it, can tell. An answer is right or
 * an error.
 *
 * KV_CASES=n: about so many cases of each kind, spread over all of them; 0: all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "meta.h"
#include "victim.h"
#include <stdio.h>
#include <stdlib.h>

#define CASES 3000

static victim patient;
static uint32_t page_size = KVI_PAGE_MIN;
static uint64_t cases, every = 1;

static int setup(void **state)
{
    const char *wanted = getenv("KV_CASES");
    victim_make(&patient, page_size, 11);
    uint64_t cases_most = wanted ? strtoull(wanted, NULL, 0) : CASES;
    if (cases_most)
        every = KVI_MAX((uint64_t)patient.pages * patient.pages / cases_most, 1u);
    return 0;
}

static int teardown(void **state)
{
    victim_free(&patient);
    return 0;
}

static void copy_page(size_t to, size_t from)
{
    memcpy(victim_bytes(&patient) + to * page_size, patient.image + from * page_size, page_size);
}

static bool alike(size_t a, size_t b)
{
    return memcmp(patient.image + a * page_size, patient.image + b * page_size, page_size) == 0;
}

static bool chosen(void)
{
    return cases++ % every == 0;
}

static void judge(size_t to, size_t from, const char *how)
{
    const char *fault = victim_read(&patient);
    if (!fault && (to + from) % 7 == 0)
        fault = victim_write(&patient);
    if (fault)
        fail_msg("page %zu %s page %zu: %s", from, how, to, fault);
}

static void test_lands_elsewhere(void **state)
{
    uint64_t before = patient.errors;
    for (size_t to = 0; to < patient.pages; to++)
        for (size_t from = 0; from < patient.pages; from++) {
            if (alike(to, from) || !chosen())
                continue;
            victim_heal(&patient, patient.size);
            copy_page(to, from);
            judge(to, from, "stands in place of");
        }
    assert_true(patient.errors > before + cases / every / 4); /* they matter */
}

static void test_change_places(void **state)
{
    for (size_t to = 0; to < patient.pages; to++)
        for (size_t from = 0; from < to; from++) {
            if (alike(to, from) || !chosen())
                continue;
            victim_heal(&patient, patient.size);
            copy_page(to, from);
            copy_page(from, to);
            judge(to, from, "changed places with");
        }
}

/* Half of a page is that of another, at every sector. */
static void test_lands_in_part(void **state)
{
    for (size_t to = 0; to < patient.pages; to++)
        for (size_t sector = 512; sector < page_size; sector += 512) {
            size_t from = (to * 7 + sector / 512) % patient.pages;
            if (alike(to, from) || !chosen())
                continue;
            victim_heal(&patient, patient.size);
            memcpy(victim_bytes(&patient) + to * page_size + sector,
                   patient.image + from * page_size + sector, page_size - sector);
            judge(to, from, "runs into");
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lands_elsewhere),
        cmocka_unit_test(test_change_places),
        cmocka_unit_test(test_lands_in_part),
    };
    return cmocka_run_group_tests_name("misplaced pages", tests, setup, teardown);
}
