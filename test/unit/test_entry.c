/* The stored form of special entries: what kv writes is taken apart, all else is refused, and no byte
 * outside is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "entry.h"
#include "node.h"
#include <stdlib.h>

#define L KVI_ENTRY_LARGE
#define C KVI_ENTRY_COMPRESSED
#define E KVI_ENTRY_EXPIRY

/* An entry of these bytes: its flags, then what follows, of which all that is not said is `fill`. */
typedef struct sample {
    uint8_t flags;
    uint8_t fill;
    size_t len; /* with the flags */
    bool sound;
    uint64_t expiry;
} sample;

#define ONES 0x0101010101010101u

static const sample samples[] = {
    {0, 1, 0, false, 0}, /* nothing at all */
    {0, 1, 1, true, 0},
    {0, 1, 20, true, 0},
    {8, 1, 20, false, 0}, /* a flag that nothing has */
    {0x80 | E, 1, 20, false, ONES},
    {C, 1, 1, false, 0},
    {C, 1, 9, false, 0},
    {C, 1, 10, true, 0},
    {E, 1, 8, false, 0},
    {E, 1, 9, true, ONES},
    {E, 0, 9, false, 0}, /* a time that says never */
    {C | E, 1, 9, false, 0},
    {C | E, 1, 10, false, ONES},
    {C | E, 1, 17, false, ONES},
    {C | E, 1, 18, true, ONES},
    {L, 1, KVI_LARGE_REF_SIZE, false, 0},
    {L, 1, KVI_LARGE_REF_SIZE + 1, true, 0},
    {L, 0, KVI_LARGE_REF_SIZE + 1, false, 0}, /* of no bytes */
    {L, 1, KVI_LARGE_REF_SIZE + 2, false, 0},
    {L | E, 1, KVI_LARGE_REF_SIZE + 9, true, ONES},
    {L | C | E, 1, KVI_LARGE_REF_SIZE + 10, true, ONES},
    {L | C | E, 1, KVI_LARGE_REF_SIZE + 9, false, ONES},
};

static void test_special(void **state)
{
    static uint8_t page[4096];
    for (size_t i = 0; i < KVI_COUNT(samples); i++) {
        const sample *s = &samples[i];
        kvi_entry entry;
        uint8_t *bytes = malloc(s->len + !s->len); /* of its own, to be watched by ASan */
        memset(bytes, s->fill, s->len + !s->len);
        if (s->len)
            bytes[0] = s->flags;
        kvi_stored stored = {kvi_slice_of(bytes, s->len), true};
        if (kvi_entry_parse(stored, &entry) != s->sound)
            fail_msg("sample %zu is taken for %s", i, s->sound ? "broken" : "sound");
        assert_true(kvi_stored_expiry(stored) == s->expiry);
        assert_true(!s->sound || (entry.flags == s->flags && entry.expiry == s->expiry));
        stored.special = false;
        assert_true(kvi_entry_parse(stored, &entry));
        assert_int_equal(entry.raw_len, s->len);
        assert_int_equal(kvi_stored_expiry(stored), 0);
        kvi_leaf_open(page, sizeof page, &(kvi_item){.value = stored.bytes, .special = true}, 0);
        assert_true(kvi_leaf_least_expiry(page, sizeof page) == s->expiry);
        assert_int_equal(kvi_leaf_expired(page, sizeof page, 0, 1, ONES), s->expiry != 0);
        free(bytes);
    }
}

/* Stored as it is, a large value has as many bytes as it takes. */
static void test_large(void **state)
{
    uint8_t bytes[1 + 1 + KVI_LARGE_REF_SIZE] = {L, KVI_CODEC_LZ4};
    kvi_large large = {{9, 2}, 1, 100, 200, 0};
    kvi_entry entry;
    kvi_large_put(bytes + 1, &large);
    kvi_stored stored = {kvi_slice_of(bytes, 1 + KVI_LARGE_REF_SIZE), true};
    assert_false(kvi_entry_parse(stored, &entry));
    bytes[0] |= C;
    bytes[1] = KVI_CODEC_LZ4;
    kvi_large_put(bytes + 2, &large);
    stored.bytes.len++;
    assert_true(kvi_entry_parse(stored, &entry));
    assert_int_equal(entry.raw_len, 200);
    assert_int_equal(entry.large.ptr.page, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_special),
        cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests_name("entry", tests, NULL, NULL);
}
