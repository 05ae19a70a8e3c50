/* writers.c - durable one-record writes from several threads: kv gathers them into groups, which
 * share a flush; an engine without such a call takes a transaction for each. */
#include "bench.h"

#include <pthread.h>
#include <stdlib.h>

enum { THREADS_MAX = 8 };

static const int thread_counts[] = {1, 2, 4, 8};

struct writer {
    pthread_t thread;
    const struct options *o;
    const struct engine *e;
    struct store *s;
    uint64_t first, count; /* of the random order */
    uint64_t version;
};

static void write_one(const struct writer *w, uint64_t number)
{
    unsigned char key[KEY_MAX], value[VALUE_MAX];
    bench_key(w->o, number, key);
    bench_value(w->o, number, w->version, value);
    bench_write_one(w->o, w->e, w->s, key, value);
}

static void *write_all(void *context)
{
    const struct writer *w = context;
    struct order order = bench_order(w->o->n, w->version);
    for (uint64_t i = 0; i < w->count; i++)
        write_one(w, bench_order_at(&order, w->first + i));
    return NULL;
}

/* Writes that came back must be there. */
static void verify(const struct writer *w, uint64_t count)
{
    unsigned char key[KEY_MAX];
    struct order order = bench_order(w->o->n, w->version);
    w->e->read_begin(w->s, 0);
    for (uint64_t i = 0; i < count; i++) {
        size_t len = 0;
        uint64_t number = bench_order_at(&order, i);
        bench_key(w->o, number, key);
        const void *value = w->e->get(w->s, 0, key, &len);
        if (!value || !bench_value_ok(w->o, number, w->version, value, len))
            bench_die("%s: a committed change is not there", w->e->name);
    }
    w->e->read_end(w->s, 0);
}

/* Seconds for count writes by so many threads. */
static double run(const struct options *o, const struct engine *e, struct store *s, int threads,
                  uint64_t version)
{
    struct writer writers[THREADS_MAX];
    uint64_t each = o->commits / (uint64_t)threads;
    double start = bench_now();
    for (int i = 0; i < threads; i++) {
        writers[i] = (struct writer){
            .o = o, .e = e, .s = s, .first = each * (uint64_t)i, .count = each, .version = version};
        if (pthread_create(&writers[i].thread, NULL, write_all, &writers[i]) != 0)
            bench_die("a thread cannot start");
    }
    for (int i = 0; i < threads; i++)
        pthread_join(writers[i].thread, NULL);
    double took = bench_now() - start;
    verify(&writers[0], each * (uint64_t)threads);
    return took;
}

struct result {
    double rate[sizeof thread_counts / sizeof *thread_counts];
    double flushes[sizeof thread_counts / sizeof *thread_counts]; /* a write; 0: not known */
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const struct options *o, const struct engine *e, struct store *s, size_t at,
                    struct result *result)
{
    double took[ROUNDS_MAX];
    uint64_t flushes = e->flushes ? e->flushes(s) : 0;
    uint64_t writes = o->commits / (uint64_t)thread_counts[at] * (uint64_t)thread_counts[at];
    for (int round = 0; round < o->rounds; round++) /* each writes what was not there before */
        took[round] = run(o, e, s, thread_counts[at], at * ROUNDS_MAX + (uint64_t)round + 1);
    qsort(took, (size_t)o->rounds, sizeof *took, by_value);
    result->rate[at] = (double)writes / took[o->rounds / 2];
    if (e->flushes)
        result->flushes[at] =
            (double)(e->flushes(s) - flushes) / (double)(writes * (uint64_t)o->rounds);
}

static void print(const struct options *o, const struct engine *e, const struct result *result)
{
    for (size_t i = 0; i < sizeof thread_counts / sizeof *thread_counts; i++) {
        char rate[16], flushes[16] = "";
        bench_amount(result->rate[i], rate);
        if (result->flushes[i] > 0)
            snprintf(flushes, sizeof flushes, "%.2f", result->flushes[i]);
        if (o->json)
            printf("{\"engine\": \"%s\", \"threads\": %d, \"writes_per_s\": %.0f, "
                   "\"ratio\": %.3f, \"flushes_per_write\": %.3f}\n",
                   e->name, thread_counts[i], result->rate[i], result->rate[i] / result->rate[0],
                   result->flushes[i]);
        else
            printf("%-14s %8d %10s %8.2f x %10s\n", e->name, thread_counts[i], rate,
                   result->rate[i] / result->rate[0], flushes);
    }
}

int bench_writers(const struct options *o)
{
    if (o->n < o->commits || o->commits < THREADS_MAX)
        bench_die("writers needs --n %llu or more", (unsigned long long)o->commits);
    if (!o->json) {
        bench_print_machine(o, stdout);
        printf("\n%-14s %8s %10s %10s %10s\n", "engine", "threads", "writes/s", "to one",
               "flushes");
    }
    for (const struct engine *const *e = o->engines; *e; e++) {
        struct result result = {0};
        char path[4096];
        bench_path(path, sizeof path, o, (*e)->name, "writers");
        bench_remove(path);
        struct store *s = (*e)->open(o, path, 0);
        bench_load(o, *e, s, false);
        for (size_t at = 0; at < sizeof thread_counts / sizeof *thread_counts; at++)
            measure(o, *e, s, at, &result);
        (*e)->close(s);
        bench_remove(path);
        print(o, *e, &result);
    }
    return 0;
}
