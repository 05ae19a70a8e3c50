/* keys.c - keys, values and orders, computed from numbers.
 *
 * An array of a million keys read in random order would cost a cache miss per operation, in both
 * engines: it hides what is to be measured. Computing a key costs a few nanoseconds.
 */
#include "bench.h"

#include <string.h>

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
    return x ^ (x >> 32);
}

struct order bench_order(uint64_t n, uint64_t seed)
{
    struct order order = {n, mix(seed + 0x9e3779b97f4a7c15u), 1};
    while (order.half < 31 && (uint64_t)1 << (2 * order.half) < n)
        order.half++;
    return order;
}

/* A Feistel network permutes the smallest power of 4 that is not below n. */
static uint64_t feistel(const struct order *order, uint64_t x)
{
    uint64_t mask = ((uint64_t)1 << order->half) - 1;
    uint64_t left = x >> order->half, right = x & mask;
    for (uint64_t round = 1; round <= 4; round++) {
        uint64_t next = left ^ (mix(right + order->seed * round) & mask);
        left = right;
        right = next;
    }
    return left << order->half | right;
}

uint64_t bench_order_at(const struct order *order, uint64_t i)
{
    do
        i = feistel(order, i); /* walks its cycle until it is back among the numbers below n */
    while (i >= order->n);
    return i;
}

static void put_big_endian(unsigned char *to, uint64_t number)
{
    number = __builtin_bswap64(number);
    memcpy(to, &number, 8);
}

static const struct {
    const char *name;
    size_t len;
} kinds[] = {
    [KEYS_RANDOM] = {"random", 16},   [KEYS_RANDOM24] = {"random24", 24},
    [KEYS_DECIMAL] = {"decimal", 16}, [KEYS_INTEGER] = {"integer", 8},
    [KEYS_PATH] = {"path", 23},       [KEYS_URL] = {"url", 90},
};

bool bench_key_kind(struct options *o, const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].name, name) != 0)
            continue;
        o->keys = (enum key_kind)i;
        o->key_len = kinds[i].len;
        return true;
    }
    return false;
}

const char *bench_key_kind_name(const struct options *o)
{
    return kinds[o->keys].name;
}

static void put_decimal(unsigned char *to, int digits, uint64_t number)
{
    for (int i = digits; i-- > 0; number /= 10)
        to[i] = (unsigned char)('0' + number % 10);
}

/* As sorted random bytes: each number has its own interval of the 64-bit range. */
static void key_random(const struct options *o, uint64_t number, unsigned char *key)
{
    uint64_t interval = UINT64_MAX / o->n, random = mix(number + 1);
    put_big_endian(key, number * interval + random % interval);
    for (size_t at = 8; at < o->key_len; at += 8) {
        random = mix(random);
        put_big_endian(key + at, random);
    }
}

/* 1,000 pages of a site stand together, and a page's address says twice where it is. */
static void key_url(uint64_t number, unsigned char *key)
{
    memcpy(key,
           "https://www.example-000000.org/articles/history/of/the/world/page-00000000-"
           "00000000000.html",
           90);
    put_decimal(key + 20, 6, number / 1000);
    put_decimal(key + 66, 8, number);
    put_decimal(key + 75, 10, mix(number) % 10000000000);
}

void bench_key(const struct options *o, uint64_t number, unsigned char key[KEY_MAX])
{
    switch (o->keys) {
    case KEYS_RANDOM:
    case KEYS_RANDOM24:
        key_random(o, number, key);
        break;
    case KEYS_DECIMAL:
        put_decimal(key, 16, number);
        break;
    case KEYS_INTEGER:
        put_big_endian(key, number);
        break;
    case KEYS_PATH:
        memcpy(key, "user:0000000000:profile", 23);
        put_decimal(key + 5, 10, number);
        break;
    case KEYS_URL:
        key_url(number, key);
        break;
    }
}

void bench_value(const struct options *o, uint64_t number, uint64_t version, unsigned char *value)
{
    uint64_t word = mix(number + (version << 40) + 1);
    size_t i = 0;
    for (; i + 8 <= o->value_len; i += 8) {
        memcpy(value + i, &word, 8);
        word *= 0xd1342543de82ef95u;
    }
    memcpy(value + i, &word, o->value_len - i);
    word = mix(number + (version << 40) + 1);
    memcpy(value + o->value_len - 8, &word, 8);
}

bool bench_value_ok(const struct options *o, uint64_t number, uint64_t version, const void *value,
                    size_t len)
{
    uint64_t word = mix(number + (version << 40) + 1), first, last;
    if (len != o->value_len)
        return false;
    memcpy(&first, value, 8);
    memcpy(&last, (const char *)value + len - 8, 8);
    return first == word && last == word;
}
