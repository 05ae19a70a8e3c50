/* Recovery at the edges of a file's life: read-only opens, what an open costs, creation. */
#include "recover_machine.h"

/* ---- read-only ---- */

static void test_readonly_after_a_kill(void **state)
{
    kv_db *db = open_db();
    commit_text(db, 0, "one");
    uint64_t id = commit_text(db, 0, "two");
    crash(db, false);
    db = open_flags(KV_OPEN_READONLY);
    assert_int_equal(writes(), 0);
    assert_int_equal(flushes(), 1); /* works on a descriptor that only reads */
    assert_int_equal(newest(db), id);
    expect_text(db, "two");
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_EREADONLY);
    sound(db);
    close_db(db);
    assert_int_equal(writes(), 0);
    db = open_db(); /* the next writer still has to adopt */
    assert_int_equal(flushes(), 1);
    expect_text(db, "two");
    close_db(db);
}

static void test_readonly_fallback_writes_nothing(void **state)
{
    kv_db *db = open_db();
    commit_text(db, 0, "one");
    size_t mark = disk->n_events;
    commit_text(db, 0, "two");
    damage_since(mark);
    crash(db, false);
    db = open_flags(KV_OPEN_READONLY);
    expect_text(db, "one");
    close_db(db);
    assert_int_equal(writes(), 0);
}

static void test_immutable_touches_nothing(void **state)
{
    kv_db *db = open_db();
    commit_text(db, 0, "one");
    crash(db, false);
    db = open_flags(KV_OPEN_READONLY | KV_OPEN_IMMUTABLE);
    expect_text(db, "one");
    close_db(db);
    assert_int_equal(writes() + flushes() + fault.calls[FAULT_LOCK], 0);
}

/* Lazy commits that write no page are flushed by a close like others. */
static void test_close_after_a_lazy_nothing(void **state)
{
    for (int what = 0; what < 3; what++) {
        kv_db *db = open_db();
        commit_text(db, KV_TXN_STRICT, "one");
        kv_txn *txn = begin(db, KV_TXN_WRITE | KV_TXN_LAZY);
        if (what == 0)
            assert_int_equal(kv_tree_clear(kv_txn_main(txn)), KV_OK);
        if (what == 1)
            assert_int_equal(kv_del(kv_txn_main(txn), "key", 3), KV_OK);
        if (what == 2)
            put_text(txn, "key", "two");
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        size_t lazy = disk->n_events;
        close_db(db);
        assert_true(lazy < disk->n_events);
        uint32_t pending[64];
        size_t n = sim_pending(disk, 0, disk->n_events, pending);
        for (size_t i = 0; i < n; i++) /* what is left is the confirmation */
            assert_true(pending[i] >= lazy ||
                        disk->events[pending[i]].file != sim_find(disk, "db"));
        fresh(NULL);
    }
}

