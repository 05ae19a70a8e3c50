/* A page of the file that somebody overwrites after it was verified, and a transaction that changes its
 * neighbours: KV_ECORRUPT when the page leads nowhere now, and no access outside in any case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "kv.h"
#include "must.h"
#include "scratch.h"
#include "tree.h"
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { ENTRIES = 3000 };

static scratch *dir;

static size_t key_of(unsigned i, char key[16])
{
    return (size_t)snprintf(key, 16, "key%07u", i);
}

static void fill(kv_db *db)
{
    char key[16];
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    for (unsigned i = 0; i < ENTRIES; i++)
        assert_int_equal(kv_put(kv_txn_main(txn), key, key_of(i, key), "some value", 8 + i % 3, 0),
                         KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

enum { LAST = -1 };

/* Reads all, so that all pages are verified. */
static void read_all(kv_txn *txn)
{
    kv_slice value;
    char key[16];
    for (unsigned i = 0; i < ENTRIES; i++)
        assert_int_equal(kv_get(kv_txn_main(txn), key, key_of(i, key), &value), KV_OK);
}

/* In the root, the pointer to a child becomes {page, birth 0}: that of a private page. */
static void forge(kv_db *db, const char *path, int child, uint64_t page)
{
    kv_txn *txn = must_begin(db, KV_TXN_READ);
    kv_slice value;
    char key[16];
    const kvi_view *view = &txn->view;
    kvi_ptr root = kv_txn_main(txn)->desc.root;
    for (unsigned i = 0; i < ENTRIES; i++)
        assert_true(kv_get(kv_txn_main(txn), key, key_of(i, key), &value) >= 0);
    uint32_t size = 1u << view->page_shift;
    const uint8_t *bytes = view->map + root.page * size, *at = NULL;
    unsigned last = kvi_node_count(bytes);
    assert_true(kvi_node_level(bytes) > 0);
    uint8_t pointer[KVI_PTR_SIZE];
    unsigned i = child == LAST ? last : KVI_MIN((unsigned)child, last);
    kvi_ptr_put(pointer, kvi_branch_child(bytes, size, i));
    for (const uint8_t *p = bytes; !at && p <= bytes + size - KVI_PTR_SIZE; p++)
        at = memcmp(p, pointer, KVI_PTR_SIZE) == 0 ? p : NULL;
    assert_non_null(at);
    kvi_ptr_put(pointer, (kvi_ptr){page, 0});
    int fd = open(path, O_RDWR);
    off_t place = (off_t)(root.page * size) + (at - bytes);
    kv_txn_abort(txn);
    assert_int_equal(pwrite(fd, pointer, sizeof pointer, place), sizeof pointer);
    close(fd);
}

static kv_db *make(const char *path)
{
    kv_db *db;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
    remove(path);
    assert_int_equal(kv_db_open(path, &options, &db), KV_OK);
    fill(db);
    return db;
}

static void test_forged_private_page(void **state)
{
    dir = *state;
    static const uint64_t pages[] = {0, 1, 2, 3, 9, 1000, 1u << 31, KVI_PGNO_MAX};
    for (size_t i = 0; i < KVI_COUNT(pages); i++) {
        kv_db *db;
        kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
        const char *path = scratch_path(dir, "changed.kv");
        remove(path);
        assert_int_equal(kv_db_open(path, &options, &db), KV_OK);
        fill(db);
        forge(db, path, LAST, pages[i]);
        kv_txn *txn = must_begin(db, KV_TXN_WRITE);
        kv_slice value;
        assert_int_equal(kv_put(kv_txn_main(txn), "key0000000", 10, "other", 5, 0), KV_OK);
        int got = kv_get(kv_txn_main(txn), "key0002999", 10, &value);
        int committed = kv_txn_commit(txn);
        if (pages[i] < 1 || pages[i] > 3) { /* those are private pages of this transaction */
            assert_int_equal(got, KV_ECORRUPT);
            assert_int_equal(committed, KV_ECORRUPT);
        }
        kv_db_close(db);
    }
}

