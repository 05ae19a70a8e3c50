/* Tests of tuples as keys: the order of encodings is the order of tuples, whatever they are made of;
 * nothing that is read is believed; the text form comes back as the same key. */
#include "kv.h"
#include "rng.h"
#include "rounds.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <math.h>

#define PARTS_MAX 64
#define KEY_MAX   4096

/* A tuple as the list of parts that encodes it, nested ones with their ends. */
typedef struct tuple {
    kv_part parts[PARTS_MAX];
    size_t n;
    uint8_t room[2048]; /* its texts */
    size_t used;
} tuple;

typedef struct key {
    uint8_t bytes[KEY_MAX];
    size_t len;
} key;

/* ---- random tuples ---- */

static const int64_t edges[] = {0,   1,    -1,   2,    -2,    127,       128,       255,
                                256, -255, -256, -257, 65535, INT64_MAX, INT64_MIN, INT64_MIN + 1};
static const double reals[] = {0.0,  -0.0,   1.0,      -1.0,      0.5, 1e300, -1e300,
                               1e-9, 5e-324, INFINITY, -INFINITY, NAN, 1.5,   -1.5};

static kv_slice random_bytes(tuple *t, rng *r)
{
    static const uint8_t alphabet[] = {0, 1, 2, 'a', 0xfe, 0xff};
    size_t len = rng_below(r, 5);
    uint8_t *bytes = t->room + t->used;
    for (size_t i = 0; i < len; i++)
        bytes[i] = alphabet[rng_below(r, sizeof alphabet)];
    t->used += len;
    return (kv_slice){bytes, len};
}

/* The direction of a part is a matter of its place, so that tuples can be compared. */
static uint32_t desc_at(uint64_t plan, unsigned depth, unsigned ordinal)
{
    uint64_t state = plan + depth * 100 + ordinal;
    return plan && rng_splitmix(&state) & 1 ? KV_PART_DESC : 0;
}

static void random_tuple(tuple *t, rng *r, uint64_t plan, unsigned depth);

static void random_part(tuple *t, rng *r, uint64_t plan, unsigned depth, unsigned ordinal)
{
    kv_part *part = &t->parts[t->n++];
    *part = (kv_part){.type = (uint32_t)rng_between(r, KV_PART_NULL, KV_PART_TUPLE),
                      .flags = desc_at(plan, depth, ordinal)};
    if (part->type == KV_PART_TUPLE && (depth == 3 || t->n > PARTS_MAX / 2))
        part->type = KV_PART_NULL;
    part->number = rng_one_in(r, 3) ? rng_next(r) >> rng_below(r, 64)
                                    : (uint64_t)edges[rng_below(r, sizeof edges / 8)];
    if (part->type == KV_PART_BOOL)
        part->number &= 1;
    part->integer = (int64_t)part->number;
    part->real = rng_one_in(r, 2) ? reals[rng_below(r, sizeof reals / 8)]
                                  : (double)part->integer / (1 << rng_below(r, 20));
    if (part->type == KV_PART_BYTES || part->type == KV_PART_TEXT)
        part->bytes = random_bytes(t, r);
    if (part->type != KV_PART_TUPLE)
        return;
    random_tuple(t, r, plan, depth + 1);
    t->parts[t->n++] = (kv_part){.type = KV_PART_END};
}

static void random_tuple(tuple *t, rng *r, uint64_t plan, unsigned depth)
{
    unsigned n = (unsigned)rng_below(r, 4);
    for (unsigned i = 0; i < n; i++)
        random_part(t, r, plan, depth, i);
}

/* ---- the order of tuples, by their values ---- */

static int sign(double order)
{
    return (order > 0) - (order < 0);
}

static int compare_real(double a, double b)
{
    if (isnan(a) || isnan(b))
        return isnan(a) - isnan(b);
    return (a > b) - (a < b);
}

static __int128 whole(const kv_part *part)
{
    return part->type == KV_PART_UINT ? (__int128)part->number : (__int128)part->integer;
}

