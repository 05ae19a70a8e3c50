/* baton.c - see baton.h. */
#include "baton.h"
#include "db.h"
#include "fork.h"
#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#define LIMIT_WHEN_WAITING 12 /* a wait with a limit ends once in so many looks */
#define WAKE_WITHOUT_CAUSE 40 /* as POSIX allows */
#define STOP_ONE_IN        400
#define STOP_STEPS         300

typedef struct baton_actor {
    baton *s;
    baton_process *process;
    baton_work *work;
    void *context;
    pthread_t thread;
    sem_t turn;
    jmp_buf end;
    uint64_t generation; /* of the process whose life it lives */
    const void *waiting; /* for this condition */
    bool done;
} baton_actor;

/* Memory of a process, so that it can be taken away. */
typedef struct baton_block {
    struct baton_block *next, **at;
    size_t size;
    void *reserved; /* address space somewhere else; NULL: the memory lies behind this */
} baton_block;

/* The actor that this thread is. NULL: none, or one that must not be interrupted now. */
static _Thread_local baton_actor *self;

/* ---- memory ---- */

static baton_process *process_of(const kvi_os *os)
{
    return (baton_process *)(uintptr_t)os;
}

static const kvi_os *inner_of(const kvi_os *os)
{
    return sim_os(process_of(os)->s->disk);
}

static void block_link(baton_process *p, baton_block *block)
{
    block->next = p->blocks;
    block->at = &p->blocks;
    if (block->next)
        block->next->at = &block->next;
    p->blocks = block;
}

static void block_unlink(baton_block *block)
{
    *block->at = block->next;
    if (block->next)
        block->next->at = block->at;
}

static baton_block *block_new(baton_process *p, size_t size, size_t room)
{
    baton_block *block = malloc(sizeof *block + room);
    if (!block)
        sim_die("out of memory");
    *block = (baton_block){.size = size};
    block_link(p, block);
    return block;
}

static void *memory_of(baton_block *block)
{
    return block + 1;
}

static void *call_alloc(const kvi_os *os, size_t size)
{
    return memory_of(block_new(process_of(os), size, size));
}

static void call_free(const kvi_os *os, void *ptr)
{
    (void)os;
    if (!ptr)
        return;
    baton_block *block = (baton_block *)ptr - 1;
    block_unlink(block);
    free(block);
}

static void *call_realloc(const kvi_os *os, void *ptr, size_t size)
{
    if (!ptr)
        return call_alloc(os, size);
    baton_block *block = (baton_block *)ptr - 1;
    block_unlink(block);
    block = realloc(block, sizeof *block + size);
    if (!block)
        sim_die("out of memory");
    block->size = size;
    block_link(process_of(os), block);
    return memory_of(block);
}

static void *call_reserve(const kvi_os *os, size_t size)
{
    void *ptr = inner_of(os)->reserve(inner_of(os), size);
    if (ptr)
        block_new(process_of(os), size, 0)->reserved = ptr;
    return ptr;
}

static void call_release(const kvi_os *os, void *ptr, size_t size)
{
    baton_block *block = process_of(os)->blocks;
    while (block && block->reserved != ptr)
        block = block->next;
    if (!block)
        sim_die("what is released was not reserved");
    block_unlink(block);
    free(block);
    inner_of(os)->release(inner_of(os), ptr, size);
}

/* ---- death ---- */

static void memory_take(baton_process *p)
{
    for (baton_block *b = p->blocks, *next; b; b = next) { /* fork.c lists open handles */
        next = b->next;
        if (!b->reserved && b->size == sizeof(kv_db) && ((kv_db *)memory_of(b))->alive) {
            kvi_fork_forget(memory_of(b));
            next = p->blocks; /* that took a block away */
        }
    }
    while (p->blocks) {
        baton_block *b = p->blocks;
        block_unlink(b);
        if (b->reserved)
            inner_of(&p->os)->release(inner_of(&p->os), b->reserved, b->size);
        free(b);
    }
}

static void process_begin(baton_process *p)
{
    p->number = ++p->s->lives;
    p->generation++;
}

