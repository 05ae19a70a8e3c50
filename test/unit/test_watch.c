/* Waiting for commits and changes: what is reported and what is not, from threads and processes, and
 * when the writer is killed. On real files. */
#include "sharing_machine.h"
#include <pthread.h>

#define LIMIT_MS 60000 /* of a wait that must end by itself */

/* ---- small work ---- */

static void put_text(kv_db *db, const char *tree, const char *key, const char *value)
{
    kv_op op = {.kind = value ? KV_OP_PUT : KV_OP_DEL,
                .flags = value ? KV_OP_CREATE_TREE : 0,
                .tree = {tree, strlen(tree)},
                .key = {key, strlen(key)},
                .value = {value, value ? strlen(value) : 0}};
    MUST(kv_db_write(db, &op, 1, KV_TXN_LAZY, NULL));
}

static void drop_tree(kv_db *db, const char *name)
{
    kv_tree *tree;
    kv_txn *txn = begin(db, KV_TXN_WRITE);
    MUST(kv_tree_open(txn, name, strlen(name), 0, NULL, &tree));
    MUST(kv_tree_drop(tree));
    MUST(kv_txn_commit(txn));
}

static uint64_t newest_id(kv_db *db)
{
    uint64_t id;
    MUST(kv_db_wait(db, 0, 0, &id));
    return id;
}

static kv_range range_of_key(const char *key)
{
    size_t len = strlen(key);
    return (kv_range){.size = sizeof(kv_range),
                      .from = key,
                      .from_len = len,
                      .to = key,
                      .to_len = len,
                      .flags = KV_RANGE_TO_CLOSED};
}

static kv_range range_of_prefix(const char *prefix)
{
    return (kv_range){.size = sizeof(kv_range), .prefix = prefix, .prefix_len = strlen(prefix)};
}

/* tree NULL: all; range NULL: all. */
static kv_watch *watch_open(kv_db *db, const char *tree, const kv_range *range)
{
    kv_watch *watch;
    kv_watch_options options = {
        .size = sizeof options, .tree = tree, .tree_len = tree ? strlen(tree) : 0, .range = range};
    MUST(kv_watch_open(db, &options, &watch));
    return watch;
}

static bool changed(kv_watch *watch, kv_watch_event *event)
{
    kv_watch_event ours = {.size = sizeof ours};
    int rc = kv_watch_next(watch, 0, event ? event : &ours);
    assert_true(rc == KV_OK || rc == KV_NOTFOUND);
    return rc == KV_OK;
}

static void expect_text(kv_txn *txn, const char *key, const char *value)
{
    kv_slice found;
    int rc = kv_get(kv_txn_main(txn), key, strlen(key), &found);
    assert_int_equal(rc, value ? KV_OK : KV_NOTFOUND);
    if (value) {
        assert_int_equal(found.len, strlen(value));
        assert_memory_equal(found.ptr, value, found.len);
    }
}

/* ---- waiting for a commit ---- */

static void test_wait(void **state)
{
    static const uint32_t flags[] = {0, KV_OPEN_EXCLUSIVE};
    for (size_t i = 0; i < 2; i++) {
        uint64_t now = 0, id;
        kv_db *db = open_ok(KV_OPEN_CREATE | flags[i]);
        MUST(kv_db_wait(db, 0, 0, &id));
        assert_int_equal(kv_db_wait(db, id, 0, &now), KV_NOTFOUND);
        assert_int_equal(kv_db_wait(db, id, 20, &now), KV_NOTFOUND);
        assert_int_equal(now, 0);
        put_text(db, "", "a", "1");
        put_text(db, "", "a", "2");
        MUST(kv_db_wait(db, id, KV_FOREVER, &now));
        assert_int_equal(now, id + 2);
        MUST(kv_db_wait(db, id, 0, NULL));
        MUST(kv_db_sync(db)); /* is no commit, though it is published */
        assert_int_equal(kv_db_wait(db, now, 0, &now), KV_NOTFOUND);
        close_ok(db);
    }
}

