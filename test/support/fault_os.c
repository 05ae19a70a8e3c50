/* fault_os.c - see fault_os.h. */
#include "fault_os.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

typedef enum verdict {
    PASS,
    FAIL,  /* without doing anything */
    LATE,  /* after doing it */
    SHORT, /* half of it */
} verdict;

static fault_os *fault_of(const kvi_os *os)
{
    return (fault_os *)(uintptr_t)os;
}

/* ---- where calls were failed: test/fault/sites ---- */

#define SITES 4096 /* more than the engine has */

extern const char __executable_start[];
static _Atomic(const void *) sites[SITES];

static void sites_write(void)
{
    FILE *file = fopen(getenv("FAULT_SITES"), "a");
    for (size_t i = 0; file && i < SITES; i++) {
        const char *site = sites[i];
        if (site) /* the last byte of the call */
            fprintf(file, "%#zx\n", (size_t)(site - 1 - __executable_start));
    }
    if (file)
        fclose(file);
}

static void site_note(const void *site)
{
    static atomic_int state;
    if (state == 0)
        state = getenv("FAULT_SITES") && atexit(sites_write) == 0 ? 1 : 2;
    if (state == 2)
        return;
    for (size_t i = ((uintptr_t)site * 0x9e3779b97f4a7c15) >> 52;; i = (i + 1) % SITES) {
        const void *none = NULL;
        if (sites[i] == site || atomic_compare_exchange_strong(&sites[i], &none, site))
            return;
    }
}

/* ---- deciding ---- */

/* Inline, so that the return address is that of the table's function: a place in the engine. */
__attribute__((always_inline)) static inline verdict judge_at(fault_os *fault, fault_call call,
                                                              uint64_t offset)
{
    static const verdict verdicts[] = {
        [FAULT_ERROR] = FAIL, [FAULT_LATE] = LATE, [FAULT_SHORT] = SHORT};
    const fault_case *plan = &fault->plan;
    fault->calls[call]++;
    if (!(plan->mask & FAULT_BIT(call)))
        return PASS;
    uint64_t number = ++fault->counted;
    if (plan->at == 0 || number < plan->at || (number > plan->at && !plan->sticky))
        return PASS;
    int none = FAULT_CALLS;
    if (atomic_compare_exchange_strong(&fault->first_failed, &none, (int)call))
        fault->first_offset = offset;
    fault->failed[call]++;
    site_note(__builtin_return_address(0));
    return verdicts[plan->mode];
}

__attribute__((always_inline)) static inline verdict judge(fault_os *fault, fault_call call)
{
    return judge_at(fault, call, 0);
}

/* For calls of one step: FAIL does not call, LATE calls and fails. */
#define GUARDED(fault, call, expression)                                                           \
    do {                                                                                           \
        verdict v = judge(fault, call);                                                            \
        if (v == FAIL)                                                                             \
            return -(fault)->plan.error;                                                           \
        int rc = (expression);                                                                     \
        return v == LATE && rc >= 0 ? -(fault)->plan.error : rc;                                   \
    } while (0)

/* ---- handles ---- */

static int call_open(const kvi_os *os, const char *path, int flags, uint32_t mode)
{
    fault_os *fault = fault_of(os);
    verdict v = judge(fault, FAULT_OPEN);
    if (v == FAIL)
        return -fault->plan.error;
    int fd = fault->inner->open(fault->inner, path, flags, mode);
    if (v == LATE && fd >= 0) {
        fault->inner->close(fault->inner, fd);
        return -fault->plan.error;
    }
    fault->handles += fd >= 0;
    return fd;
}

/* A close that fails has closed. */
static int call_close(const kvi_os *os, int fd)
{
    fault_os *fault = fault_of(os);
    verdict v = judge(fault, FAULT_CLOSE);
    int rc = fault->inner->close(fault->inner, fd);
    fault->handles -= rc >= 0;
    return v == PASS ? rc : -fault->plan.error;
}

/* ---- reading and writing ---- */

static size_t half_of(size_t len)
{
    return len < 2 ? len : len / 2;
}

static int64_t call_pread(const kvi_os *os, int fd, void *buf, size_t len, uint64_t off)
{
    fault_os *fault = fault_of(os);
    verdict v = judge_at(fault, FAULT_PREAD, off);
    if (v == FAIL || v == LATE)
        return -fault->plan.error;
    return fault->inner->pread(fault->inner, fd, buf, v == SHORT ? half_of(len) : len, off);
}

