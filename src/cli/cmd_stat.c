/* cmd_stat.c - kv stat: what kv_db_stat tells, and who holds space, as a table or JSON. */
#include "cli.h"
#include "json.h"
#include "out.h"
#include "session.h"
#include "table.h"
#include "units.h"
#include <stddef.h>
#include <stdio.h>

/* The readers of all processes. */
typedef struct stat_readers {
    uint64_t all;
    uint64_t oldest;       /* snapshot */
    uint64_t oldest_count; /* readers of it */
    uint64_t held_pages;   /* that they hold back */
} stat_readers;

typedef struct stat_all {
    kv_db_info info;
    stat_readers readers;
} stat_all;

enum stat_unit { STAT_COUNT, STAT_BYTES, STAT_PAGES, STAT_ID, STAT_FLAG };

/* One line of the output. */
typedef struct stat_field {
    const char *name;  /* in JSON */
    const char *label; /* in the table */
    uint16_t offset;
    uint8_t width; /* bytes of the member */
    uint8_t unit;  /* enum stat_unit */
    bool readers;  /* about the readers: a guest cannot tell */
} stat_field;

#define MEMBER(name, label, member, unit, readers)                                                 \
    {                                                                                              \
        name, label, (uint16_t)offsetof(stat_all, member),                                         \
            (uint8_t)sizeof((stat_all *)NULL)->member, unit, readers                               \
    }
#define FIELD(member, label, unit)         MEMBER(#member, label, info.member, unit, false)
#define READERS(name, label, member, unit) MEMBER(name, label, readers.member, unit, true)

static const stat_field stat_fields[] = {
    FIELD(file_size, "file size", STAT_BYTES),
    FIELD(page_size, "page size", STAT_BYTES),
    FIELD(key_max, "longest key", STAT_BYTES),
    FIELD(entries, "entries", STAT_COUNT),
    FIELD(trees, "named trees", STAT_COUNT),
    FIELD(snapshots, "named snapshots", STAT_COUNT),
    FIELD(pages, "pages", STAT_PAGES),
    FIELD(leaf_pages, "  leaves", STAT_PAGES),
    FIELD(branch_pages, "  branches", STAT_PAGES),
    FIELD(large_pages, "  large values", STAT_PAGES),
    FIELD(space_pages, "  free-space records", STAT_PAGES),
    FIELD(free_pages, "  free", STAT_PAGES),
    FIELD(blocked_pages, "  kept for snapshots", STAT_PAGES),
    FIELD(commit_id, "newest commit", STAT_ID),
    FIELD(durable_id, "newest durable commit", STAT_ID),
    FIELD(poisoned, "writing refused", STAT_FLAG),
    FIELD(guest, "reading as a guest", STAT_FLAG),
    FIELD(clock_wrong, "clock a day ahead", STAT_FLAG),
    FIELD(clock_ahead_ms, "  milliseconds ahead", STAT_COUNT),
    READERS("readers", "readers", all, STAT_COUNT),
    READERS("oldest_snapshot", "  oldest snapshot read", oldest, STAT_ID),
    READERS("oldest_readers", "  its readers", oldest_count, STAT_COUNT),
    READERS("held_pages", "  pages they hold back", held_pages, STAT_PAGES),
};

#define STAT_FIELDS (sizeof stat_fields / sizeof stat_fields[0])

static uint64_t stat_value(const stat_all *all, const stat_field *field)
{
    const char *at = (const char *)all + field->offset;
    return field->width == 8 ? *(const uint64_t *)(const void *)at
                             : *(const uint32_t *)(const void *)at;
}

static bool stat_known(const stat_all *all, const stat_field *field)
{
    if (!field->readers)
        return true;
    bool none = field->unit == STAT_ID && all->readers.all == 0;
    return !all->info.guest && !none;
}

#define ID_TEXT 33 /* 16 bytes in hexadecimal */

static void stat_hex(char text[ID_TEXT], const uint8_t bytes[16])
{
    for (size_t i = 0; i < 16; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

static void stat_print_json(const stat_all *all)
{
    const kv_db_info *info = &all->info;
    char id[ID_TEXT];
    stat_hex(id, info->file_id);
    json_open('{');
    for (size_t i = 0; i < STAT_FIELDS; i++) {
        json_name(stat_fields[i].name);
        if (!stat_known(all, &stat_fields[i]))
            json_null();
        else if (stat_fields[i].unit == STAT_FLAG)
            json_bool(stat_value(all, &stat_fields[i]) != 0);
        else
            json_number(stat_value(all, &stat_fields[i]));
    }
    json_name("clock_ms");
    json_number(info->clock_ms);
    json_name("file_id");
    json_text(id);
    stat_hex(id, info->origin);
    json_name("origin");
    json_text(id);
    json_name("origin_id");
    json_number(info->origin_id);
    json_close('}');
    json_end();
}

static void stat_add_row(cli_table *table, const stat_all *all, const stat_field *field)
{
    char count[UNITS_MAX], size[UNITS_MAX];
    uint64_t value = stat_value(all, field);
    units_count(count, value);
    table_cell(table, field->label);
    switch (field->unit) {
    case STAT_BYTES:
        table_cell(table, count);
        table_cell(table, value < 1024 ? "bytes" : units_size(size, value));
        break;
    case STAT_PAGES:
        table_cell(table, count);
        table_cell(table, value ? units_size(size, value * all->info.page_size) : "");
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

static void stat_print_table(const stat_all *all)
{
    cli_table table;
    char time[UNITS_MAX];
    table_begin(&table, "lrr");
    for (size_t i = 0; i < STAT_FIELDS; i++)
        if (!stat_fields[i].readers || (!all->info.guest && all->readers.all > 0))
            stat_add_row(&table, all, &stat_fields[i]);
    table_end(&table, 0);
    if (all->info.guest)
        out_text("readers  unknown: only who may write the file can see them\n");
    else if (all->readers.all == 0)
        out_text("readers  none\n");
    out_format("clock    %s\n", units_time(time, all->info.clock_ms));
    out_text("file id  ");
    out_hex((kv_slice){all->info.file_id, sizeof all->info.file_id});
    out_char('\n');
    if (all->info.origin_id == 0)
        return;
    out_format("repeats commit %llu of the database with file id ",
               (unsigned long long)all->info.origin_id);
    out_hex((kv_slice){all->info.origin, sizeof all->info.origin});
    out_char('\n');
}

static int stat_count_reader(void *context, const kv_reader_info *reader)
{
    stat_readers *readers = context;
    if (readers->all++ == 0) { /* the oldest comes first */
        readers->oldest = reader->snapshot;
        readers->held_pages = reader->held_pages;
    }
    readers->oldest_count += reader->snapshot == readers->oldest;
    return 0;
}

int cmd_stat(const cli_args *args)
{
    cli_session session;
    stat_all all = {.info = {.size = sizeof all.info}};
    int code = session_open_file(&session, args, SESSION_READ);
    if (code)
        return code;
    int result = kv_db_stat(session.db, &all.info);
    if (result == KV_OK)
        result = kv_db_readers(session.db, stat_count_reader, &all.readers);
    if (result != KV_OK)
        code = session_fail(&session, result, "statistics");
    else if (args_given(args, ARG_JSON))
        stat_print_json(&all);
    else
        stat_print_table(&all);
    return session_close(&session, code);
}
