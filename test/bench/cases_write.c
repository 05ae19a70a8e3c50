/* cases_write.c - the cases of changing that only the suite runs. */
#include "cases.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PER_DURABLE = 1000,
    PER_LAZY = 100,
    LARGE = 100000,
    TREES = 2000,
    TREE_COMMITS = 20000,
    COMMANDS = 100
};

static const double SECONDS = 3; /* cases of durable commits stop then, on a slow disk */

/* ---- commits ---- */

/* Overwrites at most all records in random order, so many a commit; returns how many. */
static uint64_t overwrite(const struct options *o, const struct engine *e, struct store *s,
                          uint64_t per_commit, uint64_t version, double seconds)
{
    unsigned char key[KEY_MAX], value[VALUE_MAX];
    struct order order = bench_order(o->n, version);
    double start = bench_clock(o);
    uint64_t i = 0;
    while (i < o->n && (seconds <= 0 || bench_clock(o) - start < seconds)) {
        uint64_t end = i + per_commit < o->n ? i + per_commit : o->n;
        e->write_begin(s);
        for (; i < end; i++) {
            uint64_t number = bench_order_at(&order, i);
            bench_key(o, number, key);
            bench_value(o, number, version, value);
            e->put(s, key, value, o->value_len);
        }
        e->write_commit(s);
    }
    return i;
}

struct measure bench_commit_1000(const struct options *o, const struct engine *e, const char *path)
{
    struct store *s = e->open(o, path, 0);
    double start = bench_clock(o);
    uint64_t done = overwrite(o, e, s, PER_DURABLE, 7, SECONDS);
    double took = bench_clock(o) - start;
    bench_verify_commits(o, e, s, done, 7, 7);
    e->close(s);
    return rate(done, took);
}

/* All records, so that the cases of the fragmented file know what they find. */
struct measure bench_overwrite(const struct options *o, const struct engine *e, const char *path)
{
    struct store *s = e->open(o, path, STORE_LAZY);
    double start = bench_clock(o);
    overwrite(o, e, s, PER_LAZY, VERSION_OVERWRITTEN, 0);
    double took = bench_clock(o) - start;
    e->read_begin(s, 0);
    bench_verify(o, e, s, 0, VERSION_OVERWRITTEN);
    e->read_end(s, 0);
    e->sync(s);
    e->close(s);
    return rate(o->n, took);
}

/* ---- large values ---- */

static struct options with_large_values(const struct options *o)
{
    struct options large = *o;
    large.value_len = LARGE;
    large.n = o->n / 1000 + 16;
    return large;
}

struct measure bench_load_large(const struct options *o, const struct engine *e, const char *path)
{
    struct options large = with_large_values(o);
    bench_remove(path);
    struct store *s = e->open(&large, path, 0);
    double start = bench_clock(o);
    bench_load(&large, e, s, false);
    double took = bench_clock(o) - start;
    e->read_begin(s, 0);
    bench_verify(&large, e, s, 0, 0);
    e->read_end(s, 0);
    e->close(s);
    return rate(large.n, took);
}

/* Reads every cache line of each value. */
struct measure bench_get_large(const struct options *o, const struct engine *e, const char *path)
{
    struct options large = with_large_values(o);
    struct order order = bench_order(large.n, 2);
    struct store *s = e->open(&large, path, 0);
    unsigned char key[KEY_MAX], lines = 0;
    double took = 0;
    e->read_begin(s, 0);
    for (int pass = 0; pass < 2; pass++) {
        double start = bench_clock(o);
        for (uint64_t i = 0; i < large.n; i++) {
            size_t len = 0;
            uint64_t number = bench_order_at(&order, i);
            bench_key(&large, number, key);
            const unsigned char *value = e->get(s, 0, key, &len);
            if (!value || !bench_value_ok(&large, number, 0, value, len))
                bench_die("%s: a large value is wrong", e->name);
            for (size_t at = 0; at < len; at += 64)
                lines ^= value[at];
            __asm__ volatile("" ::"r"(lines));
        }
        took = bench_clock(o) - start;
    }
    e->read_end(s, 0);
    e->close(s);
    return rate(large.n, took);
}

/* ---- many trees ---- */

