/* node_impl.h - where things stand in a node; for the node*.c files, and through node_quick.h for the
 * descent.
 *
 * A page may be a piece of a mapped file that somebody overwrites after it was verified. Therefore
 * every number that decides about an address comes from the node's form (form.h), or is taken from the
 * page once (kvi_once) and clamped: no page content whatsoever leads a load or a store out of the
 * page. */
#ifndef KVI_NODE_IMPL_H
#define KVI_NODE_IMPL_H

#include "form.h"
#include "lanes.h"
#include "node.h"

/* Room for the longest key of any page size. */
#define KVI_KEY_ROOM (KVI_PAGE_MAX / 4)

/* The compiler may not fetch this number from the page again after it was checked. */
KVI_INLINE uint32_t kvi_once(uint32_t number)
{
    __asm__("" : "+r"(number));
    return number;
}

/* The geometry of a node: its header fields and what follows from them. */
typedef struct kvi_shape {
    uint32_t page_size;
    uint32_t level;
    uint32_t flags;
    uint32_t slots;  /* keys: entries of a leaf, separators of a branch */
    uint32_t stride; /* of the hints; 0: no hint line */
    uint32_t prefix_len;
    uint32_t fixed_key;
    uint32_t fixed_value;
    /* where each array begins; children to expiries only in branches */
    uint32_t heads, offsets, children, tallies, expiries;
    uint32_t end; /* of the last array */
} kvi_shape;

/* True when no slot has bytes in the heap; there are no offsets then. */
KVI_INLINE bool kvi_shape_heapless(const kvi_shape *s)
{
    return s->fixed_key - 1 < 5 && (s->level > 0 || s->fixed_value == 1);
}

static inline uint32_t kvi_tally_size(const kvi_shape *s)
{
    return s->level == 1 ? 2 : 8;
}

static inline uint32_t kvi_expiry_size(const kvi_shape *s)
{
    return s->flags & KVI_NODE_EXPIRY ? 8 : 0;
}

/* Computes the places from the other fields. */
KVI_INLINE void kvi_shape_place(kvi_shape *s)
{
    s->heads = kvi_form_heads(s->stride > 0);
    s->offsets = s->heads + 4 * s->slots;
    s->children = s->offsets + (kvi_shape_heapless(s) ? 0 : 2 * s->slots);
    s->tallies = s->expiries = s->end = s->children;
    if (s->level > 0) {
        s->tallies = s->children + KVI_PTR_SIZE * (s->slots + 1);
        s->expiries = s->tallies + kvi_tally_size(s) * (s->slots + 1);
        s->end = s->expiries + kvi_expiry_size(s) * (s->slots + 1);
    }
}

KVI_INLINE uint32_t kvi_field16(const uint8_t *page, size_t field)
{
    return kvi_once(kvi_get16(page + field));
}

/* level: what the caller knows. A page whose arrays would not fit counts as having no keys. */
KVI_INLINE kvi_shape kvi_shape_read(const uint8_t *page, uint32_t page_size, uint32_t level)
{
    kvi_shape s = {.page_size = page_size, .level = level};
    uint32_t prefix_len = kvi_field16(page, KVI_P_prefix_len);
    s.flags = kvi_field16(page, KVI_P_flags);
    s.slots = kvi_field16(page, KVI_P_count);
    s.stride = kvi_field16(page, KVI_P_hint_stride);
    s.prefix_len = KVI_MIN(prefix_len, kvi_key_max(page_size));
    s.fixed_key = kvi_field16(page, KVI_P_fixed_key);
    s.fixed_value = kvi_field16(page, KVI_P_fixed_value);
    kvi_shape_place(&s);
    if (KVI_UNLIKELY(s.end > page_size)) {
        s.slots = 0;
        kvi_shape_place(&s);
    }
    return s;
}

KVI_INLINE kvi_shape kvi_leaf_shape(const uint8_t *page, uint32_t page_size)
{
    return kvi_shape_read(page, page_size, 0);
}

KVI_INLINE kvi_shape kvi_branch_shape(const uint8_t *page, uint32_t page_size)
{
    uint32_t level = kvi_once(page[KVI_P_level]);
    return kvi_shape_read(page, page_size, KVI_MAX(level, 1));
}

static inline kvi_shape kvi_node_shape(const uint8_t *page, uint32_t page_size)
{
    return kvi_shape_read(page, page_size, kvi_once(page[KVI_P_level]));
}

