/* cmd_del.c - kv del: keys by name, or a range. */
#include "answer.h"
#include "cli.h"
#include "json.h"
#include "keys.h"
#include "out.h"
#include "session.h"
#include "units.h"
#include <stdlib.h>

/* *deleted: how many entries. */
static int del_key(cli_session *session, kv_slice key, uint64_t *deleted)
{
    const cli_args *args = session->args;
    kv_slice value = args->bytes[ARG_VALUE];
    int result;
    *deleted = 0;
    if (session->multi && !args_given(args, ARG_VALUE))
        return kv_multi_del_key(session->tree, key.ptr, key.len, deleted);
    result = session->multi ? kv_multi_del(session->tree, key.ptr, key.len, value.ptr, value.len)
                            : kv_del(session->tree, key.ptr, key.len);
    *deleted = result == KV_OK;
    return result;
}

static void del_print(const cli_args *args, const uint64_t *deleted)
{
    for (int i = 0; i < args->count; i++) {
        answer_begin(args, args->operands[i].bytes);
        json_name("deleted");
        json_number(deleted[i]);
        answer_end();
    }
}

/* Those that are missing are told; how many entries each of the others had goes to deleted. */
static int del_each(cli_session *session, uint64_t *deleted)
{
    const cli_args *args = session->args;
    int missing = 0;
    for (int i = 0; i < args->count; i++) {
        kv_slice key = args->operands[i].bytes;
        int result = del_key(session, key, &deleted[i]);
        if (result < 0)
            return session_fail(session, result, "key %s", keys_quote(args, key));
        if (result == KV_OK)
            continue;
        missing++;
        if (!args_given(args, ARG_QUIET))
            cli_say(session->file, "no %s %s",
                    args_given(args, ARG_VALUE) ? "such value of key" : "key",
                    keys_quote(args, key));
    }
    int code = missing < args->count ? session_commit(session) : CLI_DONE;
    if (code == CLI_DONE && args_given(args, ARG_JSON))
        del_print(args, deleted);
    return code ? code : missing > 0 ? CLI_NO : CLI_DONE;
}

static int del_keys(cli_session *session)
{
    const cli_args *args = session->args;
    if (args_given(args, ARG_VALUE) && !session->multi)
        return args_wrong(args, "--value is for trees of several values for each key");
    uint64_t *deleted = cli_realloc(NULL, (size_t)args->count * sizeof *deleted);
    int code = del_each(session, deleted);
    free(deleted);
    return code;
}

static int del_equal(cli_session *session)
{
    const cli_args *args = session->args;
    kv_slice key = args->operands[0].bytes;
    int code = session_need_single(session);
    if (code)
        return code;
    int result = kv_cas(session->tree, key.ptr, key.len, &args->bytes[ARG_IF_EQUALS], NULL, NULL);
    return answer_change(session, result, key);
}

static int del_range(cli_session *session)
{
    const cli_args *args = session->args;
    kv_range range = args_range(args);
    uint64_t deleted = 0;
    if (!args_none(args)) {
        int result = kv_del_range(session->tree, &range, &deleted);
        if (result != KV_OK)
            return session_fail(session, result, "deleting");
    }
    int code = deleted > 0 ? session_commit(session) : CLI_DONE;
    char buf[UNITS_MAX];
    if (code == CLI_DONE && args_given(args, ARG_JSON)) {
        json_open('{');
        json_name("deleted");
        json_number(deleted);
        answer_end();
    } else if (code == CLI_DONE && !args_given(args, ARG_QUIET)) {
        out_format("deleted %s %s\n", units_count(buf, deleted),
                   deleted == 1 ? "entry" : "entries");
    }
    return code;
}

/* A variable that was never set makes a bound that is empty. */
static bool del_unbounded(const cli_args *args)
{
    return args->bytes[ARG_PREFIX].len == 0 && args->bytes[ARG_FROM].len == 0 &&
           !args_given(args, ARG_TO) && !args_given(args, ARG_ALL);
}

int cmd_del(const cli_args *args)
{
    const uint64_t bounds = ARG_BIT(ARG_PREFIX) | ARG_BIT(ARG_FROM) | ARG_BIT(ARG_TO);
    const uint64_t ranges = bounds | ARG_BIT(ARG_LIMIT) | ARG_BIT(ARG_REVERSE) | ARG_BIT(ARG_ALL);
    if (args->count > 0 && (args->given & ranges))
        return args_wrong(args, "either keys or a range");
    if (args->count == 0 && !(args->given & (bounds | ARG_BIT(ARG_ALL))))
        return args_wrong(args, "needs keys, or a range by --prefix, --from or --to, or --all");
    if (args->count == 0 && args_given(args, ARG_VALUE))
        return args_wrong(args, "--value needs keys");
    if (args->count == 0 && del_unbounded(args))
        return args_wrong(args, "the bound is empty, which is everything: --all says that");
    if (args_given(args, ARG_ALL) && (args->given & bounds))
        return args_wrong(args, "--all has no bounds");
    if (args_given(args, ARG_IF_EQUALS) && args->count != 1)
        return args_wrong(args, "--if-equals is about one key");
    if (args_given(args, ARG_IF_EQUALS) && args_given(args, ARG_VALUE))
        return args_wrong(args, "--if-equals and --value exclude each other");
    cli_session session;
    int code = args_given(args, ARG_IF_EQUALS) ? answer_no_file(args, args->operands[0].bytes) : 0;
    if (code)
        return code;
    code = session_open(&session, args, SESSION_WRITE);
    if (code && args_given(args, ARG_IF_EQUALS)) /* there is no such tree */
        answer_changed(args, code, args->operands[0].bytes);
    if (code)
        return code;
    code = args_given(args, ARG_IF_EQUALS) ? del_equal(&session)
           : args->count > 0               ? del_keys(&session)
                                           : del_range(&session);
    return session_close(&session, code);
}
