/* crash_impl.h - what the files of the crash recorder share. */
#ifndef CRASH_IMPL_H
#define CRASH_IMPL_H

#include "crash.h"
#include "sim_os.h"

#define CRASH_FILE   "db"
#define CRASH_SIDE   "db-lock"
#define CRASH_DEPTH  3 /* a crash, one in its recovery or the work after it, and one more */
#define CRASH_FILES  8 /* files whose images are hashed in parts */
#define CRASH_SECTOR 512

/* ---- promises: crash_log.c ---- */

/* What holds from an event on. */
typedef struct crash_moment {
    size_t at;          /* number of events before it */
    uint64_t durable;   /* newest commit acknowledged as durable; 0: no database yet */
    uint64_t published; /* newest commit that readers could see */
    uint64_t writing;   /* commit whose outcome is open; 0: none */
} crash_moment;

typedef struct crash_log {
    crash_moment *moments;
    size_t n, cap;
} crash_log;

void crash_log_add(crash_log *log, crash_moment moment);
void crash_log_cut(crash_log *log, size_t at); /* nothing behind at happened */
const crash_moment *crash_log_find(const crash_log *log, size_t at);
void crash_log_free(crash_log *log);

/* Which commit recovery may find. */
typedef struct crash_expect {
    const model_commit *known;
    size_t n_known;
    uint64_t low, high;
    bool exact;     /* after a kill: low or high and nothing between */
    bool missing;   /* the database need not exist yet */
    uint64_t twice; /* from this id on pages may be taken for others: see crash_twice */
} crash_expect;

/* ---- images: crash_image.c ---- */

typedef struct crash_hash {
    uint64_t lo, hi;
} crash_hash;

/* The hash of a disk's files, which follows changes at the cost of the sectors they touch. */
typedef struct crash_image {
    crash_hash hash;
    crash_hash *sectors[CRASH_FILES];
    uint32_t *stamps[CRASH_FILES];
    size_t cap[CRASH_FILES];
    uint32_t stamp;
} crash_image;

void crash_image_take(crash_image *image, const sim_disk *disk);
/* The hash of disk, which differs from the image in its events from position on. */
crash_hash crash_image_after(crash_image *image, const sim_disk *disk, size_t position);
void crash_image_free(crash_image *image);

typedef struct crash_seen {
    crash_hash *slots;
    size_t n, cap;
} crash_seen;

bool crash_seen_add(crash_seen *seen, crash_hash hash); /* false: it was there */
void crash_seen_free(crash_seen *seen);

/* ---- what follows a recovery: crash_sequel.c ---- */

#define SEQUEL_COMMITS 3

typedef struct sequel_op {
    kvi_slice tree, key, value; /* value.ptr NULL: delete */
} sequel_op;

/* Commits on top of a state, which are the same whenever that state is recovered. */
typedef struct sequel {
    model_state *base; /* NULL: empty slot */
    unsigned variant;
    unsigned commits;
    sequel_op *ops;
    uint8_t *bytes;
    size_t n_ops[SEQUEL_COMMITS];
    model_state *after[SEQUEL_COMMITS];
} sequel;

#define SEQUEL_VARIANTS 8
#define SEQUEL_CACHE    512

const sequel *sequel_get(sequel *cache, model *scratch, model_state *base, unsigned variant);
void sequel_free(sequel *s);

/* The k-th commit: its flags for kv_txn_begin, and its operations. */
uint32_t sequel_flags(const sequel *s, unsigned k);
int sequel_apply(const sequel *s, unsigned k, kv_txn *txn);

/* ---- the search: crash_sweep.c ---- */

/* What the disk keeps of an epoch: one image. */
typedef struct crash_epoch {
    size_t at;       /* the events before this one happened */
    sim_unit *units; /* changes that may be lost */
    uint32_t *group; /* of each: units of one page or meta have one number */
    uint8_t *keep;
    sim_unit *chosen;
    size_t n, cap, groups;
    unsigned garbage; /* what stands where nothing was kept: enum crash_garbage */
    bool active;      /* its state is being looked at */
    bool kill;        /* instead of a power cut: all events, and the first units of the next */
    bool lie;         /* the flush at event at was none, and the next one has not begun */
    uint64_t pick;    /* decides what follows recovery */
} crash_epoch;

enum crash_garbage { GARBAGE_ZERO, GARBAGE_ONES, GARBAGE_RANDOM, GARBAGE_OLD, GARBAGE_KINDS };

typedef struct crash_level {
    sim_disk *disk; /* what is settled */
    size_t pending; /* the first event that may not be, at the end of a sweep */
    crash_image image;
    crash_epoch epoch;
    uint8_t *old; /* what ever stood in the first file, by offset */
    size_t old_size;
} crash_level;

