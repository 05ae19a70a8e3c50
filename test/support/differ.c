/* differ.c - see differ.h. */
#include "differ.h"
#include "multi_steps.h"
#include <stdlib.h>

typedef struct differ {
    model *m;         /* the old state, on its way to the new one */
    const char *what; /* the first thing that is wrong */
    kv_diff_info seen;
    kvi_slice tree, key; /* of the change before; copies */
    uint8_t *room;
} differ;

#define ROOM 16384

static kvi_slice slice_of(kv_slice s)
{
    return kvi_slice_of(s.ptr, s.len);
}

static int wrong(differ *d, const char *what)
{
    d->what = what;
    return 1;
}

static bool equal(kv_slice a, kvi_slice b)
{
    return kvi_slice_compare(slice_of(a), b) == 0;
}

static kvi_slice keep(uint8_t *room, kv_slice s)
{
    if (s.len)
        memcpy(room, s.ptr, s.len);
    return (kvi_slice){room, s.len};
}

/* Trees by name, in each the entries by key. */
static bool in_order(differ *d, const kv_change *change)
{
    int trees = kvi_slice_compare(d->tree, slice_of(change->tree));
    bool entry = change->key.ptr != NULL;
    bool fine = trees < 0 || (trees == 0 && (!entry || !d->key.ptr ||
                                             kvi_slice_compare(d->key, slice_of(change->key)) < 0));
    d->tree = keep(d->room, change->tree);
    d->key = entry ? keep(d->room + ROOM, change->key) : (kvi_slice){NULL, 0};
    return fine;
}

static int tree_changes(differ *d, const kv_change *change)
{
    kvi_slice name = slice_of(change->tree);
    if (change->kind == KV_CHANGE_CREATED) {
        d->seen.created++;
        return model_tree_create(d->m, name) ? 0 : wrong(d, "a tree created that was there");
    }
    const model_tree *tree = model_tree_of(d->m->now, name);
    if (!tree || tree->sum.entries)
        return wrong(d, "a tree dropped that is missing or has entries left");
    d->seen.dropped++;
    return model_tree_drop(d->m, name) ? 0 : wrong(d, "the main tree dropped");
}

static int entry_changes(differ *d, const kv_change *change)
{
    kvi_slice name = slice_of(change->tree), key = slice_of(change->key), old;
    const model_tree *tree = model_tree_of(d->m->now, name);
    if (!tree)
        return wrong(d, "a change in a tree that is missing");
    bool had = model_get(tree, key, &old);
    if (had != (change->kind != KV_CHANGE_ADDED) || had != (change->old_value.ptr != NULL) ||
        (change->kind != KV_CHANGE_REMOVED) != (change->new_value.ptr != NULL))
        return wrong(d, "a change of another kind");
    if (had && !equal(change->old_value, old))
        return wrong(d, "another old value");
    d->seen.added += change->kind == KV_CHANGE_ADDED;
    d->seen.changed += change->kind == KV_CHANGE_VALUE;
    d->seen.removed += change->kind == KV_CHANGE_REMOVED;
    if (change->kind == KV_CHANGE_REMOVED)
        return model_del(d->m, name, key) ? 0 : 1;
    if (had && equal(change->new_value, old))
        return wrong(d, "a change that is none");
    model_put(d->m, name, key, slice_of(change->new_value));
    return 0;
}

static int one_change(void *context, const kv_change *reported)
{
    differ *d = context;
    kv_change pair = *reported, *change = &pair;
    if (multi_is(slice_of(pair.tree)) && pair.key.ptr) {
        kv_slice *value = pair.old_value.ptr ? &pair.old_value : &pair.new_value;
        kvi_slice key = multi_pair(slice_of(pair.key), slice_of(*value));
        pair.key = (kv_slice){key.ptr, key.len};
        value->len = 0;
    }
    if (!in_order(d, change))
        return wrong(d, "changes out of order");
    return change->key.ptr ? entry_changes(d, change) : tree_changes(d, change);
}

static bool counted(const kv_diff_info *a, const kv_diff_info *b)
{
    return a->added == b->added && a->changed == b->changed && a->removed == b->removed &&
           a->created == b->created && a->dropped == b->dropped;
}

const char *differ_check(kv_txn *from, model_state *old, kv_txn *to, const model_state *now)
{
    differ d = {.m = model_new(), .room = malloc(2 * ROOM)};
    kv_diff_options options = {.size = sizeof options, .change = one_change, .context = &d};
    kv_diff_info found = {.size = sizeof found};
    uint64_t time = KVI_MAX(kv_txn_now(from), kv_txn_now(to));
    model_state *shown = model_shown(now, time);
    model_restore(d.m, old);
    model_expire(d.m, time);
    int rc = kv_diff(from, to, &options, &found);
    if (!d.what && rc != KV_OK)
        d.what = "kv_diff failed";
    if (!d.what && !model_state_equal(d.m->now, shown ? shown : now))
        d.what = "the changes do not give the new state";
    if (!d.what && !counted(&d.seen, &found))
        d.what = "kv_diff_info counts other changes";
    if (shown)
        model_release(shown);
    model_free(d.m);
    free(d.room);
    return d.what;
}
