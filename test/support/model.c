/* model.c - see model.h. Trees are treaps whose priorities are hashes of the keys; a node that only
 * the present state holds is changed in place, any other is copied first. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "model.h"
#include <stdio.h>
#include <stdlib.h>

typedef struct model_bytes {
    size_t refs;
    size_t len;
    uint8_t data[];
} model_bytes;

typedef struct model_node {
    size_t refs;
    uint64_t priority;
    uint64_t count;  /* of entries, this one included */
    uint64_t expiry; /* 0: none */
    uint64_t least;  /* expiry of all these entries; UINT64_MAX: none */
    model_bytes *key;
    model_bytes *value;
    struct model_node *left, *right;
} model_node;

static void *model_alloc(void *old, size_t size)
{
    void *ptr = realloc(old, size);
    if (!ptr) {
        fprintf(stderr, "model: out of memory\n");
        abort();
    }
    return ptr;
}

/* ---- sums ---- */

static XXH128_hash_t entry_hash(kvi_slice key, kvi_slice value)
{
    uint64_t seed = XXH3_64bits(key.ptr, key.len) + key.len;
    return XXH3_128bits_withSeed(value.ptr, value.len, seed);
}

void model_sum_add(model_sum *sum, kvi_slice key, kvi_slice value)
{
    XXH128_hash_t hash = entry_hash(key, value);
    sum->lo += hash.low64;
    sum->hi += hash.high64;
    sum->entries++;
}

static void model_sum_remove(model_sum *sum, kvi_slice key, kvi_slice value)
{
    XXH128_hash_t hash = entry_hash(key, value);
    sum->lo -= hash.low64;
    sum->hi -= hash.high64;
    sum->entries--;
}

bool model_sum_equal(model_sum a, model_sum b)
{
    return a.lo == b.lo && a.hi == b.hi && a.entries == b.entries;
}

/* ---- shared bytes and nodes ---- */

static model_bytes *bytes_new(kvi_slice slice)
{
    model_bytes *bytes = model_alloc(NULL, sizeof *bytes + slice.len);
    bytes->refs = 1;
    bytes->len = slice.len;
    if (slice.len)
        memcpy(bytes->data, slice.ptr, slice.len);
    return bytes;
}

static model_bytes *bytes_share(model_bytes *bytes)
{
    bytes->refs++;
    return bytes;
}

static void bytes_drop(model_bytes *bytes)
{
    if (--bytes->refs == 0)
        free(bytes);
}

static kvi_slice bytes_slice(const model_bytes *bytes)
{
    return kvi_slice_of(bytes->data, bytes->len);
}

static model_node *node_share(model_node *node)
{
    if (node)
        node->refs++;
    return node;
}

static void node_drop(model_node *node)
{
    if (!node || --node->refs > 0)
        return;
    node_drop(node->left);
    node_drop(node->right);
    bytes_drop(node->key);
    bytes_drop(node->value);
    free(node);
}

static uint64_t node_count(const model_node *node)
{
    return node ? node->count : 0;
}

static uint64_t node_least(const model_node *node)
{
    return node ? node->least : UINT64_MAX;
}

static void node_recount(model_node *node)
{
    uint64_t own = node->expiry ? node->expiry : UINT64_MAX;
    uint64_t below = KVI_MIN(node_least(node->left), node_least(node->right));
    node->count = node_count(node->left) + 1 + node_count(node->right);
    node->least = KVI_MIN(own, below);
}

static model_node *node_new(kvi_slice key, kvi_slice value, uint64_t expiry)
{
    model_node *node = model_alloc(NULL, sizeof *node);
    *node = (model_node){.refs = 1,
                         .priority = XXH3_64bits(key.ptr, key.len),
                         .expiry = expiry,
                         .key = bytes_new(key),
                         .value = bytes_new(value)};
    node_recount(node);
    return node;
}

/* The node itself when nobody else holds it, else a copy in its place. */
static model_node *node_own(model_node *node)
{
    if (node->refs == 1)
        return node;
    model_node *copy = model_alloc(NULL, sizeof *copy);
    *copy = *node;
    copy->refs = 1;
    bytes_share(copy->key);
    bytes_share(copy->value);
    node_share(copy->left);
    node_share(copy->right);
    node->refs--;
    return copy;
}

/* ---- treap ---- */

static model_node *rotate_right(model_node *node)
{
    model_node *top = node->left;
    node->left = top->right;
    node_recount(node);
    top->right = node;
    node_recount(top);
    return top;
}

