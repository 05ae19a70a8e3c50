/* victim.h - a small database of every kind of page on a simulated disk, with a named snapshot, to be
 * damaged, and an examination that knows what it should answer.
 *
 * The judgement is the same for all damage: an answer is right or an error, and a file that the
 * check calls sound gives no errors. */
#ifndef VICTIM_H
#define VICTIM_H

#include "kv.h"
#include "sim_os.h"

#define VICTIM_NAME  "victim.kv"
#define VICTIM_TREES 3
#define VICTIM_MAX   1024 /* entries of one tree */

typedef struct victim_entry {
    char key[16];
    const uint8_t *value;
    size_t len;
} victim_entry;

typedef struct victim_content {
    victim_entry entries[VICTIM_TREES][VICTIM_MAX]; /* in key order */
    size_t n[VICTIM_TREES];
} victim_content;

typedef struct victim {
    sim_disk *disk;
    victim_content now;
    bool named; /* it has a snapshot: not with pages of less than 1 KiB */
    victim_content then;
    uint8_t *image; /* the sound file */
    size_t size;
    size_t pages;
    uint64_t opened; /* counts of what the examinations met, to show that they are worth it */
    uint64_t right;
    uint64_t errors;
    bool lenient; /* answers may be wrong (forged files): only safety and ends count */
    /* of an unclosed file, whose newest commit may be given up for the one before: */
    uint64_t newest, seen; /* its id, 0: closed; that of the commit that is read */
    size_t recent;         /* what it changed in the main tree ... */
    victim_entry before;   /* ... and what that was */
} victim;

/* Builds and closes it. Ends the program on failure. */
void victim_make(victim *v, uint32_t page_size, uint64_t seed);

/* The same as it was before it was closed, to be read only. */
void victim_make_unclosed(victim *v, uint32_t page_size, uint64_t seed);
void victim_free(victim *v);

/* The file becomes the sound one again, cut to size bytes. */
void victim_heal(victim *v, size_t size);

/* The file's bytes on the disk, to be damaged in place. */
uint8_t *victim_bytes(victim *v);

/* Reads everything through a read-only handle, the snapshot, too, and checks. NULL: fine, else what was
 * wrong. */
const char *victim_read(victim *v);

/* Opens for writing, changes, commits, reads everything, closes, reads again. */
const char *victim_write(victim *v);

/* What is left when the file is past opening: salvage into another file, which must be sound; every
 * page looked at. Any disk, so that its calls may fail; the result is that of the last call. */
int victim_salvage(victim *v, const kvi_os *os);
int victim_dissect(const kvi_os *os);

/* Everything else that walks or counts: ranges, ranks, backwards, copies, clearing, repair. Only
 * with lenient. */
const char *victim_rough(victim *v, rng *random);

#endif
