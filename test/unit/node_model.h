/* node_model.h - what the node tests share: random keys and values, and a plain sorted array that
 * does what a node does. Every buffer has its exact size, so that AddressSanitizer sees a step too
 * far. */
#ifndef NODE_MODEL_H
#define NODE_MODEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "node_quick.h"

#define HIGH_WATER 1000000
#define NEWEST     5000
#define MODEL_MAX  20000 /* elements: more than a page of 64 KiB holds */

static const uint32_t page_sizes[] = {512, 1024, 2048, 4096, 8192, 16384, 32768, 65536};

/* ---- chance ---- */

static uint64_t chance_state;

static inline uint64_t chance64(void)
{
    uint64_t z = (chance_state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static inline unsigned chance(unsigned below)
{
    return (unsigned)(chance64() % below);
}

static inline void chance_bytes(uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)chance64();
}

static inline void *exact(size_t size)
{
    void *p = malloc(size ? size : 1);
    assert_non_null(p);
    return p;
}

/* ---- keys and values ---- */

typedef struct blob {
    uint8_t *ptr;
    size_t len;
} blob;

static inline blob blob_of(const void *ptr, size_t len)
{
    blob b = {exact(len), len};
    if (len)
        memcpy(b.ptr, ptr, len);
    return b;
}

static inline kvi_slice blob_slice(blob b)
{
    return kvi_slice_of(b.ptr, b.len);
}

enum key_kind {
    KEY_TINY,     /* few bytes, few values, zeros among them */
    KEY_RUN,      /* one byte repeated: each a prefix of the longer ones */
    KEY_INT8,     /* 8 bytes, near each other */
    KEY_RANDOM16, /* 16 bytes */
    KEY_PREFIX,   /* a long common prefix */
    KEY_SIXTEEN,  /* differ around the 16th byte */
    KEY_LONG,     /* any length, same start */
    KEY_INT4,     /* 4 bytes */
    KEY_CLOSE,    /* 11 bytes, the last three of few values, zeros among them */
    KEY_KINDS
};

static inline size_t key_fill(uint8_t *key, enum key_kind kind, uint32_t max)
{
    static const uint8_t tiny[] = {0, 0, 1, 'a', 0xff};
    size_t len = 0, base = 0;
    switch (kind) {
    case KEY_RUN:
        len = chance(chance(4) ? 40 : max + 1);
        memset(key, chance(20) ? 'r' : 0, len);
        return len;
    case KEY_INT8:
        memset(key, 0, 5);
        chance_bytes(key + 5, 3);
        key[5] &= 1;
        return 8;
    case KEY_RANDOM16:
        chance_bytes(key, 16);
        return 16;
    case KEY_CLOSE:
        memset(key, 'p', 8);
        for (; len < 3; len++)
            key[8 + len] = tiny[chance(sizeof tiny)];
        return 11;
    case KEY_INT4:
        chance_bytes(key, 4);
        return 4;
    case KEY_LONG:
        len = chance(max + 1);
        chance_bytes(key, len);
        memset(key, 7, chance((unsigned)len + 1));
        return len;
    case KEY_PREFIX:
        base = max / 2;
        break;
    case KEY_SIXTEEN:
        base = 12 + chance(8);
        break;
    default:
        break;
    }
    memset(key, 'p', base);
    len = base + chance(kind == KEY_TINY ? 7 : 12);
    for (size_t i = base; i < len; i++)
        key[i] = tiny[chance(sizeof tiny)];
    return len;
}

static inline blob key_random(enum key_kind kind, uint32_t page_size)
{
    uint8_t bytes[KVI_PAGE_MAX / 4];
    return blob_of(bytes, key_fill(bytes, kind, kvi_key_max(page_size)));
}

enum value_kind { VALUE_NONE, VALUE_FIXED, VALUE_SHORT, VALUE_ANY, VALUE_KINDS };

static inline blob value_random(enum value_kind kind, uint32_t room)
{
    static uint8_t bytes[KVI_PAGE_MAX];
    size_t len = 0;
    if (kind == VALUE_FIXED)
        len = 20;
    else if (kind == VALUE_SHORT)
        len = chance(30);
    else if (kind == VALUE_ANY)
        len = chance(8) ? chance(200) : chance(room + 1);
    len = KVI_MIN(len, room);
    chance_bytes(bytes, len);
    return blob_of(bytes, len);
}

/* ---- the model: elements in order. Of a branch, the first one's key does not count ---- */

typedef struct element {
    blob key, value;
    bool special;
    kvi_ptr child;
    uint64_t tally, expiry;
} element;

typedef struct model {
    unsigned n;
    unsigned level;
    uint32_t page_size;
    element *at;
} model;

static inline model model_new(uint32_t page_size, unsigned level)
{
    return (model){0, level, page_size, exact(MODEL_MAX * sizeof(element))};
}

static inline void element_free(element *e)
{
    free(e->key.ptr);
    free(e->value.ptr);
}

static inline void model_clear(model *m)
{
    while (m->n > 0)
        element_free(&m->at[--m->n]);
}

static inline void model_free(model *m)
{
    model_clear(m);
    free(m->at);
}

/* The number of elements in [from, n) with a smaller key, plus from. */
static inline unsigned model_lower(const model *m, unsigned from, kvi_slice key, bool *found)
{
    unsigned lo = from, hi = m->n;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        if (kvi_slice_compare(blob_slice(m->at[mid].key), key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *found = lo < m->n && kvi_slice_compare(blob_slice(m->at[lo].key), key) == 0;
    return lo;
}

static inline void model_insert(model *m, unsigned pos, element e)
{
    assert_true(m->n < MODEL_MAX);
    memmove(&m->at[pos + 1], &m->at[pos], (m->n - pos) * sizeof e);
    m->at[pos] = e;
    m->n++;
}

static inline void model_remove(model *m, unsigned pos)
{
    element_free(&m->at[pos]);
    m->n--;
    memmove(&m->at[pos], &m->at[pos + 1], (m->n - pos) * sizeof m->at[0]);
}

/* Takes elements [from, to) out, as a model of their own. */
static inline model model_cut(model *m, unsigned from, unsigned to)
{
    model out = model_new(m->page_size, m->level);
    out.n = to - from;
    memcpy(out.at, &m->at[from], out.n * sizeof m->at[0]);
    memmove(&m->at[from], &m->at[to], (m->n - to) * sizeof m->at[0]);
    m->n -= out.n;
    return out;
}

static inline kvi_item element_item(const element *e)
{
    return (kvi_item){
        .key = blob_slice(e->key),
        .value = blob_slice(e->value),
        .special = e->special,
        .child = e->child,
        .tally = e->tally,
        .expiry = e->expiry,
    };
}

static inline kvi_ptr child_random(uint32_t page_size)
{
    kvi_pgno first = kvi_first_page(page_size);
    return (kvi_ptr){first + chance64() % (HIGH_WATER - first), 1 + chance(NEWEST)};
}

static inline element element_random(const model *m, enum key_kind keys, enum value_kind values)
{
    element e = {.key = key_random(keys, m->page_size)};
    if (m->level == 0) {
        e.value = value_random(values, kvi_leaf_max(m->page_size) - (uint32_t)e.key.len);
        e.special = values >= VALUE_SHORT && chance(8) == 0;
    } else {
        e.value = blob_of("", 0);
        e.child = child_random(m->page_size);
        e.tally = m->level == 1 ? chance(65536) : chance64() >> 20;
        e.expiry = chance64();
    }
    return e;
}

/* Bytes of a node out of elements [from, to), by the rules in node.h. */
static inline size_t model_bytes(const model *m, unsigned from, unsigned to, bool expiry)
{
    unsigned first = from + (m->level > 0), n = to - first;
    bool same_keys = n > 0, same_values = n > 0 && m->level == 0;
    size_t prefix = 0, tails = 0, bytes = KVI_HEADER_SIZE;
    const element *e = &m->at[first], *last = &m->at[to - 1];
    if (n == 1)
        prefix = e->key.len > 4 ? e->key.len - 4 : 0;
    else if (n > 1)
        while (prefix < e->key.len && prefix < last->key.len &&
               e->key.ptr[prefix] == last->key.ptr[prefix])
            prefix++;
    for (unsigned i = first; i < to; i++) {
        same_keys &= m->at[i].key.len == e->key.len && !m->at[i].special;
        same_values &= m->at[i].value.len == e->value.len;
    }
    for (unsigned i = first; i < to; i++) {
        size_t suffix = m->at[i].key.len - prefix, value = m->at[i].value.len;
        tails += suffix > 4 ? suffix - 4 : 0;
        tails += same_keys ? 0 : kvi_varint_size(m->level ? suffix : suffix * 2);
        tails += m->level ? 0 : value + (same_values ? 0 : kvi_varint_size(value));
    }
    bool head_only = same_keys && e->key.len - prefix <= 4 &&
                     (m->level > 0 || (same_values && e->value.len == 0));
    bytes += n >= 32 ? 64 : 0;
    bytes += n * (head_only ? 4 : 6) + tails + (prefix > 16 ? prefix - 16 : 0);
    if (m->level > 0)
        bytes += (n + 1) * (size_t)(12 + (m->level == 1 ? 2 : 8) + (expiry ? 8 : 0));
    return bytes;
}

/* ---- comparing ---- */

static inline void key_same(const uint8_t *page, uint32_t page_size, unsigned i, kvi_slice key)
{
    uint8_t out[KVI_PAGE_MAX / 4];
    size_t len = kvi_node_key(page, page_size, i, out);
    assert_int_equal(len, key.len);
    if (len)
        assert_memory_equal(out, key.ptr, len);
}

static inline void leaf_same(const uint8_t *page, const model *m)
{
    assert_int_equal(kvi_node_validate(page, m->page_size, 0, HIGH_WATER, NEWEST), 0);
    assert_int_equal(kvi_node_count(page), m->n);
    for (unsigned i = 0; i < m->n; i++) {
        bool special;
        const element *e = &m->at[i];
        kvi_slice value = kvi_leaf_value(page, m->page_size, i, &special);
        key_same(page, m->page_size, i, blob_slice(e->key));
        assert_int_equal(value.len, e->value.len);
        if (value.len)
            assert_memory_equal(value.ptr, e->value.ptr, value.len);
        assert_int_equal(special, e->special);
    }
}

static inline void branch_same(const uint8_t *page, const model *m, bool expiry)
{
    uint64_t rank = 0;
    assert_int_equal(kvi_node_validate(page, m->page_size, (int)m->level, HIGH_WATER, NEWEST), 0);
    assert_int_equal(kvi_node_count(page) + 1, m->n);
    for (unsigned i = 0; i < m->n; i++) {
        const element *e = &m->at[i];
        kvi_ptr child = kvi_branch_child(page, m->page_size, i);
        assert_true(child.page == e->child.page && child.birth == e->child.birth);
        assert_true(kvi_branch_tally(page, m->page_size, i) == e->tally);
        assert_true(kvi_branch_expiry(page, m->page_size, i) == (expiry ? e->expiry : 0));
        if (m->page_size <= 1024 || i == m->n - 1)
            assert_true(kvi_branch_rank(page, m->page_size, i) == rank);
        rank += e->tally;
        if (i > 0)
            key_same(page, m->page_size, i - 1, blob_slice(e->key));
    }
}

/* Searches for key in all ways: the general one, the quick one, and what the quick one falls back to. */
static inline void search_same(const uint8_t *page, const model *m, kvi_slice key)
{
    bool found, expected, special;
    kvi_slice value;
    kvi_ptr child;
    if (m->level == 0) {
        unsigned i = model_lower(m, 0, key, &expected);
        assert_int_equal(kvi_leaf_search(page, m->page_size, key, &found), i);
        assert_int_equal(found, expected);
        assert_int_equal(kvi_leaf_find(page, m->page_size, key, &value, &special), expected);
        if (expected)
            assert_ptr_equal(value.ptr, kvi_leaf_value(page, m->page_size, i, &special).ptr);
    } else {
        unsigned i = model_lower(m, 1, key, &expected) - 1 + expected;
        assert_int_equal(kvi_branch_search(page, m->page_size, key), i);
        assert_int_equal(kvi_branch_find(page, m->page_size, key, &child), i);
        assert_true(child.page == m->at[i].child.page);
        assert_int_equal(kvi_branch_find_any(page, m->page_size, key, &child), i);
        assert_true(child.page == m->at[i].child.page);
    }
}

/* Searches for key, its neighbours and its pieces. */
static inline void search_around(const uint8_t *page, const model *m, kvi_slice key)
{
    blob b = {exact(key.len + 1), key.len};
    if (key.len)
        memcpy(b.ptr, key.ptr, key.len);
    search_same(page, m, key);
    b.ptr[key.len] = 0;
    search_same(page, m, kvi_slice_of(b.ptr, key.len + 1));
    free(b.ptr);
    if (key.len == 0)
        return;
    b = blob_of(key.ptr, key.len);
    b.ptr[key.len - 1]++;
    search_same(page, m, blob_slice(b));
    b.ptr[chance((unsigned)key.len)] ^= (uint8_t)(1 << chance(8));
    search_same(page, m, blob_slice(b));
    free(b.ptr);
    b = blob_of(key.ptr, chance((unsigned)key.len));
    search_same(page, m, blob_slice(b));
    free(b.ptr);
}

/* Searches: for every key and around it in small nodes, for some in big ones. */
static inline void search_all(const uint8_t *page, const model *m)
{
    unsigned first = m->level > 0, step = 1 + m->n / 300;
    for (unsigned i = first; i < m->n; i += step)
        search_around(page, m, blob_slice(m->at[i].key));
}

/* A sequence of one literal part per element. */
static inline bool build_literal(const model *m, unsigned from, unsigned to, uint16_t flags,
                                 uint8_t *page)
{
    kvi_item *items = exact((m->n + 1) * sizeof *items);
    kvi_part *parts = exact((m->n + 1) * sizeof *parts);
    for (unsigned i = 0; i < m->n; i++) {
        items[i] = element_item(&m->at[i]);
        parts[i] = (kvi_part){.item = &items[i]};
    }
    kvi_seq seq = {parts, m->n, m->level, m->page_size, flags};
    bool fits = kvi_node_build(&seq, from, to, page);
    free(items);
    free(parts);
    return fits;
}

#endif
