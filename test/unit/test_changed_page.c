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

/* In the root, the last child's pointer becomes {page, birth 0}: that of a private page. */
static void forge(kv_db *db, const char *path, uint64_t page)
{
    kv_txn *txn = must_begin(db, KV_TXN_READ);
    kv_slice value;
    char key[16];
    const kvi_view *view = &txn->view;
    kvi_ptr root = kv_txn_main(txn)->desc.root;
    for (unsigned i = 0; i < ENTRIES; i++)
        assert_int_equal(kv_get(kv_txn_main(txn), key, key_of(i, key), &value), KV_OK);
    uint32_t size = 1u << view->page_shift;
    const uint8_t *bytes = view->map + root.page * size, *at = NULL;
    unsigned last = kvi_node_count(bytes);
    assert_true(kvi_node_level(bytes) > 0);
    uint8_t pointer[KVI_PTR_SIZE];
    kvi_ptr_put(pointer, kvi_branch_child(bytes, size, last));
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
        forge(db, path, pages[i]);
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

/* ---- an entry that fits no page ---- */

/* Reads all, so that all pages are verified. */
static void read_all(kv_txn *txn)
{
    kv_slice value;
    char key[16];
    for (unsigned i = 0; i < ENTRIES; i++)
        assert_int_equal(kv_get(kv_txn_main(txn), key, key_of(i, key), &value), KV_OK);
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forged_private_page),
        cmocka_unit_test(test_entry_too_long),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
