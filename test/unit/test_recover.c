/* What an open finds after each kind of end, rule by rule (docs/design.md, recovery). */
#include "recover_machine.h"
#include <stdlib.h>

/* ---- adoption and confirmation ---- */

/* Whether the newest commit is durable is unknown after a kill: it is written again in place and
 * flushed once, and is what everybody sees. */
static void test_adoption_after_kill(void **state)
{
    kv_db *db = open_db();
    commit_text(db, 0, "one");
    uint64_t id = commit_text(db, 0, "two");
    crash(db, false);
    db = open_db();
    assert_int_equal(flushes(), 1);
    assert_true(writes() >= 2); /* its pages, its meta */
    assert_int_equal(newest(db), id);
    assert_int_equal(kv_db_durable_id(db), id);
    expect_text(db, "two");
    assert_int_equal(commit_text(db, 0, "three"), id + 1);
    sound(db);
    close_db(db);
}

/* The adopted commit stands in its own slot: the other one still holds the commit before it. */
static void test_adoption_keeps_the_other_slot(void **state)
{
    kv_db *db = open_db();
    commit_text(db, 0, "one");
    commit_text(db, 0, "two");
    crash(db, false);
    uint8_t before[METAS_END];
    memcpy(before, sim_get_file(disk, "db").ptr, sizeof before);
    db = open_db();
    assert_memory_equal(before, sim_get_file(disk, "db").ptr, sizeof before);
    close_db(db);
}

static void test_adoption_of_a_lazy_tail(void **state)
{
    kv_db *db = open_db();
    commit_text(db, 0, "one");
    forget_counts();
    commit_text(db, KV_TXN_LAZY, "two");
    uint64_t id = commit_text(db, KV_TXN_LAZY, "three");
    assert_int_equal(flushes(), 0);
    assert_true(kv_db_durable_id(db) < id);
    crash(db, false);
    db = open_db();
    assert_int_equal(flushes(), 1);
    assert_int_equal(kv_db_durable_id(db), id);
    expect_text(db, "three");
    sound(db);
    close_db(db);
}

/* A clean close leaves a second copy of the newest meta, so the next open has nothing to prove. */
static void test_confirmation_at_close(void **state)
{
    kv_db *db = open_db();
    uint64_t id = commit_text(db, 0, "one");
    forget_counts();
    close_db(db);
    assert_int_equal(flushes(), 0);
    db = open_db();
    assert_int_equal(flushes(), 0);
    assert_int_equal(writes(), 0);
    assert_int_equal(newest(db), id);
    expect_text(db, "one");
    close_db(db);
    assert_int_equal(writes(), 0);
}

static void test_confirmation_after_lazy_commits(void **state)
{
    kv_db *db = open_db();
    commit_text(db, KV_TXN_LAZY, "one");
    forget_counts();
    close_db(db);
    assert_int_equal(flushes(), 1);
    db = open_db();
    assert_int_equal(flushes(), 0);
    expect_text(db, "one");
    close_db(db);
}

static void test_no_close_sync(void **state)
{
    kv_db *db = open_flags(KV_OPEN_CREATE | KV_OPEN_NO_CLOSE_SYNC);
    commit_text(db, KV_TXN_LAZY, "one");
    forget_counts();
    close_db(db);
    assert_int_equal(flushes(), 0);
    assert_int_equal(writes(), 0); /* no confirmation of what is not durable */
    db = open_db();
    assert_int_equal(flushes(), 1);
    expect_text(db, "one");
    close_db(db);
}

/* A strict commit's pages are proven, its meta is not: that alone is written again. A close
 * confirms it like any other. */
static void test_strict_commit_reopen(void **state)
{
    kv_db *db = open_db();
    forget_counts();
    commit_text(db, KV_TXN_STRICT, "one");
    assert_int_equal(flushes(), 2);
    crash(db, false);
    db = open_db();
    assert_int_equal(flushes(), 1);
    assert_int_equal(writes(), 1);
    expect_text(db, "one");
    forget_counts();
    close_db(db);
    assert_int_equal(writes(), 1);
    assert_int_equal(flushes(), 0);
    db = open_db();
    assert_int_equal(flushes(), 0);
    assert_int_equal(writes(), 0);
    close_db(db);
}

