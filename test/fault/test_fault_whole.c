/* Operations on whole databases while a system call or an allocation fails: an error, nothing
 * taken and not given back, nothing half made left lying about, and the database as before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "fault_os.h"
#include "parcel.h"
#include "surgeon.h"
#include "victim.h"
#include <errno.h>
#include <stdlib.h>

#define TARGET "copy"

static victim patient;
static fault_os fault;

static int setup(void **state)
{
    victim_make(&patient, 4096, 5);
    return 0;
}

static int teardown(void **state)
{
    victim_free(&patient);
    return 0;
}

static kv_db *open_through(const kvi_os *os, bool shared)
{
    kv_db *db;
    kv_options options = {.size = sizeof options, .flags = shared ? 0 : KV_OPEN_EXCLUSIVE};
    assert_int_equal(kvi_db_open(os, VICTIM_NAME, &options, &db, NULL, 0), KV_OK);
    return db;
}

/* ---- the operations ---- */

static int run_check(kv_db *db)
{
    return kv_db_check(db, NULL);
}

static int run_copy(kv_db *db)
{
    return kv_db_copy(db, TARGET, 0);
}

static int run_compact(kv_db *db)
{
    return kv_db_copy(db, TARGET, KV_COPY_COMPACT);
}

static int run_shrink(kv_db *db)
{
    kv_compact_options options = {.size = sizeof options, .step_pages = 16};
    return kv_db_compact(db, &options, NULL);
}

static int run_stat(kv_db *db)
{
    kv_db_info info = {.size = sizeof info};
    return kv_db_stat(db, &info);
}

static int one_reader(void *context, const kv_reader_info *reader)
{
    assert_int_not_equal(reader->snapshot, 0);
    return 0;
}

static int run_readers(kv_db *db)
{
    kv_txn *txn;
    int rc = kv_txn_begin(db, KV_TXN_READ, &txn);
    if (rc != KV_OK)
        return rc;
    rc = kv_db_readers(db, one_reader, NULL);
    kv_txn_abort(txn);
    return rc;
}

static uint64_t entries_of(kv_db *db)
{
    kv_db_info info = {.size = sizeof info};
    assert_int_equal(kv_db_stat(db, &info), KV_OK);
    return info.entries;
}

/* What was applied is there, or nothing is. */
static void apply_judge(int rc, uint64_t entries)
{
    kv_db *copy;
    if (sim_find(patient.disk, TARGET) < 0)
        return;
    assert_int_equal(kvi_db_open(sim_os(patient.disk), TARGET, NULL, &copy, NULL, 0), KV_OK);
    uint64_t found = entries_of(copy);
    assert_true(found == entries || (rc != KV_OK && found == 0));
    assert_int_equal(kv_db_close(copy), KV_OK);
}

static int apply_to(parcel *p)
{
    kv_db *copy;
    kv_options options = {.size = sizeof options,
                          .flags = KV_OPEN_CREATE | KV_OPEN_EXCLUSIVE,
                          .memory_budget = 16384};
    int rc = kvi_db_open(&fault.os, TARGET, &options, &copy, NULL, 0);
    if (rc != KV_OK)
        return rc;
    rc = parcel_unpack(p, copy, 0, NULL);
    int closed = kv_db_close(copy);
    return rc == KV_OK ? closed : rc;
}

static int run_apply(kv_db *db)
{
    parcel p = {0};
    kv_backup_info info = {.size = sizeof info};
    int rc = parcel_pack_newest(&p, db, 0, &info);
    if (rc == KV_OK) {
        rc = apply_to(&p);
        apply_judge(rc, info.entries);
        if (rc != KV_OK)
            sim_os(patient.disk)->unlink(sim_os(patient.disk), TARGET);
    }
    parcel_free(&p);
    return rc;
}

static int run_expiry(kv_db *db)
{
    kv_txn *txn;
    int rc = kv_txn_begin(db, KV_TXN_WRITE | KV_TXN_LAZY, &txn);
    if (rc != KV_OK)
        return rc;
    rc = kv_expire(kv_txn_main(txn), "k00005", 6, 100000);
    if (rc == KV_OK)
        rc = kv_touch(kv_txn_main(txn), "k09000", 6, 100000, 1);
    if (rc == KV_OK)
        return kv_txn_commit(txn);
    kv_txn_abort(txn);
    return rc;
}

/* Deletes a range, and takes a single entry out of another one. */
static int run_ranges(kv_db *db)
{
    const kv_op ops[] = {
        {.kind = KV_OP_POP_FIRST, .flags = KV_OP_PREFIX, .key = {"k001", 4}},
        {.kind = KV_OP_DEL_PREFIX, .key = {"k002", 4}},
    };
    return kv_db_write(db, ops, KVI_COUNT(ops), 0, NULL);
}

static int any_change(void *context, const kv_change *change)
{
    (void)context;
    assert_int_not_equal(change->kind, 0);
    return 0;
}

static int any_snapshot(void *context, const kv_snapshot_info *info)
{
    (void)context;
    assert_int_equal(info->name.len, 4);
    return 0;
}

