/* engine_kv.c - kv with its default options; nothing read ahead where data exceeds memory; in cases that are
 * unsynced, lazy commits without a limit, as LMDB without sync. */
#include "bench.h"

#include <kv.h>
#include <stdlib.h>
#include <string.h>

struct store {
    size_t key_len;
    kv_db *db;
    uint32_t write_flags;
    kv_txn *writer;
    kv_tree *written; /* the writer's main tree */
    kv_txn *reader[READERS_MAX];
    kv_tree *read[READERS_MAX];
    kv_cursor *cursor; /* of reader 0 */
};

static void check(struct store *s, int rc, const char *what)
{
    char message[256] = "";
    if (rc == KV_OK)
        return;
    if (s->db)
        kv_db_errmsg(s->db, message, sizeof message);
    bench_die("kv: %s: %s: %s", what, kv_strerror(rc), message);
}

static struct store *store_open(const struct options *o, const char *path, unsigned flags)
{
    struct store *s = bench_alloc(sizeof *s);
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
    char message[256];
    s->key_len = o->key_len;
    if (flags & STORE_LAZY) { /* the disk is waited for by sync() only */
        options.flags |= KV_OPEN_NO_CLOSE_SYNC;
        options.lazy_sync_bytes = UINT64_MAX;
        s->write_flags = KV_TXN_LAZY;
    }
    if (flags & STORE_BEYOND)
        options.flags |= KV_OPEN_RANDOM;
    if (flags & STORE_BUDGET)
        options.memory_budget = o->budget_mib << 20;
    if (kv_db_open_explain(path, &options, &s->db, message, sizeof message) != KV_OK)
        bench_die("kv: open: %s", message);
    return s;
}

static void store_close(struct store *s)
{
    check(s, kv_db_close(s->db), "close");
    free(s);
}

static void store_sync(struct store *s)
{
    check(s, kv_db_sync(s->db), "sync");
}

static void write_begin(struct store *s)
{
    check(s, kv_txn_begin(s->db, KV_TXN_WRITE | s->write_flags, &s->writer), "begin");
    s->written = kv_txn_main(s->writer);
}

static void write_commit(struct store *s)
{
    check(s, kv_txn_commit(s->writer), "commit");
}

static void put(struct store *s, const void *key, const void *value, size_t value_len)
{
    check(s, kv_put(s->written, key, s->key_len, value, value_len, 0), "put");
}

static void put_many(struct store *s, size_t n, const unsigned char *keys,
                     const unsigned char *values, size_t value_len)
{
    kv_pair pairs[1000];
    if (n > sizeof pairs / sizeof *pairs)
        abort();
    for (size_t i = 0; i < n; i++)
        pairs[i] =
            (kv_pair){{keys + i * s->key_len, s->key_len}, {values + i * value_len, value_len}};
    check(s, kv_put_many(s->written, n, pairs, 0), "put many");
}

static void write_one(struct store *s, const void *key, const void *value, size_t value_len)
{
    kv_op op = {.kind = KV_OP_PUT, .key = {key, s->key_len}, .value = {value, value_len}};
    check(s, kv_db_write(s->db, &op, 1, s->write_flags, NULL), "write");
}

static void del(struct store *s, const void *key)
{
    check(s, kv_del(s->written, key, s->key_len), "delete");
}

static void retain(struct store *s, bench_keep *keep, void *context)
{
    kv_cursor *cursor;
    kv_slice k, v;
    int rc;
    check(s, kv_cursor_open(s->written, NULL, &cursor), "open a cursor");
    while ((rc = kv_cursor_next(cursor)) == KV_OK && (rc = kv_cursor_get(cursor, &k, &v)) == KV_OK)
        if (!keep(context, k.ptr, v.ptr, v.len))
            check(s, kv_cursor_del(cursor), "delete");
    if (rc != KV_NOTFOUND)
        check(s, rc, "scan");
    kv_cursor_close(cursor);
}

static void read_begin(struct store *s, int reader)
{
    check(s, kv_txn_begin(s->db, KV_TXN_READ, &s->reader[reader]), "begin to read");
    s->read[reader] = kv_txn_main(s->reader[reader]);
}

