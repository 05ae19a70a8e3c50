/* engine_bdb.c - Berkeley DB's transactional B-tree as its reference guide advises: a cache and a log
 * buffer that hold what is worked on, logs removed when a checkpoint no longer needs them, the
 * environment private to this process, deadlocks found at once. Reads take no transaction, which is its
 * fastest way; so it has no snapshot here. */
#include "bench.h"

#if __has_include(<db.h>)
#include <db.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CACHE_MIB = 256, LOG_BUFFER = 16 << 20, LOCKS = 1000000 };

struct store {
    size_t key_len;
    char *path;
    u_int32_t commit_flags;
    DB_ENV *env;
    DB *db;
    DB_TXN *txn;
    DBC *cursor;            /* of reader 0 */
    DBT value[READERS_MAX]; /* memory that get uses again */
};

static void check(int rc, const char *what)
{
    if (rc != 0)
        bench_die("bdb: %s: %s", what, db_strerror(rc));
}

static const char *version(void)
{
    static char text[32];
    int major, minor, patch;
    db_version(&major, &minor, &patch);
    snprintf(text, sizeof text, "%d.%d.%d", major, minor, patch);
    return text;
}

static void env_open(struct store *s)
{
    u_int32_t parts = DB_INIT_MPOOL | DB_INIT_LOCK | DB_INIT_LOG | DB_INIT_TXN;
    check(db_env_create(&s->env, 0), "create");
    check(s->env->set_cachesize(s->env, 0, (u_int32_t)CACHE_MIB << 20, 1), "set the cache's size");
    check(s->env->set_lg_bsize(s->env, LOG_BUFFER), "set the log buffer's size");
    check(s->env->set_lg_max(s->env, 4 * LOG_BUFFER), "set the log's size");
    check(s->env->set_lk_max_locks(s->env, LOCKS), "set the number of locks");
    check(s->env->set_lk_max_objects(s->env, LOCKS), "set the number of locks");
    check(s->env->set_lk_detect(s->env, DB_LOCK_DEFAULT), "look for deadlocks");
    check(s->env->log_set_config(s->env, DB_LOG_AUTO_REMOVE, 1), "remove logs");
    check(s->env->open(s->env, s->path, parts | DB_CREATE | DB_PRIVATE | DB_THREAD | DB_RECOVER,
                       0644),
          "open");
}

static struct store *store_open(const struct options *o, const char *path, unsigned flags)
{
    struct store *s = bench_alloc(sizeof *s);
    s->key_len = o->key_len;
    s->path = strdup(path);
    s->commit_flags = flags & STORE_LAZY ? DB_TXN_NOSYNC : DB_TXN_SYNC;
    mkdir(path, 0755);
    env_open(s);
    check(db_create(&s->db, s->env, 0), "create");
    check(s->db->open(s->db, NULL, "records", NULL, DB_BTREE,
                      DB_CREATE | DB_AUTO_COMMIT | DB_THREAD, 0644),
          "open the tree");
    return s;
}

static void store_sync(struct store *s)
{
    check(s->env->log_flush(s->env, NULL), "sync");
}

static void store_close(struct store *s)
{
    for (int i = 0; i < READERS_MAX; i++)
        free(s->value[i].data);
    check(s->env->txn_checkpoint(s->env, 0, 0, 0), "checkpoint");
    check(s->db->close(s->db, 0), "close");
    check(s->env->close(s->env, 0), "close");
    free(s->path);
    free(s);
}

static void write_begin(struct store *s)
{
    check(s->env->txn_begin(s->env, NULL, &s->txn, s->commit_flags), "begin");
}

static void write_commit(struct store *s)
{
    check(s->txn->commit(s->txn, 0), "commit");
}

static DBT bytes(const void *ptr, size_t len)
{
    union {
        const void *in;
        void *out; /* Berkeley DB does not write through what it is given */
    } u = {ptr};
    return (DBT){.data = u.out, .size = (u_int32_t)len};
}

static int put_in(struct store *s, DB_TXN *txn, const void *key, const void *value,
                  size_t value_len)
{
    DBT k = bytes(key, s->key_len), v = bytes(value, value_len);
    return s->db->put(s->db, txn, &k, &v, 0);
}

static void put(struct store *s, const void *key, const void *value, size_t value_len)
{
    check(put_in(s, s->txn, key, value, value_len), "put");
}

static void del(struct store *s, const void *key)
{
    DBT k = bytes(key, s->key_len);
    check(s->db->del(s->db, s->txn, &k, 0), "delete");
}

static void retain(struct store *s, bench_keep *keep, void *context)
{
    DBC *cursor;
    DBT k = {0}, v = {0};
    int rc;
    check(s->db->cursor(s->db, s->txn, &cursor, 0), "open a cursor");
    while ((rc = cursor->get(cursor, &k, &v, DB_NEXT)) == 0)
        if (!keep(context, k.data, v.data, v.size))
            check(cursor->del(cursor, 0), "delete");
    if (rc != DB_NOTFOUND)
        check(rc, "scan");
    check(cursor->close(cursor), "close a cursor");
}

