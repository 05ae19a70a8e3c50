/* walk.c - see walk.h. */
#include "walk.h"
#include "mutant.h"
#include "node.h"
#include <stdlib.h>

#define PIECE 65536 /* bytes of a large value that are read at once */

static const struct sentence {
    const char *invariant, *text;
} sentences[] = {
    {"N1", "type and level are not those of a node"},
    {"N2", "its arrays and its heap overlap or leave the page"},
    {"N3", "an entry lies outside the heap or is longer than allowed"},
    {"N4", "its keys do not ascend"},
    {"N5", "its hints are not the sampled heads"},
    {"N6", "the head of a short key is not padded with zeros"},
    {"N7", "a pointer leads out of the file or to a page younger than its parent"},
    {"N8", "it bears another number or birth than its pointer"},
    {"N9", "its checksum does not match its bytes"},
};

int kvi_walk_fail(kvi_walk *walk, kvi_ptr ptr, const char *invariant, const char *sentence)
{
    walk->invariant = invariant;
    return kvi_fail(walk->file->err, KV_ECORRUPT, "page %llu (birth %llu) breaks %s: %s",
                    (unsigned long long)ptr.page, (unsigned long long)ptr.birth, invariant,
                    sentence);
}

static int walk_fail_node(kvi_walk *walk, kvi_ptr ptr, int number)
{
    const struct sentence *s = &sentences[number - 1];
    return kvi_walk_fail(walk, ptr, s->invariant, s->text);
}

/* Asks what becomes of a failure. Only damage is a matter for the callback. */
static int walk_broken(kvi_walk *walk, kvi_ptr ptr, unsigned level, int rc)
{
    if (rc != KV_ECORRUPT && rc != KV_EIO)
        return rc;
    if (walk->tree)
        walk->tree->gaps++;
    if (!walk->broken)
        return rc;
    rc = walk->broken(walk, ptr, level, rc);
    walk->invariant = NULL;
    return rc;
}

static int walk_spend(kvi_walk *walk, uint64_t bytes)
{
    if (bytes > walk->budget - walk->visited)
        return kvi_fail(walk->file->err, KV_ECORRUPT,
                        "the pages that were written lately exceed the %llu bytes there may be",
                        (unsigned long long)walk->budget);
    walk->visited += bytes;
    return KV_OK;
}

/* ---- reading pages ---- */

static int walk_read_place(kvi_walk *walk, kvi_ptr ptr, uint8_t *buf)
{
    kvi_file *file = walk->file;
    int rc = kvi_file_read(file, ptr.page << file->page_shift, buf, file->page_size);
    if (rc != KV_OK)
        return rc;
    int broken = kvi_file_matches(file, buf, ptr, !walk->unsealed);
    return broken ? walk_fail_node(walk, ptr, broken) : KV_OK;
}

/* Reads the page that ptr names and holds it against N7, N8 and N9. */
static int walk_read(kvi_walk *walk, kvi_ptr ptr, uint8_t *buf)
{
    kvi_file *file = walk->file;
    if (ptr.page < kvi_first_page(file->page_size) || ptr.page >= walk->meta->high_water ||
        ptr.birth == 0 || ptr.birth > walk->meta->id)
        return walk_fail_node(walk, ptr, 7);
    int rc = walk_read_place(walk, ptr, buf);
    if (!walk->elsewhere || (rc != KV_ECORRUPT && rc != KV_EIO))
        return rc;
    int found = walk->elsewhere(walk, ptr, buf);
    if (found == KV_NOTFOUND)
        return rc;
    walk->invariant = NULL;
    return found;
}

