/* A process that shares the database dies at any of its system calls, and another one goes on: it
 * keeps its snapshot, writes at once, sees all of the dead one's commit or nothing, and what it then
 * commits survives a power cut. On a simulated machine. */
#include "rounds.h"
#include "takeover_machine.h"
#include <errno.h>

#define SIDE_SLOTS (KVI_SLOTS_FIRST + 3) /* more than the side file has at first */

static mortal victim, earlier;
static kv_db *dying;           /* the victim's handle */
static volatile bool returned; /* the call that the victim was to die in came back */

/* ---- what the victim is about when it dies ---- */

typedef struct labour {
    const char *name;
    void (*before)(kv_db *survivor); /* may be NULL */
    void (*prepare)(mortal *m);      /* unharmed; opens dying, if it is to be open */
    void (*work)(mortal *m);         /* dies in here */
    bool no_reader;                  /* the survivor holds no old snapshot */
} labour;

static void open_dying(mortal *m)
{
    assert_int_equal(open_on(&m->os, 0, &dying), KV_OK);
}

static void do_commit(uint32_t flags)
{
    kv_txn *txn = begin(dying, KV_TXN_WRITE | flags);
    put_n(txn, "base", 5, 30, 'w');
    put_n(txn, "work", 5, 40, 'w');
    assert_true(kv_del(kv_txn_main(txn), "base00007", 9) >= KV_OK);
    commit(txn);
    returned = true;
}

static void work_durable(mortal *m)
{
    do_commit(KV_TXN_DURABLE);
}

static void work_strict(mortal *m)
{
    do_commit(KV_TXN_STRICT);
}

static void work_lazy(mortal *m)
{
    do_commit(KV_TXN_LAZY);
}

static void work_early(mortal *m)
{
    kv_txn *txn = begin(dying, KV_TXN_WRITE);
    put_n(txn, "many", 40 * PAGE_SIZE / 128, 100, 'e');
    commit(txn);
    returned = true;
}

static void work_large(mortal *m)
{
    kv_txn *txn = begin(dying, KV_TXN_WRITE);
    put_n(txn, "large", 3, 60000, 'L');
    commit(txn);
    returned = true;
}

/* Over the cap: it becomes strict. */
static void work_huge(mortal *m)
{
    kv_txn *txn = begin(dying, KV_TXN_WRITE);
    put_n(txn, "huge", 1, KVI_WALK_CAP + 100, 'H');
    commit(txn);
    returned = true;
}

static void lazy_before(mortal *m)
{
    open_dying(m);
    commit_n(dying, KV_TXN_LAZY, "lazy", 10, 50, 'z');
    commit_n(dying, KV_TXN_LAZY, "lazy", 3, 70, 'y');
}

static void lazy_huge_before(mortal *m)
{
    open_dying(m);
    commit_n(dying, KV_TXN_LAZY, "huge", 1, KVI_WALK_CAP + 100, 'h');
}

static void work_sync(mortal *m)
{
    assert_int_equal(kv_db_sync(dying), KV_OK);
    returned = true;
}

static void work_abort(mortal *m)
{
    kv_txn *txn = begin(dying, KV_TXN_WRITE);
    put_n(txn, "many", 40 * PAGE_SIZE / 128, 100, 'e');
    kv_txn_abort(txn);
    returned = true;
}

static void work_close(mortal *m)
{
    assert_int_equal(kv_db_close(dying), KV_OK);
    returned = true;
}

static void prepare_nothing(mortal *m)
{
}

static void work_open(mortal *m)
{
    open_dying(m);
    returned = true;
}

static void work_slots(mortal *m)
{
    kv_txn *txn;
    for (unsigned i = 0; i < SIDE_SLOTS; i++)
        txn = begin(dying, KV_TXN_READ);
    (void)txn;
    returned = true;
}

static void before_truncation(kv_db *survivor)
{
    commit_n(survivor, 0, "tail", 300 * PAGE_SIZE / 4096, 1000, 't');
    kv_txn *txn = begin(survivor, KV_TXN_WRITE);
    kv_range range = {.size = sizeof range, .prefix = "tail", .prefix_len = 4};
    assert_int_equal(kv_del_range(kv_txn_main(txn), &range, NULL), KV_OK);
    commit(txn);
}

/* The space behind the high-water mark falls free with one of these, and goes with a later one. */
static void work_truncate(mortal *m)
{
    size_t size = sim_get_file(disk, "db").len;
    for (int i = 0; i < 4; i++)
        do_commit(0);
    assert_true(sim_get_file(disk, "db").len < size);
}

