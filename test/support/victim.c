/* victim.c - see victim.h. */
#include "victim.h"
#include "db.h"
#include "check.h"
#include "dissect.h"
#include "salvage.h"
#include <stdio.h>
#include <stdlib.h>

#define ENTRIES      750
#define COMMITS      160 /* the space records outgrow the meta */
#define LATE_COMMITS 5   /* of them, after the snapshot: it holds few pages of its own */
#define LARGE        (2 * 4096 - 100)
#define PACKED       20000
#define ENTRIES_SANE 50000 /* a scan that meets more goes in circles */

static const char *const tree_names[VICTIM_TREES] = {NULL, "packed", "small"};

#define SNAPSHOT       "past"
#define SNAPSHOTS_FROM 1024 /* page size: into a smaller one they do not fit */

/* Copies go nowhere. */
#define SINK "sink"

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "victim: %s\n", what);
    exit(1);
}

static void must(int rc)
{
    if (rc != KV_OK)
        give_up(kv_strerror(rc));
}

/* ---- making ---- */

static void victim_put(victim *v, unsigned t, kv_tree *tree, unsigned number, const uint8_t *value,
                       size_t len)
{
    char key[16];
    snprintf(key, sizeof key, "k%05u", number);
    must(kv_put(tree, key, strlen(key), value, len, 0));
    victim_entry *e = v->now.entries[t];
    size_t *n = &v->now.n[t], i = 0;
    while (i < *n && strcmp(e[i].key, key) < 0)
        i++;
    if (i == *n || strcmp(e[i].key, key) != 0) {
        memmove(e + i + 1, e + i, ((*n)++ - i) * sizeof *e);
        memcpy(e[i].key, key, sizeof key);
    } else if (t == 0) {
        v->recent = i;
        v->before = e[i];
    }
    e[i].value = value;
    e[i].len = len;
}

static void fill(victim *v, kv_db *db, const uint8_t *bytes)
{
    kv_txn *txn;
    kv_tree *packed, *small;
    kv_tree_options options = {sizeof options, 1000};
    must(kv_txn_begin(db, KV_TXN_WRITE, &txn));
    for (unsigned i = 0; i < ENTRIES; i++)
        victim_put(v, 0, kv_txn_main(txn), i, bytes + i, 20 + i % 170);
    victim_put(v, 0, kv_txn_main(txn), 9000, bytes, LARGE);
    must(kv_tree_open(txn, tree_names[1], 6, KV_TREE_CREATE, &options, &packed));
    victim_put(v, 1, packed, 1, bytes + LARGE, 3000); /* mostly zeros: fits the leaf */
    victim_put(v, 1, packed, 2, bytes + 1000, PACKED);
    must(kv_tree_open(txn, tree_names[2], 5, KV_TREE_CREATE, NULL, &small));
    for (unsigned i = 0; i < 150; i++)
        victim_put(v, 2, small, i, bytes + i, 3);
    must(kv_txn_commit(txn));
}

static void change(victim *v, kv_db *db, const uint8_t *bytes, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        kv_txn *txn;
        must(kv_txn_begin(db, KV_TXN_WRITE, &txn));
        victim_put(v, 0, kv_txn_main(txn), i * 7 % ENTRIES, bytes + i, 20 + i % 100);
        v->newest = kv_txn_id(txn);
        must(kv_txn_commit(txn));
    }
}

/* In each tree the present becomes another than the snapshot. */
static void part(victim *v, kv_db *db, const uint8_t *bytes)
{
    kv_txn *txn;
    kv_tree *packed, *small;
    must(kv_snapshot_create(db, SNAPSHOT, strlen(SNAPSHOT), 0));
    v->then = v->now;
    must(kv_txn_begin(db, KV_TXN_WRITE, &txn));
    must(kv_tree_open(txn, tree_names[1], strlen(tree_names[1]), 0, NULL, &packed));
    must(kv_tree_open(txn, tree_names[2], strlen(tree_names[2]), 0, NULL, &small));
    victim_put(v, 0, kv_txn_main(txn), 9000, bytes + 300, LARGE);
    victim_put(v, 0, kv_txn_main(txn), 9001, bytes, 9);
    victim_put(v, 1, packed, 1, bytes + LARGE + 100, 2000);
    victim_put(v, 2, small, 7, bytes + 300, 3);
    must(kv_txn_commit(txn));
}

