/* What reads again and again asks for no memory and makes no system call: the second time that the same
 * is done on a handle, no call of the table that can fail is made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "fault_os.h"
#include "scratch.h"
#include <stdio.h>

enum { RECORDS = 5000, MANY = 40 };

static scratch dir;
static fault_os fault;
static kv_db *db;

static size_t key_of(unsigned number, char *key)
{
    return (size_t)snprintf(key, 16, "%08u", number * 7);
}

static void fill(void)
{
    kv_txn *txn;
    char key[16];
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    for (unsigned i = 0; i < RECORDS; i++) {
        size_t len = key_of(i, key);
        assert_int_equal(kv_put(kv_txn_main(txn), key, len, key, len, 0), KV_OK);
    }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static int setup(void **state)
{
    scratch_make(&dir);
    fault_init(&fault, &kvi_os_posix);
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
    if (kvi_db_open(&fault.os, scratch_path(&dir, "read.kv"), &options, &db, NULL, 0) != KV_OK)
        return -1;
    fill();
    return 0;
}

static int teardown(void **state)
{
    int rc = kv_db_close(db);
    scratch_remove(&dir);
    return rc == KV_OK && fault_balanced(&fault) ? 0 : -1;
}

static void get_each(kv_tree *tree)
{
    char key[16];
    kv_slice value;
    uint64_t rank;
    for (unsigned i = 0; i < RECORDS; i++) {
        size_t len = key_of(i, key);
        assert_int_equal(kv_get(tree, key, len, &value), KV_OK);
        assert_int_equal(value.len, len);
        assert_memory_equal(value.ptr, key, len);
        assert_int_equal(kv_exists(tree, key, len - 1), KV_NOTFOUND);
        assert_int_equal(kv_rank(tree, key, len, &rank), KV_OK);
        assert_int_equal(rank, i);
    }
}

static void get_many(kv_tree *tree)
{
    char bytes[MANY][16];
    kv_slice keys[MANY], values[MANY];
    int results[MANY];
    for (unsigned i = 0; i < MANY; i++)
        keys[i] = (kv_slice){bytes[i], key_of(i * (RECORDS / MANY), bytes[i])};
    assert_int_equal(kv_get_many(tree, MANY, keys, values, results), KV_OK);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(results[i], KV_OK);
        assert_memory_equal(values[i].ptr, bytes[i], values[i].len);
    }
}

static void walk(kv_tree *tree)
{
    kv_cursor *cursor;
    char low[16], high[16];
    kv_range range = {.size = sizeof range, .from = low, .to = high};
    kv_slice key, value;
    unsigned n = 0;
    range.from_len = key_of(10, low);
    range.to_len = key_of(RECORDS - 10, high);
    assert_int_equal(kv_cursor_open(tree, &range, &cursor), KV_OK);
    for (int rc = kv_cursor_first(cursor); rc == KV_OK; rc = kv_cursor_next(cursor), n++)
        assert_int_equal(kv_cursor_get(cursor, &key, &value), KV_OK);
    assert_int_equal(n, RECORDS - 20);
    assert_int_equal(kv_cursor_seek(cursor, KV_SEEK_GE, low, range.from_len), KV_OK);
    kv_cursor_close(cursor);
}

static void two_cursors(kv_tree *tree)
{
    kv_cursor *first, *second;
    assert_int_equal(kv_cursor_open(tree, NULL, &first), KV_OK);
    assert_int_equal(kv_cursor_open(tree, NULL, &second), KV_OK);
    assert_int_equal(kv_cursor_first(first), KV_OK);
    assert_int_equal(kv_cursor_last(second), KV_OK);
    kv_cursor_close(first);
    kv_slice key, value;
    assert_int_equal(kv_cursor_get(second, &key, &value), KV_OK);
    kv_cursor_close(second);
}

static void in_one_transaction(void (*read)(kv_tree *tree), uint32_t flags)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, flags, &txn), KV_OK);
    read(kv_txn_main(txn));
    kv_txn_abort(txn);
}

static uint64_t calls(uint32_t mask)
{
    uint64_t sum = 0;
    for (int call = 0; call < FAULT_CALLS; call++)
        sum += mask & FAULT_BIT(call) ? fault.calls[call] : 0;
    return sum;
}

static void assert_free(void (*read)(kv_tree *tree))
{
    in_one_transaction(read, 0);
    uint64_t before = calls(FAULT_ALL);
    in_one_transaction(read, 0);
    assert_int_equal(calls(FAULT_ALL), before);
}

static void test_lookups(void **state)
{
    assert_free(get_each);
    assert_free(get_many);
}

static void test_a_cursor(void **state)
{
    assert_free(walk);
}

/* A writer's cursor neither; its turn is a file lock. */
static void test_a_cursor_that_could_write(void **state)
{
    in_one_transaction(walk, KV_TXN_WRITE);
    uint64_t before = calls(FAULT_MEMORY);
    in_one_transaction(walk, KV_TXN_WRITE);
    assert_int_equal(calls(FAULT_MEMORY), before);
}

/* Only one has room that is there already. */
static void test_a_second_cursor_asks_for_memory(void **state)
{
    in_one_transaction(two_cursors, 0);
    uint64_t before = calls(FAULT_MEMORY), others = calls(FAULT_SYSTEM);
    in_one_transaction(two_cursors, 0);
    assert_int_equal(calls(FAULT_MEMORY), before + 1);
    assert_int_equal(calls(FAULT_SYSTEM), others);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lookups),
        cmocka_unit_test(test_a_cursor),
        cmocka_unit_test(test_a_cursor_that_could_write),
        cmocka_unit_test(test_a_second_cursor_asks_for_memory),
    };
    return cmocka_run_group_tests_name("read path", tests, setup, teardown);
}