static void process_kill(baton_process *p)
{
    baton *s = p->s;
    baton_actor *me = self;
    self = NULL; /* nobody else runs in here */
    s->kills++;
    if (s->killed)
        s->killed(s->context, p);
    sim_kill_process(s->disk, p->number);
    memory_take(p);
    process_begin(p);
    for (unsigned i = 0; i < s->n_actors; i++)
        if (s->actors[i]->process == p)
            s->actors[i]->waiting = NULL;
    self = me;
}

/* ---- the baton ---- */

static bool may_run(const baton *s, const baton_actor *a)
{
    return !a->done && (int)a->process->index != s->stopped;
}

static baton_actor *choose(baton *s, baton_actor *me, bool idle)
{
    if (!idle && may_run(s, me) && !rng_one_in(&s->r, s->sticky))
        return me;
    unsigned n = 0;
    baton_actor *able[BATON_ACTORS];
    for (unsigned i = 0; i < s->n_actors; i++)
        if (may_run(s, s->actors[i]))
            able[n++] = s->actors[i];
    if (n > 0)
        return able[rng_below(&s->r, n)];
    s->stopped = -1;
    for (unsigned i = 0; i < s->n_actors; i++)
        if (!s->actors[i]->done)
            return s->actors[i];
    return NULL;
}

static void hand_to(baton *s, baton_actor *next)
{
    s->switches++;
    sim_process(s->disk, next->process->number);
    sem_post(&next->turn);
}

static void baton_wait(baton_actor *me)
{
    while (sem_wait(&me->turn) != 0)
        continue;
    sim_process(me->s->disk, me->process->number);
}

/* Whose process was killed meanwhile never comes back. */
static void step(baton_actor *me, bool idle)
{
    baton *s = me->s;
    if (++s->steps > s->steps_max) {
        fprintf(stderr, "scheduler: no end after %llu calls\n", (unsigned long long)s->steps);
        abort();
    }
    if (s->stopped >= 0 && s->steps >= s->stopped_until)
        s->stopped = -1;
    if (s->stopped < 0 && rng_one_in(&s->r, STOP_ONE_IN)) {
        s->stopped = (int)rng_below(&s->r, s->n_processes);
        s->stopped_until = s->steps + rng_below(&s->r, STOP_STEPS);
    }
    if (s->kill_one_in && rng_one_in(&s->r, s->kill_one_in))
        process_kill(&s->processes[rng_below(&s->r, s->n_processes)]);
    if (me->generation == me->process->generation) {
        baton_actor *next = choose(s, me, idle);
        if (next != me) {
            hand_to(s, next);
            baton_wait(me);
        }
    }
    if (me->generation != me->process->generation)
        longjmp(me->end, 1);
}

void baton_pause(bool idle)
{
    if (self)
        step(self, idle);
}

/* ---- calls ---- */

static const kvi_os *before(const kvi_os *os)
{
    baton_pause(false);
    return inner_of(os);
}

/* Killed behind a call: what follows it in memory only does not happen. */
static int64_t behind(const kvi_os *os, int64_t result)
{
    baton_pause(false);
    return result;
}

#define CALL(name, result, parameters, arguments)                                                  \
    static result call_##name parameters                                                           \
    {                                                                                              \
        const kvi_os *in = before(os);                                                             \
        return (result)behind(os, in->name arguments);                                             \
    }

CALL(close, int, (const kvi_os *os, int fd), (in, fd))
CALL(pread, int64_t, (const kvi_os *os, int fd, void *buf, size_t len, uint64_t off),
     (in, fd, buf, len, off))
CALL(pwritev, int64_t, (const kvi_os *os, int fd, const struct iovec *iov, int n, uint64_t off),
     (in, fd, iov, n, off))
CALL(write, int64_t, (const kvi_os *os, int fd, const void *buf, size_t len), (in, fd, buf, len))
CALL(sync, int, (const kvi_os *os, int fd), (in, fd))
CALL(truncate, int, (const kvi_os *os, int fd, uint64_t size), (in, fd, size))
CALL(stat, int, (const kvi_os *os, int fd, kvi_os_stat *stat), (in, fd, stat))
CALL(stat_path, int, (const kvi_os *os, const char *path, kvi_os_stat *stat), (in, path, stat))
CALL(permit, int, (const kvi_os *os, int fd, const kvi_os_stat *like), (in, fd, like))
CALL(link, int, (const kvi_os *os, const char *from, const char *to), (in, from, to))
CALL(rename, int, (const kvi_os *os, const char *from, const char *to), (in, from, to))
CALL(unlink, int, (const kvi_os *os, const char *path), (in, path))
CALL(sync_dir, int, (const kvi_os *os, const char *path), (in, path))
CALL(resolve, int, (const kvi_os *os, const char *path, char *out, size_t size),
     (in, path, out, size))