static void test_wrong_arguments(void **state)
{
    kv_db *db = open_ok(KV_OPEN_CREATE);
    kv_watch *watch = (kv_watch *)&dir;
    kv_watch_options options = {.size = sizeof options, .tree = "", .tree_len = 0};
    kv_watch_event event = {0};
    kv_range range = {.size = sizeof range, .limit = 1};
    assert_int_equal(kv_db_wait(NULL, 0, 0, NULL), KV_EINVAL);
    assert_int_equal(kv_watch_open(NULL, &options, &watch), KV_EINVAL);
    assert_null(watch);
    assert_int_equal(kv_watch_open(db, &options, NULL), KV_EINVAL);
    options.range = &range;
    assert_int_equal(kv_watch_open(db, &options, &watch), KV_EINVAL);
    range = (kv_range){.size = sizeof range, .flags = KV_RANGE_REVERSE};
    assert_int_equal(kv_watch_open(db, &options, &watch), KV_EINVAL);
    range = (kv_range){.size = sizeof range, .prefix_len = 3};
    assert_int_equal(kv_watch_open(db, &options, &watch), KV_EINVAL);
    options = (kv_watch_options){.size = sizeof options, .tree_len = 1};
    assert_int_equal(kv_watch_open(db, &options, &watch), KV_EINVAL);
    options = (kv_watch_options){.size = 1};
    assert_int_equal(kv_watch_open(db, &options, &watch), KV_EINVAL);
    for (int i = 0; i < 4; i++) { /* more than there is memory to remember them in */
        size_t len = SIZE_MAX;
        range = (kv_range){.size = sizeof range};
        options = (kv_watch_options){.size = sizeof options, .range = &range};
        options.tree = i == 0 ? "" : NULL;
        options.tree_len = i == 0 ? len : 0;
        range.from = i == 1 ? "" : NULL;
        range.from_len = i == 1 ? len : 0;
        range.to = i == 2 ? "" : NULL;
        range.to_len = i == 2 ? len : 0;
        range.prefix = i == 3 ? "" : NULL;
        range.prefix_len = i == 3 ? len : 0;
        assert_int_equal(kv_watch_open(db, &options, &watch), KV_ENOMEM);
    }
    assert_int_equal(kv_watch_next(NULL, 0, NULL), KV_EINVAL);
    assert_null(kv_watch_txn(NULL));
    kv_watch_cancel(NULL);
    kv_watch_close(NULL);
    MUST(kv_watch_open(db, NULL, &watch));
    assert_int_equal(kv_watch_next(watch, 0, &event), KV_EINVAL);
    assert_int_equal(kv_db_close(db), KV_EBUSY);
    kv_watch_close(watch);
    close_ok(db);
    db = open_ok(KV_OPEN_READONLY | KV_OPEN_IMMUTABLE);
    assert_int_equal(kv_db_wait(db, 0, 0, NULL), KV_EINVAL);
    assert_int_equal(kv_watch_open(db, NULL, &watch), KV_EINVAL);
    close_ok(db);
}

/* ---- what is reported ---- */

static void test_what_is_reported(void **state)
{
    kv_range key = range_of_key("lamp"), prefix = range_of_prefix("la");
    kv_range half = {.size = sizeof half, .from = "lb", .from_len = 2};
    kv_db *db = open_ok(KV_OPEN_CREATE);
    put_text(db, "", "lamp", "off");
    put_text(db, "t", "lamp", "off");
    kv_watch *all = watch_open(db, NULL, NULL), *tree = watch_open(db, "t", NULL),
             *one = watch_open(db, "", &key), *some = watch_open(db, "", &prefix),
             *later = watch_open(db, "", &half), *missing = watch_open(db, "none", NULL);
    const struct {
        const char *tree, *key, *value;
        bool all, tree_t, one, some, later, missing;
    } steps[] = {
        {"", "lamp", "on", true, false, true, true, false, false},
        {"", "lamp", "on", false, false, false, false, false, false}, /* it was */
        {"", "lamps", "on", true, false, false, true, false, false},
        {"", "lam", "on", true, false, false, true, false, false},
        {"", "lb", "on", true, false, false, false, true, false},
        {"t", "lamp", "on", true, true, false, false, false, false},
        {"u", "lamp", "on", true, false, false, false, false, false},
        {"", "lamp", NULL, true, false, true, true, false, false},
        {"", "lamp", NULL, false, false, false, false, false, false},
        {"none", "x", "", true, false, false, false, false, true},
        {"none", "x", NULL, true, false, false, false, false, true},
    };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        put_text(db, steps[i].tree, steps[i].key, steps[i].value);
        assert_int_equal(changed(all, NULL), steps[i].all);
        assert_int_equal(changed(tree, NULL), steps[i].tree_t);
        assert_int_equal(changed(one, NULL), steps[i].one);
        assert_int_equal(changed(some, NULL), steps[i].some);
        assert_int_equal(changed(later, NULL), steps[i].later);
        assert_int_equal(changed(missing, NULL), steps[i].missing);
    }
    drop_tree(db, "none");
    assert_true(changed(missing, NULL) && changed(all, NULL));
    put_text(db, "", "lb", "off");
    assert_false(changed(missing, NULL)); /* it goes on all the same, and keeps no old pages */
    assert_int_equal(kv_txn_id(kv_watch_txn(missing)), newest_id(db));
    assert_true(changed(all, NULL) && changed(later, NULL));
    assert_false(changed(tree, NULL));
    kv_watch *watches[] = {all, tree, one, some, later, missing};
    for (size_t i = 0; i < sizeof watches / sizeof *watches; i++)
        kv_watch_close(watches[i]);
    close_last(db);
}

