/* dirty.c - see dirty.h. */
#include "dirty.h"

#define SLAB_FIRST 64                /* page buffers */
#define SLAB_BYTES ((size_t)2 << 20) /* of later ones: what a large page of memory has */
#define SLABS_KEPT 3                 /* between transactions */
#define LARGE_NS   1000000           /* to get a large page of memory; some 100 us are usual */
#define SLOW_MOST  2                 /* in a row: one may just have been interrupted */

#define NO_NODE (~0u) /* in place of a level: a large value */

void kvi_dirty_init(kvi_dirty *dirty, const kvi_os *os, uint32_t page_size)
{
    memset(dirty, 0, sizeof *dirty);
    dirty->os = os;
    dirty->page_size = page_size;
    dirty->n_items = 1;
    dirty->generation = 1;
}

static void bytes_drop(kvi_dirty *dirty, kvi_handle handle)
{
    uint8_t *bytes = dirty->buffers[handle].bytes;
    uint64_t len = dirty->items[handle].len;
    if (!bytes)
        return;
    if (len) {
        dirty->bytes -= len;
        dirty->os->free(dirty->os, bytes);
    } else {
        dirty->bytes -= dirty->page_size;
        dirty->spare[dirty->n_spare++] = bytes;
    }
    dirty->buffers[handle].bytes = NULL;
}

/* Frees all slabs but the first few; all buffers are spare. */
static void slabs_keep(kvi_dirty *dirty, size_t keep)
{
    if (dirty->n_slabs <= keep)
        return;
    while (dirty->n_slabs > keep)
        dirty->os->free(dirty->os, dirty->slabs[--dirty->n_slabs].memory);
    dirty->n_spare = 0;
    for (size_t i = 0; i < dirty->n_slabs; i++)
        for (size_t k = 0; k < dirty->slabs[i].pages; k++)
            dirty->spare[dirty->n_spare++] = dirty->slabs[i].first + k * dirty->page_size;
}

void kvi_dirty_reset(kvi_dirty *dirty)
{
    for (kvi_handle handle = 1; handle < dirty->n_items; handle++)
        bytes_drop(dirty, handle);
    slabs_keep(dirty, SLABS_KEPT);
    dirty->n_items = 1;
    dirty->n_unused = 0;
    dirty->n_replaced = 0;
    dirty->generation = 1;
    dirty->floor = 0;
}

void kvi_dirty_close(kvi_dirty *dirty)
{
    const kvi_os *os = dirty->os;
    kvi_dirty_reset(dirty);
    slabs_keep(dirty, 0);
    os->free(os, dirty->slabs);
    os->free(os, dirty->items);
    os->free(os, dirty->buffers);
    os->free(os, dirty->unused);
    os->free(os, dirty->replaced);
    os->free(os, dirty->spare);
}

/* Room for n more handles in all lists, so that no later step on them can fail. */
static int handles_room(kvi_dirty *dirty, size_t n)
{
    const kvi_os *os = dirty->os;
    size_t all = dirty->n_items + n;
    kvi_private *items =
        kvi_os_room(os, dirty->items, &dirty->items_cap, all, sizeof *dirty->items);
    if (!items)
        return KV_ENOMEM;
    dirty->items = items;
    kvi_buffer *buffers =
        kvi_os_room(os, dirty->buffers, &dirty->buffers_cap, all, sizeof *dirty->buffers);
    if (!buffers)
        return KV_ENOMEM;
    dirty->buffers = buffers;
    kvi_handle *unused =
        kvi_os_room(os, dirty->unused, &dirty->unused_cap, all, sizeof *dirty->unused);
    if (!unused)
        return KV_ENOMEM;
    dirty->unused = unused;
    kvi_handle *replaced =
        kvi_os_room(os, dirty->replaced, &dirty->replaced_cap, all, sizeof *dirty->replaced);
    if (!replaced)
        return KV_ENOMEM;
    dirty->replaced = replaced;
    dirty->room = all;
    return KV_OK;
}

/* Asks for large pages of memory, which need few entries of the processor's address cache. A virtual
 * machine may have none but those that it gave back to its host, and wait long for each: then small ones
 * will do from now on. */
static void slab_enlarge(kvi_dirty *dirty, uint8_t *first, size_t size)
{
    const kvi_os *os = dirty->os;
    os->advise(os, first, size, KVI_OS_HUGE);
    uint64_t begin = os->mono_ns(os);
    *(volatile uint8_t *)first = 0;
    bool slow = os->mono_ns(os) - begin > LARGE_NS;
    dirty->slow_touches = slow ? dirty->slow_touches + 1 : 0;
}

/* Page buffers on page bounds, many in one piece. A large page of memory must lie on its own bounds, and
 * in a single mapping when it is first touched. */
static int slab_add(kvi_dirty *dirty)
{
    const kvi_os *os = dirty->os;
    size_t pages = dirty->n_slabs ? SLAB_BYTES / dirty->page_size : SLAB_FIRST, all = pages;
    for (size_t i = 0; i < dirty->n_slabs; i++)
        all += dirty->slabs[i].pages;
    struct kvi_slab *slabs =
        kvi_os_room(os, dirty->slabs, &dirty->slabs_cap, dirty->n_slabs + 1, sizeof *dirty->slabs);
    if (!slabs)
        return KV_ENOMEM;
    dirty->slabs = slabs;
    uint8_t **spare = kvi_os_room(os, dirty->spare, &dirty->spare_cap, all, sizeof *dirty->spare);
    if (!spare)
        return KV_ENOMEM;
    dirty->spare = spare;
    bool large = dirty->n_slabs > 0 && dirty->slow_touches < SLOW_MOST;
    size_t size = pages * dirty->page_size, bound = large ? SLAB_BYTES : dirty->page_size;
    struct kvi_slab slab = {.memory = os->alloc(os, size + bound), .pages = pages};
    if (!slab.memory)
        return KV_ENOMEM;
    slab.first = (uint8_t *)slab.memory + (-(uintptr_t)slab.memory & (bound - 1));
    if (large)
        slab_enlarge(dirty, slab.first, size);
    for (size_t i = pages; i > 0; i--)
        spare[dirty->n_spare++] = slab.first + (i - 1) * dirty->page_size;
    slabs[dirty->n_slabs++] = slab;
    return KV_OK;
}

