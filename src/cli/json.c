/* json.c - see json.h. */
#include "json.h"
#include "escape.h"
#include "out.h"
#include "units.h"
#include <string.h>

static bool comma; /* something stands before in the same bracket */

static void json_separate(void)
{
    if (comma)
        out_char(',');
    comma = true;
}

void json_open(char bracket)
{
    json_separate();
    out_char(bracket);
    comma = false;
}

void json_close(char bracket)
{
    out_char(bracket);
    comma = true;
}

void json_name(const char *name)
{
    json_text(name);
    out_char(':');
    comma = false;
}

void json_number(uint64_t n)
{
    json_separate();
    out_format("%llu", (unsigned long long)n);
}

void json_integer(int64_t n)
{
    json_separate();
    out_format("%lld", (long long)n);
}

void json_real(double number)
{
    char text[UNITS_MAX];
    json_separate();
    out_text(units_real(text, number));
}

void json_decimal(double number)
{
    json_separate();
    out_format("%.3f", number);
}

void json_bool(bool value)
{
    json_separate();
    out_text(value ? "true" : "false");
}

void json_null(void)
{
    json_separate();
    out_text("null");
}

void json_text(const char *text)
{
    json_bytes((kv_slice){text, strlen(text)});
}

/* Bytes of the character at ptr when it must not stand as it is, else 0. */
static size_t json_special_len(const uint8_t *ptr)
{
    if (escape_is_c1(ptr))
        return 2;
    return *ptr < 0x20 || *ptr == '"' || *ptr == '\\' || *ptr == 0x7f;
}

static void json_string(kv_slice bytes)
{
    const uint8_t *ptr = bytes.ptr;
    size_t begin = 0;
    out_char('"');
    for (size_t at = 0; at < bytes.len && !out_failed(); at++) {
        size_t len = json_special_len(ptr + at);
        if (len == 0)
            continue;
        out_bytes(ptr + begin, at - begin);
        if (ptr[at] == '"' || ptr[at] == '\\')
            out_bytes((char[]){'\\', (char)ptr[at]}, 2);
        else
            out_format("\\u%04x", ptr[at + len - 1]); /* U+0080 to U+009F: c2 80 to c2 9f */
        begin = at + len;
    }
    if (bytes.len > 0)
        out_bytes(ptr + begin, bytes.len - begin);
    out_char('"');
}

void json_bytes(kv_slice bytes)
{
    json_separate();
    if (escape_is_utf8(bytes)) {
        json_string(bytes);
        return;
    }
    out_text("{\"hex\":\"");
    out_hex(bytes);
    out_text("\"}");
}

void json_end(void)
{
    out_char('\n');
    comma = false;
}
