/* kv.h - kv, an embedded, ordered key-value database in one file.
 *
 * SPDX-License-Identifier: MIT
 *
 * A database is one file. It holds a main tree and any number of named trees, each an ordered map
 * of byte-string keys to byte-string values. One writer at a time commits atomic transactions;
 * any number of readers see the snapshot they began with and never wait for the writer. Writers
 * and readers are threads of any number of processes.
 *
 *     kv_db *db;
 *     kv_txn *txn;
 *     if (kv_db_open("phone.kv", NULL, &db) == KV_OK) {
 *         if (kv_txn_begin(db, KV_TXN_WRITE, &txn) == KV_OK) {
 *             kv_put(kv_txn_main(txn), "alice", 5, "+1 555 0100", 11, 0);
 *             kv_txn_commit(txn);
 *         }
 *         kv_db_close(db);
 *     }
 *
 * CONVENTIONS, true for every function below unless it says otherwise
 *
 * Results. int results are KV_OK (0), a positive outcome (KV_NOTFOUND, KV_EXISTS, KV_MISMATCH: the
 *   call did its work and this is the answer), or a negative error. On an error nothing was
 *   changed, unless the description says what was. Output arguments are written on KV_OK only;
 *   handle outputs are set to NULL otherwise.
 * Errors that any call on an open database may return, and that are not repeated below:
 *   KV_EINVAL (a NULL handle or output, an unknown flag, a wrong combination), KV_ENOMEM, KV_EIO,
 *   KV_EREADONLY (a call that changes something, in a read transaction or on a handle that reads),
 *   KV_ETOOBIG (a name longer than the limit, or a key or value that would be stored, changed or
 *   removed; who only reads does not find it: KV_NOTFOUND),
 *   KV_ECORRUPT (a damaged page was met; the transaction can still be used elsewhere or ended),
 *   KV_EBADTXN (an earlier failure in this transaction left it good only for abort), KV_ENOSPC (a
 *   write transaction beyond its budget, or a large value, found the disk full: likewise).
 *   kv_db_errmsg() then has a sentence with the details, except of KV_EINVAL and KV_ENOMEM, and of
 *   what a callback returned: those may leave the sentence before.
 * Bytes. Keys and values are pointer + length, in bytes; any byte may occur; zero length is legal
 *   (the pointer may then be NULL). Keys are ordered by unsigned bytes, a prefix before its
 *   extensions. A key has at most kv_db_stat.key_max bytes (page size / 4 - 64: 960 by default),
 *   a value at most KV_VALUE_MAX.
 * Views. A kv_slice that a read returns points into the database or into memory of the
 *   transaction. Values: valid until the transaction ends (but see KV_RANGE_BRIEF); in a write one until
 *   the next change made through it. Keys: valid until their cursor moves or closes. Never write
 *   through a view. Until it ends, a view may be passed as key, bound or value to any call but
 *   kv_put_many, also to one that changes or moves what it points to.
 * Handles. Trees live as long as their transaction and are not closed. Cursors are closed by
 *   kv_cursor_close or by the end of their transaction. Ending a transaction invalidates its
 *   handle, also when commit returns an error.
 * Threads. A kv_db may be used by any number of threads at once. A transaction, with its trees and
 *   cursors, may be used by one thread at a time and may move between threads. kv starts
 *   no threads and uses no thread-local storage.
 * Processes. A kv_db belongs to the process that opened it. In a forked child every call on it
 *   returns KV_EFORKED, except kv_db_close, which frees its memory and touches nothing that the
 *   parent uses; so fork first, then let each process open for itself. A child made by a raw clone
 *   system call is recognised too, but a map or descriptor that it keeps can hold the parent's
 *   locks until it ends or executes another program.
 * Cost. n = entries of the tree, h = its height (3 or 4 for millions of entries). Unless stated
 *   otherwise a call costs O(h) page visits.
 */
#ifndef KV_H
#define KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KV_VERSION_MAJOR 0
#define KV_VERSION_MINOR 1
#define KV_VERSION_PATCH 0

#if defined(KV_BUILDING) && defined(__GNUC__)
#define KV_API __attribute__((visibility("default")))
#else
#define KV_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- results ---- */

enum {
    KV_OK = 0,
    /* outcomes */
    KV_NOTFOUND = 1, /* no such key, tree or position */
    KV_EXISTS = 2,   /* the key or tree is there already */
    KV_MISMATCH = 3, /* a condition on the old value does not hold */
    /* errors */
    KV_EINVAL = -1,        /* wrong argument: a mistake in the calling program */
    KV_ENOMEM = -2,        /* an allocation failed */
    KV_EIO = -3,           /* a system call failed; kv_db_errmsg names it */
    KV_ENOSPC = -4,        /* the disk is full or a quota is reached */
    KV_ECORRUPT = -5,      /* the file is damaged; kv_db_errmsg names page and invariant */
    KV_EBUSY = -6,         /* somebody holds the lock, or transactions of the handle are open */
    KV_EREADONLY = -7,     /* a change through a read-only handle or transaction */
    KV_EPOISONED = -8,     /* a flush failed earlier: reading goes on; see kv_txn_commit */
    KV_EVERSION = -9,      /* the file, or those who have it open, need another version of kv */
    KV_ENOTKV = -10,       /* the file is not a kv database */
    KV_ETOOBIG = -11,      /* key, value or name over its limit */
    KV_EBADTXN = -12,      /* the transaction can only be aborted */
    KV_ENOENT = -13,       /* no such file, or it was removed or replaced while it was open */
    KV_EACCESS = -14,      /* the permissions of the file, or of its directory, forbid it */
    KV_ECANCELED = -15,    /* a callback asked to stop */
    KV_EUNSUPPORTED = -16, /* the file system or build cannot do it */
    KV_EFORKED = -17,      /* the handle was opened by the parent of this process */
    KV_EOVERFLOW = -18,    /* the number would leave its range; nothing was changed */
    KV_ENOTNUMBER = -19,   /* the value is not a number of the form that was asked for */
    KV_EBACKUP = -20       /* a backup is damaged, or ends too early */
};

/* A short description of a result, never NULL, static. */
KV_API const char *kv_strerror(int result);

/* "0.1.0", of the library that is linked. */
KV_API const char *kv_version(void);

/* ---- types ---- */

typedef struct kv_db kv_db;         /* an open database */
typedef struct kv_txn kv_txn;       /* a transaction */
typedef struct kv_tree kv_tree;     /* a tree seen by a transaction */
typedef struct kv_cursor kv_cursor; /* a position in a tree */
typedef struct kv_watch kv_watch;   /* somebody who waits for a change */

typedef struct kv_slice {
    const void *ptr;
    size_t len; /* bytes */
} kv_slice;

typedef struct kv_pair {
    kv_slice key;
    kv_slice value;
} kv_pair;

#define KV_VALUE_MAX ((uint64_t)1 << 40) /* bytes; memory and disk end earlier */

/* ---- databases ---- */

enum kv_durability {
    KV_DEFAULT = 0, /* in kv_options: KV_DURABLE; in a transaction: what the database has */
    KV_DURABLE = 1, /* commit returns after one flush; survives power loss */
    KV_STRICT = 2,  /* two flushes: also the pages are known durable before the meta is written */
    KV_LAZY = 3     /* no flush; a power cut may lose the newest commits, never their integrity */
};

enum {                          /* kv_options.flags */
       KV_OPEN_CREATE = 1,      /* create the file when it is missing or empty */
       KV_OPEN_READONLY = 2,    /* only read transactions; never writes to the file */
       KV_OPEN_IMMUTABLE = 4,   /* with READONLY: nobody will change the file; takes no locks */
       KV_OPEN_NO_CHECKSUM = 8, /* do not verify page checksums on first touch (structure still) */
       KV_OPEN_NO_CLOSE_SYNC = 16, /* closing does not flush lazy commits */
       KV_OPEN_EXCLUSIVE = 32, /* for writing: nobody else may have the file open; no side file */
       KV_OPEN_RANDOM = 64 /* single records of a file larger than memory: nothing is read ahead */
};

/* Options for kv_db_open. Zero a kv_options, set size, then what you need: zero means default. */
typedef struct kv_options {
    size_t size;              /* sizeof(kv_options) */
    uint32_t flags;           /* KV_OPEN_* */
    uint32_t page_size;       /* of a new file: 4096 (default), 8192, 16384, 32768, 65536 */
    int durability;           /* enum kv_durability, of commits that do not choose */
    uint32_t wait_ms;         /* how long open waits for another process's lock; default 0 */
    uint64_t memory_budget;   /* bytes of dirty pages a transaction keeps; default 256 MiB */
    uint64_t lazy_sync_bytes; /* lazy bytes after which a commit flushes; default 64 MiB;
                                 UINT64_MAX: never, and a power cut loses all since the last
                                 sync */
    uint32_t sweep_per_write; /* expired entries that each commit of changed entries may remove
                                 besides (compaction, too), in the main tree and the named trees
                                 that its transaction opened; default 0. See kv_sweep */
    uint32_t fill;            /* percent of a leaf that keys fill, put in ascending order one after
                                 the other, before they begin the next one; in compact copies as
                                 well: 50 to 100, default 100. What is left takes later keys in
                                 between without a split; kv_db_compact takes it back */
} kv_options;

/* Opens the database file at path. options == NULL: defaults with KV_OPEN_CREATE. Opening after a
 * crash costs at most reading the last commit; there is no repair scan.
 *
 * The file is shared: any number of processes may have it open for reading and writing, and one
 * process may open it several times. They meet in a side file, "<path>-lock" (symbolic links
 * resolved), which holds nothing that lasts and is removed by the last one to leave; killed
 * processes leave nothing to clean up. Who opens
 *   - with KV_OPEN_READONLY shares it too, if file and directory may be written and the disk has
 *     room for the side file; else reads as a guest, without it, also beside writers. A guest's
 *     kv_txn_begin makes system calls;
 *   - with KV_OPEN_EXCLUSIVE has the file alone;
 *   - with KV_OPEN_IMMUTABLE takes no locks; should the file change, reads may be wrong or crash.
 *
 * KV_ENOENT; KV_ENOTKV; KV_ECORRUPT; KV_ENOSPC; KV_EINVAL (also: a directory, device or FIFO, or a
 * path that is too long: behind the file's name the system takes 5 bytes more for the side file,
 * and 21 for the temporary name of a new file). KV_EBUSY, for longer than wait_ms: somebody has it
 * open exclusively, or anybody at all when this open is to be exclusive; or it is open under
 * another name (a hard link, a file mounted by itself). KV_EACCESS: the file may not be read, or
 * written; or the side file cannot be made, and writing is then possible exclusively only; or the
 * folder of a new file cannot be read, and so its name not be made durable. KV_EVERSION: also when
 * those who share the file use another layout of the side file. KV_EUNSUPPORTED: a network file
 * system, where the file cannot be shared (opened exclusively or as immutable it can be used); or
 * no OFD locks. KV_EPOISONED: what a crash left had to be given up for a commit before it, durably,
 * and that flush failed; the next open tries again. (When it was to be made durable and that
 * failed, the open succeeds, to read: poisoned, see kv_db_stat.) Somebody who is just opening,
 * replacing or closing the file is waited for in any case, for 30 seconds at least. */
KV_API int kv_db_open(const char *path, const kv_options *options, kv_db **db);

/* As kv_db_open, with a sentence about a failure: message (may be NULL) receives at most
 * message_size bytes with the final zero. */
KV_API int kv_db_open_explain(const char *path, const kv_options *options, kv_db **db,
                              char *message, size_t message_size);

/* Closes the database. Lazy commits are flushed first (unless KV_OPEN_NO_CLOSE_SYNC), which waits
 * for the writer's turn without limit. KV_EBUSY: transactions are open; the database stays open.
 * Any other error: the database is closed all the same, but the flush failed and lazy commits may
 * be lost. NULL is fine. In a forked child: frees memory and descriptors, nothing else. */
