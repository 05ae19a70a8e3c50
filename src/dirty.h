/* dirty.h - private pages: what the writing transaction has changed and nobody else can see.
 *
 * A private node or large value is a buffer, addressed by a handle. A pointer {handle, birth 0}
 * stands wherever a pointer {page, birth} would, so finding a private page costs nothing. When the
 * transaction outgrows its memory budget, buffers are written out early ("sealed"): the handle
 * stays valid and then leads to a page of the file.
 *
 * Savepoints: every buffer carries the generation it was made in. A buffer is changed in place
 * only when its generation is above the floor, the generation of the innermost savepoint; else it
 * is copied, and the original waits for a rollback.
 *
 * Invariants:
 *   D1 a handle that a tree or a savepoint refers to is never released
 *   D2 a sealed handle's page has an id of the transaction's own as its birth
 *   D3 floor < generation of every buffer that is changed in place
 */
#ifndef KVI_DIRTY_H
#define KVI_DIRTY_H

#include "err.h"
#include "format.h"
#include "os.h"

typedef uint64_t kvi_handle; /* 1.. ; fits the 48 bits of a page number */

typedef struct kvi_private {
    kvi_ptr sealed;      /* where it went; {0,0}: nowhere yet */
    uint64_t len;        /* bytes of a large value; 0: a node, page_size bytes */
    uint64_t checksum;   /* of a sealed node */
    uint64_t expiry;     /* of a sealed node: the least below it; 0: none */
    uint32_t generation; /* 0: unused handle */
    bool replaced;       /* no tree refers to it, but a savepoint does */
} kvi_private;

typedef struct kvi_buffer {
    uint8_t *bytes; /* NULL: sealed or unused */
    unsigned level; /* of a node */
} kvi_buffer;

typedef struct kvi_dirty {
    const kvi_os *os;
    uint32_t page_size;
    kvi_private *items; /* by handle; item 0 is never used */
    size_t n_items, items_cap;
    kvi_buffer *buffers; /* by handle. Every way down asks for some */
    size_t buffers_cap;
    kvi_handle *unused; /* released handles */
    size_t n_unused, unused_cap;
    kvi_handle *replaced; /* copied away from under a savepoint; wait for its end */
    size_t n_replaced, replaced_cap;
    size_t room; /* handles that all lists have room for */
    struct kvi_slab {
        void *memory;   /* as allocated */
        uint8_t *first; /* page buffer, on a page's bounds */
        size_t pages;
    } * slabs; /* what all page buffers are cut from */
    size_t n_slabs, slabs_cap;
    uint8_t **spare; /* page buffers that are free; room for all there are */
    size_t n_spare, spare_cap;
    unsigned slow_touches; /* large pages of memory, in a row, that took long to get */
    uint64_t bytes;        /* in buffers */
    uint32_t generation;
    uint32_t floor; /* generation of the innermost savepoint; 0: none */
} kvi_dirty;

void kvi_dirty_init(kvi_dirty *dirty, const kvi_os *os, uint32_t page_size);
void kvi_dirty_close(kvi_dirty *dirty);

/* Forgets everything; keeps some memory for the next transaction. */
void kvi_dirty_reset(kvi_dirty *dirty);

/* After this, n calls of kvi_dirty_page cannot fail. */
int kvi_dirty_grow(kvi_dirty *dirty, size_t n) KVI_MUST_CHECK;
static inline int kvi_dirty_reserve(kvi_dirty *dirty, size_t n)
{
    return dirty->n_spare >= n && dirty->n_items + n <= dirty->room ? KV_OK
                                                                    : kvi_dirty_grow(dirty, n);
}

/* A new private node; its bytes are undefined. Succeeds after a sufficient kvi_dirty_reserve. */
kvi_handle kvi_dirty_page(kvi_dirty *dirty, unsigned level);

/* The same with zeros, for a node that is no copy of another: searches compare some lanes behind its last
 * slot, in vain, and tools that watch over memory would blame the program. */
kvi_handle kvi_dirty_fresh(kvi_dirty *dirty, unsigned level);

/* A new private large value of len > 0 bytes, undefined; the buffer is a whole number of pages. */
int kvi_dirty_large(kvi_dirty *dirty, uint64_t len, kvi_handle *handle) KVI_MUST_CHECK;

/* A large value that went straight to the file. */
int kvi_dirty_written(kvi_dirty *dirty, uint64_t len, kvi_ptr page, uint64_t checksum,
                      kvi_handle *handle) KVI_MUST_CHECK;

static inline kvi_private *kvi_dirty_at(const kvi_dirty *dirty, kvi_handle handle)
{
    return &dirty->items[handle];
}

/* The bytes of a private page or value; NULL: it is sealed. */
static inline uint8_t *kvi_dirty_bytes(const kvi_dirty *dirty, kvi_handle handle)
{
    return dirty->buffers[handle].bytes;
}

/* Does this handle, from bytes that may have changed since they were verified, lead to something that a
 * tree may refer to? To a node of this level? To a buffer, to that of a node of this level; NULL: to none. */
static inline bool kvi_dirty_knows(const kvi_dirty *dirty, kvi_handle handle)
{
    return handle != 0 && handle < dirty->n_items && dirty->items[handle].generation != 0 &&
           !dirty->items[handle].replaced;
}

static inline bool kvi_dirty_knows_node(const kvi_dirty *dirty, kvi_handle handle, unsigned level)
{
    return kvi_dirty_knows(dirty, handle) && dirty->buffers[handle].level == level;
}

static inline uint8_t *kvi_dirty_find(const kvi_dirty *dirty, kvi_handle handle)
{
    return handle != 0 && handle < dirty->n_items ? dirty->buffers[handle].bytes : NULL;
}

static inline uint8_t *kvi_dirty_find_node(const kvi_dirty *dirty, kvi_handle handle,
                                           unsigned level)
{
    return handle != 0 && handle < dirty->n_items && dirty->buffers[handle].level == level
               ? dirty->buffers[handle].bytes
               : NULL;
}

/* May the buffer be changed in place? */
static inline bool kvi_dirty_writable(const kvi_dirty *dirty, kvi_handle handle)
{
    return dirty->buffers[handle].bytes &&
           (dirty->floor == 0 || dirty->items[handle].generation > dirty->floor);
}

/* The tree no longer refers to the handle: release it, or keep it for the savepoint. */
void kvi_dirty_replace(kvi_dirty *dirty, kvi_handle handle);

/* Drops the buffer of a sealed item, to whose page those who referred to it now refer. Under a savepoint
 * the handle stays and leads there; else it is released. */
void kvi_dirty_seal(kvi_dirty *dirty, kvi_handle handle, kvi_ptr page, uint64_t checksum);

/* Releases a handle that nothing refers to. */
void kvi_dirty_release(kvi_dirty *dirty, kvi_handle handle);

typedef struct kvi_dirty_point { /* a savepoint's place */
    uint32_t generation;
    size_t n_replaced;
} kvi_dirty_point;

/* Savepoints. mark: begin one. undo: back to the state at point; lost is called for each sealed
 * item that only the undone part referred to. forget: savepoints inside the one of generation
 * outer (0: all) are gone. */
kvi_dirty_point kvi_dirty_mark(kvi_dirty *dirty);
int kvi_dirty_undo(kvi_dirty *dirty, kvi_dirty_point point,
                   int (*lost)(void *context, const kvi_private *item),
                   void *context) KVI_MUST_CHECK;
void kvi_dirty_forget(kvi_dirty *dirty, uint32_t outer);

#endif
