/* args.c - see args.h. */
#include "args.h"
#include "cli.h"
#include "escape.h"
#include "keys.h"
#include "suggest.h"
#include "units.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
const args_option args_options[ARG_COUNT] = {
    [ARG_ALL] = {       "all",         0,   ARGS_SWITCH,   NULL,
                        "all of it, not a part"},
    [ARG_AT] = {        "at",          0,   ARGS_BYTES,    "NAME",
                        "read a named snapshot instead of the newest commit"},
    [ARG_BATCH] = {     "batch",       0,   ARGS_NUMBER,   "N",
                        "commit after every N entries; default: once"},
    [ARG_BINARY] = {    "binary",      0,   ARGS_SWITCH,   NULL,
                        "numbers of 8 bytes, little-endian, not decimal text"},
    [ARG_CHOOSE] = {    "choose",      0,   ARGS_CHOICE,   "0|1",
                        "write a copy whose newest commit is this meta's"},
    [ARG_COMPACT] = {   "compact",     0,   ARGS_SWITCH,   NULL,
                        "rebuild the trees: the smallest file"},
    [ARG_COMPRESS] = {  "compress",    0,   ARGS_SIZE,     "N",
                        "from now on, compress values of N bytes and more; 0: none"},
    [ARG_DELIMITER] = { "delimiter",   0,   ARGS_BYTES,    "BYTES",
                        "what ends a part of a key; default: a colon"},
    [ARG_DEPTH] = {     "depth",       0,   ARGS_NUMBER,   "N",
                        "prefixes of N parts, 1 if not given"},
    [ARG_DURABILITY] = {"durability",  0,   ARGS_CHOICE,   "strict|durable|lazy",
                        "flushes per commit: 2, 1 (the default), 0"},
    [ARG_ESCAPED] = {   "escaped",     'e', ARGS_SWITCH,   NULL,
                        "decode \\t \\n \\r \\\\ \\xNN in arguments"},
    [ARG_EXPIRY] = {    "expiry",      0,   ARGS_SWITCH,   NULL,
                        "a column with the time of expiry, behind the key"},
    [ARG_FILL] = {      "fill",        0,   ARGS_NUMBER,   "PERCENT",
                        "of a leaf that keys in order fill: 50 to 100 (the default)"},
    [ARG_FLOAT] = {     "float",       0,   ARGS_SWITCH,   NULL,
                        "count in floating-point numbers"},
    [ARG_FOLLOW] = {    "follow",      0,   ARGS_SWITCH,   NULL,
                        "go on with what is committed meanwhile, until the reader leaves"},
    [ARG_FORMAT] = {    "format",      0,   ARGS_CHOICE,   "text|mdb_dump|db_dump",
                        "default: text, or for import what the first line shows"},
    [ARG_FROM] = {      "from",        0,   ARGS_BYTES,    "KEY",
                        "only keys from this one on"},
    [ARG_FROM_ABSENT] = {"from-absent", 0,  ARGS_SWITCH,   NULL,
                        "the key must be absent; OLD is left out"},
    [ARG_HELP] = {      "help",        'h', ARGS_SWITCH,   NULL,
                        "explain the command"},
    [ARG_HEX] = {       "hex",         0,   ARGS_SWITCH,   NULL,
                        "print the raw bytes, in hexadecimal"},
    [ARG_IF_ABSENT] = { "if-absent",   0,   ARGS_SWITCH,   NULL,
                        "only if the key is not there yet"},
    [ARG_IF_EQUALS] = { "if-equals",   0,   ARGS_BYTES,    "OLD",
                        "only if the key has this very value"},
    [ARG_IF_PRESENT] = {"if-present",  0,   ARGS_SWITCH,   NULL,
                        "only if the key is there already"},
    [ARG_INITIAL] = {   "initial",     0,   ARGS_BYTES,    "N",
                        "what an absent key counts as; default: 0"},
    [ARG_JSON] = {      "json",        'j', ARGS_SWITCH,   NULL,
                        "print JSON"},
    [ARG_KEEP_TTL] = {  "keep-ttl",    0,   ARGS_SWITCH,   NULL,
                        "an entry that is there keeps its expiry"},
    [ARG_KEYS_ONLY] = { "keys-only",   'k', ARGS_SWITCH,   NULL,
                        "print no values"},
    [ARG_LAST] = {      "last",        0,   ARGS_SWITCH,   NULL,
                        "the last entry, not the first"},
    [ARG_LIMIT] = {     "limit",       'n', ARGS_NUMBER,   "N",
                        "at most N entries"},
    [ARG_MAX_SIZE] = {  "max-size",    0,   ARGS_SIZE,     "N",
                        "the value must not become longer than N bytes"},
    [ARG_MEMORY] = {    "memory",      0,   ARGS_SIZE,     "N",
                        "that an import may use for changed pages; default: 256M"},
    [ARG_ONCE] = {      "once",        0,   ARGS_SWITCH,   NULL,
                        "end after the first change"},
    [ARG_MIN_GAIN] = {  "min-gain",    0,   ARGS_DURATION, "TIME",
                        "write only if the expiry moves by so much: 1m"},
    [ARG_MULTI] = {     "multi",       0,   ARGS_SWITCH,   NULL,
                        "a new tree has several values for each key"},
    [ARG_PAGE_SIZE] = { "page-size",   0,   ARGS_SIZE,     "N",
                        "page size of a new file: 4k (the default), 8k ... 64k"},
    [ARG_PREFIX] = {    "prefix",      'p', ARGS_BYTES,    "BYTES",
                        "only keys that begin so"},
    [ARG_PRINT] = {     "print",       0,   ARGS_SWITCH,   NULL,
                        "show printable bytes in a dump as they are"},
    [ARG_QUIET] = {     "quiet",       'q', ARGS_SWITCH,   NULL,
                        "no summary, no progress, no word on missing keys"},
    [ARG_RAW] = {       "raw",         'r', ARGS_SWITCH,   NULL,
                        "the exact bytes, no escapes, no newline"},
    [ARG_REDACT] = {    "redact",      0,   ARGS_SWITCH,   NULL,
                        "print lengths instead of keys, values and names"},
    [ARG_RESET] = {     "reset",       0,   ARGS_SWITCH,   NULL,
                        "set the file's clock back to the system's"},
    [ARG_REVERSE] = {   "reverse",     0,   ARGS_SWITCH,   NULL,
                        "from the last key down"},
    [ARG_TIMEOUT] = {   "timeout",     0,   ARGS_DURATION, "TIME",
                        "end when nothing changes for so long: 500ms, 10s, 2m"},
    [ARG_SINCE] = {     "since",       0,   ARGS_NUMBER,   "ID",
                        "only what was changed since this commit"},
    [ARG_TO] = {        "to",          0,   ARGS_BYTES,    "KEY",
                        "only keys before this one"},
    [ARG_TO_ABSENT] = { "to-absent",   0,   ARGS_SWITCH,   NULL,
                        "remove the key; NEW is left out"},
    [ARG_TREE] = {      "tree",        't', ARGS_BYTES,    "NAME",
                        "a named tree instead of the main one"},
    [ARG_TTL] = {       "ttl",         0,   ARGS_DURATION, "TIME",
                        "let the entry expire after: 500ms, 10s, 2h, 3d"},
    [ARG_TUPLE] = {     "tuple",       0,   ARGS_SWITCH,   NULL,
                        "keys are tuples, as (\"order\", 1001)"},
    [ARG_VALUE] = {     "value",       0,   ARGS_BYTES,    "VALUE",
                        "only this one of the values of the keys"},
    [ARG_VALUES_ONLY] = {"values-only", 0,   ARGS_SWITCH,   NULL,
                        "print no keys"},
    [ARG_VERSION] = {   "version",     0,   ARGS_SWITCH,   NULL,
                        "print the version"},
    [ARG_WAIT] = {      "wait",        'w', ARGS_DURATION, "TIME",
                        "wait so long for the file: 500ms, 10s, 2m"},
};
/* clang-format on */

