/* Batches (kv_db_write): what the operations do, all or nothing, and what happens to those that are
 * committed together. A test that needs a group holds the writer's turn until all have queued. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "fault_os.h"
#include "queue.h"
#include "scratch.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#ifdef KVI_STRESS
#define PAGE_SIZE 512
#else
#define PAGE_SIZE 4096
#endif
#define THREADS 4
#define ROUNDS  60
#define QUEUED  12 /* members of the largest group */

static scratch dir;
static char path[SCRATCH_MAX];
static fault_os fault;
static kv_db *db;

static int setup(void **state)
{
    scratch_make(&dir);
    scratch_path_to(&dir, "group.kv", path);
    return 0;
}

static int teardown(void **state)
{
    scratch_remove(&dir);
    return 0;
}

static int open_with(uint32_t flags, int durability)
{
    kv_options options = {.size = sizeof options, .flags = flags, .durability = durability};
    options.page_size = flags & KV_OPEN_CREATE ? PAGE_SIZE : 0;
    return kvi_db_open(&fault.os, path, &options, &db, NULL, 0);
}

static int open_fresh(void **state)
{
    unlink(path);
    fault_init(&fault, &kvi_os_posix);
    return open_with(KV_OPEN_CREATE, KV_DEFAULT);
}

static int close_all(void **state)
{
    fault_plan(&fault, (fault_case){.at = 0});
    return kv_db_close(db) == KV_OK && fault_balanced(&fault) ? 0 : -1;
}

static kv_db_info stat_now(void)
{
    kv_db_info info = {.size = sizeof info};
    assert_int_equal(kv_db_stat(db, &info), KV_OK);
    return info;
}

/* ---- operations in words ---- */

static kv_slice text(const char *s)
{
    return s ? (kv_slice){s, strlen(s)} : (kv_slice){NULL, 0};
}

static kv_op op_of(uint32_t kind, const char *key, const char *value)
{
    return (kv_op){.kind = kind, .key = text(key), .value = text(value)};
}

static kv_op put(const char *key, const char *value)
{
    return op_of(KV_OP_PUT, key, value);
}

static kv_op put_if(const char *key, const char *value, uint32_t flags)
{
    kv_op op = put(key, value);
    op.flags = flags;
    return op;
}

static kv_op in_tree(const char *tree, kv_op op)
{
    op.tree = text(tree);
    return op;
}

static kv_op del_range(const char *from, const char *to)
{
    return (kv_op){.kind = KV_OP_DEL_RANGE, .key = text(from), .end = text(to)};
}

static kv_write_result result;

/* Writes a batch and expects this outcome of it. */
static void write_as(const kv_op *ops, size_t n, int rc, size_t failed_op)
{
    result = (kv_write_result){.size = sizeof result, .commit_id = 77, .deleted = 77};
    int got = kv_db_write(db, ops, n, 0, &result);
    if (got != rc || result.failed_op != failed_op)
        fail_msg("result %d in operation %zu, not %d in %zu", got, result.failed_op, rc, failed_op);
    assert_int_equal(result.commit_id != 0, rc == KV_OK);
    assert_true(rc == KV_OK || result.deleted == 0);
}

#define WRITE(rc, failed_op, ...)                                                                  \
    write_as((const kv_op[]){__VA_ARGS__}, KVI_COUNT(((const kv_op[]){__VA_ARGS__})), rc, failed_op)
#define WRITE_OK(...) WRITE(KV_OK, KVI_COUNT(((const kv_op[]){__VA_ARGS__})), __VA_ARGS__)

/* The keys of a tree, each with its value, in one line; "-": there is no such tree. */
static const char *content(const char *name)
{
    static char line[512];
    kv_txn *txn;
    kv_cursor *cursor;
    kv_slice key, value;
    size_t at = 0;
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    kv_tree *tree = kv_txn_main(txn);
    line[0] = 0;
    if (name && kv_tree_open(txn, name, strlen(name), 0, NULL, &tree) == KV_NOTFOUND) {
        kv_txn_abort(txn);
        return "-";
    }
    assert_int_equal(kv_cursor_open(tree, NULL, &cursor), KV_OK);
    while (kv_cursor_next(cursor) == KV_OK) {
        assert_int_equal(kv_cursor_get(cursor, &key, &value), KV_OK);
        at += (size_t)snprintf(line + at, sizeof line - at, "%s%.*s=%.*s", at ? " " : "",
                               (int)key.len, (const char *)key.ptr, (int)value.len,
                               (const char *)value.ptr);
    }
    kv_txn_abort(txn);
    return line;
}

