/* file.c - see file.h. */
#include "file.h"
#include "entry.h"
#include "mutant.h"
#include "node.h"
#include <errno.h>

/* Address space of the first map: far more than most files need, so that growth never remaps. */
#define MAP_WISH  ((uint64_t)1 << 36)
#define MAP_LEAST ((uint64_t)1 << 26)

static int map_try(kvi_file *file, uint64_t len, kvi_map **out)
{
    const kvi_os *os = file->os;
    size_t table = (size_t)(len / file->page_size) * sizeof(kvi_seen);
    kvi_map *map = os->alloc(os, sizeof *map);
    if (!map)
        return -ENOMEM;
    map->len = (size_t)len;
    map->verified = os->reserve(os, table);
    int rc = map->verified ? os->map(os, file->fd, map->len, &map->ptr) : -ENOMEM;
    if (rc < 0) {
        if (map->verified)
            os->release(os, map->verified, table);
        os->free(os, map);
        return rc;
    }
    if (file->random)
        os->advise(os, map->ptr, map->len, KVI_OS_RANDOM);
    *out = map;
    return 0;
}

/* Did the system find the wish too large? Some answer EINVAL. */
static bool too_much(int rc)
{
    return rc == -ENOMEM || rc == -EINVAL;
}

/* Maps at least need bytes, wishing for much more; takes what address space the system grants. */
static int map_new(kvi_file *file, uint64_t need, kvi_map **out)
{
    uint64_t len = MAP_WISH;
    while (len < need * 2 && len < (uint64_t)1 << 46)
        len *= 2;
    int rc = -ENOMEM;
    for (; len >= need && len >= MAP_LEAST; len /= 2) {
        rc = map_try(file, len, out);
        if (!too_much(rc))
            break;
    }
    if (too_much(rc))
        rc = map_try(file, (need + KVI_PAGE_MAX - 1) & ~(uint64_t)(KVI_PAGE_MAX - 1), out);
    if (rc < 0)
        return kvi_fail_os(file->err, rc, "mapping %llu bytes of the database",
                           (unsigned long long)need);
    return KV_OK;
}

static void map_free(kvi_file *file, kvi_map *map)
{
    const kvi_os *os = file->os;
    os->unmap(os, map->ptr, map->len);
    os->release(os, map->verified, map->len / file->page_size * sizeof(kvi_seen));
    os->free(os, map);
}

int kvi_file_init(kvi_file *file, const kvi_os *os, kvi_err *err, int fd, uint32_t page_size,
                  uint64_t hash_seed, bool verify_checksums)
{
    kvi_os_stat stat;
    file->os = os;
    file->err = err;
    file->fd = fd;
    file->page_size = page_size;
    file->page_shift = (unsigned)__builtin_ctz(page_size);
    file->verify_checksums = verify_checksums;
    file->random = false;
    file->full = 0;
    file->hash_seed = hash_seed;
    kvi_hash_init(&file->hash, hash_seed);
    atomic_init(&file->map, NULL);
    int rc = os->stat(os, fd, &stat);
    if (rc < 0)
        return kvi_fail_os(err, rc, "asking for the size of the database");
    atomic_init(&file->size, stat.size);
    atomic_init(&file->seen, 0);
    file->memory = os->memory(os);
    pthread_mutex_init(&file->map_mutex, NULL);
    return KV_OK;
}

void kvi_file_close(kvi_file *file)
{
    kvi_map *map = atomic_load_explicit(&file->map, memory_order_relaxed);
    while (map) {
        kvi_map *older = map->older;
        map_free(file, map);
        map = older;
    }
    pthread_mutex_destroy(&file->map_mutex);
}

static int map_extend(kvi_file *file, uint64_t need, kvi_map **out)
{
    int rc = KV_OK;
    pthread_mutex_lock(&file->map_mutex);
    kvi_map *map = atomic_load_explicit(&file->map, memory_order_relaxed);
    if (!map || map->len < need) {
        kvi_map *newer = NULL;
        rc = map_new(file, need, &newer);
        if (rc == KV_OK) {
            newer->older = map;
            atomic_store_explicit(&file->map, newer, memory_order_release);
            map = newer;
        }
    }
    pthread_mutex_unlock(&file->map_mutex);
    *out = map;
    return rc;
}

