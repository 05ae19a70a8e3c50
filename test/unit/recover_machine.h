/* recover_machine.h - the simulated machine on which test_recover*.c crash a database, counting
 * flushes, writes and bytes read below the engine; and small pieces of work to crash in. */
#ifndef RECOVER_MACHINE_H
#define RECOVER_MACHINE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "fault_os.h"
#include "sim_os.h"
#include <errno.h>
#include <stdio.h>

#ifdef KVI_STRESS
#define PAGE_SIZE 512
#else
#define PAGE_SIZE 4096
#endif
#define METAS_END (2 * kvi_meta_stride(PAGE_SIZE))
#define UNITS_MAX 4096

static sim_disk *disk;  /* where the test works */
static sim_disk *other; /* for what a crash leaves; crash() swaps the two */
static fault_os fault;  /* counts, and fails a flush where a test wants it */
static uint64_t bytes_read;
static size_t counted_from; /* event of disk */
static bool exclusive;      /* how databases are opened */
static int failed;          /* tests, the first way */
static int64_t (*plain_pread)(const kvi_os *os, int fd, void *buf, size_t len, uint64_t off);

static inline int64_t counting_pread(const kvi_os *os, int fd, void *buf, size_t len, uint64_t off)
{
    int64_t got = plain_pread(os, fd, buf, len, off);
    bytes_read += got > 0 ? (uint64_t)got : 0;
    return got;
}

/* Puts the counting table over a disk. */
static inline void watch(sim_disk *on)
{
    fault_init(&fault, sim_os(on));
    fault.sync_failed = sim_lose_sync;
    plain_pread = fault.os.pread;
    fault.os.pread = counting_pread;
    bytes_read = 0;
    counted_from = 0;
}

static inline int setup(void **state)
{
    disk = sim_new(3);
    other = sim_new(3);
    disk->recording = other->recording = SIM_RECORD_ALL;
    return 0;
}

static inline int teardown(void **state)
{
    sim_free(disk);
    sim_free(other);
    return 0;
}

static inline int fresh(void **state)
{
    sim_reset(disk);
    watch(disk);
    return 0;
}

/* ---- the machine ---- */

static inline void forget_counts(void)
{
    fault_plan(&fault, (fault_case){.at = 0});
    counted_from = disk->n_events;
}

static inline kv_db *open_flags(uint32_t flags)
{
    char message[320];
    kv_db *db;
    kv_options options = {
        .size = sizeof options,
        .flags = flags | (exclusive && !(flags & KV_OPEN_READONLY) ? KV_OPEN_EXCLUSIVE : 0),
        .lazy_sync_bytes = UINT64_MAX,
        .page_size = flags & KV_OPEN_CREATE ? PAGE_SIZE : 0};
    forget_counts();
    bytes_read = 0;
    int rc = kvi_db_open(&fault.os, "db", &options, &db, message, sizeof message);
    if (rc != KV_OK)
        fail_msg("open: %d %s", rc, message);
    return db;
}

static inline kv_db *open_db(void)
{
    return open_flags(KV_OPEN_CREATE);
}

static inline void close_db(kv_db *db)
{
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_true(fault_balanced(&fault));
}

/* The process dies, and its handles with it; its machine goes on, or boots anew. second may be NULL. */
static inline void crash_both(kv_db *db, kv_db *second, bool reboot)
{
    sim_clone(other, disk);
    other->boots = disk->boots + (reboot ? 1 : 0);
    if (second)
        (void)kv_db_close(second);
    (void)kv_db_close(db); /* on the disk that nobody will look at again */
    sim_disk *swap = disk;
    disk = other;
    other = swap;
    sim_reset(other);
    watch(disk);
}

static inline void crash(kv_db *db, bool reboot)
{
    crash_both(db, NULL, reboot);
}

static inline uint64_t flushes(void)
{
    return fault.calls[FAULT_SYNC];
}

/* To the database; the side file does not count. */
static inline uint64_t writes(void)
{
    uint64_t n = 0;
    for (size_t i = counted_from; i < disk->n_events; i++)
        n += disk->events[i].kind == SIM_WRITE && disk->events[i].file == sim_find(disk, "db");
    return n;
}

/* ---- small work ---- */

static inline kv_txn *begin(kv_db *db, uint32_t flags)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, flags, &txn), KV_OK);
    return txn;
}

static inline void put_text(kv_txn *txn, const char *key, const char *value)
{
    assert_int_equal(kv_put(kv_txn_main(txn), key, strlen(key), value, strlen(value), 0), KV_OK);
}

/* One commit of "key" = value; returns its id. */
static inline uint64_t commit_text(kv_db *db, uint32_t flags, const char *value)
{
    kv_txn *txn = begin(db, KV_TXN_WRITE | flags);
    put_text(txn, "key", value);
    uint64_t id = kv_txn_id(txn);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    return id;
}

static inline void expect_text(kv_db *db, const char *value)
{
    kv_slice found = {NULL, 0};
    kv_txn *txn = begin(db, KV_TXN_READ);
    int rc = kv_get(kv_txn_main(txn), "key", 3, &found);
    assert_int_equal(rc, value ? KV_OK : KV_NOTFOUND);
    if (value) {
        assert_int_equal(found.len, strlen(value));
        assert_memory_equal(found.ptr, value, found.len);
    }
    kv_txn_abort(txn);
}

static inline void put_many(kv_txn *txn, unsigned n, size_t value_len)
{
    static const char value[200];
    char key[32];
    for (unsigned i = 0; i < n; i++) {
        int len = snprintf(key, sizeof key, "many%06u", i);
        assert_int_equal(kv_put(kv_txn_main(txn), key, (size_t)len, value, value_len, 0), KV_OK);
    }
}

static inline void commit_many(kv_db *db, uint32_t flags, unsigned n, size_t value_len)
{
    kv_txn *txn = begin(db, KV_TXN_WRITE | flags);
    put_many(txn, n, value_len);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static inline uint64_t newest(kv_db *db)
{
    kv_txn *txn = begin(db, KV_TXN_READ);
    uint64_t id = kv_txn_id(txn);
    kv_txn_abort(txn);
    return id;
}

static inline kv_db_info stat_of(kv_db *db)
{
    kv_db_info info = {.size = sizeof info};
    assert_int_equal(kv_db_stat(db, &info), KV_OK);
    return info;
}

static inline void sound(kv_db *db)
{
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* Where the first page was written behind the metas from event on. */
static inline uint64_t page_since(size_t event)
{
    uint64_t off = 0;
    for (size_t i = event; i < disk->n_events && off == 0; i++)
        if (disk->events[i].kind == SIM_WRITE && disk->events[i].off >= METAS_END)
            off = disk->events[i].off;
    assert_true(off > 0);
    return off;
}

static inline uint8_t *file_bytes(void)
{
    return disk->files[sim_find(disk, "db")].bytes;
}

/* Spoils it. */
static inline void damage_since(size_t event)
{
    file_bytes()[page_since(event) + 100] ^= 1;
}

#define TEST(f) cmocka_unit_test_setup(f, fresh)

/* All tests as sole owner, then as a sharer. */
#define RUN_BOTH_WAYS(name, tests)                                                                 \
    (exclusive = true,                                                                             \
     failed = cmocka_run_group_tests_name(name " exclusive", tests, setup, teardown),              \
     exclusive = false,                                                                            \
     failed + cmocka_run_group_tests_name(name " shared", tests, setup, teardown))

#endif
