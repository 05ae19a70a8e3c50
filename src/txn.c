/* txn.c - private pages and savepoints of a transaction; see txn.h. */
#include "txn.h"
#include "node.h"

int kvi_txn_failed(const kv_txn *txn)
{
    return kvi_fail(&txn->db->err, KV_EBADTXN, "%s", kv_strerror(KV_EBADTXN));
}

int kvi_txn_changed(kv_txn *txn)
{
    return kvi_fail(&txn->db->err, KV_ECORRUPT, "a page changed after it was verified");
}

int kvi_txn_sealed(kv_txn *txn, kvi_handle handle, unsigned level, const uint8_t **page)
{
    const kvi_dirty *dirty = &txn->db->dirty;
    if (!txn->write || !kvi_dirty_knows_node(dirty, handle, level))
        return kvi_txn_changed(txn);
    return kvi_file_node(&txn->view, kvi_dirty_at(dirty, handle)->sealed, level, page);
}

static bool tail_page(const kv_txn *txn, kvi_id birth)
{
    return birth > txn->db->head.durable; /* counted in the seal and the walk */
}

static int drop_page(kv_txn *txn, kvi_ptr ptr, const uint8_t *bytes)
{
    int rc = kvi_space_drop(txn->db->space, ptr.page, 1, ptr.birth);
    if (rc == KV_OK && tail_page(txn, ptr.birth)) {
        txn->dropped.seal += kvi_get64(bytes + KVI_P_checksum);
        txn->dropped.walk += txn->db->file.page_size;
    }
    return rc;
}

int kvi_txn_drop_node(kv_txn *txn, kvi_ptr ptr, const uint8_t *bytes)
{
    if (ptr.birth != 0)
        return drop_page(txn, ptr, bytes);
    kvi_dirty *dirty = &txn->db->dirty;
    if (!kvi_dirty_knows(dirty, ptr.page)) /* two pages lead to it, and one was here before */
        return kvi_txn_changed(txn);
    int rc = kvi_dirty_bytes(dirty, ptr.page)
                 ? KV_OK
                 : drop_page(txn, kvi_dirty_at(dirty, ptr.page)->sealed, bytes);
    if (rc == KV_OK)
        kvi_dirty_replace(dirty, ptr.page);
    return rc;
}

int kvi_txn_drop_run(kv_txn *txn, kvi_ptr ptr, uint64_t pages)
{
    int rc = kvi_space_drop(txn->db->space, ptr.page, pages, ptr.birth);
    if (rc == KV_OK && tail_page(txn, ptr.birth))
        txn->dropped.walk += pages * txn->db->file.page_size;
    return rc;
}

/* Is the copy one of the node that was meant? Another page may stand there by now; what leads to addresses
 * by its level (the tallies) leaves it to the page to know that. */
static bool copy_is_of(const kv_txn *txn, kvi_ptr ptr, unsigned level, const uint8_t *bytes)
{
    return kvi_node_level(bytes) == level &&
           (ptr.birth == 0 || kvi_file_matches(&txn->db->file, bytes, ptr, false) == 0);
}

int kvi_txn_touch(kv_txn *txn, kvi_ptr *ptr, unsigned level, const uint8_t **page)
{
    kvi_dirty *dirty = &txn->db->dirty;
    if (ptr->birth == 0 && kvi_dirty_writable(dirty, ptr->page))
        return KV_OK;
    kvi_handle copy = kvi_dirty_page(dirty, level);
    uint8_t *bytes = kvi_dirty_bytes(dirty, copy);
    memcpy(bytes, *page, dirty->page_size);
    int rc = copy_is_of(txn, *ptr, level, bytes) ? kvi_txn_drop_node(txn, *ptr, bytes)
                                                 : kvi_txn_changed(txn);
    if (rc != KV_OK) {
        kvi_dirty_release(dirty, copy);
        return rc;
    }
    *ptr = (kvi_ptr){copy, 0};
    *page = bytes;
    return KV_OK;
}