static model_node *rotate_left(model_node *node)
{
    model_node *top = node->right;
    node->right = top->left;
    node_recount(node);
    top->left = node;
    node_recount(top);
    return top;
}

static model_node *node_put(model_node *node, kvi_slice key, kvi_slice value, uint64_t expiry)
{
    if (!node)
        return node_new(key, value, expiry);
    node = node_own(node);
    int order = kvi_slice_compare(key, bytes_slice(node->key));
    if (order == 0) {
        model_bytes *old = node->value;
        node->value = bytes_new(value);
        node->expiry = expiry;
        bytes_drop(old);
        node_recount(node);
        return node;
    }
    if (order < 0) {
        node->left = node_put(node->left, key, value, expiry);
        if (node->left->priority > node->priority)
            return rotate_right(node);
    } else {
        node->right = node_put(node->right, key, value, expiry);
        if (node->right->priority > node->priority)
            return rotate_left(node);
    }
    node_recount(node);
    return node;
}

/* All keys of a stand before those of b. Takes over both. */
static model_node *node_join(model_node *a, model_node *b)
{
    if (!a || !b)
        return a ? a : b;
    if (a->priority > b->priority) {
        a = node_own(a);
        a->right = node_join(a->right, b);
        node_recount(a);
        return a;
    }
    b = node_own(b);
    b->left = node_join(a, b->left);
    node_recount(b);
    return b;
}

/* The key is there. */
static model_node *node_del(model_node *node, kvi_slice key)
{
    int order = kvi_slice_compare(key, bytes_slice(node->key));
    if (order == 0) {
        model_node *rest = node_join(node_share(node->left), node_share(node->right));
        node_drop(node);
        return rest;
    }
    node = node_own(node);
    if (order < 0)
        node->left = node_del(node->left, key);
    else
        node->right = node_del(node->right, key);
    node_recount(node);
    return node;
}

/* Takes out what has expired, also of the sum. */
static model_node *node_expire(model_node *node, uint64_t now, model_sum *sum)
{
    if (!node || node->least > now)
        return node;
    node = node_own(node);
    node->left = node_expire(node->left, now, sum);
    node->right = node_expire(node->right, now, sum);
    node_recount(node);
    if (!node->expiry || node->expiry > now)
        return node;
    model_sum_remove(sum, bytes_slice(node->key), bytes_slice(node->value));
    model_node *rest = node_join(node_share(node->left), node_share(node->right));
    node_drop(node);
    return rest;
}

static const model_node *node_find(const model_node *node, kvi_slice key)
{
    while (node) {
        int order = kvi_slice_compare(key, bytes_slice(node->key));
        if (order == 0)
            break;
        node = order < 0 ? node->left : node->right;
    }
    return node;
}

/* ---- states ---- */

static model_state *state_new(size_t n)
{
    model_state *state = model_alloc(NULL, sizeof *state + n * sizeof state->trees[0]);
    state->refs = 1;
    state->snapshots = NULL;
    state->n = n;
    return state;
}

static void snapshots_release(model_snapshots *list)
{
    if (!list || --list->refs > 0)
        return;
    for (size_t i = 0; i < list->n; i++) {
        bytes_drop(list->at[i].name);
        model_release(list->at[i].state);
    }
    free(list);
}

static model_snapshots *snapshots_share(model_snapshots *list)
{
    if (list)
        list->refs++;
    return list;
}

static model_tree tree_share(const model_tree *tree)
{
    return (model_tree){bytes_share(tree->name), node_share(tree->root), tree->sum};
}

static void tree_drop(model_tree *tree)
{
    bytes_drop(tree->name);
    node_drop(tree->root);
}

void model_release(model_state *state)
{
    if (--state->refs > 0)
        return;
    for (size_t i = 0; i < state->n; i++)
        tree_drop(&state->trees[i]);
    snapshots_release(state->snapshots);
    free(state);
}

model_state *model_keep(model *m)
{
    m->now->refs++;
    return m->now;
}

void model_restore(model *m, model_state *state)
{
    state->refs++;
    model_release(m->now);
    m->now = state;
}

/* The same trees with another list of snapshots. */
static model_state *state_with(const model_state *old, model_snapshots *snapshots)
{
    model_state *state = state_new(old->n);
    for (size_t i = 0; i < old->n; i++)
        state->trees[i] = tree_share(&old->trees[i]);
    state->snapshots = snapshots_share(snapshots);
    return state;
}

/* Makes the present state one that nobody else holds. */
static model_state *state_own(model *m)
{
    model_state *old = m->now;
    if (old->refs == 1)
        return old;
    m->now = state_with(old, old->snapshots);
    model_release(old);
    return m->now;
}

