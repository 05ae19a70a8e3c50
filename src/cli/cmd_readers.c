/* cmd_readers.c - kv readers: who reads which snapshot, and what that holds back. */
#include "cli.h"
#include "json.h"
#include "out.h"
#include "session.h"
#include "table.h"
#include "units.h"
#include <stdio.h>

typedef struct cli_readers {
    cli_session session;
    uint64_t page_size;
    uint64_t count; /* rows of the table */
    cli_table table;
} cli_readers;

static void readers_print_json(const kv_reader_info *reader)
{
    json_open('{');
    json_name("snapshot");
    json_number(reader->snapshot);
    json_name("age_ms");
    if (reader->guest)
        json_null();
    else
        json_number(reader->age_ms);
    json_name("held_pages");
    json_number(reader->held_pages);
    json_name("process");
    if (reader->process)
        json_number(reader->process);
    else
        json_null();
    json_name("guest");
    json_bool(reader->guest != 0);
    json_close('}');
}

static void readers_add_row(cli_readers *readers, const kv_reader_info *reader)
{
    char buf[UNITS_MAX];
    cli_table *table = &readers->table;
    table_cell(table, units_count(buf, reader->snapshot));
    table_cell(table, reader->guest ? "-" : units_duration(buf, (double)reader->age_ms / 1000));
    table_cell(table, units_count(buf, reader->held_pages));
    table_cell(table, units_size(buf, reader->held_pages * readers->page_size));
    snprintf(buf, sizeof buf, "%llu", (unsigned long long)reader->process);
    table_cell(table, reader->guest ? "guest" : reader->process ? buf : "-");
}

static void readers_begin_table(cli_table *table)
{
    static const char *const titles[] = {"snapshot", "for", "pages held", "size", "process"};
    table_begin(table, "rrrrr");
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++)
        table_cell(table, titles[i]);
}

static int readers_add(void *context, const kv_reader_info *reader)
{
    cli_readers *readers = context;
    if (args_given(readers->session.args, ARG_JSON)) {
        readers_print_json(reader);
        return 0;
    }
    if (readers->count++ == 0)
        readers_begin_table(&readers->table);
    readers_add_row(readers, reader);
    return 0;
}

static int readers_list(cli_readers *readers)
{
    bool json = args_given(readers->session.args, ARG_JSON);
    if (json)
        json_open('[');
    int result = kv_db_readers(readers->session.db, readers_add, readers);
    if (json) {
        json_close(']');
        json_end();
    } else if (readers->count > 0) {
        table_end(&readers->table, 0);
    } else if (result == KV_OK) {
        out_text("nobody is reading this file\n");
    }
    return result;
}

static int readers_run(cli_readers *readers)
{
    kv_db_info info = {.size = sizeof info};
    cli_session *session = &readers->session;
    int result = kv_db_stat(session->db, &info);
    if (result == KV_OK && info.guest) {
        cli_say(session->file, "only who may write the file, and beside it, can see its readers");
        return CLI_TROUBLE;
    }
    readers->page_size = info.page_size;
    if (result == KV_OK)
        result = readers_list(readers);
    return result == KV_OK ? CLI_DONE : session_fail(session, result, "listing the readers");
}

int cmd_readers(const cli_args *args)
{
    cli_readers readers = {.count = 0};
    int code = session_open_file(&readers.session, args, SESSION_READ);
    if (code)
        return code;
    return session_close(&readers.session, readers_run(&readers));
}
