/* driver.c - see driver.h. */
#include "driver_op.h"
#include "multi_steps.h"
#include <stdio.h>
#include <stdlib.h>

#define KEY_ROOM   16384
#define VALUE_ROOM (1 << 20)

static uint8_t key_room[KEY_ROOM], other_room[KEY_ROOM], value_room[VALUE_ROOM];

void driver_init(driver *d, kv_db *db, model *m, uint64_t seed, const driver_shape *shape)
{
    memset(d, 0, sizeof *d);
    d->db = db;
    d->m = m;
    d->shape = *shape;
    rng_seed(&d->r, seed);
}

static bool fail(driver *d, int rc, const char *what)
{
    if (!d->what) {
        d->failure = rc;
        d->what = what;
    }
    return false;
}

static const char *tree_names[] = {"", "blue", "green", "red", "yellow"};

kvi_slice driver_pick_tree(driver *d)
{
    return model_text(tree_names[rng_below(&d->r, d->shape.trees + 1)]);
}

/* Short, with long common beginnings, with zeros, each other's prefixes. */
kvi_slice driver_pick_key(driver *d, uint8_t *room)
{
    uint64_t n =
        d->shape.sorted && !rng_one_in(&d->r, 4) ? d->counter++ : rng_below(&d->r, d->shape.keys);
    size_t len;
    uint64_t spread = n * 0x9e3779b97f4a7c15ull;
    if (d->shape.sorted)
        return (kvi_slice){room,
                           (size_t)snprintf((char *)room, 32, "k%012llu", (unsigned long long)n)};
    switch (n % 4) {
    case 0: /* fixed length, random */
        memcpy(room, &spread, 8);
        len = 8;
        break;
    case 1:
        len = (size_t)snprintf((char *)room, 64, "user:%06llu:profile", (unsigned long long)n);
        break;
    case 2: /* prefixes of each other, down to the empty key */
        len = n % 40;
        memset(room, n % 8 == 2 ? 0 : 'a', len);
        break;
    default: /* long, and alike for long */
        len = 20 + n % (d->shape.key_max - 19);
        memset(room, 'x', len);
        memcpy(room + len - 8, &spread, 8);
    }
    return (kvi_slice){room, len < d->shape.key_max ? len : d->shape.key_max};
}

kvi_slice driver_pick_value(driver *d)
{
    bool large = d->shape.large_max && rng_one_in(&d->r, d->shape.large_one_in);
    size_t len = rng_below(&d->r, (large ? d->shape.large_max : d->shape.value_max) + 1);
    if (rng_one_in(&d->r, 2)) /* compressible */
        memset(value_room, (int)rng_below(&d->r, 256), len);
    else
        rng_fill(&d->r, value_room, len);
    return (kvi_slice){value_room, len};
}

/* The tree's handle; *present: it exists in the model. */
static int open_tree(driver *d, kvi_slice name, bool create, kv_tree **tree, bool *present)
{
    *present = model_tree_of(d->m->now, name) != NULL;
    if (name.len == 0) {
        *tree = kv_txn_main(d->txn);
        return KV_OK;
    }
    kv_tree_options options = {.size = sizeof options, .compress_from = d->shape.compress_from};
    int rc = kv_tree_open(d->txn, name.ptr, name.len, create ? KV_TREE_CREATE : 0, &options, tree);
    if (rc == KV_OK && create && !*present)
        *present = model_tree_create(d->m, name);
    return rc;
}

/* A time to live that ends soon, or late, or right now. */
static uint64_t pick_ttl(driver *d)
{
    return rng_one_in(&d->r, 8) ? rng_below(&d->r, 3) : rng_between(&d->r, 1, 4000);
}

/* What the model has under a key, with another value or expiry. */
static void model_store(driver *d, kvi_slice name, kvi_slice key, kvi_slice value, uint64_t expiry)
{
    model_put_until(d->m, name, key, value, expiry);
    model_expire(d->m, kv_txn_now(d->txn));
}

