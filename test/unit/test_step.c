/* One process stopped after each instruction of a call, while another one works on the same
 * database:
 *
 *   reader   stopped in its begin, or refresh, while commits pass that reuse the pages of those
 *            before them; more pass before it reads: its snapshot is whole
 *   guest    the same, after each system call: in between it does nothing that others could see,
 *            or that shows what others did
 *   writer   stopped in its commit, while a reader begins: it sees the commit before, or this one,
 *            whole
 *
 * A child process is stepped by ptrace. Skipped where that is forbidden. */
#include "kv.h"
#include "scratch.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define NOBODY  65534
#define KEYS    6 /* of values that fill a page or more, so that all pages change in every commit */
#define VALUE   1500
#define COMMITS 3 /* while somebody is stopped, and again before he reads */
/* Of all rounds; a call that needs more is not stopped everywhere. */
#ifdef KVI_STRESS
#define STEPS 50000
#else
#define STEPS 400000
#endif

/* Where the child is, in memory of both. */
enum { AT_BEGIN, AT_END, IS_WHOLE, IS_WRONG };

typedef struct world {
    scratch dir;
    kv_db *db;
    kv_txn *txn;
    pid_t child;
    bool as_guest; /* it may only read, and does not see the side file */
    volatile int *at;
} world;

/* ---- content: every value belongs to one commit, and so does a hash over all ---- */

static uint64_t hash_add(uint64_t hash, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3ull;
    return hash;
}

typedef struct seal {
    uint64_t id, hash;
} seal;

static int write_all(kv_txn *txn)
{
    uint8_t value[VALUE];
    seal s = {kv_txn_id(txn), 0};
    int rc = KV_OK;
    for (unsigned key = 0; rc == KV_OK && key < KEYS; key++) {
        uint64_t x = s.id * 0x9e3779b97f4a7c15ull + key;
        for (size_t i = 0; i < VALUE; i++) {
            x = x * 6364136223846793005ull + 1442695040888963407ull;
            value[i] = (uint8_t)(x >> 56);
        }
        s.hash = hash_add(s.hash, value, sizeof value);
        rc = kv_put(kv_txn_main(txn), &key, sizeof key, value, sizeof value, 0);
    }
    return rc == KV_OK ? kv_put(kv_txn_main(txn), "seal", 4, &s, sizeof s, 0) : rc;
}

static bool whole(kv_txn *txn)
{
    seal s;
    uint64_t hash = 0;
    kv_slice value;
    for (unsigned key = 0; key < KEYS; key++) {
        if (kv_get(kv_txn_main(txn), &key, sizeof key, &value) != KV_OK || value.len != VALUE)
            return false;
        hash = hash_add(hash, value.ptr, value.len);
    }
    if (kv_get(kv_txn_main(txn), "seal", 4, &value) != KV_OK || value.len != sizeof s)
        return false;
    memcpy(&s, value.ptr, sizeof s);
    return s.id == kv_txn_id(txn) && s.hash == hash;
}