static void expect(const char *name, const char *line)
{
    assert_string_equal(content(name), line);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

/* ---- one batch ---- */

static void test_kinds(void **state)
{
    WRITE_OK(put("a", "1"), put("b", "2"), put("ba", "3"), put("bb", ""), put("c", "5"));
    expect(NULL, "a=1 b=2 ba=3 bb= c=5");
    WRITE_OK(op_of(KV_OP_DEL, "a", NULL), op_of(KV_OP_DEL, "nothing", NULL));
    assert_int_equal(result.deleted, 1);
    WRITE_OK(op_of(KV_OP_DEL_PREFIX, "bb", NULL), op_of(KV_OP_DEL_PREFIX, "x", NULL));
    assert_int_equal(result.deleted, 1);
    WRITE_OK(del_range("b", "ba"));
    assert_int_equal(result.deleted, 1);
    expect(NULL, "ba=3 c=5");
    WRITE_OK(del_range("bb", NULL), put("d", "6"));
    expect(NULL, "ba=3 d=6");
    WRITE_OK(put("", "empty"), del_range(NULL, "d"), put("e", "7"));
    assert_int_equal(result.deleted, 2);
    expect(NULL, "d=6 e=7");
    WRITE_OK(op_of(KV_OP_DEL_PREFIX, NULL, NULL));
    assert_int_equal(result.deleted, 2);
    expect(NULL, "");
}

static void test_conditions(void **state)
{
    WRITE_OK(put("a", "1"), put("b", "22"));
    WRITE_OK(op_of(KV_OP_CHECK_PRESENT, "a", NULL), op_of(KV_OP_CHECK_ABSENT, "x", NULL),
             op_of(KV_OP_CHECK_VALUE, "b", "22"), put_if("c", "3", KV_PUT_ABSENT),
             put_if("a", "4", KV_PUT_PRESENT));
    expect(NULL, "a=4 b=22 c=3");
    WRITE(KV_EXISTS, 1, put("z", ""), op_of(KV_OP_CHECK_ABSENT, "a", NULL));
    WRITE(KV_NOTFOUND, 1, put("z", ""), op_of(KV_OP_CHECK_PRESENT, "x", NULL));
    WRITE(KV_NOTFOUND, 1, put("z", ""), op_of(KV_OP_CHECK_VALUE, "x", ""));
    WRITE(KV_MISMATCH, 1, put("z", ""), op_of(KV_OP_CHECK_VALUE, "b", "2"));
    WRITE(KV_MISMATCH, 1, put("z", ""), op_of(KV_OP_CHECK_VALUE, "b", "23"));
    WRITE(KV_EXISTS, 1, put("z", ""), put_if("a", "5", KV_PUT_ABSENT));
    WRITE(KV_NOTFOUND, 1, put("z", ""), put_if("x", "5", KV_PUT_PRESENT));
    kv_op del = op_of(KV_OP_DEL, "x", NULL);
    del.flags = KV_PUT_PRESENT;
    WRITE(KV_NOTFOUND, 2, put("z", ""), op_of(KV_OP_DEL, "a", NULL), del);
    expect(NULL, "a=4 b=22 c=3");
}

/* Each operation sees what those before it did. */
/* ---- operations that look at a value, and what they answer ---- */

static kv_op number(uint32_t kind, const char *key, int64_t n, kv_op_result *answer)
{
    return (kv_op){
        .kind = kind, .flags = KV_NUMBER_TEXT, .key = text(key), .number = n, .result = answer};
}

static void test_numbers(void **state)
{
    kv_op_result sum = {0}, lo = {0}, hi = {0}, real = {0};
    kv_op from = number(KV_OP_INCR, "n", 2, &sum);
    from.initial = 40;
    kv_op half = {.kind = KV_OP_INCR_DOUBLE,
                  .flags = KV_NUMBER_TEXT,
                  .key = text("r"),
                  .real = 0.5,
                  .initial_real = 1,
                  .result = &real};
    WRITE_OK(from, from, number(KV_OP_MIN, "lo", 3, NULL), number(KV_OP_MIN, "lo", 1, &lo),
             number(KV_OP_MAX, "hi", 3, &hi), half);
    assert_int_equal(sum.number, 44);
    assert_int_equal(lo.number, 1);
    assert_int_equal(hi.number, 3);
    assert_true(real.real == 1.5);
    expect(NULL, "hi=3 lo=1 n=44 r=1.5");
    WRITE(KV_EOVERFLOW, 1, number(KV_OP_INCR, "n", 1, NULL),
          number(KV_OP_INCR, "n", INT64_MAX, NULL));
    WRITE(KV_ENOTNUMBER, 1, put("n", "x"), number(KV_OP_MAX, "n", 1, NULL));
    kv_op present = number(KV_OP_INCR, "none", 1, NULL),
          new_tree = number(KV_OP_INCR, "n", 1, NULL);
    present.flags |= KV_PUT_PRESENT;
    WRITE(KV_NOTFOUND, 0, present);
    WRITE(KV_NOTFOUND, 0, in_tree("t", new_tree));
    new_tree.flags |= KV_OP_CREATE_TREE;
    WRITE_OK(in_tree("t", new_tree));
    expect("t", "n=1");
    expect(NULL, "hi=3 lo=1 n=44 r=1.5");
}

static int twice(void *context, const kv_slice *old, kv_slice *value)
{
    char *room = context;
    if (!old)
        return -1000;
    memcpy(room, old->ptr, old->len);
    memcpy(room + old->len, old->ptr, old->len);
    *value = (kv_slice){room, 2 * old->len};
    return KV_UPDATE_STORE;
}

static void test_edits(void **state)
{
    char room[16];
    kv_op_result grown = {0};
    kv_op more = {
        .kind = KV_OP_APPEND, .key = text("a"), .value = text("bc"), .limit = 5, .result = &grown};
    kv_op update = {.kind = KV_OP_UPDATE, .key = text("a"), .update = twice, .context = room};
    WRITE_OK(put("a", "1"), more, more);
    assert_int_equal(grown.length, 5);
    WRITE(KV_ETOOBIG, 1, put("b", ""), more);
    WRITE_OK(update);
    expect(NULL, "a=1bcbc1bcbc");
    update.key = text("none");
    WRITE(-1000, 1, put("b", ""), update);
    WRITE_OK(put("a", "!"), op_of(KV_OP_OR, "a", "A"), op_of(KV_OP_AND, "a", "b"));
    expect(NULL, "a=`");
    WRITE_OK(op_of(KV_OP_XOR, "a", "\1"));
    expect(NULL, "a=a");
}

static kv_op put_over(const char *key, const char *old, const char *value)
{
    kv_op op = put_if(key, value, KV_PUT_EQUALS);
    op.end = text(old);
    return op;
}

static void test_old_values(void **state)
{
    char bytes[4], other[4];
    kv_op_result old = {.room = bytes, .room_size = 3}, none = {.value = text("unwritten")};
    kv_op first = put("a", "one"), second = put("a", "two"), gone = op_of(KV_OP_DEL, "a", "two");
    first.result = &none;
    second.result = &old;
    WRITE_OK(first, second);
    assert_null(none.value.ptr);
    assert_ptr_equal(old.value.ptr, bytes);
    assert_int_equal(old.value.len, 3);
    assert_memory_equal(bytes, "one", 3);
    old.room_size = 2; /* an answer that cannot be given: nothing is done */
    WRITE(KV_ETOOBIG, 0, second);
    assert_int_equal(old.needed, 3);
    WRITE(KV_MISMATCH, 0, put_over("a", "one", "x"));
    WRITE(KV_NOTFOUND, 0, put_over("b", "one", "x"));
    WRITE_OK(put_over("a", "two", ""), put_over("a", "", "two"));
    gone.flags = KV_PUT_EQUALS;
    gone.value = text("tw");
    WRITE(KV_MISMATCH, 0, gone);
    gone.value = text("two");
    gone.result = &(kv_op_result){.room = other, .room_size = 4};
    WRITE_OK(gone);
    assert_int_equal(result.deleted, 1);
    assert_memory_equal(gone.result->value.ptr, "two", 3);
    WRITE(KV_NOTFOUND, 0, gone);
    gone.flags = 0; /* there is none, and none is needed */
    WRITE_OK(gone);
    assert_null(gone.result->value.ptr);
    gone.result =
        &(kv_op_result){.room = NULL}; /* no bytes need no room, and are no lack of a value */
    WRITE_OK(put("a", ""), gone);
    assert_non_null(gone.result->value.ptr);
    assert_int_equal(gone.result->value.len, 0);
    expect(NULL, "");
}

static void test_pops(void **state)
{
    char bytes[3];
    kv_op_result got = {.room = bytes, .room_size = sizeof bytes};
    kv_op first = {.kind = KV_OP_POP_FIRST, .key = text("b"), .end = text("c"), .result = &got};
    kv_op last = {.kind = KV_OP_POP_LAST, .flags = KV_OP_PREFIX, .key = text("b")};
    WRITE_OK(put("a", "1"), put("b", ""), put("ba", "3"), put("bb", "4"), put("c", "5"));
    WRITE_OK(last, first);
    assert_int_equal(result.deleted, 2);
    assert_memory_equal(got.key.ptr, "b", 1);
    assert_non_null(got.value.ptr);
    assert_int_equal(got.value.len, 0);
    got.room_size = 2;
    WRITE(KV_ETOOBIG, 1, put("x", ""), first);
    assert_int_equal(got.needed, 3);
    got.room_size = 3;
    WRITE_OK(first);
    assert_memory_equal(bytes, "ba3", 3);
    assert_ptr_equal(got.value.ptr, bytes + 2);
    WRITE(KV_NOTFOUND, 1, put("x", ""), first);
    WRITE(KV_NOTFOUND, 0, last);
    last.flags = 0;
    last.key = (kv_slice){NULL, 0};
    WRITE_OK(last);
    WRITE(KV_NOTFOUND, 0, in_tree("none", last));
    expect(NULL, "a=1");
}

static void test_order_in_a_batch(void **state)
{
    WRITE_OK(put("a", "1"), op_of(KV_OP_CHECK_VALUE, "a", "1"), put("a", "2"),
             op_of(KV_OP_CHECK_VALUE, "a", "2"), op_of(KV_OP_DEL, "a", NULL),
             op_of(KV_OP_CHECK_ABSENT, "a", NULL), put("b", "3"));
    expect(NULL, "b=3");
}

static void test_trees(void **state)
{
    WRITE_OK(put_if("seed", "", 0));
    WRITE(KV_NOTFOUND, 0, in_tree("blue", put("a", "1")));
    expect("blue", "-");
    WRITE_OK(in_tree("blue", op_of(KV_OP_DEL, "a", NULL)),
             in_tree("blue", op_of(KV_OP_DEL_PREFIX, "a", NULL)),
             in_tree("blue", del_range("a", NULL)),
             in_tree("blue", op_of(KV_OP_CHECK_ABSENT, "a", NULL)));
    WRITE(KV_NOTFOUND, 0, in_tree("blue", op_of(KV_OP_CHECK_PRESENT, "a", NULL)));
    WRITE(KV_NOTFOUND, 0, in_tree("blue", put_if("a", "", KV_OP_CREATE_TREE | KV_PUT_PRESENT)));
    expect("blue", "-");
    kv_op create = in_tree("blue", put_if("a", "1", KV_OP_CREATE_TREE));
    WRITE(KV_EXISTS, 1, create, op_of(KV_OP_CHECK_ABSENT, "seed", NULL));
    expect("blue", "-");
    WRITE_OK(create, in_tree("blue", put("b", "2")), put("b", "main"));
    expect("blue", "a=1 b=2");
    expect(NULL, "b=main seed=");
}

static void test_arguments(void **state)
{
    static uint8_t bytes[5000];
    kv_op_result answer;
    kv_op bad[] = {
        {.kind = 0, .key = text("a")},
        {.kind = KV_OP_TOUCH + 1, .key = text("a")},
        put_if("a", "", KV_PUT_ABSENT | KV_PUT_PRESENT),
        put_if("a", "", 64),
        op_of(KV_OP_DEL, "a", NULL),
        {.kind = KV_OP_PUT, .key = {NULL, 1}},
        {.kind = KV_OP_PUT, .key = text("a"), .value = {NULL, 1}},
        {.kind = KV_OP_PUT, .key = text("a"), .tree = {NULL, 1}},
        {.kind = KV_OP_DEL_RANGE, .key = text("a"), .end = {NULL, 1}},
        {.kind = KV_OP_PUT, .key = text("a"), .reserved = {1}},
        {.kind = KV_OP_PUT, .key = text("a"), .number = 1},
        {.kind = KV_OP_MIN, .key = text("a"), .initial = 1},
        {.kind = KV_OP_OR, .key = text("a"), .result = &answer},
        {.kind = KV_OP_UPDATE, .key = text("a")},
        {.kind = KV_OP_INCR, .key = text("a"), .flags = KV_PUT_ABSENT},
        {.kind = KV_OP_APPEND, .key = text("a"), .flags = KV_NUMBER_TEXT},
        {.kind = KV_OP_PUT, .key = text("a"), .flags = KV_PUT_EQUALS, .end = {NULL, 1}},
        {.kind = KV_OP_PUT, .key = text("a"), .ttl_ms = 1, .expires_at = 1},
        {.kind = KV_OP_DEL, .key = text("a"), .ttl_ms = 1},
        {.kind = KV_OP_DEL, .key = text("a"), .expires_at = 1},
        {.kind = KV_OP_TOUCH, .key = text("a")},
        {.kind = KV_OP_TOUCH, .key = text("a"), .ttl_ms = 1, .expires_at = 1},
        {.kind = KV_OP_EXPIRE, .key = text("a")},
        {.kind = KV_OP_MULTI_PUT, .key = text("a")},
        {.kind = KV_OP_MULTI_DEL, .key = text("a")},
        {.kind = KV_OP_MULTI_DEL_KEY, .key = text("a")},
    };
    bad[4].flags = KV_PUT_ABSENT;
    for (size_t i = 0; i < KVI_COUNT(bad); i++)
        WRITE(KV_EINVAL, 1, put("good", ""), bad[i]);
    kv_op good = put("a", "1"), large = {.kind = KV_OP_PUT, .key = {bytes, sizeof bytes}};
    assert_int_equal(kv_db_write(NULL, &good, 1, 0, NULL), KV_EINVAL);
    assert_int_equal(kv_db_write(db, NULL, 1, 0, NULL), KV_EINVAL);
    assert_int_equal(kv_db_write(db, &good, 1, KV_TXN_WRITE, NULL), KV_EINVAL);
    assert_int_equal(kv_db_write(db, &good, 1, KV_TXN_LAZY | KV_TXN_STRICT, NULL), KV_EINVAL);
    result.size = 3;
    assert_int_equal(kv_db_write(db, &good, 1, 0, &result), KV_EINVAL);
    WRITE(KV_ETOOBIG, 1, put("good", ""), large);
    large = in_tree("a", put("a", ""));
    large.tree = (kv_slice){bytes, sizeof bytes};
    WRITE(KV_ETOOBIG, 1, put("good", ""), large);
    expect(NULL, "");
    assert_int_equal(kv_db_write(db, &good, 1, 0, NULL), KV_OK);
    expect(NULL, "a=1");
}

/* Callers of another version: fewer members known, or more. */
static void test_result_sizes(void **state)
{
    struct {
        kv_write_result known;
        uint64_t unknown;
    } more = {{.size = sizeof more}, 5};
    struct {
        size_t size, failed_op;
        uint64_t behind;
    } less = {offsetof(kv_write_result, commit_id), 9, 5};
    kv_op op = put("a", "1");
    assert_int_equal(kv_db_write(db, &op, 1, 0, &more.known), KV_OK);
    assert_int_equal(more.known.size, sizeof more);
    assert_int_equal(more.known.failed_op, 1);
    assert_int_equal(more.unknown, 5);
    assert_int_equal(kv_db_write(db, &op, 1, 0, (kv_write_result *)&less), KV_OK);
    assert_int_equal(less.failed_op, 1);
    assert_int_equal(less.behind, 5);
}

static void test_readonly(void **state)
{
    kv_op op = put("a", "1");
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_int_equal(open_with(KV_OPEN_READONLY, KV_DEFAULT), KV_OK);
    WRITE(KV_EREADONLY, 1, op);
}

/* What changes nothing commits nothing, and is as of the newest commit. */
static void test_no_change(void **state)
{
    WRITE_OK(put("a", "1"));
    uint64_t id = result.commit_id;
    kv_db_info before = stat_now();
    assert_int_equal(id, before.commit_id);
    WRITE_OK(op_of(KV_OP_CHECK_PRESENT, "a", NULL), op_of(KV_OP_DEL, "b", NULL));
    assert_int_equal(result.commit_id, id);
    write_as(NULL, 0, KV_OK, 0);
    assert_int_equal(result.commit_id, id);
    WRITE(KV_EXISTS, 0, op_of(KV_OP_CHECK_ABSENT, "a", NULL));
    kv_db_info after = stat_now();
    assert_int_equal(after.commits, before.commits);
    assert_int_equal(after.flushes, before.flushes);
    assert_int_equal(after.batches, before.batches + 2);
}

/* ---- groups ---- */

typedef struct caller {
    pthread_t thread;
    const kv_op *ops;
    size_t n;
    uint32_t flags;
    int rc;
    kv_write_result result;
} caller;

static void *call(void *context)
{
    caller *c = context;
    c->result = (kv_write_result){.size = sizeof c->result};
    c->rc = kv_db_write(db, c->ops, c->n, c->flags, &c->result);
    return NULL;
}

static size_t queue_length(void)
{
    size_t n = 0;
    pthread_mutex_lock(&db->queue.mutex);
    for (const kvi_member *member = db->queue.first; member; member = member->next)
        n++;
    pthread_mutex_unlock(&db->queue.mutex);
    return n;
}

/* Lets the callers queue, one behind the other, and then begin. */
static void call_together(caller *callers, size_t n)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call, &callers[i]), 0);
        while (queue_length() < i + 1)
            sched_yield();
    }
    kv_txn_abort(txn);
    for (size_t i = 0; i < n; i++)
        pthread_join(callers[i].thread, NULL);
    assert_int_equal(queue_length(), 0);
    assert_false(db->queue.led);
}

