/* dissect.c - see dissect.h. */
#include "dissect.h"
#include "node.h"
#include "walk.h"
#include <stdio.h>

/* ---- opening ---- */

int kvi_dissect_open(const kvi_os *os, const char *path, kv_inspect **look, char *message,
                     size_t message_size)
{
    kv_inspect *l = os->alloc(os, sizeof *l);
    *look = NULL;
    if (!l)
        return KV_ENOMEM;
    memset(l, 0, sizeof *l);
    int rc = kvi_carve_open(&l->carve, os, path);
    if (rc == KV_OK) {
        l->page = os->alloc(os, KVI_PAGE_MAX);
        l->key = os->alloc(os, KVI_PAGE_MAX);
        l->limit = KVI_MAX(l->carve.pages,
                           l->carve.trust == KVI_TRUST_NONE ? 0 : l->carve.meta.high_water);
        if (!l->page || !l->key)
            rc = kvi_fail(&l->carve.err, KV_ENOMEM, "no memory for a page");
    }
    if (rc != KV_OK && message)
        kvi_err_text(&l->carve.err, message, message_size);
    if (rc == KV_OK)
        *look = l;
    else
        kvi_dissect_close(l);
    return rc;
}

static void map_drop(kv_inspect *l)
{
    const kvi_os *os = l->carve.os;
    for (size_t i = 0; i < l->n_owners; i++)
        os->free(os, l->owners[i].name);
    os->free(os, l->owners);
    l->owners = NULL;
    l->n_owners = l->owners_cap = 0;
    if (l->labels)
        os->release(os, l->labels, (size_t)(l->limit + 1) * sizeof *l->labels);
    if (l->first)
        os->release(os, l->first, (size_t)(l->limit + 1) * sizeof *l->first);
    if (l->broken)
        os->release(os, l->broken, (size_t)(l->limit + 1) * sizeof *l->broken);
    l->labels = NULL;
    l->first = NULL;
    l->broken = NULL;
    if (l->space)
        kvi_space_close(l->space);
    l->space = NULL;
}

void kvi_dissect_close(kv_inspect *l)
{
    const kvi_os *os = l->carve.os;
    map_drop(l);
    os->free(os, l->page);
    os->free(os, l->key);
    kvi_carve_close(&l->carve);
    os->free(os, l);
}

/* ---- metas ---- */

static kv_pointer pointer_of(kvi_ptr ptr)
{
    return (kv_pointer){ptr.page, ptr.birth};
}

static kv_root root_of(const kvi_tree_desc *desc)
{
    return (kv_root){
        .ptr = pointer_of(desc->root),
        .level = desc->level,
        .entries = desc->entries,
        .leaf_pages = desc->leaf_pages,
        .branch_pages = desc->branch_pages,
        .large_pages = desc->large_pages,
    };
}

/* Does the file lack pages of the commit? No open takes it then. */
static bool is_cut(const kvi_carve *carve)
{
    return carve->pages < carve->meta.high_water;
}

/* Does it lack pages of this meta's commit? No open takes that. */
static bool reason_cut(const kvi_carve *carve, unsigned slot, char *reason, size_t size)
{
    kvi_pgno pages = carve->slots.meta[slot].high_water;
    if (pages <= carve->pages)
        return false;
    snprintf(reason, size, "its commit has %llu pages, but the file ends after %llu",
             (unsigned long long)pages, (unsigned long long)carve->pages);
    return true;
}

/* Of the sound metas, the one that an open takes, or would. */
static void reason_chosen(const kvi_carve *carve, char *reason, size_t size)
{
    const kvi_choice *choice = &carve->choice;
    bool proven = carve->meta.durable == carve->meta.id;
    const char *why = choice->confirmed  ? "both metas hold this commit, so it is durable"
                      : choice->rejected ? "the newer commit is not whole, this one is durable"
                      : proven           ? "the newest commit, known durable"
                                         : "the newest commit; all its pages are there";
    snprintf(reason, size, "%s",
             carve->trust == KVI_TRUST_FULL ? why
                                            : "it is not whole, but salvage "
                                              "has nothing better");
}

static void reason_passed(const kvi_carve *carve, unsigned slot, char *reason, size_t size)
{
    const kvi_meta *own = &carve->slots.meta[slot];
    if (is_cut(carve) || carve->trust != KVI_TRUST_FULL)
        snprintf(reason, size,
                 "older than the other, whose commit %llu cannot be used; what this one had may "
                 "have been overwritten",
                 (unsigned long long)carve->meta.id);
    else if (own->id > carve->meta.id)
        snprintf(reason, size,
                 "not all that commit %llu wrote is there: it was cut short, or damaged",
                 (unsigned long long)own->id);
    else if (own->id == carve->meta.id)
        snprintf(reason, size, "the same commit; the next one will overwrite this copy");
    else
        snprintf(reason, size, "older than the other");
}

