/* cmd_apply.c - kv apply, kv follow: backups into a copy, each in one transaction. */
#include "backups.h"
#include "cli.h"
#include "json.h"
#include "out.h"
#include "pipe.h"
#include "session.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PAGE_SIZE 12 /* where a header has the page size of the original, ... */
#define FROM      32 /* ... and the commit since which the backup is */

/* Where backups come from. Its first bytes are looked at before a database is made. */
typedef struct cli_source {
    const char *name;
    int fd;
    uint8_t head[BACKUPS_HEADER];
    size_t len, taken; /* of head */
    uint64_t bytes;
    int failure; /* errno */
} cli_source;

static int64_t source_fill(cli_source *source, void *bytes, size_t len)
{
    int64_t n = pipe_read(source->fd, bytes, len);
    source->failure = n < 0 ? errno : 0;
    return n;
}

static int64_t source_read(void *context, void *bytes, size_t len)
{
    cli_source *source = context;
    size_t left = source->len - source->taken;
    if (left == 0)
        return source_fill(source, bytes, len);
    size_t n = len < left ? len : left;
    memcpy(bytes, source->head + source->taken, n);
    source->taken += n;
    return (int64_t)n;
}

/* Nothing at all is what a command that failed leaves in a pipe; the stream to follow may end any
 * time. */
static int source_check(const cli_source *source, bool follow)
{
    if (source->len > 0 || follow)
        return 0;
    cli_say(source->name, "there is no backup in it; nothing was applied");
    return CLI_DAMAGED;
}

static int source_open(cli_source *source, const char *path, bool follow)
{
    int64_t n = 1;
    *source = (cli_source){.name = path ? path : "standard input", .fd = STDIN_FILENO};
    if (path && strcmp(path, "-") != 0)
        source->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (source->fd < 0)
        source->failure = errno;
    while (!source->failure && source->len < BACKUPS_HEADER && n > 0) {
        n = source_fill(source, source->head + source->len, BACKUPS_HEADER - source->len);
        source->len += n > 0 ? (size_t)n : 0;
    }
    if (!source->failure)
        return source_check(source, follow);
    cli_say(source->name, "%s", strerror(source->failure));
    return CLI_TROUBLE;
}

static void source_close(const cli_source *source)
{
    if (source->fd > STDIN_FILENO)
        close(source->fd);
}

/* ---- applying ---- */

static void apply_json(const kv_backup_info *info)
{
    json_open('{');
    json_name("from");
    json_number(info->from);
    json_name("to");
    json_number(info->to);
    json_name("entries");
    json_number(info->entries);
    json_name("bytes");
    json_number(info->bytes);
    json_close('}');
    json_end();
}

static void apply_report(const cli_args *args, const kv_backup_info *info)
{
    char text[BACKUPS_TEXT_MAX];
    if (args_given(args, ARG_JSON))
        apply_json(info);
    else if (!args_given(args, ARG_QUIET))
        out_format("%s\n", backups_text(text, info));
    out_flush(); /* whoever follows wants to see it now */
}

static int apply_fail(const cli_session *session, const cli_source *source, int result)
{
    char sentence[512];
    kv_db_errmsg(session->db, sentence, sizeof sentence);
    switch (result) {
    case KV_MISMATCH:
        cli_say(source->name, "%s; kv stat %s shows what it is a copy of", sentence, session->file);
        return CLI_NO;
    case KV_ECANCELED:
        cli_say(source->name, "%s", strerror(source->failure));
        return CLI_TROUBLE;
    case KV_EBACKUP:
    case KV_ENOTKV:
    case KV_EVERSION:
        cli_say(source->name, "%s; nothing of it was applied", sentence);
        return cli_exit_of(result);
    default:
        return session_fail(session, result, "%s", source->name);
    }
}

/* All backups of one source. */
static int apply_source(const cli_session *session, cli_source *source)
{
    kv_apply_options options = {.size = sizeof options,
                                .read = source_read,
                                .context = source,
                                .wait_ms = session_patience_least(session)};
    for (;;) {
        kv_backup_info info = {.size = sizeof info};
        int result = kv_backup_apply(session->db, &options, &info);
        if (result == KV_NOTFOUND)
            return CLI_DONE;
        if (result != KV_OK)
            return apply_fail(session, source, result);
        apply_report(session->args, &info);
    }
}

/* A database that is missing is made, with pages as the original has them, by a backup of all; the
 * arguments then say so. */
static int apply_open(cli_session *session, cli_args *args, const cli_source *source)
{
    if (access(args->file, F_OK) == 0 || errno != ENOENT)
        return session_open_file(session, args, SESSION_WRITE);
    uint64_t page_size = backups_number(source->head + PAGE_SIZE, 4);
    if (source->len < BACKUPS_HEADER || !backups_begins(source->head) ||
        !session_page_size_ok(page_size)) {
        cli_say(source->name, "it does not begin with a backup; nothing was applied");
        return CLI_DAMAGED;
    }
    if (backups_number(source->head + FROM, 8) != 0) {
        cli_say(args->file, "no such file; a backup since 0, or kv copy, makes one");
        return CLI_TROUBLE;
    }
    if (!args_given(args, ARG_PAGE_SIZE)) {
        args->given |= ARG_BIT(ARG_PAGE_SIZE);
        args->number[ARG_PAGE_SIZE] = page_size;
    }
    return session_open_file(session, args, SESSION_CREATE);
}

static int apply_first(const cli_args *args, cli_source *source)
{
    cli_session session;
    cli_args own = *args;
    bool follow = strcmp(args->command->name, "follow") == 0;
    int code = source_open(source, args->count > 0 ? args->operands[0].text : NULL, follow);
    if (code == 0)
        code = apply_open(&session, &own, source);
    if (code)
        return code;
    code = apply_source(&session, source);
    for (int i = 1; code == CLI_DONE && i < args->count; i++) {
        source_close(source);
        code = source_open(source, args->operands[i].text, follow);
        if (code == 0)
            code = apply_source(&session, source);
    }
    return session_close(&session, code);
}

int cmd_apply(const cli_args *args)
{
    cli_source source = {.fd = -1};
    if (args->count == 0 && isatty(STDIN_FILENO))
        return args_wrong(args, "standard input is a terminal; kv backup writes what belongs here");
    int code = apply_first(args, &source);
    source_close(&source);
    return code;
}