/* Address of element i of an array, pulled back into the page if need be. */
KVI_INLINE uint32_t kvi_array_at(const kvi_shape *s, uint32_t array, unsigned i, uint32_t width)
{
    uint32_t at = array + i * width;
    return KVI_MIN(at, s->page_size - width);
}

KVI_INLINE uint32_t kvi_head_at(const uint8_t *page, const kvi_shape *s, unsigned i)
{
    return kvi_get32(page + kvi_array_at(s, s->heads, i, 4));
}

/* Bytes of the prefix that stand at the end of the page. */
static inline uint32_t kvi_prefix_tail(uint32_t prefix_len)
{
    return prefix_len > KVI_PREFIX_INLINE ? prefix_len - KVI_PREFIX_INLINE : 0;
}

static inline uint32_t kvi_tail_of(uint32_t suffix_len)
{
    return suffix_len > 4 ? suffix_len - 4 : 0;
}

/* ---- short byte strings as numbers ---- */

/* len bytes (1..7) as the top bytes of a number; reads exactly those. */
KVI_INLINE uint64_t kvi_top_bytes(const uint8_t *p, size_t len)
{
    if (len >= 4)
        return (uint64_t)kvi_get32be(p) << 32 | (uint64_t)kvi_get32be(p + len - 4)
                                                    << (8 * (8 - len));
    return (uint64_t)p[0] << 56 | (uint64_t)p[len / 2] << (56 - 8 * (len / 2)) |
           (uint64_t)p[len - 1] << (64 - 8 * len);
}

/* memcmp, inline: the lengths here are short and differ from call to call. */
KVI_INLINE int kvi_bytes_order(const uint8_t *a, const uint8_t *b, size_t len)
{
    uint64_t x, y;
    for (; len >= 8; a += 8, b += 8, len -= 8) {
        x = kvi_get64be(a);
        y = kvi_get64be(b);
        if (x != y)
            return x < y ? -1 : 1;
    }
    if (len == 0)
        return 0;
    x = kvi_top_bytes(a, len);
    y = kvi_top_bytes(b, len);
    return (x > y) - (x < y);
}

/* How many bytes of a and b are the same, of which `from` are known to be. */
KVI_INLINE size_t kvi_bytes_same(const uint8_t *a, const uint8_t *b, size_t from, size_t len)
{
    size_t i = from;
    for (; i + 8 <= len; i += 8) {
        uint64_t differ = kvi_get64(a + i) ^ kvi_get64(b + i);
        if (differ)
            return i + (size_t)__builtin_ctzll(differ) / 8;
    }
    while (i < len && a[i] == b[i])
        i++;
    return i;
}

KVI_INLINE uint32_t kvi_head_of(kvi_slice suffix)
{
    if (KVI_LIKELY(suffix.len >= 4))
        return kvi_get32be(suffix.ptr);
    return suffix.len ? (uint32_t)(kvi_top_bytes(suffix.ptr, suffix.len) >> 32) : 0;
}

/* The first n bytes (0..8) of a big-endian word. */
KVI_INLINE uint64_t kvi_first_bytes(unsigned n)
{
    return n ? ~(uint64_t)0 << (64 - 8 * n) : 0;
}

int kvi_prefix_order_any(const uint8_t *page, uint32_t page_size, uint32_t prefix_len,
                         kvi_slice key);

/* < 0: key sorts before all that begins with the node's prefix; 0: key begins with it; > 0. */
KVI_INLINE int kvi_prefix_order(const uint8_t *page, uint32_t page_size, uint32_t prefix_len,
                                kvi_slice key)
{
    if (KVI_UNLIKELY(prefix_len > KVI_PREFIX_INLINE || key.len < KVI_PREFIX_INLINE))
        return kvi_prefix_order_any(page, page_size, prefix_len, key);
    uint32_t first = KVI_MIN(prefix_len, 8);
    uint64_t mask = kvi_first_bytes(first);
    uint64_t x = kvi_get64be(key.ptr) & mask, y = kvi_get64be(page + KVI_P_prefix) & mask;
    if (KVI_LIKELY(x == y) && prefix_len > 8) {
        mask = kvi_first_bytes(prefix_len - 8);
        x = kvi_get64be(key.ptr + 8) & mask;
        y = kvi_get64be(page + KVI_P_prefix + 8) & mask;
    }
    return (x > y) - (x < y);
}

