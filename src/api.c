/* api.c - the public functions on databases, transactions, trees and single keys: arguments are
 * checked here, the work is done one call below. */
#include "api.h"
#include "begin.h"
#include "catalog.h"
#include "commit.h"
#include "db.h"
#include "ops.h"
#include "stat.h"
#include <stdio.h>

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)

const char *kv_version(void)
{
    return TEXT(KV_VERSION_MAJOR) "." TEXT(KV_VERSION_MINOR) "." TEXT(KV_VERSION_PATCH);
}

/* ---- database ---- */

int kv_db_open(const char *path, const kv_options *options, kv_db **db)
{
    return kv_db_open_explain(path, options, db, NULL, 0);
}

int kv_db_open_explain(const char *path, const kv_options *options, kv_db **db, char *message,
                       size_t message_size)
{
    if (db)
        *db = NULL;
    if (!path || !db)
        return KV_EINVAL;
    return kvi_db_open(&kvi_os_posix, path, options, db, message, message_size);
}

int kv_db_close(kv_db *db)
{
    return db ? kvi_db_close(db) : KV_OK;
}

void kv_db_errmsg(kv_db *db, char *buf, size_t size)
{
    if (db && buf && size && !kvi_alive(db)) /* another thread of the parent may hold the mutex */
        snprintf(buf, size, "%s", kv_strerror(KV_EFORKED));
    else if (db && buf)
        kvi_err_text(&db->err, buf, size);
    else if (buf && size)
        buf[0] = 0;
}

int kv_db_sync(kv_db *db)
{
    if (!db)
        return KV_EINVAL;
    int rc = kvi_db_writable(db);
    if (rc == KV_OK)
        rc = kvi_turn_take(db, KVI_WAIT_FOREVER);
    if (rc != KV_OK)
        return rc;
    rc = kvi_sync(db);
    kvi_turn_give(db);
    return rc;
}

int kv_db_reset_clock(kv_db *db, uint32_t flags)
{
    if (!db || (flags & ~(uint32_t)KV_TXN_TRY))
        return KV_EINVAL;
    int rc = kvi_db_writable(db);
    return rc == KV_OK ? kvi_clock_reset(db, flags & KV_TXN_TRY ? 0 : KVI_WAIT_FOREVER) : rc;
}

uint64_t kv_db_durable_id(kv_db *db)
{
    return db && kvi_alive(db) ? kvi_durable(db) : 0;
}

/* ---- transactions ---- */

#define TXN_FLAGS (KV_TXN_WRITE | KV_TXN_TRY | KVI_DURABILITY_FLAGS)

static bool txn_flags_ok(uint32_t flags)
{
    return !(flags & ~(uint32_t)TXN_FLAGS) && kvi_durability_valid(flags) &&
           (flags == 0 || (flags & KV_TXN_WRITE));
}

int kvi_db_writable(kv_db *db)
{
    if (!kvi_alive(db))
        return KV_EFORKED;
    return db->readonly ? kvi_fail(&db->err, KV_EREADONLY, "%s", kv_strerror(KV_EREADONLY)) : KV_OK;
}

static int begin_write(kv_db *db, uint32_t flags, uint32_t wait_ms, kv_txn **txn)
{
    int rc = kvi_db_writable(db);
    if (rc != KV_OK)
        return rc;
    return kvi_begin_write(db, flags & KV_TXN_TRY ? 0 : wait_ms, kvi_durability_of(db, flags), txn);
}

static inline int txn_begin(kv_db *db, uint32_t flags, uint32_t wait_ms, kv_txn **txn)
{
    if (!txn)
        return KV_EINVAL;
    *txn = NULL;
    if (!db || !txn_flags_ok(flags))
        return KV_EINVAL;
    if (!kvi_alive(db))
        return KV_EFORKED;
    if (!(flags & KV_TXN_WRITE))
        return kvi_begin_read(db, txn);
    return begin_write(db, flags, wait_ms, txn);
}

int kv_txn_begin(kv_db *db, uint32_t flags, kv_txn **txn)
{
    return txn_begin(db, flags, KVI_WAIT_FOREVER, txn);
}

int kv_txn_begin_wait(kv_db *db, uint32_t flags, uint32_t wait_ms, kv_txn **txn)
{
    return txn_begin(db, flags | KV_TXN_WRITE, wait_ms, txn);
}

