/* tree_put.c - inserting: in place, by sharing with a neighbour, by splitting.
 *
 * An insert first owns its path and reserves the memory that splits on every level may need; from
 * then on nothing can fail, so no error leaves the tree half changed.
 */
#include "tree.h"
#include "mutant.h"

/* A neighbour takes part of an overfull node's elements when both then stay below this. */
#define SHARE_FILL_PERCENT 93

/* An element on its way into a node. */
typedef struct arrival {
    unsigned level;       /* of the node that receives it */
    unsigned element;     /* leaf: entry number; branch: child number */
    const kvi_item *item; /* NULL: nobody comes, the node is just to be divided */
} arrival;

static uint8_t *scratch_page(const kv_tree *tree, unsigned i)
{
    return tree->txn->db->scratch + (size_t)i * tree->txn->db->file.page_size;
}

static unsigned element_count(const uint8_t *page)
{
    return kvi_node_count(page) + (kvi_node_level(page) ? 1 : 0);
}

static bool node_insert(kv_tree *tree, const kvi_step *step, const arrival *in)
{
    uint32_t page_size = tree->txn->db->file.page_size;
    uint8_t *page = kvi_step_bytes(tree, step), *scratch = scratch_page(tree, 0);
    if (in->level == 0)
        return kvi_leaf_insert(page, page_size, scratch, in->element, in->item);
    return kvi_branch_insert(page, page_size, scratch, in->element - 1, in->item);
}

/* The node's elements with the new one, if any, among them. */
static unsigned arrival_parts(const uint8_t *page, const arrival *in, kvi_slice first_key,
                              kvi_part *parts)
{
    parts[0] = (kvi_part){.page = page, .to = in->element, .first_key = first_key};
    if (!in->item)
        return 1;
    parts[1] = (kvi_part){.item = in->item};
    parts[2] = (kvi_part){.page = page, .from = in->element, .to = element_count(page)};
    return 3;
}

/* ---- sharing ---- */

/* A neighbour of step's node, with the separator between the two in their parent. */
typedef struct neighbour {
    bool left;
    unsigned slot;      /* of the neighbour in the parent */
    unsigned separator; /* number */
    kvi_step step;
} neighbour;

static bool neighbour_at(kv_tree *tree, const kvi_step *parent, unsigned level, bool left,
                         neighbour *found)
{
    uint32_t page_size = tree->txn->db->file.page_size;
    if (left ? parent->slot == 0 : parent->slot == kvi_node_count(parent->page))
        return false;
    found->left = left;
    found->slot = left ? parent->slot - 1 : parent->slot + 1;
    found->separator = left ? parent->slot - 1 : parent->slot;
    found->step.ptr = kvi_branch_child(parent->page, page_size, found->slot);
    return kvi_txn_node(tree->txn, found->step.ptr, level, &found->step.page) == KV_OK;
}

/* The emptier neighbour, if it has room for part of the node and the new element. */
static bool neighbour_with_room(kv_tree *tree, const kvi_step *step, const arrival *in,
                                neighbour *best)
{
    uint32_t page_size = tree->txn->db->file.page_size;
    size_t most = (size_t)page_size * 2 * SHARE_FILL_PERCENT / 100;
    size_t least = most;
    for (int left = 0; left < 2; left++) {
        neighbour one;
        if (!neighbour_at(tree, step - 1, in->level, left, &one))
            continue;
        size_t used = kvi_node_used(one.step.page, page_size) +
                      kvi_node_used(step->page, page_size) + in->item->key.len +
                      in->item->value.len;
        if (used < least) {
            least = used;
            *best = one;
        }
    }
    return least < most;
}

/* Divides the elements of node, newcomer and neighbour evenly. False: it does not work out, and
 * nothing has changed. */
