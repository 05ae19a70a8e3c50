/* The walk meets every page once, in the order of keys; or only what is newer than a commit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "scratch.h"
#include "walk.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ENTRIES 9000

static scratch dir;
static kv_db *db;

typedef struct tally {
    uint64_t nodes, records, large, entries, left, trees, past, broken;
    uint64_t seal;
    uint64_t snapshot;   /* visited last */
    bool ascending;      /* an older one came before a newer one */
    unsigned skip_level; /* nodes of this level are skipped; 0: none */
    char last[64];       /* key of the main tree */
} tally;

static void put(kv_tree *tree, unsigned number, const void *value, size_t len)
{
    char key[32];
    int n = snprintf(key, sizeof key, "key%06u", number);
    assert_int_equal(kv_put(tree, key, (size_t)n, value, len, 0), KV_OK);
}

static kv_txn *begin(uint32_t kind)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE | kind, &txn), KV_OK);
    return txn;
}

static int setup(void **state)
{
    static const uint8_t bytes[20000] = {1};
    kv_tree *tree;
    scratch_make(&dir);
    assert_int_equal(kv_db_open(scratch_path(&dir, "walk.kv"), NULL, &db), KV_OK);
    kv_txn *txn = begin(KV_TXN_STRICT);
    for (unsigned i = 0; i < ENTRIES; i++)
        put(kv_txn_main(txn), i, bytes, 150);
    put(kv_txn_main(txn), ENTRIES, bytes, sizeof bytes);
    assert_int_equal(kv_tree_open(txn, "a", 1, KV_TREE_CREATE, NULL, &tree), KV_OK);
    put(tree, 1, bytes, 6000);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    return 0;
}

static int teardown(void **state)
{
    assert_int_equal(kv_db_close(db), KV_OK);
    scratch_remove(&dir);
    return 0;
}

/* ---- callbacks ---- */

static int on_page(kvi_walk *walk, kvi_ptr ptr, const uint8_t *bytes)
{
    tally *t = walk->context;
    t->seal += kvi_get64(bytes + KVI_P_checksum);
    assert_int_equal(kvi_get64(bytes + KVI_P_page), ptr.page);
    if (!walk->tree) {
        t->records++;
        return KV_OK;
    }
    t->nodes++;
    return t->skip_level && bytes[KVI_P_level] == t->skip_level ? KVI_WALK_SKIP : KV_OK;
}

static int on_leave(kvi_walk *walk, unsigned level)
{
    tally *t = walk->context;
    t->left++;
    assert_true(walk->tree->steps[level].ptr.page > 0);
    return KV_OK;
}

static int on_large(kvi_walk *walk, const kvi_large *large, const kvi_ptr *leaf)
{
    tally *t = walk->context;
    t->large += large->pages;
    assert_int_equal(leaf->page, walk->tree->steps[0].ptr.page);
    return kvi_walk_large(walk->file, large, NULL, NULL);
}

static int on_entry(kvi_walk *walk, kvi_slice key, kvi_stored value)
{
    tally *t = walk->context;
    t->entries++;
    if (walk->tree->kind == KVI_WALK_MAIN && !walk->snapshot) {
        assert_true(key.len < sizeof t->last);
        kvi_slice last = kvi_slice_of(t->last, strlen(t->last));
        assert_true(kvi_slice_compare(last, key) < 0);
        memcpy(t->last, key.ptr, key.len);
        t->last[key.len] = 0;
    }
    return KV_OK;
}

static int on_done(kvi_walk *walk)
{
    tally *t = walk->context;
    t->trees++;
    t->past += walk->snapshot != 0;
    t->ascending |= t->snapshot && walk->snapshot > t->snapshot;
    t->snapshot = walk->snapshot;
    return KV_OK;
}

static kvi_walk walk_of(tally *t, const kvi_meta *meta)
{
    return (kvi_walk){.file = &db->file,
                      .meta = meta,
                      .budget = UINT64_MAX,
                      .page = on_page,
                      .leave = on_leave,
                      .large = on_large,
                      .entry = on_entry,
                      .done = on_done,
                      .context = t};
}

/* ---- the tests ---- */

