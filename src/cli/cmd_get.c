/* cmd_get.c - kv get, kv has: one key. */
#include "answer.h"
#include "cli.h"
#include "json.h"
#include "keys.h"
#include "out.h"
#include "session.h"

static int get_report_missing(const cli_session *session, kv_slice key)
{
    if (!args_given(session->args, ARG_QUIET))
        cli_say(session->file, "no key %s", keys_quote(session->args, key));
    return CLI_NO;
}

static void get_write(const cli_args *args, kv_slice key, kv_slice value)
{
    if (args_given(args, ARG_JSON)) {
        answer_entry(args, key, value);
        return;
    }
    if (args_given(args, ARG_RAW)) {
        out_bytes(value.ptr, value.len);
        return;
    }
    out_escaped(value);
    out_char('\n');
}

/* All values of a key. */
static int get_print_all(cli_session *session, kv_slice key)
{
    const kv_range range = {.size = sizeof range,
                            .from = key.ptr,
                            .from_len = key.len,
                            .to = key.ptr,
                            .to_len = key.len,
                            .flags = KV_RANGE_TO_CLOSED};
    kv_cursor *cursor;
    kv_slice value;
    bool any = false;
    int result = kv_cursor_open(session->tree, &range, &cursor);
    while (result == KV_OK && !out_failed() && (result = kv_cursor_next(cursor)) == KV_OK) {
        result = kv_cursor_get(cursor, NULL, &value);
        if (result == KV_OK)
            get_write(session->args, key, value);
        any = true;
    }
    if (result < 0)
        return session_fail(session, result, "key %s", keys_quote(session->args, key));
    return any ? CLI_DONE : get_report_missing(session, key);
}

static int get_print(cli_session *session, kv_slice key)
{
    kv_slice value;
    if (session->multi)
        return get_print_all(session, key);
    int result = kv_get(session->tree, key.ptr, key.len, &value);
    if (result == KV_NOTFOUND)
        return get_report_missing(session, key);
    if (result != KV_OK)
        return session_fail(session, result, "key %s", keys_quote(session->args, key));
    get_write(session->args, key, value);
    return CLI_DONE;
}

int cmd_get(const cli_args *args)
{
    cli_session session;
    int code = session_open(&session, args, SESSION_READ);
    if (code)
        return code;
    return session_close(&session, get_print(&session, args->operands[0].bytes));
}

static int has_answer(const cli_args *args, int code)
{
    if (args_given(args, ARG_JSON) && code <= CLI_NO) {
        answer_begin(args, args->operands[0].bytes);
        json_name("found");
        json_bool(code == CLI_DONE);
        answer_end();
    }
    return code;
}

int cmd_has(const cli_args *args)
{
    cli_session session;
    kv_slice key = args->operands[0].bytes;
    int code = session_open(&session, args, SESSION_READ);
    if (code)
        return has_answer(args, code); /* there is no such tree */
    int result = session_has(&session, key);
    code = result < 0 ? session_fail(&session, result, "key %s", keys_quote(args, key))
                      : cli_exit_of(result);
    return session_close(&session, has_answer(args, code));
}
