/* crash_check.c - is one image all right? Recovery, content, further commits, and recovery again.
 * */
#include "crash_impl.h"
#include "db.h"
#include "driver_snapshot.h"
#include "txn.h"

#define SAMPLE_CHECK        16 /* one in so many states: kv_db_check after recovery */
#define SAMPLE_AGAIN        8  /* ... recovered twice before anything is written */
#define SAMPLE_READER       32 /* ... opened read-only first */
#define SAMPLE_PAIR         4  /* ... by two handles, when the file is shared */
#define SAMPLE_NESTED       64 /* ... recorded and cut short */
#define NESTED_STATES       24 /* from one of those */
#define ODD(pick, shift, n) (((pick) >> (shift)) % (n) == 0)

/* The run on an image: everything from the first open to the last look. */
typedef struct run {
    crash_sweep *s;
    sim_disk *disk;
    const crash_expect *expect;
    uint64_t pick;
    kv_db *db;
    kv_db *other;   /* a second handle, or NULL */
    uint64_t id;    /* recovered */
    uint64_t under; /* the same, or the commit whose content that one has */
    model_state *state;
    const sequel *sequel;
    crash_log log;
    model_commit known[SEQUEL_COMMITS + 2];
    size_t n_known;
} run;

/* ---- opening ---- */

/* Half of the states are recovered by a sharer, half by a sole owner. */
static bool run_shared(const run *x)
{
    return ODD(x->pick, 30, 2);
}

static bool run_open_one(run *x, uint32_t flags, kv_db **db)
{
    char message[160];
    kv_options options = x->s->options;
    crash_totals *totals = x->s->totals;
    bool reading = flags & KV_OPEN_READONLY;
    options.flags = flags | (reading || run_shared(x) ? 0 : KV_OPEN_EXCLUSIVE);
    *(reading ? &totals->reading : run_shared(x) ? &totals->shared : &totals->alone) += 1;
    int rc = kvi_db_open(sim_os(x->disk), CRASH_FILE, &options, db, message, sizeof message);
    return rc == KV_OK || crash_wrong(x->s, "open: %d (%s)", rc, message);
}

static bool run_open(run *x, uint32_t flags)
{
    return run_open_one(x, flags, &x->db);
}

/* The handle is gone as if the process had died: nothing reaches the disk any more. */
static void run_kill(run *x)
{
    sim_kill(x->disk);
    kvi_db_close(x->db);
    if (x->other)
        kvi_db_close(x->other);
    x->db = x->other = NULL;
}

/* ---- what an earlier boot may have left beside the database ---- */

/* A side file that looks alive: poisoned, with a commit that never was, and somebody reading. */
static void haunt_full(uint8_t *bytes)
{
    kvi_side_head *head = (kvi_side_head *)bytes;
    kvi_slot *slot = (kvi_slot *)(bytes + KVI_SIDE_HEAD);
    head->magic = KVI_SIDE_MAGIC;
    head->version = KVI_SIDE_VERSION;
    head->n_slots = KVI_SLOTS_FIRST;
    head->facts.page_size = KVI_PAGE_MIN;
    head->board.counter = KVI_ID_MAX << 1;
    head->board.durable = KVI_ID_MAX;
    head->board.flush = KVI_FLUSH_FAILED;
    head->board.writing = 1;
    slot->owner = 7;
    slot->pin = 1;
}

void crash_haunt(sim_disk *disk, uint64_t pick)
{
    static uint64_t bytes[(KVI_SIDE_HEAD + KVI_SLOTS_FIRST * sizeof(kvi_slot)) / 8];
    struct iovec iov = {bytes, sizeof bytes};
    if (ODD(pick, 32, 2) || sim_find(disk, CRASH_SIDE) >= 0)
        return;
    int file = sim_do_create(disk, CRASH_SIDE, 0644);
    memset(bytes, 0, sizeof bytes);
    if (ODD(pick, 33, 2))
        haunt_full((uint8_t *)bytes);
    if (!ODD(pick, 34, 4))
        sim_do_write(disk, file, 0, &iov, 1, sizeof bytes);
}