/* What has changed since a commit with a name. */
static int diff_since(kv_db *db)
{
    const kv_diff_options options = {.size = sizeof options, .change = any_change};
    kv_txn *then = NULL, *now = NULL;
    int rc = kv_snapshot_open(db, "then", 4, &then);
    if (rc == KV_OK)
        rc = kv_txn_begin(db, KV_TXN_READ, &now);
    if (rc == KV_OK)
        rc = kv_diff(then, now, &options, NULL);
    kv_txn_abort(now);
    kv_txn_abort(then);
    return rc;
}

static int run_snapshots(kv_db *db)
{
    static const char *const packed = "packed";
    const kv_op ops[] = {
        {.kind = KV_OP_PUT, .key = {"k00021", 6}, .value = {"rough", 5}},
        {.kind = KV_OP_PUT, .tree = {packed, 6}, .key = {"k00001", 6}, .value = {"new", 3}},
        {.kind = KV_OP_DEL, .key = {"k09000", 6}},
    };
    int rc = kv_snapshot_create(db, "then", 4, 0);
    if (rc == KV_OK)
        rc = kv_db_write(db, ops, KVI_COUNT(ops), 0, NULL);
    if (rc == KV_OK)
        rc = kv_snapshot_list(db, any_snapshot, NULL);
    if (rc == KV_OK)
        rc = diff_since(db);
    return rc == KV_OK ? kv_snapshot_restore(db, "then", 4, 0) : rc;
}

/* All pages of the newest commit come from the snapshot. */
static int run_restore_all(kv_db *db)
{
    const kv_op all = {.kind = KV_OP_DEL_PREFIX, .key = {"k", 1}};
    int rc = kv_snapshot_create(db, "then", 4, 0);
    if (rc == KV_OK)
        rc = kv_db_write(db, &all, 1, 0, NULL);
    return rc == KV_OK ? kv_snapshot_restore(db, "then", 4, 0) : rc;
}

/* ---- the failures ---- */

/* A name that was made although the call said otherwise is nobody's to remove. */
static void nothing_left(int rc, bool shared, const char *case_text)
{
    int expected = (rc == KV_OK && sim_find(patient.disk, TARGET) >= 0 ? 2 : 1) + shared;
    bool names_known = fault.failed[FAULT_UNLINK] == 0 && fault.failed[FAULT_OPEN] == 0 &&
                       fault.failed[FAULT_LINK] == 0;
    if (names_known && patient.disk->n_names != expected)
        fail_msg("%s: %d names are left after result %d", case_text, patient.disk->n_names, rc);
}

/* One run with the n-th call failing. False: there was no n-th call. */
static bool run_with(int (*operation)(kv_db *db), bool shared, fault_case plan)
{
    char text[200];
    sim_reset(patient.disk);
    victim_heal(&patient, patient.size);
    fault_init(&fault, sim_os(patient.disk));
    kv_db *db = open_through(&fault.os, shared);
    fault_plan(&fault, plan);
    int rc = operation(db);
    bool hit = fault_hit(&fault);
    fault_describe(&fault, text, sizeof text);
    if (rc > 0 || (!hit && rc != KV_OK))
        fail_msg("%s: result %d", text, rc);
    nothing_left(rc, shared, text);
    fault_plan(&fault, (fault_case){0});
    if (kv_db_check(db, NULL) != KV_OK)
        fail_msg("%s: the database is damaged", text);
    assert_int_equal(kv_db_close(db), KV_OK);
    if (!fault_balanced(&fault))
        fail_msg("%s: something was not given back", text);
    if (rc == KV_OK && sim_find(patient.disk, TARGET) >= 0) {
        kv_db *copy;
        assert_int_equal(kvi_db_open(sim_os(patient.disk), TARGET, NULL, &copy, NULL, 0), KV_OK);
        assert_int_equal(kv_db_check(copy, NULL), KV_OK);
        assert_int_equal(kv_db_close(copy), KV_OK);
    }
    return hit;
}

static void fail_every_call(int (*operation)(kv_db *db))
{
    static const fault_mode modes[] = {FAULT_ERROR, FAULT_LATE, FAULT_SHORT};
    for (size_t m = 0; m < KVI_COUNT(modes); m++) {
        for (int shared = 0; shared < 2; shared++) {
            fault_case plan = {.at = 1, .mode = modes[m], .error = ENOSPC};
            while (run_with(operation, shared, plan))
                plan.at++;
            print_message("%llu calls\n", (unsigned long long)(plan.at - 1));
            assert_true(plan.at > 1 || modes[m] == FAULT_SHORT);
        }
    }
}

static void test_check(void **state)
{
    fail_every_call(run_check);
}

static void test_copy(void **state)
{
    fail_every_call(run_copy);
}

static void test_compact(void **state)
{
    fail_every_call(run_compact);
}

static void test_shrink(void **state)
{
    fail_every_call(run_shrink);
}

/* A file of other pages takes the usual one's place, until it is put back. */
static victim usual;

