/* salvage_orphan.c - subtrees that nothing sound leads to: see salvage.h. */
#include "node.h"
#include "pairs.h"
#include "salvage_impl.h"
#include "tree.h"
#include <stdlib.h>

/* ---- what is below a node ---- */

typedef struct measure {
    kvi_rescue *s;
    kvi_pgset *seen;  /* pages below nodes that were measured, those of large values included */
    kvi_pgset *roots; /* that catalogs name; may be NULL */
    kvi_stretch keys;
    uint64_t entries, trees; /* met; of those, entries that describe a tree */
    uint64_t names;          /* ... a named snapshot */
    kvi_id kept;             /* the newest root of the main tree among those of named snapshots */
    uint64_t pairs;          /* ... a pair of a multi-value tree */
    bool rooted;             /* one of those trees is there */
} measure;

static int measure_page(kvi_walk *walk, kvi_ptr ptr, const uint8_t *bytes)
{
    measure *m = walk->context;
    (void)bytes;
    kvi_pgset_add(m->seen, ptr.page, 1); /* a second time: another orphan shares it */
    return KV_OK;
}

static int measure_large(kvi_walk *walk, const kvi_large *large, const kvi_ptr *leaf)
{
    measure *m = walk->context;
    (void)leaf;
    kvi_pgset_add(m->seen, large->ptr.page, large->pages);
    return KV_OK;
}

static void measure_tree(kvi_walk *walk, kvi_stored value)
{
    measure *m = walk->context;
    kvi_tree_desc desc;
    if (!kvi_stored_tree(value, walk->file->page_size, walk->meta->high_water,
                         walk->tree->steps[0].ptr.birth, &desc))
        return;
    m->trees++;
    if (!kvi_carve_holds(&m->s->carve, desc.root, desc.level))
        return;
    m->rooted = true;
    if (m->roots)
        kvi_pgset_add(m->roots, desc.root.page, 1);
}

static void measure_snapshot(measure *m, kvi_stored value)
{
    kvi_named named;
    if (!kvi_salvage_names(m->s, value, &named))
        return;
    m->names++;
    m->kept = KVI_MAX(m->kept, named.main.root.birth);
}

static int measure_entry(kvi_walk *walk, kvi_slice key, kvi_stored value)
{
    measure *m = walk->context;
    const kvi_os *os = m->s->os;
    int rc = KV_OK;
    if (m->entries++ == 0)
        rc = kvi_salvage_keep(m->s, key, &m->keys.first);
    os->free(os, m->keys.last.ptr);
    m->keys.last = (kvi_kept_key){0};
    measure_tree(walk, value);
    m->pairs += !value.special && kvi_pairs_entry(key, value.bytes);
    measure_snapshot(m, value);
    return rc == KV_OK ? kvi_salvage_keep(m->s, key, &m->keys.last) : rc;
}

static int measure_broken(kvi_walk *walk, kvi_ptr ptr, unsigned level, int rc)
{
    (void)walk;
    (void)ptr;
    (void)level;
    (void)rc;
    return KV_OK;
}

static int measure_elsewhere(kvi_walk *walk, kvi_ptr ptr, uint8_t *buf)
{
    const measure *m = walk->context;
    return kvi_salvage_elsewhere(m->s, ptr, buf);
}

/* The budget is for hostile files, whose subtrees share pages. */
static int measure_below(measure *m, kvi_ptr ptr, unsigned level, enum kvi_walk_kind kind)
{
    kvi_carve *carve = &m->s->carve;
    kvi_walk walk = {
        .file = &carve->file,
        .meta = &carve->meta,
        .budget = (carve->pages + 1) << carve->file.page_shift,
        .unsealed = !carve->seeded,
        .page = measure_page,
        .large = measure_large,
        .entry = measure_entry,
        .broken = measure_broken,
        .elsewhere = measure_elsewhere,
        .context = m,
    };
    kvi_tree_desc desc = {.root = ptr, .level = (uint8_t)level};
    kvi_slice none = {NULL, 0};
    int rc = kvi_walk_tree(&walk, &desc, kind, none);
    return rc == KV_ECORRUPT ? KV_OK : rc;
}

