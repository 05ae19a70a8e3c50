/* Looking inside a file: kv_inspect's arguments, and every allocation refused once. What an
 * inspection says after a failure is what it would have said without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "dissect.h"
#include "fault_os.h"
#include "scratch.h"
#include "surgeon.h"
#include "victim.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGES_MAX 256

typedef struct sight {
    uint32_t type, state, owner;
    uint64_t slots;
    char problem[8];
} sight;

static victim patient;
static sight truth[PAGES_MAX];
static uint64_t n_pages;

static int count_slot(void *context, const kv_page_slot *slot)
{
    ++*(uint64_t *)context;
    return 0;
}

static int look_at(kv_inspect *look, uint64_t page, sight *seen)
{
    kv_page_info info = {.size = sizeof info};
    memset(seen, 0, sizeof *seen);
    int rc = kvi_dissect_page(look, page, &info);
    if (rc != KV_OK)
        return rc;
    seen->type = info.type;
    seen->state = info.state;
    seen->owner = info.owner;
    snprintf(seen->problem, sizeof seen->problem, "%s", info.problem);
    rc = kvi_dissect_slots(look, page, count_slot, &seen->slots);
    return rc == KV_NOTFOUND ? KV_OK : rc;
}

static int setup(void **state)
{
    kv_inspect *look;
    victim_make(&patient, 4096, 5);
    victim_heal(&patient, patient.size);
    assert_int_equal(kvi_dissect_open(&patient.disk->os, VICTIM_NAME, &look, NULL, 0), KV_OK);
    n_pages = kv_inspect_pages(look);
    assert_in_range(n_pages, 10, PAGES_MAX);
    for (uint64_t page = 0; page < n_pages; page++) {
        assert_int_equal(look_at(look, page, &truth[page]), KV_OK);
        assert_string_equal(truth[page].problem, "");
    }
    kvi_dissect_close(look);
    return 0;
}

static int teardown(void **state)
{
    victim_free(&patient);
    return 0;
}

static void expect_truth(kv_inspect *look)
{
    sight seen;
    for (uint64_t page = 0; page < n_pages; page++) {
        assert_int_equal(look_at(look, page, &seen), KV_OK);
        assert_memory_equal(&seen, &truth[page], sizeof seen);
    }
}

/* True: the plan was met. */
static bool inspect_failing(fault_case plan, int expect)
{
    fault_os fault;
    kv_inspect *look;
    char message[200] = "";
    int rc, failures = 0;
    fault_init(&fault, &patient.disk->os);
    fault_plan(&fault, plan);
    rc = kvi_dissect_open(&fault.os, VICTIM_NAME, &look, message, sizeof message);
    if (rc != KV_OK) {
        assert_int_equal(rc, expect);
        assert_null(look);
    }
    for (uint64_t page = 0; rc == KV_OK && page < n_pages; page++) {
        sight seen;
        int page_rc = look_at(look, page, &seen);
        if (page_rc != KV_OK)
            assert_int_equal(page_rc, expect);
        failures += page_rc != KV_OK;
    }
    bool hit = fault_hit(&fault);
    if (rc == KV_OK) {
        assert_int_equal(failures, hit);
        fault_plan(&fault, (fault_case){0});
        expect_truth(look);
        kvi_dissect_close(look);
    }
    assert_true(fault_balanced(&fault));
    return hit;
}

static void test_no_memory(void **state)
{
    uint64_t n = 1;
    while (inspect_failing((fault_case){.at = n, .mask = FAULT_MEMORY}, KV_ENOMEM))
        n++;
    print_message("%llu allocations refused\n", (unsigned long long)(n - 1));
    assert_true(n > 10);
}

