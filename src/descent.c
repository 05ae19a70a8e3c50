/* descent.c - see descent.h. */
#include "descent_impl.h"

#ifdef __x86_64__
extern const kvi_descent kvi_descent_avx2, kvi_descent_avx512;
#endif

const kvi_descent *const kvi_descents[] = {
#ifdef __x86_64__
    &kvi_descent_avx512,
    &kvi_descent_avx2,
#endif
    &kvi_descent_base,
    NULL,
};

_Atomic(const kvi_descent *) kvi_descent_chosen = &kvi_descent_base;

void kvi_descent_choose(void)
{
    const kvi_descent *const *best = kvi_descents;
    while (!(*best)->works())
        best++;
    atomic_store_explicit(&kvi_descent_chosen, *best, memory_order_relaxed);
}