/* The survivor's lazy commits are the victim's foreign tail. */
static void before_foreign(kv_db *survivor)
{
    commit_n(survivor, KV_TXN_LAZY, "lazy", 10, 50, 'a');
    commit_n(survivor, KV_TXN_LAZY, "large", 1, 20000, 'b');
}

/* Another one dies between meta and publication; the victim takes over from it, and dies of that. */
static void before_adoption(kv_db *survivor)
{
    for (uint64_t death = 1;; death++) {
        mortal_init(&earlier, 3);
        mortal_run(&earlier, 0, open_dying);
        uint64_t counter = side_head()->board.counter, most = greatest_birth();
        if (mortal_run(&earlier, death, work_durable))
            fail_msg("the earlier one never stands between meta and publication");
        if (side_head()->board.counter == counter && side_head()->board.flush == KVI_FLUSH_BEGUN &&
            greatest_birth() > most)
            return;
        commit(begin(survivor, KV_TXN_WRITE)); /* takes over, and changes nothing */
    }
}

static const labour labours[] = {
    {"durable commit", NULL, open_dying, work_durable, false},
    {"strict commit", NULL, open_dying, work_strict, false},
    {"lazy commit", NULL, open_dying, work_lazy, false},
    {"lazy commit after lazy ones", NULL, lazy_before, work_lazy, false},
    {"durable commit after lazy ones", NULL, lazy_before, work_durable, false},
    {"strict commit after lazy ones", NULL, lazy_before, work_strict, false},
    {"large transaction", NULL, open_dying, work_early, false},
    {"large transaction after lazy ones", NULL, lazy_before, work_early, false},
    {"large values", NULL, open_dying, work_large, false},
    {"commit over the cap", NULL, open_dying, work_huge, false},
    {"sync", NULL, lazy_before, work_sync, false},
    {"sync over the cap", NULL, lazy_huge_before, work_sync, false},
    {"abort after early writing", NULL, open_dying, work_abort, false},
    {"close", NULL, lazy_before, work_close, false},
    {"open", NULL, prepare_nothing, work_open, false},
    {"growth of the slots", NULL, open_dying, work_slots, false},
    {"truncation", before_truncation, open_dying, work_truncate, true},
    {"lazy commit on a foreign tail", before_foreign, open_dying, work_lazy, false},
    {"durable commit on a foreign tail", before_foreign, open_dying, work_durable, false},
    {"strict commit on a foreign tail", before_foreign, open_dying, work_strict, false},
    {"sync of a foreign tail", before_foreign, open_dying, work_sync, false},
    {"close on a foreign tail", before_foreign, open_dying, work_close, false},
    {"takeover", before_adoption, open_dying, work_durable, false},
};

/* ---- the survivor ---- */

static kv_db *survivor_open(void)
{
    sim_reset(disk);
    sim_process(disk, 1);
    kv_db *db = open_db();
    commit_n(db, 0, "base", 30, 60, 'b');
    commit_n(db, 0, "base", 20, 80, 'c');
    return db;
}

/* What of all that the victim did is there: the commits before and after which it died. */
typedef struct known {
    uint64_t first, last; /* contents */
    uint64_t id;          /* greatest in any page when it died */
    bool whole;           /* the last one was acknowledged */
} known;

static uint64_t survivor_writes(kv_db *db, const known *k)
{
    kv_txn *txn = begin(db, KV_TXN_WRITE);
    uint64_t seen = content(txn);
    assert_true(kv_txn_id(txn) > k->id);
    assert_true(seen == k->last || (seen == k->first && !k->whole));
    assert_int_equal(kv_put(kv_txn_main(txn), KEY_OF_TEST, strlen(KEY_OF_TEST), "x", 1, 0), KV_OK);
    commit(txn);
    assert_int_equal(content_now(db), seen);
    assert_int_equal(side_head()->board.writing, 0);
    assert_int_equal(side_head()->board.flush, KVI_FLUSH_NONE);
    return seen;
}

static void reopened(uint64_t hash)
{
    kv_db *db = open_db();
    assert_true(has_mark(db));
    assert_int_equal(content_now(db), hash);
    sound(db);
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_int_equal(side_file(), -1);
    assert_int_equal(sim_open_handles(disk), 0);
}

static int is_other(void *context, const kv_reader_info *reader)
{
    return reader->process != 1;
}