/* One read fails, or all from one on: where it is met, it is told; later all is as before. */
static bool inspect_unreadable(fault_case plan)
{
    fault_os fault;
    kv_inspect *look;
    fault_init(&fault, &patient.disk->os);
    fault_plan(&fault, plan);
    int rc = kvi_dissect_open(&fault.os, VICTIM_NAME, &look, NULL, 0);
    assert_true(rc == KV_OK || rc == KV_EIO || rc == KV_ENOTKV);
    for (uint64_t page = 0; rc == KV_OK && page < n_pages; page++) {
        uint8_t bytes[16];
        size_t got = 0;
        sight seen;
        int one = kv_inspect_bytes(look, page, bytes, sizeof bytes, &got);
        assert_true(one == KV_EIO || (one == KV_OK && got == sizeof bytes));
        one = look_at(look, page, &seen);
        assert_true(one == KV_EIO || one == KV_OK || one == KV_ECORRUPT);
    }
    bool hit = fault_hit(&fault);
    if (rc == KV_OK)
        kvi_dissect_close(look);
    assert_true(fault_balanced(&fault));
    return hit;
}

static void test_unreadable(void **state)
{
    for (int sticky = 0; sticky < 2; sticky++) {
        fault_case plan = {.at = 1, .mask = FAULT_BIT(FAULT_PREAD), .sticky = sticky};
        while (inspect_unreadable(plan))
            plan.at++;
        assert_true(plan.at > n_pages);
    }
}

/* The second meta instead of the one that a close leaves, and what is said of the two. */
static const struct second_meta {
    uint64_t ids, walk; /* newer by so many; bytes that it claims to have written */
    bool proven;        /* it says that it is durable itself */
    bool impossible;
    const char *reasons[2];
} second_metas[] = {
    {0, 0, true, false, {"the same commit", "both metas hold this commit"}},
    {1, 0, false, false, {"older than the other", "all its pages are there"}},
    {1, 0, true, false, {"older than the other", "known durable"}},
    {1, 4096, false, false, {"the newer commit is not whole", "not all that commit"}},
    {0, 0, true, true, {"known durable", "its numbers are impossible"}},
};

static void test_what_metas_are_told(void **state)
{
    for (size_t i = 0; i < KVI_COUNT(second_metas); i++) {
        const struct second_meta *m = &second_metas[i];
        surgeon s;
        kv_inspect *look;
        surgeon_take(&s, patient.image, patient.size);
        kvi_meta meta = s.meta;
        meta.id += m->ids;
        meta.kind = m->proven ? meta.kind : KVI_KIND_DURABLE;
        meta.durable += m->proven ? m->ids : 0;
        meta.seal = meta.walk = m->walk;
        meta.high_water = m->impossible ? 2 : meta.high_water;
        uint8_t *block = s.bytes + kvi_meta_stride(s.page_size);
        kvi_meta_encode(&meta, block);
        sim_put_file(patient.disk, VICTIM_NAME, s.bytes, s.size);
        assert_int_equal(kvi_dissect_open(&patient.disk->os, VICTIM_NAME, &look, NULL, 0), KV_OK);
        bool straight = true, crossed = true; /* which of two like metas is which */
        for (unsigned slot = 0; slot < 2; slot++) {
            kv_meta_info info = {.size = sizeof info};
            assert_int_equal(kv_inspect_meta(look, slot, &info), KV_OK);
            straight = straight && strstr(info.reason, m->reasons[slot]);
            crossed = crossed && m->ids == 0 && strstr(info.reason, m->reasons[1 - slot]);
        }
        assert_true(straight || crossed);
        kvi_dissect_close(look);
        surgeon_free(&s);
    }
    victim_heal(&patient, patient.size);
}

/* The file may be longer than what the commit knows of, and space records lead somewhere, too. */
static int stop_at_once(void *context, const kv_page_slot *slot)
{
    return 1;
}

static void test_beyond_and_stopped(void **state)
{
    kv_inspect *look;
    kv_page_info info = {.size = sizeof info};
    uint8_t *longer = calloc(1, patient.size + 4096);
    uint64_t end = patient.size / 4096;
    memcpy(longer, patient.image, patient.size);
    sim_put_file(patient.disk, VICTIM_NAME, longer, patient.size + 4096);
    free(longer);
    assert_int_equal(kvi_dissect_open(&patient.disk->os, VICTIM_NAME, &look, NULL, 0), KV_OK);
    assert_int_equal(kv_inspect_page(look, end, &info), KV_OK);
    assert_int_equal(info.state, KV_STATE_BEYOND);
    for (uint64_t page = 0; page < end; page++) {
        int rc = kv_inspect_slots(look, page, stop_at_once, NULL);
        assert_int_equal(rc == KV_ECANCELED, truth[page].slots > 0);
    }
    kvi_dissect_close(look);
    victim_heal(&patient, patient.size);
}