/* ---- fallback ---- */

static void test_fallback_to_the_commit_before(void **state)
{
    kv_db *db = open_db();
    uint64_t one = commit_text(db, 0, "one");
    size_t mark = disk->n_events;
    uint64_t two = commit_text(db, 0, "two");
    damage_since(mark);
    crash(db, false);
    db = open_db();
    assert_int_equal(newest(db), one);
    expect_text(db, "one");
    kv_txn *txn = begin(db, KV_TXN_WRITE);
    assert_true(kv_txn_id(txn) >= two + KVI_ID_SKIP);
    kv_txn_abort(txn);
    close_db(db);
    db = open_db(); /* nothing was confirmed over the rejected one */
    expect_text(db, "one");
    commit_text(db, 0, "three");
    crash(db, false);
    db = open_db();
    expect_text(db, "three");
    sound(db);
    close_db(db);
}

/* A confirmed commit is never rolled back: there is nothing to fall back to. */
static void test_no_fallback_behind_a_confirmation(void **state)
{
    kv_db *db = open_db();
    commit_text(db, 0, "one");
    size_t mark = disk->n_events;
    commit_text(db, 0, "two");
    close_db(db);
    damage_since(mark);
    db = open_db();
    kv_txn *txn = begin(db, KV_TXN_READ);
    kv_slice value;
    assert_int_equal(kv_get(kv_txn_main(txn), "key", 3, &value), KV_ECORRUPT);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_check(db, NULL), KV_ECORRUPT);
    (void)kv_db_close(db);
}

/* A whole slot whose id is not the rejected commit's last durable one is of no use. */
static void test_no_fallback_to_an_older_commit(void **state)
{
    kv_db *db = open_db();
    commit_text(db, 0, "one");
    kvi_slice file = sim_get_file(disk, "db");
    size_t len = file.len;
    uint8_t *old = test_malloc(len);
    memcpy(old, file.ptr, len);
    commit_text(db, 0, "two");
    commit_text(db, 0, "three");
    size_t mark = disk->n_events;
    commit_text(db, 0, "four");
    damage_since(mark);
    /* The slot of "three" (where "one" was) shows "one" again, and all its pages are there. */
    uint8_t *bytes = disk->files[sim_find(disk, "db")].bytes;
    uint64_t stride = kvi_meta_stride(PAGE_SIZE), id = newest(db);
    for (unsigned slot = 0; slot < 2; slot++) {
        kvi_meta meta;
        assert_int_equal(kvi_meta_decode(bytes + slot * stride, &meta), KVI_META_VALID);
        if (meta.id != id)
            memcpy(bytes + slot * stride, old + slot * stride, KVI_META_SIZE);
    }
    memcpy(bytes + METAS_END, old + METAS_END, len - METAS_END);
    test_free(old);
    crash(db, false);
    kv_options options = {.size = sizeof options};
    assert_int_equal(kvi_db_open(&fault.os, "db", &options, &db, NULL, 0), KV_ECORRUPT);
    assert_true(fault_balanced(&fault));
}

#define SECTOR 512

/* A sector of both blocks in which they differ, behind the first. */
static size_t differing_sector(const uint8_t *a, const uint8_t *b)
{
    size_t at = SECTOR;
    while (at < KVI_META_SIZE && memcmp(a + at, b + at, SECTOR) == 0)
        at += SECTOR;
    assert_true(at < KVI_META_SIZE);
    return at;
}

/* Where the file has the meta of a commit. */
static uint8_t *meta_of(uint64_t id)
{
    uint8_t *bytes = disk->files[sim_find(disk, "db")].bytes;
    kvi_meta meta;
    assert_int_equal(kvi_meta_decode(bytes, &meta), KVI_META_VALID);
    return meta.id == id ? bytes : bytes + kvi_meta_stride(PAGE_SIZE);
}

