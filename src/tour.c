/* tour.c - see tour.h. */
#include "tour.h"

static uint32_t page_size_of(const kvi_tour *tour)
{
    return tour->txn->db->file.page_size;
}

static int tour_broken(const kvi_tour *tour, kvi_ptr ptr, const char *how)
{
    return kvi_fail(&tour->txn->db->err, KV_ECORRUPT, "page %llu breaks %s",
                    (unsigned long long)ptr.page, how);
}

static bool tour_in_leaf(const kvi_tour *tour)
{
    return tour->depth == tour->desc->level + 1u;
}

/* ---- arriving ---- */

/* Loads the entry. That keys ascend also bounds the work when a hostile file uses a subtree many
 * times. */
static int arrive_entry(kvi_tour *tour)
{
    const kvi_step *leaf = &tour->steps[tour->depth - 1];
    size_t room = kvi_key_max(page_size_of(tour));
    uint8_t *buffer = tour->key.ptr == tour->room ? tour->room + room : tour->room;
    kvi_slice key = {buffer, kvi_node_key(leaf->page, page_size_of(tour), leaf->slot, buffer)};
    if (tour->key.ptr && kvi_slice_compare(tour->key, key) >= 0)
        return tour_broken(tour, leaf->ptr, "T1: its keys are not greater than those before it");
    tour->key = key;
    tour->value.bytes =
        kvi_leaf_value(leaf->page, page_size_of(tour), leaf->slot, &tour->value.special);
    tour->on_entry = true;
    return KV_OK;
}

static void arrive_child(kvi_tour *tour)
{
    const kvi_step *branch = &tour->steps[tour->depth - 1];
    tour->ptr = kvi_branch_child(branch->page, page_size_of(tour), branch->slot);
    tour->level = tour->desc->level - tour->depth;
    tour->on_entry = false;
}

/* Does all that is left lie behind the range? */
static bool tour_beyond(kvi_tour *tour)
{
    kvi_slice low;
    if (!tour->range || !tour->range->hi.set)
        return false;
    if (tour->on_entry)
        low = tour->key;
    else if (!kvi_tour_low(tour, &low))
        return false;
    int order = kvi_slice_compare(low, tour->range->hi.key);
    return order > 0 || (order == 0 && !tour->range->hi.after);
}

/* Leaves the nodes that are used up. */
static void tour_climb(kvi_tour *tour)
{
    while (tour->depth > 0) {
        const kvi_step *top = &tour->steps[tour->depth - 1];
        unsigned end = kvi_node_count(top->page) + !tour_in_leaf(tour);
        if (top->slot < end)
            return;
        if (--tour->depth > 0)
            tour->steps[tour->depth - 1].slot++;
    }
    tour->ended = true;
}

static int tour_arrive(kvi_tour *tour)
{
    int rc = KV_OK;
    tour_climb(tour);
    if (tour->ended)
        return KV_OK;
    if (tour_in_leaf(tour))
        rc = arrive_entry(tour);
    else
        arrive_child(tour);
    tour->ended = rc == KV_OK && tour_beyond(tour);
    return rc;
}

/* ---- moving ---- */

int kvi_tour_begin(kvi_tour *tour, kv_txn *txn, const kvi_tree_desc *desc, const kvi_range *range)
{
    const kvi_os *os = txn->db->os;
    *tour = (kvi_tour){.txn = txn,
                       .desc = desc,
                       .range = range,
                       .ended = desc->root.page == 0,
                       .ptr = desc->root,
                       .level = desc->level};
    tour->room = os->alloc(os, (size_t)3 * kvi_key_max(txn->db->file.page_size));
    return tour->room ? KV_OK : KV_ENOMEM;
}

void kvi_tour_end(kvi_tour *tour)
{
    const kvi_os *os = tour->txn->db->os;
    os->free(os, tour->room);
}

/* What comes before the range is passed unseen. */
static unsigned first_slot(const kvi_tour *tour, const uint8_t *page)
{
    bool found;
    if (!tour->range || !tour->range->lo.set)
        return 0;
    const kvi_place *lo = &tour->range->lo;
    if (!tour_in_leaf(tour))
        return kvi_branch_search(page, page_size_of(tour), lo->key);
    unsigned slot = kvi_leaf_search(page, page_size_of(tour), lo->key, &found);
    return slot + (found && lo->after);
}

int kvi_tour_open(kvi_tour *tour)
{
    kvi_step *step = &tour->steps[tour->depth];
    step->ptr = tour->ptr;
    int rc = kvi_txn_node(tour->txn, tour->ptr, tour->level, &step->page);
    if (rc != KV_OK)
        return rc;
    if (tour->level == 0 && tour->depth > 0 && kvi_node_count(step->page) == 0)
        return tour_broken(tour, tour->ptr, "T3: it has no entries");
    tour->opened++;
    tour->depth++;
    step->slot = first_slot(tour, step->page);
    return tour_arrive(tour);
}

int kvi_tour_pass(kvi_tour *tour)
{
    if (tour->depth == 0) {
        tour->ended = true;
        return KV_OK;
    }
    tour->steps[tour->depth - 1].slot++;
    return tour_arrive(tour);
}

bool kvi_tour_low(kvi_tour *tour, kvi_slice *low)
{
    uint8_t *buffer = tour->room + (size_t)2 * kvi_key_max(page_size_of(tour));
    for (unsigned i = tour->depth; i-- > 0;) {
        const kvi_step *step = &tour->steps[i];
        if (step->slot == 0)
            continue;
        low->ptr = buffer;
        low->len = kvi_node_key(step->page, page_size_of(tour), step->slot - 1, buffer);
        return true;
    }
    return false;
}
