/* child.c - children of a worker, by fork and by a raw clone, made while it has handles, snapshots or
 * a transaction. All that they inherited must refuse to work, and stay their parent's when they close
 * it, end or are killed. Some work in their parent's place while it waits, some live beside it. */
#include "worker.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILD_ONE_IN = 24, USES_MAX = 8, NAP_MS = 4, DOOM_MS = 20, DEATH_MS = 500 };

/* ---- in the child: what it inherited ---- */

static void expect_forked(struct worker *w, const char *what, enum result result)
{
    static const char *const name[] = {
        [DONE] = "it worked", [ABSENT] = "not found", [BUSY] = "busy"};
    torture_add(COUNT_REFUSED);
    if (result == FORKED)
        return;
    torture_violation(INHERITED, w->me, "%s through what is the parent's: %s", what,
                      result == FAILED ? w->engine->why() : name[result]);
}

static void use_store(struct worker *w, void *store)
{
    static const enum access access[] = {ACCESS_READ, ACCESS_WRITE, ACCESS_TRY};
    static const struct batch nothing = {.n = 0};
    uint64_t how = rng_below(&w->dice, 5);
    void *view;
    if (how == 3)
        expect_forked(w, "check", w->engine->check(store));
    else if (how == 4 && w->engine->write)
        expect_forked(w, "write", w->engine->write(store, &nothing, 0));
    else if (how == 4)
        expect_forked(w, "begin", w->engine->begin(store, ACCESS_READ, 0, &view));
    else
        expect_forked(w, "begin", w->engine->begin(store, access[how], how, &view));
}

static void visit_nothing(void *context, struct bytes key, struct bytes value)
{
    (void)context;
    (void)key;
    (void)value;
}

static void use_view(struct worker *w, void *view)
{
    struct bytes key = {"c0000", 5}, value;
    switch (rng_below(&w->dice, 4)) {
    case 0:
        expect_forked(w, "get", w->engine->get(view, key, &value));
        break;
    case 1:
        expect_forked(w, "put", w->engine->put(view, key, key));
        break;
    case 2:
        expect_forked(w, "delete", w->engine->del(view, key));
        break;
    default:
        expect_forked(w, "scan", w->engine->scan(view, visit_nothing, NULL));
    }
}

static void use_reader(struct worker *w, void *view)
{
    uint64_t how = rng_below(&w->dice, 4);
    if (how == 0)
        expect_forked(w, "refresh", w->engine->refresh(view));
    else if (how == 1 && w->engine->newer)
        expect_forked(w, "wait", w->engine->newer(view, 1));
    else
        use_view(w, view);
}

static void use_something(struct worker *w)
{
    const struct holdings *has = &w->has;
    uint64_t what = rng_below(&w->dice, 3);
    if (what == 0 && has->reader)
        use_reader(w, has->reader);
    else if (what == 1 && has->writer)
        use_view(w, has->writer);
    else if (has->handles > 0)
        use_store(w, has->store[rng_below(&w->dice, (uint64_t)has->handles)]);
}

static void end_view(struct worker *w, void *view)
{
    if (view && rng_one_in(&w->dice, 2))
        expect_forked(w, "commit", w->engine->commit(view));
    else if (view)
        w->engine->abort(view);
}

static void close_stores(struct worker *w)
{
    for (int i = 0; i < w->has.handles; i++)
        if (rng_one_in(&w->dice, 2) && w->engine->close(w->has.store[i]) != DONE)
            torture_violation(INHERITED, w->me, "closing what is the parent's: %s",
                              w->engine->why());
}

static void use_inherited(struct worker *w, uint64_t nap)
{
    for (uint64_t n = rng_below(&w->dice, USES_MAX); n > 0; n--) {
        use_something(w);
        torture_nap(rng_below(&w->dice, nap + 1));
    }
    if (rng_one_in(&w->dice, 2)) {
        end_view(w, w->has.reader);
        end_view(w, w->has.writer);
    }
    close_stores(w);
}

/* ---- in the child: what it opens for itself ---- */

/* Without a word to the board, where the parent has the place. */
static void read_for_oneself(struct worker *w)
{
    struct bounds bounds;
    struct reading reading;
    void *store, *view;
    if (w->engine->open(board->path, torture_guest, rng_next(&w->dice), &store) != DONE) {
        torture_violation(ERROR, w->me, "open in a child: %s", w->engine->why());
        return;
    }
    torture_bounds(&bounds, torture_guest);
    if (w->engine->begin(store, ACCESS_READ, 0, &view) != DONE) {
        torture_violation(ERROR, w->me, "begin to read in a child: %s", w->engine->why());
        return;
    }
    torture_verify(w->engine, view, w->me, &bounds, &reading);
    torture_nap(rng_below(&w->dice, NAP_MS * MS));
    w->engine->abort(view);
    if (rng_one_in(&w->dice, 2) && w->engine->close(store) != DONE)
        torture_violation(ERROR, w->me, "close in a child: %s", w->engine->why());
}

