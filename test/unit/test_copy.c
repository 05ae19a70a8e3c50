/* Copies: whole, equal to their source at one commit, sound, and never over an existing file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "must.h"
#include "rng.h"
#include "scratch.h"
#include "surgeon.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRIES 3000
#define BIG     100000

static scratch dir;
static char source[SCRATCH_MAX], target[SCRATCH_MAX];
static uint8_t bytes[4 * BIG];

/* ---- building ---- */

static int setup(void **state)
{
    rng random;
    scratch_make(&dir);
    scratch_path_to(&dir, "source.kv", source);
    scratch_path_to(&dir, "target.kv", target);
    rng_seed(&random, 11);
    rng_fill(&random, bytes, BIG); /* the rest stays zero, and compresses well */
    return 0;
}

static int teardown(void **state)
{
    scratch_remove(&dir);
    return 0;
}

static int remove_files(void **state)
{
    unlink(source);
    unlink(target);
    return 0;
}

static void put(kv_tree *tree, unsigned number, const void *value, size_t len)
{
    char key[32];
    int n = snprintf(key, sizeof key, "key%06u", number);
    assert_int_equal(kv_put(tree, key, (size_t)n, value, len, 0), KV_OK);
}

static kv_txn *begin(kv_db *db)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    return txn;
}

static void commit(kv_txn *txn)
{
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static void fill_main(kv_tree *tree)
{
    for (unsigned i = 0; i < ENTRIES; i++)
        put(tree, i * 7919 % ENTRIES, bytes + i, i % 200);
    put(tree, ENTRIES, bytes, BIG);
    put(tree, ENTRIES + 1, NULL, 0);
}

static void fill_packed(kv_txn *txn)
{
    kv_tree *tree;
    kv_tree_options options = {sizeof options, 1000};
    assert_int_equal(kv_tree_open(txn, "packed", 6, KV_TREE_CREATE, &options, &tree), KV_OK);
    put(tree, 1, bytes, sizeof bytes);
    put(tree, 2, bytes + BIG - 500, 3000);
    put(tree, 3, "short", 5);
}

static kv_db *create(uint32_t page_size)
{
    kv_db *db;
    kv_tree *tree;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = page_size};
    assert_int_equal(kv_db_open(source, &options, &db), KV_OK);
    kv_txn *txn = begin(db);
    fill_main(kv_txn_main(txn));
    fill_packed(txn);
    assert_int_equal(kv_tree_open(txn, "empty", 5, KV_TREE_CREATE, NULL, &tree), KV_OK);
    assert_int_equal(kv_tree_open(txn, "other", 5, KV_TREE_CREATE, NULL, &tree), KV_OK);
    for (unsigned i = 0; i < 500; i++)
        put(tree, i, "other", 5);
    commit(txn);
    for (unsigned round = 0; round < 30; round++) { /* holes */
        txn = begin(db);
        for (unsigned i = 0; i < 30; i++)
            put(kv_txn_main(txn), (round * 97 + i * 31) % ENTRIES, "again", round % 6);
        commit(txn);
    }
    return db;
}

/* ---- comparing ---- */

static void compare_trees(kv_tree *a, kv_tree *b)
{
    kv_cursor *x, *y;
    kv_tree_info in = {.size = sizeof in}, out = in;
    assert_int_equal(kv_tree_stat(a, &in), KV_OK);
    assert_int_equal(kv_tree_stat(b, &out), KV_OK);
    assert_int_equal(in.entries, out.entries);
    assert_int_equal(in.compress_from, out.compress_from);
    assert_int_equal(kv_cursor_open(a, NULL, &x), KV_OK);
    assert_int_equal(kv_cursor_open(b, NULL, &y), KV_OK);
    uint64_t n = 0;
    for (int rc = kv_cursor_first(x); rc == KV_OK; rc = kv_cursor_next(x), n++) {
        kv_slice k, v, l, w;
        assert_int_equal(n ? kv_cursor_next(y) : kv_cursor_first(y), KV_OK);
        assert_int_equal(kv_cursor_get(x, &k, &v), KV_OK);
        assert_int_equal(kv_cursor_get(y, &l, &w), KV_OK);
        assert_int_equal(k.len, l.len);
        assert_int_equal(v.len, w.len);
        assert_memory_equal(k.ptr, l.ptr, k.len);
        if (v.len)
            assert_memory_equal(v.ptr, w.ptr, v.len);
    }
    assert_int_equal(n, in.entries);
    kv_cursor_close(x);
    kv_cursor_close(y);
}

