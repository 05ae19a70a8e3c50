/* What surrounds the sharing of a file: its other names, the side file and what may stand in its
 * place, permissions, readers who may not write. On real files. */
#include "sharing_machine.h"
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>

/* ---- other names ---- */

static void test_hard_links(void **state)
{
    kv_db *db = open_ok(KV_OPEN_CREATE);
    commit_number(db, 0, 1);
    assert_int_equal(link(path, other), 0);
    refused(other, 0, KV_EBUSY);
    refused(other, KV_OPEN_READONLY, KV_EBUSY);
    refused(other, KV_OPEN_EXCLUSIVE, KV_EBUSY);
    commit_number(db, 0, 2);
    close_last(db);
    db = NULL;
    MUST(open_as(other, 0, &db)); /* one name at a time */
    assert_int_equal(number_now(db), 2);
    refused(path, 0, KV_EBUSY);
    close_ok(db);
    close_last(open_ok(0));
}

/* A whole side file that died under the other name leads nobody to a party of its own. */
static void die_with_open_alias(void)
{
    kv_db *db;
    MUST(open_as(other, 0, &db));
    commit_number(db, 0, 2);
    tell(0);
    pause();
}

static void test_stale_side_file_of_another_name(void **state)
{
    char stale[SCRATCH_MAX];
    kv_db *db = open_ok(KV_OPEN_CREATE);
    commit_number(db, 0, 1);
    close_last(db);
    assert_int_equal(link(path, other), 0);
    child c = child_start(die_with_open_alias);
    hear(&c);
    child_kill(&c);
    scratch_path_to(&dir, "other.kv-lock", stale);
    assert_true(exists(stale));
    db = open_ok(0);
    assert_int_equal(number_now(db), 2);
    refused(other, 0, KV_EBUSY);
    refused(other, KV_OPEN_READONLY, KV_EBUSY);
    commit_number(db, 0, 3);
    close_last(db);
    unlink(stale);
}

/* For tests that mount: in a child, which gets a view of its own. False: may not. */
static bool mounts_of_own(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static void probe_mounts(void)
{
    EXPECT(mounts_of_own());
    EXPECT(mount(dir.dir, dir.dir, NULL, MS_BIND, NULL) == 0);
}

static bool may_mount(void)
{
    child c = child_start(probe_mounts);
    int status = child_wait(&c);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        print_message("skipped: mounting is not allowed here\n");
        return false;
    }
    return true;
}

/* The file mounted over another name: nothing but the alias byte can tell. */
static void open_through_mount(void)
{
    kv_db *db;
    EXPECT(mounts_of_own());
    EXPECT(mount(path, other, NULL, MS_BIND, NULL) == 0);
    EXPECT(open_as(other, 0, &db) == KV_EBUSY);
    EXPECT(open_as(other, KV_OPEN_READONLY, &db) == KV_EBUSY);
    tell(0);
    wait_to_go(); /* the other ones have left */
    MUST(open_as(other, 0, &db));
    EXPECT(number_now(db) == 1);
    commit_number(db, 0, 2);
    tell(0);
    wait_to_go();
    MUST(kv_db_close(db));
}

static void test_single_file_mount(void **state)
{
    if (!may_mount())
        skip();
    kv_db *db = open_ok(KV_OPEN_CREATE);
    commit_number(db, 0, 1);
    close(open(other, O_CREAT | O_WRONLY, 0644));
    child c = child_start(open_through_mount);
    hear(&c);
    close_last(db);
    go(&c);
    hear(&c);
    refused(path, 0, KV_EBUSY);
    go(&c);
    child_end(&c);
    db = open_ok(0);
    assert_int_equal(number_now(db), 2);
    close_last(db);
}

/* ---- what stands where the side file is to be ---- */

static void make_file(const char *name, const char *text, size_t len)
{
    int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    close(fd);
}

static void works(void)
{
    kv_db *a = open_ok(KV_OPEN_CREATE), *b = open_ok(0);
    commit_number(a, 0, 1);
    commit_number(b, KV_TXN_LAZY, 2);
    assert_int_equal(number_now(a), 2);
    close_ok(a);
    close_last(b);
}