static bool node_share(kv_tree *tree, kvi_step *step, const arrival *in, neighbour *other)
{
    uint32_t page_size = tree->txn->db->file.page_size;
    uint8_t *between = kvi_scratch_key(tree->txn->db, in->level, 0);
    uint8_t *key = kvi_scratch_key(tree->txn->db, in->level, 1);
    const kvi_step *parent = step - 1;
    uint8_t *parent_page = kvi_step_bytes(tree, parent);
    kvi_slice sep = {between, kvi_node_key(parent_page, page_size, other->separator, between)};
    kvi_part parts[4];
    unsigned n = 0;
    if (other->left)
        parts[n++] = (kvi_part){.page = other->step.page, .to = element_count(other->step.page)};
    n += arrival_parts(step->page, in, sep, parts + n);
    if (!other->left)
        parts[n++] = (kvi_part){
            .page = other->step.page, .to = element_count(other->step.page), .first_key = sep};
    uint16_t flags = kvi_node_flags(step->page) | kvi_node_flags(other->step.page);
    kvi_seq seq = {parts, n, in->level, page_size, flags};
    unsigned at = kvi_seq_split_point(&seq, KVI_SPLIT_EVEN);
    if (at == 0 || !kvi_node_build(&seq, 0, at, scratch_page(tree, 1)) ||
        !kvi_node_build(&seq, at, kvi_seq_count(&seq), scratch_page(tree, 2)))
        return false;
    size_t len = kvi_seq_separator(&seq, at, kvi_branch_same_len(parent_page), key);
    if (kvi_dirty_reserve(&tree->txn->db->dirty, 1) != KV_OK ||
        kvi_txn_touch(tree->txn, &other->step.ptr, in->level, &other->step.page) != KV_OK)
        return false;
    kvi_branch_set_child(parent_page, page_size, other->slot, other->step.ptr);
    if (!kvi_branch_set_key(parent_page, page_size, scratch_page(tree, 0), other->separator,
                            kvi_slice_of(key, len)))
        return false;
    kvi_step *left = other->left ? &other->step : step, *right = other->left ? step : &other->step;
    memcpy(kvi_step_bytes(tree, left), scratch_page(tree, 1), page_size);
    memcpy(kvi_step_bytes(tree, right), scratch_page(tree, 2), page_size);
    kvi_tree_recount(tree, parent_page, other->separator, left->page);
    kvi_tree_recount(tree, parent_page, other->separator + 1, right->page);
    return true;
}

/* ---- splitting ---- */

static void child_add(kv_tree *tree, unsigned level, const kvi_item *item);

/* Where the pieces of an overfull node begin: at[0] = 0 < at[1] < ... < at[n] = count. Returns n; 0:
 * nowhere, since entries of a page that changed after it was verified may have any length. */
static unsigned split_places(const kvi_seq *seq, enum kvi_split how, uint8_t *trial, unsigned at[4])
{
    unsigned count = kvi_seq_count(seq);
    at[0] = 0;
    at[1] = kvi_seq_split_point(seq, how);
    at[2] = count;
    if (at[1] != 0)
        return 2;
    if (count < 3)
        return 0;
    /* Two nodes are too few only when a long entry arrives between entries that lose their common
     * form by it. Three always do: what was there fits one, and each half of it fits one. */
    at[1] = count - 2;
    while (at[1] > 0 && !kvi_node_build(seq, 0, at[1], trial))
        at[1]--;
    if (at[1] == 0)
        return 0;
    at[2] = at[1] + 1;
    while (at[2] + 1 < count && !kvi_node_build(seq, at[2], count, trial))
        at[2]++;
    at[3] = count;
    return 3;
}

/* Splits the root's level off: a new root above it, with one child so far. */
static void root_raise(kv_tree *tree, unsigned level)
{
    kv_txn *txn = tree->txn;
    uint32_t page_size = txn->db->file.page_size;
    kvi_handle handle = kvi_dirty_fresh(&txn->db->dirty, level + 1);
    const uint8_t *old = kvi_dirty_bytes(&txn->db->dirty, tree->desc.root.page);
    uint8_t *page = kvi_dirty_bytes(&txn->db->dirty, handle);
    kvi_branch_init(page, page_size, level + 1, tree->desc.root, 0);
    bool fits = !kvi_tree_expires(tree) || kvi_branch_widen(page, page_size, scratch_page(tree, 0));
    (void)fits; /* one child has room for all that is kept of it */
    kvi_tree_recount(tree, page, 0, old);
    tree->desc.root = (kvi_ptr){handle, 0};
    tree->desc.level = (uint8_t)(level + 1);
    tree->desc.branch_pages++;
}

