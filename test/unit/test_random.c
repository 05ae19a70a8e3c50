/* A file opened for single records: nothing is read ahead, and what was met before is asked for again. */
#include "recover_machine.h"

enum { RECORDS = 2000, MANY = 64 };

static unsigned asked_random, asked_needed;
static size_t random_len;

static void noting_advise(const kvi_os *os, const uint8_t *ptr, size_t len, int advice)
{
    asked_random += advice == KVI_OS_RANDOM;
    asked_needed += advice == KVI_OS_WILLNEED;
    if (advice == KVI_OS_RANDOM)
        random_len = len;
}

static void get_some(kv_db *db)
{
    static char text[MANY][32];
    kv_slice keys[MANY], values[MANY];
    kv_txn *txn = begin(db, KV_TXN_READ);
    for (unsigned i = 0; i < MANY; i++) {
        int len = snprintf(text[i], sizeof text[i], "many%06u", i * (RECORDS / MANY));
        keys[i] = (kv_slice){text[i], (size_t)len};
    }
    assert_int_equal(kv_get_many(kv_txn_main(txn), MANY, keys, values, NULL), KV_OK);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(values[i].len, 100);
    kv_txn_abort(txn);
}

static void open_and_get(uint32_t flags, unsigned *first, unsigned *second)
{
    kv_db *db = open_flags(flags);
    asked_needed = asked_random = 0;
    get_some(db);
    *first = asked_needed;
    get_some(db);
    *second = asked_needed - *first;
    close_db(db);
}

static void test_what_is_asked_of_the_system(void **state)
{
    unsigned first, second;
    kv_db *db = open_db();
    commit_many(db, 0, RECORDS, 100);
    close_db(db);
    fault.os.advise = noting_advise;
    asked_random = 0;
    db = open_flags(0);
    get_some(db);
    assert_int_equal(asked_random, 0);
    close_db(db);
    db = open_flags(KV_OPEN_RANDOM);
    get_some(db);
    assert_int_equal(asked_random, 1);
    assert_true(random_len >= sim_get_file(disk, "db").len);
    close_db(db);

    open_and_get(0, &first, &second);
    assert_true(first > 0);
    assert_int_equal(second, 0);
    open_and_get(KV_OPEN_RANDOM, &first, &second);
    assert_true(first > 0);
    assert_true(second >= first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_what_is_asked_of_the_system)};
    return RUN_BOTH_WAYS("random", tests);
}
