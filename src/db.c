/* db.c - see db.h. */
#include "db.h"
#include "commit.h"
#include "create.h"
#include "recover.h"
#include <errno.h>
#include <stdio.h>

#define BUDGET_DEFAULT    ((uint64_t)256 << 20)
#define LAZY_SYNC_DEFAULT ((uint64_t)64 << 20)
#define OPEN_FLAGS                                                                                 \
    (KV_OPEN_CREATE | KV_OPEN_READONLY | KV_OPEN_IMMUTABLE | KV_OPEN_NO_CHECKSUM |                 \
     KV_OPEN_NO_CLOSE_SYNC | KV_OPEN_EXCLUSIVE)
#define REPLACED_TRIES 100 /* times that the file may be replaced while it is opened */

/* ---- options ---- */

static bool options_ok(const kv_options *o)
{
    bool readonly = o->flags & KV_OPEN_READONLY;
    return !(o->flags & ~(uint32_t)OPEN_FLAGS) && !((o->flags & KV_OPEN_IMMUTABLE) && !readonly) &&
           !((o->flags & (KV_OPEN_EXCLUSIVE | KV_OPEN_CREATE)) && readonly) &&
           (o->page_size == 0 || kvi_page_size_ok(o->page_size)) && o->durability >= KV_DEFAULT &&
           o->durability <= KV_LAZY;
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
    return KV_OK;
}

/* ---- the path ---- */

/* Creates the file when that is wanted. *empty: there is an empty file to be replaced. */
static int path_prepare(const kvi_os *os, kvi_err *err, const char *path, const kv_options *options,
                        bool *empty)
{
    kvi_os_stat stat;
    int rc = os->stat_path(os, path, &stat);
    *empty = false;
    if (rc == -ENOENT && (options->flags & KV_OPEN_CREATE)) {
        rc = kvi_create(os, err, path, options->page_size, false);
        return rc == KV_EXISTS ? KV_OK : rc;
    }
    if (rc < 0)
        return kvi_fail_os(err, rc, "%s", path);
    if (!stat.regular)
        return kvi_fail(err, KV_EINVAL, "%s is not a regular file", path);
    *empty = stat.size == 0;
    if (*empty && !(options->flags & KV_OPEN_CREATE))
        return kvi_fail(err, KV_ENOTKV, "%s is empty", path);
    return KV_OK;
}

static int path_resolve(kv_db *db, const char *path)
{
    size_t size = 4096;
    db->path = db->os->alloc(db->os, size);
    if (!db->path)
        return KV_ENOMEM;
    int rc = db->os->resolve(db->os, path, db->path, size);
    return rc < 0 ? kvi_fail_os(&db->err, rc, "%s", path) : KV_OK;
}

/* Does the path still lead to the file that is locked? */
static int path_same(const kv_db *db, bool *same)
{
    kvi_os_stat locked = {0}, named = {0};
    int rc = db->os->stat(db->os, db->lock.fd, &locked);
    if (rc >= 0)
        rc = db->os->stat_path(db->os, db->path, &named);
    *same = rc >= 0 && locked.inode == named.inode && locked.device == named.device;
    return rc < 0 && rc != -ENOENT ? rc : 0;
}

/* Locks the file that the path names, creating or replacing it first when that is wanted. */
static int path_lock(kv_db *db, const char *path, const kv_options *options)
{
    for (int tries = 0; tries < REPLACED_TRIES; tries++) {
        bool empty, same;
        int rc = path_prepare(db->os, &db->err, path, options, &empty);
        if (rc == KV_OK && !db->path)
            rc = path_resolve(db, path);
        if (rc != KV_OK || db->immutable)
            return rc;
        rc = kvi_lock_open(&db->lock, db->os, &db->err, db->path, !db->readonly, options->wait_ms);
        if (rc != KV_OK)
            return rc;
        rc = path_same(db, &same);
        if (rc < 0)
            return kvi_fail_os(&db->err, rc, "%s", path);
        if (same && !empty)
            return KV_OK;
        if (same) { /* empty and ours: replaced, then opened like any other */
            rc = kvi_create(db->os, &db->err, db->path, options->page_size, true);
            if (rc != KV_OK)
                return rc;
        }
        kvi_lock_close(&db->lock);
    }
    return kvi_fail(&db->err, KV_EBUSY, "%s is replaced again and again", path);
}

/* ---- opening ---- */

static void db_options(kv_db *db, const kv_options *options)
{
    db->readonly = options->flags & KV_OPEN_READONLY;
    db->immutable = options->flags & KV_OPEN_IMMUTABLE;
    db->close_sync = !(options->flags & KV_OPEN_NO_CLOSE_SYNC);
    db->durability = options->durability;
    db->memory_budget = options->memory_budget;
    db->lazy_sync_bytes = options->lazy_sync_bytes;
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
    kvi_err_init(&db->err);
    turn_init(&db->turn);
    db_options(db, options);
    *out = db;
    return KV_OK;
}

