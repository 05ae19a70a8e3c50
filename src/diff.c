/* diff.c - see diff.h. */
#include "diff.h"
#include "mutant.h"
#include "pairs.h"
#include "tour.h"

typedef struct diff {
    kv_txn *from, *to;
    kv_diff_options options;
    kvi_range range;      /* of keys, in each tree */
    kvi_range pair_range; /* the same in multi-value trees */
    uint8_t *room;        /* for a pair that is taken apart */
    bool multi;           /* the tree that is compared has pairs */
    kv_diff_info *info;
    kv_slice tree; /* whose entries are compared */
    uint64_t now;  /* the time for both: what they share is then the same */
} diff;

/* What is done with the entries under one key; at least one of the two is there. */
typedef int diff_pair(diff *d, kvi_slice key, const kvi_stored *old_value,
                      const kvi_stored *new_value);

/* ---- two trees ---- */

/* Both stand before subtrees: opens what has to be seen. */
static int open_subtrees(kvi_tour *old, kvi_tour *new)
{
    kvi_slice low_old, low_new;
    int order = (new->level > old->level) - (new->level < old->level);
    if (order == 0) {
        bool bound_old = kvi_tour_low(old, &low_old), bound_new = kvi_tour_low(new, &low_new);
        order = bound_old && bound_new ? kvi_slice_compare(low_old, low_new)
                                       : (int)bound_old - (int)bound_new;
    }
    int rc = order <= 0 ? kvi_tour_open(old) : KV_OK;
    return rc == KV_OK && order >= 0 ? kvi_tour_open(new) : rc;
}

/* Both stand on entries, or one on an entry that comes before all that the other still has. */
static int pair_entries(diff *d, kvi_tour *old, kvi_tour *new, int order, diff_pair *pair)
{
    kvi_slice key = order <= 0 ? old->key : new->key;
    int rc = pair(d, key, order <= 0 ? &old->value : NULL, order >= 0 ? &new->value : NULL);
    if (rc == KV_OK && order <= 0)
        rc = kvi_tour_pass(old);
    return rc == KV_OK && order >= 0 ? kvi_tour_pass(new) : rc;
}

/* One stands on an entry, the other before a subtree: is the entry before all that is in there? */
static bool entry_before(const kvi_tour *entry, kvi_tour *subtree)
{
    kvi_slice low;
    return kvi_tour_low(subtree, &low) && kvi_slice_compare(entry->key, low) < 0;
}

/* One of the two has ended. */
static int diff_rest(diff *d, kvi_tour *old, kvi_tour *new, diff_pair *pair)
{
    kvi_tour *rest = old->ended ? new : old;
    if (!rest->on_entry)
        return kvi_tour_open(rest);
    return pair_entries(d, old, new, old->ended ? 1 : -1, pair);
}

static int diff_step(diff *d, kvi_tour *old, kvi_tour *new, diff_pair *pair)
{
    if (old->ended || new->ended)
        return diff_rest(d, old, new, pair);
    if (old->on_entry && new->on_entry)
        return pair_entries(d, old, new, kvi_slice_compare(old->key, new->key), pair);
    if (old->on_entry)
        return entry_before(old, new) ? pair_entries(d, old, new, -1, pair) : kvi_tour_open(new);
    if (new->on_entry)
        return entry_before(new, old) ? pair_entries(d, old, new, 1, pair) : kvi_tour_open(old);
    if (old->level != new->level ||
        (old->ptr.page != new->ptr.page && !KVI_MUTANT(SHARED_BY_BIRTH)) ||
        old->ptr.birth != new->ptr.birth)
        return open_subtrees(old, new);
    int rc = kvi_tour_pass(old);
    return rc == KV_OK ? kvi_tour_pass(new) : rc;
}

/* Calls pair for every key that is in one of the trees only, or in both but not in a page that they
 * share. */