/* The first half of all bytes, in whole pieces but the last. */
static int64_t write_half(const kvi_os *inner, int fd, const struct iovec *iov, int n, uint64_t off)
{
    struct iovec part[128];
    size_t left = 0;
    int used = 0;
    for (int i = 0; i < n; i++)
        left += iov[i].iov_len;
    left = half_of(left);
    for (; used < n && used < (int)KVI_COUNT(part) && left > 0; used++) {
        part[used] = iov[used];
        part[used].iov_len = KVI_MIN(left, iov[used].iov_len);
        left -= part[used].iov_len;
    }
    return inner->pwritev(inner, fd, part, used, off);
}

static bool all_zeros(const struct iovec *iov, int n)
{
    for (int i = 0; i < n; i++)
        for (size_t k = 0; k < iov[i].iov_len; k++)
            if (((const uint8_t *)iov[i].iov_base)[k])
                return false;
    return true;
}

static int64_t call_pwritev(const kvi_os *os, int fd, const struct iovec *iov, int n, uint64_t off)
{
    fault_os *fault = fault_of(os);
    verdict v = judge_at(fault, FAULT_PWRITEV, off);
    if (v != PASS && fault->first_failed == FAULT_PWRITEV && fault->failed[FAULT_PWRITEV] == 1)
        fault->first_zeros = all_zeros(iov, n);
    if (v == FAIL)
        return -fault->plan.error;
    if (v == PASS)
        return fault->inner->pwritev(fault->inner, fd, iov, n, off);
    int64_t put = write_half(fault->inner, fd, iov, n, off);
    return v == LATE ? -fault->plan.error : put;
}

static int64_t call_write(const kvi_os *os, int fd, const void *buf, size_t len)
{
    fault_os *fault = fault_of(os);
    verdict v = judge(fault, FAULT_WRITE);
    if (v == FAIL)
        return -fault->plan.error;
    int64_t put = fault->inner->write(fault->inner, fd, buf, v == PASS ? len : half_of(len));
    return v == LATE ? -fault->plan.error : put;
}

/* A flush that fails late has reached the disk, yet nobody may believe so. */
static int call_sync(const kvi_os *os, int fd)
{
    fault_os *fault = fault_of(os);
    verdict v = judge(fault, FAULT_SYNC);
    if (v != FAIL) {
        int rc = fault->inner->sync(fault->inner, fd);
        return v == LATE ? -fault->plan.error : rc;
    }
    if (fault->sync_failed)
        fault->sync_failed(fault->inner, fd);
    return -fault->plan.error;
}

static int call_truncate(const kvi_os *os, int fd, uint64_t size)
{
    fault_os *fault = fault_of(os);
    GUARDED(fault, FAULT_TRUNCATE, fault->inner->truncate(fault->inner, fd, size));
}

/* ---- names ---- */

static int call_stat(const kvi_os *os, int fd, kvi_os_stat *stat)
{
    fault_os *fault = fault_of(os);
    GUARDED(fault, FAULT_STAT, fault->inner->stat(fault->inner, fd, stat));
}

static int call_stat_path(const kvi_os *os, const char *path, kvi_os_stat *stat)
{
    fault_os *fault = fault_of(os);
    GUARDED(fault, FAULT_STAT_PATH, fault->inner->stat_path(fault->inner, path, stat));
}

static int call_permit(const kvi_os *os, int fd, const kvi_os_stat *like)
{
    fault_os *fault = fault_of(os);
    GUARDED(fault, FAULT_PERMIT, fault->inner->permit(fault->inner, fd, like));
}

static int call_link(const kvi_os *os, const char *from, const char *to)
{
    fault_os *fault = fault_of(os);
    GUARDED(fault, FAULT_LINK, fault->inner->link(fault->inner, from, to));
}

static int call_rename(const kvi_os *os, const char *from, const char *to)
{
    fault_os *fault = fault_of(os);
    GUARDED(fault, FAULT_RENAME, fault->inner->rename(fault->inner, from, to));
}

static int call_unlink(const kvi_os *os, const char *path)
{
    fault_os *fault = fault_of(os);
    GUARDED(fault, FAULT_UNLINK, fault->inner->unlink(fault->inner, path));
}

static void call_sync_ahead(const kvi_os *os, int fd)
{
    const kvi_os *inner = fault_of(os)->inner;
    inner->sync_ahead(inner, fd);
}

static int call_sync_dir(const kvi_os *os, const char *path)
{
    fault_os *fault = fault_of(os);
    GUARDED(fault, FAULT_SYNC_DIR, fault->inner->sync_dir(fault->inner, path));
}

static int call_resolve(const kvi_os *os, const char *path, char *out, size_t out_size)
{
    fault_os *fault = fault_of(os);
    GUARDED(fault, FAULT_RESOLVE, fault->inner->resolve(fault->inner, path, out, out_size));
}

