/* Forged backups: the checksums are right, the contents lie. None changes anything, be it applied or
 * merged first; and what is unusual but right is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "pair.h"
#include "parcel.h"
#include "sim_os.h"
#include "stream.h"

static sim_disk *disk;
static kv_db *db, *copy;

/* A database of two trees, and its copy. */
static int open_both(void **state)
{
    parcel p = {0};
    pair_open(&disk, &db, &copy);
    must_put(db, "", "a", "1", 1);
    must_put(db, "blue", "b", "2", 1);
    assert_int_equal(parcel_pack_newest(&p, db, 0, NULL), KV_OK);
    assert_int_equal(parcel_unpack(&p, copy, 0, NULL), KV_OK);
    parcel_free(&p);
    return 0;
}

static int close_both(void **state)
{
    return pair_close(disk, db, copy);
}

/* ---- the records ---- */

typedef struct forgery {
    const char *what;
    const char *bytes;
    size_t len;
} forgery;

#define FORGE(what, bytes)                                                                         \
    {                                                                                              \
        what, bytes, sizeof(bytes) - 1                                                             \
    }
#define MAIN                                                                                       \
    "\x01\x00\x00\x00\x00\x00" /* TREE, no name, no flags, no codec, never compressed, sequence 0 */
#define ALL "\x02\x00"         /* FROM, open */
#define END "\x05\x00"
#define FROM_B                                                                                     \
    "\x02\x02"                                                                                     \
    "b"
#define PUT_C                                                                                      \
    "\x03\x01"                                                                                     \
    "c\x00" /* no value */
#define NAMES     "\x06\x00"
#define NAMES_END "\x07\x00"
#define TREE_T                                                                                     \
    "\x01\x01"                                                                                     \
    "t\x00\x00\x00\x00"
#define TREE_U                                                                                     \
    "\x01\x01"                                                                                     \
    "u\x00\x00\x00\x00"

