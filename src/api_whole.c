/* api_whole.c - the public calls on whole databases that are open: arguments are checked here. */
#include "api.h"
#include "check.h"
#include "copy.h"
#include "db.h"
#include "salvage.h"
#include "shrink.h"
#include "stat.h"

KV_API int kv_db_stat(kv_db *db, kv_db_info *info)
{
    kv_db_info found = {.size = sizeof found};
    if (!db || !info || info->size < sizeof info->size)
        return KV_EINVAL;
    if (!kvi_alive(db))
        return KV_EFORKED;
    int rc = kvi_stat(db, &found);
    if (rc != KV_OK)
        return rc;
    found.size = info->size;
    memcpy(info, &found, KVI_MIN(info->size, sizeof found)); /* callers may know fewer fields */
    return KV_OK;
}

KV_API int kv_db_readers(kv_db *db, int (*fn)(void *context, const kv_reader_info *reader),
                         void *context)
{
    if (!db || !fn)
        return KV_EINVAL;
    return kvi_alive(db) ? kvi_readers_list(db, fn, context) : KV_EFORKED;
}

KV_API int kv_db_check(kv_db *db, const kv_check_options *options)
{
    kv_check_options known = {.size = sizeof known};
    if (!db || (options && options->size < sizeof options->size))
        return KV_EINVAL;
    if (options)
        memcpy(&known, options, KVI_MIN(options->size, sizeof known));
    return kvi_alive(db) ? kvi_check(db, &known) : KV_EFORKED;
}

KV_API int kv_db_copy(kv_db *db, const char *path, uint32_t flags)
{
    if (!db || !path || !*path || (flags & ~(uint32_t)KV_COPY_COMPACT))
        return KV_EINVAL;
    return kvi_alive(db) ? kvi_copy(db, path, flags) : KV_EFORKED;
}

KV_API int kv_db_copy_fd(kv_db *db, int fd, uint32_t flags)
{
    if (!db || fd < 0 || (flags & ~(uint32_t)KV_COPY_COMPACT))
        return KV_EINVAL;
    return kvi_alive(db) ? kvi_copy_fd(db, fd, flags) : KV_EFORKED;
}

KV_API int kv_db_compact(kv_db *db, const kv_compact_options *options, kv_compact_info *info)
{
    kv_compact_options known = {.size = sizeof known};
    kv_compact_info found = {.size = sizeof found};
    if (!db || (options && options->size < sizeof options->size) ||
        (info && info->size < sizeof info->size))
        return KV_EINVAL;
    if (options)
        memcpy(&known, options, KVI_MIN(options->size, sizeof known));
    int rc = kvi_db_writable(db);
    if (rc != KV_OK)
        return rc;
    rc = kvi_shrink(db, &known, &found);
    if (info) {
        found.size = info->size;
        memcpy(info, &found, KVI_MIN(info->size, sizeof found));
    }
    return rc;
}

KV_API int kv_txn_copy(kv_txn *txn, const char *path, uint32_t flags)
{
    if (!txn || txn->write || !path || !*path || (flags & ~(uint32_t)KV_COPY_COMPACT))
        return KV_EINVAL;
    int rc = kvi_txn_usable(txn);
    return rc == KV_OK ? kvi_copy_txn(txn, path, flags) : rc;
}

KV_API int kv_txn_copy_fd(kv_txn *txn, int fd, uint32_t flags)
{
    if (!txn || txn->write || fd < 0 || (flags & ~(uint32_t)KV_COPY_COMPACT))
        return KV_EINVAL;
    int rc = kvi_txn_usable(txn);
    return rc == KV_OK ? kvi_copy_txn_fd(txn, fd, flags) : rc;
}

KV_API int kv_db_repair(const char *path, uint32_t wait_ms,
                        void (*report)(void *context, const char *sentence), void *context)
{
    return path && *path ? kvi_db_repair(&kvi_os_posix, path, wait_ms, report, context) : KV_EINVAL;
}

KV_API int kv_db_salvage(const char *path, const char *dest, const kv_salvage_options *options,
                         kv_salvage_info *info)
{
    kv_salvage_info found = {.size = sizeof found};
    if (!path || !*path || !dest || !*dest || (options && options->size < sizeof *options) ||
        (info && info->size < sizeof *info))
        return KV_EINVAL;
    int rc = kvi_salvage(&kvi_os_posix, path, dest, options, &found);
    if (info) {
        found.size = info->size;
        memcpy(info, &found, KVI_MIN(info->size, sizeof found));
    }
    return rc;
}
