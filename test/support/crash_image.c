/* crash_image.c - 128-bit hashes of whole disks, kept up to date sector by sector; and a set of
 * them. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "crash_impl.h"

/* ---- hashes ---- */

static crash_hash hash_bytes(const void *bytes, size_t len, uint64_t place)
{
    XXH128_hash_t h = XXH3_128bits(bytes, len);
    uint64_t state = place;
    uint64_t a = rng_splitmix(&state), b = rng_splitmix(&state);
    return (crash_hash){(h.low64 ^ a) * 0x9e3779b97f4a7c15ull ^ h.high64,
                        (h.high64 ^ b) * 0xc2b2ae3d27d4eb4full ^ h.low64};
}

static void hash_mix(crash_hash *hash, crash_hash part)
{
    hash->lo ^= part.lo;
    hash->hi ^= part.hi;
}

static crash_hash hash_sector(const sim_file *file, size_t number, size_t sector)
{
    size_t off = sector * CRASH_SECTOR;
    if (off >= file->size)
        return (crash_hash){0, 0};
    return hash_bytes(file->bytes + off, KVI_MIN((size_t)CRASH_SECTOR, (size_t)file->size - off),
                      (uint64_t)(number + 1) << 40 | sector);
}

/* Sizes, and which file has which name. The side file holds nothing that counts. */
static crash_hash hash_shape(const sim_disk *disk)
{
    crash_hash hash = {0, 0};
    for (int i = 0; i < disk->n_files && i < CRASH_FILES; i++)
        if (!disk->files[i].shared)
            hash_mix(&hash,
                     hash_bytes(&disk->files[i].size, sizeof disk->files[i].size, 1000u + i));
    for (int i = 0; i < disk->n_names; i++)
        if (!disk->files[disk->names[i].file].shared)
            hash_mix(&hash, hash_bytes(disk->names[i].text, strlen(disk->names[i].text),
                                       2000u + disk->names[i].file));
    return hash;
}

/* ---- images ---- */

static void image_room(crash_image *image, size_t file, size_t sectors)
{
    if (sectors <= image->cap[file])
        return;
    size_t cap = sectors * 2;
    image->sectors[file] = realloc(image->sectors[file], cap * sizeof(crash_hash));
    image->stamps[file] = realloc(image->stamps[file], cap * sizeof(uint32_t));
    if (!image->sectors[file] || !image->stamps[file])
        sim_die("out of memory");
    size_t more = cap - image->cap[file];
    memset(image->sectors[file] + image->cap[file], 0, more * sizeof(crash_hash));
    memset(image->stamps[file] + image->cap[file], 0, more * sizeof(uint32_t));
    image->cap[file] = cap;
}

static size_t sectors_of(uint64_t size)
{
    return (size_t)((size + CRASH_SECTOR - 1) / CRASH_SECTOR);
}

void crash_image_take(crash_image *image, const sim_disk *disk)
{
    image->hash = (crash_hash){0, 0};
    for (size_t i = 0; i < CRASH_FILES; i++) {
        bool counts = (int)i < disk->n_files && !disk->files[i].shared;
        size_t n = counts ? sectors_of(disk->files[i].size) : 0;
        image_room(image, i, n);
        for (size_t k = 0; k < image->cap[i]; k++) {
            image->sectors[i][k] = k < n ? hash_sector(&disk->files[i], i, k) : (crash_hash){0, 0};
            hash_mix(&image->hash, image->sectors[i][k]);
        }
    }
}

/* Replaces the shares of the sectors of [from, to), each once. */
static void image_update(crash_image *image, const sim_disk *disk, size_t file, uint64_t from,
                         uint64_t to, crash_hash *hash)
{
    size_t end = sectors_of(to);
    image_room(image, file, end);
    for (size_t k = (size_t)(from / CRASH_SECTOR); k < end; k++) {
        if (image->stamps[file][k] == image->stamp)
            continue;
        image->stamps[file][k] = image->stamp;
        hash_mix(hash, image->sectors[file][k]);
        hash_mix(hash, hash_sector(&disk->files[file], file, k));
    }
}

crash_hash crash_image_after(crash_image *image, const sim_disk *disk, size_t position)
{
    crash_hash hash = image->hash;
    image->stamp++;
    for (size_t i = position; i < disk->n_events; i++) {
        const sim_event *e = &disk->events[i];
        if (e->file < 0 || e->file >= CRASH_FILES)
            continue;
        if (e->kind == SIM_WRITE)
            image_update(image, disk, (size_t)e->file, e->off, e->off + e->len, &hash);
        if (e->new_size != e->old_size) /* the sector in which the shorter one ended, too */
            image_update(image, disk, (size_t)e->file, KVI_MIN(e->old_size, e->new_size),
                         KVI_MAX(e->old_size, e->new_size), &hash);
    }
    hash_mix(&hash, hash_shape(disk));
    return hash;
}

void crash_image_free(crash_image *image)
{
    for (size_t i = 0; i < CRASH_FILES; i++) {
        free(image->sectors[i]);
        free(image->stamps[i]);
    }
    *image = (crash_image){0};
}

/* ---- the set ---- */

static bool slot_empty(const crash_hash *slot)
{
    return slot->lo == 0 && slot->hi == 0;
}

static bool seen_put(crash_seen *seen, crash_hash hash)
{
    size_t i = (size_t)hash.lo & (seen->cap - 1);
    while (!slot_empty(&seen->slots[i])) {
        if (seen->slots[i].lo == hash.lo && seen->slots[i].hi == hash.hi)
            return false;
        i = (i + 1) & (seen->cap - 1);
    }
    seen->slots[i] = hash;
    return true;
}

static void seen_grow(crash_seen *seen)
{
    crash_seen larger = {.cap = seen->cap ? seen->cap * 2 : 4096, .n = seen->n};
    larger.slots = calloc(larger.cap, sizeof *larger.slots);
    if (!larger.slots)
        sim_die("out of memory");
    for (size_t i = 0; i < seen->cap; i++)
        if (!slot_empty(&seen->slots[i]))
            seen_put(&larger, seen->slots[i]);
    free(seen->slots);
    *seen = larger;
}

bool crash_seen_add(crash_seen *seen, crash_hash hash)
{
    if (slot_empty(&hash))
        hash.lo = 1;
    if (seen->n * 3 >= seen->cap * 2)
        seen_grow(seen);
    bool fresh = seen_put(seen, hash);
    seen->n += fresh;
    return fresh;
}

void crash_seen_free(crash_seen *seen)
{
    free(seen->slots);
    *seen = (crash_seen){0};
}
