/* restore.c - see restore.h. */
#include "restore.h"
#include "mutant.h"
#include "pgset.h"
#include "seal.h"
#include "shift.h"

#define BATCH   256                     /* pages that are written at once */
#define BUFFERS (2 * KVI_LEVEL_MAX + 2) /* nodes on the way: of the catalog, of a tree it names */

typedef struct restore {
    kv_txn *txn;
    const kvi_named *named;
    kvi_view then;    /* of the snapshot */
    kvi_pgset shared; /* what the present keeps: the topmost nodes, and first pages of values */
    kvi_pgset rewritten;
    kvi_batch batch;
    uint8_t *buffers[BUFFERS];
    unsigned depth; /* buffers in use */
} restore;

static uint32_t page_size_of(const restore *r)
{
    return r->txn->db->file.page_size;
}

static int restore_broken(restore *r, kvi_ptr ptr)
{
    return kvi_fail(&r->txn->db->err, KV_ECORRUPT,
                    "page %llu (birth %llu) cannot be restored: it is used twice, or leads nowhere",
                    (unsigned long long)ptr.page, (unsigned long long)ptr.birth);
}

/* Numbers that come from a page are not believed where they decide about memory. */
static bool inside(const restore *r, kvi_ptr ptr, uint64_t pages)
{
    kvi_pgno high_water = r->txn->base.high_water;
    return ptr.page < high_water && pages <= high_water - ptr.page;
}

static bool large_inside(const restore *r, const kvi_large *large)
{
    return inside(r, large->ptr, large->pages) && large->stored_len > 0 &&
           large->pages == kvi_large_pages(large->stored_len, page_size_of(r));
}

/* ---- the present goes ---- */

static int leave_tree(restore *r, const kvi_tree_desc *desc, bool catalog);

/* The catalog's entry of a tree; bytes: of a value. */
static bool described(const restore *r, kvi_slice bytes, bool special, kvi_id newest,
                      kvi_tree_desc *desc)
{
    return !special && bytes.len == KVI_TREE_SIZE &&
           kvi_tree_desc_decode(bytes.ptr, page_size_of(r), r->txn->base.high_water, newest, desc);
}

static int leave_value(restore *r, kvi_stored stored)
{
    kvi_entry entry;
    if (!kvi_entry_parse(stored, &entry) || !(entry.flags & KVI_ENTRY_LARGE))
        return KV_OK;
    if (!large_inside(r, &entry.large))
        return restore_broken(r, entry.large.ptr);
    if (entry.large.ptr.birth > r->named->id)
        return kvi_txn_drop_run(r->txn, entry.large.ptr, entry.large.pages);
    kvi_pgset_add(&r->shared, entry.large.ptr.page, 1);
    return KV_OK;
}

static int leave_leaf(restore *r, kvi_ptr ptr, const uint8_t *page, bool catalog)
{
    int rc = KV_OK;
    for (unsigned i = 0; rc == KV_OK && i < kvi_node_count(page); i++) {
        kvi_stored stored;
        kvi_tree_desc desc;
        stored.bytes = kvi_leaf_value(page, page_size_of(r), i, &stored.special);
        if (!catalog)
            rc = stored.special ? leave_value(r, stored) : KV_OK;
        else if (described(r, stored.bytes, stored.special, ptr.birth, &desc))
            rc = leave_tree(r, &desc, false);
        else
            rc = restore_broken(r, ptr);
    }
    return rc;
}

/* Dropped before what is below it: that a page cannot be dropped twice ends the visit of a file whose
 * pages lead to each other. */
