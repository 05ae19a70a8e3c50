/* ops.c - target `ops`: calls of the public interface in any order, on three handles of one file (one
 * of them read-only), with readers, a writer, savepoints, trees, cursors and batches; every answer is
 * compared with the model's. Wrong calls that kv.h names are among them. ops_time.c, ops_multi.c and
 * ops_whole.c have the steps with expiries, with pairs, and on the whole database.
 *
 *   byte 0     bit 0: small memory budget; bit 1: compressed trees; bits 2 and 3: durability; bit 4:
 *              commits sweep
 *   then       steps: a byte for the step, its arguments
 */
#include "ops.h"
#include "db.h"
#include "driver_snapshot.h"
#include "wrong.h"
#include <limits.h>

#define STEPS     400
#define TREES     4
#define FILE_NAME "ops.kv"

static const char *const names[TREES] = {"", "a", "bb", "bbb"};

/* ---- arguments ---- */

kvi_slice bench_name(bench *b)
{
    return model_text(names[fuzz_below(b->in, TREES)]);
}

/* room: KVI_PAGE_MAX bytes. Few different keys; seldom one that is too long. */
kvi_slice bench_key(bench *b, uint8_t *room)
{
    unsigned how = (unsigned)fuzz_take(b->in, 1);
    size_t max = kvi_key_max(KVI_PAGE_MIN), len;
    if (how < 128) {
        room[0] = 'k';
        room[1] = (uint8_t)(how & 63);
        return (kvi_slice){room, how < 64 ? 2 : 1};
    }
    len = how == 255 ? max + 1 : how > 250 ? max : how > 200 ? max / 2 + how % 8 : how % 24;
    memset(room, how & 1 ? 'x' : 0, len);
    if (len > 4 && how > 160)
        room[len - 1 - (how & 2)] = (uint8_t)fuzz_take(b->in, 1);
    return (kvi_slice){room, len};
}

static kvi_slice take_value(bench *b)
{
    static uint8_t room[64 << 10];
    static const uint32_t lens[] = {
        0, 1, 8, 40, 100, 1000, 2000, 5000, KVI_PAGE_MIN * 3, KVI_PAGE_MIN * 9};
    unsigned how = (unsigned)fuzz_take(b->in, 1);
    size_t len = KVI_MIN(lens[how % KVI_COUNT(lens)] + (how >> 5), sizeof room);
    memset(room, (int)how, len);
    for (size_t i = 0; how & 1 && i < len; i++)
        room[i] = (uint8_t)(i * how ^ i >> 8);
    return (kvi_slice){room, len};
}

static const model_tree *tree_in(const model_state *state, kvi_slice name)
{
    return model_tree_of(state, name);
}

kv_txn *bench_txn(bench *b, const model_state **state)
{
    unsigned i = (unsigned)fuzz_below(b->in, READERS + 2);
    if (i >= READERS) {
        *state = b->m->now;
        return b->writer.txn;
    }
    *state = b->reader[i].state;
    return b->reader[i].txn;
}

kv_tree *bench_open_tree(kv_txn *txn, const model_state *state, kvi_slice name)
{
    kv_tree *tree;
    if (name.len == 0)
        return kv_txn_main(txn);
    int rc = kv_tree_open(txn, name.ptr, name.len, 0, NULL, &tree);
    FUZZ_MUST(rc == (tree_in(state, name) ? KV_OK : KV_NOTFOUND));
    return tree;
}

kv_db *bench_free(bench *b)
{
    unsigned d = (unsigned)fuzz_below(b->in, HANDLES - 1);
    return b->writer.txn ? NULL : b->db[d];
}

/* Before the writer's trees change: a writer, its tree, which exists. */
static kv_tree *take_writable(bench *b, kvi_slice *name)
{
    *name = bench_name(b);
    return b->writer.txn ? bench_open_tree(b->writer.txn, b->m->now, *name) : NULL;
}

/* ---- entries ---- */

static bool too_long(kvi_slice key)
{
    return key.len > kvi_key_max(KVI_PAGE_MIN);
}

static void step_put(bench *b)
{
    uint8_t room[KVI_PAGE_MAX];
    kvi_slice name, key = bench_key(b, room), value = take_value(b);
    uint32_t flags = (uint32_t)fuzz_take(b->in, 1);
    void *place;
    int rc;
    kv_tree *tree = take_writable(b, &name);
    if (!tree)
        return;
    bool reserve = flags & 16, present = model_get(tree_in(b->m->now, name), key, NULL);
    flags = flags % 16 < 4 ? flags & 3 : 0;
    if (reserve)
        rc = kv_reserve(tree, key.ptr, key.len, value.len, flags, &place);
    else
        rc = kv_put(tree, key.ptr, key.len, value.ptr, value.len, flags);
    if (flags == 3)
        FUZZ_MUST(rc == KV_EINVAL);
    else if (too_long(key))
        FUZZ_MUST(rc == KV_ETOOBIG);
    else if (flags == KV_PUT_ABSENT && present)
        FUZZ_MUST(rc == KV_EXISTS);
    else if (flags == KV_PUT_PRESENT && !present)
        FUZZ_MUST(rc == KV_NOTFOUND);
    else
        FUZZ_MUST(rc == KV_OK);
    if (rc != KV_OK)
        return;
    if (reserve && value.len)
        memcpy(place, value.ptr, value.len);
    model_put(b->m, name, key, value);
}

