/* join.c - see join.h. */
#include "join.h"
#include "mutant.h"
#include <errno.h>

#define PAUSE_FIRST_US 50 /* between two tries to get in */
#define PAUSE_MOST_US  5000
#define PASSING_NS     30000000000ull /* for somebody who is just coming or leaving to be done */

/* Results of one attempt, beside KV_OK and errors. */
enum {
    JOIN_PASSING = 1,  /* somebody is just coming or leaving */
    JOIN_AS_GUEST = 2, /* there can be no side file: who only reads needs none */
};

/* ---- the path ---- */

/* Creates the file when that is wanted. *empty: there is an empty file to be replaced. */
static int path_prepare(kv_db *db, const char *path, const kv_options *options, bool *empty)
{
    const kvi_os *os = db->os;
    kvi_os_stat stat;
    int rc = os->stat_path(os, path, &stat);
    *empty = false;
    if (rc == -ENOENT && (options->flags & KV_OPEN_CREATE)) {
        rc = kvi_create(os, &db->err, path, options->page_size, NULL);
        return rc == KV_EXISTS ? KV_OK : rc;
    }
    if (rc < 0)
        return kvi_fail_os(&db->err, rc, "%s", path);
    if (!stat.regular)
        return kvi_fail(&db->err, KV_EINVAL, "%s is not a regular file", path);
    *empty = stat.size == 0;
    if (*empty && !(options->flags & KV_OPEN_CREATE))
        return kvi_fail(&db->err, KV_ENOTKV, "%s is empty", path);
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
    kvi_os_stat named = {0};
    int rc = db->os->stat_path(db->os, db->path, &named);
    *same = rc >= 0 && kvi_os_same_file(&db->opened, &named);
    return rc < 0 && rc != -ENOENT ? rc : 0;
}

/* ---- roles ---- */

static int take(kv_db *db, int kind, uint64_t byte)
{
    return kvi_lock_try(&db->lock, &db->err, kind, byte);
}

/* Only a sole owner keeps guests out. */
static int lifecycle_busy(kv_db *db)
{
    int rc = take(db, KVI_OS_SHARED, KVI_LOCK_GUESTS);
    return rc == KV_OK ? JOIN_PASSING : rc;
}

/* The first one holds the lifecycle byte alone until the side file is complete. */
static int sharer_lock(kv_db *db, bool *first)
{
    int rc = take(db, KVI_OS_EXCLUSIVE, KVI_LOCK_LIFECYCLE);
    *first = rc == KV_OK;
    if (rc == KV_EBUSY)
        rc = take(db, KVI_OS_SHARED, KVI_LOCK_LIFECYCLE);
    return rc == KV_EBUSY ? lifecycle_busy(db) : rc;
}

static int role_lock(kv_db *db, bool *first)
{
    *first = true;
    switch (db->role) {
    case KVI_SOLE:
        return kvi_lock_sole(&db->lock, &db->err);
    case KVI_SHARER:
        return sharer_lock(db, first);
    case KVI_GUEST:
        return take(db, KVI_OS_SHARED, KVI_LOCK_GUESTS);
    default:
        return KV_OK;
    }
}

/* Another name of the file has a side file of its own, whose readers we could not see. */
static int alias_check(kv_db *db, uint64_t own)
{
    uint64_t end = KVI_LOCK_ALIASES * 2;
    if (kvi_lock_held(&db->lock, KVI_LOCK_ALIASES, own - KVI_LOCK_ALIASES) ||
        kvi_lock_held(&db->lock, own + 1, end - own - 1))
        return kvi_fail(&db->err, KV_EBUSY, "%s is open under another name", db->path);
    return KV_OK;
}

static uint64_t alias_byte(const kv_db *db)
{
    return KVI_LOCK_ALIASES + db->side.identity;
}

/* Nobody uses our side file: is somebody using another one? */
static int alias_unused(kv_db *db)
{
    int rc = alias_check(db, alias_byte(db));
    return rc == KV_OK ? JOIN_PASSING : rc;
}

static int alias_take(kv_db *db)
{
    uint64_t own = alias_byte(db);
    int rc = take(db, KVI_OS_SHARED, own);
    return rc == KV_OK ? alias_check(db, own) : rc;
}

kvi_id kvi_join_durable(const kv_db *db)
{
    kvi_id durable = 0;
    uint64_t identity;
    int fd = kvi_side_peek(&db->side, &identity);
    if (fd < 0)
        return 0;
    /* In use now: what was there before its users came cannot be read any more. */
    if (kvi_lock_seen(&db->lock, KVI_LOCK_ALIASES + identity))
        durable = kvi_side_peek_durable(&db->side, fd);
    db->os->close(db->os, fd);
    return durable;
}