static void image_take(victim *v, uint32_t page_size)
{
    kvi_slice file = sim_get_file(v->disk, VICTIM_NAME);
    v->size = file.len;
    v->pages = file.len / page_size;
    v->image = malloc(v->size);
    if (!v->image)
        give_up("no memory");
    memcpy(v->image, file.ptr, v->size);
}

static void make(victim *v, uint32_t page_size, uint64_t seed, bool closed)
{
    static uint8_t bytes[LARGE + 1000 + PACKED]; /* half random, half zeros */
    rng random;
    kv_db *db;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
    options.page_size = page_size;
    memset(v, 0, sizeof *v);
    rng_seed(&random, seed);
    rng_fill(&random, bytes, LARGE + 300);
    v->disk = sim_new(seed);
    must(kvi_db_open(sim_os(v->disk), VICTIM_NAME, &options, &db, NULL, 0));
    fill(v, db, bytes);
    change(v, db, bytes, 0, COMMITS - LATE_COMMITS);
    v->named = page_size >= SNAPSHOTS_FROM;
    if (v->named)
        part(v, db, bytes);
    change(v, db, bytes, COMMITS - LATE_COMMITS, COMMITS);
    if (!closed)
        image_take(v, page_size);
    must(kv_db_close(db));
    if (closed)
        image_take(v, page_size);
    v->newest = closed ? 0 : v->newest;
    v->disk->recording = SIM_RECORD_NOTHING;
    sim_forget(v->disk);
}

void victim_make(victim *v, uint32_t page_size, uint64_t seed)
{
    make(v, page_size, seed, true);
}

void victim_make_unclosed(victim *v, uint32_t page_size, uint64_t seed)
{
    make(v, page_size, seed, false);
}

void victim_free(victim *v)
{
    sim_free(v->disk);
    free(v->image);
}

void victim_heal(victim *v, size_t size)
{
    sim_put_file(v->disk, VICTIM_NAME, v->image, size);
}

uint8_t *victim_bytes(victim *v)
{
    return v->disk->files[sim_find(v->disk, VICTIM_NAME)].bytes;
}

/* ---- judging ---- */

/* A result that is an error, which damage excuses. Anything else is the caller's to judge. */
static bool excused(victim *v, int rc)
{
    if (rc >= 0)
        return false;
    v->errors++;
    return true;
}

static const char *wrong(const victim *v, const char *what)
{
    return v->lenient ? NULL : what;
}

static bool same(const victim_entry *e, const kv_slice *value)
{
    return value->len == e->len && (e->len == 0 || memcmp(value->ptr, e->value, e->len) == 0);
}

/* Is it the value of entry i, in the commit that is read? */
static bool right_value(const victim *v, const victim_content *c, unsigned t, size_t i,
                        size_t changed, const kv_slice *value)
{
    bool older = c == &v->now && v->seen < v->newest && t == 0 && i == v->recent;
    return i == changed || same(older ? &v->before : &c->entries[t][i], value);
}

static bool is_entry(const victim_entry *e, const kv_slice *key)
{
    return key->len == strlen(e->key) && memcmp(key->ptr, e->key, key->len) == 0;
}

/* Touches every byte, so that a sanitizer or a guard page has its say; where answers are judged,
 * comparing does it. */
static uint64_t touched;

static void touch(const kv_slice *slice)
{
    const uint8_t *p = slice->ptr;
    for (size_t i = 0; i < slice->len; i++)
        touched += p[i];
}