int kvi_file_look(kvi_file *file, uint64_t *size)
{
    kvi_os_stat stat = {0};
    int rc = file->os->stat(file->os, file->fd, &stat);
    if (rc < 0)
        return kvi_fail_os(file->err, rc, "asking for the size of the database");
    /* Not to size: the writer cuts and extends the file by that. */
    atomic_store_explicit(&file->seen, stat.size, memory_order_relaxed);
    *size = stat.size;
    return KV_OK;
}

static int view_check(kvi_file *file, kvi_pgno high_water, uint64_t need)
{
    uint64_t size;
    if (KVI_LIKELY(need <= kvi_file_known(file)))
        return KV_OK;
    int rc = kvi_file_look(file, &size);
    if (rc != KV_OK || need <= size)
        return rc;
    return kvi_fail(file->err, KV_ECORRUPT, "the file is shorter than its %llu pages of %u bytes",
                    (unsigned long long)high_water, file->page_size);
}

int kvi_file_view(kvi_file *file, kvi_pgno high_water, kvi_id newest, kvi_view *view)
{
    uint64_t need = high_water <= KVI_PGNO_MAX ? high_water << file->page_shift : UINT64_MAX;
    int checked = view_check(file, high_water, need);
    if (checked != KV_OK)
        return checked;
    kvi_map *map = atomic_load_explicit(&file->map, memory_order_acquire);
    if (KVI_UNLIKELY(!map || map->len < need)) {
        int rc = map_extend(file, need, &map);
        if (rc != KV_OK)
            return rc;
    }
    *view = (kvi_view){file, map->ptr, map->verified, high_water, newest, file->page_shift};
    return KV_OK;
}

/* N8 and N9: the page is the one that the pointer means, and its bytes are as they were written. */
int kvi_file_matches(const kvi_file *file, const uint8_t *page, kvi_ptr ptr, bool checksum)
{
    if (kvi_get64(page + KVI_P_page) != ptr.page || kvi_get64(page + KVI_P_birth) != ptr.birth)
        return 8;
    if (checksum && !KVI_MUTANT(PAGE_UNCHECKED) &&
        kvi_get64(page + KVI_P_checksum) !=
            kvi_hash_bytes(&file->hash, page + 8, file->page_size - 8))
        return 9;
    return 0;
}

static int page_broken(const kvi_file *file, kvi_ptr ptr, int invariant)
{
    return kvi_fail(file->err, KV_ECORRUPT, "page %llu (birth %llu) breaks invariant N%d",
                    (unsigned long long)ptr.page, (unsigned long long)ptr.birth, invariant);
}

static void trust(const kvi_view *view, kvi_pgno page, kvi_seen seen)
{
    if (seen >> 33 != 0) /* bits of the birth */
        atomic_store_explicit(&view->verified[page], seen, memory_order_relaxed);
}

int kvi_file_verify(const kvi_view *view, kvi_ptr ptr, unsigned level, const uint8_t **page)
{
    const kvi_file *file = view->file;
    if (ptr.page < kvi_first_page(file->page_size) || ptr.page >= view->limit || ptr.birth == 0 ||
        ptr.birth > view->newest)
        return page_broken(file, ptr, 7);
    const uint8_t *p = kvi_view_page(view, ptr.page);
    int broken = kvi_file_matches(file, p, ptr, file->verify_checksums);
    if (!broken)
        broken = kvi_node_validate(p, file->page_size, (int)level, view->limit, view->newest);
    if (!broken && level == 0 && !kvi_entries_valid(p, file->page_size, view->limit, view->newest))
        return kvi_fail(file->err, KV_ECORRUPT, "page %llu (birth %llu) has a broken special entry",
                        (unsigned long long)ptr.page, (unsigned long long)ptr.birth);
    if (broken)
        return page_broken(file, ptr, broken);
    trust(view, ptr.page, kvi_seen_node(ptr.birth, kvi_node_form(p, file->page_size, level)));
    *page = p;
    return KV_OK;
}