static bool id_allowed(const crash_expect *e, uint64_t id)
{
    if (e->exact)
        return id == e->low || id == e->high;
    return id >= e->low && id <= e->high;
}

/* Is the newest commit this one, with this content? */
static bool run_same(run *x, uint64_t id, const model_state *state, const char *when)
{
    kv_txn *txn;
    int rc = kv_txn_begin(x->db, KV_TXN_READ, &txn);
    if (rc != KV_OK)
        return crash_wrong(x->s, "%s: begin: %d", when, rc);
    uint64_t found = kv_txn_id(txn);
    bool same = found == id && driver_same(txn, state);
    const char *what = same || found != id ? "another commit" : driver_compare(txn, state);
    kv_txn_abort(txn);
    if (same && x->s->w->snapshot) {
        what = driver_snapshots(x->db, state);
        same = !what;
    }
    return same || crash_wrong(x->s, "%s: commit %llu instead of %llu: %s", when,
                               (unsigned long long)found, (unsigned long long)id, what);
}

static bool content_same(kv_db *db, const model_state *state)
{
    kv_txn *txn;
    if (kv_txn_begin(db, KV_TXN_READ, &txn) != KV_OK)
        return false;
    bool same = driver_same(txn, state);
    kv_txn_abort(txn);
    return same;
}

const model_commit *crash_known(const crash_expect *e, uint64_t id)
{
    for (size_t i = e->n_known; i-- > 0;)
        if (e->known[i].id == id)
            return &e->known[i];
    return NULL;
}

/* What the recovered meta calls durable. Several commits may have its content; this tells which of
 * them a burial goes on from. */
static const model_commit *commit_below(const kv_db *db, const crash_expect *e)
{
    const model_commit *below = crash_known(e, db->head.meta.durable);
    return below && below->id >= e->low ? below : NULL;
}

/* A lazy commit that is too large to prove on another boot is overwritten: the database then goes
 * on from a durable one before it, under a new id (R7). */
static const model_commit *buried_under(kv_db *db, const crash_expect *e, uint64_t id)
{
    const model_commit *below = commit_below(db, e);
    const model_commit *buried = id > KVI_ID_SKIP ? crash_known(e, id - KVI_ID_SKIP) : NULL;
    if (!below || !buried || buried->id <= below->id || buried->id > e->high)
        return NULL;
    return content_same(db, below->state) ? below : NULL;
}

uint64_t crash_newest(kv_db *db)
{
    kv_txn *txn;
    if (kv_txn_begin(db, KV_TXN_READ, &txn) != KV_OK)
        return 0;
    uint64_t id = kv_txn_id(txn);
    kv_txn_abort(txn);
    return id;
}

const model_commit *crash_found(crash_sweep *s, kv_db *db, const crash_expect *e)
{
    uint64_t id = crash_newest(db);
    if (!id_allowed(e, id)) {
        const model_commit *under = e->exact ? NULL : buried_under(db, e, id);
        if (!under)
            crash_wrong(s, "recovered commit %llu, expected %llu %s %llu", (unsigned long long)id,
                        (unsigned long long)e->low, e->exact ? "or" : "to",
                        (unsigned long long)e->high);
        return under;
    }
    const model_commit *found = crash_known(e, id);
    if (!found)
        crash_wrong(s, "recovered commit %llu, which was discarded or never made",
                    (unsigned long long)id);
    return found;
}

/* What a crash may lead back to before the recovered commit is on the disk. A commit that buries
 * another has the content of the one under it, and after a crash during the burial it is made again,
 * under the same id. */
static uint64_t commit_under(const kv_db *db, const crash_expect *e, const model_commit *found)
{
    const model_commit *below = commit_below(db, e);
    bool buries = below && below->state == found->state && found->id > below->id + KVI_ID_SKIP;
    return buries ? below->id : found->id;
}