static void step_del(bench *b)
{
    uint8_t room[KVI_PAGE_MAX];
    kvi_slice name, key = bench_key(b, room);
    kv_tree *tree = take_writable(b, &name);
    if (!tree)
        return;
    int rc = kv_del(tree, key.ptr, key.len);
    if (too_long(key))
        FUZZ_MUST(rc == KV_ETOOBIG);
    else
        FUZZ_MUST(rc == (model_del(b->m, name, key) ? KV_OK : KV_NOTFOUND));
}

static void step_get(bench *b)
{
    uint8_t room[KVI_PAGE_MAX];
    const model_state *state;
    kvi_slice name = bench_name(b), key = bench_key(b, room), expected;
    kv_slice value;
    kv_txn *txn = bench_txn(b, &state);
    kv_tree *tree = txn ? bench_open_tree(txn, state, name) : NULL;
    if (!tree)
        return;
    int rc = kv_get(tree, key.ptr, key.len, &value);
    bool present = model_get(tree_in(state, name), key, &expected);
    FUZZ_MUST(rc == (present ? KV_OK : KV_NOTFOUND));
    FUZZ_MUST(!present || (value.len == expected.len &&
                           (value.len == 0 || memcmp(value.ptr, expected.ptr, value.len) == 0)));
}

enum { MANY = 5 };

static uint8_t many_keys[MANY][KVI_PAGE_MAX];

static void step_get_many(bench *b)
{
    const model_state *state;
    kvi_slice name = bench_name(b), expected;
    kv_slice keys[MANY] = {{0}}, values[MANY];
    int results[MANY];
    size_t n = fuzz_below(b->in, MANY + 1);
    for (size_t i = 0; i < n; i++) {
        kvi_slice key = bench_key(b, many_keys[i]);
        keys[i] = (kv_slice){key.ptr, key.len};
    }
    kv_txn *txn = bench_txn(b, &state);
    kv_tree *tree = txn ? bench_open_tree(txn, state, name) : NULL;
    if (!tree)
        return;
    FUZZ_MUST(kv_get_many(tree, n, keys, values, results) == KV_OK);
    for (size_t i = 0; i < n; i++) {
        bool present =
            model_get(tree_in(state, name), kvi_slice_of(keys[i].ptr, keys[i].len), &expected);
        FUZZ_MUST(results[i] == (present ? KV_OK : KV_NOTFOUND));
        FUZZ_MUST(present == (values[i].ptr != NULL));
        FUZZ_MUST(!present ||
                  (values[i].len == expected.len &&
                   (values[i].len == 0 || !memcmp(values[i].ptr, expected.ptr, expected.len))));
    }
}

/* What the puts of a call must answer; the model does them, unless one key is too long. */
static int model_put_many(bench *b, kvi_slice name, const kv_pair *pairs, size_t n, uint32_t flags)
{
    int answer = KV_OK;
    for (size_t i = 0; i < n; i++)
        if (too_long(kvi_slice_of(pairs[i].key.ptr, pairs[i].key.len)))
            return KV_ETOOBIG;
    for (size_t i = 0; i < n; i++) {
        kvi_slice key = kvi_slice_of(pairs[i].key.ptr, pairs[i].key.len);
        bool present = model_get(tree_in(b->m->now, name), key, NULL);
        if (flags == KV_PUT_ABSENT && present)
            answer = KV_EXISTS;
        else if (flags == KV_PUT_PRESENT && !present)
            answer = KV_NOTFOUND;
        else
            model_put(b->m, name, key, kvi_slice_of(pairs[i].value.ptr, pairs[i].value.len));
    }
    return answer;
}

static void step_put_many(bench *b)
{
    static uint8_t values[MANY][128];
    kv_pair pairs[MANY] = {{{0}, {0}}};
    kvi_slice name;
    size_t n = fuzz_below(b->in, MANY + 1);
    uint32_t flags = (uint32_t)fuzz_below(b->in, 3);
    for (size_t i = 0; i < n; i++) {
        kvi_slice key = bench_key(b, many_keys[i]), value = take_value(b);
        size_t len = KVI_MIN(value.len, sizeof values[i]);
        memcpy(values[i], value.ptr, len);
        pairs[i] = (kv_pair){{key.ptr, key.len}, {values[i], len}};
    }
    kv_tree *tree = take_writable(b, &name);
    if (tree)
        FUZZ_MUST(kv_put_many(tree, n, pairs, flags) == model_put_many(b, name, pairs, n, flags));
}

