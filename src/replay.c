/* replay.c - see replay.h. The stream is not trusted: what it says is checked for order and lengths,
 * and a value takes memory as its bytes arrive. */
#include "replay.h"
#include "catalog.h"
#include "commit.h"
#include "ops.h"
#include "pairs.h"
#include "range.h"

/* A tree whose ranges are stated: everything between what is said goes away. */
typedef struct replay_map {
    kv_tree *tree;
    bool open;     /* a range is being stated */
    bool begun;    /* something was stated before; then last is where it ended */
    bool finished; /* up to the open end: nothing can follow */
    bool key_done; /* last is itself stated */
    bool there;    /* next is the first key of the tree that was not stated yet */
    kvi_slice last, next;
    uint8_t *room;                                              /* of last, then next */
    int (*remove)(struct replay_map *map, const kvi_slice *to); /* next and all up to here */
} replay_map;

typedef struct replay {
    kv_db *db;
    kv_txn *txn;
    kvi_stream stream;
    kv_backup_info *info;
    uint32_t wait_ms;
    bool begun;                /* the main tree was stated */
    replay_map names, entries; /* entries: of the tree that is being stated, if one is */
    uint8_t *name;             /* room for one */
    uint64_t until;            /* when the next entry expires; 0: never */
} replay;

static int damaged(const replay *r, const char *what)
{
    return kvi_stream_damaged(&r->stream, what);
}

static kvi_slice keep(uint8_t *room, kvi_slice bytes)
{
    if (bytes.len)
        memcpy(room, bytes.ptr, bytes.len);
    return kvi_slice_of(room, bytes.len);
}

/* ---- stated ranges ---- */

/* Sets next to the tree's first key behind a place; NULL: its first one. */
static int map_find(replay_map *map, const kvi_place *place)
{
    kv_tree *tree = map->tree;
    kvi_path path;
    bool found = false;
    int rc =
        place ? kvi_tree_seek(tree, place->key, &path, &found) : kvi_path_edge(tree, &path, false);
    if (rc == KV_OK && path.depth == 0)
        rc = KV_NOTFOUND;
    if (rc == KV_OK && place) {
        kvi_step *leaf = kvi_path_leaf(&path);
        leaf->slot += found && place->after;
        if (leaf->slot >= kvi_node_count(leaf->page))
            rc = kvi_path_next(tree, &path);
    }
    map->there = rc == KV_OK;
    if (rc == KV_OK) {
        const kvi_step *leaf = kvi_path_leaf(&path);
        uint8_t *room = map->room + KVI_STREAM_KEY;
        map->next.ptr = room;
        map->next.len = kvi_node_key(leaf->page, tree->txn->db->file.page_size, leaf->slot, room);
    }
    return rc == KV_NOTFOUND ? KV_OK : rc;
}

/* Is it behind all that was stated so far? */
static bool map_ascends(const replay_map *map, kvi_slice key, bool again)
{
    int order = map->begun ? kvi_slice_compare(map->last, key) : -1;
    return order < 0 || (order == 0 && (again || !map->key_done));
}

static void map_note(replay_map *map, kvi_slice key, bool done)
{
    map->last = keep(map->room, key);
    map->begun = true;
    map->key_done = done;
}

static int map_from(const replay *r, replay_map *map, const kvi_slice *bound)
{
    if (map->open || map->finished || (!bound && map->begun) ||
        (bound && !map_ascends(map, *bound, true)))
        return damaged(r, "its ranges are out of order");
    map->open = true;
    if (!bound)
        return map_find(map, NULL);
    map_note(map, *bound, false);
    return map_find(map, &(kvi_place){map->last, true, false});
}

/* What the tree has up to this key, or the open end, and was not stated goes away. */
static int map_clear(replay_map *map, const kvi_slice *to)
{
    if (!map->there || (to && kvi_slice_compare(map->next, *to) >= 0))
        return KV_OK;
    int rc = map->remove(map, to);
    if (rc != KV_OK || !to)
        return rc;
    return map_find(map, &(kvi_place){*to, true, false});
}

/* The next key that the tree shall have. *had: it has it. map->last is that key. */
static int map_key(const replay *r, replay_map *map, kvi_slice key, bool *had)
{
    if (!map->open || !map_ascends(map, key, false))
        return damaged(r, "its keys are out of order");
    map_note(map, key, true);
    int rc = map_clear(map, &map->last);
    *had = rc == KV_OK && map->there && kvi_slice_compare(map->next, map->last) == 0;
    return rc;
}

