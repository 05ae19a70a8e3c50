/* cmd_compact.c - kv compact: makes a file smaller while it is used. */
#include "cli.h"
#include "json.h"
#include "out.h"
#include "progress.h"
#include "session.h"
#include "units.h"

static int compact_on_progress(void *context, const kv_progress *now)
{
    cli_progress *progress = context;
    progress->total = now->total;
    progress_update(progress, now->done, now->done);
    return 0;
}

static const char *const holders[] = {"nobody", "a reader", "a snapshot"};

static void compact_print_json(const kv_compact_info *info)
{
    static const char *const words[] = {"nobody", "reader", "snapshot"};
    json_open('{');
    json_name("before");
    json_number(info->before);
    json_name("after");
    json_number(info->after);
    json_name("moved_pages");
    json_number(info->moved_pages);
    json_name("steps");
    json_number(info->steps);
    json_name("longest_us");
    json_number(info->longest_us);
    json_name("held_by");
    json_text(words[info->held_by]);
    json_name("holder");
    json_number(info->holder);
    json_close('}');
    json_end();
}

static void compact_print(const kv_compact_info *info, double seconds)
{
    char before[UNITS_MAX], after[UNITS_MAX], duration[UNITS_MAX];
    out_format("%s, now %s, in %s\n", units_size(before, info->before),
               units_size(after, info->after), units_duration(duration, seconds));
    if (info->held_by)
        out_format("%s keeps replaced pages%s\n", holders[info->held_by],
                   info->held_by == KV_HELD_READER ? "; kv readers lists them"
                                                   : "; kv snapshot list shows them");
}

int cmd_compact(const cli_args *args)
{
    cli_session session;
    cli_progress progress;
    kv_compact_info info = {.size = sizeof info};
    kv_compact_options options = {
        .size = sizeof options, .progress = compact_on_progress, .context = &progress};
    int code = session_open_file(&session, args, SESSION_WRITE);
    if (code)
        return code;
    options.wait_ms = session_patience_least(&session);
    progress_begin(&progress, "pages", 0, args_given(args, ARG_QUIET));
    int result = kv_db_compact(session.db, &options, &info);
    double seconds = progress_end(&progress);
    if (result != KV_OK)
        code = session_fail(&session, result, "compacting");
    else if (args_given(args, ARG_JSON))
        compact_print_json(&info);
    else if (!args_given(args, ARG_QUIET))
        compact_print(&info, seconds);
    return session_close(&session, code);
}
