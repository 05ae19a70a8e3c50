/* fuzz.h - what the fuzz targets share: an input that is taken apart byte by byte, and giving up.
 *
 * A target is a function of an input. entry.c makes one of them a libFuzzer program, main.c one that
 * runs files or works under AFL++, test_replay.c runs the files of all of them as an ordinary test.
 * The same input always does the same. */
#ifndef FUZZ_H
#define FUZZ_H

#include "base.h"

/* Each ends the program when it finds a bug; the result is 0. */
int fuzz_backup(const uint8_t *data, size_t len);
int fuzz_file(const uint8_t *data, size_t len);
int fuzz_node(const uint8_t *data, size_t len);
int fuzz_import(const uint8_t *data, size_t len);
int fuzz_ops(const uint8_t *data, size_t len);
int fuzz_side(const uint8_t *data, size_t len);
int fuzz_tuple(const uint8_t *data, size_t len);

typedef struct fuzz_in {
    const uint8_t *at, *end;
} fuzz_in;

static inline bool fuzz_more(const fuzz_in *in)
{
    return in->at < in->end;
}

/* A little-endian number; zeros stand behind the end of the input. */
static inline uint64_t fuzz_take(fuzz_in *in, unsigned bytes)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < bytes && in->at < in->end; i++)
        number |= (uint64_t)*in->at++ << 8 * i;
    return number;
}

/* Below limit, which is not 0. */
static inline uint64_t fuzz_below(fuzz_in *in, uint64_t limit)
{
    return fuzz_take(in, limit > 256 ? 2 : 1) % limit;
}

/* Up to max bytes of the input, in place. */
static inline kvi_slice fuzz_bytes(fuzz_in *in, size_t max)
{
    size_t len = KVI_MIN(max, (size_t)(in->end - in->at));
    kvi_slice slice = {in->at, len};
    in->at += len;
    return slice;
}

/* A number that a wrong bound is likely to meet, or any. */
uint64_t fuzz_awkward(fuzz_in *in);

/* The name of the input that runs, if it has one: fuzz_fail says it. */
extern const char *fuzz_input;

/* Says what is wrong and aborts. */
_Noreturn void fuzz_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define FUZZ_MUST(condition)                                                                       \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fuzz_fail("%s:%d: %s", __FILE__, __LINE__, #condition);                                \
    } while (0)

#endif
