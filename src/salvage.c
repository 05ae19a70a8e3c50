/* salvage.c - see salvage.h. */
#include "salvage_impl.h"
#include "catalog.h"
#include "codec.h"
#include "commit.h"
#include "create.h"
#include "db.h"
#include "node.h"
#include "ops.h"
#include "pairs.h"
#include "tree.h"
#include <stdarg.h>
#include <stdio.h>

#define MEMORY_BUDGET  ((uint64_t)64 << 20)
#define PROGRESS_EVERY 64 /* pages */

/* ---- reporting ---- */

void kvi_salvage_note(kvi_rescue *s, const char *format, ...)
{
    char sentence[sizeof s->carve.err.text];
    va_list args;
    if (!s->options.note)
        return;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    s->options.note(s->options.context, sentence);
}

static int salvage_stopped(kvi_rescue *s)
{
    return kvi_fail(&s->carve.err, KV_ECANCELED, "stopped by a callback");
}

int kvi_salvage_lose(kvi_rescue *s, const kv_salvage_loss *loss)
{
    if (loss->kind == KV_LOSS_PAGE)
        s->info.bad_pages++;
    else
        s->info.losses++;
    if (s->options.loss && s->options.loss(s->options.context, loss) != 0)
        return salvage_stopped(s);
    return KV_OK;
}

/* Pages are walked, and when that leaves gaps all of them are looked at: twice as many steps. */
int kvi_salvage_step(void *context, uint64_t pages)
{
    kvi_rescue *s = context;
    kvi_pgno before = s->done;
    kv_progress progress = {.total = 2 * s->carve.pages};
    s->done = KVI_MIN(s->done + pages, progress.total);
    progress.done = s->done;
    bool due = before / PROGRESS_EVERY != s->done / PROGRESS_EVERY || s->done == progress.total;
    if (!s->options.progress || !due)
        return KV_OK;
    return s->options.progress(s->options.context, &progress) == 0 ? KV_OK : salvage_stopped(s);
}

int kvi_salvage_keep(kvi_rescue *s, kvi_slice key, kvi_kept_key *kept)
{
    kept->ptr = s->os->alloc(s->os, key.len + 1);
    if (!kept->ptr)
        return kvi_fail(&s->carve.err, KV_ENOMEM, "no memory for a key");
    if (key.len)
        memcpy(kept->ptr, key.ptr, key.len);
    kept->len = key.len;
    return KV_OK;
}

/* ---- the new database ---- */

/* A failure there, told by the file that is read. */
static int salvage_fail(kvi_rescue *s, int rc)
{
    char text[sizeof s->carve.err.text];
    kvi_err_text(&s->db->err, text, sizeof text);
    return kvi_fail(&s->carve.err, rc == KV_EPOISONED ? KV_EIO : rc, "writing the new database: %s",
                    *text ? text : kv_strerror(rc));
}

static int tree_open(kvi_rescue *s, kvi_slice name, kv_tree **tree)
{
    if (name.len) {
        int rc = kvi_catalog_open(s->txn, name, KV_TREE_CREATE, NULL, tree);
        return rc == KV_OK ? KV_OK : salvage_fail(s, rc);
    }
    *tree = &s->txn->main;
    return KV_OK;
}

