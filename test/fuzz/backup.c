/* backup.c - target `backup`: what kv_backup_apply and kv_backup_merge read. A backup is applied whole,
 * or refused and nothing has changed; either way the database is sound afterwards. Several, merged, do
 * what they do one after the other.
 *
 *   byte 0     0: the records of one backup follow, and get right checksums; 1: a whole stream; 2: those
 *              of several backups, each of which leads on from the one before
 *   byte 1     the database before: empty, a copy with one tree, a copy with several
 *   then       records, or the stream; 2: as chain_read says
 */
#include "fuzz.h"
#include "db.h"
#include "parcel.h"
#include "sim_os.h"
#include "stream.h"
#include <stdio.h>

#define ORIGIN 9 /* the commit that the copies repeat */
#define PARTS  4 /* backups that are merged, at most */

static sim_disk *disk;
static const uint8_t file_id[16] = "the original";

/* A backup of the records, from a commit to another. */
static void seal_records(parcel *p, kvi_slice records, kvi_id from, kvi_id to)
{
    kvi_stream_header header = {.page_size = 4096, .from = from, .to = to, .clock = 1};
    memcpy(header.file_id, file_id, sizeof file_id);
    FUZZ_MUST(parcel_seal(p, sim_os(disk), &header, records) == KV_OK);
}

/* ---- databases ---- */

/* Records that are sound: what the copies begin with. */
static const char one_tree[] = "\x01\x00\x00\x00\x00\x00\x02\x00\x03\x01"
                               "a\x01x\x03\x01"
                               "m\x01y\x03\x02zz\x00\x05\x00\x06\x00\x07\x00";
static const char many_trees[] = "\x01\x00\x00\x00\x00\x00\x02\x00\x05\x00\x06\x00"
                                 "\x01\x01t\x00\x00\x00\x00\x02\x00\x03\x01"
                                 "b\x01x\x05\x00"
                                 "\x01\x01u\x00\x01\x64\x00\x02\x00\x05\x00\x07\x00";

static void begin_with(kv_db *db, unsigned kind)
{
    parcel p = {0};
    if (kind == 0)
        return;
    if (kind == 1)
        seal_records(&p, kvi_slice_of(one_tree, sizeof one_tree - 1), 0, ORIGIN);
    else
        seal_records(&p, kvi_slice_of(many_trees, sizeof many_trees - 1), 0, ORIGIN);
    FUZZ_MUST(parcel_unpack(&p, db, KV_TXN_LAZY, NULL) == KV_OK);
    parcel_free(&p);
}

static kv_db *open_with(const char *path, unsigned kind)
{
    kv_db *db;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = 4096};
    FUZZ_MUST(kvi_db_open(sim_os(disk), path, &options, &db, NULL, 0) == KV_OK);
    begin_with(db, kind);
    return db;
}

static void close_sound(kv_db *db)
{
    FUZZ_MUST(kv_db_check(db, NULL) == KV_OK);
    FUZZ_MUST(kv_db_close(db) == KV_OK);
}

static uint64_t commit_of(kv_db *db)
{
    kv_db_info info = {.size = sizeof info};
    FUZZ_MUST(kv_db_stat(db, &info) == KV_OK);
    return info.commit_id;
}

static int apply_next(parcel *p, kv_db *db)
{
    uint64_t before = commit_of(db);
    size_t at = p->read;
    int rc = parcel_unpack(p, db, KV_TXN_LAZY, NULL);
    FUZZ_MUST(rc == KV_OK || rc == KV_NOTFOUND || rc == KV_MISMATCH || rc == KV_EBACKUP ||
              rc == KV_ENOTKV || rc == KV_EVERSION || rc == KV_ETOOBIG);
    FUZZ_MUST(rc == KV_OK ? p->read > at : commit_of(db) == before);
    return rc;
}

/* ---- what a database holds ---- */

/* The records of its backup since 0, which say all that is in it. */
static parcel told_by(kv_db *db)
{
    parcel p = {0};
    FUZZ_MUST(parcel_pack_newest(&p, db, 0, NULL) == KV_OK);
    parcel records = parcel_records(&p);
    parcel_free(&p);
    return records;
}

static void must_be_equal(kv_db *one, kv_db *other)
{
    parcel a = told_by(one), b = told_by(other);
    FUZZ_MUST(a.len == b.len && memcmp(a.bytes, b.bytes, a.len) == 0);
    parcel_free(&a);
    parcel_free(&b);
}

/* Names of trees, as a length, the name, and whether it is a multi-value tree, each. */
typedef struct names {
    kv_txn *txn;
    parcel of;
} names;

static int names_add(void *context, kv_slice name)
{
    names *n = context;
    kv_tree_info info = {.size = sizeof info};
    kv_tree *tree;
    FUZZ_MUST(kv_tree_open(n->txn, name.ptr, name.len, 0, NULL, &tree) == KV_OK);
    FUZZ_MUST(kv_tree_stat(tree, &info) == KV_OK);
    parcel_write(&n->of, &name.len, sizeof name.len);
    parcel_write(&n->of, name.ptr, name.len);
    parcel_write(&n->of, &info.multi, sizeof info.multi);
    return 0;
}

static parcel names_of(kv_db *db)
{
    names n = {0};
    FUZZ_MUST(kv_txn_begin(db, KV_TXN_READ, &n.txn) == KV_OK);
    FUZZ_MUST(kv_tree_list(n.txn, names_add, &n) == KV_OK);
    kv_txn_abort(n.txn);
    return n.of;
}

