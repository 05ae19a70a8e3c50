/* check.c - see check.h. */
#include "check.h"
#include "carve.h"
#include "codec.h"
#include "pairs.h"
#include "inspect.h"
#include "keep.h"
#include "node.h"
#include "pgset.h"
#include "walk.h"
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

#define PROBLEMS_MAX   100 /* more tell nothing new */
#define PROGRESS_EVERY 64  /* pages */
#define PATH_MAX_LEN   1200
#define TRIES          100 /* that others may drop snapshots meanwhile */
#define NO_SLOT        UINT_MAX

typedef struct check {
    kvi_file *file;
    kvi_inspection look;
    kvi_keep keep; /* the named snapshots */
    const kvi_meta *meta;
    kv_check_options options;
    kvi_pgset reached;
    kvi_pgset past;    /* of those, what only named snapshots use */
    kvi_sums sums;     /* over what is newer than meta->durable */
    uint64_t done;     /* pages */
    uint64_t reported; /* done when progress was last reported */
    uint64_t problems;
    bool unsealed; /* the seed is lost: no checksum can be verified */
    bool refused;  /* no open takes this commit: what it is, and what it seals, is reported apart */
    bool listless; /* the list of named snapshots cannot be read */
    uint64_t gaps; /* parts that could not be visited */
    kvi_entry entry; /* the newest one that the walk met */
    uint8_t *key, *fence;
    char first[320]; /* the first problem, for kv_db_errmsg */

    /* where a problem is: the walk that is under way, and the node on its way */
    const kvi_walk *walk; /* NULL: none */
    unsigned level;
    unsigned slot; /* of an entry there, or NO_SLOT */
    char path[PATH_MAX_LEN];
} check;

/* ---- where ---- */

KVI_PRINTF(3, 4) static void path_add(check *c, size_t *len, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(c->path + *len, sizeof c->path - *len, format, args);
    va_end(args);
    *len = KVI_MIN(*len + (size_t)KVI_MAX(n, 0), sizeof c->path - 1);
}

static void path_add_name(check *c, size_t *len, kvi_slice name)
{
    for (size_t i = 0; i < KVI_MIN(name.len, (size_t)64); i++) {
        uint8_t byte = name.ptr[i];
        path_add(c, len, byte < 0x20 || byte >= 0x7f || byte == '\\' ? "\\x%02x" : "%c", byte);
    }
    path_add(c, len, name.len > 64 ? "..." : "");
}

/* From the root of the tree that is visited to the node of c->level. */
static const char *check_path(check *c)
{
    static const char *const names[] = {"main tree", "catalog", "tree ", "snapshots tree"};
    const kvi_walked *tree = c->walk ? c->walk->tree : NULL;
    size_t len = 0;
    c->path[0] = 0;
    if (!tree)
        return c->path;
    if (c->walk->snapshot) {
        path_add(c, &len, "snapshot ");
        path_add_name(c, &len, c->walk->snapshot_name);
        path_add(c, &len, ", ");
    }
    path_add(c, &len, "%s", names[tree->kind]);
    path_add_name(c, &len, tree->name);
    path_add(c, &len, ":");
    for (unsigned up = tree->desc->level; up > c->level; up--)
        path_add(c, &len, " %llu@%u", (unsigned long long)tree->steps[up].ptr.page,
                 tree->steps[up].child);
    kvi_pgno page =
        c->level == tree->desc->level ? tree->desc->root.page : tree->steps[c->level].ptr.page;
    path_add(c, &len, " %llu", (unsigned long long)page);
    if (c->slot != NO_SLOT)
        path_add(c, &len, "@%u", c->slot);
    return c->path;
}

/* What is reported next is about this node, or about its newest entry. */
static void check_at(check *c, unsigned level)
{
    c->level = level;
    c->slot = NO_SLOT;
}

static void check_at_entry(check *c, const kvi_walked *tree, uint64_t met)
{
    c->level = 0;
    c->slot = (unsigned)(met - tree->steps[0].entries);
}

/* ---- reporting ---- */

static int check_tell(check *c, kvi_pgno page, const char *invariant, const char *message)
{
    kv_check_problem problem = {page, invariant, message, check_path(c)};
    if (c->options.problem && c->options.problem(c->options.context, &problem) != 0)
        return KV_ECANCELED;
    return KV_OK;
}

