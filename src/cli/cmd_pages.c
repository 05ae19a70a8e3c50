/* cmd_pages.c - kv pages: a line for each page of a file, and how many there are of each type. */
#include "cli.h"
#include "json.h"
#include "look.h"
#include "out.h"
#include "progress.h"
#include "table.h"
#include "units.h"
#include <stdio.h>
#include <unistd.h>

#define TYPES 18 /* numbers of types */
#define METAS 2  /* the first pages of a file */

/* Pages of one type, by state. */
typedef struct pages_sum {
    uint64_t used, free, kept, others, bad;
} pages_sum;

typedef struct cli_pages {
    const cli_args *args;
    kv_inspect *look;
    bool json, quiet;
    pages_sum sums[TYPES];
    uint64_t bad_needed; /* without the metas: a crash may leave one of them torn */
} cli_pages;

static void pages_count(cli_pages *pages, const kv_page_info *info)
{
    pages_sum *sum = &pages->sums[info->type < TYPES ? info->type : 0];
    bool bad = *info->problem != 0;
    sum->used += info->state == KV_STATE_USED;
    sum->free += info->state == KV_STATE_FREE;
    sum->kept += info->state == KV_STATE_DEAD;
    sum->others += info->state != KV_STATE_USED && info->state != KV_STATE_FREE &&
                   info->state != KV_STATE_DEAD;
    sum->bad += bad;
    pages->bad_needed += bad && info->needed && info->page >= METAS;
}

static void pages_print_json(const kv_page_info *info)
{
    json_open('{');
    json_name("page");
    json_number(info->page);
    json_name("type");
    json_text(look_type(info->type));
    json_name("level");
    json_number(info->level);
    json_name("birth");
    json_number(info->birth);
    json_name("entries");
    json_number(info->count);
    json_name("state");
    json_text(look_state(info->state));
    look_json_owner(info->owner);
    if (info->owner == KV_OWNER_TREE) {
        json_name("tree");
        json_bytes(info->tree);
    }
    if (info->type == KV_PAGE_LARGE) {
        json_name("first");
        json_number(info->first);
    }
    look_json_problem(info->problem);
    json_close('}');
    json_end();
}

/* The widths suit all but huge files. */
static void pages_print_line(const kv_page_info *info)
{
    const char *owner = look_owner(info->owner);
    bool node = info->type >= KV_PAGE_LEAF && info->type <= KV_PAGE_BLOCKED;
    char level[16] = "-", birth[24] = "-", count[24] = "-";
    if (node) {
        snprintf(level, sizeof level, "%u", info->level);
        snprintf(count, sizeof count, "%llu", (unsigned long long)info->count);
    }
    if (info->birth)
        snprintf(birth, sizeof birth, "%llu", (unsigned long long)info->birth);
    out_format("%8llu  %-7s %5s %10s %7s  %-7s", (unsigned long long)info->page,
               look_type(info->type), level, birth, count, look_state(info->state));
    if (owner)
        out_format(" %s", owner);
    else if (info->owner == KV_OWNER_TREE) {
        out_text(" tree ");
        out_escaped(info->tree);
    }
    if (info->type == KV_PAGE_LARGE && info->first != info->page)
        out_format(", of page %llu", (unsigned long long)info->first);
    if (*info->problem)
        out_format("  %s: %s", info->problem, look_problem(info->problem));
    out_char('\n');
}

static int pages_list(cli_pages *pages)
{
    uint64_t n = kv_inspect_pages(pages->look);
    cli_progress progress;
    progress_begin(&progress, "pages", n, pages->quiet || isatty(STDOUT_FILENO));
    if (!pages->json && !pages->quiet)
        out_format("%8s  %-7s %5s %10s %7s  %-7s %s\n", "page", "type", "level", "birth", "entries",
                   "state", "of");
    for (uint64_t page = 0; page < n && !out_failed(); page++) {
        kv_page_info info = {.size = sizeof info};
        int result = kv_inspect_page(pages->look, page, &info);
        progress_update(&progress, page, page);
        if (result != KV_OK) {
            progress_end(&progress);
            return look_fail(pages->args, result, "pages");
        }
        pages_count(pages, &info);
        if (pages->json)
            pages_print_json(&info);
        else if (!pages->quiet)
            pages_print_line(&info);
    }
    progress_end(&progress);
    return 0;
}

static void pages_print_sums(const cli_pages *pages)
{
    static const char *const titles[] = {"type", "used", "free", "dead", "others", "damaged"};
    static const unsigned char order[] = {KV_PAGE_META,    KV_PAGE_LEAF,    KV_PAGE_BRANCH,
                                          KV_PAGE_LARGE,   KV_PAGE_LOG,     KV_PAGE_MAP,
                                          KV_PAGE_MAP_DIR, KV_PAGE_BLOCKED, KV_PAGE_OTHER};
    char buf[UNITS_MAX];
    cli_table table;
    table_begin(&table, "lrrrrr");
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++)
        table_cell(&table, titles[i]);
    for (size_t i = 0; i < sizeof order; i++) {
        const pages_sum *sum = &pages->sums[order[i]];
        if (sum->used + sum->free + sum->kept + sum->others == 0)
            continue;
        table_cell(&table, look_type(order[i]));
        table_cell(&table, units_count(buf, sum->used));
        table_cell(&table, units_count(buf, sum->free));
        table_cell(&table, units_count(buf, sum->kept));
        table_cell(&table, units_count(buf, sum->others));
        table_cell(&table, units_count(buf, sum->bad));
    }
    table_end(&table, 0);
}

static bool pages_damaged(const cli_pages *pages)
{
    return pages->bad_needed > 0 || pages->sums[KV_PAGE_META].bad == METAS;
}

int cmd_pages(const cli_args *args)
{
    cli_pages pages = {
        .args = args, .json = args_given(args, ARG_JSON), .quiet = args_given(args, ARG_QUIET)};
    if (pages.json && pages.quiet)
        return args_wrong(args, "--json and --quiet exclude each other: it prints no table");
    int code = look_open(args, &pages.look);
    if (code)
        return code;
    code = pages_list(&pages);
    if (code == 0 && !pages.json) {
        if (!pages.quiet)
            out_char('\n');
        pages_print_sums(&pages);
    }
    kv_inspect_close(pages.look);
    return code == 0 && pages_damaged(&pages) ? CLI_DAMAGED : code;
}
