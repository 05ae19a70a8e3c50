/* value.h - what an entry stores besides its key: plain bytes, a large value, compressed bytes.
 *
 * A plain value is the bytes themselves. A special entry (the mark is kept with the key, node.h)
 * stores:
 *
 *   flags      1 byte, KVI_ENTRY_*
 *   codec      1 byte, if COMPRESSED
 *   expiry     8 bytes, if EXPIRY: milliseconds since the epoch
 *   raw_len    8 bytes, if COMPRESSED and not LARGE: length after decompression
 *   payload    LARGE: a reference of KVI_LARGE_REF_SIZE bytes; else the (compressed) bytes
 *
 * A large value of the running transaction has birth 0 and a handle for its page, as nodes have.
 */
#ifndef KVI_VALUE_H
#define KVI_VALUE_H

#include "node.h"
#include "txn.h"

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

/* Takes apart; false when the bytes are no entry that kv writes. */
bool kvi_entry_parse(kvi_stored stored, kvi_entry *entry) KVI_MUST_CHECK;

void kvi_large_get(const uint8_t *bytes, kvi_large *large);
void kvi_large_put(uint8_t *bytes, const kvi_large *large);

/* Where the reference of a large entry starts inside its stored bytes. */
size_t kvi_entry_ref_at(const kvi_entry *entry);

/* Pages that len bytes occupy. */
static inline uint64_t kvi_large_pages(uint64_t len, uint32_t page_size)
{
    return (len + page_size - 1) / page_size;
}

/* The value for a caller: in place, or decompressed into memory of the transaction. */
int kvi_value_load(kv_txn *txn, kvi_stored stored, kv_slice *value) KVI_MUST_CHECK;

/* Length of the value without touching it. */
int kvi_value_len(kv_txn *txn, kvi_stored stored, uint64_t *len) KVI_MUST_CHECK;

/* The stored form of a value, ready for a tree: plain, compressed, or large (then a private buffer
 * exists, or the bytes are already in the file). value.ptr NULL with a length: reserve; place then
 * says where the bytes of a large one go, those of others go into the leaf. Uses db->scratch_value:
 * one value at a time. */
typedef struct kvi_prepared {
    kvi_item item;     /* key and stored value, ready for the tree */
    uint8_t *place;    /* reserve: the large buffer, or NULL */
    uint64_t pages;    /* of the run: for the tree's count; 0: not large */
    kvi_handle handle; /* of the large value */
    uint8_t head[KVI_STORED_HEADER_MAX + KVI_LARGE_REF_SIZE];
    uint8_t *owned; /* memory behind item.value, freed by kvi_value_done */
} kvi_prepared;
int kvi_value_prepare(kv_tree *tree, kvi_slice key, kvi_slice value,
                      kvi_prepared *prepared) KVI_MUST_CHECK;
void kvi_value_done(kv_txn *txn, kvi_prepared *prepared);

/* Instead of done: the value did not go into the tree. */
void kvi_value_discard(kv_txn *txn, kvi_prepared *prepared);

/* The entry is going away: gives back the run or buffer of a large value. */
int kvi_value_drop(kv_tree *tree, kvi_stored stored) KVI_MUST_CHECK;

/* Writes a private large value to the file (place chosen by the space policy) and completes the
 * reference in the leaf bytes. */
int kvi_value_seal(kv_txn *txn, uint8_t *stored, size_t len) KVI_MUST_CHECK;

#endif