/* A page that is a sound node, but of another level, breaks the tree (T4) and not itself (N1). */
static int walk_validate(kvi_walk *walk, kvi_ptr ptr, unsigned level, const uint8_t *page)
{
    uint32_t page_size = walk->file->page_size;
    kvi_pgno high_water = walk->meta->high_water;
    int broken = kvi_node_validate(page, page_size, (int)level, high_water, ptr.birth);
    if (!broken)
        return KV_OK;
    if (broken == 1 && kvi_node_validate(page, page_size, -1, high_water, ptr.birth) == 0)
        return kvi_walk_fail(walk, ptr, "T4", "its level is not one below that of its parent");
    return walk_fail_node(walk, ptr, broken);
}

static int walk_buffer(kvi_walk *walk, uint8_t **buffer)
{
    const kvi_os *os = walk->file->os;
    if (!*buffer)
        *buffer = os->alloc(os, walk->file->page_size);
    return *buffer ? KV_OK : kvi_fail(walk->file->err, KV_ENOMEM, "no memory for a page");
}

/* Brings a node into the buffer of its level. */
static int walk_load(kvi_walk *walk, kvi_ptr ptr, unsigned level)
{
    kvi_walk_step *step = &walk->tree->steps[level];
    int rc = walk_spend(walk, walk->file->page_size);
    if (rc == KV_OK)
        rc = walk_buffer(walk, &step->bytes);
    if (rc != KV_OK)
        return rc;
    step->ptr = ptr;
    step->child = 0;
    step->entries = walk->tree->entries;
    step->gaps = walk->tree->gaps;
    step->expiry = 0;
    rc = walk_read(walk, ptr, step->bytes);
    return rc == KV_OK ? walk_validate(walk, ptr, level, step->bytes) : rc;
}

/* ---- large values ---- */

int kvi_walk_large(kvi_file *file, const kvi_large *large,
                   int (*sink)(void *context, uint64_t offset, const uint8_t *bytes, size_t len),
                   void *context)
{
    const kvi_os *os = file->os;
    uint64_t start = large->ptr.page << file->page_shift;
    uint8_t *piece = os->alloc(os, PIECE);
    if (!piece)
        return kvi_fail(file->err, KV_ENOMEM, "no memory to read a large value");
    kvi_hash_run run;
    kvi_hash_begin(&run, &file->hash);
    int rc = KV_OK;
    for (uint64_t at = 0; rc == KV_OK && at < large->stored_len; at += PIECE) {
        size_t len = (size_t)KVI_MIN(large->stored_len - at, (uint64_t)PIECE);
        rc = kvi_file_read(file, start + at, piece, len);
        kvi_hash_add(&run, piece, rc == KV_OK ? len : 0);
        if (rc == KV_OK && sink)
            rc = sink(context, at, piece, len);
    }
    if (rc == KV_OK && kvi_hash_end(&run) != large->checksum && !KVI_MUTANT(LARGE_UNPROVEN))
        rc = kvi_fail(file->err, KV_ECORRUPT,
                      "page %llu (birth %llu) breaks V3: the bytes of the large value that starts "
                      "here do not match its checksum",
                      (unsigned long long)large->ptr.page, (unsigned long long)large->ptr.birth);
    os->free(os, piece);
    return rc;
}

/* V2 */
static bool walk_run_ok(const kvi_walk *walk, const kvi_large *large, kvi_ptr leaf)
{
    uint32_t page_size = walk->file->page_size;
    kvi_pgno first = large->ptr.page;
    return large->stored_len <= KV_VALUE_MAX &&
           large->pages == kvi_large_pages(large->stored_len, page_size) && first <= KVI_PGNO_MAX &&
           first * page_size >= KVI_LARGE_FROM && first < walk->meta->high_water &&
           large->pages <= walk->meta->high_water - first && large->ptr.birth >= 1 &&
           large->ptr.birth <= leaf.birth;
}