KV_API int kv_db_close(kv_db *db);

/* The sentence for the newest error on this handle; "" when there was none. Written to buf, at
 * most size bytes with the final zero. Other threads' errors overwrite it. */
KV_API void kv_db_errmsg(kv_db *db, char *buf, size_t size);

/* Makes every commit so far durable (only lazy ones need it). Waits for the writer's turn. One
 * flush; two when more than 1 MiB is at stake. KV_EPOISONED, KV_EIO, KV_ENOSPC: see
 * kv_txn_commit. KV_ENOENT: see kv_txn_begin. */
KV_API int kv_db_sync(kv_db *db);

/* The newest commit that a power cut cannot take. */
KV_API uint64_t kv_db_durable_id(kv_db *db);

typedef struct kv_db_info {
    size_t size;            /* in: sizeof(kv_db_info) */
    uint32_t page_size;     /* bytes */
    uint32_t key_max;       /* bytes */
    uint64_t file_size;     /* bytes; up to 256 KiB of zeros ahead of growth, until closed */
    uint64_t pages;         /* below the high-water mark */
    uint64_t free_pages;    /* reusable now */
    uint64_t blocked_pages; /* dead, but a snapshot still needs them */
    uint64_t commit_id;     /* newest commit */
    uint64_t durable_id;    /* newest durable commit */
    uint64_t entries;       /* of all trees */
    uint64_t trees;         /* named trees */
    uint64_t leaf_pages, branch_pages, large_pages; /* of all trees, the catalog included */
    uint64_t space_pages; /* that hold the free-space records themselves */
    uint32_t readers;     /* open read transactions of this handle */
    uint32_t poisoned;    /* 1: a flush failed, writing is refused */
    uint64_t flushes;     /* of this handle, since it was opened */
    uint64_t commits;     /* of this handle, since it was opened */
    uint8_t file_id[16];  /* random, given at creation */
    uint32_t guest;       /* 1: reads beside the others, whose readers it cannot see */
    uint32_t clock_wrong; /* 1: the file's clock is more than 24 hours ahead of the system's */
    uint64_t batches; /* of this handle: those that kv_db_write committed; commits counts groups */
    uint64_t snapshots;      /* named ones; what only they need counts in blocked_pages */
    uint8_t origin[16];      /* of a copy: file_id of its original, else zeros; kv_backup_apply */
    uint64_t origin_id;      /* which of the original's commits it repeats; 0: none */
    uint64_t clock_ms;       /* the file's clock: greatest time that a commit has seen */
    uint64_t clock_ahead_ms; /* how far it is ahead of the system's clock; 0: it is not */
} kv_db_info;

/* Statistics. O(trees). free_pages, blocked_pages and space_pages need the space records, which
 * are loaded at the first write or by this call; while somebody writes they are those of the newest
 * commit. Who needs a dead page is asked when a write transaction begins: from opening to the first
 * one, all pages that some snapshot needed once count as blocked, also those that are free by now.
 * KV_EBUSY: the newest commit could not be looked at for ten seconds, since the flush of the next one
 * takes so long, or its writer was killed in it and nobody has written since. */
KV_API int kv_db_stat(kv_db *db, kv_db_info *info);

/* Sets the file's clock back to the system's, if it is ahead: a wrong system clock was here, and what
 * expires would expire too early until the right time has caught up. Entries that have expired by the
 * wrong time and were not swept are there again. A commit of its own. flags: 0, or KV_TXN_TRY: KV_EBUSY
 * instead of waiting for the writer's turn. As from kv_txn_begin and kv_txn_commit. */
KV_API int kv_db_reset_clock(kv_db *db, uint32_t flags);

typedef struct kv_reader_info {
    uint64_t snapshot;   /* commit id that is pinned */
    uint64_t age_ms;     /* since the transaction began or was refreshed; of a guest: 0 */
    uint64_t held_pages; /* dead pages that cannot be reused while it lives */
    uint64_t process;    /* number of its process, in its own container; for people. 0: not known */
    uint32_t guest;      /* 1: it may not write the file; several of one snapshot count as one */
    uint32_t reserved;
} kv_reader_info;

/* Calls fn for each open read transaction of every process that shares the file, oldest snapshot
 * first; those of dead processes are cleared. A guest sees its own only. fn returns 0 to go on;
 * another value stops, and KV_ECANCELED is returned. KV_EBUSY: as from kv_db_stat. */
KV_API int kv_db_readers(kv_db *db, int (*fn)(void *context, const kv_reader_info *reader),
                         void *context);

/* ---- checking, copying, repairing ---- */

typedef struct kv_check_problem {
    uint64_t page;         /* page number, 0 when none is concerned */
    const char *invariant; /* "N4", "T2" ...; see docs/design.md */
    const char *message;
    const char *path; /* from the root: "main tree: 12@3 40@17" is page 12, its child number 3, page
                         40, entry number 17 there. "": no tree is concerned. Of a tree's name the
                         first 64 bytes; what is not printable ASCII, and backslashes, as \xNN */
} kv_check_problem;

typedef struct kv_progress {
    uint64_t done, total; /* pages */
} kv_progress;

typedef struct kv_check_options {
    size_t size;                                                    /* sizeof(kv_check_options) */
    int (*problem)(void *context, const kv_check_problem *problem); /* may be NULL; not 0 stops */
    int (*progress)(void *context, const kv_progress *progress);    /* may be NULL; not 0 stops */
    void *context;
} kv_check_options;

/* Checks the whole file as of the newest commit: every page reachable once or free once,
 * checksums, order, counts, large values. KV_OK: sound. KV_ECORRUPT: problems were reported. Keeps
 * a snapshot and nobody waiting: writers go on meanwhile. KV_EBUSY: as from kv_db_stat. O(file). */
KV_API int kv_db_check(kv_db *db, const kv_check_options *options);

enum {                     /* kv_db_copy */
       KV_COPY_COMPACT = 1 /* rebuild the trees: smallest file, O(data); else page by page */
};

/* Writes a consistent copy of the newest commit to a new file while readers and the writer work.
 * The copy is durable when the call returns, and no more readable than the file: it has the same
 * permissions but for the umask. KV_EXISTS: the path is taken. KV_ENOENT, KV_EACCESS, KV_ENOSPC:
 * so says the system of its folder or disk. A page-by-page copy holds the same pages at the same
 * places, and the named snapshots; a compact one has no snapshots. Either is a base for
 * kv_backup_apply, unless its commit is lazy and cannot be made durable (kv_db_sync comes first
 * then). What has expired and was not swept goes along, unseen as before. */
KV_API int kv_db_copy(kv_db *db, const char *path, uint32_t flags);

/* The same to a descriptor open for writing: a file, pipe or socket, which is waited for also when it
 * does not block. Not flushed. Only ever writes forward, except that a compacting copy to a descriptor
 * first builds a temporary file in TMPDIR that only its owner may read. A reader who went away is
 * SIGPIPE, and KV_EIO where that is ignored. */
KV_API int kv_db_copy_fd(kv_db *db, int fd, uint32_t flags);

/* The same of what a read transaction sees, which may be a named snapshot; without others. */
KV_API int kv_txn_copy(kv_txn *txn, const char *path, uint32_t flags);
KV_API int kv_txn_copy_fd(kv_txn *txn, int fd, uint32_t flags);

typedef struct kv_compact_options {
    size_t size;         /* sizeof(kv_compact_options) */
    uint32_t step_pages; /* that one transaction writes, about; 0: 192 */
    uint32_t wait_ms;    /* how long each waits for the writer's turn; 0: as long as it takes */
    int (*progress)(void *context, const kv_progress *progress); /* may be NULL; not 0 stops */
    void *context;
} kv_compact_options;

enum { /* kv_compact_info.held_by: who keeps more than an eighth of the pages, or of the file */
       KV_HELD_NOBODY = 0,
       KV_HELD_READER = 1,  /* a read transaction */
       KV_HELD_SNAPSHOT = 2 /* a named snapshot */
};

typedef struct kv_compact_info {
    size_t size;     /* in: sizeof(kv_compact_info) */
    uint64_t before; /* bytes of the file */
    uint64_t after;
    uint64_t moved_pages; /* or written anew with more entries */
    uint64_t steps;       /* transactions */
    uint64_t longest_us;  /* that one of them kept other writers waiting, microseconds */
    uint64_t holder;      /* commit id that is kept; 0: none */
    uint32_t held_by;     /* KV_HELD_* */
    uint32_t reserved;
} kv_compact_info;

/* Makes the file smaller while readers and writers go on, by many small durable transactions: puts the
 * entries of leaves that deletes left half empty together, moves pages from the end of the file into
 * holes further up, and hands the end back. What readers and named snapshots need stays where it is;
 * held_by tells if that keeps the file long, and the rest is cut when they have gone. A large value is
 * moved in one piece, if there is a hole for it. A compact copy has no holes and may be smaller yet.
 * Meanwhile the file may grow by an eighth, when it has no holes and the disk has the room. options
 * and info may be NULL. Waits for the writer's turn again and again; a thread that holds a write
 * transaction must not call it. After an error, or KV_ECANCELED, all that was committed stays.
 * KV_EBUSY: once the turn did not come within wait_ms. KV_EREADONLY; otherwise as kv_txn_begin and
 * kv_txn_commit. O(pages that are written anew, all branches, and about one leaf in sixteen). */
KV_API int kv_db_compact(kv_db *db, const kv_compact_options *options, kv_compact_info *info);

/* The exclusive way through what an ordinary open refuses or leaves alone: adopts the newest whole
 * commit, rebuilds the free-space records from the trees, and writes both metas anew, durably. The
 * file must not be open elsewhere: KV_EBUSY, when it still is after wait_ms milliseconds.
 * KV_ENOENT, KV_EACCESS, KV_ENOTKV, KV_EVERSION. report (may be NULL) is called with a sentence for
 * each thing found or done; when the call fails, the last one says why. KV_ECORRUPT: a subtree
 * cannot be read; no tree and no record is changed then, though the newest commit may have been
 * adopted as by any opening. The file is a new one to backups: kv_backup_apply of older ones does
 * not fit. O(file). */
KV_API int kv_db_repair(const char *path, uint32_t wait_ms,
                        void (*report)(void *context, const char *sentence), void *context);

/* ---- salvage ---- */

enum {                    /* kv_salvage_loss.kind */
       KV_LOSS_PAGE = 1,  /* a page is unusable; what was lost by that, if anything, follows */
       KV_LOSS_RANGE = 2, /* the entries between two keys */
       KV_LOSS_VALUE = 3, /* the entry of one key, since its value is unusable */
       KV_LOSS_NAMES = 4  /* names of trees, between two names: their entries may be found */
};

typedef struct kv_salvage_loss {
    uint32_t kind;    /* KV_LOSS_* */
    uint32_t after;   /* RANGE, NAMES: 1: from itself is not missing */
    kv_slice tree;    /* name of the tree; zero length: the main tree */
    kv_slice from;    /* RANGE, NAMES: missing are keys >= from (ptr NULL: from the first on) ... */
    kv_slice to;      /* ... and < to (ptr NULL: to the last). VALUE: from is the key */
    uint64_t entries; /* that are missing there, in this tree; UINT64_MAX: not known, possibly none,
                         or what was found there is old */
    uint64_t page;    /* the unusable one, or the first one of the value */
    const char *reason; /* PAGE, VALUE */
    uint64_t found;     /* RANGE: entries with keys of this range in the found trees of the new
                           database: what is missing is lost, or among them */
} kv_salvage_loss;

typedef struct kv_salvage_tree {
    kv_slice name;        /* zero length: the main tree */
    uint64_t entries;     /* in the new database */
    uint64_t missing;     /* from this tree: lost, or among what is in found trees */
    uint64_t lost_values; /* of those: only the value is unusable */
    uint32_t known;       /* 1: missing is all; 0: there may be more */
    uint32_t found;       /* 1: put together of pages whose tree is not known: lost+found-N */
    uint64_t elsewhere;   /* entries of found trees with keys of the ranges that are missing */
} kv_salvage_tree;

