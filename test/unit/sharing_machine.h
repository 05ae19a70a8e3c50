/* sharing_machine.h - processes that share a real file: children that are told step by step what to
 * do. A child opens for itself; it leaves by _exit, with 0 when all was as expected. */
#ifndef SHARING_MACHINE_H
#define SHARING_MACHINE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "kv.h"
#include "scratch.h"
#include "side.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY  65534
#define ENTRIES 200

static scratch dir;
static char path[SCRATCH_MAX], side[SCRATCH_MAX], other[SCRATCH_MAX];

/* ---- children ---- */

typedef struct child {
    pid_t pid;
    int to, from; /* our ends of two pipes */
} child;

/* In the child: its ends. */
static int child_in, child_out;

/* In a child, where cmocka's asserts do not work. */
#define EXPECT(what)                                                                               \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: in a child: %s\n", __FILE__, __LINE__, #what);                 \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static inline child child_start(void (*work)(void))
{
    int down[2], up[2];
    assert_int_equal(pipe(down), 0);
    assert_int_equal(pipe(up), 0);
    child c = {.pid = fork(), .to = down[1], .from = up[0]};
    assert_true(c.pid >= 0);
    if (c.pid == 0) {
        close(down[1]);
        close(up[0]);
        child_in = down[0];
        child_out = up[1];
        alarm(120); /* no test waits for ever */
        work();
        _exit(0);
    }
    close(down[0]);
    close(up[1]);
    return c;
}

/* Child to parent: a number. */
static inline void tell(uint64_t number)
{
    EXPECT(write(child_out, &number, sizeof number) == sizeof number);
}

static inline uint64_t hear(const child *c)
{
    uint64_t number = 0;
    assert_int_equal(read(c->from, &number, sizeof number), sizeof number);
    return number;
}

/* Parent to child: go on. */
static inline void go(const child *c)
{
    assert_int_equal(write(c->to, "g", 1), 1);
}

static inline void wait_to_go(void)
{
    char byte;
    EXPECT(read(child_in, &byte, 1) == 1);
}

/* Its wait status. */
static inline int child_wait(child *c)
{
    int status;
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    close(c->to);
    close(c->from);
    return status;
}