static void survive(kv_db *db, kv_txn *old, uint64_t old_hash, const known *k)
{
    if (old)
        assert_int_equal(content(old), old_hash);
    uint64_t seen = survivor_writes(db, k);
    sound(db);
    assert_int_equal(kv_db_readers(db, is_other, NULL), KV_OK); /* the dead pin nothing */
    expect_after_crash(seen);
    for (int i = 0; i < 4; i++) /* now what it left behind is used again */
        commit_n(db, i % 2 ? KV_TXN_LAZY : 0, "base", 20, 90, 'd');
    sound(db);
    if (old) {
        assert_int_equal(content(old), old_hash);
        kv_txn_abort(old);
    }
    seen = content_now(db);
    assert_int_equal(kv_db_close(db), KV_OK);
    reopened(seen);
}

/* One life: true when the victim lived through it. */
static bool labour_once(const labour *l, uint64_t death, bool late, known *k)
{
    kv_db *survivor = survivor_open();
    kv_txn *old = l->no_reader ? NULL : begin(survivor, KV_TXN_READ);
    uint64_t old_hash = old ? content(old) : 0;
    commit_n(survivor, 0, "base", 10, 70, 'f');
    if (l->before)
        l->before(survivor);
    mortal_init(&victim, 2);
    mortal_run(&victim, 0, l->prepare);
    k->first = content_now(survivor);
    returned = false;
    victim.late = late;
    bool lived = mortal_run(&victim, death, l->work);
    if (lived)
        mortal_bury(&victim); /* then it dies of nothing */
    k->id = greatest_birth();
    k->whole = returned;
    if (death == 0) /* what it wanted */
        k->last = content_now(survivor);
    survive(survivor, old, old_hash, k);
    return lived;
}

static void test_every_death(void **state)
{
    for (size_t i = 0; i < KVI_COUNT(labours); i++) {
        known k;
        uint64_t death = 1;
        labour_once(&labours[i], 0, false, &k);
        for (; !labour_once(&labours[i], death, false, &k); death += ROUNDS_STEP)
            labour_once(&labours[i], death, true, &k);
        print_message("%s: dies at one in %d of %llu calls\n", labours[i].name, ROUNDS_STEP,
                      (unsigned long long)death - 1);
        assert_true(death > 2);
    }
}

/* ---- nobody is left ---- */

static uint64_t alone_first; /* content that was acknowledged before the work */

static void prepare_alone(mortal *m)
{
    assert_int_equal(open_on(&m->os, KV_OPEN_CREATE, &dying), KV_OK);
    commit_n(dying, 0, "base", 30, 60, 'b');
    commit_n(dying, KV_TXN_LAZY, "base", 20, 80, 'c');
    alone_first = content_now(dying);
}

static void prepare_left(mortal *m)
{
    prepare_alone(m);
    assert_int_equal(kv_db_close(dying), KV_OK);
}

static void work_create(mortal *m)
{
    assert_int_equal(open_on(&m->os, KV_OPEN_CREATE, &dying), KV_OK);
    returned = true;
}

static void work_visit(mortal *m)
{
    open_dying(m);
    do_commit(KV_TXN_LAZY);
    assert_int_equal(kv_db_close(dying), KV_OK);
}

static const struct {
    const char *name;
    void (*prepare)(mortal *m);
    void (*work)(mortal *m);
    bool died; /* the process that prepared did not leave, but died */
} lonely[] = {
    {"creation", prepare_nothing, work_create, false},
    {"first open", prepare_left, work_open, false},
    {"first open after a death", prepare_alone, work_open, true},
    {"visit", prepare_left, work_visit, false},
    {"visit after a death", prepare_alone, work_visit, true},
    {"durable commit alone", prepare_alone, work_durable, false},
    {"strict commit alone", prepare_alone, work_strict, false},
    {"lazy commit alone", prepare_alone, work_lazy, false},
    {"last close", prepare_alone, work_close, false},
};

/* What nobody may believe, since all who could know are dead. */
static void spoil_side_file(void)
{
    if (side_file() < 0 || sim_get_file(disk, "db-lock").len < KVI_SIDE_HEAD)
        return;
    kvi_board *board = &side_head()->board;
    board->flush = KVI_FLUSH_FAILED;
    board->durable = KVI_ID_MAX;
    board->burnt = KVI_ID_MAX;
    board->counter = 0xffff;
    side_head()->version = KVI_SIDE_VERSION + 1;
}

