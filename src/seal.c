/* seal.c - see seal.h. */
#include "seal.h"
#include <stdlib.h>

void kvi_batch_init(kvi_batch *batch, kv_txn *txn)
{
    memset(batch, 0, sizeof *batch);
    batch->txn = txn;
}

void kvi_batch_close(kvi_batch *batch)
{
    const kvi_os *os = batch->txn->db->os;
    os->free(os, batch->numbers[0]);
    os->free(os, batch->numbers[1]);
    os->free(os, batch->writes);
    os->free(os, batch->handles);
}

static enum kvi_space_kind kind_of(unsigned level)
{
    return level == 0 ? KVI_SPACE_LEAF : KVI_SPACE_BRANCH;
}

/* The buffer of a private node that is still to be written, else NULL. */
static uint8_t *unsealed(const kvi_batch *batch, kvi_ptr ptr)
{
    return ptr.birth == 0 ? kvi_dirty_at(&batch->txn->db->dirty, ptr.page)->bytes : NULL;
}

static int seal_large_values(kvi_batch *batch, uint8_t *leaf)
{
    kv_txn *txn = batch->txn;
    uint32_t page_size = txn->db->file.page_size;
    for (unsigned i = 0; i < kvi_node_count(leaf); i++) {
        bool special;
        kvi_slice value = kvi_leaf_value(leaf, page_size, i, &special);
        int rc = special ? kvi_value_seal(txn, leaf + (value.ptr - leaf), value.len) : KV_OK;
        if (rc != KV_OK)
            return rc;
    }
    return KV_OK;
}

static int count_node(kvi_batch *batch, kv_tree *tree, kvi_ptr ptr, unsigned level)
{
    uint8_t *page = unsealed(batch, ptr);
    uint32_t page_size = batch->txn->db->file.page_size;
    if (!page)
        return KV_OK;
    batch->n[kind_of(level)]++;
    if (level == 0)
        return tree->desc.large_pages ? seal_large_values(batch, page) : KV_OK;
    int rc = KV_OK;
    unsigned i = kvi_branch_private(page, page_size, 0), count = kvi_node_count(page);
    for (; rc == KV_OK && i <= count; i = kvi_branch_private(page, page_size, i + 1))
        rc = count_node(batch, tree, kvi_branch_child(page, page_size, i), level - 1);
    return rc;
}

int kvi_batch_count(kvi_batch *batch, kv_tree *tree)
{
    return tree->desc.root.page ? count_node(batch, tree, tree->desc.root, tree->desc.level)
                                : KV_OK;
}

static int room_for_writes(kvi_batch *batch, size_t more)
{
    const kvi_os *os = batch->txn->db->os;
    size_t need = batch->n_writes + more;
    if (need <= batch->cap_writes)
        return KV_OK;
    kvi_page_write *writes = os->realloc(os, batch->writes, need * sizeof *writes);
    if (!writes)
        return KV_ENOMEM;
    batch->writes = writes;
    kvi_handle *handles = os->realloc(os, batch->handles, need * sizeof *handles);
    if (!handles)
        return KV_ENOMEM;
    batch->handles = handles;
    batch->cap_writes = need;
    return KV_OK;
}

int kvi_batch_take(kvi_batch *batch)
{
    kv_db *db = batch->txn->db;
    for (int kind = 0; kind < 2; kind++) {
        size_t n = batch->n[kind] - batch->used[kind];
        kvi_pgno *numbers =
            db->os->realloc(db->os, batch->numbers[kind], (batch->n[kind] + 1) * sizeof *numbers);
        if (!numbers)
            return KV_ENOMEM;
        batch->numbers[kind] = numbers;
        int rc = n ? kvi_space_take(db->space, kind, n, numbers + batch->used[kind]) : KV_OK;
        if (rc != KV_OK)
            return rc;
    }
    return room_for_writes(batch, batch->n[0] + batch->n[1]);
}