KVI_PRINTF(4, 5)
static int check_report(check *c, kvi_pgno page, const char *invariant, const char *format, ...)
{
    char message[sizeof c->first];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (c->problems++ == 0)
        snprintf(c->first, sizeof c->first, "%s", message);
    int rc = check_tell(c, page, invariant, message);
    if (rc != KV_OK || c->problems < PROBLEMS_MAX)
        return rc;
    rc = check_tell(c, 0, "", "there are too many problems to list: the check ends here");
    return rc == KV_OK ? KV_ECORRUPT : rc;
}

/* Reports what the handle's error text says. */
static int check_report_newest(check *c, kvi_pgno page, const char *invariant)
{
    char message[sizeof c->first];
    kvi_err_text(c->file->err, message, sizeof message);
    return check_report(c, page, invariant ? invariant : "", "%s", message);
}

static int check_progress(check *c, uint64_t pages)
{
    c->done += pages;
    if (!c->options.progress || c->done - c->reported < PROGRESS_EVERY)
        return KV_OK;
    c->reported = c->done;
    kv_progress progress = {KVI_MIN(c->done, c->meta->high_water), c->meta->high_water};
    return c->options.progress(c->options.context, &progress) == 0 ? KV_OK : KV_ECANCELED;
}

/* ---- nodes ---- */

/* T1: the separator that bounds a node from below or above; it stands in the nearest branch on the
 * way to the root that has one on this side. False: no bound. */
static bool check_fence(check *c, const kvi_walked *tree, unsigned level, bool above,
                        kvi_slice *fence)
{
    for (unsigned up = level + 1; up <= tree->desc->level; up++) {
        const kvi_walk_step *step = &tree->steps[up];
        if (above ? step->child == kvi_node_count(step->bytes) : step->child == 0)
            continue;
        unsigned separator = above ? step->child : step->child - 1;
        fence->ptr = c->fence;
        fence->len = kvi_node_key(step->bytes, c->meta->page_size, separator, c->fence);
        return true;
    }
    return false;
}

static int check_bounds(check *c, const kvi_walked *tree, unsigned level)
{
    const kvi_walk_step *step = &tree->steps[level];
    unsigned count = kvi_node_count(step->bytes);
    kvi_slice fence, key = {c->key, 0};
    if (count == 0)
        return KV_OK;
    key.len = kvi_node_key(step->bytes, c->meta->page_size, 0, c->key);
    if (check_fence(c, tree, level, false, &fence) && kvi_slice_compare(key, fence) < 0)
        return check_report(c, step->ptr.page, "T1",
                            "the first key of page %llu is smaller than the separator before it",
                            (unsigned long long)step->ptr.page);
    key.len = kvi_node_key(step->bytes, c->meta->page_size, count - 1, c->key);
    if (check_fence(c, tree, level, true, &fence) && kvi_slice_compare(key, fence) >= 0)
        return check_report(c, step->ptr.page, "T1",
                            "the last key of page %llu is not smaller than the separator behind it",
                            (unsigned long long)step->ptr.page);
    return KV_OK;
}

static int check_filled(check *c, const kvi_walked *tree, unsigned level)
{
    const kvi_walk_step *step = &tree->steps[level];
    bool root = level == tree->desc->level;
    if (kvi_node_count(step->bytes) > 0 || root == (level == 0))
        return KV_OK;
    return check_report(c, step->ptr.page, "T3",
                        root ? "the root, page %llu, is a branch with a single child"
                             : "page %llu is an empty leaf below a branch",
                        (unsigned long long)step->ptr.page);
}

/* False: somebody has been there. */
static bool check_reach(check *c, const kvi_walk *walk, kvi_pgno page, uint64_t pages)
{
    return kvi_pgset_add(&c->reached, page, pages) &&
           (!walk->snapshot || kvi_pgset_add(&c->past, page, pages));
}

