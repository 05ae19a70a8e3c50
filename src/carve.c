/* carve.c - see carve.h. */
#include "carve.h"
#include "node.h"
#include <stdlib.h>

#define SEED_TRIALS 256 /* pages at which a seed is tried */
#define STEP        64  /* pages between two reports */

/* ---- pages ---- */

int kvi_carve_read(kvi_carve *carve, kvi_pgno page, uint8_t *buf)
{
    kvi_file *file = &carve->file;
    return kvi_file_read(file, page << file->page_shift, buf, file->page_size);
}

/* Could this be the header of that page? */
static bool header_fits(const uint8_t *header, kvi_pgno page)
{
    kvi_id birth = kvi_get64(header + KVI_P_birth);
    return kvi_get64(header + KVI_P_page) == page && birth >= 1 && birth <= KVI_ID_MAX &&
           header[KVI_P_type] >= KVI_LEAF && header[KVI_P_type] <= KVI_BLOCKED;
}

kvi_carved kvi_carve_judge(const kvi_carve *carve, kvi_pgno page, const uint8_t *bytes)
{
    const kvi_file *file = &carve->file;
    kvi_ptr ptr = {page, kvi_get64(bytes + KVI_P_birth)};
    kvi_carved found = {0};
    if (!header_fits(bytes, page))
        return found;
    found = (kvi_carved){ptr.birth, bytes[KVI_P_type], bytes[KVI_P_level], 0};
    found.broken = (uint8_t)kvi_file_matches(file, bytes, ptr, carve->seeded);
    if (!found.broken && found.type <= KVI_BRANCH)
        found.broken = (uint8_t)kvi_node_validate(
            bytes, file->page_size, -1, KVI_MAX(carve->pages, carve->meta.high_water), ptr.birth);
    return found;
}

bool kvi_carve_holds(const kvi_carve *carve, kvi_ptr ptr, unsigned level)
{
    if (ptr.page >= carve->pages)
        return false;
    const kvi_carved *page = &carve->carved[ptr.page];
    return kvi_carved_node(page) && page->birth == ptr.birth && page->level == level;
}

/* ---- pages in the places of others ---- */

static int moved_order(const void *a, const void *b)
{
    const kvi_ptr *x = &((const kvi_moved *)a)->ptr, *y = &((const kvi_moved *)b)->ptr;
    int order = (x->page > y->page) - (x->page < y->page);
    return order ? order : (x->birth > y->birth) - (x->birth < y->birth);
}

/* Without a seed it could be anything that looks like a header. */
static int moved_note(kvi_carve *carve, kvi_pgno at, const uint8_t *bytes)
{
    kvi_moved moved = {{kvi_get64(bytes + KVI_P_page), kvi_get64(bytes + KVI_P_birth)}, at};
    if (!carve->seeded || moved.ptr.page == at || !header_fits(bytes, moved.ptr.page) ||
        kvi_file_matches(&carve->file, bytes, moved.ptr, true) != 0)
        return KV_OK;
    kvi_moved *list =
        kvi_os_room(carve->os, carve->moved, &carve->moved_cap, carve->n_moved + 1, sizeof *list);
    if (!list)
        return kvi_fail(&carve->err, KV_ENOMEM, "no memory to list pages");
    carve->moved = list;
    list[carve->n_moved++] = moved;
    carve->newest = KVI_MAX(carve->newest, moved.ptr.birth);
    return KV_OK;
}

int kvi_carve_elsewhere(kvi_carve *carve, kvi_ptr ptr, uint8_t *buf)
{
    kvi_moved key = {.ptr = ptr};
    if (carve->n_moved == 0)
        return KV_NOTFOUND;
    const kvi_moved *moved =
        bsearch(&key, carve->moved, carve->n_moved, sizeof *moved, moved_order);
    if (!moved)
        return KV_NOTFOUND;
    int rc = kvi_carve_read(carve, moved->at, buf);
    if (rc == KV_OK && kvi_file_matches(&carve->file, buf, ptr, true) != 0)
        rc = KV_NOTFOUND; /* it has changed since */
    return rc;
}