static bool step_put_until(driver *d, kv_tree *tree, kvi_slice name)
{
    kvi_slice key = driver_pick_key(d, key_room), value = driver_pick_value(d);
    uint64_t now = kv_txn_now(d->txn), ttl = pick_ttl(d);
    uint64_t old = model_expiry(model_tree_of(d->m->now, name), key);
    bool present = model_get(model_tree_of(d->m->now, name), key, NULL);
    kv_put_options options = {.size = sizeof options};
    if (rng_one_in(&d->r, 3))
        options.expires_at = now + ttl - rng_below(&d->r, 3);
    else if (ttl)
        options.ttl_ms = ttl;
    uint64_t expiry = options.ttl_ms ? now + ttl : options.expires_at;
    if (rng_one_in(&d->r, 4)) {
        options.flags = KV_PUT_KEEP_EXPIRY;
        expiry = present ? old : expiry;
    }
    int rc = kv_put_with(tree, key.ptr, key.len, value.ptr, value.len, &options);
    if (rc != KV_OK)
        return fail(d, rc, "put_with");
    model_store(d, name, key, value, expiry);
    return true;
}

static bool info_differs(const driver *d, const kv_entry_info *info, kvi_slice value,
                         uint64_t expiry)
{
    uint64_t ttl = expiry ? expiry - kv_txn_now(d->txn) : KV_TTL_NEVER;
    return info->expires_at != expiry || info->ttl_ms != ttl || info->value.len != value.len ||
           (value.len && memcmp(info->value.ptr, value.ptr, value.len) != 0);
}

static bool step_info(driver *d, kv_tree *tree, kvi_slice key, const kvi_slice *value,
                      uint64_t expiry)
{
    kv_entry_info info = {.size = sizeof info};
    uint64_t ttl = 0;
    int expect = value ? KV_OK : KV_NOTFOUND;
    int rc = kv_get_info(tree, key.ptr, key.len, &info),
        also = kv_ttl(tree, key.ptr, key.len, &ttl);
    if (rc != expect || also != expect)
        return fail(d, rc, "get_info");
    if (value && (info_differs(d, &info, *value, expiry) || ttl != info.ttl_ms))
        return fail(d, 0, "get_info differs");
    return true;
}

/* expire, expire_at, persist, touch */
static bool step_expire(driver *d, kv_tree *tree, kvi_slice name, kvi_slice key, kvi_slice value)
{
    uint64_t now = kv_txn_now(d->txn), ttl = pick_ttl(d), gain = rng_below(&d->r, 1000);
    bool present = value.ptr;
    uint64_t old = model_expiry(model_tree_of(d->m->now, name), key), expiry = now + ttl;
    int rc;
    switch (rng_below(&d->r, 4)) {
    case 0:
        rc = kv_expire(tree, key.ptr, key.len, ttl);
        break;
    case 1:
        rc = kv_expire_at(tree, key.ptr, key.len, --expiry);
        break;
    case 2:
        rc = kv_persist(tree, key.ptr, key.len);
        expiry = 0;
        break;
    default:
        rc = kv_touch(tree, key.ptr, key.len, ttl, gain);
        expiry = old && now + ttl >= old + gain ? expiry : old;
    }
    if (rc != (present ? KV_OK : KV_NOTFOUND))
        return fail(d, rc, "expire");
    if (present)
        model_store(d, name, key, value, expiry);
    return true;
}

/* Nobody notices, but for the number of entries. */
static bool step_sweep(driver *d, kv_tree *tree)
{
    kv_sweep_options options = {.size = sizeof options};
    kv_sweep_result result = {.size = sizeof result};
    kv_tree_info before = {.size = sizeof before}, after = {.size = sizeof after};
    uint64_t count = 0;
    bool whole = rng_one_in(&d->r, 2);
    if (!whole)
        options.max_entries = rng_between(&d->r, 1, 20);
    kv_tree_stat(tree, &before);
    int rc = kv_sweep(tree, &options, &result);
    if (rc != KV_OK)
        return fail(d, rc, "sweep");
    kv_tree_stat(tree, &after);
    bool fine = before.entries - after.entries == result.removed && (result.done || !whole);
    if (fine && result.done)
        fine = kv_count(tree, NULL, &count) == KV_OK && count == after.entries;
    return fine ? true : fail(d, 0, "sweep: what it left differs");
}

