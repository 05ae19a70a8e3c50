/* Guests: readers that may write nothing, and find the newest commit in metas that a writer is
 * overwriting meanwhile. The metas are torn, or change, at each of their looks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "fault_os.h"
#include "guest.h"
#include "must.h"
#include "sim_os.h"
#include <errno.h>

#define PATH   "db"
#define STRIDE kvi_meta_stride(4096)

static sim_disk *disk;
static kv_db *db, *guest;
static uint64_t number; /* that the newest commit holds */

static int (*open_inner)(const kvi_os *os, const char *path, int flags, uint32_t mode);
static int64_t (*pread_inner)(const kvi_os *os, int fd, void *buf, size_t len, uint64_t off);
static void (*sleep_inner)(const kvi_os *os, uint32_t us);
static unsigned looks, naps; /* at the first meta; to let a writer finish one */
static void (*on_look)(void);
static void (*on_nap)(void);

/* ---- a writer and a guest ---- */

static int open_kept_out(const kvi_os *os, const char *path, int flags, uint32_t mode)
{
    bool ours = strcmp(path, PATH "-lock") != 0 && !(flags & KVI_OS_WRITE);
    return ours ? open_inner(os, path, flags, mode) : -EACCES;
}

static int64_t pread_seen(const kvi_os *os, int fd, void *buf, size_t len, uint64_t off)
{
    void (*act)(void) = on_look;
    if (off == 0 && act) {
        looks++;
        on_look = NULL; /* what it does reads, too */
        act();
        on_look = act;
    }
    return pread_inner(os, fd, buf, len, off);
}

static void sleep_seen(const kvi_os *os, uint32_t us)
{
    naps++;
    if (on_nap)
        on_nap();
    sleep_inner(os, us);
}

