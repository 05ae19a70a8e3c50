/* node_check.c - is this untrusted page a node? See the invariants in node.h. */
#include "mutant.h"
#include "node_impl.h"

/* One bit for every byte of the heap: which bytes belong to a slot already. */
typedef struct used_bytes {
    uint64_t bits[KVI_PAGE_MAX / 64];
} used_bytes;

/* Marks bytes [from, to), from < to. False: some of them are marked. */
static inline bool used_mark(used_bytes *used, uint32_t from, uint32_t to)
{
    uint32_t word = from / 64, last = (to - 1) / 64;
    uint64_t mask = UINT64_MAX << (from % 64), clash = 0;
    for (; word < last; word++, mask = UINT64_MAX) {
        clash |= used->bits[word] & mask;
        used->bits[word] |= mask;
    }
    mask &= UINT64_MAX >> (63 - (to - 1) % 64);
    clash |= used->bits[word] & mask;
    used->bits[word] |= mask;
    return clash == 0;
}

/* What has been found out on the way through the slots. */
typedef struct checker {
    const uint8_t *page;
    kvi_shape s;
    uint32_t heap;       /* where it begins */
    uint32_t heap_end;   /* where the prefix tail begins */
    uint32_t slot_bytes; /* of all slots so far */
    used_bytes used;
} checker;

/* N1 */
static bool check_type(const checker *c, uint8_t type, int expect_level)
{
    uint32_t level = c->s.level;
    if (expect_level >= 0 && level != (uint32_t)expect_level && !KVI_MUTANT(LEVEL_UNCHECKED))
        return false;
    if (level == 0)
        return type == KVI_LEAF && c->s.flags == 0;
    return type == KVI_BRANCH && level <= KVI_LEVEL_MAX && !(c->s.flags & ~KVI_NODE_EXPIRY);
}

/* N2, as far as the header tells. */
static bool check_bounds(checker *c)
{
    kvi_shape *s = &c->s;
    uint32_t heap = kvi_field16(c->page, KVI_P_heap), tail = kvi_prefix_tail(s->prefix_len);
    if (s->prefix_len != kvi_field16(c->page, KVI_P_prefix_len)) /* was above the limit */
        return false;
    if (tail > heap || s->end + heap > s->page_size)
        return false;
    c->heap = s->page_size - heap;
    c->heap_end = s->page_size - tail;
    return true;
}

/* A length in front of a slot's bytes; false when it is none, or above every limit. */
static bool number_get(const uint8_t **p, const uint8_t *end, uint32_t *number)
{
    uint64_t n;
    *p = kvi_varint_get(*p, end, &n);
    if (!*p || n > 2 * KVI_PAGE_MAX)
        return false;
    *number = kvi_once((uint32_t)n);
    return true;
}

/* Reads slot i as kvi_slot_at does, but refuses what that one would clamp. */
KVI_INLINE bool slot_get(const checker *c, unsigned i, kvi_node_slot *slot)
{
    const kvi_shape *s = &c->s;
    *slot = (kvi_node_slot){.suffix_len = s->fixed_key - 1, .tail = c->page};
    if (kvi_shape_heapless(s))
        return true;
    slot->at = kvi_field16(c->page, s->offsets + 2 * i);
    if ((slot->at < c->heap || slot->at >= c->heap_end) && !KVI_MUTANT(HEAP_UNCHECKED))
        return false;
    const uint8_t *p = c->page + slot->at, *end = c->page + c->heap_end;
    if (!s->fixed_key) {
        if (!number_get(&p, end, &slot->suffix_len))
            return false;
        if (s->level == 0) {
            slot->special = slot->suffix_len & 1;
            slot->suffix_len >>= 1;
        }
    }
    if (s->level == 0 && s->fixed_value)
        slot->value_len = s->fixed_value - 1;
    else if (s->level == 0 && !number_get(&p, end, &slot->value_len))
        return false;
    slot->tail = p;
    slot->tail_len = kvi_tail_of(slot->suffix_len);
    return slot->tail_len + slot->value_len <= (uint32_t)(end - p);
}