/* changed: the entry that victim_write replaced, or VICTIM_MAX. */
static const char *scan(victim *v, const victim_content *c, unsigned t, kv_tree *tree,
                        size_t changed)
{
    kv_cursor *cursor;
    kv_slice key, value;
    size_t i = 0;
    int rc = kv_cursor_open(tree, NULL, &cursor);
    if (rc != KV_OK)
        return excused(v, rc) ? NULL : wrong(v, "cursor_open");
    for (rc = kv_cursor_first(cursor); rc == KV_OK; rc = kv_cursor_next(cursor), i++) {
        rc = kv_cursor_get(cursor, &key, &value);
        if (rc != KV_OK)
            break;
        if (v->lenient)
            touch(&value);
        if (!v->lenient && !(i < c->n[t] && is_entry(&c->entries[t][i], &key) &&
                             right_value(v, c, t, i, changed, &value)))
            return kv_cursor_close(cursor), "a scan gave a wrong entry";
        if (i > ENTRIES_SANE)
            break;
    }
    kv_cursor_close(cursor);
    if (excused(v, rc))
        return NULL;
    return i == c->n[t] ? NULL : wrong(v, "a scan ended early");
}

static const char *gets(victim *v, const victim_content *c, unsigned t, kv_tree *tree,
                        size_t changed)
{
    for (size_t i = 0; i < c->n[t]; i += 1 + i / 40) {
        const victim_entry *e = &c->entries[t][i];
        kv_slice value;
        int rc = kv_get(tree, e->key, strlen(e->key), &value);
        if (excused(v, rc))
            continue;
        if (rc != KV_OK) {
            if (!v->lenient)
                return "a get did not find its key";
            continue;
        }
        if (v->lenient)
            touch(&value);
        if (!v->lenient && !right_value(v, c, t, i, changed, &value))
            return "a get gave a wrong value";
        v->right++;
    }
    return NULL;
}

static const char *read_trees(victim *v, const victim_content *c, kv_txn *txn, size_t changed)
{
    const char *fault = NULL;
    for (unsigned t = 0; t < VICTIM_TREES && !fault; t++) {
        kv_tree *tree = kv_txn_main(txn);
        int rc = KV_OK;
        if (tree_names[t])
            rc = kv_tree_open(txn, tree_names[t], strlen(tree_names[t]), 0, NULL, &tree);
        if (excused(v, rc))
            continue;
        if (rc != KV_OK) {
            fault = wrong(v, "a tree is gone");
            continue;
        }
        fault = scan(v, c, t, tree, t ? VICTIM_MAX : changed);
        if (!fault)
            fault = gets(v, c, t, tree, t ? VICTIM_MAX : changed);
    }
    return fault;
}

static const char *read_now(victim *v, kv_db *db, size_t changed)
{
    kv_txn *txn;
    const char *fault = NULL;
    int rc = kv_txn_begin(db, KV_TXN_READ, &txn);
    if (rc != KV_OK)
        return excused(v, rc) ? NULL : "txn_begin";
    v->seen = kv_txn_id(txn);
    if (v->newest && v->seen + 1 < v->newest)
        fault = "an older commit than the one before the newest";
    if (!fault)
        fault = read_trees(v, &v->now, txn, changed);
    kv_txn_abort(txn);
    return fault;
}

static const char *read_then(victim *v, kv_db *db)
{
    static char text[80];
    kv_txn *txn;
    int rc = kv_snapshot_open(db, SNAPSHOT, strlen(SNAPSHOT), &txn);
    if (rc != KV_OK)
        return excused(v, rc) ? NULL : wrong(v, "the snapshot is gone");
    const char *fault = read_trees(v, &v->then, txn, VICTIM_MAX);
    kv_txn_abort(txn);
    if (fault)
        snprintf(text, sizeof text, "in the snapshot %s", fault);
    return fault ? text : NULL;
}

static const char *read_all(victim *v, kv_db *db, size_t changed)
{
    const char *fault = read_now(v, db, changed);
    return fault || !v->named ? fault : read_then(v, db);
}

static int open_victim(victim *v, uint32_t flags, kv_db **db)
{
    kv_options options = {.size = sizeof options, .flags = flags};
    sim_forget_unused(v->disk); /* the side files of earlier opens */
    int rc = kvi_db_open(sim_os(v->disk), VICTIM_NAME, &options, db, NULL, 0);
    v->opened += rc == KV_OK;
    return rc;
}