/* Grows and shrinks, so that records of space leave the meta. */
static void commit_round(kv_db *db, uint32_t flags, unsigned round)
{
    char key[16];
    kv_txn *txn = begin(db, KV_TXN_WRITE | flags);
    for (unsigned i = 0; i < 40; i++) {
        snprintf(key, sizeof key, "%03u", (i * 37 + round * 11) % 400);
        if ((i + round) % 5)
            put_text(txn, key, "a value of some length, so that a page has few of them");
        else
            (void)kv_del(kv_txn_main(txn), key, strlen(key));
    }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* A large value, so that the records have several bitmap pages where pages are tiny. */
static void commit_large(kv_db *db)
{
    static uint8_t large[8 << 20];
    kv_txn *txn = begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_put(kv_txn_main(txn), "large", 5, large, sizeof large, 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* The page that a pointer of the records leads to, if it is not newer than the durable commit. */
static uint8_t *old_record(const kv_db *db, kvi_ptr ptr)
{
    kvi_slice file = sim_get_file(disk, "db");
    bool old = ptr.page && ptr.birth <= db->head.durable;
    return old ? (uint8_t *)(uintptr_t)file.ptr + ptr.page * PAGE_SIZE : NULL;
}

/* Records are forgotten behind a tail whose seal counts some of them: a kill takes no commit. */
static void test_forgotten_behind_a_tail(void **state)
{
    unsigned met = 0;
    if (exclusive) /* it takes two */
        return;
    for (unsigned lazy = 1; lazy < 40; lazy += 3) {
        kv_db *db = open_db(), *second;
        kv_slice value;
        unsigned round = 0;
        commit_large(db);
        while (!db->head.meta.log.page && round < 400)
            commit_round(db, KV_TXN_LAZY, round++);
        commit_round(db, KV_TXN_STRICT, round++);
        kvi_ptr log = db->head.meta.log;
        uint8_t *page = old_record(db, log.page ? log : db->head.meta.map);
        for (unsigned i = 0; i < lazy; i++)
            commit_round(db, KV_TXN_LAZY, round++);
        if (page)
            page[PAGE_SIZE - 20] ^= 1;
        second = open_flags(0);
        for (unsigned i = 0; i < 3; i++)
            commit_text(second, KV_TXN_LAZY, "through the second");
        met += log.page && db->head.meta.log.page != log.page;
        uint64_t id = commit_text(db, KV_TXN_LAZY, "last");
        crash_both(db, second, false);
        db = open_db();
        assert_true(newest(db) >= id);
        kv_txn *txn = begin(db, KV_TXN_READ);
        assert_int_equal(kv_get(kv_txn_main(txn), "key", 3, &value), KV_OK);
        assert_memory_equal(value.ptr, "last", 4);
        kv_txn_abort(txn);
        assert_int_equal(kv_db_close(db), KV_OK);
        fresh(NULL);
    }
#ifdef KVI_STRESS
    assert_true(met > 0);
#else
    (void)met;
#endif
}

/* Where there can be no side file, a reader does without, a writer is refused. */
static void test_reader_on_a_full_disk(void **state)
{
    static const fault_case plans[] = {
        {.at = 1, .mask = FAULT_BIT(FAULT_PWRITEV), .sticky = true, .error = ENOSPC},
        {.at = 1, .mask = FAULT_BIT(FAULT_PWRITEV), .sticky = true, .error = EDQUOT},
        {.at = 2, .mask = FAULT_BIT(FAULT_OPEN), .error = ENOSPC},
        {.at = 2, .mask = FAULT_BIT(FAULT_OPEN), .error = EROFS},
        {.at = 2, .mask = FAULT_BIT(FAULT_OPEN), .error = EACCES},
        {.at = 1, .mask = FAULT_BIT(FAULT_MAP_SHARED), .error = ENOMEM},
    };
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    kv_db *db = open_db();
    commit_text(db, 0, "one");
    close_db(db);
    for (size_t i = 0; i < KVI_COUNT(plans); i++) {
        char text[320];
        fault_plan(&fault, plans[i]);
        assert_int_equal(kvi_db_open(&fault.os, "db", &options, &db, NULL, 0), KV_OK);
        assert_true(fault_hit(&fault));
        assert_int_equal(stat_of(db).guest, 1);
        kv_db_errmsg(db, text, sizeof text);
        assert_string_equal(text, "");
        assert_true(sim_find(disk, "db-lock") < 0);
        expect_text(db, "one");
        close_db(db);
    }
    for (size_t i = 0; i < KVI_COUNT(plans); i++) {
        kv_options writing = {.size = sizeof writing};
        fault_plan(&fault, plans[i]);
        assert_true(kvi_db_open(&fault.os, "db", &writing, &db, NULL, 0) < 0);
        assert_true(fault_balanced(&fault));
    }
}

/* ---- cost ---- */

static uint64_t written_since(size_t event)
{
    uint64_t sum = 0;
    for (size_t i = event; i < disk->n_events; i++)
        if (disk->events[i].kind == SIM_WRITE && disk->events[i].off >= METAS_END)
            sum += disk->events[i].len;
    return sum;
}

/* An open after a crash reads what the last commit wrote, once, and the two metas; the rest of the
 * file is left alone. */
static void test_open_reads_the_last_commit_only(void **state)
{
    kv_db *db = open_db();
    commit_many(db, 0, 20000, 60);
    commit_text(db, 0, "one");
    size_t mark = disk->n_events;
    commit_text(db, 0, "two");
    uint64_t written = written_since(mark), size = sim_get_file(disk, "db").len;
    crash(db, false);
    db = open_db();
    assert_true(bytes_read <= written + 2 * KVI_META_SIZE);
    assert_true(bytes_read < size / 10);
    expect_text(db, "two");
    close_db(db);
    db = open_db();
    assert_true(bytes_read <= 2 * KVI_META_SIZE); /* confirmed: nothing but the metas */
    close_db(db);
}

/* ---- creation ---- */

/* The disk after the first upto events of a creation, without what no flush settled. */
static void image_of(sim_disk *made, size_t upto, sim_disk *image)
{
    static sim_unit units[UNITS_MAX];
    static uint32_t pending[UNITS_MAX];
    sim_tear tear = {.block = 4096, .word = 8, .words_end = METAS_END};
    size_t n = 0, next = 0, lost = sim_pending(made, 0, upto, pending);
    for (size_t i = 0; i < upto; i++) {
        if (next < lost && pending[next] == i)
            next++;
        else
            n += sim_event_units(made, i, &tear, units + n, UNITS_MAX - n);
    }
    assert_true(n < UNITS_MAX);
    sim_apply(image, units, n);
}

static void creation_left(sim_disk *image)
{
    kvi_slice file = sim_get_file(image, "db");
    watch(image);
    rng_seed(&image->random, 99); /* its temporary names are not those of the first creation */
    kv_db *db;
    kv_options options = {.size = sizeof options};
    int rc = kvi_db_open(&fault.os, "db", &options, &db, NULL, 0);
    assert_int_equal(rc, file.ptr ? KV_OK : KV_ENOENT);
    if (rc == KV_OK) {
        expect_text(db, NULL);
        sound(db);
        commit_text(db, 0, "one");
        close_db(db);
    } else {
        db = open_db(); /* what lies about is not in the way */
        close_db(db);
    }
}

static void test_creation_is_whole_or_nothing(void **state)
{
    close_db(open_db());
    size_t events = disk->n_events;
    sim_disk *kept = sim_new(3);
    for (size_t upto = 0; upto <= events; upto++) {
        sim_reset(other);
        image_of(disk, upto, other); /* all that could be lost is lost */
        creation_left(other);
    }
    while (events-- > 0) {
        sim_rewind(disk, events); /* nothing is lost */
        sim_clone(kept, disk);
        creation_left(kept);
    }
    sim_free(kept);
}

/* When the open returns, the name is durable. */
static void test_creation_is_durable(void **state)
{
    close_db(open_db());
    sim_reset(other);
    image_of(disk, disk->n_events, other);
    assert_non_null(sim_get_file(other, "db").ptr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_readonly_after_a_kill),        TEST(test_readonly_fallback_writes_nothing),
        TEST(test_immutable_touches_nothing),    TEST(test_forgotten_behind_a_tail),
        TEST(test_immutable_touches_nothing),    TEST(test_close_after_a_lazy_nothing),
        TEST(test_reader_on_a_full_disk),        TEST(test_open_reads_the_last_commit_only),
        TEST(test_creation_is_whole_or_nothing), TEST(test_creation_is_durable),
    };
    return RUN_BOTH_WAYS("recover_life", tests);
}
