/* Numbers, parts of values and ends of ranges: their forms, their limits, what errors leave alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "number.h"
#include "sim_os.h"
#include <float.h>
#include <math.h>
#include <locale.h>
#include <stdio.h>

static sim_disk *disk;
static kv_db *db;
static kv_txn *txn;
static kv_tree *tree;

static int setup(void **state)
{
    disk = sim_new(1);
    disk->recording = SIM_RECORD_NOTHING;
    return 0;
}

static int teardown(void **state)
{
    sim_free(disk);
    return 0;
}

static int open_fresh(void **state)
{
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = 4096};
    sim_reset(disk);
    int rc = kvi_db_open(sim_os(disk), "db", &options, &db, NULL, 0);
    if (rc == KV_OK)
        rc = kv_txn_begin(db, KV_TXN_WRITE, &txn);
    tree = rc == KV_OK ? kv_txn_main(txn) : NULL;
    return rc;
}

static int close_all(void **state)
{
    if (kv_txn_commit(txn) != KV_OK)
        return -1;
    return kv_db_check(db, NULL) == KV_OK ? kv_db_close(db) : -1;
}

static void put(const char *key, const char *value)
{
    assert_int_equal(kv_put(tree, key, strlen(key), value, strlen(value), 0), KV_OK);
}

static void expect_bytes(const char *key, const void *value, size_t len)
{
    kv_slice found;
    assert_int_equal(kv_get(tree, key, strlen(key), &found), KV_OK);
    assert_int_equal(found.len, len);
    assert_memory_equal(found.ptr, value, len);
}

static void expect(const char *key, const char *value)
{
    expect_bytes(key, value, strlen(value));
}

/* ---- forms ---- */

static bool reads_int(const char *text, int64_t *number)
{
    return kvi_int_read(kvi_slice_of(text, strlen(text)), true, number);
}

static void test_integers_as_text(void **state)
{
    static const char *const good[] = {
        "0", "7", "-1", "10", "-9223372036854775808", "9223372036854775807", "99", "-42"};
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      "-0",
                                      "00",
                                      "01",
                                      "-01",
                                      " 1",
                                      "1 ",
                                      "1\n",
                                      "1x",
                                      "0x1",
                                      "1.0",
                                      "1e3",
                                      "--1",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999"};
    uint8_t out[KVI_NUMBER_MAX];
    int64_t number;
    for (size_t i = 0; i < KVI_COUNT(good); i++) {
        assert_true(reads_int(good[i], &number));
        assert_int_equal(kvi_int_write(number, true, out), strlen(good[i]));
        assert_memory_equal(out, good[i], strlen(good[i]));
    }
    assert_true(reads_int("-9223372036854775808", &number));
    assert_true(number == INT64_MIN);
    for (size_t i = 0; i < KVI_COUNT(bad); i++)
        if (reads_int(bad[i], &number))
            fail_msg("\"%s\" was read as %lld", bad[i], (long long)number);
    assert_false(kvi_int_read(kvi_slice_of("1\0", 2), true, &number));
}

