/* worker.c - a process that works on the database until it is killed or told to leave. */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { NOTICE_MS = 5, OTHER_LAYOUT = 3 };

/* ---- what the board knows of us ---- */

void torture_enter(struct worker *w, enum phase phase)
{
    atomic_store(&w->place->since, torture_now());
    atomic_store(&w->place->phase, phase);
}

static bool goes_on(void)
{
    return !atomic_load(&board->leave) && !atomic_load(&board->damaged);
}

struct wait {
    uint64_t begin, queued;
};

static struct wait wait_begin(struct worker *w, enum phase phase)
{
    struct wait wait = {.queued = torture_queued(w->schedstat)};
    atomic_store(&w->place->queued, wait.queued);
    torture_enter(w, phase);
    wait.begin = torture_now();
    return wait;
}

static void wait_end(struct worker *w, enum phase phase, struct wait wait, uint64_t end)
{
    torture_raise(&board->worst[phase], end - wait.begin);
    if (end - wait.begin < NOTICE_MS * MS)
        return;
    uint64_t queued = torture_queued(w->schedstat) - wait.queued;
    uint64_t blame = torture_blame(w->engine, w->me, phase, wait.begin, end, queued);
    torture_raise(&board->worst_blame[phase], blame);
    if (blame > WAIT_LIMIT_MS * MS)
        torture_violation(WAITED, w->me, "%s took %llu ms, of which nothing explains %llu ms",
                          torture_phase_name(phase), (unsigned long long)((end - wait.begin) / MS),
                          (unsigned long long)(blame / MS));
}

/* A transaction that has begun and is not yet being committed has the lock, of that much each is
 * sure. Looked at twice: while we look, the place of one that was killed may go to another one. */
static void look_for_writers(struct worker *w)
{
    for (uint32_t i = 0; i < board->workers; i++)
        if (i != w->me && atomic_load(&board->place[i].phase) == PHASE_WRITE &&
            atomic_load(&board->place[i].life) == LIFE_LIVE &&
            atomic_load(&board->place[i].phase) == PHASE_WRITE)
            torture_violation(TWO, w->me, "two writers at once");
}

/* ---- handles ---- */

static void failed(struct worker *w, const char *what)
{
    torture_violation(ERROR, w->me, "%s: %s", what, w->engine->why());
    torture_nap(rng_between(&w->dice, 1, 5) * MS);
}

static void open_handle(struct worker *w)
{
    bool made = !torture_guest || access(board->path, F_OK) == 0; /* guests do not make the file */
    struct wait wait = wait_begin(w, PHASE_OPEN);
    enum result result = w->engine->open(board->path, torture_guest, rng_next(&w->dice),
                                         &w->has.store[w->has.handles]);
    uint64_t end = torture_now();
    torture_enter(w, PHASE_IDLE);
    wait_end(w, PHASE_OPEN, wait, end);
    if (result == DONE) {
        w->has.handles++;
        torture_add(COUNT_OPENS);
    } else if (made) {
        failed(w, "open");
    } else {
        torture_nap(MS);
    }
}

static void close_handle(struct worker *w)
{
    struct wait wait = wait_begin(w, PHASE_CLOSE);
    enum result result = w->engine->close(w->has.store[--w->has.handles]);
    uint64_t end = torture_now();
    torture_enter(w, PHASE_IDLE);
    wait_end(w, PHASE_CLOSE, wait, end);
    if (result != DONE)
        failed(w, "close");
}

static void close_handles(struct worker *w)
{
    while (w->has.handles > 0)
        close_handle(w);
}

static bool side_file_exists(const struct worker *w)
{
    char side[sizeof board->path + 16];
    snprintf(side, sizeof side, "%s%s", board->path, w->engine->side);
    return access(side, F_OK) == 0;
}

static void *some_store(struct worker *w)
{
    return w->has.store[rng_below(&w->dice, (uint64_t)w->has.handles)];
}

/* ---- reading ---- */

static void *begin_read(struct worker *w, void *store, struct bounds *bounds)
{
    void *view = NULL;
    torture_bounds(bounds, torture_guest);
    struct wait wait = wait_begin(w, PHASE_BEGIN_READ);
    enum result result = w->engine->begin(store, ACCESS_READ, rng_next(&w->dice), &view);
    uint64_t end = torture_now();
    torture_enter(w, PHASE_READ);
    wait_end(w, PHASE_BEGIN_READ, wait, end);
    if (result == DONE)
        return w->has.reader = view;
    failed(w, "begin to read");
    return NULL;
}

