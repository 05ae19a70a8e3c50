/* driver_snapshot.c - see driver_snapshot.h. */
#include "driver_snapshot.h"

static const char *const names[] = {"a", "ab", "before", "long name of a snapshot, with spaces"};

static bool fail(driver *d, int rc, const char *what)
{
    d->failure = rc;
    d->what = what;
    return false;
}

static kvi_slice pick_name(driver *d)
{
    return model_text(names[rng_below(&d->r, KVI_COUNT(names))]);
}

/* ---- comparing ---- */

static const char *compare_one(kv_db *db, const model_snapshot *snapshot)
{
    kvi_slice name = model_snapshot_name(snapshot);
    const char *what = "a snapshot is that of another commit";
    kv_txn *txn;
    if (kv_snapshot_open(db, name.ptr, name.len, &txn) != KV_OK)
        return "a snapshot cannot be opened";
    if (kv_txn_id(txn) == snapshot->id)
        what = driver_same(txn, snapshot->state) ? NULL : driver_compare(txn, snapshot->state);
    kv_txn_abort(txn);
    return what;
}

typedef struct listing {
    const model_snapshots *expect;
    size_t next;
    bool same;
} listing;

/* Any commit may sweep, also those of which the model learns no time. What had not expired when the
 * snapshot was made, none before it has removed. */
static bool entries_fit(const kv_snapshot_info *info, const model_state *state)
{
    model_state *shown = model_shown(state, info->time_ms);
    uint64_t least = model_entries(shown ? shown : state);
    if (shown)
        model_release(shown);
    return info->entries >= least;
}

static int list_one(void *context, const kv_snapshot_info *info)
{
    listing *list = context;
    const model_snapshot *expect =
        list->expect && list->next < list->expect->n ? &list->expect->at[list->next++] : NULL;
    kvi_slice name = kvi_slice_of(info->name.ptr, info->name.len);
    list->same = expect && kvi_slice_compare(model_snapshot_name(expect), name) == 0 &&
                 info->commit_id == expect->id && entries_fit(info, expect->state);
    return list->same ? 0 : 1;
}

const char *driver_snapshots(kv_db *db, const model_state *state)
{
    const model_snapshots *expect = state->snapshots;
    listing list = {expect, 0, true};
    const char *what = NULL;
    if (kv_snapshot_list(db, list_one, &list) != KV_OK || !list.same ||
        list.next != (expect ? expect->n : 0))
        return "another list of snapshots";
    for (size_t i = 0; !what && expect && i < expect->n; i++)
        what = compare_one(db, &expect->at[i]);
    return what;
}

/* ---- operations ---- */

static int do_create(driver *d, kvi_slice name, uint32_t *kind)
{
    uint64_t base = driver_newest(d->db);
    *kind = KV_TXN_STRICT;
    int expect = model_snapshot_of(d->m->now, name) ? KV_EXISTS : KV_OK;
    int rc = kv_snapshot_create(d->db, name.ptr, name.len, 0);
    if (rc == expect || rc == KV_EPOISONED)
        model_snapshot_create(d->m, name, base);
    return rc == expect ? KV_OK : rc;
}

static int do_drop(driver *d, kvi_slice name, const uint32_t *kind)
{
    int expect = model_snapshot_of(d->m->now, name) ? KV_OK : KV_NOTFOUND;
    int rc = kv_snapshot_drop(d->db, name.ptr, name.len, *kind);
    if (rc == expect || rc == KV_EPOISONED)
        model_snapshot_drop(d->m, name);
    return rc == expect ? KV_OK : rc;
}

static int do_restore(driver *d, kvi_slice name, const uint32_t *kind)
{
    int expect = model_snapshot_of(d->m->now, name) ? KV_OK : KV_NOTFOUND;
    int rc = kv_snapshot_restore(d->db, name.ptr, name.len, *kind);
    if (rc == expect || rc == KV_EPOISONED)
        model_snapshot_restore(d->m, name);
    return rc == expect ? KV_OK : rc;
}

bool driver_snapshot(driver *d, uint32_t *kind, model_state **unknown)
{
    static const char *const what[] = {"snapshot: create", "snapshot: drop", "snapshot: restore"};
    kvi_slice name = pick_name(d);
    uint64_t before = driver_newest(d->db), choice = rng_below(&d->r, 7);
    size_t op = choice < 3 ? 0 : choice < 5 ? 1 : 2;
    d->what = NULL;
    *unknown = NULL;
    model_state *base = model_keep(d->m);
    int rc = op == 0   ? do_create(d, name, kind)
             : op == 1 ? do_drop(d, name, kind)
                       : do_restore(d, name, kind);
    uint64_t after = driver_newest(d->db);
    if (rc == KV_OK && after != before)
        model_commit_as(d->m, after);
    if (rc == KV_EPOISONED)
        *unknown = model_keep(d->m);
    if (rc != KV_OK)
        model_restore(d->m, base);
    model_release(base);
    return rc == KV_OK ? true : fail(d, rc, what[op]);
}
