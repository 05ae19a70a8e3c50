/* scratch.c - see scratch.h. */
#include "scratch.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void scratch_make(scratch *s)
{
    const char *parent = getenv("TMPDIR");
    int len = snprintf(s->dir, sizeof s->dir, "%s/kv-test-XXXXXX", parent ? parent : "/tmp");
    if (len < 0 || (size_t)len >= sizeof s->dir || !mkdtemp(s->dir)) {
        perror(s->dir);
        exit(2);
    }
}

void scratch_path_to(const scratch *s, const char *name, char *out)
{
    int len = snprintf(out, SCRATCH_MAX, "%s/%s", s->dir, name);
    if (len < 0 || len >= SCRATCH_MAX) {
        fprintf(stderr, "%s/%s: too long for a test\n", s->dir, name);
        exit(2);
    }
}

const char *scratch_path(scratch *s, const char *name)
{
    scratch_path_to(s, name, s->path);
    return s->path;
}

static int scratch_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void scratch_remove(scratch *s)
{
    nftw(s->dir, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int scratch_setup(void **state)
{
    scratch *s = malloc(sizeof *s);
    if (!s)
        return -1;
    scratch_make(s);
    *state = s;
    return 0;
}

int scratch_teardown(void **state)
{
    scratch_remove(*state);
    free(*state);
    return 0;
}
