/* shrink.c - see shrink.h. */
#include "shrink.h"
#include "begin.h"
#include "commit.h"
#include "gather.h"
#include "relocate.h"
#include "tail.h"

#define PASSES   12  /* others may write behind the target meanwhile */
#define SETTLE   4   /* commits after which what was moved away is free */
#define STEP     192 /* pages: one flush, since their walk is below the cap */
#define LEAST    4   /* holes that are worth a transaction */
#define SPARE    16  /* one page in so many stays free */
#define MUCH     8   /* one page in so many is worth a word, and may be lent meanwhile */
#define PATIENCE 100 /* the same while a reader is in the way */
#define WAIT_US  10000
#define PAUSE_US 200 /* between two transactions: others have their turn */

typedef struct shrink {
    kv_db *db;
    const kv_compact_options *options;
    kv_compact_info *info;
    kvi_gather gather;
    kvi_relocate move;
    uint32_t held_by;    /* as in info, be it ever so little */
    kvi_pgno high_water; /* after the newest transaction */
    kvi_pgno began;      /* the high-water mark at the beginning */
    kvi_pgno goal;       /* where the pages may come to end, as of the newest transaction */
    kvi_id shrunk;       /* readers of older commits need what is behind it */
    uint64_t total;      /* pages to move, as it seemed at first */
    uint64_t wrote;      /* pages, in the newest transaction */
    bool stuck;          /* too few holes */
    bool cramped;        /* the disk has no room for a longer file */
} shrink;

/* ---- one transaction ---- */

/* Where a file could end that has so many pages in use, with some holes. */
static kvi_pgno end_of(uint64_t pages, uint32_t page_size)
{
    return kvi_first_page(page_size) + pages + pages / SPARE + LEAST;
}

/* All that is in use, and what somebody still needs. */
static uint64_t kept_pages(const kvi_space *space, uint32_t page_size)
{
    return kvi_space_high_water(space) - kvi_first_page(page_size) - kvi_space_free_pages(space);
}

static uint32_t kind_of(const kv_db *db, kvi_id holder)
{
    const kvi_listed *named = &db->listed[0];
    for (size_t i = 0; i < named->n; i++)
        if (named->ids[i] == holder)
            return KV_HELD_SNAPSHOT;
    return holder ? KV_HELD_READER : KV_HELD_NOBODY;
}

/* Where the file may end; who keeps something, and who makes much of a difference: a few pages at
 * the end of the file keep all that is before them. */
static void note_kept(shrink *s)
{
    const kv_db *db = s->db;
    const kvi_space *space = db->space;
    uint32_t page_size = db->file.page_size;
    uint64_t pages, much = kvi_space_high_water(space) / MUCH;
    kvi_pgno end;
    kvi_id most = kvi_space_holder(space, db->head.durable, &pages);
    kvi_id last = kvi_space_end_holder(space, db->head.durable, &end);
    s->goal = end_of(kept_pages(space, page_size), page_size);
    kvi_pgno least = end_of(kept_pages(space, page_size) - kvi_space_dead_pages(space), page_size);
    s->held_by = kind_of(db, most);
    s->info->holder = pages > much ? most : end > least + much ? last : 0;
    s->info->held_by = kind_of(db, s->info->holder);
}

/* Half of the holes, so that what is moved away need not be free at once. */
static uint64_t budget(shrink *s, uint64_t holes)
{
    s->stuck = holes < LEAST;
    return KVI_MIN((uint64_t)s->options->step_pages, holes / 2);
}

static kvi_id newest_named(const kv_db *db)
{
    const kvi_listed *named = &db->listed[0];
    kvi_id newest = 0;
    for (size_t i = 0; i < named->n; i++)
        newest = KVI_MAX(newest, named->ids[i]);
    return newest;
}

/* While nobody keeps what is replaced, the file may become a little longer. */
static int gather_some(shrink *s, kv_txn *txn)
{
    kvi_gather *gather = &s->gather;
    kvi_pgno longest = s->began + s->began / MUCH + LEAST;
    kvi_pgno end = kvi_space_high_water(s->db->space);
    uint64_t holes = kvi_space_free_pages(s->db->space), before = gather->moved;
    if (s->held_by == KV_HELD_NOBODY && !s->cramped && end < longest)
        holes += longest - end;
    gather->pass.budget = budget(s, holes);
    gather->shared = newest_named(s->db);
    int rc = s->stuck ? KV_OK : kvi_gather_step(gather, txn);
    s->wrote = gather->moved - before;
    return rc;
}

