/* A file that grows commit by commit gets zeros ahead, so that a flush need not find blocks; they are
 * nobody's, and gone when the file is closed. */
#include "recover_machine.h"
#include "commit.h"

#define COMMITS 100u

static kvi_slice file_bytes(void)
{
    return sim_get_file(disk, "db");
}

static uint64_t end_needed(kv_db *db)
{
    return db->head.meta.high_water * PAGE_SIZE;
}

/* Of a size at which zeros are written ahead. */
static void make_long(void)
{
    kv_db *db = open_db();
    for (unsigned n = 100; file_bytes().len < KVI_FILL_FROM; n *= 2)
        commit_many(db, 0, n, 200);
    close_db(db);
}

static kv_db *open_long(void)
{
    make_long();
    return open_db();
}

/* About a page of new records. */
static int commit_more(kv_db *db, uint32_t flags, unsigned number)
{
    char key[32], value[151];
    kv_txn *txn = begin(db, KV_TXN_WRITE | flags);
    snprintf(value, sizeof value, "%0150u", number);
    for (unsigned i = 0; i < PAGE_SIZE / 200; i++) {
        snprintf(key, sizeof key, "more%06u.%u", number, i);
        put_text(txn, key, value);
    }
    return kv_txn_commit(txn);
}

/* Returns how many it took. */
static unsigned commit_until_filled(kv_db *db)
{
    unsigned i = 0;
    while (i < COMMITS / 2 || (i < 10 * COMMITS && file_bytes().len == end_needed(db)))
        assert_int_equal(commit_more(db, 0, i++), KV_OK);
    assert_true(file_bytes().len > end_needed(db));
    return i;
}

/* How long the file is at most if nothing was filled. */
static uint64_t plain_len(kv_db *db, uint64_t before)
{
    return KVI_MAX(before, end_needed(db));
}

/* Commits without anything being filled, if only to be cut off again. */
static void expect_plain(kv_db *db, uint32_t flags, unsigned number)
{
    size_t event = disk->n_events;
    uint64_t before = file_bytes().len, most = 0;
    assert_int_equal(commit_more(db, flags, number), KV_OK);
    for (; event < disk->n_events; event++)
        most = KVI_MAX(most, disk->events[event].new_size);
    assert_true(most <= plain_len(db, before));
}

static void expect_zeros(uint64_t from, kvi_slice bytes)
{
    for (uint64_t at = from; at < bytes.len; at++)
        assert_int_equal(bytes.ptr[at], 0);
}

static void expect_cut(kv_db *db)
{
    uint64_t end = end_needed(db);
    close_db(db);
    assert_int_equal(file_bytes().len, end);
    db = open_db();
    sound(db);
    close_db(db);
}

static void test_ahead_of_what_grows(void **state)
{
    kv_db *db = open_long();
    unsigned longer = 0;
    for (unsigned i = 0; i < COMMITS; i++) {
        uint64_t before = file_bytes().len;
        assert_int_equal(commit_more(db, 0, i), KV_OK);
        uint64_t plain = plain_len(db, before), len = file_bytes().len;
        assert_true(end_needed(db) <= len && len <= plain + KVI_FILL_MAX);
        assert_true(longer > 0 || len <= plain); /* the first time needs none */
        expect_zeros(plain, file_bytes());
        longer += len > before;
    }
    assert_true(longer >= 2 && longer <= COMMITS / 3);
    assert_true(file_bytes().len > end_needed(db));
    sound(db);
    expect_cut(db);
}

static void test_not_in_a_small_file(void **state)
{
    kv_db *db = open_db();
    for (unsigned i = 0; end_needed(db) + 4 * PAGE_SIZE < KVI_FILL_FROM; i++)
        expect_plain(db, 0, i);
    close_db(db);
}

static void test_not_without_a_flush(void **state)
{
    kv_db *db = open_long();
    for (unsigned i = 0; i < COMMITS; i++)
        expect_plain(db, KV_TXN_LAZY, i);
    close_db(db);
}

/* What is not needed may fail. */
static void test_full_disk(void **state)
{
    kv_db *db = open_long();
    unsigned i = commit_until_filled(db);
    int rc = KV_OK;
    disk->capacity = end_needed(db) + KVI_FILL_MAX + 6 * PAGE_SIZE;
    for (; rc == KV_OK; i++)
        rc = commit_more(db, 0, i);
    assert_int_equal(rc, KV_ENOSPC);
    assert_true(disk->capacity - end_needed(db) < 6 * PAGE_SIZE);
    disk->capacity = SIM_FILE_MAX;
    assert_int_equal(commit_more(db, 0, i), KV_OK);
    expect_cut(db);
}

/* The next one to close cuts off what a dead one filled. */
static void test_after_a_kill(void **state)
{
    for (int reboot = 0; reboot < 2; reboot++) {
        fresh(NULL);
        kv_db *db = open_long();
        (void)commit_until_filled(db);
        crash(db, reboot);
        db = open_db();
        assert_true(file_bytes().len > end_needed(db));
        commit_text(db, 0, "next");
        assert_true(file_bytes().len > end_needed(db));
        expect_text(db, "next");
        expect_cut(db);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ahead_of_what_grows), TEST(test_not_in_a_small_file),
        TEST(test_not_without_a_flush), TEST(test_full_disk),
        TEST(test_after_a_kill),
    };
    return RUN_BOTH_WAYS("fill", tests);
}
