/* cases.c - what compare measures. Each case runs alone in a fresh process, on files that earlier
 * cases of the same engine left, and verifies what it did outside the time that it reports. */
#include "bench.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { BATCH = 1000, COLD_SHARE = 50 };

static const double COMMIT_SECONDS = 3; /* one-record commits stop then, on a slow disk */

static struct measure rate(uint64_t operations, double seconds)
{
    return (struct measure){(double)operations / seconds, operations, seconds};
}

static void verify_file(const struct options *o, const struct engine *e, const char *path)
{
    struct store *s = e->open(o, path, 0);
    e->read_begin(s, 0);
    bench_verify(o, e, s, 0, 0);
    e->read_end(s, 0);
    e->close(s);
}

/* ---- loading ---- */

static struct measure load(const struct options *o, const struct engine *e, const char *path,
                           bool sorted)
{
    bench_remove(path);
    struct store *s = e->open(o, path, 0);
    double start = bench_clock(o);
    bench_load(o, e, s, sorted);
    double took = bench_clock(o) - start;
    e->close(s);
    verify_file(o, e, path);
    return rate(o->n, took);
}

static struct measure load_sorted(const struct options *o, const struct engine *e, const char *path)
{
    return load(o, e, path, true);
}

static struct measure load_random(const struct options *o, const struct engine *e, const char *path)
{
    return load(o, e, path, false);
}

static struct measure load_batches(const struct options *o, const struct engine *e,
                                   const char *path)
{
    unsigned char key[KEY_LEN], value[VALUE_MAX];
    struct order order = bench_order(o->n, 1);
    bench_remove(path);
    struct store *s = e->open(o, path, STORE_LAZY);
    double start = bench_clock(o);
    for (uint64_t i = 0; i < o->n;) {
        uint64_t end = i + BATCH < o->n ? i + BATCH : o->n;
        e->write_begin(s);
        for (; i < end; i++) {
            uint64_t number = bench_order_at(&order, i);
            bench_key(o, number, key);
            bench_value(o, number, 0, value);
            e->put(s, key, value, o->value_len);
        }
        e->write_commit(s);
    }
    e->sync(s);
    double took = bench_clock(o) - start;
    e->close(s);
    verify_file(o, e, path);
    return rate(o->n, took);
}

/* ---- reading ---- */

/* Gets count records in random order. */
static double time_gets(const struct options *o, const struct engine *e, struct store *s,
                        uint64_t count)
{
    unsigned char key[KEY_LEN];
    struct order order = bench_order(o->n, 2);
    uint64_t wrong = 0;
    double start = bench_clock(o);
    for (uint64_t i = 0; i < count; i++) {
        size_t len = 0;
        uint64_t number = bench_order_at(&order, i);
        bench_key(o, number, key);
        const void *value = e->get(s, 0, key, &len);
        wrong += !value || !bench_value_ok(o, number, 0, value, len);
    }
    double took = bench_clock(o) - start;
    if (wrong > 0)
        bench_die("%s: %llu of %llu gets are wrong", e->name, (unsigned long long)wrong,
                  (unsigned long long)count);
    return took;
}

static double time_scan(const struct options *o, const struct engine *e, struct store *s,
                        uint64_t (*scan)(struct store *s, uint64_t *records))
{
    unsigned char key[KEY_LEN], value[VALUE_MAX];
    uint64_t records = 0, expected = 0;
    double start = bench_clock(o);
    uint64_t sum = scan(s, &records);
    double took = bench_clock(o) - start;
    for (uint64_t i = 0; i < o->n; i++) {
        bench_key(o, i, key);
        bench_value(o, i, 0, value);
        expected += bench_scan_sum(key, value, o->value_len);
    }
    if (records != o->n || sum != expected)
        bench_die("%s: a scan found %llu records or wrong ones", e->name,
                  (unsigned long long)records);
    return took;
}

static struct measure read_all(const struct options *o, const struct engine *e, const char *path,
                               bool gets, bool warm)
{
    struct store *s = e->open(o, path, 0);
    double took = 0;
    e->read_begin(s, 0);
    for (int pass = warm ? 0 : 1; pass < 2; pass++)
        took = gets ? time_gets(o, e, s, o->n) : time_scan(o, e, s, e->scan);
    e->read_end(s, 0);
    e->close(s);
    return rate(o->n, took);
}

static struct measure get_warm(const struct options *o, const struct engine *e, const char *path)
{
    return read_all(o, e, path, true, true);
}

static struct measure get_fresh(const struct options *o, const struct engine *e, const char *path)
{
    return read_all(o, e, path, true, false);
}

static struct measure scan_warm(const struct options *o, const struct engine *e, const char *path)
{
    return read_all(o, e, path, false, true);
}

static struct measure scan_fresh(const struct options *o, const struct engine *e, const char *path)
{
    return read_all(o, e, path, false, false);
}

static struct measure scan_batch(const struct options *o, const struct engine *e, const char *path)
{
    struct store *s = e->open(o, path, 0);
    double took = 0;
    e->read_begin(s, 0);
    for (int pass = 0; pass < 2; pass++)
        took = time_scan(o, e, s, e->scan_batch ? e->scan_batch : e->scan);
    e->read_end(s, 0);
    e->close(s);
    return rate(o->n, took);
}

