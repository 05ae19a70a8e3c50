/* multi_steps.c - see multi_steps.h. */
#include "multi_steps.h"
#include "driver_op.h"

#define ROOM 65536

bool multi_is(kvi_slice tree)
{
    return tree.len == strlen(MULTI_NAME) && memcmp(tree.ptr, MULTI_NAME, tree.len) == 0;
}

/* Bytes 00 to 01 as two of them, the second one greater by one; 00 ends the key. */
kvi_slice multi_pair(kvi_slice key, kvi_slice value)
{
    static _Thread_local uint8_t room[ROOM];
    uint8_t *to = room;
    for (size_t i = 0; i < key.len; i++) {
        if (key.ptr[i] < 2)
            *to++ = 1;
        *to++ = (uint8_t)(key.ptr[i] + (key.ptr[i] < 2));
    }
    *to++ = 0;
    if (value.len)
        memcpy(to, value.ptr, value.len);
    return (kvi_slice){room, (size_t)(to - room) + value.len};
}

void multi_entry(kvi_slice tree, kvi_slice *key, kvi_slice *value)
{
    if (!multi_is(tree))
        return;
    *key = multi_pair(*key, *value);
    value->len = 0;
}

/* Few keys, so that each has some values, with what has to be escaped among them. */
static kvi_slice pick_key(driver *d)
{
    static const char *const keys[] = {"", "a", "a\0b", "a\1", "a\0", "ab", "b", "\1\1\1", "zebra"};
    static const uint8_t lens[] = {0, 1, 3, 2, 2, 2, 1, 3, 5};
    size_t i = rng_below(&d->r, KVI_COUNT(lens));
    return kvi_slice_of(keys[i], lens[i]);
}

static kvi_slice pick_value(driver *d)
{
    static uint8_t room[32];
    size_t len = rng_below(&d->r, 9);
    for (size_t i = 0; i < len; i++)
        room[i] = (uint8_t)(rng_one_in(&d->r, 3) ? 0 : rng_below(&d->r, 256));
    return (kvi_slice){room, len};
}

/* The positions of a key's values in the model. */
static void positions(const model_tree *t, kvi_slice key, uint64_t *lo, uint64_t *hi)
{
    kvi_slice none = {NULL, 0};
    kvi_slice first = multi_pair(key, none);
    uint8_t after[ROOM];
    memcpy(after, first.ptr, first.len);
    after[first.len - 1] = 1;
    *lo = model_rank(t, first);
    *hi = model_rank(t, kvi_slice_of(after, first.len));
}

static const char *check_reads(driver *d, kv_tree *tree, kvi_slice key, kvi_slice value,
                               int *result)
{
    const model_tree *t = model_tree_of(d->m->now, model_text(MULTI_NAME));
    uint64_t lo, hi, count, rank;
    bool present = model_get(t, multi_pair(key, value), NULL);
    kvi_slice expect;
    kv_slice k, v;
    kv_cursor *cursor;
    positions(t, key, &lo, &hi);
    *result = kv_multi_has(tree, key.ptr, key.len, value.ptr, value.len);
    if (*result != (present ? KV_OK : KV_NOTFOUND))
        return "multi_has";
    *result = kv_multi_count(tree, key.ptr, key.len, &count);
    if (*result != KV_OK || count != hi - lo)
        return "multi_count";
    *result = kv_rank(tree, key.ptr, key.len, &rank);
    if (*result != KV_OK || rank != lo)
        return "rank of a key with values";
    *result = kv_cursor_open(tree, NULL, &cursor);
    if (*result != KV_OK)
        return "cursor_open";
    const char *what = NULL;
    int rc = kv_cursor_seek(cursor, KV_SEEK_GE, key.ptr, key.len);
    if (rc == KV_OK)
        rc = kv_cursor_next_key(cursor);
    *result = rc;
    uint64_t at = hi;
    if (lo == hi && model_nth(t, lo, &expect, NULL)) { /* the seek went to the key after it */
        kvi_slice form = {expect.ptr, 0};
        uint8_t after[ROOM];
        while (form.ptr[form.len] != 0)
            form.len += form.ptr[form.len] == 1 ? 2 : 1;
        memcpy(after, form.ptr, form.len);
        after[form.len] = 1;
        at = model_rank(t, kvi_slice_of(after, form.len + 1));
    }
    bool more = model_nth(t, at, &expect, NULL);
    if (rc != (more ? KV_OK : KV_NOTFOUND))
        what = "next_key: result";
    else if (more &&
             ((*result = kv_cursor_get(cursor, &k, &v)) != KV_OK ||
              kvi_slice_compare(multi_pair(kvi_slice_of(k.ptr, k.len), kvi_slice_of(v.ptr, v.len)),
                                expect) != 0))
        what = "next_key: another pair";
    kv_cursor_close(cursor);
    return what;
}