static void end_read(struct worker *w)
{
    w->engine->abort(w->has.reader);
    w->has.reader = NULL;
    torture_enter(w, PHASE_IDLE);
}

static bool refresh(struct worker *w, void *view, struct bounds *bounds)
{
    torture_bounds(bounds, torture_guest);
    struct wait wait = wait_begin(w, PHASE_BEGIN_READ);
    enum result result = w->engine->refresh(view);
    uint64_t end = torture_now();
    torture_enter(w, PHASE_READ);
    wait_end(w, PHASE_BEGIN_READ, wait, end);
    if (result != DONE) {
        failed(w, "refresh");
        return false;
    }
    torture_add(COUNT_REFRESHES);
    return true;
}

static bool verify(struct worker *w, void *view, const struct bounds *bounds,
                   struct reading *reading)
{
    if (torture_guest)
        torture_add(COUNT_GUESTS);
    return torture_verify(w->engine, view, w->me, bounds, reading);
}

/* Reads the snapshot again after a while: it must be what it was. */
static bool verify_again(struct worker *w, void *view, const struct bounds *bounds,
                         const struct reading *before)
{
    struct reading reading;
    torture_have_child(w);
    torture_nap(rng_below(&w->dice, rng_one_in(&w->dice, 8) ? 60 * MS : 6 * MS));
    if (!verify(w, view, bounds, &reading))
        return false;
    if (reading.hash == before->hash && reading.total == before->total &&
        reading.now == before->now)
        return true;
    torture_violation(CHANGED, w->me,
                      "a snapshot of total %llu at %llu had total %llu at %llu later",
                      (unsigned long long)before->total, (unsigned long long)before->now,
                      (unsigned long long)reading.total, (unsigned long long)reading.now);
    return false;
}

/* Sleeps until somebody commits. What was acknowledged before is in the snapshot, or newer. */
static bool wait_for_newer(struct worker *w, void *view, struct bounds *bounds,
                           struct reading *reading)
{
    struct bounds before;
    torture_bounds(&before, torture_guest);
    enum result result = w->engine->newer(view, (uint32_t)rng_below(&w->dice, 20));
    torture_add(COUNT_WAITS);
    if (result == FAILED)
        failed(w, "wait for a commit");
    for (uint32_t i = 0; result == ABSENT && i < board->workers; i++)
        if (reading->counter[i] < before.least[i]) {
            torture_violation(LOST, w->me, "commit %llu of %u was not reported to who waits",
                              (unsigned long long)before.least[i], i);
            return false;
        }
    return result == ABSENT ||
           (result == DONE && refresh(w, view, bounds) && verify(w, view, bounds, reading));
}

static void read_some(struct worker *w)
{
    struct bounds bounds;
    struct reading reading;
    void *view = begin_read(w, some_store(w), &bounds);
    if (!view)
        return;
    bool good = verify(w, view, &bounds, &reading);
    while (good && goes_on() && rng_below(&w->dice, 4) > 0) {
        if (w->engine->newer && rng_one_in(&w->dice, 3))
            good = wait_for_newer(w, view, &bounds, &reading);
        else if (rng_one_in(&w->dice, 3))
            good = refresh(w, view, &bounds) && verify(w, view, &bounds, &reading);
        else
            good = verify_again(w, view, &bounds, &reading);
    }
    end_read(w);
}

/* ---- writing ---- */

static void end_write(struct worker *w)
{
    w->has.writer = NULL;
    torture_raise(&board->hold_end, torture_now());
    torture_enter(w, PHASE_IDLE);
}

static void abort_write(struct worker *w, void *view)
{
    torture_enter(w, PHASE_COMMIT); /* somewhere in it the next writer gets its turn */
    w->engine->abort(view);
    end_write(w);
}

static void *begin_write(struct worker *w, void *store)
{
    void *view = NULL;
    struct wait wait = wait_begin(w, PHASE_BEGIN_WRITE);
    enum result result = w->engine->begin(store, ACCESS_WRITE, rng_next(&w->dice), &view);
    uint64_t end = torture_now();
    wait_end(w, PHASE_BEGIN_WRITE, wait, end);
    if (result != DONE) {
        torture_enter(w, PHASE_IDLE);
        failed(w, "begin to write");
        return NULL;
    }
    torture_enter(w, PHASE_WRITE);
    look_for_writers(w);
    return w->has.writer = view;
}