/* Behind the key that map_key found. */
static int map_step(replay_map *map)
{
    return map_find(map, &(kvi_place){map->last, true, true});
}

static int map_to(const replay *r, replay_map *map, const kvi_slice *bound)
{
    if (!map->open || (bound && !map_ascends(map, *bound, false)))
        return damaged(r, "its ranges are out of order");
    map->open = false;
    map->finished = !bound;
    if (bound)
        map_note(map, *bound, false);
    return map_clear(map, bound ? &map->last : NULL);
}

static int entries_remove(replay_map *map, const kvi_slice *to)
{
    uint64_t removed;
    kvi_range range = {.lo = {map->next, true, false}, .limit = UINT64_MAX};
    if (to)
        range.hi = (kvi_place){*to, true, false};
    return kvi_range_del(map->tree, &range, &removed);
}

/* Trees go one by one. */
static int names_remove(replay_map *map, const kvi_slice *to)
{
    int rc = KV_OK;
    while (rc == KV_OK && map->there && (!to || kvi_slice_compare(map->next, *to) < 0)) {
        kv_tree *tree;
        rc = kvi_catalog_open(map->tree->txn, map->next, 0, NULL, &tree);
        if (rc == KV_OK)
            rc = kvi_catalog_drop(tree);
        if (rc == KV_OK)
            rc = map_find(map, &(kvi_place){map->next, true, true});
    }
    return rc;
}

/* ---- entries ---- */

static int entry_same(replay *r, kvi_slice value, bool *same)
{
    kvi_stored stored;
    kv_slice old = {NULL, 0};
    const kvi_loan *kept = r->txn->loans;
    int rc = kvi_tree_find(r->entries.tree, r->entries.last, &stored);
    if (rc == KV_OK)
        rc = kvi_value_load(r->txn, stored, &old);
    *same = rc == KV_OK && old.len == value.len && kvi_stored_expiry(stored) == r->until &&
            (value.len == 0 || memcmp(old.ptr, value.ptr, value.len) == 0);
    kvi_txn_unlend(r->txn, kept);
    return rc;
}

/* An entry that is there already, with this value, is left alone. */
static int entry_put(replay *r)
{
    replay_map *map = &r->entries;
    kvi_slice key, value = {NULL, 0};
    bool had = false, same = false;
    int rc = kvi_stream_key(&r->stream, &key);
    if (rc == KV_OK)
        rc = map_key(r, map, key, &had);
    if (rc == KV_OK)
        rc = kvi_stream_value(&r->stream, &value);
    if (rc == KV_OK && map->tree->raw &&
        !kvi_pairs_entry(kvi_slice_of(map->last.ptr, map->last.len), value))
        rc = damaged(r, "an entry of a multi-value tree is no pair");
    if (rc == KV_OK && had)
        rc = entry_same(r, value, &same);
    if (rc == KV_OK && !same)
        rc = kvi_put_until(map->tree, map->last, value, 0, r->until, NULL);
    r->until = 0;
    r->info->entries++;
    return rc == KV_OK && had ? map_step(map) : rc;
}

static int entry_kept(replay *r)
{
    replay_map *map = &r->entries;
    kvi_slice key;
    bool had = false;
    int rc = kvi_stream_key(&r->stream, &key);
    if (rc == KV_OK)
        rc = map_key(r, map, key, &had);
    if (rc == KV_OK && !had)
        rc = damaged(r, "it keeps a value that the database does not have");
    if (rc == KV_OK && (r->until || kvi_tree_expires(map->tree)))
        rc = kvi_expire(map->tree, map->last, r->until);
    r->until = 0;
    r->info->entries++;
    return rc == KV_OK ? map_step(map) : rc;
}

/* ---- trees ---- */

static int map_begin(replay *r, replay_map *map, kv_tree *tree)
{
    if (map->open)
        return damaged(r, "a range has no end");
    uint8_t *room = map->room;
    int (*remove)(replay_map *, const kvi_slice *) = map->remove;
    *map = (replay_map){.tree = tree, .room = room, .remove = remove};
    return KV_OK;
}

