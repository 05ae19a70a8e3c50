/* cmd_backup.c - kv backup: what was changed since a commit, to standard output; once, or as commits
 * come. */
#include "backups.h"
#include "cli.h"
#include "out.h"
#include "progress.h"
#include "session.h"
#include <unistd.h>

#define LOOK_MS 250 /* between two looks whether the reader is still there */

typedef struct cli_backup {
    cli_session session;
    uint32_t patience; /* for the commit to become durable */
    bool writes;       /* the file may be written */
    kv_backup_options options;
    kv_backup_info info;
    cli_progress progress;
    uint64_t bytes;
} cli_backup;

static int backup_write(void *context, const void *bytes, size_t len)
{
    cli_backup *backup = context;
    out_bytes(bytes, len);
    backup->bytes += len;
    progress_update(&backup->progress, 0, backup->bytes);
    return out_failed();
}

static void backup_report(const cli_backup *backup)
{
    char text[BACKUPS_TEXT_MAX];
    if (!args_given(backup->session.args, ARG_QUIET))
        cli_say(backup->session.file, "%s", backups_text(text, &backup->info));
}

/* Nothing is written before the commit is durable, so it may be tried again. */
static int backup_try(void *context)
{
    cli_backup *backup = context;
    return kv_backup(backup->session.txn, &backup->options, &backup->info);
}

static int backup_fail(const cli_backup *backup, int result, uint64_t since)
{
    const cli_session *session = &backup->session;
    char sentence[512];
    if (result != KV_EBUSY)
        return session_fail(session, result, "backup since commit %llu", (unsigned long long)since);
    kv_db_errmsg(session->db, sentence, sizeof sentence);
    return session_explain(session->file, result, "backup", sentence,
                           backup->writes
                               ? "--wait 1m waits longer"
                               : "who may write the file can back it up, --wait 1m waits until "
                                 "somebody has made it durable");
}

/* Of the newest commit, or of the snapshot of --at. *to: which that was. */
static int backup_once(cli_backup *backup, uint64_t since, uint64_t *to)
{
    cli_session *session = &backup->session;
    int code = session_begin(session);
    if (code)
        return code;
    kv_backup_info *info = &backup->info;
    *info = (kv_backup_info){.size = sizeof *info};
    backup->options = (kv_backup_options){
        .size = sizeof backup->options, .since = since, .write = backup_write, .context = backup};
    backup->bytes = 0;
    progress_begin(&backup->progress, "bytes", 0, args_given(session->args, ARG_QUIET));
    int result = session_attempt(backup->patience, backup_try, backup);
    progress_end(&backup->progress);
    kv_txn_abort(session->txn);
    session->txn = NULL;
    session->tree = NULL;
    out_flush();
    if (out_failed())
        return CLI_TROUBLE;
    if (result == KV_MISMATCH) {
        cli_say(session->file, "commit %llu is newer than %s, %llu", (unsigned long long)since,
                args_given(session->args, ARG_AT) ? "that of the snapshot" : "the newest one",
                (unsigned long long)info->to);
        return CLI_NO;
    }
    if (result != KV_OK)
        return backup_fail(backup, result, since);
    *to = info->to;
    backup_report(backup);
    return CLI_DONE;
}

/* Until the reader goes away. */
static int backup_follow(cli_backup *backup, uint64_t since)
{
    cli_session *session = &backup->session;
    int code = backup_once(backup, since, &since);
    while (code == CLI_DONE && !out_reader_gone()) {
        int result = kv_db_wait(session->db, since, LOOK_MS, NULL);
        if (result == KV_OK)
            code = backup_once(backup, since, &since);
        else if (result != KV_NOTFOUND)
            code = session_fail(session, result, "waiting");
        else if (session_file_gone(session))
            code = CLI_TROUBLE;
    }
    return out_reader_gone() ? CLI_DONE : code;
}

int cmd_backup(const cli_args *args)
{
    cli_backup backup = {.bytes = 0};
    uint64_t since = args->number[ARG_SINCE], to;
    if (isatty(STDOUT_FILENO))
        return args_wrong(args, "standard output is a terminal; redirect it into a file or a pipe");
    if (args_given(args, ARG_AT) && args_given(args, ARG_FOLLOW))
        return args_wrong(args,
                          "--at and --follow exclude each other: a snapshot has no more commits");
    /* who may write can make the newest commit durable, if it is not yet */
    int code = session_open_file(&backup.session, args, SESSION_MAY);
    if (code)
        return code;
    backup.writes = backup.session.mode != SESSION_READ;
    backup.patience = session_patience(&backup.session);
    backup.session.mode = SESSION_READ; /* of transactions */
    code = args_given(args, ARG_FOLLOW) ? backup_follow(&backup, since)
                                        : backup_once(&backup, since, &to);
    return session_close(&backup.session, code);
}
