/* Salvage of a file with so many trees that the catalog has a branch: their names are found again as
 * their entries are, and a tree whose name is gone is found without it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "catalog.h"
#include "fault_os.h"
#include "must.h"
#include "salvage.h"
#include "sim_os.h"
#include "surgeon.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define TREES     400
#define IN_MAIN   200 /* entries; enough for a branch */
#define PATH      "trees"
#define DEST      "saved"
#define NAME_SIZE 16

static sim_disk *disk;
static surgeon sound;

/* ---- the file ---- */

static void name_of(unsigned i, char name[NAME_SIZE])
{
    snprintf(name, NAME_SIZE, "tree%05u", i);
}

/* A tree's entry tells whose it is. */
static void put_tree(kv_txn *txn, const char *name)
{
    assert_int_equal(kv_put(must_tree(txn, name), "whose", 5, name, strlen(name), 0), KV_OK);
}

static void make(unsigned trees, const char *extra)
{
    char name[NAME_SIZE];
    static const uint8_t value[100];
    kv_db *db;
    sim_reset(disk);
    db = must_open(disk, PATH);
    for (unsigned round = 0; round < 2; round++) { /* old versions lie about */
        kv_txn *txn = must_begin(db, KV_TXN_WRITE);
        for (unsigned i = round; i < trees; i += 2) {
            name_of(i, name);
            put_tree(txn, name);
        }
        if (extra)
            put_tree(txn, extra);
        put_tree(txn, "");
        for (unsigned i = 0; i < IN_MAIN && round == 0; i++) {
            name_of(i, name);
            assert_int_equal(kv_put(kv_txn_main(txn), name, strlen(name), value, sizeof value, 0),
                             KV_OK);
        }
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
    assert_int_equal(kv_db_close(db), KV_OK);
    kvi_slice file = sim_get_file(disk, PATH);
    surgeon_take(&sound, file.ptr, file.len);
}

static int setup(void **state)
{
    disk = sim_new(1);
    disk->recording = SIM_RECORD_NOTHING;
    make(TREES, NULL);
    assert_int_equal(sound.meta.catalog.level, 1);
    assert_int_equal(sound.meta.main.level, 1);
    return 0;
}

static int teardown(void **state)
{
    surgeon_free(&sound);
    sim_free(disk);
    return 0;
}

/* ---- damage ---- */

enum harm { HARM_HEADER, HARM_MIDDLE, HARM_CHECKSUM, HARM_WIPED, HARMS };

static void damage(surgeon *s, kvi_pgno page, enum harm harm)
{
    uint8_t *at = surgeon_page(s, page);
    if (harm == HARM_HEADER)
        memset(at, 0xde, KVI_HEADER_SIZE);
    else if (harm == HARM_MIDDLE)
        memset(at + s->page_size / 2, 0xde, 32);
    else if (harm == HARM_CHECKSUM)
        at[KVI_P_checksum] ^= 1;
    else
        memset(at, 0, s->page_size);
}

static kvi_pgno catalog_leaf(unsigned child)
{
    return surgeon_node(&sound, &sound.meta.catalog, 0, child).page;
}

/* ---- what comes of it ---- */

typedef struct told_names {
    char from[NAME_SIZE], to[NAME_SIZE]; /* from < name < to, or from itself; "": open */
    bool after;
} told_names;

static told_names lost[TREES];
static size_t n_lost;
static unsigned n_unknown; /* trees whose losses may be more */
static kv_salvage_info info;

static void keep_name(char name[NAME_SIZE], kv_slice bytes)
{
    assert_true(bytes.len < NAME_SIZE);
    if (bytes.len)
        memcpy(name, bytes.ptr, bytes.len);
    name[bytes.len] = 0;
}

static int on_loss(void *context, const kv_salvage_loss *loss)
{
    if (loss->kind != KV_LOSS_NAMES)
        return 0;
    assert_true(n_lost < TREES);
    told_names *t = &lost[n_lost++];
    keep_name(t->from, loss->from);
    keep_name(t->to, loss->to);
    t->after = loss->after;
    return 0;
}

static int on_tree(void *context, const kv_salvage_tree *tree)
{
    n_unknown += !tree->known;
    return 0;
}

static int salvage(const surgeon *s)
{
    kv_salvage_options options = {.size = sizeof options, .loss = on_loss, .tree = on_tree};
    info = (kv_salvage_info){.size = sizeof info};
    n_lost = n_unknown = 0;
    sim_reset(disk);
    sim_put_file(disk, PATH, s->bytes, s->size);
    return kvi_salvage(sim_os(disk), PATH, DEST, &options, &info);
}

typedef struct census {
    kv_txn *txn;
    unsigned there, found, wrong;
    bool seen[TREES];
} census;

static int census_tree(void *context, kv_slice name)
{
    census *c = context;
    kv_tree *tree;
    kv_slice whose;
    unsigned number;
    char text[NAME_SIZE];
    assert_int_equal(kv_tree_open(c->txn, name.ptr, name.len, 0, NULL, &tree), KV_OK);
    assert_int_equal(kv_get(tree, "whose", 5, &whose), KV_OK);
    keep_name(text, whose);
    if (name.len == whose.len && memcmp(name.ptr, whose.ptr, name.len) == 0)
        c->there++;
    else if (name.len > 11 && memcmp(name.ptr, "lost+found-", 11) == 0)
        c->found++;
    else
        c->wrong++;
    if (sscanf(text, "tree%05u", &number) == 1)
        c->seen[number] = true;
    return 0;
}

static bool name_reported(const char *name)
{
    for (size_t i = 0; i < n_lost; i++)
        if (strcmp(name, lost[i].from) >= (lost[i].after ? 1 : 0) &&
            (!*lost[i].to || strcmp(name, lost[i].to) < 0))
            return true;
    return false;
}

/* Every tree is there, by its name or without it, and a name that is gone was reported. */
static census check_saved(void)
{
    census c = {0};
    char name[NAME_SIZE];
    kv_db *db = must_open(disk, DEST);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
    c.txn = must_begin(db, KV_TXN_READ);
    assert_int_equal(kv_tree_list(c.txn, census_tree, &c), KV_OK);
    assert_int_equal(c.wrong, 0);
    assert_int_equal(c.there + c.found, TREES);
    for (unsigned i = 0; i < TREES; i++) {
        kv_tree *tree;
        name_of(i, name);
        assert_true(c.seen[i]);
        if (kv_tree_open(c.txn, name, strlen(name), 0, NULL, &tree) != KV_OK && !info.guessed)
            assert_true(name_reported(name));
    }
    kv_txn_abort(c.txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    return c;
}

/* ---- tests ---- */

/* The leaves lead to the trees again: none is taken for one without a name. */
static void test_root_gone(void **state)
{
    for (enum harm harm = 0; harm < HARMS; harm++) {
        surgeon s;
        surgeon_take(&s, sound.bytes, sound.size);
        damage(&s, sound.meta.catalog.root.page, harm);
        assert_int_equal(salvage(&s), KV_OK);
        assert_int_equal(info.bad_pages, 1);
        assert_int_equal(info.losses, 0);
        assert_int_equal(info.found_trees, 0);
        assert_int_equal(check_saved().there, TREES);
        surgeon_free(&s);
    }
}

static void test_leaf_gone(void **state)
{
    unsigned on_leaf = kvi_node_count(surgeon_page(&sound, catalog_leaf(1)));
    assert_in_range(on_leaf, 10, 50);
    for (enum harm harm = 0; harm < HARMS; harm++)
        for (unsigned root = 0; root < 2; root++) {
            surgeon s;
            surgeon_take(&s, sound.bytes, sound.size);
            damage(&s, catalog_leaf(1), harm);
            if (root)
                damage(&s, sound.meta.catalog.root.page, harm);
            assert_int_equal(salvage(&s), KV_OK);
            assert_int_equal(info.bad_pages, 1);
            assert_int_equal(info.losses, n_lost);
            assert_int_equal(check_saved().found, on_leaf);
            surgeon_free(&s);
        }
}

/* An entry of the catalog that describes no tree; then the main tree has lost something, too, and
 * what has no name might be that. */
static void test_descriptor_forged(void **state)
{
    surgeon s;
    kvi_pgno leaf;
    kvi_tree_desc desc;
    surgeon_take(&s, sound.bytes, sound.size);
    memset(surgeon_catalog(&s, 7, &leaf, &desc), 0xff, KVI_TREE_SIZE);
    surgeon_stamp(&s, leaf);
    for (unsigned main = 0; main < 2; main++) {
        if (main)
            damage(&s, sound.meta.main.root.page, HARM_HEADER);
        assert_int_equal(salvage(&s), KV_OK);
        assert_int_equal(n_lost, 1);
        assert_string_equal(lost[0].from, "tree00007");
        assert_int_equal(check_saved().found, 1);
    }
    surgeon_free(&s);
}

/* Names so long, and so like each other, that few trees make a catalog of three levels. */
#define LONG_NAMES 80
#define LONG_NAME  900

static void long_name(unsigned i, char name[LONG_NAME])
{
    memset(name, (int)('a' + i / 3), LONG_NAME);
    name[LONG_NAME - 1] = (char)('0' + i % 3);
}

static void make_long(kv_db *db)
{
    char name[LONG_NAME];
    kv_tree *tree;
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    for (unsigned i = 0; i < LONG_NAMES; i++) {
        long_name(i, name);
        assert_int_equal(kv_tree_open(txn, name, LONG_NAME, KV_TREE_CREATE, NULL, &tree), KV_OK);
        assert_int_equal(kv_put(tree, "whose", 5, name, LONG_NAME, 0), KV_OK);
    }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* A database, or a new one, after a change to it. */
static surgeon changed(const surgeon *from, void (*change)(kv_db *db))
{
    surgeon s;
    sim_reset(disk);
    if (from)
        sim_put_file(disk, PATH, from->bytes, from->size);
    kv_db *db = must_open(disk, PATH);
    change(db);
    assert_int_equal(kv_db_close(db), KV_OK);
    kvi_slice file = sim_get_file(disk, PATH);
    surgeon_take(&s, file.ptr, file.len);
    return s;
}

/* A branch of the catalog is gone, below another one a tree's entry: the leaves of the first have their
 * place all the same. */
static void test_branch_gone_and_descriptor_forged(void **state)
{
    char name[LONG_NAME];
    kv_salvage_options options = {.size = sizeof options};
    kvi_pgno leaf;
    kvi_tree_desc desc;
    surgeon s = changed(NULL, make_long);
    assert_int_equal(s.meta.catalog.level, 2);
    memset(surgeon_catalog(&s, 0, &leaf, &desc), 0xff, KVI_TREE_SIZE);
    surgeon_stamp(&s, leaf);
    damage(&s, surgeon_node(&s, &s.meta.catalog, 1, 1).page, HARM_WIPED);
    sim_reset(disk);
    sim_put_file(disk, PATH, s.bytes, s.size);
    assert_int_equal(kvi_salvage(sim_os(disk), PATH, DEST, &options, &info), KV_OK);
    kv_db *db = must_open(disk, DEST);
    kv_txn *txn = must_begin(db, KV_TXN_READ);
    for (unsigned i = 0; i < LONG_NAMES; i++) {
        kv_tree *tree;
        kv_slice whose;
        long_name(i, name);
        int rc = kv_tree_open(txn, name, LONG_NAME, 0, NULL, &tree);
        assert_int_equal(rc, i == 0 ? KV_NOTFOUND : KV_OK);
        if (i > 0) {
            assert_int_equal(kv_get(tree, "whose", 5, &whose), KV_OK);
            assert_memory_equal(whose.ptr, name, LONG_NAME);
        }
    }
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_free(&s);
}

static void empty_many(kv_db *db)
{
    char name[NAME_SIZE];
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    for (unsigned i = TREES / 4; i < TREES; i++) {
        name_of(i, name);
        assert_int_equal(kv_del(must_tree(txn, name), "whose", 5), KV_OK);
    }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* Leaves that name empty trees alone are a part of the catalog, as its branch says. */
static void test_root_gone_and_trees_empty(void **state)
{
    surgeon s = changed(&sound, empty_many);
    damage(&s, s.meta.catalog.root.page, HARM_CHECKSUM);
    assert_int_equal(salvage(&s), KV_OK);
    assert_int_equal(info.losses, 0);
    assert_int_equal(info.found_trees, 0);
    assert_int_equal(info.trees, TREES);
    surgeon_free(&s);
}

static void change_last(kv_db *db)
{
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    put_tree(txn, "tree00399");
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* Leaves that are found again in another order than that of their names. */
static void test_root_gone_and_leaves_moved(void **state)
{
    surgeon s = changed(&sound, change_last);
    kvi_pgno root = s.meta.catalog.root.page;
    unsigned last = kvi_node_count(surgeon_page(&s, root));
    assert_true(surgeon_node(&s, &s.meta.catalog, 0, last).page <
                surgeon_node(&s, &s.meta.catalog, 0, 0).page);
    damage(&s, root, HARM_WIPED);
    assert_int_equal(salvage(&s), KV_OK);
    assert_int_equal(info.losses, 0);
    assert_int_equal(check_saved().there, TREES);
    surgeon_free(&s);
}

static void keep_snapshot(kv_db *db)
{
    assert_int_equal(kv_snapshot_create(db, "kept", 4, 0), KV_OK);
}

/* An entry of the list of named snapshots that is none: as they all are, it is left out. */
static void test_snapshot_forged(void **state)
{
    surgeon s = changed(&sound, keep_snapshot);
    kvi_pgno leaf = s.meta.snapshots.root.page;
    uint8_t *page = surgeon_page(&s, leaf), *room = malloc(s.page_size);
    kvi_item item = {.key = kvi_slice_of("none", 4), .value = kvi_slice_of("short", 5)};
    assert_true(kvi_leaf_insert(page, s.page_size, room, 1, &item));
    surgeon_stamp(&s, leaf);
    free(room);
    assert_int_equal(salvage(&s), KV_OK);
    assert_int_equal(info.losses, 0);
    assert_int_equal(check_saved().there, TREES);
    surgeon_free(&s);
}

/* The trees are put together from the newest pages that look like theirs. */
static void test_metas_gone(void **state)
{
    for (unsigned branch = 0; branch < 2; branch++) {
        surgeon s;
        surgeon_take(&s, sound.bytes, sound.size);
        memset(s.bytes, 0, 2 * (size_t)s.page_size);
        if (branch)
            damage(&s, catalog_leaf(1), HARM_HEADER);
        assert_int_equal(salvage(&s), KV_OK);
        assert_int_equal(info.guessed, 1);
        assert_int_equal(check_saved().found > 0, branch);
        surgeon_free(&s);
    }
}

/* Once the catalog is whole again, a leaf that fits the main tree is the main tree's. */
static void test_both_roots_gone(void **state)
{
    surgeon s;
    surgeon_take(&s, sound.bytes, sound.size);
    damage(&s, sound.meta.main.root.page, HARM_WIPED);
    damage(&s, sound.meta.catalog.root.page, HARM_WIPED);
    assert_int_equal(salvage(&s), KV_OK);
    assert_int_equal(info.bad_pages, 2);
    assert_int_equal(info.losses, 0);
    assert_int_equal(info.entries, TREES + IN_MAIN + 1);
    assert_int_equal(check_saved().there, TREES);
    surgeon_free(&s);
}

/* Old versions of the catalog's leaves lie about: they do not take the place of the newest, but may have
 * done so, and then the trees that they name are old, too. */
static void test_root_gone_and_old_leaves(void **state)
{
    surgeon s;
    surgeon_take(&s, sound.bytes, sound.size);
    memset(s.meta.delta, 0xff, sizeof s.meta.delta);
    surgeon_put_meta(&s);
    damage(&s, sound.meta.catalog.root.page, HARM_WIPED);
    for (int leaf = 0; leaf < 2; leaf++) {
        if (leaf)
            damage(&s, catalog_leaf(1), HARM_WIPED);
        assert_int_equal(salvage(&s), KV_OK);
        assert_true(info.losses > 0);
        assert_in_range(n_unknown, info.trees, info.trees + 1);
        assert_int_equal(check_saved().there == TREES, !leaf);
    }
    surgeon_free(&s);
}

static void come(kv_db *db)
{
    must_put(db, "tree00007", "gone", "soon", 4);
}

static void go(kv_db *db)
{
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_del(must_tree(txn, "tree00007"), "gone", 4), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* An old leaf of the catalog, which leads to a tree's old leaf, brings nothing back into that tree. */
static void test_root_gone_and_old_tree(void **state)
{
    surgeon before = changed(&sound, come), s = changed(&before, go);
    surgeon_free(&before);
    memset(s.meta.delta, 0xff, sizeof s.meta.delta);
    surgeon_put_meta(&s);
    damage(&s, s.meta.catalog.root.page, HARM_WIPED);
    assert_int_equal(salvage(&s), KV_OK);
    surgeon_free(&s);
    kv_db *db = must_open(disk, DEST);
    kv_txn *txn = must_begin(db, KV_TXN_READ);
    kv_tree *tree;
    assert_int_equal(kv_tree_open(txn, "tree00007", 9, 0, NULL, &tree), KV_OK);
    assert_int_equal(kv_exists(tree, "whose", 5), KV_OK);
    assert_int_equal(kv_exists(tree, "gone", 4), KV_NOTFOUND);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* Also where the catalog itself had to be put together: what a tree lacks is said of that tree. */
static void test_root_and_tree_gone(void **state)
{
    surgeon s;
    kvi_pgno leaf;
    kvi_tree_desc desc;
    surgeon_take(&s, sound.bytes, sound.size);
    surgeon_catalog(&s, 7, &leaf, &desc);
    damage(&s, desc.root.page, HARM_WIPED);
    damage(&s, sound.meta.catalog.root.page, HARM_WIPED);
    assert_int_equal(salvage(&s), KV_OK);
    assert_int_equal(info.bad_pages, 2);
    assert_int_equal(info.losses, 1);
    assert_int_equal(n_lost, 0);
    assert_int_equal(info.lost_entries, 1);
    assert_int_equal(info.trees, TREES);
    surgeon_free(&s);
}

/* One leaf has become a copy of another: what it names is there already, and the trees that it named
 * have no names. */
static void test_names_twice(void **state)
{
    surgeon s;
    surgeon_take(&s, sound.bytes, sound.size);
    uint8_t *to = surgeon_page(&s, catalog_leaf(1));
    const uint8_t *from = surgeon_page(&s, catalog_leaf(0));
    uint64_t birth = kvi_get64(to + KVI_P_birth);
    unsigned nameless = kvi_node_count(to);
    assert_true(kvi_get64(from + KVI_P_birth) <= birth);
    memcpy(to, from, s.page_size);
    kvi_put64(to + KVI_P_page, catalog_leaf(1));
    kvi_put64(to + KVI_P_birth, birth);
    surgeon_stamp(&s, catalog_leaf(1));
    assert_int_equal(salvage(&s), KV_OK);
    info.guessed = true; /* no gap tells which names are gone */
    assert_int_equal(check_saved().found, nameless);
    surgeon_free(&s);
}

/* A catalog may say what no interface lets pass: the main tree's name is not to be had. */
static void test_tree_without_name(void **state)
{
    kv_db *db;
    kv_tree *tree;
    kv_slice whose;
    static const char *const names[] = {"", "lost+found-0"};
    sim_reset(disk);
    db = must_open(disk, PATH);
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    put_tree(txn, "");
    put_tree(txn, "other");
    assert_int_equal(kvi_catalog_rename(must_tree(txn, "other"), kvi_slice_of("", 0)), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
    info = (kv_salvage_info){.size = sizeof info};
    assert_int_equal(kvi_salvage(sim_os(disk), PATH, DEST, NULL, &info), KV_OK);
    assert_int_equal(info.losses + info.bad_pages, 0);
    db = must_open(disk, DEST);
    txn = must_begin(db, KV_TXN_READ);
    for (size_t i = 0; i < KVI_COUNT(names); i++) {
        tree = kv_txn_main(txn);
        if (i)
            assert_int_equal(kv_tree_open(txn, names[i], strlen(names[i]), 0, NULL, &tree), KV_OK);
        assert_int_equal(kv_get(tree, "whose", 5, &whose), KV_OK);
        assert_int_equal(whose.len, i ? 5 : 0);
    }
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* A clock that goes back brings nothing back that had expired. */
static void test_clock_goes_along(void **state)
{
    kv_db *db;
    kv_put_options options = {.size = sizeof options, .ttl_ms = 1000};
    sim_reset(disk);
    db = must_open(disk, PATH);
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_put_with(kv_txn_main(txn), "a", 1, "1", 1, &options), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    disk->clock_ms += 1000;
    must_put(db, "", "b", "1", 1);
    disk->clock_ms -= 1000;
    assert_int_equal(kv_db_close(db), KV_OK);
    info = (kv_salvage_info){.size = sizeof info};
    assert_int_equal(kvi_salvage(sim_os(disk), PATH, DEST, NULL, &info), KV_OK);
    db = must_open(disk, DEST);
    txn = must_begin(db, KV_TXN_READ);
    assert_int_equal(kv_exists(kv_txn_main(txn), "a", 1), KV_NOTFOUND);
    assert_int_equal(kv_exists(kv_txn_main(txn), "b", 1), KV_OK);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* A tree that bears the name of a found one keeps it. */
static void test_name_taken(void **state)
{
    surgeon s;
    kvi_pgno leaf;
    kvi_tree_desc desc;
    surgeon_free(&sound);
    make(TREES, "lost+found-1");
    surgeon_take(&s, sound.bytes, sound.size);
    memset(surgeon_catalog(&s, 7, &leaf, &desc), 0xff, KVI_TREE_SIZE);
    surgeon_stamp(&s, leaf);
    assert_int_equal(salvage(&s), KV_OK);
    assert_int_equal(info.found_trees, 1);
    kv_db *db = must_open(disk, DEST);
    kv_txn *txn = must_begin(db, KV_TXN_READ);
    static const char *const names[] = {"lost+found-1", "lost+found-2"};
    for (size_t i = 0; i < KVI_COUNT(names); i++) {
        kv_tree *tree;
        kv_slice whose;
        assert_int_equal(kv_tree_open(txn, names[i], strlen(names[i]), 0, NULL, &tree), KV_OK);
        assert_int_equal(kv_get(tree, "whose", 5, &whose), KV_OK);
        assert_int_equal(whose.len == strlen(names[i]), i == 0);
    }
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_free(&s);
}

static int stop_at_tree(void *context, const kv_salvage_tree *tree)
{
    return 1;
}

static int go_on(void *context, const kv_progress *progress)
{
    ++*(unsigned *)context;
    assert_true(progress->done <= progress->total);
    return 0;
}

static void test_callbacks(void **state)
{
    unsigned calls = 0;
    kv_salvage_options options = {.size = sizeof options, .progress = go_on, .context = &calls};
    info = (kv_salvage_info){.size = sizeof info};
    sim_reset(disk);
    sim_put_file(disk, PATH, sound.bytes, sound.size);
    assert_int_equal(kvi_salvage(sim_os(disk), PATH, DEST, &options, &info), KV_OK);
    assert_true(calls > 1);
    options.tree = stop_at_tree;
    assert_int_equal(kvi_salvage(sim_os(disk), PATH, "other", &options, &info), KV_ECANCELED);
}

/* Nothing is there, and nothing is missing. */
static void test_empty(void **state)
{
    kv_db *db;
    sim_reset(disk);
    db = must_open(disk, PATH);
    assert_int_equal(kv_db_close(db), KV_OK);
    info = (kv_salvage_info){.size = sizeof info};
    assert_int_equal(kvi_salvage(sim_os(disk), PATH, DEST, NULL, &info), KV_OK);
    assert_int_equal(info.entries, 0);
    assert_int_equal(info.losses + info.bad_pages, 0);
    db = must_open(disk, DEST);
    assert_int_equal(kv_db_close(db), KV_OK);
}

static int salvage_through(fault_os *fault)
{
    info = (kv_salvage_info){.size = sizeof info};
    return kvi_salvage(&fault->os, PATH, DEST, NULL, &info);
}

/* Whatever there is no memory for, in whichever way the file is put together. */
static void test_no_memory(void **state)
{
    for (int metas = 0; metas < 2; metas++) {
        surgeon s;
        fault_os fault;
        uint64_t n = 1;
        bool hit = true;
        surgeon_free(&sound);
        make(5, NULL);
        surgeon_take(&s, sound.bytes, sound.size);
        if (metas)
            memset(s.bytes, 0, 2 * (size_t)s.page_size);
        damage(&s, sound.meta.main.root.page, HARM_WIPED);
        for (; hit; n++) {
            sim_reset(disk);
            sim_put_file(disk, PATH, s.bytes, s.size);
            fault_init(&fault, sim_os(disk));
            fault_plan(&fault, (fault_case){.at = n, .mask = FAULT_MEMORY});
            int rc = salvage_through(&fault);
            hit = fault_hit(&fault);
            assert_true(rc == KV_OK || (rc == KV_ENOMEM && hit));
            assert_true(fault_balanced(&fault));
            assert_int_equal(disk->n_names, rc == KV_OK ? 2 : 1);
        }
        assert_true(n > 20);
        surgeon_free(&s);
    }
}

/* Where there are no locks, nobody else can have the file open either. */
static void test_no_locks(void **state)
{
    fault_os fault;
    sim_reset(disk);
    sim_put_file(disk, PATH, sound.bytes, sound.size);
    fault_init(&fault, sim_os(disk));
    fault_plan(&fault, (fault_case){.at = 1, .mask = FAULT_BIT(FAULT_LOCK), .error = EOPNOTSUPP});
    assert_int_equal(salvage_through(&fault), KV_OK);
    assert_true(fault_hit(&fault) && fault_balanced(&fault));
    assert_int_equal(info.losses + info.bad_pages, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_root_gone),
        cmocka_unit_test(test_leaf_gone),
        cmocka_unit_test(test_descriptor_forged),
        cmocka_unit_test(test_branch_gone_and_descriptor_forged),
        cmocka_unit_test(test_root_gone_and_trees_empty),
        cmocka_unit_test(test_root_gone_and_leaves_moved),
        cmocka_unit_test(test_snapshot_forged),
        cmocka_unit_test(test_metas_gone),
        cmocka_unit_test(test_callbacks),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_both_roots_gone),
        cmocka_unit_test(test_root_gone_and_old_leaves),
        cmocka_unit_test(test_root_gone_and_old_tree),
        cmocka_unit_test(test_root_and_tree_gone),
        cmocka_unit_test(test_names_twice),
        cmocka_unit_test(test_tree_without_name),
        cmocka_unit_test(test_clock_goes_along),
        cmocka_unit_test(test_no_locks),
        cmocka_unit_test(test_name_taken),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("names in salvage", tests, setup, teardown);
}
