/* cursor.h - a position in a tree that moves: through a range, in its direction, up to its limit.
 *
 *   NOWHERE --- first last seek nth next prev ---> ON an entry
 *   ON      --- past the range's end -----------> LOW or HIGH: outside, below or above the range
 *   ON      --- next beyond the limit ----------> STOPPED: on the last entry, but behind it
 *   ON      --- the entry went away ------------> GAP: between its neighbours
 *   GAP     --- its key came back --------------> BESIDE: not on that entry, but steps leave it
 *
 * In a write transaction a cursor always knows its key. When the transaction has changed since the
 * cursor last looked (txn->changes), it goes down the tree by that key again.
 *
 * Invariants:
 *   Z1 ON, STOPPED, GAP, BESIDE: path is valid while changes == txn->changes
 *   Z2 the leaf's slots in [low, high) lie inside the range; except in a GAP the path's slot is one
 *   Z3 GAP: the path's slot is that of the first entry behind the gap, or the leaf's count
 *   Z4 a step that finds no entry, or fails, leaves the path where it was
 *   Z5 ON: the entry has not expired
 *   Z6 [near_low, near_high) lies in [low, high); it is empty in a write transaction, and in a tree of
 *      entries that expire
 */
#ifndef KVI_CURSOR_H
#define KVI_CURSOR_H

#include "node_scan.h"
#include "range.h"
#include <limits.h>

enum kvi_cursor_state {
    KVI_CURSOR_NOWHERE,
    KVI_CURSOR_ON,
    KVI_CURSOR_STOPPED,
    KVI_CURSOR_GAP,
    KVI_CURSOR_BESIDE,
    KVI_CURSOR_LOW,
    KVI_CURSOR_HIGH,
};

struct kv_cursor {
    kv_tree *tree;
    kv_txn *txn;
    const uint8_t *alive; /* for kvi_alive_at, a short way */
    enum kvi_cursor_state state;
    bool key_ready; /* key holds the entry's key */
    unsigned low;   /* slots of the leaf that lie inside the range: [low, high) */
    unsigned high;
    unsigned near_low;  /* of those: steps from one to another in [near_low, near_high) look at */
    unsigned near_high; /* nothing but slots, and their entries were asked for (cursor_ahead.c) */
    unsigned asked;     /* entries asked for since the newest jump; before the first one: 1 */
    bool foreseen;      /* the leaf was asked for before it was reached */
    kvi_ahead ahead;    /* of the leaf behind it; end 0: not known */
    uint64_t left;      /* entries that the limit still allows */
    uint64_t changes;   /* txn->changes when path was right */
    uint8_t *key;       /* kvi_key_max bytes, and slack, behind this struct */
    size_t key_len;
    uint8_t *keys; /* of the newest kvi_cursor_read */
    size_t keys_size;
    uint8_t *pairs; /* in a multi-value tree: the pair that was given out, and one that is sought */
    kvi_plain plain; /* of the leaf at plain.page; of a reader, in a tree without multiple values */
    kvi_range range;
    kvi_loan *loans; /* brief: the values that it gave last */
    kv_cursor *next; /* in txn->cursors */
    kv_cursor *prev;
    kvi_path path;
};

/* Bytes that a cursor takes. */
size_t kvi_cursor_size(uint32_t page_size);

/* In txn->cursor_room, so that most cursors ask for no memory; if another has that, in its own. */
int kvi_cursor_open(kv_tree *tree, const kv_range *range, kv_cursor **cursor) KVI_MUST_CHECK;
void kvi_cursor_close(kv_cursor *cursor);

/* All cursors of a transaction: closed; put NOWHERE. */
void kvi_cursor_close_all(kv_txn *txn);
void kvi_cursor_reset_all(kv_txn *txn);

/* As kv_cursor_* say. After an error a step stays where it was; the others are NOWHERE. */
int kvi_cursor_first(kv_cursor *cursor) KVI_MUST_CHECK;
int kvi_cursor_last(kv_cursor *cursor) KVI_MUST_CHECK;
int kvi_cursor_next(kv_cursor *cursor) KVI_MUST_CHECK;
int kvi_cursor_prev(kv_cursor *cursor) KVI_MUST_CHECK;
int kvi_cursor_seek(kv_cursor *cursor, enum kv_seek how, kvi_slice key) KVI_MUST_CHECK;
int kvi_cursor_nth(kv_cursor *cursor, uint64_t n) KVI_MUST_CHECK;
int kvi_cursor_stored(kv_cursor *cursor, kvi_stored *stored) KVI_MUST_CHECK;
int kvi_cursor_get(kv_cursor *cursor, kv_slice *key, kv_slice *value) KVI_MUST_CHECK;
int kvi_cursor_read(kv_cursor *cursor, kv_pair *pairs, size_t n, size_t *got) KVI_MUST_CHECK;

/* Brief: the values that were lent since txn->loans was before take the place of those that the cursor gave
 * earlier. */
