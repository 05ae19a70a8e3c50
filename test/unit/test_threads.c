/* Threads: readers under a writer, those of a guest, transactions that move between threads, the
 * writers' turn, slots that grow, closing. Meant for ThreadSanitizer, too; nothing here measures time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "driver.h"
#include "readers.h"
#include "rng.h"
#include "scratch.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define READERS 8
#define WRITERS 4
#define COMMITS 120
#define MANY    (KVI_SLOTS_FIRST * 2 + 9) /* more than the first two segments hold */

static scratch dir;
static char path[SCRATCH_MAX];
static kv_db *db;

/* The first difference that a thread found: cmocka's asserts belong to the main thread. */
static _Atomic(const char *) wrong;

static void *found(const char *what)
{
    const char *none = NULL;
    atomic_compare_exchange_strong(&wrong, &none, what);
    return NULL;
}

static int setup(void **state)
{
    scratch_make(&dir);
    scratch_path_to(&dir, "threads.kv", path);
    return 0;
}

static int teardown(void **state)
{
    scratch_remove(&dir);
    return 0;
}

static int open_fresh(void **state)
{
    kv_options options = {.size = sizeof options,
                          .flags = KV_OPEN_CREATE,
                          .memory_budget = 1 << 16,
                          .durability = KV_LAZY};
    unlink(path);
    wrong = NULL;
    return kv_db_open(path, &options, &db);
}

static int close_all(void **state)
{
    return kv_db_close(db);
}

static void expect_right(void)
{
    const char *what = wrong;
    if (what)
        fail_msg("a thread found: %s", what);
}

static void start(pthread_t *thread, void *(*run)(void *), void *context)
{
    assert_int_equal(pthread_create(thread, NULL, run, context), 0);
}

