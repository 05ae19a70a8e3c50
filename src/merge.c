/* merge.c - see merge.h. The streams are not trusted, but what is wrong in them beyond their order is
 * found by whoever applies the result. */
#include "merge.h"
#include "mutant.h"

/* Entries stand in ranges of keys, trees in ranges of names. */
enum { ENTRIES, NAMES, LEVELS };

static const uint8_t from_record[LEVELS] = {KVI_SAYS_FROM, KVI_SAYS_NAMES_FROM};
static const uint8_t to_record[LEVELS] = {KVI_SAYS_TO, KVI_SAYS_NAMES_TO};

/* One of the backups, and the record that it has come to. */
typedef struct told {
    const kv_merge_options *options;
    size_t number;
    kvi_stream stream;
    kvi_stream_header header;
    uint8_t record;  /* 0: the end. UNTIL is part of what follows it */
    bool open_end;   /* of a bound: there is none */
    kvi_slice key;   /* or bound, or name */
    kvi_slice value; /* PUT: valid until the next record */
    uint64_t until;  /* PUT, KEPT */
    uint64_t nature[4];
    bool open[LEVELS];
    bool here; /* its record is part of the tree, or of the names, that are merged now */
    uint8_t *room;
} told;

typedef struct merge {
    told *of; /* oldest first */
    size_t n;
    kvi_stream out;
    kv_backup_info *info;
} merge;

/* ---- reading ---- */

static int64_t told_read(void *context, void *bytes, size_t len)
{
    const told *t = context;
    return t->options->read(t->options->context, t->number, bytes, len);
}

/* The record's key outlives what is read behind it. */
static void key_keep(told *t, kvi_slice key)
{
    if (key.len)
        memcpy(t->room, key.ptr, key.len);
    t->key = kvi_slice_of(t->room, key.len);
}

static int read_bound(told *t)
{
    kvi_slice bytes;
    const kvi_slice *bound;
    int rc = kvi_stream_bound(&t->stream, &bytes, &bound);
    t->open_end = !bound;
    if (rc == KV_OK && bound)
        key_keep(t, *bound);
    return rc;
}

static int read_key(told *t)
{
    kvi_slice key;
    int rc = kvi_stream_key(&t->stream, &key);
    if (rc == KV_OK)
        key_keep(t, key);
    return rc;
}

static int read_tree(told *t)
{
    int rc = read_key(t);
    for (size_t i = 0; rc == KV_OK && i < KVI_COUNT(t->nature); i++)
        rc = kvi_stream_number(&t->stream, &t->nature[i]);
    return rc;
}

static int read_put(told *t)
{
    int rc = read_key(t);
    return rc == KV_OK ? kvi_stream_value(&t->stream, &t->value) : rc;
}

static int read_record(told *t)
{
    switch (t->record) {
    case KVI_SAYS_TREE:
        return read_tree(t);
    case KVI_SAYS_FROM:
    case KVI_SAYS_TO:
    case KVI_SAYS_NAMES_FROM:
    case KVI_SAYS_NAMES_TO:
        return read_bound(t);
    case KVI_SAYS_PUT:
        return read_put(t);
    case KVI_SAYS_KEPT:
        return read_key(t);
    default:
        return kvi_stream_damaged(&t->stream, "a record of an unknown kind");
    }
}

/* To the next record. */
static int told_next(told *t)
{
    t->until = 0;
    int rc = kvi_stream_byte(&t->stream, &t->record);
    if (rc == KV_OK && t->record == KVI_SAYS_UNTIL) {
        rc = kvi_stream_number(&t->stream, &t->until);
        if (rc == KV_OK)
            rc = kvi_stream_byte(&t->stream, &t->record);
        if (rc == KV_NOTFOUND ||
            (rc == KV_OK && t->record != KVI_SAYS_PUT && t->record != KVI_SAYS_KEPT))
            return kvi_stream_damaged(&t->stream, "an expiry without an entry");
        if (rc == KV_OK && t->until == 0)
            return kvi_stream_damaged(&t->stream, "an impossible expiry");
    }
    if (rc == KV_OK)
        return read_record(t);
    t->record = 0;
    return rc == KV_NOTFOUND ? KV_OK : rc;
}

/* ---- writing ---- */

static int put_bound(merge *m, const told *t)
{
    int rc = kvi_stream_put_byte(&m->out, t->record);
    return rc == KV_OK ? kvi_stream_put_bound(&m->out, t->open_end ? NULL : &t->key) : rc;
}

