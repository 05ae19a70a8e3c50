/* cmd_top.c - kv top: what takes the room in a file, by one pass over the leaves. */
#include "cli.h"
#include "json.h"
#include "keys.h"
#include "out.h"
#include "progress.h"
#include "session.h"
#include "table.h"
#include "units.h"
#include <stdlib.h>
#include <string.h>

#define LINES_DEFAULT 10
#define DEPTH_MOST    64

/* One line of a list. */
typedef struct top_line {
    char *name; /* a key, a prefix or a tree's name; NULL: the main tree */
    size_t name_len;
    char *tree; /* in which a key is; NULL: the main one */
    size_t tree_len;
    uint64_t weight; /* by which the list is sorted */
    kv_sizes sizes;
} top_line;

typedef struct top_list {
    top_line *lines; /* heaviest first */
    size_t n, most;
} top_list;

/* Prefixes of the present key, from the shortest on; each with what has no longer one. */
typedef struct top_prefix {
    size_t len;
    kv_sizes sizes;
} top_prefix;

typedef struct cli_top {
    cli_session session;
    cli_progress progress;
    uint64_t page_size, done;
    top_list trees, values, keys, prefixes;
    kv_slice delimiter;
    size_t depth;
    char *key; /* the newest one, whose first bytes the open prefixes are */
    top_prefix open[DEPTH_MOST + 1];
    size_t n_open;
} cli_top;

static char *top_copy(kv_slice bytes)
{
    return bytes.ptr ? memcpy(cli_realloc(NULL, bytes.len), bytes.ptr, bytes.len) : NULL;
}

/* Adds a line where its weight puts it; the lightest one falls off. */
static void list_add(top_list *list, kv_slice name, kv_slice tree, uint64_t weight,
                     const kv_sizes *sizes)
{
    size_t at = list->n;
    while (at > 0 && list->lines[at - 1].weight < weight)
        at--;
    if (at == list->most)
        return;
    if (list->n == list->most) {
        free(list->lines[--list->n].name);
        free(list->lines[list->n].tree);
    }
    memmove(&list->lines[at + 1], &list->lines[at], (list->n++ - at) * sizeof *list->lines);
    list->lines[at] =
        (top_line){top_copy(name), name.len, top_copy(tree), tree.len, weight, *sizes};
}

static void list_begin(top_list *list, size_t most)
{
    *list = (top_list){cli_realloc(NULL, (most + 1) * sizeof *list->lines), 0, most};
}

static void list_end(top_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        free(list->lines[i].name);
        free(list->lines[i].tree);
    }
    free(list->lines);
}

/* ---- prefixes ---- */

static void sizes_add(kv_sizes *to, const kv_sizes *more)
{
    to->entries += more->entries;
    to->key_bytes += more->key_bytes;
    to->value_bytes += more->value_bytes;
    to->large_pages += more->large_pages;
    to->disk_bytes += more->disk_bytes;
}

/* The length up to the end of the delimiter that follows byte `from`, or 0. */
static size_t prefix_after(const cli_top *top, kv_slice key, size_t from)
{
    if (from >= key.len || top->delimiter.len == 0)
        return 0;
    const char *ptr = key.ptr;
    const char *at = memmem(ptr + from, key.len - from, top->delimiter.ptr, top->delimiter.len);
    return at ? (size_t)(at - ptr) + top->delimiter.len : 0;
}

/* Closes the prefixes that the next key does not begin with. */
static void prefixes_close(cli_top *top, size_t kept)
{
    while (top->n_open > kept) {
        const top_prefix *prefix = &top->open[--top->n_open];
        if (prefix->sizes.entries > 0)
            list_add(&top->prefixes, (kv_slice){top->key, prefix->len}, top->session.tree_name,
                     prefix->sizes.disk_bytes, &prefix->sizes);
    }
}

