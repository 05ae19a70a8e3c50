/* turn.c - see turn.h. */
#include "turn.h"
#include "flush.h"
#include "mutant.h"
#include "recover.h"
#include <errno.h>
#include <time.h>

#define PAUSE_US 100 /* for a sleeper to wake up and take the lock */

/* ---- among the threads of this process ---- */

/* On the clock that the condition variable counts by. */
static struct timespec deadline_at(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000),
                             .tv_nsec = (long)(ns % 1000000000)};
}

static int flag_take(kv_db *db, uint32_t wait_ms, uint64_t give_up)
{
    kvi_turn *turn = &db->turn;
    struct timespec deadline = deadline_at(give_up);
    int late = 0;
    pthread_mutex_lock(&turn->mutex);
    while (turn->taken && late != ETIMEDOUT && wait_ms != 0) {
        if (wait_ms == KVI_WAIT_FOREVER)
            pthread_cond_wait(&turn->cond, &turn->mutex);
        else
            late = pthread_cond_timedwait(&turn->cond, &turn->mutex, &deadline);
    }
    bool mine = !turn->taken;
    if (mine)
        turn->taken = true;
    pthread_mutex_unlock(&turn->mutex);
    return mine ? KV_OK : kvi_fail(&db->err, KV_EBUSY, "another write transaction is running");
}

static void flag_give(kv_db *db)
{
    pthread_mutex_lock(&db->turn.mutex);
    db->turn.taken = false;
    pthread_cond_signal(&db->turn.cond);
    pthread_mutex_unlock(&db->turn.mutex);
}

/* ---- taking over what others left ---- */

void kvi_space_forget(kv_db *db)
{
    if (db->space)
        kvi_space_close(db->space);
    db->space = NULL;
    db->told_durable = 0;
}

/* The file may have grown, shrunk, or lost its name, which no lock prevents; one question tells all
 * three. */
static int file_look(kv_db *db)
{
    kvi_os_stat named = {0};
    int rc = db->os->stat_path(db->os, db->path, &named);
    if (rc < 0 && rc != -ENOENT)
        return kvi_fail_os(&db->err, rc, "asking what %s is", db->path);
    if (rc < 0 || !kvi_os_same_file(&db->opened, &named))
        return kvi_fail(&db->err, KV_ENOENT, "%s was removed or replaced while it was open",
                        db->path);
    atomic_store_explicit(&db->file.size, named.size, memory_order_release);
    return KV_OK;
}

/* The records go on to the head's commit, where they can. */
static void space_follow(kv_db *db)
{
    if (db->space && !kvi_space_follow(db->space, &db->head.meta))
        kvi_space_forget(db);
    db->told_durable = 0; /* pages may be dead that were in use */
}

/* Numbers that no writer hands over would lead to pages that are in use, or nowhere. */
static bool record_ok(const kvi_record *record)
{
    const kvi_snapshot *snapshot = &record->snapshot;
    const kvi_handover *handover = &record->handover;
    return snapshot->id < handover->next_id && snapshot->durable <= snapshot->id &&
           handover->durable_high_water <= KVI_PGNO_MAX && handover->shrunk <= snapshot->id;
}

/* The newest durable commit's meta; nobody writes to its slot. NULL: it was damaged, and a crash
 * cannot lead there. */
static const kvi_meta *durable_meta(const kvi_slots *slots, const kvi_record *record)
{
    unsigned slot = record->handover.durable_slot & 1;
    bool there = slots->valid[slot] && slots->meta[slot].id == record->snapshot.durable;
    return there ? &slots->meta[slot] : NULL;
}