static void close_cursor(struct store *s, int reader)
{
    if (reader == 0 && s->cursor) {
        kv_cursor_close(s->cursor);
        s->cursor = NULL;
    }
}

static void read_move(struct store *s, int reader)
{
    close_cursor(s, reader);
    check(s, kv_txn_refresh(s->reader[reader]), "refresh");
}

static void read_end(struct store *s, int reader)
{
    close_cursor(s, reader);
    kv_txn_abort(s->reader[reader]);
}

static const void *get(struct store *s, int reader, const void *key, size_t *value_len)
{
    kv_slice value;
    int rc = kv_get(s->read[reader], key, s->key_len, &value);
    if (rc == KV_NOTFOUND)
        return NULL;
    check(s, rc, "get");
    *value_len = value.len;
    return value.ptr;
}

static uint64_t sum_all(struct store *s, int (*step)(kv_cursor *), uint64_t *records)
{
    kv_cursor *cursor;
    kv_slice k, v;
    uint64_t sum = 0, n = 0;
    int rc;
    check(s, kv_cursor_open(s->read[0], NULL, &cursor), "open a cursor");
    while ((rc = step(cursor)) == KV_OK && (rc = kv_cursor_get(cursor, &k, &v)) == KV_OK) {
        sum += bench_scan_sum(k.ptr, v.ptr, v.len);
        n++;
    }
    if (rc != KV_NOTFOUND)
        check(s, rc, "scan");
    kv_cursor_close(cursor);
    *records = n;
    return sum;
}

enum { GROUP = 64 };

static void get_many(struct store *s, size_t n, const unsigned char *keys, const void **values,
                     size_t *value_lens)
{
    kv_slice in[GROUP] = {{0}}, out[GROUP];
    for (size_t at = 0; at < n; at += GROUP) {
        size_t some = n - at < GROUP ? n - at : GROUP;
        for (size_t i = 0; i < some; i++)
            in[i] = (kv_slice){keys + (at + i) * s->key_len, s->key_len};
        check(s, kv_get_many(s->read[0], some, in, out, NULL), "get many");
        for (size_t i = 0; i < some; i++) {
            values[at + i] = out[i].ptr;
            value_lens[at + i] = out[i].len;
        }
    }
}

static uint64_t scan(struct store *s, uint64_t *records)
{
    return sum_all(s, kv_cursor_next, records);
}

static uint64_t scan_back(struct store *s, uint64_t *records)
{
    return sum_all(s, kv_cursor_prev, records);
}

/* The entry that the key leads to, and the others at once. */
static uint64_t range(struct store *s, const void *key, uint64_t n, uint64_t *records)
{
    kv_pair pairs[128];
    uint64_t sum = 0;
    size_t got = 0;
    if (n > sizeof pairs / sizeof *pairs)
        abort();
    if (!s->cursor)
        check(s, kv_cursor_open(s->read[0], NULL, &s->cursor), "open a cursor");
    int rc = kv_cursor_seek(s->cursor, KV_SEEK_GE, key, s->key_len);
    if (rc == KV_OK)
        rc = kv_cursor_get(s->cursor, &pairs[0].key, &pairs[0].value);
    if (rc == KV_OK) {
        sum = bench_scan_sum(pairs[0].key.ptr, pairs[0].value.ptr, pairs[0].value.len);
        rc = kv_cursor_read(s->cursor, pairs, n - 1, &got);
        for (size_t i = 0; i < got; i++)
            sum += bench_scan_sum(pairs[i].key.ptr, pairs[i].value.ptr, pairs[i].value.len);
        got++;
    }
    if (rc != KV_NOTFOUND)
        check(s, rc, "scan");
    *records = got;
    return sum;
}

