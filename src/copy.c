/* copy.c - see copy.h. */
#include "copy.h"
#include "backup.h"
#include "compact.h"
#include "create.h"
#include "keep.h"
#include "used.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define PIECE 65536 /* bytes that are read and written at once */

/* A page of the copy's own records of free pages. */
typedef struct copy_record {
    kvi_pgno page;
    uint8_t *bytes;
} copy_record;

typedef struct copy {
    kv_db *db;
    kv_txn *txn;   /* pins the snapshot */
    bool named;    /* the named snapshots, which are pinned too, are copied */
    kvi_meta meta; /* of the copy */
    kvi_used used;
    copy_record *records;
    size_t n_records, records_cap;
    uint8_t *piece;
    int fd;        /* where the copy goes */
    kvi_file *out; /* the same, when it is a file of our own: holes are left out. NULL: a stream */
    uint64_t at;   /* bytes written or passed over */
    uint64_t waiting; /* for the disk, of out */
} copy;

/* ---- first pass: which pages ---- */

static int copy_page(kvi_walk *walk, kvi_ptr ptr, const uint8_t *bytes)
{
    copy *c = walk->context;
    (void)bytes;
    int rc = kvi_used_add(&c->used, walk, ptr, 1);
    return rc == 1 ? KVI_WALK_SKIP : rc;
}

static int copy_large(kvi_walk *walk, const kvi_large *large, const kvi_ptr *leaf)
{
    copy *c = walk->context;
    (void)leaf;
    int rc = kvi_used_add(&c->used, walk, large->ptr, large->pages);
    if (rc != KV_OK)
        return rc == 1 ? KV_OK : rc;
    return kvi_walk_large(walk->file, large, NULL, NULL);
}

static int copy_mark(copy *c)
{
    kvi_walk walk = {
        .file = &c->db->file,
        .meta = &c->meta,
        .budget = UINT64_MAX,
        .page = copy_page,
        .large = copy_large,
        .context = c,
    };
    return kvi_walk_trees(&walk);
}

/* ---- between the passes: the copy's own records of free pages ---- */

static int copy_keep_record(void *context, kvi_pgno page, const uint8_t *bytes)
{
    copy *c = context;
    const kvi_os *os = c->db->os;
    if (c->n_records == c->records_cap) {
        size_t cap = c->records_cap * 2 + 16;
        copy_record *records = os->realloc(os, c->records, cap * sizeof *records);
        if (!records)
            return KV_ENOMEM;
        c->records = records;
        c->records_cap = cap;
    }
    uint8_t *kept = os->alloc(os, c->meta.page_size);
    if (!kept)
        return KV_ENOMEM;
    memcpy(kept, bytes, c->meta.page_size);
    c->records[c->n_records++] = (copy_record){page, kept};
    return KV_OK;
}

static int copy_no_record(void *context, kvi_ptr ptr)
{
    (void)context;
    (void)ptr;
    return KV_OK; /* the copy has no older records */
}

static int copy_by_page(const void *a, const void *b)
{
    const copy_record *x = a, *y = b;
    return (x->page > y->page) - (x->page < y->page);
}

static int copy_make_records(copy *c, kvi_space *space)
{
    kvi_space_sink sink = {copy_keep_record, copy_no_record, c};
    int rc = kvi_space_rebuild(space, c->meta.id, c->meta.high_water);
    if (rc == KV_OK)
        rc = kvi_used_mark(&c->used, space, kvi_first_page(c->meta.page_size));
    if (rc == KV_OK)
        rc = kvi_space_seal(space, &c->meta, &sink);
    if (c->n_records)
        qsort(c->records, c->n_records, sizeof *c->records, copy_by_page);
    return rc;
}

static int copy_space(copy *c)
{
    kvi_space *space;
    int rc = kvi_space_load(&space, &c->db->file, &c->meta);
    if (rc != KV_OK)
        return rc;
    rc = copy_make_records(c, space);
    kvi_space_close(space);
    return rc;
}

/* ---- second pass: writing ---- */

static int copy_stream(copy *c, const uint8_t *bytes, size_t len)
{
    const kvi_os *os = c->db->os;
    while (len > 0) {
        int64_t put = os->write(os, c->fd, bytes, len);
        if (put <= 0)
            return kvi_fail_os(&c->db->err, put < 0 ? put : -EIO, "writing the copy");
        bytes += put;
        len -= (size_t)put;
    }
    return KV_OK;
}

static int copy_put(copy *c, const uint8_t *bytes, size_t len)
{
    int rc = c->out ? kvi_file_write(c->out, c->at, bytes, len) : copy_stream(c, bytes, len);
    c->at += len;
    if (rc == KV_OK && c->out)
        kvi_file_sync_ahead(c->out, &c->waiting, len);
    return rc;
}

static int copy_put_zeros(copy *c, uint64_t len)
{
    if (c->out) {
        c->at += len;
        return KV_OK;
    }
    int rc = KV_OK;
    memset(c->piece, 0, PIECE);
    for (; rc == KV_OK && len > 0; len -= KVI_MIN(len, (uint64_t)PIECE))
        rc = copy_put(c, c->piece, (size_t)KVI_MIN(len, (uint64_t)PIECE));
    return rc;
}

