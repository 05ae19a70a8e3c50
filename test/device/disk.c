/* disk.c - a disk in memory, served as the one file of a FUSE file system, so that a loop device can
 * stand on it: every write and flush is recorded, chosen blocks can be made to fail, and the disk can
 * be put back to what a power cut at any moment of the record would have left of it.
 *
 *     disk FOLDER SIZE      serves FOLDER/disk and FOLDER/control until unmounted
 *
 * Commands, each written to FOLDER/control as one line; reading it tells the state:
 *     fail OFFSET LENGTH    writes there fail with EIO from now on (several ranges may be given)
 *     deny OFFSET LENGTH    the same for reads
 *     heal                  nothing fails
 *     record                the record begins anew with what the disk holds now
 *     cut N SEED            the first N entries of the record were written; of those behind them, up
 *                           to the next flush, SEED chooses some (0: none)
 */
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fuse3/fuse.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define BLOCK  4096
#define RANGES 4096

typedef struct ranges { /* of the disk */
    size_t n;
    struct {
        uint64_t off, len;
    } at[RANGES];
} ranges;

typedef struct entry { /* of the record; data NULL: a flush */
    uint64_t off;
    size_t len;
    uint8_t *data;
} entry;

static struct disk {
    size_t size;
    uint8_t *now;   /* what the disk holds */
    uint8_t *base;  /* and what it held before record entry `applied` */
    uint8_t *dirty; /* blocks in which the two may differ */
    entry *entries;
    size_t n, cap, applied;
    bool recording;
    ranges unwritable, unreadable;
    uint64_t flushes, failed;
} d;