static void prefixes_take(cli_top *top, kv_slice key, const kv_sizes *sizes)
{
    size_t kept = 1, len = 0;
    while (kept < top->n_open && top->open[kept].len <= key.len &&
           memcmp(top->key, key.ptr, top->open[kept].len) == 0)
        kept++;
    prefixes_close(top, top->n_open ? kept : 0);
    if (top->n_open == 0)
        top->open[top->n_open++] = (top_prefix){.len = 0};
    top->key = cli_realloc(top->key, key.len);
    if (key.len)
        memcpy(top->key, key.ptr, key.len);
    len = top->open[top->n_open - 1].len;
    while (top->n_open <= top->depth && (len = prefix_after(top, key, len)) > 0)
        top->open[top->n_open++] = (top_prefix){.len = len};
    sizes_add(&top->open[top->n_open - 1].sizes, sizes);
}

/* ---- reading ---- */

static int top_entry(cli_top *top, kv_cursor *cursor)
{
    cli_session *session = &top->session;
    kv_sizes sizes = {.size = sizeof sizes};
    kv_slice key;
    int result = kv_cursor_get(cursor, &key, NULL);
    if (result == KV_OK)
        result = kv_cursor_sizes(cursor, &sizes);
    if (result != KV_OK)
        return result;
    if (session->multi)
        sizes.key_bytes = key.len; /* not as it is stored, with escapes */
    list_add(&top->values, key, session->tree_name, sizes.value_bytes, &sizes);
    list_add(&top->keys, key, session->tree_name, sizes.key_bytes, &sizes);
    prefixes_take(top, key, &sizes);
    top->done++;
    progress_update(&top->progress, top->done, top->done);
    return KV_OK;
}

static int top_tree(cli_top *top)
{
    cli_session *session = &top->session;
    kv_tree_info info = {.size = sizeof info};
    kv_cursor *cursor;
    int result = kv_tree_stat(session->tree, &info);
    if (result == KV_OK) {
        uint64_t pages = info.leaf_pages + info.branch_pages + info.large_pages;
        const kv_sizes sizes = {.entries = info.entries,
                                .large_pages = info.large_pages,
                                .disk_bytes = pages * top->page_size};
        list_add(&top->trees, session->tree_name, (kv_slice){NULL, 0}, sizes.disk_bytes, &sizes);
        result = kv_cursor_open(session->tree, NULL, &cursor);
    }
    if (result != KV_OK)
        return session_fail(session, result, "reading");
    while ((result = kv_cursor_next(cursor)) == KV_OK && (result = top_entry(top, cursor)) == KV_OK)
        continue;
    kv_cursor_close(cursor);
    prefixes_close(top, 0);
    return result == KV_NOTFOUND ? CLI_DONE : session_fail(session, result, "reading");
}

typedef struct top_names {
    char **names;
    size_t *lens;
    size_t n;
} top_names;

static int names_take(void *context, kv_slice name)
{
    top_names *list = context;
    list->names = cli_realloc(list->names, (list->n + 1) * sizeof *list->names);
    list->lens = cli_realloc(list->lens, (list->n + 1) * sizeof *list->lens);
    list->names[list->n] = top_copy(name);
    list->lens[list->n++] = name.len;
    return 0;
}

static int top_all(cli_top *top)
{
    cli_session *session = &top->session;
    top_names list = {NULL, NULL, 0};
    int result = kv_tree_list(session->txn, names_take, &list);
    int code = result == KV_OK ? top_tree(top) : session_fail(session, result, "listing the trees");
    for (size_t i = 0; i < list.n; i++) {
        if (code == CLI_DONE)
            code = session_select(session, (kv_slice){list.names[i], list.lens[i]});
        if (code == CLI_DONE)
            code = top_tree(top);
        free(list.names[i]);
    }
    free(list.names);
    free(list.lens);
    return code;
}

/* ---- printing ---- */

static void json_name_of(const char *member, const char *name, size_t len)
{
    json_name(member);
    if (name)
        json_bytes((kv_slice){name, len});
    else
        json_null();
}

static void list_json(const cli_args *args, const char *title, const top_list *list, bool keys)
{
    json_name(title);
    json_open('[');
    for (size_t i = 0; i < list->n; i++) {
        const top_line *line = &list->lines[i];
        json_open('{');
        json_name_of(keys ? "tree" : "name", keys ? line->tree : line->name,
                     keys ? line->tree_len : line->name_len);
        if (keys) {
            json_name("key");
            keys_json(args, (kv_slice){line->name, line->name_len});
            json_name("key_bytes");
            json_number(line->sizes.key_bytes);
            json_name("value_bytes");
            json_number(line->sizes.value_bytes);
        }
        json_name("entries");
        json_number(line->sizes.entries);
        json_name("disk_bytes");
        json_number(line->sizes.disk_bytes);
        json_close('}');
    }
    json_close(']');
}