bool model_state_equal(const model_state *a, const model_state *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!model_sum_equal(a->trees[i].sum, b->trees[i].sum) ||
            kvi_slice_compare(bytes_slice(a->trees[i].name), bytes_slice(b->trees[i].name)) != 0)
            return false;
    return true;
}

uint64_t model_state_hash(const model_state *state)
{
    uint64_t hash = state->n;
    for (size_t i = 0; i < state->n; i++) {
        const model_tree *tree = &state->trees[i];
        hash = XXH3_64bits_withSeed(tree->name->data, tree->name->len, hash);
        hash = XXH3_64bits_withSeed(&tree->sum, sizeof tree->sum, hash);
    }
    for (size_t i = 0; state->snapshots && i < state->snapshots->n; i++) {
        const model_snapshot *snapshot = &state->snapshots->at[i];
        hash = XXH3_64bits_withSeed(snapshot->name->data, snapshot->name->len, hash);
        hash = XXH3_64bits_withSeed(&snapshot->id, sizeof snapshot->id, hash);
    }
    return hash;
}

/* ---- the model ---- */

model *model_new(void)
{
    model *m = model_alloc(NULL, sizeof *m);
    *m = (model){.now = state_new(1)};
    m->now->trees[0] = (model_tree){.name = bytes_new(MODEL_MAIN)};
    return m;
}

void model_free(model *m)
{
    for (size_t i = 0; i < m->n_commits; i++)
        model_release(m->commits[i].state);
    model_release(m->now);
    free(m->commits);
    free(m);
}

/* ---- commits ---- */

void model_commit_as(model *m, uint64_t id)
{
    if (m->n_commits && m->commits[m->n_commits - 1].id >= id) {
        fprintf(stderr, "model: commit %llu is not newer than the last\n", (unsigned long long)id);
        abort();
    }
    if (m->n_commits == m->cap_commits) {
        m->cap_commits = m->cap_commits ? m->cap_commits * 2 : 64;
        m->commits = model_alloc(m->commits, m->cap_commits * sizeof m->commits[0]);
    }
    m->commits[m->n_commits++] = (model_commit){.id = id, .state = model_keep(m)};
}

void model_commit_at(model *m, uint64_t clock)
{
    m->commits[m->n_commits - 1].clock = clock;
}

