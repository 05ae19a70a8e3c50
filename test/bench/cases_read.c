/* cases_read.c - the cases of reading that only the suite runs, and those of a file that is not in
 * memory. */
#include "cases.h"

#include <string.h>
#include <unistd.h>

enum { MANY = 64, OPENS = 100, COLD_SHARE = 50, BEYOND_SHARE = 100 };

static const double COUNT_SECONDS = 0.1;

typedef double timed(const struct options *o, const struct engine *e, struct store *s,
                     uint64_t count);

/* The second of two passes over one snapshot: each page was seen before. */
static struct measure second_pass(const struct options *o, const struct engine *e, const char *path,
                                  timed *pass, uint64_t count)
{
    struct store *s = e->open(o, path, 0);
    double took = 0;
    e->read_begin(s, 0);
    for (int i = 0; i < 2; i++)
        took = pass(o, e, s, count);
    e->read_end(s, 0);
    e->close(s);
    return rate(count, took);
}

static void die_if(uint64_t wrong, const struct engine *e, const char *what)
{
    if (wrong > 0)
        bench_die("%s: %llu %s are wrong", e->name, (unsigned long long)wrong, what);
}

/* ---- gets ---- */

/* Which record comes next is in the value of this one. */
static double dependent(const struct options *o, const struct engine *e, struct store *s,
                        uint64_t count)
{
    unsigned char key[KEY_MAX];
    uint64_t wrong = 0, number = 0, word = 0;
    double start = bench_clock(o);
    for (uint64_t i = 0; i < count; i++) {
        size_t len = 0;
        number = (word + i) % o->n;
        bench_key(o, number, key);
        const void *value = e->get(s, 0, key, &len);
        if (!value)
            bench_die("%s: a record is not there", e->name);
        wrong += !bench_value_ok(o, number, 0, value, len);
        memcpy(&word, value, 8);
    }
    double took = bench_clock(o) - start;
    die_if(wrong, e, "gets");
    return took;
}

struct measure bench_get_dependent(const struct options *o, const struct engine *e,
                                   const char *path)
{
    return second_pass(o, e, path, dependent, o->n);
}

struct measure bench_get_begin(const struct options *o, const struct engine *e, const char *path)
{
    unsigned char key[KEY_MAX];
    struct order order = bench_order(o->n, 2);
    uint64_t wrong = 0;
    struct store *s = e->open(o, path, 0);
    e->read_begin(s, 0);
    bench_time_gets(o, e, s, 0, 0, o->n, 0);
    e->read_end(s, 0);
    double start = bench_clock(o);
    for (uint64_t i = 0; i < o->n; i++) {
        size_t len = 0;
        uint64_t number = bench_order_at(&order, i);
        bench_key(o, number, key);
        e->read_begin(s, 0);
        const void *value = e->get(s, 0, key, &len);
        wrong += !value || !bench_value_ok(o, number, 0, value, len);
        e->read_end(s, 0);
    }
    double took = bench_clock(o) - start;
    die_if(wrong, e, "gets");
    e->close(s);
    return rate(o->n, took);
}

/* Of random keys, one with another last byte is not there. */
static double miss(const struct options *o, const struct engine *e, struct store *s, uint64_t count)
{
    unsigned char key[KEY_MAX];
    struct order order = bench_order(o->n, 2);
    uint64_t wrong = 0;
    double start = bench_clock(o);
    for (uint64_t i = 0; i < count; i++) {
        size_t len;
        bench_key(o, bench_order_at(&order, i), key);
        key[o->key_len - 1] ^= 0x55;
        wrong += e->get(s, 0, key, &len) != NULL;
    }
    double took = bench_clock(o) - start;
    die_if(wrong, e, "gets of absent keys");
    return took;
}

struct measure bench_get_miss(const struct options *o, const struct engine *e, const char *path)
{
    if (o->keys != KEYS_RANDOM && o->keys != KEYS_RANDOM24)
        return not_available();
    return second_pass(o, e, path, miss, o->n);
}

static void get_one_by_one(const struct options *o, const struct engine *e, struct store *s,
                           const uint64_t *numbers, const unsigned char *keys, size_t n)
{
    uint64_t wrong = 0;
    for (size_t i = 0; i < n; i++) {
        size_t len = 0;
        const void *value = e->get(s, 0, keys + i * o->key_len, &len);
        wrong += !value || !bench_value_ok(o, numbers[i], 0, value, len);
    }
    die_if(wrong, e, "gets");
}

