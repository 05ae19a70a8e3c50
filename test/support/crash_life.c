/* crash_life.c - the lives of the handles that a workload works through: opened, closed, killed at
 * any moment, alone or all at once, and followed by others. */
#include "crash_record.h"
#include "db.h"
#include "driver_snapshot.h"
#include "txn.h"

/* ---- who is there ---- */

static life *life_other(recorder *x)
{
    return &x->lives[x->me == &x->lives[0]];
}

static void life_act(recorder *x, life *l)
{
    x->me = l;
    x->d.db = l->db;
    sim_process(x->disk, l->process);
}

static void reader_end(life *l)
{
    if (!l->reader)
        return;
    kv_txn_abort(l->reader);
    model_release(l->reader_state);
    l->reader = NULL;
}

bool life_reader(recorder *x)
{
    life *l = x->me;
    bool same = !l->reader || driver_same(l->reader, l->reader_state);
    bool begin = !l->reader;
    reader_end(l);
    if (!same)
        return record_wrong(x, "an old snapshot changed");
    if (begin && kv_txn_begin(l->db, KV_TXN_READ, &l->reader) != KV_OK)
        return record_wrong(x, "a read transaction cannot begin");
    if (begin)
        l->reader_state = model_keep(x->m);
    return true;
}

/* ---- dying ---- */

/* Its process is dead, so it reaches nothing but its own memory, and the maps. */
static void life_bury(recorder *x, life *l)
{
    reader_end(l);
    if (l->db)
        kvi_db_close(l->db);
    l->db = NULL;
    if (l == x->me)
        x->d.db = NULL;
}

void life_end_all(recorder *x)
{
    sim_kill(x->disk);
    for (size_t i = 0; i < KVI_COUNT(x->lives); i++)
        life_bury(x, &x->lives[i]);
}

void life_free(recorder *x)
{
    life_end_all(x);
    free(x->sides.bytes);
}

static uint8_t *side_bytes(recorder *x)
{
    int file = sim_find(x->disk, CRASH_SIDE);
    return file < 0 ? NULL : x->disk->files[file].bytes;
}

/* Between event at - 1 and event at, the side file looked first like this, then like that. */
static void side_at(recorder *x, size_t at, bool first, uint8_t *bytes)
{
    const side_history *sides = &x->sides;
    size_t i = at - x->start - first;
    memcpy(bytes, i < sides->n ? sides->bytes[i] : side_bytes(x), SIDE_KEPT);
}

/* Who acts dies at event at of the operation; the other one has slept meanwhile, and lives on. */
static void kill_me(recorder *x, size_t at)
{
    uint8_t bytes[SIDE_KEPT];
    bool first = at > x->start && rng_one_in(&x->r, 2);
    side_at(x, at, first, bytes);
    sim_kill_process(x->disk, x->me->process);
    life_bury(x, x->me);
    sim_rewind(x->disk, at);
    crash_log_cut(&x->log, at - first); /* what was said after the last event was not said yet */
    memcpy(side_bytes(x), bytes, sizeof bytes);
    record_audit_cut(x);
    x->s.totals->deaths++;
}

void life_kill(recorder *x)
{
    size_t at = (size_t)rng_between(&x->r, x->start, x->disk->n_events);
    if (life_other(x)->db && !rng_one_in(&x->r, 4)) {
        kill_me(x, at);
        return;
    }
    life_end_all(x);
    sim_rewind(x->disk, at);
    crash_log_cut(&x->log, at);
}

/* ---- what is found ---- */

/* Is the commit that x->d.db sees right? From now on it is the newest. */
static bool life_found(recorder *x)
{
    const crash_moment *m = record_promised(x);
    uint64_t id = crash_newest(x->d.db);
    if (m->durable == 0 && id == 1 && !model_at(x->m, 1))
        model_commit_as(x->m, 1);
    crash_expect expect = {x->m->commits, x->m->n_commits, x->low,    x->high,
                           false,         false,           UINT64_MAX};
    if (!x->rebooted)
        expect = (crash_expect){
            x->m->commits, x->m->n_commits, m->published, m->writing ? m->writing : m->published,
            true,          false,           UINT64_MAX};
    const model_commit *found = crash_found(&x->s, x->d.db, &expect);
    kv_txn *txn;
    if (!found)
        return record_wrong(x, "%s", x->s.why);
    x->under = found->id;
    model_restore(x->m, found->state);
    model_forget_after(x->m, x->under);
    if (x->m->commits[x->m->n_commits - 1].id != id)
        model_commit_as(x->m, id);
    if (kv_txn_begin(x->d.db, KV_TXN_READ, &txn) != KV_OK)
        return record_wrong(x, "a read transaction cannot begin");
    const char *what = driver_compare(txn, x->m->now);
    kv_txn_abort(txn);
    if (!what && x->w->snapshot)
        what = driver_snapshots(x->d.db, x->m->now);
    return what ? record_wrong(x, "opened commit %llu: %s", (unsigned long long)id, what) : true;
}

