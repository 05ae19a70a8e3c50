/* exam.c - see exam.h. */
#include "exam.h"
#include "db.h"
#include "walk.h"
#include <stdio.h>

#define ENTRIES_SANE 2000 /* of one tree: a scan that meets more goes in circles */
#define TREES_MAX    6
#define ALLOC_SANE   ((size_t)128 << 20)
#define GROWTH_SANE  ((uint64_t)8 << 20) /* bytes behind the file and its high-water mark */
#define USED_PAGES   4096                /* that are remembered */
#define COPY_NAME    "copy"

/* What the watch knows. */
static struct {
    const sim_disk *disk;
    kvi_os inner;
    uint32_t page_size;       /* 0: nothing is known of the file */
    uint64_t end;             /* bytes: where writing must stop */
    bool guarded;             /* used is in force, until a meta is written */
    uint8_t used[USED_PAGES]; /* pages of the newest commit */
} watch;

/* ---- the watch ---- */

static void watch_place(const sim_file *file, const struct iovec *iov, int n, uint64_t off,
                        uint64_t len)
{
    uint64_t stride = kvi_meta_stride(watch.page_size), at = off;
    if (off == 0 || off == stride) {
        FUZZ_MUST(len <= stride);
        watch.guarded = false;
        return;
    }
    FUZZ_MUST(off >= 2 * stride && off % watch.page_size == 0);
    FUZZ_MUST(off + len <= watch.end);
    for (int i = 0; i < n; at += iov[i++].iov_len) {
        if (!watch.guarded || at + iov[i].iov_len > file->size)
            continue;
        uint64_t last = (at + iov[i].iov_len - 1) / watch.page_size;
        for (uint64_t page = at / watch.page_size; page <= last && page < USED_PAGES; page++)
            if (watch.used[page] && memcmp(file->bytes + at, iov[i].iov_base, iov[i].iov_len) != 0)
                fuzz_fail("page %llu of the newest commit is overwritten",
                          (unsigned long long)page);
    }
}

static int64_t watch_pwritev(const kvi_os *os, int fd, const struct iovec *iov, int n, uint64_t off)
{
    const sim_disk *disk = watch.disk;
    int file = fd >= 0 && fd < SIM_HANDLES ? disk->handles[fd].file : -1;
    if (file >= 0 && file == sim_find(disk, IMAGE_NAME) && watch.page_size > 0) {
        uint64_t len = 0;
        for (int i = 0; i < n; i++)
            len += iov[i].iov_len;
        watch_place(&disk->files[file], iov, n, off, len);
    }
    return watch.inner.pwritev(os, fd, iov, n, off);
}

static void *watch_alloc(const kvi_os *os, size_t size)
{
    if (size > ALLOC_SANE)
        fuzz_fail("%zu bytes are wanted", size);
    return watch.inner.alloc(os, size);
}

static void *watch_realloc(const kvi_os *os, void *ptr, size_t size)
{
    if (size > ALLOC_SANE)
        fuzz_fail("%zu bytes are wanted", size);
    return watch.inner.realloc(os, ptr, size);
}

sim_disk *exam_disk(void)
{
    sim_disk *disk = sim_new(1);
    disk->recording = SIM_RECORD_NOTHING;
    sim_set_guard(disk, true);
    watch.disk = disk;
    watch.inner = disk->os;
    disk->os.pwritev = watch_pwritev;
    disk->os.alloc = watch_alloc;
    disk->os.realloc = watch_realloc;
    return disk;
}

static void watch_range(kvi_pgno page, uint64_t pages)
{
    for (uint64_t i = 0; i < pages && page + i < USED_PAGES; i++)
        watch.used[page + i] = 1;
}

static int watch_page(kvi_walk *walk, kvi_ptr ptr, const uint8_t *bytes)
{
    (void)walk;
    (void)bytes;
    watch_range(ptr.page, 1);
    return KV_OK;
}

static int watch_large(kvi_walk *walk, const kvi_large *large, const kvi_ptr *leaf)
{
    (void)walk;
    (void)leaf;
    watch_range(large->ptr.page, large->pages);
    return KV_OK;
}

static _Noreturn void fail_because(kv_db *db, const char *what)
{
    char text[320];
    kv_db_errmsg(db, text, sizeof text);
    fuzz_fail("%s: %s", what, text);
}