/* Each may be NULL. Slices and texts are valid during the call. Not 0 stops: KV_ECANCELED. */
typedef struct kv_salvage_options {
    size_t size; /* sizeof(kv_salvage_options) */
    int (*loss)(void *context, const kv_salvage_loss *loss);
    int (*tree)(void *context, const kv_salvage_tree *tree); /* each one, in the end */
    int (*progress)(void *context, const kv_progress *progress);
    void (*note)(void *context, const char *sentence); /* what was chosen and why; when the call
                                                          fails, the last sentence says why */
    void *context;
    uint32_t wait_ms; /* how long to wait for a writer, or for somebody who has it exclusively */
    uint32_t reserved;
} kv_salvage_options;

typedef struct kv_salvage_info {
    size_t size;           /* in: sizeof(kv_salvage_info) */
    uint64_t commit_id;    /* that was read; 0: not known */
    uint64_t entries;      /* in the new database */
    uint64_t lost_entries; /* at least, as far as known: those of missing that are nowhere, even if
                              all that found trees have of those keys is of them */
    uint64_t lost_values;  /* of those: only the value is unusable */
    uint64_t losses;       /* reported, those of pages apart; 0: all was recovered */
    uint64_t bad_pages;    /* unusable ones that the commit leads to */
    uint64_t trees;        /* named trees of the new database */
    uint64_t found_trees;  /* of those: lost+found-N */
    uint32_t guessed;      /* 1: both metas are damaged, so the commit is a guess */
    uint32_t unsealed;     /* 1: the seed is lost, so no checksum could be verified */
    uint64_t missing;      /* from their trees, as far as known: lost, or in found trees */
    uint64_t found;        /* entries in found trees */
} kv_salvage_info;

/* Reads what can be read of a damaged file into a new database at dest, and reports what cannot:
 * each unusable page, the ranges of keys that are missing, the keys whose value is missing. Where a
 * branch is unusable, its leaves are looked for in the whole file; a sound page that lies in the place
 * of another is read there; leaves whose tree cannot be told
 * go to trees named "lost+found-N". When both metas are damaged, the newest versions of the pages
 * are put together. Where the records of free pages are damaged too, an older version of a page may
 * take the place of a lost one, and deleted entries may come back: a note says so, and where that
 * may have happened is reported as a range with an unknown number of entries. If there is more than
 * one tree then, a lost branch gets only the leaves that its remains mention. Named snapshots are
 * left out; a note names each.
 *
 * Never writes to the file at path, but takes the writer's turn: a damaged file is looked at as a
 * whole, free pages and old versions too, which writers use again. So it waits for the running
 * write transaction, others wait meanwhile, and readers go on. options and info may be NULL. KV_OK:
 * the new database is complete and durable; info->losses tells whether it has everything. It has
 * the permissions of the damaged one but for the umask. Otherwise dest is not made. KV_EXISTS: dest
 * is taken. KV_NOTFOUND: nothing of it is readable. KV_ENOTKV, KV_ENOENT, KV_EACCESS, KV_EVERSION,
 * KV_ENOSPC; KV_EBUSY, for longer than wait_ms: somebody has it open exclusively, or is writing.
 * O(file). */
KV_API int kv_db_salvage(const char *path, const char *dest, const kv_salvage_options *options,
                         kv_salvage_info *info);

/* ---- looking inside a file, for tools ----
 *
 * kv_inspect reads a file page by page as it lies there, sound or damaged, and says what each page is.
 * It takes no locks and never writes, so while somebody changes the file two calls may see different
 * commits. docs/format.md explains the terms. One thread at a time. */

typedef struct kv_inspect kv_inspect;

/* KV_ENOTKV: no page of it looks like one of a database; KV_ENOENT, KV_EACCESS, KV_EVERSION. message
 * as for kv_db_open_explain. */
KV_API int kv_inspect_open(const char *path, kv_inspect **look, char *message, size_t message_size);
KV_API void kv_inspect_close(kv_inspect *look); /* NULL is fine */

enum kv_meta_state {
    KV_META_SOUND = 0,
    KV_META_TORN = 1,    /* magic or checksum are wrong */
    KV_META_UNKNOWN = 2, /* of another version of kv */
    KV_META_WRONG = 3    /* the checksum is right, but the numbers are impossible */
};

typedef struct kv_pointer {
    uint64_t page; /* 0: none */
    uint64_t birth;
} kv_pointer;

typedef struct kv_root {
    kv_pointer ptr;
    uint32_t level;
    uint32_t reserved;
    uint64_t entries, leaf_pages, branch_pages, large_pages;
} kv_root;

typedef struct kv_meta_info {
    size_t size;        /* in: sizeof(kv_meta_info) */
    int state;          /* enum kv_meta_state; all that follows is meaningless when it is torn */
    uint32_t chosen;    /* 1: its commit is the one that an open takes */
    const char *reason; /* why it is, or is not; valid until the inspection is closed */
    uint64_t id, durable, seal, walk, high_water, clock;
    uint32_t page_size;
    uint32_t kind; /* 1 durable, 2 strict, 3 lazy, 4 confirmation */
    uint64_t hash_seed;
    uint8_t file_id[16], boot_id[16];
    kv_root main, catalog, snapshots;
    kv_pointer log, map, blocked; /* records of free pages */
    uint32_t log_pages, map_levels, blocked_pages, delta_len;
} kv_meta_info;

/* kv_db_check of a file that no open takes, as of the commit that kv_db_salvage would read: which
 * invariant keeps it from being opened, and what else is wrong in what is there. KV_ECORRUPT: problems
 * were reported; KV_OK: none was found. What is written meanwhile may be taken for damage. O(file). */
KV_API int kv_inspect_check(kv_inspect *look, const kv_check_options *options);

/* slot: 0 or 1. */
KV_API int kv_inspect_meta(kv_inspect *look, unsigned slot, kv_meta_info *info);

/* Writes a copy of the file whose newest commit is that of the meta in this slot. KV_ECORRUPT: that
 * meta is not sound. KV_EXISTS: dest is taken. KV_ENOENT, KV_EACCESS, KV_ENOSPC. Pages that a newer
 * commit has overwritten are as that one left them: kv_db_check the copy. */
KV_API int kv_inspect_choose(kv_inspect *look, unsigned slot, const char *dest, char *message,
                             size_t message_size);

enum kv_page_type {
    KV_PAGE_OTHER = 0, /* no header that fits: never used, or damaged */
    KV_PAGE_LEAF = 1,  /* the numbers of the file format */
    KV_PAGE_BRANCH = 2,
    KV_PAGE_LOG = 3,
    KV_PAGE_MAP = 4,
    KV_PAGE_MAP_DIR = 5,
    KV_PAGE_BLOCKED = 6,
    KV_PAGE_META = 16,
    KV_PAGE_LARGE = 17 /* belongs to a large value; has no header */
};

enum kv_page_state {
    KV_STATE_UNKNOWN = 0, /* the records of free pages are damaged */
    KV_STATE_USED = 1,
    KV_STATE_FREE = 2,
    KV_STATE_DEAD = 3,   /* kept for a snapshot */
    KV_STATE_LEAKED = 4, /* recorded as used, but the commit does not lead to it */
    KV_STATE_BEYOND = 5  /* above the high-water mark */
};

enum kv_page_owner {
    KV_OWNER_NONE,
    KV_OWNER_MAIN,
    KV_OWNER_CATALOG,
    KV_OWNER_TREE,
    KV_OWNER_SPACE,
    KV_OWNER_SNAPSHOTS /* the list of named snapshots */
};

typedef struct kv_page_info {
    size_t size; /* in: sizeof(kv_page_info) */
    uint64_t page;
    uint32_t type;  /* enum kv_page_type */
    uint32_t state; /* enum kv_page_state */
    uint32_t owner; /* enum kv_page_owner, in the newest commit */
    uint32_t level;
    kv_slice tree;           /* KV_OWNER_TREE: its name; valid until the inspection is closed */
    uint64_t birth;          /* 0: not known */
    uint64_t count;          /* of entries or separators; space records: of runs or pointers */
    uint64_t first;          /* KV_PAGE_LARGE: page where the value begins */
    uint64_t named;          /* the header's own page number */
    uint64_t checksum;       /* that the header has */
    uint64_t right_checksum; /* that it should have; 0: the file's seed is lost */
    uint32_t heap, dead, prefix_len, fixed_key, fixed_value, hint_stride, flags;
    uint32_t needed;     /* 1: the newest commit or a named snapshot leads here; metas */
    const char *problem; /* "N9", "V3" ...: the first invariant that it breaks; "IO": it cannot be
                            read; "": none */
} kv_page_info;

/* Pages of the file, or below the high-water mark, whichever are more. */
KV_API uint64_t kv_inspect_pages(kv_inspect *look);

/* The first call visits the whole commit. KV_NOTFOUND: there is no such page. */
KV_API int kv_inspect_page(kv_inspect *look, uint64_t page, kv_page_info *info);

/* The raw bytes: at most size of them, *got tells how many (the page size). KV_EIO; KV_NOTFOUND. */
KV_API int kv_inspect_bytes(kv_inspect *look, uint64_t page, void *buf, size_t size, size_t *got);

enum {                      /* kv_page_slot.flags */
       KV_SLOT_SPECIAL = 1, /* leaf: large, compressed or expiring */
       KV_SLOT_LARGE = 2,
       KV_SLOT_COMPRESSED = 4,
       KV_SLOT_BROKEN = 8, /* special, but of no known form */
       KV_SLOT_TREE = 16   /* catalog: child is the root of the tree */
};

typedef struct kv_page_slot {
    uint32_t index;
    uint32_t flags;     /* KV_SLOT_* */
    kv_slice key;       /* leaf: key; branch: separator before the child, ptr NULL: none */
    kv_slice value;     /* leaf: stored bytes */
    uint64_t value_len; /* of the whole value */
    kv_pointer child;   /* branch: child; large value: its first page; space: what it points to */
    uint64_t pages;     /* of a large value */
    uint64_t entries;   /* branch: tally; KV_SLOT_TREE: entries of the tree */
} kv_page_slot;

/* Calls fn for each entry or child of a page, in order; for the next page of a log, chain or
 * directory. KV_ECORRUPT: its arrays make no sense. KV_NOTFOUND: it has no entries. fn: not 0 stops,
 * KV_ECANCELED. */
KV_API int kv_inspect_slots(kv_inspect *look, uint64_t page,
                            int (*fn)(void *context, const kv_page_slot *slot), void *context);

/* ---- transactions ---- */

enum { /* kv_txn_begin */
       KV_TXN_READ = 0,
       KV_TXN_WRITE = 1,    /* waits until the running write transaction has ended, for ever */
       KV_TXN_TRY = 2,      /* with WRITE: KV_EBUSY instead of waiting */
       KV_TXN_DURABLE = 16, /* with WRITE: durability of this commit */
       KV_TXN_STRICT = 32,
       KV_TXN_LAZY = 64
};

/* Begins a transaction. Read: pins the newest published commit; never waits, makes no system call
 * (a guest's begin does). Write: one at a time per file, over all processes. A thread that holds
 * the write transaction must not begin another, on any handle of the file: it would wait for
 * itself; it looks at the slot of each reader, which beside 50,000 of them takes milliseconds.
 * KV_EREADONLY; KV_EPOISONED; KV_EBUSY (TRY); KV_ENOENT: the path no longer leads to the file that
 * is open. Read: KV_ENOSPC: no disk space for one reader more than ever before. */
KV_API int kv_txn_begin(kv_db *db, uint32_t flags, kv_txn **txn);

