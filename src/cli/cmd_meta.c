/* cmd_meta.c - kv meta: both metas side by side; a copy in which one of them counts. */
#include "cli.h"
#include "json.h"
#include "look.h"
#include "out.h"
#include "session.h"
#include "table.h"
#include "units.h"
#include <stdio.h>
#include <string.h>

#define CELL_MAX 120
#define LOOKS    3 /* at metas that a writer may be writing */

typedef const char *meta_cell(char cell[CELL_MAX], const kv_meta_info *meta);

static const char *meta_state(int state)
{
    static const char *const names[] = {"sound", "torn", "unknown", "wrong"};
    return names[state];
}

static const char *meta_kind(uint32_t kind)
{
    static const char *const names[] = {"?", "durable", "strict", "lazy", "confirmation"};
    return names[kind <= 4 ? kind : 0];
}

/* ---- cells ---- */

static const char *cell_number(char cell[CELL_MAX], uint64_t n)
{
    snprintf(cell, CELL_MAX, "%llu", (unsigned long long)n);
    return cell;
}

static const char *cell_pointer(char cell[CELL_MAX], kv_pointer ptr)
{
    snprintf(cell, CELL_MAX, "page %llu, birth %llu", (unsigned long long)ptr.page,
             (unsigned long long)ptr.birth);
    return ptr.page ? cell : "none";
}

static const char *cell_root(char cell[CELL_MAX], const kv_root *root)
{
    snprintf(cell, CELL_MAX, "page %llu, birth %llu, level %u, %llu entries",
             (unsigned long long)root->ptr.page, (unsigned long long)root->ptr.birth, root->level,
             (unsigned long long)root->entries);
    return root->ptr.page ? cell : "empty";
}

static const char *cell_id(char cell[CELL_MAX], const uint8_t id[16])
{
    for (int i = 0; i < 16; i++)
        snprintf(cell + 2 * i, 3, "%02x", id[i]);
    return cell;
}

static const char *meta_cell_commit(char cell[CELL_MAX], const kv_meta_info *meta)
{
    return cell_number(cell, meta->id);
}

static const char *meta_cell_durable(char cell[CELL_MAX], const kv_meta_info *meta)
{
    return cell_number(cell, meta->durable);
}

static const char *meta_cell_kind(char cell[CELL_MAX], const kv_meta_info *meta)
{
    (void)cell;
    return meta_kind(meta->kind);
}

static const char *meta_cell_seal(char cell[CELL_MAX], const kv_meta_info *meta)
{
    snprintf(cell, CELL_MAX, "%016llx over %llu bytes", (unsigned long long)meta->seal,
             (unsigned long long)meta->walk);
    return meta->durable == meta->id ? "none needed" : cell;
}

static const char *meta_cell_pages(char cell[CELL_MAX], const kv_meta_info *meta)
{
    snprintf(cell, CELL_MAX, "%llu of %u bytes", (unsigned long long)meta->high_water,
             meta->page_size);
    return cell;
}

static const char *meta_cell_clock(char cell[CELL_MAX], const kv_meta_info *meta)
{
    units_time(cell, meta->clock);
    return cell;
}

static const char *meta_cell_main(char cell[CELL_MAX], const kv_meta_info *meta)
{
    return cell_root(cell, &meta->main);
}

static const char *meta_cell_catalog(char cell[CELL_MAX], const kv_meta_info *meta)
{
    return cell_root(cell, &meta->catalog);
}

static const char *meta_cell_snapshots(char cell[CELL_MAX], const kv_meta_info *meta)
{
    return cell_root(cell, &meta->snapshots);
}

static const char *meta_cell_log(char cell[CELL_MAX], const kv_meta_info *meta)
{
    return cell_pointer(cell, meta->log);
}

static const char *meta_cell_map(char cell[CELL_MAX], const kv_meta_info *meta)
{
    return cell_pointer(cell, meta->map);
}

static const char *meta_cell_blocked(char cell[CELL_MAX], const kv_meta_info *meta)
{
    return cell_pointer(cell, meta->blocked);
}

static const char *meta_cell_file(char cell[CELL_MAX], const kv_meta_info *meta)
{
    return cell_id(cell, meta->file_id);
}

static const char *meta_cell_boot(char cell[CELL_MAX], const kv_meta_info *meta)
{
    return cell_id(cell, meta->boot_id);
}

static const struct {
    const char *name;
    meta_cell *cell;
} meta_rows[] = {
    {"commit", meta_cell_commit},       {"durable commit", meta_cell_durable},
    {"kind", meta_cell_kind},           {"seal", meta_cell_seal},
    {"pages", meta_cell_pages},         {"clock", meta_cell_clock},
    {"main tree", meta_cell_main},      {"catalog", meta_cell_catalog},
    {"snapshots", meta_cell_snapshots}, {"space log", meta_cell_log},
    {"space map", meta_cell_map},       {"blocked", meta_cell_blocked},
    {"file id", meta_cell_file},        {"boot id", meta_cell_boot},
};

/* ---- printing ---- */