void kvi_txn_writes(kv_txn *txn)
{
    txn->wrote = true;
    kvi_readers_writing(&txn->db->readers, txn->id);
}

int kvi_txn_lend(kv_txn *txn, uint64_t len, uint8_t **bytes)
{
    const kvi_os *os = txn->db->os;
    kvi_loan *loan = len < SIZE_MAX / 2 ? os->alloc(os, sizeof *loan + (size_t)len) : NULL;
    if (!loan)
        return KV_ENOMEM;
    loan->len = len;
    loan->next = txn->loans;
    txn->loans = loan;
    *bytes = loan->bytes;
    return KV_OK;
}

void kvi_loans_end(kvi_loan **loans, const kvi_loan *kept, const kvi_os *os)
{
    while (*loans != kept) {
        kvi_loan *loan = *loans;
        *loans = loan->next;
        os->free(os, loan);
    }
}

void kvi_txn_unlend(kv_txn *txn, const kvi_loan *kept)
{
    kvi_loans_end(&txn->loans, kept, txn->db->os);
}

void kvi_txn_return(kv_txn *txn, kvi_loan *loan)
{
    kvi_loan **at = &txn->loans;
    while (*at != loan)
        at = &(*at)->next;
    *at = loan->next;
    txn->db->os->free(txn->db->os, loan);
}

int kvi_txn_keep(kv_txn *txn, uint64_t len, uint8_t **bytes)
{
    kvi_loan **kept = &txn->kept[txn->kept_turn++ % 2];
    if (!*kept || (*kept)->len < len) {
        uint64_t room = *kept ? KVI_MAX(len, 2 * (*kept)->len) : len; /* few are outgrown */
        int rc = kvi_txn_lend(txn, room, bytes);
        if (rc != KV_OK)
            return rc;
        *kept = txn->loans;
    }
    *bytes = (*kept)->bytes;
    return KV_OK;
}

/* ---- savepoints ---- */

static void save_tree(kv_txn *txn, kv_tree *tree)
{
    txn->saved[txn->n_saved++] = (kvi_saved_tree){
        .tree = tree,
        .desc = tree->desc,
        .changed = tree->changed,
        .gone = tree->gone,
        .name = tree->name,
        .name_len = tree->name_len,
    };
}

int kvi_txn_savepoint(kv_txn *txn, uint32_t *savepoint)
{
    const kvi_os *os = txn->db->os;
    size_t n_trees = 2;
    for (kv_tree *tree = txn->trees; tree; tree = tree->next)
        n_trees++;
    kvi_savepoint *points = kvi_os_room(os, txn->savepoints, &txn->savepoints_cap,
                                        txn->n_savepoints + 1, sizeof *points);
    if (!points)
        return KV_ENOMEM;
    txn->savepoints = points;
    kvi_saved_tree *saved =
        kvi_os_room(os, txn->saved, &txn->saved_cap, txn->n_saved + n_trees, sizeof *saved);
    if (!saved)
        return KV_ENOMEM;
    txn->saved = saved;
    points[txn->n_savepoints++] = (kvi_savepoint){
        .dirty = kvi_dirty_mark(&txn->db->dirty),
        .space = kvi_space_mark(txn->db->space),
        .dropped = txn->dropped,
        .n_trees = n_trees,
        .saved = txn->n_saved,
    };
    save_tree(txn, &txn->main);
    save_tree(txn, &txn->catalog);
    for (kv_tree *tree = txn->trees; tree; tree = tree->next)
        save_tree(txn, tree);
    *savepoint = (uint32_t)txn->n_savepoints;
    return KV_OK;
}

/* An early-sealed page or value of the undone part. Its drop is kept apart from the others, so
 * that a rollback to an outer savepoint does not forget it. */
