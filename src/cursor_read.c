/* cursor_read.c - many entries at a time; see cursor.h. */
#include "cursor.h"
#include "node_scan.h"

#define KEYS_MIN 16384u /* bytes; room for the keys of a usual batch */

/* Entries on their way to the caller. Their keys stand one after the other in cursor->keys. */
typedef struct batch {
    kv_pair *pairs;
    size_t n, done;
    size_t used; /* bytes of keys */
    size_t room; /* bytes that a key may need */
} batch;

/* Makes room for more keys; those that the pairs have already may move. */
static int keys_grow(kv_cursor *c, const batch *b)
{
    const kvi_os *os = c->txn->db->os;
    size_t size = 2 * KVI_MAX(c->keys_size, KVI_MAX(b->room, KEYS_MIN / 2));
    uint8_t *keys = os->realloc(os, c->keys, size);
    if (!keys)
        return KV_ENOMEM;
    c->keys = keys;
    c->keys_size = size;
    for (size_t i = 0; i < b->done; i++) {
        b->pairs[i].key.ptr = keys;
        keys += b->pairs[i].key.len;
    }
    return KV_OK;
}

/* Adds the entry under the cursor, whatever it is. */
static int read_here(kv_cursor *c, batch *b)
{
    const kvi_step *leaf = kvi_path_leaf(&c->path);
    kv_pair *pair = &b->pairs[b->done];
    int rc = kvi_cursor_load_value(c, &pair->value);
    if (rc == KV_OK && c->keys_size - b->used < b->room)
        rc = keys_grow(c, b);
    if (rc != KV_OK)
        return rc;
    uint8_t *key = c->keys + b->used;
    pair->key.ptr = key;
    pair->key.len = kvi_node_key(leaf->page, c->txn->db->file.page_size, leaf->slot, key);
    b->used += pair->key.len;
    b->done++;
    return KV_OK;
}

/* What is known of the leaf; in a write transaction it is looked at each time. */
static const kvi_plain *leaf_known(kv_cursor *c, kvi_plain *room)
{
    const uint8_t *page = kvi_path_leaf(&c->path)->page;
    if (KVI_LIKELY(page == c->plain.page || kvi_cursor_look(c)))
        return &c->plain;
    kvi_plain_look(room, page, c->txn->db->file.page_size);
    return room;
}

/* Moves over further entries of the leaf, adding them, as long as they are plain. here: the entry under
 * the cursor is to be added, too. */
static bool read_run(kv_cursor *c, batch *b, bool up, bool here)
{
    kvi_plain room;
    kvi_step *leaf = kvi_path_leaf(&c->path);
    unsigned inside = here + (up ? c->high - leaf->slot - 1 : leaf->slot - c->low);
    size_t most = KVI_MIN(b->n - b->done - here, c->left) + here;
    if (inside == 0 || most == 0)
        return false;
    kvi_scan scan = {
        .from = up ? leaf->slot + !here : leaf->slot - !here,
        .n = (unsigned)KVI_MIN(inside, most),
        .up = up,
        .pairs = b->pairs + b->done,
        .keys = c->keys + b->used,
        .room = c->keys_size - b->used,
    };
    const kvi_plain *plain = leaf_known(c, &room);
    kvi_cursor_expect_run(c, &scan, scan.n - here, most - scan.n);
    unsigned n = kvi_leaf_scan(plain, &scan);
    c->ahead = scan.ahead;
    if (n == 0)
        return false;
    leaf->slot += up ? n - here : here - n;
    c->left -= n - here;
    b->done += n;
    b->used += scan.used;
    return true;
}

/* Adds the entry that the cursor has come to, and those behind it. */
static int read_from(kv_cursor *c, batch *b, bool up)
{
    return read_run(c, b, up, true) ? KV_OK : read_here(c, b);
}

/* Steps and adds, or stays where it was: what fails now is met, and reported, by the next read. */
static bool read_step(kv_cursor *c, batch *b, bool up)
{
    if (c->left == 0 || kvi_cursor_step(c, up) != KV_OK)
        return false;
    c->left--;
    if (read_from(c, b, up) == KV_OK)
        return true;
    c->left++;
    if (kvi_cursor_step(c, !up) != KV_OK)
        c->state = KVI_CURSOR_NOWHERE;
    return false;
}

/* The first entry, at least. */
static int read_first(kv_cursor *c, batch *b, bool up)
{
    int rc = c->keys ? KV_OK : keys_grow(c, b);
    if (rc != KV_OK)
        return rc;
    if (c->state == KVI_CURSOR_ON && !c->txn->write && read_run(c, b, up, false))
        return KV_OK;
    rc = kvi_cursor_next(c);
    return rc == KV_OK ? read_from(c, b, up) : rc;
}

int kvi_cursor_read(kv_cursor *c, kv_pair *pairs, size_t n, size_t *got)
{
    uint32_t key_max = kvi_key_max(c->txn->db->file.page_size);
    batch b = {.pairs = pairs, .n = n, .room = key_max + KVI_SCAN_SLACK};
    if (n == 0)
        return KV_OK;
    bool up = !c->range.reverse;
    c->key_ready = false;
    int rc = read_first(c, &b, up);
    if (rc != KV_OK)
        return rc;
    while (b.done < n && (read_run(c, &b, up, false) || read_step(c, &b, up)))
        continue;
    *got = b.done;
    if (c->txn->write && c->state == KVI_CURSOR_ON)
        kvi_cursor_load_key(c);
    return KV_OK;
}