static int tree_configure(replay *r, kv_tree *tree)
{
    uint64_t codec, compress_from, sequence;
    int rc = kvi_stream_number(&r->stream, &codec);
    if (rc == KV_OK)
        rc = kvi_stream_number(&r->stream, &compress_from);
    if (rc == KV_OK)
        rc = kvi_stream_number(&r->stream, &sequence);
    if (rc == KV_OK && codec > UINT8_MAX)
        rc = damaged(r, "an impossible codec");
    if (rc != KV_OK)
        return rc;
    kvi_tree_desc *desc = &tree->desc;
    if (desc->codec != codec || desc->compress_from != compress_from || desc->sequence != sequence)
        tree->changed = true;
    desc->codec = (uint8_t)codec;
    desc->compress_from = compress_from;
    desc->sequence = sequence;
    return KV_OK;
}

/* The named tree, made if it is missing, and made anew if it has another nature. */
static int tree_named(replay *r, kvi_slice name, uint16_t flags, kv_tree **tree)
{
    bool had = false;
    uint32_t create = KV_TREE_CREATE | (flags & KVI_TREE_MULTI ? KV_TREE_MULTI : 0);
    if (name.len > kvi_key_max(r->db->file.page_size))
        return kvi_fail(&r->db->err, KV_ETOOBIG, "a tree's name has %zu bytes; the limit is %u",
                        name.len, kvi_key_max(r->db->file.page_size));
    int rc = map_key(r, &r->names, name, &had);
    if (rc == KV_OK && had)
        rc = kvi_catalog_open(r->txn, r->names.last, 0, NULL, tree);
    if (rc == KV_OK && had && ((*tree)->desc.flags & KVI_TREE_MULTI) != flags) {
        rc = kvi_catalog_drop(*tree);
        had = false;
        if (rc == KV_OK)
            rc = map_step(&r->names);
    } else if (rc == KV_OK && had) {
        return map_step(&r->names);
    }
    if (rc == KV_OK)
        rc = kvi_catalog_open(r->txn, r->names.last, create, NULL, tree);
    return rc;
}

static int tree_begin(replay *r)
{
    kvi_slice name = {NULL, 0};
    uint64_t flags = 0;
    kv_tree *tree = &r->txn->main;
    int rc = kvi_stream_key(&r->stream, &name);
    bool first = !r->begun;
    if (rc == KV_OK && first != (name.len == 0))
        rc = damaged(r, "the main tree is not the first one");
    if (rc == KV_OK) {
        name = keep(r->name, name);
        rc = kvi_stream_number(&r->stream, &flags);
    }
    if (rc == KV_OK && (first ? flags != 0 : flags & ~(uint64_t)KVI_TREE_MULTI))
        rc = damaged(r, "a tree of an unknown nature");
    if (rc == KV_OK && !first)
        rc = tree_named(r, name, (uint16_t)flags, &tree);
    if (rc == KV_OK)
        rc = map_begin(r, &r->entries, tree);
    if (rc != KV_OK)
        return rc;
    r->begun = true;
    tree->raw = flags & KVI_TREE_MULTI;
    return tree_configure(r, tree);
}

/* ---- the whole ---- */

static int range_record(replay *r, replay_map *map, bool from)
{
    kvi_slice bytes;
    const kvi_slice *bound;
    int rc = kvi_stream_bound(&r->stream, &bytes, &bound);
    if (rc == KV_OK && (!r->begun || !map->tree))
        rc = damaged(r, "a range without a tree");
    if (rc == KV_OK && map == &r->names && r->entries.open)
        rc = damaged(r, "a range has no end");
    if (rc != KV_OK)
        return rc;
    if (map == &r->names)
        r->entries.tree = NULL;
    return from ? map_from(r, map, bound) : map_to(r, map, bound);
}

static int entry_until(replay *r)
{
    int rc = kvi_stream_number(&r->stream, &r->until);
    return rc == KV_OK && r->until == 0 ? damaged(r, "an impossible expiry") : rc;
}

static int replay_record(replay *r, uint8_t record)
{
    if (r->until && record != KVI_SAYS_PUT && record != KVI_SAYS_KEPT)
        return damaged(r, "an expiry without an entry");
    switch (record) {
    case KVI_SAYS_UNTIL:
        return entry_until(r);
    case KVI_SAYS_TREE:
        return tree_begin(r);
    case KVI_SAYS_FROM:
    case KVI_SAYS_TO:
        return range_record(r, &r->entries, record == KVI_SAYS_FROM);
    case KVI_SAYS_PUT:
        return entry_put(r);
    case KVI_SAYS_KEPT:
        return entry_kept(r);
    case KVI_SAYS_NAMES_FROM:
    case KVI_SAYS_NAMES_TO:
        return range_record(r, &r->names, record == KVI_SAYS_NAMES_FROM);
    default:
        return damaged(r, "a record of an unknown kind");
    }
}