static kv_inspect *look_into(const surgeon *s)
{
    kv_inspect *look;
    sim_put_file(patient.disk, VICTIM_NAME, s->bytes, s->size);
    assert_int_equal(kvi_dissect_open(&patient.disk->os, VICTIM_NAME, &look, NULL, 0), KV_OK);
    return look;
}

static kv_page_info page_of(kv_inspect *look, uint64_t page)
{
    kv_page_info info = {.size = sizeof info};
    assert_int_equal(kvi_dissect_page(look, page, &info), KV_OK);
    return info;
}

/* Without the seed nobody can say what a checksum should be, nor that a large value is damaged. */
static void test_without_seed(void **state)
{
    for (int seeded = 1; seeded >= 0; seeded--) {
        surgeon s;
        kvi_pgno leaf;
        uint8_t *stored;
        kvi_entry entry;
        surgeon_take(&s, patient.image, patient.size);
        assert_true(surgeon_find(&s, &s.meta.main, KVI_ENTRY_LARGE, &leaf, &stored, &entry));
        kvi_pgno large = entry.large.ptr.page, root = s.meta.main.root.page;
        surgeon_page(&s, large)[100] ^= 1;
        for (unsigned slot = 0; slot < 2 && !seeded; slot++)
            s.bytes[slot * kvi_meta_stride(s.page_size) + KVI_M_hash_seed] ^= 1;
        kv_inspect *look = look_into(&s);
        kv_page_info info = page_of(look, large);
        assert_int_equal(info.type, KV_PAGE_LARGE);
        assert_string_equal(info.problem, seeded ? "V3" : "");
        info = page_of(look, root);
        assert_string_equal(info.problem, "");
        assert_int_equal(info.right_checksum, seeded ? info.checksum : 0);
        kvi_dissect_close(look);
        surgeon_free(&s);
    }
    victim_heal(&patient, patient.size);
}

/* A broken page that two pointers lead to is one page, and a tree's. */
static void test_broken_twice(void **state)
{
    surgeon s;
    surgeon_take(&s, patient.image, patient.size);
    kvi_pgno branch = surgeon_node(&s, &s.meta.main, 1, 0).page;
    uint8_t *page = surgeon_page(&s, branch);
    kvi_ptr child = kvi_branch_child(page, s.page_size, 0);
    kvi_branch_set_child(page, s.page_size, 1, child);
    surgeon_stamp(&s, branch);
    surgeon_page(&s, child.page)[200] ^= 1;
    kv_inspect *look = look_into(&s);
    kv_page_info info = page_of(look, child.page);
    assert_int_equal(info.state, KV_STATE_USED);
    assert_int_equal(info.owner, KV_OWNER_MAIN);
    assert_string_equal(info.problem, "N9");
    kvi_dissect_close(look);
    surgeon_free(&s);
    victim_heal(&patient, patient.size);
}

/* A large value that claims pages of its own tree: these stay what they are. */
static void test_value_over_nodes(void **state)
{
    surgeon s;
    kvi_pgno leaf;
    uint8_t *stored;
    kvi_entry entry;
    surgeon_take(&s, patient.image, patient.size);
    kvi_pgno root = s.meta.main.root.page;
    assert_true(surgeon_find(&s, &s.meta.main, KVI_ENTRY_LARGE, &leaf, &stored, &entry));
    kvi_pgno free_now = entry.large.ptr.page;
    entry.large.ptr.page = root;
    kvi_large_put(stored + kvi_entry_ref_at(&entry), &entry.large);
    surgeon_stamp(&s, leaf);
    kv_inspect *look = look_into(&s);
    kv_page_info info = page_of(look, root);
    assert_int_equal(info.type, KV_PAGE_BRANCH);
    assert_int_equal(info.state, KV_STATE_USED);
    assert_int_equal(info.owner, KV_OWNER_MAIN);
    assert_string_equal(info.problem, "V3"); /* it is not what the value says */
    info = page_of(look, free_now);
    assert_int_equal(info.owner, KV_OWNER_NONE);
    kvi_dissect_close(look);
    surgeon_free(&s);
    victim_heal(&patient, patient.size);
}

