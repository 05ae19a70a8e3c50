/* space_fold.c - writing the records' own pages: the log grows by a page and a few bitmap pages are
 * written anew; or, where that costs no more, all that changed is, and no log is left. */
#include "space_impl.h"

typedef struct fold {
    kvi_space *space;
    const kvi_space_sink *sink;
    kvi_space_own *next;
    bool anew;     /* no log is left */
    bool chain;    /* the blocked chain is written anew */
    size_t marked; /* map and directory pages that are written: {0, id} until they have a place */
    size_t new_logs;
    kvi_id *since;     /* kvi_space.since with this transaction's record */
    kvi_extents dead;  /* what the new chain tells */
    kvi_pgno *numbers; /* for all these pages */
    size_t n_numbers, used;
    uint8_t *buf;
} fold;

static size_t log_room(const kvi_space *space)
{
    return space->page_size - KVI_LOG_RECORDS;
}

static size_t chain_room(const kvi_space *space)
{
    return space->page_size - KVI_BLOCKED_RUNS;
}

/* ---- pages that go ---- */

static int drop_own(fold *f, kvi_ptr ptr)
{
    int rc = kvi_space_drop(f->space, ptr.page, 1, ptr.birth);
    return rc == KV_OK ? f->sink->dropped(f->sink->context, ptr) : rc;
}

static int drop_chain(fold *f)
{
    kvi_space_own *next = f->next;
    int rc = KV_OK;
    for (size_t i = 0; rc == KV_OK && i < next->n_chain; i++)
        rc = drop_own(f, next->chain[i]);
    next->n_chain = 0;
    next->chain_id = f->space->id;
    return rc;
}

/* Drops the log pages that hold nothing newer than id. */
static int drop_logs(fold *f, kvi_id id)
{
    kvi_space_own *next = f->next;
    size_t n = 0;
    int rc = KV_OK;
    for (; rc == KV_OK && n < next->n_log && next->log[n].last <= id; n++)
        rc = drop_own(f, next->log[n].ptr);
    next->n_log -= n;
    memmove(next->log, next->log + n, next->n_log * sizeof *next->log);
    next->log_tail = KVI_MAX(next->log_tail, id);
    return rc;
}

/* ---- pages that are written anew ---- */

static int mark(fold *f, unsigned level, size_t i)
{
    kvi_ptr *ptr = &f->next->level[level][i];
    kvi_ptr old = *ptr;
    if (old.birth == f->space->id)
        return KV_OK;
    *ptr = (kvi_ptr){0, f->space->id};
    f->marked++;
    return old.page ? drop_own(f, old) : KV_OK;
}

/* Marks the directory pages above one. */
static int mark_above(fold *f, unsigned level, size_t i)
{
    uint32_t fanout = kvi_map_fanout(f->space->page_size);
    int rc = KV_OK;
    while (rc == KV_OK && ++level < f->next->levels) {
        i /= fanout;
        rc = mark(f, level, i);
    }
    return rc;
}

static int mark_slot(fold *f, size_t slot)
{
    int rc = mark(f, 0, slot);
    return rc == KV_OK ? mark_above(f, 0, slot) : rc;
}

static int level_resize(fold *f, unsigned level, size_t n)
{
    kvi_space_own *next = f->next;
    size_t old = next->n_level[level];
    int rc = KV_OK;
    for (size_t i = n; rc == KV_OK && i < old; i++)
        if (next->level[level][i].page)
            rc = drop_own(f, next->level[level][i]);
    if (n > old) {
        const kvi_os *os = f->space->os;
        kvi_ptr *ptrs = os->realloc(os, next->level[level], n * sizeof *ptrs);
        if (!ptrs)
            return KV_ENOMEM;
        memset(ptrs + old, 0, (n - old) * sizeof *ptrs);
        next->level[level] = ptrs;
    }
    next->n_level[level] = n;
    return rc;
}

