/* What a writer takes for needed by others: named snapshots whose list another handle has changed,
 * looks that fail half way. */
#include "recover_machine.h"
#include <stdlib.h>

#define PAGE 4096              /* smaller ones have no room for a snapshot's name */
#define MANY (20 * PAGE / 128) /* entries that fill some pages */

static kv_db *make_db(void)
{
    kv_db *db;
    const kv_options options = {.size = sizeof options,
                                .flags = KV_OPEN_CREATE | (exclusive ? KV_OPEN_EXCLUSIVE : 0),
                                .page_size = PAGE};
    assert_int_equal(kvi_db_open(&fault.os, "db", &options, &db, NULL, 0), KV_OK);
    return db;
}

/* Each of MANY entries says the number. */
static void commit_number(kv_db *db, uint32_t flags, unsigned number)
{
    char key[32], value[100] = {0};
    kv_txn *txn = begin(db, KV_TXN_WRITE | flags);
    memcpy(value, &number, sizeof number);
    for (unsigned i = 0; i < MANY; i++) {
        int len = snprintf(key, sizeof key, "many%06u", i);
        assert_int_equal(kv_put(kv_txn_main(txn), key, (size_t)len, value, sizeof value, 0), KV_OK);
    }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static void expect_number(kv_txn *txn, unsigned number)
{
    char key[32];
    kv_slice value;
    for (unsigned i = 0; i < MANY; i++) {
        int len = snprintf(key, sizeof key, "many%06u", i);
        assert_int_equal(kv_get(kv_txn_main(txn), key, (size_t)len, &value), KV_OK);
        assert_int_equal(value.len, 100);
        assert_memory_equal(value.ptr, &number, sizeof number);
    }
}

static void expect_snapshot(kv_db *db, unsigned number)
{
    kv_txn *txn;
    assert_int_equal(kv_snapshot_open(db, "name", 4, &txn), KV_OK);
    expect_number(txn, number);
    kv_txn_abort(txn);
}

/* Writers in turn read the two metas, and what is free only when somebody has folded the records. */
static void test_turns_read_little(void **state)
{
    enum { TURNS = 400 };
    (void)state;
    if (exclusive) /* it takes two */
        return;
    kv_db *db = make_db(), *second = open_flags(0);
    unsigned little = 0;
    commit_number(db, 0, 1);
    for (unsigned i = 0; i < TURNS; i++) {
        char text[16];
        snprintf(text, sizeof text, "turn %u", i);
        uint64_t before = fault.calls[FAULT_PREAD];
        commit_text(i % 2 ? second : db, 0, text);
        little += fault.calls[FAULT_PREAD] - before <= 2;
    }
    assert_true(little > TURNS * 3 / 4);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
    assert_int_equal(kv_db_close(second), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* Commits that would take the pages of a snapshot that nobody needs. */
static void overwrite(kv_db *db)
{
    for (unsigned i = 1; i <= 6; i++)
        commit_number(db, 0, 1000 + i);
}

/* The list of a handle that did not look for a while is at the same page again, and another one. */
static void test_list_in_its_old_page(void **state)
{
    if (exclusive) /* it takes two */
        return;
    kv_db *db = make_db(), *second = open_flags(0);
    unsigned number = 1;
    commit_number(db, 0, number);
    assert_int_equal(kv_snapshot_create(db, "name", 4, 0), KV_OK);
    commit_text(db, 0, "the list is read");
    kvi_ptr root = db->head.meta.snapshots.root, now;
    do {
        commit_number(second, 0, ++number);
        assert_int_equal(kv_snapshot_drop(second, "name", 4, 0), KV_OK);
        assert_int_equal(kv_snapshot_create(second, "name", 4, 0), KV_OK);
        now = second->head.meta.snapshots.root;
        assert_true(number < 100);
    } while (now.page != root.page || now.birth == root.birth);
    overwrite(db);
    expect_snapshot(db, number);
    sound(db);
    assert_int_equal(kv_db_close(second), KV_OK);
    close_db(db);
}

/* Opens the file anew and fails each allocation of a first begin in turn; then comes what is tried. */
static void fail_first_looks(void (*try)(kv_db *db))
{
    kvi_slice file = sim_get_file(disk, "db");
    kv_txn *txn;
    unsigned refused = 0;
    bool hit = true;
    uint8_t *bytes = malloc(file.len);
    size_t len = file.len;
    assert_non_null(bytes);
    memcpy(bytes, file.ptr, len);
    for (uint64_t at = 1; hit; at++) {
        sim_reset(disk);
        sim_put_file(disk, "db", bytes, len);
        watch(disk);
        kv_db *db = open_flags(0);
        fault_plan(&fault, (fault_case){.at = at, .mask = FAULT_MEMORY});
        int rc = kv_txn_begin(db, KV_TXN_WRITE, &txn);
        hit = fault_hit(&fault);
        forget_counts();
        if (rc == KV_OK)
            kv_txn_abort(txn);
        else
            assert_int_equal(rc, KV_ENOMEM);
        refused += rc != KV_OK;
        try(db);
        sound(db);
        close_db(db);
    }
    assert_true(refused > 2);
    free(bytes);
}

static void try_snapshot(kv_db *db)
{
    overwrite(db);
    expect_snapshot(db, 1);
}

/* A list that could not be read is read again. */
static void test_list_cannot_be_read(void **state)
{
    kv_db *db = make_db();
    commit_number(db, 0, 1);
    assert_int_equal(kv_snapshot_create(db, "name", 4, 0), KV_OK);
    commit_number(db, 0, 2);
    close_db(db);
    fail_first_looks(try_snapshot);
}

#define LONG  (4000ull * PAGE)
#define SHORT (500ull * PAGE)

static void put_zeros(kv_db *db, uint32_t flags, const char *key, size_t len)
{
    uint8_t *zeros = calloc(1, len);
    assert_non_null(zeros);
    kv_txn *txn = begin(db, KV_TXN_WRITE | flags);
    assert_int_equal(kv_put(kv_txn_main(txn), key, strlen(key), zeros, len, 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    free(zeros);
}

static uint64_t pages_before;

static void try_lazy(kv_db *db)
{
    put_zeros(db, KV_TXN_LAZY, "third", SHORT / 2);
    assert_true(stat_of(db).pages <= pages_before);
}

/* Who could not ask who needs what asks again, also if little waits for that and before the next flush:
 * what a dropped snapshot had is used as if nothing had failed. */
static void test_asked_again(void **state)
{
    kv_db *db = make_db();
    put_zeros(db, 0, "first", LONG);
    put_zeros(db, 0, "second", SHORT);
    assert_int_equal(kv_snapshot_create(db, "name", 4, 0), KV_OK);
    put_zeros(db, 0, "second", 1);
    assert_int_equal(kv_snapshot_drop(db, "name", 4, 0), KV_OK);
    pages_before = stat_of(db).pages;
    assert_true(pages_before >= (LONG + SHORT) / PAGE);
    close_db(db);
    fail_first_looks(try_lazy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_turns_read_little),
        TEST(test_list_in_its_old_page),
        TEST(test_list_cannot_be_read),
        TEST(test_asked_again),
    };
    return RUN_BOTH_WAYS("live", tests);
}