int kvi_salvage_tree(kvi_rescue *s, kvi_slice name, const kvi_tree_desc *desc, size_t *tree)
{
    for (*tree = 0; *tree < s->n_trees; ++*tree)
        if (kvi_slice_compare(kvi_kept_slice(s->trees[*tree].name), name) == 0)
            return KV_OK;
    kvi_rescued *trees = kvi_os_room(s->os, s->trees, &s->trees_cap, s->n_trees + 1, sizeof *trees);
    if (!trees)
        return kvi_fail(&s->carve.err, KV_ENOMEM, "no memory for one more tree");
    s->trees = trees;
    kvi_rescued *to = &trees[s->n_trees];
    *to = (kvi_rescued){.found = !desc,
                        .birth = desc ? desc->root.birth : 0,
                        .guessed = s->patch && s->patch->guessed, /* by a leaf of the catalog */
                        .expected = desc ? desc->entries : KVI_UNKNOWN};
    int rc = tree_open(s, name, &to->tree);
    if (rc == KV_OK)
        rc = kvi_salvage_keep(s, name, &to->name);
    if (rc != KV_OK)
        return rc;
    if (desc) {
        to->tree->desc.codec = desc->codec;
        to->tree->desc.compress_from = desc->compress_from;
        to->tree->desc.sequence = desc->sequence;
        to->tree->desc.flags |= desc->flags & KVI_TREE_MULTI;
        to->tree->raw = true;
        to->tree->changed = true;
    }
    s->n_trees++;
    return KV_OK;
}

/* The tree that the entries of the walked one go to. A catalog may be hostile: a tree without a name
 * must not be taken for the main one. */
static int salvage_target(kvi_rescue *s, const kvi_walked *walked)
{
    kvi_slice name = walked->name;
    if (s->target != KVI_NO_TREE) {
        s->current = s->target;
        return KV_OK;
    }
    if (s->current_of == walked)
        return KV_OK;
    if (walked->kind == KVI_WALK_NAMED && name.len == 0)
        name = kvi_slice_of("lost+found-0", 12);
    int rc = kvi_salvage_tree(s, name, walked->desc, &s->current);
    s->current_of = rc == KV_OK ? walked : NULL;
    return rc;
}

/* ---- values ---- */

/* Of an old version not each thing is reported that it lacks, but that it lacks something. */
static int stale_lost(kvi_rescue *s, kvi_pgno page)
{
    s->trees[s->target].unsure = page;
    return KV_OK;
}

static int value_lost(kvi_rescue *s, kvi_pgno page, const char *reason)
{
    kvi_rescued *tree = &s->trees[s->current];
    kv_salvage_loss loss = {
        .kind = KV_LOSS_VALUE,
        .tree = {tree->name.ptr, tree->name.len},
        .from = {s->key.ptr, s->key.len},
        .entries = 1,
        .page = page,
        .reason = reason,
    };
    if (s->stale)
        return stale_lost(s, page);
    tree->values++;
    return kvi_salvage_lose(s, &loss);
}

/* The newest key's value. page: where it comes from. */
static int salvage_put(kvi_rescue *s, kvi_pgno page, kvi_slice value, uint64_t expiry)
{
    kv_tree *tree = s->trees[s->current].tree;
    if (kvi_tree_multi(tree) && (expiry || !kvi_pairs_entry(s->key, value)))
        return value_lost(s, page, "it is no pair of a multi-value tree (T7)");
    int rc = kvi_put_until(tree, s->key, value, KV_PUT_ABSENT, expiry, NULL);
    return rc == KV_OK || rc == KV_EXISTS ? KV_OK : salvage_fail(s, rc);
}

/* Decompresses a value and stores it. */
static int value_expand(kvi_rescue *s, kvi_pgno page, const kvi_entry *entry, kvi_slice stored)
{
    size_t len = (size_t)entry->raw_len;
    if (!kvi_codec_plausible(entry->codec, stored.len, entry->raw_len))
        return value_lost(s, page, "its length after decompression is impossible");
    uint8_t *raw = s->os->alloc(s->os, len + 1);
    if (!raw)
        return kvi_fail(&s->carve.err, KV_ENOMEM, "no memory to decompress a value");
    int rc = kvi_codec_decompress(entry->codec, stored, raw, len)
                 ? salvage_put(s, page, kvi_slice_of(raw, len), entry->expiry)
                 : value_lost(s, page, "it does not decompress");
    s->os->free(s->os, raw);
    return rc;
}

