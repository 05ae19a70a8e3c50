/* err.h - error codes with their details: a code travels up as a result, its sentence waits in the
 * handle that failed. */
#ifndef KVI_ERR_H
#define KVI_ERR_H

#include "base.h"
#include "kv.h"
#include <pthread.h>

/* The newest failure of one handle. Any thread may write it. */
typedef struct kvi_err {
    pthread_mutex_t mutex;
    char text[320]; /* guarded by mutex */
} kvi_err;

void kvi_err_init(kvi_err *err);
void kvi_err_destroy(kvi_err *err);
void kvi_err_clear(kvi_err *err);
void kvi_err_text(kvi_err *err, char *buf, size_t size);

/* Keeps the sentence and returns code, so that a failure is one statement. err may be NULL. */
int kvi_fail(kvi_err *err, int code, const char *format, ...) KVI_PRINTF(3, 4);

/* The same for a failed system call: os_result is -errno; format says what was tried. */
int kvi_fail_os(kvi_err *err, int64_t os_result, const char *format, ...) KVI_PRINTF(3, 4);

/* The KV_E* code for -errno. */
int kvi_err_from_os(int64_t os_result);

#endif