/* Gives the map the shape that the file's size asks for. */
static int map_shape(fold *f)
{
    kvi_space_own *next = f->next;
    uint32_t fanout = kvi_map_fanout(f->space->page_size);
    size_t slots = kvi_space_slots(f->space, f->space->sealed_high_water), n = slots;
    unsigned before = next->levels, levels = 0;
    int rc = KV_OK;
    if (slots == next->n_level[0])
        return KV_OK;
    if (slots < next->n_level[0]) /* should the file not end before them, nothing tells of these */
        f->space->record_from =
            KVI_MIN(f->space->record_from, slots * (kvi_pgno)kvi_map_pages(f->space->page_size));
    for (bool top = false; rc == KV_OK && !top; levels++, n = (n + fanout - 1) / fanout) {
        top = n == 1;
        rc = levels < KVI_MAP_LEVELS_MAX
                 ? level_resize(f, levels, n)
                 : kvi_fail(f->space->file->err, KV_ENOSPC, "the file cannot have more pages");
    }
    for (unsigned level = levels; rc == KV_OK && level < before; level++)
        rc = level_resize(f, level, 0);
    next->levels = levels;
    if (rc == KV_OK && before > 0 && before <= levels) /* what was the root has a parent now */
        rc = mark_above(f, before - 1, 0);
    return rc == KV_OK ? mark_above(f, 0, slots - 1) : rc; /* these may have lost children */
}

/* ---- what is to be written ---- */

/* Notes which bitmap pages lack a record, this transaction's included. Runs that it dropped and
 * somebody still needs do not matter: they are in the log, or in the chain. */
static int since_fill(fold *f)
{
    const kvi_space *space = f->space;
    const kvi_record *record = &space->record;
    const kvi_extents *lists[2] = {&record->taken, &record->dropped};
    size_t slots = f->next->n_level[0];
    kvi_id *since = space->os->realloc(space->os, f->since, slots * sizeof *since);
    if (!since)
        return KV_ENOMEM;
    f->since = since;
    for (size_t i = 0; i < slots; i++)
        since[i] = space->rebuilt || space->refold ? space->id : space->since[i];
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < lists[k]->n; i++) {
            const kvi_extent *run = &lists[k]->at[i];
            size_t last = kvi_space_slot(space, kvi_extent_end(run) - 1);
            if (run->death != 0 && run->birth < run->death)
                continue;
            for (size_t slot = kvi_space_slot(space, run->page); slot <= last; slot++)
                if (slot < slots && since[slot] == 0)
                    since[slot] = space->id;
        }
    return KV_OK;
}

static int gather(fold *f, const kvi_extents *list)
{
    int rc = KV_OK;
    for (size_t i = 0; rc == KV_OK && i < list->n; i++)
        if (list->at[i].birth < list->at[i].death)
            rc = kvi_extents_push(&f->dead, f->space->os, list->at[i]);
    return rc;
}

/* All pages that are dead when the transaction has ended. */
static int gather_dead(fold *f)
{
    const kvi_space *space = f->space;
    int rc = gather(f, &space->drops);
    if (rc == KV_OK)
        rc = gather(f, &space->unfiled);
    for (size_t i = 0; rc == KV_OK && i < space->n_held; i++)
        rc = gather(f, &space->held[i].dead);
    return rc == KV_OK ? kvi_extents_sort(&f->dead, space->os) : rc;
}

/* Makes the list of blocked pages, and room for the chain that tells them. */
static int plan_chain(fold *f)
{
    const kvi_os *os = f->space->os;
    size_t pages = 0;
    f->dead.n = 0;
    int rc = gather_dead(f);
    for (size_t from = 0; rc == KV_OK && from < f->dead.n; pages++)
        kvi_blocked_put(f->buf, chain_room(f->space), f->space->id, &f->dead, &from);
    if (rc != KV_OK)
        return rc;
    kvi_ptr *chain = os->realloc(os, f->next->chain, (pages + 1) * sizeof *chain);
    if (!chain)
        return KV_ENOMEM;
    f->next->chain = chain;
    f->next->n_chain = pages;
    return KV_OK;
}

/* Puts the next part of the log into buf: the delta, and what fits of the record. */
static void log_fill(fold *f, bool first, kvi_record_cursor *cursor, kvi_id *last)
{
    kvi_space *space = f->space;
    uint8_t *records = f->buf + KVI_LOG_RECORDS;
    size_t len = first ? space->delta_len : 0, room = log_room(space);
    memset(f->buf, 0, space->page_size);
    memcpy(records, space->delta, len);
    size_t put = kvi_record_put(records + len, room - len, len ? space->delta_last : 0,
                                &space->record, cursor);
    *last = put ? space->id : space->delta_last;
    kvi_put64(f->buf + KVI_G_first, len ? space->delta_first : space->id);
    kvi_put64(f->buf + KVI_G_last, *last);
    kvi_put32(f->buf + KVI_G_len, (uint32_t)(len + put));
}

