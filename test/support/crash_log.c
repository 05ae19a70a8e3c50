/* crash_log.c - what was promised when; see crash_impl.h. */
#include "crash_impl.h"

void crash_log_add(crash_log *log, crash_moment moment)
{
    if (log->n == log->cap) {
        log->cap = log->cap * 2 + 64;
        log->moments = realloc(log->moments, log->cap * sizeof *log->moments);
        if (!log->moments)
            sim_die("out of memory");
    }
    log->moments[log->n++] = moment;
}

void crash_log_cut(crash_log *log, size_t at)
{
    while (log->n > 0 && log->moments[log->n - 1].at > at)
        log->n--;
}

const crash_moment *crash_log_find(const crash_log *log, size_t at)
{
    size_t low = 0, high = log->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (log->moments[mid].at <= at)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == 0)
        sim_die("nothing was promised yet");
    return &log->moments[low - 1];
}

void crash_log_free(crash_log *log)
{
    free(log->moments);
    *log = (crash_log){0};
}
