/* cmd_trees.c - kv trees: the trees of a database, as a table or JSON. */
#include "cli.h"
#include "json.h"
#include "session.h"
#include "table.h"
#include "units.h"

typedef struct cli_trees {
    cli_session session;
    uint64_t page_size;
    cli_table table;
    int code;
} cli_trees;

static void trees_add_row(cli_trees *trees, kv_slice name, const kv_tree_info *info)
{
    char buf[UNITS_MAX];
    uint64_t pages = info->leaf_pages + info->branch_pages + info->large_pages;
    cli_table *table = &trees->table;
    if (name.ptr)
        table_cell_bytes(table, name);
    else
        table_cell(table, "(main)");
    table_cell(table, units_count(buf, info->entries));
    table_cell(table, units_count(buf, pages));
    table_cell(table, units_size(buf, pages * trees->page_size));
    table_cell(table, units_count(buf, info->height));
    table_cell(table, info->multi ? "many" : "1");
    table_cell(table, info->compress_from ? units_size(buf, info->compress_from) : "-");
}

static void trees_print_json(const kv_tree_info *info, kv_slice name)
{
    json_open('{');
    json_name("name");
    if (name.ptr)
        json_bytes(name);
    else
        json_null();
    json_name("entries");
    json_number(info->entries);
    json_name("leaf_pages");
    json_number(info->leaf_pages);
    json_name("branch_pages");
    json_number(info->branch_pages);
    json_name("large_pages");
    json_number(info->large_pages);
    json_name("height");
    json_number(info->height);
    json_name("multi");
    json_bool(info->multi);
    json_name("compress_from");
    json_number(info->compress_from);
    json_close('}');
}

/* Adds the tree with this name; ptr NULL: the main tree. */
static int trees_add(void *context, kv_slice name)
{
    cli_trees *trees = context;
    cli_session *session = &trees->session;
    kv_tree_info info = {.size = sizeof info};
    trees->code = session_select(session, name);
    if (trees->code)
        return 1;
    int result = kv_tree_stat(session->tree, &info);
    if (result != KV_OK) {
        trees->code = session_fail(session, result, "statistics");
        return 1;
    }
    if (args_given(session->args, ARG_JSON))
        trees_print_json(&info, name);
    else
        trees_add_row(trees, name, &info);
    return 0;
}

static int trees_list(cli_trees *trees)
{
    if (trees_add(trees, (kv_slice){NULL, 0}) != 0)
        return trees->code;
    int result = kv_tree_list(trees->session.txn, trees_add, trees);
    if (trees->code || result == KV_OK)
        return trees->code;
    return session_fail(&trees->session, result, "listing the trees");
}

static int trees_print(cli_trees *trees)
{
    static const char *const titles[] = {"tree",   "entries", "pages",   "size",
                                         "height", "values",  "compress"};
    kv_db_info info = {.size = sizeof info};
    int result = kv_db_stat(trees->session.db, &info);
    if (result != KV_OK)
        return session_fail(&trees->session, result, "statistics");
    trees->page_size = info.page_size;
    if (args_given(trees->session.args, ARG_JSON)) {
        json_open('[');
        int code = trees_list(trees);
        json_close(']');
        json_end();
        return code;
    }
    table_begin(&trees->table, "lrrrrrr");
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++)
        table_cell(&trees->table, titles[i]);
    int code = trees_list(trees);
    table_end(&trees->table, 0);
    return code;
}

int cmd_trees(const cli_args *args)
{
    cli_trees trees = {.code = 0};
    int code = session_open(&trees.session, args, SESSION_READ);
    if (code)
        return code;
    return session_close(&trees.session, trees_print(&trees));
}
