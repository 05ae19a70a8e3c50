/* seal.c - see seal.h. */
#include "seal.h"
#include <stdlib.h>

void kvi_batch_init(kvi_batch *batch, kv_txn *txn)
{
    *batch = (kvi_batch){.txn = txn, .room = txn->db->batch_room};
    txn->db->batch_room = (kvi_batch_room){0};
}

void kvi_batch_close(kvi_batch *batch)
{
    kv_db *db = batch->txn->db;
    kvi_batch_room older = db->batch_room; /* of a batch that began behind this one */
    db->batch_room = batch->room;
    kvi_batch_room_free(&older, db->os);
}

static enum kvi_space_kind kind_of(unsigned level)
{
    return level == 0 ? KVI_SPACE_LEAF : KVI_SPACE_BRANCH;
}

/* ---- gathering ---- */

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

static int node_add(kvi_batch *batch, kvi_unsealed node)
{
    kvi_batch_room *room = &batch->room;
    kvi_unsealed *nodes = kvi_os_room(batch->txn->db->os, room->nodes, &room->nodes_cap,
                                      batch->n_nodes + 1, sizeof *nodes);
    if (!nodes)
        return KV_ENOMEM;
    room->nodes = nodes;
    nodes[batch->n_nodes++] = node;
    return KV_OK;
}

static int gather_node(kvi_batch *batch, kvi_unsealed node, bool *open);

static int gather_children(kvi_batch *batch, const kvi_unsealed *node, uint8_t *page, bool *open)
{
    uint32_t page_size = batch->txn->db->file.page_size;
    unsigned count = kvi_node_count(page), i = kvi_branch_private(page, page_size, 0);
    int rc = KV_OK;
    for (; rc == KV_OK && i <= count; i = kvi_branch_private(page, page_size, i + 1)) {
        kvi_handle child = kvi_branch_child(page, page_size, i).page;
        rc = gather_node(batch, (kvi_unsealed){child, node->tree, page, i, node->level - 1}, open);
    }
    return rc;
}

/* Will the leaf change again, as will the branches above it? */
static bool leaf_open(const kvi_batch *batch, const kvi_unsealed *node)
{
    return batch->leaves_open && node->level == 0 && node->handle == node->tree->run_leaf;
}

/* What an early batch has written under a savepoint has no bytes any more, and nothing below it that
 * is private; its parent has yet to learn where it went. */
static int gather_node(kvi_batch *batch, kvi_unsealed node, bool *open)
{
    kv_db *db = batch->txn->db;
    if (!kvi_dirty_knows_node(&db->dirty, node.handle, node.level))
        return kvi_txn_changed(batch->txn);
    uint8_t *page = kvi_dirty_bytes(&db->dirty, node.handle);
    bool stays = leaf_open(batch, &node);
    int rc = KV_OK;
    if (page && node.level > 0)
        rc = gather_children(batch, &node, page, &stays);
    else if (page && !stays && node.tree->desc.large_pages)
        rc = seal_large_values(batch, page);
    if (rc == KV_OK && stays) {
        *open = true;
        return KV_OK;
    }
    if (page)
        batch->n[kind_of(node.level)]++;
    return rc == KV_OK ? node_add(batch, node) : rc;
}

int kvi_batch_gather(kvi_batch *batch, kv_tree *tree)
{
    kvi_ptr root = tree->desc.root;
    kvi_unsealed node = {.handle = root.page, .tree = tree, .level = tree->desc.level};
    bool open = false;
    int rc = root.page && root.birth == 0 ? gather_node(batch, node, &open) : KV_OK;
    if (!open)
        tree->run_leaf = 0; /* its handle is not going to lead to it any more */
    return rc;
}

/* ---- sealing ---- */

static int room_for_writes(kvi_batch *batch, size_t more)
{
    kvi_batch_room *room = &batch->room;
    kvi_page_write *writes = kvi_os_room(batch->txn->db->os, room->writes, &room->writes_cap,
                                         batch->n_writes + more, sizeof *writes);
    if (!writes)
        return KV_ENOMEM;
    room->writes = writes;
    return KV_OK;
}