static void get_together(const struct options *o, const struct engine *e, struct store *s,
                         const uint64_t *numbers, const unsigned char *keys, size_t n)
{
    const void *values[MANY];
    size_t lens[MANY];
    uint64_t wrong = 0;
    e->get_many(s, n, keys, values, lens);
    for (size_t i = 0; i < n; i++)
        wrong += !values[i] || !bench_value_ok(o, numbers[i], 0, values[i], lens[i]);
    die_if(wrong, e, "gets");
}

static double many(const struct options *o, const struct engine *e, struct store *s, uint64_t count)
{
    unsigned char keys[MANY * KEY_MAX];
    uint64_t numbers[MANY];
    struct order order = bench_order(o->n, 2);
    double start = bench_clock(o);
    for (uint64_t i = 0; i < count;) {
        size_t n = 0;
        for (; n < MANY && i < count; n++, i++) {
            numbers[n] = bench_order_at(&order, i);
            bench_key(o, numbers[n], keys + n * o->key_len);
        }
        (e->get_many ? get_together : get_one_by_one)(o, e, s, numbers, keys, n);
    }
    return bench_clock(o) - start;
}

struct measure bench_get_many(const struct options *o, const struct engine *e, const char *path)
{
    return second_pass(o, e, path, many, o->n);
}

/* 1 in so many records; no page of the file is in memory at first. */
static struct measure cold_pass(const struct options *o, const struct engine *e, const char *path,
                                timed *pass, uint64_t share, unsigned flags)
{
    uint64_t count = o->n / share + 1;
    bench_drop_cache(path);
    struct store *s = e->open(o, path, flags);
    e->read_begin(s, 0);
    double took = pass(o, e, s, count);
    e->read_end(s, 0);
    e->close(s);
    return rate(count, took);
}

static double gets(const struct options *o, const struct engine *e, struct store *s, uint64_t count)
{
    return bench_time_gets(o, e, s, 0, 0, count, 0);
}

struct measure bench_get_cold(const struct options *o, const struct engine *e, const char *path)
{
    return cold_pass(o, e, path, gets, COLD_SHARE, 0);
}

/* A group with less memory than the file has; this process, which runs one case, stays there. */
static void enter_group(const struct options *o)
{
    char path[4096];
    if (!o->group)
        return;
    snprintf(path, sizeof path, "%s/cgroup.procs", o->group);
    FILE *procs = fopen(path, "w");
    if (!procs || fprintf(procs, "%ld", (long)getpid()) < 0 || fclose(procs) != 0)
        bench_die("%s: cannot be entered", o->group);
}

struct measure bench_beyond_get(const struct options *o, const struct engine *e, const char *path)
{
    enter_group(o);
    return cold_pass(o, e, path, gets, BEYOND_SHARE, STORE_BEYOND);
}

struct measure bench_beyond_many(const struct options *o, const struct engine *e, const char *path)
{
    enter_group(o);
    return cold_pass(o, e, path, many, BEYOND_SHARE, STORE_BEYOND);
}

/* As the case of overwriting leaves it, also when that case was not asked for. */
static struct store *open_overwritten(const struct options *o, const struct engine *e,
                                      const char *path)
{
    unsigned char key[KEY_MAX];
    size_t len = 0;
    struct store *s = e->open(o, path, 0);
    bench_key(o, 0, key);
    e->read_begin(s, 0);
    const void *value = e->get(s, 0, key, &len);
    bool done = value && bench_value_ok(o, 0, VERSION_OVERWRITTEN, value, len);
    e->read_end(s, 0);
    if (!done) {
        e->close(s);
        bench_overwrite(o, e, path);
        s = e->open(o, path, 0);
    }
    return s;
}

struct measure bench_get_fragmented(const struct options *o, const struct engine *e,
                                    const char *path)
{
    struct store *s = open_overwritten(o, e, path);
    double took = 0;
    e->read_begin(s, 0);
    for (int i = 0; i < 2; i++)
        took = bench_time_gets(o, e, s, 0, 0, o->n, VERSION_OVERWRITTEN);
    e->read_end(s, 0);
    e->close(s);
    return rate(o->n, took);
}

/* ---- ranges ---- */

static struct measure scan_back(const struct options *o, const struct engine *e, const char *path,
                                uint64_t (*scan)(struct store *s, uint64_t *records))
{
    if (!scan)
        return not_available();
    struct store *s = e->open(o, path, 0);
    double took = 0;
    e->read_begin(s, 0);
    for (int i = 0; i < 2; i++)
        took = bench_time_scan(o, e, s, scan, 0);
    e->read_end(s, 0);
    e->close(s);
    return rate(o->n, took);
}

