/* ops_time.c - steps of target `ops`: the clock, what is left of entries, sweeps. */
#include "ops.h"

/* Mostly ahead; now and then somebody sets it back. */
void bench_time(bench *b)
{
    uint64_t ms = fuzz_take(b->in, 1) * 16;
    if (ms > 220 * 16)
        b->disk->clock_ms -= ms;
    else
        b->disk->clock_ms += ms;
}

void bench_ttl(bench *b)
{
    uint8_t room[KVI_PAGE_MAX];
    const model_state *state;
    kvi_slice name = bench_name(b), key = bench_key(b, room), value;
    kv_entry_info info = {.size = sizeof info};
    uint64_t ttl = 0;
    kv_txn *txn = bench_txn(b, &state);
    kv_tree *tree = txn ? bench_open_tree(txn, state, name) : NULL;
    if (!tree)
        return;
    const model_tree *t = model_tree_of(state, name);
    uint64_t expiry = model_expiry(t, key);
    bool present = model_get(t, key, &value);
    int rc = kv_get_info(tree, key.ptr, key.len, &info);
    FUZZ_MUST(rc == (present ? KV_OK : KV_NOTFOUND));
    FUZZ_MUST(kv_ttl(tree, key.ptr, key.len, &ttl) == rc);
    if (!present)
        return;
    FUZZ_MUST(info.expires_at == expiry && info.ttl_ms == ttl && info.value.len == value.len);
    FUZZ_MUST(ttl == (expiry ? expiry - kv_txn_now(txn) : KV_TTL_NEVER));
}

/* The model forgets what has expired, and what is only hidden would be there again: so it is swept. There
 * may be nothing left to sweep, and no commit, where the newest state of the model still has it. */
static void sweep_all(bench *b, kv_db *db)
{
    kv_txn *txn;
    FUZZ_MUST(kv_txn_begin(db, KV_TXN_WRITE, &txn) == KV_OK);
    model_expire(b->m, kv_txn_now(txn));
    FUZZ_MUST(kv_sweep_all(txn, NULL, NULL) == KV_OK && kv_txn_commit(txn) == KV_OK);
    model_release(b->base);
    b->base = model_keep(b->m);
}

void bench_clock(bench *b)
{
    unsigned d = (unsigned)fuzz_below(b->in, HANDLES);
    kv_db_info info = {.size = sizeof info};
    kv_db *db = b->db[d];
    if (!db)
        return;
    if (d == HANDLES - 1 || b->writer.txn) {
        FUZZ_MUST(kv_db_reset_clock(db, KV_TXN_TRY) ==
                  (d == HANDLES - 1 ? KV_EREADONLY : KV_EBUSY));
        return;
    }
    sweep_all(b, db);
    FUZZ_MUST(kv_db_reset_clock(db, KV_TXN_TRY) == KV_OK);
    FUZZ_MUST(kv_db_stat(db, &info) == KV_OK && info.clock_ahead_ms == 0);
}

static uint64_t entries_of(kv_tree *tree)
{
    kv_tree_info info = {.size = sizeof info};
    FUZZ_MUST(kv_tree_stat(tree, &info) == KV_OK);
    return info.entries;
}

/* Nobody notices, but for the number of entries. */
void bench_sweep(bench *b)
{
    kvi_slice name = bench_name(b);
    kv_sweep_options options = {.size = sizeof options, .max_entries = fuzz_below(b->in, 8)};
    kv_sweep_result result = {.size = sizeof result};
    bool all = fuzz_take(b->in, 1) & 1;
    kv_tree *tree = b->writer.txn ? bench_open_tree(b->writer.txn, b->m->now, name) : NULL;
    if (!tree)
        return;
    uint64_t before = entries_of(tree);
    FUZZ_MUST((all ? kv_sweep_all(b->writer.txn, &options, &result)
                   : kv_sweep(tree, &options, &result)) == KV_OK);
    uint64_t after = entries_of(tree), shown = model_tree_of(b->m->now, name)->sum.entries;
    FUZZ_MUST(options.max_entries == 0 || result.removed <= options.max_entries);
    FUZZ_MUST(all ? before - after <= result.removed : before - after == result.removed);
    FUZZ_MUST(result.done ? after == shown : options.max_entries > 0 && after >= shown);
}