static void write_one(struct store *s, const void *key, const void *value, size_t value_len)
{
    for (;;) {
        DB_TXN *txn;
        check(s->env->txn_begin(s->env, NULL, &txn, s->commit_flags), "begin");
        int rc = put_in(s, txn, key, value, value_len);
        if (rc == 0) {
            check(txn->commit(txn, 0), "commit");
            return;
        }
        txn->abort(txn);
        if (rc != DB_LOCK_DEADLOCK)
            check(rc, "put");
    }
}

static void read_begin(struct store *s, int reader)
{
    s->value[reader].flags = DB_DBT_REALLOC;
}

static void read_end(struct store *s, int reader)
{
    if (reader == 0 && s->cursor) {
        check(s->cursor->close(s->cursor), "close a cursor");
        s->cursor = NULL;
    }
}

static const void *get(struct store *s, int reader, const void *key, size_t *value_len)
{
    DBT k = bytes(key, s->key_len);
    int rc = s->db->get(s->db, NULL, &k, &s->value[reader], 0);
    if (rc == DB_NOTFOUND)
        return NULL;
    check(rc, "get");
    *value_len = s->value[reader].size;
    return s->value[reader].data;
}

/* Forward it can read a buffer full of records at once. */
static void each(struct store *s, int reader, bench_visit *visit, void *context)
{
    enum { BUFFER = 1 << 20 };
    DBC *cursor;
    DBT k = {0}, v = {.data = bench_alloc(BUFFER), .ulen = BUFFER, .flags = DB_DBT_USERMEM};
    int rc;
    (void)reader;
    check(s->db->cursor(s->db, NULL, &cursor, 0), "open a cursor");
    while ((rc = cursor->get(cursor, &k, &v, DB_NEXT | DB_MULTIPLE_KEY)) == 0) {
        void *at, *key, *value;
        u_int32_t key_len, value_len;
        DB_MULTIPLE_INIT(at, &v);
        for (;;) {
            DB_MULTIPLE_KEY_NEXT(at, &v, key, key_len, value, value_len);
            if (!at)
                break;
            (void)key_len;
            visit(context, key, value, value_len);
        }
    }
    if (rc != DB_NOTFOUND)
        check(rc, "scan");
    check(cursor->close(cursor), "close a cursor");
    free(v.data);
}

struct total {
    uint64_t sum, records;
};

static void add(void *context, const void *key, const void *value, size_t value_len)
{
    struct total *total = context;
    total->sum += bench_scan_sum(key, value, value_len);
    total->records++;
}

static uint64_t scan(struct store *s, uint64_t *records)
{
    struct total total = {0, 0};
    each(s, 0, add, &total);
    *records = total.records;
    return total.sum;
}

/* Sums at most n records from where op leads, then on by next. */
static uint64_t walk(DBC *cursor, DBT *k, u_int32_t op, u_int32_t next, uint64_t n,
                     uint64_t *records)
{
    DBT v = {0};
    uint64_t sum = 0, found = 0;
    int rc = 0;
    for (; found < n && (rc = cursor->get(cursor, k, &v, op)) == 0; op = next, found++)
        sum += bench_scan_sum(k->data, v.data, v.size);
    if (rc != 0 && rc != DB_NOTFOUND)
        check(rc, "scan");
    *records = found;
    return sum;
}

static DBC *cursor_here(struct store *s)
{
    if (!s->cursor)
        check(s->db->cursor(s->db, NULL, &s->cursor, 0), "open a cursor");
    return s->cursor;
}

static uint64_t scan_back(struct store *s, uint64_t *records)
{
    DBT k = {0};
    return walk(cursor_here(s), &k, DB_LAST, DB_PREV, UINT64_MAX, records);
}

static uint64_t range(struct store *s, const void *key, uint64_t n, uint64_t *records)
{
    DBT k = bytes(key, s->key_len);
    return walk(cursor_here(s), &k, DB_SET_RANGE, DB_NEXT, n, records);
}

static uint64_t count(struct store *s)
{
    DB_BTREE_STAT *st;
    check(s->db->stat(s->db, NULL, &st, 0), "count");
    uint64_t n = st->bt_nkeys;
    free(st);
    return n;
}

/* After a checkpoint, without the log: it holds nothing then, but is made at its full length. */
static uint64_t file_size(struct store *s)
{
    char path[4200];
    check(s->env->txn_checkpoint(s->env, 0, 0, 0), "checkpoint");
    snprintf(path, sizeof path, "%s/records", s->path);
    return bench_disk_size(path);
}

/* The first pass empties pages, the second one moves what lies behind them. */
static void compact(struct store *s)
{
    for (int pass = 0; pass < 2; pass++) {
        DB_COMPACT how = {0};
        check(s->db->compact(s->db, NULL, NULL, NULL, &how, DB_FREE_SPACE, NULL), "compact");
    }
}

const struct engine bench_bdb = {
    .name = "bdb",
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
    .scan_back = scan_back,
    .range = range,
    .count = count,
    .each = each,
    .file_size = file_size,
    .compact = compact,
};
#endif
