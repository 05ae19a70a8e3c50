/* salvage_impl.h - between salvage.c (the trees that can be walked, and what is written),
 * salvage_orphan.c (pages that no walk came by) and salvage_gap.c (bringing the two together). */
#ifndef KVI_SALVAGE_IMPL_H
#define KVI_SALVAGE_IMPL_H

#include "begin.h"
#include "carve.h"
#include "pgset.h"
#include "salvage.h"
#include "walk.h"

#define KVI_UNKNOWN UINT64_MAX /* a number of entries */
#define KVI_NO_TREE SIZE_MAX

/* A key that is kept; ptr NULL: none, the range is open there. */
typedef struct kvi_kept_key {
    uint8_t *ptr;
    size_t len;
} kvi_kept_key;

/* Keys of one stretch: from first to last. */
typedef struct kvi_stretch {
    kvi_kept_key first, last;
} kvi_stretch;

/* A subtree that nothing sound leads to. */
typedef struct kvi_orphan {
    kvi_ptr ptr;
    unsigned level;
    kvi_stretch keys;  /* first.ptr NULL: it has no entry that can be read */
    uint64_t entries;  /* by its tallies */
    bool catalog;      /* its entries describe trees, and it is a part of the catalog */
    bool describes;    /* its entries describe trees, which may all be empty or gone */
    bool pairs;        /* its entries could be a multi-value tree's */
    bool taken;        /* it has its place in a tree again */
    bool root;         /* of a whole tree, as the remains of the catalog say */
    kvi_pgno mentions; /* the unusable page whose remains lead here; 0: none */
    uint32_t at;       /* where the pointer stands there */
} kvi_orphan;

/* An orphan in a gap. */
typedef struct kvi_filled {
    kvi_stretch keys; /* the orphan's */
    uint32_t at;      /* of the gap's page: where its pointer stands; 0: not known */
} kvi_filled;

/* Where a node is missing below a tree. */
typedef struct kvi_gap {
    size_t tree; /* KVI_NO_TREE: it is in the catalog */
    unsigned level;
    kvi_ptr ptr;
    kvi_kept_key from, to;      /* keys from <= key < to */
    uint64_t entries;           /* that were below, or KVI_UNKNOWN */
    uint64_t found;             /* of those, below the orphans that were put here */
    bool guessed;               /* older versions may be among what was put here */
    uint32_t first_at, last_at; /* where the outermost children stand on its page; 0: not known */
    kvi_filled *filled;         /* by them, ascending when the gap is done */
    size_t n_filled, filled_cap;
} kvi_gap;

/* A tree of the new database. */
typedef struct kvi_rescued {
    kv_tree *tree;
    kvi_kept_key name;
    kvi_id birth;       /* of the newest page it is made of */
    bool found;         /* made of orphans: its own name is lost */
    bool guessed;       /* older versions may be among its pages */
    uint64_t expected;  /* entries, or KVI_UNKNOWN */
    uint64_t values;    /* lost values */
    uint64_t missing;   /* entries of its gaps, as far as known */
    uint64_t elsewhere; /* entries with keys of those gaps in found trees */
    kvi_pgno unsure;    /* an unusable page or value that was not reported; 0: none */
} kvi_rescued;

typedef struct kvi_rescue {
    const kvi_os *os;
    kv_salvage_options options;
    kv_salvage_info info;
    kvi_carve carve;
    kvi_pgset reached; /* pages that a walk came by */
    kvi_pgset missed;  /* ... and on which the node of a gap should be */
    kvi_space *space;  /* NULL: what it says is not to be believed */
    kv_db *db;         /* the new database */
    kv_txn *txn;
    kvi_rescued *trees;
    size_t n_trees, trees_cap;
    kvi_gap *gaps;
    size_t n_gaps, gaps_cap;
    kvi_orphan *orphans;
    size_t n_orphans, orphans_cap;
    size_t *orphan_at; /* by page: 1 + the orphan's number; 0: none; NULL: not listed yet */
    bool names_lost;   /* an entry of the catalog describes no tree */
    bool wiped;        /* a page in use is unusable, no gap, and nothing tells what it was */

    /* the walk that is under way */
    const kvi_gap *patch; /* the gap that is being filled; NULL: none */
    size_t target;        /* its tree, or that of the orphans; KVI_NO_TREE: as the walk says */
    const kvi_walked *current_of;
    size_t current; /* tree that current_of goes to */
    kvi_slice key;  /* of the newest entry */
    bool stale;     /* old versions: what they lack may be newer elsewhere */
    kvi_pgno done;
    uint64_t moved; /* pages that were read in the places of others */
} kvi_rescue;

/* ---- salvage.c ---- */

void kvi_salvage_note(kvi_rescue *s, const char *format, ...) KVI_PRINTF(2, 3);
int kvi_salvage_lose(kvi_rescue *s, const kv_salvage_loss *loss) KVI_MUST_CHECK;
int kvi_salvage_keep(kvi_rescue *s, kvi_slice key, kvi_kept_key *kept) KVI_MUST_CHECK;
int kvi_salvage_step(void *context, uint64_t pages) KVI_MUST_CHECK;

/* The tree of that name in the new database. desc: its options, and what is expected; NULL: a
 * found one, of unknown size. */
int kvi_salvage_tree(kvi_rescue *s, kvi_slice name, const kvi_tree_desc *desc,
                     size_t *tree) KVI_MUST_CHECK;

/* Copies what can be read below an orphan to the tree, or as a piece of the catalog. */
int kvi_salvage_walk(kvi_rescue *s, const kvi_orphan *orphan, const kvi_gap *gap,
                     size_t tree) KVI_MUST_CHECK;

/* The bytes of a page whose place does not have it, from where they are. As kvi_walk.elsewhere. */
int kvi_salvage_elsewhere(kvi_rescue *s, kvi_ptr ptr, uint8_t *buf) KVI_MUST_CHECK;

/* Is a node missing that should be on this page, which the file has? */
static inline bool kvi_gaps_have(const kvi_rescue *s, kvi_pgno page)
{
    return kvi_pgset_has(&s->missed, page);
}

static inline kvi_slice kvi_kept_slice(kvi_kept_key key)
{
    return kvi_slice_of(key.ptr, key.len);
}

/* Is the value a record of the list of named snapshots? */
bool kvi_salvage_names(const kvi_rescue *s, kvi_stored value, kvi_named *named);

/* ---- salvage_orphan.c ---- */

/* Looks at every page and lists the orphans, newest first. Then, which unusable page's remains lead to
 * which of them. */
int kvi_orphans_find(kvi_rescue *s) KVI_MUST_CHECK;

/* Without a meta: which pages the trees begin at. */
int kvi_orphans_roots(kvi_rescue *s) KVI_MUST_CHECK;

/* ---- salvage_gap.c ---- */

/* Puts orphans where a node is missing. */
int kvi_gaps_fill(kvi_rescue *s) KVI_MUST_CHECK;

/* Makes trees of the orphans that belong nowhere. */
int kvi_gaps_rest(kvi_rescue *s) KVI_MUST_CHECK;

/* Then: says what stays missing, and how much of it may be in those. */
int kvi_gaps_tell(kvi_rescue *s) KVI_MUST_CHECK;

#endif
