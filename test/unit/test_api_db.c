/* The public functions on whole databases: opening what is and what is not a database, options,
 * sharing, closing, statistics, messages. On real files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "kv.h"
#include "scratch.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534

static scratch dir;
static char path[SCRATCH_MAX], other[SCRATCH_MAX];

static int setup(void **state)
{
    scratch_make(&dir);
    scratch_path_to(&dir, "db.kv", path);
    scratch_path_to(&dir, "other", other);
    return 0;
}

static int teardown(void **state)
{
    scratch_remove(&dir);
    return 0;
}

static int fresh(void **state)
{
    unlink(path);
    unlink(other);
    rmdir(other);
    return 0;
}

static int open_as(const char *name, uint32_t flags, kv_db **db)
{
    kv_options options = {.size = sizeof options, .flags = flags};
    int rc = kv_db_open(name, &options, db);
    if (rc != KV_OK)
        assert_null(*db);
    return rc;
}

static kv_db *open_ok(uint32_t flags)
{
    kv_db *db;
    assert_int_equal(open_as(path, flags, &db), KV_OK);
    return db;
}

static void refused(const char *name, uint32_t flags, int expect)
{
    kv_db *db = (kv_db *)&dir;
    assert_int_equal(open_as(name, flags, &db), expect);
}

static void put_one(kv_db *db, uint32_t flags, const char *value)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE | flags, &txn), KV_OK);
    assert_int_equal(kv_put(kv_txn_main(txn), "k", 1, value, strlen(value), 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static void expect_one(kv_db *db, const char *value)
{
    kv_txn *txn;
    kv_slice found;
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    assert_int_equal(kv_get(kv_txn_main(txn), "k", 1, &found), KV_OK);
    assert_int_equal(found.len, strlen(value));
    assert_memory_equal(found.ptr, value, found.len);
    kv_txn_abort(txn);
}

static void make_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static kv_db_info stat_of(kv_db *db)
{
    kv_db_info info = {.size = sizeof info};
    assert_int_equal(kv_db_stat(db, &info), KV_OK);
    return info;
}

/* ---- library ---- */

static void test_strerror(void **state)
{
    for (int rc = KV_EBACKUP; rc <= KV_MISMATCH; rc++) {
        assert_non_null(kv_strerror(rc));
        assert_true(strlen(kv_strerror(rc)) > 2);
        assert_string_not_equal(kv_strerror(rc), kv_strerror(12345));
        for (int b = KV_EBACKUP; b < rc; b++)
            assert_string_not_equal(kv_strerror(rc), kv_strerror(b));
    }
    assert_non_null(kv_strerror(-12345));
}

static void test_version(void **state)
{
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", KV_VERSION_MAJOR, KV_VERSION_MINOR, KV_VERSION_PATCH);
    assert_string_equal(kv_version(), text);
}

/* ---- arguments ---- */

