/* Backups that end, or are stopped, at any of their bytes. Behind right checksums, so that it is the
 * records themselves that are found incomplete: whatever is cut off, nothing changes. And a block may
 * end within any record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "bytes.h"
#include "db.h"
#include "fault_os.h"
#include "pair.h"
#include "parcel.h"
#include "sim_os.h"
#include "stream.h"
#include <errno.h>
#include <stdlib.h>

#define LARGE 9000
#define LATER 1000000 /* milliseconds */

static sim_disk *disk;
static kv_db *db, *copy;
static kvi_slice copy_image;     /* the copy as it is at the base */
static uint64_t base;            /* the commit that the copy repeats */
static parcel whole, change;     /* from nothing to the base, from there to the newest commit */
static parcel records;           /* of change, without headers and blocks */
static kvi_stream_header header; /* of change */

/* ---- two databases ---- */

static void put(kv_txn *txn, const char *tree, const char *key, const void *value, size_t len)
{
    assert_int_equal(kv_put(must_tree(txn, tree), key, strlen(key), value, len, 0), KV_OK);
}

static kv_tree *multi(kv_txn *txn)
{
    kv_tree *tree;
    assert_int_equal(kv_tree_open(txn, "pairs", 5, KV_TREE_CREATE | KV_TREE_MULTI, NULL, &tree),
                     KV_OK);
    return tree;
}

/* Two leaves, the first one with few bytes. */
static void put_leaves(kv_txn *txn)
{
    static const uint8_t bytes[900];
    static const char *const keys[] = {"1", "2", "3", "4", "5", "6", "7", "8"};
    for (unsigned i = 0; i < 8; i++)
        put(txn, "wide", keys[i], bytes, sizeof bytes);
    for (unsigned i = 1; i < 4; i++)
        assert_int_equal(kv_del(must_tree(txn, "wide"), keys[i], 1), KV_OK);
    put(txn, "wide", "1", "6", 1);
}