static bool commit(struct worker *w, void *view, uint64_t count)
{
    uint64_t said, now = w->engine->now ? w->engine->now(view, &said) : 0;
    atomic_store(&w->place->intent, count);
    torture_enter(w, PHASE_COMMIT);
    enum result result = w->engine->commit(view);
    if (result == DONE) {
        atomic_store(&w->place->acked, count);
        torture_raise(&board->clock, now);
    }
    end_write(w);
    if (result == DONE)
        torture_add(COUNT_COMMITS);
    else
        failed(w, "commit");
    return result == DONE;
}

/* While we write through one handle, another one of this process must not. */
static void try_to_write(struct worker *w, void *other)
{
    void *view;
    enum result result = w->engine->begin(other, ACCESS_TRY, 0, &view);
    torture_add(COUNT_TRIES);
    if (result == BUSY)
        return;
    if (result != DONE) {
        failed(w, "try to write");
        return;
    }
    torture_violation(TWO, w->me, "two writers at once in one process");
    w->engine->abort(view);
}

static bool write_once(struct worker *w, int handle)
{
    struct bounds bounds;
    struct reading reading;
    uint64_t count;
    void *view = begin_write(w, w->has.store[handle]);
    if (!view)
        return false;
    torture_bounds(&bounds, true);
    if (rng_one_in(&w->dice, 6) && !torture_verify(w->engine, view, w->me, &bounds, &reading)) {
        abort_write(w, view);
        return false;
    }
    if (w->has.handles > 1 && rng_one_in(&w->dice, 4))
        try_to_write(w, w->has.store[(handle + 1) % w->has.handles]);
    torture_have_child(w);
    enum result result = torture_change(w->engine, view, w->me, &w->dice, &count);
    torture_have_child(w);
    if (result == DONE && !rng_one_in(&w->dice, 16))
        return commit(w, view, count);
    abort_write(w, view);
    torture_add(COUNT_ABORTS);
    if (result != DONE)
        torture_violation(UNREAD, w->me, "change: %s", w->engine->why());
    return result == DONE;
}

static bool commit_batch(struct worker *w, void *store, const struct batch *batch)
{
    torture_raise(&w->place->intent, batch->count); /* a child in our place may have gone on */
    torture_enter(w, PHASE_COMMIT);
    enum result result = w->engine->write(store, batch, rng_next(&w->dice));
    if (result == DONE)
        atomic_store(&w->place->acked, batch->count);
    torture_raise(&board->hold_end, torture_now());
    torture_enter(w, PHASE_READ);
    if (result == DONE)
        torture_add(COUNT_BATCHES);
    else if (result == BUSY)
        torture_add(COUNT_OVERTAKEN);
    else
        failed(w, "write a batch");
    return result == DONE || result == BUSY;
}

/* Without a transaction of its own: others may commit meanwhile. */
static bool write_batch(struct worker *w, void *store)
{
    static struct batch batch;
    struct bounds bounds;
    void *view = begin_read(w, store, &bounds);
    if (!view)
        return false;
    enum result result = torture_batch_make(w->engine, view, w->me, &w->dice, &batch);
    torture_have_child(w);
    bool good = result == DONE && commit_batch(w, store, &batch);
    if (result != DONE)
        torture_violation(UNREAD, w->me, "batch: %s", w->engine->why());
    torture_batch_free(&batch);
    end_read(w);
    return good;
}

/* Some commits, now and then with a snapshot held through another or the same handle. */
static void write_some(struct worker *w)
{
    struct bounds bounds;
    struct reading reading;
    void *view = NULL;
    if (rng_one_in(&w->dice, 3))
        view = begin_read(w, some_store(w), &bounds);
    bool good = !view || verify(w, view, &bounds, &reading);
    int handle = (int)rng_below(&w->dice, (uint64_t)w->has.handles);
    for (uint64_t n = rng_between(&w->dice, 1, 12); n > 0 && good && goes_on(); n--) {
        good = w->engine->write && !view && rng_one_in(&w->dice, 4)
                   ? write_batch(w, w->has.store[handle])
                   : write_once(w, handle);
        if (rng_one_in(&w->dice, 2))
            torture_nap(rng_below(&w->dice, 2 * MS));
    }
    if (view) {
        if (good)
            verify_again(w, view, &bounds, &reading);
        end_read(w);
    }
    torture_enter(w, PHASE_IDLE);
}