/* A page that was verified is most likely still in memory, unless there is more of them than that. */
void kvi_file_expect(const kvi_view *view, const kvi_ptr *ptrs, unsigned n)
{
    const kvi_file *file = view->file;
    bool roomy = !file->random && view->limit << file->page_shift <= file->memory;
    for (unsigned i = 0; i < n; i++) {
        kvi_ptr ptr = ptrs[i];
        if (ptr.birth == 0 || ptr.page >= view->limit)
            continue;
        if (roomy && kvi_seen_met(kvi_view_seen(view, ptr.page), ptr.birth))
            continue;
        file->os->advise(file->os, kvi_view_page(view, ptr.page), file->page_size, KVI_OS_WILLNEED);
    }
}

void kvi_file_trust(const kvi_view *view, kvi_ptr ptr, const uint8_t *bytes)
{
    unsigned level = bytes[KVI_P_level];
    if (KVI_UNLIKELY(level > KVI_LEVEL_MAX)) /* copied from a page that somebody overwrote */
        return;
    kvi_form form = kvi_node_form(bytes, view->file->page_size, level);
    trust(view, ptr.page, kvi_seen_node(ptr.birth, form));
}

int kvi_file_large(const kvi_view *view, kvi_ptr ptr, uint64_t len, uint64_t checksum,
                   const uint8_t **bytes)
{
    const kvi_file *file = view->file;
    uint64_t first = (KVI_LARGE_FROM + file->page_size - 1) >> file->page_shift;
    if (ptr.page < first || ptr.page >= view->limit ||
        len > (view->limit - ptr.page) << file->page_shift)
        return kvi_fail(file->err, KV_ECORRUPT, "a large value at page %llu leaves the file",
                        (unsigned long long)ptr.page);
    *bytes = kvi_view_page(view, ptr.page);
    kvi_seen seen = kvi_view_seen(view, ptr.page);
    if (!file->verify_checksums || (seen && seen == kvi_seen_large(ptr.birth)) ||
        KVI_MUTANT(LARGE_UNCHECKED))
        return KV_OK;
    if (kvi_hash_bytes(&file->hash, *bytes, (size_t)len) != checksum)
        return kvi_fail(file->err, KV_ECORRUPT, "the large value at page %llu is damaged",
                        (unsigned long long)ptr.page);
    trust(view, ptr.page, kvi_seen_large(ptr.birth));
    return KV_OK;
}

/* Asks before it sets the size: that would cut a file that is longer than we know. */
int kvi_file_extend(kvi_file *file, kvi_pgno high_water)
{
    uint64_t size, need = high_water << file->page_shift;
    if (need <= kvi_file_size(file))
        return KV_OK;
    int rc = kvi_file_look(file, &size);
    return rc != KV_OK || need <= size ? rc : kvi_file_truncate(file, high_water);
}

int kvi_file_read(kvi_file *file, uint64_t offset, void *buf, size_t len)
{
    uint8_t *at = buf;
    while (len > 0) {
        int64_t got = file->os->pread(file->os, file->fd, at, len, offset);
        if (got < 0)
            return kvi_fail_os(file->err, got, "reading the database at byte %llu",
                               (unsigned long long)offset);
        if (got == 0)
            return kvi_fail(file->err, KV_ECORRUPT, "the file ends before byte %llu",
                            (unsigned long long)(offset + len));
        at += got;
        offset += (uint64_t)got;
        len -= (size_t)got;
    }
    return KV_OK;
}

int kvi_file_read_page(kvi_file *file, kvi_ptr ptr, int type, uint8_t *buf)
{
    int rc = kvi_file_read(file, ptr.page << file->page_shift, buf, file->page_size);
    if (rc != KV_OK)
        return rc;
    int broken = buf[KVI_P_type] != type ? 1 : kvi_file_matches(file, buf, ptr, true);
    return broken ? page_broken(file, ptr, broken) : KV_OK;
}

uint64_t kvi_file_stamp(const kvi_file *file, uint8_t *page, kvi_ptr ptr)
{
    kvi_put64(page + KVI_P_birth, ptr.birth);
    kvi_put64(page + KVI_P_page, ptr.page);
    uint64_t checksum = kvi_hash_bytes(&file->hash, page + 8, file->page_size - 8);
    kvi_put64(page + KVI_P_checksum, checksum);
    return checksum;
}

