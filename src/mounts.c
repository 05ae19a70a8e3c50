/* mounts.c - see mounts.h. */
#include "mounts.h"
#include "bytes.h"
#include <string.h>

#define WORD_MAX  64
#define DEVICE_AT 3 /* which word of a line */
#define TAGS_AT   7 /* from here on any number of them, then a dash */

static const char *const shared[] = {
    "fuse.beegfs",        "fuse.blobfuse", "fuse.blobfuse2",   "fuse.ceph",       "fuse.ceph-fuse",
    "fuse.curlftpfs",     "fuse.davfs",    "fuse.davfs2",      "fuse.fuse_dfs",   "fuse.gcsfuse",
    "fuse.glusterfs",     "fuse.goofys",   "fuse.grpcfuse",    "fuse.gvfsd-fuse", "fuse.juicefs",
    "fuse.JuiceFS",       "fuse.lizardfs", "fuse.mfs",         "fuse.moosefs",    "fuse.mount-s3",
    "fuse.mountpoint-s3", "fuse.prl_fsd",  "fuse.rclone",      "fuse.s3fs",       "fuse.seaweedfs",
    "fuse.smbnetfs",      "fuse.sshfs",    "fuse.vmhgfs-fuse", "virtiofs",
};

/* The next word, its end cut off if it is too long for any that we know; returns what follows it. */
static int word_read(FILE *file, char word[WORD_MAX])
{
    size_t len = 0;
    int c;
    while ((c = getc(file)) != EOF && c != ' ' && c != '\n')
        if (len < WORD_MAX - 1)
            word[len++] = (char)c;
    word[len] = 0;
    return c;
}

static bool type_shared(const char *type)
{
    for (size_t i = 0; i < KVI_COUNT(shared); i++)
        if (strcmp(type, shared[i]) == 0)
            return true;
    return false;
}

/* One line; the type is empty unless it is of this device. Blanks in names are written as \040.
 * Returns what ended it. */
static int line_read(FILE *mounts, const char *device, char type[WORD_MAX])
{
    char word[WORD_MAX];
    bool ours = false;
    unsigned dash_at = 0, at = 0;
    int end;
    type[0] = 0;
    do {
        end = word_read(mounts, word);
        at++;
        if (at == DEVICE_AT)
            ours = strcmp(word, device) == 0;
        else if (ours && dash_at && at == dash_at + 1)
            memcpy(type, word, WORD_MAX);
        else if (at >= TAGS_AT && !dash_at && strcmp(word, "-") == 0)
            dash_at = at;
    } while (end == ' ');
    return end;
}

bool kvi_mounts_shared(FILE *mounts, const char *device)
{
    char type[WORD_MAX];
    int end;
    do {
        end = line_read(mounts, device, type);
        if (type_shared(type))
            return true;
    } while (end != EOF);
    return false;
}