static uint64_t tree_of(uint64_t i, char name[16])
{
    uint64_t tree = i * 0x9e3779b97f4a7c15u % TREES;
    snprintf(name, 16, "tree-%04llu", (unsigned long long)tree);
    return tree;
}

/* A record into one of the trees. */
static void tree_put(const struct options *o, const struct engine *e, struct store *s,
                     const char *name, uint64_t number, uint64_t version)
{
    unsigned char key[KEY_MAX], value[VALUE_MAX];
    bench_key(o, number, key);
    bench_value(o, number, version, value);
    e->tree_put(s, name, key, value, o->value_len);
}

static void verify_trees(const struct options *o, const struct engine *e, struct store *s,
                         uint64_t count)
{
    e->read_begin(s, 0);
    for (uint64_t i = 0; i < count; i++) {
        unsigned char key[KEY_MAX];
        char name[16];
        size_t len = 0;
        tree_of(i, name);
        bench_key(o, i, key);
        const void *value = e->tree_get(s, name, key, &len);
        if (!value || !bench_value_ok(o, i, 1, value, len))
            bench_die("%s: a record in a named tree is not there", e->name);
    }
    e->read_end(s, 0);
}

struct measure bench_trees(const struct options *o, const struct engine *e, const char *path)
{
    char name[16];
    if (!e->tree_put)
        return not_available();
    bench_remove(path);
    struct store *s = e->open(o, path, STORE_LAZY | STORE_TREES);
    uint64_t count = o->n < TREE_COMMITS ? o->n : TREE_COMMITS;
    e->write_begin(s);
    for (uint64_t i = 0; i < TREES; i++) {
        snprintf(name, sizeof name, "tree-%04llu", (unsigned long long)i);
        tree_put(o, e, s, name, 0, 0);
    }
    e->write_commit(s);
    double start = bench_clock(o);
    for (uint64_t i = 0; i < count; i++) {
        tree_of(i, name);
        e->write_begin(s);
        tree_put(o, e, s, name, i, 1);
        e->write_commit(s);
    }
    double took = bench_clock(o) - start;
    verify_trees(o, e, s, count);
    e->close(s);
    return rate(count, took);
}

/* ---- the command ---- */

/* BUILD/kv get FILE KEY, which is what stands in a shell script. Returns what it prints. */
static size_t run_command(const char *path, const char *key, char *printed, size_t size)
{
    int pipe_fds[2], status;
    size_t len = 0;
    const char *build = getenv("BUILD");
    char program[4200];
    snprintf(program, sizeof program, "%s/kv", build ? build : "build");
    if (pipe(pipe_fds) != 0)
        bench_die("no pipe");
    pid_t child = fork();
    if (child == 0) {
        dup2(pipe_fds[1], STDOUT_FILENO);
        close(pipe_fds[0]);
        close(pipe_fds[1]);
        execl(program, "kv", "get", "--raw", path, key, (char *)NULL);
        _exit(127);
    }
    close(pipe_fds[1]);
    for (ssize_t n; len < size && (n = read(pipe_fds[0], printed + len, size - len)) > 0;)
        len += (size_t)n;
    close(pipe_fds[0]);
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        bench_die("%s get %s %s failed", program, path, key);
    return len;
}

struct measure bench_command_get(const struct options *o, const struct engine *e, const char *path)
{
    struct options decimal = *o;
    if (strcmp(e->name, "kv") != 0)
        return not_available();
    bench_key_kind(&decimal, "decimal");
    bench_remove(path);
    struct store *s = e->open(&decimal, path, 0);
    bench_load(&decimal, e, s, true);
    e->close(s);
    struct order order = bench_order(o->n, 2);
    double start = bench_now();
    for (uint64_t i = 0; i < COMMANDS; i++) {
        unsigned char key[KEY_MAX] = "";
        char value[VALUE_MAX];
        uint64_t number = bench_order_at(&order, i % o->n);
        bench_key(&decimal, number, key);
        size_t len = run_command(path, (char *)key, value, sizeof value);
        if (!bench_value_ok(&decimal, number, 0, value, len))
            bench_die("kv get gave another value");
    }
    double took = bench_now() - start;
    return (struct measure){took * 1e6 / COMMANDS, COMMANDS, took};
}