/* The numbers of each kind, those of leaves first. */
static int take_numbers(kvi_batch *batch)
{
    kv_db *db = batch->txn->db;
    kvi_batch_room *room = &batch->room;
    size_t all = batch->n[0] + batch->n[1], at = 0;
    if (all == 0)
        return KV_OK;
    kvi_pgno *numbers =
        kvi_os_room(db->os, room->numbers, &room->numbers_cap, all, sizeof *numbers);
    if (!numbers)
        return KV_ENOMEM;
    room->numbers = numbers;
    int rc = KV_OK;
    for (int kind = 0; rc == KV_OK && kind < 2; kind++) {
        if (batch->n[kind])
            rc = kvi_space_take(db->space, kind, batch->n[kind], numbers + at);
        at += batch->n[kind];
    }
    return rc == KV_OK ? room_for_writes(batch, all) : rc;
}

static void batch_append(kvi_batch *batch, kvi_pgno page, const uint8_t *bytes)
{
    batch->room.writes[batch->n_writes++] = (kvi_page_write){page, bytes};
}

/* Completes a node whose children know their places, and gives it its own. */
static void seal_node(kvi_batch *batch, const kv_tree *tree, kvi_handle handle, kvi_pgno number)
{
    kv_db *db = batch->txn->db;
    kvi_private *item = kvi_dirty_at(&db->dirty, handle);
    uint8_t *bytes = kvi_dirty_bytes(&db->dirty, handle);
    uint32_t page_size = db->file.page_size;
    kvi_node_pack(bytes, page_size, db->scratch);
    item->sealed = (kvi_ptr){number, batch->txn->id};
    item->checksum = kvi_file_stamp(&db->file, bytes, item->sealed);
    item->expiry = kvi_tree_expires(tree) ? kvi_node_least_expiry(bytes, page_size) : 0;
    batch->sums.seal += item->checksum;
    batch->sums.walk += page_size;
    batch_append(batch, number, bytes);
}

/* Tells whoever leads to a sealed node where it is, and the least expiry below it. */
static void node_link(const kvi_unsealed *node, const kvi_private *item, uint32_t page_size)
{
    kv_tree *tree = node->tree;
    if (!node->parent) {
        tree->desc.root = item->sealed;
        tree->desc.min_expiry = item->expiry;
        return;
    }
    kvi_branch_set_child(node->parent, page_size, node->child, item->sealed);
    if (kvi_tree_expires(tree))
        kvi_branch_set_expiry(node->parent, page_size, node->child, item->expiry);
}

int kvi_batch_seal(kvi_batch *batch)
{
    const kv_db *db = batch->txn->db;
    int rc = take_numbers(batch);
    if (rc != KV_OK)
        return rc;
    size_t next[2] = {0, batch->n[0]};
    for (; batch->n_sealed < batch->n_nodes; batch->n_sealed++) {
        const kvi_unsealed *node = &batch->room.nodes[batch->n_sealed];
        const kvi_private *item = kvi_dirty_at(&db->dirty, node->handle);
        if (kvi_dirty_bytes(&db->dirty, node->handle)) {
            if (item->sealed.birth == batch->txn->id)
                return kvi_txn_changed(batch->txn); /* it is in two places */
            seal_node(batch, node->tree, node->handle,
                      batch->room.numbers[next[kind_of(node->level)]++]);
        }
        node_link(node, item, db->file.page_size);
    }
    batch->n[0] = batch->n[1] = 0;
    return KV_OK;
}

/* ---- writing ---- */

