/* cmd_export.c - kv export: entries as text, or as a dump for LMDB and Berkeley DB. */
#include "cli.h"
#include "dump.h"
#include "out.h"
#include "text.h"
#include "walk.h"
#include <stdlib.h>
#include <string.h>

typedef struct cli_export {
    cli_session session;
    dump_style style;
    bool dump;
    uint64_t bad_keys;     /* that LMDB cannot take */
    uint64_t long_values;  /* of several, that it cannot take either */
    uint64_t empty_values; /* of several, that mdb_load loses */
    uint64_t timed;        /* entries whose expiry is not told */
    char **names;          /* of the named trees, for --all */
    size_t *name_lens;
    size_t name_count;
} cli_export;

static void export_text(void *context, kv_slice key, kv_slice value)
{
    cli_export *export = context;
    if (args_given(export->session.args, ARG_EXPIRY)) {
        text_write_until(key, export->session.expires_at, value);
        return;
    }
    export->timed += export->session.expires_at != 0;
    text_write(key, value);
}

/* What LMDB will make of it. */
static void export_judge(cli_export *export, kv_slice key, kv_slice value)
{
    export->bad_keys += key.len == 0 || key.len > DUMP_LMDB_MAX;
    export->long_values += export->style.multi && value.len > DUMP_LMDB_MAX;
    export->empty_values += export->style.multi && value.len == 0;
}

static void export_dump(void *context, kv_slice key, kv_slice value)
{
    cli_export *export = context;
    export->timed += export->session.expires_at != 0;
    dump_write_entry(&export->style, key, value);
    if (!export->style.berkeley)
        export_judge(export, key, value);
}

/* Exports the current tree. */
static int export_tree(cli_export *export)
{
    cli_session *session = &export->session;
    if (!export->dump && session->multi && args_given(session->args, ARG_EXPIRY))
        return session_no_expiry(session->args);
    if (!export->dump)
        return walk_range(session, true, export_text, export);
    if (!dump_name_fits(&export->style, session->tree_name)) {
        cli_say(session->file, "tree %s: LMDB cannot have this name; --format db_dump can",
                cli_quote(session->tree_name));
        return CLI_TROUBLE;
    }
    export->style.multi = session->multi;
    dump_write_header(&export->style, session->tree_name);
    int code = walk_range(session, true, export_dump, export);
    if (code == CLI_DONE) /* otherwise nobody should take the dump for a whole one */
        dump_write_end();
    return code;
}

static int export_take_name(void *context, kv_slice name)
{
    cli_export *export = context;
    size_t n = export->name_count++;
    export->names = cli_realloc(export->names, (n + 1) * sizeof *export->names);
    export->name_lens = cli_realloc(export->name_lens, (n + 1) * sizeof *export->name_lens);
    export->names[n] = memcpy(cli_realloc(NULL, name.len), name.ptr, name.len);
    export->name_lens[n] = name.len;
    return 0;
}

/* LMDB keeps the names of its databases among the keys of the main one. */
static int export_find_clashes(cli_export *export)
{
    cli_session *session = &export->session;
    for (size_t i = 0; i < export->name_count; i++) {
        kv_slice name = {export->names[i], export->name_lens[i]};
        int result = kv_exists(session->tree, name.ptr, name.len);
        if (result < 0)
            return session_fail(session, result, "key %s", cli_quote(name));
        if (result == KV_OK)
            cli_say(
                session->file,
                "warning: %s is a tree and a key of the main tree: mdb_load will refuse the dump",
                cli_quote(name));
    }
    return CLI_DONE;
}

/* What the other program will make of a main tree beside named ones. */
static int export_judge_main(cli_export *export)
{
    if (!export->style.berkeley)
        return export_find_clashes(export);
    cli_say(export->session.file,
            "warning: Berkeley DB has no file with a main database and named ones: db_load will "
            "refuse the dump; export the trees one by one");
    return CLI_DONE;
}