static void test_integers_in_binary(void **state)
{
    static const uint8_t minus_two[] = {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint8_t out[KVI_NUMBER_MAX];
    int64_t number;
    assert_int_equal(kvi_int_write(-2, false, out), 8);
    assert_memory_equal(out, minus_two, 8);
    assert_true(kvi_int_read(kvi_slice_of(minus_two, 8), false, &number));
    assert_int_equal(number, -2);
    assert_false(kvi_int_read(kvi_slice_of(minus_two, 7), false, &number));
    assert_false(kvi_int_read(kvi_slice_of(NULL, 0), false, &number));
}

static bool reads_double(const char *text, double *number)
{
    return kvi_double_read(kvi_slice_of(text, strlen(text)), true, number);
}

/* The shortest text, which reads as the same number. */
static void double_text(double number, const char *text)
{
    uint8_t out[KVI_NUMBER_MAX];
    double again;
    size_t len = kvi_double_write(number, true, out);
    assert_int_equal(len, strlen(text));
    assert_memory_equal(out, text, len);
    assert_true(reads_double(text, &again) && again == number);
}

static void doubles_as_text(void)
{
    static const char *const bad[] = {"",    "-",   ".5",  "5.",  "+1", "01",    "1e",    "1e+",
                                      "inf", "nan", "1,5", "0x1", " 1", "1e999", "1.5.5", "-inf"};
    double number;
    double_text(0, "0");
    double_text(0.1, "0.1");
    double_text(-2.5, "-2.5");
    double_text(1.0 / 3, "0.3333333333333333");
    double_text(1e100, "1e+100");
    double_text(DBL_MAX, "1.7976931348623157e+308");
    double_text(5e-324, "5e-324");
    double_text(9007199254740993.0, "9007199254740992");
    assert_true(reads_double("1e5", &number) && number == 100000);
    assert_true(reads_double("12.50e-1", &number) && number == 1.25);
    for (size_t i = 0; i < KVI_COUNT(bad); i++)
        if (reads_double(bad[i], &number))
            fail_msg("\"%s\" was read as %g", bad[i], number);
    char long_one[KVI_NUMBER_MAX + 2] = "0.";
    memset(long_one + 2, '1', KVI_NUMBER_MAX - 2);
    assert_true(reads_double(long_one, &number));
    long_one[KVI_NUMBER_MAX] = '1';
    assert_false(reads_double(long_one, &number));
}

static void test_doubles_as_text(void **state)
{
    doubles_as_text();
}

/* A program that speaks German writes the same file. Systems without such a locale say nothing. */
static void test_doubles_in_a_locale(void **state)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"};
    bool set = false;
    for (size_t i = 0; i < KVI_COUNT(names) && !set; i++)
        set = setlocale(LC_NUMERIC, names[i]) != NULL;
    doubles_as_text();
    setlocale(LC_NUMERIC, "C");
    if (!set)
        skip();
}

static void test_doubles_in_binary(void **state)
{
    static const uint8_t half[] = {0, 0, 0, 0, 0, 0, 0xe0, 0x3f};
    static const uint8_t infinite[] = {0, 0, 0, 0, 0, 0, 0xf0, 0x7f};
    static const uint8_t nan[] = {0, 0, 0, 0, 0, 0, 0xf8, 0x7f};
    uint8_t out[KVI_NUMBER_MAX];
    double number;
    assert_int_equal(kvi_double_write(0.5, false, out), 8);
    assert_memory_equal(out, half, 8);
    assert_true(kvi_double_read(kvi_slice_of(half, 8), false, &number) && number == 0.5);
    assert_false(kvi_double_read(kvi_slice_of(infinite, 8), false, &number));
    assert_false(kvi_double_read(kvi_slice_of(nan, 8), false, &number));
    assert_false(kvi_double_read(kvi_slice_of(half, 4), false, &number));
}

/* ---- counting ---- */

static int64_t sum;

static int incr(const char *key, int64_t delta, int64_t initial, uint32_t flags)
{
    return kv_incr(tree, key, strlen(key), delta, initial, flags, &sum);
}

static void test_incr(void **state)
{
    assert_int_equal(incr("n", 5, 100, KV_NUMBER_TEXT), KV_OK);
    assert_int_equal(sum, 105);
    expect("n", "105");
    assert_int_equal(incr("n", -205, 7, KV_NUMBER_TEXT), KV_OK);
    assert_int_equal(sum, -100);
    expect("n", "-100");
    assert_int_equal(incr("n", 0, 7, KV_NUMBER_TEXT), KV_OK);
    assert_int_equal(sum, -100);
    assert_int_equal(incr("b", 258, 0, 0), KV_OK);
    expect_bytes("b", "\2\1\0\0\0\0\0\0", 8);
    assert_int_equal(incr("b", 1, 0, KV_PUT_PRESENT), KV_OK);
    assert_int_equal(sum, 259);
    assert_int_equal(incr("none", 1, 0, KV_PUT_PRESENT), KV_NOTFOUND);
    assert_int_equal(kv_exists(tree, "none", 4), KV_NOTFOUND);
    assert_int_equal(kv_incr(tree, "b", 1, 1, 0, 0, NULL), KV_OK);
    expect_bytes("b", "\4\1\0\0\0\0\0\0", 8);
}

