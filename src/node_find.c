/* node_find.c - the steps of a lookup as functions; see node_quick.h. */
#include "node_quick.h"

/* The rest of a long prefix: rest bytes at the end of the page, of len in all. */
static bool prefix_rest_same(const uint8_t *end, uint32_t len, uint32_t rest, const uint8_t *key)
{
    uint64_t differ =
        (kvi_get64(key + len - 8) ^ kvi_get64(end - 8)) >> (64 - 8 * KVI_MIN(rest, 8));
    for (uint32_t i = 16; i < rest + 8; i += 8) {
        uint32_t at = KVI_MIN(i, rest);
        differ |= kvi_get64(key + len - at) ^ kvi_get64(end - at);
    }
    return differ == 0;
}

kvi_form kvi_node_form(const uint8_t *page, uint32_t page_size, unsigned level)
{
    return kvi_form_of(page, page_size, level);
}

bool kvi_quick_begin_far(const uint8_t *page, uint32_t page_size, kvi_slice key, kvi_quick *q)
{
    kvi_probe probe = kvi_probe_of(key);
    uint32_t key_len = (uint32_t)KVI_MIN(key.len, page_size);
    uint32_t len = kvi_field16(page, KVI_P_prefix_len);
    if (probe.reach < 0 || len > KVI_MIN(key_len, page_size / 2) ||
        !kvi_front_same(page, KVI_MIN(len, KVI_PREFIX_INLINE), &probe))
        return false;
    q->prefix = len;
    q->head = kvi_head_behind(key, len);
    return len <= KVI_PREFIX_INLINE ||
           prefix_rest_same(page + page_size, len, len - KVI_PREFIX_INLINE, key.ptr);
}

unsigned kvi_branch_find_any(const uint8_t *page, uint32_t page_size, kvi_slice key, kvi_ptr *child)
{
    unsigned i = kvi_branch_search(page, page_size, key);
    *child = kvi_branch_child(page, page_size, i);
    return i;
}

unsigned kvi_branch_find(const uint8_t *page, uint32_t page_size, kvi_slice key, kvi_ptr *child)
{
    kvi_probe probe = kvi_probe_of(key);
    kvi_form form = kvi_form_of(page, page_size, 1);
    return kvi_quick_branch(page, form, page_size, &probe, child);
}

bool kvi_leaf_find_any(const uint8_t *page, uint32_t page_size, kvi_slice key, kvi_slice *value,
                       bool *special)
{
    bool found;
    unsigned i = kvi_leaf_search(page, page_size, key, &found);
    if (found)
        *value = kvi_leaf_value(page, page_size, i, special);
    return found;
}

bool kvi_leaf_find(const uint8_t *page, uint32_t page_size, kvi_slice key, kvi_slice *value,
                   bool *special)
{
    kvi_probe probe = kvi_probe_of(key);
    kvi_form form = kvi_form_of(page, page_size, 0);
    return kvi_quick_leaf(page, form, page_size, &probe, value, special);
}

bool kvi_leaf_follows(const uint8_t *page, uint32_t page_size, kvi_slice key)
{
    kvi_probe probe = kvi_probe_of(key);
    kvi_quick q = kvi_quick_of_page(page, kvi_field16(page, KVI_P_hint_stride) > 0);
    if (q.slots > 0 && q.heads + 4 * q.slots <= page_size &&
        kvi_quick_begin(page, page_size, &probe, &q)) {
        uint32_t last = kvi_get32(page + q.heads + 4 * (q.slots - 1));
        if (last != q.head)
            return last < q.head;
    }
    bool found;
    return kvi_leaf_search(page, page_size, key, &found) == kvi_node_count(page);
}
