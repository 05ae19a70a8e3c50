/* cases_crowd.c - cases of several readers or writers at once: threads that share a store, or processes
 * that share a file. */
#include "cases.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* The versions that writers leave must be among those that bench_get_writing knows. */
enum { READERS = 2, WRITERS = 4, VERSION_PROCESSES = 2, VERSION_THREADS = 8 };

static const double SECONDS = 3; /* writers stop then, on a slow disk */

struct member {
    const struct options *o;
    const struct engine *e;
    struct store *s;
    struct crowd *crowd;
    int number;
    uint64_t first, most, done; /* of a random order */
    uint64_t version;           /* that it writes */
    double start, end;
};

/* Lies in memory that processes share. */
struct crowd {
    int size;
    _Atomic int come;
    struct member members[READERS_MAX];
};

typedef void *work(void *member);

/* Each member has so many records, and begins so far behind the one before. */
static struct crowd *crowd_make(const struct options *o, const struct engine *e, int size,
                                uint64_t each, uint64_t distance, uint64_t version)
{
    struct crowd *c =
        mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c == MAP_FAILED)
        bench_die("out of memory");
    c->size = size;
    for (int i = 0; i < size; i++)
        c->members[i] = (struct member){.o = o,
                                        .e = e,
                                        .crowd = c,
                                        .number = i,
                                        .first = distance * (uint64_t)i,
                                        .most = each,
                                        .version = version};
    return c;
}

/* From when the first one began until the last one ended. */
static struct measure crowd_rate(struct crowd *c)
{
    double start = c->members[0].start, end = c->members[0].end;
    uint64_t done = 0;
    for (int i = 0; i < c->size; i++) {
        const struct member *m = &c->members[i];
        start = m->start < start ? m->start : start;
        end = m->end > end ? m->end : end;
        done += m->done;
    }
    munmap(c, sizeof *c);
    return rate(done, end - start);
}

static void by_threads(struct crowd *c, work *fn, struct store *s)
{
    pthread_t threads[READERS_MAX];
    for (int i = 0; i < c->size; i++) {
        c->members[i].s = s;
        if (pthread_create(&threads[i], NULL, fn, &c->members[i]) != 0)
            bench_die("a thread cannot start");
    }
    for (int i = 0; i < c->size; i++)
        pthread_join(threads[i], NULL);
}

static _Noreturn void work_apart(struct member *m, work *fn, const char *path)
{
    m->s = m->e->open(m->o, path, 0);
    fn(m);
    m->e->close(m->s);
    _exit(0);
}

static void by_processes(struct crowd *c, work *fn, const char *path)
{
    bool failed = false;
    for (int i = 0; i < c->size; i++) {
        pid_t child = fork();
        if (child < 0)
            bench_die("cannot fork");
        if (child == 0)
            work_apart(&c->members[i], fn, path);
    }
    for (int i = 0; i < c->size; i++) {
        int status;
        if (wait(&status) > 0 && status == 0)
            continue;
        failed = true;
        atomic_fetch_add(&c->come, c->size); /* the others do not wait for it */
    }
    if (failed)
        bench_die("%s: a process failed", c->members[0].e->name);
}

static void wait_for_all(struct crowd *c)
{
    atomic_fetch_add(&c->come, 1);
    while (atomic_load(&c->come) < c->size)
        sched_yield();
}

/* ---- reading ---- */

static void *read_share(void *member)
{
    struct member *m = member;
    m->e->read_begin(m->s, m->number);
    bench_time_gets(m->o, m->e, m->s, m->number, m->first, m->most, 0);
    wait_for_all(m->crowd);
    m->start = bench_now();
    bench_time_gets(m->o, m->e, m->s, m->number, m->first, m->most, 0);
    m->end = bench_now();
    m->done = m->most;
    m->e->read_end(m->s, m->number);
    return NULL;
}

