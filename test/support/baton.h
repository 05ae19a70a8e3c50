/* baton.h - a scheduler for logical processes on one simulated disk: at every system call of the
 * engine a seeded choice says who goes on, and now and then a process is killed there.
 *
 * Each actor is a thread, of which only one runs at a time: whoever has the baton hands it over
 * before and behind each call of the I/O table, and when it would wait, for a lock of the file or
 * for another thread of its process. So everything that happens depends on the seed alone, and a
 * seed that fails can be run again. A killed process never goes on: its handles, locks and memory
 * are taken away at once, as the kernel would, and its actors begin new lives.
 *
 * What lies between two calls happens at once; interleavings of single loads and stores are the
 * affair of the models and of ThreadSanitizer. The program must be linked with BATON_WRAP of the
 * Makefile, so that threads which wait for each other give up the baton.
 */
#ifndef BATON_H
#define BATON_H

#include "rng.h"
#include "sim_os.h"

#define BATON_PROCESSES 8
#define BATON_ACTORS    16

typedef struct baton baton;

typedef struct baton_process {
    kvi_os os; /* first */
    baton *s;
    unsigned index;
    uint64_t number;     /* on the simulated machine; a new one for each life */
    uint64_t generation; /* lives so far */
    bool guest;          /* may not open anything for writing */
    struct baton_block *blocks;
} baton_process;

/* Begins a life of an actor. Returns when there is nothing left to do for ever. */
typedef void baton_work(void *context, baton_process *process);

struct baton {
    sim_disk *disk;
    rng r;
    unsigned sticky;      /* who runs goes on, all but once in so many calls */
    unsigned kill_one_in; /* calls; 0: nobody is killed */
    uint64_t steps, kills, switches;
    uint64_t steps_max; /* more are a hang */

    /* Told when a process is killed, with its memory still there. */
    void (*killed)(void *context, baton_process *process);
    void *context;

    baton_process processes[BATON_PROCESSES];
    unsigned n_processes;
    struct baton_actor *actors[BATON_ACTORS];
    unsigned n_actors;
    int stopped; /* a process that does not run for a while; -1: none */
    uint64_t stopped_until;
    uint64_t lives;
};

void baton_init(baton *s, sim_disk *disk, uint64_t seed);
baton_process *baton_process_add(baton *s);
void baton_actor_add(baton *s, baton_process *process, baton_work *work, void *context);

/* Runs until all actors have returned. Should they go round in circles, the program is aborted. */
void baton_run(baton *s);

/* For actors: somebody else may go on here. idle: there is nothing to do but wait for others. */
void baton_pause(bool idle);

#endif
