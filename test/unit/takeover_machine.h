/* takeover_machine.h - processes that share a database on the simulated machine, one of which dies
 * at a system call of the test's choice. What it held in memory goes with it, its locks and handles
 * too; what it wrote to files and to the side file's map stays. */
#ifndef TAKEOVER_MACHINE_H
#define TAKEOVER_MACHINE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "fork.h"
#include "rng.h"
#include "sim_os.h"
#include <stdio.h>
#include <stdlib.h>

#ifdef KVI_STRESS
#define PAGE_SIZE 512
#else
#define PAGE_SIZE 4096
#endif
#define METAS_END   (2 * kvi_meta_stride(PAGE_SIZE))
#define UNITS_MAX   65536
#define BLOCKS_MAX  1024
#define KEY_OF_TEST "mark" /* that the survivor writes; not a part of the content */

static sim_disk *disk;  /* where the test works */
static sim_disk *other; /* for what a crash leaves */

/* ---- a process that dies ---- */

typedef struct mortal_block {
    void *ptr;
    size_t size;
    bool reserved;
} mortal_block;

typedef struct mortal {
    kvi_os os; /* first */
    const kvi_os *inner;
    uint64_t process;
    uint64_t calls;  /* system calls made since it was armed */
    uint64_t death;  /* it dies at this one; 0: never */
    bool late;       /* not before it, but behind it */
    bool lose_flush; /* it dies at its first flush, which was lost */
    jmp_buf end;
    mortal_block blocks[BLOCKS_MAX];
    size_t n_blocks;
} mortal;

static inline mortal *mortal_of(const kvi_os *os)
{
    return (mortal *)(uintptr_t)os;
}

/* Around each call: it dies before or behind it. What follows a call in memory only, like
 * publication, is thereby missing once and there once. */
static inline mortal *mortal_enter(const kvi_os *os)
{
    mortal *m = mortal_of(os);
    if (++m->calls == m->death && !m->late)
        longjmp(m->end, 1);
    return m;
}

static inline void mortal_leave(mortal *m)
{
    if (m->calls == m->death)
        longjmp(m->end, 1);
}

#define MORTAL(call, result, parameters, arguments)                                                \
    static inline result mortal_##call parameters                                                  \
    {                                                                                              \
        mortal *m = mortal_enter(os);                                                              \
        const kvi_os *in = m->inner;                                                               \
        result rc = in->call arguments;                                                            \
        mortal_leave(m);                                                                           \
        return rc;                                                                                 \
    }

MORTAL(open, int, (const kvi_os *os, const char *path, int flags, uint32_t mode),
       (in, path, flags, mode))
MORTAL(close, int, (const kvi_os *os, int fd), (in, fd))
MORTAL(pread, int64_t, (const kvi_os *os, int fd, void *buf, size_t len, uint64_t off),
       (in, fd, buf, len, off))
MORTAL(pwritev, int64_t, (const kvi_os *os, int fd, const struct iovec *iov, int n, uint64_t off),
       (in, fd, iov, n, off))
MORTAL(truncate, int, (const kvi_os *os, int fd, uint64_t size), (in, fd, size))
MORTAL(stat, int, (const kvi_os *os, int fd, kvi_os_stat *stat), (in, fd, stat))
MORTAL(stat_path, int, (const kvi_os *os, const char *path, kvi_os_stat *stat), (in, path, stat))
MORTAL(permit, int, (const kvi_os *os, int fd, const kvi_os_stat *like), (in, fd, like))
MORTAL(link, int, (const kvi_os *os, const char *from, const char *to), (in, from, to))
MORTAL(rename, int, (const kvi_os *os, const char *from, const char *to), (in, from, to))
MORTAL(unlink, int, (const kvi_os *os, const char *path), (in, path))
MORTAL(sync_dir, int, (const kvi_os *os, const char *path), (in, path))
MORTAL(lock, int, (const kvi_os *os, int fd, int kind, uint64_t off, uint64_t len),
       (in, fd, kind, off, len))
MORTAL(lock_probe, int,
       (const kvi_os *os, int fd, uint64_t off, uint64_t len, uint64_t *held_off,
        uint64_t *held_len),
       (in, fd, off, len, held_off, held_len))

