/* Every call that can fail, failed once: a fixed script runs over and over, each time with the next
 * call of the table going wrong. After each run the error must be of the right kind, the handle
 * usable or poisoned as kv.h says, everything given back, and the file as the model allows. The
 * script runs alone with the file, and sharing it with a second handle and a guest.
 *
 * FAULT_RUNS=n: at most n runs of each plan, spread over the script, 0 for all of them. */
#include "fault_script.h"

/* ---- judging ---- */

static bool failed_kind(fault_call call)
{
    return w.fault.failed[call] > 0;
}

/* Did the first failure come in an operation whose name begins so? */
static bool hit_in(const char *name)
{
    return w.hit_in && !strncmp(w.hit_in, name, strlen(name));
}

static bool meta_failed(void)
{
    return w.fault.plan.sticky
               ? failed_kind(FAULT_PWRITEV)
               : w.fault.first_failed == FAULT_PWRITEV && w.fault.first_offset < METAS_END;
}

/* Is this the error for what went wrong? */
static bool error_fits(int rc)
{
    bool memory =
        failed_kind(FAULT_ALLOC) || failed_kind(FAULT_REALLOC) || failed_kind(FAULT_RESERVE);
    if (rc == KV_EPOISONED)
        return failed_kind(FAULT_SYNC) || meta_failed();
    if (rc == KV_ENOMEM)
        return memory || w.fault.plan.error == ENOMEM;
    if (rc == KV_EUNSUPPORTED) /* a lock that makes no sense to the system is one that it lacks */
        return failed_kind(FAULT_SHAREABLE) ||
               (w.fault.plan.error == EINVAL &&
                (failed_kind(FAULT_LOCK) || failed_kind(FAULT_LOCK_WAIT) ||
                 failed_kind(FAULT_LOCK_PROBE)));
    if (rc == KV_EBUSY) /* who cannot ask whether somebody has the file under another name */
        return failed_kind(FAULT_LOCK_PROBE) || failed_kind(FAULT_STAT) ||
               failed_kind(FAULT_STAT_PATH);
    if (rc == KV_ECORRUPT) /* what these two cannot read is a problem of the file */
        return failed_kind(FAULT_PREAD) && (hit_in("check") || hit_in("repair"));
    if (rc == KV_EIO && hit_in("copy") && (failed_kind(FAULT_SYNC) || meta_failed()))
        return true; /* a handle of its own was poisoned */
    bool system = false;
    for (int call = 0; call < FAULT_CALLS; call++)
        system = system || (failed_kind(call) && !(FAULT_MEMORY & FAULT_BIT(call)));
    return system && rc == kvi_err_from_os(-w.fault.plan.error);
}

/* Compaction needs no longer file, and goes on where the disk has no room for one; so does a commit that
 * asked for room behind the end, or wanted to have it filled ahead. */
static bool went_on_with_holes(void)
{
    int error = w.fault.plan.error;
    return (hit_in("commit_compact") && (error == ENOSPC || error == EDQUOT)) ||
           (hit_in("commit") && w.fault.first_zeros && !w.fault.plan.sticky);
}

/* Makes a database of an empty file: opened twice, so it is left once in between. */
static bool fills_empty(void)
{
    return hit_in("open_empty") || hit_in("copy_compact") || hit_in("copy_fd_compact");
}