static int diff_trees(diff *d, const kvi_tree_desc *from, const kvi_tree_desc *to,
                      const kvi_range *range, diff_pair *pair)
{
    kvi_tour old, new;
    int rc = kvi_tour_begin(&old, d->from, from, range);
    if (rc == KV_OK) {
        rc = kvi_tour_begin(&new, d->to, to, range);
        while (rc == KV_OK && !(old.ended && new.ended))
            rc = diff_step(d, &old, &new, pair);
        d->info->pages += old.opened + new.opened;
        kvi_tour_end(&new);
    }
    kvi_tour_end(&old);
    return rc;
}

/* ---- entries ---- */

static int report(diff *d, const kv_change *change)
{
    if (d->options.change && d->options.change(d->options.context, change) != 0)
        return kvi_fail(&d->to->db->err, KV_ECANCELED, "a callback asked to stop");
    return KV_OK;
}

/* Makes sure that it is there for the report. */
static int diff_load(diff *d, kv_txn *txn, const kvi_stored *stored, kv_slice *value)
{
    kvi_entry entry;
    if (!stored || !d->options.change || (d->options.flags & KV_DIFF_KEYS))
        return KV_OK;
    if (stored->special && kvi_entry_parse(*stored, &entry) && (entry.flags & KVI_ENTRY_LARGE))
        d->info->large_pages += entry.large.pages;
    int rc = kvi_value_load(txn, *stored, value);
    if (value->len == 0)
        value->ptr = ""; /* NULL says that there is none */
    return rc;
}

static void diff_count(kv_diff_info *info, uint32_t kind)
{
    if (kind == KV_CHANGE_ADDED)
        info->added++;
    else if (kind == KV_CHANGE_VALUE)
        info->changed++;
    else
        info->removed++;
}

/* A pair of a multi-value tree is there or not. */
static int pair_apart(diff *d, kvi_slice pair, kv_change *change)
{
    kvi_slice key, value;
    memcpy(d->room, pair.ptr, pair.len);
    if (!kvi_pairs_split(d->room, pair.len, &key, &value))
        return kvi_fail(&d->to->db->err, KV_ECORRUPT, "an entry of a multi-value tree breaks T7");
    change->key = (kv_slice){key.ptr, key.len};
    kv_slice *which = change->kind == KV_CHANGE_REMOVED ? &change->old_value : &change->new_value;
    if (d->options.change && !(d->options.flags & KV_DIFF_KEYS))
        *which = (kv_slice){value.ptr, value.len};
    return KV_OK;
}

static int entry_report(diff *d, kvi_slice key, const kvi_stored *old, const kvi_stored *new)
{
    const kvi_loan *kept_from = d->from->loans, *kept_to = d->to->loans;
    kv_change change = {.kind = !old   ? KV_CHANGE_ADDED
                                : !new ? KV_CHANGE_REMOVED
                                       : KV_CHANGE_VALUE,
                        .tree = d->tree,
                        .key = {key.ptr, key.len}};
    int rc = diff_load(d, d->from, old, &change.old_value);
    if (rc == KV_OK)
        rc = diff_load(d, d->to, new, &change.new_value);
    if (rc == KV_OK && d->multi)
        rc = pair_apart(d, key, &change);
    if (rc == KV_OK) {
        diff_count(d->info, change.kind);
        rc = report(d, &change);
    }
    kvi_txn_unlend(d->to, kept_to);
    kvi_txn_unlend(d->from, kept_from);
    return rc;
}

static const kvi_stored *unexpired(const diff *d, const kvi_stored *value)
{
    return value && kvi_stored_expired(*value, d->now) ? NULL : value;
}

static int entry_pair(diff *d, kvi_slice key, const kvi_stored *old, const kvi_stored *new)
{
    bool same = false;
    old = unexpired(d, old);
    new = unexpired(d, new);
    if (!old && !new)
        return KV_OK;
    int rc = old && new ? kvi_value_same(d->from, *old, d->to, *new, &same) : KV_OK;
    return rc != KV_OK || same ? rc : entry_report(d, key, old, new);
}

/* ---- trees ---- */

