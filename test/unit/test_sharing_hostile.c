/* Hostile contents of the side file: errors, but no crash and no endless search. */
#include "sharing_machine.h"
#include "rng.h"

/* Everything once; what comes of it does not matter. */
static void try_all(kv_db *db)
{
    static kv_txn *txns[80];
    kv_db_info info = {.size = sizeof info};
    reader_count count = {0};
    kv_slice value;
    unsigned n = 0;
    while (n < 80 && kv_txn_begin(db, KV_TXN_READ, &txns[n]) == KV_OK)
        n++;
    if (n > 0) {
        kv_cursor *cursor;
        (void)kv_get(kv_txn_main(txns[0]), "key00001", 8, &value);
        if (kv_cursor_open(kv_txn_main(txns[0]), NULL, &cursor) == KV_OK)
            for (int i = 0; i < 300 && kv_cursor_next(cursor) == KV_OK; i++)
                (void)kv_cursor_get(cursor, &value, &value);
    }
    (void)kv_db_stat(db, &info);
    (void)kv_db_readers(db, count_reader, &count);
    while (n > 0)
        kv_txn_abort(txns[--n]);
    for (int i = 0; i < 3; i++) {
        kv_txn *txn;
        if (kv_txn_begin(db, KV_TXN_WRITE | (i == 1 ? KV_TXN_LAZY : 0), &txn) != KV_OK)
            continue;
        (void)kv_put(kv_txn_main(txn), "key00007", 8, &i, sizeof i, 0);
        (void)kv_get(kv_txn_main(txn), "key00009", 8, &value);
        (void)kv_txn_commit(txn);
    }
    (void)kv_db_sync(db);
    (void)kv_db_check(db, NULL);
}

static uint64_t hostile_seed;

static uint64_t hostile_word(rng *random, uint64_t old)
{
    switch (rng_below(random, 6)) {
    case 0:
        return rng_next(random);
    case 1:
        return UINT64_MAX >> rng_below(random, 64);
    case 2:
        return (uint64_t)1 << rng_below(random, 64);
    case 3:
        return 0;
    case 4:
        return old + rng_below(random, 5) - 2;
    default:
        return old ^ (uint64_t)1 << rng_below(random, 64);
    }
}

static void hostile_words(void)
{
    rng random;
    rng_seed(&random, hostile_seed);
    alarm(60);
    kv_db *db = open_ok(KV_OPEN_CREATE), *late;
    commit_number(db, 0, 1);
    commit_number(db, KV_TXN_LAZY, 2);
    kvi_side_head *head = side_map();
    _Atomic uint64_t *words = (_Atomic uint64_t *)head;
    /* beginning behind the magic, so that others still come; the slots' first words, too */
    for (uint64_t i = rng_between(&random, 1, 6); i-- > 0;) {
        uint64_t at = rng_one_in(&random, 5) ? 512 + rng_below(&random, 200)
                                             : rng_between(&random, 1, sizeof *head / 8 - 1);
        words[at] = hostile_word(&random, words[at]);
    }
    try_all(db);
    if (open_as(path, 0, &late) == KV_OK) {
        try_all(late);
        (void)kv_db_close(late);
    }
    (void)kv_db_close(db);
}

static void test_hostile_words(void **state)
{
    uint64_t seed = rng_choose_seed(20260101);
    for (int i = 0; i < 250; i++) {
        fresh(NULL);
        hostile_seed = seed + (uint64_t)i;
        child c = child_start(hostile_words);
        int status = child_wait(&c);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            fail_msg("seed %llu: wait status %x", (unsigned long long)hostile_seed, status);
    }
}