/* One level of a replayed state. */
typedef struct crash_step {
    size_t at;
    bool kill, lie;
    unsigned garbage;
    uint64_t pick;
    const char *kept; /* "0-4+7": numbers of units */
} crash_step;

typedef struct crash_path {
    char *text;
    unsigned segment;
    crash_step steps[CRASH_DEPTH];
    size_t n; /* 0: nothing is replayed */
} crash_path;

typedef struct crash_sweep {
    const crash_workload *w;
    uint64_t seed;
    uint64_t epoch_max;
    kv_options options;
    bool exclusive; /* the workload has the file to itself */
    rng r;
    crash_totals *totals;
    unsigned segment;
    crash_level levels[CRASH_DEPTH];
    crash_seen seen;
    sequel cache[SEQUEL_CACHE];
    model *scratch;
    crash_path path;
    bool minimising;
    bool failed;
    char why[256];
    char report[16384];
} crash_sweep;

/* A stretch of recorded events, and what was promised in it. */
typedef struct crash_record {
    sim_disk *disk;
    size_t from;
    const crash_log *log;
    const model_commit *known;
    size_t n_known;
    uint64_t twice; /* the least birth of two pages of one number; UINT64_MAX: there are none */
} crash_record;

/* ---- ids used twice: crash_twice.c ---- */

typedef struct crash_twice {
    struct crash_written {
        uint64_t page, birth, checksum;
    } * written; /* a hash table; birth 0: empty */
    size_t n, cap;
    uint64_t least; /* birth of pages that differ; UINT64_MAX: none do. Set before the first use */
} crash_twice;

/* Notes what the disk's events write. */
void crash_twice_note(crash_twice *twice, const sim_disk *disk, uint32_t page_size);
void crash_twice_free(crash_twice *twice);

/* Power cuts: levels[depth].disk is what was settled before the record. In the end it is what is
 * settled after it. Stops after budget states. False: a failure. */
bool crash_sweep_cuts(crash_sweep *s, unsigned depth, const crash_record *record, uint64_t budget);

/* Kills: takes the record's events back one by one. */
bool crash_sweep_kills(crash_sweep *s, unsigned depth, const crash_record *record, uint64_t budget);

/* Adds a random part of what is pending at the end of the record to levels[0].disk. */
void crash_sweep_reboot(crash_sweep *s, const crash_record *record, rng *r);

/* ---- units of an epoch: crash_epoch.c ---- */

/* Gathers what is pending at event at. */
void crash_epoch_gather(crash_epoch *e, const crash_record *record, size_t from, size_t at,
                        uint32_t page_size);
void crash_epoch_free(crash_epoch *e);
void crash_epoch_keep_all(crash_epoch *e, bool keep);
void crash_epoch_keep_group(crash_epoch *e, uint32_t group, bool keep);

/* The units that are kept, adjacent ones joined. Returns their number. */
size_t crash_epoch_choose(crash_epoch *e);

/* Makes the image. */
void crash_epoch_lay(crash_level *level);

/* ---- one image: crash_check.c ---- */

/* Opens it and looks whether all is well; epoch->pick decides what else is done. */
bool crash_check(crash_sweep *s, unsigned depth, sim_disk *disk, const crash_expect *expect,
                 uint64_t pick);

/* The same behind a flush that was a lie: crash_lie.c. */
bool crash_check_lie(crash_sweep *s, sim_disk *disk, const crash_expect *expect, uint64_t pick);

/* Leaves a side file behind as an earlier boot may have: missing, empty, or full of news. */
void crash_haunt(sim_disk *disk, uint64_t pick);

uint64_t crash_newest(kv_db *db);

/* The commit of that id; NULL: none that is known. */
const model_commit *crash_known(const crash_expect *expect, uint64_t id);

/* The commit that was recovered, or whose content was; NULL and s->why when it is none that may be.
 * */
const model_commit *crash_found(crash_sweep *s, kv_db *db, const crash_expect *expect);

/* ---- messages: crash_report.c ---- */

/* Notes what is wrong, the first time. Returns false. */
bool crash_wrong(crash_sweep *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Describes the state that is being looked at, into s->report. */
void crash_report(crash_sweep *s, const crash_record *record, unsigned depth);

/* Is there a CRASH_REPLAY, and is it for this workload? Then *seed is that of the replay. */
bool crash_path_wanted(const crash_workload *w, uint64_t *seed, bool *mine);

/* Reads it. */
void crash_path_read(crash_path *path);
void crash_path_free(crash_path *path);

/* Does the replay lead through this epoch, and if so, through which state? */
const crash_step *crash_path_step(const crash_sweep *s, unsigned depth, size_t at, bool kill,
                                  bool lie);
void crash_step_keep(const crash_step *step, crash_epoch *e);

/* From now on a crash of the program itself, or a hang, prints the state it is at; NULL: no more.
 * */
void crash_watch(crash_sweep *s);

#endif