static bool step_expiry(driver *d, kv_tree *tree, kvi_slice name)
{
    kvi_slice key = driver_pick_key(d, key_room), value = {NULL, 0};
    const model_tree *t = model_tree_of(d->m->now, name);
    uint64_t expiry = model_expiry(t, key);
    bool present = model_get(t, key, &value);
    if (rng_one_in(&d->r, 6))
        return step_sweep(d, tree);
    if (rng_one_in(&d->r, 3))
        return step_info(d, tree, key, present ? &value : NULL, expiry);
    uint8_t *copy = present ? malloc(value.len + 1) : NULL;
    if (copy && value.len)
        memcpy(copy, value.ptr, value.len);
    bool fine = step_expire(d, tree, name, key, (kvi_slice){copy, value.len});
    free(copy);
    return fine;
}

static bool step_put(driver *d, kv_tree *tree, kvi_slice name)
{
    if (d->shape.expiry && rng_one_in(&d->r, 2))
        return step_put_until(d, tree, name);
    kvi_slice key = driver_pick_key(d, key_room), value = driver_pick_value(d), old;
    bool present = model_get(model_tree_of(d->m->now, name), key, &old);
    uint32_t flags = rng_one_in(&d->r, 5) ? (uint32_t)rng_between(&d->r, 1, 2) : 0;
    bool apply = !(flags == KV_PUT_ABSENT && present) && !(flags == KV_PUT_PRESENT && !present);
    int expect = apply ? KV_OK : present ? KV_EXISTS : KV_NOTFOUND;
    int rc;
    if (rng_one_in(&d->r, 6)) {
        void *place;
        rc = kv_reserve(tree, key.ptr, key.len, value.len, flags, &place);
        if (rc == KV_OK && value.len)
            memcpy(place, value.ptr, value.len);
    } else {
        rc = kv_put(tree, key.ptr, key.len, value.ptr, value.len, flags);
    }
    if (rc != expect)
        return fail(d, rc, "put");
    if (apply)
        model_put(d->m, name, key, value);
    return true;
}

static bool step_del(driver *d, kv_tree *tree, kvi_slice name)
{
    kvi_slice key = driver_pick_key(d, key_room);
    int expect = model_get(model_tree_of(d->m->now, name), key, NULL) ? KV_OK : KV_NOTFOUND;
    int rc = kv_del(tree, key.ptr, key.len);
    if (rc != expect)
        return fail(d, rc, "del");
    if (rc == KV_OK)
        model_del(d->m, name, key);
    return true;
}

static bool step_get(driver *d, kv_tree *tree, kvi_slice name)
{
    kvi_slice key = driver_pick_key(d, key_room), expect;
    kv_slice value;
    bool present = model_get(model_tree_of(d->m->now, name), key, &expect);
    int rc = kv_get(tree, key.ptr, key.len, &value);
    if (rc != (present ? KV_OK : KV_NOTFOUND))
        return fail(d, rc, "get");
    if (present &&
        (value.len != expect.len || (value.len && memcmp(value.ptr, expect.ptr, value.len) != 0)))
        return fail(d, 0, "get: another value");
    return true;
}

static bool same_pair(const kv_pair *pair, const model_tree *t, uint64_t position)
{
    kvi_slice key, value;
    return model_nth(t, position, &key, &value) && key.len == pair->key.len &&
           value.len == pair->value.len && memcmp(key.ptr, pair->key.ptr, key.len) == 0 &&
           (value.len == 0 || memcmp(value.ptr, pair->value.ptr, value.len) == 0);
}

/* The keys that divide entries [lo, lo + n) of the tree. */
static bool same_split(kv_tree *tree, const model_tree *t, const kv_range *range, uint64_t lo,
                       uint64_t n, size_t parts, int *result)
{
    static uint8_t room[8 * 16384];
    kv_slice keys[8];
    size_t got, k = 0;
    *result = kv_split(tree, range, parts, keys, room, sizeof room, &got);
    if (*result != KV_OK)
        return false;
    for (size_t part = 1; part < parts; part++) {
        uint64_t first = n * part / parts;
        kv_pair pair;
        kvi_slice value;
        if (first == n * (part - 1) / parts)
            continue;
        if (k == got || !model_nth(t, lo + first, NULL, &value))
            return false;
        pair = (kv_pair){keys[k++], {value.ptr, value.len}};
        if (!same_pair(&pair, t, lo + first))
            return false;
    }
    return k == got;
}

