/* driver.h - random operations, done by the database and by the model at once; every answer is
 * compared. Model tests, the crash recorder and the fault runs all work through it. */
#ifndef DRIVER_H
#define DRIVER_H

#include "kv.h"
#include "model.h"
#include "rng.h"

/* What the operations look like. */
typedef struct driver_shape {
    uint32_t keys;      /* different keys per tree */
    uint32_t key_max;   /* bytes */
    uint32_t value_max; /* bytes of an ordinary value */
    uint32_t large_max; /* bytes of a large one; 0: none */
    uint32_t large_one_in;
    uint32_t trees; /* named trees */
    bool sorted;    /* ascending keys */
    bool savepoints;
    bool ranges; /* del_range, clear, drop, rename */
    bool expiry; /* entries that expire; needs the clock */
    uint64_t compress_from;
} driver_shape;

typedef struct driver {
    kv_db *db;
    model *m;
    rng r;
    driver_shape shape;
    kv_txn *txn;       /* the open write transaction */
    model_state *base; /* the model before it */
    uint32_t n_savepoints;
    model_state *savepoints[8];
    uint64_t counter; /* for ascending keys */
    uint64_t *clock;  /* of the machine, in milliseconds; NULL: stays as it is */
    int failure;      /* first error that an operation returned; the driver does nothing more */
    const char *what; /* the operation that returned it, or a difference found */
} driver;

void driver_init(driver *d, kv_db *db, model *m, uint64_t seed, const driver_shape *shape);

/* Moves the clock, mostly ahead; driver_begin does it too. */
void driver_pass_time(driver *d);

/* Begins a write transaction with kv_txn_begin's flags. False: it failed (d->failure). */
bool driver_begin(driver *d, uint32_t flags);

/* n random operations. False: one failed or differed; then only driver_abort. */
bool driver_steps(driver *d, unsigned n);

/* The newest published commit; asking needs no reader's slot, so no system call fails in it. */
uint64_t driver_newest(kv_db *db);

/* Ends it. commit: the model remembers the state under the transaction's id when the result is
 * KV_OK and something changed, and goes back otherwise. Returns kv_txn_commit's result. */
int driver_commit(driver *d);
void driver_abort(driver *d);

/* Compacts the database, by commits of its own, which change nothing that can be seen. */
int driver_compact(driver *d);

/* For who begins and ends transactions himself. The model's present state is the base of txn; leaving
 * without keep makes it that again. */
void driver_enter(driver *d, kv_txn *txn);
void driver_leave(driver *d, bool keep);

/* What operations are made of: the name of a tree, which need not exist; a key, in room for 16384
 * bytes; a value, valid until the next. */
kvi_slice driver_pick_tree(driver *d);
kvi_slice driver_pick_key(driver *d, uint8_t *room);
kvi_slice driver_pick_value(driver *d);

/* Compares entries by number, chosen by a random number, of a range and of the tree. NULL, or what
 * differs; *result: of the last call, an error if that was it. from may be NULL. */
const char *driver_order(kv_tree *tree, const model_tree *t, const kvi_slice *from, uint64_t random,
                         int *result);

/* Compares every tree, entry by entry, with the state. NULL, or what differs. Trees whose name begins
 * with ~ are the test's own, here and below. */
const char *driver_compare(kv_txn *txn, const model_state *state);

/* By content hash: scans all trees of the transaction; false on an error or a difference. */
bool driver_same(kv_txn *txn, const model_state *state);

#endif
