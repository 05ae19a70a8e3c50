/* session.c - see session.h. */
#include "session.h"
#include "cli.h"
#include "keys.h"
#include "progress.h"
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RETRY_MS     10 /* between two attempts while somebody else writes */
#define SENTENCE_MAX 512

/* ---- messages ---- */

static const char *session_advice(const cli_session *session, int result)
{
    switch (result) {
    case KV_ENOENT:
        return session->db                       ? ""
               : session->mode == SESSION_CREATE ? "does the directory exist?"
                                                 : "kv put and kv import create a database";
    case KV_EBUSY:
        return session->mode == SESSION_READ ? "--wait 1m waits for the other program to end"
                                             : "--wait 1m waits longer";
    case KV_EACCESS:
        return session->mode == SESSION_READ ? ""
                                             : "who writes needs to write the file and its folder";
    case KV_ECORRUPT:
        return session->args->command->traits & CLI_LISTS_DAMAGE
                   ? "kv salvage saves what can be read, kv meta and kv pages look inside"
                   : "kv check lists the damage, kv salvage saves what can be read";
    case KV_ENOTKV:
        return "is this the right file?";
    case KV_ENOSPC:
        return "nothing was changed; make room and try again";
    case KV_EPOISONED:
        return "look after the disk; when all programs have closed the file, opening it again "
               "tells which commit is the newest";
    case KV_EVERSION:
        return "a matching version of kv can use it";
    case KV_EUNSUPPORTED:
        return "keep the file on a local disk";
    case KV_EOVERFLOW:
        return "nothing was changed";
    case KV_ENOTNUMBER:
        return args_given(session->args, ARG_FLOAT)
                   ? "nothing was changed"
                   : "nothing was changed; --float, --binary count in "
                     "other forms";
    case KV_ETOOBIG:
        if (args_given(session->args, ARG_MAX_SIZE))
            return "nothing was changed";
        return "kv stat shows the longest key; a new file with a larger --page-size takes longer";
    case KV_ENOMEM:
        return "a smaller --batch or --memory takes less";
    default:
        return "";
    }
}

/* Sentences come without a final period here: advice may follow. */
static void session_trim(char *sentence)
{
    size_t len = strlen(sentence);
    if (len > 0 && sentence[len - 1] == '.')
        sentence[len - 1] = 0;
}

/* What follows the name, if the sentence begins with it. */
static const char *session_skip_name(const char *sentence, const char *name)
{
    size_t len = strlen(name);
    if (strncmp(sentence, name, len) != 0 || (sentence[len] != ':' && sentence[len] != ' '))
        return sentence;
    sentence += len;
    return sentence + strspn(sentence, ": ");
}

/* The name as the database has it; the file itself may be gone. NULL: unknown. */
static char *session_full_name(const char *file)
{
    char *full = realpath(file, NULL);
    if (full)
        return full;
    const char *base = strrchr(file, '/');
    size_t folder = base ? (size_t)(base - file) + 1 : 0;
    char *cut = memcpy(cli_realloc(NULL, folder + 2), folder ? file : ".", folder ? folder : 1);
    cut[folder ? folder : 1] = 0;
    char *path = realpath(cut, NULL);
    free(cut);
    if (!path)
        return NULL;
    size_t len = strlen(path), size = len + strlen(file + folder) + 2;
    full = cli_realloc(path, size);
    snprintf(full + len, size - len, "/%s", file + folder);
    return full;
}

/* A sentence may begin with the file's name, which the message has already. */
static const char *session_without_name(const char *sentence, const char *file)
{
    char *full = session_full_name(file);
    if (full)
        sentence = session_skip_name(sentence, full);
    free(full);
    return session_skip_name(sentence, file);
}

int session_explain(const char *file, int result, const char *doing, const char *sentence,
                    const char *advice)
{
    const char *what = *sentence ? session_without_name(sentence, file) : kv_strerror(result);
    cli_say(file, "%s%s%s%s%s", doing, *doing ? ": " : "", what, *advice ? "; " : "", advice);
    return cli_exit_of(result);
}

int session_fail(const cli_session *session, int result, const char *doing, ...)
{
    char what[SENTENCE_MAX], sentence[SENTENCE_MAX] = "";
    va_list list;
    va_start(list, doing);
    vsnprintf(what, sizeof what, doing, list);
    va_end(list);
    /* a positive result is an answer: the newest sentence would be about something else */
    if (session->db && result < 0)
        kv_db_errmsg(session->db, sentence, sizeof sentence);
    session_trim(sentence);
    return session_explain(session->file, result, what, sentence, session_advice(session, result));
}

/* ---- a file that breaks under the map ---- */

static char bus_message[SENTENCE_MAX]; /* composed beforehand: a handler may not */