/* We hold the lifecycle byte shared. No side file then means that its users go by another name, or
 * that several are trying this at once. One that nobody uses was left by the dead: whoever gets the
 * byte exclusively removes it. */
static int side_join(kv_db *db)
{
    int rc = kvi_side_join(&db->side);
    if (rc == KV_EACCESS && db->readonly)
        return JOIN_AS_GUEST;
    if (rc == KV_NOTFOUND)
        return kvi_lock_held(&db->lock, KVI_LOCK_ALIASES, KVI_LOCK_ALIASES)
                   ? kvi_fail(&db->err, KV_EBUSY, "%s is open under another name", db->path)
                   : JOIN_PASSING;
    if (rc != KV_OK)
        return rc;
    if (KVI_MUTANT(SIDE_BELIEVED))
        return take(db, KVI_OS_SHARED, alias_byte(db));
    return kvi_lock_held(&db->lock, alias_byte(db), 1) ? alias_take(db) : alias_unused(db);
}

/* We hold it exclusively. What an earlier owner left is removed, or emptied where that is forbidden. */
static int side_make(kv_db *db)
{
    int rc = kvi_side_create(&db->side, &db->opened);
    if (rc != KV_OK && db->readonly)
        return JOIN_AS_GUEST; /* a full disk, a folder that may not be written ... */
    return rc == KV_OK ? alias_take(db) : rc;
}

static int role_enter(kv_db *db, bool first)
{
    switch (db->role) {
    case KVI_SOLE: /* what an earlier owner left would mislead the next sharer */
        return kvi_side_remove(&db->side);
    case KVI_SHARER:
        return first ? side_make(db) : side_join(db);
    default:
        return KV_OK;
    }
}

/* An empty file becomes a database: built beside it, put in its place. Guests must be out. */
static int empty_replace(kv_db *db, uint32_t page_size)
{
    int rc = db->role == KVI_SOLE ? KV_OK : take(db, KVI_OS_EXCLUSIVE, KVI_LOCK_GUESTS);
    return rc == KV_OK ? kvi_create(db->os, &db->err, db->path, page_size, &db->opened) : rc;
}

/* ---- leaving ---- */

bool kvi_join_leave(kv_db *db)
{
    if (db->side.lock.fd >= 0)
        kvi_lock_drop(&db->lock, alias_byte(db));
    kvi_lock_drop(&db->lock, KVI_LOCK_LIFECYCLE);
    return kvi_lock_try(&db->lock, NULL, KVI_OS_EXCLUSIVE, KVI_LOCK_LIFECYCLE) == KV_OK;
}

/* The name may lead to the side file of another database by now, one that has taken our path. */
void kvi_join_leave_last(kv_db *db)
{
    bool same = false;
    bool ours = (db->side.lock.fd >= 0 && kvi_side_current(&db->side)) ||
                (path_same(db, &same) == 0 && same);
    if (ours)
        db->os->unlink(db->os, db->side.path); /* if that fails, the next first one empties it */
    kvi_lock_drop(&db->lock, KVI_LOCK_LIFECYCLE);
}

/* ---- joining ---- */

/* Undoes an attempt, or a part of one. While it held the lifecycle byte, another may have left in the
 * belief that it was not the last: so it leaves like anybody else. */
static void join_back(kv_db *db)
{
    bool took = db->role == KVI_SHARER || db->role == KVI_SOLE;
    if (took && db->lock.fd >= 0 && db->lock.writable && kvi_join_leave(db))
        kvi_join_leave_last(db);
    kvi_side_detach(&db->side);
    kvi_lock_close(&db->lock);
}

static int join_prepare(kv_db *db, const char *path, const kv_options *options, bool *empty)
{
    int rc = path_prepare(db, path, options, empty);
    if (rc == KV_OK && !db->path)
        rc = path_resolve(db, path);
    if (rc == KV_OK && !db->side.os)
        rc = kvi_side_init(&db->side, db->os, &db->err, db->path);
    return rc;
}

/* The descriptor for the locks, and what it leads to, which does not change while it is open. */
static int lock_open(kv_db *db)
{
    db->opened = (kvi_os_stat){0};
    int rc = kvi_lock_open(&db->lock, db->os, &db->err, db->path, db->readonly);
    if (rc != KV_OK)
        return rc;
    rc = db->os->stat(db->os, db->lock.fd, &db->opened);
    return rc < 0 ? kvi_fail_os(&db->err, rc, "asking what %s is", db->path) : KV_OK;
}