static void expect_problem(const surgeon *s, kvi_pgno page, const char *problem)
{
    kv_inspect *look = look_into(s);
    kv_page_info info = page_of(look, page);
    assert_int_equal(info.state, KV_STATE_USED);
    assert_int_equal(info.owner, KV_OWNER_MAIN);
    assert_int_equal(info.right_checksum, info.checksum);
    assert_string_equal(info.problem, problem);
    kvi_dissect_close(look);
}

/* Pages that are sound by themselves, but not what leads to them means. */
static void test_misplaced(void **state)
{
    surgeon s;
    surgeon_take(&s, patient.image, patient.size);
    kvi_ptr branch = surgeon_node(&s, &s.meta.main, 1, 0);
    kvi_ptr leaf = surgeon_node(&s, &s.meta.main, 0, 0);
    kvi_put64(surgeon_page(&s, leaf.page) + KVI_P_birth, leaf.birth - 1); /* a write was lost */
    surgeon_stamp(&s, leaf.page);
    expect_problem(&s, leaf.page, "N8");
    kvi_branch_set_child(surgeon_page(&s, branch.page), s.page_size, 0, branch);
    surgeon_stamp(&s, branch.page);
    expect_problem(&s, branch.page, "T4");
    surgeon_free(&s);
    victim_heal(&patient, patient.size);
}

/* Pages of the main tree that are in use, and the last one that only the named snapshot needs. */
static uint64_t count_main(kv_inspect *look, uint32_t type, uint64_t *past)
{
    uint64_t n = 0;
    for (uint64_t page = 0; page < n_pages; page++) {
        kv_page_info info = page_of(look, page);
        if (info.type != type)
            continue;
        n += info.state == KV_STATE_USED && info.owner == KV_OWNER_MAIN;
        if (info.state == KV_STATE_DEAD && info.needed)
            *past = page;
        assert_true(info.needed || info.state != KV_STATE_USED);
        assert_true(info.owner == KV_OWNER_NONE || info.state == KV_STATE_USED);
    }
    return n;
}

/* What only a named snapshot leads to is no part of the newest commit, but its damage counts. */
static void test_pages_of_a_snapshot(void **state)
{
    surgeon s;
    uint64_t branch = 0, large = 0, leaf = 0;
    surgeon_take(&s, patient.image, patient.size);
    kv_inspect *look = look_into(&s);
    assert_int_equal(count_main(look, KV_PAGE_BRANCH, &branch), s.meta.main.branch_pages);
    assert_int_equal(count_main(look, KV_PAGE_LARGE, &large), s.meta.main.large_pages);
    assert_int_equal(count_main(look, KV_PAGE_LEAF, &leaf), s.meta.main.leaf_pages);
    assert_true(branch && leaf);
    kvi_dissect_close(look);
    surgeon_page(&s, leaf)[200] ^= 1;
    look = look_into(&s);
    kv_page_info info = page_of(look, leaf);
    assert_int_equal(info.state, KV_STATE_DEAD);
    assert_int_equal(info.needed, 1);
    assert_string_equal(info.problem, "N9");
    kvi_dissect_close(look);
    surgeon_free(&s);
    victim_heal(&patient, patient.size);
}

static int note_slot(void *context, const kv_page_slot *slot)
{
    uint32_t *flags = context;
    if (slot->index < 8)
        flags[slot->index] = slot->flags;
    return 0;
}

