/* txn.h - an open database, and a transaction's view of it: snapshot, private pages, savepoints.
 *
 * Order of locks: the writer's turn (turn.mutex is held only for moments) before any other; the
 * remaining mutexes (errors, map, side file, guests) are leaves.
 */
#ifndef KVI_TXN_H
#define KVI_TXN_H

#include "dirty.h"
#include "file.h"
#include "lock.h"
#include "meta.h"
#include "mutant.h"
#include "readers.h"
#include "space.h"

/* A commit whose recovery would visit more than this is made durable in two flushes. */
#ifdef KVI_STRESS
#define KVI_WALK_CAP ((uint64_t)16 * 512)
#else
#define KVI_WALK_CAP ((uint64_t)1 << 20)
#endif

#define KVI_ID_SKIP ((uint64_t)1 << 20) /* ids passed over when earlier ones may have been seen */

#define KVI_SCRATCH_PAGES 3
#define KVI_SCRATCH_KEYS  3

/* In-process exclusion of writers: a flag, so that a transaction may end on another thread. */
typedef struct kvi_turn {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool taken; /* guarded by mutex */
    bool pause; /* guarded by being taken: another process waits, let it go first */
} kvi_turn;

/* Batches that wait for a leader (queue.h). */
typedef struct kvi_queue {
    pthread_mutex_t mutex; /* held only for moments, never while the turn is awaited */
    bool led; /* guarded by mutex, as are the next three: somebody leads or was told to */
    struct kvi_member *first;
    struct kvi_member **last; /* where the next one is linked in */
    _Atomic uint32_t queued;  /* members; read without the mutex, too */
    uint32_t company; /* guarded by leading, as are the others: who wrote at once, last time */
    uint64_t took;    /* nanoseconds of the newest group */
    uint32_t vain;    /* groups that shall not wait for company, since one did in vain ... */
    uint32_t skip;    /* ... those of them that are still to come */
} kvi_queue;

/* Where the metas stand. Guarded by the turn. */
typedef struct kvi_head {
    kvi_meta meta;         /* newest commit */
    kvi_id durable;        /* newest durable commit */
    unsigned durable_slot; /* the slot that holds it: never written */
    uint64_t durable_high_water;
    kvi_tree_desc durable_snapshots; /* the named snapshots that it lists */
    uint64_t tail_seal;              /* over the header pages with durable < birth <= meta.id */
    uint64_t tail_walk;  /* bytes of those and of large values; 0 when meta.id == durable */
    kvi_id next_id;      /* above every id that ever stood in a page or meta */
    bool skip;           /* next_id was raised by KVI_ID_SKIP: the next commit is durable */
    bool confirmed;      /* both slots hold this commit */
    bool unproven;       /* found by a handle that may not write: to be adopted first */
    bool foreign;        /* others have a part in the tail: written again before the next flush */
    uint64_t lazy_bytes; /* written since the last flush, metas included: 0 if nothing is lazy */
    kvi_id shrunk;       /* newest commit with a lower high-water mark, or with a longer file */
} kvi_head;

/* What readers are told of the newest commit. */
static inline kvi_snapshot kvi_head_snapshot(const kvi_head *head)
{
    return (kvi_snapshot){
        .id = head->meta.id,
        .durable = head->durable,
        .high_water = head->meta.high_water,
        .clock = head->meta.clock,
        .main = head->meta.main,
        .catalog = head->meta.catalog,
        .snapshots = head->meta.snapshots,
    };
}

/* How a handle stands to the file; see join.h. */
enum kvi_role {
    KVI_SOLE,      /* nobody else has it open */
    KVI_SHARER,    /* shares it through the side file */
    KVI_GUEST,     /* may only read, pins by locks */
    KVI_IMMUTABLE, /* nobody changes it; no locks */
};

/* The commits that the transactions of a guest have pinned. */
typedef struct kvi_guest {
    pthread_mutex_t mutex; /* guards what follows, and the locks on the pins */
    struct kvi_guest_pin {
        kvi_id id;
        uint32_t n; /* transactions */
    } * pins;
    size_t n, cap;
    kvi_id proven; /* commit that was pinned last: walked and flushed, or known durable */
} kvi_guest;

