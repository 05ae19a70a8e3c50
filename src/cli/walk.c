/* walk.c - see walk.h. */
#include "walk.h"
#include "cli.h"
#include "out.h"
#include "progress.h"
#include <unistd.h>

static uint64_t walk_total(cli_session *session, const kv_range *range)
{
    uint64_t total = 0;
    if (kv_count(session->tree, range, &total) != KV_OK)
        return 0;
    return range->limit > 0 && range->limit < total ? range->limit : total;
}

static int walk_entries(cli_session *session, kv_cursor *cursor, bool values,
                        cli_progress *progress, walk_each *each, void *context)
{
    kv_slice key;
    kv_entry_info info = {.size = sizeof info};
    uint64_t done = 0;
    int result;
    while (!out_failed() && (result = kv_cursor_next(cursor)) != KV_NOTFOUND) {
        if (result == KV_OK)
            result = kv_cursor_get(cursor, &key, NULL);
        if (result == KV_OK && values)
            result = kv_cursor_info(cursor, &info);
        if (result != KV_OK)
            return session_fail(session, result, "after %llu entries", (unsigned long long)done);
        session->expires_at = info.expires_at;
        each(context, key, info.value);
        done++;
        progress_update(progress, done, done);
    }
    return CLI_DONE;
}

int walk_range(cli_session *session, bool values, walk_each *each, void *context)
{
    kv_cursor *cursor;
    kv_range range = args_range(session->args);
    range.flags |= KV_RANGE_BRIEF; /* each value is printed at once */
    if (args_none(session->args))
        return CLI_DONE;
    int result = kv_cursor_open(session->tree, &range, &cursor);
    if (result != KV_OK)
        return session_fail(session, result, "reading");
    cli_progress progress;
    /* on a terminal, the entries themselves are the progress */
    bool quiet = args_given(session->args, ARG_QUIET) || isatty(STDOUT_FILENO);
    progress_begin(&progress, "entries", walk_total(session, &range), quiet);
    int code = walk_entries(session, cursor, values, &progress, each, context);
    progress_end(&progress);
    kv_cursor_close(cursor);
    return code;
}