static void test_leftovers_are_ignored(void **state)
{
    static char garbage[10000];
    memset(garbage, 'x', sizeof garbage);
    static const size_t sizes[] = {0, 1, 100, 4096, 4097, 8192, sizeof garbage};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        make_file(side, garbage, sizes[i]);
        works();
        make_file(side, garbage, sizes[i]);
        close_ok(open_ok(KV_OPEN_READONLY));
        assert_false(exists(side));
        make_file(side, garbage, sizes[i]);
        close_ok(open_ok(KV_OPEN_EXCLUSIVE));
        assert_false(exists(side));
    }
}

static void test_symbolic_link_as_side_file(void **state)
{
    char text[8] = "";
    make_file(other, "precious", 8);
    assert_int_equal(symlink(other, side), 0);
    works();
    int fd = open(other, O_RDONLY);
    assert_int_equal(read(fd, text, sizeof text), 8);
    assert_memory_equal(text, "precious", 8);
    close(fd);
}

static void test_directory_as_side_file(void **state)
{
    kv_db *db;
    close_ok(open_ok(KV_OPEN_CREATE));
    assert_int_equal(mkdir(side, 0755), 0);
    assert_true(open_as(path, 0, &db) < 0);
    assert_true(open_as(path, KV_OPEN_EXCLUSIVE, &db) < 0); /* the next sharer would be misled */
    assert_int_equal(rmdir(side), 0);
    works();
}

/* It has neither a length nor pages to be shared: it is replaced, as what a dead process has left; while
 * others have the database, nobody can come, as without one. */
static void test_fifo_as_side_file(void **state)
{
    struct stat st;
    assert_int_equal(mkfifo(side, 0644), 0);
    kv_db *first = open_ok(KV_OPEN_CREATE), *second = open_ok(0);
    assert_int_equal(stat(side, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    commit_number(first, 0, 7);
    assert_int_equal(number_now(second), 7);
    unlink(side);
    assert_int_equal(mkfifo(side, 0644), 0);
    refused(path, 0, KV_EBUSY);
    commit_number(second, 0, 8);
    assert_int_equal(number_now(first), 8);
    close_ok(second);
    close_ok(first);
    works();
}

static void test_another_version(void **state)
{
    kv_db *db = open_ok(KV_OPEN_CREATE);
    commit_number(db, 0, 1);
    kvi_side_head *head = side_map();
    head->version = KVI_SIDE_VERSION + 1;
    refused(path, 0, KV_EVERSION);
    refused(path, KV_OPEN_READONLY, KV_EVERSION);
    assert_int_equal(head->version, KVI_SIDE_VERSION + 1);
    assert_true(exists(side));
    commit_number(db, 0, 2);
    close_last(db);
    munmap(head, KVI_SIDE_HEAD + 64 * 64);
    works();
}

/* Somebody removed it by hand: those who have it go on, others cannot come until they have left. */
static void test_side_file_removed(void **state)
{
    kv_db *a = open_ok(KV_OPEN_CREATE), *b = open_ok(0);
    commit_number(a, 0, 1);
    unlink(side);
    refused(path, 0, KV_EBUSY);
    refused(path, KV_OPEN_EXCLUSIVE, KV_EBUSY);
    commit_number(b, 0, 2);
    assert_int_equal(number_now(a), 2);
    close_ok(a);
    refused(path, 0, KV_EBUSY);
    close_last(b);
    works();
}

/* A copy of it: whoever used that would be alone. */
static void test_side_file_replaced(void **state)
{
    kv_db *db = open_ok(KV_OPEN_CREATE);
    char copy[KVI_SIDE_HEAD + 64 * 64];
    kvi_side_head *head = side_map();
    memcpy(copy, head, sizeof copy);
    munmap(head, sizeof copy);
    unlink(side);
    make_file(side, copy, sizeof copy);
    refused(path, 0, KV_EBUSY);
    commit_number(db, 0, 1);
    close_ok(db);
    works();
}

/* ---- what becomes of the file ---- */

static void refuses_to_write(kv_db *db, uint64_t number)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_ENOENT);
    assert_null(txn);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE | KV_TXN_TRY, &txn), KV_ENOENT);
    assert_int_equal(number_now(db), number);
}