/* What t says, with the expiry that a newer one says. */
static int put_entry(merge *m, const told *t, uint64_t until)
{
    int rc = until ? kvi_stream_put_byte(&m->out, KVI_SAYS_UNTIL) : KV_OK;
    if (rc == KV_OK && until)
        rc = kvi_stream_put_number(&m->out, until);
    if (rc == KV_OK)
        rc = kvi_stream_put_byte(&m->out, t->record);
    if (rc == KV_OK)
        rc = kvi_stream_put_bytes(&m->out, t->key);
    m->info->entries++;
    return rc == KV_OK && t->record == KVI_SAYS_PUT ? kvi_stream_put_bytes(&m->out, t->value) : rc;
}

static int put_tree(merge *m, const told *t)
{
    int rc = kvi_stream_put_byte(&m->out, KVI_SAYS_TREE);
    if (rc == KV_OK)
        rc = kvi_stream_put_bytes(&m->out, t->key);
    for (size_t i = 0; rc == KV_OK && i < KVI_COUNT(t->nature); i++)
        rc = kvi_stream_put_number(&m->out, t->nature[i]);
    return rc;
}

/* ---- side by side ---- */

static bool is_item(const told *t, unsigned level)
{
    return level == NAMES ? t->record == KVI_SAYS_TREE
                          : t->record == KVI_SAYS_PUT || t->record == KVI_SAYS_KEPT;
}

static bool is_here(const told *t, unsigned level)
{
    return t->here &&
           (is_item(t, level) || t->record == from_record[level] || t->record == to_record[level]);
}

/* -1: before all keys; 1: behind them. */
static int end_of(const told *t, unsigned level)
{
    bool bound = !is_item(t, level) && t->open_end;
    return !bound ? 0 : t->record == from_record[level] ? -1 : 1;
}

/* At one place: what begins, then what ends, then what is there. */
static int turn_of(const told *t, unsigned level)
{
    return t->record == from_record[level] ? 0 : t->record == to_record[level] ? 1 : 2;
}

static int compare(const told *a, const told *b, unsigned level)
{
    int order = end_of(a, level) - end_of(b, level);
    if (order == 0 && end_of(a, level) == 0)
        order = kvi_slice_compare(a->key, b->key);
    return order ? order : turn_of(a, level) - turn_of(b, level);
}

/* The one whose record comes first; NULL: none is left here. */
static told *first_of(merge *m, unsigned level)
{
    told *first = NULL;
    for (size_t i = 0; i < m->n; i++)
        if (is_here(&m->of[i], level) && (!first || compare(&m->of[i], first, level) < 0))
            first = &m->of[i];
    return first;
}

/* The newest one before m->of[below] in which a range is open; NULL: none is. */
static told *newest_open(merge *m, size_t below, unsigned level)
{
    while (below-- > 0)
        if (m->of[below].here && m->of[below].open[level])
            return &m->of[below];
    return NULL;
}

static bool stands_at(const told *t, kvi_slice key, unsigned level)
{
    return t->here && is_item(t, level) && kvi_slice_compare(t->key, key) == 0;
}

/* Is the record one that belongs before a place, or where an item stood, at it? */
static bool goes_back(const told *t, unsigned level, int end, kvi_slice key, bool item)
{
    int order = end_of(t, level) - end;
    if (order == 0 && end == 0)
        order = kvi_slice_compare(t->key, key);
    return is_here(t, level) && order < (item ? 1 : 0);
}

static kvi_slice copy_key(uint8_t *room, kvi_slice key)
{
    if (key.len)
        memcpy(room, key.ptr, key.len);
    return kvi_slice_of(room, key.len);
}

/* A range begins or ends. */
static int bound_merge(merge *m, told *t, unsigned level)
{
    bool begins = t->record == from_record[level], was = newest_open(m, m->n, level);
    if (t->open[level] == begins)
        return kvi_stream_damaged(&t->stream, "its ranges are out of order");
    int end = end_of(t, level), rc = KV_OK;
    kvi_slice key = copy_key(m->of[m->n].room, t->key); /* there is one more */
    t->open[level] = begins;
    if (!newest_open(m, m->n, level) == was)
        rc = put_bound(m, t);
    if (rc == KV_OK)
        rc = told_next(t);
    if (rc == KV_OK && goes_back(t, level, end, key, false))
        rc = kvi_stream_damaged(&t->stream, "its ranges are out of order");
    return rc;
}

