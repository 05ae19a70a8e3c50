/* torture.h - what the parts of the torture driver share: engines, the board, violations.
 *
 * The driver lets worker processes, each pid 1 in a pid namespace of its own, read, write, open and
 * close one database while it kills and stops them at random. Their clocks jump, they have children,
 * and some may be programs of another C library or word size. The board is memory that all of them
 * share; there every worker notes what it is about to do and what was acknowledged, so that any
 * snapshot can be judged by whoever reads it. The driver itself never touches a database.
 */
#ifndef TORTURE_H
#define TORTURE_H

#include "rng.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    WORKERS_MAX = 64,
    PEERS_MAX = 8,
    DELAYS = 1024,  /* that are remembered */
    TEXT_MAX = 200, /* bytes of a violation's text */
    WAIT_LIMIT_MS = 100,
    EXPIRING = 48, /* entries that expire */
    GUEST_UID = 65534
};

#define MS UINT64_C(1000000) /* nanoseconds */

/* ---- engines ---- */

enum result { DONE, ABSENT, BUSY, FORKED, FAILED };

enum access { ACCESS_READ, ACCESS_WRITE, ACCESS_TRY };

/* What a process is about; of the others it is IDLE. */
enum phase {
    PHASE_IDLE,
    PHASE_OPEN,
    PHASE_CLOSE,
    PHASE_BEGIN_READ,
    PHASE_READ,
    PHASE_BEGIN_WRITE,
    PHASE_WRITE,
    PHASE_COMMIT,
    PHASES
};

struct bytes {
    const void *ptr;
    size_t len;
};

typedef void visit(void *context, struct bytes key, struct bytes value);

enum { CHANGES_MAX = 400 };

struct change {
    struct bytes key, value; /* value.ptr NULL: the entry goes */
};

/* Changes that belong together. */
struct batch {
    struct bytes only_if, before; /* only while this key has this value; only_if.ptr NULL: always */
    uint64_t count;               /* of the place that makes them */
    size_t n;
    struct change changes[CHANGES_MAX];
};

struct engine {
    const char *name;
    const char *(*version)(void);
    const char *side;  /* suffix of the file that the last to leave removes; NULL: it stays */
    bool many_handles; /* a process may open the file several times */
    bool guests;       /* who may not write anything can read */
    bool forks;        /* a child is told FORKED by what it inherited, and may open for itself */
    /* For an operation, the phases (as bits) in which a process that is stopped may delay it. */
    unsigned delayed_by[PHASES];
    enum result (*open)(const char *path, bool guest, uint64_t dice, void **store);
    enum result (*close)(void *store);
    /* BUSY only for ACCESS_TRY */
    enum result (*begin)(void *store, enum access access, uint64_t dice, void **view);
    enum result (*refresh)(void *view);
    /* Sleeps until there is a commit that the view does not see; ABSENT: there was none for ms
     * milliseconds. NULL: the engine cannot. */
    enum result (*newer)(void *view, uint32_t ms);
    enum result (*commit)(void *view);
    void (*abort)(void *view);
    /* All changes by one call; BUSY: their condition does not hold. NULL: the engine has none. */
    enum result (*write)(void *store, const struct batch *batch, uint64_t dice);
    enum result (*get)(void *view, struct bytes key, struct bytes *value);
    enum result (*put)(void *view, struct bytes key, struct bytes value);
    enum result (*del)(void *view, struct bytes key);
    /* An entry that expires after ttl_ms, or shall do so from now on. */
    enum result (*put_for)(void *view, struct bytes key, struct bytes value, uint64_t ttl_ms);
    enum result (*expire)(void *view, struct bytes key, uint64_t ttl_ms);
    /* The time of a view; *said: that of the clock when the view began or was refreshed. NULL: the
     * engine knows no time, and what expires is left out. */
    uint64_t (*now)(void *view, uint64_t *said);
    enum result (*scan)(void *view, visit *fn, void *context);
    enum result (*check)(void *store);
    const char *(*why)(void); /* a sentence about the newest FAILED */
};

/* NULL: no such engine, or the program was built without it. */
const struct engine *torture_engine(const char *name);
extern const struct engine torture_kv;
const struct engine *torture_lmdb(void); /* NULL: built without LMDB */

/* The engine with a fault built in, to see whether the driver notices. NULL: no such fault. */
const struct engine *torture_fault(const struct engine *engine, const char *fault);
const char *torture_faults(void); /* their names */

/* ---- the board ---- */

enum life {
    LIFE_DEAD,
    LIFE_LIVE,
    LIFE_DYING,
    LIFE_MOURNING /* it has killed a child that may have been writing in its place */
};

