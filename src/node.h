/* node.h - one tree page in a buffer: search, insert, remove, split. No I/O, no allocation.
 *
 * Leaf                                             Branch (count separators, count + 1 children)
 *   0   header, 64 bytes                             0   header
 *   64  hint line (16 heads), if hint_stride != 0    64  hint line, if hint_stride != 0
 *   H   heads     u32[count]                         H   heads     u32[count]
 *       offsets   u16[count], unless head-only           offsets   u16[count], unless head-only
 *       ...free...                                       children  12 bytes [count + 1]
 *       heap, down from the end of the page              tallies   u16 (level 1) or u64 [count + 1]
 *   P-t prefix bytes beyond the first 16                 expiries  u64[count + 1], if KVI_NODE_EXPIRY
 *                                                        ...free..., heap, prefix tail
 *
 * The keys of a node share its prefix (first 16 bytes in the header, the rest at the page's end).
 * A key's suffix = the bytes after the prefix. Its first 4 bytes, big-endian and padded with
 * zeros, are the head; the heap keeps only the tail, the bytes after those four:
 *
 *   leaf heap entry:   [suffix_len << 1 | special, varint] [value_len, varint] tail value
 *   branch heap entry: [suffix_len, varint] tail
 *
 * fixed_key = suffix_len + 1 when all keys have the same suffix length and no entry is special;
 * then the first varint is absent. fixed_value = value_len + 1 when all values have the same
 * length; then the second is absent. Both are 0 otherwise, and in a node without keys; a branch
 * has no fixed_value. A branch with 1 <= fixed_key <= 5, and a leaf with that and fixed_value = 1,
 * keep nothing in the heap: they are head-only and have no offsets.
 * offsets[i] = distance from the page's start to entry i.
 * heap = bytes from the lowest used heap byte to the page's end (prefix tail included), dead =
 * those of them that belong to removed entries.
 * Hint number i (0..15) is head number (i + 1) * hint_stride; a node with hints has more than 16
 * strides of keys. Usually hint_stride = count / 17.
 *
 * Order of keys with equal heads: by tail bytes, then by suffix length.
 *
 * Invariants (numbers appear in check messages; N for node):
 *   N1 type and level fit what the parent expects; a leaf's level is 0, a branch's 1..31
 *   N2 the arrays and the heap lie inside the page and do not overlap; the heap consists of
 *      entries, dead bytes and the prefix tail
 *   N3 every entry lies inside the heap, apart from the others, with lengths inside the limits:
 *      keys kvi_key_max, in leaves key and value together kvi_leaf_max
 *   N4 keys ascend strictly
 *   N5 hints are the sampled heads
 *   N6 heads of suffixes shorter than four bytes are padded with zeros
 *   N7 children are page numbers from the first page after the metas to the high-water mark,
 *      births 1..snapshot id
 *   N8 the page names itself (number, birth) as its pointer does
 *   N9 the checksum is right
 */
#ifndef KVI_NODE_H
#define KVI_NODE_H

#include "form.h"

/* Key plus value bytes (of a special entry: with its flags) that a leaf takes at most: two such
 * entries fit in one node. */
static inline uint32_t kvi_leaf_max(uint32_t page_size)
{
    return (page_size - KVI_HEADER_SIZE - KVI_HINT_LINE) / 2;
}

/* ---- reading; the page is verified or private ----
 *
 * Whatever a page holds, none of the functions here reads or writes outside it: numbers that lead
 * out of the page are clamped, and the answer is then arbitrary. So a mapped page may change after
 * it was verified. Indexes must be those of the node. */

static inline unsigned kvi_node_count(const uint8_t *page)
{
    return kvi_get16(page + KVI_P_count);
}

static inline unsigned kvi_node_level(const uint8_t *page)
{
    return page[KVI_P_level];
}

/* The form of a node on a level that the caller knows, at most KVI_LEVEL_MAX. */
kvi_form kvi_node_form(const uint8_t *page, uint32_t page_size, unsigned level);

/* Leaf: the number of entries with a smaller key. *found: the entry there has this key. */
unsigned kvi_leaf_search(const uint8_t *page, uint32_t page_size, kvi_slice key, bool *found);

/* Branch: the index of the child (0..count) whose range holds the key: the number of separators
 * that are not greater. */
unsigned kvi_branch_search(const uint8_t *page, uint32_t page_size, kvi_slice key);

/* Search and what follows it in one: the child whose range holds the key; the value under it. */
unsigned kvi_branch_find(const uint8_t *page, uint32_t page_size, kvi_slice key, kvi_ptr *child);
bool kvi_leaf_find(const uint8_t *page, uint32_t page_size, kvi_slice key, kvi_slice *value,
                   bool *special);

/* Is key greater than all of a leaf's keys? */
bool kvi_leaf_follows(const uint8_t *page, uint32_t page_size, kvi_slice key);