static int leave_node(restore *r, kvi_ptr ptr, unsigned level, bool catalog)
{
    const uint8_t *page;
    if (!inside(r, ptr, 1))
        return restore_broken(r, ptr);
    if (ptr.birth <= r->named->id) {
        kvi_pgset_add(&r->shared, ptr.page, 1);
        return KV_OK;
    }
    int rc = kvi_txn_node(r->txn, ptr, level, &page);
    if (rc == KV_OK)
        rc = kvi_txn_drop_node(r->txn, ptr, page);
    if (rc == KV_OK && level == 0)
        return leave_leaf(r, ptr, page, catalog);
    for (unsigned i = 0; rc == KV_OK && i <= kvi_node_count(page); i++)
        rc = leave_node(r, kvi_branch_child(page, page_size_of(r), i), level - 1, catalog);
    return rc;
}

static int leave_tree(restore *r, const kvi_tree_desc *desc, bool catalog)
{
    return desc->root.page ? leave_node(r, desc->root, desc->level, catalog) : KV_OK;
}

/* ---- the snapshot comes ---- */

static int rewrite_tree(restore *r, kvi_tree_desc *desc, bool catalog);

static int batch_flush(restore *r)
{
    kvi_batch *batch = &r->batch;
    int rc = kvi_batch_write(batch);
    r->txn->sealed.seal += batch->sums.seal;
    r->txn->sealed.walk += batch->sums.walk;
    kvi_batch_close(batch);
    kvi_batch_init(batch, r->txn);
    kvi_dirty_reset(&r->txn->db->dirty); /* nothing else is private */
    return rc;
}

/* Gives the node a place of its own. */
static int node_place(restore *r, kvi_ptr *ptr, unsigned level, uint8_t *page)
{
    kv_db *db = r->txn->db;
    kvi_ptr place = {0, r->txn->id};
    int rc = kvi_space_take(db->space, level ? KVI_SPACE_BRANCH : KVI_SPACE_LEAF, 1, &place.page);
    if (rc != KV_OK)
        return rc;
    kvi_file_stamp(&db->file, page, place);
    rc = kvi_batch_add(&r->batch, place.page, page);
    if (rc == KV_OK && r->batch.n_writes >= BATCH)
        rc = batch_flush(r);
    *ptr = place;
    return rc;
}

static int rewrite_value(restore *r, uint8_t *bytes, kvi_stored stored)
{
    kv_txn *txn = r->txn;
    kvi_entry entry;
    kvi_large *large = &entry.large;
    kvi_pgno first;
    if (!kvi_entry_parse(stored, &entry) || !(entry.flags & KVI_ENTRY_LARGE))
        return KV_OK;
    if (!large_inside(r, large))
        return restore_broken(r, large->ptr);
    if (kvi_pgset_has(&r->shared, large->ptr.page))
        return KV_OK;
    if (!kvi_pgset_add(&r->rewritten, large->ptr.page, 1))
        return restore_broken(r, large->ptr);
    int rc = kvi_space_take_run(txn->db->space, large->pages, &first);
    if (rc != KV_OK)
        return rc;
    rc = kvi_shift_value(txn, large, first);
    kvi_large_put(bytes + kvi_entry_ref_at(&entry), large);
    return rc;
}

/* The values of a leaf that lead to pages keep their length, so they are changed where they stand. */
static int rewrite_leaf(restore *r, kvi_ptr ptr, uint8_t *page, bool catalog)
{
    int rc = KV_OK;
    for (unsigned i = 0; rc == KV_OK && i < kvi_node_count(page); i++) {
        kvi_stored stored;
        kvi_tree_desc desc;
        stored.bytes = kvi_leaf_value(page, page_size_of(r), i, &stored.special);
        uint8_t *bytes = page + (stored.bytes.ptr - page);
        if (!catalog) {
            rc = stored.special ? rewrite_value(r, bytes, stored) : KV_OK;
        } else if (described(r, stored.bytes, stored.special, ptr.birth, &desc)) {
            rc = rewrite_tree(r, &desc, false);
            desc.placed = r->txn->id; /* the name may have led elsewhere meanwhile */
            kvi_tree_desc_encode(&desc, bytes);
        } else {
            rc = restore_broken(r, ptr);
        }
    }
    return rc;
}

