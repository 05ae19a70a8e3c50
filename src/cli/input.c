/* input.c - see input.h. */
#include "input.h"
#include "cli.h"
#include "pipe.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int input_read(char **bytes, size_t *len)
{
    size_t capacity = 1 << 16;
    *bytes = cli_realloc(NULL, capacity);
    *len = 0;
    for (;;) {
        if (*len == capacity)
            *bytes = cli_realloc(*bytes, capacity *= 2);
        int64_t n = pipe_read(STDIN_FILENO, *bytes + *len, capacity - *len);
        if (n == 0)
            return 0;
        if (n < 0) {
            cli_say("standard input", "%s", strerror(errno));
            free(*bytes);
            *bytes = NULL;
            return CLI_TROUBLE;
        }
        *len += (size_t)n;
    }
}

static bool is_dash(const args_operand *operand)
{
    return strcmp(operand->text, "-") == 0;
}

int input_value(const args_operand *operand, kv_slice *value)
{
    char *bytes;
    size_t len;
    *value = operand->bytes;
    if (!is_dash(operand))
        return 0;
    int code = input_read(&bytes, &len);
    if (code == 0)
        *value = (kv_slice){bytes, len};
    return code;
}

void input_free(const args_operand *operand, kv_slice value)
{
    if (is_dash(operand))
        free((void *)(uintptr_t)value.ptr);
}
