/* cmd_snapshot.c - kv snapshot: makes, lists, drops and restores named snapshots. */
#include "cli.h"
#include "json.h"
#include "out.h"
#include "session.h"
#include "table.h"
#include "units.h"
#include <string.h>

typedef struct cli_snapshots {
    cli_session session;
    uint64_t page_size;
    uint64_t count; /* rows of the table */
    cli_table table;
} cli_snapshots;

/* ---- listing ---- */

static void snapshots_print_json(const cli_snapshots *snapshots, const kv_snapshot_info *info)
{
    json_open('{');
    json_name("name");
    json_bytes(info->name);
    json_name("commit_id");
    json_number(info->commit_id);
    json_name("time_ms");
    json_number(info->time_ms);
    json_name("entries");
    json_number(info->entries);
    json_name("held_pages");
    json_number(info->held_pages);
    json_name("held_bytes");
    json_number(info->held_pages * snapshots->page_size);
    json_close('}');
}

static void snapshots_add_row(cli_snapshots *snapshots, const kv_snapshot_info *info)
{
    static const char *const titles[] = {"snapshot", "made", "commit", "entries", "held alone"};
    char buf[UNITS_MAX];
    cli_table *table = &snapshots->table;
    if (snapshots->count++ == 0) {
        table_begin(table, "llrrr");
        for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++)
            table_cell(table, titles[i]);
    }
    table_cell_bytes(table, info->name);
    table_cell(table, units_time(buf, info->time_ms));
    table_cell(table, units_count(buf, info->commit_id));
    table_cell(table, units_count(buf, info->entries));
    table_cell(table, units_size(buf, info->held_pages * snapshots->page_size));
}

static int snapshots_add(void *context, const kv_snapshot_info *info)
{
    cli_snapshots *snapshots = context;
    if (args_given(snapshots->session.args, ARG_JSON))
        snapshots_print_json(snapshots, info);
    else
        snapshots_add_row(snapshots, info);
    return 0;
}

static int snapshots_list(cli_snapshots *snapshots)
{
    cli_session *session = &snapshots->session;
    kv_db_info info = {.size = sizeof info};
    bool json = args_given(session->args, ARG_JSON);
    int result = kv_db_stat(session->db, &info);
    snapshots->page_size = info.page_size;
    if (json)
        json_open('[');
    if (result == KV_OK)
        result = kv_snapshot_list(session->db, snapshots_add, snapshots);
    if (json) {
        json_close(']');
        json_end();
    } else if (snapshots->count > 0) {
        table_end(&snapshots->table, 0);
    } else if (result == KV_OK) {
        out_text("there are no snapshots\n");
    }
    return result == KV_OK ? CLI_DONE : session_fail(session, result, "listing the snapshots");
}

/* ---- changing ---- */

typedef struct snapshot_change {
    kv_db *db;
    const char *verb;
    kv_slice name;
    uint32_t flags;
} snapshot_change;

static int change_try(void *context)
{
    const snapshot_change *change = context;
    kv_slice name = change->name;
    if (strcmp(change->verb, "create") == 0)
        return kv_snapshot_create(change->db, name.ptr, name.len, KV_TXN_TRY);
    if (strcmp(change->verb, "drop") == 0)
        return kv_snapshot_drop(change->db, name.ptr, name.len, change->flags);
    return kv_snapshot_restore(change->db, name.ptr, name.len, change->flags);
}

/* What --json says about a change that ended with this exit code. */
static int change_answer(const cli_args *args, int code)
{
    if (!args_given(args, ARG_JSON) || code > CLI_NO)
        return code;
    json_open('{');
    json_name("name");
    json_bytes(args->operands[0].bytes);
    json_name("changed");
    json_bool(code == CLI_DONE);
    json_close('}');
    json_end();
    return code;
}

static int change_run(const cli_session *session, const char *verb, kv_slice name)
{
    static const uint32_t kinds[] = {KV_TXN_STRICT, KV_TXN_DURABLE, KV_TXN_LAZY};
    const cli_args *args = session->args;
    snapshot_change change = {session->db, verb, name, KV_TXN_TRY};
    if (args_given(args, ARG_DURABILITY))
        change.flags |= kinds[args->number[ARG_DURABILITY]];
    int result = session_attempt(session_patience(session), change_try, &change);
    if (result == KV_NOTFOUND)
        return session_missing_snapshot(session, name);
    if (result == KV_EXISTS) {
        cli_say(session->file, "there is a snapshot %s already", cli_quote(name));
        return CLI_NO;
    }
    return result == KV_OK ? CLI_DONE
                           : session_fail(session, result, "snapshot %s", cli_quote(name));
}

int cmd_snapshot(const cli_args *args)
{
    cli_snapshots snapshots = {.count = 0};
    cli_session *session = &snapshots.session;
    bool list = strcmp(args->verb, "list") == 0;
    if (list && args->count > 0)
        return args_wrong(args, "list takes no name");
    if (!list && args->count == 0)
        return args_wrong(args, "NAME is missing");
    if (!list && args->operands[0].bytes.len == 0)
        return args_wrong(args, "the name is empty");
    if (args_given(args, ARG_DURABILITY) && (list || strcmp(args->verb, "create") == 0))
        return args_wrong(args, "%s has no choice of --durability", args->verb);
    int code = session_open_file(session, args, list ? SESSION_READ : SESSION_WRITE);
    if (code)
        return code;
    code = list ? snapshots_list(&snapshots)
                : change_answer(args, change_run(session, args->verb, args->operands[0].bytes));
    return session_close(session, code);
}