static void session_on_bus_error(int signal_number)
{
    (void)signal_number;
    ssize_t n = write(STDERR_FILENO, bus_message, strlen(bus_message));
    (void)n;
    _exit(CLI_TROUBLE);
}

static void session_catch_bus_error(const char *file)
{
    struct sigaction action = {.sa_handler = session_on_bus_error};
    snprintf(bus_message, sizeof bus_message,
             "kv: %s: the file cannot be read: the disk reported an error, or another program "
             "cut the file short\n",
             cli_quote((kv_slice){file, strlen(file)}));
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

/* ---- opening ---- */

static uint32_t session_wait(const cli_args *args, enum session_mode mode)
{
    return args_wait(args, mode == SESSION_READ ? 0 : SESSION_TURN_MS);
}

uint32_t session_patience(const cli_session *session)
{
    return session_wait(session->args, session->mode);
}

uint32_t session_patience_least(const cli_session *session)
{
    uint32_t patience = session_patience(session);
    return patience ? patience : 1;
}

int session_attempt(uint32_t patience_ms, int (*attempt)(void *context), void *context)
{
    const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000};
    double give_up = progress_now() + patience_ms / 1e3;
    int result = attempt(context);
    while (result == KV_EBUSY && progress_now() < give_up) {
        nanosleep(&pause, NULL);
        result = attempt(context);
    }
    return result;
}

static kv_options session_options(const cli_args *args, enum session_mode mode)
{
    kv_options options = {.size = sizeof options};
    options.flags = mode == SESSION_READ     ? KV_OPEN_READONLY
                    : mode == SESSION_CREATE ? KV_OPEN_CREATE
                                             : 0;
    options.page_size = (uint32_t)args->number[ARG_PAGE_SIZE];
    options.memory_budget = args->number[ARG_MEMORY];
    options.fill = (uint32_t)args->number[ARG_FILL];
    options.wait_ms = session_wait(args, mode);
    static const int durabilities[] = {KV_STRICT, KV_DURABLE, KV_LAZY};
    if (args_given(args, ARG_DURABILITY))
        options.durability = durabilities[args->number[ARG_DURABILITY]];
    /* whoever asks for no flush does not want one at the end either */
    if (options.durability == KV_LAZY)
        options.flags |= KV_OPEN_NO_CLOSE_SYNC;
    return options;
}

bool session_page_size_ok(uint64_t size)
{
    bool power = (size & (size - 1)) == 0;
    return power && size >= 4096 && size <= 65536;
}

static int session_check_options(const cli_args *args)
{
    uint64_t fill = args->number[ARG_FILL];
    if (args_given(args, ARG_PAGE_SIZE) && !session_page_size_ok(args->number[ARG_PAGE_SIZE]))
        return args_wrong(args, "--page-size is one of 4096, 8192, 16384, 32768, 65536");
    if (args_given(args, ARG_FILL) && (fill < 50 || fill > 100))
        return args_wrong(args, "--fill is 50 to 100");
    return 0;
}

int session_open_file(cli_session *session, const cli_args *args, enum session_mode mode)
{
    char sentence[SENTENCE_MAX] = "";
    *session = (struct cli_session){.args = args, .file = args->file, .mode = mode};
    int code = session_check_options(args);
    if (code)
        return code;
    session_catch_bus_error(args->file);
    if ((args->command->traits & CLI_FOLLOWS) && stat(args->file, &session->found) != 0)
        session->found.st_nlink = 0;
    kv_options options = session_options(args, mode);
    int result = kv_db_open_explain(args->file, &options, &session->db, sentence, sizeof sentence);
    if ((result == KV_EACCESS || result == KV_ENOSPC) && mode == SESSION_MAY)
        return session_open_file(session, args, SESSION_READ);
    if (result == KV_OK)
        return 0;
    session->db = NULL;
    session_trim(sentence);
    return session_explain(args->file, result, "", sentence, session_advice(session, result));
}

bool session_file_gone(cli_session *session)
{
    struct stat now = {.st_nlink = 0};
    if (session->gone || session->found.st_nlink == 0)
        return session->gone;
    bool there = stat(session->file, &now) == 0;
    if (!there && errno != ENOENT)
        return false;
    session->gone =
        !there || now.st_dev != session->found.st_dev || now.st_ino != session->found.st_ino;
    if (session->gone)
        cli_say(session->file, "the file was %s meanwhile", there ? "replaced" : "removed");
    return session->gone;
}