static int salvage_entry(kvi_walk *walk, kvi_slice key, kvi_stored stored)
{
    kvi_rescue *s = walk->context;
    kvi_entry entry;
    s->key = key;
    if (walk->tree->kind == KVI_WALK_CATALOG)
        return KV_OK;
    int rc = salvage_target(s, walk->tree);
    if (rc != KV_OK || !kvi_entry_parse(stored, &entry) || (entry.flags & KVI_ENTRY_LARGE))
        return rc; /* what has no form is reported by the walk; large values follow */
    kvi_pgno leaf = walk->tree->steps[0].ptr.page;
    if (entry.flags & KVI_ENTRY_COMPRESSED)
        return value_expand(s, leaf, &entry, entry.payload);
    return salvage_put(s, leaf, entry.payload, entry.expiry);
}

typedef struct large_bytes {
    uint8_t *bytes;
    uint64_t len;
} large_bytes;

static int large_collect(void *context, uint64_t offset, const uint8_t *bytes, size_t len)
{
    large_bytes *large = context;
    memcpy(large->bytes + offset, bytes, len);
    large->len += len;
    return KV_OK;
}

/* The entry of the newest key, whose value is large. */
static int large_entry(const kvi_walk *walk, kvi_entry *entry)
{
    const kvi_walked *tree = walk->tree;
    const kvi_walk_step *leaf = &tree->steps[0];
    unsigned slot = (unsigned)(tree->entries - leaf->entries - 1);
    kvi_stored stored;
    stored.bytes = kvi_leaf_value(leaf->bytes, walk->file->page_size, slot, &stored.special);
    return kvi_entry_parse(stored, entry) ? KV_OK : KV_ECORRUPT;
}

/* Else it takes no page from others. Part of its last page may do. */
static bool large_within(const kvi_rescue *s, const kvi_large *large)
{
    return large->ptr.page + large->pages <= s->carve.pages + 1;
}

static int salvage_large(kvi_walk *walk, const kvi_large *large, const kvi_ptr *leaf)
{
    kvi_rescue *s = walk->context;
    kvi_entry entry;
    char reason[sizeof s->carve.err.text];
    if (!large_within(s, large))
        return value_lost(s, large->ptr.page, "the file ends before it does");
    if (!kvi_pgset_add(&s->reached, large->ptr.page, large->pages))
        return value_lost(s, large->ptr.page, "its pages are used twice (S1)");
    large_bytes got = {s->os->alloc(s->os, (size_t)large->stored_len), 0};
    if (!got.bytes)
        return kvi_fail(&s->carve.err, KV_ENOMEM, "no memory for a large value");
    int rc = kvi_walk_large(walk->file, large, large_collect, &got);
    if (rc == KV_ECORRUPT && !s->carve.seeded && got.len == large->stored_len)
        rc = KV_OK; /* nothing can be said about its checksum */
    if (rc == KV_OK)
        rc = large_entry(walk, &entry);
    kvi_slice stored = kvi_slice_of(got.bytes, (size_t)got.len);
    if (rc == KV_OK)
        rc = entry.flags & KVI_ENTRY_COMPRESSED ? value_expand(s, leaf->page, &entry, stored)
                                                : salvage_put(s, leaf->page, stored, entry.expiry);
    else if (rc == KV_ECORRUPT || rc == KV_EIO) {
        kvi_err_text(&s->carve.err, reason, sizeof reason);
        rc = value_lost(s, large->ptr.page, reason);
    }
    s->os->free(s->os, got.bytes);
    return rc == KV_OK ? kvi_salvage_step(s, large->pages) : rc;
}

/* ---- gaps ---- */

