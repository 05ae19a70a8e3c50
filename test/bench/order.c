/* order.c - entries by number: rank, nth and the count of a range in a board of scores, and beside it
 * Redis' sorted set through its Unix socket. kv is in the process that asks and Redis is not: a
 * call is compared with a round trip, which is what their users get; `pipelined` shows Redis with 100
 * commands on each trip. The times are those of the fastest
 * of 31 rounds of 1,000 calls, which other programs on the machine disturbed least. */
#include "bench.h"
#include "kv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CALLS = 1000, ROUNDS = 31, PIPELINE = 100, KEY_SIZE = 20 };

/* ---- the board: entry i has the score i and some name ---- */

static void board_name(uint64_t i, char name[13])
{
    uint64_t spread = (i + 1) * 0x9e3779b97f4a7c15;
    snprintf(name, 13, "%012llx", (unsigned long long)(spread >> 16));
}

static void board_key(uint64_t i, unsigned char key[KEY_SIZE])
{
    char name[13];
    for (int byte = 0; byte < 8; byte++)
        key[byte] = (unsigned char)(i >> (56 - 8 * byte));
    board_name(i, name);
    memcpy(key + 8, name, 12);
}

/* Each round asks for other entries, the same ones of both. */
static uint64_t asked(const struct options *o, int round, int call)
{
    uint64_t x = (uint64_t)(round * CALLS + call + 1) * 0x9e3779b97f4a7c15;
    return (x ^ x >> 29) % o->n;
}

enum what { RANK, NTH, COUNT, WHATS };
static const char *const what_names[] = {"rank", "nth", "count"};

/* ---- kv ---- */

static void must(int rc, const char *what)
{
    if (rc != KV_OK)
        bench_die("%s: %s", what, kv_strerror(rc));
}

static void kv_load(const struct options *o, kv_db *db)
{
    unsigned char key[KEY_SIZE];
    struct order order = bench_order(o->n, 1);
    kv_txn *txn;
    must(kv_txn_begin(db, KV_TXN_WRITE, &txn), "begin");
    for (uint64_t i = 0; i < o->n; i++) {
        board_key(bench_order_at(&order, i), key);
        must(kv_put(kv_txn_main(txn), key, KEY_SIZE, NULL, 0, 0), "put");
    }
    must(kv_txn_commit(txn), "commit");
}

static void kv_ask(const struct options *o, kv_tree *tree, enum what what, uint64_t i)
{
    unsigned char from[KEY_SIZE], to[KEY_SIZE];
    uint64_t number, end = i + (o->n - i) / 2;
    kv_pair pair;
    board_key(i, from);
    if (what == RANK) {
        must(kv_rank(tree, from, KEY_SIZE, &number), "rank");
    } else if (what == NTH) {
        must(kv_nth(tree, NULL, i, &pair), "nth");
        number = memcmp(pair.key.ptr, from, KEY_SIZE) == 0 ? i : o->n;
    } else {
        const kv_range range = {
            .size = sizeof range, .from = from, .from_len = 8, .to = to, .to_len = 8};
        board_key(end, to);
        must(kv_count(tree, &range, &number), "count");
        number = number == end - i ? i : o->n;
    }
    if (number != i)
        bench_die("kv: %s of %llu is wrong", what_names[what], (unsigned long long)i);
}

static double fastest(const double *times)
{
    double least = times[0];
    for (int i = 1; i < ROUNDS; i++)
        least = times[i] < least ? times[i] : least;
    return least;
}

static double kv_round(const struct options *o, kv_tree *tree, enum what what, int round)
{
    double began = bench_now();
    for (int call = 0; call < CALLS; call++)
        kv_ask(o, tree, what, asked(o, round, call));
    return (bench_now() - began) / CALLS;
}

static void report(const struct options *o, const char *name, enum what what, double seconds)
{
    if (o->json)
        printf("{\"engine\":\"%s\",\"entries\":%llu,\"operation\":\"%s\",\"ns\":%.0f}\n", name,
               (unsigned long long)o->n, what_names[what], seconds * 1e9);
    else
        printf("%-16s %10llu entries  %-6s %9.0f ns\n", name, (unsigned long long)o->n,
               what_names[what], seconds * 1e9);
    fflush(stdout);
}

static void kv_measure(const struct options *o)
{
    char path[4096];
    double times[ROUNDS];
    kv_db *db;
    kv_txn *txn;
    const kv_options options = {.size = sizeof options,
                                .flags = KV_OPEN_CREATE | KV_OPEN_NO_CLOSE_SYNC,
                                .durability = KV_LAZY,
                                .memory_budget = UINT64_MAX};
    bench_path(path, sizeof path, o, "kv", "order");
    must(kv_db_open(path, &options, &db), "open");
    kv_load(o, db);
    must(kv_txn_begin(db, KV_TXN_READ, &txn), "begin");
    for (int what = 0; what < WHATS; what++) {
        for (int round = 0; round < ROUNDS; round++)
            times[round] = kv_round(o, kv_txn_main(txn), (enum what)what, round);
        report(o, "kv", (enum what)what, fastest(times));
    }
    kv_txn_abort(txn);
    must(kv_db_close(db), "close");
    bench_remove(path);
}