static int compare_bytes(const void *a, size_t a_len, const void *b, size_t b_len)
{
    size_t len = a_len < b_len ? a_len : b_len;
    int order = len ? memcmp(a, b, len) : 0;
    return order ? sign(order) : (a_len > b_len) - (a_len < b_len);
}

static uint32_t rank_of_type(const kv_part *part)
{
    return part->type == KV_PART_UINT ? KV_PART_INT : part->type;
}

static int compare_tuples(const tuple *a, size_t *i, const tuple *b, size_t *k);

/* Goes over both parts when they are equal. */
static int compare_parts(const tuple *a, size_t *i, const tuple *b, size_t *k)
{
    const kv_part *x = &a->parts[(*i)++], *y = &b->parts[(*k)++];
    int order = (rank_of_type(x) > rank_of_type(y)) - (rank_of_type(x) < rank_of_type(y));
    if (order == 0) {
        if (x->type == KV_PART_BOOL)
            order = (x->number > y->number) - (x->number < y->number);
        else if (rank_of_type(x) == KV_PART_INT)
            order = (whole(x) > whole(y)) - (whole(x) < whole(y));
        else if (x->type == KV_PART_DOUBLE)
            order = compare_real(x->real, y->real);
        else if (x->type == KV_PART_BYTES || x->type == KV_PART_TEXT)
            order = compare_bytes(x->bytes.ptr, x->bytes.len, y->bytes.ptr, y->bytes.len);
        else if (x->type == KV_PART_TUPLE)
            order = compare_tuples(a, i, b, k);
    }
    return x->flags & KV_PART_DESC ? -order : order;
}

static bool at_end(const tuple *t, size_t i)
{
    return i == t->n || t->parts[i].type == KV_PART_END;
}

/* Goes behind the ends of both when they are equal. */
static int compare_tuples(const tuple *a, size_t *i, const tuple *b, size_t *k)
{
    while (!at_end(a, *i) && !at_end(b, *k)) {
        int order = compare_parts(a, i, b, k);
        if (order)
            return order;
    }
    int order = at_end(b, *k) - at_end(a, *i);
    *i += *i < a->n;
    *k += *k < b->n;
    return order;
}

/* Does b begin with all parts of a? */
static bool tuple_begins(const tuple *a, const tuple *b)
{
    size_t i = 0, k = 0;
    while (i < a->n)
        if (k == b->n || compare_parts(a, &i, b, &k) != 0)
            return false;
    return true;
}

/* ---- help ---- */

static void encode(const tuple *t, key *to)
{
    assert_int_equal(kv_tuple_encode(t->parts, t->n, to->bytes, sizeof to->bytes, &to->len), KV_OK);
}