/* The key without its first prefix_len bytes. */
static inline kvi_slice kvi_suffix_of(kvi_slice key, uint32_t prefix_len)
{
    size_t skip = KVI_MIN(key.len, prefix_len);
    return (kvi_slice){skip ? key.ptr + skip : key.ptr, key.len - skip};
}

/* ---- the common case in few instructions ---- */

/* A key that is looked for, as the quick way compares it. */
typedef struct kvi_probe {
    kvi_slice key;
    int32_t
        reach; /* bytes of the longest prefix that front has and a whole head follows; -1: none */
    kvi_lanes front; /* the key's first bytes; zeros behind a shorter key */
} kvi_probe;

KVI_INLINE kvi_probe kvi_probe_of(kvi_slice key)
{
    kvi_probe probe = {.key = key, .reach = -1};
    if (KVI_UNLIKELY(key.len - 8 > KVI_PAGE_MAX)) /* shorter than 8 bytes, or longer than any key */
        return probe;
    uint64_t second;
    if (KVI_LIKELY(key.len >= 16)) {
        second = kvi_get64(key.ptr + 8);
    } else {
        unsigned half = 4 * (unsigned)(16 - key.len); /* of the bits: no shift goes over all 64 */
        second = kvi_get64(key.ptr + key.len - 8) >> half >> half;
    }
    probe.front = kvi_lanes_of(kvi_get64(key.ptr), second);
    probe.reach = (int32_t)KVI_MIN(key.len - 4, KVI_PREFIX_INLINE);
    return probe;
}

/* The form of a node on a level that the caller knows, at most KVI_LEVEL_MAX. */
KVI_INLINE kvi_form kvi_form_of(const uint8_t *page, uint32_t page_size, unsigned level)
{
    uint32_t slots = kvi_field16(page, KVI_P_count);
    uint32_t prefix = kvi_field16(page, KVI_P_prefix_len);
    uint32_t stride = kvi_field16(page, KVI_P_hint_stride);
    bool heap = level == 0 || kvi_field16(page, KVI_P_fixed_key) - 1 >= 5;
    if (KVI_UNLIKELY(slots > KVI_FORM_SLOTS_MAX || stride > slots / KVI_HINTS))
        return kvi_form_make(level, 0, 0, 0, heap);
    kvi_form form = kvi_form_make(level, slots, stride, KVI_MIN(prefix, KVI_FORM_FAR), heap);
    size_t end = level > 0 ? kvi_form_children(form, stride > 0) + KVI_PTR_SIZE * (slots + 1)
                           : kvi_form_heads(stride > 0) + 6 * slots;
    size_t spare = (size_t)8 * KVI_LANES; /* what a search looks at behind the last slot */
    return form | (end + spare <= page_size ? KVI_FORM_QUICK : 0);
}

/* What the quick way needs to know of a node. */
typedef struct kvi_quick {
    size_t slots;
    size_t heads;    /* where they begin */
    uint32_t head;   /* of the key */
    uint32_t prefix; /* its bytes */
} kvi_quick;

/* Does the key begin with len bytes of a prefix in the header? */
KVI_INLINE bool kvi_front_same(const uint8_t *page, uint32_t len, const kvi_probe *probe)
{
    return (kvi_lanes_differ(page + KVI_P_prefix, probe->front) & ~(~0u << len)) == 0;
}

/* The key's head behind len bytes of it, with zeros behind a short rest. It has 4 bytes or more. */
KVI_INLINE uint32_t kvi_head_behind(kvi_slice key, uint32_t len)
{
    uint32_t at = KVI_MIN(len, (uint32_t)key.len - 4);
    unsigned half = 4 * (len - at);
    return kvi_get32be(key.ptr + at) << half << half;
}

/* kvi_quick_begin for a prefix that goes on behind the header, or ends behind the key. */
bool kvi_quick_begin_far(const uint8_t *page, uint32_t page_size, kvi_slice key, kvi_quick *q);