/* The ids of the named snapshots that a commit lists, ascending. */
typedef struct kvi_listed {
    kvi_ptr root; /* of the tree that they were read from */
    kvi_id *ids;
    size_t n, cap;
} kvi_listed;

/* A private node that a batch (seal.h) is to write. */
typedef struct kvi_unsealed {
    kvi_handle handle;
    kv_tree *tree;
    uint8_t *parent; /* private, too; NULL: the node is the tree's root */
    unsigned child;  /* of the parent */
    unsigned level;
} kvi_unsealed;

/* Memory of batches. */
typedef struct kvi_batch_room {
    kvi_unsealed *nodes;
    kvi_pgno *numbers;
    kvi_page_write *writes;
    size_t nodes_cap, numbers_cap, writes_cap;
} kvi_batch_room;

static inline void kvi_batch_room_free(kvi_batch_room *room, const kvi_os *os)
{
    os->free(os, room->nodes);
    os->free(os, room->numbers);
    os->free(os, room->writes);
}

struct kv_db {
    const kvi_os *os;
    uint8_t *alive; /* a page: its first byte is 1, in a forked child 0 */
    kvi_err err;
    char *path; /* resolved */
    enum kvi_role role;
    kvi_file file;
    kvi_lock lock;
    kvi_side side; /* sharers */
    kvi_readers readers;
    kvi_guest guest;
    kv_db *next_open; /* of this process; fork.c */
    uint64_t process; /* its number, for people */
    kvi_turn turn;
    kvi_queue queue;
    kvi_head head;           /* guarded by the turn */
    uint64_t head_published; /* guarded by the turn: the board's publications as of head */
    uint64_t grown;     /* guarded by the turn: bytes for which zeros are filled ahead (commit.c) */
    uint64_t reaped;    /* guarded by the turn: mono_ns when the dead were last looked for */
    kvi_os_stat opened; /* the file that is locked */
    atomic_int compacting; /* calls of kv_db_compact under way: new pages are placed low */
    /* What the space was told last about live snapshots, guarded by the turn. */
    kvi_id told_durable;       /* the durable commit; 0: it was told nothing */
    bool told_pins;            /* somebody was reading */
    kvi_listed listed[2];      /* guarded by the turn: by the newest commit, by the durable one */
    kvi_space *space;          /* guarded by the turn; NULL until first needed */
    kvi_dirty dirty;           /* guarded by the turn */
    kv_txn *spare;             /* guarded by the turn: the write transaction's memory, for reuse */
    kvi_batch_room batch_room; /* guarded by the turn: for reuse, too */
    uint8_t
        *scratch; /* guarded by the turn: KVI_SCRATCH_PAGES pages for splits and rebuilds, then a
                         key that is put, then three keys for each level of a tree */
    uint8_t *scratch_value; /* guarded by the turn: one page, the value that is being put */
    uint8_t boot_id[16];
    uint8_t file_id[16]; /* as the metas have it */
    bool readonly;
    bool close_sync;
    int durability; /* KV_DURABLE ... of commits that do not choose */
    uint64_t memory_budget;
    uint64_t lazy_sync_bytes;
    uint32_t sweep_per_write; /* entries */
    uint32_t leaf_spare;      /* percent of a leaf that ascending runs leave free */
    _Atomic bool poisoned;
    _Atomic uint32_t n_writers; /* open write transactions: 0 or 1 */
    _Atomic uint32_t n_waiting; /* threads that wait for a commit */
    _Atomic uint64_t flushes;
    _Atomic uint64_t commits;
    _Atomic uint64_t batches;
};

/* False in a forked child: the handle is its parent's. */
static inline bool kvi_alive_at(const uint8_t *alive)
{
    return KVI_LIKELY(*alive != 0) || KVI_MUTANT(FORK_UNSEEN);
}

static inline bool kvi_alive(const kv_db *db)
{
    return kvi_alive_at(db->alive);
}

/* Room for a key, one of KVI_SCRATCH_KEYS of its level. */
static inline uint8_t *kvi_scratch_key(const kv_db *db, unsigned level, unsigned i)
{
    uint32_t page_size = db->file.page_size;
    return db->scratch + (size_t)KVI_SCRATCH_PAGES * page_size +
           (size_t)(1 + level * KVI_SCRATCH_KEYS + i) * kvi_key_max(page_size);
}