static void step_rank(bench *b)
{
    uint8_t room[KVI_PAGE_MAX];
    const model_state *state;
    kvi_slice name = bench_name(b), key = bench_key(b, room);
    uint64_t rank, count;
    kv_txn *txn = bench_txn(b, &state);
    kv_tree *tree = txn ? bench_open_tree(txn, state, name) : NULL;
    if (!tree)
        return;
    const model_tree *t = tree_in(state, name);
    FUZZ_MUST(kv_rank(tree, key.ptr, key.len, &rank) == KV_OK && rank == model_rank(t, key));
    kv_range range = {.size = sizeof range, .from = room, .from_len = key.len};
    FUZZ_MUST(kv_count(tree, &range, &count) == KV_OK && count == t->sum.entries - rank);
    FUZZ_MUST(kv_count(tree, NULL, &count) == KV_OK && count == t->sum.entries);
    int rc;
    const char *what = driver_order(tree, t, &key, rank * 0x9e3779b97f4a7c15 + key.len, &rc);
    if (what)
        fuzz_fail("%s", what);
}

static void step_del_range(bench *b)
{
    uint8_t room[KVI_PAGE_MAX], other[KVI_PAGE_MAX];
    kvi_slice name, from = bench_key(b, room), to = bench_key(b, other);
    uint64_t deleted = 0;
    kv_tree *tree = take_writable(b, &name);
    if (!tree || kvi_slice_compare(from, to) > 0)
        return;
    kv_range range = {.size = sizeof range, .from = room, .from_len = from.len};
    range.to = other;
    range.to_len = to.len;
    FUZZ_MUST(kv_del_range(tree, &range, &deleted) == KV_OK);
    FUZZ_MUST(deleted == model_del_range(b->m, name, from, &to));
}

/* ---- trees ---- */

static void step_create(bench *b)
{
    const kv_tree_options options = {sizeof options, b->how & 2 ? 60 : 0};
    kvi_slice name = bench_name(b);
    bool exclusive = fuzz_take(b->in, 1) & 1;
    kv_tree *tree;
    if (!b->writer.txn || name.len == 0)
        return;
    bool present = tree_in(b->m->now, name) != NULL;
    int rc = kv_tree_open(b->writer.txn, name.ptr, name.len,
                          KV_TREE_CREATE | (exclusive ? KV_TREE_EXCLUSIVE : 0), &options, &tree);
    FUZZ_MUST(rc == (exclusive && present ? KV_EXISTS : KV_OK));
    if (!present)
        model_tree_create(b->m, name);
}

static void step_drop(bench *b)
{
    kvi_slice name;
    kv_slice value;
    kv_tree *tree = take_writable(b, &name);
    if (!tree || fuzz_take(b->in, 1) & 1)
        return;
    int rc = kv_tree_drop(tree);
    FUZZ_MUST(rc == (name.len ? KV_OK : KV_EINVAL));
    if (rc != KV_OK)
        return;
    model_tree_drop(b->m, name);
    FUZZ_MUST(kv_get(tree, "k", 1, &value) == KV_NOTFOUND);
    FUZZ_MUST(kv_put(tree, "k", 1, "v", 1, 0) == KV_NOTFOUND);
}

static void step_rename(bench *b)
{
    kvi_slice name, other = bench_name(b);
    kv_tree *tree = take_writable(b, &name);
    if (!tree)
        return;
    int rc = kv_tree_rename(tree, other.ptr, other.len);
    if (name.len == 0 || other.len == 0)
        FUZZ_MUST(rc == KV_EINVAL);
    else if (tree_in(b->m->now, other))
        FUZZ_MUST(rc == KV_EXISTS);
    else
        FUZZ_MUST(rc == KV_OK && model_tree_rename(b->m, name, other));
}

static void step_clear(bench *b)
{
    kvi_slice name;
    kv_tree *tree = take_writable(b, &name);
    if (!tree || fuzz_take(b->in, 1) & 3)
        return;
    FUZZ_MUST(kv_tree_clear(tree) == KV_OK);
    model_tree_clear(b->m, name);
}

/* ---- savepoints ---- */

static void saved_drop(bench *b, unsigned from)
{
    while (b->n_saved > from)
        model_release(b->saved[--b->n_saved]);
}

static void step_savepoint(bench *b)
{
    uint32_t n;
    if (!b->writer.txn || b->n_saved == SAVEPOINTS)
        return;
    FUZZ_MUST(kv_txn_savepoint(b->writer.txn, &n) == KV_OK);
    b->saved[b->n_saved++] = model_keep(b->m);
    FUZZ_MUST(n == b->n_saved);
}

static void step_back(bench *b)
{
    uint32_t n = (uint32_t)fuzz_below(b->in, SAVEPOINTS + 1);
    if (!b->writer.txn)
        return;
    int rc = kv_txn_rollback_to(b->writer.txn, n);
    FUZZ_MUST(rc == (n > 0 && n <= b->n_saved ? KV_OK : KV_NOTFOUND));
    if (rc != KV_OK)
        return;
    model_restore(b->m, b->saved[n - 1]);
    saved_drop(b, n);
}

static void step_release(bench *b)
{
    uint32_t n = (uint32_t)fuzz_below(b->in, SAVEPOINTS + 1);
    if (!b->writer.txn)
        return;
    int rc = kv_txn_release(b->writer.txn, n);
    FUZZ_MUST(rc == (n > 0 && n <= b->n_saved ? KV_OK : KV_NOTFOUND));
    if (rc == KV_OK)
        saved_drop(b, n - 1);
}

/* ---- the newest commit ---- */

