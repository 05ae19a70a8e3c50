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
KVI_INLINE size_t kvi_quick_from(const uint8_t *page, kvi_form form, const kvi_quick *q)
{
    return kvi_lanes_lower(page + KVI_HEADER_SIZE, q->head) * kvi_form_stride(form);
}

/* The number of slots with a smaller head: from and what follows. Nearly always one block of lanes
 * has the place; behind the last slot it counts whatever stands there. */
KVI_INLINE size_t kvi_quick_lower(const uint8_t *page, const kvi_quick *q, size_t from)
{
    size_t lower = from, less;
    do {
        less = kvi_lanes_lower(page + q->heads + 4 * lower, q->head);
        lower += less;
    } while (KVI_UNLIKELY(less == KVI_LANES) && lower < q->slots);
    return KVI_MIN(lower, q->slots);
}

/* The same for a leaf, where all waits for memory: two blocks at once, so that no jump depends on which
 * of them has the place. */
KVI_INLINE size_t kvi_quick_lower_two(const uint8_t *page, const kvi_quick *q, size_t from)
{
    const uint8_t *heads = page + q->heads + 4 * from;
    size_t less = kvi_lanes_lower(heads, q->head);
    size_t more = kvi_lanes_lower(heads + 4 * KVI_LANES, q->head);
    size_t lower = from + less + (less / KVI_LANES) * more; /* it counts behind a full first */
    if (KVI_UNLIKELY(lower == from + 2 * KVI_LANES) && lower < q->slots)
        return kvi_quick_lower(page, q, lower);
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
 * all of them, and then the second of all (descent_impl.h). */

typedef struct kvi_aim {
    bool quick;  /* else the general search must do it */
    size_t from; /* branch: what the heads from here on tell; leaf: the slot */
    size_t at;   /* branch: where the children begin; leaf: the slot's bytes, if it is one */
    kvi_quick q;
} kvi_aim;

/* The block of heads that has the place, and what belongs to it, comes next. */
KVI_INLINE kvi_aim kvi_aim_branch_at(const uint8_t *page, kvi_form form, uint32_t page_size,
                                     const kvi_probe *probe, bool hinted)
{
    kvi_aim aim = {.q = kvi_quick_of_form(form, hinted)};
    aim.quick = kvi_form_quick(form) && kvi_quick_begin(page, page_size, probe, &aim.q);
    if (KVI_UNLIKELY(!aim.quick))
        return aim;
    aim.at = kvi_form_children(form, hinted);
    aim.from = hinted ? kvi_quick_from(page, form, &aim.q) : 0;
    kvi_quick_prefetch(page + aim.at + KVI_PTR_SIZE * aim.from);
    return aim;
}

KVI_INLINE kvi_aim kvi_aim_branch(const uint8_t *page, kvi_form form, uint32_t page_size,
                                  const kvi_probe *probe)
{
    return KVI_LIKELY(kvi_form_stride(form) > 0)
               ? kvi_aim_branch_at(page, form, page_size, probe, true)
               : kvi_aim_branch_at(page, form, page_size, probe, false);
}

/* Are the branch's separators no longer than the key? Then one that has the key's head is not greater
 * than it. */
KVI_INLINE bool kvi_quick_not_greater(const kvi_aim *aim, const uint8_t *page, kvi_slice key)
{
    uint32_t fixed_key = kvi_field16(page, KVI_P_fixed_key);
    return fixed_key - 1 < 5 && key.len - aim->q.prefix + 1 >= fixed_key;
}

/* kvi_branch_find_any, which gets no address of what is to stay in registers. */
KVI_INLINE unsigned kvi_aim_child_any(const uint8_t *page, uint32_t page_size, kvi_slice key,
                                      kvi_ptr *child)
{
    kvi_ptr any;
    unsigned i = kvi_branch_find_any(page, page_size, key, &any);
    *child = any;
    return i;
}

KVI_INLINE unsigned kvi_aim_child(const kvi_aim *aim, const uint8_t *page, uint32_t page_size,
                                  kvi_slice key, kvi_ptr *child)
{
    if (KVI_UNLIKELY(!aim->quick))
        return kvi_aim_child_any(page, page_size, key, child);
    size_t i = kvi_quick_lower(page, &aim->q, aim->from);
    if (KVI_UNLIKELY(kvi_get32(page + aim->q.heads + 4 * i) == aim->q.head) && i < aim->q.slots) {
        if (!kvi_quick_not_greater(aim, page, key))
            return kvi_aim_child_any(page, page_size, key, child);
        i++;
    }
    *child = kvi_ptr_get(page + aim->at + KVI_PTR_SIZE * i);
    return (unsigned)i;
}

KVI_INLINE unsigned kvi_quick_branch(const uint8_t *page, kvi_form form, uint32_t page_size,
                                     const kvi_probe *probe, kvi_ptr *child)
{
    kvi_aim aim = kvi_aim_branch(page, form, page_size, probe);
    return kvi_aim_child(&aim, page, page_size, probe->key, child);
}

KVI_INLINE bool kvi_bytes_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
    if (KVI_UNLIKELY(len < 8))
        return len == 0 || kvi_top_bytes(a, len) == kvi_top_bytes(b, len);
    uint64_t differ = kvi_get64(a) ^ kvi_get64(b);
    differ |= kvi_get64(a + len - 8) ^ kvi_get64(b + len - 8);
    for (size_t i = 8; i + 8 < len; i += 8)
        differ |= kvi_get64(a + i) ^ kvi_get64(b + i);
    return differ == 0;
}

