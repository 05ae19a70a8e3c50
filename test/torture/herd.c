/* herd.c - starts the workers, kills and stops them at random, and starts others in their place. */
#include "torture.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    KILL_GAP_MS = 16,
    AIM_MS = 4,
    AFTER_AIM_US = 250,
    RESTART_MS = 20,
    STOP_MS = 250,
    STOPPED_MAX = 2,
    JUDGE_GAP_MS = 10,
    ORPHANS_MS = 100,
    TICK_US = 500
};

enum state { GONE, RUNNING, STOPPED, DYING };

static struct process {
    pid_t pid;
    enum state state;
    uint64_t life;         /* how many there were in this place */
    uint64_t judged, told; /* its wait */
    uint64_t due;          /* when it is started again, or goes on */
    struct delay *delay;
} process[WORKERS_MAX];

static const char own_program[] = "/proc/self/exe";
static uint64_t next_attack, next_mode;
static int clone_flags;

/* ---- starting ---- */

static pid_t clone_process(int flags)
{
    return (pid_t)syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);
}

static bool can_clone(int flags)
{
    int status;
    pid_t pid = clone_process(flags);
    if (pid == 0)
        _exit(getpid() != 1);
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

bool torture_namespaces(void)
{
    if (can_clone(CLONE_NEWPID))
        clone_flags = CLONE_NEWPID;
    else if (can_clone(CLONE_NEWUSER | CLONE_NEWPID))
        clone_flags = CLONE_NEWUSER | CLONE_NEWPID;
    else
        printf("torture: pid namespaces are forbidden here: processes have pids of their own\n");
    return clone_flags != 0;
}

/* A program of its own, so that it inherits nothing but the board and the pipe. */
static pid_t start_program(const char *program, uint32_t place, uint64_t life)
{
    char place_text[16], life_text[24], name[] = "torture", option[] = "--worker";
    char *args[] = {name, option, place_text, life_text, NULL};
    snprintf(place_text, sizeof place_text, "%u", place);
    snprintf(life_text, sizeof life_text, "%llu", (unsigned long long)life);
    fflush(stdout);
    pid_t pid = clone_process(clone_flags);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execv(program, args);
        _exit(127);
    }
    if (pid < 0) {
        perror("clone");
        exit(2);
    }
    return pid;
}

static void start(struct herd *herd, uint32_t i, rng *dice)
{
    struct process *p = &process[i];
    uint64_t which = rng_below(dice, herd->peers + 1);
    herd->starts[which]++;
    atomic_store(&board->place[i].since, torture_now());
    atomic_store(&board->place[i].phase, PHASE_IDLE);
    atomic_store(&board->place[i].lent, 0);
    atomic_store(&board->place[i].children, 0);
    atomic_store(&board->place[i].life, LIFE_LIVE);
    p->pid = start_program(which < herd->peers ? herd->peer[which] : own_program, i, p->life++);
    p->state = RUNNING;
}

void torture_herd_start(struct herd *herd, rng *dice)
{
    next_attack = torture_now() + rng_below(dice, 50) * MS;
    next_mode = 0;
    for (uint32_t i = 0; i < board->workers; i++)
        start(herd, i, dice);
}

/* ---- ends ---- */

/* Outside of a namespace its children may die a moment later. */
static uint64_t all_dead(const struct herd *herd, const struct place *place)
{
    bool orphans = atomic_load(&place->lent) || atomic_load(&place->children) > 0;
    return torture_now() + (orphans && !herd->namespaces ? ORPHANS_MS * MS : 0);
}

static void note_end(struct herd *herd, uint32_t i, int status)
{
    struct process *p = &process[i];
    uint32_t phase = atomic_load(&board->place[i].phase);
    if (p->state == DYING) {
        herd->killed_in[phase]++;
    } else if (WIFSIGNALED(status)) {
        torture_violation(CRASHED, i, "a process died of signal %d", WTERMSIG(status));
    } else if (WEXITSTATUS(status) != 0) {
        torture_violation(CRASHED, i, "a process ended with status %d", WEXITSTATUS(status));
    }
    if (p->delay) {
        atomic_store(&p->delay->phase, phase);
        atomic_store(&p->delay->to, all_dead(herd, &board->place[i]));
        p->delay = NULL;
    }
    if (phase == PHASE_WRITE || phase == PHASE_COMMIT)
        torture_raise(&board->hold_end, torture_now());
    atomic_store(&board->place[i].life, LIFE_DEAD);
    p->state = GONE;
}