static void make_base(void)
{
    static const uint8_t bytes[LARGE];
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    kv_tree *main = kv_txn_main(txn);
    put(txn, "", "a", "1", 1);
    put(txn, "", "gone", "1", 1);
    put(txn, "", "large", bytes, sizeof bytes);
    put(txn, "", "until", "1", 1);
    assert_int_equal(kv_expire(main, "until", 5, LATER), KV_OK);
    put(txn, "blue", "b", "2", 1);
    put(txn, "blue", "large", bytes, sizeof bytes);
    put(txn, "old", "c", "3", 1);
    put(txn, "red", "d", "4", 1);
    put_leaves(txn);
    assert_int_equal(kv_multi_put(multi(txn), "k", 1, "1", 1), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* Something in every tree: an expiry of what is kept, trees that come, go and change their nature. */
static void make_change(void)
{
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    kv_tree *main = kv_txn_main(txn);
    kv_tree_options packed = {.size = sizeof packed, .compress_from = 5000};
    put(txn, "", "a", "2", 1);
    assert_int_equal(kv_del(main, "gone", 4), KV_OK);
    assert_int_equal(kv_expire(main, "large", 5, LATER), KV_OK);
    assert_int_equal(kv_expire(main, "until", 5, 2 * LATER), KV_OK);
    put(txn, "blue", "b", "22", 2);
    assert_int_equal(kv_tree_configure(must_tree(txn, "blue"), &packed), KV_OK);
    put(txn, "new", "e", "5", 1);
    put(txn, "wide", "1", "7", 1);
    assert_int_equal(kv_tree_drop(must_tree(txn, "old")), KV_OK);
    assert_int_equal(kv_tree_drop(must_tree(txn, "red")), KV_OK);
    assert_int_equal(kv_tree_rename(must_tree(txn, "new"), "red", 3), KV_OK);
    assert_int_equal(kv_multi_put(multi(txn), "k", 1, "2", 1), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static void copy_keep(void)
{
    kvi_slice file = sim_get_file(disk, "copy");
    uint8_t *bytes = malloc(file.len);
    assert_non_null(bytes);
    memcpy(bytes, file.ptr, file.len);
    copy_image = kvi_slice_of(bytes, file.len);
}

/* The copy as it was at the base. */
static void copy_again(void)
{
    assert_int_equal(kv_db_close(copy), KV_OK);
    sim_put_file(disk, "copy", copy_image.ptr, copy_image.len);
    copy = must_open(disk, "copy");
}

static int open_both(void **state)
{
    kv_backup_info info = {.size = sizeof info};
    pair_open(&disk, &db, &copy);
    make_base();
    assert_int_equal(parcel_pack_newest(&whole, db, 0, &info), KV_OK);
    assert_int_equal(parcel_unpack(&whole, copy, 0, NULL), KV_OK);
    base = info.to;
    assert_int_equal(kv_db_close(copy), KV_OK);
    copy_keep();
    copy = must_open(disk, "copy");
    make_change();
    assert_int_equal(parcel_pack_newest(&change, db, base, &info), KV_OK);
    header = (kvi_stream_header){.page_size = 4096, .from = info.from, .to = info.to};
    memcpy(header.file_id, info.file_id, sizeof header.file_id);
    records = parcel_records(&change);
    assert_in_range(records.len, 100, 1000);
    return 0;
}

static int close_both(void **state)
{
    parcel_free(&whole);
    parcel_free(&change);
    parcel_free(&records);
    free((void *)(uintptr_t)copy_image.ptr);
    return pair_close(disk, db, copy);
}

static uint64_t origin_of(kv_db *of)
{
    return must_stat(of).origin_id;
}

/* ---- the end is missing ---- */

/* A sound backup of the first so many bytes of the records. */
static void pack_records(parcel *p, size_t len)
{
    kvi_slice first = kvi_slice_of(records.bytes, len);
    assert_int_equal(parcel_seal(p, sim_os(disk), &header, first), KV_OK);
}

/* Where nothing is open, what follows may as well be missing: behind the main tree, and before its
 * first range. */
static void test_applied(void **state)
{
    unsigned complete = 0;
    for (size_t len = 0; len < records.len; len++) {
        parcel p = {0};
        pack_records(&p, len);
        int rc = parcel_unpack(&p, copy, 0, NULL);
        if (rc == KV_OK) {
            complete++;
            copy_again();
        } else {
            assert_int_equal(rc, KV_EBACKUP);
            assert_int_equal(origin_of(copy), base);
        }
        parcel_free(&p);
    }
    assert_int_equal(complete, 2);
    parcel p = {0};
    pack_records(&p, records.len);
    assert_int_equal(parcel_unpack(&p, copy, 0, NULL), KV_OK);
    assert_int_equal(origin_of(copy), header.to);
    parcel_free(&p);
}

/* ---- stopped between two blocks ---- */

typedef struct stopping {
    parcel *of[2], *out;
    size_t limit[2], out_limit; /* bytes that pass */
} stopping;

static int64_t read_some(void *context, size_t number, void *bytes, size_t len)
{
    stopping *s = context;
    if (s->of[number]->read >= s->limit[number])
        return -1;
    return parcel_read(s->of[number], bytes, len);
}

static int64_t read_first(void *context, void *bytes, size_t len)
{
    return read_some(context, 0, bytes, len);
}

static int write_some(void *context, const void *bytes, size_t len)
{
    stopping *s = context;
    return s->out->len >= s->out_limit ? 1 : parcel_write(s->out, bytes, len);
}

static int merge(stopping *s, size_t n)
{
    kv_merge_options options = {
        .size = sizeof options, .n = n, .read = read_some, .write = write_some, .context = s};
    s->of[0]->read = s->of[1]->read = s->out->len = 0;
    return kv_backup_merge(&options, NULL, NULL, 0);
}

/* What is merged with it is sound. */
static void test_merged(void **state)
{
    unsigned complete = 0;
    parcel out = {0};
    for (size_t len = 0; len < records.len; len++) {
        parcel p = {0};
        pack_records(&p, len);
        stopping s = {{&whole, &p}, &out, {SIZE_MAX, SIZE_MAX}, SIZE_MAX};
        int rc = merge(&s, 2);
        complete += rc == KV_OK;
        assert_true(rc == KV_OK || rc == KV_EBACKUP);
        parcel_free(&p);
    }
    assert_int_equal(complete, 2);
    stopping s = {{&whole, &change}, &out, {SIZE_MAX, SIZE_MAX}, SIZE_MAX};
    assert_int_equal(merge(&s, 2), KV_OK);
    parcel_free(&out);
}

/* So that the first block ends this many bytes behind the value of the first key. */
static void pad_to(size_t behind)
{
    static const uint8_t bytes[KVI_STREAM_BLOCK];
    must_put(db, "", "a", bytes, sizeof bytes - 20 - behind);
}

static int backup_into(stopping *s)
{
    kv_backup_options options = {
        .size = sizeof options, .since = base, .write = write_some, .context = s};
    kv_txn *txn = must_begin(db, KV_TXN_READ);
    s->out->len = s->out->read = 0;
    int rc = kv_backup(txn, &options, NULL);
    kv_txn_abort(txn);
    return rc;
}

static int apply_from(stopping *s)
{
    kv_apply_options options = {.size = sizeof options, .read = read_first, .context = s};
    s->of[0]->read = 0;
    return kv_backup_apply(copy, &options, NULL);
}

/* Who writes, applies or merges it stops there, then does not. */
static void test_block_ends_anywhere(void **state)
{
    const size_t first = KVI_STREAM_HEADER + 1; /* the header passes, and the block behind it */
    parcel p = {0}, out = {0};
    for (size_t behind = 0; behind < records.len; behind++) {
        pad_to(behind);
        stopping refused = {.out = &p, .out_limit = KVI_STREAM_HEADER};
        assert_int_equal(backup_into(&refused), KV_ECANCELED);
        stopping passes = {.out = &p, .out_limit = SIZE_MAX};
        assert_int_equal(backup_into(&passes), KV_OK);

        stopping s = {{&p, &whole}, &out, {first + KVI_STREAM_HEAD, 0}, SIZE_MAX};
        uint64_t origin = origin_of(copy);
        assert_int_equal(apply_from(&s), KV_ECANCELED);
        assert_int_equal(origin_of(copy), origin);
        assert_int_equal(merge(&s, 1), KV_ECANCELED);
        s.limit[0] = SIZE_MAX;
        s.out_limit = KVI_STREAM_HEADER;
        assert_int_equal(merge(&s, 1), KV_ECANCELED);
        s.out_limit = SIZE_MAX;
        assert_int_equal(merge(&s, 1), KV_OK);
        assert_int_equal(out.len, p.len);
        assert_memory_equal(out.bytes, p.bytes, p.len);
        assert_int_equal(apply_from(&s), KV_OK);
        assert_true(origin_of(copy) > origin);
    }
    parcel_free(&p);
    parcel_free(&out);
}

/* ---- calls that fail ---- */

/* Applies the change to a copy of the copy, with a call failing. False: there was none. */
static bool apply_failing(fault_case plan)
{
    fault_os fault;
    kv_db *third;
    kv_options options = {.size = sizeof options};
    fault_init(&fault, sim_os(disk));
    fault_plan(&fault, (fault_case){0});
    sim_put_file(disk, "third", copy_image.ptr, copy_image.len);
    assert_int_equal(kvi_db_open(&fault.os, "third", &options, &third, NULL, 0), KV_OK);
    change.read = 0;
    fault_plan(&fault, plan);
    int rc = parcel_unpack(&change, third, 0, NULL);
    bool hit = fault_hit(&fault);
    fault_plan(&fault, (fault_case){0});
    assert_true(rc == KV_OK || hit);
    if (rc != KV_EPOISONED)
        assert_int_equal(origin_of(third), rc == KV_OK ? header.to : base);
    assert_int_equal(kv_db_check(third, NULL), KV_OK);
    assert_int_equal(kv_db_close(third), KV_OK);
    assert_true(fault_balanced(&fault));
    return hit;
}

static void test_failing_calls(void **state)
{
    static const fault_case plans[] = {
        {.mask = FAULT_MEMORY, .error = ENOMEM},
        {.mask = FAULT_SYSTEM, .error = EIO},
        {.mask = FAULT_SYSTEM, .error = ENOSPC, .mode = FAULT_LATE},
    };
    for (size_t i = 0; i < KVI_COUNT(plans); i++) {
        fault_case plan = plans[i];
        for (plan.at = 1; apply_failing(plan);)
            plan.at++;
        assert_true(plan.at > 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_applied, open_both, close_both),
        cmocka_unit_test_setup_teardown(test_merged, open_both, close_both),
        cmocka_unit_test_setup_teardown(test_block_ends_anywhere, open_both, close_both),
        cmocka_unit_test_setup_teardown(test_failing_calls, open_both, close_both),
    };
    return cmocka_run_group_tests_name("ends of backups", tests, NULL, NULL);
}