static void commit(world *w)
{
    kv_txn *txn;
    for (int i = 0; i < COMMITS; i++) {
        assert_int_equal(kv_txn_begin(w->db, KV_TXN_WRITE | KV_TXN_LAZY, &txn), KV_OK);
        assert_int_equal(write_all(txn), KV_OK);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
}

/* ---- the calls that are stepped, in the child ---- */

static int before_begin(world *w)
{
    kv_txn_abort(w->txn);
    w->txn = NULL;
    return KV_OK;
}

static int call_begin(world *w)
{
    return kv_txn_begin(w->db, KV_TXN_READ, &w->txn);
}

static int before_refresh(world *w)
{
    return w->txn ? KV_OK : call_begin(w);
}

static int call_refresh(world *w)
{
    return kv_txn_refresh(w->txn);
}

static int before_commit(world *w)
{
    int rc = kv_txn_begin(w->db, KV_TXN_WRITE | KV_TXN_LAZY, &w->txn);
    return rc == KV_OK ? write_all(w->txn) : rc;
}

static int call_commit(world *w)
{
    int rc = kv_txn_commit(w->txn);
    w->txn = NULL;
    return rc;
}

static void child_stop(world *w, int at)
{
    *w->at = at;
    raise(SIGSTOP);
}

/* Again and again: stops, does the call, stops, looks at its snapshot, stops. */
static void child_run(world *w, int (*before)(world *), int (*call)(world *))
{
    if (w->as_guest && geteuid() == 0 && (setgid(NOBODY) != 0 || setuid(NOBODY) != 0))
        _exit(77);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* where the parent's test fails */
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(77);
    raise(SIGSTOP);
    kv_options options = {.size = sizeof options, .flags = w->as_guest ? KV_OPEN_READONLY : 0};
    if (kv_db_open(scratch_path(&w->dir, "db"), &options, &w->db) != KV_OK)
        _exit(1);
    for (;;) {
        bool good = before(w) == KV_OK;
        child_stop(w, AT_BEGIN);
        good = call(w) == KV_OK && good;
        child_stop(w, AT_END);
        child_stop(w, good && (!w->txn || whole(w->txn)) ? IS_WHOLE : IS_WRONG);
    }
}

/* ---- the parent ---- */

static bool child_stopped(const world *w)
{
    int status;
    assert_int_equal(waitpid(w->child, &status, 0), w->child);
    if (WIFSTOPPED(status) && WSTOPSIG(status) != SIGTRAP && WSTOPSIG(status) != SIGSTOP)
        fail_msg("the child got signal %d", WSTOPSIG(status));
    return WIFSTOPPED(status);
}

/* Up to its next stop. */
static void child_go(const world *w)
{
    assert_int_equal(ptrace(PTRACE_CONT, w->child, NULL, NULL), 0);
    assert_true(child_stopped(w));
}

/* False: the call is over. */
static bool child_step(const world *w)
{
    assert_int_equal(ptrace(w->as_guest ? PTRACE_SYSCALL : PTRACE_SINGLESTEP, w->child, NULL, NULL),
                     0);
    assert_true(child_stopped(w));
    return *w->at == AT_BEGIN;
}

/* The database, which the child may only read when it is a guest. */
static void world_open(world *w)
{
    const char *path = scratch_path(&w->dir, "db");
    assert_int_equal(kv_db_open(path, NULL, &w->db), KV_OK);
    commit(w);
    if (w->as_guest) {
        assert_int_equal(chmod(w->dir.dir, 0755), 0);
        assert_int_equal(chmod(path, 0444), 0);
    }
}

/* False: nobody may be stepped here. */
static bool world_begin(world *w, bool as_guest, int (*before)(world *), int (*call)(world *))
{
    memset(w, 0, sizeof *w);
    w->as_guest = as_guest;
    w->at = mmap(NULL, sizeof *w->at, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(w->at != MAP_FAILED);
    scratch_make(&w->dir);
    w->child = fork();
    if (w->child == 0)
        child_run(w, before, call);
    if (!child_stopped(w)) {
        scratch_remove(&w->dir);
        return false;
    }
    world_open(w);
    return true;
}

/* The child is killed where it stands, and all goes on. */
static void world_end(world *w)
{
    kill(w->child, SIGKILL);
    assert_int_equal(waitpid(w->child, NULL, 0), w->child);
    commit(w);
    assert_int_equal(kv_db_check(w->db, NULL), KV_OK);
    assert_int_equal(kv_db_close(w->db), KV_OK);
    assert_int_not_equal(access(scratch_path(&w->dir, "db-lock"), F_OK), 0);
    scratch_remove(&w->dir);
    munmap((void *)(uintptr_t)w->at, sizeof *w->at);
}

/* The instructions of one call; not the first, which has to make what later ones find. */
static unsigned count_steps(const world *w)
{
    unsigned n = 0;
    for (int stops = 0; stops < 4; stops++) /* the whole first call, and the beginning */
        child_go(w);
    while (child_step(w))
        n++;
    child_go(w);
    child_go(w);
    return n;
}

/* Round k stops the reader after k instructions, until the call has no more. */
static void step_reader(bool as_guest, int (*before)(world *), int (*call)(world *))
{
    world w;
    if (!world_begin(&w, as_guest, before, call))
        skip();
    unsigned n = count_steps(&w), stride = 1 + n / 2 * n / STEPS, k = 0;
    for (bool inside = true; inside; k += stride) {
        child_go(&w);
        for (unsigned i = 0; inside && i < k; i++)
            inside = child_step(&w);
        commit(&w);
        child_go(&w);
        assert_int_equal(*w.at, AT_END);
        commit(&w);
        child_go(&w);
        if (*w.at != IS_WHOLE)
            fail_msg("stopped after %u steps: the snapshot is not whole", k);
    }
    print_message("%u steps, stopped after every %u\n", n, stride);
    assert_true(n > (as_guest ? 5 : 50));
    world_end(&w);
}

static void a_begin_is_whole(void **state)
{
    step_reader(false, before_begin, call_begin);
}

static void a_refresh_is_whole(void **state)
{
    step_reader(false, before_refresh, call_refresh);
}

static void a_guests_begin_is_whole(void **state)
{
    step_reader(true, before_begin, call_begin);
}

static uint64_t see(world *w)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(w->db, KV_TXN_READ, &txn), KV_OK);
    uint64_t id = kv_txn_id(txn);
    if (!whole(txn))
        fail_msg("commit %llu is not whole", (unsigned long long)id);
    kv_txn_abort(txn);
    return id;
}

static void a_commit_appears_at_once(void **state)
{
    world w;
    unsigned k = 0;
    if (!world_begin(&w, false, before_commit, call_commit))
        skip();
    for (int round = 0; round < 2; round++) {
        child_go(&w);
        uint64_t before = see(&w), after = before;
        for (; child_step(&w); k++) {
            uint64_t id = see(&w);
            assert_true(id == after || after == before);
            after = id;
        }
        assert_true(after > before);
        child_go(&w);
        child_go(&w);
        assert_int_equal(*w.at, IS_WHOLE);
    }
    print_message("%u instructions\n", k);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_begin_is_whole),
        cmocka_unit_test(a_refresh_is_whole),
        cmocka_unit_test(a_guests_begin_is_whole),
        cmocka_unit_test(a_commit_appears_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
