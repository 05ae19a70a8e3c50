/* fault_script.h - what the fault runs do: about a hundred operations, one after the other, each of
 * which checks its answers. For test_fault_runs.c, which fails a call in each run. */
#ifndef FAULT_SCRIPT_H
#define FAULT_SCRIPT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "multi_steps.h"
#include "driver_group.h"
#include "driver_snapshot.h"
#include "fault_os.h"
#include "flush.h"
#include "sim_os.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef KVI_STRESS
#define PAGE_SIZE 512
#else
#define PAGE_SIZE 4096
#endif
#define SNAPSHOTS_FROM 1024 /* page size: into a smaller one the names do not fit */
#define METAS_END      (2 * kvi_meta_stride(PAGE_SIZE))
#define RUNS           100 /* of each plan, unless FAULT_RUNS says otherwise */
#define SCRIPT_SEED    7
#define BIG            (6 * PAGE_SIZE + 100)
#define SIDE           "db-lock"
#define CROWD          (KVI_SLOTS_FIRST + 3)
#define DEAD_HANDLE    1000

static const driver_shape shape = {
    .keys = 150,
    .key_max = 64,
    .value_max = 90,
    .large_max = 3 * PAGE_SIZE,
    .large_one_in = 6,
    .trees = 3,
    .savepoints = true,
    .ranges = true,
    .expiry = true,
    .compress_from = 1000,
};

/* The state of one run. */
static struct run {
    sim_disk *disk;
    fault_os fault;
    driver d; /* d.db: NULL while closed */
    model *m;
    bool shared;   /* or alone with the file */
    kv_db *second; /* another handle of it, where it is shared */
    kv_db *guest;  /* and one that may not use the side file */
    kv_txn *guest_txn;
    model_state *guest_seen;
    bool keep_out;     /* the side file cannot be opened */
    bool lock_idle;    /* the lock that failed first was given back, held by another one, or a dead
                       one's */
    unsigned asked;    /* how often for the writer's lock */
    bool without_side; /* a reader could not make the side file, and does without */
    kv_watch *watch;
    model_state *watched; /* what it saw last */
    kv_txn *reader;
    model_state *seen;   /* what reader sees */
    model_state *flight; /* a commit that nobody knows the outcome of */
    bool poisoned;       /* a flush or the write of a meta has failed */
    kv_txn *spare;       /* a read transaction that an operation had open when it failed */
    const char *where;   /* the operation that runs */
    const char *hit_in;  /* the one in which a call failed first */
} w;

static uint64_t hit[FAULT_CALLS]; /* failed in all runs, by kind */

static _Noreturn void bad(const char *what, int rc)
{
    char plan[300], text[320] = "";
    fault_describe(&w.fault, plan, sizeof plan);
    if (w.d.db)
        kv_db_errmsg(w.d.db, text, sizeof text);
    fail_msg("%s (in %s, failed in %s, result %d: %s)\n  %s, at byte %llu", what, w.where,
             w.hit_in ? w.hit_in : "nothing", rc, text, plan,
             (unsigned long long)w.fault.first_offset);
    abort();
}

/* ---- the operations of the script: 0 and above is success, and they check their answers ---- */

static int open_with(const char *name, uint32_t flags, uint64_t budget, kv_db **db)
{
    kv_options options = {
        .size = sizeof options, .flags = flags, .page_size = PAGE_SIZE, .memory_budget = budget};
    if (flags & KV_OPEN_READONLY)
        options.page_size = 0;
    else if (!w.shared)
        options.flags |= KV_OPEN_EXCLUSIVE;
    return kvi_db_open(&w.fault.os, name, &options, db, NULL, 0);
}

static int op_open(void)
{
    return open_with("db", KV_OPEN_CREATE, 6 * PAGE_SIZE, &w.d.db);
}

/* Leaves lazy commits for the next open to adopt. */
static int op_open_careless(void)
{
    return open_with("db", KV_OPEN_NO_CLOSE_SYNC, 6 * PAGE_SIZE, &w.d.db);
}

static int op_close(void)
{
    kv_db *db = w.d.db;
    w.d.db = NULL;
    return kv_db_close(db);
}

static int op_open_readonly(void)
{
    int rc = open_with("db", KV_OPEN_READONLY, 0, &w.d.db);
    w.without_side = rc == KV_OK && w.d.db->role == KVI_GUEST;
    return rc;
}

static int op_open_empty(void)
{
    kv_db *db;
    int rc = open_with("empty", KV_OPEN_CREATE, 0, &db);
    if (rc == KV_OK && !fault_hit(&w.fault))
        w.where = "close_empty";
    return rc == KV_OK ? kv_db_close(db) : rc;
}

