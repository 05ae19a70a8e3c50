/* engine_lmdb.c - LMDB as its experts set it up: a map larger than the data will ever be, appending
 * for sorted input, pages not zeroed before use, read transactions renewed, trees kept open, nothing read
 * ahead where data exceeds memory. The other variant writes through the map. */
#include "bench.h"

#include <fcntl.h>
#include <lmdb.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAP_GIB = 64, TREES_MAX = 4000 };

struct store {
    size_t key_len;
    MDB_env *env;
    MDB_dbi dbi;
    MDB_txn *writer;
    MDB_txn *reader[READERS_MAX];
    MDB_cursor *cursor; /* of reader 0 */
    void *trees;        /* those that were opened, by name (tsearch) */
};

struct tree {
    char name[16];
    MDB_dbi dbi;
};

static void check(int rc, const char *what)
{
    if (rc != MDB_SUCCESS)
        bench_die("lmdb: %s: %s", what, mdb_strerror(rc));
}

static const char *version(void)
{
    static char text[32];
    int major, minor, patch;
    mdb_version(&major, &minor, &patch);
    snprintf(text, sizeof text, "%d.%d.%d", major, minor, patch);
    return text;
}

static struct store *open_with(const struct options *o, const char *path, unsigned flags,
                               unsigned more)
{
    struct store *s = bench_alloc(sizeof *s);
    s->key_len = o->key_len;
    if (flags & STORE_LAZY)
        more |= MDB_NOSYNC;
    if (flags & STORE_BEYOND)
        more |= MDB_NORDAHEAD;
    check(mdb_env_create(&s->env), "create");
    check(mdb_env_set_mapsize(s->env, (size_t)MAP_GIB << 30), "set the map's size");
    if (flags & STORE_TREES)
        check(mdb_env_set_maxdbs(s->env, TREES_MAX), "set the number of trees");
    check(mdb_env_open(s->env, path, MDB_NOSUBDIR | MDB_NOTLS | MDB_NOMEMINIT | more, 0644),
          "open");
    MDB_txn *txn;
    check(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn), "begin");
    check(mdb_dbi_open(txn, NULL, 0, &s->dbi), "open the main tree");
    check(mdb_txn_commit(txn), "commit");
    return s;
}

static struct store *store_open(const struct options *o, const char *path, unsigned flags)
{
    return open_with(o, path, flags, 0);
}

static struct store *store_open_writemap(const struct options *o, const char *path, unsigned flags)
{
    return open_with(o, path, flags, MDB_WRITEMAP);
}

static void store_close(struct store *s)
{
    for (int i = 0; i < READERS_MAX; i++)
        mdb_txn_abort(s->reader[i]);
    tdestroy(s->trees, free);
    mdb_env_close(s->env);
    free(s);
}

static void store_sync(struct store *s)
{
    check(mdb_env_sync(s->env, 1), "sync");
}

static void write_begin(struct store *s)
{
    check(mdb_txn_begin(s->env, NULL, 0, &s->writer), "begin");
}

static void write_commit(struct store *s)
{
    check(mdb_txn_commit(s->writer), "commit");
}

static MDB_val bytes(const void *ptr, size_t len)
{
    union {
        const void *in;
        void *out; /* LMDB's structure is not const, its functions do not write through it */
    } u = {ptr};
    return (MDB_val){len, u.out};
}

static void put_with(struct store *s, const void *key, const void *value, size_t value_len,
                     unsigned flags)
{
    MDB_val k = bytes(key, s->key_len), v = bytes(value, value_len);
    check(mdb_put(s->writer, s->dbi, &k, &v, flags), "put");
}

static void put(struct store *s, const void *key, const void *value, size_t value_len)
{
    put_with(s, key, value, value_len, 0);
}

static void append(struct store *s, const void *key, const void *value, size_t value_len)
{
    put_with(s, key, value, value_len, MDB_APPEND);
}

static void del(struct store *s, const void *key)
{
    MDB_val k = bytes(key, s->key_len);
    check(mdb_del(s->writer, s->dbi, &k, NULL), "delete");
}

