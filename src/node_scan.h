/* node_scan.h - reading many entries of one leaf: what they share is looked at once. */
#ifndef KVI_NODE_SCAN_H
#define KVI_NODE_SCAN_H

#include "node.h"
#include "kv.h"

/* Keys are copied in pieces of sixteen bytes: up to so many may be written behind a key. */
#define KVI_SCAN_SLACK 32

/* What the entries of a plain leaf share: prefix, one length of keys, one of values, nothing special.
 * Looked at once, it serves all of them, as long as the page is the same. */
typedef struct kvi_plain {
    const uint8_t *page; /* NULL: none was looked at */
    const uint8_t *heads, *offsets;
    uint32_t page_size;
    uint32_t mask;  /* page_size - 1 */
    uint32_t slots; /* 0: the leaf is not plain */
    uint32_t prefix_len, tail_len, value_len, key_len;
    uint32_t prefix_rest; /* bytes of the prefix that stand at the page's end */
    uint32_t last;        /* where the bytes of an entry begin at most ... */
    uint32_t whole; /* ... from which its key can be made in one piece: short prefix, room behind */
    uint32_t brief; /* ... and is no longer than 16 bytes */
    uint64_t front; /* that prefix, in the low bytes */
} kvi_plain;

void kvi_plain_look(kvi_plain *plain, const uint8_t *page, uint32_t page_size);

/* Where the bytes of an entry stand. 0: there is no such entry (the page was overwritten). */
static inline uint32_t kvi_plain_at(const kvi_plain *plain, unsigned i)
{
    if (KVI_UNLIKELY(i >= plain->slots))
        return 0;
    uint32_t at = kvi_get16(plain->offsets + 2 * i) & plain->mask;
    __asm__("" : "+r"(at)); /* not fetched again after the check */
    return KVI_LIKELY(at <= plain->last) ? at : 0;
}

/* Copies len bytes that stand in the page at a place; up to 15 more may be written. */
static inline void kvi_plain_copy(const kvi_plain *plain, uint32_t at, uint32_t len, uint8_t *out)
{
    if (KVI_UNLIKELY(at + len + 15 > plain->page_size)) {
        memcpy(out, plain->page + at, len);
        return;
    }
    for (uint32_t done = 0; done < len; done += 16)
        memcpy(out + done, plain->page + at + done, 16);
}

/* The first 16 bytes of a key that can be made in one piece. One store: who looks at the key at once need
 * not wait for several. */
KVI_INLINE void kvi_plain_whole(const kvi_plain *plain, unsigned i, uint32_t at, uint8_t *out)
{
    uint32_t prefix_len = plain->prefix_len;
    uint64_t first = (uint64_t)kvi_get32be(plain->heads + 4 * i) | kvi_get64(plain->page + at)
                                                                       << 32;
    kvi_put128(out, plain->front | first << 8 * prefix_len,
               kvi_get64(plain->page + at + 4 - prefix_len));
}

/* Writes the key of entry i, whose bytes stand at, to out; up to KVI_SCAN_SLACK bytes may be written
 * behind it. */
KVI_INLINE void kvi_plain_key(const kvi_plain *plain, unsigned i, uint32_t at, uint8_t *out)
{
    uint32_t prefix_len = plain->prefix_len;
    if (KVI_LIKELY(at <= plain->whole)) {
        kvi_plain_whole(plain, i, at, out);
        if (plain->key_len > 16)
            kvi_plain_copy(plain, at + 12 - prefix_len, plain->key_len - 16, out + 16);
        return;
    }
    uint32_t head = kvi_get32be(plain->heads + 4 * i);
    memcpy(out, plain->page + KVI_P_prefix, KVI_PREFIX_INLINE);
    if (plain->prefix_rest)
        memcpy(out + KVI_PREFIX_INLINE, plain->page + plain->page_size - plain->prefix_rest,
               plain->prefix_rest);
    kvi_put32(out + prefix_len, head);
    kvi_plain_copy(plain, at, plain->tail_len, out + prefix_len + 4);
}

/* The same, not inline. */
void kvi_plain_key_any(const kvi_plain *plain, unsigned i, uint32_t at, uint8_t *out);

static inline kv_slice kvi_plain_value(const kvi_plain *plain, uint32_t at)
{
    return (kv_slice){plain->page + at + plain->tail_len, plain->value_len};
}

/* Memory that a scan comes to next, asked for line by line in its direction: all at once is more than a
 * processor keeps under way, and in that order it asks for what lies behind by itself. */
typedef struct kvi_ahead {
    uintptr_t next, end; /* equal: nothing */
    intptr_t step;
} kvi_ahead;

static inline kvi_ahead kvi_ahead_of(uintptr_t memory, uint32_t len, bool up)
{
    return up ? (kvi_ahead){memory, memory + len, 64}
              : (kvi_ahead){memory + len - 64, memory - 64, -64};
}

static inline void kvi_ahead_ask(kvi_ahead *ahead, size_t lines)
{
    for (; lines > 0 && ahead->next != ahead->end; lines--) {
        __builtin_prefetch((const void *)ahead->next);
        ahead->next += (uintptr_t)ahead->step;
    }
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
    kvi_ahead ahead;
    uint32_t pace; /* lines of it with each entry */
} kvi_scan;

/* Reads the entries of a leaf that was looked at, until one is special, or room is less than
 * kvi_key_max + KVI_SCAN_SLACK. Returns how many. */
unsigned kvi_leaf_scan(const kvi_plain *leaf, kvi_scan *scan);

#endif
