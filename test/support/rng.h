/* rng.h - repeatable random numbers for tests: xoshiro256**, seeded through splitmix64. */
#ifndef RNG_H
#define RNG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct rng {
    uint64_t s[4];
} rng;

static inline uint64_t rng_splitmix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static inline void rng_seed(rng *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        r->s[i] = rng_splitmix(&seed);
}

static inline uint64_t rng_rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static inline uint64_t rng_next(rng *r)
{
    uint64_t result = rng_rotate(r->s[1] * 5, 7) * 9;
    uint64_t t = r->s[1] << 17;
    r->s[2] ^= r->s[0];
    r->s[3] ^= r->s[1];
    r->s[1] ^= r->s[2];
    r->s[0] ^= r->s[3];
    r->s[2] ^= t;
    r->s[3] = rng_rotate(r->s[3], 45);
    return result;
}

/* Below limit, which is not 0. The bias is far too small for a test to see. */
static inline uint64_t rng_below(rng *r, uint64_t limit)
{
    return rng_next(r) % limit;
}

/* From low to high, both included. */
static inline uint64_t rng_between(rng *r, uint64_t low, uint64_t high)
{
    return low + rng_below(r, high - low + 1);
}

/* True once in n times. */
static inline bool rng_one_in(rng *r, uint64_t n)
{
    return rng_below(r, n) == 0;
}

static inline void rng_fill(rng *r, void *buf, size_t len)
{
    uint8_t *at = (uint8_t *)buf;
    while (len > 0) {
        uint64_t word = rng_next(r);
        size_t part = len < sizeof word ? len : sizeof word;
        memcpy(at, &word, part);
        at += part;
        len -= part;
    }
}

/* The seed in KV_SEED, else the given one. Printed, so that a failure can be repeated. */
static inline uint64_t rng_choose_seed(uint64_t otherwise)
{
    const char *text = getenv("KV_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : otherwise;
    printf("seed %llu (KV_SEED=%llu repeats it)\n", (unsigned long long)seed,
           (unsigned long long)seed);
    return seed;
}

#endif
