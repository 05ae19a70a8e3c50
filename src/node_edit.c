/* node_edit.c - changing a node in its private buffer. See node.h.
 *
 * In place: the arrays make room, the new bytes go below the heap, removed ones count as dead.
 * When that does not do (no room, a key without the prefix, a length unlike the fixed one), the
 * node is built anew in scratch and copied back. */
#include "node_impl.h"

static uint32_t heap_get(const uint8_t *page)
{
    return kvi_get16(page + KVI_P_heap);
}

static uint32_t dead_get(const uint8_t *page)
{
    return kvi_get16(page + KVI_P_dead);
}

static void heap_put(uint8_t *page, uint32_t heap, uint32_t dead)
{
    kvi_put16(page + KVI_P_heap, (uint16_t)heap);
    kvi_put16(page + KVI_P_dead, (uint16_t)dead);
}

void kvi_leaf_init(uint8_t *page, uint32_t page_size)
{
    kvi_shape s = {.page_size = page_size};
    memset(page, 0, KVI_HEADER_SIZE);
    kvi_shape_write(page, &s);
}

void kvi_branch_init(uint8_t *page, uint32_t page_size, unsigned level, kvi_ptr child,
                     uint64_t tally)
{
    kvi_shape s = {.page_size = page_size, .level = level};
    kvi_item item = {.child = child, .tally = tally};
    memset(page, 0, KVI_HEADER_SIZE);
    kvi_shape_write(page, &s);
    kvi_shape_place(&s);
    kvi_child_write(page, &s, 0, &item);
}

uint32_t kvi_node_used(const uint8_t *page, uint32_t page_size)
{
    kvi_shape s = kvi_node_shape(page, page_size);
    uint32_t heap = heap_get(page), dead = dead_get(page);
    return s.end + heap - KVI_MIN(heap, dead);
}

/* ---- the arrays ---- */

/* Places in the arrays, ascending, where one element each is to appear or to vanish. */
typedef struct columns {
    unsigned n;
    struct {
        uint32_t at, width;
    } item[5];
} columns;

KVI_INLINE void columns_add(columns *c, uint32_t array, unsigned i, uint32_t width)
{
    c->item[c->n].at = array + i * width;
    c->item[c->n].width = width;
    c->n++;
}

KVI_INLINE columns columns_at(const kvi_shape *s, unsigned slot, unsigned child)
{
    columns c;
    c.n = 0;
    columns_add(&c, s->heads, slot, 4);
    if (!kvi_shape_heapless(s))
        columns_add(&c, s->offsets, slot, 2);
    if (s->level == 0)
        return c;
    columns_add(&c, s->children, child, KVI_PTR_SIZE);
    columns_add(&c, s->tallies, child, kvi_tally_size(s));
    if (s->flags & KVI_NODE_EXPIRY)
        columns_add(&c, s->expiries, child, 8);
    return c;
}

/* What stands between two places moves as one, by the widths up to there:
 *
 *   heads . . | . . offsets . . | . . . .
 *             +4                +4+2      */
static void columns_open(uint8_t *page, uint32_t end, const columns *c)
{
    uint32_t shift = 0;
    for (unsigned k = 0; k < c->n; k++)
        shift += c->item[k].width;
    for (unsigned k = c->n; k-- > 0;) {
        uint32_t at = c->item[k].at;
        memmove(page + at + shift, page + at, end - at);
        shift -= c->item[k].width;
        end = at;
    }
}

static void columns_close(uint8_t *page, uint32_t end, const columns *c)
{
    uint32_t shift = 0;
    for (unsigned k = 0; k < c->n; k++) {
        uint32_t from = c->item[k].at + c->item[k].width;
        uint32_t to = k + 1 < c->n ? c->item[k + 1].at : end;
        shift += c->item[k].width;
        memmove(page + from - shift, page + from, to - from);
    }
}

/* Inserts or removes the hint line under the arrays of s. */
KVI_INLINE void hint_line_open(uint8_t *page, kvi_shape *s)
{
    memmove(page + s->heads + KVI_HINT_LINE, page + s->heads, s->end - s->heads);
    s->stride = 1;
    kvi_shape_place(s);
}