/* What is left of a commit that did not happen is gone before anything else is written: a later
 * write to its slot or page, cut short, might bring just the sector that it lacks, and it would be
 * whole. */
static void rejected_does_not_come_back(bool lacks_page, bool behind_reader)
{
    uint8_t before[METAS_END], sector[SECTOR];
    kv_db *db = open_db(), *reader = NULL;
    commit_text(db, 0, "one");
    memcpy(before, file_bytes(), sizeof before);
    size_t event = disk->n_events;
    uint8_t *meta = meta_of(commit_text(db, 0, "two"));
    size_t slot = (size_t)(meta - file_bytes());
    size_t at = lacks_page ? page_since(event) : slot + differing_sector(meta, before + slot);
    crash(db, false);
    memcpy(sector, file_bytes() + at, SECTOR);
    if (lacks_page)
        memset(file_bytes() + at, 0, SECTOR);
    else
        memcpy(file_bytes() + at, before + at, SECTOR);
    if (behind_reader)
        reader = open_flags(KV_OPEN_READONLY);
    db = open_db();
    expect_text(db, "one");
    if (behind_reader)
        kv_txn_abort(begin(db, KV_TXN_WRITE)); /* who writes no page yet */
    crash_both(db, reader, false);
    memcpy(file_bytes() + at, sector, SECTOR);
    db = open_db();
    expect_text(db, "one");
    sound(db);
    close_db(db);
}

static void test_a_rejected_commit_does_not_come_back(void **state)
{
    for (int how = 0; how < (exclusive ? 2 : 4); how++) {
        fresh(NULL);
        rejected_does_not_come_back(how & 1, how & 2);
    }
}

static void test_one_torn_meta(void **state)
{
    kv_db *db = open_db();
    commit_text(db, 0, "one");
    commit_text(db, 0, "two");
    close_db(db);
    uint8_t *bytes = disk->files[sim_find(disk, "db")].bytes;
    for (unsigned slot = 0; slot < 2; slot++) {
        uint8_t *meta = bytes + slot * kvi_meta_stride(PAGE_SIZE);
        meta[KVI_META_SIZE / 2] ^= 1;
        db = open_flags(KV_OPEN_READONLY);
        expect_text(db, "two");
        close_db(db);
        meta[KVI_META_SIZE / 2] ^= 1;
    }
}

/* ---- ids and boots ---- */

/* Readers of the last boot may have seen ids that the disk lost: many are passed over, and the
 * first commit behind them is durable whatever was asked for. */
static void test_id_skip_after_a_boot(void **state)
{
    kv_db *db = open_db();
    uint64_t id = commit_text(db, 0, "one");
    crash(db, true);
    db = open_db();
    forget_counts();
    uint64_t next = commit_text(db, KV_TXN_LAZY, "two");
    assert_true(next >= id + KVI_ID_SKIP);
    assert_int_equal(flushes(), 1);
    assert_int_equal(kv_db_durable_id(db), next);
    assert_int_equal(commit_text(db, KV_TXN_LAZY, "three"), next + 1);
    assert_int_equal(flushes(), 1);
    close_db(db);
}

/* The gap between two ids that may have been seen is not bridged by lazy commits. */
static void test_lazy_commits_end_before_the_skip(void **state)
{
    kv_db *db = open_db();
    commit_text(db, 0, "one");
    db->head.next_id = db->head.durable + KVI_ID_SKIP - 2;
    uint64_t lazy = commit_text(db, KV_TXN_LAZY, "two");
    assert_true(kv_db_durable_id(db) < lazy);
    uint64_t id = commit_text(db, KV_TXN_LAZY, "three");
    assert_int_equal(kv_db_durable_id(db), id);
    close_db(db);
}