static int copy_put_metas(copy *c)
{
    uint64_t stride = kvi_meta_stride(c->meta.page_size);
    int rc = KV_OK;
    for (int slot = 0; rc == KV_OK && slot < 2; slot++) {
        kvi_meta_encode(&c->meta, c->piece);
        rc = copy_put(c, c->piece, KVI_META_SIZE);
        if (rc == KV_OK)
            rc = copy_put_zeros(c, stride - KVI_META_SIZE);
    }
    return rc;
}

static int copy_put_run(copy *c, kvi_pgno page, uint64_t pages)
{
    uint64_t from = page << c->db->file.page_shift, len = pages << c->db->file.page_shift;
    int rc = KV_OK;
    while (rc == KV_OK && len > 0) {
        size_t part = (size_t)KVI_MIN(len, (uint64_t)PIECE);
        rc = kvi_file_read(&c->db->file, from, c->piece, part);
        if (rc == KV_OK)
            rc = copy_put(c, c->piece, part);
        from += part;
        len -= part;
    }
    return rc;
}

/* Passes over what no page of the trees uses, up to page end, and writes the records there. */
static int copy_put_gap(copy *c, kvi_pgno end, size_t *record)
{
    uint32_t page_size = c->meta.page_size;
    int rc = KV_OK;
    for (; rc == KV_OK && *record < c->n_records && c->records[*record].page < end; ++*record) {
        rc = copy_put_zeros(c, c->records[*record].page * page_size - c->at);
        if (rc == KV_OK)
            rc = copy_put(c, c->records[*record].bytes, page_size);
    }
    return rc == KV_OK ? copy_put_zeros(c, end * page_size - c->at) : rc;
}

static int copy_put_pages(copy *c)
{
    kvi_pgno page = kvi_first_page(c->meta.page_size);
    size_t record = 0;
    int rc = KV_OK;
    for (;;) {
        uint64_t n = kvi_pgset_run(&c->used.pages, true, &page);
        if (n == 0)
            break;
        rc = copy_put_gap(c, page, &record);
        if (rc == KV_OK)
            rc = copy_put_run(c, page, n);
        if (rc != KV_OK)
            return rc;
        page += n;
    }
    return copy_put_gap(c, c->meta.high_water, &record);
}

/* ---- a page-by-page copy ---- */

static int copy_compose_meta(copy *c)
{
    const kvi_snapshot *base = &c->txn->base;
    c->meta = (kvi_meta){
        .page_size = c->db->file.page_size,
        .hash_seed = c->db->file.hash_seed,
        .id = base->id,
        .durable = base->id,
        .high_water = base->high_water,
        .clock = base->clock,
        .kind = KVI_KIND_STRICT,
        .main = base->main,
        .catalog = base->catalog,
    };
    if (c->named)
        c->meta.snapshots = base->snapshots;
    memcpy(c->meta.boot_id, c->db->boot_id, sizeof c->meta.boot_id);
    if (kvi_backup_settle(c->txn) == KV_OK) { /* else it is a copy of what may yet be lost */
        memcpy(c->meta.origin, c->db->file_id, sizeof c->meta.origin);
        c->meta.origin_id = base->id;
    }
    int rc = c->db->os->random(c->db->os, c->meta.file_id, sizeof c->meta.file_id);
    return rc < 0 ? kvi_fail_os(&c->db->err, rc, "asking for random bytes") : KV_OK;
}

static int copy_run(copy *c)
{
    int rc = copy_compose_meta(c);
    if (rc == KV_OK)
        rc = copy_mark(c);
    if (rc == KV_OK)
        rc = copy_space(c);
    if (rc == KV_OK)
        rc = copy_put_metas(c);
    return rc == KV_OK ? copy_put_pages(c) : rc;
}

static void copy_free(copy *c)
{
    const kvi_os *os = c->db->os;
    for (size_t i = 0; i < c->n_records; i++)
        os->free(os, c->records[i].bytes);
    os->free(os, c->records);
    os->free(os, c->piece);
    kvi_used_close(&c->used, os);
}

/* Writes the copy to fd: into out, or as a stream when out is NULL. */
static int copy_pages(kv_txn *txn, bool named, int fd, kvi_file *out)
{
    kv_db *db = txn->db;
    copy c = {.db = db, .txn = txn, .named = named, .fd = fd, .out = out};
    c.piece = db->os->alloc(db->os, PIECE);
    int rc = kvi_used_init(&c.used, db->os, txn->base.high_water);
    if (rc != KV_OK || !c.piece)
        rc = kvi_fail(&db->err, KV_ENOMEM, "no memory for a copy");
    if (rc == KV_OK)
        rc = copy_run(&c);
    if (rc == KV_OK && out)
        rc = kvi_file_extend(out, c.meta.high_water);
    copy_free(&c);
    return rc;
}