static int call_shareable(const kvi_os *os, int fd)
{
    fault_os *fault = fault_of(os);
    GUARDED(fault, FAULT_SHAREABLE, fault->inner->shareable(fault->inner, fd));
}

/* ---- locks ---- */

static int call_lock(const kvi_os *os, int fd, int kind, uint64_t off, uint64_t len)
{
    fault_os *fault = fault_of(os);
    GUARDED(fault, FAULT_LOCK, fault->inner->lock(fault->inner, fd, kind, off, len));
}

static int call_lock_wait(const kvi_os *os, int fd, int kind, uint64_t off, uint64_t len)
{
    fault_os *fault = fault_of(os);
    GUARDED(fault, FAULT_LOCK_WAIT, fault->inner->lock_wait(fault->inner, fd, kind, off, len));
}

static int call_lock_probe(const kvi_os *os, int fd, uint64_t off, uint64_t len, uint64_t *held_off,
                           uint64_t *held_len)
{
    fault_os *fault = fault_of(os);
    GUARDED(fault, FAULT_LOCK_PROBE,
            fault->inner->lock_probe(fault->inner, fd, off, len, held_off, held_len));
}

/* ---- memory ---- */

static int call_map(const kvi_os *os, int fd, size_t len, const uint8_t **ptr)
{
    fault_os *fault = fault_of(os);
    if (judge(fault, FAULT_MAP) != PASS)
        return -fault->plan.error;
    int rc = fault->inner->map(fault->inner, fd, len, ptr);
    fault->maps += rc >= 0;
    return rc;
}

static int call_map_shared(const kvi_os *os, int fd, size_t len, void **ptr)
{
    fault_os *fault = fault_of(os);
    if (judge(fault, FAULT_MAP_SHARED) != PASS)
        return -fault->plan.error;
    int rc = fault->inner->map_shared(fault->inner, fd, len, ptr);
    fault->maps += rc >= 0;
    return rc;
}

static void call_unmap(const kvi_os *os, const uint8_t *ptr, size_t len)
{
    fault_os *fault = fault_of(os);
    fault->maps--;
    fault->inner->unmap(fault->inner, ptr, len);
}

static uint64_t call_memory(const kvi_os *os)
{
    const kvi_os *inner = fault_of(os)->inner;
    return inner->memory(inner);
}

static void call_advise(const kvi_os *os, const uint8_t *ptr, size_t len, int advice)
{
    const kvi_os *inner = fault_of(os)->inner;
    inner->advise(inner, ptr, len, advice);
}

static void *call_alloc(const kvi_os *os, size_t size)
{
    fault_os *fault = fault_of(os);
    if (judge(fault, FAULT_ALLOC) != PASS)
        return NULL;
    void *ptr = fault->inner->alloc(fault->inner, size);
    fault->allocations += ptr != NULL;
    return ptr;
}

static void *call_realloc(const kvi_os *os, void *old, size_t size)
{
    fault_os *fault = fault_of(os);
    if (judge(fault, FAULT_REALLOC) != PASS)
        return NULL;
    bool first = old == NULL;
    void *ptr = fault->inner->realloc(fault->inner, old, size);
    fault->allocations += first && ptr;
    return ptr;
}

static void call_free(const kvi_os *os, void *ptr)
{
    fault_os *fault = fault_of(os);
    fault->allocations -= ptr != NULL;
    fault->inner->free(fault->inner, ptr);
}

static void *call_reserve(const kvi_os *os, size_t size)
{
    fault_os *fault = fault_of(os);
    if (judge(fault, FAULT_RESERVE) != PASS)
        return NULL;
    void *ptr = fault->inner->reserve(fault->inner, size);
    fault->reservations += ptr != NULL;
    return ptr;
}

static void call_release(const kvi_os *os, void *ptr, size_t size)
{
    fault_os *fault = fault_of(os);
    fault->reservations--;
    fault->inner->release(fault->inner, ptr, size);
}

/* ---- time and chance ---- */

static uint64_t call_clock_ms(const kvi_os *os)
{
    const kvi_os *inner = fault_of(os)->inner;
    return inner->clock_ms(inner);
}

static uint64_t call_tick_ms(const kvi_os *os)
{
    const kvi_os *inner = fault_of(os)->inner;
    return inner->tick_ms(inner);
}

static uint64_t call_mono_ns(const kvi_os *os)
{
    const kvi_os *inner = fault_of(os)->inner;
    return inner->mono_ns(inner);
}

static void call_sleep_us(const kvi_os *os, uint32_t us)
{
    const kvi_os *inner = fault_of(os)->inner;
    inner->sleep_us(inner, us);
}

static void call_word_wait(const kvi_os *os, _Atomic uint32_t *word, uint32_t expected, uint64_t ns)
{
    const kvi_os *inner = fault_of(os)->inner;
    inner->word_wait(inner, word, expected, ns);
}

