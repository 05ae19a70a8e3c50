/* engine_tkrzw.c - tkrzw's TreeDBM as its documentation advises: a cache of pages that holds what is
 * worked on, and records changed in place. It has neither transactions nor snapshots nor a log: what is
 * called a commit here is its synchronization with the disk, and a crash between two of them can leave
 * a file that must be repaired. Its figures of changes are not of the same kind as the others. */
#include "bench.h"

#if __has_include(<tkrzw_langc.h>)
#include <stdlib.h>
#include <string.h>
#include <tkrzw_langc.h>

struct store {
    size_t key_len;
    char *path;
    bool lazy;
    TkrzwDBM *db;
    TkrzwDBMIter *cursor; /* of reader 0 */
    char *got[READERS_MAX];
};

static void check(bool ok, const char *what)
{
    if (!ok)
        bench_die("tkrzw: %s: %s", what, tkrzw_get_last_status_message());
}

static const char *version(void)
{
    return TKRZW_PACKAGE_VERSION;
}

static struct store *store_open(const struct options *o, const char *path, unsigned flags)
{
    struct store *s = bench_alloc(sizeof *s);
    s->key_len = o->key_len;
    s->path = strdup(path);
    s->lazy = flags & STORE_LAZY;
    s->db = tkrzw_dbm_open(path, true,
                           "dbm=TreeDBM,update_mode=UPDATE_IN_PLACE,max_cached_pages=400000,"
                           "num_buckets=400000");
    check(s->db, "open");
    return s;
}

static void store_close(struct store *s)
{
    for (int i = 0; i < READERS_MAX; i++)
        free(s->got[i]);
    if (s->cursor)
        tkrzw_dbm_iter_free(s->cursor);
    check(tkrzw_dbm_close(s->db), "close");
    free(s->path);
    free(s);
}

static void store_sync(struct store *s)
{
    check(tkrzw_dbm_synchronize(s->db, true, NULL, NULL, ""), "sync");
}

static void write_begin(struct store *s)
{
    (void)s;
}

static void write_commit(struct store *s)
{
    if (!s->lazy)
        store_sync(s);
}

static void put(struct store *s, const void *key, const void *value, size_t value_len)
{
    check(tkrzw_dbm_set(s->db, key, (int32_t)s->key_len, value, (int32_t)value_len, true), "put");
}

static void del(struct store *s, const void *key)
{
    check(tkrzw_dbm_remove(s->db, key, (int32_t)s->key_len), "delete");
}

static void write_one(struct store *s, const void *key, const void *value, size_t value_len)
{
    put(s, key, value, value_len);
    write_commit(s);
}

static void read_begin(struct store *s, int reader)
{
    (void)s;
    (void)reader;
}

static void read_end(struct store *s, int reader)
{
    free(s->got[reader]);
    s->got[reader] = NULL;
}

static const void *get(struct store *s, int reader, const void *key, size_t *value_len)
{
    int32_t len = 0;
    free(s->got[reader]);
    s->got[reader] = tkrzw_dbm_get(s->db, key, (int32_t)s->key_len, &len);
    *value_len = (size_t)len;
    return s->got[reader];
}

/* Visits at most n records from where the cursor stands. */
static uint64_t walk(TkrzwDBMIter *cursor, uint64_t n, bench_visit *visit, void *context)
{
    char *key, *value;
    int32_t key_len, value_len;
    uint64_t found = 0;
    while (found < n && tkrzw_dbm_iter_get(cursor, &key, &key_len, &value, &value_len)) {
        visit(context, key, value, (size_t)value_len);
        free(key);
        free(value);
        found++;
        check(tkrzw_dbm_iter_next(cursor), "step");
    }
    return found;
}

static TkrzwDBMIter *cursor_here(struct store *s)
{
    if (!s->cursor)
        s->cursor = tkrzw_dbm_make_iterator(s->db);
    return s->cursor;
}

static void retain(struct store *s, bench_keep *keep, void *context)
{
    char *key, *value;
    int32_t key_len, value_len;
    check(tkrzw_dbm_iter_first(cursor_here(s)), "first");
    while (tkrzw_dbm_iter_get(s->cursor, &key, &key_len, &value, &value_len)) {
        if (keep(context, key, value, (size_t)value_len))
            check(tkrzw_dbm_iter_next(s->cursor), "step");
        else
            check(tkrzw_dbm_iter_remove(s->cursor), "delete"); /* and steps */
        free(key);
        free(value);
    }
}

static void each(struct store *s, int reader, bench_visit *visit, void *context)
{
    (void)reader;
    check(tkrzw_dbm_iter_first(cursor_here(s)), "first");
    walk(s->cursor, UINT64_MAX, visit, context);
}

static void add(void *context, const void *key, const void *value, size_t value_len)
{
    *(uint64_t *)context += bench_scan_sum(key, value, value_len);
}

static uint64_t scan(struct store *s, uint64_t *records)
{
    uint64_t sum = 0;
    check(tkrzw_dbm_iter_first(cursor_here(s)), "first");
    *records = walk(s->cursor, UINT64_MAX, add, &sum);
    return sum;
}

static uint64_t range(struct store *s, const void *key, uint64_t n, uint64_t *records)
{
    uint64_t sum = 0;
    check(tkrzw_dbm_iter_jump(cursor_here(s), key, (int32_t)s->key_len), "seek");
    *records = walk(s->cursor, n, add, &sum);
    return sum;
}

static uint64_t count(struct store *s)
{
    return (uint64_t)tkrzw_dbm_count(s->db);
}

static uint64_t file_size(struct store *s)
{
    check(tkrzw_dbm_synchronize(s->db, false, NULL, NULL, ""), "write out");
    return bench_disk_size(s->path);
}

static void compact(struct store *s)
{
    check(tkrzw_dbm_rebuild(s->db, ""), "rebuild");
}

/* Backward, a walk over a file that was opened again ends at the edge of its last page (1.0.25). */
const struct engine bench_tkrzw = {
    .name = "tkrzw",
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
    .read_end = read_end,
    .get = get,
    .scan = scan,
    .range = range,
    .count = count,
    .each = each,
    .file_size = file_size,
    .compact = compact,
};
#endif
