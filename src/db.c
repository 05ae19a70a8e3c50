/* db.c - see db.h. */
#include "db.h"
#include "commit.h"
#include "descent.h"
#include "fork.h"
#include "guest.h"
#include "join.h"
#include "live.h"
#include "queue.h"
#include "tail.h"
#include <stdio.h>

#define BUDGET_DEFAULT    ((uint64_t)256 << 20)
#define LAZY_SYNC_DEFAULT ((uint64_t)64 << 20)
#define FILL_LEAST        50 /* percent: leaves that are emptier are merged by deletes */
#define OPEN_FLAGS                                                                                 \
    (KV_OPEN_CREATE | KV_OPEN_READONLY | KV_OPEN_IMMUTABLE | KV_OPEN_NO_CHECKSUM |                 \
     KV_OPEN_NO_CLOSE_SYNC | KV_OPEN_EXCLUSIVE | KV_OPEN_RANDOM)

/* ---- options ---- */

static bool options_ok(const kv_options *o)
{
    bool readonly = o->flags & KV_OPEN_READONLY;
    return !(o->flags & ~(uint32_t)OPEN_FLAGS) && !((o->flags & KV_OPEN_IMMUTABLE) && !readonly) &&
           !((o->flags & (KV_OPEN_EXCLUSIVE | KV_OPEN_CREATE)) && readonly) &&
           (o->page_size == 0 || kvi_page_size_ok(o->page_size)) && o->durability >= KV_DEFAULT &&
           o->durability <= KV_LAZY && (o->fill == 0 || (o->fill >= FILL_LEAST && o->fill <= 100));
}

static int options_read(const kv_options *given, kvi_err *err, kv_options *options)
{
    *options = (kv_options){.size = sizeof *options};
    if (given) {
        if (given->size < sizeof given->size + sizeof given->flags || given->size > 4096)
            return kvi_fail(err, KV_EINVAL, "kv_options.size is not set");
        memcpy(options, given, KVI_MIN(given->size, sizeof *options));
    } else {
        options->flags = KV_OPEN_CREATE;
    }
    if (!options_ok(options))
        return kvi_fail(err, KV_EINVAL, "the options contradict each other or are out of range");
    if (options->page_size == 0)
        options->page_size = KVI_PAGE_DEFAULT;
    if (options->durability == KV_DEFAULT)
        options->durability = KV_DURABLE;
    if (options->memory_budget == 0)
        options->memory_budget = BUDGET_DEFAULT;
    if (options->lazy_sync_bytes == 0)
        options->lazy_sync_bytes = LAZY_SYNC_DEFAULT;
    if (options->fill == 0)
        options->fill = 100;
    return KV_OK;
}

/* ---- opening ---- */

static void db_options(kv_db *db, const kv_options *options)
{
    db->readonly = options->flags & KV_OPEN_READONLY;
    db->close_sync = !(options->flags & KV_OPEN_NO_CLOSE_SYNC);
    db->durability = options->durability;
    db->memory_budget = options->memory_budget;
    db->lazy_sync_bytes = options->lazy_sync_bytes;
    db->sweep_per_write = options->sweep_per_write;
    db->leaf_spare = 100 - options->fill;
}