static void test_all(void **state)
{
    tally t = {0};
    kv_db_info info = {.size = sizeof info};
    kvi_walk walk = walk_of(&t, &db->head.meta);
    assert_int_equal(kvi_walk_all(&walk), KV_OK);
    assert_int_equal(kv_db_stat(db, &info), KV_OK);
    assert_int_equal(t.entries, info.entries + 1); /* and the catalog's one */
    assert_int_equal(t.nodes, info.leaf_pages + info.branch_pages);
    assert_int_equal(t.large, info.large_pages);
    assert_int_equal(t.records, info.space_pages);
    assert_int_equal(t.left, t.nodes);
    assert_int_equal(t.trees, 4); /* main, catalog, a, snapshots */
    assert_int_equal(walk.visited, (t.nodes + t.large + t.records) * 4096);
    uint64_t used = info.pages - info.free_pages - info.blocked_pages - 2;
    assert_int_equal(t.nodes + t.large + t.records, used);
}

/* One changed record: the way to it, and nothing else; its seal is the meta's. */
static void test_newer(void **state)
{
    tally t = {0};
    kvi_meta before = db->head.meta;
    kv_txn *txn = begin(KV_TXN_LAZY);
    put(kv_txn_main(txn), 4000, "new", 3);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    kvi_walk walk = walk_of(&t, &db->head.meta);
    walk.newer_than = before.id;
    assert_int_equal(kvi_walk_all(&walk), KV_OK);
    assert_int_equal(t.nodes, before.main.level + 1);
    assert_int_equal(t.large, 0);
    assert_int_equal(t.seal, db->head.meta.seal);
    assert_int_equal(walk.visited, db->head.meta.walk);
    assert_int_equal(kv_db_sync(db), KV_OK);
}