/* Does the file know the time of that commit? Burying another one is a commit of its own. */
static bool run_clock(run *x, const model_commit *found)
{
    uint64_t clock = x->db->head.meta.clock;
    if (found->id != x->id || found->clock == 0 || found->clock == clock)
        return true;
    return crash_wrong(x->s, "recovered: the clock of commit %llu is %llu and not %llu",
                       (unsigned long long)x->id, (unsigned long long)clock,
                       (unsigned long long)found->clock);
}

static bool run_recovered(run *x)
{
    const model_commit *found = crash_found(x->s, x->db, x->expect);
    if (!found)
        return false;
    x->id = crash_newest(x->db);
    x->under = commit_under(x->db, x->expect, found);
    x->state = found->state;
    return run_same(x, x->id, x->state, "recovered") && run_clock(x, found);
}

static int note_problem(void *context, const kv_check_problem *problem)
{
    crash_wrong(context, "check: page %llu: %s: %s", (unsigned long long)problem->page,
                problem->invariant, problem->message);
    return 1;
}

static bool run_sound(run *x)
{
    kv_check_options options = {.size = sizeof options, .problem = note_problem, .context = x->s};
    int rc = kv_db_check(x->db, &options);
    return rc == KV_OK || (rc != KV_ECANCELED && crash_wrong(x->s, "check: %d", rc));
}

/* ---- further commits ---- */

static void run_promise(run *x, uint64_t durable, uint64_t published, uint64_t writing)
{
    crash_log_add(&x->log, (crash_moment){x->disk->n_events, durable, published, writing});
}

/* Kept here: a crash inside this run makes other sequels, which may take this one's place. */
static void run_know(run *x, uint64_t id, model_state *state)
{
    state->refs++;
    x->known[x->n_known++] = (model_commit){.id = id, .state = state};
}

static bool run_commit(run *x, unsigned k)
{
    kv_txn *txn;
    kv_db *db = x->other && k % 2 == 0 ? x->other : x->db;
    uint64_t before = crash_newest(db), durable = kv_db_durable_id(db);
    int rc = kv_txn_begin(db, sequel_flags(x->sequel, k), &txn);
    if (rc != KV_OK)
        return crash_wrong(x->s, "further commit %u: begin: %d", k + 1, rc);
    rc = sequel_apply(x->sequel, k, txn);
    if (rc != KV_OK) {
        kv_txn_abort(txn);
        return crash_wrong(x->s, "further commit %u: change: %d", k + 1, rc);
    }
    uint64_t id = kv_txn_id(txn); /* as it is after the changes */
    run_promise(x, durable, before, id);
    rc = kv_txn_commit(txn);
    if (rc != KV_OK)
        return crash_wrong(x->s, "further commit %u: %d", k + 1, rc);
    if (!(sequel_flags(x->sequel, k) & KV_TXN_LAZY))
        durable = id;
    run_promise(x, KVI_MAX(durable, kv_db_durable_id(db)), id, 0);
    run_know(x, id, x->sequel->after[k]);
    return true;
}

static bool run_end(run *x, bool close)
{
    if (!close) {
        run_kill(x);
        return true;
    }
    uint64_t id = crash_newest(x->db);
    int rc = kvi_db_close(x->db);
    x->db = NULL;
    if (rc == KV_OK && x->other)
        rc = kvi_db_close(x->other);
    x->other = NULL;
    if (rc != KV_OK)
        return crash_wrong(x->s, "close: %d", rc);
    run_promise(x, id, id, 0);
    return true;
}

static bool run_sequel(run *x)
{
    if (run_shared(x) && ODD(x->pick, 35, SAMPLE_PAIR) && !run_open_one(x, 0, &x->other))
        return false;
    x->sequel =
        sequel_get(x->s->cache, x->s->scratch, x->state, (unsigned)(x->pick % SEQUEL_VARIANTS));
    for (unsigned k = 0; k < x->sequel->commits; k++)
        if (!run_commit(x, k))
            return false;
    const model_commit *last = &x->known[x->n_known - 1];
    if (!run_end(x, ODD(x->pick, 3, 2)) || !run_open(x, 0))
        return false;
    run_promise(x, last->id, last->id, 0);
    return run_same(x, last->id, last->state, "after further commits") &&
           (!ODD(x->pick, 4, 4) || run_sound(x));
}