const char *driver_order(kv_tree *tree, const model_tree *t, const kvi_slice *from, uint64_t random,
                         int *result)
{
    kv_range range = {.size = sizeof range, .flags = random & 1 ? KV_RANGE_REVERSE : 0};
    bool down = random & 1;
    uint64_t lo = from ? model_rank(t, *from) : 0, n = t->sum.entries - lo;
    uint64_t number = n ? (random >> 8) % (n + 1) : 0;
    kv_pair pair;
    if (from) {
        range.from = from->ptr ? (const void *)from->ptr : "";
        range.from_len = from->len;
    }
    int rc = *result = kv_nth(tree, &range, number, &pair);
    if (rc != (number < n ? KV_OK : KV_NOTFOUND))
        return "nth: result";
    if (rc == KV_OK && !same_pair(&pair, t, down ? lo + n - 1 - number : lo + number))
        return "nth: another entry";
    rc = *result = kv_random(tree, &range, random << 32, &pair);
    number = (uint64_t)((unsigned __int128)(random << 32) * n >> 64);
    if (rc != (n ? KV_OK : KV_NOTFOUND))
        return "random: result";
    if (n && !same_pair(&pair, t, down ? lo + n - 1 - number : lo + number))
        return "random: another entry";
    unsigned percent = (unsigned)(random >> 16) % 101;
    number = (percent * n + 99) / 100;
    rc = *result = kv_percentile(tree, &range, percent, &pair);
    if (rc != (n ? KV_OK : KV_NOTFOUND))
        return "percentile: result";
    number -= number > 0;
    if (n && !same_pair(&pair, t, down ? lo + n - 1 - number : lo + number))
        return "percentile: another entry";
    return same_split(tree, t, &range, lo, n, 1 + (random >> 24) % 8, result) ? NULL
                                                                              : "split: other keys";
}

/* ---- many keys in one call ---- */

enum { MANY = 40, MANY_VALUE = 64 };

static uint8_t many_keys[MANY][KEY_ROOM], many_values[MANY][MANY_VALUE];

/* Short values, but for the last one. */
static kvi_slice pick_many_value(driver *d, size_t i, bool last)
{
    if (last)
        return driver_pick_value(d);
    size_t len = rng_below(&d->r, KVI_MIN(d->shape.value_max, MANY_VALUE) + 1);
    rng_fill(&d->r, many_values[i], len);
    return (kvi_slice){many_values[i], len};
}

static bool step_put_many(driver *d, kv_tree *tree, kvi_slice name)
{
    kv_pair pairs[MANY] = {{{0}, {0}}};
    size_t n = rng_below(&d->r, MANY + 1);
    uint32_t condition = rng_one_in(&d->r, 3) ? (uint32_t)rng_between(&d->r, 1, 2) : 0;
    bool keep = d->shape.expiry && rng_one_in(&d->r, 3);
    uint32_t flags = condition | (keep ? KV_PUT_KEEP_EXPIRY : 0);
    for (size_t i = 0; i < n; i++) {
        kvi_slice key = driver_pick_key(d, many_keys[i]);
        kvi_slice value = pick_many_value(d, i, i + 1 == n);
        pairs[i] = (kv_pair){{key.ptr, key.len}, {value.ptr, value.len}};
    }
    int rc = kv_put_many(tree, n, pairs, flags), expect = KV_OK;
    if (rc < 0)
        return fail(d, rc, "put_many");
    for (size_t i = 0; i < n; i++) {
        kvi_slice key = kvi_slice_of(pairs[i].key.ptr, pairs[i].key.len);
        kvi_slice value = kvi_slice_of(pairs[i].value.ptr, pairs[i].value.len);
        const model_tree *t = model_tree_of(d->m->now, name);
        bool present = model_get(t, key, NULL);
        if (condition == KV_PUT_ABSENT && present)
            expect = KV_EXISTS;
        else if (condition == KV_PUT_PRESENT && !present)
            expect = KV_NOTFOUND;
        else
            model_store(d, name, key, value, keep && present ? model_expiry(t, key) : 0);
    }
    return rc == expect ? true : fail(d, rc, "put_many: answer");
}