static void hint_line_close(uint8_t *page, kvi_shape *s)
{
    memmove(page + s->heads - KVI_HINT_LINE, page + s->heads, s->end - s->heads);
    s->stride = 0;
    kvi_shape_place(s);
}

/* Counts the slots anew, and brings the hints up to date with a change from slot number from on.
 * stride: the old one, or 0: no hints. */
static void slots_recount(uint8_t *page, uint32_t page_size, uint32_t slots, uint32_t stride,
                          unsigned from)
{
    uint32_t fitting = kvi_hints_stride(slots);
    kvi_put16(page + KVI_P_count, (uint16_t)slots);
    if (!stride)
        return;
    kvi_put16(page + KVI_P_hint_stride, (uint16_t)fitting);
    kvi_hints_write(page, page_size, fitting, fitting == stride ? from : 0);
}

/* ---- slots in place ---- */

/* Bytes between the arrays and the heap; none when the page is inconsistent. */
static inline uint32_t node_gap(const uint8_t *page, const kvi_shape *s)
{
    uint32_t used = s->end + heap_get(page);
    return used < s->page_size ? s->page_size - used : 0;
}

/* Takes the cell's bytes into the heap, for slot i. */
KVI_INLINE void slot_fill(uint8_t *page, const kvi_shape *s, unsigned i, const kvi_cell *cell)
{
    kvi_put32(page + s->heads + 4 * i, cell->head);
    if (kvi_shape_heapless(s))
        return;
    uint32_t heap = heap_get(page) + kvi_cell_size(cell, s);
    kvi_put16(page + KVI_P_heap, (uint16_t)heap);
    kvi_put16(page + s->offsets + 2 * i, (uint16_t)(s->page_size - heap));
    kvi_cell_write(page + s->page_size - heap, cell, s);
}

/* Opens slot i (in a branch also child i + 1) and fills the slot. False: not in place. */
KVI_INLINE bool slot_insert(uint8_t *page, const kvi_shape *shape, unsigned i, const kvi_cell *cell)
{
    kvi_shape s = *shape, grown = s;
    grown.slots++;
    grown.stride = s.stride || grown.slots >= KVI_HINTS_FROM;
    kvi_shape_place(&grown);
    if (s.slots == 0 || i > s.slots || !kvi_cell_suits(cell, &s) ||
        grown.end - s.end + kvi_cell_size(cell, &s) > node_gap(page, &s))
        return false;
    unsigned changed = i;
    if (grown.stride && !s.stride) {
        hint_line_open(page, &s);
        changed = 0;
    }
    columns c = columns_at(&s, i, i + 1);
    columns_open(page, s.end, &c);
    slot_fill(page, &grown, i, cell);
    slots_recount(page, s.page_size, grown.slots, s.stride, changed);
    return true;
}

/* The heap bytes of a slot are no longer needed. */
static void slot_release(uint8_t *page, const kvi_shape *s, const kvi_node_slot *slot)
{
    uint32_t heap = heap_get(page), dead = dead_get(page), size = kvi_slot_size(page, slot);
    if (kvi_shape_heapless(s))
        return;
    if (slot->at + heap == s->page_size)
        heap_put(page, heap - KVI_MIN(heap, size), dead);
    else
        heap_put(page, heap, dead + size);
}

/* Gives slot i other contents. False: not in place. */
static bool slot_replace(uint8_t *page, const kvi_shape *s, unsigned i, const kvi_cell *cell)
{
    if (i >= s->slots || !kvi_cell_suits(cell, s))
        return false;
    kvi_node_slot slot = kvi_slot_at(page, s, i);
    uint32_t old_size = kvi_slot_size(page, &slot), size = kvi_cell_size(cell, s);
    if (size <= old_size) {
        kvi_put32(page + s->heads + 4 * i, cell->head);
        kvi_cell_write(page + slot.at, cell, s);
        heap_put(page, heap_get(page), dead_get(page) + old_size - size);
    } else if (size <= node_gap(page, s)) {
        slot_release(page, s, &slot);
        slot_fill(page, s, i, cell);
    } else {
        return false;
    }
    return true;
}

/* Without keys there is nothing to share. */
static void shape_reset(uint8_t *page, kvi_shape *s)
{
    s->prefix_len = s->fixed_key = s->fixed_value = 0;
    memset(page + KVI_P_prefix, 0, KVI_PREFIX_INLINE);
    heap_put(page, 0, 0);
}

