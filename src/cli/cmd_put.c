/* cmd_put.c - kv put, kv append: one entry, from the command line or standard input. */
#include "answer.h"
#include "cli.h"
#include "input.h"
#include "json.h"
#include "keys.h"
#include "session.h"

/* What has to be there already, so that the file must not be created for it. */
static bool put_needs_old(const cli_args *args)
{
    return args_given(args, ARG_IF_PRESENT) || args_given(args, ARG_IF_EQUALS);
}

static kv_put_options put_options(const cli_args *args)
{
    kv_put_options options = {.size = sizeof options};
    options.flags = args_given(args, ARG_IF_ABSENT)    ? KV_PUT_ABSENT
                    : args_given(args, ARG_IF_PRESENT) ? KV_PUT_PRESENT
                    : args_given(args, ARG_IF_EQUALS)  ? KV_PUT_EQUALS
                                                       : 0;
    if (options.flags == KV_PUT_EQUALS)
        options.equals = args->bytes[ARG_IF_EQUALS];
    if (args_given(args, ARG_KEEP_TTL))
        options.flags |= KV_PUT_KEEP_EXPIRY;
    options.ttl_ms = args->number[ARG_TTL];
    return options;
}

/* The options that a tree of several values for each key has no use for. */
static int put_check_multi(const cli_args *args)
{
    if (args_given(args, ARG_TTL) || args_given(args, ARG_KEEP_TTL))
        return session_no_expiry(args);
    if (args_given(args, ARG_IF_PRESENT) || args_given(args, ARG_IF_EQUALS))
        return args_wrong(args, "--if-present and --if-equals are not for trees of several values "
                                "for each key");
    return 0;
}

/* Adds a value to those of the key; that it is there already is fine unless it should be new. */
static int put_add(cli_session *session, kv_slice key, kv_slice value)
{
    const cli_args *args = session->args;
    int code = put_check_multi(args);
    if (code)
        return code;
    int result = kv_multi_put(session->tree, key.ptr, key.len, value.ptr, value.len);
    if (result < 0)
        return session_fail(session, result, "key %s", keys_quote(args, key));
    bool refused = result != KV_OK && args_given(args, ARG_IF_ABSENT);
    if (refused && !args_given(args, ARG_QUIET))
        cli_say(session->file, "key %s has this value already", keys_quote(args, key));
    code = refused ? CLI_NO : session_commit(session);
    answer_changed(args, code == CLI_DONE && result != KV_OK ? CLI_NO : code, key);
    return code;
}

static int put_store(cli_session *session, kv_slice key, kv_slice value)
{
    int code = session_configure(session);
    if (code)
        return code;
    if (session->multi)
        return put_add(session, key, value);
    kv_put_options options = put_options(session->args);
    int result = kv_put_with(session->tree, key.ptr, key.len, value.ptr, value.len, &options);
    return answer_change(session, result, key);
}

static void append_print(const cli_args *args, kv_slice key, bool changed, uint64_t length)
{
    answer_begin(args, key);
    json_name("changed");
    json_bool(changed);
    if (changed) {
        json_name("length");
        json_number(length);
    }
    answer_end();
}

static int append_store(cli_session *session, kv_slice key, kv_slice value)
{
    int code = session_need_single(session);
    if (code == 0)
        code = session_configure(session);
    if (code)
        return code;
    const cli_args *args = session->args;
    uint64_t length = 0;
    int result = kv_append(session->tree, key.ptr, key.len, value.ptr, value.len,
                           args->number[ARG_MAX_SIZE], &length);
    code = session_end_change(session, result, key);
    if (result == KV_ETOOBIG && args_given(args, ARG_MAX_SIZE))
        code = CLI_NO;
    if (args_given(args, ARG_JSON) && code <= CLI_NO)
        append_print(args, key, code == CLI_DONE, length);
    return code;
}

/* What cannot hold whatever the file has, so that it must not be created for it. */
static int append_check(const cli_args *args, kv_slice value)
{
    uint64_t most = args->number[ARG_MAX_SIZE];
    kv_slice key = args->operands[0].bytes;
    if (!args_given(args, ARG_MAX_SIZE) || value.len <= most)
        return 0;
    cli_say(args->file, "key %s: %zu bytes are too many; the limit is %llu; nothing was changed",
            keys_quote(args, key), value.len, (unsigned long long)most);
    if (args_given(args, ARG_JSON))
        append_print(args, key, false, 0);
    return CLI_NO;
}

static int put_open(cli_session *session, const cli_args *args)
{
    int code = session_open(session, args, put_needs_old(args) ? SESSION_WRITE : SESSION_CREATE);
    if (code)
        answer_changed(args, code, args->operands[0].bytes); /* there is no such tree */
    return code;
}

static int put_run(const cli_args *args, int (*store)(cli_session *, kv_slice, kv_slice))
{
    cli_session session;
    kv_slice value;
    int code = input_value(&args->operands[1], &value);
    if (code)
        return code;
    code = put_needs_old(args) ? answer_no_file(args, args->operands[0].bytes)
                               : append_check(args, value);
    if (code == 0)
        code = put_open(&session, args);
    if (code == 0)
        code = session_close(&session, store(&session, args->operands[0].bytes, value));
    input_free(&args->operands[1], value);
    return code;
}

int cmd_put(const cli_args *args)
{
    int conditions = args_given(args, ARG_IF_ABSENT) + args_given(args, ARG_IF_PRESENT) +
                     args_given(args, ARG_IF_EQUALS);
    if (conditions > 1)
        return args_wrong(args, "--if-absent, --if-present and --if-equals exclude each other");
    if (args_given(args, ARG_TTL) && args->number[ARG_TTL] == 0)
        return args_wrong(args, "--ttl is at least 1ms");
    if (args_given(args, ARG_MULTI)) {
        int code = put_check_multi(args);
        if (code)
            return code;
    }
    return put_run(args, put_store);
}

int cmd_append(const cli_args *args)
{
    if (args_given(args, ARG_MAX_SIZE) && args->number[ARG_MAX_SIZE] == 0)
        return args_wrong(args, "--max-size is at least 1");
    return put_run(args, append_store);
}