/* Commits until the free pages take records of their own. */
static void make_records(void)
{
    const kvi_meta *meta = &db->head.meta;
    for (unsigned i = 0; i < 5000 && !meta->log_pages && !meta->map_levels; i++) {
        kv_txn *txn = begin(KV_TXN_LAZY);
        put(kv_txn_main(txn), i * 7 % ENTRIES, "again", 5);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
    assert_true(meta->log_pages > 0 || meta->map_levels > 0);
    assert_int_equal(kv_db_sync(db), KV_OK);
}

static void test_budget(void **state)
{
    make_records();
    tally t = {0};
    kvi_walk walk = walk_of(&t, &db->head.meta);
    assert_int_equal(kvi_walk_all(&walk), KV_OK);
    uint64_t all = walk.visited;
    walk.visited = 0;
    walk.budget = all;
    t.last[0] = 0;
    assert_int_equal(kvi_walk_all(&walk), KV_OK);
    walk.visited = 0;
    walk.budget = all - 1;
    t.last[0] = 0;
    assert_int_equal(kvi_walk_all(&walk), KV_ECORRUPT);
    walk.visited = 0;
    walk.budget = all;
    t.last[0] = 0;
    assert_int_equal(kvi_walk_trees(&walk), KV_OK);
    walk.budget = walk.visited; /* nothing is left for the records */
    walk.visited = 0;
    t = (tally){0};
    assert_int_equal(kvi_walk_all(&walk), KV_ECORRUPT);
    assert_int_equal(t.records, 0);
}

static void test_skip(void **state)
{
    tally t = {.skip_level = 1};
    kvi_walk walk = walk_of(&t, &db->head.meta);
    kvi_slice none = {NULL, 0};
    assert_int_equal(kvi_walk_tree(&walk, &db->head.meta.main, KVI_WALK_MAIN, none), KV_OK);
    assert_int_equal(t.entries, 0);
    assert_true(t.nodes > 2);
    assert_int_equal(t.left, 1);
}

static int stop_at_entry(kvi_walk *walk, kvi_slice key, kvi_stored value)
{
    tally *t = walk->context;
    return ++t->entries == 100 ? KV_ECANCELED : KV_OK;
}

static void test_a_callback_stops_it(void **state)
{
    tally t = {0};
    kvi_walk walk = walk_of(&t, &db->head.meta);
    walk.entry = stop_at_entry;
    assert_int_equal(kvi_walk_all(&walk), KV_ECANCELED);
    assert_int_equal(t.entries, 100);
}

static int on_broken(kvi_walk *walk, kvi_ptr ptr, unsigned level, int rc)
{
    tally *t = walk->context;
    t->broken++;
    assert_int_equal(rc, KV_ECORRUPT);
    assert_string_equal(walk->invariant, "N7");
    return KV_OK;
}

/* A root that cannot be: the tree is left out, the rest is visited. */
static void test_goes_on_without(void **state)
{
    tally t = {0};
    kvi_meta meta = db->head.meta;
    kvi_walk walk = walk_of(&t, &meta);
    meta.main.root.page = meta.high_water;
    assert_int_equal(kvi_walk_all(&walk), KV_ECORRUPT);
    walk.broken = on_broken;
    t = (tally){0};
    assert_int_equal(kvi_walk_all(&walk), KV_OK);
    assert_int_equal(t.broken, 1);
    assert_int_equal(t.entries, 2);
}

/* The present comes first, then the snapshots from the newest to the oldest, and what they share is
 * theirs to skip. */
static void test_snapshots(void **state)
{
    kv_txn *txn;
    tally t = {0};
    assert_int_equal(kv_snapshot_create(db, "older", 5, 0), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    assert_int_equal(kv_put(kv_txn_main(txn), "between", 7, "", 0, 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_snapshot_create(db, "newer", 5, 0), KV_OK);
    kvi_meta meta = db->head.meta;
    kvi_walk walk = walk_of(&t, &meta);
    assert_int_equal(kvi_walk_all(&walk), KV_OK);
    assert_int_equal(t.past, 6);   /* main, catalog and a, as they were, twice */
    assert_int_equal(t.trees, 10); /* and main, catalog, a, snapshots */
    assert_false(t.ascending);
    assert_int_equal(kv_snapshot_drop(db, "older", 5, 0), KV_OK);
    assert_int_equal(kv_snapshot_drop(db, "newer", 5, 0), KV_OK);
}

/* What stands under a snapshot's name is none: of another kind, too short, too long. */
static void test_no_snapshots(void **state)
{
    static const uint8_t bytes[KVI_NAMED_SIZE + 1];
    static const struct {
        size_t len;
        bool special;
    } values[] = {{KVI_NAMED_SIZE, true}, {KVI_NAMED_SIZE - 1, false}, {KVI_NAMED_SIZE + 1, false}};
    assert_int_equal(kv_snapshot_create(db, "then", 4, 0), KV_OK);
    kvi_meta meta = db->head.meta;
    kvi_ptr leaf = meta.snapshots.root;
    uint32_t size = meta.page_size;
    uint64_t at = leaf.page * size;
    uint8_t *sound = malloc(size), *forged = malloc(size), *room = malloc(size);
    assert_int_equal(kvi_file_read(&db->file, at, sound, size), KV_OK);
    for (size_t i = 0; i <= KVI_COUNT(values); i++) {
        bool last = i == KVI_COUNT(values); /* the snapshot itself again */
        tally t = {0};
        kvi_walk walk = walk_of(&t, &meta);
        memcpy(forged, sound, size);
        if (!last) {
            kvi_item item = {.key = kvi_slice_of("then", 4),
                             .value = {bytes, values[i].len},
                             .special = values[i].special};
            assert_true(kvi_leaf_replace(forged, size, room, 0, &item));
            kvi_file_stamp(&db->file, forged, leaf);
        }
        assert_int_equal(pwrite(db->file.fd, forged, size, (off_t)at), size);
        assert_int_equal(kvi_walk_all(&walk), last ? KV_OK : KV_ECORRUPT);
        assert_int_equal(t.past > 0, last);
        if (!last)
            assert_string_equal(walk.invariant, "C1");
    }
    free(sound);
    free(forged);
    free(room);
    assert_int_equal(kv_snapshot_drop(db, "then", 4, 0), KV_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all),
        cmocka_unit_test(test_newer),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_skip),
        cmocka_unit_test(test_a_callback_stops_it),
        cmocka_unit_test(test_goes_on_without),
        cmocka_unit_test(test_snapshots),
        cmocka_unit_test(test_no_snapshots),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
