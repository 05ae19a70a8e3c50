/* format.h - the bytes on disk: where every field stands, which values it may take.
 *
 * docs/format.md describes the same bytes in prose; a test compares the two row by row, through the
 * field lists below. All numbers are little-endian; nothing is aligned for the reader's sake.
 *
 *   page 0        page 1        page 2 ...
 *   +----------+  +----------+  +-----------------------------------+
 *   | meta     |  | meta     |  | header 64 | node, log, map, chain |   or a page of a large value,
 *   | slot 0   |  | slot 1   |  |           |                       |   which has no header
 *   +----------+  +----------+  +-----------------------------------+
 */
#ifndef KVI_FORMAT_H
#define KVI_FORMAT_H

#include "bytes.h"

#ifdef KVI_STRESS /* tiny pages and limits, so that rare paths become common ones */
#define KVI_PAGE_MIN 512
#else
#define KVI_PAGE_MIN 4096
#endif
#define KVI_PAGE_MAX     65536
#define KVI_PAGE_DEFAULT 4096

#define KVI_MAGIC   0x8a0d0a1a6b760a1aull /* not text, breaks when line ends are translated */
#define KVI_VERSION 1

#define KVI_META_SIZE      4096 /* one block; its checksum covers it whole */
#define KVI_HEADER_SIZE    64   /* of every page that is not part of a large value */
#define KVI_TREE_SIZE      96   /* a tree's descriptor, in the meta and in the catalog */
#define KVI_NAMED_SIZE     224  /* a named snapshot: a value of the snapshots tree */
#define KVI_LARGE_REF_SIZE 40   /* what a leaf keeps of a large value */
#define KVI_DELTA_MAX      3072 /* bytes of space delta inside a meta */
#define KVI_PREFIX_INLINE  16   /* bytes of the common prefix that fit in the header */
#define KVI_HINTS          16   /* sampled heads in the hint line */
#define KVI_HINTS_FROM     32   /* slots from which a node carries a hint line */
#define KVI_HINT_LINE      64   /* its size */
#define KVI_LEVEL_MAX      31   /* of a node; a leaf is level 0 */
#define KVI_MAP_LEVELS_MAX 8    /* of the space bitmap's directory */

/* First byte at which no meta slot 1 of any page size can stand: large values, whose bytes are
 * the user's, live only from here on, so that none can pose as a meta. */
#define KVI_LARGE_FROM (KVI_PAGE_MAX + KVI_META_SIZE)

/* Meta slot s stands at byte s * kvi_meta_stride(page_size): page 1 begins where page 0 ends, but
 * never inside the first meta block (stress builds have pages smaller than a meta). */
static inline uint64_t kvi_meta_stride(uint32_t page_size)
{
    return KVI_MAX(page_size, KVI_META_SIZE);
}

/* First page number after the two metas. */
static inline kvi_pgno kvi_first_page(uint32_t page_size)
{
    return 2 * kvi_meta_stride(page_size) / page_size;
}

static inline bool kvi_page_size_ok(uint32_t size)
{
    return size >= KVI_PAGE_MIN && size <= KVI_PAGE_MAX && (size & (size - 1)) == 0;
}

static inline uint32_t kvi_key_max(uint32_t page_size)
{
    return page_size / 4 - 64;
}

/* Key plus value bytes that stay in a leaf; a longer value becomes a large one. Two entries of
 * this size always fit in one node. */
static inline uint32_t kvi_inline_max(uint32_t page_size)
{
    return (page_size - KVI_HEADER_SIZE - KVI_HINT_LINE) / 2 - 32;
}

#define KVI_ID_MAX   ((1ull << 48) - 1)
#define KVI_PGNO_MAX ((1ull << 48) - 1)

/* A pointer to a page: its number and the transaction that wrote it. On disk 6 + 6 bytes.
 * {0, 0} is no page. Birth 0 with a page is a private page of the writing transaction (dirty.h)
 * and never reaches the disk. */
typedef struct kvi_ptr {
    kvi_pgno page; /* or the handle of a private page */
    kvi_id birth;  /* 0: private */
} kvi_ptr;

#define KVI_PTR_SIZE 12

static inline bool kvi_ptr_same(kvi_ptr a, kvi_ptr b)
{
    return a.page == b.page && a.birth == b.birth;
}

static inline kvi_ptr kvi_ptr_get(const uint8_t *p)
{
    return (kvi_ptr){kvi_get64(p) & KVI_PGNO_MAX, kvi_get64(p + 4) >> 16}; /* 48 bits each */
}

static inline void kvi_ptr_put(uint8_t *p, kvi_ptr ptr)
{
    kvi_put48(p, ptr.page);
    kvi_put48(p + 6, ptr.birth);
}

