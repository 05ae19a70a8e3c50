/* tour.h - through a snapshot's tree in the order of its keys, past whole subtrees that nobody wants
 * to see inside.
 *
 * A tour stands before a subtree that it has not opened, or on an entry, or at the end. To open a
 * subtree reads one page; to pass it reads none. Together the subtrees opened, passed and entries
 * passed are the tree, or what of it may lie in the range. */
#ifndef KVI_TOUR_H
#define KVI_TOUR_H

#include "range.h"

typedef struct kvi_tour {
    kv_txn *txn;
    const kvi_tree_desc *desc;
    const kvi_range *range; /* NULL: everything */
    bool ended;
    bool on_entry;
    kvi_ptr ptr;      /* of the subtree */
    unsigned level;   /* of the subtree */
    kvi_slice key;    /* of the entry */
    kvi_stored value; /* of the entry */
    uint64_t opened;  /* pages */
    unsigned depth;   /* steps: nodes that are open */
    uint8_t *room;    /* for keys: the newest one and the one before it in turns, a bound */
    kvi_step steps[KVI_LEVEL_MAX + 1];
} kvi_tour;

/* To the first subtree of the tree that desc describes, which is the whole tree. range: only keys
 * inside it are of interest; its direction and limit do not count. Both must outlive the tour. */
int kvi_tour_begin(kvi_tour *tour, kv_txn *txn, const kvi_tree_desc *desc,
                   const kvi_range *range) KVI_MUST_CHECK;
void kvi_tour_end(kvi_tour *tour);

/* Opens the subtree: to its first child, or its first entry. */
int kvi_tour_open(kvi_tour *tour) KVI_MUST_CHECK;

/* Passes the subtree or the entry. */
int kvi_tour_pass(kvi_tour *tour) KVI_MUST_CHECK;

/* No key of the subtree, nor of what follows, is smaller than *low, and all that came before are.
 * False: the subtree is the tree's first. Valid until the tour moves. */
bool kvi_tour_low(kvi_tour *tour, kvi_slice *low);

#endif
