/* args.h - the command line: `kv COMMAND FILE [ARGUMENTS] [OPTIONS]`, options anywhere. One table
 * says everything about every option; a command names those that it takes. */
#ifndef ARGS_H
#define ARGS_H

#include "kv.h"

typedef enum args_id {
    ARG_ALL,
    ARG_AT,
    ARG_BATCH,
    ARG_BINARY,
    ARG_CHOOSE,
    ARG_COMPACT,
    ARG_COMPRESS,
    ARG_DELIMITER,
    ARG_DEPTH,
    ARG_DURABILITY,
    ARG_ESCAPED,
    ARG_EXPIRY,
    ARG_FILL,
    ARG_FLOAT,
    ARG_FOLLOW,
    ARG_FORMAT,
    ARG_FROM,
    ARG_FROM_ABSENT,
    ARG_HELP,
    ARG_HEX,
    ARG_IF_ABSENT,
    ARG_IF_EQUALS,
    ARG_IF_PRESENT,
    ARG_INITIAL,
    ARG_JSON,
    ARG_KEEP_TTL,
    ARG_KEYS_ONLY,
    ARG_LAST,
    ARG_LIMIT,
    ARG_MAX_SIZE,
    ARG_MEMORY,
    ARG_MIN_GAIN,
    ARG_ONCE,
    ARG_MULTI,
    ARG_PAGE_SIZE,
    ARG_PREFIX,
    ARG_PRINT,
    ARG_QUIET,
    ARG_RAW,
    ARG_REDACT,
    ARG_RESET,
    ARG_REVERSE,
    ARG_SINCE,
    ARG_TIMEOUT,
    ARG_TO,
    ARG_TO_ABSENT,
    ARG_TREE,
    ARG_TTL,
    ARG_TUPLE,
    ARG_VALUE,
    ARG_VALUES_ONLY,
    ARG_VERSION,
    ARG_WAIT,
    ARG_COUNT
} args_id;

#define ARG_BIT(id) (UINT64_C(1) << (id))

typedef enum args_kind {
    ARGS_SWITCH,   /* no value */
    ARGS_BYTES,    /* literal bytes; --escaped decodes them */
    ARGS_NUMBER,   /* decimal */
    ARGS_SIZE,     /* bytes, with an optional k, M, G */
    ARGS_DURATION, /* milliseconds, given with ms, s, m, h or d */
    ARGS_CHOICE    /* one of the words in value; number is its index */
} args_kind;

typedef struct args_option {
    const char *name; /* without the dashes */
    char letter;      /* 0: none */
    args_kind kind;
    const char *value; /* placeholder; for ARGS_CHOICE the words, as "a|b" */
    const char *help;
} args_option;

typedef struct args_operand { /* an argument that is no option */
    const char *text;         /* as given */
    kv_slice bytes;           /* decoded when --escaped asks for it */
} args_operand;

struct cli_command;

typedef struct cli_args {
    const struct cli_command *command;
    const char *verb;       /* of a command that has several; NULL: none */
    const char *file;       /* first operand; NULL when there is none */
    args_operand *operands; /* those behind the file */
    int count;              /* of operands */
    uint64_t given;         /* bit n: option n was given */
    kv_slice bytes[ARG_COUNT];
    uint64_t number[ARG_COUNT];
} cli_args;

extern const args_option args_options[ARG_COUNT];

/* Reads the command line. 0, or the exit code after a message. What args points to is needed until
 * the program ends and is not freed. */
int args_parse(cli_args *args, int argc, char **argv);

static inline bool args_given(const cli_args *args, args_id id)
{
    return (args->given & ARG_BIT(id)) != 0;
}

/* The range that --prefix, --from, --to, --limit and --reverse describe. */
kv_range args_range(const cli_args *args);

/* --limit 0, which a kv_range cannot say: it has no entry. */
bool args_none(const cli_args *args);

/* Do --prefix, --from or --to bound the range? */
bool args_bounded(const cli_args *args);

/* How long to wait for others, in milliseconds: as --wait says, else as usual. */
uint32_t args_wait(const cli_args *args, uint32_t usual);

/* Says what is wrong with the command line, with its usage. Gives CLI_USAGE. */
int args_wrong(const cli_args *args, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