/* Repeats after short counts; iov is consumed. */
static int write_all(kvi_file *file, struct iovec *iov, int n, uint64_t offset)
{
    while (n > 0) {
        int64_t put = file->os->pwritev(file->os, file->fd, iov, n, offset);
        if (put <= 0) {
            int rc = kvi_fail_os(file->err, put < 0 ? put : -EIO,
                                 "writing the database at byte %llu", (unsigned long long)offset);
            if (rc == KV_ENOSPC)
                file->full = KVI_FULL_COMMITS;
            return rc;
        }
        offset += (uint64_t)put;
        while (n > 0 && (size_t)put >= iov->iov_len) {
            put -= (int64_t)iov->iov_len;
            iov++;
            n--;
        }
        if (n > 0) {
            iov->iov_base = (uint8_t *)iov->iov_base + put;
            iov->iov_len -= (size_t)put;
        }
    }
    if (offset > kvi_file_size(file))
        atomic_store_explicit(&file->size, offset, memory_order_release);
    return KV_OK;
}

static struct iovec iov_of(const void *bytes, size_t len)
{
    union {
        const void *in;
        void *out;
    } pun = {bytes}; /* iovec has no const; pwritev only reads */
    return (struct iovec){pun.out, len};
}

int kvi_file_write(kvi_file *file, uint64_t offset, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    while (len > 0) {
        size_t part = KVI_MIN(len, (size_t)KVI_WRITE_MAX);
        struct iovec iov = iov_of(at, part);
        int rc = write_all(file, &iov, 1, offset);
        if (rc != KV_OK)
            return rc;
        at += part;
        offset += part;
        len -= part;
    }
    return KV_OK;
}

int kvi_file_fill(kvi_file *file, uint64_t offset, uint64_t len)
{
    static const uint8_t zeros[KVI_WRITE_MAX];
    int rc = KV_OK;
    for (uint64_t part; rc == KV_OK && len > 0; offset += part, len -= part) {
        part = KVI_MIN(len, (uint64_t)KVI_WRITE_MAX);
        rc = kvi_file_write(file, offset, zeros, part);
    }
    return rc;
}

int kvi_file_write_pages(kvi_file *file, const kvi_page_write *writes, size_t n, uint64_t *waiting)
{
    struct iovec iov[KVI_WRITE_MAX / KVI_PAGE_MIN];
    size_t most = KVI_WRITE_MAX >> file->page_shift;
    for (size_t i = 0; i < n;) {
        size_t run = 0;
        do {
            iov[run] = iov_of(writes[i + run].bytes, file->page_size);
            run++;
        } while (run < most && i + run < n && writes[i + run].page == writes[i].page + run);
        int rc = write_all(file, iov, (int)run, writes[i].page << file->page_shift);
        if (rc != KV_OK)
            return rc;
        kvi_file_sync_ahead(file, waiting, (uint64_t)run << file->page_shift);
        i += run;
    }
    return KV_OK;
}

int kvi_file_sync(kvi_file *file)
{
    int rc = file->os->sync(file->os, file->fd);
    return rc < 0 ? kvi_fail_os(file->err, rc, "flushing the database") : KV_OK;
}

#ifdef KVI_STRESS
#define AHEAD ((uint64_t)16 << 10)
#else
#define AHEAD ((uint64_t)4 << 20)
#endif

void kvi_file_sync_begin(kvi_file *file)
{
    file->os->sync_ahead(file->os, file->fd);
}

void kvi_file_sync_ahead(kvi_file *file, uint64_t *waiting, uint64_t more)
{
    if (!waiting || (*waiting += more) < AHEAD)
        return;
    kvi_file_sync_begin(file);
    *waiting = 0;
}

int kvi_file_truncate(kvi_file *file, kvi_pgno pages)
{
    uint64_t size = pages << file->page_shift;
    int rc = file->os->truncate(file->os, file->fd, size);
    if (rc < 0)
        return kvi_fail_os(file->err, rc, "setting the size of the database to %llu bytes",
                           (unsigned long long)size);
    atomic_store_explicit(&file->size, size, memory_order_release);
    return KV_OK;
}