/* Of what stands in the catalog, only descriptors are trees. */
static void test_no_descriptors(void **state)
{
    static const uint8_t bytes[KVI_TREE_SIZE] = {KVI_ENTRY_LARGE};
    static const struct {
        size_t len;
        bool special;
    } values[] = {{KVI_TREE_SIZE, true}, {KVI_TREE_SIZE - 1, false}, {KVI_TREE_SIZE, false}};
    for (size_t i = 0; i < KVI_COUNT(values); i++) {
        surgeon s;
        kvi_tree_desc desc;
        kvi_pgno leaf;
        uint32_t flags[8] = {0};
        surgeon_take(&s, patient.image, patient.size);
        uint8_t *first = surgeon_catalog(&s, 0, &leaf, &desc), *room = malloc(s.page_size);
        uint8_t key[KVI_PAGE_MAX];
        size_t len = kvi_node_key(surgeon_page(&s, leaf), s.page_size, 0, key);
        kvi_item item = {
            .key = {key, len}, .value = {bytes, values[i].len}, .special = values[i].special};
        if (i == 2)
            kvi_put48(first + KVI_T_root, s.meta.high_water); /* leads out of the file */
        else
            assert_true(kvi_leaf_replace(surgeon_page(&s, leaf), s.page_size, room, 0, &item));
        surgeon_stamp(&s, leaf);
        free(room);
        kv_inspect *look = look_into(&s);
        assert_string_equal(page_of(look, leaf).problem, "C1");
        assert_int_equal(kvi_dissect_slots(look, leaf, note_slot, flags), KV_OK);
        assert_false(flags[0] & KV_SLOT_TREE);
        assert_true(flags[1] & KV_SLOT_TREE);
        kvi_dissect_close(look);
        surgeon_free(&s);
    }
    victim_heal(&patient, patient.size);
}

/* Space records that lead out of the file, or nowhere: what can be told of other pages is told. */
static void test_records_astray(void **state)
{
    static victim small;
    surgeon sound;
    victim_make(&small, KVI_PAGE_MIN, 5);
    surgeon_take(&sound, small.image, small.size);
    const kvi_meta *meta = &sound.meta;
    const kvi_ptr older[] = {{meta->high_water, 1}, {0, 1}, {meta->log.page, meta->log.birth + 1}};
    for (size_t i = 0; meta->log_pages > 1 && i < KVI_COUNT(older); i++) {
        surgeon s;
        surgeon_take(&s, sound.bytes, sound.size);
        kvi_ptr_put(surgeon_page(&s, meta->log.page) + KVI_G_older, older[i]);
        surgeon_stamp(&s, meta->log.page);
        kv_inspect *look = look_into(&s);
        assert_int_equal(page_of(look, meta->main.root.page).owner, KV_OWNER_MAIN);
        assert_int_equal(page_of(look, meta->log.page).owner, KV_OWNER_SPACE);
        for (kvi_pgno page = 0; page < kv_inspect_pages(look); page++) {
            uint32_t told = page_of(look, page).state;
            assert_true(told == KV_STATE_USED || told == KV_STATE_UNKNOWN);
        }
        kvi_dissect_close(look);
        surgeon_free(&s);
    }
    surgeon_free(&sound);
    victim_free(&small);
    victim_heal(&patient, patient.size);
}

static int count_index(void *context, const kv_page_slot *slot)
{
    uint64_t *n = context;
    assert_int_equal(slot->index, *n);
    ++*n;
    return 0;
}

/* A directory of the map has as many pointers as it says, but never more than a page has room for. */
static void test_slots_of_a_directory(void **state)
{
    const uint32_t fanout = kvi_map_fanout(4096);
    const uint32_t counts[] = {1, fanout - 1, fanout, fanout + 1, UINT16_MAX};
    surgeon s;
    uint64_t end = patient.size / 4096;
    surgeon_take(&s, patient.image, patient.size);
    s.size += 4096;
    s.bytes = realloc(s.bytes, s.size);
    assert_non_null(s.bytes);
    uint8_t *page = memset(surgeon_page(&s, end), 0, 4096);
    page[KVI_P_type] = KVI_MAP_DIR;
    kvi_put64(page + KVI_P_page, end);
    kvi_put64(page + KVI_P_birth, 1);
    for (size_t i = 0; i < KVI_COUNT(counts); i++) {
        uint64_t n = 0;
        kvi_put16(page + KVI_P_count, (uint16_t)counts[i]);
        surgeon_stamp(&s, end);
        kv_inspect *look = look_into(&s);
        assert_int_equal(page_of(look, end).type, KV_PAGE_MAP_DIR);
        assert_int_equal(kvi_dissect_slots(look, end, count_index, &n), KV_OK);
        assert_int_equal(n, KVI_MIN(counts[i], fanout));
        kvi_dissect_close(look);
    }
    surgeon_free(&s);
    victim_heal(&patient, patient.size);
}

