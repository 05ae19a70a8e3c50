/* Sets of pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "kv.h"
#include "pgset.h"
#include "rng.h"

#define LIMIT 1000

static void test_add(void **state)
{
    kvi_pgset set;
    assert_int_equal(kvi_pgset_init(&set, &kvi_os_posix, LIMIT), KV_OK);
    assert_true(kvi_pgset_add(&set, 5, 1));
    assert_false(kvi_pgset_add(&set, 5, 1));
    assert_true(kvi_pgset_add(&set, 60, 70));
    assert_false(kvi_pgset_add(&set, 0, 6)); /* one of them was there; all are now */
    assert_true(kvi_pgset_has(&set, 0));
    assert_true(kvi_pgset_has(&set, 129));
    assert_false(kvi_pgset_has(&set, 130));
    assert_false(kvi_pgset_add(&set, 129, 2));
    assert_true(kvi_pgset_add(&set, LIMIT - 1, 1));
    kvi_pgset_close(&set);
    kvi_pgset_close(&set);
}

/* Runs, against a table of booleans. */
static void test_runs(void **state)
{
    rng random;
    rng_seed(&random, 3);
    for (unsigned round = 0; round < 200; round++) {
        bool table[LIMIT] = {false};
        kvi_pgset set;
        assert_int_equal(kvi_pgset_init(&set, &kvi_os_posix, LIMIT), KV_OK);
        for (unsigned i = 0; i < round / 10; i++) {
            kvi_pgno from = rng_below(&random, LIMIT);
            uint64_t n = rng_below(&random, rng_one_in(&random, 4) ? 200 : 4);
            n = KVI_MIN(n, LIMIT - from);
            kvi_pgset_add(&set, from, n);
            memset(table + from, true, n);
        }
        for (int wanted = 0; wanted < 2; wanted++) {
            kvi_pgno at = rng_below(&random, 70), page = at;
            while (at < LIMIT && table[at] != (bool)wanted)
                at++;
            uint64_t n = 0;
            while (at + n < LIMIT && table[at + n] == (bool)wanted)
                n++;
            assert_int_equal(kvi_pgset_run(&set, wanted, &page), n);
            assert_int_equal(page, at);
        }
        kvi_pgset_close(&set);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