uint64_t bench_newest(const bench *b)
{
    uint64_t id = 0;
    for (unsigned d = 0; d < HANDLES && id == 0; d++)
        FUZZ_MUST(!b->db[d] || kv_db_wait(b->db[d], 0, 0, &id) == KV_OK);
    return id;
}

model_state *bench_shown(bench *b, kv_txn *txn)
{
    model_state *now = model_keep(b->m);
    uint64_t clock = b->m->clock;
    model_restore(b->m, b->base);
    model_expire(b->m, kv_txn_now(txn));
    model_state *shown = model_keep(b->m);
    model_restore(b->m, now);
    model_release(now);
    b->m->clock = clock;
    return shown;
}

void bench_committed(bench *b, uint64_t before)
{
    if (bench_newest(b) == before) {
        model_restore(b->m, b->base);
        return;
    }
    model_release(b->base);
    b->base = model_keep(b->m);
}

/* ---- transactions ---- */

static void walkers_close(bench *b, unsigned reader, bool close)
{
    for (unsigned i = 0; i < CURSORS; i++) {
        walker *w = &b->walker[i];
        if (w->cursor && w->reader == reader) {
            if (close)
                kv_cursor_close(w->cursor);
            w->cursor = NULL;
        }
    }
}

static void reader_end(bench *b, unsigned i)
{
    walkers_close(b, i, false);
    kv_txn_abort(b->reader[i].txn);
    model_release(b->reader[i].state);
    b->reader[i] = (opened){0};
}

static void step_reader(bench *b)
{
    unsigned i = (unsigned)fuzz_below(b->in, READERS), d = (unsigned)fuzz_below(b->in, HANDLES);
    if (b->reader[i].txn) {
        reader_end(b, i);
        return;
    }
    if (!b->db[d])
        return;
    FUZZ_MUST(kv_txn_begin(b->db[d], KV_TXN_READ, &b->reader[i].txn) == KV_OK);
    b->reader[i].handle = d;
    b->reader[i].state = bench_shown(b, b->reader[i].txn);
}

static void step_refresh(bench *b)
{
    unsigned i = (unsigned)fuzz_below(b->in, READERS);
    if (!b->reader[i].txn)
        return;
    walkers_close(b, i, true);
    FUZZ_MUST(kv_txn_refresh(b->reader[i].txn) == KV_OK);
    model_release(b->reader[i].state);
    b->reader[i].state = bench_shown(b, b->reader[i].txn);
}

static void step_begin(bench *b)
{
    static const uint32_t flags[] = {0, KV_TXN_DURABLE, KV_TXN_STRICT, KV_TXN_LAZY};
    unsigned d = (unsigned)fuzz_below(b->in, HANDLES);
    uint32_t durability = flags[fuzz_below(b->in, KVI_COUNT(flags))];
    kv_txn *txn;
    if (!b->db[d])
        return;
    int rc = kv_txn_begin(b->db[d], KV_TXN_WRITE | KV_TXN_TRY | durability, &txn);
    if (d == HANDLES - 1)
        FUZZ_MUST(rc == KV_EREADONLY);
    else
        FUZZ_MUST(rc == (b->writer.txn ? KV_EBUSY : KV_OK));
    if (rc != KV_OK)
        return;
    b->writer = (opened){.txn = txn, .handle = d};
    model_expire(b->m, kv_txn_now(txn));
}

static void writer_end(bench *b, bool commit)
{
    if (commit) {
        uint64_t before = bench_newest(b);
        FUZZ_MUST(kv_txn_commit(b->writer.txn) == KV_OK);
        bench_committed(b, before);
    } else {
        kv_txn_abort(b->writer.txn);
        model_restore(b->m, b->base);
    }
    saved_drop(b, 0);
    b->writer = (opened){0};
}

static void step_end(bench *b)
{
    bool commit = fuzz_take(b->in, 1) % 8 != 0;
    if (b->writer.txn)
        writer_end(b, commit);
}

static void step_compare(bench *b)
{
    const model_state *state;
    kv_txn *txn = bench_txn(b, &state);
    const char *what = txn ? driver_compare(txn, state) : NULL;
    if (what)
        fuzz_fail("%s", what);
}

/* ---- cursors of readers ---- */

static void step_cursor(bench *b)
{
    walker *w = &b->walker[fuzz_below(b->in, CURSORS)];
    unsigned i = (unsigned)fuzz_below(b->in, READERS);
    kvi_slice name = bench_name(b);
    if (w->cursor) {
        kv_cursor_close(w->cursor);
        w->cursor = NULL;
        return;
    }
    kv_tree *tree =
        b->reader[i].txn ? bench_open_tree(b->reader[i].txn, b->reader[i].state, name) : NULL;
    if (!tree)
        return;
    FUZZ_MUST(kv_cursor_open(tree, NULL, &w->cursor) == KV_OK);
    w->reader = i;
    w->tree = tree_in(b->reader[i].state, name);
    w->placed = false;
}

