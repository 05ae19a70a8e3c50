/* count.c - the main operations, each in a function of its own, for callgrind to count. Keys are
 * the same in each run; what the kernel does is not counted. */
#include <kv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum {
    N = 20000,
    KEY = 16,
    INTEGER = 8,
    PATH = 23,
    URL = 90,
    VALUE = 100,
    MANY = 64,
    COMMITS = 500
};

/* Not to be merged or left out, since it is known by its name. */
#define COUNTED __attribute__((noinline, noclone, used))

static unsigned char keys[N][KEY], sorted[N][KEY], value[VALUE];
static unsigned char integers[N][INTEGER], paths[N][PATH], urls[N][URL];
static kv_db *db;
static kv_txn *txn;
static kv_tree *tree;

static void must(int rc)
{
    if (rc != KV_OK) {
        fprintf(stderr, "count: %s\n", kv_strerror(rc));
        exit(1);
    }
}

static uint64_t spread(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, KEY);
}

static void begin(uint32_t flags)
{
    must(kv_txn_begin(db, flags, &txn));
    tree = kv_txn_main(txn);
}

/* ---- counted, each N operations unless it says otherwise ---- */

COUNTED static void count_load(void)
{
    for (size_t i = 0; i < N; i++)
        must(kv_put(tree, keys[i], KEY, value, VALUE, 0));
}

COUNTED static void count_load_sorted(void)
{
    for (size_t i = 0; i < N; i++)
        must(kv_put(tree, sorted[i], KEY, value, VALUE, 0));
}

static inline void get_all(const unsigned char *all, size_t len)
{
    kv_slice found;
    for (size_t i = 0; i < N; i++)
        must(kv_get(tree, all + i * len, len, &found));
}

COUNTED static void count_get(void)
{
    get_all(*keys, KEY);
}

COUNTED static void count_get_integer(void)
{
    get_all(*integers, INTEGER);
}

COUNTED static void count_get_path(void)
{
    get_all(*paths, PATH);
}

COUNTED static void count_get_url(void)
{
    get_all(*urls, URL);
}

COUNTED static void count_get_many(void)
{
    kv_slice in[MANY], found[MANY];
    for (size_t i = 0; i + MANY <= N; i += MANY) {
        for (size_t k = 0; k < MANY; k++)
            in[k] = (kv_slice){keys[i + k], KEY};
        must(kv_get_many(tree, MANY, in, found, NULL));
    }
}

COUNTED static void count_begin_end(void)
{
    kv_txn *reader;
    for (size_t i = 0; i < N; i++) {
        must(kv_txn_begin(db, KV_TXN_READ, &reader));
        kv_txn_abort(reader);
    }
}

COUNTED static void count_scan(void)
{
    kv_cursor *cursor;
    kv_slice k, v;
    must(kv_cursor_open(tree, NULL, &cursor));
    while (kv_cursor_next(cursor) == KV_OK)
        must(kv_cursor_get(cursor, &k, &v));
    kv_cursor_close(cursor);
}

COUNTED static void count_read(void)
{
    kv_cursor *cursor;
    kv_pair pairs[MANY];
    size_t got;
    must(kv_cursor_open(tree, NULL, &cursor));
    while (kv_cursor_read(cursor, pairs, MANY, &got) == KV_OK)
        continue;
    kv_cursor_close(cursor);
}

COUNTED static void count_back(void)
{
    kv_cursor *cursor;
    kv_slice k, v;
    must(kv_cursor_open(tree, NULL, &cursor));
    while (kv_cursor_prev(cursor) == KV_OK)
        must(kv_cursor_get(cursor, &k, &v));
    kv_cursor_close(cursor);
}

COUNTED static void count_seek(void)
{
    kv_cursor *cursor;
    kv_slice k, v;
    must(kv_cursor_open(tree, NULL, &cursor));
    for (size_t i = 0; i < N; i++) {
        must(kv_cursor_seek(cursor, KV_SEEK_GE, keys[i], KEY));
        must(kv_cursor_get(cursor, &k, &v));
    }
    kv_cursor_close(cursor);
}

/* A seek and nine steps. */
COUNTED static void count_seek_10(void)
{
    kv_cursor *cursor;
    kv_slice k, v;
    must(kv_cursor_open(tree, NULL, &cursor));
    for (size_t i = 0; i < N; i++) {
        int rc = kv_cursor_seek(cursor, KV_SEEK_GE, keys[i], KEY);
        for (unsigned n = 1; rc == KV_OK; n++) {
            must(kv_cursor_get(cursor, &k, &v));
            rc = n < 10 ? kv_cursor_next(cursor) : KV_NOTFOUND;
        }
    }
    kv_cursor_close(cursor);
}

/* The same, the nine at once. */
COUNTED static void count_seek_read(void)
{
    kv_cursor *cursor;
    kv_slice k, v;
    kv_pair pairs[9];
    size_t got;
    must(kv_cursor_open(tree, NULL, &cursor));
    for (size_t i = 0; i < N; i++) {
        must(kv_cursor_seek(cursor, KV_SEEK_GE, keys[i], KEY));
        must(kv_cursor_get(cursor, &k, &v));
        if (kv_cursor_read(cursor, pairs, 9, &got) < 0)
            exit(1);
    }
    kv_cursor_close(cursor);
}