/* Head as a living writer handed it over. */
static int head_inherit(kv_db *db, const kvi_slots *slots, const kvi_record *record)
{
    const kvi_snapshot *snapshot = &record->snapshot;
    const kvi_handover *handover = &record->handover;
    unsigned slot = slots->valid[0] && slots->meta[0].id == snapshot->id ? 0 : 1;
    bool there = slots->valid[slot] && slots->meta[slot].id == snapshot->id;
    const kvi_meta *durable = durable_meta(slots, record);
    if ((!there || !durable) && slots->error)
        return kvi_fail_os(&db->err, slots->error, "reading the meta pages");
    if (!there)
        return kvi_fail(&db->err, KV_ECORRUPT, "the published commit %llu is in neither meta page",
                        (unsigned long long)snapshot->id);
    db->head = (kvi_head){
        .meta = slots->meta[slot],
        .durable = snapshot->durable,
        .durable_slot = handover->durable_slot & 1,
        .durable_high_water = handover->durable_high_water,
        .durable_snapshots = durable ? durable->snapshots : snapshot->snapshots,
        .tail_seal = handover->tail_seal,
        .tail_walk = handover->tail_walk,
        .next_id = handover->next_id,
        .skip = handover->flags & KVI_HANDOVER_SKIP,
        .confirmed = kvi_slots_agree(slots),
        .foreign = snapshot->durable < snapshot->id && handover->publisher != db->readers.handle,
        .lazy_bytes = handover->lazy_bytes,
        .shrunk = handover->shrunk,
    };
    space_follow(db);
    return KV_OK;
}

/* Head as a dead writer left it: its newest whole commit is adopted, published or not. */
static int head_adopt(kv_db *db, const kvi_slots *slots, const kvi_record *record)
{
    kvi_choice choice;
    kvi_kept kept = {0};
    int rc = kvi_recover_choose(&db->file, slots, db->boot_id, &choice, &kept);
    bool lost = rc == KV_OK && slots->meta[choice.slot].id < record->snapshot.id;
    if (lost && slots->error)
        rc = kvi_fail_os(&db->err, slots->error, "reading the meta pages");
    else if (lost)
        rc = kvi_fail(&db->err, KV_ECORRUPT, "the published commit %llu is no longer whole",
                      (unsigned long long)record->snapshot.id);
    if (rc == KV_OK && slots->meta[choice.slot].id == record->snapshot.durable)
        choice.known = true; /* as recorded */
    if (rc == KV_OK)
        rc = kvi_recover_adopt(db, slots, &choice, &kept);
    kvi_recover_forget(db->os, &kept);
    if (rc != KV_OK)
        return rc;
    kvi_recover_head(db, slots, &choice);
    bool shrank = db->head.meta.high_water < record->snapshot.high_water;
    db->head.shrunk =
        shrank ? db->head.meta.id : record->handover.shrunk; /* kvi_tail_trim goes on */
    if (!choice.known && kvi_poisoned(db))
        kvi_recover_doubt(db, slots, &choice);
    if (choice.buried)
        rc = kvi_recover_bury(db);
    return rc;
}

/* Was the death during nothing that can be seen: before any meta, with nothing in doubt? */
static bool nothing_in_doubt(const kvi_slots *slots, const kvi_record *record)
{
    const kvi_snapshot *newest = &record->snapshot;
    return slots->valid[0] && slots->valid[1] && slots->meta[0].id <= newest->id &&
           slots->meta[1].id <= newest->id && newest->durable == newest->id &&
           !(record->handover.flags & KVI_HANDOVER_UNPROVEN);
}

static int head_take_over(kv_db *db, const kvi_slots *slots, const kvi_record *record)
{
    kvi_space_forget(db);
    int rc = nothing_in_doubt(slots, record) ? head_inherit(db, slots, record)
                                             : head_adopt(db, slots, record);
    if (rc != KV_OK)
        return rc;
    db->head.next_id = KVI_MAX(db->head.next_id, record->handover.next_id);
    if (!kvi_poisoned(db) || !KVI_MUTANT(ADOPTED_UNSEEN))
        kvi_publish(db);
    if (!kvi_poisoned(db)) /* else adopting failed: it may be read, and that is all */
        kvi_readers_idle(&db->readers);
    return KV_OK;
}

static int head_read(kv_db *db, bool died)
{
    kvi_record record;
    kvi_slots *slots = db->os->alloc(db->os, sizeof *slots);
    if (!slots)
        return KV_ENOMEM;
    kvi_readers_record(&db->readers, &record);
    int rc = kvi_recover_slots(db->os, &db->err, db->file.fd, slots);
    if (rc == KV_OK && (!record_ok(&record) || slots->page_size != db->file.page_size))
        rc = kvi_fail(&db->err, KV_ECORRUPT, "%s is damaged", db->side.path);
    if (rc == KV_OK)
        rc = died || (record.handover.flags & KVI_HANDOVER_UNPROVEN)
                 ? head_take_over(db, slots, &record)
                 : head_inherit(db, slots, &record);
    db->os->free(db->os, slots);
    return rc;
}

