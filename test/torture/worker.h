/* worker.h - a worker process, and the children that it has now and then. */
#ifndef WORKER_H
#define WORKER_H

#include "torture.h"

enum { HANDLES_MAX = 3, CHILDREN_MAX = 2 };

/* What a process has open; a child inherits all of it, and none of it may work there. */
struct holdings {
    void *store[HANDLES_MAX];
    int handles;
    void *reader, *writer; /* views; NULL: none */
};

/* That lives beside its parent. */
struct child {
    pid_t pid;       /* 0: none */
    uint64_t begun;  /* when */
    uint64_t doomed; /* when its parent kills it; 0: it may live */
};

struct worker {
    const struct engine *engine;
    struct place *place;
    uint32_t me;
    int schedstat;
    bool is_child;
    struct holdings has;
    struct child child[CHILDREN_MAX];
    rng dice;
};

/* Tells the board what this process is about. */
void torture_enter(struct worker *w, enum phase phase);

/* What a child does in the place of its parent, which waits for it. */
void torture_stand_in(struct worker *w);

/* ---- child.c ---- */

void torture_have_child(struct worker *w); /* now and then */
void torture_look_after_children(struct worker *w);
void torture_end_children(struct worker *w);

#endif
