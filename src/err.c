/* err.c - see err.h. */
#include "err.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

const char *kv_strerror(int result)
{
    switch (result) {
    case KV_OK:
        return "done";
    case KV_NOTFOUND:
        return "not found";
    case KV_EXISTS:
        return "exists already";
    case KV_MISMATCH:
        return "the old value is another one";
    case KV_EINVAL:
        return "invalid argument";
    case KV_ENOMEM:
        return "out of memory";
    case KV_EIO:
        return "input/output error";
    case KV_ENOSPC:
        return "no space left on the device";
    case KV_ECORRUPT:
        return "the file is damaged";
    case KV_EBUSY:
        return "busy";
    case KV_EREADONLY:
        return "opened read-only";
    case KV_EPOISONED:
        return "a flush failed earlier; close and open the database again to write";
    case KV_EVERSION:
        return "the file needs a newer version of kv";
    case KV_ENOTKV:
        return "not a kv database";
    case KV_ETOOBIG:
        return "too long";
    case KV_EBADTXN:
        return "the transaction failed earlier and can only be aborted";
    case KV_ENOENT:
        return "no such file";
    case KV_EACCESS:
        return "permission denied";
    case KV_ECANCELED:
        return "stopped by a callback";
    case KV_EFORKED:
        return "opened before a fork, by the parent process";
    case KV_EOVERFLOW:
        return "the number would leave its range";
    case KV_ENOTNUMBER:
        return "the value is not a number";
    case KV_EBACKUP:
        return "the backup is damaged";
    case KV_EUNSUPPORTED:
        return "not supported here";
    default:
        return "unknown result";
    }
}

void kvi_err_init(kvi_err *err)
{
    pthread_mutex_init(&err->mutex, NULL);
    err->text[0] = 0;
}

void kvi_err_destroy(kvi_err *err)
{
    pthread_mutex_destroy(&err->mutex);
}

static void err_store(kvi_err *err, const char *text)
{
    if (!err)
        return;
    pthread_mutex_lock(&err->mutex);
    snprintf(err->text, sizeof err->text, "%s", text);
    pthread_mutex_unlock(&err->mutex);
}

void kvi_err_clear(kvi_err *err)
{
    err_store(err, "");
}

void kvi_err_text(kvi_err *err, char *buf, size_t size)
{
    if (size == 0)
        return;
    pthread_mutex_lock(&err->mutex);
    snprintf(buf, size, "%s", err->text);
    pthread_mutex_unlock(&err->mutex);
}

int kvi_err_from_os(int64_t os_result)
{
    switch (-os_result) {
    case ENOMEM:
        return KV_ENOMEM;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return KV_ENOSPC;
    case ENOENT:
    case ENOTDIR:
        return KV_ENOENT;
    case EACCES:
    case EPERM:
    case EROFS:
        return KV_EACCESS;
    case EAGAIN:
        return KV_EBUSY;
    case EEXIST:
        return KV_EXISTS;
    case ENAMETOOLONG:
    case ELOOP:
        return KV_EINVAL;
    case EOPNOTSUPP:
        return KV_EUNSUPPORTED;
    default:
        return KV_EIO;
    }
}

int kvi_fail(kvi_err *err, int code, const char *format, ...)
{
    char text[sizeof err->text];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    err_store(err, text);
    return code;
}

int kvi_fail_os(kvi_err *err, int64_t os_result, const char *format, ...)
{
    char what[sizeof err->text / 2], reason[64], text[sizeof err->text];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    snprintf(text, sizeof text, "%s: %s", what, strerror_r((int)-os_result, reason, sizeof reason));
    err_store(err, text);
    return kvi_err_from_os(os_result);
}
