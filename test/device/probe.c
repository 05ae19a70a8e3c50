/* probe.c - what works on the failing disk: databases of which every commit is known.
 *
 *     probe fill DB CONTROL COMMITS    commits of all kinds; prints "begun N AT" and "acked N AT", AT
 *                                      being the length of the disk's record then
 *     probe verify DB LOW HIGH         prints the number of the commit that is there: a whole one
 *                                      from LOW to HIGH; checks, commits, checks again
 *     probe eio DB CONTROL             a flush that fails is told to everybody and never repeated
 *     probe told DB CONTROL            the write-back of lazy commits failed, and who was there knows
 *     probe lost DB CONTROL            the same, and who commits on top of them cannot know
 *     probe newcomer DB CONTROL        the same, while somebody has the file open, so that nobody who
 *                                      comes has to recover it
 *     probe deny DB CONTROL OFFSET     from now on the disk cannot read the file from there on
 *     probe number DB                  prints the number
 *
 * Exits with 0 when all was as promised, with 3 when the file system wrote somewhere else than where
 * the disk failed, or before, so that nothing can be said; otherwise says what was not as promised. */
#include "kv.h"
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEYS    60
#define EXTENTS 512
#define MISSED  3

static const char *path, *control;

static _Noreturn void bad(const char *what, int rc)
{
    fprintf(stderr, "probe: %s: %s (%d)\n", what, kv_strerror(rc), rc);
    exit(1);
}

static void must(int rc, const char *what)
{
    if (rc != KV_OK)
        bad(what, rc);
}

static kv_db *open_it(uint32_t flags)
{
    kv_db *db;
    kv_options options = {.size = sizeof options, .flags = flags};
    must(kv_db_open(path, &options, &db), "open");
    return db;
}

/* ---- the disk ---- */

static void tell_disk(const char *line)
{
    int fd = open(control, O_WRONLY);
    if (fd < 0 || write(fd, line, strlen(line)) != (ssize_t)strlen(line))
        bad(line, KV_EIO);
    close(fd);
}

typedef struct disk_state {
    unsigned long long entries, flushes, failed;
} disk_state;

static disk_state ask_disk(void)
{
    char text[200] = {0};
    disk_state s;
    int fd = open(control, O_RDONLY);
    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0 ||
        sscanf(text, "entries %llu flushes %llu failed %llu", &s.entries, &s.flushes, &s.failed) !=
            3)
        bad("asking the disk", KV_EIO);
    close(fd);
    return s;
}

/* What is done to the blocks of the database from a place in the file on; those of the file system's own
 * records stay well. */
static void harm_blocks(const char *harm, uint64_t from)
{
    union {
        struct fiemap map;
        uint8_t room[sizeof(struct fiemap) + EXTENTS * sizeof(struct fiemap_extent)];
    } u;
    int fd = open(path, O_RDONLY);
    memset(&u, 0, sizeof u);
    u.map.fm_start = from;
    u.map.fm_length = FIEMAP_MAX_OFFSET - from;
    u.map.fm_extent_count = EXTENTS;
    if (fd < 0 || ioctl(fd, FS_IOC_FIEMAP, &u.map) != 0 || u.map.fm_mapped_extents == 0)
        bad("where the file lies", KV_EIO);
    for (unsigned i = 0; i < u.map.fm_mapped_extents; i++) {
        char line[80];
        const struct fiemap_extent *e = &u.map.fm_extents[i];
        if (e->fe_flags & FIEMAP_EXTENT_UNKNOWN)
            continue; /* not placed yet: it says 0, where the file system's own records are */
        uint64_t before = e->fe_logical < from ? from - e->fe_logical : 0;
        snprintf(line, sizeof line, "%s %llu %llu\n", harm,
                 (unsigned long long)(e->fe_physical + before),
                 (unsigned long long)(e->fe_length - before));
        tell_disk(line);
    }
    close(fd); /* after a truncation xfs begins to write a file back when somebody closes it */
}

/* ---- commits ---- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

/* The length of an entry in commit number n, and through its first bytes the number itself. */
static size_t entry_len(uint64_t n, unsigned i)
{
    return 8 + (i == 0 ? mix(n) % 20000 : mix(n * KEYS + i) % 300);
}

