/* snapshot.c - two threads read one snapshot, again and again, while a writer replaces it all. */
#include "demo.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

enum { READERS = 2 };

struct reader {
    pthread_t thread;
    kv_db *db;
    const struct data *data;
    const atomic_bool *done; /* the writer has replaced everything */
    struct view view;
    uint64_t passes, wrong;
};

/* The last pass begins when the writer is done. */
static void *reader_run(void *argument)
{
    struct reader *r = argument;
    bool last;
    do {
        last = atomic_load(r->done);
        r->wrong += demo_differences(r->db, &r->view, r->data, 0);
        r->passes++;
    } while (!last);
    return NULL;
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

static void start_readers(struct reader readers[READERS], kv_db *db, const struct data *data,
                          const atomic_bool *done)
{
    for (int i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.db = db, .data = data, .done = done};
        demo_begin(db, KV_TXN_READ, &readers[i].view);
        if (kv_txn_id(readers[i].view.txn) != kv_txn_id(readers[0].view.txn))
            demo_die("the readers did not get the same snapshot");
    }
    for (int i = 0; i < READERS; i++)
        if (pthread_create(&readers[i].thread, NULL, reader_run, &readers[i]) != 0)
            demo_die("cannot start a thread");
}

static uint64_t join_readers(struct reader readers[READERS])
{
    uint64_t passes = 0;
    for (int i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
        kv_txn_abort(readers[i].view.txn);
        if (readers[i].wrong > 0)
            demo_die("a reader saw %" PRIu64 " changed records in its snapshot", readers[i].wrong);
        passes += readers[i].passes;
    }
    return passes;
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
    kv_db *db = demo_open(path);
    struct reader readers[READERS];
    struct view view;
    atomic_bool done = false;
    start_readers(readers, db, data, &done);
    double start = demo_now();
    uint64_t commits = replace_all(db, data, 1);
    double took = demo_now() - start;
    atomic_store(&done, true);
    uint64_t passes = join_readers(readers);

    demo_begin(db, KV_TXN_READ, &view);
    uint64_t old = demo_differences(db, &view, data, 1);
    kv_txn_abort(view.txn);
    if (old > 0)
        demo_die("%" PRIu64 " records were not replaced", old);
    put_back(db, data);
    demo_close(db);
    demo_say("snapshot", "a writer replaced every record, in %s durable commits, in %.1f s;",
             demo_number(commits), took);
    demo_say("", "meanwhile two threads read one snapshot %s times: %s records, not one changed",
             demo_number(passes), demo_number(passes * data->n));
}