/* The separator that bounds a node from below or above; kept->ptr NULL: none. */
static int gap_bound(kvi_rescue *s, const kvi_walked *tree, unsigned level, bool above,
                     kvi_kept_key *kept)
{
    uint32_t page_size = s->carve.file.page_size;
    for (unsigned up = level + 1; up <= tree->desc->level; up++) {
        const kvi_walk_step *step = &tree->steps[up];
        if (above ? step->child == kvi_node_count(step->bytes) : step->child == 0)
            continue;
        unsigned separator = above ? step->child : step->child - 1;
        size_t len = kvi_node_key(step->bytes, page_size, separator, s->carve.buffer);
        return kvi_salvage_keep(s, kvi_slice_of(s->carve.buffer, len), kept);
    }
    const kvi_kept_key *outer = !s->patch || tree->outer ? NULL
                                : above                  ? &s->patch->to
                                                         : &s->patch->from;
    return outer && outer->ptr ? kvi_salvage_keep(s, kvi_kept_slice(*outer), kept) : KV_OK;
}

static int gap_add(kvi_walk *walk, kvi_ptr ptr, unsigned level)
{
    kvi_rescue *s = walk->context;
    const kvi_walked *tree = walk->tree;
    const kvi_walk_step *parent = level == tree->desc->level ? NULL : &tree->steps[level + 1];
    kvi_gap gap = {.tree = KVI_NO_TREE, .level = level, .ptr = ptr};
    int rc = tree->kind == KVI_WALK_CATALOG ? KV_OK : salvage_target(s, tree);
    if (tree->kind != KVI_WALK_CATALOG)
        gap.tree = s->current;
    gap.entries = parent ? kvi_branch_tally(parent->bytes, walk->file->page_size, parent->child)
                         : tree->desc->entries;
    kvi_gap *gaps = kvi_os_room(s->os, s->gaps, &s->gaps_cap, s->n_gaps + 1, sizeof *gaps);
    if (!gaps)
        return kvi_fail(&s->carve.err, KV_ENOMEM, "no memory to note a gap");
    s->gaps = gaps;
    if (rc == KV_OK)
        rc = gap_bound(s, tree, level, false, &gap.from);
    if (rc == KV_OK)
        rc = gap_bound(s, tree, level, true, &gap.to);
    s->gaps[s->n_gaps++] = gap;
    if (ptr.page < s->missed.limit)
        kvi_pgset_add(&s->missed, ptr.page, 1);
    return rc;
}

static int page_lost(kvi_walk *walk, kvi_ptr ptr, unsigned level, const char *reason)
{
    kvi_rescue *s = walk->context;
    kv_salvage_loss loss = {
        .kind = KV_LOSS_PAGE,
        .tree = {walk->tree->name.ptr, walk->tree->name.len},
        .page = ptr.page,
        .reason = reason,
    };
    if (s->stale)
        return stale_lost(s, ptr.page);
    int rc = kvi_salvage_lose(s, &loss);
    return rc == KV_OK ? gap_add(walk, ptr, level) : rc;
}

/* An entry of the catalog that describes no tree. */
static int name_lost(kvi_rescue *s, kvi_pgno page, const char *reason)
{
    kv_salvage_loss loss = {
        .kind = KV_LOSS_NAMES,
        .from = {s->key.ptr, s->key.len},
        .entries = 1,
        .page = page,
        .reason = reason,
    };
    s->names_lost = true;
    return kvi_salvage_lose(s, &loss);
}

static int salvage_broken(kvi_walk *walk, kvi_ptr ptr, unsigned level, int rc)
{
    kvi_rescue *s = walk->context;
    char reason[sizeof s->carve.err.text];
    const char *invariant = walk->invariant;
    kvi_err_text(&s->carve.err, reason, sizeof reason);
    (void)rc;
    if (invariant && invariant[0] == 'C')
        return name_lost(s, ptr.page, reason);
    if (invariant && invariant[0] == 'V') /* the newest entry's, whose tree is the current one */
        return value_lost(s, ptr.page, reason);
    return page_lost(walk, ptr, level, reason);
}

