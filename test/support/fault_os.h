/* fault_os.h - a table of system calls that fails one call on purpose: it passes everything on to
 * another table, counts the calls that can fail, and lets a chosen one go wrong. It also balances
 * what was taken against what was given back.
 *
 * A driver repeats its work with at = 1, 2, 3 ... until a run ends that had no failure:
 *
 *     for (uint64_t n = 1;; n++) {
 *         fault_plan(&fault, (fault_case){.at = n, .mode = FAULT_ERROR, .error = EIO});
 *         work(&fault.os);
 *         if (!fault_hit(&fault))
 *             break;
 *     }
 *
 * Calls may come from many threads; plans are made while there is only one.
 */
#ifndef FAULT_OS_H
#define FAULT_OS_H

#include "os.h"
#include <stdatomic.h>

typedef enum fault_call { /* those that can fail */
                          FAULT_OPEN,
                          FAULT_CLOSE,
                          FAULT_PREAD,
                          FAULT_PWRITEV,
                          FAULT_WRITE,
                          FAULT_SYNC,
                          FAULT_TRUNCATE,
                          FAULT_STAT,
                          FAULT_STAT_PATH,
                          FAULT_PERMIT,
                          FAULT_LINK,
                          FAULT_RENAME,
                          FAULT_UNLINK,
                          FAULT_SYNC_DIR,
                          FAULT_RESOLVE,
                          FAULT_SHAREABLE,
                          FAULT_LOCK,
                          FAULT_LOCK_WAIT,
                          FAULT_LOCK_PROBE,
                          FAULT_MAP,
                          FAULT_MAP_SHARED,
                          FAULT_ALLOC,
                          FAULT_REALLOC,
                          FAULT_RESERVE,
                          FAULT_RANDOM,
                          FAULT_BOOT_ID,
                          FAULT_CALLS,
} fault_call;

#define FAULT_BIT(call) (1u << (call))
#define FAULT_ALL       (FAULT_BIT(FAULT_CALLS) - 1)
#define FAULT_MEMORY    (FAULT_BIT(FAULT_ALLOC) | FAULT_BIT(FAULT_REALLOC) | FAULT_BIT(FAULT_RESERVE))
#define FAULT_SYSTEM    (FAULT_ALL & ~FAULT_MEMORY)
#define FAULT_DATA      (FAULT_BIT(FAULT_PREAD) | FAULT_BIT(FAULT_PWRITEV) | FAULT_BIT(FAULT_WRITE))
#define FAULT_CHANGE                                                                               \
    (FAULT_BIT(FAULT_PWRITEV) | FAULT_BIT(FAULT_WRITE) | FAULT_BIT(FAULT_SYNC) |                   \
     FAULT_BIT(FAULT_TRUNCATE) | FAULT_BIT(FAULT_LINK) | FAULT_BIT(FAULT_RENAME) |                 \
     FAULT_BIT(FAULT_UNLINK) | FAULT_BIT(FAULT_SYNC_DIR))

typedef enum fault_mode {
    FAULT_ERROR, /* the call does nothing and fails */
    FAULT_LATE,  /* the call does its work, a write half of it, and fails all the same; memory is
                    refused as with FAULT_ERROR */
    FAULT_SHORT, /* the call does half of it and says so; the mask is narrowed to FAULT_DATA */
} fault_mode;

typedef struct fault_case {
    uint64_t at;   /* which call, counted from 1; 0: none */
    uint32_t mask; /* the calls that count: FAULT_BIT()s; 0: all */
    fault_mode mode;
    bool sticky; /* all later calls in mask, too */
    int error;   /* errno; 0: EIO */
} fault_case;

typedef struct fault_os {
    kvi_os os; /* first: the calls find their record by its address */
    const kvi_os *inner;

    /* Told of every flush that fails here, so that a simulated disk can lose what it was for
     * (sim_lose_sync). May be NULL. */
    void (*sync_failed)(const kvi_os *inner, int fd);

    fault_case plan;
    _Atomic uint64_t counted;             /* calls in the mask since the plan was made */
    _Atomic uint64_t calls[FAULT_CALLS];  /* all of them, by kind */
    _Atomic uint64_t failed[FAULT_CALLS]; /* of them, made to fail or cut short */
    _Atomic int first_failed;             /* its kind, or FAULT_CALLS */
    _Atomic uint64_t first_offset;        /* where it was to read or write, if it was */
    _Atomic bool first_zeros;             /* it was to write zeros */

    /* taken and not given back; these live as long as the table */
    _Atomic int64_t handles;
    _Atomic int64_t maps;
    _Atomic int64_t allocations;
    _Atomic int64_t reservations;
} fault_os;

void fault_init(fault_os *fault, const kvi_os *inner);

/* Takes a plan and starts counting anew. */
void fault_plan(fault_os *fault, fault_case plan);

/* Did the plan come true? Then first_failed names the call. */
bool fault_hit(const fault_os *fault);

/* Is everything given back? */
bool fault_balanced(const fault_os *fault);

const char *fault_name(fault_call call);

/* One line about the last run, for a failing test's message. */
void fault_describe(const fault_os *fault, char *buf, size_t size);

#endif