/* N3; N2 for the bytes of the slot. */
KVI_INLINE bool check_slot(checker *c, unsigned i, kvi_node_slot *slot)
{
    uint32_t page_size = c->s.page_size, key_len;
    if (!slot_get(c, i, slot))
        return false;
    key_len = c->s.prefix_len + slot->suffix_len;
    if (key_len > kvi_key_max(page_size) || key_len + slot->value_len > kvi_leaf_max(page_size))
        return false;
    uint32_t size = kvi_slot_size(c->page, slot);
    c->slot_bytes += size;
    return size == 0 || used_mark(&c->used, slot->at - c->heap, slot->at - c->heap + size);
}

/* N4, for two neighbours with the same head. */
static bool check_order(const kvi_node_slot *before, const kvi_node_slot *slot)
{
    uint32_t len = KVI_MIN(before->tail_len, slot->tail_len);
    int order = len ? kvi_bytes_order(before->tail, slot->tail, len) : 0;
    return order ? order < 0 : before->suffix_len < slot->suffix_len;
}

/* N6 */
static bool check_padding(uint32_t head, const kvi_node_slot *slot)
{
    return slot->suffix_len >= 4 || (head & (UINT32_MAX >> (8 * slot->suffix_len))) == 0;
}

static int check_slots(checker *c)
{
    const kvi_shape *s = &c->s;
    kvi_node_slot slots[2];
    uint32_t before = 0;
    for (unsigned i = 0; i < s->slots; i++) {
        kvi_node_slot *slot = &slots[i % 2];
        uint32_t head = kvi_once(kvi_head_at(c->page, s, i));
        if (!check_slot(c, i, slot))
            return 3;
        if (i > 0 && (head < before || (head == before && !check_order(&slots[(i - 1) % 2], slot))))
            return 4;
        if (!check_padding(head, slot))
            return 6;
        before = head;
    }
    /* nothing but slots, dead bytes and the prefix is in the heap */
    uint32_t dead = kvi_field16(c->page, KVI_P_dead);
    return c->heap + c->slot_bytes + dead == c->heap_end ? 0 : 2;
}

/* N5 */
static bool check_hints(const checker *c)
{
    const kvi_shape *s = &c->s;
    if (s->stride && KVI_HINTS * s->stride >= s->slots)
        return false;
    for (unsigned i = 0; s->stride && i < KVI_HINTS; i++) {
        uint32_t hint = kvi_get32(c->page + KVI_HEADER_SIZE + 4 * i);
        if (hint != kvi_head_at(c->page, s, (i + 1) * s->stride))
            return false;
    }
    return true;
}

/* N7 */
static bool check_children(const checker *c, kvi_pgno high_water, kvi_id newest)
{
    const kvi_shape *s = &c->s;
    kvi_pgno first = kvi_first_page(s->page_size);
    for (unsigned i = 0; s->level > 0 && i <= s->slots; i++) {
        kvi_ptr child = kvi_ptr_get(c->page + s->children + KVI_PTR_SIZE * i);
        if (child.page < first || child.page >= high_water || child.birth < 1 ||
            (child.birth > newest && !KVI_MUTANT(FUTURE_ALLOWED)))
            return false;
    }
    return true;
}

int kvi_node_validate(const uint8_t *page, uint32_t page_size, int expect_level,
                      kvi_pgno high_water, kvi_id newest)
{
    checker c;
    c.page = page;
    c.slot_bytes = 0;
    c.s = kvi_node_shape(page, page_size);
    if (!check_type(&c, page[KVI_P_type], expect_level))
        return 1;
    if (c.s.slots != kvi_field16(page, KVI_P_count) || !check_bounds(&c))
        return 2;
    if (c.s.level > 0 && c.s.fixed_value)
        return 3;
    memset(c.used.bits, 0, (c.heap_end - c.heap + 63) / 64 * 8);
    int broken = check_slots(&c);
    if (broken)
        return broken;
    if (!check_hints(&c))
        return 5;
    return check_children(&c, high_water, newest) ? 0 : 7;
}
