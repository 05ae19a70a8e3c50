/* node_find.c - the steps of a lookup as functions; see node_quick.h. */
#include "node_quick.h"

unsigned kvi_branch_find_any(const uint8_t *page, uint32_t page_size, kvi_slice key, kvi_ptr *child)
{
    unsigned i = kvi_branch_search(page, page_size, key);
    *child = kvi_branch_child(page, page_size, i);
    return i;
}

unsigned kvi_branch_find(const uint8_t *page, uint32_t page_size, kvi_slice key, kvi_ptr *child)
{
    return kvi_quick_branch(page, page_size, key, child);
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
    return kvi_quick_leaf(page, page_size, key, value, special);
}

bool kvi_leaf_follows(const uint8_t *page, uint32_t page_size, kvi_slice key)
{
    kvi_quick q;
    if (kvi_quick_begin(page, page_size, key, kvi_field16(page, KVI_P_hint_stride), &q) &&
        q.slots > 0) {
        uint32_t last = kvi_get32(page + q.heads + 4 * (q.slots - 1));
        if (last != q.head)
            return last < q.head;
    }
    bool found;
    return kvi_leaf_search(page, page_size, key, &found) == kvi_node_count(page);
}