static _Noreturn void live_beside_parent(struct worker *w)
{
    use_inherited(w, NAP_MS * MS);
    if (rng_one_in(&w->dice, 2))
        read_for_oneself(w);
    _exit(0);
}

static _Noreturn void live_in_place(struct worker *w)
{
    w->schedstat = open("/proc/self/schedstat", O_RDONLY | O_CLOEXEC);
    use_inherited(w, 0);
    torture_stand_in(w);
    _exit(0);
}

/* ---- in the parent ---- */

/* 0: this is the child. It dies with its parent, in a namespace or not. */
static pid_t make_child(struct worker *w)
{
    pid_t parent = getpid();
    uint64_t seed = rng_next(&w->dice);
    bool raw = rng_one_in(&w->dice, 2);
    pid_t pid = raw ? (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) : fork();
    if (pid > 0)
        torture_add(raw ? COUNT_CLONES : COUNT_FORKS);
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(0);
    w->is_child = true;
    rng_seed(&w->dice, seed);
    return 0;
}

static void judge_end(struct worker *w, int status, bool killed)
{
    if (WIFSIGNALED(status) && !(killed && WTERMSIG(status) == SIGKILL))
        torture_violation(CRASHED, w->me, "a child died of signal %d", WTERMSIG(status));
    else if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        torture_violation(CRASHED, w->me, "a child ended with status %d", WEXITSTATUS(status));
}

/* Kills it, and waits for its end, which others may have to wait for; for so long at most, should
 * this process be killed itself in between. */
static void kill_child(struct worker *w, pid_t pid, enum phase phase)
{
    int status;
    uint64_t now = torture_now();
    struct delay *delay = torture_delay(now, now + DEATH_MS * MS, phase, w->me);
    kill(pid, SIGKILL);
    if (waitpid(pid, &status, 0) == pid)
        judge_end(w, status, true);
    atomic_store(&delay->to, torture_now());
}

/* Until its parent knows that it is dead, nobody may take it for a writer. */
static void kill_in_place(struct worker *w, pid_t pid)
{
    uint32_t live = LIFE_LIVE;
    torture_nap(rng_below(&w->dice, NAP_MS * MS));
    atomic_compare_exchange_strong(&w->place->life, &live, LIFE_MOURNING);
    kill_child(w, pid, (enum phase)atomic_load(&w->place->phase));
}

static void take_place_back(struct worker *w, enum phase phase)
{
    uint32_t mourning = LIFE_MOURNING;
    if (phase != PHASE_WRITE)
        torture_raise(&board->hold_end, torture_now());
    torture_enter(w, phase);
    atomic_compare_exchange_strong(&w->place->life, &mourning, LIFE_LIVE);
    atomic_store(&w->place->lent, 0);
}

static void lend_place(struct worker *w)
{
    enum phase phase = (enum phase)atomic_load(&w->place->phase);
    int status;
    atomic_store(&w->place->lent, 1);
    pid_t pid = make_child(w);
    if (pid == 0)
        live_in_place(w);
    if (pid > 0)
        torture_add(COUNT_STAND_INS);
    if (pid > 0 && rng_one_in(&w->dice, 4))
        kill_in_place(w, pid);
    else if (pid > 0 && waitpid(pid, &status, 0) == pid)
        judge_end(w, status, false);
    take_place_back(w, phase);
}

static void set_free(struct worker *w)
{
    struct child *child = w->child;
    while (child < w->child + CHILDREN_MAX && child->pid != 0)
        child++;
    if (child == w->child + CHILDREN_MAX)
        return;
    uint64_t begun = torture_now();
    pid_t pid = make_child(w);
    if (pid == 0)
        live_beside_parent(w);
    if (pid < 0)
        return;
    uint64_t doomed = rng_one_in(&w->dice, 3) ? begun + rng_below(&w->dice, DOOM_MS * MS) : 0;
    *child = (struct child){pid, begun, doomed};
    atomic_fetch_add(&w->place->children, 1);
}

void torture_have_child(struct worker *w)
{
    if (!board->forks || w->is_child || !rng_one_in(&w->dice, CHILD_ONE_IN))
        return;
    if (rng_one_in(&w->dice, 2))
        lend_place(w);
    else
        set_free(w);
}

static void look_after(struct worker *w, struct child *child)
{
    int status;
    uint64_t now = torture_now();
    bool stuck = now > child->begun + board->patience;
    if (stuck)
        torture_violation(STUCK, w->me, "a child does not end");
    if (stuck || (child->doomed && now > child->doomed))
        kill_child(w, child->pid, PHASE_OPEN); /* perhaps */
    else if (waitpid(child->pid, &status, WNOHANG) == child->pid)
        judge_end(w, status, false);
    else
        return;
    atomic_fetch_sub(&w->place->children, 1);
    *child = (struct child){0};
}

void torture_look_after_children(struct worker *w)
{
    for (int i = 0; i < CHILDREN_MAX; i++)
        if (w->child[i].pid != 0)
            look_after(w, &w->child[i]);
}

void torture_end_children(struct worker *w)
{
    for (int i = 0; i < CHILDREN_MAX; i++)
        w->child[i].doomed = 1;
    torture_look_after_children(w);
}