enum mode { MODE_MIXED, MODE_DOOR, MODE_WRITE, MODE_READ, MODES };

/* A worker's place, a cache line; its processes come and go. */
struct place {
    _Atomic uint64_t intent;      /* its counter in the newest commit that it may have begun */
    _Atomic uint64_t acked;       /* its counter in the newest commit that was acknowledged */
    _Atomic uint64_t seen;        /* the greatest of its counters in any snapshot */
    _Atomic uint64_t guests_seen; /* the same by processes that may not write */
    _Atomic uint64_t since;       /* when the phase began */
    _Atomic uint64_t queued;      /* for a processor, ns, until then */
    _Atomic uint32_t phase;
    _Atomic uint32_t life;
    _Atomic uint32_t lent;     /* to a child, for which the process waits */
    _Atomic uint32_t children; /* beside it */
};

/* A time in which a process could do nothing: stopped, dying, or the machine was slow. */
struct delay {
    _Atomic uint64_t from; /* 0: unused */
    _Atomic uint64_t to;   /* 0: lasts */
    _Atomic uint32_t phase;
    _Atomic uint32_t place; /* WORKERS_MAX: everybody */
};

enum count {
    COUNT_COMMITS,
    COUNT_ABORTS,
    COUNT_BATCHES,   /* commits by one call */
    COUNT_OVERTAKEN, /* batches that came too late */
    COUNT_SNAPSHOTS,
    COUNT_REFRESHES,
    COUNT_WAITS, /* for a commit */
    COUNT_OPENS,
    COUNT_EMPTY,  /* the side file was gone after closing */
    COUNT_GUESTS, /* snapshots of those who may not write */
    COUNT_TRIES,  /* of a second writer in the same process */
    COUNT_FORKS,
    COUNT_CLONES,    /* children that no handler of the C library has seen */
    COUNT_STAND_INS, /* children that worked in their parent's place */
    COUNT_EXPIRED,   /* snapshots with entries that had expired */
    COUNT_BEHIND,    /* snapshots whose clock was behind that of their commit */
    COUNT_REFUSED,   /* calls of a child with what it inherited */
    COUNT_PIPE_FULL,
    COUNTS
};

struct board {
    uint32_t size; /* of this structure: a program that was built from other sources is told */
    uint32_t workers;
    char engine[16], fault[16], path[1024];
    uint64_t seed;
    uint32_t guests; /* some processes may not write anything */
    uint32_t forks;  /* processes have children */
    uint32_t jumps;  /* their clocks jump */
    _Atomic uint32_t mode, leave, damaged;
    uint64_t patience;         /* ns, with an operation that does not end */
    _Atomic uint64_t clock;    /* the greatest time of an acknowledged commit */
    _Atomic uint64_t hold_end; /* when a write transaction ended last */
    _Atomic uint64_t n_delays;
    _Atomic uint64_t fault_word; /* for fault.c */
    _Atomic uint64_t count[COUNTS];
    _Atomic uint64_t worst[PHASES];       /* wait, ns */
    _Atomic uint64_t worst_blame[PHASES]; /* of it, what nothing excuses */
    struct place place[WORKERS_MAX];
    struct delay delay[DELAYS];
};

/* Programs of any C library and word size share it. */
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "locks of one program mean nothing to another");
_Static_assert(sizeof(struct place) == 64, "a cache line");
_Static_assert(sizeof(struct delay) == 24, "no padding");
_Static_assert(offsetof(struct board, seed) == 8 + 32 + 1024, "no padding");
_Static_assert(offsetof(struct board, patience) == offsetof(struct board, seed) + 32, "no padding");
_Static_assert(offsetof(struct board, place) ==
                   offsetof(struct board, patience) + 8 * (5 + COUNTS + 2 * PHASES),
               "no padding");
_Static_assert(sizeof(struct board) ==
                   offsetof(struct board, place) + 64 * WORKERS_MAX + 24 * DELAYS,
               "no padding");

extern struct board *board;
extern bool torture_guest; /* this process may not write anything */

void torture_board_create(void);
bool torture_board_inherit(void); /* false: it is of another layout */

uint64_t torture_now(void); /* ns, the same clock in every process */
void torture_nap(uint64_t ns);
void torture_raise(_Atomic uint64_t *value, uint64_t to); /* to at least that */
void torture_add(enum count count);
const char *torture_phase_name(enum phase phase);

/* Notes a delay that begins now, or one that is over. */
struct delay *torture_delay(uint64_t from, uint64_t to, enum phase phase, uint32_t place);

/* How long a process has been ready to run, but was not given a processor: from an open
 * /proc/PID/schedstat. */