/* Room for the key that is being put. */
static inline uint8_t *kvi_scratch_put_key(const kv_db *db)
{
    return db->scratch + (size_t)KVI_SCRATCH_PAGES * db->file.page_size;
}

static inline size_t kvi_scratch_size(uint32_t page_size)
{
    return (size_t)KVI_SCRATCH_PAGES * page_size +
           (size_t)(1 + (KVI_LEVEL_MAX + 1) * KVI_SCRATCH_KEYS) * kvi_key_max(page_size);
}

/* The way from a root to a leaf entry. */
typedef struct kvi_step {
    const uint8_t *page;
    kvi_ptr ptr;
    unsigned slot; /* branch: index of the child taken; leaf: of the entry */
} kvi_step;

typedef struct kvi_path {
    uint32_t owned; /* kvi_dirty.generation in which every node was made changeable; 0: not */
    unsigned depth; /* steps; 0: empty tree. steps[0] is the root, steps[depth - 1] the leaf */
    kvi_step steps[KVI_LEVEL_MAX + 1];
} kvi_path;

/* Where the next of ascending keys goes; see finger.h. */
typedef struct kvi_finger {
    uint8_t *leaf;       /* NULL: nowhere */
    uint64_t changes;    /* txn->changes when the leaf got its newest entry ... */
    uint32_t generation; /* ... and that of the private pages */
    unsigned above;      /* levels; in each, the tally of what the path leads to, from below: */
    uint8_t *tallies[KVI_LEVEL_MAX];
} kvi_finger;

/* A tree as a transaction sees it. */
struct kv_tree {
    kv_txn *txn;
    kvi_tree_desc desc;
    const uint8_t
        *name; /* NULL: the main tree or the catalog; a new one is on loan from the transaction */
    size_t name_len;
    kvi_slice
        opened; /* its name when the handle was made, behind it: a rollback before that gives it back */
    bool changed;         /* desc differs from what the catalog or meta says */
    bool raw;             /* a multi-value tree whose pairs are put as they are: copies */
    bool gone;            /* dropped, or created behind a savepoint that was rolled back */
    kvi_path put_path;    /* of the newest put */
    uint64_t put_changes; /* txn->changes behind it: the path is good while nothing else changes */
    bool ascending;       /* kvi_put_many is at work: each key is not less than the one before */
    kvi_handle run_leaf;  /* leaf of the newest insert, 0: none; to recognise ascending keys */
    unsigned run_next;    /* position behind that insert */
    kvi_finger finger;
    kv_tree *next;   /* opened before it */
    kv_tree *beside; /* in the same bucket; opened.h */
    size_t number;   /* trees that were opened before it */
};

/* Memory that lives as long as the transaction's views: decompressed values. */
typedef struct kvi_loan {
    struct kvi_loan *next;
    uint64_t len;
    uint8_t bytes[];
} kvi_loan;

/* Sums over header pages and bytes of large values, for the seal and the walk size. */
typedef struct kvi_sums {
    uint64_t seal; /* modulo 2^64 */
    uint64_t walk; /* bytes, modulo 2^64 while in flux */
} kvi_sums;

typedef struct kvi_savepoint {
    kvi_dirty_point dirty;
    size_t space; /* kvi_space_mark */
    kvi_sums dropped;
    size_t n_trees; /* saved descriptors that follow in txn->saved */
    size_t saved;   /* index of the first */
} kvi_savepoint;

typedef struct kvi_saved_tree {
    kv_tree *tree;
    kvi_tree_desc desc;
    bool changed;
    bool gone;
    const uint8_t *name;
    size_t name_len;
} kvi_saved_tree;