CALL(shareable, int, (const kvi_os *os, int fd), (in, fd))
CALL(lock, int, (const kvi_os *os, int fd, int kind, uint64_t off, uint64_t len),
     (in, fd, kind, off, len))
CALL(lock_probe, int,
     (const kvi_os *os, int fd, uint64_t off, uint64_t len, uint64_t *held_off, uint64_t *held_len),
     (in, fd, off, len, held_off, held_len))
CALL(map, int, (const kvi_os *os, int fd, size_t len, const uint8_t **ptr), (in, fd, len, ptr))
CALL(map_shared, int, (const kvi_os *os, int fd, size_t len, void **ptr), (in, fd, len, ptr))

static int call_open(const kvi_os *os, const char *path, int flags, uint32_t mode)
{
    const kvi_os *in = before(os);
    if (process_of(os)->guest && flags & (KVI_OS_WRITE | KVI_OS_CREATE))
        return -EACCES;
    return (int)behind(os, in->open(in, path, flags, mode));
}

static int call_lock_wait(const kvi_os *os, int fd, int kind, uint64_t off, uint64_t len)
{
    const kvi_os *in = before(os);
    int rc;
    while ((rc = in->lock(in, fd, kind, off, len)) == -EAGAIN)
        baton_pause(true);
    return (int)behind(os, rc);
}

static void call_sleep_us(const kvi_os *os, uint32_t us)
{
    inner_of(os)->sleep_us(inner_of(os), us);
    baton_pause(true);
}

/* Somebody else goes on; whether that wakes us does not matter, since a sleeper may wake for no reason. */
static void call_word_wait(const kvi_os *os, _Atomic uint32_t *word, uint32_t expected, uint64_t ns)
{
    if (atomic_load(word) == expected)
        inner_of(os)->sleep_us(inner_of(os), (uint32_t)KVI_MIN(ns / 1000, 1000));
    baton_pause(true);
}

static void call_word_wake(const kvi_os *os, _Atomic uint32_t *word)
{
    const kvi_os *in = before(os);
    in->word_wake(in, word);
    behind(os, 0);
}

/* Looks at memory happen between these. */
static uint64_t call_clock_ms(const kvi_os *os)
{
    const kvi_os *in = before(os);
    return in->clock_ms(in);
}

static uint64_t call_tick_ms(const kvi_os *os)
{
    const kvi_os *in = before(os);
    return in->tick_ms(in);
}

static uint64_t call_mono_ns(const kvi_os *os)
{
    const kvi_os *in = before(os);
    return in->mono_ns(in);
}

static int call_random(const kvi_os *os, void *buf, size_t len)
{
    return inner_of(os)->random(inner_of(os), buf, len);
}

static int call_boot_id(const kvi_os *os, uint8_t id[16])
{
    return inner_of(os)->boot_id(inner_of(os), id);
}

static uint64_t call_process_id(const kvi_os *os)
{
    return process_of(os)->number;
}

/* ---- threads of one process that wait for each other ---- */

int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __real_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __real_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                  const struct timespec *deadline);
int __real_pthread_cond_signal(pthread_cond_t *cond);

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                  const struct timespec *deadline);
int __wrap_pthread_cond_signal(pthread_cond_t *cond);

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    if (!self)
        return __real_pthread_mutex_lock(mutex);
    while (pthread_mutex_trylock(mutex) == EBUSY)
        step(self, true);
    return 0;
}

static int cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, unsigned limit)
{
    baton_actor *me = self;
    int rc = 0;
    me->waiting = cond;
    pthread_mutex_unlock(mutex);
    while (me->waiting) {
        step(me, true);
        if (limit && rng_one_in(&me->s->r, limit)) {
            rc = me->waiting ? ETIMEDOUT : 0;
            me->waiting = NULL;
        } else if (rng_one_in(&me->s->r, WAKE_WITHOUT_CAUSE)) {
            me->waiting = NULL;
        }
    }
    __wrap_pthread_mutex_lock(mutex);
    return rc;
}