static inline int mortal_sync(const kvi_os *os, int fd)
{
    mortal *m = mortal_enter(os);
    if (m->lose_flush) {
        sim_lose_sync(m->inner, fd);
        longjmp(m->end, 1);
    }
    int rc = m->inner->sync(m->inner, fd);
    mortal_leave(m);
    return rc;
}

/* These do not count: nobody else can see whether they were made. */

static inline int mortal_lock_wait(const kvi_os *os, int fd, int kind, uint64_t off, uint64_t len)
{
    return mortal_of(os)->inner->lock_wait(mortal_of(os)->inner, fd, kind, off, len);
}

static inline int mortal_resolve(const kvi_os *os, const char *path, char *out, size_t size)
{
    return mortal_of(os)->inner->resolve(mortal_of(os)->inner, path, out, size);
}

static inline int mortal_shareable(const kvi_os *os, int fd)
{
    return mortal_of(os)->inner->shareable(mortal_of(os)->inner, fd);
}

static inline int mortal_map(const kvi_os *os, int fd, size_t len, const uint8_t **ptr)
{
    return mortal_of(os)->inner->map(mortal_of(os)->inner, fd, len, ptr);
}

static inline int mortal_map_shared(const kvi_os *os, int fd, size_t len, void **ptr)
{
    return mortal_of(os)->inner->map_shared(mortal_of(os)->inner, fd, len, ptr);
}

static inline int64_t mortal_write(const kvi_os *os, int fd, const void *buf, size_t len)
{
    return mortal_of(os)->inner->write(mortal_of(os)->inner, fd, buf, len);
}

static inline uint64_t mortal_clock_ms(const kvi_os *os)
{
    return mortal_of(os)->inner->clock_ms(mortal_of(os)->inner);
}

static inline uint64_t mortal_tick_ms(const kvi_os *os)
{
    return mortal_of(os)->inner->tick_ms(mortal_of(os)->inner);
}

static inline uint64_t mortal_mono_ns(const kvi_os *os)
{
    return mortal_of(os)->inner->mono_ns(mortal_of(os)->inner);
}

static inline void mortal_sleep_us(const kvi_os *os, uint32_t us)
{
    mortal_of(os)->inner->sleep_us(mortal_of(os)->inner, us);
}

static inline void mortal_word_wait(const kvi_os *os, _Atomic uint32_t *word, uint32_t expected,
                                    uint64_t ns)
{
    mortal_of(os)->inner->word_wait(mortal_of(os)->inner, word, expected, ns);
}

static inline void mortal_word_wake(const kvi_os *os, _Atomic uint32_t *word)
{
    mortal *m = mortal_enter(os);
    m->inner->word_wake(m->inner, word);
    mortal_leave(m);
}

static inline int mortal_random(const kvi_os *os, void *buf, size_t len)
{
    return mortal_of(os)->inner->random(mortal_of(os)->inner, buf, len);
}

static inline int mortal_boot_id(const kvi_os *os, uint8_t id[16])
{
    return mortal_of(os)->inner->boot_id(mortal_of(os)->inner, id);
}

static inline uint64_t mortal_process_id(const kvi_os *os)
{
    return mortal_of(os)->process;
}

/* ---- its memory ---- */

static inline void *mortal_took(mortal *m, void *ptr, size_t size, bool reserved)
{
    if (!ptr)
        return NULL;
    if (m->n_blocks == BLOCKS_MAX)
        sim_die("a mortal process has too many pieces of memory");
    m->blocks[m->n_blocks++] = (mortal_block){ptr, size, reserved};
    return ptr;
}

static inline void mortal_gave(mortal *m, const void *ptr)
{
    for (size_t i = m->n_blocks; i-- > 0;)
        if (m->blocks[i].ptr == ptr) {
            m->blocks[i] = m->blocks[--m->n_blocks];
            return;
        }
}

static inline void *mortal_alloc(const kvi_os *os, size_t size)
{
    return mortal_took(mortal_of(os), malloc(size), size, false);
}

