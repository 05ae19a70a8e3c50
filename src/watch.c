/* watch.c - see watch.h. */
#include "watch.h"
#include "diff.h"
#include "guest.h"
#include "news.h"
#include "range.h"

#define GUEST_PAUSE_US 10000 /* between two looks at the metas: nobody wakes a guest */

/* ---- waiting for a commit ---- */

typedef struct wait {
    kv_db *db;
    kvi_id since;
    uint64_t give_up; /* mono_ns; UINT64_MAX: never */
    const _Atomic uint32_t *cancelled;
} wait;

static bool wait_cancelled(const wait *w)
{
    return w->cancelled && atomic_load_explicit(w->cancelled, memory_order_seq_cst);
}

/* Nanoseconds that are left; 0: it is time to give up. */
static uint64_t wait_left(const wait *w)
{
    uint64_t now = w->db->os->mono_ns(w->db->os);
    return w->give_up == UINT64_MAX ? UINT64_MAX : now < w->give_up ? w->give_up - now : 0;
}

/* Is the wait over? Then with what result? */
static bool wait_over(const wait *w, kvi_id newest, int *rc)
{
    bool cancelled = wait_cancelled(w);
    *rc = cancelled ? KV_ECANCELED : newest > w->since ? KV_OK : KV_NOTFOUND;
    return cancelled || newest > w->since || wait_left(w) == 0;
}

static kvi_id board_newest(const kvi_board *board)
{
    return atomic_load_explicit(&board->counter, memory_order_seq_cst) >> 1;
}

static int wait_on_board(const wait *w, kvi_id *now)
{
    kvi_board *board = &w->db->readers.head->board;
    int rc;
    for (;;) {
        *now = board_newest(board);
        if (wait_over(w, *now, &rc))
            return rc;
        uint32_t news = kvi_news_listen(board);
        *now = board_newest(board);
        if (wait_over(w, *now, &rc))
            return rc;
        kvi_news_sleep(w->db->os, board, news, wait_left(w));
    }
}

/* A guest leaves no trace on the board, so it looks again and again. */
static int wait_for_metas(const wait *w, kvi_id *now)
{
    const kvi_os *os = w->db->os;
    kvi_id tried = w->since;
    for (;;) {
        int rc = kvi_guest_newer(w->db, &tried, now);
        if (rc != KV_OK || wait_over(w, *now, &rc))
            return rc;
        os->sleep_us(os, (uint32_t)KVI_MIN(wait_left(w) / 1000 + 1, GUEST_PAUSE_US));
    }
}

int kvi_watch_wait(kv_db *db, kvi_id since, uint32_t timeout_ms, const _Atomic uint32_t *cancelled,
                   kvi_id *now)
{
    wait w = {.db = db, .since = since, .give_up = UINT64_MAX, .cancelled = cancelled};
    if (timeout_ms != KVI_WAIT_FOREVER)
        w.give_up = db->os->mono_ns(db->os) + (uint64_t)timeout_ms * 1000000;
    atomic_fetch_add_explicit(&db->n_waiting, 1, memory_order_relaxed);
    int rc = db->role == KVI_GUEST ? wait_for_metas(&w, now) : wait_on_board(&w, now);
    atomic_fetch_sub_explicit(&db->n_waiting, 1, memory_order_release);
    return rc;
}

/* ---- watching ---- */

struct kv_watch {
    kv_db *db;
    kv_diff_options what;
    kv_range range; /* what.range, if there is one */
    kv_txn *seen;   /* of the newest commit that was looked at */
    kv_txn *before; /* of the one before the change that was told last; NULL: none */
    _Atomic uint32_t cancelled;
    uint8_t bytes[]; /* that what and range point to */
};

/* Copies what the caller may forget; moves *at on. */
static const void *bytes_keep(uint8_t **at, const void *bytes, size_t len)
{
    if (!bytes)
        return NULL;
    if (len > 0)
        memcpy(*at, bytes, len);
    const void *kept = *at;
    *at += len;
    return kept;
}

static int first_change(void *context, const kv_change *change)
{
    (void)change;
    *(bool *)context = true;
    return 1;
}

static void watch_remember(kv_watch *watch, const kv_watch_options *options)
{
    uint8_t *at = watch->bytes;
    watch->what = (kv_diff_options){
        .size = sizeof watch->what,
        .tree = bytes_keep(&at, options->tree, options->tree_len),
        .tree_len = options->tree_len,
        .flags = KV_DIFF_KEYS,
        .change = first_change,
    };
    if (!options->range)
        return;
    watch->range = *options->range;
    watch->range.from = bytes_keep(&at, watch->range.from, watch->range.from_len);
    watch->range.to = bytes_keep(&at, watch->range.to, watch->range.to_len);
    watch->range.prefix = bytes_keep(&at, watch->range.prefix, watch->range.prefix_len);
    watch->what.range = &watch->range;
}

