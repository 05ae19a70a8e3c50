/* walk.h - visiting every page that a meta leads to, or only those born after a commit.
 *
 * Used by recovery (births > durable, read with pread), by check and repair (everything), and by
 * copying. Since a change rewrites the path to its root, a subtree whose top page is old is
 * unchanged, and skipped unread.
 *
 * The walk itself holds what it meets against the invariants N1-N9 (node.h), T4 (tree.h) and:
 *   V1 a special entry has the form that value.h gives it
 *   V2 a large value's run is as long as its bytes, starts at or behind byte KVI_LARGE_FROM, ends
 *      before the high-water mark, and is not younger than its leaf
 *   V3 a large value's bytes have its checksum
 *   C1 a value of the catalog is a tree descriptor; a value of the snapshots tree is a named
 *      snapshot, of a commit before the one that wrote it
 */
#ifndef KVI_WALK_H
#define KVI_WALK_H

#include "file.h"
#include "meta.h"
#include "value.h"

/* A node on the way from the root to where the walk is. */
typedef struct kvi_walk_step {
    kvi_ptr ptr;
    uint8_t *bytes;   /* the walk's buffer, owned by it */
    unsigned child;   /* branch: the child that is being visited */
    uint64_t entries; /* kvi_walked.entries, before this node */
    uint64_t gaps;    /* kvi_walked.gaps, before this node */
    uint64_t expiry;  /* the least met in this node and below, 0: none */
} kvi_walk_step;

enum kvi_walk_kind {
    KVI_WALK_MAIN,
    KVI_WALK_CATALOG,
    KVI_WALK_NAMED,
    KVI_WALK_SNAPSHOTS,
};

/* The tree that is being visited. */
typedef struct kvi_walked kvi_walked;
struct kvi_walked {
    kvi_walked *outer; /* the catalog or snapshots tree whose entry led here */
    const kvi_tree_desc *desc;
    enum kvi_walk_kind kind;
    kvi_slice name;                                          /* of a named tree */
    uint64_t entries, leaf_pages, branch_pages, large_pages; /* met so far */
    uint64_t gaps; /* subtrees and values left out: old, broken, or by KVI_WALK_SKIP */
    uint8_t *key;  /* room for one */
    kvi_walk_step steps[KVI_LEVEL_MAX + 1]; /* by level, from desc->level down */
};

#define KVI_WALK_SKIP 1 /* result of kvi_walk.page: go on without what is below this page */

typedef struct kvi_walk kvi_walk;
struct kvi_walk {
    kvi_file *file;
    const kvi_meta *meta;
    kvi_id newer_than; /* only pages with a greater birth; 0: all */
    uint64_t budget;   /* bytes: the walk fails with KV_ECORRUPT when it would visit more (hostile
                          files that share subtrees); UINT64_MAX: none */
    uint64_t visited;  /* bytes so far, the pages of large values included */
    bool unsealed;     /* the file's seed is lost: pages are believed without their checksum */

    /* What to do; each may be NULL. Not KV_OK stops the walk with that result. */

    /* A header page of a tree or the space records, verified, before its children. */
    int (*page)(kvi_walk *walk, kvi_ptr ptr, const uint8_t *bytes);
    /* The same node of a tree, after its children. */
    int (*leave)(kvi_walk *walk, unsigned level);
    /* A large value whose run keeps V2; its bytes are unread. NULL: the walk verifies them (V3). */
    int (*large)(kvi_walk *walk, const kvi_large *large, const kvi_ptr *leaf);
    /* Every leaf entry, in order; of a large value, before it. */
    int (*entry)(kvi_walk *walk, kvi_slice key, kvi_stored value);
    /* All of walk->tree has been visited. */
    int (*done)(kvi_walk *walk);
    /* A page or value that cannot be read (KV_EIO) or is broken (KV_ECORRUPT; walk->invariant says
     * how, the file's error text says more). NULL: the walk stops with rc. KV_OK: go on without. */
    int (*broken)(kvi_walk *walk, kvi_ptr ptr, unsigned level, int rc);
    /* The place of a page does not have it: KV_OK with its bytes, verified, from elsewhere, or
     * KV_NOTFOUND. */
    int (*elsewhere)(kvi_walk *walk, kvi_ptr ptr, uint8_t *buf);
    void *context;

    /* For the callbacks to read. */
    kvi_walked *tree; /* NULL while the space records are visited */
    kvi_id snapshot;  /* of the named snapshot that is visited, which may share its pages with
                              the present and with newer ones; 0: none */
    kvi_slice snapshot_name;
    const char *invariant; /* "N4"; NULL: none, the page could not be read */

    /* The walk's own. */
    struct kvi_walk_past *past; /* the named snapshots */
    size_t n_past, cap_past;
};

/* One tree. */
int kvi_walk_tree(kvi_walk *walk, const kvi_tree_desc *desc, enum kvi_walk_kind kind,
                  kvi_slice name) KVI_MUST_CHECK;

/* All of walk->meta: main tree, catalog and the trees it names, snapshots, those and their trees from
 * the newest to the oldest, space records. */
int kvi_walk_all(kvi_walk *walk) KVI_MUST_CHECK;

/* The same without the space records. */
int kvi_walk_trees(kvi_walk *walk) KVI_MUST_CHECK;

/* Checks the bytes of a large value against its checksum, reading with pread in pieces; each piece
 * is handed to sink (may be NULL). */
int kvi_walk_large(kvi_file *file, const kvi_large *large,
                   int (*sink)(void *context, uint64_t offset, const uint8_t *bytes, size_t len),
                   void *context) KVI_MUST_CHECK;

/* Says what is wrong where: the code, with a sentence about page and invariant. */
int kvi_walk_fail(kvi_walk *walk, kvi_ptr ptr, const char *invariant, const char *sentence);

#endif