uint64_t torture_queued(int schedstat);

/* Of a wait from begin to end, queued for so long, the time that neither a stopped or dying process
 * nor a slow machine nor a living writer explains. */
uint64_t torture_blame(const struct engine *engine, uint32_t me, enum phase phase, uint64_t begin,
                       uint64_t end, uint64_t queued);

/* Processes that find out when the machine is slow; they end with their parent. */
void torture_hearts(const char *dir);

/* ---- violations ---- */

enum violation {
    LOST,      /* an acknowledged commit, or one that was seen, is not there */
    GHOST,     /* a commit that nobody made is there */
    TORN,      /* a snapshot is not as any commit left it */
    CHANGED,   /* a snapshot was not the same later */
    UNREAD,    /* the engine could not read what it must have written itself */
    TWO,       /* two writers at once */
    WAITED,    /* too long, for nobody that lives */
    STUCK,     /* an operation did not end */
    ERROR,     /* the engine failed otherwise */
    CRASHED,   /* a process died of something else than our SIGKILL */
    INHERITED, /* what is the parent's worked in a child */
    TIME,      /* that of a transaction is wrong, or an entry did not keep to it */
    LEFT,      /* the side file is left, or the file does not check */
    VIOLATIONS
};

struct message {
    uint32_t kind;
    uint32_t place;
    uint32_t guest; /* it came from one */
    char text[TEXT_MAX];
};

void torture_violation(enum violation kind, uint32_t place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool torture_next_message(struct message *message); /* for the parent */
const char *torture_violation_name(enum violation kind);

/* ---- data.c: the small data set ---- */

/* Of all that does not expire, and the time of the commit; 0: it is not known. */
struct sum {
    uint64_t hash, total, entries, clock;
};

struct expiry {
    uint64_t at; /* 0: there is no such entry */
    uint64_t hash;
};

struct reading {
    uint64_t hash, total, entries; /* of what is there */
    uint64_t now, said;            /* the time, and what the clock said */
    struct sum sum;                /* as the last commit left it */
    uint64_t counter[WORKERS_MAX];
    struct expiry expiry[EXPIRING]; /* as the last commit left it */
    uint64_t expiring[EXPIRING];    /* hash of what is there; 0: nothing */
};

struct bounds {
    uint64_t least[WORKERS_MAX];
    uint64_t clock;
};

/* What every snapshot from now on must have. Guests may see a commit a moment before the others do,
 * but no write transaction begins without it. */
void torture_bounds(struct bounds *bounds, bool with_guests);

/* Reads everything; false: the engine failed, or a violation was found, and is reported. */
bool torture_verify(const struct engine *engine, void *view, uint32_t me,
                    const struct bounds *bounds, struct reading *reading);

/* Changes something at random and raises the counter of this place to *count, all kept right. */
enum result torture_change(const struct engine *engine, void *view, uint32_t me, rng *dice,
                           uint64_t *count);

/* ---- batch.c ---- */

/* Such changes, beside a snapshot. */
enum result torture_batch_make(const struct engine *engine, void *snapshot, uint32_t me, rng *dice,
                               struct batch *batch);
void torture_batch_free(struct batch *batch); /* whatever making it returned */

/* ---- clock.c: the wall clock of this process ---- */

/* Every process has another time, which goes on, and now and then jumps. ms since the epoch. */
void torture_clock_seed(uint64_t seed);
uint64_t torture_clock(void);

/* ---- processes ---- */

int torture_worker(uint32_t place, uint64_t life); /* place = workers: the auditor */

struct herd {
    const struct engine *engine;
    const char *peer[PEERS_MAX]; /* programs, of which processes are started beside our own */
    uint32_t peers;
    uint64_t starts[PEERS_MAX + 1]; /* of each, and at the end of our own */
    bool namespaces, stopping;
    uint64_t rounds, kills, stops;
    uint64_t parents_killed; /* with their children, or these soon after */
    uint64_t killed_in[PHASES];
};

/* Whether processes can be pid 1 of a namespace; says so when they cannot. */
bool torture_namespaces(void);

void torture_herd_start(struct herd *herd, rng *dice);
void torture_herd_disturb(struct herd *herd, rng *dice); /* for one moment */
void torture_herd_leave(struct herd *herd);              /* all close and end by themselves */
void torture_herd_kill_all(struct herd *herd);
void torture_herd_audit(void);

/* ---- report.c ---- */

void torture_collect(uint64_t round); /* what processes have found */
uint64_t torture_violations(void);    /* so far */
void torture_report(const struct herd *herd, uint64_t ns);

#endif