static int buffer_take(restore *r, uint8_t **buffer)
{
    const kvi_os *os = r->txn->db->os;
    uint8_t **own = &r->buffers[r->depth];
    if (!*own)
        *own = os->alloc(os, page_size_of(r));
    if (!*own)
        return KV_ENOMEM;
    r->depth++;
    *buffer = *own;
    return KV_OK;
}

static int rewrite_node(restore *r, kvi_ptr *ptr, unsigned level, bool catalog)
{
    uint32_t page_size = page_size_of(r);
    const uint8_t *old;
    uint8_t *page;
    if (!inside(r, *ptr, 1))
        return restore_broken(r, *ptr);
    if (kvi_pgset_has(&r->shared, ptr->page))
        return KV_OK;
    if (!kvi_pgset_add(&r->rewritten, ptr->page, 1))
        return restore_broken(r, *ptr);
    int rc = kvi_file_node(&r->then, *ptr, level, &old);
    if (rc == KV_OK)
        rc = buffer_take(r, &page);
    if (rc != KV_OK)
        return rc;
    memcpy(page, old, page_size);
    for (unsigned i = 0; level && rc == KV_OK && i <= kvi_node_count(page); i++) {
        kvi_ptr child = kvi_branch_child(page, page_size, i);
        rc = rewrite_node(r, &child, level - 1, catalog);
        kvi_branch_set_child(page, page_size, i, child);
    }
    if (rc == KV_OK && level == 0)
        rc = rewrite_leaf(r, *ptr, page, catalog);
    r->depth--;
    return rc == KV_OK ? node_place(r, ptr, level, page) : rc;
}

static int rewrite_tree(restore *r, kvi_tree_desc *desc, bool catalog)
{
    return desc->root.page ? rewrite_node(r, &desc->root, desc->level, catalog) : KV_OK;
}

/* ---- all ---- */

static void restore_end(restore *r)
{
    const kvi_os *os = r->txn->db->os;
    for (size_t i = 0; i < KVI_COUNT(r->buffers); i++)
        os->free(os, r->buffers[i]);
    kvi_batch_close(&r->batch);
    kvi_pgset_close(&r->shared);
    kvi_pgset_close(&r->rewritten);
}

static int restore_begin(restore *r)
{
    kv_txn *txn = r->txn;
    kvi_pgno high_water = txn->base.high_water;
    kvi_batch_init(&r->batch, txn);
    if (kvi_pgset_init(&r->shared, txn->db->os, high_water) != KV_OK ||
        kvi_pgset_init(&r->rewritten, txn->db->os, high_water) != KV_OK)
        return kvi_fail(&txn->db->err, KV_ENOMEM, "no memory to restore a snapshot");
    return kvi_file_view(&txn->db->file, high_water, r->named->id, &r->then);
}

static int restore_run(restore *r)
{
    kv_txn *txn = r->txn;
    kvi_tree_desc main = r->named->main, catalog = r->named->catalog;
    int rc = leave_tree(r, &txn->main.desc, false);
    if (rc == KV_OK)
        rc = leave_tree(r, &txn->catalog.desc, true);
    if (rc == KV_OK)
        rc = rewrite_tree(r, &main, false);
    if (rc == KV_OK)
        rc = rewrite_tree(r, &catalog, true);
    if (rc == KV_OK)
        rc = batch_flush(r);
    if (rc == KV_OK)
        rc = kvi_txn_look(txn); /* the commit may sweep it */
    txn->main.desc = main;
    if (!KVI_MUTANT(NAMES_NOT_RESTORED))
        txn->catalog.desc = catalog;
    txn->main.changed = true;
    txn->catalog.changed = true;
    txn->changes++;
    return rc;
}

int kvi_restore(kv_txn *txn, const kvi_named *named)
{
    restore r = {.txn = txn, .named = named};
    int rc = restore_begin(&r);
    if (rc == KV_OK)
        rc = restore_run(&r);
    restore_end(&r);
    return kvi_txn_spoil(txn, rc);
}
