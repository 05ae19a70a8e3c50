/* kv_inspect of sound files: its arguments, and pages counted as the trees count them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "patient.h"

static patient small, tall;

static int make_all(void **state)
{
    patient_folder_make();
    patient_make(&small, 4096, patient_small);
    patient_make(&tall, 4096, patient_tall);
    return 0;
}

static int free_all(void **state)
{
    patient_free(&small);
    patient_free(&tall);
    patient_folder_remove();
    return 0;
}

static int slot_stop(void *context, const kv_page_slot *slot)
{
    return 1;
}

static void test_inspect_arguments(void **state)
{
    kv_inspect *look;
    kv_page_info page = {.size = sizeof page};
    kv_meta_info meta = {.size = sizeof meta};
    char message[200];
    size_t got;
    uint8_t bytes[8];
    surgeon_save(&small.file, patient_path);
    assert_int_equal(kv_inspect_open(NULL, &look, NULL, 0), KV_EINVAL);
    assert_int_equal(kv_inspect_open("/nowhere", &look, message, sizeof message), KV_ENOENT);
    assert_null(look);
    assert_true(strlen(message) > 5);
    assert_int_equal(kv_inspect_open(patient_path, &look, message, sizeof message), KV_OK);
    assert_int_equal(kv_inspect_meta(look, 2, &meta), KV_EINVAL);
    assert_int_equal(kv_inspect_meta(look, 0, &meta), KV_OK);
    assert_int_equal(meta.id, small.file.meta.id);
    assert_int_equal(kv_inspect_pages(look), small.file.meta.high_water);
    assert_int_equal(kv_inspect_page(look, kv_inspect_pages(look), &page), KV_NOTFOUND);
    page.size = 4;
    assert_int_equal(kv_inspect_page(look, 2, &page), KV_EINVAL);
    assert_int_equal(kv_inspect_bytes(look, 1u << 30, bytes, 8, &got), KV_NOTFOUND);
    assert_int_equal(kv_inspect_bytes(look, 0, bytes, 8, &got), KV_OK);
    assert_memory_equal(bytes, small.file.bytes, 8);
    uint64_t root = small.file.meta.main.root.page;
    assert_int_equal(kv_inspect_slots(look, root, slot_stop, NULL), KV_ECANCELED);
    assert_int_equal(kv_inspect_slots(look, 0, slot_stop, NULL), KV_NOTFOUND);
    assert_int_equal(kv_inspect_choose(look, 0, patient_path, message, sizeof message), KV_EXISTS);
    kv_inspect_close(look);
    kv_inspect_close(NULL);
}

/* Pages by use, as the trees count them. */
static void test_inspect_counts(void **state)
{
    kv_inspect *look;
    uint64_t leaves = 0, branches = 0, large = 0;
    surgeon_save(&tall.file, patient_path);
    assert_int_equal(kv_inspect_open(patient_path, &look, NULL, 0), KV_OK);
    for (uint64_t n = 0; n < kv_inspect_pages(look); n++) {
        kv_page_info page = {.size = sizeof page};
        assert_int_equal(kv_inspect_page(look, n, &page), KV_OK);
        assert_int_not_equal(page.state, KV_STATE_LEAKED);
        if (page.owner != KV_OWNER_MAIN)
            continue;
        leaves += page.type == KV_PAGE_LEAF;
        branches += page.type == KV_PAGE_BRANCH;
        large += page.type == KV_PAGE_LARGE;
    }
    kv_inspect_close(look);
    assert_int_equal(leaves, tall.file.meta.main.leaf_pages);
    assert_int_equal(branches, tall.file.meta.main.branch_pages);
    assert_int_equal(large, tall.file.meta.main.large_pages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inspect_arguments),
        cmocka_unit_test(test_inspect_counts),
    };
    return cmocka_run_group_tests(tests, make_all, free_all);
}