static int check_page(kvi_walk *walk, kvi_ptr ptr, const uint8_t *bytes)
{
    check *c = walk->context;
    const kvi_walked *tree = walk->tree;
    int rc = check_progress(c, 1);
    check_at(c, bytes[KVI_P_level]);
    if (rc != KV_OK)
        return rc;
    if (!check_reach(c, walk, ptr.page, 1)) {
        if (!walk->snapshot)
            rc = check_report(c, ptr.page, "S1", "page %llu is used twice",
                              (unsigned long long)ptr.page);
        return rc == KV_OK ? KVI_WALK_SKIP : rc;
    }
    if (ptr.birth > c->meta->durable) {
        c->sums.seal += kvi_get64(bytes + KVI_P_checksum);
        c->sums.walk += c->meta->page_size;
    }
    if (!tree)
        return KV_OK;
    rc = check_filled(c, tree, bytes[KVI_P_level]);
    return rc == KV_OK ? check_bounds(c, tree, bytes[KVI_P_level]) : rc;
}

/* T8 */
static int check_expiry(check *c, kvi_pgno page, const char *what, uint64_t says, uint64_t found)
{
    if (says == found)
        return KV_OK;
    return check_report(c, page, "T8", "the least expiry %s is %llu, not %llu", what,
                        (unsigned long long)found, (unsigned long long)says);
}

/* T2, T8 */
static int check_leave(kvi_walk *walk, unsigned level)
{
    check *c = walk->context;
    const kvi_walked *tree = walk->tree;
    const kvi_walk_step *step = &tree->steps[level], *parent = step + 1;
    if (level == tree->desc->level || tree->gaps != step->gaps)
        return KV_OK;
    check_at(c, level + 1);
    c->slot = parent->child;
    uint64_t expiry = kvi_branch_expiry(parent->bytes, c->meta->page_size, parent->child);
    int rc = check_expiry(c, parent->ptr.page, "below a child", expiry, step->expiry);
    if (rc != KV_OK)
        return rc;
    uint64_t tally = kvi_branch_tally(parent->bytes, c->meta->page_size, parent->child);
    uint64_t found = tree->entries - step->entries;
    if (tally == found)
        return KV_OK;
    return check_report(c, parent->ptr.page, "T2",
                        "the tally of child %u, page %llu, is %llu, but it has %llu entries",
                        parent->child, (unsigned long long)step->ptr.page,
                        (unsigned long long)tally, (unsigned long long)found);
}

/* ---- values ---- */

/* V4 */
static int check_expand(check *c, kvi_pgno page, kvi_slice stored)
{
    const kvi_os *os = c->file->os;
    const kvi_entry *entry = &c->entry;
    uint8_t *raw = NULL;
    bool ok = kvi_codec_plausible(entry->codec, stored.len, entry->raw_len);
    if (ok) {
        raw = os->alloc(os, (size_t)entry->raw_len + 1);
        if (!raw)
            return kvi_fail(c->file->err, KV_ENOMEM, "no memory to decompress a value");
        ok = kvi_codec_decompress(entry->codec, stored, raw, (size_t)entry->raw_len);
    }
    os->free(os, raw);
    if (ok)
        return KV_OK;
    return check_report(c, page, "V4", "a value does not decompress to its %llu bytes",
                        (unsigned long long)entry->raw_len);
}

static int check_entry(kvi_walk *walk, kvi_slice key, kvi_stored value)
{
    check *c = walk->context;
    if ((walk->tree->desc->flags & KVI_TREE_MULTI) &&
        (value.special || !kvi_pairs_entry(key, value.bytes))) {
        check_at_entry(c, walk->tree, walk->tree->entries);
        return check_report(c, walk->tree->steps[0].ptr.page, "T7",
                            "an entry of a multi-value tree is no pair");
    }
    if (!value.special || !kvi_entry_parse(value, &c->entry))
        return KV_OK; /* the walk reports what cannot be parsed */
    if ((c->entry.flags & (KVI_ENTRY_COMPRESSED | KVI_ENTRY_LARGE)) != KVI_ENTRY_COMPRESSED)
        return KV_OK;
    check_at_entry(c, walk->tree, walk->tree->entries);
    return check_expand(c, walk->tree->steps[0].ptr.page, c->entry.payload);
}

static int check_collect(void *context, uint64_t offset, const uint8_t *bytes, size_t len)
{
    memcpy((uint8_t *)context + offset, bytes, len);
    return KV_OK;
}