static int session_begin_txn(cli_session *session)
{
    const cli_args *args = session->args;
    kv_slice name = args->bytes[ARG_AT];
    if (session->mode != SESSION_READ)
        return kv_txn_begin_wait(session->db, KV_TXN_WRITE, session_wait(args, session->mode),
                                 &session->txn);
    return args_given(args, ARG_AT)
               ? kv_snapshot_open(session->db, name.ptr, name.len, &session->txn)
               : kv_txn_begin(session->db, KV_TXN_READ, &session->txn);
}

int session_missing_snapshot(const cli_session *session, kv_slice name)
{
    cli_say(session->file, "no snapshot %s; kv snapshot list shows them", cli_quote(name));
    return CLI_NO;
}

int session_begin(cli_session *session)
{
    int result = session_begin_txn(session);
    if (result == KV_NOTFOUND)
        return session_missing_snapshot(session, session->args->bytes[ARG_AT]);
    if (result != KV_OK) {
        session->txn = NULL;
        return session_fail(session, result, "%s", "");
    }
    return session_select(session, session->tree_name);
}

int session_open(cli_session *session, const cli_args *args, enum session_mode mode)
{
    int code = session_open_file(session, args, mode);
    if (code)
        return code;
    if (args->bytes[ARG_TREE].len > 0)
        session->tree_name = args->bytes[ARG_TREE];
    code = session_begin(session);
    return code ? session_close(session, code) : 0;
}

int session_need_single(const cli_session *session)
{
    if (!session->multi)
        return 0;
    return args_wrong(
        session->args,
        "tree %s has several values for each key: put adds one, del --value removes one",
        cli_quote(session->tree_name));
}

int session_no_expiry(const cli_args *args)
{
    return args_wrong(args, "values in trees of several values for each key do not expire");
}

int session_open_single(cli_session *session, const cli_args *args, enum session_mode mode)
{
    int code = session_open(session, args, mode);
    if (code)
        return code;
    code = session_need_single(session);
    if (code == 0)
        code = session_configure(session);
    return code ? session_close(session, code) : 0;
}

static int session_missing_tree(const cli_session *session)
{
    cli_say(session->file, "no tree %s; kv trees lists them", cli_quote(session->tree_name));
    return CLI_NO;
}

int session_select(cli_session *session, kv_slice name)
{
    session->tree_name = name;
    session->tree = name.ptr ? NULL : kv_txn_main(session->txn);
    if (name.ptr) {
        uint32_t flags = session->mode == SESSION_CREATE ? KV_TREE_CREATE : 0;
        if (flags && (session->new_multi || args_given(session->args, ARG_MULTI)))
            flags |= KV_TREE_MULTI;
        int result = kv_tree_open(session->txn, name.ptr, name.len, flags, NULL, &session->tree);
        if (result == KV_NOTFOUND)
            return session_missing_tree(session);
        if (result != KV_OK)
            return session_fail(session, result, "tree %s", cli_quote(name));
    }
    kv_tree_info info = {.size = sizeof info};
    session->multi = kv_tree_stat(session->tree, &info) == KV_OK && info.multi;
    return 0;
}

int session_has(const cli_session *session, kv_slice key)
{
    uint64_t count;
    if (!session->multi)
        return kv_exists(session->tree, key.ptr, key.len);
    int result = kv_multi_count(session->tree, key.ptr, key.len, &count);
    return result == KV_OK && count == 0 ? KV_NOTFOUND : result;
}

int session_configure(cli_session *session)
{
    if (!args_given(session->args, ARG_COMPRESS))
        return 0;
    kv_tree_options options = {.size = sizeof options,
                               .compress_from = session->args->number[ARG_COMPRESS]};
    int result = kv_tree_configure(session->tree, &options);
    return result == KV_OK ? 0 : session_fail(session, result, "setting compression");
}

/* ---- ending ---- */

int session_commit(cli_session *session)
{
    kv_txn *txn = session->txn;
    session->txn = NULL;
    session->tree = NULL;
    int result = kv_txn_commit(txn);
    return result == KV_OK ? 0 : session_fail(session, result, "commit");
}

int session_end_change(cli_session *session, int result, kv_slice key)
{
    if (result == KV_OK)
        return session_commit(session);
    if (result < 0)
        return session_fail(session, result, "key %s", keys_quote(session->args, key));
    if (!args_given(session->args, ARG_QUIET))
        cli_say(session->file,
                result == KV_EXISTS     ? "key %s is there already"
                : result == KV_MISMATCH ? "key %s has another value"
                                        : "no key %s",
                keys_quote(session->args, key));
    return cli_exit_of(result);
}

int session_close(cli_session *session, int code)
{
    kv_txn_abort(session->txn);
    int result = kv_db_close(session->db);
    session->txn = NULL;
    session->db = NULL;
    if (result == KV_OK || code != 0)
        return code;
    return session_fail(session, result, "closing");
}