/* Sets q->head. False: the general search must do it. True: the key begins with the prefix. */
KVI_INLINE bool kvi_quick_begin(const uint8_t *page, uint32_t page_size, const kvi_probe *probe,
                                kvi_quick *q)
{
    if (KVI_LIKELY((int32_t)q->prefix <= probe->reach)) {
        q->head = kvi_get32be(probe->key.ptr + q->prefix);
    } else if (KVI_LIKELY(probe->reach >= 0 && q->prefix <= KVI_PREFIX_INLINE &&
                          q->prefix <= probe->key.len)) {
        q->head = kvi_head_behind(probe->key, q->prefix);
    } else {
        kvi_quick far = *q; /* so that q has no address, and stays in registers */
        bool begins = kvi_quick_begin_far(page, page_size, probe->key, &far);
        *q = far;
        return begins;
    }
    return KVI_LIKELY(kvi_front_same(page, q->prefix, probe));
}

/* What a form says of a node; what its page says, unchecked: the caller must bound it. */
KVI_INLINE kvi_quick kvi_quick_of_form(kvi_form form, bool hinted)
{
    return (kvi_quick){.slots = kvi_form_slots(form),
                       .heads = kvi_form_heads(hinted),
                       .prefix = kvi_form_prefix(form)};
}

KVI_INLINE kvi_quick kvi_quick_of_page(const uint8_t *page, bool hinted)
{
    return (kvi_quick){.slots = kvi_field16(page, KVI_P_count),
                       .heads = kvi_form_heads(hinted),
                       .prefix = kvi_field16(page, KVI_P_prefix_len)};
}

/* ---- what a slot holds ---- */

typedef struct kvi_node_slot {
    uint32_t at; /* of its heap bytes in the page */
    uint32_t suffix_len;
    uint32_t tail_len;
    uint32_t value_len;
    const uint8_t *tail; /* the value follows it */
    bool special;
} kvi_node_slot;

KVI_INLINE uint32_t kvi_slot_size(const uint8_t *page, const kvi_node_slot *slot)
{
    return (uint32_t)(slot->tail - page) - slot->at + slot->tail_len + slot->value_len;
}

/* A length in front of a slot's bytes: a varint of at most three bytes. */
KVI_INLINE uint32_t kvi_slot_number(const uint8_t **p, const uint8_t *end)
{
    uint32_t number = 0;
    for (unsigned shift = 0; shift < 21 && *p < end; shift += 7) {
        uint32_t byte = *(*p)++;
        number |= (byte & 0x7f) << shift;
        if (byte < 0x80)
            break;
    }
    return kvi_once(number);
}

KVI_INLINE kvi_node_slot kvi_slot_at(const uint8_t *page, const kvi_shape *s, unsigned i)
{
    kvi_node_slot slot = {.suffix_len = s->fixed_key - 1, .tail = page};
    if (kvi_shape_heapless(s))
        return slot;
    uint32_t offset = kvi_field16(page, kvi_array_at(s, s->offsets, i, 2));
    slot.at = offset & (s->page_size - 1);
    const uint8_t *p = page + slot.at, *end = page + s->page_size;
    if (!s->fixed_key) {
        slot.suffix_len = kvi_slot_number(&p, end);
        if (s->level == 0) {
            slot.special = slot.suffix_len & 1;
            slot.suffix_len >>= 1;
        }
    }
    if (s->level == 0)
        slot.value_len = s->fixed_value ? s->fixed_value - 1 : kvi_slot_number(&p, end);
    slot.tail = p;
    slot.tail_len = KVI_MIN(kvi_tail_of(slot.suffix_len), (uint32_t)(end - p));
    slot.value_len = KVI_MIN(slot.value_len, (uint32_t)(end - p) - slot.tail_len);
    return slot;
}

/* Length of the key, as kvi_key_copy writes it. */
static inline uint32_t kvi_slot_key_len(const kvi_shape *s, const kvi_node_slot *slot)
{
    uint32_t len = s->prefix_len + KVI_MIN(slot->suffix_len, 4) + slot->tail_len;
    return KVI_MIN(len, kvi_key_max(s->page_size));
}

/* ---- writing a slot ---- */

/* What a slot is to hold. */
typedef struct kvi_cell {
    uint32_t head;
    uint32_t suffix_len;
    kvi_slice tail;
    kvi_slice value;
    bool special;
} kvi_cell;

KVI_INLINE kvi_cell kvi_cell_of(kvi_slice key, uint32_t prefix_len)
{
    kvi_slice suffix = kvi_suffix_of(key, prefix_len);
    uint32_t len = (uint32_t)suffix.len;
    return (kvi_cell){
        .head = kvi_head_of(suffix),
        .suffix_len = len,
        .tail = {len > 4 ? suffix.ptr + 4 : NULL, kvi_tail_of(len)},
    };
}

