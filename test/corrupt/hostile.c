/* Random damage of page headers, with checksums made right again, met by a reader and by a writer:
 *
 *     hostile kv [FILES] [SEED]          in this process, on a simulated disk: meant for a sanitized build
 *     hostile lmdb [FILES] [SEED]        the same damage to LMDB's file, two child processes for each
 *     hostile lmdb-bits [EVERY] [SEED]   what test_flip does with kv's file: each bit flipped, or one of
 *                                        EVERY, and the file read
 *
 * LMDB's pages have no checksums, so there nothing needs to be made right. */
#include "lmdb_victim.h"
#include "surgeon.h"
#include "victim.h"
#include <stdio.h>
#include <stdlib.h>

#define HEADER      64
#define META_FIELDS 480 /* bytes of a meta that hold fields */
#define PAGE        4096

/* A number that is likely to be met by a wrong bound. */
static uint64_t awkward(rng *random, uint64_t pages)
{
    static const uint64_t numbers[] = {
        0,      1,      2,    3,    15,   16,         0x7f,       0x80,       0xff,    0x7fff,
        0x8000, 0xffff, 4080, 4095, 4096, 0x7fffffff, 0x80000000, 0xffffffff, 1 << 20, UINT64_MAX};
    switch (rng_below(random, 3)) {
    case 0:
        return numbers[rng_below(random, KVI_COUNT(numbers))];
    case 1:
        return rng_below(random, pages + 2);
    default:
        return rng_next(random) >> rng_below(random, 64);
    }
}

/* One field of one page's header. Returns the page. */
static uint64_t damage(uint8_t *bytes, size_t size, rng *random)
{
    uint64_t pages = size / PAGE;
    uint64_t page = rng_one_in(random, 4) ? rng_below(random, 2) : rng_below(random, pages);
    size_t width = (size_t)1 << rng_below(random, 4), end = page < 2 ? META_FIELDS : HEADER;
    uint64_t number = awkward(random, pages);
    memcpy(bytes + page * PAGE + rng_below(random, end / width) * width, &number, width);
    return page;
}

/* ---- kv ---- */

static victim patient;

/* A page that has a header, as the sound file says. */
static bool has_header(const uint8_t *sound, uint64_t page)
{
    const uint8_t *at = sound + page * PAGE;
    return page >= 2 && at[KVI_P_type] >= KVI_LEAF && at[KVI_P_type] <= KVI_BLOCKED &&
           kvi_get64(at + KVI_P_page) == page;
}

static void forge(rng *random)
{
    surgeon s;
    surgeon_take(&s, patient.image, patient.size);
    for (uint64_t n = rng_between(random, 1, 3); n > 0; n--) {
        uint64_t page = damage(s.bytes, s.size, random);
        if (has_header(patient.image, page))
            surgeon_stamp(&s, page);
    }
    surgeon_stamp_meta(&s, 0);
    surgeon_stamp_meta(&s, 1);
    sim_reset(patient.disk);
    sim_put_file(patient.disk, VICTIM_NAME, s.bytes, s.size);
    surgeon_free(&s);
}

static int run_kv(uint64_t files, uint64_t seed)
{
    victim_make(&patient, PAGE, 5);
    patient.lenient = true;
    sim_set_guard(patient.disk, true);
    for (uint64_t i = 0; i < files; i++) {
        rng random;
        rng_seed(&random, seed + i);
        forge(&random);
        const char *fault = victim_read(&patient);
        if (!fault)
            fault = victim_write(&patient);
        if (!fault && i % 4 == 0)
            fault = victim_rough(&patient, &random);
        if (fault) {
            printf("file %llu: %s\n", (unsigned long long)(seed + i), fault);
            return 1;
        }
    }
    printf("kv: %llu files, %llu opens, %llu errors, 0 crashes\n", (unsigned long long)files,
           (unsigned long long)patient.opened, (unsigned long long)patient.errors);
    victim_free(&patient);
    return 0;
}

/* ---- LMDB ---- */

#ifdef HAVE_LMDB

static lmdb_victim other;

static trial_answer read_other(void *context, uint64_t number)
{
    return lmdb_victim_read(&other);
}