static void meta_print_table(const kv_meta_info metas[2])
{
    char cell[CELL_MAX];
    cli_table table;
    table_begin(&table, "lll");
    table_cell(&table, "");
    table_cell(&table, "meta 0");
    table_cell(&table, "meta 1");
    table_cell(&table, "state");
    for (int slot = 0; slot < 2; slot++)
        table_cell(&table, meta_state(metas[slot].state));
    for (size_t i = 0; i < sizeof meta_rows / sizeof meta_rows[0]; i++) {
        table_cell(&table, meta_rows[i].name);
        for (int slot = 0; slot < 2; slot++)
            table_cell(&table, metas[slot].state == KV_META_SOUND
                                   ? meta_rows[i].cell(cell, &metas[slot])
                                   : "-");
    }
    table_end(&table, 0);
    out_char('\n');
    for (int slot = 0; slot < 2; slot++)
        out_format("meta %d is %s: %s\n", slot, metas[slot].chosen ? "chosen" : "not chosen",
                   metas[slot].reason);
}

static void meta_json_root(const char *name, const kv_root *root)
{
    json_name(name);
    json_open('{');
    look_json_pointer("root", root->ptr);
    json_name("level");
    json_number(root->level);
    json_name("entries");
    json_number(root->entries);
    json_close('}');
}

static void meta_json_body(const kv_meta_info *meta)
{
    char id[CELL_MAX];
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"commit", meta->id},   {"durable", meta->durable},
        {"walk", meta->walk},   {"high_water", meta->high_water},
        {"clock", meta->clock}, {"page_size", meta->page_size},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        json_name(numbers[i].name);
        json_number(numbers[i].value);
    }
    json_name("seal"); /* 64 bits, which numbers of JSON do not hold everywhere */
    snprintf(id, sizeof id, "%016llx", (unsigned long long)meta->seal);
    json_text(id);
    json_name("kind");
    json_text(meta_kind(meta->kind));
    meta_json_root("main", &meta->main);
    meta_json_root("catalog", &meta->catalog);
    meta_json_root("snapshots", &meta->snapshots);
    look_json_pointer("log", meta->log);
    look_json_pointer("map", meta->map);
    look_json_pointer("blocked", meta->blocked);
    json_name("file_id");
    json_text(cell_id(id, meta->file_id));
    json_name("boot_id");
    json_text(cell_id(id, meta->boot_id));
}

static void meta_print_json(const kv_meta_info metas[2])
{
    json_open('[');
    for (int slot = 0; slot < 2; slot++) {
        json_open('{');
        json_name("slot");
        json_number((uint64_t)slot);
        json_name("state");
        json_text(meta_state(metas[slot].state));
        json_name("chosen");
        json_bool(metas[slot].chosen != 0);
        json_name("reason");
        json_text(metas[slot].reason);
        if (metas[slot].state == KV_META_SOUND)
            meta_json_body(&metas[slot]);
        json_close('}');
    }
    json_close(']');
    json_end();
}

/* ---- the command ---- */

static int meta_look(const cli_args *args, kv_inspect *look, kv_meta_info metas[2])
{
    for (unsigned slot = 0; slot < 2; slot++) {
        metas[slot].size = sizeof metas[slot];
        int result = kv_inspect_meta(look, slot, &metas[slot]);
        if (result != KV_OK)
            return look_fail(args, result, "meta");
    }
    return 0;
}

static int meta_show(const cli_args *args, kv_inspect *look)
{
    kv_meta_info metas[2];
    int code = meta_look(args, look, metas);
    if (code)
        return code;
    if (args_given(args, ARG_JSON))
        meta_print_json(metas);
    else
        meta_print_table(metas);
    return metas[0].chosen || metas[1].chosen ? CLI_DONE : CLI_DAMAGED;
}

static int meta_choose(const cli_args *args, kv_inspect *look, const char *to)
{
    char sentence[512];
    int result =
        kv_inspect_choose(look, (unsigned)args->number[ARG_CHOOSE], to, sentence, sizeof sentence);
    if (result == KV_OK)
        return CLI_DONE;
    if (result == KV_EXISTS) {
        cli_say(to, "is there already; meta never overwrites");
        return CLI_TROUBLE;
    }
    return session_explain(args->file, result, "", sentence, "");
}

/* A writer may be overwriting what was just looked at: then another look finds a meta to choose. */
static int meta_open(const cli_args *args, kv_inspect **look)
{
    int code = look_open(args, look);
    for (int looks = 1; code == 0 && looks < LOOKS; looks++) {
        kv_meta_info metas[2];
        code = meta_look(args, *look, metas);
        if (code == 0 && (metas[0].chosen || metas[1].chosen))
            return 0;
        kv_inspect_close(*look);
        if (code == 0)
            code = look_open(args, look);
    }
    return code;
}

int cmd_meta(const cli_args *args)
{
    kv_inspect *look;
    bool choose = args_given(args, ARG_CHOOSE);
    if (choose != (args->count > 0))
        return args_wrong(args, "--choose and DEST belong together");
    int code = meta_open(args, &look);
    if (code)
        return code;
    code = choose ? meta_choose(args, look, args->operands[0].text) : meta_show(args, look);
    kv_inspect_close(look);
    return code;
}
