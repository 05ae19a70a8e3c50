/* test_cursor_cases.c - cursors case by case: deep trees, edges, damage, lack of memory. */
#include "db.h"
#include "fault_os.h"
#include "path.h"
#include "scratch.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

typedef struct fixture {
    scratch dir;
    fault_os fault;
    kv_db *db;
    kv_txn *txn;
    kv_tree *tree;
} fixture;

#ifdef KVI_STRESS
#define PAGE_SIZE 512
#else
#define PAGE_SIZE 4096
#endif

static void open_db(fixture *f)
{
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = PAGE_SIZE};
    char message[200];
    int rc = kvi_db_open(&f->fault.os, scratch_path(&f->dir, "cases.kv"), &options, &f->db, message,
                         sizeof message);
    if (rc != KV_OK)
        print_error("%s\n", message);
    assert_int_equal(rc, KV_OK);
}

static void begin(fixture *f, uint32_t flags)
{
    assert_int_equal(kv_txn_begin(f->db, flags, &f->txn), KV_OK);
    f->tree = kv_txn_main(f->txn);
}

static void commit_and_begin(fixture *f, uint32_t flags)
{
    assert_int_equal(kv_txn_commit(f->txn), KV_OK);
    begin(f, flags);
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    scratch_make(&f->dir);
    fault_init(&f->fault, &kvi_os_posix);
    open_db(f);
    begin(f, KV_TXN_WRITE);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    kv_txn_abort(f->txn);
    int rc = kv_db_close(f->db);
    bool balanced = fault_balanced(&f->fault);
    scratch_remove(&f->dir);
    free(f);
    return rc == KV_OK && balanced ? 0 : -1;
}

static void assert_slice(kv_slice got, kv_slice want)
{
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.ptr, want.ptr, want.len);
}

static void put_letters(fixture *f, const char *letters)
{
    for (; *letters; letters++)
        assert_int_equal(kv_put(f->tree, letters, 1, letters, 1, 0), KV_OK);
}

static void assert_at(kv_cursor *cursor, char letter)
{
    kv_slice key;
    assert_int_equal(kv_cursor_get(cursor, &key, NULL), KV_OK);
    assert_slice(key, (kv_slice){&letter, 1});
}

/* Entries "00000/...", "00001/..." in no order; key and value are equal. */
static void put_numbers(fixture *f, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char key[40];
        unsigned number = (unsigned)((uint64_t)i * 7919 % n); /* a permutation: 7919 is prime */
        size_t len = (size_t)sprintf(key, "%05u/%024u", number, number);
        assert_int_equal(kv_put(f->tree, key, len, key, len, 0), KV_OK);
    }
}

static void assert_number(kv_slice bytes, uint64_t number)
{
    assert_int_equal(bytes.len, 30);
    assert_int_equal(strtoul(bytes.ptr, NULL, 10), number);
}

static void assert_at_number(kv_cursor *cursor, uint64_t number)
{
    kv_slice key, value;
    assert_int_equal(kv_cursor_get(cursor, &key, &value), KV_OK);
    assert_number(key, number);
    assert_slice(value, key);
}

/* ---- deep trees: three levels and more, from end to end ---- */

#define MANY 60000

static void put_many(fixture *f)
{
    kv_tree_info info = {.size = sizeof info};
    put_numbers(f, MANY);
    commit_and_begin(f, KV_TXN_READ);
    assert_int_equal(kv_tree_stat(f->tree, &info), KV_OK);
    assert_true(info.height >= 3);
}

static kv_cursor *cursor_of(fixture *f, uint32_t flags)
{
    kv_range range = {.size = sizeof range, .flags = flags};
    kv_cursor *cursor;
    assert_int_equal(kv_cursor_open(f->tree, &range, &cursor), KV_OK);
    return cursor;
}

static void test_deep_steps(void **state)
{
    fixture *f = *state;
    put_many(f);
    kv_cursor *forth = cursor_of(f, 0), *back = cursor_of(f, KV_RANGE_REVERSE);
    for (uint64_t i = 0; i < MANY; i++) {
        assert_int_equal(kv_cursor_next(forth), KV_OK);
        assert_at_number(forth, i);
        assert_int_equal(kv_cursor_next(back), KV_OK);
        assert_at_number(back, MANY - 1 - i);
    }
    assert_int_equal(kv_cursor_next(forth), KV_NOTFOUND);
    assert_int_equal(kv_cursor_next(back), KV_NOTFOUND);
    for (uint64_t i = 0; i < MANY; i++) {
        assert_int_equal(kv_cursor_prev(back), KV_OK);
        assert_at_number(back, i);
    }
    assert_int_equal(kv_cursor_prev(back), KV_NOTFOUND);
}