static int try_commit(kv_db *db, uint32_t flags, uint64_t n)
{
    static uint8_t value[32768];
    kv_txn *txn;
    int rc = kv_txn_begin(db, KV_TXN_WRITE | flags, &txn);
    if (rc != KV_OK)
        return rc;
    for (unsigned i = 0; i < KEYS && rc == KV_OK; i++) {
        char key[16];
        size_t len = entry_len(n, i);
        memset(value, (int)(n + i), len);
        memcpy(value, &n, sizeof n);
        int key_len = snprintf(key, sizeof key, "key%04u", i);
        rc = kv_put(kv_txn_main(txn), key, (size_t)key_len, value, len, 0);
    }
    if (rc == KV_OK)
        return kv_txn_commit(txn);
    kv_txn_abort(txn);
    return rc;
}

/* The number that all entries agree on, every byte compared. */
static uint64_t number_in(kv_db *db)
{
    kv_txn *txn;
    uint64_t n = 0;
    must(kv_txn_begin(db, KV_TXN_READ, &txn), "begin");
    for (unsigned i = 0; i < KEYS; i++) {
        char key[16];
        kv_slice value;
        int key_len = snprintf(key, sizeof key, "key%04u", i);
        int rc = kv_get(kv_txn_main(txn), key, (size_t)key_len, &value);
        if (rc == KV_NOTFOUND && i == 0)
            break; /* nothing was committed yet */
        must(rc, "get");
        if (i == 0)
            memcpy(&n, value.ptr, sizeof n);
        if (value.len != entry_len(n, i) || memcmp(value.ptr, &n, sizeof n) != 0)
            bad("an entry of another commit", (int)i);
        for (size_t at = 8; at < value.len; at++)
            if (((const uint8_t *)value.ptr)[at] != (uint8_t)(n + i))
                bad("a wrong byte", (int)i);
    }
    kv_txn_abort(txn);
    return n;
}

static bool is_poisoned(kv_db *db)
{
    kv_db_info info = {.size = sizeof info};
    must(kv_db_stat(db, &info), "stat");
    return info.poisoned;
}

/* ---- commands ---- */

static void say(const char *what, uint64_t n)
{
    printf("%s %llu %llu\n", what, (unsigned long long)n, ask_disk().entries);
}

static void fill(uint64_t commits)
{
    static const uint32_t kinds[] = {0, KV_TXN_STRICT, KV_TXN_LAZY, 0, KV_TXN_LAZY, KV_TXN_LAZY};
    kv_db *db = open_it(KV_OPEN_CREATE);
    for (uint64_t n = 1; n <= commits; n++) {
        uint32_t kind = kinds[n % (sizeof kinds / sizeof *kinds)];
        say("begun", n);
        must(try_commit(db, kind, n), "commit");
        if (kind != KV_TXN_LAZY)
            say("acked", n);
        if (n % 50 == 0) {
            must(kv_db_sync(db), "sync");
            say("acked", n);
        }
        if (n % 40 == 0) {
            must(kv_db_close(db), "close");
            say("acked", n);
            db = open_it(0);
        }
    }
    must(kv_db_close(db), "close");
    say("acked", commits);
}

static void verify(uint64_t low, uint64_t high)
{
    kv_db *db = open_it(low ? 0 : KV_OPEN_CREATE);
    uint64_t n = number_in(db);
    if (n < low || n > high)
        bad("a commit that was lost, or never was", (int)n);
    must(kv_db_check(db, NULL), "check");
    must(try_commit(db, 0, n + 1), "another commit");
    if (number_in(db) != n + 1)
        bad("another commit: its number", 0);
    must(kv_db_check(db, NULL), "check after another commit");
    must(kv_db_close(db), "close");
    printf("%llu\n", (unsigned long long)n);
}

/* In another process: exits with 0 when all that is expected of it was so. */
static void in_child(void (*work)(void))
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        work();
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        bad("another process", KV_EIO);
    if (WIFEXITED(status) && WEXITSTATUS(status) == MISSED)
        exit(MISSED);
    if (status != 0)
        bad("another process", KV_EIO);
}

static uint64_t expected;

static void expect_refusal(void)
{
    kv_txn *txn;
    kv_db *db = open_it(0);
    int rc = kv_txn_begin(db, KV_TXN_WRITE, &txn);
    if (rc != KV_EPOISONED || !is_poisoned(db))
        bad("another process may write after a failed flush", rc);
    if (number_in(db) != expected)
        bad("another process reads something else", 0);
    must(kv_db_close(db), "close");
}

