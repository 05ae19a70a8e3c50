/* patient.c - see patient.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "patient.h"
#include "salvage.h"
#include "tree.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

scratch patient_dir;
char patient_path[SCRATCH_MAX], saved_path[SCRATCH_MAX];
told said;

void patient_folder_make(void)
{
    scratch_make(&patient_dir);
    scratch_path_to(&patient_dir, "damaged.kv", patient_path);
    scratch_path_to(&patient_dir, "saved.kv", saved_path);
}

void patient_folder_remove(void)
{
    scratch_remove(&patient_dir);
}

/* ---- the sound file and what is in it ---- */

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
    assert_true(p->n_trees < PATIENT_TREES && name.len < sizeof p->trees[0]);
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

kv_tree *patient_tree(kv_txn *txn, const char *name)
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
    kv_tree *tree = patient_tree(r->txn, p->trees[r->tree]);
    if (!lies_in_leaf(tree, slot->key, r->leaf))
        return 0;
    assert_int_equal(kv_get(tree, slot->key.ptr, slot->key.len, &value), KV_OK);
    assert_int_equal(slot->value_len, value.len);
    if (p->n == p->cap) {
        p->cap = p->cap * 2 + 100;
        p->entries = realloc(p->entries, p->cap * sizeof *p->entries);
        assert_non_null(p->entries);
    }
    p->entries[p->n++] = (patient_entry){
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
    assert_int_equal(kv_inspect_open(patient_path, &look, NULL, 0), KV_OK);
    assert_int_equal(kv_db_open(patient_path, &options, &db), KV_OK);
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

void patient_put(kv_tree *tree, const char *form, unsigned number, const void *value, size_t len)
{
    char key[32];
    int n = snprintf(key, sizeof key, form, number);
    assert_int_equal(kv_put(tree, key, (size_t)n, value, len, 0), KV_OK);
}

kv_txn *patient_begin(kv_db *db)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    return txn;
}

kv_tree *patient_create(kv_txn *txn, const char *name, uint64_t compress_from)
{
    kv_tree_options options = {sizeof options, compress_from};
    kv_tree *tree;
    assert_int_equal(kv_tree_open(txn, name, strlen(name), KV_TREE_CREATE, &options, &tree), KV_OK);
    return tree;
}

void patient_fill(kv_tree *tree, const char *form, unsigned entries, size_t len, rng *random)
{
    uint8_t value[512];
    for (unsigned i = 0; i < entries; i++) {
        rng_fill(random, value, len);
        patient_put(tree, form, i, value, len);
    }
}

void patient_small(kv_db *db)
{
    static uint8_t bytes[30000];
    rng random;
    rng_seed(&random, 4);
    rng_fill(&random, bytes, 8000);
    kv_txn *txn = patient_begin(db);
    patient_fill(kv_txn_main(txn), "key%05u", 400, 150, &random);
    patient_fill(patient_create(txn, "twin", 0), "key%05u", 140, 160, &random);
    patient_fill(patient_create(txn, "words", 0), "word%04u", 60, 100, &random);
    kv_tree *packed = patient_create(txn, "packed", 1000);
    patient_put(packed, "p%u", 1, bytes, sizeof bytes);
    patient_put(packed, "p%u", 2, bytes + 7000, 3000);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = patient_begin(db);
    patient_put(kv_txn_main(txn), "large%u", 1, bytes, 9000);
    patient_put(kv_txn_main(txn), "large%u", 2, bytes + 1, 5000);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    for (unsigned round = 0; round < 6; round++) {
        txn = patient_begin(db);
        patient_put(kv_txn_main(txn), "key%05u", 20 + round * 7, "changed", 7);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
}

void patient_kept(kv_db *db)
{
    char name[16];
    patient_small(db);
    for (unsigned i = 0; i < 4; i++) {
        int len = snprintf(name, sizeof name, "%s%u", i < 2 ? "before" : "z", i);
        assert_int_equal(kv_snapshot_create(db, name, (size_t)len, 0), KV_OK);
        kv_txn *txn = patient_begin(db);
        patient_put(kv_txn_main(txn), "key%05u", 30 + i * 90, "changed again", 13);
        patient_put(kv_txn_main(txn), "later%u", i, "new", 3);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
    assert_int_equal(kv_snapshot_drop(db, "z2", 2, 0), KV_OK);
}

void patient_tall(kv_db *db)
{
    rng random;
    rng_seed(&random, 5);
    kv_txn *txn = patient_begin(db);
    patient_fill(kv_txn_main(txn), "key%05u", 7000, 150, &random);
    patient_fill(patient_create(txn, "twin", 0), "key%05u", 400, 150, &random);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    for (unsigned round = 0; round < 5; round++) {
        txn = patient_begin(db);
        patient_put(kv_txn_main(txn), "key%05u", 50 + round * 1700, "changed", 7);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
}

void patient_make(patient *p, uint32_t page_size, void (*make)(kv_db *db))
{
    kv_db *db;
    kv_slice none = {"", 0};
    const kv_options options = {
        .size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = page_size};
    unlink(patient_path);
    assert_int_equal(kv_db_open(patient_path, &options, &db), KV_OK);
    make(db);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_load(&p->file, patient_path);
    model_tree(p, none);
    model_read(p);
}

void patient_free(patient *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->entries[i].key);
        free(p->entries[i].value);
    }
    free(p->entries);
    surgeon_free(&p->file);
}

size_t patient_living(const patient *p, uint64_t page)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        n += p->entries[i].leaf == page;
    return n;
}

