/* os.h - the one table of system calls. The engine reaches the outside world only through it, so
 * tests can put a simulated disk, a failing disk or a failing allocator in its place.
 *
 * Conventions: a result below zero is -errno; handles are small non-negative integers; offsets and
 * lengths are bytes. Calls never report EINTR: the implementation repeats them. Short counts are
 * possible for pread and pwritev; callers (file.c) repeat for the rest. */
#ifndef KVI_OS_H
#define KVI_OS_H

#include "base.h"
#include <stdatomic.h>
#include <sys/uio.h>

/* What a path or a handle names. */
typedef struct kvi_os_stat {
    uint64_t size;
    uint64_t device;
    uint64_t inode;
    uint64_t links;
    uint32_t mode; /* permission bits only */
    uint32_t owner, group;
    bool regular; /* a regular file, nothing else */
} kvi_os_stat;

/* Do two answers name one file? */
static inline bool kvi_os_same_file(const kvi_os_stat *a, const kvi_os_stat *b)
{
    return a->inode == b->inode && a->device == b->device;
}

enum { /* kvi_os.open */
       KVI_OS_READ = 0,
       KVI_OS_WRITE = 1,    /* read and write; otherwise read only */
       KVI_OS_CREATE = 2,   /* create when missing */
       KVI_OS_EXCL = 4,     /* with CREATE: fail with -EEXIST when it exists */
       KVI_OS_NOFOLLOW = 8, /* refuse a symbolic link with -ELOOP */
};

enum { /* kvi_os.lock: byte-range locks that belong to the open file description (OFD locks) */
       KVI_OS_UNLOCK = 0,
       KVI_OS_SHARED = 1,
       KVI_OS_EXCLUSIVE = 2,
};

enum { /* kvi_os.advise */
       KVI_OS_RANDOM = 0,
       KVI_OS_SEQUENTIAL = 1,
       KVI_OS_WILLNEED = 2,
       KVI_OS_HUGE = 3, /* memory of our own: large pages, please */
       /* Whole pages of reserved memory: a forked child reads them as zero. Kernels before 4.14 do
        * not know how, and nothing happens. */
       KVI_OS_WIPE_ON_FORK = 4,
};

typedef struct kvi_os kvi_os;
struct kvi_os {
    /* files */
    int (*open)(const kvi_os *os, const char *path, int flags, uint32_t mode);
    int (*close)(const kvi_os *os, int fd);
    int64_t (*pread)(const kvi_os *os, int fd, void *buf, size_t len, uint64_t off);
    int64_t (*pwritev)(const kvi_os *os, int fd, const struct iovec *iov, int n, uint64_t off);
    int64_t (*write)(const kvi_os *os, int fd, const void *buf, size_t len); /* streams: copies */
    int (*sync)(const kvi_os *os, int fd);                                   /* fdatasync */
    void (*sync_ahead)(const kvi_os *os, int fd); /* begins what sync waits for; tells no failure */
    int (*truncate)(const kvi_os *os, int fd, uint64_t size);
    int (*stat)(const kvi_os *os, int fd, kvi_os_stat *stat);
    int (*stat_path)(const kvi_os *os, const char *path, kvi_os_stat *stat); /* follows links */
    /* Gives the file the permissions and, as far as we may, the owner and group of another. */
    int (*permit)(const kvi_os *os, int fd, const kvi_os_stat *like);
    int (*link)(const kvi_os *os, const char *from, const char *to);   /* -EEXIST, never replaces */
    int (*rename)(const kvi_os *os, const char *from, const char *to); /* replaces */
    int (*unlink)(const kvi_os *os, const char *path);
    int (*sync_dir)(const kvi_os *os,
                    const char *path); /* fsync of the directory that holds path */
    int (*resolve)(const kvi_os *os, const char *path, char *out, size_t out_size); /* realpath */
    int (*shareable)(const kvi_os *os, int fd); /* 0, or -EOPNOTSUPP on a network file system */
    /* locks; a length of 0 means up to the end of all offsets. The first never waits: -EAGAIN when
     * somebody else holds a conflicting one. The second sleeps in the kernel, however long that
     * takes, and no signal ends it. */
    int (*lock)(const kvi_os *os, int fd, int kind, uint64_t off, uint64_t len);
    int (*lock_wait)(const kvi_os *os, int fd, int kind, uint64_t off, uint64_t len);
    /* 1: somebody else holds a lock of any kind in the range, and *held_off and *held_len are the
     * part of it that one such lock covers; 0: free. Either pointer may be NULL. */
    int (*lock_probe)(const kvi_os *os, int fd, uint64_t off, uint64_t len, uint64_t *held_off,
                      uint64_t *held_len);
    /* memory: a read-only shared map of the file from offset 0. It may be longer than the file;
     * it shows what pwritev wrote and follows growth. */
    int (*map)(const kvi_os *os, int fd, size_t len, const uint8_t **ptr);
    int (*map_shared)(const kvi_os *os, int fd, size_t len, void **ptr); /* the same, writable */
    void (*unmap)(const kvi_os *os, const uint8_t *ptr, size_t len);
    uint64_t (*memory)(const kvi_os *os); /* bytes of the machine; UINT64_MAX: not known */
    void (*advise)(const kvi_os *os, const uint8_t *ptr, size_t len, int advice);
    void *(*alloc)(const kvi_os *os, size_t size); /* as malloc; NULL when out of memory */
    void *(*realloc)(const kvi_os *os, void *ptr, size_t size);
    void (*free)(const kvi_os *os, void *ptr);
    void *(*reserve)(const kvi_os *os, size_t size); /* zeroed address space, paid when touched */
    void (*release)(const kvi_os *os, void *ptr, size_t size);
    /* the rest */
    uint64_t (*clock_ms)(const kvi_os *os);          /* milliseconds since the epoch, may jump */
    uint64_t (*tick_ms)(const kvi_os *os);           /* clock_ms a few milliseconds ago: cheap */
    uint64_t (*mono_ns)(const kvi_os *os);           /* nanoseconds, never jumps */
    void (*sleep_us)(const kvi_os *os, uint32_t us); /* 0: only lets others run */
    /* A word of memory to sleep on; processes may share it, wherever each has it mapped. The first
     * returns when the word is not as expected, when somebody wakes, after ns, or for no reason. The
     * second wakes all. */
    void (*word_wait)(const kvi_os *os, _Atomic uint32_t *word, uint32_t expected, uint64_t ns);
    void (*word_wake)(const kvi_os *os, _Atomic uint32_t *word);
    int (*random)(const kvi_os *os, void *buf, size_t len);
    int (*boot_id)(const kvi_os *os, uint8_t id[16]); /* changes with every boot */
    uint64_t (*process_id)(const kvi_os *os);         /* for diagnostics only: may be reused */
};

/* The array with room for n elements: itself, a larger one (cap is raised), or NULL. Inline in every build,
 * unlike KVI_INLINE: test/fault/sites tells failed calls by their place. */
__attribute__((__always_inline__)) static inline void *
kvi_os_room(const kvi_os *os, void *array, size_t *cap, size_t n, size_t element)
{
    if (*cap >= n)
        return array;
    size_t want = KVI_MAX(*cap * 2, n + 32);
    void *larger = os->realloc(os, array, want * element);
    if (larger)
        *cap = want;
    return larger;
}

/* The real one: Linux system calls and malloc. */
extern const kvi_os kvi_os_posix;

#endif
