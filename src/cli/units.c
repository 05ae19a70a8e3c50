/* units.c - see units.h. */
#include "units.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

const char *units_count(char buf[UNITS_MAX], uint64_t n)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n), to = 0;
    for (int at = 0; at < len; at++) {
        if (at > 0 && (len - at) % 3 == 0)
            buf[to++] = ',';
        buf[to++] = digits[at];
    }
    buf[to] = 0;
    return buf;
}

const char *units_size(char buf[UNITS_MAX], uint64_t bytes)
{
    static const char *const names[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double size = (double)bytes / 1024;
    size_t unit = 0;
    while (size >= 1023.95 && unit < sizeof names / sizeof names[0] - 1) {
        size /= 1024;
        unit++;
    }
    if (bytes < 1024)
        snprintf(buf, UNITS_MAX, "%u bytes", (unsigned)bytes);
    else
        snprintf(buf, UNITS_MAX, "%.1f %s", size, names[unit]);
    return buf;
}

const char *units_duration(char buf[UNITS_MAX], double seconds)
{
    unsigned long long whole = (unsigned long long)(seconds + 0.5);
    if (seconds < 9.995)
        snprintf(buf, UNITS_MAX, "%.2f s", seconds);
    else if (whole < 60)
        snprintf(buf, UNITS_MAX, "%llu s", whole);
    else if (whole < 3600)
        snprintf(buf, UNITS_MAX, "%llu min %llu s", whole / 60, whole % 60);
    else
        snprintf(buf, UNITS_MAX, "%llu h %llu min", whole / 3600, whole / 60 % 60);
    return buf;
}

const char *units_time(char buf[UNITS_MAX], uint64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    if (!gmtime_r(&seconds, &tm) || strftime(buf, UNITS_MAX, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
        units_count(buf, ms);
    return buf;
}

/* Two digits are all that a rate means. */
const char *units_rate(char buf[UNITS_MAX], double per_second)
{
    uint64_t rate = (uint64_t)per_second, unit = 1;
    while (rate / unit >= 100)
        unit *= 10;
    units_count(buf, rate / unit * unit);
    strcat(buf, "/s");
    return buf;
}

const char *units_real(char buf[UNITS_MAX], double number)
{
    int digits = 15;
    do
        snprintf(buf, UNITS_MAX, "%.*g", digits, number);
    while (digits++ < 17 && strtod(buf, NULL) != number);
    return buf;
}

/* Reads the digits; *rest is what follows. False without digits or beyond 64 bits. */
static bool units_digits(const char *text, uint64_t *n, const char **rest)
{
    const char *at = text;
    *n = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(*n, 10, n) || __builtin_add_overflow(*n, *at - '0', n))
            return false;
    }
    *rest = at;
    return at > text;
}

bool units_read_number(const char *text, uint64_t *n)
{
    const char *rest;
    return units_digits(text, n, &rest) && *rest == 0;
}

bool units_read_real(const char *text, double *number)
{
    char *end;
    *number = strtod(text, &end);
    return *text && !*end && !text[strspn(text, "0123456789+-.eE")] && isfinite(*number);
}

static bool units_scale(uint64_t *n, uint64_t factor)
{
    return !__builtin_mul_overflow(*n, factor, n);
}

bool units_read_size(const char *text, uint64_t *bytes)
{
    static const char letters[] = "kmgt";
    const char *rest;
    if (!units_digits(text, bytes, &rest))
        return false;
    if (*rest == 0 || strcasecmp(rest, "b") == 0)
        return true;
    const char *letter = strchr(letters, *rest | 0x20);
    bool tail = strcmp(rest + 1, "") == 0 || strcasecmp(rest + 1, "b") == 0 ||
                strcasecmp(rest + 1, "ib") == 0;
    return letter && *letter && tail &&
           units_scale(bytes, UINT64_C(1) << (10 * (letter - letters + 1)));
}

bool units_read_duration(const char *text, uint64_t *ms)
{
    const char *rest;
    if (!units_digits(text, ms, &rest))
        return false;
    if (strcmp(rest, "ms") == 0 || (*rest == 0 && *ms == 0))
        return true;
    if (strcmp(rest, "s") == 0)
        return units_scale(ms, 1000);
    if (strcmp(rest, "h") == 0 || strcmp(rest, "d") == 0)
        return units_scale(ms, *rest == 'h' ? 3600000 : 86400000);
    return (strcmp(rest, "m") == 0 || strcmp(rest, "min") == 0) && units_scale(ms, 60000);
}
