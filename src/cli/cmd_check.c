/* cmd_check.c - kv check: the whole file against its invariants. */
#include "cli.h"
#include "json.h"
#include "out.h"
#include "progress.h"
#include "session.h"
#include "units.h"
#include <stdio.h>
#include <string.h>

#define LOOKS 3 /* at a meta that a writer may be writing */

typedef struct cli_check {
    cli_session session;
    cli_progress progress;
    uint64_t pages; /* looked at */
    uint64_t problems;
    int unsound;   /* the meta that is not sound; -1: none */
    char why[160]; /* it is not */
    bool refused;  /* no open takes the file: the problems are those of what is there */
    bool json;
} cli_check;

static kv_slice check_text(const char *text)
{
    return (kv_slice){text, text ? strlen(text) : 0};
}

static void check_print_json(const kv_check_problem *problem)
{
    json_open('{');
    json_name("page");
    json_number(problem->page);
    json_name("invariant");
    json_bytes(check_text(problem->invariant));
    json_name("message");
    json_bytes(check_text(problem->message));
    json_name("path");
    json_bytes(check_text(problem->path));
    json_close('}');
}

static int check_on_problem(void *context, const kv_check_problem *problem)
{
    cli_check *check = context;
    check->problems++;
    progress_hide();
    if (check->json) {
        check_print_json(problem);
        return 0;
    }
    if (problem->page)
        out_format("page %llu: ", (unsigned long long)problem->page);
    if (problem->invariant && *problem->invariant)
        out_format("%s: ", problem->invariant);
    out_escaped(check_text(problem->message));
    if (problem->path && *problem->path) {
        out_text(" [");
        out_bytes(problem->path, strlen(problem->path)); /* escaped already */
        out_char(']');
    }
    out_char('\n');
    return 0;
}

static int check_on_progress(void *context, const kv_progress *now)
{
    cli_check *check = context;
    check->pages = now->done;
    check->progress.total = now->total;
    progress_update(&check->progress, now->done, now->done);
    return 0;
}

static kv_check_options check_options(cli_check *check)
{
    return (kv_check_options){.size = sizeof(kv_check_options),
                              .problem = check_on_problem,
                              .progress = check_on_progress,
                              .context = check};
}

/* ---- files that no open takes ---- */

/* The refusal is said already, and decides the exit status; here are its reasons, one by one. */
static void check_refused(cli_check *check)
{
    char sentence[512] = "";
    kv_inspect *look;
    kv_check_options options = check_options(check);
    kv_check_problem none = {.invariant = "M0", .message = sentence, .path = ""};
    check->refused = true;
    int result = kv_inspect_open(check->session.args->file, &look, sentence, sizeof sentence);
    if (result == KV_OK) {
        result = kv_inspect_check(look, &options);
        kv_inspect_close(look);
    } else if (result == KV_ENOTKV || result == KV_EVERSION) {
        check_on_problem(check, &none);
    }
}

/* ---- metas ---- */

static int check_unsound_meta(cli_check *check)
{
    kv_inspect *look;
    int unsound = -1;
    if (kv_inspect_open(check->session.args->file, &look, NULL, 0) != KV_OK)
        return -1;
    for (unsigned slot = 0; slot < 2; slot++) {
        kv_meta_info meta = {.size = sizeof meta};
        if (kv_inspect_meta(look, slot, &meta) == KV_OK && meta.state != KV_META_SOUND) {
            snprintf(check->why, sizeof check->why, "%s", meta.reason);
            unsound = (int)slot;
        }
    }
    kv_inspect_close(look);
    return unsound;
}

/* One of the two is enough, and all that a crash in a commit may leave. */
static void check_metas(cli_check *check)
{
    check->unsound = check_unsound_meta(check);
    for (int looks = 1; check->unsound >= 0 && looks < LOOKS; looks++)
        check->unsound = check_unsound_meta(check);
}

static void check_print_note(const cli_check *check)
{
    if (check->unsound >= 0)
        out_format("note: meta %d is not sound: %s; meta %d is, and the next commit writes the "
                   "other anew\n",
                   check->unsound, check->why, 1 - check->unsound);
}

static void check_notes_json(const cli_check *check)
{
    json_name("notes");
    json_open('[');
    if (check->unsound >= 0) {
        json_open('{');
        json_name("meta");
        json_number((uint64_t)check->unsound);
        json_name("message");
        json_text(check->why);
        json_close('}');
    }
    json_close(']');
}

/* ---- the end ---- */

static void check_end_json(const cli_check *check, bool ok, double seconds)
{
    json_close(']');
    json_name("ok");
    json_bool(ok);
    json_name("pages");
    json_number(check->pages);
    json_name("seconds");
    json_decimal(seconds);
    check_notes_json(check);
    json_close('}');
    json_end();
}

/* Reports what kv_db_check found. */
static int check_conclude(cli_check *check, int result, double seconds)
{
    char count[UNITS_MAX], duration[UNITS_MAX];
    if (result != KV_OK && (result != KV_ECORRUPT || check->problems == 0 || check->refused))
        return session_fail(&check->session, result, "check");
    bool aloud = !check->json && !args_given(check->session.args, ARG_QUIET);
    if (check->problems > 0) {
        if (aloud)
            check_print_note(check);
        cli_say(check->session.file,
                "%s %s; kv repair rebuilds the records of free pages, kv salvage saves what can be "
                "read",
                units_count(count, check->problems), check->problems == 1 ? "problem" : "problems");
        return CLI_DAMAGED;
    }
    if (aloud) {
        out_format("ok: %s %s in %s\n", units_count(count, check->pages),
                   check->pages == 1 ? "page" : "pages", units_duration(duration, seconds));
        check_print_note(check);
    }
    return CLI_DONE;
}

static int check_run(cli_check *check)
{
    const cli_args *args = check->session.args;
    kv_check_options options = check_options(check);
    kv_db_info info = {.size = sizeof info};
    progress_begin(&check->progress, "pages", 0, args_given(args, ARG_QUIET));
    int result = kv_db_check(check->session.db, &options);
    if (result == KV_ECORRUPT && check->problems == 0)
        check_refused(check);
    double seconds = progress_end(&check->progress);
    if (result == KV_OK && kv_db_stat(check->session.db, &info) == KV_OK)
        check->pages = info.pages;
    check_metas(check);
    if (check->json)
        check_end_json(check, result == KV_OK && check->problems == 0, seconds);
    return check_conclude(check, result, seconds);
}

int cmd_check(const cli_args *args)
{
    cli_check check = {.unsound = -1, .json = args_given(args, ARG_JSON)};
    if (check.json) {
        json_open('{');
        json_name("problems");
        json_open('[');
    }
    int code = session_open_file(&check.session, args, SESSION_READ);
    if (code) {
        progress_begin(&check.progress, "pages", 0, args_given(args, ARG_QUIET));
        check_refused(&check);
        double seconds = progress_end(&check.progress);
        if (check.json)
            check_end_json(&check, false, seconds);
        return code;
    }
    return session_close(&check.session, check_run(&check));
}
