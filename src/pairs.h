/* pairs.h - the entries of multi-value trees: a key and one of its values make one key of the tree, the
 * key escaped with its end (escaped.h), the value behind it as it is; the entry's own value is empty.
 * So pairs sort by key, then by value, and an entry is a pair.
 *
 *   key "a\0", value "xyz":    61 01 01 00  78 79 7a
 */
#ifndef KVI_PAIRS_H
#define KVI_PAIRS_H

#include "escaped.h"

/* How the escaped key ends. */
enum kvi_pairs_end {
    KVI_PAIRS_OPEN,  /* not at all: what all keys begin with that begin with this one */
    KVI_PAIRS_FIRST, /* by its end: what all its pairs begin with, and nothing else does */
    KVI_PAIRS_AFTER  /* behind all its pairs, before those of the next key */
};

/* Writes it to buf, as far as there is room; what is longer than any key decides nothing. Gives the
 * length written. */
size_t kvi_pairs_key(kvi_slice key, enum kvi_pairs_end end, uint8_t *buf, size_t size);

/* The whole pair; *len is its length, also when it is greater than size. */
size_t kvi_pairs_join(kvi_slice key, kvi_slice value, uint8_t *buf, size_t size);

/* The length of the escaped key with its end at the beginning of a pair; 0: this is no pair. */
size_t kvi_pairs_key_len(const uint8_t *pair, size_t len);

/* Is it an entry of a multi-value tree (T7)? */
static inline bool kvi_pairs_entry(kvi_slice key, kvi_slice value)
{
    return value.len == 0 && kvi_pairs_key_len(key.ptr, key.len) > 0;
}

/* Takes a pair apart in place: the key's bytes move together. False: it is none. */
bool kvi_pairs_split(uint8_t *pair, size_t len, kvi_slice *key, kvi_slice *value) KVI_MUST_CHECK;

#endif