/* Failures that nobody need notice: what they were for is not lost, or only tidiness is. */
static bool may_pass(void)
{
    if (w.fault.first_failed < FAULT_MAP && (hit_in("stat") || hit_in("readers")))
        return true; /* they do not insist on the turn, nor on what can be seen only with it */
    if (hit_in("open_readonly") && w.without_side)
        return true;
    switch ((int)w.fault.first_failed) {
    case FAULT_OPEN: /* for writing: a guest does without */
        return hit_in("guest") && kvi_err_from_os(-w.fault.plan.error) == KV_EACCESS;
    case FAULT_STAT_PATH: /* nothing was there anyway; a copy finds out when it is linked */
        return w.fault.plan.mode == FAULT_LATE || hit_in("copy") || strstr(w.hit_in, "close") ||
               hit_in("open_empty") || hit_in("guest");
    /* A lock ends with its handle; who cannot look leaves the rest to the next one, or does without
     * what it would have seen. */
    case FAULT_LOCK:
    case FAULT_LOCK_WAIT:
    case FAULT_STAT:
        return w.lock_idle || strstr(w.hit_in, "close") || fills_empty() || hit_in("guest") ||
               hit_in("commit_compact"); /* stopped before it is asked for */
    case FAULT_LOCK_PROBE: /* counts as yes: somebody is there, or may need the tail of the file */
        return hit_in("second") || hit_in("commit") || hit_in("sync") || strstr(w.hit_in, "close");
    case FAULT_PERMIT: /* as far as we may */
    case FAULT_CLOSE:
    case FAULT_UNLINK:
    case FAULT_TRUNCATE: /* of a tail that nobody needs */
        return true;
    case FAULT_SYNC: /* in an open, which then reads on, poisoned */
        return w.poisoned;
    case FAULT_PWRITEV: /* the confirmation at the close; adoption's meta, as above */
        return w.fault.first_offset < METAS_END || went_on_with_holes();
    case FAULT_PREAD: /* of a meta, which counts as torn */
        return w.fault.first_offset < METAS_END;
    case FAULT_MAP:   /* asks for less address space */
    case FAULT_ALLOC: /* the same, and the policy of places does without its zone */
    case FAULT_REALLOC:
    case FAULT_RESERVE:
        return true;
    default:
        return false;
    }
}

static void fault_off(void)
{
    w.fault.plan.at = 0;
    w.fault.plan.mask = 0;
}

static bool is_poisoned(void)
{
    kv_db_info info = {.size = sizeof info};
    int rc = kv_db_stat(w.d.db, &info);
    if (rc != KV_OK)
        bad("no statistics", rc);
    return info.poisoned;
}

/* The content, and the named snapshots. */
static bool is_at(kv_txn *txn, const model_state *state)
{
    return driver_same(txn, state) && !driver_snapshots(w.d.db, state);
}

static void compare_now(void)
{
    kv_txn *txn;
    int rc = kv_txn_begin(w.d.db, KV_TXN_READ, &txn);
    if (rc != KV_OK)
        bad("no read transaction", rc);
    const char *what = driver_compare(txn, w.m->now);
    if (!what)
        what = driver_snapshots(w.d.db, w.m->now);
    if (what)
        bad(what, rc);
    kv_txn_abort(txn);
}

static int problem_seen(void *context, const kv_check_problem *problem)
{
    (void)context;
    print_error("page %llu: %s %s\n", (unsigned long long)problem->page, problem->invariant,
                problem->message);
    return 0;
}

static void check_now(void)
{
    kv_check_options options = {.size = sizeof options, .problem = problem_seen};
    int rc = kv_db_check(w.d.db, &options);
    if (rc != KV_OK)
        bad("the check found something", rc);
}

/* A whole transaction on a handle that must be good. */
static void work_on(uint32_t flags)
{
    int rc = begin(flags);
    if (rc != KV_OK)
        bad("no further transaction", rc);
    rc = op_steps();
    if (rc == KV_OK)
        rc = put_big("", "after", true);
    if (rc != KV_OK)
        bad("no further changes", rc);
    rc = op_commit();
    if (rc != KV_OK)
        bad("no further commit", rc);
    compare_now();
    check_now();
}

static void expect_poison(void)
{
    kv_txn *txn;
    int rc = kv_txn_begin(w.d.db, KV_TXN_WRITE, &txn);
    if (rc != KV_EPOISONED || txn)
        bad("writing went on after a failed flush", rc);
    rc = kv_db_sync(w.d.db);
    if (rc != KV_EPOISONED)
        bad("a flush was tried again", rc);
}

/* The write transaction in which the failure came: as good as before, or only for abort. */
static void settle_transaction(void)
{
    if (kv_exists(kv_txn_main(w.d.txn), "", 0) == KV_EBADTXN) {
        int rc = op_commit();
        if (rc != KV_EBADTXN)
            bad("a failed transaction was committed", rc);
        return;
    }
    const char *what = driver_compare(w.d.txn, w.m->now);
    if (what)
        bad(what, 0);
    int rc = op_commit();
    if (rc != KV_OK)
        bad("the transaction did not go on", rc);
}

static void close_guest(void)
{
    int rc = op_guest_close();
    if (rc != KV_OK && !error_fits(rc))
        bad("the guest's close", rc);
}

/* The other handle sees and may do the same. */
static void settle_second(void)
{
    if (!w.second)
        return;
    op_swap();
    compare_now();
    if (w.poisoned)
        expect_poison();
    else
        work_on(KV_TXN_LAZY);
    op_swap();
}

