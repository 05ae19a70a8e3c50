/* mutant.h - seeded bugs, each a rule broken on purpose, so that the tests can show that they would
 * notice. Only a build with KVI_MUTANTS has them; kvi_mutant selects one. */
#ifndef KVI_MUTANT_H
#define KVI_MUTANT_H

#define KVI_MUTANTS_EACH(X)                                                                        \
    /* commits, and the recovery from a crash */                                                   \
    X(FLUSH_SKIPPED)                                                                               \
    X(META_BEFORE_PAGES)  /* in a strict commit */                                                 \
    X(META_OVER_DURABLE)  /* into the slot that holds the newest durable commit */                 \
    X(META_UNCHECKED)     /* its checksum */                                                       \
    X(SLOT_APART)         /* derived from the newest commit, last-durable from another */          \
    X(NO_SEAL)            /* recovery ignores it */                                                \
    X(ID_NOT_BURNT)       /* after an abort */                                                     \
    X(ID_REISSUED)        /* no skip behind a commit that was rejected */                          \
    X(NEWEST_TRUSTED)     /* after a kill, as if it were durable */                                \
    X(NEWEST_DISCARDED)   /* because nobody knows whether it is durable */                         \
    X(FALLBACK_TO_ANY)    /* not only to the commit that the rejected one built on */              \
    X(BOOT_IGNORED)       /* a lazy tail over the cap is believed on any boot */                   \
    X(CONFIRMED_IN_PLACE) /* the confirmation goes into the commit's own slot */                   \
    X(FLUSH_REPEATED)     /* after a failure */                                                    \
    X(REMNANT_KEPT)       /* of a commit that did not happen, in the slot where it was written */  \
    X(LARGE_UNPROVEN)     /* recovery ignores the checksums of large values */                     \
    /* space */                                                                                    \
    X(REUSED_EARLY)     /* pages that the durable commit needs */                                  \
    X(PINS_IGNORED)     /* pages that a reader needs are used again */                             \
    X(GUESTS_IGNORED)   /* the same for a reader without the side file */                          \
    X(NAMED_IGNORED)    /* the same for a snapshot with a name */                                  \
    X(NAMED_FORGOTTEN)  /* the same once the newest commit has dropped it, durable or not */       \
    X(NAMED_LAZILY)     /* a snapshot is made by a lazy commit */                                  \
    X(NAMED_UNCHECKED)  /* opening one does not look again whether it is there */                  \
    X(BLOCKED_FREED)    /* blocked pages are free once the records are loaded */                   \
    X(DROPS_KEPT)       /* by an abort */                                                          \
    X(TAKEN_KEPT)       /* by an abort */                                                          \
    X(OWN_PAGE_REUSED)  /* an early-sealed page, by the transaction that wrote it */               \
    X(RENEWED_UNNAMED)  /* the same, where its id should have risen */                             \
    X(RENEWED_INSIDE)   /* the same, although a savepoint may bring the page back */               \
    X(DEATH_TOO_EARLY)  /* under the id that the transaction had when it dropped a page */         \
    X(TRUNCATED_EARLY)  /* before the shrinking commit is durable */                               \
    X(FOLLOWED_UNTAKEN) /* a page that another process took is as it was before */                 \
    /* what is read */                                                                             \
    X(PAGE_UNCHECKED)  /* its checksum */                                                          \
    X(LEVEL_UNCHECKED) /* of a node */                                                             \
    X(HEAP_UNCHECKED)  /* whether a slot lies in it */                                             \
    X(FUTURE_ALLOWED)  /* a child younger than its parent */                                       \
    X(OLD_VALUE_STAYS) /* in a page that its own transaction may write again */                    \
    X(LARGE_UNCHECKED) /* the checksum of a large value */                                         \
    /* readers */                                                                                  \
    X(NEWS_UNTOLD)        /* a commit wakes nobody */                                              \
    X(COPY_UNCONFIRMED)   /* the counter is not looked at again behind the copy of the record */   \
    X(RECORD_IN_USE)      /* publishing fills the one that readers are copying */                  \
    X(GUEST_UNCONFIRMED)  /* the metas are not read again behind a guest's pin */                  \
    X(BURIED_ALIVE)       /* pins are cleared without the owner's presence byte */                 \
    X(SLOTS_WITHOUT_ROOM) /* the table's growth is announced, the side file's forgotten */         \
    /* writers that take turns, joining and leaving */                                             \
    X(FLUSH_UNMARKED)    /* on the board: a dead writer's flush goes unnoticed */                  \
    X(POISON_UNSEEN)     /* that of another handle */                                              \
    X(TAIL_TRUSTED)      /* others' lazy commits, as if a flush of ours proved them */             \
    X(BURNT_UNSAID)      /* to the other handles */                                                \
    X(DEATH_IGNORED)     /* of a writer at work */                                                 \
    X(ADOPTED_UNSEEN)    /* a dead writer's commit, when the flush that adopts it fails */         \
    X(UNLOCKED_EARLY)    /* the writer's lock, before the commit is published */                   \
    X(LIFECYCLE_DROPPED) /* by the first one, when the side file is there */                       \
    X(SIDE_BELIEVED)     /* the side file, although others may use one of another name */          \
    X(FORK_UNSEEN)       /* the child uses the handle */                                           \
    /* batches */                                                                                  \
    X(MEMBER_KEPT)    /* the changes of one whose operation failed */                              \
    X(MEMBER_MISTOLD) /* one that failed is told of a commit */                                    \
    /* operations */                                                                               \
    X(EXPIRED_FOUND)      /* by get */                                                             \
    X(EXPIRED_COUNTED)    /* as if they were there */                                              \
    X(SWEPT_EARLY)        /* a second before it expires */                                         \
    X(EXPIRY_UNTOLD)      /* to the nodes above: nobody finds the entry to sweep it */             \
    X(SWAP_BY_LENGTH)     /* the value that is expected is not compared */                         \
    X(SUM_WRAPS)          /* beyond 64 bits */                                                     \
    X(NTH_SHORT)          /* the last entry of a leaf is the one before it */                      \
    X(KEYS_COUNTED)       /* in place of their values */                                           \
    X(SHARED_BY_BIRTH)    /* two nodes of one commit are the same to a comparison */               \
    X(EMPTIED_UNSAID)     /* that a tree lost all it had, to a backup */                           \
    X(NAMES_NOT_RESTORED) /* named trees stay as they are */                                       \
    /* backups made into one */                                                                    \
    X(MERGED_OLDEST) /* and not the newest, that says anything of an entry is believed */          \
    X(MERGED_NAMES)  /* the same with trees */                                                     \
    X(MERGED_KEPT)   /* a value that is kept is not looked for in older ones */                    \
    X(MERGED_EXPIRY) /* that with which the value came, and not the newest */                      \
    /* compaction of a file in use */                                                              \
    X(MOVED_UNNEEDED)  /* what a moved value leaves is free, whoever needs it */                   \
    X(MOVED_UNSAID)    /* to the entry, which leads to the old place */                            \
    X(MOVED_UNDROPPED) /* what a moved value leaves is lost */                                     \
    X(MOVED_UNCOUNTED) /* in the walk size */                                                      \
    X(MOVED_IN_FRONT)  /* to where metas may be looked for */                                      \
    X(GATHERED_LOST)   /* the page of a leaf whose entries went to the one before it */            \
    X(GATHERED_UNSAID) /* to the parent, whose separator stays */

enum kvi_mutant {
    KVI_MUTANT_NONE,
#define KVI_MUTANT_NUMBER(name) KVI_MUTANT_##name,
    KVI_MUTANTS_EACH(KVI_MUTANT_NUMBER)
#undef KVI_MUTANT_NUMBER
};

#ifdef KVI_MUTANTS
extern int kvi_mutant;
#define KVI_MUTANT(name) (kvi_mutant == KVI_MUTANT_##name)
#else
#define KVI_MUTANT(name) 0
#endif

#endif
