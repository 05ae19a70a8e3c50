/* engine_rocksdb.c - RocksDB as its wiki's "Setup options and basic tuning" advises: a large block
 * cache that also holds index and filters, Bloom filters of 10 bits, blocks of 16 KiB, level sizes set
 * from the last level up. Not compressed, since values here cannot be. Sorted input is written as a
 * table file of its own and taken in, which is its bulk load. */
#include "bench.h"

#if __has_include(<rocksdb/c.h>)
#include <rocksdb/c.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CACHE_MIB = 1024, BLOCK = 16 << 10, MANY = 64 };

struct store {
    size_t key_len;
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *write;
    rocksdb_writebatch_t *batch;
    rocksdb_envoptions_t *env;
    rocksdb_sstfilewriter_t *table; /* while sorted input comes */
    char table_path[4200];
    char *path;
    rocksdb_readoptions_t *read[READERS_MAX];
    const rocksdb_snapshot_t *snapshot[READERS_MAX];
    rocksdb_pinnableslice_t *got[READERS_MAX];
    rocksdb_iterator_t *cursor; /* of reader 0 */
    char *many[MANY];
};

static void check(char *error, const char *what)
{
    if (error)
        bench_die("rocksdb: %s: %s", what, error);
}

static const char *version(void)
{
    static char text[32] = "?";
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r"); /* the interface in C does not say */
    while (maps && fgets(line, sizeof line, maps)) {
        const char *name = strstr(line, "librocksdb.so.");
        if (name && sscanf(name, "librocksdb.so.%31[0-9.]", text) == 1)
            break;
    }
    if (maps)
        fclose(maps);
    return text;
}