static void call_word_wake(const kvi_os *os, _Atomic uint32_t *word)
{
    const kvi_os *inner = fault_of(os)->inner;
    inner->word_wake(inner, word);
}

static int call_random(const kvi_os *os, void *buf, size_t len)
{
    fault_os *fault = fault_of(os);
    GUARDED(fault, FAULT_RANDOM, fault->inner->random(fault->inner, buf, len));
}

static int call_boot_id(const kvi_os *os, uint8_t id[16])
{
    fault_os *fault = fault_of(os);
    GUARDED(fault, FAULT_BOOT_ID, fault->inner->boot_id(fault->inner, id));
}

static uint64_t call_process_id(const kvi_os *os)
{
    const kvi_os *inner = fault_of(os)->inner;
    return inner->process_id(inner);
}

static const kvi_os fault_table = {
    .open = call_open,
    .close = call_close,
    .pread = call_pread,
    .pwritev = call_pwritev,
    .write = call_write,
    .sync = call_sync,
    .sync_ahead = call_sync_ahead,
    .truncate = call_truncate,
    .stat = call_stat,
    .stat_path = call_stat_path,
    .permit = call_permit,
    .link = call_link,
    .rename = call_rename,
    .unlink = call_unlink,
    .sync_dir = call_sync_dir,
    .resolve = call_resolve,
    .shareable = call_shareable,
    .lock = call_lock,
    .lock_wait = call_lock_wait,
    .lock_probe = call_lock_probe,
    .map = call_map,
    .map_shared = call_map_shared,
    .unmap = call_unmap,
    .memory = call_memory,
    .advise = call_advise,
    .alloc = call_alloc,
    .realloc = call_realloc,
    .free = call_free,
    .reserve = call_reserve,
    .release = call_release,
    .clock_ms = call_clock_ms,
    .tick_ms = call_tick_ms,
    .mono_ns = call_mono_ns,
    .sleep_us = call_sleep_us,
    .word_wait = call_word_wait,
    .word_wake = call_word_wake,
    .random = call_random,
    .boot_id = call_boot_id,
    .process_id = call_process_id,
};

/* ---- plans and records ---- */

void fault_init(fault_os *fault, const kvi_os *inner)
{
    memset(fault, 0, sizeof *fault);
    fault->os = fault_table;
    fault->inner = inner;
    fault_plan(fault, (fault_case){.at = 0});
}

void fault_plan(fault_os *fault, fault_case plan)
{
    fault->plan = plan;
    if (plan.mask == 0)
        fault->plan.mask = FAULT_ALL;
    if (plan.mode == FAULT_SHORT)
        fault->plan.mask &= FAULT_DATA;
    if (plan.error == 0)
        fault->plan.error = EIO;
    fault->counted = 0;
    fault->first_failed = FAULT_CALLS;
    fault->first_offset = 0;
    fault->first_zeros = false;
    for (int i = 0; i < FAULT_CALLS; i++) {
        fault->calls[i] = 0;
        fault->failed[i] = 0;
    }
}

bool fault_hit(const fault_os *fault)
{
    return fault->first_failed != FAULT_CALLS;
}

bool fault_balanced(const fault_os *fault)
{
    return fault->handles == 0 && fault->maps == 0 && fault->allocations == 0 &&
           fault->reservations == 0;
}

const char *fault_name(fault_call call)
{
    static const char *const names[] = {
        "open",    "close",     "pread",   "pwritev",   "write",      "sync",    "truncate",
        "stat",    "stat_path", "permit",  "link",      "rename",     "unlink",  "sync_dir",
        "resolve", "shareable", "lock",    "lock_wait", "lock_probe", "map",     "map_shared",
        "alloc",   "realloc",   "reserve", "random",    "boot_id",    "nothing",
    };
    _Static_assert(KVI_COUNT(names) == FAULT_CALLS + 1, "a name for every call");
    return names[call];
}

void fault_describe(const fault_os *fault, char *buf, size_t size)
{
    static const char *const modes[] = {
        [FAULT_ERROR] = "failed", [FAULT_LATE] = "failed late", [FAULT_SHORT] = "cut short"};
    snprintf(buf, size,
             "call %llu of mask %x %s%s (errno %d), first: %s; left: %lld handles, %lld maps, "
             "%lld allocations, %lld reservations",
             (unsigned long long)fault->plan.at, fault->plan.mask, modes[fault->plan.mode],
             fault->plan.sticky ? " and all after it" : "", fault->plan.error,
             fault_name((fault_call)fault->first_failed), (long long)fault->handles,
             (long long)fault->maps, (long long)fault->allocations, (long long)fault->reservations);
}