/* As kv_txn_begin with KV_TXN_WRITE, but waits at most wait_ms milliseconds, then KV_EBUSY. */
KV_API int kv_txn_begin_wait(kv_db *db, uint32_t flags, uint32_t wait_ms, kv_txn **txn);

/* Ends the transaction and makes its changes visible, all or none, durable as chosen. A read
 * transaction is just ended. KV_ENOSPC, KV_ENOMEM, KV_EIO before the commit record is written:
 * nothing changed, the database goes on. On a full disk small transactions live on what is free
 * inside the file; after KV_ENOSPC larger ones do, too, so that the same one may succeed.
 * KV_EPOISONED: a write or flush failed at a point where the outcome is unknown; all processes
 * refuse further writing until the last one has closed the file, and the next open finds out. */
KV_API int kv_txn_commit(kv_txn *txn);

/* Ends the transaction without changes. NULL is fine. */
KV_API void kv_txn_abort(kv_txn *txn);

/* Moves a read transaction to the newest commit, as abort + begin. Its trees stay valid handles
 * (a tree that is gone, or was made again as one of the other kind, answers KV_NOTFOUND); its cursors
 * are unpositioned; views are invalid. After an error it is good only for abort. */
KV_API int kv_txn_refresh(kv_txn *txn);

/* Of a read transaction: the commit that it sees. Of a write transaction: the id that its commit will
 * have if it ends here; a change that takes it beyond its memory budget may raise it. */
KV_API uint64_t kv_txn_id(const kv_txn *txn);

/* The transaction's one clock reading, milliseconds since the epoch: the system's, but not smaller
 * than in the commit that the transaction sees (kv_db_reset_clock). Of a read transaction that sees
 * neither named trees nor a main tree in which an entry ever expired, that of the kernel's last
 * tick: some milliseconds less. */
KV_API uint64_t kv_txn_now(const kv_txn *txn);

/* Savepoints of a write transaction, nested like brackets. rollback_to undoes everything since the
 * savepoint and keeps it; release forgets it (and those inside) and keeps the changes. Both
 * invalidate cursors' positions and views. Trees opened since the savepoint and created inside
 * become invalid by rollback. KV_NOTFOUND: no such savepoint. O(named trees that are open) to set;
 * the first change of a page afterwards copies it. To roll back: O(pages that the transaction has
 * changed). A transaction beyond its memory budget makes the file longer with each page that it
 * writes early below a savepoint, since it may be brought back. */
KV_API int kv_txn_savepoint(kv_txn *txn, uint32_t *savepoint);
KV_API int kv_txn_rollback_to(kv_txn *txn, uint32_t savepoint);
KV_API int kv_txn_release(kv_txn *txn, uint32_t savepoint);

/* ---- named snapshots ----
 *
 * A snapshot with a name outlives readers and restarts: it is a commit that stays readable until the
 * snapshot is dropped. Making one costs a commit and no space; afterwards it holds what later commits
 * replace, and the pages between it and the present are used again as ever. Names are bytes, at least
 * one and at most kv_db_stat.key_max. The list of snapshots is no part of the snapshots: restoring one
 * leaves the others as they are. Each call below that changes something is a write transaction of
 * its own, so a thread that holds a write transaction must not make it.
 *
 *     kv_snapshot_create(db, "before import", 13, 0);
 *     if (import(db) != 0)
 *         kv_snapshot_restore(db, "before import", 13, 0);
 *     kv_snapshot_drop(db, "before import", 13, 0);
 */

/* Gives the newest commit a name. Always a strict commit: what is lazy so far becomes durable with it.
 * flags: 0, or KV_TXN_TRY: KV_EBUSY instead of waiting for the writer's turn. KV_EXISTS;
 * KV_ETOOBIG; KV_EREADONLY; otherwise as kv_txn_begin and kv_txn_commit. O(named trees), and after each
 * create or drop the next write transaction reads the list: O(named snapshots). */
KV_API int kv_snapshot_create(kv_db *db, const void *name, size_t name_len, uint32_t flags);

/* Begins a read transaction of the commit that the name stands for, to be used and ended like any
 * other; kv_txn_id tells which commit it is, kv_txn_now the time of this call. It goes on when the
 * snapshot is dropped. kv_txn_refresh makes it one of the newest commit. KV_NOTFOUND. KV_EBUSY: the
 * name was given to another commit each time that it was looked at. Otherwise as kv_txn_begin. */
KV_API int kv_snapshot_open(kv_db *db, const void *name, size_t name_len, kv_txn **txn);

/* Makes the present what the snapshot is: all trees, in one commit, which readers see as they see
 * any other. The snapshot stays. flags: KV_TXN_TRY: KV_EBUSY instead of waiting for the writer's
 * turn; and the durability of the commit as for kv_txn_begin. KV_NOTFOUND. Reads and writes as many
 * pages as differ, no matter how large the rest is; when nothing does, there is no commit. */
KV_API int kv_snapshot_restore(kv_db *db, const void *name, size_t name_len, uint32_t flags);

/* Forgets the snapshot. What only it needed can be used again once the drop is durable. flags:
 * KV_TXN_TRY: KV_EBUSY instead of waiting for the writer's turn; and the durability of the commit as
 * for kv_txn_begin. KV_NOTFOUND. */
KV_API int kv_snapshot_drop(kv_db *db, const void *name, size_t name_len, uint32_t flags);

typedef struct kv_snapshot_info {
    kv_slice name;       /* valid during the call */
    uint64_t commit_id;  /* kv_txn_id of a transaction that opens it */
    uint64_t time_ms;    /* when it was made, since the epoch */
    uint64_t entries;    /* of all its trees */
    uint64_t held_pages; /* pages that no other snapshot and not the present needs */
    uint64_t reserved;
} kv_snapshot_info;

/* Calls fn for each snapshot in the order of names. fn returns 0 to go on; another value stops, and
 * KV_ECANCELED is returned. held_pages needs the space records, as kv_db_stat does, also with its
 * KV_EBUSY: O(pages that are kept for snapshots). */
KV_API int kv_snapshot_list(kv_db *db, int (*fn)(void *context, const kv_snapshot_info *snapshot),
                            void *context);

/* ---- trees ---- */

enum {                        /* kv_tree_open */
       KV_TREE_CREATE = 1,    /* create it when missing (write transactions) */
       KV_TREE_EXCLUSIVE = 2, /* with CREATE: KV_EXISTS when it is there */
       KV_TREE_MULTI = 4 /* several values for each key, see kv_multi_put; KV_EINVAL when the tree
                            is there and has one */
};

typedef struct kv_tree_options { /* of a new tree, kept in the file */
    size_t size;                 /* sizeof(kv_tree_options) */
    uint64_t compress_from; /* bytes: LZ4 for values this long, where that saves pages; 0 = never */
} kv_tree_options;

/* The main tree. Never fails; NULL of NULL only. */
KV_API kv_tree *kv_txn_main(kv_txn *txn);

/* Opens a named tree. options: only used when the tree is created; may be NULL. KV_NOTFOUND,
 * KV_EXISTS, KV_EREADONLY, KV_ETOOBIG (name longer than a key, or empty: KV_EINVAL). Opening the
 * same name again gives the same handle. */
KV_API int kv_tree_open(kv_txn *txn, const void *name, size_t name_len, uint32_t flags,
                        const kv_tree_options *options, kv_tree **tree);

/* Sets options of an existing tree, the main tree included; values already stored keep their
 * form. */
KV_API int kv_tree_configure(kv_tree *tree, const kv_tree_options *options);

/* Calls fn with each tree's name in order. fn must not change trees; not 0 stops: KV_ECANCELED. */
KV_API int kv_tree_list(kv_txn *txn, int (*fn)(void *context, kv_slice name), void *context);

/* Gives the tree another name. KV_EXISTS: it is taken. KV_EINVAL for the main tree. */
KV_API int kv_tree_rename(kv_tree *tree, const void *name, size_t name_len);

/* Removes all entries. O(pages). */
KV_API int kv_tree_clear(kv_tree *tree);

/* Removes the tree; its handle and cursors become invalid. The main tree cannot be dropped:
 * KV_EINVAL. O(pages). */
KV_API int kv_tree_drop(kv_tree *tree);

typedef struct kv_tree_info {
    size_t size; /* in: sizeof(kv_tree_info) */
    uint64_t entries;
    uint64_t leaf_pages, branch_pages, large_pages;
    uint32_t height; /* levels of pages; 0 = empty */
    uint32_t multi;  /* 1: KV_TREE_MULTI; entries counts pairs */
    uint64_t compress_from;
} kv_tree_info;

KV_API int kv_tree_stat(kv_tree *tree, kv_tree_info *info);

/* ---- single keys ---- */

/* The value of a key; value may be NULL when only the answer counts. KV_NOTFOUND. */
KV_API int kv_get(kv_tree *tree, const void *key, size_t key_len, kv_slice *value);

/* KV_OK or KV_NOTFOUND; touches no large value. */
KV_API int kv_exists(kv_tree *tree, const void *key, size_t key_len);

enum {                     /* kv_put, kv_reserve, kv_put_options.flags: one of them or none ... */
       KV_PUT_ABSENT = 1,  /* only if the key is absent: KV_EXISTS */
       KV_PUT_PRESENT = 2, /* only if it is present: KV_NOTFOUND */
       KV_PUT_EQUALS =
           4, /* kv_put_with: only if it has this very value: KV_NOTFOUND, KV_MISMATCH */
       /* ... and this: */
       KV_PUT_KEEP_EXPIRY = 8 /* not kv_reserve: an entry that is there keeps its expiry */
};

/* Stores value under key, replacing what was there, its expiry included. The bytes are copied.
 * KV_ETOOBIG, KV_EREADONLY. */
KV_API int kv_put(kv_tree *tree, const void *key, size_t key_len, const void *value,
                  size_t value_len, uint32_t flags);

/* As kv_put, but returns the place for value_len bytes, to be filled by the caller before the
 * next call on this transaction. The bytes are undefined until then. Never compressed. */
KV_API int kv_reserve(kv_tree *tree, const void *key, size_t key_len, size_t value_len,
                      uint32_t flags, void **place);

/* Removes a key. KV_NOTFOUND: it was not there. KV_ETOOBIG, KV_EREADONLY. */
KV_API int kv_del(kv_tree *tree, const void *key, size_t key_len);

/* ---- single keys: conditions, old values, changes that look first ----
 *
 * Each of these is one descent, whatever it finds. An old value is a view: valid until the next change
 * through the transaction; ptr NULL: the key was absent (an empty value has a pointer). Old values
 * are written with every result but an error. All of them: KV_ETOOBIG, KV_EREADONLY. */

/* Options for kv_put_with. Zero a kv_put_options, set size, then what you need. */
typedef struct kv_put_options {
    size_t size;    /* sizeof(kv_put_options) */
    uint32_t flags; /* KV_PUT_* */
    uint32_t reserved;
    kv_slice equals; /* KV_PUT_EQUALS: the value that the key must have */
    kv_slice *old;   /* receives the value that the key had; NULL: not wanted */
    uint64_t ttl_ms; /* milliseconds from kv_txn_now until the entry expires; 0: see expires_at */
    uint64_t expires_at; /* when it does, milliseconds since the epoch; 0: never. See below */
} kv_put_options;

/* As kv_put, with more conditions and the old value. KV_EXISTS, KV_NOTFOUND, KV_MISMATCH: the
 * condition does not hold, nothing was changed. options == NULL: none. KV_EINVAL: both ttl_ms and
 * expires_at are set. */
KV_API int kv_put_with(kv_tree *tree, const void *key, size_t key_len, const void *value,
                       size_t value_len, const kv_put_options *options);

/* Compare and swap: if the key has the expected value (NULL: is absent), it gets the desired one
 * (NULL: is removed). Else nothing is changed: KV_EXISTS, it was to be absent; KV_NOTFOUND, it is
 * absent; KV_MISMATCH, it has another value. *actual (actual may be NULL): the value that it had. With
 * desired == NULL this is delete-if-equal. */
