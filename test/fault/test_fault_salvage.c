/* Salvage and inspection of files with damage of every kind, while a system call or an allocation
 * fails: an error or a sound result, everything given back, nothing half made left, and the damaged
 * file as it was.
 *
 * FAULT_RUNS=n: about n runs of each plan for each kind of damage, 0 for all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "fault_os.h"
#include "surgeon.h"
#include "victim.h"
#include <errno.h>
#include <stdlib.h>

#ifdef KVI_STRESS /* more calls for the same file */
#define RUNS 5
#else
#define RUNS 10
#endif

static victim patient;
static surgeon sound, image;
static fault_os fault;
static uint64_t runs = RUNS;

static int setup(void **state)
{
    const char *text = getenv("FAULT_RUNS");
    victim_make(&patient, KVI_PAGE_MIN, 5);
    surgeon_take(&sound, patient.image, patient.size);
    if (text)
        runs = strtoull(text, NULL, 0);
    return 0;
}

static int teardown(void **state)
{
    victim_free(&patient);
    surgeon_free(&sound);
    return 0;
}

/* ---- damage ---- */

static void ruin(kvi_pgno page)
{
    memset(surgeon_page(&image, page) + 40, 0x5a, 200);
}

static void ruin_metas(void)
{
    memset(image.bytes + 100, 0x5a, 30);
    memset(image.bytes + kvi_meta_stride(image.page_size) + 100, 0x5a, 30);
}

static void no_damage(void)
{
}

static void one_meta(void)
{
    memset(image.bytes + 100, 0x5a, 30);
}

/* Salvage guesses the commit. */
static void both_metas(void)
{
    ruin_metas();
}

static void root(void)
{
    ruin(image.meta.main.root.page);
}

static void root_and_metas(void)
{
    root();
    ruin_metas();
}

static void leaf(void)
{
    ruin(surgeon_node(&image, &image.meta.main, 0, 1).page);
}

static void branch(void)
{
    if (image.meta.main.level > 1)
        ruin(surgeon_node(&image, &image.meta.main, 1, 1).page);
    else
        root();
}

static void catalog(void)
{
    ruin(image.meta.catalog.root.page);
}

static void catalog_and_metas(void)
{
    catalog();
    ruin_metas();
}

static void named_tree(void)
{
    kvi_tree_desc desc;
    kvi_pgno at;
    surgeon_catalog(&image, 1, &at, &desc);
    ruin(desc.root.page);
}

/* A descriptor that leads nowhere, behind right checksums. */
static void forged_tree(void)
{
    kvi_tree_desc desc;
    kvi_pgno at;
    uint8_t *bytes = surgeon_catalog(&image, 1, &at, &desc);
    desc.root = surgeon_node(&image, &image.meta.main, 0, 0);
    kvi_tree_desc_encode(&desc, bytes);
    surgeon_stamp(&image, at);
}

static void large_value(void)
{
    kvi_pgno at;
    kvi_entry entry;
    uint8_t *stored;
    if (surgeon_find(&image, &image.meta.main, KVI_ENTRY_LARGE, &at, &stored, &entry))
        ruin(entry.large.ptr.page);
}

static void packed_value(void)
{
    kvi_tree_desc desc;
    kvi_pgno at;
    kvi_entry entry;
    uint8_t *stored;
    surgeon_catalog(&image, 0, &at, &desc);
    if (surgeon_find(&image, &desc, KVI_ENTRY_LARGE | KVI_ENTRY_COMPRESSED, &at, &stored, &entry))
        ruin(entry.large.ptr.page + 1);
}

static void space_records(void)
{
    for (kvi_pgno page = kvi_first_page(image.page_size); page < image.meta.high_water; page++) {
        uint8_t type = surgeon_page(&image, page)[KVI_P_type];
        if (type != KVI_LEAF && type != KVI_BRANCH &&
            kvi_get64(surgeon_page(&image, page) + KVI_P_page) == page)
            ruin(page);
    }
}

static void space_and_leaf(void)
{
    space_records();
    leaf();
    root();
}

/* The node claims to be its own child. */
static void cycle(void)
{
    kvi_ptr at = surgeon_node(&image, &image.meta.main, 1, 0);
    uint8_t *page = surgeon_page(&image, at.page);
    kvi_branch_set_child(page, image.page_size, 0, at);
    surgeon_stamp(&image, at.page);
}

static void shared(void)
{
    kvi_ptr at = surgeon_node(&image, &image.meta.main, 1, 0);
    uint8_t *page = surgeon_page(&image, at.page);
    kvi_branch_set_child(page, image.page_size, 1, kvi_branch_child(page, image.page_size, 0));
    surgeon_stamp(&image, at.page);
}

/* Each is found in the place of the other. */
static void changed_places(void)
{
    uint8_t *a = surgeon_page(&image, surgeon_node(&image, &image.meta.main, 0, 0).page);
    uint8_t *b = surgeon_page(&image, image.meta.main.root.page);
    for (uint32_t i = 0; i < image.page_size; i++) {
        uint8_t byte = a[i];
        a[i] = b[i];
        b[i] = byte;
    }
}