/* Removes slot i, in a branch also child number child. */
static void slot_remove(uint8_t *page, uint32_t page_size, unsigned i, unsigned child)
{
    kvi_shape s = kvi_node_shape(page, page_size);
    if (i >= s.slots || child > s.slots)
        return;
    kvi_node_slot slot = kvi_slot_at(page, &s, i);
    slot_release(page, &s, &slot);
    columns c = columns_at(&s, i, child);
    columns_close(page, s.end, &c);
    s.slots--;
    kvi_shape_place(&s);
    if (s.stride && s.slots <= KVI_HINTS)
        hint_line_close(page, &s);
    if (s.slots == 0)
        shape_reset(page, &s);
    kvi_shape_write(page, &s);
    slots_recount(page, page_size, s.slots, s.stride, i);
}

/* ---- anew ---- */

/* Replaces the node by what the parts make; keeps its identity. */
static bool node_rebuild(uint8_t *page, uint8_t *scratch, const kvi_shape *s, const kvi_part *parts,
                         unsigned n_parts)
{
    kvi_seq seq = {parts, n_parts, s->level, s->page_size, (uint16_t)s->flags};
    if (!kvi_node_build(&seq, 0, kvi_seq_count(&seq), scratch))
        return false;
    memcpy(scratch + KVI_P_checksum, page + KVI_P_checksum, 8);
    memcpy(scratch + KVI_P_birth, page + KVI_P_birth, 16);
    memcpy(scratch + KVI_P_run_end, page + KVI_P_run_end, 4);
    kvi_shape built = kvi_shape_read(scratch, s->page_size, s->level);
    uint32_t heap = heap_get(scratch);
    memcpy(page, scratch, built.end);
    memcpy(page + s->page_size - heap, scratch + s->page_size - heap, heap);
    return true;
}

/* Rebuilds with item in the place of elements [from, to). */
static bool node_splice(uint8_t *page, uint8_t *scratch, const kvi_shape *s, unsigned from,
                        unsigned to, const kvi_item *item)
{
    unsigned count = s->slots + (s->level > 0);
    if (from > to || to > count)
        return false;
    kvi_part parts[] = {
        {.page = page, .to = from},
        {.item = item},
        {.page = page, .from = to, .to = count},
    };
    return node_rebuild(page, scratch, s, parts, KVI_COUNT(parts));
}

static kvi_cell leaf_cell(const kvi_shape *s, const kvi_item *item)
{
    kvi_cell cell = kvi_cell_of(item->key, s->prefix_len);
    cell.value = item->value;
    cell.special = item->special;
    return cell;
}

/* For the tails of keys: few are longer than two words. */
KVI_INLINE void tail_copy(uint8_t *to, const uint8_t *from, size_t len)
{
    if (KVI_UNLIKELY(len < 8 || len > 16)) {
        memcpy(to, from, len);
        return;
    }
    uint64_t first = kvi_get64(from), last = kvi_get64(from + len - 8);
    kvi_put64(to, first);
    kvi_put64(to + len - 8, last);
}

/* An entry like all others, behind them: what an ascending load consists of. Hints stay, unless their
 * stride changes: all are those of slots before this one. False: the general way must do it. */