static void measure_end(measure *m)
{
    m->s->os->free(m->s->os, m->keys.first.ptr);
    m->s->os->free(m->s->os, m->keys.last.ptr);
    m->keys = (kvi_stretch){0};
}

static bool measured_descriptors(const measure *m)
{
    return m->entries > 0 && m->trees == m->entries;
}

/* Descriptors alone could be a user's values. */
static bool measured_catalog(const measure *m)
{
    return measured_descriptors(m) && m->rooted;
}

/* A list of named snapshots, this or an older one, has no entry of a tree. */
static bool measured_names(const measure *m)
{
    return m->entries > 0 && m->names == m->entries;
}

/* ---- who leads to whom ---- */

typedef bool node_filter(const kvi_rescue *s, kvi_pgno page);

/* Marks the nodes that a branch leads to; of both, only those that the filter lets through. */
static void mark_children(kvi_rescue *s, node_filter *wanted, kvi_pgset *led_to)
{
    kvi_carve *carve = &s->carve;
    uint32_t page_size = carve->file.page_size;
    for (kvi_pgno page = 0; page < carve->pages; page++) {
        unsigned level = carve->carved[page].level;
        if (level == 0 || !wanted(s, page) || kvi_carve_read(carve, page, carve->buffer) != KV_OK)
            continue;
        for (unsigned i = 0; i <= kvi_node_count(carve->buffer); i++) {
            kvi_ptr child = kvi_branch_child(carve->buffer, page_size, i);
            if (kvi_carve_holds(carve, child, level - 1) && wanted(s, child.page))
                kvi_pgset_add(led_to, child.page, 1);
        }
    }
}

static bool node_any(const kvi_rescue *s, kvi_pgno page)
{
    return kvi_carved_node(&s->carve.carved[page]);
}

/* Does the newest commit still count on what stood there? */
static bool page_lost(const kvi_rescue *s, kvi_pgno page)
{
    if (kvi_pgset_has(&s->reached, page))
        return false;
    return !s->space ||
           (page < s->carve.meta.high_water && kvi_space_state(s->space, page) == KVI_PAGE_USED);
}

static bool node_lost(const kvi_rescue *s, kvi_pgno page)
{
    const kvi_carved *carved = &s->carve.carved[page];
    return kvi_carved_node(carved) && carved->birth <= s->carve.meta.id && page_lost(s, page);
}

/* ---- the list ---- */

static int orphan_add(kvi_rescue *s, kvi_pgset *seen, kvi_pgno page)
{
    const kvi_carved *carved = &s->carve.carved[page];
    kvi_orphan orphan = {.ptr = {page, carved->birth}, .level = carved->level};
    measure m = {.s = s, .seen = seen};
    int rc = measure_below(&m, orphan.ptr, orphan.level, KVI_WALK_NAMED);
    kvi_orphan *orphans =
        kvi_os_room(s->os, s->orphans, &s->orphans_cap, s->n_orphans + 1, sizeof *orphans);
    if (orphans)
        s->orphans = orphans;
    if (rc == KV_OK && !orphans)
        rc = kvi_fail(&s->carve.err, KV_ENOMEM, "no memory to list pages");
    if (rc == KV_OK && m.entries > 0)
        rc = kvi_carve_read(&s->carve, page, s->carve.buffer);
    if (rc != KV_OK || m.entries == 0 || measured_names(&m)) { /* nothing to be had */
        measure_end(&m);
        return rc == KV_EIO || rc == KV_ECORRUPT ? KV_OK : rc;
    }
    orphan.entries = kvi_node_total(s->carve.buffer, s->carve.file.page_size);
    orphan.keys = m.keys;
    orphan.catalog = measured_catalog(&m);
    orphan.describes = measured_descriptors(&m);
    orphan.pairs = m.pairs == m.entries;
    s->orphans[s->n_orphans++] = orphan;
    return KV_OK;
}

static int orphan_newest_first(const void *a, const void *b)
{
    const kvi_orphan *x = a, *y = b;
    if (x->ptr.birth != y->ptr.birth)
        return x->ptr.birth > y->ptr.birth ? -1 : 1;
    return (x->ptr.page > y->ptr.page) - (x->ptr.page < y->ptr.page);
}