static int begin(uint32_t flags)
{
    return driver_begin(&w.d, flags) ? KV_OK : w.d.failure;
}

static int op_begin(void)
{
    return begin(0);
}

static int op_begin_lazy(void)
{
    return begin(KV_TXN_LAZY);
}

static int op_begin_strict(void)
{
    return begin(KV_TXN_STRICT);
}

static int op_steps(void)
{
    if (driver_steps(&w.d, 6))
        return KV_OK;
    if (w.d.failure >= 0)
        bad(w.d.what, w.d.failure);
    return w.d.failure;
}

static int op_commit(void)
{
    model_state *now = model_keep(w.m);
    int rc = driver_commit(&w.d);
    if (rc == KV_EPOISONED)
        w.flight = now;
    else
        model_release(now);
    return rc;
}

static int commit_batches(uint32_t flags)
{
    if (driver_group(&w.d, flags, &w.flight))
        return KV_OK;
    if (w.d.failure == 0)
        bad(w.d.what, 0);
    return w.d.failure;
}

static int op_commit_batches(void)
{
    return commit_batches(0);
}

static int op_commit_batches_lazy(void)
{
    return commit_batches(KV_TXN_LAZY);
}

static int op_commit_batches_strict(void)
{
    return commit_batches(KV_TXN_STRICT);
}

/* Makes, drops or restores one. */
static int op_commit_snapshot(void)
{
    static const uint32_t kinds[] = {KV_TXN_DURABLE, KV_TXN_STRICT, KV_TXN_LAZY};
    uint32_t kind = kinds[rng_below(&w.d.r, KVI_COUNT(kinds))];
    if (PAGE_SIZE < SNAPSHOTS_FROM)
        return KV_OK;
    if (driver_snapshot(&w.d, &kind, &w.flight))
        return KV_OK;
    if (w.d.failure == 0)
        bad(w.d.what, 0);
    return w.d.failure;
}

static int count_down(void *context, const kv_progress *progress)
{
    (void)progress;
    return --*(int *)context == 0;
}

/* Some steps. */
static int op_commit_compact(void)
{
    int steps = 12;
    kv_compact_options options = {
        .size = sizeof options, .step_pages = 16, .progress = count_down, .context = &steps};
    int rc = kv_db_compact(w.d.db, &options, NULL);
    return rc == KV_ECANCELED ? KV_OK : rc;
}

static int op_abort(void)
{
    driver_abort(&w.d);
    return KV_OK;
}

/* Large, and of bytes that do not compress, or do. */
static int put_big(const char *tree_name, const char *key, bool random)
{
    static uint8_t bytes[BIG];
    kv_tree *tree = kv_txn_main(w.d.txn);
    kvi_slice name = model_text(tree_name);
    memset(bytes, 'z', sizeof bytes);
    if (random)
        rng_fill(&w.d.r, bytes, sizeof bytes);
    kv_tree_options options = {.size = sizeof options, .compress_from = 1000};
    int rc = KV_OK;
    if (name.len)
        rc = kv_tree_open(w.d.txn, name.ptr, name.len, KV_TREE_CREATE, &options, &tree);
    if (rc == KV_OK && name.len)
        model_tree_create(w.m, name);
    if (rc == KV_OK)
        rc = kv_put(tree, key, strlen(key), bytes, sizeof bytes, 0);
    if (rc == KV_OK)
        model_put(w.m, name, model_text(key), (kvi_slice){bytes, sizeof bytes});
    return rc;
}

static int op_put_big(void)
{
    return put_big("", "big", true);
}

static int op_put_compressed(void)
{
    return put_big("blue", "packed", false);
}

static int op_put_many(void)
{
    char key[32];
    kv_tree *tree = kv_txn_main(w.d.txn);
    for (int i = 0; i < 4 * PAGE_SIZE / 64; i++) {
        size_t len = (size_t)snprintf(key, sizeof key, "many%05d", i);
        int rc = kv_put(tree, key, len, key, len, 0);
        if (rc != KV_OK)
            return rc;
        model_put(w.m, MODEL_MAIN, (kvi_slice){(uint8_t *)key, len},
                  (kvi_slice){(uint8_t *)key, len});
    }
    return KV_OK;
}