static void node_split(kv_tree *tree, kvi_path *path, unsigned i, const arrival *in,
                       enum kvi_split how, uint16_t flags)
{
    kvi_dirty *dirty = &tree->txn->db->dirty;
    uint32_t page_size = tree->txn->db->file.page_size;
    kvi_step *step = &path->steps[i];
    kvi_item adds[2];
    kvi_part parts[3];
    unsigned at[4];
    kvi_seq seq = {parts, arrival_parts(step->page, in, (kvi_slice){0}, parts), in->level,
                   page_size, flags};
    /* An ascending load opens a new leaf for each newcomer that finds its leaf full. */
    bool untouched = how == KVI_SPLIT_APPEND && in->level == 0;
    unsigned pieces = 2, run = in->level == 0 ? kvi_leaf_run(step->page, in->element) : 0;
    if (untouched) {
        tree->txn->appended += tree->run_leaf == step->ptr.page;
        at[1] = in->element;
        at[2] = in->element + 1;
    } else {
        pieces = split_places(&seq, how, scratch_page(tree, 1), at);
    }
    /* Pages that changed after they were verified may be split more often than was reserved for. */
    bool fits =
        pieces > 0 && in->level < KVI_LEVEL_MAX && kvi_dirty_reserve(dirty, pieces) == KV_OK;
    size_t same_len = i > 0 ? kvi_branch_same_len(step[-1].page) : 4;
    for (unsigned p = 1; fits && p < pieces; p++) {
        kvi_handle handle = kvi_dirty_fresh(dirty, in->level);
        uint8_t *page = kvi_dirty_bytes(dirty, handle);
        fits = kvi_node_build(&seq, at[p], at[p + 1], page);
        if (!fits)
            break;
        unsigned place = in->element - at[p]; /* of the newcomer: in there, or out of all bounds */
        if (run && place < at[p + 1] - at[p])
            kvi_leaf_set_run(page, place + 1, run);
        uint8_t *key = kvi_scratch_key(tree->txn->db, in->level, p - 1);
        size_t len = kvi_seq_separator(&seq, at[p], same_len, key);
        adds[p - 1] = (kvi_item){
            .key = {key, len}, .child = {handle, 0}, .tally = kvi_node_total(page, page_size)};
        if (kvi_tree_expires(tree))
            adds[p - 1].expiry = kvi_node_least_expiry(page, page_size);
        kvi_tree_count_pages(tree, in->level, 1);
    }
    if (fits && !untouched) {
        fits = kvi_node_build(&seq, 0, at[1], scratch_page(tree, 1));
        memcpy(kvi_step_bytes(tree, step), scratch_page(tree, 1), page_size);
        if (run && in->element < at[1])
            kvi_leaf_set_run(kvi_step_bytes(tree, step), in->element + 1, run);
    }
    if (!fits) {
        (void)kvi_txn_spoil(tree->txn, kvi_txn_changed(tree->txn));
        return;
    }
    if (i == 0)
        root_raise(tree, in->level);
    else
        kvi_tree_recount(tree, kvi_step_bytes(tree, step - 1), step[-1].slot, step->page);
    for (unsigned p = 1; p < pieces; p++)
        child_add(tree, in->level + 1, &adds[p - 1]);
}

/* ---- an element that does not fit ---- */

/* Was the newest entry put before this place? */
static bool run_goes_on(const kv_tree *tree, const kvi_step *leaf, unsigned element)
{
    return tree->run_leaf == leaf->ptr.page && tree->run_next == element;
}

/* Are there no leaves behind the path's? */
static bool path_at_end(const kvi_path *path)
{
    for (unsigned i = 0; i + 1 < path->depth; i++)
        if (path->steps[i].slot != kvi_node_count(path->steps[i].page))
            return false;
    return true;
}