static void test_file_removed(void **state)
{
    static const uint32_t flags[] = {0, KV_OPEN_EXCLUSIVE};
    for (size_t i = 0; i < 2; i++) {
        kv_db *db = open_ok(KV_OPEN_CREATE | flags[i]);
        commit_number(db, 0, 1);
        unlink(path);
        refuses_to_write(db, 1);
        close_ok(db);
        assert_false(exists(path));
    }
}

/* A sole owner whose file makes room for another one writes to neither. */
static void test_owned_file_replaced(void **state)
{
    kv_db *old = open_ok(KV_OPEN_CREATE | KV_OPEN_EXCLUSIVE);
    commit_number(old, 0, 1);
    MUST(kv_db_copy(old, other, 0));
    assert_int_equal(rename(other, path), 0);
    refuses_to_write(old, 1);
    kv_db *young = open_ok(0);
    commit_number(young, 0, 2);
    refuses_to_write(old, 1);
    close_ok(old);
    assert_int_equal(number_now(young), 2);
    close_last(young);
}

/* The new file under the old name has users of its own, whom those of the old one leave alone. */
static void test_file_replaced(void **state)
{
    kv_db *old = open_ok(KV_OPEN_CREATE), *young;
    commit_number(old, 0, 1);
    MUST(kv_db_copy(old, other, 0));
    assert_int_equal(rename(other, path), 0);
    refuses_to_write(old, 1);
    young = open_ok(0);
    commit_number(young, 0, 2);
    refuses_to_write(old, 1);
    close_ok(old);
    assert_true(exists(side));
    kv_db *third = open_ok(0);
    assert_int_equal(number_now(third), 2);
    close_ok(third);
    close_last(young);
}

/* ---- permissions ---- */

static void test_permissions_of_the_side_file(void **state)
{
    static const mode_t modes[] = {0600, 0640, 0644, 0660, 0664, 0666};
    mode_t mask = umask(0);
    for (size_t i = 0; i < 2 * sizeof modes / sizeof *modes; i++) {
        struct stat st;
        close_ok(open_ok(KV_OPEN_CREATE));
        assert_int_equal(chmod(path, modes[i / 2]), 0);
        umask(i % 2 ? 077 : 0);
        kv_db *db = open_ok(0);
        assert_int_equal(stat(side, &st), 0);
        assert_int_equal(st.st_mode & 07777, modes[i / 2]);
        close_last(db);
        if (geteuid() != 0)
            continue;
        assert_int_equal(chown(path, NOBODY, NOBODY), 0);
        db = open_ok(0);
        assert_int_equal(stat(side, &st), 0);
        assert_int_equal(st.st_uid, NOBODY);
        assert_int_equal(st.st_gid, NOBODY);
        assert_int_equal(st.st_mode & 07777, modes[i / 2]);
        close_last(db);
        unlink(path);
    }
    umask(mask);
}

static bool is_root(void)
{
    if (geteuid() != 0)
        print_message("skipped: needs root\n");
    return geteuid() == 0;
}

static void become_nobody(void)
{
    EXPECT(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
}

/* May write the file, but not beside it. */
static void write_without_side_file(void)
{
    kv_db *db;
    become_nobody();
    EXPECT(open_as(path, 0, &db) == KV_EACCESS);
    EXPECT(open_as(path, KV_OPEN_CREATE, &db) == KV_EACCESS);
    db = open_ok(KV_OPEN_READONLY);
    EXPECT(stat_of(db).guest == 1);
    MUST(kv_db_close(db));
    db = open_ok(KV_OPEN_EXCLUSIVE);
    commit_number(db, 0, 5);
    MUST(kv_db_close(db));
}

static void test_writing_without_a_side_file(void **state)
{
    if (!is_root())
        skip();
    kv_db *db = open_ok(KV_OPEN_CREATE);
    commit_number(db, 0, 1);
    close_last(db);
    assert_int_equal(chmod(path, 0666), 0);
    child c = child_start(write_without_side_file);
    child_end(&c);
    db = open_ok(0);
    assert_int_equal(number_now(db), 5);
    close_last(db);
}

/* ---- somebody else's link, which may not be taken away ---- */

#define NEIGHBOUR (NOBODY - 1) /* of nobody's group */

static void link_as_neighbour(void)
{
    EXPECT(setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NEIGHBOUR) == 0);
    EXPECT(symlink(other, side) == 0);
}