static int give_back(void *context, const kvi_private *item)
{
    kv_txn *txn = context;
    uint32_t page_size = txn->db->file.page_size;
    uint64_t pages = item->len ? (item->len + page_size - 1) / page_size : 1;
    kvi_extent run = {item->sealed.page, pages, item->sealed.birth, 0};
    int rc = kvi_extents_push(&txn->lost, txn->db->os, run);
    if (rc != KV_OK)
        return rc;
    txn->sealed.seal -= item->len ? 0 : item->checksum;
    txn->sealed.walk -= pages * page_size;
    return KV_OK;
}

int kvi_txn_drop_lost(kv_txn *txn)
{
    int rc = KV_OK;
    for (; rc == KV_OK && txn->lost.n > 0; txn->lost.n -= rc == KV_OK) {
        const kvi_extent *run = &txn->lost.at[txn->lost.n - 1];
        rc = kvi_space_drop(txn->db->space, run->page, run->pages, run->birth);
    }
    return rc;
}

int kvi_txn_look(kv_txn *txn)
{
    kvi_file *file = &txn->db->file;
    kvi_pgno high_water = kvi_space_high_water(txn->db->space);
    int rc = kvi_file_extend(file, high_water);
    return rc == KV_OK ? kvi_file_view(file, high_water, txn->id, &txn->view) : rc;
}

static bool txn_renewable(const kv_txn *txn)
{
    bool inside = txn->n_savepoints > 0 && !KVI_MUTANT(RENEWED_INSIDE);
    bool last = txn->id + 2 - txn->db->head.durable >= KVI_ID_SKIP; /* R2 */
    return !inside && !last && !txn->settled &&
           (txn->lost.n > 0 || kvi_space_renewable(txn->db->space));
}

kvi_id kvi_txn_commit_id(const kv_txn *txn)
{
    return txn->id + txn_renewable(txn);
}

int kvi_txn_renew(kv_txn *txn)
{
    if (!txn_renewable(txn))
        return KV_OK;
    kvi_id id = txn->id + !KVI_MUTANT(RENEWED_UNNAMED);
    int rc = kvi_txn_drop_lost(txn);
    if (rc == KV_OK)
        rc = kvi_space_renew(txn->db->space, id);
    if (rc == KV_OK)
        txn->view.newest = txn->id = id;
    return rc;
}

static void restore_tree(const kvi_saved_tree *saved)
{
    kv_tree *tree = saved->tree;
    tree->desc = saved->desc;
    tree->changed = saved->changed;
    tree->gone = saved->gone;
    tree->name = saved->name;
    tree->name_len = saved->name_len;
    tree->run_leaf = 0;
}

int kvi_txn_rollback_to(kv_txn *txn, uint32_t savepoint, kv_tree **younger)
{
    if (savepoint == 0 || savepoint > txn->n_savepoints)
        return KV_NOTFOUND;
    const kvi_savepoint *point = &txn->savepoints[savepoint - 1];
    txn->changes++;
    kvi_space_undo(txn->db->space, point->space);
    txn->dropped = point->dropped;
    int rc = kvi_dirty_undo(&txn->db->dirty, point->dirty, give_back, txn);
    if (rc != KV_OK)
        return kvi_txn_spoil(txn, rc);
    for (size_t i = 0; i < point->n_trees; i++)
        restore_tree(&txn->saved[point->saved + i]);
    /* Handles are linked in at the front: those before the first saved one are younger. */
    *younger = point->n_trees > 2 ? txn->saved[point->saved + 2].tree : NULL;
    txn->n_saved = point->saved + point->n_trees;
    txn->n_savepoints = savepoint;
    return KV_OK;
}

int kvi_txn_release(kv_txn *txn, uint32_t savepoint)
{
    if (savepoint == 0 || savepoint > txn->n_savepoints)
        return KV_NOTFOUND;
    txn->n_savepoints = savepoint - 1;
    txn->n_saved = txn->savepoints[savepoint - 1].saved;
    uint32_t outer = savepoint > 1 ? txn->savepoints[savepoint - 2].dirty.generation : 0;
    kvi_dirty_forget(&txn->db->dirty, outer);
    return KV_OK;
}