static void retain(struct store *s, bench_keep *keep, void *context)
{
    MDB_cursor *cursor;
    MDB_val k, v;
    int rc;
    check(mdb_cursor_open(s->writer, s->dbi, &cursor), "open a cursor");
    while ((rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == MDB_SUCCESS)
        if (!keep(context, k.mv_data, v.mv_data, v.mv_size))
            check(mdb_cursor_del(cursor, 0), "delete");
    if (rc != MDB_NOTFOUND)
        check(rc, "scan");
    mdb_cursor_close(cursor);
}

static void read_begin(struct store *s, int reader)
{
    if (s->reader[reader])
        check(mdb_txn_renew(s->reader[reader]), "renew");
    else
        check(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &s->reader[reader]), "begin to read");
}

static void close_cursor(struct store *s, int reader)
{
    if (reader == 0 && s->cursor) {
        mdb_cursor_close(s->cursor);
        s->cursor = NULL;
    }
}

static void read_move(struct store *s, int reader)
{
    close_cursor(s, reader);
    mdb_txn_reset(s->reader[reader]);
    check(mdb_txn_renew(s->reader[reader]), "renew");
}

static void read_end(struct store *s, int reader)
{
    close_cursor(s, reader);
    mdb_txn_reset(s->reader[reader]);
}

static const void *get(struct store *s, int reader, const void *key, size_t *value_len)
{
    MDB_val k = bytes(key, s->key_len), v;
    int rc = mdb_get(s->reader[reader], s->dbi, &k, &v);
    if (rc == MDB_NOTFOUND)
        return NULL;
    check(rc, "get");
    *value_len = v.mv_size;
    return v.mv_data;
}

static uint64_t sum_all(struct store *s, MDB_cursor_op step, uint64_t *records)
{
    MDB_cursor *cursor;
    MDB_val k, v;
    uint64_t sum = 0, n = 0;
    int rc;
    check(mdb_cursor_open(s->reader[0], s->dbi, &cursor), "open a cursor");
    while ((rc = mdb_cursor_get(cursor, &k, &v, step)) == MDB_SUCCESS) {
        sum += bench_scan_sum(k.mv_data, v.mv_data, v.mv_size);
        n++;
    }
    if (rc != MDB_NOTFOUND)
        check(rc, "scan");
    mdb_cursor_close(cursor);
    *records = n;
    return sum;
}

static uint64_t scan(struct store *s, uint64_t *records)
{
    return sum_all(s, MDB_NEXT, records);
}

static uint64_t scan_back(struct store *s, uint64_t *records)
{
    return sum_all(s, MDB_PREV, records);
}

static uint64_t range(struct store *s, const void *key, uint64_t n, uint64_t *records)
{
    MDB_val k = bytes(key, s->key_len), v;
    MDB_cursor_op op = MDB_SET_RANGE;
    uint64_t sum = 0, found = 0;
    int rc = MDB_SUCCESS;
    if (!s->cursor)
        check(mdb_cursor_open(s->reader[0], s->dbi, &s->cursor), "open a cursor");
    for (; found < n && (rc = mdb_cursor_get(s->cursor, &k, &v, op)) == MDB_SUCCESS; found++) {
        sum += bench_scan_sum(k.mv_data, v.mv_data, v.mv_size);
        op = MDB_NEXT;
    }
    if (rc != MDB_NOTFOUND)
        check(rc, "scan");
    *records = found;
    return sum;
}

static uint64_t count(struct store *s)
{
    MDB_stat st;
    check(mdb_stat(s->reader[0], s->dbi, &st), "stat");
    return st.ms_entries;
}

static int by_name(const void *one, const void *other)
{
    return strcmp(((const struct tree *)one)->name, ((const struct tree *)other)->name);
}