int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    return self ? cond_wait(cond, mutex, 0) : __real_pthread_cond_wait(cond, mutex);
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                  const struct timespec *deadline)
{
    return self ? cond_wait(cond, mutex, LIMIT_WHEN_WAITING)
                : __real_pthread_cond_timedwait(cond, mutex, deadline);
}

int __wrap_pthread_cond_signal(pthread_cond_t *cond)
{
    if (!self)
        return __real_pthread_cond_signal(cond);
    baton *s = self->s;
    unsigned first = (unsigned)rng_below(&s->r, s->n_actors);
    for (unsigned i = 0; i < s->n_actors; i++) {
        baton_actor *a = s->actors[(first + i) % s->n_actors];
        if (a->waiting == cond) {
            a->waiting = NULL;
            break;
        }
    }
    return 0;
}

/* ---- running ---- */

void baton_init(baton *s, sim_disk *disk, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    s->disk = disk;
    s->stopped = -1;
    s->sticky = 2;
    s->steps_max = UINT64_MAX;
    rng_seed(&s->r, seed);
}

baton_process *baton_process_add(baton *s)
{
    baton_process *p = &s->processes[s->n_processes];
    *p = (baton_process){.os = *sim_os(s->disk), .s = s, .index = s->n_processes++};
    kvi_os *os = &p->os;
    os->open = call_open;
    os->close = call_close;
    os->pread = call_pread;
    os->pwritev = call_pwritev;
    os->write = call_write;
    os->sync = call_sync;
    os->truncate = call_truncate;
    os->stat = call_stat;
    os->stat_path = call_stat_path;
    os->permit = call_permit;
    os->link = call_link;
    os->rename = call_rename;
    os->unlink = call_unlink;
    os->sync_dir = call_sync_dir;
    os->resolve = call_resolve;
    os->shareable = call_shareable;
    os->lock = call_lock;
    os->lock_wait = call_lock_wait;
    os->lock_probe = call_lock_probe;
    os->map = call_map;
    os->map_shared = call_map_shared;
    os->alloc = call_alloc;
    os->realloc = call_realloc;
    os->free = call_free;
    os->reserve = call_reserve;
    os->release = call_release;
    os->clock_ms = call_clock_ms;
    os->tick_ms = call_tick_ms;
    os->mono_ns = call_mono_ns;
    os->sleep_us = call_sleep_us;
    os->word_wait = call_word_wait;
    os->word_wake = call_word_wake;
    os->random = call_random;
    os->boot_id = call_boot_id;
    os->process_id = call_process_id;
    process_begin(p);
    return p;
}

void baton_actor_add(baton *s, baton_process *process, baton_work *work, void *context)
{
    baton_actor *a = calloc(1, sizeof *a);
    if (!a)
        sim_die("out of memory");
    a->s = s;
    a->process = process;
    a->work = work;
    a->context = context;
    sem_init(&a->turn, 0, 0);
    s->actors[s->n_actors++] = a;
}

static sem_t all_done;

static void *actor_thread(void *context)
{
    baton_actor *me = context;
    baton *s = me->s;
    baton_wait(me);
    (void)setjmp(me->end);
    self = me;
    me->generation = me->process->generation;
    sim_process(s->disk, me->process->number);
    me->work(me->context, me->process);
    self = NULL;
    me->done = true;
    baton_actor *next = choose(s, me, true);
    if (next)
        hand_to(s, next);
    else
        sem_post(&all_done);
    return NULL;
}

void baton_run(baton *s)
{
    sem_init(&all_done, 0, 0);
    for (unsigned i = 0; i < s->n_actors; i++)
        if (pthread_create(&s->actors[i]->thread, NULL, actor_thread, s->actors[i]) != 0)
            sim_die("no thread");
    hand_to(s, s->actors[rng_below(&s->r, s->n_actors)]);
    while (sem_wait(&all_done) != 0)
        continue;
    for (unsigned i = 0; i < s->n_actors; i++) {
        pthread_join(s->actors[i]->thread, NULL);
        sem_destroy(&s->actors[i]->turn);
        free(s->actors[i]);
    }
    s->n_actors = 0;
    sim_process(s->disk, 1);
}