/* ---- damage ---- */

void patient_damage(surgeon *s, uint64_t page, enum harm harm)
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

void patient_lose_space(surgeon *s)
{
    memset(s->meta.delta, 0xff, sizeof s->meta.delta);
    surgeon_put_meta(s);
}

/* ---- what salvage says ---- */

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
    assert_true(said.n < TOLD_LOSSES);
    *t = (told_loss){
        .kind = loss->kind, .after = loss->after, .entries = loss->entries, .found = loss->found};
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
        said.lost += tree->missing;
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

int patient_salvage_on(kvi_os *os, const surgeon *s, kv_salvage_info *info)
{
    kv_salvage_options options = {
        .size = sizeof options, .loss = on_loss, .tree = on_tree, .note = on_note};
    os->sync = no_sync;
    os->sync_dir = no_sync_dir;
    *info = (kv_salvage_info){.size = sizeof *info};
    told_clear();
    unlink(saved_path);
    surgeon_save(s, patient_path);
    int rc = kvi_salvage(os, patient_path, saved_path, &options, info);
    said.info = *info;
    return rc;
}

int patient_salvage(const surgeon *s, kv_salvage_info *info)
{
    kvi_os os = kvi_os_posix;
    return patient_salvage_on(&os, s, info);
}

/* ---- the oracle ---- */

bool told_covers(const told_loss *loss, const patient *p, const patient_entry *e)
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

static bool reported(const patient *p, const patient_entry *e)
{
    for (size_t i = 0; i < said.n; i++)
        if (told_covers(&said.losses[i], p, e))
            return true;
    return false;
}

static bool holds(kv_tree *tree, const patient_entry *e)
{
    kv_slice value;
    return tree && kv_get(tree, e->key, e->key_len, &value) == KV_OK && value.len == e->value_len &&
           memcmp(value.ptr, e->value, value.len) == 0;
}

static bool found_elsewhere(kv_txn *txn, const patient_entry *e)
{
    char name[32];
    for (unsigned i = 1; i <= said.found; i++) {
        snprintf(name, sizeof name, "lost+found-%u", i);
        if (holds(patient_tree(txn, name), e))
            return true;
    }
    return false;
}

static bool lives_in(const patient_entry *e, const uint64_t *pages, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (pages[i] == e->leaf || (e->large && pages[i] - e->large < e->large_pages))
            return true;
    return false;
}

