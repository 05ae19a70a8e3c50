/* cmd_salvage.c - kv salvage: what can be read of a damaged file, into a new one. */
#include "cli.h"
#include "json.h"
#include "out.h"
#include "progress.h"
#include "session.h"
#include "units.h"
#include <stdio.h>
#include <string.h>

typedef struct cli_salvage {
    const cli_args *args;
    cli_progress progress;
    char sentence[512]; /* the newest: when salvaging fails, it is the reason */
    bool json;
} cli_salvage;

static kv_slice salvage_text(const char *text)
{
    return (kv_slice){text, strlen(text)};
}

/* ---- JSON: a line each ---- */

static void salvage_json_key(const char *name, kv_slice key)
{
    json_name(name);
    if (key.ptr)
        json_bytes(key);
    else
        json_null();
}

static void salvage_json_entries(uint64_t entries)
{
    json_name("entries");
    if (entries == UINT64_MAX)
        json_null();
    else
        json_number(entries);
}

static void salvage_json_loss(const kv_salvage_loss *loss)
{
    static const char *const kinds[] = {"", "page", "range", "value", "names"};
    json_open('{');
    json_name("lost");
    json_text(kinds[loss->kind]);
    salvage_json_key("tree", loss->tree.len ? loss->tree : (kv_slice){NULL, 0});
    if (loss->kind == KV_LOSS_VALUE)
        salvage_json_key("key", loss->from);
    if (loss->kind == KV_LOSS_RANGE || loss->kind == KV_LOSS_NAMES) {
        salvage_json_key(loss->after ? "after" : "from", loss->from);
        salvage_json_key("to", loss->to);
        salvage_json_entries(loss->entries);
        if (loss->kind == KV_LOSS_RANGE) {
            json_name("found_entries");
            json_number(loss->found);
        }
    }
    json_name("page");
    json_number(loss->page);
    if (loss->reason && *loss->reason) {
        json_name("reason");
        json_bytes(salvage_text(loss->reason));
    }
    json_close('}');
    json_end();
}

static void salvage_json_tree(const kv_salvage_tree *tree)
{
    json_open('{');
    salvage_json_key("tree", tree->name.len ? tree->name : (kv_slice){NULL, 0});
    salvage_json_entries(tree->entries);
    json_name("missing_entries");
    json_number(tree->missing);
    json_name("found_entries");
    json_number(tree->elsewhere);
    json_name("lost_values");
    json_number(tree->lost_values);
    json_name("size_known");
    json_bool(tree->known != 0);
    json_name("found");
    json_bool(tree->found != 0);
    json_close('}');
    json_end();
}

static void salvage_json_info(const kv_salvage_info *info)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"commit_id", info->commit_id},
        {"entries", info->entries},
        {"missing_entries", info->missing},
        {"found_entries", info->found},
        {"lost_entries", info->lost_entries},
        {"lost_values", info->lost_values},
        {"losses", info->losses},
        {"bad_pages", info->bad_pages},
        {"trees", info->trees},
        {"found_trees", info->found_trees},
    };
    json_open('{');
    json_name("ok");
    json_bool(info->losses == 0);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        json_name(numbers[i].name);
        json_number(numbers[i].value);
    }
    json_name("guessed");
    json_bool(info->guessed != 0);
    json_name("unsealed");
    json_bool(info->unsealed != 0);
    json_close('}');
    json_end();
}

/* ---- text ---- */

static void salvage_print_tree_name(kv_slice name)
{
    if (name.len == 0) {
        out_text("main tree");
        return;
    }
    out_text("tree ");
    out_escaped(name);
}

static void salvage_print_bounds(const kv_salvage_loss *loss)
{
    if (!loss->from.ptr && !loss->to.ptr) {
        out_text("all keys");
        return;
    }
    out_text("keys ");
    if (loss->from.ptr) {
        out_text(loss->after ? "after " : "from ");
        out_escaped(loss->from);
        out_text(loss->to.ptr ? " " : " to the end");
    }
    if (loss->to.ptr) {
        out_text(loss->from.ptr ? "to before " : "all before ");
        out_escaped(loss->to);
    }
}