static int salvage_page(kvi_walk *walk, kvi_ptr ptr, const uint8_t *bytes)
{
    kvi_rescue *s = walk->context;
    int rc = kvi_salvage_step(s, 1);
    if (rc != KV_OK)
        return rc;
    if (kvi_pgset_add(&s->reached, ptr.page, 1))
        return KV_OK;
    rc = page_lost(walk, ptr, bytes[KVI_P_level], "it is used twice (S1)");
    return rc == KV_OK ? KVI_WALK_SKIP : rc;
}

static int salvage_done(kvi_walk *walk)
{
    kvi_rescue *s = walk->context;
    int rc = walk->tree->kind == KVI_WALK_CATALOG ? KV_OK : salvage_target(s, walk->tree);
    s->current_of = NULL; /* the memory of the walk may be the next one's */
    return rc;
}

/* ---- pages that lie elsewhere ---- */

int kvi_salvage_elsewhere(kvi_rescue *s, kvi_ptr ptr, uint8_t *buf)
{
    char reason[sizeof s->carve.err.text]; /* what is wrong with its place stays the error text */
    kvi_err_text(&s->carve.err, reason, sizeof reason);
    int rc = kvi_carve_scan(&s->carve, kvi_salvage_step, s);
    if (rc != KV_OK)
        return rc;
    rc = kvi_carve_elsewhere(&s->carve, ptr, buf);
    if (rc == KV_OK)
        return KV_OK;
    return kvi_fail(&s->carve.err, KV_NOTFOUND, "%s", reason);
}

static int salvage_elsewhere(kvi_walk *walk, kvi_ptr ptr, uint8_t *buf)
{
    kvi_rescue *s = walk->context;
    int rc = kvi_salvage_elsewhere(s, ptr, buf);
    s->moved += rc == KV_OK;
    return rc;
}

/* ---- walking ---- */

static kvi_walk salvage_walk(kvi_rescue *s)
{
    return (kvi_walk){
        .file = &s->carve.file,
        .meta = &s->carve.meta,
        .budget = UINT64_MAX,
        .unsealed = !s->carve.seeded,
        .page = salvage_page,
        .large = salvage_large,
        .entry = salvage_entry,
        .done = salvage_done,
        .broken = salvage_broken,
        .elsewhere = salvage_elsewhere,
        .context = s,
    };
}

int kvi_salvage_walk(kvi_rescue *s, const kvi_orphan *orphan, const kvi_gap *gap, size_t tree)
{
    kvi_walk walk = salvage_walk(s);
    kvi_tree_desc desc = {
        .root = orphan->ptr, .level = (uint8_t)orphan->level, .entries = KVI_UNKNOWN};
    kvi_slice name = {NULL, 0};
    if (tree != KVI_NO_TREE)
        name = kvi_kept_slice(s->trees[tree].name);
    kvi_gap patch = gap ? *gap : (kvi_gap){0}; /* the list may move meanwhile */
    s->patch = gap ? &patch : NULL;
    s->target = tree;
    int rc = kvi_walk_tree(&walk, &desc,
                           tree == KVI_NO_TREE ? KVI_WALK_CATALOG
                           : name.len          ? KVI_WALK_NAMED
                                               : KVI_WALK_MAIN,
                           name);
    s->patch = NULL;
    s->target = KVI_NO_TREE;
    return rc;
}

static int salvage_trees(kvi_rescue *s)
{
    kvi_walk walk = salvage_walk(s);
    kvi_slice none = {NULL, 0};
    int rc = kvi_walk_tree(&walk, &s->carve.meta.main, KVI_WALK_MAIN, none);
    return rc == KV_OK ? kvi_walk_tree(&walk, &s->carve.meta.catalog, KVI_WALK_CATALOG, none) : rc;
}

/* ---- named snapshots: left out, and named ---- */

/* A page of their list is none that a tree lost. */
static int snapshots_page(kvi_walk *walk, kvi_ptr ptr, const uint8_t *bytes)
{
    kvi_rescue *s = walk->context;
    (void)bytes;
    return kvi_pgset_add(&s->reached, ptr.page, 1) ? KV_OK : KVI_WALK_SKIP;
}