/* Log pages that the delta and the record need. */
static size_t log_pages(fold *f)
{
    kvi_record_cursor cursor = {0};
    kvi_id last;
    size_t n = 0;
    for (; !cursor.done; n++)
        log_fill(f, n == 0, &cursor, &last);
    return n;
}

static size_t slots_lacking(const fold *f)
{
    size_t n = 0;
    for (size_t i = 0; i < f->next->n_level[0]; i++)
        n += f->since[i] != 0;
    return n;
}

/* Bitmap pages whose turn it is after so many new log pages. */
static size_t slots_due(const fold *f, size_t logs)
{
    return (slots_lacking(f) * logs + KVI_SPACE_ROUND - 1) / KVI_SPACE_ROUND;
}

/* Is it as cheap to leave no log at all? */
static bool better_anew(const fold *f, size_t logs)
{
    const kvi_space *space = f->space;
    size_t runs = space->drops.n + space->unfiled.n;
    for (size_t i = 0; i < space->n_held; i++)
        runs += space->held[i].dead.n;
    size_t chain = (runs * 8 + chain_room(space) - 1) / chain_room(space);
    return space->rebuilt || space->refold || logs > KVI_SPACE_LOG_KEEP ||
           slots_lacking(f) + chain <= logs + slots_due(f, logs) + 1;
}

/* Marks bitmap pages in turn, and those that lack records up to limit. */
static int mark_due(fold *f, size_t due, kvi_id limit)
{
    size_t slots = f->next->n_level[0], at = f->space->round;
    int rc = KV_OK;
    for (size_t i = 0; rc == KV_OK && i < slots; i++, at++) {
        at = at < slots ? at : 0;
        bool turn = due > 0 && f->since[at] != 0;
        if (turn || (f->since[at] != 0 && f->since[at] <= limit))
            rc = mark_slot(f, at);
        due -= turn;
        if (turn)
            f->space->round = at + 1;
    }
    return rc;
}

/* A commit whose record, and all older ones, the bitmap and chain hold. */
static kvi_id base_of(const fold *f)
{
    const kvi_space_own *next = f->next;
    kvi_id base = KVI_MIN(next->chain_id, f->space->id - 1);
    for (size_t i = 0; i < next->n_level[0]; i++)
        if (f->since[i] != 0 && next->level[0][i].birth != f->space->id)
            base = KVI_MIN(base, f->since[i] - 1);
    return base;
}

/* ---- numbers ---- */

static int take_numbers(fold *f, size_t need)
{
    const kvi_os *os = f->space->os;
    if (need <= f->n_numbers)
        return KV_OK;
    kvi_pgno *numbers = os->realloc(os, f->numbers, need * sizeof *numbers);
    if (!numbers)
        return KV_ENOMEM;
    f->numbers = numbers;
    int rc = kvi_space_take(f->space, KVI_SPACE_LEAF, need - f->n_numbers, numbers + f->n_numbers);
    if (rc == KV_OK)
        f->n_numbers = need;
    return rc;
}

/* The log grows. Its own pages are part of the record, so their number is found by trying. */
static int plan_log(fold *f, size_t logs)
{
    const kvi_space_own *own = f->next;
    size_t over =
        own->n_log + logs > KVI_SPACE_LOG_KEEP ? own->n_log + logs - KVI_SPACE_LOG_KEEP : 0;
    kvi_id limit = over ? own->log[KVI_MIN(over, own->n_log) - 1].last : 0;
    int rc = mark_due(f, slots_due(f, logs), limit);
    f->chain = limit > own->chain_id;
    if (rc == KV_OK && f->chain)
        rc = drop_chain(f);
    if (rc == KV_OK)
        rc = drop_logs(f, base_of(f));
    if (rc == KV_OK && f->chain)
        rc = plan_chain(f);
    size_t others = f->marked + (f->chain ? own->n_chain : 0);
    for (f->new_logs = 0; rc == KV_OK && f->n_numbers < others + logs; f->new_logs = logs) {
        rc = take_numbers(f, others + logs);
        if (rc == KV_OK)
            rc = kvi_space_record(f->space);
        if (rc == KV_OK)
            logs = KVI_MAX(logs, log_pages(f));
    }
    return rc;
}

