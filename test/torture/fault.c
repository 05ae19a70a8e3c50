/* fault.c - an engine with a fault built in: each of them is one that the driver must notice. */
#include "torture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>

enum { DESCRIPTORS = 64 }; /* more than a worker has */

static const struct engine *sound;
static struct engine faulty;

static bool now_and_then(unsigned n)
{
    static rng dice;
    static bool seeded;
    if (!seeded)
        rng_seed(&dice, board->seed ^ torture_now());
    seeded = true;
    return rng_one_in(&dice, n);
}

/* ---- drop: a commit is acknowledged, but does not happen ---- */

static enum result commit_drop(void *view)
{
    if (!now_and_then(100))
        return sound->commit(view);
    sound->abort(view);
    return DONE;
}

/* ---- undead: an aborted transaction happens ---- */

static void abort_undead(void *view)
{
    if (sound->commit(view) != DONE)
        abort();
}

/* ---- torn: a value is read as it never was ---- */

struct twist {
    visit *fn;
    void *context;
    unsigned left; /* entries until it is twisted */
};

static void twist_entry(void *context, struct bytes key, struct bytes value)
{
    struct twist *t = context;
    if (t->left-- != 0 || value.len == 0 || value.len > 200) {
        t->fn(t->context, key, value);
        return;
    }
    unsigned char copy[200];
    memcpy(copy, value.ptr, value.len);
    copy[value.len / 2] ^= 1;
    t->fn(t->context, key, (struct bytes){copy, value.len});
}

static enum result scan_torn(void *view, visit *fn, void *context)
{
    struct twist t = {fn, context, 10};
    return now_and_then(50) ? sound->scan(view, twist_entry, &t) : sound->scan(view, fn, context);
}

/* ---- moving: a snapshot moves on under its reader ---- */

static enum result scan_moving(void *view, visit *fn, void *context)
{
    if (now_and_then(10))
        (void)sound->refresh(view); /* fails in a write transaction, which does no harm */
    return sound->scan(view, fn, context);
}

/* ---- stale: refreshing stays where it was ---- */

static enum result refresh_stale(void *view)
{
    (void)view;
    return DONE;
}

/* ---- slow, hang: waiting for nobody ---- */

static enum result begin_slow(void *store, enum access access, uint64_t dice, void **view)
{
    if (now_and_then(100))
        torture_nap(400 * MS);
    return sound->begin(store, access, dice, view);
}

static enum result begin_hang(void *store, enum access access, uint64_t dice, void **view)
{
    while (now_and_then(300))
        pause();
    return sound->begin(store, access, dice, view);
}

/* ---- grave: the lock of a writer that was killed is free only after a while ---- */

static void *grave_writer; /* the view of this process that writes */

static enum result begin_grave(void *store, enum access access, uint64_t dice, void **view)
{
    enum result result = sound->begin(store, access, dice, view);
    if (access == ACCESS_READ || result != DONE)
        return result;
    if (atomic_exchange(&board->fault_word, 1) != 0)
        torture_nap(300 * MS);
    grave_writer = *view;
    return DONE;
}

static enum result commit_grave(void *view)
{
    atomic_store(&board->fault_word, 0);
    return sound->commit(view);
}

static void abort_grave(void *view)
{
    if (view == grave_writer)
        atomic_store(&board->fault_word, 0);
    sound->abort(view);
}

/* ---- two: a writer that did not wait for its turn ---- */

static enum result begin_two(void *store, enum access access, uint64_t dice, void **view)
{
    if (access == ACCESS_WRITE && now_and_then(20))
        access = ACCESS_READ;
    return sound->begin(store, access, dice, view);
}

static enum result put_two(void *view, struct bytes key, struct bytes value)
{
    (void)sound->put(view, key, value);
    return DONE;
}

static enum result put_for_two(void *view, struct bytes key, struct bytes value, uint64_t ttl_ms)
{
    (void)sound->put_for(view, key, value, ttl_ms);
    return DONE;
}

static enum result expire_two(void *view, struct bytes key, uint64_t ttl_ms)
{
    (void)sound->expire(view, key, ttl_ms);
    return DONE;
}

static enum result del_two(void *view, struct bytes key)
{
    (void)sound->del(view, key);
    return DONE;
}

/* ---- blind, apart: a batch does not look whether it comes too late, or is two commits ---- */

static enum result write_blind(void *store, const struct batch *batch, uint64_t dice)
{
    static struct batch blind;
    blind = *batch;
    blind.only_if.ptr = NULL;
    return sound->write(store, &blind, dice);
}

static enum result write_apart(void *store, const struct batch *batch, uint64_t dice)
{
    static struct batch part;
    part = *batch;
    part.n = batch->n / 2;
    enum result result = sound->write(store, &part, dice);
    if (result != DONE)
        return result;
    part = *batch;
    part.n -= batch->n / 2;
    memmove(part.changes, part.changes + batch->n / 2, part.n * sizeof *part.changes);
    return write_blind(store, &part, dice);
}

