/* backup.c - target `backup`: what kv_backup_apply reads. A backup is applied whole, or refused and
 * nothing has changed; either way the database is sound afterwards.
 *
 *   byte 0     0: the records of one backup follow, and get right checksums; 1: a whole stream
 *   byte 1     the database before: empty, a copy with one tree, a copy with several
 *   then       records, or the stream
 */
#include "fuzz.h"
#include "db.h"
#include "parcel.h"
#include "sim_os.h"
#include "stream.h"
#include <stdio.h>

#define ORIGIN 9 /* the commit that the copies repeat */

static sim_disk *disk;
static const uint8_t file_id[16] = "the original";

/* A backup of the records, since a commit. */
static void seal_records(parcel *p, kvi_slice records, kvi_id since)
{
    kvi_err err;
    kvi_err_init(&err);
    kvi_stream stream = {.os = sim_os(disk), .err = &err, .write = parcel_write, .context = p};
    kvi_stream_header header = {.page_size = 4096, .from = since, .to = ORIGIN, .clock = 1};
    memcpy(header.file_id, file_id, sizeof file_id);
    FUZZ_MUST(kvi_stream_open(&stream) == KV_OK);
    FUZZ_MUST(kvi_stream_begin(&stream, &header) == KV_OK);
    FUZZ_MUST(kvi_stream_put(&stream, records) == KV_OK);
    FUZZ_MUST(kvi_stream_end(&stream) == KV_OK);
    kvi_stream_close(&stream);
    kvi_err_destroy(&err);
}

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
        seal_records(&p, kvi_slice_of(one_tree, sizeof one_tree - 1), 0);
    else
        seal_records(&p, kvi_slice_of(many_trees, sizeof many_trees - 1), 0);
    FUZZ_MUST(parcel_unpack(&p, db, KV_TXN_LAZY, NULL) == KV_OK);
    parcel_free(&p);
}

static uint64_t commit_of(kv_db *db)
{
    kv_db_info info = {.size = sizeof info};
    FUZZ_MUST(kv_db_stat(db, &info) == KV_OK);
    return info.commit_id;
}

/* Until one is refused or the stream ends. */
static void apply_all(parcel *p, kv_db *db)
{
    for (int rc = KV_OK; rc == KV_OK;) {
        uint64_t before = commit_of(db);
        size_t at = p->read;
        rc = parcel_unpack(p, db, KV_TXN_LAZY, NULL);
        FUZZ_MUST(rc == KV_OK || rc == KV_NOTFOUND || rc == KV_MISMATCH || rc == KV_ECORRUPT ||
                  rc == KV_ENOTKV || rc == KV_EVERSION || rc == KV_ETOOBIG);
        FUZZ_MUST(rc == KV_OK ? p->read > at : commit_of(db) == before);
    }
    FUZZ_MUST(kv_db_check(db, NULL) == KV_OK);
}

int fuzz_backup(const uint8_t *data, size_t len)
{
    fuzz_in in = {data, data + len};
    parcel p = {0};
    kv_db *db;
    bool whole = fuzz_below(&in, 2);
    unsigned kind = (unsigned)fuzz_below(&in, 3);
    kvi_slice rest = fuzz_bytes(&in, SIZE_MAX);
    if (!disk)
        disk = sim_new(1);
    sim_reset(disk);
    disk->recording = SIM_RECORD_NOTHING;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = 4096};
    FUZZ_MUST(kvi_db_open(sim_os(disk), "db", &options, &db, NULL, 0) == KV_OK);
    begin_with(db, kind);
    if (whole)
        parcel_write(&p, rest.ptr, rest.len);
    else
        seal_records(&p, rest, kind ? ORIGIN : 0);
    apply_all(&p, db);
    FUZZ_MUST(kv_db_close(db) == KV_OK);
    parcel_free(&p);
    return 0;
}