static void test_id_skip_is_durable_in_every_mode(void **state)
{
    static const struct {
        uint32_t flags;
        uint64_t flushes;
    } kinds[] = {{0, 1}, {KV_TXN_DURABLE, 1}, {KV_TXN_LAZY, 1}, {KV_TXN_STRICT, 2}};
    kv_db *db = open_db();
    for (size_t i = 0; i < KVI_COUNT(kinds); i++) {
        commit_text(db, 0, "before");
        crash(db, true);
        db = open_db();
        forget_counts();
        uint64_t id = commit_text(db, kinds[i].flags, "after");
        assert_int_equal(flushes(), kinds[i].flushes);
        assert_int_equal(kv_db_durable_id(db), id);
    }
    close_db(db);
}

/* While the skip is pending, a close writes nothing: a confirmation would hide that it is. */
static void test_pending_skip_is_not_confirmed(void **state)
{
    kv_db *db = open_db();
    uint64_t id = commit_text(db, 0, "one");
    crash(db, true);
    db = open_db();
    forget_counts();
    close_db(db);
    assert_int_equal(writes(), 0);
    db = open_db();
    kv_txn *txn = begin(db, KV_TXN_WRITE);
    assert_true(kv_txn_id(txn) >= id + KVI_ID_SKIP);
    kv_txn_abort(txn);
    close_db(db);
}

/* An id that an aborted transaction wrote into pages is used up. */
static void test_burnt_id(void **state)
{
    kv_db *db;
    kv_options options = {.size = sizeof options,
                          .flags = KV_OPEN_CREATE,
                          .page_size = PAGE_SIZE,
                          .memory_budget = 8 * PAGE_SIZE};
    assert_int_equal(kvi_db_open(&fault.os, "db", &options, &db, NULL, 0), KV_OK);
    uint64_t id = commit_text(db, 0, "one");
    kv_txn *txn = begin(db, KV_TXN_WRITE);
    forget_counts();
    put_many(txn, 40 * PAGE_SIZE / 512, 100);
    assert_true(writes() > 0);
    uint64_t burnt = kv_txn_id(txn);
    assert_true(burnt > id);
    kv_txn_abort(txn);
    assert_int_equal(commit_text(db, 0, "two"), burnt + 1);
    txn = begin(db, KV_TXN_WRITE);
    put_text(txn, "key", "never written");
    kv_txn_abort(txn);
    assert_int_equal(commit_text(db, 0, "three"), burnt + 2);
    sound(db);
    close_db(db);
}

/* ---- long lazy tails ---- */

static unsigned over_cap(void)
{
    return (unsigned)(2 * KVI_WALK_CAP / 100);
}

static kv_db *long_tail(uint64_t *durable, uint64_t *last)
{
    kv_db *db = open_db();
    *durable = commit_text(db, 0, "one");
    commit_many(db, KV_TXN_LAZY, over_cap(), 100);
    *last = commit_text(db, KV_TXN_LAZY, "two");
    assert_int_equal(kv_db_durable_id(db), *durable);
    return db;
}

/* Believed on the boot that wrote it, and then proven for good: two flushes. */
static void test_long_tail_on_the_same_boot(void **state)
{
    uint64_t durable, last;
    kv_db *db = long_tail(&durable, &last);
    crash(db, false);
    db = open_db();
    assert_int_equal(flushes(), 2);
    assert_int_equal(newest(db), last);
    expect_text(db, "two");
    sound(db);
    crash(db, true); /* now it is one of the durable ones */
    db = open_db();
    assert_int_equal(newest(db), last);
    expect_text(db, "two");
    close_db(db);
}

static void test_long_tail_on_another_boot(void **state)
{
    uint64_t durable, last;
    kv_db *db = long_tail(&durable, &last);
    crash(db, true);
    db = open_db();
    expect_text(db, "one");
    uint64_t count;
    kv_txn *txn = begin(db, KV_TXN_READ);
    assert_int_equal(kv_count(kv_txn_main(txn), NULL, &count), KV_OK);
    assert_int_equal(count, 1);
    kv_txn_abort(txn);
    assert_true(commit_text(db, 0, "three") >= last + KVI_ID_SKIP);
    sound(db);
    crash(db, false);
    db = open_db();
    expect_text(db, "three");
    sound(db);
    close_db(db);
}

