/* change.c - see change.h. */
#include "change.h"
#include "json.h"
#include "keys.h"
#include "out.h"

static char change_mark(const kv_change *change)
{
    switch (change->kind) {
    case KV_CHANGE_ADDED:
    case KV_CHANGE_CREATED:
        return '+';
    case KV_CHANGE_VALUE:
        return '*';
    default:
        return '-';
    }
}

bool change_of_tree(const kv_change *change)
{
    return change->kind == KV_CHANGE_CREATED || change->kind == KV_CHANGE_DROPPED;
}

void change_write(const cli_args *args, uint64_t commit, const kv_change *change, bool named)
{
    out_format("%llu\t%c\t", (unsigned long long)commit, change_mark(change));
    if (named || change_of_tree(change))
        out_escaped(change->tree);
    if (!change_of_tree(change)) {
        kv_slice value = change->new_value.ptr ? change->new_value : change->old_value;
        if (named)
            out_char('\t');
        keys_write(args, change->key);
        out_char('\t');
        out_escaped(value);
    }
    out_char('\n');
}

static const char *change_word(const kv_change *change)
{
    static const char *const words[] = {
        [KV_CHANGE_ADDED] = "added",     [KV_CHANGE_VALUE] = "changed",
        [KV_CHANGE_REMOVED] = "removed", [KV_CHANGE_CREATED] = "created",
        [KV_CHANGE_DROPPED] = "dropped",
    };
    return words[change->kind];
}

static void change_member(const char *name, kv_slice bytes)
{
    if (!bytes.ptr)
        return;
    json_name(name);
    json_bytes(bytes);
}

void change_write_json(const cli_args *args, const kv_change *change)
{
    json_open('{');
    json_name("change");
    json_text(change_word(change));
    json_name("tree");
    if (change->tree.len > 0)
        json_bytes(change->tree);
    else
        json_null();
    if (change->key.ptr) {
        json_name("key");
        keys_json(args, change->key);
    }
    change_member("old", change->old_value);
    change_member("new", change->new_value);
    json_close('}');
}