bool kvi_salvage_names(const kvi_rescue *s, kvi_stored value, kvi_named *named)
{
    const kvi_carve *carve = &s->carve;
    return kvi_stored_named(value, carve->file.page_size,
                            KVI_MAX(carve->pages, carve->meta.high_water),
                            KVI_MAX(carve->newest, carve->meta.id), named);
}

static int snapshots_entry(kvi_walk *walk, kvi_slice key, kvi_stored value)
{
    kvi_rescue *s = walk->context;
    kvi_named named;
    if (kvi_salvage_names(s, value, &named))
        kvi_salvage_note(s, "the named snapshot %.*s, commit %llu, is left out", (int)key.len,
                         (const char *)key.ptr, (unsigned long long)named.id);
    return KV_OK;
}

static int snapshots_broken(kvi_walk *walk, kvi_ptr ptr, unsigned level, int rc)
{
    (void)level;
    (void)rc;
    kvi_salvage_note(walk->context,
                     "page %llu of the list of named snapshots is unusable: they are left out, and "
                     "not all are named here",
                     (unsigned long long)ptr.page);
    return KV_OK;
}

static int salvage_snapshots(kvi_rescue *s)
{
    kvi_walk walk = {
        .file = &s->carve.file,
        .meta = &s->carve.meta,
        .budget = UINT64_MAX,
        .unsealed = !s->carve.seeded,
        .page = snapshots_page,
        .entry = snapshots_entry,
        .broken = snapshots_broken,
        .elsewhere = salvage_elsewhere,
        .context = s,
    };
    kvi_slice none = {NULL, 0};
    if (s->carve.trust == KVI_TRUST_NONE)
        return KV_OK;
    return kvi_walk_tree(&walk, &s->carve.meta.snapshots, KVI_WALK_NAMED, none);
}

/* The records of free pages tell old versions from lost pages, if they agree with what is known. */
static int salvage_space(kvi_rescue *s)
{
    kvi_meta meta = s->carve.meta;
    kvi_space *space;
    meta.durable = meta.id; /* damage there is no reason to give up */
    if (s->carve.trust == KVI_TRUST_NONE || !s->carve.seeded)
        return KV_OK;
    int rc = kvi_space_load(&space, &s->carve.file, &meta);
    if (rc != KV_OK)
        return rc == KV_ENOMEM ? rc : KV_OK;
    bool sound = !kvi_space_unknown(space);
    kvi_pgno page = kvi_first_page(meta.page_size);
    for (; sound && page < meta.high_water; page++)
        sound = !kvi_pgset_has(&s->reached, page) || kvi_space_state(space, page) == KVI_PAGE_USED;
    if (sound)
        s->space = space;
    else
        kvi_space_close(space);
    return KV_OK;
}

static int salvage_rest(kvi_rescue *s)
{
    int rc = salvage_space(s);
    if (rc == KV_OK && !s->space)
        kvi_salvage_note(s,
                         "it is not known which pages are in use: what is missing is filled with "
                         "the newest versions that lie in the file, which may be old ones");
    if (rc == KV_OK)
        rc = kvi_orphans_find(s);
    if (rc == KV_OK)
        rc = kvi_gaps_fill(s);
    if (rc == KV_OK)
        rc = kvi_gaps_rest(s);
    return rc == KV_OK ? kvi_gaps_tell(s) : rc;
}

