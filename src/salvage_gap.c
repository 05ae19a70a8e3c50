/* salvage_gap.c - orphans back in their places, and what stays missing: see salvage.h. */
#include "node.h"
#include "range.h"
#include "salvage_impl.h"
#include "tree.h"
#include <stdio.h>
#include <stdlib.h>

/* ---- does an orphan fit? ---- */

static bool key_below(kvi_kept_key a, kvi_kept_key b)
{
    return kvi_slice_compare(kvi_kept_slice(a), kvi_kept_slice(b)) < 0;
}

static bool gap_full(const kvi_gap *gap)
{
    return gap->entries != KVI_UNKNOWN && gap->found >= gap->entries;
}

/* May its entries stand there at all? */
static bool gap_suits(const kvi_rescue *s, const kvi_gap *gap, const kvi_orphan *orphan)
{
    if (gap->tree == KVI_NO_TREE || orphan->catalog)
        return gap->tree == KVI_NO_TREE && orphan->catalog;
    return orphan->pairs || !kvi_tree_multi(s->trees[gap->tree].tree);
}

static bool gap_fits(const kvi_rescue *s, const kvi_gap *gap, const kvi_orphan *orphan)
{
    return gap_suits(s, gap, orphan) && orphan->level < gap->level &&
           orphan->ptr.birth <= gap->ptr.birth && !gap_full(gap) &&
           (!gap->from.ptr || !key_below(orphan->keys.first, gap->from)) &&
           (!gap->to.ptr || key_below(orphan->keys.last, gap->to));
}

/* Fits gaps of this tree alone, and there is no tree whose name is lost. Where old versions lie about,
 * a tree without a gap has them, too. */
static bool gap_alone(const kvi_rescue *s, const kvi_gap *gap, const kvi_orphan *orphan)
{
    if (!orphan->catalog && (s->names_lost || (!s->space && s->n_trees > 1)))
        return false;
    for (size_t i = 0; i < s->n_gaps; i++) {
        const kvi_gap *other = &s->gaps[i];
        bool nameless = other->tree == KVI_NO_TREE && !gap_full(other) && !orphan->catalog;
        if (nameless || (other->tree != gap->tree && gap_fits(s, other, orphan)))
            return false;
    }
    return true;
}

/* Has it no place yet? A catalog that came back leads to trees whose nodes were listed. */
static bool orphan_left(const kvi_rescue *s, const kvi_orphan *orphan)
{
    return !orphan->taken && !kvi_pgset_has(&s->reached, orphan->ptr.page);
}

static bool gap_mentions(const kvi_gap *gap, const kvi_orphan *orphan)
{
    return orphan->mentions && orphan->mentions == gap->ptr.page;
}

/* Was it there in the newest commit? Where old versions lie about, only the page itself tells, and only
 * if it is not an old version, too. */
static bool gap_had(const kvi_rescue *s, const kvi_gap *gap, const kvi_orphan *orphan)
{
    if (s->space)
        return true;
    if (!gap_mentions(gap, orphan))
        return false;
    kvi_id birth = s->carve.carved[gap->ptr.page].birth;
    return birth == 0 || birth == gap->ptr.birth;
}

/* The remains of the gap's own page mention it; or, where nobody's do, it fits nowhere else. */
static bool gap_claims(const kvi_rescue *s, const kvi_gap *gap, const kvi_orphan *orphan,
                       bool certain)
{
    if (!orphan_left(s, orphan) || orphan->root || !gap_fits(s, gap, orphan))
        return false;
    if (certain)
        return gap_mentions(gap, orphan);
    return (!s->space || !kvi_gaps_have(s, orphan->mentions)) && gap_alone(s, gap, orphan);
}

/* Has the tree a key between the first and last of the orphan? */
static int tree_overlaps(kvi_rescue *s, size_t to, const kvi_orphan *orphan, bool *overlaps)
{
    kv_tree *tree = s->trees[to].tree;
    kvi_path path;
    uint8_t *key = s->carve.buffer;
    int rc = kvi_tree_seek(tree, kvi_kept_slice(orphan->keys.first), &path, overlaps);
    if (rc != KV_OK || *overlaps || path.depth == 0)
        return rc;
    const kvi_step *leaf = kvi_path_leaf(&path);
    if (leaf->slot >= kvi_node_count(leaf->page))
        rc = kvi_path_next(tree, &path);
    if (rc != KV_OK)
        return rc == KV_NOTFOUND ? KV_OK : rc;
    leaf = kvi_path_leaf(&path);
    kvi_slice next = {key, kvi_node_key(leaf->page, s->carve.file.page_size, leaf->slot, key)};
    *overlaps = kvi_slice_compare(next, kvi_kept_slice(orphan->keys.last)) <= 0;
    return KV_OK;
}