KVI_INLINE bool leaf_append(uint8_t *page, uint32_t page_size, kvi_slice key, kvi_slice value,
                            bool follows)
{
    kvi_probe probe = kvi_probe_of(key);
    uint32_t stride = kvi_field16(page, KVI_P_hint_stride);
    kvi_quick q = kvi_quick_of_page(page, stride > 0);
    if (!value.ptr || kvi_get16(page + KVI_P_fixed_value) != value.len + 1 ||
        !kvi_quick_begin(page, page_size, &probe, &q) || q.slots == 0 ||
        q.heads + 6 * q.slots > page_size || (!stride && q.slots + 1 >= KVI_HINTS_FROM) ||
        kvi_get16(page + KVI_P_fixed_key) != key.len - q.prefix + 1)
        return false;
    size_t offsets = q.heads + 4 * q.slots;
    if (!follows && q.head <= kvi_get32(page + offsets - 4))
        return false;
    uint32_t skip = KVI_MIN(q.prefix + 4, (uint32_t)key.len), tail_len = (uint32_t)key.len - skip;
    uint32_t heap = heap_get(page) + tail_len + (uint32_t)value.len;
    if (offsets + 2 * q.slots + 6 + heap > page_size)
        return false;
    uint8_t *entry = page + page_size - heap;
    memmove(page + offsets + 4, page + offsets, 2 * q.slots);
    kvi_put32(page + offsets, q.head);
    kvi_put16(page + offsets + 4 + 2 * q.slots, (uint16_t)(page_size - heap));
    tail_copy(entry, key.ptr + skip, tail_len);
    memcpy(entry + tail_len, value.ptr, value.len);
    kvi_put16(page + KVI_P_heap, (uint16_t)heap);
    uint32_t slots = (uint32_t)q.slots + 1;
    kvi_put16(page + KVI_P_count, (uint16_t)slots);
    kvi_leaf_set_run(page, slots, kvi_leaf_run(page, slots - 1));
    if (stride && KVI_UNLIKELY(stride != kvi_hints_stride(slots)))
        slots_recount(page, page_size, slots, stride, 0);
    return true;
}

bool kvi_leaf_append(uint8_t *page, uint32_t page_size, kvi_slice key, kvi_slice value)
{
    return leaf_append(page, page_size, key, value, false);
}

bool kvi_leaf_insert(uint8_t *page, uint32_t page_size, uint8_t *scratch, unsigned pos,
                     const kvi_item *item)
{
    if (pos == kvi_node_count(page) && !item->special &&
        leaf_append(page, page_size, item->key, item->value, true))
        return true;
    kvi_shape s = kvi_leaf_shape(page, page_size);
    kvi_cell cell = leaf_cell(&s, item);
    bool fits = (kvi_prefix_order(page, page_size, s.prefix_len, item->key) == 0 &&
                 slot_insert(page, &s, pos, &cell)) ||
                node_splice(page, scratch, &s, pos, pos, item);
    if (fits)
        kvi_leaf_set_run(page, pos + 1, kvi_leaf_run(page, pos));
    return fits;
}

bool kvi_leaf_replace(uint8_t *page, uint32_t page_size, uint8_t *scratch, unsigned pos,
                      const kvi_item *item)
{
    kvi_shape s = kvi_leaf_shape(page, page_size);
    kvi_cell cell = leaf_cell(&s, item);
    return slot_replace(page, &s, pos, &cell) || node_splice(page, scratch, &s, pos, pos + 1, item);
}

void kvi_leaf_remove(uint8_t *page, uint32_t page_size, unsigned pos)
{
    unsigned end = kvi_get16(page + KVI_P_run_end);
    slot_remove(page, page_size, pos, 0);
    if (pos < end)
        kvi_put16(page + KVI_P_run_end, (uint16_t)(end - 1));
}

bool kvi_branch_insert(uint8_t *page, uint32_t page_size, uint8_t *scratch, unsigned pos,
                       const kvi_item *item)
{
    kvi_shape s = kvi_branch_shape(page, page_size);
    kvi_cell cell = kvi_cell_of(item->key, s.prefix_len);
    if (kvi_prefix_order(page, page_size, s.prefix_len, item->key) != 0 ||
        !slot_insert(page, &s, pos, &cell))
        return node_splice(page, scratch, &s, pos + 1, pos + 1, item);
    s = kvi_branch_shape(page, page_size);
    kvi_child_write(page, &s, pos + 1, item);
    return true;
}

bool kvi_branch_set_key(uint8_t *page, uint32_t page_size, uint8_t *scratch, unsigned pos,
                        kvi_slice key)
{
    kvi_shape s = kvi_branch_shape(page, page_size);
    kvi_cell cell = kvi_cell_of(key, s.prefix_len);
    if (kvi_prefix_order(page, page_size, s.prefix_len, key) == 0 &&
        slot_replace(page, &s, pos, &cell)) {
        kvi_hints_write(page, page_size, s.stride, pos);
        return true;
    }
    kvi_item item = {
        .key = key,
        .child = kvi_branch_child(page, page_size, pos + 1),
        .tally = kvi_branch_tally(page, page_size, pos + 1),
        .expiry = kvi_branch_expiry(page, page_size, pos + 1),
    };
    return node_splice(page, scratch, &s, pos + 1, pos + 2, &item);
}

