/* side.h - the side file, <database>-lock: what the processes that share a database tell each other.
 *
 * It holds nothing durable, exists only while the database is open for sharing, and is mapped
 * readable and writable by all who use it. One page with the head and the board, then the reader
 * slots. Everything is fixed-width and lock-free, the same for every C library and word size. Its
 * contents are bounds-checked: they may be wrong, memory is not touched outside the map.
 *
 * It is written in full before it is mapped, so that a full disk cannot fault a reader, and its
 * magic comes last. It is made, reset and removed only by who holds the database's lifecycle byte
 * exclusively; see join.c.
 *
 * Locks on the side file (OFD, on a descriptor that is never mapped):
 *   2^60        growth of the slots: exclusive
 *   2^61 + n    presence of handle n: exclusive while it lives. Who gets it knows that the former
 *               owner is dead.
 */
#ifndef KVI_SIDE_H
#define KVI_SIDE_H

#include "err.h"
#include "format.h"
#include "lock.h"
#include "os.h"
#include <stdatomic.h>

#define KVI_SIDE_MAGIC   0x656469732d766bull /* "kv-side" */
#define KVI_SIDE_VERSION 2
#define KVI_SIDE_HEAD    4096 /* bytes before the slots */

#define KVI_LOCK_GROWTH   ((uint64_t)1 << 60)
#define KVI_LOCK_PRESENCE ((uint64_t)1 << 61)

#ifdef KVI_STRESS
#define KVI_SLOTS_FIRST 2
#else
#define KVI_SLOTS_FIRST 64
#endif
#define KVI_SLOTS_MAX ((uint32_t)1 << 20)

/* What a transaction needs to know of the commit that it sees. */
typedef struct kvi_snapshot {
    kvi_id id;
    kvi_id durable; /* newest durable commit when this one was published */
    uint64_t high_water;
    uint64_t clock;
    kvi_tree_desc main;
    kvi_tree_desc catalog;
    kvi_tree_desc snapshots;
} kvi_snapshot;

/* What the next writer needs to know beside it. */
typedef struct kvi_handover {
    kvi_id next_id;
    uint64_t durable_high_water;
    uint64_t tail_seal;
    uint64_t tail_walk;
    uint64_t lazy_bytes;
    kvi_id shrunk;
    uint64_t publisher; /* handle; 0: several have a part in what is not yet durable */
    uint32_t durable_slot;
    uint32_t flags; /* KVI_HANDOVER_* */
} kvi_handover;

enum {
    KVI_HANDOVER_SKIP = 1,     /* the next commit is durable: ids were skipped */
    KVI_HANDOVER_UNPROVEN = 2, /* seen by one who may not write: to be adopted first */
};

typedef struct kvi_record {
    kvi_snapshot snapshot;
    kvi_handover handover;
} kvi_record;

#define KVI_SNAPSHOT_WORDS (sizeof(kvi_snapshot) / 8)
#define KVI_RECORD_WORDS   (sizeof(kvi_record) / 8)
_Static_assert(sizeof(kvi_snapshot) == 296 && sizeof(kvi_record) == 360, "whole words, no padding");

enum { /* kvi_board.flush */
       KVI_FLUSH_NONE = 0,
       KVI_FLUSH_BEGUN = 1,
       KVI_FLUSH_FAILED = 2, /* for good: writing is refused until all have left */
};

/* Where the newest commit is published: two records and a counter that selects one. */
typedef struct kvi_board {
    _Atomic uint64_t counter;      /* id << 1 | record */
    _Atomic uint64_t durable;      /* newest durable commit */
    _Atomic uint64_t burnt;        /* greatest id that may stand in a page */
    _Atomic uint32_t writing;      /* 1: a transaction has begun to write to the file */
    _Atomic uint32_t flush;        /* KVI_FLUSH_* */
    _Atomic uint64_t publications; /* how many there were */
    _Atomic uint32_t waiting;      /* 1: somebody waits for the writer's lock, or did lately */
    _Atomic uint32_t news;         /* who waits for a commit sleeps on this word; news.h */
    _Atomic uint32_t awaited;      /* 1: somebody does, or did lately */
    uint32_t reserved[3];
    _Atomic uint64_t record[2][KVI_RECORD_WORDS];
} kvi_board;

