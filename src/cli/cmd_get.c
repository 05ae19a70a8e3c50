/* cmd_get.c - kv get, kv has: one key. */
#include "cli.h"
#include "keys.h"
#include "out.h"
#include "session.h"

static int get_report_missing(const cli_session *session, kv_slice key)
{
    if (!args_given(session->args, ARG_QUIET))
        cli_say(session->file, "no key %s", keys_quote(session->args, key));
    return CLI_NO;
}

static int get_print(cli_session *session, kv_slice key)
{
    kv_slice value;
    int result = kv_get(session->tree, key.ptr, key.len, &value);
    if (result == KV_NOTFOUND)
        return get_report_missing(session, key);
    if (result != KV_OK)
        return session_fail(session, result, "key %s", keys_quote(session->args, key));
    if (args_given(session->args, ARG_RAW)) {
        out_bytes(value.ptr, value.len);
    } else {
        out_escaped(value);
        out_char('\n');
    }
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

int cmd_has(const cli_args *args)
{
    cli_session session;
    kv_slice key = args->operands[0].bytes;
    int code = session_open(&session, args, SESSION_READ);
    if (code)
        return code;
    int result = kv_exists(session.tree, key.ptr, key.len);
    if (result < 0)
        code = session_fail(&session, result, "key %s", keys_quote(args, key));
    else
        code = cli_exit_of(result);
    return session_close(&session, code);
}
