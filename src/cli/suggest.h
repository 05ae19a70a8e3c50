/* suggest.h - near misses: what a mistyped word was probably meant to be. */
#ifndef SUGGEST_H
#define SUGGEST_H

#include "args.h"

/* The command whose name, or other name, is near to the word, or NULL. */
const struct cli_command *suggest_command(const char *word);

/* The option nearest to a name without dashes, among those of the command (NULL: all), or NULL. */
const args_option *suggest_option(const char *name, size_t len, const struct cli_command *command);

#endif
