/* exam.h - everything one can do with a file that may be forged, on a simulated disk that watches
 * where it is written. What must hold:
 *
 *   - every call returns, with an answer or an error; nothing stays open, no allocation is absurd
 *   - a write begins at a page behind the metas, or is a meta in its place, and ends near the file
 *   - a file that the check calls sound can be read, is not written where its newest commit stands,
 *     and is still sound after commits, and when it is opened again
 */
#ifndef EXAM_H
#define EXAM_H

#include "fuzz.h"
#include "image.h"

enum { /* what is done beside reading, checking and a few changes */
       EXAM_EXCLUSIVE = 1,
       EXAM_REPAIR = 2,
       EXAM_COPY = 4,
       EXAM_COMPACT = 8,
       EXAM_CLEAR = 16,
       EXAM_RANGES = 32,
       EXAM_BATCH = 64,
       EXAM_NO_CHECKSUM = 128,
};

/* A disk for exam_file: quick to reset, with the calls watched. */
sim_disk *exam_disk(void);

/* IMAGE_NAME, read-only and for writing. */
void exam_file(sim_disk *disk, unsigned plan);

#endif
