/* sessions.c - a session store that has been at work for long: logins, requests that put the end of a
 * session off, and sweeps, until all sessions have been replaced many times. How large is the file
 * beside what is in it?
 *
 * A login comes each millisecond, by a clock of the benchmark's own, with a request of a random earlier
 * session. A session lasts as many milliseconds as there are records, from its newest request on. */
#include "bench.h"

#include "../../src/db.h" /* Berkeley DB has one, too */

#include <kv.h>
#include <string.h>

struct server {
    const struct options *o;
    kvi_os os; /* the real one, but for the clock */
    kv_db *db;
    struct options keys; /* of all sessions there will be */
    struct order ids, requests;
    uint64_t logins, per_commit;
};

static _Atomic uint64_t now_ms;

static uint64_t clock_ms(const kvi_os *os)
{
    (void)os;
    return now_ms;
}

/* Random bytes, for the sessions come in no order. */
static void key_of(struct server *s, uint64_t session, unsigned char *key)
{
    bench_key(&s->keys, bench_order_at(&s->ids, session), key);
}

static void login(struct server *s, kv_tree *tree)
{
    const struct options *o = s->o;
    unsigned char key[KEY_MAX], value[VALUE_MAX];
    kv_put_options until = {.size = sizeof until, .ttl_ms = o->n};
    key_of(s, s->logins, key);
    bench_value(o, s->logins, 0, value);
    bench_must(s->db, kv_put_with(tree, key, o->key_len, value, o->value_len, &until), "put");
    s->logins++;
    now_ms++;
}

/* One of the newest n sessions; it may have ended. */
static void request(struct server *s, kv_tree *tree)
{
    const struct options *o = s->o;
    unsigned char key[KEY_MAX];
    kv_slice value;
    uint64_t back = bench_order_at(&s->requests, s->logins % o->n);
    key_of(s, s->logins > back ? s->logins - 1 - back : 0, key);
    int rc = kv_get(tree, key, o->key_len, &value);
    if (rc == KV_OK)
        bench_must(s->db, kv_touch(tree, key, o->key_len, o->n, o->n / 10), "touch");
    else if (rc != KV_NOTFOUND)
        bench_must(s->db, rc, "get");
}

static void commit_some(struct server *s)
{
    kv_sweep_options some = {.size = sizeof some, .max_entries = 2 * s->per_commit};
    kv_txn *txn;
    bench_must(s->db, kv_txn_begin(s->db, KV_TXN_WRITE, &txn), "begin");
    kv_tree *tree = kv_txn_main(txn);
    for (uint64_t i = 0; i < s->per_commit; i++) {
        login(s, tree);
        request(s, tree);
    }
    bench_must(s->db, kv_sweep(tree, &some, NULL), "sweep");
    bench_must(s->db, kv_txn_commit(txn), "commit");
}

static void print_turnover(struct server *s, int turnover, double seconds)
{
    const struct options *o = s->o;
    kv_db_info file = {.size = sizeof file};
    uint64_t live;
    kv_txn *txn;
    bench_must(s->db, kv_db_stat(s->db, &file), "stat");
    bench_must(s->db, kv_txn_begin(s->db, KV_TXN_READ, &txn), "begin");
    bench_must(s->db, kv_count(kv_txn_main(txn), NULL, &live), "count");
    kv_txn_abort(txn);
    double bytes = (double)(live * (o->key_len + o->value_len));
    double leaves = (double)(file.leaf_pages * file.page_size), size = (double)file.file_size;
    if (o->json)
        printf("{\"mode\":\"sessions\",\"turnover\":%d,\"sessions\":%llu,\"live\":%.0f,"
               "\"leaves\":%.0f,\"file\":%.0f,\"ratio\":%.3f,\"logins_per_s\":%.0f}\n",
               turnover, (unsigned long long)live, bytes, leaves, size, size / bytes,
               (double)o->n / seconds);
    else
        printf("%8d %10llu %8.1f %8.1f %8.1f %8.2f %10.0f\n", turnover, (unsigned long long)live,
               bytes / 1e6, leaves / 1e6, size / 1e6, size / bytes, (double)o->n / seconds);
    fflush(stdout);
}

static void serve(void *context, void *result)
{
    struct server *s = context;
    char path[4096];
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
    bench_path(path, sizeof path, s->o, "kv", "sessions");
    bench_remove(path);
    bench_must(s->db, kvi_db_open(&s->os, path, &options, &s->db, NULL, 0), "open");
    for (int turnover = 1; turnover <= s->o->overwrites; turnover++) {
        double start = bench_now();
        for (uint64_t i = 0; i < s->o->n; i += s->per_commit)
            commit_some(s);
        print_turnover(s, turnover, bench_now() - start);
    }
    bench_must(s->db, kv_db_close(s->db), "close");
    bench_remove(path);
    *(bool *)result = true;
}

int bench_sessions(const struct options *o)
{
    uint64_t per_commit = o->n / o->commits + (o->n % o->commits > 0);
    uint64_t all = (o->n + per_commit) * (uint64_t)o->overwrites;
    struct server s = {.o = o,
                       .os = kvi_os_posix,
                       .keys = *o,
                       .ids = bench_order(all, 2),
                       .per_commit = per_commit,
                       .requests = bench_order(o->n, 1)};
    bool done;
    s.keys.n = all;
    now_ms = 1700000000000;
    s.os.clock_ms = s.os.tick_ms = clock_ms;
    if (!o->json) {
        bench_print_machine(o, stdout);
        printf("a login and a request each millisecond, %llu of them in a durable commit that "
               "sweeps\n\n"
               "%8s %10s %8s %8s %8s %8s %10s\n",
               (unsigned long long)per_commit, "turnover", "sessions", "live MB", "leaves",
               "file MB", "ratio", "logins/s");
        fflush(stdout);
    }
    return bench_apart(serve, &s, &done, sizeof done) ? 0 : 1;
}
