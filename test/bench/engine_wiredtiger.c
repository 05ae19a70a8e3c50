/* engine_wiredtiger.c - WiredTiger as its tuning guide and MongoDB set it up: leaf pages of 32 KiB,
 * memory pages of 10 MiB, splits at 90 %, a log that a durable commit syncs, a bulk cursor for sorted
 * input into a new table, a session with its cursor for each thread. */
#include "bench.h"

#if __has_include(<wiredtiger.h>)
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <wiredtiger.h>

static const char table[] = "table:records";

struct handle {
    WT_SESSION *session;
    WT_CURSOR *cursor;
};

struct store {
    size_t key_len;
    char *path;
    WT_CONNECTION *connection;
    WT_CURSOR *bulk; /* while sorted input comes */
    bool writing;    /* within a transaction */
    struct handle writer, reader[READERS_MAX];
};

static void check(int rc, const char *what)
{
    if (rc != 0)
        bench_die("wiredtiger: %s: %s", what, wiredtiger_strerror(rc));
}

static const char *version(void)
{
    static char text[32];
    int major, minor, patch;
    wiredtiger_version(&major, &minor, &patch);
    snprintf(text, sizeof text, "%d.%d.%d", major, minor, patch);
    return text;
}

static void session_open(struct store *s, struct handle *h)
{
    if (!h->session)
        check(s->connection->open_session(s->connection, NULL, "isolation=snapshot", &h->session),
              "open a session");
}

static WT_CURSOR *cursor_here(struct store *s, struct handle *h)
{
    session_open(s, h);
    if (!h->cursor)
        check(h->session->open_cursor(h->session, table, NULL, "overwrite=true", &h->cursor),
              "open a cursor");
    return h->cursor;
}

static struct store *store_open(const struct options *o, const char *path, unsigned flags)
{
    struct store *s = bench_alloc(sizeof *s);
    char config[256];
    s->key_len = o->key_len;
    s->path = strdup(path);
    mkdir(path, 0755);
    snprintf(config, sizeof config,
             "create,cache_size=2G,eviction=(threads_min=2,threads_max=4),"
             "log=(enabled=true,file_max=64MB,prealloc=false),transaction_sync=(enabled=%s,method="
             "fsync),"
             "checkpoint=(wait=60,log_size=1GB)",
             flags & STORE_LAZY ? "false" : "true");
    check(wiredtiger_open(path, NULL, config, &s->connection), "open");
    session_open(s, &s->writer);
    check(s->writer.session->create(s->writer.session, table,
                                    "key_format=u,value_format=u,leaf_page_max=32KB,"
                                    "memory_page_max=10MB,split_pct=90"),
          "create the table");
    return s;
}

static void store_close(struct store *s)
{
    check(s->connection->close(s->connection, NULL), "close");
    free(s->path);
    free(s);
}

static void store_sync(struct store *s)
{
    check(s->writer.session->log_flush(s->writer.session, "sync=on"), "sync");
}

/* Not at once: a bulk cursor works outside of transactions, before any other cursor. */
static void write_begin(struct store *s)
{
    (void)s;
}

static void enter(struct store *s)
{
    if (s->writing)
        return;
    cursor_here(s, &s->writer);
    check(s->writer.session->begin_transaction(s->writer.session, NULL), "begin");
    s->writing = true;
}

static void write_commit(struct store *s)
{
    WT_SESSION *session = s->writer.session;
    if (s->bulk) {
        check(s->bulk->close(s->bulk), "end a bulk load");
        s->bulk = NULL;
        check(session->checkpoint(session, NULL), "checkpoint");
    }
    if (s->writing)
        check(session->commit_transaction(session, NULL), "commit");
    s->writing = false;
}

static void set_key(WT_CURSOR *cursor, const void *key, size_t len)
{
    WT_ITEM item = {.data = key, .size = len};
    cursor->set_key(cursor, &item);
}

static void put_by(struct store *s, WT_CURSOR *cursor, const void *key, const void *value,
                   size_t value_len)
{
    WT_ITEM k = {.data = key, .size = s->key_len}, v = {.data = value, .size = value_len};
    cursor->set_key(cursor, &k);
    cursor->set_value(cursor, &v);
    check(cursor->insert(cursor), "put");
}

static void put(struct store *s, const void *key, const void *value, size_t value_len)
{
    enter(s);
    put_by(s, s->writer.cursor, key, value, value_len);
}

static void append(struct store *s, const void *key, const void *value, size_t value_len)
{
    if (!s->bulk)
        check(s->writer.session->open_cursor(s->writer.session, table, NULL, "bulk", &s->bulk),
              "open a bulk cursor");
    put_by(s, s->bulk, key, value, value_len);
}

static void del(struct store *s, const void *key)
{
    enter(s);
    set_key(s->writer.cursor, key, s->key_len);
    check(s->writer.cursor->remove(s->writer.cursor), "delete");
}

