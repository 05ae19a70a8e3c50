/* descent_avx2.c - see descent.h: with registers of 256 bits. */
#ifdef __x86_64__
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2"))), apply_to = function)
#else
#pragma GCC target("avx2,bmi,bmi2")
#endif

#define KVI_LANES_AVX 256
#define KVI_DESCENT   kvi_descent_avx2
#define KVI_WORKS()                                                                                \
    (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&                            \
     __builtin_cpu_supports("bmi2"))
#include "descent_impl.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