static bool lonely_once(size_t i, uint64_t death, bool late, known *k)
{
    sim_reset(disk);
    mortal_init(&victim, 2);
    alone_first = 0xcbf29ce484222325; /* of an empty tree */
    mortal_run(&victim, 0, lonely[i].prepare);
    if (lonely[i].died)
        mortal_bury(&victim);
    returned = false;
    victim.late = late;
    bool lived = mortal_run(&victim, death, lonely[i].work);
    if (lived)
        mortal_bury(&victim);
    if (death % 2)
        spoil_side_file();
    kv_db *db = open_db();
    uint64_t seen = content_now(db);
    if (death == 0)
        *k = (known){.first = alone_first, .last = seen};
    assert_true(seen == k->last || (seen == k->first && !returned));
    commit_mark(db, 0);
    sound(db);
    expect_after_crash(seen);
    assert_int_equal(kv_db_close(db), KV_OK);
    reopened(seen);
    return lived;
}

static void test_death_of_the_last(void **state)
{
    for (size_t i = 0; i < KVI_COUNT(lonely); i++) {
        known k;
        uint64_t death = 1;
        lonely_once(i, 0, false, &k);
        for (; !lonely_once(i, death, false, &k); death += ROUNDS_STEP)
            lonely_once(i, death, true, &k);
        print_message("%s: dies at one in %d of %llu calls\n", lonely[i].name, ROUNDS_STEP,
                      (unsigned long long)death - 1);
        assert_true(death > 2);
    }
}

/* ---- metas that go bad while processes share the file ---- */

enum spoil { SPOIL_TORN, SPOIL_OTHER, SPOIL_UNREADABLE, SPOILS };

static uint64_t unreadable_at = UINT64_MAX; /* place in the file */
static int64_t (*plain_pread)(const kvi_os *os, int fd, void *buf, size_t len, uint64_t offset);

static int64_t spoiled_pread(const kvi_os *os, int fd, void *buf, size_t len, uint64_t offset)
{
    return offset == unreadable_at ? -EIO : plain_pread(os, fd, buf, len, offset);
}

/* Where the meta of that commit is, and what it says. */
static uint64_t meta_find(uint64_t id, kvi_meta *meta)
{
    kvi_slice file = sim_get_file(disk, "db");
    for (unsigned slot = 0; slot < 2; slot++) {
        uint64_t at = slot * kvi_meta_stride(PAGE_SIZE);
        if (kvi_meta_decode(file.ptr + at, meta) == KVI_META_VALID && meta->id == id)
            return at;
    }
    fail();
    return 0;
}

static void spoil_meta(uint64_t at, kvi_meta meta, enum spoil how)
{
    uint8_t *block = disk->files[sim_find(disk, "db")].bytes + at;
    if (how == SPOIL_TORN)
        block[KVI_META_SIZE / 2] ^= 1;
    meta.id -= 2; /* of a commit that is past */
    meta.durable = KVI_MIN(meta.durable, meta.id);
    if (how == SPOIL_OTHER)
        kvi_meta_encode(&meta, block);
    if (how == SPOIL_UNREADABLE)
        unreadable_at = at;
}

/* Somebody begins to write who knows nothing but what he is told. Without the newest commit's meta
 * he refuses, for the commit was seen; without the durable one's he goes on, unless it may be there. */
static void metas_once(bool died, bool newest, enum spoil how)
{
    kv_db *db = survivor_open(), *late;
    kv_db_info info = {.size = sizeof info};
    kvi_meta meta;
    kv_txn *txn;
    uint8_t saved[KVI_META_SIZE];
    commit_n(db, 0, "base", 10, 70, 'f');
    commit_n(db, KV_TXN_LAZY, "lazy", 10, 50, 'z');
    assert_int_equal(open_on(sim_os(disk), 0, &late), KV_OK);
    uint64_t hash = content_now(db);
    assert_int_equal(kv_db_stat(db, &info), KV_OK);
    assert_true(info.durable_id < info.commit_id);
    uint64_t at = meta_find(newest ? info.commit_id : info.durable_id, &meta);
    memcpy(saved, disk->files[sim_find(disk, "db")].bytes + at, sizeof saved);
    spoil_meta(at, meta, how);
    side_head()->board.writing = died;
    int rc = kv_txn_begin(late, KV_TXN_WRITE, &txn), expected = KV_OK;
    if (how == SPOIL_UNREADABLE && (newest || !died))
        expected = KV_EIO;
    else if (newest)
        expected = KV_ECORRUPT;
    if (rc != expected)
        fail_msg("died %d, newest %d, spoil %d: result %d", died, newest, how, rc);
    unreadable_at = UINT64_MAX;
    if (rc == KV_OK) {
        assert_int_equal(content(txn), hash);
        kv_txn_abort(txn);
    } else
        memcpy(disk->files[sim_find(disk, "db")].bytes + at, saved, sizeof saved);
    side_head()->board.writing = 0;
    commit_mark(late, 0);
    assert_int_equal(content_now(db), hash);
    sound(late);
    expect_after_crash(hash);
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_int_equal(kv_db_close(late), KV_OK);
}

