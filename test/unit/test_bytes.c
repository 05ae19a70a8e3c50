/* Tests of src/bytes.h and src/base.h. */
#include "bytes.h"
#include "rng.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void stores_are_little_endian(void **state)
{
    static const uint8_t expected[] = {0xff, 1, 0, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc};
    uint8_t buf[9];
    memset(buf, 0xff, sizeof buf);
    kvi_put16(buf + 1, 0x0001);
    kvi_put48(buf + 3, 0xbc9a78563412);
    assert_memory_equal(buf, expected, sizeof buf);
    kvi_put32(buf + 1, 0x04030201);
    assert_memory_equal(buf + 1, "\x01\x02\x03\x04", 4);
    kvi_put64(buf + 1, 0x0807060504030201);
    assert_memory_equal(buf + 1, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
    kvi_put32be(buf + 1, 0x01020304);
    assert_memory_equal(buf, "\xff\x01\x02\x03\x04\x05", 6);
}

static void loads_invert_stores_at_any_alignment(void **state)
{
    rng random;
    rng_seed(&random, 1);
    uint8_t buf[16];
    for (int i = 0; i < 1000; i++) {
        uint8_t *p = buf + i % 8;
        uint64_t v = rng_next(&random);
        kvi_put64(p, v);
        assert_int_equal(kvi_get64(p), v);
        assert_int_equal(kvi_get48(p), v & 0xffffffffffff);
        assert_int_equal(kvi_get32(p), v & 0xffffffff);
        assert_int_equal(kvi_get16(p), v & 0xffff);
        assert_int_equal(kvi_get64be(p), __builtin_bswap64(v));
        assert_int_equal(kvi_get32be(p), __builtin_bswap32((uint32_t)v));
        kvi_put48(p, v >> 16);
        assert_int_equal(kvi_get48(p), v >> 16);
        assert_int_equal(p[6], v >> 48 & 0xff);
        kvi_put32be(p, (uint32_t)v);
        assert_int_equal(kvi_get32be(p), (uint32_t)v);
    }
}

static void big_endian_loads_order_like_memcmp(void **state)
{
    rng random;
    rng_seed(&random, 2);
    for (int i = 0; i < 1000; i++) {
        uint8_t a[8], b[8];
        rng_fill(&random, a, 8);
        memcpy(b, a, 8);
        b[rng_below(&random, 8)] = (uint8_t)rng_next(&random);
        int order = memcmp(a, b, 8);
        uint64_t x = kvi_get64be(a), y = kvi_get64be(b);
        assert_int_equal((x > y) - (x < y), (order > 0) - (order < 0));
    }
}

static void varint_round_trip(uint64_t v)
{
    uint8_t buf[KVI_VARINT_MAX + 1];
    uint64_t got = ~v;
    memset(buf, 0xee, sizeof buf);
    uint8_t *end = kvi_varint_put(buf, v);
    assert_int_equal(end - buf, kvi_varint_size(v));
    assert_int_equal(*end, 0xee);
    assert_ptr_equal(kvi_varint_get(buf, buf + sizeof buf, &got), end);
    assert_int_equal(got, v);
    for (const uint8_t *cut = buf; cut < end; cut++)
        assert_null(kvi_varint_get(buf, cut, &got));
}

static void varints_round_trip_and_notice_a_cut(void **state)
{
    for (unsigned bits = 0; bits < 64; bits++) {
        uint64_t power = 1ull << bits;
        varint_round_trip(power - 1);
        varint_round_trip(power);
        varint_round_trip(power + 1);
    }
    varint_round_trip(UINT64_MAX);
    assert_int_equal(kvi_varint_size(0), 1);
    assert_int_equal(kvi_varint_size(127), 1);
    assert_int_equal(kvi_varint_size(128), 2);
    assert_int_equal(kvi_varint_size(UINT64_MAX), KVI_VARINT_MAX);
}

static bool varint_refused(const char *bytes, size_t len)
{
    uint8_t buf[16];
    uint64_t v = 77;
    memcpy(buf, bytes, len);
    return !kvi_varint_get(buf, buf + len, &v) && v == 77;
}

static void varints_have_one_spelling(void **state)
{
    assert_true(varint_refused("", 0));
    assert_true(varint_refused("\x80\x00", 2));
    assert_true(varint_refused("\xff\x00", 2));
    assert_true(varint_refused("\x80\x80\x80\x00", 4));
    assert_false(varint_refused("\x00", 1));
    assert_false(varint_refused("\x80\x01", 2));
}

static void varints_beyond_64_bits_are_refused(void **state)
{
    assert_false(varint_refused("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10));
    assert_true(varint_refused("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10));
    assert_true(varint_refused("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x01", 11));
    assert_true(varint_refused("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11));
}

static int compare_texts(const char *a, const char *b)
{
    return kvi_slice_compare(kvi_slice_of(a, strlen(a)), kvi_slice_of(b, strlen(b)));
}

static void slices_order_by_unsigned_bytes(void **state)
{
    assert_true(compare_texts("a", "b") < 0);
    assert_true(compare_texts("b", "a") > 0);
    assert_int_equal(compare_texts("ab", "ab"), 0);
    assert_true(compare_texts("ab", "abc") < 0);
    assert_true(compare_texts("abc", "ab") > 0);
    assert_true(compare_texts("", "a") < 0);
    assert_true(compare_texts("\x7f", "\x80") < 0);
    assert_true(compare_texts("b", "ab") > 0);
    assert_int_equal(kvi_slice_compare(kvi_slice_of(NULL, 0), kvi_slice_of("x", 0)), 0);
    assert_true(kvi_slice_compare(kvi_slice_of("\0", 1), kvi_slice_of("\0\0", 2)) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stores_are_little_endian),
        cmocka_unit_test(loads_invert_stores_at_any_alignment),
        cmocka_unit_test(big_endian_loads_order_like_memcmp),
        cmocka_unit_test(varints_round_trip_and_notice_a_cut),
        cmocka_unit_test(varints_have_one_spelling),
        cmocka_unit_test(varints_beyond_64_bits_are_refused),
        cmocka_unit_test(slices_order_by_unsigned_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