/* Ascending and descending keys fill their pages; others are divided evenly. */
static enum kvi_split split_direction(const kv_tree *tree, const kvi_path *path, unsigned i,
                                      const arrival *in)
{
    const kvi_step *step = &path->steps[i];
    bool last = in->element == element_count(step->page);
    bool first = in->element == (in->level ? 1 : 0);
    if (in->level == 0 && run_goes_on(tree, step, in->element) && last)
        return KVI_SPLIT_APPEND;
    if (in->level == 0 && kvi_leaf_run(step->page, in->element) == KVI_RUN &&
        2 * in->element >= kvi_node_count(step->page))
        return last ? KVI_SPLIT_APPEND : KVI_SPLIT_RUN;
    for (unsigned up = 0; up < i; up++) {
        last = last && path->steps[up].slot == kvi_node_count(path->steps[up].page);
        first = first && path->steps[up].slot == 0;
    }
    return last ? KVI_SPLIT_APPEND : first ? KVI_SPLIT_PREPEND : KVI_SPLIT_EVEN;
}

static void node_overflow(kv_tree *tree, kvi_path *path, unsigned i, const arrival *in)
{
    kvi_step *step = &path->steps[i];
    enum kvi_split how = split_direction(tree, path, i, in);
    neighbour other;
    if (how == KVI_SPLIT_EVEN && i > 0 && neighbour_with_room(tree, step, in, &other) &&
        node_share(tree, step, in, &other))
        return;
    node_split(tree, path, i, in, how, kvi_node_flags(step->page));
}

/* Goes down by key to the node of the given level. All nodes on the way are private, unless keys of
 * a forged file lie outside their separators: then false. */
static bool level_seek(kv_tree *tree, kvi_slice key, unsigned level, kvi_path *path)
{
    const kvi_dirty *dirty = &tree->txn->db->dirty;
    uint32_t page_size = tree->txn->db->file.page_size;
    kvi_ptr ptr = tree->desc.root;
    path->owned = 0;
    path->depth = 0;
    for (unsigned at = tree->desc.level;; at--) {
        kvi_step *step = &path->steps[path->depth++];
        step->ptr = ptr;
        step->page = ptr.birth == 0 ? kvi_dirty_find_node(dirty, ptr.page, at) : NULL;
        if (!step->page)
            return false;
        step->slot = kvi_branch_search(step->page, page_size, key);
        if (at == level)
            return true;
        ptr = kvi_branch_child(step->page, page_size, step->slot);
    }
}

/* Adds a child, right of the one whose range holds its separator, to a node of the given level. */
static void child_add(kv_tree *tree, unsigned level, const kvi_item *item)
{
    kvi_path path;
    if (!level_seek(tree, item->key, level, &path)) {
        (void)kvi_txn_spoil(
            tree->txn,
            kvi_fail(&tree->txn->db->err, KV_ECORRUPT,
                     "a page breaks invariant T1: its keys lie outside their separators"));
        return;
    }
    kvi_step *step = &path.steps[path.depth - 1];
    arrival in = {level, step->slot + 1, item};
    if (!node_insert(tree, step, &in))
        node_overflow(tree, &path, path.depth - 1, &in);
}

/* ---- entries ---- */

/* An ascending run opens a new leaf for a newcomer that finds its leaf full; the path then leads there.
 * False: it is not one, or the parent is full as well; nothing has changed. */
