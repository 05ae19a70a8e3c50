/* Consecutive backups made into one: what it says, that it fits where the first did, and that whatever
 * is wrong with one of them is said. That it brings a copy as far as they would, one after the other,
 * shows test_model_backup. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "fault_os.h"
#include "merge.h"
#include "parcel.h"
#include "pair.h"
#include "sim_os.h"

#define PARTS 4
#define BIG   60000

static sim_disk *disk;
static kv_db *db, *copy;
static parcel parts[PARTS], merged;
static size_t n; /* of them */
static kv_backup_info info;
static char message[200];

static int setup(void **state)
{
    pair_open(&disk, &db, &copy);
    n = 0;
    return 0;
}

static int teardown(void **state)
{
    for (size_t i = 0; i < PARTS; i++)
        parcel_free(&parts[i]);
    parcel_free(&merged);
    return pair_close(disk, db, copy);
}

static void put(const char *name, const char *key, const char *value)
{
    must_put(db, name, key, value, strlen(value));
}

static void del(const char *name, const char *key)
{
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_del(must_tree(txn, name), key, strlen(key)), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

static void drop(const char *name)
{
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_tree_drop(must_tree(txn, name)), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

/* ---- backups ---- */

static uint64_t newest(void)
{
    uint64_t id = 0;
    assert_int_equal(kv_db_wait(db, 0, 0, &id), KV_OK);
    return id;
}

/* One more, since the end of the last one. */
static void pack(void)
{
    static uint64_t end;
    assert_in_range(n, 0, PARTS - 1);
    assert_int_equal(parcel_pack_newest(&parts[n], db, n ? end : 0, NULL), KV_OK);
    end = newest();
    n++;
}

static int64_t read_part(void *context, size_t number, void *bytes, size_t len)
{
    parts[number].piece = 1000;
    return parcel_read(&parts[number], bytes, len);
}

static int write_merged(void *context, const void *bytes, size_t len)
{
    return parcel_write(&merged, bytes, len);
}

/* Of parts first to last. */
static size_t from_part;

static int64_t read_later_part(void *context, size_t number, void *bytes, size_t len)
{
    return read_part(context, from_part + number, bytes, len);
}

static int merge(size_t first, size_t last)
{
    kv_merge_options options = {.size = sizeof options,
                                .n = last - first + 1,
                                .read = read_later_part,
                                .write = write_merged};
    parcel_free(&merged);
    from_part = first;
    for (size_t i = 0; i < PARTS; i++)
        parts[i].read = 0;
    info = (kv_backup_info){.size = sizeof info};
    return kv_backup_merge(&options, &info, message, sizeof message);
}

static void expect(const char *name, const char *key, const char *value)
{
    kv_slice found;
    kv_txn *txn = must_begin(copy, KV_TXN_READ);
    kv_tree *tree = kv_txn_main(txn);
    int rc = *name ? kv_tree_open(txn, name, strlen(name), 0, NULL, &tree) : KV_OK;
    if (rc == KV_OK)
        rc = kv_get(tree, key, strlen(key), &found);
    assert_int_equal(rc, value ? KV_OK : KV_NOTFOUND);
    assert_true(!value || (found.len >= strlen(value) && !memcmp(found.ptr, value, strlen(value))));
    kv_txn_abort(txn);
}

static void apply(void)
{
    assert_int_equal(parcel_unpack(&merged, copy, 0, NULL), KV_OK);
    assert_int_equal(merged.read, merged.len);
}

/* ---- what it says ---- */

static void test_newest_says(void **state)
{
    put("", "a", "1");
    put("", "b", "1");
    put("t", "x", "1");
    pack();
    put("", "a", "2");
    put("t", "y", "2");
    pack();
    del("", "b");
    put("", "a", "3");
    put("", "c", "3");
    pack();
    assert_int_equal(merge(0, 2), KV_OK);
    assert_int_equal(info.from, 0);
    assert_int_equal(info.to, newest());
    assert_int_equal(info.bytes, merged.len);
    assert_int_equal(info.entries, 4); /* a, c, x, y */
    apply();
    expect("", "a", "3");
    expect("", "b", NULL);
    expect("", "c", "3");
    expect("t", "x", "1");
    expect("t", "y", "2");
}

/* One since 0, applied; then two that lead on, as one. */
static void test_leads_on(void **state)
{
    put("", "a", "1");
    put("", "b", "1");
    pack();
    assert_int_equal(merge(0, 0), KV_OK);
    assert_int_equal(merged.len, parts[0].len); /* of one it is that one */
    assert_memory_equal(merged.bytes, parts[0].bytes, merged.len);
    apply();
    put("", "a", "2");
    pack();
    put("", "b", "3");
    pack();
    assert_int_equal(merge(1, 2), KV_OK);
    apply();
    expect("", "a", "2");
    expect("", "b", "3");
}

/* A later backup may begin before those in front of it: the whole fits wherever that one does. */
static void test_begins_earlier(void **state)
{
    put("", "a", "1");
    pack();
    put("", "b", "2");
    pack();
    put("", "c", "3");
    assert_int_equal(parcel_pack_newest(&parts[n++], db, 0, NULL), KV_OK);
    assert_int_equal(merge(1, 2), KV_OK);
    assert_int_equal(info.from, 0);
    assert_int_equal(info.to, newest());
    apply();
    expect("", "a", "1");
    expect("", "b", "2");
    expect("", "c", "3");
}

/* A large value is stated where it is new, and kept by the backups behind. */
static void test_kept(void **state)
{
    static char big[BIG];
    memset(big, 'x', sizeof big);
    must_put(db, "", "big", big, sizeof big);
    pack();
    put("", "a", "2");
    pack();
    put("", "b", "3");
    pack();
    assert_true(parts[1].len < BIG && parts[2].len < BIG);
    assert_int_equal(merge(1, 2), KV_OK);
    assert_true(merged.len < BIG); /* kept by both: as at the first's beginning */
    assert_int_equal(merge(0, 2), KV_OK);
    assert_true(merged.len > BIG && merged.len < 2 * BIG);
    apply();
    expect("", "big", "xxx");
    expect("", "b", "3");
}

/* What a newer backup says about a name makes what older ones say of it void. */
static void test_trees(void **state)
{
    put("gone", "x", "1");
    put("again", "x", "1");
    put("stays", "x", "1");
    pack();
    put("gone", "y", "2");
    put("again", "y", "2");
    pack();
    drop("gone");
    drop("again");
    put("again", "z", "3");
    put("new", "x", "3");
    pack();
    assert_int_equal(merge(0, 2), KV_OK);
    apply();
    expect("gone", "x", NULL);
    expect("again", "x", NULL);
    expect("again", "y", NULL);
    expect("again", "z", "3");
    expect("stays", "x", "1");
    expect("new", "x", "3");
}

static void test_expiry(void **state)
{
    static char big[BIG];
    kv_entry_info entry = {.size = sizeof entry};
    must_put(db, "", "big", big, sizeof big);
    put("", "a", "1");
    pack();
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    uint64_t now = kv_txn_now(txn);
    assert_int_equal(kv_expire(kv_txn_main(txn), "big", 3, 5000), KV_OK);
    assert_int_equal(kv_expire(kv_txn_main(txn), "a", 1, 7000), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    pack();
    assert_int_equal(merge(0, 1), KV_OK);
    apply();
    txn = must_begin(copy, KV_TXN_READ);
    assert_int_equal(kv_get_info(kv_txn_main(txn), "big", 3, &entry), KV_OK);
    assert_int_equal(entry.expires_at, now + 5000);
    assert_int_equal(entry.value.len, BIG);
    assert_int_equal(kv_get_info(kv_txn_main(txn), "a", 1, &entry), KV_OK);
    assert_int_equal(entry.expires_at, now + 7000);
    kv_txn_abort(txn);
}

/* ---- what is wrong ---- */

static void test_arguments(void **state)
{
    kv_merge_options options = {
        .size = sizeof options, .n = 1, .read = read_part, .write = write_merged};
    assert_int_equal(kv_backup_merge(NULL, NULL, NULL, 0), KV_EINVAL);
    options.n = 0;
    assert_int_equal(kv_backup_merge(&options, NULL, NULL, 0), KV_EINVAL);
    options.n = 1;
    options.read = NULL;
    assert_int_equal(kv_backup_merge(&options, NULL, NULL, 0), KV_EINVAL);
    options.read = read_part;
    options.write = NULL;
    assert_int_equal(kv_backup_merge(&options, NULL, NULL, 0), KV_EINVAL);
    options.write = write_merged;
    assert_int_equal(kv_backup_merge(&options, NULL, NULL, 0), KV_EBACKUP); /* of nothing */
    options.n = SIZE_MAX;
    assert_int_equal(kv_backup_merge(&options, NULL, NULL, 0), KV_ENOMEM);
}

static void test_mismatch(void **state)
{
    put("", "a", "1");
    pack();
    put("", "a", "2");
    pack();
    put("", "a", "3");
    pack();
    parcel swap = parts[1];
    parts[1] = parts[2];
    parts[2] = swap;
    assert_int_equal(merge(0, 1), KV_MISMATCH); /* one is missing between them */
    assert_non_null(strstr(message, "leads from commit"));
    assert_int_equal(merge(1, 2), KV_MISMATCH); /* in the wrong order */
    parcel_free(&parts[1]);
    assert_int_equal(parcel_pack_newest(&parts[1], copy, 0, NULL), KV_OK);
    assert_int_equal(merge(0, 1), KV_MISMATCH);
    assert_non_null(strstr(message, "of another database"));
}

static void prepare_two(void)
{
    put("", "a", "1");
    put("t", "b", "1");
    pack();
    put("", "a", "2");
    put("t", "c", "2");
    pack();
}

static void test_damage(void **state)
{
    prepare_two();
    for (size_t i = 0; i < 2; i++)
        for (size_t at = 0; at < parts[i].len; at++) {
            parts[i].bytes[at] ^= 0x20;
            int rc = merge(0, 1);
            assert_true(rc == KV_EBACKUP || rc == KV_ENOTKV || rc == KV_EVERSION);
            assert_true(*message);
            parts[i].bytes[at] ^= 0x20;
        }
    for (size_t len = parts[1].len; len-- > 0;) {
        parts[1].len = len;
        assert_int_equal(merge(0, 1), KV_EBACKUP);
    }
}

/* Nothing is got ready for backups behind one that is none. */
static void test_none_of_many(void **state)
{
    fault_os fault;
    kvi_err err;
    kv_merge_options options = {
        .size = sizeof options, .n = 1000, .read = read_part, .write = write_merged};
    put("", "a", "1");
    pack();
    parts[0].bytes[0] ^= 1;
    kvi_err_init(&err);
    fault_init(&fault, sim_os(disk));
    fault_plan(&fault, (fault_case){.at = 10, .mask = FAULT_MEMORY, .mode = FAULT_ERROR});
    assert_int_equal(kvi_merge(&fault.os, &err, &options, &info), KV_ENOTKV);
    assert_false(fault_hit(&fault));
    assert_true(fault_balanced(&fault));
    kvi_err_destroy(&err);
}

/* ---- forged ---- */

#define MAIN      "\x01\x00\x00\x00\x00\x00" /* TREE, no name, flags, codec or sequence */
#define ALL       "\x02\x00"                 /* FROM, open */
#define END       "\x05\x00"
#define NAMES     "\x06\x00"
#define NAMES_END "\x07\x00"
#define TREE_T    "\x01\x01t\x00\x00\x00\x00"
#define TREE_S    "\x01\x01s\x00\x00\x00\x00"
#define PUT_B     "\x03\x01\x62\x00"
#define PUT_C     "\x03\x01\x63\x00" /* no value */
#define KEPT_C    "\x04\x01\x63"

/* Behind right checksums, what no backup says. */
#define FORGED(first, second)                                                                      \
    {                                                                                              \
        {first, sizeof(first) - 1},                                                                \
        {                                                                                          \
            second, sizeof(second) - 1                                                             \
        }                                                                                          \
    }
static const kv_slice forged[][2] = {
    FORGED(MAIN ALL END, MAIN ALL END NAMES), /* no end of the names */
    FORGED(MAIN ALL END, MAIN ALL END NAMES NAMES_END ALL END),
    FORGED(MAIN ALL END, MAIN ALL END NAMES NAMES_END PUT_C),
    FORGED(MAIN ALL END, MAIN ALL KEPT_C END), /* the older one sees it, and has it not */
    FORGED(MAIN ALL PUT_C END NAMES TREE_T ALL "\x09", MAIN ALL END NAMES NAMES_END),
    FORGED(MAIN ALL PUT_C END NAMES TREE_T ALL "\x03", MAIN ALL END NAMES NAMES_END),
    FORGED(MAIN ALL PUT_C PUT_B END, MAIN), /* what is out of order is said here */
    FORGED(MAIN ALL PUT_C, MAIN),
    FORGED(MAIN ALL END NAMES TREE_T ALL END TREE_S ALL END NAMES_END, MAIN),
    FORGED(MAIN ALL END NAMES MAIN ALL END NAMES_END, MAIN),
};

static void test_forged(void **state)
{
    for (size_t i = 0; i < KVI_COUNT(forged); i++) {
        for (size_t k = 0; k < 2; k++) {
            const kvi_stream_header header = {.page_size = 4096, .from = k, .to = k + 1};
            kvi_slice records = kvi_slice_of(forged[i][k].ptr, forged[i][k].len);
            parcel_free(&parts[k]);
            assert_int_equal(parcel_seal(&parts[k], sim_os(disk), &header, records), KV_OK);
        }
        if (merge(0, 1) != KV_EBACKUP)
            fail_msg("forgery %zu: %s", i, message);
    }
}

static int64_t read_nothing(void *context, size_t number, void *bytes, size_t len)
{
    return -1;
}

static int write_nothing(void *context, const void *bytes, size_t len)
{
    return 1;
}

static void test_stopped(void **state)
{
    prepare_two();
    kv_merge_options options = {
        .size = sizeof options, .n = 2, .read = read_nothing, .write = write_merged};
    assert_int_equal(kv_backup_merge(&options, NULL, NULL, 0), KV_ECANCELED);
    options.read = read_part;
    options.write = write_nothing;
    assert_int_equal(kv_backup_merge(&options, NULL, NULL, 0), KV_ECANCELED);
}

/* Each allocation fails once. */
static void test_memory(void **state)
{
    fault_os fault;
    kvi_err err;
    kv_merge_options options = {
        .size = sizeof options, .n = 2, .read = read_part, .write = write_merged};
    prepare_two();
    kvi_err_init(&err);
    fault_init(&fault, sim_os(disk));
    int rc = KV_ENOMEM;
    for (uint64_t at = 1; rc != KV_OK; at++) {
        fault_plan(&fault, (fault_case){.at = at, .mask = FAULT_MEMORY, .mode = FAULT_ERROR});
        parts[0].read = parts[1].read = 0;
        parcel_free(&merged);
        rc = kvi_merge(&fault.os, &err, &options, &info);
        assert_true(rc == KV_ENOMEM || (rc == KV_OK && !fault_hit(&fault)));
        assert_true(fault_balanced(&fault));
    }
    kvi_err_destroy(&err);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_newest_says),    TEST(test_leads_on), TEST(test_kept),      TEST(test_trees),
        TEST(test_begins_earlier), TEST(test_expiry),   TEST(test_arguments), TEST(test_mismatch),
        TEST(test_damage),         TEST(test_stopped),  TEST(test_memory),    TEST(test_forged),
        TEST(test_none_of_many),
    };
    return cmocka_run_group_tests_name("merge", tests, NULL, NULL);
}
