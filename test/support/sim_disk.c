/* sim_disk.c - the files and names of a simulated machine, and the history of their changes. */
#include "sim_os.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define ARENA_SIZE  ((size_t)1 << 36) /* address space; paid when touched */
#define ARENA_KEEP  ((size_t)1 << 26) /* of it, what sim_forget leaves paid */
#define MEMSET_MAX  ((size_t)1 << 22) /* from here on giving pages back is cheaper than clearing */
#define GUARD_PAGE  4096
#define FIRST_CLOCK 1700000000000ull

_Noreturn void sim_die(const char *what)
{
    fprintf(stderr, "simulated disk: %s\n", what);
    abort();
}

static uint8_t *address_space(size_t size)
{
    void *ptr = mmap(NULL, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (ptr == MAP_FAILED)
        sim_die("no address space");
    return ptr;
}

/* ---- the machine ---- */

static void machine_start(sim_disk *disk)
{
    rng_seed(&disk->random, disk->seed);
    disk->clock_ms = FIRST_CLOCK;
    disk->clock_us = 0;
    disk->mono_ns = 1;
    disk->boots = 1;
    disk->process = 1;
    sim_kill(disk);
}

sim_disk *sim_new(uint64_t seed)
{
    sim_disk *disk = calloc(1, sizeof *disk);
    if (!disk)
        sim_die("out of memory");
    pthread_mutex_init(&disk->mutex, NULL);
    sim_setup_table(disk);
    disk->arena = address_space(ARENA_SIZE);
    disk->seed = seed;
    disk->capacity = SIM_FILE_MAX;
    disk->mono_step = 1000;
    machine_start(disk);
    return disk;
}

void sim_free(sim_disk *disk)
{
    for (int i = 0; i < SIM_FILES; i++)
        if (disk->files[i].bytes)
            munmap(disk->files[i].bytes, SIM_FILE_MAX);
    for (int i = 0; i < disk->n_pool; i++)
        munmap(disk->pool[i].ptr, disk->pool[i].size);
    munmap(disk->arena, ARENA_SIZE);
    pthread_mutex_destroy(&disk->mutex);
    free(disk->events);
    free(disk);
}

void sim_kill(sim_disk *disk)
{
    for (int i = 0; i < SIM_HANDLES; i++)
        disk->handles[i].file = -1;
    disk->n_locks = 0;
}

void sim_process(sim_disk *disk, uint64_t number)
{
    disk->process = number;
}

void sim_kill_process(sim_disk *disk, uint64_t number)
{
    for (int i = 0; i < SIM_HANDLES; i++)
        if (disk->handles[i].file >= 0 && disk->handles[i].process == number)
            disk->os.close(&disk->os, i);
}

void sim_reboot(sim_disk *disk)
{
    sim_kill(disk);
    disk->boots++;
}

int sim_open_handles(const sim_disk *disk)
{
    int n = 0;
    for (int i = 0; i < SIM_HANDLES; i++)
        n += disk->handles[i].file >= 0;
    return n;
}

/* ---- sizes ---- */

static void protect(uint8_t *from, uint64_t len, int protection)
{
    if (len > 0 && mprotect(from, len, protection) < 0)
        sim_die("mprotect failed");
}

static uint64_t page_end(uint64_t size)
{
    return (size + GUARD_PAGE - 1) / GUARD_PAGE * GUARD_PAGE;
}

/* Opens or closes whole pages so that exactly those with bytes of the file can be touched. */
static void file_guard(const sim_disk *disk, sim_file *file)
{
    uint64_t end = disk->guard ? page_end(file->size) : SIM_FILE_MAX;
    if (end > file->open_end)
        protect(file->bytes + file->open_end, end - file->open_end, PROT_READ | PROT_WRITE);
    else
        protect(file->bytes + end, file->open_end - end, PROT_NONE);
    file->open_end = end;
}

void sim_set_guard(sim_disk *disk, bool on)
{
    disk->guard = on;
    for (int i = 0; i < SIM_FILES; i++)
        if (disk->files[i].bytes)
            file_guard(disk, &disk->files[i]);
}

static void file_clear(uint8_t *bytes, size_t len)
{
    uint8_t *middle = bytes + (-(uintptr_t)bytes & (GUARD_PAGE - 1));
    if (len < MEMSET_MAX) {
        memset(bytes, 0, len);
        return;
    }
    memset(bytes, 0, (size_t)(middle - bytes));
    size_t whole = (len - (size_t)(middle - bytes)) / GUARD_PAGE * GUARD_PAGE;
    if (madvise(middle, whole, MADV_DONTNEED) < 0)
        sim_die("madvise failed");
    memset(middle + whole, 0, (size_t)(bytes + len - (middle + whole)));
}

/* The new bytes are zero: the caller has cleared those that it cuts off, unless they came through a
 * map, of which it knows nothing. */
static void file_resize(const sim_disk *disk, sim_file *file, uint64_t size)
{
    if (file->shared && size < file->size)
        file_clear(file->bytes + size, page_end(file->size) - size);
    file->size = size;
    if (disk->guard)
        file_guard(disk, file);
}

static int file_add(sim_disk *disk, uint32_t mode)
{
    if (disk->n_files == SIM_FILES)
        sim_die("too many files in one history");
    sim_file *file = &disk->files[disk->n_files];
    if (!file->bytes) {
        file->bytes = address_space(SIM_FILE_MAX);
        file->open_end = SIM_FILE_MAX;
        file_resize(disk, file, 0);
    }
    file->mode = mode;
    file->owner = file->group = 0;
    file->shared = false;
    return disk->n_files++;
}

static void file_remove_last(sim_disk *disk)
{
    sim_file *file = &disk->files[--disk->n_files];
    file_clear(file->bytes, file->size);
    file_resize(disk, file, 0);
}

/* ---- names ---- */

static int name_index(const sim_disk *disk, const char *name)
{
    for (int i = 0; i < disk->n_names; i++)
        if (strcmp(disk->names[i].text, name) == 0)
            return i;
    return -1;
}

int sim_find(const sim_disk *disk, const char *name)
{
    int i = name_index(disk, name);
    return i < 0 ? -1 : disk->names[i].file;
}

static void name_add(sim_disk *disk, const char *name, int file)
{
    if (disk->n_names == SIM_NAMES)
        sim_die("too many names");
    sim_name *slot = &disk->names[disk->n_names++];
    if ((size_t)snprintf(slot->text, sizeof slot->text, "%s", name) >= sizeof slot->text)
        sim_die("a name is too long");
    slot->file = file;
}

static void name_remove(sim_disk *disk, const char *name)
{
    int i = name_index(disk, name);
    if (i < 0)
        sim_die("no such name");
    disk->names[i] = disk->names[--disk->n_names];
}

kvi_slice sim_get_file(const sim_disk *disk, const char *name)
{
    int file = sim_find(disk, name);
    if (file < 0)
        return (kvi_slice){NULL, 0};
    return kvi_slice_of(disk->files[file].bytes, disk->files[file].size);
}

void sim_put_file(sim_disk *disk, const char *name, const void *bytes, size_t len)
{
    struct iovec iov = {(void *)(uintptr_t)bytes, len};
    int file = sim_find(disk, name);
    if (file < 0)
        file = sim_do_create(disk, name, 0644);
    sim_do_truncate(disk, file, 0);
    sim_do_write(disk, file, 0, &iov, 1, len);
}

void sim_clone(sim_disk *to, const sim_disk *from)
{
    while (to->n_files > 0)
        file_remove_last(to);
    for (int i = 0; i < from->n_files; i++) {
        sim_file *file = &to->files[file_add(to, from->files[i].mode)];
        file->owner = from->files[i].owner;
        file->group = from->files[i].group;
        file_resize(to, file, from->files[i].size);
        memcpy(file->bytes, from->files[i].bytes, file->size);
    }
    memcpy(to->names, from->names, sizeof to->names);
    to->n_names = from->n_names;
    sim_forget(to);
}

/* ---- history ---- */

static uint8_t *arena_take(sim_disk *disk, size_t len)
{
    uint8_t *ptr = disk->arena + disk->arena_used;
    disk->arena_used += (len + 7) & ~(size_t)7;
    if (disk->arena_used > ARENA_SIZE)
        sim_die("the history is too long");
    return ptr;
}

static const uint8_t *arena_copy(sim_disk *disk, const void *bytes, size_t len)
{
    uint8_t *copy = arena_take(disk, len);
    memcpy(copy, bytes, len);
    return copy;
}

/* NULL when nothing is recorded. */
static sim_event *event_add(sim_disk *disk, sim_kind kind, int file)
{
    if (disk->recording == SIM_RECORD_NOTHING)
        return NULL;
    if (disk->watch)
        disk->watch(disk->watcher);
    if (disk->n_events == disk->events_cap) {
        disk->events_cap = disk->events_cap ? disk->events_cap * 2 : 256;
        disk->events = realloc(disk->events, disk->events_cap * sizeof *disk->events);
        if (!disk->events)
            sim_die("out of memory");
    }
    sim_event *event = &disk->events[disk->n_events++];
    *event = (sim_event){.kind = kind, .file = file, .arena = disk->arena_used};
    return event;
}

static sim_event *event_add_name(sim_disk *disk, sim_kind kind, int file, const char *name)
{
    sim_event *event = event_add(disk, kind, file);
    if (event && name)
        event->name = (const char *)arena_copy(disk, name, strlen(name) + 1);
    return event;
}

void sim_mark(sim_disk *disk, uint64_t tag, uint64_t value)
{
    sim_event *event = event_add(disk, SIM_MARK, -1);
    if (event) {
        event->off = tag;
        event->len = value;
    }
}

void sim_do_note(sim_disk *disk, sim_kind kind, int file)
{
    event_add(disk, kind, file);
}

int sim_do_create(sim_disk *disk, const char *name, uint32_t mode)
{
    if (disk->n_names == SIM_NAMES)
        return -ENOSPC;
    int file = file_add(disk, mode);
    event_add_name(disk, SIM_CREATE, file, name);
    if (name)
        name_add(disk, name, file);
    return file;
}

int sim_do_link(sim_disk *disk, const char *name, int file)
{
    int replaced = sim_find(disk, name);
    if (replaced < 0 && disk->n_names == SIM_NAMES)
        return -ENOSPC;
    sim_event *event = event_add_name(disk, SIM_LINK, file, name);
    if (event)
        event->replaced = replaced;
    if (replaced >= 0)
        name_remove(disk, name);
    name_add(disk, name, file);
    return 0;
}

void sim_do_unlink(sim_disk *disk, const char *name)
{
    event_add_name(disk, SIM_UNLINK, sim_find(disk, name), name);
    name_remove(disk, name);
}

/* How many bytes from off on stand within size, at most len. */
static size_t overlap(uint64_t off, size_t len, uint64_t size)
{
    return off >= size ? 0 : (size_t)KVI_MIN((uint64_t)len, size - off);
}

static void event_add_write(sim_disk *disk, int number, uint64_t off, const struct iovec *iov,
                            int n, size_t len)
{
    const sim_file *file = &disk->files[number];
    sim_event *event = event_add(disk, SIM_WRITE, number);
    if (!event)
        return;
    event->off = off;
    event->len = len;
    event->old_size = file->size;
    event->new_size = KVI_MAX(file->size, off + len);
    event->before = arena_copy(disk, file->bytes + off, overlap(off, len, file->size));
    if (disk->recording != SIM_RECORD_ALL)
        return;
    uint8_t *at = arena_take(disk, len);
    event->data = at;
    for (int i = 0; i < n; at += iov[i++].iov_len)
        memcpy(at, iov[i].iov_base, iov[i].iov_len);
}

void sim_do_write(sim_disk *disk, int number, uint64_t off, const struct iovec *iov, int n,
                  size_t len)
{
    sim_file *file = &disk->files[number];
    if (len == 0)
        return;
    event_add_write(disk, number, off, iov, n, len);
    if (off + len > file->size)
        file_resize(disk, file, off + len);
    uint8_t *at = file->bytes + off;
    for (int i = 0; i < n; at += iov[i++].iov_len)
        memcpy(at, iov[i].iov_base, iov[i].iov_len);
}

void sim_do_truncate(sim_disk *disk, int number, uint64_t size)
{
    sim_file *file = &disk->files[number];
    size_t cut = size < file->size ? file->size - size : 0;
    sim_event *event = event_add(disk, SIM_TRUNCATE, number);
    if (event) {
        event->old_size = file->size;
        event->new_size = size;
        event->before = cut ? arena_copy(disk, file->bytes + size, cut) : NULL;
    }
    if (cut)
        file_clear(file->bytes + size, cut);
    file_resize(disk, file, size);
}

static void undo_write(sim_disk *disk, const sim_event *event)
{
    sim_file *file = &disk->files[event->file];
    size_t kept = overlap(event->off, event->len, event->old_size);
    memcpy(file->bytes + event->off, event->before, kept);
    file_clear(file->bytes + event->off + kept, event->len - kept);
    if (file->size != event->old_size)
        file_resize(disk, file, event->old_size);
}

static void undo_truncate(sim_disk *disk, const sim_event *event)
{
    sim_file *file = &disk->files[event->file];
    file_resize(disk, file, event->old_size);
    if (event->before)
        memcpy(file->bytes + event->new_size, event->before, event->old_size - event->new_size);
}

static void event_undo(sim_disk *disk, const sim_event *event)
{
    switch (event->kind) {
    case SIM_CREATE:
        if (event->name)
            name_remove(disk, event->name);
        file_remove_last(disk);
        break;
    case SIM_LINK:
        name_remove(disk, event->name);
        if (event->replaced >= 0)
            name_add(disk, event->name, event->replaced);
        break;
    case SIM_UNLINK:
        name_add(disk, event->name, event->file);
        break;
    case SIM_WRITE:
        undo_write(disk, event);
        break;
    case SIM_TRUNCATE:
        undo_truncate(disk, event);
        break;
    case SIM_SYNC_DIR:
    case SIM_SYNC:
    case SIM_SYNC_LOST:
    case SIM_MARK:
        break;
    }
}

void sim_rewind(sim_disk *disk, size_t position)
{
    if (disk->recording == SIM_RECORD_NOTHING)
        sim_die("nothing was recorded that could be undone");
    while (disk->n_events > position) {
        const sim_event *event = &disk->events[--disk->n_events];
        event_undo(disk, event);
        disk->arena_used = event->arena;
    }
}

static bool file_in_use(const sim_disk *disk, int file)
{
    for (int i = 0; i < disk->n_names; i++)
        if (disk->names[i].file == file)
            return true;
    for (int i = 0; i < SIM_HANDLES; i++)
        if (disk->handles[i].file == file)
            return true;
    return false;
}

void sim_forget_unused(sim_disk *disk)
{
    sim_forget(disk);
    while (disk->n_files > 0 && !file_in_use(disk, disk->n_files - 1))
        file_remove_last(disk);
}

void sim_forget(sim_disk *disk)
{
    if (disk->arena_used > ARENA_KEEP)
        madvise(disk->arena + ARENA_KEEP, disk->arena_used - ARENA_KEEP, MADV_DONTNEED);
    disk->n_events = 0;
    disk->arena_used = 0;
}

void sim_reset(sim_disk *disk)
{
    while (disk->n_files > 0)
        file_remove_last(disk);
    disk->n_names = 0;
    sim_forget(disk);
    machine_start(disk);
}