static struct measure get_cold(const struct options *o, const struct engine *e, const char *path)
{
    uint64_t count = o->n / COLD_SHARE + 1;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fdatasync(fd) != 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
        bench_die("cannot drop %s from the page cache", path);
    close(fd);
    struct store *s = e->open(o, path, 0);
    e->read_begin(s, 0);
    double took = time_gets(o, e, s, count);
    e->read_end(s, 0);
    e->close(s);
    return rate(count, took);
}

/* ---- changing ---- */

static void verify_commits(const struct options *o, const struct engine *e, struct store *s,
                           uint64_t done, uint64_t seed)
{
    unsigned char key[KEY_LEN];
    struct order order = bench_order(o->n, seed);
    e->read_begin(s, 0);
    for (uint64_t i = 0; i < done; i++) {
        size_t len = 0;
        uint64_t number = bench_order_at(&order, i);
        bench_key(o, number, key);
        const void *value = e->get(s, 0, key, &len);
        if (!value || !bench_value_ok(o, number, seed, value, len))
            bench_die("%s: a committed change is not there", e->name);
    }
    e->read_end(s, 0);
}

/* Replaces one random record per commit. The seed is the version of the new values. */
static struct measure commits(const struct options *o, const struct engine *e, const char *path,
                              unsigned flags, uint64_t most, uint64_t seed)
{
    unsigned char key[KEY_LEN], value[VALUE_MAX];
    struct order order = bench_order(o->n, seed);
    struct store *s = e->open(o, path, flags);
    double start = bench_clock(o), took = 0;
    uint64_t done = 0;
    if (most > o->n)
        most = o->n;
    for (; done < most && took < COMMIT_SECONDS; done++) {
        uint64_t number = bench_order_at(&order, done);
        bench_key(o, number, key);
        bench_value(o, number, seed, value);
        e->write_begin(s);
        e->put(s, key, value, o->value_len);
        e->write_commit(s);
        took = bench_clock(o) - start;
    }
    verify_commits(o, e, s, done, seed);
    if (flags & STORE_LAZY)
        e->sync(s);
    e->close(s);
    return rate(done, took);
}

static struct measure commit_durable(const struct options *o, const struct engine *e,
                                     const char *path)
{
    return commits(o, e, path, 0, o->commits, 3);
}

static struct measure commit_lazy(const struct options *o, const struct engine *e, const char *path)
{
    return commits(o, e, path, STORE_LAZY, o->commits * 10, 4);
}

static void verify_deleted(const struct options *o, const struct engine *e, struct store *s,
                           uint64_t deleted)
{
    unsigned char key[KEY_LEN];
    struct order order = bench_order(o->n, 5);
    e->read_begin(s, 0);
    for (uint64_t i = 0; i < o->n; i++) {
        size_t len;
        bench_key(o, bench_order_at(&order, i), key);
        if ((e->get(s, 0, key, &len) == NULL) != (i < deleted))
            bench_die("%s: a deleted record is there, or another is gone", e->name);
    }
    e->read_end(s, 0);
}

static struct measure delete_half(const struct options *o, const struct engine *e, const char *path)
{
    unsigned char key[KEY_LEN];
    struct order order = bench_order(o->n, 5);
    struct store *s = e->open(o, path, 0);
    double start = bench_clock(o);
    e->write_begin(s);
    for (uint64_t i = 0; i < o->n / 2; i++) {
        bench_key(o, bench_order_at(&order, i), key);
        e->del(s, key);
    }
    e->write_commit(s);
    double took = bench_clock(o) - start;
    verify_deleted(o, e, s, o->n / 2);
    e->close(s);
    return rate(o->n / 2, took);
}

/* ---- sizes ---- */

static struct measure size(const struct options *o, const struct engine *e, const char *path)
{
    struct store *s = e->open(o, path, 0);
    uint64_t bytes = e->file_size(s);
    e->close(s);
    return (struct measure){(double)bytes / (double)(o->n * (KEY_LEN + o->value_len)), bytes, 0};
}

const struct bench_case bench_cases[] = {
    {"load-sorted", "records/s", false, "sorted", true, load_sorted,
     "all records in key order, one durable transaction"},
    {"load-random", "records/s", false, "random", true, load_random,
     "all records in random order, one durable transaction"},
    {"load-batches", "records/s", false, "batches", true, load_batches,
     "random order, 1000 a commit, unsynced; one sync at the end"},
    {"size-sorted", "x raw", true, "sorted", false, size, "file / keys and values"},
    {"size-random", "x raw", true, "random", false, size, "file / keys and values"},
    {"size-batches", "x raw", true, "batches", false, size, "file / keys and values"},
    {"get", "gets/s", false, "random", false, get_warm,
     "random gets in one long read transaction, each page seen before"},
    {"get-fresh", "gets/s", false, "random", false, get_fresh,
     "the first pass of a new process: page faults, first checks"},
    {"get-cold", "gets/s", false, "random", false, get_cold,
     "1 in 50 records, the file not in the page cache"},
    {"scan", "records/s", false, "random", false, scan_warm,
     "all records forward, one call each, each page seen before"},
    {"scan-batch", "records/s", false, "random", false, scan_batch,
     "the same, kv by 64 records a call"},
    {"scan-fresh", "records/s", false, "random", false, scan_fresh,
     "the first pass of a new process"},
    {"commit", "commits/s", false, "random", false, commit_durable,
     "durable commits that replace one random record"},
    {"commit-lazy", "commits/s", false, "random", false, commit_lazy, "the same, unsynced"},
    {"delete", "records/s", false, "random", false, delete_half,
     "half of the records, random order, one durable transaction"},
    {0},
};