static trial_answer write_other(void *context, uint64_t number)
{
    return lmdb_victim_write(&other);
}

static void lmdb_report(const char *what, uint64_t files, const trial *t)
{
    printf("LMDB %s: %llu files, %llu crashes (%.1f %%), %llu hangs, %llu errors, %llu unnoticed\n",
           what, (unsigned long long)files, (unsigned long long)t->crashes,
           100.0 * (double)t->crashes / (double)files, (unsigned long long)t->hangs,
           (unsigned long long)t->answers[TRIAL_ERROR],
           (unsigned long long)t->answers[TRIAL_RIGHT]);
}

static int run_lmdb(uint64_t files, uint64_t seed)
{
    trial reading = {.attempt = read_other}, writing = {.attempt = write_other};
    lmdb_victim_make(&other);
    other.lenient = true;
    uint8_t *bytes = malloc(other.size);
    for (uint64_t i = 0; bytes && i < files; i++) {
        rng random;
        rng_seed(&random, seed + i);
        memcpy(bytes, other.image, other.size);
        for (uint64_t n = rng_between(&random, 1, 3); n > 0; n--)
            damage(bytes, other.size, &random);
        lmdb_victim_put(&other, bytes);
        trial_run(&reading, i, i + 1);
        lmdb_victim_put(&other, bytes);
        trial_run(&writing, i, i + 1);
    }
    lmdb_report("reading", files, &reading);
    lmdb_report("writing", files, &writing);
    lmdb_victim_free(&other);
    free(bytes);
    return 0;
}

/* ---- LMDB, bit by bit ---- */

typedef struct sample {
    uint64_t every, seed;
} sample;

/* One bit of each group, any. */
static uint64_t bit_of(const sample *s, uint64_t group)
{
    rng random;
    rng_seed(&random, s->seed + group);
    return group * s->every + rng_below(&random, s->every);
}

static trial_answer flip_bit(void *context, uint64_t group)
{
    uint64_t bit = bit_of(context, group);
    uint8_t sound = other.image[bit / 8];
    lmdb_victim_put_byte(&other, bit / 8, sound ^ (uint8_t)(1u << bit % 8));
    trial_answer answer = lmdb_victim_read(&other);
    lmdb_victim_put_byte(&other, bit / 8, sound);
    return answer;
}

static int run_lmdb_bits(uint64_t every, uint64_t seed)
{
    sample s = {every, seed};
    trial t = {.attempt = flip_bit, .context = &s};
    lmdb_victim_make(&other);
    uint64_t n = other.size * 8 / every;
    for (uint64_t next = 0; next < n;) {
        lmdb_victim_put(&other, other.image); /* what crashed has left its bit */
        next = trial_run(&t, next, n);
    }
    printf("LMDB: %zu pages, %llu bits: %llu right, %llu errors, %llu wrong answers, %llu crashes, "
           "%llu hangs\n",
           other.size / PAGE, (unsigned long long)n, (unsigned long long)t.answers[TRIAL_RIGHT],
           (unsigned long long)t.answers[TRIAL_ERROR], (unsigned long long)t.answers[TRIAL_WRONG],
           (unsigned long long)t.crashes, (unsigned long long)t.hangs);
    lmdb_victim_free(&other);
    return 0;
}

#else

static int run_lmdb(uint64_t files, uint64_t seed)
{
    puts("skip  LMDB is not installed");
    return 0;
}

static int run_lmdb_bits(uint64_t every, uint64_t seed)
{
    return run_lmdb(every, seed);
}

#endif

int main(int argc, char **argv)
{
    uint64_t number = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;
    if (argc > 1 && strcmp(argv[1], "kv") == 0)
        return run_kv(number ? number : 100000, seed);
    if (argc > 1 && strcmp(argv[1], "lmdb") == 0)
        return run_lmdb(number ? number : 2000, seed);
    if (argc > 1 && strcmp(argv[1], "lmdb-bits") == 0)
        return run_lmdb_bits(number ? number : 1, seed);
    fputs("usage: hostile kv|lmdb [FILES] [SEED]\n       hostile lmdb-bits [EVERY] [SEED]\n",
          stderr);
    return 2;
}