static size_t item_len(const uint8_t *item, bool nature)
{
    size_t len;
    memcpy(&len, item, sizeof len);
    return sizeof len + len + (nature ? sizeof(uint32_t) : 0);
}

/* With its nature, or by its name alone. */
static bool names_have(const parcel *list, const uint8_t *item, bool nature)
{
    size_t len = item_len(item, nature);
    for (size_t at = 0; at < list->len; at += item_len(list->bytes + at, true))
        if (item_len(list->bytes + at, nature) == len && !memcmp(list->bytes + at, item, len))
            return true;
    return false;
}

/* No tree of lists[n] is another one than an earlier list has by its name. A backup of kv_backup says
 * such a tree whole, one of these here need not. */
static bool names_fresh(const parcel *lists, size_t n)
{
    const parcel *newest = &lists[n];
    for (size_t at = 0; at < newest->len; at += item_len(newest->bytes + at, true)) {
        const uint8_t *item = newest->bytes + at;
        if (!names_have(&lists[n - 1], item, true))
            for (size_t i = 0; i < n; i++)
                if (names_have(&lists[i], item, false))
                    return false;
    }
    return true;
}

/* ---- several ---- */

typedef struct chain {
    parcel parts[PARTS];
    size_t n;
    parcel merged;
    kvi_id at; /* where it leads to */
} chain;

/* Their number; for each how far it leads back and on, and, but for the last, the length of its
 * records; the records. */
static void chain_read(chain *c, fuzz_in *in)
{
    c->n = 1 + fuzz_below(in, PARTS);
    for (size_t i = 0; i < c->n; i++) {
        uint64_t back = fuzz_below(in, 3), on = fuzz_below(in, 3);
        size_t len = i + 1 < c->n ? fuzz_take(in, 1) : SIZE_MAX;
        kvi_id from = c->at - KVI_MIN(c->at, back);
        c->at += on + (c->at == 0);
        seal_records(&c->parts[i], fuzz_bytes(in, len), from, c->at);
    }
}

static int64_t chain_piece(void *context, size_t number, void *bytes, size_t len)
{
    chain *c = context;
    return parcel_read(&c->parts[number], bytes, len);
}

static int chain_write(void *context, const void *bytes, size_t len)
{
    chain *c = context;
    return parcel_write(&c->merged, bytes, len);
}

/* The first n become one. */
static int chain_merge(chain *c, size_t n)
{
    kv_merge_options options = {
        .size = sizeof options, .n = n, .read = chain_piece, .write = chain_write, .context = c};
    kv_backup_info info = {.size = sizeof info};
    parcel_free(&c->merged);
    for (size_t i = 0; i < n; i++)
        c->parts[i].read = 0;
    int rc = kv_backup_merge(&options, &info, NULL, 0);
    FUZZ_MUST(rc == KV_OK || rc == KV_EBACKUP);
    FUZZ_MUST(rc != KV_OK || (info.bytes == c->merged.len && info.to <= c->at));
    return rc;
}

/* Until one is refused: returns how many were not. *same: as one they must do what they did. */
static size_t chain_apply(chain *c, kv_db *db, bool *same)
{
    parcel lists[PARTS + 1] = {names_of(db)};
    size_t n = 0;
    *same = true;
    while (n < c->n && apply_next(&c->parts[n], db) == KV_OK) {
        n++;
        lists[n] = names_of(db);
        *same = *same && names_fresh(lists, n);
    }
    for (size_t i = 0; i <= n; i++)
        parcel_free(&lists[i]);
    return n;
}

static void run_chain(fuzz_in *in, unsigned kind)
{
    chain c = {.at = kind ? ORIGIN : 0};
    bool same;
    kv_db *db = open_with("db", kind), *other = open_with("other", kind);
    chain_read(&c, in);
    size_t n = chain_apply(&c, db, &same);
    if (n > 0 && chain_merge(&c, n) == KV_OK) {
        int rc = apply_next(&c.merged, other);
        FUZZ_MUST(!same || rc == KV_OK);
        if (same)
            must_be_equal(db, other);
    } else {
        FUZZ_MUST(n == 0 || !same);
    }
    if (n < c.n && chain_merge(&c, c.n) == KV_OK)
        (void)apply_next(&c.merged, other);
    close_sound(db);
    close_sound(other);
    for (size_t i = 0; i < c.n; i++)
        parcel_free(&c.parts[i]);
    parcel_free(&c.merged);
}

/* ---- one, or a stream ---- */

static void run_one(fuzz_in *in, unsigned kind, bool whole)
{
    parcel p = {0};
    kvi_slice rest = fuzz_bytes(in, SIZE_MAX);
    kv_db *db = open_with("db", kind);
    if (whole)
        parcel_write(&p, rest.ptr, rest.len);
    else
        seal_records(&p, rest, kind ? ORIGIN : 0, ORIGIN);
    while (apply_next(&p, db) == KV_OK)
        ;
    close_sound(db);
    parcel_free(&p);
}

int fuzz_backup(const uint8_t *data, size_t len)
{
    fuzz_in in = {data, data + len};
    unsigned way = (unsigned)fuzz_below(&in, 3), kind = (unsigned)fuzz_below(&in, 3);
    if (!disk)
        disk = sim_new(1);
    sim_reset(disk);
    disk->recording = SIM_RECORD_NOTHING;
    if (way == 2)
        run_chain(&in, kind);
    else
        run_one(&in, kind, way == 1);
    return 0;
}