static void *memory(size_t size)
{
    void *ptr = mmap(NULL, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return ptr == MAP_FAILED ? NULL : ptr;
}

/* ---- the record ---- */

static bool record_add(uint64_t off, const void *data, size_t len)
{
    if (d.n == d.cap) {
        entry *larger = realloc(d.entries, (d.cap * 2 + 1024) * sizeof *larger);
        if (!larger)
            return false;
        d.entries = larger;
        d.cap = d.cap * 2 + 1024;
    }
    uint8_t *copy = data ? malloc(len) : NULL;
    if (data && !copy)
        return false;
    if (data)
        memcpy(copy, data, len);
    d.entries[d.n++] = (entry){off, len, copy};
    return true;
}

static void disk_write(uint64_t off, const void *data, size_t len)
{
    memcpy(d.now + off, data, len);
    for (uint64_t block = off / BLOCK; block <= (off + len - 1) / BLOCK; block++)
        d.dirty[block] = 1;
}

static void record_begin(void)
{
    for (size_t i = 0; i < d.n; i++)
        free(d.entries[i].data);
    d.n = d.applied = 0;
    for (size_t block = 0; block < d.size / BLOCK; block++)
        if (d.dirty[block])
            memcpy(d.base + block * BLOCK, d.now + block * BLOCK, BLOCK);
    memset(d.dirty, 0, d.size / BLOCK);
    d.recording = true;
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

/* What came after the last cut is undone, and the base moves on; it never moves back. */
static int record_cut(size_t n, uint64_t seed)
{
    d.recording = false;
    if (n > d.n || n < d.applied)
        return -EINVAL;
    for (size_t block = 0; block < d.size / BLOCK; block++)
        if (d.dirty[block])
            memcpy(d.now + block * BLOCK, d.base + block * BLOCK, BLOCK);
    memset(d.dirty, 0, d.size / BLOCK);
    for (; d.applied < n; d.applied++)
        if (d.entries[d.applied].data) {
            memcpy(d.base + d.entries[d.applied].off, d.entries[d.applied].data,
                   d.entries[d.applied].len);
            memcpy(d.now + d.entries[d.applied].off, d.entries[d.applied].data,
                   d.entries[d.applied].len);
        }
    for (size_t i = n; seed && i < d.n && d.entries[i].data; i++)
        if (mix(seed + i) & 1)
            disk_write(d.entries[i].off, d.entries[i].data, d.entries[i].len);
    return 0;
}

/* ---- what fails ---- */

static int ranges_add(ranges *r, uint64_t off, uint64_t len)
{
    if (r->n == RANGES)
        return -ENOSPC;
    r->at[r->n].off = off;
    r->at[r->n++].len = len;
    return 0;
}

static bool ranges_meet(const ranges *r, uint64_t off, size_t len)
{
    for (size_t i = 0; i < r->n; i++)
        if (off < r->at[i].off + r->at[i].len && r->at[i].off < off + len)
            return true;
    return false;
}

/* ---- control ---- */

static int command(const char *line)
{
    unsigned long long a, b;
    if (sscanf(line, "fail %llu %llu", &a, &b) == 2)
        return ranges_add(&d.unwritable, a, b);
    if (sscanf(line, "deny %llu %llu", &a, &b) == 2)
        return ranges_add(&d.unreadable, a, b);
    if (sscanf(line, "cut %llu %llu", &a, &b) == 2)
        return record_cut(a, b);
    if (strncmp(line, "heal", 4) == 0)
        d.unwritable.n = d.unreadable.n = 0;
    else if (strncmp(line, "record", 6) == 0)
        record_begin();
    else
        return -EINVAL;
    return 0;
}

static int state_read(char *buf, size_t size, off_t off)
{
    char text[200];
    int len = snprintf(text, sizeof text, "entries %zu flushes %llu failed %llu\n", d.n,
                       (unsigned long long)d.flushes, (unsigned long long)d.failed);
    if (off >= len)
        return 0;
    size_t n = size < (size_t)(len - off) ? size : (size_t)(len - off);
    memcpy(buf, text + off, n);
    return (int)n;
}

/* ---- the file system ---- */

static bool is_disk(const char *path)
{
    return strcmp(path, "/disk") == 0;
}

static int on_getattr(const char *path, struct stat *st, struct fuse_file_info *info)
{
    (void)info;
    memset(st, 0, sizeof *st);
    st->st_nlink = 1;
    if (strcmp(path, "/") == 0)
        st->st_mode = S_IFDIR | 0755;
    else if (is_disk(path) || strcmp(path, "/control") == 0)
        st->st_mode = S_IFREG | 0600;
    else
        return -ENOENT;
    st->st_size = is_disk(path) ? (off_t)d.size : 0;
    return 0;
}

static int on_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t off,
                      struct fuse_file_info *info, enum fuse_readdir_flags flags)
{
    (void)path, (void)off, (void)info, (void)flags;
    fill(buf, "disk", NULL, 0, 0);
    fill(buf, "control", NULL, 0, 0);
    return 0;
}

static int on_open(const char *path, struct fuse_file_info *info)
{
    info->direct_io = !is_disk(path);
    return 0;
}

static int on_truncate(const char *path, off_t size, struct fuse_file_info *info)
{
    (void)size, (void)info;
    return is_disk(path) ? -EPERM : 0;
}

static int on_read(const char *path, char *buf, size_t size, off_t off, struct fuse_file_info *info)
{
    (void)info;
    if (!is_disk(path))
        return state_read(buf, size, off);
    if ((size_t)off >= d.size)
        return 0;
    size = size < d.size - (size_t)off ? size : d.size - (size_t)off;
    if (ranges_meet(&d.unreadable, (uint64_t)off, size)) {
        d.failed++;
        return -EIO;
    }
    memcpy(buf, d.now + off, size);
    return (int)size;
}

static int on_write(const char *path, const char *buf, size_t size, off_t off,
                    struct fuse_file_info *info)
{
    (void)info;
    uint64_t from = (uint64_t)off;
    if (!is_disk(path)) {
        char line[100] = {0};
        memcpy(line, buf, size < sizeof line - 1 ? size : sizeof line - 1);
        int rc = command(line);
        return rc < 0 ? rc : (int)size;
    }
    if (from + size > d.size)
        return -ENOSPC;
    if (ranges_meet(&d.unwritable, from, size)) {
        d.failed++;
        return -EIO;
    }
    if (d.recording && !record_add(from, buf, size))
        return -ENOMEM;
    disk_write(from, buf, size);
    return (int)size;
}

static int on_fsync(const char *path, int data_only, struct fuse_file_info *info)
{
    (void)data_only, (void)info;
    if (!is_disk(path))
        return 0;
    d.flushes++;
    return d.recording && !record_add(0, NULL, 0) ? -ENOMEM : 0;
}

int main(int argc, char **argv)
{
    static const struct fuse_operations operations = {
        .getattr = on_getattr,
        .readdir = on_readdir,
        .open = on_open,
        .truncate = on_truncate,
        .read = on_read,
        .write = on_write,
        .fsync = on_fsync,
    };
    if (argc != 3) {
        fputs("usage: disk FOLDER SIZE\n", stderr);
        return 2;
    }
    d.size = strtoull(argv[2], NULL, 0) / BLOCK * BLOCK;
    d.now = memory(d.size);
    d.base = memory(d.size);
    d.dirty = memory(d.size / BLOCK);
    if (!d.size || !d.now || !d.base || !d.dirty)
        return 1;
    static char foreground[] = "-f", one_thread[] = "-s";
    char *arguments[] = {argv[0], foreground, one_thread, argv[1], NULL};
    return fuse_main(4, arguments, &operations, NULL);
}