static bool leaf_next(kv_tree *tree, kvi_path *path, const arrival *in)
{
    kvi_dirty *dirty = &tree->txn->db->dirty;
    unsigned depth = path->depth, last = in->element;
    kvi_step *leaf = kvi_path_leaf(path), *parent = leaf - 1;
    if (depth < 2 || last != kvi_node_count(leaf->page) ||
        split_direction(tree, path, depth - 1, in) != KVI_SPLIT_APPEND)
        return false;
    kvi_part parts[3];
    kvi_seq seq = {parts, arrival_parts(leaf->page, in, (kvi_slice){0}, parts), 0, dirty->page_size,
                   0};
    uint8_t *key = kvi_scratch_key(tree->txn->db, 0, 0), *above = kvi_step_bytes(tree, parent);
    size_t len = kvi_seq_separator(&seq, last, kvi_branch_same_len(above), key);
    kvi_handle handle = kvi_dirty_fresh(dirty, 0);
    uint8_t *page = kvi_dirty_bytes(dirty, handle);
    kvi_item add = {
        .key = {key, len}, .child = {handle, 0}, .tally = 1, .expiry = in->item->expiry};
    if (kvi_branch_search(above, dirty->page_size, add.key) != parent->slot ||
        !kvi_branch_insert(above, dirty->page_size, scratch_page(tree, 0), parent->slot, &add)) {
        kvi_dirty_release(dirty, handle);
        return false;
    }
    kvi_leaf_open(page, dirty->page_size, in->item, kvi_get16(leaf->page + KVI_P_prefix_len));
    kvi_tree_recount(tree, above, parent->slot++, leaf->page);
    kvi_tree_count_pages(tree, 0, 1);
    kvi_leaf_set_run(page, 1, kvi_leaf_run(leaf->page, last));
    tree->txn->appended += tree->run_leaf == leaf->ptr.page;
    *leaf = (kvi_step){page, {handle, 0}, 0};
    return true;
}

static int leaf_first(kv_tree *tree, kvi_path *path)
{
    kvi_dirty *dirty = &tree->txn->db->dirty;
    int rc = kvi_dirty_reserve(dirty, 1);
    if (rc != KV_OK)
        return rc;
    kvi_handle handle = kvi_dirty_fresh(dirty, 0);
    uint8_t *page = kvi_dirty_bytes(dirty, handle);
    kvi_leaf_init(page, dirty->page_size);
    tree->desc.root = (kvi_ptr){handle, 0};
    tree->desc.level = 0;
    tree->desc.leaf_pages = 1;
    tree->changed = true;
    path->owned = 0;
    path->depth = 1;
    path->steps[0] = (kvi_step){page, tree->desc.root, 0};
    return KV_OK;
}

bool kvi_tree_append(kv_tree *tree, kvi_slice key, kvi_path *path)
{
    if (path->depth == 0 || tree->put_changes != tree->txn->changes ||
        kvi_path_leaf(path)->ptr.page != tree->run_leaf || !path_at_end(path))
        return false;
    kvi_step *leaf = kvi_path_leaf(path);
    unsigned count = kvi_node_count(leaf->page);
    if (tree->run_next != count ||
        !kvi_leaf_follows(leaf->page, tree->txn->db->file.page_size, key))
        return false;
    leaf->slot = count;
    return true;
}

/* Pages that sharing and splitting may take on all levels together, a new root included. */
static size_t overflow_pages(const kvi_path *path)
{
    return 3 * (size_t)path->depth + 1;
}

/* Owns the path, with what splits on every level may take. A tree that has all levels there are
 * is a forgery: it could not become one higher. */
static int insert_own(kv_tree *tree, kvi_path *path)
{
    if (path->depth > KVI_LEVEL_MAX)
        return kvi_fail(&tree->txn->db->err, KV_ECORRUPT, "a tree has impossibly many levels");
    return kvi_tree_own(tree, path, overflow_pages(path));
}

/* ---- expiries ---- */

/* Makes the first branch of an owned path that keeps no expiries do so; one without room for them
 * is divided, and the path is lost. *kept: all keep them. */
static bool path_widen_one(kv_tree *tree, kvi_path *path, bool *kept)
{
    uint32_t page_size = tree->txn->db->file.page_size;
    unsigned i = 0;
    while (i + 1 < path->depth && kvi_node_flags(path->steps[i].page))
        i++;
    kvi_step *step = &path->steps[i];
    *kept = i + 1 >= path->depth;
    if (*kept || kvi_branch_widen(kvi_step_bytes(tree, step), page_size, scratch_page(tree, 0)))
        return true;
    arrival none = {path->depth - 1 - i, element_count(step->page), NULL};
    node_split(tree, path, i, &none, KVI_SPLIT_EVEN, KVI_NODE_EXPIRY);
    return false;
}