#define OPS(...) .ops = (const kv_op[]){__VA_ARGS__}, .n = KVI_COUNT(((const kv_op[]){__VA_ARGS__}))

static void test_each_its_own_outcome(void **state)
{
    static uint8_t bytes[5000];
    const kv_op large = {.kind = KV_OP_PUT, .key = {bytes, sizeof bytes}};
    caller c[] = {
        {OPS(put("x", "1"), put("n", "1"))},
        {OPS(put("bad", "1"), in_tree("t", put_if("bad", "", KV_OP_CREATE_TREE)),
             op_of(KV_OP_CHECK_ABSENT, "x", NULL))},
        {OPS(put("y", "2"), op_of(KV_OP_CHECK_VALUE, "n", "1"), put("n", "2"))},
        {OPS(put("n", "wrong"), op_of(KV_OP_DEL, "x", NULL), large)},
        {OPS(in_tree("t", put("bad", "")))},
        {OPS(op_of(KV_OP_CHECK_VALUE, "n", "2"),
             in_tree("t", put_if("z", "3", KV_OP_CREATE_TREE)))},
        {OPS(op_of(KV_OP_CHECK_VALUE, "n", "3"))},
        {OPS(in_tree("t", op_of(KV_OP_CHECK_VALUE, "z", "3")))},
    };
    static const struct {
        int rc;
        size_t failed_op;
    } outcomes[] = {{KV_OK, 2},       {KV_EXISTS, 2}, {KV_OK, 3},       {KV_ETOOBIG, 2},
                    {KV_NOTFOUND, 0}, {KV_OK, 2},     {KV_MISMATCH, 0}, {KV_OK, 1}};
    kv_db_info before = stat_now();
    call_together(c, KVI_COUNT(c));
    kv_db_info after = stat_now();
    for (size_t i = 0; i < KVI_COUNT(c); i++) {
        if (c[i].rc != outcomes[i].rc || c[i].result.failed_op != outcomes[i].failed_op)
            fail_msg("caller %zu: result %d in operation %zu", i, c[i].rc, c[i].result.failed_op);
        assert_int_equal(c[i].result.commit_id, c[i].rc == KV_OK ? after.commit_id : 0);
    }
    expect(NULL, "n=2 x=1 y=2");
    expect("t", "z=3");
    assert_int_equal(after.commits, before.commits + 1);
    assert_int_equal(after.flushes, before.flushes + 1);
    assert_int_equal(after.batches, before.batches + 4);
}