/* Sets of all pages, for a moment. */
static int sets_open(kvi_rescue *s, kvi_pgset *a, kvi_pgset *b)
{
    kvi_pgno limit = KVI_MAX(s->carve.pages, s->carve.meta.high_water);
    int rc = kvi_pgset_init(a, s->os, limit);
    if (rc == KV_OK)
        rc = kvi_pgset_init(b, s->os, limit);
    return rc == KV_OK ? KV_OK : kvi_fail(&s->carve.err, rc, "no memory to look at all pages");
}

/* ---- remains ---- */

/* Does a tree descriptor begin with this pointer to the orphan? */
static bool remains_descriptor(const kvi_carve *carve, const kvi_orphan *orphan, uint32_t at)
{
    const uint8_t *bytes = carve->buffer + at;
    return at + KVI_TREE_SIZE <= carve->file.page_size && bytes[KVI_T_level] == orphan->level &&
           kvi_get64(bytes + KVI_T_entries) == orphan->entries;
}

/* Wherever a pointer may stand in what is left of the page. Births make it certain: no page but a
 * parent has this pair of numbers. False: there is none. */
static bool remains_read(kvi_rescue *s, kvi_pgno page)
{
    kvi_carve *carve = &s->carve;
    bool any = false;
    if (page >= carve->pages || kvi_carve_read(carve, page, carve->buffer) != KV_OK)
        return false;
    for (uint32_t at = 0; at + KVI_PTR_SIZE <= carve->file.page_size; at++) {
        kvi_ptr ptr = kvi_ptr_get(carve->buffer + at);
        if (ptr.page >= carve->pages || ptr.birth == 0 || !s->orphan_at[ptr.page])
            continue;
        kvi_orphan *orphan = &s->orphans[s->orphan_at[ptr.page] - 1];
        if (orphan->ptr.birth != ptr.birth)
            continue;
        any = true;
        orphan->root |= remains_descriptor(carve, orphan, at);
        if (orphan->mentions || orphan->root)
            continue;
        orphan->mentions = page;
        orphan->at = at;
    }
    return any;
}

/* Where the first and last child stand on a page that is still recognisable as the branch. */
static void remains_edges(const kvi_rescue *s, kvi_gap *gap, const uint8_t *bytes)
{
    uint32_t n = kvi_get16(bytes + KVI_P_count), fixed = kvi_get16(bytes + KVI_P_fixed_key);
    uint32_t heads = kvi_form_heads(kvi_get16(bytes + KVI_P_hint_stride) > 0);
    uint32_t first = heads + 4 * n + (fixed >= 1 && fixed <= 5 ? 0 : 2 * n);
    uint32_t last = first + KVI_PTR_SIZE * n;
    if (kvi_get64(bytes + KVI_P_page) != gap->ptr.page || bytes[KVI_P_type] != KVI_BRANCH ||
        kvi_get64(bytes + KVI_P_birth) != gap->ptr.birth || bytes[KVI_P_level] != gap->level ||
        last + KVI_PTR_SIZE > s->carve.file.page_size)
        return;
    gap->first_at = first;
    gap->last_at = last;
}

/* Descriptors below a branch of the catalog are no user's values, whether or not their trees are there. */
static void orphans_described(kvi_rescue *s)
{
    for (size_t i = 0; i < s->n_gaps; i++)
        for (size_t k = 0; s->gaps[i].tree == KVI_NO_TREE && k < s->n_orphans; k++)
            if (s->orphans[k].mentions == s->gaps[i].ptr.page)
                s->orphans[k].catalog |= s->orphans[k].describes;
}

static void orphans_mentioned(kvi_rescue *s, const kvi_pgset *seen)
{
    kvi_pgno page = kvi_first_page(s->carve.file.page_size);
    for (size_t i = 0; i < s->n_gaps; i++)
        if (remains_read(s, s->gaps[i].ptr.page))
            remains_edges(s, &s->gaps[i], s->carve.buffer);
    for (; page < s->carve.pages; page++) {
        const kvi_carved *carved = &s->carve.carved[page];
        bool sound = carved->birth && !carved->broken;
        if (!sound && page_lost(s, page) && !kvi_pgset_has(seen, page) && !kvi_gaps_have(s, page) &&
            !remains_read(s, page))
            s->wiped = true;
    }
}

