/* What real systems do to a database from outside: disks that fill up, limits, signals, files that
 * are moved, cut or put in the way, layers of file systems. On real files; what needs root is left
 * out without it. */
#include "rounds.h"
#include "sharing_machine.h"
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

/* ---- mounts of our own ---- */

static char inner[SCRATCH_MAX];

static void need_mounts(void)
{
    EXPECT(unshare(CLONE_NEWNS) == 0);
    EXPECT(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
}

static void probe_mounts(void)
{
    need_mounts();
    EXPECT(mount("tmpfs", dir.dir, "tmpfs", 0, NULL) == 0);
}

static bool may_mount(void)
{
    child c = child_start(probe_mounts);
    int status = child_wait(&c);
    bool may = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!may)
        print_message("skipped: mounting is not allowed here\n");
    return may;
}

static void in_child(void (*work)(void))
{
    child c = child_start(work);
    child_end(&c);
}

/* ---- a full file system ---- */

#define FULL_VALUE 30000

static int put_filler(kv_db *db, uint64_t number)
{
    static char value[FULL_VALUE];
    char key[24];
    kv_txn *txn;
    int len = snprintf(key, sizeof key, "filler%06u", (unsigned)number);
    memset(value, (int)number, sizeof value);
    int rc = kv_txn_begin(db, KV_TXN_WRITE, &txn);
    if (rc != KV_OK)
        return rc;
    rc = kv_put(kv_txn_main(txn), key, (size_t)len, value, sizeof value, 0);
    if (rc == KV_OK)
        return kv_txn_commit(txn);
    kv_txn_abort(txn);
    return rc;
}

static bool fillers_whole(kv_db *db, uint64_t n)
{
    bool whole = true;
    kv_slice value;
    kv_txn *txn = begin(db, KV_TXN_READ);
    for (uint64_t i = 0; i <= n; i++) {
        char key[24];
        int len = snprintf(key, sizeof key, "filler%06u", (unsigned)i);
        int rc = kv_get(kv_txn_main(txn), key, (size_t)len, &value);
        whole = whole && (i < n ? rc == KV_OK && value.len == FULL_VALUE &&
                                      ((const uint8_t *)value.ptr)[FULL_VALUE - 1] == (uint8_t)i
                                : rc == KV_NOTFOUND);
    }
    kv_txn_abort(txn);
    return whole;
}

static void ballast_write(const char *name, size_t len)
{
    static char block[1 << 16];
    int fd = open(name, O_CREAT | O_WRONLY, 0644);
    EXPECT(fd >= 0);
    while (len > 0 && write(fd, block, KVI_MIN(len, sizeof block)) > 0)
        len -= KVI_MIN(len, sizeof block);
    close(fd);
}

/* Until nothing fits any more: the commits that succeeded are there, the next one is refused as
 * long as it stays so, and succeeds when there is room again. */
static void fill_file_system(void)
{
    kv_db *db;
    uint64_t n = 0;
    need_mounts();
    EXPECT(mount("tmpfs", dir.dir, "tmpfs", 0, "size=4m") == 0);
    ballast_write(other, 300000);
    db = open_ok(KV_OPEN_CREATE);
    int rc = KV_OK;
    for (unsigned refused = 0;
         n < 1000 && refused < 2;) { /* the first time it may yet find free pages */
        rc = put_filler(db, n);
        n += rc == KV_OK;
        refused = rc == KV_OK ? 0 : refused + 1;
    }
    EXPECT(rc == KV_ENOSPC && n > 50);
    EXPECT(fillers_whole(db, n));
    MUST(kv_db_check(db, NULL));
    EXPECT(unlink(other) == 0);
    MUST(put_filler(db, n));
    EXPECT(fillers_whole(db, n + 1));
    MUST(kv_db_check(db, NULL));
    MUST(kv_db_close(db));
    ballast_write(other, 4 << 20); /* to the last byte: no side file fits */
    rc = open_as(path, 0, &db);
    EXPECT(rc == KV_ENOSPC);
    MUST(open_as(path, KV_OPEN_READONLY, &db));
    EXPECT(stat_of(db).guest == 1);
    EXPECT(fillers_whole(db, n + 1));
    MUST(kv_db_close(db));
    MUST(open_as(path, KV_OPEN_EXCLUSIVE, &db));
    EXPECT(fillers_whole(db, n + 1));
    MUST(kv_db_close(db));
    EXPECT(unlink(other) == 0);
    db = open_ok(0);
    MUST(put_filler(db, n + 1));
    MUST(kv_db_close(db));
}