/* Reads a large value; a compressed one also into memory, to be expanded. */
static int check_run(check *c, const kvi_large *large)
{
    const kvi_os *os = c->file->os;
    uint8_t *stored = NULL;
    bool compressed = c->entry.flags & KVI_ENTRY_COMPRESSED;
    if (compressed && !(stored = os->alloc(os, (size_t)large->stored_len)))
        return kvi_fail(c->file->err, KV_ENOMEM, "no memory to read a compressed value");
    int rc = kvi_walk_large(c->file, large, stored ? check_collect : NULL, stored);
    if (rc == KV_OK && compressed)
        rc = check_expand(c, large->ptr.page, kvi_slice_of(stored, (size_t)large->stored_len));
    os->free(os, stored);
    return rc;
}

/* M2: the file ends before these pages do. */
static bool check_behind(const check *c, kvi_pgno page, uint64_t pages)
{
    return (page + pages) << c->file->page_shift > kvi_file_known(c->file);
}

static int check_large(kvi_walk *walk, const kvi_large *large, const kvi_ptr *leaf)
{
    check *c = walk->context;
    (void)leaf;
    int rc = check_progress(c, large->pages);
    check_at_entry(c, walk->tree, walk->tree->entries - 1);
    if (rc != KV_OK)
        return rc;
    if (!check_reach(c, walk, large->ptr.page, large->pages)) {
        if (walk->snapshot)
            return KV_OK;
        return check_report(c, large->ptr.page, "S1",
                            "pages of the large value at page %llu are used twice",
                            (unsigned long long)large->ptr.page);
    }
    if (large->ptr.birth > c->meta->durable)
        c->sums.walk += large->pages * c->meta->page_size;
    uint64_t problems = c->problems;
    rc = c->unsealed ? KV_OK : check_run(c, large);
    if (c->problems != problems || (rc != KV_ECORRUPT && rc != KV_EIO))
        return rc;
    const char *invariant = check_behind(c, large->ptr.page, large->pages) ? "M2" : "V3";
    return check_report_newest(c, large->ptr.page, rc == KV_ECORRUPT ? invariant : NULL);
}

/* ---- trees ---- */

static int check_number(check *c, const kvi_walked *tree, const char *what, uint64_t says,
                        uint64_t found)
{
    static const char *const names[] = {"main tree", "catalog", "tree", "snapshots tree"};
    if (says == found)
        return KV_OK;
    return check_report(c, tree->desc->root.page, "T5", "the %s%s%.*s has %llu %s, not %llu",
                        names[tree->kind], tree->name.len ? " " : "",
                        (int)KVI_MIN(tree->name.len, (size_t)64), (const char *)tree->name.ptr,
                        (unsigned long long)found, what, (unsigned long long)says);
}

/* T5, T8 */
static int check_done(kvi_walk *walk)
{
    check *c = walk->context;
    const kvi_walked *tree = walk->tree;
    const kvi_tree_desc *desc = tree->desc;
    if (tree->gaps)
        return KV_OK;
    check_at(c, desc->level);
    int rc = check_number(c, tree, "entries", desc->entries, tree->entries);
    if (rc == KV_OK)
        rc = check_number(c, tree, "leaf pages", desc->leaf_pages, tree->leaf_pages);
    if (rc == KV_OK)
        rc = check_number(c, tree, "branch pages", desc->branch_pages, tree->branch_pages);
    if (rc == KV_OK)
        rc = check_number(c, tree, "pages of large values", desc->large_pages, tree->large_pages);
    if (rc == KV_OK)
        rc = check_expiry(c, desc->root.page, "of the tree", desc->min_expiry,
                          desc->root.page ? tree->steps[desc->level].expiry : 0);
    return rc;
}

static int check_broken(kvi_walk *walk, kvi_ptr ptr, unsigned level, int rc)
{
    check *c = walk->context;
    const char *invariant = walk->invariant;
    c->gaps++;
    if (!invariant && rc == KV_ECORRUPT && check_behind(c, ptr.page, 1))
        invariant = "M2";
    check_at(c, level);
    if (invariant && (invariant[0] == 'V' || invariant[0] == 'C'))
        check_at_entry(c, walk->tree, walk->tree->entries - 1);
    return check_report_newest(c, ptr.page, invariant);
}

/* ---- space and meta ---- */