/* What says what to watch may be forgotten. */
static void test_options_are_kept(void **state)
{
    char tree[] = "t", from[] = "b", to[] = "d", prefix[] = "c";
    kv_range between = {.size = sizeof between, .from = from, .from_len = 1, .to = to, .to_len = 1};
    kv_range like = range_of_prefix(prefix);
    kv_db *db = open_ok(KV_OPEN_CREATE);
    put_text(db, "t", "a", "1");
    kv_watch *watches[] = {watch_open(db, tree, &between), watch_open(db, tree, &like)};
    memset(tree, 'x', 1);
    memset(from, 'x', 1);
    memset(to, 'x', 1);
    memset(prefix, 'x', 1);
    memset(&between, 0, sizeof between);
    memset(&like, 0, sizeof like);
    put_text(db, "t", "x", "1");
    put_text(db, "x", "c", "1");
    for (size_t i = 0; i < 2; i++)
        assert_false(changed(watches[i], NULL));
    put_text(db, "t", "c", "1");
    for (size_t i = 0; i < 2; i++) {
        assert_true(changed(watches[i], NULL));
        kv_watch_close(watches[i]);
    }
    close_last(db);
}

static void test_coalescing(void **state)
{
    kv_range key = range_of_key("a");
    kv_watch_event event = {.size = sizeof event};
    kv_db *db = open_ok(KV_OPEN_CREATE);
    put_text(db, "", "a", "1");
    kv_watch *watch = watch_open(db, "", &key);
    expect_text(kv_watch_txn(watch), "a", "1");
    put_text(db, "", "b", "other");
    assert_false(changed(watch, &event));
    uint64_t before = newest_id(db);
    put_text(db, "", "a", "2");
    put_text(db, "", "b", "more");
    put_text(db, "", "a", "3");
    put_text(db, "", "b", "even more");
    assert_true(changed(watch, &event));
    assert_int_equal(event.from_id, before);
    assert_int_equal(event.to_id, newest_id(db));
    assert_int_equal(kv_txn_id(event.from), event.from_id);
    assert_int_equal(kv_txn_id(event.to), event.to_id);
    assert_ptr_equal(kv_watch_txn(watch), event.to);
    expect_text(event.from, "a", "1");
    expect_text(event.to, "a", "3");
    expect_text(event.to, "b", "even more");
    assert_int_equal(readers_of(db).n, 2);
    assert_false(changed(watch, &event));
    assert_int_equal(readers_of(db).n, 1);
    put_text(db, "", "a", "4");
    put_text(db, "", "a", "3");
    assert_false(changed(watch, &event)); /* all is as it was */
    kv_watch_close(watch);
    assert_int_equal(readers_of(db).n, 0);
    close_last(db);
}

/* A value that has another form, but is the same, and one that needs pages of its own. */
static void test_large_values(void **state)
{
    static char value[300000];
    kv_db *db = open_ok(KV_OPEN_CREATE);
    memset(value, 'v', sizeof value - 1);
    put_text(db, "", "large", value);
    kv_watch *watch = watch_open(db, "", NULL);
    put_text(db, "", "large", value);
    assert_false(changed(watch, NULL));
    value[sizeof value / 2] = 'w';
    put_text(db, "", "large", value);
    assert_true(changed(watch, NULL));
    kv_watch_close(watch);
    close_last(db);
}

/* ---- threads ---- */

#define FLIPS    300
#define WATCHERS 4

static kv_db *shared_db;

