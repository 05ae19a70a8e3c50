/* backup.h - what was changed since a commit, without a snapshot of that commit.
 *
 * A page carries its birth, and every change rewrites the pages up to the root. So a subtree whose
 * birth is not above the commit `since` lies there as it did then. And by T6 (tree.h) an old node's
 * range has not gained a key by the end of a neighbour: what its range holds now, it held then. The
 * ranges of new leaves may hold anything else, and together with those of old subtrees they are all
 * there is. So a backup states, for each run of neighbouring new leaves, the range and everything in
 * it; what it does not speak of is as it was. That a key was deleted shows by a range that does not
 * have it.
 *
 * An old large value in a new leaf is the one that its key had: the backup says "kept", and does not
 * read it. Names and descriptors of trees are stated in the same way, from the catalog. A tree that
 * got its name behind `since` (kvi_tree_desc.placed) is stated whole.
 *
 * So a backup since s, made of commit t, also fits a copy at any commit between the two.
 *
 * What has expired is said like anything else, for it may be kept yet: by a writer that began before,
 * or when a clock that was wrong is set right.
 *
 * The records, behind a stream's header, are a byte each and what follows it: */
#ifndef KVI_BACKUP_H
#define KVI_BACKUP_H

#include "begin.h"
#include "stream.h"

enum { /* bound: 0, or 1 + length as a number, then the bytes; 0: open */
       KVI_SAYS_TREE =
           1, /* name length, name (none: main tree), flags, codec, compress_from, sequence
                                  as numbers: what follows up to the next TREE or NAMES is its */
       KVI_SAYS_FROM = 2,       /* bound: from here on the tree has only what is said */
       KVI_SAYS_PUT = 3,        /* key length, key, value length, value */
       KVI_SAYS_KEPT = 4,       /* key length, key: with the value that it had */
       KVI_SAYS_TO = 5,         /* bound: up to here */
       KVI_SAYS_NAMES_FROM = 6, /* bound: from here on there are only the trees that are said */
       KVI_SAYS_NAMES_TO = 7,   /* bound: up to here */
       KVI_SAYS_UNTIL = 8,      /* number: when the entry that is said next expires */
};

/* As kv_backup says. info is complete and zero. */
int kvi_backup(kv_txn *txn, const kv_backup_options *options, kv_backup_info *info) KVI_MUST_CHECK;

/* Makes sure that no crash can take back the commit that the transaction sees: those who copied it
 * would be ahead of the original. KV_EBUSY: it may yet be, and this handle cannot help it. */
int kvi_backup_settle(kv_txn *txn) KVI_MUST_CHECK;

#endif