/* One attempt in db->role. JOIN_PASSING: try again soon. */
static int join_as(kv_db *db, const kv_options *options, bool empty, bool *first)
{
    bool same;
    int rc = lock_open(db);
    if (rc != KV_OK)
        return rc;
    if (db->role == KVI_SHARER && !db->lock.writable)
        return JOIN_AS_GUEST;
    rc = role_lock(db, first);
    if (rc == KV_EBUSY && empty) /* somebody is making a database of it */
        return JOIN_PASSING;
    if (rc != KV_OK)
        return rc;
    rc = path_same(db, &same);
    if (rc < 0)
        return kvi_fail_os(&db->err, rc, "asking what %s is", db->path);
    if (!same || (empty && (!*first || db->opened.size > 0))) /* somebody made a database of it */
        return JOIN_PASSING;
    if (!empty)
        return role_enter(db, *first);
    rc = empty_replace(db, options->page_size);
    return rc == KV_OK ? JOIN_PASSING : rc;
}

/* Whoever may not write the database, or beside it, can still read as a guest. */
static int join_once(kv_db *db, const char *path, const kv_options *options, bool *first)
{
    bool empty;
    int rc = join_prepare(db, path, options, &empty);
    if (rc == KV_OK)
        rc = join_as(db, options, empty, first);
    if (rc == JOIN_AS_GUEST) {
        join_back(db);
        kvi_err_clear(&db->err);
        db->role = KVI_GUEST;
        rc = join_as(db, options, empty, first);
    }
    return rc;
}

/* The descriptor that holds the locks must lead to the file that is used. */
static int file_open(kv_db *db)
{
    const kvi_os *os = db->os;
    kvi_os_stat used = {0};
    db->file.fd = os->open(os, db->path, db->readonly ? KVI_OS_READ : KVI_OS_WRITE, 0);
    if (db->file.fd < 0)
        return kvi_fail_os(&db->err, db->file.fd, "opening %s", db->path);
    int rc = os->stat(os, db->file.fd, &used);
    if (rc < 0)
        return kvi_fail_os(&db->err, rc, "asking what %s is", db->path);
    if (!kvi_os_same_file(&db->opened, &used))
        return kvi_fail(&db->err, KV_EBUSY, "%s was replaced while it was opened", db->path);
    if (db->role != KVI_SOLE && db->role != KVI_IMMUTABLE && os->shareable(os, db->file.fd) < 0)
        return kvi_fail(&db->err, KV_EUNSUPPORTED, "%s is on a network file system", db->path);
    return KV_OK;
}

static enum kvi_role role_wanted(const kv_options *options)
{
    return options->flags & KV_OPEN_IMMUTABLE   ? KVI_IMMUTABLE
           : options->flags & KV_OPEN_EXCLUSIVE ? KVI_SOLE
                                                : KVI_SHARER;
}

int kvi_join(kv_db *db, const char *path, const kv_options *options, bool *first)
{
    const kvi_os *os = db->os;
    uint64_t start = os->mono_ns(os), patience = (uint64_t)options->wait_ms * 1000000;
    uint32_t pause = PAUSE_FIRST_US;
    for (;;) {
        db->role = role_wanted(options);
        int rc = join_once(db, path, options, first);
        if (rc == KV_OK)
            return file_open(db);
        join_back(db);
        uint64_t waited = os->mono_ns(os) - start;
        if (rc == JOIN_PASSING && waited > KVI_MAX(PASSING_NS, patience))
            return kvi_fail(&db->err, KV_EBUSY, "%s is being opened or replaced by somebody else",
                            path);
        if (rc != JOIN_PASSING && (rc != KV_EBUSY || waited >= patience))
            return rc;
        os->sleep_us(os, pause);
        pause = KVI_MIN(pause * 2, PAUSE_MOST_US);
    }
}

int kvi_join_announce(kv_db *db)
{
    kvi_side_facts facts = {.hash_seed = db->file.hash_seed, .page_size = db->file.page_size};
    memcpy(facts.file_id, db->file_id, sizeof facts.file_id);
    kvi_side_announce(&db->side, &facts);
    if (KVI_MUTANT(LIFECYCLE_DROPPED)) {
        kvi_lock_drop(&db->lock, KVI_LOCK_LIFECYCLE);
        return KV_OK;
    }
    return take(db, KVI_OS_SHARED, KVI_LOCK_LIFECYCLE); /* from exclusive, in one step */
}