static uint64_t number_of(kv_txn *txn)
{
    kv_slice value;
    uint64_t number = 0;
    if (kv_get(kv_txn_main(txn), "number", 6, &value) == KV_OK && value.len == sizeof number)
        memcpy(&number, value.ptr, sizeof number);
    return number;
}

static void put_number(kv_db *db, uint64_t number)
{
    kv_op ops[] = {{.kind = KV_OP_PUT, .key = {"number", 6}, .value = {&number, sizeof number}},
                   {.kind = KV_OP_PUT, .key = {"other", 5}, .value = {&number, sizeof number}}};
    MUST(kv_db_write(db, ops, 2, KV_TXN_LAZY, NULL));
}

/* Follows the number up to the last; true when no event was wrong. */
static bool follow(kv_db *db, uint64_t last)
{
    kv_watch *watch;
    kv_watch_event event = {.size = sizeof event};
    kv_range key = range_of_key("number");
    kv_watch_options options = {.size = sizeof options, .tree = "", .range = &key};
    if (kv_watch_open(db, &options, &watch) != KV_OK)
        return false;
    uint64_t number = number_of(kv_watch_txn(watch)), id = kv_txn_id(kv_watch_txn(watch));
    bool good = true;
    while (good && number < last) {
        good = kv_watch_next(watch, LIMIT_MS, &event) == KV_OK && event.from_id >= id &&
               event.to_id > event.from_id && number_of(event.from) == number &&
               number_of(event.to) > number;
        number = good ? number_of(event.to) : number;
        id = event.to_id;
    }
    kv_watch_close(watch);
    return good;
}

static void *follow_in_thread(void *good)
{
    *(bool *)good = follow(shared_db, FLIPS);
    return NULL;
}

static void test_threads(void **state)
{
    static const uint32_t flags[] = {0, KV_OPEN_EXCLUSIVE};
    for (size_t i = 0; i < 2; i++) {
        pthread_t threads[WATCHERS];
        bool good[WATCHERS];
        fresh(NULL);
        shared_db = open_ok(KV_OPEN_CREATE | flags[i]);
        for (int n = 0; n < WATCHERS; n++)
            assert_int_equal(pthread_create(&threads[n], NULL, follow_in_thread, &good[n]), 0);
        for (uint64_t number = 1; number <= FLIPS; number++) {
            put_number(shared_db, number);
            if (number % 8 == 0)
                usleep(300);
        }
        for (int n = 0; n < WATCHERS; n++) {
            assert_int_equal(pthread_join(threads[n], NULL), 0);
            assert_true(good[n]);
        }
        close_last(shared_db);
    }
}

static kv_watch *shared_watch;
static _Atomic int answer;

static void *wait_to_be_cancelled(void *context)
{
    answer = kv_watch_next(shared_watch, KV_FOREVER, NULL);
    return NULL;
}

static void *wait_for_commit(void *context)
{
    answer = kv_db_wait(shared_db, newest_id(shared_db), LIMIT_MS, NULL);
    return NULL;
}

static void test_cancelling(void **state)
{
    pthread_t thread;
    shared_db = open_ok(KV_OPEN_CREATE);
    shared_watch = watch_open(shared_db, NULL, NULL);
    assert_int_equal(pthread_create(&thread, NULL, wait_to_be_cancelled, NULL), 0);
    usleep(2000);
    kv_watch_cancel(shared_watch);
    pthread_join(thread, NULL);
    assert_int_equal(answer, KV_ECANCELED);
    assert_int_equal(kv_watch_next(shared_watch, KV_FOREVER, NULL), KV_ECANCELED);
    kv_watch_close(shared_watch);
    close_last(shared_db);
}

static void test_closing_under_a_waiting_thread(void **state)
{
    pthread_t thread;
    shared_db = open_ok(KV_OPEN_CREATE);
    answer = 100;
    assert_int_equal(pthread_create(&thread, NULL, wait_for_commit, NULL), 0);
    kv_db *other_handle = open_ok(0);
    while (side_map()->board.awaited == 0)
        usleep(100);
    assert_int_equal(kv_db_close(shared_db), KV_EBUSY);
    assert_int_equal(answer, 100);
    put_text(other_handle, "", "a", "1");
    pthread_join(thread, NULL);
    assert_int_equal(answer, KV_OK);
    close_ok(shared_db);
    close_last(other_handle);
}

