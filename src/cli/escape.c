/* escape.c - see escape.h. */
#include "escape.h"
#include <string.h>

static bool escape_continues(const uint8_t *ptr, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        if ((ptr[i] & 0xc0) != 0x80)
            return false;
    }
    return true;
}

size_t escape_utf8_len(const uint8_t *ptr, size_t len)
{
    uint8_t lead = ptr[0];
    size_t n = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (n == 0 || lead > 0xf4 || n > len || !escape_continues(ptr, n))
        return 0;
    /* overlong forms, surrogates, and what lies beyond U+10FFFF */
    if ((lead == 0xe0 && ptr[1] < 0xa0) || (lead == 0xed && ptr[1] > 0x9f))
        return 0;
    if ((lead == 0xf0 && ptr[1] < 0x90) || (lead == 0xf4 && ptr[1] > 0x8f))
        return 0;
    return n;
}

bool escape_is_utf8(kv_slice bytes)
{
    const uint8_t *ptr = bytes.ptr;
    for (size_t at = 0, n; at < bytes.len; at += n) {
        n = escape_utf8_len(ptr + at, bytes.len - at);
        if (n == 0)
            return false;
    }
    return true;
}

bool escape_is_c1(const uint8_t *ptr)
{
    return ptr[0] == 0xc2 && ptr[1] < 0xa0;
}

size_t escape_plain_len(const uint8_t *ptr, size_t len)
{
    size_t at = 0;
    while (at < len) {
        if (ptr[at] >= 0x20 && ptr[at] < 0x7f && ptr[at] != '\\') {
            at++;
            continue;
        }
        size_t n = ptr[at] < 0x80 ? 0 : escape_utf8_len(ptr + at, len - at);
        if (n == 0 || escape_is_c1(ptr + at))
            break;
        at += n;
    }
    return at;
}

size_t escape_byte(uint8_t byte, char out[ESCAPE_MAX])
{
    static const char hex[] = "0123456789abcdef";
    static const char from[] = "\t\n\r\\", to[] = "tnr\\";
    const char *named = byte ? strchr(from, byte) : NULL;
    out[0] = '\\';
    if (named) {
        out[1] = to[named - from];
        return 2;
    }
    out[1] = 'x';
    out[2] = hex[byte >> 4];
    out[3] = hex[byte & 15];
    return 4;
}

int escape_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Decodes the escape at text, which begins with a backslash. Gives the bytes it takes, or 0. */
static size_t escape_decode_one(const char *text, size_t len, char *out)
{
    static const char from[] = "tnr\\", to[] = "\t\n\r\\";
    if (len < 2)
        return 0;
    const char *named = text[1] ? strchr(from, text[1]) : NULL;
    if (named) {
        *out = to[named - from];
        return 2;
    }
    if (text[1] != 'x' || len < 4)
        return 0;
    int high = escape_hex_digit(text[2]), low = escape_hex_digit(text[3]);
    if (high < 0 || low < 0)
        return 0;
    *out = (char)(high << 4 | low);
    return 4;
}

ptrdiff_t escape_decode(char *text, size_t len, size_t *wrong_at)
{
    const char *first = memchr(text, '\\', len);
    size_t at = first ? (size_t)(first - text) : len, to = at;
    while (at < len) {
        size_t used = 1;
        if (text[at] == '\\')
            used = escape_decode_one(text + at, len - at, text + to);
        else
            text[to] = text[at];
        if (used == 0) {
            *wrong_at = at;
            return -1;
        }
        at += used;
        to++;
    }
    return (ptrdiff_t)to;
}
