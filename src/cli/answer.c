/* answer.c - see answer.h. */
#include "answer.h"
#include "cli.h"
#include "json.h"
#include "keys.h"
#include <errno.h>
#include <unistd.h>

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

int answer_no_file(const cli_args *args, kv_slice key)
{
    if (access(args->file, F_OK) == 0 || errno != ENOENT)
        return 0;
    if (!args_given(args, ARG_QUIET))
        cli_say(args->file, "no such file, thus no key %s", keys_quote(args, key));
    answer_changed(args, CLI_NO, key);
    return CLI_NO;
}
