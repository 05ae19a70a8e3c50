/* cmd_incr.c - kv incr: counting in place. */
#include "answer.h"
#include "cli.h"
#include "json.h"
#include "out.h"
#include "session.h"
#include "units.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool incr_read(const char *text, long long *number)
{
    char *end;
    errno = 0;
    *number = strtoll(text, &end, 10);
    return *text && !*end && errno == 0 && (*text == '-' || (*text >= '0' && *text <= '9'));
}

/* Decimal alone, as values are: no 0x10, no inf. */
static bool incr_read_real(const char *text, double *number)
{
    char *end;
    *number = strtod(text, &end);
    return *text && !*end && !text[strspn(text, "0123456789+-.eE")] && isfinite(*number);
}

static int incr_int(cli_session *session, kv_slice key, const char *delta, const char *initial)
{
    long long by, from;
    int64_t sum;
    if (!incr_read(delta, &by) || !incr_read(initial, &from))
        return args_wrong(session->args,
                          "DELTA and --initial are whole numbers of 64 bits; --float "
                          "counts in others");
    uint32_t flags = args_given(session->args, ARG_BINARY) ? 0 : KV_NUMBER_TEXT;
    int result = kv_incr(session->tree, key.ptr, key.len, by, from, flags, &sum);
    int code = session_end_change(session, result, key);
    if (code == 0 && args_given(session->args, ARG_JSON)) {
        answer_begin(session->args, key);
        json_name("value");
        json_integer(sum);
        answer_end();
    } else if (code == 0) {
        out_format("%lld\n", (long long)sum);
    }
    return code;
}

static int incr_real(cli_session *session, kv_slice key, const char *delta, const char *initial)
{
    double by, from, sum;
    if (!incr_read_real(delta, &by) || !incr_read_real(initial, &from))
        return args_wrong(session->args, "DELTA and --initial are numbers, as 2.5 or 1e-3");
    uint32_t flags = args_given(session->args, ARG_BINARY) ? 0 : KV_NUMBER_TEXT;
    int result = kv_incr_double(session->tree, key.ptr, key.len, by, from, flags, &sum);
    int code = session_end_change(session, result, key);
    if (code == 0 && args_given(session->args, ARG_JSON)) {
        answer_begin(session->args, key);
        json_name("value");
        json_real(sum);
        answer_end();
    } else if (code == 0) {
        char text[UNITS_MAX];
        out_format("%s\n", units_real(text, sum));
    }
    return code;
}

int cmd_incr(const cli_args *args)
{
    const char *delta = args->count > 1 ? args->operands[1].text : "1";
    const char *initial = args_given(args, ARG_INITIAL) ? args->bytes[ARG_INITIAL].ptr : "0";
    kv_slice key = args->operands[0].bytes;
    cli_session session;
    int code = session_open_single(&session, args, SESSION_CREATE);
    if (code)
        return code;
    code = args_given(args, ARG_FLOAT) ? incr_real(&session, key, delta, initial)
                                       : incr_int(&session, key, delta, initial);
    return session_close(&session, code);
}