/* Lookups that ask for all their pages at once are led to the same place. */
static void test_forged_private_page_many(void **state)
{
    static const uint32_t flags[] = {KV_TXN_READ, KV_TXN_WRITE};
    static const uint64_t pages[] = {0, 1000};
    char bytes[2][16];
    kv_slice keys[2], values[2];
    int results[2];
    dir = *state;
    for (unsigned i = 0; i < 2; i++)
        keys[i] = (kv_slice){bytes[i], key_of(i * (ENTRIES - 1), bytes[i])};
    for (size_t i = 0; i < KVI_COUNT(flags) * KVI_COUNT(pages); i++) {
        const char *path = scratch_path(dir, "many.kv");
        kv_db *db = make(path);
        forge(db, path, LAST, pages[i / 2]);
        kv_txn *txn = must_begin(db, flags[i % 2]);
        assert_int_equal(kv_get_many(kv_txn_main(txn), 2, keys, values, results), KV_ECORRUPT);
        assert_int_equal(results[0], KV_OK);
        assert_int_equal(results[1], KV_ECORRUPT);
        kv_txn_abort(txn);
        kv_db_close(db);
    }
}

/* ---- a private page that is in two places ---- */

/* Until one says that something is wrong. */
static int del_up(kv_tree *tree)
{
    char key[16];
    int rc = KV_OK;
    for (unsigned i = 0; i < ENTRIES && rc >= 0; i++)
        rc = kv_del(tree, key, key_of(i, key));
    return rc;
}

static int del_down(kv_tree *tree)
{
    char key[16];
    int rc = KV_OK;
    for (unsigned i = ENTRIES; i-- > 0 && rc >= 0;)
        rc = kv_del(tree, key, key_of(i, key));
    return rc;
}

static int del_range(kv_tree *tree, unsigned from, unsigned to)
{
    char a[16], b[16];
    kv_range range = {.size = sizeof range, .from = a, .to = b};
    range.from_len = key_of(from, a);
    range.to_len = key_of(to, b);
    return kv_del_range(tree, &range, NULL);
}

static int del_middle(kv_tree *tree)
{
    int rc = del_range(tree, 10, ENTRIES / 2);
    return rc == KV_OK ? del_range(tree, 20, ENTRIES - 10) : rc;
}

static int del_ends(kv_tree *tree)
{
    int rc = del_range(tree, 0, ENTRIES / 3);
    return rc == KV_OK ? del_range(tree, ENTRIES / 2, ENTRIES) : rc;
}

static int put_up(kv_tree *tree)
{
    char key[17];
    int rc = KV_OK;
    for (unsigned i = 0; i < ENTRIES && rc == KV_OK; i++) {
        size_t len = key_of(i, key);
        key[len++] = '+';
        rc = kv_put(tree, key, len, "another value", 13, 0);
    }
    return rc;
}

static int (*const changes[])(kv_tree *) = {del_up,   del_down,      del_middle,
                                            del_ends, kv_tree_clear, put_up};

enum { LARGE = 20000 };

static int put_large(kv_tree *tree, const char *key)
{
    static const char large[LARGE];
    return kv_put(tree, key, strlen(key), large, sizeof large, 0);
}

/* Makes a large value and the pages on the ways to three keys private: their handles are the first. */
static int put_some(kv_tree *tree, const char *value)
{
    static const unsigned some[] = {0, ENTRIES / 2, ENTRIES - 1};
    char key[16];
    int rc = put_large(tree, "key0000000");
    for (size_t i = 0; i < KVI_COUNT(some) && rc == KV_OK; i++)
        rc = kv_put(tree, key, key_of(some[i], key), value, strlen(value), 0);
    return rc;
}

/* savepoints: those that the change comes behind; then all but the first are taken back. */
static int change(kv_txn *txn, int (*fn)(kv_tree *), unsigned savepoints)
{
    kv_tree *tree = kv_txn_main(txn);
    uint32_t points[2];
    int rc = put_some(tree, "first");
    for (unsigned i = 0; i < savepoints && rc == KV_OK; i++) {
        rc = kv_txn_savepoint(txn, &points[i]);
        if (rc == KV_OK)
            rc = put_some(tree, "later");
    }
    if (rc == KV_OK)
        rc = fn(tree);
    if (savepoints > 1 && kv_txn_rollback_to(txn, points[1]) == KV_OK)
        rc = fn(tree);
    if (savepoints > 0 && kv_txn_release(txn, points[0]) == KV_OK)
        rc = put_some(tree, "last");
    return rc;
}

/* Whatever else the check has to say. */
static void expect_used_once(kv_db *db)
{
    char text[300];
    int rc = kv_db_check(db, NULL);
    kv_db_errmsg(db, text, sizeof text);
    assert_true(rc == KV_OK || !(strstr(text, "twice") || strstr(text, "N8")));
}