/* ---- every page ---- */

static int scan_page(kvi_carve *carve, kvi_pgno page)
{
    if (kvi_carve_read(carve, page, carve->buffer) != KV_OK)
        return KV_OK;
    carve->carved[page] = kvi_carve_judge(carve, page, carve->buffer);
    return carve->carved[page].birth ? KV_OK : moved_note(carve, page, carve->buffer);
}

int kvi_carve_scan(kvi_carve *carve, int (*step)(void *context, uint64_t pages), void *context)
{
    const kvi_os *os = carve->os;
    if (carve->carved)
        return KV_OK;
    carve->carved = os->alloc(os, (size_t)(carve->pages + 1) * sizeof *carve->carved);
    if (!carve->carved)
        return kvi_fail(&carve->err, KV_ENOMEM, "no memory to look at all pages");
    memset(carve->carved, 0, (size_t)(carve->pages + 1) * sizeof *carve->carved);
    for (kvi_pgno page = kvi_first_page(carve->file.page_size); page < carve->pages; page++) {
        int rc = scan_page(carve, page);
        if (rc != KV_OK)
            return rc;
        if (!carve->carved[page].broken)
            carve->newest = KVI_MAX(carve->newest, carve->carved[page].birth);
        if (page % STEP == 0 && (rc = step(context, STEP)) != KV_OK)
            return rc;
    }
    if (carve->n_moved)
        qsort(carve->moved, carve->n_moved, sizeof *carve->moved, moved_order);
    return KV_OK;
}

/* ---- without metas: page size and seed ---- */

/* Counts the pages whose header fits their place if pages have this size; of the first few, also
 * those whose checksum the file's seed explains. */
static uint64_t pages_fitting(kvi_carve *carve, uint32_t page_size, uint64_t most, bool sealed)
{
    kvi_file *file = &carve->file;
    uint64_t fitting = 0, tried = 0, size = atomic_load(&file->size);
    size_t len = sealed ? page_size : KVI_HEADER_SIZE;
    for (kvi_pgno page = kvi_first_page(page_size); (page + 1) * page_size <= size; page++) {
        kvi_ptr ptr = {page, 0};
        if (kvi_file_read(file, page * page_size, carve->buffer, len) != KV_OK ||
            !header_fits(carve->buffer, page))
            continue;
        ptr.birth = kvi_get64(carve->buffer + KVI_P_birth);
        if (tried++ == most)
            break;
        fitting += !sealed || kvi_file_matches(file, carve->buffer, ptr, true) == 0;
    }
    return fitting;
}

static void file_shape(kvi_carve *carve, uint32_t page_size, uint64_t seed)
{
    kvi_file *file = &carve->file;
    file->page_size = page_size;
    file->page_shift = (unsigned)__builtin_ctz(page_size);
    file->hash_seed = seed;
    kvi_hash_init(&file->hash, seed);
    carve->pages = atomic_load(&file->size) >> file->page_shift;
}

/* False: no page of any size. */
static bool find_page_size(kvi_carve *carve)
{
    uint64_t most = 0;
    uint32_t best = 0;
    for (uint32_t size = KVI_PAGE_MIN; size <= KVI_PAGE_MAX; size *= 2) {
        uint64_t fitting = pages_fitting(carve, size, UINT64_MAX, false);
        if (fitting > most) {
            most = fitting;
            best = size;
        }
    }
    if (best)
        file_shape(carve, best, 0);
    return best != 0;
}

static void read_blocks(kvi_carve *carve)
{
    for (unsigned slot = 0; slot < 2; slot++) {
        uint64_t at = slot * kvi_meta_stride(carve->file.page_size);
        if (kvi_file_read(&carve->file, at, carve->slots.block[slot], KVI_META_SIZE) != KV_OK)
            memset(carve->slots.block[slot], 0, KVI_META_SIZE);
    }
}

