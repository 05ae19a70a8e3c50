/* cmd_put.c - kv put: one entry, from the command line or standard input. */
#include "cli.h"
#include "keys.h"
#include "session.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Reads standard input to its end. The bytes belong to the caller. */
static int put_read_input(char **bytes, size_t *len)
{
    size_t capacity = 1 << 16;
    *bytes = cli_realloc(NULL, capacity);
    *len = 0;
    for (;;) {
        if (*len == capacity)
            *bytes = cli_realloc(*bytes, capacity *= 2);
        ssize_t n = read(STDIN_FILENO, *bytes + *len, capacity - *len);
        if (n == 0)
            return 0;
        if (n > 0) {
            *len += (size_t)n;
        } else if (errno != EINTR) {
            cli_say("standard input", "%s", strerror(errno));
            free(*bytes);
            *bytes = NULL;
            return CLI_TROUBLE;
        }
    }
}

static uint32_t put_flags(const cli_args *args)
{
    return args_given(args, ARG_IF_ABSENT)    ? KV_PUT_ABSENT
           : args_given(args, ARG_IF_PRESENT) ? KV_PUT_PRESENT
                                              : 0;
}

static int put_store(cli_session *session, kv_slice key, kv_slice value)
{
    int code = session_configure(session);
    if (code)
        return code;
    int result =
        kv_put(session->tree, key.ptr, key.len, value.ptr, value.len, put_flags(session->args));
    if (result < 0)
        return session_fail(session, result, "key %s", keys_quote(session->args, key));
    if (result == KV_OK)
        return session_commit(session);
    if (!args_given(session->args, ARG_QUIET))
        cli_say(session->file, result == KV_EXISTS ? "key %s is there already" : "no key %s",
                keys_quote(session->args, key));
    return cli_exit_of(result);
}

static int put_value(const cli_args *args, kv_slice value)
{
    cli_session session;
    /* a key cannot be present in a file that is not */
    bool create = !args_given(args, ARG_IF_PRESENT);
    int code = session_open(&session, args, create ? SESSION_CREATE : SESSION_WRITE);
    if (code)
        return code;
    return session_close(&session, put_store(&session, args->operands[0].bytes, value));
}

int cmd_put(const cli_args *args)
{
    if (args_given(args, ARG_IF_ABSENT) && args_given(args, ARG_IF_PRESENT))
        return args_wrong(args, "--if-absent and --if-present exclude each other");
    if (strcmp(args->operands[1].text, "-") != 0)
        return put_value(args, args->operands[1].bytes);
    char *bytes;
    size_t len;
    int code = put_read_input(&bytes, &len);
    if (code)
        return code;
    code = put_value(args, (kv_slice){bytes, len});
    free(bytes);
    return code;
}