/* All that stand at a key go on. The key is one of theirs. */
static int step_over(merge *m, told *first)
{
    kvi_slice key = copy_key(m->of[m->n].room, first->key);
    int rc = KV_OK;
    for (size_t i = 0; rc == KV_OK && i < m->n; i++)
        if (stands_at(&m->of[i], key, ENTRIES)) {
            rc = told_next(&m->of[i]);
            if (rc == KV_OK && goes_back(&m->of[i], ENTRIES, 0, key, true))
                rc = kvi_stream_damaged(&m->of[i].stream, "its keys are out of order");
        }
    return rc;
}

/* The newest one that states this place has the say; what it kept is what the one before says. */
static int entry_merge(merge *m, told *first)
{
    const told *newest = newest_open(m, m->n, ENTRIES), *says = newest;
    if (KVI_MUTANT(MERGED_OLDEST))
        newest = says = first;
    if (!first->open[ENTRIES])
        return kvi_stream_damaged(&first->stream, "its keys are out of order");
    if (!stands_at(newest, first->key, ENTRIES))
        return step_over(m, first);
    while (says->record == KVI_SAYS_KEPT && !KVI_MUTANT(MERGED_KEPT)) {
        const told *before = newest_open(m, says->number, ENTRIES);
        if (!before)
            break;
        if (!stands_at(before, first->key, ENTRIES))
            return kvi_stream_damaged(&says->stream, "it keeps a value that was not there");
        says = before;
    }
    int rc = put_entry(m, says, KVI_MUTANT(MERGED_EXPIRY) ? says->until : newest->until);
    return rc == KV_OK ? step_over(m, first) : rc;
}

static int entries_merge(merge *m)
{
    told *first;
    int rc = KV_OK;
    while (rc == KV_OK && (first = first_of(m, ENTRIES)))
        rc = is_item(first, ENTRIES) ? entry_merge(m, first) : bound_merge(m, first, ENTRIES);
    for (size_t i = 0; rc == KV_OK && i < m->n; i++)
        if (m->of[i].here && m->of[i].open[ENTRIES])
            rc = kvi_stream_damaged(&m->of[i].stream, "a range has no end");
    return rc;
}

/* ---- trees ---- */

/* Passes over what is said about a tree that is gone. */
static int tree_skip(told *t)
{
    int rc = KV_OK;
    while (rc == KV_OK &&
           (is_item(t, ENTRIES) || t->record == KVI_SAYS_FROM || t->record == KVI_SAYS_TO))
        rc = told_next(t);
    return rc;
}

/* The tree at which first stands, as all see it that stand there. */
static int tree_merge(merge *m, told *first, bool main)
{
    told *newest = main ? &m->of[m->n - 1] : newest_open(m, m->n, NAMES);
    if (!main && (!first->open[NAMES] || first->key.len == 0))
        return kvi_stream_damaged(&first->stream, "its names are out of order");
    if (KVI_MUTANT(MERGED_NAMES))
        newest = first;
    bool there = stands_at(newest, first->key, NAMES);
    int rc = there ? put_tree(m, newest) : KV_OK;
    kvi_slice name = copy_key(m->of[m->n].room + KVI_STREAM_KEY, first->key);
    for (size_t i = 0; i < m->n; i++) /* who says nothing of it does not see it */
        m->of[i].here = stands_at(&m->of[i], name, NAMES);
    for (size_t i = 0; rc == KV_OK && i < m->n; i++)
        if (m->of[i].here)
            rc = told_next(&m->of[i]);
    if (rc == KV_OK && there)
        rc = entries_merge(m);
    for (size_t i = 0; i < m->n; i++) {
        if (rc == KV_OK && m->of[i].here)
            rc = tree_skip(&m->of[i]);
        if (rc == KV_OK && m->of[i].here && !main && goes_back(&m->of[i], NAMES, 0, name, true))
            rc = kvi_stream_damaged(&m->of[i].stream, "its names are out of order");
        m->of[i].here = true;
    }
    return rc;
}

