/* ops.h - what the files of target `ops` share: handles, transactions and cursors on one file, the
 * model beside them, and arguments taken from the input. */
#ifndef FUZZ_OPS_H
#define FUZZ_OPS_H

#include "driver_op.h"
#include "exam.h"
#include "format.h"

#define HANDLES    3 /* the last one is read-only */
#define READERS    3
#define CURSORS    3
#define WATCHES    2
#define SAVEPOINTS 6

typedef struct opened { /* a transaction and what it must show */
    kv_txn *txn;
    model_state *state; /* of a reader */
    unsigned handle;
} opened;

typedef struct walker { /* a cursor of a reader */
    kv_cursor *cursor;
    unsigned reader;
    const model_tree *tree;
    int64_t at; /* entry; -1: before the first, entries: behind the last */
    bool placed;
} walker;

typedef struct watcher {
    kv_watch *watch;
    unsigned handle;
    model_state *state; /* that it has seen */
    kvi_slice tree;     /* ptr NULL: all of them */
    uint8_t key;        /* the second byte of the only key; 0: all keys */
} watcher;

typedef struct bench {
    sim_disk *disk;
    fuzz_in *in;
    unsigned how;
    model *m;
    kv_db *db[HANDLES];
    opened reader[READERS];
    opened writer;
    model_state *base; /* what the newest commit has */
    model_state *saved[SAVEPOINTS];
    unsigned n_saved;
    walker walker[CURSORS];
    watcher watcher[WATCHES];
    bool expiring; /* some entries have had an expiry */
} bench;

/* ---- arguments ---- */

kvi_slice bench_name(bench *b);
kvi_slice bench_key(bench *b, uint8_t *room); /* KVI_PAGE_MAX bytes */

/* A transaction that is open, and its state; NULL: there is none. */
kv_txn *bench_txn(bench *b, const model_state **state);

/* A handle that may write, while nobody does; NULL: none. */
kv_db *bench_free(bench *b);

/* The tree of that name; NULL where there is none, which the model must say, too. */
kv_tree *bench_open_tree(kv_txn *txn, const model_state *state, kvi_slice name);

/* ---- the newest commit ---- */

/* Its id; some handle is open. */
uint64_t bench_newest(const bench *b);

/* Its state as this transaction must show it; to be released. */
model_state *bench_shown(bench *b, kv_txn *txn);

/* The model's present state was committed, when the newest commit was number `before`. If it still is,
 * nothing had changed, and no commit keeps the time. */
void bench_committed(bench *b, uint64_t before);

/* Writes n operations, at most three, in one batch, and compares. */
void bench_write(bench *b, unsigned handle, const kv_op *ops, size_t n);

/* ---- steps in other files ---- */

void bench_time(bench *b);
void bench_ttl(bench *b);
void bench_sweep(bench *b);
void bench_clock(bench *b); /* the file's follows the system's */

void bench_multi(bench *b);
void bench_multi_write(bench *b);

void bench_snapshot(bench *b);
void bench_snapshots(bench *b);
void bench_compact(bench *b);
void bench_wait(bench *b);
void bench_watch(bench *b);
void bench_watch_next(bench *b);
void bench_watches_close(bench *b);

#endif
