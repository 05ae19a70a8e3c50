/* growth.c - how a file grows behind readers that stay: every record is overwritten, again and
 * again, in random order, while a reader holds the first snapshot. A second reader may follow the
 * writer at a distance. At the end each snapshot is read and verified. */
#include "bench.h"

#include <string.h>

enum { PER_COMMIT = 100, COMMITS_PER_MOVE = 100, OLD_READER = 0, MOVING_READER = 1 };

struct growth {
    const struct options *o;
    const struct engine *e;
    bool moving; /* with a second reader */
};

struct growth_result {
    uint64_t before, peak, live;
    double seconds;
};

struct writer {
    const struct growth *g;
    struct store *s;
    uint64_t commits;
    uint64_t peak;
};

static void commit(struct writer *w)
{
    w->g->e->write_commit(w->s);
    uint64_t size = w->g->e->file_size(w->s);
    if (size > w->peak)
        w->peak = size;
    if (w->g->moving && ++w->commits % COMMITS_PER_MOVE == 0)
        w->g->e->read_move(w->s, MOVING_READER);
}

static void overwrite_all(struct writer *w, int version)
{
    unsigned char key[KEY_LEN], value[VALUE_MAX];
    const struct options *o = w->g->o;
    struct order order = bench_order(o->n, 100 + (uint64_t)version);
    for (uint64_t i = 0; i < o->n; i++) {
        uint64_t number = bench_order_at(&order, i);
        if (i % PER_COMMIT == 0)
            w->g->e->write_begin(w->s);
        bench_key(o, number, key);
        bench_value(o, number, (uint64_t)version, value);
        w->g->e->put(w->s, key, value, o->value_len);
        if (i % PER_COMMIT == PER_COMMIT - 1 || i == o->n - 1)
            commit(w);
    }
}

static void grow(void *context, void *result)
{
    const struct growth *g = context;
    struct growth_result *r = result;
    char path[4096];
    bench_path(path, sizeof path, g->o, g->e->name, "growth");
    bench_remove(path);
    struct writer w = {g, g->e->open(g->o, path, 0), 0, 0};
    bench_load(g->o, g->e, w.s, true);
    r->before = g->e->file_size(w.s);
    g->e->read_begin(w.s, OLD_READER);
    if (g->moving)
        g->e->read_begin(w.s, MOVING_READER);

    double start = bench_now();
    for (int version = 1; version <= g->o->overwrites; version++)
        overwrite_all(&w, version);
    r->seconds = bench_now() - start;
    r->peak = w.peak;
    r->live = g->e->live_size(w.s);

    bench_verify(g->o, g->e, w.s, OLD_READER, 0);
    g->e->read_move(w.s, OLD_READER);
    bench_verify(g->o, g->e, w.s, OLD_READER, (uint64_t)g->o->overwrites);
    g->e->read_end(w.s, OLD_READER);
    if (g->moving)
        g->e->read_end(w.s, MOVING_READER);
    g->e->close(w.s);
    bench_remove(path);
}

static void print_result(const struct growth *g, const struct growth_result *r)
{
    const char *readers = g->moving ? "old + moving" : "old";
    double raw = (double)(g->o->n * (KEY_LEN + g->o->value_len));
    double peak = (double)r->peak, live = (double)r->live;
    double rate = (double)g->o->n * g->o->overwrites / r->seconds;
    char text[16];
    if (g->o->json)
        printf("{\"mode\":\"growth\",\"engine\":\"%s\",\"readers\":\"%s\",\"raw\":%.0f,"
               "\"before\":%llu,\"live\":%llu,\"peak\":%llu,\"peak_to_live\":%.3f,"
               "\"peak_to_raw\":%.3f,\"overwrites_per_s\":%.0f}\n",
               g->e->name, readers, raw, (unsigned long long)r->before, (unsigned long long)r->live,
               (unsigned long long)r->peak, peak / live, peak / raw, rate);
    else
        printf("%-6s %-14s %8.1f %8.1f %8.1f %8.1f %10.2f %10.2f %10s/s\n", g->e->name, readers,
               raw / 1e6, (double)r->before / 1e6, live / 1e6, peak / 1e6, peak / live, peak / raw,
               bench_amount(rate, text));
}

int bench_growth(const struct options *o)
{
    if (!o->json) {
        bench_print_machine(o, stdout);
        printf("overwrite every record %d times in random order, %d per durable commit\n\n",
               o->overwrites, PER_COMMIT);
        printf("%-6s %-14s %8s %8s %8s %8s %10s %10s %12s\n", "", "readers", "raw MB", "before",
               "live MB", "peak MB", "peak/live", "peak/raw", "overwrites");
    }
    for (int moving = 0; moving < 2; moving++) {
        for (const struct engine *const *e = o->engines; *e; e++) {
            struct growth g = {o, *e, moving != 0};
            struct growth_result r;
            if (!bench_apart(grow, &g, &r, sizeof r)) {
                fprintf(stderr, "bench: %s: growth failed\n", g.e->name);
                return 1;
            }
            print_result(&g, &r);
        }
    }
    return 0;
}
