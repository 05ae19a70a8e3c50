/* board.c - the memory and the pipe that all processes of a run share, and how waits are judged. */
#include "torture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* Descriptors that survive exec. */
enum { BOARD_FD = 100, PIPE_READ_FD = 101, PIPE_WRITE_FD = 102 };

struct board *board;
bool torture_guest;

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static void move(int fd, int to)
{
    if (dup2(fd, to) != to)
        die("dup2");
    close(fd);
}

static void map_board(void)
{
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED, BOARD_FD, 0);
    if (board == MAP_FAILED)
        die("mmap");
}

void torture_board_create(void)
{
    int pipes[2];
    int fd = memfd_create("torture", 0);
    if (fd < 0 || ftruncate(fd, sizeof *board) != 0 || pipe(pipes) != 0)
        die("board");
    move(fd, BOARD_FD);
    move(pipes[0], PIPE_READ_FD);
    move(pipes[1], PIPE_WRITE_FD);
    if (fcntl(PIPE_READ_FD, F_SETFL, O_NONBLOCK) != 0 ||
        fcntl(PIPE_WRITE_FD, F_SETFL, O_NONBLOCK) != 0)
        die("pipe");
    map_board();
    board->size = sizeof *board;
}

bool torture_board_inherit(void)
{
    map_board();
    return board->size == sizeof *board;
}

/* ---- small things ---- */

uint64_t torture_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 * MS + (uint64_t)t.tv_nsec;
}

void torture_nap(uint64_t ns)
{
    struct timespec t = {(time_t)(ns / (1000 * MS)), (long)(ns % (1000 * MS))};
    nanosleep(&t, NULL);
}

void torture_raise(_Atomic uint64_t *value, uint64_t to)
{
    uint64_t old = atomic_load(value);
    while (old < to && !atomic_compare_exchange_weak(value, &old, to))
        ;
}

const char *torture_phase_name(enum phase phase)
{
    static const char *const names[PHASES] = {
        [PHASE_IDLE] = "doing nothing", [PHASE_OPEN] = "opening",
        [PHASE_CLOSE] = "closing",      [PHASE_BEGIN_READ] = "beginning to read",
        [PHASE_READ] = "reading",       [PHASE_BEGIN_WRITE] = "beginning to write",
        [PHASE_WRITE] = "writing",      [PHASE_COMMIT] = "committing",
    };
    return names[phase];
}

void torture_add(enum count count)
{
    atomic_fetch_add(&board->count[count], 1);
}

/* ---- waits ---- */

struct delay *torture_delay(uint64_t from, uint64_t to, enum phase phase, uint32_t place)
{
    struct delay *delay = &board->delay[atomic_fetch_add(&board->n_delays, 1) % DELAYS];
    atomic_store(&delay->from, 0);
    atomic_store(&delay->to, to);
    atomic_store(&delay->phase, phase);
    atomic_store(&delay->place, place);
    atomic_store(&delay->from, from);
    return delay;
}

uint64_t torture_queued(int schedstat)
{
    char text[128];
    unsigned long long run, queued = 0;
    ssize_t n = schedstat >= 0 ? pread(schedstat, text, sizeof text - 1, 0) : -1;
    if (n <= 0)
        return 0;
    text[n] = 0;
    return sscanf(text, "%llu %llu", &run, &queued) == 2 ? queued : 0;
}

static bool delay_counts(const struct delay *delay, uint32_t me, unsigned phases)
{
    uint32_t place = atomic_load(&delay->place);
    return place == WORKERS_MAX || place == me || (phases >> atomic_load(&delay->phase) & 1);
}

static bool delayed_at(uint64_t time, uint32_t me, unsigned phases)
{
    for (size_t i = 0; i < DELAYS; i++) {
        const struct delay *delay = &board->delay[i];
        uint64_t from = atomic_load(&delay->from), to = atomic_load(&delay->to);
        if (from && from <= time && (!to || to >= time) && delay_counts(delay, me, phases))
            return true;
    }
    return false;
}

static bool somebody_writes(uint32_t me)
{
    for (uint32_t i = 0; i < board->workers; i++) {
        uint32_t phase = atomic_load(&board->place[i].phase);
        if (i != me && atomic_load(&board->place[i].life) == LIFE_LIVE &&
            (phase == PHASE_WRITE || phase == PHASE_COMMIT))
            return true;
    }
    return false;
}

uint64_t torture_blame(const struct engine *engine, uint32_t me, enum phase phase, uint64_t begin,
                       uint64_t end, uint64_t queued)
{
    uint64_t blame = 0, from = begin;
    if (phase == PHASE_BEGIN_WRITE) { /* whoever lives may go first */
        uint64_t hold_end = atomic_load(&board->hold_end);
        from = hold_end > begin ? hold_end : begin;
        if (somebody_writes(me))
            return 0;
    }
    for (uint64_t time = from; time < end; time += MS)
        if (!delayed_at(time, me, engine->delayed_by[phase]))
            blame += time + MS < end ? MS : end - time;
    return blame > queued ? blame - queued : 0;
}

/* ---- violations ---- */

static const char *const violation_name[VIOLATIONS] = {
    [LOST] = "lost",     [GHOST] = "ghost",       [TORN] = "torn",      [CHANGED] = "changed",
    [TWO] = "two",       [WAITED] = "waited",     [STUCK] = "stuck",    [ERROR] = "error",
    [CRASHED] = "crash", [UNREAD] = "unreadable", [LEFT] = "left over", [INHERITED] = "inherited",
    [TIME] = "time",
};

const char *torture_violation_name(enum violation kind)
{
    return violation_name[kind];
}

/* Later findings would be its consequences. */
static bool is_damage(enum violation kind)
{
    return kind == LOST || kind == GHOST || kind == TORN || kind == CHANGED || kind == UNREAD ||
           kind == TWO || kind == STUCK || kind == INHERITED || kind == TIME || kind == LEFT;
}

void torture_violation(enum violation kind, uint32_t place, const char *format, ...)
{
    struct message message = {.kind = kind, .place = place, .guest = torture_guest};
    va_list args;
    va_start(args, format);
    vsnprintf(message.text, sizeof message.text, format, args);
    va_end(args);
    if (is_damage(kind))
        atomic_store(&board->damaged, 1);
    if (write(PIPE_WRITE_FD, &message, sizeof message) != (ssize_t)sizeof message)
        torture_add(COUNT_PIPE_FULL);
}

bool torture_next_message(struct message *message)
{
    return read(PIPE_READ_FD, message, sizeof *message) == (ssize_t)sizeof *message;
}
