/* trial.c - see trial.h. */
#include "trial.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECONDS 10 /* after which a child counts as hanging */

/* What is left of a child when it is gone. */
typedef struct legacy {
    uint64_t number; /* that it tries */
    uint64_t answers[TRIAL_ANSWERS];
} legacy;

static _Noreturn void give_up(const char *what)
{
    perror(what);
    exit(1);
}

/* Nothing that it has is given back: the process ends. */
static _Noreturn void child(const trial *t, uint64_t to, legacy *left)
{
    int nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, STDERR_FILENO);
    for (; left->number < to; left->number++) {
        alarm(SECONDS);
        left->answers[t->attempt(t->context, left->number)]++;
    }
    _exit(0);
}

/* A sanitizer ends a program in its own way: whatever is left undone is a crash. */
static void bury(trial *t, int status, uint64_t to, legacy *left)
{
    for (unsigned i = 0; i < TRIAL_ANSWERS; i++)
        t->answers[i] += left->answers[i];
    if (left->number == to)
        return;
    left->number++;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        t->hangs++;
    else
        t->crashes++;
}

uint64_t trial_run(trial *t, uint64_t from, uint64_t to)
{
    int status;
    legacy *left =
        mmap(NULL, sizeof *left, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (left == MAP_FAILED)
        give_up("mmap");
    left->number = from;
    pid_t pid = fork();
    if (pid == 0)
        child(t, to, left);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        give_up("fork");
    bury(t, status, to, left);
    uint64_t next = left->number;
    munmap(left, sizeof *left);
    return next;
}