static int move_some(shrink *s, kv_txn *txn)
{
    kvi_space *space = s->db->space;
    kvi_relocate *move = &s->move;
    uint64_t before = move->moved;
    if (move->target == 0)
        move->target = s->goal;
    move->pass.budget = budget(s, kvi_space_free_below(space, move->target));
    if (kvi_space_own_behind(space, move->target))
        kvi_space_refold(space);
    int rc = s->stuck ? KV_OK : kvi_relocate_step(move, txn);
    s->wrote = move->moved - before;
    return rc;
}

/* Where the pages end: as any reader learns it, since others write between our transactions. */
static int look(shrink *s)
{
    kv_txn *reader;
    int rc = kvi_begin_read(s->db, &reader);
    if (rc != KV_OK)
        return rc;
    s->high_water = reader->base.high_water;
    kvi_end(reader);
    return KV_OK;
}

/* Until the pause for others is over. */
static void step_over(shrink *s, uint64_t began)
{
    kv_db *db = s->db;
    s->info->longest_us = KVI_MAX(s->info->longest_us, (db->os->mono_ns(db->os) - began) / 1000);
    db->os->sleep_us(db->os, PAUSE_US);
}

typedef int shrink_work(shrink *s, kv_txn *txn);

/* Without work, the transaction is there to let pages fall free and the file end sooner. */
static int shrink_txn(shrink *s, shrink_work *work)
{
    kv_db *db = s->db;
    kv_txn *txn;
    int rc = kvi_begin_write(db, s->options->wait_ms, KV_DURABLE, &txn);
    if (rc != KV_OK)
        return rc;
    uint64_t began = db->os->mono_ns(db->os);
    s->wrote = 0;
    if (kvi_space_unknown(db->space))
        rc = kvi_fail(&db->err, KV_ECORRUPT, "the records of free pages are damaged");
    note_kept(s);
    if (rc == KV_OK && work)
        rc = work(s, txn);
    txn->main.changed = true; /* there is something to commit */
    if (rc != KV_OK) {
        kvi_end(txn);
        return rc;
    }
    memcpy(txn->origin, db->head.meta.origin, sizeof txn->origin); /* no entry is another */
    txn->origin_id = db->head.meta.origin_id;
    rc = kvi_commit(txn);
    step_over(s, began);
    if (rc != KV_OK)
        return rc;
    s->info->steps++;
    s->info->moved_pages += s->wrote;
    return look(s);
}

static int shrink_tell(shrink *s)
{
    const kv_compact_options *options = s->options;
    uint64_t total = s->total ? s->total : s->began;
    kv_progress progress = {KVI_MIN(s->info->moved_pages, total), total};
    if (!options->progress || options->progress(options->context, &progress) == 0)
        return KV_OK;
    return kvi_fail(&s->db->err, KV_ECANCELED, "a callback asked to stop");
}

/* ---- passes ---- */

static uint64_t file_size(const shrink *s)
{
    return kvi_file_size(&s->db->file);
}

static bool file_cut(const shrink *s)
{
    return file_size(s) <= s->high_water << s->db->file.page_shift;
}

/* Hands the end of the file back piece by piece, as far as nobody needs it. */
static int hand_back(shrink *s)
{
    kv_db *db = s->db;
    for (;;) {
        int rc = kvi_turn_take(db, s->options->wait_ms);
        if (rc != KV_OK)
            return rc;
        uint64_t began = db->os->mono_ns(db->os), before = file_size(s);
        kvi_tail_cut(db, KVI_CUT_MAX);
        bool shorter = file_size(s) < before;
        s->shrunk = db->head.shrunk;
        kvi_turn_give(db);
        if (!shorter)
            return KV_OK;
        step_over(s, began);
        rc = shrink_tell(s);
        if (rc != KV_OK)
            return rc;
    }
}

/* Does the end of the file wait for a reader? Others come and go, and that is soon; but it is
 * not waited for where nothing was moved and the pages do not end sooner than before. */
static bool is_waiting(const shrink *s)
{
    bool kept = s->held_by == KV_HELD_READER && s->high_water > s->move.target;
    bool acted = s->info->moved_pages > 0 || s->high_water < s->began;
    return s->move.target != 0 && acted && (kept || !file_cut(s));
}

