/* recover.c - see recover.h. */
#include "recover.h"
#include "mutant.h"
#include "walk.h"

/* ---- reading the slots ---- */

/* False: unreadable, or cut short by the end of the file; both count as torn. */
static bool block_read(const kvi_os *os, int fd, uint64_t offset, uint8_t *block, int64_t *error)
{
    size_t have = 0;
    memset(block, 0, KVI_META_SIZE);
    while (have < KVI_META_SIZE) {
        int64_t got = os->pread(os, fd, block + have, KVI_META_SIZE - have, offset + have);
        if (got < 0)
            *error = got;
        if (got <= 0)
            return false;
        have += (size_t)got;
    }
    return true;
}

static enum kvi_meta_state slot_read(const kvi_os *os, int fd, kvi_slots *slots, unsigned slot,
                                     uint32_t page_size)
{
    uint8_t *block = slots->block[slot];
    if (!block_read(os, fd, slot * kvi_meta_stride(page_size), block, &slots->error))
        return KVI_META_TORN;
    slots->ours |= kvi_meta_has_magic(block);
    return kvi_meta_decode(block, &slots->meta[slot]);
}

/* Slot 0 says where slot 1 is; without it, slot 1 is looked for where each page size puts it. */
static enum kvi_meta_state second_slot_read(const kvi_os *os, int fd, kvi_slots *slots)
{
    enum kvi_meta_state state = KVI_META_TORN;
    if (slots->valid[0]) {
        slots->page_size = slots->meta[0].page_size;
        state = slot_read(os, fd, slots, 1, slots->page_size);
        slots->valid[1] = state == KVI_META_VALID && slots->meta[1].page_size == slots->page_size &&
                          slots->meta[1].hash_seed == slots->meta[0].hash_seed;
        return state;
    }
    for (uint32_t size = KVI_PAGE_MIN; size <= KVI_PAGE_MAX; size *= 2) {
        enum kvi_meta_state one = slot_read(os, fd, slots, 1, size);
        if (one == KVI_META_VALID && slots->meta[1].page_size == size) {
            slots->valid[1] = true;
            slots->page_size = size;
            return one;
        }
        state = one == KVI_META_UNKNOWN ? one : state;
    }
    return state;
}

int kvi_recover_slots(const kvi_os *os, kvi_err *err, int fd, kvi_slots *slots)
{
    memset(slots, 0, sizeof *slots);
    enum kvi_meta_state first = slot_read(os, fd, slots, 0, KVI_PAGE_MIN);
    slots->valid[0] = first == KVI_META_VALID;
    enum kvi_meta_state second = second_slot_read(os, fd, slots);
    if (first == KVI_META_UNKNOWN || second == KVI_META_UNKNOWN)
        return kvi_fail(err, KV_EVERSION, "%s", kv_strerror(KV_EVERSION));
    if (slots->valid[0] || slots->valid[1])
        return KV_OK;
    if (slots->error)
        return kvi_fail_os(err, slots->error, "reading the meta pages");
    if (slots->ours)
        return kvi_fail(err, KV_ECORRUPT, "both meta pages are damaged");
    return kvi_fail(err, KV_ENOTKV, "%s", kv_strerror(KV_ENOTKV));
}

int kvi_recover_both(const kvi_os *os, kvi_err *err, int fd, kvi_slots *slots)
{
    int rc = kvi_recover_slots(os, err, fd, slots);
    return rc == KV_OK && slots->error ? kvi_fail_os(err, slots->error, "reading the meta pages")
                                       : rc;
}

/* ---- keeping what was read ---- */

void kvi_recover_forget(const kvi_os *os, kvi_kept *kept)
{
    os->free(os, kept->bytes);
    os->free(os, kept->pieces);
    *kept = (kvi_kept){0};
}

/* Room for the walk of a commit. Without it, what is adopted is read twice. */
static void kept_begin(const kvi_os *os, kvi_kept *kept, const kvi_meta *meta, uint32_t page_size)
{
    if (!kept || meta->walk == 0 || meta->walk > KVI_WALK_CAP)
        return;
    kept->cap = (size_t)meta->walk;
    kept->pieces_cap = kept->cap / page_size + 1;
    kept->bytes = os->alloc(os, kept->cap);
    kept->pieces = os->alloc(os, kept->pieces_cap * sizeof *kept->pieces);
    if (!kept->bytes || !kept->pieces)
        kvi_recover_forget(os, kept);
}