int kvi_dirty_grow(kvi_dirty *dirty, size_t n)
{
    int rc = handles_room(dirty, n);
    while (rc == KV_OK && dirty->n_spare < n)
        rc = slab_add(dirty);
    return rc;
}

static kvi_handle handle_new(kvi_dirty *dirty, kvi_private item, kvi_buffer buffer)
{
    kvi_handle handle = dirty->n_unused ? dirty->unused[--dirty->n_unused] : dirty->n_items++;
    item.generation = dirty->generation;
    dirty->items[handle] = item;
    dirty->buffers[handle] = buffer;
    return handle;
}

kvi_handle kvi_dirty_page(kvi_dirty *dirty, unsigned level)
{
    uint8_t *bytes = dirty->spare[--dirty->n_spare];
    dirty->bytes += dirty->page_size;
    return handle_new(dirty, (kvi_private){0}, (kvi_buffer){bytes, level});
}

kvi_handle kvi_dirty_fresh(kvi_dirty *dirty, unsigned level)
{
    kvi_handle handle = kvi_dirty_page(dirty, level);
    memset(kvi_dirty_bytes(dirty, handle), 0, dirty->page_size);
    return handle;
}

int kvi_dirty_large(kvi_dirty *dirty, uint64_t len, kvi_handle *handle)
{
    int rc = handles_room(dirty, 1);
    if (rc != KV_OK)
        return rc;
    uint64_t room = (len + dirty->page_size - 1) & ~(uint64_t)(dirty->page_size - 1);
    uint8_t *bytes = len <= SIZE_MAX / 2 ? dirty->os->alloc(dirty->os, (size_t)room) : NULL;
    if (!bytes)
        return KV_ENOMEM;
    dirty->bytes += len;
    *handle = handle_new(dirty, (kvi_private){.len = len}, (kvi_buffer){bytes, NO_NODE});
    return KV_OK;
}

int kvi_dirty_written(kvi_dirty *dirty, uint64_t len, kvi_ptr page, uint64_t checksum,
                      kvi_handle *handle)
{
    int rc = handles_room(dirty, 1);
    if (rc == KV_OK)
        *handle = handle_new(dirty, (kvi_private){.len = len, .sealed = page, .checksum = checksum},
                             (kvi_buffer){NULL, NO_NODE});
    return rc;
}

void kvi_dirty_release(kvi_dirty *dirty, kvi_handle handle)
{
    bytes_drop(dirty, handle);
    dirty->items[handle] = (kvi_private){0};
    dirty->unused[dirty->n_unused++] = handle;
}

/* A savepoint still needs the item: it refers to it, or it will have to give its page back. */
static bool item_kept(const kvi_dirty *dirty, kvi_handle handle)
{
    const kvi_private *item = &dirty->items[handle];
    return item->generation <= dirty->floor || (dirty->floor && item->sealed.page);
}

void kvi_dirty_replace(kvi_dirty *dirty, kvi_handle handle)
{
    if (!item_kept(dirty, handle)) {
        kvi_dirty_release(dirty, handle);
        return;
    }
    dirty->items[handle].replaced = true;
    dirty->replaced[dirty->n_replaced++] = handle;
}

void kvi_dirty_seal(kvi_dirty *dirty, kvi_handle handle, kvi_ptr page, uint64_t checksum)
{
    kvi_private *item = &dirty->items[handle];
    if (dirty->floor == 0) {
        kvi_dirty_release(dirty, handle);
        return;
    }
    item->sealed = page;
    item->checksum = checksum;
    bytes_drop(dirty, handle);
}

kvi_dirty_point kvi_dirty_mark(kvi_dirty *dirty)
{
    dirty->floor = dirty->generation++;
    return (kvi_dirty_point){dirty->floor, dirty->n_replaced};
}

int kvi_dirty_undo(kvi_dirty *dirty, kvi_dirty_point point,
                   int (*lost)(void *context, const kvi_private *item), void *context)
{
    for (kvi_handle h = 1; h < dirty->n_items; h++) {
        kvi_private *item = &dirty->items[h];
        if (item->generation <= point.generation)
            continue;
        int rc = item->sealed.page ? lost(context, item) : KV_OK;
        if (rc != KV_OK)
            return rc;
        kvi_dirty_release(dirty, h);
    }
    while (dirty->n_replaced > point.n_replaced) /* those replaced since are in use again */
        dirty->items[dirty->replaced[--dirty->n_replaced]].replaced = false;
    dirty->floor = point.generation;
    return KV_OK;
}

void kvi_dirty_forget(kvi_dirty *dirty, uint32_t outer)
{
    size_t kept = 0;
    dirty->floor = outer;
    for (size_t i = 0; i < dirty->n_replaced; i++) {
        kvi_handle handle = dirty->replaced[i];
        if (!item_kept(dirty, handle))
            kvi_dirty_release(dirty, handle);
        else
            dirty->replaced[kept++] = handle;
    }
    dirty->n_replaced = kept;
}
