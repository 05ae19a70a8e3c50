/* clock.c - the wall clock as the engine sees it: that of each process is another one, and jumps by
 * milliseconds to years around the time of the commits, or to that of the system. */
#include "torture.h"

#include <time.h>

enum { JUMP_ONE_IN = 20, STEP_MS = 500 };

static rng dice;
static uint64_t jumped_to, jumped_at; /* ms */

static uint64_t clock_of(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / MS;
}

static uint64_t some_span(void)
{
    static const uint64_t most[] = {100, 5000, 600000, 86400000, 31536000000, 315360000000};
    return rng_below(&dice, most[rng_below(&dice, sizeof most / sizeof *most)]);
}

/* Mostly it moves on a little, so that time goes on for the commits, too. */
static uint64_t somewhere(void)
{
    uint64_t commits = atomic_load(&board->clock), span = some_span();
    if (commits == 0)
        commits = clock_of(CLOCK_REALTIME);
    switch (rng_below(&dice, 8)) {
    case 0:
        return clock_of(CLOCK_REALTIME);
    case 1:
    case 2:
        return commits > span ? commits - span : 0;
    case 3:
        return commits + span;
    default:
        return commits + rng_below(&dice, STEP_MS);
    }
}

void torture_clock_seed(uint64_t seed)
{
    rng_seed(&dice, seed);
    jumped_to = jumped_at = 0;
}

uint64_t torture_clock(void)
{
    if (!board->jumps)
        return clock_of(CLOCK_REALTIME);
    if (jumped_at == 0 || rng_one_in(&dice, JUMP_ONE_IN)) {
        jumped_to = somewhere();
        jumped_at = clock_of(CLOCK_MONOTONIC);
    }
    return jumped_to + clock_of(CLOCK_MONOTONIC) - jumped_at;
}
