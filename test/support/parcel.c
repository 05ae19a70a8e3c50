/* parcel.c - see parcel.h. */
#include "parcel.h"
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
