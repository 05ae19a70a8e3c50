/* engine_leveldb.c - LevelDB as its documentation advises for speed: Bloom filters of 10 bits, a block
 * cache and a write buffer larger than the defaults. Not compressed, since values here cannot be. */
#include "bench.h"

#if __has_include(<leveldb/c.h>)
#include <leveldb/c.h>
#include <stdlib.h>
#include <string.h>

enum { CACHE_MIB = 1024, WRITE_BUFFER_MIB = 64 };

struct store {
    size_t key_len;
    leveldb_t *db;
    leveldb_options_t *options;
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *filter;
    leveldb_writeoptions_t *write;
    leveldb_writebatch_t *batch;
    bool changed; /* the batch is not empty */
    char *path;
    leveldb_readoptions_t *read[READERS_MAX];
    const leveldb_snapshot_t *snapshot[READERS_MAX];
    char *got[READERS_MAX];
    leveldb_iterator_t *cursor; /* of reader 0 */
};

static void check(char *error, const char *what)
{
    if (error)
        bench_die("leveldb: %s: %s", what, error);
}

static const char *version(void)
{
    static char text[32];
    snprintf(text, sizeof text, "%d.%d", leveldb_major_version(), leveldb_minor_version());
    return text;
}

static struct store *store_open(const struct options *o, const char *path, unsigned flags)
{
    struct store *s = bench_alloc(sizeof *s);
    char *error = NULL;
    s->key_len = o->key_len;
    s->path = strdup(path);
    s->cache = leveldb_cache_create_lru((size_t)CACHE_MIB << 20);
    s->filter = leveldb_filterpolicy_create_bloom(10);
    s->options = leveldb_options_create();
    leveldb_options_set_create_if_missing(s->options, 1);
    leveldb_options_set_cache(s->options, s->cache);
    leveldb_options_set_filter_policy(s->options, s->filter);
    leveldb_options_set_write_buffer_size(s->options, (size_t)WRITE_BUFFER_MIB << 20);
    leveldb_options_set_compression(s->options, leveldb_no_compression);
    s->write = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(s->write, !(flags & STORE_LAZY));
    s->batch = leveldb_writebatch_create();
    s->db = leveldb_open(s->options, path, &error);
    check(error, "open");
    return s;
}

static void store_close(struct store *s)
{
    leveldb_close(s->db);
    for (int i = 0; i < READERS_MAX; i++)
        if (s->read[i])
            leveldb_readoptions_destroy(s->read[i]);
    leveldb_writebatch_destroy(s->batch);
    leveldb_writeoptions_destroy(s->write);
    leveldb_options_destroy(s->options);
    leveldb_cache_destroy(s->cache);
    leveldb_filterpolicy_destroy(s->filter);
    free(s->path);
    free(s);
}

static void write_begin(struct store *s)
{
    leveldb_writebatch_clear(s->batch);
    s->changed = false;
}

static void write_commit(struct store *s)
{
    char *error = NULL;
    if (s->changed)
        leveldb_write(s->db, s->write, s->batch, &error);
    check(error, "write");
}

/* It has no call for that: an empty batch, written with a sync, brings the log to the disk. */
static void store_sync(struct store *s)
{
    char *error = NULL;
    leveldb_writebatch_clear(s->batch);
    leveldb_writeoptions_set_sync(s->write, 1);
    leveldb_write(s->db, s->write, s->batch, &error);
    leveldb_writeoptions_set_sync(s->write, 0);
    check(error, "sync");
}

static void put(struct store *s, const void *key, const void *value, size_t value_len)
{
    s->changed = true;
    leveldb_writebatch_put(s->batch, key, s->key_len, value, value_len);
}

static void del(struct store *s, const void *key)
{
    s->changed = true;
    leveldb_writebatch_delete(s->batch, key, s->key_len);
}

static void retain(struct store *s, bench_keep *keep, void *context)
{
    char *error = NULL;
    leveldb_readoptions_t *how = leveldb_readoptions_create();
    leveldb_iterator_t *cursor = leveldb_create_iterator(s->db, how);
    for (leveldb_iter_seek_to_first(cursor); leveldb_iter_valid(cursor);
         leveldb_iter_next(cursor)) {
        size_t key_len, value_len;
        const char *key = leveldb_iter_key(cursor, &key_len);
        const char *value = leveldb_iter_value(cursor, &value_len);
        if (!keep(context, key, value, value_len))
            del(s, key);
    }
    leveldb_iter_get_error(cursor, &error);
    check(error, "scan");
    leveldb_iter_destroy(cursor);
    leveldb_readoptions_destroy(how);
}