static void test_deep_jumps(void **state)
{
    fixture *f = *state;
    put_many(f);
    kv_cursor *forth = cursor_of(f, 0), *back = cursor_of(f, KV_RANGE_REVERSE);
    for (uint64_t i = 0; i < MANY; i += 7) {
        char key[10];
        size_t len = (size_t)sprintf(key, "%05u", (unsigned)i);
        assert_int_equal(kv_cursor_nth(forth, i), KV_OK);
        assert_at_number(forth, i);
        assert_int_equal(kv_cursor_nth(back, i), KV_OK);
        assert_at_number(back, MANY - 1 - i);
        assert_int_equal(kv_cursor_seek(back, KV_SEEK_GT, key, len), KV_OK);
        assert_at_number(back, i);
        assert_int_equal(kv_cursor_seek(back, KV_SEEK_EQ, key, len), KV_NOTFOUND);
    }
    assert_int_equal(kv_cursor_nth(forth, MANY), KV_NOTFOUND);
    assert_int_equal(kv_cursor_nth(back, UINT64_MAX), KV_NOTFOUND);
}

static void test_deep_reads(void **state)
{
    fixture *f = *state;
    kv_pair *pairs = calloc(MANY, sizeof *pairs);
    put_many(f);
    for (uint32_t flags = 0; flags < 2; flags++) {
        for (size_t batch = 1; batch <= MANY; batch *= 37) {
            kv_cursor *cursor = cursor_of(f, flags);
            size_t got = 0, done = 0;
            while (kv_cursor_read(cursor, pairs, batch, &got) == KV_OK) {
                assert_true(got == batch || done + got == MANY);
                for (size_t i = 0; i < got; i++, done++) {
                    assert_number(pairs[i].key, flags ? MANY - 1 - done : done);
                    assert_slice(pairs[i].value, pairs[i].key);
                }
            }
            assert_int_equal(done, MANY);
            kv_cursor_close(cursor);
        }
    }
    free(pairs);
}

/* Where the range ends between two leaves, what is read next is nothing, and the way back ends where the
 * range begins. */
static void test_reads_to_the_end(void **state)
{
    fixture *f = *state;
    kv_pair pairs[400];
    put_numbers(f, 400);
    commit_and_begin(f, KV_TXN_READ);
    for (unsigned at = 3; at < 400; at++)
        for (uint32_t flags = 0; flags <= KV_RANGE_REVERSE; flags++) {
            char from[10], to[10];
            size_t got;
            kv_cursor *c;
            const kv_range range = {.size = sizeof range,
                                    .flags = flags,
                                    .from = from,
                                    .from_len = (size_t)sprintf(from, "%05u", at - 3),
                                    .to = to,
                                    .to_len = (size_t)sprintf(to, "%05u", at)};
            assert_int_equal(kv_cursor_open(f->tree, &range, &c), KV_OK);
            assert_int_equal(kv_cursor_read(c, pairs, 400, &got), KV_OK);
            assert_int_equal(got, 3);
            assert_at_number(c, flags ? at - 3 : at - 1);
            assert_int_equal(kv_cursor_read(c, pairs, 400, &got), KV_NOTFOUND);
            assert_int_equal(got, 0);
            kv_cursor_close(c);
            assert_int_equal(kv_cursor_open(f->tree, &range, &c), KV_OK);
            assert_int_equal(kv_cursor_read(c, pairs, 400, &got), KV_OK);
            for (unsigned i = 1; i < 3; i++) {
                assert_int_equal(kv_cursor_prev(c), KV_OK);
                assert_at_number(c, flags ? at - 3 + i : at - 1 - i);
            }
            assert_int_equal(kv_cursor_prev(c), KV_NOTFOUND);
            kv_cursor_close(c);
        }
}

/* ---- paths, as others use them ---- */