static void join_all(pthread_t *threads, size_t n)
{
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

/* ---- snapshots under a writer, told apart by a hash of their content ---- */

static struct {
    pthread_mutex_t mutex;
    model *m; /* guarded by mutex; what was committed */
    atomic_bool stop;
    atomic_uint reads;
} world;

static model_state *state_of(uint64_t id)
{
    model_state *state = NULL;
    pthread_mutex_lock(&world.mutex);
    for (size_t i = 0; i < world.m->n_commits; i++)
        if (world.m->commits[i].id == id)
            state = world.m->commits[i].state;
    if (state)
        state->refs++;
    pthread_mutex_unlock(&world.mutex);
    return state;
}

static void state_done(model_state *state)
{
    pthread_mutex_lock(&world.mutex);
    model_release(state);
    pthread_mutex_unlock(&world.mutex);
}

/* Readers may see a commit a moment before the writer has told the model about it. */
static model_state *state_wait(uint64_t id)
{
    model_state *state;
    while (!(state = state_of(id)) && !world.stop)
        sched_yield();
    return state;
}

static void *read_snapshots(void *context)
{
    kv_txn *txn;
    uint64_t before = 0;
    bool refresh = (uintptr_t)context & 1;
    if (kv_txn_begin(db, KV_TXN_READ, &txn) != KV_OK)
        return found("begin");
    while (!world.stop) {
        uint64_t id = kv_txn_id(txn);
        model_state *state = id > 1 ? state_wait(id) : NULL;
        if (id < before)
            found("a snapshot older than the one before");
        before = id;
        if (state && !driver_same(txn, state))
            found("a snapshot with another content");
        if (state)
            state_done(state);
        world.reads++;
        if (refresh) {
            if (kv_txn_refresh(txn) != KV_OK)
                found("refresh");
            continue;
        }
        kv_txn_abort(txn);
        if (kv_txn_begin(db, KV_TXN_READ, &txn) != KV_OK)
            return found("begin");
    }
    kv_txn_abort(txn);
    return NULL;
}

/* Transactions of the driver, the model guarded against the readers at each commit. */
static void write_snapshots(driver *d)
{
    static const uint32_t kinds[] = {KV_TXN_LAZY, KV_TXN_LAZY, 0, KV_TXN_DURABLE, KV_TXN_STRICT};
    for (int i = 0; i < COMMITS || (world.reads < 4 * READERS && !wrong); i++) {
        pthread_mutex_lock(&world.mutex);
        bool fine = driver_begin(d, kinds[i % 5]);
        pthread_mutex_unlock(&world.mutex);
        pthread_mutex_lock(&world.mutex); /* driver and readers count the same references */
        fine = fine && driver_steps(d, 25) && driver_commit(d) == KV_OK;
        pthread_mutex_unlock(&world.mutex);
        if (!fine) {
            found(d->what ? d->what : "commit");
            return;
        }
    }
}

static void test_readers_under_a_writer(void **state)
{
    static const driver_shape shape = {.keys = 400,
                                       .key_max = 64,
                                       .value_max = 90,
                                       .large_max = 20000,
                                       .large_one_in = 20,
                                       .trees = 2,
                                       .savepoints = true,
                                       .ranges = true,
                                       .compress_from = 2000};
    pthread_t readers[READERS];
    driver d;
    memset(&world, 0, sizeof world);
    pthread_mutex_init(&world.mutex, NULL);
    world.m = model_new();
    driver_init(&d, db, world.m, 5, &shape);
    for (size_t i = 0; i < READERS; i++)
        start(&readers[i], read_snapshots, (void *)i);
    write_snapshots(&d);
    world.stop = true;
    join_all(readers, READERS);
    expect_right();
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
    model_free(world.m);
    pthread_mutex_destroy(&world.mutex);
}

/* ---- the threads of a guest, who share what it has pinned ---- */

#define GUESTS       4
#define GUEST_ROUNDS 40
#define SAME         60 /* entries that name one number */

static kv_db *guest;
static atomic_uint guests_left;

/* The system calls of somebody who may write neither the file nor beside it. */
static int open_kept_out(const kvi_os *os, const char *name, int flags, uint32_t mode)
{
    size_t len = strlen(path);
    bool beside = strncmp(name, path, len) == 0 && name[len];
    return beside || flags & KVI_OS_WRITE ? -EACCES : kvi_os_posix.open(os, name, flags, mode);
}

static bool put_same(kv_txn *txn, uint64_t number)
{
    char key[16];
    for (unsigned i = 0; i < SAME; i++) {
        int len = snprintf(key, sizeof key, "same%u", i);
        if (kv_put(kv_txn_main(txn), key, (size_t)len, &number, sizeof number, 0) != KV_OK)
            return false;
    }
    return true;
}

/* 0: pages were used again beneath it. */
static uint64_t same_of(kv_txn *txn)
{
    char key[16];
    uint64_t first = 0, number;
    kv_slice value;
    for (unsigned i = 0; i < SAME; i++) {
        int len = snprintf(key, sizeof key, "same%u", i);
        if (kv_get(kv_txn_main(txn), key, (size_t)len, &value) != KV_OK ||
            value.len != sizeof number)
            return 0;
        memcpy(&number, value.ptr, sizeof number);
        if (i > 0 && number != first)
            return 0;
        first = number;
    }
    return first;
}

static void *visit(void *context)
{
    kv_txn *txn, *named;
    uint64_t before = 1;
    for (int round = 0; round < GUEST_ROUNDS && !wrong; round++) {
        if (kv_txn_begin(guest, KV_TXN_READ, &txn) != KV_OK ||
            kv_snapshot_open(guest, "first", 5, &named) != KV_OK) {
            found("a guest's begin");
            break;
        }
        for (int looks = 0; looks < 3; looks++) {
            uint64_t number = same_of(txn);
            if (number < before)
                found("a guest's snapshot that is older, or not whole");
            before = number;
            if (kv_txn_refresh(txn) != KV_OK)
                found("a guest's refresh");
        }
        if (same_of(named) != 1)
            found("a guest's snapshot with a name");
        kv_txn_abort(named);
        kv_txn_abort(txn);
    }
    guests_left--;
    return NULL;
}

static void commit_same(uint32_t flags, uint64_t number)
{
    kv_txn *txn;
    if (kv_txn_begin(db, KV_TXN_WRITE | flags, &txn) != KV_OK || !put_same(txn, number) ||
        kv_txn_commit(txn) != KV_OK)
        found("writing");
}

static void test_threads_of_a_guest(void **state)
{
    pthread_t threads[GUESTS];
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    kvi_os kept_out = kvi_os_posix;
    kept_out.open = open_kept_out;
    commit_same(0, 1);
    assert_int_equal(kv_snapshot_create(db, "first", 5, 0), KV_OK);
    assert_int_equal(kvi_db_open(&kept_out, path, &options, &guest, NULL, 0), KV_OK);
    assert_int_equal(guest->role, KVI_GUEST);
    guests_left = GUESTS;
    for (size_t i = 0; i < GUESTS; i++)
        start(&threads[i], visit, NULL);
    for (uint64_t number = 2; guests_left > 0; number++)
        commit_same(number % 4 ? KV_TXN_LAZY : KV_TXN_DURABLE, number);
    join_all(threads, GUESTS);
    expect_right();
    assert_int_equal(guest->guest.n, 0); /* nothing stays pinned */
    assert_int_equal(kv_db_close(guest), KV_OK);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* ---- writers take turns ---- */

static uint64_t number_of(kv_tree *tree)
{
    kv_slice value;
    uint64_t number = 0;
    if (kv_get(tree, "number", 6, &value) == KV_OK && value.len == sizeof number)
        memcpy(&number, value.ptr, sizeof number);
    return number;
}

static bool add_one(kv_txn *txn)
{
    uint64_t number = number_of(kv_txn_main(txn)) + 1;
    return kv_put(kv_txn_main(txn), "number", 6, &number, sizeof number, 0) == KV_OK;
}

static int begin_somehow(unsigned round, kv_txn **txn)
{
    switch (round % 3) {
    case 0:
        return kv_txn_begin(db, KV_TXN_WRITE, txn);
    case 1:
        return kv_txn_begin(db, KV_TXN_WRITE | KV_TXN_TRY, txn);
    default:
        return kv_txn_begin_wait(db, 0, 1, txn);
    }
}

/* Every success adds one; trying and waiting may be refused. */
static void *count_up(void *context)
{
    atomic_uint *added = context;
    for (unsigned round = 0; round < COMMITS; round++) {
        kv_txn *txn;
        int rc = begin_somehow(round, &txn);
        if (rc == KV_EBUSY && round % 3 != 0 && !txn)
            continue;
        if (rc != KV_OK)
            return found("begin");
        if (!add_one(txn))
            return found("put");
        if (round % 7 == 0) {
            kv_txn_abort(txn);
            continue;
        }
        if (kv_txn_commit(txn) != KV_OK)
            return found("commit");
        (*added)++;
    }
    return NULL;
}

static void test_writers_take_turns(void **state)
{
    pthread_t writers[WRITERS];
    atomic_uint added = 0;
    kv_txn *txn;
    for (size_t i = 0; i < WRITERS; i++)
        start(&writers[i], count_up, &added);
    join_all(writers, WRITERS);
    expect_right();
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    assert_int_equal(number_of(kv_txn_main(txn)), added);
    assert_true(added > COMMITS / 3);
    kv_txn_abort(txn);
}

static void *try_to_write(void *context)
{
    kv_txn *txn;
    if (kv_txn_begin(db, KV_TXN_WRITE | KV_TXN_TRY, &txn) != KV_EBUSY || txn)
        found("a second writer");
    if (kv_txn_begin_wait(db, 0, 3, &txn) != KV_EBUSY || txn)
        found("a second writer that waited");
    if (kv_txn_begin(db, KV_TXN_READ, &txn) != KV_OK)
        return found("a reader had to wait");
    if (number_of(kv_txn_main(txn)) != 0)
        found("changes of a running transaction");
    kv_txn_abort(txn);
    return NULL;
}

static void *wait_to_write(void *context)
{
    kv_txn *txn;
    if (kv_txn_begin_wait(db, 0, 600000, &txn) != KV_OK)
        return found("waiting");
    if (number_of(kv_txn_main(txn)) != 1)
        found("not the newest commit");
    kv_txn_abort(txn);
    return NULL;
}

static void test_waiting(void **state)
{
    pthread_t threads[2];
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    assert_true(add_one(txn));
    start(&threads[0], try_to_write, NULL);
    pthread_join(threads[0], NULL);
    start(&threads[0], wait_to_write, NULL);
    start(&threads[1], wait_to_write, NULL);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    join_all(threads, 2);
    expect_right();
}

/* ---- transactions move ---- */

typedef struct parcel {
    kv_txn *txn;
    kv_tree *tree;
    kv_cursor *cursor;
    unsigned step;
} parcel;

/* One step of a write transaction that a thread of its own does. */
static void *carry_on(void *context)
{
    parcel *p = context;
    char key[16];
    if (p->step == 0 && kv_txn_begin(db, KV_TXN_WRITE, &p->txn) != KV_OK)
        return found("begin");
    if (p->step == 1 && kv_tree_open(p->txn, "moved", 5, KV_TREE_CREATE, NULL, &p->tree) != KV_OK)
        return found("tree_open");
    if (p->step > 1) {
        int len = snprintf(key, sizeof key, "key%u", p->step);
        if (kv_put(p->tree, key, (size_t)len, key, (size_t)len, 0) != KV_OK)
            return found("put");
    }
    if (p->step == 9 && kv_txn_commit(p->txn) != KV_OK)
        return found("commit");
    return NULL;
}

static void *look_on(void *context)
{
    parcel *p = context;
    kv_slice key, value;
    if (p->step == 0 && (kv_txn_begin(db, KV_TXN_READ, &p->txn) != KV_OK ||
                         kv_tree_open(p->txn, "moved", 5, 0, NULL, &p->tree) != KV_OK ||
                         kv_cursor_open(p->tree, NULL, &p->cursor) != KV_OK))
        return found("begin to read");
    if (p->step < 8 && (kv_cursor_next(p->cursor) != KV_OK ||
                        kv_cursor_get(p->cursor, &key, &value) != KV_OK || key.len != value.len))
        return found("cursor");
    if (p->step == 8 && kv_cursor_next(p->cursor) != KV_NOTFOUND)
        found("the end");
    if (p->step == 9)
        kv_txn_abort(p->txn);
    return NULL;
}

static void relay(void *(*step)(void *))
{
    parcel p = {0};
    for (p.step = 0; p.step < 10; p.step++) {
        pthread_t thread;
        start(&thread, step, &p);
        pthread_join(thread, NULL);
        expect_right();
    }
}

static void test_transactions_move(void **state)
{
    relay(carry_on);
    relay(look_on);
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE | KV_TXN_TRY, &txn), KV_OK);
    kv_txn_abort(txn);
}