static void test_full_file_system(void **state)
{
    if (!may_mount())
        skip();
    in_child(fill_file_system);
}

/* ---- limits ---- */

static void set_limit(int which, rlim_t most)
{
    struct rlimit limit;
    EXPECT(getrlimit(which, &limit) == 0);
    limit.rlim_cur = most;
    EXPECT(setrlimit(which, &limit) == 0);
}

/* With each number of descriptors the open succeeds whole or not at all. */
static void few_descriptors(void)
{
    unsigned refused_opens = 0;
    kv_db *db;
    for (rlim_t most = 4; most < 40; most++) {
        set_limit(RLIMIT_NOFILE, most);
        int rc = open_as(path, 0, &db);
        EXPECT(rc == KV_OK || ((rc == KV_EIO || rc == KV_ENOMEM) && db == NULL));
        refused_opens += rc != KV_OK;
        if (rc != KV_OK)
            continue;
        commit_number(db, 0, most);
        EXPECT(number_now(db) == most);
        MUST(kv_db_close(db));
    }
    EXPECT(refused_opens > 0 && refused_opens < 36);
}

static void test_few_descriptors(void **state)
{
    close_ok(open_ok(KV_OPEN_CREATE));
    in_child(few_descriptors);
}

/* With each amount of address space; maps shrink to what can be had. */
static void little_address_space(void)
{
    unsigned good = 0, bad = 0;
    for (rlim_t mib = 4; mib < 400; mib += 4) {
        kv_db *db;
        set_limit(RLIMIT_AS, mib << 20);
        int rc = open_as(path, 0, &db);
        EXPECT(rc == KV_OK || (rc == KV_ENOMEM && db == NULL));
        if (rc == KV_OK) {
            kv_txn *txn;
            rc = kv_txn_begin(db, KV_TXN_WRITE, &txn);
            EXPECT(rc == KV_OK || rc == KV_ENOMEM);
            if (rc == KV_OK) {
                rc = kv_put(kv_txn_main(txn), "little", 6, &mib, sizeof mib, 0);
                EXPECT(rc == KV_OK || rc == KV_ENOMEM);
                if (rc == KV_OK)
                    EXPECT((rc = kv_txn_commit(txn)) == KV_OK || rc == KV_ENOMEM);
                else
                    kv_txn_abort(txn);
            }
            EXPECT(number_now(db) == 7);
            MUST(kv_db_close(db));
        }
        good += rc == KV_OK;
        bad += rc != KV_OK;
    }
    set_limit(RLIMIT_AS, RLIM_INFINITY);
    EXPECT(good > 0 && bad > 0);
    MUST(kv_db_check(open_ok(0), NULL));
}

static void test_little_address_space(void **state)
{
#ifdef SANITIZED
    skip(); /* their shadow is larger than any limit */
#endif
    kv_db *db = open_ok(KV_OPEN_CREATE);
    commit_number(db, 0, 7);
    close_last(db);
    in_child(little_address_space);
}

/* ---- signals ---- */

static void heed(int number)
{
    (void)number;
}

/* A thousand times a second, without SA_RESTART, through everything that two handles do. */
static void disturbed(void)
{
    struct sigaction action = {.sa_handler = heed};
    struct itimerval timer = {{0, 1000}, {0, 1000}};
    EXPECT(sigaction(SIGALRM, &action, NULL) == 0);
    EXPECT(setitimer(ITIMER_REAL, &timer, NULL) == 0);
    for (uint64_t round = 0; round < 20; round++) {
        kv_db *a = open_ok(KV_OPEN_CREATE), *b = open_ok(0);
        for (uint64_t i = 0; i < 10; i++) {
            static const uint32_t kinds[] = {KV_TXN_LAZY, 0, KV_TXN_STRICT};
            commit_number(i % 2 ? a : b, kinds[i % 3], i);
            EXPECT(number_now(a) == i && number_now(b) == i);
        }
        commit_tail(a);
        MUST(kv_db_sync(b));
        cut_tail(b);
        MUST(kv_db_copy(a, other, KV_COPY_COMPACT));
        EXPECT(unlink(other) == 0);
        MUST(kv_db_close(a));
        MUST(kv_db_check(b, NULL));
        MUST(kv_db_close(b));
    }
}

