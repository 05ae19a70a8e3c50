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

unsigned kvi_leaf_scan(const uint8_t *page, uint32_t page_size, kvi_scan *scan)
{
    const kvi_shape s = kvi_leaf_shape(page, page_size);
    const uint32_t key_max = kvi_key_max(page_size);
    const uint8_t *end = scan->keys + scan->room;
    uint8_t *key = scan->keys;
    unsigned done = 0, i = scan->from;
    for (; done < scan->n; done++, i += scan->up ? 1u : -1u) {
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
