/* cmd_import.c - kv import: entries from text or a dump, in one transaction or in batches. */
#include "cli.h"
#include "dump.h"
#include "json.h"
#include "out.h"
#include "progress.h"
#include "session.h"
#include "text.h"
#include "units.h"
#include <stdio.h>
#include <unistd.h>

typedef struct cli_import {
    cli_session session;
    cli_lines lines;
    cli_progress progress;
    uint64_t entries;   /* stored so far */
    uint64_t committed; /* of these, in earlier transactions */
} cli_import;

static int import_next_batch(cli_import *import)
{
    int code = session_commit(&import->session);
    if (code)
        return code;
    import->committed = import->entries;
    return session_begin(&import->session);
}

static int import_store(cli_import *import, const kv_pair *pair, uint64_t expires_at)
{
    cli_session *session = &import->session;
    kv_put_options options = {.size = sizeof options, .expires_at = expires_at};
    kv_slice key = pair->key, value = pair->value;
    int result = session->multi
                     ? kv_multi_put(session->tree, key.ptr, key.len, value.ptr, value.len)
                     : kv_put_with(session->tree, key.ptr, key.len, value.ptr, value.len, &options);
    if (result < 0)
        return session_fail(session, result, "%s, line %llu: key %s", import->lines.name,
                            (unsigned long long)import->lines.number, cli_quote(pair->key));
    import->entries++;
    progress_update(&import->progress, import->lines.bytes, import->entries);
    uint64_t batch = session->args->number[ARG_BATCH];
    return batch > 0 && import->entries - import->committed >= batch ? import_next_batch(import)
                                                                     : 0;
}

static int import_check(const cli_args *args, bool dump, bool multi)
{
    if (!args_given(args, ARG_EXPIRY))
        return 0;
    if (dump)
        return args_wrong(args, "dumps tell of no expiry");
    return multi ? session_no_expiry(args) : 0;
}

static int import_text(cli_import *import)
{
    kv_pair pair;
    uint64_t expires_at = 0;
    const cli_args *args = import->session.args;
    bool timed = args_given(args, ARG_EXPIRY);
    int got = 0, code = import_check(args, false, import->session.multi);
    if (code == 0)
        code = session_configure(&import->session);
    while (code == 0 && (got = timed ? text_read_until(&import->lines, &pair, &expires_at)
                                     : text_read(&import->lines, &pair)) > 0)
        code = import_store(import, &pair, expires_at);
    return code ? code : got < 0 ? CLI_TROUBLE : CLI_DONE;
}

/* --multi makes a tree and changes none. One without entries may be new, made for this import. */
static int import_refuse_multi(const cli_import *import)
{
    uint64_t entries = 0;
    char advice[256] = "--tree NAME --multi makes a tree for it";
    const cli_session *session = &import->session;
    if (session->tree_name.ptr && kv_count(session->tree, NULL, &entries) == KV_OK && entries > 0)
        snprintf(advice, sizeof advice,
                 "tree %s has one value for each key; choose another --tree with --multi",
                 cli_quote(session->tree_name));
    cli_say(import->lines.name, "line %llu: this database has several values for each key; %s",
            (unsigned long long)import->lines.number, advice);
    return CLI_USAGE;
}

/* The tree of a section: what --tree says, which fits one section only, or the section's own. */
static int import_select(cli_import *import, const dump_reader *reader, int section)
{
    cli_session *session = &import->session;
    int code = 0;
    session->new_multi = reader->multi;
    if (!args_given(session->args, ARG_TREE))
        code = session_select(session, (kv_slice){reader->name, reader->name_len});
    if (code == 0 && reader->multi && !session->multi)
        return import_refuse_multi(import);
    if (!args_given(session->args, ARG_TREE) || section == 0)
        return code ? code : session_configure(session);
    cli_say(import->lines.name,
            "line %llu: a second database begins, but --tree names one tree; "
            "without --tree each gets its own",
            (unsigned long long)import->lines.number);
    return CLI_USAGE;
}

