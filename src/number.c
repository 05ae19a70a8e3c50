/* number.c - see number.h. */
#include "number.h"
#include <float.h>
#include <stdio.h>
#include <stdlib.h>

#define BINARY 8 /* bytes */

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* ---- integers ---- */

static bool int_parse(kvi_slice text, int64_t *number)
{
    bool negative = text.len && text.ptr[0] == '-';
    const uint8_t *digits = text.ptr + negative;
    size_t n = text.len - negative;
    uint64_t sum = 0;
    if (n == 0 || n > 19 || (digits[0] == '0' && (n > 1 || negative)))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!is_digit(digits[i]))
            return false;
        sum = sum * 10 + (digits[i] - '0'); /* 19 digits fit */
    }
    if (sum > (uint64_t)INT64_MAX + negative)
        return false;
    *number = (int64_t)(negative ? 0 - sum : sum);
    return true;
}

bool kvi_int_read(kvi_slice bytes, bool text, int64_t *number)
{
    if (text)
        return int_parse(bytes, number);
    if (bytes.len != BINARY)
        return false;
    *number = (int64_t)kvi_get64(bytes.ptr);
    return true;
}

size_t kvi_int_write(int64_t number, bool text, uint8_t out[KVI_NUMBER_MAX])
{
    if (text)
        return (size_t)snprintf((char *)out, KVI_NUMBER_MAX, "%lld", (long long)number);
    kvi_put64(out, (uint64_t)number);
    return BINARY;
}

/* ---- doubles ---- */

/* What the locale writes between the digits of 0.5; room for any of them. */
static size_t locale_point(char point[8])
{
    char half[8 + 2];
    int len = snprintf(half, sizeof half, "%.1f", 0.5);
    memcpy(point, half + 1, (size_t)len - 2);
    return (size_t)len - 2;
}

static size_t skip_digits(kvi_slice text, size_t at)
{
    while (at < text.len && is_digit(text.ptr[at]))
        at++;
    return at;
}

/* -?D(.D)?(e[+-]?D)? where D is digits, the first without needless zeros. *point: where the point is,
 * or text.len. */
static bool double_shape(kvi_slice text, size_t *point)
{
    size_t start = text.len && text.ptr[0] == '-', at = skip_digits(text, start), from;
    *point = text.len;
    if (at == start || (text.ptr[start] == '0' && at > start + 1))
        return false;
    if (at < text.len && text.ptr[at] == '.') {
        *point = at;
        from = at + 1;
        at = skip_digits(text, from);
        if (at == from)
            return false;
    }
    if (at < text.len && text.ptr[at] == 'e') {
        from = at + 1;
        from += from < text.len && (text.ptr[from] == '+' || text.ptr[from] == '-');
        at = skip_digits(text, from);
        if (at == from)
            return false;
    }
    return at == text.len;
}

static bool double_parse(kvi_slice text, double *number)
{
    char copy[KVI_NUMBER_MAX + 8], dot[8];
    size_t point, dot_len = locale_point(dot), len = 0;
    if (text.len > KVI_NUMBER_MAX || !double_shape(text, &point))
        return false;
    memcpy(copy, text.ptr, point);
    len = point;
    if (point < text.len) {
        memcpy(copy + len, dot, dot_len);
        len += dot_len;
        memcpy(copy + len, text.ptr + point + 1, text.len - point - 1);
        len += text.len - point - 1;
    }
    copy[len] = 0;
    *number = strtod(copy, NULL);
    return kvi_double_finite(*number);
}

/* The locale's point, which is all that is foreign in a text of printf, becomes a point. */
static size_t point_unify(char *text, size_t len)
{
    char dot[8];
    size_t dot_len = locale_point(dot);
    char *at = memchr(text, dot[0], len);
    if (!at)
        return len;
    *at = '.';
    memmove(at + 1, at + dot_len, (size_t)(text + len - at) - dot_len);
    return len - (dot_len - 1);
}

static size_t double_format(double number, char out[KVI_NUMBER_MAX])
{
    /* 15 digits are never too many, except for numbers that have not so many themselves. */
    bool tiny = number < DBL_MIN && number > -DBL_MIN;
    int len = 0;
    for (int digits = tiny ? 1 : 15; digits <= 17; digits++) {
        len = snprintf(out, KVI_NUMBER_MAX, "%.*g", digits, number);
        if (strtod(out, NULL) == number)
            break;
    }
    return point_unify(out, (size_t)len);
}

bool kvi_double_read(kvi_slice bytes, bool text, double *number)
{
    if (text)
        return double_parse(bytes, number);
    if (bytes.len != BINARY)
        return false;
    uint64_t bits = kvi_get64(bytes.ptr);
    memcpy(number, &bits, sizeof bits);
    return kvi_double_finite(*number);
}

size_t kvi_double_write(double number, bool text, uint8_t out[KVI_NUMBER_MAX])
{
    uint64_t bits;
    if (text)
        return double_format(number, (char *)out);
    memcpy(&bits, &number, sizeof bits);
    kvi_put64(out, bits);
    return BINARY;
}
