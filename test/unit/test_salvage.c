/* Salvage: of a damaged file everything is recovered that does not live in a damaged page, and what is
 * missing is named. The oracle is the sound file: each of its entries is either in its tree of the new
 * database, or in a found tree, or among the reported losses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "carve.h"
#include "pairs.h"
#include "rng.h"
#include "rounds.h"
#include "salvage.h"
#include "scratch.h"
#include "surgeon.h"
#include "tree.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TREES_MAX  8
#define LOSSES_MAX 4096
#ifdef KVI_STRESS
#define DEEP_ENTRIES 2500 /* for branches on three levels */
#else
#define DEEP_ENTRIES 300
#endif

static scratch dir;
static char path[SCRATCH_MAX], dest[SCRATCH_MAX];

/* ---- the sound file and what is in it ---- */

typedef struct model_entry {
    unsigned tree;
    uint8_t *key, *value;
    size_t key_len, value_len;
    uint64_t leaf, large, large_pages; /* the pages where it lives */
} model_entry;

typedef struct patient {
    surgeon file;
    char trees[TREES_MAX][32]; /* the main tree is "" */
    unsigned n_trees;
    model_entry *entries;
    size_t n, cap;
} patient;

static patient small, tall, deep, kept;

static uint8_t *copy_of(const void *bytes, size_t len)
{
    uint8_t *copy = malloc(len + 1);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    return copy;
}

static unsigned model_tree(patient *p, kv_slice name)
{
    for (unsigned i = 0; i < p->n_trees; i++)
        if (strlen(p->trees[i]) == name.len && memcmp(p->trees[i], name.ptr, name.len) == 0)
            return i;
    assert_true(p->n_trees < TREES_MAX && name.len < sizeof p->trees[0]);
    if (name.len)
        memcpy(p->trees[p->n_trees], name.ptr, name.len);
    return p->n_trees++;
}

typedef struct model_reader {
    patient *p;
    kv_txn *txn;
    unsigned tree;
    uint64_t leaf;
} model_reader;

static kv_tree *tree_of(kv_txn *txn, const char *name)
{
    kv_tree *tree = kv_txn_main(txn);
    if (*name && kv_tree_open(txn, name, strlen(name), 0, NULL, &tree) != KV_OK)
        return NULL;
    return tree;
}

/* Is it there that the present has the key? Else the leaf is a named snapshot's. */
static bool lies_in_leaf(kv_tree *tree, kv_slice key, uint64_t leaf)
{
    kvi_path way;
    bool found;
    int rc = kvi_tree_seek(tree, kvi_slice_of(key.ptr, key.len), &way, &found);
    assert_int_equal(rc, KV_OK);
    return found && kvi_path_leaf(&way)->ptr.page == leaf;
}

static int model_add(void *context, const kv_page_slot *slot)
{
    model_reader *r = context;
    patient *p = r->p;
    kv_slice value;
    kv_tree *tree = tree_of(r->txn, p->trees[r->tree]);
    if (!lies_in_leaf(tree, slot->key, r->leaf))
        return 0;
    assert_int_equal(kv_get(tree, slot->key.ptr, slot->key.len, &value), KV_OK);
    assert_int_equal(slot->value_len, value.len);
    if (p->n == p->cap) {
        p->cap = p->cap * 2 + 100;
        p->entries = realloc(p->entries, p->cap * sizeof *p->entries);
        assert_non_null(p->entries);
    }
    p->entries[p->n++] = (model_entry){
        r->tree,
        copy_of(slot->key.ptr, slot->key.len),
        copy_of(value.ptr, value.len),
        slot->key.len,
        value.len,
        r->leaf,
        slot->flags & KV_SLOT_LARGE ? slot->child.page : 0,
        slot->pages,
    };
    return 0;
}

/* Reads the file through kv_inspect, page by page. */
static void model_read(patient *p)
{
    kv_inspect *look;
    kv_db *db;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    model_reader r = {.p = p};
    assert_int_equal(kv_inspect_open(path, &look, NULL, 0), KV_OK);
    assert_int_equal(kv_db_open(path, &options, &db), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &r.txn), KV_OK);
    for (uint64_t page = 0; page < kv_inspect_pages(look); page++) {
        kv_page_info info = {.size = sizeof info};
        assert_int_equal(kv_inspect_page(look, page, &info), KV_OK);
        assert_string_equal(info.problem, "");
        if (info.type != KV_PAGE_LEAF || info.state != KV_STATE_USED ||
            (info.owner != KV_OWNER_MAIN && info.owner != KV_OWNER_TREE))
            continue;
        r.leaf = page;
        r.tree = model_tree(p, info.tree);
        assert_int_equal(kv_inspect_slots(look, page, model_add, &r), KV_OK);
    }
    kv_txn_abort(r.txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    kv_inspect_close(look);
}

/* ---- making it ---- */

static void put(kv_tree *tree, const char *form, unsigned number, const void *value, size_t len)
{
    char key[32];
    int n = snprintf(key, sizeof key, form, number);
    assert_int_equal(kv_put(tree, key, (size_t)n, value, len, 0), KV_OK);
}

static kv_txn *begin(kv_db *db)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    return txn;
}

static kv_tree *create(kv_txn *txn, const char *name, uint64_t compress_from)
{
    kv_tree_options options = {sizeof options, compress_from};
    kv_tree *tree;
    assert_int_equal(kv_tree_open(txn, name, strlen(name), KV_TREE_CREATE, &options, &tree), KV_OK);
    return tree;
}

static void fill(kv_tree *tree, const char *form, unsigned entries, size_t len, rng *random)
{
    uint8_t value[512];
    for (unsigned i = 0; i < entries; i++) {
        rng_fill(random, value, len);
        put(tree, form, i, value, len);
    }
}

/* "twin" has keys like those of the main tree; "words" others; "packed" and "large" have values
 * outside their leaves. Changes leave old versions behind. */