/* After one failure, with all calls good again: is the handle as documented? */
static void settle(int rc)
{
    if (w.spare)
        kv_txn_abort(w.spare);
    w.spare = NULL;
    if (w.guest && w.guest_txn && !hit_in("guest") && op_guest_read() != KV_OK)
        bad("a guest's snapshot is not readable", rc);
    close_guest();
    if (!w.d.db)
        return;
    if (w.d.txn)
        settle_transaction();
    w.poisoned = is_poisoned();
    if (rc == KV_EPOISONED && !w.poisoned)
        bad("the handle is not poisoned", rc);
    if (w.poisoned && !error_fits(KV_EPOISONED))
        bad("the handle is poisoned", rc);
    compare_now();
    if (w.reader && read_all(w.reader, w.seen) != KV_OK)
        bad("an old snapshot is not readable", rc);
    settle_second();
    if (w.poisoned)
        expect_poison();
    else if (!w.d.db->readonly)
        work_on(0);
    check_now();
}

/* With everything still failing: only that it ends, and what it left. */
static void give_up(void)
{
    if (w.spare)
        kv_txn_abort(w.spare);
    w.spare = NULL;
    if (w.d.txn) {
        int rc = op_commit();
        if (rc < 0 && rc != KV_EBADTXN && !error_fits(rc))
            bad("the commit's error", rc);
    }
}

static void close_all(void)
{
    int rc;
    if (w.reader)
        op_reader_end();
    op_watch_end();
    close_guest();
    if (w.second && (rc = op_second_close()) != KV_OK && !error_fits(rc))
        bad("the second close's error", rc);
    if (w.d.db && (rc = op_close()) != KV_OK && !error_fits(rc))
        bad("the close's error", rc);
}

/* Nobody is there any more: no lock, and nothing beside the database. */
static void expect_nobody(int rc)
{
    if (w.disk->n_locks > 0)
        bad("a lock is held", rc);
    if (sim_find(w.disk, SIDE) >= 0)
        bad("a side file is left", rc);
}

/* Who could not ask for the lock, or not remove the file, leaves it to the next one. */
static bool may_leave_file(void)
{
    return w.fault.plan.sticky || failed_kind(FAULT_LOCK) || failed_kind(FAULT_UNLINK);
}

/* Opens without failures: the file holds what was acknowledged, or what was under way. */
static void reopen(void)
{
    kv_txn *txn;
    w.where = "the reopen";
    fault_off();
    int rc = op_open();
    if (rc != KV_OK)
        bad("it does not open any more", rc);
    if (w.flight) {
        rc = kv_txn_begin(w.d.db, KV_TXN_READ, &txn);
        if (rc != KV_OK)
            bad("no read transaction", rc);
        if (is_at(txn, w.flight))
            model_restore(w.m, w.flight);
        kv_txn_abort(txn);
        model_release(w.flight);
        w.flight = NULL;
    }
    compare_now();
    check_now();
    work_on(KV_TXN_STRICT);
    work_on(0);
    rc = op_close();
    if (rc != KV_OK)
        bad("the close", rc);
}

/* ---- running ---- */

static uint64_t faults[2], sites[2]; /* in all runs: alone, shared */

static int (*lock_inner)(const kvi_os *os, int fd, int kind, uint64_t off, uint64_t len);
static int (*wait_inner)(const kvi_os *os, int fd, int kind, uint64_t off, uint64_t len);
static int (*open_inner)(const kvi_os *os, const char *path, int flags, uint32_t mode);

/* Who fails has no lock: no kernel fails to give one back, nor takes one and says otherwise, and
 * what follows must not hang. */
static int lock_failed(int fd, uint64_t off, uint64_t len, int rc)
{
    if (rc < 0 && rc != -EAGAIN)
        w.fault.inner->lock(w.fault.inner, fd, KVI_OS_UNLOCK, off, len);
    return rc;
}

static int lock_patient(const kvi_os *os, int fd, int kind, uint64_t off, uint64_t len)
{
    return lock_failed(fd, off, len, wait_inner(os, fd, kind, off, len));
}

/* Twice out of three times somebody else has the writer's lock for a moment: time for one attempt,
 * and for another one before the caller sleeps until it gets it. */
