/* ycsb.c - the core workloads of the Yahoo! Cloud Serving Benchmark (Cooper and others, SoCC 2010), each
 * operation in a transaction of its own, unsynced. Which record an operation meets is drawn from a
 * Zipf distribution of constant 0.99, by the method of Gray and others ("Quickly generating
 * billion-record synthetic databases", SIGMOD 1994); the favourites lie scattered, in workload D they
 * are the newest ones. */
#include "cases.h"

#include <stdlib.h>

enum { SCAN_MOST = 100, VERSIONS = 7 };

static const double ZIPF = 0.99, SECONDS = 3;

/* Percentages; what is left over reads, changes and writes back. */
struct workload {
    uint64_t version;
    unsigned read, update, insert, scan;
    bool latest;
};

struct run {
    const struct options *o;
    const struct engine *e;
    struct store *s;
    const struct workload *w;
    struct order order; /* in which records were inserted */
    uint64_t count;     /* records there are */
    uint64_t random;
    double zeta, alpha, eta; /* of the Zipf distribution over the records there were */
    uint64_t ranks;
    unsigned char *changed; /* whether this workload changed the record */
    uint64_t full;          /* scans from smaller numbers find as many records as they want */
};

static uint64_t draw(struct run *r)
{
    uint64_t x = r->random += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void zipf_prepare(struct run *r)
{
    double two = 1 + pow(0.5, ZIPF);
    r->ranks = r->count;
    for (uint64_t i = 1; i <= r->ranks; i++)
        r->zeta += pow(1 / (double)i, ZIPF);
    r->alpha = 1 / (1 - ZIPF);
    r->eta = (1 - pow(2 / (double)r->ranks, 1 - ZIPF)) / (1 - two / r->zeta);
}

static uint64_t zipf(struct run *r)
{
    double u = (double)(draw(r) >> 11) / 9007199254740992.0, uz = u * r->zeta;
    if (uz < 1)
        return 0;
    if (uz < 1 + pow(0.5, ZIPF))
        return 1;
    uint64_t rank = (uint64_t)((double)r->ranks * pow(r->eta * u - r->eta + 1, r->alpha));
    return rank < r->ranks ? rank : r->ranks - 1;
}

/* A record's place in the order of insertion. */
static uint64_t choose(struct run *r)
{
    uint64_t rank = zipf(r);
    return r->w->latest ? r->count - 1 - rank : rank * 0xd6e8feb86659fd93u % r->count;
}

static uint64_t key_of(const struct run *r, uint64_t at, unsigned char key[KEY_MAX])
{
    uint64_t number = bench_order_at(&r->order, at);
    bench_key(r->o, number, key);
    return number;
}

/* An earlier workload may have changed it, or this one. */
static bool value_ok(const struct run *r, uint64_t at, uint64_t number, const void *value,
                     size_t len)
{
    if (r->changed[at])
        return bench_value_ok(r->o, number, r->w->version, value, len);
    for (uint64_t version = 0; version < VERSIONS; version++)
        if (bench_value_ok(r->o, number, version, value, len))
            return true;
    return false;
}

static void read_record(struct run *r, uint64_t at)
{
    unsigned char key[KEY_MAX];
    size_t len = 0;
    uint64_t number = key_of(r, at, key);
    r->e->read_begin(r->s, 0);
    const void *value = r->e->get(r->s, 0, key, &len);
    if (!value || !value_ok(r, at, number, value, len))
        bench_die("%s: a read is wrong", r->e->name);
    r->e->read_end(r->s, 0);
}

static void write_record(struct run *r, uint64_t at)
{
    unsigned char key[KEY_MAX], value[VALUE_MAX];
    uint64_t number = key_of(r, at, key);
    bench_value(r->o, number, r->w->version, value);
    r->e->write_begin(r->s);
    r->e->put(r->s, key, value, r->o->value_len);
    r->e->write_commit(r->s);
    r->changed[at] = 1;
}

static void scan_records(struct run *r, uint64_t at)
{
    unsigned char key[KEY_MAX];
    uint64_t records, most = draw(r) % SCAN_MOST + 1;
    uint64_t least = key_of(r, at, key) < r->full ? most : 1;
    r->e->read_begin(r->s, 0);
    r->e->range(r->s, key, most, &records);
    r->e->read_end(r->s, 0);
    if (records < least || records > most)
        bench_die("%s: a scan found %llu of %llu records", r->e->name, (unsigned long long)records,
                  (unsigned long long)most);
}

static void operate(struct run *r)
{
    const struct workload *w = r->w;
    unsigned what = (unsigned)(draw(r) % 100);
    if (what < w->read) {
        read_record(r, choose(r));
    } else if (what < w->read + w->update) {
        write_record(r, choose(r));
    } else if (what < w->read + w->update + w->insert) {
        if (r->count < r->o->n)
            write_record(r, r->count++);
    } else if (what < w->read + w->update + w->insert + w->scan) {
        scan_records(r, choose(r));
    } else {
        uint64_t at = choose(r);
        read_record(r, at);
        write_record(r, at);
    }
}

/* Everything that should be there is, and has the newest version. */
static void verify(struct run *r)
{
    unsigned char key[KEY_MAX];
    r->e->read_begin(r->s, 0);
    for (uint64_t at = 0; at < r->o->n; at++) {
        size_t len = 0;
        uint64_t number = key_of(r, at, key);
        const void *value = r->e->get(r->s, 0, key, &len);
        if (at < r->count ? !value || !value_ok(r, at, number, value, len) : value != NULL)
            bench_die("%s: record %llu is not as it should be", r->e->name,
                      (unsigned long long)number);
    }
    r->e->read_end(r->s, 0);
}

/* An earlier workload may have inserted some: the last one is found by halving. */
static uint64_t count_records(struct run *r)
{
    uint64_t low = 0, high = r->o->n; /* low are there */
    unsigned char key[KEY_MAX];
    size_t len;
    r->e->read_begin(r->s, 0);
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        key_of(r, middle, key);
        if (r->e->get(r->s, 0, key, &len))
            low = middle + 1;
        else
            high = middle;
    }
    r->e->read_end(r->s, 0);
    return low;
}