/* ---- meta ---- name, offset, size */
#define KVI_META_FIELDS(F)                                                                         \
    F(magic, 0, 8)                                                                                 \
    F(checksum, 8, 8)                                                                              \
    F(version, 16, 4)                                                                              \
    F(page_size, 20, 4)                                                                            \
    F(incompatible, 24, 8)                                                                         \
    F(compatible, 32, 8)                                                                           \
    F(file_id, 40, 16)                                                                             \
    F(hash_seed, 56, 8)                                                                            \
    F(id, 64, 8)                                                                                   \
    F(durable, 72, 8)                                                                              \
    F(seal, 80, 8)                                                                                 \
    F(walk, 88, 8)                                                                                 \
    F(high_water, 96, 8)                                                                           \
    F(clock, 104, 8)                                                                               \
    F(boot_id, 112, 16)                                                                            \
    F(kind, 128, 1)                                                                                \
    F(map_levels, 129, 1)                                                                          \
    F(delta_len, 130, 2)                                                                           \
    F(log_pages, 132, 4)                                                                           \
    F(log, 136, 12)                                                                                \
    F(map, 148, 12)                                                                                \
    F(blocked, 160, 12)                                                                            \
    F(log_tail, 172, 8)                                                                            \
    F(blocked_pages, 180, 4)                                                                       \
    F(main, 192, 96)                                                                               \
    F(catalog, 288, 96)                                                                            \
    F(snapshots, 384, 96)                                                                          \
    F(origin, 480, 16)                                                                             \
    F(origin_id, 496, 8)                                                                           \
    F(delta, 1024, 3072)

enum {                       /* meta.kind: how the commit was made durable */
       KVI_KIND_DURABLE = 1, /* pages and meta under one flush */
       KVI_KIND_STRICT = 2,  /* pages flushed before the meta was written; durable = id */
       KVI_KIND_LAZY = 3,    /* no flush */
       KVI_KIND_CONFIRMATION =
           4, /* second copy of a durable commit, written at close; durable = id */
};

/* ---- tree descriptor ---- name, offset, size */
#define KVI_TREE_FIELDS(F)                                                                         \
    F(root, 0, 12)                                                                                 \
    F(level, 12, 1)                                                                                \
    F(codec, 13, 1)                                                                                \
    F(flags, 14, 2)                                                                                \
    F(entries, 16, 8)                                                                              \
    F(leaf_pages, 24, 8)                                                                           \
    F(branch_pages, 32, 8)                                                                         \
    F(large_pages, 40, 8)                                                                          \
    F(min_expiry, 48, 8)                                                                           \
    F(sequence, 56, 8)                                                                             \
    F(compress_from, 64, 8)                                                                        \
    F(placed, 72, 8)

/* ---- named snapshot ---- name, offset, size: the two trees of a commit, behind their names */
#define KVI_NAMED_FIELDS(F)                                                                        \
    F(main, 0, 96)                                                                                 \
    F(catalog, 96, 96)                                                                             \
    F(id, 192, 8)                                                                                  \
    F(time, 200, 8)                                                                                \
    F(entries, 208, 8)

/* ---- page header ---- name, offset, size */
#define KVI_PAGE_FIELDS(F)                                                                         \
    F(checksum, 0, 8)                                                                              \
    F(type, 8, 1)                                                                                  \
    F(level, 9, 1)                                                                                 \
    F(count, 10, 2)                                                                                \
    F(heap, 12, 2)                                                                                 \
    F(dead, 14, 2)                                                                                 \
    F(birth, 16, 8)                                                                                \
    F(page, 24, 8)                                                                                 \
    F(prefix_len, 32, 2)                                                                           \
    F(fixed_key, 34, 2)                                                                            \
    F(fixed_value, 36, 2)                                                                          \
    F(hint_stride, 38, 2)                                                                          \
    F(flags, 40, 2)                                                                                \
    F(run_end, 42, 2)                                                                              \
    F(run_len, 44, 2)                                                                              \
    F(reserved, 46, 2)                                                                             \
    F(prefix, 48, 16)

enum { /* page.type */
       KVI_LEAF = 1,
       KVI_BRANCH = 2,
       KVI_LOG = 3,     /* space: deltas of commits */
       KVI_MAP = 4,     /* space: bitmap of free pages */
       KVI_MAP_DIR = 5, /* space: directory of the bitmap */
       KVI_BLOCKED = 6, /* space: dead pages that a snapshot still needs */
};

/* ---- space: log page ---- name, offset, size. Behind the fields: len bytes of records (space.h),
 * the same form that the meta's delta has */
#define KVI_LOG_FIELDS(F)                                                                          \
    F(older, 64, 12)                                                                               \
    F(first, 76, 8)                                                                                \
    F(last, 84, 8)                                                                                 \
    F(len, 92, 4)

#define KVI_LOG_RECORDS 96 /* where they begin */

/* ---- space: page of blocked pages ---- name, offset, size. Behind the fields: len bytes of runs,
 * ascending by page through the whole chain, each four varints: gap from the end of the previous
 * run (from page 0 for the first one of a page), length, this page's birth - F, F - B */
#define KVI_BLOCKED_FIELDS(F)                                                                      \
    F(next, 64, 12)                                                                                \
    F(len, 76, 4)

#define KVI_BLOCKED_RUNS 80 /* where they begin */

/* ---- space: bitmap page ---- behind the header: one bit per page, from the lowest bit of the first
 * byte on, set = free; bitmap page i tells of the pages from i * kvi_map_pages() on. */
