/* growth.c - how a file grows behind readers that stay: every record is overwritten, again and
 * again, in random order, while a reader holds the first snapshot. A second reader may follow the
 * writer at a distance. At the end each snapshot is read and verified. The reader that stays lives
 * in the writer's process, or in another one. */
#include "bench.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PER_COMMIT = 100, COMMITS_PER_MOVE = 100, OLD_READER = 0, MOVING_READER = 1 };

struct growth {
    const struct options *o;
    const struct engine *e;
    bool moving; /* with a second reader */
    bool apart;  /* the first one in a process of its own */
};

struct growth_result {
    uint64_t before, peak, live, closed; /* bytes; closed: of the file, when all had left it */
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
    unsigned char key[KEY_MAX], value[VALUE_MAX];
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

/* The reader that stays, in a process of its own; one byte each way says when to go on. */
struct visitor {
    pid_t process;
    int to, from;
};

static void pass_on(int to)
{
    if (write(to, "", 1) != 1)
        bench_die("the other process is gone");
}

static void wait_for(int from)
{
    char byte;
    if (read(from, &byte, 1) != 1)
        bench_die("the other process is gone");
}

static void visit(const struct growth *g, const char *path, int to, int from)
{
    wait_for(from);
    struct store *s = g->e->open(g->o, path, 0);
    g->e->read_begin(s, OLD_READER);
    pass_on(to);
    wait_for(from);
    bench_verify(g->o, g->e, s, OLD_READER, 0);
    g->e->read_end(s, OLD_READER);
    g->e->close(s);
    _exit(0);
}

/* Before the writer opens anything, so that the other process has nothing of its. */
static struct visitor visitor_start(const struct growth *g, const char *path)
{
    int there[2], back[2];
    if (pipe(there) != 0 || pipe(back) != 0)
        bench_die("no pipe");
    struct visitor v = {fork(), there[1], back[0]};
    if (v.process < 0)
        bench_die("cannot fork");
    if (v.process == 0) {
        close(there[1]);
        close(back[0]);
        visit(g, path, back[1], there[0]);
    }
    close(there[0]);
    close(back[1]);
    return v;
}

static void visitor_end(const struct visitor *v)
{
    int status;
    pass_on(v->to);
    if (waitpid(v->process, &status, 0) != v->process || status != 0)
        bench_die("the reader in another process found its snapshot changed");
    close(v->to);
    close(v->from);
}

static void readers_begin(const struct growth *g, struct store *s, const struct visitor *v)
{
    if (g->apart) {
        pass_on(v->to);
        wait_for(v->from);
    } else {
        g->e->read_begin(s, OLD_READER);
    }
    if (g->moving)
        g->e->read_begin(s, MOVING_READER);
}

static void readers_end(const struct growth *g, struct store *s, const struct visitor *v)
{
    if (g->apart) {
        visitor_end(v);
        g->e->read_begin(s, OLD_READER);
    } else {
        bench_verify(g->o, g->e, s, OLD_READER, 0);
        g->e->read_move(s, OLD_READER);
    }
    bench_verify(g->o, g->e, s, OLD_READER, (uint64_t)g->o->overwrites);
    g->e->read_end(s, OLD_READER);
    if (g->moving)
        g->e->read_end(s, MOVING_READER);
}

static void grow(void *context, void *result)
{
    const struct growth *g = context;
    struct growth_result *r = result;
    char path[4096];
    bench_path(path, sizeof path, g->o, g->e->name, "growth");
    bench_remove(path);
    struct visitor v = {0};
    if (g->apart)
        v = visitor_start(g, path);
    struct writer w = {g, g->e->open(g->o, path, 0), 0, 0};
    bench_load(g->o, g->e, w.s, true);
    r->before = g->e->file_size(w.s);
    readers_begin(g, w.s, &v);

    double start = bench_now();
    for (int version = 1; version <= g->o->overwrites; version++)
        overwrite_all(&w, version);
    r->seconds = bench_now() - start;
    r->peak = w.peak;
    r->live = g->e->live_size(w.s);

    readers_end(g, w.s, &v);
    g->e->close(w.s);
    struct store *again = g->e->open(g->o, path, 0);
    r->closed = g->e->file_size(again);
    g->e->close(again);
    bench_remove(path);
}

static void print_result(const struct growth *g, const struct growth_result *r)
{
    const char *readers = g->apart    ? g->moving ? "apart + moving" : "apart"
                          : g->moving ? "old + moving"
                                      : "old";
    double raw = (double)(g->o->n * (g->o->key_len + g->o->value_len));
    double peak = (double)r->peak, live = (double)r->live, closed = (double)r->closed;
    double rate = (double)g->o->n * g->o->overwrites / r->seconds;
    char text[16];
    if (g->o->json)
        printf("{\"mode\":\"growth\",\"engine\":\"%s\",\"readers\":\"%s\",\"raw\":%.0f,"
               "\"before\":%llu,\"live\":%llu,\"peak\":%llu,\"closed\":%llu,\"peak_to_live\":%.3f,"
               "\"closed_to_live\":%.3f,\"overwrites_per_s\":%.0f}\n",
               g->e->name, readers, raw, (unsigned long long)r->before, (unsigned long long)r->live,
               (unsigned long long)r->peak, (unsigned long long)r->closed, peak / live,
               closed / live, rate);
    else
        printf("%-6s %-14s %8.1f %8.1f %8.1f %8.1f %8.1f %10.2f %11.2f %10s/s\n", g->e->name,
               readers, raw / 1e6, (double)r->before / 1e6, live / 1e6, peak / 1e6, closed / 1e6,
               peak / live, closed / live, bench_amount(rate, text));
}

int bench_growth(const struct options *o)
{
    if (!o->json) {
        bench_print_machine(o, stdout);
        printf("overwrite every record %d times in random order, %d per durable commit\n\n",
               o->overwrites, PER_COMMIT);
        printf("%-6s %-14s %8s %8s %8s %8s %8s %10s %11s %12s\n", "", "readers", "raw MB", "before",
               "live MB", "peak MB", "closed", "peak/live", "closed/live", "overwrites");
    }
    for (int kind = 0; kind < 4; kind++) {
        for (const struct engine *const *e = o->engines; *e; e++) {
            struct growth g = {o, *e, kind & 1, kind & 2};
            if (!g.e->read_move || !g.e->live_size) {
                fprintf(stderr, "bench: %s: growth n/a\n", g.e->name);
                continue;
            }
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