static int copy_pages_to_file(kv_txn *txn, bool named, const char *path)
{
    kv_db *db = txn->db;
    const kvi_os *os = db->os;
    kvi_file out;
    int fd = os->open(os, path, KVI_OS_WRITE, 0);
    if (fd < 0)
        return kvi_fail_os(&db->err, fd, "opening %s", path);
    int rc = kvi_file_init(&out, os, &db->err, fd, db->file.page_size, db->file.hash_seed, true);
    if (rc == KV_OK) {
        rc = copy_pages(txn, named, fd, &out);
        if (rc == KV_OK)
            rc = kvi_file_sync(&out);
        kvi_file_close(&out);
    }
    os->close(os, fd);
    return rc;
}

/* ---- where copies go ---- */

/* Of what, and how. */
typedef struct copy_order {
    kv_txn *txn;
    bool named;
    bool compact;
} copy_order;

static int copy_beside(void *context, const char *path)
{
    const copy_order *order = context;
    return order->compact ? kvi_compact_to(order->txn, path)
                          : copy_pages_to_file(order->txn, order->named, path);
}

static int copy_to(kv_txn *txn, bool named, const char *path, uint32_t flags)
{
    copy_order order = {txn, named, flags & KV_COPY_COMPACT};
    kv_db *db = txn->db;
    return kvi_create_beside(db->os, &db->err, path, db->file.fd, copy_beside, &order);
}

/* Streams a file that we made. */
static int copy_file_to_fd(kv_db *db, const char *path, int fd)
{
    const kvi_os *os = db->os;
    copy c = {.db = db, .fd = fd, .piece = os->alloc(os, PIECE)};
    int from = os->open(os, path, KVI_OS_READ, 0);
    int64_t got = from;
    int rc = c.piece ? KV_OK : kvi_fail(&db->err, KV_ENOMEM, "no memory for a copy");
    for (uint64_t at = 0; rc == KV_OK && from >= 0; at += (uint64_t)got) {
        got = os->pread(os, from, c.piece, PIECE, at);
        if (got <= 0)
            break;
        rc = copy_stream(&c, c.piece, (size_t)got);
    }
    if (rc == KV_OK && got < 0)
        rc = kvi_fail_os(&db->err, got, "reading %s", path);
    if (from >= 0)
        os->close(os, from);
    os->free(os, c.piece);
    return rc;
}

/* A free name in the folder of temporary files. The caller frees it. */
static int copy_temporary(kv_db *db, char **name)
{
    const char *variable = getenv("TMPDIR");
    const char *dir = variable && *variable ? variable : "/tmp";
    size_t size = strlen(dir) + sizeof "/kv-copy";
    char *prefix = db->os->alloc(db->os, size);
    if (!prefix)
        return kvi_fail(&db->err, KV_ENOMEM, "no memory for a copy");
    snprintf(prefix, size, "%s/kv-copy", dir);
    int rc = kvi_create_temporary(db->os, &db->err, prefix, name);
    db->os->free(db->os, prefix);
    return rc;
}

/* A compacting copy cannot be written in order: it is built as a file first, which is nobody else's to
 * read. */
static int copy_compact_fd(kv_txn *txn, int fd)
{
    kv_db *db = txn->db;
    const kvi_os *os = db->os;
    char *temporary;
    int rc = copy_temporary(db, &temporary);
    if (rc != KV_OK)
        return rc;
    rc = kvi_create_empty(os, &db->err, temporary, 0600);
    if (rc == KV_OK)
        rc = kvi_compact_to(txn, temporary);
    if (rc == KV_OK)
        rc = copy_file_to_fd(db, temporary, fd);
    os->unlink(os, temporary);
    os->free(os, temporary);
    return rc;
}

static int copy_to_fd(kv_txn *txn, bool named, int fd, uint32_t flags)
{
    return flags & KV_COPY_COMPACT ? copy_compact_fd(txn, fd) : copy_pages(txn, named, fd, NULL);
}

/* ---- of a transaction; of the newest commit with the snapshots that it lists ---- */

int kvi_copy_txn(kv_txn *txn, const char *path, uint32_t flags)
{
    return copy_to(txn, false, path, flags);
}

int kvi_copy_txn_fd(kv_txn *txn, int fd, uint32_t flags)
{
    return copy_to_fd(txn, false, fd, flags);
}

int kvi_copy(kv_db *db, const char *path, uint32_t flags)
{
    kv_txn *txn;
    kvi_keep keep;
    int rc = kvi_keep_newest(&keep, db, &txn);
    if (rc != KV_OK)
        return rc;
    rc = copy_to(txn, true, path, flags);
    kvi_end(txn);
    kvi_keep_end(&keep, db);
    return rc;
}

int kvi_copy_fd(kv_db *db, int fd, uint32_t flags)
{
    kv_txn *txn;
    kvi_keep keep;
    int rc = kvi_keep_newest(&keep, db, &txn);
    if (rc != KV_OK)
        return rc;
    rc = copy_to_fd(txn, true, fd, flags);
    kvi_end(txn);
    kvi_keep_end(&keep, db);
    return rc;
}