/* Does the cell have the lengths that all slots of this node share? */
KVI_INLINE bool kvi_cell_suits(const kvi_cell *cell, const kvi_shape *s)
{
    if (s->fixed_key && (cell->suffix_len + 1 != s->fixed_key || cell->special))
        return false;
    return s->level > 0 || !s->fixed_value || cell->value.len + 1 == s->fixed_value;
}

/* The number in front of a variable key. */
static inline uint32_t kvi_cell_key_number(const kvi_cell *cell, uint32_t level)
{
    return level > 0 ? cell->suffix_len : cell->suffix_len << 1 | cell->special;
}

KVI_INLINE uint32_t kvi_cell_size(const kvi_cell *cell, const kvi_shape *s)
{
    size_t size = cell->tail.len;
    if (!s->fixed_key)
        size += kvi_varint_size(kvi_cell_key_number(cell, s->level));
    if (s->level == 0)
        size += cell->value.len + (s->fixed_value ? 0 : kvi_varint_size(cell->value.len));
    return (uint32_t)size;
}

/* Writes the heap bytes of the cell. The value may overlap with where it goes. */
KVI_INLINE uint8_t *kvi_cell_write(uint8_t *p, const kvi_cell *cell, const kvi_shape *s)
{
    if (!s->fixed_key)
        p = kvi_varint_put(p, kvi_cell_key_number(cell, s->level));
    if (s->level == 0 && !s->fixed_value)
        p = kvi_varint_put(p, cell->value.len);
    if (cell->tail.len)
        memmove(p, cell->tail.ptr, cell->tail.len);
    p += cell->tail.len;
    if (s->level > 0 || cell->value.len == 0)
        return p;
    if (cell->value.ptr)
        memmove(p, cell->value.ptr, cell->value.len);
    else
        memset(p, 0, cell->value.len);
    return p + cell->value.len;
}

/* ---- what the files do for each other ---- */

/* The stride of hints for so many slots: they divide the heads into 17 equal parts. */
static inline uint32_t kvi_hints_stride(uint32_t slots)
{
    return KVI_MAX(slots / (KVI_HINTS + 1), 1);
}

/* Writes key i to out (room for kvi_key_max bytes); returns its length. */
size_t kvi_key_copy(const uint8_t *page, const kvi_shape *s, unsigned i, uint8_t *out);

/* Writes type and shape into the header. */
void kvi_shape_write(uint8_t *page, const kvi_shape *s);

/* Writes the hints that depend on heads from number from on. Nothing if stride is 0. */
void kvi_hints_write(uint8_t *page, uint32_t page_size, uint32_t stride, unsigned from);

/* Writes child, tally and expiry number i. */
void kvi_child_write(uint8_t *page, const kvi_shape *s, unsigned i, const kvi_item *item);

/* Stands on an element of a sequence. */
typedef struct kvi_reader {
    const kvi_seq *seq;
    const kvi_part *part, *end;
    unsigned i; /* element of the part's page */
    kvi_shape shape;
} kvi_reader;

typedef struct kvi_measure { /* of an element */
    uint32_t key_len;
    uint32_t value_len;
    bool special;
} kvi_measure;

kvi_reader kvi_reader_at(const kvi_seq *seq, unsigned index);
void kvi_reader_skip(kvi_reader *r, unsigned n);
kvi_measure kvi_reader_measure(const kvi_reader *r);

/* The number of elements from here on that are known to have the same measure. */
unsigned kvi_reader_alike(const kvi_reader *r);

/* The element's key, perhaps put together in room (KVI_KEY_ROOM bytes). */
kvi_slice kvi_reader_key(const kvi_reader *r, uint8_t *room);

/* What a node out of elements [from, to) would look like. */
typedef struct kvi_plan {
    kvi_shape shape;
    uint32_t heap; /* bytes, prefix tail included */
} kvi_plan;

kvi_plan kvi_seq_plan(const kvi_seq *seq, unsigned from, unsigned to);

static inline bool kvi_plan_fits(const kvi_plan *plan)
{
    return plan->shape.end + plan->heap <= plan->shape.page_size;
}

/* Length of what the keys of elements a and b have in common. */
uint32_t kvi_seq_common(const kvi_seq *seq, unsigned a, unsigned b);

#endif
