/* pipe.h - reading and writing that waits: for signals, and for pipes that do not block. */
#ifndef PIPE_H
#define PIPE_H

#include <stddef.h>
#include <stdint.h>

/* As read and write: bytes, or -1 with errno, which is neither EINTR nor EAGAIN. */
int64_t pipe_read(int fd, void *bytes, size_t len);
int64_t pipe_write(int fd, const void *bytes, size_t len);

#endif