KV_API int kv_cas(kv_tree *tree, const void *key, size_t key_len, const kv_slice *expected,
                  const kv_slice *desired, kv_slice *actual);

/* Gives the key the desired value (NULL: removes it), whatever it has; *old: that. */
KV_API int kv_swap(kv_tree *tree, const void *key, size_t key_len, const kv_slice *desired,
                   kv_slice *old);

/* Removes a key and returns its value. KV_NOTFOUND: it was not there. */
KV_API int kv_take(kv_tree *tree, const void *key, size_t key_len, kv_slice *value);

enum {                      /* what the fn of kv_update returns */
       KV_UPDATE_KEEP = 0,  /* leave everything as it is */
       KV_UPDATE_STORE = 1, /* store *value */
       KV_UPDATE_REMOVE = 2 /* remove the key, if it is there */
};

/* Changes a key as fn decides, which is called once: it looks at the value, old (NULL: the key is
 * absent), and says what becomes of it. *value must stay valid until kv_update returns; it may point
 * into *old. A negative result of fn, a KV_E* or its own, is returned, nothing was changed. fn must not
 * use the transaction. KV_EINVAL: it changed the transaction, or returned something else. */
KV_API int kv_update(kv_tree *tree, const void *key, size_t key_len,
                     int (*fn)(void *context, const kv_slice *old, kv_slice *value), void *context);

/* ---- single keys: numbers and parts of values ----
 *
 * A number is kept as 8 bytes, little-endian: two's complement, or IEEE 754 for a double. Or, with
 * KV_NUMBER_TEXT, as decimal text that people and the command read: -12, 0.5, 1e+100; no spaces, no
 * plus sign in front, no leading zeros, at most 64 bytes, a point in every locale. What is left of
 * the value is changed in one descent; KV_ETOOBIG, KV_EREADONLY. */

enum {                     /* flags of those on numbers; also KV_PUT_PRESENT: KV_NOTFOUND */
       KV_NUMBER_TEXT = 16 /* decimal text, not 8 bytes */
};

/* Adds delta, which may be negative, to the number under key; an absent key counts as initial, so that
 * it gets initial + delta. *result (result may be NULL): the new number. KV_EOVERFLOW: it would leave
 * the range, KV_ENOTNUMBER: the value is something else; nothing was changed. Of doubles only finite
 * ones are numbers (delta and initial: KV_EINVAL). */
KV_API int kv_incr(kv_tree *tree, const void *key, size_t key_len, int64_t delta, int64_t initial,
                   uint32_t flags, int64_t *result);
KV_API int kv_incr_double(kv_tree *tree, const void *key, size_t key_len, double delta,
                          double initial, uint32_t flags, double *result);

/* Lowers the number under key to this one, or raises it, unless it is as low (as high) already; an
 * absent key gets it. *result (may be NULL): what it then has. KV_ENOTNUMBER. */
KV_API int kv_put_min(kv_tree *tree, const void *key, size_t key_len, int64_t number,
                      uint32_t flags, int64_t *result);
KV_API int kv_put_max(kv_tree *tree, const void *key, size_t key_len, int64_t number,
                      uint32_t flags, int64_t *result);

/* Puts bytes behind the value; an absent key counts as empty. *length (may be NULL): of the new value.
 * KV_ETOOBIG: it would be longer than limit (0: KV_VALUE_MAX), nothing was changed. O(length). */
KV_API int kv_append(kv_tree *tree, const void *key, size_t key_len, const void *bytes, size_t len,
                     uint64_t limit, uint64_t *length);

enum kv_bits { KV_BITS_AND = 1, KV_BITS_OR = 2, KV_BITS_XOR = 3 };

/* Combines the value with bytes, bit by bit. An absent key counts as empty, and the shorter of the two
 * goes on with zeros: the new value is as long as the longer one. O(length). */
KV_API int kv_bits(kv_tree *tree, const void *key, size_t key_len, enum kv_bits how,
                   const void *bytes, size_t len);

/* ---- many keys ---- */

/* As n calls of kv_get, in a quarter of the time or less when the values lie far apart: the lookups
 * wait for memory together, sixteen at a time, and for the disk likewise. values and results (either
 * may be NULL) have n elements: where results[i] is KV_OK, values[i] is the value; everywhere else
 * values[i] is empty, with a pointer that is NULL. KV_OK: every key was looked up, whether or not it
 * was there; else the first error, and the other keys have their answers all the same. KV_EINVAL,
 * KV_EBADTXN, KV_EFORKED and KV_NOTFOUND (the tree is gone) leave values and results as they were.
 * Allocates nothing, but for compressed values. Keys in order, or near to each other, are a little
 * faster. */
KV_API int kv_get_many(kv_tree *tree, size_t n, const kv_slice *keys, kv_slice *values,
                       int *results);

/* As n calls of kv_put with these flags, in the order of the keys; pairs with equal keys keep their
 * order. What many puts in random order cost is mostly waiting for the pages that they change; here
 * each page is met once, and asked for ahead. Pairs whose condition does not hold are passed over:
 * KV_EXISTS or KV_NOTFOUND then tells that there were some. KV_ETOOBIG, KV_EREADONLY, KV_EINVAL:
 * nothing was changed. After other errors the transaction can only be aborted. O(n (log n + h)),
 * and 32 bytes of memory a pair. */
KV_API int kv_put_many(kv_tree *tree, size_t n, const kv_pair *pairs, uint32_t flags);

/* ---- expiry ----
 *
 * An entry may have an expiry, a time in milliseconds since the epoch. From that moment on no call
 * finds it: it is neither read nor listed, counted, ranked nor exported; a put takes its key for
 * absent. (Copies and backups take it along until it is swept.) What the time is, each transaction
 * asks once, when it begins (kv_txn_now), so nothing expires in the middle of one, and nothing comes
 * back. A savepoint, a snapshot and a batch judge by the time of their transaction.
 *
 * A value that is given whole (kv_put, kv_put_with, kv_reserve, kv_cas, kv_swap) has the expiry that
 * kv_put_with is told, or none; with KV_PUT_KEEP_EXPIRY only a new entry gets it. What changes a value
 * (kv_update, numbers, kv_append, kv_bits) leaves the expiry as it is. An expiry that has passed makes
 * the entry expire at once.
 *
 * An expired entry keeps its place in the file until kv_sweep, or a put of its key, removes it, and
 * until then is part of the statistics (kv_tree_stat, kv_db_stat). While a range has such entries,
 * counts, ranks and kv_cursor_nth in it also visit the leaves that hold them, and cursors step over
 * them. Trees without expiring entries pay nothing. */

#define KV_TTL_NEVER UINT64_MAX /* milliseconds that an entry without expiry has left */

/* What there is to know of an entry. */
typedef struct kv_entry_info {
    size_t size;         /* in: sizeof(kv_entry_info) */
    kv_slice value;      /* a view, as from kv_get */
    uint64_t stored_len; /* bytes that the value takes, compressed ones as they are stored */
    uint64_t expires_at; /* milliseconds since the epoch; 0: never */
    uint64_t ttl_ms;     /* milliseconds left, at least 1; KV_TTL_NEVER */
} kv_entry_info;

/* The value of a key with details. KV_NOTFOUND. */
KV_API int kv_get_info(kv_tree *tree, const void *key, size_t key_len, kv_entry_info *info);

/* Milliseconds that the entry has left, at least 1; KV_TTL_NEVER: it does not expire. KV_NOTFOUND.
 * Touches no large value. */
KV_API int kv_ttl(kv_tree *tree, const void *key, size_t key_len, uint64_t *ttl_ms);

/* Gives an entry another expiry, whatever it had: ttl_ms milliseconds from kv_txn_now, or a time
 * since the epoch. One that is not in the future makes the entry expire at once. The value stays, a
 * large one where it is. Nothing is written when the entry has that expiry already. KV_NOTFOUND,
 * KV_ETOOBIG, KV_EREADONLY. */
KV_API int kv_expire(kv_tree *tree, const void *key, size_t key_len, uint64_t ttl_ms);
KV_API int kv_expire_at(kv_tree *tree, const void *key, size_t key_len, uint64_t expires_at);

/* Takes the expiry away. Nothing is written when there is none. KV_NOTFOUND, KV_ETOOBIG,
 * KV_EREADONLY. */
KV_API int kv_persist(kv_tree *tree, const void *key, size_t key_len);

/* Puts the expiry off to ttl_ms milliseconds from kv_txn_now, but only if the entry gains
 * min_gain_ms by it: a session that is read often then dirties a page now and then, not each time.
 * It never shortens, and leaves an entry without expiry as it is. KV_OK whether or not something
 * was written. KV_NOTFOUND, KV_ETOOBIG, KV_EREADONLY. */
KV_API int kv_touch(kv_tree *tree, const void *key, size_t key_len, uint64_t ttl_ms,
                    uint64_t min_gain_ms);

/* How much a sweep may do. Zero it, set size, then what you need; 0: no limit. */
typedef struct kv_sweep_options {
    size_t size;          /* sizeof(kv_sweep_options) */
    uint64_t max_entries; /* to remove */
    uint64_t max_pages;   /* to visit; the ones begun are finished, and one leaf at least */
} kv_sweep_options;

typedef struct kv_sweep_result {
    size_t size;          /* in: sizeof(kv_sweep_result) */
    uint64_t removed;     /* entries */
    uint64_t pages;       /* visited: leaves with expired entries, and the branches above them */
    uint64_t next_expiry; /* when the next entry expires, milliseconds since the epoch, perhaps an
                             entry that the same transaction has removed; 0: none does */
    uint32_t done;        /* 1: nothing that has expired is left */
    uint32_t reserved;
} kv_sweep_result;

/* Removes what has expired, in the order of the keys, from one tree or from all of them. Reads only
 * what it must: each branch knows the least expiry below its children. A sweep that stops at a
 * limit is gone on with by the next one, at no cost for what the earlier ones have done. options
 * and result may be NULL. KV_EREADONLY; KV_EINVAL: a multi-value tree, where nothing expires. O(h +
 * leaves with expired entries). Commits can also sweep
 * a little, see kv_options.sweep_per_write; nothing is ever swept by itself. */
KV_API int kv_sweep(kv_tree *tree, const kv_sweep_options *options, kv_sweep_result *result);
KV_API int kv_sweep_all(kv_txn *txn, const kv_sweep_options *options, kv_sweep_result *result);

/* ---- ranges ---- */

enum {                         /* kv_range.flags */
       KV_RANGE_REVERSE = 1,   /* from the last key down */
       KV_RANGE_FROM_OPEN = 2, /* without the key from itself */
       KV_RANGE_TO_CLOSED = 4, /* with the key to itself */
       KV_RANGE_BRIEF = 8      /* of a cursor: a value is good until it gives the next one */
};

/* A set of neighbouring keys: those >= from and < to that begin with prefix. A NULL pointer
 * leaves that bound open (zero length with a pointer is the empty key). The bytes must stay
 * valid while a cursor uses the range. */
typedef struct kv_range {
    size_t size; /* sizeof(kv_range) */
    const void *from;
    size_t from_len;
    const void *to;
    size_t to_len;
    const void *prefix;
    size_t prefix_len;
    uint64_t limit; /* at most so many entries; 0 = all */
    uint32_t flags; /* KV_RANGE_* */
    uint32_t reserved;
} kv_range;

/* Removes the entries of a range (NULL: all); *deleted (may be NULL) tells how many. Whole
 * subtrees are cut: O(h + pages removed). */
KV_API int kv_del_range(kv_tree *tree, const kv_range *range, uint64_t *deleted);

/* Removes the first entry of a range (NULL: of the tree), or the last, and returns it: a queue, from
 * either end. first follows the range's direction; its limit means nothing. *entry is good until the
 * next change through the transaction. KV_NOTFOUND: there is none. KV_EREADONLY. O(h + entries before
 * it that have expired and were not swept). */