static bool key_begins(const key *a, const key *b)
{
    return a->len <= b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

/* Reads a key from memory of its very size; *t is what it has. Gives the last result. */
static int decode(const uint8_t *bytes, size_t len, tuple *t)
{
    kv_tuple_reader reader;
    uint8_t *exact = malloc(len + !len);
    int rc;
    memcpy(exact, bytes, len);
    *t = (tuple){.n = 0};
    assert_int_equal(kv_tuple_begin(&reader, exact, len, t->room, sizeof t->room), KV_OK);
    do
        rc = t->n == PARTS_MAX ? KV_ETOOBIG : kv_tuple_next(&reader, &t->parts[t->n++]);
    while (rc == KV_OK);
    t->n -= t->n > 0;
    free(exact);
    return rc;
}

/* Another tuple, in most cases one that begins like a. */
static void mutate(const tuple *a, tuple *b, rng *r, uint64_t plan)
{
    size_t ends[PARTS_MAX + 1] = {0}, n = 1, depth = 0; /* of the parts on the outermost level */
    *b = (tuple){.n = 0};
    if (rng_one_in(r, 5)) {
        random_tuple(b, r, plan, 0);
        return;
    }
    for (size_t i = 0; i < a->n; i++) {
        depth += a->parts[i].type == KV_PART_TUPLE;
        depth -= a->parts[i].type == KV_PART_END;
        if (depth == 0)
            ends[n++] = i + 1;
    }
    unsigned kept = (unsigned)rng_below(r, n);
    b->n = ends[kept];
    memcpy(b->parts, a->parts, b->n * sizeof b->parts[0]);
    if (!rng_one_in(r, 3) && b->n < PARTS_MAX / 2)
        random_part(b, r, plan, 0, kept);
}

/* ---- tests ---- */

static void order_of_keys_is_order_of_tuples(void **state)
{
    rng r;
    static tuple a, b;
    static key x, y;
    unsigned smaller = 0, greater = 0, equal = 0, prefixes = 0;
    rng_seed(&r, rng_choose_seed(7));
    for (unsigned round = 0; round < rounds_of(60000); round++) {
        uint64_t plan = round % 3 ? rng_next(&r) | 1 : 0;
        a = (tuple){.n = 0};
        random_tuple(&a, &r, plan, 0);
        mutate(&a, &b, &r, plan);
        encode(&a, &x);
        encode(&b, &y);
        size_t i = 0, k = 0;
        int expected = compare_tuples(&a, &i, &b, &k);
        assert_int_equal(compare_bytes(x.bytes, x.len, y.bytes, y.len), expected);
        assert_int_equal(key_begins(&x, &y), tuple_begins(&a, &b));
        assert_int_equal(key_begins(&y, &x), tuple_begins(&b, &a));
        smaller += expected < 0;
        greater += expected > 0;
        equal += expected == 0;
        prefixes += expected != 0 && (key_begins(&x, &y) || key_begins(&y, &x));
    }
    assert_true(smaller > 5000 && greater > 5000 && equal > 1000 && prefixes > 1000);
}

static void parts_come_back(void **state)
{
    rng r;
    static tuple a, b;
    static key x, y;
    rng_seed(&r, rng_choose_seed(8));
    for (unsigned round = 0; round < rounds_of(20000); round++) {
        a = (tuple){.n = 0};
        random_tuple(&a, &r, rng_next(&r) | 1, 0);
        encode(&a, &x);
        assert_int_equal(decode(x.bytes, x.len, &b), KV_NOTFOUND);
        assert_int_equal(b.n, a.n);
        size_t i = 0, k = 0;
        assert_int_equal(compare_tuples(&a, &i, &b, &k), 0);
        for (i = 0; i < a.n; i++)
            assert_int_equal(b.parts[i].flags, a.parts[i].flags);
        encode(&b, &y);
        assert_int_equal(compare_bytes(x.bytes, x.len, y.bytes, y.len), 0);
    }
}

/* What is read is a tuple of that very encoding, or refused; cut anywhere, it is shorter or refused. */
static void hostile_bytes_are_read_safely(void **state)
{
    rng r;
    static tuple a, b;
    static key x, y;
    unsigned sound = 0, refused = 0;
    rng_seed(&r, rng_choose_seed(9));
    for (unsigned round = 0; round < rounds_of(100000); round++) {
        a = (tuple){.n = 0};
        random_tuple(&a, &r, round & 1 ? rng_next(&r) | 1 : 0, 0);
        encode(&a, &x);
        for (unsigned n = (unsigned)rng_below(&r, 3); n > 0 && x.len > 0; n--)
            x.bytes[rng_below(&r, x.len)] =
                (uint8_t)(rng_one_in(&r, 2) ? rng_next(&r) : rng_below(&r, 3));
        x.len = rng_one_in(&r, 3) ? rng_below(&r, x.len + 1) : x.len;
        int rc = decode(x.bytes, x.len, &b);
        refused += rc == KV_EINVAL;
        if (rc != KV_NOTFOUND) {
            assert_int_equal(rc, KV_EINVAL);
            continue;
        }
        sound++;
        encode(&b, &y);
        assert_int_equal(compare_bytes(x.bytes, x.len, y.bytes, y.len), 0);
    }
    assert_true(sound > rounds_of(10000) && refused > rounds_of(10000));
}

static void text_comes_back(void **state)
{
    rng r;
    static tuple a;
    static key x, y;
    static char text[KEY_MAX * 4];
    size_t len, wrong = 0;
    rng_seed(&r, rng_choose_seed(10));
    for (unsigned round = 0; round < rounds_of(20000); round++) {
        a = (tuple){.n = 0};
        random_tuple(&a, &r, rng_next(&r) | 1, 0);
        encode(&a, &x);
        assert_int_equal(kv_tuple_print(x.bytes, x.len, text, sizeof text, &len), KV_OK);
        assert_int_equal(strlen(text), len);
        assert_int_equal(kv_tuple_parse(text, len, y.bytes, sizeof y.bytes, &y.len, &wrong), KV_OK);
        assert_int_equal(compare_bytes(x.bytes, x.len, y.bytes, y.len), 0);
        assert_int_equal(kv_tuple_print(x.bytes, x.len, text, len, &len), KV_ETOOBIG);
        assert_int_equal(strlen(text),
                         len); /* of the earlier call: nothing was written behind size */
    }
}

static void short_buffers_are_left_alone(void **state)
{
    rng r;
    static tuple a;
    static key x;
    rng_seed(&r, 11);
    for (unsigned round = 0; round < 300; round++) {
        a = (tuple){.n = 0};
        random_tuple(&a, &r, 1, 0);
        encode(&a, &x);
        for (size_t size = 0; size < x.len; size++) {
            uint8_t *exact = malloc(size + 1);
            size_t len = 0;
            exact[size] = 0xa5;
            assert_int_equal(kv_tuple_encode(a.parts, a.n, exact, size, &len), KV_ETOOBIG);
            assert_int_equal(len, x.len);
            assert_int_equal(exact[size], 0xa5);
            assert_memory_equal(exact, x.bytes, size);
            free(exact);
        }
    }
}

/* The bytes of docs/keys.md, and the text that means them. */
static void bytes_are_as_documented(void **state)
{
    static const struct {
        const char *text, *bytes;
        size_t len;
    } known[] = {
        {"()", "", 0},
        {"(null)", "\x08", 1},
        {"(false, true)", "\x10\x11", 2},
        {"(0)", "\x20", 1},
        {"(1)", "\x21\x01", 2},
        {"(-1)", "\x1f\xfe", 2},
        {"(255)", "\x21\xff", 2},
        {"(256)", "\x22\x01\x00", 3},
        {"(-256)", "\x1e\xfe\xff", 3},
        {"(1001)", "\x22\x03\xe9", 3},
        {"(18446744073709551615)", "\x28\xff\xff\xff\xff\xff\xff\xff\xff", 9},
        {"(-9223372036854775808)", "\x18\x7f\xff\xff\xff\xff\xff\xff\xff", 9},
        {"(1.0)", "\x30\xbf\xf0\x00\x00\x00\x00\x00\x00", 9},
        {"(-1.0)", "\x30\x40\x0f\xff\xff\xff\xff\xff\xff", 9},
        {"(0.0)", "\x30\x80\x00\x00\x00\x00\x00\x00\x00", 9},
        {"(inf)", "\x30\xff\xf0\x00\x00\x00\x00\x00\x00", 9},
        {"(nan)", "\x30\xff\xf8\x00\x00\x00\x00\x00\x00", 9},
        {"(x\"\")", "\x38\x00", 2},
        {"(x\"000102ff\")", "\x38\x01\x01\x01\x02\x02\xff\x00", 8},
        {"(\"abc\")",
         "\x39"
         "abc\x00",
         5},
        {"(\"order\", \"2024-01-15\", 1001)",
         "\x39order\x00\x39"
         "2024-01-15\x00\x22\x03\xe9",
         22},
        {"((), (1, \"a\"))",
         "\x40\x00\x40\x21\x01\x39"
         "a\x00\x00",
         9},
        {"(desc null)", "\xf7", 1},
        {"(desc 1)", "\xde\xfe", 2},
        {"(desc \"a\\x00\")", "\xc6\x9e\xfe\xfe\xff", 5},
        {"(desc (1, desc 2))", "\xbf\xde\xfe\x21\x02\xff", 6},
    };
    char text[256];
    uint8_t bytes[64];
    size_t len;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        assert_int_equal(
            kv_tuple_parse(known[i].text, strlen(known[i].text), bytes, sizeof bytes, &len, NULL),
            KV_OK);
        assert_int_equal(len, known[i].len);
        assert_memory_equal(bytes, known[i].bytes, len);
        assert_int_equal(kv_tuple_print(bytes, len, text, sizeof text, &len), KV_OK);
        assert_string_equal(text, known[i].text);
    }
}