static void walker_see(walker *w, int rc)
{
    kvi_slice k, v;
    kv_slice key, value;
    bool there = w->at >= 0 && model_nth(w->tree, (uint64_t)w->at, &k, &v);
    FUZZ_MUST(rc == (there ? KV_OK : KV_NOTFOUND));
    w->placed = true;
    FUZZ_MUST(kv_cursor_get(w->cursor, &key, &value) == rc);
    if (!there)
        return;
    FUZZ_MUST(key.len == k.len && (k.len == 0 || memcmp(key.ptr, k.ptr, k.len) == 0));
    FUZZ_MUST(value.len == v.len && (v.len == 0 || memcmp(value.ptr, v.ptr, v.len) == 0));
}

static int64_t seek_in_model(const model_tree *tree, enum kv_seek how, kvi_slice key)
{
    bool present = model_get(tree, key, NULL);
    int64_t rank = (int64_t)model_rank(tree, key);
    switch (how) {
    case KV_SEEK_LT:
        return rank - 1;
    case KV_SEEK_LE:
        return rank - 1 + present;
    case KV_SEEK_GE:
        return rank;
    case KV_SEEK_GT:
        return rank + present;
    default:
        return present ? rank : -2;
    }
}

static void step_seek(bench *b)
{
    uint8_t room[KVI_PAGE_MAX];
    walker *w = &b->walker[fuzz_below(b->in, CURSORS)];
    kvi_slice key = bench_key(b, room);
    enum kv_seek how = (enum kv_seek)((int)fuzz_below(b->in, 5) - 2);
    if (!w->cursor)
        return;
    int rc = kv_cursor_seek(w->cursor, how, key.ptr, key.len);
    w->at = seek_in_model(w->tree, how, key);
    walker_see(w, rc);
    w->placed = rc == KV_OK; /* where a seek in vain leaves it is not compared */
}

static void step_move(bench *b)
{
    walker *w = &b->walker[fuzz_below(b->in, CURSORS)];
    unsigned how = (unsigned)fuzz_below(b->in, 6);
    uint64_t number = fuzz_take(b->in, 1);
    if (!w->cursor)
        return;
    int64_t entries = (int64_t)w->tree->sum.entries;
    int rc;
    if (how == 0 || (how < 3 && !w->placed)) {
        rc = kv_cursor_first(w->cursor);
        w->at = 0;
    } else if (how == 5 || !w->placed) {
        rc = kv_cursor_last(w->cursor);
        w->at = entries - 1;
    } else if (how < 3) {
        rc = kv_cursor_next(w->cursor);
        w->at += w->at < entries;
    } else if (how == 3) {
        rc = kv_cursor_prev(w->cursor);
        w->at -= w->at >= 0;
    } else {
        rc = kv_cursor_nth(w->cursor, number);
        w->at = (int64_t)number;
        w->placed = rc == KV_OK;
    }
    walker_see(w, rc);
    w->placed = rc == KV_OK; /* likewise */
}

/* A cursor that changes the entries it is on. */
static void step_edit(bench *b)
{
    uint8_t room[KVI_PAGE_MAX];
    kvi_slice name, key = bench_key(b, room), value = take_value(b), k;
    unsigned steps = (unsigned)fuzz_take(b->in, 1) % 16;
    kv_cursor *cursor;
    kv_slice at;
    kv_tree *tree = take_writable(b, &name);
    if (!tree)
        return;
    FUZZ_MUST(kv_cursor_open(tree, NULL, &cursor) == KV_OK);
    uint64_t rank = model_rank(tree_in(b->m->now, name), key);
    int rc = kv_cursor_seek(cursor, KV_SEEK_GE, key.ptr, key.len);
    for (unsigned i = 0; i < steps; i++) {
        bool there = model_nth(tree_in(b->m->now, name), rank, &k, NULL);
        FUZZ_MUST(rc == (there ? KV_OK : KV_NOTFOUND));
        if (!there)
            break;
        FUZZ_MUST(kv_cursor_get(cursor, &at, NULL) == KV_OK && at.len == k.len);
        FUZZ_MUST(k.len == 0 || memcmp(at.ptr, k.ptr, k.len) == 0);
        memcpy(room, k.ptr, k.len);
        k.ptr = room;
        if (i & 1) {
            FUZZ_MUST(kv_cursor_del(cursor) == KV_OK);
            model_del(b->m, name, k);
        } else {
            FUZZ_MUST(kv_cursor_put(cursor, value.ptr, value.len) == KV_OK);
            model_put(b->m, name, k, value);
            rank++;
        }
        rc = kv_cursor_next(cursor);
    }
    kv_cursor_close(cursor);
}

/* ---- handles and batches ---- */

static void bench_open(bench *b, unsigned d)
{
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
    options.page_size = KVI_PAGE_MIN;
    if (d == HANDLES - 1)
        options.flags = KV_OPEN_READONLY;
    if (b->how & 1)
        options.memory_budget = 20 * KVI_PAGE_MIN;
    if (b->how & 16 && d != HANDLES - 1)
        options.sweep_per_write = 3;
    if (b->how & 32)
        options.fill = 60;
    options.durability = (int)(b->how >> 2 & 3);
    FUZZ_MUST(kvi_db_open(sim_os(b->disk), FILE_NAME, &options, &b->db[d], NULL, 0) == KV_OK);
}

