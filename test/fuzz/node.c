/* node.c - target `node`: one page of a tree.
 *
 *   byte 0     bit 0: hostile page images, else operations; bits 1 and 2: page size; bits 3 and 4:
 *              level of the node; bit 5: KVI_NODE_EXPIRY on hostile branches
 *   then       operations against a sorted array; or changes to a node that was built, which then goes
 *              through the validator and every function that reads, whatever the validator said
 *
 * Every buffer has its exact size, so that a sanitizer sees a step too far. */
#include "fuzz.h"
#include "entry.h"
#include "judge.h"
#include "node_scan.h"
#include <stdlib.h>

#define ELEMENTS 4096
#define OPS      200
#define NEWEST   256
#define HIGH     65600 /* just above the pages that children have */

typedef struct element {
    uint8_t *key, *value;
    size_t key_len, value_len;
    kvi_ptr child;
    uint64_t tally;
    bool special;
} element;

typedef struct bench {
    fuzz_in *in;
    uint32_t page_size;
    unsigned level;
    uint8_t *page, *scratch;
    element *at; /* of a branch, the first one's key does not count */
    unsigned n;
} bench;

static void *exact(size_t size)
{
    void *p = malloc(size + !size);
    if (!p)
        fuzz_fail("no memory");
    return p;
}

/* ---- keys and values out of few bytes of input ---- */

/* Short and alike, or with a long common beginning. */
static size_t take_key(bench *b, uint8_t *out)
{
    static const size_t stems[] = {0, 0, 3, 12, 15, 16, 17, 60};
    unsigned how = (unsigned)fuzz_take(b->in, 1);
    size_t max = kvi_key_max(b->page_size), len = KVI_MIN(stems[how % 8], max);
    memset(out, 'p', len);
    kvi_slice rest = fuzz_bytes(b->in, how / 8 % 9);
    len += rest.len;
    if (rest.len > 0 && len <= max)
        memcpy(out + len - rest.len, rest.ptr, rest.len);
    if (how >= 250)
        memset(out, how & 1, len = max);
    return KVI_MIN(len, max);
}

static kvi_ptr take_child(bench *b)
{
    kvi_pgno first = kvi_first_page(b->page_size);
    return (kvi_ptr){first + fuzz_take(b->in, 2), 1 + fuzz_take(b->in, 1)};
}

static size_t take_value_len(bench *b, size_t key_len)
{
    static const uint16_t lens[] = {0, 0, 8, 8, 20, 100, 127, 128, 400, 0xffff};
    size_t room = kvi_leaf_max(b->page_size) - key_len, how = fuzz_take(b->in, 1);
    return KVI_MIN(how < 100 ? how % 40 : lens[how % KVI_COUNT(lens)], room);
}

static element take_element(bench *b)
{
    uint8_t key[KVI_PAGE_MAX];
    element e = {.key_len = take_key(b, key)};
    e.key = exact(e.key_len);
    memcpy(e.key, key, e.key_len);
    if (b->level == 0) {
        e.value_len = take_value_len(b, e.key_len);
        e.special = fuzz_take(b->in, 1) % 16 == 0;
    } else {
        e.child = take_child(b);
        e.tally = fuzz_take(b->in, b->level == 1 ? 2 : 4);
    }
    e.value = exact(e.value_len);
    memset(e.value, (int)(e.key_len + 3 * e.value_len), e.value_len);
    return e;
}

static void element_free(element *e)
{
    free(e->key);
    free(e->value);
}

static kvi_item item_of(const element *e)
{
    return (kvi_item){.key = {e->key, e->key_len},
                      .value = {e->value, e->value_len},
                      .special = e->special,
                      .child = e->child,
                      .tally = e->tally};
}

/* ---- the array ---- */

