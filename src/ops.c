/* ops.c - see ops.h. */
#include "ops.h"
#include "finger.h"
#include "mutant.h"
#include "seal.h"

int kvi_tree_alive(const kv_tree *tree, bool change)
{
    kv_txn *txn = tree->txn;
    int rc = kvi_txn_usable(txn);
    if (rc != KV_OK)
        return rc;
    if (KVI_UNLIKELY(tree->gone))
        return KV_NOTFOUND;
    if (change && !txn->write)
        return kvi_fail(&txn->db->err, KV_EREADONLY, "a change in a read transaction");
    return KV_OK;
}

int kvi_tree_usable(const kv_tree *tree, bool change)
{
    int rc = kvi_tree_alive(tree, change);
    if (rc == KV_OK && kvi_tree_multi(tree) && !tree->raw)
        return kvi_fail(&tree->txn->db->err, KV_EINVAL,
                        "the tree has several values for each key; kv_multi_put and its like are "
                        "for it");
    return rc;
}

int kvi_find(kv_tree *tree, kvi_slice key, kvi_stored *stored)
{
    if (KVI_UNLIKELY(!kvi_tree_plain(tree))) {
        int rc = kvi_tree_usable(tree, false);
        return rc == KV_OK ? KV_EINVAL : rc;
    }
    int rc = kvi_tree_find(tree, key, stored);
    if (rc == KV_OK && kvi_stored_expired(*stored, tree->txn->now) && !KVI_MUTANT(EXPIRED_FOUND))
        rc = KV_NOTFOUND;
    return rc;
}

int kvi_get_any(kv_tree *tree, kvi_slice key, kv_slice *value)
{
    kvi_stored stored;
    int rc = kvi_find(tree, key, &stored);
    return rc == KV_OK && value ? kvi_value_load(tree->txn, stored, value) : rc;
}

int kvi_stored_info(kv_txn *txn, kvi_stored stored, kv_entry_info *info)
{
    kv_entry_info found = {.size = info->size, .stored_len = stored.bytes.len};
    kvi_entry entry;
    int rc = kvi_value_load(txn, stored, &found.value);
    if (rc != KV_OK)
        return rc;
    found.expires_at = kvi_stored_expiry(stored);
    found.ttl_ms = found.expires_at ? found.expires_at - txn->now : KV_TTL_NEVER;
    if (kvi_entry_parse(stored, &entry))
        found.stored_len =
            entry.flags & KVI_ENTRY_LARGE ? entry.large.stored_len : entry.payload.len;
    *info = found;
    return KV_OK;
}

/* ---- before anything changes ---- */

static int change_begin(kv_tree *tree, kvi_slice key)
{
    kv_txn *txn = tree->txn;
    uint32_t key_max = kvi_key_max(txn->db->file.page_size);
    int rc = kvi_tree_usable(tree, true);
    if (rc != KV_OK)
        return rc;
    if (key.len > key_max)
        return kvi_fail(&txn->db->err, KV_ETOOBIG, "the key has %zu bytes; the limit is %u",
                        key.len, key_max);
    return KV_OK;
}

static int value_fits(const kv_tree *tree, uint64_t len)
{
    if (len > KV_VALUE_MAX)
        return kvi_fail(&tree->txn->db->err, KV_ETOOBIG,
                        "the value has %llu bytes; the limit is %llu", (unsigned long long)len,
                        (unsigned long long)KV_VALUE_MAX);
    return KV_OK;
}

int kvi_put_check(kv_tree *tree, kvi_slice key, uint64_t value_len)
{
    int rc = change_begin(tree, key);
    return rc == KV_OK ? value_fits(tree, value_len) : rc;
}

static int condition(bool found, uint32_t flags)
{
    if (found && (flags & KV_PUT_ABSENT))
        return KV_EXISTS;
    if (!found && (flags & KV_PUT_PRESENT))
        return KV_NOTFOUND;
    return KV_OK;
}

/* ---- changing the entry under a path ---- */

/* What stands under a key. */
typedef struct entry_there {
    bool found; /* something does, perhaps an entry that has expired */
    bool shown; /* one that has not */
    kvi_stored stored;
} entry_there;

static int key_seek(kv_tree *tree, kvi_slice key, kvi_path *path, entry_there *there)
{
    *there = (entry_there){.found = false};
    int rc = kvi_tree_seek(tree, key, path, &there->found);
    if (rc == KV_OK && there->found) {
        there->stored = kvi_path_stored(tree, path);
        there->shown = !kvi_stored_expired(there->stored, tree->txn->now);
    }
    return rc;
}

/* A key that is needed to the end of a change: it may be a view of a page that is divided or written, or
 * of the value that goes away. */