static int gap_overlaps(kvi_rescue *s, const kvi_gap *gap, const kvi_orphan *orphan, bool *overlaps)
{
    if (gap->tree != KVI_NO_TREE)
        return tree_overlaps(s, gap->tree, orphan, overlaps);
    *overlaps = false;
    for (size_t i = 0; i < gap->n_filled && !*overlaps; i++)
        *overlaps = !key_below(orphan->keys.last, gap->filled[i].keys.first) &&
                    !key_below(gap->filled[i].keys.last, orphan->keys.first);
    return KV_OK;
}

/* ---- filling ---- */

/* The gap has an index, since walking may add more of them. */
static int gap_put(kvi_rescue *s, size_t at, kvi_orphan *orphan)
{
    kvi_gap *gap = &s->gaps[at];
    bool overlaps;
    int rc = gap_overlaps(s, gap, orphan, &overlaps);
    if (rc != KV_OK || overlaps)
        return rc;
    kvi_filled *filled =
        kvi_os_room(s->os, gap->filled, &gap->filled_cap, gap->n_filled + 1, sizeof *filled);
    if (!filled)
        return kvi_fail(&s->carve.err, KV_ENOMEM, "no memory to fill a gap");
    gap->filled = filled;
    filled[gap->n_filled++] =
        (kvi_filled){orphan->keys, gap_mentions(gap, orphan) ? orphan->at : 0};
    gap->guessed |= !gap_had(s, gap, orphan);
    gap->found += orphan->entries;
    orphan->taken = true;
    return kvi_salvage_walk(s, orphan, gap, gap->tree);
}

static int gap_fill(kvi_rescue *s, size_t at)
{
    int rc = KV_OK;
    if (s->gaps[at].level == 0)
        return KV_OK; /* nothing is below a leaf */
    for (int certain = 1; certain >= 0; certain--)
        for (size_t i = 0; rc == KV_OK && i < s->n_orphans; i++) {
            kvi_orphan *orphan = &s->orphans[i];
            if (gap_claims(s, &s->gaps[at], orphan, certain))
                rc = gap_put(s, at, orphan);
        }
    return rc;
}

/* ---- what stays missing ---- */

static int filled_order(const void *a, const void *b)
{
    const kvi_filled *x = a, *y = b;
    return kvi_slice_compare(kvi_kept_slice(x->keys.first), kvi_kept_slice(y->keys.first));
}

/* Is the stretch before number i, or behind the last one, without a child? What is left of the page
 * tells: its pointers are neighbours. */
static bool gap_tight(const kvi_gap *gap, size_t i)
{
    uint32_t before = i > 0 ? gap->filled[i - 1].at : 0;
    uint32_t behind = i < gap->n_filled ? gap->filled[i].at : 0;
    if (i == 0)
        return behind && behind == gap->first_at;
    if (i == gap->n_filled)
        return before && before == gap->last_at;
    return before && behind == before + KVI_PTR_SIZE;
}

/* Of the keys that are missing in a tree, how many have the found ones? */
static int range_found(kvi_rescue *s, size_t missing, const kvi_range *range, uint64_t *found)
{
    int rc = KV_OK;
    *found = 0;
    for (size_t i = 0; rc == KV_OK && i < s->n_trees; i++) {
        uint64_t n = 0;
        if (!s->trees[i].found || i == missing)
            continue;
        rc = kvi_range_count(s->trees[i].tree, range, &n);
        *found += n;
    }
    return rc;
}

static kvi_place place_before(kvi_kept_key key)
{
    return (kvi_place){.key = kvi_kept_slice(key), .set = key.ptr != NULL};
}

static int gap_tell_keys(kvi_rescue *s, const kvi_gap *gap, kvi_kept_key from, bool after,
                         kvi_kept_key to, uint64_t entries)
{
    const kvi_rescued *tree = gap->tree == KVI_NO_TREE ? NULL : &s->trees[gap->tree];
    kv_salvage_loss loss = {
        .kind = tree ? KV_LOSS_RANGE : KV_LOSS_NAMES,
        .after = after,
        .from = {from.ptr, from.len},
        .to = {to.ptr, to.len},
        .entries = entries,
        .page = gap->ptr.page,
        .reason = "",
    };
    if (!tree)
        return kvi_salvage_lose(s, &loss);
    kvi_range range = {.lo = place_before(from), .hi = place_before(to), .limit = UINT64_MAX};
    range.lo.after = after;
    loss.tree = (kv_slice){tree->name.ptr, tree->name.len};
    int rc = range_found(s, gap->tree, &range, &loss.found);
    s->trees[gap->tree].elsewhere += loss.found;
    return rc == KV_OK ? kvi_salvage_lose(s, &loss) : rc;
}