static void turn_init(kvi_turn *turn)
{
    pthread_condattr_t attributes;
    pthread_mutex_init(&turn->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&turn->cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

static int db_new(const kvi_os *os, kvi_err *err, const kv_options *options, kv_db **out)
{
    kv_db *db = os->alloc(os, sizeof *db);
    if (!db)
        return kvi_fail(err, KV_ENOMEM, "%s", kv_strerror(KV_ENOMEM));
    memset(db, 0, sizeof *db);
    db->os = os;
    db->lock.fd = -1;
    db->file.fd = -1;
    db->side.fd = -1;
    db->side.lock.fd = -1;
    db->process = os->process_id(os);
    kvi_err_init(&db->err);
    kvi_guest_init(&db->guest);
    turn_init(&db->turn);
    kvi_queue_init(&db->queue);
    db_options(db, options);
    kvi_descent_choose();
    *out = db;
    return KV_OK;
}

/* Gives back whatever is there; a handle may be half made. */
static void db_free(kv_db *db)
{
    const kvi_os *os = db->os;
    bool forked = db->alive && !kvi_alive(db);
    kvi_fork_forget(db);
    if (db->space)
        kvi_space_close(db->space);
    kvi_live_close(db);
    if (db->scratch)
        os->release(os, db->scratch, kvi_scratch_size(db->file.page_size));
    if (db->dirty.os)
        kvi_dirty_close(&db->dirty);
    if (db->readers.os)
        kvi_readers_close(&db->readers);
    kvi_guest_close(db);
    kvi_side_close(&db->side);
    if (db->role == KVI_IMMUTABLE)
        kvi_lock_abandon(&db->lock); /* nothing was locked */
    if (db->file.os)
        kvi_file_close(&db->file);
    if (db->file.fd >= 0)
        os->close(os, db->file.fd);
    kvi_lock_close(&db->lock);
    os->free(os, db->scratch_value);
    os->free(os, db->spare);
    kvi_batch_room_free(&db->batch_room, os);
    os->free(os, db->path);
    kvi_queue_destroy(&db->queue);
    if (!forked) /* it would wait for waiters that only the parent has */
        pthread_cond_destroy(&db->turn.cond);
    pthread_mutex_destroy(&db->turn.mutex);
    kvi_err_destroy(&db->err);
    os->free(os, db);
}

static int writer_memory(kv_db *db)
{
    uint32_t page_size = db->file.page_size;
    kvi_dirty_init(&db->dirty, db->os, page_size);
    db->scratch = db->os->reserve(db->os, kvi_scratch_size(page_size));
    db->scratch_value = db->os->alloc(db->os, page_size);
    return db->scratch && db->scratch_value ? KV_OK : KV_ENOMEM;
}

/* Chooses the commit to begin from, and makes it durable. */
static int db_settle(kv_db *db, const kvi_slots *slots, kvi_choice *choice)
{
    kvi_kept kept = {0};
    int rc = kvi_recover_choose(&db->file, slots, db->boot_id, choice, &kept);
    if (rc == KV_OK && !db->readonly)
        rc = kvi_recover_adopt(db, slots, choice, &kept);
    else if (rc == KV_OK && !choice->known && db->role != KVI_IMMUTABLE)
        rc = kvi_file_sync(&db->file); /* a reader may see only what will stay */
    kvi_recover_forget(db->os, &kept);
    return rc;
}

/* Finds the newest commit; nobody else writes. */
static int db_recover(kv_db *db, const kvi_slots *slots)
{
    kvi_choice choice;
    int rc = db_settle(db, slots, &choice);
    if (rc != KV_OK)
        return rc;
    kvi_recover_head(db, slots, &choice);
    if (choice.buried && !db->readonly)
        rc = kvi_recover_bury(db);
    if (!choice.known && (db->readonly || kvi_poisoned(db)))
        kvi_recover_doubt(db, slots, &choice);
    db->head.unproven = db->head.unproven || (db->readonly && choice.rejected);
    return rc;
}

static int file_init(kv_db *db, const kvi_side_facts *facts, const kv_options *options)
{
    memcpy(db->file_id, facts->file_id, sizeof db->file_id);
    int rc = kvi_file_init(&db->file, db->os, &db->err, db->file.fd, facts->page_size,
                           facts->hash_seed, !(options->flags & KV_OPEN_NO_CHECKSUM));
    db->file.random = options->flags & KV_OPEN_RANDOM;
    return rc;
}

/* Whoever created the file may have died before its name was flushed. */
static int name_flush(kv_db *db, kvi_id newest)
{
    if (db->readonly || newest != 1)
        return KV_OK;
    int rc = db->os->sync_dir(db->os, db->path);
    return rc < 0 ? kvi_fail_os(&db->err, rc, "flushing the directory of %s", db->path) : KV_OK;
}

/* The first one there reads the metas, recovers, and publishes. */
static int db_begin(kv_db *db, kvi_slots *slots, const kv_options *options)
{
    int rc = kvi_recover_both(db->os, &db->err, db->file.fd, slots);
    if (rc != KV_OK)
        return rc;
    const kvi_meta *any = &slots->meta[kvi_slots_newest(slots)];
    kvi_side_facts facts = {.hash_seed = any->hash_seed, .page_size = any->page_size};
    memcpy(facts.file_id, any->file_id, sizeof facts.file_id);
    rc = file_init(db, &facts, options);
    if (rc == KV_OK && db->role != KVI_GUEST) {
        rc = db_recover(db, slots);
        memcpy(db->file_id, db->head.meta.file_id, sizeof db->file_id);
    }
    if (rc == KV_OK)
        rc = name_flush(db, db->head.meta.id);
    if (rc == KV_OK)
        rc = kvi_readers_init(&db->readers, db->os, db->role == KVI_SHARER ? &db->side : NULL);
    if (rc != KV_OK || db->role == KVI_GUEST)
        return rc;
    if (atomic_load(&db->poisoned))
        kvi_poison(db); /* the others shall know */
    kvi_publish(db);
    return db->role == KVI_SHARER ? kvi_join_announce(db) : KV_OK;
}

/* Who may not open the folder leaves that to who made the file. */
static int name_flush_later(kv_db *db)
{
    int rc = name_flush(db, atomic_load(&db->readers.head->board.counter) >> 1);
    if (rc != KV_EACCESS)
        return rc;
    kvi_err_clear(&db->err);
    return KV_OK;
}

/* A later one learns all that from the side file. */
static int db_enter(kv_db *db, const kv_options *options)
{
    kvi_side_facts facts = db->side.head->facts;
    if (!kvi_page_size_ok(facts.page_size)) /* it may have changed since it was looked at */
        return kvi_fail(&db->err, KV_ECORRUPT, "%s is damaged", db->side.path);
    int rc = file_init(db, &facts, options);
    if (rc == KV_OK)
        rc = kvi_readers_init(&db->readers, db->os, &db->side);
    return rc == KV_OK ? name_flush_later(db) : rc;
}

static int db_begin_first(kv_db *db, const kv_options *options)
{
    kvi_slots *slots = db->os->alloc(db->os, sizeof *slots);
    if (!slots)
        return KV_ENOMEM;
    int rc = db_begin(db, slots, options);
    db->os->free(db->os, slots);
    return rc;
}

/* A guest finds out at once whether there is anything to read. */
static int guest_try(kv_db *db)
{
    kv_txn *txn;
    int rc = kvi_begin_read(db, &txn);
    if (rc == KV_OK)
        kvi_end(txn);
    return rc;
}

static int db_open_file(kv_db *db, const char *path, const kv_options *options)
{
    bool first;
    int rc = kvi_fork_watch(db);
    if (rc == KV_OK)
        rc = kvi_join(db, path, options, &first);
    if (rc != KV_OK)
        return rc;
    rc = db->os->boot_id(db->os, db->boot_id);
    if (rc < 0)
        return kvi_fail_os(&db->err, rc, "asking for the boot id");
    rc = first ? db_begin_first(db, options) : db_enter(db, options);
    if (rc == KV_OK && !db->readonly)
        rc = writer_memory(db);
    if (rc == KV_OK && db->role == KVI_GUEST)
        rc = guest_try(db);
    return rc;
}

/* An open that failed half way: what was made is removed by the last one, as ever. */
static void db_abandon(kv_db *db)
{
    if (db->role == KVI_SHARER && db->side.fd >= 0 && kvi_join_leave(db))
        kvi_join_leave_last(db);
    db_free(db);
}

static void explain(kvi_err *err, int rc, char *message, size_t message_size)
{
    if (!message || message_size == 0)
        return;
    kvi_err_text(err, message, message_size);
    if (message[0] == 0)
        snprintf(message, message_size, "%s", kv_strerror(rc));
}

int kvi_db_open(const kvi_os *os, const char *path, const kv_options *given, kv_db **out,
                char *message, size_t message_size)
{
    kv_options options;
    kv_db *db = NULL;
    kvi_err err;
    kvi_err_init(&err);
    *out = NULL;
    int rc = options_read(given, &err, &options);
    if (rc == KV_OK)
        rc = db_new(os, &err, &options, &db);
    if (rc == KV_OK)
        rc = db_open_file(db, path, &options);
    if (rc == KV_OK) {
        *out = db;
        if (message && message_size)
            message[0] = 0;
    } else {
        explain(db ? &db->err : &err, rc, message, message_size);
        if (db)
            db_abandon(db);
    }
    kvi_err_destroy(&err);
    return rc;
}

/* ---- closing ---- */

/* The child of a fork gives its memory back and touches nothing that is the parent's. */
static int close_forked(kv_db *db)
{
    kvi_lock_abandon(&db->lock);
    kvi_lock_abandon(&db->side.lock);
    db_free(db);
    return KV_OK;
}

/* Nobody else has the file open: it gets its final size and confirmation. Needs the turn. */
static void close_last(kv_db *db)
{
    kvi_tail_cut(db, UINT64_MAX);
    kvi_confirm(db);
}

/* Has no writer left anything to be done: a flush, a cut, the work of a dead one? */
static bool is_quiet(const kv_db *db)
{
    const kvi_board *board = &db->readers.head->board;
    return db->head.shrunk == 0 && atomic_load(&board->writing) == 0 &&
           atomic_load(&board->flush) == KVI_FLUSH_NONE &&
           atomic_load(&board->counter) >> 1 == atomic_load(&board->durable);
}

/* What is lazy becomes durable while others are still kept from thinking that we are gone. */
static int close_writer(kv_db *db)
{
    bool owed = db->close_sync && db->head.lazy_bytes > 0; /* as of our last turn */
    if (db->role == KVI_SHARER && !owed && is_quiet(db))
        return KV_OK;
    int rc = kvi_turn_take(db, owed ? KVI_WAIT_FOREVER : 0);
    if (rc != KV_OK)
        return owed ? rc : KV_OK; /* nothing of ours is in doubt: others go on with it */
    if (db->close_sync && db->head.lazy_bytes > 0)
        rc = kvi_sync(db);
    if (db->role == KVI_SOLE)
        close_last(db);
    else
        kvi_tail_trim(db); /* others may wait for the turn */
    kvi_turn_give(db);
    return rc;
}

/* Is all that happened known to us? Not if a dead writer left something, or if somebody came and
 * went between our leaving and our being the last. */
static bool story_complete(kv_db *db)
{
    const kvi_board *board = &db->readers.head->board;
    return kvi_side_current(&db->side) && kvi_side_intact(&db->side) &&
           atomic_load(&board->writing) == 0 && atomic_load(&board->flush) == KVI_FLUSH_NONE;
}

/* Is our newest commit where we know it, and nothing newer beside it? Whoever came and went by
 * another name of the file had a side file of its own. */
static bool head_is_newest(kv_db *db)
{
    const kvi_head *head = &db->head;
    kvi_slots *slots = db->os->alloc(db->os, sizeof *slots);
    bool newest = slots && kvi_recover_slots(db->os, &db->err, db->file.fd, slots) == KV_OK &&
                  slots->valid[head->durable_slot] &&
                  slots->meta[head->durable_slot].id == head->durable &&
                  (!slots->valid[head->durable_slot ^ 1] ||
                   slots->meta[head->durable_slot ^ 1].id <= head->durable);
    db->os->free(db->os, slots);
    return newest;
}

/* Was the newest commit confirmed when we came, and is it the newest still? Who came and went since
 * confirmed his own; or he emptied the side file, which may not be touched then. */
static bool is_confirmed(kv_db *db)
{
    const kvi_board *board = &db->readers.head->board;
    return db->head.confirmed && kvi_side_intact(&db->side) &&
           db->head_published == atomic_load(&board->publications) && is_quiet(db);
}

/* The last sharer cuts the file and confirms the newest commit. */
static void close_sharer(kv_db *db)
{
    if (!kvi_join_leave(db))
        return;
    if (!db->readonly && !is_confirmed(db) && story_complete(db) &&
        kvi_turn_take(db, KVI_WAIT_FOREVER) == KV_OK) {
        if (head_is_newest(db))
            close_last(db);
        kvi_turn_give(db);
    }
    kvi_join_leave_last(db);
}

int kvi_db_close(kv_db *db)
{
    int rc = KV_OK;
    if (!*db->alive)
        return close_forked(db);
    if (kvi_readers_claimed(&db->readers) > 0 ||
        atomic_load_explicit(&db->n_writers, memory_order_acquire))
        return kvi_fail(&db->err, KV_EBUSY, "transactions are open");
    if (atomic_load_explicit(&db->n_waiting, memory_order_acquire))
        return kvi_fail(&db->err, KV_EBUSY, "a thread waits for a commit");
    if (!db->readonly)
        rc = close_writer(db);
    if (db->role == KVI_SHARER)
        close_sharer(db);
    db_free(db);
    return rc;
}