static unsigned array_find(const bench *b, kvi_slice key, bool *found)
{
    unsigned lo = b->level > 0, hi = b->n;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        if (kvi_slice_compare((kvi_slice){b->at[mid].key, b->at[mid].key_len}, key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *found =
        lo < b->n && kvi_slice_compare((kvi_slice){b->at[lo].key, b->at[lo].key_len}, key) == 0;
    return lo;
}

static void array_insert(bench *b, unsigned pos, element e)
{
    FUZZ_MUST(b->n < ELEMENTS);
    memmove(&b->at[pos + 1], &b->at[pos], (b->n - pos) * sizeof e);
    b->at[pos] = e;
    b->n++;
}

static void array_remove(bench *b, unsigned pos)
{
    element_free(&b->at[pos]);
    b->n--;
    memmove(&b->at[pos], &b->at[pos + 1], (b->n - pos) * sizeof b->at[0]);
}

/* ---- operations ---- */

static void op_insert(bench *b)
{
    bool found, there = false;
    element e = take_element(b);
    kvi_item item = item_of(&e);
    unsigned i = array_find(b, item.key, &found);
    bool fits = false;
    if (b->level == 0) {
        FUZZ_MUST(kvi_leaf_search(b->page, b->page_size, item.key, &there) == i && there == found);
        fits = !found && kvi_leaf_insert(b->page, b->page_size, b->scratch, i, &item);
    } else {
        FUZZ_MUST(kvi_branch_search(b->page, b->page_size, item.key) == i - 1 + found);
        fits = !found && kvi_branch_insert(b->page, b->page_size, b->scratch, i - 1, &item);
    }
    /* one that is less than a quarter full takes any entry */
    FUZZ_MUST(fits || found || kvi_node_used(b->page, b->page_size) > b->page_size / 4);
    if (fits)
        array_insert(b, i, e);
    else
        element_free(&e);
}

static void op_replace(bench *b)
{
    element e = take_element(b);
    bool found;
    kvi_item item = item_of(&e);
    unsigned i = array_find(b, item.key, &found);
    bool fits = false;
    if (b->level == 0 && found)
        fits = kvi_leaf_replace(b->page, b->page_size, b->scratch, i, &item);
    else if (b->level > 0 && !found && i > 1 && i - 1 < b->n) {
        /* between its neighbours the separator before i may have this key */
        fits = kvi_branch_set_key(b->page, b->page_size, b->scratch, i - 2, item.key);
        i--;
        e.child = b->at[i].child;
        e.tally = b->at[i].tally;
    }
    if (!fits) {
        element_free(&e);
        return;
    }
    element_free(&b->at[i]);
    b->at[i] = e;
}

static void op_remove(bench *b)
{
    if (b->n == (b->level > 0))
        return;
    unsigned i = (unsigned)(fuzz_take(b->in, 2) % b->n);
    if (b->level == 0) {
        kvi_leaf_remove(b->page, b->page_size, i);
    } else {
        kvi_branch_remove(b->page, b->page_size, i);
        if (i == 0 && b->n > 1) { /* the separator behind it goes, too */
            element_free(&b->at[1]);
            b->at[1].key = exact(0);
            b->at[1].value = exact(0);
            b->at[1].key_len = b->at[1].value_len = 0;
        }
    }
    array_remove(b, i);
}

static void op_child(bench *b)
{
    if (b->level == 0)
        return;
    unsigned i = (unsigned)(fuzz_take(b->in, 2) % b->n);
    b->at[i].child = take_child(b);
    b->at[i].tally = fuzz_take(b->in, 2);
    kvi_branch_set_child(b->page, b->page_size, i, b->at[i].child);
    kvi_branch_set_tally(b->page, b->page_size, i, b->at[i].tally);
}

static void op_pack(bench *b)
{
    kvi_node_pack(b->page, b->page_size, b->scratch);
}

/* Builds the node anew out of the elements on one side of a division. */
static void op_split(bench *b)
{
    kvi_part part = {.page = b->page, .to = b->n};
    kvi_seq seq = {&part, 1, b->level, b->page_size, 0};
    enum kvi_split how = (enum kvi_split)fuzz_below(b->in, 3);
    FUZZ_MUST(kvi_seq_count(&seq) == b->n);
    if (b->n < 4)
        return;
    unsigned at = kvi_seq_split_point(&seq, how);
    FUZZ_MUST(at > 0 && at < b->n);
    uint8_t key[KVI_PAGE_MAX / 4];
    size_t len = kvi_seq_separator(&seq, at, fuzz_take(b->in, 1) % 20, key);
    kvi_slice right = {b->at[at].key, b->at[at].key_len}, separator = {key, len};
    FUZZ_MUST(kvi_slice_compare(separator, right) <= 0);
    if (b->level == 0)
        FUZZ_MUST(kvi_slice_compare((kvi_slice){b->at[at - 1].key, b->at[at - 1].key_len},
                                    separator) < 0);
    bool left = fuzz_take(b->in, 1) & 1;
    FUZZ_MUST(kvi_node_build(&seq, left ? 0 : at, left ? at : b->n, b->scratch));
    memcpy(b->page, b->scratch, b->page_size);
    while (b->n > at && left)
        array_remove(b, b->n - 1);
    for (unsigned i = at; i > 0 && !left; i--)
        array_remove(b, 0);
}

/* ---- comparing ---- */

static void compare_key(const bench *b, unsigned i, const element *e)
{
    uint8_t key[KVI_PAGE_MAX / 4];
    size_t len = kvi_node_key(b->page, b->page_size, i, key);
    FUZZ_MUST(len == e->key_len && (len == 0 || memcmp(key, e->key, len) == 0));
}

static void compare_leaf(const bench *b)
{
    for (unsigned i = 0; i < b->n; i++) {
        const element *e = &b->at[i];
        bool special, there;
        kvi_slice value = kvi_leaf_value(b->page, b->page_size, i, &special);
        compare_key(b, i, e);
        FUZZ_MUST(special == e->special && value.len == e->value_len);
        FUZZ_MUST(value.len == 0 || memcmp(value.ptr, e->value, value.len) == 0);
        there =
            kvi_leaf_find(b->page, b->page_size, (kvi_slice){e->key, e->key_len}, &value, &special);
        FUZZ_MUST(there && value.len == e->value_len);
    }
}

static void compare_branch(const bench *b)
{
    uint64_t rank = 0;
    for (unsigned i = 0; i < b->n; i++) {
        const element *e = &b->at[i];
        kvi_ptr child = kvi_branch_child(b->page, b->page_size, i);
        FUZZ_MUST(child.page == e->child.page && child.birth == e->child.birth);
        FUZZ_MUST(kvi_branch_tally(b->page, b->page_size, i) == e->tally);
        FUZZ_MUST(kvi_branch_rank(b->page, b->page_size, i) == rank);
        rank += e->tally;
        if (i > 0)
            compare_key(b, i - 1, e);
    }
}

static void compare(const bench *b)
{
    FUZZ_MUST(kvi_node_validate(b->page, b->page_size, (int)b->level, HIGH, NEWEST) == 0);
    FUZZ_MUST(kvi_node_count(b->page) + (b->level > 0) == b->n);
    if (b->level == 0)
        compare_leaf(b);
    else
        compare_branch(b);
}

static void run_operations(bench *b)
{
    static void (*const ops[])(bench *) = {op_insert, op_insert, op_insert, op_insert, op_replace,
                                           op_remove, op_child,  op_pack,   op_split};
    for (unsigned i = 0; i < OPS && fuzz_more(b->in); i++) {
        ops[fuzz_below(b->in, KVI_COUNT(ops))](b);
        if (i % 16 == 15)
            compare(b);
    }
    compare(b);
}

/* ---- hostile pages ---- */

static uint64_t touched;

static void touch(kvi_slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        touched += bytes.ptr[i];
}

/* Answers of functions that nobody should need: they must not leave the page. */
static void read_leaf(const bench *b, unsigned n)
{
    uint8_t *keys = exact(4 * (kvi_key_max(b->page_size) + KVI_SCAN_SLACK));
    uint8_t *key = exact(kvi_key_max(b->page_size) + KVI_SCAN_SLACK);
    kv_pair pairs[64];
    kvi_plain plain;
    bool flag;
    kvi_slice value;
    touched += kvi_entries_valid(b->page, b->page_size, HIGH, NEWEST);
    for (unsigned i = 0; i < n; i++) {
        touch(kvi_leaf_value(b->page, b->page_size, i, &flag));
        kvi_slice name = {key, kvi_node_key(b->page, b->page_size, i, key)};
        FUZZ_MUST(name.len <= kvi_key_max(b->page_size));
        touched += kvi_leaf_search(b->page, b->page_size, name, &flag);
        if (kvi_leaf_find(b->page, b->page_size, name, &value, &flag))
            touch(value);
        (void)kvi_leaf_follows(b->page, b->page_size, name);
    }
    kvi_plain_look(&plain, b->page, b->page_size);
    for (unsigned i = 0; i < plain.slots; i++) {
        uint32_t at = kvi_plain_at(&plain, i);
        if (at > 0)
            kvi_plain_key(&plain, i, at, key);
    }
    for (unsigned from = 0; from < n; from += 64) {
        kvi_scan scan = {.from = from, .n = KVI_MIN(n - from, 64), .up = true};
        scan.pairs = pairs;
        scan.keys = keys;
        scan.room = 4 * (kvi_key_max(b->page_size) + KVI_SCAN_SLACK);
        unsigned got = kvi_leaf_scan(&plain, &scan);
        for (unsigned i = 0; i < got; i++)
            touch((kvi_slice){pairs[i].value.ptr, pairs[i].value.len});
    }
    free(keys);
    free(key);
}

static void read_branch(const bench *b, unsigned n)
{
    uint8_t *key = exact(kvi_key_max(b->page_size));
    uint64_t all = kvi_branch_rank(b->page, b->page_size, n);
    kvi_ptr child;
    for (unsigned i = 0; i < n; i++) {
        kvi_slice name = {key, kvi_node_key(b->page, b->page_size, i, key)};
        FUZZ_MUST(name.len <= kvi_key_max(b->page_size));
        touched += kvi_branch_search(b->page, b->page_size, name);
        touched += kvi_branch_find(b->page, b->page_size, name, &child);
        touched += kvi_branch_child(b->page, b->page_size, i).page;
        touched += kvi_branch_expiry(b->page, b->page_size, i);
        touched += kvi_branch_rank(b->page, b->page_size, i);
    }
    for (uint64_t nth = 0, step = all / 16 + 1; nth < all && nth + step > nth; nth += step) {
        uint64_t inside = nth;
        touched += kvi_branch_nth(b->page, b->page_size, &inside);
    }
    free(key);
}

static void change_page(bench *b)
{
    static const uint8_t fields[] = {
        KVI_P_type,       KVI_P_level,     KVI_P_count,       KVI_P_heap,        KVI_P_dead,
        KVI_P_prefix_len, KVI_P_fixed_key, KVI_P_fixed_value, KVI_P_hint_stride, KVI_P_flags};
    unsigned how = (unsigned)fuzz_take(b->in, 1);
    if (how < 160) {
        size_t at = fields[how % KVI_COUNT(fields)];
        uint64_t number = fuzz_awkward(b->in);
        b->page[at] = (uint8_t)number;
        if (at != KVI_P_type && at != KVI_P_level)
            b->page[at + 1] = (uint8_t)(number >> 8);
        return;
    }
    size_t at = fuzz_take(b->in, how < 200 ? 1 : 2) % (b->page_size - 64);
    at = how & 1 ? b->page_size - 1 - at : at + 64;
    b->page[at] = (uint8_t)fuzz_take(b->in, 1);
}

static void run_hostile(bench *b)
{
    uint8_t elements = (uint8_t)fuzz_take(b->in, 1), changes = 1 + (uint8_t)fuzz_take(b->in, 1) % 8;
    for (unsigned i = 0; i < elements && b->n < 100; i++)
        op_insert(b);
    for (unsigned i = 0; i < changes && fuzz_more(b->in); i++)
        change_page(b);
    int broken = kvi_node_validate(b->page, b->page_size, -1, HIGH, NEWEST);
    int judged = judge_node(b->page, b->page_size, HIGH, NEWEST);
    if (broken != judged)
        fuzz_fail("a node breaks N%d, but is said to break N%d", judged, broken);
    unsigned n = KVI_MIN(kvi_node_count(b->page), b->page_size / 4);
    if (b->page[KVI_P_type] == KVI_LEAF)
        read_leaf(b, n);
    else
        read_branch(b, n);
    if (broken)
        return;
    /* what the validator lets through can be changed */
    b->level = kvi_node_level(b->page);
    if (b->n > 0 && b->level == 0 && n > 0) {
        kvi_leaf_remove(b->page, b->page_size, n / 2);
        FUZZ_MUST(kvi_node_validate(b->page, b->page_size, 0, HIGH, NEWEST) == 0);
    }
    kvi_node_pack(b->page, b->page_size, b->scratch);
    FUZZ_MUST(kvi_node_validate(b->page, b->page_size, -1, HIGH, NEWEST) == 0);
}

int fuzz_node(const uint8_t *data, size_t len)
{
    fuzz_in in = {data, data + len};
    unsigned how = (unsigned)fuzz_take(&in, 1);
    bench b = {.in = &in, .page_size = (uint32_t)KVI_PAGE_MIN << (how >> 1 & 3)};
    b.level = (how >> 3 & 3) > 1 ? how >> 3 & 1 : how >> 2 & 2;
    b.page = exact(b.page_size);
    b.scratch = exact(b.page_size);
    b.at = exact(ELEMENTS * sizeof *b.at);
    if (b.level == 0) {
        kvi_leaf_init(b.page, b.page_size);
    } else {
        element first = {.key = exact(0), .value = exact(0), .child = take_child(&b), .tally = 7};
        kvi_branch_init(b.page, b.page_size, b.level, first.child, first.tally);
        array_insert(&b, 0, first);
    }
    if (how & 1)
        run_hostile(&b);
    else
        run_operations(&b);
    while (b.n > 0)
        array_remove(&b, b.n - 1);
    free(b.page);
    free(b.scratch);
    free(b.at);
    return 0;
}