/* Opened in the transaction that needs it first, which is a writer's. */
static MDB_dbi tree(struct store *s, const char *name)
{
    struct tree wanted;
    snprintf(wanted.name, sizeof wanted.name, "%s", name);
    struct tree **found = tfind(&wanted, &s->trees, by_name);
    if (found)
        return (*found)->dbi;
    struct tree *fresh = bench_alloc(sizeof *fresh);
    *fresh = wanted;
    check(mdb_dbi_open(s->writer, name, MDB_CREATE, &fresh->dbi), "open a tree");
    if (!tsearch(fresh, &s->trees, by_name))
        bench_die("out of memory");
    return fresh->dbi;
}

static void tree_put(struct store *s, const char *name, const void *key, const void *value,
                     size_t value_len)
{
    MDB_val k = bytes(key, s->key_len), v = bytes(value, value_len);
    check(mdb_put(s->writer, tree(s, name), &k, &v, 0), "put");
}

static const void *tree_get(struct store *s, const char *name, const void *key, size_t *value_len)
{
    MDB_val k = bytes(key, s->key_len), v;
    check(mdb_get(s->reader[0], tree(s, name), &k, &v), "get");
    *value_len = v.mv_size;
    return v.mv_data;
}

static void each(struct store *s, int reader, bench_visit *visit, void *context)
{
    MDB_cursor *cursor;
    MDB_val k, v;
    int rc;
    check(mdb_cursor_open(s->reader[reader], s->dbi, &cursor), "open a cursor");
    while ((rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == MDB_SUCCESS)
        visit(context, k.mv_data, v.mv_data, v.mv_size);
    if (rc != MDB_NOTFOUND)
        check(rc, "scan");
    mdb_cursor_close(cursor);
}

static MDB_stat stat_main(struct store *s)
{
    MDB_txn *txn;
    MDB_stat st;
    check(mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn), "begin to read");
    check(mdb_stat(txn, s->dbi, &st), "stat");
    mdb_txn_abort(txn);
    return st;
}

/* Not stat(): through the map, the file is as long as the map, with a hole at its end. */
static uint64_t file_size(struct store *s)
{
    MDB_envinfo info;
    check(mdb_env_info(s->env, &info), "info");
    return (info.me_last_pgno + 1) * stat_main(s).ms_psize;
}

/* By a copy, which takes the file's place. */
static void compact(struct store *s)
{
    char copy[4200];
    const char *path;
    check(mdb_env_get_path(s->env, &path), "path");
    snprintf(copy, sizeof copy, "%s.copy", path);
    check(mdb_env_copy2(s->env, copy, MDB_CP_COMPACT), "copy");
    int fd = open(copy, O_RDONLY);
    if (fd < 0 || fsync(fd) != 0 || close(fd) != 0 || rename(copy, path) != 0)
        bench_die("lmdb: a copy cannot take the place of %s", path);
}

static uint64_t live_size(struct store *s)
{
    MDB_stat st = stat_main(s);
    return (st.ms_leaf_pages + st.ms_branch_pages + st.ms_overflow_pages) * st.ms_psize;
}

static unsigned height(struct store *s)
{
    return stat_main(s).ms_depth;
}

static unsigned page_size(struct store *s)
{
    return stat_main(s).ms_psize;
}

/* Everything but how it is opened is the same. */
#define LMDB_ENGINE(its_name, its_open)                                                            \
    {                                                                                              \
        .name = its_name, .version = version, .open = its_open, .close = store_close,              \
        .sync = store_sync, .write_begin = write_begin, .write_commit = write_commit, .put = put,  \
        .append = append, .del = del, .retain = retain, .read_begin = read_begin,                  \
        .read_move = read_move, .read_end = read_end, .get = get, .scan = scan,                    \
        .scan_back = scan_back, .range = range, .count = count, .tree_put = tree_put,              \
        .tree_get = tree_get, .each = each, .file_size = file_size, .compact = compact,            \
        .live_size = live_size, .height = height, .page_size = page_size, .processes = true        \
    }

const struct engine bench_lmdb = LMDB_ENGINE("lmdb", store_open);
const struct engine bench_lmdb_writemap = LMDB_ENGINE("lmdb-writemap", store_open_writemap);
