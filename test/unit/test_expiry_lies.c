/* A file whose pages say that something expires earlier than it does, or later: no answer of a read is
 * wrong, a sweep ends, and the check reports it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "sim_os.h"
#include "surgeon.h"
#include <stdio.h>

#define ENTRIES 6000
#define TTL     1000 /* of every second entry; the next one has twice that, or none */

static sim_disk *disk;
static kv_db *db;
static surgeon base;  /* a sound file */
static uint64_t born; /* when its entries were made */

static kv_txn *begin(uint32_t flags)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, flags, &txn), KV_OK);
    return txn;
}

static void open_db(void)
{
    kv_options options = {
        .size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = KVI_PAGE_MIN};
    assert_int_equal(kvi_db_open(sim_os(disk), "db", &options, &db, NULL, 0), KV_OK);
}

static size_t key_of(unsigned i, char key[16])
{
    return (size_t)snprintf(key, 16, "key%06u", i);
}

static uint64_t ttl_of(unsigned i)
{
    return i % 2 == 0 ? TTL : i % 4 == 1 ? 2 * TTL : 0;
}

static void fill(void)
{
    char key[16], value[100] = "";
    kv_txn *txn = begin(KV_TXN_WRITE);
    for (unsigned i = 0; i < ENTRIES; i++) {
        kv_put_options options = {.size = sizeof options, .ttl_ms = ttl_of(i)};
        assert_int_equal(
            kv_put_with(kv_txn_main(txn), key, key_of(i, key), value, sizeof value, &options),
            KV_OK);
    }
    born = kv_txn_now(txn);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* One commit more, so that no seal speaks of the pages that are going to lie. */
static void commit_again(void)
{
    kv_txn *txn = begin(KV_TXN_WRITE);
    kv_tree *tree;
    assert_int_equal(kv_tree_open(txn, "other", 5, KV_TREE_CREATE, NULL, &tree), KV_OK);
    assert_int_equal(kv_put(tree, "k", 1, "v", 1, 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static int setup(void **state)
{
    disk = sim_new(1);
    disk->recording = SIM_RECORD_NOTHING;
    open_db();
    fill();
    commit_again();
    assert_int_equal(kv_db_close(db), KV_OK);
    kvi_slice file = sim_get_file(disk, "db");
    surgeon_take(&base, file.ptr, file.len);
    assert_true(base.meta.main.level >= 2);
    return 0;
}

static int teardown(void **state)
{
    surgeon_free(&base);
    sim_free(disk);
    return 0;
}

/* ---- lies ---- */

enum { OF_THE_TREE = 99 };

/* What is said of the first child of a branch on a level, or of the tree. */
typedef struct lie {
    const char *name;
    unsigned level;
    int64_t says; /* milliseconds from when the entries were made; -1: nothing expires */
} lie;

static const lie lies[] = {
    {"early", 1, 1},       {"early above", 2, 1},       {"early of the tree", OF_THE_TREE, 1},
    {"late", 1, 10 * TTL}, {"late above", 2, 10 * TTL}, {"late of the tree", OF_THE_TREE, 10 * TTL},
    {"never", 1, -1},      {"never above", 2, -1},      {"never of the tree", OF_THE_TREE, -1},
};

/* A file in the place of the sound one, opened so long after that was made; gives the bytes back. */
static void open_forged(surgeon *s, uint64_t age)
{
    sim_reset(disk);
    disk->clock_ms = born + age;
    sim_put_file(disk, "db", s->bytes, s->size);
    surgeon_free(s);
    open_db();
}

static surgeon sound(void)
{
    surgeon s;
    surgeon_take(&s, base.bytes, base.size);
    return s;
}

/* A file that lies, opened when half of the entries have expired, or sooner. */
static void open_lying(const lie *l, uint64_t age)
{
    surgeon s = sound();
    uint64_t says = l->says < 0 ? 0 : born + (uint64_t)l->says;
    if (l->level == OF_THE_TREE) {
        s.meta.main.min_expiry = says;
        surgeon_put_meta(&s);
    } else {
        kvi_pgno page = surgeon_node(&s, &s.meta.main, l->level, 0).page;
        kvi_branch_set_expiry(surgeon_page(&s, page), s.page_size, 0, says);
        surgeon_stamp(&s, page);
    }
    open_forged(&s, age);
}

static int note_problem(void *context, const kv_check_problem *problem)
{
    *(bool *)context |= strcmp(problem->invariant, "T8") == 0;
    return 0;
}

static int stop(void *context, const kv_check_problem *problem)
{
    return 1;
}

static bool check_complains(void)
{
    bool lying = false;
    kv_check_options options = {.size = sizeof options, .problem = note_problem, .context = &lying};
    int rc = kv_db_check(db, &options);
    assert_int_equal(rc, lying ? KV_ECORRUPT : KV_OK);
    options.problem = stop;
    assert_int_equal(kv_db_check(db, &options), lying ? KV_ECANCELED : KV_OK);
    return lying;
}

/* Each entry is there or is not, by key and by cursor. */
static void read_all(uint64_t age)
{
    kv_txn *txn = begin(KV_TXN_READ);
    kv_tree *tree = kv_txn_main(txn);
    kv_cursor *cursor;
    kv_slice found;
    char key[16];
    assert_int_equal(kv_cursor_open(tree, NULL, &cursor), KV_OK);
    for (unsigned i = 0; i < ENTRIES; i++) {
        size_t len = key_of(i, key);
        bool there = ttl_of(i) == 0 || ttl_of(i) > age;
        assert_int_equal(kv_exists(tree, key, len), there ? KV_OK : KV_NOTFOUND);
        if (!there)
            continue;
        assert_int_equal(kv_cursor_next(cursor), KV_OK);
        assert_int_equal(kv_cursor_get(cursor, &found, NULL), KV_OK);
        assert_memory_equal(found.ptr, key, len);
    }
    assert_int_equal(kv_cursor_next(cursor), KV_NOTFOUND);
    kv_txn_abort(txn);
}

static kv_sweep_result sweep(uint64_t max_pages)
{
    kv_sweep_options options = {.size = sizeof options, .max_pages = max_pages};
    kv_sweep_result result = {.size = sizeof result};
    kv_txn *txn = begin(KV_TXN_WRITE);
    assert_int_equal(kv_sweep(kv_txn_main(txn), &options, &result), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    return result;
}

/* Before anything has expired, and when half of it has. */
static void test_reads(void **state)
{
    for (size_t i = 0; i < KVI_COUNT(lies); i++)
        for (uint64_t age = 500; age <= TTL; age += 500) {
            open_lying(&lies[i], age);
            read_all(age);
            assert_true(check_complains());
            assert_int_equal(kv_db_close(db), KV_OK);
        }
}

/* A sweep sets right what is too early: at most, it looked in vain. What is too late it cannot see, and
 * it leaves that alone as often as it is called. */
static void test_sweeps(void **state)
{
    for (size_t i = 0; i < KVI_COUNT(lies); i++) {
        bool early = lies[i].says == 1;
        for (uint64_t age = 500; age <= TTL; age += 500) {
            uint64_t expired = age < TTL ? 0 : ENTRIES / 2;
            open_lying(&lies[i], age);
            kv_sweep_result result = sweep(0);
            assert_true(result.done);
            assert_true(early ? result.removed == expired : result.removed <= expired);
            assert_int_equal(sweep(0).removed, 0);
            assert_true(!early || age < TTL || !check_complains());
            read_all(age);
            assert_int_equal(kv_db_close(db), KV_OK);
        }
    }
}

/* Little by little, as commits do it: each sweep gets on, or there is nothing left to do. */
static void test_small_sweeps(void **state)
{
    for (size_t i = 0; i < KVI_COUNT(lies); i++) {
        open_lying(&lies[i], TTL);
        unsigned sweeps = 0;
        while (!sweep(4).done)
            assert_in_range(++sweeps, 1, ENTRIES);
        read_all(TTL);
        assert_int_equal(kv_db_close(db), KV_OK);
    }
}

/* Puts and removals below a lie do not spread it: after all was changed, it is gone. */
static void test_changes(void **state)
{
    for (size_t i = 0; i < KVI_COUNT(lies); i++) {
        char key[16];
        open_lying(&lies[i], TTL);
        kv_txn *txn = begin(KV_TXN_WRITE);
        for (unsigned k = 0; k < ENTRIES; k++)
            assert_int_equal(kv_put(kv_txn_main(txn), key, key_of(k, key), "new", 3, 0), KV_OK);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
        assert_false(check_complains());
        assert_int_equal(kv_db_close(db), KV_OK);
    }
}

/* ---- numbers ---- */

/* More entries than there are, in the tree or below the last child of a branch: behind those that are
 * there is nothing, or a contradiction. */
static void test_tallies(void **state)
{
    for (unsigned level = 1; level <= 3; level++) {
        surgeon s = sound();
        if (level < 3) {
            kvi_pgno page = surgeon_node(&s, &s.meta.main, level, 0).page;
            unsigned last = kvi_node_count(surgeon_page(&s, page));
            uint64_t tally = kvi_branch_tally(surgeon_page(&s, page), s.page_size, last);
            kvi_branch_set_tally(surgeon_page(&s, page), s.page_size, last, tally + 7);
            surgeon_stamp(&s, page);
        }
        s.meta.main.entries += 7;
        surgeon_put_meta(&s);
        open_forged(&s, TTL);
        kv_txn *txn = begin(KV_TXN_READ);
        for (unsigned n = ENTRIES / 2 - 20; n < ENTRIES / 2 + 20; n++) {
            kv_pair pair;
            int rc = kv_nth(kv_txn_main(txn), NULL, n, &pair);
            bool told = rc == KV_NOTFOUND || rc == KV_ECORRUPT;
            assert_true(n < ENTRIES / 2 - 7 ? rc == KV_OK
                                            : told || (rc == KV_OK && n < ENTRIES / 2));
        }
        kv_txn_abort(txn);
        assert_int_equal(kv_db_close(db), KV_OK);
    }
}

/* A file of nothing but the way to its first leaf, which has expired, and all children are the first
 * one: who counts does not go on for ever. */
static void repeat_children(surgeon *s)
{
    kvi_pgno page = kvi_first_page(s->page_size);
    kvi_ptr child = {0, 0};
    for (unsigned level = 0; level <= base.meta.main.level; level++, page++) {
        uint8_t *bytes = surgeon_page(s, page);
        kvi_ptr node = surgeon_node(&base, &base.meta.main, level, 0);
        memcpy(bytes, surgeon_page(&base, node.page), s->page_size);
        kvi_put64(bytes + KVI_P_page, page);
        for (unsigned i = 0; level > 0 && i <= kvi_node_count(bytes); i++) {
            kvi_branch_set_child(bytes, s->page_size, i, child);
            kvi_branch_set_expiry(bytes, s->page_size, i, born + 1);
        }
        surgeon_stamp(s, page);
        child = (kvi_ptr){page, node.birth};
    }
    s->meta.main.root = child;
    s->meta.high_water = page;
    s->meta.catalog = (kvi_tree_desc){.level = 0};
    s->meta.log = s->meta.map = s->meta.blocked = (kvi_ptr){0, 0};
    s->meta.log_pages = s->meta.blocked_pages = s->meta.delta_len = 0;
    s->meta.map_levels = 0;
    surgeon_put_meta(s);
}

static void test_pages_used_again(void **state)
{
    uint64_t n;
    surgeon s = sound();
    repeat_children(&s);
    open_forged(&s, TTL);
    kv_txn *txn = begin(KV_TXN_READ);
    assert_int_equal(kv_count(kv_txn_main(txn), NULL, &n), KV_ECORRUPT);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* A tree without entries, some of which have expired. */
static void test_nothing_expires(void **state)
{
    uint64_t n = 1;
    surgeon s = sound();
    s.meta.main = (kvi_tree_desc){.flags = KVI_TREE_EXPIRY, .min_expiry = born};
    surgeon_put_meta(&s);
    open_forged(&s, TTL);
    kv_txn *txn = begin(KV_TXN_READ);
    assert_int_equal(kv_rank(kv_txn_main(txn), "key", 3, &n), KV_OK);
    assert_int_equal(n, 0);
    assert_int_equal(kv_count(kv_txn_main(txn), NULL, &n), KV_OK);
    assert_int_equal(n, 0);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* An entry so long that its expiry has no room beside it: kv writes none, and changes none. */
static void test_entry_without_room(void **state)
{
    static uint8_t bytes[KVI_PAGE_MIN], room[KVI_PAGE_MIN];
    surgeon s;
    disk->os.unlink(&disk->os, "db");
    open_db();
    kv_txn *txn = begin(KV_TXN_WRITE);
    assert_int_equal(kv_put(kv_txn_main(txn), "k", 1, "v", 1, 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    commit_again();
    assert_int_equal(kv_db_close(db), KV_OK);
    kvi_slice file = sim_get_file(disk, "db");
    surgeon_take(&s, file.ptr, file.len);
    kvi_pgno leaf = s.meta.main.root.page;
    kvi_item item = {.key = kvi_slice_of("k", 1), .value = {bytes, kvi_leaf_max(KVI_PAGE_MIN) - 1}};
    assert_true(kvi_leaf_replace(surgeon_page(&s, leaf), s.page_size, room, 0, &item));
    surgeon_stamp(&s, leaf);
    sim_put_file(disk, "db", s.bytes, s.size);
    surgeon_free(&s);
    open_db();
    txn = begin(KV_TXN_WRITE);
    kv_slice value;
    assert_int_equal(kv_get(kv_txn_main(txn), "k", 1, &value), KV_OK);
    assert_int_equal(value.len, item.value.len);
    assert_int_equal(kv_expire(kv_txn_main(txn), "k", 1, 1000), KV_ECORRUPT);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    sim_put_file(disk, "db", base.bytes, base.size);
}

/* A tree without a root whose descriptor says that something in it has expired. */
static void test_nothing_is_there(void **state)
{
    surgeon s;
    kv_sweep_result swept = {.size = sizeof swept};
    sim_reset(disk);
    open_db();
    assert_int_equal(kv_db_close(db), KV_OK);
    kvi_slice file = sim_get_file(disk, "db");
    surgeon_take(&s, file.ptr, file.len);
    s.meta.main = (kvi_tree_desc){.flags = KVI_TREE_EXPIRY, .min_expiry = 1};
    surgeon_put_meta(&s);
    sim_put_file(disk, "db", s.bytes, s.size);
    surgeon_free(&s);
    disk->clock_ms += 1000;
    open_db();
    kv_txn *txn = begin(KV_TXN_WRITE);
    assert_int_equal(kv_txn_main(txn)->desc.min_expiry, 1);
    assert_int_equal(kv_sweep(kv_txn_main(txn), NULL, &swept), KV_OK);
    assert_int_equal(swept.removed, 0);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_sweeps),
        cmocka_unit_test(test_small_sweeps),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_tallies),
        cmocka_unit_test(test_pages_used_again),
        cmocka_unit_test(test_nothing_expires),
        cmocka_unit_test(test_nothing_is_there),
        cmocka_unit_test(test_entry_without_room),
    };
    return cmocka_run_group_tests_name("expiry_lies", tests, setup, teardown);
}
