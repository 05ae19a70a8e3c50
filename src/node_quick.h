/* node_quick.h - the two steps of a lookup, down a branch and into a leaf, for the keys and nodes
 * that nearly all lookups meet; the rest go to the general search (node.c), with the same result.
 *
 * What counts here is how soon the processor can ask for the next line of memory, of this lookup and
 * of the next one, which it starts while it waits for this one: few instructions, lines asked for
 * together, no jump that depends on where a key stands. So the steps are inline, in the loop that
 * goes down the tree. */
#ifndef KVI_NODE_QUICK_H
#define KVI_NODE_QUICK_H

#include "node_impl.h"

/* The general ways. */
unsigned kvi_branch_find_any(const uint8_t *page, uint32_t page_size, kvi_slice key,
                             kvi_ptr *child);
bool kvi_leaf_find_any(const uint8_t *page, uint32_t page_size, kvi_slice key, kvi_slice *value,
                       bool *special);

/* A slot with only smaller heads before it, as close to the place as the hints tell. */
KVI_INLINE uint32_t kvi_quick_from(const uint8_t *page, const kvi_quick *q, uint32_t stride)
{
    if (!stride)
        return 0;
    uint32_t less = kvi_lanes_lower(page + KVI_HEADER_SIZE, q->head);
    uint32_t from = less * stride + (less > 0);
    return KVI_MIN(from, q->slots);
}

/* The number of slots with a smaller head: from and what follows. Nearly always one block of lanes
 * has the place; behind the last slot it counts whatever stands there. */
KVI_INLINE uint32_t kvi_quick_lower(const uint8_t *page, const kvi_quick *q, uint32_t from)
{
    uint32_t lower = from, less;
    do {
        less = kvi_lanes_lower(page + q->heads + 4 * lower, q->head);
        lower += less;
    } while (KVI_UNLIKELY(less == KVI_LANES) && lower < q->slots);
    return KVI_MIN(lower, q->slots);
}

/* The same for two blocks of heads at most, without hints: the usual leaf. */
KVI_INLINE uint32_t kvi_quick_lower_few(const uint8_t *page, const kvi_quick *q)
{
    uint32_t less = kvi_lanes_lower(page + KVI_HEADER_SIZE, q->head);
    uint32_t more = kvi_lanes_lower(page + KVI_HEADER_SIZE + 4 * KVI_LANES, q->head);
    uint32_t lower = less + (less / KVI_LANES) * more; /* the second counts behind a full first */
    return KVI_MIN(lower, q->slots);
}

/* Asks for the children that come into question, to have them when the heads have told which. */
KVI_INLINE void kvi_quick_prefetch(const uint8_t *first)
{
    __builtin_prefetch(first);
    __builtin_prefetch(first + 64);
    __builtin_prefetch(first + 128);
}

/* ---- a step in two halves ----
 *
 * A lookup waits for memory between them. Whoever makes many lookups at once does the first half of
 * all of them, and then the second of all (tree_group.c). */

typedef struct kvi_aim {
    bool quick;                   /* else the general search must do it */
    bool head_only;               /* branch: heads are separators, none longer than the key */
    uint32_t from;                /* branch: what the heads from here on tell; leaf: the slot */
    uint32_t at;                  /* branch: where the children begin; leaf: the slot's bytes */
    uint32_t more;                /* leaf: bytes of each key behind the prefix */
    uint32_t tail_len, value_len; /* leaf: of the slot's bytes */
    kvi_quick q;
} kvi_aim;

/* The block of heads that has the place, and what belongs to it, comes next. */
KVI_INLINE kvi_aim kvi_aim_branch(const uint8_t *page, uint32_t page_size, kvi_slice key)
{
    kvi_aim aim;
    uint32_t stride = kvi_field16(page, KVI_P_hint_stride);
    aim.quick = kvi_quick_begin(page, page_size, key, stride, &aim.q);
    if (!aim.quick)
        return aim;
    uint32_t fixed_key = kvi_field16(page, KVI_P_fixed_key);
    bool heapless = fixed_key - 1 < 5;
    aim.head_only = heapless && aim.q.more + 1 >= fixed_key;
    aim.at = aim.q.heads + (heapless ? 4 : 6) * aim.q.slots;
    aim.from = kvi_quick_from(page, &aim.q, stride);
    kvi_quick_prefetch(page + aim.at + KVI_PTR_SIZE * aim.from);
    return aim;
}