static void eio(void)
{
    kv_db *db = open_it(KV_OPEN_CREATE), *twin = open_it(0);
    for (uint64_t n = 1; n <= 20; n++)
        must(try_commit(db, 0, n), "commit");
    expected = 20;
    harm_blocks("fail", 0);
    int rc = try_commit(db, 0, 21);
    if (rc == KV_OK && ask_disk().failed == 0)
        exit(MISSED);
    if (rc != KV_EIO && rc != KV_EPOISONED)
        bad("a commit that did not reach the disk", rc);
    tell_disk("heal\n"); /* the kernel has forgotten the failure: a second flush would succeed */
    if (try_commit(db, 0, 22) != KV_EPOISONED || try_commit(twin, 0, 22) != KV_EPOISONED ||
        kv_db_sync(db) != KV_EPOISONED)
        bad("writing goes on after a failed flush", 0);
    if (!is_poisoned(twin) || number_in(db) != 20 || number_in(twin) != 20)
        bad("reading after a failed flush", 0);
    in_child(expect_refusal);
    kv_db_close(twin);
    kv_db_close(db);
    printf("20 21\n");
}

/* Lazily, and the kernel fails to write it back. The failure is told to whoever has the file open
 * now, this process among them, and to nobody who comes later. */
static void commit_lazily(void)
{
    kv_db *db = open_it(0);
    must(try_commit(db, KV_TXN_LAZY, 21), "lazy commit");
    int fd = open(path, O_RDWR);
    harm_blocks("fail", 0);
    if (sync_file_range(fd, 0, 0,
                        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                            SYNC_FILE_RANGE_WAIT_AFTER) == 0)
        _exit(MISSED);
    tell_disk("heal\n");
    if (fdatasync(fd) != 0)
        bad("this kernel tells of a failure twice", 0);
    _exit(0); /* as if killed */
}

static int commit_on_top(kv_db *db)
{
    kv_txn *txn;
    int rc = kv_txn_begin(db, KV_TXN_WRITE, &txn);
    if (rc != KV_OK)
        return rc;
    must(kv_put(kv_txn_main(txn), "little", 6, "x", 1, 0), "put");
    return kv_txn_commit(txn);
}

/* Whoever commits durably on top of them brings the lazy pages to the disk, or says that it cannot:
 * one who had the file open is told by the kernel, one who comes later is told nothing. */
static void lost(bool before)
{
    kv_db *db = open_it(KV_OPEN_CREATE);
    for (uint64_t n = 1; n <= 20; n++)
        must(try_commit(db, 0, n), "commit");
    if (!before)
        must(kv_db_close(db), "close");
    in_child(commit_lazily);
    if (!before)
        db = open_it(0);
    int rc = commit_on_top(db);
    if (rc != KV_OK && !(before && rc == KV_EPOISONED))
        bad("a durable commit on top", rc);
    if (rc == KV_OK && number_in(db) != 21)
        bad("the lazy commit is gone", 0);
    (void)kv_db_close(db);
    puts(rc == KV_OK ? "21 21" : "20 21");
}

/* Nothing but the word of the dead says that the lazy pages are in doubt. */
static void commit_newly(void)
{
    kv_db *db = open_it(0);
    must(commit_on_top(db), "a newcomer's durable commit on top");
    if (number_in(db) != 21)
        bad("the lazy commit is gone for a newcomer", 0);
    _exit(0); /* closing could write more */
}

static void newcomer(void)
{
    kv_db *holder = open_it(KV_OPEN_CREATE);
    for (uint64_t n = 1; n <= 20; n++)
        must(try_commit(holder, 0, n), "commit");
    in_child(commit_lazily);
    in_child(commit_newly);
    puts("21 21"); /* the holder dies, too: it would be told of the failure */
}

int main(int argc, char **argv)
{
    const char *what = argc > 2 ? argv[1] : "";
    path = argv[2];
    control = argc > 3 ? argv[3] : NULL;
    if (!strcmp(what, "fill") && argc == 5)
        fill(strtoull(argv[4], NULL, 0));
    else if (!strcmp(what, "verify") && argc == 5)
        verify(strtoull(argv[3], NULL, 0), strtoull(argv[4], NULL, 0));
    else if (!strcmp(what, "eio") && argc == 4)
        eio();
    else if (!strcmp(what, "lost") && argc == 4)
        lost(false);
    else if (!strcmp(what, "told") && argc == 4)
        lost(true);
    else if (!strcmp(what, "newcomer") && argc == 4)
        newcomer();
    else if (!strcmp(what, "deny") && argc == 5)
        harm_blocks("deny", strtoull(argv[4], NULL, 0));
    else if (!strcmp(what, "number") && argc == 3)
        printf("%llu\n", (unsigned long long)number_in(open_it(KV_OPEN_READONLY)));
    else
        return fputs("usage: see probe.c\n", stderr), 2;
    return 0;
}
