/* compact.c - see compact.h. */
#include "compact.h"
#include "backup.h"
#include "catalog.h"
#include "commit.h"
#include "db.h"
#include "ops.h"

#define MEMORY_BUDGET ((uint64_t)64 << 20)

typedef struct compact {
    kv_txn *from, *to;
    uint8_t *keys[2]; /* the newest key and the one before it, in turns */
} compact;

/* A failure of the new database, told by the handle of the old one, which is as good as before. */
static int compact_fail(kv_db *from, kv_db *to, int rc)
{
    char text[320];
    kvi_err_text(&to->err, text, sizeof text);
    return kvi_fail(&from->err, rc == KV_EPOISONED ? KV_EIO : rc, "writing the compact copy: %s",
                    text);
}

/* last: the key before this one, ptr NULL: none; becomes this one. That keys ascend also bounds the
 * work when a hostile file uses a subtree many times. */
static int compact_entry(const compact *c, const kvi_step *leaf, kv_tree *to, kvi_slice *last)
{
    uint32_t page_size = c->from->db->file.page_size;
    const kvi_loan *kept = c->from->loans;
    uint8_t *buffer = c->keys[last->ptr == c->keys[0]];
    kvi_stored stored;
    kv_slice value;
    kvi_slice key = {buffer, kvi_node_key(leaf->page, page_size, leaf->slot, buffer)};
    if (last->ptr && kvi_slice_compare(*last, key) >= 0)
        return kvi_fail(&c->from->db->err, KV_ECORRUPT,
                        "page %llu breaks T1: its keys are not greater than those before it",
                        (unsigned long long)leaf->ptr.page);
    *last = key;
    stored.bytes = kvi_leaf_value(leaf->page, page_size, leaf->slot, &stored.special);
    int rc = kvi_value_load(c->from, stored, &value);
    if (rc != KV_OK)
        return rc;
    rc = kvi_put_until(to, key, kvi_slice_of(value.ptr, value.len), 0, kvi_stored_expiry(stored),
                       NULL);
    kvi_txn_unlend(c->from, kept);
    return rc == KV_OK ? KV_OK : compact_fail(c->from->db, c->to->db, rc);
}

static int compact_tree(const compact *c, kv_tree *from, kv_tree *to)
{
    kvi_path path;
    kvi_slice last = {NULL, 0};
    to->desc.codec = from->desc.codec;
    to->desc.compress_from = from->desc.compress_from;
    to->desc.sequence = from->desc.sequence;
    to->desc.flags |= from->desc.flags & KVI_TREE_MULTI;
    to->raw = true;
    to->changed = true;
    int rc = kvi_path_edge(from, &path, false);
    while (rc == KV_OK) {
        rc = compact_entry(c, kvi_path_leaf(&path), to, &last);
        if (rc == KV_OK)
            rc = kvi_path_next(from, &path);
    }
    return rc == KV_NOTFOUND ? KV_OK : rc;
}

/* The handles of named trees are kept until the end, so there are as many as trees. */
static int compact_named(void *context, kvi_slice name, const kvi_tree_desc *desc)
{
    const compact *c = context;
    kv_tree *from, *to;
    (void)desc;
    int rc = kvi_catalog_open(c->from, name, 0, NULL, &from);
    if (rc != KV_OK)
        return rc;
    rc = kvi_catalog_open(c->to, name, KV_TREE_CREATE, NULL, &to);
    return rc == KV_OK ? compact_tree(c, from, to) : compact_fail(c->from->db, c->to->db, rc);
}

static int compact_trees(compact *c)
{
    int rc = compact_tree(c, &c->from->main, &c->to->main);
    return rc == KV_OK ? kvi_catalog_each(c->from, compact_named, c) : rc;
}

static int compact_into(kv_txn *from, kv_db *db)
{
    compact c = {.from = from};
    int rc = kvi_begin_write(db, KVI_WAIT_FOREVER, KV_STRICT, &c.to);
    if (rc != KV_OK)
        return compact_fail(from->db, db, rc);
    c.to->now = KVI_MAX(c.to->now, from->base.clock); /* the clock never runs backwards */
    size_t room = kvi_key_max(db->file.page_size);
    c.keys[0] = db->os->alloc(db->os, 2 * room);
    if (c.keys[0]) {
        c.keys[1] = c.keys[0] + room;
        rc = compact_trees(&c);
    } else {
        rc = KV_ENOMEM;
    }
    db->os->free(db->os, c.keys[0]);
    if (rc != KV_OK) {
        kvi_end(c.to);
        return rc;
    }
    if (kvi_backup_settle(from) == KV_OK) { /* else it is a copy of what may yet be lost */
        memcpy(c.to->origin, from->db->file_id, sizeof c.to->origin);
        c.to->origin_id = from->base.id;
    }
    rc = kvi_commit(c.to);
    return rc == KV_OK ? KV_OK : compact_fail(from->db, db, rc);
}

int kvi_compact_to(kv_txn *txn, const char *path)
{
    char message[320];
    kv_db *db = NULL;
    kv_options options = {
        .size = sizeof options,
        .flags = KV_OPEN_CREATE | KV_OPEN_EXCLUSIVE,
        .page_size = txn->db->file.page_size,
        .memory_budget = MEMORY_BUDGET,
        .fill = 100 - txn->db->leaf_spare,
    };
    int rc = kvi_db_open(txn->db->os, path, &options, &db, message, sizeof message);
    if (rc != KV_OK)
        return kvi_fail(&txn->db->err, rc, "creating the compact copy: %s", message);
    rc = compact_into(txn, db);
    int closed = kvi_db_close(db);
    return rc == KV_OK ? closed : rc;
}
