/* heart.c - processes that find out when the machine is slow: one on each processor sleeps and sees
 * whether it wakes in time, one writes to the disk and sees how long that takes. */
#include "torture.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { BEAT_MS = 4, LATE_MS = 4, DISK_BEAT_MS = 20, DISK_LATE_MS = 20, PROCESSORS_MAX = 64 };

static void note(uint64_t from, uint64_t limit_ms)
{
    uint64_t now = torture_now();
    if (now - from > limit_ms * MS)
        torture_delay(from, now, PHASE_IDLE, WORKERS_MAX);
}

static _Noreturn void beat_on(int processor)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    sched_setaffinity(0, sizeof set, &set);
    for (;;) {
        uint64_t start = torture_now();
        torture_nap(BEAT_MS * MS);
        note(start + BEAT_MS * MS, LATE_MS);
    }
}

static _Noreturn void beat_on_disk(const char *dir)
{
    char path[1100], block[512] = "beat";
    snprintf(path, sizeof path, "%s/heart", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        exit(2);
    for (;;) {
        uint64_t start = torture_now();
        if (pwrite(fd, block, sizeof block, 0) < 0 || fdatasync(fd) != 0)
            exit(2);
        note(start, DISK_LATE_MS);
        torture_nap(DISK_BEAT_MS * MS);
    }
}

static bool child(void)
{
    pid_t pid = fork();
    if (pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return pid == 0;
}

void torture_hearts(const char *dir)
{
    cpu_set_t set;
    sched_getaffinity(0, sizeof set, &set);
    for (int i = 0; i < PROCESSORS_MAX; i++)
        if (CPU_ISSET(i, &set) && child())
            beat_on(i);
    if (child())
        beat_on_disk(dir);
}