static void commit_next(void)
{
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    number++;
    assert_int_equal(kv_put(kv_txn_main(txn), "n", 1, &number, sizeof number, 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static uint64_t number_in(kv_txn *txn)
{
    kv_slice value;
    uint64_t n;
    assert_int_equal(kv_get(kv_txn_main(txn), "n", 1, &value), KV_OK);
    assert_int_equal(value.len, sizeof n);
    memcpy(&n, value.ptr, sizeof n);
    return n;
}

/* What a new transaction of the guest sees. */
static uint64_t number_seen(void)
{
    kv_txn *txn = must_begin(guest, KV_TXN_READ);
    uint64_t n = number_in(txn);
    kv_txn_abort(txn);
    assert_int_equal(guest->guest.n, 0); /* nothing stays pinned */
    return n;
}

static int setup(void **state)
{
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    disk = sim_new(1);
    disk->recording = SIM_RECORD_NOTHING;
    open_inner = disk->os.open;
    pread_inner = disk->os.pread;
    sleep_inner = disk->os.sleep_us;
    on_look = on_nap = NULL;
    looks = naps = 0;
    number = 0;
    db = must_open(disk, PATH);
    commit_next();
    commit_next();
    disk->os.open = open_kept_out;
    assert_int_equal(kvi_db_open(sim_os(disk), PATH, &options, &guest, NULL, 0), KV_OK);
    assert_int_equal(guest->role, KVI_GUEST);
    disk->os.open = open_inner;
    disk->os.pread = pread_seen;
    disk->os.sleep_us = sleep_seen;
    return 0;
}

static int teardown(void **state)
{
    on_look = on_nap = NULL;
    int rc = kv_db_close(guest);
    if (rc == KV_OK)
        rc = kv_db_close(db);
    sim_free(disk);
    return rc;
}

/* ---- torn ---- */

static uint8_t *slot_bytes(unsigned slot)
{
    return disk->files[0].bytes + slot * STRIDE;
}

static unsigned slot_newest(void)
{
    kvi_meta meta[2];
    for (unsigned slot = 0; slot < 2; slot++)
        assert_int_equal(kvi_meta_decode(slot_bytes(slot), &meta[slot]), KVI_META_VALID);
    return meta[1].id > meta[0].id;
}

static void tear(unsigned slot)
{
    slot_bytes(slot)[KVI_M_checksum] ^= 1;
}

static unsigned torn;

static void heal_third(void)
{
    if (naps == 3)
        tear(torn);
}

static void test_half_written(void **state)
{
    for (torn = 0; torn < 2; torn++) {
        naps = 0;
        on_nap = heal_third;
        tear(torn);
        assert_int_equal(number_seen(), number);
        assert_int_equal(naps, 3);
    }
}

/* The commit in the other slot is what there is. */
static void test_torn_for_good(void **state)
{
    unsigned newest = slot_newest();
    tear(newest);
    assert_in_range(number_seen(), number - 1, number);
    assert_true(naps > 3);
    tear(newest);
    tear(1 - newest);
    assert_int_equal(number_seen(), number);
    tear(newest);
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(guest, KV_TXN_READ, &txn), KV_ECORRUPT);
    tear(0);
    tear(1);
    assert_int_equal(number_seen(), number);
}

/* ---- overtaken ---- */

static unsigned commit_from, commit_to; /* looks at which the writer commits */

static void commit_then(void)
{
    if (looks >= commit_from && looks < commit_to)
        commit_next();
}

/* A commit between any two looks: what is seen is whole, and no older than when it was begun. */
static void test_overtaken(void **state)
{
    for (commit_from = 1; commit_from < 8; commit_from++)
        for (unsigned times = 1; times < 4; times++) {
            uint64_t before = number;
            looks = 0;
            commit_to = commit_from + times;
            on_look = commit_then;
            uint64_t seen = number_seen();
            assert_in_range(seen, before, number);
            on_look = NULL;
            assert_int_equal(number_seen(), number);
        }
}

/* The older meta is torn, so each reading of both takes many looks. */
static unsigned torn_looks; /* that find the newest torn, too */

static void heal_and_commit(void)
{
    if (torn_looks == 0 || --torn_looks > 0)
        return;
    tear(torn);
    commit_next();
}

static void tear_both(void)
{
    if (naps < commit_from)
        return;
    tear(torn);
    torn_looks = 2;
    on_nap = NULL;
}

/* Both metas torn at one look need not be damage: by the next one the writer has gone on. */
static void test_torn_and_overtaken(void **state)
{
    for (commit_from = 21; commit_from <= 41; commit_from += 20) {
        torn = slot_newest();
        tear(1 - torn);
        naps = 0;
        on_nap = tear_both;
        on_look = heal_and_commit;
        uint64_t seen = number_seen();
        assert_int_equal(seen, number);
        assert_int_equal(torn_looks, 0);
        assert_null(on_nap);
        on_look = NULL;
    }
}

static void commit_at_nap(void)
{
    if (naps < commit_from)
        return;
    commit_next();
    on_nap = NULL;
}

/* The commit that makes the torn meta whole comes between the second reading and the third. */
static void test_healed_and_overtaken(void **state)
{
    tear(1 - slot_newest());
    naps = 0;
    commit_from = 41;
    on_nap = commit_at_nap;
    uint64_t seen = number_seen();
    assert_int_equal(seen, number);
    assert_null(on_nap);
}

/* A meta is torn that was whole before: it counts as changed. */
static void tear_at_second_look(void)
{
    if (looks == 2)
        tear(torn);
}

static void test_torn_between_looks(void **state)
{
    torn = 1 - slot_newest();
    looks = 0;
    on_look = tear_at_second_look;
    assert_int_equal(number_seen(), number);
    tear(torn);
}

static uint8_t metas[2][KVI_META_SIZE]; /* two commits, by turns */

static void alternate(void)
{
    memcpy(slot_bytes(0), metas[looks % 2], KVI_META_SIZE);
}

static void test_too_fast(void **state)
{
    kv_txn *txn;
    uint8_t kept[KVI_META_SIZE];
    memcpy(kept, slot_bytes(0), sizeof kept);
    for (unsigned i = 0; i < 2; i++) {
        kvi_meta meta;
        assert_int_equal(kvi_meta_decode(kept, &meta), KVI_META_VALID);
        meta.id += 10 + i;
        kvi_meta_encode(&meta, metas[i]);
    }
    on_look = alternate;
    assert_int_equal(kv_txn_begin(guest, KV_TXN_READ, &txn), KV_EBUSY);
    on_look = NULL;
    assert_int_equal(guest->guest.n, 0);
    memcpy(slot_bytes(0), kept, sizeof kept);
    assert_int_equal(number_seen(), number);
}

/* Transactions of one commit share its pin. */
static void test_shared_pin(void **state)
{
    kv_txn *a = must_begin(guest, KV_TXN_READ), *b = must_begin(guest, KV_TXN_READ);
    assert_int_equal(guest->guest.n, 1);
    commit_next();
    kv_txn *c = must_begin(guest, KV_TXN_READ);
    assert_int_equal(guest->guest.n, 2);
    kv_txn_abort(a);
    assert_int_equal(guest->guest.n, 2);
    assert_int_equal(number_in(b), number - 1);
    kv_txn_abort(b);
    assert_int_equal(guest->guest.n, 1);
    assert_int_equal(number_in(c), number);
    kv_txn_abort(c);
    assert_int_equal(guest->guest.n, 0);
}

/* ---- durable ---- */

static uint64_t newest_id(void)
{
    kv_txn *txn = must_begin(db, KV_TXN_READ);
    uint64_t id = kv_txn_id(txn);
    kv_txn_abort(txn);
    return id;
}

static void commit_as(uint32_t durability)
{
    kv_txn *txn = must_begin(db, KV_TXN_WRITE | durability);
    assert_int_equal(kv_put(kv_txn_main(txn), "k", 1, "v", 1, 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static int take_bytes(void *context, const void *bytes, size_t len)
{
    return 0;
}

static int backed_up(kv_db *handle)
{
    kv_txn *txn = must_begin(handle, KV_TXN_READ);
    kv_backup_options options = {.size = sizeof options, .write = take_bytes};
    int rc = kv_backup(txn, &options, NULL);
    kv_txn_abort(txn);
    return rc;
}

static void durable_is(uint64_t id)
{
    kv_db_info info = {.size = sizeof info};
    assert_int_equal(kv_db_durable_id(guest), id);
    assert_int_equal(kv_db_stat(guest, &info), KV_OK);
    assert_int_equal(info.durable_id, id);
}

/* What those who share the file have made durable a guest knows, at once, and may back up. */
static void test_durable_beside_a_writer(void **state)
{
    static const uint32_t kinds[] = {KV_TXN_DURABLE, KV_TXN_STRICT, KV_TXN_DURABLE};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        commit_as(kinds[i]);
        durable_is(newest_id());
        assert_int_equal(backed_up(guest), KV_OK);
    }
    uint64_t durable = newest_id();
    commit_as(KV_TXN_LAZY);
    durable_is(durable);
    assert_int_equal(backed_up(guest), KV_EBUSY);
    assert_int_equal(kv_db_sync(db), KV_OK);
    durable_is(newest_id());
    assert_int_equal(backed_up(guest), KV_OK);
}

/* sticky: those after it, too. */
static void durable_failing(fault_os *fault, kv_db *apart, bool sticky)
{
    unsigned less = 0;
    for (uint64_t at = 1, id = 0; id == 0 || fault_hit(fault); at++) {
        fault_plan(fault, (fault_case){.at = at, .mask = FAULT_SYSTEM, .sticky = sticky});
        id = kv_db_durable_id(apart);
        assert_in_range(id, 0, newest_id());
        assert_true(fault_hit(fault) || id == newest_id());
        less += id < newest_id();
    }
    assert_in_range(less, 3, 9);
}

/* A call that fails makes a guest know less than there is, never more. */
static void test_durable_with_failing_calls(void **state)
{
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    fault_os fault;
    kv_db *apart;
    fault_init(&fault, sim_os(disk));
    commit_as(KV_TXN_DURABLE);
    disk->os.open = open_kept_out;
    assert_int_equal(kvi_db_open(&fault.os, PATH, &options, &apart, NULL, 0), KV_OK);
    disk->os.open = open_inner;
    durable_failing(&fault, apart, false);
    durable_failing(&fault, apart, true);
    fault_plan(&fault, (fault_case){0});
    assert_int_equal(kv_db_close(apart), KV_OK);
    assert_true(fault_balanced(&fault));
}

static void sync_db(void)
{
    on_nap = NULL;
    assert_int_equal(kv_db_sync(db), KV_OK);
}

static void test_backup_waits_for_a_sync(void **state)
{
    commit_as(KV_TXN_LAZY);
    on_nap = sync_db;
    assert_int_equal(backed_up(guest), KV_OK);
}

static kv_db *late;
static kv_txn *held;

static void hold_again(void)
{
    on_nap = NULL;
    assert_int_equal(kv_txn_commit(held), KV_OK);
    held = must_begin(late, KV_TXN_WRITE);
}

/* While somebody else is writing, a backup of what may not be durable yet has to wait: not for ever,
 * and no longer than it takes his commit to make it so. */
static void test_backup_beside_a_writer(void **state)
{
    late = must_open(disk, PATH);
    commit_as(KV_TXN_LAZY);
    held = must_begin(late, KV_TXN_WRITE);
    assert_int_equal(backed_up(db), KV_EBUSY);
    assert_int_equal(kv_put(kv_txn_main(held), "k", 1, "w", 1, 0), KV_OK);
    on_nap = hold_again;
    assert_int_equal(backed_up(db), KV_OK);
    assert_null(on_nap);
    kv_txn_abort(held);
    assert_int_equal(kv_db_close(late), KV_OK);
}

/* Nobody can make it durable, or anything else, any more. */
static void test_backup_of_an_immutable(void **state)
{
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY | KV_OPEN_IMMUTABLE};
    kv_db *shared = db;
    commit_as(KV_TXN_LAZY);
    assert_int_equal(kvi_db_open(sim_os(disk), PATH, &options, &db, NULL, 0), KV_OK);
    assert_int_equal(backed_up(db), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
    db = shared;
}

static int (*sync_inner)(const kvi_os *os, int fd);
static unsigned flushes;
static uint64_t durable_before;

static int sync_seen(const kvi_os *os, int fd)
{
    flushes++;
    assert_int_equal(kv_db_durable_id(guest), durable_before);
    return sync_inner(os, fd);
}

/* The meta of a strict commit says that its pages are durable, not that it is itself. */
static void test_not_durable_before_the_flush(void **state)
{
    static const uint32_t kinds[] = {KV_TXN_DURABLE, KV_TXN_STRICT};
    sync_inner = disk->os.sync;
    for (size_t i = 0; i < 4; i++) {
        durable_before = newest_id();
        disk->os.sync = sync_seen;
        commit_as(kinds[i / 2]);
        disk->os.sync = sync_inner;
    }
    assert_int_equal(flushes, 2 + 2 * 2);
}

static int open_without_side_file(const kvi_os *os, const char *path, int flags, uint32_t mode)
{
    return strcmp(path, PATH "-lock") != 0 ? open_inner(os, path, flags, mode) : -EACCES;
}

/* Without the side file the metas are what there is: each says what was durable before it. */
static void test_durable_by_the_metas(void **state)
{
    disk->os.open = open_without_side_file;
    commit_as(KV_TXN_DURABLE);
    durable_is(newest_id() - 1);
    commit_as(KV_TXN_DURABLE);
    assert_int_equal(backed_up(guest), KV_EBUSY);
    disk->os.open = open_inner;
}

/* Closed well, both metas hold the commit, whichever slot it was written to. A side file that nobody
 * uses is not believed. */
static void test_durable_when_all_have_left(void **state)
{
    for (unsigned i = 0; i < 4; i++) {
        commit_as(i < 2 ? KV_TXN_DURABLE : KV_TXN_LAZY);
        uint64_t id = newest_id();
        assert_int_equal(kv_db_close(db), KV_OK);
        kvi_side_head head = {
            .magic = KVI_SIDE_MAGIC, .version = KVI_SIDE_VERSION, .board.durable = id + 5};
        const struct iovec part = {&head, sizeof head};
        int fd = disk->os.open(&disk->os, PATH "-lock", KVI_OS_WRITE | KVI_OS_CREATE, 0666);
        assert_true(fd >= 0);
        assert_int_equal(disk->os.pwritev(&disk->os, fd, &part, 1, 0), sizeof head);
        durable_is(id);
        assert_int_equal(backed_up(guest), KV_OK);
        disk->os.close(&disk->os, fd);
        db = must_open(disk, PATH);
    }
}

static int stat_fails(const kvi_os *os, int fd, kvi_os_stat *stat)
{
    return -EIO;
}

static int64_t pread_short_head(const kvi_os *os, int fd, void *buf, size_t len, uint64_t off)
{
    return pread_seen(os, fd, buf, len, off) - (len == sizeof(kvi_side_head));
}

/* A side file that is something else by now, or cannot be read, tells a guest nothing. */
static void test_side_file_is_not_believed(void **state)
{
    int (*stat_inner)(const kvi_os *os, int fd, kvi_os_stat *stat) = disk->os.stat;
    commit_as(KV_TXN_DURABLE);
    kvi_side_head *head = (kvi_side_head *)disk->files[sim_find(disk, PATH "-lock")].bytes;
    uint64_t newest = newest_id();
    unsigned handles = sim_open_handles(disk);
    durable_is(newest);
    head->magic ^= 1;
    durable_is(newest - 1);
    head->magic ^= 1;
    head->version++;
    durable_is(newest - 1);
    head->version--;
    disk->os.pread = pread_short_head;
    durable_is(newest - 1);
    disk->os.pread = pread_seen;
    disk->os.stat = stat_fails;
    assert_int_equal(kv_db_durable_id(guest), newest - 1);
    disk->os.stat = stat_inner;
    durable_is(newest);
    assert_int_equal(sim_open_handles(disk), handles);
}

static bool no_file; /* the side file is no file, or none can be asked about */
#define LEFTOVER 12345

static int (*stat_seen)(const kvi_os *os, int fd, kvi_os_stat *stat);

static int stat_leftover(const kvi_os *os, int fd, kvi_os_stat *stat)
{
    int rc = stat_seen(os, fd, stat);
    if (stat->size == LEFTOVER)
        stat->regular = !no_file;
    return rc;
}

/* One that the dead left, or that is none, is replaced by whoever comes first. */
static void test_leftover_is_replaced(void **state)
{
    static const uint8_t bytes[LEFTOVER];
    stat_seen = disk->os.stat;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(kv_db_close(db), KV_OK);
        sim_put_file(disk, PATH "-lock", bytes, i == 2 ? 100 : LEFTOVER);
        no_file = i == 1;
        disk->os.stat = stat_leftover;
        db = must_open(disk, PATH);
        disk->os.stat = stat_seen;
        commit_as(KV_TXN_DURABLE);
        durable_is(newest_id());
    }
}

static int stat_path_fails(const kvi_os *os, const char *name, kvi_os_stat *stat)
{
    return -EIO;
}

/* Who cannot ask whether the file is still there cannot make the commit durable, and says why. */
static void test_backup_without_a_turn(void **state)
{
    int (*inner)(const kvi_os *os, const char *name, kvi_os_stat *stat) = disk->os.stat_path;
    commit_as(KV_TXN_LAZY);
    disk->os.stat_path = stat_path_fails;
    assert_int_equal(backed_up(db), KV_EIO);
    disk->os.stat_path = inner;
    assert_int_equal(backed_up(db), KV_OK);
}

/* A meta of another page size is no commit of this file, whatever its number. */
static void test_meta_of_another_size(void **state)
{
    uint8_t block[KVI_META_SIZE];
    kvi_meta meta;
    while (slot_newest() != 0)
        commit_next();
    memcpy(block, slot_bytes(0), sizeof block);
    assert_int_equal(kvi_meta_decode(block, &meta), KVI_META_VALID);
    meta.page_size *= 2;
    kvi_meta_encode(&meta, slot_bytes(0));
    assert_int_equal(kv_db_check(db, NULL), KV_EBUSY);
    memcpy(slot_bytes(0), block, sizeof block);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* Between the look at the newest commit and the look at its meta, others commit twice and make the file
 * longer than this handle has seen it. */
static bool outgrown;

static void outgrow(void)
{
    static const uint8_t bytes[100000];
    for (unsigned i = 0; i < 2 && !outgrown; i++) {
        kv_txn *txn = must_begin(late, KV_TXN_WRITE);
        assert_int_equal(kv_put(kv_txn_main(txn), i ? "a" : "b", 1, bytes, sizeof bytes, 0), KV_OK);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
    if (no_file)
        disk->os.stat = stat_fails;
    outgrown = true;
}

static void test_check_is_overtaken(void **state)
{
    int (*stat_inner)(const kvi_os *os, int fd, kvi_os_stat *stat) = disk->os.stat;
    late = must_open(disk, PATH);
    for (int fails = 1; fails >= 0; fails--) {
        no_file = fails;
        outgrown = false;
        on_look = outgrow;
        assert_int_equal(kv_db_check(db, NULL), fails ? KV_EIO : KV_OK);
        disk->os.stat = stat_inner;
        on_look = NULL;
    }
    assert_int_equal(kv_db_close(late), KV_OK);
}

/* Whose turn it is finds the published commit in no meta: there it stops. */
static void test_published_meta_gone(void **state)
{
    late = must_open(disk, PATH);
    for (unsigned slot = 0; slot < 2; slot++) {
        kv_txn *txn;
        do
            commit_next();
        while (slot_newest() != slot);
        tear(slot);
        assert_int_equal(kv_txn_begin(late, KV_TXN_WRITE, &txn), KV_ECORRUPT);
        tear(slot); /* back again */
        assert_int_equal(kv_txn_begin(late, KV_TXN_WRITE, &txn), KV_OK);
        kv_txn_abort(txn);
    }
    assert_int_equal(kv_db_close(late), KV_OK);
}

/* The only commit that is left is not whole, and stays so. */
static void test_nothing_whole(void **state)
{
    uint8_t block[2][KVI_META_SIZE];
    kvi_meta meta;
    kv_txn *txn;
    commit_as(KV_TXN_DURABLE);
    unsigned newest = slot_newest();
    for (unsigned slot = 0; slot < 2; slot++)
        memcpy(block[slot], slot_bytes(slot), KVI_META_SIZE);
    assert_int_equal(kvi_meta_decode(block[newest], &meta), KVI_META_VALID);
    meta.seal++;
    kvi_meta_encode(&meta, slot_bytes(newest));
    tear(1 - newest);
    assert_int_equal(kv_txn_begin(guest, KV_TXN_READ, &txn), KV_ECORRUPT);
    for (unsigned slot = 0; slot < 2; slot++)
        memcpy(slot_bytes(slot), block[slot], KVI_META_SIZE);
    assert_int_equal(number_seen(), number);
}

/* The list of snapshots comes to the page where another process saw an older one: it is another list
 * all the same, and what it names is kept. */
static void test_list_in_its_old_place(void **state)
{
    char name[16], before[16];
    late = must_open(disk, PATH);
    assert_int_equal(kv_snapshot_create(db, "old", 3, 0), KV_OK);
    kv_txn_abort(must_begin(late, KV_TXN_WRITE));
    kvi_ptr seen = late->listed[0].root, now = seen;
    assert_true(seen.page != 0 && late->listed[0].n == 1);
    snprintf(before, sizeof before, "old");
    for (unsigned i = 0; i < 400 && (now.page != seen.page || now.birth == seen.birth); i++) {
        snprintf(name, sizeof name, "n%02u", i % 100);
        assert_int_equal(kv_snapshot_create(db, name, 3, 0), KV_OK);
        now = db->head.meta.snapshots.root;
        if (now.page == seen.page && now.birth != seen.birth)
            break;
        assert_int_equal(kv_snapshot_drop(db, before, 3, 0), KV_OK);
        now = db->head.meta.snapshots.root;
        memcpy(before, name, sizeof before);
    }
    assert_true(now.page == seen.page && now.birth != seen.birth);
    kv_txn_abort(must_begin(late, KV_TXN_WRITE));
    assert_int_equal(late->listed[0].root.birth, now.birth);
    assert_int_equal(late->listed[0].n, db->head.meta.snapshots.entries);
    assert_int_equal(kv_db_close(late), KV_OK);
}

static int no_bytes(void *context, const void *bytes, size_t len)
{
    fail_msg("%zu bytes of a snapshot that is gone", len);
    return 1;
}

/* As of a transaction that failed, and with the sentence that says so. */
static void refused(int rc)
{
    char sentence[128];
    kv_db_errmsg(db, sentence, sizeof sentence);
    assert_int_equal(rc, KV_EBADTXN);
    assert_string_equal(sentence, kv_strerror(KV_EBADTXN));
    (void)kvi_fail(&db->err, KV_EIO, "the one before");
}

/* The catalog is damaged when a transaction with an open tree moves on. */
static void test_refresh_meets_damage(void **state)
{
    kv_tree *tree;
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_tree_open(txn, "t", 1, KV_TREE_CREATE, NULL, &tree), KV_OK);
    assert_int_equal(kv_put(tree, "k", 1, "v", 1, 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    kv_txn *reader = must_begin(db, KV_TXN_READ);
    assert_int_equal(kv_tree_open(reader, "t", 1, 0, NULL, &tree), KV_OK);
    txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_tree_open(txn, "u", 1, KV_TREE_CREATE, NULL, &tree), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    const kvi_meta *meta = &db->head.meta;
    uint8_t *page = disk->files[0].bytes + meta->catalog.root.page * meta->page_size;
    page[meta->page_size - 20] ^= 1;
    assert_int_equal(kv_txn_refresh(reader), KV_ECORRUPT);
    page[meta->page_size - 20] ^= 1;
    const kv_backup_options backup = {.size = sizeof backup, .write = no_bytes};
    refused(kv_txn_refresh(reader));
    refused(kv_backup(reader, &backup, NULL));
    refused(kv_diff(reader, reader, NULL, NULL));
    refused(kv_txn_copy(reader, "copy", 0));
    refused(kv_txn_copy_fd(reader, 1, 0));
    kv_txn_abort(reader);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* No snapshot ends behind the file's end, also one that needs nothing there (R16). */
static void test_file_is_cut(void **state)
{
    static const uint8_t zeros[400000];
    kv_op put = {.kind = KV_OP_PUT, .key = {"big", 3}, .value = {zeros, sizeof zeros}};
    kv_op del = {.kind = KV_OP_DEL, .key = {"big", 3}};
    assert_int_equal(kv_db_write(db, &put, 1, 0, NULL), KV_OK);
    assert_int_equal(kv_db_write(db, &del, 1, 0, NULL), KV_OK);
    assert_true(sim_get_file(disk, PATH).len > sizeof zeros);
    for (unsigned i = 0; i < 10; i++) {
        kv_txn *txn = must_begin(guest, KV_TXN_READ);
        uint64_t end = txn->base.high_water * 4096;
        for (unsigned k = 0; k < 3; k++) {
            commit_next();
            assert_true(sim_get_file(disk, PATH).len >= end);
        }
        kv_txn_abort(txn);
    }
    assert_true(sim_get_file(disk, PATH).len < sizeof zeros);
}

/* Whoever waits a little sleeps no longer than that. */
static void test_short_watch(void **state)
{
    kv_watch *watch;
    kv_watch_event event = {.size = sizeof event};
    static const uint32_t ms[] = {1, 2000};
    assert_int_equal(kv_watch_open(guest, NULL, &watch), KV_OK);
    for (size_t i = 0; i < 2; i++) {
        uint64_t from = disk->os.mono_ns(&disk->os);
        assert_int_equal(kv_watch_next(watch, ms[i], &event), KV_NOTFOUND);
        uint64_t waited = disk->os.mono_ns(&disk->os) - from;
        assert_in_range(waited, ms[i] * 1000000ull, ms[i] * 1000000ull + 5000000);
    }
    kv_watch_close(watch);
}

/* A guest's watch has nobody to wake: it looks again by itself. */
static void test_cancelled_watch(void **state)
{
    kv_watch *watch;
    kv_watch_event event = {.size = sizeof event};
    assert_int_equal(kv_watch_open(guest, NULL, &watch), KV_OK);
    kv_watch_cancel(watch);
    assert_int_equal(kv_watch_next(watch, KV_FOREVER, &event), KV_ECANCELED);
    kv_watch_close(watch);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(half_written),
        TEST(torn_for_good),
        TEST(overtaken),
        TEST(torn_and_overtaken),
        TEST(healed_and_overtaken),
        TEST(torn_between_looks),
        TEST(too_fast),
        TEST(shared_pin),
        TEST(cancelled_watch),
        TEST(durable_beside_a_writer),
        TEST(durable_with_failing_calls),
        TEST(backup_waits_for_a_sync),
        TEST(backup_beside_a_writer),
        TEST(backup_of_an_immutable),
        TEST(backup_without_a_turn),
        TEST(side_file_is_not_believed),
        TEST(leftover_is_replaced),
        TEST(meta_of_another_size),
        TEST(check_is_overtaken),
        TEST(published_meta_gone),
        TEST(nothing_whole),
        TEST(list_in_its_old_place),
        TEST(refresh_meets_damage),
        TEST(short_watch),
        TEST(file_is_cut),
        TEST(not_durable_before_the_flush),
        TEST(durable_by_the_metas),
        TEST(durable_when_all_have_left),
    };
    return cmocka_run_group_tests_name("guests", tests, NULL, NULL);
}
