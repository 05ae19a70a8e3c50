/* meta.c - see meta.h. */
#include "meta.h"
#include "hash.h"
#include "mutant.h"

void kvi_tree_desc_encode(const kvi_tree_desc *desc, uint8_t bytes[KVI_TREE_SIZE])
{
    memset(bytes, 0, KVI_TREE_SIZE);
    kvi_ptr_put(bytes + KVI_T_root, desc->root);
    bytes[KVI_T_level] = desc->level;
    bytes[KVI_T_codec] = desc->codec;
    kvi_put16(bytes + KVI_T_flags, desc->flags);
    kvi_put64(bytes + KVI_T_entries, desc->entries);
    kvi_put64(bytes + KVI_T_leaf_pages, desc->leaf_pages);
    kvi_put64(bytes + KVI_T_branch_pages, desc->branch_pages);
    kvi_put64(bytes + KVI_T_large_pages, desc->large_pages);
    kvi_put64(bytes + KVI_T_min_expiry, desc->min_expiry);
    kvi_put64(bytes + KVI_T_sequence, desc->sequence);
    kvi_put64(bytes + KVI_T_compress_from, desc->compress_from);
    kvi_put64(bytes + KVI_T_placed, desc->placed);
}

static bool tree_root_ok(const kvi_tree_desc *desc, uint32_t page_size, kvi_pgno high_water,
                         kvi_id newest)
{
    if (desc->root.page == 0)
        return desc->root.birth == 0 && desc->entries == 0 && desc->level == 0;
    return desc->root.page >= kvi_first_page(page_size) && desc->root.page < high_water &&
           desc->root.birth >= 1 && desc->root.birth <= newest && desc->level <= KVI_LEVEL_MAX;
}

bool kvi_tree_desc_decode(const uint8_t bytes[KVI_TREE_SIZE], uint32_t page_size,
                          kvi_pgno high_water, kvi_id newest, kvi_tree_desc *desc)
{
    desc->root = kvi_ptr_get(bytes + KVI_T_root);
    desc->level = bytes[KVI_T_level];
    desc->codec = bytes[KVI_T_codec];
    desc->flags = kvi_get16(bytes + KVI_T_flags);
    desc->entries = kvi_get64(bytes + KVI_T_entries);
    desc->leaf_pages = kvi_get64(bytes + KVI_T_leaf_pages);
    desc->branch_pages = kvi_get64(bytes + KVI_T_branch_pages);
    desc->large_pages = kvi_get64(bytes + KVI_T_large_pages);
    desc->min_expiry = kvi_get64(bytes + KVI_T_min_expiry);
    desc->sequence = kvi_get64(bytes + KVI_T_sequence);
    desc->compress_from = kvi_get64(bytes + KVI_T_compress_from);
    desc->placed = kvi_get64(bytes + KVI_T_placed);
    desc->reserved = 0;
    bool expires = desc->flags & KVI_TREE_EXPIRY;
    return !(desc->flags & ~(KVI_TREE_EXPIRY | KVI_TREE_MULTI)) &&
           (expires || desc->min_expiry == 0) && desc->placed <= newest &&
           tree_root_ok(desc, page_size, high_water, newest);
}

/* Of a tree without a name: only trees of the catalog have several values for a key. */
static bool desc_decode(const uint8_t bytes[KVI_TREE_SIZE], uint32_t page_size, kvi_pgno high_water,
                        kvi_id newest, kvi_tree_desc *desc)
{
    return kvi_tree_desc_decode(bytes, page_size, high_water, newest, desc) &&
           !(desc->flags & KVI_TREE_MULTI);
}

void kvi_named_encode(const kvi_named *named, uint8_t bytes[KVI_NAMED_SIZE])
{
    memset(bytes, 0, KVI_NAMED_SIZE);
    kvi_tree_desc_encode(&named->main, bytes + KVI_N_main);
    kvi_tree_desc_encode(&named->catalog, bytes + KVI_N_catalog);
    kvi_put64(bytes + KVI_N_id, named->id);
    kvi_put64(bytes + KVI_N_time, named->time);
    kvi_put64(bytes + KVI_N_entries, named->entries);
}