static inline void commit_one_by_one(uint32_t flags)
{
    for (size_t i = 0; i < COMMITS; i++) {
        begin(KV_TXN_WRITE | flags);
        must(kv_put(tree, keys[i * 37 % N], KEY, value, VALUE, 0));
        must(kv_txn_commit(txn));
    }
}

/* COMMITS operations */
COUNTED static void count_commit_lazy(void)
{
    commit_one_by_one(KV_TXN_LAZY);
}

/* COMMITS operations */
COUNTED static void count_commit(void)
{
    commit_one_by_one(0);
}

COUNTED static void count_put_many(void)
{
    static kv_pair pairs[N];
    for (size_t i = 0; i < N; i++)
        pairs[i] = (kv_pair){{keys[i], KEY}, {value, VALUE}};
    must(kv_put_many(tree, N, pairs, 0));
}

COUNTED static void count_delete(void)
{
    for (size_t i = 0; i < N; i++)
        must(kv_del(tree, keys[i], KEY));
}

/* ---- what comes before ---- */

/* What the counts depend on; the processor is the one that callgrind shows. */
static int print_origin(void)
{
    printf("%s, xxhash %d.%d.%d,", __VERSION__, XXH_VERSION_MAJOR, XXH_VERSION_MINOR,
           XXH_VERSION_RELEASE);
#ifdef __x86_64__
#define FEATURE(name) printf("%s", __builtin_cpu_supports(name) ? " " name : "")
    printf(" x86_64");
    FEATURE("sse4.2");
    FEATURE("avx");
    FEATURE("avx2");
    FEATURE("bmi");
    FEATURE("bmi2");
    FEATURE("avx512vl");
    FEATURE("avx512bw");
#endif
    printf("\n");
    return 0;
}

static void make_random_keys(void)
{
    for (uint64_t i = 0; i < N; i++) {
        uint64_t words[2] = {spread(i), spread(spread(i))};
        memcpy(keys[i], words, KEY);
    }
    memcpy(sorted, keys, sizeof keys);
    qsort(sorted, N, KEY, by_bytes);
}

/* Of all numbers below N, in an order that is not theirs. */
static void make_speaking_keys(void)
{
    for (unsigned i = 0; i < N; i++) {
        unsigned number = i * 7919 % N;
        uint64_t word = __builtin_bswap64(number);
        char text[128];
        memcpy(integers[i], &word, INTEGER);
        snprintf(text, sizeof text, "user:%010u:profile", number);
        memcpy(paths[i], text, PATH);
        snprintf(text, sizeof text,
                 "https://www.example-%06u.org/articles/history/of/the/world/page-%08u-%010u.html",
                 number / 1000, number, (unsigned)(spread(number) >> 33));
        memcpy(urls[i], text, URL);
    }
}

static void load_tree(const char *name, const unsigned char *all, size_t len)
{
    must(kv_tree_open(txn, name, strlen(name), KV_TREE_CREATE, NULL, &tree));
    for (size_t i = 0; i < N; i++)
        must(kv_put(tree, all + i * len, len, value, VALUE, 0));
}

static void use_tree(const char *name)
{
    must(kv_tree_open(txn, name, strlen(name), 0, NULL, &tree));
}

/* ---- the operations in turn ---- */

static void read_all(void)
{
    begin(KV_TXN_READ);
    count_get();
    count_get_many();
    count_scan();
    count_read();
    count_back();
    count_seek();
    count_seek_10();
    count_seek_read();
    kv_txn_abort(txn);
    count_begin_end();
}

static void change_all(void)
{
    count_commit_lazy();
    count_commit();
    begin(KV_TXN_WRITE);
    count_put_many();
    kv_txn_abort(txn);
    begin(KV_TXN_WRITE);
    count_delete();
    count_load_sorted();
    must(kv_txn_commit(txn));
}

static void get_speaking_keys(void)
{
    make_speaking_keys();
    begin(KV_TXN_WRITE);
    load_tree("integers", *integers, INTEGER);
    load_tree("paths", *paths, PATH);
    load_tree("urls", *urls, URL);
    must(kv_txn_commit(txn));
    begin(KV_TXN_READ);
    use_tree("integers");
    count_get_integer();
    use_tree("paths");
    count_get_path();
    use_tree("urls");
    count_get_url();
    kv_txn_abort(txn);
}

/* With the path of a file that is not there; without one it tells what counts depend on. */
int main(int argc, char **argv)
{
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
    if (argc == 1)
        return print_origin();
    if (argc != 2)
        return 2;
    make_random_keys();
    memset(value, 7, sizeof value);
    must(kv_db_open(argv[1], &options, &db));
    begin(KV_TXN_WRITE);
    count_load();
    must(kv_txn_commit(txn));
    read_all();
    change_all();
    get_speaking_keys();
    must(kv_db_close(db));
    return 0;
}