void kvi_dissect_meta(kv_inspect *l, unsigned slot, kv_meta_info *info)
{
    const kvi_carve *carve = &l->carve;
    kvi_meta meta = {0};
    int state = (int)kvi_meta_decode(carve->slots.block[slot], &meta);
    char *reason = l->reasons[slot];
    size_t size = sizeof l->reasons[slot];
    bool sound = state == KVI_META_VALID;
    bool chosen = sound && slot == carve->slot && carve->trust >= KVI_TRUST_SLOT;
    if (!sound)
        snprintf(reason, size, "%s%s", kvi_meta_unsound(state),
                 state == KVI_META_TORN ? ": torn, or damaged" : "");
    else if (reason_cut(carve, slot, reason, size))
        chosen = false;
    else if (chosen)
        reason_chosen(carve, reason, size);
    else
        reason_passed(carve, slot, reason, size);
    *info = (kv_meta_info){.size = sizeof *info,
                           .state = state,
                           .chosen = chosen && carve->trust == KVI_TRUST_FULL,
                           .reason = reason,
                           .id = meta.id,
                           .durable = meta.durable,
                           .seal = meta.seal,
                           .walk = meta.walk,
                           .high_water = meta.high_water,
                           .clock = meta.clock,
                           .page_size = meta.page_size,
                           .kind = meta.kind,
                           .hash_seed = meta.hash_seed,
                           .main = root_of(&meta.main),
                           .catalog = root_of(&meta.catalog),
                           .snapshots = root_of(&meta.snapshots),
                           .log = pointer_of(meta.log),
                           .map = pointer_of(meta.map),
                           .blocked = pointer_of(meta.blocked),
                           .log_pages = meta.log_pages,
                           .map_levels = meta.map_levels,
                           .blocked_pages = meta.blocked_pages,
                           .delta_len = meta.delta_len};
    memcpy(info->file_id, meta.file_id, sizeof info->file_id);
    memcpy(info->boot_id, meta.boot_id, sizeof info->boot_id);
}

/* ---- which page belongs to what ---- */

/* The owner of what the walk is at; trees are visited one after the other, so it is one of the last
 * ones. */
static int owner_of(kv_inspect *l, uint32_t owner, bool past, kvi_slice name, uint32_t *label)
{
    const kvi_os *os = l->carve.os;
    for (size_t i = l->n_owners; i-- > 0;) {
        const kvi_owner *known = &l->owners[i];
        if (known->owner != owner || known->past != past)
            continue;
        if (kvi_slice_compare(kvi_slice_of(known->name, known->name_len), name) == 0) {
            *label = (uint32_t)i + 1;
            return KV_OK;
        }
        break; /* names ascend; those of the past are none */
    }
    kvi_owner *owners = kvi_os_room(os, l->owners, &l->owners_cap, l->n_owners + 1, sizeof *owners);
    uint8_t *copy = os->alloc(os, name.len + 1);
    if (owners)
        l->owners = owners;
    if (!owners || !copy) {
        os->free(os, copy);
        return kvi_fail(&l->carve.err, KV_ENOMEM, "no memory to list trees");
    }
    if (name.len)
        memcpy(copy, name.ptr, name.len);
    owners[l->n_owners++] = (kvi_owner){owner, past, copy, name.len};
    *label = (uint32_t)l->n_owners;
    return KV_OK;
}

static int label_of(const kvi_walk *walk, uint32_t *label)
{
    static const uint32_t owners[] = {KV_OWNER_MAIN, KV_OWNER_CATALOG, KV_OWNER_TREE,
                                      KV_OWNER_SNAPSHOTS};
    kvi_slice none = {NULL, 0};
    if (!walk->tree)
        return owner_of(walk->context, KV_OWNER_SPACE, false, none, label);
    bool past = walk->snapshot != 0;
    return owner_of(walk->context, owners[walk->tree->kind], past, past ? none : walk->tree->name,
                    label);
}

/* Of what a page breaks, the first counts. */
static void map_mark(kv_inspect *l, kvi_pgno page, uint64_t n, const char *invariant)
{
    for (kvi_pgno end = page + n; page < end; page++)
        if (!l->broken[page])
            l->broken[page] = invariant;
}

static int map_page(kvi_walk *walk, kvi_ptr ptr, const uint8_t *bytes)
{
    kv_inspect *l = walk->context;
    (void)bytes;
    if (l->labels[ptr.page])
        return KVI_WALK_SKIP;
    return label_of(walk, &l->labels[ptr.page]);
}

