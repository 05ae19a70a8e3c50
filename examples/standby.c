/* standby.c - a warm standby: a second database follows the first one, ready to take its place.
 *
 * The primary sends what each commit changed down a pipe; the standby applies it, each in one
 * transaction, and serves readers meanwhile. Here both are processes of one machine. Between machines
 * the pipe is ssh, and the command does the same without a program:
 *
 *     kv backup orders.kv --follow | ssh standby kv follow orders.kv
 *
 * A standby that was away asks for what it missed: kv_db_info.origin_id tells the last commit that it
 * has, and the primary needs nothing but that number.
 */
#include <kv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define DAYS   5
#define ORDERS 1000 /* a day */

static void must(int rc, const char *what)
{
    if (rc == KV_OK)
        return;
    fprintf(stderr, "standby: %s: %s\n", what, kv_strerror(rc));
    exit(1);
}

static kv_db *open_db(const char *path)
{
    kv_db *db;
    must(kv_db_open(path, NULL, &db), path);
    return db;
}

/* ---- the primary ---- */

static int send_bytes(void *context, const void *bytes, size_t len)
{
    int fd = *(int *)context;
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n <= 0)
            return 1;
        bytes = (const char *)bytes + n;
        len -= (size_t)n;
    }
    return 0;
}

/* What was changed since the commit `since`. Gives the newest one. */
static uint64_t send_changes(kv_db *db, int pipe_end, uint64_t since)
{
    kv_txn *txn;
    kv_backup_info info = {.size = sizeof info};
    kv_backup_options options = {
        .size = sizeof options, .since = since, .write = send_bytes, .context = &pipe_end};
    must(kv_txn_begin(db, KV_TXN_READ, &txn), "begin");
    must(kv_backup(txn, &options, &info), "backup");
    kv_txn_abort(txn);
    return info.to;
}

static void take_orders(kv_db *db, int day)
{
    kv_txn *txn;
    char key[32], value[32];
    must(kv_txn_begin(db, KV_TXN_WRITE, &txn), "begin");
    for (int n = 0; n < ORDERS; n++) {
        snprintf(key, sizeof key, "day %d order %04d", day, n);
        snprintf(value, sizeof value, "%d lamps", n % 7 + 1);
        must(kv_put(kv_txn_main(txn), key, strlen(key), value, strlen(value), 0), "put");
    }
    must(kv_txn_commit(txn), "commit");
}

static void primary(int pipe_end)
{
    kv_db *db = open_db("primary.kv");
    uint64_t sent = 0; /* 0: everything, at first */
    for (int day = 1; day <= DAYS; day++) {
        take_orders(db, day);
        sent = send_changes(db, pipe_end, sent);
    }
    _exit(0); /* as if it had died: nothing is closed */
}

/* ---- the standby ---- */

static int64_t receive_bytes(void *context, void *bytes, size_t len)
{
    return read(*(int *)context, bytes, len);
}

static unsigned long long count(kv_txn *txn)
{
    uint64_t n;
    must(kv_count(kv_txn_main(txn), NULL, &n), "count");
    return n;
}

static void standby(int pipe_end)
{
    kv_db *db = open_db("standby.kv");
    kv_txn *reader;
    kv_backup_info info = {.size = sizeof info};
    kv_apply_options options = {
        .size = sizeof options, .read = receive_bytes, .context = &pipe_end};
    int rc;
    must(kv_txn_begin(db, KV_TXN_READ, &reader), "begin");
    while ((rc = kv_backup_apply(db, &options, &info)) == KV_OK) {
        unsigned long long seen = count(reader); /* a reader keeps its snapshot ... */
        must(kv_txn_refresh(reader), "refresh"); /* ... until it wants another */
        printf("commits %llu to %llu: %llu bytes; a reader saw %llu orders, now sees %llu\n",
               (unsigned long long)info.from, (unsigned long long)info.to,
               (unsigned long long)info.bytes, seen, count(reader));
    }
    if (rc != KV_NOTFOUND) /* the primary died while it sent: what came whole is there */
        printf("the last backup did not arrive: %s\n", kv_strerror(rc));
    kv_txn_abort(reader);
    take_orders(db, DAYS + 1); /* the standby is the primary now */
    must(kv_txn_begin(db, KV_TXN_READ, &reader), "begin");
    printf("took over: %llu orders\n", count(reader));
    kv_txn_abort(reader);
    must(kv_db_close(db), "close");
}

int main(void)
{
    int ends[2], status;
    if (pipe(ends) != 0)
        return 1;
    fflush(stdout);
    pid_t child = fork(); /* first fork, then open */
    if (child == 0) {
        close(ends[0]);
        primary(ends[1]);
    }
    close(ends[1]);
    standby(ends[0]);
    return child > 0 && waitpid(child, &status, 0) == child && status == 0 ? 0 : 1;
}