static bool step_get_many(driver *d, kv_tree *tree, kvi_slice name)
{
    kv_slice keys[MANY] = {{0}}, values[MANY];
    int results[MANY];
    size_t n = rng_below(&d->r, MANY + 1);
    for (size_t i = 0; i < n; i++) {
        kvi_slice key = driver_pick_key(d, many_keys[i]);
        keys[i] = (kv_slice){key.ptr, key.len};
    }
    int rc = kv_get_many(tree, n, keys, values, results);
    if (rc != KV_OK)
        return fail(d, rc, "get_many");
    for (size_t i = 0; i < n; i++) {
        kvi_slice expect;
        kv_slice value = values[i];
        bool present = model_get(model_tree_of(d->m->now, name),
                                 kvi_slice_of(keys[i].ptr, keys[i].len), &expect);
        if (results[i] != (present ? KV_OK : KV_NOTFOUND) || present != (value.ptr != NULL))
            return fail(d, results[i], "get_many: answer");
        if (present && (value.len != expect.len ||
                        (value.len && memcmp(value.ptr, expect.ptr, value.len) != 0)))
            return fail(d, 0, "get_many: another value");
    }
    return true;
}

static bool step_rank(driver *d, kv_tree *tree, kvi_slice name)
{
    kvi_slice key = driver_pick_key(d, key_room);
    uint64_t rank, count;
    int rc = kv_rank(tree, key.ptr, key.len, &rank);
    if (rc == KV_OK)
        rc = kv_count(tree, NULL, &count);
    if (rc != KV_OK)
        return fail(d, rc, "rank");
    const model_tree *t = model_tree_of(d->m->now, name);
    if (rank != model_rank(t, key) || count != t->sum.entries)
        return fail(d, 0, "rank differs");
    const char *what =
        driver_order(tree, t, rng_one_in(&d->r, 2) ? &key : NULL, rng_next(&d->r), &rc);
    return what ? fail(d, rc < 0 ? rc : 0, what) : true;
}

/* The entry of a number, in a part of the tree, from either end. */
static bool step_nth(driver *d, kv_tree *tree, kvi_slice name)
{
    kvi_slice from = driver_pick_key(d, key_room), expect;
    const model_tree *t = model_tree_of(d->m->now, name);
    uint64_t rank = model_rank(t, from), entries = t->sum.entries - rank, count;
    uint64_t n = rng_below(&d->r, entries + 1);
    bool reverse = rng_one_in(&d->r, 2);
    kv_range range = {.size = sizeof range,
                      .from = from.ptr ? from.ptr : key_room,
                      .from_len = from.len,
                      .flags = reverse ? KV_RANGE_REVERSE : 0};
    bool there = n < entries && model_nth(t, rank + (reverse ? entries - 1 - n : n), &expect, NULL);
    kv_cursor *cursor;
    kv_slice key;
    int rc = kv_count(tree, &range, &count);
    if (rc != KV_OK || count != entries)
        return fail(d, rc, "count of a range differs");
    rc = kv_cursor_open(tree, &range, &cursor);
    if (rc != KV_OK)
        return fail(d, rc, "cursor_open");
    rc = kv_cursor_nth(cursor, n);
    bool fine = rc == (there ? KV_OK : KV_NOTFOUND);
    if (fine && there)
        fine = kv_cursor_get(cursor, &key, NULL) == KV_OK && key.len == expect.len &&
               memcmp(key.ptr, expect.ptr, key.len) == 0;
    kv_cursor_close(cursor);
    return fine ? true : fail(d, rc < 0 ? rc : 0, "nth differs");
}

