/* cmd_scan.c - kv scan, kv count: the entries of a range. */
#include "answer.h"
#include "cli.h"
#include "json.h"
#include "keys.h"
#include "out.h"
#include "walk.h"

static const cli_args *scan_args(const void *context)
{
    return ((const cli_session *)context)->args;
}

static void scan_text(void *context, kv_slice key, kv_slice value)
{
    keys_write(scan_args(context), key);
    out_char('\t');
    out_escaped(value);
    out_char('\n');
}

static void scan_key(void *context, kv_slice key, kv_slice value)
{
    (void)value;
    keys_write(scan_args(context), key);
    out_char('\n');
}

static void scan_value(void *context, kv_slice key, kv_slice value)
{
    (void)context;
    (void)key;
    out_escaped(value);
    out_char('\n');
}

static void scan_json(void *context, kv_slice key, kv_slice value)
{
    answer_entry(scan_args(context), key, value);
}

int cmd_scan(const cli_args *args)
{
    bool keys = args_given(args, ARG_KEYS_ONLY), values = args_given(args, ARG_VALUES_ONLY);
    if (keys && values)
        return args_wrong(args, "--keys-only and --values-only exclude each other");
    walk_each *each = args_given(args, ARG_JSON) ? scan_json
                      : keys                     ? scan_key
                      : values                   ? scan_value
                                                 : scan_text;
    cli_session session;
    int code = session_open(&session, args, SESSION_READ);
    if (code)
        return code;
    return session_close(&session, walk_range(&session, !keys, each, &session));
}

int cmd_count(const cli_args *args)
{
    cli_session session;
    uint64_t count = 0;
    kv_range range = args_range(args);
    int code = session_open(&session, args, SESSION_READ);
    if (code)
        return code;
    int result = kv_count(session.tree, &range, &count);
    if (result != KV_OK)
        return session_close(&session, session_fail(&session, result, "counting"));
    if (args_given(args, ARG_LIMIT) && range.limit < count)
        count = range.limit;
    if (args_given(args, ARG_JSON)) {
        json_open('{');
        json_name("count");
        json_number(count);
        answer_end();
    } else {
        out_format("%llu\n", (unsigned long long)count);
    }
    return session_close(&session, CLI_DONE);
}