static void batch_append(kvi_batch *batch, kvi_pgno page, const uint8_t *bytes, kvi_handle handle)
{
    batch->writes[batch->n_writes] = (kvi_page_write){page, bytes};
    batch->handles[batch->n_writes++] = handle;
}

static const kvi_private *seal_node(kvi_batch *batch, const kv_tree *tree, kvi_ptr ptr,
                                    unsigned level);

/* Completes a branch's private children, and then knows the least expiry below each. */
static void seal_children(kvi_batch *batch, const kv_tree *tree, uint8_t *page, unsigned level)
{
    uint32_t page_size = batch->txn->db->file.page_size;
    unsigned count = kvi_node_count(page), i = kvi_branch_private(page, page_size, 0);
    for (; i <= count; i = kvi_branch_private(page, page_size, i + 1)) {
        kvi_ptr child = kvi_branch_child(page, page_size, i);
        const kvi_private *item = seal_node(batch, tree, child, level - 1);
        kvi_branch_set_child(page, page_size, i, item->sealed);
        if (kvi_tree_expires(tree))
            kvi_branch_set_expiry(page, page_size, i, item->expiry);
    }
}

/* Gives a private node its place in the file, children first. */
static const kvi_private *seal_node(kvi_batch *batch, const kv_tree *tree, kvi_ptr ptr,
                                    unsigned level)
{
    kv_db *db = batch->txn->db;
    uint32_t page_size = db->file.page_size;
    kvi_private *item = kvi_dirty_at(&db->dirty, ptr.page);
    if (item->sealed.page)
        return item;
    uint8_t *page = item->bytes;
    if (level > 0)
        seal_children(batch, tree, page, level);
    kvi_node_pack(page, page_size, db->scratch);
    enum kvi_space_kind kind = kind_of(level);
    kvi_ptr place = {batch->numbers[kind][batch->used[kind]++], batch->txn->id};
    uint64_t checksum = kvi_file_stamp(&db->file, page, place);
    batch->sums.seal += checksum;
    batch->sums.walk += page_size;
    batch_append(batch, place.page, page, ptr.page);
    item->sealed = place;
    item->checksum = checksum;
    item->expiry = kvi_tree_expires(tree) ? kvi_node_least_expiry(page, page_size) : 0;
    return item;
}

int kvi_batch_seal(kvi_batch *batch, kv_tree *tree)
{
    kvi_tree_desc *desc = &tree->desc;
    if (desc->root.page && desc->root.birth == 0) {
        const kvi_private *root = seal_node(batch, tree, desc->root, desc->level);
        desc->root = root->sealed;
        desc->min_expiry = root->expiry;
    }
    return KV_OK;
}

int kvi_batch_add(kvi_batch *batch, kvi_pgno page, const uint8_t *bytes)
{
    kvi_dirty *dirty = &batch->txn->db->dirty;
    int rc = room_for_writes(batch, 1);
    if (rc == KV_OK)
        rc = kvi_dirty_reserve(dirty, 1);
    if (rc != KV_OK)
        return rc;
    uint8_t *copy = kvi_dirty_at(dirty, kvi_dirty_page(dirty, 0))->bytes;
    memcpy(copy, bytes, dirty->page_size);
    batch->sums.seal += kvi_get64(copy + KVI_P_checksum);
    batch->sums.walk += dirty->page_size;
    batch_append(batch, page, copy, 0);
    return KV_OK;
}

static int by_page(const void *a, const void *b)
{
    const kvi_page_write *x = a, *y = b;
    return (x->page > y->page) - (x->page < y->page);
}

int kvi_batch_write(kvi_batch *batch)
{
    kv_txn *txn = batch->txn;
    kvi_file *file = &txn->db->file;
    if (batch->n_writes == 0)
        return KV_OK;
    kvi_txn_writes(txn);
    qsort(batch->writes, batch->n_writes, sizeof *batch->writes, by_page);
    return kvi_file_write_pages(file, batch->writes, batch->n_writes);
}

void kvi_batch_trust(const kvi_batch *batch, const kvi_view *view)
{
    for (size_t i = 0; i < batch->n_writes; i++)
        kvi_file_trust(view, (kvi_ptr){batch->writes[i].page, batch->txn->id}, false);
}