typedef struct both {
    kv_txn *a, *b;
    unsigned trees;
} both;

static int compare_named(void *context, kv_slice name)
{
    both *t = context;
    kv_tree *a, *b;
    assert_int_equal(kv_tree_open(t->a, name.ptr, name.len, 0, NULL, &a), KV_OK);
    assert_int_equal(kv_tree_open(t->b, name.ptr, name.len, 0, NULL, &b), KV_OK);
    compare_trees(a, b);
    t->trees++;
    return 0;
}

static int count_name(void *context, kv_slice name)
{
    ++*(unsigned *)context;
    return 0;
}

static void compare(kv_txn *a, kv_txn *b)
{
    both t = {a, b, 0};
    unsigned names = 0;
    compare_trees(kv_txn_main(a), kv_txn_main(b));
    assert_int_equal(kv_tree_list(a, compare_named, &t), KV_OK);
    assert_int_equal(kv_tree_list(b, count_name, &names), KV_OK);
    assert_int_equal(names, t.trees);
}

static kv_db *open_sound(const char *path, uint32_t flags)
{
    kv_db *db;
    char message[320];
    kv_options options = {.size = sizeof options, .flags = flags};
    if (kv_db_open_explain(path, &options, &db, message, sizeof message) != KV_OK)
        fail_msg("%s", message);
    must_be_sound(db);
    return db;
}

/* The copy at path opens in every way, is sound, holds what db holds, and can be written. */
static void copy_is_good(kv_db *db, const char *path)
{
    kv_txn *a, *b;
    kv_db *copy = open_sound(path, KV_OPEN_READONLY);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &a), KV_OK);
    assert_int_equal(kv_txn_begin(copy, KV_TXN_READ, &b), KV_OK);
    compare(a, b);
    kv_txn_abort(a);
    kv_txn_abort(b);
    assert_int_equal(kv_db_close(copy), KV_OK);
    copy = open_sound(path, 0);
    for (unsigned i = 0; i < 50; i++) {
        b = begin(copy);
        put(kv_txn_main(b), i * 50, bytes, i * 300);
        commit(b);
    }
    assert_int_equal(kv_db_check(copy, NULL), KV_OK);
    assert_int_equal(kv_db_close(copy), KV_OK);
}

/* Nothing but the files that the test names is left beside them. */
static void no_leftovers(void)
{
    char command[SCRATCH_MAX + 64];
    snprintf(command, sizeof command, "ls -A '%s' | grep -c tmp", dir.dir);
    FILE *pipe = popen(command, "r");
    int n = -1;
    assert_non_null(pipe);
    assert_int_equal(fscanf(pipe, "%d", &n), 1);
    pclose(pipe);
    assert_int_equal(n, 0);
}

/* ---- to a path ---- */

static void copy_all_page_sizes(uint32_t flags)
{
    for (uint32_t page_size = 4096; page_size <= 65536; page_size *= 4) {
        kv_db *db = create(page_size);
        assert_int_equal(kv_db_copy(db, target, flags), KV_OK);
        copy_is_good(db, target);
        assert_int_equal(kv_db_close(db), KV_OK);
        no_leftovers();
        remove_files(NULL);
    }
}

static void test_plain(void **state)
{
    copy_all_page_sizes(0);
}

static void test_compact(void **state)
{
    copy_all_page_sizes(KV_COPY_COMPACT);
}

static uint64_t size_of(const char *path)
{
    struct stat stat_buf;
    assert_int_equal(stat(path, &stat_buf), 0);
    return (uint64_t)stat_buf.st_size;
}

