/* forge.c - see forge.h.
 *
 *   byte 0     kind of the sound file
 *   byte 1     FORGE_* flags
 *   then       changes: a byte for the way, its arguments
 */
#include "forge.h"
#include "walk.h"
#include <stdlib.h>

enum {
    FORGE_NO_SEAL = 1,   /* leaves the seal as it is */
    FORGE_BIRTHS = 2,    /* changed pages and the pointers to them get the newest id */
    FORGE_NO_STAMPS = 4, /* leaves the checksums of pages wrong */
    FORGE_ONE_META = 8,  /* changes of the meta go to slot 1 only */
};

#define FORGE_SPARE  24 /* pages that a file can grow by */
#define FORGE_BUDGET ((uint64_t)16 << 20)

typedef struct forge {
    surgeon s;
    fuzz_in *in;
    uint8_t flags;
    size_t cap; /* bytes that s.bytes has room for */
    uint8_t touched[1024];
} forge;

static uint8_t *page_of(forge *f, kvi_pgno page)
{
    return surgeon_page(&f->s, page);
}

static kvi_pgno take_page(forge *f)
{
    kvi_pgno first = kvi_first_page(f->s.page_size);
    return first + fuzz_below(f->in, f->s.size / f->s.page_size - first);
}

/* A page that is about to be changed. */
static uint8_t *take_victim(forge *f)
{
    kvi_pgno page = take_page(f);
    if (page < sizeof f->touched)
        f->touched[page] = 1;
    return page_of(f, page);
}

static void put_number(uint8_t *at, size_t width, uint64_t number)
{
    for (size_t i = 0; i < width; i++)
        at[i] = (uint8_t)(i < 8 ? number >> 8 * i : 0);
}

typedef struct field {
    uint16_t at, width;
} field;

static void put_field(uint8_t *at, const field *fields, size_t n, fuzz_in *in)
{
    const field *f = &fields[fuzz_below(in, n)];
    put_number(at + f->at, f->width, fuzz_awkward(in));
}

/* ---- pages ---- */

static void forge_header(forge *f)
{
#define HEADER_FIELD(name, off, size) {off, size},
    static const field fields[] = {KVI_PAGE_FIELDS(HEADER_FIELD)};
    put_field(take_victim(f), fields, KVI_COUNT(fields), f->in);
}

static void forge_body(forge *f)
{
    uint8_t *page = take_victim(f);
    size_t width = 1 + fuzz_below(f->in, 12);
    size_t at = KVI_HEADER_SIZE + fuzz_take(f->in, 2) % (f->s.page_size - KVI_HEADER_SIZE - width);
    put_number(page + at, width, fuzz_awkward(f->in));
}

/* The same, near the arrays or from the page's end. */
static void forge_near(forge *f)
{
    uint8_t *page = take_victim(f);
    size_t at = fuzz_take(f->in, 1);
    if (f->s.page_size - KVI_HEADER_SIZE > 256 && fuzz_take(f->in, 1) & 1)
        at = f->s.page_size - 1 - at;
    else
        at += KVI_HEADER_SIZE;
    page[at] = (uint8_t)fuzz_take(f->in, 1);
}

static void forge_raw(forge *f)
{
    uint8_t *page = take_victim(f);
    size_t at = fuzz_take(f->in, 2) % f->s.page_size;
    kvi_slice bytes = fuzz_bytes(f->in, fuzz_take(f->in, 1));
    memcpy(page + at, bytes.ptr, KVI_MIN(bytes.len, f->s.page_size - at));
}

static kvi_ptr name_of(forge *f, kvi_pgno page)
{
    return (kvi_ptr){page, kvi_get64(page_of(f, page) + KVI_P_birth)};
}

/* A child becomes another page: shared subtrees, wrong levels, cycles. */
static void forge_child(forge *f)
{
    uint8_t *page = take_victim(f);
    kvi_ptr child = name_of(f, take_page(f));
    unsigned i = (unsigned)fuzz_below(f->in, kvi_node_count(page) + 1u);
    if (page[KVI_P_type] == KVI_BRANCH)
        kvi_branch_set_child(page, f->s.page_size, i, child);
}

static void forge_tally(forge *f)
{
    uint8_t *page = take_victim(f);
    unsigned i = (unsigned)fuzz_below(f->in, kvi_node_count(page) + 1u);
    uint64_t tally = fuzz_awkward(f->in);
    if (page[KVI_P_type] == KVI_BRANCH)
        kvi_branch_set_tally(page, f->s.page_size, i, tally);
}

