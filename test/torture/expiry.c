/* expiry.c - entries that expire: beside them lies a table of when each of them does, so that every
 * snapshot can say by its own time which of them must be there. */
#include "data.h"

#include <stdio.h>
#include <string.h>

static const struct bytes table_key = {"~expiry", 7};

static bool is_due(const struct expiry *expiry, uint64_t now)
{
    return expiry->at <= now; /* also of one that there is not */
}

static bool entry_is_right(const struct expiry *expiry, uint64_t found, uint32_t number,
                           uint64_t now, uint32_t me)
{
    if (found == (is_due(expiry, now) ? 0 : expiry->hash))
        return true;
    bool other = found != 0 && found != expiry->hash;
    torture_violation(other ? TORN : TIME, me, "at %llu entry %u %s, it expires at %llu",
                      (unsigned long long)now, number,
                      other        ? "is another one"
                      : found == 0 ? "is not there"
                                   : "is there",
                      (unsigned long long)expiry->at);
    return false;
}

/* ---- reading ---- */

bool torture_read_expiring(struct reading *reading, struct bytes key, struct bytes value)
{
    char text[8] = "";
    unsigned number;
    if (key.len == table_key.len && memcmp(key.ptr, table_key.ptr, key.len) == 0 &&
        value.len == sizeof reading->expiry)
        memcpy(reading->expiry, value.ptr, value.len);
    memcpy(text, key.ptr, key.len < 7 ? key.len : 7);
    if (sscanf(text, "e%4u", &number) != 1 || number >= EXPIRING)
        return false;
    reading->expiring[number] = torture_entry_hash(key, value);
    return true;
}

/* What the clock said, or what the commit had if that is more. Of a file without a commit, and of a
 * batch, only the file knows the time. */
static bool now_is_right(const struct reading *r, uint64_t least, uint32_t me)
{
    uint64_t now = r->said > r->sum.clock ? r->said : r->sum.clock;
    if (r->now >= least && (r->sum.clock == 0 ? r->now >= now : r->now == now))
        return true;
    torture_violation(TIME, me,
                      "the time is %llu, the clock said %llu, the commit has %llu, one before had "
                      "%llu",
                      (unsigned long long)r->now, (unsigned long long)r->said,
                      (unsigned long long)r->sum.clock, (unsigned long long)least);
    return false;
}

bool torture_time_is_right(const struct reading *r, uint64_t least, uint32_t me)
{
    bool expired = false;
    if (!now_is_right(r, least, me))
        return false;
    for (uint32_t i = 0; i < EXPIRING; i++) {
        expired = expired || (r->expiry[i].at > 0 && is_due(&r->expiry[i], r->now));
        if (!entry_is_right(&r->expiry[i], r->expiring[i], i, r->now, me))
            return false;
    }
    if (expired)
        torture_add(COUNT_EXPIRED);
    if (r->said < r->sum.clock)
        torture_add(COUNT_BEHIND);
    return true;
}

/* ---- changing ---- */

static uint64_t some_ttl(rng *dice)
{
    static const uint64_t most[] = {50, 5000, 600000, 86400000, 31536000000};
    return rng_between(dice, 1, most[rng_below(dice, sizeof most / sizeof *most)]);
}

static enum result store(const struct engine *engine, void *view, struct bytes key, uint64_t now,
                         rng *dice, struct expiry *expiry)
{
    struct bytes value = torture_random_value(dice);
    uint64_t ttl = some_ttl(dice);
    expiry->hash = torture_entry_hash(key, value);
    if (rng_one_in(dice, 6)) {
        expiry->at = UINT64_MAX; /* never */
        return engine->put(view, key, value);
    }
    expiry->at = now + ttl;
    return engine->put_for(view, key, value, ttl);
}

static enum result change_entry(const struct engine *engine, void *view, uint32_t me, rng *dice,
                                struct expiry *table)
{
    uint64_t said, now = engine->now(view, &said), ttl = some_ttl(dice);
    uint32_t number = (uint32_t)rng_below(dice, EXPIRING);
    struct name name = torture_name('e', number);
    struct bytes key = torture_key(&name), value;
    struct expiry *expiry = &table[number];
    enum result result = engine->get(view, key, &value);
    if (result == FAILED)
        return result;
    entry_is_right(expiry, result == DONE ? torture_entry_hash(key, value) : 0, number, now, me);
    if (result == ABSENT || rng_below(dice, 3) > 0)
        return store(engine, view, key, now, dice, expiry);
    if (rng_one_in(dice, 2)) {
        expiry->at = 0;
        return engine->del(view, key);
    }
    expiry->at = now + ttl;
    return engine->expire(view, key, ttl);
}

enum result torture_change_expiring(const struct engine *engine, void *view, uint32_t me, rng *dice,
                                    struct sum *sum)
{
    struct expiry table[EXPIRING];
    enum result result = torture_get_fixed(engine, view, table_key, table, sizeof table);
    for (uint64_t n = rng_between(dice, 1, 4); n > 0 && result == DONE; n--)
        result = change_entry(engine, view, me, dice, table);
    if (result == DONE)
        result = torture_replace(engine, view, table_key, (struct bytes){table, sizeof table}, sum);
    return result;
}