static void kept_add(kvi_kept *kept, uint64_t offset, const uint8_t *bytes, size_t len)
{
    if (!kept || !kept->bytes || len > kept->cap - kept->used)
        return;
    struct kvi_kept_piece *last = kept->n ? &kept->pieces[kept->n - 1] : NULL;
    if (last && last->offset + last->len == offset)
        last->len += len;
    else if (kept->n < kept->pieces_cap)
        kept->pieces[kept->n++] = (struct kvi_kept_piece){offset, kept->used, len};
    memcpy(kept->bytes + kept->used, bytes, len);
    kept->used += len;
}

/* ---- is a commit whole? ---- */

typedef struct proof {
    uint64_t seal;
    kvi_kept *kept; /* may be NULL */
} proof;

static int prove_page(kvi_walk *walk, kvi_ptr ptr, const uint8_t *bytes)
{
    proof *p = walk->context;
    p->seal += kvi_get64(bytes + KVI_P_checksum);
    kept_add(p->kept, ptr.page << walk->file->page_shift, bytes, walk->file->page_size);
    return KV_OK;
}

typedef struct large_place {
    kvi_file *file;
    kvi_kept *kept;
    uint64_t offset;
} large_place;

static int prove_piece(void *context, uint64_t offset, const uint8_t *bytes, size_t len)
{
    const large_place *place = context;
    kept_add(place->kept, place->offset + offset, bytes, len);
    return KV_OK;
}

static int prove_large(kvi_walk *walk, const kvi_large *large, const kvi_ptr *leaf)
{
    const proof *p = walk->context;
    large_place place = {walk->file, p->kept, large->ptr.page << walk->file->page_shift};
    (void)leaf;
    return kvi_walk_large(walk->file, large, prove_piece, &place);
}

/* Walks what the commit wrote beyond its last-durable one. *whole = every page and value is there
 * as it was written, and together they are the ones that the meta sealed. */
static int commit_whole(kvi_file *file, const kvi_meta *meta, kvi_kept *kept, bool *whole)
{
    proof found = {0, kept};
    kvi_walk walk = {
        .file = file,
        .meta = meta,
        .newer_than = meta->durable,
        .budget = meta->walk,
        .page = prove_page,
        .large = prove_large,
        .context = &found,
    };
    *whole = false;
    if (meta->high_water << file->page_shift > file->size)
        return KV_OK;
    kept_begin(file->os, kept, meta, file->page_size);
    int rc = kvi_walk_all(&walk);
    if (rc == KV_ECORRUPT)
        return KV_OK;
    if (KVI_MUTANT(NO_SEAL))
        found.seal = meta->seal;
    *whole = rc == KV_OK && found.seal == meta->seal && walk.visited == meta->walk;
    return rc;
}

/* A lazy tail too large to walk quickly is only believed on the boot that wrote it. */
static bool beyond_belief(const kvi_meta *meta, const uint8_t boot_id[16])
{
    return meta->walk > KVI_WALK_CAP && !KVI_MUTANT(BOOT_IGNORED) &&
           memcmp(meta->boot_id, boot_id, sizeof meta->boot_id) != 0;
}

static int commit_usable(kvi_file *file, const kvi_meta *meta, const uint8_t boot_id[16],
                         kvi_kept *kept, bool *usable)
{
    *usable = meta->durable == meta->id;
    if (*usable || beyond_belief(meta, boot_id))
        return KV_OK;
    return commit_whole(file, meta, kept, usable);
}

/* ---- choosing ---- */

static void choose_confirmed(const kvi_slots *slots, kvi_choice *choice)
{
    /* Of two equal ids the confirmation, else slot 1, is the one to overwrite. */
    choice->slot = slots->meta[0].kind == KVI_KIND_CONFIRMATION ? 1 : 0;
    choice->known = true;
    choice->confirmed = true;
}