/* What was discarded stays discarded, also when the next open comes before the next commit. */
static void test_long_tail_does_not_come_back(void **state)
{
    uint64_t durable, last;
    kv_db *db = long_tail(&durable, &last);
    uint64_t boots = disk->boots;
    crash(db, true);
    db = open_db();
    expect_text(db, "one");
    crash(db, false);
    disk->boots = boots; /* the same id again, as after a volume snapshot */
    db = open_db();
    expect_text(db, "one");
    close_db(db);
}

/* A durable commit over the cap takes two flushes at once, and none are left for the open. */
static void test_large_commit_is_strict(void **state)
{
    kv_db *db = open_db();
    forget_counts();
    commit_many(db, 0, over_cap(), 100);
    assert_int_equal(flushes(), 2);
    crash(db, false);
    db = open_db();
    assert_int_equal(flushes(), 1);
    assert_int_equal(writes(), 1);
    sound(db);
    close_db(db);
}

static void test_sync(void **state)
{
    kv_db *db = open_db();
    uint64_t id = commit_text(db, KV_TXN_LAZY, "one");
    forget_counts();
    assert_int_equal(kv_db_sync(db), KV_OK);
    assert_int_equal(flushes(), 1);
    assert_int_equal(writes(), 0);
    assert_int_equal(kv_db_durable_id(db), id);
    assert_int_equal(kv_db_sync(db), KV_OK);
    assert_int_equal(flushes(), 1);
    commit_many(db, KV_TXN_LAZY, over_cap(), 100);
    forget_counts();
    assert_int_equal(kv_db_sync(db), KV_OK);
    assert_int_equal(flushes(), 2);
    assert_int_equal(writes(), 1);
    crash(db, true);
    db = open_db();
    expect_text(db, "one");
    sound(db);
    close_db(db);
}

/* ---- failures ---- */

static void fail_flush(unsigned n)
{
    fault_plan(&fault, (fault_case){.at = n, .mask = FAULT_BIT(FAULT_SYNC)});
}

static void test_failed_flush_poisons(void **state)
{
    kv_db *db = open_db();
    commit_text(db, 0, "one");
    kv_txn *txn = begin(db, KV_TXN_WRITE), *reader = begin(db, KV_TXN_READ);
    put_text(txn, "key", "two");
    fail_flush(1);
    assert_int_equal(kv_txn_commit(txn), KV_EPOISONED);
    expect_text(db, "one");
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_EPOISONED);
    assert_int_equal(kv_db_sync(db), KV_EPOISONED);
    assert_int_equal(flushes(), 1); /* never a second one */
    assert_int_equal(stat_of(db).poisoned, 1);
    kv_txn_abort(reader);
    uint64_t written = writes();
    close_db(db);
    assert_int_equal(writes(), written);
    db = open_db(); /* the bytes are all there */
    assert_int_equal(flushes(), 1);
    expect_text(db, "two");
    commit_text(db, 0, "three");
    sound(db);
    close_db(db);
}

/* Adoption's own flush fails: the commit is read, not written behind, and not fallen back from. That
 * goes for those who come later, too. */
static void test_failed_flush_of_the_adoption(void **state)
{
    kv_db *db = open_db(), *second;
    commit_text(db, 0, "one");
    commit_text(db, 0, "two");
    crash(db, false);
    kv_options options = {.size = sizeof options};
    fail_flush(1);
    assert_int_equal(kvi_db_open(&fault.os, "db", &options, &db, NULL, 0), KV_OK);
    expect_text(db, "two");
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_EPOISONED);
    if (!exclusive) {
        assert_int_equal(kvi_db_open(&fault.os, "db", &options, &second, NULL, 0), KV_OK);
        expect_text(second, "two");
        assert_int_equal(kv_txn_begin(second, KV_TXN_WRITE, &txn), KV_EPOISONED);
        assert_int_equal(kv_db_close(second), KV_OK);
        assert_int_equal(flushes(), 1);
    }
    close_db(db);
    db = open_db();
    expect_text(db, "two");
    close_db(db);
}

