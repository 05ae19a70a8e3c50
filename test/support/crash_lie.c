/* crash_lie.c - what may be found on a disk that claimed a flush and did not do it: an older commit, or
 * an error; never an entry that the commit did not have. But an id under way in a crash may be used again;
 * then two pages have one number, one birth and right checksums, and only a disk that does what it says
 * keeps them apart. */
#include "crash_impl.h"
#include "db.h"
#include "multi_steps.h"

/* Damage that was noticed. */
static bool refused(crash_sweep *s, int rc)
{
    bool noticed = rc == KV_ECORRUPT || rc == KV_ENOTKV || rc == KV_ENOENT;
    s->totals->refused += noticed;
    return noticed;
}

typedef struct names {
    const model_state *state;
    bool known;
} names;

static int name_known(void *context, kv_slice name)
{
    names *n = context;
    n->known = n->known && model_tree_of(n->state, kvi_slice_of(name.ptr, name.len)) != NULL;
    return 0;
}

static bool same(kvi_slice a, kvi_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static bool is_entry(const model_tree *t, uint64_t n, kv_slice key, kv_slice value)
{
    kvi_slice k, v, found = kvi_slice_of(key.ptr, key.len),
                    with = kvi_slice_of(value.ptr, value.len);
    multi_entry(model_tree_name(t), &found, &with);
    return model_nth(t, n, &k, &v) && same(k, found) && same(v, with);
}

/* Entries in order until one cannot be read; *misread: one is another than it should be. */
static int tree_read(kv_tree *tree, const model_tree *t, bool *misread)
{
    kv_cursor *cursor;
    kv_slice key, value;
    uint64_t n = 0;
    int rc = kv_cursor_open(tree, NULL, &cursor);
    if (rc != KV_OK)
        return rc;
    while ((rc = kv_cursor_next(cursor)) == KV_OK &&
           (rc = kv_cursor_get(cursor, &key, &value)) == KV_OK && !*misread)
        *misread = !is_entry(t, n++, key, value);
    if (rc == KV_NOTFOUND && n != t->sum.entries)
        *misread = true;
    kv_cursor_close(cursor);
    return rc == KV_NOTFOUND ? KV_OK : rc;
}

static int trees_read(kv_txn *txn, const model_state *state, bool *misread)
{
    names n = {state, true};
    int first = kv_tree_list(txn, name_known, &n);
    *misread = !n.known;
    for (size_t i = 0; i < state->n; i++) {
        kvi_slice name = model_tree_name(&state->trees[i]);
        kv_tree *tree = kv_txn_main(txn);
        int rc = name.len ? kv_tree_open(txn, name.ptr, name.len, 0, NULL, &tree) : KV_OK;
        *misread = *misread || rc == KV_NOTFOUND;
        if (rc == KV_OK)
            rc = tree_read(tree, &state->trees[i], misread);
        first = first == KV_OK ? rc : first;
    }
    return first;
}

/* A commit that buried another has the content of an older one, as far as that can still be read. */
static const model_commit *commit_under(kv_txn *txn, const crash_expect *e, uint64_t id)
{
    bool buried = false;
    for (size_t i = e->n_known; i-- > 0;) {
        bool misread = !buried;
        if (buried)
            (void)trees_read(txn, e->known[i].state, &misread);
        if (!misread)
            return &e->known[i];
        buried = buried || (e->known[i].id <= e->high && id == e->known[i].id + KVI_ID_SKIP);
    }
    return NULL;
}

static const model_commit *commit_of(kv_txn *txn, const crash_expect *e, uint64_t id)
{
    const model_commit *known = crash_known(e, id);
    return known ? known : commit_under(txn, e, id);
}

static bool look(crash_sweep *s, kv_db *db, const crash_expect *expect)
{
    kv_txn *txn;
    bool misread = false;
    int rc = kv_txn_begin(db, KV_TXN_READ, &txn);
    if (rc != KV_OK)
        return refused(s, rc) || crash_wrong(s, "lost flush: begin: %d", rc);
    uint64_t id = kv_txn_id(txn);
    const model_commit *commit = commit_of(txn, expect, id);
    if (commit)
        rc = trees_read(txn, commit->state, &misread);
    kv_txn_abort(txn);
    if (!commit)
        return crash_wrong(s, "lost flush: commit %llu was never made", (unsigned long long)id);
    if (misread && id >= expect->twice) {
        s->totals->twice++;
        return true;
    }
    if (misread)
        return crash_wrong(s, "lost flush: commit %llu is misread", (unsigned long long)id);
    return rc == KV_OK || refused(s, rc) || crash_wrong(s, "lost flush: reading: %d", rc);
}

bool crash_check_lie(crash_sweep *s, sim_disk *disk, const crash_expect *expect, uint64_t pick)
{
    kv_db *db;
    kv_options options = s->options;
    options.flags = pick % 3 ? KV_OPEN_EXCLUSIVE : pick % 2 ? KV_OPEN_READONLY : 0;
    int rc = kvi_db_open(sim_os(disk), CRASH_FILE, &options, &db, NULL, 0);
    if (rc != KV_OK)
        return refused(s, rc) || crash_wrong(s, "lost flush: open: %d", rc);
    bool ok = look(s, db, expect);
    sim_kill(disk); /* nothing more reaches the disk */
    kvi_db_close(db);
    return ok;
}
