/* value.h - the values of entries: reading them, making their stored forms (entry.h), writing large
 * ones to the file. A large value of the running transaction has birth 0 and a handle for its page,
 * as nodes have. */
#ifndef KVI_VALUE_H
#define KVI_VALUE_H

#include "entry.h"
#include "node.h"
#include "txn.h"

/* The value for a caller: in place, or decompressed into memory of the transaction. */
int kvi_value_load_special(kv_txn *txn, kvi_stored stored, kv_slice *value) KVI_MUST_CHECK;
static inline int kvi_value_load(kv_txn *txn, kvi_stored stored, kv_slice *value)
{
    if (KVI_UNLIKELY(stored.special))
        return kvi_value_load_special(txn, stored, value);
    *value = (kv_slice){stored.bytes.ptr, stored.bytes.len};
    return KV_OK;
}

/* Do two entries have the same value? References to the same bytes are not followed. */
int kvi_value_same(kv_txn *a, kvi_stored of_a, kv_txn *b, kvi_stored of_b,
                   bool *same) KVI_MUST_CHECK;

/* Before the entry of a loaded value changes: do its bytes stay? keep: if not, moves it to bytes that
 * do (kvi_txn_keep). */
bool kvi_value_stays(const kv_txn *txn, kv_slice value);
int kvi_value_keep(kv_txn *txn, kv_slice *value) KVI_MUST_CHECK;

/* The stored form of a value, ready for a tree: plain, compressed, or large (then a private buffer
 * exists, or the bytes are already in the file). value.ptr NULL with a length: reserve; place then
 * says where the bytes of a large one go, those of others go into the leaf, and there is no expiry.
 * Uses db->scratch_value: one value at a time. */
typedef struct kvi_prepared {
    kvi_item item;     /* key and stored value, ready for the tree */
    uint8_t *place;    /* reserve: the large buffer, or NULL */
    uint64_t pages;    /* of the run: for the tree's count; 0: not large */
    kvi_handle handle; /* of the large value */
    uint8_t head[KVI_STORED_HEADER_MAX + KVI_LARGE_REF_SIZE];
    uint8_t *owned; /* memory behind item.value, freed by kvi_value_done */
} kvi_prepared;
int kvi_value_prepare(kv_tree *tree, kvi_slice key, kvi_slice value, uint64_t expiry,
                      kvi_prepared *prepared) KVI_MUST_CHECK;

/* The same value with another expiry (0: none); nothing but a private copy of the form is made. */
int kvi_value_prepare_expiry(kv_tree *tree, kvi_slice key, kvi_stored stored, uint64_t expiry,
                             kvi_prepared *prepared) KVI_MUST_CHECK;
void kvi_value_done(kv_txn *txn, kvi_prepared *prepared);

/* Is its buffer still there? What it replaces may claim to be the same, in a page that changed after it was
 * verified, and is dropped first. */
bool kvi_value_there(const kv_txn *txn, const kvi_prepared *prepared);

/* Instead of done: the value did not go into the tree. */
void kvi_value_discard(kv_txn *txn, kvi_prepared *prepared);

/* The entry is going away: gives back the run or buffer of a large value. */
int kvi_value_drop(kv_tree *tree, kvi_stored stored) KVI_MUST_CHECK;

/* Writes a private large value to the file (place chosen by the space policy) and completes the
 * reference in the leaf bytes. */
int kvi_value_seal(kv_txn *txn, uint8_t *stored, size_t len) KVI_MUST_CHECK;

#endif