static bool step_del_range(driver *d, kv_tree *tree, kvi_slice name)
{
    kvi_slice a = driver_pick_key(d, key_room), b = driver_pick_key(d, other_room);
    uint64_t deleted;
    if (kvi_slice_compare(a, b) > 0) {
        kvi_slice c = a;
        a = b;
        b = c;
    }
    /* Narrow the range in most cases, so that trees do not stay empty. */
    const model_tree *t = model_tree_of(d->m->now, name);
    kvi_slice near;
    if (!rng_one_in(&d->r, 8) &&
        model_nth(t, model_rank(t, a) + rng_below(&d->r, 30), &near, NULL) &&
        kvi_slice_compare(near, b) < 0) {
        memcpy(other_room, near.ptr, near.len);
        if (b.ptr == other_room)
            b.len = near.len;
        else
            b = (kvi_slice){other_room, near.len};
        if (a.ptr == other_room)
            return true;
    }
    kv_range range = {.size = sizeof range,
                      .from = a.ptr ? a.ptr : key_room,
                      .from_len = a.len,
                      .to = b.ptr ? b.ptr : key_room,
                      .to_len = b.len};
    int rc = kv_del_range(tree, &range, &deleted);
    if (rc != KV_OK)
        return fail(d, rc, "del_range");
    return deleted == model_del_range(d->m, name, a, &b) ? true : fail(d, 0, "del_range: count");
}

static bool step_tree(driver *d, kv_tree *tree, kvi_slice name)
{
    kvi_slice other = driver_pick_tree(d);
    int rc;
    switch (rng_below(&d->r, 3)) {
    case 0:
        rc = kv_tree_clear(tree);
        if (rc == KV_OK)
            model_tree_clear(d->m, name);
        return rc == KV_OK ? true : fail(d, rc, "clear");
    case 1:
        if (name.len == 0)
            return true;
        rc = kv_tree_drop(tree);
        if (rc == KV_OK)
            model_tree_drop(d->m, name);
        return rc == KV_OK ? true : fail(d, rc, "drop");
    default:
        if (name.len == 0 || other.len == 0)
            return true;
        rc = kv_tree_rename(tree, other.ptr, other.len);
        bool taken = model_tree_of(d->m->now, other) != NULL;
        if (rc == KV_OK && !taken)
            return model_tree_rename(d->m, name, other);
        return rc == KV_EXISTS && taken ? true : fail(d, rc, "rename");
    }
}

static void savepoints_drop(driver *d, uint32_t from)
{
    while (d->n_savepoints > from)
        model_release(d->savepoints[--d->n_savepoints]);
}

static bool step_savepoint(driver *d)
{
    uint32_t n;
    int rc = KV_OK;
    uint64_t what = rng_below(&d->r, 3);
    if (what == 0 && d->n_savepoints < 8) {
        rc = kv_txn_savepoint(d->txn, &n);
        if (rc == KV_OK)
            d->savepoints[d->n_savepoints++] = model_keep(d->m);
        if (rc == KV_OK && n != d->n_savepoints)
            return fail(d, 0, "savepoint: number");
    } else if (d->n_savepoints > 0) {
        n = (uint32_t)rng_between(&d->r, 1, d->n_savepoints);
        if (what == 1) {
            rc = kv_txn_rollback_to(d->txn, n);
            if (rc == KV_OK) {
                model_restore(d->m, d->savepoints[n - 1]);
                savepoints_drop(d, n);
            }
        } else {
            rc = kv_txn_release(d->txn, n);
            if (rc == KV_OK)
                savepoints_drop(d, n - 1);
        }
    }
    return rc == KV_OK ? true : fail(d, rc, "savepoint");
}

static bool step(driver *d)
{
    kvi_slice name = driver_pick_tree(d);
    kv_tree *tree;
    bool present;
    uint64_t what = rng_below(&d->r, 100);
    if (d->shape.savepoints && what < 6)
        return step_savepoint(d);
    if (d->shape.trees && rng_one_in(&d->r, 12)) {
        int wrong;
        const char *differs = multi_step(d, &wrong);
        return differs ? fail(d, wrong < 0 ? wrong : 0, differs) : true;
    }
    int rc = open_tree(d, name, what < 60, &tree, &present);
    if (rc == KV_NOTFOUND && !present)
        return true;
    if (rc != KV_OK)
        return fail(d, rc, "tree_open");
    if (d->shape.expiry && rng_one_in(&d->r, 6))
        return step_expiry(d, tree, name);
    if (what < 46)
        return step_put(d, tree, name);
    if (what < 48)
        return step_put_many(d, tree, name);
    if (what < 60)
        return driver_op_step(d, tree, name);
    if (what < 80)
        return step_del(d, tree, name);
    if (what < 83)
        return step_get_many(d, tree, name);
    if (what < 92)
        return step_get(d, tree, name);
    if (d->shape.expiry && what < 94)
        return step_nth(d, tree, name);
    if (what < 96 || !d->shape.ranges)
        return step_rank(d, tree, name);
    return what < 99 ? step_del_range(d, tree, name) : step_tree(d, tree, name);
}