static void reap(struct herd *herd)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (uint32_t i = 0; i < board->workers; i++)
            if (process[i].state != GONE && process[i].pid == pid)
                note_end(herd, i, status);
}

/* Who has been at the same thing for very long will never end it. */
static void look_for_stuck(uint32_t i, uint64_t now)
{
    const struct place *place = &board->place[i];
    if (atomic_load(&place->since) + board->patience <= now)
        torture_violation(STUCK, i, "a process has been %s for %llu s",
                          torture_phase_name(atomic_load(&place->phase)),
                          (unsigned long long)(board->patience / (1000 * MS)));
}

static uint64_t queued_since(const struct process *p, uint64_t queued)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/schedstat", (int)p->pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t now = torture_queued(fd);
    if (fd >= 0)
        close(fd);
    return now > queued ? now - queued : 0;
}

/* A wait that has not ended yet; its process may be killed before it could tell of it. That of a child
 * in its place is left to the child. */
static void look_for_waiting(const struct herd *herd, uint32_t i, uint64_t now)
{
    struct process *p = &process[i];
    const struct place *place = &board->place[i];
    uint32_t phase = atomic_load(&place->phase);
    uint64_t since = atomic_load(&place->since), queued = atomic_load(&place->queued);
    bool waits = phase == PHASE_OPEN || phase == PHASE_CLOSE || phase == PHASE_BEGIN_READ ||
                 phase == PHASE_BEGIN_WRITE;
    if (!waits || atomic_load(&place->lent) || since + WAIT_LIMIT_MS * MS > now ||
        p->judged + JUDGE_GAP_MS * MS > now)
        return;
    p->judged = now;
    queued = queued_since(p, queued);
    uint64_t blame = torture_blame(herd->engine, i, phase, since, now, queued);
    if (blame <= WAIT_LIMIT_MS * MS || atomic_load(&place->since) != since)
        return;
    torture_raise(&board->worst[phase], now - since);
    torture_raise(&board->worst_blame[phase], blame);
    if (p->told != since)
        torture_violation(WAITED, i, "%s has taken %llu ms, of which nothing explains %llu ms",
                          torture_phase_name(phase), (unsigned long long)((now - since) / MS),
                          (unsigned long long)(blame / MS));
    p->told = since;
}

static void look(const struct herd *herd)
{
    uint64_t now = torture_now();
    for (uint32_t i = 0; i < board->workers; i++)
        if (process[i].state == RUNNING) {
            look_for_stuck(i, now);
            look_for_waiting(herd, i, now);
        }
}

/* ---- attacks ---- */

static void kill_one(struct herd *herd, uint32_t i)
{
    struct process *p = &process[i];
    struct place *place = &board->place[i];
    atomic_store(&place->life, LIFE_DYING);
    if (p->delay)
        atomic_store(&p->delay->to, torture_now());
    p->delay = torture_delay(torture_now(), 0, atomic_load(&place->phase), i);
    p->state = DYING;
    p->due = 0;
    herd->parents_killed += atomic_load(&place->lent) || atomic_load(&place->children) > 0;
    kill(p->pid, SIGKILL);
    herd->kills++;
}

static void stop_one(struct herd *herd, uint32_t i, rng *dice)
{
    struct process *p = &process[i];
    int status;
    uint64_t from = torture_now();
    kill(p->pid, SIGSTOP);
    if (waitpid(p->pid, &status, WUNTRACED) != p->pid)
        return;
    if (!WIFSTOPPED(status)) {
        note_end(herd, i, status);
        return;
    }
    p->delay = torture_delay(from, 0, atomic_load(&board->place[i].phase), i);
    p->due = torture_now() + rng_between(dice, 1, STOP_MS) * MS;
    p->state = STOPPED;
    herd->stops++;
}

static void let_go_on(uint32_t i)
{
    struct process *p = &process[i];
    kill(p->pid, SIGCONT);
    atomic_store(&p->delay->to, torture_now());
    p->delay = NULL;
    atomic_store(&board->place[i].since, torture_now()); /* for look_for_stuck */
    p->state = RUNNING;
}

/* Somebody who runs; with aim, for some time somebody in that phase is looked for. */
static int choose_victim(rng *dice, enum phase aim)
{
    uint64_t until = torture_now() + AIM_MS * MS;
    uint32_t first = (uint32_t)rng_below(dice, board->workers);
    do {
        for (uint32_t k = 0; k < board->workers; k++) {
            uint32_t i = (first + k) % board->workers;
            if (process[i].state == RUNNING && atomic_load(&board->place[i].phase) == aim)
                return (int)i;
        }
        torture_nap(10000);
    } while (torture_now() < until);
    for (uint32_t k = 0; k < board->workers; k++)
        if (process[(first + k) % board->workers].state == RUNNING)
            return (int)((first + k) % board->workers);
    return -1;
}