/* A damaged meta that is believed for want of a better one says nothing about the length of the file. */
static void test_high_water_of_a_guess(void **state)
{
    surgeon s;
    surgeon_take(&s, patient.image, patient.size);
    s.meta.high_water += 1 << 16;
    for (unsigned slot = 0; slot < 2; slot++) {
        kvi_meta_encode(&s.meta, s.bytes + slot * s.page_size);
        s.bytes[slot * s.page_size + KVI_M_checksum] ^= 1;
    }
    kv_inspect *look = look_into(&s);
    assert_int_equal(kv_inspect_pages(look), s.size / s.page_size);
    assert_int_equal(page_of(look, s.meta.main.root.page).owner, KV_OWNER_MAIN);
    kvi_dissect_close(look);
    surgeon_free(&s);
    victim_heal(&patient, patient.size);
}

/* The name is taken by somebody between the look and the link. */
static void test_choose_is_overtaken(void **state)
{
    fault_os fault;
    kv_inspect *look;
    kvi_os_stat stat;
    fault_init(&fault, &patient.disk->os);
    assert_int_equal(kvi_dissect_open(&fault.os, VICTIM_NAME, &look, NULL, 0), KV_OK);
    fault_plan(&fault, (fault_case){.at = 1, .mask = FAULT_BIT(FAULT_LINK), .error = EEXIST});
    assert_int_equal(kvi_dissect_choose(look, 0, "chosen"), KV_EXISTS);
    fault_plan(&fault, (fault_case){.at = 1, .mask = FAULT_BIT(FAULT_LINK), .error = EACCES});
    assert_int_equal(kvi_dissect_choose(look, 0, "chosen"), KV_EACCESS);
    assert_true(fault.os.stat_path(&fault.os, "chosen", &stat) < 0);
    assert_int_equal(kvi_dissect_choose(look, 0, "chosen"), KV_OK);
    fault.os.unlink(&fault.os, "chosen");
    kvi_dissect_close(look);
    assert_true(fault_balanced(&fault));
}

static scratch dir;
static char path[SCRATCH_MAX], copy[SCRATCH_MAX];

static int folder_setup(void **state)
{
    scratch_make(&dir);
    scratch_path_to(&dir, "db.kv", path);
    scratch_path_to(&dir, "copy.kv", copy);
    return 0;
}

static int folder_teardown(void **state)
{
    scratch_remove(&dir);
    return 0;
}