static void explain(const patient *p, const patient_entry *e, const uint64_t *pages, size_t n,
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

bool told_of_found(const told_loss *loss)
{
    return strncmp(loss->tree, "lost+found-", 11) == 0;
}

/* Each range that says how many are missing means the entries that are. */
static void check_counts(const patient *p, const bool *missing)
{
    for (size_t i = 0; i < said.n; i++) {
        uint64_t found = 0;
        const told_loss *loss = &said.losses[i];
        if (loss->kind != KV_LOSS_RANGE || loss->entries == UINT64_MAX || told_of_found(loss))
            continue;
        for (size_t e = 0; e < p->n; e++)
            found += missing[e] && told_covers(loss, p, &p->entries[e]);
        assert_int_equal(found, loss->entries);
    }
}

/* Each range says how many entries in found trees may be what is missing: no fewer than are. */
static void check_away(const patient *p, const bool *away)
{
    for (size_t i = 0; i < said.n; i++) {
        uint64_t n = 0;
        const told_loss *loss = &said.losses[i];
        for (size_t e = 0; loss->kind == KV_LOSS_RANGE && e < p->n; e++)
            n += away[e] && told_covers(loss, p, &p->entries[e]);
        assert_true(n <= loss->found);
    }
}

size_t saved_check(const patient *p, const uint64_t *pages, size_t n)
{
    kv_db *db;
    kv_txn *txn;
    size_t gone = 0, n_away = 0;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    bool *missing = calloc(2 * p->n, sizeof *missing), *away = missing + p->n;
    assert_int_equal(kv_db_open(saved_path, &options, &db), KV_OK);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    for (size_t i = 0; i < p->n; i++) {
        const patient_entry *e = &p->entries[i];
        missing[i] = !holds(patient_tree(txn, p->trees[e->tree]), e);
        if (!missing[i]) {
            if (reported(p, e))
                explain(p, e, pages, n, "recovered, but reported as lost");
            continue;
        }
        away[i] = found_elsewhere(txn, e);
        if (away[i]) {
            n_away++;
            continue;
        }
        gone++;
        if (!lives_in(e, pages, n))
            explain(p, e, pages, n, "lost although its pages are sound");
    }
    /* no entry but those of the sound file */
    assert_int_equal(said.entries, p->n - gone);
    check_counts(p, missing);
    check_away(p, away);
    for (size_t i = 0; i < p->n; i++) {
        const patient_entry *e = &p->entries[i];
        bool tree_known = patient_tree(txn, p->trees[e->tree]) != NULL;
        if (missing[i] && tree_known && !reported(p, e))
            explain(p, e, pages, n, "missing, but not reported");
    }
    assert_true(said.lost <= gone + n_away);
    assert_true(said.info.lost_entries <= gone); /* nothing of what is in found trees */
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    free(missing);
    return gone;
}

void saved_check_there(const patient *p, uint64_t below, bool found_will_do)
{
    kv_db *db;
    kv_txn *txn;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    assert_int_equal(kv_db_open(saved_path, &options, &db), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    for (size_t i = 0; i < p->n; i++) {
        const patient_entry *e = &p->entries[i];
        if (e->leaf < below && e->large + e->large_pages < below &&
            !holds(patient_tree(txn, p->trees[e->tree]), e) &&
            !(found_will_do && found_elsewhere(txn, e)))
            explain(p, e, NULL, 0, "not there");
    }
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
}

void saved_check_told(const patient *p)
{
    kv_db *db;
    kv_txn *txn;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    assert_int_equal(kv_db_open(saved_path, &options, &db), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    for (size_t i = 0; i < p->n; i++)
        if (!holds(patient_tree(txn, p->trees[p->entries[i].tree]), &p->entries[i]) &&
            !reported(p, &p->entries[i]))
            explain(p, &p->entries[i], NULL, 0, "missing, but not reported");
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
}

void saved_check_sound(void)
{
    kv_db *db;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    assert_int_equal(kv_db_open(saved_path, &options, &db), KV_OK);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
}

size_t saved_strangers(const patient *p, const char *name)
{
    kv_db *db;
    kv_txn *txn;
    kv_tree_info info = {.size = sizeof info};
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    assert_int_equal(kv_db_open(saved_path, &options, &db), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    kv_tree *saved = patient_tree(txn, name);
    assert_int_equal(kv_tree_stat(saved, &info), KV_OK);
    size_t n = (size_t)info.entries;
    for (size_t i = 0; i < p->n; i++)
        n -= strcmp(p->trees[p->entries[i].tree], name) == 0 && holds(saved, &p->entries[i]);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    return n;
}

uint64_t saved_entries(const char *name)
{
    kv_db *db;
    kv_txn *txn;
    kv_tree_info info = {.size = sizeof info, .entries = UINT64_MAX};
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    assert_int_equal(kv_db_open(saved_path, &options, &db), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    kv_tree *tree = patient_tree(txn, name);
    if (tree)
        assert_int_equal(kv_tree_stat(tree, &info), KV_OK);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    return info.entries;
}

bool saved_has(const char *name, const void *key, size_t len)
{
    kv_db *db;
    kv_txn *txn;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    assert_int_equal(kv_db_open(saved_path, &options, &db), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    kv_tree *tree = patient_tree(txn, name);
    bool has = tree && kv_exists(tree, key, len) == KV_OK;
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    return has;
}

void patient_salvage_damaged(const patient *p, const uint64_t *pages, size_t n, enum harm harm,
                             size_t *gone)
{
    surgeon s;
    kv_salvage_info info;
    surgeon_take(&s, p->file.bytes, p->file.size);
    for (size_t i = 0; i < n; i++)
        patient_damage(&s, pages[i], harm);
    int rc = patient_salvage(&s, &info);
    surgeon_free(&s);
    if (rc != KV_OK)
        fail_msg("page %llu, harm %d: result %d\n%s", (unsigned long long)pages[0], harm, rc,
                 said.notes);
    *gone = saved_check(p, pages, n);
    assert_true(*gone == 0 || info.losses > 0);
}
