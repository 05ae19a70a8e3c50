/* space_model.h - a naive model of the space records: what every page is, one by one, beside a real
 * kvi_space over a file in memory. Each step does the same on both and holds the real one against
 * the invariants S1-S5 (space.h); what differs fails the running test. */
#ifndef SPACE_MODEL_H
#define SPACE_MODEL_H

#include "fault_os.h"
#include "rng.h"
#include "sim_os.h"
#include "space.h"

typedef struct model_page {
    enum kvi_page_state state;
    bool own;     /* one of the space records' pages */
    kvi_id birth; /* used and dead pages */
    kvi_id death; /* dead pages */
} model_page;

#define MODEL_READERS 12

typedef struct space_model {
    sim_disk *disk;
    fault_os fault;
    kvi_err err;
    kvi_file file;
    kvi_space *space;
    kvi_space *other; /* of another process: as new as its last turn; NULL: none yet */
    kvi_meta meta;    /* of the newest commit */
    rng random;

    model_page *pages;  /* all that could exist; free behind the high-water mark */
    model_page *before; /* at the begin of the transaction */
    size_t cap;
    kvi_pgno first;

    kvi_id readers[MODEL_READERS]; /* 0: none */
    kvi_id live[MODEL_READERS + 2];
    size_t n_live;
    bool reticent;  /* live snapshots are named only when many pages wait for that */
    kvi_id durable; /* older than the newest commit after a lazy one */

    kvi_id id;    /* of the transaction; 0: none */
    kvi_id began; /* its first one */
    kvi_pgno before_high_water;
    size_t emitted;    /* pages that sealing wrote */
    size_t emit_fails; /* the so many next page that sealing writes fails; 0: none does */
    size_t drop_fails; /* the same of the drops of own pages */
    uint64_t untold;   /* transactions that were told nothing of live snapshots */
    uint64_t folds;    /* commits that wrote a bitmap page */
    uint64_t logs;     /* log pages written */
    uint64_t chains;   /* pages of blocked chains written */
    uint64_t followed; /* turns of the other one for which it read nothing ... */
    uint64_t loaded;   /* ... and for which it did */
    uint32_t most_log;
} space_model;

void model_open(space_model *m, uint32_t page_size, size_t cap, uint64_t seed);
void model_close(space_model *m);

/* Readers come and go. */
void model_move_readers(space_model *m, unsigned come, unsigned go);

int model_begin(space_model *m);
int model_take(space_model *m, enum kvi_space_kind kind, size_t n);
int model_take_run(space_model *m, uint64_t pages);

/* Drops up to n pages that are in use, some in runs; own: those of this transaction. */
int model_drop(space_model *m, size_t n, bool own);

/* Drops this page, which is in use. */
int model_drop_page(space_model *m, kvi_pgno page);

/* Goes on as a newer id; what it took and dropped may be taken again. */
int model_renew(space_model *m);

/* Drops, then forgets it. */
void model_drop_and_undo(space_model *m, size_t n);

int model_seal(space_model *m, kvi_meta *meta);
void model_commit(space_model *m, const kvi_meta *meta);
void model_abort(space_model *m);

/* seal and commit */
void model_finish(space_model *m);

/* Is every page what the model says? Between transactions. */
void model_check(space_model *m);

/* Loads the records anew; what comes out is the same once the readers are known. keep: goes on with
 * the new one. */
void model_reload(space_model *m, bool keep);

/* From now on the other process makes the transactions. */
void model_turn(space_model *m);

/* The walk meets the records' own pages, each once, and with newer_than only the newer ones. */
void model_walk(space_model *m);

#endif
