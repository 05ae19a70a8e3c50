/* scratch.h - a directory of a test's own, below $TMPDIR or /tmp. */
#ifndef SCRATCH_H
#define SCRATCH_H

#include <stddef.h>

#define SCRATCH_MAX 512

typedef struct scratch {
    char dir[SCRATCH_MAX];
    char path[SCRATCH_MAX]; /* what scratch_path built last */
} scratch;

/* Ends the program when the directory cannot be made: no test could run. */
void scratch_make(scratch *s);

/* dir/name; valid until the next call. */
const char *scratch_path(scratch *s, const char *name);

/* dir/name in a buffer of SCRATCH_MAX bytes. */
void scratch_path_to(const scratch *s, const char *name, char *out);

/* Removes the directory with everything in it. */
void scratch_remove(scratch *s);

/* For a group of tests that shares one: cmocka's setup and teardown, state = scratch *. */
int scratch_setup(void **state);
int scratch_teardown(void **state);

#endif