/* Other spellings, and mistakes with their place. */
static void text_is_parsed_strictly(void **state)
{
    static const struct {
        const char *text, *means;
    } spellings[] = {
        {" ( 1 ,2 )\n", "(1, 2)"},
        {"(-0)", "(0)"},
        {"(-0.0)", "(0.0)"},
        {"(1e3)", "(1000.0)"},
        {"(2.50)", "(2.5)"},
        {"(0.1)", "(0.1)"},
        {"(1e+22, 1e300)", "(1e+22, 1e+300)"},
        {"(\"\\t\\n\\r\\\\\\\"\\x07\xc3\xa9\")", "(\"\\t\\n\\r\\\\\\\"\\x07\xc3\xa9\")"},
        {"(x\"AbCd\")", "(x\"abcd\")"},
        {"(\"\x1f\x7f \")", "(\"\\x1f\\x7f \")"},
        {"(desc(desc\"a\"))", "(desc (desc \"a\"))"},
    };
    static const struct {
        const char *text;
        size_t wrong;
    } mistakes[] = {
        {"", 0},
        {"1", 0},
        {"(", 1},
        {"(1", 2},
        {"(1,)", 3},
        {"(,)", 1},
        {"(1 2)", 3},
        {"(1))", 3},
        {"(\"a)", 4},
        {"(\"\\q\")", 2},
        {"(x\"0\")", 3},
        {"(nul)", 1},
        {"(1.)x", 4},
        {"(1e999)", 1},
        {"(18446744073709551616)", 1},
        {"(99999999999999999999)", 1},
        {"(-9223372036854775809)", 1},
        {"(0x10)", 1},
        {"(--1)", 1},
        {"(\"a\"..., 1)", 7},
        {"(desc)", 5},
        {"(descnull)", 1},
        {"(desc1)", 1},
        {"(1.2.3)", 1},
        {"(+1)", 1},
        {"(.5)", 1},
        {"(1..)", 1},
    };
    uint8_t bytes[64];
    char text[128];
    size_t len, wrong;
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
        assert_int_equal(kv_tuple_parse(spellings[i].text, strlen(spellings[i].text), bytes,
                                        sizeof bytes, &len, &wrong),
                         KV_OK);
        assert_int_equal(kv_tuple_print(bytes, len, text, sizeof text, &len), KV_OK);
        assert_string_equal(text, spellings[i].means);
    }
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        size_t n = strlen(mistakes[i].text);
        char *exact = malloc(n + !n);
        memcpy(exact, mistakes[i].text, n);
        assert_int_equal(kv_tuple_parse(exact, n, bytes, sizeof bytes, &len, &wrong), KV_EINVAL);
        if (wrong != mistakes[i].wrong)
            fail_msg("%s: wrong at %zu", mistakes[i].text, wrong);
        free(exact);
    }
}

