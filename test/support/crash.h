/* crash.h - the crash recorder: runs a workload on a simulated disk and then opens the database from
 * everything that a power cut or a kill could have left of it.
 *
 * A workload is random transactions, with kills, closes, failing flushes and power cuts between;
 * a model remembers the state of every commit. From one flush to the next the disk may have kept any
 * of the changes made since, in units of sectors (8-byte words inside the metas), sizes and names
 * apart. Each image that differs from all others is opened: recovery must succeed, and find a commit
 * that was acknowledged or at least begun, with the content it had; then more commits must work, be
 * found again, and nothing that was lost may come back. Some of those runs are recorded themselves,
 * and cut short in the same way. Some flushes are lies: what came before them may be lost although what
 * came after was kept; an older commit may then be found, or an error, but never a wrong answer.
 *
 * Everything depends on the workload and its seed alone. A failure names the moment and what the
 * disk lost, made as small as possible; CRASH_REPLAY set to the line it prints repeats it.
 */
#ifndef CRASH_H
#define CRASH_H

#include "driver.h"

enum { /* kinds of commits in a workload */
       CRASH_DEFAULT = 1,
       CRASH_STRICT = 2,
       CRASH_LAZY = 4,
       CRASH_ANY = 7,
};

typedef struct crash_workload {
    const char *name;
    driver_shape shape;
    uint32_t page_size;  /* 0: the smallest */
    uint64_t budget;     /* memory of a transaction; 0: the default */
    uint64_t lazy_bytes; /* kv_options.lazy_sync_bytes */
    uint32_t sweep;      /* kv_options.sweep_per_write */
    unsigned kinds;
    unsigned segments; /* runs, with a power cut between any two */
    unsigned txns;     /* of a run */
    unsigned steps;    /* of a transaction, at most */
    bool empty_file;   /* there is one before the database is created */
    bool pair;         /* two handles take turns; one may die or leave while the other stays */
    /* Once in so many transactions; 0: never. */
    unsigned abort, sync, close, kill, purge;
    unsigned group;      /* batches committed together, in a transaction's place */
    unsigned snapshot;   /* one with a name is made, dropped or restored, beside a transaction */
    unsigned compact;    /* beside a transaction */
    unsigned clock;      /* the file's is set back, beside a transaction */
    bool replay;         /* every commit is made by kv_backup_apply */
    unsigned reader;     /* takes or ends an old snapshot */
    unsigned fail_flush; /* and the disk loses some of what it was for */
    unsigned fail_write;
    unsigned slow; /* states cost so many times more than elsewhere, and there are fewer; 0: 1 */
} crash_workload;

typedef struct crash_totals {
    uint64_t images;  /* made; many are alike */
    uint64_t states;  /* distinct ones, each opened and checked */
    uint64_t kills;   /* of them, after a kill; the others after a power cut */
    uint64_t lies;    /* of them, behind a flush that the disk only claimed to have done */
    uint64_t refused; /* of those, opened with an error, or not readable in whole */
    uint64_t twice;   /* of those, misread where an id had been used twice */
    uint64_t nested;  /* of them, in the middle of a recovery or what followed it */
    uint64_t sharing; /* of them, left by a workload that shared the file */
    uint64_t shared;  /* opens of databases: for sharing, alone, only to read */
    uint64_t alone;
    uint64_t reading;
    uint64_t deaths;  /* of one handle while the other went on */
    uint64_t losses;  /* lazy commits that the kernel failed to write back */
    uint64_t commits; /* recorded */
    uint64_t flushes; /* recorded: epochs */
    uint64_t largest; /* states of the epoch that has most */
    double seconds;
} crash_totals;

/* Is only one state to be looked at (CRASH_REPLAY)? *mine: is it one of this workload? */
bool crash_replayed(const crash_workload *w, bool *mine);

/* Runs the workload once and adds up to the given number of states to the totals, at most
 * epoch_max of them from one epoch. NULL, or what went wrong, good until the next call. */
const char *crash_run(const crash_workload *w, uint64_t seed, uint64_t states, uint64_t epoch_max,
                      crash_totals *totals);

#endif