/* Before an entry that expires comes to the owned path: notes that in every branch above it (T8). */
static int path_expire(kv_tree *tree, kvi_path *path, const kvi_item *item)
{
    uint32_t page_size = tree->txn->db->file.page_size;
    bool kept = false, found;
    tree->desc.flags |= KVI_TREE_EXPIRY;
    tree->desc.min_expiry = kvi_expiry_min(tree->desc.min_expiry, item->expiry);
    while (!kept) {
        if (path_widen_one(tree, path, &kept))
            continue;
        if (tree->txn->failed)
            return KV_ECORRUPT;
        int rc = kvi_tree_seek(tree, item->key, path, &found);
        if (rc == KV_OK)
            rc = insert_own(tree, path);
        if (rc != KV_OK)
            return kvi_txn_spoil(tree->txn, rc);
    }
    for (unsigned i = KVI_MUTANT(EXPIRY_UNTOLD) ? path->depth : 0; i + 1 < path->depth; i++) {
        const kvi_step *step = &path->steps[i];
        uint64_t least = kvi_branch_expiry(step->page, page_size, step->slot);
        kvi_branch_set_expiry(kvi_step_bytes(tree, step), page_size, step->slot,
                              kvi_expiry_min(least, item->expiry));
    }
    return KV_OK;
}

/* ---- putting ---- */

/* Makes the path ready to receive the item. */
static int insert_ready(kv_tree *tree, kvi_path *path, const kvi_item *item)
{
    int rc = insert_own(tree, path);
    return rc == KV_OK && item->expiry ? path_expire(tree, path, item) : rc;
}

/* Does the item open the next leaf of an ascending run, although this one has room? Runs that only the
 * leaf remembers are over for all that is known: an entry behind one would have a leaf to itself. */
static bool leaf_spared(const kv_tree *tree, const kvi_path *path, const arrival *in)
{
    const kvi_step *leaf = &path->steps[path->depth - 1];
    return kvi_tree_filled(tree, leaf->page) && in->element == kvi_node_count(leaf->page) &&
           (run_goes_on(tree, leaf, in->element) || path_at_end(path));
}

int kvi_tree_insert(kv_tree *tree, kvi_path *path, const kvi_item *item)
{
    int rc = path->depth ? KV_OK : leaf_first(tree, path);
    if (rc == KV_OK)
        rc = insert_ready(tree, path, item);
    if (rc != KV_OK)
        return rc;
    kvi_step *leaf = kvi_path_leaf(path);
    arrival in = {0, leaf->slot, item};
    kvi_tree_adjust(tree, path, 1);
    tree->changed = true;
    if ((leaf_spared(tree, path, &in) || !node_insert(tree, leaf, &in)) &&
        !leaf_next(tree, path, &in)) {
        bool found;
        node_overflow(tree, path, path->depth - 1, &in);
        if (tree->txn->failed)
            return KV_ECORRUPT;
        rc = kvi_tree_seek(tree, item->key, path, &found);
    }
    tree->run_leaf = kvi_path_leaf(path)->ptr.page;
    tree->run_next = kvi_path_leaf(path)->slot + 1;
    return rc;
}

int kvi_tree_replace(kv_tree *tree, kvi_path *path, const kvi_item *item)
{
    uint32_t page_size = tree->txn->db->file.page_size;
    int rc = insert_ready(tree, path, item);
    if (rc != KV_OK)
        return rc;
    kvi_step *leaf = kvi_path_leaf(path);
    tree->changed = true;
    if (kvi_leaf_replace(kvi_step_bytes(tree, leaf), page_size, scratch_page(tree, 0), leaf->slot,
                         item))
        return KV_OK;
    bool found;
    arrival in = {0, leaf->slot, item};
    kvi_leaf_remove(kvi_step_bytes(tree, leaf), page_size, leaf->slot);
    if (!node_insert(tree, leaf, &in))
        node_overflow(tree, path, path->depth - 1, &in);
    if (tree->txn->failed)
        return KV_ECORRUPT;
    return kvi_tree_seek(tree, item->key, path, &found);
}
