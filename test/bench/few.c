/* few.c - a few entries among very many: how much of the file do a difference, an incremental backup
 * and a sweep read? 1,000 changed entries and one expired in a hundred, both anywhere in the tree.
 * Beside the pages that each has read stand those that it cannot do without, by another count: the
 * leaves with such entries, and the branches above them. */
#include "bench.h"

#include "../../src/db.h" /* Berkeley DB has one, too */
#include "../../src/node.h"

#include <kv.h>
#include <stdlib.h>
#include <string.h>

enum { CHANGES = 1000, EXPIRES = 100, HOUR_MS = 3600000 };

struct few {
    const struct options *o;
    kvi_os os; /* the real one, but for the clock */
    kv_db *db;
    struct order order;
    uint8_t *marked; /* of each entry: 1 expires, 2 was changed */
};

static uint64_t now_ms;

static uint64_t clock_ms(const kvi_os *os)
{
    (void)os;
    return now_ms;
}

static kv_txn *begin(struct few *f, uint32_t flags)
{
    kv_txn *txn;
    bench_must(f->db, kv_txn_begin(f->db, flags, &txn), "begin");
    return txn;
}

static void print_row(struct few *f, const char *what, uint64_t entries, uint64_t pages,
                      uint64_t least, double bytes, double seconds)
{
    if (f->o->json)
        printf("{\"mode\":\"few\",\"what\":\"%s\",\"n\":%llu,\"entries\":%llu,\"pages\":%llu,"
               "\"least\":%llu,\"bytes\":%.0f,\"ms\":%.1f}\n",
               what, (unsigned long long)f->o->n, (unsigned long long)entries,
               (unsigned long long)pages, (unsigned long long)least, bytes, seconds * 1e3);
    else
        printf("%-8s %10llu %10llu %10llu %10.2f %10.1f\n", what, (unsigned long long)entries,
               (unsigned long long)pages, (unsigned long long)least, bytes / 1e6, seconds * 1e3);
    fflush(stdout);
}

/* ---- the entries: numbers in the order of keys ---- */

static void put(struct few *f, kv_tree *tree, uint64_t number, uint64_t version)
{
    const struct options *o = f->o;
    unsigned char key[KEY_MAX], value[VALUE_MAX];
    kv_put_options until = {.size = sizeof until, .ttl_ms = HOUR_MS};
    bench_key(o, number, key);
    bench_value(o, number, version, value);
    bool expires = f->marked[number] & 1;
    bench_must(f->db,
               kv_put_with(tree, key, o->key_len, value, o->value_len, expires ? &until : NULL),
               "put");
}

/* The first ones of a random order expire, those behind them will change. */
static void load(struct few *f)
{
    uint64_t n = f->o->n, expiring = n / EXPIRES;
    double start = bench_now();
    for (uint64_t i = 0; i < expiring; i++)
        f->marked[bench_order_at(&f->order, i)] = 1;
    kv_txn *txn = begin(f, KV_TXN_WRITE);
    for (uint64_t i = 0; i < n; i++)
        put(f, kv_txn_main(txn), i, 0);
    bench_must(f->db, kv_txn_commit(txn), "commit");
    kv_db_info info = {.size = sizeof info};
    bench_must(f->db, kv_db_stat(f->db, &info), "stat");
    print_row(f, "load", n, info.leaf_pages + info.branch_pages, 0, (double)info.file_size,
              bench_now() - start);
}

static void change(struct few *f)
{
    uint64_t from = f->o->n / EXPIRES;
    kv_txn *txn = begin(f, KV_TXN_WRITE);
    for (uint64_t i = from; i < from + CHANGES; i++) {
        uint64_t number = bench_order_at(&f->order, i);
        f->marked[number] = 2;
        put(f, kv_txn_main(txn), number, 1);
    }
    bench_must(f->db, kv_txn_commit(txn), "commit");
}

/* ---- the pages that hold them ---- */

/* Of the subtree whose first entry has this number. */
static uint64_t pages_with(struct few *f, kv_txn *txn, kvi_ptr ptr, unsigned level, uint64_t first,
                           uint64_t entries, uint8_t mark)
{
    const uint8_t *page;
    uint64_t pages = 0;
    uint32_t size = f->db->file.page_size;
    if (level == 0)
        return memchr(f->marked + first, mark, entries) != NULL;
    bench_must(f->db, kvi_txn_node(txn, ptr, level, &page), "page");
    for (unsigned i = 0; i <= kvi_node_count(page); i++) {
        uint64_t below = kvi_branch_tally(page, size, i);
        pages += pages_with(f, txn, kvi_branch_child(page, size, i), level - 1, first, below, mark);
        first += below;
    }
    return pages + (pages > 0);
}

