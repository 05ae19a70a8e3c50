/* mutant.h - seeded bugs, each a rule of recovery broken on purpose, so that the crash recorder can
 * show that it would notice. Only a build with KVI_MUTANTS has them; kvi_mutant selects one. */
#ifndef KVI_MUTANT_H
#define KVI_MUTANT_H

enum kvi_mutant {
    KVI_MUTANT_NONE,
    KVI_MUTANT_FLUSH_SKIPPED,
    KVI_MUTANT_META_BEFORE_PAGES,  /* in a strict commit */
    KVI_MUTANT_NO_SEAL,            /* recovery ignores it */
    KVI_MUTANT_ID_NOT_BURNT,       /* after an abort */
    KVI_MUTANT_NEWEST_TRUSTED,     /* after a kill, as if it were durable */
    KVI_MUTANT_NEWEST_DISCARDED,   /* because nobody knows whether it is durable */
    KVI_MUTANT_CONFIRMED_IN_PLACE, /* the confirmation goes into the commit's own slot */
    KVI_MUTANT_REUSED_EARLY,       /* pages that the durable commit needs */
    KVI_MUTANT_DROPS_KEPT,         /* by an abort */
    KVI_MUTANT_OWN_PAGE_REUSED,    /* an early-sealed page, by the transaction that wrote it */
    KVI_MUTANT_TRUNCATED_EARLY,    /* before the shrinking commit is durable */
    KVI_MUTANT_FLUSH_REPEATED,     /* after a failure */
    KVI_MUTANT_FLUSH_UNMARKED,     /* on the board: a dead writer's flush goes unnoticed */
    KVI_MUTANT_TAIL_TRUSTED,  /* another handle's lazy commits, as if a flush of ours proved them */
    KVI_MUTANT_BURNT_UNSAID,  /* to the other handles */
    KVI_MUTANT_DEATH_IGNORED, /* of a writer at work */
    KVI_MUTANTS_END,
};

#ifdef KVI_MUTANTS
extern int kvi_mutant;
#define KVI_MUTANT(name) (kvi_mutant == KVI_MUTANT_##name)
#else
#define KVI_MUTANT(name) 0
#endif

#endif