/* Texts that end too early, or have what belongs elsewhere; one has a zero byte. */
static void text_is_refused(void **state)
{
    static const kv_slice mistakes[] = {
        {"(\"\\", 3},      {"(\"\\x", 4},  {"(\"\\x4", 5}, {"(\"\\xg0\")", 8}, {"(\"\\x0g\")", 8},
        {"(\"\\\0\")", 6}, {"(x\"", 3},    {"(x\"0", 4},   {"(x\"g0\")", 7},   {"(x\"0g\")", 7},
        {"(-)", 3},        {"(1-2)", 5},   {"(1e)", 4},    {"(1.5x)", 6},      {"(0x1.8)", 7},
        {"(1.5X)", 6},     {"(nullx)", 7}, {"(nullX)", 7}, {"(null0)", 7},     {"(null9)", 7},
        {"(true", 5},      {"(desc", 5},   {"(desc (", 7}, {"(1,", 3},         {"(@)", 3},
        {"([)", 3},        {"(`)", 3},     {"({)", 3},     {"(/)", 3},         {"(:)", 3},
        {"(1.-)", 5},      {"(-.5)", 5},   {"(99x)", 5},   {"(9/)", 4},        {"(e)", 3},
        {"(--1.5)", 7},
    };
    uint8_t bytes[64];
    size_t len;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++)
        if (kv_tuple_parse(mistakes[i].ptr, mistakes[i].len, bytes, sizeof bytes, &len, NULL) !=
            KV_EINVAL)
            fail_msg("%s", (const char *)mistakes[i].ptr);
    char text[500]; /* no number is so long, nor a tuple so deep */
    memset(text, '(', sizeof text);
    assert_int_equal(kv_tuple_parse(text, sizeof text, bytes, sizeof bytes, &len, NULL), KV_EINVAL);
    for (size_t n = 2; n < sizeof text; n++) {
        memcpy(text, "(0.", 3);
        memset(text + 3, '1', sizeof text - 3);
        text[n] = ')';
        int rc = kv_tuple_parse(text, n + 1, bytes, sizeof bytes, &len, NULL);
        assert_int_equal(rc, n > 399 ? KV_EINVAL : KV_OK);
    }
    assert_int_equal(kv_tuple_parse("(\t1E2)", 6, bytes, sizeof bytes, &len, NULL), KV_OK);
}