static void meet_link(void)
{
    kv_db *db;
    become_nobody();
    EXPECT(unlink(side) < 0);
    EXPECT(open_as(path, 0, &db) < 0);
    EXPECT(open_as(path, KV_OPEN_CREATE, &db) < 0);
    EXPECT(open_as(path, KV_OPEN_EXCLUSIVE, &db) < 0); /* the next sharer would be misled */
    db = open_ok(KV_OPEN_READONLY);                    /* as a guest, who has no side file */
    EXPECT(number_now(db) == 1 && stat_of(db).guest == 1);
    MUST(kv_db_close(db));
}

/* In a folder where all of a group may write, but each removes only what is his (mode 1770), one of
 * them puts a link to another's file where the side file is to be: that file stays as it is. */
static void test_link_of_somebody_else(void **state)
{
    char text[9] = "";
    if (!is_root())
        skip();
    kv_db *db = open_ok(KV_OPEN_CREATE);
    commit_number(db, 0, 1);
    close_last(db);
    make_file(other, "precious", 8);
    assert_int_equal(chown(path, NOBODY, NOBODY), 0);
    assert_int_equal(chown(other, NOBODY, NOBODY), 0);
    assert_int_equal(chown(dir.dir, 0, NOBODY), 0);
    assert_int_equal(chmod(dir.dir, 01770), 0);
    child c = child_start(link_as_neighbour);
    child_end(&c);
    c = child_start(meet_link);
    child_end(&c);
    int fd = open(other, O_RDONLY);
    assert_int_equal(read(fd, text, sizeof text), 8);
    assert_string_equal(text, "precious");
    close(fd);
    assert_int_equal(chmod(dir.dir, 0755), 0);
    assert_int_equal(unlink(side), 0);
    db = open_ok(0);
    assert_int_equal(number_now(db), 1);
    close_last(db);
}

/* ---- guests ---- */

static void be_guest(kv_db *db)
{
    kv_txn *txn = begin(db, KV_TXN_READ);
    uint64_t number = number_in(txn);
    EXPECT(stat_of(db).guest == 1);
    EXPECT(number != UINT64_MAX);
    tell(kv_txn_id(txn));
    wait_to_go();
    EXPECT(number_in(txn) == number);
    MUST(kv_txn_refresh(txn));
    EXPECT(number_in(txn) > number && number_in(txn) != UINT64_MAX);
    kv_txn_abort(txn);
    MUST(kv_db_check(db, NULL));
    MUST(kv_db_close(db));
}

static void guest_with_tail(void)
{
    become_nobody();
    kv_db *db = open_ok(KV_OPEN_READONLY);
    kv_txn *txn = begin(db, KV_TXN_READ);
    tell(kv_txn_id(txn));
    wait_to_go();
    EXPECT(tail_whole(txn));
    EXPECT(number_in(txn) == 0);
    kv_txn_abort(txn);
    MUST(kv_db_close(db));
}

/* The file is not cut short while a guest reads what stood at its end. */
static void test_a_guest_and_truncation(void **state)
{
    if (!is_root())
        skip();
    kv_db *db = open_ok(KV_OPEN_CREATE);
    commit_number(db, 0, 0);
    commit_tail(db);
    uint64_t size = stat_of(db).file_size;
    assert_int_equal(chmod(path, 0644), 0);
    child c = child_start(guest_with_tail);
    hear(&c);
    cut_tail(db);
    assert_true(stat_of(db).file_size >= size);
    go(&c);
    child_end(&c);
    close_last(db);
}

