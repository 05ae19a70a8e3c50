/* Repair: what an ordinary open refuses or leaves alone is put right; what cannot be read leaves
 * the file as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "fault_os.h"
#include "must.h"
#include "scratch.h"
#include "sim_os.h"
#include "surgeon.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define ENTRIES 2000
#define COMMITS 600 /* enough for the space records to leave the meta */
#define NAME    "victim.kv"

static sim_disk *disk;
static surgeon sound;
static char said[8192];

/* ---- building ---- */

static void put(kv_tree *tree, unsigned number, const void *value, size_t len)
{
    char key[32];
    int n = snprintf(key, sizeof key, "key%06u", number);
    assert_int_equal(kv_put(tree, key, (size_t)n, value, len, 0), KV_OK);
}

static kv_db *open_victim(uint32_t flags)
{
    kv_db *db;
    char message[320];
    kv_options options = {.size = sizeof options, .flags = flags, .durability = KV_LAZY};
    int rc = kvi_db_open(sim_os(disk), NAME, &options, &db, message, sizeof message);
    if (rc != KV_OK)
        fail_msg("open: %d, %s", rc, message);
    return db;
}

static void commit_one(kv_db *db, unsigned number, size_t len)
{
    static const uint8_t value[9000] = {1, 2, 3};
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    put(kv_txn_main(txn), number, value, len);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* An old reader is there for most of it, so that pages are blocked. */
static void build(kv_db *db)
{
    kv_txn *txn, *reader;
    kv_tree *tree;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    for (unsigned i = 0; i < ENTRIES; i++)
        put(kv_txn_main(txn), i, &i, sizeof i);
    assert_int_equal(kv_tree_open(txn, "other", 5, KV_TREE_CREATE, NULL, &tree), KV_OK);
    put(tree, 1, "other", 5);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &reader), KV_OK);
    for (unsigned i = 0; i < COMMITS; i++)
        commit_one(db, i * 37 % ENTRIES, i % 50 ? i % 300 : 9000);
    kv_txn_abort(reader);
}

static int setup(void **state)
{
    disk = sim_new(3);
    kv_db *db = open_victim(KV_OPEN_CREATE);
    build(db);
    assert_int_equal(kv_db_close(db), KV_OK);
    kvi_slice file = sim_get_file(disk, NAME);
    surgeon_take(&sound, file.ptr, file.len);
    return 0;
}

static int teardown(void **state)
{
    surgeon_free(&sound);
    sim_free(disk);
    return 0;
}

/* ---- operating ---- */

static surgeon patient(void)
{
    surgeon s;
    surgeon_take(&s, sound.bytes, sound.size);
    return s;
}

/* Puts the patient's bytes on the disk; they stay with s for comparison. */
static void operated(const surgeon *s)
{
    sim_reset(disk);
    sim_put_file(disk, NAME, s->bytes, s->size);
    sim_forget(disk);
}

static void unchanged(surgeon *s)
{
    kvi_slice file = sim_get_file(disk, NAME);
    assert_int_equal(file.len, s->size);
    assert_memory_equal(file.ptr, s->bytes, s->size);
    surgeon_free(s);
}

static void on_sentence(void *context, const char *sentence)
{
    size_t used = strlen(said);
    assert_true(strlen(sentence) > 5);
    snprintf(said + used, sizeof said - used, "%s\n", sentence);
}

static int repair(void)
{
    said[0] = 0;
    int rc = kvi_db_repair(sim_os(disk), NAME, 0, on_sentence, NULL);
    assert_int_equal(sim_open_handles(disk), 0);
    return rc;
}

static void repair_succeeds(void)
{
    int rc = repair();
    if (rc != KV_OK)
        fail_msg("repair: %d\n%s", rc, said);
}

/* The entries are those of the sound file, number by number. */
static void contents_right(kv_db *db)
{
    kv_txn *txn;
    kv_tree *tree;
    kv_slice value;
    uint64_t n;
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    assert_int_equal(kv_count(kv_txn_main(txn), NULL, &n), KV_OK);
    assert_int_equal(n, ENTRIES);
    for (unsigned i = 0; i < COMMITS; i++) {
        char key[32];
        unsigned number = i * 37 % ENTRIES;
        int len = snprintf(key, sizeof key, "key%06u", number);
        assert_int_equal(kv_get(kv_txn_main(txn), key, (size_t)len, &value), KV_OK);
        assert_int_equal(value.len, i % 50 ? i % 300 : 9000);
    }
    assert_int_equal(kv_tree_open(txn, "other", 5, 0, NULL, &tree), KV_OK);
    assert_int_equal(kv_get(tree, "key000001", 9, &value), KV_OK);
    assert_memory_equal(value.ptr, "other", 5);
    kv_txn_abort(txn);
}

