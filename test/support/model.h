/* model.h - the oracle: what a database must contain, kept in the simplest way that is also cheap.
 *
 * A state is a set of named trees, each an ordered map of byte strings; the main tree has the
 * empty name and is always there. States share what they have in common, so remembering one state
 * per commit costs only what that commit changed. Every tree knows the sum of the hashes of its
 * entries, so two trees, or a tree and a database scanned with model_sum_add, are compared at once.
 *
 * Positions take the place of cursors: the entries of a tree have the numbers 0 to entries - 1 in
 * key order, and
 *
 *     first key >= k   model_rank(tree, k)            last key < k    model_rank(tree, k) - 1
 *     first key > k    model_rank_after(tree, k)      last key <= k   model_rank_after(tree, k) - 1
 *
 * An entry may have an expiry; it is there until model_expire, or model_shown, is told that the time
 * has come.
 *
 * One thread changes a model. Others may read a state that they were given, as long as it is kept.
 */
#ifndef MODEL_H
#define MODEL_H

#include "base.h"

/* A sum of entry hashes: does not depend on their order. */
typedef struct model_sum {
    uint64_t lo, hi;
    uint64_t entries;
} model_sum;

void model_sum_add(model_sum *sum, kvi_slice key, kvi_slice value);
bool model_sum_equal(model_sum a, model_sum b);

struct model_node;
struct model_bytes;

typedef struct model_tree {
    struct model_bytes *name;
    struct model_node *root;
    model_sum sum;
} model_tree;

struct model_state;

typedef struct model_snapshot {
    struct model_bytes *name;
    uint64_t id; /* of its commit */
    struct model_state *state;
} model_snapshot;

/* The named snapshots; they are no part of a snapshot, but of every commit. */
typedef struct model_snapshots {
    size_t refs;
    size_t n; /* by name */
    model_snapshot at[];
} model_snapshots;

typedef struct model_state {
    size_t refs;
    model_snapshots *snapshots; /* NULL: none */
    size_t n;                   /* trees, by name; the main tree is the first */
    model_tree trees[];
} model_state;

typedef struct model_commit {
    uint64_t id;
    model_state *state;
    uint64_t clock; /* of the file, milliseconds; 0: nobody told */
} model_commit;

typedef struct model {
    model_state *now;
    model_commit *commits; /* by id */
    size_t n_commits;
    size_t cap_commits;
    uint64_t clock; /* what model_expire was told last */
} model;

model *model_new(void);
void model_free(model *m);

/* ---- changing the present state ---- */

/* Trees: false when the name is missing, or taken where a new one is wanted. The main tree cannot
 * be dropped or renamed. */
bool model_tree_create(model *m, kvi_slice name);
bool model_tree_drop(model *m, kvi_slice name);
bool model_tree_rename(model *m, kvi_slice from, kvi_slice to);
void model_tree_clear(model *m, kvi_slice name);

/* Entries of a tree that exists. put and del tell whether the key was there. */
bool model_put(model *m, kvi_slice tree, kvi_slice key, kvi_slice value);
bool model_put_until(model *m, kvi_slice tree, kvi_slice key, kvi_slice value, uint64_t expiry);
bool model_del(model *m, kvi_slice tree, kvi_slice key);

/* Removes from <= key < to (to NULL: no end); returns how many. */
uint64_t model_del_range(model *m, kvi_slice tree, kvi_slice from, const kvi_slice *to);

/* Removes what has expired at a time, which is that of the operations from now on. */
void model_expire(model *m, uint64_t now);

/* ---- named snapshots ---- */

/* Of the present state, under the id of the commit that it is. False: the name is taken. */
bool model_snapshot_create(model *m, kvi_slice name, uint64_t id);
bool model_snapshot_drop(model *m, kvi_slice name);
bool model_snapshot_restore(model *m, kvi_slice name);
const model_snapshot *model_snapshot_of(const model_state *state, kvi_slice name);
kvi_slice model_snapshot_name(const model_snapshot *snapshot);

/* ---- states ---- */

/* The present state, kept until released: a savepoint, or the base of a transaction. */
model_state *model_keep(model *m);
void model_release(model_state *state);

/* Makes a kept state the present one; it stays kept. */
void model_restore(model *m, model_state *state);

/* Remembers the present state under an id greater than all before. */
void model_commit_as(model *m, uint64_t id);
void model_commit_at(model *m, uint64_t clock); /* when that was, in milliseconds */

/* The state of that commit; NULL when it is not remembered. */
const model_state *model_at(const model *m, uint64_t id);

/* Forgets the commits before id; those after it, for a crash that lost them. */
void model_forget_before(model *m, uint64_t id);
void model_forget_after(model *m, uint64_t id);

/* By sums, at once; named snapshots are not looked at. */
bool model_state_equal(const model_state *a, const model_state *b);

/* The state without what has expired at a time, to be released; NULL: nothing has. */
model_state *model_shown(const model_state *state, uint64_t now);

/* Of all trees together, those that have expired and are not removed yet included. */
uint64_t model_entries(const model_state *state);

/* A number for the whole state, names of trees included. */
uint64_t model_state_hash(const model_state *state);

/* ---- reading a tree ---- */

/* NULL when the state has none of that name. A tree of the present state is good until the next
 * change, one of a kept state as long as that is kept. */
const model_tree *model_tree_of(const model_state *state, kvi_slice name);
kvi_slice model_tree_name(const model_tree *tree);

bool model_get(const model_tree *tree, kvi_slice key, kvi_slice *value);
uint64_t model_expiry(const model_tree *tree, kvi_slice key); /* 0: none, or no such key */
uint64_t model_rank(const model_tree *tree, kvi_slice key);
uint64_t model_rank_after(const model_tree *tree, kvi_slice key);

/* False when there is no such position. key and value may be NULL. */
bool model_nth(const model_tree *tree, uint64_t position, kvi_slice *key, kvi_slice *value);

/* Calls visit with the entries in order until it returns false; true when it never did. */
typedef bool model_visit(void *context, kvi_slice key, kvi_slice value);
bool model_each(const model_tree *tree, model_visit *visit, void *context);

/* The first key at which the trees differ; false when they are the same, entry for entry. */
bool model_difference(const model_tree *a, const model_tree *b, kvi_slice *key);

/* ---- convenience ---- */

static inline kvi_slice model_text(const char *text)
{
    return kvi_slice_of(text, strlen(text));
}

#define MODEL_MAIN ((kvi_slice){(const uint8_t *)"", 0})

#endif
