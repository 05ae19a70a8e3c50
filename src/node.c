/* node.c - reading nodes: search, keys, values, children. See node.h. */
#include "node_impl.h"

int kvi_prefix_order_any(const uint8_t *page, uint32_t page_size, uint32_t prefix_len,
                         kvi_slice key)
{
    size_t len = KVI_MIN(key.len, prefix_len);
    int order = kvi_bytes_order(key.ptr, page + KVI_P_prefix, KVI_MIN(len, KVI_PREFIX_INLINE));
    if (KVI_UNLIKELY(len > KVI_PREFIX_INLINE) && order == 0) {
        const uint8_t *rest = page + page_size - kvi_prefix_tail(prefix_len);
        order = kvi_bytes_order(key.ptr + KVI_PREFIX_INLINE, rest, len - KVI_PREFIX_INLINE);
    }
    return order ? order : -(int)(key.len < prefix_len);
}

/* The same among few slots, without a jump that depends on what the heads are: mispredicted ones
 * would keep the processor from starting on the next lookup. Every block of lanes begins with a
 * slot, so those behind the place count nothing. */
KVI_INLINE unsigned few_lower(const uint8_t *page, const kvi_shape *s, uint32_t head)
{
    unsigned less = 0;
    for (unsigned i = 0; i < s->slots; i += KVI_LANES)
        less += kvi_lanes_lower(page + KVI_HEADER_SIZE + 4 * i, head);
    return KVI_MIN(less, s->slots);
}

/* The number of slots with a smaller head. */
KVI_INLINE unsigned heads_lower(const uint8_t *page, const kvi_shape *s, uint32_t head)
{
    unsigned lo = 0, hi = s->slots;
    if (!s->stride && s->slots <= 4 * KVI_LANES)
        return few_lower(page, s, head);
    if (s->stride) {
        unsigned less = kvi_lanes_lower(page + KVI_HEADER_SIZE, head);
        if (less < KVI_HINTS)
            hi = KVI_MIN(hi, (less + 1) * s->stride);
        lo = KVI_MIN(hi, less > 0 ? less * s->stride + 1 : 0);
    }
    while (hi - lo > KVI_LANES) {
        unsigned mid = (lo + hi) / 2;
        if (kvi_head_at(page, s, mid) < head)
            lo = mid + 1;
        else
            hi = mid;
    }
    /* Sixteen lanes from lo may end behind the page: then the last sixteen of it will do, since
     * all heads before lo are smaller. Lanes behind hi do not count, whatever stands there. */
    uint32_t at = KVI_MIN(s->heads + 4 * lo, s->page_size - 4 * KVI_LANES);
    unsigned found = (at - s->heads) / 4 + kvi_lanes_lower(page + at, head);
    return KVI_MIN(found, hi);
}

/* Order of the key in slot i against one with the same head. */
KVI_INLINE int slot_order(const uint8_t *page, const kvi_shape *s, unsigned i, kvi_slice suffix)
{
    kvi_node_slot slot = kvi_slot_at(page, s, i);
    uint32_t len = (uint32_t)KVI_MIN(suffix.len, 2 * KVI_PAGE_MAX); /* longer than any */
    uint32_t common = KVI_MIN(slot.tail_len, kvi_tail_of(len));
    int order = common ? kvi_bytes_order(slot.tail, suffix.ptr + 4, common) : 0;
    return order ? order : (slot.suffix_len > len) - (slot.suffix_len < len);
}

