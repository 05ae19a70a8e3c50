/* Counting from many threads through kv_db_write: every answer is given once, the total is exact, and
 * after SIGKILL it is what was acknowledged, and at most what was under way beyond it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "kv.h"
#include "scratch.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 4
#define ROUNDS  150
#define KILLS   6

static scratch dir;
static char path[SCRATCH_MAX];
static kv_db *db;

static int setup(void **state)
{
    scratch_make(&dir);
    scratch_path_to(&dir, "counters.kv", path);
    return 0;
}

static int teardown(void **state)
{
    scratch_remove(&dir);
    return 0;
}

static int open_fresh(void **state)
{
    unlink(path);
    return kv_db_open(path, NULL, &db);
}

static int close_all(void **state)
{
    return kv_db_check(db, NULL) == KV_OK ? kv_db_close(db) : -1;
}

/* One more for the total and for a key of the caller's own; 0: it failed. */
static int64_t count_one(const char *own, uint32_t flags)
{
    kv_op_result total = {0};
    kv_op ops[] = {
        {.kind = KV_OP_INCR, .key = {"total", 5}, .number = 1, .result = &total},
        {.kind = KV_OP_INCR, .flags = KV_NUMBER_TEXT, .key = {own, strlen(own)}, .number = 1},
    };
    return kv_db_write(db, ops, 2, flags, NULL) == KV_OK ? total.number : 0;
}

static int64_t number_of(const char *key, uint32_t flags)
{
    kv_txn *txn;
    int64_t number = -1;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    assert_int_equal(kv_incr(kv_txn_main(txn), key, strlen(key), 0, 0, flags, &number), KV_OK);
    kv_txn_abort(txn);
    return number;
}

/* ---- threads ---- */

static const char *const owns[THREADS] = {"own 0", "own 1", "own 2", "own 3"};
static atomic_int given[THREADS * ROUNDS + 1]; /* how often each number was an answer */

static atomic_bool wrong;

static void *count(void *context)
{
    int64_t before = 0;
    for (int i = 0; i < ROUNDS; i++) {
        int64_t number = count_one(context, i % 50 ? KV_TXN_LAZY : KV_TXN_DURABLE);
        if (number <= before || number > THREADS * ROUNDS)
            wrong = true;
        else
            given[number]++;
        before = number;
    }
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, (void *)(uintptr_t)owns[i]), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_false(wrong);
    for (int i = 1; i <= THREADS * ROUNDS; i++)
        assert_int_equal(given[i], 1);
    assert_int_equal(number_of("total", 0), THREADS * ROUNDS);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(number_of(owns[i], KV_NUMBER_TEXT), ROUNDS);
}

/* ---- SIGKILL ---- */

static _Atomic int64_t *acknowledged; /* shared with the children */

static void *count_for_ever(void *context)
{
    while (count_one(context, 0) > 0)
        atomic_fetch_add(acknowledged, 1);
    _exit(1);
}

static void child(void)
{
    pthread_t threads[THREADS];
    if (kv_db_open(path, NULL, &db) != KV_OK)
        _exit(2);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, count_for_ever, (void *)(uintptr_t)owns[i]) != 0)
            _exit(3);
    pthread_join(threads[0], NULL);
    _exit(4);
}

/* Kills a child in the middle of its counting, after some more acknowledged ones. */
static void count_and_kill(int64_t more)
{
    int64_t before = atomic_load(acknowledged);
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        child();
    while (atomic_load(acknowledged) < before + more && waitpid(pid, &status, WNOHANG) == 0)
        usleep(200);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

static void test_killed(void **state)
{
    int64_t total = 0;
    void *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    acknowledged = shared;
    for (int i = 0; i < KILLS; i++) {
        atomic_store(acknowledged, total); /* what was under way when it died counts from here on */
        assert_int_equal(kv_db_close(db), KV_OK);
        count_and_kill(20 + 7 * i);
        assert_int_equal(kv_db_open(path, NULL, &db), KV_OK);
        int64_t told = atomic_load(acknowledged), sum = 0;
        total = number_of("total", 0);
        if (total < told || total > told + THREADS)
            fail_msg("%lld acknowledged, the total is %lld", (long long)told, (long long)total);
        for (int k = 0; k < THREADS; k++)
            sum += number_of(owns[k], KV_NUMBER_TEXT);
        assert_int_equal(sum, total); /* whole batches */
    }
    munmap(shared, 4096);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, open_fresh, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(test_threads), CASE(test_killed)};
    return cmocka_run_group_tests_name("counters", tests, setup, teardown);
}