/* A counter that leads to no commit must not keep anybody busy for ever. */
static void test_damaged_side_file(void **state)
{
    kv_watch_event event = {.size = sizeof event};
    kv_db *db = open_ok(KV_OPEN_CREATE);
    put_text(db, "", "a", "1");
    kv_watch *watch = watch_open(db, NULL, NULL);
    kvi_side_head *head = side_map();
    uint64_t counter = head->board.counter;
    head->board.counter = counter + ((uint64_t)100 << 1);
    assert_int_equal(kv_watch_next(watch, 100, &event), KV_ECORRUPT);
    head->board.counter = counter;
    put_text(db, "", "a", "2");
    assert_true(changed(watch, &event));
    kv_watch_close(watch);
    close_last(db);
}

/* ---- processes ---- */

static void follow_as_child(void)
{
    kv_db *db = open_ok(0);
    tell(0);
    EXPECT(follow(db, FLIPS));
    MUST(kv_db_close(db));
}

static void follow_as_guest(void)
{
    EXPECT(getuid() != 0 || (setgid(NOBODY) == 0 && setuid(NOBODY) == 0));
    kv_db *db = open_ok(KV_OPEN_READONLY);
    EXPECT(getuid() != NOBODY || stat_of(db).guest == 1);
    tell(0);
    EXPECT(follow(db, FLIPS));
    MUST(kv_db_close(db));
}

static void test_processes(void **state)
{
    child children[WATCHERS];
    kv_db *db = open_ok(KV_OPEN_CREATE);
    for (int n = 0; n < WATCHERS; n++) {
        children[n] = child_start(n == 0 ? follow_as_guest : follow_as_child);
        hear(&children[n]);
    }
    for (uint64_t number = 1; number <= FLIPS; number++) {
        put_number(db, number);
        if (number % 8 == 0)
            usleep(300);
    }
    for (int n = 0; n < WATCHERS; n++)
        child_end(&children[n]);
    close_last(db);
}

/* Writers that are killed anywhere; somebody goes on with the count. */
static void write_until_killed(void)
{
    kv_db *db = open_ok(0);
    tell(0);
    for (;;) {
        kv_txn *txn = begin(db, KV_TXN_WRITE | KV_TXN_LAZY);
        uint64_t number = number_of(txn) + 1;
        MUST(kv_put(kv_txn_main(txn), "number", 6, &number, sizeof number, 0));
        MUST(kv_txn_commit(txn));
    }
}

static void follow_the_killed(void)
{
    kv_db *db = open_ok(0);
    tell(0);
    EXPECT(follow(db, UINT32_MAX));
    MUST(kv_db_close(db));
}

static void test_killed_writers(void **state)
{
    child children[2];
    kv_db *db = open_ok(KV_OPEN_CREATE);
    for (int n = 0; n < 2; n++) {
        children[n] = child_start(follow_the_killed);
        hear(&children[n]);
    }
    for (int i = 0; i < 40; i++) {
        child writer = child_start(write_until_killed);
        hear(&writer);
        usleep(500 + (useconds_t)i * 97);
        child_kill(&writer);
    }
    put_number(db, UINT32_MAX);
    for (int n = 0; n < 2; n++)
        child_end(&children[n]);
    close_last(db);
}

static kv_watch *inherited_watch;
static kv_db *inherited_db;

static void use_inherited_watch(void)
{
    EXPECT(kv_watch_next(inherited_watch, 0, NULL) == KV_EFORKED);
    EXPECT(kv_db_wait(inherited_db, 0, 0, NULL) == KV_EFORKED);
    kv_watch_cancel(inherited_watch);
    kv_watch_close(inherited_watch);
    EXPECT(kv_db_close(inherited_db) == KV_OK);
}

static void test_fork(void **state)
{
    inherited_db = open_ok(KV_OPEN_CREATE);
    inherited_watch = watch_open(inherited_db, NULL, NULL);
    child c = child_start(use_inherited_watch);
    child_end(&c);
    put_text(inherited_db, "", "a", "1");
    assert_true(changed(inherited_watch, NULL)); /* neither cancelled nor closed */
    kv_watch_close(inherited_watch);
    close_last(inherited_db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_wait),
        TEST(test_wrong_arguments),
        TEST(test_what_is_reported),
        TEST(test_options_are_kept),
        TEST(test_coalescing),
        TEST(test_large_values),
        TEST(test_threads),
        TEST(test_cancelling),
        TEST(test_closing_under_a_waiting_thread),
        TEST(test_damaged_side_file),
        TEST(test_processes),
        TEST(test_killed_writers),
        TEST(test_fork),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