int args_wrong(const cli_args *args, const char *format, ...)
{
    const cli_command *command = args->command;
    va_list list;
    fprintf(stderr, command ? "kv %s: " : "kv: ", command ? command->name : "");
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
    if (command) {
        fprintf(stderr, "usage: kv %s%s%s%s\n", command->name, *command->operands ? " " : "",
                command->operands, command->options ? " [OPTIONS]" : "");
        fprintf(stderr, "`kv help %s` explains it\n", command->name);
    } else {
        fputs("usage: kv COMMAND FILE [ARGUMENTS] [OPTIONS]\n`kv help` lists the commands\n",
              stderr);
    }
    return CLI_USAGE;
}

static const char *args_quote(const char *text)
{
    return cli_quote((kv_slice){text, strlen(text)});
}

/* ---- options ---- */

static const args_option *args_find(const char *name, size_t len)
{
    for (int id = 0; id < ARG_COUNT; id++) {
        if (strlen(args_options[id].name) == len && strncmp(args_options[id].name, name, len) == 0)
            return &args_options[id];
    }
    return NULL;
}

static const args_option *args_find_letter(char letter)
{
    for (int id = 0; id < ARG_COUNT; id++) {
        if (args_options[id].letter == letter)
            return &args_options[id];
    }
    return NULL;
}