/* The check's opinion and the reader's experience agree. */
static const char *read_and_check(victim *v, kv_db *db, size_t changed)
{
    uint64_t before = v->errors;
    const char *fault = read_all(v, db, changed);
    uint64_t errors = v->errors - before;
    int rc = kv_db_check(db, NULL);
    if (fault)
        return fault;
    if (rc == KV_OK && errors)
        return "the check calls a file sound that cannot be read";
    return rc == KV_OK || rc == KV_ECORRUPT || v->lenient ? NULL
                                                          : "the check gave a strange result";
}

const char *victim_read(victim *v)
{
    kv_db *db;
    int rc = open_victim(v, KV_OPEN_READONLY, &db);
    if (rc != KV_OK)
        return excused(v, rc) ? NULL : "open";
    const char *fault = read_and_check(v, db, VICTIM_MAX);
    rc = kv_db_close(db);
    return fault || rc == KV_OK ? fault : "close";
}

/* ---- writing ---- */

/* Replaces entry 5 of the main tree, and changes the small tree there and back. */
static int change_once(victim *v, kv_db *db)
{
    kv_txn *txn;
    kv_tree *small;
    const char *key = v->now.entries[0][5].key;
    int rc = kv_txn_begin(db, KV_TXN_WRITE, &txn);
    if (rc != KV_OK)
        return rc;
    rc = kv_put(kv_txn_main(txn), key, strlen(key), "changed", 7, 0);
    if (rc == KV_OK)
        rc = kv_tree_open(txn, tree_names[2], strlen(tree_names[2]), 0, NULL, &small);
    if (rc == KV_OK)
        rc = kv_put(small, "zz", 2, "zz", 2, 0);
    if (rc == KV_OK)
        rc = kv_del(small, "zz", 2);
    if (rc == KV_OK)
        return kv_txn_commit(txn);
    kv_txn_abort(txn);
    return rc;
}

const char *victim_write(victim *v)
{
    kv_db *db;
    int rc = open_victim(v, 0, &db);
    if (rc != KV_OK)
        return excused(v, rc) ? NULL : "open for writing";
    rc = change_once(v, db);
    size_t changed = rc == KV_OK ? 5 : VICTIM_MAX;
    if (rc != KV_OK && !excused(v, rc) && !v->lenient)
        return "a change gave a wrong answer";
    const char *fault = read_and_check(v, db, changed);
    rc = kv_db_close(db);
    if (fault || (rc != KV_OK && !excused(v, rc)))
        return fault ? fault : "close";
    rc = open_victim(v, KV_OPEN_READONLY, &db);
    if (rc != KV_OK)
        return excused(v, rc) ? NULL : "open again";
    fault = read_all(v, db, changed);
    rc = kv_db_close(db);
    return fault || rc == KV_OK ? fault : "close again";
}

/* ---- rough handling of forged files ---- */

static void rough_reads(kv_tree *tree, rng *random)
{
    kv_cursor *cursor;
    kv_slice key, value;
    uint64_t n;
    kv_tree_info info = {.size = sizeof info};
    kv_range range = {.size = sizeof range, .prefix = "k001", .prefix_len = 4};
    (void)kv_tree_stat(tree, &info);
    (void)kv_count(tree, &range, &n);
    (void)kv_rank(tree, "k00200", 6, &n);
    if (kv_cursor_open(tree, NULL, &cursor) != KV_OK)
        return;
    int rc = kv_cursor_last(cursor);
    for (unsigned i = 0; rc == KV_OK && i < 1000; i++, rc = kv_cursor_prev(cursor)) {
        if (kv_cursor_get(cursor, &key, &value) == KV_OK) {
            touch(&key);
            touch(&value);
        }
    }
    for (unsigned i = 0; i < 10; i++)
        if (kv_cursor_nth(cursor, rng_below(random, 600)) == KV_OK)
            (void)kv_cursor_get(cursor, &key, &value);
    kv_cursor_close(cursor);
}

