/* repair.c - kvi_db_repair (db.h): the way through what an ordinary open refuses or leaves alone.
 *
 *   1. If no commit may be used by the rules of recovery, the newest one that can be read from the
 *      first page to the last is adopted: it becomes the commit of both metas.
 *   2. The database is opened as for writing, and every page of the trees is visited.
 *   3. The records of free pages are built anew from that, and committed in two flushes.
 *   4. The other meta gets the same commit.
 */
#include "begin.h"
#include "commit.h"
#include "db.h"
#include "recover.h"
#include "used.h"
#include <stdarg.h>
#include <stdio.h>

#define PAUSE_US 5000 /* between two looks at whether the others have left */

typedef struct repair {
    const kvi_os *os;
    const char *path;
    uint32_t wait_ms;
    void (*report)(void *context, const char *sentence);
    void *context;
    kvi_err err;
    kvi_used used;
    uint64_t pages;  /* in use */
    uint64_t broken; /* parts that cannot be read */
    uint64_t seal;   /* over the pages newer than the meta's durable commit */
} repair;

KVI_PRINTF(2, 3) static void repair_say(repair *r, const char *format, ...)
{
    char sentence[sizeof r->err.text];
    va_list args;
    if (!r->report)
        return;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    r->report(r->context, sentence);
}

/* ---- visiting everything ---- */

static int repair_page(kvi_walk *walk, kvi_ptr ptr, const uint8_t *bytes)
{
    repair *r = walk->context;
    int rc = kvi_used_add(&r->used, walk, ptr, 1);
    if (rc != KV_OK)
        return rc == 1 ? KVI_WALK_SKIP : rc;
    r->pages++;
    if (ptr.birth > walk->meta->durable)
        r->seal += kvi_get64(bytes + KVI_P_checksum);
    return KV_OK;
}

static int repair_broken(kvi_walk *walk, kvi_ptr ptr, unsigned level, int rc)
{
    repair *r = walk->context;
    char text[sizeof r->err.text];
    (void)ptr;
    (void)level;
    (void)rc;
    r->broken++;
    kvi_err_text(walk->file->err, text, sizeof text);
    repair_say(r, "%s", text);
    return KV_OK;
}

static int repair_large(kvi_walk *walk, const kvi_large *large, const kvi_ptr *leaf)
{
    repair *r = walk->context;
    (void)leaf;
    int rc = kvi_used_add(&r->used, walk, large->ptr, large->pages);
    if (rc != KV_OK)
        return rc == 1 ? KV_OK : rc;
    r->pages += large->pages;
    rc = kvi_walk_large(walk->file, large, NULL, NULL);
    return rc == KV_ECORRUPT || rc == KV_EIO ? repair_broken(walk, large->ptr, 0, rc) : rc;
}

/* Marks what the trees of meta use, and counts what cannot be read. */
static int repair_walk(repair *r, kvi_file *file, const kvi_meta *meta)
{
    kvi_walk walk = {
        .file = file,
        .meta = meta,
        .budget = UINT64_MAX,
        .page = repair_page,
        .large = repair_large,
        .broken = repair_broken,
        .context = r,
    };
    r->pages = 0;
    r->broken = 0;
    r->seal = 0;
    kvi_used_close(&r->used, r->os);
    int rc = kvi_used_init(&r->used, r->os, meta->high_water);
    return rc == KV_OK ? kvi_walk_trees(&walk) : rc;
}

/* ---- 1. a commit for those who have none ---- */

/* Can all of a slot's commit be read, as it was written? Space records count in a seal, but may be
 * beyond reading; so a seal is only held against a commit that has none newer than its durable
 * one. */
static int repair_slot_whole(repair *r, kvi_file *file, const kvi_meta *meta, bool *whole)
{
    *whole = false;
    if (meta->high_water << file->page_shift > atomic_load(&file->size))
        return KV_OK;
    int rc = repair_walk(r, file, meta);
    if (rc == KV_ECORRUPT)
        return KV_OK;
    bool sealed = meta->durable == meta->id || meta->log.birth > meta->durable ||
                  meta->map.birth > meta->durable || meta->blocked.birth > meta->durable ||
                  r->seal == meta->seal;
    *whole = rc == KV_OK && r->broken == 0 && sealed;
    return rc;
}

/* Writes the commit into both slots as a proven one, its own slot last. Newer ones may be given up, which
 * copies and readers have seen: so it becomes one of another file and boot, with an id above newest. */
