/* main.c - from the command line to a command, and what a process must set up before. */
#include "cli.h"
#include "out.h"
#include <locale.h>
#include <signal.h>

static cli_args command_line; /* here, what it points to lives as long as the process */

static int main_run(const cli_args *args)
{
    if (args_given(args, ARG_HELP))
        return cmd_help(args);
    if (!args->command)
        return cmd_version(args);
    return args->command->run(args);
}

int main(int argc, char **argv)
{
    /* A writing command goes on when its reader leaves; a reading one ends. */
    void (*on_pipe)(int) = signal(SIGPIPE, SIG_IGN);
    /* beyond a limit on file sizes, an error is better than an end */
    signal(SIGXFSZ, SIG_IGN);
    /* table widths: the text is UTF-8 whatever the user's locale is */
    setlocale(LC_CTYPE, "C.UTF-8");
    int code = args_parse(&command_line, argc, argv);
    if (code == CLI_DONE)
        code = main_run(&command_line);
    code = out_end(code);
    if (out_failed() && out_reader_gone() && on_pipe == SIG_DFL) {
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    return code;
}
