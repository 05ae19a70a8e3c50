/* engine_lmdb.c - LMDB as its documentation recommends: opened once in a process, dead readers
 * looked for at each opening and when the table is full. */
#include "torture.h"

#if __has_include(<lmdb.h>) && !defined(TORTURE_WITHOUT_LMDB)

#include <errno.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>

#define MAP_SIZE ((size_t)1 << 30)

struct view {
    MDB_txn *txn;
    MDB_dbi dbi;
};

static char sentence[TEXT_MAX];

static const char *lmdb_why(void)
{
    return sentence;
}

static const char *lmdb_version(void)
{
    static char text[32];
    int major, minor, patch;
    mdb_version(&major, &minor, &patch);
    snprintf(text, sizeof text, "%d.%d.%d", major, minor, patch);
    return text;
}

static enum result answer(int rc)
{
    if (rc == MDB_SUCCESS)
        return DONE;
    if (rc == MDB_NOTFOUND)
        return ABSENT;
    snprintf(sentence, sizeof sentence, "%s", mdb_strerror(rc));
    return FAILED;
}

static enum result store_open(const char *path, bool guest, uint64_t dice, void **store)
{
    MDB_env *env;
    (void)guest; /* a reader must be allowed to write the lock file */
    unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | (dice % 2 ? MDB_NOSYNC : 0);
    int dead, rc = mdb_env_create(&env);
    if (rc != MDB_SUCCESS)
        return answer(rc);
    rc = mdb_env_set_mapsize(env, MAP_SIZE);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_open(env, path, flags, 0644);
    if (rc == MDB_SUCCESS)
        rc = mdb_reader_check(env, &dead);
    if (rc == MDB_SUCCESS)
        *store = env;
    else
        mdb_env_close(env);
    return answer(rc);
}

static enum result store_close(void *store)
{
    mdb_env_close(store);
    return DONE;
}

static int begin(MDB_env *env, enum access access, MDB_txn **txn)
{
    int dead, rc = mdb_txn_begin(env, NULL, access == ACCESS_READ ? MDB_RDONLY : 0, txn);
    if (rc != MDB_READERS_FULL)
        return rc;
    rc = mdb_reader_check(env, &dead);
    return rc == MDB_SUCCESS ? mdb_txn_begin(env, NULL, MDB_RDONLY, txn) : rc;
}

static enum result view_begin(void *store, enum access access, uint64_t dice, void **view)
{
    struct view *v = malloc(sizeof *v);
    (void)dice;
    if (!v)
        return answer(ENOMEM);
    int rc = begin(store, access, &v->txn);
    if (rc == MDB_SUCCESS) {
        rc = mdb_dbi_open(v->txn, NULL, 0, &v->dbi);
        if (rc != MDB_SUCCESS)
            mdb_txn_abort(v->txn);
    }
    if (rc == MDB_SUCCESS)
        *view = v;
    else
        free(v);
    return answer(rc);
}

static enum result view_refresh(void *view)
{
    struct view *v = view;
    mdb_txn_reset(v->txn);
    return answer(mdb_txn_renew(v->txn));
}

static enum result view_commit(void *view)
{
    struct view *v = view;
    int rc = mdb_txn_commit(v->txn);
    free(v);
    return answer(rc);
}

static void view_abort(void *view)
{
    struct view *v = view;
    mdb_txn_abort(v->txn);
    free(v);
}

static MDB_val val_of(struct bytes bytes)
{
    union {
        const void *in;
        void *out; /* LMDB's structure is not const, its functions do not write through it */
    } u = {bytes.ptr};
    return (MDB_val){bytes.len, u.out};
}

static enum result view_get(void *view, struct bytes key, struct bytes *value)
{
    struct view *v = view;
    MDB_val k = val_of(key), found;
    int rc = mdb_get(v->txn, v->dbi, &k, &found);
    if (rc == MDB_SUCCESS)
        *value = (struct bytes){found.mv_data, found.mv_size};
    return answer(rc);
}

static enum result view_put(void *view, struct bytes key, struct bytes value)
{
    struct view *v = view;
    MDB_val k = val_of(key), data = val_of(value);
    return answer(mdb_put(v->txn, v->dbi, &k, &data, 0));
}

static enum result view_del(void *view, struct bytes key)
{
    struct view *v = view;
    MDB_val k = val_of(key);
    return answer(mdb_del(v->txn, v->dbi, &k, NULL));
}

static enum result view_scan(void *view, visit *fn, void *context)
{
    struct view *v = view;
    MDB_cursor *cursor;
    MDB_val k, data;
    int rc = mdb_cursor_open(v->txn, v->dbi, &cursor);
    if (rc != MDB_SUCCESS)
        return answer(rc);
    while ((rc = mdb_cursor_get(cursor, &k, &data, MDB_NEXT)) == MDB_SUCCESS)
        fn(context, (struct bytes){k.mv_data, k.mv_size},
           (struct bytes){data.mv_data, data.mv_size});
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? DONE : answer(rc);
}

static enum result store_check(void *store)
{
    (void)store; /* there is none */
    return DONE;
}

/* Readers register under a mutex, too. */
#define HOLDS                                                                                      \
    (1u << PHASE_OPEN | 1u << PHASE_CLOSE | 1u << PHASE_BEGIN_READ | 1u << PHASE_BEGIN_WRITE |     \
     1u << PHASE_WRITE | 1u << PHASE_COMMIT)

static const struct engine lmdb = {
    .name = "lmdb",
    .version = lmdb_version,
    .delayed_by = {[PHASE_OPEN] = HOLDS,
                   [PHASE_CLOSE] = HOLDS,
                   [PHASE_BEGIN_READ] = HOLDS,
                   [PHASE_BEGIN_WRITE] = HOLDS},
    .open = store_open,
    .close = store_close,
    .begin = view_begin,
    .refresh = view_refresh,
    .commit = view_commit,
    .abort = view_abort,
    .get = view_get,
    .put = view_put,
    .del = view_del,
    .scan = view_scan,
    .check = store_check,
    .why = lmdb_why,
};

const struct engine *torture_lmdb(void)
{
    return &lmdb;
}

#else

const struct engine *torture_lmdb(void)
{
    return NULL;
}

#endif
