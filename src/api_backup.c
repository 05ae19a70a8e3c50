/* api_backup.c - the public calls on incremental backups: arguments are checked here. */
#include "api.h"
#include "merge.h"
#include "replay.h"

static void info_put(kv_backup_info *info, kv_backup_info *found)
{
    if (!info)
        return;
    found->size = info->size;
    memcpy(info, found, KVI_MIN(info->size, sizeof *found));
}

KV_API int kv_backup(kv_txn *txn, const kv_backup_options *options, kv_backup_info *info)
{
    kv_backup_info found = {.size = sizeof found};
    if (!txn || txn->write || !options || options->size < sizeof *options || !options->write ||
        (info && info->size < sizeof info->size))
        return KV_EINVAL;
    int rc = kvi_txn_usable(txn);
    if (rc != KV_OK)
        return rc;
    rc = kvi_backup(txn, options, &found);
    info_put(info, &found);
    return rc;
}

KV_API int kv_backup_apply(kv_db *db, const kv_apply_options *options, kv_backup_info *info)
{
    kv_backup_info found = {.size = sizeof found};
    if (!db || !options || options->size < sizeof *options || !options->read ||
        (options->flags & ~KVI_DURABILITY_FLAGS) || !kvi_durability_valid(options->flags) ||
        (info && info->size < sizeof info->size))
        return KV_EINVAL;
    int rc = kvi_db_writable(db);
    if (rc != KV_OK)
        return rc;
    rc = kvi_replay(db, options, kvi_durability_of(db, options->flags), &found);
    info_put(info, &found);
    return rc;
}

KV_API int kv_backup_merge(const kv_merge_options *options, kv_backup_info *info, char *message,
                           size_t message_size)
{
    kv_backup_info found = {.size = sizeof found};
    kvi_err err;
    if (message && message_size)
        *message = 0;
    if (!options || options->size < sizeof *options || options->n == 0 || !options->read ||
        !options->write || (info && info->size < sizeof info->size))
        return KV_EINVAL;
    kvi_err_init(&err);
    int rc = kvi_merge(&kvi_os_posix, &err, options, &found);
    if (rc != KV_OK && message && message_size)
        kvi_err_text(&err, message, message_size);
    kvi_err_destroy(&err);
    info_put(info, &found);
    return rc;
}
