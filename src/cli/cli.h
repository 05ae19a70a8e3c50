/* cli.h - what all commands share: exit codes, messages on standard error, memory, and the tables
 * of commands. The command knows kv only through kv.h, so it proves the public interface. */
#ifndef CLI_H
#define CLI_H

#include "args.h"
#include "kv.h"

enum cli_exit {
    CLI_DONE = 0,
    CLI_NO = 1,      /* not found, or a condition failed */
    CLI_USAGE = 2,   /* the command line is wrong */
    CLI_TROUBLE = 3, /* input, output, or the file is busy */
    CLI_DAMAGED = 4  /* the file is damaged or not a kv database */
};

enum cli_trait {
    CLI_KEY_OPERANDS = 1, /* those behind the file are keys and values (--escaped) */
    CLI_LISTS_DAMAGE = 2, /* so advice leads beyond it */
    CLI_FOLLOWS = 4       /* may wait for changes as long as the file is there */
};

/* One command. Its help text, its argument check and its place in the man page come from here. */
typedef struct cli_command {
    const char *name;
    const char *also;     /* other names that people try, separated by spaces */
    const char *operands; /* synopsis */
    const char *summary;
    const char *details;
    const char *examples;
    int operands_min, operands_max;   /* verb and file included; a maximum of -1: any number */
    unsigned traits;                  /* of enum cli_trait */
    uint64_t options;                 /* bit n: option n of args.h */
    int (*run)(const cli_args *args); /* gives an exit code */
} cli_command;

extern const cli_command cli_commands[];
extern const int cli_command_count;

/* The command of that name, or NULL. */
const cli_command *cli_command_find(const char *name);

/* Writes "kv: about: message" to standard error. about is a file or command. */
void cli_say(const char *about, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The exit code that stands for an error result of kv. */
int cli_exit_of(int result);

/* As realloc, but ends the program when memory is used up. */
void *cli_realloc(void *ptr, size_t size);

/* A printable form of bytes from elsewhere, shortened, for a message. The newest four stay
 * valid. */
const char *cli_quote(kv_slice bytes);

/* The same of a text whose backslashes are escapes already. */
const char *cli_quote_escaped(kv_slice text);

int cmd_append(const cli_args *args);
int cmd_apply(const cli_args *args);
int cmd_backup(const cli_args *args);
int cmd_cas(const cli_args *args);
int cmd_check(const cli_args *args);
int cmd_compact(const cli_args *args);
int cmd_copy(const cli_args *args);
int cmd_count(const cli_args *args);
int cmd_clock(const cli_args *args);
int cmd_expire(const cli_args *args);
int cmd_persist(const cli_args *args);
int cmd_sweep(const cli_args *args);
int cmd_touch(const cli_args *args);
int cmd_ttl(const cli_args *args);
int cmd_del(const cli_args *args);
int cmd_diff(const cli_args *args);
int cmd_export(const cli_args *args);
int cmd_get(const cli_args *args);
int cmd_has(const cli_args *args);
int cmd_help(const cli_args *args);
int cmd_import(const cli_args *args);
int cmd_incr(const cli_args *args);
int cmd_merge(const cli_args *args);
int cmd_meta(const cli_args *args);
int cmd_nth(const cli_args *args);
int cmd_page(const cli_args *args);
int cmd_pages(const cli_args *args);
int cmd_percentile(const cli_args *args);
int cmd_pop(const cli_args *args);
int cmd_put(const cli_args *args);
int cmd_random(const cli_args *args);
int cmd_rank(const cli_args *args);
int cmd_readers(const cli_args *args);
int cmd_repair(const cli_args *args);
int cmd_salvage(const cli_args *args);
int cmd_scan(const cli_args *args);
int cmd_snapshot(const cli_args *args);
int cmd_split(const cli_args *args);
int cmd_stat(const cli_args *args);
int cmd_swap(const cli_args *args);
int cmd_top(const cli_args *args);
int cmd_trees(const cli_args *args);
int cmd_version(const cli_args *args);
int cmd_watch(const cli_args *args);

#endif
