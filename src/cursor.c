/* cursor.c - movement; see cursor.h. Up and down are directions in the order of keys; forward and
 * backward are those of the range, which may be reversed. */
#include "cursor.h"
#include "expired.h"

/* ---- life ---- */

size_t kvi_cursor_size(uint32_t page_size)
{
    return sizeof(kv_cursor) + kvi_key_max(page_size) + KVI_SCAN_SLACK;
}

_Static_assert(_Alignof(kv_cursor) <= _Alignof(kv_txn), "one can stand behind a transaction");

static kv_cursor *room_take(kv_txn *txn)
{
    const kvi_os *os = txn->db->os;
    kv_cursor *c = txn->cursor_room;
    if (!c)
        return os->alloc(os, kvi_cursor_size(txn->db->file.page_size));
    txn->cursor_room = NULL;
    return c;
}

static void room_give(kv_txn *txn, kv_cursor *c)
{
    if (c == kvi_txn_cursor_room(txn))
        txn->cursor_room = c;
    else
        txn->db->os->free(txn->db->os, c);
}

int kvi_cursor_open(kv_tree *tree, const kv_range *range, kv_cursor **cursor)
{
    kv_txn *txn = tree->txn;
    kv_cursor *c = room_take(txn);
    if (!c)
        return KV_ENOMEM;
    int rc = kvi_range_init(&c->range, tree, range);
    if (rc != KV_OK) {
        room_give(txn, c);
        return rc;
    }
    c->tree = tree;
    c->txn = txn;
    c->alive = txn->db->alive;
    c->state = KVI_CURSOR_NOWHERE;
    c->key_ready = false;
    kvi_cursor_far(c);
    c->asked = 1;
    c->left = c->range.limit;
    c->changes = txn->changes;
    c->key = (uint8_t *)(c + 1);
    c->keys = NULL;
    c->keys_size = 0;
    c->pairs = NULL;
    c->loans = NULL;
    c->plain.page = NULL;
    c->prev = NULL;
    c->next = txn->cursors;
    if (c->next)
        c->next->prev = c;
    txn->cursors = c;
    *cursor = c;
    return KV_OK;
}

void kvi_cursor_lent(kv_cursor *c, kvi_loan *before)
{
    kvi_loan **newest = &c->txn->loans, **last = newest;
    if (*newest == before)
        return;
    kvi_loans_end(&c->loans, NULL, c->txn->db->os);
    c->loans = *newest;
    while (*last != before)
        last = &(*last)->next;
    *newest = before;
    *last = NULL;
}

void kvi_cursor_close(kv_cursor *c)
{
    kv_txn *txn = c->txn;
    if (c->prev)
        c->prev->next = c->next;
    else
        txn->cursors = c->next;
    if (c->next)
        c->next->prev = c->prev;
    kvi_range_done(&c->range, c->tree);
    txn->db->os->free(txn->db->os, c->keys);
    txn->db->os->free(txn->db->os, c->pairs);
    kvi_loans_end(&c->loans, NULL, txn->db->os);
    room_give(txn, c);
}

void kvi_cursor_close_all(kv_txn *txn)
{
    while (txn->cursors)
        kvi_cursor_close(txn->cursors);
}

void kvi_cursor_reset_all(kv_txn *txn)
{
    for (kv_cursor *c = txn->cursors; c; c = c->next) {
        c->state = KVI_CURSOR_NOWHERE;
        c->plain.page = NULL;
    }
}

/* ---- the part of a leaf that lies inside the range ---- */

static uint32_t page_size_of(const kv_cursor *c)
{
    return c->txn->db->file.page_size;
}

static void find_low(kv_cursor *c)
{
    const uint8_t *page = kvi_path_leaf(&c->path)->page;
    c->low = c->range.lo.set ? kvi_place_slot(c->tree, page, &c->range.lo) : 0;
}

static void find_high(kv_cursor *c)
{
    const uint8_t *page = kvi_path_leaf(&c->path)->page;
    c->high = c->range.hi.set ? kvi_place_slot(c->tree, page, &c->range.hi) : kvi_node_count(page);
}