static void test_compact_is_smaller(void **state)
{
    kv_db *db = create(4096);
    kv_txn *txn = begin(db);
    kv_range range = {.size = sizeof range, .to = "key002500", .to_len = 9};
    assert_int_equal(kv_del_range(kv_txn_main(txn), &range, NULL), KV_OK);
    commit(txn);
    assert_int_equal(kv_db_copy(db, target, KV_COPY_COMPACT), KV_OK);
    assert_true(size_of(target) < size_of(source));
    kv_db_info info = {.size = sizeof info};
    kv_db *copy = open_sound(target, KV_OPEN_READONLY);
    assert_int_equal(kv_db_stat(copy, &info), KV_OK);
    assert_true(info.free_pages < 10);
    assert_int_equal(kv_db_close(copy), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* A page-by-page copy: every page of the trees at its place, byte for byte, under the same commit;
 * another file all the same. */
static void test_plain_keeps_places(void **state)
{
    kv_db *db = create(4096);
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    assert_int_equal(kv_db_copy(db, target, 0), KV_OK);
    uint64_t id = kv_txn_id(txn);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon a, b;
    surgeon_load(&a, source);
    surgeon_load(&b, target);
    assert_int_equal(b.meta.id, id);
    assert_int_equal(b.meta.hash_seed, a.meta.hash_seed);
    assert_memory_not_equal(b.meta.file_id, a.meta.file_id, 16);
    assert_memory_equal(b.bytes, b.bytes + kvi_meta_stride(b.page_size), KVI_META_SIZE);
    assert_int_equal(b.meta.main.root.page, a.meta.main.root.page);
    assert_int_equal(b.meta.main.root.birth, a.meta.main.root.birth);
    assert_int_equal(b.meta.main.entries, a.meta.main.entries);
    for (unsigned i = 0; i < 3; i++) {
        kvi_pgno leaf = surgeon_node(&a, &a.meta.main, 0, i).page;
        assert_memory_equal(surgeon_page(&a, leaf), surgeon_page(&b, leaf), a.page_size);
    }
    surgeon_free(&a);
    surgeon_free(&b);
}

static void test_empty_database(void **state)
{
    kv_db *db;
    assert_int_equal(kv_db_open(source, NULL, &db), KV_OK);
    for (uint32_t flags = 0; flags <= KV_COPY_COMPACT; flags++) {
        assert_int_equal(kv_db_copy(db, target, flags), KV_OK);
        copy_is_good(db, target);
        unlink(target);
    }
    assert_int_equal(kv_db_close(db), KV_OK);
}

static void test_from_a_read_only_handle(void **state)
{
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_READONLY};
    kv_db *db = create(4096);
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_int_equal(kv_db_open(source, &options, &db), KV_OK);
    for (uint32_t flags = 0; flags <= KV_COPY_COMPACT; flags++) {
        assert_int_equal(kv_db_copy(db, target, flags), KV_OK);
        copy_is_good(db, target);
        unlink(target);
    }
    assert_int_equal(kv_db_close(db), KV_OK);
}

static void test_never_overwrites(void **state)
{
    kv_db *db = create(4096);
    for (uint32_t flags = 0; flags <= KV_COPY_COMPACT; flags++) {
        FILE *file = fopen(target, "w");
        assert_non_null(file);
        fputs("mine", file);
        fclose(file);
        assert_int_equal(kv_db_copy(db, target, flags), KV_EXISTS);
        assert_int_equal(kv_db_copy(db, source, flags), KV_EXISTS);
        assert_int_equal(size_of(target), 4);
    }
    no_leftovers();
    assert_int_equal(kv_db_close(db), KV_OK);
}

static void test_no_such_directory(void **state)
{
    kv_db *db = create(4096);
    char message[320];
    for (uint32_t flags = 0; flags <= KV_COPY_COMPACT; flags++) {
        assert_int_equal(kv_db_copy(db, scratch_path(&dir, "no/where.kv"), flags), KV_ENOENT);
        kv_db_errmsg(db, message, sizeof message);
        assert_non_null(strstr(message, "where.kv"));
    }
    assert_int_equal(kv_db_close(db), KV_OK);
}

static void damaged_is_not_copied(kv_db *db, bool large)
{
    surgeon s;
    kvi_pgno page;
    uint8_t *stored;
    kvi_entry entry;
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_load(&s, source);
    assert_true(surgeon_find(&s, &s.meta.main, KVI_ENTRY_LARGE, &page, &stored, &entry));
    surgeon_page(&s, large ? entry.large.ptr.page : page)[300] ^= 1;
    surgeon_save(&s, source);
    surgeon_free(&s);
    assert_int_equal(kv_db_open(source, NULL, &db), KV_OK);
    for (uint32_t flags = 0; flags <= KV_COPY_COMPACT; flags++) {
        assert_int_equal(kv_db_copy(db, target, flags), KV_ECORRUPT);
        assert_int_equal(access(target, F_OK), -1);
    }
    no_leftovers();
    assert_int_equal(kv_db_close(db), KV_OK);
}

static void test_damage_is_not_copied(void **state)
{
    damaged_is_not_copied(create(4096), false);
    remove_files(NULL);
    damaged_is_not_copied(create(4096), true);
}

static void test_arguments(void **state)
{
    kv_db *db = create(4096);
    assert_int_equal(kv_db_copy(NULL, target, 0), KV_EINVAL);
    assert_int_equal(kv_db_copy(db, NULL, 0), KV_EINVAL);
    assert_int_equal(kv_db_copy(db, target, 2), KV_EINVAL);
    assert_int_equal(kv_db_copy_fd(db, -1, 0), KV_EINVAL);
    assert_int_equal(kv_db_copy_fd(db, 1, 2), KV_EINVAL);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* ---- while others work ---- */

typedef struct busy {
    kv_db *db;
    _Atomic bool stop;
    unsigned commits;
    int rc;
} busy;

/* Every commit sets ten counters, spread over the tree, to the same number. */
static int set_counters(kv_tree *tree, unsigned value)
{
    int rc = KV_OK;
    for (unsigned i = 0; rc == KV_OK && i < 10; i++) {
        char key[32];
        int n = snprintf(key, sizeof key, "key%06u", i * (ENTRIES / 10));
        rc = kv_put(tree, key, (size_t)n, &value, sizeof value, 0);
    }
    return rc;
}

/* Not on the test's own thread, where a failed assertion could jump to its end. */
static void *keep_writing(void *context)
{
    busy *b = context;
    while (!b->stop && b->rc == KV_OK) {
        kv_txn *txn;
        b->rc = kv_txn_begin(b->db, KV_TXN_WRITE, &txn);
        if (b->rc != KV_OK)
            break;
        b->rc = set_counters(kv_txn_main(txn), b->commits);
        if (b->rc == KV_OK)
            b->rc = kv_put(kv_txn_main(txn), "large", 5, bytes + b->commits % 1000, BIG / 2, 0);
        int rc = kv_txn_commit(txn);
        b->rc = b->rc == KV_OK ? rc : b->rc;
        b->commits++;
    }
    return NULL;
}

static void counters_agree(const char *path)
{
    kv_db *db = open_sound(path, KV_OPEN_READONLY);
    kv_txn *txn;
    kv_slice first, value;
    char key[32];
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    for (unsigned i = 0; i < 10; i++) {
        int n = snprintf(key, sizeof key, "key%06u", i * (ENTRIES / 10));
        assert_int_equal(kv_get(kv_txn_main(txn), key, (size_t)n, i ? &value : &first), KV_OK);
        if (i)
            assert_memory_equal(first.ptr, value.ptr, sizeof(unsigned));
    }
    kv_txn_abort(txn);
    assert_int_equal(kv_db_close(db), KV_OK);
}

static void test_while_a_writer_commits(void **state)
{
    busy b = {.db = create(4096)};
    pthread_t thread;
    kv_txn *txn = begin(b.db);
    assert_int_equal(set_counters(kv_txn_main(txn), 0), KV_OK);
    commit(txn);
    assert_int_equal(pthread_create(&thread, NULL, keep_writing, &b), 0);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(kv_db_copy(b.db, target, i % 2 ? KV_COPY_COMPACT : 0), KV_OK);
        counters_agree(target);
        unlink(target);
    }
    b.stop = true;
    pthread_join(thread, NULL);
    assert_int_equal(b.rc, KV_OK);
    assert_true(b.commits > 0);
    assert_int_equal(kv_db_check(b.db, NULL), KV_OK);
    assert_int_equal(kv_db_close(b.db), KV_OK);
}

/* An open write transaction holds nobody up, nor is it copied. */
static void test_beside_an_open_write(void **state)
{
    kv_db *db = create(4096);
    for (uint32_t flags = 0; flags <= KV_COPY_COMPACT; flags++) {
        kv_txn *txn = begin(db);
        put(kv_txn_main(txn), 3, bytes, BIG);
        assert_int_equal(kv_db_copy(db, target, flags), KV_OK);
        kv_txn_abort(txn);
        copy_is_good(db, target);
        unlink(target);
    }
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* ---- between the copy's own system calls ---- */

/* The real table, but that reading commits now and then, and memory is counted. */
static struct meddler {
    kvi_os os;
    kv_db *db; /* NULL: no commits */
    unsigned reads, commits;
    int64_t live, peak; /* allocations */
} meddler;

static int64_t meddling_pread(const kvi_os *os, int fd, void *buf, size_t len, uint64_t off)
{
    kv_db *db = meddler.db;
    if (db && ++meddler.reads % 2 == 0) {
        meddler.db = NULL; /* the commit reads, too */
        kv_txn *txn = begin(db);
        assert_int_equal(set_counters(kv_txn_main(txn), ++meddler.commits), KV_OK);
        put(kv_txn_main(txn), ENTRIES, bytes + meddler.commits, BIG / 4);
        commit(txn);
        meddler.db = db;
    }
    return kvi_os_posix.pread(os, fd, buf, len, off);
}

static int64_t short_write(const kvi_os *os, int fd, const void *buf, size_t len)
{
    return kvi_os_posix.write(os, fd, buf, len > 700 ? 700 : len);
}

static void *counting_alloc(const kvi_os *os, size_t size)
{
    meddler.live++;
    meddler.peak = meddler.live > meddler.peak ? meddler.live : meddler.peak;
    return kvi_os_posix.alloc(os, size);
}

static void counting_free(const kvi_os *os, void *ptr)
{
    meddler.live -= ptr != NULL;
    kvi_os_posix.free(os, ptr);
}

static kv_db *open_meddled(void)
{
    kv_db *db = create(4096);
    kv_options options = {.size = sizeof options, .durability = KV_LAZY};
    assert_int_equal(kv_db_close(db), KV_OK);
    meddler = (struct meddler){.os = kvi_os_posix};
    meddler.os.pread = meddling_pread;
    meddler.os.write = short_write;
    meddler.os.alloc = counting_alloc;
    meddler.os.free = counting_free;
    assert_int_equal(kvi_db_open(&meddler.os, source, &options, &db, NULL, 0), KV_OK);
    kv_txn *txn = begin(db);
    assert_int_equal(set_counters(kv_txn_main(txn), 0), KV_OK);
    commit(txn);
    return db;
}

/* The snapshot is pinned from the first page to the last, however many commits pass by. */
static void test_commits_between_reads(void **state)
{
    kv_db *db = open_meddled();
    meddler.db = db;
    assert_int_equal(kv_db_copy(db, target, 0), KV_OK);
    meddler.db = NULL;
    assert_true(meddler.commits > 50);
    counters_agree(target);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* What decompression takes is given back value by value. */
static void test_compact_in_little_memory(void **state)
{
    kv_db *db = open_meddled();
    kv_tree *tree;
    kv_txn *txn = begin(db);
    assert_int_equal(kv_tree_open(txn, "packed", 6, 0, NULL, &tree), KV_OK);
    for (unsigned i = 0; i < 1000; i++)
        put(tree, i, bytes + BIG - 100, 3000);
    commit(txn);
    meddler.peak = meddler.live;
    int64_t before = meddler.live;
    assert_int_equal(kv_db_copy(db, target, KV_COPY_COMPACT), KV_OK);
    assert_in_range(meddler.peak - before, 1, 700);
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* ---- to a descriptor ---- */

typedef struct drain {
    int from, to;
} drain;

static void *drain_pipe(void *context)
{
    drain *d = context;
    static char piece[3000]; /* less than is written at once */
    ssize_t got;
    while ((got = read(d->from, piece, sizeof piece)) > 0)
        if (write(d->to, piece, (size_t)got) != got)
            break;
    return NULL;
}

/* how: 0, or O_NONBLOCK for the end that is written to */
static void copy_through_pipe(kv_db *db, uint32_t flags, int how)
{
    int ends[2];
    pthread_t thread;
    drain d;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fcntl(ends[1], F_SETFL, O_WRONLY | how), 0);
    d.from = ends[0];
    d.to = open(target, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(d.to >= 0);
    assert_int_equal(pthread_create(&thread, NULL, drain_pipe, &d), 0);
    assert_int_equal(kv_db_copy_fd(db, ends[1], flags), KV_OK);
    close(ends[1]);
    pthread_join(thread, NULL);
    close(ends[0]);
    close(d.to);
}

static void test_to_a_pipe(void **state)
{
    kv_db *db = create(4096);
    setenv("TMPDIR", dir.dir, 1);
    for (int i = 0; i < 4; i++) {
        copy_through_pipe(db, i & 1 ? KV_COPY_COMPACT : 0, i & 2 ? O_NONBLOCK : 0);
        copy_is_good(db, target);
        unlink(target);
        no_leftovers();
    }
    assert_int_equal(kv_db_close(db), KV_OK);
}

/* What is built first stands in $TMPDIR, or else in /tmp. */
static void test_without_a_temporary_folder(void **state)
{
    kv_db *db = create(4096);
    setenv("TMPDIR", "", 1);
    copy_through_pipe(db, KV_COPY_COMPACT, 0);
    copy_is_good(db, target);
    unlink(target);
    unsetenv("TMPDIR");
    copy_through_pipe(db, KV_COPY_COMPACT, 0);
    copy_is_good(db, target);
    setenv("TMPDIR", dir.dir, 1);
    assert_int_equal(kv_db_close(db), KV_OK);
}

static const char *temporaries; /* where they belong */
static unsigned made, open_to_others, elsewhere;

static int watching_open(const kvi_os *os, const char *path, int flags, uint32_t mode)
{
    if ((flags & KVI_OS_CREATE) && strstr(path, "/kv-copy")) {
        made++;
        open_to_others += (mode & 077) != 0;
        elsewhere += strncmp(path, temporaries, strlen(temporaries)) != 0;
    }
    return kvi_os_posix.open(os, path, flags, mode);
}

/* In a folder that others may look into, with a name of any length. */
static void test_temporaries_are_private(void **state)
{
    static char folder[SCRATCH_MAX + 3 * 201];
    strcpy(folder, dir.dir);
    for (int i = 0; i < 3; i++) {
        sprintf(folder + strlen(folder), "/%0200d", i);
        assert_int_equal(mkdir(folder, 0700), 0);
    }
    kv_db *db = open_meddled();
    meddler.os.open = watching_open;
    temporaries = folder;
    made = open_to_others = elsewhere = 0;
    setenv("TMPDIR", folder, 1);
    copy_through_pipe(db, KV_COPY_COMPACT, 0);
    setenv("TMPDIR", dir.dir, 1);
    copy_is_good(db, target);
    assert_int_equal(kv_db_close(db), KV_OK);
    assert_true(made > 0);
    assert_int_equal(open_to_others, 0);
    assert_int_equal(elsewhere, 0);
}

static mode_t mode_of(const char *path)
{
    struct stat stat_of;
    assert_int_equal(stat(path, &stat_of), 0);
    return stat_of.st_mode & 0777;
}

static void test_as_private_as_the_source(void **state)
{
    static const mode_t modes[][2] = {{0600, 0600}, {0644, 0644}, {0666, 0644}, {0400, 0600}};
    mode_t mask = umask(022);
    kv_db *db = create(4096);
    for (size_t i = 0; i < KVI_COUNT(modes); i++)
        for (uint32_t flags = 0; flags <= KV_COPY_COMPACT; flags++) {
            assert_int_equal(chmod(source, modes[i][0]), 0);
            assert_int_equal(kv_db_copy(db, target, flags), KV_OK);
            assert_int_equal(mode_of(target), modes[i][1]);
            unlink(target);
        }
    umask(mask);
    assert_int_equal(kv_db_close(db), KV_OK);
}

static int temporary_fd = -1; /* open for reading */

static int noting_open(const kvi_os *os, const char *path, int flags, uint32_t mode)
{
    int fd = kvi_os_posix.open(os, path, flags, mode);
    if (fd >= 0 && !(flags & KVI_OS_WRITE) && strstr(path, "/kv-copy"))
        temporary_fd = fd;
    return fd;
}

static int64_t unreadable_later(const kvi_os *os, int fd, void *buf, size_t len, uint64_t offset)
{
    return fd == temporary_fd && offset > 0 ? -EIO : kvi_os_posix.pread(os, fd, buf, len, offset);
}

/* What was built first cannot be read to its end: that is no end of the copy. */
static void test_temporary_is_unreadable(void **state)
{
    kv_db *db = open_meddled();
    setenv("TMPDIR", dir.dir, 1);
    meddler.os.open = noting_open;
    meddler.os.pread = unreadable_later;
    int fd = open(target, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(kv_db_copy_fd(db, fd, KV_COPY_COMPACT), KV_EIO);
    close(fd);
    assert_true(temporary_fd >= 0);
    temporary_fd = -1;
    no_leftovers();
    assert_int_equal(kv_db_close(db), KV_OK);
}

static int64_t no_write(const kvi_os *os, int fd, const void *buf, size_t len)
{
    return 0;
}

/* A write that takes nothing would be repeated for ever. */
static void test_nothing_is_written(void **state)
{
    kv_db *db = open_meddled();
    meddler.os.write = no_write;
    for (uint32_t flags = 0; flags <= KV_COPY_COMPACT; flags++)
        assert_int_equal(kv_db_copy_fd(db, 1, flags), KV_EIO);
    assert_int_equal(kv_db_close(db), KV_OK);
}

static int writes_left;

static int64_t some_writes(const kvi_os *os, int fd, const void *buf, size_t len)
{
    return writes_left-- > 0 ? kvi_os_posix.write(os, fd, buf, len) : -EDQUOT;
}

/* Each write fails in turn: of metas, pages, records, and what is between them. */
static void test_writes_fail(void **state)
{
    kv_db *db = open_meddled();
    meddler.os.write = some_writes;
    for (uint32_t flags = 0; flags <= KV_COPY_COMPACT; flags++) {
        int rc = KV_ENOSPC;
        for (int n = 0; rc == KV_ENOSPC; n++) {
            int fd = open(target, O_WRONLY | O_CREAT | O_EXCL, 0600);
            assert_true(fd >= 0);
            writes_left = n;
            rc = kv_db_copy_fd(db, fd, flags);
            close(fd);
            if (rc == KV_OK)
                copy_is_good(db, target);
            unlink(target);
        }
        assert_int_equal(rc, KV_OK);
    }
    assert_int_equal(kv_db_close(db), KV_OK);
}

static int syncs_left;

static int sync_fails(const kvi_os *os, int fd)
{
    return syncs_left-- > 0 ? 0 : -EIO;
}

/* A copy that cannot be flushed says nothing of its source, which goes on. */
static void test_cannot_be_flushed(void **state)
{
    kv_db *db = open_meddled();
    assert_int_equal(kv_db_sync(db), KV_OK);
    for (uint32_t flags = 0; flags <= KV_COPY_COMPACT; flags++) {
        int rc = KV_EIO;
        for (int n = 0; rc == KV_EIO; n++) {
            syncs_left = n;
            meddler.os.sync = sync_fails;
            rc = kv_db_copy(db, target, flags);
            meddler.os.sync = kvi_os_posix.sync;
            no_leftovers();
            assert_int_equal(must_stat(db).poisoned, 0);
            must_put(db, "", "key", "after", 5);
            assert_int_equal(kv_db_sync(db), KV_OK);
        }
        assert_int_equal(rc, KV_OK);
        unlink(target);
    }
    assert_int_equal(kv_db_close(db), KV_OK);
}

#define SMALL KVI_PAGE_MIN

/* Pages of values, with holes of one page, and behind them one that has room for the records: between
 * pages that are copied. */
static kv_db *create_with_holes(void)
{
    enum { VALUES = 6000, SINGLE = 40, RUN = 5000, RUN_END = 5100 };
    static const uint8_t zeros[SMALL];
    kv_db *db;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = SMALL};
    assert_int_equal(kvi_db_open(&meddler.os, source, &options, &db, NULL, 0), KV_OK);
    for (unsigned step = 0; step < 2; step++) {
        kv_txn *txn = begin(db);
        for (unsigned i = 0; i < VALUES; i++) {
            char key[32];
            int len = snprintf(key, sizeof key, "key%06u", i);
            if (step == 0)
                put(kv_txn_main(txn), i, bytes + i, SMALL - 12);
            else if ((i >= RUN && i < RUN_END) || (i < RUN / 2 && i % (RUN / 2 / SINGLE) == 7))
                assert_int_equal(kv_del(kv_txn_main(txn), key, (size_t)len), KV_OK);
        }
        put(kv_txn_main(txn), VALUES, zeros, 1);
        commit(txn);
    }
    return db;
}

static int zeros_left; /* writes of nothing but zeros that are let through */

static int64_t some_zeros(const kvi_os *os, int fd, const void *buf, size_t len)
{
    const uint8_t *at = buf;
    bool zero = at[0] == 0 && memcmp(at, at + 1, len - 1) == 0;
    return zero && zeros_left-- == 0 ? -ENOSPC : kvi_os_posix.write(os, fd, buf, len);
}

/* Each write of what lies between pages fails in turn. */
static void test_holes_cannot_be_written(void **state)
{
    int rc = KV_ENOSPC, n = 0;
    meddler = (struct meddler){.os = kvi_os_posix};
    meddler.os.write = some_zeros;
    kv_db *db = create_with_holes();
    for (; rc == KV_ENOSPC; n++) {
        int fd = open(target, O_WRONLY | O_CREAT | O_EXCL, 0600);
        assert_true(fd >= 0);
        zeros_left = n;
        rc = kv_db_copy_fd(db, fd, 0);
        close(fd);
        if (rc == KV_OK)
            assert_int_equal(kv_db_close(open_sound(target, KV_OPEN_READONLY)), KV_OK);
        unlink(target);
    }
    assert_int_equal(rc, KV_OK);
    assert_true(n > 20);
    assert_int_equal(kv_db_close(db), KV_OK);
}

static void test_short_counts(void **state)
{
    kv_db *db = open_meddled();
    for (uint32_t flags = 0; flags <= KV_COPY_COMPACT; flags++) {
        int fd = open(target, O_WRONLY | O_CREAT | O_EXCL, 0600);
        assert_true(fd >= 0);
        assert_int_equal(kv_db_copy_fd(db, fd, flags), KV_OK);
        close(fd);
        copy_is_good(db, target);
        unlink(target);
    }
    assert_int_equal(kv_db_close(db), KV_OK);
}

static void test_to_a_full_device(void **state)
{
    kv_db *db = create(4096);
    int fd = open("/dev/full", O_WRONLY);
    if (fd < 0)
        skip();
    assert_int_equal(kv_db_copy_fd(db, fd, 0), KV_ENOSPC);
    assert_int_equal(kv_db_copy_fd(db, fd, KV_COPY_COMPACT), KV_ENOSPC);
    close(fd);
    assert_int_equal(kv_db_check(db, NULL), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
}

#define TEST(name) cmocka_unit_test_teardown(name, remove_files)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_plain),
        TEST(test_compact),
        TEST(test_compact_is_smaller),
        TEST(test_plain_keeps_places),
        TEST(test_empty_database),
        TEST(test_from_a_read_only_handle),
        TEST(test_never_overwrites),
        TEST(test_no_such_directory),
        TEST(test_damage_is_not_copied),
        TEST(test_arguments),
        TEST(test_while_a_writer_commits),
        TEST(test_beside_an_open_write),
        TEST(test_commits_between_reads),
        TEST(test_compact_in_little_memory),
        TEST(test_to_a_pipe),
        TEST(test_without_a_temporary_folder),
        TEST(test_temporaries_are_private),
        TEST(test_as_private_as_the_source),
        TEST(test_temporary_is_unreadable),
        TEST(test_nothing_is_written),
        TEST(test_writes_fail),
        TEST(test_cannot_be_flushed),
        TEST(test_holes_cannot_be_written),
        TEST(test_short_counts),
        TEST(test_to_a_full_device),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
