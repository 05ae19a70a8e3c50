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

/* Moves over further entries of the leaf, adding them, as long as they are plain. */
static bool read_run(kv_cursor *c, batch *b, bool up)
{
    kvi_step *leaf = kvi_path_leaf(&c->path);
    unsigned ahead = up ? c->high - leaf->slot - 1 : leaf->slot - c->low;
    size_t most = KVI_MIN(b->n - b->done, c->left);
    kvi_scan scan = {
        .from = up ? leaf->slot + 1 : leaf->slot - 1,
        .n = (unsigned)KVI_MIN(ahead, most),
        .up = up,
        .pairs = b->pairs + b->done,
        .keys = c->keys + b->used,
        .room = c->keys_size - b->used,
    };
    unsigned n = kvi_leaf_scan(leaf->page, c->txn->db->file.page_size, &scan);
    leaf->slot += up ? n : -n;
    c->left -= n;
    b->done += n;
    b->used += scan.used;
    return n > 0;
}

/* Steps and adds, or stays where it was: what fails now is met, and reported, by the next read. */
static bool read_step(kv_cursor *c, batch *b, bool up)
{
    if (c->left == 0 || kvi_cursor_step(c, up) != KV_OK)
        return false;
    if (read_here(c, b) != KV_OK) {
        if (kvi_cursor_step(c, !up) != KV_OK)
            c->state = KVI_CURSOR_NOWHERE;
        return false;
    }
    c->left--;
    return true;
}

int kvi_cursor_read(kv_cursor *c, kv_pair *pairs, size_t n, size_t *got)
{
    uint32_t key_max = kvi_key_max(c->txn->db->file.page_size);
    batch b = {.pairs = pairs, .n = n, .room = key_max + KVI_SCAN_SLACK};
    if (n == 0)
        return KV_OK;
    int rc = kvi_cursor_next(c);
    if (rc == KV_OK)
        rc = read_here(c, &b);
    if (rc != KV_OK)
        return rc;
    bool up = !c->range.reverse;
    while (b.done < n && (read_run(c, &b, up) || read_step(c, &b, up)))
        continue;
    *got = b.done;
    if (c->txn->write && c->state == KVI_CURSOR_ON)
        kvi_cursor_load_key(c);
    return KV_OK;
}