/* ---- arriving ---- */

void kvi_cursor_load_key(kv_cursor *c)
{
    const kvi_step *leaf = kvi_path_leaf(&c->path);
    c->key_len = kvi_node_key(leaf->page, page_size_of(c), leaf->slot, c->key);
    c->key_ready = true;
}

static int arrived(kv_cursor *c)
{
    c->state = KVI_CURSOR_ON;
    c->key_ready = false;
    if (c->txn->write)
        kvi_cursor_load_key(c);
    return KV_OK;
}

static kvi_stored stored_here(const kv_cursor *c)
{
    return kvi_path_stored(c->tree, &c->path);
}

/* Has the entry under the path expired? */
static bool expired_here(const kv_cursor *c)
{
    return KVI_UNLIKELY(kvi_tree_expires(c->tree)) &&
           kvi_stored_expired(stored_here(c), c->txn->now);
}

/* From an entry to the nearest one that has not expired: itself, or one further in the direction. */
static int pass_expired(kv_cursor *c, bool up)
{
    int rc = KV_OK;
    while (rc == KV_OK && expired_here(c))
        rc = kvi_cursor_step_any(c, up);
    return rc;
}

/* After the path was set to an entry, or failed to find one, without regard to the range. */
static int landed(kv_cursor *c, int rc, bool up)
{
    c->state = KVI_CURSOR_NOWHERE;
    c->asked = 0;
    if (rc != KV_OK)
        return rc;
    c->changes = c->txn->changes;
    kvi_cursor_far(c);
    find_low(c);
    find_high(c);
    unsigned slot = kvi_path_leaf(&c->path)->slot;
    if (slot < c->low || slot >= c->high)
        return KV_NOTFOUND;
    rc = pass_expired(c, up);
    return rc == KV_OK ? arrived(c) : rc;
}

static int land_up(kv_cursor *c, const kvi_place *place)
{
    return landed(c, kvi_place_up(c->tree, place, kvi_cursor_wants(c), &c->path), true);
}

static int land_down(kv_cursor *c, const kvi_place *place)
{
    return landed(c, kvi_place_down(c->tree, place, kvi_cursor_wants(c), &c->path), false);
}

/* Into the range from its low end going up, or from its high end. */
static int land_in(kv_cursor *c, bool up)
{
    return up ? land_up(c, &c->range.lo) : land_down(c, &c->range.hi);
}

/* ---- finding the place again ---- */

static int find_again(kv_cursor *c)
{
    bool found;
    if (kvi_cursor_has_key(c)) {
        int rc = kvi_tree_seek(c->tree, kvi_slice_of(c->key, c->key_len), &c->path, &found);
        if (rc != KV_OK)
            return rc;
        if (!found || expired_here(c))
            c->state = KVI_CURSOR_GAP;
        else if (c->state == KVI_CURSOR_GAP)
            c->state = KVI_CURSOR_BESIDE;
        if (c->path.depth > 0) {
            find_low(c);
            find_high(c);
        }
    }
    c->changes = c->txn->changes;
    return KV_OK;
}

static inline int up_to_date(kv_cursor *c)
{
    if (KVI_LIKELY(c->changes == c->txn->changes))
        return KV_OK;
    return find_again(c);
}

/* ---- steps ---- */

int kvi_cursor_cross(kv_cursor *c, bool up)
{
    const kvi_step *leaf = kvi_path_leaf(&c->path);
    if (up ? c->high < kvi_node_count(leaf->page) : c->low > 0)
        return KV_NOTFOUND; /* the range ends inside this leaf */
    unsigned low = c->low, high = c->high;
    int rc = kvi_path_cross(c->tree, &c->path, up);
    if (rc != KV_OK)
        return rc;
    if (up) {
        c->low = 0;
        find_high(c);
    } else {
        c->high = kvi_node_count(leaf->page);
        find_low(c);
    }
    if (KVI_LIKELY(c->low < c->high)) {
        kvi_cursor_crossed(c);
        return KV_OK;
    }
    rc = kvi_path_cross(c->tree, &c->path, !up);
    c->low = low;
    c->high = high;
    return rc == KV_OK ? KV_NOTFOUND : rc;
}