static int repair_write_metas(kvi_file *file, const kvi_meta *meta, unsigned own, kvi_id newest)
{
    kvi_meta proven = *meta;
    proven.id = newest < KVI_ID_MAX - 4 * KVI_ID_SKIP ? newest + KVI_ID_SKIP : meta->id;
    kvi_meta_prove(&proven);
    memset(proven.boot_id, 0, sizeof proven.boot_id);
    int rc = file->os->random(file->os, proven.file_id, sizeof proven.file_id);
    rc = rc < 0 ? kvi_fail_os(file->err, rc, "asking for random bytes") : kvi_file_sync(file);
    for (unsigned i = 0; rc == KV_OK && i < 2; i++) {
        rc = kvi_meta_write(file, &proven, own ^ 1 ^ i);
        if (rc == KV_OK)
            rc = kvi_file_sync(file);
    }
    return rc;
}

static int repair_adopt_slot(repair *r, kvi_file *file, const kvi_slots *slots)
{
    unsigned newest = kvi_slots_newest(slots);
    for (unsigned i = 0; i < 2; i++) {
        unsigned slot = newest ^ i;
        const kvi_meta *meta = &slots->meta[slot];
        bool whole = false;
        int rc = slots->valid[slot] ? repair_slot_whole(r, file, meta, &whole) : KV_OK;
        if (rc != KV_OK)
            return rc;
        if (whole) {
            repair_say(r, "commit %llu is the newest that can be read; it is adopted",
                       (unsigned long long)meta->id);
            return repair_write_metas(file, meta, slot, slots->meta[newest].id);
        }
    }
    return kvi_fail(&r->err, KV_ECORRUPT, "no commit can be read from the first page to the last");
}

/* KV_OK: an ordinary open will find a commit. */
static int repair_choice(repair *r, kvi_file *file, const kvi_slots *slots)
{
    uint8_t boot_id[16];
    kvi_choice choice;
    int rc = r->os->boot_id(r->os, boot_id);
    if (rc < 0)
        return kvi_fail_os(&r->err, rc, "asking for the boot id");
    rc = kvi_recover_choose(file, slots, boot_id, &choice, NULL);
    if (rc == KV_ECORRUPT) {
        char text[sizeof r->err.text];
        kvi_err_text(&r->err, text, sizeof text);
        repair_say(r, "%s", text);
        return repair_adopt_slot(r, file, slots);
    }
    if (rc == KV_OK && choice.rejected)
        repair_say(r, "commit %llu was never finished; commit %llu is the newest whole one",
                   (unsigned long long)choice.newest,
                   (unsigned long long)slots->meta[choice.slot].id);
    return rc;
}

static int repair_slots(repair *r, int fd)
{
    kvi_slots *slots = r->os->alloc(r->os, sizeof *slots);
    kvi_file file;
    if (!slots)
        return KV_ENOMEM;
    int rc = kvi_recover_slots(r->os, &r->err, fd, slots);
    unsigned valid = rc == KV_OK && !slots->valid[0];
    if (rc == KV_OK)
        rc = kvi_file_init(&file, r->os, &r->err, fd, slots->page_size,
                           slots->meta[valid].hash_seed, true);
    if (rc == KV_OK) {
        if (!slots->valid[0] || !slots->valid[1])
            repair_say(r, "meta page %u is damaged", valid ? 0 : 1);
        rc = repair_choice(r, &file, slots);
        kvi_file_close(&file);
    }
    r->os->free(r->os, slots);
    return rc;
}

/* Waits for those who have the file open. */
static int repair_lock(repair *r, const kvi_lock *lock)
{
    const kvi_os *os = r->os;
    uint64_t give_up = os->mono_ns(os) + (uint64_t)r->wait_ms * 1000000;
    for (;;) {
        int rc = kvi_lock_sole(lock, &r->err);
        if (rc != KV_EBUSY || os->mono_ns(os) >= give_up)
            return rc;
        kvi_lock_drop(lock, KVI_LOCK_LIFECYCLE); /* they may need it to leave */
        os->sleep_us(os, PAUSE_US);
    }
}

static int repair_metas(repair *r)
{
    const kvi_os *os = r->os;
    kvi_os_stat stat;
    kvi_lock lock;
    int rc = os->stat_path(os, r->path, &stat);
    if (rc < 0)
        return kvi_fail_os(&r->err, rc, "%s", r->path);
    if (!stat.regular)
        return kvi_fail(&r->err, KV_EINVAL, "%s is not a regular file", r->path);
    rc = kvi_lock_open(&lock, os, &r->err, r->path, false);
    if (rc == KV_OK)
        rc = repair_lock(r, &lock);
    if (rc != KV_OK) {
        kvi_lock_close(&lock);
        return rc;
    }
    int fd = os->open(os, r->path, KVI_OS_WRITE, 0);
    rc = fd < 0 ? kvi_fail_os(&r->err, fd, "opening %s", r->path) : repair_slots(r, fd);
    if (fd >= 0)
        os->close(os, fd);
    kvi_lock_close(&lock);
    return rc;
}