static void rough_change(kv_tree *tree, rng *random)
{
    char key[16];
    static const uint8_t value[20000];
    kv_range range = {
        .size = sizeof range, .from = "k00050", .from_len = 6, .to = "k00300", .to_len = 6};
    uint64_t n;
    for (unsigned i = 0; i < 40; i++) {
        snprintf(key, sizeof key, "k%05u", (unsigned)rng_below(random, ENTRIES + 50));
        if (rng_one_in(random, 3))
            (void)kv_del(tree, key, 6);
        else
            (void)kv_put(tree, key, 6, value, rng_below(random, i % 10 ? 300 : sizeof value), 0);
    }
    switch (rng_below(random, 4)) {
    case 0:
        (void)kv_del_range(tree, &range, &n);
        break;
    case 1:
        (void)kv_tree_clear(tree);
        break;
    default:
        break;
    }
}

/* ---- past opening ---- */

static int salvage_loss(void *context, const kv_salvage_loss *loss)
{
    (void)context;
    touch(&loss->tree);
    return 0;
}

static int salvage_tree(void *context, const kv_salvage_tree *tree)
{
    (void)context;
    touch(&tree->name);
    return 0;
}

int victim_salvage(victim *v, const kvi_os *os)
{
    kv_db *db;
    kv_salvage_options options = {
        .size = sizeof options, .loss = salvage_loss, .tree = salvage_tree};
    kv_salvage_info info = {.size = sizeof info};
    (void)v->disk->os.unlink(&v->disk->os, SINK);
    int rc = kvi_salvage(os, VICTIM_NAME, SINK, &options, &info);
    if (rc != KV_OK)
        return rc;
    must(kvi_db_open(sim_os(v->disk), SINK, NULL, &db, NULL, 0));
    must(kv_db_check(db, NULL));
    must(kv_db_close(db));
    return KV_OK;
}

static int dissect_slot(void *context, const kv_page_slot *slot)
{
    (void)context;
    touch(&slot->key);
    touch(&slot->value);
    return 0;
}

/* All pages, whatever the first error is. */
static int dissect_pages(kv_inspect *look)
{
    int first = KV_OK;
    for (kvi_pgno page = 0; page < KVI_MIN(look->limit, (kvi_pgno)4096); page++) {
        kv_page_info info = {.size = sizeof info};
        int rc = kvi_dissect_page(look, page, &info);
        if (rc == KV_OK)
            touch(&info.tree);
        if (rc == KV_OK)
            rc = kvi_dissect_slots(look, page, dissect_slot, NULL);
        first = first == KV_OK ? rc : first;
    }
    return first;
}

int victim_dissect(const kvi_os *os)
{
    char message[200];
    kv_inspect *look;
    int rc = kvi_dissect_open(os, VICTIM_NAME, &look, message, sizeof message);
    if (rc != KV_OK)
        return rc;
    const kv_check_options options = {.size = sizeof options};
    int first = dissect_pages(look);
    rc = kvi_check_carved(&look->carve, &options);
    if (first == KV_OK && rc != KV_ECORRUPT)
        first = rc;
    for (unsigned slot = 0; slot < 2; slot++) {
        kv_meta_info info = {.size = sizeof info};
        kvi_dissect_meta(look, slot, &info);
        rc = info.state == KV_META_SOUND ? kvi_dissect_choose(look, slot, SINK) : KV_OK;
        os->unlink(os, SINK);
        first = first == KV_OK ? rc : first;
    }
    kvi_dissect_close(look);
    return first;
}

/* ---- all of it, forged ---- */

static void rough_transaction(kv_db *db, rng *random)
{
    kv_txn *txn;
    kv_tree *tree;
    if (kv_txn_begin(db, KV_TXN_WRITE, &txn) != KV_OK)
        return;
    rough_reads(kv_txn_main(txn), random);
    rough_change(kv_txn_main(txn), random);
    for (unsigned t = 1; t < VICTIM_TREES; t++) {
        if (kv_tree_open(txn, tree_names[t], strlen(tree_names[t]), 0, NULL, &tree) != KV_OK)
            continue;
        rough_reads(tree, random);
        rough_change(tree, random);
        if (rng_one_in(random, 4))
            (void)kv_tree_drop(tree);
    }
    if (rng_one_in(random, 4))
        kv_txn_abort(txn);
    else
        (void)kv_txn_commit(txn);
}

