/* watch.c - one process commits, four watch the key that it changes: does each see the last state,
 * and how soon is it woken?
 *
 * First as many commits as the writer can make, then fewer with pauses, in which those who watch fall
 * asleep. Each value holds the time just before its commit; a watcher compares that with the time at
 * which it has the value. */
#include "bench.h"

#include <kv.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WATCHERS = 4, PAUSED = 4000, PAUSE_US = 500, LIMIT_MS = 60000 };

struct stamp {
    uint64_t number;
    double time; /* seconds */
};

struct seen {
    uint64_t last, events;
    double median, late; /* microseconds: half, and 99 of 100, come sooner */
};

static kv_db *open_db(const char *path)
{
    kv_db *db;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
    int rc = kv_db_open(path, &options, &db);
    if (rc != KV_OK)
        bench_die("%s: %s", path, kv_strerror(rc));
    return db;
}

/* ---- watching ---- */

static struct stamp stamp_in(kv_txn *txn)
{
    kv_slice value;
    struct stamp stamp = {0, 0};
    if (kv_get(kv_txn_main(txn), "stamp", 5, &value) == KV_OK)
        memcpy(&stamp, value.ptr, sizeof stamp);
    return stamp;
}

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Up to the commit with this number. */
static struct seen follow(kv_watch *watch, uint64_t last)
{
    struct seen seen = {0};
    kv_watch_event event = {.size = sizeof event};
    double *delays = malloc((last + 1) * sizeof *delays);
    if (!delays)
        bench_die("no memory");
    while (seen.last < last) {
        int rc = kv_watch_next(watch, LIMIT_MS, &event);
        if (rc != KV_OK)
            bench_die("a watcher: %s", kv_strerror(rc));
        struct stamp stamp = stamp_in(event.to);
        seen.last = stamp.number;
        delays[seen.events++] = (bench_now() - stamp.time) * 1e6;
    }
    qsort(delays, seen.events, sizeof *delays, by_size);
    seen.median = delays[seen.events / 2];
    seen.late = delays[seen.events * 99 / 100];
    free(delays);
    return seen;
}

static void watcher(const char *path, uint64_t first, uint64_t second, int to)
{
    kv_watch *watch;
    kv_db *db = open_db(path);
    if (kv_watch_open(db, NULL, &watch) != KV_OK || write(to, "", 1) != 1)
        _exit(1);
    for (int i = 0; i < 2; i++) {
        struct seen seen = follow(watch, i == 0 ? first : second);
        if (write(to, &seen, sizeof seen) != sizeof seen)
            _exit(1);
    }
    kv_watch_close(watch);
    _exit(kv_db_close(db) == KV_OK ? 0 : 1);
}

struct crowd {
    pid_t process[WATCHERS];
    int from[WATCHERS];
};

static void crowd_gather(struct crowd *c, const char *path, uint64_t first, uint64_t second)
{
    for (int i = 0; i < WATCHERS; i++) {
        int ends[2];
        char byte;
        if (pipe(ends) != 0)
            bench_die("no pipe");
        c->process[i] = fork();
        if (c->process[i] == 0)
            watcher(path, first, second, ends[1]);
        close(ends[1]);
        c->from[i] = ends[0];
        if (read(ends[0], &byte, 1) != 1)
            bench_die("a watcher did not come");
    }
}

static void crowd_leave(const struct crowd *c)
{
    for (int i = 0; i < WATCHERS; i++) {
        int status;
        if (waitpid(c->process[i], &status, 0) != c->process[i] || status != 0)
            bench_die("a watcher failed");
    }
}

/* ---- committing ---- */

/* Up to this number. Gives microseconds for one. */
static double commit_all(kv_db *db, uint64_t from, uint64_t to, unsigned pause_us)
{
    double start = bench_now();
    for (uint64_t number = from; number <= to; number++) {
        struct stamp stamp = {.number = number, .time = bench_now()};
        kv_op op = {.kind = KV_OP_PUT, .key = {"stamp", 5}, .value = {&stamp, sizeof stamp}};
        int rc = kv_db_write(db, &op, 1, KV_TXN_LAZY, NULL);
        if (rc != KV_OK)
            bench_die("commit: %s", kv_strerror(rc));
        if (pause_us)
            usleep(pause_us);
    }
    return (bench_now() - start) * 1e6 / (double)(to - from + 1);
}

static void report(const struct options *o, const struct crowd *c, const char *what,
                   uint64_t commits, uint64_t last, double cost)
{
    for (int i = 0; i < WATCHERS; i++) {
        struct seen seen;
        if (read(c->from[i], &seen, sizeof seen) != sizeof seen)
            bench_die("a watcher failed");
        if (seen.last != last)
            bench_die("a watcher missed the last state: it saw %llu of %llu",
                      (unsigned long long)seen.last, (unsigned long long)last);
        if (o->json)
            printf("{\"mode\":\"watch\",\"phase\":\"%s\",\"watcher\":%d,\"commits\":%llu,"
                   "\"commit_us\":%.2f,\"events\":%llu,\"median_us\":%.1f,\"p99_us\":%.1f}\n",
                   what, i, (unsigned long long)commits, cost, (unsigned long long)seen.events,
                   seen.median, seen.late);
        else
            printf("%-8s %8llu %10.2f %8d %10llu %12.1f %12.1f\n", what,
                   (unsigned long long)commits, cost, i, (unsigned long long)seen.events,
                   seen.median, seen.late);
    }
    fflush(stdout);
}

int bench_watch(const struct options *o)
{
    struct crowd c;
    char path[4096];
    uint64_t first = o->commits, second = first + PAUSED;
    bench_path(path, sizeof path, o, "kv", "watch");
    bench_remove(path);
    if (kv_db_close(open_db(path)) != KV_OK)
        bench_die("cannot make %s", path);
    if (!o->json) {
        bench_print_machine(o, stdout);
        printf("\n%-8s %8s %10s %8s %10s %12s %12s\n", "", "commits", "one, us", "watcher",
               "wake-ups", "median, us", "99 %, us");
    }
    fflush(stdout);
    crowd_gather(&c, path, first, second);
    kv_db *db = open_db(path);
    double cost = commit_all(db, 1, first, 0);
    report(o, &c, "rushing", first, first, cost);
    cost = commit_all(db, first + 1, second, PAUSE_US);
    report(o, &c, "pausing", PAUSED, second, cost);
    crowd_leave(&c);
    if (kv_db_close(db) != KV_OK)
        bench_die("closing %s", path);
    bench_remove(path);
    return 0;
}