/* ---- coming ---- */

/* refusable: a flush is going to fail. One that had to make what a crash left durable is then told of
 * (true, and no handle); nobody knows whether it did. */
static bool life_open(recorder *x, life *l, bool refusable)
{
    char message[160];
    kv_options options = x->s.options;
    *l = (life){.process = ++x->processes, .careless = rng_one_in(&x->r, 2)};
    options.flags = KV_OPEN_CREATE | (l->careless ? KV_OPEN_NO_CLOSE_SYNC : 0) |
                    (x->s.exclusive ? KV_OPEN_EXCLUSIVE : 0);
    options.lazy_sync_bytes = x->w->lazy_bytes;
    options.sweep_per_write = x->w->sweep;
    sim_process(x->disk, l->process);
    record_start(x);
    int rc = kvi_db_open(&x->fault.os, CRASH_FILE, &options, &l->db, message, sizeof message);
    if (rc == KV_EPOISONED && refusable)
        return true;
    if (rc != KV_OK)
        return record_wrong(x, "open: %d (%s)", rc, message);
    life_act(x, l);
    return true;
}

/* Does it see what was published, by a writer that may have died before it could say so? */
static bool sees_published(recorder *x)
{
    const crash_moment *m = record_promised(x);
    uint64_t id = crash_newest(x->d.db);
    return id == m->published || (m->writing && id == m->writing);
}

/* Beside another one. */
static bool life_join(recorder *x, life *l)
{
    if (!life_open(x, l, false))
        return false;
    return (sees_published(x) && kv_db_durable_id(l->db) >= record_promised(x)->durable) ||
           record_wrong(x, "a later open sees another commit");
}

/* The first one there recovers. */
static bool life_begin(recorder *x)
{
    kv_db_info info = {.size = sizeof info};
    record_audit_restart(x);
    if (record_chance(x, x->w->fail_flush) && record_chance(x, 3) && record_promised(x)->durable)
        record_plan_flush(x);
    bool opened = life_open(x, &x->lives[0], true);
    bool hit = record_plan_over(x);
    if (opened && !x->lives[0].db) {
        if (!hit)
            return record_wrong(x, "refused without a failure");
        opened = life_open(x, &x->lives[0], false);
        hit = false;
    }
    if (!opened || !life_found(x))
        return false;
    uint64_t id = crash_newest(x->d.db), durable = record_promised(x)->durable;
    if (kv_db_stat(x->d.db, &info) != KV_OK)
        return record_wrong(x, "statistics fail");
    x->poisoned = info.poisoned;
    if (x->poisoned && !hit)
        return record_wrong(x, "poisoned without a failure");
    if (x->poisoned && !x->rebooted && kv_db_durable_id(x->d.db) > durable)
        return record_wrong(x, "a commit is called durable though its flush failed");
    if (x->rebooted) /* what a power cut left is on the disk */
        x->log.moments[0] = (crash_moment){0, x->under, x->under, id};
    record_promise(x, x->poisoned && !x->rebooted ? durable : id, id, 0);
    x->rebooted = false;
    return true;
}

/* ---- going on with what another one left ---- */

/* Was that a failure of the takeover's own, or one that the dead one had noted? Reading goes on
 * with what was published; nobody knows yet what becomes of the rest. */
static bool takeover_poisoned(recorder *x, bool hit)
{
    if (!hit && !x->poisoned)
        return record_wrong(x, "poisoned without a failure");
    x->poisoned = true;
    return sees_published(x) || record_wrong(x, "a takeover that failed published something");
}