/* The lower bound of suffix among the slots from lo on, none of which has a smaller head. */
static __attribute__((noinline)) unsigned tails_lower(const uint8_t *page, uint32_t page_size,
                                                      uint32_t level, unsigned lo, kvi_slice suffix,
                                                      bool *found)
{
    kvi_shape s = kvi_shape_read(page, page_size, level);
    uint32_t head = kvi_head_of(suffix);
    unsigned hi = s.slots;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        int order = kvi_head_at(page, &s, mid) > head ? 1 : slot_order(page, &s, mid, suffix);
        if (order == 0) {
            *found = true;
            return mid;
        }
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The number of slots with a smaller key. Nothing takes the address of s on the hot way, so that
 * it stays in registers. */
KVI_INLINE unsigned node_search(const uint8_t *page, const kvi_shape *s, kvi_slice key, bool *found)
{
    *found = false;
    if (s->prefix_len > 0) {
        int order = kvi_prefix_order(page, s->page_size, s->prefix_len, key);
        if (order != 0)
            return order < 0 ? 0 : s->slots;
    }
    kvi_slice suffix = kvi_suffix_of(key, s->prefix_len);
    uint32_t head = kvi_head_of(suffix);
    unsigned i = heads_lower(page, s, head);
    if (i >= s->slots || kvi_head_at(page, s, i) != head)
        return i;
    int order = slot_order(page, s, i, suffix);
    *found = order == 0;
    if (order >= 0)
        return i;
    i++;
    if (i >= s->slots || kvi_head_at(page, s, i) != head)
        return i;
    return tails_lower(page, s->page_size, s->level, i, suffix, found);
}

unsigned kvi_leaf_search(const uint8_t *page, uint32_t page_size, kvi_slice key, bool *found)
{
    kvi_shape s = kvi_leaf_shape(page, page_size);
    return node_search(page, &s, key, found);
}

unsigned kvi_branch_search(const uint8_t *page, uint32_t page_size, kvi_slice key)
{
    bool found;
    kvi_shape s = kvi_branch_shape(page, page_size);
    unsigned i = node_search(page, &s, key, &found);
    return i + found;
}

static uint32_t prefix_copy(const uint8_t *page, const kvi_shape *s, uint8_t *out)
{
    uint32_t rest = kvi_prefix_tail(s->prefix_len);
    memcpy(out, page + KVI_P_prefix, s->prefix_len - rest);
    if (rest)
        memcpy(out + KVI_PREFIX_INLINE, page + s->page_size - rest, rest);
    return s->prefix_len;
}

size_t kvi_key_copy(const uint8_t *page, const kvi_shape *s, unsigned i, uint8_t *out)
{
    kvi_node_slot slot = kvi_slot_at(page, s, i);
    uint32_t len = kvi_slot_key_len(s, &slot);
    uint32_t head = kvi_head_at(page, s, i);
    uint32_t n = prefix_copy(page, s, out);
    if (KVI_LIKELY(len - n >= 4)) {
        kvi_put32be(out + n, head);
        memcpy(out + n + 4, slot.tail, len - n - 4);
    } else {
        for (; n < len; n++, head <<= 8)
            out[n] = (uint8_t)(head >> 24);
    }
    return len;
}

size_t kvi_node_key(const uint8_t *page, uint32_t page_size, unsigned i, uint8_t *out)
{
    kvi_shape s = kvi_node_shape(page, page_size);
    return kvi_key_copy(page, &s, i, out);
}

kvi_slice kvi_leaf_value(const uint8_t *page, uint32_t page_size, unsigned i, bool *special)
{
    kvi_shape s = kvi_leaf_shape(page, page_size);
    kvi_node_slot slot = kvi_slot_at(page, &s, i);
    *special = slot.special;
    return kvi_slice_of(slot.tail + slot.tail_len, slot.value_len);
}

kvi_ptr kvi_branch_child(const uint8_t *page, uint32_t page_size, unsigned i)
{
    kvi_shape s = kvi_branch_shape(page, page_size);
    return kvi_ptr_get(page + kvi_array_at(&s, s.children, i, KVI_PTR_SIZE));
}

static inline uint64_t tally_get(const uint8_t *page, const kvi_shape *s, unsigned i)
{
    if (s->level == 1)
        return kvi_get16(page + kvi_array_at(s, s->tallies, i, 2));
    return kvi_get64(page + kvi_array_at(s, s->tallies, i, 8));
}

unsigned kvi_branch_private(const uint8_t *page, uint32_t page_size, unsigned i)
{
    kvi_shape s = kvi_branch_shape(page, page_size);
    /* The birth is the last six bytes of a pointer. */
    const uint8_t *tail = page + s.children + KVI_PTR_SIZE - 8;
    while (i <= s.slots && kvi_get64(tail + KVI_PTR_SIZE * i) >> 16 != 0)
        i++;
    return i;
}

uint64_t kvi_branch_tally(const uint8_t *page, uint32_t page_size, unsigned i)
{
    kvi_shape s = kvi_branch_shape(page, page_size);
    return tally_get(page, &s, i);
}

uint64_t kvi_branch_expiry(const uint8_t *page, uint32_t page_size, unsigned i)
{
    kvi_shape s = kvi_branch_shape(page, page_size);
    if (!(s.flags & KVI_NODE_EXPIRY))
        return 0;
    return kvi_get64(page + kvi_array_at(&s, s.expiries, i, 8));
}

uint64_t kvi_branch_least_expiry(const uint8_t *page, uint32_t page_size)
{
    kvi_shape s = kvi_branch_shape(page, page_size);
    uint64_t least = 0;
    for (unsigned i = 0; i <= s.slots && (s.flags & KVI_NODE_EXPIRY); i++)
        least = kvi_expiry_min(least, kvi_get64(page + kvi_array_at(&s, s.expiries, i, 8)));
    return least;
}

uint64_t kvi_branch_rank(const uint8_t *page, uint32_t page_size, unsigned i)
{
    kvi_shape s = kvi_branch_shape(page, page_size);
    uint64_t sum = 0;
    for (unsigned k = 0; k < KVI_MIN(i, s.slots + 1); k++)
        sum += tally_get(page, &s, k);
    return sum;
}

unsigned kvi_branch_nth(const uint8_t *page, uint32_t page_size, uint64_t *nth)
{
    kvi_shape s = kvi_branch_shape(page, page_size);
    unsigned i = 0;
    for (; i < s.slots; i++) {
        uint64_t tally = tally_get(page, &s, i);
        if (*nth < tally)
            break;
        *nth -= tally;
    }
    return i;
}