/* Another page's bytes under this page's name. */
static void forge_copy(forge *f)
{
    uint8_t *page = take_victim(f);
    uint8_t name[16];
    memcpy(name, page + KVI_P_birth, sizeof name);
    memmove(page, page_of(f, take_page(f)), f->s.page_size);
    memcpy(page + KVI_P_birth, name, sizeof name);
}

/* An entry where it does not belong, in a node that is sound by itself. */
static void forge_insert(forge *f)
{
    uint8_t *page = take_victim(f);
    uint8_t scratch[KVI_PAGE_MAX];
    kvi_item item = {.child = name_of(f, take_page(f)), .tally = fuzz_take(f->in, 1)};
    item.special = fuzz_take(f->in, 1) & 1;
    item.key = fuzz_bytes(f->in, fuzz_below(f->in, 32));
    item.value = fuzz_bytes(f->in, fuzz_below(f->in, 64));
    if (kvi_node_validate(page, f->s.page_size, -1, f->s.meta.high_water, KVI_ID_MAX) != 0)
        return;
    bool found = false;
    unsigned level = kvi_node_level(page),
             pos = level ? kvi_branch_search(page, f->s.page_size, item.key)
                         : kvi_leaf_search(page, f->s.page_size, item.key, &found);
    if (found)
        return;
    bool fits = level ? kvi_branch_insert(page, f->s.page_size, scratch, pos, &item)
                      : kvi_leaf_insert(page, f->s.page_size, scratch, pos, &item);
    if (fits)
        kvi_node_pack(page, f->s.page_size, scratch);
}

/* ---- values ---- */

static void forge_large(forge *f)
{
#define LARGE_FIELD(name, off, size) {off, size},
    static const field fields[] = {KVI_LARGE_FIELDS(LARGE_FIELD)};
    uint8_t *page = take_victim(f), *stored;
    uint8_t flags = fuzz_take(f->in, 1) & (KVI_ENTRY_LARGE | KVI_ENTRY_COMPRESSED);
    kvi_entry entry;
    if (kvi_node_validate(page, f->s.page_size, 0, f->s.meta.high_water, KVI_ID_MAX) != 0 ||
        !surgeon_entry(&f->s, (kvi_pgno)(page - f->s.bytes) / f->s.page_size, flags, &stored,
                       &entry))
        return;
    if (flags & KVI_ENTRY_LARGE)
        put_field(stored + kvi_entry_ref_at(&entry), fields, KVI_COUNT(fields), f->in);
    else
        put_number(stored + fuzz_below(f->in, 11), 8, fuzz_awkward(f->in));
}

/* The checksums of all large values that are where their references say, after their bytes were
 * changed: decompression sees them then. */
static void stamp_values(forge *f, uint8_t *page)
{
    uint8_t *stored;
    kvi_entry entry;
    for (uint8_t more = 0; more <= KVI_ENTRY_COMPRESSED; more += KVI_ENTRY_COMPRESSED) {
        if (!surgeon_entry(&f->s, (kvi_pgno)(page - f->s.bytes) / f->s.page_size,
                           KVI_ENTRY_LARGE | more, &stored, &entry))
            continue;
        uint8_t *ref = stored + kvi_entry_ref_at(&entry);
        uint64_t at = kvi_get48(ref + KVI_L_page) * f->s.page_size,
                 len = kvi_get64(ref + KVI_L_stored_len);
        if (at <= f->s.size && len <= f->s.size - at)
            kvi_put64(ref + KVI_L_checksum, kvi_hash_bytes(&f->s.hash, f->s.bytes + at, len));
    }
}

static void forge_values(forge *f)
{
    uint8_t *page = take_victim(f);
    if (kvi_node_validate(page, f->s.page_size, 0, f->s.meta.high_water, KVI_ID_MAX) == 0)
        stamp_values(f, page);
}

/* ---- the meta ---- */

static uint8_t *slot_of(forge *f, unsigned slot)
{
    return f->s.bytes + slot * kvi_meta_stride(f->s.page_size);
}

/* The meta bytes at at become the same in the other slot, unless only one is to change. */
static void meta_put(forge *f, size_t at, size_t width, uint64_t number)
{
    for (unsigned slot = f->flags & FORGE_ONE_META ? 1 : 0; slot < 2; slot++)
        put_number(slot_of(f, slot) + at, width, number);
}

static void forge_meta(forge *f)
{
#define META_FIELD(name, off, size) {off, KVI_MIN(size, 12)},
    static const field fields[] = {KVI_META_FIELDS(META_FIELD)};
    const field *at = &fields[fuzz_below(f->in, KVI_COUNT(fields))];
    meta_put(f, at->at, at->width, fuzz_awkward(f->in));
}