void kvi_cursor_lent(kv_cursor *cursor, kvi_loan *before);

/* In a write transaction: the key under the cursor, in its memory. KV_NOTFOUND: it is not on an
 * entry. */
int kvi_cursor_key(kv_cursor *cursor, kvi_slice *key) KVI_MUST_CHECK;

/* The entry under the cursor was just removed. */
void kvi_cursor_removed(kv_cursor *cursor);

/* ---- between the cursor files ---- */

/* Is there a key that tells where the cursor is? */
static inline bool kvi_cursor_has_key(const kv_cursor *cursor)
{
    return cursor->state >= KVI_CURSOR_ON && cursor->state <= KVI_CURSOR_BESIDE;
}

/* From an entry at the edge of its leaf's [low, high) to the neighbouring leaf. */
int kvi_cursor_cross(kv_cursor *cursor, bool up) KVI_MUST_CHECK;

/* ON: to the neighbouring entry, which may have expired. */
static inline int kvi_cursor_step_any(kv_cursor *cursor, bool up)
{
    kvi_step *leaf = kvi_path_leaf(&cursor->path);
    if (KVI_LIKELY(up ? leaf->slot + 1 < cursor->high : leaf->slot > cursor->low)) {
        leaf->slot += up ? 1u : -1u;
        return KV_OK;
    }
    return kvi_cursor_cross(cursor, up);
}

/* The same in a tree of entries that expire, and on past those that have. */
int kvi_cursor_step_past(kv_cursor *cursor, bool up) KVI_MUST_CHECK;

/* ON: to the neighbouring entry. */
static inline int kvi_cursor_step(kv_cursor *cursor, bool up)
{
    if (KVI_UNLIKELY(kvi_tree_expires(cursor->tree)))
        return kvi_cursor_step_past(cursor, up);
    return kvi_cursor_step_any(cursor, up);
}

/* ---- a reader's usual steps ---- */

/* After a jump or a crossing: nothing is near. */
static inline void kvi_cursor_far(kv_cursor *cursor)
{
    cursor->near_low = UINT_MAX;
    cursor->near_high = 0;
    cursor->foreseen = false;
    cursor->ahead = (kvi_ahead){0};
}

/* About to jump: how many entries will be wanted where it lands? */
int kvi_cursor_wants(const kv_cursor *cursor);

/* ON, about to step: asks for the entries that steps in this direction come to. */
void kvi_cursor_expect(kv_cursor *cursor, bool up);

/* ON, about to make a scan that reads n more entries of the leaf, and more behind it. */
void kvi_cursor_expect_run(kv_cursor *cursor, kvi_scan *scan, unsigned n, size_t more);

/* In a leaf just reached by a step. */
void kvi_cursor_crossed(kv_cursor *cursor);

/* A step to an entry that is near, forward or backward. False: the general way must do it. */
static inline bool kvi_cursor_glide(kv_cursor *cursor, bool forward)
{
    if (KVI_UNLIKELY(cursor->state != KVI_CURSOR_ON))
        return false;
    kvi_step *leaf = kvi_path_leaf(&cursor->path);
    bool up = forward != cursor->range.reverse;
    if (KVI_UNLIKELY((up ? leaf->slot + 1 >= cursor->near_high : leaf->slot <= cursor->near_low) ||
                     (forward && cursor->left == 0)))
        return false;
    leaf->slot += up ? 1u : -1u;
    cursor->left -= forward;
    cursor->key_ready = false;
    return true;
}

/* Looks at the leaf, for a reader. False: that was done before, or is not to be done. */
bool kvi_cursor_look(kv_cursor *cursor);

/* The entry under a reader's cursor, in a plain leaf that was looked at. False: as above. */
static inline bool kvi_cursor_take(kv_cursor *cursor, kv_slice *key, kv_slice *value)
{
    if (KVI_UNLIKELY(cursor->state != KVI_CURSOR_ON))
        return false;
    const kvi_plain *plain = &cursor->plain;
    const kvi_step *leaf = kvi_path_leaf(&cursor->path);
    if (KVI_UNLIKELY(leaf->page != plain->page))
        return false;
    uint32_t at = kvi_plain_at(plain, leaf->slot);
    if (KVI_UNLIKELY(at == 0))
        return false;
    if (value)
        *value = kvi_plain_value(plain, at);
    if (key) {
        if (KVI_LIKELY(at <= plain->brief))
            kvi_plain_whole(plain, leaf->slot, at, cursor->key);
        else
            kvi_plain_key_any(plain, leaf->slot, at, cursor->key);
        *key = (kv_slice){cursor->key, plain->key_len};
    }
    return true;
}

/* ON: the entry's key into cursor->key; its value. */
void kvi_cursor_load_key(kv_cursor *cursor);
int kvi_cursor_load_value(kv_cursor *cursor, kv_slice *value) KVI_MUST_CHECK;

#endif