static void guest_as_nobody(void)
{
    become_nobody();
    be_guest(open_ok(KV_OPEN_READONLY));
}

static void many_commits(kv_db *db, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        if (i % 100 == 50)
            commit_number(db, i % 1000 == 50 ? 0 : KV_TXN_LAZY, i);
        else
            commit_little(db, KV_TXN_LAZY, i);
}

/* Somebody who may only read, in a directory where nobody else may write. */
static void test_a_guest_keeps_its_snapshot(void **state)
{
    if (!is_root())
        skip();
    kv_db *db = open_ok(KV_OPEN_CREATE);
    commit_number(db, 0, 0);
    assert_int_equal(chmod(path, 0644), 0);
    for (uint64_t i = 0; i < 300; i++) /* something to be used again */
        commit_little(db, KV_TXN_LAZY, i);
    child c = child_start(guest_as_nobody);
    uint64_t snapshot = hear(&c);
    many_commits(db, 10000);
    reader_count count = readers_of(db);
    assert_int_equal(count.n, 1);
    assert_int_equal(count.guests, 1);
    assert_int_equal(count.oldest, snapshot);
    assert_true(count.held > 0);
    go(&c);
    child_end(&c);
    assert_int_equal(readers_of(db).n, 0);
    close_last(db);
}

static void test_several_guests(void **state)
{
    if (!is_root())
        skip();
    kv_db *db = open_ok(KV_OPEN_CREATE);
    commit_number(db, 0, 0);
    assert_int_equal(chmod(path, 0644), 0);
    child a = child_start(guest_as_nobody);
    uint64_t first = hear(&a);
    child b = child_start(guest_as_nobody);
    assert_int_equal(hear(&b), first);
    commit_number(db, KV_TXN_LAZY, 1);
    commit_number(db, KV_TXN_LAZY, 2);
    child c = child_start(guest_as_nobody);
    assert_true(hear(&c) > first);
    many_commits(db, 300);
    reader_count count = readers_of(db);
    assert_int_equal(count.n, 2); /* those of one snapshot count as one */
    assert_int_equal(count.guests, 2);
    child_kill(&a);
    assert_int_equal(readers_of(db).oldest, first);
    go(&b);
    child_end(&b);
    assert_true(readers_of(db).oldest > first);
    many_commits(db, 300);
    go(&c);
    child_end(&c);
    assert_int_equal(readers_of(db).n, 0);
    close_last(db);
}

static void write_and_die(void)
{
    kv_db *db = open_ok(0);
    commit_number(db, 0, 1);
    tell(stat_of(db).commit_id);
    commit_little(db, 0, 7); /* one that is not worth a flush of its own */
    tell(stat_of(db).commit_id);
    pause();
}

/* Spoils a byte of each page that the commit wrote, as if the power had failed before its flush. */
static void spoil_commit(uint64_t id)
{
    uint8_t page[4096];
    unsigned spoiled = 0;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    for (off_t off = 2 * 4096; pread(fd, page, sizeof page, off) == sizeof page; off += 4096)
        if (kvi_get64(page + KVI_P_birth) == id) {
            page[2000] ^= 1;
            spoiled++;
            assert_int_equal(pwrite(fd, page, sizeof page, off), sizeof page);
        }
    close(fd);
    assert_true(spoiled > 0);
}

static uint64_t fallback_id;

static void guest_proves(void)
{
    become_nobody();
    kv_db *db = open_ok(KV_OPEN_READONLY);
    kv_txn *txn = begin(db, KV_TXN_READ);
    EXPECT(kv_txn_id(txn) == fallback_id);
    EXPECT(kv_exists(kv_txn_main(txn), "little0007", 10) == KV_NOTFOUND);
    EXPECT(number_in(txn) == 1);
    tell(0);
    wait_to_go();
    EXPECT(number_in(txn) == 1);
    kv_txn_abort(txn);
    MUST(kv_db_close(db));
}