static const forgery forgeries[] = {
    FORGE("nothing", ""),
    FORGE("unknown record", MAIN "\x09"),
    FORGE("range without tree", ALL END),
    FORGE("names before the main tree", "\x06\x00\x01\x01"
                                        "a\x00\x00\x00\x00\x07\x00"),
    FORGE("names begin before the main tree", NAMES MAIN ALL END NAMES_END),
    FORGE("range behind the names", MAIN ALL END NAMES NAMES_END ALL END),
    FORGE("key outside a range", MAIN "\x03\x01"
                                      "a\x01"
                                      "b"),
    FORGE("keys descend", MAIN ALL "\x03\x01"
                                   "b\x00\x03\x01"
                                   "a\x00" END),
    FORGE("key twice", MAIN ALL "\x03\x01"
                                "b\x00\x03\x01"
                                "b\x00" END),
    FORGE("key below its range", MAIN "\x02\x02"
                                      "b\x03\x01"
                                      "a\x00" END),
    FORGE("key above its range", MAIN ALL "\x03\x01"
                                          "c\x00\x05\x02"
                                          "b"),
    FORGE("range in a range", MAIN ALL ALL END),
    FORGE("range behind the open end", MAIN ALL END "\x02\x02"
                                                    "x" END),
    FORGE("open beginning twice", MAIN ALL "\x05\x02"
                                           "b" ALL END),
    FORGE("no end of a range", MAIN ALL "\x03\x01"
                                        "b\x00"),
    FORGE("tree in a range", MAIN ALL "\x06\x00\x01\x01"
                                      "t\x00\x00\x00\x00\x07\x00"),
    FORGE("end without range", MAIN END),
    FORGE("no end of names", MAIN ALL END "\x06\x00"),
    FORGE("tree outside names", MAIN ALL END "\x01\x01"
                                             "t\x00\x00\x00\x00"),
    FORGE("main tree twice", MAIN ALL END MAIN),
    FORGE("trees descend", MAIN ALL END "\x06\x00\x01\x01"
                                        "t\x00\x00\x00\x00\x01\x01"
                                        "s\x00\x00\x00\x00\x07\x00"),
    FORGE("kept, not there", MAIN ALL "\x04\x02"
                                      "zz" END),
    FORGE("endless key", MAIN ALL "\x03\xff\xff\xff\xff\xff\x01"),
    FORGE("bomb", MAIN ALL "\x03\x01"
                           "b\xff\xff\xff\xff\xff\x1f"
                           "abc"),
    FORGE("value over every limit", MAIN ALL "\x03\x01"
                                             "b\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    FORGE("long number", MAIN ALL "\x03\x81\x00"
                                  "b\x00" END),
    FORGE("endless number", MAIN ALL "\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
    FORGE("name cut short", "\x01\x8a\x00"),
    FORGE("endless name", "\x01\xff\xff\x7f"),
    FORGE("main tree of pairs", "\x01\x00\x02\x00\x00\x00" ALL END),
    FORGE("unknown nature", MAIN ALL END NAMES "\x01\x01"
                                               "t\x01\x00\x00\x00" ALL END NAMES_END),
    FORGE("no pair", MAIN ALL END "\x06\x00\x01\x01"
                                  "t\x02\x00\x00\x00" ALL "\x03\x01"
                                  "a\x00" END "\x07\x00"),
    FORGE("impossible codec", "\x01\x00\x00\x80\x02\x00\x00" ALL END),
    FORGE("bound cut short", MAIN "\x02\x09"
                                  "abc"),
    FORGE("ranges descend", MAIN FROM_B PUT_C "\x05\x02"
                                              "d\x02\x02"
                                              "c" END),
    FORGE("tree in a range of entries", MAIN ALL END NAMES TREE_T ALL TREE_U ALL END NAMES_END),
    FORGE("pair with a value", MAIN ALL END NAMES "\x01\x01"
                                                  "t\x02\x00\x00\x00" ALL "\x03\x03"
                                                  "a\x00"
                                                  "b\x01"
                                                  "v" END NAMES_END),
    FORGE("expiry of nothing", MAIN ALL "\x08\x05" END),
    FORGE("expiry of an expiry", MAIN ALL "\x08\x05\x08\x05" PUT_C END),
    FORGE("expiry at the end", MAIN ALL "\x08\x05"),
    FORGE("expiry at 0", MAIN ALL "\x08\x00" PUT_C END),
    FORGE("second tree without a name", MAIN ALL END NAMES MAIN ALL END NAMES_END),
    FORGE("end of names behind nothing", MAIN ALL END NAMES_END),
    FORGE("end of names twice", MAIN ALL END NAMES NAMES_END NAMES_END),
    FORGE("names behind their end", MAIN ALL END NAMES NAMES_END NAMES NAMES_END),
    FORGE("entry behind its range", MAIN ALL "\x05\x02"
                                             "b" PUT_C),
    FORGE("main tree with a name", TREE_T ALL END),
    FORGE("entries of the main tree among names", MAIN NAMES ALL END NAMES_END),
    FORGE("expiry behind everything", MAIN ALL END "\x08\x05"),
};

/* ---- packing ---- */

static kvi_stream_header header_like(void)
{
    kvi_stream_header header = {.page_size = 4096, .from = 0, .to = 1000};
    memcpy(header.file_id, must_stat(db).file_id, sizeof header.file_id);
    return header;
}

static void pack(parcel *p, const kvi_stream_header *header, const char *bytes, size_t len)
{
    assert_int_equal(parcel_seal(p, sim_os(disk), header, kvi_slice_of(bytes, len)), KV_OK);
}

static void pack_forgery(parcel *p, const forgery *f)
{
    kvi_stream_header header = header_like();
    pack(p, &header, f->bytes, f->len);
}

static int apply(const forgery *f)
{
    parcel p = {0};
    pack_forgery(&p, f);
    int rc = parcel_unpack(&p, copy, 0, NULL);
    parcel_free(&p);
    return rc;
}

static int64_t read_parcel(void *context, size_t number, void *bytes, size_t len)
{
    parcel **parcels = context;
    return parcel_read(parcels[number], bytes, len);
}

static int write_third(void *context, const void *bytes, size_t len)
{
    parcel **parcels = context;
    return parcel_write(parcels[2], bytes, len);
}

/* Merged with itself so many times, and applied. */
static int merge_apply(const forgery *f, size_t n)
{
    parcel a = {0}, b = {0}, out = {0};
    parcel *parcels[] = {&a, &b, &out};
    kv_merge_options options = {.size = sizeof options,
                                .n = n,
                                .read = read_parcel,
                                .write = write_third,
                                .context = parcels};
    pack_forgery(&a, f);
    pack_forgery(&b, f);
    int rc = kv_backup_merge(&options, NULL, NULL, 0);
    if (rc == KV_OK)
        rc = parcel_unpack(&out, copy, 0, NULL);
    for (size_t i = 0; i < KVI_COUNT(parcels); i++)
        parcel_free(parcels[i]);
    return rc;
}

/* ---- tests ---- */

static void test_forgeries(void **state)
{
    uint64_t id = must_stat(copy).commit_id;
    for (size_t i = 0; i < KVI_COUNT(forgeries); i++) {
        const int results[] = {apply(&forgeries[i]), merge_apply(&forgeries[i], 1),
                               merge_apply(&forgeries[i], 2)};
        for (size_t k = 0; k < KVI_COUNT(results); k++)
            if (results[k] != KV_EBACKUP)
                fail_msg("%s: %d, merged of %zu", forgeries[i].what, results[k], k);
    }
    assert_int_equal(must_stat(copy).commit_id, id);
}

static void test_unusual(void **state)
{
    static const forgery sound[] = {
        FORGE("an entry", MAIN ALL "\x03\x01"
                                   "b\x01"
                                   "c" END),
        FORGE("ranges that touch", MAIN ALL "\x05\x02"
                                            "b" FROM_B PUT_C END),
        FORGE("a key at the beginning of its range", MAIN "\x02\x02"
                                                          "c" PUT_C END),
        FORGE("no tree but the main one", MAIN ALL PUT_C END NAMES NAMES_END),
        FORGE("trees", MAIN ALL END NAMES TREE_T ALL PUT_C END TREE_U ALL END NAMES_END),
        FORGE("a codec", "\x01\x00\x00\x01\x00\x00" ALL PUT_C END),
        FORGE("values that are compressed", "\x01\x00\x00\x01\x64\x00" ALL PUT_C END),
        FORGE("a sequence", "\x01\x00\x00\x01\x64\x07" ALL PUT_C END),
        FORGE("a pair", MAIN ALL END NAMES "\x01\x01"
                                           "t\x02\x00\x00\x00" ALL "\x03\x03"
                                           "a\x00"
                                           "b\x00" END NAMES_END),
    };
    for (size_t i = 0; i < KVI_COUNT(sound); i++) {
        int applied = apply(&sound[i]), one = merge_apply(&sound[i], 1);
        int two = merge_apply(&sound[i], 2);
        if (applied != KV_OK || one != KV_OK || two != KV_OK)
            fail_msg("%s: %d, merged %d and %d", sound[i].what, applied, one, two);
    }
}

/* A key, and the name of a tree, that the copy's pages have no room for. */
static void test_key_too_long(void **state)
{
    static const forgery heads[] = {FORGE("key", MAIN ALL "\x03\xe8\x07"),
                                    FORGE("name", MAIN ALL END NAMES "\x01\xe8\x07")};
    static const forgery tails[] = {FORGE("key", "\x00" END),
                                    FORGE("name", "\x00\x00\x00\x00" ALL END NAMES_END)};
    for (size_t i = 0; i < KVI_COUNT(heads); i++) {
        char bytes[1200];
        size_t len = heads[i].len;
        memcpy(bytes, heads[i].bytes, len);
        memset(bytes + len, 'k', 1000);
        len += 1000;
        memcpy(bytes + len, tails[i].bytes, tails[i].len);
        len += tails[i].len;
        assert_int_equal(apply(&(forgery){"long", bytes, len}), KV_ETOOBIG);
    }
}

static void test_headers(void **state)
{
    static const struct {
        uint64_t from, to;
        uint32_t page_size;
    } wrong[] = {
        {5, 4, 4096}, {0, 0, 4096}, {0, KVI_ID_MAX + 1, 4096}, {0, 1000, 0}, {0, 1000, 4095},
    };
    for (size_t i = 0; i < KVI_COUNT(wrong); i++) {
        parcel p = {0};
        kvi_stream_header header = header_like();
        header.from = wrong[i].from;
        header.to = wrong[i].to;
        header.page_size = wrong[i].page_size;
        pack(&p, &header, MAIN ALL END, sizeof(MAIN ALL END) - 1);
        assert_int_equal(parcel_unpack(&p, copy, 0, NULL), KV_EBACKUP);
        parcel_free(&p);
    }
}

/* Of another database: for a copy, and for one that has nothing but a named tree. */
static void test_another(void **state)
{
    parcel p = {0};
    kv_db *third = must_open(disk, "third");
    kvi_stream_header header = header_like();
    header.file_id[0] ^= 1;
    pack(&p, &header, MAIN ALL END, sizeof(MAIN ALL END) - 1);
    assert_int_equal(parcel_unpack(&p, copy, 0, NULL), KV_MISMATCH);
    kv_txn *txn = must_begin(third, KV_TXN_WRITE);
    must_tree(txn, "named");
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    p.read = 0;
    assert_int_equal(parcel_unpack(&p, third, 0, NULL), KV_MISMATCH);
    assert_int_equal(kv_db_close(third), KV_OK);
    parcel_free(&p);
}

/* A callback that says that it has read more than it was asked for. */
static int64_t read_too_much(void *context, void *bytes, size_t len)
{
    return (int64_t)len + 1;
}

static void test_reader_lies(void **state)
{
    kv_apply_options options = {.size = sizeof options, .read = read_too_much};
    assert_int_equal(kv_backup_apply(copy, &options, NULL), KV_ECANCELED);
}

static unsigned reads_left;

static int64_t read_for_a_while(void *context, void *bytes, size_t len)
{
    return reads_left-- > 0 ? parcel_read(context, bytes, len) : -1;
}

/* A callback that gives up at any of its calls: nothing is applied. */
static void test_reader_gives_up(void **state)
{
    parcel p = {0};
    int rc = KV_ECANCELED;
    pack_forgery(&p, &(forgery)FORGE("sound", MAIN ALL PUT_C END));
    p.piece = 10;
    uint64_t id = must_stat(copy).commit_id;
    kv_apply_options options = {.size = sizeof options, .read = read_for_a_while, .context = &p};
    for (unsigned reads = 0; rc == KV_ECANCELED; reads++) {
        assert_int_equal(must_stat(copy).commit_id, id);
        p.read = 0;
        reads_left = reads;
        rc = kv_backup_apply(copy, &options, NULL);
    }
    assert_int_equal(rc, KV_OK);
    assert_true(must_stat(copy).commit_id > id);
    parcel_free(&p);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, open_both, close_both)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(forgeries), TEST(unusual),     TEST(key_too_long),    TEST(headers),
        TEST(another),   TEST(reader_lies), TEST(reader_gives_up),
    };
    return cmocka_run_group_tests_name("forged backups", tests, NULL, NULL);
}