#define TREE_FIELD(name, off, size) {off, size},
static const field tree_fields[] = {KVI_TREE_FIELDS(TREE_FIELD)};

static void forge_tree(forge *f)
{
    static const uint16_t trees[] = {KVI_M_main, KVI_M_catalog, KVI_M_snapshots};
    size_t tree = trees[fuzz_below(f->in, 3)];
    const field *at = &tree_fields[fuzz_below(f->in, KVI_COUNT(tree_fields))];
    meta_put(f, tree + at->at, at->width, fuzz_awkward(f->in));
}

/* A tree, or a space record, begins at any page; with the level that this has. */
static void forge_root(forge *f)
{
    static const uint16_t roots[] = {KVI_M_main, KVI_M_catalog, KVI_M_snapshots,
                                     KVI_M_log,  KVI_M_map,     KVI_M_blocked};
    unsigned which = (unsigned)fuzz_below(f->in, KVI_COUNT(roots));
    kvi_pgno page = take_page(f);
    kvi_ptr ptr = name_of(f, page);
    meta_put(f, roots[which], 6, ptr.page);
    meta_put(f, roots[which] + 6u, 6, ptr.birth);
    if (which < 3)
        meta_put(f, roots[which] + (size_t)KVI_T_level, 1, page_of(f, page)[KVI_P_level]);
}

static void forge_delta(forge *f)
{
    size_t at = fuzz_take(f->in, 2) % KVI_DELTA_MAX;
    meta_put(f, KVI_M_delta + at, 1, fuzz_take(f->in, 1));
}

/* The records of free space are the input's own. */
static void forge_records(forge *f)
{
    kvi_slice bytes = fuzz_bytes(f->in, fuzz_take(f->in, 1));
    meta_put(f, KVI_M_delta_len, 2, bytes.len);
    for (size_t i = 0; i < bytes.len; i++)
        meta_put(f, KVI_M_delta + i, 1, bytes.ptr[i]);
}

/* ---- the catalog ---- */

static void forge_catalog(forge *f)
{
    kvi_pgno page = f->s.meta.catalog.root.page;
    unsigned i = (unsigned)fuzz_take(f->in, 1);
    const field *at = &tree_fields[fuzz_below(f->in, KVI_COUNT(tree_fields))];
    uint64_t number = fuzz_awkward(f->in);
    if (page < 2 || page >= sizeof f->touched || (page + 1) * f->s.page_size > f->s.size)
        return;
    const uint8_t *leaf = page_of(f, page);
    if (kvi_node_validate(leaf, f->s.page_size, 0, f->s.meta.high_water, KVI_ID_MAX) != 0 ||
        kvi_node_count(leaf) == 0)
        return;
    bool special;
    kvi_slice value = kvi_leaf_value(leaf, f->s.page_size, i % kvi_node_count(leaf), &special);
    if (value.len == KVI_TREE_SIZE)
        put_number(f->s.bytes + (value.ptr - f->s.bytes) + at->at, at->width, number);
    f->touched[page] = 1;
}

/* ---- the file ---- */

/* A new page at the end, a copy of another, with a name of its own and the newest birth. */
static void forge_grow(forge *f)
{
    kvi_pgno from = take_page(f), page = f->s.size / f->s.page_size;
    if (f->s.size + f->s.page_size > f->cap)
        return;
    f->s.size += f->s.page_size;
    memcpy(page_of(f, page), page_of(f, from), f->s.page_size);
    kvi_put64(page_of(f, page) + KVI_P_page, page);
    kvi_put64(page_of(f, page) + KVI_P_birth, f->s.meta.id);
    f->s.meta.high_water = page + 1;
    meta_put(f, KVI_M_high_water, 8, page + 1);
    if (page < sizeof f->touched)
        f->touched[page] = 1;
}

static void forge_cut(forge *f)
{
    size_t pages = fuzz_take(f->in, 1), least = 3 * kvi_meta_stride(f->s.page_size);
    f->s.size = KVI_MAX(f->s.size - KVI_MIN(f->s.size, pages * f->s.page_size), least);
}

/* ---- making it right again ---- */