static kvi_slice key_keep(const kv_tree *tree, kvi_slice key)
{
    uint8_t *room = kvi_scratch_put_key(tree->txn->db);
    if (key.len)
        memmove(room, key.ptr, key.len);
    return kvi_slice_of(room, key.len);
}

/* Puts the prepared entry under path into the tree; what it replaces goes away. */
static int entry_place(kv_tree *tree, kvi_path *path, bool found, kvi_prepared *prepared)
{
    int rc = KV_OK;
    if (!found)
        return kvi_tree_insert(tree, path, &prepared->item);
    rc = kvi_value_drop(tree, kvi_path_stored(tree, path));
    if (rc == KV_OK && !kvi_value_there(tree->txn, prepared))
        rc = kvi_txn_changed(tree->txn);
    if (rc == KV_OK)
        rc = kvi_tree_replace(tree, path, &prepared->item);
    return kvi_txn_spoil(tree->txn, rc);
}

static void *place_of(const kv_tree *tree, kvi_path *path, const kvi_prepared *prepared)
{
    if (prepared->place)
        return prepared->place;
    const kvi_step *leaf = kvi_path_leaf(path);
    kvi_slice value = kvi_path_stored(tree, path).bytes;
    return kvi_step_bytes(tree, leaf) + (value.ptr - leaf->page);
}

/* What becomes of the expiry when a value is stored. */
typedef struct entry_life {
    bool keep;       /* an entry that is there keeps its own */
    uint64_t expiry; /* 0: none */
} entry_life;

/* Stores a value under the key that put_path stands at. */
static int entry_store(kv_tree *tree, const entry_there *there, kvi_slice key, kvi_slice value,
                       entry_life life, void **place)
{
    kv_txn *txn = tree->txn;
    kvi_path *path = &tree->put_path;
    kvi_prepared prepared;
    uint64_t expiry = there->shown && life.keep ? kvi_stored_expiry(there->stored) : life.expiry;
    if (there->found)
        key = key_keep(tree, key);
    int rc = kvi_value_prepare(tree, key, value, expiry, &prepared);
    if (rc != KV_OK)
        return rc;
    txn->changes++;
    rc = entry_place(tree, path, there->found, &prepared);
    if (rc != KV_OK) {
        kvi_value_discard(txn, &prepared);
        return rc;
    }
    tree->put_changes = txn->changes;
    tree->desc.large_pages += prepared.pages;
    if (place)
        *place = place_of(tree, path, &prepared);
    kvi_value_done(txn, &prepared);
    return place ? KV_OK : kvi_seal_early(txn); /* last: key and value may be views */
}

int kvi_remove_at(kv_tree *tree, kvi_path *path)
{
    kv_txn *txn = tree->txn;
    txn->changes++;
    int rc = kvi_value_drop(tree, kvi_path_stored(tree, path));
    if (rc == KV_OK)
        rc = kvi_tree_remove(tree, path);
    if (rc == KV_OK)
        rc = kvi_seal_early(txn);
    return kvi_txn_spoil(txn, rc);
}

int kvi_load_at(kv_tree *tree, kvi_path *path, kv_slice *value)
{
    return kvi_value_load(tree->txn, kvi_path_stored(tree, path), value);
}

/* ---- operations ---- */

int kvi_put_until(kv_tree *tree, kvi_slice key, kvi_slice value, uint32_t flags, uint64_t expiry,
                  void **place)
{
    entry_there there = {.found = false};
    bool plain = expiry == 0 && !(flags & KV_PUT_PRESENT) && !place;
    if (plain && kvi_finger_put(tree, key, value))
        return KV_OK;
    int rc = change_begin(tree, key);
    if (rc == KV_OK)
        rc = value_fits(tree, value.len);
    if (rc == KV_OK && place) {
        key = key_keep(tree, key);
        rc = kvi_seal_early(tree->txn); /* the place that was given out before is filled by now */
    }
    bool behind = rc == KV_OK && kvi_tree_append(tree, key, &tree->put_path);
    if (rc == KV_OK && !behind)
        rc = key_seek(tree, key, &tree->put_path, &there);
    if (rc == KV_OK)
        rc = condition(there.shown, flags);
    if (rc != KV_OK)
        return rc;
    entry_life life = {flags & KV_PUT_KEEP_EXPIRY, expiry};
    rc = entry_store(tree, &there, key, value, life, place);
    if (rc == KV_OK && behind)
        kvi_finger_set(tree);
    return rc;
}

int kvi_del(kv_tree *tree, kvi_slice key)
{
    kvi_path path;
    entry_there there;
    int rc = change_begin(tree, key);
    if (rc == KV_OK)
        rc = key_seek(tree, key, &path, &there);
    if (rc == KV_OK && !there.shown)
        rc = KV_NOTFOUND;
    return rc == KV_OK ? kvi_remove_at(tree, &path) : rc;
}

