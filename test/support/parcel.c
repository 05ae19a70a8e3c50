/* parcel.c - see parcel.h. */
#include "parcel.h"
#include "bytes.h"
#include <stdlib.h>

void parcel_free(parcel *p)
{
    free(p->bytes);
    *p = (parcel){0};
}

int parcel_write(void *context, const void *bytes, size_t len)
{
    parcel *p = context;
    if (p->len + len > p->cap) {
        p->cap = (p->len + len) * 2;
        p->bytes = realloc(p->bytes, p->cap);
    }
    if (len > 0)
        memcpy(p->bytes + p->len, bytes, len);
    p->len += len;
    return 0;
}

int64_t parcel_read(void *context, void *bytes, size_t len)
{
    parcel *p = context;
    size_t n = KVI_MIN(len, p->len - p->read);
    if (p->piece)
        n = KVI_MIN(n, p->piece);
    if (n)
        memcpy(bytes, p->bytes + p->read, n);
    p->read += n;
    return (int64_t)n;
}

int parcel_pack(parcel *p, kv_txn *txn, uint64_t since, kv_backup_info *info)
{
    kv_backup_options options = {
        .size = sizeof options, .since = since, .write = parcel_write, .context = p};
    return kv_backup(txn, &options, info);
}

int parcel_pack_newest(parcel *p, kv_db *db, uint64_t since, kv_backup_info *info)
{
    kv_txn *txn;
    int rc = kv_txn_begin(db, KV_TXN_READ, &txn);
    if (rc == KV_OK)
        rc = parcel_pack(p, txn, since, info);
    kv_txn_abort(txn);
    return rc;
}

int parcel_unpack(parcel *p, kv_db *db, uint32_t flags, kv_backup_info *info)
{
    kv_apply_options options = {
        .size = sizeof options, .read = parcel_read, .context = p, .flags = flags};
    return kv_backup_apply(db, &options, info);
}

int parcel_seal(parcel *p, const kvi_os *os, const kvi_stream_header *header, kvi_slice records)
{
    kvi_err err;
    kvi_err_init(&err);
    kvi_stream stream = {.os = os, .err = &err, .write = parcel_write, .context = p};
    int rc = kvi_stream_open(&stream);
    if (rc == KV_OK)
        rc = kvi_stream_begin(&stream, header);
    if (rc == KV_OK)
        rc = kvi_stream_put(&stream, records);
    if (rc == KV_OK)
        rc = kvi_stream_end(&stream);
    kvi_stream_close(&stream);
    kvi_err_destroy(&err);
    return rc;
}

parcel parcel_records(const parcel *p)
{
    parcel records = {0};
    size_t at = KVI_STREAM_HEADER, len = 1;
    while (len > 0) { /* an empty block is the last one */
        len = kvi_get32(p->bytes + at);
        parcel_write(&records, p->bytes + at + KVI_STREAM_HEAD, len);
        at += KVI_STREAM_HEAD + len;
    }
    return records;
}