static bool args_read_choice(const char *words, const char *text, uint64_t *index)
{
    size_t len = strlen(text);
    for (*index = 0; *words; ++*index) {
        size_t word = strcspn(words, "|");
        if (word == len && strncmp(words, text, len) == 0)
            return true;
        words += word + (words[word] == '|');
    }
    return false;
}

static bool args_read_value(const args_option *option, const char *text, uint64_t *number)
{
    switch (option->kind) {
    case ARGS_NUMBER:
        return units_read_number(text, number);
    case ARGS_SIZE:
        return units_read_size(text, number);
    case ARGS_DURATION:
        return units_read_duration(text, number);
    case ARGS_CHOICE:
        return args_read_choice(option->value, text, number);
    default:
        return true;
    }
}

/* Takes one option with its value. */
static int args_take(cli_args *args, const args_option *option, const char *value)
{
    size_t id = (size_t)(option - args_options);
    if (option->kind == ARGS_SWITCH && value)
        return args_wrong(args, "--%s takes no value", option->name);
    if (option->kind != ARGS_SWITCH && !value)
        return args_wrong(args, "--%s needs a value: --%s %s", option->name, option->name,
                          option->value);
    args->given |= ARG_BIT(id);
    if (!value)
        return 0;
    args->bytes[id] = (kv_slice){value, strlen(value)};
    if (!args_read_value(option, value, &args->number[id]))
        return args_wrong(args, "--%s %s: should be %s", option->name, args_quote(value),
                          option->kind == ARGS_NUMBER ? "a number"
                          : option->kind == ARGS_SIZE ? "a size, as 4096 or 64k"
                          : option->kind == ARGS_DURATION
                              ? "a time with its unit: 500ms, 10s, 2m, 2h, 3d"
                              : option->value);
    return 0;
}

static int args_unknown(const cli_args *args, const char *word)
{
    const args_option *near = NULL;
    if (word[1] == '-')
        near = suggest_option(word + 2, strcspn(word + 2, "="), args->command);
    if (near)
        return args_wrong(args, "no option %s; did you mean --%s?", args_quote(word), near->name);
    return args_wrong(args, "no option %s; put -- before arguments that begin with a dash",
                      args_quote(word));
}

/* Takes the option at argv[*at], moving *at when the value is a word of its own. */
static int args_option_at(cli_args *args, char **argv, int *at)
{
    const char *word = argv[*at], *value = NULL;
    const args_option *option = NULL;
    if (word[1] == '-') {
        size_t len = strcspn(word + 2, "=");
        option = args_find(word + 2, len);
        value = word[2 + len] ? word + 2 + len + 1 : NULL;
    } else {
        option = args_find_letter(word[1]);
        value = word[2] ? word + 2 : NULL;
    }
    if (!option)
        return args_unknown(args, word);
    if (option->kind != ARGS_SWITCH && !value && argv[*at + 1])
        value = argv[++*at];
    return args_take(args, option, value);
}

