/* batch.c - changes that one call makes: what a transaction would do is noted down beside a snapshot,
 * and holds only if no other commit has come between. */
#include "data.h"

#include <stdlib.h>
#include <string.h>

/* What the noting engine calls a view. */
struct draft {
    const struct engine *engine;
    void *snapshot;
    struct batch *batch;
};

/* ---- notes ---- */

static bool same(struct bytes a, struct bytes b)
{
    return a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0;
}

/* Copies: NULL stays NULL. */
static struct bytes keep(struct bytes bytes)
{
    if (!bytes.ptr)
        return bytes;
    void *copy = malloc(bytes.len + 1);
    if (!copy)
        abort();
    memcpy(copy, bytes.ptr, bytes.len);
    return (struct bytes){copy, bytes.len};
}

static enum result note(struct batch *batch, struct bytes key, struct bytes value)
{
    if (batch->n == CHANGES_MAX)
        abort();
    batch->changes[batch->n++] = (struct change){keep(key), keep(value)};
    return DONE;
}

static const struct change *noted(const struct batch *batch, struct bytes key)
{
    for (size_t i = batch->n; i-- > 0;)
        if (same(batch->changes[i].key, key))
            return &batch->changes[i];
    return NULL;
}

/* ---- the noting engine ---- */

static enum result draft_get(void *view, struct bytes key, struct bytes *value)
{
    struct draft *draft = view;
    const struct change *change = noted(draft->batch, key);
    if (!change)
        return draft->engine->get(draft->snapshot, key, value);
    *value = change->value;
    return change->value.ptr ? DONE : ABSENT;
}

static enum result draft_put(void *view, struct bytes key, struct bytes value)
{
    struct draft *draft = view;
    return note(draft->batch, key, value);
}

static enum result draft_del(void *view, struct bytes key)
{
    struct draft *draft = view;
    return note(draft->batch, key, (struct bytes){NULL, 0});
}

/* It knows no time: when a batch is committed, and so when its entries expire, the call decides. */
static const struct engine noting = {.get = draft_get, .put = draft_put, .del = draft_del};

/* ---- batches ---- */

enum result torture_batch_make(const struct engine *engine, void *snapshot, uint32_t me, rng *dice,
                               struct batch *batch)
{
    struct draft draft = {engine, snapshot, batch};
    struct bytes before = {NULL, 0};
    batch->n = 0;
    batch->only_if = torture_sum_key;
    enum result result = engine->get(snapshot, torture_sum_key, &before);
    batch->before = result == DONE ? keep(before) : (struct bytes){NULL, 0};
    return result == FAILED ? result : torture_change(&noting, &draft, me, dice, &batch->count);
}

static void give_up(struct bytes kept)
{
    free((void *)(uintptr_t)kept.ptr);
}

void torture_batch_free(struct batch *batch)
{
    for (size_t i = 0; i < batch->n; i++) {
        give_up(batch->changes[i].key);
        give_up(batch->changes[i].value);
    }
    give_up(batch->before);
}