static int walk_large(kvi_walk *walk, const kvi_large *large, kvi_ptr leaf)
{
    kvi_walked *tree = walk->tree;
    tree->large_pages += large->pages;
    if (!walk_run_ok(walk, large, leaf))
        return walk_broken(
            walk, leaf, 0,
            kvi_walk_fail(walk, leaf, "V2", "the place or length of a large value is impossible"));
    if (large->ptr.birth <= walk->newer_than) {
        tree->gaps++;
        return KV_OK;
    }
    int rc = walk_spend(walk, large->pages << walk->file->page_shift);
    if (rc != KV_OK)
        return rc;
    if (walk->large)
        return walk->large(walk, large, &leaf);
    rc = kvi_walk_large(walk->file, large, NULL, NULL);
    if (rc == KV_ECORRUPT)
        walk->invariant = "V3";
    return rc == KV_OK ? KV_OK : walk_broken(walk, large->ptr, 0, rc);
}

/* ---- leaves ---- */

static int walk_undescribed(kvi_walk *walk)
{
    kvi_ptr leaf = walk->tree->steps[0].ptr;
    return walk_broken(walk, leaf, 0,
                       kvi_walk_fail(walk, leaf, "C1", "an entry does not describe a tree"));
}

static int walk_descriptor(kvi_walk *walk, kvi_slice name, kvi_stored value)
{
    kvi_tree_desc desc;
    if (!kvi_stored_tree(value, walk->file->page_size, walk->meta->high_water,
                         walk->tree->steps[0].ptr.birth, &desc))
        return walk_undescribed(walk);
    return kvi_walk_tree(walk, &desc, KVI_WALK_NAMED, name);
}

/* ---- named snapshots: gathered first, so that they can be visited by age ---- */

struct kvi_walk_past {
    kvi_named named;
    size_t name_len;
    uint8_t *name;
};

static int walk_gather(kvi_walk *walk, kvi_slice name, kvi_stored value)
{
    const kvi_os *os = walk->file->os;
    struct kvi_walk_past past = {.name_len = name.len};
    if (!kvi_stored_named(value, walk->file->page_size, walk->meta->high_water,
                          walk->tree->steps[0].ptr.birth, &past.named))
        return walk_undescribed(walk);
    if (KVI_MAX(past.named.main.root.birth, past.named.catalog.root.birth) <= walk->newer_than)
        return KV_OK;
    struct kvi_walk_past *list =
        kvi_os_room(os, walk->past, &walk->cap_past, walk->n_past + 1, sizeof *list);
    if (list)
        walk->past = list;
    past.name = list ? os->alloc(os, name.len + 1) : NULL;
    if (!past.name)
        return kvi_fail(walk->file->err, KV_ENOMEM, "no memory to visit a snapshot");
    memcpy(past.name, name.ptr, name.len);
    list[walk->n_past++] = past;
    return KV_OK;
}

static int newest_first(const void *a, const void *b)
{
    const struct kvi_walk_past *x = a, *y = b;
    return (x->named.id < y->named.id) - (x->named.id > y->named.id);
}

static int walk_past(kvi_walk *walk)
{
    kvi_slice none = {NULL, 0};
    int rc = KV_OK;
    if (walk->n_past)
        qsort(walk->past, walk->n_past, sizeof *walk->past, newest_first);
    for (size_t i = 0; rc == KV_OK && i < walk->n_past; i++) {
        const struct kvi_walk_past *past = &walk->past[i];
        walk->snapshot = past->named.id;
        walk->snapshot_name = (kvi_slice){past->name, past->name_len};
        rc = kvi_walk_tree(walk, &past->named.main, KVI_WALK_MAIN, none);
        if (rc == KV_OK)
            rc = kvi_walk_tree(walk, &past->named.catalog, KVI_WALK_CATALOG, none);
    }
    walk->snapshot = 0;
    return rc;
}

static void walk_forget_past(kvi_walk *walk)
{
    const kvi_os *os = walk->file->os;
    while (walk->n_past > 0)
        os->free(os, walk->past[--walk->n_past].name);
    os->free(os, walk->past);
    walk->past = NULL;
    walk->cap_past = 0;
}