static int check_state(check *c, kvi_pgno page)
{
    enum kvi_page_state state = kvi_space_state(c->look.space, page);
    bool reached = kvi_pgset_has(&c->reached, page);
    if (kvi_pgset_has(&c->past, page)) /* below a gap there may be what the present has as well */
        return state == KVI_PAGE_DEAD || (state == KVI_PAGE_USED && c->gaps > 0)
                   ? KV_OK
                   : check_report(c, page, "S1", "page %llu is a snapshot's, but recorded as %s",
                                  (unsigned long long)page,
                                  state == KVI_PAGE_FREE ? "free" : "in use");
    if (reached && state != KVI_PAGE_USED)
        return check_report(c, page, "S1", "page %llu is in use, but recorded as %s",
                            (unsigned long long)page, state == KVI_PAGE_FREE ? "free" : "dead");
    if (!reached && state == KVI_PAGE_USED && c->gaps == 0)
        return check_report(c, page, "S1", "page %llu is leaked: neither in use nor free",
                            (unsigned long long)page);
    return KV_OK;
}

static int check_load_space(check *c)
{
    kvi_meta meta = *c->meta;
    if (!c->refused)
        return kvi_inspect_space(&c->look);
    meta.durable = meta.id; /* damage there is no reason to give up */
    return kvi_space_load(&c->look.space, c->file, &meta);
}

static int check_space(check *c)
{
    if (c->refused && check_behind(c, c->meta->high_water, 0))
        return KV_OK; /* that is reported, and says enough */
    int rc = check_load_space(c);
    if (rc == KV_ECORRUPT || (rc == KV_OK && kvi_space_unknown(c->look.space)))
        return check_report(c, 0, "S1", "the records of free pages are damaged");
    for (kvi_pgno page = kvi_first_page(c->meta->page_size);
         rc == KV_OK && page < c->meta->high_water; page++)
        rc = check_state(c, page);
    return rc;
}

static int check_meta(check *c)
{
    const kvi_meta *meta = c->meta;
    if (c->gaps || c->refused || meta->durable == meta->id ||
        (c->sums.seal == meta->seal && c->sums.walk == meta->walk))
        return KV_OK;
    return check_report(c, 0, "M1", "the seal of commit %llu is not that of its pages",
                        (unsigned long long)meta->id);
}

static int check_all(check *c)
{
    kvi_walk walk = {
        .file = c->file,
        .meta = c->meta,
        .budget = UINT64_MAX,
        .unsealed = c->unsealed,
        .page = check_page,
        .leave = check_leave,
        .large = check_large,
        .entry = check_entry,
        .done = check_done,
        .broken = check_broken,
        .context = c,
    };
    c->walk = &walk;
    int rc = kvi_walk_all(&walk);
    c->walk = NULL;
    if (rc == KV_OK && c->listless && c->problems == 0)
        rc = check_report(c, c->meta->snapshots.root.page, "C1",
                          "the list of named snapshots cannot be read");
    if (rc == KV_OK)
        rc = check_meta(c);
    if (rc == KV_OK)
        rc = check_space(c);
    if (rc != KV_OK)
        return rc;
    c->reported = 0;
    c->done = KVI_MAX(c->meta->high_water, (uint64_t)PROGRESS_EVERY);
    return check_progress(c, 0);
}

static int check_prepare(check *c)
{
    const kvi_os *os = c->file->os;
    c->key = os->alloc(os, c->meta->page_size); /* a page has room for a key */
    c->fence = os->alloc(os, c->meta->page_size);
    int rc = kvi_pgset_init(&c->reached, os, c->meta->high_water);
    if (rc == KV_OK)
        rc = kvi_pgset_init(&c->past, os, c->meta->high_water);
    if (rc != KV_OK || !c->key || !c->fence)
        return kvi_fail(c->file->err, KV_ENOMEM, "no memory for the check");
    return KV_OK;
}

/* The newest commit, with the snapshots that it lists. A damaged list is walked, and reported, without
 * them. */
static int check_begin(check *c, kv_db *db)
{
    int rc = KV_MISMATCH;
    for (int tries = 0; rc == KV_MISMATCH && tries < TRIES; tries++) {
        rc = kvi_inspect_begin(db, &c->look);
        if (rc != KV_OK)
            return rc;
        rc = kvi_keep_begin(&c->keep, c->look.txn);
        c->listless = rc == KV_ECORRUPT;
        if (c->listless)
            return KV_OK;
        if (rc != KV_OK)
            kvi_inspect_end(&c->look);
    }
    return rc == KV_MISMATCH
               ? kvi_fail(&db->err, KV_EBUSY, "the list of snapshots changes too fast")
               : rc;
}

