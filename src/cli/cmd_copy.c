/* cmd_copy.c - kv copy: a consistent copy into a new file or to standard output. */
#include "cli.h"
#include "out.h"
#include "session.h"
#include <string.h>
#include <unistd.h>

/* With --at, the session has a transaction. */
static int copy_call(const cli_session *session, const char *to, bool stream, uint32_t flags)
{
    if (session->txn)
        return stream ? kv_txn_copy_fd(session->txn, STDOUT_FILENO, flags)
                      : kv_txn_copy(session->txn, to, flags);
    return stream ? kv_db_copy_fd(session->db, STDOUT_FILENO, flags)
                  : kv_db_copy(session->db, to, flags);
}

/* A compact copy has no snapshots. */
static void copy_note_left(const cli_session *session, uint32_t flags)
{
    kv_db_info info = {.size = sizeof info};
    if ((flags & KV_COPY_COMPACT) && !session->txn && !args_given(session->args, ARG_QUIET) &&
        kv_db_stat(session->db, &info) == KV_OK && info.snapshots > 0)
        cli_say(session->file, "named snapshots that the compact copy leaves out: %llu",
                (unsigned long long)info.snapshots);
}

static int copy_run(cli_session *session, const char *to)
{
    uint32_t flags = args_given(session->args, ARG_COMPACT) ? KV_COPY_COMPACT : 0;
    bool stream = strcmp(to, "-") == 0;
    int result = copy_call(session, to, stream, flags);
    if (result == KV_OK) {
        copy_note_left(session, flags);
        return CLI_DONE;
    }
    if (result == KV_EXISTS) {
        cli_say(to, "is there already; copy never overwrites");
        return CLI_TROUBLE;
    }
    if (stream && out_reader_gone())
        return CLI_TROUBLE;
    return session_fail(session, result, "copying to %s", cli_quote((kv_slice){to, strlen(to)}));
}

int cmd_copy(const cli_args *args)
{
    cli_session session;
    const char *to = args->operands[0].text;
    if (strcmp(to, "-") == 0 && isatty(STDOUT_FILENO))
        return args_wrong(args, "standard output is a terminal; redirect it into a file or a pipe");
    if (args_given(args, ARG_FILL) && !args_given(args, ARG_COMPACT))
        return args_wrong(args, "--fill needs --compact");
    int code = args_given(args, ARG_AT) ? session_open(&session, args, SESSION_READ)
                                        : session_open_file(&session, args, SESSION_READ);
    if (code)
        return code;
    return session_close(&session, copy_run(&session, to));
}
