/* node_build.c - making a node out of pieces of others. See node.h. */
#include "node_impl.h"

/* ---- walking a sequence ---- */

static unsigned part_count(const kvi_part *part)
{
    return part->page ? part->to - part->from : 1;
}

unsigned kvi_seq_count(const kvi_seq *seq)
{
    unsigned count = 0;
    for (unsigned i = 0; i < seq->n_parts; i++)
        count += part_count(&seq->parts[i]);
    return count;
}

/* Settles on element number n from the start of the present part. */
static void reader_settle(kvi_reader *r, unsigned n)
{
    while (r->part < r->end && n >= part_count(r->part))
        n -= part_count(r->part++);
    if (r->part == r->end || !r->part->page)
        return;
    r->i = r->part->from + n;
    r->shape = r->seq->level > 0 ? kvi_branch_shape(r->part->page, r->seq->page_size)
                                 : kvi_leaf_shape(r->part->page, r->seq->page_size);
}

kvi_reader kvi_reader_at(const kvi_seq *seq, unsigned index)
{
    kvi_reader r = {.seq = seq, .part = seq->parts, .end = seq->parts + seq->n_parts};
    reader_settle(&r, index);
    return r;
}

void kvi_reader_skip(kvi_reader *r, unsigned n)
{
    if (r->part->page && n < r->part->to - r->i)
        r->i += n;
    else
        reader_settle(r, n + (r->part->page ? r->i - r->part->from : 0));
}

/* The page's slot that belongs to the element; false when its key stands elsewhere. */
static inline bool reader_slot(const kvi_reader *r, unsigned *slot)
{
    if (!r->part->page || (r->seq->level > 0 && r->i == 0))
        return false;
    *slot = r->seq->level > 0 ? r->i - 1 : r->i;
    return true;
}

kvi_measure kvi_reader_measure(const kvi_reader *r)
{
    unsigned i;
    const kvi_part *part = r->part;
    if (reader_slot(r, &i)) {
        kvi_node_slot slot = kvi_slot_at(part->page, &r->shape, i);
        uint32_t key_len = kvi_slot_key_len(&r->shape, &slot);
        return (kvi_measure){key_len, slot.value_len, slot.special};
    }
    if (part->page)
        return (kvi_measure){.key_len = (uint32_t)part->first_key.len};
    return (kvi_measure){(uint32_t)part->item->key.len, (uint32_t)part->item->value.len,
                         part->item->special};
}

unsigned kvi_reader_alike(const kvi_reader *r)
{
    unsigned i;
    bool uniform = r->shape.fixed_key && (r->seq->level > 0 || r->shape.fixed_value);
    return reader_slot(r, &i) && uniform ? r->part->to - r->i : 1;
}

kvi_slice kvi_reader_key(const kvi_reader *r, uint8_t *room)
{
    unsigned i;
    if (reader_slot(r, &i))
        return kvi_slice_of(room, kvi_key_copy(r->part->page, &r->shape, i, room));
    return r->part->page ? r->part->first_key : r->part->item->key;
}

static kvi_cell reader_cell(const kvi_reader *r, uint32_t prefix_len, uint8_t *room)
{
    kvi_cell cell = kvi_cell_of(kvi_reader_key(r, room), prefix_len);
    if (r->seq->level > 0)
        return cell;
    if (r->part->page) {
        kvi_node_slot slot = kvi_slot_at(r->part->page, &r->shape, r->i);
        cell.value = kvi_slice_of(slot.tail + slot.tail_len, slot.value_len);
        cell.special = slot.special;
    } else {
        cell.value = r->part->item->value;
        cell.special = r->part->item->special;
    }
    return cell;
}

/* The child of a branch's element. */
static kvi_item reader_child(const kvi_reader *r)
{
    const uint8_t *page = r->part->page;
    uint32_t page_size = r->seq->page_size;
    if (!page)
        return *r->part->item;
    return (kvi_item){
        .child = kvi_branch_child(page, page_size, r->i),
        .tally = kvi_branch_tally(page, page_size, r->i),
        .expiry = kvi_branch_expiry(page, page_size, r->i),
    };
}

/* ---- planning ---- */

static bool prefixes_same(const kvi_reader *a, const kvi_reader *b)
{
    uint32_t len = a->shape.prefix_len;
    return a->part->page == b->part->page ||
           (len == b->shape.prefix_len && len <= KVI_PREFIX_INLINE &&
            memcmp(a->part->page + KVI_P_prefix, b->part->page + KVI_P_prefix, len) == 0);
}