static uint64_t least_pages(struct few *f, uint8_t mark)
{
    kv_txn *txn = begin(f, KV_TXN_READ);
    const kvi_tree_desc *main = &kv_txn_main(txn)->desc;
    uint64_t pages = pages_with(f, txn, main->root, main->level, 0, main->entries, mark);
    kv_txn_abort(txn);
    return pages;
}

/* ---- what is measured ---- */

static void diff(struct few *f, kv_txn *before)
{
    kv_diff_info info = {.size = sizeof info};
    kv_diff_options options = {.size = sizeof options};
    kv_txn *after = begin(f, KV_TXN_READ);
    double start = bench_now();
    bench_must(f->db, kv_diff(before, after, &options, &info), "diff");
    double seconds = bench_now() - start;
    kv_txn_abort(after);
    if (info.changed != CHANGES || info.added + info.removed > 0)
        bench_die("diff: %llu changes", (unsigned long long)info.changed);
    print_row(f, "diff", info.changed, info.pages, 2 * least_pages(f, 2), 0, seconds);
}

static int forget(void *context, const void *bytes, size_t len)
{
    (void)context;
    (void)bytes;
    (void)len;
    return 0;
}

static void backup(struct few *f, uint64_t since)
{
    kv_backup_info info = {.size = sizeof info};
    kv_backup_options options = {.size = sizeof options, .since = since, .write = forget};
    kv_txn *txn = begin(f, KV_TXN_READ);
    double start = bench_now();
    bench_must(f->db, kv_backup(txn, &options, &info), "backup");
    double seconds = bench_now() - start;
    kv_txn_abort(txn);
    print_row(f, "backup", info.entries, info.pages, least_pages(f, 2), (double)info.bytes,
              seconds);
}

static void sweep(struct few *f)
{
    kv_sweep_result result = {.size = sizeof result};
    uint64_t least = least_pages(f, 1);
    now_ms += 2 * HOUR_MS;
    double start = bench_now();
    kv_txn *txn = begin(f, KV_TXN_WRITE);
    bench_must(f->db, kv_sweep(kv_txn_main(txn), NULL, &result), "sweep");
    bench_must(f->db, kv_txn_commit(txn), "commit");
    double seconds = bench_now() - start;
    if (result.removed != f->o->n / EXPIRES || !result.done)
        bench_die("sweep: %llu removed", (unsigned long long)result.removed);
    print_row(f, "sweep", result.removed, result.pages, least, 0, seconds);
}

static void few_run(void *context, void *result)
{
    struct few *f = context;
    char path[4096];
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
    bench_path(path, sizeof path, f->o, "kv", "few");
    bench_remove(path);
    bench_must(f->db, kvi_db_open(&f->os, path, &options, &f->db, NULL, 0), "open");
    load(f);
    kv_txn *before = begin(f, KV_TXN_READ);
    change(f);
    diff(f, before);
    backup(f, kv_txn_id(before));
    kv_txn_abort(before);
    sweep(f);
    bench_must(f->db, kv_db_close(f->db), "close");
    bench_remove(path);
    *(bool *)result = true;
}

int bench_few(const struct options *o)
{
    struct few f = {.o = o, .os = kvi_os_posix, .order = bench_order(o->n, 3)};
    bool done;
    if (o->n / EXPIRES + CHANGES > o->n)
        bench_die("few takes %d records at least", 2 * CHANGES);
    f.marked = calloc(o->n, 1);
    if (!f.marked)
        bench_die("no memory");
    now_ms = 1700000000000;
    f.os.clock_ms = f.os.tick_ms = clock_ms;
    if (!o->json) {
        bench_print_machine(o, stdout);
        printf("%-8s %10s %10s %10s %10s %10s\n", "", "entries", "pages", "at least", "MB", "ms");
        fflush(stdout);
    }
    bool ok = bench_apart(few_run, &f, &done, sizeof done);
    free(f.marked);
    return ok ? 0 : 1;
}