/* Each succeeds only right behind the one that came before it. */
static void test_order_of_arrival(void **state)
{
    static char numbers[QUEUED + 1][8];
    kv_op ops[QUEUED][2];
    caller c[QUEUED];
    for (unsigned i = 0; i <= QUEUED; i++)
        snprintf(numbers[i], sizeof numbers[i], "%u", i);
    WRITE_OK(put("n", "0"));
    for (size_t i = 0; i < QUEUED; i++) {
        ops[i][0] = op_of(KV_OP_CHECK_VALUE, "n", numbers[i]);
        ops[i][1] = put("n", numbers[i + 1]);
        c[i] = (caller){.ops = ops[i], .n = 2};
    }
    call_together(c, QUEUED);
    for (size_t i = 0; i < QUEUED; i++)
        assert_int_equal(c[i].rc, KV_OK);
    expect(NULL, "n=12");
}

/* ---- who waits for whom ---- */

static uint64_t clock_ns; /* goes on when somebody looks */
static unsigned waits;    /* times that a leader let others run */
static caller *latecomer; /* comes then */

static uint64_t clock_looked_at(const kvi_os *os)
{
    return clock_ns += 1000;
}

static void let_run(const kvi_os *os, uint32_t us)
{
    caller *late = latecomer;
    assert_int_equal(us, 0);
    waits++;
    latecomer = NULL;
    if (!late)
        return;
    assert_int_equal(pthread_create(&late->thread, NULL, call, late), 0);
    while (queue_length() < 2)
        sched_yield();
}

