/* cmd_stat.c - kv stat: what kv_db_stat tells, as a table or JSON. */
#include "cli.h"
#include "json.h"
#include "out.h"
#include "session.h"
#include "table.h"
#include "units.h"
#include <stdio.h>

enum stat_unit { STAT_COUNT, STAT_BYTES, STAT_PAGES, STAT_ID, STAT_FLAG };

/* One line of the output: a member of kv_db_info. */
typedef struct stat_field {
    const char *name;  /* in JSON: as in kv_db_info */
    const char *label; /* in the table */
    uint16_t offset;
    uint8_t width; /* bytes of the member */
    uint8_t unit;  /* enum stat_unit */
} stat_field;

#define FIELD(member, label, unit)                                                                 \
    {                                                                                              \
#member, label, (uint16_t)offsetof(kv_db_info, member),                                    \
            (uint8_t)sizeof((kv_db_info *)NULL)->member, unit                                      \
    }

static const stat_field stat_fields[] = {
    FIELD(file_size, "file size", STAT_BYTES),
    FIELD(page_size, "page size", STAT_BYTES),
    FIELD(key_max, "longest key", STAT_BYTES),
    FIELD(entries, "entries", STAT_COUNT),
    FIELD(trees, "named trees", STAT_COUNT),
    FIELD(pages, "pages", STAT_PAGES),
    FIELD(leaf_pages, "  leaves", STAT_PAGES),
    FIELD(branch_pages, "  branches", STAT_PAGES),
    FIELD(large_pages, "  large values", STAT_PAGES),
    FIELD(space_pages, "  free-space records", STAT_PAGES),
    FIELD(free_pages, "  free", STAT_PAGES),
    FIELD(blocked_pages, "  kept for snapshots", STAT_PAGES),
    FIELD(commit_id, "newest commit", STAT_ID),
    FIELD(durable_id, "newest durable commit", STAT_ID),
    FIELD(readers, "readers in this process", STAT_COUNT),
    FIELD(commits, "commits since opening", STAT_COUNT),
    FIELD(flushes, "flushes since opening", STAT_COUNT),
    FIELD(poisoned, "writing refused", STAT_FLAG),
};

#define STAT_FIELDS (sizeof stat_fields / sizeof stat_fields[0])

static uint64_t stat_value(const kv_db_info *info, const stat_field *field)
{
    const char *at = (const char *)info + field->offset;
    return field->width == 8 ? *(const uint64_t *)(const void *)at
                             : *(const uint32_t *)(const void *)at;
}

static void stat_print_json(const kv_db_info *info)
{
    char id[2 * sizeof info->file_id + 1];
    for (size_t i = 0; i < sizeof info->file_id; i++)
        snprintf(id + 2 * i, 3, "%02x", info->file_id[i]);
    json_open('{');
    for (size_t i = 0; i < STAT_FIELDS; i++) {
        json_name(stat_fields[i].name);
        if (stat_fields[i].unit == STAT_FLAG)
            json_bool(stat_value(info, &stat_fields[i]) != 0);
        else
            json_number(stat_value(info, &stat_fields[i]));
    }
    json_name("file_id");
    json_text(id);
    json_close('}');
    json_end();
}

static void stat_add_row(cli_table *table, const kv_db_info *info, const stat_field *field)
{
    char count[UNITS_MAX], size[UNITS_MAX];
    uint64_t value = stat_value(info, field);
    units_count(count, value);
    table_cell(table, field->label);
    switch (field->unit) {
    case STAT_BYTES:
        table_cell(table, count);
        table_cell(table, value < 1024 ? "bytes" : units_size(size, value));
        break;
    case STAT_PAGES:
        table_cell(table, count);
        table_cell(table, value ? units_size(size, value * info->page_size) : "");
        break;
    case STAT_FLAG:
        table_cell(table, value ? "yes" : "no");
        table_cell(table, "");
        break;
    default:
        table_cell(table, count);
        table_cell(table, "");
    }
}

static void stat_print_table(const kv_db_info *info)
{
    cli_table table;
    table_begin(&table, "lrr");
    for (size_t i = 0; i < STAT_FIELDS; i++)
        stat_add_row(&table, info, &stat_fields[i]);
    table_end(&table, 0);
    out_text("file id  ");
    out_hex((kv_slice){info->file_id, sizeof info->file_id});
    out_char('\n');
}

int cmd_stat(const cli_args *args)
{
    cli_session session;
    kv_db_info info = {.size = sizeof info};
    int code = session_open_file(&session, args, SESSION_READ);
    if (code)
        return code;
    int result = kv_db_stat(session.db, &info);
    if (result != KV_OK)
        code = session_fail(&session, result, "statistics");
    else if (args_given(args, ARG_JSON))
        stat_print_json(&info);
    else
        stat_print_table(&info);
    return session_close(&session, code);
}