/* The keys before number i, or behind the last one. */
static int gap_tell_range(kvi_rescue *s, const kvi_gap *gap, size_t i, uint64_t entries)
{
    kvi_kept_key from = i > 0 ? gap->filled[i - 1].keys.last : gap->from;
    kvi_kept_key to = i < gap->n_filled ? gap->filled[i].keys.first : gap->to;
    if (i == 0 && from.ptr && to.ptr && !key_below(from, to))
        return KV_OK; /* the first key is the bound itself */
    return gap_tell_keys(s, gap, from, i > 0, to, entries);
}

/* Any of its keys may be missing, or have an old value: their number says nothing. */
static int gap_tell_guess(kvi_rescue *s, const kvi_gap *gap)
{
    if (gap->tree != KVI_NO_TREE)
        s->trees[gap->tree].guessed = true;
    return gap_tell_keys(s, gap, gap->from, false, gap->to, KVI_UNKNOWN);
}

/* Says which keys are missing: those between the stretches that were found. How many in each is not
 * known if there are several. */
static int gap_tell(kvi_rescue *s, kvi_gap *gap)
{
    uint64_t missing = gap->entries == KVI_UNKNOWN ? KVI_UNKNOWN : gap->entries - gap->found;
    size_t open = 0;
    int rc = KV_OK;
    if (gap->guessed)
        return gap_tell_guess(s, gap);
    if (gap_full(gap))
        return KV_OK;
    if (gap->tree != KVI_NO_TREE && missing != KVI_UNKNOWN)
        s->trees[gap->tree].missing += missing;
    if (gap->n_filled)
        qsort(gap->filled, gap->n_filled, sizeof *gap->filled, filled_order);
    for (size_t i = 0; i <= gap->n_filled; i++)
        open += !gap_tight(gap, i);
    for (size_t i = 0; rc == KV_OK && i <= gap->n_filled; i++)
        if (open == 0 || !gap_tight(gap, i)) /* 0: the remains cannot be right */
            rc = gap_tell_range(s, gap, i, open == 1 ? missing : KVI_UNKNOWN);
    return rc;
}

int kvi_gaps_fill(kvi_rescue *s)
{
    int rc = KV_OK;
    for (int catalog = 1; catalog >= 0; catalog--) /* first: which trees are there? */
        for (size_t i = 0; rc == KV_OK && i < s->n_gaps; i++)
            if ((s->gaps[i].tree == KVI_NO_TREE) == catalog)
                rc = gap_fill(s, i);
    return rc;
}

/* ---- trees of what is left ---- */

/* Found trees, and what they are made of. */
typedef struct found_tree {
    size_t tree;
    unsigned level;
    kvi_pgno mentions;
    bool root; /* complete */
} found_tree;

typedef struct found_list {
    found_tree *at;
    size_t n, cap;
    unsigned number; /* of the newest lost+found-N */
} found_list;

static bool name_taken(const kvi_rescue *s, kvi_slice name)
{
    for (size_t i = 0; i < s->n_trees; i++)
        if (kvi_slice_compare(kvi_kept_slice(s->trees[i].name), name) == 0)
            return true;
    return false;
}

static int found_new(kvi_rescue *s, found_list *list, const kvi_orphan *orphan, size_t *tree)
{
    char name[32];
    kvi_slice slice;
    do {
        int len = snprintf(name, sizeof name, "lost+found-%u", ++list->number);
        slice = kvi_slice_of(name, (size_t)len);
    } while (name_taken(s, slice));
    found_tree *at = kvi_os_room(s->os, list->at, &list->cap, list->n + 1, sizeof *at);
    if (!at)
        return kvi_fail(&s->carve.err, KV_ENOMEM, "no memory for one more tree");
    list->at = at;
    int rc = kvi_salvage_tree(s, slice, NULL, tree);
    if (rc == KV_OK)
        s->trees[*tree].birth = orphan->ptr.birth; /* the newest come first */
    at[list->n++] = (found_tree){*tree, orphan->level, orphan->mentions, orphan->root};
    return rc;
}

/* Children of one unusable page belong together. Others do if a parent may have been lost whole and
 * their keys do not overlap. */
static int found_place(kvi_rescue *s, found_list *list, const kvi_orphan *orphan, bool join,
                       size_t *tree)
{
    for (size_t i = 0; i < list->n && !orphan->root; i++) {
        const found_tree *found = &list->at[i];
        bool overlaps = true;
        if (found->root)
            continue;
        if (orphan->mentions ? found->mentions != orphan->mentions
                             : !join || found->mentions || found->level != orphan->level)
            continue;
        int rc = tree_overlaps(s, found->tree, orphan, &overlaps);
        *tree = found->tree;
        if (rc != KV_OK || !overlaps)
            return rc;
    }
    return found_new(s, list, orphan, tree);
}