/* ---- 2. to 4. ---- */

/* Commits may have been given up that copies have: no backup may lead on from those. */
static int repair_rename(kv_db *db)
{
    uint8_t *file_id = db->head.meta.file_id;
    int rc = db->os->random(db->os, file_id, sizeof db->head.meta.file_id);
    return rc < 0 ? kvi_fail_os(&db->err, rc, "asking for random bytes") : KV_OK;
}

static int repair_rebuild(repair *r, kv_txn *txn)
{
    kv_db *db = txn->db;
    const kvi_meta *meta = &db->head.meta;
    int rc = repair_walk(r, &db->file, meta);
    if (rc == KV_OK && r->broken)
        rc = kvi_fail(&db->err, KV_ECORRUPT, "%llu parts of the trees cannot be read",
                      (unsigned long long)r->broken);
    if (rc != KV_OK)
        return rc;
    repair_say(r, "commit %llu: all its %llu pages can be read", (unsigned long long)meta->id,
               (unsigned long long)r->pages);
    if (kvi_space_unknown(db->space))
        repair_say(r, "the records of free pages are damaged");
    rc = kvi_space_rebuild(db->space, txn->id, meta->high_water);
    if (rc == KV_OK)
        rc = kvi_used_mark(&r->used, db->space, kvi_first_page(meta->page_size));
    if (rc == KV_OK)
        rc = repair_rename(db);
    txn->main.changed = true; /* there is something to commit */
    return rc;
}

/* The commit that was just made goes into the other slot too. */
static int repair_confirm(kv_db *db)
{
    int rc = kvi_turn_take(db, KVI_WAIT_FOREVER);
    if (rc != KV_OK)
        return rc;
    rc = kvi_meta_write(&db->file, &db->head.meta, db->head.durable_slot ^ 1);
    if (rc == KV_OK)
        rc = kvi_flush(db);
    db->head.confirmed = rc == KV_OK;
    kvi_turn_give(db);
    return rc;
}

static int repair_commit(repair *r, kv_db *db)
{
    kv_txn *txn;
    uint8_t file_id[sizeof db->head.meta.file_id];
    int rc = kvi_begin_write(db, KVI_WAIT_FOREVER, KV_STRICT, &txn);
    if (rc != KV_OK)
        return rc;
    memcpy(file_id, db->head.meta.file_id, sizeof file_id);
    rc = repair_rebuild(r, txn);
    if (rc == KV_OK)
        rc = kvi_commit(txn);
    else
        kvi_end(txn);
    if (rc != KV_OK) /* closing may write the meta of the commit before */
        memcpy(db->head.meta.file_id, file_id, sizeof file_id);
    else
        rc = repair_confirm(db);
    if (rc == KV_OK)
        repair_say(r, "the records of free pages and both meta pages are written anew");
    return rc;
}

static int repair_open(repair *r)
{
    char message[sizeof r->err.text];
    kv_options options = {
        .size = sizeof options, .flags = KV_OPEN_EXCLUSIVE, .wait_ms = r->wait_ms};
    kv_db *db;
    int rc = kvi_db_open(r->os, r->path, &options, &db, message, sizeof message);
    if (rc != KV_OK)
        return kvi_fail(&r->err, rc, "%s", message);
    rc = repair_commit(r, db);
    if (rc != KV_OK) {
        kvi_err_text(&db->err, message, sizeof message);
        kvi_fail(&r->err, rc, "%s", message);
    }
    int closed = kvi_db_close(db);
    return rc == KV_OK ? closed : rc;
}

int kvi_db_repair(const kvi_os *os, const char *path, uint32_t wait_ms,
                  void (*report)(void *context, const char *sentence), void *context)
{
    repair r = {.os = os, .path = path, .wait_ms = wait_ms, .report = report, .context = context};
    kvi_err_init(&r.err);
    int rc = repair_metas(&r);
    if (rc == KV_OK)
        rc = repair_open(&r);
    kvi_used_close(&r.used, os);
    if (rc < 0) {
        char text[sizeof r.err.text];
        kvi_err_text(&r.err, text, sizeof text);
        repair_say(&r, "%s", *text ? text : kv_strerror(rc));
    }
    kvi_err_destroy(&r.err);
    return rc;
}
