/* rounds.h - how often a test goes round: less where a sanitizer makes each round slow. */
#ifndef ROUNDS_H
#define ROUNDS_H

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define SANITIZED 1
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifdef SANITIZED
#define ROUNDS_SLOWER 4
#else
#define ROUNDS_SLOWER 1
#endif

/* From one case of a row to the next. */
#define ROUNDS_STEP ROUNDS_SLOWER

/* Of n random rounds, which are many. */
static inline unsigned rounds_of(unsigned n)
{
    return n / ROUNDS_SLOWER;
}

#endif
