/* kill.c - a process that commits without a pause is killed with SIGKILL, again and again.
 *
 * The writer replaces records in a fixed random order, BATCH per commit, and keeps in the tree
 * "demo" how far it is: generation and position. So after a kill each record's only right value is
 * known: of the generation when its place in the order is before the position, else of the one
 * before. Through a pipe the writer tells when it enters a commit and when the commit has returned:
 * what was acknowledged there must be in the file, and at most the one commit in flight beyond it.
 */
#include "demo.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 20, COMMITS_MIN = 5, COMMITS_SPREAD = 50, PROBLEMS_MAX = 5 };

struct progress {
    uint64_t generation; /* that is being written */
    uint64_t position;   /* in the order: records before it are written */
};

struct message {
    uint64_t entering; /* 1: about to commit, 0: it has returned */
    struct progress progress;
};

struct totals {
    uint64_t commits, in_commit, completed;
    double opening; /* seconds, the longest */
};

/* ---- the writer's notes in the file ---- */

static kv_tree *notes(kv_db *db, struct view *view, uint32_t flags)
{
    kv_tree *tree;
    demo_check(db, kv_tree_open(view->txn, "demo", 4, flags, NULL, &tree), "open demo");
    return tree;
}

static void write_progress(kv_db *db, struct view *view, const struct progress *p)
{
    kv_tree *tree = notes(db, view, KV_TREE_CREATE);
    demo_check(db, kv_put(tree, "progress", 8, p, sizeof *p, 0), "put");
}

static struct progress read_progress(kv_db *db, struct view *view)
{
    struct progress p;
    kv_slice value;
    demo_check(db, kv_get(notes(db, view, 0), "progress", 8, &value), "get the progress");
    if (value.len != sizeof p)
        demo_die("the progress has %zu bytes", value.len);
    memcpy(&p, value.ptr, sizeof p);
    return p;
}

/* ---- the writing process ---- */

static void tell(int pipe, bool entering, struct progress p)
{
    struct message message = {entering, p};
    if (write(pipe, &message, sizeof message) != (ssize_t)sizeof message)
        _exit(1); /* the parent is gone */
}

static struct progress next_commit(struct progress p, const struct data *data)
{
    if (p.position == data->n)
        p = (struct progress){p.generation + 1, 0};
    p.position = p.position + BATCH < data->n ? p.position + BATCH : data->n;
    return p;
}

static _Noreturn void write_on(const char *path, const struct data *data, int pipe)
{
    kv_db *db = demo_open(path);
    struct view view;
    demo_begin(db, KV_TXN_READ, &view);
    struct progress p = read_progress(db, &view);
    kv_txn_abort(view.txn);
    for (;;) {
        struct progress next = next_commit(p, data);
        uint64_t first = next.generation == p.generation ? p.position : 0;
        demo_begin(db, KV_TXN_WRITE, &view);
        for (uint64_t i = first; i < next.position; i++)
            demo_put(db, &view, data, data->shuffled[i], next.generation);
        write_progress(db, &view, &next);
        tell(pipe, true, next);
        demo_commit(db, &view);
        tell(pipe, false, next);
        p = next;
    }
}

/* ---- killing it ---- */

static uint64_t random_below(uint64_t limit)
{
    static uint64_t state = 0x9e3779b97f4a7c15u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % limit;
}

/* Between 0 and 1, more often near 0: a commit writes first, then it waits for the disk. */
static double random_early(void)
{
    double even = (double)random_below(1000) / 1000;
    return even * even;
}