static void birth_everywhere(forge *f, kvi_pgno page)
{
    kvi_pgno first = kvi_first_page(f->s.page_size), end = f->s.size / f->s.page_size;
    kvi_put64(page_of(f, page) + KVI_P_birth, f->s.meta.id);
    for (kvi_pgno at = first; at < end; at++) {
        uint8_t *parent = page_of(f, at);
        if (parent[KVI_P_type] != KVI_BRANCH)
            continue;
        for (unsigned i = 0; i <= kvi_node_count(parent) && i < 64; i++) {
            kvi_ptr child = kvi_branch_child(parent, f->s.page_size, i);
            if (child.page != page || child.birth == f->s.meta.id)
                continue;
            kvi_branch_set_child(parent, f->s.page_size, i, (kvi_ptr){page, f->s.meta.id});
            if (at < sizeof f->touched)
                f->touched[at] = 1;
        }
    }
    static const uint16_t roots[] = {KVI_M_main, KVI_M_catalog, KVI_M_log, KVI_M_map,
                                     KVI_M_blocked};
    for (size_t i = 0; i < KVI_COUNT(roots); i++)
        if (kvi_get48(slot_of(f, 1) + roots[i]) == page)
            meta_put(f, roots[i] + 6u, 6, f->s.meta.id);
}

static void stamp_all(forge *f)
{
    kvi_pgno end = KVI_MIN(f->s.size / f->s.page_size, sizeof f->touched);
    for (kvi_pgno page = kvi_first_page(f->s.page_size); page < end; page++)
        if (f->touched[page] && f->flags & FORGE_BIRTHS)
            birth_everywhere(f, page);
    for (kvi_pgno page = kvi_first_page(f->s.page_size); page < end; page++)
        if (f->touched[page] && !(f->flags & FORGE_NO_STAMPS))
            surgeon_stamp(&f->s, page);
    surgeon_stamp_meta(&f->s, 0);
    surgeon_stamp_meta(&f->s, 1);
}

static int add_page(kvi_walk *walk, kvi_ptr ptr, const uint8_t *bytes)
{
    (void)ptr;
    *(uint64_t *)walk->context += kvi_get64(bytes + KVI_P_checksum);
    return KV_OK;
}

/* Seal and walk size of the slot as recovery will find them, if it finds the pages sound. */
static void seal_slot(sim_disk *disk, uint8_t *slot)
{
    kvi_meta meta;
    kvi_file file;
    kvi_err err;
    uint64_t seal = 0;
    if (kvi_meta_decode(slot, &meta) != KVI_META_VALID || meta.durable == meta.id)
        return;
    kvi_err_init(&err);
    int fd = disk->os.open(&disk->os, IMAGE_NAME, KVI_OS_READ, 0);
    if (kvi_file_init(&file, &disk->os, &err, fd, meta.page_size, meta.hash_seed, true) == KV_OK) {
        kvi_walk walk = {.file = &file, .meta = &meta, .newer_than = meta.durable};
        walk.budget = FORGE_BUDGET;
        walk.page = add_page;
        walk.context = &seal;
        if (kvi_walk_all(&walk) == KV_OK) {
            kvi_put64(slot + KVI_M_seal, seal);
            kvi_put64(slot + KVI_M_walk, walk.visited);
            kvi_put64(slot + KVI_M_checksum,
                      kvi_hash_meta(slot + KVI_M_version, KVI_META_SIZE - KVI_M_version));
        }
        kvi_file_close(&file);
    }
    disk->os.close(&disk->os, fd);
    kvi_err_destroy(&err);
}

static void forge_seals(sim_disk *disk, uint32_t page_size)
{
    uint8_t *bytes = disk->files[sim_find(disk, IMAGE_NAME)].bytes;
    seal_slot(disk, bytes);
    seal_slot(disk, bytes + kvi_meta_stride(page_size));
}

/* ---- all ---- */

void forge_file(sim_disk *disk, fuzz_in *in, unsigned max)
{
    static void (*const ways[])(forge *) = {
        forge_header, forge_body,   forge_near,    forge_raw,     forge_child, forge_tally,
        forge_copy,   forge_insert, forge_large,   forge_values,  forge_meta,  forge_tree,
        forge_root,   forge_delta,  forge_records, forge_catalog, forge_grow,  forge_cut,
    };
    forge f = {.in = in};
    kvi_slice image = image_of((enum image_kind)fuzz_below(in, IMAGE_KINDS));
    f.flags = (uint8_t)fuzz_take(in, 1);
    surgeon_take(&f.s, image.ptr, image.len);
    f.cap = image.len + FORGE_SPARE * f.s.page_size;
    f.s.bytes = realloc(f.s.bytes, f.cap);
    if (!f.s.bytes)
        fuzz_fail("no memory");
    memset(f.s.bytes + image.len, 0, f.cap - image.len);
    for (unsigned i = 0; i < max && fuzz_more(in); i++)
        ways[fuzz_below(in, KVI_COUNT(ways))](&f);
    stamp_all(&f);
    sim_put_file(disk, IMAGE_NAME, f.s.bytes, f.s.size);
    if (!(f.flags & FORGE_NO_SEAL))
        forge_seals(disk, f.s.page_size);
    surgeon_free(&f.s);
}