static void small_make(kv_db *db)
{
    static uint8_t bytes[30000];
    rng random;
    rng_seed(&random, 4);
    rng_fill(&random, bytes, 8000);
    kv_txn *txn = begin(db);
    fill(kv_txn_main(txn), "key%05u", 400, 150, &random);
    fill(create(txn, "twin", 0), "key%05u", 140, 160, &random);
    fill(create(txn, "words", 0), "word%04u", 60, 100, &random);
    kv_tree *packed = create(txn, "packed", 1000);
    put(packed, "p%u", 1, bytes, sizeof bytes);
    put(packed, "p%u", 2, bytes + 7000, 3000);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = begin(db);
    put(kv_txn_main(txn), "large%u", 1, bytes, 9000);
    put(kv_txn_main(txn), "large%u", 2, bytes + 1, 5000);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    for (unsigned round = 0; round < 6; round++) {
        txn = begin(db);
        put(kv_txn_main(txn), "key%05u", 20 + round * 7, "changed", 7);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
}

/* The same with named snapshots, whose versions of what was changed later lie in the file, too. */
static void kept_make(kv_db *db)
{
    char name[16];
    small_make(db);
    for (unsigned i = 0; i < 4; i++) {
        int len = snprintf(name, sizeof name, "%s%u", i < 2 ? "before" : "z", i);
        assert_int_equal(kv_snapshot_create(db, name, (size_t)len, 0), KV_OK);
        kv_txn *txn = begin(db);
        put(kv_txn_main(txn), "key%05u", 30 + i * 90, "changed again", 13);
        put(kv_txn_main(txn), "later%u", i, "new", 3);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
    assert_int_equal(kv_snapshot_drop(db, "z2", 2, 0), KV_OK);
}

static void tall_make(kv_db *db)
{
    rng random;
    rng_seed(&random, 5);
    kv_txn *txn = begin(db);
    fill(kv_txn_main(txn), "key%05u", 7000, 150, &random);
    fill(create(txn, "twin", 0), "key%05u", 400, 150, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    for (unsigned round = 0; round < 5; round++) {
        txn = begin(db);
        put(kv_txn_main(txn), "key%05u", 50 + round * 1700, "changed", 7);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
}

static void deep_make(kv_db *db)
{
    rng random;
    rng_seed(&random, 6);
    kv_txn *txn = begin(db);
    fill(kv_txn_main(txn), "key%05u", DEEP_ENTRIES, 90, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static void patient_make(patient *p, uint32_t page_size, void (*make)(kv_db *db))
{
    kv_db *db;
    kv_slice none = {"", 0};
    const kv_options options = {
        .size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = page_size};
    unlink(path);
    assert_int_equal(kv_db_open(path, &options, &db), KV_OK);
    make(db);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_load(&p->file, path);
    model_tree(p, none);
    model_read(p);
}

static void patient_free(patient *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->entries[i].key);
        free(p->entries[i].value);
    }
    free(p->entries);
    surgeon_free(&p->file);
}

static int make_all(void **state)
{
    scratch_make(&dir);
    scratch_path_to(&dir, "damaged.kv", path);
    scratch_path_to(&dir, "saved.kv", dest);
    patient_make(&small, 4096, small_make);
    patient_make(&kept, 4096, kept_make);
    patient_make(&tall, 4096, tall_make);
    patient_make(&deep, KVI_PAGE_MIN, deep_make);
    return 0;
}

static int free_all(void **state)
{
    patient_free(&small);
    patient_free(&kept);
    patient_free(&tall);
    patient_free(&deep);
    scratch_remove(&dir);
    return 0;
}

/* ---- what salvage says ---- */

typedef struct told_loss {
    uint32_t kind, after;
    char tree[32];
    uint8_t *from, *to;
    size_t from_len, to_len;
    uint64_t entries;
} told_loss;

typedef struct told {
    told_loss losses[LOSSES_MAX];
    size_t n;
    uint64_t lost; /* of trees whose size is known */
    uint64_t entries;
    unsigned found, unknown; /* trees; others whose losses may be more */
    char notes[4096];
} told;

static told said;

static void told_clear(void)
{
    for (size_t i = 0; i < said.n; i++) {
        free(said.losses[i].from);
        free(said.losses[i].to);
    }
    memset(&said, 0, sizeof said);
}

static int on_loss(void *context, const kv_salvage_loss *loss)
{
    told_loss *t = &said.losses[said.n++];
    assert_true(said.n < LOSSES_MAX);
    *t = (told_loss){.kind = loss->kind, .after = loss->after, .entries = loss->entries};
    if (loss->tree.len)
        memcpy(t->tree, loss->tree.ptr, loss->tree.len);
    if (loss->from.ptr)
        t->from = copy_of(loss->from.ptr, t->from_len = loss->from.len);
    if (loss->to.ptr)
        t->to = copy_of(loss->to.ptr, t->to_len = loss->to.len);
    if (t->from && t->to) /* no range is empty */
        assert_true(kvi_slice_compare(kvi_slice_of(t->from, t->from_len),
                                      kvi_slice_of(t->to, t->to_len)) < 0);
    return 0;
}

static int on_tree(void *context, const kv_salvage_tree *tree)
{
    if (tree->known)
        said.lost += tree->lost;
    said.entries += tree->entries;
    said.found += tree->found;
    said.unknown += !tree->known && !tree->found;
    return 0;
}

static void on_note(void *context, const char *sentence)
{
    size_t used = strlen(said.notes);
    snprintf(said.notes + used, sizeof said.notes - used, "%s\n", sentence);
}

static int no_sync(const kvi_os *os, int fd)
{
    return 0;
}

static int no_sync_dir(const kvi_os *os, const char *of)
{
    return 0;
}

/* Without flushes, for there are many files. */
static int salvage_on(kvi_os *os, const surgeon *s, kv_salvage_info *info)
{
    kv_salvage_options options = {
        .size = sizeof options, .loss = on_loss, .tree = on_tree, .note = on_note};
    os->sync = no_sync;
    os->sync_dir = no_sync_dir;
    *info = (kv_salvage_info){.size = sizeof *info};
    told_clear();
    unlink(dest);
    surgeon_save(s, path);
    return kvi_salvage(os, path, dest, &options, info);
}

static int salvage(const surgeon *s, kv_salvage_info *info)
{
    kvi_os os = kvi_os_posix;
    return salvage_on(&os, s, info);
}

/* ---- the oracle ---- */

static bool loss_covers(const told_loss *loss, const patient *p, const model_entry *e)
{
    kvi_slice key = {e->key, e->key_len}, from = {loss->from, loss->from_len},
              to = {loss->to, loss->to_len};
    if (strcmp(loss->tree, p->trees[e->tree]) != 0)
        return false;
    if (loss->kind == KV_LOSS_VALUE)
        return kvi_slice_compare(key, from) == 0;
    return loss->kind == KV_LOSS_RANGE &&
           (!loss->from || kvi_slice_compare(key, from) >= (loss->after ? 1 : 0)) &&
           (!loss->to || kvi_slice_compare(key, to) < 0);
}

static bool reported(const patient *p, const model_entry *e)
{
    for (size_t i = 0; i < said.n; i++)
        if (loss_covers(&said.losses[i], p, e))
            return true;
    return false;
}

static bool holds(kv_tree *tree, const model_entry *e)
{
    kv_slice value;
    return tree && kv_get(tree, e->key, e->key_len, &value) == KV_OK && value.len == e->value_len &&
           memcmp(value.ptr, e->value, value.len) == 0;
}

static bool found_elsewhere(kv_txn *txn, const model_entry *e)
{
    char name[32];
    for (unsigned i = 1; i <= said.found; i++) {
        snprintf(name, sizeof name, "lost+found-%u", i);
        if (holds(tree_of(txn, name), e))
            return true;
    }
    return false;
}

static bool lives_in(const model_entry *e, const uint64_t *pages, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (pages[i] == e->leaf || (e->large && pages[i] - e->large < e->large_pages))
            return true;
    return false;
}

static void explain(const patient *p, const model_entry *e, const uint64_t *pages, size_t n,
                    const char *what)
{
    char damaged[64] = "";
    for (size_t i = 0; i < n; i++)
        snprintf(damaged + strlen(damaged), sizeof damaged - strlen(damaged), " %llu",
                 (unsigned long long)pages[i]);
    fail_msg("pages%s: %s: tree '%s' key %.*s (leaf %llu, large %llu); %zu reports\n%s", damaged,
             what, p->trees[e->tree], (int)e->key_len, (const char *)e->key,
             (unsigned long long)e->leaf, (unsigned long long)e->large, said.n, said.notes);
}

static bool of_found_tree(const told_loss *loss)
{
    return strncmp(loss->tree, "lost+found-", 11) == 0;
}

/* Each range that says how many are missing means the entries that are. */
static void check_counts(const patient *p, const bool *missing)
{
    for (size_t i = 0; i < said.n; i++) {
        uint64_t found = 0;
        const told_loss *loss = &said.losses[i];
        if (loss->kind != KV_LOSS_RANGE || loss->entries == UINT64_MAX || of_found_tree(loss))
            continue;
        for (size_t e = 0; e < p->n; e++)
            found += missing[e] && loss_covers(loss, p, &p->entries[e]);
        assert_int_equal(found, loss->entries);
    }
}

/* Damaged pages: n of them. Returns how many entries are nowhere. */
static size_t check_saved(const patient *p, const uint64_t *pages, size_t n)
{
    kv_db *db;
    kv_txn *txn;
    size_t gone = 0, away = 0;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    bool *missing = calloc(p->n, sizeof *missing);
    assert_int_equal(kv_db_open(dest, &options, &db), KV_OK);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    for (size_t i = 0; i < p->n; i++) {
        const model_entry *e = &p->entries[i];
        missing[i] = !holds(tree_of(txn, p->trees[e->tree]), e);
        if (!missing[i]) {
            if (reported(p, e))
                explain(p, e, pages, n, "recovered, but reported as lost");
            continue;
        }
        if (found_elsewhere(txn, e)) {
            away++;
            continue;
        }
        gone++;
        if (!lives_in(e, pages, n))
            explain(p, e, pages, n, "lost although its pages are sound");
    }
    /* no entry but those of the sound file */
    assert_int_equal(said.entries, p->n - gone);
    check_counts(p, missing);
    for (size_t i = 0; i < p->n; i++) {
        const model_entry *e = &p->entries[i];
        bool tree_known = tree_of(txn, p->trees[e->tree]) != NULL;
        if (missing[i] && tree_known && !reported(p, e))
            explain(p, e, pages, n, "missing, but not reported");
    }
    assert_true(said.lost <= gone + away);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    free(missing);
    return gone;
}

/* ---- damage ---- */

enum harm { HARM_HEADER, HARM_MIDDLE, HARM_CHECKSUM, HARM_WIPED, HARMS };

static void damage(surgeon *s, uint64_t page, enum harm harm)
{
    uint8_t *at = surgeon_page(s, page);
    switch (harm) {
    case HARM_HEADER:
        memset(at, 0xde, KVI_HEADER_SIZE);
        break;
    case HARM_MIDDLE:
        memset(at + s->page_size / 2, 0xde, 32);
        break;
    case HARM_CHECKSUM:
        at[page < 2 ? KVI_M_checksum : KVI_P_checksum] ^= 1;
        break;
    default:
        memset(at, 0, s->page_size);
    }
}

static size_t living(const patient *p, uint64_t page)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        n += p->entries[i].leaf == page;
    return n;
}

static void salvage_damaged(const patient *p, const uint64_t *pages, size_t n, enum harm harm,
                            size_t *gone)
{
    surgeon s;
    kv_salvage_info info;
    surgeon_take(&s, p->file.bytes, p->file.size);
    for (size_t i = 0; i < n; i++)
        damage(&s, pages[i], harm);
    int rc = salvage(&s, &info);
    surgeon_free(&s);
    if (rc != KV_OK)
        fail_msg("page %llu, harm %d: result %d\n%s", (unsigned long long)pages[0], harm, rc,
                 said.notes);
    *gone = check_saved(p, pages, n);
    assert_true(*gone == 0 || info.losses > 0);
}

/* ---- tests ---- */

static void test_sound(void **state)
{
    const uint64_t none = 0;
    kv_salvage_info info;
    assert_int_equal(salvage(&small.file, &info), KV_OK);
    assert_int_equal(info.losses, 0);
    assert_int_equal(info.entries, small.n);
    assert_int_equal(info.trees, small.n_trees - 1);
    assert_int_equal(check_saved(&small, &none, 0), 0);
    assert_int_equal(salvage(&tall.file, &info), KV_OK);
    assert_int_equal(info.losses, 0);
    assert_int_equal(check_saved(&tall, &none, 0), 0);
    assert_null(strstr(said.notes, "named snapshot"));
    assert_int_equal(salvage(&kept.file, &info), KV_OK);
    assert_int_equal(info.losses, 0);
    assert_int_equal(check_saved(&kept, &none, 0), 0);
    assert_non_null(strstr(said.notes, "the named snapshot before1, commit"));
    assert_non_null(strstr(said.notes, "the named snapshot z3, commit"));
    assert_null(strstr(said.notes, "snapshot z2"));
}

/* A tree goes on as it was: what is put into it later is compressed, or is not. */
static void test_trees_keep_their_options(void **state)
{
    static const char *const names[] = {"packed", "words"};
    kv_salvage_info info;
    kv_db *db;
    kv_txn *txn;
    assert_int_equal(salvage(&small.file, &info), KV_OK);
    assert_int_equal(kv_db_open(dest, NULL, &db), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    for (size_t i = 0; i < KVI_COUNT(names); i++) {
        kv_tree_info stat = {.size = sizeof stat};
        assert_int_equal(kv_tree_stat(tree_of(txn, names[i]), &stat), KV_OK);
        assert_int_equal(stat.compress_from, i ? 0 : 1000);
    }
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
}

static void test_small_is_as_wanted(void **state)
{
    uint64_t pages = small.file.size / small.file.page_size;
    print_message("%llu pages\n", (unsigned long long)pages);
    assert_true(pages >= 40 && pages <= 60);
    assert_int_equal(small.n_trees, 4);
    assert_int_equal(small.file.meta.main.level, 1);
    assert_int_equal(tall.file.meta.main.level, 2);
}

static void damage_every_page(const patient *p)
{
    uint64_t pages = p->file.size / p->file.page_size;
    size_t lost = 0;
    for (uint64_t page = 0; page < pages; page++)
        for (enum harm harm = 0; harm < HARMS; harm++) {
            size_t gone, lived = living(p, page);
            salvage_damaged(p, &page, 1, harm, &gone);
            if (lived && gone != lived)
                fail_msg("page %llu harm %d lived %zu gone %zu\n%s", (unsigned long long)page, harm,
                         lived, gone, said.notes);
            lost += gone;
        }
    assert_true(lost > p->n * 3);
}

static void test_every_page(void **state)
{
    damage_every_page(&small);
}

static void test_every_page_beside_snapshots(void **state)
{
    damage_every_page(&kept);
}

static void test_every_pair(void **state)
{
    uint64_t n = small.file.size / small.file.page_size, pages[2];
    for (pages[0] = 0; pages[0] < n; pages[0]++) /* the pair of metas: below */
        for (pages[1] = KVI_MAX(pages[0] + 1, 2); pages[1] < n; pages[1] += ROUNDS_STEP) {
            size_t gone;
            salvage_damaged(&small, pages, 2, HARM_WIPED, &gone);
            salvage_damaged(&small, pages, 2, HARM_HEADER, &gone);
        }
}

static void check_nothing_lost(size_t gone)
{
    assert_int_equal(gone, 0);
    assert_int_equal(said.found, 0);
    for (size_t i = 0; i < said.n; i++)
        if (said.losses[i].kind != KV_LOSS_PAGE)
            fail_msg("loss of kind %u: from %.*s to %.*s, %lld entries\n%s", said.losses[i].kind,
                     (int)said.losses[i].from_len, (const char *)said.losses[i].from,
                     (int)said.losses[i].to_len, (const char *)said.losses[i].to,
                     (long long)said.losses[i].entries, said.notes);
}

/* All that a lost branch led to is found, and no more is missing than was on damaged leaves. */
static void test_tall_branches(void **state)
{
    const kvi_tree_desc *main = &tall.file.meta.main;
    uint64_t root = main->root.page, pages[3];
    size_t gone;
    for (enum harm harm = 0; harm < HARMS; harm++) {
        salvage_damaged(&tall, &root, 1, harm, &gone);
        check_nothing_lost(gone);
        pages[0] = surgeon_node(&tall.file, main, 1, 0).page;
        pages[1] = surgeon_node(&tall.file, main, 1, 1).page;
        salvage_damaged(&tall, pages, 2, harm, &gone);
        check_nothing_lost(gone);
        pages[2] = root;
        salvage_damaged(&tall, pages, 3, harm, &gone);
        check_nothing_lost(gone);
        pages[1] = surgeon_node(&tall.file, main, 0, 0).page;
        salvage_damaged(&tall, pages, 2, harm, &gone);
        assert_int_equal(gone, living(&tall, pages[1]));
    }
}

/* A leaf is missing at the edge of what fills a gap: the gap's bounds are the leaf's. */
static void test_gap_within_a_gap(void **state)
{
    const surgeon *file = &deep.file;
    const kvi_tree_desc *main = &file->meta.main;
#ifdef KVI_STRESS
    assert_int_equal(main->level, 3);
#endif
    for (unsigned child = 0; main->level > 2 && child < 3; child++)
        for (unsigned edge = 0; edge < 2; edge++) {
            kvi_ptr ptr = surgeon_node(file, main, 2, child);
            uint64_t pages[2] = {ptr.page};
            size_t gone, ranges = 0;
            const uint8_t *root = surgeon_page(file, main->root.page);
            for (unsigned level = 2; level > 0; level--) {
                const uint8_t *page = surgeon_page(file, ptr.page);
                ptr = kvi_branch_child(page, file->page_size, edge ? kvi_node_count(page) : 0);
            }
            pages[1] = ptr.page;
            salvage_damaged(&deep, pages, 2, HARM_WIPED, &gone);
            assert_int_equal(gone, living(&deep, ptr.page));
            for (size_t i = 0; i < said.n; i++)
                if (said.losses[i].kind == KV_LOSS_RANGE) {
                    assert_int_equal(said.losses[i].entries, gone);
                    assert_true(child == 0 || said.losses[i].from); /* bounds of the outer gap */
                    assert_true(child >= kvi_node_count(root) || said.losses[i].to);
                    ranges++;
                }
            assert_int_equal(ranges, 1);
        }
}

/* Entries of a tree of the new database, or UINT64_MAX: there is no such tree. */
static uint64_t saved_entries(const char *name)
{
    kv_db *db;
    kv_txn *txn;
    kv_tree_info info = {.size = sizeof info, .entries = UINT64_MAX};
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    assert_int_equal(kv_db_open(dest, &options, &db), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    kv_tree *tree = tree_of(txn, name);
    if (tree)
        assert_int_equal(kv_tree_stat(tree, &info), KV_OK);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    return info.entries;
}

static bool saved_has(const char *name, const void *key, size_t len)
{
    kv_db *db;
    kv_txn *txn;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    assert_int_equal(kv_db_open(dest, &options, &db), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    kv_tree *tree = tree_of(txn, name);
    bool has = tree && kv_exists(tree, key, len) == KV_OK;
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    return has;
}

/* A page becomes a leaf with these two entries. */
static void make_leaf_of(surgeon *s, kvi_pgno page, kv_slice one, kv_slice two)
{
    surgeon leaf;
    kv_db *db;
    const kv_options options = {
        .size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = s->page_size};
    uint64_t birth = kvi_get64(surgeon_page(s, page) + KVI_P_birth);
    unlink(path);
    assert_int_equal(kv_db_open(path, &options, &db), KV_OK);
    kv_txn *txn = begin(db);
    assert_int_equal(kv_put(kv_txn_main(txn), one.ptr, one.len, "one", 3, 0), KV_OK);
    assert_int_equal(kv_put(kv_txn_main(txn), two.ptr, two.len, "two", 3, 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_load(&leaf, path);
    memcpy(surgeon_page(s, page), surgeon_page(&leaf, leaf.meta.main.root.page), s->page_size);
    kvi_put64(surgeon_page(s, page) + KVI_P_page, page);
    kvi_put64(surgeon_page(s, page) + KVI_P_birth, birth);
    surgeon_stamp(s, page);
    surgeon_free(&leaf);
}

static kv_slice key_of(const uint8_t *page, uint32_t page_size, unsigned slot, uint8_t *room)
{
    return (kv_slice){room, kvi_node_key(page, page_size, slot, room)};
}

/* The tall one, but no entry has the first separator of its root for a key. */
static void load_without_bound(surgeon *s)
{
    uint8_t room[64];
    kv_db *db;
    const surgeon *file = &tall.file;
    const uint8_t *root = surgeon_page(file, file->meta.main.root.page);
    kv_slice bound = key_of(root, file->page_size, 0, room);
    surgeon_save(file, path);
    assert_int_equal(kv_db_open(path, NULL, &db), KV_OK);
    kv_txn *txn = begin(db);
    (void)kv_del(kv_txn_main(txn), bound.ptr, bound.len);
    put(kv_txn_main(txn), "key%05u", 0, "again", 5);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_load(s, path);
}

/* The leaf at the edge of a gap has the bound itself. The lower one belongs to the gap, and nothing is
 * missing before it; the upper one does not. */
static void test_leaf_at_the_bound(void **state)
{
    for (int upper = 0; upper < 2; upper++) {
        uint8_t room[2][64];
        surgeon s;
        kv_salvage_info info;
        load_without_bound(&s);
        kvi_pgno branch = surgeon_node(&s, &s.meta.main, 1, upper ? 0 : 1).page;
        unsigned last = kvi_node_count(surgeon_page(&s, branch));
        const uint8_t *root = surgeon_page(&s, s.meta.main.root.page);
        kv_slice bound = key_of(root, s.page_size, 0, room[0]);
        kvi_pgno leaf =
            kvi_branch_child(surgeon_page(&s, branch), s.page_size, upper ? last : 0).page;
        const uint8_t *page = surgeon_page(&s, leaf);
        kv_slice own = key_of(page, s.page_size, upper ? 0 : kvi_node_count(page) - 1u, room[1]);
        make_leaf_of(&s, leaf, bound, own);
        damage(&s, branch, HARM_WIPED);
        assert_int_equal(salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_int_equal(said.found, upper);
        assert_true(saved_has(upper ? "lost+found-1" : "", bound.ptr, bound.len));
        assert_true(saved_has(upper ? "lost+found-1" : "", own.ptr, own.len));
        assert_int_equal(upper && saved_has("", bound.ptr, bound.len), 0);
    }
}

/* A leaf that would fit one tree's gap is another's, as the remains of that one's root say. */
static void test_remains_outweigh_keys(void **state)
{
    const surgeon *file = &small.file;
    kvi_tree_desc twin;
    kvi_pgno leaf;
    size_t gone;
    surgeon_catalog(file, 1, &leaf, &twin);
    uint64_t pages[3] = {file->meta.main.root.page, twin.root.page,
                         surgeon_node(file, &file->meta.main, 0, 1).page};
    assert_int_equal(twin.level, 1);
    salvage_damaged(&small, pages, 3, HARM_HEADER, &gone);
    assert_int_equal(gone, living(&small, pages[2]));
    assert_int_equal(said.found, 0);
}

/* The remains tell who was below the page, but not in which order: it is an older version, or its
 * number of entries is wrong. */
static void test_remains_of_another(void **state)
{
    uint64_t root = tall.file.meta.main.root.page;
    for (int counted = 0; counted < 2; counted++) {
        surgeon s;
        kv_salvage_info info;
        surgeon_take(&s, tall.file.bytes, tall.file.size);
        uint8_t *page = surgeon_page(&s, root);
        if (counted)
            kvi_put16(page + KVI_P_count, UINT16_MAX);
        else
            kvi_put64(page + KVI_P_birth, kvi_get64(page + KVI_P_birth) - 1);
        surgeon_stamp(&s, root);
        assert_int_equal(salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        check_nothing_lost(check_saved(&tall, &root, 1));
    }
}

/* A branch that nothing leads to has a child that is none of its own: a node of its level, a leaf of
 * another tree, a page that was written anew. The child that it should have had is found. */
static void test_wrong_children(void **state)
{
    uint64_t root = tall.file.meta.main.root.page;
    enum { OWN_LEVEL, FOREIGN, OLDER, CASES };
    for (int how = 0; how < CASES; how++) {
        surgeon s;
        kv_salvage_info info;
        kvi_tree_desc twin;
        kvi_pgno leaf;
        surgeon_take(&s, tall.file.bytes, tall.file.size);
        kvi_ptr wrong = {0}, newest = surgeon_node(&s, &s.meta.main, 1, 0);
        for (unsigned i = 1; i <= kvi_node_count(surgeon_page(&s, root)); i++) {
            kvi_ptr other = surgeon_node(&s, &s.meta.main, 1, i);
            wrong = other.birth > newest.birth ? newest : other;
            newest = other.birth > newest.birth ? other : newest;
        }
        surgeon_catalog(&s, 0, &leaf, &twin);
        if (how == FOREIGN)
            wrong = surgeon_node(&s, &twin, 0, 1);
        if (how == OLDER)
            wrong = kvi_branch_child(surgeon_page(&s, newest.page), s.page_size, 3);
        wrong.birth -= how == OLDER;
        assert_true(wrong.page && wrong.birth <= newest.birth);
        kvi_branch_set_child(surgeon_page(&s, newest.page), s.page_size, 3, wrong);
        surgeon_stamp(&s, newest.page);
        damage(&s, root, HARM_WIPED);
        assert_int_equal(salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_int_equal(info.bad_pages, 2);
        assert_int_equal(check_saved(&tall, &root, 1), 0);
        assert_int_equal(said.found, 1);
    }
}

/* What lies behind the end that the commit knows is not its own, nor is what only looks like a page. */
static void test_beyond_the_end(void **state)
{
    uint64_t root = small.file.meta.main.root.page, end = small.file.size / small.file.page_size;
    kvi_pgno leaf = surgeon_node(&small.file, &small.file.meta.main, 0, 0).page;
    surgeon s;
    kv_salvage_info info;
    surgeon_take(&s, small.file.bytes, small.file.size);
    s.bytes = realloc(s.bytes, s.size + 4 * (size_t)s.page_size);
    assert_non_null(s.bytes);
    for (unsigned i = 0; i < 4; i++) {
        uint8_t *page = surgeon_page(&s, end + i);
        memcpy(page, surgeon_page(&s, leaf), s.page_size);
        kvi_put64(page + KVI_P_page, end + i);
        if (i == 1)
            kvi_put64(page + KVI_P_birth, 0);
        else if (i > 1)
            page[KVI_P_type] = i == 2 ? 0 : UINT8_MAX;
        surgeon_stamp(&s, end + i);
    }
    s.size += 4 * (size_t)s.page_size;
    damage(&s, root, HARM_WIPED);
    assert_int_equal(salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    check_nothing_lost(check_saved(&small, &root, 1));
}

/* The last bytes of a lost page mention a leaf: too few for a descriptor, they are a branch's. */
static void test_remains_at_the_end(void **state)
{
    uint64_t root = small.file.meta.main.root.page;
    surgeon s;
    kv_salvage_info info;
    surgeon_take(&s, small.file.bytes, small.file.size);
    kvi_ptr first = kvi_branch_child(surgeon_page(&s, root), s.page_size, 0);
    damage(&s, root, HARM_WIPED);
    kvi_ptr_put(surgeon_page(&s, root) + s.page_size - KVI_PTR_SIZE, first);
    assert_int_equal(salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    check_nothing_lost(check_saved(&small, &root, 1));
}

static int count_pages(void *context, uint64_t pages)
{
    *(uint64_t *)context += pages;
    return KV_OK;
}

/* A pointer is right about a page when number, birth and level are. */
static void test_pointers_to_nodes(void **state)
{
    kvi_carve carve;
    uint64_t looked_at = 0;
    kvi_ptr root = small.file.meta.main.root;
    unsigned level = small.file.meta.main.level;
    surgeon_save(&small.file, path);
    assert_int_equal(kvi_carve_open(&carve, &kvi_os_posix, path), KV_OK);
    assert_int_equal(kvi_carve_scan(&carve, count_pages, &looked_at), KV_OK);
    assert_true(kvi_carve_holds(&carve, root, level));
    assert_false(kvi_carve_holds(&carve, root, level + 1));
    assert_false(kvi_carve_holds(&carve, (kvi_ptr){root.page, root.birth - 1}, level));
    assert_false(kvi_carve_holds(&carve, (kvi_ptr){carve.pages, root.birth}, level));
    assert_false(kvi_carve_holds(&carve, (kvi_ptr){KVI_PGNO_MAX, root.birth}, level));
    kvi_carve_close(&carve);
}

static void records_make(kv_db *db)
{
    rng random;
    rng_seed(&random, 9);
    kv_txn *txn = begin(db);
    fill(kv_txn_main(txn), "key%05u", 200, 90, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    for (unsigned round = 0; round < 200; round++) {
        txn = begin(db);
        put(kv_txn_main(txn), "key%05u", round * 7 % 200, "changed", 7);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
}

/* Pages of the space records, sound as they are, are no part of any tree. */
static void test_records_are_no_nodes(void **state)
{
    static patient p;
    size_t gone;
    patient_make(&p, KVI_PAGE_MIN, records_make);
    uint64_t root = p.file.meta.main.root.page;
#ifdef KVI_STRESS
    assert_true(p.file.meta.log_pages > 0 || p.file.meta.map_levels > 0);
#endif
    for (enum harm harm = 0; harm < HARMS; harm++) {
        salvage_damaged(&p, &root, 1, harm, &gone);
        check_nothing_lost(gone);
    }
    patient_free(&p);
}

/* What is left of a branch tells between which leaves one is missing. */
static void test_remains_tell_the_place(void **state)
{
    const kvi_tree_desc *main = &tall.file.meta.main;
    uint64_t pages[2] = {surgeon_node(&tall.file, main, 1, 0).page,
                         surgeon_node(&tall.file, main, 0, 0).page};
    const uint8_t *branch = surgeon_page(&tall.file, pages[0]);
    pages[1] = kvi_branch_child(branch, tall.file.page_size, 7).page;
    size_t gone, ranges = 0;
    salvage_damaged(&tall, pages, 2, HARM_CHECKSUM, &gone);
    for (size_t i = 0; i < said.n; i++)
        if (said.losses[i].kind == KV_LOSS_RANGE) {
            assert_int_equal(said.losses[i].entries, gone);
            ranges++;
        }
    assert_int_equal(ranges, 1);
}

/* One that says that it is on another level is not believed about its ends. */
static void test_remains_of_another_level(void **state)
{
    const kvi_tree_desc *main = &tall.file.meta.main;
    surgeon s;
    kv_salvage_info info;
    uint64_t pages[2] = {surgeon_node(&tall.file, main, 1, 0).page};
    size_t ranges = 0;
    surgeon_take(&s, tall.file.bytes, tall.file.size);
    pages[1] = kvi_branch_child(surgeon_page(&s, pages[0]), s.page_size, 7).page;
    surgeon_page(&s, pages[0])[KVI_P_level]++;
    surgeon_stamp(&s, pages[0]);
    damage(&s, pages[1], HARM_CHECKSUM);
    assert_int_equal(salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_int_equal(check_saved(&tall, pages, 2), living(&tall, pages[1]));
    for (size_t i = 0; i < said.n; i++)
        ranges += said.losses[i].kind == KV_LOSS_RANGE;
    assert_int_equal(ranges, 3); /* before the first, where the leaf was, behind the last */
}

/* All that lives below this page is there, in its own tree, or in a found one if that will do. Old
 * versions may have been found beside. */
static void check_there(const patient *p, uint64_t below, bool found_will_do)
{
    kv_db *db;
    kv_txn *txn;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    assert_int_equal(kv_db_open(dest, &options, &db), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    for (size_t i = 0; i < p->n; i++) {
        const model_entry *e = &p->entries[i];
        if (e->leaf < below && e->large + e->large_pages < below &&
            !holds(tree_of(txn, p->trees[e->tree]), e) &&
            !(found_will_do && found_elsewhere(txn, e)))
            explain(p, e, NULL, 0, "not there");
    }
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
}

static void check_complete(const patient *p)
{
    check_there(p, UINT64_MAX, false);
}

static void test_both_metas(void **state)
{
    const patient *patients[] = {&small, &tall, &kept};
    for (size_t i = 0; i < KVI_COUNT(patients); i++)
        for (enum harm harm = 0; harm < HARMS; harm++) {
            surgeon s;
            kv_salvage_info info;
            surgeon_take(&s, patients[i]->file.bytes, patients[i]->file.size);
            damage(&s, 0, harm);
            damage(&s, 1, harm);
            int rc = salvage(&s, &info);
            surgeon_free(&s);
            if (rc != KV_OK)
                fail_msg("harm %d: result %d\n%s", harm, rc, said.notes);
            assert_int_equal(info.guessed, 1);
            assert_int_equal(info.unsealed, harm == HARM_HEADER || harm == HARM_WIPED);
            assert_int_equal(info.commit_id == 0, harm == HARM_WIPED);
            assert_non_null(strstr(said.notes, "both metas are"));
            check_complete(patients[i]);
        }
}

/* The metas hold two commits: the newer one counts, whichever slot it is in. */
static void test_newer_of_two_damaged_metas(void **state)
{
    for (unsigned newer = 0; newer < 2; newer++) {
        surgeon s;
        kv_salvage_info info;
        surgeon_take(&s, small.file.bytes, small.file.size);
        kvi_meta older = s.meta;
        s.meta.id++;
        s.meta.durable = s.meta.id;
        s.meta.seal = s.meta.walk = 0;
        kvi_meta_encode(&s.meta, s.bytes + newer * s.page_size);
        kvi_meta_encode(&older, s.bytes + (1 - newer) * s.page_size);
        damage(&s, 0, HARM_CHECKSUM);
        damage(&s, 1, HARM_CHECKSUM);
        assert_int_equal(salvage(&s, &info), KV_OK);
        assert_int_equal(info.commit_id, s.meta.id);
        surgeon_free(&s);
    }
}

/* The metas' checksums are wrong, and their roots are not where they say: what one of them still leads
 * to is believed, else the pages alone count. */
static void test_roots_elsewhere(void **state)
{
    enum { MAIN_GONE, BOTH_GONE, OTHER_BIRTHS, OTHER_LEVELS, CASES };
    for (int i = 0; i < CASES; i++) {
        surgeon s;
        kv_salvage_info info;
        surgeon_take(&s, small.file.bytes, small.file.size);
        kvi_tree_desc *main = &s.meta.main, *catalog = &s.meta.catalog;
        s.meta.high_water += 10;
        if (i == MAIN_GONE || i == BOTH_GONE)
            main->root.page = s.size / s.page_size + 5;
        if (i == BOTH_GONE)
            catalog->root.page = s.size / s.page_size + 6;
        main->root.birth -= i == OTHER_BIRTHS;
        catalog->root.birth += i == OTHER_BIRTHS;
        main->level = (uint8_t)(main->level + (i == OTHER_LEVELS));
        catalog->level = (uint8_t)(catalog->level + (i == OTHER_LEVELS));
        surgeon_put_meta(&s);
        damage(&s, 0, HARM_CHECKSUM);
        damage(&s, 1, HARM_CHECKSUM);
        assert_int_equal(salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_int_equal(info.guessed, 1);
        assert_int_equal(info.unsealed, 0);
        assert_int_equal(info.commit_id == 0, i != MAIN_GONE);
        check_there(&small, UINT64_MAX, i == MAIN_GONE);
    }
}

static uint64_t unreadable; /* a byte of the file */

static int64_t pread_but_one(const kvi_os *os, int fd, void *buf, size_t len, uint64_t offset)
{
    return offset == unreadable ? -EIO : kvi_os_posix.pread(os, fd, buf, len, offset);
}

/* The metas' checksums are wrong, and the main tree's root cannot be read, or is no node: the catalog's
 * root speaks for the commit. */
static void test_catalog_speaks(void **state)
{
    uint64_t root = small.file.meta.main.root.page;
    for (int wiped = 0; wiped < 2; wiped++) {
        kvi_os os = kvi_os_posix;
        surgeon s;
        kv_salvage_info info;
        surgeon_take(&s, small.file.bytes, small.file.size);
        damage(&s, 0, HARM_CHECKSUM);
        damage(&s, 1, HARM_CHECKSUM);
        if (wiped)
            damage(&s, root, HARM_MIDDLE);
        else
            os.pread = pread_but_one;
        unreadable = root * s.page_size;
        assert_int_equal(salvage_on(&os, &s, &info), KV_OK);
        surgeon_free(&s);
        assert_int_equal(info.guessed, 1);
        assert_int_equal(info.commit_id, small.file.meta.id);
        check_there(&small, UINT64_MAX, true);
    }
}

static int syncs_left;

static int sync_fails(const kvi_os *os, int fd)
{
    return syncs_left-- > 0 ? 0 : -EIO;
}

/* A new file that cannot be flushed is no database that others should leave alone: it is gone. */
static void test_cannot_be_flushed(void **state)
{
    kvi_os os = kvi_os_posix;
    kv_salvage_info info = {.size = sizeof info};
    const kv_salvage_options options = {.size = sizeof options};
    int rc = KV_EIO;
    os.sync = sync_fails;
    unlink(dest);
    surgeon_save(&small.file, path);
    for (int n = 0; rc == KV_EIO; n++) {
        syncs_left = n;
        rc = kvi_salvage(&os, path, dest, &options, &info);
        assert_int_equal(access(dest, F_OK) == 0, rc == KV_OK);
    }
    assert_int_equal(rc, KV_OK);
}

static void test_another_version(void **state)
{
    surgeon s;
    kv_salvage_info info;
    surgeon_take(&s, small.file.bytes, small.file.size);
    for (unsigned slot = 0; slot < 2; slot++) {
        kvi_put32(s.bytes + slot * kvi_meta_stride(s.page_size) + KVI_M_version, KVI_VERSION + 1);
        surgeon_stamp_meta(&s, slot);
    }
    assert_int_equal(salvage(&s, &info), KV_EVERSION);
    surgeon_free(&s);
    assert_int_not_equal(access(dest, F_OK), 0);
}

/* An entry of the catalog is lost with the main tree's root: whose leaves they are is not guessed. */
static void test_nameless_tree_and_root(void **state)
{
    uint64_t root = small.file.meta.main.root.page;
    surgeon s;
    kv_salvage_info info;
    kvi_tree_desc desc;
    kvi_pgno leaf;
    surgeon_take(&s, small.file.bytes, small.file.size);
    memset(surgeon_catalog(&s, 1, &leaf, &desc), 0xff, KVI_TREE_SIZE);
    surgeon_stamp(&s, leaf);
    damage(&s, root, HARM_WIPED);
    assert_int_equal(salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_true(said.found > 1);
    check_there(&small, UINT64_MAX, true);
}

/* While names are lost, what fits a gap of the main tree need not belong there. */
static void test_nameless_leaves_stay_apart(void **state)
{
    const kvi_meta *meta = &small.file.meta;
    uint64_t pages[3] = {meta->main.root.page, surgeon_node(&small.file, &meta->main, 0, 0).page,
                         meta->catalog.root.page};
    size_t gone;
    salvage_damaged(&small, pages, 3, HARM_WIPED, &gone);
    assert_int_equal(gone, living(&small, pages[1]));
    assert_true(said.found > 0);
}

/* Trees without names are not put together while each page that was lost is known for what it was: a
 * leaf, large values of theirs, a branch whose remains brought all its children back. */
static void test_nameless_trees_stay_apart(void **state)
{
    const kvi_meta *meta = &small.file.meta;
    const uint64_t lost[] = {0, surgeon_node(&small.file, &meta->main, 0, 0).page,
                             meta->main.root.page};
    for (unsigned i = 0; i < KVI_COUNT(lost); i++) {
        surgeon s;
        kv_salvage_info info;
        uint64_t pages[2] = {meta->catalog.root.page, lost[i]};
        surgeon_take(&s, small.file.bytes, small.file.size);
        damage(&s, pages[0], HARM_WIPED);
        if (lost[i])
            damage(&s, lost[i], i == 1 ? HARM_WIPED : HARM_CHECKSUM);
        assert_int_equal(salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_int_equal(check_saved(&small, pages, 2), i == 1 ? living(&small, lost[i]) : 0);
        assert_int_equal(info.found_trees, small.n_trees - 1);
    }
}

static void younger_make(kv_db *db)
{
    rng random;
    rng_seed(&random, 13);
    kv_txn *txn = begin(db);
    fill(kv_txn_main(txn), "key%05u", 200, 150, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = begin(db);
    fill(create(txn, "young", 0), "y%u", 2, 50, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* A whole tree that has lost its name gets no leaves of others. */
static void test_whole_tree_without_name(void **state)
{
    static patient p;
    surgeon s;
    kv_salvage_info info;
    patient_make(&p, 4096, younger_make);
    surgeon_take(&s, p.file.bytes, p.file.size);
    damage(&s, s.meta.catalog.root.page, HARM_CHECKSUM);
    damage(&s, s.meta.main.root.page, HARM_WIPED);
    assert_int_equal(salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_int_equal(info.found_trees, 2);
    assert_true(saved_has("lost+found-1", "y0", 2));
    assert_int_equal(saved_entries("lost+found-1"), 2);
    assert_int_equal(saved_entries("lost+found-2"), 200);
    patient_free(&p);
}

static void lose_space(surgeon *s)
{
    memset(s->meta.delta, 0xff, sizeof s->meta.delta);
    surgeon_put_meta(s);
}

/* Without the records of free pages, old versions lie beside new ones: what remains of the page tells
 * which are its children, and whose a leaf is that it does not tell of is not guessed. */
static void salvage_unknown_space(const patient *p, uint64_t page, enum harm harm)
{
    surgeon s;
    kv_salvage_info info;
    surgeon_take(&s, p->file.bytes, p->file.size);
    lose_space(&s);
    damage(&s, page, harm);
    assert_int_equal(salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_non_null(strstr(said.notes, "which pages are in use"));
    if (harm != HARM_MIDDLE) /* there may be pointers, or nothing */
        assert_int_equal(info.losses > 0, harm == HARM_WIPED);
    check_there(p, UINT64_MAX, info.losses > 0);
}

static void test_no_space_records(void **state)
{
    uint64_t branch = surgeon_node(&tall.file, &tall.file.meta.main, 1, 0).page;
    for (enum harm harm = 0; harm < HARMS; harm++) {
        salvage_unknown_space(&small, small.file.meta.main.root.page, harm);
        salvage_unknown_space(&tall, tall.file.meta.main.root.page, harm);
        salvage_unknown_space(&tall, branch, harm);
    }
}

/* A tree that was changed after the main one, of which two versions lie in the file, and before a
 * third. */
static void mixed_make(kv_db *db)
{
    static const char *const names[] = {"a", "", "", "a", "young"};
    static const unsigned entries[] = {400, 400, 400, 1, 60};
    rng random;
    rng_seed(&random, 10);
    for (size_t i = 0; i < KVI_COUNT(names); i++) {
        kv_txn *txn = begin(db);
        kv_tree *tree = *names[i] ? create(txn, names[i], 0) : kv_txn_main(txn);
        fill(tree, "key%05u", entries[i], 150, &random);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
}

/* What is not in its tree was reported. */
static void check_nothing_silent(const patient *p)
{
    kv_db *db;
    kv_txn *txn;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    assert_int_equal(kv_db_open(dest, &options, &db), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    for (size_t i = 0; i < p->n; i++)
        if (!holds(tree_of(txn, p->trees[p->entries[i].tree]), &p->entries[i]) &&
            !reported(p, &p->entries[i]))
            explain(p, &p->entries[i], NULL, 0, "missing, but not reported");
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
}

static void check_sound(void)
{
    kv_db *db;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    assert_int_equal(kv_db_open(dest, &options, &db), KV_OK);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* How many entries of a tree of the new database are not the sound file's. */
static size_t strangers(const patient *p, const char *name)
{
    kv_db *db;
    kv_txn *txn;
    kv_tree_info info = {.size = sizeof info};
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    assert_int_equal(kv_db_open(dest, &options, &db), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    kv_tree *saved = tree_of(txn, name);
    assert_int_equal(kv_tree_stat(saved, &info), KV_OK);
    size_t n = (size_t)info.entries;
    for (size_t i = 0; i < p->n; i++)
        n -= strcmp(p->trees[p->entries[i].tree], name) == 0 && holds(saved, &p->entries[i]);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    return n;
}

/* Nobody knows which pages are in use, and a tree's root is gone without a trace: what fits there need
 * not be its own, for sound trees have old versions, too. */
static void test_no_leaves_of_others(void **state)
{
    static patient mixed;
    surgeon s;
    kv_salvage_info info;
    kvi_tree_desc a;
    kvi_pgno leaf;
    patient_make(&mixed, 4096, mixed_make);
    surgeon_take(&s, mixed.file.bytes, mixed.file.size);
    surgeon_catalog(&s, 0, &leaf, &a);
    assert_int_equal(a.level, 1);
    lose_space(&s);
    damage(&s, a.root.page, HARM_WIPED);
    assert_int_equal(salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_true(info.losses > 0 && info.lost_entries > 0);
    assert_int_equal(strangers(&mixed, "a"), 0);
    check_there(&mixed, UINT64_MAX, true);
    patient_free(&mixed);
}

static void changed_make(kv_db *db)
{
    static const unsigned entries[] = {400, 200};
    rng random;
    rng_seed(&random, 11);
    for (size_t i = 0; i < KVI_COUNT(entries); i++) {
        kv_txn *txn = begin(db);
        fill(kv_txn_main(txn), "key%05u", entries[i], 150, &random);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
}

/* The root is gone, and the end of the file where the newest leaves were: those that they replaced have
 * as many entries, and all keys, but are not taken for them without a word. */
static void test_old_values_are_told(void **state)
{
    static patient changed;
    patient_make(&changed, 4096, changed_make);
    for (int cut = 0; cut < 2; cut++) {
        surgeon s;
        kv_salvage_info info;
        surgeon_take(&s, changed.file.bytes, changed.file.size);
        kvi_ptr child = surgeon_node(&s, &s.meta.main, 0, 1);
        assert_int_equal(child.birth, s.meta.id);
        lose_space(&s);
        damage(&s, s.meta.main.root.page, HARM_WIPED);
        if (cut)
            s.size = child.page * (size_t)s.page_size;
        assert_int_equal(salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_true(info.entries >= changed.n);
        assert_true(info.losses > 0);
        assert_int_equal(said.unknown, 1);
        check_nothing_silent(&changed);
    }
    patient_free(&changed);
}

static void leaf_changed_make(kv_db *db)
{
    rng random;
    rng_seed(&random, 14);
    kv_txn *txn = begin(db);
    fill(create(txn, "a", 0), "key%05u", 400, 150, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = begin(db);
    put(create(txn, "a", 0), "key%05u", 0, "changed", 7);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* Of a tree without its name, too, an old leaf is no tree of its own. */
static void test_old_leaf_of_a_found_tree(void **state)
{
    static patient p;
    surgeon s;
    kv_salvage_info info;
    patient_make(&p, 4096, leaf_changed_make);
    surgeon_take(&s, p.file.bytes, p.file.size);
    lose_space(&s);
    damage(&s, s.meta.catalog.root.page, HARM_WIPED);
    assert_int_equal(salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_int_equal(info.found_trees, 1);
    assert_int_equal(saved_entries("lost+found-1"), 400);
    check_there(&p, UINT64_MAX, true);
    patient_free(&p);
}

static unsigned changes; /* of ten entries */

static void partly_changed_make(kv_db *db)
{
    rng random;
    rng_seed(&random, 15);
    kv_txn *txn = begin(db);
    fill(kv_txn_main(txn), "key%05u", 10, 150, &random);
    fill(create(txn, "lost", 0), "key%05u", 3, 150, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = begin(db);
    fill(kv_txn_main(txn), "key%05u", changes, 150, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* An old leaf that shares most of its entries with the tree is a version of it; one that shares but half
 * may be more. */
static void test_old_leaf_by_halves(void **state)
{
    for (changes = 4; changes <= 5; changes++) {
        static patient p;
        surgeon s;
        kv_salvage_info info;
        kvi_tree_desc lost;
        kvi_pgno leaf;
        p = (patient){0};
        patient_make(&p, 4096, partly_changed_make);
        surgeon_take(&s, p.file.bytes, p.file.size);
        surgeon_catalog(&s, 0, &leaf, &lost);
        lose_space(&s);
        damage(&s, lost.root.page, HARM_WIPED);
        assert_int_equal(salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_int_equal(info.found_trees, changes == 5);
        assert_int_equal(saved_entries(""), 10);
        patient_free(&p);
    }
}

static void moved_on_make(kv_db *db)
{
    char key[16];
    uint8_t value[150] = {0};
    kv_txn *txn = begin(db);
    kv_tree *tree = create(txn, "a", 0);
    for (unsigned i = 40; i <= 50; i++)
        put(tree, "key%05u", i, value, sizeof value);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = begin(db);
    tree = create(txn, "a", 0);
    for (unsigned i = 40; i < 50; i++)
        assert_int_equal(kv_del(tree, key, (size_t)snprintf(key, sizeof key, "key%05u", i)), KV_OK);
    value[0] = 1;
    for (unsigned i = 50; i <= 60; i++)
        put(tree, "key%05u", i, value, sizeof value);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* An old leaf whose last key is the first of a newer one is no neighbour of it. */
static void test_old_leaf_touches(void **state)
{
    static patient p;
    surgeon s;
    kv_salvage_info info;
    patient_make(&p, 4096, moved_on_make);
    surgeon_take(&s, p.file.bytes, p.file.size);
    lose_space(&s);
    damage(&s, s.meta.catalog.root.page, HARM_WIPED);
    assert_int_equal(salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_int_equal(info.found_trees, 2);
    assert_int_equal(saved_entries("lost+found-1"), 11);
    assert_int_equal(saved_entries("lost+found-2"), 11);
    check_there(&p, UINT64_MAX, true);
    patient_free(&p);
}

/* Older lists of named snapshots are no trees, whether or not it is known which pages are in use. */
static void test_old_lists_of_snapshots(void **state)
{
    static const char *const names[] = {"before0", "before1", "z2", "z3"};
    surgeon s;
    kv_salvage_info info;
    surgeon_take(&s, kept.file.bytes, kept.file.size);
    lose_space(&s);
    damage(&s, s.meta.main.root.page, HARM_WIPED);
    assert_int_equal(salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_true(info.found_trees > 0);
    for (unsigned i = 1; i <= said.found; i++)
        for (size_t k = 0; k < KVI_COUNT(names); k++) {
            char found[32];
            snprintf(found, sizeof found, "lost+found-%u", i);
            assert_false(saved_has(found, names[k], strlen(names[k])));
        }
}

/* The only loss of a found tree; NULL: none. */
static const told_loss *loss_of_found(void)
{
    const told_loss *loss = NULL;
    for (size_t i = 0; i < said.n; i++)
        if (said.losses[i].kind == KV_LOSS_RANGE && of_found_tree(&said.losses[i])) {
            assert_null(loss);
            loss = &said.losses[i];
        }
    return loss;
}

/* A tree has lost its name and a leaf: the leaf's entries are missing all the same. */
static void test_leaf_of_a_found_tree(void **state)
{
    kvi_tree_desc twin;
    kvi_pgno leaf;
    size_t gone;
    surgeon_catalog(&small.file, 1, &leaf, &twin);
    uint64_t pages[2] = {small.file.meta.catalog.root.page,
                         surgeon_node(&small.file, &twin, 0, 1).page};
    salvage_damaged(&small, pages, 2, HARM_WIPED, &gone);
    assert_int_equal(gone, living(&small, pages[1]));
    const told_loss *loss = loss_of_found();
    assert_non_null(loss);
    assert_int_equal(loss->entries, gone);
    for (size_t i = 0; i < small.n; i++) {
        const model_entry *e = &small.entries[i];
        told_loss own = *loss;
        snprintf(own.tree, sizeof own.tree, "%s", "twin");
        if (strcmp(small.trees[e->tree], "twin") == 0)
            assert_int_equal(loss_covers(&own, &small, e), e->leaf == pages[1]);
    }
}

/* Nobody knows which pages are in use, and what is found has lost a value: it may be an old one. */
static void test_value_of_a_found_tree(void **state)
{
    surgeon s;
    kv_salvage_info info;
    kvi_tree_desc packed;
    kvi_pgno leaf;
    kvi_entry entry;
    uint8_t *stored;
    for (int harmed = 0; harmed < 2; harmed++) {
        surgeon_take(&s, small.file.bytes, small.file.size);
        surgeon_catalog(&s, 0, &leaf, &packed);
        assert_true(surgeon_find(&s, &packed, KVI_ENTRY_COMPRESSED, &leaf, &stored, &entry));
        lose_space(&s);
        damage(&s, s.meta.catalog.root.page, HARM_WIPED);
        if (harmed)
            memset(stored + 10, 0xff, 20);
        surgeon_stamp(&s, leaf);
        assert_int_equal(salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_int_equal(loss_of_found() != NULL, harmed);
        if (harmed)
            assert_true(loss_of_found()->entries == UINT64_MAX);
    }
}

/* A multi-value tree gets pairs, and nothing else: what its own leaves hold besides is lost, leaves that
 * nothing leads to are put elsewhere. */
static void test_pairs_alone(void **state)
{
    for (int orphans = 0; orphans < 2; orphans++) {
        surgeon s;
        kv_salvage_info info;
        kvi_tree_desc twin;
        kvi_pgno leaf;
        surgeon_take(&s, small.file.bytes, small.file.size);
        uint8_t *bytes = surgeon_catalog(&s, 1, &leaf, &twin);
        twin.flags |= KVI_TREE_MULTI;
        kvi_tree_desc_encode(&twin, bytes);
        surgeon_stamp(&s, leaf);
        if (orphans)
            damage(&s, twin.root.page, HARM_WIPED);
        assert_int_equal(salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        check_sound();
        assert_int_equal(info.lost_entries, twin.entries);
        assert_int_equal(info.lost_values, orphans ? 0 : twin.entries);
        assert_int_equal(info.entries, small.n - (orphans ? 0 : twin.entries));
    }
}

static void pairs_make(kv_db *db)
{
    const kv_put_options expires = {.size = sizeof expires, .ttl_ms = 1000000000};
    kv_txn *txn = begin(db);
    kv_tree *tree = create(txn, "pairs", 0);
    for (unsigned i = 0; i < 2; i++) {
        uint8_t pair[32];
        size_t len = kvi_pairs_join(kvi_slice_of("key", 3), kvi_slice_of(i ? "b" : "a", 1), pair,
                                    sizeof pair);
        assert_int_equal(kv_put_with(tree, pair, len, "", 0, i ? &expires : NULL), KV_OK);
    }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* A pair does not expire: one that says so is none. */
static void test_pair_that_expires(void **state)
{
    static patient p;
    surgeon s;
    kv_salvage_info info;
    kvi_tree_desc desc;
    kvi_pgno leaf;
    patient_make(&p, 4096, pairs_make);
    surgeon_take(&s, p.file.bytes, p.file.size);
    uint8_t *bytes = surgeon_catalog(&s, 0, &leaf, &desc);
    desc.flags |= KVI_TREE_MULTI;
    kvi_tree_desc_encode(&desc, bytes);
    surgeon_stamp(&s, leaf);
    assert_int_equal(salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    check_sound();
    assert_int_equal(info.entries, 1);
    assert_int_equal(info.lost_values, 1);
    patient_free(&p);
}

#define KEYS  60 /* of a multi-value tree */
#define PAIRS 12 /* of each */

static size_t pair_of(unsigned key, unsigned value, char text[2][32])
{
    snprintf(text[0], 32, "key%05u", key);
    return (size_t)snprintf(text[1], 32, "value %u of %u", value, key);
}

static void multi_make(kv_db *db)
{
    kv_tree *tree;
    char text[2][32];
    rng random;
    rng_seed(&random, 13);
    kv_txn *txn = begin(db);
    fill(kv_txn_main(txn), "main%05u", 100, 150, &random);
    assert_int_equal(kv_tree_open(txn, "pairs", 5, KV_TREE_CREATE | KV_TREE_MULTI, NULL, &tree),
                     KV_OK);
    for (unsigned key = 0; key < KEYS; key++)
        for (unsigned value = 0; value < PAIRS; value++) {
            size_t len = pair_of(key, value, text);
            assert_int_equal(kv_multi_put(tree, text[0], 8, text[1], len), KV_OK);
        }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* How many pairs the tree of the new database has, and no others. */
static unsigned pairs_saved(void)
{
    kv_db *db;
    kv_txn *txn;
    kv_tree *tree;
    char text[2][32];
    unsigned n = 0;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    kv_tree_info info = {.size = sizeof info};
    assert_int_equal(kv_db_open(dest, &options, &db), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    assert_int_equal(kv_tree_open(txn, "pairs", 5, KV_TREE_MULTI, NULL, &tree), KV_OK);
    for (unsigned key = 0; key < KEYS; key++)
        for (unsigned value = 0; value < PAIRS; value++) {
            size_t len = pair_of(key, value, text);
            n += kv_multi_has(tree, text[0], 8, text[1], len) == KV_OK;
        }
    assert_int_equal(kv_tree_stat(tree, &info), KV_OK);
    assert_int_equal(info.entries, n);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    return n;
}

static void pairs_take(surgeon *s, kvi_tree_desc *pairs)
{
    kv_db *db;
    kvi_pgno leaf;
    const kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = 4096};
    unlink(path);
    assert_int_equal(kv_db_open(path, &options, &db), KV_OK);
    multi_make(db);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_load(s, path);
    surgeon_catalog(s, 0, &leaf, pairs);
    assert_int_equal(pairs->level, 1);
}

/* Pairs come back into their tree, also those of leaves that nothing leads to any more. */
static void test_pairs_come_back(void **state)
{
    enum { SOUND, ROOT_HARMED, ROOT_WIPED, LEAF_HARMED, CASES };
    for (int how = 0; how < CASES; how++) {
        surgeon s;
        kv_salvage_info info;
        kvi_tree_desc pairs;
        unsigned gone = 0;
        pairs_take(&s, &pairs);
        kvi_pgno leaf = surgeon_node(&s, &pairs, 0, 1).page;
        if (how == LEAF_HARMED) {
            gone = kvi_node_count(surgeon_page(&s, leaf));
            damage(&s, leaf, HARM_HEADER);
        } else if (how != SOUND) {
            damage(&s, pairs.root.page, how == ROOT_WIPED ? HARM_WIPED : HARM_HEADER);
        }
        assert_int_equal(salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_int_equal(pairs_saved(), KEYS * PAIRS - gone);
        assert_int_equal(said.found, 0);
        assert_int_equal(info.lost_values, 0);
        assert_int_equal(info.lost_entries, gone);
        assert_int_equal(info.entries, KEYS * PAIRS - gone + 100);
        check_sound();
    }
}

/* The end of the file is missing, and with it the records of free pages: what lies before is there. */
static void test_truncated(void **state)
{
    uint64_t cut = tall.file.size / tall.file.page_size * 3 / 4;
    kv_salvage_info info;
    surgeon s;
    surgeon_take(&s, tall.file.bytes, tall.file.size);
    s.size = cut * s.page_size;
    assert_int_equal(salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_true(info.lost_entries > 100 && info.losses > 0);
    check_there(&tall, cut, true); /* names and roots are gone too */
}

/* The value at the end, and its leaf in a page that an earlier version left. */
static void tail_make(kv_db *db)
{
    static const uint8_t bytes[30000];
    for (unsigned round = 0; round < 8; round++) {
        kv_txn *txn = begin(db);
        put(kv_txn_main(txn), "key%05u", round, "small", 5);
        if (round == 4)
            put(kv_txn_main(txn), "large%u", 1, bytes, sizeof bytes);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
}

/* The end of the file is missing with half of a large value, and nobody knows the checksums' seed:
 * what is left of the value is not taken for all of it. */
static void test_truncated_unsealed(void **state)
{
    static patient tail;
    kv_salvage_info info;
    surgeon s;
    kvi_pgno leaf;
    kvi_entry entry;
    uint8_t *stored;
    patient_make(&tail, 4096, tail_make);
    surgeon_take(&s, tail.file.bytes, tail.file.size);
    assert_true(surgeon_find(&s, &s.meta.main, KVI_ENTRY_LARGE, &leaf, &stored, &entry));
    assert_true(leaf < entry.large.ptr.page && entry.large.pages > 2);
    uint64_t cut = entry.large.ptr.page + 2;
    damage(&s, 0, HARM_HEADER);
    damage(&s, 1, HARM_HEADER);
    s.size = cut * s.page_size;
    assert_int_equal(salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_int_equal(info.unsealed, 1);
    assert_int_equal(info.lost_values, 1);
    assert_int_equal(info.losses, 1);
    assert_int_equal(said.losses[0].from_len, 6);
    assert_memory_equal(said.losses[0].from, "large1", 6);
    check_there(&tail, cut - 1, false);
    patient_free(&tail);
}

/* The file ends within the last page of a large value: behind the value, or a byte before its end. */
static void test_truncated_behind_a_value(void **state)
{
    static patient tail;
    patient_make(&tail, 4096, tail_make);
    for (int less = 0; less < 2; less++) {
        kv_salvage_info info;
        surgeon s;
        kvi_pgno leaf;
        kvi_entry entry;
        uint8_t *stored;
        surgeon_take(&s, tail.file.bytes, tail.file.size);
        assert_true(surgeon_find(&s, &s.meta.main, KVI_ENTRY_LARGE, &leaf, &stored, &entry));
        assert_true(leaf < entry.large.ptr.page && s.meta.main.root.page < entry.large.ptr.page);
        assert_true(entry.large.stored_len % s.page_size > 1);
        s.size = entry.large.ptr.page * s.page_size + entry.large.stored_len - less;
        assert_int_equal(salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_int_equal(info.losses, less);
        assert_int_equal(info.lost_values, less);
        assert_int_equal(saved_has("", "large1", 6), !less);
        if (!less)
            check_complete(&tail);
    }
    patient_free(&tail);
}

/* The root is gone and so is the end, to which its children lead. */
static void test_root_and_end_gone(void **state)
{
    uint64_t pages = tall.file.size / tall.file.page_size;
    for (uint64_t cut = pages - 1; cut > pages - 12; cut--) {
        kv_salvage_info info;
        surgeon s;
        surgeon_take(&s, tall.file.bytes, tall.file.size);
        damage(&s, s.meta.main.root.page, HARM_WIPED);
        s.size = cut * s.page_size;
        assert_int_equal(salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        check_there(&tall, cut, true);
    }
}

/* The tree reaches pages that are free by the records: neither is believed about the other. The younger
 * leaf is found. */
static void test_contradicting_records(void **state)
{
    kv_db *db;
    surgeon s;
    kv_salvage_info info;
    rng random;
    rng_seed(&random, 7);
    unlink(path);
    assert_int_equal(kv_db_open(path, NULL, &db), KV_OK);
    kv_txn *txn = begin(db);
    fill(kv_txn_main(txn), "key%05u", 100, 150, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_load(&s, path);
    kvi_tree_desc older = s.meta.main;
    surgeon_free(&s);
    assert_int_equal(kv_db_open(path, NULL, &db), KV_OK);
    txn = begin(db);
    put(kv_txn_main(txn), "key%05u", 50, "changed", 7);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_load(&s, path);
    s.meta.main = older;
    surgeon_put_meta(&s);
    damage(&s, surgeon_node(&s, &older, 0, 0).page, HARM_WIPED);
    assert_int_equal(salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_non_null(strstr(said.notes, "which pages are in use"));
    assert_int_equal(info.bad_pages, 1);
    assert_true(info.entries > 50 && said.lost > 0 && said.lost < 50);
    assert_int_equal(said.found, 1);
}

/* A page that the file will never have. */
static void test_high_water_lies(void **state)
{
    kv_salvage_info info;
    surgeon s;
    surgeon_take(&s, small.file.bytes, small.file.size);
    s.meta.high_water = (uint64_t)1 << 47;
    surgeon_put_meta(&s);
    assert_int_equal(salvage(&s, &info), KV_OK);
    assert_int_equal(info.losses, 0);
    damage(&s, s.meta.main.root.page, HARM_HEADER);
    assert_int_equal(salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    check_complete(&small);
}

/* The newest commit is not whole, as after a power cut: the one before it is read. */
static void test_unfinished_commit(void **state)
{
    const uint64_t none = 0;
    kv_salvage_info info;
    surgeon s;
    surgeon_take(&s, small.file.bytes, small.file.size);
    kvi_meta newer = s.meta;
    newer.id++;
    newer.durable = s.meta.id;
    newer.seal = 12345;
    newer.walk = s.page_size;
    newer.kind = KVI_KIND_LAZY;
    kvi_meta_encode(&newer, s.bytes);
    kvi_meta_encode(&s.meta, s.bytes + s.page_size);
    assert_int_equal(salvage(&s, &info), KV_OK);
    assert_int_equal(info.commit_id, s.meta.id);
    assert_int_equal(info.guessed, 0);
    assert_non_null(strstr(said.notes, "is not whole"));
    assert_int_equal(info.losses, 0);
    assert_int_equal(check_saved(&small, &none, 0), 0);
    memset(s.bytes + s.page_size, 0xde,
           KVI_META_SIZE); /* now it is the only one, and still no guess */
    assert_int_equal(salvage(&s, &info), KV_OK);
    assert_int_equal(info.commit_id, newer.id);
    assert_int_equal(info.guessed, 0);
    assert_non_null(strstr(said.notes, "there is no other"));
    assert_int_equal(check_saved(&small, &none, 0), 0);
    surgeon_free(&s);
}

/* Nothing is there, or nothing but the name of a tree, or nothing any more: that is not a failure. */
static void test_empty(void **state)
{
    for (int named = 0; named < 3; named++) {
        surgeon s;
        kv_salvage_info info;
        kv_db *db;
        kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
        unlink(path);
        assert_int_equal(kv_db_open(path, &options, &db), KV_OK);
        if (named == 1) {
            kv_txn *txn = begin(db);
            (void)create(txn, "alone", 0);
            assert_int_equal(kv_txn_commit(txn), KV_OK);
        }
        for (int there = 1; named == 2 && there >= 0; there--) {
            kv_txn *txn = begin(db);
            if (there)
                put(kv_txn_main(txn), "key%u", 1, "", 0);
            else
                assert_int_equal(kv_del(kv_txn_main(txn), "key1", 4), KV_OK);
            assert_int_equal(kv_txn_commit(txn), KV_OK);
        }
        assert_int_equal(kv_db_close(db), KV_OK);
        surgeon_load(&s, path);
        assert_int_equal(salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_int_equal(info.trees, named == 1);
        assert_int_equal(info.entries, 0);
        assert_int_equal(info.losses, 0);
    }
}

/* An entry that has no form, bytes that do not decompress: the value is lost, and said to be. */
static void test_senseless_values(void **state)
{
    for (int packed = 0; packed < 3; packed++) {
        surgeon s;
        kv_salvage_info info;
        kvi_tree_desc desc;
        kvi_pgno leaf;
        kvi_entry entry;
        uint8_t *stored;
        surgeon_take(&s, small.file.bytes, small.file.size);
        surgeon_catalog(&s, 0, &leaf, &desc);
        assert_true(surgeon_find(&s, packed ? &desc : &s.meta.main,
                                 packed ? KVI_ENTRY_COMPRESSED : KVI_ENTRY_LARGE, &leaf, &stored,
                                 &entry));
        if (packed == 2)
            kvi_put64(stored + 2, (uint64_t)1 << 60); /* its length */
        else if (packed)
            memset(stored + 10, 0xff, 20);
        else
            stored[0] = 0xf8;
        surgeon_stamp(&s, leaf);
        assert_int_equal(salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_int_equal(info.lost_values, 1);
        assert_int_equal(info.losses, 1);
    }
}

/* Number nth of the leaf's large values, as it is stored. */
static kvi_slice large_stored(const surgeon *s, kvi_pgno leaf, unsigned nth)
{
    const uint8_t *page = surgeon_page(s, leaf);
    for (unsigned i = 0; i < kvi_node_count(page); i++) {
        kvi_entry entry;
        kvi_stored stored;
        stored.bytes = kvi_leaf_value(page, s->page_size, i, &stored.special);
        if (kvi_entry_parse(stored, &entry) && entry.flags & KVI_ENTRY_LARGE && nth-- == 0)
            return stored.bytes;
    }
    fail_msg("leaf %llu has too few large values", (unsigned long long)leaf);
    return (kvi_slice){NULL, 0};
}

/* Values that share their pages: a file could have more of them than any disk. */
static void test_value_used_twice(void **state)
{
    surgeon s;
    kv_salvage_info info;
    kv_inspect *look;
    kvi_pgno leaf;
    kvi_entry entry;
    uint8_t *stored;
    surgeon_take(&s, small.file.bytes, small.file.size);
    assert_true(surgeon_find(&s, &s.meta.main, KVI_ENTRY_LARGE, &leaf, &stored, &entry));
    kvi_slice first = large_stored(&s, leaf, 0), second = large_stored(&s, leaf, 1);
    assert_int_equal(first.len, second.len);
    memcpy(s.bytes + (second.ptr - s.bytes), first.ptr, first.len);
    surgeon_stamp(&s, leaf);
    assert_int_equal(salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_int_equal(info.lost_values, 1);
    assert_int_equal(info.losses, 1);
    assert_int_equal(said.losses[0].kind, KV_LOSS_VALUE);
    assert_memory_equal(said.losses[0].from, "large2", 6);
    assert_int_equal(kv_inspect_open(path, &look, NULL, 0), KV_OK);
    for (uint64_t page = entry.large.ptr.page; page < entry.large.ptr.page + 2; page++) {
        kv_page_info at = {.size = sizeof at};
        assert_int_equal(kv_inspect_page(look, page, &at), KV_OK);
        assert_int_equal(at.owner, KV_OWNER_MAIN);
        assert_int_equal(at.first, entry.large.ptr.page);
    }
    kv_inspect_close(look);
}

/* A value on a leaf that nothing leads to says that it is longer than the file: it is lost, and nothing
 * else is. */
static void test_endless_value(void **state)
{
    uint64_t root = small.file.meta.main.root.page;
    surgeon s;
    kv_salvage_info info;
    kvi_pgno leaf;
    kvi_entry entry;
    uint8_t *stored;
    surgeon_take(&s, small.file.bytes, small.file.size);
    assert_true(surgeon_find(&s, &s.meta.main, KVI_ENTRY_LARGE, &leaf, &stored, &entry));
    s.meta.high_water *= 100;
    surgeon_put_meta(&s);
    entry.large.stored_len = entry.large.raw_len = 50 * s.size;
    entry.large.pages = kvi_large_pages(entry.large.stored_len, s.page_size);
    kvi_large_put(stored + kvi_entry_ref_at(&entry), &entry.large);
    surgeon_stamp(&s, leaf);
    damage(&s, root, HARM_HEADER);
    assert_int_equal(salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_int_equal(info.lost_values, 1);
    assert_int_equal(info.losses, 1);
    assert_int_equal(info.entries, small.n - 1);
}

/* ---- without a meta ---- */

static void lose_metas(surgeon *s)
{
    memset(s->bytes, 0, 2 * (size_t)s->page_size);
}

static bool root_taken(const char *of, kvi_ptr root)
{
    char sentence[100];
    snprintf(sentence, sizeof sentence, "page %llu (birth %llu) is taken for the root of the %s",
             (unsigned long long)root.page, (unsigned long long)root.birth, of);
    return strstr(said.notes, sentence);
}

/* The newest catalog counts, wherever it lies. */
static void test_two_catalogs(void **state)
{
    uint64_t end = small.file.size / small.file.page_size;
    uint64_t catalog = small.file.meta.catalog.root.page;
    for (int twice = 0; twice < 2; twice++) {
        surgeon s;
        kv_salvage_info info;
        surgeon_take(&s, small.file.bytes, small.file.size);
        s.bytes = realloc(s.bytes, s.size + 2 * (size_t)s.page_size);
        assert_non_null(s.bytes);
        for (unsigned i = 0; i < 2; i++) { /* births 2 and 1, or 1 and 2, above the sound one's */
            uint8_t *page = surgeon_page(&s, end + i);
            memcpy(page, surgeon_page(&s, catalog), s.page_size);
            kvi_put64(page + KVI_P_page, end + i);
            kvi_put64(page + KVI_P_birth,
                      kvi_get64(page + KVI_P_birth) + 1 + (i ^ (unsigned)twice));
        }
        s.size += 2 * (size_t)s.page_size;
        lose_metas(&s);
        assert_int_equal(salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        const kvi_ptr newest = {end + !twice, small.file.meta.catalog.root.birth + 2};
        assert_true(root_taken("catalog", newest));
        check_complete(&small);
    }
}

/* A catalog of which no tree is there is none. */
static void test_catalog_without_trees(void **state)
{
    surgeon s;
    kv_salvage_info info;
    kvi_tree_desc desc;
    kvi_pgno leaf;
    surgeon_take(&s, small.file.bytes, small.file.size);
    for (unsigned i = 0; i < small.n_trees - 1; i++) {
        surgeon_catalog(&s, i, &leaf, &desc);
        damage(&s, desc.root.page, HARM_WIPED);
    }
    lose_metas(&s);
    assert_int_equal(salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_null(strstr(said.notes, "root of the catalog"));
    assert_true(root_taken("main tree", small.file.meta.main.root));
    assert_int_equal(info.trees, info.found_trees);
}

static void old_root_make(kv_db *db)
{
    static const char *const names[] = {"", "twin"};
    static uint8_t bytes[9000];
    rng random;
    rng_seed(&random, 8);
    for (size_t i = 0; i < 2; i++) {
        kv_txn *txn = begin(db);
        kv_tree *tree = i ? create(txn, names[i], 0) : kv_txn_main(txn);
        fill(tree, "key%05u", 200, 150, &random);
        if (i)
            put(tree, "large%u", 1, bytes, sizeof bytes);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
    kv_txn *txn = begin(db);
    put(create(txn, "twin", 0), "key%05u", 20, "changed", 7);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* Older catalogs, which lead to what trees were then. */
static void wipe_old_catalogs(surgeon *s)
{
    for (kvi_pgno page = 2; page < s->size / s->page_size; page++) {
        const uint8_t *bytes = surgeon_page(s, page);
        bool special;
        if (bytes[KVI_P_type] == KVI_LEAF && kvi_get64(bytes + KVI_P_page) == page &&
            page != s->meta.catalog.root.page &&
            kvi_leaf_value(bytes, s->page_size, 0, &special).len == KVI_TREE_SIZE)
            damage(s, page, HARM_WIPED);
    }
}

/* An older root of a named tree is newer than the main tree's; so is what a user's value pretends to
 * be. Neither is taken for that. */
static void test_roots_of_others(void **state)
{
    static patient old;
    patient_make(&old, 4096, old_root_make);
    for (int forged = 0; forged < 2; forged++) {
        surgeon s;
        kv_salvage_info info;
        kvi_tree_desc twin;
        kvi_pgno leaf;
        kvi_entry entry;
        uint8_t *stored;
        surgeon_take(&s, old.file.bytes, old.file.size);
        surgeon_catalog(&s, 0, &leaf, &twin);
        assert_int_equal(twin.level, s.meta.main.level);
        wipe_old_catalogs(&s);
        assert_true(surgeon_find(&s, &twin, KVI_ENTRY_LARGE, &leaf, &stored, &entry));
        if (forged) {
            kvi_pgno at = entry.large.ptr.page + 1;
            uint8_t *page = surgeon_page(&s, at);
            memcpy(page, surgeon_page(&s, s.meta.main.root.page), s.page_size);
            kvi_put64(page + KVI_P_page, at);
            kvi_put64(page + KVI_P_birth, s.meta.id);
            kvi_branch_set_child(page, s.page_size, 0, kvi_branch_child(page, s.page_size, 1));
        }
        lose_metas(&s);
        assert_int_equal(salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_true(root_taken("main tree", old.file.meta.main.root));
        if (!forged)
            check_complete(&old);
    }
    patient_free(&old);
}

/* A tree that has become small, and a named snapshot of when it was large. The named tree's commit, if
 * there is one, is younger than all of it. */
static void shrunk_make(kv_db *db, bool named)
{
    rng random;
    rng_seed(&random, 12);
    kv_txn *txn = begin(db);
    fill(kv_txn_main(txn), "key%05u", 400, 150, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_snapshot_create(db, "large", 5, 0), KV_OK);
    txn = begin(db);
    for (unsigned i = 20; i < 400; i++) {
        char key[16];
        int len = snprintf(key, sizeof key, "key%05u", i);
        assert_int_equal(kv_del(kv_txn_main(txn), key, (size_t)len), KV_OK);
    }
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    for (unsigned round = 0; round < (named ? 4 : 3); round++) {
        txn = begin(db);
        put(round < 3 ? kv_txn_main(txn) : create(txn, "young", 0), "key%05u", 10 + round, "fresh",
            5);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
}

static void shrunk_main_make(kv_db *db)
{
    shrunk_make(db, false);
}

static void shrunk_named_make(kv_db *db)
{
    shrunk_make(db, true);
}

/* Where the main tree of the only named snapshot begins. */
static kvi_pgno kept_root(const surgeon *s)
{
    kvi_named named;
    kvi_stored stored;
    const uint8_t *list = surgeon_page(s, s->meta.snapshots.root.page);
    stored.bytes = kvi_leaf_value(list, s->page_size, 0, &stored.special);
    assert_true(kvi_stored_named(stored, s->page_size, s->meta.high_water, s->meta.id, &named));
    return named.main.root.page;
}

/* Moves it behind all other pages. */
static void move_kept_root(surgeon *s)
{
    kvi_pgno from = kept_root(s), to = s->size / s->page_size;
    s->bytes = realloc(s->bytes, s->size + s->page_size);
    assert_non_null(s->bytes);
    s->size += s->page_size;
    memcpy(surgeon_page(s, to), surgeon_page(s, from), s->page_size);
    kvi_put64(surgeon_page(s, to) + KVI_P_page, to);
    surgeon_stamp(s, to);
    damage(s, from, HARM_WIPED);
}

/* The larger root of a named snapshot is not taken for the newest one, wherever it lies; where that cannot
 * be told, what is younger than the root that is taken is no older version of it. */
static void test_root_of_a_snapshot(void **state)
{
    static void (*const make[])(kv_db * db) = {shrunk_main_make, shrunk_named_make};
    for (int i = 0; i < 3; i++) {
        static patient shrunk;
        surgeon s;
        kv_salvage_info info;
        bool named = i == 1;
        shrunk = (patient){0};
        patient_make(&shrunk, 4096, make[named]);
        surgeon_take(&s, shrunk.file.bytes, shrunk.file.size);
        assert_int_equal(s.meta.main.level, 0);
        if (i == 2)
            move_kept_root(&s);
        lose_metas(&s);
        assert_int_equal(salvage(&s, &info), KV_OK);
        assert_int_equal(root_taken("main tree", s.meta.main.root), !named);
        surgeon_free(&s);
        check_there(&shrunk, UINT64_MAX, named);
        patient_free(&shrunk);
    }
}

static void tall_named_make(kv_db *db)
{
    rng random;
    rng_seed(&random, 14);
    kv_txn *txn = begin(db);
    fill(create(txn, "high", 0), "key%05u", 7000, 150, &random);
    fill(create(txn, "words", 0), "word%04u", 60, 100, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = begin(db);
    fill(kv_txn_main(txn), "main%05u", 100, 150, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* A copy of the root's first child, at the end of the file, is its second one. */
static void double_child(surgeon *s, kvi_pgno root)
{
    kvi_pgno end = s->size / s->page_size;
    s->bytes = realloc(s->bytes, s->size + s->page_size);
    assert_non_null(s->bytes);
    s->size += s->page_size;
    kvi_ptr first = kvi_branch_child(surgeon_page(s, root), s->page_size, 0);
    memcpy(surgeon_page(s, end), surgeon_page(s, first.page), s->page_size);
    kvi_put64(surgeon_page(s, end) + KVI_P_page, end);
    surgeon_stamp(s, end);
    kvi_branch_set_child(surgeon_page(s, root), s->page_size, 1, (kvi_ptr){end, first.birth});
}

/* Where the root of a named tree should be, an older version of it is. The branches that this one leads to
 * are guesses as well: what is below comes back, but not without a word. Of two that have the same keys one
 * does; the other is no tree of its own. */
static void test_old_root_of_a_named_tree(void **state)
{
    static patient high;
    patient_make(&high, 4096, tall_named_make);
    for (int doubled = 0; doubled < 2; doubled++) {
        surgeon s;
        kv_salvage_info info;
        kvi_tree_desc desc;
        kvi_pgno leaf;
        surgeon_take(&s, high.file.bytes, high.file.size);
        surgeon_catalog(&s, 0, &leaf, &desc);
        assert_int_equal(desc.level, 2);
        if (doubled)
            double_child(&s, desc.root.page);
        kvi_put64(surgeon_page(&s, desc.root.page) + KVI_P_birth, desc.root.birth - 1);
        surgeon_stamp(&s, desc.root.page);
        kvi_ptr newest = s.meta.main.root;
        lose_metas(&s);
        assert_int_equal(salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_true(root_taken("main tree", newest));
        assert_true(info.losses > 0);
        assert_int_equal(said.entries, high.n); /* none twice */
        check_there(&high, UINT64_MAX, doubled);
        check_sound();
    }
    patient_free(&high);
}

/* The same where the larger root lies behind the newer one: it is met later, and passed over. */
static void test_root_of_a_snapshot_behind(void **state)
{
    static patient shrunk;
    surgeon s;
    kv_salvage_info info;
    kvi_pgno large = 0, page = 2;
    shrunk = (patient){0};
    patient_make(&shrunk, 4096, shrunk_main_make);
    surgeon_take(&s, shrunk.file.bytes, shrunk.file.size);
    kvi_pgno end = s.size / s.page_size;
    for (; page < end; page++) {
        const uint8_t *bytes = surgeon_page(&s, page);
        if (bytes[KVI_P_type] == KVI_BRANCH && kvi_get64(bytes + KVI_P_page) == page &&
            (!large ||
             kvi_get64(bytes + KVI_P_birth) < kvi_get64(surgeon_page(&s, large) + KVI_P_birth)))
            large = page;
    }
    assert_true(large > 0);
    s.bytes = realloc(s.bytes, s.size + s.page_size);
    assert_non_null(s.bytes);
    s.size += s.page_size;
    memcpy(surgeon_page(&s, end), surgeon_page(&s, large), s.page_size);
    kvi_put64(surgeon_page(&s, end) + KVI_P_page, end);
    surgeon_stamp(&s, end);
    damage(&s, large, HARM_WIPED);
    kvi_ptr newest = s.meta.main.root;
    lose_metas(&s);
    assert_int_equal(salvage(&s, &info), KV_OK);
    surgeon_free(&s);
    assert_true(root_taken("main tree", newest));
    check_there(&shrunk, UINT64_MAX, false);
    patient_free(&shrunk);
}

/* ---- kv_inspect ---- */

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
    surgeon_save(&small.file, path);
    assert_int_equal(kv_inspect_open(NULL, &look, NULL, 0), KV_EINVAL);
    assert_int_equal(kv_inspect_open("/nowhere", &look, message, sizeof message), KV_ENOENT);
    assert_null(look);
    assert_true(strlen(message) > 5);
    assert_int_equal(kv_inspect_open(path, &look, message, sizeof message), KV_OK);
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
    assert_int_equal(kv_inspect_choose(look, 0, path, message, sizeof message), KV_EXISTS);
    kv_inspect_close(look);
    kv_inspect_close(NULL);
}

/* Pages by use, as the trees count them. */
static void test_inspect_counts(void **state)
{
    kv_inspect *look;
    uint64_t leaves = 0, branches = 0, large = 0;
    surgeon_save(&tall.file, path);
    assert_int_equal(kv_inspect_open(path, &look, NULL, 0), KV_OK);
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

static unsigned files_there(void)
{
    unsigned n = 0;
    DIR *d = opendir(dir.dir);
    for (struct dirent *e = readdir(d); e; e = readdir(d))
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void test_nothing_readable(void **state)
{
    surgeon s;
    kv_salvage_info info;
    surgeon_take(&s, small.file.bytes, small.file.size);
    memset(s.bytes, 'x', s.size);
    assert_int_equal(salvage(&s, &info), KV_ENOTKV);
    surgeon_free(&s);
    assert_true(strlen(said.notes) > 10);
    surgeon_take(&s, small.file.bytes, small.file.size);
    memset(s.bytes + 2 * s.page_size, 0, s.size - 2 * s.page_size);
    assert_int_equal(salvage(&s, &info), KV_NOTFOUND);
    surgeon_free(&s);
    assert_int_not_equal(access(dest, F_OK), 0);
    assert_int_equal(files_there(), 1);
}

/* The main tree has no entries, and the only named one is gone with the catalog; or pages still have
 * headers, and nothing else. */
static void test_no_entry_readable(void **state)
{
    kv_db *db;
    surgeon s;
    kv_salvage_info info;
    unlink(path);
    assert_int_equal(kv_db_open(path, NULL, &db), KV_OK);
    kv_txn *txn = begin(db);
    put(create(txn, "alone", 0), "key%u", 1, "value", 5);
    put(kv_txn_main(txn), "key%u", 1, "value", 5);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = begin(db);
    assert_int_equal(kv_del(kv_txn_main(txn), "key1", 4), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_load(&s, path);
    memset(s.bytes + 2 * s.page_size, 0, s.size - 2 * s.page_size);
    assert_int_equal(salvage(&s, &info), KV_NOTFOUND);
    surgeon_free(&s);
    surgeon_take(&s, small.file.bytes, small.file.size);
    memset(s.bytes, 0, 2 * (size_t)s.page_size);
    for (kvi_pgno page = 2; page < s.size / s.page_size; page++)
        memset(surgeon_page(&s, page) + KVI_HEADER_SIZE, 0xff, s.page_size - KVI_HEADER_SIZE);
    assert_int_equal(salvage(&s, &info), KV_NOTFOUND);
    surgeon_free(&s);
    assert_int_equal(files_there(), 1);
}

static void test_file_is_left_alone(void **state)
{
    surgeon s, after;
    kv_salvage_info info;
    surgeon_take(&s, small.file.bytes, small.file.size);
    damage(&s, s.meta.main.root.page, HARM_HEADER);
    assert_int_equal(salvage(&s, &info), KV_OK);
    assert_int_equal(files_there(), 2);
    surgeon_load(&after, path);
    assert_int_equal(after.size, s.size);
    assert_memory_equal(after.bytes, s.bytes, s.size);
    surgeon_free(&after);
    surgeon_free(&s);
    assert_int_equal(kv_db_salvage(path, dest, NULL, NULL), KV_EXISTS);
    unlink(dest);
    assert_int_equal(kv_db_salvage(path, dest, NULL, NULL), KV_OK);
}

static int stop_at_once(void *context, const kv_salvage_loss *loss)
{
    return 1;
}

static int stop_progress(void *context, const kv_progress *progress)
{
    return 1;
}

static void test_callbacks_stop_it(void **state)
{
    surgeon s;
    kv_salvage_options options = {.size = sizeof options, .loss = stop_at_once};
    surgeon_take(&s, small.file.bytes, small.file.size);
    damage(&s, s.meta.main.root.page, HARM_HEADER);
    surgeon_save(&s, path);
    surgeon_free(&s);
    unlink(dest);
    assert_int_equal(kv_db_salvage(path, dest, &options, NULL), KV_ECANCELED);
    options.loss = NULL;
    options.progress = stop_progress;
    assert_int_equal(kv_db_salvage(path, dest, &options, NULL), KV_ECANCELED);
    surgeon_save(&tall.file, path); /* long before the end */
    assert_int_equal(kv_db_salvage(path, dest, &options, NULL), KV_ECANCELED);
    assert_int_equal(files_there(), 1);
}

static unsigned calls_left; /* of a callback, before it stops the salvage */

static int stop_loss_later(void *context, const kv_salvage_loss *loss)
{
    return calls_left-- == 0;
}

static int stop_progress_later(void *context, const kv_progress *progress)
{
    return calls_left-- == 0;
}

/* Whichever call of a callback it is: nothing half made is left. */
static void test_callbacks_stop_it_anywhere(void **state)
{
    const surgeon *sound = &tall.file;
    surgeon s;
    kvi_pgno leaf;
    kvi_tree_desc desc;
    surgeon_catalog(sound, 0, &leaf, &desc);
    surgeon_take(&s, sound->bytes, sound->size);
    damage(&s, sound->meta.main.root.page, HARM_WIPED);
    damage(&s, surgeon_node(sound, &sound->meta.main, 0, 0).page, HARM_WIPED);
    damage(&s, surgeon_node(sound, &desc, 0, 1).page, HARM_WIPED);
    surgeon_save(&s, path);
    surgeon_free(&s);
    for (int progress = 0; progress < 2; progress++) {
        kv_salvage_options options = {.size = sizeof options};
        int rc = KV_ECANCELED;
        unsigned stops = 0;
        if (progress)
            options.progress = stop_progress_later;
        else
            options.loss = stop_loss_later;
        unlink(dest);
        for (; rc == KV_ECANCELED; stops++) {
            calls_left = stops;
            rc = kv_db_salvage(path, dest, &options, NULL);
            assert_int_equal(files_there(), rc == KV_OK ? 2 : 1);
        }
        assert_int_equal(rc, KV_OK);
        assert_true(stops > 4);
    }
}

/* The last losses to be told are those of found trees of old versions: they stop it, too. */
static void test_callbacks_stop_it_late(void **state)
{
    surgeon s;
    kvi_tree_desc packed;
    kvi_pgno leaf;
    kvi_entry entry;
    uint8_t *stored;
    int rc = KV_ECANCELED;
    kv_salvage_options options = {.size = sizeof options, .loss = stop_loss_later};
    surgeon_take(&s, small.file.bytes, small.file.size);
    surgeon_catalog(&s, 0, &leaf, &packed);
    assert_true(surgeon_find(&s, &packed, KVI_ENTRY_COMPRESSED, &leaf, &stored, &entry));
    lose_space(&s);
    damage(&s, s.meta.catalog.root.page, HARM_WIPED);
    memset(stored + 10, 0xff, 20);
    surgeon_stamp(&s, leaf);
    surgeon_save(&s, path);
    surgeon_free(&s);
    unlink(dest);
    for (unsigned stops = 0; rc == KV_ECANCELED; stops++) {
        calls_left = stops;
        rc = kv_db_salvage(path, dest, &options, NULL);
        assert_int_equal(files_there(), rc == KV_OK ? 2 : 1);
        assert_true(rc != KV_OK || stops > 1);
    }
    assert_int_equal(rc, KV_OK);
}

static void test_arguments(void **state)
{
    kv_salvage_options options = {0};
    kv_salvage_info info = {0};
    assert_int_equal(kv_db_salvage(NULL, dest, NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_db_salvage(path, NULL, NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_db_salvage(path, "", NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_db_salvage(path, dest, &options, NULL), KV_EINVAL);
    assert_int_equal(kv_db_salvage(path, dest, NULL, &info), KV_EINVAL);
    assert_int_equal(kv_db_salvage("/nowhere/at/all", dest, NULL, NULL), KV_ENOENT);
    assert_int_equal(kv_db_salvage(dir.dir, dest, NULL, NULL), KV_EINVAL);
}

/* A writer makes it wait, a sole owner keeps it out; while it runs nobody writes. */
static void test_others(void **state)
{
    kv_db *db;
    kv_options sole = {.size = sizeof sole, .flags = KV_OPEN_EXCLUSIVE};
    surgeon_save(&small.file, path);
    unlink(dest);
    assert_int_equal(kv_db_open(path, NULL, &db), KV_OK);
    kv_txn *txn = begin(db);
    assert_int_equal(kv_db_salvage(path, dest, NULL, NULL), KV_EBUSY);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_salvage(path, dest, NULL, NULL), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
    unlink(dest);
    assert_int_equal(kv_db_open(path, &sole, &db), KV_OK);
    assert_int_equal(kv_db_salvage(path, dest, NULL, NULL), KV_EBUSY);
    assert_int_equal(kv_db_close(db), KV_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trees_keep_their_options),
        cmocka_unit_test(test_sound),
        cmocka_unit_test(test_small_is_as_wanted),
        cmocka_unit_test(test_every_page),
        cmocka_unit_test(test_every_page_beside_snapshots),
        cmocka_unit_test(test_every_pair),
        cmocka_unit_test(test_tall_branches),
        cmocka_unit_test(test_gap_within_a_gap),
        cmocka_unit_test(test_leaf_at_the_bound),
        cmocka_unit_test(test_remains_outweigh_keys),
        cmocka_unit_test(test_remains_of_another),
        cmocka_unit_test(test_remains_at_the_end),
        cmocka_unit_test(test_pointers_to_nodes),
        cmocka_unit_test(test_records_are_no_nodes),
        cmocka_unit_test(test_remains_tell_the_place),
        cmocka_unit_test(test_remains_of_another_level),
        cmocka_unit_test(test_wrong_children),
        cmocka_unit_test(test_beyond_the_end),
        cmocka_unit_test(test_both_metas),
        cmocka_unit_test(test_newer_of_two_damaged_metas),
        cmocka_unit_test(test_roots_elsewhere),
        cmocka_unit_test(test_catalog_speaks),
        cmocka_unit_test(test_cannot_be_flushed),
        cmocka_unit_test(test_another_version),
        cmocka_unit_test(test_nameless_leaves_stay_apart),
        cmocka_unit_test(test_nameless_trees_stay_apart),
        cmocka_unit_test(test_whole_tree_without_name),
        cmocka_unit_test(test_nameless_tree_and_root),
        cmocka_unit_test(test_no_space_records),
        cmocka_unit_test(test_no_leaves_of_others),
        cmocka_unit_test(test_old_values_are_told),
        cmocka_unit_test(test_old_leaf_of_a_found_tree),
        cmocka_unit_test(test_old_leaf_by_halves),
        cmocka_unit_test(test_old_leaf_touches),
        cmocka_unit_test(test_old_lists_of_snapshots),
        cmocka_unit_test(test_leaf_of_a_found_tree),
        cmocka_unit_test(test_value_of_a_found_tree),
        cmocka_unit_test(test_pairs_alone),
        cmocka_unit_test(test_pairs_come_back),
        cmocka_unit_test(test_pair_that_expires),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_truncated_unsealed),
        cmocka_unit_test(test_truncated_behind_a_value),
        cmocka_unit_test(test_root_and_end_gone),
        cmocka_unit_test(test_contradicting_records),
        cmocka_unit_test(test_high_water_lies),
        cmocka_unit_test(test_unfinished_commit),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_senseless_values),
        cmocka_unit_test(test_value_used_twice),
        cmocka_unit_test(test_endless_value),
        cmocka_unit_test(test_two_catalogs),
        cmocka_unit_test(test_catalog_without_trees),
        cmocka_unit_test(test_roots_of_others),
        cmocka_unit_test(test_root_of_a_snapshot),
        cmocka_unit_test(test_root_of_a_snapshot_behind),
        cmocka_unit_test(test_old_root_of_a_named_tree),
        cmocka_unit_test(test_inspect_arguments),
        cmocka_unit_test(test_inspect_counts),
        cmocka_unit_test(test_nothing_readable),
        cmocka_unit_test(test_no_entry_readable),
        cmocka_unit_test(test_file_is_left_alone),
        cmocka_unit_test(test_callbacks_stop_it),
        cmocka_unit_test(test_callbacks_stop_it_anywhere),
        cmocka_unit_test(test_callbacks_stop_it_late),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_others),
    };
    return cmocka_run_group_tests(tests, make_all, free_all);
}
