/* trial.h - what may crash or hang, tried in child processes. */
#ifndef TRIAL_H
#define TRIAL_H

#include <stdint.h>

typedef enum trial_answer { TRIAL_RIGHT, TRIAL_ERROR, TRIAL_WRONG, TRIAL_ANSWERS } trial_answer;

typedef struct trial {
    trial_answer (*attempt)(void *context, uint64_t number);
    void *context;
    uint64_t answers[TRIAL_ANSWERS];
    uint64_t crashes;
    uint64_t hangs;
} trial;

/* Attempts number from and those behind it, in one child process, until it crashes or hangs. Returns
 * the first number that was not tried: to, or less. */
uint64_t trial_run(trial *t, uint64_t from, uint64_t to);

#endif