/* Writes key (or separator) i to out (room for kvi_key_max bytes) and returns its length. */
size_t kvi_node_key(const uint8_t *page, uint32_t page_size, unsigned i, uint8_t *out);

/* The value bytes of leaf entry i, in place. *special: they begin with flags (value.h). */
kvi_slice kvi_leaf_value(const uint8_t *page, uint32_t page_size, unsigned i, bool *special);

kvi_ptr kvi_branch_child(const uint8_t *page, uint32_t page_size, unsigned i);
/* Number of the first child from i on whose birth is 0; count + 1: none. */
unsigned kvi_branch_private(const uint8_t *page, uint32_t page_size, unsigned i);
uint64_t kvi_branch_tally(const uint8_t *page, uint32_t page_size, unsigned i);  /* entries below */
uint64_t kvi_branch_expiry(const uint8_t *page, uint32_t page_size, unsigned i); /* 0 = none */

/* The least expiry below a branch; 0: none, or the branch keeps no expiries. */
uint64_t kvi_branch_least_expiry(const uint8_t *page, uint32_t page_size);

/* KVI_NODE_EXPIRY, if the node keeps expiries. */
static inline uint16_t kvi_node_flags(const uint8_t *page)
{
    return kvi_get16(page + KVI_P_flags) & KVI_NODE_EXPIRY;
}

/* Sum of the tallies of children [0, i). */
uint64_t kvi_branch_rank(const uint8_t *page, uint32_t page_size, unsigned i);

/* The child that holds entry number *nth (0-based) below this branch; *nth becomes the number
 * inside that child. *nth must be less than the sum of all tallies. */
unsigned kvi_branch_nth(const uint8_t *page, uint32_t page_size, uint64_t *nth);

/* Structure of an untrusted page image: N1-N7. 0, or the number of the first broken invariant.
 * expect_level < 0: any. Never reads outside the page, whatever it holds. */
int kvi_node_validate(const uint8_t *page, uint32_t page_size, int expect_level,
                      kvi_pgno high_water, kvi_id newest);

/* ---- writing; the page is a private buffer of page_size bytes ---- */

void kvi_leaf_init(uint8_t *page, uint32_t page_size);

/* A branch with one child and no separator. */
void kvi_branch_init(uint8_t *page, uint32_t page_size, unsigned level, kvi_ptr child,
                     uint64_t tally);

/* One entry of a leaf, or one child of a branch with the separator before it. */
typedef struct kvi_item {
    kvi_slice key;   /* whole key; ignored for the first child of a branch */
    kvi_slice value; /* leaf. ptr NULL with len > 0: zeros, for the caller to fill (reserve) */
    bool special;    /* leaf */
    kvi_ptr child;   /* branch */
    uint64_t tally;  /* branch */
    uint64_t expiry; /* leaf: of the entry, as its value says; branch: below; 0 = none */
} kvi_item;

/* A leaf of one entry. prefix_len: what the entries to come are expected to share. */
void kvi_leaf_open(uint8_t *page, uint32_t page_size, const kvi_item *item, uint32_t prefix_len);

/* Inserts before entry pos (from kvi_leaf_search). In place when it fits as it is; else rebuilds
 * the page through scratch (page_size bytes), which may change prefix, fixed lengths and hints.
 * False: no room, the page is unchanged. The caller may then fetch the place of the value with
 * kvi_leaf_value. */
bool kvi_leaf_insert(uint8_t *page, uint32_t page_size, uint8_t *scratch, unsigned pos,
                     const kvi_item *item) KVI_MUST_CHECK;

/* Replaces the value of entry pos, whose key item->key repeats; as kvi_leaf_insert. */
bool kvi_leaf_replace(uint8_t *page, uint32_t page_size, uint8_t *scratch, unsigned pos,
                      const kvi_item *item) KVI_MUST_CHECK;

void kvi_leaf_remove(uint8_t *page, uint32_t page_size, unsigned pos);

/* Runs. A leaf remembers behind which entry its newest insert ended, and how many inserts in a row
 * each came right behind the one before it, up to KVI_RUN: keys that ascend, amid others. Only of use to
 * choose where to divide; whatever the bytes say does no harm. */
#define KVI_RUN 3

/* How long a run would be with an insert at pos. */
static inline unsigned kvi_leaf_run(const uint8_t *page, unsigned pos)
{
    uint32_t run = kvi_get32(page + KVI_P_run_end), len = run >> 16;
    return (uint16_t)run != pos ? 1 : len < KVI_RUN ? len + 1 : KVI_RUN;
}

static inline void kvi_leaf_set_run(uint8_t *page, unsigned end, unsigned len)
{
    kvi_put32(page + KVI_P_run_end, (uint16_t)end | len << 16);
}

