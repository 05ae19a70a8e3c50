/* file.h - the database file: its map, its pages, reading and writing them.
 *
 * The file is mapped read-only, once, with more address space than it needs; it grows under the
 * map. Pages are read in place and verified when this process first meets them at their birth;
 * they are written by pwritev only.
 */
#ifndef KVI_FILE_H
#define KVI_FILE_H

#include "err.h"
#include "form.h"
#include "hash.h"
#include "os.h"
#include <stdatomic.h>

/* One mapping of the file. Never moves or goes away while the file is open, so that views of
 * older snapshots stay valid when a larger one becomes necessary. */
typedef struct kvi_map {
    const uint8_t *ptr;
    size_t len;                 /* bytes of address space */
    _Atomic uint64_t *verified; /* per page: what was verified there (kvi_seen); 0: nothing */
    struct kvi_map *older;
} kvi_map;

typedef struct kvi_file {
    const kvi_os *os;
    kvi_err *err;
    int fd;
    uint32_t page_size;
    unsigned page_shift;
    bool verify_checksums;
    bool random; /* single pages are read, of more than fits memory; set before the first view */
    uint64_t hash_seed;
    kvi_hash hash;
    _Atomic(kvi_map *) map; /* newest; set under map_mutex */
    pthread_mutex_t map_mutex;
    _Atomic uint64_t size; /* bytes; the writer's: raised before publication, cut by it alone */
    uint32_t full;         /* the writer's: the disk was, so many commits do without growing */
    uint64_t memory;       /* bytes that the machine has */
    _Atomic uint64_t seen; /* bytes; what readers found it grown to by another process */
} kvi_file;

#ifdef KVI_STRESS
#define KVI_FULL_COMMITS 50
#else
#define KVI_FULL_COMMITS 1000
#endif

/* As the writer knows it, in bytes. */
static inline uint64_t kvi_file_size(const kvi_file *file)
{
    return atomic_load_explicit(&file->size, memory_order_relaxed);
}

/* What a snapshot may look at: pages [0, limit) of one map, births up to newest. */
typedef struct kvi_view {
    kvi_file *file;
    const uint8_t *map;
    _Atomic uint64_t *verified;
    kvi_pgno limit;
    kvi_id newest;
    unsigned page_shift;
} kvi_view;

/* Takes over fd (open on the database); the page size and hash seed come from its meta. */
int kvi_file_init(kvi_file *file, const kvi_os *os, kvi_err *err, int fd, uint32_t page_size,
                  uint64_t hash_seed, bool verify_checksums) KVI_MUST_CHECK;
void kvi_file_close(kvi_file *file);

/* Looks at how long the file is now: another process may have made it longer. For readers. */
int kvi_file_look(kvi_file *file, uint64_t *size) KVI_MUST_CHECK;

/* Bytes that the file has, or lately had. */
static inline uint64_t kvi_file_known(const kvi_file *file)
{
    uint64_t size = atomic_load_explicit(&file->size, memory_order_acquire);
    uint64_t seen = atomic_load_explicit(&file->seen, memory_order_relaxed);
    return KVI_MAX(size, seen);
}

/* A view for a snapshot; maps more address space when the snapshot needs it. KV_ECORRUPT when the
 * file is shorter than the snapshot. */
int kvi_file_view(kvi_file *file, kvi_pgno high_water, kvi_id newest,
                  kvi_view *view) KVI_MUST_CHECK;

/* The node that ptr names, verified. level: what the parent says. */
int kvi_file_verify(const kvi_view *view, kvi_ptr ptr, unsigned level,
                    const uint8_t **page) KVI_MUST_CHECK;

/* What the table of verified pages remembers. Bits: 0-31 a node's form, 32 a node and not a large value (a
 * file that uses one page as both is noticed), 33-63 the low bits of the birth. One birth in 2^31 is never
 * remembered, 0 (a private page's) among them. */
typedef uint64_t kvi_seen;

static inline kvi_seen kvi_seen_large(kvi_id birth)
{
    return birth << 33;
}

static inline kvi_seen kvi_seen_node(kvi_id birth, kvi_form form)
{
    return birth << 33 | (kvi_seen)1 << 32 | form;
}

static inline kvi_seen kvi_view_seen(const kvi_view *view, kvi_pgno page)
{
    return KVI_LIKELY(page < view->limit)
               ? atomic_load_explicit(&view->verified[page], memory_order_relaxed)
               : 0;
}

/* The top bits of what is remembered of a quick node on this level; on the next one, 1 more. */
static inline uint64_t kvi_seen_top(unsigned level)
{
    return kvi_seen_node(0, KVI_FORM_QUICK) >> KVI_FORM_TOP | level;
}

