/* answer.h - what --json prints about one key: an object on a line. */
#ifndef ANSWER_H
#define ANSWER_H

#include "session.h"

/* {"key":...; members follow, then the end of the line. */
void answer_begin(const cli_args *args, kv_slice key);
void answer_end(void);

/* An entry; --keys-only and --values-only leave a part out. */
void answer_entry(const cli_args *args, kv_slice key, kv_slice value);

/* As session_end_change; --json says whether the key was changed. */
int answer_change(cli_session *session, int result, kv_slice key);

/* Only the saying, after a change that ended with this exit code. */
void answer_changed(const cli_args *args, int code, kv_slice key);

/* A condition on what the file has does not hold when there is no file: 0, or the exit code after
 * saying so. */
int answer_no_file(const cli_args *args, kv_slice key);

#endif