/* What two elements behind equal prefixes have in common, when their heads tell. */
static bool heads_common(const kvi_reader *a, const kvi_reader *b, uint32_t *common)
{
    unsigned i, k;
    if (!reader_slot(a, &i) || !reader_slot(b, &k) || !prefixes_same(a, b))
        return false;
    const uint8_t *page_a = a->part->page, *page_b = b->part->page;
    uint32_t differ = kvi_head_at(page_a, &a->shape, i) ^ kvi_head_at(page_b, &b->shape, k);
    if (!differ)
        return false;
    uint32_t len_a = kvi_slot_at(page_a, &a->shape, i).suffix_len;
    uint32_t len_b = kvi_slot_at(page_b, &b->shape, k).suffix_len;
    uint32_t same = (uint32_t)__builtin_clz(differ) / 8;
    *common = a->shape.prefix_len + KVI_MIN(same, KVI_MIN(len_a, len_b));
    return true;
}

uint32_t kvi_seq_common(const kvi_seq *seq, unsigned a, unsigned b)
{
    uint8_t room[2][KVI_KEY_ROOM];
    uint32_t common;
    kvi_reader first = kvi_reader_at(seq, a), last = first;
    kvi_reader_skip(&last, b - a);
    if (heads_common(&first, &last, &common))
        return common;
    kvi_slice x = kvi_reader_key(&first, room[0]), y = kvi_reader_key(&last, room[1]);
    return (uint32_t)kvi_bytes_same(x.ptr, y.ptr, 0, KVI_MIN(x.len, y.len));
}

/* The prefix for the keys of elements [from, to). All bytes of a lone key but the four that its
 * head keeps: the next key in ascending order will most likely share them. */
static uint32_t plan_prefix(const kvi_seq *seq, unsigned from, unsigned to)
{
    if (to - from >= 2)
        return kvi_seq_common(seq, from, to - 1);
    kvi_reader only = kvi_reader_at(seq, from);
    uint32_t len = to > from ? kvi_reader_measure(&only).key_len : 0;
    return kvi_tail_of(len);
}

/* What the lengths of some elements add up to. */
typedef struct plan_sums {
    uint32_t tails, keys;    /* bytes of tails; of the numbers before them */
    uint32_t values, counts; /* bytes of values; of the numbers before them */
    bool keys_differ, values_differ;
    kvi_measure first;
} plan_sums;

/* n elements of this measure. */
static void plan_add(plan_sums *sums, const kvi_measure *m, unsigned n, uint32_t prefix_len,
                     uint32_t level)
{
    uint32_t suffix_len = m->key_len - KVI_MIN(prefix_len, m->key_len);
    sums->tails += n * kvi_tail_of(suffix_len);
    sums->keys += n * (uint32_t)kvi_varint_size(level > 0 ? suffix_len : suffix_len << 1);
    sums->values += n * m->value_len;
    sums->counts += n * (uint32_t)kvi_varint_size(m->value_len);
    sums->keys_differ |= m->key_len != sums->first.key_len || m->special;
    sums->values_differ |= m->value_len != sums->first.value_len;
}

static plan_sums plan_sum(const kvi_seq *seq, unsigned from, unsigned to, uint32_t prefix_len)
{
    kvi_reader r = kvi_reader_at(seq, from);
    plan_sums sums = {.keys = 0};
    if (from < to)
        sums.first = kvi_reader_measure(&r);
    for (unsigned n; from < to; from += n, kvi_reader_skip(&r, n)) {
        kvi_measure m = kvi_reader_measure(&r);
        n = KVI_MIN(kvi_reader_alike(&r), to - from);
        plan_add(&sums, &m, n, prefix_len, seq->level);
    }
    return sums;
}

kvi_plan kvi_seq_plan(const kvi_seq *seq, unsigned from, unsigned to)
{
    from += seq->level > 0; /* a branch does without the separator before its first child */
    uint32_t slots = to - from, prefix_len = plan_prefix(seq, from, to);
    plan_sums sums = plan_sum(seq, from, to, prefix_len);
    kvi_shape s = {.page_size = seq->page_size, .level = seq->level, .slots = slots};
    s.flags = seq->level > 0 ? seq->flags : 0;
    s.stride = slots >= KVI_HINTS_FROM ? kvi_hints_stride(slots) : 0;
    s.prefix_len = prefix_len;
    if (slots > 0 && !sums.keys_differ)
        s.fixed_key = sums.first.key_len - prefix_len + 1;
    if (slots > 0 && !sums.values_differ && s.level == 0)
        s.fixed_value = sums.first.value_len + 1;
    kvi_shape_place(&s);
    uint32_t heap = kvi_prefix_tail(prefix_len) + sums.tails;
    heap += s.fixed_key ? 0 : sums.keys;
    if (s.level == 0)
        heap += sums.values + (s.fixed_value ? 0 : sums.counts);
    return (kvi_plan){s, heap};
}