struct kv_txn {
    kv_db *db;
    bool write;
    bool failed; /* only abort is possible */
    kvi_snapshot base;
    kvi_view view;
    uint64_t now;    /* milliseconds since the epoch */
    kvi_claim claim; /* readers: the slot */
    kv_tree main;
    kv_tree catalog;
    kv_tree snapshots; /* the named ones: named.h */
    kv_tree *trees;    /* named trees opened, the newest first ... */
    kv_tree **buckets; /* ... and, when they are many, by name: opened.h */
    size_t n_buckets, n_trees;
    kv_cursor *cursors; /* open ones */
    void *cursor_room;  /* for one, behind this object; NULL while a cursor has it */
    kvi_loan *loans;    /* decompressed values, and new names of trees */
    kvi_loan *kept[2];  /* of them: old values that changes gave back, in turn */
    unsigned kept_turn;
    uint8_t *key_room; /* the key that kv_nth and its like gave last; NULL until then */
    uint64_t changes;  /* raised by every change and rollback: cursors compare it */

    /* write transactions */
    kvi_id id;    /* rises when what was written early is replaced early */
    bool settled; /* it rises no more */
    int durability;
    bool wrote;         /* pages went to the file: the id is burnt */
    bool sets_clock;    /* this commit sets the file's clock back to now */
    uint8_t origin[16]; /* of the database whose commit this one will repeat ... */
    kvi_id origin_id;   /* ... and which; 0: none */
    uint64_t waiting;   /* bytes that went to the file and that the disk was not told of */
    size_t appended;    /* leaves filled by ascending keys since the last early write */
    uint64_t retained;  /* bytes that stayed in buffers at the last early write */
    kvi_sums sealed;    /* pages written early */
    kvi_sums dropped;   /* pages with birth > head.durable that are no longer reachable */
    kvi_savepoint *savepoints;
    size_t n_savepoints, savepoints_cap;
    kvi_saved_tree *saved;
    size_t n_saved, saved_cap;
    kvi_extents lost; /* written early, then rolled back: not yet dropped for good */
};

/* Where cursor_room points when no cursor has it. */
static inline void *kvi_txn_cursor_room(kv_txn *txn)
{
    return txn + 1;
}

/* The answer of a transaction that is good only for abort. */
int kvi_txn_failed(const kv_txn *txn);

static inline int kvi_txn_usable(const kv_txn *txn)
{
    if (!kvi_alive(txn->db))
        return KV_EFORKED;
    return KVI_LIKELY(!txn->failed) ? KV_OK : kvi_txn_failed(txn);
}

/* The answer where bytes make no sense that did when they were verified. */
int kvi_txn_changed(kv_txn *txn);

/* The node of a handle that has no buffer: it was written early, or bytes that changed led here. */
int kvi_txn_sealed(kv_txn *txn, kvi_handle handle, unsigned level,
                   const uint8_t **page) KVI_MUST_CHECK;

/* The node that ptr leads to, private or not. The nodes of a path are on different levels, so no private one
 * is met again below itself, whatever pages say. */
static inline int kvi_txn_node(kv_txn *txn, kvi_ptr ptr, unsigned level, const uint8_t **page)
{
    if (KVI_UNLIKELY(ptr.birth == 0)) {
        const kvi_dirty *dirty = &txn->db->dirty;
        *page = txn->write ? kvi_dirty_find_node(dirty, ptr.page, level) : NULL;
        return KVI_LIKELY(*page != NULL) ? KV_OK : kvi_txn_sealed(txn, ptr.page, level, page);
    }
    return kvi_file_node(&txn->view, ptr, level, page);
}

/* Where the node is to be expected. It is not verified yet: its number may lead anywhere, and
 * asking for memory there does no harm. 0: nowhere. */
static inline uintptr_t kvi_txn_whereabouts(const kv_txn *txn, kvi_ptr ptr)
{
    if (ptr.birth != 0)
        return (uintptr_t)txn->view.map + (ptr.page << txn->view.file->page_shift);
    return txn->write ? (uintptr_t)kvi_dirty_find(&txn->db->dirty, ptr.page) : 0;
}

/* Asks for the lines of a node that a search begins with, so that they arrive together. */
static inline void kvi_prefetch_front(const uint8_t *page)
{
    for (unsigned line = 0; line < 4; line++)
        __builtin_prefetch(page + 64 * line);
}

static inline void kvi_txn_prefetch(const kv_txn *txn, kvi_ptr ptr)
{
    uintptr_t page = kvi_txn_whereabouts(txn, ptr);
    if (page)
        kvi_prefetch_front((const uint8_t *)page);
}