static bool may_stop(const struct herd *herd)
{
    unsigned stopped = 0;
    for (uint32_t i = 0; i < board->workers; i++)
        stopped += process[i].state == STOPPED;
    return herd->stopping && stopped < STOPPED_MAX;
}

static void attack(struct herd *herd, rng *dice)
{
    enum phase aim = (enum phase)rng_below(dice, PHASES);
    int victim = choose_victim(dice, rng_one_in(dice, 3) ? PHASE_COMMIT : aim);
    if (victim < 0)
        return;
    uint64_t until = torture_now() + rng_below(dice, AFTER_AIM_US) * 1000;
    while (torture_now() < until)
        ;
    if (rng_one_in(dice, 4) && may_stop(herd))
        stop_one(herd, (uint32_t)victim, dice);
    else
        kill_one(herd, (uint32_t)victim);
}

static void serve(struct herd *herd, uint32_t i, rng *dice)
{
    struct process *p = &process[i];
    uint64_t now = torture_now();
    if (p->state == STOPPED && now >= p->due) {
        if (rng_one_in(dice, 3))
            kill_one(herd, i);
        else
            let_go_on(i);
    } else if (p->state == GONE && p->due == 0) {
        p->due = now + (rng_one_in(dice, 2) ? 0 : rng_below(dice, RESTART_MS * MS));
    }
    if (p->state == GONE && now >= p->due)
        start(herd, i, dice);
}

void torture_herd_disturb(struct herd *herd, rng *dice)
{
    uint64_t now = torture_now();
    reap(herd);
    for (uint32_t i = 0; i < board->workers; i++)
        serve(herd, i, dice);
    if (now >= next_mode) {
        atomic_store(&board->mode, (uint32_t)rng_below(dice, MODES));
        next_mode = now + rng_between(dice, 50, 400) * MS;
    }
    if (now >= next_attack) {
        attack(herd, dice);
        next_attack = now + rng_below(dice, 2 * KILL_GAP_MS * MS);
    }
    look(herd);
    torture_nap(TICK_US * 1000);
}

/* ---- the end of a round ---- */

static bool all_gone(struct herd *herd)
{
    bool gone = true;
    reap(herd);
    for (uint32_t i = 0; i < board->workers; i++)
        gone = gone && process[i].state == GONE;
    return gone;
}

void torture_herd_leave(struct herd *herd)
{
    for (uint32_t i = 0; i < board->workers; i++)
        if (process[i].state == STOPPED)
            let_go_on(i);
    /* First the killed ones: the last to leave shall be alive. */
    for (bool dying = true; dying;) {
        dying = false;
        reap(herd);
        for (uint32_t i = 0; i < board->workers; i++)
            dying = dying || process[i].state == DYING;
        torture_nap(TICK_US * 1000);
    }
    if (!herd->namespaces)
        torture_nap(ORPHANS_MS * MS);
    uint64_t until = torture_now() + board->patience;
    atomic_store(&board->leave, 1);
    while (!all_gone(herd) && torture_now() < until)
        torture_nap(TICK_US * 1000);
    if (!all_gone(herd))
        torture_violation(STUCK, 0, "a process did not leave");
}

void torture_herd_kill_all(struct herd *herd)
{
    for (uint32_t i = 0; i < board->workers; i++)
        if (process[i].state != GONE) {
            process[i].state = DYING;
            kill(process[i].pid, SIGKILL);
        }
    uint64_t in[PHASES];
    memcpy(in, herd->killed_in, sizeof in);
    while (!all_gone(herd))
        torture_nap(TICK_US * 1000);
    memcpy(herd->killed_in, in, sizeof in);
}

void torture_herd_audit(void)
{
    int status = -1;
    pid_t pid = start_program(own_program, board->workers, 0);
    uint64_t until = torture_now() + board->patience;
    while (waitpid(pid, &status, WNOHANG) != pid) {
        torture_nap(TICK_US * 1000);
        if (torture_now() > until) {
            torture_violation(STUCK, 0, "the last look at the file did not end");
            kill(pid, SIGKILL);
            until = UINT64_MAX;
        }
    }
    if (status != 0)
        torture_violation(CRASHED, 0, "the last look at the file ended with status %x", status);
}