/* A read error decides nothing. */
static void test_read_error_in_the_walk(void **state)
{
    kv_db *db = open_db();
    commit_text(db, 0, "one");
    commit_text(db, 0, "two");
    crash(db, false);
    kv_options options = {.size = sizeof options};
    fault_plan(&fault,
               (fault_case){.at = 3, .mask = FAULT_BIT(FAULT_PREAD)}); /* behind both metas */
    assert_int_equal(kvi_db_open(&fault.os, "db", &options, &db, NULL, 0), KV_EIO);
    assert_true(fault_balanced(&fault));
    db = open_db();
    expect_text(db, "two");
    close_db(db);
}

/* Nor one of a meta, whichever: the newest commit may be there. */
static void test_one_unreadable_meta(void **state)
{
    kv_options options = {.size = sizeof options};
    for (unsigned commits = 1; commits <= 4; commits++)
        for (unsigned slot = 0; slot < 2; slot++) {
            kv_db *db = open_db();
            for (unsigned i = 0; i < commits; i++)
                commit_text(db, 0, "older");
            commit_text(db, 0, "newest");
            crash(db, false);
            fault_plan(&fault, (fault_case){.at = 1 + slot, .mask = FAULT_BIT(FAULT_PREAD)});
            assert_int_equal(kvi_db_open(&fault.os, "db", &options, &db, NULL, 0), KV_EIO);
            assert_true(fault_balanced(&fault));
            db = open_db();
            expect_text(db, "newest");
            close_db(db);
        }
}

static void test_unreadable_metas(void **state)
{
    close_db(open_db());
    kv_db *db;
    kv_options options = {.size = sizeof options};
    fault_plan(&fault, (fault_case){.at = 1, .sticky = true, .mask = FAULT_BIT(FAULT_PREAD)});
    assert_int_equal(kvi_db_open(&fault.os, "db", &options, &db, NULL, 0), KV_EIO);
    assert_true(fault_balanced(&fault));
}

/* ---- every call of an open that has something to prove ---- */

typedef struct crashed {
    uint8_t *bytes; /* of the file that a crash left */
    size_t len;
    uint64_t boots;
} crashed;

static crashed take_bytes(void)
{
    kvi_slice file = sim_get_file(disk, "db");
    crashed left = {malloc(file.len), file.len, disk->boots};
    assert_non_null(left.bytes);
    memcpy(left.bytes, file.ptr, file.len);
    return left;
}

static crashed crash_to_bytes(kv_db *db)
{
    crash(db, false);
    return take_bytes();
}

static void lay(const crashed *left)
{
    sim_reset(disk);
    sim_put_file(disk, "db", left->bytes, left->len);
    disk->boots = left->boots;
    watch(disk);
}

static uint8_t *block_of(const crashed *left, unsigned slot)
{
    return left->bytes + slot * kvi_meta_stride(PAGE_SIZE);
}

/* Opens with the plan in force. */
static int open_planned(const crashed *left, fault_case plan, kv_db **db)
{
    kv_options options = {.size = sizeof options, .flags = exclusive ? KV_OPEN_EXCLUSIVE : 0};
    lay(left);
    fault_plan(&fault, plan);
    int rc = kvi_db_open(&fault.os, "db", &options, db, NULL, 0);
    assert_true(rc == KV_OK || fault_balanced(&fault));
    return rc;
}

/* Fails each call of the kind in turn, from number at on: an open that succeeds all the same has this
 * text, and so has the next one, that nothing fails. */