static void test_path(void **state)
{
    fixture *f = *state;
    kvi_path path;
    put_numbers(f, 500);
    assert_int_equal(kvi_path_nth(f->tree, &path, 500), KV_NOTFOUND);
    assert_int_equal(kvi_path_edge(f->tree, &path, false), KV_OK);
    for (unsigned i = 1; i < 500; i++) {
        kvi_path same;
        assert_int_equal(kvi_path_next(f->tree, &path), KV_OK);
        assert_int_equal(kvi_path_nth(f->tree, &same, i), KV_OK);
        assert_ptr_equal(kvi_path_leaf(&same)->page, kvi_path_leaf(&path)->page);
        assert_int_equal(kvi_path_leaf(&same)->slot, kvi_path_leaf(&path)->slot);
    }
    assert_int_equal(kvi_path_next(f->tree, &path), KV_NOTFOUND);
    for (unsigned i = 1; i < 500; i++)
        assert_int_equal(kvi_path_prev(f->tree, &path), KV_OK);
    assert_int_equal(kvi_path_prev(f->tree, &path), KV_NOTFOUND);
    assert_int_equal(kv_tree_clear(f->tree), KV_OK);
    assert_int_equal(kvi_path_edge(f->tree, &path, true), KV_NOTFOUND);
    assert_int_equal(kvi_path_next(f->tree, &path), KV_NOTFOUND);
    assert_int_equal(kvi_path_prev(f->tree, &path), KV_NOTFOUND);
}

/* ---- edges ---- */

/* A loop that removes what it visits meets every entry once. */
static void delete_while_walking(fixture *f, uint32_t flags)
{
    const uint64_t n = 2500;
    uint64_t visited = 0, left;
    put_numbers(f, (unsigned)n);
    kv_cursor *cursor = cursor_of(f, flags);
    for (; kv_cursor_next(cursor) == KV_OK; visited++) {
        assert_at_number(cursor, flags ? n - 1 - visited : visited);
        if (visited % 3 == 0)
            continue;
        assert_int_equal(kv_cursor_del(cursor), KV_OK);
        assert_int_equal(kv_cursor_del(cursor), KV_NOTFOUND);
    }
    assert_int_equal(visited, n);
    assert_int_equal(kv_count(f->tree, NULL, &left), KV_OK);
    assert_int_equal(left, (n + 2) / 3);
    kv_cursor_close(cursor);
}

static void test_delete_while_walking(void **state)
{
    delete_while_walking(*state, 0);
    delete_while_walking(*state, KV_RANGE_REVERSE);
}

static void test_between_after_del(void **state)
{
    fixture *f = *state;
    put_letters(f, "abcdef");
    kv_cursor *c = cursor_of(f, 0);
    assert_int_equal(kv_cursor_seek(c, KV_SEEK_EQ, "c", 1), KV_OK);
    assert_int_equal(kv_cursor_del(c), KV_OK);
    assert_int_equal(kv_cursor_get(c, NULL, NULL), KV_NOTFOUND);
    assert_int_equal(kv_cursor_put(c, "x", 1), KV_NOTFOUND);
    assert_int_equal(kv_cursor_prev(c), KV_OK);
    assert_at(c, 'b');
    assert_int_equal(kv_cursor_del(c), KV_OK);
    assert_int_equal(kv_cursor_next(c), KV_OK);
    assert_at(c, 'd');
    assert_int_equal(kv_cursor_last(c), KV_OK);
    assert_int_equal(kv_cursor_del(c), KV_OK);
    assert_int_equal(kv_cursor_next(c), KV_NOTFOUND);
    assert_int_equal(kv_cursor_prev(c), KV_OK);
    assert_at(c, 'e');
}

/* A loop that takes entries out and puts them back comes to its end. */
static void test_replace_while_walking(void **state)
{
    fixture *f = *state;
    unsigned visited = 0;
    put_letters(f, "abcdef");
    kv_cursor *c = cursor_of(f, 0);
    for (; kv_cursor_next(c) == KV_OK; visited++) {
        char letter = (char)('a' + visited);
        assert_at(c, letter);
        assert_int_equal(kv_cursor_del(c), KV_OK);
        assert_int_equal(kv_put(f->tree, &letter, 1, "x", 1, 0), KV_OK);
        assert_int_equal(kv_cursor_get(c, NULL, NULL), KV_NOTFOUND);
    }
    assert_int_equal(visited, 6);
}

static void test_limit(void **state)
{
    fixture *f = *state;
    kv_range range = {.size = sizeof range, .limit = 3};
    kv_cursor *c;
    put_letters(f, "abcdef");
    assert_int_equal(kv_cursor_open(f->tree, &range, &c), KV_OK);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(kv_cursor_first(c), KV_OK);
        assert_int_equal(kv_cursor_next(c), KV_OK);
        assert_int_equal(kv_cursor_next(c), KV_OK);
        assert_at(c, 'c');
        assert_int_equal(kv_cursor_next(c), KV_NOTFOUND);
        assert_int_equal(kv_cursor_get(c, NULL, NULL), KV_NOTFOUND);
        assert_int_equal(kv_cursor_next(c), KV_NOTFOUND);
        assert_int_equal(kv_cursor_prev(c), KV_OK);
        assert_at(c, 'c');
    }
}

