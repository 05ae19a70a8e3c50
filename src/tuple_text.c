/* tuple_text.c - tuples as people read and write them: ("order", 1001, desc 2.5, x"00ff"). */
#include "escaped.h"
#include "tuple.h"
#include <stdio.h>
#include <stdlib.h>

#define NUMBER_MAX 400 /* longest spelling of a number that is understood */

/* ---- the decimal point of the program's locale, which printf and strtod use ---- */

/* Gives its length. */
static size_t locale_point(char point[8])
{
    char text[16];
    int len = snprintf(text, sizeof text, "%.1f", 0.5);
    size_t n = len > 2 ? KVI_MIN((size_t)len - 2, (size_t)7) : 0;
    memcpy(point, text + 1, n);
    point[n] = 0;
    return n;
}

/* ---- printing ---- */

typedef struct printer {
    char *buf;
    size_t size;
    size_t len; /* also of what did not fit */
} printer;

static void print_char(printer *to, char c)
{
    if (to->len < to->size)
        to->buf[to->len] = c;
    to->len++;
}

static void print_text(printer *to, const char *text)
{
    while (*text)
        print_char(to, *text++);
}

static void print_hex(printer *to, uint8_t byte)
{
    static const char digits[] = "0123456789abcdef";
    print_char(to, digits[byte >> 4]);
    print_char(to, digits[byte & 15]);
}

static void print_escaped(printer *to, uint8_t byte)
{
    static const char from[] = "\t\n\r\\\"", names[] = "tnr\\\"";
    const char *named = byte ? strchr(from, byte) : NULL;
    if (named) {
        print_char(to, '\\');
        print_char(to, names[named - from]);
    } else if (byte < 0x20 || byte == 0x7f) {
        print_text(to, "\\x");
        print_hex(to, byte);
    } else {
        print_char(to, (char)byte);
    }
}

static void print_bytes(printer *to, bool text, kvi_slice raw, uint8_t flip)
{
    const uint8_t *end = raw.ptr + raw.len;
    uint8_t byte = 0;
    print_text(to, text ? "\"" : "x\"");
    for (const uint8_t *at = raw.ptr; at < end;) {
        at += kvi_escaped_read(at, end, flip, &byte);
        if (text)
            print_escaped(to, byte);
        else
            print_hex(to, byte);
    }
    print_char(to, '"');
}

static void print_integer(printer *to, const kv_part *part)
{
    char text[24];
    if (part->type == KV_PART_UINT)
        snprintf(text, sizeof text, "%llu", (unsigned long long)part->number);
    else
        snprintf(text, sizeof text, "%lld", (long long)part->integer);
    print_text(to, text);
}

/* The shortest digits that mean this very number, with something that tells it from an integer. */
static void print_double(printer *to, double real)
{
    char text[48], point[8];
    if (real != real) {
        print_text(to, "nan");
        return;
    }
    if (real - real != 0) {
        print_text(to, real < 0 ? "-inf" : "inf");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, real);
        if (strtod(text, NULL) == real)
            break;
    }
    size_t n = locale_point(point);
    char *at = n ? strstr(text, point) : NULL;
    if (at) {
        *at = '.';
        memmove(at + 1, at + n, strlen(at + n) + 1);
    }
    print_text(to, text);
    if (!strpbrk(text, ".e"))
        print_text(to, ".0");
}

static void print_part(printer *to, const kv_part *part, kvi_slice raw, uint8_t flip)
{
    if (part->flags & KV_PART_DESC)
        print_text(to, "desc ");
    switch (part->type) {
    case KV_PART_NULL:
        print_text(to, "null");
        break;
    case KV_PART_BOOL:
        print_text(to, part->number ? "true" : "false");
        break;
    case KV_PART_INT:
    case KV_PART_UINT:
        print_integer(to, part);
        break;
    case KV_PART_DOUBLE:
        print_double(to, part->real);
        break;
    case KV_PART_BYTES:
    case KV_PART_TEXT:
        print_bytes(to, part->type == KV_PART_TEXT, raw, flip);
        break;
    case KV_PART_TUPLE:
        print_char(to, '(');
        break;
    }
}