int kv_txn_commit(kv_txn *txn)
{
    if (!txn)
        return KV_EINVAL;
    if (!kvi_alive(txn->db))
        return KV_EFORKED;
    if (txn->write && !txn->failed)
        return kvi_commit(txn);
    int rc = KV_OK;
    if (txn->write)
        rc = kvi_txn_failed(txn);
    kvi_end(txn);
    return rc;
}

void kv_txn_abort(kv_txn *txn)
{
    if (txn && kvi_alive(txn->db))
        kvi_end(txn);
}

int kv_txn_refresh(kv_txn *txn)
{
    if (!txn || txn->write)
        return KV_EINVAL;
    int rc = kvi_txn_usable(txn);
    return rc == KV_OK ? kvi_refresh(txn) : rc;
}

uint64_t kv_txn_id(const kv_txn *txn)
{
    return !txn ? 0 : txn->write ? kvi_txn_commit_id(txn) : txn->base.id;
}

uint64_t kv_txn_now(const kv_txn *txn)
{
    return txn ? txn->now : 0;
}

static int savepoint_usable(const kv_txn *txn)
{
    if (!txn || !txn->write)
        return KV_EINVAL;
    return kvi_txn_usable(txn);
}

int kv_txn_savepoint(kv_txn *txn, uint32_t *savepoint)
{
    int rc = savepoint ? savepoint_usable(txn) : KV_EINVAL;
    return rc == KV_OK ? kvi_txn_savepoint(txn, savepoint) : rc;
}

int kv_txn_rollback_to(kv_txn *txn, uint32_t savepoint)
{
    kv_tree *younger;
    int rc = savepoint_usable(txn);
    if (rc == KV_OK)
        rc = kvi_txn_rollback_to(txn, savepoint, &younger);
    if (rc == KV_OK)
        rc = kvi_txn_spoil(txn, kvi_catalog_reload(txn, younger));
    return rc;
}

int kv_txn_release(kv_txn *txn, uint32_t savepoint)
{
    int rc = savepoint_usable(txn);
    return rc == KV_OK ? kvi_txn_release(txn, savepoint) : rc;
}

/* ---- trees ---- */

kv_tree *kv_txn_main(kv_txn *txn)
{
    return txn ? &txn->main : NULL;
}

static bool tree_options_ok(const kv_tree_options *options)
{
    return !options || options->size >= sizeof *options;
}

static int name_check(kv_txn *txn, const void *name, size_t name_len)
{
    uint32_t most = kvi_key_max(txn->db->file.page_size);
    if (!name || name_len == 0)
        return KV_EINVAL;
    if (!kvi_alive(txn->db))
        return KV_EFORKED;
    if (name_len > most)
        return kvi_fail(&txn->db->err, KV_ETOOBIG, "the tree's name has %zu bytes; the limit is %u",
                        name_len, most);
    return txn->failed ? kvi_txn_failed(txn) : KV_OK;
}

int kv_tree_open(kv_txn *txn, const void *name, size_t name_len, uint32_t flags,
                 const kv_tree_options *options, kv_tree **tree)
{
    if (!tree)
        return KV_EINVAL;
    *tree = NULL;
    if (!txn || (flags & ~(uint32_t)(KV_TREE_CREATE | KV_TREE_EXCLUSIVE | KV_TREE_MULTI)) ||
        (flags & (KV_TREE_CREATE | KV_TREE_EXCLUSIVE)) == KV_TREE_EXCLUSIVE ||
        !tree_options_ok(options))
        return KV_EINVAL;
    int rc = name_check(txn, name, name_len);
    if (rc == KV_OK)
        rc = kvi_catalog_open(txn, kvi_slice_of(name, name_len), flags, options, tree);
    if (rc != KV_OK)
        *tree = NULL;
    return rc;
}

int kv_tree_configure(kv_tree *tree, const kv_tree_options *options)
{
    if (!tree || !options || !tree_options_ok(options))
        return KV_EINVAL;
    int rc = kvi_tree_alive(tree, true);
    if (rc != KV_OK)
        return rc;
    tree->desc.compress_from = options->compress_from;
    tree->desc.codec = options->compress_from ? KVI_CODEC_LZ4 : KVI_CODEC_NONE;
    tree->changed = true;
    return KV_OK;
}