/* Branches that the remains of a gap's page lead to. */
static void mark_mentioned(kvi_rescue *s, kvi_pgset *mentioned)
{
    kvi_carve *carve = &s->carve;
    for (size_t i = 0; i < s->n_gaps; i++) {
        const kvi_gap *gap = &s->gaps[i];
        if (gap->level < 2 || kvi_carve_read(carve, gap->ptr.page, carve->buffer) != KV_OK)
            continue;
        for (uint32_t at = 0; at + KVI_PTR_SIZE <= carve->file.page_size; at++) {
            kvi_ptr ptr = kvi_ptr_get(carve->buffer + at);
            if (kvi_carve_holds(carve, ptr, gap->level - 1))
                kvi_pgset_add(mentioned, ptr.page, 1);
        }
    }
}

/* Where old versions lie about, a branch would bring back an old tree: unless it is known whose child it
 * is, its leaves count one by one. */
static int orphans_list(kvi_rescue *s, kvi_pgset *marked, kvi_pgset *seen)
{
    int rc = KV_OK;
    if (s->space)
        mark_children(s, node_lost, marked);
    else
        mark_mentioned(s, marked);
    for (kvi_pgno page = 0; rc == KV_OK && page < s->carve.pages; page++) {
        bool is_marked = kvi_pgset_has(marked, page);
        bool top = s->space ? !is_marked : is_marked || s->carve.carved[page].level == 0;
        if (top && node_lost(s, page))
            rc = orphan_add(s, seen, page);
    }
    return rc;
}

/* Newest first, and by page. */
static int orphans_order(kvi_rescue *s)
{
    size_t size = (size_t)s->carve.pages * sizeof *s->orphan_at;
    s->orphan_at = s->os->alloc(s->os, size);
    if (!s->orphan_at)
        return kvi_fail(&s->carve.err, KV_ENOMEM, "no memory to list pages");
    memset(s->orphan_at, 0, size);
    qsort(s->orphans, s->n_orphans, sizeof *s->orphans, orphan_newest_first);
    for (size_t i = 0; i < s->n_orphans; i++)
        s->orphan_at[s->orphans[i].ptr.page] = i + 1;
    return KV_OK;
}

int kvi_orphans_find(kvi_rescue *s)
{
    kvi_pgset marked = {0}, seen = {0};
    int rc = kvi_carve_scan(&s->carve, kvi_salvage_step, s);
    if (rc == KV_OK)
        rc = sets_open(s, &marked, &seen);
    if (rc == KV_OK)
        rc = orphans_list(s, &marked, &seen);
    if (rc == KV_OK && s->n_orphans)
        rc = orphans_order(s);
    if (rc == KV_OK && s->n_orphans) {
        orphans_mentioned(s, &seen);
        orphans_described(s);
    }
    kvi_pgset_close(&marked);
    kvi_pgset_close(&seen);
    return rc;
}

/* ---- without a meta ---- */

typedef struct root_search {
    kvi_rescue *s;
    kvi_pgset led_to; /* by any branch */
    kvi_pgset roots;  /* named by any catalog */
    kvi_pgset seen;   /* below the newest catalog and its trees */
    kvi_pgset scrap;
    kvi_id kept;  /* the newest root of the main tree that a named snapshot keeps; 0: none */
    kvi_id since; /* younger pages are newer versions of the main tree than that one */
} root_search;

/* Commits without a new catalog changed the main tree alone: what is younger than catalog and snapshot
 * is the main tree's, however small it has become. Else the higher one is, since a lower one may be but
 * a part whose root is gone. */
static bool root_newer(const root_search *r, kvi_pgno page, kvi_pgno than)
{
    const kvi_carved *a = &r->s->carve.carved[page], *b = &r->s->carve.carved[than];
    bool a_since = a->birth > r->since, b_since = b->birth > r->since;
    if (than == 0 || a_since != b_since)
        return than == 0 || a_since;
    return a->level == b->level ? a->birth > b->birth : a->level > b->level;
}

static bool root_top(const root_search *r, kvi_pgno page)
{
    return node_any(r->s, page) && !kvi_pgset_has(&r->led_to, page);
}

