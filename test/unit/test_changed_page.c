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
        assert_int_equal(kv_put(kv_txn_main(txn), key, key_of(i, key), "some value", 10, 0), KV_OK);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forged_private_page),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