static void arguments_are_checked(void **state)
{
    uint8_t bytes[8] = {0};
    char text[8];
    size_t len;
    kv_part part = {.type = KV_PART_NULL};
    kv_tuple_reader reader;
    assert_int_equal(kv_tuple_encode(NULL, 1, bytes, sizeof bytes, &len), KV_EINVAL);
    assert_int_equal(kv_tuple_encode(&part, 1, NULL, 1, &len), KV_EINVAL);
    assert_int_equal(kv_tuple_encode(&part, 1, bytes, sizeof bytes, NULL), KV_EINVAL);
    assert_int_equal(kv_tuple_encode(NULL, 0, NULL, 0, &len), KV_OK);
    assert_int_equal(kv_tuple_begin(NULL, bytes, 1, NULL, 0), KV_EINVAL);
    assert_int_equal(kv_tuple_begin(&reader, NULL, 1, NULL, 0), KV_EINVAL);
    assert_int_equal(kv_tuple_begin(&reader, bytes, 1, NULL, 1), KV_EINVAL);
    assert_int_equal(kv_tuple_begin(&reader, NULL, 0, NULL, 0), KV_OK);
    assert_int_equal(kv_tuple_next(NULL, &part), KV_EINVAL);
    assert_int_equal(kv_tuple_next(&reader, NULL), KV_EINVAL);
    assert_int_equal(kv_tuple_next(&reader, &part), KV_NOTFOUND);
    assert_int_equal(kv_tuple_print(NULL, 1, text, sizeof text, &len), KV_EINVAL);
    assert_int_equal(kv_tuple_print(bytes, 0, NULL, 1, &len), KV_EINVAL);
    assert_int_equal(kv_tuple_print(bytes, 0, text, sizeof text, NULL), KV_EINVAL);
    assert_int_equal(kv_tuple_print(NULL, 0, text, sizeof text, &len), KV_OK);
    assert_string_equal(text, "()");
    assert_int_equal(kv_tuple_parse(NULL, 1, bytes, sizeof bytes, &len, NULL), KV_EINVAL);
    assert_int_equal(kv_tuple_parse("()", 2, NULL, 1, &len, NULL), KV_EINVAL);
    assert_int_equal(kv_tuple_parse("()", 2, bytes, sizeof bytes, NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_tuple_parse(NULL, 0, bytes, sizeof bytes, &len, NULL), KV_EINVAL);
    assert_int_equal(kv_tuple_parse("()", 2, NULL, 0, &len, NULL), KV_OK);
}

/* An open end is the beginning of what begins so, and of nothing else. */
static void open_ends_are_prefixes(void **state)
{
    static const struct {
        const char *open, *text;
        bool begins;
    } cases[] = {
        {"(\"al\"...)", "(\"alice\", 1)", true},
        {"(\"al\"...)", "(\"al\")", true},
        {"(\"al\"...)", "(\"a\")", false},
        {"(\"al\"...)", "(\"bob\")", false},
        {"(\"\"...)", "(\"x\")", true},
        {"(\"\"...)", "(x\"00\")", false},
        {"(1, x\"00\"...)", "(1, x\"0001\")", true},
        {"(1, x\"00\"...)", "(1, x\"01\")", false},
        {"(desc \"a\"...)", "(desc \"ab\")", true},
        {"((1, \"a\"...))", "((1, \"ab\", 2), 3)", true},
    };
    uint8_t open[64], bytes[64];
    size_t open_len, len;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(kv_tuple_parse(cases[i].open, strlen(cases[i].open), open, sizeof open,
                                        &open_len, NULL),
                         KV_OK);
        assert_int_equal(
            kv_tuple_parse(cases[i].text, strlen(cases[i].text), bytes, sizeof bytes, &len, NULL),
            KV_OK);
        assert_int_equal(open_len <= len && memcmp(open, bytes, open_len) == 0, cases[i].begins);
    }
    const kv_part parts[] = {{.type = KV_PART_TEXT, .flags = KV_PART_OPEN, .bytes = {"al", 2}},
                             {.type = KV_PART_NULL}};
    assert_int_equal(kv_tuple_encode(parts, 1, bytes, sizeof bytes, &len), KV_OK);
    assert_int_equal(len, 3);
    assert_memory_equal(bytes,
                        "\x39"
                        "al",
                        3);
    assert_int_equal(kv_tuple_encode(parts, 2, bytes, sizeof bytes, &len), KV_EINVAL);
    const kv_part inner[] = {{.type = KV_PART_TUPLE}, parts[0]}; /* open with it */
    assert_int_equal(kv_tuple_encode(inner, 2, bytes, sizeof bytes, &len), KV_OK);
    assert_int_equal(len, 4);
}