static uint64_t sum_batches(struct store *s, uint32_t flags, uint64_t *records)
{
    kv_range all = {.size = sizeof all, .flags = flags};
    kv_cursor *cursor;
    kv_pair pairs[64];
    uint64_t sum = 0, n = 0;
    size_t got;
    int rc;
    check(s, kv_cursor_open(s->read[0], &all, &cursor), "open a cursor");
    while ((rc = kv_cursor_read(cursor, pairs, 64, &got)) == KV_OK) {
        for (size_t i = 0; i < got; i++)
            sum += bench_scan_sum(pairs[i].key.ptr, pairs[i].value.ptr, pairs[i].value.len);
        n += got;
    }
    if (rc != KV_NOTFOUND)
        check(s, rc, "scan");
    kv_cursor_close(cursor);
    *records = n;
    return sum;
}

static uint64_t scan_batch(struct store *s, uint64_t *records)
{
    return sum_batches(s, 0, records);
}

static uint64_t scan_back_batch(struct store *s, uint64_t *records)
{
    return sum_batches(s, KV_RANGE_REVERSE, records);
}

static uint64_t count(struct store *s)
{
    uint64_t n;
    check(s, kv_count(s->read[0], NULL, &n), "count");
    return n;
}

static void tree_put(struct store *s, const char *name, const void *key, const void *value,
                     size_t value_len)
{
    kv_tree *tree;
    check(s, kv_tree_open(s->writer, name, strlen(name), KV_TREE_CREATE, NULL, &tree),
          "open a tree");
    check(s, kv_put(tree, key, s->key_len, value, value_len, 0), "put");
}

static const void *tree_get(struct store *s, const char *name, const void *key, size_t *value_len)
{
    kv_tree *tree;
    kv_slice value;
    check(s, kv_tree_open(s->reader[0], name, strlen(name), 0, NULL, &tree), "open a tree");
    check(s, kv_get(tree, key, s->key_len, &value), "get");
    *value_len = value.len;
    return value.ptr;
}

static void each(struct store *s, int reader, bench_visit *visit, void *context)
{
    kv_cursor *cursor;
    kv_slice k, v;
    int rc;
    check(s, kv_cursor_open(s->read[reader], NULL, &cursor), "open a cursor");
    while ((rc = kv_cursor_next(cursor)) == KV_OK && (rc = kv_cursor_get(cursor, &k, &v)) == KV_OK)
        visit(context, k.ptr, v.ptr, v.len);
    if (rc != KV_NOTFOUND)
        check(s, rc, "scan");
    kv_cursor_close(cursor);
}

static kv_db_info stat_db(struct store *s)
{
    kv_db_info info = {.size = sizeof info};
    check(s, kv_db_stat(s->db, &info), "stat");
    return info;
}

static uint64_t file_size(struct store *s)
{
    return stat_db(s).file_size;
}

static void compact(struct store *s)
{
    check(s, kv_db_compact(s->db, NULL, NULL), "compact");
}

static uint64_t live_size(struct store *s)
{
    kv_db_info info = stat_db(s);
    return (info.leaf_pages + info.branch_pages + info.large_pages) * info.page_size;
}

static uint64_t flushes(struct store *s)
{
    return stat_db(s).flushes;
}

static unsigned height(struct store *s)
{
    kv_tree_info info = {.size = sizeof info};
    read_begin(s, 1);
    check(s, kv_tree_stat(s->read[1], &info), "stat");
    read_end(s, 1);
    return info.height;
}

static unsigned page_size(struct store *s)
{
    return stat_db(s).page_size;
}

const struct engine bench_kv = {
    .name = "kv",
    .version = kv_version,
    .processes = true,
    .open = store_open,
    .close = store_close,
    .sync = store_sync,
    .write_begin = write_begin,
    .write_commit = write_commit,
    .put = put,
    .put_many = put_many,
    .append = put,
    .del = del,
    .retain = retain,
    .write_one = write_one,
    .flushes = flushes,
    .read_begin = read_begin,
    .read_move = read_move,
    .read_end = read_end,
    .get = get,
    .get_many = get_many,
    .scan = scan,
    .scan_back = scan_back,
    .scan_batch = scan_batch,
    .scan_back_batch = scan_back_batch,
    .range = range,
    .count = count,
    .tree_put = tree_put,
    .tree_get = tree_get,
    .each = each,
    .file_size = file_size,
    .compact = compact,
    .live_size = live_size,
    .height = height,
    .page_size = page_size,
};