static void watch_leaders(void)
{
    fault.os.mono_ns = clock_looked_at;
    fault.os.sleep_us = let_run;
    waits = 0;
}

static int takes_long(void *context, const kv_slice *old, kv_slice *value)
{
    clock_ns += 1000000000;
    *value = text("1");
    return KV_UPDATE_STORE;
}

/* What would make a commit slow to recover goes alone, and nobody overtakes it. */
static void test_groups_are_bounded(void **state)
{
    static uint8_t bytes[KVI_GROUP_MAX];
    const kv_op heavy = {.kind = KV_OP_PUT, .key = text("h"), .value = {bytes, sizeof bytes}};
    const kv_op slow = {.kind = KV_OP_UPDATE, .key = text("a"), .update = takes_long};
    caller c[] = {
        {OPS(slow)},          {OPS(op_of(KV_OP_CHECK_PRESENT, "a", NULL))},
        {OPS(heavy)},         {OPS(op_of(KV_OP_CHECK_PRESENT, "h", NULL), put("b", "2"))},
        {OPS(put("c", "3"))},
    };
    uint64_t before = stat_now().commits;
    watch_leaders();
    call_together(c, KVI_COUNT(c));
    for (size_t i = 0; i < KVI_COUNT(c); i++)
        assert_int_equal(c[i].rc, KV_OK);
    assert_int_equal(waits, 0); /* those left behind are company enough */
    assert_int_equal(stat_now().commits, before + 3);
    assert_int_equal(c[0].result.commit_id, c[1].result.commit_id);
    assert_int_equal(c[2].result.commit_id, c[1].result.commit_id + 1);
    assert_int_equal(c[3].result.commit_id, c[2].result.commit_id + 1);
    assert_int_equal(c[4].result.commit_id, c[3].result.commit_id);
}

/* ---- company ---- */

static void write_two(void)
{
    caller c[] = {{OPS(put("a", "1"))}, {OPS(put("b", "2"))}};
    call_together(c, 2);
    assert_int_equal(c[0].rc | c[1].rc, KV_OK);
    db->queue.took = UINT64_MAX; /* long */
}

/* One caller behind two. Did it wait for the other one? */
static bool write_alone(uint32_t flags)
{
    const kv_op op = put("a", "1");
    unsigned before = waits;
    assert_int_equal(kv_db_write(db, &op, 1, flags, NULL), KV_OK);
    return waits > before;
}

