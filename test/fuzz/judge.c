/* judge.c - see judge.h. */
#include "judge.h"

typedef struct judge {
    const uint8_t *page;
    uint64_t size;
    uint64_t level, count, heap, dead, prefix_len, fixed_key, fixed_value, stride, flags;
    uint64_t heads, offsets, children, end; /* of the arrays */
    uint64_t heap_from, heap_to;            /* without the tail of the prefix */
    bool head_only;
    uint8_t taken[KVI_PAGE_MAX]; /* by slots */
} judge;

typedef struct judged_slot {
    uint64_t head, suffix_len, value_len;
    const uint8_t *tail;
    uint64_t tail_len;
} judged_slot;

static uint64_t number(const uint8_t *p, unsigned bytes)
{
    uint64_t n = 0;
    while (bytes-- > 0)
        n = n << 8 | p[bytes];
    return n;
}

static void judge_fields(judge *j)
{
    j->level = j->page[9];
    j->count = number(j->page + 10, 2);
    j->heap = number(j->page + 12, 2);
    j->dead = number(j->page + 14, 2);
    j->prefix_len = number(j->page + 32, 2);
    j->fixed_key = number(j->page + 34, 2);
    j->fixed_value = number(j->page + 36, 2);
    j->stride = number(j->page + 38, 2);
    j->flags = number(j->page + 40, 2);
    j->head_only = j->fixed_key >= 1 && j->fixed_key <= 5 && (j->level > 0 || j->fixed_value == 1);
    j->heads = 64 + (j->stride ? 64 : 0);
    j->offsets = j->heads + 4 * j->count;
    j->children = j->end = j->offsets + (j->head_only ? 0 : 2 * j->count);
    if (j->level > 0)
        j->end += (j->count + 1) * (12u + (j->level == 1 ? 2 : 8) + (j->flags & 1 ? 8 : 0));
}

static bool judge_type(const judge *j)
{
    return j->level == 0 ? j->page[8] == 1 && j->flags == 0
                         : j->page[8] == 2 && j->level <= 31 && (j->flags & 0xfffe) == 0;
}

static bool judge_places(judge *j)
{
    uint64_t tail = j->prefix_len > 16 ? j->prefix_len - 16 : 0;
    if (j->prefix_len > j->size / 4 - 64 || tail > j->heap || j->end + j->heap > j->size)
        return false;
    j->heap_from = j->size - j->heap;
    j->heap_to = j->size - tail;
    return true;
}

/* A varint in the heap, of the shortest form; -1: none. */
static int64_t judge_varint(const judge *j, uint64_t *at)
{
    uint64_t n = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        if (*at >= j->heap_to)
            return -1;
        uint8_t byte = j->page[(*at)++];
        n |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return byte == 0 && shift > 0 ? -1 : (int64_t)n;
    }
    return -1;
}

/* Takes slot i apart, and its bytes for it. */
static bool judge_slot(judge *j, uint64_t i, judged_slot *slot)
{
    int64_t key = 0, value = 0;
    uint64_t at = 0, from = 0;
    *slot = (judged_slot){.head = number(j->page + j->heads + 4 * i, 4)};
    if (!j->head_only) {
        at = from = number(j->page + j->offsets + 2 * i, 2);
        if (at < j->heap_from || at >= j->heap_to)
            return false;
    }
    if (j->fixed_key)
        slot->suffix_len = j->fixed_key - 1;
    else if ((key = judge_varint(j, &at)) >= 0)
        slot->suffix_len = (uint64_t)key >> (j->level == 0);
    if (j->level == 0 && j->fixed_value)
        slot->value_len = j->fixed_value - 1;
    else if (j->level == 0 && key >= 0 && (value = judge_varint(j, &at)) >= 0)
        slot->value_len = (uint64_t)value;
    if (key < 0 || value < 0)
        return false;
    slot->tail = j->page + at;
    slot->tail_len = slot->suffix_len > 4 ? slot->suffix_len - 4 : 0;
    uint64_t key_len = j->prefix_len + slot->suffix_len;
    if (key_len > j->size / 4 - 64 || key_len + slot->value_len > (j->size - 128) / 2)
        return false;
    if (j->head_only)
        return true;
    uint64_t to = at + slot->tail_len + slot->value_len;
    if (to > j->heap_to)
        return false;
    for (; from < to; from++) {
        if (j->taken[from])
            return false;
        j->taken[from] = 1;
    }
    return true;
}

static bool judge_order(const judged_slot *a, const judged_slot *b)
{
    if (a->head != b->head)
        return a->head < b->head;
    kvi_slice left = {a->tail, a->tail_len}, right = {b->tail, b->tail_len};
    uint64_t same = KVI_MIN(a->tail_len, b->tail_len);
    int order = same ? memcmp(left.ptr, right.ptr, same) : 0;
    return order ? order < 0 : a->suffix_len < b->suffix_len;
}

static bool judge_padding(const judged_slot *slot)
{
    for (uint64_t byte = slot->suffix_len; byte < 4; byte++)
        if (slot->head >> (24 - 8 * byte) & 0xff)
            return false;
    return true;
}

static int judge_slots(judge *j)
{
    judged_slot slot, before = {0};
    for (uint64_t i = 0; i < j->count; i++, before = slot) {
        if (!judge_slot(j, i, &slot))
            return 3;
        if (i > 0 && !judge_order(&before, &slot))
            return 4;
        if (!judge_padding(&slot))
            return 6;
    }
    uint64_t used = 0;
    for (uint64_t at = j->heap_from; at < j->heap_to; at++)
        used += j->taken[at];
    return j->heap_from + used + j->dead == j->heap_to ? 0 : 2;
}

static bool judge_hints(const judge *j)
{
    if (j->stride == 0)
        return true;
    if (16 * j->stride >= j->count)
        return false;
    for (uint64_t i = 0; i < 16; i++)
        if (memcmp(j->page + 64 + 4 * i, j->page + j->heads + 4 * (i + 1) * j->stride, 4) != 0)
            return false;
    return true;
}

static bool judge_children(const judge *j, kvi_pgno high_water, kvi_id newest)
{
    uint64_t first = j->size >= 4096 ? 2 : 8192 / j->size;
    for (uint64_t i = 0; j->level > 0 && i <= j->count; i++) {
        uint64_t page = number(j->page + j->children + 12 * i, 6);
        uint64_t birth = number(j->page + j->children + 12 * i + 6, 6);
        if (page < first || page >= high_water || birth == 0 || birth > newest)
            return false;
    }
    return true;
}

int judge_node(const uint8_t *page, uint32_t page_size, kvi_pgno high_water, kvi_id newest)
{
    static judge j;
    memset(&j, 0, offsetof(judge, taken));
    memset(j.taken, 0, page_size);
    j.page = page;
    j.size = page_size;
    judge_fields(&j);
    if (!judge_type(&j))
        return 1;
    if (!judge_places(&j))
        return 2;
    if (j.level > 0 && j.fixed_value)
        return 3;
    int broken = judge_slots(&j);
    if (broken)
        return broken;
    if (!judge_hints(&j))
        return 5;
    return judge_children(&j, high_water, newest) ? 0 : 7;
}
