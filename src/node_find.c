/* node_find.c - the steps of a lookup as functions; see node_quick.h. */
#include "node_quick.h"

kvi_form kvi_node_form(const uint8_t *page, uint32_t page_size, unsigned level)
{
    return kvi_form_of(page, page_size, level);
}

/* The rest of a long prefix, which stands at the end of the page: len bytes; there are 8 or more
 * before that end, and before the key's. */
KVI_INLINE bool rest_same(const uint8_t *end, const uint8_t *key_end, uint32_t len)
{
    uint64_t differ = 0;
    for (; len >= 8; len -= 8)
        differ |= kvi_get64(end - len) ^ kvi_get64(key_end - len);
    differ |= (kvi_get64(end - 8) ^ kvi_get64(key_end - 8)) >> 4 * (8 - len) >> 4 * (8 - len);
    return differ == 0;
}

bool kvi_quick_begin_far(const uint8_t *page, uint32_t page_size, kvi_slice key, kvi_quick *q)
{
    uint32_t len = kvi_field16(page, KVI_P_prefix_len);
    if (len <= KVI_PREFIX_INLINE || len > page_size / 2 || len > key.len || key.len > KVI_PAGE_MAX)
        return false;
    uint64_t differ = kvi_get64(key.ptr) ^ kvi_get64(page + KVI_P_prefix);
    differ |= kvi_get64(key.ptr + 8) ^ kvi_get64(page + KVI_P_prefix + 8);
    if (differ || !rest_same(page + page_size, key.ptr + len, len - KVI_PREFIX_INLINE))
        return false;
    q->prefix = len;
    q->head = kvi_head_behind(key, len);
    return true;
}

/* ---- separators with one head ---- */

/* What follows the prefix in separator i; its head is not there, but what comes behind that is. */
KVI_INLINE kvi_slice suffix_of(const uint8_t *page, uint32_t page_size, const kvi_quick *q,
                               uint32_t fixed_key, size_t i)
{
    size_t at = kvi_field16(page, q->heads + 4 * q->slots + 2 * i) & (page_size - 1);
    const uint8_t *p = page + at, *end = page + page_size;
    uint32_t len = fixed_key ? fixed_key - 1 : kvi_slot_number(&p, end);
    return kvi_slice_of(p - 4, KVI_MIN(len, (size_t)(end - p) + 4));
}

/* The number of separators that are not greater than the key, of which the first `from` are known; the
 * next one has the key's head. Those between two separators share with the key what both share with it. */
static size_t tails_find(const uint8_t *page, uint32_t page_size, kvi_quick q, size_t from,
                         kvi_slice key)
{
    const uint32_t fixed_key = kvi_field16(page, KVI_P_fixed_key);
    const kvi_slice mine = kvi_suffix_of(key, q.prefix);
    size_t low = from, high = q.slots, low_same = 4, high_same = 4;
    if (q.head != UINT32_MAX) {
        q.head++;
        high = kvi_quick_lower(page, &q, from);
    }
    while (low < high) {
        size_t mid = (low + high) / 2;
        kvi_slice other = suffix_of(page, page_size, &q, fixed_key, mid);
        size_t len = KVI_MIN(other.len, mine.len);
        size_t same = kvi_bytes_same(other.ptr, mine.ptr, KVI_MIN(low_same, high_same), len);
        if (same >= len ? other.len <= mine.len : other.ptr[same] < mine.ptr[same]) {
            low = mid + 1;
            low_same = same;
        } else {
            high = mid;
            high_same = same;
        }
    }
    return low;
}

unsigned kvi_branch_find_any(const uint8_t *page, uint32_t page_size, kvi_slice key, kvi_ptr *child)
{
    kvi_probe probe = kvi_probe_of(key);
    kvi_aim aim = kvi_aim_branch(page, kvi_form_of(page, page_size, 1), page_size, &probe);
    if (!aim.quick) {
        unsigned i = kvi_branch_search(page, page_size, key);
        *child = kvi_branch_child(page, page_size, i);
        return i;
    }
    size_t i = kvi_quick_lower(page, &aim.q, aim.from);
    if (i < aim.q.slots && kvi_get32(page + aim.q.heads + 4 * i) == aim.q.head)
        i = tails_find(page, page_size, aim.q, i, key);
    *child = kvi_ptr_get(page + aim.at + KVI_PTR_SIZE * i);
    return (unsigned)i;
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