/* Key or value may be left out, wherever the cursor has come by which way. */
static void test_halves(void **state)
{
    fixture *f = *state;
    kv_slice key, value, again;
    put_numbers(f, 200);
    commit_and_begin(f, KV_TXN_READ);
    kv_cursor *c = cursor_of(f, 0);
    for (uint64_t i = 0; i < 200; i++) {
        assert_int_equal(kv_cursor_next(c), KV_OK);
        assert_int_equal(kv_cursor_get(c, &key, &value), KV_OK);
        assert_int_equal(kv_cursor_get(c, NULL, &again), KV_OK);
        assert_ptr_equal(again.ptr, value.ptr);
        assert_int_equal(again.len, value.len);
        assert_int_equal(kv_cursor_get(c, &again, NULL), KV_OK);
        assert_number(again, i);
        assert_int_equal(kv_cursor_get(c, NULL, NULL), KV_OK);
    }
}

/* Outside a range at either end, the next step back leads in again. */
static void test_ends(void **state)
{
    fixture *f = *state;
    kv_range range = {.size = sizeof range, .from = "b", .from_len = 1, .to = "e", .to_len = 1};
    kv_cursor *c;
    put_letters(f, "abcdef");
    assert_int_equal(kv_cursor_open(f->tree, &range, &c), KV_OK);
    assert_int_equal(kv_cursor_get(c, NULL, NULL), KV_NOTFOUND);
    assert_int_equal(kv_cursor_prev(c), KV_OK);
    assert_at(c, 'd');
    assert_int_equal(kv_cursor_next(c), KV_NOTFOUND);
    assert_int_equal(kv_cursor_prev(c), KV_OK);
    assert_at(c, 'd');
    assert_int_equal(kv_cursor_first(c), KV_OK);
    assert_int_equal(kv_cursor_prev(c), KV_NOTFOUND);
    assert_int_equal(kv_cursor_prev(c), KV_NOTFOUND);
    assert_int_equal(kv_cursor_next(c), KV_OK);
    assert_at(c, 'b');
    assert_int_equal(kv_cursor_seek(c, KV_SEEK_EQ, "a", 1), KV_NOTFOUND);
    assert_int_equal(kv_cursor_seek(c, KV_SEEK_GE, "e", 1), KV_NOTFOUND);
    assert_int_equal(kv_cursor_prev(c), KV_OK);
    assert_at(c, 'd');
    assert_int_equal(kv_cursor_seek(c, KV_SEEK_LT, "b", 1), KV_NOTFOUND);
    assert_int_equal(kv_cursor_next(c), KV_OK);
    assert_at(c, 'b');
    assert_int_equal(kv_cursor_seek(c, KV_SEEK_GE, "", 0), KV_OK);
    assert_at(c, 'b');
    assert_int_equal(kv_cursor_seek(c, KV_SEEK_LE, "zzz", 3), KV_OK);
    assert_at(c, 'd');
}

/* The key that a cursor shows may be what its next call is about, and so may the value. */
static void test_own_bytes_as_arguments(void **state)
{
    fixture *f = *state;
    kv_slice key, value;
    unsigned n = 1;
    put_numbers(f, 300);
    kv_cursor *c = cursor_of(f, 0);
    assert_int_equal(kv_cursor_first(c), KV_OK);
    assert_int_equal(kv_cursor_get(c, &key, NULL), KV_OK);
    for (; kv_cursor_seek(c, KV_SEEK_GT, key.ptr, key.len) == KV_OK; n++) {
        assert_at_number(c, n);
        assert_int_equal(kv_cursor_get(c, &key, &value), KV_OK);
        assert_int_equal(kv_cursor_put(c, value.ptr, value.len), KV_OK);
        assert_at_number(c, n);
    }
    assert_int_equal(n, 300);
}

