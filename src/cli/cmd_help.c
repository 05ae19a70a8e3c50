/* cmd_help.c - kv help, kv version: texts from the tables of commands and options. */
#include "cli.h"
#include "out.h"
#include "suggest.h"
#include "table.h"
#include <stdio.h>
#include <string.h>

static void help_print_overview(void)
{
    cli_table table;
    out_text("kv - an ordered key-value database in one file\n\n"
             "usage: kv COMMAND FILE [ARGUMENTS] [OPTIONS]\n\ncommands:\n");
    table_begin(&table, "ll");
    for (int i = 0; i < cli_command_count; i++) {
        table_cell(&table, cli_commands[i].name);
        table_cell(&table, cli_commands[i].summary);
    }
    table_end(&table, 2);
    out_text("\nexamples:\n"
             "  kv put phone.kv alice '+1 555 0100'\n"
             "  kv get phone.kv alice\n"
             "  kv scan phone.kv --prefix al --limit 10\n"
             "  kv export phone.kv | kv import other.kv\n\n"
             "`kv help COMMAND` explains a command. Options may stand anywhere; -- ends them.\n"
             "Exit status: 0 done, 1 not found or condition failed, 2 wrong usage,\n"
             "3 input/output error or busy, 4 damaged or no database.\n");
}

static void help_print_options(const cli_command *command)
{
    cli_table table;
    table_begin(&table, "lll");
    for (int id = 0; id < ARG_COUNT; id++) {
        const args_option *option = &args_options[id];
        if (!(command->options & ARG_BIT(id)))
            continue;
        char name[80], letter[8] = "";
        if (option->letter)
            snprintf(letter, sizeof letter, "-%c,", option->letter);
        snprintf(name, sizeof name, "--%s%s%s", option->name, option->value ? " " : "",
                 option->value ? option->value : "");
        table_cell(&table, letter);
        table_cell(&table, name);
        table_cell(&table, option->help);
    }
    table_end(&table, 2);
}

static void help_print_command(const cli_command *command)
{
    out_format("usage: kv %s%s%s%s\n\n%s.\n", command->name, *command->operands ? " " : "",
               command->operands, command->options ? " [OPTIONS]" : "", command->summary);
    if (*command->details)
        out_format("\n%s", command->details);
    if (command->options) {
        out_text("\noptions:\n");
        help_print_options(command);
    }
    if (*command->examples)
        out_format("\nexamples:\n%s", command->examples);
}

static int help_print_about(const char *name)
{
    const cli_command *command = cli_command_find(name);
    if (command) {
        help_print_command(command);
        return CLI_DONE;
    }
    const cli_command *near = suggest_command(name);
    cli_say("help", near ? "no command %s; did you mean %s?" : "no command %s",
            cli_quote((kv_slice){name, strlen(name)}), near ? near->name : "");
    return CLI_USAGE;
}

int cmd_help(const cli_args *args)
{
    bool about_other = args->command && strcmp(args->command->name, "help") == 0;
    if (about_other && args->file)
        return help_print_about(args->file);
    if (args->command && !about_other)
        return help_print_about(args->command->name);
    help_print_overview();
    return CLI_DONE;
}

int cmd_version(const cli_args *args)
{
    (void)args;
    out_format("kv %d.%d.%d (library %s)\n", KV_VERSION_MAJOR, KV_VERSION_MINOR, KV_VERSION_PATCH,
               kv_version());
    return CLI_DONE;
}