static void rough_batch(kv_db *db, rng *random)
{
    kv_op ops[] = {
        {.kind = KV_OP_CHECK_PRESENT, .key = {"k00020", 6}},
        {.kind = KV_OP_PUT, .key = {"k00021", 6}, .value = {"rough", 5}},
        {.kind = KV_OP_DEL_PREFIX, .key = {"k001", 4}},
        {.kind = KV_OP_DEL, .tree = {tree_names[1], strlen(tree_names[1])}, .key = {"k00030", 6}},
    };
    size_t first = (size_t)rng_below(random, KVI_COUNT(ops));
    (void)kv_db_write(db, ops + first, KVI_COUNT(ops) - first, 0, NULL);
}

static int swallow(void *context, const void *bytes, size_t len)
{
    kv_slice piece = {bytes, len};
    (void)context;
    touch(&piece);
    return 0;
}

static int rough_difference(void *context, const kv_change *change)
{
    (void)context;
    touch(&change->key);
    touch(&change->old_value);
    touch(&change->new_value);
    return 0;
}

/* A commit that bears a name, new or old: compared with, backed up from, gone back to. */
static void rough_snapshot(kv_db *db, rng *random)
{
    const char *name = rng_one_in(random, 2) ? "rough" : SNAPSHOT;
    size_t len = strlen(name);
    kv_txn *then = NULL, *now = NULL;
    const kv_diff_options differences = {.size = sizeof differences, .change = rough_difference};
    kv_backup_options backup = {.size = sizeof backup, .write = swallow};
    int rc = kv_snapshot_create(db, name, len, 0);
    if (rc != KV_OK && rc != KV_EXISTS)
        return;
    rough_transaction(db, random);
    if (kv_snapshot_open(db, name, len, &then) == KV_OK &&
        kv_txn_begin(db, KV_TXN_READ, &now) == KV_OK) {
        (void)kv_diff(then, now, &differences, NULL);
        backup.since = kv_txn_id(then);
        (void)kv_backup(now, &backup, NULL);
    }
    kv_txn_abort(now);
    kv_txn_abort(then);
    if (rng_one_in(random, 2))
        (void)kv_snapshot_restore(db, name, len, 0);
    if (rng_one_in(random, 2))
        (void)kv_snapshot_drop(db, name, len, 0);
}

const char *victim_rough(victim *v, rng *random)
{
    kv_db *db;
    kv_db_info info = {.size = sizeof info};
    if (rng_one_in(random, 6))
        (void)victim_salvage(v, sim_os(v->disk));
    if (rng_one_in(random, 6))
        (void)victim_dissect(sim_os(v->disk));
    (void)v->disk->os.unlink(&v->disk->os, SINK);
    if (rng_one_in(random, 4))
        (void)kvi_db_repair(sim_os(v->disk), VICTIM_NAME, 0, NULL, NULL);
    if (open_victim(v, 0, &db) != KV_OK)
        return NULL;
    for (unsigned i = 0; i < 3; i++)
        rough_transaction(db, random);
    rough_batch(db, random);
    if (rng_one_in(random, 5))
        rough_snapshot(db, random);
    (void)kv_db_stat(db, &info);
    (void)kv_db_compact(db, NULL, NULL);
    if (rng_one_in(random, 2))
        (void)kv_db_copy(db, SINK, rng_one_in(random, 2) ? KV_COPY_COMPACT : 0);
    (void)kv_db_check(db, NULL);
    (void)kv_db_close(db);
    (void)v->disk->os.unlink(&v->disk->os, SINK);
    return sim_open_handles(v->disk) == 0 ? NULL : "a handle was left open";
}
