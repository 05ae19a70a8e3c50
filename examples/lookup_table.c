/* lookup_table.c - a table in one file: one thread updates it, many look things up.
 *
 *     lookup_table [FILE [SECONDS [READERS]]]
 *
 * The table holds numbers under the keys 0 to 999, and their sum under the key "sum". The writer
 * changes a few numbers and the sum in each transaction, over and over. A reader begins a
 * transaction, adds up all numbers of its snapshot in an order of its own, and compares: were a
 * half-done change visible, or pages of two commits mixed, the sum would be wrong. Exit status: 0
 * when each snapshot added up, 1 when one did not or something failed.
 */
#include <kv.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ENTRIES = 1000, CHANGES = 16, READERS_MAX = 256 };

struct table {
    kv_db *db;
    atomic_bool stop;
    atomic_bool failed;
    atomic_ullong commits, snapshots, lookups;
};

static void fail(struct table *table, const char *what, int rc)
{
    char message[256] = "";
    kv_db_errmsg(table->db, message, sizeof message);
    fprintf(stderr, "lookup_table: %s: %s %s\n", what, kv_strerror(rc), message);
    atomic_store(&table->failed, true);
    atomic_store(&table->stop, true);
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* ---- a number under a key ---- */

static int number_get(kv_tree *tree, const char *key, uint64_t *number)
{
    kv_slice value;
    int rc = kv_get(tree, key, strlen(key), &value);
    if (rc != KV_OK)
        return rc;
    if (value.len != sizeof *number)
        return KV_ECORRUPT;
    memcpy(number, value.ptr, sizeof *number); /* a view need not be aligned */
    return KV_OK;
}

static int number_put(kv_tree *tree, const char *key, uint64_t number)
{
    return kv_put(tree, key, strlen(key), &number, sizeof number, 0);
}

static void entry_key(uint64_t entry, char key[8])
{
    snprintf(key, 8, "%u", (unsigned)(entry % ENTRIES));
}

/* ---- the writer ---- */

static int table_fill(kv_tree *tree)
{
    char key[8];
    int rc = number_put(tree, "sum", 0);
    for (uint64_t i = 0; i < ENTRIES && rc == KV_OK; i++) {
        entry_key(i, key);
        rc = number_put(tree, key, 0);
    }
    return rc;
}

/* Gives some entries new numbers and keeps the sum right. */
static int table_change(kv_tree *tree, uint64_t *random)
{
    char key[8];
    uint64_t sum, old;
    int rc = number_get(tree, "sum", &sum);
    for (int i = 0; i < CHANGES && rc == KV_OK; i++) {
        uint64_t number = random_next(random);
        entry_key(random_next(random), key);
        rc = number_get(tree, key, &old);
        if (rc == KV_OK)
            rc = number_put(tree, key, number);
        sum += number - old; /* unsigned: wraps, and adds up all the same */
    }
    return rc == KV_OK ? number_put(tree, "sum", sum) : rc;
}

/* One transaction. random == NULL: fill the table, else change it. */
static int table_commit(kv_db *db, uint64_t *random)
{
    kv_txn *txn;
    int rc = kv_txn_begin(db, KV_TXN_WRITE, &txn);
    if (rc != KV_OK)
        return rc;
    kv_tree *tree = kv_txn_main(txn);
    rc = random ? table_change(tree, random) : table_fill(tree);
    if (rc == KV_OK)
        return kv_txn_commit(txn);
    kv_txn_abort(txn);
    return rc;
}

static void *writer_run(void *argument)
{
    struct table *table = argument;
    uint64_t random = 88172645463325252u;
    while (!atomic_load(&table->stop)) {
        int rc = table_commit(table->db, &random);
        if (rc != KV_OK)
            fail(table, "change", rc);
        else
            atomic_fetch_add(&table->commits, 1);
    }
    return NULL;
}

/* ---- the readers ---- */

/* Looks up every entry of one snapshot, from a random one on in random steps, and adds up. */
static int snapshot_verify(kv_txn *txn, uint64_t *random, bool *right)
{
    kv_tree *tree = kv_txn_main(txn);
    uint64_t sum, number, total = 0;
    uint64_t start = random_next(random) % ENTRIES;
    uint64_t step = random_next(random) % (ENTRIES / 10) * 10 + 7; /* prime to 1000: visits all */
    int rc = number_get(tree, "sum", &sum);
    for (uint64_t i = 0; i < ENTRIES && rc == KV_OK; i++) {
        char key[8];
        entry_key(start + i * step, key);
        rc = number_get(tree, key, &number);
        if (rc == KV_OK)
            total += number;
    }
    *right = total == sum;
    return rc;
}

static void *reader_run(void *argument)
{
    struct table *table = argument;
    uint64_t random = (uint64_t)(uintptr_t)&random; /* each thread has another */
    while (!atomic_load(&table->stop)) {
        kv_txn *txn;
        bool right = false;
        int rc = kv_txn_begin(table->db, KV_TXN_READ, &txn);
        if (rc == KV_OK) {
            rc = snapshot_verify(txn, &random, &right);
            kv_txn_abort(txn);
        }
        if (rc != KV_OK)
            fail(table, "look up", rc);
        else if (!right)
            fail(table, "a snapshot does not add up", KV_MISMATCH);
        atomic_fetch_add(&table->snapshots, 1);
        atomic_fetch_add(&table->lookups, ENTRIES + 1);
    }
    return NULL;
}

/* ---- all together ---- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Returns the seconds it took. */
static double run_for(struct table *table, double seconds, int readers)
{
    pthread_t writer, reader[READERS_MAX];
    double start = now();
    int started = 0;
    bool writing = pthread_create(&writer, NULL, writer_run, table) == 0;
    while (started < readers && !pthread_create(&reader[started], NULL, reader_run, table))
        started++;
    if (!writing || started < readers)
        fail(table, "start a thread", KV_ENOMEM);

    struct timespec step = {0, 10 * 1000 * 1000};
    while (now() - start < seconds && !atomic_load(&table->stop))
        nanosleep(&step, NULL);
    atomic_store(&table->stop, true);
    while (started > 0)
        pthread_join(reader[--started], NULL);
    if (writing)
        pthread_join(writer, NULL);
    return now() - start;
}

static int table_run(struct table *table, double seconds, int readers)
{
    int rc = table_commit(table->db, NULL);
    if (rc != KV_OK) {
        fail(table, "fill", rc);
        return 1;
    }
    double took = run_for(table, seconds, readers);
    if (atomic_load(&table->failed))
        return 1;
    printf("%d readers: %.0f lookups/s in %llu snapshots, each one whole\n", readers,
           (double)table->lookups / took, table->snapshots);
    printf("1 writer: %.0f commits/s of %d changes\n", (double)table->commits / took, CHANGES);
    return 0;
}

int main(int argc, char **argv)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/lookup_table.kv", folder ? folder : "/tmp");
    if (argc > 1)
        snprintf(path, sizeof path, "%s", argv[1]);
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 2;
    int readers = argc > 3 ? atoi(argv[3]) : 4;
    if (argc > 4 || !(seconds > 0) || readers < 1 || readers > READERS_MAX) {
        fprintf(stderr, "usage: lookup_table [FILE [SECONDS [READERS]]]\n");
        return 2;
    }

    struct table table = {0};
    char message[256];
    int rc = kv_db_open_explain(path, NULL, &table.db, message, sizeof message);
    if (rc != KV_OK) {
        fprintf(stderr, "lookup_table: %s: %s\n", path, message);
        return 1;
    }
    int status = table_run(&table, seconds, readers);
    rc = kv_db_close(table.db);
    if (rc != KV_OK)
        fprintf(stderr, "lookup_table: close: %s\n", kv_strerror(rc));
    return status != 0 || rc != KV_OK;
}
