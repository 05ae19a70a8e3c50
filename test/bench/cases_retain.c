/* cases_retain.c - a pass over all records that deletes every other one, and how long the file is then,
 * before and after compaction. */
#include "cases.h"

static uint64_t left(const struct options *o)
{
    return (o->n + 1) / 2;
}

static bool every_other(void *context, const void *key, const void *value, size_t value_len)
{
    uint64_t *seen = context;
    (void)key;
    (void)value;
    (void)value_len;
    return (*seen)++ % 2 == 0;
}

static void verify_left(const struct options *o, const struct engine *e, struct store *s)
{
    e->read_begin(s, 0);
    bench_verify_every(o, e, s, 0, 0, 2);
    e->read_end(s, 0);
}

struct measure bench_retain(const struct options *o, const struct engine *e, const char *path)
{
    uint64_t seen = 0;
    struct store *s = e->open(o, path, 0);
    double start = bench_clock(o);
    e->write_begin(s);
    e->retain(s, every_other, &seen);
    e->write_commit(s);
    double took = bench_clock(o) - start;
    verify_left(o, e, s);
    e->close(s);
    return rate(o->n, took);
}

struct measure bench_compact(const struct options *o, const struct engine *e, const char *path)
{
    struct store *s = e->open(o, path, 0);
    double start = bench_clock(o);
    e->compact(s);
    double took = bench_clock(o) - start;
    e->close(s);
    s = e->open(o, path, 0);
    verify_left(o, e, s);
    e->close(s);
    return rate(left(o), took);
}

struct measure bench_size_left(const struct options *o, const struct engine *e, const char *path)
{
    struct options half = *o;
    half.n = left(o);
    return bench_size(&half, e, path);
}