/* An error changes nothing, the output included. */
static void test_incr_refuses(void **state)
{
    put("max", "9223372036854775807");
    put("min", "-9223372036854775808");
    put("word", "forty");
    put("eight", "12345678"); /* a number in either form */
    sum = 77;
    assert_int_equal(incr("max", 1, 0, KV_NUMBER_TEXT), KV_EOVERFLOW);
    assert_int_equal(incr("min", -1, 0, KV_NUMBER_TEXT), KV_EOVERFLOW);
    assert_int_equal(incr("new", INT64_MAX, 1, KV_NUMBER_TEXT), KV_EOVERFLOW);
    assert_int_equal(incr("word", 1, 0, KV_NUMBER_TEXT), KV_ENOTNUMBER);
    assert_int_equal(incr("word", 1, 0, 0), KV_ENOTNUMBER);
    assert_int_equal(incr("max", 1, 0, 0), KV_ENOTNUMBER); /* 19 bytes */
    assert_int_equal(incr("max", 1, 0, 2 * KV_NUMBER_TEXT), KV_EINVAL);
    assert_int_equal(incr("max", 1, 0, KV_PUT_ABSENT), KV_EINVAL);
    assert_int_equal(kv_incr(NULL, "k", 1, 1, 0, 0, NULL), KV_EINVAL);
    assert_int_equal(sum, 77);
    expect("max", "9223372036854775807");
    expect("min", "-9223372036854775808");
    expect("word", "forty");
    assert_int_equal(kv_exists(tree, "new", 3), KV_NOTFOUND);
    assert_int_equal(incr("max", INT64_MIN, 0, KV_NUMBER_TEXT), KV_OK);
    assert_int_equal(sum, -1);
    assert_int_equal(incr("eight", 1, 0, KV_NUMBER_TEXT), KV_OK);
    expect("eight", "12345679");
}

static void test_incr_double(void **state)
{
    double result = 7;
    const double infinite = (double)INFINITY;
    assert_int_equal(kv_incr_double(tree, "d", 1, 0.2, 0.1, KV_NUMBER_TEXT, &result), KV_OK);
    assert_true(result == 0.1 + 0.2);
    expect("d", "0.30000000000000004");
    assert_int_equal(kv_incr_double(tree, "b", 1, 0.25, 0.25, 0, &result), KV_OK);
    expect_bytes("b", "\0\0\0\0\0\0\xe0\x3f", 8);
    put("huge", "1.7e+308");
    assert_int_equal(kv_incr_double(tree, "huge", 4, 1e308, 0, KV_NUMBER_TEXT, &result),
                     KV_EOVERFLOW);
    expect("huge", "1.7e+308");
    put("word", "x");
    assert_int_equal(kv_incr_double(tree, "word", 4, 1, 0, KV_NUMBER_TEXT, NULL), KV_ENOTNUMBER);
    assert_int_equal(kv_incr_double(tree, "d", 1, infinite, 0, KV_NUMBER_TEXT, NULL), KV_EINVAL);
    assert_int_equal(kv_incr_double(tree, "x", 1, 0, infinite - infinite, 0, NULL), KV_EINVAL);
    assert_int_equal(kv_incr_double(tree, "x", 1, 0, 0, KV_PUT_PRESENT, NULL), KV_NOTFOUND);
    assert_int_equal(kv_exists(tree, "x", 1), KV_NOTFOUND);
    assert_true(result == 0.5);
    assert_int_equal(kv_incr_double(tree, "x", 1, 0, 2.5, KV_NUMBER_TEXT, &result), KV_OK);
    assert_true(result == 2.5);
    expect("x", "2.5"); /* no change of what was not there, but it is there now */
}

static void test_min_and_max(void **state)
{
    assert_int_equal(kv_put_min(tree, "lo", 2, 5, KV_NUMBER_TEXT, &sum), KV_OK);
    assert_int_equal(kv_put_max(tree, "hi", 2, 5, KV_NUMBER_TEXT, &sum), KV_OK);
    assert_int_equal(kv_put_min(tree, "lo", 2, 9, KV_NUMBER_TEXT, &sum), KV_OK);
    assert_int_equal(sum, 5);
    assert_int_equal(kv_put_max(tree, "hi", 2, -9, KV_NUMBER_TEXT, &sum), KV_OK);
    assert_int_equal(sum, 5);
    assert_int_equal(kv_put_min(tree, "lo", 2, -3, KV_NUMBER_TEXT, &sum), KV_OK);
    assert_int_equal(kv_put_max(tree, "hi", 2, 30, KV_NUMBER_TEXT, NULL), KV_OK);
    expect("lo", "-3");
    expect("hi", "30");
    assert_int_equal(kv_put_min(tree, "none", 4, 1, KV_PUT_PRESENT, NULL), KV_NOTFOUND);
    assert_int_equal(kv_put_max(tree, "hi", 2, 1, 0, NULL), KV_ENOTNUMBER);
    assert_int_equal(kv_put_max(tree, "hi", 2, 1, 1, NULL), KV_EINVAL);
    assert_int_equal(kv_put_min(tree, NULL, 2, 1, 0, NULL), KV_EINVAL);
}

