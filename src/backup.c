/* backup.c - see backup.h. */
#include "backup.h"
#include "catalog.h"
#include "commit.h"
#include "mutant.h"
#include "stat.h"
#include "tour.h"

#define PATIENCE_MS 1000 /* for a writer, whose commit may settle ours */
#define PAUSE_US    1000 /* between two looks whether it has */

typedef struct backup {
    kv_txn *txn;
    kvi_stream stream;
    kv_backup_info *info;
} backup;

/* A tree, or the catalog, on the way into the stream. */
typedef struct backup_walk {
    backup *b;
    kvi_id since;
    uint8_t from, to; /* records that begin and end a range */
    bool open;        /* a range is */
    int (*entry)(const struct backup_walk *walk, kvi_slice key, kvi_stored value);
} backup_walk;

/* ---- ranges ---- */

static int put_bound(backup *b, uint8_t record, const kvi_slice *bound)
{
    int rc = kvi_stream_put_byte(&b->stream, record);
    return rc == KV_OK ? kvi_stream_put_bound(&b->stream, bound) : rc;
}

static int range_open(backup_walk *walk, kvi_tour *tour)
{
    kvi_slice low;
    if (walk->open)
        return KV_OK;
    walk->open = true;
    bool bounded = tour && kvi_tour_low(tour, &low);
    return put_bound(walk->b, walk->from, bounded ? &low : NULL);
}

static int range_close(backup_walk *walk, kvi_tour *tour)
{
    kvi_slice low;
    if (!walk->open)
        return KV_OK;
    walk->open = false;
    bool bounded = tour && kvi_tour_low(tour, &low);
    return put_bound(walk->b, walk->to, bounded ? &low : NULL);
}

static int walk_step(backup_walk *walk, kvi_tour *tour)
{
    int rc = KV_OK;
    if (tour->on_entry) {
        rc = walk->entry(walk, tour->key, tour->value);
        return rc == KV_OK ? kvi_tour_pass(tour) : rc;
    }
    if (tour->ptr.birth <= walk->since) {
        rc = range_close(walk, tour);
        return rc == KV_OK ? kvi_tour_pass(tour) : rc;
    }
    if (tour->level == 0)
        rc = range_open(walk, tour);
    return rc == KV_OK ? kvi_tour_open(tour) : rc;
}

static int walk_all(backup_walk *walk, const kvi_tree_desc *desc)
{
    kvi_tour tour;
    int rc = kvi_tour_begin(&tour, walk->b->txn, desc, NULL);
    if (rc == KV_OK && tour.ended &&
        !KVI_MUTANT(EMPTIED_UNSAID)) /* an empty tree may have lost all it had */
        rc = range_open(walk, NULL);
    while (rc == KV_OK && !tour.ended)
        rc = walk_step(walk, &tour);
    if (rc == KV_OK)
        rc = range_close(walk, NULL);
    walk->b->info->pages += tour.opened;
    kvi_tour_end(&tour);
    return rc;
}

/* ---- entries ---- */

/* Is this the reference to a large value that was there at the commit `since`? */
static bool value_kept(const backup_walk *walk, const kvi_stored *stored, kvi_entry *entry)
{
    return stored->special && kvi_entry_parse(*stored, entry) && (entry->flags & KVI_ENTRY_LARGE) &&
           entry->large.ptr.birth <= walk->since;
}

static int entry_put(const backup_walk *walk, kvi_slice key, kvi_stored stored)
{
    backup *b = walk->b;
    const kvi_loan *kept = b->txn->loans;
    kv_slice value;
    int rc = kvi_value_load(b->txn, stored, &value);
    if (rc == KV_OK)
        rc = kvi_stream_put_byte(&b->stream, KVI_SAYS_PUT);
    if (rc == KV_OK)
        rc = kvi_stream_put_bytes(&b->stream, key);
    if (rc == KV_OK)
        rc = kvi_stream_put_bytes(&b->stream, kvi_slice_of(value.ptr, value.len));
    kvi_txn_unlend(b->txn, kept);
    return rc;
}

static int entry_say(const backup_walk *walk, kvi_slice key, kvi_stored stored)
{
    backup *b = walk->b;
    kvi_entry entry = {0};
    uint64_t expiry = kvi_stored_expiry(stored);
    int rc = KV_OK;
    if (expiry)
        rc = kvi_stream_put_byte(&b->stream, KVI_SAYS_UNTIL);
    if (expiry && rc == KV_OK)
        rc = kvi_stream_put_number(&b->stream, expiry);
    if (rc != KV_OK)
        return rc;
    b->info->entries++;
    if (value_kept(walk, &stored, &entry)) {
        rc = kvi_stream_put_byte(&b->stream, KVI_SAYS_KEPT);
        return rc == KV_OK ? kvi_stream_put_bytes(&b->stream, key) : rc;
    }
    b->info->large_pages += entry.large.pages;
    return entry_put(walk, key, stored);
}