bool kvi_named_decode(const uint8_t bytes[KVI_NAMED_SIZE], uint32_t page_size, kvi_pgno high_water,
                      kvi_id newest, kvi_named *named)
{
    named->id = kvi_get64(bytes + KVI_N_id);
    named->time = kvi_get64(bytes + KVI_N_time);
    named->entries = kvi_get64(bytes + KVI_N_entries);
    return named->id >= 1 && named->id < newest &&
           desc_decode(bytes + KVI_N_main, page_size, high_water, named->id, &named->main) &&
           desc_decode(bytes + KVI_N_catalog, page_size, high_water, named->id, &named->catalog);
}

void kvi_meta_encode(const kvi_meta *meta, uint8_t block[KVI_META_SIZE])
{
    memset(block, 0, KVI_META_SIZE);
    kvi_put64(block + KVI_M_magic, KVI_MAGIC);
    kvi_put32(block + KVI_M_version, KVI_VERSION);
    kvi_put32(block + KVI_M_page_size, meta->page_size);
    kvi_put64(block + KVI_M_incompatible, meta->incompatible);
    kvi_put64(block + KVI_M_compatible, meta->compatible);
    memcpy(block + KVI_M_file_id, meta->file_id, sizeof meta->file_id);
    kvi_put64(block + KVI_M_hash_seed, meta->hash_seed);
    kvi_put64(block + KVI_M_id, meta->id);
    kvi_put64(block + KVI_M_durable, meta->durable);
    kvi_put64(block + KVI_M_seal, meta->seal);
    kvi_put64(block + KVI_M_walk, meta->walk);
    kvi_put64(block + KVI_M_high_water, meta->high_water);
    kvi_put64(block + KVI_M_clock, meta->clock);
    memcpy(block + KVI_M_boot_id, meta->boot_id, sizeof meta->boot_id);
    block[KVI_M_kind] = meta->kind;
    block[KVI_M_map_levels] = meta->map_levels;
    kvi_put16(block + KVI_M_delta_len, meta->delta_len);
    kvi_put32(block + KVI_M_log_pages, meta->log_pages);
    kvi_ptr_put(block + KVI_M_log, meta->log);
    kvi_ptr_put(block + KVI_M_map, meta->map);
    kvi_ptr_put(block + KVI_M_blocked, meta->blocked);
    kvi_put64(block + KVI_M_log_tail, meta->log_tail);
    kvi_put32(block + KVI_M_blocked_pages, meta->blocked_pages);
    kvi_tree_desc_encode(&meta->main, block + KVI_M_main);
    kvi_tree_desc_encode(&meta->catalog, block + KVI_M_catalog);
    kvi_tree_desc_encode(&meta->snapshots, block + KVI_M_snapshots);
    memcpy(block + KVI_M_origin, meta->origin, sizeof meta->origin);
    kvi_put64(block + KVI_M_origin_id, meta->origin_id);
    memcpy(block + KVI_M_delta, meta->delta, meta->delta_len);
    kvi_put64(block + KVI_M_checksum,
              kvi_hash_meta(block + KVI_M_version, KVI_META_SIZE - KVI_M_version));
}

bool kvi_meta_has_magic(const uint8_t block[KVI_META_SIZE])
{
    return kvi_get64(block + KVI_M_magic) == KVI_MAGIC;
}

