/* cmd_expiry.c - kv expire, persist, touch, ttl, sweep, clock: entries that expire. */
#include "answer.h"
#include "cli.h"
#include "json.h"
#include "out.h"
#include "session.h"
#include "units.h"

/* The duration that is operand number i; 0, or the exit code after a message. */
static int duration_read(const cli_args *args, int i, uint64_t *ms)
{
    if (units_read_duration(args->operands[i].text, ms))
        return 0;
    return args_wrong(args, "%s should be a time with its unit: 500ms, 10s, 2m, 2h, 3d",
                      cli_quote(args->operands[i].bytes));
}

/* ---- changing the time of one key ---- */

typedef int expiry_change(cli_session *session, kv_slice key, uint64_t ms);

static int change_expire(cli_session *session, kv_slice key, uint64_t ms)
{
    return kv_expire(session->tree, key.ptr, key.len, ms);
}

static int change_persist(cli_session *session, kv_slice key, uint64_t ms)
{
    (void)ms;
    return kv_persist(session->tree, key.ptr, key.len);
}

static int change_touch(cli_session *session, kv_slice key, uint64_t ms)
{
    return kv_touch(session->tree, key.ptr, key.len, ms, session->args->number[ARG_MIN_GAIN]);
}

static void ttl_json(const cli_args *args, kv_slice key, uint64_t ms)
{
    answer_begin(args, key);
    json_name("ttl_ms");
    if (ms == KV_TTL_NEVER)
        json_integer(-1);
    else
        json_number(ms);
    answer_end();
}

static int expiry_change_key(cli_session *session, expiry_change *change, kv_slice key, uint64_t ms)
{
    uint64_t left = 0;
    int result = change(session, key, ms);
    bool json = result == KV_OK && args_given(session->args, ARG_JSON);
    if (json && kv_ttl(session->tree, key.ptr, key.len, &left) != KV_OK)
        left = 0; /* it has expired at once */
    int code = session_end_change(session, result, key);
    if (json && code == CLI_DONE)
        ttl_json(session->args, key, left);
    return code;
}

static int expiry_run(const cli_args *args, expiry_change *change, uint64_t ms)
{
    cli_session session;
    int code = session_open_single(&session, args, SESSION_WRITE);
    if (code)
        return code;
    return session_close(&session,
                         expiry_change_key(&session, change, args->operands[0].bytes, ms));
}

int cmd_expire(const cli_args *args)
{
    uint64_t ms;
    int code = duration_read(args, 1, &ms);
    return code ? code : expiry_run(args, change_expire, ms);
}

int cmd_persist(const cli_args *args)
{
    return expiry_run(args, change_persist, 0);
}

int cmd_touch(const cli_args *args)
{
    uint64_t ms;
    int code = duration_read(args, 1, &ms);
    return code ? code : expiry_run(args, change_touch, ms);
}

/* ---- asking ---- */

static int ttl_print(cli_session *session, kv_slice key)
{
    uint64_t ms;
    int result = kv_ttl(session->tree, key.ptr, key.len, &ms);
    if (result != KV_OK)
        return session_end_change(session, result, key);
    if (args_given(session->args, ARG_JSON))
        ttl_json(session->args, key, ms);
    else if (ms == KV_TTL_NEVER)
        out_text("-1\n");
    else
        out_format("%llu\n", (unsigned long long)ms);
    return CLI_DONE;
}

int cmd_ttl(const cli_args *args)
{
    cli_session session;
    int code = session_open_single(&session, args, SESSION_READ);
    if (code)
        return code;
    return session_close(&session, ttl_print(&session, args->operands[0].bytes));
}

/* ---- sweeping ---- */

static void sweep_print(const cli_args *args, const kv_sweep_result *result)
{
    char removed[UNITS_MAX], pages[UNITS_MAX];
    if (args_given(args, ARG_JSON)) {
        json_open('{');
        json_name("removed");
        json_number(result->removed);
        json_name("pages");
        json_number(result->pages);
        json_name("next_expiry");
        json_number(result->next_expiry);
        json_name("done");
        json_bool(result->done);
        json_close('}');
        json_end();
    } else if (!args_given(args, ARG_QUIET)) {
        out_format("removed %s %s, visited %s pages%s\n", units_count(removed, result->removed),
                   result->removed == 1 ? "entry" : "entries", units_count(pages, result->pages),
                   result->done ? "" : "; more have expired");
    }
}

static int sweep_run(cli_session *session)
{
    const cli_args *args = session->args;
    kv_sweep_options options = {.size = sizeof options, .max_entries = args->number[ARG_LIMIT]};
    kv_sweep_result result = {.size = sizeof result};
    int rc = args_given(args, ARG_TREE) ? kv_sweep(session->tree, &options, &result)
                                        : kv_sweep_all(session->txn, &options, &result);
    if (rc != KV_OK)
        return session_fail(session, rc, "sweeping");
    int code = session_commit(session);
    if (code == CLI_DONE)
        sweep_print(args, &result);
    return code;
}

int cmd_sweep(const cli_args *args)
{
    cli_session session;
    if (args_given(args, ARG_LIMIT) && args->number[ARG_LIMIT] == 0)
        return args_wrong(args, "--limit is at least 1");
    int code = session_open(&session, args, SESSION_WRITE);
    return code ? code : session_close(&session, sweep_run(&session));
}

/* ---- the clock ---- */

static int clock_reset(void *context)
{
    return kv_db_reset_clock(context, KV_TXN_TRY);
}

static void clock_json(const kv_db_info *info)
{
    json_open('{');
    json_name("ahead_ms");
    json_number(info->clock_ahead_ms);
    json_name("wrong");
    json_bool(info->clock_wrong);
    answer_end();
}

static int clock_run(cli_session *session)
{
    char ahead[UNITS_MAX];
    kv_db_info info = {.size = sizeof info};
    bool reset = args_given(session->args, ARG_RESET);
    int result =
        reset ? session_attempt(session_patience(session), clock_reset, session->db) : KV_OK;
    if (result == KV_OK)
        result = kv_db_stat(session->db, &info);
    if (result != KV_OK)
        return session_fail(session, result, "the clock");
    if (args_given(session->args, ARG_JSON))
        clock_json(&info);
    else if (info.clock_ahead_ms == 0)
        out_text("the file's clock is not ahead of the system's\n");
    else
        out_format("the file's clock is ahead of the system's by %s%s\n",
                   units_duration(ahead, (double)info.clock_ahead_ms / 1000),
                   info.clock_wrong ? ": a wrong clock was here; --reset sets it back" : "");
    return info.clock_wrong ? CLI_NO : CLI_DONE;
}

int cmd_clock(const cli_args *args)
{
    cli_session session;
    int code = session_open_file(&session, args,
                                 args_given(args, ARG_RESET) ? SESSION_WRITE : SESSION_READ);
    return code ? code : session_close(&session, clock_run(&session));
}
