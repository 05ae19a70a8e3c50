/* sharing.c - what a read transaction costs in a shared file: its begin and end, by one thread and
 * two, and what becomes of that and of a commit while a thousand processes hold a transaction each.
 * */
#include "bench.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BEGINS = 1000000, COMMITS = 1000 };

static const int crowds[] = {0, 1, 10, 100, 1000};

/* ---- begin and end ---- */

struct beginner {
    const struct engine *e;
    struct store *s;
    int reader;
    uint64_t count;
};

static void *begin_and_end(void *context)
{
    const struct beginner *b = context;
    for (uint64_t i = 0; i < b->count; i++) {
        b->e->read_begin(b->s, b->reader);
        b->e->read_end(b->s, b->reader);
    }
    return NULL;
}

/* Nanoseconds for one, each of so many threads doing count. */
static double begin_cost(const struct engine *e, struct store *s, int threads, uint64_t count)
{
    pthread_t other;
    struct beginner mine = {e, s, 0, count}, its = {e, s, 1, count};
    double start = bench_now();
    if (threads == 2 && pthread_create(&other, NULL, begin_and_end, &its) != 0)
        bench_die("a thread cannot start");
    begin_and_end(&mine);
    if (threads == 2)
        pthread_join(other, NULL);
    return (bench_now() - start) * 1e9 / (double)count;
}

/* ---- commits ---- */

/* Microseconds for one of one record. */
static double commit_cost(const struct options *o, const struct engine *e, struct store *s)
{
    unsigned char key[KEY_MAX], value[VALUE_MAX];
    struct order order = bench_order(o->n, 3);
    double start = bench_now();
    for (uint64_t i = 0; i < COMMITS; i++) {
        uint64_t number = bench_order_at(&order, i % o->n);
        bench_key(o, number, key);
        bench_value(o, number, 1, value);
        e->write_begin(s);
        e->put(s, key, value, o->value_len);
        e->write_commit(s);
    }
    return (bench_now() - start) * 1e6 / COMMITS;
}

/* ---- a crowd of processes ---- */

struct crowd {
    pid_t processes[1000];
    int n;
    int leave; /* closed when all shall leave */
};

static void attend(const struct options *o, const struct engine *e, const char *path, int ready,
                   int leave)
{
    char byte;
    struct store *s = e->open(o, path, STORE_LAZY);
    e->read_begin(s, 0);
    if (write(ready, "", 1) != 1)
        _exit(1);
    close(ready); /* else nobody would notice that another one does not come */
    if (read(leave, &byte, 1) != 0)
        _exit(1);
    e->read_end(s, 0);
    e->close(s);
    _exit(0);
}

/* Each holds a read transaction when this returns. */
static void crowd_gather(struct crowd *c, const struct options *o, const struct engine *e,
                         const char *path, int n)
{
    int ready[2], leave[2];
    char byte;
    if (pipe(ready) != 0 || pipe(leave) != 0)
        bench_die("no pipe");
    for (c->n = 0; c->n < n; c->n++) {
        pid_t process = fork();
        if (process < 0)
            bench_die("no more than %d processes", c->n);
        if (process == 0) {
            close(leave[1]);
            attend(o, e, path, ready[1], leave[0]);
        }
        c->processes[c->n] = process;
    }
    close(leave[0]);
    close(ready[1]);
    for (int i = 0; i < n; i++)
        if (read(ready[0], &byte, 1) != 1)
            bench_die("a reading process did not come");
    close(ready[0]);
    c->leave = leave[1];
}

static void crowd_leave(const struct crowd *c)
{
    close(c->leave);
    for (int i = 0; i < c->n; i++) {
        int status;
        if (waitpid(c->processes[i], &status, 0) != c->processes[i] || status != 0)
            bench_die("a reading process failed");
    }
}

static void measure(const struct options *o, const struct engine *e, const char *path, int n)
{
    struct crowd c;
    crowd_gather(&c, o, e, path, n);
    struct store *s = e->open(o, path, STORE_LAZY);
    double one = begin_cost(e, s, 1, BEGINS), two = begin_cost(e, s, 2, BEGINS);
    double lazy = commit_cost(o, e, s);
    e->close(s);
    crowd_leave(&c);
    if (o->json)
        printf("{\"mode\":\"sharing\",\"engine\":\"%s\",\"processes\":%d,\"begin_ns\":%.1f,"
               "\"begin_two_threads_ns\":%.1f,\"lazy_commit_us\":%.2f}\n",
               e->name, n, one, two, lazy);
    else
        printf("%-6s %10d %14.1f %14.1f %16.2f\n", e->name, n, one, two, lazy);
    fflush(stdout);
}

int bench_sharing(const struct options *o)
{
    const struct engine *e = o->engines[0];
    char path[4096];
    if (!o->json) {
        bench_print_machine(o, stdout);
        printf("\n%-6s %10s %14s %14s %16s\n", "", "processes", "begin+end", "two threads",
               "lazy commit");
        printf("%-6s %10s %14s %14s %16s\n", "", "reading", "ns", "ns, each", "us");
    }
    bench_path(path, sizeof path, o, e->name, "sharing");
    bench_remove(path);
    struct store *s = e->open(o, path, 0);
    bench_load(o, e, s, true);
    e->close(s);
    for (size_t i = 0; i < sizeof crowds / sizeof *crowds; i++)
        measure(o, e, path, crowds[i]);
    bench_remove(path);
    return 0;
}

/* For test/bench/begin_cost.sh: so many begins and ends, between two marks that nothing else makes.
 * */
int bench_begin_cost(const struct options *o)
{
    const struct engine *e = o->engines[0];
    char path[4096];
    bench_path(path, sizeof path, o, e->name, "begincost");
    bench_remove(path);
    struct store *s = e->open(o, path, 0);
    bench_load(o, e, s, true);
    begin_cost(e, s, 1, 1);
    syscall(SYS_getppid);
    begin_cost(e, s, 1, o->commits);
    syscall(SYS_getppid);
    e->close(s);
    bench_remove(path);
    return 0;
}