/* ---- writing ---- */

void kvi_shape_write(uint8_t *page, const kvi_shape *s)
{
    page[KVI_P_type] = s->level > 0 ? KVI_BRANCH : KVI_LEAF;
    page[KVI_P_level] = (uint8_t)s->level;
    kvi_put16(page + KVI_P_count, (uint16_t)s->slots);
    kvi_put16(page + KVI_P_prefix_len, (uint16_t)s->prefix_len);
    kvi_put16(page + KVI_P_fixed_key, (uint16_t)s->fixed_key);
    kvi_put16(page + KVI_P_fixed_value, (uint16_t)s->fixed_value);
    kvi_put16(page + KVI_P_hint_stride, (uint16_t)s->stride);
    kvi_put16(page + KVI_P_flags, (uint16_t)s->flags);
}

void kvi_hints_write(uint8_t *page, uint32_t page_size, uint32_t stride, unsigned from)
{
    if (!stride)
        return;
    unsigned first = from / stride; /* hint i is head (i + 1) * stride */
    const uint8_t *heads = page + KVI_HEADER_SIZE + KVI_HINT_LINE;
    uint32_t last = (page_size - KVI_HEADER_SIZE - KVI_HINT_LINE) / 4 - 1;
    for (unsigned i = first - (first > 0); i < KVI_HINTS; i++) {
        uint32_t head = kvi_get32(heads + 4 * KVI_MIN((i + 1) * stride, last));
        kvi_put32(page + KVI_HEADER_SIZE + 4 * i, head);
    }
}

void kvi_child_write(uint8_t *page, const kvi_shape *s, unsigned i, const kvi_item *item)
{
    uint32_t tally_size = kvi_tally_size(s);
    uint8_t *tally = page + kvi_array_at(s, s->tallies, i, tally_size);
    kvi_ptr_put(page + kvi_array_at(s, s->children, i, KVI_PTR_SIZE), item->child);
    if (tally_size == 2)
        kvi_put16(tally, (uint16_t)item->tally);
    else
        kvi_put64(tally, item->tally);
    if (s->flags & KVI_NODE_EXPIRY)
        kvi_put64(page + kvi_array_at(s, s->expiries, i, 8), item->expiry);
}

static void prefix_write(uint8_t *page, const kvi_shape *s, kvi_slice key)
{
    uint32_t rest = kvi_prefix_tail(s->prefix_len);
    if (s->prefix_len == 0 || key.len < s->prefix_len)
        return;
    memcpy(page + KVI_P_prefix, key.ptr, s->prefix_len - rest);
    if (rest > 0)
        memcpy(page + s->page_size - rest, key.ptr + KVI_PREFIX_INLINE, rest);
}

/* Do slots of both shapes have the same heads and heap bytes, given the same keys? */
static bool shapes_alike(const kvi_shape *a, const kvi_shape *b)
{
    return a->prefix_len == b->prefix_len && a->fixed_key == b->fixed_key &&
           a->fixed_value == b->fixed_value;
}

/* Where the heap of a new node has been filled to. */
typedef struct filler {
    uint8_t *page;
    const kvi_shape *shape;
    uint8_t *at, *end;
} filler;

/* Fills slot i with bytes as they are in another node; the heap has them, since lengths differ. */
static bool slot_copy(filler *f, unsigned i, const kvi_reader *r, unsigned from)
{
    const uint8_t *page = r->part->page;
    kvi_node_slot slot = kvi_slot_at(page, &r->shape, from);
    uint32_t size = kvi_slot_size(page, &slot);
    kvi_put32(f->page + f->shape->heads + 4 * i, kvi_head_at(page, &r->shape, from));
    if (size > (size_t)(f->end - f->at))
        return false;
    kvi_put16(f->page + f->shape->offsets + 2 * i, (uint16_t)(f->at - f->page));
    memcpy(f->at, page + slot.at, size);
    f->at += size;
    return true;
}

/* Fills slots from number i on with n of another node, whose lengths are all the same. */
static bool slots_copy(filler *f, unsigned i, const kvi_reader *r, unsigned from, unsigned n)
{
    const uint8_t *page = r->part->page;
    const kvi_shape *s = f->shape, *old = &r->shape;
    uint32_t size = kvi_tail_of(s->fixed_key - 1) + (s->level > 0 ? 0 : s->fixed_value - 1);
    if (from + n > old->slots || (size_t)n * size > (size_t)(f->end - f->at))
        return false;
    memcpy(f->page + s->heads + 4 * i, page + old->heads + 4 * from, 4 * n);
    if (kvi_shape_heapless(s))
        return true;
    for (unsigned k = 0; k < n; k++) {
        uint32_t at = kvi_field16(page, old->offsets + 2 * (from + k));
        if (at + size > s->page_size)
            return false;
        kvi_put16(f->page + s->offsets + 2 * (i + k), (uint16_t)(f->at - f->page));
        memcpy(f->at, page + at, size);
        f->at += size;
    }
    return true;
}