static inline void child_end(child *c)
{
    int status = child_wait(c);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static inline void child_kill(child *c)
{
    assert_int_equal(kill(c->pid, SIGKILL), 0);
    assert_true(WIFSIGNALED(child_wait(c)));
}

/* ---- databases; these serve parents and children alike ---- */

#define MUST(what)                                                                                 \
    do {                                                                                           \
        int rc_ = (what);                                                                          \
        if (rc_ != KV_OK) {                                                                        \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #what, kv_strerror(rc_));       \
            if (child_out)                                                                         \
                _exit(1);                                                                          \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

static inline int open_as(const char *name, uint32_t flags, kv_db **db)
{
    kv_options options = {.size = sizeof options, .flags = flags, .memory_budget = 1 << 16};
    return kv_db_open(name, &options, db);
}

static inline kv_db *open_ok(uint32_t flags)
{
    kv_db *db;
    MUST(open_as(path, flags, &db));
    return db;
}

static inline void refused(const char *name, uint32_t flags, int expect)
{
    kv_db *db = (kv_db *)&dir;
    assert_int_equal(open_as(name, flags, &db), expect);
    assert_null(db);
}

static inline kv_txn *begin(kv_db *db, uint32_t flags)
{
    kv_txn *txn;
    MUST(kv_txn_begin(db, flags, &txn));
    return txn;
}

/* ENTRIES entries that all name the same number, and one transaction's worth of garbage. */
static inline void commit_number(kv_db *db, uint32_t flags, uint64_t number)
{
    char key[16], value[64] = {0};
    kv_txn *txn = begin(db, KV_TXN_WRITE | flags);
    memcpy(value, &number, sizeof number);
    for (unsigned i = 0; i < ENTRIES; i++) {
        int len = snprintf(key, sizeof key, "key%05u", i);
        MUST(kv_put(kv_txn_main(txn), key, (size_t)len, value, sizeof value, 0));
    }
    MUST(kv_txn_commit(txn));
}

/* A cheap commit that leaves the numbers alone. */
static inline void commit_little(kv_db *db, uint32_t flags, uint64_t number)
{
    char key[16];
    kv_txn *txn = begin(db, KV_TXN_WRITE | flags);
    int len = snprintf(key, sizeof key, "little%04u", (unsigned)(number % 500));
    MUST(kv_put(kv_txn_main(txn), key, (size_t)len, &number, sizeof number, 0));
    MUST(kv_txn_commit(txn));
}

/* The number, or UINT64_MAX when the snapshot is not whole. */
static inline uint64_t number_in(kv_txn *txn)
{
    char key[16];
    kv_slice value;
    uint64_t number = 0, first = 0;
    for (unsigned i = 0; i < ENTRIES; i++) {
        int len = snprintf(key, sizeof key, "key%05u", i);
        if (kv_get(kv_txn_main(txn), key, (size_t)len, &value) != KV_OK || value.len != 64)
            return UINT64_MAX;
        memcpy(&number, value.ptr, sizeof number);
        first = i == 0 ? number : first;
        if (number != first)
            return UINT64_MAX;
    }
    return number;
}

/* Much at the end of the file, to be cut off later. */
#define TAIL_LEN 400000

static inline void commit_tail(kv_db *db)
{
    static char tail[TAIL_LEN];
    memset(tail, 't', sizeof tail);
    kv_txn *txn = begin(db, KV_TXN_WRITE);
    MUST(kv_put(kv_txn_main(txn), "tail", 4, tail, sizeof tail, 0));
    MUST(kv_txn_commit(txn));
}

/* Removes it, and commits until the file would be shorter if nobody needed it. */
static inline void cut_tail(kv_db *db)
{
    kv_txn *txn = begin(db, KV_TXN_WRITE);
    MUST(kv_del(kv_txn_main(txn), "tail", 4));
    MUST(kv_txn_commit(txn));
    for (uint64_t i = 0; i < 6; i++) {
        txn = begin(db, KV_TXN_WRITE);
        MUST(kv_put(kv_txn_main(txn), "cut", 3, &i, sizeof i, 0));
        MUST(kv_txn_commit(txn));
    }
}

static inline bool tail_whole(kv_txn *txn)
{
    kv_slice value;
    size_t n = 0;
    if (kv_get(kv_txn_main(txn), "tail", 4, &value) != KV_OK || value.len != TAIL_LEN)
        return false;
    while (n < value.len && ((const char *)value.ptr)[n] == 't')
        n++;
    return n == value.len;
}

static inline uint64_t number_now(kv_db *db)
{
    kv_txn *txn = begin(db, KV_TXN_READ);
    uint64_t number = number_in(txn);
    kv_txn_abort(txn);
    return number;
}

static inline kv_db_info stat_of(kv_db *db)
{
    kv_db_info info = {.size = sizeof info};
    MUST(kv_db_stat(db, &info));
    return info;
}

typedef struct reader_count {
    unsigned n, guests;
    uint64_t oldest, process, held;
} reader_count;

static inline int count_reader(void *context, const kv_reader_info *reader)
{
    reader_count *count = context;
    if (count->n++ == 0)
        *count = (reader_count){.n = 1, .oldest = reader->snapshot, .process = reader->process};
    count->guests += reader->guest;
    count->held += reader->held_pages;
    return 0;
}

static inline reader_count readers_of(kv_db *db)
{
    reader_count count = {0};
    MUST(kv_db_readers(db, count_reader, &count));
    return count;
}

static inline bool exists(const char *name)
{
    struct stat st;
    return lstat(name, &st) == 0;
}

static inline kvi_side_head *side_map(void)
{
    int fd = open(side, O_RDWR);
    assert_true(fd >= 0);
    void *map = mmap(NULL, KVI_SIDE_HEAD + 64 * 64, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    close(fd);
    return map;
}

static inline void close_ok(kv_db *db)
{
    MUST(kv_db_close(db));
}

/* The last one: nothing is left behind, and the file is sound. */
static inline void close_last(kv_db *db)
{
    MUST(kv_db_check(db, NULL));
    MUST(kv_db_close(db));
    assert_false(exists(side));
}

static inline int setup(void **state)
{
    scratch_make(&dir);
    scratch_path_to(&dir, "db.kv", path);
    scratch_path_to(&dir, "db.kv-lock", side);
    scratch_path_to(&dir, "other.kv", other);
    return chmod(dir.dir, 0755);
}

static inline int teardown(void **state)
{
    scratch_remove(&dir);
    return 0;
}

static inline int fresh(void **state)
{
    unlink(path);
    unlink(side);
    rmdir(side);
    unlink(other);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup(f, fresh)

#endif
