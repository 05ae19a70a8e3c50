/* snapshot.c - two processes read one snapshot, again and again, while a third replaces it all. */
#include "demo.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READERS = 2 };

struct result {
    uint64_t passes, wrong;
};

struct readers {
    int done; /* closed when the writer has replaced everything */
    int told; /* what the readers tell: which snapshot they have, at the end their results */
};

/* ---- a reading process ---- */

static void tell(int pipe, const void *message, size_t len)
{
    if (write(pipe, message, len) != (ssize_t)len)
        _exit(1); /* the parent is gone */
}

static bool is_closed(int pipe)
{
    struct pollfd events = {.fd = pipe, .events = POLLIN};
    return poll(&events, 1, 0) > 0;
}

/* The last pass begins when the writer is done. */
static _Noreturn void read_on(const char *path, const struct data *data, int done, int told)
{
    struct result result = {0, 0};
    struct view view;
    bool last;
    kv_db *db = demo_open(path);
    demo_begin(db, KV_TXN_READ, &view);
    uint64_t id = kv_txn_id(view.txn);
    tell(told, &id, sizeof id);
    do {
        last = is_closed(done);
        result.wrong += demo_differences(db, &view, data, 0);
        result.passes++;
    } while (!last);
    kv_txn_abort(view.txn);
    demo_close(db);
    tell(told, &result, sizeof result);
    _exit(0);
}

/* ---- the writing process ---- */

static void hear(int pipe, void *message, size_t len)
{
    if (read(pipe, message, len) != (ssize_t)len)
        demo_die("a reader has ended before its time");
}

/* Nothing is open yet: each process opens the file for itself. */
static struct readers start_readers(const char *path, const struct data *data)
{
    int done[2], told[2];
    uint64_t id, first = 0;
    fflush(stdout);
    if (pipe(done) != 0 || pipe(told) != 0)
        demo_die("no pipe");
    for (int i = 0; i < READERS; i++) {
        pid_t child = fork();
        if (child < 0)
            demo_die("cannot fork");
        if (child == 0) {
            close(done[1]);
            close(told[0]);
            read_on(path, data, done[0], told[1]);
        }
    }
    close(done[0]);
    close(told[1]);
    for (int i = 0; i < READERS; i++) {
        hear(told[0], &id, sizeof id);
        first = first ? first : id;
        if (id != first)
            demo_die("the readers did not get the same snapshot");
    }
    return (struct readers){.done = done[1], .told = told[0]};
}

static uint64_t end_readers(struct readers readers)
{
    uint64_t passes = 0;
    close(readers.done);
    for (int i = 0; i < READERS; i++) {
        struct result result;
        hear(readers.told, &result, sizeof result);
        if (result.wrong > 0)
            demo_die("a reader saw %" PRIu64 " changed records in its snapshot", result.wrong);
        passes += result.passes;
    }
    close(readers.told);
    for (int i = 0; i < READERS; i++)
        wait(NULL);
    return passes;
}

static uint64_t replace_all(kv_db *db, const struct data *data, uint64_t generation)
{
    struct view view;
    uint64_t commits = 0;
    for (size_t i = 0; i < data->n; commits++) {
        demo_begin(db, KV_TXN_WRITE, &view);
        for (size_t end = i + BATCH; i < end && i < data->n; i++)
            demo_put(db, &view, data, data->shuffled[i], generation);
        demo_commit(db, &view);
    }
    return commits;
}

static void put_back(kv_db *db, const struct data *data)
{
    struct view view;
    demo_begin(db, KV_TXN_WRITE, &view);
    for (size_t i = 0; i < data->n; i++)
        demo_put(db, &view, data, i, 0);
    demo_commit(db, &view);
}

void demo_snapshot(const char *path, const struct data *data)
{
    struct view view;
    struct readers readers = start_readers(path, data);
    kv_db *db = demo_open(path);
    double start = demo_now();
    uint64_t commits = replace_all(db, data, 1);
    double took = demo_now() - start;
    uint64_t passes = end_readers(readers);

    demo_begin(db, KV_TXN_READ, &view);
    uint64_t old = demo_differences(db, &view, data, 1);
    kv_txn_abort(view.txn);
    if (old > 0)
        demo_die("%" PRIu64 " records were not replaced", old);
    put_back(db, data);
    demo_close(db);
    demo_say("snapshot", "a process replaced every record, in %s durable commits, in %.1f s;",
             demo_number(commits), took);
    demo_say("", "meanwhile two processes read one snapshot %s times: %s records, not one changed",
             demo_number(passes), demo_number(passes * data->n));
}