static void cut(void)
{
    image.size = image.size / 2 / image.page_size * image.page_size;
}

static void every_third(void)
{
    for (kvi_pgno page = kvi_first_page(image.page_size); page < image.meta.high_water; page += 3)
        ruin(page);
}

static void every_second_and_metas(void)
{
    for (kvi_pgno page = kvi_first_page(image.page_size); page < image.meta.high_water; page += 2)
        ruin(page);
    ruin_metas();
}

static const struct damage {
    const char *name;
    void (*make)(void);
} damages[] = {
    {"none", no_damage},
    {"one meta", one_meta},
    {"both metas", both_metas},
    {"root", root},
    {"root and metas", root_and_metas},
    {"leaf", leaf},
    {"branch", branch},
    {"catalog", catalog},
    {"catalog and metas", catalog_and_metas},
    {"a named tree", named_tree},
    {"a forged tree", forged_tree},
    {"a large value", large_value},
    {"a compressed value", packed_value},
    {"space records", space_records},
    {"space records, root, leaf", space_and_leaf},
    {"a cycle", cycle},
    {"a shared leaf", shared},
    {"pages changed places", changed_places},
    {"half of the file", cut},
    {"every third page", every_third},
    {"every second page and the metas", every_second_and_metas},
};

/* ---- runs ---- */

static const struct damage *kind;

static void lay(void)
{
    sim_reset(patient.disk);
    sim_put_file(patient.disk, VICTIM_NAME, image.bytes, image.size);
}

static int salvage(const kvi_os *os)
{
    return victim_salvage(&patient, os);
}

/* One run; false: the plan did not come true. */
static bool run_with(int (*operation)(const kvi_os *os), fault_case plan)
{
    char text[200];
    lay();
    fault_init(&fault, sim_os(patient.disk));
    fault_plan(&fault, plan);
    int rc = operation(&fault.os);
    bool hit = fault_hit(&fault);
    fault_describe(&fault, text, sizeof text);
    if (!fault_balanced(&fault) || sim_open_handles(patient.disk) != 0)
        fail_msg("%s: %s: something was not given back (%d)", kind->name, text, rc);
    if (rc == KV_ENOMEM &&
        !(fault.failed[FAULT_ALLOC] || fault.failed[FAULT_REALLOC] || fault.failed[FAULT_RESERVE]))
        fail_msg("%s: %s: no memory", kind->name, text);
    bool names_known = fault.failed[FAULT_UNLINK] == 0 && fault.failed[FAULT_LINK] == 0 &&
                       fault.failed[FAULT_OPEN] == 0;
    if (names_known && patient.disk->n_names > (rc == KV_OK ? 2 : 1))
        fail_msg("%s: %s: %d names are left (%d)", kind->name, text, patient.disk->n_names, rc);
    kvi_slice file = sim_get_file(patient.disk, VICTIM_NAME);
    assert_int_equal(file.len, image.size);
    assert_memory_equal(file.ptr, image.bytes, image.size);
    return hit;
}

static uint64_t fail_each(int (*operation)(const kvi_os *os), fault_case plan)
{
    uint64_t step = 1, n = 0;
    plan.at = UINT64_MAX; /* none: how many calls are there? */
    run_with(operation, plan);
    if (runs && fault.counted > runs)
        step = fault.counted / runs + 1;
    for (plan.at = 1; run_with(operation, plan);
         plan.at += rng_below(&patient.disk->random, step) + 1)
        n++;
    return n;
}

static void fail_all(int (*operation)(const kvi_os *os))
{
    static const fault_case plans[] = {
        {.mask = FAULT_MEMORY, .mode = FAULT_ERROR, .error = ENOMEM},
        {.mask = FAULT_SYSTEM, .mode = FAULT_ERROR, .error = EIO},
        {.mask = FAULT_SYSTEM, .mode = FAULT_LATE, .error = ENOSPC},
        {.mask = FAULT_SYSTEM, .mode = FAULT_ERROR, .error = EIO, .sticky = true},
        {.mask = FAULT_DATA, .mode = FAULT_SHORT},
    };
    uint64_t n = 0;
    for (kind = damages; kind < damages + KVI_COUNT(damages); kind++) {
        surgeon_take(&image, sound.bytes, sound.size);
        kind->make();
        for (size_t i = 0; i < KVI_COUNT(plans); i++)
            n += fail_each(operation, plans[i]);
        surgeon_free(&image);
    }
    print_message("%llu faults\n", (unsigned long long)n);
    assert_true(n > KVI_COUNT(damages) * (runs ? KVI_MIN(runs, (uint64_t)50) : 50));
}

static void test_salvage(void **state)
{
    fail_all(salvage);
}

static void test_dissect(void **state)
{
    fail_all(victim_dissect);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_salvage),
        cmocka_unit_test(test_dissect),
    };
    return cmocka_run_group_tests_name("faults in salvage", tests, setup, teardown);
}
