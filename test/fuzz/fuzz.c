/* fuzz.c - see fuzz.h. */
#include "fuzz.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

uint64_t fuzz_awkward(fuzz_in *in)
{
    static const uint64_t numbers[] = {
        0,      1,      2,          3,          4,       63,      64,      65,       0x7f,
        0x80,   0xff,   0x100,      511,        512,     959,     960,     961,      1983,
        1984,   1985,   4031,       4032,       4095,    4096,    4097,    0x7fff,   0x8000,
        0xffff, 0x1000, 0xffffffff, 0x80000000, 1 << 20, 1 << 21, 1 << 24, 1u << 31, UINT64_MAX,
    };
    uint64_t how = fuzz_take(in, 1);
    if (how < KVI_COUNT(numbers))
        return numbers[how];
    if (how < 64)
        return ((uint64_t)1 << how) - (how & 1);
    if (how < 192)
        return how - 64; /* also a page number */
    return fuzz_take(in, 1 + how % 8);
}

const char *fuzz_input;

_Noreturn void fuzz_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "%s%s\n", fuzz_input ? ": " : "", fuzz_input ? fuzz_input : "");
    abort();
}
