/* cmd_repair.c - kv repair: the exclusive way through a damaged file. */
#include "cli.h"
#include "out.h"
#include "session.h"
#include <stdio.h>
#include <string.h>

/* The newest sentence is held back: when repairing fails, it is the reason, and belongs to the
 * message. */
typedef struct cli_repair {
    char sentence[512];
} cli_repair;

static void repair_print(const cli_repair *repair)
{
    if (*repair->sentence) {
        out_escaped((kv_slice){repair->sentence, strlen(repair->sentence)});
        out_char('\n');
    }
    out_flush(); /* repairing may take long, and may be interrupted */
}

static void repair_report(void *context, const char *sentence)
{
    cli_repair *repair = context;
    repair_print(repair);
    snprintf(repair->sentence, sizeof repair->sentence, "%s", sentence);
}

static const char *repair_advice(int result)
{
    switch (result) {
    case KV_EBUSY:
        return "end the other program first; --wait 1m waits for it";
    case KV_ECORRUPT:
        return "the file was not changed; kv salvage saves what can be read";
    case KV_ENOTKV:
        return "is this the right file?";
    default:
        return "";
    }
}

int cmd_repair(const cli_args *args)
{
    cli_repair repair = {.sentence = ""};
    int result = kv_db_repair(args->file, args_wait(args, 0), repair_report, &repair);
    if (result != KV_OK)
        return session_explain(args->file, result, "repair", repair.sentence,
                               repair_advice(result));
    repair_print(&repair);
    return CLI_DONE;
}