static void fail_each(crashed left, uint32_t mask, uint64_t at, const char *text)
{
    for (bool hit = true; hit; at++) {
        kv_db *db;
        int rc = open_planned(&left, (fault_case){.at = at, .mask = mask}, &db);
        hit = fault_hit(&fault);
        assert_true(rc == KV_OK || hit);
        fault_plan(&fault, (fault_case){0});
        if (rc == KV_OK) {
            expect_text(db, text);
            close_db(db);
        }
        db = open_db();
        expect_text(db, text);
        sound(db);
        close_db(db);
    }
    free(left.bytes);
}

static crashed a_lazy_tail(void)
{
    kv_db *db = open_db();
    commit_text(db, 0, "one");
    commit_many(db, KV_TXN_LAZY, 40, 200);
    commit_text(db, KV_TXN_LAZY, "two");
    return crash_to_bytes(db);
}

/* The newest of three is not whole, the one before it has yet to be proven. */
static crashed a_remnant(void)
{
    kv_db *db = open_db();
    commit_text(db, 0, "one");
    commit_text(db, 0, "two");
    size_t event = disk->n_events;
    commit_text(db, 0, "three");
    damage_since(event);
    return crash_to_bytes(db);
}

static crashed a_long_tail(void)
{
    uint64_t durable, last;
    return crash_to_bytes(long_tail(&durable, &last));
}

#define FAULT_CHANGES (FAULT_BIT(FAULT_PWRITEV) | FAULT_BIT(FAULT_SYNC))

/* A long tail of another boot is discarded before the first commit; until that worked, nothing is
 * written. */
static void test_unwritable_burial(void **state)
{
    crashed left = a_long_tail();
    left.boots++;
    bool hit = true;
    unsigned refused = 0;
    for (uint64_t at = 1; hit; at++) {
        kv_db *db;
        int rc = open_planned(&left, (fault_case){.at = at, .mask = FAULT_CHANGES}, &db);
        hit = fault_hit(&fault);
        assert_true(hit ? rc == KV_EPOISONED || rc == KV_EIO : rc == KV_OK);
        refused += rc == KV_EPOISONED;
        if (rc == KV_OK) {
            expect_text(db, "one");
            close_db(db);
        }
    }
    assert_int_equal(refused, 2); /* the write, the flush; others make the side file */
    free(left.bytes);
}

static void test_no_memory_to_recover(void **state)
{
    fail_each(a_lazy_tail(), FAULT_MEMORY, 1, "two");
    fail_each(a_remnant(), FAULT_MEMORY, 1, "two");
}

static void test_unreadable_pages(void **state)
{
    fail_each(a_lazy_tail(), FAULT_BIT(FAULT_PREAD), 3, "two"); /* behind both metas */
    fail_each(a_remnant(), FAULT_BIT(FAULT_PREAD), 3, "two");
}

static void test_unwritable_adoption(void **state)
{
    fail_each(a_lazy_tail(), FAULT_CHANGES, 1, "two");
    fail_each(a_remnant(), FAULT_CHANGES, 1, "two");
    fail_each(a_long_tail(), FAULT_BIT(FAULT_SYNC), 1, "two");
}

/* ---- metas that do not belong together ---- */

static void stamp(uint8_t *block)
{
    kvi_put64(block + KVI_M_checksum,
              kvi_hash_meta(block + KVI_M_version, KVI_META_SIZE - KVI_M_version));
}

static void lie32(uint8_t *block, unsigned at, uint32_t number)
{
    kvi_put32(block + at, number);
    stamp(block);
}