/* A dash alone stands for standard input, and one before a digit is a sign. */
static bool args_is_option(const char *word)
{
    return word[0] == '-' && word[1] && !(word[1] >= '0' && word[1] <= '9');
}

/* ---- operands ---- */

/* People type the file first, or a name that another tool uses. */
static int args_unknown_command(const cli_args *args, char **argv, int at, const char *word)
{
    const char *next = argv[at + 1];
    if (next && cli_command_find(next))
        return args_wrong(args, "the command comes first: kv %s %s", next, args_quote(word));
    const cli_command *near = suggest_command(word);
    if (near)
        return args_wrong(args, "no command %s; did you mean %s?", args_quote(word), near->name);
    return args_wrong(args, "no command %s", args_quote(word));
}

/* A command whose synopsis begins with a|b takes one of these words before the file: their length. */
static size_t args_verbs(const cli_command *command)
{
    size_t len = strcspn(command->operands, " ");
    return memchr(command->operands, '|', len) ? len : 0;
}

static bool args_read_verb(const char *words, size_t len, const char *word)
{
    size_t size = strlen(word);
    for (size_t at = 0, end; at < len; at = end + 1) {
        end = at + strcspn(words + at, "| ");
        if (end - at == size && strncmp(words + at, word, size) == 0)
            return true;
    }
    return false;
}

static int args_verb_at(cli_args *args, const char *word)
{
    const char *words = args->command->operands;
    size_t len = args_verbs(args->command);
    args->verb = word;
    if (args_read_verb(words, len, word))
        return 0;
    return args_wrong(args, "%s should be %s", args_quote(word), cli_quote((kv_slice){words, len}));
}

static int args_operand_at(cli_args *args, char **argv, int at)
{
    const char *word = argv[at];
    if (!args->command) {
        args->command = cli_command_find(word);
        return args->command ? 0 : args_unknown_command(args, argv, at, word);
    }
    if (args_verbs(args->command) && !args->verb)
        return args_verb_at(args, word);
    if (!args->file) {
        args->file = word;
        return 0;
    }
    args->operands[args->count++] = (args_operand){word, {word, strlen(word)}};
    return 0;
}

/* Word number n of a synopsis. */
static const char *args_synopsis_word(const char *synopsis, int n)
{
    while (n-- > 0)
        synopsis += strcspn(synopsis, " ") + 1;
    return cli_quote((kv_slice){synopsis, strcspn(synopsis, " ")});
}

static int args_check(const cli_args *args)
{
    const cli_command *command = args->command;
    uint64_t unfit = args->given & ~(command->options | ARG_BIT(ARG_HELP));
    for (int id = 0; id < ARG_COUNT; id++) {
        if (unfit & ARG_BIT(id))
            return args_wrong(args, "there is no --%s here", args_options[id].name);
    }
    int count = args->count + (args->file != NULL) + (args->verb != NULL);
    if (count < command->operands_min)
        return args_wrong(args, "%s is missing", args_synopsis_word(command->operands, count));
    if (command->operands_max >= 0 && count > command->operands_max)
        return args_wrong(
            args, "one argument too many: %s",
            args_quote(args->count > 0 ? args->operands[args->count - 1].text : args->file));
    return 0;
}

static int args_decode(const cli_args *args, kv_slice *bytes)
{
    size_t wrong_at;
    char *text = memcpy(cli_realloc(NULL, bytes->len + 1), bytes->ptr, bytes->len);
    ptrdiff_t len = escape_decode(text, bytes->len, &wrong_at);
    if (len < 0) {
        free(text);
        return args_wrong(args, "wrong escape at byte %zu of %s; known: \\t \\n \\r \\\\ \\xNN",
                          wrong_at + 1, args_quote(bytes->ptr));
    }
    text[len] = 0; /* some read a number there */
    *bytes = (kv_slice){text, (size_t)len};
    return 0;
}

/* Is operand number i behind the file a key? The last word of a synopsis may stand for many. */
static bool args_is_key(const cli_args *args, int i)
{
    const char *word = strchr(args->command->operands, ' ');
    while (word && i-- > 0 && strchr(word + 1, ' '))
        word = strchr(word + 1, ' ');
    return word && strncmp(word + 1 + (word[1] == '['), "KEY", 3) == 0;
}

