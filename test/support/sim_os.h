/* sim_os.h - a simulated machine: a table of system calls over files in memory.
 *
 * Every change is an event of the history, with what it wrote and what stood there before. So a
 * test can go back to any earlier moment (sim_rewind), ask which changes a power cut could still
 * have lost (sim_pending), cut them into the units that a disk keeps or loses one by one
 * (sim_event_units), and make the image that any choice of them leaves behind (sim_apply).
 *
 * A file's bytes stand at one address for ever; kvi_os.map and kvi_os.map_shared answer with that
 * address, so a map shows every write at once, as the page cache does. What is written through a
 * map is no event, and sim_rewind leaves it in place: only files that hold nothing durable are
 * written so. There is one directory; a path is a name in it, byte for byte. Failures are
 * fault_os.h's business; here only a full disk and a lost flush (sim_lose_sync) go wrong.
 *
 * Handles, and with them locks, belong to the process that opened them (sim_process). Nobody waits:
 * kvi_os.lock_wait for a lock that somebody else holds ends the program.
 *
 * The calls of the table may come from many threads, the functions below from one at a time.
 */
#ifndef SIM_OS_H
#define SIM_OS_H

#include "os.h"
#include "rng.h"
#include <pthread.h>

#define SIM_FILES    256               /* that one history may create */
#define SIM_NAMES    64                /* at the same time */
#define SIM_NAME_MAX 256               /* bytes, with the final zero */
#define SIM_HANDLES  64                /* open at the same time */
#define SIM_LOCKS    128               /* held at the same time */
#define SIM_POOL     16                /* released reservations kept */
#define SIM_TICK_MS  10                /* of tick_ms */
#define SIM_FILE_MAX ((size_t)1 << 30) /* bytes of a file */

typedef enum sim_kind {
    SIM_CREATE,    /* file, name */
    SIM_LINK,      /* file, name, replaced */
    SIM_UNLINK,    /* file, name */
    SIM_SYNC_DIR,  /* earlier creations, links and unlinks are durable */
    SIM_WRITE,     /* file, off, len, data, before */
    SIM_TRUNCATE,  /* file, old_size, new_size, before */
    SIM_SYNC,      /* file: its earlier writes and sizes are durable */
    SIM_SYNC_LOST, /* file: whether they are was decided now, and no later flush changes it */
    SIM_MARK,      /* the test's own: tag in off, value in len */
} sim_kind;

typedef struct sim_event {
    sim_kind kind;
    int file;
    uint64_t off;
    uint64_t len;
    uint64_t old_size; /* of the file, before */
    uint64_t new_size;
    const uint8_t *data;   /* SIM_RECORD_ALL only */
    const uint8_t *before; /* what stood in [off, off + len), or was cut off; up to old_size */
    const char *name;
    int replaced; /* the file that had the name before; -1: none */
    size_t arena; /* where the event's bytes begin */
} sim_event;

typedef enum sim_recording {
    SIM_RECORD_ALL,
    SIM_RECORD_UNDO,    /* no data: sim_rewind works, sim_event_units does not */
    SIM_RECORD_NOTHING, /* for long runs that need no history */
} sim_recording;

typedef struct sim_file {
    uint8_t *bytes; /* SIM_FILE_MAX of address space; zero from size on */
    uint64_t size;
    uint64_t open_end; /* guard: bytes from here on cannot be touched */
    bool shared;       /* had a writable map, so anything may stand in its last page */
    uint32_t mode;     /* these three change without an event */
    uint32_t owner, group;
} sim_file;

typedef struct sim_name {
    int file;
    char text[SIM_NAME_MAX];
} sim_name;

typedef struct sim_handle {
    int file; /* -1: closed */
    bool writable;
    uint64_t pos; /* of kvi_os.write */
    uint64_t process;
} sim_handle;

typedef struct sim_lock {
    int file;
    int handle;
    int kind;
    uint64_t from, to; /* [from, to) */
} sim_lock;

typedef struct sim_reserved {
    uint8_t *ptr;
    size_t size;
} sim_reserved;

typedef struct sim_disk {
    kvi_os os; /* first: the calls find their disk by its address */
    pthread_mutex_t mutex;
    uint64_t seed;
    rng random;

    /* a test sets these as it likes */
    sim_recording recording;
    bool network;      /* pretend to be a network file system */
    uint64_t capacity; /* of each file, at most SIM_FILE_MAX; -ENOSPC beyond */
    uint64_t clock_ms; /* moves only with sleep_us; tick_ms: in steps of SIM_TICK_MS */
    uint64_t mono_ns;  /* moves with sleep_us, and by mono_step with every question */
    uint64_t mono_step;
    uint64_t boots; /* the boot id is made of it */
    /* Bytes at the start of reserved memory beyond which nobody writes, if the test knows: then
     * released memory is cleared and handed out again, which saves most of what an open costs. */
    size_t reserve_touch;

    void (*watch)(void *watcher); /* told before every event; NULL: nobody is */
    void *watcher;

    /* the machine */
    bool guard;
    uint64_t process;  /* that calls now */
    uint32_t clock_us; /* slept since clock_ms moved */

    void (*meanwhile)(void *context); /* what the others do when somebody next sleeps on a word */
    void *context;
    uint64_t wakes; /* on words */
    sim_file files[SIM_FILES];
    int n_files;
    sim_name names[SIM_NAMES];
    int n_names;
    sim_handle handles[SIM_HANDLES];
    sim_lock locks[SIM_LOCKS];
    int n_locks;
    sim_reserved pool[SIM_POOL];
    int n_pool;

    /* the history */
    sim_event *events;
    size_t n_events;
    size_t events_cap;
    uint8_t *arena;
    size_t arena_used;
} sim_disk;

