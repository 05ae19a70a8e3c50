/* pipe.c - see pipe.h. */
#include "pipe.h"
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <unistd.h>

/* After a call that failed: is it worth another? */
static bool pipe_again(int fd, short events)
{
    struct pollfd wait = {.fd = fd, .events = events};
    if (errno == EAGAIN)
        return poll(&wait, 1, -1) >= 0 || errno == EINTR;
    return errno == EINTR;
}

int64_t pipe_read(int fd, void *bytes, size_t len)
{
    ssize_t n;
    do
        n = read(fd, bytes, len);
    while (n < 0 && pipe_again(fd, POLLIN));
    return n;
}

int64_t pipe_write(int fd, const void *bytes, size_t len)
{
    ssize_t n;
    do
        n = write(fd, bytes, len);
    while (n < 0 && pipe_again(fd, POLLOUT));
    return n;
}
