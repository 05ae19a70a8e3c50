/* driver_replay.c - see driver_replay.h. The backup states everything, so it fits an empty database
 * and every copy. */
#include "driver_replay.h"
#include "backup.h"
#include "parcel.h"
#include <stdlib.h>

#define KEY_ROOM 16384

static uint8_t key_room[KEY_ROOM];

/* ---- the original changes ---- */

static void change_one(driver *d)
{
    kvi_slice name = driver_pick_tree(d), key = driver_pick_key(d, key_room);
    if (!model_tree_of(d->m->now, name))
        model_tree_create(d->m, name);
    else if (name.len && rng_one_in(&d->r, 12))
        model_tree_drop(d->m, name);
    else if (rng_one_in(&d->r, 3))
        model_del(d->m, name, key);
    else
        model_put(d->m, name, key, driver_pick_value(d));
}

/* ---- its backup ---- */

static void say_number(kvi_stream *stream, uint64_t n)
{
    if (kvi_stream_put_number(stream, n) != KV_OK)
        abort();
}

static void say_bytes(kvi_stream *stream, kvi_slice bytes)
{
    say_number(stream, bytes.len);
    if (kvi_stream_put(stream, bytes) != KV_OK)
        abort();
}

/* A record with an open bound: records and numbers below 128 are one byte alike. */
static void say_open(kvi_stream *stream, uint8_t record)
{
    say_number(stream, record);
    say_number(stream, 0);
}

static bool say_entry(void *context, kvi_slice key, kvi_slice value)
{
    kvi_stream *stream = context;
    say_number(stream, KVI_SAYS_PUT);
    say_bytes(stream, key);
    say_bytes(stream, value);
    return true;
}

static void say_tree(kvi_stream *stream, const model_tree *tree)
{
    say_number(stream, KVI_SAYS_TREE);
    say_bytes(stream, model_tree_name(tree));
    for (int i = 0; i < 4; i++)
        say_number(stream, 0); /* no flags, no options */
    say_open(stream, KVI_SAYS_FROM);
    model_each(tree, say_entry, stream);
    say_open(stream, KVI_SAYS_TO);
}

static void say_all(parcel *p, const model_state *state, uint64_t id)
{
    kvi_err err;
    kvi_err_init(&err);
    kvi_stream stream = {.os = &kvi_os_posix, .err = &err, .write = parcel_write, .context = p};
    kvi_stream_header header = {.page_size = KVI_PAGE_DEFAULT, .file_id = "the original", .to = id};
    if (kvi_stream_open(&stream) != KV_OK || kvi_stream_begin(&stream, &header) != KV_OK)
        abort();
    say_tree(&stream, &state->trees[0]);
    say_open(&stream, KVI_SAYS_NAMES_FROM);
    for (size_t i = 1; i < state->n; i++)
        say_tree(&stream, &state->trees[i]);
    say_open(&stream, KVI_SAYS_NAMES_TO);
    if (kvi_stream_end(&stream) != KV_OK)
        abort();
    kvi_stream_close(&stream);
    kvi_err_destroy(&err);
}

/* ---- the commit ---- */

static int next_id(kv_db *db, uint64_t *id)
{
    kv_txn *txn;
    int rc = kv_txn_begin(db, KV_TXN_WRITE, &txn);
    if (rc == KV_OK) {
        *id = kv_txn_id(txn);
        kv_txn_abort(txn);
    }
    return rc;
}

/* The original numbers its commits as the copy does: they ascend. */
static int replay(driver *d, uint32_t flags)
{
    parcel p = {0};
    uint64_t id, before = driver_newest(d->db);
    int rc = next_id(d->db, &id);
    if (rc != KV_OK)
        return rc;
    say_all(&p, d->m->now, id);
    rc = parcel_unpack(&p, d->db, flags, NULL);
    uint64_t after = driver_newest(d->db);
    if (rc == KV_OK && after != before)
        model_commit_as(d->m, after);
    parcel_free(&p);
    return rc;
}

bool driver_replay(driver *d, uint32_t flags, model_state **unknown)
{
    model_state *base = model_keep(d->m);
    *unknown = NULL;
    d->what = NULL;
    for (uint64_t n = rng_between(&d->r, 1, 6); n > 0; n--)
        change_one(d);
    d->failure = replay(d, flags);
    if (d->failure != KV_OK) {
        d->what = "applying a backup";
        if (d->failure == KV_EPOISONED)
            *unknown = model_keep(d->m);
        model_restore(d->m, base);
    }
    model_release(base);
    return d->failure == KV_OK;
}