/* A guest reads only what is whole: else the commit before it, and pins that. */
static void test_a_guest_proves_what_it_reads(void **state)
{
    if (!is_root())
        skip();
    close_ok(open_ok(KV_OPEN_CREATE));
    assert_int_equal(chmod(path, 0644), 0);
    child c = child_start(write_and_die);
    fallback_id = hear(&c);
    uint64_t newest = hear(&c);
    child_kill(&c);
    unlink(side);
    spoil_commit(newest);
    c = child_start(guest_proves);
    hear(&c);
    kv_db *db = open_ok(0);
    assert_int_equal(number_now(db), 1);
    for (uint64_t i = 2; i < 20; i++)
        commit_number(db, i % 2 ? KV_TXN_LAZY : 0, i);
    assert_int_equal(readers_of(db).oldest, fallback_id);
    go(&c);
    child_end(&c);
    close_last(db);
}

/* A guest of its own process, beside a sole owner: neither may be while the other is. */
static void guest_meets_owner(void)
{
    kv_db *db;
    become_nobody();
    EXPECT(open_as(path, KV_OPEN_READONLY, &db) == KV_EBUSY);
    tell(0);
    wait_to_go();
    db = open_ok(KV_OPEN_READONLY);
    tell(0);
    wait_to_go();
    MUST(kv_db_close(db));
}

static void test_guests_and_sole_owners(void **state)
{
    if (!is_root())
        skip();
    kv_db *db = open_ok(KV_OPEN_CREATE | KV_OPEN_EXCLUSIVE);
    commit_number(db, 0, 1);
    child c = child_start(guest_meets_owner);
    hear(&c);
    close_ok(db);
    go(&c);
    hear(&c);
    refused(path, KV_OPEN_EXCLUSIVE, KV_EBUSY);
    close_last(open_ok(0)); /* sharers do not mind */
    go(&c);
    child_end(&c);
    close_ok(open_ok(KV_OPEN_EXCLUSIVE));
}

static void guest_on_readonly_mount(void)
{
    kv_db *db;
    EXPECT(mounts_of_own());
    EXPECT(mount(dir.dir, dir.dir, NULL, MS_BIND, NULL) == 0);
    EXPECT(mount(NULL, dir.dir, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0);
    EXPECT(open_as(path, 0, &db) == KV_EACCESS);
    EXPECT(open_as(path, KV_OPEN_EXCLUSIVE, &db) == KV_EACCESS);
    be_guest(open_ok(KV_OPEN_READONLY));
}

static void test_a_guest_on_a_readonly_mount(void **state)
{
    if (!may_mount())
        skip();
    kv_db *db = open_ok(KV_OPEN_CREATE);
    commit_number(db, 0, 0);
    child c = child_start(guest_on_readonly_mount);
    uint64_t snapshot = hear(&c);
    many_commits(db, 1000);
    reader_count count = readers_of(db);
    assert_int_equal(count.n, 1);
    assert_int_equal(count.guests, 1);
    assert_int_equal(count.oldest, snapshot);
    go(&c);
    child_end(&c);
    close_last(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_hard_links),
        TEST(test_stale_side_file_of_another_name),
        TEST(test_single_file_mount),
        TEST(test_leftovers_are_ignored),
        TEST(test_symbolic_link_as_side_file),
        TEST(test_directory_as_side_file),
        TEST(test_fifo_as_side_file),
        TEST(test_another_version),
        TEST(test_side_file_removed),
        TEST(test_side_file_replaced),
        TEST(test_file_removed),
        TEST(test_file_replaced),
        TEST(test_owned_file_replaced),
        TEST(test_permissions_of_the_side_file),
        TEST(test_writing_without_a_side_file),
        TEST(test_link_of_somebody_else),
        TEST(test_a_guest_keeps_its_snapshot),
        TEST(test_a_guest_and_truncation),
        TEST(test_several_guests),
        TEST(test_a_guest_proves_what_it_reads),
        TEST(test_guests_and_sole_owners),
        TEST(test_a_guest_on_a_readonly_mount),
    };
    return cmocka_run_group_tests_name("sharing: files", tests, setup, teardown);
}