static rocksdb_options_t *tuned(void)
{
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(table,
                                                rocksdb_cache_create_lru((size_t)CACHE_MIB << 20));
    rocksdb_block_based_options_set_filter_policy(table,
                                                  rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_block_based_options_set_block_size(table, BLOCK);
    rocksdb_block_based_options_set_format_version(table, 5);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(options, 1);
    rocksdb_options_set_bytes_per_sync(options, 1 << 20);
    rocksdb_options_set_max_background_jobs(options, 6);
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    rocksdb_options_set_create_if_missing(options, 1);
    return options;
}

static struct store *store_open(const struct options *o, const char *path, unsigned flags)
{
    struct store *s = bench_alloc(sizeof *s);
    char *error = NULL;
    s->key_len = o->key_len;
    s->options = tuned();
    s->write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(s->write, !(flags & STORE_LAZY));
    s->batch = rocksdb_writebatch_create();
    s->env = rocksdb_envoptions_create();
    s->path = strdup(path);
    snprintf(s->table_path, sizeof s->table_path, "%s.table", path);
    s->db = rocksdb_open(s->options, path, &error);
    check(error, "open");
    return s;
}

static void forget_values(struct store *s, int reader)
{
    if (s->got[reader])
        rocksdb_pinnableslice_destroy(s->got[reader]);
    s->got[reader] = NULL;
    for (int i = 0; reader == 0 && i < MANY; i++) {
        free(s->many[i]);
        s->many[i] = NULL;
    }
}

static void store_close(struct store *s)
{
    for (int i = 0; i < READERS_MAX; i++) {
        forget_values(s, i);
        if (s->read[i])
            rocksdb_readoptions_destroy(s->read[i]);
    }
    rocksdb_close(s->db);
    rocksdb_writebatch_destroy(s->batch);
    rocksdb_writeoptions_destroy(s->write);
    rocksdb_envoptions_destroy(s->env);
    rocksdb_options_destroy(s->options);
    free(s->path);
    free(s);
}

static void store_sync(struct store *s)
{
    char *error = NULL;
    rocksdb_flush_wal(s->db, 1, &error);
    check(error, "sync");
}

static void write_begin(struct store *s)
{
    rocksdb_writebatch_clear(s->batch);
}

static void take_table_in(struct store *s)
{
    char *error = NULL;
    const char *const files[] = {s->table_path};
    rocksdb_ingestexternalfileoptions_t *how = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(how, 1);
    rocksdb_sstfilewriter_finish(s->table, &error);
    check(error, "finish a table");
    rocksdb_ingest_external_file(s->db, files, 1, how, &error);
    check(error, "take a table in");
    rocksdb_ingestexternalfileoptions_destroy(how);
    rocksdb_sstfilewriter_destroy(s->table);
    s->table = NULL;
    remove(s->table_path);
}

static void write_commit(struct store *s)
{
    char *error = NULL;
    if (s->table)
        take_table_in(s);
    if (rocksdb_writebatch_count(s->batch) > 0)
        rocksdb_write(s->db, s->write, s->batch, &error);
    check(error, "write");
}

static void put(struct store *s, const void *key, const void *value, size_t value_len)
{
    rocksdb_writebatch_put(s->batch, key, s->key_len, value, value_len);
}

static void append(struct store *s, const void *key, const void *value, size_t value_len)
{
    char *error = NULL;
    if (!s->table) {
        s->table = rocksdb_sstfilewriter_create(s->env, s->options);
        rocksdb_sstfilewriter_open(s->table, s->table_path, &error);
        check(error, "open a table");
    }
    rocksdb_sstfilewriter_put(s->table, key, s->key_len, value, value_len, &error);
    check(error, "append");
}

static void del(struct store *s, const void *key)
{
    rocksdb_writebatch_delete(s->batch, key, s->key_len);
}

static void retain(struct store *s, bench_keep *keep, void *context)
{
    char *error = NULL;
    rocksdb_readoptions_t *how = rocksdb_readoptions_create();
    rocksdb_iterator_t *cursor = rocksdb_create_iterator(s->db, how);
    for (rocksdb_iter_seek_to_first(cursor); rocksdb_iter_valid(cursor);
         rocksdb_iter_next(cursor)) {
        size_t key_len, value_len;
        const char *key = rocksdb_iter_key(cursor, &key_len);
        const char *value = rocksdb_iter_value(cursor, &value_len);
        if (!keep(context, key, value, value_len))
            del(s, key);
    }
    rocksdb_iter_get_error(cursor, &error);
    check(error, "scan");
    rocksdb_iter_destroy(cursor);
    rocksdb_readoptions_destroy(how);
}

static void write_one(struct store *s, const void *key, const void *value, size_t value_len)
{
    char *error = NULL;
    rocksdb_put(s->db, s->write, key, s->key_len, value, value_len, &error);
    check(error, "put");
}

static void read_begin(struct store *s, int reader)
{
    if (!s->read[reader])
        s->read[reader] = rocksdb_readoptions_create();
    s->snapshot[reader] = rocksdb_create_snapshot(s->db);
    rocksdb_readoptions_set_snapshot(s->read[reader], s->snapshot[reader]);
}

static void read_end(struct store *s, int reader)
{
    forget_values(s, reader);
    if (reader == 0 && s->cursor) {
        rocksdb_iter_destroy(s->cursor);
        s->cursor = NULL;
    }
    rocksdb_release_snapshot(s->db, s->snapshot[reader]);
    rocksdb_readoptions_set_snapshot(s->read[reader], NULL);
}

static void read_move(struct store *s, int reader)
{
    read_end(s, reader);
    read_begin(s, reader);
}

static const void *get(struct store *s, int reader, const void *key, size_t *value_len)
{
    char *error = NULL;
    forget_values(s, reader);
    s->got[reader] = rocksdb_get_pinned(s->db, s->read[reader], key, s->key_len, &error);
    check(error, "get");
    return s->got[reader] ? rocksdb_pinnableslice_value(s->got[reader], value_len) : NULL;
}

static void get_many(struct store *s, size_t n, const unsigned char *keys, const void **values,
                     size_t *value_lens)
{
    const char *key[MANY];
    size_t key_lens[MANY];
    char *errors[MANY];
    forget_values(s, 0);
    for (size_t i = 0; i < n; i++) {
        key[i] = (const char *)keys + i * s->key_len;
        key_lens[i] = s->key_len;
    }
    rocksdb_multi_get(s->db, s->read[0], n, key, key_lens, s->many, value_lens, errors);
    for (size_t i = 0; i < n; i++) {
        check(errors[i], "get many");
        values[i] = s->many[i];
    }
}

static uint64_t sum_here(rocksdb_iterator_t *cursor)
{
    size_t key_len, value_len;
    const char *key = rocksdb_iter_key(cursor, &key_len);
    const char *value = rocksdb_iter_value(cursor, &value_len);
    return bench_scan_sum(key, value, value_len);
}

static uint64_t walk(struct store *s, void (*step)(rocksdb_iterator_t *), bool back,
                     uint64_t *records)
{
    char *error = NULL;
    uint64_t sum = 0, n = 0;
    rocksdb_iterator_t *cursor = rocksdb_create_iterator(s->db, s->read[0]);
    for ((back ? rocksdb_iter_seek_to_last : rocksdb_iter_seek_to_first)(cursor);
         rocksdb_iter_valid(cursor); step(cursor), n++)
        sum += sum_here(cursor);
    rocksdb_iter_get_error(cursor, &error);
    check(error, "scan");
    rocksdb_iter_destroy(cursor);
    *records = n;
    return sum;
}

static uint64_t scan(struct store *s, uint64_t *records)
{
    return walk(s, rocksdb_iter_next, false, records);
}

static uint64_t scan_back(struct store *s, uint64_t *records)
{
    return walk(s, rocksdb_iter_prev, true, records);
}

static uint64_t range(struct store *s, const void *key, uint64_t n, uint64_t *records)
{
    uint64_t sum = 0, found = 0;
    if (!s->cursor)
        s->cursor = rocksdb_create_iterator(s->db, s->read[0]);
    rocksdb_iter_seek(s->cursor, key, s->key_len);
    for (; found < n && rocksdb_iter_valid(s->cursor); rocksdb_iter_next(s->cursor), found++)
        sum += sum_here(s->cursor);
    *records = found;
    return sum;
}

static void each(struct store *s, int reader, bench_visit *visit, void *context)
{
    rocksdb_iterator_t *cursor = rocksdb_create_iterator(s->db, s->read[reader]);
    for (rocksdb_iter_seek_to_first(cursor); rocksdb_iter_valid(cursor);
         rocksdb_iter_next(cursor)) {
        size_t key_len, value_len;
        const char *key = rocksdb_iter_key(cursor, &key_len);
        const char *value = rocksdb_iter_value(cursor, &value_len);
        visit(context, key, value, value_len);
    }
    rocksdb_iter_destroy(cursor);
}

static uint64_t file_size(struct store *s)
{
    return bench_disk_size(s->path);
}

static void compact(struct store *s)
{
    rocksdb_compact_range(s->db, NULL, 0, NULL, 0);
}

const struct engine bench_rocksdb = {
    .name = "rocksdb",
    .version = version,
    .open = store_open,
    .close = store_close,
    .sync = store_sync,
    .write_begin = write_begin,
    .write_commit = write_commit,
    .put = put,
    .append = append,
    .del = del,
    .retain = retain,
    .write_one = write_one,
    .read_begin = read_begin,
    .read_move = read_move,
    .read_end = read_end,
    .get = get,
    .get_many = get_many,
    .scan = scan,
    .scan_back = scan_back,
    .range = range,
    .each = each,
    .file_size = file_size,
    .compact = compact,
};
#endif