static int import_sections(cli_import *import, dump_reader *reader)
{
    kv_pair pair;
    int got = 0, code = 0;
    for (int section = 0; code == 0 && (got = dump_read_section(reader)) > 0; section++) {
        code = import_select(import, reader, section);
        while (code == 0 && (got = dump_read_entry(reader, &pair)) > 0)
            code = import_store(import, &pair, 0);
        if (got < 0)
            break;
    }
    return code ? code : got < 0 ? CLI_TROUBLE : CLI_DONE;
}

static int import_dump(cli_import *import)
{
    dump_reader reader;
    dump_reader_begin(&reader, &import->lines);
    int code = import_sections(import, &reader);
    /* the session's tree has its name from the reader */
    import->session.tree_name = (kv_slice){NULL, 0};
    dump_reader_end(&reader);
    return code;
}

/* Whether a dump is coming: said by --format, or seen at the first line. -1 after a message. A dump
 * that is announced has a line: what wrote none has failed. */
static int import_is_dump(cli_lines *lines, const cli_args *args)
{
    int got;
    bool announced = args->number[ARG_FORMAT] != 0;
    do {
        got = lines_next(lines);
    } while (got > 0 && announced && lines->len == 0);
    if (got == 0 && announced) {
        cli_say(lines->name, "the dump is empty: a part of it is missing");
        return -1;
    }
    if (got <= 0)
        return got;
    lines_back(lines);
    return announced || (!args_given(args, ARG_FORMAT) && dump_begins(lines));
}

static void import_json(uint64_t entries, double seconds)
{
    json_open('{');
    json_name("imported");
    json_number(entries);
    json_name("seconds");
    json_decimal(seconds);
    json_close('}');
    json_end();
}

static void import_report(cli_import *import, int code)
{
    char count[UNITS_MAX], duration[UNITS_MAX], rate[UNITS_MAX];
    const cli_args *args = import->session.args;
    double seconds = progress_end(&import->progress);
    uint64_t kept = code ? import->committed : import->entries;
    const char *noun = kept == 1 ? "entry" : "entries";
    units_count(count, kept);
    if (code && kept == 1)
        cli_say(args->file, "the first entry was imported");
    else if (code && kept > 0)
        cli_say(args->file, "the first %s entries were imported", count);
    else if (code)
        cli_say(args->file, "nothing was imported");
    else if (args_given(args, ARG_JSON))
        import_json(kept, seconds);
    else if (!args_given(args, ARG_QUIET))
        out_format("imported %s %s in %s (%s)\n", count, noun, units_duration(duration, seconds),
                   units_rate(rate, (double)kept / (seconds > 1e-9 ? seconds : 1e-9)));
}

static int import_run(cli_import *import, bool dump)
{
    const cli_args *args = import->session.args;
    progress_begin(&import->progress, "entries", import->lines.size, args_given(args, ARG_QUIET));
    int code = dump ? import_dump(import) : import_text(import);
    if (code == 0)
        code = session_commit(&import->session);
    import_report(import, code);
    return code;
}

int cmd_import(const cli_args *args)
{
    cli_import import = {.entries = 0};
    if (args_given(args, ARG_BATCH) && args->number[ARG_BATCH] == 0)
        return args_wrong(args, "--batch is at least 1");
    int code = import_check(args, args->number[ARG_FORMAT] != 0, args_given(args, ARG_MULTI));
    if (code)
        return code;
    /* the source first: without one that can be read, no database is created */
    code = lines_open(&import.lines, args->count > 0 ? args->operands[0].text : NULL);
    if (code)
        return code;
    if (import.lines.standard && isatty(STDIN_FILENO))
        cli_say(args->file, "reading entries from the terminal; Ctrl-D ends them");
    int dump = import_is_dump(&import.lines, args);
    code = dump < 0 ? CLI_TROUBLE : import_check(args, dump, false);
    if (code == 0)
        code = session_open(&import.session, args, SESSION_CREATE);
    if (code == 0)
        code = session_close(&import.session, import_run(&import, dump));
    lines_close(&import.lines);
    return code;
}