static void test_refresh(void **state)
{
    fixture *f = *state;
    kv_txn *reader;
    kv_cursor *c, *gone;
    kv_tree *tree;
    put_letters(f, "bc");
    assert_int_equal(kv_tree_open(f->txn, "other", 5, KV_TREE_CREATE, NULL, &tree), KV_OK);
    commit_and_begin(f, KV_TXN_WRITE);
    assert_int_equal(kv_txn_begin(f->db, KV_TXN_READ, &reader), KV_OK);
    assert_int_equal(kv_cursor_open(kv_txn_main(reader), NULL, &c), KV_OK);
    assert_int_equal(kv_tree_open(reader, "other", 5, 0, NULL, &tree), KV_OK);
    assert_int_equal(kv_cursor_open(tree, NULL, &gone), KV_OK);
    assert_int_equal(kv_cursor_next(c), KV_OK);
    assert_at(c, 'b');
    put_letters(f, "a");
    assert_int_equal(kv_tree_open(f->txn, "other", 5, 0, NULL, &tree), KV_OK);
    assert_int_equal(kv_tree_drop(tree), KV_OK);
    commit_and_begin(f, KV_TXN_READ);
    assert_int_equal(kv_cursor_prev(c), KV_NOTFOUND);
    assert_int_equal(kv_txn_refresh(reader), KV_OK);
    assert_int_equal(kv_cursor_get(c, NULL, NULL), KV_NOTFOUND);
    assert_int_equal(kv_cursor_next(c), KV_OK);
    assert_at(c, 'a');
    assert_int_equal(kv_cursor_next(gone), KV_NOTFOUND);
    kv_txn_abort(reader);
}

/* A page that the cursor has looked at may hold another leaf after a refresh. */
static void test_refresh_to_other_leaves(void **state)
{
    fixture *f = *state;
    kv_txn *reader;
    kv_cursor *c;
    kv_slice key, value;
    commit_and_begin(f, KV_TXN_WRITE);
    assert_int_equal(kv_txn_begin(f->db, KV_TXN_READ, &reader), KV_OK);
    assert_int_equal(kv_cursor_open(kv_txn_main(reader), NULL, &c), KV_OK);
    for (unsigned round = 1, due = 1, pause = 1; round < 100; round++) {
        char text[64];
        assert_int_equal(kv_tree_clear(f->tree), KV_OK);
        for (unsigned i = 0; i < round; i++) {
            int len = sprintf(text, "%0*u", (int)(round % 7 + 5), i);
            assert_int_equal(kv_put(f->tree, text, (size_t)len, text, round % 5, 0), KV_OK);
        }
        commit_and_begin(f, KV_TXN_WRITE);
        assert_int_equal(kv_txn_refresh(reader), KV_OK);
        if (round < due) /* meanwhile the page falls free, and is taken again */
            continue;
        due += ++pause;
        for (unsigned i = 0; i < round; i++) {
            int len = sprintf(text, "%0*u", (int)(round % 7 + 5), i);
            assert_int_equal(kv_cursor_next(c), KV_OK);
            assert_int_equal(kv_cursor_get(c, &key, &value), KV_OK);
            assert_slice(key, (kv_slice){text, (size_t)len});
            assert_slice(value, (kv_slice){text, round % 5});
        }
        assert_int_equal(kv_cursor_next(c), KV_NOTFOUND);
    }
    kv_txn_abort(reader);
}

