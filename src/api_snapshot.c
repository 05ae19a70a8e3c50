/* api_snapshot.c - the public functions on named snapshots: arguments are checked here. */
#include "api.h"
#include "lock.h"
#include "snapshot.h"

static int name_check(kv_db *db, const void *name, size_t name_len)
{
    if (!db || !name || name_len == 0)
        return KV_EINVAL;
    if (!kvi_alive(db))
        return KV_EFORKED;
    uint32_t most = kvi_key_max(db->file.page_size);
    if (name_len > most)
        return kvi_fail(&db->err, KV_ETOOBIG, "the snapshot's name has %zu bytes; the limit is %u",
                        name_len, most);
    return KV_OK;
}

/* May the handle change the list, with these flags? */
static int change_check(kv_db *db, const void *name, size_t name_len, uint32_t flags,
                        uint32_t known)
{
    if (flags & ~known || !kvi_durability_valid(flags))
        return KV_EINVAL;
    int rc = name_check(db, name, name_len);
    return rc == KV_OK ? kvi_db_writable(db) : rc;
}

static uint32_t wait_of(uint32_t flags)
{
    return flags & KV_TXN_TRY ? 0 : KVI_WAIT_FOREVER;
}

KV_API int kv_snapshot_create(kv_db *db, const void *name, size_t name_len, uint32_t flags)
{
    int rc = change_check(db, name, name_len, flags, KV_TXN_TRY);
    return rc == KV_OK ? kvi_snapshot_create(db, kvi_slice_of(name, name_len), wait_of(flags)) : rc;
}

KV_API int kv_snapshot_drop(kv_db *db, const void *name, size_t name_len, uint32_t flags)
{
    int rc = change_check(db, name, name_len, flags, KV_TXN_TRY | KVI_DURABILITY_FLAGS);
    return rc == KV_OK ? kvi_snapshot_drop(db, kvi_slice_of(name, name_len), wait_of(flags),
                                           kvi_durability_of(db, flags))
                       : rc;
}

KV_API int kv_snapshot_restore(kv_db *db, const void *name, size_t name_len, uint32_t flags)
{
    int rc = change_check(db, name, name_len, flags, KV_TXN_TRY | KVI_DURABILITY_FLAGS);
    return rc == KV_OK ? kvi_snapshot_restore(db, kvi_slice_of(name, name_len), wait_of(flags),
                                              kvi_durability_of(db, flags))
                       : rc;
}

KV_API int kv_snapshot_open(kv_db *db, const void *name, size_t name_len, kv_txn **txn)
{
    if (!txn)
        return KV_EINVAL;
    *txn = NULL;
    int rc = name_check(db, name, name_len);
    return rc == KV_OK ? kvi_snapshot_open(db, kvi_slice_of(name, name_len), txn) : rc;
}

KV_API int kv_snapshot_list(kv_db *db, int (*fn)(void *context, const kv_snapshot_info *snapshot),
                            void *context)
{
    if (!db || !fn)
        return KV_EINVAL;
    return kvi_alive(db) ? kvi_snapshot_list(db, fn, context) : KV_EFORKED;
}