static int op_del_many(void)
{
    uint64_t deleted;
    kvi_slice to = model_text("many00200");
    kv_range range = {
        .size = sizeof range, .from = "many00010", .from_len = 9, .to = to.ptr, .to_len = to.len};
    int rc = kv_del_range(kv_txn_main(w.d.txn), &range, &deleted);
    if (rc == KV_OK && deleted != model_del_range(w.m, MODEL_MAIN, model_text("many00010"), &to))
        bad("deleted another number of entries", rc);
    return rc;
}

static int op_clear(void)
{
    int rc = kv_tree_clear(kv_txn_main(w.d.txn));
    if (rc == KV_OK)
        model_tree_clear(w.m, MODEL_MAIN);
    return rc;
}

static int op_configure(void)
{
    kv_tree_options options = {.size = sizeof options, .compress_from = 500};
    return kv_tree_configure(kv_txn_main(w.d.txn), &options);
}

/* Walks, changes and removes through one cursor. */
static int cursor_work(kv_cursor *cursor)
{
    kv_slice key, value;
    int rc = kv_cursor_first(cursor);
    for (int i = 0; rc == KV_OK && i < 12; i++) {
        rc = kv_cursor_get(cursor, &key, &value);
        if (rc != KV_OK)
            return rc;
        kvi_slice name = kvi_slice_of(key.ptr, key.len);
        if (i % 3 == 1) {
            rc = kv_cursor_put(cursor, "by cursor", 9);
            if (rc == KV_OK)
                model_put(w.m, MODEL_MAIN, name, model_text("by cursor"));
        } else if (i % 3 == 2) {
            uint8_t gone[PAGE_SIZE];
            memcpy(gone, key.ptr, key.len);
            name.ptr = gone;
            rc = kv_cursor_del(cursor);
            if (rc == KV_OK)
                model_del(w.m, MODEL_MAIN, name);
        }
        if (rc == KV_OK)
            rc = kv_cursor_next(cursor);
    }
    return rc;
}

static int op_cursor(void)
{
    kv_cursor *cursor;
    int rc = kv_cursor_open(kv_txn_main(w.d.txn), NULL, &cursor);
    if (rc != KV_OK)
        return rc;
    rc = cursor_work(cursor);
    kv_cursor_close(cursor);
    return rc;
}

static int op_reader(void)
{
    int rc = kv_txn_begin(w.d.db, KV_TXN_READ, &w.reader);
    if (rc == KV_OK)
        w.seen = model_keep(w.m);
    return rc;
}

static int op_reader_end(void)
{
    kv_txn_abort(w.reader);
    model_release(w.seen);
    w.reader = NULL;
    w.seen = NULL;
    return KV_OK;
}

static int op_watch(void)
{
    kv_watch_options options = {.size = sizeof options, .tree = ""};
    int rc = kv_watch_open(w.d.db, &options, &w.watch);
    if (rc == KV_OK)
        w.watched = model_keep(w.m);
    return rc;
}

/* Was there a change of the main tree? */
static int op_watched(void)
{
    kv_watch_event event = {.size = sizeof event};
    const model_tree *before = model_tree_of(w.watched, MODEL_MAIN);
    const model_tree *after = model_tree_of(w.m->now, MODEL_MAIN);
    int rc = kv_watch_next(w.watch, 0, &event);
    if (rc < 0)
        return rc;
    if (model_sum_equal(before->sum, after->sum) != (rc == KV_NOTFOUND))
        bad("a watch missed a change, or made one up", rc);
    model_release(w.watched);
    w.watched = model_keep(w.m);
    return KV_OK;
}

static int op_watch_end(void)
{
    kv_watch_close(w.watch);
    if (w.watched)
        model_release(w.watched);
    w.watch = NULL;
    w.watched = NULL;
    return KV_OK;
}

static int op_reader_refresh(void)
{
    int rc = kv_txn_refresh(w.reader);
    model_release(w.seen);
    w.seen = model_keep(w.m);
    return rc;
}

/* Reads everything through one transaction, as an ordinary caller would. */
static int read_tree(kv_tree *tree, kvi_slice name, model_sum *sum)
{
    kv_cursor *cursor;
    kv_slice key, value;
    int rc = kv_cursor_open(tree, NULL, &cursor);
    if (rc != KV_OK)
        return rc;
    while ((rc = kv_cursor_next(cursor)) == KV_OK) {
        rc = kv_cursor_get(cursor, &key, &value);
        if (rc != KV_OK)
            break;
        kvi_slice k = kvi_slice_of(key.ptr, key.len), v = kvi_slice_of(value.ptr, value.len);
        multi_entry(name, &k, &v);
        model_sum_add(sum, k, v);
    }
    kv_cursor_close(cursor);
    return rc;
}