/* The next write transaction anywhere brings certainty. */
static bool takeover(recorder *x)
{
    kv_txn *txn;
    record_start(x);
    if (record_chance(x, x->w->fail_flush))
        record_plan_flush(x);
    int rc = kv_txn_begin(x->d.db, KV_TXN_WRITE, &txn);
    bool hit = record_plan_over(x);
    if (rc == KV_EPOISONED)
        return takeover_poisoned(x, hit);
    if (rc != KV_OK)
        return record_wrong(x, "begin after a death: %d", rc);
    kv_txn_abort(txn);
    if (hit)
        return record_wrong(x, "a failed flush did not poison");
    x->poisoned = false;
    uint64_t durable = kv_db_durable_id(x->d.db);
    if (durable < record_promised(x)->durable)
        return record_wrong(x, "a durable commit is not known as such");
    if (!life_found(x))
        return false;
    record_promise(x, durable, crash_newest(x->d.db), 0);
    return true;
}

bool life_go_on(recorder *x)
{
    life *other = life_other(x), *gone = x->me;
    if (!gone->db && !other->db)
        return life_begin(x);
    life_act(x, gone->db ? gone : other);
    if (!gone->db && rng_one_in(&x->r, 3) && !life_join(x, gone))
        return false;
    return takeover(x) && (!x->poisoned || life_poisoned(x));
}

/* ---- leaving ---- */

bool life_close(recorder *x)
{
    reader_end(x->me);
    record_start(x);
    uint64_t id = crash_newest(x->d.db), durable = kv_db_durable_id(x->d.db);
    int rc = kvi_db_close(x->d.db);
    x->d.db = x->me->db = NULL;
    if (rc != KV_OK && !x->poisoned)
        return record_wrong(x, "close: %d", rc);
    if (!x->poisoned)
        record_promise(x, durable, id, 0);
    return true;
}

static bool poison_seen(recorder *x)
{
    kv_txn *txn;
    life *other = life_other(x);
    if (!other->db)
        return true;
    sim_process(x->disk, other->process);
    int rc = kv_txn_begin(other->db, KV_TXN_WRITE, &txn);
    sim_process(x->disk, x->me->process);
    if (rc == KV_OK)
        kv_txn_abort(txn);
    return rc == KV_EPOISONED || record_wrong(x, "another handle does not see the poison: %d", rc);
}

static bool close_both(recorder *x)
{
    life *other = life_other(x);
    if (!life_close(x))
        return false;
    if (!other->db)
        return true;
    life_act(x, other);
    return life_close(x);
}

bool life_poisoned(recorder *x)
{
    if (!poison_seen(x))
        return false;
    if (record_chance(x, 2)) {
        if (!close_both(x))
            return false;
        if (record_chance(x, 4))
            life_kill(x);
    } else {
        life_kill(x);
    }
    if (x->poisoned && (x->me->db || life_other(x)->db) && record_chance(x, 2))
        life_end_all(x);
    return life_go_on(x);
}

/* ---- two of them ---- */

/* Is there something that only a flush of its own could prove? */
static bool tail_lazy(const recorder *x)
{
    return x->me->careless && kv_db_durable_id(x->d.db) < crash_newest(x->d.db);
}

/* The kernel fails to write back what was committed lazily, and tells somebody else's descriptor.
 * Then another handle comes, the one that wrote it leaves, and what follows depends on it. */
static bool tail_lose(recorder *x)
{
    life *first = x->me;
    record_start(x);
    sim_lose_sync(sim_os(x->disk), first->db->file.fd);
    if (!life_join(x, life_other(x)))
        return false;
    life *second = x->me;
    life_act(x, first);
    record_start(x);
    if (record_chance(x, 2))
        kill_me(x, x->disk->n_events);
    else if (!life_close(x))
        return false;
    life_act(x, second);
    x->s.totals->losses++;
    return true;
}

bool life_choose(recorder *x)
{
    life *other = life_other(x);
    if (!x->w->pair || x->poisoned)
        return true;
    if (!other->db)
        return tail_lazy(x) && record_chance(x, 3) ? tail_lose(x)
               : record_chance(x, 3)               ? life_join(x, other)
                                                   : true;
    if (record_chance(x, 2))
        life_act(x, other);
    return true;
}