/* No log is left. Taking and dropping pages changes more bitmap pages, up to all of them. */
static int plan_anew(fold *f)
{
    f->chain = true;
    int rc = drop_logs(f, f->space->id);
    if (rc == KV_OK)
        rc = drop_chain(f);
    for (bool enough = false; rc == KV_OK && !enough;) {
        rc = kvi_space_record(f->space);
        if (rc == KV_OK)
            rc = map_shape(f);
        if (rc == KV_OK)
            rc = since_fill(f);
        if (rc == KV_OK)
            rc = mark_due(f, f->next->n_level[0], 0);
        if (rc == KV_OK)
            rc = plan_chain(f);
        enough = f->marked + f->next->n_chain <= f->n_numbers;
        if (rc == KV_OK)
            rc = take_numbers(f, f->marked + f->next->n_chain);
    }
    return rc;
}

static int plan(fold *f)
{
    int rc = map_shape(f);
    if (rc == KV_OK)
        rc = since_fill(f);
    if (rc != KV_OK)
        return rc;
    size_t logs = log_pages(f);
    f->anew = better_anew(f, logs);
    return f->anew ? plan_anew(f) : plan_log(f, logs);
}

/* ---- writing ---- */

static kvi_ptr next_place(fold *f)
{
    return (kvi_ptr){f->numbers[f->used++], f->space->id};
}

static int emit(fold *f, kvi_ptr ptr, int type, unsigned level, size_t count)
{
    f->buf[KVI_P_type] = (uint8_t)type;
    f->buf[KVI_P_level] = (uint8_t)level;
    kvi_put16(f->buf + KVI_P_count, (uint16_t)count);
    kvi_file_stamp(f->space->file, f->buf, ptr);
    return f->sink->emit(f->sink->context, ptr.page, f->buf);
}

/* Sets the bits of pages that fall free with this commit, of those in [from, end). */
static void bits_of_record(const fold *f, kvi_pgno from, kvi_pgno end, uint8_t *bits)
{
    const kvi_extents *dropped = &f->space->record.dropped;
    size_t low = 0, high = dropped->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (kvi_extent_end(&dropped->at[mid]) <= from)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < dropped->n && dropped->at[low].page < end; low++) {
        const kvi_extent *run = &dropped->at[low];
        for (kvi_pgno page = KVI_MAX(run->page, from);
             run->birth == run->death && page < KVI_MIN(kvi_extent_end(run), end); page++)
            bits[(page - from) / 8] |= (uint8_t)(1 << (page - from) % 8);
    }
}

static int write_bitmap(fold *f, size_t slot)
{
    const kvi_space *space = f->space;
    uint32_t pages = kvi_map_pages(space->page_size);
    kvi_pgno from = slot * (kvi_pgno)pages, end = KVI_MIN(from + pages, space->sealed_high_water);
    uint8_t *bits = f->buf + KVI_HEADER_SIZE;
    memset(f->buf, 0, space->page_size);
    for (kvi_pgno page = from; page < end; page += 64) {
        uint64_t word = kvi_bitset_word(&space->free, page / 64);
        if (end - page < 64)
            word &= ((uint64_t)1 << (end - page)) - 1;
        kvi_put64(bits + (page - from) / 8, word);
    }
    bits_of_record(f, from, end, bits);
    return emit(f, f->next->level[0][slot], KVI_MAP, 0, 0);
}

static int write_directory(fold *f, unsigned level, size_t i)
{
    const kvi_space_own *next = f->next;
    size_t fanout = kvi_map_fanout(f->space->page_size), first = i * fanout;
    size_t n = KVI_MIN(fanout, next->n_level[level - 1] - first);
    memset(f->buf, 0, f->space->page_size);
    for (size_t k = 0; k < n; k++)
        kvi_ptr_put(f->buf + KVI_HEADER_SIZE + k * KVI_PTR_SIZE, next->level[level - 1][first + k]);
    return emit(f, next->level[level][i], KVI_MAP_DIR, level, n);
}

/* From the bitmap pages up, so that a directory page finds its children placed. */
static int write_map(fold *f)
{
    kvi_space_own *next = f->next;
    int rc = KV_OK;
    for (unsigned level = 0; level < next->levels; level++)
        for (size_t i = 0; rc == KV_OK && i < next->n_level[level]; i++)
            if (next->level[level][i].birth == f->space->id) {
                next->level[level][i] = next_place(f);
                rc = level ? write_directory(f, level, i) : write_bitmap(f, i);
            }
    return rc;
}

