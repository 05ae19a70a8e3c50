/* engine_sqlite.c - SQLite as its documentation advises for keys and values: write-ahead log, a table
 * WITHOUT ROWID (the record lies in the key's tree), prepared statements, memory-mapped reads, a large
 * cache, a connection for each reader. Durable commits need synchronous FULL; NORMAL would lose the
 * newest ones in a power cut. Threads that write share one connection: waiting for a mutex is faster
 * than sleeping and trying again, which is what its locks would make them do. */
#include "bench.h"

#if __has_include(<sqlite3.h>)
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct store {
    size_t key_len;
    char *path;
    bool lazy;
    pthread_mutex_t one;
    sqlite3 *writer;
    sqlite3_stmt *begin, *commit, *put, *del;
    sqlite3 *reader[READERS_MAX];
    sqlite3_stmt *read_begin[READERS_MAX], *read_end[READERS_MAX], *get[READERS_MAX],
        *scan[READERS_MAX];
    sqlite3_stmt *scan_back, *range, *count;
};

static void check(sqlite3 *db, int rc, const char *what)
{
    if (rc != SQLITE_OK && rc != SQLITE_DONE && rc != SQLITE_ROW)
        bench_die("sqlite: %s: %s", what, sqlite3_errmsg(db));
}

static const char *version(void)
{
    return sqlite3_libversion();
}

static void run(sqlite3 *db, const char *sql)
{
    check(db, sqlite3_exec(db, sql, NULL, NULL, NULL), sql);
}

static sqlite3 *connect_to(const char *path)
{
    sqlite3 *db;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    check(NULL, sqlite3_open_v2(path, &db, flags, NULL), "open");
    sqlite3_busy_timeout(db, 10000);
    run(db, "PRAGMA journal_mode=WAL; PRAGMA mmap_size=68719476736; PRAGMA cache_size=-262144");
    return db;
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement;
    check(db, sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL), sql);
    return statement;
}

/* A statement without rows. */
static void step(sqlite3 *db, sqlite3_stmt *statement, const char *what)
{
    check(db, sqlite3_step(statement), what);
    sqlite3_reset(statement);
}

/* The writer connects when it first writes. */
static sqlite3 *writer(struct store *s)
{
    if (s->writer)
        return s->writer;
    sqlite3 *db = s->writer = connect_to(s->path);
    run(db, s->lazy ? "PRAGMA synchronous=OFF" : "PRAGMA synchronous=FULL");
    run(db, "CREATE TABLE IF NOT EXISTS t(k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID");
    s->begin = prepare(db, "BEGIN IMMEDIATE");
    s->commit = prepare(db, "COMMIT");
    s->put = prepare(db, "INSERT OR REPLACE INTO t VALUES(?,?)");
    s->del = prepare(db, "DELETE FROM t WHERE k=?");
    return db;
}

static struct store *store_open(const struct options *o, const char *path, unsigned flags)
{
    struct store *s = bench_alloc(sizeof *s);
    s->key_len = o->key_len;
    s->path = strdup(path);
    s->lazy = flags & STORE_LAZY;
    pthread_mutex_init(&s->one, NULL);
    if (access(path, F_OK) != 0)
        writer(s);
    return s;
}

/* A reader connects when it first reads. */
static void connect_reader(struct store *s, int reader)
{
    sqlite3 *db = s->reader[reader] = connect_to(s->path);
    s->read_begin[reader] = prepare(db, "BEGIN");
    s->read_end[reader] = prepare(db, "COMMIT");
    s->get[reader] = prepare(db, "SELECT v FROM t WHERE k=?");
}

/* The others are prepared when they are first needed. */
static sqlite3_stmt *ready(sqlite3 *db, sqlite3_stmt **statement, const char *sql)
{
    if (!*statement)
        *statement = prepare(db, sql);
    return *statement;
}

static sqlite3_stmt *ready_scan(struct store *s, int reader)
{
    return ready(s->reader[reader], &s->scan[reader], "SELECT k,v FROM t ORDER BY k");
}

static void disconnect(sqlite3 *db)
{
    sqlite3_stmt *statement;
    while (db && (statement = sqlite3_next_stmt(db, NULL)))
        sqlite3_finalize(statement);
    check(db, sqlite3_close(db), "close");
}

static void store_close(struct store *s)
{
    for (int i = 0; i < READERS_MAX; i++)
        disconnect(s->reader[i]);
    disconnect(s->writer);
    pthread_mutex_destroy(&s->one);
    free(s->path);
    free(s);
}

static void store_sync(struct store *s)
{
    run(writer(s), "PRAGMA synchronous=FULL; PRAGMA wal_checkpoint(FULL); PRAGMA synchronous=OFF");
}

static void write_begin(struct store *s)
{
    sqlite3 *db = writer(s);
    step(db, s->begin, "begin");
}

static void write_commit(struct store *s)
{
    step(s->writer, s->commit, "commit");
}

static void put(struct store *s, const void *key, const void *value, size_t value_len)
{
    sqlite3_bind_blob(s->put, 1, key, (int)s->key_len, SQLITE_STATIC);
    sqlite3_bind_blob(s->put, 2, value, (int)value_len, SQLITE_STATIC);
    step(s->writer, s->put, "put");
}

