/* ops_multi.c - steps of target `ops` on a multi-value tree: the calls, and batches of them. The input
 * seeds their arguments. */
#include "ops.h"
#include "multi_steps.h"

static driver driver_of(bench *b)
{
    driver d = {.m = b->m, .txn = b->writer.txn};
    rng_seed(&d.r, fuzz_take(b->in, 2));
    return d;
}

void bench_multi(bench *b)
{
    driver d = driver_of(b);
    int rc;
    const char *what = b->writer.txn ? multi_step(&d, &rc) : NULL;
    if (what)
        fuzz_fail("%s: %d", what, rc);
}

void bench_multi_write(bench *b)
{
    kv_op ops[3];
    driver d = driver_of(b);
    unsigned handle = (unsigned)fuzz_below(b->in, HANDLES), n = 1 + (unsigned)fuzz_below(b->in, 3);
    for (unsigned i = 0; i < n; i++)
        multi_op_build(&d, &ops[i]);
    bench_write(b, handle, ops, n);
    for (unsigned i = 0; i < n; i++)
        driver_op_free(&ops[i]);
}
