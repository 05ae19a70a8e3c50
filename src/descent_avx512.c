/* descent_avx512.c - see descent.h: with registers of 256 bits, and masks: longer registers
 * would slow some processors down. */
#ifdef __x86_64__
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512bw,bmi,bmi2"))),        \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx512bw,bmi,bmi2")
#endif

#define KVI_LANES_AVX 512
#define KVI_DESCENT   kvi_descent_avx512
#define KVI_WORKS()                                                                                \
    (__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&                   \
     __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2"))
#include "descent_impl.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
