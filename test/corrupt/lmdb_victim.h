/* lmdb_victim.h - what victim.h is for kv: a small LMDB database, to be damaged, and an examination
 * that knows what it should answer. HAVE_LMDB says whether LMDB is here. */
#ifndef LMDB_VICTIM_H
#define LMDB_VICTIM_H

#include "kv.h"
#include "trial.h"
#include <stdbool.h>

#if __has_include(<lmdb.h>)
#define HAVE_LMDB 1
#endif

#define LMDB_TREES   2
#define LMDB_ENTRIES 750 /* of one tree at most */

typedef struct lmdb_victim {
    char path[512];
    kv_slice values[LMDB_TREES][LMDB_ENTRIES]; /* in key order */
    unsigned n[LMDB_TREES];
    uint8_t *image; /* the sound file */
    size_t size;
    bool lenient; /* answers may be wrong: only crashes and ends count */
} lmdb_victim;

/* Builds and closes it, in TMPDIR. Ends the program on failure. */
void lmdb_victim_make(lmdb_victim *v);
void lmdb_victim_free(lmdb_victim *v);

/* The file gets these bytes, as many as the sound one has, at once or one by one. */
void lmdb_victim_put(const lmdb_victim *v, const uint8_t *bytes);
void lmdb_victim_put_byte(const lmdb_victim *v, size_t at, uint8_t byte);

/* Reads everything. Of several answers the worst counts. */
trial_answer lmdb_victim_read(const lmdb_victim *v);

/* Opens for writing, reads everything, changes, commits. Only with lenient, and in a process that
 * ends: on a damaged file LMDB may write beside its memory. */
trial_answer lmdb_victim_write(const lmdb_victim *v);

#endif