static void test_signals(void **state)
{
    in_child(disturbed);
}

/* ---- the file is moved, linked, cut ---- */

static void test_moved_and_back(void **state)
{
    kv_txn *txn;
    kv_db *db = open_ok(KV_OPEN_CREATE), *twin = open_ok(0);
    commit_number(db, 0, 1);
    assert_int_equal(rename(path, other), 0);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_ENOENT);
    assert_int_equal(kv_txn_begin(twin, KV_TXN_WRITE, &txn), KV_ENOENT);
    assert_int_equal(number_now(db), 1); /* reading goes on */
    refused(path, 0, KV_ENOENT);
    refused(other, 0, KV_EBUSY); /* under another name: another side file */
    assert_int_equal(rename(other, path), 0);
    commit_number(twin, 0, 2);
    assert_int_equal(number_now(db), 2);
    close_ok(twin);
    close_last(db);
}

/* Another database put in its place while a transaction runs: neither is harmed. */
static void test_replaced_while_writing(void **state)
{
    char side_of_other[SCRATCH_MAX + 8];
    kv_txn *txn;
    kv_db *db = open_ok(KV_OPEN_CREATE), *second;
    commit_number(db, 0, 1);
    MUST(open_as(other, KV_OPEN_CREATE, &second));
    commit_number(second, 0, 50);
    MUST(kv_db_close(second));
    snprintf(side_of_other, sizeof side_of_other, "%s-lock", other);
    txn = begin(db, KV_TXN_WRITE);
    MUST(kv_put(kv_txn_main(txn), "k", 1, "v", 1, 0));
    assert_int_equal(rename(other, path), 0);
    int rc = kv_txn_commit(txn); /* into the file that it has open, or refused */
    assert_true(rc == KV_OK || rc == KV_ENOENT);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_ENOENT);
    close_ok(db);
    unlink(side);
    db = open_ok(0);
    assert_int_equal(number_now(db), 50);
    close_last(db);
    assert_false(exists(side_of_other));
}

/* A hard link made while the file is open does no harm to those who have it, and who comes through
 * it is refused. */
static void test_linked_while_open(void **state)
{
    kv_db *db = open_ok(KV_OPEN_CREATE);
    commit_number(db, 0, 1);
    assert_int_equal(link(path, other), 0);
    commit_number(db, 0, 2);
    refused(other, 0, KV_EBUSY);
    refused(other, KV_OPEN_READONLY, KV_EBUSY);
    assert_int_equal(unlink(path), 0); /* the name that we know is gone, the file is not */
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_ENOENT);
    assert_int_equal(number_now(db), 2);
    close_ok(db);
    unlink(side);
    assert_int_equal(rename(other, path), 0);
    db = open_ok(0);
    assert_int_equal(number_now(db), 2);
    close_last(db);
}

/* Cut short by another program: the library's answers are right, errors, or the SIGBUS that is the
 * kernel's way of saying so (the command catches it). Sound databases beside it do not suffer. */
static off_t cut_to;

static void die_of_it(void)
{
    signal(SIGBUS, SIG_DFL); /* cmocka would go on with the next test */
}

static void read_what_is_cut(void)
{
    die_of_it();
    kv_db *db = open_ok(KV_OPEN_READONLY);
    kv_txn *txn = begin(db, KV_TXN_READ);
    kv_slice value;
    EXPECT(truncate(path, cut_to) == 0);
    for (unsigned i = 0; i < ENTRIES; i++) {
        char key[16];
        uint64_t number;
        int len = snprintf(key, sizeof key, "key%05u", i);
        int rc = kv_get(kv_txn_main(txn), key, (size_t)len, &value);
        if (rc != KV_OK) {
            EXPECT(rc < 0);
            continue;
        }
        memcpy(&number, value.ptr, sizeof number);
        EXPECT(number == 3);
    }
    kv_txn_abort(txn);
    (void)kv_db_close(db);
}

/* A writer meets it at its next transaction. */
static void write_what_is_cut(void)
{
    die_of_it();
    kv_db *db = open_ok(0);
    kv_txn *txn;
    commit_number(db, 0, 3);
    EXPECT(truncate(path, cut_to) == 0);
    if (kv_txn_begin(db, KV_TXN_WRITE, &txn) == KV_OK) {
        (void)kv_put(kv_txn_main(txn), "k", 1, "v", 1, 0);
        (void)kv_txn_commit(txn);
    }
    (void)kv_db_close(db);
}