static int read_all(kv_txn *txn, const model_state *state)
{
    for (size_t i = 0; i < state->n; i++) {
        model_sum sum = {0};
        kvi_slice name = model_tree_name(&state->trees[i]);
        kv_tree *tree = kv_txn_main(txn);
        int rc = name.len ? kv_tree_open(txn, name.ptr, name.len, 0, NULL, &tree) : KV_OK;
        if (rc == KV_OK)
            rc = read_tree(tree, name, &sum);
        if (rc < 0)
            return rc;
        if (rc != KV_NOTFOUND || !model_sum_equal(sum, state->trees[i].sum))
            bad("reading gave another content", rc);
    }
    return KV_OK;
}

static int op_read(void)
{
    int rc = kv_txn_begin(w.d.db, KV_TXN_READ, &w.spare);
    if (rc != KV_OK)
        return rc;
    rc = read_all(w.spare, w.m->now);
    kv_txn_abort(w.spare);
    w.spare = NULL;
    return rc;
}

static int op_read_old(void)
{
    return read_all(w.reader, w.seen);
}

static int op_sync(void)
{
    return kv_db_sync(w.d.db);
}

static int op_check(void)
{
    return kv_db_check(w.d.db, NULL);
}

static int op_stat(void)
{
    kv_db_info info = {.size = sizeof info};
    return kv_db_stat(w.d.db, &info);
}

static int ignore_reader(void *context, const kv_reader_info *reader)
{
    (void)context;
    (void)reader;
    return 0;
}

static int op_readers(void)
{
    return kv_db_readers(w.d.db, ignore_reader, NULL);
}

/* Copies whole, or not at all. */
static int copy_as(const char *name, uint32_t flags)
{
    int rc = kv_db_copy(w.d.db, name, flags);
    if (rc == KV_OK && !sim_get_file(w.disk, name).ptr)
        bad("the copy is not there", rc);
    return rc;
}

static int op_copy(void)
{
    return copy_as("copy", 0);
}

/* ---- sharing ---- */

static int op_second(void)
{
    return w.shared ? open_with("db", KV_OPEN_NO_CLOSE_SYNC, 6 * PAGE_SIZE, &w.second) : KV_OK;
}

static int op_second_close(void)
{
    kv_db *db = w.second;
    w.second = NULL;
    return db ? kv_db_close(db) : KV_OK;
}

/* What follows is done by the other handle. */
static int op_swap(void)
{
    kv_db *db = w.d.db;
    if (w.second) {
        w.d.db = w.second;
        w.second = db;
    }
    return KV_OK;
}

/* As if a handle had died in a commit, and in a read transaction. */
static int op_death(void)
{
    if (!w.shared)
        return KV_OK;
    kvi_readers *readers = &w.d.db->readers;
    kvi_slot *slot = &readers->slots[KVI_SLOTS_FIRST - 1];
    if (slot->owner >> 32 == 0) {
        slot->owner = DEAD_HANDLE;
        slot->pin = 1;
    }
    readers->head->board.writing = 1;
    return KV_OK;
}

/* More read transactions than there are slots. */
static int op_crowd(void)
{
    kv_txn *txns[CROWD];
    int rc = KV_OK, n = 0;
    while (n < CROWD && (rc = kv_txn_begin(w.d.db, KV_TXN_READ, &txns[n])) == KV_OK)
        n++;
    while (n > 0)
        kv_txn_abort(txns[--n]);
    return rc;
}

static int op_guest(void)
{
    if (!w.shared)
        return KV_OK;
    w.keep_out = true;
    int rc = open_with("db", KV_OPEN_READONLY, 0, &w.guest);
    w.keep_out = false;
    if (rc == KV_OK && w.guest->role != KVI_GUEST)
        bad("the guest is none", rc);
    if (rc == KV_OK)
        rc = kv_txn_begin(w.guest, KV_TXN_READ, &w.guest_txn);
    if (rc == KV_OK)
        w.guest_seen = model_keep(w.m);
    return rc;
}

static int op_guest_read(void)
{
    return w.guest ? read_all(w.guest_txn, w.guest_seen) : KV_OK;
}

static int op_guest_refresh(void)
{
    if (!w.guest)
        return KV_OK;
    model_release(w.guest_seen);
    w.guest_seen = model_keep(w.m);
    return kv_txn_refresh(w.guest_txn);
}

static int op_guest_close(void)
{
    kv_db *db = w.guest;
    if (w.guest_txn) {
        kv_txn_abort(w.guest_txn);
        model_release(w.guest_seen);
    }
    w.guest = NULL;
    w.guest_txn = NULL;
    return db ? kv_db_close(db) : KV_OK;
}