KV_API int kv_tuple_print(const void *key, size_t key_len, char *buf, size_t size, size_t *len)
{
    kv_part part;
    kvi_slice raw;
    uint8_t flip;
    bool first = true; /* of its tuple */
    int rc;
    if ((!key && key_len > 0) || (!buf && size > 0) || !len)
        return KV_EINVAL;
    const uint8_t *bytes = key;
    kvi_tuple_reader from = {.at = bytes, .end = bytes ? bytes + key_len : NULL};
    printer to = {.buf = buf, .size = size};
    print_char(&to, '(');
    while ((rc = kvi_tuple_take(&from, &part, &raw, &flip)) == KV_OK) {
        if (part.type == KV_PART_END) {
            print_char(&to, ')');
        } else {
            if (!first)
                print_text(&to, ", ");
            print_part(&to, &part, raw, flip);
        }
        first = part.type == KV_PART_TUPLE;
    }
    if (rc != KV_NOTFOUND)
        return rc;
    print_char(&to, ')');
    *len = to.len;
    if (to.len >= size)
        return KV_ETOOBIG;
    buf[to.len] = 0;
    return KV_OK;
}

/* ---- parsing ---- */

typedef struct parser {
    const char *at, *end;
    kvi_tuple_writer to;
} parser;

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static void skip_blanks(parser *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\n'))
        p->at++;
}

static bool skip_char(parser *p, char c)
{
    if (p->at == p->end || *p->at != c)
        return false;
    p->at++;
    return true;
}

/* A whole word. */
static bool skip_word(parser *p, const char *word)
{
    size_t len = strlen(word), left = (size_t)(p->end - p->at);
    if (left < len || memcmp(p->at, word, len) != 0 || (left > len && is_letter(p->at[len])))
        return false;
    p->at += len;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_hex(parser *p, uint8_t *byte)
{
    if (p->end - p->at < 2 || hex_digit(p->at[0]) < 0 || hex_digit(p->at[1]) < 0)
        return false;
    *byte = (uint8_t)(hex_digit(p->at[0]) << 4 | hex_digit(p->at[1]));
    p->at += 2;
    return true;
}

/* One byte of a string, which may be an escape. */
static bool parse_text_byte(parser *p, uint8_t *byte)
{
    static const char names[] = "tnr\\\"", bytes[] = "\t\n\r\\\"";
    *byte = (uint8_t)*p->at;
    if (*byte != '\\')
        return p->at++, true;
    if (p->end - p->at < 2)
        return false;
    const char *named = p->at[1] ? strchr(names, p->at[1]) : NULL;
    if (!named && p->at[1] != 'x')
        return false;
    p->at += 2;
    if (named)
        *byte = (uint8_t)bytes[named - names];
    return named || parse_hex(p, byte);
}

/* Behind the opening quote: up to the closing one, and the dots that leave the end open. */
static bool parse_bytes(parser *p, bool text, bool desc)
{
    kvi_tuple_put_code(&p->to, text ? KVI_TUPLE_TEXT : KVI_TUPLE_BYTES, desc);
    while (p->at < p->end && *p->at != '"') {
        uint8_t byte;
        if (!(text ? parse_text_byte(p, &byte) : parse_hex(p, &byte)))
            return false;
        kvi_tuple_put_escaped(&p->to, kvi_slice_of(&byte, 1), desc);
    }
    if (!skip_char(p, '"'))
        return false;
    if (p->end - p->at >= 3 && memcmp(p->at, "...", 3) == 0) {
        p->at += 3;
        p->to.open = true;
    } else {
        kvi_tuple_put_end(&p->to, desc);
    }
    return true;
}

/* Copies the spelling of a number, as far as it may be one; *real: it is none of an integer. Its point
 * becomes that of the locale. */
static size_t number_copy(const parser *p, char text[NUMBER_MAX], bool *real)
{
    char point[8];
    size_t point_len = locale_point(point), len = 0;
    const char *at = p->at;
    *real = false;
    for (; at < p->end && (is_letter(*at) || *at == '.' || *at == '-' || *at == '+'); at++) {
        if (len + point_len + 1 >= NUMBER_MAX)
            return 0;
        *real |= *at == '.' || *at == 'e' || *at == 'E';
        if (*at == '.') {
            memcpy(text + len, point, point_len);
            len += point_len;
        } else {
            text[len++] = *at;
        }
    }
    text[len] = 0;
    return (size_t)(at - p->at);
}

static bool parse_integer(const char *text, kv_part *part)
{
    bool negative = *text == '-';
    uint64_t n = 0;
    text += negative;
    if (!*text)
        return false;
    for (; *text; text++)
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*text - '0'), &n))
            return false;
    part->type = negative ? KV_PART_INT : KV_PART_UINT;
    part->number = n;
    part->integer = (int64_t)-n;
    return !negative || n <= (uint64_t)1 << 63;
}