/* The newest top whose entries describe trees; 0: none. */
static int root_of_catalog(root_search *r, kvi_pgno *catalog)
{
    kvi_carve *carve = &r->s->carve;
    int rc = KV_OK;
    *catalog = 0;
    for (kvi_pgno page = 0; rc == KV_OK && page < carve->pages; page++) {
        measure m = {.s = r->s, .seen = &r->scrap, .roots = &r->roots};
        const kvi_carved *carved = &carve->carved[page];
        if (!root_top(r, page))
            continue;
        rc = measure_below(&m, (kvi_ptr){page, carved->birth}, carved->level, KVI_WALK_NAMED);
        bool describes = measured_catalog(&m);
        if (describes || measured_names(&m))
            kvi_pgset_add(&r->roots, page, 1);
        if (measured_names(&m))
            r->kept = KVI_MAX(r->kept, m.kept);
        if (describes && (*catalog == 0 || carved->birth > carve->carved[*catalog].birth))
            *catalog = page;
        measure_end(&m);
    }
    return rc;
}

/* Does a branch lead to a page of the newest named trees? Then it is an older version of one. */
static bool root_shared(const root_search *r, kvi_pgno page)
{
    kvi_carve *carve = &r->s->carve;
    unsigned level = carve->carved[page].level;
    if (level == 0 || kvi_carve_read(carve, page, carve->buffer) != KV_OK)
        return false;
    for (unsigned i = 0; i <= kvi_node_count(carve->buffer); i++) {
        kvi_ptr child = kvi_branch_child(carve->buffer, carve->file.page_size, i);
        if (kvi_carve_holds(carve, child, level - 1) && kvi_pgset_has(&r->seen, child.page))
            return true;
    }
    return false;
}

static kvi_tree_desc root_desc(const kvi_rescue *s, kvi_pgno page)
{
    const kvi_carved *carved = &s->carve.carved[page];
    if (page == 0)
        return (kvi_tree_desc){.entries = KVI_UNKNOWN};
    return (kvi_tree_desc){
        .root = {page, carved->birth}, .level = carved->level, .entries = KVI_UNKNOWN};
}

static int root_choose(root_search *r)
{
    kvi_rescue *s = r->s;
    kvi_pgno catalog, main = 0;
    measure m = {.s = s, .seen = &r->seen};
    mark_children(s, node_any, &r->led_to);
    int rc = root_of_catalog(r, &catalog);
    if (rc == KV_OK && catalog)
        rc = measure_below(&m, root_desc(s, catalog).root, s->carve.carved[catalog].level,
                           KVI_WALK_CATALOG);
    measure_end(&m);
    if (rc != KV_OK)
        return rc;
    r->since = r->kept ? KVI_MAX(r->kept, s->carve.carved[catalog].birth) : UINT64_MAX;
    for (kvi_pgno page = 0; page < s->carve.pages; page++)
        if (root_top(r, page) && !kvi_pgset_has(&r->roots, page) &&
            !kvi_pgset_has(&r->seen, page) && root_newer(r, page, main) && !root_shared(r, page))
            main = page;
    s->carve.meta.main = root_desc(s, main);
    s->carve.meta.catalog = root_desc(s, catalog);
    s->carve.meta.id = s->carve.newest;
    s->carve.meta.durable = s->carve.newest;
    if (catalog)
        kvi_salvage_note(s, "page %llu (birth %llu) is taken for the root of the catalog",
                         (unsigned long long)catalog,
                         (unsigned long long)s->carve.carved[catalog].birth);
    if (main)
        kvi_salvage_note(s, "page %llu (birth %llu) is taken for the root of the main tree",
                         (unsigned long long)main, (unsigned long long)s->carve.carved[main].birth);
    return KV_OK;
}

int kvi_orphans_roots(kvi_rescue *s)
{
    root_search r = {.s = s};
    int rc = kvi_carve_scan(&s->carve, kvi_salvage_step, s);
    if (rc == KV_OK)
        rc = sets_open(s, &r.led_to, &r.roots);
    if (rc == KV_OK)
        rc = sets_open(s, &r.seen, &r.scrap);
    if (rc == KV_OK)
        rc = root_choose(&r);
    kvi_pgset_close(&r.led_to);
    kvi_pgset_close(&r.roots);
    kvi_pgset_close(&r.seen);
    kvi_pgset_close(&r.scrap);
    return rc;
}