static bool handle_busy(const bench *b, unsigned d)
{
    bool busy = b->writer.txn && b->writer.handle == d;
    for (unsigned i = 0; i < READERS; i++)
        busy = busy || (b->reader[i].txn && b->reader[i].handle == d);
    for (unsigned i = 0; i < WATCHES; i++)
        busy = busy || (b->watcher[i].watch && b->watcher[i].handle == d);
    return busy;
}

static void step_handle(bench *b)
{
    unsigned d = (unsigned)fuzz_below(b->in, HANDLES);
    if (!b->db[d]) {
        bench_open(b, d);
        return;
    }
    bool busy = handle_busy(b, d);
    if (!busy && b->writer.txn) /* closing waits for the turn */
        return;
    FUZZ_MUST(kv_db_close(b->db[d]) == (busy ? KV_EBUSY : KV_OK));
    if (!busy)
        b->db[d] = NULL;
}

/* Entries of the newest commit that have not expired. */
static uint64_t entries_left(bench *b, kv_db *db)
{
    kv_txn *txn;
    FUZZ_MUST(kv_txn_begin(db, 0, &txn) == KV_OK);
    model_state *shown = model_shown(b->base, kv_txn_now(txn));
    kv_txn_abort(txn);
    uint64_t entries = model_entries(shown ? shown : b->base);
    if (shown)
        model_release(shown);
    return entries;
}

static void step_whole(bench *b)
{
    kv_db *db = b->db[fuzz_below(b->in, HANDLES)];
    kv_db_info info = {.size = sizeof info};
    if (!db)
        return;
    FUZZ_MUST(kv_db_stat(db, &info) == KV_OK);
    uint64_t entries = entries_left(b, db);
    FUZZ_MUST(b->expiring ? info.entries >= entries : info.entries == entries);
    FUZZ_MUST(info.trees == b->base->n - 1);
    if (!b->writer.txn && db != b->db[HANDLES - 1])
        FUZZ_MUST(kv_db_sync(db) == KV_OK);
    FUZZ_MUST(kv_db_check(db, NULL) == KV_OK);
}

static bool is_kind(const kv_op *op, uint32_t first, uint32_t last)
{
    return op->kind >= first && op->kind <= last;
}

static bool is_pop(const kv_op *op)
{
    return is_kind(op, KV_OP_POP_FIRST, KV_OP_POP_LAST);
}

/* Bytes of the other key stand at the end of a range, or of what must be there already. */
static void take_flags(bench *b, kv_op *op, kvi_slice other)
{
    static const uint32_t conditions[] = {0, KV_PUT_ABSENT, KV_PUT_PRESENT, KV_PUT_EQUALS};
    uint32_t flags = (uint32_t)fuzz_take(b->in, 1), condition = conditions[flags & 3];
    if (op->kind == KV_OP_PUT)
        op->flags = condition;
    else if (op->kind == KV_OP_DEL)
        op->flags = condition & (KV_PUT_PRESENT | KV_PUT_EQUALS);
    else if (is_kind(op, KV_OP_INCR, KV_OP_MAX))
        op->flags = (condition & KV_PUT_PRESENT) | (flags & KV_NUMBER_TEXT);
    else if (is_pop(op))
        op->flags = flags & 4 ? KV_OP_PREFIX : 0;
    if ((op->kind == KV_OP_PUT || is_kind(op, KV_OP_INCR, KV_OP_UPDATE)) && op->tree.len > 0 &&
        flags & 32)
        op->flags |= KV_OP_CREATE_TREE;
    if (op->kind == KV_OP_DEL_RANGE || op->flags & KV_PUT_EQUALS || (is_pop(op) && op->flags == 0))
        op->end = (kv_slice){other.ptr, other.len};
}

static int halve(void *context, const kv_slice *old, kv_slice *value)
{
    (void)context;
    if (!old || old->len % 3 == 2)
        return old ? KV_UPDATE_REMOVE : KV_UPDATE_KEEP;
    *value = (kv_slice){old->ptr, old->len / 2};
    return KV_UPDATE_STORE;
}

static void take_operands(bench *b, kv_op *op)
{
    if (op->kind == KV_OP_INCR_DOUBLE) {
        op->real = (double)(int64_t)fuzz_take(b->in, 2) - 1000;
        op->initial_real = (double)fuzz_take(b->in, 1) / 8;
    } else if (is_kind(op, KV_OP_INCR, KV_OP_MAX)) {
        op->number = (int64_t)(fuzz_take(b->in, 1) << 56 | fuzz_take(b->in, 1));
        op->initial = op->kind == KV_OP_INCR ? (int64_t)fuzz_take(b->in, 1) : 0;
    } else if (op->kind == KV_OP_APPEND) {
        op->limit = fuzz_take(b->in, 1) * 16;
    } else if (op->kind == KV_OP_UPDATE) {
        op->update = halve;
    }
}