static void retain(struct store *s, bench_keep *keep, void *context)
{
    WT_CURSOR *cursor;
    WT_ITEM key, value;
    int rc;
    enter(s);
    cursor = s->writer.cursor;
    check(cursor->reset(cursor), "reset a cursor");
    while ((rc = cursor->next(cursor)) == 0) {
        check(cursor->get_key(cursor, &key), "key");
        check(cursor->get_value(cursor, &value), "value");
        if (!keep(context, key.data, value.data, value.size))
            check(cursor->remove(cursor), "delete");
    }
    if (rc != WT_NOTFOUND)
        check(rc, "scan");
}

/* Its cursors' single operations are transactions; a session belongs to a thread. */
static void write_one(struct store *s, const void *key, const void *value, size_t value_len)
{
    static _Thread_local struct {
        struct store *of;
        struct handle handle;
    } mine;
    if (mine.of != s) {
        mine.of = s;
        mine.handle = (struct handle){NULL, NULL};
    }
    put_by(s, cursor_here(s, &mine.handle), key, value, value_len);
}

static void read_begin(struct store *s, int reader)
{
    struct handle *h = &s->reader[reader];
    cursor_here(s, h);
    check(h->session->begin_transaction(h->session, NULL), "begin to read");
}

static void read_end(struct store *s, int reader)
{
    struct handle *h = &s->reader[reader];
    check(h->cursor->reset(h->cursor), "reset a cursor");
    check(h->session->rollback_transaction(h->session, NULL), "end reading");
}

static void read_move(struct store *s, int reader)
{
    read_end(s, reader);
    read_begin(s, reader);
}

static const void *get(struct store *s, int reader, const void *key, size_t *value_len)
{
    WT_CURSOR *cursor = s->reader[reader].cursor;
    WT_ITEM value;
    set_key(cursor, key, s->key_len);
    int rc = cursor->search(cursor);
    if (rc == WT_NOTFOUND)
        return NULL;
    check(rc, "get");
    check(cursor->get_value(cursor, &value), "get");
    *value_len = value.size;
    return value.data;
}

typedef int step_fn(WT_CURSOR *cursor);

/* Visits at most n records, by step; the first one is where the cursor stands when placed. */
static uint64_t walk(WT_CURSOR *cursor, step_fn *step, bool placed, uint64_t n, bench_visit *visit,
                     void *context)
{
    WT_ITEM key, value;
    uint64_t found = 0;
    int rc = 0;
    for (; found < n && (placed || (rc = step(cursor)) == 0); placed = false, found++) {
        check(cursor->get_key(cursor, &key), "key");
        check(cursor->get_value(cursor, &value), "value");
        visit(context, key.data, value.data, value.size);
    }
    if (rc != WT_NOTFOUND)
        check(rc, "scan");
    return found;
}

static void each(struct store *s, int reader, bench_visit *visit, void *context)
{
    WT_CURSOR *cursor = s->reader[reader].cursor;
    check(cursor->reset(cursor), "reset a cursor");
    walk(cursor, cursor->next, false, UINT64_MAX, visit, context);
}

static void add(void *context, const void *key, const void *value, size_t value_len)
{
    *(uint64_t *)context += bench_scan_sum(key, value, value_len);
}

static uint64_t sum_all(struct store *s, step_fn *step, uint64_t *records)
{
    WT_CURSOR *cursor = s->reader[0].cursor;
    uint64_t sum = 0;
    check(cursor->reset(cursor), "reset a cursor");
    *records = walk(cursor, step, false, UINT64_MAX, add, &sum);
    return sum;
}

static uint64_t scan(struct store *s, uint64_t *records)
{
    return sum_all(s, s->reader[0].cursor->next, records);
}

static uint64_t scan_back(struct store *s, uint64_t *records)
{
    return sum_all(s, s->reader[0].cursor->prev, records);
}

static uint64_t range(struct store *s, const void *key, uint64_t n, uint64_t *records)
{
    WT_CURSOR *cursor = s->reader[0].cursor;
    uint64_t sum = 0;
    int where;
    set_key(cursor, key, s->key_len);
    int rc = cursor->search_near(cursor, &where);
    if (rc != WT_NOTFOUND)
        check(rc, "seek");
    /* Below the key: the next record is the first. */
    *records = rc == WT_NOTFOUND ? 0 : walk(cursor, cursor->next, where >= 0, n, add, &sum);
    return sum;
}

/* After a checkpoint, without the log: it holds nothing then, but is made at its full length. */
static uint64_t file_size(struct store *s)
{
    char path[4200];
    check(s->writer.session->checkpoint(s->writer.session, NULL), "checkpoint");
    snprintf(path, sizeof path, "%s/records.wt", s->path);
    return bench_disk_size(path);
}

static void compact(struct store *s)
{
    WT_SESSION *session = s->writer.session;
    check(session->checkpoint(session, NULL), "checkpoint");
    check(session->compact(session, table, "timeout=0"), "compact");
}

const struct engine bench_wiredtiger = {
    .name = "wiredtiger",
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
    .scan = scan,
    .scan_back = scan_back,
    .range = range,
    .each = each,
    .file_size = file_size,
    .compact = compact,
};
#endif