static int walk_entry(kvi_walk *walk, unsigned i)
{
    kvi_walked *tree = walk->tree;
    const kvi_walk_step *leaf = &tree->steps[0];
    uint32_t page_size = walk->file->page_size;
    kvi_stored value;
    value.bytes = kvi_leaf_value(leaf->bytes, page_size, i, &value.special);
    kvi_slice key = {tree->key, kvi_node_key(leaf->bytes, page_size, i, tree->key)};
    int rc = walk->entry ? walk->entry(walk, key, value) : KV_OK;
    tree->entries++;
    if (rc != KV_OK)
        return rc;
    if (tree->kind == KVI_WALK_CATALOG)
        return walk_descriptor(walk, key, value);
    if (tree->kind == KVI_WALK_SNAPSHOTS)
        return walk_gather(walk, key, value);
    kvi_entry entry;
    if (!value.special)
        return KV_OK;
    if (!kvi_entry_parse(value, &entry))
        return walk_broken(walk, leaf->ptr, 0,
                           kvi_walk_fail(walk, leaf->ptr, "V1", "an entry has no known form"));
    tree->steps[0].expiry = kvi_expiry_min(leaf->expiry, entry.expiry);
    return entry.flags & KVI_ENTRY_LARGE ? walk_large(walk, &entry.large, leaf->ptr) : KV_OK;
}

static int walk_leaf(kvi_walk *walk)
{
    unsigned count = kvi_node_count(walk->tree->steps[0].bytes);
    int rc = KV_OK;
    walk->tree->leaf_pages++;
    for (unsigned i = 0; rc == KV_OK && i < count; i++)
        rc = walk_entry(walk, i);
    return rc;
}

/* ---- trees ---- */

static int walk_node(kvi_walk *walk, kvi_ptr ptr, unsigned level);

static int walk_branch(kvi_walk *walk, unsigned level)
{
    kvi_walk_step *step = &walk->tree->steps[level];
    unsigned last = kvi_node_count(step->bytes);
    int rc = KV_OK;
    walk->tree->branch_pages++;
    for (step->child = 0; rc == KV_OK && step->child <= last; step->child++)
        rc = walk_node(walk, kvi_branch_child(step->bytes, walk->file->page_size, step->child),
                       level - 1);
    return rc;
}

/* The depth of the recursion is bounded by the root's level, at most KVI_LEVEL_MAX. */
static int walk_node(kvi_walk *walk, kvi_ptr ptr, unsigned level)
{
    if (ptr.birth <= walk->newer_than) {
        walk->tree->gaps++;
        return KV_OK;
    }
    int rc = walk_load(walk, ptr, level);
    if (rc != KV_OK)
        return walk_broken(walk, ptr, level, rc);
    rc = walk->page(walk, ptr, walk->tree->steps[level].bytes);
    if (rc == KVI_WALK_SKIP) {
        walk->tree->gaps++;
        return KV_OK;
    }
    if (rc == KV_OK)
        rc = level ? walk_branch(walk, level) : walk_leaf(walk);
    kvi_walk_step *step = &walk->tree->steps[level];
    if (level < walk->tree->desc->level)
        step[1].expiry = kvi_expiry_min(step[1].expiry, step->expiry);
    return rc == KV_OK && walk->leave ? walk->leave(walk, level) : rc;
}

int kvi_walk_tree(kvi_walk *walk, const kvi_tree_desc *desc, enum kvi_walk_kind kind,
                  kvi_slice name)
{
    const kvi_os *os = walk->file->os;
    kvi_walked *tree = os->alloc(os, sizeof *tree);
    if (!tree)
        return kvi_fail(walk->file->err, KV_ENOMEM, "no memory to visit a tree");
    *tree = (kvi_walked){.outer = walk->tree, .desc = desc, .kind = kind, .name = name};
    walk->tree = tree;
    int rc = walk_buffer(walk, &tree->key); /* a page has room for a key */
    if (rc == KV_OK && desc->root.page != 0)
        rc = walk_node(walk, desc->root, desc->level);
    if (rc == KV_OK && walk->done)
        rc = walk->done(walk);
    walk->tree = tree->outer;
    for (unsigned level = 0; level <= desc->level; level++)
        os->free(os, tree->steps[level].bytes);
    os->free(os, tree->key);
    os->free(os, tree);
    return rc;
}