/* Where the next transaction may write. sound: not where the newest commit stands. */
static void watch_commit(kv_db *db, bool sound)
{
    const sim_file *file = &watch.disk->files[sim_find(watch.disk, IMAGE_NAME)];
    const kvi_meta *meta = &db->head.meta;
    memset(watch.used, 0, sizeof watch.used);
    watch.guarded = false;
    watch.page_size = meta->page_size;
    watch.end = KVI_MAX(file->size, meta->high_water * meta->page_size) + GROWTH_SANE;
    if (!sound)
        return;
    kvi_walk walk = {.file = &db->file, .meta = meta, .budget = UINT64_MAX};
    walk.page = watch_page;
    walk.large = watch_large;
    if (kvi_walk_all(&walk) != KV_OK)
        fail_because(db, "what the check calls sound cannot be walked");
    watch.guarded = true;
}

/* ---- reading ---- */

static uint64_t touched;

static void touch(const kv_slice *slice)
{
    const uint8_t *p = slice->ptr;
    for (size_t i = 0; i < slice->len; i++)
        touched += p[i];
}

typedef struct reading {
    unsigned errors; /* that a sound file does not give */
    bool sound;
    uint64_t entries; /* of all trees */
} reading;

static bool fine(reading *r, int rc)
{
    FUZZ_MUST(rc != KV_EINVAL && rc != KV_EPOISONED);
    if (rc < 0)
        r->errors++;
    return rc == KV_OK;
}

static void read_key(reading *r, kv_tree *tree, const kv_slice *key, uint64_t position)
{
    uint64_t rank = 0;
    kv_slice value;
    int rc = kv_get(tree, key->ptr, key->len, &value);
    if (fine(r, rc))
        touch(&value);
    int rank_rc = kv_rank(tree, key->ptr, key->len, &rank);
    (void)fine(r, rank_rc);
    FUZZ_MUST(!r->sound || (rc == KV_OK && rank_rc == KV_OK && rank == position));
}

static void read_pair(reading *r, kv_tree *tree, const kv_slice *key, const kv_slice *value)
{
    uint64_t count = 0;
    int rc = kv_multi_has(tree, key->ptr, key->len, value->ptr, value->len);
    (void)fine(r, rc);
    (void)fine(r, kv_multi_count(tree, key->ptr, key->len, &count));
    FUZZ_MUST(!r->sound || (rc == KV_OK && count > 0));
}

static bool is_multi(kv_tree *tree)
{
    kv_tree_info info = {.size = sizeof info};
    return kv_tree_stat(tree, &info) == KV_OK && info.multi;
}

static void read_forward(reading *r, kv_tree *tree)
{
    bool multi = is_multi(tree);
    kv_cursor *cursor;
    kv_slice key, value;
    uint8_t last[KVI_PAGE_MAX / 4];
    size_t last_len = 0;
    uint64_t n = 0, count = 0;
    if (!fine(r, kv_cursor_open(tree, NULL, &cursor)))
        return;
    int rc;
    while ((rc = kv_cursor_next(cursor)) == KV_OK && n < ENTRIES_SANE) {
        if (!fine(r, kv_cursor_get(cursor, &key, &value)))
            break;
        touch(&value);
        FUZZ_MUST(key.len <= sizeof last);
        kvi_slice before = {last, last_len}, now = {key.ptr, key.len};
        FUZZ_MUST(!r->sound || n == 0 || kvi_slice_compare(before, now) < 0);
        memcpy(last, key.ptr, key.len);
        last_len = key.len;
        if (n % 16 == 0 && multi)
            read_pair(r, tree, &key, &value);
        else if (n % 16 == 0)
            read_key(r, tree, &key, n);
        n++;
    }
    (void)fine(r, rc);
    kv_cursor_close(cursor);
    (void)fine(r, kv_count(tree, NULL, &count));
    if (r->sound && rc == KV_NOTFOUND && n != count)
        fuzz_fail("of a sound tree %llu entries are met, %llu counted", (unsigned long long)n,
                  (unsigned long long)count);
    r->entries += n;
}

static void read_backward(reading *r, kv_tree *tree)
{
    static const char *const probes[] = {"", "k00020", "kkkkkkkkkkkkkkkkkkkk", "large", "zzz"};
    kv_cursor *cursor;
    kv_pair pairs[40];
    size_t got;
    kv_range range = {.size = sizeof range, .flags = KV_RANGE_REVERSE};
    if (!fine(r, kv_cursor_open(tree, &range, &cursor)))
        return;
    for (unsigned n = 0; n < ENTRIES_SANE / 40; n++) {
        if (!fine(r, kv_cursor_read(cursor, pairs, 40, &got)))
            break;
        for (size_t i = 0; i < got; i++) {
            touch(&pairs[i].key);
            touch(&pairs[i].value);
        }
    }
    for (size_t i = 0; i < KVI_COUNT(probes); i++) {
        (void)fine(r, kv_cursor_seek(cursor, KV_SEEK_GE, probes[i], strlen(probes[i])));
        (void)fine(r, kv_cursor_prev(cursor));
        if (fine(r, kv_cursor_nth(cursor, i * 17)))
            (void)fine(r, kv_cursor_get(cursor, &pairs[0].key, &pairs[0].value));
    }
    kv_cursor_close(cursor);
}