static int map_large(kvi_walk *walk, const kvi_large *large, const kvi_ptr *leaf)
{
    kv_inspect *l = walk->context;
    uint32_t label;
    (void)leaf;
    int rc = label_of(walk, &label);
    if (rc != KV_OK)
        return rc;
    for (kvi_pgno page = large->ptr.page; page < large->ptr.page + large->pages; page++) {
        if (l->first[page])
            return KV_OK; /* each value's pages are looked at once, however many claim them (S1) */
        if (l->labels[page])
            continue;
        l->labels[page] = label;
        l->first[page] = large->ptr.page;
    }
    rc = kvi_walk_large(walk->file, large, NULL, NULL);
    if (rc == KV_ECORRUPT && l->carve.seeded)
        map_mark(l, large->ptr.page, large->pages, "V3");
    return rc == KV_ECORRUPT || rc == KV_EIO ? KV_OK : rc;
}

/* A page that is led to belongs to the tree, whatever is wrong with it. The page may not show that: what
 * stood there before a write that was lost is sound by itself. */
static int map_broken(kvi_walk *walk, kvi_ptr ptr, unsigned level, int rc)
{
    kv_inspect *l = walk->context;
    (void)level;
    (void)rc;
    if (ptr.page < kvi_first_page(walk->file->page_size) || ptr.page >= l->limit)
        return KV_OK;
    if (walk->invariant)
        map_mark(l, ptr.page, 1, walk->invariant);
    return l->labels[ptr.page] ? KV_OK : label_of(walk, &l->labels[ptr.page]);
}

static int map_space(kv_inspect *l)
{
    kvi_meta meta = l->carve.meta;
    meta.durable = meta.id; /* damage there is no reason to give up */
    int rc = kvi_space_load(&l->space, &l->carve.file, &meta);
    if (rc == KV_OK && kvi_space_unknown(l->space)) {
        kvi_space_close(l->space);
        l->space = NULL;
    }
    if (rc != KV_OK)
        l->space = NULL;
    return rc == KV_ENOMEM ? rc : KV_OK;
}

static int map_fill(kv_inspect *l)
{
    const kvi_os *os = l->carve.os;
    kvi_walk walk = {
        .file = &l->carve.file,
        .meta = &l->carve.meta,
        .budget = UINT64_MAX,
        .unsealed = !l->carve.seeded,
        .page = map_page,
        .large = map_large,
        .broken = map_broken,
        .context = l,
    };
    l->labels = os->reserve(os, (size_t)(l->limit + 1) * sizeof *l->labels);
    l->first = os->reserve(os, (size_t)(l->limit + 1) * sizeof *l->first);
    l->broken = os->reserve(os, (size_t)(l->limit + 1) * sizeof *l->broken);
    if (!l->labels || !l->first || !l->broken)
        return kvi_fail(&l->carve.err, KV_ENOMEM, "no memory to look at all pages");
    if (l->carve.trust == KVI_TRUST_NONE)
        return KV_OK;
    int rc = kvi_walk_all(&walk);
    return rc == KV_OK ? map_space(l) : rc;
}

/* A map half made would call used pages leaked: the next call begins it again. */
static int map_make(kv_inspect *l)
{
    int rc = l->labels ? KV_OK : map_fill(l);
    if (rc != KV_OK)
        map_drop(l);
    return rc;
}

/* ---- one page ---- */

/* NULL: nobody leads to the page. */
static const kvi_owner *page_label(const kv_inspect *l, kvi_pgno page)
{
    return l->labels[page] ? &l->owners[l->labels[page] - 1] : NULL;
}

static uint32_t page_state(const kv_inspect *l, kvi_pgno page)
{
    const kvi_owner *owner = page_label(l, page);
    if (owner)
        return owner->past ? KV_STATE_DEAD : KV_STATE_USED;
    if (page < kvi_first_page(l->carve.file.page_size))
        return KV_STATE_USED;
    if (l->carve.trust == KVI_TRUST_NONE)
        return KV_STATE_UNKNOWN;
    if (page >= l->carve.meta.high_water)
        return KV_STATE_BEYOND;
    if (!l->space)
        return KV_STATE_UNKNOWN;
    switch (kvi_space_state(l->space, page)) {
    case KVI_PAGE_FREE:
        return KV_STATE_FREE;
    case KVI_PAGE_DEAD:
        return KV_STATE_DEAD;
    default:
        return KV_STATE_LEAKED;
    }
}