/* ---- early ---- */

#ifdef KVI_STRESS
#define APPEND_RUN ((uint64_t)8 << 10) /* bytes of leaves */
#else
#define APPEND_RUN ((uint64_t)4 << 20)
#endif

/* Without a savepoint nothing but the trees refers to private pages, and those now name pages of
 * the file; else the handles stay, and lead there. */
static void forget_buffers(kvi_batch *batch)
{
    kvi_dirty *dirty = &batch->txn->db->dirty;
    if (dirty->floor == 0) {
        kvi_dirty_reset(dirty);
        return;
    }
    for (size_t i = 0; i < batch->n_writes; i++) {
        const kvi_private *item = kvi_dirty_at(dirty, batch->handles[i]);
        kvi_dirty_seal(dirty, batch->handles[i], item->sealed, item->checksum);
    }
}

static int for_each_tree(kvi_batch *batch, int (*step)(kvi_batch *batch, kv_tree *tree))
{
    kv_txn *txn = batch->txn;
    int rc = step(batch, &txn->main);
    if (rc == KV_OK)
        rc = step(batch, &txn->catalog);
    if (rc == KV_OK)
        rc = step(batch, &txn->snapshots);
    for (kv_tree *tree = txn->trees; tree && rc == KV_OK; tree = tree->next)
        rc = tree->gone ? KV_OK : step(batch, tree);
    return rc;
}

static int seal_tree_early(kvi_batch *batch, kv_tree *tree)
{
    kvi_ptr handle = tree->desc.root;
    int rc = kvi_batch_seal(batch, tree);
    if (batch->txn->db->dirty.floor != 0)
        tree->desc.root = handle; /* a savepoint may bring the handle's buffer state back */
    tree->run_leaf = 0;
    return rc;
}

static int seal_all_early(kvi_batch *batch)
{
    kv_txn *txn = batch->txn;
    kv_db *db = txn->db;
    int rc = for_each_tree(batch, kvi_batch_count);
    if (rc == KV_OK)
        rc = kvi_batch_take(batch);
    if (rc == KV_OK)
        rc = for_each_tree(batch, seal_tree_early);
    if (rc == KV_OK)
        rc = kvi_batch_write(batch);
    if (rc == KV_OK)
        rc = kvi_file_extend(&db->file, kvi_space_high_water(db->space));
    if (rc == KV_OK)
        rc = kvi_file_view(&db->file, kvi_space_high_water(db->space), txn->id, &txn->view);
    return rc;
}

/* Leaves that ascending keys have filled will not change again: written while they are in the
 * processor's caches, and their buffers used again, they cost a third less. */
static bool run_complete(const kv_txn *txn)
{
    const kvi_dirty *dirty = &txn->db->dirty;
    uint64_t run = APPEND_RUN >> txn->db->file.page_shift;
    return txn->appended >= run && dirty->floor == 0 &&
           dirty->bytes >> txn->db->file.page_shift <= txn->appended + run / 16;
}

static bool over_budget(const kv_txn *txn)
{
    uint64_t bytes = txn->db->dirty.bytes;
    return bytes > txn->db->memory_budget && bytes - txn->retained > txn->db->memory_budget;
}

int kvi_seal_early(kv_txn *txn)
{
    kvi_batch batch;
    const kvi_dirty *dirty = &txn->db->dirty;
    if (KVI_LIKELY(!over_budget(txn) && !run_complete(txn)))
        return KV_OK;
    kvi_batch_init(&batch, txn);
    int rc = seal_all_early(&batch);
    txn->changes++;
    if (rc == KV_OK) {
        kvi_batch_trust(&batch, &txn->view);
        forget_buffers(&batch);
        txn->sealed.seal += batch.sums.seal;
        txn->sealed.walk += batch.sums.walk;
        txn->retained = dirty->bytes;
        txn->appended = 0;
    }
    kvi_batch_close(&batch);
    return kvi_txn_spoil(txn, rc);
}