static void salvage_print_loss(const kv_salvage_loss *loss)
{
    char count[UNITS_MAX];
    bool known = loss->entries != UINT64_MAX;
    const char *what = loss->kind == KV_LOSS_NAMES ? "name" : "entry";
    const char *many = loss->kind == KV_LOSS_NAMES ? "names" : "entries";
    if (loss->kind == KV_LOSS_PAGE) {
        out_text("unusable: ");
        if (strncmp(loss->reason, "page ", 5) != 0)
            out_format("page %llu: ", (unsigned long long)loss->page);
        out_escaped(salvage_text(loss->reason));
        out_char('\n');
        return;
    }
    out_text(!known ? "perhaps lost: " : loss->found ? "missing: " : "lost: ");
    if (loss->kind == KV_LOSS_NAMES)
        out_text("trees");
    else
        salvage_print_tree_name(loss->tree);
    out_text(": ");
    if (loss->kind == KV_LOSS_VALUE) {
        out_text("key ");
        out_escaped(loss->from);
        out_text(": ");
        out_escaped(salvage_text(loss->reason));
    } else {
        out_format("%s %s, ", known ? units_count(count, loss->entries) : "an unknown number of",
                   known && loss->entries == 1 ? what : many);
        salvage_print_bounds(loss);
        if (loss->found)
            out_format("; they are lost, or among %s with such keys in lost+found",
                       units_count(count, loss->found));
    }
    out_char('\n');
}

static void salvage_print_tree(const kv_salvage_tree *tree)
{
    char entries[UNITS_MAX], lost[UNITS_MAX];
    salvage_print_tree_name(tree->name);
    out_format(": %s %s recovered", units_count(entries, tree->entries),
               tree->entries == 1 ? "entry" : "entries");
    if (tree->missing || tree->known)
        out_format(tree->elsewhere && tree->missing ? ", %s lost or in lost+found" : ", %s lost",
                   units_count(lost, tree->missing));
    out_text(tree->found || tree->known ? "\n" : "; more may be lost\n");
}

/* ---- callbacks ---- */

static void salvage_flush_note(cli_salvage *salvage)
{
    if (*salvage->sentence && !salvage->json) {
        progress_hide();
        out_escaped(salvage_text(salvage->sentence));
        out_char('\n');
    } else if (*salvage->sentence) {
        json_open('{');
        json_name("note");
        json_bytes(salvage_text(salvage->sentence));
        json_close('}');
        json_end();
    }
    *salvage->sentence = 0;
}

static int salvage_on_loss(void *context, const kv_salvage_loss *loss)
{
    cli_salvage *salvage = context;
    salvage_flush_note(salvage);
    progress_hide();
    if (salvage->json)
        salvage_json_loss(loss);
    else
        salvage_print_loss(loss);
    return 0;
}

static int salvage_on_tree(void *context, const kv_salvage_tree *tree)
{
    cli_salvage *salvage = context;
    salvage_flush_note(salvage);
    progress_hide();
    if (args_given(salvage->args, ARG_QUIET))
        return 0;
    if (salvage->json)
        salvage_json_tree(tree);
    else
        salvage_print_tree(tree);
    return 0;
}

static int salvage_on_progress(void *context, const kv_progress *now)
{
    cli_salvage *salvage = context;
    salvage->progress.total = now->total;
    progress_update(&salvage->progress, now->done, now->done);
    return 0;
}

static void salvage_on_note(void *context, const char *sentence)
{
    cli_salvage *salvage = context;
    salvage_flush_note(salvage);
    snprintf(salvage->sentence, sizeof salvage->sentence, "%s", sentence);
}

/* ---- the command ---- */

static int salvage_fail(const cli_salvage *salvage, const char *to, int result)
{
    const char *file = salvage->args->file;
    switch (result) {
    case KV_EXISTS:
        cli_say(to, "is there already; salvage never overwrites");
        return CLI_TROUBLE;
    case KV_NOTFOUND:
    case KV_ENOTKV:
    case KV_ECORRUPT:
        session_explain(file, result, "salvage", salvage->sentence, "nothing was written");
        return CLI_TROUBLE;
    case KV_EBUSY:
        return session_explain(file, result, "salvage", salvage->sentence,
                               "while it is read, nobody may write; --wait 1m waits longer");
    default:
        return session_explain(file, result, "salvage", salvage->sentence, "");
    }
}

int cmd_salvage(const cli_args *args)
{
    cli_salvage salvage = {.args = args, .json = args_given(args, ARG_JSON)};
    const char *to = args->operands[0].text;
    kv_salvage_info info = {.size = sizeof info};
    kv_salvage_options options = {
        .size = sizeof options,
        .loss = salvage_on_loss,
        .tree = salvage_on_tree,
        .progress = salvage_on_progress,
        .note = salvage_on_note,
        .context = &salvage,
        .wait_ms = args_wait(args, SESSION_TURN_MS),
    };
    progress_begin(&salvage.progress, "pages", 0, args_given(args, ARG_QUIET));
    int result = kv_db_salvage(args->file, to, &options, &info);
    progress_end(&salvage.progress);
    if (result != KV_OK)
        return salvage_fail(&salvage, to, result);
    salvage_flush_note(&salvage);
    if (salvage.json && !args_given(args, ARG_QUIET))
        salvage_json_info(&info);
    return info.losses || info.commit_id == 0 ? CLI_NO : CLI_DONE;
}
