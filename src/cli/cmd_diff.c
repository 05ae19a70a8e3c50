/* cmd_diff.c - kv diff: what was changed from one commit to another, or to now. */
#include "change.h"
#include "cli.h"
#include "json.h"
#include "out.h"
#include "session.h"
#include "units.h"
#include <stdlib.h>
#include <string.h>

typedef struct cli_diff {
    cli_session session; /* its transaction sees the newer side */
    uint64_t left;       /* changes that --limit still allows */
} cli_diff;

static void diff_text(const kv_change *change)
{
    static const char marks[] = {
        [KV_CHANGE_ADDED] = '+',   [KV_CHANGE_VALUE] = '~',   [KV_CHANGE_REMOVED] = '-',
        [KV_CHANGE_CREATED] = '>', [KV_CHANGE_DROPPED] = '<',
    };
    const kv_slice *cells[] = {&change->key, &change->old_value, &change->new_value};
    out_char(marks[change->kind]);
    out_char('\t');
    out_escaped(change->tree);
    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++) {
        if (!cells[i]->ptr)
            continue;
        out_char('\t');
        out_escaped(*cells[i]);
    }
    out_char('\n');
}

static void diff_json(const cli_args *args, const kv_change *change)
{
    change_write_json(args, change);
    json_end();
}

static int diff_print(void *context, const kv_change *change)
{
    cli_diff *diff = context;
    if (diff->left == 0)
        return 1;
    if (args_bounded(diff->session.args) && change_of_tree(change))
        return 0;
    if (args_given(diff->session.args, ARG_JSON))
        diff_json(diff->session.args, change);
    else
        diff_text(change);
    diff->left--;
    return diff->left == 0 || out_failed();
}

static int diff_run(cli_diff *diff, kv_txn *from)
{
    const cli_args *args = diff->session.args;
    bool limited = args_given(args, ARG_LIMIT);
    kv_range range = args_range(args);
    kv_diff_options options = {
        .size = sizeof options,
        .tree = args_given(args, ARG_TREE) ? args->bytes[ARG_TREE].ptr : NULL,
        .tree_len = args->bytes[ARG_TREE].len,
        .range = &range,
        .flags = args_given(args, ARG_KEYS_ONLY) ? KV_DIFF_KEYS : 0,
        .change = diff_print,
        .context = diff,
    };
    range.limit = 0;
    diff->left = limited ? args->number[ARG_LIMIT] : UINT64_MAX;
    int result = kv_diff(from, diff->session.txn, &options, NULL);
    if (result == KV_NOTFOUND) {
        cli_say(args->file, "neither side has a tree %s", cli_quote(args->bytes[ARG_TREE]));
        return CLI_NO;
    }
    if (result == KV_ECANCELED)
        return CLI_DONE;
    return result == KV_OK ? CLI_DONE : session_fail(&diff->session, result, "comparing");
}

/* ---- sides ---- */

/* A snapshot that is looked for by its commit. */
typedef struct diff_sought {
    uint64_t commit_id;
    char *name; /* of the first that has it; NULL: none has */
    size_t len;
} diff_sought;

static int diff_match(void *context, const kv_snapshot_info *info)
{
    diff_sought *sought = context;
    if (info->commit_id != sought->commit_id)
        return 0;
    sought->name = malloc(info->name.len);
    if (sought->name)
        memcpy(sought->name, info->name.ptr, sought->len = info->name.len);
    return 1;
}

static int diff_open_snapshot(kv_db *db, uint64_t commit_id, kv_txn **txn)
{
    diff_sought sought = {.commit_id = commit_id};
    int result = kv_snapshot_list(db, diff_match, &sought);
    if (result == KV_OK)
        return KV_NOTFOUND;
    if (result == KV_ECANCELED)
        result = sought.name ? kv_snapshot_open(db, sought.name, sought.len, txn) : KV_ENOMEM;
    free(sought.name);
    return result;
}

/* The newest commit, or one that a snapshot keeps. */
static int diff_open_commit(kv_db *db, uint64_t commit_id, kv_txn **txn)
{
    int result = kv_txn_begin(db, KV_TXN_READ, txn);
    if (result != KV_OK || kv_txn_id(*txn) == commit_id)
        return result;
    kv_txn_abort(*txn);
    *txn = NULL;
    return diff_open_snapshot(db, commit_id, txn);
}

/* A name counts before a number that reads like it. */
static int diff_open(const cli_diff *diff, const args_operand *side, kv_txn **txn)
{
    uint64_t commit_id;
    kv_db *db = diff->session.db;
    int result = kv_snapshot_open(db, side->bytes.ptr, side->bytes.len, txn);
    bool number = result == KV_NOTFOUND && units_read_number(side->text, &commit_id);
    if (number)
        result = diff_open_commit(db, commit_id, txn);
    if (result == KV_OK)
        return 0;
    *txn = NULL;
    if (result != KV_NOTFOUND)
        return session_fail(&diff->session, result, "snapshot %s", cli_quote(side->bytes));
    if (!number)
        return session_missing_snapshot(&diff->session, side->bytes);
    cli_say(diff->session.file,
            "no snapshot has the name or keeps the commit %s; kv snapshot list shows them",
            cli_quote(side->bytes));
    return CLI_NO;
}

int cmd_diff(const cli_args *args)
{
    cli_diff diff;
    kv_txn *from = NULL;
    for (int i = 0; i < args->count; i++)
        if (args->operands[i].bytes.len == 0)
            return args_wrong(args, "the name is empty");
    int code = session_open_file(&diff.session, args, SESSION_READ);
    if (code)
        return code;
    code = diff_open(&diff, &args->operands[0], &from);
    if (code == 0)
        code = args->count > 1 ? diff_open(&diff, &args->operands[1], &diff.session.txn)
                               : session_begin(&diff.session);
    if (code == 0)
        code = diff_run(&diff, from);
    kv_txn_abort(from);
    return session_close(&diff.session, code);
}
