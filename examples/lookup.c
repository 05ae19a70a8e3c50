/* lookup.c - a lookup table in one file: one process replaces it all, many processes look things up.
 *
 *     lookup [FILE [SECONDS [READERS]]]
 *
 * The table holds 1000 entries and its version. The writing process gives all of them a new version,
 * in one transaction, over and over. A reading process begins a transaction, looks entries up, and
 * compares their version with that of the table: were a half-done change visible, one would differ.
 *
 * The processes are made BEFORE the file is opened, and each opens it for itself: an open database
 * does not survive a fork. Exit status: 0 when each snapshot was of one version.
 */
#include <kv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ENTRIES = 1000, LOOKUPS = 200, READERS_MAX = 1000 };

/* What a process tells the one that started it. */
struct report {
    uint64_t commits, snapshots, lookups;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static _Noreturn void die(kv_db *db, const char *what, int rc)
{
    char message[256] = "";
    kv_db_errmsg(db, message, sizeof message);
    fprintf(stderr, "lookup: %s: %s %s\n", what, kv_strerror(rc), message);
    _exit(1);
}

static void check(kv_db *db, const char *what, int rc)
{
    if (rc != KV_OK)
        die(db, what, rc);
}

static kv_db *table_open(const char *path, uint32_t flags)
{
    kv_options options = {.size = sizeof options, .flags = flags, .durability = KV_LAZY};
    char message[256];
    kv_db *db;
    if (kv_db_open_explain(path, &options, &db, message, sizeof message) == KV_OK)
        return db;
    fprintf(stderr, "lookup: %s: %s\n", path, message);
    _exit(1);
}

/* ---- writing ---- */

static uint64_t version_of(kv_db *db, kv_tree *tree, const char *key)
{
    kv_slice value;
    uint64_t version;
    check(db, "look up", kv_get(tree, key, strlen(key), &value));
    if (value.len < sizeof version)
        die(db, "an entry", KV_ECORRUPT);
    memcpy(&version, value.ptr, sizeof version); /* a view need not be aligned */
    return version;
}

static void table_replace(kv_db *db, uint64_t version)
{
    char key[16];
    kv_txn *txn;
    check(db, "begin", kv_txn_begin(db, KV_TXN_WRITE, &txn));
    kv_tree *tree = kv_txn_main(txn);
    check(db, "put", kv_put(tree, "version", 7, &version, sizeof version, 0));
    for (int i = 0; i < ENTRIES; i++) {
        int len = snprintf(key, sizeof key, "entry %d", i);
        check(db, "put", kv_put(tree, key, (size_t)len, &version, sizeof version, 0));
    }
    check(db, "commit", kv_txn_commit(txn));
}

static struct report write_until(const char *path, double end)
{
    struct report report = {0};
    kv_db *db = table_open(path, 0);
    for (uint64_t version = 1; now() < end; version++, report.commits++)
        table_replace(db, version);
    check(db, "close", kv_db_close(db));
    return report;
}

/* ---- reading ---- */

static void snapshot_verify(kv_db *db, kv_tree *tree, unsigned *random)
{
    char key[16];
    uint64_t version = version_of(db, tree, "version");
    for (int i = 0; i < LOOKUPS; i++) {
        *random = *random * 1103515245u + 12345u;
        snprintf(key, sizeof key, "entry %u", (*random >> 16) % ENTRIES);
        if (version_of(db, tree, key) != version)
            die(db, "a snapshot of two versions", KV_MISMATCH);
    }
}

static struct report read_until(const char *path, double end)
{
    struct report report = {0};
    unsigned random = (unsigned)getpid();
    kv_db *db = table_open(path, KV_OPEN_READONLY);
    while (now() < end) {
        kv_txn *txn;
        check(db, "begin", kv_txn_begin(db, KV_TXN_READ, &txn));
        snapshot_verify(db, kv_txn_main(txn), &random);
        kv_txn_abort(txn);
        report.snapshots++;
        report.lookups += LOOKUPS + 1;
    }
    check(db, "close", kv_db_close(db));
    return report;
}

/* ---- the processes ---- */

static bool start(struct report (*run)(const char *path, double end), const char *path, double end,
                  int pipe)
{
    pid_t child = fork();
    if (child != 0)
        return child > 0;
    struct report report = run(path, end);
    _exit(write(pipe, &report, sizeof report) == (ssize_t)sizeof report ? 0 : 1);
}

static void create(const char *path)
{
    kv_db *db = table_open(path, KV_OPEN_CREATE);
    table_replace(db, 0);
    check(db, "close", kv_db_close(db));
}

static int run_for(const char *path, double seconds, int readers)
{
    struct report all = {0}, one;
    int pipes[2], status, started = 0, failed = 0;
    create(path); /* and close: nothing is open when the processes begin */
    if (pipe(pipes) != 0)
        return 1;
    double begin = now();
    started += start(write_until, path, begin + seconds, pipes[1]);
    while (started <= readers && start(read_until, path, begin + seconds, pipes[1]))
        started++;
    close(pipes[1]);
    while (read(pipes[0], &one, sizeof one) == (ssize_t)sizeof one) {
        all.commits += one.commits;
        all.snapshots += one.snapshots;
        all.lookups += one.lookups;
    }
    while (wait(&status) > 0)
        failed += status != 0;
    double took = now() - begin;
    if (failed || started <= readers) {
        fprintf(stderr, "lookup: %d of %d processes failed\n", failed, started);
        return 1;
    }
    printf("%d reading processes: %.0f lookups/s in %llu snapshots, each of one version\n", readers,
           (double)all.lookups / took, (unsigned long long)all.snapshots);
    printf("1 writing process: %.0f versions/s of %d entries\n", (double)all.commits / took,
           ENTRIES);
    return 0;
}

int main(int argc, char **argv)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/lookup.kv", folder ? folder : "/tmp");
    if (argc > 1)
        snprintf(path, sizeof path, "%s", argv[1]);
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 2;
    int readers = argc > 3 ? atoi(argv[3]) : 4;
    if (argc > 4 || !(seconds > 0) || readers < 1 || readers > READERS_MAX) {
        fprintf(stderr, "usage: lookup [FILE [SECONDS [READERS]]]\n");
        return 2;
    }
    return run_for(path, seconds, readers);
}