/* The record comes next. */
KVI_INLINE kvi_aim kvi_aim_leaf_at(const uint8_t *page, kvi_form form, uint32_t page_size,
                                   const kvi_probe *probe, bool hinted)
{
    kvi_aim aim = {.q = kvi_quick_of_form(form, hinted)};
    aim.quick = kvi_form_quick(form) && kvi_quick_begin(page, page_size, probe, &aim.q);
    if (KVI_UNLIKELY(!aim.quick))
        return aim;
    aim.from = kvi_quick_lower_two(page, &aim.q, hinted ? kvi_quick_from(page, form, &aim.q) : 0);
    aim.at = kvi_field16(page, aim.q.heads + 4 * aim.q.slots + 2 * aim.from);
    return aim;
}

KVI_INLINE kvi_aim kvi_aim_leaf(const uint8_t *page, kvi_form form, uint32_t page_size,
                                const kvi_probe *probe)
{
    return kvi_form_stride(form) > 0 ? kvi_aim_leaf_at(page, form, page_size, probe, true)
                                     : kvi_aim_leaf_at(page, form, page_size, probe, false);
}

typedef enum kvi_hit { KVI_MISS, KVI_HIT, KVI_UNSURE } kvi_hit;

/* Has the entry aimed at this key, and a plain value of a length that all have? Unsure: the general
 * search can tell. */
KVI_INLINE kvi_hit kvi_aim_hit(const kvi_aim *aim, const uint8_t *page, uint32_t page_size,
                               kvi_slice key, kvi_slice *value)
{
    if (KVI_UNLIKELY(!aim->quick))
        return KVI_UNSURE;
    if (aim->from >= aim->q.slots || kvi_get32(page + aim->q.heads + 4 * aim->from) != aim->q.head)
        return KVI_MISS;
    uint32_t more = (uint32_t)key.len - aim->q.prefix, tail_len = kvi_tail_of(more);
    uint32_t fixed_value = kvi_field16(page, KVI_P_fixed_value);
    if (KVI_UNLIKELY(kvi_field16(page, KVI_P_fixed_key) != more + 1 || fixed_value < 2) ||
        KVI_UNLIKELY(aim->at + tail_len + fixed_value > page_size + 1) ||
        !kvi_bytes_equal(page + aim->at, key.ptr + key.len - tail_len, tail_len))
        return KVI_UNSURE;
    *value = kvi_slice_of(page + aim->at + tail_len, fixed_value - 1);
    return KVI_HIT;
}

KVI_INLINE bool kvi_aim_value(const kvi_aim *aim, const uint8_t *page, uint32_t page_size,
                              kvi_slice key, kvi_slice *value, bool *special)
{
    kvi_hit hit = kvi_aim_hit(aim, page, page_size, key, value);
    if (KVI_UNLIKELY(hit == KVI_UNSURE))
        return kvi_leaf_find_any(page, page_size, key, value, special);
    *special = false;
    return hit == KVI_HIT;
}

/* Asks for entries near a slot that is found, as far as the leaf has some: for so many behind it, or, if
 * negative, before it. */
KVI_INLINE void kvi_aim_around(const kvi_aim *aim, const uint8_t *page, int around)
{
    size_t slots = aim->q.slots, from = aim->from + 1, to = aim->from + (size_t)around;
    if (around < 0) {
        to = aim->from;
        from = to - KVI_MIN(to, (size_t)-around);
    }
    to = KVI_MIN(to, slots);
    for (size_t i = from; i < to; i++) {
        const uint8_t *entry = page + kvi_field16(page, aim->q.heads + 4 * slots + 2 * i);
        __builtin_prefetch(entry);
        __builtin_prefetch(entry + 64);
    }
}

/* The number of entries with a smaller key; *found: the one there has this key. around: of
 * kvi_aim_around, while this one is waited for. */
KVI_INLINE unsigned kvi_quick_slot(const uint8_t *page, kvi_form form, uint32_t page_size,
                                   const kvi_probe *probe, int around, bool *found)
{
    kvi_aim aim = kvi_aim_leaf(page, form, page_size, probe);
    if (around != 0 && aim.quick)
        kvi_aim_around(&aim, page, around);
    kvi_slice value;
    kvi_hit hit = kvi_aim_hit(&aim, page, page_size, probe->key, &value);
    if (hit == KVI_UNSURE)
        return kvi_leaf_search(page, page_size, probe->key, found);
    *found = hit == KVI_HIT;
    return (unsigned)aim.from;
}

KVI_INLINE bool kvi_quick_leaf(const uint8_t *page, kvi_form form, uint32_t page_size,
                               const kvi_probe *probe, kvi_slice *value, bool *special)
{
    kvi_aim aim = kvi_aim_leaf(page, form, page_size, probe);
    return kvi_aim_value(&aim, page, page_size, probe->key, value, special);
}

#endif