/* How many entries of the page in the buffer has a tree just so? */
static int entries_known(kvi_rescue *s, kv_tree *tree, const uint8_t *page, uint8_t *key,
                         unsigned *known)
{
    uint32_t page_size = s->carve.file.page_size;
    *known = 0;
    for (unsigned i = 0; i < kvi_node_count(page); i++) {
        bool special;
        kvi_stored stored;
        kvi_slice value = kvi_leaf_value(page, page_size, i, &special);
        kvi_slice sought = {key, kvi_node_key(page, page_size, i, key)};
        int rc = kvi_tree_find(tree, sought, &stored);
        if (rc != KV_OK && rc != KV_NOTFOUND)
            return rc;
        if (rc == KV_OK && stored.special == special &&
            (special || kvi_slice_compare(stored.bytes, value) == 0))
            ++*known;
    }
    return KV_OK;
}

/* A leaf that shares most of its entries with a tree is an older version of a part of it, unless it is
 * younger than the tree. */
static int orphan_outdated(kvi_rescue *s, const kvi_orphan *orphan, bool *outdated)
{
    uint32_t page_size = s->carve.file.page_size;
    uint8_t *page = s->os->alloc(s->os, 2 * (size_t)page_size);
    *outdated = false;
    if (!page)
        return kvi_fail(&s->carve.err, KV_ENOMEM, "no memory for a page");
    int rc = kvi_carve_read(&s->carve, orphan->ptr.page, page);
    for (size_t i = 0; rc == KV_OK && i < s->n_trees && !*outdated; i++) {
        unsigned known = 0;
        if (orphan->ptr.birth > s->trees[i].birth)
            continue;
        rc = entries_known(s, s->trees[i].tree, page, page + page_size, &known);
        *outdated = rc == KV_OK && 2 * known > kvi_node_count(page);
    }
    s->os->free(s->os, page);
    return rc == KV_EIO || rc == KV_ECORRUPT ? KV_OK : rc;
}

/* Was a page lost of which nothing is left, so that its children can only be guessed? */
static bool parent_lost(const kvi_rescue *s)
{
    if (!s->space || s->wiped)
        return true;
    for (size_t i = 0; i < s->n_gaps; i++)
        if (s->gaps[i].level > 0 && s->gaps[i].tree != KVI_NO_TREE && !gap_full(&s->gaps[i]))
            return true;
    return false;
}

static int orphan_find_home(kvi_rescue *s, found_list *list, const kvi_orphan *orphan, bool join)
{
    bool outdated = false;
    size_t tree;
    int rc = s->space ? KV_OK : orphan_outdated(s, orphan, &outdated);
    if (rc != KV_OK || outdated)
        return rc;
    rc = found_place(s, list, orphan, join, &tree);
    if (rc != KV_OK)
        return rc;
    s->stale = !s->space;
    rc = kvi_salvage_walk(s, orphan, NULL, tree);
    s->stale = false;
    return rc;
}

/* Does it belong nowhere? Leaves that an old branch leads to are orphans themselves. */
static bool orphan_rests(const kvi_rescue *s, const kvi_orphan *orphan)
{
    return orphan_left(s, orphan) && !orphan->catalog && (s->space || orphan->level == 0);
}

/* Trees of old versions that lack something. */
static int found_tell(kvi_rescue *s)
{
    const kvi_kept_key open = {0};
    int rc = KV_OK;
    for (size_t i = 0; rc == KV_OK && i < s->n_trees; i++) {
        const kvi_gap all = {.tree = i, .ptr.page = s->trees[i].unsure};
        if (all.ptr.page)
            rc = gap_tell_keys(s, &all, open, false, open, KVI_UNKNOWN);
    }
    return rc;
}

int kvi_gaps_rest(kvi_rescue *s)
{
    found_list list = {0};
    bool join = parent_lost(s);
    size_t next = s->n_gaps;
    int rc = KV_OK;
    for (size_t i = 0; rc == KV_OK && i < s->n_orphans; i++) {
        if (orphan_rests(s, &s->orphans[i]))
            rc = orphan_find_home(s, &list, &s->orphans[i], join);
        for (; rc == KV_OK && next < s->n_gaps; next++) /* found trees have gaps, too */
            rc = gap_fill(s, next);
    }
    s->os->free(s->os, list.at);
    return rc;
}

int kvi_gaps_tell(kvi_rescue *s)
{
    int rc = KV_OK;
    for (size_t i = 0; rc == KV_OK && i < s->n_gaps; i++)
        rc = gap_tell(s, &s->gaps[i]);
    return rc == KV_OK ? found_tell(s) : rc;
}