KV_API int kv_pop_first(kv_tree *tree, const kv_range *range, kv_pair *entry);
KV_API int kv_pop_last(kv_tree *tree, const kv_range *range, kv_pair *entry);

/* How many entries a range has (NULL: all). O(h): counts are kept in the tree. */
KV_API int kv_count(kv_tree *tree, const kv_range *range, uint64_t *count);

/* How many keys of the tree are smaller than key (which need not exist). O(h). */
KV_API int kv_rank(kv_tree *tree, const void *key, size_t key_len, uint64_t *rank);

/* ---- entries by number ----
 *
 * Entries have numbers: entry 0 is the first of a range in its direction, so with KV_RANGE_REVERSE the
 * last; a limit ends the range after so many. range NULL: the whole tree. All cost O(h): a tree
 * knows how many entries are below each of its pages. The key of a pair is valid until the next of
 * these calls on the transaction, or its end; its value is a view like any other, but in a multi-value
 * tree as short-lived as the key.
 *
 * The rank of a key in a leaderboard, the page that begins with entry 10,000, a sample, the median. */

/* Entry number n. KV_NOTFOUND: the range has no more than n entries. */
KV_API int kv_nth(kv_tree *tree, const kv_range *range, uint64_t n, kv_pair *pair);

/* An entry of the range, each with the same probability when random is a uniform random number of 64
 * bits, which is the caller's to make. KV_NOTFOUND: the range is empty. */
KV_API int kv_random(kv_tree *tree, const kv_range *range, uint64_t random, kv_pair *pair);

/* The entry at a percentile, by nearest rank: the first one such that percent of all entries are not
 * behind it; 0 is the first, 50 the median, 100 the last. KV_NOTFOUND: the range is empty. KV_EINVAL:
 * percent is not from 0 to 100. */
KV_API int kv_percentile(kv_tree *tree, const kv_range *range, double percent, kv_pair *pair);

/* Divides the range into parts of as many entries each, give or take one, as for threads that share a
 * scan: part i has the keys >= keys[i - 1] and < keys[i], the first one begins and the last one ends
 * where the range does. The direction does not matter: keys ascend. keys has room for parts - 1, *got
 * tells how many there are: fewer when there are fewer entries than parts, or when one key has the
 * pairs of several parts of a multi-value tree; no part is empty. Their bytes stand in buf;
 * (parts - 1) * kv_db_stat.key_max are always enough, KV_ETOOBIG: these were not. O(h) each. */
KV_API int kv_split(kv_tree *tree, const kv_range *range, size_t parts, kv_slice *keys, void *buf,
                    size_t size, size_t *got);

/* ---- what has changed ---- */

enum {                        /* kv_change.kind */
       KV_CHANGE_ADDED = 1,   /* key is new */
       KV_CHANGE_VALUE = 2,   /* key has another value */
       KV_CHANGE_REMOVED = 3, /* key is gone */
       KV_CHANGE_CREATED = 4, /* the tree is new; its entries follow as added */
       KV_CHANGE_DROPPED = 5  /* the tree is gone; its entries were reported as removed */
};

typedef struct kv_change {
    uint32_t kind; /* KV_CHANGE_* */
    uint32_t reserved;
    kv_slice tree;      /* its name; zero length: the main tree */
    kv_slice key;       /* CREATED, DROPPED: ptr NULL */
    kv_slice old_value; /* ptr NULL where there is none, and with KV_DIFF_KEYS */
    kv_slice new_value; /* likewise */
} kv_change;

enum {                  /* kv_diff_options.flags */
       KV_DIFF_KEYS = 1 /* report no values; large ones are then read only to compare them */
};

typedef struct kv_diff_options {
    size_t size; /* sizeof(kv_diff_options) */
    const void
        *tree; /* name of the only tree to look at; NULL: all trees; zero length: the main tree */
    size_t tree_len;
    const kv_range
        *range;     /* only these keys, of every tree; without limit or direction. NULL: all */
    uint32_t flags; /* KV_DIFF_* */
    uint32_t reserved;
    int (*change)(void *context, const kv_change *change); /* may be NULL; not 0 stops */
    void *context;
} kv_diff_options;

typedef struct kv_diff_info {
    size_t size; /* in: sizeof(kv_diff_info) */
    uint64_t added, changed, removed;
    uint64_t created, dropped; /* trees */
    uint64_t pages;            /* nodes that were read, of both snapshots together */
    uint64_t large_pages;      /* pages of large values that were read */
} kv_diff_info;

/* Reports what was changed from one snapshot to another: two read transactions of the same handle,
 * either of which may be the older. Calls options->change for each difference: the main tree first,
 * then the others by name; in each tree by key. Slices are valid during the call, in which neither
 * transaction may be used. A tree with another name is another tree: renaming is dropping and
 * creating. Options of trees, expiries, and how a value is stored, make no difference; of both
 * snapshots it is as if all were gone that has expired by the later kv_txn_now of the two.
 *
 * What the snapshots share is not read: a subtree under the same page with the same birth is the same
 * one. So the cost is proportional to the pages that changed in between, whatever the size of the
 * database; info->pages tells. (The method: both trees are walked at once in key order, as Merkle
 * trees are compared; where both walks stand before the same subtree, both pass it.)
 *
 * options NULL: counts only. info may be NULL; it is written whatever is returned, except for a
 * KV_EINVAL. KV_NOTFOUND: neither snapshot has the named tree. KV_ECANCELED: change asked to stop. */
KV_API int kv_diff(kv_txn *from, kv_txn *to, const kv_diff_options *options, kv_diff_info *info);

/* ---- waiting for changes ---- */

#define KV_FOREVER UINT32_MAX /* a timeout */

/* Waits until there is a commit after since_id, by any process that shares the file. now_id (may be
 * NULL): the newest one; since_id 0 asks for that at once. Lazy commits count too. Nothing is missed:
 * who passes on what the last call gave learns of every later commit, of several at once if need be.
 * KV_NOTFOUND: there was none for timeout_ms milliseconds (KV_FOREVER: no limit). KV_EINVAL: the handle
 * is immutable.
 *
 * The thread sleeps; the commit wakes it, within microseconds on an idle machine. A commit that nobody
 * waits for makes no system call for this. If the writer was killed between making its commit visible
 * and waking, those who wait notice within a second, or at the next commit. Nobody wakes a guest, which
 * looks every 10 ms. kv_db_close meanwhile: KV_EBUSY. */
KV_API int kv_db_wait(kv_db *db, uint64_t since_id, uint32_t timeout_ms, uint64_t *now_id);

typedef struct kv_watch_options { /* what is watched, as in kv_diff_options */
    size_t size;                  /* sizeof(kv_watch_options) */
    const void *tree; /* name of the only tree; NULL: all trees; zero length: the main tree */
    size_t tree_len;
    const kv_range *range; /* only these keys; without limit or direction. NULL: all */
} kv_watch_options;

typedef struct kv_watch_event {
    size_t size;      /* in: sizeof(kv_watch_event) */
    uint64_t from_id; /* up to this commit all was as at the last event, or when the watch began */
    uint64_t to_id;   /* in this one it is not; the newest commit */
    kv_txn *from;     /* read transactions of both, valid until the next call with the watch: */
    kv_txn *to;       /* kv_diff tells what has changed. Not to be ended or refreshed */
} kv_watch_event;

/* Watches a key, a range or prefix, a tree, or all: from the newest commit on. The bytes of options
 * are copied; options NULL: everything. A single key is a range:
 *
 *     kv_range key = {.size = sizeof key, .from = "lamp", .from_len = 4,
 *                     .to = "lamp", .to_len = 4, .flags = KV_RANGE_TO_CLOSED};
 *     kv_watch_options options = {.size = sizeof options, .tree = "", .range = &key};
 *
 * The tree need not exist: making and dropping it are changes. That an entry expires is none: only
 * commits are looked at, and both sides of a change as of one time. A watch keeps a read transaction
 * of the commit that it saw last, which holds back pages as any does; so call kv_watch_next soon
 * again, or close it. A watch is used by one thread at a time, except for kv_watch_cancel; several are
 * independent. It is closed before its database. KV_EINVAL: also when the handle is immutable. */
KV_API int kv_watch_open(kv_db *db, const kv_watch_options *options, kv_watch **watch);

/* The read transaction of the commit that the watch saw last, at first that of kv_watch_open: what it
 * shows and what kv_watch_next reports fit together without a gap. Valid until the next call of
 * kv_watch_next or kv_watch_close; not to be ended or refreshed. */
KV_API kv_txn *kv_watch_txn(kv_watch *watch);

/* Waits until what is watched has changed, and tells between which commits (event may be NULL).
 * Changes that were taken back meanwhile, or that do not concern what is watched, are not reported;
 * those of several commits are reported as one, so that a slow watcher is never behind. Waiting is
 * that of kv_db_wait, and a commit costs the watcher a kv_diff that ends at the first difference.
 * KV_NOTFOUND: nothing changed for timeout_ms milliseconds (KV_FOREVER: no limit); 0 just looks.
 * KV_ECANCELED: kv_watch_cancel was called. After an error the watch is where it was, and the call
 * can be repeated. */
KV_API int kv_watch_next(kv_watch *watch, uint32_t timeout_ms, kv_watch_event *event);

/* Makes the running call of kv_watch_next, or else the next one, and all later ones return
 * KV_ECANCELED. From any thread. */
KV_API void kv_watch_cancel(kv_watch *watch);

/* Ends the watch. NULL is fine. */
KV_API void kv_watch_close(kv_watch *watch);

/* ---- tuples: keys of several parts ----
 *
 * A tuple is a list of typed parts, such as ("order", "2024-01-15", 1001), encoded as a key so that the
 * order of keys is the order of tuples: part by part, each by its own type, a tuple before those that
 * continue it. Texts joined by hand ("order:2024-01-15:1001") sort numbers as text, and mean something
 * else as soon as a part has the separator in it.
 *
 *     kv_part parts[] = {
 *         {.type = KV_PART_TEXT, .bytes = {"order", 5}},
 *         {.type = KV_PART_TEXT, .bytes = {"2024-01-15", 10}},
 *         {.type = KV_PART_UINT, .number = 1001},
 *     };
 *     uint8_t key[64];
 *     size_t len;
 *     if (kv_tuple_encode(parts, 3, key, sizeof key, &len) == KV_OK)
 *         kv_put(tree, key, len, "2 lamps", 7, 0);
 *     kv_tuple_encode(parts, 2, key, sizeof key, &len);     // all orders of that day:
 *     kv_range day = {.size = sizeof day, .prefix = key, .prefix_len = len};
 *
 * The encoding of a tuple is the beginning of the encodings of exactly those tuples that begin with its
 * parts, and of no other: as the prefix of a kv_range it gives them, itself included. Each tuple has
 * one encoding. docs/keys.md has its bytes, which will not change. The calls use no database, allocate
 * nothing and may be made by any thread at any time. */

enum { /* kv_part.type. Parts of different types sort in this order; all integers are of one type */
       KV_PART_NULL = 1,
       KV_PART_BOOL = 2, /* number: 0 false, else true; false is smaller */
       KV_PART_INT = 3,  /* integer */
       KV_PART_UINT = 4, /* number; INT and UINT of one value are the same part */
       KV_PART_DOUBLE =
           5,             /* real; -0 is stored as 0, every NaN as one that sorts behind infinity */
       KV_PART_BYTES = 6, /* bytes, any; ordered like keys */
       KV_PART_TEXT = 7,  /* bytes, meant as UTF-8, which is not checked; ordered like keys */
       KV_PART_TUPLE = 8, /* begins a nested tuple; its parts follow, up to the matching ... */
       KV_PART_END = 9    /* ... end; no part by itself */
};