static inline uint32_t kvi_map_pages(uint32_t page_size)
{
#ifdef KVI_STRESS
    (void)page_size;
    return 64;
#else
    return (page_size - KVI_HEADER_SIZE) * 8;
#endif
}

/* ---- space: directory page ---- header.level: 1 above bitmap pages, 2 above those, ...; behind the
 * header header.count pointers, at most kvi_map_fanout(); {0, 0}: a missing page, whose pages are
 * all in use. A map of one level is a bitmap page without directory. */
static inline uint32_t kvi_map_fanout(uint32_t page_size)
{
#ifdef KVI_STRESS
    (void)page_size;
    return 8;
#else
    return (page_size - KVI_HEADER_SIZE) / KVI_PTR_SIZE;
#endif
}

/* Expiries are milliseconds since the epoch; 0 = none, later than any. */
static inline uint64_t kvi_expiry_min(uint64_t a, uint64_t b)
{
    return a - 1 < b - 1 ? a : b;
}

static inline bool kvi_expired(uint64_t expiry, uint64_t now)
{
    return expiry - 1 < now;
}

/* tree.flags */
#define KVI_TREE_EXPIRY 1 /* an entry of it has, or had, an expiry */
#define KVI_TREE_MULTI  2 /* several values for each key: see pairs.h */

/* page.flags of nodes */
#define KVI_NODE_EXPIRY 1 /* branch: a minimum expiry (8 bytes) per child follows the counts */

/* ---- large value reference, in a leaf ---- name, offset, size */
#define KVI_LARGE_FIELDS(F)                                                                        \
    F(page, 0, 6)                                                                                  \
    F(birth, 6, 6)                                                                                 \
    F(pages, 12, 4)                                                                                \
    F(stored_len, 16, 8)                                                                           \
    F(raw_len, 24, 8)                                                                              \
    F(checksum, 32, 8)

/* Flags of a special entry; see value.h. */
#define KVI_ENTRY_LARGE      1 /* the payload is a large value reference */
#define KVI_ENTRY_COMPRESSED 2 /* the bytes are stored through a codec */
#define KVI_ENTRY_EXPIRY     4 /* an expiry stands before the payload */

enum { /* codecs */
       KVI_CODEC_NONE = 0,
       KVI_CODEC_LZ4 = 1,
};

#define KVI_META_AT(name, off, size)  KVI_M_##name = (off),
#define KVI_TREE_AT(name, off, size)  KVI_T_##name = (off),
#define KVI_PAGE_AT(name, off, size)  KVI_P_##name = (off),
#define KVI_LARGE_AT(name, off, size) KVI_L_##name = (off),
#define KVI_NAMED_AT(name, off, size) KVI_N_##name = (off),
enum { KVI_META_FIELDS(KVI_META_AT) };   /* KVI_M_id: where a meta keeps its id */
enum { KVI_TREE_FIELDS(KVI_TREE_AT) };   /* KVI_T_root ... */
enum { KVI_PAGE_FIELDS(KVI_PAGE_AT) };   /* KVI_P_count ... */
enum { KVI_LARGE_FIELDS(KVI_LARGE_AT) }; /* KVI_L_page ... */
enum { KVI_NAMED_FIELDS(KVI_NAMED_AT) }; /* KVI_N_id ... */
#define KVI_LOG_AT(name, off, size)     KVI_G_##name = (off),
#define KVI_BLOCKED_AT(name, off, size) KVI_B_##name = (off),
enum { KVI_LOG_FIELDS(KVI_LOG_AT) };         /* KVI_G_older ... */
enum { KVI_BLOCKED_FIELDS(KVI_BLOCKED_AT) }; /* KVI_B_next ... */

_Static_assert(KVI_M_delta + KVI_DELTA_MAX == KVI_META_SIZE, "the delta ends the meta");
_Static_assert(KVI_P_prefix + KVI_PREFIX_INLINE == KVI_HEADER_SIZE, "the prefix ends the header");
_Static_assert(KVI_P_run_end + 2 == KVI_P_run_len, "what is known of a run is written as one");

/* A tree's descriptor in memory. */
typedef struct kvi_tree_desc {
    kvi_ptr root;      /* {0,0}: empty tree */
    uint8_t level;     /* of the root */
    uint8_t codec;     /* for values of at least compress_from bytes */
    uint16_t flags;    /* KVI_TREE_* */
    uint32_t reserved; /* 0 */
    uint64_t entries;
    uint64_t leaf_pages;
    uint64_t branch_pages;
    uint64_t large_pages;
    uint64_t min_expiry;    /* least expiry of its entries, 0: none; while private a lower bound */
    uint64_t sequence;      /* a counter for the tree's user */
    uint64_t compress_from; /* bytes; 0 = never */
    kvi_id placed;          /* newest commit that put a tree under this name; 0: never noted */
} kvi_tree_desc;

/* A named snapshot in memory. */
typedef struct kvi_named {
    kvi_tree_desc main, catalog;
    kvi_id id;        /* the commit */
    uint64_t time;    /* when the snapshot was made: milliseconds since the epoch */
    uint64_t entries; /* of all its trees */
} kvi_named;

#endif