static int range_check(kv_watch *watch)
{
    kvi_range range;
    int rc = kvi_range_init(&range, &watch->seen->main, watch->what.range);
    if (rc == KV_OK)
        kvi_range_done(&range, &watch->seen->main);
    return rc;
}

static bool length_add(size_t *sum, const void *bytes, size_t len)
{
    return !bytes || !__builtin_add_overflow(*sum, len, sum);
}

int kvi_watch_open(kv_db *db, const kv_watch_options *options, kv_watch **out)
{
    const kv_range *range = options->range;
    size_t size = sizeof(kv_watch);
    bool fits = length_add(&size, options->tree, options->tree_len) &&
                (!range || (length_add(&size, range->from, range->from_len) &&
                            length_add(&size, range->to, range->to_len) &&
                            length_add(&size, range->prefix, range->prefix_len)));
    kv_watch *watch = fits ? db->os->alloc(db->os, size) : NULL;
    if (!watch)
        return KV_ENOMEM;
    memset(watch, 0, sizeof *watch);
    watch->db = db;
    watch_remember(watch, options);
    int rc = kvi_begin_read(db, &watch->seen);
    if (rc == KV_OK)
        rc = range_check(watch);
    if (rc != KV_OK)
        kvi_watch_close(watch);
    else
        *out = watch;
    return rc;
}

/* Is what is watched another in next than in the commit that was seen last? */
static int watch_compare(kv_watch *watch, kv_txn *next, bool *changed)
{
    kv_diff_info info = {.size = sizeof info};
    *changed = false;
    watch->what.context = changed;
    int rc = kvi_diff(watch->seen, next, &watch->what, &info);
    if (rc == KV_ECANCELED) {
        kvi_err_clear(&watch->db->err); /* that was us */
        return KV_OK;
    }
    return rc == KV_NOTFOUND ? KV_OK : rc; /* the tree is in neither */
}

/* Goes on to the newest commit. On an error the watch stays where it is. */
static int watch_advance(kv_watch *watch, bool *changed)
{
    kv_txn *next;
    int rc = kvi_begin_read(watch->db, &next);
    if (rc != KV_OK)
        return rc;
    if (next->base.id <= watch->seen->base.id) /* the counter promised a newer one */
        rc = kvi_fail(&watch->db->err, KV_ECORRUPT, "%s is damaged", watch->db->side.path);
    else
        rc = watch_compare(watch, next, changed);
    if (rc != KV_OK) {
        kvi_end(next);
        return rc;
    }
    if (*changed)
        watch->before = watch->seen;
    else
        kvi_end(watch->seen);
    watch->seen = next;
    return KV_OK;
}

/* In a forked child the transactions are the parent's. */
static void snapshot_end(kv_txn **txn)
{
    if (*txn && kvi_alive((*txn)->db))
        kvi_end(*txn);
    *txn = NULL;
}

static uint32_t ms_left(const kv_db *db, uint32_t timeout_ms, uint64_t give_up)
{
    if (timeout_ms == KVI_WAIT_FOREVER)
        return timeout_ms;
    uint64_t now = db->os->mono_ns(db->os);
    return now < give_up ? (uint32_t)((give_up - now + 999999) / 1000000) : 0;
}

int kvi_watch_next(kv_watch *watch, uint32_t timeout_ms, kv_watch_event *event)
{
    kv_db *db = watch->db;
    uint64_t give_up = db->os->mono_ns(db->os) + (uint64_t)timeout_ms * 1000000;
    kvi_id now;
    snapshot_end(&watch->before);
    uint32_t left = timeout_ms;
    for (bool changed = false; !changed; left = ms_left(db, timeout_ms, give_up)) {
        bool looked = left == 0;
        int rc = kvi_watch_wait(db, watch->seen->base.id, left, &watch->cancelled, &now);
        if (rc == KV_OK)
            rc = watch_advance(watch, &changed);
        if (rc == KV_OK && !changed && looked) /* commits that do not matter may go on for ever */
            rc = KV_NOTFOUND;
        if (rc != KV_OK)
            return rc;
    }
    *event = (kv_watch_event){
        .size = event->size,
        .from_id = watch->before->base.id,
        .to_id = watch->seen->base.id,
        .from = watch->before,
        .to = watch->seen,
    };
    return KV_OK;
}

void kvi_watch_cancel(kv_watch *watch)
{
    kv_db *db = watch->db;
    atomic_store_explicit(&watch->cancelled, 1, memory_order_seq_cst);
    if (db->role != KVI_GUEST)
        kvi_news_stir(db->os, &db->readers.head->board);
}

void kvi_watch_close(kv_watch *watch)
{
    snapshot_end(&watch->before);
    snapshot_end(&watch->seen);
    watch->db->os->free(watch->db->os, watch);
}

kv_db *kvi_watch_db(const kv_watch *watch)
{
    return watch->db;
}

kv_txn *kvi_watch_seen(const kv_watch *watch)
{
    return watch->seen;
}