/* More slots than the file has room for. */
static void test_hostile_number_of_slots(void **state)
{
    kv_db *a = open_ok(KV_OPEN_CREATE), *b = open_ok(0), *late;
    kv_txn *txns[70];
    int n = 0, rc;
    commit_number(a, 0, 1);
    kvi_side_head *head = side_map();
    uint32_t n_slots = head->n_slots;
    head->n_slots = KVI_SLOTS_MAX;
    if (open_as(path, 0, &late) == KV_OK)
        close_ok(late);
    while (n < 70 && (rc = kv_txn_begin(a, KV_TXN_READ, &txns[n])) == KV_OK)
        n++;
    assert_true(n < 70);
    assert_true(rc == KV_ECORRUPT || rc == KV_ENOMEM);
    assert_true(kv_txn_begin(b, KV_TXN_READ, &txns[69]) < 0);
    while (n > 0)
        kv_txn_abort(txns[--n]);
    head->n_slots = 0;
    assert_true(kv_txn_begin(a, KV_TXN_READ, &txns[0]) < 0);
    head->n_slots = n_slots;
    close_ok(a);
    munmap(head, KVI_SIDE_HEAD + 64 * 64);
    commit_number(b, 0, 2);
    close_last(b);
}

static kvi_record *record_of(kvi_side_head *head)
{
    return (kvi_record *)((uint8_t *)head + offsetof(kvi_side_head, board) +
                          offsetof(kvi_board, record));
}

/* A record that points behind everything that is mapped. */
static void test_hostile_record(void **state)
{
    static const uint64_t high_waters[] = {(uint64_t)1 << 40, ((uint64_t)1 << 52) + 4,
                                           UINT64_MAX >> 11, UINT64_MAX};
    kv_slice value;
    kv_txn *txn;
    kv_db *db = open_ok(KV_OPEN_CREATE);
    commit_number(db, 0, 1);
    kvi_side_head *head = side_map();
    for (size_t i = 0; i < 2 * sizeof high_waters / sizeof *high_waters; i++) {
        kvi_record saved[2], *records = record_of(head);
        memcpy(saved, records, sizeof saved);
        for (int r = 0; r < 2; r++) {
            records[r].snapshot.high_water = high_waters[i / 2];
            records[r].snapshot.main.root.page = ((uint64_t)1 << 40) - 1;
            records[r].snapshot.main.level = i % 2 ? 255 : 1;
        }
        if (kv_txn_begin(db, KV_TXN_READ, &txn) == KV_OK) {
            assert_int_equal(kv_get(kv_txn_main(txn), "key00001", 8, &value), KV_ECORRUPT);
            kv_txn_abort(txn);
        }
        memcpy(records, saved, sizeof saved);
    }
    munmap(head, KVI_SIDE_HEAD + 64 * 64);
    assert_int_equal(number_now(db), 1);
    close_last(db);
}

/* What a writer would take over: ids that were used, pages that are none. */
static void test_hostile_handover(void **state)
{
    kv_db *db = open_ok(KV_OPEN_CREATE);
    commit_number(db, 0, 1);
    for (int i = 0; i < 5; i++) {
        kv_txn *txn;
        kv_db *late = open_ok(0); /* knows nothing but what it is told */
        kvi_side_head *head = side_map();
        kvi_record saved[2], *records = record_of(head);
        memcpy(saved, records, sizeof saved);
        for (int r = 0; r < 2; r++) {
            kvi_record *record = &records[r];
            record->handover.next_id = i == 0 ? 1 : record->handover.next_id;
            record->snapshot.durable += i == 1 ? 5 : 0;
            record->handover.durable_high_water = i == 2 ? UINT64_MAX : 10;
            record->handover.shrunk = i == 3 ? KVI_ID_MAX : 0;
            record->snapshot.id += i == 4 ? 1 : 0;
        }
        assert_int_equal(kv_txn_begin(late, KV_TXN_WRITE, &txn), KV_ECORRUPT);
        memcpy(records, saved, sizeof saved);
        commit_number(late, 0, 2);
        munmap(head, KVI_SIDE_HEAD + 64 * 64);
        close_ok(late);
    }
    close_last(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_hostile_words),
        TEST(test_hostile_number_of_slots),
        TEST(test_hostile_record),
        TEST(test_hostile_handover),
    };
    return cmocka_run_group_tests_name("sharing: hostile side file", tests, setup, teardown);
}