static void test_company_that_comes(void **state)
{
    caller late = {OPS(put("b", "3"))};
    watch_leaders();
    write_two();
    assert_int_equal(waits, 0);
    kv_db_info before = stat_now();
    latecomer = &late;
    assert_true(write_alone(0));
    pthread_join(late.thread, NULL);
    kv_db_info after = stat_now();
    assert_int_equal(waits, 1);
    assert_int_equal(late.rc, KV_OK);
    assert_int_equal(after.flushes, before.flushes + 1);
    assert_int_equal(after.batches, before.batches + 2);
    assert_int_equal(late.result.commit_id, after.commit_id);
}

/* They wait after 1, 2, 4 ... groups that did not. */
static void test_company_that_stays_away(void **state)
{
    watch_leaders();
    for (unsigned i = 1; i <= 20; i++) {
        write_two();
        assert_int_equal(write_alone(0), (i & (i + 1)) == 0);
        assert_false(write_alone(0)); /* the last one was alone */
    }
    caller late = {OPS(put("b", "3"))};
    for (bool came = false; !came;) { /* once it came, they wait again */
        write_two();
        latecomer = &late;
        came = write_alone(0);
        latecomer = NULL;
    }
    pthread_join(late.thread, NULL);
    db->queue.took = UINT64_MAX;
    assert_true(write_alone(0));
}

static int comes_meanwhile(void *context, const kv_slice *old, kv_slice *value)
{
    caller *second = context;
    assert_int_equal(pthread_create(&second->thread, NULL, call, second), 0);
    while (queue_length() < 1)
        sched_yield();
    return takes_long(NULL, old, value);
}

/* Who came while a group was under way leads the next one, and waits for those of the one before. */
static void test_company_of_one_who_waited(void **state)
{
    caller second = {OPS(put("b", "2"))};
    const kv_op first = {
        .kind = KV_OP_UPDATE, .key = text("a"), .update = comes_meanwhile, .context = &second};
    watch_leaders();
    assert_int_equal(kv_db_write(db, &first, 1, 0, NULL), KV_OK);
    pthread_join(second.thread, NULL);
    assert_int_equal(second.rc, KV_OK);
    assert_true(waits > 0);
}

static void test_no_company_wanted(void **state)
{
    watch_leaders();
    assert_false(write_alone(0));
    write_two();
    assert_false(write_alone(KV_TXN_LAZY)); /* what is done in no time needs none */
    write_two();
    db->queue.took = 0;
    assert_false(write_alone(0));
}

/* ---- durability ---- */

static void expect_flushes(uint32_t a, uint32_t b, uint64_t flushes)
{
    caller c[] = {{OPS(put("a", "1")), .flags = a}, {OPS(put("b", "2")), .flags = b}};
    uint64_t before = stat_now().flushes;
    call_together(c, 2);
    kv_db_info after = stat_now();
    assert_int_equal(c[0].rc | c[1].rc, KV_OK);
    assert_int_equal(after.flushes, before + flushes);
    assert_int_equal(after.durable_id == after.commit_id, flushes > 0);
}

static void test_durability(void **state)
{
    kv_op op = put("a", "1");
    uint64_t before = stat_now().flushes;
    assert_int_equal(kv_db_write(db, &op, 1, KV_TXN_LAZY, NULL), KV_OK);
    assert_int_equal(stat_now().flushes, before);
    assert_int_equal(kv_db_write(db, &op, 1, 0, NULL), KV_OK);
    assert_int_equal(stat_now().flushes, before + 1);
    assert_int_equal(kv_db_write(db, &op, 1, KV_TXN_STRICT, NULL), KV_OK);
    assert_int_equal(stat_now().flushes, before + 3);
    expect_flushes(KV_TXN_LAZY, KV_TXN_LAZY, 0);
    expect_flushes(KV_TXN_LAZY, KV_TXN_DURABLE, 1);
    expect_flushes(KV_TXN_STRICT, KV_TXN_LAZY, 2);
    expect_flushes(0, KV_TXN_STRICT, 2);
    expect_flushes(KV_TXN_LAZY, 0, 1);
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_int_equal(open_with(0, KV_LAZY), KV_OK);
    expect_flushes(0, 0, 0);
}

/* ---- failures ---- */

static void test_a_failed_flush_fails_all(void **state)
{
    WRITE_OK(put("a", "0"));
    caller c[] = {
        {OPS(put("a", "1"))},
        {OPS(op_of(KV_OP_CHECK_VALUE, "a", "0"))}, /* false, if the first one is there to stay */
        {OPS(put("b", "2"))},
    };
    fault_plan(&fault, (fault_case){.at = 1, .mask = FAULT_BIT(FAULT_SYNC)});
    call_together(c, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(c[i].rc, KV_EPOISONED);
        assert_int_equal(c[i].result.failed_op, c[i].n);
        assert_int_equal(c[i].result.commit_id, 0);
    }
    fault_plan(&fault, (fault_case){.at = 0});
    WRITE(KV_EPOISONED, 1, put("c", "3"));
    assert_int_equal(fault.calls[FAULT_SYNC], 0);
    assert_string_equal(content(NULL), "a=0");
}