/* Lets what was moved away fall free. */
static int settle(shrink *s)
{
    int rc = KV_OK;
    for (unsigned i = 0; rc == KV_OK && (i < SETTLE || (i < PATIENCE && is_waiting(s))); i++) {
        if (i >= SETTLE)
            s->db->os->sleep_us(s->db->os, WAIT_US);
        rc = shrink_txn(s, NULL);
        if (rc == KV_OK)
            rc = shrink_tell(s);
        if (rc == KV_OK)
            rc = hand_back(s);
        if (i > 0 && s->high_water <= s->move.target && file_cut(s))
            break;
    }
    return rc;
}

/* Until as much was written as there was in the beginning: others may make leaves sparse for ever. A
 * full disk is no reason to end; the rest writes into holes only. */
static int gather_run(shrink *s)
{
    kv_db *db = s->db;
    int rc = kvi_gather_begin(&s->gather, db->os, db->file.page_size);
    while (rc == KV_OK && !s->gather.pass.done && !s->stuck && s->gather.moved < s->began) {
        rc = shrink_txn(s, gather_some);
        if (rc == KV_ENOSPC) {
            s->stuck = s->cramped;
            s->cramped = true;
            rc = KV_OK;
        }
        if (rc == KV_OK)
            rc = shrink_tell(s);
    }
    kvi_pass_end(&s->gather.pass, db->os);
    return rc;
}

static int move_run(shrink *s)
{
    kv_db *db = s->db;
    s->stuck = false;
    s->move = (kvi_relocate){0};
    int rc = kvi_relocate_begin(&s->move, db->os, db->file.page_size);
    while (rc == KV_OK && !s->move.pass.done && !s->stuck) {
        rc = shrink_txn(s, move_some);
        if (s->total == 0)
            s->total = s->info->moved_pages +
                       (s->high_water > s->move.target ? s->high_water - s->move.target : 1);
        if (rc == KV_OK)
            rc = shrink_tell(s);
    }
    kvi_pass_end(&s->move.pass, db->os);
    return rc;
}

/* Is it as low as can be expected, others having let go of pages meanwhile? */
static bool is_short(const shrink *s)
{
    return s->high_water <= s->goal + s->goal / SPARE;
}

static int shrink_run(shrink *s)
{
    int rc = look(s);
    s->began = s->high_water;
    if (rc == KV_OK)
        rc = settle(s);
    if (rc == KV_OK)
        rc = gather_run(s);
    if (rc == KV_OK && s->gather.moved > 0)
        rc = settle(s);
    for (unsigned i = 0; rc == KV_OK && i < PASSES; i++) {
        kvi_pgno before = s->high_water;
        rc = move_run(s);
        if (rc == KV_OK)
            rc = settle(s);
        if (is_short(s) || s->high_water >= before)
            break;
    }
    return rc;
}

static int older_guest(void *context, uint64_t id)
{
    kvi_id *oldest = context;
    *oldest = KVI_MIN(*oldest, id);
    return KV_OK;
}

static int older_pin(void *context, const kvi_pin *pin)
{
    return older_guest(context, pin->id);
}

/* Who keeps the file from being cut, though none of its pages beyond are recorded any more: the
 * oldest reader. */
static int note_reader(shrink *s)
{
    kv_db *db = s->db;
    kvi_id oldest = s->shrunk;
    int rc = kvi_readers_scan(&db->readers, older_pin, &oldest);
    if (rc == KV_OK && db->role == KVI_SHARER)
        rc = kvi_lock_pins(&db->lock, &db->err, older_guest, &oldest);
    if (oldest < s->shrunk) {
        s->info->held_by = KV_HELD_READER;
        s->info->holder = oldest;
    }
    return rc;
}

int kvi_shrink(kv_db *db, const kv_compact_options *options, kv_compact_info *info)
{
    kv_compact_options chosen = *options;
    shrink s = {.db = db, .options = &chosen, .info = info};
    if (chosen.step_pages == 0)
        chosen.step_pages = STEP;
    if (chosen.wait_ms == 0)
        chosen.wait_ms = KVI_WAIT_FOREVER;
    int rc = kvi_file_look(&db->file, &info->before);
    atomic_fetch_add_explicit(&db->compacting, 1, memory_order_relaxed);
    if (rc == KV_OK)
        rc = shrink_run(&s);
    atomic_fetch_sub_explicit(&db->compacting, 1, memory_order_relaxed);
    int known = kvi_file_look(&db->file, &info->after);
    if (rc == KV_OK && !file_cut(&s) && !info->held_by)
        rc = note_reader(&s);
    return rc != KV_OK ? rc : known;
}
