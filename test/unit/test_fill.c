/* A file that grows commit by commit gets zeros ahead, so that a flush need not find blocks; they are
 * nobody's, and gone when the file is closed. */
#include "recover_machine.h"
#include "tail.h"

#define COMMITS 100u
#ifdef KVI_STRESS /* records of free pages take many */
#define ENOUGH 160u
#else
#define ENOUGH 16u /* pages for any small commit */
#endif

static kvi_slice whole_file(void)
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
    for (unsigned n = 100; whole_file().len < KVI_FILL_FROM; n *= 2)
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
    while (i < COMMITS / 2 || (i < 10 * COMMITS && whole_file().len == end_needed(db)))
        assert_int_equal(commit_more(db, 0, i++), KV_OK);
    assert_true(whole_file().len > end_needed(db));
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
    uint64_t before = whole_file().len, most = 0;
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
    assert_int_equal(whole_file().len, end);
    db = open_db();
    sound(db);
    close_db(db);
}

static void test_ahead_of_what_grows(void **state)
{
    kv_db *db = open_long();
    unsigned longer = 0;
    for (unsigned i = 0; i < COMMITS; i++) {
        uint64_t before = whole_file().len;
        assert_int_equal(commit_more(db, 0, i), KV_OK);
        uint64_t plain = plain_len(db, before), len = whole_file().len;
        assert_true(end_needed(db) <= len && len <= plain + KVI_FILL_MAX);
        expect_zeros(plain, whole_file());
        longer += len > before;
    }
    assert_true(longer >= 2 && longer <= COMMITS / 3);
    assert_true(whole_file().len > end_needed(db));
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

/* Commits until the disk has refused so many; returns the number of the next one. */
static unsigned commit_until_refused(kv_db *db, unsigned times, unsigned i)
{
    for (; times > 0; i++) {
        int rc = commit_more(db, 0, i);
        assert_true(rc == KV_OK || rc == KV_ENOSPC);
        times -= rc == KV_ENOSPC;
    }
    return i;
}

/* Free pages that large values can take, too. */
static uint64_t free_for_all(kv_db *db)
{
    return kvi_space_free_pages(db->space) -
           kvi_space_free_below(db->space, KVI_LARGE_FROM / PAGE_SIZE);
}

/* On a full disk a file lives on what is free inside it, though it would leave some of that free: one
 * commit may fail before that is noticed. */
static void test_free_pages_on_a_full_disk(void **state)
{
    kv_db *db = open_long();
    unsigned i = commit_until_filled(db);
    disk->capacity = whole_file().len + 8 * PAGE_SIZE;
    i = commit_until_refused(db, 2, i);
    assert_true(free_for_all(db) < 8);
    sound(db);
    assert_true(db->file.full);
    disk->capacity = SIM_FILE_MAX;
    for (unsigned end = i + 10 * COMMITS; i < end && db->file.full; i++)
        assert_int_equal(commit_more(db, 0, i), KV_OK);
    assert_false(db->file.full);
    close_db(db);
}

/* While pages are free, small changes succeed on a full disk at once: who makes but one, and leaves, gets
 * no second try. */
static void test_small_changes_on_a_full_disk(void **state)
{
    char key[32];
    kv_db *db = open_db();
    commit_many(db, 0, 8000, 200);
    uint64_t full = whole_file().len;
    for (unsigned i = 0; whole_file().len == full; i++) /* until the free pages are to stay free */
        assert_int_equal(commit_more(db, 0, i), KV_OK);
    close_db(db);
    disk->capacity = whole_file().len;
    for (unsigned i = 0; i < 60; i++) {
        db = open_db();
        kv_txn *txn = begin(db, KV_TXN_WRITE);
        int len = snprintf(key, sizeof key, "many%06u", i * 13 + 2);
        assert_int_equal(kv_del(kv_txn_main(txn), key, (size_t)len), KV_OK);
        int rc = kv_txn_commit(txn);
        assert_true(rc == KV_OK || kvi_space_free_pages(db->space) < ENOUGH);
        close_db(db);
    }
}

/* A page at the end that comes and goes is no reason to cut the file and to fill it again. */
static void test_one_record_again_and_again(void **state)
{
    kv_db *db = open_long();
    (void)commit_until_filled(db);
    size_t event = disk->n_events;
    uint64_t written = 0, len = whole_file().len;
    for (unsigned i = 0; i < 10 * COMMITS; i++)
        commit_text(db, 0, i % 2 ? "odd" : "even");
    for (; event < disk->n_events; event++) {
        const sim_event *e = &disk->events[event];
        if (e->kind == SIM_TRUNCATE)
            assert_true(e->new_size >= e->old_size);
        written += e->new_size > e->old_size ? e->new_size - e->old_size : 0;
    }
    assert_true(written <= 2 * KVI_FILL_MAX && whole_file().len <= len + 2 * KVI_FILL_MAX);
    close_db(db);
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
        assert_true(whole_file().len > end_needed(db));
        commit_text(db, 0, "next");
        assert_true(whole_file().len > end_needed(db));
        expect_text(db, "next");
        expect_cut(db);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ahead_of_what_grows),        TEST(test_not_in_a_small_file),
        TEST(test_not_without_a_flush),        TEST(test_full_disk),
        TEST(test_free_pages_on_a_full_disk),  TEST(test_small_changes_on_a_full_disk),
        TEST(test_one_record_again_and_again), TEST(test_after_a_kill),
    };
    return RUN_BOTH_WAYS("fill", tests);
}