/* Those behind a group whose flush failed are told, too, each by its own attempt. */
static void test_poison_reaches_the_queue(void **state)
{
    static uint8_t bytes[KVI_GROUP_MAX];
    const kv_op heavy = {.kind = KV_OP_PUT, .key = text("h"), .value = {bytes, sizeof bytes}};
    caller c[] = {{OPS(heavy)}, {OPS(put("a", "1"))}, {OPS(put("b", "2"))}};
    fault_plan(&fault, (fault_case){.at = 1, .mask = FAULT_BIT(FAULT_SYNC)});
    call_together(c, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(c[i].rc, KV_EPOISONED);
    assert_int_equal(fault.calls[FAULT_SYNC], 1);
}

static void test_a_full_disk_fails_all_cleanly(void **state)
{
    WRITE_OK(put("a", "0"));
    caller c[] = {
        {OPS(put("a", "1"))}, {OPS(put("b", "2"))}, {OPS(op_of(KV_OP_CHECK_ABSENT, "b", NULL))}};
    fault_plan(&fault, (fault_case){.at = 1, .mask = FAULT_BIT(FAULT_PWRITEV), .error = ENOSPC});
    call_together(c, 3);
    fault_plan(&fault, (fault_case){.at = 0});
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(c[i].rc, KV_ENOSPC);
        assert_int_equal(c[i].result.failed_op, 1);
    }
    expect(NULL, "a=0");
    WRITE_OK(put("b", "2"));
    expect(NULL, "a=0 b=2");
}

/* Runs a group without threads. */
static void run_group(kvi_member *members, size_t n)
{
    kv_txn *txn;
    for (size_t i = 0; i + 1 < n; i++)
        members[i].next = &members[i + 1];
    int rc = kvi_begin_write(db, 0, KV_LAZY, &txn);
    if (rc == KV_OK)
        kvi_group_run(txn, members);
    for (size_t i = 0; i < n && rc != KV_OK; i++)
        members[i].rc = rc;
}

/* Three members that change what each has changed before. */
typedef struct trio {
    kv_op ops[3][4];
    char trees[3][32];
    kvi_member m[3];
} trio;

static const char *const trio_names[] = {"first", "second", "third"};

/* False: the plan did not come true. number: of trees that were not there before. */
static bool trio_run(trio *t, uint64_t number, fault_case plan)
{
    const kv_op clear = op_of(KV_OP_DEL_PREFIX, NULL, NULL);
    assert_int_equal(kv_db_write(db, &clear, 1, KV_TXN_LAZY, NULL), KV_OK);
    for (size_t i = 0; i < 3; i++) {
        const char *name = trio_names[i];
        snprintf(t->trees[i], sizeof t->trees[i], "%s-%llu", name, (unsigned long long)number);
        t->ops[i][0] = put(name, "0");
        t->ops[i][1] = op_of(KV_OP_DEL, name, NULL);
        t->ops[i][2] = put(name, "1");
        t->ops[i][3] = in_tree(t->trees[i], put_if("a", "1", KV_OP_CREATE_TREE));
        t->m[i] = (kvi_member){.ops = t->ops[i], .n = 4, .durability = KV_LAZY};
    }
    fault_plan(&fault, plan);
    run_group(t->m, 3);
    bool hit = fault_hit(&fault);
    fault_plan(&fault, (fault_case){.at = 0});
    return hit;
}

/* What those who were told so did is there, and nothing else. Returns how many failed. */
static size_t trio_check(const trio *t)
{
    char line[100] = "";
    size_t failed = 0, at = 0;
    for (size_t i = 0; i < 3; i++) {
        const kvi_member *m = &t->m[i];
        assert_true(m->rc != KV_OK || m->deleted == 1);
        failed += m->rc != KV_OK;
        if (m->rc == KV_OK)
            at += (size_t)snprintf(line + at, sizeof line - at, "%s%s=1", at ? " " : "",
                                   trio_names[i]);
    }
    expect(NULL, line);
    return failed;
}

/* With the n-th allocation failing. False: there was no n-th. *alone: one member failed; *again: and
 * spoiled what others had done, which was done once more. */
static bool run_short_of_memory(uint64_t n, size_t *alone, size_t *again)
{
    trio t;
    bool hit = trio_run(&t, n, (fault_case){.at = n, .mask = FAULT_MEMORY});
    size_t failed = trio_check(&t);
    for (size_t i = 0; i < 3; i++)
        assert_true(t.m[i].rc == KV_OK || (t.m[i].rc == KV_ENOMEM && hit));
    assert_true(failed != 2);
    *alone += failed == 1;
    *again += failed == 1 && (t.m[1].out || t.m[2].out);
    return hit;
}

static void test_out_of_memory(void **state)
{
    size_t alone = 0, again = 0;
    uint64_t n = 1;
    while (run_short_of_memory(n, &alone, &again))
        n++;
    assert_true(n > 7);
    assert_true(alone > 3);
    assert_true(again > 1);
}

/* A member spoiled what others had done, and it cannot be done once more: they are told why, and the
 * member what went wrong in it. */
static void test_no_second_beginning(void **state)
{
    const uint32_t mask = FAULT_MEMORY | FAULT_BIT(FAULT_STAT_PATH);
    size_t told = 0;
    trio t;
    for (uint64_t n = 2;
         trio_run(&t, 1000 + n, (fault_case){.at = n, .mask = mask, .sticky = true}); n++) {
        trio_check(&t);
        for (size_t i = 0, out = 0; i < 3; i++) {
            const kvi_member *m = &t.m[i];
            out += m->out;
            if (m->out)
                assert_int_equal(m->rc, KV_ENOMEM);
            else if (m->rc == KV_EIO)
                assert_int_equal(m->failed_op, m->n);
            told += i == 2 && m->rc == KV_EIO && out == 1;
        }
    }
    assert_true(told > 0);
}

/* A condition failed because of a neighbour's change, and then memory ran out for good. *out: the
 * member itself could not be undone. */