void driver_pass_time(driver *d)
{
    if (!d->clock || !d->shape.expiry)
        return;
    if (rng_one_in(&d->r, 8))
        *d->clock -= rng_below(&d->r, 3000); /* somebody sets it back */
    else
        *d->clock += rng_below(&d->r, rng_one_in(&d->r, 10) ? 8000 : 400);
}

bool driver_begin(driver *d, uint32_t flags)
{
    kv_txn *txn;
    d->what = NULL;
    driver_pass_time(d);
    int rc = kv_txn_begin(d->db, KV_TXN_WRITE | flags, &txn);
    if (rc != KV_OK)
        return fail(d, rc, "begin");
    driver_enter(d, txn);
    return true;
}

void driver_enter(driver *d, kv_txn *txn)
{
    d->what = NULL;
    d->txn = txn;
    d->base = model_keep(d->m);
    if (d->shape.expiry)
        model_expire(d->m, kv_txn_now(txn));
}

bool driver_steps(driver *d, unsigned n)
{
    while (n-- > 0)
        if (!step(d))
            return false;
    return true;
}

void driver_leave(driver *d, bool keep)
{
    savepoints_drop(d, 0);
    if (!keep)
        model_restore(d->m, d->base);
    model_release(d->base);
    d->base = NULL;
    d->txn = NULL;
}

uint64_t driver_newest(kv_db *db)
{
    uint64_t id = 0;
    return kv_db_wait(db, 0, 0, &id) == KV_OK ? id : 0;
}

int driver_commit(driver *d)
{
    uint64_t id = kv_txn_id(d->txn), now = kv_txn_now(d->txn);
    int rc = kv_txn_commit(d->txn);
    uint64_t newest = rc == KV_OK ? driver_newest(d->db) : 0;
    bool unchanged = newest && newest != id; /* then there is no commit that keeps the time */
    if (newest == id) {
        model_commit_as(d->m, id);
        model_commit_at(d->m, now);
    }
    driver_leave(d, rc == KV_OK && !unchanged);
    return rc;
}

void driver_abort(driver *d)
{
    kv_txn_abort(d->txn);
    driver_leave(d, false);
}

int driver_compact(driver *d)
{
    kv_compact_options options = {.size = sizeof options,
                                  .step_pages = (uint32_t)rng_between(&d->r, 8, 200)};
    kv_txn *txn;
    int rc = kv_db_compact(d->db, &options, NULL);
    if (rc == KV_OK)
        rc = kv_txn_begin(d->db, KV_TXN_READ, &txn);
    if (rc == KV_OK) {
        model_commit_as(d->m, kv_txn_id(txn));
        kv_txn_abort(txn);
    }
    return rc;
}

/* ---- comparing ---- */

typedef struct listing {
    const model_state *state;
    size_t next;
    bool same;
} listing;

static int list_one(void *context, kv_slice name)
{
    listing *list = context;
    if (name.len && *(const char *)name.ptr == '~')
        return 0;
    if (list->next >= list->state->n)
        return list->same = false, 1;
    kvi_slice expect = model_tree_name(&list->state->trees[list->next++]);
    list->same = expect.len == name.len && memcmp(expect.ptr, name.ptr, name.len) == 0;
    return list->same ? 0 : 1;
}

static bool same_trees(kv_txn *txn, const model_state *state)
{
    listing list = {state, 1, true};
    return kv_tree_list(txn, list_one, &list) == KV_OK && list.same && list.next == state->n;
}