static void page_header(const kv_inspect *l, const uint8_t *bytes, kv_page_info *info)
{
    const kvi_file *file = &l->carve.file;
    info->type = bytes[KVI_P_type];
    info->level = bytes[KVI_P_level];
    info->birth = kvi_get64(bytes + KVI_P_birth);
    info->count = kvi_get16(bytes + KVI_P_count);
    info->named = kvi_get64(bytes + KVI_P_page);
    info->checksum = kvi_get64(bytes + KVI_P_checksum);
    if (l->carve.seeded)
        info->right_checksum = kvi_hash_bytes(&file->hash, bytes + 8, file->page_size - 8);
    info->heap = kvi_get16(bytes + KVI_P_heap);
    info->dead = kvi_get16(bytes + KVI_P_dead);
    info->prefix_len = kvi_get16(bytes + KVI_P_prefix_len);
    info->fixed_key = kvi_get16(bytes + KVI_P_fixed_key);
    info->fixed_value = kvi_get16(bytes + KVI_P_fixed_value);
    info->hint_stride = kvi_get16(bytes + KVI_P_hint_stride);
    info->flags = kvi_get16(bytes + KVI_P_flags);
}

/* What a page with a header breaks by itself. A page in use must have one; where nobody leads any more,
 * pointers may go behind an end of the file that came later. */
static const char *page_problem(const kv_inspect *l, kvi_pgno page, const uint8_t *bytes)
{
    static const char *const names[] = {"", "N1", "N2", "N3", "N4", "N5", "N6", "N7", "N8", "N9"};
    kvi_carved found = kvi_carve_judge(&l->carve, page, bytes);
    bool used = l->labels[page];
    if (!found.birth)
        return used ? "N8" : "";
    if (!found.broken && found.type == KVI_LEAF &&
        !kvi_entries_valid(bytes, l->carve.file.page_size, used ? l->limit : KVI_PGNO_MAX,
                           found.birth))
        return "V1";
    return used || found.broken != 7 ? names[found.broken] : "";
}

static void page_owner(const kv_inspect *l, kvi_pgno page, kv_page_info *info)
{
    const kvi_owner *owner = page_label(l, page);
    info->needed = owner || page < kvi_first_page(l->carve.file.page_size);
    if (!owner || owner->past)
        return;
    info->owner = owner->owner;
    info->tree = (kv_slice){owner->name, owner->name_len};
}

static bool page_of_catalog(const kv_inspect *l, kvi_pgno page)
{
    const kvi_owner *owner = page_label(l, page);
    return owner && owner->owner == KV_OWNER_CATALOG;
}

static void page_meta(const kv_inspect *l, kvi_pgno page, kv_page_info *info)
{
    kvi_meta meta;
    uint32_t page_size = l->carve.file.page_size;
    uint64_t stride = kvi_meta_stride(page_size);
    unsigned slot = page * page_size >= stride;
    info->type = KV_PAGE_META;
    if (kvi_meta_decode(l->carve.slots.block[slot], &meta) == KVI_META_VALID)
        info->birth = meta.id;
    else
        info->problem = "M0";
}

int kvi_dissect_page(kv_inspect *l, kvi_pgno page, kv_page_info *info)
{
    int rc = map_make(l);
    if (rc != KV_OK)
        return rc;
    if (page >= l->limit)
        return kvi_fail(&l->carve.err, KV_NOTFOUND, "there is no page %llu",
                        (unsigned long long)page);
    *info = (kv_page_info){.size = sizeof *info, .page = page};
    info->problem = l->broken[page] ? l->broken[page] : "";
    info->state = page_state(l, page);
    page_owner(l, page, info);
    if (page < kvi_first_page(l->carve.file.page_size)) {
        page_meta(l, page, info);
        return KV_OK;
    }
    rc = kvi_carve_read(&l->carve, page, l->page);
    if (rc == KV_EIO || rc == KV_ECORRUPT) { /* a page that was never written may be missing */
        info->problem = rc == KV_EIO || l->labels[page] ? "IO" : "";
        return KV_OK;
    }
    if (rc == KV_OK && l->first[page]) {
        info->type = KV_PAGE_LARGE;
        info->first = l->first[page];
        return KV_OK;
    }
    if (rc == KV_OK && (kvi_carve_judge(&l->carve, page, l->page).birth || l->labels[page]))
        page_header(l, l->page, info);
    if (rc == KV_OK && !l->broken[page])
        info->problem = page_problem(l, page, l->page);
    return rc;
}

/* ---- what is on a page ---- */