static inline void *mortal_realloc(const kvi_os *os, void *ptr, size_t size)
{
    mortal_gave(mortal_of(os), ptr);
    return mortal_took(mortal_of(os), realloc(ptr, size), size, false);
}

static inline void mortal_free(const kvi_os *os, void *ptr)
{
    mortal_gave(mortal_of(os), ptr);
    free(ptr);
}

static inline void *mortal_reserve(const kvi_os *os, size_t size)
{
    mortal *m = mortal_of(os);
    return mortal_took(m, m->inner->reserve(m->inner, size), size, true);
}

static inline void mortal_release(const kvi_os *os, void *ptr, size_t size)
{
    mortal *m = mortal_of(os);
    mortal_gave(m, ptr);
    m->inner->release(m->inner, ptr, size);
}

/* fork.c lists open handles. */
static inline void mortal_forget(mortal *m)
{
    for (size_t i = 0; i < m->n_blocks;) {
        const mortal_block *block = &m->blocks[i++];
        if (block->reserved || block->size != sizeof(kv_db) || !((kv_db *)block->ptr)->alive)
            continue;
        kvi_fork_forget(block->ptr);
        i = 0; /* that took a block away */
    }
}

/* What it had is given back to the test's own process. */
static inline void mortal_bury(mortal *m)
{
    mortal_forget(m);
    for (size_t i = 0; i < m->n_blocks; i++) {
        mortal_block *block = &m->blocks[i];
        if (block->reserved)
            m->inner->release(m->inner, block->ptr, block->size);
        else
            free(block->ptr);
    }
    m->n_blocks = 0;
    sim_kill_process(disk, m->process);
}

static inline void mortal_init(mortal *m, uint64_t process)
{
    memset(m, 0, sizeof *m);
    m->process = process;
    m->inner = sim_os(disk);
    m->os = *m->inner;
    m->os.open = mortal_open;
    m->os.close = mortal_close;
    m->os.pread = mortal_pread;
    m->os.pwritev = mortal_pwritev;
    m->os.write = mortal_write;
    m->os.sync = mortal_sync;
    m->os.truncate = mortal_truncate;
    m->os.stat = mortal_stat;
    m->os.stat_path = mortal_stat_path;
    m->os.permit = mortal_permit;
    m->os.link = mortal_link;
    m->os.rename = mortal_rename;
    m->os.unlink = mortal_unlink;
    m->os.sync_dir = mortal_sync_dir;
    m->os.resolve = mortal_resolve;
    m->os.shareable = mortal_shareable;
    m->os.lock = mortal_lock;
    m->os.lock_wait = mortal_lock_wait;
    m->os.lock_probe = mortal_lock_probe;
    m->os.map = mortal_map;
    m->os.map_shared = mortal_map_shared;
    m->os.alloc = mortal_alloc;
    m->os.realloc = mortal_realloc;
    m->os.free = mortal_free;
    m->os.reserve = mortal_reserve;
    m->os.release = mortal_release;
    m->os.clock_ms = mortal_clock_ms;
    m->os.tick_ms = mortal_tick_ms;
    m->os.mono_ns = mortal_mono_ns;
    m->os.sleep_us = mortal_sleep_us;
    m->os.word_wait = mortal_word_wait;
    m->os.word_wake = mortal_word_wake;
    m->os.random = mortal_random;
    m->os.boot_id = mortal_boot_id;
    m->os.process_id = mortal_process_id;
}

/* Runs work(m) as the process: true when it came to its end, false when it died on the way. */
static inline bool mortal_run(mortal *m, uint64_t death, void (*work)(mortal *m))
{
    m->calls = 0;
    m->death = death;
    sim_process(disk, m->process);
    bool done = setjmp(m->end) == 0;
    if (done)
        work(m);
    m->death = 0;
    sim_process(disk, 1);
    if (!done)
        mortal_bury(m);
    return done;
}

/* ---- the machine ---- */

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
    sim_process(disk, 1);
    return 0;
}

/* What a power cut leaves of what no flush settled. */
enum crash_kind { CRASH_NOTHING, CRASH_ALL, CRASH_SOME };

