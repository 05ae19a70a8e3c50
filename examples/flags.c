/* flags.c - feature flags: one process flips them, all others see it at once.
 *
 *     flags                     a server with two workers, flipped from here: see it happen
 *     flags set NAME on|off     flips a flag
 *     flags follow              prints every flag, then each that is flipped, until it is killed
 *
 * They are kept in the file that $FLAGS names, flags.kv by default. A worker asks is_on() wherever it
 * needs a flag; that is a lookup in its own memory, brought up to date by a thread that sleeps in
 * kv_watch_next. It polls nothing, and misses nothing: what it reads first and what the watch reports
 * later are snapshots of the same history.
 */
#include <kv.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *flags_path(void)
{
    const char *path = getenv("FLAGS");
    return path ? path : "flags.kv";
}

static int fail(kv_db *db, const char *what, int rc)
{
    char message[256] = "";
    kv_db_errmsg(db, message, sizeof message);
    fprintf(stderr, "flags: %s: %s\n", what, *message ? message : kv_strerror(rc));
    return 1;
}

static int flags_open(kv_db **db)
{
    int rc = kv_db_open(flags_path(), NULL, db);
    return rc == KV_OK ? 0 : fail(*db, flags_path(), rc);
}

static int flag_set(kv_db *db, const char *name, const char *value)
{
    kv_op op = {.kind = KV_OP_PUT, .key = {name, strlen(name)}, .value = {value, strlen(value)}};
    int rc = kv_db_write(db, &op, 1, 0, NULL);
    return rc == KV_OK ? 0 : fail(db, name, rc);
}

/* ---- the flags that a program knows ---- */

enum { FLAG_DARK, FLAG_SEARCH, FLAGS };

static const char *const names[FLAGS] = {"dark", "search"};
static _Atomic int flags[FLAGS];

static int is_on(int flag)
{
    return atomic_load_explicit(&flags[flag], memory_order_relaxed);
}

/* From one snapshot, so that flags that were flipped together are seen together. */
static void flags_read(kv_txn *txn)
{
    for (int flag = 0; flag < FLAGS; flag++) {
        kv_slice value;
        int rc = kv_get(kv_txn_main(txn), names[flag], strlen(names[flag]), &value);
        int on = rc == KV_OK && value.len == 2 && memcmp(value.ptr, "on", 2) == 0;
        atomic_store_explicit(&flags[flag], on, memory_order_relaxed);
    }
}

/* A thread of each worker. */
static void *flags_follow(void *watch)
{
    kv_watch_event event = {.size = sizeof event};
    while (kv_watch_next(watch, KV_FOREVER, &event) == KV_OK)
        flags_read(event.to);
    return NULL;
}

/* ---- a worker: works until `search` is on and `dark` is off ---- */

static int worker(int number)
{
    kv_db *db;
    kv_watch *watch;
    pthread_t follower;
    if (flags_open(&db) != 0)
        return 1;
    int rc = kv_watch_open(db, NULL, &watch);
    if (rc != KV_OK)
        return fail(db, "watching", rc);
    flags_read(kv_watch_txn(watch));
    if (pthread_create(&follower, NULL, flags_follow, watch) != 0)
        return 1;
    while (!is_on(FLAG_SEARCH) || is_on(FLAG_DARK))
        usleep(100); /* its work */
    printf("worker %d: search is on, dark is off\n", number);
    kv_watch_cancel(watch);
    pthread_join(follower, NULL);
    kv_watch_close(watch);
    return kv_db_close(db) == KV_OK ? 0 : 1;
}

static int demonstrate(void)
{
    pid_t workers[2];
    kv_db *db;
    int failed = 0;
    fflush(stdout);
    for (int i = 0; i < 2; i++) { /* fork first, open then: a handle is its process's own */
        workers[i] = fork();
        if (workers[i] == 0) {
            failed = worker(i + 1);
            fflush(stdout);
            _exit(failed);
        }
    }
    if (flags_open(&db) != 0)
        return 1;
    failed += flag_set(db, "dark", "on");
    failed += flag_set(db, "search", "on");
    failed += flag_set(db, "dark", "off");
    for (int i = 0; i < 2; i++) {
        int status;
        failed += waitpid(workers[i], &status, 0) != workers[i] || status != 0;
    }
    return kv_db_close(db) == KV_OK && failed == 0 ? 0 : 1;
}

/* ---- the other commands ---- */

static int print_change(void *context, const kv_change *change)
{
    (void)context;
    if (change->kind == KV_CHANGE_ADDED || change->kind == KV_CHANGE_VALUE)
        printf("%.*s %.*s\n", (int)change->key.len, (const char *)change->key.ptr,
               (int)change->new_value.len, (const char *)change->new_value.ptr);
    return 0;
}

static int print_all(kv_txn *txn)
{
    kv_cursor *cursor;
    kv_slice key, value;
    int rc = kv_cursor_open(kv_txn_main(txn), NULL, &cursor);
    if (rc != KV_OK)
        return rc;
    while ((rc = kv_cursor_next(cursor)) == KV_OK && kv_cursor_get(cursor, &key, &value) == KV_OK)
        printf("%.*s %.*s\n", (int)key.len, (const char *)key.ptr, (int)value.len,
               (const char *)value.ptr);
    kv_cursor_close(cursor);
    return rc == KV_NOTFOUND ? KV_OK : rc;
}

static int follow(void)
{
    kv_db *db;
    kv_watch *watch;
    kv_watch_event event = {.size = sizeof event};
    kv_diff_options options = {.size = sizeof options, .tree = "", .change = print_change};
    if (flags_open(&db) != 0)
        return 1;
    int rc = kv_watch_open(db, NULL, &watch);
    if (rc == KV_OK)
        rc = print_all(kv_watch_txn(watch));
    while (rc == KV_OK) {
        fflush(stdout);
        rc = kv_watch_next(watch, KV_FOREVER, &event);
        if (rc == KV_OK)
            rc = kv_diff(event.from, event.to, &options, NULL);
    }
    return fail(db, "watching", rc);
}

static int set(const char *name, const char *value)
{
    kv_db *db;
    if (flags_open(&db) != 0)
        return 1;
    int failed = flag_set(db, name, value);
    return kv_db_close(db) == KV_OK && failed == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 1)
        return demonstrate();
    if (argc == 2 && strcmp(argv[1], "follow") == 0)
        return follow();
    if (argc == 4 && strcmp(argv[1], "set") == 0 &&
        (strcmp(argv[3], "on") == 0 || strcmp(argv[3], "off") == 0))
        return set(argv[2], argv[3]);
    fprintf(stderr, "usage: flags [set NAME on|off | follow]\n");
    return 2;
}
