/* cases_mixed.c - cases that read and write: the CRUD transactions of ioarena, and LevelDB's
 * readwhilewriting. */
#include "cases.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { VERSION_UPDATED = 1, VERSION_WRITING = 9, CRUD_LAZY = 100000 };

static const double SECONDS = 3; /* cases of durable commits stop then, on a slow disk */

/* ---- create, read, update, delete ---- */

struct crud {
    const struct options *o;
    const struct engine *e;
    struct store *s;
    struct order order;
};

/* Each transaction inserts the records at two places of the order, and changes those of the one
 * before: the first is updated, the second deleted. */
static uint64_t first_of(uint64_t transaction)
{
    return 2 * transaction;
}

static uint64_t key_at(const struct crud *c, uint64_t place, unsigned char key[KEY_MAX])
{
    uint64_t number = bench_order_at(&c->order, place);
    bench_key(c->o, number, key);
    return number;
}

static void put_at(const struct crud *c, uint64_t place, uint64_t version)
{
    unsigned char key[KEY_MAX], value[VALUE_MAX];
    bench_value(c->o, key_at(c, place, key), version, value);
    c->e->put(c->s, key, value, c->o->value_len);
}

static void expect_at(const struct crud *c, uint64_t place, uint64_t version)
{
    unsigned char key[KEY_MAX];
    size_t len = 0;
    uint64_t number = key_at(c, place, key);
    const void *value = c->e->get(c->s, 0, key, &len);
    if (!value || !bench_value_ok(c->o, number, version, value, len))
        bench_die("%s: a record is not as it should be", c->e->name);
}

static void expect_none_at(const struct crud *c, uint64_t place)
{
    unsigned char key[KEY_MAX];
    size_t len;
    key_at(c, place, key);
    if (c->e->get(c->s, 0, key, &len))
        bench_die("%s: a deleted record is there", c->e->name);
}

static void transact(const struct crud *c, uint64_t transaction)
{
    uint64_t mine = first_of(transaction);
    c->e->write_begin(c->s);
    put_at(c, mine, 0);
    put_at(c, mine + 1, 0);
    if (transaction > 0) {
        unsigned char key[KEY_MAX];
        uint64_t before = first_of(transaction - 1);
        put_at(c, before, VERSION_UPDATED);
        key_at(c, before + 1, key);
        c->e->del(c->s, key);
    }
    c->e->write_commit(c->s);
    c->e->read_begin(c->s, 0);
    expect_at(c, mine, 0);
    c->e->read_end(c->s, 0);
}

static void verify_crud(const struct crud *c, uint64_t done)
{
    c->e->read_begin(c->s, 0);
    for (uint64_t i = 0; i < done; i++) {
        bool newest = i == done - 1;
        expect_at(c, first_of(i), newest ? 0 : VERSION_UPDATED);
        if (newest)
            expect_at(c, first_of(i) + 1, 0);
        else
            expect_none_at(c, first_of(i) + 1);
    }
    c->e->read_end(c->s, 0);
}

static struct measure crud(const struct options *o, const struct engine *e, const char *path,
                           unsigned flags, uint64_t most)
{
    bench_remove(path);
    struct crud c = {o, e, e->open(o, path, flags), bench_order(o->n, 10)};
    uint64_t done = 0;
    double start = bench_clock(o), took = 0;
    if (most > o->n / 2)
        most = o->n / 2;
    for (; done < most && took < SECONDS; done++) {
        transact(&c, done);
        took = bench_clock(o) - start;
    }
    verify_crud(&c, done);
    e->close(c.s);
    return rate(done, took);
}

struct measure bench_crud(const struct options *o, const struct engine *e, const char *path)
{
    return crud(o, e, path, 0, o->commits);
}

struct measure bench_crud_lazy(const struct options *o, const struct engine *e, const char *path)
{
    return crud(o, e, path, STORE_LAZY, CRUD_LAZY);
}

/* ---- reading while another thread writes ---- */

struct writing {
    const struct options *o;
    const struct engine *e;
    struct store *s;
    _Atomic uint64_t written;
    _Atomic bool stop;
};

static void *write_on(void *context)
{
    struct writing *w = context;
    unsigned char key[KEY_MAX], value[VALUE_MAX];
    struct order order = bench_order(w->o->n, 11);
    for (uint64_t i = 0; !atomic_load(&w->stop); i++) { /* a fast writer begins again */
        uint64_t number = bench_order_at(&order, i % w->o->n);
        bench_key(w->o, number, key);
        bench_value(w->o, number, VERSION_WRITING, value);
        w->e->write_begin(w->s);
        w->e->put(w->s, key, value, w->o->value_len);
        w->e->write_commit(w->s);
        atomic_store(&w->written, i < w->o->n ? i + 1 : w->o->n);
    }
    return NULL;
}

/* Of some version that the cases before left, or of the one being written. */
static bool known_version(const struct options *o, uint64_t number, const void *value, size_t len)
{
    for (uint64_t version = 0; version <= VERSION_WRITING; version++)
        if (bench_value_ok(o, number, version, value, len))
            return true;
    return false;
}

static double read_meanwhile(const struct writing *w, uint64_t count)
{
    unsigned char key[KEY_MAX];
    struct order order = bench_order(w->o->n, 2);
    double start = bench_now();
    for (uint64_t i = 0; i < count; i++) {
        size_t len = 0;
        uint64_t number = bench_order_at(&order, i);
        bench_key(w->o, number, key);
        w->e->read_begin(w->s, 0);
        const void *value = w->e->get(w->s, 0, key, &len);
        if (!value || !known_version(w->o, number, value, len))
            bench_die("%s: a get is wrong", w->e->name);
        w->e->read_end(w->s, 0);
    }
    return bench_now() - start;
}

struct measure bench_get_writing(const struct options *o, const struct engine *e, const char *path)
{
    struct writing w = {.o = o, .e = e, .s = e->open(o, path, STORE_LAZY)};
    pthread_t thread;
    uint64_t count = o->n / 2 + 1;
    if (pthread_create(&thread, NULL, write_on, &w) != 0)
        bench_die("a thread cannot start");
    while (atomic_load(&w.written) == 0) /* else few gets may be over before it begins */
        sched_yield();
    double took = read_meanwhile(&w, count);
    atomic_store(&w.stop, true);
    pthread_join(thread, NULL);
    bench_verify_commits(o, e, w.s, atomic_load(&w.written), 11, VERSION_WRITING);
    e->sync(w.s);
    e->close(w.s);
    return rate(count, took);
}
