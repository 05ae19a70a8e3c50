/* keys.c - see keys.h. */
#include "keys.h"
#include "cli.h"
#include "escape.h"
#include "json.h"
#include "out.h"
#include <stdlib.h>
#include <string.h>

int keys_parse(const cli_args *args, kv_slice *key, bool bound)
{
    size_t len = 0, wrong = 0;
    const char *text = key->ptr;
    size_t text_len = key->len;
    size_t size = 9 * text_len; /* one digit may become a double */
    char *bytes = cli_realloc(NULL, size + !size);
    int result = kv_tuple_parse(text, text_len, bytes, size, &len, &wrong);
    if (result == KV_OK && !bound && kv_tuple_print(bytes, len, NULL, 0, &wrong) == KV_EINVAL) {
        free(bytes);
        return args_wrong(args, "%s: ... is for --prefix, --from and --to", cli_quote(*key));
    }
    if (result != KV_OK) {
        free(bytes);
        return args_wrong(args, "%s is no tuple: mistake at byte %zu; as (\"order\", 1001, 2.5)",
                          cli_quote(*key), wrong + 1);
    }
    *key = (kv_slice){bytes, len};
    return 0;
}

/* The text of a key that is a tuple, to be freed, or NULL. */
static char *keys_text(const cli_args *args, kv_slice key, size_t *len)
{
    if (!args_given(args, ARG_TUPLE) ||
        kv_tuple_print(key.ptr, key.len, NULL, 0, len) != KV_ETOOBIG)
        return NULL;
    size_t size = *len + 1;
    char *text = cli_realloc(NULL, size);
    if (kv_tuple_print(key.ptr, key.len, text, size, len) == KV_OK)
        return text;
    free(text);
    return NULL;
}

/* The same as people see it. Backslashes are those of the tuple; what a terminal should not get becomes
 * one more escape, which is read the same way. */
static char *keys_shown(const cli_args *args, kv_slice key, size_t *len)
{
    size_t text_len, used = 0;
    char *text = keys_text(args, key, &text_len);
    if (!text)
        return NULL;
    char *shown = cli_realloc(NULL, text_len * ESCAPE_MAX + 1);
    const uint8_t *bytes = (const uint8_t *)text;
    for (size_t at = 0; at < text_len;) {
        size_t plain = text[at] == '\\' ? 1 : escape_plain_len(bytes + at, text_len - at);
        memcpy(shown + used, text + at, plain);
        used += plain > 0 ? plain : escape_byte(bytes[at], shown + used);
        at += plain > 0 ? plain : 1;
    }
    free(text);
    shown[used] = 0;
    *len = used;
    return shown;
}

void keys_write(const cli_args *args, kv_slice key)
{
    size_t len;
    char *text = keys_shown(args, key, &len);
    if (text)
        out_bytes(text, len);
    else
        out_escaped(key);
    free(text);
}

void keys_json(const cli_args *args, kv_slice key)
{
    size_t len;
    char *text = keys_shown(args, key, &len);
    json_bytes(text ? (kv_slice){text, len} : key);
    free(text);
}

void keys_cell(const cli_args *args, cli_table *table, kv_slice key)
{
    size_t len;
    char *text = keys_shown(args, key, &len);
    if (text)
        table_cell(table, text);
    else
        table_cell_bytes(table, key);
    free(text);
}

const char *keys_quote(const cli_args *args, kv_slice key)
{
    size_t len;
    char *text = keys_text(args, key, &len);
    const char *quoted = text ? cli_quote_escaped((kv_slice){text, len}) : cli_quote(key);
    free(text);
    return quoted;
}
