/* lines.c - see lines.h. */
#include "lines.h"
#include "cli.h"
#include "pipe.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static ssize_t standard_read(void *cookie, char *bytes, size_t len)
{
    (void)cookie;
    return pipe_read(STDIN_FILENO, bytes, len);
}

/* Standard input, which may be a pipe that does not block. */
static FILE *standard_open(void)
{
    return fopencookie(NULL, "r", (cookie_io_functions_t){.read = standard_read});
}

int lines_open(cli_lines *lines, const char *path)
{
    bool standard = !path || strcmp(path, "-") == 0;
    *lines = (struct cli_lines){.name = standard ? "standard input" : path, .standard = standard};
    lines->file = standard ? standard_open() : fopen(path, "re");
    if (!lines->file) {
        cli_say(lines->name, "%s", strerror(errno));
        return CLI_TROUBLE;
    }
    struct stat stat;
    int fd = standard ? STDIN_FILENO : fileno(lines->file);
    if (fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode))
        lines->size = (uint64_t)stat.st_size;
    return 0;
}

void lines_close(cli_lines *lines)
{
    if (lines->file)
        fclose(lines->file);
    free(lines->text);
}

int lines_next(cli_lines *lines)
{
    if (lines->again) {
        lines->again = false;
        return 1;
    }
    errno = 0;
    ssize_t len = getline(&lines->text, &lines->capacity, lines->file);
    if (ferror(lines->file) || (len < 0 && !feof(lines->file))) {
        cli_say(lines->name, "%s", strerror(errno));
        return -1;
    }
    if (len < 0)
        return 0;
    lines->number++;
    lines->bytes += (uint64_t)len;
    lines->len = (size_t)len - (lines->text[len - 1] == '\n');
    return 1;
}

void lines_back(cli_lines *lines)
{
    lines->again = true;
}

int lines_wrong(const cli_lines *lines, const char *format, ...)
{
    char what[256];
    va_list list;
    va_start(list, format);
    vsnprintf(what, sizeof what, format, list);
    va_end(list);
    cli_say(lines->name, "line %llu: %s", (unsigned long long)lines->number, what);
    return -1;
}