struct measure bench_scan_back(const struct options *o, const struct engine *e, const char *path)
{
    return scan_back(o, e, path, e->scan_back);
}

struct measure bench_scan_back_batch(const struct options *o, const struct engine *e,
                                     const char *path)
{
    return scan_back(o, e, path, e->scan_back_batch ? e->scan_back_batch : e->scan_back);
}

struct measure bench_scan_fragmented(const struct options *o, const struct engine *e,
                                     const char *path)
{
    struct store *s = open_overwritten(o, e, path);
    double took = 0;
    e->read_begin(s, 0);
    for (int i = 0; i < 2; i++)
        took = bench_time_scan(o, e, s, e->scan, VERSION_OVERWRITTEN);
    e->read_end(s, 0);
    e->close(s);
    return rate(o->n, took);
}

static uint64_t sum_from(const struct options *o, uint64_t number, uint64_t most, uint64_t *records)
{
    unsigned char key[KEY_MAX], value[VALUE_MAX];
    uint64_t sum = 0, end = number + most < o->n ? number + most : o->n;
    *records = end - number;
    for (; number < end; number++) {
        bench_key(o, number, key);
        bench_value(o, number, 0, value);
        sum += bench_scan_sum(key, value, o->value_len);
    }
    return sum;
}

static double seeks(const struct options *o, const struct engine *e, struct store *s,
                    uint64_t count, uint64_t length)
{
    unsigned char key[KEY_MAX];
    struct order order = bench_order(o->n, 2);
    uint64_t sum = 0, found = 0;
    double start = bench_clock(o);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t records;
        bench_key(o, bench_order_at(&order, i), key);
        sum += e->range(s, key, length, &records);
        found += records;
    }
    double took = bench_clock(o) - start;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t records;
        sum -= sum_from(o, bench_order_at(&order, i), length, &records);
        found -= records;
    }
    if (sum != 0 || found != 0)
        bench_die("%s: a range has wrong records", e->name);
    return took;
}

static double seeks_10(const struct options *o, const struct engine *e, struct store *s,
                       uint64_t count)
{
    return seeks(o, e, s, count, 10);
}

static double seeks_100(const struct options *o, const struct engine *e, struct store *s,
                        uint64_t count)
{
    return seeks(o, e, s, count, 100);
}

struct measure bench_seek_10(const struct options *o, const struct engine *e, const char *path)
{
    return second_pass(o, e, path, seeks_10, o->n / 4 + 1);
}

struct measure bench_seek_100(const struct options *o, const struct engine *e, const char *path)
{
    return second_pass(o, e, path, seeks_100, o->n / 20 + 1);
}

/* ---- counting ---- */

static uint64_t count_records(const struct engine *e, struct store *s)
{
    uint64_t records;
    if (e->count)
        return e->count(s);
    e->scan(s, &records);
    return records;
}

/* As many calls as take long enough to be timed. */
struct measure bench_len(const struct options *o, const struct engine *e, const char *path)
{
    struct store *s = e->open(o, path, 0);
    uint64_t calls = 1, wrong;
    double took;
    e->read_begin(s, 0);
    wrong = count_records(e, s) != o->n;
    for (;; calls *= 2) {
        double start = bench_clock(o);
        for (uint64_t i = 0; i < calls; i++)
            wrong += count_records(e, s) != o->n;
        took = bench_clock(o) - start;
        if (took >= COUNT_SECONDS)
            break;
    }
    die_if(wrong, e, "counts");
    e->read_end(s, 0);
    e->close(s);
    return rate(calls, took);
}

/* ---- opening ---- */

struct measure bench_open_get(const struct options *o, const struct engine *e, const char *path)
{
    struct order order = bench_order(o->n, 2);
    double took = 0;
    uint64_t done = 0;
    for (; done < OPENS && took < 2; done++) {
        unsigned char key[KEY_MAX];
        size_t len = 0;
        uint64_t number = bench_order_at(&order, done % o->n);
        bench_key(o, number, key);
        double start = bench_now();
        struct store *s = e->open(o, path, 0);
        e->read_begin(s, 0);
        const void *value = e->get(s, 0, key, &len);
        if (!value || !bench_value_ok(o, number, 0, value, len))
            bench_die("%s: a get is wrong", e->name);
        e->read_end(s, 0);
        e->close(s);
        took += bench_now() - start;
    }
    return (struct measure){took * 1e6 / (double)done, done, took};
}