/* Appends an entry when a look at the last head tells that it comes behind the others, and it has the
 * lengths that all of them have; value.ptr must not be NULL then. False: nothing has changed, and the
 * general way may still do it. */
bool kvi_leaf_append(uint8_t *page, uint32_t page_size, kvi_slice key, kvi_slice value);

/* Inserts item's key as separator number pos and item's child as child pos + 1. */
bool kvi_branch_insert(uint8_t *page, uint32_t page_size, uint8_t *scratch, unsigned pos,
                       const kvi_item *item) KVI_MUST_CHECK;

/* Replaces separator pos by another key; children stay. */
bool kvi_branch_set_key(uint8_t *page, uint32_t page_size, uint8_t *scratch, unsigned pos,
                        kvi_slice key) KVI_MUST_CHECK;

/* Removes child i and the separator before it (after it, for i = 0). count must be > 0. */
void kvi_branch_remove(uint8_t *page, uint32_t page_size, unsigned i);

void kvi_branch_set_child(uint8_t *page, uint32_t page_size, unsigned i, kvi_ptr child);

/* Where a tally stands, until the branch next changes: two bytes on level 1, eight above. */
uint8_t *kvi_branch_tally_at(uint8_t *page, uint32_t page_size, unsigned i);
void kvi_branch_add_tally(uint8_t *page, uint32_t page_size, unsigned i, int64_t delta);
void kvi_branch_set_tally(uint8_t *page, uint32_t page_size, unsigned i, uint64_t tally);

/* Only in a branch that keeps expiries. */
void kvi_branch_set_expiry(uint8_t *page, uint32_t page_size, unsigned i, uint64_t expiry);

/* Makes a branch keep expiries: none so far. False: no room, the page is unchanged; it then has four
 * children at least. */
bool kvi_branch_widen(uint8_t *page, uint32_t page_size, uint8_t *scratch) KVI_MUST_CHECK;

/* Bytes in use by header, arrays and live heap entries; page_size - this is the free space. */
uint32_t kvi_node_used(const uint8_t *page, uint32_t page_size);

/* Makes the free space one zeroed gap without dead heap bytes, so that no stale memory reaches the
 * disk. Called before a page is sealed. */
void kvi_node_pack(uint8_t *page, uint32_t page_size, uint8_t *scratch);

/* ---- building pages out of pieces of others: split, merge, redistribution ----
 *
 * A sequence is the concatenation of parts. Elements of leaves are entries; elements of branches
 * are children, each with the separator before it (of a page's own first child: first_key). */
typedef struct kvi_part {
    const uint8_t *page; /* elements [from, to) of this node, or NULL: one literal item */
    unsigned from, to;
    kvi_slice first_key;  /* branch pages with from == 0: the separator before child 0 */
    const kvi_item *item; /* literal */
} kvi_part;

typedef struct kvi_seq {
    const kvi_part *parts;
    unsigned n_parts;
    unsigned level; /* 0: leaves */
    uint32_t page_size;
    uint16_t flags; /* branches: KVI_NODE_EXPIRY, if a part keeps expiries */
} kvi_seq;

unsigned kvi_seq_count(const kvi_seq *seq);

/* Builds a node out of elements [from, to) into page (a buffer that no part lives in). False when
 * they do not fit. */
bool kvi_node_build(const kvi_seq *seq, unsigned from, unsigned to, uint8_t *page) KVI_MUST_CHECK;

/* Where to divide. */
enum kvi_split {
    KVI_SPLIT_EVEN,    /* equal bytes, moved a little for a shorter separator */
    KVI_SPLIT_APPEND,  /* left as full as possible: keys arrive in ascending order */
    KVI_SPLIT_PREPEND, /* right as full as possible */
    KVI_SPLIT_RUN      /* behind the literal item: keys arrive in ascending order there */
};

/* The greatest to such that elements [from, to) fit one node. */
unsigned kvi_seq_fit(const kvi_seq *seq, unsigned from);

/* Chooses at, with [0, at) to go left and [at, count) right, both non-empty and both fitting one
 * node each. Returns at, or 0 when no such place exists (then divide into three, each as full as
 * kvi_seq_fit allows). Branches get two children at least, if there are four. */
unsigned kvi_seq_split_point(const kvi_seq *seq, enum kvi_split how);

/* The separator between elements at - 1 and at: for leaves the shortest key that is greater than
 * the one and not greater than the other, lengthened to same_len if that is longer and the right
 * key has the bytes (so that separators of one branch have one length); for branches the
 * separator before element at. Writes to out (kvi_key_max bytes), returns the length. */
size_t kvi_seq_separator(const kvi_seq *seq, unsigned at, size_t same_len, uint8_t *out);

/* Length that a new separator should have to suit this branch: prefix_len + suffix length when
 * all suffixes are equally long, else 0. An empty branch answers 4. */
size_t kvi_branch_same_len(const uint8_t *page);

#endif
