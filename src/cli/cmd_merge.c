/* cmd_merge.c - kv merge: consecutive backups made into one, to standard output. */
#include "backups.h"
#include "cli.h"
#include "out.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_HEAD 12 /* bytes in front of a block; docs/backup-format.md */

/* A file may hold several backups, one behind the other. */
typedef struct cli_parcel {
    const char *path;
    int fd;
    uint64_t offset; /* of what is read next */
} cli_parcel;

typedef struct cli_merge {
    cli_parcel *of;
    size_t n;
    const cli_parcel *failed; /* the one that could not be read */
    int failure;              /* errno */
} cli_merge;

static int64_t merge_read(void *context, size_t number, void *bytes, size_t len)
{
    cli_merge *merge = context;
    cli_parcel *parcel = &merge->of[number];
    ssize_t n;
    do
        n = pread(parcel->fd, bytes, len, (off_t)parcel->offset);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        merge->failed = parcel;
        merge->failure = errno;
    } else {
        parcel->offset += (uint64_t)n;
    }
    return n;
}

static int merge_write(void *context, const void *bytes, size_t len)
{
    (void)context;
    out_bytes(bytes, len);
    return out_failed();
}

static bool backup_begins(int fd, uint64_t offset)
{
    uint8_t magic[BACKUPS_MAGIC];
    return pread(fd, magic, sizeof magic, (off_t)offset) == (ssize_t)sizeof magic &&
           backups_begins(magic);
}

/* Where the backup ends that begins at offset. What is damaged is found by reading it, and what is none
 * is not taken apart: zeros would be a backup each few bytes. */
static uint64_t backup_end(int fd, uint64_t offset)
{
    uint8_t head[BLOCK_HEAD];
    uint64_t len = 1;
    if (!backup_begins(fd, offset))
        return UINT64_MAX;
    for (offset += BACKUPS_HEADER; len > 0; offset += BLOCK_HEAD + len) {
        if (pread(fd, head, sizeof head, (off_t)offset) != (ssize_t)sizeof head)
            return UINT64_MAX;
        len = backups_number(head, 4);
    }
    return offset;
}

/* Backups are read by turns, so that they must be files. -1 after a message. */
static int merge_open(const char *path)
{
    struct stat stat = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0 && fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode))
        return fd;
    cli_say(path, "%s", fd < 0 ? strerror(errno) : "no regular file, which merge needs");
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Adds the backups of a file. */
static int merge_add(cli_merge *merge, const char *path)
{
    uint8_t byte;
    uint64_t offset = 0;
    int fd = merge_open(path);
    if (fd < 0)
        return CLI_TROUBLE;
    do {
        merge->of = cli_realloc(merge->of, (merge->n + 1) * sizeof *merge->of);
        merge->of[merge->n++] = (cli_parcel){path, fd, offset};
        offset = backup_end(fd, offset);
    } while (offset != UINT64_MAX && pread(fd, &byte, 1, (off_t)offset) == 1);
    return 0;
}

/* Parcels of one file stand together. */
static void merge_end(cli_merge *merge)
{
    for (size_t i = 0; i < merge->n; i++)
        if (i + 1 == merge->n || merge->of[i + 1].fd != merge->of[i].fd)
            close(merge->of[i].fd);
    free(merge->of);
}

static int merge_run(cli_merge *merge, const cli_args *args)
{
    char message[512], text[BACKUPS_TEXT_MAX];
    kv_backup_info info = {.size = sizeof info};
    kv_merge_options options = {.size = sizeof options,
                                .n = merge->n,
                                .read = merge_read,
                                .write = merge_write,
                                .context = merge};
    int result = kv_backup_merge(&options, &info, message, sizeof message);
    out_flush();
    if (out_failed())
        return CLI_TROUBLE;
    if (result == KV_ECANCELED && merge->failure) {
        cli_say(merge->failed->path, "%s", strerror(merge->failure));
        return CLI_TROUBLE;
    }
    if (result != KV_OK) {
        cli_say("merge", "%s", message);
        return result == KV_MISMATCH ? CLI_NO : cli_exit_of(result);
    }
    if (!args_given(args, ARG_QUIET))
        cli_say("merge", "%s", backups_text(text, &info));
    return CLI_DONE;
}

int cmd_merge(const cli_args *args)
{
    cli_merge merge = {.n = 0};
    if (isatty(STDOUT_FILENO))
        return args_wrong(args, "standard output is a terminal; redirect it into a file or a pipe");
    int code = merge_add(&merge, args->file);
    for (int i = 0; code == 0 && i < args->count; i++)
        code = merge_add(&merge, args->operands[i].text);
    if (code == 0)
        code = merge_run(&merge, args);
    merge_end(&merge);
    return code;
}