static void test_private_page_twice(void **state)
{
    dir = *state;
    const char *path = scratch_path(dir, "twice.kv");
    for (unsigned n = 0; n < KVI_COUNT(changes) * 3 * 4 * 9; n++) {
        unsigned handle = n % 9 + 1, slot = n / 9 % 4, points = n / 36 % 3, what = n / 108;
        kv_db *db = make(path);
        forge(db, path, slot < 3 ? (int)slot : LAST, handle);
        kv_txn *txn = must_begin(db, KV_TXN_WRITE);
        int rc = change(txn, changes[what], points);
        assert_true(rc == KV_OK || rc == KV_NOTFOUND || rc == KV_ECORRUPT || rc == KV_EBADTXN);
        rc = kv_txn_commit(txn);
        assert_true(rc == KV_OK || rc == KV_ECORRUPT || rc == KV_EBADTXN);
        if (rc == KV_OK)
            expect_used_once(db);
        kv_db_close(db);
    }
}

/* Leaves that are filled from those behind them. */
static void test_gathered_twice(void **state)
{
    dir = *state;
    const char *path = scratch_path(dir, "gathered.kv");
    char key[16];
    for (unsigned n = 0; n < 3 * 4; n++) {
        kv_db *db = make(path);
        kv_txn *txn = must_begin(db, KV_TXN_WRITE);
        for (unsigned i = 0; i < ENTRIES; i++)
            if (i % 5 < 2)
                assert_int_equal(kv_del(kv_txn_main(txn), key, key_of(i, key)), KV_OK);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        forge(db, path, (int)(n % 3 + 1), n / 3 + 1);
        int rc = kv_db_compact(db, NULL, NULL);
        assert_true(rc == KV_OK || rc == KV_ECORRUPT);
        kv_db_close(db);
    }
}

/* Entries of one length, three of five of which stay. */
static kv_db *make_thinned(const char *path)
{
    char key[16];
    kv_db *db = make(path);
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_tree_clear(kv_txn_main(txn)), KV_OK);
    for (unsigned i = 0; i < ENTRIES; i++) {
        size_t len = key_of(i, key);
        assert_int_equal(kv_put(kv_txn_main(txn), key, len, "same length", 11, 0), KV_OK);
    }
    for (unsigned i = 0; i < ENTRIES; i++)
        if (i % 5 < 2)
            assert_int_equal(kv_del(kv_txn_main(txn), key, key_of(i, key)), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    return db;
}

/* In the leaf of a key, the offset of the first or last entry becomes one that leaves no room for it. */
static void offset_forge(kv_db *db, const char *path, unsigned number, bool last)
{
    static const uint8_t offset[2] = {0xff, 0xff};
    kv_txn *txn = must_begin(db, KV_TXN_READ);
    kvi_path way;
    char key[16];
    bool found;
    for (unsigned i = 0; i < ENTRIES; i++)
        assert_true(kv_exists(kv_txn_main(txn), key, key_of(i, key)) >= 0);
    size_t len = key_of(number, key);
    int rc = kvi_tree_seek(kv_txn_main(txn), kvi_slice_of(key, len), &way, &found);
    assert_int_equal(rc, KV_OK);
    const kvi_step *leaf = kvi_path_leaf(&way);
    unsigned count = kvi_node_count(leaf->page);
    assert_true(kvi_get16(leaf->page + KVI_P_fixed_key));
    assert_true(kvi_get16(leaf->page + KVI_P_fixed_value));
    uint32_t heads =
        KVI_HEADER_SIZE + (kvi_get16(leaf->page + KVI_P_hint_stride) ? KVI_HINT_LINE : 0);
    uint64_t at =
        leaf->ptr.page * db->file.page_size + heads + 4 * count + (last ? 2 * (count - 1) : 0);
    kv_txn_abort(txn);
    int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, offset, sizeof offset, (off_t)at), sizeof offset);
    close(fd);
}

/* Leaves that are not filled from those behind them, since what their pages say now cannot be built. */
static void test_gathered_unbuilt(void **state)
{
    dir = *state;
    const char *path = scratch_path(dir, "unbuilt.kv");
    for (unsigned n = 0; n < 2 * ENTRIES / 100; n++) {
        kv_slice value;
        kv_db *db = make_thinned(path);
        offset_forge(db, path, 100 * (n / 2), n % 2);
        assert_int_equal(kv_db_compact(db, NULL, NULL), KV_OK);
        kv_txn *txn = must_begin(db, KV_TXN_READ);
        assert_int_equal(kv_get(kv_txn_main(txn), "key0002999", 10, &value), KV_OK);
        assert_int_equal(value.len, 11);
        kv_txn_abort(txn);
        kv_db_close(db);
    }
}

/* ---- a private value that is in two places ---- */