/* ---- parts of values ---- */

static void test_append(void **state)
{
    uint64_t length = 77;
    assert_int_equal(kv_append(tree, "k", 1, NULL, 0, 0, &length), KV_OK);
    assert_int_equal(length, 0);
    expect("k", "");
    assert_int_equal(kv_append(tree, "k", 1, "abc", 3, 3, &length), KV_OK);
    assert_int_equal(length, 3);
    length = 77;
    assert_int_equal(kv_append(tree, "k", 1, "d", 1, 3, &length), KV_ETOOBIG);
    assert_int_equal(kv_append(tree, "new", 3, "long", 4, 3, &length), KV_ETOOBIG);
    assert_int_equal(length, 77);
    expect("k", "abc");
    assert_int_equal(kv_exists(tree, "new", 3), KV_NOTFOUND);
    assert_int_equal(kv_append(tree, "k", 1, "", 0, 3, &length), KV_OK);
    assert_int_equal(length, 3);
    assert_int_equal(kv_append(tree, "k", 1, "de", 2, 0, NULL), KV_OK);
    expect("k", "abcde");
    assert_int_equal(kv_append(tree, "k", 1, NULL, 1, 0, NULL), KV_EINVAL);
    assert_int_equal(kv_append(NULL, "k", 1, "x", 1, 0, NULL), KV_EINVAL);
}

/* Byte by byte from inside a leaf to a run of pages of its own, and to itself. */
static void test_append_grows(void **state)
{
    static char text[6000];
    kv_slice all;
    uint64_t length = 0;
    for (size_t i = 0; i < sizeof text; i += 50) {
        memset(text + i, (int)('a' + i / 50 % 26), 50);
        assert_int_equal(kv_append(tree, "k", 1, text + i, 50, 0, &length), KV_OK);
        assert_int_equal(length, i + 50);
    }
    expect_bytes("k", text, sizeof text);
    assert_int_equal(kv_get(tree, "k", 1, &all), KV_OK);
    assert_int_equal(kv_append(tree, "k", 1, all.ptr, all.len, 0, &length), KV_OK);
    assert_int_equal(length, 2 * sizeof text);
    assert_int_equal(kv_get(tree, "k", 1, &all), KV_OK);
    assert_memory_equal((const char *)all.ptr + sizeof text, text, sizeof text);
}

static void test_bits(void **state)
{
    assert_int_equal(kv_bits(tree, "k", 1, KV_BITS_OR, "\x0f\x01", 2), KV_OK); /* absent: zeros */
    expect_bytes("k", "\x0f\x01", 2);
    assert_int_equal(kv_bits(tree, "k", 1, KV_BITS_OR, "\x30", 1), KV_OK);
    expect_bytes("k", "\x3f\x01", 2);
    assert_int_equal(kv_bits(tree, "k", 1, KV_BITS_XOR, "\x01\x01\xff", 3), KV_OK);
    expect_bytes("k", "\x3e\x00\xff", 3);
    assert_int_equal(kv_bits(tree, "k", 1, KV_BITS_AND, "\xf2\xff", 2), KV_OK);
    expect_bytes("k", "\x32\x00\x00", 3);
    assert_int_equal(kv_bits(tree, "new", 3, KV_BITS_AND, "\xff", 1), KV_OK);
    expect_bytes("new", "\0", 1);
    assert_int_equal(kv_bits(tree, "k", 1, (enum kv_bits)0, "", 0), KV_EINVAL);
    assert_int_equal(kv_bits(tree, "k", 1, (enum kv_bits)4, "", 0), KV_EINVAL);
    assert_int_equal(kv_bits(tree, "k", 1, KV_BITS_OR, NULL, 1), KV_EINVAL);
}

/* ---- ends of ranges ---- */

static void pops(const kv_range *range, bool last, const char *key)
{
    kv_pair entry = {{NULL, 0}, {NULL, 0}};
    int rc = last ? kv_pop_last(tree, range, &entry) : kv_pop_first(tree, range, &entry);
    assert_int_equal(rc, key ? KV_OK : KV_NOTFOUND);
    if (!key)
        return;
    assert_int_equal(entry.key.len, strlen(key));
    assert_memory_equal(entry.key.ptr, key, strlen(key));
    assert_int_equal(entry.value.len, strlen(key) + 1); /* put_all */
    assert_memory_equal(entry.value.ptr, "v", 1);
    assert_memory_equal((const char *)entry.value.ptr + 1, key, strlen(key));
    assert_int_equal(kv_exists(tree, entry.key.ptr, entry.key.len), KV_NOTFOUND);
}

