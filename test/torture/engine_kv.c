/* engine_kv.c - kv, through its public header; only the clock is another. */
#include "torture.h"

#include "db.h"
#include <stdio.h>
#include <stdlib.h>

enum { OPEN_WAIT_MS = 60000 };

struct store {
    kv_db *db;
};

struct view {
    kv_db *db;
    kv_txn *txn;
    uint64_t said; /* by the clock, when it began */
};

static uint64_t clock_said;

static uint64_t read_clock(const kvi_os *os)
{
    (void)os;
    return clock_said = torture_clock();
}

static const kvi_os *other_clock(void)
{
    static kvi_os os;
    os = kvi_os_posix;
    os.clock_ms = os.tick_ms = read_clock;
    return &os;
}

static char sentence[TEXT_MAX];

static const char *kv_why(void)
{
    return sentence;
}

static enum result answer(kv_db *db, int rc)
{
    char message[TEXT_MAX / 2] = "";
    if (rc == KV_OK)
        return DONE;
    if (rc == KV_NOTFOUND)
        return ABSENT;
    if (rc == KV_EFORKED)
        return FORKED;
    kv_db_errmsg(db, message, sizeof message);
    snprintf(sentence, sizeof sentence, "%s (%s)", kv_strerror(rc), message);
    return FAILED;
}

static enum result store_open(const char *path, bool guest, uint64_t dice, void **store)
{
    static const uint32_t sweeps[] = {0, 0, 2, 100};
    char message[TEXT_MAX / 2] = "";
    kv_options options = {.size = sizeof options,
                          .flags = guest ? KV_OPEN_READONLY : KV_OPEN_CREATE,
                          .wait_ms = OPEN_WAIT_MS,
                          .sweep_per_write = sweeps[dice % 4]};
    struct store *s = calloc(1, sizeof *s);
    int rc =
        s ? kvi_db_open(other_clock(), path, &options, &s->db, message, sizeof message) : KV_ENOMEM;
    if (rc == KV_OK) {
        *store = s;
        return DONE;
    }
    snprintf(sentence, sizeof sentence, "%s (%s)", kv_strerror(rc), message);
    free(s);
    return FAILED;
}

static enum result store_close(void *store)
{
    struct store *s = store;
    int rc = kv_db_close(s->db);
    if (rc != KV_OK)
        snprintf(sentence, sizeof sentence, "%s", kv_strerror(rc));
    free(s);
    return rc == KV_OK ? DONE : FAILED;
}

static const uint32_t durability[] = {KV_TXN_LAZY, KV_TXN_LAZY, KV_TXN_DURABLE, KV_TXN_STRICT};

static enum result view_begin(void *store, enum access access, uint64_t dice, void **view)
{
    struct store *s = store;
    struct view *v = malloc(sizeof *v);
    uint32_t flags = KV_TXN_READ;
    if (access != ACCESS_READ)
        flags = KV_TXN_WRITE | durability[dice % 4];
    if (access == ACCESS_TRY)
        flags |= KV_TXN_TRY;
    int rc = v ? kv_txn_begin(s->db, flags, &v->txn) : KV_ENOMEM;
    if (rc == KV_OK) {
        v->db = s->db;
        v->said = clock_said;
        *view = v;
        return DONE;
    }
    free(v);
    return access == ACCESS_TRY && rc == KV_EBUSY ? BUSY : answer(s->db, rc);
}

static enum result view_refresh(void *view)
{
    struct view *v = view;
    int rc = kv_txn_refresh(v->txn);
    v->said = clock_said;
    return answer(v->db, rc);
}

static enum result view_newer(void *view, uint32_t ms)
{
    struct view *v = view;
    return answer(v->db, kv_db_wait(v->db, kv_txn_id(v->txn), ms, NULL));
}

static enum result view_commit(void *view)
{
    struct view *v = view;
    enum result result = answer(v->db, kv_txn_commit(v->txn));
    free(v);
    return result;
}

static void view_abort(void *view)
{
    struct view *v = view;
    kv_txn_abort(v->txn);
    free(v);
}

static kv_slice slice_of(struct bytes bytes)
{
    return (kv_slice){bytes.ptr, bytes.len};
}