enum {                   /* kv_part.flags */
       KV_PART_DESC = 1, /* sorts in descending order; of TUPLE: the nested tuple as a whole */
       KV_PART_OPEN =
           2 /* BYTES, TEXT, for ranges: the last part, which may go on. The encoding is the
                            prefix of all tuples whose part begins so, and no tuple itself */
};

#define KV_TUPLE_DEPTH_MAX 32 /* nested tuples inside one another */

typedef struct kv_part {
    uint32_t type;   /* KV_PART_* */
    uint32_t flags;  /* KV_PART_DESC, KV_PART_OPEN */
    int64_t integer; /* INT; after reading, number and integer are the same 64 bits */
    uint64_t number; /* UINT, BOOL */
    double real;     /* DOUBLE */
    kv_slice bytes;  /* BYTES, TEXT */
} kv_part;

/* Encodes a tuple of n parts into buf. *len is its length, also with KV_ETOOBIG: the size that is
 * needed. Sizes: null and bool 1, an integer 1 and as many bytes as its value needs (0 for zero, at
 * most 8), a double 9, bytes and text 2 + length + 1 for each byte 00 and 01, a nested tuple 2 more
 * than its parts. KV_EINVAL: an unknown type or flag, a nested tuple without its end or too deep, a
 * part behind one with KV_PART_OPEN. O(bytes). */
KV_API int kv_tuple_encode(const kv_part *parts, size_t n, void *buf, size_t size, size_t *len);

/* Where the reading of a tuple stands. The members are the library's own. */
typedef struct kv_tuple_reader {
    const void *key;
    size_t key_len, at;
    void *room;
    size_t room_size, used;
    uint64_t flips;
    uint32_t depth, reserved;
} kv_tuple_reader;

/* Begins to read a key, which must stay as it is meanwhile. Texts and bytes are decoded into room,
 * one behind the other; key_len bytes are always enough. */
KV_API int kv_tuple_begin(kv_tuple_reader *reader, const void *key, size_t key_len, void *room,
                          size_t size);

/* The next part, as it was given to kv_tuple_encode: also the ends of nested tuples. An integer is
 * an INT, or a UINT when it is greater than INT64_MAX. bytes are valid as long as the room. Any bytes
 * may be read: KV_NOTFOUND: behind the last part. KV_EINVAL: from here on this is no tuple. KV_ETOOBIG:
 * the room is used up. The reader then stays where it was. O(bytes of the part). */
KV_API int kv_tuple_next(kv_tuple_reader *reader, kv_part *part);

/* Writes the tuple for people, with a final zero: ("order", -5, 2.5, true, null, x"00ff", desc 7,
 * ("nested", 1)). *len is the length without the zero, also with KV_ETOOBIG: one byte more is needed.
 * In texts, \t \n \r \\ \" and \xNN stand for bytes that would not print; bytes from 80 on stand for
 * themselves. Doubles have a point or exponent, or are inf, -inf, nan. The locale does not matter.
 * KV_EINVAL: the key is no tuple. */
KV_API int kv_tuple_print(const void *key, size_t key_len, char *buf, size_t size, size_t *len);

/* Encodes a tuple that is written so: what kv_tuple_print writes comes back as the same key. A text or
 * x"" that is followed by ... has KV_PART_OPEN: ("user", "al"...). *len as for kv_tuple_encode.
 * KV_EINVAL: a mistake, at byte *wrong (may be NULL), or an integer or double beyond 64 bits. */
KV_API int kv_tuple_parse(const char *text, size_t text_len, void *buf, size_t size, size_t *len,
                          size_t *wrong);

/* ---- incremental backups ----
 *
 * A backup tells in a stream of bytes what was changed up to one commit since an earlier one, whose
 * id is all that it takes: no snapshot of that commit has to be held. Applied to a copy of the
 * database at the earlier commit, or at any between the two, it makes that copy repeat the later one.
 *
 *     kv_db_copy(db, "copy.kv", 0);      // or: a backup since 0, applied to a new database
 *     ...                                // kv_db_info.origin_id of the copy: the commit it repeats
 *     kv_backup(txn, &(kv_backup_options){.size = .., .since = that id, .write = ..}, NULL);
 *     kv_backup_apply(copy, ..);         // at the other end of the pipe, or next week
 *
 * The copy is a database of its own, with commit ids of its own, that remembers which commit of its
 * original it repeats. An ordinary change makes it a database like any other, which no backup fits any
 * more. docs/backup-format.md describes the stream. */

typedef struct kv_backup_options {
    size_t size;                                                /* sizeof(kv_backup_options) */
    uint64_t since;                                             /* commit id; 0: everything */
    int (*write)(void *context, const void *bytes, size_t len); /* takes all of them; not 0 stops */
    void *context;
} kv_backup_options;

typedef struct kv_backup_info {
    size_t size;          /* in: sizeof(kv_backup_info) */
    uint8_t file_id[16];  /* of the original */
    uint64_t from, to;    /* commits of the original */
    uint64_t entries;     /* stated */
    uint64_t bytes;       /* of the backup */
    uint64_t pages;       /* making one: nodes that were read */
    uint64_t large_pages; /* making one: pages of large values that were read */
} kv_backup_info;

/* Makes a backup of the commit that a read transaction sees. Reads what was written since the commit
 * options->since, and nothing else: cost and size are proportional to that. An entry takes its
 * neighbours of the same page with it. A tree that was renamed since, or dropped and made again, is
 * backed up whole.
 *
 * A commit that a power cut could take back (KV_LAZY) is made durable first, as by kv_db_sync, since
 * the copy must not get ahead of the original. KV_EBUSY: somebody else writes for longer than a second;
 * or the handle is read-only, and so long nobody has made it durable. KV_MISMATCH: since is newer than
 * the transaction's commit. KV_ECANCELED: write asked to stop. info (may be NULL) is written whatever
 * is returned, except for a KV_EINVAL. */
KV_API int kv_backup(kv_txn *txn, const kv_backup_options *options, kv_backup_info *info);

typedef struct kv_apply_options {
    size_t size;                                             /* sizeof(kv_apply_options) */
    int64_t (*read)(void *context, void *bytes, size_t len); /* as read(2): how many came; 0: no
                                                                more will; negative: stop */
    void *context;
    uint32_t flags;   /* KV_TXN_DURABLE, KV_TXN_STRICT, KV_TXN_LAZY or none */
    uint32_t wait_ms; /* how long to wait for the writer's turn; 0: as long as it takes */
} kv_apply_options;

/* Applies the next backup of a stream, and reads to its last byte and no further, so that another can
 * follow. One write transaction: readers keep their snapshots, and after any failure, a crash
 * included, nothing has changed. Entries that are as they should be are not written.
 *
 * KV_NOTFOUND: the stream has ended. KV_MISMATCH: the backup does not fit, since the database is no
 * copy of the same original at a commit from info->from to info->to; a backup since 0 fits an empty
 * database too. (Its bytes are not read then; info->from and info->to are those of the backup.)
 * KV_EBACKUP: the backup is damaged, or ends too early. KV_ENOTKV, KV_EVERSION: it is none, or of
 * another version. KV_ETOOBIG: a key is too long for this page size. KV_ECANCELED: read asked to stop.
 * KV_EBUSY: the turn did not come within wait_ms; of the backup only its first bytes were read, so the
 * stream is to be read anew. Others as from kv_txn_begin and kv_txn_commit. */
KV_API int kv_backup_apply(kv_db *db, const kv_apply_options *options, kv_backup_info *info);

typedef struct kv_merge_options {
    size_t size; /* sizeof(kv_merge_options) */
    size_t n;    /* backups, the oldest first */
    int64_t (*read)(void *context, size_t number, void *bytes, size_t len); /* of backup `number`,
                                                                               from 0 on: as read(2) */
    int (*write)(void *context, const void *bytes, size_t len);             /* as in kv_backup */
    void *context;
} kv_merge_options;

/* Makes one backup of several, each of which leads on from those before it, as if it had been made
 * since the beginning of the first at the end of the last: a week of daily ones. It fits where applying
 * them one after the other would begin. (One may begin before the end of the one before it; the same
 * one twice brings nothing new.) All are read at once, each to its last byte and no further;
 * what was overwritten later is left out. Uses no database. O(n) for each entry, and buffers for each
 * backup: of thousands of small ones, merge a thousand at a time.
 *
 * message (may be NULL) receives a sentence about a failure, at most message_size bytes with the final
 * zero. info (may be NULL) is written whatever is returned, except for a KV_EINVAL. KV_MISMATCH: one
 * begins behind the end of those before it, or ends before it. KV_EBACKUP, KV_ENOTKV, KV_EVERSION:
 * as from kv_backup_apply. KV_ECANCELED: read or write asked to stop. What was written before a
 * failure is no backup. */
KV_API int kv_backup_merge(const kv_merge_options *options, kv_backup_info *info, char *message,
                           size_t message_size);

/* ---- batches ---- */

enum {                          /* kv_op.kind; what ends the batch when a condition does not hold */
       KV_OP_PUT = 1,           /* stores value under key */
       KV_OP_DEL = 2,           /* removes key, if it is there */
       KV_OP_DEL_RANGE = 3,     /* removes the keys >= key and < end; NULL leaves that bound open */
       KV_OP_DEL_PREFIX = 4,    /* removes the keys that begin with key */
       KV_OP_CHECK_ABSENT = 5,  /* key must be absent: KV_EXISTS */
       KV_OP_CHECK_PRESENT = 6, /* key must be there: KV_NOTFOUND */
       KV_OP_CHECK_VALUE = 7,   /* key must have this very value: KV_NOTFOUND, KV_MISMATCH */
       KV_OP_INCR = 8,          /* kv_incr by number, from initial */
       KV_OP_INCR_DOUBLE = 9,   /* kv_incr_double by real, from initial_real */
       KV_OP_MIN = 10,          /* kv_put_min of number */
       KV_OP_MAX = 11,          /* kv_put_max of number */
       KV_OP_AND = 12,          /* kv_bits with value */
       KV_OP_OR = 13,
       KV_OP_XOR = 14,
       KV_OP_APPEND = 15,    /* kv_append of value, up to limit */
       KV_OP_UPDATE = 16,    /* kv_update by update with context */
       KV_OP_POP_FIRST = 17, /* removes the first of the keys >= key and < end: KV_NOTFOUND */
       KV_OP_POP_LAST = 18,
       KV_OP_EXPIRE = 19,    /* kv_expire by ttl_ms, or kv_expire_at by expires_at, one of which is
                                not 0: KV_NOTFOUND */
       KV_OP_PERSIST = 20,   /* kv_persist: KV_NOTFOUND */
       KV_OP_TOUCH = 21,     /* kv_touch by ttl_ms, not 0, if it gains min_gain_ms: KV_NOTFOUND */
       KV_OP_MULTI_PUT = 40, /* multi-value trees: adds value to key's, if it is not there */
       KV_OP_MULTI_DEL = 41, /* removes value from key's, if it is there */
       KV_OP_MULTI_DEL_KEY = 42 /* removes all values of key */
};

enum { /* kv_op.flags; also KV_PUT_ABSENT (PUT, MULTI_PUT), KV_PUT_PRESENT (PUT, DEL, INCR to MAX,
          MULTI_DEL), KV_PUT_EQUALS
          (PUT: it must have the value end; DEL: the value value), KV_NUMBER_TEXT (INCR to MAX),
          KV_PUT_KEEP_EXPIRY (PUT) */
       KV_OP_CREATE_TREE =
           256,           /* PUT, INCR to UPDATE, MULTI_PUT: creates the tree when it is missing */
       KV_OP_PREFIX = 512 /* POP_FIRST, POP_LAST: of the keys that begin with key */
};