#define KVI_AHEAD_WHOLE 16384u /* of larger pages ... */
#define KVI_AHEAD_FRONT 1024u  /* ... the beginning: the rest would be gone before its turn */

static inline uint32_t kvi_txn_ahead_len(const kv_txn *txn)
{
    uint32_t size = txn->db->file.page_size;
    return size <= KVI_AHEAD_WHOLE ? size : KVI_AHEAD_FRONT;
}

/* Asks for all of a node. */
static inline void kvi_txn_prefetch_whole(const kv_txn *txn, kvi_ptr ptr)
{
    uintptr_t page = kvi_txn_whereabouts(txn, ptr);
    uint32_t len = page == 0 ? 0 : kvi_txn_ahead_len(txn);
    for (uint32_t at = 0; at < len; at += 64)
        __builtin_prefetch((const void *)(page + at));
}

/* Makes the node at *ptr changeable: itself, or a private copy, whose handle goes to *ptr and
 * its bytes to *page. The caller has reserved a page (kvi_dirty_reserve). On an error nothing
 * changed. */
int kvi_txn_touch(kv_txn *txn, kvi_ptr *ptr, unsigned level, const uint8_t **page) KVI_MUST_CHECK;

/* The tree no longer refers to this node. bytes: its content. */
int kvi_txn_drop_node(kv_txn *txn, kvi_ptr ptr, const uint8_t *bytes) KVI_MUST_CHECK;

/* The tree no longer refers to this run of a large value. */
int kvi_txn_drop_run(kv_txn *txn, kvi_ptr ptr, uint64_t pages) KVI_MUST_CHECK;

/* Before anything is written to the file: the id is burnt, also when the transaction aborts. */
void kvi_txn_writes(kv_txn *txn);

/* For kvi_file_sync_ahead: a lazy commit has no flush that would wait. */
static inline uint64_t *kvi_txn_waiting(kv_txn *txn)
{
    return txn->durability == KV_LAZY ? NULL : &txn->waiting;
}

/* Memory for a view, freed with the transaction. */
int kvi_txn_lend(kv_txn *txn, uint64_t len, uint8_t **bytes) KVI_MUST_CHECK;

/* Frees the first loans of a list, up to the one that is kept (NULL: all). */
void kvi_loans_end(kvi_loan **loans, const kvi_loan *kept, const kvi_os *os);

/* Frees what was lent since txn->loans was kept; one loan. */
void kvi_txn_unlend(kv_txn *txn, const kvi_loan *kept);
void kvi_txn_return(kv_txn *txn, kvi_loan *loan);

/* The same for what a change gives back: good until the change after the next one, since the next
 * may have it as an argument. */
int kvi_txn_keep(kv_txn *txn, uint64_t len, uint8_t **bytes) KVI_MUST_CHECK;

/* What was written early is there to be read: the view goes up to the high-water mark. */
int kvi_txn_look(kv_txn *txn) KVI_MUST_CHECK;

/* Before pages are written: those that the transaction wrote early and has replaced may be taken
 * again, and its id rises for that. Not while a savepoint may bring them back. */
int kvi_txn_renew(kv_txn *txn) KVI_MUST_CHECK;

/* The id that its commit will have if it ends here. */
kvi_id kvi_txn_commit_id(const kv_txn *txn);

/* Tells the space of pages that were written early and rolled back. */
int kvi_txn_drop_lost(kv_txn *txn) KVI_MUST_CHECK;

/* Savepoints, counted from 1. Rollback restores every tree handle that existed at the savepoint;
 * handles before *younger in txn->trees were made since, and are the caller's to refresh. */
int kvi_txn_savepoint(kv_txn *txn, uint32_t *savepoint) KVI_MUST_CHECK;
int kvi_txn_rollback_to(kv_txn *txn, uint32_t savepoint, kv_tree **younger) KVI_MUST_CHECK;
int kvi_txn_release(kv_txn *txn, uint32_t savepoint) KVI_MUST_CHECK;

/* Marks the transaction as good only for abort when rc is an error; returns rc. */
static inline int kvi_txn_spoil(kv_txn *txn, int rc)
{
    if (rc < 0)
        txn->failed = true;
    return rc;
}

#endif