/* From a gap: the entry behind it stands in the path's slot. */
static int step_gap(kv_cursor *c, bool up)
{
    if (c->path.depth == 0)
        return KV_NOTFOUND;
    kvi_step *leaf = kvi_path_leaf(&c->path);
    if (up && leaf->slot < kvi_node_count(leaf->page))
        return leaf->slot < c->high ? KV_OK : KV_NOTFOUND;
    return up ? kvi_cursor_cross(c, true) : kvi_cursor_step_any(c, false);
}

/* To the neighbouring entry, from an entry or a gap; it may have expired. */
static int step_any(kv_cursor *c, bool up)
{
    return c->state == KVI_CURSOR_GAP ? step_gap(c, up) : kvi_cursor_step_any(c, up);
}

int kvi_cursor_step_past(kv_cursor *c, bool up)
{
    unsigned low = c->low, high = c->high;
    kvi_path before = {.depth = c->path.depth};
    memcpy(before.steps, c->path.steps, before.depth * sizeof before.steps[0]);
    int rc = step_any(c, up);
    if (rc == KV_OK)
        rc = pass_expired(c, up);
    if (rc == KV_OK)
        return KV_OK;
    memcpy(c->path.steps, before.steps, before.depth * sizeof before.steps[0]);
    c->low = low;
    c->high = high;
    return rc;
}

/* One entry up or down from wherever the cursor is, except NOWHERE. */
static int step(kv_cursor *c, bool up)
{
    int rc;
    if (c->state == KVI_CURSOR_ON || c->state == KVI_CURSOR_BESIDE) {
        kvi_cursor_expect(c, up);
        rc = kvi_cursor_step(c, up);
    } else if (c->state == KVI_CURSOR_GAP)
        rc = kvi_tree_expires(c->tree) ? kvi_cursor_step_past(c, up) : step_gap(c, up);
    else if (c->state == KVI_CURSOR_STOPPED)
        rc = KV_OK; /* back onto the entry that it stopped behind */
    else if (c->state == (up ? KVI_CURSOR_LOW : KVI_CURSOR_HIGH))
        return land_in(c, up);
    else
        return KV_NOTFOUND;
    if (rc == KV_OK)
        return arrived(c);
    if (rc == KV_NOTFOUND)
        c->state = up ? KVI_CURSOR_HIGH : KVI_CURSOR_LOW;
    return rc;
}

int kvi_cursor_first(kv_cursor *c)
{
    int rc = land_in(c, !c->range.reverse);
    c->left = c->range.limit - (rc == KV_OK);
    return rc;
}

int kvi_cursor_last(kv_cursor *c)
{
    return land_in(c, c->range.reverse);
}

int kvi_cursor_next(kv_cursor *c)
{
    int rc = up_to_date(c);
    if (rc != KV_OK)
        return rc;
    if (c->state == KVI_CURSOR_NOWHERE)
        return kvi_cursor_first(c);
    if (c->left == 0) {
        if (c->state == KVI_CURSOR_ON)
            c->state = KVI_CURSOR_STOPPED;
        return KV_NOTFOUND;
    }
    rc = step(c, !c->range.reverse);
    c->left -= rc == KV_OK;
    return rc;
}

int kvi_cursor_prev(kv_cursor *c)
{
    int rc = up_to_date(c);
    if (rc != KV_OK)
        return rc;
    return c->state == KVI_CURSOR_NOWHERE ? kvi_cursor_last(c) : step(c, c->range.reverse);
}

/* ---- jumps ---- */

/* The answer to a search for an entry above (or below) a place: without one the cursor is outside
 * the range on that side. */
static int outside(kv_cursor *c, int rc, bool up)
{
    if (rc == KV_NOTFOUND)
        c->state = up ? KVI_CURSOR_HIGH : KVI_CURSOR_LOW;
    return rc;
}

