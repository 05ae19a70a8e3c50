/* descent.h - the ways down the tree that most calls go: a lookup, a seek, many lookups at once.
 *
 * They are there once for each set of instructions that is worth it, compiled from the same lines
 * (descent_impl.h); the best that the processor has is chosen when a database is opened. A lookup is
 * short enough then that a processor starts on the next one while it waits for this one's memory. */
#ifndef KVI_DESCENT_H
#define KVI_DESCENT_H

#include "tree.h"

#define KVI_GROUP 16 /* lookups; as many as a processor can wait for, and as fill its near cache */

/* One of many. */
typedef struct kvi_lookup {
    kvi_slice key;    /* in */
    int rc;           /* KV_OK, KV_NOTFOUND or an error of this lookup */
    kvi_stored value; /* KV_OK: the entry's stored form */
} kvi_lookup;

typedef struct kvi_descent {
    bool (*works)(void); /* has this processor what it needs? */

    /* kvi_get */
    int (*get)(kv_tree *tree, kvi_slice key, kv_slice *value);

    /* kvi_tree_seek_around, from the root */
    int (*seek)(kv_tree *tree, kvi_slice key, kvi_path *path, int around, bool *found);

    /* As n times kvi_tree_find, n <= KVI_GROUP. */
    void (*find_group)(kv_tree *tree, kvi_lookup *lookups, unsigned n);

    /* Asks for the whole leaves of keys that are to be put soon: first of the kernel, if this process
     * has not met them, then of memory. Errors are left to those who use the pages. */
    void (*warm)(kv_tree *tree, const kvi_slice *keys, unsigned n);
} kvi_descent;

/* All there are, the best one first; the last one works everywhere, and NULL follows. */
extern const kvi_descent *const kvi_descents[];

/* The one in use. */
extern _Atomic(const kvi_descent *) kvi_descent_chosen;

static inline const kvi_descent *kvi_descent_now(void)
{
    return atomic_load_explicit(&kvi_descent_chosen, memory_order_relaxed);
}

void kvi_descent_choose(void);

#endif
