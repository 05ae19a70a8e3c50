/* Who looks at the newest commit as a whole while the next one is flushed. Behind a lazy commit, that
 * one's meta already stands where the newest one's did. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "scratch.h"
#include <pthread.h>

static scratch dir;
static char path[SCRATCH_MAX];
static kv_db *db;

/* A system whose flush ends when somebody has begun to wait for it. */
static kvi_os slow;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool hold, flushing, awaited;

static void set(bool *what)
{
    pthread_mutex_lock(&mutex);
    *what = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static void await(const bool *what)
{
    pthread_mutex_lock(&mutex);
    while (!*what)
        pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
}

static int slow_sync(const kvi_os *os, int fd)
{
    if (hold) {
        set(&flushing);
        await(&awaited);
    }
    return kvi_os_posix.sync(os, fd);
}

static void slow_sleep(const kvi_os *os, uint32_t us)
{
    if (hold)
        set(&awaited);
    kvi_os_posix.sleep_us(os, us);
}

static int setup(void **state)
{
    scratch_make(&dir);
    scratch_path_to(&dir, "a.kv", path);
    slow = kvi_os_posix;
    slow.sync = slow_sync;
    slow.sleep_us = slow_sleep;
    return 0;
}

static int teardown(void **state)
{
    scratch_remove(&dir);
    return 0;
}

static void commit(uint32_t flags)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE | flags, &txn), KV_OK);
    assert_int_equal(kv_put(kv_txn_main(txn), "k", 1, &flags, sizeof flags, 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static void *commit_durably(void *context)
{
    (void)context;
    commit(KV_TXN_DURABLE);
    return NULL;
}

static int check(void)
{
    return kv_db_check(db, NULL);
}

static int no_reader(void *context, const kv_reader_info *reader)
{
    (void)context, (void)reader;
    return 0;
}

static int readers(void)
{
    return kv_db_readers(db, no_reader, NULL);
}

static int statistics(void)
{
    kv_db_info info = {.size = sizeof info};
    return kv_db_stat(db, &info);
}

static int no_snapshot(void *context, const kv_snapshot_info *snapshot)
{
    (void)context, (void)snapshot;
    return 0;
}

static int snapshots(void)
{
    return kv_snapshot_list(db, no_snapshot, NULL);
}

static void test_waits(void **state)
{
    static int (*const looks[])(void) = {check, readers, statistics, snapshots};
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
    assert_int_equal(kvi_db_open(&slow, path, &options, &db, NULL, 0), KV_OK);
    for (size_t i = 0; i < KVI_COUNT(looks); i++) {
        pthread_t writer;
        commit(KV_TXN_LAZY);
        flushing = awaited = false;
        hold = true;
        assert_int_equal(pthread_create(&writer, NULL, commit_durably, NULL), 0);
        await(&flushing);
        int rc = looks[i]();
        set(&awaited);
        pthread_join(writer, NULL);
        hold = false;
        assert_int_equal(rc, KV_OK);
    }
    assert_int_equal(kv_db_close(db), KV_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_waits)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
