/* cases.c - what compare measures. Each case runs alone in a fresh process, on files that earlier
 * cases of the same engine left, and verifies what it did outside the time that it reports. */
#include "cases.h"

#include <stdlib.h>

enum { BATCH = 1000 };

static const double COMMIT_SECONDS = 3; /* one-record commits stop then, on a slow disk */

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

/* A thousand records, made before the engine gets them. */
struct batch {
    unsigned char keys[BATCH * KEY_MAX], values[BATCH * VALUE_MAX];
};

static void put_batch(const struct options *o, const struct engine *e, struct store *s,
                      const struct batch *b, size_t n)
{
    if (e->put_many) {
        e->put_many(s, n, b->keys, b->values, o->value_len);
        return;
    }
    for (size_t i = 0; i < n; i++)
        e->put(s, b->keys + i * o->key_len, b->values + i * o->value_len, o->value_len);
}

static int by_number(const void *one, const void *other)
{
    const uint64_t *a = one, *b = other;
    return (*a > *b) - (*a < *b);
}

/* Records from the random order's place first on; sorted: in the order of their keys, all at once. */
static void load_batch(const struct options *o, const struct engine *e, struct store *s,
                       const struct order *order, uint64_t first, size_t n, bool sorted)
{
    static struct batch batch;
    uint64_t numbers[BATCH];
    for (size_t i = 0; i < n; i++)
        numbers[i] = bench_order_at(order, first + i);
    if (sorted)
        qsort(numbers, n, sizeof *numbers, by_number);
    for (size_t i = 0; i < n; i++) {
        unsigned char *key = batch.keys + (sorted ? i * o->key_len : 0);
        unsigned char *value = batch.values + (sorted ? i * o->value_len : 0);
        bench_key(o, numbers[i], key);
        bench_value(o, numbers[i], 0, value);
        if (!sorted)
            e->put(s, key, value, o->value_len);
    }
    if (sorted)
        put_batch(o, e, s, &batch, n);
}

static struct measure load_by_batches(const struct options *o, const struct engine *e,
                                      const char *path, bool sorted)
{
    struct order order = bench_order(o->n, 1);
    bench_remove(path);
    struct store *s = e->open(o, path, STORE_LAZY);
    double start = bench_clock(o);
    for (uint64_t i = 0; i < o->n; i += BATCH) {
        e->write_begin(s);
        load_batch(o, e, s, &order, i, o->n - i < BATCH ? o->n - i : BATCH, sorted);
        e->write_commit(s);
    }
    e->sync(s);
    double took = bench_clock(o) - start;
    e->close(s);
    verify_file(o, e, path);
    return rate(o->n, took);
}

static struct measure load_batches(const struct options *o, const struct engine *e,
                                   const char *path)
{
    return load_by_batches(o, e, path, false);
}

static struct measure load_sorted_batches(const struct options *o, const struct engine *e,
                                          const char *path)
{
    return load_by_batches(o, e, path, true);
}

/* ---- reading ---- */

/* Keys are made some at a time, so that the work of making them does not come between two gets: a
 * processor that can begin the next one while this one waits for memory is to show it. */
double bench_time_gets(const struct options *o, const struct engine *e, struct store *s, int reader,
                       uint64_t first, uint64_t count, uint64_t version)
{
    enum { BLOCK = 256 };
    unsigned char keys[BLOCK][KEY_MAX];
    uint64_t numbers[BLOCK];
    struct order order = bench_order(o->n, 2);
    uint64_t wrong = 0;
    double start = bench_clock(o);
    for (uint64_t i = 0; i < count; i += BLOCK) {
        uint64_t n = count - i < BLOCK ? count - i : BLOCK;
        for (uint64_t k = 0; k < n; k++) {
            numbers[k] = bench_order_at(&order, (first + i + k) % o->n);
            bench_key(o, numbers[k], keys[k]);
        }
        for (uint64_t k = 0; k < n; k++) {
            size_t len = 0;
            const void *value = e->get(s, reader, keys[k], &len);
            wrong += !value || !bench_value_ok(o, numbers[k], version, value, len);
        }
    }
    double took = bench_clock(o) - start;
    if (wrong > 0)
        bench_die("%s: %llu of %llu gets are wrong", e->name, (unsigned long long)wrong,
                  (unsigned long long)count);
    return took;
}