uint64_t multi_del_key(model *m, kvi_slice key)
{
    kvi_slice first = multi_pair(key, (kvi_slice){NULL, 0});
    uint8_t after[ROOM];
    memcpy(after, first.ptr, first.len);
    after[first.len - 1] = 1;
    kvi_slice end = {after, first.len};
    return model_del_range(m, model_text(MULTI_NAME), first, &end);
}

static const char *del_key(driver *d, kv_tree *tree, kvi_slice key, int *rc)
{
    uint64_t deleted = 0, expect = 0;
    *rc = kv_multi_del_key(tree, key.ptr, key.len, &deleted);
    if (*rc == KV_OK || *rc == KV_NOTFOUND)
        expect = multi_del_key(d->m, key);
    return *rc == (expect ? KV_OK : KV_NOTFOUND) && deleted == expect ? NULL : "multi_del_key";
}

void multi_op_build(driver *d, kv_op *op)
{
    kvi_slice name = model_text(MULTI_NAME), value = pick_value(d);
    uint64_t what = rng_below(&d->r, 10);
    if (rng_one_in(&d->r, 2))
        value.len = 0; /* which is there, often */
    *op = (kv_op){.kind = what < 6   ? KV_OP_MULTI_PUT
                          : what < 9 ? KV_OP_MULTI_DEL
                                     : KV_OP_MULTI_DEL_KEY,
                  .tree = driver_copy_of(name),
                  .key = driver_copy_of(pick_key(d)),
                  .value = driver_copy_of(value)};
    if (op->kind == KV_OP_MULTI_PUT)
        op->flags = (rng_one_in(&d->r, 8) ? 0 : KV_OP_CREATE_TREE) |
                    (rng_one_in(&d->r, 3) ? KV_PUT_ABSENT : 0);
    else if (op->kind == KV_OP_MULTI_DEL && rng_one_in(&d->r, 8))
        op->flags = KV_PUT_PRESENT;
}

const char *multi_step(driver *d, int *rc)
{
    kvi_slice name = model_text(MULTI_NAME), key = pick_key(d), value = pick_value(d);
    kv_tree *tree;
    bool there = model_tree_of(d->m->now, name) != NULL;
    uint64_t what = rng_below(&d->r, 20);
    *rc = kv_tree_open(d->txn, name.ptr, name.len, KV_TREE_CREATE | KV_TREE_MULTI, NULL, &tree);
    if (*rc != KV_OK)
        return "opening the multi-value tree";
    if (!there)
        model_tree_create(d->m, name);
    const model_tree *t = model_tree_of(d->m->now, name);
    bool present = model_get(t, multi_pair(key, value), NULL);
    if (what < 11) {
        *rc = kv_multi_put(tree, key.ptr, key.len, value.ptr, value.len);
        if (*rc != (present ? KV_EXISTS : KV_OK))
            return "multi_put";
        model_put(d->m, name, multi_pair(key, value), (kvi_slice){NULL, 0});
        return NULL;
    }
    if (what < 15) {
        *rc = kv_multi_del(tree, key.ptr, key.len, value.ptr, value.len);
        if (*rc != (present ? KV_OK : KV_NOTFOUND))
            return "multi_del";
        model_del(d->m, name, multi_pair(key, value));
        return NULL;
    }
    *rc = KV_OK;
    return what < 16 ? del_key(d, tree, key, rc) : check_reads(d, tree, key, value, rc);
}