/* Who asks for names. */
typedef struct name_listing {
    int (*fn)(void *context, kv_slice name);
    void *context;
} name_listing;

static int name_listed(void *context, kvi_slice name)
{
    const name_listing *list = context;
    return list->fn(list->context, (kv_slice){name.ptr, name.len}) == 0 ? KV_OK : KV_ECANCELED;
}

int kv_tree_list(kv_txn *txn, int (*fn)(void *context, kv_slice name), void *context)
{
    name_listing list = {fn, context};
    if (!txn || !fn)
        return KV_EINVAL;
    int rc = kvi_txn_usable(txn);
    return rc == KV_OK ? kvi_catalog_names(txn, name_listed, &list) : rc;
}

/* A named tree that may be renamed or dropped. */
static int named_usable(kv_tree *tree)
{
    if (!tree || !tree->name)
        return KV_EINVAL;
    return kvi_tree_alive(tree, true);
}

int kv_tree_rename(kv_tree *tree, const void *name, size_t name_len)
{
    int rc = named_usable(tree);
    if (rc == KV_OK)
        rc = name_check(tree->txn, name, name_len);
    return rc == KV_OK ? kvi_catalog_rename(tree, kvi_slice_of(name, name_len)) : rc;
}

int kv_tree_clear(kv_tree *tree)
{
    if (!tree)
        return KV_EINVAL;
    int rc = kvi_tree_alive(tree, true);
    if (rc != KV_OK)
        return rc;
    tree->txn->changes++;
    return kvi_tree_clear(tree);
}

int kv_tree_drop(kv_tree *tree)
{
    int rc = named_usable(tree);
    return rc == KV_OK ? kvi_catalog_drop(tree) : rc;
}

int kv_tree_stat(kv_tree *tree, kv_tree_info *info)
{
    if (!tree || !info || info->size < sizeof *info)
        return KV_EINVAL;
    int rc = kvi_tree_alive(tree, false);
    if (rc != KV_OK)
        return rc;
    const kvi_tree_desc *desc = &tree->desc;
    *info = (kv_tree_info){
        .size = sizeof *info,
        .entries = desc->entries,
        .leaf_pages = desc->leaf_pages,
        .branch_pages = desc->branch_pages,
        .large_pages = desc->large_pages,
        .height = desc->root.page ? desc->level + 1u : 0,
        .multi = kvi_tree_multi(tree),
        .compress_from = desc->compress_from,
    };
    return KV_OK;
}

/* ---- single keys ---- */

int kv_get(kv_tree *tree, const void *key, size_t key_len, kv_slice *value)
{
    if (!tree || !kvi_bytes_valid(key, key_len))
        return KV_EINVAL;
    return kvi_get(tree, kvi_slice_of(key, key_len), value);
}

int kv_exists(kv_tree *tree, const void *key, size_t key_len)
{
    return kv_get(tree, key, key_len, NULL);
}

static bool put_flags_ok(uint32_t flags)
{
    return kvi_put_flags_valid(flags) && !(flags & KV_PUT_KEEP_EXPIRY);
}

int kv_put(kv_tree *tree, const void *key, size_t key_len, const void *value, size_t value_len,
           uint32_t flags)
{
    if (!tree || !kvi_bytes_valid(key, key_len) || !kvi_bytes_valid(value, value_len) ||
        !kvi_put_flags_valid(flags))
        return KV_EINVAL;
    return kvi_put(tree, kvi_slice_of(key, key_len), kvi_slice_of(value, value_len), flags, NULL);
}

int kv_reserve(kv_tree *tree, const void *key, size_t key_len, size_t value_len, uint32_t flags,
               void **place)
{
    if (!place)
        return KV_EINVAL;
    *place = NULL;
    if (!tree || !kvi_bytes_valid(key, key_len) || !put_flags_ok(flags))
        return KV_EINVAL;
    return kvi_put(tree, kvi_slice_of(key, key_len), kvi_slice_of(NULL, value_len), flags, place);
}

int kv_del(kv_tree *tree, const void *key, size_t key_len)
{
    if (!tree || !kvi_bytes_valid(key, key_len))
        return KV_EINVAL;
    return kvi_del(tree, kvi_slice_of(key, key_len));
}
