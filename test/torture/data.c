/* data.c - the small data set: a counter for each worker and records of random contents, with the
 * sum of all of them kept right by every commit, so that a snapshot proves itself. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "data.h"

#include <stdio.h>
#include <string.h>

enum { RECORDS = 300, SHORT_LEN = 200, LONG_LEN = 3000, LARGE_LEN = 40000 };

const struct bytes torture_sum_key = {"~sum", 4};

struct name torture_name(char letter, uint64_t number)
{
    struct name name;
    int len = snprintf(name.text, sizeof name.text, "%c%04u", letter, (unsigned)number % 10000);
    name.len = (size_t)len;
    return name;
}

struct bytes torture_key(const struct name *name)
{
    return (struct bytes){name->text, name->len};
}

uint64_t torture_entry_hash(struct bytes key, struct bytes value)
{
    return XXH3_64bits_withSeed(value.ptr, value.len, XXH3_64bits(key.ptr, key.len));
}

/* ---- reading ---- */

static void read_entry(void *context, struct bytes key, struct bytes value)
{
    struct reading *r = context;
    if (key.len == torture_sum_key.len && memcmp(key.ptr, torture_sum_key.ptr, key.len) == 0) {
        if (value.len == sizeof r->sum)
            memcpy(&r->sum, value.ptr, sizeof r->sum);
        return;
    }
    if (torture_read_expiring(r, key, value))
        return;
    char text[8] = "";
    unsigned place;
    memcpy(text, key.ptr, key.len < 7 ? key.len : 7);
    if (sscanf(text, "c%4u", &place) == 1 && place < WORKERS_MAX && value.len == 8) {
        memcpy(&r->counter[place], value.ptr, 8);
        r->total += r->counter[place];
    }
    r->hash += torture_entry_hash(key, value);
    r->entries++;
}