/* Half lost: the data, but not the size, since the next flush that succeeds writes that again. */
enum fate { FATE_KEPT, FATE_OPEN, FATE_LOST, FATE_HALF_LOST };

/* Backwards: the first flush behind a change decides. A lost one lost it all. */
static inline void fates_find(uint8_t *fates)
{
    uint8_t data[SIM_FILES], names = FATE_OPEN;
    memset(data, FATE_OPEN, sizeof data);
    for (size_t i = disk->n_events; i-- > 0;) {
        const sim_event *event = &disk->events[i];
        fates[i] = FATE_KEPT;
        if (event->kind == SIM_SYNC_DIR)
            names = FATE_KEPT;
        else if (event->kind == SIM_SYNC)
            data[event->file] = FATE_KEPT;
        else if (event->kind == SIM_SYNC_LOST)
            data[event->file] = data[event->file] == FATE_OPEN || data[event->file] == FATE_LOST
                                    ? FATE_LOST
                                    : FATE_HALF_LOST;
        else if (event->kind == SIM_WRITE || event->kind == SIM_TRUNCATE)
            fates[i] = data[event->file];
        else
            fates[i] = names;
    }
}

/* Takes out what the cut loses. */
static inline size_t units_thin(sim_unit *units, size_t n, enum fate fate, rng *random)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (fate == FATE_KEPT || (fate == FATE_HALF_LOST && units[i].kind == SIM_UNIT_SIZE) ||
            (fate == FATE_OPEN && (!random || rng_below(random, 2))))
            units[kept++] = units[i];
    return kept;
}

/* other becomes what this machine is after the cut, booted again. */
static inline void crash_into_other(enum crash_kind kind, rng *random)
{
    static sim_unit units[UNITS_MAX];
    static uint8_t fates[UNITS_MAX];
    sim_tear tear = {.block = 4096, .word = 8, .words_end = METAS_END};
    size_t n = 0;
    assert_true(disk->n_events < UNITS_MAX);
    fates_find(fates);
    for (size_t i = 0; i < disk->n_events; i++) {
        if (fates[i] == FATE_LOST || (fates[i] == FATE_OPEN && kind == CRASH_NOTHING))
            continue;
        size_t added = sim_event_units(disk, i, &tear, units + n, UNITS_MAX - n);
        assert_true(added < UNITS_MAX - n);
        n += units_thin(units + n, added, fates[i], kind == CRASH_SOME ? random : NULL);
    }
    sim_reset(other);
    sim_apply(other, units, n);
    other->boots = disk->boots + 1;
}

/* ---- databases ---- */

static inline int open_on(const kvi_os *os, uint32_t flags, kv_db **db)
{
    kv_options options = {.size = sizeof options,
                          .flags = flags,
                          .lazy_sync_bytes = UINT64_MAX,
                          .memory_budget = 8 * PAGE_SIZE,
                          .page_size = flags & KV_OPEN_CREATE ? PAGE_SIZE : 0};
    char message[320];
    int rc = kvi_db_open(os, "db", &options, db, message, sizeof message);
    if (rc != KV_OK && rc != KV_ENOENT)
        print_message("open: %d %s\n", rc, message);
    return rc;
}

static inline kv_db *open_db(void)
{
    kv_db *db;
    assert_int_equal(open_on(sim_os(disk), KV_OPEN_CREATE, &db), KV_OK);
    return db;
}

static inline kv_txn *begin(kv_db *db, uint32_t flags)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, flags, &txn), KV_OK);
    return txn;
}

static inline void put_n(kv_txn *txn, const char *prefix, unsigned n, size_t len, char fill)
{
    static char value[1 << 21];
    char key[32];
    assert_true(len <= sizeof value);
    memset(value, fill, len);
    for (unsigned i = 0; i < n; i++) {
        int key_len = snprintf(key, sizeof key, "%s%05u", prefix, i);
        memcpy(value, &i, KVI_MIN(len, sizeof i));
        assert_int_equal(kv_put(kv_txn_main(txn), key, (size_t)key_len, value, len, 0), KV_OK);
    }
}