static kv_inspect *small_file(void)
{
    kv_db *db;
    kv_inspect *look;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
    assert_int_equal(kv_db_open(path, &options, &db), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_int_equal(kv_inspect_open(path, &look, NULL, 0), KV_OK);
    return look;
}

static void test_open_arguments(void **state)
{
    char message[100] = "old";
    kv_inspect *look = (kv_inspect *)&dir;
    assert_int_equal(kv_inspect_open(path, &look, message, sizeof message), KV_ENOENT);
    assert_null(look);
    assert_string_not_equal(message, "");
    assert_int_equal(kv_inspect_open(path, &look, NULL, 0), KV_ENOENT);
    kv_inspect_close(small_file());
    assert_int_equal(kv_inspect_open(NULL, &look, message, sizeof message), KV_EINVAL);
    assert_string_equal(message, "");
    assert_int_equal(kv_inspect_open("", &look, NULL, 0), KV_EINVAL);
    assert_int_equal(kv_inspect_open(path, NULL, NULL, 0), KV_EINVAL);
    kv_inspect_close(NULL);
}

static void test_page_arguments(void **state)
{
    kv_inspect *look = small_file();
    kv_page_info page = {.size = sizeof page};
    uint64_t slots = 0;
    assert_int_equal(kv_inspect_pages(NULL), 0);
    assert_int_equal(kv_inspect_page(NULL, 0, &page), KV_EINVAL);
    assert_int_equal(kv_inspect_page(look, 0, NULL), KV_EINVAL);
    assert_int_equal(kv_inspect_page(look, kv_inspect_pages(look), &page), KV_NOTFOUND);
    page.size--;
    assert_int_equal(kv_inspect_page(look, 0, &page), KV_EINVAL);
    assert_int_equal(kv_inspect_slots(NULL, 0, count_slot, &slots), KV_EINVAL);
    assert_int_equal(kv_inspect_slots(look, 0, NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_inspect_slots(look, 0, count_slot, &slots), KV_NOTFOUND);
    assert_int_equal(slots, 0);
    kv_inspect_close(look);
}

static void test_byte_arguments(void **state)
{
    kv_inspect *look = small_file();
    uint8_t bytes[16];
    size_t got = 0;
    assert_int_equal(kv_inspect_bytes(NULL, 0, bytes, sizeof bytes, &got), KV_EINVAL);
    assert_int_equal(kv_inspect_bytes(look, 0, NULL, sizeof bytes, &got), KV_EINVAL);
    assert_int_equal(kv_inspect_bytes(look, 0, bytes, sizeof bytes, NULL), KV_EINVAL);
    assert_int_equal(kv_inspect_bytes(look, UINT64_MAX, bytes, sizeof bytes, &got), KV_NOTFOUND);
    assert_int_equal(kv_inspect_bytes(look, 0, bytes, sizeof bytes, &got), KV_OK);
    assert_int_equal(got, sizeof bytes);
    kv_inspect_close(look);
}

static void test_meta_arguments(void **state)
{
    kv_inspect *look = small_file();
    kv_meta_info meta = {.size = sizeof meta};
    char message[100] = "old";
    assert_int_equal(kv_inspect_meta(NULL, 0, &meta), KV_EINVAL);
    assert_int_equal(kv_inspect_meta(look, 2, &meta), KV_EINVAL);
    assert_int_equal(kv_inspect_meta(look, 0, NULL), KV_EINVAL);
    meta.size--;
    assert_int_equal(kv_inspect_meta(look, 0, &meta), KV_EINVAL);
    assert_int_equal(kv_inspect_choose(NULL, 0, copy, NULL, 0), KV_EINVAL);
    assert_int_equal(kv_inspect_choose(look, 2, copy, NULL, 0), KV_EINVAL);
    assert_int_equal(kv_inspect_choose(look, 0, NULL, NULL, 0), KV_EINVAL);
    assert_int_equal(kv_inspect_choose(look, 0, "", message, sizeof message), KV_EINVAL);
    assert_string_equal(message, "");
    assert_int_equal(kv_inspect_choose(look, 0, path, NULL, 0), KV_EXISTS);
    assert_int_equal(kv_inspect_choose(look, 0, path, message, sizeof message), KV_EXISTS);
    assert_string_not_equal(message, "");
    kv_inspect_close(look);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_what_metas_are_told),
        cmocka_unit_test(test_beyond_and_stopped),
        cmocka_unit_test(test_without_seed),
        cmocka_unit_test(test_broken_twice),
        cmocka_unit_test(test_value_over_nodes),
        cmocka_unit_test(test_misplaced),
        cmocka_unit_test(test_pages_of_a_snapshot),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_records_astray),
        cmocka_unit_test(test_slots_of_a_directory),
        cmocka_unit_test(test_high_water_of_a_guess),
        cmocka_unit_test(test_choose_is_overtaken),
        cmocka_unit_test_setup_teardown(test_open_arguments, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(test_page_arguments, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(test_byte_arguments, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(test_meta_arguments, folder_setup, folder_teardown),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