static int write_chain(fold *f)
{
    kvi_space_own *next = f->next;
    size_t from = 0;
    int rc = KV_OK;
    for (size_t i = 0; i < next->n_chain; i++)
        next->chain[i] = next_place(f);
    for (size_t i = 0; rc == KV_OK && i < next->n_chain; i++) {
        memset(f->buf, 0, f->space->page_size);
        size_t len = kvi_blocked_put(f->buf + KVI_BLOCKED_RUNS, chain_room(f->space), f->space->id,
                                     &f->dead, &from);
        kvi_put32(f->buf + KVI_B_len, (uint32_t)len);
        if (i + 1 < next->n_chain)
            kvi_ptr_put(f->buf + KVI_B_next, next->chain[i + 1]);
        rc = emit(f, next->chain[i], KVI_BLOCKED, 0, 0);
    }
    return rc;
}

static int write_logs(fold *f)
{
    const kvi_os *os = f->space->os;
    kvi_space_own *next = f->next;
    kvi_record_cursor cursor = {0};
    int rc = KV_OK;
    if (f->new_logs == 0)
        return KV_OK;
    kvi_log_page *log = os->realloc(os, next->log, (next->n_log + f->new_logs) * sizeof *log);
    if (!log)
        return KV_ENOMEM;
    next->log = log;
    for (size_t i = 0; rc == KV_OK && i < f->new_logs; i++) {
        kvi_log_page *page = &log[next->n_log];
        log_fill(f, i == 0, &cursor, &page->last);
        if (next->n_log > 0)
            kvi_ptr_put(f->buf + KVI_G_older, page[-1].ptr);
        page->ptr = next_place(f);
        next->n_log++;
        rc = emit(f, page->ptr, KVI_LOG, 0, 0);
    }
    return rc;
}

/* ---- all ---- */

static int own_copy(const kvi_space_own *own, kvi_space_own *copy, const kvi_os *os)
{
    *copy = *own;
    copy->log = os->alloc(os, (own->n_log + 1) * sizeof *copy->log);
    copy->chain = os->alloc(os, (own->n_chain + 1) * sizeof *copy->chain);
    bool whole = copy->log && copy->chain;
    for (unsigned i = 0; i < KVI_MAP_LEVELS_MAX; i++) {
        size_t size = own->n_level[i] * sizeof *copy->level[i];
        copy->level[i] = size ? os->alloc(os, size) : NULL;
        if (copy->level[i])
            memcpy(copy->level[i], own->level[i], size);
        whole = whole && (copy->level[i] || !size);
    }
    if (copy->log && own->n_log)
        memcpy(copy->log, own->log, own->n_log * sizeof *copy->log);
    if (copy->chain && own->n_chain)
        memcpy(copy->chain, own->chain, own->n_chain * sizeof *copy->chain);
    return whole ? KV_OK : KV_ENOMEM; /* kvi_space_own_free frees what there is */
}

static void roots_set(kvi_space_roots *roots, kvi_space_own *own)
{
    *roots = (kvi_space_roots){
        .log_tail = own->log_tail,
        .log_pages = (uint32_t)own->n_log,
        .blocked_pages = (uint32_t)own->n_chain,
        .map_levels = (uint8_t)own->levels,
    };
    if (own->n_log)
        roots->log = own->log[own->n_log - 1].ptr;
    if (own->n_chain)
        roots->blocked = own->chain[0];
    if (own->levels)
        roots->map = own->level[own->levels - 1][0];
    own->pages = own->n_log + own->n_chain;
    for (unsigned level = 0; level < own->levels; level++)
        for (size_t i = 0; i < own->n_level[level]; i++)
            own->pages += own->level[level][i].page != 0;
}

static int fold_run(fold *f)
{
    int rc = own_copy(&f->space->own, f->next, f->space->os);
    if (rc == KV_OK)
        rc = plan(f);
    if (rc == KV_OK)
        rc = write_map(f);
    if (rc == KV_OK && f->chain)
        rc = write_chain(f);
    if (rc == KV_OK)
        rc = write_logs(f);
    return rc;
}

int kvi_space_fold(kvi_space *space, const kvi_space_sink *sink)
{
    const kvi_os *os = space->os;
    fold f = {.space = space, .sink = sink, .next = &space->next};
    f.buf = os->alloc(os, space->page_size);
    int rc = f.buf ? fold_run(&f) : KV_ENOMEM;
    if (rc == KV_OK) {
        roots_set(&space->next_roots, f.next);
        space->folded = true;
    }
    os->free(os, f.since);
    os->free(os, f.numbers);
    os->free(os, f.buf);
    kvi_extents_free(&f.dead, os);
    return rc;
}
