/* units.h - numbers as people write them, and back. */
#ifndef UNITS_H
#define UNITS_H

#include "kv.h"

#define UNITS_MAX 40 /* bytes that hold any of these texts */

const char *units_count(char buf[UNITS_MAX], uint64_t n);        /* 61,234 */
const char *units_size(char buf[UNITS_MAX], uint64_t bytes);     /* 17.3 MiB */
const char *units_duration(char buf[UNITS_MAX], double seconds); /* 0.84 s, 3 min 5 s */
const char *units_time(char buf[UNITS_MAX], uint64_t ms);        /* since 1970, in UTC */
const char *units_rate(char buf[UNITS_MAX], double per_second);  /* 410,000/s */
const char *units_real(char buf[UNITS_MAX], double number);      /* 0.1, as the library writes it */

/* "12", "4k", "64KiB", "1G" */
bool units_read_size(const char *text, uint64_t *bytes);
/* Milliseconds: "1500ms", "10s", "2m", "3h", "4d"; the unit is needed but for 0. */
bool units_read_duration(const char *text, uint64_t *ms);
/* Decimal digits alone. */
bool units_read_number(const char *text, uint64_t *n);
/* Decimal, as 2.5 or 1e-3: no 0x10, no inf. */
bool units_read_real(const char *text, double *number);

#endif