/* ---- many readers ---- */

static int count_reader(void *context, const kv_reader_info *reader)
{
    ++*(unsigned *)context;
    return 0;
}

static void test_slots_grow(void **state)
{
    static kv_txn *txns[MANY];
    kv_txn *txn;
    unsigned n = 0;
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
        assert_true(add_one(txn));
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txns[i]), KV_OK);
    }
    assert_int_equal(kv_db_readers(db, count_reader, &n), KV_OK);
    assert_int_equal(n, MANY);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(number_of(kv_txn_main(txns[i])), i + 1);
    for (unsigned i = 0; i < MANY; i++)
        kv_txn_abort(txns[i]);
    n = 0;
    assert_int_equal(kv_db_readers(db, count_reader, &n), KV_OK);
    assert_int_equal(n, 0);
}

/* Threads that claim slots at the same time, also while the table grows. */
static void *claim_many(void *context)
{
    kv_txn *txns[MANY / READERS + 2];
    for (int round = 0; round < 30; round++) {
        for (size_t i = 0; i < KVI_COUNT(txns); i++)
            if (kv_txn_begin(db, KV_TXN_READ, &txns[i]) != KV_OK)
                return found("begin");
        for (size_t i = 0; i < KVI_COUNT(txns); i++)
            kv_txn_abort(txns[i]);
    }
    return NULL;
}