/* What an operation answers; its bytes lie in memory of the caller. */
typedef struct kv_op_result {
    void *room;       /* in: for the bytes of key and value */
    size_t room_size; /* in: KV_ETOOBIG when it is too small; needed then says what it takes */
    size_t needed;
    kv_slice key;   /* POP_*: of the entry that was removed */
    kv_slice value; /* POP_*: its value. PUT, DEL: the value before; ptr NULL: there was none */
    union {
        int64_t number;  /* INCR, MIN, MAX: the new number */
        double real;     /* INCR_DOUBLE: likewise */
        uint64_t length; /* APPEND: of the new value */
    };
} kv_op_result;

/* One operation: kind, key, and whatever else its kind speaks of. Zero the rest, the reserved words
 * above all: they are room for the kinds of later versions, so that the structure never grows. In a
 * tree that is missing no key is present, and who would store something there answers KV_NOTFOUND. */
typedef struct kv_op {
    uint32_t kind;  /* KV_OP_* */
    uint32_t flags; /* that the kind knows */
    kv_slice tree;  /* its name; zero length: the main tree */
    kv_slice key;   /* or the beginning of a range, or a prefix */
    kv_slice value; /* to store, or to compare with */
    kv_slice end;   /* of a range; PUT: to compare with */
    union {
        int64_t number;
        double real;
        uint64_t limit;
        uint64_t min_gain_ms;
        int (*update)(void *context, const kv_slice *old, kv_slice *value);
    };
    union {
        int64_t initial;
        double initial_real;
        void *context;
    };
    kv_op_result
        *result;     /* PUT, DEL, INCR to MAX, APPEND, POP_*: receives the answer; may be NULL */
    uint64_t ttl_ms; /* PUT, EXPIRE, TOUCH: milliseconds until it expires, or ... */
    uint64_t expires_at;  /* PUT, EXPIRE: ... the time when it does; PUT: both 0: never */
    uint64_t reserved[1]; /* 0 */
} kv_op;

typedef struct kv_write_result {
    size_t size;        /* in: sizeof(kv_write_result) */
    size_t failed_op;   /* index of the operation that ended the batch; n: none did */
    uint64_t commit_id; /* the commit from which on readers see the batch; 0 when it failed */
    uint64_t deleted;   /* entries that DEL, DEL_RANGE, DEL_PREFIX, POP_* and MULTI_DEL* removed */
} kv_write_result;

/* Does n operations in order, each seeing what those before it did, and commits: all of them, or
 * none when one does not return KV_OK. Any thread may call it at any time. Counters, transfers,
 * compare-and-swap are an operation or a few:
 *
 *     kv_op_result views = {0};
 *     kv_op ops[] = {
 *         {.kind = KV_OP_CHECK_VALUE, .key = {"lamp", 4}, .value = {"on", 2}},
 *         {.kind = KV_OP_INCR, .key = {"views", 5}, .number = 1, .result = &views},
 *     };
 *     int rc = kv_db_write(db, ops, 2, 0, NULL);   // KV_MISMATCH: it was not on
 *
 * Calls that arrive while a commit is under way wait, and are then committed together: one
 * transaction, one flush, for all of them, which makes many threads that write durably as fast
 * together as the disk allows. They keep the order in which they arrived, each is done or not done
 * by itself, and none makes its neighbours fail. A durable call also lets those run who shared the
 * commit before with others, in case that they come again at once: for a quarter of the time that
 * it took, about a millisecond at most, and ever more rarely as long as they do not come. Who is
 * always alone waits for nobody. A batch of many operations shares its commit with few others or
 * none.
 *
 * flags: KV_TXN_DURABLE, KV_TXN_STRICT, KV_TXN_LAZY or none, as for kv_txn_begin; batches that are
 * committed together get the strongest that one of them asked for. Compression and other options of a
 * tree that a batch creates: kv_tree_configure. A thread that holds a write transaction must not call
 * this (it would wait for itself).
 *
 * The update function of KV_OP_UPDATE may be called by another thread that is in kv_db_write, and more
 * than once, of which the last call counts; it must not call kv. A compare-and-swap from a value or
 * absent is a PUT with KV_PUT_EQUALS or KV_PUT_ABSENT, one to absent a DEL with KV_PUT_EQUALS. What
 * operations answer (kv_op.result) means something when the batch returns KV_OK, and as far as
 * KV_ETOOBIG speaks of it.
 *
 * result (may be NULL) is written whatever is returned, except when the call itself makes no sense.
 * KV_EXISTS, KV_NOTFOUND, KV_MISMATCH: the condition of operation failed_op does not hold, nothing
 * was changed. KV_ETOOBIG, KV_EOVERFLOW, KV_ENOTNUMBER and any other error with failed_op < n: that
 * operation failed, nothing was changed. KV_EINVAL with failed_op < n: the operation makes no sense,
 * whatever the database holds.
 * KV_EREADONLY. With failed_op == n, as from kv_txn_begin and kv_txn_commit: KV_EPOISONED (outcome
 * unknown, if the flush failed now), KV_ENOSPC, KV_EIO; everybody in the same commit gets it. */
KV_API int kv_db_write(kv_db *db, const kv_op *ops, size_t n, uint32_t flags,
                       kv_write_result *result);

/* ---- cursors ---- */

/* A cursor over the tree, or over a range of it (range may be NULL). It starts unpositioned: next
 * then goes to the first entry, prev to the last. With a range, it moves inside the range only,
 * first and next follow the range's direction, and limit counts the entries that next (or read)
 * returned since first; last, nth and seek go anywhere in the range. In a write transaction a
 * cursor finds its place again by key after changes that were not made through it. Values that were
 * compressed stay in memory until the transaction ends, since views do; with KV_RANGE_BRIEF those
 * that this cursor gave end when it gives the next value, or the next ones by kv_cursor_read, or is
 * closed: for going through a large tree. */
KV_API int kv_cursor_open(kv_tree *tree, const kv_range *range, kv_cursor **cursor);
KV_API void kv_cursor_close(kv_cursor *cursor);

/* Movement. KV_NOTFOUND: no such entry; the cursor is then before the first or behind the last
 * entry (after KV_SEEK_EQ: unpositioned; when a limit is used up: behind the entry that it was on).
 * After an error next and prev stay where they were, so nothing is skipped; the others leave the
 * cursor unpositioned. */
KV_API int kv_cursor_first(kv_cursor *cursor);
KV_API int kv_cursor_last(kv_cursor *cursor);
KV_API int kv_cursor_next(kv_cursor *cursor);
KV_API int kv_cursor_prev(kv_cursor *cursor);

enum kv_seek {
    KV_SEEK_LT = -2, /* the greatest key < key */
    KV_SEEK_LE = -1,
    KV_SEEK_EQ = 0,
    KV_SEEK_GE = 1,
    KV_SEEK_GT = 2 /* the smallest key > key */
};
KV_API int kv_cursor_seek(kv_cursor *cursor, enum kv_seek how, const void *key, size_t key_len);

/* To entry number n of the tree (or range), counted from 0, whatever the limit. O(h). */
KV_API int kv_cursor_nth(kv_cursor *cursor, uint64_t n);

/* The entry under the cursor. KV_NOTFOUND: it is not on one. Either output may be NULL. */
KV_API int kv_cursor_get(kv_cursor *cursor, kv_slice *key, kv_slice *value);

/* The same with details. KV_NOTFOUND. */
KV_API int kv_cursor_info(kv_cursor *cursor, kv_entry_info *info);

/* The next n entries at once, as n calls of next + get would give them; *got tells how many (0
 * at the end: KV_NOTFOUND). The cursor is on the last one. Keys stay valid until the cursor
 * moves again. */
KV_API int kv_cursor_read(kv_cursor *cursor, kv_pair *pairs, size_t n, size_t *got);

/* Replaces the value under the cursor; its expiry, if any, goes. */
KV_API int kv_cursor_put(kv_cursor *cursor, const void *value, size_t value_len);

/* Removes the entry under the cursor; the next step (next) goes to its successor, prev to its
 * predecessor. */
KV_API int kv_cursor_del(kv_cursor *cursor);

/* ---- sizes ----
 *
 * What entries take, told from their leaves: no large value is read. */

typedef struct kv_sizes {
    size_t size; /* in: sizeof(kv_sizes) */
    uint64_t entries;
    uint64_t key_bytes;   /* in a multi-value tree as they are stored, escapes and end included */
    uint64_t value_bytes; /* as they are read: compressed values count with their full length */
    uint64_t large_pages; /* of large values */
    uint64_t
        disk_bytes; /* their large pages, and of each leaf an equal share for each of its entries */
} kv_sizes;

/* Of the entry under the cursor. KV_NOTFOUND: it is not on one. */
KV_API int kv_cursor_sizes(kv_cursor *cursor, kv_sizes *sizes);

/* Of a range (NULL: all). O(leaves of the range). */
KV_API int kv_range_sizes(kv_tree *tree, const kv_range *range, kv_sizes *sizes);

/* ---- multi-value trees: several values under one key ----
 *
 * A tree that was created with KV_TREE_MULTI is a set of pairs, sorted by key and, under one key, by
 * value: tags of an article, members of a group, an index. Each pair is an entry: kv_count, kv_rank,
 * kv_nth and limits count pairs. Key and value of a pair together, with one byte more and one for each
 * byte 00 and 01 of the key, have at most kv_db_stat.key_max bytes: KV_ETOOBIG.
 *
 * Ranges are ranges of keys, with all their values; {from = to = key, KV_RANGE_TO_CLOSED} is the values
 * of one key. kv_del_range, kv_count, kv_rank, the entries by number (kv_split divides between keys)
 * and cursors work as in other trees; a cursor goes from value to value, its views of values are
 * valid like those of keys, and kv_cursor_seek knows keys alone: EQ, GE and GT lead to a key's
 * first value, LE and LT to its last. Calls that are about the one value of a key (kv_get, kv_put,
 * kv_pop_first, kv_ttl, kv_cursor_put ...) return KV_EINVAL here, and those below in other trees. To
 * pop a pair: kv_nth, then kv_multi_del.
 *
 * So it is with the operations of kv_db_write, with three exceptions: KV_OP_CHECK_PRESENT and
 * KV_OP_CHECK_ABSENT ask for any value of the key here, KV_OP_CHECK_VALUE for this one among them. */

/* Adds a pair. KV_EXISTS: it is there. KV_ETOOBIG, KV_EREADONLY. */
KV_API int kv_multi_put(kv_tree *tree, const void *key, size_t key_len, const void *value,
                        size_t value_len);

/* Removes a pair. KV_NOTFOUND: it was not there. KV_ETOOBIG, KV_EREADONLY. */
KV_API int kv_multi_del(kv_tree *tree, const void *key, size_t key_len, const void *value,
                        size_t value_len);

/* Removes a key with all its values; *deleted (may be NULL) tells how many. KV_NOTFOUND: it had none.
 * Whole subtrees are cut: O(h + pages removed). */
KV_API int kv_multi_del_key(kv_tree *tree, const void *key, size_t key_len, uint64_t *deleted);

/* KV_OK: the pair is there; KV_NOTFOUND. */
KV_API int kv_multi_has(kv_tree *tree, const void *key, size_t key_len, const void *value,
                        size_t value_len);

/* How many values a key has; 0 is an answer. O(h). */
KV_API int kv_multi_count(kv_tree *tree, const void *key, size_t key_len, uint64_t *count);

/* To a pair, by the order of pairs: GE is the first pair that is not before this one, and so the
 * first value >= value of the key, or else the next key. */
KV_API int kv_cursor_seek_pair(kv_cursor *cursor, enum kv_seek how, const void *key, size_t key_len,
                               const void *value, size_t value_len);

/* Over the other values of the key, in the range's direction to the first value met of the next
 * distinct key (in a reversed range that is its last), and back, to the first met on this way of
 * the key before: its last value (in a reversed range its first). Unpositioned: as kv_cursor_next
 * and kv_cursor_prev. A limit does not count these steps. */
KV_API int kv_cursor_next_key(kv_cursor *cursor);
KV_API int kv_cursor_prev_key(kv_cursor *cursor);

#ifdef __cplusplus
}
#endif

#endif