static struct measure get_by_threads(const struct options *o, const struct engine *e,
                                     const char *path, int threads, uint64_t each)
{
    struct crowd *c = crowd_make(o, e, threads, each, o->n / (uint64_t)threads, 0);
    struct store *s = e->open(o, path, 0);
    by_threads(c, read_share, s);
    e->close(s);
    return crowd_rate(c);
}

struct measure bench_get_threads(const struct options *o, const struct engine *e, const char *path)
{
    return get_by_threads(o, e, path, READERS, o->n);
}

/* They share the records. */
static struct measure get_by_crowd(const struct options *o, const struct engine *e,
                                   const char *path, int threads)
{
    return get_by_threads(o, e, path, threads, o->n / (uint64_t)threads);
}

struct measure bench_get_threads_4(const struct options *o, const struct engine *e,
                                   const char *path)
{
    return get_by_crowd(o, e, path, 4);
}

struct measure bench_get_threads_8(const struct options *o, const struct engine *e,
                                   const char *path)
{
    return get_by_crowd(o, e, path, 8);
}

struct measure bench_get_threads_16(const struct options *o, const struct engine *e,
                                    const char *path)
{
    return get_by_crowd(o, e, path, 16);
}

struct measure bench_get_threads_32(const struct options *o, const struct engine *e,
                                    const char *path)
{
    return get_by_crowd(o, e, path, 32);
}

struct measure bench_get_processes(const struct options *o, const struct engine *e,
                                   const char *path)
{
    if (!e->processes)
        return not_available();
    struct crowd *c = crowd_make(o, e, READERS, o->n, o->n / READERS, 0);
    by_processes(c, read_share, path);
    return crowd_rate(c);
}

/* ---- writing ---- */

static void *write_share(void *member)
{
    struct member *m = member;
    unsigned char key[KEY_MAX], value[VALUE_MAX];
    struct order order = bench_order(m->o->n, m->version);
    wait_for_all(m->crowd);
    m->start = m->end = bench_now();
    for (; m->done < m->most && m->end - m->start < SECONDS; m->done++) {
        uint64_t number = bench_order_at(&order, m->first + m->done);
        bench_key(m->o, number, key);
        bench_value(m->o, number, m->version, value);
        bench_write_one(m->o, m->e, m->s, key, value);
        m->end = bench_now();
    }
    return NULL;
}

static void verify_member(const struct member *m, struct store *s)
{
    unsigned char key[KEY_MAX];
    struct order order = bench_order(m->o->n, m->version);
    m->e->read_begin(s, 0);
    for (uint64_t i = 0; i < m->done; i++) {
        size_t len = 0;
        uint64_t number = bench_order_at(&order, m->first + i);
        bench_key(m->o, number, key);
        const void *value = m->e->get(s, 0, key, &len);
        if (!value || !bench_value_ok(m->o, number, m->version, value, len))
            bench_die("%s: a committed change is not there", m->e->name);
    }
    m->e->read_end(s, 0);
}

static struct crowd *writers_make(const struct options *o, const struct engine *e, uint64_t version)
{
    uint64_t each = (o->commits < o->n ? o->commits : o->n) / WRITERS;
    return crowd_make(o, e, WRITERS, each, each, version);
}

static void verify_writers(const struct crowd *c, struct store *s)
{
    for (int i = 0; i < c->size; i++)
        verify_member(&c->members[i], s);
}

struct measure bench_commit_threads(const struct options *o, const struct engine *e,
                                    const char *path)
{
    struct crowd *c = writers_make(o, e, VERSION_THREADS);
    struct store *s = e->open(o, path, 0);
    by_threads(c, write_share, s);
    verify_writers(c, s);
    e->close(s);
    return crowd_rate(c);
}

/* Verified by a process that comes after them. */
struct measure bench_commit_processes(const struct options *o, const struct engine *e,
                                      const char *path)
{
    if (!e->processes)
        return not_available();
    struct crowd *c = writers_make(o, e, VERSION_PROCESSES);
    by_processes(c, write_share, path);
    struct store *s = e->open(o, path, 0);
    verify_writers(c, s);
    e->close(s);
    return crowd_rate(c);
}