static void del(struct store *s, const void *key)
{
    sqlite3_bind_blob(s->del, 1, key, (int)s->key_len, SQLITE_STATIC);
    step(s->writer, s->del, "delete");
}

struct retainer {
    bench_keep *keep;
    void *context;
};

/* The predicate, as a function of SQL. */
static void kept(sqlite3_context *call, int n, sqlite3_value **values)
{
    const struct retainer *r = sqlite3_user_data(call);
    (void)n;
    sqlite3_result_int(call, r->keep(r->context, sqlite3_value_blob(values[0]),
                                     sqlite3_value_blob(values[1]),
                                     (size_t)sqlite3_value_bytes(values[1])));
}

static void retain(struct store *s, bench_keep *keep, void *context)
{
    struct retainer r = {keep, context};
    sqlite3 *db = writer(s);
    check(db, sqlite3_create_function(db, "kept", 2, SQLITE_UTF8, &r, kept, NULL, NULL),
          "create a function");
    run(db, "DELETE FROM t WHERE NOT kept(k,v)");
    sqlite3_create_function(db, "kept", 2, SQLITE_UTF8, NULL, NULL, NULL, NULL);
}

static void write_one(struct store *s, const void *key, const void *value, size_t value_len)
{
    pthread_mutex_lock(&s->one);
    writer(s);
    put(s, key, value, value_len);
    pthread_mutex_unlock(&s->one);
}

/* A snapshot is taken by the first read: to make one here would be a second lookup for each get. */
static void read_begin(struct store *s, int reader)
{
    if (!s->reader[reader])
        connect_reader(s, reader);
    step(s->reader[reader], s->read_begin[reader], "begin to read");
}

static void read_end(struct store *s, int reader)
{
    sqlite3_reset(s->get[reader]);
    step(s->reader[reader], s->read_end[reader], "end reading");
}

static void read_move(struct store *s, int reader)
{
    read_end(s, reader);
    read_begin(s, reader);
}

static const void *get(struct store *s, int reader, const void *key, size_t *value_len)
{
    sqlite3_stmt *statement = s->get[reader];
    sqlite3_reset(statement);
    sqlite3_bind_blob(statement, 1, key, (int)s->key_len, SQLITE_STATIC);
    int rc = sqlite3_step(statement);
    check(s->reader[reader], rc, "get");
    if (rc == SQLITE_DONE)
        return NULL;
    *value_len = (size_t)sqlite3_column_bytes(statement, 0);
    return sqlite3_column_blob(statement, 0);
}

static uint64_t sum_rows(sqlite3 *db, sqlite3_stmt *statement, uint64_t *records)
{
    uint64_t sum = 0, n = 0;
    int rc;
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
        sum += bench_scan_sum(sqlite3_column_blob(statement, 0), sqlite3_column_blob(statement, 1),
                              (size_t)sqlite3_column_bytes(statement, 1));
        n++;
    }
    check(db, rc, "scan");
    sqlite3_reset(statement);
    *records = n;
    return sum;
}

static uint64_t scan(struct store *s, uint64_t *records)
{
    return sum_rows(s->reader[0], ready_scan(s, 0), records);
}

static uint64_t scan_back(struct store *s, uint64_t *records)
{
    sqlite3 *db = s->reader[0];
    return sum_rows(db, ready(db, &s->scan_back, "SELECT k,v FROM t ORDER BY k DESC"), records);
}

static uint64_t range(struct store *s, const void *key, uint64_t n, uint64_t *records)
{
    sqlite3 *db = s->reader[0];
    ready(db, &s->range, "SELECT k,v FROM t WHERE k>=? ORDER BY k LIMIT ?");
    sqlite3_bind_blob(s->range, 1, key, (int)s->key_len, SQLITE_STATIC);
    sqlite3_bind_int64(s->range, 2, (sqlite3_int64)n);
    return sum_rows(db, s->range, records);
}

static uint64_t count(struct store *s)
{
    ready(s->reader[0], &s->count, "SELECT count(*) FROM t");
    check(s->reader[0], sqlite3_step(s->count), "count");
    uint64_t n = (uint64_t)sqlite3_column_int64(s->count, 0);
    sqlite3_reset(s->count);
    return n;
}

static void each(struct store *s, int reader, bench_visit *visit, void *context)
{
    sqlite3_stmt *statement = ready_scan(s, reader);
    int rc;
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW)
        visit(context, sqlite3_column_blob(statement, 0), sqlite3_column_blob(statement, 1),
              (size_t)sqlite3_column_bytes(statement, 1));
    check(s->reader[reader], rc, "scan");
    sqlite3_reset(statement);
}

static uint64_t file_size(struct store *s)
{
    return bench_disk_size(s->path);
}

static void compact(struct store *s)
{
    run(writer(s), "VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");
}

const struct engine bench_sqlite = {
    .name = "sqlite",
    .version = version,
    .processes = true,
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
    .count = count,
    .each = each,
    .file_size = file_size,
    .compact = compact,
};
#endif
