/* cmd_swap.c - kv cas, kv swap, kv pop: changes that depend on what is there, or return it. */
#include "answer.h"
#include "cli.h"
#include "json.h"
#include "keys.h"
#include "out.h"
#include "session.h"
#include <stdlib.h>
#include <string.h>

/* Views end with the commit, and nothing is printed before it. */
static kv_slice copy_of(kv_slice view)
{
    if (view.ptr)
        view.ptr = memcpy(cli_realloc(NULL, view.len), view.ptr, view.len);
    return view;
}

static void copy_free(kv_slice copy)
{
    free((void *)(uintptr_t)copy.ptr);
}

/* ---- compare and swap ---- */

int cmd_cas(const cli_args *args)
{
    bool from_absent = args_given(args, ARG_FROM_ABSENT),
         to_absent = args_given(args, ARG_TO_ABSENT);
    const kv_slice *expected = from_absent ? NULL : &args->operands[1].bytes;
    const kv_slice *desired = to_absent ? NULL : &args->operands[args->count - 1].bytes;
    kv_slice key = args->operands[0].bytes;
    cli_session session;
    if (from_absent && to_absent)
        return args_wrong(args, "--from-absent and --to-absent exclude each other");
    if (args->count != 3 - from_absent - to_absent)
        return args_wrong(args, from_absent ? "needs KEY and NEW"
                                : to_absent ? "needs KEY and OLD"
                                            : "needs KEY, OLD and NEW");
    int code = from_absent ? 0 : answer_no_file(args, key);
    if (code)
        return code;
    code = session_open_single(&session, args, from_absent ? SESSION_CREATE : SESSION_WRITE);
    if (code) {
        answer_changed(args, code, key); /* there is no such tree */
        return code;
    }
    int result = kv_cas(session.tree, key.ptr, key.len, expected, desired, NULL);
    return session_close(&session, answer_change(&session, result, key));
}

/* ---- swap ---- */

static void swap_print(const cli_args *args, kv_slice key, kv_slice old)
{
    if (args_given(args, ARG_JSON)) {
        answer_begin(args, key);
        json_name("old");
        if (old.ptr)
            json_bytes(old);
        else
            json_null();
        answer_end();
    } else if (args_given(args, ARG_RAW)) {
        out_bytes(old.ptr, old.len);
    } else if (old.ptr) {
        out_escaped(old);
        out_char('\n');
    }
}

int cmd_swap(const cli_args *args)
{
    const kv_slice *desired = args->count > 1 ? &args->operands[1].bytes : NULL;
    kv_slice key = args->operands[0].bytes, old;
    cli_session session;
    int code = session_open_single(&session, args, desired ? SESSION_CREATE : SESSION_WRITE);
    if (code == CLI_NO) /* there is no such tree */
        swap_print(args, key, (kv_slice){0});
    if (code)
        return code;
    int result = desired ? kv_swap(session.tree, key.ptr, key.len, desired, &old)
                         : kv_take(session.tree, key.ptr, key.len, &old);
    old = result == KV_OK ? copy_of(old) : (kv_slice){0};
    code = session_end_change(&session, result, key);
    if (code <= CLI_NO)
        swap_print(args, key, old);
    copy_free(old);
    return session_close(&session, code);
}

/* ---- pop ---- */

static void pop_print(const cli_args *args, const kv_pair *entry)
{
    if (args_given(args, ARG_JSON)) {
        answer_entry(args, entry->key, entry->value);
    } else if (args_given(args, ARG_VALUES_ONLY)) {
        out_escaped(entry->value);
        out_char('\n');
    } else {
        keys_write(args, entry->key);
        out_char('\t');
        out_escaped(entry->value);
        out_char('\n');
    }
}

int cmd_pop(const cli_args *args)
{
    kv_range range = args_range(args);
    kv_pair entry;
    cli_session session;
    int code = session_open_single(&session, args, SESSION_WRITE);
    if (code)
        return code;
    int result = args_given(args, ARG_LAST) ? kv_pop_last(session.tree, &range, &entry)
                                            : kv_pop_first(session.tree, &range, &entry);
    if (result == KV_OK) {
        entry = (kv_pair){copy_of(entry.key), copy_of(entry.value)};
        code = session_commit(&session);
        if (code == 0)
            pop_print(args, &entry);
        copy_free(entry.key);
        copy_free(entry.value);
    } else if (result < 0) {
        code = session_fail(&session, result, "pop");
    } else {
        code = CLI_NO;
        if (!args_given(args, ARG_QUIET))
            cli_say(session.file, "nothing there");
    }
    return session_close(&session, code);
}
