/* progress.c - see progress.h. */
#include "progress.h"
#include "units.h"
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define FIRST_AFTER 0.5 /* seconds */
#define EVERY       0.1
#define CLOCK_MASK  31 /* updates between two looks at the clock, less one */

static int line_width; /* of the line that stands on the terminal now */

double progress_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void progress_begin(cli_progress *progress, const char *unit, uint64_t total, bool quiet)
{
    *progress = (cli_progress){.unit = unit, .total = total, .began = progress_now()};
    progress->shown = progress->began;
    progress->enabled = !quiet && isatty(STDERR_FILENO);
}

static void progress_show(const cli_progress *progress, uint64_t done, uint64_t count,
                          double elapsed)
{
    char count_text[UNITS_MAX], rate[UNITS_MAX], left[UNITS_MAX], line[200];
    int len = snprintf(line, sizeof line, "%s %s, %s", units_count(count_text, count),
                       progress->unit, units_rate(rate, (double)count / elapsed));
    if (progress->total > 0 && done > 0 && done <= progress->total) {
        double share = (double)done / (double)progress->total;
        double rest = elapsed / share - elapsed + 1;
        if (rest < 10)
            snprintf(left, sizeof left, "%d s", (int)rest);
        else
            units_duration(left, rest);
        len += snprintf(line + len, sizeof line - (size_t)len, ", %d%%, %s left",
                        (int)(share * 100), left);
    }
    fprintf(stderr, "\r%s%*s", line, line_width > len ? line_width - len : 0, "");
    line_width = len;
}

void progress_update(cli_progress *progress, uint64_t done, uint64_t count)
{
    if (!progress->enabled || (++progress->calls & CLOCK_MASK) != 0)
        return;
    double now = progress_now();
    if (now - progress->began < FIRST_AFTER || now - progress->shown < EVERY)
        return;
    progress_show(progress, done, count, now - progress->began);
    progress->shown = now;
}

double progress_end(cli_progress *progress)
{
    progress_hide();
    progress->enabled = false;
    return progress_now() - progress->began;
}

void progress_hide(void)
{
    if (line_width > 0)
        fprintf(stderr, "\r%*s\r", line_width, "");
    line_width = 0;
}