void kvi_branch_remove(uint8_t *page, uint32_t page_size, unsigned i)
{
    slot_remove(page, page_size, i > 0 ? i - 1 : 0, i);
}

void kvi_branch_set_child(uint8_t *page, uint32_t page_size, unsigned i, kvi_ptr child)
{
    kvi_shape s = kvi_branch_shape(page, page_size);
    kvi_ptr_put(page + kvi_array_at(&s, s.children, i, KVI_PTR_SIZE), child);
}

void kvi_branch_set_tally(uint8_t *page, uint32_t page_size, unsigned i, uint64_t tally)
{
    kvi_shape s = kvi_branch_shape(page, page_size);
    if (s.level == 1)
        kvi_put16(page + kvi_array_at(&s, s.tallies, i, 2), (uint16_t)tally);
    else
        kvi_put64(page + kvi_array_at(&s, s.tallies, i, 8), tally);
}

KVI_INLINE uint8_t *tally_at(uint8_t *page, uint32_t page_size, unsigned i)
{
    uint32_t slots = kvi_field16(page, KVI_P_count), level = kvi_once(page[KVI_P_level]);
    uint32_t heads = kvi_form_heads(kvi_get16(page + KVI_P_hint_stride) > 0);
    bool head_only = (uint32_t)kvi_get16(page + KVI_P_fixed_key) - 1 < 5;
    uint32_t tallies = heads + (head_only ? 4 : 6) * slots + KVI_PTR_SIZE * (slots + 1);
    uint32_t width = level == 1 ? 2 : 8;
    return page + KVI_MIN(tallies + width * i, page_size - width);
}

uint8_t *kvi_branch_tally_at(uint8_t *page, uint32_t page_size, unsigned i)
{
    return tally_at(page, page_size, i);
}

void kvi_branch_add_tally(uint8_t *page, uint32_t page_size, unsigned i, int64_t delta)
{
    uint8_t *at = tally_at(page, page_size, i);
    if (kvi_node_level(page) == 1)
        kvi_put16(at, (uint16_t)(kvi_get16(at) + delta));
    else
        kvi_put64(at, kvi_get64(at) + (uint64_t)delta);
}

void kvi_branch_set_expiry(uint8_t *page, uint32_t page_size, unsigned i, uint64_t expiry)
{
    kvi_shape s = kvi_branch_shape(page, page_size);
    if (s.flags & KVI_NODE_EXPIRY)
        kvi_put64(page + kvi_array_at(&s, s.expiries, i, 8), expiry);
}

bool kvi_branch_widen(uint8_t *page, uint32_t page_size, uint8_t *scratch)
{
    kvi_shape s = kvi_branch_shape(page, page_size);
    kvi_part whole = {.page = page, .to = s.slots + 1};
    s.flags |= KVI_NODE_EXPIRY;
    return node_rebuild(page, scratch, &s, &whole, 1);
}

/* ---- packing ---- */

/* Moves the live bytes of the heap to its end, in the order of the slots. */
static void heap_compact(uint8_t *page, uint8_t *scratch, const kvi_shape *s)
{
    uint32_t heap = heap_get(page), live = heap - KVI_MIN(heap, dead_get(page));
    uint32_t end = s->page_size - kvi_prefix_tail(s->prefix_len);
    uint32_t at = s->page_size - live;
    memcpy(scratch, page, s->page_size);
    for (unsigned i = 0; i < s->slots; i++) {
        kvi_node_slot slot = kvi_slot_at(scratch, s, i);
        uint32_t size = kvi_slot_size(scratch, &slot);
        if (at + size > end) { /* lengths that do not add up: not a page that was verified */
            memcpy(page, scratch, s->page_size);
            return;
        }
        memcpy(page + at, scratch + slot.at, size);
        kvi_put16(page + s->offsets + 2 * i, (uint16_t)at);
        at += size;
    }
    heap_put(page, live, 0);
}

void kvi_node_pack(uint8_t *page, uint32_t page_size, uint8_t *scratch)
{
    kvi_shape s = kvi_node_shape(page, page_size);
    if (dead_get(page) > 0 && !kvi_shape_heapless(&s))
        heap_compact(page, scratch, &s);
    memset(page + s.end, 0, node_gap(page, &s));
}
