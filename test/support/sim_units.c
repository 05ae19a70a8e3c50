/* sim_units.c - what a power cut may leave of a simulated disk's latest changes. */
#include "sim_os.h"

/* Walks back from the cut: a change is pending until a flush that came after it. */
size_t sim_pending(const sim_disk *disk, size_t from, size_t upto, uint32_t *events)
{
    bool settled[SIM_FILES] = {false};
    bool names_settled = false;
    size_t n = 0;
    for (size_t i = upto; i-- > from;) {
        const sim_event *event = &disk->events[i];
        bool pending = false;
        switch (event->kind) {
        case SIM_CREATE:
        case SIM_LINK:
        case SIM_UNLINK:
            pending = !names_settled;
            break;
        case SIM_WRITE:
        case SIM_TRUNCATE:
            pending = !settled[event->file];
            break;
        case SIM_SYNC_DIR:
            names_settled = true;
            break;
        case SIM_SYNC:
        case SIM_SYNC_LOST:
            settled[event->file] = true;
            break;
        case SIM_MARK:
            break;
        }
        if (pending)
            events[n++] = (uint32_t)i;
    }
    for (size_t i = 0; i < n / 2; i++) {
        uint32_t swap = events[i];
        events[i] = events[n - 1 - i];
        events[n - 1 - i] = swap;
    }
    return n;
}

/* ---- cutting ---- */

typedef struct unit_list {
    sim_unit *units;
    size_t n;
    size_t max;
} unit_list;

static void list_add(unit_list *list, sim_unit unit)
{
    if (list->n < list->max)
        list->units[list->n] = unit;
    list->n++;
}

/* Where the unit that holds the byte at off ends. */
static uint64_t unit_end(const sim_tear *tear, uint64_t off)
{
    uint32_t grain = off < tear->words_end ? tear->word : tear->block;
    uint64_t end = (off / grain + 1) * grain;
    return off < tear->words_end ? KVI_MIN(end, tear->words_end) : end;
}

static void cut_data(unit_list *list, const sim_event *event, const sim_tear *tear, sim_unit unit)
{
    uint64_t end = event->off + event->len;
    unit.kind = SIM_UNIT_DATA;
    for (uint64_t off = event->off; off < end; off += unit.len) {
        unit.off = off;
        unit.len = (size_t)(KVI_MIN(end, unit_end(tear, off)) - off);
        unit.data = event->data + (off - event->off);
        list_add(list, unit);
    }
}

size_t sim_event_units(const sim_disk *disk, size_t number, const sim_tear *tear, sim_unit *units,
                       size_t max)
{
    const sim_event *event = &disk->events[number];
    unit_list list = {units, 0, max};
    sim_unit unit = {.file = event->file, .event = number, .name = event->name};
    if (event->name) {
        unit.kind = SIM_UNIT_NAME;
        if (event->kind == SIM_UNLINK)
            unit.file = -1;
        list_add(&list, unit);
    } else if (event->new_size != event->old_size) {
        unit.kind = SIM_UNIT_SIZE;
        unit.off = event->new_size;
        list_add(&list, unit);
    }
    if (event->kind == SIM_WRITE)
        cut_data(&list, event, tear, unit);
    return list.n;
}

/* ---- applying ---- */

/* Units may belong to files that were created after the copy was made. */
static void make_files(sim_disk *disk, const sim_unit *units, size_t n)
{
    for (size_t i = 0; i < n; i++)
        while (disk->n_files <= units[i].file)
            sim_do_create(disk, NULL, 0644);
}

/* Sizes that the files have in the end: the last that is among the units. */
static void final_sizes(const sim_disk *disk, const sim_unit *units, size_t n, uint64_t *sizes)
{
    for (int i = 0; i < disk->n_files; i++)
        sizes[i] = disk->files[i].size;
    for (size_t i = 0; i < n; i++)
        if (units[i].kind == SIM_UNIT_SIZE)
            sizes[units[i].file] = units[i].off;
}

static void apply_name(sim_disk *disk, const sim_unit *unit)
{
    int old = sim_find(disk, unit->name);
    if (old == unit->file)
        return;
    if (unit->file >= 0)
        sim_do_link(disk, unit->name, unit->file);
    else
        sim_do_unlink(disk, unit->name);
}

static void apply_data(sim_disk *disk, const sim_unit *unit)
{
    struct iovec iov = {(void *)(uintptr_t)unit->data, unit->len};
    sim_do_write(disk, unit->file, unit->off, &iov, 1, unit->len);
}

void sim_apply(sim_disk *disk, const sim_unit *units, size_t n)
{
    uint64_t sizes[SIM_FILES];
    make_files(disk, units, n);
    final_sizes(disk, units, n, sizes);
    for (size_t i = 0; i < n; i++) {
        const sim_unit *unit = &units[i];
        if (unit->kind == SIM_UNIT_NAME)
            apply_name(disk, unit);
        else if (unit->kind == SIM_UNIT_DATA)
            apply_data(disk, unit);
        else if (unit->off < disk->files[unit->file].size)
            sim_do_truncate(disk, unit->file, unit->off);
    }
    for (int i = 0; i < disk->n_files; i++)
        if (disk->files[i].size != sizes[i])
            sim_do_truncate(disk, i, sizes[i]);
}

bool sim_unit_changes(const sim_disk *disk, const sim_unit *unit)
{
    if (unit->kind == SIM_UNIT_NAME)
        return sim_find(disk, unit->name) != unit->file;
    if (unit->file >= disk->n_files)
        return true;
    const sim_file *file = &disk->files[unit->file];
    if (unit->kind == SIM_UNIT_SIZE)
        return unit->off != file->size;
    return unit->off + unit->len > file->size ||
           memcmp(file->bytes + unit->off, unit->data, unit->len) != 0;
}