/* The entry of a key becomes one of {handle, birth 0}: of a private value. */
static void value_forge(kv_db *db, const char *path, const char *key, uint64_t handle)
{
    kv_txn *txn = must_begin(db, KV_TXN_READ);
    kvi_path way;
    kvi_entry entry;
    bool found;
    uint8_t ref[KVI_LARGE_REF_SIZE];
    int rc = kvi_tree_seek(kv_txn_main(txn), kvi_slice_of(key, strlen(key)), &way, &found);
    assert_true(rc == KV_OK && found);
    kvi_stored stored = kvi_path_stored(kv_txn_main(txn), &way);
    assert_true(kvi_entry_parse(stored, &entry) && (entry.flags & KVI_ENTRY_LARGE));
    entry.large.ptr = (kvi_ptr){handle, 0};
    kvi_large_put(ref, &entry.large);
    int fd = open(path, O_RDWR);
    off_t place = (stored.bytes.ptr - txn->view.map) + (off_t)kvi_entry_ref_at(&entry);
    assert_int_equal(pwrite(fd, ref, sizeof ref, place), sizeof ref);
    close(fd);
    kv_txn_abort(txn);
}

/* A database whose large values "a" and "b" are the first private one. */
static kv_db *make_values(const char *path)
{
    kv_db *db = make(path);
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(put_large(kv_txn_main(txn), "a"), KV_OK);
    assert_int_equal(put_large(kv_txn_main(txn), "b"), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    value_forge(db, path, "a", 1);
    value_forge(db, path, "b", 1);
    return db;
}

static void test_private_value_twice(void **state)
{
    dir = *state;
    for (unsigned points = 0; points < 2; points++) {
        kv_db *db = make_values(scratch_path(dir, "values.kv"));
        kv_txn *txn = must_begin(db, KV_TXN_WRITE);
        kv_tree *tree = kv_txn_main(txn);
        uint32_t point = 0;
        assert_int_equal(put_large(tree, "c"), KV_OK);
        if (points)
            assert_int_equal(kv_txn_savepoint(txn, &point), KV_OK);
        assert_int_equal(kv_del(tree, "a", 1), KV_OK);
        int rc = kv_del(tree, "b", 1);
        assert_int_equal(rc, KV_ECORRUPT);
        assert_int_equal(kv_txn_commit(txn), KV_EBADTXN);
        kv_db_close(db);
    }
}

/* What is replaced is what is being put. */
static void test_value_of_its_own(void **state)
{
    dir = *state;
    kv_db *db = make_values(scratch_path(dir, "own.kv"));
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    void *place = NULL;
    int rc = kv_reserve(kv_txn_main(txn), "a", 1, LARGE, 0, &place);
    if (rc == KV_OK)
        memset(place, 1, LARGE);
    assert_int_equal(rc, KV_ECORRUPT);
    kv_txn_abort(txn);
    kv_db_close(db);
}

/* ---- another page in the place of one that was verified ---- */

/* Overwrites some bytes of the root. */
static void root_change(kv_db *db, const char *path, size_t at, const void *bytes, size_t len)
{
    kv_txn *txn = must_begin(db, KV_TXN_READ);
    kvi_ptr root = kv_txn_main(txn)->desc.root;
    kv_txn_abort(txn);
    int fd = open(path, O_RDWR);
    off_t place = (off_t)(root.page * db->file.page_size + at);
    assert_int_equal(pwrite(fd, bytes, len, place), len);
    close(fd);
}

static void test_other_page(void **state)
{
    dir = *state;
    static const size_t fields[] = {KVI_P_page, KVI_P_birth, KVI_P_level};
    const char *path = scratch_path(dir, "other.kv");
    for (size_t i = 0; i < KVI_COUNT(fields); i++) {
        kv_db *db = make(path);
        kv_txn *txn = must_begin(db, KV_TXN_READ);
        read_all(txn);
        kv_txn_abort(txn);
        root_change(db, path, fields[i], "\x1e", 1);
        txn = must_begin(db, KV_TXN_WRITE);
        int rc = kv_put(kv_txn_main(txn), "key0000000", 10, "other", 5, 0);
        kv_txn_abort(txn);
        kv_db_close(db);
        assert_int_equal(rc, KV_ECORRUPT);
    }
}

/* ---- an entry that fits no page ---- */

/* The leaf's first or last value becomes as long as a page, and there seems to be no gap for more. */
static void stretch(uint8_t *page, uint32_t page_size, bool last)
{
    unsigned count = kvi_node_count(page), slot = last ? count - 1 : 0;
    uint32_t heads = KVI_HEADER_SIZE + KVI_HINT_LINE, end = heads + 6 * count;
    unsigned begin = KVI_P_prefix + 12; /* behind the prefix */
    assert_true(kvi_get16(page + KVI_P_hint_stride) && kvi_get16(page + KVI_P_prefix_len) < 12);
    assert_true(kvi_get16(page + KVI_P_fixed_key) && !kvi_get16(page + KVI_P_fixed_value));
    kvi_put16(page + heads + 4 * count + 2 * slot, (uint16_t)begin);
    kvi_varint_put(page + begin, page_size - begin - 2);
    kvi_put16(page + KVI_P_heap, (uint16_t)(page_size - end));
}

/* Stretches the leaf of a key in the file. */
static void leaf_stretch(kv_db *db, const char *path, const char *key, bool last)
{
    static uint8_t page[KVI_PAGE_MAX];
    kvi_path way;
    bool found;
    kv_txn *txn = must_begin(db, KV_TXN_READ);
    read_all(txn);
    int rc = kvi_tree_seek(kv_txn_main(txn), kvi_slice_of(key, strlen(key)), &way, &found);
    assert_int_equal(rc, KV_OK);
    const kvi_step *leaf = kvi_path_leaf(&way);
    uint32_t size = db->file.page_size;
    assert_true(way.depth > 1 && leaf->slot > 0 && leaf->slot + 1 < kvi_node_count(leaf->page));
    memcpy(page, leaf->page, size);
    stretch(page, size, last);
    int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, page, size, (off_t)(leaf->ptr.page * size)), size);
    close(fd);
    kv_txn_abort(txn);
}