/* The main tree if it has entries, then the named ones. */
static int export_all(cli_export *export)
{
    cli_session *session = &export->session;
    uint64_t entries = 1;
    int code = CLI_DONE;
    int result = kv_tree_list(session->txn, export_take_name, export);
    if (result == KV_OK)
        result = kv_count(session->tree, NULL, &entries);
    if (result != KV_OK)
        return session_fail(session, result, "listing the trees");
    if (entries > 0 && export->name_count > 0)
        code = export_judge_main(export);
    if (code == CLI_DONE && (entries > 0 || export->name_count == 0))
        code = export_tree(export);
    for (size_t i = 0; i < export->name_count && code == CLI_DONE; i++) {
        code = session_select(session, (kv_slice){export->names[i], export->name_lens[i]});
        if (code == CLI_DONE)
            code = export_tree(export);
    }
    return code;
}

/* The address space that mdb_load asks for is never paid, so it may be generous. Compressed values
 * take more room than the file shows. */
static int export_find_map_size(cli_export *export)
{
    kv_db_info info = {.size = sizeof info};
    int result = kv_db_stat(export->session.db, &info);
    if (result != KV_OK)
        return session_fail(&export->session, result, "statistics");
    export->style.map_size = (UINT64_C(1) << 30) + info.file_size * 16;
    return 0;
}

static void export_warn_of(const cli_export *export, uint64_t n, const char *noun, const char *what)
{
    if (n > 0)
        cli_say(export->session.file, "warning: %llu %s%s %s", (unsigned long long)n, noun,
                n == 1 ? " is" : "s are", what);
}

static void export_warn_lmdb(const cli_export *export)
{
    export_warn_of(export, export->bad_keys, "key",
                   "empty or longer than 511 bytes: mdb_load will refuse the dump");
    export_warn_of(export, export->long_values, "value",
                   "longer than 511 bytes, in a tree of several values for each key: mdb_load will "
                   "refuse the dump");
    export_warn_of(
        export, export->empty_values, "value",
        "empty, in a tree of several values for each key: mdb_load will lose such values");
}

static void export_warn(const cli_export *export)
{
    const cli_session *session = &export->session;
    if (!export->dump && session->multi)
        cli_say(session->file,
                "warning: tree %s has several values for each key; import it with --multi",
                cli_quote(session->tree_name));
    export_warn_lmdb(export);
    if (export->timed > 0)
        cli_say(session->file, "warning: %llu %s; %s", (unsigned long long)export->timed,
                export->timed == 1 ? "entry expires" : "entries expire",
                export->dump ? "a dump cannot say so" : "--expiry exports when");
}

static int export_run(cli_export *export)
{
    int code = export->dump && !export->style.berkeley ? export_find_map_size(export) : 0;
    if (code == 0)
        code = args_given(export->session.args, ARG_ALL) ? export_all(export) : export_tree(export);
    if (code != CLI_USAGE)
        export_warn(export);
    return code;
}

int cmd_export(const cli_args *args)
{
    cli_export export = {.dump = false};
    uint64_t format = args->number[ARG_FORMAT];
    export.dump = format != 0;
    export.style.print = args_given(args, ARG_PRINT);
    export.style.berkeley = format == 2;
    if (!export.dump && (args->given & (ARG_BIT(ARG_ALL) | ARG_BIT(ARG_PRINT))))
        return args_wrong(args, "--all and --print need --format mdb_dump or db_dump");
    if (export.dump && args_given(args, ARG_EXPIRY))
        return args_wrong(args, "--expiry is for the text form; a dump has no place for it");
    if (args_given(args, ARG_ALL) && args_given(args, ARG_TREE))
        return args_wrong(args, "--all and --tree exclude each other");
    int code = session_open(&export.session, args, SESSION_READ);
    if (code)
        return code;
    code = session_close(&export.session, export_run(&export));
    for (size_t i = 0; i < export.name_count; i++)
        free(export.names[i]);
    free(export.names);
    free(export.name_lens);
    return code;
}