static uint64_t greater(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void torture_bounds(struct bounds *bounds, bool with_guests)
{
    for (uint32_t i = 0; i < board->workers; i++) {
        struct place *place = &board->place[i];
        bounds->least[i] = greater(atomic_load(&place->acked), atomic_load(&place->seen));
        if (with_guests)
            bounds->least[i] = greater(bounds->least[i], atomic_load(&place->guests_seen));
    }
    bounds->clock = atomic_load(&board->clock);
}

static bool sum_is_right(const struct reading *r, uint32_t me)
{
    if (r->hash == r->sum.hash && r->total == r->sum.total && r->entries == r->sum.entries)
        return true;
    torture_violation(TORN, me,
                      "the snapshot has hash %016llx, total %llu, entries %llu; it says %016llx, "
                      "%llu, %llu",
                      (unsigned long long)r->hash, (unsigned long long)r->total,
                      (unsigned long long)r->entries, (unsigned long long)r->sum.hash,
                      (unsigned long long)r->sum.total, (unsigned long long)r->sum.entries);
    return false;
}

static bool counter_is_right(const struct reading *r, uint32_t place, uint64_t least, uint32_t me)
{
    uint64_t intent = atomic_load(&board->place[place].intent);
    if (r->counter[place] < least)
        torture_violation(LOST, me,
                          "worker %u has %llu in the snapshot, %llu had been seen or acknowledged",
                          place, (unsigned long long)r->counter[place], (unsigned long long)least);
    else if (r->counter[place] > intent)
        torture_violation(GHOST, me, "worker %u has %llu in the snapshot, %llu was begun", place,
                          (unsigned long long)r->counter[place], (unsigned long long)intent);
    else
        return true;
    return false;
}

bool torture_verify(const struct engine *engine, void *view, uint32_t me,
                    const struct bounds *bounds, struct reading *reading)
{
    memset(reading, 0, sizeof *reading);
    if (engine->now)
        reading->now = engine->now(view, &reading->said);
    enum result result = engine->scan(view, read_entry, reading);
    if (result != DONE) {
        torture_violation(UNREAD, me, "read everything: %s", engine->why());
        return false;
    }
    if (!sum_is_right(reading, me))
        return false;
    for (uint32_t i = 0; i < board->workers; i++)
        if (!counter_is_right(reading, i, bounds->least[i], me))
            return false;
    if (engine->now && !torture_time_is_right(reading, bounds->clock, me))
        return false;
    for (uint32_t i = 0; i < board->workers; i++) {
        struct place *place = &board->place[i];
        torture_raise(torture_guest ? &place->guests_seen : &place->seen, reading->counter[i]);
    }
    torture_add(COUNT_SNAPSHOTS);
    return true;
}

/* ---- changing ---- */

static enum result forget(const struct engine *engine, void *view, struct bytes key,
                          struct sum *sum)
{
    struct bytes old;
    enum result result = engine->get(view, key, &old);
    if (result == DONE) {
        sum->hash -= torture_entry_hash(key, old);
        sum->entries--;
    }
    return result;
}

enum result torture_replace(const struct engine *engine, void *view, struct bytes key,
                            struct bytes value, struct sum *sum)
{
    enum result result = forget(engine, view, key, sum);
    if (result == FAILED)
        return result;
    sum->hash += torture_entry_hash(key, value);
    sum->entries++;
    return engine->put(view, key, value);
}

static enum result erase(const struct engine *engine, void *view, struct bytes key, struct sum *sum)
{
    enum result result = forget(engine, view, key, sum);
    return result == DONE ? engine->del(view, key) : result == ABSENT ? DONE : result;
}

static size_t value_len(rng *dice)
{
    size_t max = rng_one_in(dice, 64) ? LARGE_LEN : rng_one_in(dice, 16) ? LONG_LEN : SHORT_LEN;
    return rng_below(dice, max + 1);
}

struct bytes torture_random_value(rng *dice)
{
    static unsigned char value[LARGE_LEN];
    size_t len = value_len(dice);
    rng_fill(dice, value, len);
    return (struct bytes){value, len};
}

static enum result change_record(const struct engine *engine, void *view, uint64_t number,
                                 bool remove, rng *dice, struct sum *sum)
{
    struct name name = torture_name('r', number);
    if (remove)
        return erase(engine, view, torture_key(&name), sum);
    return torture_replace(engine, view, torture_key(&name), torture_random_value(dice), sum);
}

/* Few records, now and then many, now and then all of them go: the file grows and shrinks. */
static enum result change_records(const struct engine *engine, void *view, rng *dice,
                                  struct sum *sum)
{
    enum result result = DONE;
    bool all = rng_one_in(dice, 150);
    uint64_t n = all ? RECORDS : rng_one_in(dice, 40) ? RECORDS / 2 : rng_between(dice, 1, 6);
    for (uint64_t i = 0; i < n && result == DONE; i++) {
        uint64_t number = all ? i : rng_below(dice, RECORDS);
        result = change_record(engine, view, number, all || rng_one_in(dice, 4), dice, sum);
    }
    return result;
}

enum result torture_get_fixed(const struct engine *engine, void *view, struct bytes key, void *out,
                              size_t len)
{
    struct bytes value;
    memset(out, 0, len);
    enum result result = engine->get(view, key, &value);
    if (result == DONE && value.len == len)
        memcpy(out, value.ptr, len);
    return result == ABSENT ? DONE : result;
}

/* Of this place nobody else commits, so its counter is known, but for the commit that was in flight
 * when the process before was killed. */
static enum result next_count(const struct engine *engine, void *view, uint32_t me, uint64_t *next)
{
    struct place *place = &board->place[me];
    struct name name = torture_name('c', me);
    uint64_t acked = atomic_load(&place->acked), intent = atomic_load(&place->intent), count;
    enum result result = torture_get_fixed(engine, view, torture_key(&name), &count, sizeof count);
    if (result != DONE)
        return result;
    if (count < acked)
        torture_violation(LOST, me, "a writer finds its own counter at %llu after %llu",
                          (unsigned long long)count, (unsigned long long)acked);
    if (count > intent)
        torture_violation(GHOST, me, "a writer finds its own counter at %llu, but began only %llu",
                          (unsigned long long)count, (unsigned long long)intent);
    atomic_store(&place->acked, count);
    *next = count + 1;
    return DONE;
}

enum result torture_change(const struct engine *engine, void *view, uint32_t me, rng *dice,
                           uint64_t *count)
{
    struct sum sum;
    uint64_t said;
    struct name name = torture_name('c', me);
    enum result result = torture_get_fixed(engine, view, torture_sum_key, &sum, sizeof sum);
    if (result == DONE)
        result = next_count(engine, view, me, count);
    if (result == DONE)
        result = change_records(engine, view, dice, &sum);
    if (result == DONE)
        result = torture_replace(engine, view, torture_key(&name),
                                 (struct bytes){count, sizeof *count}, &sum);
    if (result == DONE && engine->now && rng_one_in(dice, 2))
        result = torture_change_expiring(engine, view, me, dice, &sum);
    sum.total++;
    sum.clock = engine->now ? engine->now(view, &said) : 0;
    if (result == DONE)
        result = engine->put(view, torture_sum_key, (struct bytes){&sum, sizeof sum});
    return result;
}