/* Is it a node of this birth with these top bits? */
static inline bool kvi_seen_quick(kvi_seen seen, kvi_id birth, uint64_t top)
{
    return (seen ^ birth << 33) >> KVI_FORM_TOP == top;
}

/* Is it a node of this birth on this level? */
static inline bool kvi_seen_good(kvi_seen seen, kvi_id birth, unsigned level)
{
    return kvi_seen_quick(seen | KVI_FORM_QUICK, birth, kvi_seen_top(level));
}

/* On some level. */
static inline bool kvi_seen_met(kvi_seen seen, kvi_id birth)
{
    return seen >> 32 == kvi_seen_node(birth, 0) >> 32;
}

static inline const uint8_t *kvi_view_page(const kvi_view *view, kvi_pgno page)
{
    return view->map + (page << view->page_shift);
}

/* The node that ptr names, if it was verified before; or NULL. */
static inline const uint8_t *kvi_view_node(const kvi_view *view, kvi_ptr ptr, unsigned level)
{
    kvi_seen seen = kvi_view_seen(view, ptr.page);
    return KVI_LIKELY(kvi_seen_good(seen, ptr.birth, level)) ? kvi_view_page(view, ptr.page) : NULL;
}

static inline int kvi_file_node(const kvi_view *view, kvi_ptr ptr, unsigned level,
                                const uint8_t **page)
{
    *page = kvi_view_node(view, ptr, level);
    return KVI_LIKELY(*page != NULL) ? KV_OK : kvi_file_verify(view, ptr, level, page);
}

/* Nodes that are to be met soon: asks the kernel for those that it may have to read, all of them
 * before one is waited for. */
void kvi_file_expect(const kvi_view *view, const kvi_ptr *ptrs, unsigned n);

/* The bytes of a large value in the map, verified by checksum when first met. */
int kvi_file_large(const kvi_view *view, kvi_ptr ptr, uint64_t len, uint64_t checksum,
                   const uint8_t **bytes) KVI_MUST_CHECK;

/* Notes that the node at ptr was just written or verified; bytes: the page. */
void kvi_file_trust(const kvi_view *view, kvi_ptr ptr, const uint8_t *bytes);

/* Raises the file's size to the high-water mark when trailing pages were never written. */
int kvi_file_extend(kvi_file *file, kvi_pgno high_water) KVI_MUST_CHECK;

/* Reads with pread, past the map: recovery and space records. KV_EIO, or KV_ECORRUPT when the
 * bytes lie behind the end of the file. */
int kvi_file_read(kvi_file *file, uint64_t offset, void *buf, size_t len) KVI_MUST_CHECK;

/* Reads one page into buf and checks it against ptr: number, birth, type, checksum (always). */
int kvi_file_read_page(kvi_file *file, kvi_ptr ptr, int type, uint8_t *buf) KVI_MUST_CHECK;

/* Is this image the page that ptr means, as it was written? 0, or the broken invariant of node.h: 8
 * (number or birth), 9 (checksum). */
int kvi_file_matches(const kvi_file *file, const uint8_t *page, kvi_ptr ptr, bool checksum);

/* Completes a page image: page number, birth and checksum. Returns the checksum. */
uint64_t kvi_file_stamp(const kvi_file *file, uint8_t *page, kvi_ptr ptr);

/* Writes bytes whole, raising the known size. */
int kvi_file_write(kvi_file *file, uint64_t offset, const void *bytes, size_t len) KVI_MUST_CHECK;

/* Writes zeros. */
int kvi_file_fill(kvi_file *file, uint64_t offset, uint64_t len) KVI_MUST_CHECK;

/* Writes pages; neighbours in number become one call of at most KVI_WRITE_MAX bytes. waiting: of
 * kvi_file_sync_ahead. */
typedef struct kvi_page_write {
    kvi_pgno page;
    const uint8_t *bytes; /* one page */
} kvi_page_write;
int kvi_file_write_pages(kvi_file *file, const kvi_page_write *writes, size_t n,
                         uint64_t *waiting) KVI_MUST_CHECK;

#define KVI_WRITE_MAX 65536 /* larger calls make later small rewrites of the area dearer */

int kvi_file_sync(kvi_file *file) KVI_MUST_CHECK;

/* The disk begins with what was written. */
void kvi_file_sync_begin(kvi_file *file);

/* So many bytes more were written that a flush is to wait for: when they are many, the disk begins
 * with them. *waiting: bytes since it last did. NULL: nobody waits. */
void kvi_file_sync_ahead(kvi_file *file, uint64_t *waiting, uint64_t more);

int kvi_file_truncate(kvi_file *file, kvi_pgno pages) KVI_MUST_CHECK;

#endif
