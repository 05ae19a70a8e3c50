/* lines.h - lines of any length from a file or standard input. */
#ifndef LINES_H
#define LINES_H

#include "kv.h"
#include <stdio.h>

typedef struct cli_lines {
    FILE *file;
    const char *name;
    bool standard; /* it is standard input */
    char *text;    /* the current line without its newline */
    size_t len;
    size_t capacity;
    uint64_t number; /* of the current line, from 1 */
    uint64_t bytes;  /* read so far */
    uint64_t size;   /* of the file, 0 when it is none */
    bool again;      /* the current line is to be read once more */
} cli_lines;

/* path NULL or "-": standard input. 0, or the exit code after a message. */
int lines_open(cli_lines *lines, const char *path);
void lines_close(cli_lines *lines);

/* Goes to the next line. 1, 0 at the end, -1 after a message. */
int lines_next(cli_lines *lines);

/* Lets the next lines_next give the current line again. */
void lines_back(cli_lines *lines);

/* Says what is wrong with the current line. Gives -1. */
int lines_wrong(const cli_lines *lines, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