static bool parse_real(const char *text, kv_part *part)
{
    char *end;
    size_t digits = strspn(text, "-") <= 1 ? strspn(text, "-") : strlen(text);
    part->type = KV_PART_DOUBLE;
    part->real = strtod(text, &end);
    bool finite = part->real - part->real == 0;
    return text[digits] >= '0' && text[digits] <= '9' && !strpbrk(text, "xX") && *end == 0 &&
           finite;
}

static bool parse_number(parser *p, bool desc)
{
    char text[NUMBER_MAX];
    bool real;
    kv_part part = {.flags = desc ? KV_PART_DESC : 0};
    size_t len = number_copy(p, text, &real);
    if (len == 0 || !(real ? parse_real(text, &part) : parse_integer(text, &part)))
        return false;
    p->at += len;
    return kvi_tuple_put(&p->to, &part);
}

static const struct word {
    const char *text;
    kv_part part;
} words[] = {
    {"null", {.type = KV_PART_NULL}},
    {"false", {.type = KV_PART_BOOL}},
    {"true", {.type = KV_PART_BOOL, .number = 1}},
    {"inf", {.type = KV_PART_DOUBLE, .real = __builtin_inf()}},
    {"-inf", {.type = KV_PART_DOUBLE, .real = -__builtin_inf()}},
    {"nan", {.type = KV_PART_DOUBLE, .real = __builtin_nan("")}},
};

static bool parse_value(parser *p, bool desc)
{
    kv_part part = {.type = KV_PART_TUPLE, .flags = desc ? KV_PART_DESC : 0};
    if (skip_char(p, '"'))
        return parse_bytes(p, true, desc);
    if (p->end - p->at >= 2 && memcmp(p->at, "x\"", 2) == 0) {
        p->at += 2;
        return parse_bytes(p, false, desc);
    }
    for (size_t i = 0; i < KVI_COUNT(words); i++) {
        if (!skip_word(p, words[i].text))
            continue;
        part = words[i].part;
        part.flags = desc ? KV_PART_DESC : 0;
        return kvi_tuple_put(&p->to, &part);
    }
    return parse_number(p, desc);
}

/* An element: a value, or the beginning of a nested tuple (*nested). */
static bool parse_part(parser *p, bool *nested)
{
    kv_part part = {.type = KV_PART_TUPLE};
    bool desc = skip_word(p, "desc");
    skip_blanks(p);
    *nested = p->at < p->end && *p->at == '(';
    if (!*nested)
        return parse_value(p, desc);
    part.flags = desc ? KV_PART_DESC : 0;
    bool fits = kvi_tuple_put(&p->to, &part);
    p->at += fits;
    return fits;
}

/* Ends the innermost tuple. One that is open at its end stays so. */
static void parse_close(parser *p)
{
    if (!p->to.open)
        kvi_tuple_put_end(&p->to, false);
    p->to.depth--;
}

/* All of it up to the last parenthesis. */
static bool parse_tuple(parser *p)
{
    bool fresh = true; /* nothing stands in the innermost tuple yet */
    if (!skip_char(p, '('))
        return false;
    for (;;) {
        skip_blanks(p);
        if (skip_char(p, ')')) {
            if (p->to.depth == 0)
                return true;
            parse_close(p);
            fresh = false;
            continue;
        }
        if (p->to.open || (!fresh && !skip_char(p, ',')))
            return false;
        skip_blanks(p);
        if (!parse_part(p, &fresh))
            return false;
    }
}

KV_API int kv_tuple_parse(const char *text, size_t text_len, void *buf, size_t size, size_t *len,
                          size_t *wrong)
{
    if ((!text && text_len > 0) || (!buf && size > 0) || !len)
        return KV_EINVAL;
    parser p = {.at = text, .end = text ? text + text_len : NULL, .to = {.buf = buf, .size = size}};
    skip_blanks(&p);
    bool sound = parse_tuple(&p);
    if (sound)
        skip_blanks(&p);
    if (!sound || p.at != p.end) {
        if (wrong)
            *wrong = (size_t)(p.at - text);
        return KV_EINVAL;
    }
    return kvi_tuple_finish(&p.to, len);
}
