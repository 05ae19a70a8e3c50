/* node_scan.h - reading many entries of one leaf: what they share is looked at once. */
#ifndef KVI_NODE_SCAN_H
#define KVI_NODE_SCAN_H

#include "node.h"
#include "kv.h"

/* Keys are copied in pieces of sixteen bytes: up to so many may be written behind a key. */
#define KVI_SCAN_SLACK 32

#define KVI_PLAIN_ROOM (KVI_PREFIX_INLINE + 4 + 16)

/* What the entries of a plain leaf share: short prefix, one length of keys, one of values, nothing
 * special. Looked at once, it serves all of them, as long as the page is the same. */
typedef struct kvi_plain {
    const uint8_t *page; /* NULL: none was looked at */
    uint32_t page_size;
    uint32_t slots;          /* 0: the leaf is not plain */
    uint32_t heads, offsets; /* where they begin */
    uint32_t prefix_len, tail_len, value_len;
} kvi_plain;

void kvi_plain_look(kvi_plain *plain, const uint8_t *page, uint32_t page_size);

/* Where the bytes of an entry stand. 0: there is no such entry (the page was overwritten). */
static inline uint32_t kvi_plain_at(const kvi_plain *plain, unsigned i)
{
    if (KVI_UNLIKELY(i >= plain->slots))
        return 0;
    uint32_t at = kvi_get16(plain->page + plain->offsets + 2 * i) & (plain->page_size - 1);
    __asm__("" : "+r"(at)); /* not fetched again after the check */
    return at + plain->tail_len + plain->value_len <= plain->page_size ? at : 0;
}

/* Writes the key of entry i, whose bytes stand at, to out; up to KVI_PLAIN_ROOM bytes are written there
 * even if the key is shorter. */
static inline void kvi_plain_key(const kvi_plain *plain, unsigned i, uint32_t at, uint8_t *out)
{
    const uint8_t *tail = plain->page + at;
    memcpy(out, plain->page + KVI_P_prefix, KVI_PREFIX_INLINE);
    out += plain->prefix_len;
    kvi_put32be(out, kvi_get32(plain->page + plain->heads + 4 * i));
    if (KVI_LIKELY(plain->tail_len <= 16 && at + 16 <= plain->page_size))
        memcpy(out + 4, tail, 16);
    else
        memcpy(out + 4, tail, plain->tail_len);
}

static inline size_t kvi_plain_key_len(const kvi_plain *plain)
{
    return plain->prefix_len + 4 + plain->tail_len;
}

static inline kv_slice kvi_plain_value(const kvi_plain *plain, uint32_t at)
{
    return (kv_slice){plain->page + at + plain->tail_len, plain->value_len};
}

/* Entries of a leaf that stand next to each other, and where they go. */
typedef struct kvi_scan {
    unsigned from; /* slot of the first */
    unsigned n;    /* entries; all exist */
    bool up;       /* to higher slots, else to lower ones */
    kv_pair *pairs;
    uint8_t *keys; /* one after the other */
    size_t room;   /* bytes there */
    size_t used;   /* out: of those */
} kvi_scan;

/* Reads the entries until one is special, or room is less than kvi_key_max + KVI_SCAN_SLACK.
 * Returns how many. */
unsigned kvi_leaf_scan(const uint8_t *page, uint32_t page_size, kvi_scan *scan);

#endif