static void meta_read_numbers(const uint8_t *block, kvi_meta *meta)
{
    meta->incompatible = kvi_get64(block + KVI_M_incompatible);
    meta->compatible = kvi_get64(block + KVI_M_compatible);
    memcpy(meta->file_id, block + KVI_M_file_id, sizeof meta->file_id);
    meta->hash_seed = kvi_get64(block + KVI_M_hash_seed);
    meta->id = kvi_get64(block + KVI_M_id);
    meta->durable = kvi_get64(block + KVI_M_durable);
    meta->seal = kvi_get64(block + KVI_M_seal);
    meta->walk = kvi_get64(block + KVI_M_walk);
    meta->high_water = kvi_get64(block + KVI_M_high_water);
    meta->clock = kvi_get64(block + KVI_M_clock);
    memcpy(meta->boot_id, block + KVI_M_boot_id, sizeof meta->boot_id);
    meta->kind = block[KVI_M_kind];
    meta->map_levels = block[KVI_M_map_levels];
    meta->delta_len = kvi_get16(block + KVI_M_delta_len);
    meta->log_pages = kvi_get32(block + KVI_M_log_pages);
    meta->log = kvi_ptr_get(block + KVI_M_log);
    meta->map = kvi_ptr_get(block + KVI_M_map);
    meta->blocked = kvi_ptr_get(block + KVI_M_blocked);
    meta->log_tail = kvi_get64(block + KVI_M_log_tail);
    meta->blocked_pages = kvi_get32(block + KVI_M_blocked_pages);
    memcpy(meta->origin, block + KVI_M_origin, sizeof meta->origin);
    meta->origin_id = kvi_get64(block + KVI_M_origin_id);
}

/* A root of a space structure: none, or a page below the high-water mark written by now. */
static bool meta_ptr_ok(const kvi_meta *meta, kvi_ptr ptr)
{
    if (ptr.page == 0)
        return ptr.birth == 0;
    return ptr.page >= kvi_first_page(meta->page_size) && ptr.page < meta->high_water &&
           ptr.birth >= 1 && ptr.birth <= meta->id;
}

static bool meta_numbers_ok(const kvi_meta *meta)
{
    return meta->id >= 1 && meta->id <= KVI_ID_MAX && meta->durable <= meta->id &&
           meta->durable >= 1 && meta->kind >= KVI_KIND_DURABLE &&
           meta->kind <= KVI_KIND_CONFIRMATION && meta->high_water <= KVI_PGNO_MAX &&
           meta->high_water >= kvi_first_page(meta->page_size) &&
           meta->delta_len <= KVI_DELTA_MAX && meta->map_levels <= KVI_MAP_LEVELS_MAX &&
           meta->log_tail <= meta->id && meta_ptr_ok(meta, meta->log) &&
           meta_ptr_ok(meta, meta->map) && meta_ptr_ok(meta, meta->blocked) &&
           (meta->durable < meta->id || (meta->seal == 0 && meta->walk == 0));
}

const char *kvi_meta_unsound(enum kvi_meta_state state)
{
    return state == KVI_META_TORN      ? "its magic or checksum is wrong"
           : state == KVI_META_UNKNOWN ? "it is of another version of kv"
                                       : "its checksum is right, but its numbers are impossible";
}

enum kvi_meta_state kvi_meta_decode(const uint8_t block[KVI_META_SIZE], kvi_meta *meta)
{
    if (!kvi_meta_has_magic(block) ||
        (!KVI_MUTANT(META_UNCHECKED) &&
         kvi_get64(block + KVI_M_checksum) !=
             kvi_hash_meta(block + KVI_M_version, KVI_META_SIZE - KVI_M_version)))
        return KVI_META_TORN;
    meta_read_numbers(block, meta);
    if (kvi_get32(block + KVI_M_version) != KVI_VERSION || meta->incompatible != 0)
        return KVI_META_UNKNOWN;
    meta->page_size = kvi_get32(block + KVI_M_page_size);
    if (!kvi_page_size_ok(meta->page_size) || !meta_numbers_ok(meta))
        return KVI_META_WRONG;
    uint32_t page_size = meta->page_size;
    if (!desc_decode(block + KVI_M_main, page_size, meta->high_water, meta->id, &meta->main) ||
        !desc_decode(block + KVI_M_catalog, page_size, meta->high_water, meta->id,
                     &meta->catalog) ||
        !desc_decode(block + KVI_M_snapshots, page_size, meta->high_water, meta->id,
                     &meta->snapshots))
        return KVI_META_WRONG;
    memcpy(meta->delta, block + KVI_M_delta, meta->delta_len);
    return KVI_META_VALID;
}