KVI_INLINE unsigned kvi_aim_child(const kvi_aim *aim, const uint8_t *page, uint32_t page_size,
                                  kvi_slice key, kvi_ptr *child)
{
    if (!aim->quick)
        return kvi_branch_find_any(page, page_size, key, child);
    uint32_t i = kvi_quick_lower(page, &aim->q, aim->from);
    if (i < aim->q.slots && kvi_get32(page + aim->q.heads + 4 * i) == aim->q.head) {
        if (!aim->head_only)
            return kvi_branch_find_any(page, page_size, key, child);
        i++; /* a separator that is no longer than its head is not greater than the key */
    }
    *child = kvi_ptr_get(page + KVI_MIN(aim->at + KVI_PTR_SIZE * i, page_size - KVI_PTR_SIZE));
    return i;
}

KVI_INLINE unsigned kvi_quick_branch(const uint8_t *page, uint32_t page_size, kvi_slice key,
                                     kvi_ptr *child)
{
    kvi_aim aim = kvi_aim_branch(page, page_size, key);
    return kvi_aim_child(&aim, page, page_size, key, child);
}

KVI_INLINE bool kvi_bytes_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
    if (KVI_LIKELY(len >= 8)) {
        uint64_t differ = kvi_get64(a + len - 8) ^ kvi_get64(b + len - 8);
        for (size_t i = 0; i + 8 < len; i += 8)
            differ |= kvi_get64(a + i) ^ kvi_get64(b + i);
        return differ == 0;
    }
    return len == 0 || kvi_top_bytes(a, len) == kvi_top_bytes(b, len);
}

/* The record comes next. */
KVI_INLINE kvi_aim kvi_aim_leaf(const uint8_t *page, uint32_t page_size, kvi_slice key)
{
    kvi_aim aim;
    uint32_t stride = kvi_field16(page, KVI_P_hint_stride);
    uint32_t fixed_key = kvi_field16(page, KVI_P_fixed_key);
    uint32_t fixed_value = kvi_field16(page, KVI_P_fixed_value);
    aim.quick =
        fixed_key >= 1 && fixed_value >= 2 && kvi_quick_begin(page, page_size, key, stride, &aim.q);
    if (!aim.quick)
        return aim;
    aim.more = fixed_key - 1;
    aim.tail_len = kvi_tail_of(aim.more);
    aim.value_len = fixed_value - 1;
    aim.at = page_size; /* nowhere */
    bool few = !stride && aim.q.slots <= 2 * KVI_LANES;
    aim.from = few ? kvi_quick_lower_few(page, &aim.q)
                   : kvi_quick_lower(page, &aim.q, kvi_quick_from(page, &aim.q, stride));
    if (aim.from < aim.q.slots)
        aim.at = kvi_field16(page, aim.q.heads + 4 * aim.q.slots + 2 * aim.from);
    return aim;
}

typedef enum kvi_hit { KVI_MISS, KVI_HIT, KVI_UNSURE } kvi_hit;

/* Has the entry aimed at this key? Unsure: the general search can tell. */
KVI_INLINE kvi_hit kvi_aim_hit(const kvi_aim *aim, const uint8_t *page, uint32_t page_size,
                               kvi_slice key)
{
    if (!aim->quick)
        return KVI_UNSURE;
    if (aim->from >= aim->q.slots || kvi_get32(page + aim->q.heads + 4 * aim->from) != aim->q.head)
        return KVI_MISS;
    if (aim->q.more != aim->more || aim->at + aim->tail_len + aim->value_len > page_size ||
        !kvi_bytes_equal(page + aim->at, key.ptr + aim->q.skip, aim->tail_len))
        return KVI_UNSURE;
    return KVI_HIT;
}

KVI_INLINE bool kvi_aim_value(const kvi_aim *aim, const uint8_t *page, uint32_t page_size,
                              kvi_slice key, kvi_slice *value, bool *special)
{
    kvi_hit hit = kvi_aim_hit(aim, page, page_size, key);
    if (hit == KVI_UNSURE)
        return kvi_leaf_find_any(page, page_size, key, value, special);
    if (hit == KVI_MISS)
        return false;
    *value = kvi_slice_of(page + aim->at + aim->tail_len, aim->value_len);
    *special = false;
    return true;
}

/* The number of entries with a smaller key; *found: the one there has this key. */
KVI_INLINE unsigned kvi_quick_slot(const uint8_t *page, uint32_t page_size, kvi_slice key,
                                   bool *found)
{
    kvi_aim aim = kvi_aim_leaf(page, page_size, key);
    kvi_hit hit = kvi_aim_hit(&aim, page, page_size, key);
    if (hit == KVI_UNSURE)
        return kvi_leaf_search(page, page_size, key, found);
    *found = hit == KVI_HIT;
    return aim.from;
}

KVI_INLINE bool kvi_quick_leaf(const uint8_t *page, uint32_t page_size, kvi_slice key,
                               kvi_slice *value, bool *special)
{
    kvi_aim aim = kvi_aim_leaf(page, page_size, key);
    return kvi_aim_value(&aim, page, page_size, key, value, special);
}

#endif