static int op_copy_compact(void)
{
    return copy_as("compact", KV_COPY_COMPACT);
}

static int copy_stream(const char *name, uint32_t flags)
{
    const kvi_os *os = sim_os(w.disk);
    int fd = os->open(os, name, KVI_OS_WRITE | KVI_OS_CREATE, 0600);
    int rc = kv_db_copy_fd(w.d.db, fd, flags);
    os->close(os, fd);
    return rc;
}

static int op_copy_fd(void)
{
    return copy_stream("stream", 0);
}

static int op_copy_fd_compact(void)
{
    return copy_stream("compact-stream", KV_COPY_COMPACT);
}

static int op_repair(void)
{
    return kvi_db_repair(&w.fault.os, "db", 0, NULL, NULL);
}

#define OP(name)                                                                                   \
    {                                                                                              \
#name, op_##name                                                                           \
    }
static const struct {
    const char *name;
    int (*run)(void);
} script[] = {
    OP(open),
    OP(begin),
    OP(steps),
    OP(steps),
    OP(put_big),
    OP(steps),
    OP(commit),
    OP(reader),
    OP(watch),
    OP(begin_lazy),
    OP(steps),
    OP(put_compressed),
    OP(steps),
    OP(commit),
    OP(watched),
    OP(watched),
    OP(begin_strict),
    OP(put_many),
    OP(steps),
    OP(steps),
    OP(commit),
    OP(commit_batches),
    OP(watched),
    OP(watch_end),
    OP(read),
    OP(read_old),
    OP(begin),
    OP(cursor),
    OP(steps),
    OP(abort),
    OP(stat),
    OP(readers),
    OP(crowd),
    OP(second),
    OP(swap),
    OP(begin_lazy),
    OP(steps),
    OP(put_big),
    OP(commit),
    OP(swap),
    OP(begin),
    OP(steps),
    OP(commit),
    OP(guest),
    OP(swap),
    OP(begin_lazy),
    OP(steps),
    OP(commit),
    OP(guest_read),
    OP(guest_refresh),
    OP(swap),
    OP(sync),
    OP(guest_read),
    OP(death),
    OP(begin),
    OP(steps),
    OP(commit),
    OP(guest_close),
    OP(begin_lazy),
    OP(steps),
    OP(commit),
    OP(death),
    OP(swap),
    OP(begin_strict),
    OP(steps),
    OP(commit),
    OP(stat),
    OP(begin_lazy),
    OP(put_big),
    OP(commit),
    OP(swap),
    OP(second_close),
    OP(begin),
    OP(cursor),
    OP(steps),
    OP(configure),
    OP(put_big),
    OP(commit),
    OP(read),
    OP(reader_refresh),
    OP(read_old),
    OP(begin_lazy),
    OP(del_many),
    OP(steps),
    OP(commit),
    OP(begin_lazy),
    OP(put_many),
    OP(steps),
    OP(commit),
    OP(sync),
    OP(check),
    OP(copy),
    OP(copy_compact),
    OP(copy_fd),
    OP(copy_fd_compact),
    OP(read_old),
    OP(reader_end),
    OP(commit_snapshot),
    OP(commit_compact),
    OP(commit_snapshot),
    OP(commit_batches_strict),
    OP(commit_batches_lazy),
    OP(commit_snapshot),
    OP(commit_batches),
    OP(commit_snapshot),
    OP(begin),
    OP(steps),
    OP(steps),
    OP(commit),
    OP(commit_snapshot),
    OP(begin),
    OP(steps),
    OP(commit),
    OP(close),
    OP(open_careless),
    OP(read),
    OP(begin_lazy),
    OP(put_big),
    OP(put_many),
    OP(steps),
    OP(commit),
    OP(begin_lazy),
    OP(steps),
    OP(commit),
    OP(close),
    OP(open),
    OP(read),
    OP(begin_strict),
    OP(clear),
    OP(commit),
    OP(commit_snapshot),
    OP(commit_compact),
    OP(begin),
    OP(steps),
    OP(commit),
    OP(begin),
    OP(steps),
    OP(commit),
    OP(begin_strict),
    OP(put_compressed),
    OP(commit),
    OP(close),
    OP(open_readonly),
    OP(read),
    OP(check),
    OP(close),
    OP(repair),
    OP(open_empty),
    OP(open),
    OP(begin),
    OP(steps),
    OP(put_compressed),
    OP(commit),
    OP(check),
    OP(close),
};

#endif
