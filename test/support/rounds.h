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

/* From one case of a row to the next. */
#ifdef SANITIZED
#define ROUNDS_STEP 4
#else
#define ROUNDS_STEP 1
#endif

/* Of n random rounds, which are many. */
static inline unsigned rounds_of(unsigned n)
{
    return n / ROUNDS_STEP;
}

#endif