static int choose_fallback(kvi_file *file, const kvi_slots *slots, const uint8_t boot_id[16],
                           kvi_choice *choice)
{
    unsigned other = choice->slot ^ 1;
    bool usable = false;
    int rc = KV_OK;
    if (slots->valid[other] &&
        (slots->meta[other].id == slots->meta[choice->slot].durable || KVI_MUTANT(FALLBACK_TO_ANY)))
        rc = commit_usable(file, &slots->meta[other], boot_id, NULL, &usable);
    if (rc != KV_OK)
        return rc;
    if (!usable)
        return kvi_fail(file->err, KV_ECORRUPT,
                        "commit %llu is not whole, and the commit before it is not there",
                        (unsigned long long)slots->meta[choice->slot].id);
    choice->buried = beyond_belief(&slots->meta[choice->slot], boot_id);
    choice->slot = other;
    choice->rejected = true;
    choice->known = true; /* the rejected one was written after this one was durable */
    return KV_OK;
}

int kvi_recover_choose(kvi_file *file, const kvi_slots *slots, const uint8_t boot_id[16],
                       kvi_choice *choice, kvi_kept *kept)
{
    bool usable;
    *choice = (kvi_choice){0};
    if (kvi_slots_agree(slots)) {
        choice->newest = slots->meta[0].id;
        choose_confirmed(slots, choice);
        return KV_OK;
    }
    choice->slot = kvi_slots_newest(slots);
    choice->newest = slots->meta[choice->slot].id;
    int rc = commit_usable(file, &slots->meta[choice->slot], boot_id, kept, &usable);
    if (KVI_MUTANT(NEWEST_DISCARDED) && slots->valid[choice->slot ^ 1])
        usable = false;
    if (rc == KV_OK && !usable)
        rc = choose_fallback(file, slots, boot_id, choice);
    return rc;
}

/* ---- adopting ---- */

static int rewrite_page(kvi_walk *walk, kvi_ptr ptr, const uint8_t *bytes)
{
    kvi_file *file = walk->file;
    return kvi_file_write(file, ptr.page << file->page_shift, bytes, file->page_size);
}

static int rewrite_piece(void *context, uint64_t offset, const uint8_t *bytes, size_t len)
{
    const large_place *place = context;
    return kvi_file_write(place->file, place->offset + offset, bytes, len);
}

static int rewrite_large(kvi_walk *walk, const kvi_large *large, const kvi_ptr *leaf)
{
    large_place place = {walk->file, NULL, large->ptr.page << walk->file->page_shift};
    (void)leaf;
    return kvi_walk_large(walk->file, large, rewrite_piece, &place);
}

int kvi_recover_rewrite(kvi_file *file, const kvi_meta *meta)
{
    kvi_walk walk = {
        .file = file,
        .meta = meta,
        .newer_than = meta->durable,
        .budget = meta->walk,
        .page = rewrite_page,
        .large = rewrite_large,
    };
    return kvi_walk_all(&walk);
}

static int rewrite_pages(kvi_file *file, const kvi_meta *meta, const kvi_kept *kept)
{
    int rc = KV_OK;
    for (size_t i = 0; rc == KV_OK && i < kept->n; i++)
        rc = kvi_file_write(file, kept->pieces[i].offset, kept->bytes + kept->pieces[i].at,
                            kept->pieces[i].len);
    return kept->n > 0 ? rc : kvi_recover_rewrite(file, meta);
}

static int rewrite_meta(kv_db *db, const uint8_t *block, unsigned slot)
{
    return kvi_file_write(&db->file, slot * kvi_meta_stride(db->file.page_size), block,
                          KVI_META_SIZE);
}

/* The walk is too large for the next open to repeat: prove the pages by a flush of their own, and
 * say so in the meta. */
static int adopt_over_cap(kv_db *db, const kvi_meta *meta, unsigned slot)
{
    kvi_meta proven = *meta;
    kvi_meta_prove(&proven);
    int rc = kvi_flush(db);
    return rc == KV_OK ? kvi_meta_write(&db->file, &proven, slot) : rc;
}

static int adopt_meta(kv_db *db, const kvi_slots *slots, const kvi_choice *choice)
{
    const kvi_meta *meta = &slots->meta[choice->slot];
    if (choice->known)
        return KV_OK;
    if (meta->durable < meta->id && meta->walk > KVI_WALK_CAP)
        return adopt_over_cap(db, meta, choice->slot);
    return rewrite_meta(db, slots->block[choice->slot], choice->slot);
}