/* Does with the entry under put_path what was decided. */
static int update_carry_out(kv_tree *tree, const entry_there *there, int verdict, kvi_slice key,
                            kv_slice value, entry_life life)
{
    kvi_err *err = &tree->txn->db->err;
    if (verdict == KV_UPDATE_REMOVE)
        return there->shown ? kvi_remove_at(tree, &tree->put_path) : KV_OK;
    if (verdict != KV_UPDATE_STORE || (!value.ptr && value.len))
        return kvi_fail(err, KV_EINVAL, "an update that makes no sense");
    int rc = value_fits(tree, value.len);
    return rc == KV_OK
               ? entry_store(tree, there, key, kvi_slice_of(value.ptr, value.len), life, NULL)
               : rc;
}

/* Asks what shall become of the entry, and does it. *present: its value; then where it stays, if it is
 * kept. */
static int update_decide(kv_tree *tree, const entry_there *there, kvi_slice key, kvi_decide *decide,
                         void *context, entry_life life, kv_slice *present, bool keep)
{
    kv_txn *txn = tree->txn;
    kv_slice value = {NULL, 0};
    uint64_t changes = txn->changes;
    int rc = KV_OK;
    kvi_err_clear(&txn->db->err); /* a caller's own error has no sentence */
    int verdict = decide(context, there->shown ? present : NULL, &value);
    if (txn->changes != changes)
        return kvi_fail(&txn->db->err, KV_EINVAL, "a callback changed the transaction");
    if (verdict < 0 || verdict == KV_UPDATE_KEEP)
        return verdict < 0 ? verdict : KV_OK;
    if (there->shown && keep)
        rc = kvi_value_keep(txn, present);
    return rc == KV_OK ? update_carry_out(tree, there, verdict, key, value, life) : rc;
}

int kvi_update_until(kv_tree *tree, kvi_slice key, kvi_decide *decide, void *context,
                     uint32_t flags, uint64_t expiry, kv_slice *old)
{
    kv_txn *txn = tree->txn;
    kv_slice present = {NULL, 0};
    entry_there there;
    const kvi_loan *before = txn->loans;
    entry_life life = {flags & KV_PUT_KEEP_EXPIRY, expiry};
    int rc = change_begin(tree, key);
    if (rc == KV_OK)
        rc = key_seek(tree, key, &tree->put_path, &there);
    if (rc == KV_OK && there.shown)
        rc = kvi_load_at(tree, &tree->put_path, &present);
    if (rc != KV_OK)
        return rc;
    kvi_loan *lent = txn->loans != before ? txn->loans : NULL;
    rc = update_decide(tree, &there, key, decide, context, life, &present, old != NULL);
    if (lent &&
        (!old || present.ptr != lent->bytes)) /* else each change of a value would add to it */
        kvi_txn_return(txn, lent);
    if (rc == KV_OK && old)
        *old = present;
    return rc;
}

/* ---- expiry ---- */

static int expiry_store(kv_tree *tree, kvi_path *path, kvi_slice key, kvi_stored stored,
                        uint64_t expiry)
{
    kv_txn *txn = tree->txn;
    kvi_prepared prepared;
    int rc = kvi_value_prepare_expiry(tree, key, stored, expiry, &prepared);
    if (rc != KV_OK)
        return rc;
    txn->changes++;
    rc = kvi_tree_replace(tree, path, &prepared.item);
    if (rc == KV_OK)
        rc = kvi_seal_early(txn);
    return kvi_txn_spoil(txn, rc);
}

/* gain: the least by which the entry's time is to grow; NULL: any change will do. */
static int expiry_change(kv_tree *tree, kvi_slice key, uint64_t expiry, const uint64_t *gain)
{
    kvi_path path;
    entry_there there;
    int rc = change_begin(tree, key);
    if (rc == KV_OK)
        rc = key_seek(tree, key, &path, &there);
    if (rc == KV_OK && !there.shown)
        rc = KV_NOTFOUND;
    if (rc != KV_OK)
        return rc;
    uint64_t old = kvi_stored_expiry(there.stored);
    if (old == expiry || (gain && (old == 0 || expiry < old || expiry - old < *gain)))
        return KV_OK;
    return expiry_store(tree, &path, key, there.stored, expiry);
}

int kvi_expire(kv_tree *tree, kvi_slice key, uint64_t expiry)
{
    return expiry_change(tree, key, expiry, NULL);
}

int kvi_touch(kv_tree *tree, kvi_slice key, uint64_t expiry, uint64_t gain)
{
    return expiry_change(tree, key, expiry, &gain);
}