static size_t batch_ops(const struct batch *batch, kv_op *ops)
{
    size_t n = 0;
    if (batch->only_if.ptr)
        ops[n++] = (kv_op){.kind = batch->before.ptr ? KV_OP_CHECK_VALUE : KV_OP_CHECK_ABSENT,
                           .key = slice_of(batch->only_if),
                           .value = slice_of(batch->before)};
    for (size_t i = 0; i < batch->n; i++)
        ops[n++] = (kv_op){.kind = batch->changes[i].value.ptr ? KV_OP_PUT : KV_OP_DEL,
                           .key = slice_of(batch->changes[i].key),
                           .value = slice_of(batch->changes[i].value)};
    return n;
}

static enum result store_write(void *store, const struct batch *batch, uint64_t dice)
{
    struct store *s = store;
    kv_op *ops = calloc(CHANGES_MAX + 1, sizeof *ops);
    int rc = ops ? kv_db_write(s->db, ops, batch_ops(batch, ops), durability[dice % 4], NULL)
                 : KV_ENOMEM;
    free(ops);
    return rc == KV_MISMATCH || rc == KV_EXISTS ? BUSY : answer(s->db, rc);
}

static enum result view_get(void *view, struct bytes key, struct bytes *value)
{
    struct view *v = view;
    kv_slice found;
    int rc = kv_get(kv_txn_main(v->txn), key.ptr, key.len, &found);
    if (rc == KV_OK)
        *value = (struct bytes){found.ptr, found.len};
    return answer(v->db, rc);
}

static enum result view_put(void *view, struct bytes key, struct bytes value)
{
    struct view *v = view;
    return answer(v->db, kv_put(kv_txn_main(v->txn), key.ptr, key.len, value.ptr, value.len, 0));
}

static enum result view_del(void *view, struct bytes key)
{
    struct view *v = view;
    return answer(v->db, kv_del(kv_txn_main(v->txn), key.ptr, key.len));
}

static enum result view_put_for(void *view, struct bytes key, struct bytes value, uint64_t ttl_ms)
{
    struct view *v = view;
    kv_put_options options = {.size = sizeof options, .ttl_ms = ttl_ms};
    return answer(
        v->db, kv_put_with(kv_txn_main(v->txn), key.ptr, key.len, value.ptr, value.len, &options));
}

static enum result view_expire(void *view, struct bytes key, uint64_t ttl_ms)
{
    struct view *v = view;
    return answer(v->db, kv_expire(kv_txn_main(v->txn), key.ptr, key.len, ttl_ms));
}

static uint64_t view_now(void *view, uint64_t *said)
{
    struct view *v = view;
    *said = v->said;
    return kv_txn_now(v->txn);
}

static enum result view_scan(void *view, visit *fn, void *context)
{
    struct view *v = view;
    kv_cursor *cursor;
    kv_slice key, value;
    int rc = kv_cursor_open(kv_txn_main(v->txn), NULL, &cursor);
    if (rc != KV_OK)
        return answer(v->db, rc);
    while ((rc = kv_cursor_next(cursor)) == KV_OK &&
           (rc = kv_cursor_get(cursor, &key, &value)) == KV_OK)
        fn(context, (struct bytes){key.ptr, key.len}, (struct bytes){value.ptr, value.len});
    kv_cursor_close(cursor);
    return rc == KV_NOTFOUND ? DONE : answer(v->db, rc);
}

static enum result store_check(void *store)
{
    struct store *s = store;
    return answer(s->db, kv_db_check(s->db, NULL));
}

/* Who may hold the lifecycle byte, and who the writer's. Beginning to read waits for nobody. */
#define COMES_AND_GOES (1u << PHASE_OPEN | 1u << PHASE_CLOSE)
#define WRITES         (1u << PHASE_BEGIN_WRITE | 1u << PHASE_WRITE | 1u << PHASE_COMMIT)

const struct engine torture_kv = {
    .name = "kv",
    .version = kv_version,
    .side = "-lock",
    .many_handles = true,
    .guests = true,
    .forks = true,
    .delayed_by = {[PHASE_OPEN] = COMES_AND_GOES | WRITES,
                   [PHASE_CLOSE] = COMES_AND_GOES | WRITES,
                   [PHASE_BEGIN_WRITE] = COMES_AND_GOES | WRITES},
    .open = store_open,
    .close = store_close,
    .begin = view_begin,
    .refresh = view_refresh,
    .newer = view_newer,
    .commit = view_commit,
    .abort = view_abort,
    .write = store_write,
    .get = view_get,
    .put = view_put,
    .del = view_del,
    .put_for = view_put_for,
    .expire = view_expire,
    .now = view_now,
    .scan = view_scan,
    .check = store_check,
    .why = kv_why,
};