static void test_spoiled_metas(void **state)
{
    plain_pread = disk->os.pread;
    disk->os.pread = spoiled_pread;
    for (int i = 0; i < 4 * SPOILS; i++)
        metas_once(i & 1, i & 2, (enum spoil)(i / 4));
    disk->os.pread = plain_pread;
}

/* A writer died, and the newest commit is durable: the meta before it is torn, as by this death, or the
 * record says, against all others, that the commit is not proven. It is, and is adopted as it stands. */
static void durable_once(bool torn)
{
    const size_t flags = offsetof(kvi_record, handover.flags);
    kv_db *db = survivor_open(), *late;
    kv_db_info info = {.size = sizeof info};
    kvi_meta meta;
    commit_n(db, 0, "base", 10, 70, 'f');
    assert_int_equal(open_on(sim_os(disk), 0, &late), KV_OK);
    uint64_t hash = content_now(db);
    assert_int_equal(kv_db_stat(db, &info), KV_OK);
    assert_int_equal(info.durable_id, info.commit_id);
    uint64_t at = meta_find(info.commit_id, &meta);
    kvi_board *board = &side_head()->board;
    if (torn)
        spoil_meta(at ? 0 : kvi_meta_stride(PAGE_SIZE), meta, SPOIL_TORN);
    else
        board->record[board->counter & 1][flags / 8] |= (uint64_t)KVI_HANDOVER_UNPROVEN
                                                        << flags % 8 * 8;
    board->writing = 1;
    kv_txn *txn = begin(late, KV_TXN_WRITE);
    assert_int_equal(board->writing, 0);
    assert_int_equal(late->head.durable, info.durable_id);
    assert_int_equal(content(txn), hash);
    kv_txn_abort(txn);
    commit_mark(late, 0);
    sound(late);
    expect_after_crash(hash);
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_int_equal(kv_db_close(late), KV_OK);
}

static void test_durable_commit_is_adopted(void **state)
{
    durable_once(true);
    durable_once(false);
}

/* A confirmation beside an older meta, which took the other copy's place, is flushed where it stands:
 * nobody writes a second one. */
static void test_lone_confirmation(void **state)
{
    const uint64_t stride = kvi_meta_stride(PAGE_SIZE);
    uint8_t older[KVI_META_SIZE], before[2][KVI_META_SIZE];
    kvi_meta metas[2];
    kv_db *db = survivor_open();
    memcpy(older, disk->files[sim_find(disk, "db")].bytes, sizeof older);
    commit_n(db, 0, "base", 10, 70, 'f');
    commit_n(db, 0, "base", 10, 80, 'g');
    uint64_t hash = content_now(db);
    assert_int_equal(kv_db_close(db), KV_OK);
    uint8_t *file = disk->files[sim_find(disk, "db")].bytes;
    for (unsigned slot = 0; slot < 2; slot++)
        assert_int_equal(kvi_meta_decode(file + slot * stride, &metas[slot]), KVI_META_VALID);
    assert_int_equal(metas[0].id, metas[1].id);
    unsigned confirmed = metas[0].kind == KVI_KIND_CONFIRMATION ? 0 : 1;
    assert_int_equal(metas[confirmed].kind, KVI_KIND_CONFIRMATION);
    memcpy(file + (confirmed ^ 1) * stride, older, sizeof older);
    for (unsigned slot = 0; slot < 2; slot++)
        memcpy(before[slot], file + slot * stride, KVI_META_SIZE);
    db = open_db();
    assert_int_equal(content_now(db), hash);
    assert_int_equal(kv_db_close(db), KV_OK);
    file = disk->files[sim_find(disk, "db")].bytes;
    for (unsigned slot = 0; slot < 2; slot++)
        assert_memory_equal(before[slot], file + slot * stride, KVI_META_SIZE);
}

#define TEST(f) cmocka_unit_test_setup(f, fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_death),       TEST(test_death_of_the_last),
        TEST(test_spoiled_metas),     TEST(test_durable_commit_is_adopted),
        TEST(test_lone_confirmation),
    };
    return cmocka_run_group_tests_name("takeover", tests, setup, teardown);
}