typedef struct names {
    unsigned n;
    size_t len[TREES_MAX];
    uint8_t name[TREES_MAX][64];
} names;

static int note_name(void *context, kv_slice name)
{
    names *list = context;
    touch(&name);
    if (list->n == TREES_MAX)
        return 1;
    if (name.len > sizeof list->name[0])
        return 0;
    memcpy(list->name[list->n], name.ptr, name.len);
    list->len[list->n++] = name.len;
    return 0;
}

static names list_trees(kv_txn *txn)
{
    names list = {0};
    (void)kv_tree_list(txn, note_name, &list);
    return list;
}

/* Tree number i of a list; the main tree comes first. NULL: it cannot be opened. */
static kv_tree *tree_of(kv_txn *txn, const names *list, unsigned i)
{
    kv_tree *tree;
    if (i == 0)
        return kv_txn_main(txn);
    return kv_tree_open(txn, list->name[i - 1], list->len[i - 1], 0, NULL, &tree) == KV_OK ? tree
                                                                                           : NULL;
}

static void read_trees(reading *r, kv_txn *txn)
{
    kv_tree_info info = {.size = sizeof info};
    names list = list_trees(txn);
    for (unsigned i = 0; i <= list.n; i++) {
        kv_tree *tree = tree_of(txn, &list, i);
        FUZZ_MUST(tree || !r->sound);
        if (!tree)
            continue;
        FUZZ_MUST(i > 0 || !is_multi(tree)); /* no meta may say so */
        read_forward(r, tree);
        read_backward(r, tree);
        (void)fine(r, kv_tree_stat(tree, &info));
    }
}

static void read_db(reading *r, kv_db *db)
{
    kv_txn *txn;
    if (!fine(r, kv_txn_begin(db, KV_TXN_READ, &txn)))
        return;
    read_trees(r, txn);
    kv_txn_abort(txn);
}

/* A check's opinion and a reader's experience. */
static bool read_and_check(kv_db *db, uint64_t *entries)
{
    reading r = {.sound = kv_db_check(db, NULL) == KV_OK};
    kv_db_info info = {.size = sizeof info};
    read_db(&r, db);
    (void)fine(&r, kv_db_stat(db, &info));
    if (r.sound && r.errors > 0)
        fail_because(db, "a sound file gives errors");
    if (entries)
        *entries = r.entries;
    return r.sound;
}

/* ---- changing ---- */

static const uint8_t value[20000];

static void change_at(kv_tree *tree, uint64_t position, unsigned how)
{
    kv_cursor *cursor;
    kv_slice key;
    if (kv_cursor_open(tree, NULL, &cursor) != KV_OK)
        return;
    if (kv_cursor_nth(cursor, position) == KV_OK && kv_cursor_get(cursor, &key, NULL) == KV_OK) {
        if (how % 3 == 0)
            (void)kv_cursor_del(cursor);
        else
            (void)kv_cursor_put(cursor, value, how % 3 == 1 ? 40 : 9000);
        (void)kv_cursor_next(cursor);
    }
    kv_cursor_close(cursor);
}

static void change_ranges(kv_tree *tree)
{
    kv_range range = {.size = sizeof range, .from = "k00010", .from_len = 6};
    uint64_t n;
    range.to = "k00030";
    range.to_len = 6;
    (void)kv_count(tree, &range, &n);
    (void)kv_del_range(tree, &range, &n);
    range = (kv_range){.size = sizeof range, .prefix = "kk", .prefix_len = 2, .limit = 9};
    (void)kv_del_range(tree, &range, &n);
}

static void change_tree(kv_tree *tree, unsigned plan)
{
    bool multi = is_multi(tree);
    char key[16];
    for (unsigned i = 0; i < 12; i++) {
        snprintf(key, sizeof key, "k%05u", i * 11);
        if (multi)
            (void)kv_multi_put(tree, key, 6, value, i * 9);
        else if (i % 4 == 3)
            (void)kv_del(tree, key, 6);
        else
            (void)kv_put(tree, key, 6, value, i % 5 ? i * 9 : 6000, 0);
    }
    for (unsigned i = 0; i < 6; i++)
        change_at(tree, i * i * 5, i);
    (void)kv_put(tree, "large", 5, value, sizeof value, 0);
    if (plan & EXAM_RANGES)
        change_ranges(tree);
}

