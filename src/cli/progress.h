/* progress.h - one line on standard error while work is long: how far, how fast, how much longer.
 * Shown on a terminal only, and only after half a second. */
#ifndef PROGRESS_H
#define PROGRESS_H

#include "kv.h"

typedef struct cli_progress {
    const char *unit; /* "entries", "pages" */
    uint64_t total;   /* of what `done` measures; 0: unknown */
    double began;     /* seconds, a clock that never jumps */
    double shown;     /* when the line was last written */
    uint32_t calls;   /* of update */
    bool enabled;
} cli_progress;

void progress_begin(cli_progress *progress, const char *unit, uint64_t total, bool quiet);

/* done is measured against total; count is in units, for the rate. Cheap enough for each entry. */
void progress_update(cli_progress *progress, uint64_t done, uint64_t count);

/* Takes the line away. Gives the seconds since begin. */
double progress_end(cli_progress *progress);

/* Takes the line away, if there is one, to make room for a message. */
void progress_hide(void);

/* Seconds, by a clock that only goes on. */
double progress_now(void);

#endif
