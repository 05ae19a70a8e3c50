/* tuple.c - target `tuple`: any bytes as a key that should be a tuple, and as the text of one. What is
 * read means these very bytes; what is printed is parsed to the same key; order is kept.
 *
 *   byte 0     a key (0), or a text
 *   then       its bytes
 */
#include "fuzz.h"
#include "kv.h"
#include <stdlib.h>

#define PARTS_MAX 512

/* The parts of a key, from memory of its very size. False: it is no tuple. */
static bool read_parts(kvi_slice key, kv_part *parts, size_t *n, uint8_t *room)
{
    kv_tuple_reader reader;
    int rc;
    *n = 0;
    FUZZ_MUST(kv_tuple_begin(&reader, key.ptr, key.len, room, key.len) == KV_OK);
    while ((rc = kv_tuple_next(&reader, &parts[*n])) == KV_OK)
        FUZZ_MUST(++*n < PARTS_MAX);
    FUZZ_MUST(rc == KV_NOTFOUND || rc == KV_EINVAL);
    return rc == KV_NOTFOUND;
}

/* As text, and back. */
static void print_and_parse(kvi_slice key)
{
    size_t len, back_len, size;
    int rc = kv_tuple_print(key.ptr, key.len, NULL, 0, &size);
    FUZZ_MUST(rc == KV_ETOOBIG);
    char *text = malloc(size + 1);
    uint8_t *back = malloc(key.len + 1);
    FUZZ_MUST(text && back);
    FUZZ_MUST(kv_tuple_print(key.ptr, key.len, text, size + 1, &len) == KV_OK && len == size);
    FUZZ_MUST(kv_tuple_parse(text, len, back, key.len, &back_len, NULL) == KV_OK);
    FUZZ_MUST(kvi_slice_compare(key, kvi_slice_of(back, back_len)) == 0);
    free(back);
    free(text);
}

static void try_key(kvi_slice key)
{
    static kv_part parts[PARTS_MAX];
    uint8_t *room = malloc(key.len + 1), *back = malloc(key.len + 1);
    size_t n, len;
    FUZZ_MUST(room && back);
    bool sound = read_parts(key, parts, &n, room);
    FUZZ_MUST(sound == (kv_tuple_print(key.ptr, key.len, NULL, 0, &len) != KV_EINVAL));
    if (sound) {
        FUZZ_MUST(kv_tuple_encode(parts, n, back, key.len, &len) == KV_OK);
        FUZZ_MUST(kvi_slice_compare(key, kvi_slice_of(back, len)) == 0);
        print_and_parse(key);
    }
    free(back);
    free(room);
}

static void try_text(kvi_slice text)
{
    uint8_t key[8 * PARTS_MAX];
    size_t len, wrong = 0;
    int rc = kv_tuple_parse((const char *)text.ptr, text.len, key, sizeof key, &len, &wrong);
    FUZZ_MUST(rc == KV_OK || rc == KV_EINVAL || rc == KV_ETOOBIG);
    FUZZ_MUST(rc != KV_EINVAL || wrong <= text.len);
    if (rc == KV_OK)
        try_key(kvi_slice_of(key, len));
}

int fuzz_tuple(const uint8_t *data, size_t len)
{
    fuzz_in in = {data, data + len};
    bool text = fuzz_take(&in, 1) & 1;
    kvi_slice bytes = fuzz_bytes(&in, PARTS_MAX - 1);
    if (text)
        try_text(bytes);
    else
        try_key(bytes);
    return 0;
}