static void other_patient(uint32_t page_size)
{
    usual = patient;
    victim_make(&patient, page_size, 5);
}

static void usual_patient(void)
{
    victim_free(&patient);
    patient = usual;
}

/* Most entries go, so that the nodes and large values behind them have where to move. */
static void make_sparse(void)
{
    static const kv_range most = {
        .size = sizeof most, .from = "k00010", .from_len = 6, .to = "k00800", .to_len = 6};
    kv_txn *txn;
    kv_db *db = open_through(sim_os(patient.disk), false);
    for (int commits = 0; commits < 3; commits++) { /* what the first one frees is free then */
        assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
        assert_int_equal(kv_del_range(kv_txn_main(txn), &most, NULL), KV_OK);
        assert_int_equal(kv_put(kv_txn_main(txn), "k00005", 6, "x", 1, 0), KV_OK);
        assert_int_equal(kv_txn_commit(txn), KV_OK);
    }
    assert_int_equal(kv_db_close(db), KV_OK);
    kvi_slice file = sim_get_file(patient.disk, VICTIM_NAME);
    free(patient.image);
    patient.size = file.len;
    patient.image = malloc(file.len);
    assert_non_null(patient.image);
    memcpy(patient.image, file.ptr, file.len);
}

static void test_shrink_sparse(void **state)
{
    other_patient(KVI_PAGE_MIN);
    make_sparse();
    fail_every_call(run_shrink);
    usual_patient();
}

/* Memory only, and a part of its calls: there is one for each page. */
static void test_restore_all(void **state)
{
    other_patient(KVI_MAX(KVI_PAGE_MIN, 1024)); /* there is room for a name */
    fault_case plan = {.at = 1, .mask = FAULT_MEMORY};
    while (run_with(run_restore_all, false, plan))
        plan.at += 1 + plan.at / 20;
    assert_true(plan.at > 20);
    usual_patient();
}

static void test_expiry(void **state)
{
    fail_every_call(run_expiry);
}

static void test_ranges(void **state)
{
    fail_every_call(run_ranges);
}

static void test_snapshots(void **state)
{
    fail_every_call(run_snapshots);
}

static void test_apply(void **state)
{
    fail_every_call(run_apply);
}

static void test_stat(void **state)
{
    fail_every_call(run_stat);
}

static void test_readers(void **state)
{
    fail_every_call(run_readers);
}

/* An open refuses the newest commit, and the one before it is not there: one has to be adopted. */
static void lose_commits(void)
{
    surgeon s;
    surgeon_take(&s, patient.image, patient.size);
    s.meta.id++;
    s.meta.durable = 1;
    s.meta.seal = 12345;
    s.meta.walk = s.page_size;
    s.meta.kind = KVI_KIND_LAZY;
    s.meta.log = s.meta.map = s.meta.blocked = (kvi_ptr){0};
    s.meta.log_pages = s.meta.blocked_pages = s.meta.map_levels = 0;
    kvi_meta_encode(&s.meta, victim_bytes(&patient));
    surgeon_free(&s);
}

/* A repair that fails leaves a file that opens with everything in it, or that a repair can help. */
static bool repair_with(fault_case plan, bool lost)
{
    char text[200];
    sim_reset(patient.disk);
    victim_heal(&patient, patient.size);
    if (lost)
        lose_commits();
    fault_init(&fault, sim_os(patient.disk));
    fault_plan(&fault, plan);
    int rc = kvi_db_repair(&fault.os, VICTIM_NAME, 0, NULL, NULL);
    bool hit = fault_hit(&fault);
    fault_describe(&fault, text, sizeof text);
    if (rc > 0 || (!hit && rc != KV_OK))
        fail_msg("%s: result %d", text, rc);
    if (!fault_balanced(&fault))
        fail_msg("%s: something was not given back", text);
    if (lost && kvi_db_repair(sim_os(patient.disk), VICTIM_NAME, 0, NULL, NULL) != KV_OK)
        fail_msg("%s: it is past repair", text);
    uint64_t errors = patient.errors;
    const char *wrong = victim_read(&patient);
    if (wrong || patient.errors != errors)
        fail_msg("%s: %s", text, wrong ? wrong : "the file is damaged");
    return hit;
}

static void test_repair(void **state)
{
    static const fault_mode modes[] = {FAULT_ERROR, FAULT_LATE, FAULT_SHORT};
    for (size_t m = 0; m < 2 * KVI_COUNT(modes); m++) {
        fault_case plan = {.at = 1, .mode = modes[m / 2], .error = EIO};
        while (repair_with(plan, m % 2))
            plan.at++;
        assert_true(plan.at > 21);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),         cmocka_unit_test(test_copy),
        cmocka_unit_test(test_compact),       cmocka_unit_test(test_apply),
        cmocka_unit_test(test_stat),          cmocka_unit_test(test_readers),
        cmocka_unit_test(test_repair),        cmocka_unit_test(test_shrink),
        cmocka_unit_test(test_shrink_sparse), cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_ranges),        cmocka_unit_test(test_snapshots),
        cmocka_unit_test(test_restore_all),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