/* ---- crash, left, deaf ---- */

static enum result commit_crash(void *view)
{
    if (now_and_then(200))
        __builtin_trap(); /* pid 1 of a namespace ignores what it raises */
    return sound->commit(view);
}

static enum result close_left(void *store)
{
    char side[sizeof board->path + 16];
    enum result result = sound->close(store);
    snprintf(side, sizeof side, "%s%s", board->path, sound->side ? sound->side : "-left");
    close(open(side, O_WRONLY | O_CREAT, 0644));
    return result;
}

static enum result newer_deaf(void *view, uint32_t ms)
{
    (void)view;
    (void)ms;
    return ABSENT;
}

/* ---- orphan, heir: a child is told something else, or gives up what is its parent's ---- */

static pid_t opener; /* the process whose handles these are */

static enum result open_own(const char *path, bool guest, uint64_t dice, void **store)
{
    opener = getpid();
    return sound->open(path, guest, dice, store);
}

static enum result begin_orphan(void *store, enum access access, uint64_t dice, void **view)
{
    enum result result = sound->begin(store, access, dice, view);
    return result == FORKED ? BUSY : result;
}

static enum result close_heir(void *store)
{
    struct flock all = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    for (int fd = 3; opener != getpid() && fd < DESCRIPTORS; fd++)
        fcntl(fd, F_OFD_SETLK, &all);
    return sound->close(store);
}

/* ---- lasting, hasty, backward: an entry does not expire, or too early; the clock is believed ---- */

static enum result put_for_lasting(void *view, struct bytes key, struct bytes value,
                                   uint64_t ttl_ms)
{
    return now_and_then(10) ? sound->put(view, key, value)
                            : sound->put_for(view, key, value, ttl_ms);
}

static enum result expire_hasty(void *view, struct bytes key, uint64_t ttl_ms)
{
    return sound->expire(view, key, ttl_ms / 2);
}

static uint64_t now_backward(void *view, uint64_t *said)
{
    uint64_t now = sound->now(view, said);
    return *said < now ? *said : now;
}

static const struct fault {
    const char *name;
    struct engine with;
} faults[] = {
    {"drop", {.commit = commit_drop}},
    {"undead", {.abort = abort_undead}},
    {"torn", {.scan = scan_torn}},
    {"moving", {.scan = scan_moving}},
    {"stale", {.refresh = refresh_stale}},
    {"slow", {.begin = begin_slow}},
    {"hang", {.begin = begin_hang}},
    {"grave", {.begin = begin_grave, .commit = commit_grave, .abort = abort_grave}},
    {"two",
     {.begin = begin_two,
      .put = put_two,
      .put_for = put_for_two,
      .expire = expire_two,
      .del = del_two}},
    {"blind", {.write = write_blind}},
    {"apart", {.write = write_apart}},
    {"crash", {.commit = commit_crash}},
    {"left", {.close = close_left}},
    {"deaf", {.newer = newer_deaf}},
    {"lasting", {.put_for = put_for_lasting}},
    {"hasty", {.expire = expire_hasty}},
    {"backward", {.now = now_backward}},
    {"orphan", {.begin = begin_orphan}},
    {"heir", {.open = open_own, .close = close_heir}},
};

enum { FAULTS = sizeof faults / sizeof *faults };

const char *torture_faults(void)
{
    static char names[200];
    if (!names[0])
        for (size_t i = 0; i < FAULTS; i++) {
            strcat(names, i ? " " : "");
            strcat(names, faults[i].name);
        }
    return names;
}

const struct engine *torture_fault(const struct engine *engine, const char *fault)
{
    size_t i = 0;
    while (i < FAULTS && strcmp(faults[i].name, fault) != 0)
        i++;
    if (i == FAULTS)
        return NULL;
    const struct engine *with = &faults[i].with;
    sound = engine;
    faulty = *engine;
    if (with->open)
        faulty.open = with->open;
    if (with->commit)
        faulty.commit = with->commit;
    if (with->abort)
        faulty.abort = with->abort;
    if (with->write)
        faulty.write = with->write;
    if (with->scan)
        faulty.scan = with->scan;
    if (with->refresh)
        faulty.refresh = with->refresh;
    if (with->newer)
        faulty.newer = with->newer;
    if (with->begin)
        faulty.begin = with->begin;
    if (with->put)
        faulty.put = with->put;
    if (with->del)
        faulty.del = with->del;
    if (with->put_for)
        faulty.put_for = with->put_for;
    if (with->expire)
        faulty.expire = with->expire;
    if (with->now)
        faulty.now = with->now;
    if (with->close)
        faulty.close = with->close;
    return &faulty;
}
