/* answer.c - see answer.h. */
#include "answer.h"
#include "cli.h"
#include "json.h"
#include "keys.h"

void answer_begin(const cli_args *args, kv_slice key)
{
    json_open('{');
    json_name("key");
    keys_json(args, key);
}

void answer_end(void)
{
    json_close('}');
    json_end();
}

void answer_entry(const cli_args *args, kv_slice key, kv_slice value)
{
    json_open('{');
    if (!args_given(args, ARG_VALUES_ONLY)) {
        json_name("key");
        keys_json(args, key);
    }
    if (!args_given(args, ARG_KEYS_ONLY)) {
        json_name("value");
        json_bytes(value);
    }
    answer_end();
}

void answer_changed(const cli_args *args, int code, kv_slice key)
{
    if (!args_given(args, ARG_JSON) || code > CLI_NO)
        return;
    answer_begin(args, key);
    json_name("changed");
    json_bool(code == CLI_DONE);
    answer_end();
}

int answer_change(cli_session *session, int result, kv_slice key)
{
    int code = session_end_change(session, result, key);
    answer_changed(session->args, code, key);
    return code;
}