/* ---- coming and going ---- */

static void go_and_come(struct worker *w)
{
    bool often = atomic_load(&board->mode) == MODE_DOOR;
    close_handles(w);
    if (w->engine->side && !side_file_exists(w))
        torture_add(COUNT_EMPTY);
    torture_nap(rng_below(&w->dice, often ? 15 * MS : 3 * MS));
    open_handle(w);
    if (w->has.handles > 0 && !torture_guest && rng_one_in(&w->dice, 3))
        write_once(w, 0);
    if (w->has.handles > 0 && rng_one_in(&w->dice, 3))
        read_some(w);
    if (often)
        close_handles(w);
}

static void more_or_fewer_handles(struct worker *w)
{
    if (w->has.handles > 1 && rng_one_in(&w->dice, 2))
        close_handle(w);
    else if (w->engine->many_handles && w->has.handles < HANDLES_MAX)
        open_handle(w);
}

/* Parts of each mode's time, of 16: going, handles, writing; the rest is reading. */
static const unsigned char parts[MODES][3] = {
    [MODE_MIXED] = {2, 2, 6},
    [MODE_DOOR] = {16, 0, 0},
    [MODE_WRITE] = {1, 1, 14},
    [MODE_READ] = {1, 2, 2},
};

static void work(struct worker *w)
{
    const unsigned char *part = parts[atomic_load(&board->mode)];
    int dice = (int)rng_below(&w->dice, 16);
    torture_look_after_children(w);
    torture_have_child(w);
    if (dice < part[0])
        go_and_come(w);
    else if (w->has.handles == 0)
        open_handle(w);
    else if (dice < part[0] + part[1])
        more_or_fewer_handles(w);
    else if (dice < part[0] + part[1] + part[2] && !torture_guest)
        write_some(w);
    else
        read_some(w);
}

/* ---- in a child that stands in for its parent ---- */

/* The parent writes: nobody else may. */
static void try_beside_parent(struct worker *w)
{
    void *store;
    enum result result = w->engine->open(board->path, false, rng_next(&w->dice), &store);
    if (result != DONE) {
        failed(w, "open in a child");
        return;
    }
    try_to_write(w, store);
    if (w->engine->close(store) != DONE)
        failed(w, "close in a child");
}

void torture_stand_in(struct worker *w)
{
    bool beside_writer = w->has.writer;
    memset(&w->has, 0, sizeof w->has);
    if (beside_writer) {
        try_beside_parent(w);
        return;
    }
    open_handle(w);
    if (w->has.handles > 0 && !torture_guest && rng_one_in(&w->dice, 2))
        write_some(w);
    if (w->has.handles > 0 && rng_one_in(&w->dice, 2))
        read_some(w);
    if (rng_one_in(&w->dice, 2))
        close_handles(w);
}

/* ---- the process ---- */

static void become_guest(void)
{
    if (setgroups(0, NULL) != 0 || setgid(GUEST_UID) != 0 || setuid(GUEST_UID) != 0)
        exit(2);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* becoming another user ended that, and core dumps */
    prctl(PR_SET_DUMPABLE, 1);
}

static void audit(struct worker *w)
{
    open_handle(w);
    if (w->has.handles > 0 && w->engine->check(w->has.store[0]) != DONE)
        torture_violation(LEFT, w->me, "check: %s", w->engine->why());
    if (w->has.handles > 0)
        read_some(w);
}

int torture_worker(uint32_t place, uint64_t life)
{
    if (!torture_board_inherit())
        return OTHER_LAYOUT;
    struct worker w = {.engine = torture_engine(board->engine), .me = place};
    w.place = &board->place[place];
    if (board->fault[0])
        w.engine = torture_fault(w.engine, board->fault);
    w.schedstat = open("/proc/self/schedstat", O_RDONLY | O_CLOEXEC);
    rng_seed(&w.dice, board->seed ^ ((uint64_t)place << 56 | life));
    torture_clock_seed(rng_next(&w.dice));
    torture_guest = board->guests && place < board->workers && rng_one_in(&w.dice, 6);
    if (torture_guest)
        become_guest();
    while (goes_on() && place < board->workers)
        work(&w);
    torture_end_children(&w);
    if (atomic_load(&board->damaged))
        return 0; /* what remains is not worth a look */
    if (place == board->workers)
        audit(&w);
    else if (w.has.handles == 0)
        open_handle(&w);
    close_handles(&w);
    return 0;
}
