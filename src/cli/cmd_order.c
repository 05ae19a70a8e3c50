/* cmd_order.c - kv rank, nth, random, percentile, split: entries by their number in a range. */
#include "answer.h"
#include "cli.h"
#include "json.h"
#include "keys.h"
#include "out.h"
#include "session.h"
#include "units.h"
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* An entry as scan prints it. */
static void order_print(const cli_args *args, const kv_pair *pair)
{
    if (args_given(args, ARG_JSON)) {
        answer_entry(args, pair->key, pair->value);
        return;
    }
    keys_write(args, pair->key);
    out_char('\t');
    out_escaped(pair->value);
    out_char('\n');
}

/* Prints what was found, or says that there is nothing. */
static int order_answer(const cli_session *session, int result, const kv_pair *pair)
{
    if (result < 0)
        return session_fail(session, result, "%s", session->args->command->name);
    if (result == KV_OK)
        order_print(session->args, pair);
    else if (!args_given(session->args, ARG_QUIET))
        cli_say(session->file, "the range has no such entry");
    return cli_exit_of(result);
}

static int rank_print(cli_session *session, kv_slice key)
{
    uint64_t rank;
    int result = kv_rank(session->tree, key.ptr, key.len, &rank);
    int found = result == KV_OK ? session_has(session, key) : result;
    if (found < 0)
        return session_fail(session, found, "key %s", keys_quote(session->args, key));
    if (!args_given(session->args, ARG_JSON)) {
        out_format("%llu\n", (unsigned long long)rank);
        return CLI_DONE;
    }
    json_open('{');
    json_name("rank");
    json_number(rank);
    json_name("found");
    json_bool(found == KV_OK);
    json_close('}');
    json_end();
    return CLI_DONE;
}

int cmd_rank(const cli_args *args)
{
    cli_session session;
    int code = session_open(&session, args, SESSION_READ);
    return code ? code : session_close(&session, rank_print(&session, args->operands[0].bytes));
}

int cmd_nth(const cli_args *args)
{
    cli_session session;
    kv_pair pair;
    kv_range range = args_range(args);
    uint64_t n;
    if (!units_read_number(args->operands[0].text, &n))
        return args_wrong(args, "N is a number, from 0; --reverse counts from the end");
    int code = session_open(&session, args, SESSION_READ);
    if (code)
        return code;
    int result = args_none(args) ? KV_NOTFOUND : kv_nth(session.tree, &range, n, &pair);
    return session_close(&session, order_answer(&session, result, &pair));
}

int cmd_percentile(const cli_args *args)
{
    cli_session session;
    kv_pair pair;
    kv_range range = args_range(args);
    double percent;
    if (!units_read_real(args->operands[0].text, &percent) || percent < 0 || percent > 100)
        return args_wrong(args, "P is a number from 0 to 100");
    int code = session_open(&session, args, SESSION_READ);
    if (code)
        return code;
    int result =
        args_none(args) ? KV_NOTFOUND : kv_percentile(session.tree, &range, percent, &pair);
    return session_close(&session, order_answer(&session, result, &pair));
}

/* As many entries as --limit says, each drawn from all: one may come twice. */
static int random_print(cli_session *session)
{
    const cli_args *args = session->args;
    kv_range range = args_range(args);
    uint64_t times = args_given(args, ARG_LIMIT) ? range.limit : 1;
    int code = CLI_DONE;
    range.limit = 0;
    while (times-- > 0 && code == CLI_DONE && !out_failed()) {
        kv_pair pair;
        uint64_t number;
        if (getrandom(&number, sizeof number, 0) != sizeof number) {
            cli_say(session->file, "no random numbers");
            return CLI_TROUBLE;
        }
        int result = kv_random(session->tree, &range, number, &pair);
        code = order_answer(session, result, &pair);
    }
    return code;
}

int cmd_random(const cli_args *args)
{
    cli_session session;
    int code = session_open(&session, args, SESSION_READ);
    return code ? code : session_close(&session, random_print(&session));
}

static int split_print(cli_session *session, uint64_t most)
{
    const cli_args *args = session->args;
    kv_range range = args_range(args);
    kv_db_info info = {.size = sizeof info};
    uint64_t entries = 0;
    size_t got = 0;
    int result = kv_db_stat(session->db, &info);
    if (result == KV_OK)
        result = kv_count(session->tree, &range, &entries);
    size_t parts = (size_t)(most < entries + 1 ? most : entries + 1);
    kv_slice *keys = cli_realloc(NULL, parts * sizeof *keys);
    size_t size = parts * info.key_max;
    char *room = cli_realloc(NULL, size + 1);
    if (result == KV_OK && !args_none(args))
        result = kv_split(session->tree, &range, parts, keys, room, size, &got);
    for (size_t i = 0; i < got && result == KV_OK; i++) {
        if (args_given(args, ARG_JSON)) {
            keys_json(args, keys[i]);
            json_end();
        } else {
            keys_write(args, keys[i]);
            out_char('\n');
        }
    }
    int code = result == KV_OK ? CLI_DONE : session_fail(session, result, "splitting");
    free(room);
    free(keys);
    return code;
}

int cmd_split(const cli_args *args)
{
    cli_session session;
    uint64_t parts;
    if (!units_read_number(args->operands[0].text, &parts) || parts == 0 || parts > 1000000)
        return args_wrong(args, "N is a number from 1 to 1000000");
    int code = session_open(&session, args, SESSION_READ);
    return code ? code : session_close(&session, split_print(&session, parts));
}