/* The entries of one tree; NULL: it is missing there. */
static int diff_entries(diff *d, kvi_slice name, const kvi_tree_desc *from, const kvi_tree_desc *to)
{
    static const kvi_tree_desc none;
    int rc = KV_OK;
    d->tree = (kv_slice){name.ptr, name.len};
    d->multi = (from ? from : to)->flags & KVI_TREE_MULTI;
    kv_change change = {.kind = from ? KV_CHANGE_DROPPED : KV_CHANGE_CREATED, .tree = d->tree};
    if (!from) {
        d->info->created++;
        rc = report(d, &change);
    }
    if (rc == KV_OK)
        rc = diff_trees(d, from ? from : &none, to ? to : &none,
                        d->multi ? &d->pair_range : &d->range, entry_pair);
    if (rc == KV_OK && !to) {
        d->info->dropped++;
        rc = report(d, &change);
    }
    return rc;
}

static int diff_named(diff *d, kvi_slice name, const kvi_tree_desc *from, const kvi_tree_desc *to)
{
    if (!from || !to || !((from->flags ^ to->flags) & KVI_TREE_MULTI))
        return diff_entries(d, name, from, to);
    int rc = diff_entries(d, name, from, NULL); /* a tree of another kind is another tree */
    return rc == KV_OK ? diff_entries(d, name, NULL, to) : rc;
}

static int names_pair(diff *d, kvi_slice name, const kvi_stored *old, const kvi_stored *new)
{
    kvi_tree_desc from, to;
    int rc = old ? kvi_catalog_decode(d->from, *old, &from) : KV_OK;
    if (rc == KV_OK && new)
        rc = kvi_catalog_decode(d->to, *new, &to);
    return rc == KV_OK ? diff_named(d, name, old ? &from : NULL, new ? &to : NULL) : rc;
}

static int diff_all(diff *d)
{
    int rc = diff_entries(d, (kvi_slice){NULL, 0}, &d->from->main.desc, &d->to->main.desc);
    if (rc != KV_OK)
        return rc;
    return diff_trees(d, &d->from->catalog.desc, &d->to->catalog.desc, NULL, names_pair);
}

static int diff_one(diff *d, kvi_slice name)
{
    kvi_tree_desc from, to;
    if (name.len == 0)
        return diff_entries(d, name, &d->from->main.desc, &d->to->main.desc);
    int in_from = kvi_catalog_find(d->from, name, &from);
    int in_to = in_from < 0 ? in_from : kvi_catalog_find(d->to, name, &to);
    if (in_to < 0 || (in_from == KV_NOTFOUND && in_to == KV_NOTFOUND))
        return in_to;
    return diff_named(d, name, in_from == KV_OK ? &from : NULL, in_to == KV_OK ? &to : NULL);
}

static int diff_ranges(diff *d, const kv_range *range)
{
    const kvi_os *os = d->to->db->os;
    kv_tree pairs = d->to->main;
    pairs.desc.flags |= KVI_TREE_MULTI;
    int rc = kvi_range_init(&d->range, &d->to->main, range);
    if (rc == KV_OK)
        rc = kvi_range_init(&d->pair_range, &pairs, range);
    d->room = os->alloc(os, kvi_key_max(d->to->db->file.page_size));
    return rc == KV_OK && !d->room ? KV_ENOMEM : rc;
}

int kvi_diff(kv_txn *from, kv_txn *to, const kv_diff_options *options, kv_diff_info *info)
{
    diff d = {.from = from,
              .to = to,
              .options = *options,
              .info = info,
              .now = KVI_MAX(from->now, to->now)};
    int rc = diff_ranges(&d, options->range);
    if (rc == KV_OK)
        rc = options->tree ? diff_one(&d, kvi_slice_of(options->tree, options->tree_len))
                           : diff_all(&d);
    kvi_range_done(&d.range, &to->main);
    kvi_range_done(&d.pair_range, &to->main);
    to->db->os->free(to->db->os, d.room);
    return rc;
}