/* Decodes one argument of data: a key, or other bytes. */
static int args_decode_one(const cli_args *args, kv_slice *bytes, bool key, bool bound)
{
    if (key && args_given(args, ARG_TUPLE))
        return keys_parse(args, bytes, bound);
    return args_given(args, ARG_ESCAPED) ? args_decode(args, bytes) : 0;
}

static int args_decode_all(cli_args *args)
{
    int code = 0;
    bool keys = args->command->traits & CLI_KEY_OPERANDS;
    for (int i = 0; i < args->count && code == 0 && keys; i++)
        code = args_decode_one(args, &args->operands[i].bytes, args_is_key(args, i), false);
    for (int id = 0; id < ARG_COUNT && code == 0; id++) {
        bool bound = id == ARG_PREFIX || id == ARG_FROM || id == ARG_TO;
        if (args_options[id].kind == ARGS_BYTES && args_given(args, (args_id)id))
            code = args_decode_one(args, &args->bytes[id], bound, true);
    }
    return code;
}

/* Those about all trees, unless --tree names one: there, an empty name is the main tree. */
static bool args_all_trees(const cli_command *command)
{
    return command->run == cmd_top || command->run == cmd_diff || command->run == cmd_sweep;
}

int args_parse(cli_args *args, int argc, char **argv)
{
    bool ended = false;
    int code = 0;
    memset(args, 0, sizeof *args);
    args->operands = cli_realloc(NULL, (size_t)(argc + 1) * sizeof *args->operands);
    for (int at = 1; at < argc && code == 0; at++) {
        if (!ended && strcmp(argv[at], "--") == 0)
            ended = true;
        else if (!ended && args_is_option(argv[at]))
            code = args_option_at(args, argv, &at);
        else
            code = args_operand_at(args, argv, at);
    }
    if (code || args_given(args, ARG_HELP) || (!args->command && args_given(args, ARG_VERSION)))
        return code;
    if (!args->command)
        return args_wrong(args, "no command");
    code = args_check(args);
    if (code == 0 && args_given(args, ARG_TREE) && args->bytes[ARG_TREE].len == 0 &&
        !args_all_trees(args->command))
        code = args_wrong(args, "--tree needs a name");
    if (code == 0 && args_given(args, ARG_MULTI) && !args_given(args, ARG_TREE))
        code = args_wrong(args, "--multi needs --tree: the main tree has one value for each key");
    if (code == 0 && args_given(args, ARG_AT) && args->bytes[ARG_AT].len == 0)
        code = args_wrong(args, "--at needs a name");
    return code ? code : args_decode_all(args);
}

kv_range args_range(const cli_args *args)
{
    kv_range range = {.size = sizeof range};
    if (args_given(args, ARG_FROM)) {
        range.from = args->bytes[ARG_FROM].ptr;
        range.from_len = args->bytes[ARG_FROM].len;
    }
    if (args_given(args, ARG_TO)) {
        range.to = args->bytes[ARG_TO].ptr;
        range.to_len = args->bytes[ARG_TO].len;
    }
    if (args_given(args, ARG_PREFIX)) {
        range.prefix = args->bytes[ARG_PREFIX].ptr;
        range.prefix_len = args->bytes[ARG_PREFIX].len;
    }
    range.limit = args->number[ARG_LIMIT];
    range.flags = args_given(args, ARG_REVERSE) ? KV_RANGE_REVERSE : 0;
    return range;
}

bool args_none(const cli_args *args)
{
    return args_given(args, ARG_LIMIT) && args->number[ARG_LIMIT] == 0;
}

bool args_bounded(const cli_args *args)
{
    return (args->given & (ARG_BIT(ARG_PREFIX) | ARG_BIT(ARG_FROM) | ARG_BIT(ARG_TO))) != 0;
}

uint32_t args_wait(const cli_args *args, uint32_t usual)
{
    uint64_t asked = args->number[ARG_WAIT];
    if (!args_given(args, ARG_WAIT))
        return usual;
    return asked < UINT32_MAX ? (uint32_t)asked : UINT32_MAX;
}