/* Brings the head up to date. The board is stable: the writer's lock is ours. */
static int head_refresh(kv_db *db)
{
    kvi_board *board = &db->readers.head->board;
    uint64_t published = atomic_load_explicit(&board->publications, memory_order_acquire);
    bool died = atomic_load_explicit(&board->writing, memory_order_acquire) != 0 ||
                atomic_load_explicit(&board->flush, memory_order_acquire) == KVI_FLUSH_BEGUN;
    int rc = file_look(db);
    if (KVI_MUTANT(DEATH_IGNORED))
        died = false;
    if (rc != KV_OK || kvi_poisoned(db))
        return rc;
    if (published != db->head_published || died) {
        db->head_published = published;
        rc = head_read(db, died);
        if (rc != KV_OK) {
            kvi_space_forget(db);
            db->head_published = 0; /* again, next time */
        }
    }
    kvi_id burnt = atomic_load_explicit(&board->burnt, memory_order_relaxed);
    db->head.next_id = KVI_MAX(db->head.next_id, burnt + 1);
    return rc;
}

/* ---- the turn ---- */

static bool is_shared(const kv_db *db)
{
    return db->role == KVI_SHARER && !db->readonly;
}

static uint32_t ms_left(const kv_db *db, uint32_t wait_ms, uint64_t give_up)
{
    if (wait_ms == 0 || wait_ms == KVI_WAIT_FOREVER)
        return wait_ms;
    uint64_t now = db->os->mono_ns(db->os);
    return now < give_up ? (uint32_t)((give_up - now) / 1000000) : 0;
}

/* A process that gives the lock back and takes it again at once would never let a sleeper in. So
 * who waits says so, and again when its wait is over, on behalf of the others; who finds that said
 * when it gives the lock back pauses before it asks for it again. */
static int lock_wait(kv_db *db, uint32_t wait_ms)
{
    _Atomic uint32_t *waiting = &db->readers.head->board.waiting;
    if (db->turn.pause)
        db->os->sleep_us(db->os, PAUSE_US);
    db->turn.pause = false;
    int rc = kvi_lock_try(&db->lock, &db->err, KVI_OS_EXCLUSIVE, KVI_LOCK_WRITER);
    if (rc != KV_EBUSY || wait_ms == 0)
        return rc;
    atomic_store_explicit(waiting, 1, memory_order_relaxed);
    rc = kvi_lock_wait(&db->lock, &db->err, KVI_OS_EXCLUSIVE, KVI_LOCK_WRITER, wait_ms);
    atomic_store_explicit(waiting, 1, memory_order_relaxed);
    return rc;
}

static int lock_take(kv_db *db, uint32_t wait_ms)
{
    int rc = lock_wait(db, wait_ms);
    if (rc == KV_EBUSY)
        return kvi_fail(&db->err, rc, "another process is writing");
    if (rc != KV_OK)
        return rc;
    rc = head_refresh(db);
    if (rc != KV_OK)
        kvi_lock_drop(&db->lock, KVI_LOCK_WRITER);
    return rc;
}

int kvi_turn_take(kv_db *db, uint32_t wait_ms)
{
    uint64_t give_up = db->os->mono_ns(db->os) + (uint64_t)wait_ms * 1000000;
    int rc = flag_take(db, wait_ms, give_up);
    if (rc != KV_OK || !is_shared(db))
        return rc;
    rc = lock_take(db, ms_left(db, wait_ms, give_up));
    if (rc != KV_OK)
        flag_give(db);
    return rc;
}

void kvi_turn_give(kv_db *db)
{
    if (is_shared(db)) {
        _Atomic uint32_t *waiting = &db->readers.head->board.waiting;
        db->turn.pause = atomic_exchange_explicit(waiting, 0, memory_order_relaxed) != 0;
        kvi_lock_drop(&db->lock, KVI_LOCK_WRITER);
    }
    flag_give(db);
}

int kvi_turn_look(kv_db *db)
{
    return is_shared(db) ? KV_OK : file_look(db);
}

int kvi_space_ready(kv_db *db)
{
    if (db->space)
        return KV_OK;
    kvi_meta meta = db->head.meta;
    meta.durable = db->head.durable; /* it may have become so after the meta was written */
    return kvi_space_load(&db->space, &db->file, &meta);
}
