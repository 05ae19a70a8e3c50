/* counters.c - page views, counted from many threads: counters [FILE [THREADS [VIEWS]]]
 *
 * A view is on the disk when it has been counted. That costs a flush, but views that arrive while one
 * is under way share the next: kv_db_write commits them together. */
#include <kv.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define THREADS_MAX 64

static const char *const pages[] = {"/", "/docs", "/download", "/blog"};

typedef struct visitor {
    kv_db *db;
    unsigned number, views;
    int result;
} visitor;

/* One view: of the page, and of the whole site. Text, so that `kv scan` shows it. */
static int count_view(kv_db *db, const char *page)
{
    kv_op ops[] = {
        {.kind = KV_OP_INCR, .flags = KV_NUMBER_TEXT, .key = {page, strlen(page)}, .number = 1},
        {.kind = KV_OP_INCR, .flags = KV_NUMBER_TEXT, .key = {"total", 5}, .number = 1},
    };
    return kv_db_write(db, ops, 2, 0, NULL);
}

static void *visit(void *context)
{
    visitor *v = context;
    for (unsigned i = 0; i < v->views && v->result == KV_OK; i++)
        v->result = count_view(v->db, pages[(i + v->number) % (sizeof pages / sizeof *pages)]);
    return NULL;
}

/* All visitors at once; the seconds that they took, or a negative number. */
static double let_in(kv_db *db, unsigned n, unsigned views)
{
    pthread_t threads[THREADS_MAX];
    visitor visitors[THREADS_MAX];
    struct timespec from, to;
    int result = KV_OK;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (unsigned i = 0; i < n; i++) {
        visitors[i] = (visitor){.db = db, .number = i, .views = views};
        if (pthread_create(&threads[i], NULL, visit, &visitors[i]) != 0)
            exit(1);
    }
    for (unsigned i = 0; i < n; i++) {
        pthread_join(threads[i], NULL);
        if (visitors[i].result != KV_OK)
            result = visitors[i].result;
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    if (result != KV_OK)
        fprintf(stderr, "counters: %s\n", kv_strerror(result));
    double seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    return result == KV_OK ? seconds : -1;
}

static int print(kv_db *db)
{
    kv_txn *txn;
    kv_cursor *cursor;
    kv_slice page, views;
    if (kv_txn_begin(db, KV_TXN_READ, &txn) != KV_OK)
        return 1;
    int result = kv_cursor_open(kv_txn_main(txn), NULL, &cursor);
    while (result == KV_OK && (result = kv_cursor_next(cursor)) == KV_OK &&
           (result = kv_cursor_get(cursor, &page, &views)) == KV_OK)
        printf("%-10.*s %.*s\n", (int)page.len, (const char *)page.ptr, (int)views.len,
               (const char *)views.ptr);
    kv_txn_abort(txn);
    return result != KV_NOTFOUND;
}

int main(int argc, char **argv)
{
    unsigned threads = argc > 2 ? (unsigned)atoi(argv[2]) : 4;
    unsigned views = argc > 3 ? (unsigned)atoi(argv[3]) : 250;
    char message[256];
    kv_db *db;
    if (threads < 1 || threads > THREADS_MAX) {
        fprintf(stderr, "usage: counters [FILE [THREADS [VIEWS]]], up to %d threads\n",
                THREADS_MAX);
        return 2;
    }
    const char *path = argc > 1 ? argv[1] : "counters.kv";
    if (kv_db_open_explain(path, NULL, &db, message, sizeof message) != KV_OK) {
        fprintf(stderr, "counters: %s\n", message);
        return 1;
    }
    double seconds = let_in(db, threads, views);
    kv_db_info info = {.size = sizeof info};
    int failed = seconds < 0 || print(db) || kv_db_stat(db, &info) != KV_OK;
    if (!failed)
        printf("%u views by %u threads, durable: %.0f a second, %.1f to a flush\n", threads * views,
               threads, threads * views / seconds, (double)info.batches / (double)info.flushes);
    return kv_db_close(db) != KV_OK || failed;
}
