/* meta.h - a meta page in memory: every mutable number of the database as of one commit. */
#ifndef KVI_META_H
#define KVI_META_H

#include "format.h"

/* Field by field what format.h places in the block. */
typedef struct kvi_meta {
    uint32_t page_size;
    uint64_t incompatible; /* feature flags: refuse when unknown */
    uint64_t compatible;   /* feature flags: ignore when unknown */
    uint8_t file_id[16];
    uint64_t hash_seed;
    kvi_id id;
    kvi_id durable; /* newest commit known durable when this one was written; id itself: proven */
    uint64_t seal;  /* sum of the checksums of reachable header pages with birth > durable */
    uint64_t walk;  /* bytes that recovery visits: those pages and large values */
    uint64_t high_water; /* pages: number of the first page never used */
    uint64_t clock;      /* milliseconds since the epoch; never falls */
    uint8_t boot_id[16];
    uint8_t kind; /* KVI_KIND_* */
    uint8_t map_levels;
    uint16_t delta_len;
    uint32_t log_pages;
    kvi_ptr log;
    kvi_ptr map;
    kvi_ptr blocked;
    kvi_id log_tail;
    uint32_t blocked_pages;
    kvi_tree_desc main;
    kvi_tree_desc catalog;
    kvi_tree_desc snapshots;
    uint8_t origin[16]; /* file_id of the database that this commit repeats; zeros: none */
    kvi_id origin_id;   /* ... and which of its commits */
    uint8_t delta[KVI_DELTA_MAX];
} kvi_meta;

/* What a block read from a meta slot turned out to be. */
enum kvi_meta_state {
    KVI_META_VALID,
    KVI_META_TORN,    /* the magic or checksum is wrong: torn, rotten or never written */
    KVI_META_UNKNOWN, /* checksum right, but a newer format version or feature */
    KVI_META_WRONG,   /* checksum right, but numbers that no commit writes */
};

/* As of a commit whose pages a flush of their own has proven. */
static inline void kvi_meta_prove(kvi_meta *meta)
{
    meta->kind = KVI_KIND_STRICT;
    meta->durable = meta->id;
    meta->seal = 0;
    meta->walk = 0;
}

void kvi_meta_encode(const kvi_meta *meta, uint8_t block[KVI_META_SIZE]);
enum kvi_meta_state kvi_meta_decode(const uint8_t block[KVI_META_SIZE], kvi_meta *meta);

/* What is wrong with one that is not valid. */
const char *kvi_meta_unsound(enum kvi_meta_state state);

/* True when the block begins with kv's magic, whatever follows. */
bool kvi_meta_has_magic(const uint8_t block[KVI_META_SIZE]);

void kvi_tree_desc_encode(const kvi_tree_desc *desc, uint8_t bytes[KVI_TREE_SIZE]);

/* False when the numbers are impossible below high_water for commits up to newest. */
bool kvi_tree_desc_decode(const uint8_t bytes[KVI_TREE_SIZE], uint32_t page_size,
                          kvi_pgno high_water, kvi_id newest, kvi_tree_desc *desc);

/* The same for named snapshots, of commits before newest. */
void kvi_named_encode(const kvi_named *named, uint8_t bytes[KVI_NAMED_SIZE]);
bool kvi_named_decode(const uint8_t bytes[KVI_NAMED_SIZE], uint32_t page_size, kvi_pgno high_water,
                      kvi_id newest, kvi_named *named);

#endif