int kvi_walk_trees(kvi_walk *walk)
{
    const kvi_meta *meta = walk->meta;
    kvi_slice none = {NULL, 0};
    int rc = kvi_walk_tree(walk, &meta->main, KVI_WALK_MAIN, none);
    if (rc == KV_OK)
        rc = kvi_walk_tree(walk, &meta->catalog, KVI_WALK_CATALOG, none);
    if (rc == KV_OK)
        rc = kvi_walk_tree(walk, &meta->snapshots, KVI_WALK_SNAPSHOTS, none);
    if (rc == KV_OK)
        rc = walk_past(walk);
    walk_forget_past(walk);
    return rc;
}

/* ---- space records ---- */

/* Page buffers for the space records: one to read into, and one per level of the directory, since a
 * directory page is still needed while what it names is fetched. */
typedef struct walk_space {
    kvi_walk *walk;
    uint8_t *fresh;
    uint8_t *kept[KVI_MAP_LEVELS_MAX + 1];
    bool failed;   /* a page could not be fetched; that ends the visit of the records */
    bool forgiven; /* kvi_walk.broken let it pass all the same */
} walk_space;

static int space_read(walk_space *space, kvi_ptr ptr, int type)
{
    kvi_walk *walk = space->walk;
    int rc = walk_spend(walk, walk->file->page_size);
    if (rc == KV_OK)
        rc = walk_buffer(walk, &space->fresh);
    if (rc == KV_OK)
        rc = walk_read(walk, ptr, space->fresh);
    if (rc == KV_OK &&
        (space->fresh[KVI_P_type] != type || space->fresh[KVI_P_level] > KVI_MAP_LEVELS_MAX))
        rc = kvi_walk_fail(walk, ptr, "N1", "type and level are not those of this space record");
    return rc;
}

static int space_broken(walk_space *space, kvi_ptr ptr, int rc)
{
    int verdict = walk_broken(space->walk, ptr, 0, rc);
    space->failed = true;
    space->forgiven = verdict == KV_OK;
    return verdict == KV_OK ? rc : verdict;
}

static int space_fetch(void *context, kvi_ptr ptr, int type, const uint8_t **page)
{
    walk_space *space = context;
    kvi_walk *walk = space->walk;
    int rc = space_read(space, ptr, type);
    if (rc != KV_OK)
        return space_broken(space, ptr, rc);
    *page = space->fresh;
    if (type == KVI_MAP_DIR) {
        uint8_t **kept = &space->kept[space->fresh[KVI_P_level]];
        uint8_t *spare = *kept;
        *kept = space->fresh;
        space->fresh = spare;
    }
    rc = walk->page(walk, ptr, *page);
    space->failed = rc != KV_OK;
    space->forgiven = rc == KVI_WALK_SKIP;
    return rc;
}

static int walk_space_records(kvi_walk *walk)
{
    const kvi_os *os = walk->file->os;
    walk_space space = {.walk = walk};
    int rc =
        kvi_space_walk(walk->meta, walk->file->page_size, walk->newer_than, space_fetch, &space);
    if (rc == KV_ECORRUPT && !space.failed)
        rc = space_broken(&space, (kvi_ptr){0, 0},
                          kvi_walk_fail(walk, (kvi_ptr){0, 0}, "S1",
                                        "the records of free pages contradict each other"));
    os->free(os, space.fresh);
    for (size_t i = 0; i < KVI_COUNT(space.kept); i++)
        os->free(os, space.kept[i]);
    return space.forgiven ? KV_OK : rc;
}

int kvi_walk_all(kvi_walk *walk)
{
    int rc = kvi_walk_trees(walk);
    return rc == KV_OK ? walk_space_records(walk) : rc;
}