static void sleep_for(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

/* Lets the writer commit a random number of times and kills it at a random moment of the next
 * commit, judged by how long the one before took. Returns the last message it sent. */
static struct message kill_writer(pid_t writer, int pipe, uint64_t *commits)
{
    struct message message = {0}, last = {0};
    uint64_t wanted = COMMITS_MIN + random_below(COMMITS_SPREAD);
    double entered = 0, took = 0;
    bool killed = false;
    for (*commits = 0; read(pipe, &message, sizeof message) == (ssize_t)sizeof message;) {
        last = message;
        if (message.entering) {
            entered = demo_now();
        } else {
            took = demo_now() - entered;
            ++*commits;
        }
        if (killed || !message.entering || *commits < wanted)
            continue;
        sleep_for(took * random_early());
        kill(writer, SIGKILL);
        killed = true;
    }
    int status;
    if (waitpid(writer, &status, 0) != writer || !WIFSIGNALED(status) ||
        WTERMSIG(status) != SIGKILL)
        demo_die("the writer ended before it was killed");
    return last;
}

static struct message run_and_kill(const char *path, const struct data *data, uint64_t *commits)
{
    int pipes[2];
    fflush(stdout);
    if (pipe(pipes) != 0)
        demo_die("no pipe");
    pid_t writer = fork();
    if (writer < 0)
        demo_die("cannot fork");
    if (writer == 0) {
        close(pipes[0]);
        write_on(path, data, pipes[1]);
    }
    close(pipes[1]);
    struct message last = kill_writer(writer, pipes[0], commits);
    close(pipes[0]);
    return last;
}

/* ---- what is in the file afterwards ---- */

/* Which commit since the beginning it was. */
static uint64_t ordinal(struct progress p, const struct data *data)
{
    return p.generation * ((data->n + BATCH - 1) / BATCH) + (p.position + BATCH - 1) / BATCH;
}

/* The last commit that was acknowledged is there, and nothing beyond the one in flight. */
static bool verify_progress(const struct data *data, struct progress found, struct message last)
{
    uint64_t have = ordinal(found, data), told = ordinal(last.progress, data);
    if (have < told - last.entering)
        demo_die("an acknowledged commit is lost");
    if (have > told)
        demo_die("a commit appeared that nobody made");
    return last.entering && have == told;
}

static void verify_records(struct view *view, const struct data *data, struct progress p)
{
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < data->n; i++)
        wrong += !demo_is(view, data, data->shuffled[i], p.generation - (i >= p.position));
    if (wrong > 0)
        demo_die("after a kill %" PRIu64 " records are not as they were committed", wrong);
}

static int print_problem(void *context, const kv_check_problem *problem)
{
    int *count = context;
    fprintf(stderr, "            page %" PRIu64 ": %s: %s\n", problem->page, problem->invariant,
            problem->message);
    return ++*count >= PROBLEMS_MAX;
}

static void verify_file(const char *path, const struct data *data, struct message last,
                        struct totals *totals)
{
    int problems = 0;
    kv_check_options options = {
        .size = sizeof options, .problem = print_problem, .context = &problems};
    struct view view;
    double start = demo_now();
    kv_db *db = demo_open(path);
    demo_begin(db, KV_TXN_READ, &view);
    struct progress found = read_progress(db, &view);
    double took = demo_now() - start;
    totals->opening = took > totals->opening ? took : totals->opening;
    totals->in_commit += last.entering;
    totals->completed += verify_progress(data, found, last);
    verify_records(&view, data, found);
    kv_txn_abort(view.txn);
    demo_check(db, kv_db_check(db, &options), "check");
    demo_close(db);
}

/* ---- the step ---- */

static void begin_notes(const char *path, const struct data *data)
{
    kv_db *db = demo_open(path);
    struct progress p = {0, data->n};
    struct view view;
    demo_begin(db, KV_TXN_WRITE, &view);
    write_progress(db, &view, &p);
    demo_commit(db, &view);
    demo_close(db);
}

static void put_back(const char *path, const struct data *data)
{
    kv_db *db = demo_open(path);
    struct view view;
    demo_begin(db, KV_TXN_WRITE, &view);
    demo_check(db, kv_tree_drop(notes(db, &view, 0)), "drop demo");
    for (size_t i = 0; i < data->n; i++)
        demo_put(db, &view, data, i, 0);
    demo_commit(db, &view);
    demo_close(db);
}

void demo_kill(const char *path, const struct data *data)
{
    struct totals totals = {0};
    begin_notes(path, data);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t commits;
        struct message last = run_and_kill(path, data, &commits);
        totals.commits += commits;
        verify_file(path, data, last, &totals);
    }
    put_back(path, data);
    demo_say("kill -9", "%d writers killed, %s of them inside a commit, of which %s were complete;",
             ROUNDS, demo_number(totals.in_commit), demo_number(totals.completed));
    demo_say("", "opened again in at most %.1f ms; all %s acknowledged commits there, none by half",
             totals.opening * 1e3, demo_number(totals.commits));
}
