/* entry.h - what an entry stores besides its key: plain bytes, a large value, compressed bytes.
 *
 * A plain value is the bytes themselves. A special entry (the mark is kept with the key, node.h)
 * stores:
 *
 *   flags      1 byte, KVI_ENTRY_*
 *   codec      1 byte, if COMPRESSED
 *   expiry     8 bytes, if EXPIRY: milliseconds since the epoch
 *   raw_len    8 bytes, if COMPRESSED and not LARGE: length after decompression
 *   payload    LARGE: a reference of KVI_LARGE_REF_SIZE bytes; else the (compressed) bytes
 */
#ifndef KVI_ENTRY_H
#define KVI_ENTRY_H

#include "meta.h"

#define KVI_STORED_HEADER_MAX (1 + 1 + 8 + 8)

/* The bytes of an entry as its leaf keeps them. */
typedef struct kvi_stored {
    kvi_slice bytes;
    bool special;
} kvi_stored;

/* The same, taken apart. */
typedef struct kvi_large {
    kvi_ptr ptr;         /* first page */
    uint64_t pages;      /* 0 while private */
    uint64_t stored_len; /* bytes in the run */
    uint64_t raw_len;    /* bytes of the value */
    uint64_t checksum;   /* of the stored bytes */
} kvi_large;

typedef struct kvi_entry {
    uint8_t flags;
    uint8_t codec;
    uint64_t expiry;
    uint64_t raw_len;
    kvi_slice payload; /* not LARGE */
    kvi_large large;   /* LARGE */
} kvi_entry;

/* When the entry expires; 0: never. Whatever the bytes are, none outside them is read. */
static inline uint64_t kvi_stored_expiry(kvi_stored stored)
{
    if (!stored.special || stored.bytes.len < 9 || !(stored.bytes.ptr[0] & KVI_ENTRY_EXPIRY))
        return 0;
    size_t at = stored.bytes.ptr[0] & KVI_ENTRY_COMPRESSED ? 2 : 1;
    return stored.bytes.len >= at + 8 ? kvi_get64(stored.bytes.ptr + at) : 0;
}

static inline bool kvi_stored_expired(kvi_stored stored, uint64_t now)
{
    return KVI_UNLIKELY(stored.special) && kvi_expired(kvi_stored_expiry(stored), now);
}

/* Of a leaf's entries: the least expiry, 0: none; how many of [from, to) have expired. */
uint64_t kvi_leaf_least_expiry(const uint8_t *page, uint32_t page_size);
unsigned kvi_leaf_expired(const uint8_t *page, uint32_t page_size, unsigned from, unsigned to,
                          uint64_t now);

/* What an entry of the catalog, and one of the list of named snapshots, describes; false: nothing, whatever
 * its form. Bounds as for kvi_tree_desc_decode. */
static inline bool kvi_stored_tree(kvi_stored stored, uint32_t page_size, kvi_pgno high_water,
                                   kvi_id newest, kvi_tree_desc *desc)
{
    return !stored.special && stored.bytes.len == KVI_TREE_SIZE &&
           kvi_tree_desc_decode(stored.bytes.ptr, page_size, high_water, newest, desc);
}

static inline bool kvi_stored_named(kvi_stored stored, uint32_t page_size, kvi_pgno high_water,
                                    kvi_id newest, kvi_named *named)
{
    return !stored.special && stored.bytes.len == KVI_NAMED_SIZE &&
           kvi_named_decode(stored.bytes.ptr, page_size, high_water, newest, named);
}

/* Takes apart; false when the bytes are no entry that kv writes. */
bool kvi_entry_parse(kvi_stored stored, kvi_entry *entry) KVI_MUST_CHECK;

void kvi_large_put(uint8_t *bytes, const kvi_large *large);

/* Where the reference of a large entry starts inside its stored bytes. */
size_t kvi_entry_ref_at(const kvi_entry *entry);

/* Pages that len bytes occupy. */
static inline uint64_t kvi_large_pages(uint64_t len, uint32_t page_size)
{
    return (len + page_size - 1) / page_size;
}

/* Is every special entry of this leaf, which passed kvi_node_validate, one that kv writes? Large
 * values must lie between KVI_LARGE_FROM and the high-water mark, births in 1..newest. */
bool kvi_entries_valid(const uint8_t *page, uint32_t page_size, kvi_pgno high_water,
                       kvi_id newest) KVI_MUST_CHECK;

#endif