double bench_time_scan(const struct options *o, const struct engine *e, struct store *s,
                       uint64_t (*scan)(struct store *s, uint64_t *records), uint64_t version)
{
    unsigned char key[KEY_MAX], value[VALUE_MAX];
    uint64_t records = 0, expected = 0;
    double start = bench_clock(o);
    uint64_t sum = scan(s, &records);
    double took = bench_clock(o) - start;
    for (uint64_t i = 0; i < o->n; i++) {
        bench_key(o, i, key);
        bench_value(o, i, version, value);
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
        took =
            gets ? bench_time_gets(o, e, s, 0, 0, o->n, 0) : bench_time_scan(o, e, s, e->scan, 0);
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
        took = bench_time_scan(o, e, s, e->scan_batch ? e->scan_batch : e->scan, 0);
    e->read_end(s, 0);
    e->close(s);
    return rate(o->n, took);
}

/* ---- changing ---- */

void bench_verify_commits(const struct options *o, const struct engine *e, struct store *s,
                          uint64_t done, uint64_t seed, uint64_t version)
{
    unsigned char key[KEY_MAX];
    struct order order = bench_order(o->n, seed);
    e->read_begin(s, 0);
    for (uint64_t i = 0; i < done; i++) {
        size_t len = 0;
        uint64_t number = bench_order_at(&order, i);
        bench_key(o, number, key);
        const void *value = e->get(s, 0, key, &len);
        if (!value || !bench_value_ok(o, number, version, value, len))
            bench_die("%s: a committed change is not there", e->name);
    }
    e->read_end(s, 0);
}

/* Replaces one random record per commit. The seed is the version of the new values. */
static struct measure commits(const struct options *o, const struct engine *e, const char *path,
                              unsigned flags, uint64_t most, uint64_t seed)
{
    unsigned char key[KEY_MAX], value[VALUE_MAX];
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
    bench_verify_commits(o, e, s, done, seed, seed);
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
    unsigned char key[KEY_MAX];
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
    unsigned char key[KEY_MAX];
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

struct measure bench_size(const struct options *o, const struct engine *e, const char *path)
{
    struct store *s = e->open(o, path, 0);
    uint64_t bytes = e->file_size(s);
    e->close(s);
    return (struct measure){(double)bytes / (double)(o->n * (o->key_len + o->value_len)), bytes, 0};
}

const struct bench_case bench_cases[] = {
    {"load-sorted", "records/s", "sorted", true, ALWAYS, load_sorted,
     "all records in key order, one durable transaction"},
    {"load-random", "records/s", "random", true, ALWAYS, load_random,
     "all records in random order, one durable transaction"},
    {"load-batches", "records/s", "batches", true, ALWAYS, load_batches,
     "random order, 1000 a commit, unsynced; one sync at the end"},
    {"batches-sorted", "records/s", "sorted-batches", true, ALWAYS, load_sorted_batches,
     "the same, each batch sorted, kv's in one call"},
    {"size-sorted", "x raw", "sorted", false, ALWAYS, bench_size, "file / keys and values"},
    {"size-random", "x raw", "random", false, ALWAYS, bench_size, "file / keys and values"},
    {"size-batches", "x raw", "batches", false, ALWAYS, bench_size, "file / keys and values"},
    {"get", "gets/s", "random", false, ALWAYS, get_warm,
     "random gets in one long read transaction, each page seen before"},
    {"get-fresh", "gets/s", "random", false, ALWAYS, get_fresh,
     "the first pass of a new process: page faults, first checks"},
    {"get-dependent", "gets/s", "random", false, ALL, bench_get_dependent,
     "each get waits for the value of the one before"},
    {"get-begin", "gets/s", "random", false, ALL, bench_get_begin,
     "a read transaction for each get"},
    {"get-miss", "gets/s", "random", false, ALL, bench_get_miss, "absent keys"},
    {"get-many", "gets/s", "random", false, ALL, bench_get_many,
     "64 keys a call, where the engine has such a call"},
    {"get-threads", "gets/s", "random", false, ALL, bench_get_threads,
     "two threads, all records each"},
    {"get-threads-4", "gets/s", "random", false, ALL, bench_get_threads_4,
     "four threads that share the records"},
    {"get-threads-8", "gets/s", "random", false, ALL, bench_get_threads_8, "eight threads"},
    {"get-threads-16", "gets/s", "random", false, ALL, bench_get_threads_16, "sixteen threads"},
    {"get-threads-32", "gets/s", "random", false, ALL, bench_get_threads_32, "thirty-two threads"},
    {"get-processes", "gets/s", "random", false, ALL, bench_get_processes,
     "two processes, all records each"},
    {"scan", "records/s", "random", false, ALWAYS, scan_warm,
     "all records forward, one call each, each page seen before"},
    {"scan-batch", "records/s", "random", false, ALWAYS, scan_batch,
     "the same, kv by 64 records a call"},
    {"scan-fresh", "records/s", "random", false, ALWAYS, scan_fresh,
     "the first pass of a new process"},
    {"scan-back", "records/s", "random", false, ALL, bench_scan_back,
     "all records backward, each page seen before"},
    {"scan-back-batch", "records/s", "random", false, ALL, bench_scan_back_batch,
     "the same, kv by 64 records a call"},
    {"seek-10", "seeks/s", "random", false, ALL, bench_seek_10, "10 records from a random key on"},
    {"seek-100", "seeks/s", "random", false, ALL, bench_seek_100,
     "100 records from a random key on"},
    {"len", "counts/s", "random", false, ALL, bench_len, "how many records there are"},
    {"open-get", "us", "random", false, ALL, bench_open_get,
     "open the file, get one record, close"},
    {"commit", "commits/s", "random", false, ALWAYS, commit_durable,
     "durable commits that replace one random record"},
    {"commit-lazy", "commits/s", "random", false, ALWAYS, commit_lazy, "the same, unsynced"},
    {"get-cold", "gets/s", "batches", false, ALWAYS, bench_get_cold,
     "1 in 50 records, the file not in the page cache"},
    {"beyond-get", "gets/s", "batches", false, NAMED, bench_beyond_get,
     "random gets of 1 in 100 records, none in memory at first, and few later in a small group"},
    {"beyond-many", "gets/s", "batches", false, NAMED, bench_beyond_many,
     "the same, 64 keys in a call where the engine has one"},
    {"commit-threads", "commits/s", "random", false, ALL, bench_commit_threads,
     "durable commits of one record by four threads"},
    {"commit-processes", "commits/s", "random", false, ALL, bench_commit_processes,
     "durable commits of one record by four processes"},
    {"commit-1000", "records/s", "random", false, ALL, bench_commit_1000,
     "durable commits that replace 1000 random records"},
    {"get-writing", "gets/s", "random", false, ALL, bench_get_writing,
     "a read transaction for each get, while another thread commits without sync"},
    {"overwrite", "records/s", "random", false, ALL, bench_overwrite,
     "replaces all records in random order, 100 a commit, unsynced"},
    {"get-old", "gets/s", "random", false, ALL, bench_get_fragmented,
     "random gets in the file that the cases above left"},
    {"scan-old", "records/s", "random", false, ALL, bench_scan_fragmented,
     "all records forward in that file"},
    {"delete", "records/s", "random", false, ALWAYS, delete_half,
     "half of the records, random order, one durable transaction"},
    {"retain", "records/s", "batches", true, ALL, bench_retain,
     "a pass over all records that deletes every other one, one durable transaction"},
    {"size-retained", "x raw", "batches", false, ALL, bench_size_left,
     "file after it / keys and values that are left"},
    {"compact", "records/s", "batches", true, ALL, bench_compact,
     "makes that file as small as the engine can; records that are left"},
    {"size-compacted", "x raw", "batches", false, ALL, bench_size_left,
     "file after it / keys and values"},
    {"ycsb-load", "ops/s", "ycsb", true, ALL, bench_ycsb_load,
     "nine of ten records, one a commit, unsynced"},
    {"ycsb-a", "ops/s", "ycsb", false, ALL, bench_ycsb_a,
     "half reads, half updates, favourites by Zipf 0.99, unsynced"},
    {"ycsb-b", "ops/s", "ycsb", false, ALL, bench_ycsb_b, "95 % reads, 5 % updates"},
    {"ycsb-c", "ops/s", "ycsb", false, ALL, bench_ycsb_c, "reads only"},
    {"ycsb-f", "ops/s", "ycsb", false, ALL, bench_ycsb_f, "half reads, half read-modify-writes"},
    {"ycsb-d", "ops/s", "ycsb", false, ALL, bench_ycsb_d,
     "95 % reads of the newest records, 5 % inserts"},
    {"ycsb-e", "ops/s", "ycsb", false, ALL, bench_ycsb_e,
     "95 % scans of up to 100 records, 5 % inserts"},
    {"crud", "commits/s", "crud", true, ALL, bench_crud,
     "two inserts, an update, a delete in a durable commit, and a get; from nothing"},
    {"crud-lazy", "commits/s", "crud", true, ALL, bench_crud_lazy, "the same, unsynced"},
    {"large-load", "records/s", "large", true, ALL, bench_load_large,
     "values of 100,000 bytes, one durable transaction"},
    {"large-get", "gets/s", "large", false, ALL, bench_get_large,
     "random gets of them, one byte of each cache line read"},
    {"trees", "commits/s", "trees", true, ALL, bench_trees,
     "one record into one of 2,000 named trees a commit, unsynced"},
    {"command-get", "us", "command", true, ALL, bench_command_get,
     "kv get FILE KEY as a process of its own"},
    {0},
};