/* When it expires. A put may leave it as it was. */
static void take_expiry(bench *b, kv_op *op)
{
    uint64_t what = fuzz_take(b->in, 1), ms = 1 + what * 8;
    if (op->kind == KV_OP_PUT && what < 128)
        return;
    if (op->kind == KV_OP_PUT && what & 1)
        op->flags |= KV_PUT_KEEP_EXPIRY;
    if (op->kind == KV_OP_TOUCH)
        op->min_gain_ms = fuzz_take(b->in, 1) * 8;
    if (op->kind == KV_OP_TOUCH || what & 2)
        op->ttl_ms = ms;
    else
        op->expires_at = b->disk->clock_ms + ms - 4;
    b->expiring = true;
}

/* room and other: KVI_PAGE_MAX bytes; kinds: how many of those that can be chosen from. */
static kv_op take_op(bench *b, uint8_t *room, uint8_t *other, unsigned kinds)
{
    static const uint32_t all[] = {
        KV_OP_PUT,          KV_OP_DEL,           KV_OP_INCR,       KV_OP_INCR,     KV_OP_MIN,
        KV_OP_MAX,          KV_OP_AND,           KV_OP_OR,         KV_OP_XOR,      KV_OP_APPEND,
        KV_OP_APPEND,       KV_OP_UPDATE,        KV_OP_POP_FIRST,  KV_OP_POP_LAST, KV_OP_PUT,
        KV_OP_INCR_DOUBLE,  KV_OP_EXPIRE,        KV_OP_PERSIST,    KV_OP_TOUCH,    KV_OP_DEL_RANGE,
        KV_OP_CHECK_ABSENT, KV_OP_CHECK_PRESENT, KV_OP_CHECK_VALUE};
    kv_op op = {.kind = all[fuzz_below(b->in, KVI_MIN(kinds, KVI_COUNT(all)))]};
    kvi_slice name = bench_name(b), key = bench_key(b, room), end = bench_key(b, other);
    kvi_slice value = take_value(b);
    op.tree = (kv_slice){name.ptr, name.len};
    op.key = (kv_slice){key.ptr, key.len};
    op.value = (kv_slice){value.ptr, KVI_MIN(value.len, 40)};
    take_flags(b, &op, end);
    take_operands(b, &op);
    if (op.kind == KV_OP_PUT || op.kind == KV_OP_EXPIRE || op.kind == KV_OP_TOUCH)
        take_expiry(b, &op);
    return op;
}

/* ---- operations that look first, by the calls that are meant for them ---- */

#define LOOKING 19 /* the kinds of take_op that are such */

static void step_look(bench *b)
{
    static uint8_t room[KVI_PAGE_MAX], other[KVI_PAGE_MAX];
    kv_op op = take_op(b, room, other, LOOKING);
    kv_op_result result = {0};
    model_answer answer = {0};
    kvi_slice name = {op.tree.ptr, op.tree.len};
    kv_tree *tree = b->writer.txn ? bench_open_tree(b->writer.txn, b->m->now, name) : NULL;
    op.flags &= ~(uint32_t)KV_OP_CREATE_TREE;
    if (op.kind == KV_OP_DEL && op.flags == 0)
        op.flags = KV_PUT_PRESENT;
    if (!tree)
        return;
    int rc = driver_op_call(tree, &op, fuzz_take(b->in, 1) & 1, &result);
    FUZZ_MUST(rc == model_op(b->m, &op, kvi_key_max(KVI_PAGE_MIN), &answer));
    op.result = &result;
    FUZZ_MUST(rc < 0 || rc == KV_NOTFOUND || model_answer_agrees(&op, &answer));
    model_answer_free(&answer);
}

/* ---- batches ---- */

#define OPS 3 /* of a batch */

/* The time by which a batch is judged. */
/* By which a change is judged. */
static uint64_t time_of(kv_db *db)
{
    kv_txn *txn;
    FUZZ_MUST(kv_txn_begin(db, KV_TXN_WRITE, &txn) == KV_OK);
    uint64_t now = kv_txn_now(txn);
    kv_txn_abort(txn);
    return now;
}

/* The model does it, all or nothing. */
static int model_batch(bench *b, const kv_op *ops, size_t n, kv_write_result *result, bool *agrees)
{
    model_answer answer = {0};
    int rc = KV_OK;
    *agrees = true;
    for (result->failed_op = 0; result->failed_op < n; result->failed_op++) {
        const kv_op *op = &ops[result->failed_op];
        rc = model_op(b->m, op, kvi_key_max(KVI_PAGE_MIN), &answer);
        *agrees = *agrees && model_answer_agrees(op, &answer);
        if (rc != KV_OK)
            break;
    }
    result->deleted = answer.deleted;
    model_answer_free(&answer);
    return rc;
}

void bench_write(bench *b, unsigned handle, const kv_op *ops, size_t n)
{
    kv_write_result result = {.size = sizeof result}, expected;
    uint32_t flags = fuzz_take(b->in, 1) & 1 ? KV_TXN_LAZY : 0;
    bool agrees;
    if (!b->db[handle] || b->writer.txn)
        return;
    if (handle == HANDLES - 1) {
        FUZZ_MUST(kv_db_write(b->db[handle], ops, n, 0, &result) == KV_EREADONLY);
        return;
    }
    uint64_t before = bench_newest(b);
    model_expire(b->m, time_of(b->db[handle]));
    int rc = kv_db_write(b->db[handle], ops, n, flags, &result);
    FUZZ_MUST(rc == model_batch(b, ops, n, &expected, &agrees));
    FUZZ_MUST(result.failed_op == expected.failed_op);
    FUZZ_MUST(rc != KV_OK || (result.deleted == expected.deleted && agrees));
    if (rc != KV_OK)
        model_restore(b->m, b->base);
    else
        bench_committed(b, before);
}