/* One pinned snapshot; a cache line of its own. */
typedef struct kvi_slot {
    _Atomic uint64_t owner;   /* generation << 32 | handle; handle 0 = unclaimed */
    _Atomic uint64_t pin;     /* commit id; 0 = none */
    _Atomic uint64_t since;   /* milliseconds since the epoch */
    _Atomic uint64_t process; /* its number, for people; nothing depends on it */
    uint64_t reserved[4];
} kvi_slot;
_Static_assert(sizeof(kvi_slot) == 64, "a slot is one cache line");

/* What all who use the file must agree on. */
typedef struct kvi_side_facts {
    uint64_t hash_seed;
    uint8_t file_id[16];
    uint32_t page_size;
    uint32_t reserved;
} kvi_side_facts;

typedef struct kvi_side_head {
    _Atomic uint64_t magic;
    _Atomic uint32_t version;
    _Atomic uint32_t n_slots; /* grows by doubling */
    kvi_side_facts facts;
    _Atomic uint32_t next_handle; /* where to look for a free presence number */
    uint32_t reserved[19];
    kvi_board board;
} kvi_side_head;
_Static_assert(offsetof(kvi_side_head, board) == 128, "the board has its own cache lines");
_Static_assert(sizeof(kvi_side_head) <= KVI_SIDE_HEAD, "head and board fit");

typedef struct kvi_side {
    const kvi_os *os;
    kvi_err *err;
    char *path;
    kvi_lock lock;
    int fd;              /* mapped; -1: none */
    kvi_side_head *head; /* NULL: not mapped */
    kvi_slot *slots;
    kvi_os_stat opened;     /* what the descriptor of the locks leads to, when it was opened */
    uint64_t identity;      /* a number for that, below 2^61 */
    uint32_t handle;        /* our presence number, from 1 on */
    _Atomic uint32_t known; /* slots that the file was seen to have room for */
    pthread_mutex_t mutex;  /* what threads of this handle do under the side file's locks */
} kvi_side;

/* The name beside that of the database. */
int kvi_side_init(kvi_side *side, const kvi_os *os, kvi_err *err,
                  const char *db_path) KVI_MUST_CHECK;

/* Unmaps and gives up everything but the name; the file stays. */
void kvi_side_detach(kvi_side *side);
void kvi_side_close(kvi_side *side); /* the name too */

/* Removes what an earlier owner may have left. The caller holds the lifecycle byte exclusively. */
int kvi_side_remove(kvi_side *side) KVI_MUST_CHECK;

/* Makes the file anew, with the permissions of the database, and takes a presence number; the magic
 * is still missing. The caller holds the lifecycle byte exclusively. */
int kvi_side_create(kvi_side *side, const kvi_os_stat *like) KVI_MUST_CHECK;

/* Completes it with the facts, then the magic. */
void kvi_side_announce(kvi_side *side, const kvi_side_facts *facts);

/* Opens the existing file and takes a presence number. KV_NOTFOUND: it is not there, or not yet
 * whole. KV_EVERSION, KV_EACCESS. The caller holds the lifecycle byte shared. */
int kvi_side_join(kvi_side *side) KVI_MUST_CHECK;

/* Is it as long as it was made, with its magic? A first sharer who may not remove it empties it. */
bool kvi_side_intact(kvi_side *side);

/* What somebody may ask who does not join: nothing is written or mapped. peek: a descriptor for the
 * caller to close, or -errno. The newest durable commit counts if somebody uses the file; 0: there is
 * none to be read. */
int kvi_side_peek(const kvi_side *side, uint64_t *identity) KVI_MUST_CHECK;
kvi_id kvi_side_peek_durable(const kvi_side *side, int fd);

/* Does the name still lead to the file that is open? */
bool kvi_side_current(const kvi_side *side);

/* Slots that may be touched; look: may all of them? */
uint32_t kvi_side_slots(kvi_side *side);
int kvi_side_look(kvi_side *side) KVI_MUST_CHECK;

/* Doubles the slots unless somebody else just did; n: what the caller saw. KV_ENOSPC, KV_ENOMEM
 * (the table has its greatest size). */
int kvi_side_grow(kvi_side *side, uint32_t n) KVI_MUST_CHECK;

/* Takes the presence byte of another handle: true, when it is dead. Between bury and bury_end nobody
 * gets its number. */
bool kvi_side_bury(kvi_side *side, uint32_t handle);
void kvi_side_bury_end(kvi_side *side, uint32_t handle);

#endif
