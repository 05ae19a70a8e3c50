/* finger.c - see finger.h. */
#include "finger.h"

void kvi_finger_set(kv_tree *tree)
{
    const kvi_dirty *dirty = &tree->txn->db->dirty;
    kvi_finger *finger = &tree->finger;
    kvi_path *path = &tree->put_path;
    finger->leaf = NULL;
    if (tree->put_changes != tree->txn->changes || path->owned != dirty->generation)
        return;
    finger->above = 0;
    for (unsigned i = path->depth - 1; i-- > 0;) {
        const kvi_step *step = &path->steps[i];
        finger->tallies[finger->above++] =
            kvi_branch_tally_at(kvi_step_bytes(tree, step), dirty->page_size, step->slot);
    }
    finger->leaf = kvi_step_bytes(tree, kvi_path_leaf(path));
    finger->changes = tree->put_changes;
    finger->generation = dirty->generation;
}

static void tallies_raise(const kvi_finger *finger)
{
    if (finger->above > 0)
        kvi_put16(finger->tallies[0], (uint16_t)(kvi_get16(finger->tallies[0]) + 1));
    for (unsigned i = 1; i < finger->above; i++)
        kvi_put64(finger->tallies[i], kvi_get64(finger->tallies[i]) + 1);
}

bool kvi_finger_try(kv_tree *tree, kvi_slice key, kvi_slice value)
{
    kv_txn *txn = tree->txn;
    kvi_finger *finger = &tree->finger;
    if (finger->changes != txn->changes || finger->generation != txn->db->dirty.generation ||
        txn->failed || !kvi_alive(txn->db) ||
        !kvi_leaf_append(finger->leaf, txn->db->file.page_size, key, value))
        return false;
    tallies_raise(finger);
    tree->desc.entries++;
    tree->run_next++;
    finger->changes = tree->put_changes = ++txn->changes;
    if (kvi_tree_filled(tree, finger->leaf))
        finger->leaf = NULL;
    return true;
}