static void salvage_note_commit(kvi_rescue *s)
{
    const kvi_carve *c = &s->carve;
    unsigned long long id = c->meta.id;
    if (c->trust == KVI_TRUST_FULL && c->choice.rejected)
        kvi_salvage_note(s, "commit %llu is not whole; commit %llu, the one before it, is read",
                         (unsigned long long)c->choice.newest, id);
    else if (c->trust == KVI_TRUST_FULL)
        kvi_salvage_note(s, "commit %llu is read", id);
    else if (c->trust == KVI_TRUST_SLOT)
        kvi_salvage_note(s, "commit %llu is not whole, but there is no other; it is read", id);
    else if (c->trust == KVI_TRUST_GUESS)
        kvi_salvage_note(s, "both metas are damaged; roots are where meta %u says: commit %llu",
                         c->slot, id);
    else
        kvi_salvage_note(s, "both metas are gone: trees are put together from the newest pages "
                            "that look like theirs");
    if (!c->seeded)
        kvi_salvage_note(s, "the seed of the checksums is gone with the metas: pages are believed "
                            "when their structure is right");
}

static int salvage_read(kvi_rescue *s)
{
    salvage_note_commit(s);
    kvi_pgno limit = KVI_MAX(s->carve.pages, s->carve.meta.high_water);
    if (kvi_pgset_init(&s->reached, s->os, limit) != KV_OK ||
        kvi_pgset_init(&s->missed, s->os, limit) != KV_OK)
        return kvi_fail(&s->carve.err, KV_ENOMEM, "no memory to salvage the file");
    int rc = s->carve.trust == KVI_TRUST_NONE ? kvi_orphans_roots(s) : KV_OK;
    if (rc == KV_OK)
        rc = salvage_trees(s);
    if (rc == KV_OK)
        rc = salvage_snapshots(s);
    if (rc == KV_OK && (s->n_gaps > 0 || s->info.losses > 0 || s->carve.trust == KVI_TRUST_NONE))
        rc = salvage_rest(s);
    if (rc == KV_OK && s->moved)
        kvi_salvage_note(s, "%llu %s not in place, but elsewhere in the file, and sound",
                         (unsigned long long)s->moved, s->moved == 1 ? "page was" : "pages were");
    return rc == KV_OK ? kvi_salvage_step(s, 2 * s->carve.pages) : rc;
}

/* ---- the end ---- */

static int salvage_tell_tree(kvi_rescue *s, const kvi_rescued *tree)
{
    kv_salvage_tree told = {
        .name = {tree->name.ptr, tree->name.len},
        .entries = tree->tree->desc.entries,
        .lost_values = tree->values,
        .elsewhere = tree->elsewhere,
        .found = tree->found,
    };
    bool known = tree->expected != KVI_UNKNOWN && tree->expected >= told.entries;
    told.missing = known ? tree->expected - told.entries : tree->values + tree->missing;
    told.known = known && !tree->guessed; /* nor where more came back than there were */
    s->info.entries += told.entries;
    s->info.missing += told.missing;
    s->info.lost_entries +=
        KVI_MAX(told.missing - KVI_MIN(told.missing, told.elsewhere), told.lost_values);
    s->info.found += told.found ? told.entries : 0;
    s->info.lost_values += told.lost_values;
    s->info.trees += told.name.len > 0;
    s->info.found_trees += told.found;
    if (s->options.tree && s->options.tree(s->options.context, &told) != 0)
        return salvage_stopped(s);
    return KV_OK;
}

static int salvage_conclude(kvi_rescue *s)
{
    kvi_pgno first = 0;
    bool empty = s->carve.trust != KVI_TRUST_NONE && s->carve.meta.main.root.page == 0 &&
                 s->carve.meta.catalog.root.page == 0;
    if (kvi_pgset_run(&s->reached, true, &first) == 0 && !empty)
        return kvi_fail(&s->carve.err, KV_NOTFOUND, "no entry of it can be read");
    int rc = KV_OK;
    for (size_t i = 0; rc == KV_OK && i < s->n_trees; i++)
        rc = salvage_tell_tree(s, &s->trees[i]);
    /* what one found tree has may have been counted for several */
    s->info.lost_entries =
        KVI_MAX(s->info.missing - KVI_MIN(s->info.missing, s->info.found), s->info.lost_entries);
    s->info.commit_id = s->carve.trust == KVI_TRUST_NONE ? 0 : s->carve.meta.id;
    s->info.guessed = s->carve.trust < KVI_TRUST_SLOT;
    s->info.unsealed = !s->carve.seeded;
    return rc;
}

