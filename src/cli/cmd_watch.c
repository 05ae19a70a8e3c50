/* cmd_watch.c - kv watch: waits for changes and prints them. */
#include "change.h"
#include "cli.h"
#include "json.h"
#include "out.h"
#include "progress.h"
#include "session.h"
#include <math.h>

#define LOOK_MS 250

typedef struct cli_watching {
    cli_session session;
    kv_watch *watch;
    kv_range range;
    kv_diff_options what;
    bool keys;       /* of a range are watched, not trees */
    uint64_t commit; /* whose changes are being printed */
} cli_watching;

static int watching_print(void *context, const kv_change *change)
{
    const cli_watching *watching = context;
    const cli_args *args = watching->session.args;
    if (watching->keys && change_of_tree(change))
        return 0;
    if (args_given(args, ARG_JSON))
        change_write_json(args, change);
    else
        change_write(args, watching->commit, change, args_given(args, ARG_ALL));
    return out_failed();
}

static int watching_find_key(void *context, const kv_change *change)
{
    (void)context;
    return !change_of_tree(change);
}

/* A tree that comes or goes without a key of the range is no change of the range. */
static int watching_concerns(const cli_watching *watching, const kv_watch_event *event,
                             bool *concerns)
{
    kv_diff_options what = watching->what;
    what.change = watching_find_key;
    int result = watching->keys ? kv_diff(event->from, event->to, &what, NULL) : KV_ECANCELED;
    *concerns = result == KV_ECANCELED;
    return *concerns ? KV_OK : result;
}

static int watching_print_event(cli_watching *watching, const kv_watch_event *event)
{
    bool json = args_given(watching->session.args, ARG_JSON);
    watching->commit = event->to_id;
    if (json) {
        json_open('{');
        json_name("from");
        json_number(event->from_id);
        json_name("to");
        json_number(event->to_id);
        json_name("changes");
        json_open('[');
    }
    int result = kv_diff(event->from, event->to, &watching->what, NULL);
    if (json) {
        json_close(']');
        json_close('}');
        json_end();
    }
    out_flush(); /* whoever reads this wants it now */
    return out_failed() ? KV_OK : result;
}

/* What KEY, --prefix, --tree and so on name. */
static void watching_select(cli_watching *watching, const cli_args *args)
{
    watching->range = args_range(args);
    watching->keys = args->count > 0 || args_bounded(args);
    if (args->count > 0) {
        watching->range.from = watching->range.to = args->operands[0].bytes.ptr;
        watching->range.from_len = watching->range.to_len = args->operands[0].bytes.len;
        watching->range.flags = KV_RANGE_TO_CLOSED;
    }
    watching->what = (kv_diff_options){
        .size = sizeof watching->what,
        .tree = args_given(args, ARG_ALL)    ? NULL
                : args_given(args, ARG_TREE) ? args->bytes[ARG_TREE].ptr
                                             : "",
        .tree_len = args->bytes[ARG_TREE].len,
        .range = &watching->range,
        .change = watching_print,
        .context = watching,
    };
}

static int watching_begin(cli_watching *watching)
{
    kv_watch_options options = {.size = sizeof options,
                                .tree = watching->what.tree,
                                .tree_len = watching->what.tree_len,
                                .range = watching->what.range};
    return kv_watch_open(watching->session.db, &options, &watching->watch);
}

/* Milliseconds that are left. */
static double watching_left(const cli_watching *watching, double since)
{
    const cli_args *args = watching->session.args;
    double left = (double)args->number[ARG_TIMEOUT] - (progress_now() - since) * 1e3;
    return args_given(args, ARG_TIMEOUT) ? left : HUGE_VAL;
}

static bool watching_in_vain(cli_watching *watching)
{
    return out_reader_gone() || session_file_gone(&watching->session);
}

/* The next change; looks now and then whether somebody still reads what is printed, and whether
 * somebody can still change the file. */
static int watching_next(cli_watching *watching, double since, kv_watch_event *event)
{
    int result;
    double left;
    do {
        left = watching_left(watching, since);
        uint32_t wait = left >= LOOK_MS ? LOOK_MS : left > 0 ? (uint32_t)left : 0;
        result = kv_watch_next(watching->watch, wait, event);
    } while (result == KV_NOTFOUND && left > LOOK_MS && !watching_in_vain(watching));
    return result;
}

/* Until nothing changes for so long, or once. Gives an exit code. */
static int watching_run(cli_watching *watching)
{
    kv_watch_event event = {.size = sizeof event};
    double since = progress_now();
    bool ended = false, concerns;
    int result;
    do {
        result = watching_next(watching, since, &event);
        if (result == KV_OK)
            result = watching_concerns(watching, &event, &concerns);
        if (result != KV_OK || !concerns)
            continue;
        result = watching_print_event(watching, &event);
        ended = args_given(watching->session.args, ARG_ONCE) || out_failed();
        since = progress_now();
    } while (result == KV_OK && !ended);
    if (result == KV_NOTFOUND)
        return out_reader_gone() ? CLI_DONE : watching->session.gone ? CLI_TROUBLE : CLI_NO;
    return result == KV_OK ? CLI_DONE : session_fail(&watching->session, result, "watching");
}

static int watching_check(const cli_args *args)
{
    if (args->count > 0 && args_bounded(args))
        return args_wrong(args, "a key and a range exclude each other");
    if (args_given(args, ARG_ALL) && args_given(args, ARG_TREE))
        return args_wrong(args, "--all and --tree exclude each other");
    return CLI_DONE;
}

int cmd_watch(const cli_args *args)
{
    cli_watching watching = {.watch = NULL};
    int code = watching_check(args);
    if (code == CLI_DONE)
        code = session_open_file(&watching.session, args, SESSION_READ);
    if (code != CLI_DONE)
        return code;
    watching_select(&watching, args);
    int result = watching_begin(&watching);
    code = result == KV_OK ? watching_run(&watching)
                           : session_fail(&watching.session, result, "watching");
    kv_watch_close(watching.watch);
    return session_close(&watching.session, code);
}
