/* crash_record.h - what the files that run a workload share: its state, and the lives of the
 * handles that work on it. */
#ifndef CRASH_RECORD_H
#define CRASH_RECORD_H

#include "crash_impl.h"
#include "fault_os.h"

#define AUDIT_SLOTS 8192
#define SIDE_KEPT   8192 /* bytes of the side file, while few readers use it */

/* One page as it was last written, to see that no birth is used twice. */
typedef struct audit_slot {
    uint64_t page, birth;
    uint64_t checksum;
} audit_slot;

/* A handle, in a process of its own. */
typedef struct life {
    kv_db *db; /* NULL: not open */
    uint64_t process;
    bool careless; /* leaves without a flush */
    kv_txn *reader;
    model_state *reader_state;
} life;

/* What stood in the side file before each event of the operation in progress: maps leave no events,
 * and who survives a kill goes on with what the dead one had written by then. */
typedef struct side_history {
    uint8_t (*bytes)[SIDE_KEPT];
    size_t n, cap;
} side_history;

typedef struct recorder {
    crash_sweep s;
    const crash_workload *w;
    sim_disk *disk;
    fault_os fault;
    model *m;
    driver d; /* d.db: that of who acts */
    rng r;
    crash_log log;
    life lives[2];
    life *me;           /* who acts */
    uint64_t processes; /* so far */
    size_t start;       /* event at which the operation in progress began */
    side_history sides; /* from there on */
    bool poisoned;
    crash_twice twice;
    bool rebooted;      /* the next open may find any commit of a range */
    uint64_t low, high; /* of that range */
    uint64_t under;     /* the commit whose content it found */
    audit_slot audit[AUDIT_SLOTS];
    size_t audit_from; /* the event it begins at */
    size_t audited;    /* events */
} recorder;

/* ---- crash_record.c ---- */

bool record_wrong(recorder *x, const char *format, ...) __attribute__((format(printf, 2, 3)));
void record_promise(recorder *x, uint64_t durable, uint64_t published, uint64_t writing);
const crash_moment *record_promised(const recorder *x);
bool record_chance(recorder *x, unsigned one_in);

/* The next flush or write fails; plan_over: did it? */
void record_plan_flush(recorder *x);
bool record_plan_over(recorder *x);

/* An operation begins: a kill comes after this moment. */
void record_start(recorder *x);

void record_audit_restart(recorder *x);
void record_audit_cut(recorder *x); /* some events were taken back */

/* ---- crash_life.c ---- */

/* Everybody dies; nothing that a handle does from now on reaches the disk. */
void life_end_all(recorder *x);

/* Some die, at some moment of the operation that came last. */
void life_kill(recorder *x);

/* Opens where nobody is, or goes on with who was left. */
bool life_go_on(recorder *x);
bool life_close(recorder *x);

/* Who acts next? In a workload with two handles, another one may come, and the first one leave. */
bool life_choose(recorder *x);

bool life_reader(recorder *x); /* takes or ends an old snapshot */

/* After a failed flush: nobody writes any more, all leave, and somebody comes back. */
bool life_poisoned(recorder *x);

void life_free(recorder *x);

#endif