/* Gives back whatever is there; a handle may be half made. */
static void db_free(kv_db *db)
{
    const kvi_os *os = db->os;
    if (db->space)
        kvi_space_close(db->space);
    if (db->scratch)
        os->release(os, db->scratch, kvi_scratch_size(db->file.page_size));
    if (db->dirty.os)
        kvi_dirty_close(&db->dirty);
    if (db->readers.os)
        kvi_readers_close(&db->readers);
    if (db->file.os)
        kvi_file_close(&db->file);
    if (db->file.fd >= 0)
        os->close(os, db->file.fd);
    kvi_lock_close(&db->lock);
    os->free(os, db->scratch_value);
    os->free(os, db->spare);
    os->free(os, db->path);
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
    else if (rc == KV_OK && !choice->known && !db->immutable)
        rc = kvi_file_sync(&db->file); /* a reader may see only what will stay */
    kvi_recover_forget(db->os, &kept);
    return rc;
}

/* The newest commit that is proven when the chosen one is not. A meta that names its own commit as
 * durable proves the pages, but not itself; then it is the other slot's (R3, R4). */
static kvi_id proven_before(const kvi_slots *slots, const kvi_choice *choice)
{
    const kvi_meta *meta = &slots->meta[choice->slot];
    unsigned other = choice->slot ^ 1;
    if (meta->durable < meta->id)
        return meta->durable;
    return slots->valid[other] ? slots->meta[other].id : 0;
}

/* Finds the newest commit and publishes it. */
static int db_recover(kv_db *db, kvi_slots *slots, const kv_options *options)
{
    kvi_choice choice;
    const kvi_os *os = db->os;
    int rc = kvi_recover_slots(os, &db->err, db->file.fd, slots);
    if (rc != KV_OK)
        return rc;
    unsigned any = slots->valid[0] ? 0 : 1;
    memcpy(db->file_id, slots->meta[any].file_id, sizeof db->file_id);
    rc = kvi_file_init(&db->file, os, &db->err, db->file.fd, slots->page_size,
                       slots->meta[any].hash_seed, !(options->flags & KV_OPEN_NO_CHECKSUM));
    if (rc == KV_OK)
        rc = db_settle(db, slots, &choice);
    if (rc != KV_OK)
        return rc;
    kvi_recover_head(db, slots, &choice);
    if (choice.buried && !db->readonly)
        rc = kvi_commit_over(db);
    if (rc != KV_OK)
        return rc;
    if (!choice.known && (db->readonly || atomic_load(&db->poisoned))) /* seen, but not proven */
        db->head.durable = proven_before(slots, &choice);
    rc = kvi_readers_init(&db->readers, os);
    if (rc == KV_OK && !db->readonly)
        rc = writer_memory(db);
    if (rc == KV_OK)
        kvi_publish(db);
    return rc;
}

/* The descriptor that holds the locks must lead to the file that is used. */
static int same_file(kv_db *db)
{
    kvi_os_stat locked = {0}, used = {0};
    int rc = db->os->stat(db->os, db->lock.fd, &locked);
    if (rc >= 0)
        rc = db->os->stat(db->os, db->file.fd, &used);
    if (rc < 0)
        return kvi_fail_os(&db->err, rc, "asking what %s is", db->path);
    if (locked.inode != used.inode || locked.device != used.device)
        return kvi_fail(&db->err, KV_EBUSY, "%s was replaced while it was opened", db->path);
    return KV_OK;
}

/* Whoever created the file may have died before its name was flushed. */
static int name_flush(kv_db *db)
{
    if (db->readonly || db->head.meta.id != 1)
        return KV_OK;
    int rc = db->os->sync_dir(db->os, db->path);
    return rc < 0 ? kvi_fail_os(&db->err, rc, "flushing the directory of %s", db->path) : KV_OK;
}

static int db_open_file(kv_db *db, const char *path, const kv_options *options)
{
    const kvi_os *os = db->os;
    int rc = path_lock(db, path, options);
    if (rc != KV_OK)
        return rc;
    db->file.fd = os->open(os, db->path, db->readonly ? KVI_OS_READ : KVI_OS_WRITE, 0);
    if (db->file.fd < 0)
        return kvi_fail_os(&db->err, db->file.fd, "opening %s", db->path);
    rc = db->immutable ? KV_OK : same_file(db);
    if (rc != KV_OK)
        return rc;
    if (db->readonly && !db->immutable && os->shareable(os, db->file.fd) < 0)
        return kvi_fail(&db->err, KV_EUNSUPPORTED, "%s is on a network file system", db->path);
    rc = os->boot_id(os, db->boot_id);
    if (rc < 0)
        return kvi_fail_os(&db->err, rc, "asking for the boot id");
    kvi_slots *slots = os->alloc(os, sizeof *slots);
    if (!slots)
        return KV_ENOMEM;
    rc = db_recover(db, slots, options);
    os->free(os, slots);
    return rc == KV_OK ? name_flush(db) : rc;
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
            db_free(db);
    }
    kvi_err_destroy(&err);
    return rc;
}

/* ---- closing ---- */

int kvi_db_close(kv_db *db)
{
    int rc = KV_OK;
    if (atomic_load_explicit(&db->n_readers, memory_order_acquire) ||
        atomic_load_explicit(&db->n_writers, memory_order_acquire))
        return kvi_fail(&db->err, KV_EBUSY, "transactions are open");
    if (!db->readonly && kvi_turn_take(db, KVI_WAIT_FOREVER) == KV_OK) {
        if (db->close_sync && db->head.lazy_bytes > 0)
            rc = kvi_sync(db);
        kvi_trim(db);
        kvi_confirm(db);
        kvi_turn_give(db);
    }
    db_free(db);
    return rc;
}
