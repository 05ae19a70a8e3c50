/* The checksum of bytes in one piece, which the processor's widest registers make, against that of
 * the same bytes piece by piece, which they do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "hash.h"
#include "rng.h"

static void test_one_piece_or_many(void **state)
{
    static uint8_t bytes[70000];
    static kvi_hash_run run;
    kvi_hash hash;
    rng r;
    rng_seed(&r, 1);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)rng_below(&r, 256);
    for (size_t len = 0; len < sizeof bytes; len += len < 1100 ? 1 : 4088 - 1) {
        size_t skew = rng_below(&r, 64), done = 0;
        skew = KVI_MIN(skew, sizeof bytes - len);
        kvi_hash_init(&hash, rng_below(&r, UINT32_MAX));
        kvi_hash_begin(&run, &hash);
        while (done < len) {
            size_t part = 1 + rng_below(&r, 3000);
            part = KVI_MIN(part, len - done);
            kvi_hash_add(&run, bytes + skew + done, part);
            done += part;
        }
        assert_true(kvi_hash_bytes(&hash, bytes + skew, len) == kvi_hash_end(&run));
    }
}

/* The same on every processor, for good: files have it in them. */
static void test_known(void **state)
{
    static uint8_t bytes[4096];
    kvi_hash hash;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7);
    kvi_hash_init(&hash, 42);
    assert_true(kvi_hash_bytes(&hash, bytes + 8, 4088) == 0x00357f9678b185d9ull);
    assert_true(kvi_hash_meta(bytes + 8, 4088) == 0x51635739f5503d9aull);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_piece_or_many),
        cmocka_unit_test(test_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