/* Once more, on another boot: what was discarded must stay so. */
static bool run_again(run *x)
{
    run_kill(x);
    sim_reboot(x->disk);
    return run_open(x, 0) && run_same(x, x->id, x->state, "recovered again");
}

static bool run_readonly(run *x)
{
    size_t events = x->disk->n_events;
    int file = sim_find(x->disk, CRASH_FILE);
    if (!run_open(x, KV_OPEN_READONLY) || !run_recovered(x))
        return false;
    int rc = kvi_db_close(x->db);
    x->db = NULL;
    for (; events < x->disk->n_events; events++)
        if (x->disk->events[events].file == file && x->disk->events[events].kind != SIM_SYNC)
            return crash_wrong(x->s, "a read-only handle changed the file");
    return rc == KV_OK || crash_wrong(x->s, "read-only close: %d", rc);
}

static bool run_all(run *x, bool recorded)
{
    bool missing = x->expect->missing;
    if (!missing && !recorded && ODD(x->pick, 8, SAMPLE_READER) && !run_readonly(x))
        return false;
    run_promise(x, 0, 0, 0); /* replaced by run_nested, which knows what came before */
    if (!run_open(x, missing ? KV_OPEN_CREATE : 0) || !run_recovered(x))
        return false;
    run_promise(x, x->id, x->id, 0);
    run_know(x, x->under, x->state);
    if (x->id != x->under)
        run_know(x, x->id, x->state);
    if (ODD(x->pick, 13, SAMPLE_CHECK) && !run_sound(x))
        return false;
    if (!recorded && ODD(x->pick, 18, SAMPLE_AGAIN) && !run_again(x))
        return false;
    return run_sequel(x);
}

static void run_leave(run *x)
{
    if (x->db)
        run_kill(x);
    else
        sim_kill(x->disk);
}

/* ---- a crash during all this ---- */

/* The run was recorded from event from on; before it, the disk was as levels[depth + 1] has it. */
static bool run_nested(run *x, unsigned depth, size_t from)
{
    crash_sweep *s = x->s;
    uint64_t states = s->totals->states;
    crash_record record = {x->disk, from, &x->log, x->known, x->n_known, UINT64_MAX};
    /* An image that is wholly on the disk has one answer: the one it gave. */
    x->log.moments[0] = (crash_moment){from, x->under, x->under, x->id};
    bool ok = crash_sweep_cuts(s, depth + 1, &record, NESTED_STATES);
    x->disk->recording = SIM_RECORD_UNDO;
    if (ok)
        ok = crash_sweep_kills(s, depth + 1, &record, NESTED_STATES / 4);
    s->totals->nested += depth == 0 ? s->totals->states - states : 0;
    return ok;
}

bool crash_check(crash_sweep *s, unsigned depth, sim_disk *disk, const crash_expect *expect,
                 uint64_t pick)
{
    run x = {.s = s, .disk = disk, .expect = expect, .pick = pick};
    crash_haunt(disk, pick);
    size_t from = disk->n_events;
    uint64_t boots = disk->boots;
    bool recorded = depth + 1 < CRASH_DEPTH && !expect->exact && !expect->missing &&
                    (ODD(pick, 24, SAMPLE_NESTED) || s->path.n > depth + 1);
    if (recorded) {
        sim_clone(s->levels[depth + 1].disk, disk);
        s->levels[depth + 1].disk->boots = disk->boots;
        disk->recording = SIM_RECORD_ALL;
    }
    rng_seed(&disk->random, pick); /* no name of a temporary file comes twice */
    bool ok = run_all(&x, recorded);
    run_leave(&x);
    if (ok && recorded && !s->minimising)
        ok = run_nested(&x, depth, from);
    disk->recording = SIM_RECORD_UNDO;
    disk->boots = boots;
    crash_log_free(&x.log);
    while (x.n_known > 0)
        model_release(x.known[--x.n_known].state);
    return ok;
}