static void *write_some(void *context)
{
    for (int i = 0; i < 60; i++) {
        kv_txn *txn;
        if (kv_txn_begin(db, KV_TXN_WRITE, &txn) != KV_OK || !add_one(txn) ||
            kv_txn_commit(txn) != KV_OK)
            return found("writing");
    }
    return NULL;
}

/* Everything that may be asked of the handle while others work. */
static void *ask(void *context)
{
    for (int i = 0; i < 40; i++) {
        char text[200];
        unsigned n = 0;
        kv_db_info info = {.size = sizeof info};
        if (kv_db_stat(db, &info) != KV_OK || info.durable_id > info.commit_id + COMMITS)
            return found("stat");
        if (kv_db_readers(db, count_reader, &n) != KV_OK)
            return found("readers");
        if (kv_db_durable_id(db) < info.durable_id)
            return found("the durable id went back");
        if (i % 8 == 0 && (kv_db_sync(db) != KV_OK || kv_db_check(db, NULL) != KV_OK))
            return found("sync or check");
        kv_db_errmsg(db, text, sizeof text);
    }
    return NULL;
}

static void test_slots_grow_under_load(void **state)
{
    pthread_t threads[READERS + 2];
    for (size_t i = 0; i < READERS; i++)
        start(&threads[i], claim_many, NULL);
    start(&threads[READERS], write_some, NULL);
    start(&threads[READERS + 1], ask, NULL);
    join_all(threads, READERS + 2);
    expect_right();
}

/* ---- closing ---- */

static void test_close_with_children(void **state)
{
    kv_txn *reader, *writer;
    char text[200];
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &reader), KV_OK);
    assert_int_equal(kv_db_close(db), KV_EBUSY);
    kv_db_errmsg(db, text, sizeof text);
    assert_string_not_equal(text, "");
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &writer), KV_OK);
    kv_txn_abort(reader);
    assert_int_equal(kv_db_close(db), KV_EBUSY);
    assert_true(add_one(writer)); /* both went on as before */
    assert_int_equal(kv_txn_commit(writer), KV_OK);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_fresh, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_readers_under_a_writer), TEST(test_threads_of_a_guest),
        TEST(test_writers_take_turns),     TEST(test_waiting),
        TEST(test_transactions_move),      TEST(test_slots_grow),
        TEST(test_slots_grow_under_load),  TEST(test_close_with_children),
    };
    return cmocka_run_group_tests_name("threads", tests, setup, teardown);
}
