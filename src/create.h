/* create.h - a new, empty database file (design.md, R11). */
#ifndef KVI_CREATE_H
#define KVI_CREATE_H

#include "err.h"
#include "os.h"

/* Builds the file under a temporary name and gives it its own only when it is whole and durable.
 * replaced: over an existing empty file, whose permissions and owner it gets; NULL: KV_EXISTS when path
 * is taken. */
int kvi_create(const kvi_os *os, kvi_err *err, const char *path, uint32_t page_size,
               const kvi_os_stat *replaced) KVI_MUST_CHECK;

/* Has write fill another file beside path, which is empty and may be read by those who may read the file
 * of the descriptor like, but for the umask; gives it the name of path when that is done, and makes the
 * name durable. KV_EXISTS: path is taken. */
int kvi_create_beside(const kvi_os *os, kvi_err *err, const char *path, int like,
                      int (*write)(void *context, const char *temporary),
                      void *context) KVI_MUST_CHECK;

/* A new file of no bytes: where a database is to be created, it will have these permissions. */
int kvi_create_empty(const kvi_os *os, kvi_err *err, const char *path,
                     uint32_t mode) KVI_MUST_CHECK;

/* A free name beside path: path + ".tmp-" + 16 hexadecimal digits. The caller frees it. */
int kvi_create_temporary(const kvi_os *os, kvi_err *err, const char *path,
                         char **name) KVI_MUST_CHECK;

#endif