/* A damaged meta may still have the seed. */
static void find_seed(kvi_carve *carve)
{
    uint32_t page_size = carve->file.page_size;
    uint64_t most = 0, best = 0;
    for (unsigned slot = 0; slot < 2; slot++) {
        uint64_t seed = kvi_get64(carve->slots.block[slot] + KVI_M_hash_seed);
        file_shape(carve, page_size, seed);
        uint64_t fitting = pages_fitting(carve, page_size, SEED_TRIALS, true);
        if (fitting > most) {
            most = fitting;
            best = seed;
        }
    }
    file_shape(carve, page_size, best);
    carve->seeded = most > 0;
}

/* ---- without metas: the commit ---- */

/* What the block says when its checksum and constant fields are overlooked. */
static bool block_guess(const kvi_carve *carve, unsigned slot, kvi_meta *meta)
{
    uint8_t block[KVI_META_SIZE];
    memcpy(block, carve->slots.block[slot], sizeof block);
    kvi_put64(block + KVI_M_magic, KVI_MAGIC);
    kvi_put32(block + KVI_M_version, KVI_VERSION);
    kvi_put32(block + KVI_M_page_size, carve->file.page_size);
    kvi_put64(block + KVI_M_incompatible, 0);
    kvi_put64(block + KVI_M_hash_seed, carve->file.hash_seed);
    kvi_put64(block + KVI_M_checksum,
              kvi_hash_meta(block + KVI_M_version, KVI_META_SIZE - KVI_M_version));
    return kvi_meta_decode(block, meta) == KVI_META_VALID;
}

static bool root_there(kvi_carve *carve, const kvi_tree_desc *desc)
{
    kvi_ptr root = desc->root;
    if (root.page >= carve->pages || kvi_carve_read(carve, root.page, carve->buffer) != KV_OK)
        return false;
    kvi_carved page = kvi_carve_judge(carve, root.page, carve->buffer);
    return kvi_carved_node(&page) && page.birth == root.birth && page.level == desc->level;
}

/* A guess counts when one of its roots is where it says and the other one does not speak against. */
static void find_commit(kvi_carve *carve)
{
    for (unsigned slot = 0; slot < 2; slot++) {
        kvi_meta *meta = &carve->slots.meta[slot];
        if (!block_guess(carve, slot, meta) ||
            (carve->trust == KVI_TRUST_GUESS && meta->id <= carve->meta.id) ||
            !(root_there(carve, &meta->main) || root_there(carve, &meta->catalog)))
            continue;
        carve->meta = *meta;
        carve->meta.high_water =
            KVI_MIN(meta->high_water, carve->pages); /* it may be what is damaged */
        carve->slot = slot;
        carve->trust = KVI_TRUST_GUESS;
    }
    if (carve->trust == KVI_TRUST_NONE)
        carve->meta = (kvi_meta){.page_size = carve->file.page_size,
                                 .hash_seed = carve->file.hash_seed,
                                 .id = KVI_ID_MAX,
                                 .durable = KVI_ID_MAX,
                                 .high_water = carve->pages};
}

static int carve_without_metas(kvi_carve *carve, int rc)
{
    if (!find_page_size(carve))
        return kvi_fail(&carve->err, rc, "no page of it looks like one of a database");
    read_blocks(carve);
    find_seed(carve);
    find_commit(carve);
    return KV_OK;
}

/* ---- with one ---- */

static int carve_choose(kvi_carve *carve)
{
    const kvi_slots *slots = &carve->slots;
    uint8_t boot_id[16];
    unsigned newest = kvi_slots_newest(slots);
    file_shape(carve, slots->page_size, slots->meta[newest].hash_seed);
    read_blocks(carve);
    carve->seeded = true;
    int rc = carve->os->boot_id(carve->os, boot_id);
    if (rc < 0)
        return kvi_fail_os(&carve->err, rc, "asking for the boot id");
    rc = kvi_recover_choose(&carve->file, slots, boot_id, &carve->choice, NULL);
    carve->trust = rc == KV_OK ? KVI_TRUST_FULL : KVI_TRUST_SLOT;
    carve->slot = rc == KV_OK ? carve->choice.slot : newest;
    carve->meta = slots->meta[carve->slot];
    return rc == KV_ENOMEM ? rc : KV_OK;
}