static int tree_handle(kv_txn *txn, const model_tree *t, kv_tree **tree)
{
    kvi_slice name = model_tree_name(t);
    *tree = kv_txn_main(txn);
    return name.len ? kv_tree_open(txn, name.ptr, name.len, 0, NULL, tree) : KV_OK;
}

static const char *compare_entry(kvi_slice tree, kvi_slice key, kvi_slice value, kvi_slice k,
                                 kvi_slice v)
{
    multi_entry(tree, &key, &value);
    if (kvi_slice_compare(key, k) != 0)
        return "another key";
    return kvi_slice_compare(value, v) != 0 ? "another value" : NULL;
}

static const char *compare_tree(kv_tree *tree, const model_tree *t)
{
    kvi_slice name = model_tree_name(t);
    kv_cursor *cursor;
    kv_entry_info info = {.size = sizeof info};
    const char *what = NULL;
    uint64_t n = 0;
    const kv_range all = {.size = sizeof all, .flags = KV_RANGE_BRIEF};
    int rc = kv_cursor_open(tree, &all, &cursor);
    if (rc != KV_OK)
        return "cursor_open failed";
    while (!what && (rc = kv_cursor_next(cursor)) == KV_OK) {
        kv_slice key, value;
        kvi_slice k, v;
        if (kv_cursor_get(cursor, &key, &value) != KV_OK)
            what = "cursor_get failed";
        else if (!model_nth(t, n++, &k, &v))
            what = "an entry too many";
        else
            what = compare_entry(name, kvi_slice_of(key.ptr, key.len),
                                 kvi_slice_of(value.ptr, value.len), k, v);
        if (!what &&
            (kv_cursor_info(cursor, &info) != KV_OK || info.expires_at != model_expiry(t, k)))
            what = "another expiry";
    }
    kv_cursor_close(cursor);
    if (!what && rc != KV_NOTFOUND)
        what = "cursor_next failed";
    return what ? what : n == t->sum.entries ? NULL : "an entry too few";
}

static const char *compare(kv_txn *txn, const model_state *state)
{
    if (!same_trees(txn, state))
        return "another list of trees";
    for (size_t i = 0; i < state->n; i++) {
        kv_tree *tree;
        if (tree_handle(txn, &state->trees[i], &tree) != KV_OK)
            return "a tree cannot be opened";
        const char *what = compare_tree(tree, &state->trees[i]);
        if (what)
            return what;
    }
    return NULL;
}

const char *driver_compare(kv_txn *txn, const model_state *state)
{
    model_state *shown = model_shown(state, kv_txn_now(txn));
    const char *what = compare(txn, shown ? shown : state);
    if (shown)
        model_release(shown);
    return what;
}

static bool same_sum(kv_tree *tree, const model_tree *t)
{
    kv_cursor *cursor;
    kv_pair pairs[64];
    size_t got;
    model_sum sum = {0};
    if (kv_cursor_open(tree, NULL, &cursor) != KV_OK)
        return false;
    int rc;
    while ((rc = kv_cursor_read(cursor, pairs, 64, &got)) == KV_OK)
        for (size_t i = 0; i < got; i++) {
            kvi_slice key = kvi_slice_of(pairs[i].key.ptr, pairs[i].key.len);
            kvi_slice value = kvi_slice_of(pairs[i].value.ptr, pairs[i].value.len);
            multi_entry(model_tree_name(t), &key, &value);
            model_sum_add(&sum, key, value);
        }
    kv_cursor_close(cursor);
    return rc == KV_NOTFOUND && model_sum_equal(sum, t->sum);
}

static bool same(kv_txn *txn, const model_state *state)
{
    if (!same_trees(txn, state))
        return false;
    for (size_t i = 0; i < state->n; i++) {
        kv_tree *tree;
        if (tree_handle(txn, &state->trees[i], &tree) != KV_OK || !same_sum(tree, &state->trees[i]))
            return false;
    }
    return true;
}

bool driver_same(kv_txn *txn, const model_state *state)
{
    model_state *shown = model_shown(state, kv_txn_now(txn));
    bool equal = same(txn, shown ? shown : state);
    if (shown)
        model_release(shown);
    return equal;
}