static void test_arguments(void **state)
{
    fixture *f = *state;
    kv_cursor *c = (kv_cursor *)f;
    kv_pair pair;
    size_t got = 77;
    put_letters(f, "abc");
    assert_int_equal(kv_cursor_open(NULL, NULL, &c), KV_EINVAL);
    assert_null(c);
    assert_int_equal(kv_cursor_open(f->tree, NULL, NULL), KV_EINVAL);
    commit_and_begin(f, KV_TXN_READ);
    c = cursor_of(f, 0);
    assert_int_equal(kv_cursor_first(NULL), KV_EINVAL);
    assert_int_equal(kv_cursor_last(NULL), KV_EINVAL);
    assert_int_equal(kv_cursor_next(NULL), KV_EINVAL);
    assert_int_equal(kv_cursor_prev(NULL), KV_EINVAL);
    assert_int_equal(kv_cursor_nth(NULL, 0), KV_EINVAL);
    assert_int_equal(kv_cursor_get(NULL, NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_cursor_put(NULL, "", 0), KV_EINVAL);
    assert_int_equal(kv_cursor_del(NULL), KV_EINVAL);
    assert_int_equal(kv_cursor_seek(NULL, KV_SEEK_GE, "a", 1), KV_EINVAL);
    assert_int_equal(kv_cursor_seek(c, (enum kv_seek)3, "a", 1), KV_EINVAL);
    assert_int_equal(kv_cursor_seek(c, (enum kv_seek) - 3, "a", 1), KV_EINVAL);
    assert_int_equal(kv_cursor_seek(c, KV_SEEK_GE, NULL, 1), KV_EINVAL);
    assert_int_equal(kv_cursor_read(NULL, &pair, 1, &got), KV_EINVAL);
    assert_int_equal(kv_cursor_read(c, NULL, 1, &got), KV_EINVAL);
    assert_int_equal(kv_cursor_read(c, &pair, 1, NULL), KV_EINVAL);
    assert_int_equal(got, 77);
    assert_int_equal(kv_cursor_read(c, NULL, 0, &got), KV_OK);
    assert_int_equal(got, 0);
    assert_int_equal(kv_cursor_first(c), KV_OK);
    assert_int_equal(kv_cursor_put(c, "x", 1), KV_EREADONLY);
    assert_int_equal(kv_cursor_del(c), KV_EREADONLY);
    assert_int_equal(kv_cursor_put(c, NULL, 1), KV_EINVAL);
    kv_cursor_close(NULL);
}

/* ---- damage ---- */

/* Flips a bit in the leaf that holds entry number n; returns the numbers [*first, *end) of the
 * entries there. */
static void damage_leaf(fixture *f, uint64_t n, uint64_t *first, uint64_t *end)
{
    kvi_path path;
    uint8_t byte;
    assert_int_equal(kvi_path_nth(f->tree, &path, n), KV_OK);
    const kvi_step *leaf = kvi_path_leaf(&path);
    *first = n - leaf->slot;
    *end = *first + kvi_node_count(leaf->page);
    off_t at = (off_t)(leaf->ptr.page * PAGE_SIZE + PAGE_SIZE - 10);
    kv_txn_abort(f->txn);
    assert_int_equal(kv_db_close(f->db), KV_OK);
    int fd = open(scratch_path(&f->dir, "cases.kv"), O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
    open_db(f);
    begin(f, KV_TXN_READ);
}

/* A scan ends at a damaged leaf, as often as it tries, and goes back from there. */
static void test_damaged_leaf(void **state)
{
    fixture *f = *state;
    uint64_t first, end;
    put_numbers(f, 2000);
    commit_and_begin(f, KV_TXN_READ);
    damage_leaf(f, 1000, &first, &end);
    kv_cursor *c = cursor_of(f, 0);
    for (uint64_t i = 0; i < first; i++)
        assert_int_equal(kv_cursor_next(c), KV_OK);
    assert_int_equal(kv_cursor_next(c), KV_ECORRUPT);
    assert_int_equal(kv_cursor_next(c), KV_ECORRUPT);
    assert_at_number(c, first - 1);
    assert_int_equal(kv_cursor_prev(c), KV_OK);
    assert_at_number(c, first - 2);
    assert_int_equal(kv_cursor_nth(c, first + 1), KV_ECORRUPT);
    assert_int_equal(kv_cursor_get(c, NULL, NULL), KV_NOTFOUND);
    assert_int_equal(kv_cursor_next(c), KV_OK);
    assert_at_number(c, 0);
    assert_int_equal(kv_cursor_nth(c, end), KV_OK);
    assert_at_number(c, end);
    assert_int_equal(kv_cursor_prev(c), KV_ECORRUPT);
    assert_at_number(c, end);
}

static void test_damaged_leaf_reading(void **state)
{
    fixture *f = *state;
    uint64_t first, end;
    size_t got = 77;
    kv_pair pairs[2000];
    put_numbers(f, 2000);
    commit_and_begin(f, KV_TXN_READ);
    damage_leaf(f, 1000, &first, &end);
    kv_cursor *c = cursor_of(f, 0);
    assert_int_equal(kv_cursor_read(c, pairs, 2000, &got), KV_OK);
    assert_int_equal(got, first);
    assert_number(pairs[first - 1].key, first - 1);
    assert_int_equal(kv_cursor_read(c, pairs, 2000, &got), KV_ECORRUPT);
    assert_int_equal(kv_cursor_read(c, pairs, 2000, &got), KV_ECORRUPT);
    assert_int_equal(got, 0);
    assert_at_number(c, first - 1);
}

/* A large value that cannot be read is reported where it is met, after all before it. */
static void test_damaged_value(void **state)
{
    fixture *f = *state;
    static uint8_t large[3 * 65536];
    kv_slice value;
    kv_pair pairs[8];
    size_t got;
    memset(large, 0xa5, sizeof large);
    put_letters(f, "abcdef");
    assert_int_equal(kv_put(f->tree, "c", 1, large, sizeof large, 0), KV_OK);
    commit_and_begin(f, KV_TXN_READ);
    assert_int_equal(kv_get(f->tree, "c", 1, &value), KV_OK);
    off_t at = (off_t)((const uint8_t *)value.ptr - f->txn->view.map) + 1000;
    kv_txn_abort(f->txn);
    assert_int_equal(kv_db_close(f->db), KV_OK);
    int fd = open(scratch_path(&f->dir, "cases.kv"), O_RDWR);
    assert_int_equal(pwrite(fd, "x", 1, at), 1);
    close(fd);
    open_db(f);
    begin(f, KV_TXN_READ);
    kv_cursor *c = cursor_of(f, 0);
    assert_int_equal(kv_cursor_read(c, pairs, 8, &got), KV_OK);
    assert_int_equal(got, 2);
    assert_at(c, 'b');
    assert_int_equal(kv_cursor_read(c, pairs, 8, &got), KV_ECORRUPT);
    assert_at(c, 'c');
    assert_int_equal(kv_cursor_get(c, NULL, &value), KV_ECORRUPT);
    assert_int_equal(kv_cursor_read(c, pairs, 8, &got), KV_OK);
    assert_int_equal(got, 3);
    assert_slice(pairs[0].key, (kv_slice){"d", 1});
    const kv_range three = {.size = sizeof three, .limit = 3}; /* which ends with it */
    assert_int_equal(kv_cursor_open(f->tree, &three, &c), KV_OK);
    assert_int_equal(kv_cursor_read(c, pairs, 8, &got), KV_OK);
    assert_int_equal(got, 2);
    assert_int_equal(kv_cursor_read(c, pairs, 8, &got), KV_ECORRUPT);
}

/* ---- values that were compressed ---- */

#define PACKED     100
#define PACKED_LEN 20000u

static kv_tree *packed_tree(fixture *f)
{
    static char value[PACKED_LEN];
    kv_tree *tree;
    const kv_tree_options options = {sizeof options, 1000};
    assert_int_equal(kv_tree_open(f->txn, "p", 1, KV_TREE_CREATE, &options, &tree), KV_OK);
    for (unsigned i = 0; i < PACKED; i++) {
        char key[16];
        memset(value, (int)i, sizeof value);
        int len = sprintf(key, "%05u", i);
        assert_int_equal(kv_put(tree, key, (size_t)len, value, sizeof value, 0), KV_OK);
    }
    commit_and_begin(f, KV_TXN_READ);
    assert_int_equal(kv_tree_open(f->txn, "p", 1, 0, NULL, &tree), KV_OK);
    return tree;
}

static void assert_packed(kv_slice value, size_t i)
{
    assert_int_equal(value.len, PACKED_LEN);
    for (size_t at = 0; at < value.len; at += 97)
        assert_int_equal(((const uint8_t *)value.ptr)[at], i);
}

/* They stay, all of them, until the transaction ends; in a brief range each makes room for the next. */
static void test_brief_values(void **state)
{
    fixture *f = *state;
    kv_tree *tree = packed_tree(f);
    kv_slice values[PACKED];
    for (unsigned brief = 0; brief < 2; brief++) {
        const kv_range range = {.size = sizeof range, .flags = brief ? KV_RANGE_BRIEF : 0};
        kv_entry_info info = {.size = sizeof info};
        kv_slice other;
        kv_cursor *c;
        assert_int_equal(kv_cursor_open(tree, &range, &c), KV_OK);
        assert_int_equal(kv_get(tree, "00007", 5, &other), KV_OK); /* no value of the cursor's */
        int64_t before = f->fault.allocations;
        for (unsigned i = 0; i < PACKED; i++) {
            assert_int_equal(kv_cursor_next(c), KV_OK);
            assert_int_equal(kv_cursor_get(c, NULL, &values[i]), KV_OK);
            assert_packed(values[i], i);
            assert_int_equal(f->fault.allocations - before, brief ? 1 : i + 1);
        }
        for (unsigned i = 0; i < PACKED && !brief; i++)
            assert_packed(values[i], i);
        assert_int_equal(kv_cursor_first(c), KV_OK);
        assert_int_equal(kv_cursor_info(c, &info), KV_OK);
        assert_packed(info.value, 0);
        assert_int_equal(kv_get(tree, "00009", 5, NULL), KV_OK);
        assert_int_equal(f->fault.allocations - before, brief ? 1 : PACKED + 1);
        assert_packed(other, 7);
        kv_cursor_close(c);
        assert_int_equal(f->fault.allocations - before, brief ? 0 : PACKED + 1);
    }
}

/* What one call reads is good together. */
static void test_brief_reads(void **state)
{
    fixture *f = *state;
    kv_tree *tree = packed_tree(f);
    const kv_range range = {.size = sizeof range, .flags = KV_RANGE_BRIEF};
    int64_t before = f->fault.allocations;
    kv_pair pairs[16];
    size_t got, done = 0;
    kv_cursor *c;
    assert_int_equal(kv_cursor_open(tree, &range, &c), KV_OK);
    while (kv_cursor_read(c, pairs, 16, &got) == KV_OK) {
        for (size_t i = 0; i < got; i++)
            assert_packed(pairs[i].value, done + i);
        assert_in_range(f->fault.allocations - before, got, got + 1); /* and the keys */
        done += got;
    }
    assert_int_equal(done, PACKED);
    assert_int_equal(kv_txn_refresh(f->txn), KV_OK);
    assert_int_equal(kv_cursor_next(c), KV_OK);
    assert_int_equal(kv_cursor_get(c, NULL, &pairs[0].value), KV_OK);
    assert_packed(pairs[0].value, 0);
    kv_txn_abort(f->txn); /* closes it, and the tree */
    begin(f, KV_TXN_READ);
    assert_int_equal(f->fault.allocations, before - 1);
}

/* ---- lack of memory ---- */

static void fail_memory(fixture *f, uint64_t at)
{
    fault_plan(&f->fault, (fault_case){.at = at, .mask = FAULT_MEMORY});
}

static void test_open_without_memory(void **state)
{
    fixture *f = *state;
    kv_range range = {.size = sizeof range, .prefix = "a", .prefix_len = 1};
    put_letters(f, "abc");
    kv_cursor *c = (kv_cursor *)f, *first;
    fail_memory(f, 1); /* the transaction has room for a cursor, but not for its range */
    assert_int_equal(kv_cursor_open(f->tree, &range, &c), KV_ENOMEM);
    assert_null(c);
    fail_memory(f, 1);
    assert_int_equal(kv_cursor_open(f->tree, NULL, &first), KV_OK);
    assert_false(fault_hit(&f->fault));
    for (uint64_t at = 1; at <= 2; at++) {
        c = (kv_cursor *)f;
        fail_memory(f, at);
        assert_int_equal(kv_cursor_open(f->tree, &range, &c), KV_ENOMEM);
        assert_null(c);
    }
    fail_memory(f, 0);
    kv_cursor_close(first);
}

static void test_ranges_without_memory(void **state)
{
    fixture *f = *state;
    kv_range range = {.size = sizeof range, .prefix = "a", .prefix_len = 1};
    uint64_t n = 77;
    put_letters(f, "abc");
    fail_memory(f, 1);
    assert_int_equal(kv_count(f->tree, &range, &n), KV_ENOMEM);
    for (uint64_t at = 1; at <= 2; at++) {
        fail_memory(f, at);
        assert_int_equal(kv_del_range(f->tree, &range, &n), KV_ENOMEM);
    }
    fail_memory(f, 0);
    assert_int_equal(n, 77);
    assert_int_equal(kv_count(f->tree, NULL, &n), KV_OK);
    assert_int_equal(n, 3);
}

/* Keys that found no room are met by the next read. */
static void test_read_without_memory(void **state)
{
    fixture *f = *state;
    kv_pair *pairs = calloc(2000, sizeof *pairs);
    size_t got = 77, done;
    put_numbers(f, 2000);
    kv_cursor *c = cursor_of(f, 0);
    fail_memory(f, 1);
    assert_int_equal(kv_cursor_read(c, pairs, 2000, &got), KV_ENOMEM);
    assert_int_equal(got, 0);
    assert_int_equal(kv_cursor_get(c, NULL, NULL), KV_NOTFOUND);
    fail_memory(f, 2);
    assert_int_equal(kv_cursor_read(c, pairs, 2000, &got), KV_OK);
    assert_in_range(got, 1, 1998);
    assert_at_number(c, got - 1);
    done = got;
    for (size_t i = 0; i < got; i++)
        assert_number(pairs[i].key, i);
    fail_memory(f, 0);
    assert_int_equal(kv_cursor_read(c, pairs, 2000, &got), KV_OK);
    assert_int_equal(done + got, 2000);
    assert_number(pairs[0].key, done);
    free(pairs);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_deep_steps),
        CASE(test_deep_jumps),
        CASE(test_deep_reads),
        CASE(test_reads_to_the_end),
        CASE(test_path),
        CASE(test_delete_while_walking),
        CASE(test_between_after_del),
        CASE(test_replace_while_walking),
        CASE(test_limit),
        CASE(test_brief_values),
        CASE(test_brief_reads),
        CASE(test_halves),
        CASE(test_ends),
        CASE(test_own_bytes_as_arguments),
        CASE(test_refresh),
        CASE(test_refresh_to_other_leaves),
        CASE(test_arguments),
        CASE(test_damaged_leaf),
        CASE(test_damaged_leaf_reading),
        CASE(test_damaged_value),
        CASE(test_open_without_memory),
        CASE(test_ranges_without_memory),
        CASE(test_read_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