static void test_cut_while_open(void **state)
{
    static const off_t sizes[] = {0, 1, 511, 4096, 8192, 8193, 12288, 20480};
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
        unlink(path);
        unlink(side);
        kv_db *db = open_ok(KV_OPEN_CREATE);
        commit_number(db, 0, 3);
        close_last(db);
        cut_to = sizes[i / 2];
        child c = child_start(i % 2 ? write_what_is_cut : read_what_is_cut);
        int status = child_wait(&c);
        if (WIFSIGNALED(status))
            assert_int_equal(WTERMSIG(status), SIGBUS);
        else
            assert_int_equal(WEXITSTATUS(status), 0);
        int rc = open_as(path, 0, &db);
        assert_true(rc == KV_OK || rc == KV_ECORRUPT || rc == KV_ENOTKV);
        if (rc == KV_OK)
            kv_db_close(db);
    }
}

/* Longer than it was: what is behind the end is nobody's, and the next commits go on. */
static void test_extended(void **state)
{
    kv_db *db = open_ok(KV_OPEN_CREATE);
    commit_number(db, 0, 1);
    close_last(db);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    for (off_t more = 1; more < 300000; more = more * 7 + 511) {
        int fd = open(path, O_WRONLY | O_APPEND);
        char garbage[512];
        memset(garbage, 0xa5, sizeof garbage);
        assert_int_equal(ftruncate(fd, st.st_size + more), 0);
        assert_int_equal(write(fd, garbage, sizeof garbage), sizeof garbage);
        close(fd);
        db = open_ok(0);
        MUST(kv_db_check(db, NULL));
        commit_number(db, 0, (uint64_t)more);
        assert_int_equal(number_now(db), more);
        close_last(db);
        assert_int_equal(stat(path, &st), 0);
    }
}

/* ---- what may stand in the way ---- */

static void works(void)
{
    kv_db *a = open_ok(KV_OPEN_CREATE), *b = open_ok(0);
    commit_number(a, 0, 1);
    commit_number(b, 0, 2);
    assert_int_equal(number_now(a), 2);
    close_ok(a);
    close_last(b);
}

static void make_socket(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", name);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
}

/* A pipe would make an open wait for ever. */
static void test_side_file_is_something_else(void **state)
{
    close_ok(open_ok(KV_OPEN_CREATE));
    assert_int_equal(mkfifo(side, 0666), 0);
    works();
    if (strlen(side) < sizeof((struct sockaddr_un *)0)->sun_path) {
        make_socket(side);
        works();
    }
    assert_int_equal(symlink("/dev/zero", side), 0);
    works();
}

/* The side file's name leads to somebody's file: that one is not emptied, and not written. */
static void test_side_file_is_a_link(void **state)
{
    char text[32] = {0};
    close_ok(open_ok(KV_OPEN_CREATE));
    int fd = open(other, O_CREAT | O_RDWR, 0600);
    assert_int_equal(write(fd, "precious", 8), 8);
    assert_int_equal(link(other, side), 0);
    works();
    assert_int_equal(symlink(other, side), 0);
    works();
    assert_int_equal(pread(fd, text, sizeof text, 0), 8);
    assert_string_equal(text, "precious");
    close(fd);
}

static void come_as_nobody(void)
{
    EXPECT(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
    kv_db *db;
    int rc = open_as(path, 0, &db);
    EXPECT(rc == KV_EACCESS || rc == KV_OK);
    if (rc == KV_OK)
        MUST(kv_db_close(db));
}

/* Somebody else's side file, with any mode: replaced by who may, else an error; nobody hangs. */
static void test_side_file_of_another(void **state)
{
    static const mode_t modes[] = {0, 0400, 0444, 0600, 0666, 07777};
    if (geteuid() != 0)
        skip();
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        close_ok(open_ok(KV_OPEN_CREATE));
        assert_int_equal(chmod(path, 0666), 0);
        int fd = open(side, O_CREAT | O_WRONLY | O_TRUNC, 0600);
        assert_int_equal(write(fd, "left", 4), 4);
        assert_int_equal(fchown(fd, 1, 1), 0);
        assert_int_equal(fchmod(fd, modes[i]), 0);
        close(fd);
        in_child(come_as_nobody);
        works();
    }
}

