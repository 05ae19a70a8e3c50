/* sizes.c - see sizes.h. */
#include "sizes.h"
#include "pairs.h"

/* The share of a leaf that one of its entries has: together they have all of it. */
static uint64_t leaf_share(const kvi_step *leaf, uint32_t page_size)
{
    uint64_t count = kvi_node_count(leaf->page), slot = leaf->slot;
    return (slot + 1) * page_size / count - slot * page_size / count;
}

static int add_value(kv_cursor *c, kvi_stored stored, uint32_t page_size, kv_sizes *sizes)
{
    kvi_entry entry;
    if (!stored.special) {
        sizes->value_bytes += stored.bytes.len;
        return KV_OK;
    }
    if (!kvi_entry_parse(stored, &entry))
        return kvi_fail(&c->txn->db->err, KV_ECORRUPT, "an entry breaks V1");
    if (entry.flags & KVI_ENTRY_LARGE) {
        sizes->value_bytes += entry.large.raw_len;
        sizes->large_pages += entry.large.pages;
        sizes->disk_bytes += entry.large.pages * page_size;
    } else {
        sizes->value_bytes +=
            entry.flags & KVI_ENTRY_COMPRESSED ? entry.raw_len : entry.payload.len;
    }
    return KV_OK;
}

int kvi_sizes_here(kv_cursor *c, kv_sizes *sizes)
{
    uint32_t page_size = c->txn->db->file.page_size;
    kv_slice key;
    kvi_stored stored;
    int rc = kvi_cursor_get(c, &key, NULL);
    if (rc != KV_OK)
        return rc;
    const kvi_step *leaf = kvi_path_leaf(&c->path);
    stored.bytes = kvi_leaf_value(leaf->page, page_size, leaf->slot, &stored.special);
    rc = add_value(c, stored, page_size, sizes);
    if (rc != KV_OK)
        return rc;
    sizes->entries++;
    sizes->disk_bytes += leaf_share(leaf, page_size);
    sizes->key_bytes += key.len;
    if (kvi_tree_multi(c->tree)) {
        size_t form = kvi_pairs_key_len(key.ptr, key.len);
        size_t value = form ? key.len - form : 0;
        sizes->key_bytes -= value;
        sizes->value_bytes += value;
    }
    return KV_OK;
}

int kvi_sizes_range(kv_tree *tree, const kv_range *range, kv_sizes *sizes)
{
    kv_cursor *cursor;
    int rc = kvi_cursor_open(tree, range, &cursor);
    if (rc != KV_OK)
        return rc;
    do {
        rc = kvi_cursor_next(cursor);
        if (rc == KV_OK)
            rc = kvi_sizes_here(cursor, sizes);
    } while (rc == KV_OK);
    kvi_cursor_close(cursor);
    return rc == KV_NOTFOUND ? KV_OK : rc;
}