/* ---- trees ---- */

static int tree_say(backup *b, kvi_slice name, const kvi_tree_desc *desc, kvi_id since)
{
    backup_walk walk = {.b = b,
                        .since = desc->placed > since ? 0 : since,
                        .from = KVI_SAYS_FROM,
                        .to = KVI_SAYS_TO,
                        .entry = entry_say};
    int rc = kvi_stream_put_byte(&b->stream, KVI_SAYS_TREE);
    if (rc == KV_OK)
        rc = kvi_stream_put_bytes(&b->stream, name);
    if (rc == KV_OK)
        rc = kvi_stream_put_number(&b->stream, desc->flags & KVI_TREE_MULTI);
    if (rc == KV_OK)
        rc = kvi_stream_put_number(&b->stream, desc->codec);
    if (rc == KV_OK)
        rc = kvi_stream_put_number(&b->stream, desc->compress_from);
    if (rc == KV_OK)
        rc = kvi_stream_put_number(&b->stream, desc->sequence);
    return rc == KV_OK ? walk_all(&walk, desc) : rc;
}

static int name_say(const backup_walk *walk, kvi_slice name, kvi_stored stored)
{
    kvi_tree_desc desc;
    int rc = kvi_catalog_decode(walk->b->txn, stored, &desc);
    return rc == KV_OK ? tree_say(walk->b, name, &desc, walk->since) : rc;
}

static int trees_say(backup *b, kvi_id since)
{
    const kvi_tree_desc *catalog = &b->txn->catalog.desc;
    backup_walk walk = {.b = b,
                        .since = catalog->placed > since ? 0 : since,
                        .from = KVI_SAYS_NAMES_FROM,
                        .to = KVI_SAYS_NAMES_TO,
                        .entry = name_say};
    int rc = tree_say(b, (kvi_slice){NULL, 0}, &b->txn->main.desc, since);
    return rc == KV_OK ? walk_all(&walk, catalog) : rc;
}

/* ---- the whole ---- */

/* Who may not write waits for those who may. A guest may see a commit before its writer's flush is
 * done. */
static int settle_wait(kv_db *db, kvi_id id)
{
    const kvi_os *os = db->os;
    uint64_t give_up = os->mono_ns(os) + (uint64_t)PATIENCE_MS * 1000000;
    while (kvi_durable(db) < id) {
        if (os->mono_ns(os) >= give_up)
            return kvi_fail(&db->err, KV_EBUSY,
                            "commit %llu may not be durable yet, and this handle may not write",
                            (unsigned long long)id);
        os->sleep_us(os, PAUSE_US);
    }
    return KV_OK;
}

int kvi_backup_settle(kv_txn *txn)
{
    kv_db *db = txn->db;
    kvi_id id = txn->base.id;
    if (db->role == KVI_IMMUTABLE || kvi_durable(db) >= id)
        return KV_OK;
    if (db->readonly)
        return settle_wait(db, id);
    int rc = kvi_turn_take(db, PATIENCE_MS);
    if (rc == KV_OK) {
        rc = kvi_sync(db);
        kvi_turn_give(db);
    } else if (rc == KV_EBUSY) {
        rc = kvi_durable(db) >= id
                 ? KV_OK
                 : kvi_fail(&db->err, KV_EBUSY,
                            "commit %llu is not durable yet, and somebody else is writing",
                            (unsigned long long)id);
    }
    return rc;
}

static int backup_write(backup *b, kvi_id since)
{
    const kv_db *db = b->txn->db;
    kvi_stream_header header = {.page_size = db->file.page_size,
                                .from = since,
                                .to = b->txn->base.id,
                                .clock = b->txn->base.clock};
    memcpy(header.file_id, db->file_id, sizeof header.file_id);
    int rc = kvi_stream_begin(&b->stream, &header);
    if (rc == KV_OK)
        rc = trees_say(b, since);
    return rc == KV_OK ? kvi_stream_end(&b->stream) : rc;
}

int kvi_backup(kv_txn *txn, const kv_backup_options *options, kv_backup_info *info)
{
    kv_db *db = txn->db;
    backup b = {.txn = txn,
                .stream = {.os = db->os,
                           .err = &db->err,
                           .write = options->write,
                           .context = options->context},
                .info = info};
    memcpy(info->file_id, db->file_id, sizeof info->file_id);
    info->from = options->since;
    info->to = txn->base.id;
    if (options->since > txn->base.id)
        return kvi_fail(&db->err, KV_MISMATCH, "commit %llu is newer than the snapshot, %llu",
                        (unsigned long long)options->since, (unsigned long long)txn->base.id);
    int rc = kvi_backup_settle(txn);
    if (rc == KV_OK)
        rc = kvi_stream_open(&b.stream);
    if (rc == KV_OK)
        rc = backup_write(&b, options->since);
    info->bytes = b.stream.passed;
    kvi_stream_close(&b.stream);
    return rc;
}