/* Doubles have one encoding each: none is that of -0.0, or of another nan than ours. */
static void other_doubles_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        int rc;
    } cases[] = {
        {"\x30\x80\x00\x00\x00\x00\x00\x00\x00", KV_OK},
        {"\x30\x7f\xff\xff\xff\xff\xff\xff\xff", KV_EINVAL},
        {"\x30\xff\xf8\x00\x00\x00\x00\x00\x00", KV_OK},
        {"\x30\xff\xf8\x00\x00\x00\x00\x00\x01", KV_EINVAL},
        {"\x30\xff\xf0\x00\x00\x00\x00\x00\x01", KV_EINVAL},
        {"\x30\x00\x07\xff\xff\xff\xff\xff\xff", KV_EINVAL},
        {"\x30\x00\x0f\xff\xff\xff\xff\xff\xff", KV_OK},
    };
    kv_tuple_reader reader;
    kv_part part;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(kv_tuple_begin(&reader, cases[i].bytes, 9, NULL, 0), KV_OK);
        if (kv_tuple_next(&reader, &part) != cases[i].rc)
            fail_msg("case %zu", i);
    }
}

static void wrong_parts_are_refused(void **state)
{
    kv_part deep[KV_TUPLE_DEPTH_MAX + 1];
    uint8_t buf[256], hostile[64];
    size_t len = 77;
    kv_tuple_reader reader;
    kv_part part;
    const kv_part wrong[] = {
        {.type = 0},
        {.type = KV_PART_END + 1},
        {.type = KV_PART_END},
        {.type = KV_PART_TUPLE},
        {.type = KV_PART_NULL, .flags = KV_PART_OPEN},
        {.type = KV_PART_TEXT, .flags = 4},
        {.type = KV_PART_TEXT, .bytes = {NULL, 1}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(kv_tuple_encode(&wrong[i], 1, buf, sizeof buf, &len), KV_EINVAL);
    for (unsigned i = 0; i <= KV_TUPLE_DEPTH_MAX; i++)
        deep[i] = (kv_part){.type = KV_PART_TUPLE};
    assert_int_equal(kv_tuple_encode(deep, KV_TUPLE_DEPTH_MAX + 1, buf, sizeof buf, &len),
                     KV_EINVAL);
    assert_int_equal(kv_tuple_encode(NULL, 1, buf, sizeof buf, &len), KV_EINVAL);
    assert_int_equal(kv_tuple_encode(NULL, 0, NULL, 1, &len), KV_EINVAL);
    assert_int_equal(kv_tuple_encode(NULL, 0, NULL, 0, NULL), KV_EINVAL);
    assert_int_equal(len, 77);
    assert_int_equal(kv_tuple_encode(NULL, 0, NULL, 0, &len), KV_OK);
    assert_int_equal(len, 0);
    memset(hostile, 0x40, sizeof hostile);
    assert_int_equal(kv_tuple_begin(&reader, hostile, sizeof hostile, NULL, 0), KV_OK);
    for (unsigned i = 0; i < KV_TUPLE_DEPTH_MAX; i++)
        assert_int_equal(kv_tuple_next(&reader, &part), KV_OK);
    assert_int_equal(kv_tuple_next(&reader, &part), KV_EINVAL);
    assert_int_equal(kv_tuple_begin(NULL, "", 0, NULL, 0), KV_EINVAL);
    assert_int_equal(kv_tuple_begin(&reader, NULL, 0, NULL, 0), KV_OK);
    assert_int_equal(kv_tuple_next(&reader, &part), KV_NOTFOUND);
    assert_int_equal(kv_tuple_next(&reader, NULL), KV_EINVAL);
    /* an empty text needs no room */
    assert_int_equal(kv_tuple_begin(&reader, "\x39\x00", 2, NULL, 0), KV_OK);
    assert_int_equal(kv_tuple_next(&reader, &part), KV_OK);
    assert_null(part.bytes.ptr);
    assert_int_equal(part.bytes.len, 0);
    const kv_part empty = {.type = KV_PART_TEXT};
    assert_int_equal(kv_tuple_encode(&empty, 1, buf, sizeof buf, &len), KV_OK);
    assert_int_equal(len, 2);
    /* without room the text waits, and nothing before it is lost */
    assert_int_equal(kv_tuple_begin(&reader,
                                    "\x20\x39"
                                    "ab\x00",
                                    5, buf, 1),
                     KV_OK);
    assert_int_equal(kv_tuple_next(&reader, &part), KV_OK);
    assert_int_equal(kv_tuple_next(&reader, &part), KV_ETOOBIG);
    assert_int_equal(kv_tuple_next(&reader, &part), KV_ETOOBIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_of_keys_is_order_of_tuples),
        cmocka_unit_test(parts_come_back),
        cmocka_unit_test(hostile_bytes_are_read_safely),
        cmocka_unit_test(text_comes_back),
        cmocka_unit_test(short_buffers_are_left_alone),
        cmocka_unit_test(bytes_are_as_documented),
        cmocka_unit_test(text_is_parsed_strictly),
        cmocka_unit_test(text_is_refused),
        cmocka_unit_test(arguments_are_checked),
        cmocka_unit_test(open_ends_are_prefixes),
        cmocka_unit_test(other_doubles_are_refused),
        cmocka_unit_test(wrong_parts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
