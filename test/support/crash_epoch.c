/* crash_epoch.c - the changes that a disk may still lose at one moment, and the image that a choice
 * of them leaves. */
#include "crash_impl.h"
#include "format.h"

/* ---- gathering ---- */

static void epoch_room(crash_epoch *e, size_t more)
{
    if (e->n + more <= e->cap)
        return;
    e->cap = (e->n + more) * 2;
    e->units = realloc(e->units, e->cap * sizeof *e->units);
    e->chosen = realloc(e->chosen, e->cap * sizeof *e->chosen);
    e->group = realloc(e->group, e->cap * sizeof *e->group);
    e->keep = realloc(e->keep, e->cap);
    if (!e->units || !e->chosen || !e->group || !e->keep)
        sim_die("out of memory");
}

/* Does the write change what stood there? */
static bool unit_changes(const sim_event *event, const sim_unit *unit)
{
    size_t at = (size_t)(unit->off - event->off);
    uint64_t known = event->old_size > event->off ? event->old_size - event->off : 0;
    return at + unit->len > known || memcmp(event->before + at, unit->data, unit->len) != 0;
}

/* Words of a meta that keep their value go with the word before them: a meta has hundreds, and it
 * makes no difference which of those the disk keeps. */
static size_t glue(const sim_event *event, sim_unit *units, size_t n, uint64_t words_end)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        sim_unit *last = kept ? &units[kept - 1] : NULL;
        bool words = units[i].kind == SIM_UNIT_DATA && units[i].off < words_end;
        if (words && last && last->kind == SIM_UNIT_DATA && !unit_changes(event, &units[i]))
            last->len += units[i].len;
        else
            units[kept++] = units[i];
    }
    return kept;
}

/* Of one write, and in the same page or meta? */
static bool same_group(const sim_unit *a, const sim_unit *b, uint32_t page_size)
{
    uint64_t stride = kvi_meta_stride(page_size);
    uint64_t grain = a->off < 2 * stride ? stride : page_size;
    return a->kind == SIM_UNIT_DATA && b->kind == SIM_UNIT_DATA && a->event == b->event &&
           a->off / grain == b->off / grain;
}

/* The side file's life: what a power cut leaves of it says nothing, and crash_haunt makes it up. */
static bool of_side_file(const sim_disk *disk, size_t number)
{
    int file = disk->events[number].file;
    return file >= 0 && disk->files[file].shared;
}

static void gather_event(crash_epoch *e, const sim_disk *disk, size_t number, uint32_t page_size)
{
    sim_tear tear = {CRASH_SECTOR, 8, kvi_meta_stride(page_size) + KVI_META_SIZE};
    size_t n = sim_event_units(disk, number, &tear, NULL, 0);
    epoch_room(e, n);
    sim_unit *units = e->units + e->n;
    n = sim_event_units(disk, number, &tear, units, n);
    n = glue(&disk->events[number], units, n, tear.words_end);
    for (size_t i = 0; i < n; i++) {
        bool same = i > 0 && same_group(&units[i - 1], &units[i], page_size);
        e->groups += !same;
        e->group[e->n + i] = (uint32_t)(e->groups - 1);
    }
    e->n += n;
}

void crash_epoch_gather(crash_epoch *e, const crash_record *record, size_t from, size_t at,
                        uint32_t page_size)
{
    uint32_t *events = malloc((at - from + 1) * sizeof *events);
    if (!events)
        sim_die("out of memory");
    e->at = at;
    e->n = 0;
    e->groups = 0;
    e->kill = e->lie = false;
    size_t n = sim_pending(record->disk, from, at, events);
    for (size_t i = 0; i < n; i++)
        if (!of_side_file(record->disk, events[i]))
            gather_event(e, record->disk, events[i], page_size);
    free(events);
}

void crash_epoch_free(crash_epoch *e)
{
    free(e->units);
    free(e->chosen);
    free(e->group);
    free(e->keep);
    *e = (crash_epoch){0};
}

/* ---- choosing ---- */

void crash_epoch_keep_all(crash_epoch *e, bool keep)
{
    if (e->n)
        memset(e->keep, keep, e->n);
}

void crash_epoch_keep_group(crash_epoch *e, uint32_t group, bool keep)
{
    for (size_t i = 0; i < e->n; i++)
        if (e->group[i] == group)
            e->keep[i] = keep;
}

size_t crash_epoch_choose(crash_epoch *e)
{
    size_t n = 0;
    for (size_t i = 0; i < e->n; i++) {
        const sim_unit *unit = &e->units[i];
        sim_unit *last = n ? &e->chosen[n - 1] : NULL;
        if (!e->keep[i])
            continue;
        if (last && last->kind == SIM_UNIT_DATA && unit->kind == SIM_UNIT_DATA &&
            last->event == unit->event && last->off + last->len == unit->off)
            last->len += unit->len;
        else
            e->chosen[n++] = *unit;
    }
    return n;
}

/* ---- the image ---- */

static void garbage_write(crash_level *level, const sim_unit *unit, rng *r)
{
    uint8_t bytes[KVI_PAGE_MAX];
    size_t len = KVI_MIN(unit->len, sizeof bytes);
    const crash_epoch *e = &level->epoch;
    if (e->garbage == GARBAGE_ONES)
        memset(bytes, 0xff, len);
    else if (e->garbage == GARBAGE_RANDOM)
        rng_fill(r, bytes, len);
    else if (unit->off + len <= level->old_size)
        memcpy(bytes, level->old + unit->off, len);
    else
        return;
    struct iovec iov = {bytes, len};
    sim_do_write(level->disk, unit->file, unit->off, &iov, 1, len);
}

/* Space that the file got, but not the bytes: whatever stood on the disk there. */
static void garbage_lay(crash_level *level, size_t n_chosen)
{
    crash_epoch *e = &level->epoch;
    uint64_t before[SIM_FILES] = {0}, after[SIM_FILES] = {0};
    rng r;
    rng_seed(&r, e->pick);
    for (int i = 0; i < level->disk->n_files; i++)
        before[i] = level->disk->files[i].size;
    for (size_t i = 0; i < n_chosen; i++)
        if (e->chosen[i].kind == SIM_UNIT_SIZE)
            after[e->chosen[i].file] = e->chosen[i].off;
    for (size_t i = 0; i < e->n; i++) {
        const sim_unit *unit = &e->units[i];
        if (!e->keep[i] && unit->kind == SIM_UNIT_DATA && unit->file < level->disk->n_files &&
            unit->off >= before[unit->file] && unit->off + unit->len <= after[unit->file])
            garbage_write(level, unit, &r);
    }
}

void crash_epoch_lay(crash_level *level)
{
    crash_epoch *e = &level->epoch;
    size_t n = crash_epoch_choose(e);
    if (e->garbage != GARBAGE_ZERO)
        garbage_lay(level, n);
    sim_apply(level->disk, e->chosen, n);
}