static void test_entry_too_long(void **state)
{
    dir = *state;
    for (unsigned i = 0; i < 4; i++) {
        kv_db *db;
        kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
        const char *path = scratch_path(dir, "long.kv");
        char key[17];
        size_t len = key_of(ENTRIES / 2 + 10, key);
        remove(path);
        assert_int_equal(kv_db_open(path, &options, &db), KV_OK);
        fill(db);
        leaf_stretch(db, path, key, i % 2);
        if (i < 2) /* a newcomer, else a longer value */
            key[len++] = '+';
        kv_txn *txn = must_begin(db, KV_TXN_WRITE);
        int put = kv_put(kv_txn_main(txn), key, len, "another and longer value", 24, 0);
        int committed = kv_txn_commit(txn);
        kv_db_close(db);
        assert_int_equal(put, KV_ECORRUPT);
        assert_int_equal(committed, KV_EBADTXN);
    }
}

/* The only entry becomes as long as its page: with another one it cannot be divided among nodes. */
static void test_only_entry_too_long(void **state)
{
    dir = *state;
    static uint8_t page[KVI_PAGE_MAX];
    kv_db *db;
    kv_slice value;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
    const char *path = scratch_path(dir, "only.kv");
    const uint32_t begin = KVI_P_prefix; /* there is none */
    remove(path);
    assert_int_equal(kv_db_open(path, &options, &db), KV_OK);
    must_put(db, "", "k", "value", 5);
    kv_txn *txn = must_begin(db, KV_TXN_READ);
    assert_int_equal(kv_get(kv_txn_main(txn), "k", 1, &value), KV_OK);
    kvi_ptr root = kv_txn_main(txn)->desc.root;
    uint32_t size = db->file.page_size;
    memcpy(page, kvi_view_page(&txn->view, root.page), size);
    kv_txn_abort(txn);
    assert_int_equal(kvi_get16(page + KVI_P_prefix_len), 0);
    kvi_put16(page + KVI_P_fixed_value, 0);
    kvi_put16(page + KVI_HEADER_SIZE + 4, (uint16_t)begin);
    kvi_varint_put(page + begin, size - begin - 2);
    kvi_put16(page + KVI_P_heap, (uint16_t)(size - KVI_HEADER_SIZE - 6));
    int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, page, size, (off_t)(root.page * size)), size);
    close(fd);
    txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_put(kv_txn_main(txn), "a", 1, "another value", 13, 0), KV_ECORRUPT);
    assert_int_equal(kv_txn_commit(txn), KV_EBADTXN);
    kv_db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forged_private_page), cmocka_unit_test(test_forged_private_page_many),
        cmocka_unit_test(test_private_page_twice),  cmocka_unit_test(test_gathered_twice),
        cmocka_unit_test(test_gathered_unbuilt),    cmocka_unit_test(test_private_value_twice),
        cmocka_unit_test(test_value_of_its_own),    cmocka_unit_test(test_other_page),
        cmocka_unit_test(test_entry_too_long),      cmocka_unit_test(test_only_entry_too_long),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