static void slot_special(kv_page_slot *slot, kvi_stored stored)
{
    kvi_entry entry;
    slot->flags |= KV_SLOT_SPECIAL;
    if (!kvi_entry_parse(stored, &entry)) {
        slot->flags |= KV_SLOT_BROKEN;
        return;
    }
    slot->value_len = entry.raw_len;
    if (entry.flags & KVI_ENTRY_COMPRESSED)
        slot->flags |= KV_SLOT_COMPRESSED;
    if (entry.flags & KVI_ENTRY_LARGE) {
        slot->flags |= KV_SLOT_LARGE;
        slot->child = pointer_of(entry.large.ptr);
        slot->pages = entry.large.pages;
    }
}

static void slot_of_leaf(const kv_inspect *l, bool catalog, unsigned i, kv_page_slot *slot)
{
    uint32_t page_size = l->carve.file.page_size;
    kvi_stored stored;
    kvi_tree_desc desc;
    stored.bytes = kvi_leaf_value(l->page, page_size, i, &stored.special);
    slot->key = (kv_slice){l->key, kvi_node_key(l->page, page_size, i, l->key)};
    slot->value = (kv_slice){stored.bytes.ptr, stored.bytes.len};
    slot->value_len = stored.bytes.len;
    if (stored.special)
        slot_special(slot, stored);
    if (catalog && !stored.special && stored.bytes.len == KVI_TREE_SIZE &&
        kvi_tree_desc_decode(stored.bytes.ptr, page_size, l->limit, KVI_ID_MAX, &desc)) {
        slot->flags |= KV_SLOT_TREE;
        slot->child = pointer_of(desc.root);
        slot->entries = desc.entries;
    }
}

static void slot_of_branch(const kv_inspect *l, unsigned i, kv_page_slot *slot)
{
    uint32_t page_size = l->carve.file.page_size;
    if (i > 0)
        slot->key = (kv_slice){l->key, kvi_node_key(l->page, page_size, i - 1, l->key)};
    slot->child = pointer_of(kvi_branch_child(l->page, page_size, i));
    slot->entries = kvi_branch_tally(l->page, page_size, i);
}

/* Space records: where the page leads to. */
static unsigned pointers_of(const kv_inspect *l, uint32_t *at)
{
    switch (l->page[KVI_P_type]) {
    case KVI_LOG:
        *at = KVI_G_older;
        return 1;
    case KVI_BLOCKED:
        *at = KVI_B_next;
        return 1;
    case KVI_MAP_DIR:
        *at = KVI_HEADER_SIZE;
        return KVI_MIN(kvi_get16(l->page + KVI_P_count), kvi_map_fanout(l->carve.file.page_size));
    default:
        return 0;
    }
}

static int slots_stop(kv_inspect *l)
{
    return kvi_fail(&l->carve.err, KV_ECANCELED, "stopped by a callback");
}

static int slots_of_space(kv_inspect *l, int (*fn)(void *context, const kv_page_slot *slot),
                          void *context)
{
    uint32_t at = 0;
    unsigned n = pointers_of(l, &at);
    for (unsigned i = 0; i < n; i++) {
        kv_page_slot slot = {.index = i};
        slot.child = pointer_of(kvi_ptr_get(l->page + at + KVI_PTR_SIZE * i));
        if (fn(context, &slot) != 0)
            return slots_stop(l);
    }
    return n ? KV_OK : KV_NOTFOUND;
}

int kvi_dissect_slots(kv_inspect *l, kvi_pgno page,
                      int (*fn)(void *context, const kv_page_slot *slot), void *context)
{
    kv_page_info info;
    int rc = kvi_dissect_page(l, page, &info);
    if (rc != KV_OK)
        return rc;
    if (info.type >= KV_PAGE_LOG && info.type <= KV_PAGE_BLOCKED)
        return slots_of_space(l, fn, context);
    if (info.type != KV_PAGE_LEAF && info.type != KV_PAGE_BRANCH)
        return KV_NOTFOUND;
    int broken = kvi_node_validate(l->page, l->carve.file.page_size, -1, KVI_PGNO_MAX, KVI_ID_MAX);
    if (broken >= 1 && broken <= 3)
        return kvi_fail(&l->carve.err, KV_ECORRUPT,
                        "page %llu breaks N%d: its entries are beyond "
                        "reading",
                        (unsigned long long)page, broken);
    bool branch = info.type == KV_PAGE_BRANCH, catalog = page_of_catalog(l, page);
    for (unsigned i = 0; i < kvi_node_count(l->page) + branch; i++) {
        kv_page_slot slot = {.index = i};
        if (branch)
            slot_of_branch(l, i, &slot);
        else
            slot_of_leaf(l, catalog, i, &slot);
        if (fn(context, &slot) != 0)
            return slots_stop(l);
    }
    return KV_OK;
}