static void step_batch(bench *b)
{
    enum { ROOM = 1 << 16 };
    static uint8_t rooms[2 * OPS][KVI_PAGE_MAX], values[OPS][64], answers[OPS][ROOM];
    kv_op ops[OPS];
    kv_op_result results[OPS];
    unsigned d = (unsigned)fuzz_below(b->in, HANDLES), n = 1 + (unsigned)fuzz_below(b->in, OPS);
    for (unsigned i = 0; i < n; i++) {
        ops[i] = take_op(b, rooms[2 * i], rooms[2 * i + 1], UINT_MAX);
        ops[i].value.ptr = memcpy(values[i], ops[i].value.ptr, ops[i].value.len);
        results[i] = (kv_op_result){.room = answers[i], .room_size = fuzz_take(b->in, 1) * 64};
        if (is_kind(&ops[i], KV_OP_PUT, KV_OP_DEL) || is_kind(&ops[i], KV_OP_INCR, KV_OP_MAX) ||
            ops[i].kind == KV_OP_APPEND || is_pop(&ops[i]))
            ops[i].result = results[i].room_size ? &results[i] : NULL;
        if (ops[i].kind == KV_OP_DEL_RANGE &&
            kvi_slice_compare(kvi_slice_of(ops[i].key.ptr, ops[i].key.len),
                              kvi_slice_of(ops[i].end.ptr, ops[i].end.len)) > 0)
            return;
    }
    bench_write(b, d, ops, n);
}

/* ---- wrong calls ---- */

static void step_wrong(bench *b)
{
    unsigned d = (unsigned)fuzz_below(b->in, HANDLES - 1), i = (unsigned)fuzz_below(b->in, READERS);
    if (b->db[d]) {
        wrong_handle(b->db[d]);
        if (!b->writer.txn)
            wrong_batch(b->db[d]);
    }
    if (b->reader[i].txn)
        wrong_reader(b->reader[i].txn);
    if (b->writer.txn)
        wrong_writer(b->writer.txn);
}

/* ---- all ---- */

static void bench_end(bench *b)
{
    bench_watches_close(b);
    for (unsigned i = 0; i < READERS; i++)
        if (b->reader[i].txn)
            reader_end(b, i);
    if (b->writer.txn)
        writer_end(b, true);
    for (unsigned d = 0; d < HANDLES; d++) {
        if (b->db[d])
            FUZZ_MUST(kv_db_check(b->db[d], NULL) == KV_OK && kv_db_close(b->db[d]) == KV_OK);
        b->db[d] = NULL;
    }
    FUZZ_MUST(sim_open_handles(b->disk) == 0);
}

/* Everything is there when the file is opened again. */
static void bench_again(bench *b)
{
    kv_txn *txn;
    bench_open(b, 0);
    FUZZ_MUST(kv_txn_begin(b->db[0], KV_TXN_READ, &txn) == KV_OK);
    const char *what = driver_compare(txn, b->base);
    if (what)
        fuzz_fail("opened again: %s", what);
    kv_txn_abort(txn);
    what = driver_snapshots(b->db[0], b->base);
    if (what)
        fuzz_fail("opened again: %s", what);
    FUZZ_MUST(kv_db_close(b->db[0]) == KV_OK);
}

int fuzz_ops(const uint8_t *data, size_t len)
{
    static void (*const steps[])(bench *) = {
        step_put,         step_put,        step_put,       step_put,      step_put,
        step_del,         step_get,        step_begin,     step_begin,    step_end,
        step_batch,       step_reader,     step_compare,   step_rank,     step_create,
        step_drop,        step_rename,     step_clear,     step_seek,     step_move,
        step_edit,        step_cursor,     step_savepoint, step_back,     step_release,
        step_refresh,     step_handle,     step_whole,     step_wrong,    step_del_range,
        step_look,        step_look,       bench_clock,    step_get_many, step_put_many,
        bench_time,       bench_ttl,       bench_sweep,    bench_multi,   bench_multi_write,
        bench_snapshot,   bench_snapshots, bench_compact,  bench_wait,    bench_watch,
        bench_watch_next,
    };
    static sim_disk *disk;
    fuzz_in in = {data, data + len};
    bench b = {.in = &in};
    if (!disk)
        disk = exam_disk();
    sim_reset(disk);
    b.disk = disk;
    b.how = (unsigned)fuzz_take(&in, 1);
    b.m = model_new();
    b.base = model_keep(b.m);
    for (unsigned d = 0; d < HANDLES; d++)
        bench_open(&b, d);
    for (unsigned i = 0; i < STEPS && fuzz_more(&in); i++)
        steps[fuzz_below(&in, KVI_COUNT(steps))](&b);
    bench_end(&b);
    bench_again(&b);
    model_release(b.base);
    model_free(b.m);
    return 0;
}