static void test_null_arguments(void **state)
{
    kv_db *db = (kv_db *)&dir;
    char text[8] = "x";
    kv_db_info info = {.size = sizeof info};
    assert_int_equal(kv_db_open(NULL, NULL, &db), KV_EINVAL);
    assert_null(db);
    assert_int_equal(kv_db_open(path, NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_db_close(NULL), KV_OK);
    assert_int_equal(kv_db_sync(NULL), KV_EINVAL);
    assert_int_equal(kv_db_durable_id(NULL), 0);
    assert_int_equal(kv_db_stat(NULL, &info), KV_EINVAL);
    assert_int_equal(kv_db_readers(NULL, NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_db_check(NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_db_copy(NULL, other, 0), KV_EINVAL);
    assert_int_equal(kv_db_copy_fd(NULL, 1, 0), KV_EINVAL);
    assert_int_equal(kv_db_repair(NULL, 0, NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_db_repair("", 0, NULL, NULL), KV_EINVAL);
    kv_db_errmsg(NULL, text, sizeof text);
    assert_string_equal(text, "");
    db = open_ok(KV_OPEN_CREATE);
    assert_int_equal(kv_db_stat(db, NULL), KV_EINVAL);
    info.size = 0;
    assert_int_equal(kv_db_stat(db, &info), KV_EINVAL);
    assert_int_equal(kv_db_readers(db, NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_db_copy(db, NULL, 0), KV_EINVAL);
    assert_int_equal(kv_db_copy(db, "", 0), KV_EINVAL);
    assert_int_equal(kv_db_copy(db, other, 2), KV_EINVAL);
    assert_int_equal(kv_db_copy_fd(db, -1, 0), KV_EINVAL);
    assert_int_equal(kv_db_copy_fd(db, 1, 2), KV_EINVAL);
    kv_check_options check = {.size = 0};
    assert_int_equal(kv_db_check(db, &check), KV_EINVAL);
    assert_int_equal(kv_db_close(db), KV_OK);
}

static int try_options(kv_options options)
{
    kv_db *db = (kv_db *)&dir;
    char text[200] = "";
    int rc = kv_db_open_explain(path, &options, &db, text, sizeof text);
    if (rc == KV_OK) {
        assert_string_equal(text, "");
        assert_int_equal(kv_db_close(db), KV_OK);
    } else {
        assert_null(db);
        assert_string_not_equal(text, "");
    }
    return rc;
}

static void test_options(void **state)
{
    size_t size = sizeof(kv_options);
    const kv_options bad[] = {
        {.size = 0},
        {.size = 4},
        {.size = 1 << 20},
        {.size = size, .flags = 1 << 20},
        {.size = size, .flags = KV_OPEN_IMMUTABLE},
        {.size = size, .flags = KV_OPEN_IMMUTABLE | KV_OPEN_CREATE},
        {.size = size, .flags = KV_OPEN_READONLY | KV_OPEN_CREATE},
        {.size = size, .flags = KV_OPEN_READONLY | KV_OPEN_EXCLUSIVE},
        {.size = size, .flags = KV_OPEN_CREATE, .page_size = 4095},
        {.size = size, .flags = KV_OPEN_CREATE, .page_size = 12288},
        {.size = size, .flags = KV_OPEN_CREATE, .page_size = 131072},
        {.size = size, .flags = KV_OPEN_CREATE, .page_size = 1},
        {.size = size, .flags = KV_OPEN_CREATE, .durability = -1},
        {.size = size, .flags = KV_OPEN_CREATE, .durability = KV_LAZY + 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(try_options(bad[i]), KV_EINVAL);
        assert_int_not_equal(access(path, F_OK), 0);
    }
}

/* Programs of other versions know fewer options, or more. */
static void test_options_of_other_sizes(void **state)
{
    struct {
        kv_options options;
        uint64_t unknown;
    } more = {{.size = sizeof more, .flags = KV_OPEN_CREATE}, 0};
    kv_db *db;
    assert_int_equal(try_options((kv_options){.size = offsetof(kv_options, page_size),
                                              .flags = KV_OPEN_CREATE,
                                              .page_size = 77}),
                     KV_OK);
    assert_int_equal(kv_db_open(path, &more.options, &db), KV_OK);
    struct {
        size_t size;
        uint32_t page_size;
    } less = {sizeof less, 0};
    assert_int_equal(kv_db_stat(db, (kv_db_info *)&less), KV_OK);
    assert_int_equal(less.page_size, 4096);
    assert_int_equal(less.size, sizeof less);
    assert_int_equal(kv_db_close(db), KV_OK);
}

static void test_page_sizes(void **state)
{
    for (uint32_t size = 4096; size <= 65536; size *= 2) {
        kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = size};
        kv_db *db;
        unlink(path);
        assert_int_equal(kv_db_open(path, &options, &db), KV_OK);
        assert_int_equal(stat_of(db).page_size, size);
        assert_int_equal(stat_of(db).key_max, size / 4 - 64);
        put_one(db, 0, "value");
        assert_int_equal(kv_db_close(db), KV_OK);
        options.page_size = size == 4096 ? 8192 : 4096; /* of a new file: this one is not */
        assert_int_equal(kv_db_open(path, &options, &db), KV_OK);
        assert_int_equal(stat_of(db).page_size, size);
        expect_one(db, "value");
        assert_int_equal(kv_db_close(db), KV_OK);
    }
}

/* ---- what is opened ---- */

static void test_creation(void **state)
{
    kv_db *db;
    refused(path, 0, KV_ENOENT);
    refused(path, KV_OPEN_READONLY, KV_ENOENT);
    refused(path, KV_OPEN_READONLY | KV_OPEN_IMMUTABLE, KV_ENOENT);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(kv_db_open(path, NULL, &db), KV_OK); /* defaults create */
    assert_int_equal(kv_db_close(db), KV_OK);
    db = open_ok(0);
    assert_int_equal(stat_of(db).entries, 0);
    assert_int_equal(kv_db_close(db), KV_OK);
    scratch_path_to(&dir, "missing/db.kv", other);
    refused(other, KV_OPEN_CREATE, KV_ENOENT);
    scratch_path_to(&dir, "db.kv/below", other);
    refused(other, KV_OPEN_CREATE, KV_ENOENT);
    scratch_path_to(&dir, "other", other);
    refused("", KV_OPEN_CREATE, KV_ENOENT);
}

static void test_no_file(void **state)
{
    assert_int_equal(mkdir(other, 0700), 0);
    refused(other, KV_OPEN_CREATE, KV_EINVAL);
    refused(other, KV_OPEN_READONLY, KV_EINVAL);
    rmdir(other);
    assert_int_equal(mkfifo(other, 0600), 0);
    refused(other, KV_OPEN_CREATE, KV_EINVAL);
    refused(other, KV_OPEN_READONLY, KV_EINVAL);
    refused("/dev/null", KV_OPEN_CREATE, KV_EINVAL);
    refused("/dev/zero", KV_OPEN_READONLY, KV_EINVAL);
}

static void test_no_database(void **state)
{
    char text[200];
    kv_db *db;
    make_file(other, "");
    refused(other, 0, KV_ENOTKV);
    refused(other, KV_OPEN_READONLY, KV_ENOTKV);
    make_file(other, "hello, this is a text\n");
    refused(other, 0, KV_ENOTKV);
    refused(other, KV_OPEN_CREATE, KV_ENOTKV);
    refused(other, KV_OPEN_READONLY, KV_ENOTKV);
    assert_int_equal(kv_db_open_explain(other, NULL, &db, text, sizeof text), KV_ENOTKV);
    assert_string_not_equal(text, "");
    FILE *file = fopen(other, "r");
    assert_non_null(fgets(text, sizeof text, file));
    assert_string_equal(text, "hello, this is a text\n"); /* untouched */
    fclose(file);
}

static void test_empty_file_becomes_one(void **state)
{
    struct stat made;
    make_file(path, "");
    assert_int_equal(chmod(path, 0600), 0); /* nobody else is to read it */
    kv_db *db = open_ok(KV_OPEN_CREATE);
    put_one(db, 0, "value");
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_int_equal(stat(path, &made), 0);
    assert_int_equal(made.st_mode & 0777, 0600);
    db = open_ok(KV_OPEN_READONLY);
    expect_one(db, "value");
    assert_int_equal(kv_db_close(db), KV_OK);
}

static void test_long_path(void **state)
{
    char name[6000];
    memset(name, 'x', sizeof name);
    name[0] = '/';
    name[sizeof name - 1] = 0;
    refused(name, KV_OPEN_CREATE, KV_EINVAL);
    name[300] = 0; /* one component too long */
    refused(name, KV_OPEN_CREATE, KV_EINVAL);
}

static void test_symbolic_links(void **state)
{
    kv_db *db = open_ok(KV_OPEN_CREATE), *again;
    put_one(db, 0, "value");
    assert_int_equal(symlink(path, other), 0);
    assert_int_equal(open_as(other, 0, &again), KV_OK); /* the same file, the same side file */
    put_one(again, 0, "again");
    expect_one(db, "again");
    assert_int_equal(kv_db_close(again), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
    db = NULL;
    assert_int_equal(open_as(other, KV_OPEN_EXCLUSIVE, &db), KV_OK);
    expect_one(db, "again");
    refused(path, 0, KV_EBUSY);
    assert_int_equal(kv_db_close(db), KV_OK);
    unlink(path); /* now it dangles */
    refused(other, 0, KV_ENOENT);
    refused(other, KV_OPEN_CREATE, KV_ENOENT);
    assert_int_not_equal(access(path, F_OK), 0);
    unlink(other);
    assert_int_equal(symlink(other, other), 0);
    refused(other, KV_OPEN_CREATE, KV_EINVAL);
}

static void test_hard_links(void **state)
{
    kv_db *db = open_ok(KV_OPEN_CREATE);
    assert_int_equal(link(path, other), 0);
    refused(other, 0, KV_EBUSY);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* ---- permissions: as somebody who is not root ---- */

static int open_unprivileged(uint32_t flags)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        kv_db *db;
        if (geteuid() == 0 && (setgid(NOBODY) != 0 || setuid(NOBODY) != 0))
            _exit(99);
        int rc = open_as(path, flags, &db);
        if (rc == KV_OK)
            kv_db_close(db);
        _exit(rc < 0 ? -rc : rc);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return -WEXITSTATUS(status);
}

static void test_permissions(void **state)
{
    assert_int_equal(kv_db_close(open_ok(KV_OPEN_CREATE)), KV_OK);
    assert_int_equal(chmod(dir.dir, 0755), 0);
    assert_int_equal(chmod(path, 0444), 0);
    assert_int_equal(open_unprivileged(0), KV_EACCESS);
    assert_int_equal(open_unprivileged(KV_OPEN_CREATE), KV_EACCESS);
    assert_int_equal(open_unprivileged(KV_OPEN_READONLY), KV_OK);
    assert_int_equal(open_unprivileged(KV_OPEN_READONLY | KV_OPEN_IMMUTABLE), KV_OK);
    assert_int_equal(chmod(path, 0222), 0);
    assert_int_equal(open_unprivileged(KV_OPEN_READONLY), KV_EACCESS);
    assert_int_equal(open_unprivileged(0), KV_EACCESS);
    unlink(path);
    assert_int_equal(chmod(dir.dir, 0555), 0);
    assert_int_equal(open_unprivileged(KV_OPEN_CREATE), KV_EACCESS);
    assert_int_equal(chmod(dir.dir, 0700), 0);
}

/* A new file has the permissions that the mask leaves, as any program's. */
static void test_creation_mask(void **state)
{
    struct stat st;
    mode_t old = umask(027);
    assert_int_equal(kv_db_close(open_ok(KV_OPEN_CREATE)), KV_OK);
    umask(old);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
}

/* ---- sharing ---- */

static void test_exclusive(void **state)
{
    kv_db *db = open_ok(KV_OPEN_CREATE | KV_OPEN_EXCLUSIVE), *a;
    put_one(db, 0, "value");
    refused(path, 0, KV_EBUSY);
    refused(path, KV_OPEN_CREATE, KV_EBUSY);
    refused(path, KV_OPEN_EXCLUSIVE, KV_EBUSY);
    refused(path, KV_OPEN_READONLY, KV_EBUSY);
    assert_int_equal(kv_db_repair(path, 0, NULL, NULL), KV_EBUSY);
    assert_int_equal(open_as(path, KV_OPEN_READONLY | KV_OPEN_IMMUTABLE, &a), KV_OK);
    assert_int_equal(kv_db_close(a), KV_OK);
    put_one(db, 0, "value"); /* none of them took its lock away */
    refused(path, 0, KV_EBUSY);
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_int_equal(kv_db_close(open_ok(0)), KV_OK);
}

static void test_shared_keeps_exclusive_out(void **state)
{
    static const uint32_t flags[] = {KV_OPEN_CREATE, KV_OPEN_READONLY};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        kv_db *a = open_ok(flags[i]), *b = open_ok(0);
        put_one(b, 0, "value");
        refused(path, KV_OPEN_EXCLUSIVE, KV_EBUSY);
        assert_int_equal(kv_db_repair(path, 0, NULL, NULL), KV_EBUSY);
        assert_int_equal(kv_db_close(b), KV_OK);
        refused(path, KV_OPEN_EXCLUSIVE, KV_EBUSY);
        expect_one(a, "value");
        assert_int_equal(kv_db_close(a), KV_OK);
        assert_int_equal(kv_db_close(open_ok(KV_OPEN_EXCLUSIVE)), KV_OK);
    }
}

static void *close_later(void *context)
{
    kv_db_close(context);
    return NULL;
}

/* An open that may wait gets the lock when the owner leaves. */
static void test_waiting_open(void **state)
{
    pthread_t thread;
    kv_db *db = open_ok(KV_OPEN_CREATE | KV_OPEN_EXCLUSIVE), *next;
    kv_options options = {.size = sizeof options, .wait_ms = 1};
    assert_int_equal(kv_db_open(path, &options, &next), KV_EBUSY);
    options.wait_ms = 600000;
    assert_int_equal(pthread_create(&thread, NULL, close_later, db), 0);
    assert_int_equal(kv_db_open(path, &options, &next), KV_OK);
    pthread_join(thread, NULL);
    assert_int_equal(kv_db_close(next), KV_OK);
}

/* Every racer ends up with a whole database, one after the other. Returns NULL when all went well. */
static void *create_race(void *context)
{
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE, .wait_ms = 600000};
    kv_db *db;
    if (kv_db_open(path, &options, &db) != KV_OK)
        return context;
    kv_db_info info = {.size = sizeof info};
    if (kv_db_stat(db, &info) != KV_OK)
        return context;
    kv_txn *txn;
    if (kv_txn_begin(db, KV_TXN_WRITE, &txn) != KV_OK ||
        kv_put(kv_txn_main(txn), &context, sizeof context, "", 0, 0) != KV_OK ||
        kv_txn_commit(txn) != KV_OK)
        return context;
    return kv_db_close(db) == KV_OK ? NULL : context;
}

static void test_creation_race(void **state)
{
    enum { RACERS = 6 };
    pthread_t threads[RACERS];
    void *what;
    for (uintptr_t i = 0; i < RACERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, create_race, (void *)(i + 1)), 0);
    for (size_t i = 0; i < RACERS; i++) {
        pthread_join(threads[i], &what);
        assert_null(what);
    }
    kv_db *db = open_ok(KV_OPEN_READONLY);
    assert_int_equal(stat_of(db).entries, RACERS); /* nobody's file was replaced */
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* ---- read-only ---- */

static void readonly_refuses(uint32_t flags)
{
    kv_db *db = open_ok(flags);
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_EREADONLY);
    assert_null(txn);
    assert_int_equal(kv_txn_begin_wait(db, 0, 5, &txn), KV_EREADONLY);
    assert_int_equal(kv_db_sync(db), KV_EREADONLY);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
    expect_one(db, "value");
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    assert_int_equal(kv_put(kv_txn_main(txn), "k", 1, "", 0, 0), KV_EREADONLY);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
}

static void test_readonly(void **state)
{
    kv_db *db = open_ok(KV_OPEN_CREATE);
    put_one(db, 0, "value");
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_int_equal(chmod(path, 0444), 0);
    readonly_refuses(KV_OPEN_READONLY);
    readonly_refuses(KV_OPEN_READONLY | KV_OPEN_IMMUTABLE);
    readonly_refuses(KV_OPEN_READONLY | KV_OPEN_NO_CHECKSUM);
}

/* ---- durability ---- */

static void test_durable_ids(void **state)
{
    kv_db *db = open_ok(KV_OPEN_CREATE);
    uint64_t before = kv_db_durable_id(db), flushes = stat_of(db).flushes;
    put_one(db, 0, "default");
    assert_int_equal(kv_db_durable_id(db), before + 1);
    assert_int_equal(stat_of(db).flushes, flushes + 1);
    put_one(db, KV_TXN_LAZY, "lazy");
    put_one(db, KV_TXN_LAZY, "lazy");
    assert_int_equal(kv_db_durable_id(db), before + 1);
    assert_int_equal(stat_of(db).commit_id, before + 3);
    assert_int_equal(stat_of(db).flushes, flushes + 1);
    assert_int_equal(kv_db_sync(db), KV_OK);
    assert_int_equal(kv_db_durable_id(db), before + 3);
    assert_int_equal(kv_db_sync(db), KV_OK);
    assert_int_equal(stat_of(db).flushes, flushes + 2);
    put_one(db, KV_TXN_STRICT, "strict");
    assert_int_equal(stat_of(db).flushes, flushes + 4);
    put_one(db, KV_TXN_LAZY, "lazy");
    assert_int_equal(kv_db_close(db), KV_OK);
    db = open_ok(0);
    assert_int_equal(kv_db_durable_id(db), before + 5);
    expect_one(db, "lazy");
    assert_int_equal(kv_db_close(db), KV_OK);
}

static void test_default_durability(void **state)
{
    kv_db *db;
    kv_options options = {.size = sizeof options,
                          .flags = KV_OPEN_CREATE,
                          .durability = KV_LAZY,
                          .lazy_sync_bytes = 1 << 20};
    assert_int_equal(kv_db_open(path, &options, &db), KV_OK);
    uint64_t before = kv_db_durable_id(db);
    put_one(db, 0, "lazy");
    assert_int_equal(kv_db_durable_id(db), before);
    put_one(db, KV_TXN_DURABLE, "durable");
    assert_int_equal(kv_db_durable_id(db), before + 2);
    uint64_t flushes = stat_of(db).flushes;
    for (int i = 0; i < 1000; i++) /* never lazy for ever */
        put_one(db, 0, "lazy");
    assert_true(stat_of(db).flushes > flushes);
    assert_true(stat_of(db).flushes < flushes + 100);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* ---- statistics and messages ---- */

static void test_stat(void **state)
{
    struct stat st;
    kv_txn *txn;
    kv_tree *tree;
    kv_db *db = open_ok(KV_OPEN_CREATE);
    kv_db_info info = stat_of(db);
    assert_int_equal(info.entries + info.trees + info.readers + info.poisoned + info.commits, 0);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    assert_int_equal(kv_tree_open(txn, "t", 1, KV_TREE_CREATE, NULL, &tree), KV_OK);
    static const char large[100000];
    assert_int_equal(kv_put(tree, "k", 1, large, sizeof large, 0), KV_OK);
    assert_int_equal(kv_put(kv_txn_main(txn), "k", 1, "v", 1, 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    info = stat_of(db);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(info.file_size, st.st_size);
    assert_int_equal(info.entries, 2);
    assert_int_equal(info.trees, 1);
    assert_int_equal(info.large_pages, (sizeof large + 4095) / 4096);
    assert_int_equal(info.leaf_pages, 3);
    assert_int_equal(info.branch_pages, 0);
    assert_int_equal(info.readers, 1);
    assert_int_equal(info.commits, 1);
    assert_int_equal(info.commit_id, kv_txn_id(txn));
    assert_int_equal(info.durable_id, kv_txn_id(txn));
    assert_true(info.pages * 4096 <= info.file_size);
    kv_txn_abort(txn);
    uint8_t zero[16] = {0};
    assert_memory_not_equal(info.file_id, zero, sizeof zero);
    assert_int_equal(kv_db_close(db), KV_OK);
}

static int first_reader(void *context, const kv_reader_info *reader)
{
    *(kv_reader_info *)context = *reader;
    return 7;
}

static int ascending(void *context, const kv_reader_info *reader)
{
    uint64_t *last = context;
    assert_true(reader->snapshot >= *last);
    *last = reader->snapshot;
    return 0;
}

static void test_readers(void **state)
{
    kv_db *db = open_ok(KV_OPEN_CREATE);
    kv_txn *old, *young;
    kv_reader_info reader;
    uint64_t last = 0;
    put_one(db, 0, "one");
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &old), KV_OK);
    for (int i = 0; i < 10; i++)
        put_one(db, 0, "two");
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &young), KV_OK);
    assert_int_equal(kv_db_readers(db, first_reader, &reader), KV_ECANCELED);
    assert_int_equal(reader.snapshot, kv_txn_id(old));
    assert_true(reader.held_pages > 0);
    assert_int_equal(kv_db_readers(db, ascending, &last), KV_OK);
    assert_int_equal(last, kv_txn_id(young));
    kv_txn_abort(young);
    kv_txn_abort(old);
    assert_int_equal(kv_db_readers(db, first_reader, &reader), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
}

static void test_errmsg(void **state)
{
    char text[300], little[8];
    kv_txn *txn;
    kv_db *db = open_ok(KV_OPEN_CREATE);
    kv_db_errmsg(db, text, sizeof text);
    assert_string_equal(text, "");
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    static const char key[5000];
    assert_int_equal(kv_put(kv_txn_main(txn), key, sizeof key, "", 0, 0), KV_ETOOBIG);
    kv_db_errmsg(db, text, sizeof text);
    assert_non_null(strstr(text, "5000"));
    assert_non_null(strstr(text, "960"));
    kv_db_errmsg(db, little, sizeof little);
    assert_int_equal(strlen(little), sizeof little - 1);
    assert_memory_equal(little, text, sizeof little - 1);
    kv_db_errmsg(db, little, 0);
    kv_db_errmsg(db, NULL, 10);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_copy(db, path, 0), KV_EXISTS);
    kv_db_errmsg(db, text, sizeof text);
    assert_non_null(strstr(text, path));
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_int_equal(kv_db_open_explain("/nonexistent/x", NULL, &db, text, sizeof text), KV_ENOENT);
    assert_non_null(strstr(text, "/nonexistent/x"));
    assert_int_equal(kv_db_open_explain("/nonexistent/x", NULL, &db, NULL, 0), KV_ENOENT);
}

static void test_close_busy(void **state)
{
    kv_txn *txn;
    kv_db *db = open_ok(KV_OPEN_CREATE);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    assert_int_equal(kv_db_close(db), KV_EBUSY);
    kv_txn_abort(txn);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    assert_int_equal(kv_db_close(db), KV_EBUSY);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
}

#define TEST(f) cmocka_unit_test_setup(f, fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_strerror),
        TEST(test_version),
        TEST(test_null_arguments),
        TEST(test_options),
        TEST(test_options_of_other_sizes),
        TEST(test_page_sizes),
        TEST(test_creation),
        TEST(test_no_file),
        TEST(test_no_database),
        TEST(test_empty_file_becomes_one),
        TEST(test_long_path),
        TEST(test_symbolic_links),
        TEST(test_hard_links),
        TEST(test_permissions),
        TEST(test_creation_mask),
        TEST(test_exclusive),
        TEST(test_shared_keeps_exclusive_out),
        TEST(test_waiting_open),
        TEST(test_creation_race),
        TEST(test_readonly),
        TEST(test_durable_ids),
        TEST(test_default_durability),
        TEST(test_stat),
        TEST(test_readers),
        TEST(test_errmsg),
        TEST(test_close_busy),
    };
    return cmocka_run_group_tests_name("api: databases", tests, setup, teardown);
}
