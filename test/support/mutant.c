/* mutant.c - in a build with seeded bugs KV_MUTANT=NAME selects one, in every test program. */
#include "mutant.h"
#ifdef KVI_MUTANTS
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME(name) #name,
static const char *const names[] = {"NONE", KVI_MUTANTS_EACH(NAME)};

int kvi_mutant;

__attribute__((constructor)) static void mutant_select(void)
{
    const char *name = getenv("KV_MUTANT");
    size_t i = 0;
    while (name && i < sizeof names / sizeof *names && strcmp(name, names[i]) != 0)
        i++;
    if (i == sizeof names / sizeof *names) {
        fprintf(stderr, "KV_MUTANT=%s is not in src/mutant.h\n", name);
        exit(125);
    }
    kvi_mutant = (int)i;
}

#endif