static int lock_crowded(const kvi_os *os, int fd, int kind, uint64_t off, uint64_t len)
{
    if (w.shared && kind == KVI_OS_EXCLUSIVE && off == KVI_LOCK_WRITER && ++w.asked % 3)
        return -EAGAIN;
    bool hit_before = fault_hit(&w.fault);
    int rc = lock_failed(fd, off, len, lock_inner(os, fd, kind, off, len));
    if (fault_hit(&w.fault) && !hit_before)
        w.lock_idle = kind == KVI_OS_UNLOCK || rc == -EAGAIN ||
                      (kind == KVI_OS_EXCLUSIVE && off > KVI_LOCK_PRESENCE && off < KVI_LOCK_PINS);
    return rc;
}

static int open_kept_out(const kvi_os *os, const char *path, int flags, uint32_t mode)
{
    return w.keep_out && strcmp(path, SIDE) == 0 ? -EACCES : open_inner(os, path, flags, mode);
}

static void run_start(const fault_case *plan, bool shared)
{
    sim_reset(w.disk);
    sim_put_file(w.disk, "empty", "", 0);
    memset((char *)&w + offsetof(struct run, d), 0, sizeof w - offsetof(struct run, d));
    w.m = model_new();
    driver_init(&w.d, NULL, w.m, SCRIPT_SEED, &shape);
    w.shared = shared;
    fault_init(&w.fault, sim_os(w.disk));
    w.fault.sync_failed = sim_lose_sync;
    lock_inner = w.fault.os.lock;
    wait_inner = w.fault.os.lock_wait;
    open_inner = w.fault.os.open;
    w.fault.os.lock_wait = lock_patient;
    w.fault.os.lock = lock_crowded;
    w.fault.os.open = open_kept_out;
    fault_plan(&w.fault, *plan);
}

/* Another group's database, whose side file is to be that group's, too. */
static void give_away(void)
{
    int file = sim_find(w.disk, "db");
    if (file >= 0)
        w.disk->files[file].group = 1;
}

static int run_script(void)
{
    int rc = KV_OK;
    for (size_t i = 0; i < KVI_COUNT(script) && rc >= 0; i++) {
        w.where = script[i].name;
        give_away();
        rc = script[i].run();
        if (!w.hit_in && fault_hit(&w.fault))
            w.hit_in = w.where;
        /* An open whose adoption could not flush goes on reading, poisoned; so does nothing else.
         * */
        if (rc >= 0 && w.d.db && !w.d.txn && fault_hit(&w.fault) && kvi_poisoned(w.d.db))
            return KV_EPOISONED;
    }
    return rc;
}

/* From the first byte of a commit's meta on, and in every flush, a failure poisons. */
static bool must_poison(void)
{
    return (hit_in("commit") || hit_in("sync")) &&
           (w.fault.first_failed == FAULT_SYNC ||
            (w.fault.first_failed == FAULT_PWRITEV && w.fault.first_offset < METAS_END));
}

/* The operation that ended the run is the one in which a call failed, and not one commit of several
 * that went on without what failed first. */
static bool first_is_last(void)
{
    bool several = w.fault.plan.sticky && hit_in("commit_compact");
    return w.hit_in == w.where && (hit_in("commit") || hit_in("sync")) && !several;
}

/* Returns whether a call failed. */
static bool run_one(const fault_case *plan, bool shared)
{
    run_start(plan, shared);
    int rc = run_script();
    bool was_hit = fault_hit(&w.fault);
    if (rc < 0 && (!was_hit || !error_fits(rc)))
        bad("another error than the one that was made", rc);
    if (was_hit && plan->mode != FAULT_SHORT && must_poison() != (rc == KV_EPOISONED) &&
        (must_poison() || first_is_last()))
        bad("poisoned when it should not be, or not poisoned when it should", rc);
    if (rc >= 0 && was_hit && plan->mode != FAULT_SHORT && !may_pass())
        bad("nobody noticed", rc);
    if (rc < 0 && plan->mode == FAULT_SHORT)
        bad("a short count was not continued", rc);
    for (int call = 0; call < FAULT_CALLS; call++)
        hit[call] += w.fault.failed[call];
    if (rc < 0) {
        if (!plan->sticky) {
            w.fault.plan.at = 0;
            settle(rc);
        } else {
            give_up();
        }
    }
    close_all();
    if (!fault_balanced(&w.fault))
        bad("something was not given back", rc);
    if (!may_leave_file())
        expect_nobody(rc);
    reopen();
    expect_nobody(rc);
    if (!fault_balanced(&w.fault) || sim_open_handles(w.disk) != 0)
        bad("something was not given back", rc);
    model_free(w.m);
    return was_hit;
}