/* The first commit with that id or a greater one. */
static size_t commit_index(const model *m, uint64_t id)
{
    size_t low = 0, high = m->n_commits;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->commits[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const model_state *model_at(const model *m, uint64_t id)
{
    size_t i = commit_index(m, id);
    return i < m->n_commits && m->commits[i].id == id ? m->commits[i].state : NULL;
}

void model_forget_before(model *m, uint64_t id)
{
    size_t n = commit_index(m, id);
    for (size_t i = 0; i < n; i++)
        model_release(m->commits[i].state);
    m->n_commits -= n;
    if (n)
        memmove(m->commits, m->commits + n, m->n_commits * sizeof m->commits[0]);
}

void model_forget_after(model *m, uint64_t id)
{
    while (m->n_commits && m->commits[m->n_commits - 1].id > id)
        model_release(m->commits[--m->n_commits].state);
}

/* ---- named snapshots ---- */

/* The first one with that name or a greater one. */
static size_t snapshot_index(const model_snapshots *list, kvi_slice name)
{
    size_t i = 0;
    while (list && i < list->n && kvi_slice_compare(bytes_slice(list->at[i].name), name) < 0)
        i++;
    return i;
}

const model_snapshot *model_snapshot_of(const model_state *state, kvi_slice name)
{
    const model_snapshots *list = state->snapshots;
    size_t i = snapshot_index(list, name);
    bool found = list && i < list->n && kvi_slice_compare(bytes_slice(list->at[i].name), name) == 0;
    return found ? &list->at[i] : NULL;
}

kvi_slice model_snapshot_name(const model_snapshot *snapshot)
{
    return bytes_slice(snapshot->name);
}

/* The present state gets a copy of its list with room for one more at this place, or without the one
 * that is there. */
static model_snapshots *snapshots_replace(model *m, size_t at, bool more)
{
    const model_snapshots *old = m->now->snapshots;
    size_t n = old ? old->n : 0, kept = more ? n : n - 1;
    model_snapshots *list = model_alloc(NULL, sizeof *list + (n + 1) * sizeof list->at[0]);
    *list = (model_snapshots){.refs = 1, .n = more ? n + 1 : n - 1};
    for (size_t i = 0; i < kept; i++) {
        const model_snapshot *from = &old->at[i + (!more && i >= at)];
        list->at[i + (more && i >= at)] =
            (model_snapshot){bytes_share(from->name), from->id, from->state};
        from->state->refs++;
    }
    model_state *state = state_own(m);
    snapshots_release(state->snapshots);
    state->snapshots = list->n ? list : NULL;
    if (!list->n)
        free(list);
    return state->snapshots;
}

bool model_snapshot_create(model *m, kvi_slice name, uint64_t id)
{
    if (model_snapshot_of(m->now, name))
        return false;
    model_state *state = state_with(m->now, NULL);
    size_t at = snapshot_index(m->now->snapshots, name);
    snapshots_replace(m, at, true)->at[at] = (model_snapshot){bytes_new(name), id, state};
    return true;
}

bool model_snapshot_drop(model *m, kvi_slice name)
{
    if (!model_snapshot_of(m->now, name))
        return false;
    snapshots_replace(m, snapshot_index(m->now->snapshots, name), false);
    return true;
}

bool model_snapshot_restore(model *m, kvi_slice name)
{
    const model_snapshot *snapshot = model_snapshot_of(m->now, name);
    if (!snapshot)
        return false;
    model_state *state = state_with(snapshot->state, m->now->snapshots);
    model_release(m->now);
    m->now = state;
    return true;
}

/* ---- trees ---- */

/* The first tree with that name or a greater one. */
static size_t tree_index(const model_state *state, kvi_slice name)
{
    size_t low = 0, high = state->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (kvi_slice_compare(bytes_slice(state->trees[middle].name), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const model_tree *model_tree_of(const model_state *state, kvi_slice name)
{
    size_t i = tree_index(state, name);
    if (i == state->n || kvi_slice_compare(bytes_slice(state->trees[i].name), name) != 0)
        return NULL;
    return &state->trees[i];
}

kvi_slice model_tree_name(const model_tree *tree)
{
    return bytes_slice(tree->name);
}

/* The tree, in a state that may be changed. */
static model_tree *tree_own(model *m, kvi_slice name)
{
    if (!model_tree_of(m->now, name)) {
        fprintf(stderr, "model: no tree %.*s\n", (int)name.len, (const char *)name.ptr);
        abort();
    }
    return &state_own(m)->trees[tree_index(m->now, name)];
}

static void tree_insert(model *m, model_tree tree)
{
    model_state *old = state_own(m);
    size_t at = tree_index(old, bytes_slice(tree.name));
    m->now = state_new(old->n + 1);
    m->now->snapshots = old->snapshots;
    memcpy(m->now->trees, old->trees, at * sizeof tree);
    m->now->trees[at] = tree;
    memcpy(m->now->trees + at + 1, old->trees + at, (old->n - at) * sizeof tree);
    free(old);
}

static model_tree tree_take_out(model *m, kvi_slice name)
{
    model_state *state = state_own(m);
    size_t at = tree_index(state, name);
    model_tree tree = state->trees[at];
    state->n--;
    memmove(state->trees + at, state->trees + at + 1, (state->n - at) * sizeof tree);
    return tree;
}

bool model_tree_create(model *m, kvi_slice name)
{
    if (model_tree_of(m->now, name))
        return false;
    tree_insert(m, (model_tree){.name = bytes_new(name)});
    return true;
}

bool model_tree_drop(model *m, kvi_slice name)
{
    if (name.len == 0 || !model_tree_of(m->now, name))
        return false;
    model_tree tree = tree_take_out(m, name);
    tree_drop(&tree);
    return true;
}

bool model_tree_rename(model *m, kvi_slice from, kvi_slice to)
{
    if (from.len == 0 || !model_tree_of(m->now, from) || model_tree_of(m->now, to))
        return false;
    model_tree tree = tree_take_out(m, from);
    bytes_drop(tree.name);
    tree.name = bytes_new(to);
    tree_insert(m, tree);
    return true;
}

void model_tree_clear(model *m, kvi_slice name)
{
    model_tree *tree = tree_own(m, name);
    node_drop(tree->root);
    tree->root = NULL;
    tree->sum = (model_sum){0, 0, 0};
}

/* ---- entries ---- */

bool model_get(const model_tree *tree, kvi_slice key, kvi_slice *value)
{
    const model_node *node = node_find(tree->root, key);
    if (node && value)
        *value = bytes_slice(node->value);
    return node != NULL;
}

uint64_t model_expiry(const model_tree *tree, kvi_slice key)
{
    const model_node *node = node_find(tree->root, key);
    return node ? node->expiry : 0;
}

bool model_put(model *m, kvi_slice name, kvi_slice key, kvi_slice value)
{
    return model_put_until(m, name, key, value, 0);
}

bool model_put_until(model *m, kvi_slice name, kvi_slice key, kvi_slice value, uint64_t expiry)
{
    model_tree *tree = tree_own(m, name);
    kvi_slice old;
    bool existed = model_get(tree, key, &old);
    if (existed)
        model_sum_remove(&tree->sum, key, old);
    model_sum_add(&tree->sum, key, value);
    tree->root = node_put(tree->root, key, value, expiry);
    return existed;
}

/* The key may be the tree's own: nobody looks at it after its node is gone. */
bool model_del(model *m, kvi_slice name, kvi_slice key)
{
    kvi_slice old;
    model_tree *tree = tree_own(m, name);
    if (!model_get(tree, key, &old))
        return false;
    model_sum_remove(&tree->sum, key, old);
    tree->root = node_del(tree->root, key);
    return true;
}

uint64_t model_del_range(model *m, kvi_slice name, kvi_slice from, const kvi_slice *to)
{
    const model_tree *tree = tree_own(m, name);
    uint64_t first = model_rank(tree, from);
    uint64_t end = to ? model_rank(tree, *to) : tree->sum.entries;
    uint64_t n = end > first ? end - first : 0;
    kvi_slice key;
    for (uint64_t i = 0; i < n && model_nth(tree, first, &key, NULL); i++)
        model_del(m, name, key);
    return n;
}

static bool state_expired(const model_state *state, uint64_t now)
{
    for (size_t i = 0; i < state->n; i++)
        if (state->trees[i].root && state->trees[i].root->least <= now)
            return true;
    return false;
}

void model_expire(model *m, uint64_t now)
{
    m->clock = now;
    if (!state_expired(m->now, now))
        return;
    model_state *state = state_own(m);
    for (size_t i = 0; i < state->n; i++)
        state->trees[i].root = node_expire(state->trees[i].root, now, &state->trees[i].sum);
}

uint64_t model_entries(const model_state *state)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < state->n; i++)
        sum += state->trees[i].sum.entries;
    return sum;
}

model_state *model_shown(const model_state *state, uint64_t now)
{
    if (!state_expired(state, now))
        return NULL;
    model copy = {.now = state_with(state, state->snapshots)};
    model_expire(&copy, now);
    return copy.now;
}

static uint64_t rank_where(const model_tree *tree, kvi_slice key, bool after)
{
    uint64_t rank = 0;
    for (const model_node *node = tree->root; node;) {
        int order = kvi_slice_compare(key, bytes_slice(node->key));
        if (order > 0 || (order == 0 && after)) {
            rank += node_count(node->left) + 1;
            node = node->right;
        } else {
            node = node->left;
        }
    }
    return rank;
}

uint64_t model_rank(const model_tree *tree, kvi_slice key)
{
    return rank_where(tree, key, false);
}

uint64_t model_rank_after(const model_tree *tree, kvi_slice key)
{
    return rank_where(tree, key, true);
}

bool model_nth(const model_tree *tree, uint64_t position, kvi_slice *key, kvi_slice *value)
{
    const model_node *node = tree->root;
    while (node && position != node_count(node->left)) {
        if (position < node_count(node->left)) {
            node = node->left;
        } else {
            position -= node_count(node->left) + 1;
            node = node->right;
        }
    }
    if (node && key)
        *key = bytes_slice(node->key);
    if (node && value)
        *value = bytes_slice(node->value);
    return node != NULL;
}

static bool node_each(const model_node *node, model_visit *visit, void *context)
{
    return !node || (node_each(node->left, visit, context) &&
                     visit(context, bytes_slice(node->key), bytes_slice(node->value)) &&
                     node_each(node->right, visit, context));
}

bool model_each(const model_tree *tree, model_visit *visit, void *context)
{
    return node_each(tree->root, visit, context);
}

/* Entries before the first difference have the same positions in both. */
bool model_difference(const model_tree *a, const model_tree *b, kvi_slice *key)
{
    for (uint64_t i = 0;; i++) {
        kvi_slice key_a, key_b, value_a, value_b;
        bool in_a = model_nth(a, i, &key_a, &value_a);
        bool in_b = model_nth(b, i, &key_b, &value_b);
        if (!in_a && !in_b)
            return false;
        int order = !in_a ? 1 : !in_b ? -1 : kvi_slice_compare(key_a, key_b);
        if (order == 0 && kvi_slice_compare(value_a, value_b) == 0)
            continue;
        *key = order > 0 ? key_b : key_a;
        return true;
    }
}