/* A file may have lost its end, but numbers must not make anybody count to 2^48. */
static kvi_pgno high_water_within(const kvi_carve *carve, kvi_pgno high_water)
{
    return KVI_MIN(high_water, 2 * carve->pages + KVI_PAGE_MAX);
}

static int carve_metas(kvi_carve *carve)
{
    int rc = kvi_recover_slots(carve->os, &carve->err, carve->file.fd, &carve->slots);
    if (rc == KV_EVERSION)
        return rc;
    rc = rc == KV_OK ? carve_choose(carve) : carve_without_metas(carve, rc);
    carve->meta.high_water = high_water_within(carve, carve->meta.high_water);
    for (unsigned slot = 0; rc == KV_OK && slot < 2; slot++) {
        kvi_meta meta;
        carve->state[slot] = kvi_meta_decode(carve->slots.block[slot], &meta);
    }
    return rc;
}

/* ---- the file ---- */

static int carve_begin(kvi_carve *carve, const kvi_os *os, const char *path)
{
    kvi_os_stat stat;
    memset(carve, 0, sizeof *carve);
    carve->os = os;
    carve->lock.fd = -1;
    carve->file.fd = -1;
    kvi_err_init(&carve->err);
    int rc = os->stat_path(os, path, &stat);
    if (rc < 0)
        return kvi_fail_os(&carve->err, rc, "%s", path);
    if (!stat.regular)
        return kvi_fail(&carve->err, KV_EINVAL, "%s is not a regular file", path);
    carve->buffer = os->alloc(os, KVI_PAGE_MAX);
    return carve->buffer ? KV_OK : kvi_fail(&carve->err, KV_ENOMEM, "no memory for a page");
}

static int carve_lock(kvi_carve *carve, const char *path, uint32_t wait_ms)
{
    static const uint64_t bytes[] = {KVI_LOCK_GUESTS, KVI_LOCK_WRITER};
    int rc = kvi_lock_open(&carve->lock, carve->os, &carve->err, path, true);
    for (size_t i = 0; rc == KV_OK && i < 2; i++)
        rc = kvi_lock_wait(&carve->lock, &carve->err, KVI_OS_SHARED, bytes[i], wait_ms);
    return rc == KV_EUNSUPPORTED ? KV_OK : rc;
}

static int carve_read(kvi_carve *carve, const char *path)
{
    const kvi_os *os = carve->os;
    int fd = os->open(os, path, KVI_OS_READ, 0);
    if (fd < 0)
        return kvi_fail_os(&carve->err, fd, "opening %s", path);
    int rc = kvi_file_init(&carve->file, os, &carve->err, fd, KVI_PAGE_DEFAULT, 0, true);
    if (rc == KV_OK)
        return carve_metas(carve);
    os->close(os, fd);
    carve->file.fd = -1;
    return rc;
}

int kvi_carve_open(kvi_carve *carve, const kvi_os *os, const char *path)
{
    int rc = carve_begin(carve, os, path);
    return rc == KV_OK ? carve_read(carve, path) : rc;
}

int kvi_carve_open_locked(kvi_carve *carve, const kvi_os *os, const char *path, uint32_t wait_ms)
{
    int rc = carve_begin(carve, os, path);
    if (rc == KV_OK)
        rc = carve_lock(carve, path, wait_ms);
    return rc == KV_OK ? carve_read(carve, path) : rc;
}

void kvi_carve_close(kvi_carve *carve)
{
    const kvi_os *os = carve->os;
    if (carve->file.fd >= 0) {
        kvi_file_close(&carve->file);
        os->close(os, carve->file.fd);
    }
    kvi_lock_close(&carve->lock);
    os->free(os, carve->carved);
    os->free(os, carve->moved);
    os->free(os, carve->buffer);
    kvi_err_destroy(&carve->err);
}