int kvi_batch_add(kvi_batch *batch, kvi_pgno page, const uint8_t *bytes)
{
    kvi_dirty *dirty = &batch->txn->db->dirty;
    int rc = room_for_writes(batch, 1);
    if (rc == KV_OK)
        rc = kvi_dirty_reserve(dirty, 1);
    if (rc != KV_OK)
        return rc;
    uint8_t *copy = kvi_dirty_bytes(dirty, kvi_dirty_page(dirty, 0));
    memcpy(copy, bytes, dirty->page_size);
    batch->sums.seal += kvi_get64(copy + KVI_P_checksum);
    batch->sums.walk += dirty->page_size;
    batch_append(batch, page, copy);
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
    qsort(batch->room.writes, batch->n_writes, sizeof *batch->room.writes, by_page);
    return kvi_file_write_pages(file, batch->room.writes, batch->n_writes,
                                batch->passing ? NULL : kvi_txn_waiting(txn));
}

void kvi_batch_trust(const kvi_batch *batch, const kvi_view *view)
{
    for (size_t i = 0; i < batch->n_writes; i++)
        kvi_file_trust(view, (kvi_ptr){batch->room.writes[i].page, batch->txn->id},
                       batch->room.writes[i].bytes);
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
    if (dirty->floor == 0 && !batch->leaves_open) {
        kvi_dirty_reset(dirty);
        return;
    }
    for (size_t i = 0; i < batch->n_nodes; i++) {
        kvi_handle handle = batch->room.nodes[i].handle;
        const kvi_private *item = kvi_dirty_at(dirty, handle);
        kvi_dirty_seal(dirty, handle, item->sealed, item->checksum);
    }
}

static int gather_all(kvi_batch *batch)
{
    kv_txn *txn = batch->txn;
    int rc = kvi_batch_gather(batch, &txn->main);
    if (rc == KV_OK)
        rc = kvi_batch_gather(batch, &txn->catalog);
    if (rc == KV_OK)
        rc = kvi_batch_gather(batch, &txn->snapshots);
    for (kv_tree *tree = txn->trees; tree && rc == KV_OK; tree = tree->next)
        rc = tree->gone ? KV_OK : kvi_batch_gather(batch, tree);
    return rc;
}

/* A savepoint may bring back the state of a root's handle. */
static void keep_handles(kvi_batch *batch)
{
    if (batch->txn->db->dirty.floor == 0)
        return;
    for (size_t i = 0; i < batch->n_nodes; i++) {
        const kvi_unsealed *node = &batch->room.nodes[i];
        if (!node->parent)
            node->tree->desc.root = (kvi_ptr){node->handle, 0};
    }
}

static int seal_all_early(kvi_batch *batch)
{
    kv_txn *txn = batch->txn;
    int rc = kvi_txn_renew(txn);
    if (rc == KV_OK)
        rc = gather_all(batch);
    if (rc == KV_OK)
        rc = kvi_batch_seal(batch);
    if (rc == KV_OK)
        keep_handles(batch);
    if (rc == KV_OK)
        rc = kvi_batch_write(batch);
    return rc == KV_OK ? kvi_txn_look(txn) : rc;
}

/* Leaves that ascending keys have filled will not change again: written while they are in the
 * processor's caches, and their buffers used again, they cost a third less. The last one, and what
 * leads to it, stays. */
static bool run_complete(const kv_txn *txn)
{
    const kvi_dirty *dirty = &txn->db->dirty;
    unsigned shift = txn->db->file.page_shift;
    uint64_t run = APPEND_RUN >> shift;
    return txn->appended >= run && dirty->floor == 0 &&
           dirty->bytes >> shift <= (txn->retained >> shift) + txn->appended + run / 16;
}

static bool over_budget(const kv_txn *txn)
{
    const kvi_dirty *dirty = &txn->db->dirty;
    uint64_t retained = dirty->floor == 0 ? 0 : txn->retained;
    return dirty->bytes > txn->db->memory_budget &&
           dirty->bytes - retained > txn->db->memory_budget;
}

int kvi_seal_early(kv_txn *txn)
{
    kvi_batch batch;
    const kvi_dirty *dirty = &txn->db->dirty;
    bool complete = run_complete(txn);
    if (KVI_LIKELY(!complete && !over_budget(txn)))
        return KV_OK;
    kvi_batch_init(&batch, txn);
    batch.passing = !complete;
    batch.leaves_open = complete;
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