/* Fills slot i with an element. */
static bool slot_make(filler *f, unsigned i, const kvi_reader *r, uint8_t *room)
{
    kvi_cell cell = reader_cell(r, f->shape->prefix_len, room);
    kvi_put32(f->page + f->shape->heads + 4 * i, cell.head);
    if (kvi_shape_heapless(f->shape))
        return true;
    if (kvi_cell_size(&cell, f->shape) > (size_t)(f->end - f->at))
        return false;
    kvi_put16(f->page + f->shape->offsets + 2 * i, (uint16_t)(f->at - f->page));
    f->at = kvi_cell_write(f->at, &cell, f->shape);
    return true;
}

/* Fills heads, offsets and heap. False: the parts no longer have the lengths that were planned,
 * because somebody overwrites the file. */
static bool slots_fill(uint8_t *page, const kvi_plan *plan, kvi_reader *r)
{
    uint8_t room[KVI_KEY_ROOM];
    const kvi_shape *s = &plan->shape;
    filler f = {page, s, page + s->page_size - plan->heap,
                page + s->page_size - kvi_prefix_tail(s->prefix_len)};
    bool fits = true, uniform = s->fixed_key && (s->level > 0 || s->fixed_value);
    for (unsigned i = 0, n, slot; i < s->slots && fits; i += n, kvi_reader_skip(r, n)) {
        n = 1;
        if (!reader_slot(r, &slot) || !shapes_alike(&r->shape, s)) {
            fits = slot_make(&f, i, r, room);
        } else if (uniform) {
            n = KVI_MIN(r->part->to - r->i, s->slots - i);
            fits = slots_copy(&f, i, r, slot, n);
        } else {
            fits = slot_copy(&f, i, r, slot);
        }
    }
    return fits;
}

bool kvi_node_build(const kvi_seq *seq, unsigned from, unsigned to, uint8_t *page)
{
    uint8_t room[KVI_KEY_ROOM];
    kvi_plan plan = kvi_seq_plan(seq, from, to);
    const kvi_shape *s = &plan.shape;
    if (!kvi_plan_fits(&plan))
        return false;
    memset(page, 0, KVI_HEADER_SIZE);
    kvi_shape_write(page, s);
    kvi_put16(page + KVI_P_heap, (uint16_t)plan.heap);
    if (seq->level > 0) {
        kvi_reader r = kvi_reader_at(seq, from);
        for (unsigned i = 0; i <= s->slots; i++, kvi_reader_skip(&r, 1)) {
            kvi_item child = reader_child(&r);
            kvi_child_write(page, s, i, &child);
        }
    }
    if (s->slots > 0) {
        kvi_reader r = kvi_reader_at(seq, from + (seq->level > 0));
        prefix_write(page, s, kvi_reader_key(&r, room));
        if (!slots_fill(page, &plan, &r))
            return false;
    }
    kvi_hints_write(page, s->page_size, s->stride, 0);
    return true;
}

void kvi_leaf_open(uint8_t *page, uint32_t page_size, const kvi_item *item, uint32_t prefix_len)
{
    /* More than all bytes but the four of a head would save nothing. */
    prefix_len = KVI_MIN(prefix_len, kvi_tail_of((uint32_t)item->key.len));
    kvi_shape s = {.page_size = page_size, .slots = 1, .prefix_len = prefix_len};
    kvi_cell cell = kvi_cell_of(item->key, prefix_len);
    cell.value = item->value;
    cell.special = item->special;
    s.fixed_key = cell.special ? 0 : cell.suffix_len + 1;
    s.fixed_value = (uint32_t)cell.value.len + 1;
    kvi_shape_place(&s);
    memset(page, 0, KVI_HEADER_SIZE);
    kvi_shape_write(page, &s);
    prefix_write(page, &s, item->key);
    kvi_put32(page + s.heads, cell.head);
    uint32_t heap = kvi_prefix_tail(prefix_len);
    if (!kvi_shape_heapless(&s)) {
        heap += kvi_cell_size(&cell, &s);
        kvi_put16(page + s.offsets, (uint16_t)(page_size - heap));
        kvi_cell_write(page + page_size - heap, &cell, &s);
    }
    kvi_put16(page + KVI_P_heap, (uint16_t)heap);
}