static inline void commit(kv_txn *txn)
{
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static inline void commit_n(kv_db *db, uint32_t flags, const char *prefix, unsigned n, size_t len,
                            char fill)
{
    kv_txn *txn = begin(db, KV_TXN_WRITE | flags);
    put_n(txn, prefix, n, len, fill);
    commit(txn);
}

/* Of all that stands in the main tree, but for the survivor's own key. */
static inline uint64_t content(kv_txn *txn)
{
    kv_cursor *cursor;
    kv_slice key, value;
    uint64_t hash = 0xcbf29ce484222325;
    int rc;
    assert_int_equal(kv_cursor_open(kv_txn_main(txn), NULL, &cursor), KV_OK);
    while ((rc = kv_cursor_next(cursor)) == KV_OK) {
        assert_int_equal(kv_cursor_get(cursor, &key, &value), KV_OK);
        if (key.len == strlen(KEY_OF_TEST) && memcmp(key.ptr, KEY_OF_TEST, key.len) == 0)
            continue;
        hash = (hash ^ kvi_hash_meta(key.ptr, key.len)) * 0x100000001b3;
        hash = (hash ^ kvi_hash_meta(value.ptr, value.len)) * 0x100000001b3;
    }
    assert_int_equal(rc, KV_NOTFOUND);
    kv_cursor_close(cursor);
    return hash;
}

static inline uint64_t content_now(kv_db *db)
{
    kv_txn *txn = begin(db, KV_TXN_READ);
    uint64_t hash = content(txn);
    kv_txn_abort(txn);
    return hash;
}

static inline bool has_mark(kv_db *db)
{
    kv_txn *txn = begin(db, KV_TXN_READ);
    int rc = kv_get(kv_txn_main(txn), KEY_OF_TEST, strlen(KEY_OF_TEST), NULL);
    kv_txn_abort(txn);
    return rc == KV_OK;
}

static inline void commit_mark(kv_db *db, uint32_t flags)
{
    kv_txn *txn = begin(db, KV_TXN_WRITE | flags);
    assert_int_equal(kv_put(kv_txn_main(txn), KEY_OF_TEST, strlen(KEY_OF_TEST), "x", 1, 0), KV_OK);
    commit(txn);
}

static inline void sound(kv_db *db)
{
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

static inline int side_file(void)
{
    return sim_find(disk, "db-lock");
}

static inline kvi_side_head *side_head(void)
{
    return (kvi_side_head *)disk->files[side_file()].bytes;
}

/* The greatest id in a header page of the file, used or not, or in a meta. */
static inline uint64_t greatest_birth(void)
{
    kvi_slice file = sim_get_file(disk, "db");
    const uint8_t *bytes = file.ptr;
    uint64_t most = 0;
    for (uint64_t page = kvi_first_page(PAGE_SIZE); (page + 1) * PAGE_SIZE <= file.len; page++) {
        const uint8_t *p = bytes + page * PAGE_SIZE;
        if (kvi_get64(p + KVI_P_page) == page && kvi_get64(p + KVI_P_birth) <= KVI_ID_MAX)
            most = KVI_MAX(most, kvi_get64(p + KVI_P_birth));
    }
    for (unsigned slot = 0; slot < 2; slot++) {
        kvi_meta meta;
        if (kvi_meta_decode(bytes + slot * kvi_meta_stride(PAGE_SIZE), &meta) == KVI_META_VALID)
            most = KVI_MAX(most, meta.id);
    }
    return most;
}

/* After each kind of power cut: the content is this one, with the survivor's mark, and sound. */
static inline void expect_after_crash(uint64_t hash)
{
    rng random;
    rng_seed(&random, hash);
    for (int i = 0; i < 6; i++) {
        kv_db *db;
        crash_into_other(i == 0 ? CRASH_NOTHING : i == 1 ? CRASH_ALL : CRASH_SOME, &random);
        assert_int_equal(open_on(sim_os(other), 0, &db), KV_OK);
        assert_true(has_mark(db));
        assert_int_equal(content_now(db), hash);
        sound(db);
        commit_n(db, 0, "again", 3, 50, 'g');
        sound(db);
        assert_int_equal(kv_db_close(db), KV_OK);
    }
}

#endif