/* Numbers are in the order of keys; records do not become fewer. */
static void scans_prepare(struct run *r)
{
    unsigned char *there = bench_alloc(r->o->n);
    uint64_t behind = 0;
    for (uint64_t at = 0; at < r->count; at++)
        there[bench_order_at(&r->order, at)] = 1;
    for (r->full = r->o->n; r->full > 0 && behind < SCAN_MOST; r->full--)
        behind += there[r->full - 1];
    free(there);
}

static struct measure run(const struct options *o, const struct engine *e, const char *path,
                          const struct workload *w)
{
    struct run r = {.o = o, .e = e, .w = w, .order = bench_order(o->n, 9), .random = w->version};
    uint64_t done = 0, most = o->n / 2 + 1;
    r.s = e->open(o, path, STORE_LAZY);
    r.changed = bench_alloc(o->n);
    r.count = count_records(&r);
    zipf_prepare(&r);
    scans_prepare(&r);
    double start = bench_clock(o), took = 0;
    while (done < most && took < SECONDS) {
        for (int i = 0; i < 16; i++, done++)
            operate(&r);
        took = bench_clock(o) - start;
    }
    verify(&r);
    free(r.changed);
    e->close(r.s);
    return rate(done, took);
}

/* Nine of ten records; the rest is for the workloads that insert. */
struct measure bench_ycsb_load(const struct options *o, const struct engine *e, const char *path)
{
    static const struct workload none = {0};
    struct run r = {.o = o, .e = e, .w = &none, .order = bench_order(o->n, 9)};
    bench_remove(path);
    r.changed = bench_alloc(o->n);
    r.s = e->open(o, path, STORE_LAZY);
    double start = bench_clock(o);
    while (r.count < o->n - o->n / 10)
        write_record(&r, r.count++);
    double took = bench_clock(o) - start;
    verify(&r);
    free(r.changed);
    e->sync(r.s);
    e->close(r.s);
    return rate(r.count, took);
}

struct measure bench_ycsb_a(const struct options *o, const struct engine *e, const char *path)
{
    static const struct workload w = {.version = 1, .read = 50, .update = 50};
    return run(o, e, path, &w);
}

struct measure bench_ycsb_b(const struct options *o, const struct engine *e, const char *path)
{
    static const struct workload w = {.version = 2, .read = 95, .update = 5};
    return run(o, e, path, &w);
}

struct measure bench_ycsb_c(const struct options *o, const struct engine *e, const char *path)
{
    static const struct workload w = {.version = 3, .read = 100};
    return run(o, e, path, &w);
}

struct measure bench_ycsb_d(const struct options *o, const struct engine *e, const char *path)
{
    static const struct workload w = {.version = 4, .read = 95, .insert = 5, .latest = true};
    return run(o, e, path, &w);
}

struct measure bench_ycsb_e(const struct options *o, const struct engine *e, const char *path)
{
    static const struct workload w = {.version = 5, .scan = 95, .insert = 5};
    return run(o, e, path, &w);
}

struct measure bench_ycsb_f(const struct options *o, const struct engine *e, const char *path)
{
    static const struct workload w = {.version = 6, .read = 50};
    return run(o, e, path, &w);
}