static void write_one(struct store *s, const void *key, const void *value, size_t value_len)
{
    char *error = NULL;
    leveldb_put(s->db, s->write, key, s->key_len, value, value_len, &error);
    check(error, "put");
}

static void read_begin(struct store *s, int reader)
{
    if (!s->read[reader])
        s->read[reader] = leveldb_readoptions_create();
    s->snapshot[reader] = leveldb_create_snapshot(s->db);
    leveldb_readoptions_set_snapshot(s->read[reader], s->snapshot[reader]);
}

static void read_end(struct store *s, int reader)
{
    free(s->got[reader]);
    s->got[reader] = NULL;
    if (reader == 0 && s->cursor) {
        leveldb_iter_destroy(s->cursor);
        s->cursor = NULL;
    }
    leveldb_release_snapshot(s->db, s->snapshot[reader]);
    leveldb_readoptions_set_snapshot(s->read[reader], NULL);
}

static void read_move(struct store *s, int reader)
{
    read_end(s, reader);
    read_begin(s, reader);
}

static const void *get(struct store *s, int reader, const void *key, size_t *value_len)
{
    char *error = NULL;
    free(s->got[reader]);
    s->got[reader] = leveldb_get(s->db, s->read[reader], key, s->key_len, value_len, &error);
    check(error, "get");
    return s->got[reader];
}

static uint64_t sum_here(leveldb_iterator_t *cursor)
{
    size_t key_len, value_len;
    const char *key = leveldb_iter_key(cursor, &key_len);
    const char *value = leveldb_iter_value(cursor, &value_len);
    return bench_scan_sum(key, value, value_len);
}

static uint64_t walk(struct store *s, void (*step)(leveldb_iterator_t *), bool back,
                     uint64_t *records)
{
    char *error = NULL;
    uint64_t sum = 0, n = 0;
    leveldb_iterator_t *cursor = leveldb_create_iterator(s->db, s->read[0]);
    for ((back ? leveldb_iter_seek_to_last : leveldb_iter_seek_to_first)(cursor);
         leveldb_iter_valid(cursor); step(cursor), n++)
        sum += sum_here(cursor);
    leveldb_iter_get_error(cursor, &error);
    check(error, "scan");
    leveldb_iter_destroy(cursor);
    *records = n;
    return sum;
}

static uint64_t scan(struct store *s, uint64_t *records)
{
    return walk(s, leveldb_iter_next, false, records);
}

static uint64_t scan_back(struct store *s, uint64_t *records)
{
    return walk(s, leveldb_iter_prev, true, records);
}

static uint64_t range(struct store *s, const void *key, uint64_t n, uint64_t *records)
{
    uint64_t sum = 0, found = 0;
    if (!s->cursor)
        s->cursor = leveldb_create_iterator(s->db, s->read[0]);
    leveldb_iter_seek(s->cursor, key, s->key_len);
    for (; found < n && leveldb_iter_valid(s->cursor); leveldb_iter_next(s->cursor), found++)
        sum += sum_here(s->cursor);
    *records = found;
    return sum;
}

static void each(struct store *s, int reader, bench_visit *visit, void *context)
{
    leveldb_iterator_t *cursor = leveldb_create_iterator(s->db, s->read[reader]);
    for (leveldb_iter_seek_to_first(cursor); leveldb_iter_valid(cursor);
         leveldb_iter_next(cursor)) {
        size_t key_len, value_len;
        const char *key = leveldb_iter_key(cursor, &key_len);
        const char *value = leveldb_iter_value(cursor, &value_len);
        visit(context, key, value, value_len);
    }
    leveldb_iter_destroy(cursor);
}

static uint64_t file_size(struct store *s)
{
    return bench_disk_size(s->path);
}

static void compact(struct store *s)
{
    leveldb_compact_range(s->db, NULL, 0, NULL, 0);
}

const struct engine bench_leveldb = {
    .name = "leveldb",
    .version = version,
    .open = store_open,
    .close = store_close,
    .sync = store_sync,
    .write_begin = write_begin,
    .write_commit = write_commit,
    .put = put,
    .append = put,
    .del = del,
    .retain = retain,
    .write_one = write_one,
    .read_begin = read_begin,
    .read_move = read_move,
    .read_end = read_end,
    .get = get,
    .scan = scan,
    .scan_back = scan_back,
    .range = range,
    .each = each,
    .file_size = file_size,
    .compact = compact,
};
#endif