/* ---- the machine ---- */

/* Ends the program when memory is short, as everything here does when the test itself cannot go
 * on. */
sim_disk *sim_new(uint64_t seed);
void sim_free(sim_disk *disk);

/* Back to how sim_new left it: no files, nothing open, first boot, clocks at their start. The other
 * settings are kept. Costs the bytes in use. */
void sim_reset(sim_disk *disk);

static inline const kvi_os *sim_os(sim_disk *disk)
{
    return &disk->os;
}

/* All processes die: handles and locks are gone, the bytes stay. */
void sim_kill(sim_disk *disk);

/* From now on calls come from the process with this number; the first is 1. */
void sim_process(sim_disk *disk, uint64_t number);

/* One process dies: what it opened and locked is gone. */
void sim_kill_process(sim_disk *disk, uint64_t number);

/* The same, and the next boot id is another one. Which bytes survive is sim_apply's matter. */
void sim_reboot(sim_disk *disk);

int sim_open_handles(const sim_disk *disk);

/* Touching a page behind the end of a file is a SIGSEGV from now on, as it is a SIGBUS in life. It
 * costs a system call for each change of size by whole pages. */
void sim_set_guard(sim_disk *disk, bool on);

/* ---- files ---- */

/* Makes the file, or replaces its bytes. These are events like any other; sim_forget makes them
 * the state that a history begins with. */
void sim_put_file(sim_disk *disk, const char *name, const void *bytes, size_t len);

/* The bytes, in place; ptr is NULL when no file has the name. */
kvi_slice sim_get_file(const sim_disk *disk, const char *name);

/* Which file has the name; -1 when none. */
int sim_find(const sim_disk *disk, const char *name);

/* Makes to a copy of from: files under the same numbers, names, an empty history. Nothing may be
 * open on to. */
void sim_clone(sim_disk *to, const sim_disk *from);

/* ---- history: events 0 to n_events ---- */

/* An event of the test, to find moments by. */
void sim_mark(sim_disk *disk, uint64_t tag, uint64_t value);

/* Undoes all events from position on. */
void sim_rewind(sim_disk *disk, size_t position);

/* Empties the history; the present state is its beginning. */
void sim_forget(sim_disk *disk);

/* The same, and the newest files go if they have neither name nor handle: for tests that make many.
 * Their numbers are given out again. */
void sim_forget_unused(sim_disk *disk);

/* The flush of this handle fails: whether its file's changes since the last flush reached the disk
 * is decided here and now. The signature is that of fault_os.sync_failed. */
void sim_lose_sync(const kvi_os *os, int fd);

/* ---- what a power cut leaves ---- */

/* Changes in events [from, upto) that no flush in that range settled, oldest first. Returns their
 * number; events needs room for upto - from. */
size_t sim_pending(const sim_disk *disk, size_t from, size_t upto, uint32_t *events);

typedef enum sim_unit_kind {
    SIM_UNIT_NAME, /* name stands for file from now on; -1: for none */
    SIM_UNIT_SIZE, /* the file's size is off */
    SIM_UNIT_DATA, /* data at off */
} sim_unit_kind;

/* What the disk keeps or loses as a whole. */
typedef struct sim_unit {
    sim_unit_kind kind;
    int file;
    uint64_t off;
    size_t len;
    const uint8_t *data;
    const char *name;
    size_t event; /* that it is a part of */
} sim_unit;

/* How finely writes tear: at multiples of block, before words_end at multiples of word. */
typedef struct sim_tear {
    uint32_t block;
    uint32_t word;
    uint64_t words_end;
} sim_tear;

/* The units of one event, in file order, a size before the data. Returns their number, also when
 * it is more than max; units is then filled up to max. */
size_t sim_event_units(const sim_disk *disk, size_t event, const sim_tear *tear, sim_unit *units,
                       size_t max);

/* Makes the units, which must be in the order of their events, part of the disk: one that holds
 * what the recording disk held before them (sim_clone). Data behind the last size chosen is lost.
 * They are events here, so that sim_rewind takes them back. */
void sim_apply(sim_disk *disk, const sim_unit *units, size_t n);

/* False when the unit, applied first or alone, would change nothing. */
bool sim_unit_changes(const sim_disk *disk, const sim_unit *unit);

/* ---- for sim_os.c: changes with their events ---- */

/* The file, or -ENOSPC. Without a name when name is NULL. */
int sim_do_create(sim_disk *disk, const char *name, uint32_t mode);
int sim_do_link(sim_disk *disk, const char *name, int file); /* replaces; 0 or -ENOSPC */
void sim_do_unlink(sim_disk *disk, const char *name);
void sim_do_write(sim_disk *disk, int file, uint64_t off, const struct iovec *iov, int n,
                  size_t len);
void sim_do_truncate(sim_disk *disk, int file, uint64_t size);
void sim_do_note(sim_disk *disk, sim_kind kind, int file);
void sim_setup_table(sim_disk *disk);
_Noreturn void sim_die(const char *what);

#endif
