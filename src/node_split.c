/* node_split.c - where to divide a sequence, and the separators that result. See node.h. */
#include "node_impl.h"

#define SEAM   8 /* bytes that a longer prefix must gain to be worth an uneven division */
#define LONGER 8 /* bytes by which a separator may be lengthened, to be as long as the others */

static bool range_fits(const kvi_seq *seq, unsigned from, unsigned to)
{
    kvi_plan plan = kvi_seq_plan(seq, from, to);
    return kvi_plan_fits(&plan);
}

/* The last at in [lo, hi] with [from, at) fitting; all before it fit as well. lo if none. */
static unsigned last_fit(const kvi_seq *seq, unsigned from, unsigned lo, unsigned hi)
{
    if (range_fits(seq, from, hi))
        return hi;
    while (hi - lo > 1) {
        unsigned mid = (lo + hi) / 2;
        if (range_fits(seq, from, mid))
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

/* The first at in [lo, hi] with [at, count) fitting; all behind it fit as well. hi if none. */
static unsigned first_fit(const kvi_seq *seq, unsigned lo, unsigned hi, unsigned count)
{
    if (range_fits(seq, lo, count))
        return lo;
    while (hi - lo > 1) {
        unsigned mid = (lo + hi) / 2;
        if (range_fits(seq, mid, count))
            hi = mid;
        else
            lo = mid;
    }
    return hi;
}

unsigned kvi_seq_fit(const kvi_seq *seq, unsigned from)
{
    unsigned count = kvi_seq_count(seq);
    return from + 1 < count ? last_fit(seq, from, from + 1, count) : count;
}

/* Bytes that the element takes in a node, about. */
static uint32_t element_weight(const kvi_measure *m, const kvi_plan *whole)
{
    const kvi_shape *s = &whole->shape;
    uint32_t suffix_len = m->key_len - KVI_MIN(m->key_len, s->prefix_len);
    uint32_t weight = 4 + kvi_tail_of(suffix_len);
    if (!kvi_shape_heapless(s))
        weight += 2;
    if (!s->fixed_key)
        weight += (uint32_t)kvi_varint_size(suffix_len << 1);
    if (s->level > 0)
        return weight + KVI_PTR_SIZE + kvi_tally_size(s) + kvi_expiry_size(s);
    return weight + m->value_len + (s->fixed_value ? 0 : (uint32_t)kvi_varint_size(m->value_len));
}

typedef struct middle {
    unsigned at;       /* divides the bytes most evenly */
    unsigned from, to; /* the places nearly as good, at included */
} middle;

static uint64_t distance(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

static uint64_t seq_weight(const kvi_seq *seq, unsigned count, const kvi_plan *whole)
{
    uint64_t sum = 0;
    kvi_reader r = kvi_reader_at(seq, 0);
    for (unsigned i = 0, n; i < count; i += n, kvi_reader_skip(&r, n)) {
        kvi_measure m = kvi_reader_measure(&r);
        n = KVI_MIN(kvi_reader_alike(&r), count - i);
        sum += (uint64_t)n * element_weight(&m, whole);
    }
    return sum;
}

static middle seq_middle(const kvi_seq *seq, unsigned lo, unsigned hi, unsigned count)
{
    kvi_plan whole = kvi_seq_plan(seq, 0, count);
    uint64_t total = seq_weight(seq, count, &whole), half = total / 2, slack = total / 20;
    uint64_t sum = 0, best = UINT64_MAX;
    middle mid = {lo, hi, lo};
    kvi_reader r = kvi_reader_at(seq, 0);
    for (unsigned at = 1; at <= hi; at++, kvi_reader_skip(&r, 1)) {
        kvi_measure m = kvi_reader_measure(&r);
        sum += element_weight(&m, &whole);
        uint64_t off = distance(sum, half);
        if (at < lo || (off > best && off > slack))
            continue;
        if (off < best) {
            best = off;
            mid.at = at;
        }
        if (off <= slack) {
            mid.from = KVI_MIN(mid.from, at);
            mid.to = at;
        }
    }
    mid.from = KVI_MIN(mid.from, mid.at);
    mid.to = KVI_MAX(mid.to, mid.at);
    return mid;
}

/* Bytes of a separator before element at. */
static uint32_t separator_len(const kvi_seq *seq, unsigned at)
{
    if (seq->level == 0)
        return kvi_seq_common(seq, at - 1, at) + 1;
    kvi_reader r = kvi_reader_at(seq, at);
    return kvi_reader_measure(&r).key_len;
}

/* Leaves: do all elements have these lengths, whatever their keys share? */
static bool seq_uniform(const kvi_seq *seq, kvi_measure *each)
{
    bool first = true;
    if (seq->level > 0)
        return false;
    for (unsigned i = 0; i < seq->n_parts; i++) {
        const kvi_part *part = &seq->parts[i];
        if (part->page && part->from == part->to)
            continue;
        kvi_seq one = {part, 1, 0, seq->page_size, 0};
        kvi_reader r = kvi_reader_at(&one, 0);
        kvi_measure m = kvi_reader_measure(&r);
        if (m.special || (part->page && !(r.shape.fixed_key && r.shape.fixed_value)) ||
            (!first && (m.key_len != each->key_len || m.value_len != each->value_len)))
            return false;
        *each = m;
        first = false;
    }
    return !first;
}

/* Do n such elements fit a node even if their keys share nothing? */
static bool uniform_fits(const kvi_seq *seq, const kvi_measure *each, unsigned n)
{
    size_t entry = 6 + (size_t)each->key_len + each->value_len; /* head, offset; tail or less */
    return KVI_HEADER_SIZE + KVI_HINT_LINE + n * entry <= seq->page_size;
}

static middle uniform_middle(unsigned lo, unsigned hi, unsigned count)
{
    unsigned half = count / 2, slack = count / 20;
    return (middle){KVI_MIN(KVI_MAX(half, lo), hi), KVI_MAX(half - slack, lo),
                    KVI_MIN(half + slack, hi)};
}

/* The even division, moved a little for a shorter separator. */
static unsigned split_even(const kvi_seq *seq, unsigned lo, unsigned hi, bool uniform)
{
    unsigned count = kvi_seq_count(seq);
    middle mid = uniform ? uniform_middle(lo, hi, count) : seq_middle(seq, lo, hi, count);
    unsigned best_at = mid.at;
    uint32_t best = separator_len(seq, mid.at);
    for (unsigned at = mid.from; at <= mid.to; at++) {
        uint32_t len = separator_len(seq, at);
        if (len < best || (len == best && distance(at, mid.at) < distance(best_at, mid.at))) {
            best = len;
            best_at = at;
        }
    }
    return best_at;
}

/* Branches whose keys come in groups, such as the pages of one site after those of another: a node
 * that ends between two groups has much shorter keys behind its prefix. The place in [lo, hi] whose
 * neighbours share least, if that is much less than at the place that was chosen. */
static unsigned split_seam(const kvi_seq *seq, unsigned lo, unsigned hi, unsigned chosen)
{
    uint32_t least = kvi_seq_common(seq, chosen - 1, chosen);
    unsigned best = chosen;
    if (least < SEAM)
        return chosen;
    least -= SEAM - 1;
    for (unsigned at = lo; at <= hi; at++) {
        uint32_t common = kvi_seq_common(seq, at - 1, at);
        if (common < least ||
            (common == least && best != chosen && distance(at, chosen) < distance(best, chosen))) {
            least = common;
            best = at;
        }
    }
    return best;
}

/* At least half of what could be on one side, or an eighth on each. */
static unsigned branch_seam(const kvi_seq *seq, enum kvi_split how, unsigned at)
{
    unsigned count = kvi_seq_count(seq);
    unsigned lo = count / 8, hi = count - count / 8;
    if (how == KVI_SPLIT_APPEND) {
        lo = at / 2;
        hi = at;
    } else if (how == KVI_SPLIT_PREPEND) {
        lo = at;
        hi = at + (count - at) / 2;
    }
    return split_seam(seq, KVI_MAX(lo, 2), KVI_MIN(hi, count - 2), at);
}

/* How many elements end with the literal item. */
static unsigned newcomer_end(const kvi_seq *seq)
{
    unsigned end = 0;
    for (unsigned i = 0; i < seq->n_parts; i++) {
        if (!seq->parts[i].page)
            return end + 1;
        end += seq->parts[i].to - seq->parts[i].from;
    }
    return end;
}

unsigned kvi_seq_split_point(const kvi_seq *seq, enum kvi_split how)
{
    unsigned count = kvi_seq_count(seq), at;
    if (count < 2)
        return 0;
    /* a branch with a single child is legal, but of little use */
    unsigned edge = seq->level > 0 && count >= 4 ? 2 : 1;
    unsigned lo = edge, hi = count - edge;
    kvi_measure each = {0};
    bool uniform = seq_uniform(seq, &each);
    if (how == KVI_SPLIT_APPEND)
        at = last_fit(seq, 0, lo, hi);
    else if (how == KVI_SPLIT_PREPEND)
        at = first_fit(seq, lo, hi, count);
    else if (how == KVI_SPLIT_RUN)
        at = KVI_MIN(KVI_MAX(newcomer_end(seq), lo), hi);
    else
        at = split_even(seq, lo, hi, uniform);
    unsigned seam = edge == 2 ? branch_seam(seq, how, at) : at;
    if (seam != at && range_fits(seq, 0, seam) && range_fits(seq, seam, count))
        return seam;
    if (uniform && uniform_fits(seq, &each, KVI_MAX(at, count - at)))
        return at;
    bool left = range_fits(seq, 0, at), right = range_fits(seq, at, count);
    if (left && right)
        return at;
    if (!left && !right)
        return 0;
    at = left ? first_fit(seq, at, hi, count) : last_fit(seq, 0, lo, at);
    return range_fits(seq, 0, at) && range_fits(seq, at, count) ? at : 0;
}

size_t kvi_seq_separator(const kvi_seq *seq, unsigned at, size_t same_len, uint8_t *out)
{
    uint8_t room[KVI_KEY_ROOM];
    kvi_reader r = kvi_reader_at(seq, at);
    kvi_slice key = kvi_reader_key(&r, room);
    size_t len = key.len;
    if (seq->level == 0) {
        len = KVI_MIN(len, kvi_seq_common(seq, at - 1, at) + 1);
        if (same_len > len && same_len <= KVI_MIN(key.len, len + LONGER))
            len = same_len;
    }
    if (len > 0)
        memcpy(out, key.ptr, len);
    return len;
}

size_t kvi_branch_same_len(const uint8_t *page)
{
    unsigned fixed_key = kvi_get16(page + KVI_P_fixed_key);
    if (kvi_node_count(page) == 0)
        return 4;
    return fixed_key ? kvi_get16(page + KVI_P_prefix_len) + fixed_key - 1 : 0;
}