static int change_db(kv_db *db, unsigned plan, uint32_t durability)
{
    kv_txn *txn;
    uint32_t point = 0;
    int rc = kv_txn_begin(db, KV_TXN_WRITE | durability, &txn);
    if (rc != KV_OK)
        return rc;
    names list = list_trees(txn);
    bool saved = kv_txn_savepoint(txn, &point) == KV_OK;
    for (unsigned i = 0; i <= list.n; i++) {
        kv_tree *tree = tree_of(txn, &list, i);
        if (!tree)
            continue;
        change_tree(tree, plan);
        if (saved && i == 1)
            (void)kv_txn_rollback_to(txn, point);
        if (i == 0 && plan & EXAM_CLEAR)
            (void)kv_tree_clear(tree);
        else if (i == 2 && plan & EXAM_CLEAR)
            (void)kv_tree_drop(tree);
    }
    return kv_txn_commit(txn);
}

static void change_batch(kv_db *db)
{
    const kv_op ops[] = {
        {.kind = KV_OP_PUT, .key = {"k00021", 6}, .value = {"rough", 5}},
        {.kind = KV_OP_DEL_PREFIX, .key = {"k0003", 5}},
        {.kind = KV_OP_DEL, .tree = {"packed", 6}, .key = {"inline", 6}},
        {.kind = KV_OP_PUT, .flags = KV_OP_CREATE_TREE, .tree = {"new", 3}, .key = {"a", 1}},
    };
    (void)kv_db_write(db, ops, KVI_COUNT(ops), 0, NULL);
}

/* ---- all ---- */

static int open_db(sim_disk *disk, uint32_t flags, kv_db **db)
{
    kv_options options = {.size = sizeof options, .flags = flags};
    return kvi_db_open(sim_os(disk), IMAGE_NAME, &options, db, NULL, 0);
}

static void close_db(sim_disk *disk, kv_db *db)
{
    FUZZ_MUST(kv_db_close(db) == KV_OK);
    FUZZ_MUST(sim_open_handles(disk) == 0);
}

/* A file that is sound stays so through a transaction. */
static bool change_and_check(kv_db *db, unsigned plan, bool sound, uint32_t durability)
{
    watch_commit(db, sound);
    int rc = plan & EXAM_BATCH && durability ? (change_batch(db), KV_OK)
                                             : change_db(db, plan, durability);
    watch_commit(db, false);
    FUZZ_MUST(!sound || rc == KV_OK);
    bool still = read_and_check(db, NULL);
    FUZZ_MUST(!sound || still);
    return still;
}

static bool exam_write(sim_disk *disk, unsigned plan, uint64_t *entries)
{
    kv_db *db;
    uint32_t flags = plan & EXAM_EXCLUSIVE ? KV_OPEN_EXCLUSIVE : 0;
    if (plan & EXAM_NO_CHECKSUM)
        flags |= KV_OPEN_NO_CHECKSUM;
    watch.page_size = 0;
    if (open_db(disk, flags, &db) != KV_OK)
        return false;
    watch_commit(db, false);
    bool sound = read_and_check(db, NULL);
    for (unsigned i = 0; i < 3; i++)
        sound = change_and_check(db, plan, sound, i == 1 ? KV_TXN_LAZY : 0);
    if (plan & EXAM_COPY)
        (void)kv_db_copy(db, COPY_NAME, plan & EXAM_COMPACT ? KV_COPY_COMPACT : 0);
    sound = read_and_check(db, entries);
    watch_commit(db, sound);
    watch.guarded = false;
    close_db(disk, db);
    return sound;
}

static bool exam_read(sim_disk *disk, uint64_t *entries)
{
    kv_db *db;
    if (open_db(disk, KV_OPEN_READONLY, &db) != KV_OK)
        return false;
    bool sound = read_and_check(db, entries);
    close_db(disk, db);
    return sound;
}

void exam_file(sim_disk *disk, unsigned plan)
{
    uint64_t entries = 0, again = 0;
    watch.page_size = 0;
    watch.guarded = false;
    (void)exam_read(disk, NULL);
    if (plan & EXAM_REPAIR)
        (void)kvi_db_repair(sim_os(disk), IMAGE_NAME, 0, NULL, NULL);
    bool sound = exam_write(disk, plan, &entries);
    watch.page_size = 0;
    bool still = exam_read(disk, &again);
    FUZZ_MUST(!sound || (still && entries == again));
    FUZZ_MUST(sim_open_handles(disk) == 0);
}