static void test_not_a_file(void **state)
{
    static const uint32_t flags[] = {0, KV_OPEN_CREATE, KV_OPEN_READONLY, KV_OPEN_EXCLUSIVE,
                                     KV_OPEN_READONLY | KV_OPEN_IMMUTABLE};
    static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/loop0", "/dev/tty"};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        assert_int_equal(mkfifo(other, 0666), 0);
        refused(other, flags[i], KV_EINVAL);
        unlink(other);
        assert_int_equal(mkdir(other, 0777), 0);
        refused(other, flags[i], KV_EINVAL);
        rmdir(other);
        for (size_t d = 0; d < sizeof devices / sizeof *devices; d++) {
            kv_db *db;
            int rc = open_as(devices[d], flags[i], &db);
            assert_true(rc == KV_EINVAL || rc == KV_ENOENT || rc == KV_EACCESS || rc == KV_EIO);
            assert_null(db);
        }
        if (strlen(other) < sizeof((struct sockaddr_un *)0)->sun_path) {
            kv_db *db;
            make_socket(other);
            int rc = open_as(other, flags[i], &db);
            assert_true(rc == KV_EINVAL || rc == KV_EIO);
            assert_null(db);
            unlink(other);
        }
    }
}

/* ---- a file system of layers ---- */

/* The first open for writing makes a copy of the file in the upper layer. Whoever has the lower one
 * open must not go on as if nothing had happened. */
static void through_layers(void)
{
    char options[4 * SCRATCH_MAX], lower[SCRATCH_MAX], upper[SCRATCH_MAX], work[SCRATCH_MAX];
    kv_db *reader, *writer;
    scratch_path_to(&dir, "lower", lower);
    need_mounts();
    EXPECT(mount("tmpfs", dir.dir, "tmpfs", 0, NULL) == 0);
    scratch_path_to(&dir, "upper", upper);
    scratch_path_to(&dir, "work", work);
    scratch_path_to(&dir, "merged", inner);
    EXPECT(mkdir(lower, 0755) == 0 && mkdir(upper, 0755) == 0 && mkdir(work, 0755) == 0 &&
           mkdir(inner, 0755) == 0);
    scratch_path_to(&dir, "lower/db.kv", path);
    writer = open_ok(KV_OPEN_CREATE);
    commit_number(writer, 0, 1);
    MUST(kv_db_close(writer));
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work);
    if (mount("overlay", inner, "overlay", 0, options) != 0) {
        print_message("skipped: no overlay here\n");
        return;
    }
    scratch_path_to(&dir, "merged/db.kv", path);
    reader = open_ok(KV_OPEN_READONLY);
    EXPECT(number_now(reader) == 1);
    writer = open_ok(0);
    for (uint64_t i = 2; i < 40; i++) {
        uint64_t seen;
        commit_number(writer, 0, i);
        kv_txn *txn;
        int rc = kv_txn_begin(reader, KV_TXN_READ, &txn);
        EXPECT(rc == KV_OK || rc < 0);
        if (rc != KV_OK)
            continue;
        seen = number_in(txn);
        kv_txn_abort(txn);
        EXPECT(seen == i);
    }
    MUST(kv_db_check(writer, NULL));
    MUST(kv_db_close(reader));
    MUST(kv_db_close(writer));
    writer = open_ok(0);
    EXPECT(number_now(writer) == 39);
    MUST(kv_db_check(writer, NULL));
    MUST(kv_db_close(writer));
}

static void test_layers(void **state)
{
    if (!may_mount())
        skip();
    in_child(through_layers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_full_file_system),
        TEST(test_few_descriptors),
        TEST(test_little_address_space),
        TEST(test_signals),
        TEST(test_moved_and_back),
        TEST(test_replaced_while_writing),
        TEST(test_linked_while_open),
        TEST(test_cut_while_open),
        TEST(test_extended),
        TEST(test_side_file_is_something_else),
        TEST(test_side_file_is_a_link),
        TEST(test_side_file_of_another),
        TEST(test_not_a_file),
        TEST(test_layers),
    };
    return cmocka_run_group_tests_name("surroundings", tests, setup, teardown);
}