static bool run_out_of_memory(uint64_t n, size_t *out)
{
    static uint8_t bytes[8 * PAGE_SIZE];
    const kv_op first = put("a", "1"), clear = op_of(KV_OP_DEL_PREFIX, NULL, NULL);
    const kv_op second[] = {
        {.kind = KV_OP_PUT, .key = text("large"), .value = {bytes, sizeof bytes}},
        put_if("a", "2", KV_PUT_ABSENT),
    };
    kvi_member m[] = {{.ops = &first, .n = 1, .durability = KV_LAZY},
                      {.ops = second, .n = 2, .durability = KV_LAZY}};
    assert_int_equal(kv_db_write(db, &clear, 1, KV_TXN_LAZY, NULL), KV_OK);
    fault_plan(&fault, (fault_case){.at = n, .mask = FAULT_MEMORY, .sticky = true});
    run_group(m, 2);
    bool hit = fault_hit(&fault);
    fault_plan(&fault, (fault_case){.at = 0});
    assert_true(m[1].rc == (m[0].rc == KV_OK ? KV_EXISTS : KV_ENOMEM) || m[1].rc == KV_ENOMEM);
    *out += m[1].out && m[1].failed_op == 1;
    expect(NULL, m[0].rc == KV_OK ? "a=1" : "");
    return hit;
}

static void test_an_answer_needs_its_ground(void **state)
{
    kv_options options = {.size = sizeof options, .memory_budget = 4 * PAGE_SIZE};
    size_t out = 0;
    uint64_t n = 1;
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_int_equal(kvi_db_open(&fault.os, path, &options, &db, NULL, 0), KV_OK);
    while (run_out_of_memory(n, &out))
        n++;
#ifndef KVI_STRESS /* where the commit is what memory is too short for */
    assert_true(out > 0);
#endif
}

/* ---- threads ---- */

static _Atomic(const char *) wrong;

static uint64_t number_now(void)
{
    kv_txn *txn;
    kv_slice value;
    uint64_t number = 0;
    if (kv_txn_begin(db, KV_TXN_READ, &txn) != KV_OK)
        return 0;
    if (kv_get(kv_txn_main(txn), "n", 1, &value) == KV_OK)
        memcpy(&number, value.ptr, sizeof number);
    kv_txn_abort(txn);
    return number;
}

/* Adds one by compare-and-swap until it succeeds; *kept is a key of this thread's own. */
static bool count_up(char *kept)
{
    for (;;) {
        uint64_t old = number_now(), new = old + 1;
        kv_op ops[] = {{.kind = KV_OP_PUT, .key = {kept, 2}, .value = {&new, sizeof new}},
                       {.kind = KV_OP_CHECK_VALUE, .key = {"n", 1}, .value = {&old, sizeof old}},
                       {.kind = KV_OP_PUT, .key = {"n", 1}, .value = {&new, sizeof new}}};
        kv_write_result r = {.size = sizeof r};
        int rc = kv_db_write(db, ops, 3, KV_TXN_LAZY, &r);
        if (rc == KV_OK)
            return r.failed_op == 3;
        if (rc != KV_MISMATCH || r.failed_op != 1)
            return false;
    }
}

static void *count(void *context)
{
    char kept[3] = {'k', (char)('0' + (uintptr_t)context), 0};
    for (int i = 0; i < ROUNDS; i++) {
        if (!count_up(kept))
            wrong = "a batch";
        kv_op mine = {.kind = KV_OP_PUT, .key = {kept, 2}, .value = {&i, sizeof i}};
        if (kv_db_write(db, &mine, 1, i % 10 ? 0 : KV_TXN_STRICT, NULL) != KV_OK)
            wrong = "a put";
    }
    return NULL;
}

/* Transactions of the ordinary kind take their turns among the groups. */
static void *count_alone(void *context)
{
    (void)context;
    for (int i = 0; i < ROUNDS; i++) {
        kv_txn *txn;
        kv_slice value;
        uint64_t number;
        if (kv_txn_begin(db, KV_TXN_WRITE | KV_TXN_LAZY, &txn) != KV_OK ||
            kv_get(kv_txn_main(txn), "n", 1, &value) != KV_OK) {
            wrong = "a transaction";
            return NULL;
        }
        memcpy(&number, value.ptr, sizeof number);
        number++;
        if (kv_put(kv_txn_main(txn), "n", 1, &number, sizeof number, 0) != KV_OK ||
            kv_txn_commit(txn) != KV_OK)
            wrong = "a commit";
    }
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t threads[THREADS + 1];
    uint64_t zero = 0;
    kv_op op = {.kind = KV_OP_PUT, .key = {"n", 1}, .value = {&zero, sizeof zero}};
    wrong = NULL;
    assert_int_equal(kv_db_write(db, &op, 1, 0, NULL), KV_OK);
    kv_db_info before = stat_now();
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, (void *)i), 0);
    assert_int_equal(pthread_create(&threads[THREADS], NULL, count_alone, NULL), 0);
    for (size_t i = 0; i <= THREADS; i++)
        pthread_join(threads[i], NULL);
    kv_db_info after = stat_now();
    if (wrong)
        fail_msg("a thread met %s", wrong);
    assert_int_equal(number_now(), (THREADS + 1) * ROUNDS);
    assert_int_equal(after.batches - before.batches, 2 * THREADS * ROUNDS);
    assert_true(after.commits - before.commits <= (2 * THREADS + 1) * ROUNDS);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_fresh, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_kinds),
        TEST(test_conditions),
        TEST(test_numbers),
        TEST(test_edits),
        TEST(test_old_values),
        TEST(test_pops),
        TEST(test_order_in_a_batch),
        TEST(test_trees),
        TEST(test_arguments),
        TEST(test_result_sizes),
        TEST(test_readonly),
        TEST(test_no_change),
        TEST(test_each_its_own_outcome),
        TEST(test_order_of_arrival),
        TEST(test_groups_are_bounded),
        TEST(test_company_that_comes),
        TEST(test_company_that_stays_away),
        TEST(test_company_of_one_who_waited),
        TEST(test_no_company_wanted),
        TEST(test_durability),
        TEST(test_a_failed_flush_fails_all),
        TEST(test_poison_reaches_the_queue),
        TEST(test_a_full_disk_fails_all_cleanly),
        TEST(test_out_of_memory),
        TEST(test_no_second_beginning),
        TEST(test_an_answer_needs_its_ground),
        TEST(test_threads),
    };
    return cmocka_run_group_tests_name("group", tests, setup, teardown);
}