static int replay_records(replay *r)
{
    uint8_t record;
    int rc;
    while ((rc = kvi_stream_byte(&r->stream, &record)) == KV_OK)
        if ((rc = replay_record(r, record)) != KV_OK)
            return rc;
    if (rc == KV_NOTFOUND && (r->entries.open || r->names.open || r->until || !r->begun))
        return damaged(r, "it ends too early");
    return rc == KV_NOTFOUND ? KV_OK : rc;
}

static bool database_empty(const kv_txn *txn)
{
    return txn->main.desc.entries == 0 && txn->catalog.desc.entries == 0;
}

/* Does the backup lead on from what the database is? */
static int replay_fits(replay *r, const kvi_stream_header *header)
{
    const kvi_meta *meta = &r->db->head.meta;
    bool known =
        meta->origin_id != 0 && memcmp(meta->origin, header->file_id, sizeof meta->origin) == 0;
    if (known && meta->origin_id >= header->from && meta->origin_id <= header->to)
        return KV_OK;
    if (header->from == 0 && !known && database_empty(r->txn))
        return KV_OK;
    if (known)
        return kvi_fail(
            &r->db->err, KV_MISMATCH,
            "the database is at commit %llu of the original, the backup leads from %llu "
            "to %llu",
            (unsigned long long)meta->origin_id, (unsigned long long)header->from,
            (unsigned long long)header->to);
    return kvi_fail(&r->db->err, KV_MISMATCH,
                    meta->origin_id ? "the backup is of another database than this copy"
                    : header->from  ? "the database is no copy, or was changed since"
                                    : "the database is neither empty nor a copy of the same one");
}

static int replay_transaction(replay *r, const kvi_stream_header *header)
{
    uint64_t now = KVI_MAX(r->txn->now, header->clock); /* the clock never runs backwards */
    r->txn->now = 0; /* nothing has expired: what the original has is said in full */
    r->names.tree = &r->txn->catalog;
    int rc = replay_fits(r, header);
    if (rc == KV_OK)
        rc = replay_records(r);
    if (rc != KV_OK) {
        kvi_end(r->txn);
        return rc;
    }
    r->txn->now = now;
    memcpy(r->txn->origin, header->file_id, sizeof header->file_id);
    r->txn->origin_id = header->to;
    return kvi_commit(r->txn);
}

static int replay_stream(replay *r, int durability)
{
    kvi_stream_header header;
    int rc = kvi_stream_header_read(&r->stream, &header);
    if (rc != KV_OK)
        return rc;
    memcpy(r->info->file_id, header.file_id, sizeof header.file_id);
    r->info->from = header.from;
    r->info->to = header.to;
    rc = kvi_begin_write(r->db, r->wait_ms, durability, &r->txn);
    return rc == KV_OK ? replay_transaction(r, &header) : rc;
}

int kvi_replay(kv_db *db, const kv_apply_options *options, int durability, kv_backup_info *info)
{
    replay r = {.db = db,
                .wait_ms = options->wait_ms ? options->wait_ms : KVI_WAIT_FOREVER,
                .stream = {.os = db->os,
                           .err = &db->err,
                           .read = options->read,
                           .context = options->context},
                .info = info,
                .names = {.remove = names_remove},
                .entries = {.remove = entries_remove}};
    uint8_t *room = db->os->alloc(db->os, (size_t)5 * KVI_STREAM_KEY);
    int rc = kvi_stream_open(&r.stream);
    if (rc == KV_OK && !room)
        rc = kvi_fail(&db->err, KV_ENOMEM, "no memory to apply a backup");
    if (rc == KV_OK) {
        r.names.room = room;
        r.entries.room = room + (size_t)2 * KVI_STREAM_KEY;
        r.name = room + (size_t)4 * KVI_STREAM_KEY;
        rc = replay_stream(&r, durability);
    }
    info->bytes = r.stream.passed;
    kvi_stream_close(&r.stream);
    db->os->free(db->os, room);
    return rc;
}
