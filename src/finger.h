/* finger.h - the end of the last leaf, where ascending keys go one after the other.
 *
 * A put that finds its key behind all others leaves a finger there. The next one then needs neither a
 * search nor the checks that only what other calls do could make fail: any change raises txn->changes,
 * and a savepoint the generation. */
#ifndef KVI_FINGER_H
#define KVI_FINGER_H

#include "tree.h"

/* After a put that kvi_tree_append found the place of, in a tree of single values. */
void kvi_finger_set(kv_tree *tree);

/* Puts a plain value at the finger. False: nothing has changed, and the general way must do it. */
bool kvi_finger_try(kv_tree *tree, kvi_slice key, kvi_slice value);
static inline bool kvi_finger_put(kv_tree *tree, kvi_slice key, kvi_slice value)
{
    return tree->finger.leaf && kvi_finger_try(tree, key, value);
}

#endif