/* A line: its weight, what it takes on the disk, how many entries, where, what. */
static void list_print(const cli_args *args, const char *title, const top_list *list, bool keys,
                       bool named)
{
    char buf[UNITS_MAX];
    cli_table table;
    out_format("%s\n", title);
    table_begin(&table, named ? "rrrll" : "rrrl");
    table_cell(&table, "bytes");
    table_cell(&table, "on disk");
    table_cell(&table, "entries");
    if (named)
        table_cell(&table, "tree");
    table_cell(&table, keys ? "key" : "name");
    for (size_t i = 0; i < list->n; i++) {
        const top_line *line = &list->lines[i];
        table_cell(&table, units_size(buf, line->weight));
        table_cell(&table, units_size(buf, line->sizes.disk_bytes));
        table_cell(&table, units_count(buf, line->sizes.entries));
        if (named && line->tree)
            table_cell_bytes(&table, (kv_slice){line->tree, line->tree_len});
        else if (named)
            table_cell(&table, "(main)");
        kv_slice name = {line->name, line->name_len};
        if (keys)
            keys_cell(args, &table, name);
        else if (name.ptr)
            table_cell_bytes(&table, name);
        else
            table_cell(&table, "(main)");
    }
    table_end(&table, 2);
}

static void top_print(const cli_top *top)
{
    const cli_args *args = top->session.args;
    bool named = !args_given(args, ARG_TREE) && top->trees.n > 1;
    if (!args_given(args, ARG_JSON)) {
        list_print(args, "trees", &top->trees, false, false);
        list_print(args, "prefixes", &top->prefixes, true, named);
        list_print(args, "largest values", &top->values, true, named);
        list_print(args, "longest keys", &top->keys, true, named);
        return;
    }
    json_open('{');
    list_json(args, "trees", &top->trees, false);
    list_json(args, "prefixes", &top->prefixes, true);
    list_json(args, "values", &top->values, true);
    list_json(args, "keys", &top->keys, true);
    json_close('}');
    json_end();
}

static int top_run(cli_top *top)
{
    const cli_args *args = top->session.args;
    kv_db_info info = {.size = sizeof info};
    size_t most = args_given(args, ARG_LIMIT) ? (size_t)args->number[ARG_LIMIT] : LINES_DEFAULT;
    int result = kv_db_stat(top->session.db, &info);
    if (result != KV_OK)
        return session_fail(&top->session, result, "statistics");
    top->page_size = info.page_size;
    top_list *lists[] = {&top->trees, &top->values, &top->keys, &top->prefixes};
    for (size_t i = 0; i < 4; i++)
        list_begin(lists[i], most);
    progress_begin(&top->progress, "entries", info.entries, args_given(args, ARG_QUIET));
    int code = args_given(args, ARG_TREE) ? top_tree(top) : top_all(top);
    progress_end(&top->progress);
    if (code == CLI_DONE)
        top_print(top);
    for (size_t i = 0; i < 4; i++)
        list_end(lists[i]);
    free(top->key);
    return code;
}

int cmd_top(const cli_args *args)
{
    cli_top top = {.depth = 1, .delimiter = {":", 1}};
    if (args_given(args, ARG_DELIMITER))
        top.delimiter = args->bytes[ARG_DELIMITER];
    if (args_given(args, ARG_DEPTH))
        top.depth = (size_t)args->number[ARG_DEPTH];
    if (top.depth > DEPTH_MOST || top.delimiter.len == 0 || args->number[ARG_LIMIT] > 100000)
        return args_wrong(args, "--depth goes to 64, --limit to 100000; --delimiter is not empty");
    int code = session_open(&top.session, args, SESSION_READ);
    return code ? code : session_close(&top.session, top_run(&top));
}