static int salvage_into(kvi_rescue *s)
{
    int rc = kvi_begin_write(s->db, KVI_WAIT_FOREVER, KV_STRICT, &s->txn);
    if (rc != KV_OK)
        return salvage_fail(s, rc);
    uint64_t now = KVI_MAX(s->txn->now, s->carve.meta.clock);
    s->txn->now = 0; /* nothing has expired: no older version takes the place of what has */
    rc = salvage_read(s);
    s->txn->now = now;
    if (rc == KV_OK)
        rc = salvage_conclude(s);
    if (rc != KV_OK) {
        kvi_end(s->txn);
        return rc;
    }
    rc = kvi_commit(s->txn);
    return rc == KV_OK ? KV_OK : salvage_fail(s, rc);
}

static int salvage_write(void *context, const char *temporary)
{
    kvi_rescue *s = context;
    char message[sizeof s->carve.err.text];
    kv_options options = {
        .size = sizeof options,
        .flags = KV_OPEN_CREATE | KV_OPEN_EXCLUSIVE,
        .page_size = s->carve.file.page_size,
        .memory_budget = MEMORY_BUDGET,
    };
    int rc = kvi_db_open(s->os, temporary, &options, &s->db, message, sizeof message);
    if (rc != KV_OK)
        return kvi_fail(&s->carve.err, rc, "creating the new database: %s", message);
    rc = salvage_into(s);
    int closed = kvi_db_close(s->db);
    return rc == KV_OK && closed != KV_OK
               ? kvi_fail(&s->carve.err, closed, "closing the new database")
               : rc;
}

static void salvage_free(kvi_rescue *s)
{
    const kvi_os *os = s->os;
    for (size_t i = 0; i < s->n_trees; i++)
        os->free(os, s->trees[i].name.ptr);
    for (size_t i = 0; i < s->n_gaps; i++) {
        os->free(os, s->gaps[i].from.ptr);
        os->free(os, s->gaps[i].to.ptr);
        os->free(os, s->gaps[i].filled);
    }
    for (size_t i = 0; i < s->n_orphans; i++) {
        os->free(os, s->orphans[i].keys.first.ptr);
        os->free(os, s->orphans[i].keys.last.ptr);
    }
    os->free(os, s->trees);
    os->free(os, s->gaps);
    os->free(os, s->orphans);
    os->free(os, s->orphan_at);
    if (s->space)
        kvi_space_close(s->space);
    kvi_pgset_close(&s->reached);
    kvi_pgset_close(&s->missed);
    kvi_carve_close(&s->carve);
}

static int salvage_run(kvi_rescue *s, const char *path, const char *dest)
{
    int rc = kvi_carve_open_locked(&s->carve, s->os, path, s->options.wait_ms);
    return rc == KV_OK
               ? kvi_create_beside(s->os, &s->carve.err, dest, s->carve.file.fd, salvage_write, s)
               : rc;
}

int kvi_salvage(const kvi_os *os, const char *path, const char *dest,
                const kv_salvage_options *options, kv_salvage_info *info)
{
    kvi_rescue s = {.os = os, .target = KVI_NO_TREE};
    if (options)
        s.options = *options;
    int rc = salvage_run(&s, path, dest);
    if (rc != KV_OK) {
        char text[sizeof s.carve.err.text];
        kvi_err_text(&s.carve.err, text, sizeof text);
        kvi_salvage_note(&s, "%s", *text ? text : kv_strerror(rc));
    }
    s.info.size = info->size;
    *info = s.info;
    salvage_free(&s);
    return rc;
}
