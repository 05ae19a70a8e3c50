/* node_scan.c - see node_scan.h. */
#include "node_scan.h"
#include "node_impl.h"

/* memcpy into memory with slack, out of memory that can be read up to end. */
static inline void bytes_copy(uint8_t *out, const uint8_t *from, uint32_t len, const uint8_t *end)
{
    if (KVI_LIKELY(len <= 16 && end - from >= 16))
        memcpy(out, from, 16);
    else
        memcpy(out, from, len);
}

/* The key of slot i; as kvi_key_copy, but writes into the slack. */
static inline size_t key_write(const uint8_t *page, const kvi_shape *s, unsigned i,
                               const kvi_node_slot *slot, uint32_t key_max, uint8_t *out)
{
    uint32_t len = s->prefix_len + KVI_MIN(slot->suffix_len, 4) + slot->tail_len;
    if (KVI_UNLIKELY(s->prefix_len > KVI_PREFIX_INLINE || len > key_max))
        return kvi_key_copy(page, s, i, out);
    memcpy(out, page + KVI_P_prefix, KVI_PREFIX_INLINE);
    kvi_put32be(out + s->prefix_len, kvi_head_at(page, s, i));
    bytes_copy(out + s->prefix_len + 4, slot->tail, slot->tail_len, page + s->page_size);
    return len;
}

void kvi_plain_look(kvi_plain *plain, const uint8_t *page, uint32_t page_size)
{
    const kvi_shape s = kvi_leaf_shape(page, page_size);
    uint32_t tail_len = kvi_tail_of(s.fixed_key - 1);
    bool fits = s.fixed_key >= 1 && s.fixed_value >= 1 && !kvi_shape_heapless(&s) &&
                s.prefix_len + s.fixed_key <= kvi_key_max(page_size) + 1 &&
                tail_len + s.fixed_value <= page_size;
    *plain = (kvi_plain){
        .page = page,
        .heads = page + s.heads,
        .offsets = page + s.offsets,
        .page_size = page_size,
        .mask = page_size - 1,
        .slots = fits ? s.slots : 0,
        .prefix_len = s.prefix_len,
        .tail_len = tail_len,
        .value_len = s.fixed_value - 1,
        .key_len = s.prefix_len + s.fixed_key - 1,
        .prefix_rest = kvi_prefix_tail(s.prefix_len),
    };
    plain->last = page_size - plain->tail_len - plain->value_len;
    if (s.prefix_len <= 4) {
        plain->whole = page_size - 16;
        plain->brief = plain->key_len <= 16 ? plain->whole : 0;
        plain->front = kvi_get64(page + KVI_P_prefix) & (((uint64_t)1 << 8 * s.prefix_len) - 1);
    }
}

void kvi_plain_key_any(const kvi_plain *plain, unsigned i, uint32_t at, uint8_t *out)
{
    kvi_plain_key(plain, i, at, out);
}

/* Adds entries of a plain leaf; returns how many. The key buffer has room for all of them. */
static unsigned plain_scan(const kvi_plain *leaf, kvi_scan *scan)
{
    const kvi_plain plain = *leaf; /* a copy, since writing keys does not change it */
    uint8_t *key = scan->keys;
    kv_pair *pair = scan->pairs;
    size_t len = plain.key_len;
    kvi_ahead ahead = scan->ahead;
    unsigned done = 0, n = scan->n, i = scan->from, step = scan->up ? 1u : -1u;
    for (; done < n; done++, i += step, key += len, pair++) {
        kvi_ahead_ask(&ahead, scan->pace);
        uint32_t at = kvi_plain_at(&plain, i);
        if (KVI_UNLIKELY(at == 0))
            break;
        kvi_plain_key(&plain, i, at, key);
        *pair = (kv_pair){{key, len}, kvi_plain_value(&plain, at)};
    }
    scan->ahead = ahead;
    scan->used = (size_t)(key - scan->keys);
    return done;
}

unsigned kvi_leaf_scan(const kvi_plain *leaf, kvi_scan *scan)
{
    const uint8_t *page = leaf->page;
    const uint32_t page_size = leaf->page_size;
    const uint32_t key_max = kvi_key_max(page_size);
    if (leaf->slots > 0 && (size_t)scan->n * leaf->key_len + key_max + KVI_SCAN_SLACK <= scan->room)
        return plain_scan(leaf, scan);
    const kvi_shape s = kvi_leaf_shape(page, page_size);
    const uint8_t *end = scan->keys + scan->room;
    uint8_t *key = scan->keys;
    unsigned done = 0, i = scan->from;
    for (; done < scan->n; done++, i += scan->up ? 1u : -1u) {
        kvi_ahead_ask(&scan->ahead, scan->pace);
        if (KVI_UNLIKELY((size_t)(end - key) < key_max + KVI_SCAN_SLACK))
            break;
        kvi_node_slot slot = kvi_slot_at(page, &s, i);
        if (slot.special)
            break;
        size_t len = key_write(page, &s, i, &slot, key_max, key);
        scan->pairs[done] = (kv_pair){{key, len}, {slot.tail + slot.tail_len, slot.value_len}};
        key += len;
    }
    scan->used = (size_t)(key - scan->keys);
    return done;
}