static void victim_is_well(void)
{
    kv_db *db = open_victim(KV_OPEN_READONLY);
    must_be_sound(db);
    contents_right(db);
    assert_int_equal(kv_db_close(db), KV_OK);
    db = open_victim(0);
    for (unsigned i = 0; i < 100; i++)
        commit_one(db, i, i);
    must_be_sound(db);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* ---- what can be put right ---- */

static void test_sound_file(void **state)
{
    surgeon s = patient();
    operated(&s);
    surgeon_free(&s);
    repair_succeeds();
    kvi_slice file = sim_get_file(disk, NAME);
    kvi_meta metas[2];
    for (unsigned slot = 0; slot < 2; slot++) {
        const uint8_t *block = file.ptr + slot * kvi_meta_stride(sound.page_size);
        assert_int_equal(kvi_meta_decode(block, &metas[slot]), KVI_META_VALID);
        assert_true(metas[slot].id > sound.meta.id);
        assert_int_equal(metas[slot].durable, metas[slot].id);
    }
    assert_int_equal(metas[0].id, metas[1].id);
    assert_memory_equal(metas[0].file_id, metas[1].file_id, sizeof metas[0].file_id);
    /* no backup leads on from what copies may have of it */
    assert_memory_not_equal(metas[0].file_id, sound.meta.file_id, sizeof metas[0].file_id);
    uint32_t *pending = malloc(disk->n_events * sizeof *pending);
    assert_int_equal(sim_pending(disk, 0, disk->n_events, pending), 0); /* durable */
    free(pending);
    assert_non_null(strstr(said, "can be read"));
    victim_is_well();
}

static void space_page_damaged(kvi_ptr ptr)
{
    surgeon s = patient();
    assert_int_not_equal(ptr.page, 0); /* the sound file has such records */
    surgeon_page(&s, ptr.page)[100] ^= 1;
    operated(&s);
    surgeon_free(&s);
    kv_db *db = open_victim(0);
    assert_int_equal(kv_db_check(db, NULL), KV_ECORRUPT);
    assert_int_equal(kv_db_compact(db, NULL, NULL), KV_ECORRUPT); /* it knows of no free page */
    assert_int_equal(kv_db_close(db), KV_OK);
    repair_succeeds();
    assert_non_null(strstr(said, "damaged"));
    victim_is_well();
}

static void test_space_blocked(void **state)
{
    space_page_damaged(sound.meta.blocked);
}

static void test_space_map(void **state)
{
    space_page_damaged(sound.meta.map);
}

/* Also after the damaged records were written on for a while. */
static void test_space_unknown_for_a_while(void **state)
{
    surgeon s = patient();
    surgeon_page(&s, s.meta.map.page)[100] ^= 1;
    operated(&s);
    surgeon_free(&s);
    kv_db *db = open_victim(0);
    for (unsigned i = 0; i < 30; i++)
        commit_one(db, i * 37 % ENTRIES, i % 50 ? i % 300 : 9000);
    contents_right(db);
    assert_int_equal(kv_db_close(db), KV_OK);
    repair_succeeds();
    victim_is_well();
}

static void test_leaked_page(void **state)
{
    surgeon s = patient();
    s.meta.high_water++;
    s.size = (size_t)s.meta.high_water * s.page_size;
    s.bytes = realloc(s.bytes, s.size);
    assert_non_null(s.bytes);
    memset(surgeon_page(&s, s.meta.high_water - 1), 0, s.page_size);
    surgeon_put_meta(&s);
    operated(&s);
    surgeon_free(&s);
    repair_succeeds();
    victim_is_well();
}

/* Does this slot hold the newest commit, and the other one an older? */
static bool only_newest(const surgeon *s, unsigned slot)
{
    kvi_meta other;
    const uint8_t *block = s->bytes + (slot ^ 1) * kvi_meta_stride(s->page_size);
    return kvi_meta_decode(block, &other) != KVI_META_VALID || other.id < s->meta.id;
}

static void test_one_meta(void **state)
{
    for (unsigned slot = 0; slot < 2; slot++) {
        surgeon s = patient();
        if (only_newest(&s, slot)) {
            surgeon_free(&s);
            continue;
        }
        s.bytes[slot * kvi_meta_stride(s.page_size) + 300] ^= 1;
        operated(&s);
        surgeon_free(&s);
        repair_succeeds();
        assert_non_null(strstr(said, slot ? "meta page 1" : "meta page 0"));
        victim_is_well();
    }
}

/* A newest commit that is not whole, and beside it not the one before it: an open refuses. */
static void test_no_commit_by_the_rules(void **state)
{
    surgeon s = patient();
    kvi_meta wrong = s.meta;
    wrong.id++;
    wrong.durable = s.meta.id - 1;
    wrong.seal = 12345;
    wrong.walk = 4096;
    wrong.kind = KVI_KIND_LAZY;
    kvi_meta_encode(&wrong, s.bytes);
    operated(&s);
    surgeon_free(&s);
    kv_db *db;
    assert_int_equal(kvi_db_open(sim_os(disk), NAME, NULL, &db, NULL, 0), KV_ECORRUPT);
    repair_succeeds();
    assert_non_null(strstr(said, "adopted"));
    victim_is_well();
}

/* A newest commit that an open refuses, with what change does to its meta. */
static surgeon unfinished(void (*change)(kvi_meta *wrong))
{
    surgeon s = patient();
    kvi_meta wrong = s.meta;
    wrong.id++;
    wrong.durable = 1;
    wrong.seal = 12345;
    wrong.walk = s.page_size;
    wrong.kind = KVI_KIND_LAZY;
    change(&wrong);
    kvi_meta_encode(&wrong, s.bytes);
    kvi_meta_encode(&s.meta, s.bytes + kvi_meta_stride(s.page_size));
    return s;
}

static void no_records(kvi_meta *wrong)
{
    wrong->log = wrong->map = wrong->blocked = (kvi_ptr){0};
    wrong->log_pages = wrong->blocked_pages = wrong->map_levels = 0;
}

/* Any page that is new enough will do: they are made anew. */
static void only_log(kvi_meta *wrong)
{
    kvi_ptr page = wrong->map;
    no_records(wrong);
    wrong->log = page;
    wrong->log_pages = 1;
}

static void only_map(kvi_meta *wrong)
{
    kvi_ptr page = wrong->map;
    no_records(wrong);
    wrong->map = page;
    wrong->map_levels = 1;
}

static void only_blocked(kvi_meta *wrong)
{
    kvi_ptr page = wrong->map;
    no_records(wrong);
    wrong->blocked = page;
    wrong->blocked_pages = 1;
}

static void beyond_the_end(kvi_meta *wrong)
{
    wrong->high_water += 1000;
}

static void begun_on_the_sound_one(kvi_meta *wrong)
{
    wrong->durable = wrong->id - 1;
}

/* As after a power cut: an open takes the commit before it, and says nothing; repair does. */
static void test_unfinished_commit(void **state)
{
    surgeon s = unfinished(begun_on_the_sound_one);
    operated(&s);
    surgeon_free(&s);
    repair_succeeds();
    assert_non_null(strstr(said, "was never finished"));
    victim_is_well();
}

/* What is newer than the durable commit is held against the seal, unless there are space records
 * among it. */
static void test_which_commit_is_adopted(void **state)
{
    static const struct {
        void (*change)(kvi_meta *wrong);
        bool newest;
    } cases[] = {{only_log, true},
                 {only_map, true},
                 {only_blocked, true},
                 {no_records, false},
                 {beyond_the_end, false}};
    for (size_t i = 0; i < KVI_COUNT(cases); i++) {
        char sentence[100];
        surgeon s = unfinished(cases[i].change);
        operated(&s);
        snprintf(sentence, sizeof sentence, "commit %llu is the newest that can be read",
                 (unsigned long long)s.meta.id + cases[i].newest);
        surgeon_free(&s);
        repair_succeeds();
        if (!strstr(said, sentence))
            fail_msg("case %zu: no '%s' in '%s'", i, sentence, said);
        victim_is_well();
    }
}

static void last_ids(kvi_meta *wrong)
{
    no_records(wrong);
    wrong->id = KVI_ID_MAX - 3 * KVI_ID_SKIP;
}

/* Where ids come to an end, those of what is given up are passed over all the same. */
static void test_ids_come_to_an_end(void **state)
{
    surgeon s = unfinished(last_ids);
    uint64_t given_up = KVI_ID_MAX - 3 * KVI_ID_SKIP;
    s.meta.id = s.meta.durable = given_up - 2;
    assert_int_equal(s.meta.origin_id, 0);
    kvi_meta_encode(&s.meta, s.bytes + kvi_meta_stride(s.page_size));
    operated(&s);
    repair_succeeds();
    kv_db *db = open_victim(0);
    assert_true(db->head.meta.id > given_up);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_free(&s);
}

/* ---- who waits for others is in nobody's way ---- */

static void (*plain_sleep)(const kvi_os *os, uint32_t us);
static int (*plain_open)(const kvi_os *os, const char *path, int flags, uint32_t mode);
static kv_db *guest;

static int open_without_side_file(const kvi_os *os, const char *path, int flags, uint32_t mode)
{
    return strcmp(path, NAME) == 0 ? plain_open(os, path, flags, mode) : -EACCES;
}

static void no_sleep(const kvi_os *os, uint32_t us)
{
    fail_msg("somebody waits");
}

/* While repair waits for a guest, somebody comes, commits and goes; then the guest goes. */
static void come_and_go(const kvi_os *os, uint32_t us)
{
    disk->os.sleep_us = no_sleep;
    sim_process(disk, 2);
    kv_db *db = open_victim(0);
    commit_one(db, 7 * 37, 7);
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_true(sim_find(disk, NAME "-lock") < 0);
    assert_int_equal(kv_db_close(guest), KV_OK);
    sim_process(disk, 1);
    guest = NULL;
    disk->os.sleep_us = plain_sleep;
    plain_sleep(os, us);
}

static void test_waits_for_a_guest(void **state)
{
    surgeon s = patient();
    operated(&s);
    surgeon_free(&s);
    sim_process(disk, 2);
    plain_open = disk->os.open;
    disk->os.open = open_without_side_file;
    guest = open_victim(KV_OPEN_READONLY);
    disk->os.open = plain_open;
    assert_int_equal(guest->role, KVI_GUEST);
    sim_process(disk, 1);
    assert_int_equal(kvi_db_repair(sim_os(disk), NAME, 0, NULL, NULL), KV_EBUSY);
    plain_sleep = disk->os.sleep_us;
    disk->os.sleep_us = come_and_go;
    assert_int_equal(kvi_db_repair(sim_os(disk), NAME, 60000, NULL, NULL), KV_OK);
    assert_null(guest);
    victim_is_well();
}

/* ---- what cannot ---- */

static void expect_corrupt(surgeon *s)
{
    operated(s);
    assert_int_equal(repair(), KV_ECORRUPT);
    assert_true(strlen(said) > 20);
    unchanged(s);
}

static void test_unreadable_leaf(void **state)
{
    surgeon s = patient();
    surgeon_page(&s, surgeon_node(&s, &s.meta.main, 0, 1).page)[200] ^= 1;
    expect_corrupt(&s);
    assert_non_null(strstr(said, "N9"));
}

static void test_unreadable_large_value(void **state)
{
    surgeon s = patient();
    kvi_pgno leaf;
    uint8_t *stored;
    kvi_entry entry;
    assert_true(surgeon_find(&s, &s.meta.main, KVI_ENTRY_LARGE, &leaf, &stored, &entry));
    surgeon_page(&s, entry.large.ptr.page)[5000] ^= 1;
    expect_corrupt(&s);
    assert_non_null(strstr(said, "V3"));
}

static void test_page_used_twice(void **state)
{
    surgeon s = patient();
    kvi_pgno root = s.meta.main.root.page;
    kvi_ptr child = kvi_branch_child(surgeon_page(&s, root), s.page_size, 1);
    kvi_branch_set_child(surgeon_page(&s, root), s.page_size, 2, child);
    surgeon_stamp(&s, root);
    expect_corrupt(&s);
}

/* Two entries refer to one large value. */
static void test_large_value_used_twice(void **state)
{
    surgeon s = patient();
    kvi_pgno leaf;
    uint8_t *stored, copy[64];
    kvi_entry entry;
    assert_true(surgeon_find(&s, &s.meta.main, KVI_ENTRY_LARGE, &leaf, &stored, &entry));
    size_t len = kvi_entry_ref_at(&entry) + KVI_LARGE_REF_SIZE;
    memcpy(copy, stored, len);
    uint8_t *page = surgeon_page(&s, leaf), *room = malloc(s.page_size);
    kvi_item item = {.key = kvi_slice_of("zzz", 3), .value = {copy, len}, .special = true};
    while (!kvi_leaf_insert(page, s.page_size, room, kvi_node_count(page), &item))
        kvi_leaf_remove(page, s.page_size, kvi_node_count(page) - 1);
    free(room);
    surgeon_stamp(&s, leaf);
    expect_corrupt(&s);
}

/* Nor can a commit be adopted then. */
static void test_nothing_to_adopt(void **state)
{
    surgeon s = unfinished(only_log);
    surgeon_page(&s, surgeon_node(&s, &s.meta.main, 0, 1).page)[200] ^= 1;
    expect_corrupt(&s);
    s = unfinished(only_log);
    kvi_pgno root = s.meta.main.root.page;
    kvi_ptr child = kvi_branch_child(surgeon_page(&s, root), s.page_size, 1);
    kvi_branch_set_child(surgeon_page(&s, root), s.page_size, 2, child);
    surgeon_stamp(&s, root);
    expect_corrupt(&s);
    assert_non_null(strstr(said, "no commit can be read"));
}

static void test_both_metas(void **state)
{
    surgeon s = patient();
    s.bytes[300] ^= 1;
    s.bytes[kvi_meta_stride(s.page_size) + 300] ^= 1;
    expect_corrupt(&s);
}

static void test_refused(void **state)
{
    surgeon s = patient();
    operated(&s);
    kv_db *db = open_victim(0);
    said[0] = 0;
    assert_int_equal(kvi_db_repair(sim_os(disk), NAME, 0, on_sentence, NULL), KV_EBUSY);
    uint64_t start = sim_os(disk)->mono_ns(sim_os(disk));
    assert_int_equal(kvi_db_repair(sim_os(disk), NAME, 100, on_sentence, NULL), KV_EBUSY);
    assert_true(sim_os(disk)->mono_ns(sim_os(disk)) - start >= 100000000);
    assert_int_equal(kv_db_close(db), KV_OK);
    memset(s.bytes, 'x', s.size);
    operated(&s);
    assert_int_equal(repair(), KV_ENOTKV);
    unchanged(&s);
    assert_int_equal(kvi_db_repair(sim_os(disk), "nowhere", 0, NULL, NULL), KV_ENOENT);
    assert_int_equal(kv_db_repair(NULL, 0, NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_db_repair("/dev", 0, NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_db_repair("/dev/null", 0, NULL, NULL), KV_EINVAL);
}

/* ---- a repair that is itself killed ---- */

/* After any of its writes the file still opens, with the same entries. */
static void test_killed(void **state)
{
    surgeon s = patient();
    surgeon_page(&s, s.meta.map.page)[100] ^= 1;
    operated(&s);
    surgeon_free(&s);
    repair_succeeds();
    assert_true(disk->n_events > 4);
    for (size_t left = disk->n_events; left-- > 0;) {
        sim_rewind(disk, left);
        kv_db *db = open_victim(KV_OPEN_READONLY);
        contents_right(db);
        assert_int_equal(kv_db_close(db), KV_OK);
    }
}

/* ---- a repair that fails half way ---- */

/* Both slots, if they hold one commit, agree about which database that is. */
static void metas_agree(void)
{
    kvi_slice file = sim_get_file(disk, NAME);
    kvi_meta meta[2];
    for (unsigned slot = 0; slot < 2; slot++)
        if (kvi_meta_decode(file.ptr + slot * kvi_meta_stride(sound.page_size), &meta[slot]) !=
            KVI_META_VALID)
            return;
    if (meta[0].id == meta[1].id)
        assert_memory_equal(meta[0].file_id, meta[1].file_id, sizeof meta[0].file_id);
}

/* What was seen of a commit that was given up is neither an id nor a base of what comes. */
static void test_fails_half_way(void **state)
{
    static void (*const changes[])(kvi_meta * wrong) = {no_records, only_log};
    static const uint32_t masks[] = {FAULT_BIT(FAULT_PWRITEV), FAULT_BIT(FAULT_SYNC)};
    unsigned failed = 0, adoptions = 0;
    for (size_t i = 0; i < 2 * KVI_COUNT(changes); i++) {
        bool hit = true;
        for (uint64_t n = 1; hit; n++) {
            fault_os fault;
            kv_db *db;
            surgeon s = unfinished(changes[i / 2]);
            operated(&s);
            fault_init(&fault, sim_os(disk));
            fault_plan(&fault, (fault_case){
                                   .at = n, .mask = masks[i % 2], .sticky = true, .error = ENOSPC});
            int rc = kvi_db_repair(&fault.os, NAME, 0, NULL, NULL);
            hit = fault_hit(&fault);
            assert_int_equal(rc == KV_OK, !hit);
            failed += hit;
            metas_agree();
            rc = kvi_db_open(sim_os(disk), NAME, NULL, &db, NULL, 0);
            if (rc == KV_OK) {
                assert_memory_equal(db->file_id, db->head.meta.file_id, sizeof db->file_id);
                bool adopted = db->head.meta.id > s.meta.id + 1;
                commit_one(db, 1, 10);
                assert_true(db->head.meta.id > s.meta.id + KVI_ID_SKIP);
                assert_true(memcmp(db->file_id, s.meta.file_id, sizeof db->file_id) != 0);
                assert_memory_equal(db->file_id, db->head.meta.file_id, sizeof db->file_id);
                adoptions += adopted;
                assert_int_equal(kv_db_close(db), KV_OK);
            }
            surgeon_free(&s);
        }
    }
    assert_true(failed > 8);
    assert_true(adoptions > 4);
}

/* Of a file whose writer was killed, each call failing once: what is closed then is one database. */
static void test_fails_once(void **state)
{
    surgeon s = patient();
    operated(&s);
    surgeon_free(&s);
    kv_db *db = open_victim(0);
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE | KV_TXN_DURABLE, &txn), KV_OK);
    put(kv_txn_main(txn), 1, "killed", 6);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    kvi_slice file = sim_get_file(disk, NAME);
    s = (surgeon){.bytes = memcpy(malloc(file.len), file.ptr, file.len), .size = file.len};
    assert_int_equal(kv_db_close(db), KV_OK);
    unsigned failed = 0;
    bool hit = true;
    for (uint64_t n = 1; hit; n++) {
        fault_os fault;
        operated(&s);
        fault_init(&fault, sim_os(disk));
        fault_plan(&fault, (fault_case){.at = n,
                                        .mask = FAULT_BIT(FAULT_PWRITEV) | FAULT_MEMORY,
                                        .error = ENOSPC});
        (void)kvi_db_repair(&fault.os, NAME, 0, NULL, NULL);
        hit = fault_hit(&fault);
        failed += hit;
        metas_agree();
        assert_int_equal(kvi_db_open(sim_os(disk), NAME, NULL, &db, NULL, 0), KV_OK);
        assert_memory_equal(db->file_id, db->head.meta.file_id, sizeof db->file_id);
        assert_int_equal(kv_db_close(db), KV_OK);
    }
    assert_true(failed > 8);
    free(s.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fails_half_way),
        cmocka_unit_test(test_fails_once),
        cmocka_unit_test(test_sound_file),
        cmocka_unit_test(test_space_blocked),
        cmocka_unit_test(test_space_map),
        cmocka_unit_test(test_space_unknown_for_a_while),
        cmocka_unit_test(test_leaked_page),
        cmocka_unit_test(test_one_meta),
        cmocka_unit_test(test_no_commit_by_the_rules),
        cmocka_unit_test(test_unfinished_commit),
        cmocka_unit_test(test_which_commit_is_adopted),
        cmocka_unit_test(test_ids_come_to_an_end),
        cmocka_unit_test(test_waits_for_a_guest),
        cmocka_unit_test(test_nothing_to_adopt),
        cmocka_unit_test(test_unreadable_leaf),
        cmocka_unit_test(test_unreadable_large_value),
        cmocka_unit_test(test_page_used_twice),
        cmocka_unit_test(test_large_value_used_twice),
        cmocka_unit_test(test_both_metas),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_killed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