/* Did a commit that did not happen leave something in the other slot? The sectors of a later
 * meta or page may be like those that it lacks, and a power cut that keeps only them would make
 * it whole after all: so it goes before anything else is written. A slot that could not be read
 * stays. */
static bool has_remnant(const kvi_slots *slots, const kvi_choice *choice)
{
    return choice->rejected || (!slots->valid[choice->slot ^ 1] && !slots->error);
}

static int clear_slot(kv_db *db, unsigned slot)
{
    static const uint8_t nothing[KVI_META_SIZE];
    return rewrite_meta(db, nothing, slot);
}

int kvi_recover_adopt(kv_db *db, const kvi_slots *slots, const kvi_choice *choice,
                      const kvi_kept *kept)
{
    const kvi_meta *meta = &slots->meta[choice->slot];
    int rc = KV_OK;
    if (choice->buried || (choice->known && !has_remnant(slots, choice)) ||
        KVI_MUTANT(NEWEST_TRUSTED))
        return KV_OK;
    if (!choice->known && meta->durable < meta->id)
        rc = rewrite_pages(&db->file, meta, kept);
    if (rc != KV_OK)
        return rc;
    if (has_remnant(slots, choice) && !KVI_MUTANT(REMNANT_KEPT))
        rc = clear_slot(db, choice->slot ^ 1);
    if (rc == KV_OK)
        rc = adopt_meta(db, slots, choice);
    if (rc == KV_OK)
        rc = kvi_flush(db);
    if (rc != KV_OK)
        kvi_poison(db); /* never fall back: it may have been acknowledged */
    return KV_OK;
}

void kvi_recover_head(kv_db *db, const kvi_slots *slots, const kvi_choice *choice)
{
    kvi_head *head = &db->head;
    memset(head, 0, sizeof *head);
    head->meta = slots->meta[choice->slot];
    head->confirmed = choice->confirmed;
    head->durable = head->meta.id;
    head->durable_slot = choice->slot;
    head->durable_high_water = head->meta.high_water;
    head->durable_snapshots = head->meta.snapshots;
    /* A newer commit may have been seen: rejected, gone with its slot, or written on another
     * boot. */
    head->skip = choice->rejected || !slots->valid[0] || !slots->valid[1] ||
                 memcmp(head->meta.boot_id, db->boot_id, sizeof db->boot_id) != 0;
    head->next_id = choice->newest + (head->skip && !KVI_MUTANT(ID_REISSUED) ? KVI_ID_SKIP : 1);
}

int kvi_recover_bury(kv_db *db)
{
    kvi_head *head = &db->head;
    kvi_meta meta = head->meta;
    meta.id = head->next_id;
    meta.durable = head->durable; /* nothing is newer: the walk is empty */
    meta.seal = 0;
    meta.walk = 0;
    meta.kind = KVI_KIND_DURABLE;
    memcpy(meta.boot_id, db->boot_id, sizeof meta.boot_id);
    int rc = kvi_meta_write(&db->file, &meta, head->durable_slot ^ 1);
    if (rc == KV_OK)
        rc = kvi_flush(db);
    if (rc != KV_OK) {
        kvi_poison(db);
        return KV_EPOISONED;
    }
    head->meta = meta;
    head->durable = meta.id;
    head->durable_slot ^= 1;
    head->next_id = meta.id + 1;
    head->confirmed = false;
    head->skip = false;
    return KV_OK;
}

/* A meta that names its own commit as durable proves the pages, but not itself; then it is the other
 * slot's (R3, R4). */
kvi_id kvi_recover_durable(const kvi_slots *slots, const kvi_choice *choice)
{
    const kvi_meta *meta = &slots->meta[choice->slot];
    unsigned other = choice->slot ^ 1;
    if (choice->known)
        return meta->id;
    if (meta->durable < meta->id)
        return meta->durable;
    return slots->valid[other] ? slots->meta[other].id : 0;
}

void kvi_recover_doubt(kv_db *db, const kvi_slots *slots, const kvi_choice *choice)
{
    db->head.durable = kvi_recover_durable(slots, choice);
    db->head.unproven = true;
}