/* ---- Redis ---- */

struct redis {
    int fd;
    char out[1 << 16], in[1 << 16];
    size_t out_len, in_len, in_at;
};

static void redis_open(struct redis *r, const char *socket_path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path);
    memset(r, 0, sizeof *r);
    r->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (r->fd < 0 || connect(r->fd, (struct sockaddr *)&address, sizeof address) != 0)
        bench_die("no Redis at %s", socket_path);
}

static void redis_flush(struct redis *r)
{
    for (size_t at = 0; at < r->out_len;) {
        ssize_t n = write(r->fd, r->out + at, r->out_len - at);
        if (n <= 0)
            bench_die("Redis does not listen");
        at += (size_t)n;
    }
    r->out_len = 0;
}

static void redis_line(struct redis *r, char *line, size_t size)
{
    for (size_t len = 0;;) {
        if (r->in_at == r->in_len) {
            ssize_t n = read(r->fd, r->in, sizeof r->in);
            if (n <= 0)
                bench_die("Redis does not answer");
            r->in_at = 0;
            r->in_len = (size_t)n;
        }
        char c = r->in[r->in_at++];
        if (c == '\n') {
            line[len] = 0;
            return;
        }
        if (c != '\r' && len < size - 1)
            line[len++] = c;
    }
}

/* An integer, or a list of one string, in which case true is what matters. */
static void redis_answer(struct redis *r, char *line, size_t size)
{
    redis_line(r, line, size);
    if (line[0] == '-')
        bench_die("Redis: %s", line);
    if (line[0] == '*') {
        redis_line(r, line, size); /* its length */
        redis_line(r, line, size);
    }
}

static void redis_ask(const struct options *o, struct redis *r, enum what what, uint64_t i)
{
    char name[13];
    unsigned long long n = (unsigned long long)i, end = i + (o->n - i) / 2;
    char *out = r->out + r->out_len;
    size_t room = sizeof r->out - r->out_len;
    board_name(i, name);
    int len = what == RANK  ? snprintf(out, room, "ZRANK board %s\r\n", name)
              : what == NTH ? snprintf(out, room, "ZRANGE board %llu %llu\r\n", n, n)
                            : snprintf(out, room, "ZCOUNT board %llu (%llu\r\n", n, end);
    r->out_len += (size_t)len;
}

static void redis_check(const struct options *o, struct redis *r, enum what what, uint64_t i)
{
    char line[128], name[13];
    redis_answer(r, line, sizeof line);
    board_name(i, name);
    uint64_t expected = what == RANK ? i : (o->n - i) / 2;
    bool right = what == NTH ? strcmp(line, name) == 0 : strtoull(line + 1, NULL, 10) == expected;
    if (!right)
        bench_die("Redis: %s of %llu is wrong: %s", what_names[what], (unsigned long long)i, line);
}

static double redis_round(const struct options *o, struct redis *r, enum what what, int round,
                          int pipeline)
{
    double began = bench_now();
    for (int call = 0; call < CALLS; call += pipeline) {
        for (int k = 0; k < pipeline; k++)
            redis_ask(o, r, what, asked(o, round, call + k));
        redis_flush(r);
        for (int k = 0; k < pipeline; k++)
            redis_check(o, r, what, asked(o, round, call + k));
    }
    return (bench_now() - began) / CALLS;
}

static void redis_load(const struct options *o, struct redis *r)
{
    struct order order = bench_order(o->n, 1);
    char line[128], name[13];
    for (uint64_t i = 0; i < o->n; i++) {
        uint64_t entry = bench_order_at(&order, i);
        board_name(entry, name);
        r->out_len += (size_t)snprintf(r->out + r->out_len, sizeof r->out - r->out_len,
                                       "ZADD board %llu %s\r\n", (unsigned long long)entry, name);
        if (i % 1000 != 999 && i != o->n - 1)
            continue;
        redis_flush(r);
        for (uint64_t k = i / 1000 * 1000; k <= i; k++)
            redis_answer(r, line, sizeof line);
    }
}

static void redis_measure(const struct options *o)
{
    static struct redis r;
    double times[ROUNDS];
    redis_open(&r, o->redis);
    redis_load(o, &r);
    for (int pipeline = 1; pipeline <= PIPELINE; pipeline *= PIPELINE) {
        for (int what = 0; what < WHATS; what++) {
            for (int round = 0; round < ROUNDS; round++)
                times[round] = redis_round(o, &r, (enum what)what, round, pipeline);
            report(o, pipeline > 1 ? "redis pipelined" : "redis", (enum what)what, fastest(times));
        }
    }
    close(r.fd);
}

int bench_by_number(const struct options *o)
{
    kv_measure(o);
    if (o->redis)
        redis_measure(o);
    return 0;
}