static int seek_equal(kv_cursor *c, kvi_slice key)
{
    bool found;
    int rc = kvi_tree_seek_around(c->tree, key, &c->path, kvi_cursor_wants(c), &found);
    if (rc == KV_OK && (!found || expired_here(c)))
        rc = KV_NOTFOUND;
    return landed(c, rc, true);
}

static int seek_up(kv_cursor *c, kvi_place place)
{
    bool below = c->range.lo.set && kvi_place_less(&place, &c->range.lo);
    return outside(c, land_up(c, below ? &c->range.lo : &place), true);
}

static int seek_down(kv_cursor *c, kvi_place place)
{
    bool above = c->range.hi.set && kvi_place_less(&c->range.hi, &place);
    return outside(c, land_down(c, above ? &c->range.hi : &place), false);
}

int kvi_cursor_seek(kv_cursor *c, enum kv_seek how, kvi_slice key)
{
    switch (how) {
    case KV_SEEK_EQ:
        return seek_equal(c, key);
    case KV_SEEK_GE:
    case KV_SEEK_GT:
        return seek_up(c, (kvi_place){key, true, how == KV_SEEK_GT});
    case KV_SEEK_LE:
    case KV_SEEK_LT:
        return seek_down(c, (kvi_place){key, true, how == KV_SEEK_LE});
    }
    return KV_EINVAL;
}

int kvi_cursor_nth(kv_cursor *c, uint64_t n)
{
    uint64_t first, all;
    int rc = kvi_range_extent(c->tree, &c->range, &first, &all);
    if (rc == KV_OK && n >= all)
        rc = KV_NOTFOUND;
    if (rc == KV_OK)
        rc = kvi_expired_nth(c->tree, &c->path, first, c->range.reverse ? all - 1 - n : n);
    return outside(c, landed(c, rc, true), !c->range.reverse);
}

/* ---- the entry ---- */

int kvi_cursor_key(kv_cursor *c, kvi_slice *key)
{
    int rc = up_to_date(c);
    if (rc != KV_OK)
        return rc;
    if (c->state != KVI_CURSOR_ON)
        return KV_NOTFOUND;
    *key = kvi_slice_of(c->key, c->key_len);
    return KV_OK;
}

int kvi_cursor_load_value(kv_cursor *c, kv_slice *value)
{
    kvi_stored stored = stored_here(c);
    if (stored.special)
        return kvi_value_load(c->txn, stored, value);
    *value = (kv_slice){stored.bytes.ptr, stored.bytes.len};
    return KV_OK;
}

bool kvi_cursor_look(kv_cursor *c)
{
    const uint8_t *page = kvi_path_leaf(&c->path)->page;
    if (c->txn->write || kvi_tree_multi(c->tree) || page == c->plain.page)
        return false;
    kvi_plain_look(&c->plain, page, page_size_of(c));
    return true;
}

int kvi_cursor_stored(kv_cursor *c, kvi_stored *stored)
{
    int rc = up_to_date(c);
    if (rc != KV_OK)
        return rc;
    if (c->state != KVI_CURSOR_ON)
        return KV_NOTFOUND;
    *stored = stored_here(c);
    return KV_OK;
}

int kvi_cursor_get(kv_cursor *c, kv_slice *key, kv_slice *value)
{
    int rc = up_to_date(c);
    if (rc != KV_OK)
        return rc;
    if (c->state != KVI_CURSOR_ON)
        return KV_NOTFOUND;
    if (kvi_cursor_look(c) && kvi_cursor_take(c, key, value))
        return KV_OK;
    if (value)
        rc = kvi_cursor_load_value(c, value);
    if (key && rc == KV_OK) {
        if (!c->key_ready)
            kvi_cursor_load_key(c);
        *key = (kv_slice){c->key, c->key_len};
    }
    return rc;
}

void kvi_cursor_removed(kv_cursor *c)
{
    c->state = KVI_CURSOR_GAP;
}