static void check_end(check *c)
{
    kvi_pgset_close(&c->reached);
    kvi_pgset_close(&c->past);
    c->file->os->free(c->file->os, c->key);
    c->file->os->free(c->file->os, c->fence);
}

/* What is told of a check as a whole. */
static int check_conclude(const check *c, int rc)
{
    if (rc == KV_ECANCELED)
        return kvi_fail(c->file->err, rc, "the check was stopped");
    if (rc == KV_OK && c->problems)
        rc = KV_ECORRUPT;
    return rc == KV_ECORRUPT ? kvi_fail(c->file->err, rc, "%llu problems; the first: %s",
                                        (unsigned long long)c->problems, c->first)
                             : rc;
}

int kvi_check(kv_db *db, const kv_check_options *options)
{
    check c = {.file = &db->file, .meta = &c.look.meta, .options = *options};
    int rc = check_begin(&c, db);
    if (rc != KV_OK)
        return rc;
    rc = check_prepare(&c);
    if (rc == KV_OK)
        rc = check_all(&c);
    kvi_inspect_end(&c.look);
    kvi_keep_end(&c.keep, db);
    check_end(&c);
    return check_conclude(&c, rc);
}

/* ---- a file that no open takes ---- */

/* The second meta is a page or more behind the first. */
static kvi_pgno meta_page(const check *c, unsigned slot)
{
    return slot * kvi_meta_stride(c->meta->page_size) >> c->file->page_shift;
}

/* M0: is one of the metas whole? */
static int check_metas(check *c, const kvi_carve *carve)
{
    int rc = KV_OK;
    for (unsigned slot = 0; rc == KV_OK && slot < 2; slot++)
        if (carve->state[slot] != KVI_META_VALID)
            rc = check_report(c, meta_page(c, slot), "M0", "meta %u is not sound: %s", slot,
                              kvi_meta_unsound(carve->state[slot]));
    return rc;
}

/* M1, M2 of the newest commit. */
static int check_commit(check *c, const kvi_carve *carve)
{
    const kvi_meta *meta = &carve->slots.meta[carve->slot];
    if (carve->trust == KVI_TRUST_NONE)
        return KV_OK;
    if (meta->high_water > carve->pages)
        return check_report(c, carve->pages, "M2",
                            "the commit has %llu pages, but the file ends after %llu",
                            (unsigned long long)meta->high_water, (unsigned long long)carve->pages);
    if (carve->trust != KVI_TRUST_SLOT)
        return KV_OK;
    return check_report(c, meta_page(c, carve->slot), "M1",
                        "commit %llu is not whole, and the commit before it is not there",
                        (unsigned long long)meta->id);
}

static int check_scanned(void *context, uint64_t pages)
{
    return check_progress(context, pages);
}

/* Nothing tells which pages are in use: each one by itself, where it has a header. */
static int check_each(check *c, kvi_carve *carve)
{
    int rc = kvi_carve_scan(carve, check_scanned, c);
    for (kvi_pgno page = 0; rc == KV_OK && page < carve->pages; page++) {
        unsigned broken = carve->carved[page].broken;
        char invariant[] = {'N', (char)('0' + broken), 0};
        if (broken)
            rc = check_report(c, page, invariant, "page %llu breaks invariant %s",
                              (unsigned long long)page, invariant);
    }
    return rc;
}

int kvi_check_carved(kvi_carve *carve, const kv_check_options *options)
{
    check c = {
        .file = &carve->file,
        .meta = &c.look.meta,
        .look.meta = carve->meta,
        .options = *options,
        .unsealed = !carve->seeded,
        .refused = true,
    };
    int rc = check_prepare(&c);
    if (rc == KV_OK && (carve->trust < KVI_TRUST_SLOT))
        rc = check_metas(&c, carve);
    if (rc == KV_OK)
        rc = check_commit(&c, carve);
    if (rc == KV_OK)
        rc = carve->trust != KVI_TRUST_NONE ? check_all(&c) : check_each(&c, carve);
    if (c.look.space)
        kvi_space_close(c.look.space);
    check_end(&c);
    return check_conclude(&c, rc);
}