/* What an open says of two metas of which some are changed. */
static void test_odd_pairs(void **state)
{
    enum change { RIGHT, GONE, TORN, OTHER_SIZE, OTHER_SEED, OTHER_VERSION };
    static const struct {
        enum change metas[2];
        int rc;
    } cases[] = {
        {{RIGHT, OTHER_SIZE}, KV_OK},
        {{RIGHT, OTHER_SEED}, KV_OK},
        {{RIGHT, OTHER_VERSION}, KV_EVERSION},
        {{OTHER_VERSION, RIGHT}, KV_EVERSION},
        {{GONE, OTHER_VERSION}, KV_EVERSION},
        {{GONE, RIGHT}, KV_OK},
        {{GONE, OTHER_SIZE}, KV_ECORRUPT},
        {{TORN, TORN}, KV_ECORRUPT},
        {{TORN, GONE}, KV_ECORRUPT},
        {{GONE, TORN}, KV_ECORRUPT},
        {{GONE, GONE}, KV_ENOTKV},
    };
    kv_db *db = open_db();
    commit_text(db, 0, "one");
    close_db(db);
    crashed right = take_bytes();
    for (size_t i = 0; i < KVI_COUNT(cases); i++) {
        lay(&right);
        crashed odd = take_bytes();
        for (unsigned slot = 0; slot < 2; slot++) {
            uint8_t *block = block_of(&odd, slot);
            switch (cases[i].metas[slot]) {
            case RIGHT:
                break;
            case GONE:
                memset(block, 0, KVI_META_SIZE);
                break;
            case TORN:
                block[300] ^= 1;
                break;
            case OTHER_SIZE:
                lie32(block, KVI_M_page_size, 2 * PAGE_SIZE);
                break;
            case OTHER_SEED:
                lie32(block, KVI_M_hash_seed, 12345);
                break;
            case OTHER_VERSION:
                lie32(block, KVI_M_version, KVI_VERSION + 1);
                break;
            }
        }
        int rc = open_planned(&odd, (fault_case){0}, &db);
        if (rc != cases[i].rc)
            fail_msg("case %zu: %d", i, rc);
        if (rc == KV_OK) {
            expect_text(db, "one");
            close_db(db);
        }
        free(odd.bytes);
    }
    free(right.bytes);
}

/* The meta of the newest commit says that more pages belong to it than do: it is not whole. */
static void test_longer_walk(void **state)
{
    crashed left = a_lazy_tail();
    kvi_meta meta[2];
    for (unsigned slot = 0; slot < 2; slot++)
        assert_int_equal(kvi_meta_decode(block_of(&left, slot), &meta[slot]), KVI_META_VALID);
    unsigned newest = meta[1].id > meta[0].id;
    meta[newest].walk += PAGE_SIZE;
    kvi_meta_encode(&meta[newest], block_of(&left, newest));
    kv_db *db;
    assert_int_equal(open_planned(&left, (fault_case){0}, &db), KV_OK);
    expect_text(db, "one");
    close_db(db);
    free(left.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_adoption_after_kill),
        TEST(test_adoption_keeps_the_other_slot),
        TEST(test_adoption_of_a_lazy_tail),
        TEST(test_confirmation_at_close),
        TEST(test_confirmation_after_lazy_commits),
        TEST(test_no_close_sync),
        TEST(test_strict_commit_reopen),
        TEST(test_fallback_to_the_commit_before),
        TEST(test_no_fallback_behind_a_confirmation),
        TEST(test_no_fallback_to_an_older_commit),
        TEST(test_a_rejected_commit_does_not_come_back),
        TEST(test_one_torn_meta),
        TEST(test_id_skip_after_a_boot),
        TEST(test_lazy_commits_end_before_the_skip),
        TEST(test_id_skip_is_durable_in_every_mode),
        TEST(test_pending_skip_is_not_confirmed),
        TEST(test_burnt_id),
        TEST(test_long_tail_on_the_same_boot),
        TEST(test_long_tail_on_another_boot),
        TEST(test_long_tail_does_not_come_back),
        TEST(test_large_commit_is_strict),
        TEST(test_sync),
        TEST(test_failed_flush_poisons),
        TEST(test_failed_flush_of_the_adoption),
        TEST(test_read_error_in_the_walk),
        TEST(test_one_unreadable_meta),
        TEST(test_unreadable_metas),
        TEST(test_no_memory_to_recover),
        TEST(test_unreadable_pages),
        TEST(test_unwritable_adoption),
        TEST(test_unwritable_burial),
        TEST(test_odd_pairs),
        TEST(test_longer_walk),
    };
    return RUN_BOTH_WAYS("recover", tests);
}
