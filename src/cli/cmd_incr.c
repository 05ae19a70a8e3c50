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
#include <unistd.h>

/* What the command line asks for. */
typedef struct cli_incr {
    const char *delta, *initial;
    bool real;
    long long by, from;
    double real_by, real_from;
} cli_incr;

static bool incr_read(const char *text, long long *number)
{
    char *end;
    errno = 0;
    *number = strtoll(text, &end, 10);
    return *text && !*end && errno == 0 && strchr("+-0123456789", *text);
}

static int incr_parse(cli_incr *incr, const cli_args *args)
{
    kv_slice initial = args->bytes[ARG_INITIAL];
    if (initial.ptr && strlen(initial.ptr) != initial.len)
        return args_wrong(args, "--initial is no number");
    *incr = (cli_incr){
        .delta = args->count > 1 ? args->operands[1].text : "1",
        .initial = args_given(args, ARG_INITIAL) ? args->bytes[ARG_INITIAL].ptr : "0",
        .real = args_given(args, ARG_FLOAT),
    };
    if (incr->real && (!units_read_real(incr->delta, &incr->real_by) ||
                       !units_read_real(incr->initial, &incr->real_from)))
        return args_wrong(args, "DELTA and --initial are numbers, as 2.5 or 1e-3");
    if (!incr->real &&
        (!incr_read(incr->delta, &incr->by) || !incr_read(incr->initial, &incr->from)))
        return args_wrong(args, "DELTA and --initial are whole numbers of 64 bits; --float "
                                "counts in others");
    return 0;
}

/* Would the sum of an absent key leave the range? */
static bool incr_overflows(const cli_incr *incr)
{
    long long sum;
    return incr->real ? !isfinite(incr->real_from + incr->real_by)
                      : __builtin_add_overflow(incr->from, incr->by, &sum);
}

static void incr_print(const cli_args *args, kv_slice key, const cli_incr *incr, int64_t sum,
                       double real)
{
    char text[UNITS_MAX];
    if (args_given(args, ARG_JSON)) {
        answer_begin(args, key);
        json_name("value");
        if (incr->real)
            json_real(real);
        else
            json_integer(sum);
        answer_end();
    } else if (incr->real) {
        out_format("%s\n", units_real(text, real));
    } else {
        out_format("%lld\n", (long long)sum);
    }
}

static int incr_run(cli_session *session, const cli_incr *incr)
{
    const cli_args *args = session->args;
    kv_slice key = args->operands[0].bytes;
    uint32_t flags = args_given(args, ARG_BINARY) ? 0 : KV_NUMBER_TEXT;
    int64_t sum = 0;
    double real = 0;
    int result = incr->real
                     ? kv_incr_double(session->tree, key.ptr, key.len, incr->real_by,
                                      incr->real_from, flags, &real)
                     : kv_incr(session->tree, key.ptr, key.len, incr->by, incr->from, flags, &sum);
    int code = session_end_change(session, result, key);
    if (code == CLI_DONE)
        incr_print(args, key, incr, sum, real);
    return code;
}

int cmd_incr(const cli_args *args)
{
    cli_incr incr;
    cli_session session;
    int code = incr_parse(&incr, args);
    if (code)
        return code;
    if (incr_overflows(&incr) &&
        access(args->file, F_OK) != 0) { /* what is refused makes no file */
        cli_say(args->file, "%s and %s more leave the range; nothing was changed", incr.initial,
                incr.delta);
        return CLI_NO;
    }
    code = session_open_single(&session, args, SESSION_CREATE);
    return code ? code : session_close(&session, incr_run(&session, &incr));
}
