/* main.c - the demo's helper: STEP DATABASE PACKAGES UNICODE. demo.sh calls it. */
#include "demo.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void demo_die(const char *format, ...)
{
    va_list arguments;
    fflush(stdout);
    fputs("  WRONG     ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

void demo_say(const char *step, const char *format, ...)
{
    va_list arguments;
    printf("  %-9s ", step);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

const char *demo_number(uint64_t number)
{
    static char texts[5][32];
    static unsigned next;
    char *text = texts[next++ % 5], *at = text + 31;
    *at = 0;
    for (int digits = 0; number > 0 || digits == 0; digits++, number /= 10) {
        if (digits > 0 && digits % 3 == 0)
            *--at = ',';
        *--at = (char)('0' + number % 10);
    }
    return at;
}

double demo_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(const char *path, const struct data *data);
    } steps[] = {
        {"verify", demo_verify},
        {"lookup", demo_lookup},
        {"snapshot", demo_snapshot},
        {"kill", demo_kill},
    };
    struct data data;
    for (size_t i = 0; argc == 5 && i < sizeof steps / sizeof *steps; i++) {
        if (strcmp(argv[1], steps[i].name) != 0)
            continue;
        demo_read_sources(&data, argv[3], argv[4]);
        steps[i].run(argv[2], &data);
        demo_free_sources(&data);
        return 0;
    }
    fprintf(stderr, "usage: demo verify|lookup|snapshot|kill DATABASE PACKAGES UNICODE\n");
    return 2;
}