static int trees_merge(merge *m)
{
    told *first;
    int rc = KV_OK;
    for (size_t i = 0; rc == KV_OK && i < m->n; i++) {
        told *t = &m->of[i];
        rc = told_next(t);
        if (rc == KV_OK && (t->record != KVI_SAYS_TREE || t->key.len > 0))
            rc = kvi_stream_damaged(&t->stream, "the main tree is not the first one");
    }
    if (rc == KV_OK)
        rc = tree_merge(m, &m->of[0], true);
    while (rc == KV_OK && (first = first_of(m, NAMES)))
        rc = is_item(first, NAMES) ? tree_merge(m, first, false) : bound_merge(m, first, NAMES);
    for (size_t i = 0; rc == KV_OK && i < m->n; i++)
        if (m->of[i].record || m->of[i].open[NAMES])
            rc = kvi_stream_damaged(&m->of[i].stream, "its records are out of order");
    return rc;
}

/* ---- the whole ---- */

/* Does a backup lead on from the one before it? */
static int header_fits(const told *t)
{
    const kvi_stream_header *old = &t[-1].header, *new = &t->header;
    if (memcmp(old->file_id, new->file_id, sizeof old->file_id) != 0)
        return kvi_fail(t->stream.err, KV_MISMATCH, "backup %zu is of another database",
                        t->number + 1);
    if (new->from <= old->to && old->to <= new->to)
        return KV_OK;
    return kvi_fail(t->stream.err, KV_MISMATCH,
                    "backup %zu leads from commit %llu to %llu, the one before it to %llu",
                    t->number + 1, (unsigned long long)new->from, (unsigned long long)new->to,
                    (unsigned long long)old->to);
}

static int header_read(told *t)
{
    int rc = kvi_stream_header_read(&t->stream, &t->header);
    if (rc == KV_NOTFOUND)
        rc = kvi_stream_damaged(&t->stream, "there is nothing");
    return rc == KV_OK && t->number > 0 ? header_fits(t) : rc;
}

static int headers_merge(merge *m)
{
    kvi_stream_header header = m->of[m->n - 1].header;
    for (size_t i = 0; i < m->n; i++)
        header.from = KVI_MIN(header.from, m->of[i].header.from);
    m->info->from = header.from;
    m->info->to = header.to;
    memcpy(m->info->file_id, header.file_id, sizeof header.file_id);
    return kvi_stream_begin(&m->out, &header);
}

static int told_open(told *t, const kv_merge_options *options, size_t number, kvi_stream like)
{
    *t = (told){.options = options, .number = number, .stream = like, .here = true};
    t->stream.read = told_read;
    t->stream.context = t;
    t->room = like.os->alloc(like.os, (size_t)2 * KVI_STREAM_KEY);
    if (!t->room)
        return kvi_fail(like.err, KV_ENOMEM, "no memory for a backup");
    return kvi_stream_open(&t->stream);
}

static int merge_run(merge *m, const kv_merge_options *options, kvi_stream like)
{
    int rc = KV_OK;
    for (size_t i = 0; rc == KV_OK && i < m->n; i++) { /* what is none costs nothing behind it */
        rc = told_open(&m->of[i], options, i, like);
        if (rc == KV_OK)
            rc = header_read(&m->of[i]);
    }
    if (rc == KV_OK)
        rc = told_open(&m->of[m->n], options, m->n, like); /* lends its room only */
    if (rc == KV_OK)
        rc = kvi_stream_open(&m->out);
    if (rc == KV_OK)
        rc = headers_merge(m);
    if (rc == KV_OK)
        rc = trees_merge(m);
    return rc == KV_OK ? kvi_stream_end(&m->out) : rc;
}

int kvi_merge(const kvi_os *os, kvi_err *err, const kv_merge_options *options, kv_backup_info *info)
{
    kvi_stream like = {.os = os, .err = err};
    merge m = {.n = options->n, .out = like, .info = info};
    m.out.write = options->write;
    m.out.context = options->context;
    if (m.n >= SIZE_MAX / sizeof *m.of)
        return KV_ENOMEM;
    size_t size = (m.n + 1) * sizeof *m.of;
    m.of = os->alloc(os, size);
    if (!m.of)
        return kvi_fail(err, KV_ENOMEM, "no memory for %zu backups", m.n);
    memset(m.of, 0, size);
    int rc = merge_run(&m, options, like);
    info->bytes = m.out.passed;
    for (size_t i = 0; i <= m.n; i++) {
        m.of[i].stream.os = os;
        kvi_stream_close(&m.of[i].stream);
        os->free(os, m.of[i].room);
    }
    kvi_stream_close(&m.out);
    os->free(os, m.of);
    return rc;
}
