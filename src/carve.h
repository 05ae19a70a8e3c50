/* carve.h - a file that may be damaged anywhere, read page by page as it lies there: page size, hash
 * seed and commit, from the metas or, where these are gone, from what the pages say of themselves.
 * Reads with pread only, never writes. */
#ifndef KVI_CARVE_H
#define KVI_CARVE_H

#include "recover.h"

/* A page with a header, looked at by itself. */
typedef struct kvi_carved {
    kvi_id birth; /* 0: no header, or it does not fit the page's place */
    uint8_t type, level;
    uint8_t
        broken; /* 0, or the number of the invariant N1-N9 that does not hold; N7 within the file */
} kvi_carved;

static inline bool kvi_carved_node(const kvi_carved *page)
{
    return page->birth && !page->broken && page->type <= KVI_BRANCH;
}

/* A page that lies in another's place. */
typedef struct kvi_moved {
    kvi_ptr ptr; /* what it is, by its own header, behind a right checksum */
    kvi_pgno at; /* where it lies */
} kvi_moved;

/* Whose word the commit is. */
enum kvi_trust {
    KVI_TRUST_NONE,  /* nobody's: roots must be looked for */
    KVI_TRUST_GUESS, /* that of a damaged meta, whose roots are where it says */
    KVI_TRUST_SLOT,  /* that of a sound meta, whose commit is not whole */
    KVI_TRUST_FULL,  /* an open would find it */
};

typedef struct kvi_carve {
    const kvi_os *os;
    kvi_err err;
    kvi_lock lock;
    kvi_file file; /* file.fd -1: not open */
    kvi_slots slots;
    enum kvi_meta_state state[2];
    kvi_choice choice; /* KVI_TRUST_FULL */
    bool seeded;       /* the hash seed is known: checksums can be checked */
    enum kvi_trust trust;
    unsigned slot; /* that meta comes from */
    kvi_meta meta;
    kvi_pgno pages;     /* whole ones in the file */
    kvi_carved *carved; /* of each; NULL: not scanned */
    kvi_id newest;      /* scanned: greatest birth */
    kvi_moved *moved;   /* scanned: by number and birth */
    size_t n_moved, moved_cap;
    uint8_t *buffer; /* one page */
} kvi_carve;

/* Finds out what it can about the file. KV_ENOTKV: nothing in it looks like kv; KV_ENOENT,
 * KV_EACCESS, KV_EVERSION, KV_EINVAL (no regular file). kvi_carve_close in any case. */
int kvi_carve_open(kvi_carve *carve, const kvi_os *os, const char *path) KVI_MUST_CHECK;

/* The same, and keeps writers waiting until the end, where the file system has locks. KV_EBUSY, for
 * longer than wait_ms: somebody has the file alone, or is writing. */
int kvi_carve_open_locked(kvi_carve *carve, const kvi_os *os, const char *path,
                          uint32_t wait_ms) KVI_MUST_CHECK;
void kvi_carve_close(kvi_carve *carve);

/* Reads a page into buf. KV_EIO; KV_ECORRUPT: behind the end of the file. */
int kvi_carve_read(kvi_carve *carve, kvi_pgno page, uint8_t *buf) KVI_MUST_CHECK;

/* What the bytes of a page are. */
kvi_carved kvi_carve_judge(const kvi_carve *carve, kvi_pgno page, const uint8_t *bytes);

/* Looks at every page, once. step is told how many at a time; not 0 stops, and is the
 * result. */
int kvi_carve_scan(kvi_carve *carve, int (*step)(void *context, uint64_t pages),
                   void *context) KVI_MUST_CHECK;

/* After the scan: the page of this number and birth, wherever it lies but in its own place. Both together
 * mean one content (S4), so it is that page. KV_NOTFOUND; KV_EIO. */
int kvi_carve_elsewhere(kvi_carve *carve, kvi_ptr ptr, uint8_t *buf) KVI_MUST_CHECK;

/* After the scan: is a sound node of this birth and level there? */
bool kvi_carve_holds(const kvi_carve *carve, kvi_ptr ptr, unsigned level);

#endif