static void put_all(const char *const *keys, size_t n)
{
    char value[32];
    for (size_t i = 0; i < n; i++) {
        snprintf(value, sizeof value, "v%s", keys[i]);
        put(keys[i], value);
    }
}

static void test_pop(void **state)
{
    static const char *const keys[] = {"a", "b", "ba", "bb", "c", "d"};
    kv_range prefix = {.size = sizeof prefix, .prefix = "b", .prefix_len = 1};
    kv_range closed = {.size = sizeof closed,
                       .from = "b",
                       .from_len = 1,
                       .to = "c",
                       .to_len = 1,
                       .flags = KV_RANGE_FROM_OPEN | KV_RANGE_TO_CLOSED};
    kv_range reverse = {.size = sizeof reverse, .flags = KV_RANGE_REVERSE, .limit = 1};
    pops(NULL, false, NULL);
    pops(&prefix, true, NULL);
    put_all(keys, KVI_COUNT(keys));
    pops(&closed, true, "c");
    pops(&closed, false, "ba");
    pops(&prefix, false, "b");
    pops(&prefix, true, "bb");
    pops(&prefix, true, NULL);
    pops(&prefix, false, NULL);
    pops(&closed, false, NULL);
    put("b", "vb");
    pops(&reverse, false, "d");
    pops(&reverse, true, "a");
    pops(NULL, true, "b");
    pops(NULL, false, NULL);
}

static void test_pop_refuses(void **state)
{
    kv_range wrong = {.size = 1};
    kv_pair entry;
    put("k", "v");
    assert_int_equal(kv_pop_first(NULL, NULL, &entry), KV_EINVAL);
    assert_int_equal(kv_pop_first(tree, NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_pop_last(tree, &wrong, &entry), KV_EINVAL);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_READ, &txn), KV_OK);
    tree = kv_txn_main(txn);
    assert_int_equal(kv_pop_first(tree, NULL, &entry), KV_EREADONLY);
    expect("k", "v");
}

/* A queue of thousands over many pages, from both ends, its entries put elsewhere as they come. */
static void test_pop_to_the_end(void **state)
{
    enum { N = 4000 };
    char key[16];
    kv_tree *other;
    kv_pair entry;
    uint64_t count;
    assert_int_equal(kv_tree_open(txn, "other", 5, KV_TREE_CREATE, NULL, &other), KV_OK);
    for (unsigned i = 0; i < N; i++) {
        snprintf(key, sizeof key, "%06u", i);
        put(key, key);
    }
    for (unsigned i = 0; i < N; i++) {
        int rc = i % 3 ? kv_pop_first(tree, NULL, &entry) : kv_pop_last(tree, NULL, &entry);
        assert_int_equal(rc, KV_OK);
        snprintf(key, sizeof key, "%06u", i % 3 ? i - i / 3 - 1 : N - 1 - i / 3);
        assert_memory_equal(entry.key.ptr, key, 6);
        rc = kv_put(other, entry.key.ptr, 6, entry.value.ptr, entry.value.len, KV_PUT_ABSENT);
        assert_int_equal(rc, KV_OK);
    }
    assert_int_equal(kv_pop_last(tree, NULL, &entry), KV_NOTFOUND);
    assert_int_equal(kv_count(other, NULL, &count), KV_OK);
    assert_int_equal(count, N);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, open_fresh, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers_as_text),
        cmocka_unit_test(test_integers_in_binary),
        cmocka_unit_test(test_doubles_as_text),
        cmocka_unit_test(test_doubles_in_a_locale),
        cmocka_unit_test(test_doubles_in_binary),
        CASE(test_incr),
        CASE(test_incr_refuses),
        CASE(test_incr_double),
        CASE(test_min_and_max),
        CASE(test_append),
        CASE(test_append_grows),
        CASE(test_bits),
        CASE(test_pop),
        CASE(test_pop_refuses),
        CASE(test_pop_to_the_end),
    };
    return cmocka_run_group_tests_name("edit", tests, setup, teardown);
}