static uint64_t runs_wanted(void)
{
    const char *text = getenv("FAULT_RUNS");
    return text ? strtoull(text, NULL, 0) : RUNS;
}

static void run_plan_as(fault_case plan, bool shared)
{
    uint64_t wanted = runs_wanted(), calls, runs = 0;
    plan.at = UINT64_MAX;
    assert_false(run_one(&plan, shared));
    calls = w.fault.counted;
    uint64_t step = wanted && calls > wanted ? calls / wanted : 1;
    for (plan.at = 1; run_one(&plan, shared); plan.at += step)
        runs++;
    print_message("%s: %llu faults, one for every %llu of %llu sites\n",
                  shared ? "shared" : "exclusive", (unsigned long long)runs,
                  (unsigned long long)step, (unsigned long long)calls);
    faults[shared] += runs;
    sites[shared] += calls;
}

static void run_plan(void **state)
{
    run_plan_as(*(const fault_case *)*state, false);
    run_plan_as(*(const fault_case *)*state, true);
}

static fault_case plans[15];

/* Every kind of call that the engine makes was failed at least once; a smaller sample may miss one. */
static void test_coverage(void **state)
{
    if (runs_wanted() != 0) /* some calls come once in the script */
        skip();
    for (int call = 0; call < FAULT_CALLS; call++) {
        print_message("%-10s %8llu\n", fault_name((fault_call)call), (unsigned long long)hit[call]);
        assert_true(hit[call] > 0);
    }
    for (int shared = 0; shared < 2; shared++)
        print_message("%s open: %llu faults at %llu sites of %zu plans\n",
                      shared ? "shared" : "exclusive", (unsigned long long)faults[shared],
                      (unsigned long long)sites[shared], KVI_COUNT(plans));
}

static int setup(void **state)
{
    w.disk = sim_new(1);
    w.disk->recording = SIM_RECORD_NOTHING;
    return 0;
}

static int teardown(void **state)
{
    sim_free(w.disk);
    return 0;
}

static fault_case plans[15] = {
    {.mask = FAULT_SYSTEM, .error = EIO},
    {.mask = FAULT_SYSTEM, .error = ENOSPC, .mode = FAULT_LATE},
    {.mask = FAULT_SYSTEM, .error = EIO, .sticky = true},
    {.mask = FAULT_CHANGE, .error = ENOSPC},
    {.mask = FAULT_CHANGE, .error = ENOSPC, .sticky = true},
    {.mask = FAULT_MEMORY},
    {.mask = FAULT_MEMORY, .sticky = true},
    {.mask = FAULT_DATA, .mode = FAULT_SHORT},
    {.mask = FAULT_DATA, .mode = FAULT_SHORT, .sticky = true},
    {.mask = FAULT_SYSTEM, .error = EINVAL},
    {.mask = FAULT_SYSTEM, .error = ENOMEM},
    {.mask = FAULT_CHANGE, .error = EDQUOT},
    {.mask = FAULT_SYSTEM, .error = EPERM},
    {.mask = FAULT_BIT(FAULT_OPEN), .error = EPERM, .sticky = true},
    {.mask = FAULT_CHANGE | FAULT_BIT(FAULT_OPEN), .error = EROFS},
};

#define PLAN(n, i)                                                                                 \
    {                                                                                              \
        n, run_plan, NULL, NULL, &plans[i]                                                         \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAN("one call fails", 0),
        PLAN("one call fails late", 1),
        PLAN("all calls fail from one on", 2),
        PLAN("the disk is full for one call", 3),
        PLAN("the disk is full from one call on", 4),
        PLAN("one allocation fails", 5),
        PLAN("all allocations fail from one on", 6),
        PLAN("one count is short", 7),
        PLAN("all counts are short", 8),
        PLAN("one call is refused as senseless", 9),
        PLAN("one call finds no memory", 10),
        PLAN("one call exceeds a quota", 11),
        PLAN("one call is not permitted", 12),
        PLAN("no opening is permitted from one on", 13),
        PLAN("the mount is read-only for one call", 14),
        cmocka_unit_test(test_coverage),
    };
    return cmocka_run_group_tests_name("fault runs", tests, setup, teardown);
}
